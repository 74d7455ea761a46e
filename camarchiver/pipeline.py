"""The object that every command shares: trees, clock and state, and the ports made when first used."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from camarchiver import __version__
from camarchiver.archive import planner as archive_planner
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.steps import Archive, Keep, Remove, Restore
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.naming.patterns import Names, Pattern
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy, decide_archive
from camarchiver.policy.ordering import place_among, rotated_start
from camarchiver.runtime import clock
from camarchiver.state import findings, holds, run_history, volume_marker
from camarchiver.state import restored as restored_clips
from camarchiver.state.failures import Failures

if TYPE_CHECKING:
    # Imported where they are used: what carries plans out takes longer to import than a small plan to make.
    from camarchiver.archive.clip_archiver import ArchiveContext
    from camarchiver.archive.encode import ArchiveSettings
    from camarchiver.archive.source_removal import SidecarPolicy
    from camarchiver.archive.workers import ArchiveWorkers
    from camarchiver.cleanup.planner import CleanupPlan
    from camarchiver.cleanup.restore import Restorer, Selection
    from camarchiver.discovery.copies import CopyFinder
    from camarchiver.distributed.coordinator import Cluster
    from camarchiver.export.held_files import HeldFiles
    from camarchiver.journal.expected_archives import Expected
    from camarchiver.media.encoder_probe import Choice, EncoderRequest
    from camarchiver.policy.cleanup_rules import CleanupPolicy
    from camarchiver.queries.history import ClipHistory
    from camarchiver.queries.status import StatusReport
    from camarchiver.runtime.progress import Display
    from camarchiver.runtime.signals import Stop

    RestorePlan = Plan[Restore, Selection]
    AnyPlan = ArchivePlan | RestorePlan | CleanupPlan


@dataclass(frozen=True, slots=True)
class Execution:
    """How a plan is to be carried out."""

    wishes: ArchiveSettings
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
        volume_marker.check_roots(trees)
        volume_marker.check(trees)
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
        discovery = self._discovery(memory)
        return archive_planner.plan(self.trees, discovery, policy, memory, self.started, list_all=list_all)

    def look(
        self, folder: str, names: Collection[str], policy: ArchivePolicy
    ) -> Iterator[Archive | Remove | Keep]:
        """Decide for a few clips of one folder, as of this moment; changes nothing.

        OSError where the folder can't be read.
        """
        now, memory = self.now(), self.memory()
        facts = self._discovery(memory, now).some(folder, names)
        yield from decide_archive(facts, policy, memory, now)

    def inquiry(self) -> ClipHistory:
        """What can be told of single clips."""
        from camarchiver.queries.history import ClipHistory

        memory = self.memory()
        names = Names(self._patterns)

        def discover(kept: tuple[Hold, ...]) -> Discovery:
            return self._discovery(replace(memory, holds=kept))

        return ClipHistory(self.trees, names, self.journal, discover, memory)

    def census(self, policy: ArchivePolicy, gap: timedelta, *, trust_names: bool) -> StatusReport:
        """What stands in the trees."""
        from camarchiver.queries.status import StatusCounter, StatusQuestion

        memory = self.memory()
        question = StatusQuestion(policy, self.started, gap, trust_names)
        discovery = self._discovery(memory)
        return StatusCounter(self.trees, self.journal, discovery, memory, question).count(
            run_history.last(self.trees.state), findings.read(self.trees.state)
        )

    def memory(self) -> Memory:
        """What outlasts a run."""
        state = self.trees.state
        return Memory(
            self.failures.known(),
            holds.read(state),
            restored_clips.read(state),
            findings.read(state).damaged,
        )

    @property
    def standing(self) -> ArchiveLookup:
        """What stands in the archive, by what is known at each moment it is asked."""
        return ArchiveLookup(self.trees, self.journal, findings.DamagedNow(self.trees.state))

    def choose_encoder(
        self, plan: ArchivePlan, wish: EncoderRequest, wishes: ArchiveSettings
    ) -> tuple[ArchivePlan, Choice | None]:
        """Try out what encodes here, if the plan has a clip to encode; the plan then says what and why.

        Raises EncoderError when there is none.
        """
        if not any(isinstance(step, Archive) for step in plan.steps):
            return plan, None
        choice, notes = self.encoder(wish, wishes)
        return replace(plan, notes=(*plan.notes, *notes)), choice

    def encoder(self, wish: EncoderRequest, wishes: ArchiveSettings) -> tuple[Choice, tuple[str, ...]]:
        """Try out what encodes here, and say what is taken and why. Raises EncoderError."""
        from camarchiver.media import encoder_probe

        self._encoders, choice = encoder_probe.chosen(wish, wishes.encode)
        quality = wishes.encode.quality or choice.encoder.quality
        preset = wishes.encode.preset or choice.encoder.preset
        scale = f"{choice.encoder.quality_option} {quality}" + (f", preset {preset}" if preset else "")
        return choice, (*choice.explanation, scale)

    def hire(self, plan: ArchivePlan, cluster: Cluster, wish: EncoderRequest, how: Execution) -> ArchivePlan:
        """Ask the workers of a cluster what they can do, if the plan has a clip to encode; the plan then
        says so. Raises EncoderError when none can take part.
        """
        from camarchiver.distributed.worker import RunSpec

        first = next((step for step in plan.steps if isinstance(step, Archive)), None)
        if first is None:
            return plan
        clip = first.clip
        sample = clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns
        order = RunSpec(
            __version__,
            self.trees,
            self.zone,
            volume_marker.marker(self.trees.state),
            sample,
            self.run,
            wish,
            how.wishes,
            how.nice,
        )
        return replace(plan, notes=(*plan.notes, *cluster.hire(order)))

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
        cluster: Cluster | None = None,
    ) -> Report:
        """Carry out a plan; `tell` gets every outcome as it comes. A cluster's hired workers encode."""
        from camarchiver.archive import workers

        outcomes: list[Outcome] = []
        limit = how.max_runtime.total_seconds() if how.max_runtime else None
        disposal = plan.policy.disposal
        with self.workshop(disposal, choice, how, stop=stop, display=display, cluster=cluster) as shop:
            steps = rotated_start(plan.steps, place_among(*self.workers()))
            for outcome in workers.perform_all(
                steps, shop.perform, jobs=shop.jobs, stop=stop, max_seconds=limit
            ):
                outcomes.append(outcome)
                tell(outcome)
        return self.report(plan, tuple(outcomes), stop)

    def workers(self) -> tuple[str, frozenset[str]]:
        """This run's name, and the names of all that archive the same tree, here and on other hosts."""
        return volume_marker.workers(self.trees, self.run.command)

    @contextmanager
    def workshop(
        self,
        disposal: Disposal,
        choice: Choice | None,
        how: Execution,
        *,
        stop: Stop,
        display: Display,
        cluster: Cluster | None = None,
        keeps_folders: bool = False,
    ) -> Iterator[ArchiveWorkers]:
        """Everything that archives single clips; what failed is remembered when it is left."""
        from camarchiver.archive import workers
        from camarchiver.archive.workers import Tools

        volume_marker.mark(self.trees)
        tools = Tools(choice, self._encoders, how.wishes) if choice is not None else None
        desk = replace(self._desk(disposal, how), keeps_folders=keeps_folders)
        if cluster is not None and cluster.is_hired:
            opening = cluster.opened(desk, how.jobs, stop=stop, display=display)
        else:
            opening = workers.opened(desk, tools, how.jobs, how.nice, stop=stop, display=display)
        with opening as shop:
            yield shop
        self.failures.flush()

    def holdings(self, hold: Hold) -> HeldFiles:
        """What a hold keeps, also one that has lapsed."""
        from camarchiver.export.held_files import HeldFiles

        stock = self._stock(Memory(holds=(replace(hold, until=None),)))
        return HeldFiles(self.trees, self.journal, stock, hold, self.started)

    def _stock(self, memory: Memory) -> CopyFinder:
        from camarchiver.discovery.copies import CopyFinder

        names, ends, damaged = Names(self._patterns), ClipEnds(memory.holds, self.started), memory.damaged
        discovery = self._discovery(memory)
        return CopyFinder(self.trees, names, self.journal, discovery, ends, damaged, self.started, self.zone)

    def _discovery(self, memory: Memory, now: datetime | None = None) -> Discovery:
        now = now or self.started
        names, ends = Names(self._patterns), ClipEnds(memory.holds, now)
        return Discovery(self.trees, names, self.journal, ends, memory.damaged, now, self.zone)

    def plan_cleanup(
        self, policy: CleanupPolicy, *, list_all: bool, asked: frozenset[Path] = frozenset()
    ) -> CleanupPlan:
        """Decide for every file of the three trees; changes nothing.

        Files left alone are listed where all are, or where they are asked for.
        """
        from camarchiver.cleanup.planner import CleanupPlanner

        memory = self.memory()
        planner = CleanupPlanner(self.trees, self._stock(memory), policy, memory, self.started)
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
        from camarchiver.archive.source_removal import SourceRemover
        from camarchiver.cleanup.executor import CleanupExecutor

        outcomes: list[Outcome] = []
        if not plan.refused:
            scribe = JournalWriter(self.journal, self.run, self.now)
            cleaner = CleanupExecutor(
                self.trees,
                self.standing,
                SourceRemover(self.trees, scribe, sidecars),
                scribe,
                self.memory,
                self.failures,
                plan.policy.min_free,
            )
            for outcome in cleaner.run(plan.steps, stop, display):
                outcomes.append(outcome)
                tell(outcome)
            findings.forget_removed(self.trees.state, outcomes)
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
        return self.report(plan, tuple(self._restorer().run(plan.steps)))

    def _restorer(self) -> Restorer:
        from camarchiver.cleanup.restore import Restorer

        return Restorer(self.trees, self.journal, JournalWriter(self.journal, self.run, self.now))

    def plan_repair(self, damaged: Iterable[Expected], stop: Stop) -> ArchivePlan:
        """Decide from which copy each damaged archive is made anew; reads these copies, changes nothing."""
        from camarchiver.archive import repair

        memory = self.memory()
        planner = repair.RepairPlanner(
            self.trees, self.journal, self.standing, memory.holds, self.started, stop.event.is_set
        )
        return planner.plan(damaged)

    def sweep(self, sidecars: SidecarPolicy) -> None:
        """Finish or remove what dead runs left behind, before anything is planned."""
        from camarchiver.archive.recovery import Recovery
        from camarchiver.archive.source_removal import SourceRemover

        scribe = JournalWriter(self.journal, self.run, self.now)
        disposer = SourceRemover(self.trees, scribe, sidecars)
        Recovery(self.trees, self.journal, self.standing, disposer, scribe).sweep()

    def tidy(self, folder: str) -> bool:
        """Remove a date folder that is empty and that nobody fills; whether it is gone or will stay."""
        from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover

        scribe = JournalWriter(self.journal, self.run, self.now)
        return SourceRemover(self.trees, scribe, SidecarPolicy.KEEP).tidy_unused(folder)

    def _desk(self, disposal: Disposal, how: Execution) -> ArchiveContext:
        from camarchiver.archive.clip_archiver import ArchiveContext
        from camarchiver.archive.source_removal import SourceRemover

        scribe = JournalWriter(self.journal, self.run, self.now)
        return ArchiveContext(
            self.trees,
            self.standing,
            self.failures,
            SourceRemover(self.trees, scribe, how.sidecars),
            scribe,
            lambda: holds.read(self.trees.state),
            disposal,
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
            run_history.write(self.trees.state, report, self.run.host)
        return report

    def watched(self, newest: tuple[Outcome, ...], stop: Stop) -> Report:
        """What came of a run without a plan so far, as far as its newest outcomes tell."""
        return Report("watch", self.run.id, self.started, self.now(), newest, stopped_by=stop.signal)

    def record(self, report: Report, done: run_history.Done) -> None:
        """Write a run down whose report doesn't hold every outcome; `done` adds up all of them."""
        if report.outcomes:
            run_history.write(self.trees.state, report, self.run.host, done)
