"""Which pictures of a packet stream the detector sees, decoded by PyAV."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias, cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from msgspec import Struct

from camarchiver.motion import keyframe_rules
from camarchiver.motion.events import MotionState
from camarchiver.motion.keyframe_rules import DecodeChoice, KeyframeState
from camarchiver.motion.planes import Luma, luma_of, shrink

_log = logging.getLogger("camarchiver.motion.sampler")

VideoPacket: TypeAlias = "Packet[VideoStream]"

RATE = 5.0
"""Pictures a second: fewer miss a running person, more cost CPU and find nothing new."""

BROKEN = 3.0
"""Seconds after an error in which pictures are not trusted, unless a keyframe comes earlier."""
PATIENCE = 3
"""Groups of pictures with errors, one after the other, after which the stream is decoded as well as it goes.

Some cameras break the standard in every group, and a wrong picture shows more than none.
"""
SILENCE = 10.0
"""Seconds of packets without a picture after which the log says so."""

GROUP_BYTES = 64 << 20
"""What a group of pictures may take in memory; of a larger one only the keyframe is looked at."""

LUMA_FIRST = frozenset(
    ["gray", "nv12", "nv21", "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"],
)
"""8-bit formats whose first plane is the luma; others are converted."""


class SampledPicture(Struct, frozen=True):
    """One frame in the detector's format."""

    luma: Luma
    at: float
    """Presentation time in seconds of the source's own clock."""


class Sampler:
    """Decodes every packet and keeps five pictures a second: it misses nothing, but decoding costs CPU."""

    def __init__(self, codec: VideoCodecContext, *, rate: float = RATE, strict: bool = True) -> None:
        """`codec` is the stream's; its own decoder is not used, so the packets remain the recorder's.

        Unless `strict`, pictures that ffmpeg could decode only in part are returned as well.
        """
        self._decoder = _Decoder(codec, strict=strict)
        self._period = 1 / rate
        self._next: float | None = None

    def feed(self, packet: VideoPacket | None) -> Iterator[SampledPicture]:
        """The pictures that one packet yields, in presentation order; None drains the decoder at the end.

        The packet needs its timestamps. A damaged one yields nothing, and the recorder still keeps it.
        """
        for at, frame in self._decoder.frames(packet):
            due = at if self._next is None else self._next
            if at >= due - 1e-3:
                self._next = max(due, at - self._period / 2) + self._period
                yield SampledPicture(shrink(_luma(frame)), at)


class KeyframeSampler:
    """Decodes only keyframes, and every frame only until a suspicion is confirmed or dropped.

    The group of pictures before a suspicious keyframe is searched for the start of the motion. Motion that
    begins and ends between two keyframes is missed: for cameras with a keyframe every second or two.
    """

    def __init__(
        self,
        codec: VideoCodecContext,
        *,
        suspicious: Callable[[Luma], bool],
        motion_state: Callable[[], MotionState],
        rate: float = RATE,
    ) -> None:
        """`suspicious` judges a keyframe (`Detector.peek`); `motion_state` is that after the last score."""
        self._codec, self._rate = codec, rate
        self._keys = _Decoder(codec, strict=True)
        self._suspicious, self._motion_state = suspicious, motion_state
        self._attention = KeyframeState()
        self._group: list[VideoPacket] = []
        """The packets since the last decoded keyframe; none of a group that is too large."""
        self._group_bytes = 0
        self._burst: Sampler | None = None
        self._useless = 0
        """Keyframes without a picture, one after the other."""
        self._every: Sampler | None = None
        """Decodes everything, if keyframes are no whole pictures (a gradual refresh)."""
        self._seen = float("-inf")
        """Presentation time of the last picture that was returned."""

    def feed(self, packet: VideoPacket | None) -> Iterator[SampledPicture]:
        """Like `Sampler.feed`. The caller scores each picture before it takes the next."""
        if self._every is not None:
            yield from self._continue(self._every, packet)
            return
        if packet is None:
            yield from self._continue_burst(None)
            return
        # with B-frames only the decoding time shows that all frames up to it have arrived
        moment = packet.pts if packet.is_keyframe else packet.dts
        ticks, second = packet.time_base.as_integer_ratio()
        at = cast("int", moment) * ticks / second
        self._attention, choice = keyframe_rules.step(
            self._attention,
            at,
            key=packet.is_keyframe,
            moving=self._moving,
            doubtful=self._motion_state().doubtful,
        )
        if choice is not DecodeChoice.ON:
            # frames delayed by B-frames are decoded already
            yield from self._continue_burst(None)
            self._burst = None
        if choice is DecodeChoice.ALONE:
            yield from self._look_at_keyframe(packet, at)
        elif choice is DecodeChoice.SINCE and self._group:
            yield from self._begin_burst((*self._group, packet))
        elif choice is DecodeChoice.ON:
            yield from self._continue_burst(packet)
        if choice is DecodeChoice.ALONE or (choice is DecodeChoice.ON and packet.is_keyframe):
            self._group, self._group_bytes = [], 0
        self._keep(packet)

    def _keep(self, packet: VideoPacket) -> None:
        self._group_bytes += packet.size
        if self._group_bytes <= GROUP_BYTES:
            self._group.append(packet)
        else:
            self._group.clear()

    @property
    def _moving(self) -> bool:
        return self._motion_state().open is not None

    def _look_at_keyframe(self, packet: VideoPacket, at: float) -> Iterator[SampledPicture]:
        frames = [*self._keys.frames(packet), *self._keys.frames(None)]
        self._keys.restart()
        self._useless = 0 if frames else self._useless + 1
        # before that the decoder has tried to show what is broken
        if self._useless > PATIENCE:
            _log.warning("no picture can be decoded by itself: motion is looked for in every picture")
            self._every = Sampler(self._codec, rate=self._rate)
            yield from self._continue(self._every, packet)
        if not frames:
            return
        picture = SampledPicture(shrink(_luma(frames[0][1])), frames[0][0])
        if not self._moving and self._suspicious(picture.luma):
            self._attention = keyframe_rules.suspect(self._attention, at)
            yield from self._begin_burst((*self._group, packet))
        if picture.at > self._seen:
            yield self._emitted(picture)

    def _begin_burst(self, packets: Sequence[VideoPacket]) -> Iterator[SampledPicture]:
        """Begin a burst; it ends as soon as it is no longer needed."""
        # it is too short to learn whether the camera breaks the standard in every group
        self._burst = Sampler(self._codec, rate=self._rate, strict=False)
        for packet in packets:
            for picture in self._continue_burst(packet):
                yield picture
                if keyframe_rules.settled(self._attention, moving=self._moving):
                    self._burst = None
                    return

    def _continue_burst(self, packet: VideoPacket | None) -> Iterator[SampledPicture]:
        if self._burst is not None:
            yield from self._continue(self._burst, packet)

    def _continue(self, sampler: Sampler, packet: VideoPacket | None) -> Iterator[SampledPicture]:
        yield from (self._emitted(one) for one in sampler.feed(packet) if one.at > self._seen)

    def _emitted(self, picture: SampledPicture) -> SampledPicture:
        self._seen = picture.at
        return picture


