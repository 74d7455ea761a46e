"""thumbnails and motion of archived clips: decisions and formats, without a disk."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from camarchiver.archive.motion import chapters
from camarchiver.domain.motion import MOST_SPANS, ClipMotion, MotionSpan
from camarchiver.media.encoders import packet_trust
from camarchiver.media.info import CHAPTERS
from camarchiver.motion.activity import TINY, UNKNOWN, Activity, PacketTrust, activity_of
from camarchiver.motion.clip_motion import KeyframeChange, motion_in
from tests.values import MEDIA

PIXELS = 1280 * 720
KNOWN = Activity(is_known=True)


def packets(seconds: float, *moving: tuple[float, float], noise: int = 0) -> list[tuple[float, int]]:
    """What SVT-AV1 writes at 15 frames a second: every sixteenth frame holds the noise, half hold nothing."""
    chance = random.Random(seconds)
    found = []
    for number in range(round(15 * seconds)):
        at = number / 15
        empty = 21 + chance.randrange(3) + 22 * (number % 4 == 0)
        still = 3 if number % 2 else 3000 if number % 16 == 0 else empty
        more = 300 if any(start <= at <= end for start, end in moving) else noise
        found.append((at, still + more * (number % 2 == 0)))
    return found


class TestActivity:
    """What the sizes of an archive's packets say."""

    def test_a_still_clip_is_still_whatever_its_noise(self) -> None:
        assert activity_of(packets(30), PIXELS) == KNOWN

    @pytest.mark.parametrize("length", [0.5, 2.0, 12.0])
    def test_motion_is_found_with_its_times(self, length: float) -> None:
        found = activity_of(packets(40, (10, 10 + length), (30, 31)), PIXELS)
        assert found.is_known
        (first, second) = found.stretches
        assert first == pytest.approx((10, 10 + length), abs=0.3)
        assert second == pytest.approx((30, 31), abs=0.3)

    def test_a_little_more_than_nothing_is_doubtful(self) -> None:
        sizes = [(at, size + 14 * (10 < at < 12 and size > 8)) for at, size in packets(30)]
        assert activity_of(sizes, PIXELS) == Activity(is_known=True, is_doubtful=True)

    def test_where_all_frames_hold_noise_or_motion_nothing_is_known(self) -> None:
        assert activity_of(packets(30, noise=200), PIXELS) == UNKNOWN
        assert activity_of(packets(30, (0, 30)), PIXELS) == UNKNOWN

    def test_larger_pictures_need_larger_packets(self) -> None:
        sizes = [(at, 4 * size if size > TINY else size) for at, size in packets(30)]
        assert activity_of(sizes, PIXELS) == UNKNOWN
        assert activity_of(sizes, 9 * PIXELS) == KNOWN

    def test_a_clip_of_a_few_frames_says_nothing(self) -> None:
        assert activity_of(packets(0.2), PIXELS) == UNKNOWN


class TestPacketTrust:
    """Of which archives the sizes of packets say that nothing moves."""

    @pytest.mark.parametrize(
        ("encoder", "quality", "trust"),
        [
            ("libsvtav1", None, PacketTrust.STILLNESS),
            ("libsvtav1", 30, PacketTrust.STILLNESS),
            ("libsvtav1", 36, PacketTrust.MOTION),
            ("libsvtav1", "35", PacketTrust.MOTION),
            ("libx264", 23, PacketTrust.STILLNESS),
            ("av1_qsv", None, PacketTrust.MOTION),
            ("hevc_vaapi", None, PacketTrust.MOTION),
            ("h264_v4l2m2m", None, PacketTrust.NOTHING),
            ("copy", None, PacketTrust.NOTHING),
            ("of-a-later-version", None, PacketTrust.NOTHING),
        ],
    )
    def test_only_of_what_was_measured(self, encoder: str, quality: object, trust: PacketTrust) -> None:
        assert packet_trust(encoder, quality) is trust


def change(start: float, end: float, **fields: Any) -> KeyframeChange:
    return KeyframeChange(start, end, **{"came": 0.0, "went": 0.0, **fields})


