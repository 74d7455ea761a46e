"""How much of a disk stays free while clips are archived, and what a run leaves of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from camarchiver.domain.clip import Disposal
from camarchiver.domain.report import Outcome
from camarchiver.domain.steps import Archive, ArchiveStep

RESERVE = 64_000_000
"""Bytes that stay free in any case, or a hundredth of a small disk."""

_LARGEST_SHARE = 20
"""What stays free by default is at most the disk's size divided by this."""


class TreeDisks(Struct, frozen=True):
    """The filesystems (`st_dev`) that the roots lie on."""

    source: int
    archive: int
    trash: int

    def frees(self, disposal: Disposal) -> bool:
        """Whether archiving a clip leaves more free on the archive's disk than there was before."""
        if self.source != self.archive:
            return False
        return disposal is Disposal.DELETE or (disposal is Disposal.TRASH and self.trash != self.archive)


def floor(asked: int | None, total: int, nightly: int | None) -> int:
    """Bytes that archiving leaves free on a disk of `total` bytes: what was asked for, or room for a night.

    `nightly` are the bytes that are uploaded to this disk in a night; None if that is not known.
    """
    if asked is not None:
        return max(asked, least_free(total))
    return max(least_free(total), min(nightly or 0, total // _LARGEST_SHARE))


def least_free(total: int) -> int:
    """Bytes that stay free on a disk of `total` bytes whatever was asked for."""
    return min(RESERVE, total // 100)


def lacking(size: int, free: int, total: int, floor: int) -> str:
    """What a disk lacks for the archive of a clip, which may take all its `size`; empty if it has room."""
    least = max(floor, least_free(total))
    if free >= size + least:
        return ""
    return f"has {free:,} bytes free; the clip may need {size:,}, and {least:,} stay free (--min-free)"


class RoomTally:
    """Counts what a plan will do to its disks, step by step."""

    def __init__(self, disposal: Disposal, disks: TreeDisks, share: float) -> None:
        """An archive is expected to take `share` of its clip's size."""
        self._disposal = disposal
        self._disks = disks
        self._share = share
        self._to_archive = 0
        """Bytes of the clips that are to be archived."""
        self._leaving: dict[int, int] = {}
        """Bytes by filesystem of the sources that leave their tree."""
        self.largest = 0
        """Bytes of the largest clip that is to be archived."""

    def add(self, step: ArchiveStep) -> None:
        """Count a step; there is one for every clip, so that what follows is computed from the sums."""
        clip = step.clip
        device, size = clip.fingerprint.device, clip.fingerprint.size
        leaves = clip.links == 1 and not clip.place
        if isinstance(step, Archive):
            self._to_archive += size
            self.largest = max(self.largest, size)
            leaves = leaves and not step.keeps_source
        if leaves:
            self._leaving[device] = self._leaving.get(device, 0) + size

    @property
    def freed(self) -> Counter[int]:
        """Bytes by filesystem that come free; negative where room is needed."""
        freed = Counter({self._disks.archive: -round(self._to_archive * self._share)})
        for device, size in self._leaving.items() if self._disposal is not Disposal.KEEP else ():
            if self._disposal is Disposal.TRASH:
                if device == self._disks.trash:
                    continue
                freed[self._disks.trash] -= size
            freed[device] += size
        return freed

    @property
    def trashed(self) -> Counter[int]:
        """Bytes by filesystem that go into a trash there."""
        if self._disposal is not Disposal.TRASH:
            return Counter()
        return Counter({self._disks.trash: sum(self._leaving.values())})


def used_more(outcomes: Iterable[Outcome], disks: TreeDisks) -> Counter[int]:
    """Bytes by filesystem that a run's archives take and its removals have not made up for."""
    more: Counter[int] = Counter()
    for outcome in outcomes:
        if outcome.encoding is not None:
            more[disks.archive] += outcome.encoding.bytes_after
        if isinstance(outcome.step, ArchiveStep):
            more[outcome.step.clip.fingerprint.device] -= outcome.freed
    return more
