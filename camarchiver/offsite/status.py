"""What `offsite status` tells: the copies at a remote by the journal, and the room there if it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from camarchiver.offsite.counts import CopyCounter, RemoteCounts
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.backends import label
from camarchiver.offsite.rclone.remote import RcloneSettings, Space
from camarchiver.pipeline import Pipeline
from camarchiver.state import offsite_state


@dataclass(frozen=True, slots=True)
class OffsiteStatus:
    """The copies at one remote."""

    remote: str
    counts: RemoteCounts
    failed_before: int
    """Archives that could not be copied and are tried again."""
    manifests_due: frozenset[date]
    """Days of footage whose newest copies no manifest names yet."""
    last_sync: datetime | None
    """When the last sync of all archives ended."""
    space: Space | None = None
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
        with remotes.opened(settings) as opened:
            space = opened.space()
    return OffsiteStatus(
        remote,
        counter.counts((remote,))[remote],
        len(offsite_state.failures(state).known()),
        frozenset(known.days),
        known.last_sync.at if known.last_sync is not None else None,
        space,
    )
