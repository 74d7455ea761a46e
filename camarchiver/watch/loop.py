"""Archives clips as they arrive: one queue and one set of jobs, until a stop or a reload is requested."""

from __future__ import annotations

import logging
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from fractions import Fraction
from itertools import groupby

from msgspec import Struct

from camarchiver.archive import planner
from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.archive.workers import ArchiveWorkers
from camarchiver.domain.clip import joined
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import ArchiveStep, Keep
from camarchiver.errors import StorageError, cause, sentence
from camarchiver.naming.folders import date_of_folder
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.policy.ordering import place_among, turn
from camarchiver.runtime.signals import Stop, WakePipe
from camarchiver.runtime.systemd import Service
from camarchiver.state import volume_marker
from camarchiver.storage import run_lock
from camarchiver.watch import due_queue
from camarchiver.watch.due_queue import DueQueue
from camarchiver.watch.inotify import Arrival, Arrivals, EventsLost, Found, Moved, RootGone, Written

_log = logging.getLogger("camarchiver.watch")

RESCAN_SECONDS = 86_400.0
"""Seconds between full scans, even if the kernel reports every change: holds expire, and a clip that its
storage kept from being archived is tried again."""

AWAY_SECONDS = 5.0
"""Seconds between two checks whether lost storage is back."""

REOPEN_SECONDS = 3600.0
"""Seconds between two attempts to watch a polled tree: a limit may have been raised."""

FULL_SECONDS = 60.0
"""Seconds for which no clip is begun after one found too little space."""

OVERFLOW_SECONDS = 2.0
"""Pause between two scans for dropped events: while a flood lasts, more are dropped."""

_BATCH = 50
"""Clips examined together; one listing of their folder serves all of them."""

_STATUS_SECONDS = 1.0


class Signals(Struct, frozen=True):
    """How the rest of the process reaches the loop."""

    stop: Stop
    reload: threading.Event
    wake: WakePipe


