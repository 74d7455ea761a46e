"""Remembers how far a `verify` came, so that one that was interrupted goes on there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from camarchiver.domain.untrusted import value_of, whole_of
from camarchiver.storage import atomic

FILE = "verify.json"


@dataclass(frozen=True, slots=True)
class CheckpointPlace:
    """One archive in the order of `verify`: by its clip's day, then by its path below the archive root."""

    day: date
    archive: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a `verify` was asked to look at; only the very same question is gone on with."""

    since: date | None
    percent: float
    full: bool
    known: bool = False
    """Only archives that were found damaged before."""


@dataclass(frozen=True, slots=True)
class VerifyCheckpoint:
    """How far one run came."""

    asked: Asked
    run: str
    """The first one of this round, by which a sample is drawn."""
    after: CheckpointPlace
    checked: int
    off: tuple[CheckpointPlace, ...]
    """What it found off, to be looked at again."""


def read(state: Path) -> VerifyCheckpoint | None:
    """None where nothing was interrupted, or where the file can't be understood: then all is looked at."""
    try:
        fields = value_of((state / FILE).read_text(encoding="ascii"))
        asked = fields["asked"]
        since = date.fromisoformat(asked["since"]) if asked["since"] else None
        return VerifyCheckpoint(
            Asked(since, float(asked["percent"]), bool(asked["full"])),
            str(fields["run"]),
            _place(fields["after"]),
            whole_of(fields["checked"]),
            tuple(_place(each) for each in fields["off"]),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def write(state: Path, mark: VerifyCheckpoint) -> None:
    """Raises OSError where the archive can't be written: such a run begins anew."""
    atomic.write_text(state / FILE, json.dumps(asdict(mark), default=date.isoformat) + "\n")


def remove(state: Path, asked: Asked) -> None:
    """A round came to its end; one that was asked something else stays where it is."""
    mark = read(state)
    if mark is not None and mark.asked == asked:
        with contextlib.suppress(OSError):
            (state / FILE).unlink()


def _place(fields: Mapping[str, Any]) -> CheckpointPlace:
    return CheckpointPlace(date.fromisoformat(fields["day"]), str(fields["archive"]))
