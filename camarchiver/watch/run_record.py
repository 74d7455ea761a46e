"""What a run of `watch` did, in bounded memory, and its record on disk in case a power cut ends the run."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque

from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.errors import sentence
from camarchiver.monitoring.metrics import RemovalTotals
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.signals import Stop
from camarchiver.state import run_history
from camarchiver.state.run_history import ResultCounts

_log = logging.getLogger("camarchiver.watch")

RECORD_SECONDS = 3600.0
"""Shortest time between two writes of the record."""

KEPT_OUTCOMES = 1000
"""The newest outcomes, for the report at the end: a run may last for years."""


class WatchTotals:
    """What a run of any length did, in bounded memory."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.newest: deque[Outcome] = deque(maxlen=KEPT_OUTCOMES)
        self._unreported: deque[Outcome] = deque(maxlen=KEPT_OUTCOMES)
        self.begin()

    def begin(self) -> None:
        """Reset the counts of the current run: every reload begins a run."""
        self.removals, self.done = RemovalTotals(), ResultCounts()

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if outcome.result is Result.FAILED:
            self._unreported.append(outcome)
        self.results[outcome.result] += 1
        self.newest.append(outcome)
        self.removals.add(outcome)
        self.done.add(outcome)

    def unreported(self, pipeline: Pipeline) -> Report | None:
        """The failures since the last call; None if there are none."""
        found = tuple(self._unreported.popleft() for _ in range(len(self._unreported)))
        return _report(pipeline, found) if found else None


class WatchRecord:
    """Writes the record of a run at its first clip, then at most every hour, and at its end."""

    def __init__(self, pipeline: Pipeline, totals: WatchTotals, stop: Stop) -> None:
        self._pipeline = pipeline
        self._totals = totals
        self._stop = stop
        self._written = -math.inf

    def now_and_then(self) -> None:
        """Write the record if it is due."""
        if time.monotonic() - self._written >= RECORD_SECONDS:
            self._written = time.monotonic()
            self.write()

    def write(self) -> Report:
        """The report of the run so far; it is also written to disk if the storage is there."""
        pipeline, newest = self._pipeline, tuple(self._totals.newest)
        found = _report(pipeline, newest, self._stop.signal)
        try:
            if newest:
                run_history.write(pipeline.trees.state, found, pipeline.run.host, self._totals.done)
        except OSError as error:
            _log.warning("the run's record could not be written: %s", sentence(error))
        return found


def _report(pipeline: Pipeline, outcomes: tuple[Outcome, ...], signal: int | None = None) -> Report:
    run = pipeline.run
    return Report(run.command, run.id, pipeline.started, pipeline.now(), outcomes, stopped_by=signal)
