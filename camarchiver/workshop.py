"""Where clips are archived: one encoder, its jobs, for one run or for years."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from camarchiver import crew, kernel
from camarchiver.archiver import Archiver, Desk
from camarchiver.encoders import Choice, Machine
from camarchiver.ladder import Breaker
from camarchiver.probe import Prober
from camarchiver.progress import Display
from camarchiver.shrink import Shrinker, Wishes
from camarchiver.steps import Archive, Outcome, Remove
from camarchiver.stop import Stop
from camarchiver.workload import jobs_for, threads_for


@dataclass(frozen=True, slots=True)
class Workshop:
    """Ready to work."""

    jobs: int
    """Clips worked on at the same time."""
    perform: Callable[[Archive | Remove, int], Outcome]
    """What comes of one step while so many jobs share the machine; never raises for the clip's sake."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The encoder to work with and how to use it."""

    choice: Choice
    machine: Machine
    wishes: Wishes


@contextmanager
def opened(
    desk: Desk, tools: Tools | None, jobs: int | None, nice: int, *, stop: Stop, display: Display
) -> Iterator[Workshop]:
    """A workshop; without tools it can only remove what is archived. `jobs` None: the rule that costs
    least CPU."""
    kernel.lower_priority(nice)
    with ExitStack() as stack:
        if tools is None:
            archiver = Archiver(desk, None, display, stop)
            yield Workshop(1, lambda step, share: archiver.perform(step, 0))
            return
        choice = tools.choice
        prober = stack.enter_context(Prober())
        breaker = Breaker(lambda: tools.machine.still_works(choice))
        archiver = Archiver(desk, Shrinker(prober, choice, breaker, tools.wishes), display, stop)
        machine = crew.Machine.look()

        def perform(step: Archive | Remove, share: int) -> Outcome:
            return archiver.perform(step, threads_for(choice.encoder, cores=machine.cores, running=share))

        yield Workshop(jobs or jobs_for(choice.encoder, cores=machine.cores, memory=machine.memory), perform)
