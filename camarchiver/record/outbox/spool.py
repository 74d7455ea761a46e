"""Clips on their way to the outbox: written in fragments, re-read, made durable, published; and salvage."""

from __future__ import annotations

import filecmp
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from camarchiver.errors import CamarchiverError, cause
from camarchiver.motion.events import MotionEvent
from camarchiver.naming import recorder_names
from camarchiver.naming.recorder_names import Kind
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.storage import atomic, removal
from camarchiver.storage.anchored import fingerprint_of
from camarchiver.storage.removal import Place

FRAGMENT = 0.5
"""Seconds; a kill or a power cut loses at most so much."""
EMPTY_FOR = 3600.0
"""Seconds after which a spool file without a whole frame is removed."""

_OPTIONS = {
    # whole fragments while it is written, an ordinary mp4 once it was closed
    "movflags": "hybrid_fragmented+delay_moov+default_base_moof",
    "frag_duration": str(int(FRAGMENT * 1_000_000)),
    "flush_packets": "1",
    # with the moov delayed, an edit list keeps sound and picture together; the usual 1000 would round it
    "movie_timescale": "90000",
}
# half a second of a timelapse may be hours
_EACH_FRAME = {**_OPTIONS, "movflags": f"{_OPTIONS['movflags']}+frag_every_frame"}
_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "alac", "flac"})


UNSYNCED = "clock: unsynced"
"""Stands in the `comment` of a clip whose start is by a clock that no time server had set."""


class Unfit(CamarchiverError):
    """A spool file that is not what was written into it; it stays where it is."""

    code = "damaged"


@dataclass(frozen=True, slots=True)
class Folders:
    """Where one camera's clips are written and where they go."""

    spool: Path
    outbox: Path

    def make(self) -> None:
        """Make both, durably."""
        for folder in (self.spool, self.outbox):
            atomic.make_folders(folder)

    @property
    def locks(self) -> tuple[Path, Path]:
        """What a recorder holds as long as it writes here."""
        return self.spool / ".record.lock", self.outbox / ".record.lock"

    def leftovers(self) -> tuple[Path, ...]:
        """What a killed copy left in the outbox. Raises OSError."""
        return tuple(
            path
            for path in sorted(self.outbox.iterdir())
            if recorder_names.is_begun(atomic.staged_stem(path.name) or "")
        )

    def sweep(self) -> None:
        """Remove what a killed copy left in the outbox."""
        for path in self.leftovers():
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a spool file holds."""

    frames: int
    seconds: float
    """From the first frame's presentation to the end of the last one's."""


@dataclass(frozen=True, slots=True)
class ClipStart:
    """What is known of a clip when it begins."""

    start: datetime
    """Local time of the first frame."""
    first: TimedPacket
    trigger: float
    """When its motion began, in seconds of the source's own clock."""
    latency: float
    """Seconds from the motion's begin to the decision to record it."""
    unsynced: bool = False
    """The start is by a clock that no time server has set."""
    kind: Kind = Kind.MOTION


