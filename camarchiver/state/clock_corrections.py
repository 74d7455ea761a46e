"""Reads and writes `clocks.json`: which clock is right for the clips of a camera and a range of times."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from camarchiver.domain.clocks import ClockCorrection, parse_clock
from camarchiver.domain.untrusted import AwareDatetime
from camarchiver.errors import UsageError
from camarchiver.storage import atomic, run_lock

FILE = "clocks.json"


class _StoredCorrection(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """One correction, under its id."""

    camera: str
    start: AwareDatetime
    end: AwareDatetime
    clock: str
    reason: str = ""

    def __post_init__(self) -> None:
        parse_clock(self.clock)


def read(state: Path) -> tuple[ClockCorrection, ...]:
    """All corrections, oldest first. Raises StorageError if the file and its backup can't be read."""
    stored = atomic.read_entries(state / FILE, _StoredCorrection)
    return tuple(
        ClockCorrection(name, it.camera, it.start, it.end, it.clock, parse_clock(it.clock), it.reason)
        for name, it in stored.items()
    )


def new(camera: str, start: datetime, end: datetime, word: str, reason: str) -> ClockCorrection:
    """A correction with an id of its own, not yet stored. Raises UsageError for an empty range."""
    if end <= start:
        raise UsageError("the range ends before it begins", hint="give --from the earlier time")
    return ClockCorrection(secrets.token_hex(4), camera, start, end, word, parse_clock(word), reason)


def add(state: Path, correction: ClockCorrection) -> None:
    """Store a correction; it counts from now on."""
    atomic.make_private_folders(state)
    with run_lock.guarded(state / "clocks.lock"):
        _write(state, (*read(state), correction))


def find(state: Path, name: str) -> ClockCorrection:
    """The correction of this id. Raises UsageError if there is none."""
    found = next((each for each in read(state) if each.id == name), None)
    if found is None:
        raise UsageError(f"there is no correction {name}", hint="camarchiver clock list shows them all")
    return found


def remove(state: Path, name: str) -> None:
    """Forget a correction; one that is gone is no error."""
    with run_lock.guarded(state / "clocks.lock"):
        _write(state, (each for each in read(state) if each.id != name))


def _write(state: Path, corrections: Iterable[ClockCorrection]) -> None:
    stored = {
        each.id: _StoredCorrection(each.camera, each.start, each.end, each.word, each.reason)
        for each in corrections
    }
    atomic.write_json(state / FILE, msgspec.to_builtins(stored))
