"""Clips that are like their neighbours in all that decides, as columns: most clips of a tree are.

A plan then keeps some bytes of each, and makes clips and steps of them only where it is walked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from camarchiver.domain.clip import Archived, Clip, Fingerprint, joined
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive
from camarchiver.naming.paths import archive_path
from camarchiver.naming.patterns import moment_of

SUFFIX = 4
"""Characters of the suffix of each name here, with its dot."""


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
