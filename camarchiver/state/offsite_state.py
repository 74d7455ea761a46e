"""What is remembered of off-site copies between runs: failed ones, and days without their newest manifest."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import msgspec

from camarchiver.domain.fields import RemoteName
from camarchiver.state.failures import Failures
from camarchiver.storage import atomic, run_lock

FILE = "offsite.json"


class _Due(msgspec.Struct, frozen=True):
    """Days of footage whose manifest at one remote lacks a copy."""

    remote: RemoteName
    days: tuple[date, ...] = ()


def failures(state: Path) -> Failures:
    """Archives that could not be copied, by path below the archive root."""
    return Failures(state, "offsite-failures.json")


def due_manifests(state: Path, remote: str) -> frozenset[date]:
    """Days of footage whose manifest must be written again at this remote."""
    found = _read(state).get(remote)
    return frozenset(found.days) if found is not None else frozenset()


def change_due(state: Path, remote: str, *, add: Iterable[date] = (), remove: Iterable[date] = ()) -> None:
    """Note days whose manifest is out of date, or is up to date again. Raises OSError or StorageError."""
    with run_lock.guarded(state / "offsite.lock"):
        before = _read(state)
        own = before.get(remote)
        days = (set(own.days) if own is not None else set()) - set(remove) | set(add)
        after = {key: each for key, each in before.items() if key != remote}
        if days:
            after[remote] = _Due(remote, tuple(sorted(days)))
        if after != before:
            atomic.write_json(state / FILE, msgspec.to_builtins(after))


def _read(state: Path) -> dict[str, _Due]:
    return atomic.read_entries(state / FILE, _Due)
