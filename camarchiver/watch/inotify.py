"""Learns from the kernel which clips arrive in a tree, or lists the tree if the kernel reports none."""

from __future__ import annotations

import errno
import logging
import os
import select
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from inotify_simple import INotify, flags  # type: ignore[import-untyped]  # has no annotations
from msgspec import Struct

from camarchiver.domain.clip import joined
from camarchiver.errors import cause
from camarchiver.naming.formats import is_clip_name
from camarchiver.naming.system_folders import KNOWN, PassedOver
from camarchiver.state import volume_marker
from camarchiver.storage import filesystems
from camarchiver.storage.walk import NOTHING, TreeWalk

_log = logging.getLogger("camarchiver.watch")

_MASK = (
    flags.CLOSE_WRITE
    | flags.MOVED_TO
    | flags.MOVED_FROM
    | flags.CREATE
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.DONT_FOLLOW
    | flags.EXCL_UNLINK
)
_LIMITS = Path("/proc/sys/fs/inotify")
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Moved(Struct, frozen=True):
    """A file was renamed to this path, so it is complete."""

    path: str


class Written(Struct, frozen=True):
    """A file appeared here, or its writer closed it; the writer may open it again."""

    path: str


class Found(Struct, frozen=True):
    """Clips that a scan found in a folder, however old they are."""

    folder: str
    names: tuple[str, ...]


class EventsLost(Struct, frozen=True):
    """The kernel dropped events, or a part of the tree was unmounted: only a scan shows what is there."""


class RootGone(Struct, frozen=True):
    """The root was removed, renamed or unmounted."""


Arrival = Moved | Written | Found | EventsLost | RootGone


