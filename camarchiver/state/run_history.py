"""Keeps a short record of every run that changed something, and estimates the speed from earlier ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.untrusted import moment_of, value_of, whole_of
from camarchiver.naming.limits import LONGEST_SECONDS
from camarchiver.storage import atomic

KEPT = 1000
"""Number of records; the oldest are deleted."""

RECENT = 10
"""Runs from which the speed is estimated."""


@dataclass
class Done:
    """The results of a run's steps, added up."""

    results: Counter[str] = field(default_factory=Counter)
    encoded: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more step."""
        self.results[outcome.result] += 1
        if outcome.encoding is not None:
            self.encoded += 1
            self.bytes_before += outcome.encoding.bytes_before
            self.bytes_after += outcome.encoding.bytes_after


def write(state: Path, report: Report, host: str, done: Done | None = None) -> None:
    """Store what one run did, and drop records beyond `KEPT`.

    `done` is given if the report doesn't hold every outcome.
    """
    folder = state / "runs"
    atomic.make_folders(folder, mode=0o700)
    if done is None:
        done = Done()
        for outcome in report.outcomes:
            done.add(outcome)
    record = {
        "run": report.run,
        "command": report.command,
        "host": host,
        "started": report.started.isoformat(timespec="seconds"),
        "ended": report.ended.isoformat(timespec="seconds"),
        "status": report.status,
        "exit_code": report.exit_code,
        "results": done.results,
        "encoded": done.encoded,
        "seconds": (report.ended - report.started).total_seconds(),
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "remaining": report.remaining,
    }
    atomic.write_text(folder / f"{report.run}.json", json.dumps(record, indent=1) + "\n")
    for old in sorted(folder.glob("*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)


def last(state: Path) -> Mapping[str, Any] | None:
    """The record of the newest run that changed something; None if there was none."""
    return next(_newest_first(state), None)


def bytes_per_second(state: Path) -> float | None:
    """Source bytes that recent runs archived per second; None before the first one."""
    # A watch waits most of its time.
    recent = [
        record
        for record in islice(_newest_first(state), RECENT)
        if record["encoded"] and record["command"] != "watch"
    ]
    size: int = sum(record["bytes_before"] for record in recent)
    seconds: float = sum(record["seconds"] for record in recent)
    return size / seconds if size > 0 and seconds > 0 else None


def _newest_first(state: Path) -> Iterator[Mapping[str, Any]]:
    """Every valid record."""
    for path in sorted((state / "runs").glob("*-*.json"), reverse=True):
        try:
            record = value_of(path.read_text(encoding="utf-8"))
            moment_of(record["ended"])
            for key in ("exit_code", "encoded", "bytes_before"):
                whole_of(record[key])
            is_named = all(isinstance(record[key], str) for key in ("run", "command", "status"))
            seconds = record["seconds"]
            if is_named and type(seconds) in (int, float) and abs(seconds) < LONGEST_SECONDS:
                yield record
        except (OSError, ValueError, KeyError, TypeError):
            continue
