"""Keeps a short record of each run that changes something, from its first step on; estimates the speed."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.untrusted import AwareDatetime, Count, Run, check_time, decode
from camarchiver.errors import cause, sentence
from camarchiver.journal.writer import RunId
from camarchiver.naming.time_groups import LONGEST_SECONDS
from camarchiver.storage import atomic

if TYPE_CHECKING:
    from camarchiver.domain.plan import Plan
    from camarchiver.runtime.signals import Stop

_log = logging.getLogger(__name__)

KEPT = 1000
"""Number of records; the oldest are deleted."""

RECENT = 10
"""Runs from which the speed is estimated."""


class ResultCounts:
    """The results of a run's steps, added up."""

    def __init__(self) -> None:
        self.results = Counter[str]()
        self.encoded = 0
        self.bytes_before = self.bytes_after = 0

    def add(self, outcome: Outcome) -> None:
        """Count one more step."""
        self.results[outcome.result] += 1
        if outcome.encoding is not None:
            self.encoded += 1
            self.bytes_before += outcome.encoding.bytes_before
            self.bytes_after += outcome.encoding.bytes_after


class RunRecord(Struct, frozen=True):
    """What one run did."""

    run: Run
    command: str
    host: str
    started: AwareDatetime
    ended: AwareDatetime
    status: str
    exit_code: Annotated[int, Meta(ge=0, le=255)] | None
    """None while the run is at work, and for ever if it was killed."""
    results: dict[str, Count]
    """By the kind of outcome."""
    encoded: Count
    seconds: Annotated[float, Meta(ge=-LONGEST_SECONDS, le=LONGEST_SECONDS)]
    """Below zero if the clock was set back meanwhile."""
    bytes_before: Count
    bytes_after: Count
    remaining: Count

    def __post_init__(self) -> None:
        check_time(self.started)
        check_time(self.ended)

    def fields(self) -> dict[str, Any]:
        """The record as JSON values."""
        times = {"started": self.started.isoformat(), "ended": self.ended.isoformat()}
        return msgspec.structs.asdict(self) | times


_RECORDS = "[!.]*-*.json"
"""The names of records; one that another run is just writing is hidden."""

UNFINISHED = "unfinished"
"""The status of a run that has not reported yet."""


class BegunRun(Struct, frozen=True):
    """A run that carries out a plan; `begin` makes it, and only it makes the report."""

    state: Path
    run: RunId
    now: Callable[[], datetime]
    began: datetime | None
    """When its first step began; None for a run without steps, which has no record."""

    def report(self, plan: Plan[Any, Any], outcomes: tuple[Outcome, ...], stop: Stop | None = None) -> Report:
        """The report of the plan's execution; it completes the record, or removes it if nothing was done."""
        signal = stop.signal if stop else None
        report = plan.report(self.run.id, outcomes, ended=self.now(), stopped_by=signal)
        report = replace(report, began=self.began)
        if outcomes:
            write(self.state, report, self.run.host)
        elif self.began is not None:
            _file(self.state, self.run.id).unlink(missing_ok=True)
        return report


def begin(
    state: Path, run: RunId, started: datetime, now: Callable[[], datetime], steps: Collection[object]
) -> BegunRun:
    """Store that a run begins the first of these steps, so that one that is killed is in the history, too.

    `started` is the moment for which the steps were planned.
    """
    if not steps:
        return BegunRun(state, run, now, None)
    began = now()
    report = Report(run.command, run.id, started, began)
    try:
        _store(state, _record(report, run.host, ResultCounts(), UNFINISHED, None))
    except OSError as error:  # a cleanup of a full disk has to begin, too
        _log.warning("the run's record could not be written: %s", sentence(error))
    return BegunRun(state, run, now, began)


def write(state: Path, report: Report, host: str, done: ResultCounts | None = None) -> None:
    """Store what one run did, and drop records beyond `KEPT`.

    `done` is given if the report doesn't hold every outcome.
    """
    if done is None:
        done = ResultCounts()
        for outcome in report.outcomes:
            done.add(outcome)
    _store(state, _record(report, host, done, report.status, report.exit_code))


def _record(report: Report, host: str, done: ResultCounts, status: str, exit_code: int | None) -> RunRecord:
    return RunRecord(
        run=report.run,
        command=report.command,
        host=host,
        started=report.started.replace(microsecond=0),
        ended=report.ended.replace(microsecond=0),
        status=status,
        exit_code=exit_code,
        results=dict(done.results),
        encoded=done.encoded,
        seconds=report.seconds,
        bytes_before=done.bytes_before,
        bytes_after=done.bytes_after,
        remaining=report.remaining,
    )


def _store(state: Path, record: RunRecord) -> None:
    file = _file(state, record.run)
    atomic.make_private_folders(file.parent)
    atomic.write_text(file, json.dumps(record.fields(), indent=1) + "\n")
    for old in sorted(file.parent.glob(_RECORDS))[:-KEPT]:
        old.unlink(missing_ok=True)


def _file(state: Path, run: str) -> Path:
    return state / "runs" / f"{run}.json"


def last(state: Path) -> RunRecord | None:
    """The record of the newest run that changed something; None if there was none."""
    return next(newest_first(state), None)


def bytes_per_second(state: Path) -> float | None:
    """Source bytes that recent runs archived per second; None before the first one."""
    # A watch waits most of its time.
    recent = [
        record
        for record in islice(newest_first(state), RECENT)
        if record.encoded and record.command != "watch"
    ]
    size = sum(record.bytes_before for record in recent)
    seconds = sum(record.seconds for record in recent)
    return size / seconds if size > 0 and seconds > 0 else None


def archived_share(state: Path) -> float | None:
    """The share of the sources' bytes that the archives of recent runs take; None before the first one."""
    recent = [record for record in islice(newest_first(state), RECENT) if record.bytes_before]
    before, after = (sum(getattr(each, name) for each in recent) for name in ("bytes_before", "bytes_after"))
    return after / before if before else None


def newest_first(state: Path) -> Iterator[RunRecord]:
    """Every valid record; an invalid record is skipped."""
    for path in sorted((state / "runs").glob(_RECORDS), reverse=True):
        try:
            yield decode(path.read_text(encoding="utf-8"), RunRecord)
        except (OSError, ValueError) as error:
            _log.debug("%s is passed over: %s", path, cause(error))