class Arrivals:
    """Watches every folder below a root except the pruned ones, or only lists them if watching is no use.

    All paths are relative to the root. Raises OSError if the root can't be read.
    """

    def __init__(self, root: Path, pruned: frozenset[str], passed_over: PassedOver = KNOWN) -> None:
        self._root = root
        self._passed_over = passed_over
        self._pruned = pruned
        self._folders: dict[int, str] = {}
        self._reported: set[str] = set()
        self._listed: dict[str, int] = {}
        """By folder: a hash of the names that were found there; only if the tree is polled."""
        self._identity = _identity(root)
        self._mounts = _mounts(root, pruned)
        self._mount_table = _open_mount_table()
        self._inotify: INotify | None = None
        self.why_polled = ""
        """Why the tree is polled; empty if the kernel reports every change."""
        for mount in self._mounts:
            if not mount.reports_changes:
                place, kind = mount.place, mount.kind
                self.why_polled = f"{place} is {kind}, where the kernel does not report every change"
                return
        try:
            self._inotify = INotify()
        except OSError as error:
            self._fall_back_to_polling(error)

    @property
    def watched(self) -> int:
        """Number of watched folders."""
        return len(self._folders)

    def descriptors(self) -> Iterator[tuple[int, int]]:
        """Descriptors to poll, with their events: the kernel's messages, and its table of mounts."""
        if self._inotify is not None:
            yield self._inotify.fileno(), select.POLLIN
        if self._mount_table is not None:
            yield self._mount_table.fileno(), select.POLLPRI | select.POLLERR

    def close(self) -> None:
        """Stop watching."""
        self._stop_watching()
        if self._mount_table is not None:
            self._mount_table.close()
            self._mount_table = None

    def _stop_watching(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._folders.clear()

    def has_moved(self) -> bool:
        """Whether the root is another folder than at the start, or its relevant mounts changed."""
        try:
            return (
                _identity(self._root) != self._identity or _mounts(self._root, self._pruned) != self._mounts
            )
        except OSError:
            return True

    def scan(self, folder: str = "") -> Iterator[Found]:
        """Every folder from here down that holds clips; each is watched before it is listed.

        If the tree is polled, only folders whose names changed since the last scan.
        """
        tree = TreeWalk(
            self._root, start=folder, pruned=self._pruned, enters=self._passed_over.may_hold_clips
        )
        for each in tree:
            try:
                if not self._watch(each):
                    continue
                listing = tree.look(each, wanted=NOTHING)
            except OSError as error:
                self._report(each, error)
                continue
            if each and volume_marker.is_tree(self._root / each, listing):
                tree.leave()
                self._forget(each)
                continue
            names = tuple(listing.clip_names())
            if names and not self._is_known(each, names):
                yield Found(each, names)

    def _is_known(self, folder: str, names: tuple[str, ...]) -> bool:
        if self._inotify is not None:
            return False
        mark, before = hash(names), self._listed.get(folder)
        self._listed[folder] = mark
        return mark == before

    def read(self) -> Iterator[Arrival]:
        """What the kernel has reported since the last call; never waits."""
        if self._inotify is None:
            return
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.Q_OVERFLOW:
                _log.warning("the kernel dropped events (fs.inotify.max_queued_events): scanning the tree")
                yield EventsLost()
                continue
            folder = self._folders.get(event.wd)
            if folder is None:
                continue
            if event.mask & (flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED):
                yield from self._ended(event.wd, folder, event.mask)
            elif event.mask & flags.ISDIR:
                yield from self._folder_event(joined(folder, event.name), event.mask)
            elif is_clip_name(event.name):
                if event.mask & flags.MOVED_TO:
                    yield Moved(joined(folder, event.name))
                elif event.mask & (flags.CLOSE_WRITE | flags.CREATE):
                    yield Written(joined(folder, event.name))

    def _ended(self, wd: int, folder: str, mask: int) -> Iterator[Arrival]:
        if folder == "":
            yield RootGone()
        elif mask & flags.UNMOUNT:
            yield EventsLost()
        if mask & flags.IGNORED:
            self._folders.pop(wd, None)

    def _folder_event(self, folder: str, mask: int) -> Iterator[Arrival]:
        if not self._is_ours(folder):
            return
        if mask & flags.MOVED_FROM:
            self._forget(folder)
        elif mask & (flags.CREATE | flags.MOVED_TO):
            yield from self.scan(folder)

    def _is_ours(self, folder: str) -> bool:
        return (
            self._passed_over.may_hold_clips(folder.rpartition("/")[2])
            and os.fspath(self._root / folder) not in self._pruned
        )

    def _forget(self, folder: str) -> None:
        """Remove the watches of a folder that was renamed, as they report its old path, or is not ours."""
        for wd, path in list(self._folders.items()):
            if path == folder or path.startswith(f"{folder}/"):
                del self._folders[wd]
                try:
                    if self._inotify is not None:
                        self._inotify.rm_watch(wd)
                except OSError:
                    continue

    def _watch(self, folder: str) -> bool:
        """Watch one folder, unless the tree is polled; False if the folder is gone."""
        if self._inotify is None:
            return True
        try:
            wd = self._inotify.add_watch(self._root / folder, _MASK)
        except OSError as error:
            if error.errno in _GONE and folder:
                return False
            if error.errno != errno.ENOSPC:
                raise
            self._fall_back_to_polling(error)
            return True
        self._folders[wd] = folder
        return True

    def _fall_back_to_polling(self, error: OSError) -> None:
        """Poll if the kernel's limit is reached, and say which setting raises it."""
        if error.errno not in (errno.ENOSPC, errno.EMFILE):
            raise error
        name = "max_user_watches" if error.errno == errno.ENOSPC else "max_user_instances"
        now = _limit(name)
        folders = f" at {len(self._folders):,} folders" if self._folders else ""
        self._stop_watching()
        self.why_polled = (
            f"the limit fs.inotify.{name} ({now or 'unknown'}) is reached{folders}; raise it with"
            f" `sysctl -w fs.inotify.{name}={max(2 * now, 524_288 if 'watches' in name else 512)}`,"
            " and in /etc/sysctl.d for the next start"
        )

    def _report(self, folder: str, error: OSError) -> None:
        if not folder:
            raise error
        if error.errno not in _GONE and folder not in self._reported:
            self._reported.add(folder)
            _log.warning("%s can't be watched: %s", folder, cause(error))


def _identity(root: Path) -> tuple[int, int]:
    status = root.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(root))
    return status.st_dev, status.st_ino


def _open_mount_table() -> TextIO | None:
    try:
        return filesystems.MOUNT_TABLE.open(encoding="latin-1")
    except OSError:
        return None


def _mounts(root: Path, pruned: frozenset[str]) -> tuple[filesystems.Mount, ...]:
    return filesystems.relevant_mounts(filesystems.mounts(), os.fspath(root), pruned)


def _limit(name: str) -> int:
    try:
        return int((_LIMITS / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
