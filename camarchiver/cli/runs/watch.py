"""One run of `watch`: set up, watch until a signal, set up anew after a reload, report."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from camarchiver.archive import executor, recovery
from camarchiver.cli.runs.archive import ArchiveOptions
from camarchiver.cli.session import running, write
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.errors import CamarchiverError, EncoderError, UsageError
from camarchiver.monitoring import metrics
from camarchiver.monitoring.metrics import Figure, RemovalTotals
from camarchiver.monitoring.run_events import RunEvents, attending
from camarchiver.naming.patterns import Pattern
from camarchiver.output import json_document
from camarchiver.output import text as text_output
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import clock, systemd
from camarchiver.runtime import signals as runtime_signals
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.systemd import Service
from camarchiver.state import run_history, volume_marker
from camarchiver.state.run_history import Done
from camarchiver.watch.due_queue import DueQueue

if TYPE_CHECKING:
    from camarchiver.watch.loop import Signals, Watcher

_log = logging.getLogger("camarchiver.watch")

RECORD_SECONDS = 3600.0

KEPT_OUTCOMES = 1000
"""The newest outcomes, for the report at the end: a run may last for years."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The command line of `watch`, parsed."""

    archive: ArchiveOptions
    quiet: timedelta
    poll_seconds: float
    patterns: tuple[Pattern, ...]

    @classmethod
    def of(cls, chosen: Mapping[str, Any], patterns: tuple[Pattern, ...]) -> WatchOptions:
        """From click's parameters. Raises UsageError."""
        own = {key: value for key, value in chosen.items() if key not in ("quiet_for", "poll")}
        if chosen["poll"].total_seconds() < 1:
            raise UsageError("--poll is at least one second", hint="leave it out for a minute")
        return cls(
            ArchiveOptions(
                **own,
                since=None,
                until=None,
                limit=None,
                max_runtime=None,
                scheduler=None,
                no_skip=False,
                retry_failed=False,
                delete=False,
                dry_run=False,
                no_confirm=True,
                cleanup=None,
            ),
            chosen["quiet_for"],
            chosen["poll"].total_seconds(),
            patterns,
        )


class WatchTotals:
    """What a run of any length did, in bounded memory."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.newest: deque[Outcome] = deque(maxlen=KEPT_OUTCOMES)
        self._untold: deque[Outcome] = deque(maxlen=KEPT_OUTCOMES)
        self.begin()

    def begin(self) -> None:
        """Count anew what is told by run: every reload begins one."""
        self.sums, self.done = RemovalTotals(), Done()

    def add(self, outcome: Outcome) -> None:
        """One more."""
        if outcome.result is Result.FAILED:
            self._untold.append(outcome)
        self.results[outcome.result] += 1
        self.newest.append(outcome)
        self.sums.add(outcome)
        self.done.add(outcome)

    def untold(self, run: Pipeline) -> Iterator[str] | None:
        """The JSON document of the failures since it was last asked for; None where there are none."""
        found = tuple(self._untold.popleft() for _ in range(len(self._untold)))
        if not found:
            return None
        return json_document.document(Report("watch", run.run.id, run.started, run.now(), found), None)


class _Recorder:
    """Writes the run's record down now and then, for a run that a power cut ends after months."""

    def __init__(self, pipeline: Pipeline, tally: WatchTotals, stopping: runtime_signals.Stop) -> None:
        self._pipeline = pipeline
        self._tally = tally
        self._stopping = stopping
        self._written = -math.inf

    def now_and_then(self) -> None:
        """At the first clip, then every hour at most."""
        if time.monotonic() - self._written >= RECORD_SECONDS:
            self._written = time.monotonic()
            self.report()

    def report(self) -> Report:
        """What came of the run so far, written down where its storage is there."""
        run, newest = self._pipeline, tuple(self._tally.newest)
        found = Report("watch", run.run.id, run.started, run.now(), newest, stopped_by=self._stopping.signal)
        try:
            if newest:
                run_history.write(run.trees.state, found, run.run.host, self._tally.done)
        except OSError as error:
            _log.warning("the run's record could not be written: %s", error)
        return found


