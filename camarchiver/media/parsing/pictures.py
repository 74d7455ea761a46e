"""Decodes single frames of two files and compares them (PyAV; runs in the probe's worker process)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from camarchiver.media.info import PictureComparison, PicturePosition
from camarchiver.media.parsing.packet_times import ticks_per_frame
from camarchiver.media.parsing.streams import fraction
from camarchiver.media.verification.picture_rules import HEIGHT, WIDTH, Grid, Pair, difference, problem_of

_LOOK_AHEAD = 4
"""Frames of an archive that are decoded to check whether they come in the order of their times."""
_FULL_RANGE = 2


Open = Callable[[], tuple[InputContainer, VideoStream]]
"""Opens the file anew; the caller that provides it closes the file."""


def is_untimed(container: InputContainer, video: VideoStream) -> bool:
    """Whether presentation times are made up by the demuxer, so that decoding times are used.

    Avi states none. FFmpeg makes up correct ones if each packet yields one frame at once, which H.264 and
    H.265 do not guarantee.
    """
    return container.format.name == "avi" and video.codec_context.codec.canonical_name in ("h264", "hevc")


class Missing(Exception):
    """A frame could not be decoded; the text is a sentence."""


def grids(
    opened: Open,
    places: Sequence[PicturePosition],
    beat: Callable[[], None],
    *,
    look_ahead: bool,
    raw_rate: Fraction | None,
) -> list[Grid]:
    """The pictures at these places, scaled down. Raises Missing for a lost one, FFmpegError for a bad file.

    With `look_ahead` it also checks that the first frames come in the order of their times.
    """
    walker = _Walker(opened, beat, raw_rate)
    found = []
    for number, place in enumerate(places):
        found.append(_grid(walker.at(place)))
        if look_ahead and not number:
            walker.look_ahead()
    return found


def compare(source: Sequence[Grid], archive: Sequence[Grid], pairs: Sequence[Pair]) -> PictureComparison:
    """How each pair differs."""
    first = source[0], archive[0]
    found = tuple(
        difference(first, there, here, pair.seconds)
        for there, here, pair in zip(source, archive, pairs, strict=True)
    )
    return PictureComparison(len(found), next(filter(None, map(problem_of, found)), ""), found)


class _Walker:
    """Decodes the wanted frames of one file in ascending order."""

    def __init__(self, opened: Open, beat: Callable[[], None], raw_rate: Fraction | None) -> None:
        self._opened = opened
        self._beat = beat
        self._raw_rate = raw_rate
        self._open()
        self._frames: Iterator[VideoFrame] = iter(())
        self._waiting: deque[VideoFrame] = deque()
        self._last: int | None = None
        self._step = 0

    def at(self, place: PicturePosition) -> VideoFrame:
        """The frame at exactly this time. Raises Missing if there is none."""
        if self._last is None or not place.key <= self._last < place.frame:
            self._frames = self._decoded(place.key)
            self._waiting.clear()
            self._last = None
        for frame in self._next():
            if self._last == place.frame:
                return frame
            if self._last is not None and self._last > place.frame:
                break
        seconds = float(place.frame * (self._video.time_base or 0))
        raise Missing(f"the frame at {seconds:.3f} s does not decode")

    def look_ahead(self) -> None:
        """Check that some more frames come in the order of their times. Raises Missing if they don't."""
        if not self._video.codec_context.reorder_depth:
            return
        last = self._last
        for frame in self._frames:
            self._waiting.append(frame)
            moment = self._moment(frame)
            if last is not None and moment is not None and moment < last:
                raise Missing("the archive's frames come out in another order than their times have")
            last = moment
            if len(self._waiting) == _LOOK_AHEAD:
                return

    def _next(self) -> Iterator[VideoFrame]:
        while True:
            frame = self._waiting.popleft() if self._waiting else next(self._frames, None)
            if frame is None:
                return
            moment = self._moment(frame)
            # Frames that a decoder still holds at the end come without a decoding time.
            if moment is None and self._last is not None:
                moment = self._last + self._step
            if moment is not None and self._last is not None:
                self._step = moment - self._last
            self._last = moment
            yield frame

    def _moment(self, timed: VideoFrame | Packet[VideoStream]) -> int | None:
        """When it is shown, in ticks."""
        return timed.dts if self._is_untimed or timed.pts is None else timed.pts

    def _open(self) -> None:
        self._container, self._video = self._opened()
        # The encoders need the cores.
        self._video.codec_context.thread_count = 1
        self._is_untimed = is_untimed(self._container, self._video)

    def _decoded(self, key: int) -> Iterator[VideoFrame]:
        """Frames from the keyframe of that time on."""
        if self._raw_rate is not None:
            yield from self._numbered(self._raw_rate)
            return
        for seek in (True, False):
            try:
                if seek:
                    self._container.seek(key, stream=self._video, backward=True)
                    self._video.codec_context.flush_buffers()
                else:
                    # An index may be missing or wrong; from the start every packet is read.
                    self._open()
            except (OSError, av.FFmpegError):
                continue
            frames = self._decoded_from_here(key)
            first = next(frames, None)
            if first is not None:
                yield first
                yield from frames
                return

    def _numbered(self, rate: Fraction) -> Iterator[VideoFrame]:
        """All frames of a stream without a container, at the times that the declared rate gives them."""
        self._open()
        ticks = ticks_per_frame(fraction(self._video.time_base) or Fraction(1), rate)
        number = 0
        for packet in self._container.demux(self._video):
            self._beat()
            for frame in packet.decode():
                frame.pts = round(number * ticks)
                number += 1
                yield frame

    def _decoded_from_here(self, key: int) -> Iterator[VideoFrame]:
        started = False
        for packet in self._container.demux(self._video):
            self._beat()
            moment = self._moment(packet)
            if not started:
                if (moment is not None and moment > key and packet.is_keyframe) or not packet.size:
                    return
                started = packet.is_keyframe and moment == key
            if started:
                yield from packet.decode()


def _grid(frame: VideoFrame) -> Grid:
    """The picture scaled down, with its brightness as a screen shows it."""
    full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
    small = frame.reformat(
        WIDTH,
        HEIGHT,
        "yuv444p",
        interpolation="AREA",
        src_color_range=frame.color_range or None,
        dst_color_range=frame.color_range or None,
        threads=1,
    )
    luma, blue, red = (_rows(small, plane) for plane in range(3))
    if full:
        return Grid(luma, [each - 128 for each in blue], [each - 128 for each in red])
    return Grid(
        [(each - 16) * 255 / 219 for each in luma],
        [(each - 128) * 255 / 224 for each in blue],
        [(each - 128) * 255 / 224 for each in red],
    )


def _rows(frame: VideoFrame, number: int) -> Sequence[float]:
    plane = frame.planes[number]
    data = bytes(plane)
    return [value for row in range(HEIGHT) for value in data[row * plane.line_size :][:WIDTH]]
