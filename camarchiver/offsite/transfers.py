"""Several archives at once between here and the remote, until they are done or the remote fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import TypeVar

from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import CheckCopy, MakeCopy
from camarchiver.errors import CamarchiverError
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.rclone.trouble import ENDS_RUN, RemoteError
from camarchiver.runtime.signals import Stop
from camarchiver.state.failures import Failures
from camarchiver.storage import removal

AT_ONCE = 4
"""Archives on the way at once, as rclone's own default: most of the time is waiting for the server."""

POLL_SECONDS = 0.5

StepT = TypeVar("StepT", MakeCopy, CheckCopy)


class Transfers:
    """One run's transfers; none begins after `stop`, after `max_runtime`, or after the remote failed."""

    def __init__(
        self,
        remote: Remote,
        stop: Stop,
        *,
        max_runtime: timedelta | None = None,
        failures: Failures | None = None,
        now: Callable[[], datetime],
    ) -> None:
        """`failures` remembers archives that could not be transferred."""
        self._remote = remote
        self._stop = stop
        self._ends = time.monotonic() + max_runtime.total_seconds() if max_runtime else None
        self._failures = failures
        self._now = now
        self._running: dict[Future[Outcome | None], int] = {}
        self.ended_by: RemoteError | None = None
        """What keeps every further transfer from the remote."""

    @property
    def on_the_way(self) -> int:
        """Bytes of the archives that are transferred now."""
        return sum(self._running.values())

    def run(
        self, steps: Iterable[StepT], perform: Callable[[StepT], Outcome], begin: Callable[[StepT], None]
    ) -> Iterator[Outcome | None]:
        """Each outcome as it comes, and None now and then while there is none.

        `perform` runs in a thread, `begin` before it in this one.
        """
        waiting = iter(steps)
        running = self._running
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="transfer") as pool:
            while True:
                while len(running) < AT_ONCE and not self._is_over():
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

    def _is_over(self) -> bool:
        is_late = self._ends is not None and time.monotonic() >= self._ends
        return bool(self._stop) or self.ended_by is not None or is_late

    def _perform(self, step: StepT, perform: Callable[[StepT], Outcome]) -> Outcome | None:
        """The outcome of one step; None if the run ended before there was one."""
        try:
            outcome = perform(step)
        except RemoteError as error:
            if self._stop:
                return None
            if error.trouble in ENDS_RUN:
                self.ended_by = self.ended_by or error
                return None
            return self._failed(step, error)
        except (OSError, CamarchiverError) as error:
            return self._failed(step, error)
        if self._failures is not None:
            self._failures.forget(step.clip)
        return outcome

    def _failed(self, step: StepT, error: OSError | CamarchiverError) -> Outcome:
        outcome = removal.outcome_of(step, error)
        if outcome.result is Result.FAILED and self._failures is not None:
            self._failures.note(step.clip, outcome.reason, outcome.detail, self._now())
        return outcome
