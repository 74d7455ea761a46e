"""Notes on the removals that a cleanup is about to make, so that the next start finds unfinished ones.

The journal holds each intent; a note only says in which days' files to look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec

from camarchiver.domain.fields import Run
from camarchiver.domain.untrusted import decode
from camarchiver.storage import atomic, owner
from camarchiver.storage.owner import Owner
from camarchiver.storage.walk import paths_in

FOLDER = "intents"


class IntentRecord(msgspec.Struct, frozen=True):
    """What a note holds."""

    run: Run
    owner: Owner
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class IntentNote:
    """The intents of one run."""

    path: Path
    run: str
    days: tuple[date, ...]
    is_live: bool


class IntentLog:
    """One run's note, rewritten before each block of removals."""

    def __init__(self, state: Path, run: str) -> None:
        self._path = state / FOLDER / f"{run}.json"
        self._unclear: set[date] = set()
        self._run = run
        self._owner = Owner.this()

    def open(self, days: set[date]) -> None:
        """Note that intents in these days' files may have no outcome yet; durable on return."""
        atomic.make_private_folders(self._path.parent)
        listed = tuple(sorted(days | self._unclear))
        record = IntentRecord(self._run, self._owner, listed)
        atomic.write_text(self._path, json.dumps(msgspec.to_builtins(record)) + "\n")

    def leave_open(self, day: date) -> None:
        """Note that an intent of this day has no known outcome: the next start examines it."""
        self._unclear.add(day)

    def close(self) -> None:
        """Remove the note, unless some intents were left open; all others have their outcome."""
        if not self._unclear:
            self._path.unlink(missing_ok=True)


def existing(state: Path) -> Iterator[IntentNote]:
    """Every note; one that can't be parsed is left for a person to examine."""
    for path in paths_in(state / FOLDER, ".json"):
        try:
            record = decode(path.read_text(encoding="ascii"), IntentRecord)
            yield IntentNote(path, record.run, record.days, _is_live(record, path))
        except (OSError, ValueError):
            continue


def _is_live(record: IntentRecord, path: Path) -> bool:
    """Whether another process must be taken to be at work on it; a run of this process has ended."""
    is_alive = owner.is_alive(record.owner, lambda: time.time() - path.lstat().st_mtime)
    return is_alive and not record.owner.is_this_process
