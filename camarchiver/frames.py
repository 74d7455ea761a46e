"""Which pictures of a packet stream the detector sees, decoded by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from camarchiver.detector import Luma, shrink

VideoPacket: TypeAlias = "Packet[VideoStream]"

RATE = 5.0
"""Pictures a second: fewer miss a runner, more cost CPU and find nothing new."""

LUMA_FIRST = frozenset(
    ["gray", "nv12", "nv21", "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"],
)
"""8-bit formats whose first plane is the luma as it stands; others are converted."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame as the detector wants it."""

    luma: Luma
    at: float
    """Presentation time in seconds of the source's own clock."""


class Sampler:
    """Decodes every packet and keeps five pictures a second: nobody is missed, and decoding has its price."""

    def __init__(self, codec: VideoCodecContext, *, rate: float = RATE) -> None:
        """`codec` is the stream's; its decoder is not used, so that packets stay the recorder's own."""
        self._decoder = _Decoder(codec)
        self._period = 1 / rate
        self._next: float | None = None

    def feed(self, packet: VideoPacket | None) -> Iterator[Picture]:
        """The pictures that one packet brings, in order of presentation; None drains the decoder at the end.

        The packet needs its timestamps. A damaged one brings nothing: the recorder keeps it all the same.
        """
        for at, frame in self._decoder.frames(packet):
            due = at if self._next is None else self._next
            if at >= due - 1e-3:
                self._next = max(due, at - self._period / 2) + self._period
                yield Picture(shrink(_luma(frame)), at)


class KeyframeSampler:
    """Decodes keyframes alone until one is suspicious, then everything while there is motion.

    The group of pictures before a suspicious keyframe is decoded too, so that an event has its true start.
    Whoever comes and goes between two keyframes is not seen: for cameras with a keyframe every second or two.
    """

    def __init__(
        self,
        codec: VideoCodecContext,
        *,
        suspicious: Callable[[Luma], bool],
        busy: Callable[[], bool],
        rate: float = RATE,
    ) -> None:
        """`suspicious` judges a keyframe (`Detector.peek`); `busy` says whether motion goes on (`Gate`)."""
        self._codec, self._rate = codec, rate
        self._keys = _Decoder(codec)
        self._suspicious, self._busy = suspicious, busy
        self._group: list[VideoPacket] = []
        """The packets since the last keyframe, while only keyframes are decoded."""
        self._burst: Sampler | None = None
        self._seen = float("-inf")
        """When the last picture given out is shown."""

    def feed(self, packet: VideoPacket | None) -> Iterator[Picture]:
        """As `Sampler.feed`. The caller scores each picture before it takes the next."""
        if packet is None:
            yield from self._burst_feed(None)
        elif packet.is_keyframe:
            yield from self._keyframe(packet)
        elif self._burst is not None:
            yield from self._burst_feed(packet)
        else:
            self._group.append(packet)

    def _keyframe(self, packet: VideoPacket) -> Iterator[Picture]:
        if self._burst is not None and self._busy():
            yield from self._burst_feed(packet)
            return
        yield from self._burst_feed(None)
        self._burst = None
        alone = self._alone(packet)
        if alone is not None and self._suspicious(alone.luma):
            self._burst = Sampler(self._codec, rate=self._rate)
            for earlier in (*self._group, packet):
                yield from self._burst_feed(earlier)
        elif alone is not None:
            yield self._given(alone)
        self._group = [packet]

    def _burst_feed(self, packet: VideoPacket | None) -> Iterator[Picture]:
        if self._burst is not None:
            yield from (self._given(one) for one in self._burst.feed(packet) if one.at > self._seen)

    def _alone(self, packet: VideoPacket) -> Picture | None:
        frames = [*self._keys.frames(packet), *self._keys.frames(None)]
        self._keys.restart()
        return Picture(shrink(_luma(frames[0][1])), frames[0][0]) if frames else None

    def _given(self, picture: Picture) -> Picture:
        self._seen = picture.at
        return picture


class _Decoder:
    def __init__(self, codec: VideoCodecContext) -> None:
        context = av.CodecContext.create(codec.name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = codec.extradata
        context.thread_count = 1  # threads finish sooner and cost more
        self._context = context
        self._time_base = Fraction(0)

    def frames(self, packet: VideoPacket | None) -> list[tuple[float, VideoFrame]]:
        """Whole frames with their time, which PyAV leaves out of those that come with the end."""
        if packet is not None:
            self._time_base = packet.time_base
        try:
            frames = self._context.decode(packet)
        except (av.error.InvalidDataError, av.error.EOFError):
            return []
        return [
            (float(frame.pts * self._time_base), frame)
            for frame in frames
            if frame.pts is not None and not frame.is_corrupt
        ]

    def restart(self) -> None:
        """Take packets again after the end."""
        self._context.flush_buffers()


def _luma(frame: VideoFrame) -> Luma:
    if frame.format.name not in LUMA_FIRST:
        return np.asarray(frame.to_ndarray(format="gray"), np.uint8)
    plane = frame.planes[0]
    rows: Luma = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]
