"""One run of `record`: every camera's recorder, its watchdog and its monitoring, until the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from msgspec import Struct

from camarchiver.errors import CamarchiverError
from camarchiver.monitoring.run_events import RunEvents
from camarchiver.record.supervision.facts import RunFacts
from camarchiver.record.supervision.results import Judgement, UnreportedProblems, figures_of, judged
from camarchiver.record.watchdog import Watchdog
from camarchiver.runtime import signals
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.systemd import Service

_log = logging.getLogger(__name__)


class Recorders(Protocol):
    """The recorders of a run, wherever they run."""

    @property
    def facts(self) -> RunFacts:
        """What they did so far; any thread may ask."""
        ...

    def run(self, stop: threading.Event) -> None:
        """Record until every camera has ended."""
        ...


class RecordDocuments(Struct, frozen=True):
    """How the JSON documents are made."""

    of_problems: Callable[[Judgement], str]
    """Of what went wrong while it runs."""
    of_run: Callable[[RunFacts, Judgement], str]
    """Of the whole run."""


class RecordResult(Struct, frozen=True):
    """The result of a run."""

    exit_code: int
    document: str
    """In JSON."""
    error: CamarchiverError | None
    """The error that ended the only camera; with several cameras, it is in the document and the log."""


def record(
    cameras: Iterable[str],
    begin: Callable[[Watchdog, ExitStack], Recorders],
    logged: Callable[[], AbstractContextManager[None]],
    events: RunEvents,
    documents: RecordDocuments,
) -> RecordResult:
    """Record with each of these cameras until all have ended or a signal stops them.

    `begin` starts their recorders, whose locks are held until its stack is closed; raises what kept all of
    them from starting. `logged` logs the run, once the first lock is held.
    """
    watchdog = Watchdog(Service(), cameras)
    with ExitStack() as locks:
        recorders = begin(watchdog, locks)
        locks.enter_context(logged())
        for name, failure in recorders.facts.failures.items():
            _log.error("%s is not recorded: %s", shown(name), failure.problem.message)
        events.started()
        return _record(recorders, watchdog, events, documents)


def _record(
    recorders: Recorders, watchdog: Watchdog, events: RunEvents, documents: RecordDocuments
) -> RecordResult:
    with signals.on_signals() as stop:
        unreported = UnreportedProblems(lambda: judged(recorders.facts, None), documents.of_problems)
        with events.each_minute(
            lambda: figures_of(recorders.facts), lambda: recorders.facts.is_well, unreported.failures
        ):
            watchdog.begin()
            recorders.run(stop.event)
            watchdog.end()
        run = recorders.facts
        judgement = judged(run, stop.signal)
        exit_code, text = judgement.conclusion.exit_code, documents.of_run(run, judgement)
        events.closed(exit_code, figures_of(run), (text,), failed=bool(unreported.problems()))
    return RecordResult(exit_code, text, _only_error(run))


def _only_error(run: RunFacts) -> CamarchiverError | None:
    failures = [each.failure for each in run.cameras if each.failure is not None]
    return failures[0].error if failures and len(run.names) == 1 else None
