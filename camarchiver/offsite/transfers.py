"""Several archives at once between here and the remote, until they are done or the remote fails.

What an error of the remote means is decided here for every command that makes, verifies or restores copies:
it ends the run, a further try may help, or it concerns one file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from threading import Event
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.plan import Plan
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import CheckCopy, MakeCopy, Restore, Step
from camarchiver.errors import CamarchiverError, Problem, failure
from camarchiver.offsite.rclone.errors import ENDS_RUN, PASSING, RemoteError, RemoteErrorKind, exit_code
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.runtime.progress import Display, Silent
from camarchiver.runtime.signals import Stop
from camarchiver.state.run_history import BegunRun
from camarchiver.storage import removal

AT_ONCE = 4
"""Archives on the way at once, as rclone's own default: most of the time is waiting for the server."""

POLL_SECONDS = 0.5

PAUSES = (2.0, 10.0)
"""Seconds before the second and the third try at a remote that does not answer.

Bytes that were spoilt on their way are asked for again at once.
"""

PATIENCE_SECONDS = 20.0
"""How long nothing may come through, of any transfer of the run, before none is tried again.

rclone itself tries three times before, one after the other for all transfers.
"""

T = TypeVar("T")
StepT = TypeVar("StepT", MakeCopy, CheckCopy, Restore)


class Retries:
    """The tries of one run, from any thread: a remote that is gone for all of them is given up soon."""

    def __init__(self, stopped: Event) -> None:
        """Nothing is tried again once `stopped`."""
        self._stopped = stopped
        self._failing_since: float | None = None

    def tried(self, act: Callable[[], T]) -> T:
        """The result of `act`, which is called up to three times if a further try may help.

        Raises what `act` raised last.
        """
        for pause in (*PAUSES, None):
            try:
                result = act()
            except RemoteError as error:
                if pause is None or error.kind not in PASSING or not self._helps(error, pause):
                    raise
            else:
                self._failing_since = None
                return result
        raise AssertionError("unreachable")

    def _helps(self, error: RemoteError, pause: float) -> bool:
        """Whether a further try makes sense; waits before it."""
        if error.kind is RemoteErrorKind.CUT:
            return not self._stopped.is_set()
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since > PATIENCE_SECONDS:
            return False
        return not self._stopped.wait(pause)


class RemoteAttempts:
    """The attempts of one run at one remote, from any thread; none is to begin once it `is_over`."""

    def __init__(self, stop: Stop, blamed: Callable[[RemoteError], RemoteError]) -> None:
        """`blamed` finds out whether the whole remote has failed, and returns the error to report."""
        self._stop = stop
        self._blamed = blamed
        self.ended_by: RemoteError | None = None
        """What keeps every further step from the remote."""

    @property
    def is_over(self) -> bool:
        """Whether no further step makes sense."""
        return bool(self._stop) or self.ended_by is not None

    def outcome(self, step: Step, act: Callable[[], Outcome]) -> Outcome | None:
        """The outcome of one step; None if the run ended before there was one, and the next run takes it."""
        try:
            return act()
        except RemoteError as error:
            if self._stop:
                return None
            found = error if error.kind in ENDS_RUN else self._blamed(error)
            if found.kind in ENDS_RUN:
                self.ended_by = self.ended_by or found
                return None
            return removal.outcome_of(step, found)
        except (OSError, CamarchiverError) as error:
            return removal.outcome_of(step, error)


class RunObserver(Struct, frozen=True):
    """The stop signal, the progress display and the outcome callback of a run."""

    stop: Stop
    display: Display
    on_outcome: Callable[[Outcome], None]


