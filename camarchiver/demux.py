"""PyAV, and nothing else knows it: a file's packets and keyframes (runs in the probe's worker process)."""

from __future__ import annotations

import os
import stat
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import av
from av.audio.stream import AudioStream as AvAudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from camarchiver import pictures
from camarchiver.media import AudioStream, Examined, Glance, Media, Pictures, VideoStream
from camarchiver.model import LONGEST_SECONDS
from camarchiver.packet_times import FrameTimes, Shown, SoundTimes
from camarchiver.parameter_sets import header_of, signature_in
from camarchiver.picture_check import Pair

Trouble = Literal["damaged", "not-video", "unreadable", "crashed", "timeout", "stopped"]
Beat = Callable[[], None]
"""To be called with every packet: a long clip is no hung one."""
Answer = Media | Examined | Glance | Pictures
Complaints = Sequence[tuple[int, str, str]]
"""Level, who speaks, words: as `av.logging.Capture` has them."""

# Enough for the codec, the size and the duration of all but a few files, without decoding a frame.
_QUICK = {"probesize": "32", "analyzeduration": "1"}
# Opening a file else decodes its first keyframe for no more than the pixel format.
_UNDECODED = {"skip_frame": "all"}

_LOOK_EVERY = 25
"""Keyframes between two that are decoded for their size, where no header tells that it stays."""
_MOST_KEYFRAMES = 256
_SIGNED_KEYFRAMES = 3
_SIGNED_PACKETS = 500
"""How far into a clip a signature is looked for; there is one for each group of pictures."""

_NEAR_PACKETS = 64
_JOINT_SECONDS = 1

_DISCONTINUOUS = frozenset({"mpegts", "mpeg"})
_JUMP_SECONDS = 10
_LONGEST_JUMP_SECONDS = 30 * 3600

