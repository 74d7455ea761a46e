"""Removes single files for every command: checks a file again, then moves or unlinks it durably.

The date folders that this empties go, too.

A file that can't be removed stays as it was. The caller holds the clip's lock (`locked`), has read holds and
restored clips under it, and has written down durably what it is about to do, as a note or as an intent in the
journal. Nothing is decided here.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, field

from camarchiver.domain.clip import FROM_ARCHIVE, FROM_SOURCE, Clip, Disposal, Fingerprint, Tree, Trees
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import Step
from camarchiver.errors import (
    FULL,
    AlreadyRunning,
    CamarchiverError,
    ClipBusy,
    NotRemovable,
    StorageError,
    sentence,
)
from camarchiver.naming.formats import is_folder_metadata_name
from camarchiver.storage import anchored, atomic, filesystems, locking
from camarchiver.storage.anchored import CopyStays, Stale, fingerprint_of

_log = logging.getLogger(__name__)

_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS})


class Held(CamarchiverError):
    """A hold that was not there when the plan was made; the file stays."""

    code = "held"

    def __init__(self, hold: Hold) -> None:
        super().__init__(f"hold {hold.id}")


class Place(NamedTuple):
    """Where a file goes."""

    root: Path
    relative: str
    """Below `root`."""
    numbered: bool = True
    """Whether a taken name gets a number; otherwise it is a FileExistsError."""

    @property
    def path(self) -> Path:
        """The absolute path, unless another file has it."""
        return self.root / self.relative


class Removed(Struct, frozen=True):
    """A file that left its tree."""

    place: str = ""
    """Where it is now, below the root that it went to; empty if it is gone for good."""
    target: str = ""
    """The same, absolute."""
    freed: int = 0
    """Bytes that its filesystem got back."""


class Followed(Struct, frozen=True):
    """The sidecars that left with their clip."""

    went: Mapping[str, str] = field(default_factory=dict)
    """Each one's name, and its absolute path now; empty if it is gone for good."""
    freed: int = 0
    """Bytes that their filesystem got back."""
    problem: str = ""
    """Why one could not follow; empty if all did."""
    unsettled: bool = False
    """Whether one of them is `unsettled`."""


def in_trash(trash_root: Path, tree: Tree, relative: str) -> Place:
    """Where a file of the source or of the archive goes in the trash."""
    return Place(trash_root, f"{FROM_ARCHIVE if tree is Tree.ARCHIVE else FROM_SOURCE}/{relative}")


def place_of(disposal: Disposal, trash_root: Path, tree: Tree, relative: str) -> Place | None:
    """Where a file goes; None if it is to be deleted."""
    return None if disposal is Disposal.DELETE else in_trash(trash_root, tree, relative)


@contextmanager
def locked(trees: Trees, source: str) -> Iterator[None]:
    """Hold the lock of the clip with this path below the source, whichever copy is removed or restored.

    Raises ClipBusy while another process holds it. Also a clip whose folder is gone may be worked on: its
    archive is made again from a copy in the trash.
    """
    place = trees.state / "locks"
    with locking.clip_lock(trees.source / source, place=place, folder_may_be_gone=True):
        yield


def remove(root: Path, relative: str, fingerprint: Fingerprint, to: Place | None) -> Removed:
    """Move `relative` below `root` to a place, or delete it for good if that is None; durable on return.

    Raises Stale if it is not the file of that fingerprint, FileNotFoundError if it is gone, NotRemovable if
    it can't leave its folder, OSError or StorageError otherwise: then the file is as it was before.
    """
    # Removing a name frees nothing if the file has another one, or stays on the same disk.
    is_last_name = (root / relative).lstat().st_nlink == 1
    stays = to is not None and filesystems.device_of(to.root) == fingerprint.device
    freed = fingerprint.size if is_last_name and not stays else 0
    if to is None:
        anchored.delete(root, relative, fingerprint)
        return Removed(freed=freed)
    place = anchored.move(
        root,
        relative,
        fingerprint,
        trash_root=to.root,
        trash_relative=to.relative,
        numbered=to.numbered,
    )
    return Removed(place, os.fspath(to.root / place), freed)


def unfinished(root: Path, relative: str) -> tuple[str, ...]:
    """Unfinished copies to `relative` below `root`; a dead run left them, unless one is being made now."""
    *parents, name = anchored.parts_of(relative)
    folder = root.joinpath(*parents)
    try:
        found = [path.name for path in folder.iterdir() if atomic.is_staged_for(path.name, name)]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple("/".join((*parents, entry)) for entry in sorted(found))


def remove_unfinished(root: Path, relative: str) -> None:
    """Remove what dead runs left of their copies to `relative`. The caller holds the clip's lock.

    Raises as `remove`.
    """
    for staged in unfinished(root, relative):
        remove(root, staged, fingerprint_of((root / staged).lstat()), None)


