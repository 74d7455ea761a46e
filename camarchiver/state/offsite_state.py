"""What is remembered of off-site copies: failed ones, days without their newest manifest, the last sync."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.untrusted import AwareDatetime, Count, check_time
from camarchiver.state.failures import Failures
from camarchiver.storage import atomic, run_lock

FILE = "offsite.json"


class SyncCounts(Struct, frozen=True):
    """How much had a copy when the last sync of everything ended."""

    at: AwareDatetime
    copied: Count
    """Archives with a verified copy."""
    missing: Count
    """Archives that should have one and do not."""

    def __post_init__(self) -> None:
        check_time(self.at)


class SyncFailure(Struct, frozen=True):
    """Why the last sync did not do all it was to do."""

    at: AwareDatetime
    why: str

    def __post_init__(self) -> None:
        check_time(self.at)


class RemoteState(Struct, frozen=True):
    """What is remembered of one remote."""

    days: tuple[date, ...] = ()
    """Days of footage whose manifest lacks a copy."""
    last_sync: SyncCounts | None = None
    without_error: AwareDatetime | None = None
    """When the last sync of everything ended in which nothing failed."""
    failure: SyncFailure | None = None
    """Of the last sync; None if nothing failed in it."""


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


def note_sync(
    state: Path,
    remote: str,
    failure: SyncFailure | None,
    counts: SyncCounts | None = None,
    *,
    is_over: bool = True,
) -> None:
    """Record the result of a sync; `counts` are of one of everything. Raises OSError or StorageError.

    One that was stopped, so that it is not `is_over`, neither failed nor succeeded.
    """
    if not state.is_dir():
        return

    def changed(found: RemoteState) -> RemoteState:
        after = found if counts is None else replace(found, last_sync=counts)
        if failure is not None or not is_over:
            return replace(after, failure=failure or found.failure)
        return replace(after, failure=None, without_error=counts.at if counts else found.without_error)

    _change(state, remote, changed)


def _change(state: Path, remote: str, changed: Callable[[RemoteState], RemoteState]) -> None:
    with run_lock.guarded(state / "offsite.lock"):
        before = read(state)
        after = {**before, remote: changed(before.get(remote, RemoteState()))}
        if after != before:
            atomic.write_json(state / FILE, msgspec.to_builtins(after))
