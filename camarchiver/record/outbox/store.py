"""The outbox on disk: clips, confirmed transfers and announcements; and the removal of clips."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from camarchiver.domain.clip import STATE_FOLDER, Clip
from camarchiver.domain.hold import held_by
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import RemoveCopy
from camarchiver.domain.untrusted import Count, Nanoseconds, RelativePath, convert
from camarchiver.errors import StorageError, cause
from camarchiver.naming import patterns as name_patterns
from camarchiver.naming import recorder_names
from camarchiver.naming.folders import comparable
from camarchiver.record.outbox.rules import Notice, OutboxClip
from camarchiver.state import holds
from camarchiver.storage import anchored, atomic, removal, walk

_log = logging.getLogger("camarchiver.record.outbox.store")

TRANSFERRED = "transferred"
"""File in the state folder with a line for each transferred file, by the transfer; see docs/recording.md."""


ANNOUNCED = "announced"
"""Folder of the announcements, with a file for each camera."""


class ConfirmedTransfer(NamedTuple):
    """A file that arrived whole at the transfer's destination."""

    size: Count
    mtime_ns: Nanoseconds
    relative: RelativePath
    """Below the outbox, with `/`."""


class _Announcements(Struct, frozen=True):
    """The file with the announcements of one camera."""

    clips: dict[RelativePath, Notice]
    """By path below the outbox."""


def state(outbox: Path) -> Path:
    """The folder of the outbox's holds, announcements and confirmed transfers."""
    return outbox / STATE_FOLDER


def make_state(outbox: Path) -> None:
    """Create the state folder, which no transfer copies. Raises OSError."""
    atomic.make_private_folders(state(outbox))


def transferred(outbox: Path) -> frozenset[ConfirmedTransfer]:
    """The transfers that were confirmed; lines that can't be parsed confirm nothing."""
    path = state(outbox) / TRANSFERRED
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        _log.warning("%s can't be read, so no transfer counts as confirmed: %s", path, cause(error))
        return frozenset()
    # only a newline ends a line; the last one without it was still being written
    return frozenset(found for line in text.split("\n")[:-1] if (found := _arrived(line)) is not None)


def cameras(outbox: Path) -> tuple[str, ...]:
    """The cameras that have a folder here. Raises OSError."""
    if not outbox.is_dir():
        return ()
    found = walk.look(outbox, wanted=walk.NOTHING).folders
    return tuple(sorted(name for name in found if not name.startswith(".")))


def waiting(outbox: Path, camera: str, zone: tzinfo) -> Iterator[OutboxClip]:
    """The recorder's own clips of one camera; other files are left out. Raises OSError."""
    confirmed = transferred(outbox)
    folder = outbox / camera
    present = [path.name for path in walk.paths_in(folder)]
    pictures = {name for name in present if name.endswith(".jpg")}
    reader = name_patterns.Names()
    for name in present:
        if not recorder_names.is_file_name(name):
            continue
        with suppress(FileNotFoundError):
            clip = _clip(outbox, camera, name, pictures, reader, zone)
            if clip is not None:
                size = clip.fingerprint.size + sum((folder / each).lstat().st_size for each in clip.sidecars)
                arrived = ConfirmedTransfer(clip.fingerprint.size, clip.fingerprint.mtime_ns, clip.relative)
                yield OutboxClip(clip, size, arrived in confirmed)


def _clip(
    outbox: Path, camera: str, name: str, pictures: Set[str], reader: name_patterns.Names, zone: tzinfo
) -> Clip | None:
    status = (outbox / camera / name).lstat()
    parsed = reader.read(Path(name).stem, camera)
    if parsed is None or not stat.S_ISREG(status.st_mode):
        return None
    picture = Path(name).stem + ".jpg"
    return Clip(
        root=outbox,
        folder=camera,
        name=name,
        camera=comparable(camera),
        start=name_patterns.locate(parsed, status.st_mtime_ns, zone),
        fingerprint=anchored.fingerprint_of(status),
        links=status.st_nlink,
        duration=parsed.duration,
        sidecars=(picture,) if picture in pictures else (),
    )


def remove(step: RemoveCopy, now: datetime) -> Outcome:
    """Delete a clip and its pictures durably, if it is still the planned file and no hold covers it.

    The holds are read again, because one may be newer than the plan. Never raises OSError.
    """
    return removal.attempted(step, lambda: _removed(step, now))


def _removed(step: RemoveCopy, now: datetime) -> Outcome:
    clip = step.clip
    if hold := held_by(clip, holds.read(state(clip.root)), now):
        raise removal.Held(hold)
    try:
        anchored.require_removable(clip.root, clip.relative, clip.fingerprint)
        # the clip goes last, so that an interrupted removal is found again
        pictures = removal.remove_sidecars(clip, lambda _: None)
        if pictures.problem:
            return Outcome(step, Result.FAILED, Reason.FAILED, pictures.problem, freed=pictures.freed)
        removed = removal.remove(clip.root, clip.relative, clip.fingerprint, None)
    except FileNotFoundError:
        return Outcome(step, Result.DONE, step.reason, "was gone already")
    return Outcome(step, Result.DONE, step.reason, freed=removed.freed + pictures.freed)


def notices(outbox: Path, camera: str) -> dict[str, Notice]:
    """The announcements. If unreadable there are none: clips are announced again and stay a day longer."""
    path = _announced(outbox, camera)
    try:
        stored = atomic.read_json(path)
        return {} if stored is None else convert(stored, _Announcements).clips
    except (StorageError, ValueError) as error:
        _log.warning("%s can't be understood, so everything is announced again: %s", path, cause(error))
        return {}


def announce(outbox: Path, camera: str, current: Mapping[str, Notice]) -> None:
    """Store the announcements. Raises OSError, with the earlier ones in place."""
    path = _announced(outbox, camera)
    atomic.make_private_folders(path.parent)
    atomic.write_json(path, msgspec.to_builtins(_Announcements(dict(current))))


def sweep(outbox: Path) -> None:
    """Delete what a killed announcement left; only for the holder of the lock. Raises OSError."""
    folder = state(outbox) / ANNOUNCED
    for path in walk.paths_in(folder):
        if atomic.staged_stem(path.name) is not None:
            path.unlink(missing_ok=True)


def _announced(outbox: Path, camera: str) -> Path:
    return state(outbox) / ANNOUNCED / f"{camera}.json"


def _arrived(line: str) -> ConfirmedTransfer | None:
    """A line of three fields, which a space separates; only the last one may hold spaces."""
    try:
        return msgspec.convert(line.split(" ", 2), ConfirmedTransfer, strict=False)
    except (msgspec.ValidationError, ValueError):
        return None
