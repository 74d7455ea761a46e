"""Counts archives with and without a copy, and reports what `offsite status` shows of one remote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.journal.ledger import Ledger
from camarchiver.offsite.rclone.backends import label
from camarchiver.offsite.rclone.remote import RcloneSettings, RemoteSpace
from camarchiver.pipeline import Pipeline
from camarchiver.state import offsite_state
from camarchiver.state.offsite_state import SyncFailure


class CopyCounts(Struct, frozen=True):
    """The archives of one camera, or of all, and their copies at one remote."""

    archives: int = 0
    verified: int = 0
    """Archives whose copy was compared whole, and not found lost since."""
    size: int = 0
    """Bytes of these copies."""
    unverified: int = 0
    """Archives with a copy that was never compared."""
    lost: int = 0
    """Archives whose copy was found missing or different, or was removed."""
    apart: int = 0
    """Verified copies whose archive is no longer here."""
    oldest: datetime | None = None
    """When the copy was verified that was not verified for the longest time."""

    @property
    def missing(self) -> int:
        """Archives without a verified copy."""
        return self.archives - self.verified

    def __add__(self, other: CopyCounts) -> CopyCounts:
        moments = [each for each in (self.oldest, other.oldest) if each is not None]
        return CopyCounts(
            self.archives + other.archives,
            self.verified + other.verified,
            self.size + other.size,
            self.unverified + other.unverified,
            self.lost + other.lost,
            self.apart + other.apart,
            min(moments, default=None),
        )


class RemoteCounts(Struct, frozen=True):
    """What one remote has."""

    cameras: Mapping[str, CopyCounts] = field(default_factory=dict)

    @property
    def total(self) -> CopyCounts:
        """Of all cameras."""
        return sum(self.cameras.values(), CopyCounts())


class CopyCounter:
    """Counts day by day."""

    def __init__(self) -> None:
        self._archives: dict[str, int] = {}
        self._copies: dict[str, dict[str, CopyCounts]] = {}

    def add(self, ledger: Ledger) -> None:
        """Count one day's archives and copies."""
        for line, _ in ledger.archives.values():
            self._archives[line.camera] = self._archives.get(line.camera, 0) + 1
        for (remote, archive, digest), copy in ledger.copies.items():
            if digest != ledger.digest(archive):
                continue
            is_here = archive in ledger.archives
            if copy.lost is not None:
                found = CopyCounts(lost=1)
            elif copy.verified is None:
                found = CopyCounts(unverified=1)
            else:
                size = copy.line.archive_size or 0
                found = CopyCounts(verified=1, size=size, oldest=copy.verified)
            if not is_here:
                found = CopyCounts(apart=found.verified, oldest=found.oldest)
            cameras = self._copies.setdefault(remote, {})
            cameras[copy.line.camera] = cameras.get(copy.line.camera, CopyCounts()) + found

    def counts(self, remotes: Iterable[str] = ()) -> dict[str, RemoteCounts]:
        """By remote: those that have, or had, a copy, and these."""
        found = {}
        for remote in sorted({*self._copies, *remotes}):
            copies = self._copies.get(remote, {})
            cameras = sorted({*copies, *self._archives})
            found[remote] = RemoteCounts(
                {
                    camera: replace(copies.get(camera, CopyCounts()), archives=self._archives.get(camera, 0))
                    for camera in cameras
                }
            )
        return found


class OffsiteStatus(Struct, frozen=True):
    """The copies at one remote."""

    remote: str
    counts: RemoteCounts
    failed_before: int
    """Archives that could not be copied and are tried again."""
    manifests_due: frozenset[date]
    """Days of footage whose newest copies no manifest names yet."""
    last_sync: datetime | None
    """When the last sync of all archives ended."""
    without_error: datetime | None
    """When the last one of these ended in which nothing failed."""
    failure: SyncFailure | None
    """Of the last sync, if one failed."""
    space: RemoteSpace | None = None
    """None if the remote was not asked, or does not say."""


def status(pipeline: Pipeline, settings: RcloneSettings, *, with_space: bool) -> OffsiteStatus:
    """Count the copies; the remote is asked only for its room. Raises RemoteError or ConfigError then."""
    counter, remote = CopyCounter(), label(settings.remote)
    for day in pipeline.journal.days():
        counter.add(pipeline.journal.day(day).ledger)
    state = pipeline.trees.state
    known = offsite_state.read(state).get(remote, offsite_state.RemoteState())
    space = None
    if with_space:
        # `status` counts, too, and asks no remote.
        from camarchiver.offsite.rclone import remote as remotes

        with remotes.opened(settings) as opened:
            space = opened.space()
    return OffsiteStatus(
        remote,
        counter.counts((remote,))[remote],
        len(offsite_state.failures(state).known()),
        frozenset(known.days),
        known.last_sync.at if known.last_sync is not None else None,
        known.without_error,
        known.failure,
        space,
    )
