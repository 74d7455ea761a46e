"""How many bytes the trees hold, and how many their filesystems still take; a doubt is an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from camarchiver.errors import StorageError, cause
from camarchiver.model import Trees


def used_bytes(trees: Trees) -> int:
    """Bytes of everything below the three roots: an inode once, a tree inside another once.

    StorageError where a folder can't be read: a sum that is too small would remove too little, and
    nobody would know.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    for root in _outermost((trees.source, trees.archive, trees.trash)):
        for status in _statuses(root):
            if status.st_nlink > 1:
                inode = status.st_dev, status.st_ino
                if inode in seen:
                    continue
                seen.add(inode)
            total += status.st_size
    return total


def _outermost(roots: tuple[Path, ...]) -> list[Path]:
    return [
        root
        for root in dict.fromkeys(roots)
        if root.is_dir() and not any(other in root.parents for other in roots)
    ]


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    waiting = [os.fspath(folder)]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"{here} can't be read, so nobody knows how much the trees hold: {cause(error)}",
                hint="check its permissions",
            ) from error


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write, where a folder is or would be made.

    StorageError where that can't be told.
    """
    try:
        status = os.statvfs(_nearest(folder))
    except OSError as error:
        raise StorageError(
            f"the free space at {folder} can't be told: {cause(error)}", hint="check that it is mounted"
        ) from error
    return status.f_bavail * status.f_frsize


def device_of(folder: Path) -> int:
    """The filesystem (`st_dev`) that a folder lies on, or would be made on.

    StorageError where that can't be told.
    """
    try:
        return _nearest(folder).stat().st_dev
    except OSError as error:
        raise StorageError(
            f"{folder} can't be looked at: {cause(error)}", hint="check that it is mounted"
        ) from error


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))
