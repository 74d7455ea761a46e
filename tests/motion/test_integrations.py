"""motion: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import subprocess
from collections.abc import Container, Iterator
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream as AvVideoStream
from pytest_mock import MockerFixture

from camarchiver.domain.motion import View
from camarchiver.errors import UsageError
from camarchiver.motion import events as motion_events
from camarchiver.motion import sampler as sampler_module
from camarchiver.motion.detector import Detector
from camarchiver.motion.events import MotionEvent, Rules, Score
from camarchiver.motion.sampler import KeyframeSampler, SampledPicture, Sampler
from camarchiver.record.stream_detector import StreamDetector
from tests.clips import FFMPEGS
from tests.recordings import rec_items, rec_watch


def encode(target: Path, *options: str, filters: str = "null", seconds: int = 2) -> Path:
    lavfi = f"testsrc2=size=160x120:rate=15:duration={seconds},{filters}"
    command = (
        FFMPEGS["embedded"],
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        lavfi,
        "-g",
        "30",
        *options,
        str(target),
    )
    subprocess.run(command, check=True)
    return target


def demux(path: Path) -> Iterator[tuple[AvVideoStream, Packet[AvVideoStream] | None]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.pts is None:  # avi has none
                packet.pts = packet.dts
            yield stream, packet if packet.size else None


def sampled(path: Path, rate: float = 5.0, *, broken: Container[int] = ()) -> list[SampledPicture]:
    """The pictures of a clip; of the packets named in `broken` some bytes are wrong."""
    sampler: Sampler | None = None
    pictures: list[SampledPicture] = []
    for number, (stream, packet) in enumerate(demux(path)):
        sampler = sampler or Sampler(stream.codec_context, rate=rate)
        pictures += sampler.feed(damaged(packet) if packet is not None and number in broken else packet)
    return pictures


def damaged(packet: Packet[AvVideoStream]) -> Packet[AvVideoStream]:
    content = bytearray(bytes(packet))
    for place in np.random.default_rng(1).integers(len(content) // 3, len(content), 5):
        content[place] ^= 0xFF
    copy = cast("Packet[AvVideoStream]", Packet(bytes(content)))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy


class TestDetectorMask:
    @pytest.mark.parametrize(("black", "expected"), [("left", False), ("right", True)])
    def test_black_parts_of_a_picture_are_ignored(self, tmp_path: Path, black: str, expected: bool) -> None:
        mask = np.full((360, 640), 255, np.uint8)
        mask[:, slice(0, 320) if black == "left" else slice(320, 640)] = 0
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        detector = Detector(Rules(), View(mask=tmp_path / "mask.png"))
        rng = np.random.default_rng(2)
        wall = np.kron(rng.integers(60, 190, (23, 40)), np.ones((8, 8)))[:180].astype(np.uint8)
        scores = [detector.score(wall, number * 0.2).area for number in range(12)]
        for number in range(5):
            frame = wall.copy()
            frame[80:140, 40 + 8 * number : 60 + 8 * number] = 0
            scores.append(detector.score(frame, 2.4 + number * 0.2).area)
        assert any(scores) is expected

    def test_a_mask_that_is_no_picture(self, tmp_path: Path) -> None:
        (tmp_path / "mask.png").write_text("not a picture")
        with pytest.raises(UsageError, match="readable picture"):
            Detector(Rules(), View(mask=tmp_path / "mask.png")).score(np.zeros((180, 320), np.uint8), 0.0)


class TestFrames:
    @pytest.mark.parametrize("options", [("-bf", "0"), ("-bf", "3"), ("-pix_fmt", "yuv420p10le")])
    def test_five_pictures_a_second_in_order(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        pictures = sampled(encode(tmp_path / "a.mp4", *options))
        assert [picture.at for picture in pictures] == pytest.approx([n / 5 for n in range(10)], abs=0.07)
        assert {picture.luma.shape for picture in pictures} == {(240, 320)}

    def test_every_frame_of_a_slower_source(self, tmp_path: Path) -> None:
        assert len(sampled(encode(tmp_path / "a.mp4", filters="fps=3"))) == 6

    def test_a_damaged_packet_brings_nothing_and_ends_nothing(self, tmp_path: Path) -> None:
        pictures: list[SampledPicture] = []
        sampler: Sampler | None = None
        for number, (stream, packet) in enumerate(demux(encode(tmp_path / "a.mp4", seconds=6))):
            sampler = sampler or Sampler(stream.codec_context)
            if packet is not None and number in (20, 21):
                garbled = cast("Packet[AvVideoStream]", Packet(b"\x00\x00\x00\x04\xff\xff\xff\xff"))
                garbled.pts, garbled.dts, garbled.time_base = packet.pts, packet.dts, packet.time_base
                pictures += sampler.feed(garbled)
            else:
                pictures += sampler.feed(packet)
        assert pictures[-1].at > 5.5

    @pytest.mark.parametrize(
        ("codec", "name"),
        [
            ("msmpeg4", "a.avi"),
            ("wmv2", "a.asf"),
            ("huffyuv", "a.avi"),
            ("ffv1", "a.mkv"),
            ("rawvideo", "a.avi"),
            ("mjpeg", "a.avi"),
        ],
    )
    def test_formats_whose_container_alone_states_the_size(
        self, tmp_path: Path, codec: str, name: str
    ) -> None:
        assert len(sampled(encode(tmp_path / name, "-c:v", codec))) == 10

    @pytest.mark.parametrize("codec", ["h264", "mpeg4"])
    def test_broken_pictures_are_left_out_until_the_next_keyframe(self, tmp_path: Path, codec: str) -> None:
        clip = encode(tmp_path / "a.mp4", "-bf", "0", "-c:v", codec, seconds=6)
        sound = {picture.at: picture.luma.astype(int) for picture in sampled(clip, 15)}
        pictures = sampled(clip, 15, broken={30})
        assert [picture.at for picture in pictures] == [at for at in sound if not 2 <= at < 4]
        assert all(abs(picture.luma - sound[picture.at]).max() == 0 for picture in pictures)

    def test_after_an_error_without_another_keyframe_it_goes_on(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-bf", "0", "-g", "200", seconds=8)
        times = [picture.at for picture in sampled(clip, broken={30})]
        assert not any(2 <= at < 5 for at in times)
        assert sum(at >= 5 for at in times) >= 15

    def test_a_stream_that_is_always_broken_shows_what_it_can(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-bf", "0", "-g", "15", seconds=8)
        pictures = sampled(clip, broken=range(0, 120, 5))
        assert sum(picture.at >= 5 for picture in pictures) >= 12

    def test_a_stream_without_any_picture_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        clip = encode(tmp_path / "a.mp4", "-bf", "0", "-g", "300", seconds=14)
        sampler: Sampler | None = None
        for number, (stream, packet) in enumerate(demux(clip)):
            sampler = sampler or Sampler(stream.codec_context)
            if packet is not None:
                nothing = cast("Packet[AvVideoStream]", Packet(b"\x00\x00\x00\x04\xff\xff\xff\xff"))
                nothing.pts, nothing.dts, nothing.time_base = packet.pts, packet.dts, packet.time_base
                assert not list(sampler.feed(nothing))
                told = ["no picture could be decoded for 10 seconds; no motion is seen"]
                assert caplog.messages == (told if number >= 150 else [])

    def test_rare_keyframes_alone_are_no_silence(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        clip = encode(tmp_path / "a.mp4", "-bf", "2", "-g", "180", "-keyint_min", "180", seconds=25)
        assert self._keyframed(clip, set()) == [0, 12, 24]
        assert not caplog.messages

    def test_only_keyframes_while_nothing_happens(self, tmp_path: Path) -> None:
        assert self._keyframed(encode(tmp_path / "a.mp4", "-bf", "2", seconds=8), set()) == [0, 2, 4, 6]

    def test_no_more_than_one_keyframe_a_second(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", "-g", "5", seconds=4), set())
        assert times == [0, 1, 2, 3]

    def test_a_dropped_suspicion_brings_the_group_before_and_half_a_second(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", "-bf", "2", seconds=8), {4.0})
        assert times == sorted(set(times))
        assert (times[:2], times[-1]) == ([0, 2], 6)
        assert times[2:-1] == pytest.approx([2 + n / 5 for n in range(1, len(times) - 2)], abs=0.07)
        assert 4.3 < times[-2] < 4.7

    def test_a_confirmed_suspicion_leaves_it_to_the_keyframes(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", seconds=8), {4.0}, moves=(2.9, 5.0))
        assert times == pytest.approx([0, 2, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 4, 6], abs=0.07)

    def test_rare_keyframes_leave_it_to_every_frame(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-g", "40", "-keyint_min", "40", seconds=12)
        times = self._keyframed(clip, {5.333}, moves=(3.1, 6.0))
        assert (times[:2], times[-2:]) == ([0, 2.667], [8, 10.667])
        assert times[2:-2] == pytest.approx([2.667 + n / 5 for n in range(1, len(times) - 3)], abs=0.07)
        assert 7 < times[-3] < 8

    def test_a_keyframe_that_does_not_come_is_not_waited_for(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-force_key_frames", "0,2,4,12", "-g", "1000", seconds=14)
        times = self._keyframed(clip, {4.0}, moves=(2.9, 9.0))
        assert times[:9] == pytest.approx([0, 2, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 4], abs=0.07)
        assert times[9:-1] == pytest.approx([4 + n / 5 for n in range(1, len(times) - 9)], abs=0.07)
        assert 9.5 < times[-2] < 11
        assert times[-1] == 12

    def test_a_group_that_is_too_large_is_not_kept(self, tmp_path: Path, mocker: MockerFixture) -> None:
        mocker.patch.object(sampler_module, "GROUP_BYTES", 100_000)
        clip = encode(
            tmp_path / "a.mp4", "-force_key_frames", "0,8", "-g", "1000", "-b:v", "500k", seconds=12
        )
        sampler: KeyframeSampler | None = None
        held, looked = [], []
        for stream, packet in demux(clip):
            sampler = sampler or KeyframeSampler(
                stream.codec_context, suspicious=lambda _: False, motion_state=motion_events.MotionState
            )
            looked += [round(picture.at) for picture in sampler.feed(packet)]
            held.append(sum(each.size for each in sampler._group))
        assert looked == [0, 8]
        assert 50_000 < max(held) <= 100_000
        assert held.count(0) > 30

    def test_where_no_picture_is_whole_by_itself_every_one_is_decoded(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        words = ("-c:v", "libx264", "-bf", "0", "-x264-params", "intra-refresh=1:keyint=15")
        times = self._keyframed(encode(tmp_path / "a.ts", *words, seconds=14), set())
        begin = times[0]
        assert times[1] < begin + 6
        assert times[1:] == pytest.approx([times[1] + n / 5 for n in range(len(times) - 1)], abs=0.07)
        assert times[-1] > begin + 13.5
        assert len(caplog.messages) == 1

    def _keyframed(
        self, path: Path, suspects: set[float], *, moves: tuple[float, float] = (99, 99)
    ) -> list[float]:
        """Times of the pictures looked at; keyframes named are suspicious, and motion is scored from to."""
        gates, keys = [motion_events.MotionState()], [0.0]
        sampler: KeyframeSampler | None = None
        times: list[float] = []
        for stream, packet in demux(path):
            sampler = sampler or KeyframeSampler(
                stream.codec_context,
                suspicious=lambda _: keys[-1] in suspects,
                motion_state=lambda: gates[-1],
            )
            if packet is not None and packet.is_keyframe:
                keys.append(round(float((packet.pts or 0) * packet.time_base), 3))
            for picture in sampler.feed(packet):
                times.append(round(picture.at, 3))
                score = Score(float(moves[0] < picture.at < moves[1]))
                gates.append(motion_events.step(gates[-1], score, picture.at)[0])
        return times


class TestSentry:
    @pytest.mark.parametrize("keyframes", [False, True])
    def test_it_tells_when_motion_was(self, rec_twice: Path, keyframes: bool) -> None:
        opened, entries = rec_items(rec_twice)
        detector = StreamDetector(rec_watch(keyframes=keyframes))
        detector.begin(opened.video.codec_context)
        events: list[MotionEvent] = []
        for entry in entries:
            if entry.video:
                events += detector.feed(entry)
        events += detector.finish()
        assert [round(event.start) for event in events] == [6, 16]
        # between two keyframes nobody looks
        late = 2 if keyframes else 0
        assert all(end <= event.end <= end + 0.5 + late for end, event in zip((8, 18), events, strict=True))
        assert detector.open is None

    def test_the_end_cuts_motion_off(self, rec_twice: Path) -> None:
        opened, entries = rec_items(rec_twice)
        detector = StreamDetector(rec_watch())
        detector.begin(opened.video.codec_context)
        for entry in entries:
            if entry.video and entry.at < 7:
                assert not list(detector.feed(entry))
        assert detector.open is not None
        assert [round(event.start) for event in detector.finish()] == [6]
