"""Clips on their way to the outbox: written in fragments, re-read, made durable, published; and salvage."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from datetime import UTC
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from msgspec import Struct

from camarchiver.errors import CamarchiverError, cause
from camarchiver.naming import recorder_names
from camarchiver.policy import leftover_rules
from camarchiver.policy.leftover_rules import LeftoverKind
from camarchiver.runtime import clock
from camarchiver.storage import atomic, removal
from camarchiver.storage.anchored import fingerprint_of
from camarchiver.storage.removal import Place

SOUND_APART = 10.0
"""Seconds that sound may come before a clip or after its last picture."""


class Unfit(CamarchiverError):
    """A spool file that does not hold what was written into it; it stays where it is."""

    code = "damaged"


class SpoolContents(Struct, frozen=True):
    """The contents of a spool file."""

    frames: int
    seconds: float
    """From the first frame's presentation to the end of the last one's."""


def read(path: Path, *, frames: int | None = None) -> SpoolContents:
    """Read a finished spool file again. `frames` is the number it must hold, None for any. Raises Unfit.

    Frames that no player shows must be there too, but are not in the result.
    """
    last: dict[int, int] = {}
    spans: dict[bool, tuple[Fraction, Fraction]] = {}
    shown = count = 0
    try:
        with av.open(f"file:{path}") as container:
            for packet in _packets(container):
                if packet.dts is not None and packet.dts <= last.get(packet.stream_index, packet.dts - 1):
                    raise Unfit(f"{path} has timestamps that run backwards")
                last[packet.stream_index] = packet.dts or 0
                is_video = packet.stream.type == "video"
                if is_video:
                    count += 1
                    if count == 1 and not packet.is_keyframe:
                        raise Unfit(f"{path} does not begin with a keyframe")
                    # of an unfinished file the edit list is not heeded
                    if packet.is_discard or (packet.pts or 0) < 0:
                        continue
                    shown += 1
                begin = (packet.pts or 0) * packet.time_base
                end = begin + (packet.duration or 0) * packet.time_base
                known = spans.get(is_video, (begin, end))
                spans[is_video] = min(known[0], begin), max(known[1], end)
    except av.FFmpegError as error:
        raise Unfit(f"{path} can't be read again: {cause(error)}") from error
    if not shown or (frames is not None and count != frames):
        raise Unfit(f"{path} holds {count} frames" + ("" if frames is None else f" of {frames}"))
    begin, end = spans[True]
    heard = spans.get(False, (begin, end))
    if heard[0] < begin - 2 * Fraction(SOUND_APART) or heard[1] > end + 2 * Fraction(SOUND_APART):
        raise Unfit(f"{path} has sound of another time than its pictures")
    return SpoolContents(shown, float(end - begin))


def publish(path: Path, stamp: str, seconds: float, outbox: Path, picture: bytes | None = None) -> Path:
    """Move a verified spool file into the outbox, durably and never replacing; returns its path there.

    A picture goes beside it first, under the same name. Raises OSError, or NotRemovable if it can't leave
    the spool, with the spool file in place and nothing in the outbox.
    """
    number = recorder_names.next_number(stamp, [each.name for each in outbox.iterdir()])
    while True:
        target = outbox / recorder_names.file_name(stamp, seconds, number, path.suffix)
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
    """Publish the whole fragments of a dead recorder's file; None if there is nothing left to publish.

    A file published before is deleted, and one without a frame once it is left over. Raises OSError,
    NotRemovable or Unfit, with the file in place.
    """
    cut(path)
    status = path.stat()
    if not status.st_size:
        if leftover_rules.is_leftover(LeftoverKind.SPOOLED, status.st_mtime, clock.now(UTC)):
            _remove(path, None)
        return None
    stamp = path.name.partition(".")[0]
    if _published(path, stamp, outbox):
        _remove(path, None)
        return None
    return publish(path, stamp, read(path).seconds, outbox)


def _published(path: Path, stamp: str, outbox: Path) -> bool:
    """Whether the outbox has exactly this clip, durably: a recorder may die after publishing it."""
    size = path.stat().st_size
    for other in outbox.glob(f"{stamp}_*{path.suffix}"):
        if other.is_symlink() or other.stat().st_size != size:
            continue
        if filecmp.cmp(path, other, shallow=False):
            atomic.sync_file(other)
            atomic.fsync_folder(outbox)
            return True
    return False


def is_empty(path: Path) -> bool:
    """Whether no frame of a file is whole; changes nothing. Raises OSError."""
    return not _whole(path, path.stat().st_size)


def cut(path: Path) -> None:
    """Cut an unclosed file after its last whole fragment, to zero bytes if it has none."""
    size = path.stat().st_size
    whole = _whole(path, size)
    if whole < size:
        before = path.stat()
        os.truncate(path, whole)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _whole(path: Path, size: int) -> int:
    """The position after the last media data that the file describes (ISO 14496-12, 4.2 and 8.8.4)."""
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
            # a closed file has its description after the data
            closed = closed or (kind == b"mdat" and not described)
            described = described or kind == b"moov"
            if (kind == b"mdat" and described) or (closed and described):
                whole = position
    return whole


def _packets(container: InputContainer) -> Iterator[Packet[Any]]:
    return (packet for packet in container.demux() if packet.size)


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
