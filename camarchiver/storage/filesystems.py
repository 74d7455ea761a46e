"""Which filesystems are mounted, and how much of them is free."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from msgspec import Struct

from camarchiver.domain.clip import Trees
from camarchiver.errors import StorageError, cause, remedy
from camarchiver.storage.walk import Listing, TreeWalk, every_folder

MOUNT_TABLE = Path("/proc/self/mountinfo")
"""The kernel's, see proc(5). Whoever polls the open file learns that something was mounted."""


def resolved(path: Path) -> Path:
    """The absolute path without links; of links that lead to each other nothing exists.

    Before Python 3.13 Path.resolve() raises RuntimeError for these.
    """
    return Path(os.path.realpath(path))


def used_bytes(trees: Trees) -> int:
    """Bytes of everything below the three roots: an inode once, a tree inside another once.

    Raises StorageError if a folder can't be read: a sum that is too small would remove too little
    without notice.
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


def _statuses(root: Path) -> Iterator[os.stat_result]:
    tree = TreeWalk(root, enters=every_folder)
    for folder in tree:
        try:
            yield from _statuses_in(root / folder, tree.look(folder, pictures=True))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"{root / folder} can't be read, so nobody knows how much the trees hold: {cause(error)}",
                hint=remedy(error, "check the disk and its mount"),
            ) from error


def _statuses_in(folder: Path, listing: Listing) -> Iterator[os.stat_result]:
    for error in listing.unreadable.values():
        raise error
    yield from listing.files.values()
    for name in (*listing.irregular, *listing.temporary, *listing.links, *listing.foreign):
        with suppress(FileNotFoundError):
            yield (folder / name).lstat()


class Space(NamedTuple):
    """The size of a filesystem."""

    free: int
    """Bytes that this user may still write."""
    total: int
    """Bytes."""


def space(folder: Path) -> Space:
    """The filesystem that a folder is on, or would be made on.

    Raises StorageError if that can't be determined.
    """
    try:
        status = os.statvfs(_nearest(folder))
    except OSError as error:
        raise StorageError(
            f"the free space at {folder} can't be determined: {cause(error)}", hint="check that it is mounted"
        ) from error
    return Space(status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize)


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write where a folder is or would be made.

    Raises StorageError if that can't be determined.
    """
    return space(folder).free


def device_of(folder: Path) -> int:
    """The filesystem (`st_dev`) that a folder is on, or would be made on.

    Raises StorageError if that can't be determined.
    """
    try:
        return _nearest(folder).stat().st_dev
    except OSError as error:
        raise StorageError(
            f"{folder} can't be looked at: {cause(error)}", hint="check that it is mounted"
        ) from error


def top_of(folder: Path) -> Path:
    """The highest of the folders above this one that is on the same filesystem: where that is mounted.

    Raises StorageError if that can't be determined.
    """
    top, device = folder, device_of(folder)
    while top != top.parent and device_of(top.parent) == device:
        top = top.parent
    return top


def mounts_below(folder: Path) -> list[Path]:
    """Where filesystems are mounted below a folder, as far as the kernel says so and lets us look at them."""
    root = os.fspath(folder)
    places = (mount.place for mount in mounts() if mount.place != root and _is_within(mount.place, root))
    return [Path(place) for place in places if os.access(place, os.R_OK | os.X_OK)]


def _nearest(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


# inotify reports what this kernel does. Other hosts, a FUSE daemon or a hypervisor bypass it.
_UNSEEN = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "coda", "ceph", "lustre", "gpfs", "beegfs"),
        *("orangefs", "ocfs2", "gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "fuse", "fuseblk"),
    }
)
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(Struct, frozen=True):
    """One line of the table."""

    place: str
    """The mount point."""
    kind: str
    """The filesystem's type, as `ext4` or `fuse.sshfs`."""

    @property
    def reports_changes(self) -> bool:
        """Whether inotify reports every change."""
        return self.kind not in _UNSEEN and not self.kind.startswith("fuse.")


def mounts() -> list[Mount]:
    """All that this process sees; none if the kernel's table can't be read."""
    try:
        return [*parse(MOUNT_TABLE.read_text(encoding="latin-1"))]
    except OSError:
        return []


def parse(text: str) -> Iterator[Mount]:
    """The lines of the mount table; one that can't be parsed is skipped."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) >= 5 and after:
            place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            yield Mount(_as_path(place), after.split(" ")[0])


def relevant_mounts(mounts: Iterable[Mount], root: str, pruned: Collection[str] = ()) -> tuple[Mount, ...]:
    """The mount that a folder is on, and those below the folder, except within pruned folders."""
    own: Mount | None = None
    below = []
    for mount in mounts:
        if mount.place != root and _is_within(mount.place, root):
            if not any(_is_within(mount.place, folder) for folder in pruned):
                below.append(mount)
        elif _is_within(root, mount.place) and (own is None or len(mount.place) >= len(own.place)):
            own = mount
    return (*((own,) if own else ()), *below)


def _is_within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _as_path(latin: str) -> str:
    """Bytes read as Latin-1, as the names of files are kept in Python."""
    return latin.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