class ClipWriter:
    """A clip that is being written."""

    def __init__(
        self, folders: Folders, label: ClipStart, video: VideoStream, audio: AudioStream | None
    ) -> None:
        """Opens the spool file, whose name tells salvage when the clip began. Raises OSError."""
        name = f"{recorder_names.stamp(label.start, label.kind)}.{secrets.token_hex(4)}.mp4"
        self.path = folders.spool / name
        self.label = label
        self.peak: MotionEvent | None = None
        """The motion with the largest thing in it."""
        self.orders: list[float] = []
        """Decoding times of its frames, in seconds of the source's own clock."""
        self.failed = ""
        """Why writing broke off; empty while all is well."""
        self._streams: dict[bool, tuple[Stream, int]] = {}
        """Of the pictures and of the sound, the copy and the ticks to take off."""
        self._last: dict[bool, int] = {}
        self._strip: BitStreamFilterContext | None = None
        """Takes off the headers that AAC has in transport streams and not in mp4."""
        options = _OPTIONS if label.kind is Kind.MOTION else _EACH_FRAME
        self._output = av.open(str(self.path), "w", format="mp4", options=options)
        if label.unsynced:
            self._output.metadata["comment"] = UNSYNCED
        packet = cast("Packet[VideoStream]", label.first.packet)
        origin = (packet.pts or 0) * packet.time_base
        for stream in (video, audio if audio is not None and carries(audio) else None):
            if stream is not None:
                copy = self._output.add_stream_from_template(stream)
                copy.time_base = stream.time_base
                self._streams[stream is video] = copy, _ticks(origin, stream)
                if stream is audio and _has_adts_headers(audio):
                    self._strip = BitStreamFilterContext("aac_adtstoasc", audio)

    def note(self, event: MotionEvent) -> None:
        """Take notice of motion that belongs to this clip."""
        larger = self.peak is None or event.peak > self.peak.peak
        if larger and event.peak_at >= self.label.first.at:
            self.peak = event

    def write(self, entry: TimedPacket) -> None:
        """Append one packet; after an error nothing more is written, and `failed` tells why."""
        packet = cast("Packet[Any]", entry.packet)
        found = self._streams.get(entry.video)
        if found is None or self.failed:
            return
        stream, origin = found
        copy: Packet[Any] = Packet(bytes(packet))
        # a camera whose clock stumbles by a tick must not end the clip
        copy.dts = max((packet.dts or 0) - origin, self._last.get(entry.video, -(1 << 62)) + 1)
        copy.pts = max((packet.pts or 0) - origin, copy.dts)
        copy.duration, copy.time_base = packet.duration or 0, packet.time_base
        copy.is_keyframe, copy.stream = packet.is_keyframe, stream
        self._last[entry.video] = copy.dts
        strip = None if entry.video else self._strip
        try:
            for one in strip.filter(copy) if strip else (copy,):
                one.stream = stream
                self._output.mux_one(one)
        except (OSError, av.FFmpegError) as error:
            self.failed = cause(error)
            return
        if entry.video:
            self.orders.append(entry.order)

    def close(self) -> None:
        """Finish the file; what an error leaves is cut to its whole fragments."""
        try:
            self._output.close()
        except (OSError, av.FFmpegError) as error:
            self.failed = self.failed or cause(error)
        if self.failed:
            cut(self.path)


def _has_adts_headers(audio: AudioStream) -> bool:
    return audio.codec_context.name == "aac" and not audio.codec_context.extradata


def carries(audio: AudioStream) -> bool:
    """Whether mp4 can hold this sound as it is."""
    return audio.codec_context is not None and audio.codec_context.name in _AUDIO


def read(path: Path, *, frames: int | None = None) -> Reading:
    """Read a finished spool file again. Raises Unfit; `frames` is how many it must hold, None for any."""
    last: dict[int, int] = {}
    spans: list[tuple[Fraction, Fraction]] = []
    try:
        with av.open(f"file:{path}") as container:
            for packet in _packets(container):
                if packet.dts is not None and packet.dts <= last.get(packet.stream_index, packet.dts - 1):
                    raise Unfit(f"{path} has timestamps that run backwards")
                last[packet.stream_index] = packet.dts or 0
                if packet.stream.type != "video":
                    continue
                if not spans and not packet.is_keyframe:
                    raise Unfit(f"{path} does not begin with a keyframe")
                begin = (packet.pts or 0) * packet.time_base
                spans.append((begin, begin + (packet.duration or 0) * packet.time_base))
    except av.FFmpegError as error:
        raise Unfit(f"{path} can't be read again: {cause(error)}") from error
    if not spans or (frames is not None and len(spans) != frames):
        raise Unfit(f"{path} holds {len(spans)} frames" + ("" if frames is None else f" of {frames}"))
    return Reading(len(spans), float(max(end for _, end in spans) - min(begin for begin, _ in spans)))


