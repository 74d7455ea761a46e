"""Clips of a camera's day that get the same decision, as columns: most clips of a tree. Pure.

A plan then keeps some bytes of each, and makes clips and steps of them only where it is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, tzinfo
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from camarchiver.domain.clip import Archived, Clip, Fingerprint, joined
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive
from camarchiver.naming.local_time import keeps_clock
from camarchiver.naming.paths import archive_path
from camarchiver.naming.patterns import Names, moment_of

if TYPE_CHECKING:
    import os

FEW = 4
"""Fewer clips are not worth it."""

SUFFIX = 4
"""Characters of the suffix of each name here, with its dot."""

camera_and_day = itemgetter(slice(-6 - SUFFIX))


class ClipBatch(NamedTuple):
    """Clips of one camera, folder and day whose names differ in the time of day only, in their order.

    Each has one link and a name that tells no duration. Nobody works on them, nobody wrote to them lately,
    and the journal knows of no archive of that day.
    """

    root: Path
    folder: str
    camera: str
    start: datetime
    """Of the first one, aware; the clock is not changed on that day."""
    device: int
    names: Sequence[str]
    pictures: Sequence[str]
    """The suffix of each one's picture, empty where it has none."""
    sizes: Sequence[int]
    mtimes: Sequence[int]
    """Nanoseconds since the epoch."""
    inodes: Sequence[int]

    @property
    def day(self) -> date:
        """Of all of them."""
        return self.start.date()

    @property
    def last_start(self) -> datetime:
        """When the last one begins."""
        return self._start_of(self.names[-1])

    @property
    def relative(self) -> str:
        """The path of the first one below the source root."""
        return joined(self.folder, self.names[0])

    @property
    def last_relative(self) -> str:
        """The path of the last one below the source root."""
        return joined(self.folder, self.names[-1])

    def relatives(self) -> Iterator[str]:
        """The path of each below the source root."""
        return (joined(self.folder, name) for name in self.names)

    def clips(self) -> Iterator[Clip]:
        """One by one."""
        root, folder, camera, device = self.root, self.folder, self.camera, self.device
        columns = zip(self.names, self.pictures, self.sizes, self.mtimes, self.inodes, strict=True)
        for name, picture, size, mtime_ns, inode in columns:
            mark = Fingerprint(device, inode, size, mtime_ns)
            sidecars = (name[:-SUFFIX] + picture,) if picture else ()
            yield Clip(root, folder, name, camera, self._start_of(name), mark, 1, None, sidecars)

    def steps(self) -> Iterator[Archive]:
        """To archive them, one by one."""
        return (to_archive(clip) for clip in self.clips())

    def _start_of(self, name: str) -> datetime:
        start = moment_of(name[-14 - SUFFIX : -SUFFIX])
        assert start is not None
        return start.replace(tzinfo=self.start.tzinfo)


def to_archive(clip: Clip, reason: Reason = Reason.NOT_ARCHIVED, standing: Archived | None = None) -> Archive:
    """The step that archives a clip."""
    target = archive_path(clip.folder, clip.name.rpartition(".")[0], clip.start.date())
    return Archive(clip, target, reason, standing)


class Folder(NamedTuple):
    """Where clips are looked for that are alike."""

    root: Path
    path: str
    """Relative to the root."""
    files: Mapping[str, os.stat_result]
    """Each clip's; the names end in suffixes of `SUFFIX` characters, and no two differ in these alone."""
    pictures: Mapping[str, str]
    """The suffix of each clip's picture, by the name without suffix that they share."""


def gather(
    folder: Folder, names: Names, zone: tzinfo, lately: float, is_new: Callable[[date], bool]
) -> tuple[list[ClipBatch], list[str]]:
    """The clips of a folder that are alike, and the names of those that must be looked at one by one.

    What changed after `lately`, in nanoseconds since the epoch, may be in somebody's hands; `is_new` tells
    of a day whether the journal knows of no archive.
    """
    found: list[ClipBatch] = []
    rest: list[str] = []
    for _, group in groupby(sorted(folder.files), camera_and_day):
        together = list(group)
        alike = _alike(folder, together, names, zone, lately) if len(together) >= FEW else None
        if alike is not None and is_new(alike.day):
            found.append(alike)
        else:
            rest += together
    return found, rest


def _alike(
    folder: Folder, together: list[str], names: Names, zone: tzinfo, lately: float
) -> ClipBatch | None:
    stems = [name[:-SUFFIX] for name in together]
    said = names.of_one_day(stems, folder.path)
    if said is None or said.utc or said.duration is not None or not keeps_clock(said.start.date(), zone):
        return None
    files = [folder.files[name] for name in together]
    mtimes = [file.st_mtime_ns for file in files]
    devices = {file.st_dev for file in files}
    if max(mtimes) > lately or len(devices) > 1 or {file.st_nlink for file in files} != {1}:
        return None
    if any(mode & 0o444 != 0o444 for mode in {file.st_mode for file in files}):
        return None
    return ClipBatch(
        folder.root,
        folder.path,
        said.camera,
        said.start.replace(tzinfo=zone),
        devices.pop(),
        together,
        [folder.pictures.get(stem, "") for stem in stems],
        [file.st_size for file in files],
        mtimes,
        [file.st_ino for file in files],
    )
