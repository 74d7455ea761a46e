"""Facts from the packets of one file, read one by one: counts, times, joints, signatures."""

from __future__ import annotations

import struct
from array import array
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

from av.audio.stream import AudioStream as AvAudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream as AvVideoStream

from camarchiver.media.info import AudioStream
from camarchiver.media.parsing import pictures
from camarchiver.media.parsing.packet_times import FrameTimes, ShownTimes, SoundTimes
from camarchiver.media.parsing.parameter_sets import is_gradual, signature_in, sound_format
from camarchiver.media.parsing.streams import NotParsed, codec_of, fraction
from camarchiver.naming.time_groups import LONGEST_SECONDS

_MOST_KEYFRAMES = 256
_SIGNED_KEYFRAMES = 3
_SIGNED_PACKETS = 500
"""How far into a clip a signature is searched; there is one for each group of pictures."""
_NEAR_PACKETS = 64
_JOINT_SECONDS = 1
_DISCONTINUOUS = frozenset({"mpegts", "mpeg"})
_JUMP_SECONDS = 10
_LONGEST_JUMP_SECONDS = 30 * 3600


class JoinDetector:
    """Distinguishes a hole in a file from the place where a recorder joined two transport streams.

    Both break the count of transport packets, so the demuxer marks a frame near it as corrupt. If streams
    were joined, the frame is complete and a keyframe with a discontinuous time comes next.
    """

    def __init__(self, container: InputContainer, video: AvVideoStream) -> None:
        self.are_there = False
        self._may_be = container.format.name == "mpegts"
        self._video = video.index
        self._count = 0
        self._joint = -_NEAR_PACKETS - 1
        self._suspect: tuple[int, int | None] | None = None
        self._expected: int | None = None

    def look_at(self, packet: Packet[Stream]) -> None:
        """Process a packet. Raises NotParsed as soon as a hole is certain."""
        self._count += 1
        if packet.stream.index == self._video and packet.dts is not None:
            self._look_for_joint(packet, packet.dts)
        if packet.is_corrupt and self._count - self._joint > _NEAR_PACKETS:
            self._suspect = self._suspect or (self._count, packet.pos)
        if self._suspect and (not self._may_be or self._count - self._suspect[0] > _NEAR_PACKETS):
            self.end()

    def end(self) -> None:
        """End the packets. Raises NotParsed if there is a hole."""
        if self._suspect:
            raise NotParsed("damaged", f"is cut short or has a hole near byte {self._suspect[1]}")

    def _look_for_joint(self, packet: Packet[Stream], dts: int) -> None:
        expected = self._expected
        self._expected = dts + (packet.duration or 0)
        if expected is None or not packet.is_keyframe:
            return
        late = (dts - expected) * (fraction(packet.time_base) or Fraction(0))
        if late < 0 or late > _JOINT_SECONDS:
            self._joint = self._count
            self.are_there = self.are_there or self._suspect is not None
            self._suspect = None


