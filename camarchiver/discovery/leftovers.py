"""States the facts of what may be left over: staged files, locks and empty folders; decides nothing."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from camarchiver.domain.clip import FROM_ARCHIVE, FROM_SOURCE, Tree, joined
from camarchiver.naming.folders import date_of_folder
from camarchiver.naming.formats import is_clip_name
from camarchiver.policy.leftover_rules import Leftover, LeftoverKind
from camarchiver.storage import atomic, locking
from camarchiver.storage.anchored import fingerprint_of


def temporary(tree: Tree, root: Path, folder: str, name: str) -> Iterator[Leftover]:
    """A staged file, or the lock of a clip; what else has a temporary name is somebody else's."""
    kind = LeftoverKind.STAGED
    if name.endswith(".lock"):
        kind = LeftoverKind.LOCK
        is_ours = is_clip_name(name.removesuffix(".lock"))
    else:
        is_ours = atomic.staged_stem(name) is not None
    relative = joined(folder, name)
    try:
        status = (root / relative).lstat() if is_ours else None
    except OSError:
        return
    if status is None or not stat.S_ISREG(status.st_mode):
        return
    in_use = kind is LeftoverKind.LOCK and _is_held(root / relative)
    print_of = fingerprint_of(status)
    yield Leftover(root, relative, tree, kind, status.st_mtime, print_of, in_use=in_use)


def empty_folder(tree: Tree, root: Path, folder: str) -> Iterator[Leftover]:
    """An empty folder, and the day that it is for."""
    inside = folder.removeprefix(f"{FROM_SOURCE}/").removeprefix(f"{FROM_ARCHIVE}/")
    day = date_of_folder(inside) if inside else None
    try:
        mtime = (root / folder).stat().st_mtime
    except OSError:
        return
    yield Leftover(root, folder, tree, LeftoverKind.FOLDER, mtime, day=day)


def _is_held(lock: Path) -> bool:
    """Whether the owner of a clip's lock lives, as far as can be found out."""
    try:
        return locking.held_by(lock.with_name(lock.name.removesuffix(".lock"))) is not None
    except OSError:
        return True
