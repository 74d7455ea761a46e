"""Performs a plan's steps, several at a time, until they are done or the run is to stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from camarchiver.model import Reason
from camarchiver.steps import Archive, Outcome, Remove
from camarchiver.stop import Stop

POLL_SECONDS = 5.0
"""How soon `max_seconds` is noticed; a stop ends the jobs themselves, which ends the wait at once."""

Change = Archive | Remove


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine can give to a run."""

    cores: int
    memory: int
    """Bytes available, or a very large number where that can't be known."""

    @classmethod
    def look(cls) -> Machine:
        """As the kernel says now; cores are those that this process may use."""
        memory = 1 << 62
        try:
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
                if line.startswith("MemAvailable:"):
                    memory = int(line.split()[1]) * 1024
        except (OSError, ValueError):
            pass
        return cls(len(os.sched_getaffinity(0)), memory)


def perform_all(
    steps: Iterable[Change],
    perform: Callable[[Change, int], Outcome],
    *,
    jobs: int,
    stop: Stop,
    max_seconds: float | None,
) -> Iterator[Outcome]:
    """Each step's outcome as it comes; `perform` gets the step and how many jobs share the machine.

    No step is begun after `stop`, nor after `max_seconds`; those under way are always waited for.
    The second name of a file begins when everything before has ended, since it takes over what
    the first name got.
    """
    began = time.monotonic()
    waiting = _Ahead(steps)
    running: set[Future[Outcome]] = set()
    with ThreadPoolExecutor(jobs, thread_name_prefix="job") as pool:
        while True:
            while len(running) < jobs and not stop and not _late(began, max_seconds):
                step = waiting.peek()
                if step is None or (step.reason is Reason.SAME_FILE and running):
                    break
                waiting.take()
                share = min(jobs, len(running) + 1 + waiting.more(jobs))
                running.add(pool.submit(perform, step, share))
            if not running:
                return
            ended, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                yield future.result()


def _late(began: float, max_seconds: float | None) -> bool:
    return max_seconds is not None and time.monotonic() - began >= max_seconds


class _Ahead:
    """An iterator that can be looked into a few steps ahead, to hand spare threads to the last jobs."""

    def __init__(self, steps: Iterable[Change]) -> None:
        self._steps = iter(steps)
        self._next: list[Change] = []

    def peek(self) -> Change | None:
        return self._next[0] if self.more(1) else None

    def take(self) -> Change:
        return self._next.pop(0)

    def more(self, count: int) -> int:
        """How many steps are still to come, counted up to `count`."""
        while len(self._next) < count:
            try:
                self._next.append(next(self._steps))
            except StopIteration:
                break
        return min(count, len(self._next))