class PacketTally:
    """Counts the packets of the picture, and keeps the times of picture and sound."""

    def __init__(self, container: InputContainer, video: AvVideoStream) -> None:
        self.packets = 0
        self.shown = 0
        self.keyframes = 0
        self.before_keyframe = 0
        self.signed = ""
        self.is_gradual = False
        self.is_joined = False
        self.empty = 0
        """Frames without data; one at the end, which states how long the last frame lasts, does not count."""
        self.frame_times = FrameTimes()
        self.keyframe_times: list[int] = []
        self.changing_sounds = set[int]()
        """Indices of the audio streams whose format changes midway."""
        self._sound_formats: dict[int, bytes] = {}
        self._aac = {stream.index for stream in container.streams.audio if codec_of(stream) == "aac"}
        self.sounds = {stream.index: _sound_times(stream) for stream in container.streams.audio}
        self._every = 1
        self._last_decoded = 0
        self._empty_end = 0
        self._is_untimed = pictures.is_untimed(container, video)
        self._video = video
        self._codec = codec_of(video) or ""
        self._may_be_signed = self._codec in ("h264", "hevc")

    def add_empty(self) -> None:
        """Count a packet that has a time and no data."""
        self.empty += self._empty_end > 0
        self._empty_end += 1

    def add(self, packet: Packet[Stream]) -> None:
        if self._empty_end:
            self.empty, self._empty_end = self.empty + 1, 0
        if not self.packets and packet.is_keyframe:
            header = self._video.codec_context.extradata or b""
            self.is_gradual = is_gradual(self._codec, bytes(packet), header)
        self.packets += 1
        self.keyframes += packet.is_keyframe
        self.before_keyframe += not self.keyframes
        self._last_decoded = packet.dts or 0
        pts = packet.dts if self._is_untimed else packet.pts
        if not packet.is_discard:
            self.shown += 1
            self.frame_times.add(pts, packet.dts, packet.duration or 0)
        if self.keyframes and pts is not None:
            self.frame_times.look_at_order(pts, packet.dts)
        moment = packet.dts if pts is None else pts
        if packet.is_keyframe and moment is not None and self.keyframes % self._every == 0:
            self._keep_keyframe(moment)
        if self._may_be_signed and self.keyframes <= _SIGNED_KEYFRAMES and self.packets <= _SIGNED_PACKETS:
            self.signed = self.signed or signature_in(bytes(packet))

    def add_sound(self, packet: Packet[Stream]) -> None:
        self._look_at_format(packet)
        moment = packet.dts if packet.pts is None else packet.pts
        if moment is None:
            return
        skipped = (0, 0)
        if packet.has_sidedata("skip_samples"):
            # Samples to skip at the start and at the end (AV_PKT_DATA_SKIP_SAMPLES).
            skipped = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
        self.sounds[packet.stream.index].add(
            moment, packet.duration or 0, skipped=skipped, is_hidden=packet.is_discard
        )

    def _look_at_format(self, packet: Packet[Stream]) -> None:
        index = packet.stream.index
        # In other sound the same bytes are samples: quiet G.711 has them every few seconds.
        first = found = sound_format(bytes(memoryview(packet)[:4])) if index in self._aac else b""
        if packet.has_sidedata("new_extradata"):
            found = bytes(packet.get_sidedata("new_extradata"))
            first = packet.stream.codec_context.extradata or found
        if found and self._sound_formats.setdefault(index, first) != found:
            self.changing_sounds.add(index)

    def missing_ticks(self, declared: int) -> int:
        """How far the decoding times fall short of the ticks that an avi header declares.

        Ticks are one frame each, or there are many more ticks than frames: then the ticks between are empty,
        and the last frame may begin up to a frame's length before the end.
        """
        return declared - 1 - self._last_decoded

    def _keep_keyframe(self, moment: int) -> None:
        self.keyframe_times.append(moment)
        if len(self.keyframe_times) > _MOST_KEYFRAMES:
            del self.keyframe_times[1::2]
            self._every *= 2


def _sound_times(stream: AvAudioStream) -> SoundTimes:
    context = cast("Any", stream.codec_context)
    if context is None:
        raise NotParsed("not-video", "has sound of an unknown codec")
    size = int(context.frame_size or 0)
    return SoundTimes(fraction(stream.time_base) or Fraction(0), stream.sample_rate or 0, size)


def span_of(shown: ShownTimes, tick: Fraction) -> Fraction:
    """Seconds from the first frame to the end of the last, which is assumed to be as long as the others.

    Its own duration can't be used: avi says one tick, and mp4 gives the time to the next packet, which
    is not the next frame's if frames are reordered.
    """
    between = shown.times[-1] * tick
    others = len(shown.times) - 1
    span = between + (between / others if others else shown.last_duration * tick)
    if span > LONGEST_SECONDS:
        raise NotParsed("damaged", "has timestamps more than thirty years apart")
    return span


def audio_stream_of(stream: AvAudioStream, times: SoundTimes, picture: float, *, varies: bool) -> AudioStream:
    """`picture` is the first shown frame's time on the file's clock, in seconds."""
    start = times.start
    gaps = array("d", (each - (start or 0.0) for each in times.gaps))
    return AudioStream(
        codec=codec_of(stream) or "",
        sample_rate=stream.sample_rate or 0,
        channels=stream.channels or 0,
        frame=times.frame,
        start=None if start is None else start - picture,
        span=0.0 if start is None else times.end - start,
        gaps=gaps,
        primed=times.primed,
        varies=varies,
    )


def unkeepable(container: InputContainer, video: AvVideoStream, tally: PacketTally, shown: ShownTimes) -> str:
    """Why ffmpeg can't give these times, in a matching order, to an archive; empty if it can."""
    times = tally.frame_times
    if len(shown.times) < tally.shown or 0 < times.untimed < tally.shown:
        return "has frames without a presentation time"
    # In avi it is usual to repeat a frame in this way.
    if tally.empty and "mp4" in container.format.name:
        return f"has {tally.empty} frames without data"
    if tally.is_joined:
        return "is joined from parts that have clocks of their own"
    if times.is_disordered:
        return "has frames whose times are out of order"
    longest = max((after - before for before, after in pairwise(shown.times)), default=0)
    seconds = longest * (fraction(video.time_base) or Fraction(0))
    # ffmpeg's `-dts_delta_threshold` and `-dts_error_threshold`: it removes longer jumps.
    if seconds > (_JUMP_SECONDS if container.format.name in _DISCONTINUOUS else _LONGEST_JUMP_SECONDS):
        return f"has a jump of {float(seconds):.0f} s in its times"
    return ""
