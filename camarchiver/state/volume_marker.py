"""Checks whether an archive belongs to this source tree; refuses roots that no run can mean or write to."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from camarchiver.domain.clip import STATE_FOLDER, Trees
from camarchiver.domain.untrusted import convert
from camarchiver.errors import StorageError, UsageError, cause, no_access, remedy
from camarchiver.state import work_in_progress
from camarchiver.storage import atomic
from camarchiver.storage.walk import Listing

MARKER = "volume"

_Marker = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]

_FOLDERS = ("journal", "runs", *work_in_progress.FOLDERS, "locks")
"""Subfolders of the state folder."""


def check_roots(trees: Trees, *, source_may_be_missing: bool = False) -> None:
    """Refuse trees that can't be intended: a missing root, or a source inside its archive.

    Raises StorageError or UsageError.
    """
    if not trees.source.is_dir() and (trees.source.exists() or not source_may_be_missing):
        kind = "is not a folder" if trees.source.exists() else "does not exist"
        raise StorageError(
            f"the source {trees.source} {kind}", hint="name the camera folder, and check that it is mounted"
        )
    for name, root in (("archive", trees.archive), ("trash", trees.trash)):
        if root == trees.source or root in trees.source.parents:
            raise UsageError(
                f"the source {trees.source} lies inside its {name} {root}",
                hint=f"choose a {name} below or beside the source",
            )
        if root.exists() and not root.is_dir():
            raise StorageError(f"the {name} {root} is not a folder", hint="move that file away")
    if trees.trash == trees.archive or trees.archive in trees.trash.parents:
        raise UsageError(
            f"the trash {trees.trash} lies inside the archive", hint="choose another --trash-root"
        )
    if trees.trash in trees.archive.parents:
        raise UsageError(f"the archive {trees.archive} lies inside the trash", hint="choose another --output")


def check_place(trees: Trees) -> None:
    """Refuse a source that is an archive, or a part of another camera tree.

    Journal and holds of that tree lie elsewhere: here they would not count. A tree of its own, which a run
    over the other one leaves alone, is no part of it. Raises UsageError.
    """
    source = trees.source
    if _is_archive(source):
        raise UsageError(f"{source} is an archive", hint="name the camera folder; -o names its archive")
    for folder in source.parents:
        if not _is_there(folder / STATE_FOLDER / MARKER) or _is_archive(folder):
            continue
        own = _read(source / STATE_FOLDER)
        if not own or own == _read(folder / STATE_FOLDER):  # an archive has the marker of its source
            raise UsageError(
                f"{source} is a part of the camera tree {folder}, whose archive and holds do not count here",
                hint=f"name {folder}; if that is no camera tree any more, delete {folder / STATE_FOLDER}",
            )


def is_tree(folder: Path, listing: Listing) -> bool:
    """Whether a folder with these entries is a camera tree of its own, or an archive."""
    return STATE_FOLDER in listing.folders and _has_marker(folder)


def tree_around(root: Path, folder: str) -> str:
    """The tree of its own, below a root, that a folder there is or lies in; empty if it is in none."""
    ends = (at for at in range(1, len(folder) + 1) if folder[at : at + 1] in ("", "/"))
    places = (folder[:end] for end in ends if _is_folder(root / folder[:end] / STATE_FOLDER))
    return next((place for place in places if _has_marker(root / place)), "")


def _has_marker(folder: Path) -> bool:
    """Whether a folder with a state folder is a camera tree of its own, or an archive.

    Its clips have a journal and holds that do not count in a tree around it; there may be some also where
    this user may not look for them.
    """
    try:
        (folder / STATE_FOLDER / MARKER).lstat()
    except OSError as error:
        return not isinstance(error, FileNotFoundError | NotADirectoryError)
    return True


def _is_archive(folder: Path) -> bool:
    return _is_there(folder / STATE_FOLDER / "journal")


def _is_there(path: Path) -> bool:
    """Whether this user sees a file there: a folder above the tree may be somebody else's."""
    try:
        path.lstat()
    except OSError:
        return False
    return True


