"""One run of `watch`: it sets up, watches until it is stopped, and sets up again after a reload."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import tzinfo
from functools import partial
from importlib.util import find_spec

from msgspec import Struct

from camarchiver.archive import executor, planner, recovery
from camarchiver.archive.executor import Execution
from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import Outcome, Report
from camarchiver.errors import CamarchiverError, EncoderError, sentence
from camarchiver.media.encoder_probe import EncoderRequest
from camarchiver.monitoring import metrics
from camarchiver.monitoring.channels import Channels
from camarchiver.monitoring.metrics import Figure
from camarchiver.monitoring.run_events import FailureDocument, RunEvents, open_run_events
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.runtime import periodic, signals, systemd
from camarchiver.runtime.extras import install_package
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stopper
from camarchiver.runtime.systemd import Service
from camarchiver.state import volume_marker
from camarchiver.watch.due_queue import DueQueue
from camarchiver.watch.loop import Signals, Watcher
from camarchiver.watch.run_record import WatchRecord, WatchTotals

_log = logging.getLogger("camarchiver.watch")

PAGE_MINUTES = 10
"""Shortest time between two refreshes of the pages."""


class WatchSettings(Struct, frozen=True):
    """The settings of a run; a reload brings new ones."""

    trees: Trees
    zone: tzinfo
    conventions: Conventions
    policy: ArchivePolicy
    request: EncoderRequest
    execution: Execution
    poll_seconds: float
    channels: Channels
    logged: Callable[[Pipeline], AbstractContextManager[None]]
    """Logs the run and keeps a second one out. Raises AlreadyRunning."""
    on_outcome: Callable[[Outcome], None]
    """Gets every outcome as it occurs."""
    finish: Callable[[Report, WatchTotals], None]
    """Gets the report of the last part, and the totals of the whole run."""
    refresh_page: Callable[[Stopper], None] | None = None
    """Brings the pages that show the footage up to date. Raises CamarchiverError or OSError."""


class WatchDocuments(Struct, frozen=True):
    """How the JSON documents for monitoring are made."""

    of_report: Callable[[Report], Iterable[str]]
    of_failure: FailureDocument


def watch(settings: WatchSettings, reread: Callable[[], WatchSettings], documents: WatchDocuments) -> int:
    """Watch until a stop, and return the exit code.

    `reread` makes the settings again for a reload, and may raise the errors of a wrong config.
    """
    if find_spec("inotify_simple") is None:
        raise EncoderError(
            "watch needs inotify_simple, which is not installed", hint=install_package("inotify_simple")
        )
    service, totals, queue = Service(), WatchTotals(), DueQueue()
    reload = threading.Event()
    with ExitStack() as stack:
        wake = signals.WakePipe()
        stack.callback(wake.close)
        stop = stack.enter_context(signals.on_signals(reload=reload if systemd.is_managed() else None))
        stack.enter_context(wake.by_signals())
        reached = Signals(stop, reload, wake)
        while True:
            source = str(settings.trees.source)
            with open_run_events(settings.channels, "watch", documents.of_failure, source=source) as events:
                part = _Part(settings, reached, service, totals, queue, documents)
                last = part.watch(events)
                if stop:
                    service.stopping()
                    settings.finish(last, totals)
                    return last.exit_code
            reload.clear()
            settings, queue = _reloaded(settings, reread, queue)


def _reloaded(
    settings: WatchSettings, reread: Callable[[], WatchSettings], queue: DueQueue
) -> tuple[WatchSettings, DueQueue]:
    """The settings from the current config; the old ones if it is wrong."""
    try:
        fresh = reread()
        volume_marker.check_roots(fresh.trees)
    except CamarchiverError as error:
        _log.error("the config was read again and is wrong, so nothing changes: %s", sentence(error))
        return settings, queue
    _log.warning("the config was read again")
    return fresh, queue if fresh.trees == settings.trees else DueQueue()


class _Part(Struct, frozen=True):
    """The run from one reload to the next."""

    settings: WatchSettings
    signals: Signals
    service: Service
    totals: WatchTotals
    queue: DueQueue
    documents: WatchDocuments

    def watch(self, events: RunEvents) -> Report:
        """Watch with these settings until a stop or a reload is requested."""
        settings = self.settings
        policy, execution = settings.policy, settings.execution
        pipeline = Pipeline(settings.trees, settings.zone, "watch", settings.conventions)
        volume_marker.check_writable(pipeline.trees, removes=policy.disposal is not Disposal.KEEP)
        with settings.logged(pipeline):
            self.totals.begin()
            events.started(pipeline.trees)
            recovery.sweep(pipeline, execution.sidecars)
            tools, notes = executor.choose_encoder(settings.request, execution.settings)
            _log.info("%s", "; ".join(notes))
            volume_marker.mark(pipeline.trees)
            record = WatchRecord(pipeline, self.totals, self.signals.stop)
            watcher = self._watcher(pipeline, record)
            with executor.working(
                pipeline,
                executor.local_workers(tools, execution),
                policy.disposal,
                execution.sidecars,
                floor=planner.free_floor(pipeline, policy),
                stop=self.signals.stop,
                display=Silent(),
                keeps_folders=True,
            ) as workers:
                figures, failures = partial(self._figures, watcher), partial(self._failures, pipeline)
                with events.each_minute(figures, lambda: watcher.is_well, failures), self._pages():
                    watcher.run(workers)
                if not self.signals.stop:
                    self.service.reloading()
            last = record.write()
            if self.signals.stop:
                unreported = failures()
                pieces = unreported or self.documents.of_report(last)
                events.closed(last.exit_code, figures(), pieces, failed=unreported is not None)
            else:
                events.reloaded(figures())
            return last

    def _pages(self) -> AbstractContextManager[None]:
        """Meanwhile the pages are brought up to date: at once, then now and then if anything was done."""
        refresh = self.settings.refresh_page
        if refresh is None:
            return nullcontext()
        done, minutes = -1, PAGE_MINUTES

        def act() -> None:
            nonlocal done, minutes
            minutes += 1
            count = self.totals.results.total()
            if count == done or minutes < PAGE_MINUTES:
                return
            try:
                refresh(self.signals.stop.event)
            except (CamarchiverError, OSError) as error:
                _log.warning("the pages could not be brought up to date: %s", sentence(error))
            done, minutes = count, 0

        return periodic.every_minute(act)

    def _watcher(self, pipeline: Pipeline, record: WatchRecord) -> Watcher:
        def on_outcome(outcome: Outcome) -> None:
            self.totals.add(outcome)
            record.now_and_then()
            self.settings.on_outcome(outcome)

        return Watcher(
            pipeline,
            self.settings.policy,
            self.signals,
            self.service,
            poll_seconds=self.settings.poll_seconds,
            on_outcome=on_outcome,
            queue=self.queue,
        )

    def _figures(self, watcher: Watcher) -> tuple[Figure, ...]:
        return (*self.totals.removals.figures(), metrics.of_queue(watcher.waiting))

    def _failures(self, pipeline: Pipeline) -> Iterable[str] | None:
        found = self.totals.unreported(pipeline)
        return self.documents.of_report(found) if found is not None else None
