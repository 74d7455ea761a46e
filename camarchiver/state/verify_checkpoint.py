"""Remembers how far a `verify` came, so that an interrupted one resumes there."""

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
    """What a `verify` was asked to check; it resumes only if the question is the same."""

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
    """The first run of this pass; it seeds the sample."""
    after: CheckpointPlace
    checked: int
    off: tuple[CheckpointPlace, ...]
    """Archives that it found at fault, to be checked again."""


def read(state: Path) -> VerifyCheckpoint | None:
    """None if nothing was interrupted or the file can't be parsed: then every archive is checked."""
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
    """Raises OSError if the archive can't be written: then the next run starts over."""
    atomic.write_text(state / FILE, json.dumps(asdict(mark), default=date.isoformat) + "\n")


def remove(state: Path, asked: Asked) -> None:
    """Remove the checkpoint of a completed pass; one of another question stays."""
    mark = read(state)
    if mark is not None and mark.asked == asked:
        with contextlib.suppress(OSError):
            (state / FILE).unlink()


def _place(fields: Mapping[str, Any]) -> CheckpointPlace:
    return CheckpointPlace(date.fromisoformat(fields["day"]), str(fields["archive"]))