def _is_folder(path: Path) -> bool:
    """As walks see it, to which a link is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def check(trees: Trees) -> None:
    """Refuse an archive that is not the one the source remembers.

    An archive that was there yesterday and is an empty mount point today must stop the run.
    Otherwise every source would be encoded again onto the wrong disk. Raises StorageError.
    """
    for folder in (trees.source / STATE_FOLDER, trees.state, *(trees.state / name for name in _FOLDERS)):
        if folder.is_symlink():
            raise StorageError(
                f"{folder} is a symbolic link, which is not followed: camarchiver keeps its own files there",
                hint="look who put it there, and put the folder back",
            )
    known, found = _read(trees.source / STATE_FOLDER), _read(trees.state)
    if known and found != known:
        state = (
            "has no volume marker (is its disk mounted?)" if not found else "belongs to another source tree"
        )
        raise StorageError(
            f"the archive {trees.archive} {state}",
            hint="mount the right disk; if the archive was moved or replaced on purpose: "
            f"camarchiver config accept-volume {trees.source} -o {trees.archive}",
        )


def check_both(trees: Trees) -> None:
    """Refuse a source without the marker of its archive: it may be an empty mount point.

    Raises StorageError.
    """
    if _read(trees.state) and not _read(trees.source / STATE_FOLDER):
        raise StorageError(
            f"the source {trees.source} has no volume marker (is its disk mounted?)",
            hint="mount the right disk; if it was moved or replaced on purpose: "
            f"camarchiver config accept-volume {trees.source} -o {trees.archive}",
        )


def marker(state: Path) -> str:
    """The marker of the archive with this state folder; empty if it has none. Raises StorageError."""
    return _read(state)


def check_same(trees: Trees, known: str) -> None:
    """Refuse trees that are not those of an earlier moment: one of their disks was unmounted meanwhile.

    `known` is the marker of that moment. Raises StorageError.
    """
    for root, found in (
        (trees.archive, _read(trees.state)),
        (trees.source, _read(trees.source / STATE_FOLDER)),
    ):
        if found != known and (found or root == trees.archive or os.access(root, os.W_OK)):
            raise StorageError(
                f"{root} is not what it was when the run began (is its disk mounted?)",
                hint="mount the right disk",
            )


def check_is(trees: Trees, expected: str) -> None:
    """Refuse an archive that has another marker than a machine that works on the same run.

    Raises StorageError.
    """
    if marker(trees.state) != expected:
        raise StorageError(
            f"the archive {trees.archive} is not the one of this run",
            hint="mount the same tree at the same path",
        )


def check_writable(trees: Trees, *, removes: bool) -> None:
    """Refuse a run that could not finish: an archive, or with `removes` a source, mounted read-only.

    Raises StorageError.
    """
    if removes and _is_read_only(trees.source):
        raise StorageError(
            f"the source {trees.source} is read-only, so nothing can be removed from it",
            hint="add --keep-source to archive without removing",
        )
    existing = next(folder for folder in (trees.archive, *trees.archive.parents) if folder.is_dir())
    if _is_read_only(existing):
        raise StorageError(
            f"the archive {trees.archive} can't be written: {existing} is mounted read-only",
            hint=f"mount it writable: findmnt -T {shlex.quote(str(existing))}",
        )
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        error = no_access(existing / trees.state.name)
        raise StorageError(
            f"the archive {trees.archive} can't be written: {cause(error)}", hint=remedy(error)
        )


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def mark(trees: Trees) -> None:
    """Give a new archive its marker and store it in the source too, if the source can be written."""
    atomic.make_folders(trees.archive, model=trees.source)
    atomic.make_private_folders(trees.state)
    found = _read(trees.state)
    if not found:
        found = secrets.token_hex(16)
        atomic.write_text(trees.state / MARKER, found + "\n")
    if _read(trees.source / STATE_FOLDER) != found and os.access(trees.source, os.W_OK):
        atomic.make_private_folders(trees.source / STATE_FOLDER)
        atomic.write_text(trees.source / STATE_FOLDER / MARKER, found + "\n")


def _read(folder: Path) -> str:
    path = folder / MARKER
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
        return convert(text, _Marker) if text else ""
    except FileNotFoundError:
        return ""
    except ValueError as error:
        raise StorageError(
            f"the volume marker {path} can't be understood",
            hint="delete it; if source and archive belong together, run: camarchiver config accept-volume",
        ) from error
    except OSError as error:
        raise StorageError(
            f"the volume marker {path} can't be read: {cause(error)}",
            hint=remedy(error, "check the disk and its mount"),
        ) from error
