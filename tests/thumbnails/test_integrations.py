"""thumbnails: against the real disk and the real ffmpeg."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from msgspec.structs import replace

from camarchiver.archive.motion.thumbnails import ClipWithoutThumbnails, ThumbnailCounts, make_missing
from camarchiver.domain.clip import Clip, Trees
from camarchiver.domain.motion import (
    MOST_SCORES,
    NO_FINDINGS,
    ClipMotion,
    KeyframeScore,
    ThumbnailStrip,
    View,
)
from camarchiver.errors import StorageError
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.media.info import UPRIGHT, Examined, KeyframeRequest, Orientation
from camarchiver.media.parsing.prober import Prober
from camarchiver.motion.activity import PacketTrust
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import StripKey
from camarchiver.storage.anchored import fingerprint_of
from tests.clips import FFMPEGS, MakeClip

KEY = StripKey(date(2026, 3, 1), "2026/03/01/REO_front_20260301081500.mp4", 1000, 5)
ENCODED = KeyframeRequest(trust=PacketTrust.STILLNESS)
STRIP = ThumbnailStrip(320, 180, (0.0, 4.0, 8.0), (KeyframeScore(4.0, 1.5),))


def jpeg(width: int = 96, height: int = 32) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"  # type: ignore[attr-defined]
    encoder.time_base = 1  # type: ignore[assignment]
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width, 3), np.uint8), "rgb24")
    packets = [*encoder.encode(frame.reformat(format="yuvj420p")), *encoder.encode(None)]  # type: ignore[attr-defined]
    return b"".join(map(bytes, packets))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    state = tmp_path / ".camarchiver"
    state.mkdir(mode=0o700)
    return state


class TestCache:
    def test_a_strip_is_read_as_it_was_written_and_stays_a_picture(self, state: Path) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        assert path == thumbnails.path(state, KEY)
        assert thumbnails.read(state, KEY) == STRIP
        with av.open(str(path)) as picture:
            (frame,) = picture.decode(video=0)
        assert (frame.width, frame.height) == (96, 32)

    def test_its_file_may_be_linked_and_read_by_all_and_its_folders_by_nobody_else(self, state: Path) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert stat.S_IMODE((state / "cache").stat().st_mode) == 0o700

    def test_an_unfinished_one_is_where_the_next_start_looks_for_it(
        self, state: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def die(*_: object) -> None:
            raise SystemExit

        thumbnails.write(state, KEY, STRIP, jpeg())
        monkeypatch.setattr(os, "fsync", die)
        monkeypatch.setattr(Path, "unlink", die)
        with pytest.raises(SystemExit):
            thumbnails.write(state, KEY, STRIP, jpeg())
        (left,) = state.rglob("*.staged*")
        assert left.parent == state / thumbnails.CACHE

    def test_another_clip_of_the_same_name_has_another_strip(self, state: Path) -> None:
        thumbnails.write(state, KEY, STRIP, jpeg())
        assert thumbnails.read(state, KEY._replace(size=1001)) is None
        assert thumbnails.read(state, KEY._replace(mtime_ns=6)) is None

    @pytest.mark.parametrize(
        "content", [b"", b"\xff\xd8", b'\xff\xd8\xff\xfe\x00\x09{"wid', jpeg()[:300], jpeg()]
    )
    def test_what_nobody_of_us_wrote_is_no_strip(self, state: Path, content: bytes) -> None:
        path = thumbnails.write(state, KEY, STRIP, jpeg())
        path.write_bytes(content)
        assert thumbnails.read(state, KEY) is None

    def test_it_may_be_deleted_at_any_time(self, state: Path) -> None:
        thumbnails.write(state, KEY, STRIP, jpeg())
        thumbnails.clear(state)
        assert thumbnails.read(state, KEY) is None
        thumbnails.remove(state, KEY)
        thumbnails.clear(state)
        thumbnails.write(state, KEY, STRIP, jpeg())
        thumbnails.remove(state, KEY)
        assert thumbnails.read(state, KEY) is None

    def test_the_longest_name_and_the_most_scores_fit(self, state: Path) -> None:
        key = KEY._replace(source="2026/03/01/" + "ä" * 125 + ".mp4")
        scores = tuple(KeyframeScore(1234567.125 + at, 12.345) for at in range(MOST_SCORES))
        strip = ThumbnailStrip(320, 180, tuple(float(at) for at in range(9)), scores)
        thumbnails.write(state, key, strip, jpeg())
        assert thumbnails.read(state, key) == strip

    def test_no_link_leads_out_of_the_state(self, state: Path, tmp_path: Path) -> None:
        (state / "cache").symlink_to(tmp_path)
        with pytest.raises(StorageError):
            thumbnails.write(state, KEY, STRIP, jpeg())
        assert not [*tmp_path.rglob("*.jpg")]
        (tmp_path / "thumbnails").mkdir()
        with pytest.raises(StorageError):
            thumbnails.clear(state)
        assert (tmp_path / "thumbnails").is_dir()


BACKGROUND = "smptebars=s=320x240:r=15:d=20"
WALK = (
    f'"{BACKGROUND}[b];color=black:s=30x60:r=15:d=20[o];'
    "[b][o]overlay=x='40*(t-8)':y=90:enable='between(t,8,12)'\""
)
"""Somebody crosses the picture from second 8 to second 12."""
H264 = "-c:v libx264 -preset ultrafast -g 30 -bf 0"


def examine(path: Path, request: KeyframeRequest | None = ENCODED) -> Examined:
    with Prober() as prober:
        return prober.examine(path, request)


class TestLook:
    """What the examination of an archive sees besides its verdict."""

    def test_nothing_is_looked_at_unless_asked(self, make_clip: MakeClip) -> None:
        assert examine(make_clip(f"-f lavfi -i {BACKGROUND} {H264}"), None).findings == NO_FINDINGS

    def test_pictures_are_spread_over_the_clip(self, make_clip: MakeClip) -> None:
        findings = examine(make_clip(f"-f lavfi -i {BACKGROUND} {H264}")).findings
        assert findings.strip is not None
        times = findings.strip.times
        assert (len(times), times[0], times[-1]) == (9, 0, 18)
        assert (findings.strip.width, findings.strip.height) == (320, 240)
        with av.open(io.BytesIO(findings.jpeg)) as picture:
            (frame,) = picture.decode(video=0)
        assert (frame.width, frame.height) == (9 * 320, 240)

    @pytest.mark.parametrize(("rotation", "corner"), [(0, 0), (90, 1), (180, 2), (270, 3)])
    def test_they_are_turned_as_players_turn_the_clip(
        self, make_clip: MakeClip, rotation: int, corner: int, tmp_path: Path
    ) -> None:
        white = "color=black:s=320x160:r=5:d=1,drawbox=w=60:h=60:c=white:t=fill"
        turned = tmp_path / "turned.mp4"
        command = [FFMPEGS["embedded"], "-v", "error", "-display_rotation", str(rotation)]
        command += ["-i", str(make_clip(f"-f lavfi -i {white} {H264}")), "-c", "copy", str(turned)]
        subprocess.run(command, check=True)
        findings = examine(turned).findings
        assert findings.strip is not None
        size = (160, 320) if rotation in (90, 270) else (320, 160)
        assert (findings.strip.width, findings.strip.height) == size
        with av.open(io.BytesIO(findings.jpeg)) as picture:
            (frame,) = picture.decode(video=0)
        gray = frame.to_ndarray(format="gray")
        # Top left, and from there anticlockwise.
        corners = [gray[10, 10], gray[-10, 10], gray[-10, -10], gray[10, -10]]
        assert [bool(value > 200) for value in corners] == [at == corner for at in range(4)]

    @pytest.mark.parametrize("codec", ["libx264", "libx265 -x265-params log-level=error"])
    def test_frames_that_the_decoder_delays_have_their_times(self, make_clip: MakeClip, codec: str) -> None:
        encoder = f"-c:v {codec} -preset ultrafast -g 30 -bf 3"
        findings = examine(make_clip(f"-f lavfi -i {WALK} {encoder}")).findings
        assert findings.strip is not None
        assert (findings.strip.times[0], findings.strip.times[-1]) == (0, 18)
        assert findings.motion is not None
        assert max(findings.strip.scores, key=lambda score: score.area).at == pytest.approx(10, abs=2)

    def test_pixels_that_are_not_square_become_square(self, make_clip: MakeClip) -> None:
        findings = examine(make_clip(f"-f lavfi -i {BACKGROUND} -vf setsar=4/3 {H264}")).findings
        assert findings.strip is not None
        assert (findings.strip.width, findings.strip.height) == (320, 180)

    def test_times_count_from_the_first_frame(self, make_clip: MakeClip) -> None:
        late = examine(make_clip(f"-f lavfi -i {WALK} -output_ts_offset 100 {H264}", ".mkv")).findings
        assert late.strip is not None
        assert late.strip.times[0] == 0
        assert max(late.strip.scores, key=lambda score: score.area).at == pytest.approx(10, abs=2)

    def test_a_mask_that_cannot_be_read_costs_no_verdict(self, make_clip: MakeClip, tmp_path: Path) -> None:
        found = examine(
            make_clip(f"-f lavfi -i {BACKGROUND} {H264}"), KeyframeRequest(View(mask=tmp_path / "no.png"))
        )
        assert (found.flaw, found.findings.motion) == ("", None)
        assert "no.png is not a readable picture" in found.findings.note

    def test_without_opencv_there_are_pictures_and_no_score(
        self, make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "cv2.py").write_text("raise ImportError('not installed')")
        monkeypatch.syspath_prepend(tmp_path)
        findings = examine(make_clip(f"-f lavfi -i {BACKGROUND} {H264}")).findings
        assert findings.strip is not None
        assert (len(findings.strip.times), findings.strip.scores, findings.motion) == (9, (), None)

    def test_stillness_is_sure_only_of_packets_that_are_trusted(self, make_clip: MakeClip) -> None:
        clip = make_clip(f"-f lavfi -i {BACKGROUND} -c:v libsvtav1 -g 150")
        quiet = {trust: examine(clip, KeyframeRequest(trust=trust)).findings.motion for trust in PacketTrust}
        assert quiet == {
            PacketTrust.NOTHING: ClipMotion(unsure=True),
            PacketTrust.MOTION: ClipMotion(unsure=True),
            PacketTrust.STILLNESS: ClipMotion(),
        }


class TestSecondFile:
    """The proof that an archive with chapters holds what the verified one does."""

    @pytest.fixture
    def archive(self, make_clip: MakeClip) -> Path:
        sound = "-f lavfi -i sine=d=20 -c:a aac"
        return make_clip(f"-f lavfi -i {BACKGROUND} {sound} {H264} -metadata comment=ours")

    @pytest.fixture
    def other(self, archive: Path, tmp_path: Path) -> Callable[..., Path]:
        def make(*options: str) -> Path:
            target = tmp_path / "other.mp4"
            command = [FFMPEGS["embedded"], "-v", "error", "-y", "-i", str(archive), *options, str(target)]
            subprocess.run(command, check=True)
            return target

        return make

    @pytest.mark.parametrize(
        ("options", "flaw"),
        [
            (("-c", "copy"), ""),
            (("-c", "copy", "-t", "15"), "streams, packets or times"),
            (("-c", "copy", "-an"), "streams, packets or times"),
            (("-c", "copy", "-metadata", "comment=other"), "tag comment"),
            (("-c:v", "libx264", "-g", "30", "-bf", "0", "-c:a", "copy"), "streams, packets or times"),
            (("-c:v", "copy", "-c:a", "copy", "-bsf:a", "noise=amount=200"), "streams, packets or times"),
        ],
    )
    def test_whatever_differs_is_seen(
        self, archive: Path, other: Callable[..., Path], options: tuple[str, ...], flaw: str
    ) -> None:
        with Prober() as prober:
            found = prober.differs(archive, other(*options), UPRIGHT)
        assert flaw in found
        assert bool(found) == bool(flaw)

    def test_a_lost_rotation_is_seen(self, archive: Path, other: Callable[..., Path]) -> None:
        with Prober() as prober:
            assert "orientation" in prober.differs(archive, other("-c", "copy"), Orientation(90))


class TestMissing:
    """Pictures and motion of clips that have none."""

    def unseen(self, trees: Trees, path: Path, day: int = 1) -> ClipWithoutThumbnails:
        start = datetime(2026, 3, day, 8, 15, tzinfo=UTC)
        status = path.stat()
        clip = Clip(trees.source, "d", f"c{day}.mp4", "front", start, fingerprint_of(status))
        return ClipWithoutThumbnails(clip, path, is_encoded=False)

    @pytest.fixture
    def trees(self, tmp_path: Path) -> Trees:
        trees = Trees(tmp_path / "camera", tmp_path / "camera/archived", tmp_path / "camera/.deleted")
        trees.state.mkdir(parents=True)
        return trees

    @pytest.fixture
    def made(self, trees: Trees) -> Callable[..., ThumbnailCounts]:
        writer = JournalWriter(Journal(trees.state), RunId("r", "page", "h"), lambda: datetime.now(UTC))
        return partial(make_missing, trees, writer, stop=threading.Event())

    def test_they_are_made_and_what_moves_is_journalled_once(
        self, make_clip: MakeClip, trees: Trees, made: Callable[..., ThumbnailCounts]
    ) -> None:
        one = self.unseen(trees, make_clip(f"-f lavfi -i {WALK} {H264}"))
        assert made([one], seconds=60) == ThumbnailCounts(1, (), 0)
        assert thumbnails.read(trees.state, StripKey.of_clip(one.clip)) is not None
        day = Journal(trees.state).day(date(2026, 3, 1))
        motion = day.ledger.motion["d/c1.mp4", one.clip.fingerprint.size, one.clip.fingerprint.mtime_ns]
        assert motion.spans[0].start == pytest.approx(8, abs=2)
        assert not motion.is_quiet
        thumbnails.clear(trees.state)
        assert made([replace(one, motion=motion)], seconds=60).made == 1
        assert Journal(trees.state).day(date(2026, 3, 1)).events == day.events

    def test_the_time_limits_how_many(
        self, make_clip: MakeClip, trees: Trees, made: Callable[..., ThumbnailCounts]
    ) -> None:
        clips = [self.unseen(trees, make_clip(f"-f lavfi -i {BACKGROUND} {H264}"), day) for day in (1, 2)]
        assert made(clips, seconds=0) == ThumbnailCounts(0, (), 2)
        assert made(clips, seconds=60) == ThumbnailCounts(2, (), 0)

    def test_what_shows_nothing_is_named_and_stops_nothing(
        self, make_clip: MakeClip, trees: Trees, made: Callable[..., ThumbnailCounts], tmp_path: Path
    ) -> None:
        text = tmp_path / "text.mp4"
        text.write_text("no video")
        gone = replace(self.unseen(trees, text), file=tmp_path / "gone.mp4")
        good = self.unseen(trees, make_clip(f"-f lavfi -i {BACKGROUND} {H264}"), 2)
        assert made([self.unseen(trees, text), gone, good], seconds=60) == ThumbnailCounts(
            1, (text, gone.file), 0
        )