def watch_session(options: WatchOptions, reread: Callable[[], WatchOptions]) -> int:
    """Run `watch` and return its exit code."""
    if find_spec("inotify_simple") is None:
        raise EncoderError(
            "watch needs inotify_simple, which is not installed", hint="pip install camarchiver[watch]"
        )
    speaker, tally, agenda = Service(), WatchTotals(), DueQueue()
    reload = threading.Event()
    with ExitStack() as stack:
        wake = runtime_signals.Wake()
        stack.callback(wake.close)
        stopping = stack.enter_context(
            runtime_signals.on_signals(reload=reload if systemd.is_managed() else None)
        )
        stack.enter_context(wake.by_signals())
        from camarchiver.watch.loop import Signals

        signals = Signals(stopping, reload, wake)
        while True:
            with attending(
                options.archive.channels,
                "watch",
                json_document.failure_document,
                source=str(options.archive.trees().source),
            ) as attendance:
                last = _watch(options, signals, speaker, tally, agenda, attendance)
                if stopping:
                    speaker.stopping()
                    return _finish(options.archive, last, tally)
            reload.clear()
            options, agenda = _reloaded(options, reread, agenda)


def _reloaded(
    options: WatchOptions, reread: Callable[[], WatchOptions], agenda: DueQueue
) -> tuple[WatchOptions, DueQueue]:
    """The options as the config has them now; the old ones where it is wrong."""
    try:
        fresh = reread()
        fresh.archive.policy(clock.zone(fresh.archive.timezone))
        volume_marker.check_roots(fresh.archive.trees())
    except (CamarchiverError, click.ClickException) as error:
        _log.error("the config was read anew and is wrong, so nothing changes: %s", error)
        return options, agenda
    _log.warning("the config was read anew")
    return fresh, agenda if fresh.archive.trees() == options.archive.trees() else DueQueue()


def _watch(
    options: WatchOptions,
    signals: Signals,
    speaker: Service,
    tally: WatchTotals,
    agenda: DueQueue,
    attendance: RunEvents,
) -> Report:
    """Watch with these options until a stop or a reload is asked for."""
    from camarchiver.watch.loop import Watcher

    asked = options.archive
    zone = clock.zone(asked.timezone)
    policy = replace(asked.policy(zone), quiet=options.quiet)
    how = asked.execution()
    pipeline = Pipeline(asked.trees(), zone, "watch", options.patterns)
    volume_marker.check_writable(pipeline.trees, removes=not asked.keep_source)
    recorder = _Recorder(pipeline, tally, signals.stop)

    def tell(outcome: Outcome) -> None:
        tally.add(outcome)
        recorder.now_and_then()
        if not (asked.as_json or asked.quiet):
            _print(text_output.outcome_line(outcome))

    with running(pipeline, asked.log_file, asked.channels, verbose=asked.verbose, quiet=asked.quiet):
        tally.begin()
        attendance.started(pipeline.trees)
        recovery.sweep(pipeline, how.sidecars)
        tools, notes = executor.choose_encoder(asked.request(), how.settings)
        _log.info("%s", "; ".join(notes))
        watcher = Watcher(
            pipeline,
            policy,
            signals,
            speaker,
            poll_seconds=options.poll_seconds,
            tell=tell,
            agenda=agenda,
        )
        volume_marker.mark(pipeline.trees)
        with executor.working(
            pipeline,
            executor.local_workers(tools, how),
            policy.disposal,
            how.sidecars,
            stop=signals.stop,
            display=Silent(),
            keeps_folders=True,
        ) as shop:
            look, failures = partial(_figures, tally, watcher), partial(tally.untold, pipeline)
            with attendance.each_minute(look, lambda: watcher.is_well, failures):
                watcher.run(shop)
            if not signals.stop:
                speaker.reloading()
        last = recorder.report()
        if signals.stop:
            untold = failures()
            pieces = untold or json_document.document(last, None)
            attendance.closed(last.exit_code, look(), pieces, failed=untold is not None)
        else:
            attendance.handed_over(look())
        return last


def _print(line: str) -> None:
    """To whoever reads; a reader who goes away, as a journal that is restarted, ends no watch."""
    try:
        print(line, flush=True)
    except OSError as error:
        _log.info("standard output is gone: %s", error.strerror)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _figures(tally: WatchTotals, watcher: Watcher) -> tuple[Figure, ...]:
    return (*tally.sums.figures(), metrics.of_queue(watcher.waiting))


def _finish(asked: ArchiveOptions, last: Report, tally: WatchTotals) -> int:
    if asked.as_json:
        write(json_document.document(last, None, {"results": dict(tally.results)}))
    elif not asked.quiet:
        write(line + "\n" for line in text_output.report_lines(last, told=True))
    return last.exit_code
