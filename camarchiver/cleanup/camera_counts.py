"""Counts what a cleanup's walk finds of each camera, for the brakes and the goals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import Clip, Tree, Trees
from camarchiver.domain.clocks import is_doubtful
from camarchiver.policy.cleanup_rules import Copy
from camarchiver.policy.safety_brakes import CameraTotals
from camarchiver.policy.size_goals import loses
from camarchiver.storage import filesystems


class Disk(Struct, frozen=True):
    """One filesystem that copies lie on."""

    device: int
    path: Path
    free: int
    """Bytes."""


class _CameraCount:
    """What the walk found of one camera so far."""

    __slots__ = ("clips", "clips_size", "doubtful", "lost_clips", "lost_size", "newest", "size")

    def __init__(self) -> None:
        self.size = 0
        """Bytes in all trees; a file with several names counts once."""
        self.newest: datetime | None = None
        """The start of its newest clip whose time is not in doubt."""
        self.doubtful: datetime | None = None
        self.clips = self.clips_size = 0
        """Clips in source and archive, each counted once."""
        self.lost_clips = self.lost_size = 0
        """Those of them that the plan loses."""

    @property
    def totals(self) -> CameraTotals:
        """For the brake."""
        return CameraTotals(self.clips, self.clips_size, self.lost_clips, self.lost_size)

    @property
    def last(self) -> datetime | None:
        """The start of its newest clip."""
        return self.newest or self.doubtful


class CameraCounts:
    """Everything that was found so far."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._cameras: dict[str, _CameraCount] = {}
        self._linked: set[tuple[int, int]] = set()
        self._folders: dict[int, Path] = {}
        """By device (`st_dev`): a folder with files on it."""

    def see(self, copy: Copy) -> None:
        """Count what the brakes and the goals need to know about all files."""
        clip = copy.clip
        print_of = clip.fingerprint
        device, inode, size = print_of.device, print_of.inode, print_of.size
        if (seen := self._cameras.get(clip.camera)) is None:
            seen = self._cameras[clip.camera] = _CameraCount()
        if device not in self._folders:
            self._folders[device] = clip.path.parent
        if clip.links == 1:
            seen.size += size
        elif (device, inode) not in self._linked:
            self._linked.add((device, inode))
            seen.size += size
        if copy.tree is Tree.TRASH or copy.is_sidecar or copy.damage:
            return
        start = clip.recorded
        # A doubtful time counts only for a camera that has no other.
        if seen.newest is None or start > seen.newest:
            if not is_doubtful(clip, self._now):
                seen.newest = start
            elif seen.doubtful is None or start > seen.doubtful:
                seen.doubtful = start
        if loses(copy):
            seen.clips += 1
            seen.clips_size += size

    def lose(self, copy: Copy) -> None:
        """Count a clip that a step loses."""
        count = self._cameras[copy.clip.camera]
        count.lost_clips += 1
        count.lost_size += copy.clip.fingerprint.size

    def has_newer(self, copy: Copy) -> bool:
        """Whether the clip, and each that shares the file, is certainly not the newest of its camera."""
        return self._is_surpassed(copy.clip) and all(
            self._is_surpassed(sharer.clip) for sharer in copy.sharers
        )

    def _is_surpassed(self, clip: Clip) -> bool:
        seen = self._cameras.get(clip.camera)
        return seen is not None and seen.newest is not None and seen.newest > clip.recorded

    def used_by(self, camera: str) -> int:
        """Bytes of a camera's files."""
        return self._cameras[camera].size if camera in self._cameras else 0

    def sure(self) -> dict[str, datetime]:
        """The newest clip of each camera that has one whose time is not in doubt."""
        return {name: seen.newest for name, seen in self._cameras.items() if seen.newest}

    def newest(self) -> dict[str, datetime]:
        """The newest clip of each camera."""
        return {name: seen.last for name, seen in self._cameras.items() if seen.last}

    def totals(self) -> Mapping[str, CameraTotals]:
        """What is there of each camera, and what the plan loses."""
        return {name: seen.totals for name, seen in self._cameras.items()}

    def disks(self, trees: Trees) -> list[Disk]:
        """The filesystems of the roots, and any other that a copy was found on. Raises StorageError."""
        found: dict[int, Path] = {}
        for root in (trees.source, trees.archive, trees.trash):
            found.setdefault(filesystems.device_of(root), root)
        for device, folder in self._folders.items():
            if device not in found:
                found[device] = filesystems.top_of(folder)
        return [Disk(device, path, filesystems.free_bytes(path)) for device, path in found.items()]


def may_fall_short(trees: Trees, least: int, *, moves: bool) -> bool:
    """Whether some filesystem that copies may lie on has less than `least` bytes free, or may have soon.

    A run that `moves` files to the trash takes room there if they come from another filesystem.
    Raises StorageError.
    """
    roots = (trees.source, trees.archive, trees.trash)
    places = (*roots, *(mount for root in roots for mount in filesystems.mounts_below(root)))
    if moves and len(set(map(filesystems.device_of, places))) > 1:
        return True
    return any(filesystems.free_bytes(place) < least for place in places)
