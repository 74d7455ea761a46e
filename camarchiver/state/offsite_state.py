"""What is remembered of off-site copies: failed ones, days without their newest manifest, the last sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import msgspec
from msgspec.structs import replace

from camarchiver.domain.untrusted import Count, Moment, check_time
from camarchiver.state.failures import Failures
from camarchiver.storage import atomic, run_lock

FILE = "offsite.json"


class SyncCounts(msgspec.Struct, frozen=True):
    """How much had a copy when the last sync of everything ended."""

    at: Moment
    copied: Count
    """Archives with a verified copy."""
    missing: Count
    """Archives that should have one and do not."""

    def __post_init__(self) -> None:
        check_time(self.at)


class RemoteState(msgspec.Struct, frozen=True):
    """What is remembered of one remote."""

    days: tuple[date, ...] = ()
    """Days of footage whose manifest lacks a copy."""
    last_sync: SyncCounts | None = None


def failures(state: Path) -> Failures:
    """Archives that could not be copied, by path below the archive root."""
    return Failures(state, "offsite-failures.json")


def read(state: Path) -> dict[str, RemoteState]:
    """What is remembered, by remote. Raises StorageError if neither the file nor its backup can be read."""
    return atomic.read_entries(state / FILE, RemoteState)


def due_manifests(state: Path, remote: str) -> frozenset[date]:
    """Days of footage whose manifest must be written again at this remote."""
    return frozenset(read(state).get(remote, RemoteState()).days)


def change_due(state: Path, remote: str, *, add: Iterable[date] = (), remove: Iterable[date] = ()) -> None:
    """Note days whose manifest is out of date, or is up to date again. Raises OSError or StorageError."""
    add, remove = set(add), set(remove)
    if add or remove:
        _change(state, remote, lambda found: replace(found, days=tuple(sorted({*found.days} - remove | add))))


def note_sync(state: Path, remote: str, counts: SyncCounts) -> None:
    """Note what a sync of everything came to. Raises OSError or StorageError."""
    if state.is_dir():
        _change(state, remote, lambda found: replace(found, last_sync=counts))


def _change(state: Path, remote: str, changed: Callable[[RemoteState], RemoteState]) -> None:
    with run_lock.guarded(state / "offsite.lock"):
        before = read(state)
        after = {**before, remote: changed(before.get(remote, RemoteState()))}
        if after != before:
            atomic.write_json(state / FILE, msgspec.to_builtins(after))