class Watcher:
    """Watches one tree; `on_outcome` gets every outcome as it occurs."""

    def __init__(
        self,
        pipeline: Pipeline,
        policy: ArchivePolicy,
        signals: Signals,
        service: Service,
        *,
        poll_seconds: float,
        on_outcome: Callable[[Outcome], None],
        queue: DueQueue | None = None,
    ) -> None:
        self.queue = queue if queue is not None else DueQueue()
        """The clips that wait; a successor may continue with it."""
        self._pipeline = pipeline
        self._trees = pipeline.trees
        self._remover = SourceRemover(pipeline.trees, pipeline.writer, SidecarPolicy.KEEP)
        self._policies = {False: policy, True: due_queue.as_finished(policy)}
        self._signals = signals
        self._service = service
        self._poll_seconds = poll_seconds
        self._on_outcome = on_outcome
        self._marker = ""
        self._arrivals: Arrivals | None = None
        self._place: Fraction | None = None
        """Where this host begins among the existing clips; None if it works alone."""
        self._steps: deque[ArchiveStep] = deque()
        self._running: dict[Future[Outcome], ArchiveStep] = {}
        self._taken: dict[str, bool] = {}
        """The clips in `_steps` or in work, and whether their arrival proved them complete."""
        self._emptied: set[str] = set()
        """Date folders that clips have left since the folders were last checked."""
        self._next_scan = self._retry_at = self._full_until = self._opened_at = 0.0
        self._refused_until = 0.0
        """Until when clips wait because this user may not read their folder, or their day's journal."""
        self._away = self._polled = self._last_status = ""
        self._status_sent_at = -math.inf
        self._mounts_changed = False
        self._done = 0

    @property
    def waiting(self) -> int:
        """Number of clips that are still to be archived or examined."""
        return len(self.queue) + len(self._steps)

    @property
    def is_well(self) -> bool:
        """Whether storage is there, can be read, and has free space."""
        return not self._away and time.monotonic() >= max(self._full_until, self._refused_until)

    def run(self, workers: ArchiveWorkers) -> None:
        """Archive existing and arriving clips; when this returns, every job has ended.

        Raises StorageError if the tree can't be watched from the start.
        """
        self._marker = volume_marker.marker(self._trees.state)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(workers.jobs, thread_name_prefix="job"))
            stack.callback(self._close)
            stack.callback(self._return_steps)
            self._open()
            self._service.ready(self._status())
            while self._running or not self._is_over():
                self._service.beat()
                self._collect()
                self._listen()
                self._begin(workers, pool)
                self._send_status()
                self._wait(workers)

    def _is_over(self) -> bool:
        return bool(self._signals.stop) or self._signals.reload.is_set()

    # --- what arrives ------------------------------------------------------------------------------

    def _open(self) -> None:
        """Watch the tree and scan it. Raises StorageError or OSError if it isn't there."""
        volume_marker.check_roots(self._trees)
        volume_marker.check_same(self._trees, self._marker)
        self._close()
        pruned = frozenset((os.fspath(self._trees.archive), os.fspath(self._trees.trash)))
        passed_over = self._pipeline.conventions.passed_over
        self._arrivals = Arrivals(self._trees.source, pruned, passed_over)
        self._opened_at = time.monotonic()
        self._scan(self._arrivals)
        if self._away:
            _log.warning("%s is back", self._trees.source)
            self._away = ""

    def _close(self) -> None:
        if self._arrivals is not None:
            self._arrivals.close()
            self._arrivals = None

    def _return_steps(self) -> None:
        """Return steps that were not begun to the queue, for a successor."""
        while self._steps:
            path = self._steps.popleft().relative
            self.queue.put(path, time.monotonic(), finished=self._taken.pop(path))

    def _suspend(self, why: str) -> None:
        """Stop watching until the storage is there again."""
        self._close()
        if not self._away:
            _log.warning("%s; waiting until it is back", why)
        self._away = why
        self._retry_at = time.monotonic() + AWAY_SECONDS

    def _listen(self) -> None:
        if self._is_over() and not self._running:
            return
        try:
            if self._arrivals is None:
                if time.monotonic() >= self._retry_at:
                    self._open()
                return
            if self._mounts_changed and self._arrivals.has_moved():
                self._suspend(f"{self._trees.source} was unmounted, or mounted over")
                self._retry_at = 0.0
                return
            self._mounts_changed = False
            for arrival in self._arrivals.read():
                self._accept(arrival)
                if self._arrivals is None:
                    return
            if self._arrivals.why_polled and time.monotonic() - self._opened_at >= REOPEN_SECONDS:
                self._open()
            elif time.monotonic() >= self._next_scan or self._arrivals.why_polled != self._polled:
                self._scan(self._arrivals)
        except StorageError as error:
            self._suspend(error.message)
        except OSError as error:
            self._suspend(f"{self._trees.source} can't be read: {cause(error)}")

    def _accept(self, arrival: Arrival) -> None:
        now = time.monotonic()
        match arrival:
            case Moved():
                self.queue.put(arrival.path, now, finished=True)
            case Written():
                self.queue.put(arrival.path, now + self._policies[False].settle.total_seconds())
            case Found():
                self._note(arrival, now)
            case EventsLost():
                self._next_scan = min(self._next_scan, now + OVERFLOW_SECONDS)
            case RootGone():
                self._suspend(f"{self._trees.source} was removed or unmounted")

    def _note(self, found: Found, now: float) -> None:
        day = date_of_folder(found.folder)
        if day is not None and day > (self._pipeline.now() - self._policies[False].age).date():
            return
        for name in found.names:
            path = joined(found.folder, name)
            if path not in self._taken:
                early = 0.0 if self._place is None else 1.0 - turn(path, self._place)
                self.queue.put_new(path, now - early)

    def _scan(self, arrivals: Arrivals) -> None:
        began = time.monotonic()
        own, active = run_lock.active_runs(self._trees, self._pipeline.run.command)
        self._place = place_among(own, active) if active - {own} else None
        self._emptied = {
            folder for folder in self._emptied if not self._remover.remove_folder_if_unused(folder)
        }
        for found in arrivals.scan():
            self._note(found, began)
            self._service.beat()
            if self._is_over():
                return
        if arrivals.why_polled and arrivals.why_polled != self._polled:
            _log.warning("%s: scanning every %g s instead", arrivals.why_polled, self._poll_seconds)
        self._polled = arrivals.why_polled
        status = f"{arrivals.watched} folders watched, {len(self.queue)} clips to look at"
        _log.log(
            logging.DEBUG if self._polled else logging.INFO,
            "scanned in %.1f s: %s",
            time.monotonic() - began,
            status,
        )
        self._next_scan = time.monotonic() + (self._poll_seconds if self._polled else RESCAN_SECONDS)

    # --- what is done about it ---------------------------------------------------------------------

    def _begin(self, workers: ArchiveWorkers, pool: ThreadPoolExecutor) -> None:
        if time.monotonic() < self._full_until:
            return
        while len(self._running) < workers.jobs and self._arrivals is not None and not self._is_over():
            if not self._steps:
                self._fill()
            if not self._steps or due_queue.waits_for_others(self._steps[0], running=len(self._running)):
                return
            step = self._steps.popleft()
            share = min(workers.jobs, len(self._running) + 1 + len(self._steps))
            future = pool.submit(workers.perform, step, share)
            self._running[future] = step
            future.add_done_callback(lambda ended: self._signals.wake.wake())

    def _fill(self) -> None:
        """Decide what to do about the clips that are due."""
        due = list(self.queue.take(time.monotonic(), _BATCH))
        if not due:
            return
        try:
            volume_marker.check_same(self._trees, self._marker)
            self._remember()
            due.sort(key=lambda each: (due_queue.folder_and_name(each.path)[0], each.finished))
            for (folder, finished), group in groupby(
                due, key=lambda each: (due_queue.folder_and_name(each.path)[0], each.finished)
            ):
                self._decide(
                    folder, [due_queue.folder_and_name(each.path)[1] for each in group], finished=finished
                )
        except (OSError, StorageError) as error:
            for each in due:
                if each.path not in self._taken:
                    self.queue.put(each.path, each.at, finished=each.finished)
            self._suspend(sentence(error))

    def _decide(self, folder: str, names: list[str], *, finished: bool) -> None:
        policy = self._policies[finished]
        try:
            for step in planner.decide_some(self._pipeline, folder, names, policy):
                if isinstance(step, Keep):
                    self._kept(step, policy)
                elif step.relative in self._taken:
                    # The file there now is not the one in work, or the outcome is not collected yet.
                    soon = time.monotonic() + due_queue.AT_LEAST.total_seconds()
                    self.queue.put(step.relative, soon, finished=finished)
                else:
                    self._taken[step.relative] = finished
                    self._steps.append(step)
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError as error:
            # Not always of the folder: a run as root may have left a file of the journal to root alone.
            where = self._trees.source / folder
            _log.warning("the clips in %s are tried again in an hour: %s", where, sentence(error))
            self._refused_until = time.monotonic() + 2 * due_queue.TROUBLE_AGAIN.total_seconds()
            for name in names:
                self._put_again(joined(folder, name), due_queue.TROUBLE_AGAIN)

    def _kept(self, step: Keep, policy: ArchivePolicy) -> None:
        try:
            mtime_ns = step.path.lstat().st_mtime_ns
        except OSError:
            return
        failure = self._pipeline.failures.of(step.relative)
        wait = due_queue.retry_delay_of_kept(step, mtime_ns, policy, failure, self._pipeline.now())
        _log.debug("%s: left alone: %s %s", step.relative, step.reason, step.detail)
        self._put_again(step.relative, wait)

    def _put_again(self, path: str, wait: timedelta | None) -> None:
        if wait is not None:
            self.queue.put_new(path, time.monotonic() + wait.total_seconds())

    def _collect(self) -> None:
        for future in [each for each in self._running if each.done()]:
            step = self._running.pop(future)
            del self._taken[step.relative]
            outcome = future.result()
            if outcome.result is Result.DONE:
                self._done += 1
                if date_of_folder(step.clip.folder) is not None:
                    self._emptied.add(step.clip.folder)
            if outcome.reason is Reason.NO_SPACE:
                self._full_until = time.monotonic() + FULL_SECONDS
            failure = self._pipeline.failures.of(step.relative)
            wait = due_queue.retry_delay(outcome, self._policies[False], failure, self._pipeline.now())
            self._put_again(step.relative, wait)
            self._on_outcome(outcome)
        if not self._running:
            self._remember()

    def _remember(self) -> None:
        try:
            self._pipeline.failures.flush()
        except (OSError, StorageError) as error:
            _log.warning("what failed can't be written down now: %s", sentence(error))

    # --- waiting -----------------------------------------------------------------------------------

    def _wait(self, workers: ArchiveWorkers) -> None:
        if self._is_over() and not self._running:
            return
        now = time.monotonic()
        until = min(self._moments(workers, now), default=None)
        poller = select.poll()
        poller.register(self._signals.wake, select.POLLIN)
        for descriptor, events in self._arrivals.descriptors() if self._arrivals is not None else ():
            poller.register(descriptor, events)
        ready = poller.poll(None if until is None else max(0, math.ceil((until - now) * 1000)))
        self._mounts_changed |= any(events & select.POLLPRI for _, events in ready)
        self._signals.wake.clear()

    def _moments(self, workers: ArchiveWorkers, now: float) -> Iterator[float]:
        """The times at which something is due even if nothing happens."""
        if self._service.beat_seconds is not None:
            yield now + self._service.beat_seconds / 2
        if self._last_status != self._status():
            yield self._status_sent_at + _STATUS_SECONDS
        if self._arrivals is None:
            yield self._retry_at
            return
        yield self._next_scan
        if len(self._running) < workers.jobs and not self._steps and not self._is_over():
            due = self.queue.next_at()
            if due is not None:
                yield max(due, self._full_until)
        elif self._steps and not self._running:
            yield self._full_until

    def _send_status(self) -> None:
        status, now = self._status(), time.monotonic()
        if status != self._last_status and now - self._status_sent_at >= _STATUS_SECONDS:
            self._last_status, self._status_sent_at = status, now
            self._service.status(status)

    def _status(self) -> str:
        if self._away:
            return f"waiting: {self._away}"
        state = f"working on {len(self._running)}" if self._running else "waiting for clips"
        if self._signals.reload.is_set():
            state += ", then the config is read again"
        return f"{state}, {self.waiting} not yet looked at, {self._done} archived"
