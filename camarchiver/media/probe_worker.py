"""Reads the packets and keyframes of a file with PyAV, in the worker process that `probe` starts."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from camarchiver.domain.clip import LONGEST_SECONDS
from camarchiver.media.info import AudioStream, Examined, Glance, Media, VideoStream

Trouble = Literal["damaged", "not-video", "unreadable", "crashed", "timeout", "stopped"]
Beat = Callable[[], None]
"""To be called with every packet: a long clip is no hung one."""
Answer = Media | Examined | Glance
Complaints = Sequence[tuple[int, str, str]]
"""Level, who speaks, words: as `av.logging.Capture` has them."""

# Enough for the codec, the size and the duration of all but a few files, without decoding a frame.
_QUICK = {"probesize": "32", "analyzeduration": "1"}
# Opening a file else decodes its first keyframe for no more than the pixel format.
_UNDECODED = {"skip_frame": "all"}


class Refused(Exception):
    """The file is not what was asked for; `text` is a predicate whose subject is the file."""

    def __init__(self, reason: Trouble, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def answer(job: str, path: Path, beat: Beat) -> Answer:
    """Do one of the jobs; `Refused` is the only exception that a file can cause."""
    av.logging.set_level(av.logging.ERROR)
    # A count of repetitions would else come with the complaints about the next file.
    av.logging.set_skip_repeated(False)
    with av.logging.Capture(local=False) as complaints:
        try:
            return _JOBS[job](path, beat)
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
        return _media(container, video, _read(path, container, video, beat, None))


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
        keyframes = _Keyframes(video)
        tally = _read(path, container, video, beat, keyframes)
        flaw = keyframes.flaw(complaints)
        if not video.codec_context.pix_fmt:
            raise Refused("damaged", flaw or "has a video stream of unknown picture format")
        return Examined(_media(container, video, tally), flaw)


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


_JOBS: dict[str, Callable[[Path, Beat], Answer]] = {"measure": measure, "examine": examine, "glance": glance}


def _read(
    path: Path, container: InputContainer, video: AvVideoStream, beat: Beat, keyframes: _Keyframes | None
) -> _Tally:
    """Every packet of the file, the keyframes of its picture decoded where that is wanted."""
    tally = _Tally()
    for packet in container.demux():
        beat()
        if packet.is_corrupt:
            raise Refused("damaged", f"is cut short or has a hole near byte {packet.pos}")
        if packet.stream.index != video.index:
            continue
        if packet.size:
            tally.add(packet)
        # The packets between are not even given to the decoder; the empty one at the end flushes it.
        if keyframes is not None and (packet.is_keyframe or not packet.size):
            keyframes.decode(packet)
    _refuse_if_incomplete(path, container, video, tally)
    return tally


def _media(container: InputContainer, video: AvVideoStream, tally: _Tally) -> Media:
    start, span = tally.times(video)
    return Media(
        container=container.format.name,
        video=_video_stream(video),
        video_streams=sum(not _is_picture(stream) for stream in container.streams.video),
        audio=tuple(
            AudioStream(_codec(stream) or "unknown", stream.sample_rate or 0, stream.channels or 0)
            for stream in container.streams.audio
        ),
        other_streams=tuple(_other_streams(container)),
        packets=tally.packets,
        keyframes=tally.keyframes,
        packets_before_keyframe=tally.before_keyframe,
        start=start,
        span=span,
        tags={key.lower(): value for key, value in container.metadata.items()},
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


def _video_stream(video: AvVideoStream) -> VideoStream:
    context = video.codec_context
    assert context.format is not None
    return VideoStream(
        codec=_codec(video) or "",
        width=context.width,
        height=context.height,
        pixel_format=context.format.name,
        bit_depth=max(component.bits for component in context.format.components),
        frame_rate=_fraction(video.average_rate),
        time_base=_fraction(video.time_base) or Fraction(0),
    )


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
    """Decodes the keyframes of one stream and counts those that came out whole."""

    def __init__(self, video: AvVideoStream) -> None:
        # The encoders want the cores.
        video.codec_context.thread_count = 1
        self._expected = 0
        self._decoded = 0
        self._error = ""

    def decode(self, packet: Packet[Stream]) -> None:
        self._expected += packet.size > 0
        if self._error:
            return
        try:
            self._decoded += sum(not cast("VideoFrame", frame).is_corrupt for frame in packet.decode())
        except av.FFmpegError as error:
            self._error = error.strerror or str(error)

    def flaw(self, complaints: Complaints) -> str:
        """Why the pictures are not proved to be there; empty where they are."""
        problem = complaints[0][2].strip() if complaints else self._error
        if problem:
            return f"has keyframes that don't decode: {problem}"
        if self._decoded != self._expected or not self._expected:
            return f"has {self._expected} keyframes, of which {self._decoded} decode"
        return ""


class _Tally:
    """Counts the packets of one stream and keeps the times of its first and its last frame."""

    def __init__(self) -> None:
        self.packets = 0
        self.keyframes = 0
        self.before_keyframe = 0
        self._first: int | None = None
        self._last: int | None = None
        self._duration = 0
        self._last_decoded = 0

    def add(self, packet: Packet[Stream]) -> None:
        self.packets += 1
        self.keyframes += packet.is_keyframe
        self.before_keyframe += not self.keyframes
        self._last_decoded = packet.dts or 0
        # Some avi files know no presentation times: there the decoding order has to do.
        moment = packet.dts if packet.pts is None else packet.pts
        if moment is None:
            return
        if self._first is None or moment < self._first:
            self._first = moment
        if self._last is None or moment > self._last:
            self._last = moment
            self._duration = packet.duration or 0

    def missing_ticks(self, declared: int) -> int:
        """How far the decoding times fall short of the ticks that an avi header declares.

        Ticks are one frame each, or many more than frames: then all between are empty, and the
        last frame may stand up to a frame's length before the end.
        """
        return declared - 1 - self._last_decoded

    def times(self, video: AvVideoStream) -> tuple[float, float]:
        """Start and span in seconds, the last frame taken to be as long as the others on average.

        Its own duration won't do: avi says one tick, and mp4 gives the time to the next packet, which
        is not the next frame's where frames are reordered.
        """
        if self._first is None or self._last is None:
            raise Refused("damaged", "has a video stream without timestamps")
        tick = _fraction(video.time_base) or Fraction(0)
        between = (self._last - self._first) * tick
        length = between / (self.packets - 1) if self.packets > 1 else self._duration * tick
        if between + length > LONGEST_SECONDS:
            raise Refused("damaged", "has timestamps more than thirty years apart")
        return float(self._first * tick), float(between + length)
