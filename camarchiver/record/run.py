"""One run of `record`: every camera's recorder, its watchdog and its monitoring, until the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

from camarchiver.errors import CamarchiverError
from camarchiver.monitoring.run_events import RunEvents
from camarchiver.record.fleet import Fleet, Member, assembled
from camarchiver.record.results import Judgement, UnreportedProblems, figures_of, judged, problem_of
from camarchiver.record.watchdog import Watchdog
from camarchiver.runtime import signals
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.systemd import Service

_log = logging.getLogger(__name__)

MakeMember = Callable[[Watchdog, ExitStack], Member]
"""Makes a camera's recorder; its locks are held until the stack is closed."""


@dataclass(frozen=True, slots=True)
class RecordDocuments:
    """How the JSON documents are made."""

    of_problems: Callable[[Judgement], str]
    """Of what went wrong while it runs."""
    of_fleet: Callable[[Fleet, Judgement], str]
    """Of the whole run."""


@dataclass(frozen=True, slots=True)
class RecordResult:
    """The result of a run."""

    exit_code: int
    document: str
    """In JSON."""
    error: CamarchiverError | OSError | None
    """The error that ended the only camera; with several cameras, it is in the document and the log."""


def record(
    cameras: Mapping[str, MakeMember],
    logged: Callable[[], AbstractContextManager[None]],
    events: RunEvents,
    documents: RecordDocuments,
) -> RecordResult:
    """Record with each camera, by its name, until all have ended or a signal stops them.

    `logged` logs the run, once the first lock is held. Raises what kept the only camera from starting.
    """
    watchdog = Watchdog(Service(), cameras)
    with ExitStack() as locks:
        members = {name: partial(make, watchdog, locks) for name, make in cameras.items()}
        fleet = assembled(members, watchdog)
        locks.enter_context(logged())
        for name, error in fleet.failures.items():
            _log.error("%s is not recorded: %s", shown(name), error)
        events.started()
        return _record(fleet, watchdog, events, documents)


def _record(fleet: Fleet, watchdog: Watchdog, events: RunEvents, documents: RecordDocuments) -> RecordResult:
    figures = partial(figures_of, fleet)
    with signals.on_signals() as stop:
        unreported = UnreportedProblems(lambda: judged(fleet, None), documents.of_problems)
        with events.each_minute(figures, fleet.is_well, unreported.failures):
            watchdog.begin()
            fleet.run(stop.event)
            watchdog.end()
        judgement = judged(fleet, stop.signal)
        exit_code, text = judgement[1], documents.of_fleet(fleet, judgement)
        events.closed(exit_code, figures(), (text,), failed=bool(unreported.problems()))
    return RecordResult(exit_code, text, _only_error(fleet))


def _only_error(fleet: Fleet) -> CamarchiverError | OSError | None:
    found: Iterable[CamarchiverError | OSError | None] = map(problem_of, fleet.members)
    errors = [error for error in found if error is not None]
    return errors[0] if errors and len(fleet.names) == 1 else None