def remove_sidecars(clip: Clip, place: Callable[[str], Place | None]) -> Followed:
    """Remove a clip's sidecars, to the `place` of each path below the clip's root.

    A sidecar that is gone is skipped, and one that can't follow does not stop the others.
    """
    went: dict[str, str] = {}
    freed, problem, is_unsettled = 0, "", False
    for name in clip.sidecars:
        relative = clip.beside(name)
        try:
            seen = fingerprint_of((clip.root / relative).lstat())
            gone = remove(clip.root, relative, seen, place(relative))
        except FileNotFoundError:
            continue
        except (OSError, CamarchiverError) as error:
            problem = f"its sidecar {relative} could not follow: {sentence(error)}"
            is_unsettled = is_unsettled or unsettled(error, clip.root / relative)
            continue
        went[name] = gone.target
        freed += gone.freed
    return Followed(went, freed, problem, is_unsettled)


def remove_empty_folders(root: Path, folder: str, *, stop_at: str = "") -> tuple[str, ...]:
    """Remove the date folder `folder` and those above it as far as they are empty; the removed ones.

    Files that a file browser made in a folder (`Thumbs.db`, `.DS_Store`) go with it if it has nothing else.
    Only folders of the form `YYYY`, `YYYY/MM` and `YYYY/MM/DD`; never `stop_at` or a folder above it.
    """
    removed = []
    parts = anchored.parts_of(folder) if folder else ()
    kept = len(anchored.parts_of(stop_at)) if stop_at else 0
    while len(parts) > kept and _is_date(parts):
        try:
            with anchored.opened_folder(root, parts[:-1]) as parent:
                _remove_folder(parts[-1], parent, root / "/".join(parts))
                atomic.fsync_folder_fd(parent)
            removed.append("/".join(parts))
        except FileNotFoundError:
            pass
        except Stale:
            break
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            break
        parts = parts[:-1]
    return tuple(removed)


def _remove_folder(name: str, parent: int, path: Path) -> None:
    """Remove a folder that is empty but for its metadata. Raises OSError with ENOTEMPTY if it is not."""
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not _remove_metadata(name, parent, path):
            raise
        os.rmdir(name, dir_fd=parent)


def _remove_metadata(name: str, parent: int, path: Path) -> bool:
    """Unlink what a file browser left in a folder that has nothing else; False if it has."""
    folder = os.open(name, anchored.FOLDER_FLAGS, dir_fd=parent)
    try:
        found = [entry.name for entry in os.scandir(folder)]
        if not all(is_folder_metadata_name(each) and _is_regular(each, folder) for each in found):
            return False
        for each in found:
            os.unlink(each, dir_fd=folder)
            _log.info("%s: removed with its folder, which had nothing else", path / each)
    finally:
        os.close(folder)
    return True


def _is_regular(name: str, folder: int) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


_DATE = (r"(19|20)\d\d", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])")


def _is_date(parts: tuple[str, ...]) -> bool:
    path = "/".join(parts)
    return any(re.search(rf"(^|/){'/'.join(_DATE[:depth])}$", path) for depth in (1, 2, 3))


def attempted(step: Step, act: Callable[[], Outcome]) -> Outcome:
    """The outcome of one step: that of `act`, or that of its error; no expected error is raised."""
    try:
        return act()
    except (OSError, CamarchiverError) as error:
        return outcome_of(step, error)


def outcome_of(step: Step, error: FileError, *, gone: str = "it is gone") -> Outcome:
    """The outcome of a step that met an error; `gone` are the words for a file that is gone."""
    match error:
        case ClipBusy() | AlreadyRunning():
            return Outcome(step, Result.BUSY, Reason.BUSY, error.message)
        case Held():
            return Outcome(step, Result.HELD, Reason.HELD, error.message)
        case Stale():
            return Outcome(step, Result.STALE, Reason.STALE, error.message)
        case FileNotFoundError():
            return Outcome(step, Result.STALE, Reason.STALE, gone)
        case OSError(errno=code) if code in FULL:
            return Outcome(step, Result.FAILED, Reason.NO_SPACE, sentence(error))
        case CamarchiverError(code="damaged"):
            return Outcome(step, Result.FAILED, Reason.DAMAGED, sentence(error))
        case _:
            return Outcome(step, Result.FAILED, Reason.FAILED, sentence(error))


FileError = OSError | CamarchiverError
FILE_ERRORS = (OSError, StorageError, ClipBusy, Stale, Held)
"""Errors of one file that are no fault of the run."""


def unsettled(error: Exception, path: Path) -> bool:
    """Whether the next start must find out where the file of a failed removal is, and what to do about it.

    That is so if it is gone from its `path`, or a copy of it stays; not if nothing was begun.
    """
    match error:
        case CopyStays():
            return True
        case Stale() | FileNotFoundError() | ClipBusy() | AlreadyRunning() | Held():
            return False
        case NotRemovable(copy=copy) if copy:
            return True
        case _:
            return not os.path.lexists(path)