# ITU-T H.273, in ffmpeg's words (libavutil/pixdesc.c); its enumerations have the same numbers.
_UNSPECIFIED = 2
_RANGES = MappingProxyType({1: "tv", 2: "pc"})
_MATRICES = MappingProxyType({
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 14: "ictcp",
})  # fmt: skip
_PRIMARIES = MappingProxyType({
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    11: "smpte431", 12: "smpte432",
})  # fmt: skip
_TRANSFERS = MappingProxyType({
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 13: "iec61966-2-1",
    14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 18: "arib-std-b67",
})  # fmt: skip
_FIELD_ORDERS = MappingProxyType({1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"})


class Refused(Exception):
    """The file is not what was asked for; `text` is a predicate whose subject is the file."""

    def __init__(self, reason: Trouble, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def answer(job: str, path: Path, others: tuple[Any, ...], beat: Beat) -> Answer:
    """Do one of the jobs, to which `others` are given too; `Refused` is all that a file can cause."""
    av.logging.set_level(av.logging.ERROR)
    # A count of repetitions would else come with the complaints about the next file.
    av.logging.set_skip_repeated(False)
    with av.logging.Capture(local=False) as complaints:
        try:
            return _JOBS[job](path, *others, beat)
        except BlockingIOError as error:
            # The demuxer's own word for "nothing in here": a regular file is always ready to be read.
            raise Refused("damaged", "can't be read as a video: nothing in it can be decoded") from error
        except OSError as error:
            raise Refused("unreadable", f"can't be read: {error.strerror}") from error
        except av.FFmpegError as error:
            raise _unreadable(error, complaints) from error


def _unreadable(error: av.FFmpegError, complaints: Complaints) -> Refused:
    detail = complaints[0][2].strip() if complaints else error.strerror
    return Refused("damaged", f"can't be read as a video: {detail}")


def measure(path: Path, beat: Beat) -> Media:
    """Read every packet, since a header may claim what the file no longer holds."""
    with _opened(path) as container:
        video = _first_video(container)
        if not video.codec_context.pix_fmt:
            raise Refused("damaged", "has a video stream of unknown picture format")
        keyframes = _Keyframes(video, every=False)
        return _media(container, video, _read(path, container, video, beat, keyframes), keyframes)


def examine(path: Path, beat: Beat) -> Examined:
    """Read every packet and decode the keyframes, the cheapest proof that the pictures are there."""
    with av.logging.Capture(local=False) as complaints:
        try:
            return _examined(path, beat, complaints)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise _unreadable(error, complaints) from error


def _examined(path: Path, beat: Beat, complaints: Complaints) -> Examined:
    with _opened(path, _UNDECODED) as container:
        video = _first_video(container)
        keyframes = _Keyframes(video, every=True)
        tally = _read(path, container, video, beat, keyframes)
        flaw = keyframes.flaw(complaints)
        if not video.codec_context.pix_fmt:
            raise Refused("damaged", flaw or "has a video stream of unknown picture format")
        return Examined(_media(container, video, tally, keyframes), flaw)


def glance(path: Path, beat: Beat) -> Glance:
    """Read the header, and the first frames only where the header doesn't say enough."""
    for options in (_QUICK, {}):
        with _opened(path, options) as container:
            video = _first_video(container)
            duration = container.duration
            if video.width and duration:
                break
    seconds = (duration or 0) / 1_000_000
    is_told = 0 < seconds <= LONGEST_SECONDS
    return Glance(_codec(video) or "", video.width, video.height, seconds if is_told else None)


def compare(archive: Path, source: Path, pairs: Sequence[Pair], beat: Beat) -> Pictures:
    """Decode some pictures of both files, which are those of the same moments."""
    with ExitStack() as stack:

        def opener(path: Path) -> Callable[[], tuple[InputContainer, AvVideoStream]]:
            def opened() -> tuple[InputContainer, AvVideoStream]:
                container = stack.enter_context(_opened(path, _UNDECODED))
                return container, _first_video(container)

            return opened

        return pictures.compare(opener(source), opener(archive), pairs, beat)


_JOBS: dict[str, Callable[..., Answer]] = {
    "measure": measure,
    "examine": examine,
    "glance": glance,
    "compare": compare,
}


def _read(
    path: Path, container: InputContainer, video: AvVideoStream, beat: Beat, keyframes: _Keyframes
) -> _Tally:
    """Every packet of the file, keyframes of its picture decoded."""
    tally = _Tally(container, video)
    joints = _Joints(container, video)
    for packet in container.demux():
        beat()
        joints.look_at(packet)
        if packet.size and packet.stream.index in tally.sounds:
            tally.add_sound(packet)
        if packet.stream.index != video.index:
            continue
        if packet.size:
            tally.add(packet)
        # The packets between are not even given to the decoder; the empty one at the end flushes it.
        if packet.is_keyframe or not packet.size:
            keyframes.take(packet)
    joints.end()
    _refuse_if_incomplete(path, container, video, tally)
    tally.is_joined = joints.are_there
    return tally


def _media(container: InputContainer, video: AvVideoStream, tally: _Tally, keyframes: _Keyframes) -> Media:
    kind, tick = container.format.name, _fraction(video.time_base) or Fraction(0)
    is_delayed = pictures.is_untimed(container, video) and video.codec_context.reorder_depth > 0
    shown = tally.frame_times.shown(delay=video.codec_context.reorder_depth if is_delayed else 0)
    if shown is None:
        raise Refused("damaged", "has a video stream without timestamps")
    return Media(
        container=kind,
        video=_video_stream(video, keyframes),
        video_streams=sum(not _is_picture(stream) for stream in container.streams.video),
        audio=tuple(
            _audio_stream(stream, tally.sounds[stream.index], float(shown.first * tick))
            for stream in container.streams.audio
        ),
        other_streams=tuple(_other_streams(container)),
        packets=tally.packets,
        keyframes=tally.keyframes,
        packets_before_keyframe=tally.before_keyframe,
        start=float(shown.first * tick),
        span=float(_span(shown, tick)),
        tags={key.lower(): value for key, value in container.metadata.items()},
        shown=tally.shown,
        times=shown.times,
        # Where times are those of decoding, only the first frame's is the same as its packet's place.
        keyframe_times=tuple(
            moment - shown.first for moment in tally.keyframe_times[: 1 if is_delayed else None]
        ),
        unkeepable=_unkeepable(container, video, tally, shown),
        varies=keyframes.varies,
        signed=tally.signed,
    )


@contextmanager
def _opened(path: Path, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    status = path.lstat()
    # A FIFO would block for ever, a link might lead out of the tree.
    if not stat.S_ISREG(status.st_mode):
        raise Refused("unreadable", "is not a regular file")
    if status.st_size == 0:
        raise Refused("damaged", "is empty")
    # PyAV 18 refuses tags that are not UTF-8 unless told; 19 always escapes them and lost the option.
    version = int(av.__version__.split(".")[0])
    tags: dict[str, Any] = {"metadata_errors": "surrogateescape"} if version < 19 else {}
    # `file:` keeps names such as `concat:x.mp4` from being taken for a protocol.
    with av.open(f"file:{path}", options=options or {}, **tags) as container:
        yield container


def _first_video(container: InputContainer) -> AvVideoStream:
    videos = [stream for stream in container.streams.video if not _is_picture(stream)]
    if not videos:
        raise Refused("not-video", "has no video stream")
    if _codec(videos[0]) is None:
        raise Refused("not-video", "has a video stream of an unknown codec")
    return videos[0]


def _is_picture(stream: Stream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _codec(stream: Stream) -> str | None:
    # There is no context where FFmpeg has no decoder, whatever the type says; and `name` would be the
    # decoder's (`libdav1d`).
    context = cast("Any", stream.codec_context)
    return None if context is None else str(context.codec.canonical_name)


def _refuse_if_incomplete(path: Path, container: InputContainer, video: AvVideoStream, tally: _Tally) -> None:
    """Losses that FFmpeg passes over in silence, measured with 5.1 and 9.0."""
    kind = container.format.name
    if not tally.packets:
        raise Refused("damaged", "has a video stream without packets")
    if kind == "avi" and tally.missing_ticks(video.frames) * tally.packets >= video.frames:
        raise Refused("damaged", f"has {tally.packets} readable frames, its header says {video.frames}")
    if kind == "mpegts" and not _ends_in_whole_packets(path):
        raise Refused("damaged", "ends in the middle of a transport packet or in padding")
    # A fragmented mp4 has no frames in its header.
    if "mp4" in kind and not video.frames and not _boxes_fill_the_file(path):
        raise Refused("damaged", "has a hole between its fragments")


def _ends_in_whole_packets(path: Path) -> bool:
    """Transport packets are 188 bytes and begin with 0x47; 192 with a time before, 204 with parity after."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 4 * 204), os.SEEK_END)
        end = file.read()
    return any(
        set(end[offset - length :: -length]) == {0x47}
        for length, offset in ((188, 0), (192, 4), (204, 0))
        if len(end) >= length
    )


def _boxes_fill_the_file(path: Path) -> bool:
    """Whether the top-level boxes (ISO 14496-12, 4.2) follow one another up to the last byte."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4])
            if length == 1:
                length = int.from_bytes(header[8:])
            elif length == 0 and header[4:8] == b"mdat":
                length = size - position
            if length < 8:
                return False
            position += length
    return position == size


def _video_stream(video: AvVideoStream, keyframes: _Keyframes) -> VideoStream:
    context = video.codec_context
    assert context.format is not None
    name = context.format.name
    return VideoStream(
        codec=_codec(video) or "",
        width=context.width,
        height=context.height,
        pixel_format=name,
        bit_depth=max(component.bits for component in context.format.components),
        frame_rate=_fraction(video.average_rate),
        time_base=_fraction(video.time_base) or Fraction(0),
        sample_aspect=_aspect(video.sample_aspect_ratio),
        rotation=keyframes.rotation,
        color_range="pc" if name.startswith("yuvj") else _RANGES.get(context.color_range, ""),
        matrix=_h273(_MATRICES, context.colorspace),
        primaries=_h273(_PRIMARIES, context.color_primaries),
        transfer=_h273(_TRANSFERS, context.color_trc),
        field_order=_field_order(_codec(video) or "", context.field_order, keyframes.is_interlaced),
    )


def _aspect(value: Any) -> Fraction:
    return _fraction(value) or Fraction(1)


def _h273(names: Mapping[int, str], value: int) -> str:
    """ffmpeg's name of a code point of ITU-T H.273; its number where it has none."""
    return "" if value in (_UNSPECIFIED, 0) and value not in names else names.get(value, str(value))


def _field_order(codec: str, stated: int, is_interlaced: bool | None) -> str:
    """What the container or the parser says, unless the pictures are known to be otherwise."""
    order = _FIELD_ORDERS.get(stated, "")
    # Containers repeat the source's order for codecs that have no fields.
    if codec == "av1":
        return "progressive"
    if is_interlaced and order in ("", "progressive"):
        return "tt"
    return order


def _fraction(value: Any) -> Fraction | None:
    """PyAV 18 gives a `Fraction` or None, 19 its own type, 0/0 or 0/1 where unknown."""
    return Fraction(value.numerator, value.denominator) if value else None


def _other_streams(container: InputContainer) -> Iterator[str]:
    for stream in container.streams:
        if stream.type == "video" and _is_picture(stream):
            yield f"picture:{_codec(stream) or 'unknown'}"
        elif stream.type not in ("video", "audio"):
            yield f"{stream.type}:{_codec(stream) or 'unknown'}"


class _Keyframes:
    """Decodes keyframes of one stream: all of them, or those that may differ from the ones before in size."""

    def __init__(self, video: AvVideoStream, *, every: bool) -> None:
        # The encoders want the cores.
        video.codec_context.thread_count = 1
        self.varies = ""
        self.rotation = 0
        self.is_interlaced: bool | None = None
        """Of the first that decoded; None where none did."""
        self._video = video
        self._codec = _codec(video) or ""
        self._every = every
        self._header = b""
        self._since = 0
        self._expected = 0
        self._hidden = 0
        """Keyframes that an edit list keeps from being shown: the decoder drops them."""
        self._decoded = 0
        self._looks: tuple[object, ...] = ()
        self._error = ""

    def take(self, packet: Packet[Stream]) -> None:
        """A keyframe, or the empty packet at the end, which flushes the decoder."""
        self._since += 1
        if packet.size and not (self._is_new(packet) or self._every):
            return
        self._since = 0
        self._expected += packet.size > 0 and not packet.is_discard
        self._hidden += packet.is_discard
        if self._error:
            return
        try:
            for frame in packet.decode():
                self._look_at(cast("VideoFrame", frame))
        except av.FFmpegError as error:
            self._error = error.strerror or str(error)

    def flaw(self, complaints: Complaints) -> str:
        """Why the pictures are not proved to be there; empty where they are."""
        problem = complaints[0][2].strip() if complaints else self._error
        if problem:
            return f"has keyframes that don't decode: {problem}"
        if self._decoded != self._expected or not self._expected + self._hidden:
            return f"has {self._expected} keyframes, of which {self._decoded} decode"
        return ""

    def _is_new(self, packet: Packet[Stream]) -> bool:
        """Whether this keyframe may have another size than the one before."""
        header = header_of(self._codec, bytes(packet), self._video.codec_context.extradata or b"")
        if packet.has_sidedata("new_extradata"):
            header = (header or b"") + bytes(packet.get_sidedata("new_extradata"))
        if header is None:
            return not self._expected or self._since >= _LOOK_EVERY
        is_first, is_other = not self._expected, bool(header) and header != self._header
        self._header = header or self._header
        return is_first or is_other

    def _look_at(self, frame: VideoFrame) -> None:
        self._decoded += not frame.is_corrupt
        aspect = _aspect(self._video.codec_context.sample_aspect_ratio)
        looks = (f"{frame.width}x{frame.height}", f"a pixel aspect of {aspect}", frame.format.name)
        if not self._looks:
            self._looks = looks
            self.rotation = round(frame.rotation) % 360
            self.is_interlaced = frame.interlaced_frame
        for before, after in zip(self._looks, looks, strict=True):
            if before != after and not self.varies:
                self.varies = f"changes from {before} to {after} midway"


class _Joints:
    """Tells a hole in a file from the place where a recorder joined two transport streams.

    Both break the count of transport packets, which makes the demuxer call a frame near it corrupt. Where
    streams were joined, the frame is whole and a keyframe with a time that does not follow comes next.
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
        """Raise `Refused` as soon as it is known to be a hole."""
        self._count += 1
        if packet.stream.index == self._video and packet.dts is not None:
            self._look_for_joint(packet, packet.dts)
        if packet.is_corrupt and self._count - self._joint > _NEAR_PACKETS:
            self._suspect = self._suspect or (self._count, packet.pos)
        if self._suspect and (not self._may_be or self._count - self._suspect[0] > _NEAR_PACKETS):
            self.end()

    def end(self) -> None:
        """Nothing follows."""
        if self._suspect:
            raise Refused("damaged", f"is cut short or has a hole near byte {self._suspect[1]}")

    def _look_for_joint(self, packet: Packet[Stream], dts: int) -> None:
        expected = self._expected
        self._expected = dts + (packet.duration or 0)
        if expected is None or not packet.is_keyframe:
            return
        late = (dts - expected) * (_fraction(packet.time_base) or Fraction(0))
        if late < 0 or late > _JOINT_SECONDS:
            self._joint = self._count
            self.are_there = self.are_there or self._suspect is not None
            self._suspect = None


class _Tally:
    """Counts the packets of the picture, and keeps the times of picture and sound."""

    def __init__(self, container: InputContainer, video: AvVideoStream) -> None:
        self.packets = 0
        self.shown = 0
        self.keyframes = 0
        self.before_keyframe = 0
        self.signed = ""
        self.is_joined = False
        self.frame_times = FrameTimes()
        self.keyframe_times: list[int] = []
        self.sounds = {stream.index: _sound_times(stream) for stream in container.streams.audio}
        self._every = 1
        self._last_decoded = 0
        self._is_untimed = pictures.is_untimed(container, video)
        self._may_be_signed = _codec(video) in ("h264", "hevc")

    def add(self, packet: Packet[Stream]) -> None:
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

    def missing_ticks(self, declared: int) -> int:
        """How far the decoding times fall short of the ticks that an avi header declares.

        Ticks are one frame each, or many more than frames: then all between are empty, and the
        last frame may stand up to a frame's length before the end.
        """
        return declared - 1 - self._last_decoded

    def _keep_keyframe(self, moment: int) -> None:
        self.keyframe_times.append(moment)
        if len(self.keyframe_times) > _MOST_KEYFRAMES:
            del self.keyframe_times[1::2]
            self._every *= 2


def _sound_times(stream: AvAudioStream) -> SoundTimes:
    context = cast("Any", stream.codec_context)
    size = 0 if context is None else int(context.frame_size or 0)
    return SoundTimes(_fraction(stream.time_base) or Fraction(0), stream.sample_rate or 0, size)


def _span(shown: Shown, tick: Fraction) -> Fraction:
    """Seconds from the first frame to the end of the last, which is taken to be as long as the others are.

    Its own duration won't do: avi says one tick, and mp4 gives the time to the next packet, which
    is not the next frame's where frames are reordered.
    """
    between = shown.times[-1] * tick
    others = len(shown.times) - 1
    span = between + (between / others if others else shown.last_duration * tick)
    if span > LONGEST_SECONDS:
        raise Refused("damaged", "has timestamps more than thirty years apart")
    return span


def _audio_stream(stream: AvAudioStream, times: SoundTimes, picture: float) -> AudioStream:
    """`picture` is the first shown frame's time on the file's clock, in seconds."""
    start = times.start
    gaps = array("d", (each - (start or 0.0) for each in times.gaps))
    return AudioStream(
        codec=_codec(stream) or "unknown",
        sample_rate=stream.sample_rate or 0,
        channels=stream.channels or 0,
        frame=times.frame,
        start=None if start is None else start - picture,
        span=0.0 if start is None else times.end - start,
        gaps=gaps,
        primed=times.primed,
    )


def _unkeepable(container: InputContainer, video: AvVideoStream, tally: _Tally, shown: Shown) -> str:
    """Why ffmpeg can give an archive neither these times nor an order that fits them."""
    times = tally.frame_times
    if len(shown.times) < tally.shown or 0 < times.untimed < tally.shown:
        return "has frames without a presentation time"
    if tally.is_joined:
        return "is joined from parts that have clocks of their own"
    if times.is_disordered:
        return "has frames whose times are out of order"
    longest = max((after - before for before, after in pairwise(shown.times)), default=0)
    seconds = longest * (_fraction(video.time_base) or Fraction(0))
    # ffmpeg's `-dts_delta_threshold` and `-dts_error_threshold`: it removes longer jumps.
    if seconds > (_JUMP_SECONDS if container.format.name in _DISCONTINUOUS else _LONGEST_JUMP_SECONDS):
        return f"has a jump of {float(seconds):.0f} s in its times"
    return ""
