"""The object that every command shares: trees, clock and state, and the ports made when first used."""

from __future__ import annotations

import os
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from pathlib import Path

from camarchiver import clock, crew, ffmpegs, holds, kernel, restorations, runs, volume
from camarchiver.archiver import Archiver, Desk
from camarchiver.census import Census, Counter
from camarchiver.cleaner import Cleaner
from camarchiver.clearance import CleanupPlan, Planner
from camarchiver.codecs import Backend, Codec
from camarchiver.coverage import Hold
from camarchiver.discovery import Discovery
from camarchiver.disposal import Disposer, SidecarPolicy
from camarchiver.encoders import Choice
from camarchiver.encoders import Machine as Encoders
from camarchiver.ends import Ends
from camarchiver.export import Exported, Exporter
from camarchiver.failures import Failures
from camarchiver.holdings import Holdings
from camarchiver.inquiry import Inquiry
from camarchiver.journal import Journal
from camarchiver.ladder import Breaker
from camarchiver.model import Archive, Keep, Outcome, Reason, Remove, Report, Restore, Trees
from camarchiver.names import Names, Pattern
from camarchiver.plan import (
    ArchivePlan,
    ArchivePolicy,
    Group,
    Memory,
    Plan,
    Tally,
    Total,
    decide_archive,
    largest_first,
    order_key,
    within_limit,
)
from camarchiver.playable import SETTINGS as PLAYABLE_SETTINGS
from camarchiver.playable import PlayableMaker
from camarchiver.probe import ProbeError, Prober
from camarchiver.progress import Display
from camarchiver.restorer import Restorer, Selection
from camarchiver.retention import CleanupPolicy
from camarchiver.scribe import RunId, Scribe
from camarchiver.sealed import Sealed
from camarchiver.shrink import Shrinker, Wishes
from camarchiver.standing import Standing
from camarchiver.stock import Stock
from camarchiver.stop import Stop
from camarchiver.sweeper import Sweeper
from camarchiver.workload import jobs_for, threads_for

Change = Archive | Remove
RestorePlan = Plan[Restore, Selection]
AnyPlan = ArchivePlan | RestorePlan | CleanupPlan
Show = Callable[[int], AbstractContextManager[Display]]
"""Shows the progress of so many bytes."""

SAMPLES = 3
"""Clips of a camera whose headers are read to guess how many hours of footage a plan holds."""


@dataclass(frozen=True, slots=True)
class EncoderWish:
    """Which encoder the owner wants."""

    backend: Backend | None = None
    codec: Codec | None = None
    device: Path | None = None
    ffmpeg: Path | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """How a plan is to be carried out."""

    wishes: Wishes
    sidecars: SidecarPolicy
    jobs: int | None
    """None for the rule that costs least CPU."""
    nice: int
    max_runtime: timedelta | None