class TestClipMotion:
    """Keyframes and packets together."""

    STILL = (change(0, 10), change(10, 20))
    WALK = Activity(is_known=True, stretches=((12, 15),))

    def test_quiet_is_only_what_both_are_sure_of(self) -> None:
        assert motion_in(self.STILL, KNOWN, has_mask=False).is_quiet

    @pytest.mark.parametrize(
        ("changes", "activity"),
        [
            (STILL, UNKNOWN),
            (STILL, WALK),
            (STILL, Activity(is_known=True, is_doubtful=True)),
            ((), KNOWN),
            ((change(0, 10), change(10, 20, unsure=True)), KNOWN),
            ((change(0, 10), change(10, 20, came=0.3)), KNOWN),
            ((change(0, 10), change(10, 20, went=0.3)), KNOWN),
        ],
    )
    @pytest.mark.parametrize("has_mask", [False, True])
    def test_nothing_else_is_quiet(
        self, changes: tuple[KeyframeChange, ...], activity: Activity, has_mask: bool
    ) -> None:
        assert not motion_in(changes, activity, has_mask=has_mask).is_quiet

    def test_packets_give_the_times_and_keyframes_the_zones(self) -> None:
        found = motion_in((change(0, 10), change(10, 20, came=2, zones=("gate",))), self.WALK, has_mask=False)
        assert found == ClipMotion((MotionSpan(12, 15, ("gate",)),))

    def test_what_moves_between_keyframes_is_motion_unless_it_may_be_under_a_mask(self) -> None:
        assert motion_in(self.STILL, self.WALK, has_mask=False).spans == (MotionSpan(12, 15),)
        assert motion_in(self.STILL, self.WALK, has_mask=True) == ClipMotion(unsure=True)

    def test_without_packets_keyframes_give_the_times(self) -> None:
        seen = (change(0, 2), change(2, 4, came=1), change(4, 6, went=1), change(6, 8), change(8, 10, came=1))
        assert motion_in(seen, UNKNOWN, has_mask=True) == ClipMotion(
            (MotionSpan(2, 6), MotionSpan(8, 10)), unsure=True
        )

    def test_there_are_never_more_spans_than_the_journal_takes(self) -> None:
        busy = Activity(is_known=True, stretches=tuple((at, at + 1.0) for at in range(0, 3000, 3)))
        found = motion_in(self.STILL, busy, has_mask=False)
        assert 0 < len(found.spans) <= MOST_SPANS
        assert (found.spans[0].start, found.spans[-1].end) == (0, 2998)


class TestChapters:
    """The chapters of an archive, as ffmpeg is given them."""

    MOTION = ClipMotion((MotionSpan(2.5, 4.0), MotionSpan(6.0, 10.0, ("gate", "a=b;c"))))

    def test_they_follow_one_another_from_the_start_to_the_end(self) -> None:
        assert chapters.metadata(self.MOTION, 10.0).splitlines() == [
            ";FFMETADATA1",
            *("[CHAPTER]", "TIMEBASE=1/1000", "START=0", "END=2500", "title=no motion"),
            *("[CHAPTER]", "TIMEBASE=1/1000", "START=2500", "END=4000", "title=motion"),
            *("[CHAPTER]", "TIMEBASE=1/1000", "START=4000", "END=6000", "title=no motion"),
            *("[CHAPTER]", "TIMEBASE=1/1000", "START=6000", "END=10000", r"title=motion: gate, a\=b\;c"),
        ]

    @given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=5), st.floats(0.5, 90))
    def test_they_never_overlap_or_pass_the_end(
        self, pairs: list[tuple[float, float]], seconds: float
    ) -> None:
        spans = tuple(MotionSpan(*sorted(pair)) for pair in sorted(pairs))
        lines = chapters.metadata(ClipMotion(spans), seconds).splitlines()
        starts = [int(line[6:]) for line in lines if line.startswith("START=")]
        ends = [int(line[4:]) for line in lines if line.startswith("END=")]
        assert all(start < end for start, end in zip(starts, ends, strict=True))
        assert ends[:-1] == starts[1:]
        assert all(end <= round(1000 * seconds) for end in ends)

    def test_a_copy_of_picture_and_sound_has_them_as_well(self) -> None:
        assert replace(MEDIA, other_streams=("data:gpmd", CHAPTERS)).lost_streams == ("data:gpmd",)

    def test_ffmpeg_copies_every_packet(self) -> None:
        found = chapters.arguments(Path("/a/-x.mp4"), Path("/a/concat:y.mp4"), "text")
        assert found == (
            *("-hide_banner", "-nostdin", "-v", "error", "-y", "-xerror"),
            *("-i", "file:/a/-x.mp4", "-f", "ffmetadata", "-i", "data:text/plain;base64,dGV4dA=="),
            *("-map", "0:v", "-map", "0:a?", "-map_metadata", "0", "-map_chapters", "1", "-c", "copy"),
            *("-movflags", "+faststart", "file:/a/concat:y.mp4"),
        )
        assert "-movflags" not in chapters.arguments(Path("x.mkv"), Path("y.mkv"), "")