def publish(path: Path, stamp: str, seconds: float, outbox: Path, picture: bytes | None = None) -> Path:
    """Move a verified spool file into the outbox, durably and without ever replacing; its path there.

    A picture goes beside it first, under the same name. Raises OSError, or NotRemovable if it can't leave
    the spool, with the spool file in place and nothing in the outbox.
    """
    number = recorder_names.next_number(stamp, [each.name for each in outbox.iterdir()])
    while True:
        target = outbox / recorder_names.file_name(stamp, seconds, number)
        number += 1
        beside = target.with_suffix(".jpg")
        try:
            if picture is not None:
                _put_picture(picture, beside)
            try:
                _move(path, target)
            except BaseException:
                if picture is not None:
                    beside.unlink(missing_ok=True)
                raise
        except FileExistsError:
            continue
        return target


def salvage(path: Path, outbox: Path) -> Path | None:
    """Publish what is whole of a dead recorder's file; None where there is nothing more to publish.

    What was published before goes, and what has not one frame once it is an hour old. Raises OSError,
    NotRemovable or Unfit, with the file in place.
    """
    cut(path)
    if not path.stat().st_size:
        if time.time() - path.stat().st_mtime > EMPTY_FOR:
            _remove(path, None)
        return None
    stamp = path.name.partition(".")[0]
    if _published(path, stamp, outbox):
        _remove(path, None)
        return None
    return publish(path, stamp, read(path).seconds, outbox)


def _published(path: Path, stamp: str, outbox: Path) -> bool:
    """Whether the outbox has this very clip, durably: a recorder may die between publishing and unlinking."""
    size = path.stat().st_size
    for other in outbox.glob(f"{stamp}_*.mp4"):
        if other.is_symlink() or other.stat().st_size != size:
            continue
        if filecmp.cmp(path, other, shallow=False):
            atomic.sync_file(other)
            atomic.fsync_folder(outbox)
            return True
    return False


def is_empty(path: Path) -> bool:
    """Whether not one frame of a file is whole; changes nothing. Raises OSError."""
    return not _whole(path, path.stat().st_size)


def is_spool_name(name: str) -> bool:
    """Whether a recorder writes a clip under such a name."""
    return recorder_names.is_begun(name) and name.endswith(".mp4")


def cut(path: Path) -> None:
    """Cut a file that was not closed behind its last whole fragment, to nothing if it has none."""
    size = path.stat().st_size
    whole = _whole(path, size)
    if whole < size:
        before = path.stat()
        os.truncate(path, whole)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _whole(path: Path, size: int) -> int:
    """The position behind the last media data whose description is there (ISO 14496-12, 4.2 and 8.8.4)."""
    position = whole = 0
    described = closed = False
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16])
            position += length
            if length < 8 or position > size:
                break
            # a closed file has its description behind the data
            closed = closed or (kind == b"mdat" and not described)
            described = described or kind == b"moov"
            if (kind == b"mdat" and described) or (closed and described):
                whole = position
    return whole


def _packets(container: InputContainer) -> Iterator[Packet[Any]]:
    return (packet for packet in container.demux() if packet.size)


def _ticks(origin: Fraction, stream: Stream) -> int:
    """The clip's zero, its first frame, in the ticks of one stream."""
    base = stream.time_base
    return round(origin / base) if base else 0


def _put_picture(picture: bytes, target: Path) -> None:
    with atomic.staged(target) as part:
        part.path.write_bytes(picture)
        part.path.chmod(0o644)
        atomic.publish(part, target)


def _move(path: Path, target: Path) -> None:
    atomic.sync_file(path)
    _remove(path, Place(target.parent, target.name, numbered=False))


def _remove(path: Path, to: Place | None) -> None:
    removal.remove(path.parent, path.name, fingerprint_of(path.lstat()), to)