class _Decoder:
    """Decodes the packets of one stream; what is broken yields nothing."""

    def __init__(self, codec: VideoCodecContext, *, strict: bool) -> None:
        self._codec = codec
        self._strict = strict
        self._context = self._opened()
        self._time_base = Fraction(0)
        self._broken: float | None = None
        """Time of the error since which pictures may be wrong, as they build on each other."""
        self._errors = 0
        """Groups of pictures with an error, one after the other."""
        self._waiting: float | None = None
        """Time of the first packet after the last picture."""
        self._told = False

    def frames(self, packet: VideoPacket | None) -> list[tuple[float, VideoFrame]]:
        """Undamaged frames with their time, which PyAV omits for frames that come at the end."""
        if packet is not None:
            self._time_base = packet.time_base
            if packet.is_keyframe:
                self._begin_group()
        try:
            decoded = self._context.decode(packet)
        except av.error.EOFError:
            return []
        except av.FFmpegError:
            self._broken = self._at(packet.dts) if packet is not None else None
            decoded = []
        timed = [(self._at(frame.pts), frame) for frame in decoded if not frame.is_corrupt]
        frames = [(at, frame) for at, frame in timed if at is not None and not self._may_be_wrong(at)]
        self._watch(self._at(packet.dts) if packet is not None else None, came=bool(frames))
        return frames

    def restart(self) -> None:
        """Make the decoder accept packets again after the end."""
        self._context.flush_buffers()

    def _opened(self) -> VideoCodecContext:
        context = av.CodecContext.create(self._codec.name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = self._codec.extradata
        # some formats state these in the container alone: msmpeg4, wmv2, huffyuv, FFV1
        context.width, context.height = self._codec.width, self._codec.height
        if self._codec.pix_fmt is not None:
            context.pix_fmt = self._codec.pix_fmt
        context.codec_tag = self._codec.codec_tag
        context.bits_per_coded_sample = self._codec.bits_per_coded_sample
        context.thread_count = 1  # threads finish sooner but cost more CPU
        # block edges don't show in a picture this small: a fifth less work, no event lost or found
        context.options = {"skip_loop_filter": "all"}
        if self._strict:
            # otherwise ffmpeg paints over what it could not decode and does not say so
            context.options["err_detect"] = "explode"
        return context

    def _begin_group(self) -> None:
        self._errors = self._errors + 1 if self._broken is not None else 0
        self._broken = None
        if self._strict and self._errors >= PATIENCE:
            self._strict = False
            self._context = self._opened()

    def _at(self, moment: int | None) -> float | None:
        return None if moment is None else float(moment * self._time_base)

    def _may_be_wrong(self, at: float) -> bool:
        return self._strict and self._broken is not None and self._broken <= at < self._broken + BROKEN

    def _watch(self, at: float | None, *, came: bool) -> None:
        """Log it once if packets have brought no picture for long."""
        if came:
            self._waiting, self._told = None, False
        elif at is not None:
            self._waiting = at if self._waiting is None else self._waiting
            if at - self._waiting >= SILENCE and not self._told:
                self._told = True
                _log.warning("no picture could be decoded for %.0f seconds; no motion is seen", SILENCE)


def _luma(frame: VideoFrame) -> Luma:
    if frame.format.name not in LUMA_FIRST:
        return np.asarray(frame.to_ndarray(format="gray"), np.uint8)
    return luma_of(frame)
