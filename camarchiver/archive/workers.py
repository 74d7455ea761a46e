"""How many clips are archived at once, with which encoder, and in which threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from camarchiver.archive.clip_archiver import ClipArchiver
from camarchiver.archive.encode import ArchiveEncoder, ArchiveSettings
from camarchiver.archive.fallback import GpuBreaker
from camarchiver.archive.publishing import ArchiveContext
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome
from camarchiver.domain.steps import Archive, ArchiveStep
from camarchiver.media.encoder_probe import Choice, Machine
from camarchiver.media.encoders import Encoder
from camarchiver.media.parsing.prober import Prober
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.storage import linux

POLL_SECONDS = 5.0
"""How soon `max_seconds` is noticed; a stop ends the jobs themselves, which ends the wait at once."""


class Capacity(Struct, frozen=True):
    """What the machine can give to a run."""

    cores: int
    memory: int
    """Bytes available, or a very large number if that is unknown."""

    @classmethod
    def of_machine(cls) -> Capacity:
        """As the kernel reports it now; cores are those that this process may use."""
        memory = 1 << 62
        try:
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
                if line.startswith("MemAvailable:"):
                    memory = int(line.split()[1]) * 1024
        except (OSError, ValueError):
            pass
        return cls(len(os.sched_getaffinity(0)), memory)


def perform_all(
    steps: Iterable[ArchiveStep],
    perform: Callable[[ArchiveStep, int], Outcome],
    *,
    jobs: int,
    stop: Stop,
    max_seconds: float | None,
) -> Iterator[Outcome]:
    """Each step's outcome when it is known; `perform` gets the step and how many jobs share the machine.

    No step begins after `stop` or after `max_seconds`; the run always waits for those under way.
    Once a clip found no room, clips of more than half its size are left for the next run.
    The second name of a file begins when all earlier steps have ended, because it takes over the
    archive of the first name.
    """
    began = time.monotonic()
    waiting = _Lookahead(steps)
    running: set[Future[Outcome]] = set()
    too_large = 1 << 62
    with ThreadPoolExecutor(jobs, thread_name_prefix="job") as pool:
        while True:
            while len(running) < jobs and not stop and not _late(began, max_seconds):
                step = waiting.peek()
                if step is None or (step.reason is Reason.SAME_FILE and running):
                    break
                waiting.take()
                if isinstance(step, Archive) and step.size > too_large:
                    continue
                share = min(jobs, len(running) + 1 + waiting.more(jobs))
                running.add(pool.submit(perform, step, share))
            if not running:
                return
            ended, running = wait(running, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in ended:
                outcome = future.result()
                if outcome.reason is Reason.NO_SPACE:
                    too_large = min(too_large, outcome.step.size // 2)
                yield outcome


def _late(began: float, max_seconds: float | None) -> bool:
    return max_seconds is not None and time.monotonic() - began >= max_seconds


class _Lookahead:
    """An iterator that can look a few steps ahead, so that the last jobs get the spare threads."""

    def __init__(self, steps: Iterable[ArchiveStep]) -> None:
        self._steps = iter(steps)
        self._next: list[ArchiveStep] = []

    def peek(self) -> ArchiveStep | None:
        return self._next[0] if self.more(1) else None

    def take(self) -> ArchiveStep:
        return self._next.pop(0)

    def more(self, count: int) -> int:
        """How many steps are still to come, counted up to `count`."""
        while len(self._next) < count:
            try:
                self._next.append(next(self._steps))
            except StopIteration:
                break
        return min(count, len(self._next))


class ArchiveWorkers(Struct, frozen=True):
    """Workers that are ready to perform steps."""

    jobs: int
    """Clips worked on at the same time."""
    perform: Callable[[ArchiveStep, int], Outcome]
    """The outcome of one step, given how many jobs share the machine; a faulty clip raises no error."""


class EncodingTools(Struct, frozen=True):
    """The encoder to work with and how to use it."""

    choice: Choice
    machine: Machine
    settings: ArchiveSettings


@contextmanager
def opened(
    context: ArchiveContext,
    tools: EncodingTools | None,
    jobs: int | None,
    nice: int,
    *,
    stop: Stop,
    display: Display,
) -> Iterator[ArchiveWorkers]:
    """The workers of this machine; without tools they only remove archived sources.

    `jobs` None stands for the number that costs least CPU.
    """
    linux.lower_priority(nice)
    with ExitStack() as stack:
        if tools is None:
            archiver = ClipArchiver(context, None, display, stop)
            yield ArchiveWorkers(1, lambda step, share: archiver.perform(step, 0))
            return
        choice = tools.choice
        prober = stack.enter_context(Prober())
        breaker = GpuBreaker(lambda: tools.machine.still_works(choice))
        archiver = ClipArchiver(
            context, ArchiveEncoder(prober, choice, breaker, tools.settings, context.views), display, stop
        )
        machine = Capacity.of_machine()

        def perform(step: ArchiveStep, share: int) -> Outcome:
            return archiver.perform(step, threads_for(choice.encoder, cores=machine.cores, running=share))

        yield ArchiveWorkers(
            jobs or jobs_for(choice.encoder, cores=machine.cores, memory=machine.memory), perform
        )


GPU_JOBS = 2
"""One clip is decoded while another is encoded; more only share the same engines."""


def jobs_for(encoder: Encoder, *, cores: int, memory: int) -> int:
    """As many jobs as cores, with a thread each: cheaper than one job with all threads.

    `memory` is what the machine has available, in bytes.
    """
    if encoder.software is None:
        return GPU_JOBS
    return max(1, min(cores, memory // encoder.software.memory))


def threads_for(encoder: Encoder, *, cores: int, running: int) -> int:
    """Threads of one job while `running` jobs share the cores; 0 lets ffmpeg choose (GPU backends)."""
    if encoder.software is None:
        return 0
    return max(1, cores // max(1, running))
