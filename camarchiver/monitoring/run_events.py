"""Reports the start, the progress and the end of a run to its channels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime

from msgspec import Struct

from camarchiver import __version__
from camarchiver.domain.clip import Trees
from camarchiver.domain.plan import Total
from camarchiver.domain.report import Report
from camarchiver.errors import (
    AlreadyRunning,
    CamarchiverError,
    Declined,
    ExitCode,
    Problem,
    described,
    failure,
    is_signal_code,
)
from camarchiver.monitoring import metrics, notify, tree_gauges
from camarchiver.monitoring.channels import Channels
from camarchiver.monitoring.metrics import Figure, Labels
from camarchiver.monitoring.notify import Pinger
from camarchiver.monitoring.prometheus_file import Textfile
from camarchiver.runtime import periodic

_log = logging.getLogger(__name__)

PING_MINUTES = 5
"""How often a long run pings while it is healthy."""
NOTIFY_MINUTES = 60
"""How often a long run reports failures at most; it reports the first one within a minute."""
GROWTH_MINUTES = 60
"""How often a long run measures the growth of its source, which takes a walk."""

FailureDocument = Callable[[str, Problem, int], str]
"""The JSON document of a command that failed as a whole: its name, the problem, the exit code."""


class RunEnd(Struct, frozen=True):
    """How a run ended."""

    exit_code: int
    failed: bool
    """Whether anything failed; a run that was merely stopped has not."""
    document: Iterable[str]
    """Its JSON document, in lines."""
    figures: tuple[tuple[Labels, Iterable[Figure]], ...]
    """The numbers of each part of the run, with the labels of their owner."""


class RunPart(Struct, frozen=True):
    """One report of a run: its own, or that of the cleanup after it."""

    report: Report
    totals: tuple[Total, ...]
    """Of its plan."""
    exit_code: int


class RunEvents:
    """Passes the events of one run to its channels."""

    def __init__(
        self,
        command: str,
        own: Labels,
        pinger: Pinger | None,
        file: Textfile | None,
        command_line: tuple[str, ...] | None,
        failure_document: FailureDocument,
    ) -> None:
        """`own` are the labels of this run's numbers; `command_line` is that of the notify command."""
        self.command = command
        self.own = own
        self._pinger = pinger
        self._file = file
        self._notify = command_line
        self._failure_document = failure_document
        self._trees: Trees | None = None
        self._began = time.monotonic()
        self._growth: float | None = None
        self._minutes = 0
        self._quiet_until = 0
        """The minute before which no further failure is reported."""
        self._ended = False

    def started(self, trees: Trees | None = None) -> None:
        """Report that the run has its lock and begins; `trees` are those whose state is reported, too."""
        self._trees = trees
        if self._pinger is not None:
            self._pinger.send("start", wait=False)

    def each_minute(
        self,
        look: Callable[[], Iterable[Figure]],
        is_well: Callable[[], bool],
        failures: Callable[[], Iterable[str] | None],
    ) -> AbstractContextManager[None]:
        """Meanwhile write the figures of `look` every minute, ping now and then, and notify of failures.

        `failures` gives the JSON document of the failures since its last call, None if there are none.
        All three are called in another thread; counters count from the start of the run.
        """

        def act() -> None:
            if self._file is not None:
                self._write((self.own, look()))
            if self._pinger is not None and self._minutes % PING_MINUTES == PING_MINUTES - 1 and is_well():
                self._pinger.send("success")
            if self._notify is not None and self._minutes >= self._quiet_until and (document := failures()):
                notify.notify(self._notify, document)
                self._quiet_until = self._minutes + NOTIFY_MINUTES
            self._minutes += 1

        if self._file is None and self._pinger is None and self._notify is None:
            return nullcontext()
        return periodic.every_minute(act)

    def reported(self, exit_code: int, parts: Iterable[RunPart], document: Iterable[str]) -> None:
        """Report that the run is over and has its reports."""
        parts = tuple(parts)
        failed = any(part.report.has_failures for part in parts)
        figures = (
            (self._of(part.report.command), metrics.of_run(part.report, part.totals, part.exit_code))
            for part in parts
        )
        self.ended(RunEnd(exit_code, failed, document, tuple(figures)))

    def reloaded(self, last: Iterable[Figure]) -> None:
        """Report that the run continues under another RunEvents; `last` are the last figures of this one."""
        if self._file is not None:
            self._write((self.own, last))

    def closed(
        self, exit_code: int, last: Iterable[Figure], document: Iterable[str], *, failed: bool
    ) -> None:
        """The end of a long run; `last` are its last figures, `failed` if failures are unreported."""
        seconds = time.monotonic() - self._began
        figures = (*last, *metrics.of_end(time.time(), seconds, exit_code))
        self.ended(RunEnd(exit_code, failed, document, ((self.own, figures),)))

    def _of(self, command: str) -> Labels:
        return metrics.labels(**{**dict(self.own), "command": command})

    def ended(self, end: RunEnd) -> None:
        """Report that the run is over; nothing that fails here changes its exit code."""
        self._ended = True
        for report in (self._write_last, self._notify_of, self._ping_of):
            try:
                report(end)
            except Exception as error:
                # For example a broken package: the run itself is over and did its work.
                _log.warning("not every channel could be informed of this run: %s", described(error))

    def _write_last(self, end: RunEnd) -> None:
        if self._file is not None:
            self._write(*end.figures)

    def _notify_of(self, end: RunEnd) -> None:
        if self._notify is not None and end.failed:
            notify.notify(self._notify, end.document)

    def _ping_of(self, end: RunEnd) -> None:
        stopped = is_signal_code(end.exit_code)
        if self._pinger is not None and (end.failed or not stopped):
            event: notify.Event = "failure" if end.failed or end.exit_code else "success"
            self._pinger.send(event, f"camarchiver {self.command}: exit code {end.exit_code}\n")

    def broke_off(self, error: Exception) -> None:
        """Report that an error ended the run early.

        That another run has the lock is no failure, and neither is that the user declined.
        """
        if self._ended or isinstance(error, AlreadyRunning | Declined | BrokenPipeError):
            return
        problem, exit_code = Problem("failed", described(error)), ExitCode.FAILED
        if isinstance(error, CamarchiverError | OSError):
            problem, exit_code = failure(error)
        lines = (self._failure_document(self.command, problem, exit_code),)
        figures = metrics.of_end(time.time(), time.monotonic() - self._began, exit_code)
        self.ended(RunEnd(exit_code, True, lines, ((self.own, figures),)))

    def _write(self, *groups: tuple[Labels, Iterable[Figure]]) -> None:
        assert self._file is not None
        build = metrics.Figure("camarchiver_build_info", 1, metrics.labels(version=__version__))
        groups = ((), (build,)), *groups
        if self._trees is not None:
            now = datetime.now().astimezone()
            if self._growth is None or self._minutes % GROWTH_MINUTES == 0:
                self._growth = tree_gauges.daily_bytes(self._trees, now)
            state = tree_gauges.measure(self._trees, now, daily_bytes=self._growth)
            groups = (*groups, (metrics.labels(source=str(self._trees.source)), metrics.of_tree_state(state)))
        self._file.write(*groups)


@contextmanager
def open_run_events(
    channels: Channels, command: str, failure_document: FailureDocument, **own: str
) -> Iterator[RunEvents]:
    """Report a run's events; `own` are the labels that distinguish its numbers from those of others."""
    run_events = RunEvents(
        command,
        metrics.labels(command=command, **own),
        Pinger(channels.ping_url) if channels.ping_url else None,
        Textfile(channels.metrics) if channels.metrics else None,
        channels.notify,
        failure_document,
    )
    try:
        yield run_events
    except Exception as error:
        run_events.broke_off(error)
        raise