class Pipeline:
    """What one command works with; nothing is read or made before it is asked for."""

    def __init__(
        self, trees: Trees, zone: tzinfo, command: str, own_patterns: tuple[Pattern, ...] = ()
    ) -> None:
        volume.check_roots(trees)
        volume.check(trees)
        self.trees = trees
        self.zone = zone
        self._patterns = own_patterns
        self.started = self.now()
        self.run = RunId(
            f"{self.started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}", command, socket.gethostname()
        )

    def now(self) -> datetime:
        """This moment in the configured zone."""
        return clock.now(self.zone)

    @cached_property
    def journal(self) -> Journal:
        """The record of everything done to a clip."""
        return Journal(self.trees.state)

    @cached_property
    def failures(self) -> Failures:
        """Clips that could not be archived."""
        return Failures(self.trees.state)

    # --- planning ----------------------------------------------------------------------------------

    def plan_archive(self, policy: ArchivePolicy, *, list_all: bool) -> ArchivePlan:
        """Decide for every clip below the source; changes nothing.

        `list_all` also lists the files left alone one by one, which are else only counted.
        """
        memory = self.memory()
        discovery = self._discovery(memory.holds)
        tally, left = Tally(), list[Keep]()

        def changes() -> Iterator[Change]:
            for facts in discovery.folders((self.started - policy.age).date()):
                for step in decide_archive(facts, policy, memory, self.started):
                    if isinstance(step, Keep):
                        left.extend([step] if list_all else ())
                    if policy.limit is None or isinstance(step, Keep):
                        tally.add(step)
                    if not isinstance(step, Keep):
                        yield step

        steps = every = Sealed(changes(), key=order_key, arrange=largest_first)
        if policy.limit is not None:
            steps = Sealed(within_limit(every, policy.limit), key=order_key, arrange=largest_first)
            for step in steps:
                tally.add(step)
        totals = _with_rest(tally.totals(), len(every) - len(steps))
        unread = discovery.unread_folders
        return Plan("archive", self.trees, self.started, policy, totals, steps, tuple(left), unread)

    def inquiry(self) -> Inquiry:
        """What can be told of single clips."""
        memory = self.memory()
        names = Names(self._patterns)
        return Inquiry(self.trees, names, self.journal, self._discovery, memory)

    def census(self, policy: ArchivePolicy, gap: timedelta) -> Census:
        """What stands in the trees."""
        memory = self.memory()
        counter = Counter(self.trees, self.journal, self._discovery(memory.holds), memory)
        return counter.count(policy, self.started, gap, runs.last(self.trees.state))

    def memory(self) -> Memory:
        """What outlasts a run."""
        return Memory(
            self.failures.known(), holds.read(self.trees.state), restorations.read(self.trees.state)
        )

    def choose_encoder(
        self, plan: ArchivePlan, wish: EncoderWish, wishes: Wishes
    ) -> tuple[ArchivePlan, Choice | None]:
        """Try out what encodes here, if the plan has a clip to encode; the plan then says what and why.

        Raises EncoderError when there is none.
        """
        if not any(isinstance(step, Archive) for step in plan.steps):
            return plan, None
        self._encoders = Encoders(ffmpegs.find(wish.ffmpeg), wishes.encode, device=wish.device)
        choice = self._encoders.choose(wish.backend or "auto", wish.codec or "auto")
        quality = wishes.encode.quality or choice.encoder.quality
        preset = wishes.encode.preset or choice.encoder.preset
        scale = f"{choice.encoder.quality_option} {quality}" + (f", preset {preset}" if preset else "")
        return replace(plan, notes=(*plan.notes, *choice.explanation, scale)), choice

    def footage_seconds(self, plan: ArchivePlan) -> dict[str, float]:
        """How much footage each camera's part of a plan holds, guessed from a few clips' headers."""
        sampled: dict[str, list[tuple[int, float]]] = defaultdict(list)
        with Prober() as prober:
            for step in plan.steps:
                known = sampled[step.clip.camera]
                if step.clip.duration is None and len(known) < SAMPLES:
                    try:
                        seconds = prober.glance(step.clip.path).duration or 0.0
                    except ProbeError:
                        continue
                    known.append((step.clip.fingerprint.size, seconds))
        sizes: dict[str, int] = defaultdict(int)
        for total in plan.totals:
            sizes[total.group.camera] += total.size if total.group.action != "keep" else 0
        return {
            camera: sizes[camera] * sum(seconds for _, seconds in known) / sum(size for size, _ in known)
            for camera, known in sampled.items()
            if sum(size for size, _ in known)
        }

    # --- execution ---------------------------------------------------------------------------------

    def execute(
        self,
        plan: ArchivePlan,
        choice: Choice | None,
        how: Execution,
        *,
        stop: Stop,
        display: Display,
        tell: Callable[[Outcome], None],
    ) -> Report:
        """Carry out a plan; `tell` gets every outcome as it comes."""
        kernel.lower_priority(how.nice)
        volume.mark(self.trees)
        outcomes: list[Outcome] = []
        with ExitStack() as stack:
            shrinker, jobs = None, 1
            if choice is not None:
                prober = stack.enter_context(Prober())
                breaker = Breaker(lambda: self._encoders.still_works(choice))
                shrinker = Shrinker(prober, choice, breaker, how.wishes)
                machine = crew.Machine.look()
                jobs = how.jobs or jobs_for(choice.encoder, cores=machine.cores, memory=machine.memory)
            archiver = Archiver(self._desk(plan.policy, how), shrinker, display, stop)

            def perform(step: Change, share: int) -> Outcome:
                if choice is None:
                    return archiver.perform(step, 0)
                return archiver.perform(step, threads_for(choice.encoder, cores=machine.cores, running=share))

            limit = how.max_runtime.total_seconds() if how.max_runtime else None
            for outcome in crew.perform_all(plan.steps, perform, jobs=jobs, stop=stop, max_seconds=limit):
                outcomes.append(outcome)
                tell(outcome)
        self.failures.flush()
        return self.report(plan, tuple(outcomes), stop)

    def export(
        self, hold: Hold, place: Path, *, ffmpeg: Path | None, playable: bool, stop: Stop, shown: Show
    ) -> Exported:
        """Copy what a hold keeps into a folder, with copies that every player knows where they are wanted.

        Raises EncoderError where those can't be made here, before anything is copied.
        """
        stock = self._stock(Memory(holds=(replace(hold, until=None),)))
        holdings = Holdings(self.trees, self.journal, stock, hold, self.started)
        with ExitStack() as stack:
            maker = None
            if playable:
                self._encoders = Encoders(ffmpegs.find(ffmpeg), PLAYABLE_SETTINGS)
                choice = self._encoders.choose("auto", "h264")
                breaker = Breaker(lambda: self._encoders.still_works(choice))
                prober = stack.enter_context(Prober())
                maker = PlayableMaker(prober, choice, breaker, stop=stop.event)
            exporter = Exporter(self.trees, holdings, place, maker, stop.event)
            parts = exporter.parts()
            display = stack.enter_context(shown(sum(part.size for part in parts)))
            return exporter.run(parts, display)

    def _stock(self, memory: Memory) -> Stock:
        names, ends = Names(self._patterns), Ends(memory.holds, self.started)
        discovery = self._discovery(memory.holds)
        return Stock(self.trees, names, self.journal, discovery, ends, self.started, self.zone)

    def _discovery(self, kept: tuple[Hold, ...]) -> Discovery:
        ends = Ends(kept, self.started)
        return Discovery(self.trees, Names(self._patterns), self.journal, ends, self.started, self.zone)

    def plan_cleanup(
        self, policy: CleanupPolicy, *, list_all: bool, asked: frozenset[Path] = frozenset()
    ) -> CleanupPlan:
        """Decide for every file of the three trees; changes nothing.

        Files left alone are listed where all are, or where they are asked for.
        """
        memory = self.memory()
        planner = Planner(self.trees, self._stock(memory), policy, memory, self.started)
        plan = planner.plan(list_all=list_all, asked=asked)
        gone = self._forgettable()
        if not gone:
            return plan
        note = f"{len(gone):,} remembered failure(s) of files that are gone will be forgotten"
        return replace(plan, notes=(*plan.notes, note))

    def cleanup(
        self,
        plan: CleanupPlan,
        sidecars: SidecarPolicy,
        *,
        stop: Stop,
        display: Display,
        tell: Callable[[Outcome], None],
    ) -> Report:
        """Carry out a plan of `cleanup`, unless a brake refused it; `tell` gets every outcome as it comes."""
        outcomes: list[Outcome] = []
        if not plan.refused:
            scribe = Scribe(self.journal, self.run, self.now)
            cleaner = Cleaner(
                self.trees,
                Standing(self.trees, self.journal),
                Disposer(self.trees, scribe, sidecars),
                scribe,
                self.memory,
                plan.policy.min_free,
            )
            for outcome in cleaner.run(plan.steps, stop, display):
                outcomes.append(outcome)
                tell(outcome)
            self.failures.forget_all(self._forgettable())
        return self.report(plan, tuple(outcomes), stop)

    def _forgettable(self) -> tuple[str, ...]:
        """Remembered failures of files that are gone."""
        source = self.trees.source
        return tuple(path for path in self.failures.known() if not os.path.lexists(source / path))

    def plan_restore(self, selection: Selection) -> RestorePlan:
        """Find what is meant; changes nothing."""
        steps = tuple(self._restorer().steps(selection))
        tally = Tally()
        for step in steps:
            tally.add(step)
        return Plan("restore", self.trees, self.started, selection, tally.totals(), steps, ())

    def restore(self, plan: RestorePlan) -> Report:
        """Carry out a plan of `restore`."""
        restorer = self._restorer()
        return self.report(plan, tuple(restorer.perform(step) for step in plan.steps))

    def _restorer(self) -> Restorer:
        return Restorer(self.trees, self.journal, Scribe(self.journal, self.run, self.now))

    def sweep(self, sidecars: SidecarPolicy) -> None:
        """Finish or remove what dead runs left behind, before anything is planned."""
        scribe = Scribe(self.journal, self.run, self.now)
        disposer = Disposer(self.trees, scribe, sidecars)
        Sweeper(self.trees, self.journal, Standing(self.trees, self.journal), disposer, scribe).sweep()

    def _desk(self, policy: ArchivePolicy, how: Execution) -> Desk:
        scribe = Scribe(self.journal, self.run, self.now)
        return Desk(
            self.trees,
            Standing(self.trees, self.journal),
            self.failures,
            Disposer(self.trees, scribe, how.sidecars),
            scribe,
            lambda: holds.read(self.trees.state),
            policy.disposal,
        )

    def report(self, plan: AnyPlan, outcomes: tuple[Outcome, ...], stop: Stop | None = None) -> Report:
        """What came of a plan, written down where anything was done."""
        report = Report(
            command=plan.command,
            run=self.run.id,
            started=self.started,
            ended=self.now(),
            outcomes=outcomes,
            unreadable=plan.found_unreadable,
            remaining=len(plan.steps) - len(outcomes),
            stopped_by=stop.signal if stop else None,
            problems=plan.problems,
            refused=plan.refused,
        )
        if outcomes:
            runs.write(self.trees.state, report, self.run.host)
        return report


def _with_rest(totals: tuple[Total, ...], rest: int) -> tuple[Total, ...]:
    if not rest:
        return totals
    return (*totals, Total(Group("keep", Reason.OVER_LIMIT), rest, 0, 0.0))