class Transfers:
    """One run's transfers; none begins after `stop`, after `max_runtime`, or after the remote failed."""

    def __init__(
        self,
        remote: Remote,
        stop: Stop,
        blamed: Callable[[RemoteError], RemoteError],
        *,
        at_once: int = AT_ONCE,
        max_runtime: timedelta | None = None,
    ) -> None:
        """`blamed` as `RemoteAttempts` takes it."""
        self._remote = remote
        self._stop = stop
        self._at_once = at_once
        self._ends = time.monotonic() + max_runtime.total_seconds() if max_runtime else None
        self._attempts = RemoteAttempts(stop, blamed)
        self._running: dict[Future[Outcome | None], int] = {}

    @property
    def ended_by(self) -> RemoteError | None:
        """What keeps every further transfer from the remote."""
        return self._attempts.ended_by

    @property
    def is_over(self) -> bool:
        """Whether no further transfer begins."""
        is_late = self._ends is not None and time.monotonic() >= self._ends
        return self._attempts.is_over or is_late

    @property
    def on_the_way(self) -> int:
        """Bytes of the archives that are transferred now."""
        return sum(self._running.values())

    def run(
        self,
        steps: Iterable[StepT],
        perform: Callable[[StepT], Outcome],
        begin: Callable[[StepT], None] = lambda step: None,
    ) -> Iterator[Outcome | None]:
        """Each outcome as soon as it is known, and None now and then while there is none.

        `perform` runs in a thread, `begin` before it in this one.
        """
        waiting = iter(steps)
        running = self._running
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="transfer") as pool:
            while True:
                while len(running) < self._at_once and not self.is_over:
                    step = next(waiting, None)
                    if step is None:
                        break
                    begin(step)
                    running[pool.submit(self._perform, step, perform)] = step.size
                if not running:
                    return
                ended, _ = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                if self._stop:
                    # What is on the way may take hours; its staged name is swept by the next run.
                    self._remote.end()
                for future in ended:
                    del running[future]
                    yield future.result()
                yield None

    def _perform(self, step: StepT, perform: Callable[[StepT], Outcome]) -> Outcome | None:
        return self._attempts.outcome(step, lambda: perform(step))


class TransferProgress:
    """Adds to a display what rclone moved meanwhile; an archive counts with its size when it is done."""

    def __init__(self, remote: Remote, transfers: Transfers, display: Display) -> None:
        self._remote = remote
        self._transfers = transfers
        self._display = display
        self._moved = 0
        self._ahead = 0
        """Bytes that were shown of archives that are not done."""

    def look(self) -> None:
        """Show what was moved since the last look."""
        if isinstance(self._display, Silent):
            return
        try:
            moved = self._remote.transferred()
        except RemoteError:
            return
        # What is read back is moved twice: it can't be more than the archives on the way.
        more = min(moved - self._moved, self._transfers.on_the_way - self._ahead)
        self._moved = moved
        if more > 0:
            self._ahead += more
            self._display.done(more)

    def done(self, size: int) -> None:
        """An archive of this many bytes is done."""
        shown = min(self._ahead, size)
        self._ahead -= shown
        self._display.done(size - shown)


def followed(
    found: Iterable[Outcome | None], progress: TransferProgress, observer: RunObserver
) -> tuple[Outcome, ...]:
    """The outcomes of transfers as `Transfers.run` gives them, each one shown at once."""
    outcomes = []
    for outcome in found:
        if outcome is None:
            progress.look()
            continue
        outcomes.append(outcome)
        progress.done(outcome.step.size)
        observer.on_outcome(outcome)
    return tuple(outcomes)


def reported(
    begun: BegunRun,
    plan: Plan[Any, Any],
    outcomes: tuple[Outcome, ...],
    ended_by: RemoteError | None,
    stop: Stop,
    problems: Iterable[Problem] = (),
) -> Report:
    """The report with what went wrong; a remote that ended the run before anything was done refused it."""
    refused = plan.refused
    if ended_by is not None:
        problems = (*problems, failure(ended_by)[0])
        if not any(each.result is Result.DONE for each in outcomes):
            refused = exit_code(ended_by.kind)
    extended = replace(plan, problems=(*plan.problems, *problems), refused=refused)
    return begun.report(extended, outcomes, stop)
