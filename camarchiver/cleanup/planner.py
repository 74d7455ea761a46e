"""Makes the plan of `cleanup`: one walk over the trees, then the rules that need totals of all files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from camarchiver.cleanup.camera_counts import CameraCounts, Disk, may_fall_short
from camarchiver.cleanup.past_limit import PastLimit
from camarchiver.cleanup.plan_notes import PlanNotes
from camarchiver.discovery import walks
from camarchiver.discovery.copies import CopyFinder, LoneSidecar
from camarchiver.discovery.offsite_copies import offsite_copies
from camarchiver.discovery.other_files import OtherFiles
from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Forecast, Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, RemoveCopy, RemoveLeftover
from camarchiver.naming.patterns import Names
from camarchiver.pipeline import Pipeline
from camarchiver.policy import leftover_rules
from camarchiver.policy.cleanup_rules import (
    CleanupPolicy,
    Copy,
    Newest,
    Rank,
    Stay,
    decide,
    decide_sidecar,
    goes_as_newest,
    rank,
)
from camarchiver.policy.doubtful_clocks import DoubtfulClips
from camarchiver.policy.further_steps import FurtherSteps
from camarchiver.policy.safety_brakes import clock_is_far
from camarchiver.policy.size_goals import (
    RECORD_BYTES,
    Freed,
    Goal,
    SizeGoalSolver,
    decide_by_size,
    loses,
    order_key,
)
from camarchiver.runtime.external_sort import IN_MEMORY, SealedSequence
from camarchiver.runtime.formatting import count_of, shown, size
from camarchiver.storage import filesystems

_DAY = timedelta(days=1)

CleanupPlan = Plan[RemoveCopy | RemoveLeftover, CleanupPolicy]


class _Candidate(NamedTuple):
    """A copy that some rule may remove, or certainly removes."""

    place: Rank | None
    copy: Copy


def plan(
    pipeline: Pipeline,
    policy: CleanupPolicy,
    *,
    list_all: bool,
    asked: frozenset[Path] = frozenset(),
    remote: str = "",
) -> CleanupPlan:
    """Decide for every file of the three trees, and for off-site copies under a hard limit; changes nothing.

    Files left alone are listed with `list_all`, or if `asked` names them. Off-site copies at `remote` may
    count as copies of their clips.
    """
    memory = pipeline.memory()
    copies = walks.of_copies(pipeline, memory, remote if policy.offsite_counts is not None else "")
    others = OtherFiles(pipeline.trees, pipeline.conventions.passed_over, copies.lone_texts)
    planner = CleanupPlanner(
        pipeline.trees,
        copies,
        partial(offsite_copies, pipeline, memory),
        others,
        pipeline.names,
        policy,
        memory,
        pipeline.started,
    )
    made = planner.plan(list_all=list_all, asked=asked)
    gone = pipeline.failures.of_missing_files(pipeline.trees.source)
    if not gone:
        return made
    note = f"{count_of(len(gone), 'remembered failure')} of files that are gone will be forgotten"
    return replace(made, notes=(*made.notes, note))


class CleanupPlanner:
    """Collects the results of one walk; `plan` may be called once."""

    def __init__(
        self,
        trees: Trees,
        copies: CopyFinder,
        offsite: Callable[[date], Iterable[Copy]],
        others: OtherFiles,
        names: Names,
        policy: CleanupPolicy,
        memory: Memory,
        now: datetime,
    ) -> None:
        """`offsite` gives the off-site copies of clips of days up to the given one.

        `others` are the files that are looked at if something is to be said about all of them."""
        self._trees = trees
        self._copies = copies
        self._offsite = offsite
        self._others = others
        self._policy = policy
        self._memory = memory
        self._now = now
        self._cameras = CameraCounts(now)
        self._newest: Newest = {}
        """Complete once the walk is over."""
        self._past_limit = PastLimit(policy, names, now)
        self._last_copy = ""
        """One of the files that stay as the last copy, and why."""
        self._doubtful = DoubtfulClips()
        self._tally = Tally()
        self._left: list[Keep] = []
        self._freed = Freed()
        self._freed_of: Counter[str] = Counter()
        self._small: list[RemoveCopy | RemoveLeftover] = []
        """Steps that no rule over the whole can change."""
        self._unmet: Mapping[Goal, int] = {}
        """Bytes that are still too many, by goal; complete once the steps are."""
        self._removals = 0
        """Removals by the rules by age."""
        self._list_all = False
        self._asked: frozenset[Path] = frozenset()
        self._has_hard_limit = False
        self._trash_device = -1
        self._names_kept = False
        """Whether files left alone are examined one by one."""
        self._has_size_rules = False
        """Whether a rule by size may have to take anything, so that all copies must be remembered."""
        asks_for_space = policy.free is not None or policy.min_free is not None
        self._further = FurtherSteps(policy, memory, now) if asks_for_space else None

    def plan(self, *, list_all: bool, asked: frozenset[Path] = frozenset()) -> CleanupPlan:
        """Decide for every file of the three trees; changes nothing.

        Files left alone are listed with `list_all`, or if `asked` names them.
        Raises StorageError if sizes or free space can't be determined.
        """
        self._list_all, self._asked = list_all, asked
        self._names_kept = list_all or bool(asked)
        self._has_hard_limit = self._policy.has_hard_limit
        used = self._used()
        self._has_size_rules = self._size_rules_may_apply(used)
        self._trash_device = filesystems.device_of(self._trees.trash)
        steps = SealedSequence(self._steps(used), key=order_key)
        far = clock_is_far(self._cameras.sure() or self._newest, self._now)
        totals = self._tally.totals()
        notes = PlanNotes(
            self._policy,
            self._now,
            totals,
            self._unmet,
            self._past_limit,
            self._cameras.totals(),
            far,
            self._trees,
            self._last_copy,
            self._doubtful.problems(),
            len(self._memory.damaged),
        )
        problems, refused = notes.problems()
        problems = (*problems, *walks.unreadable(self._tally.unreadable, totals))
        return Plan(
            "cleanup",
            self._trees,
            self._now,
            self._policy,
            totals,
            steps,
            tuple(self._left),
            notes=tuple(notes.notes()),
            promises=() if refused is not None else tuple(self._past_limit.promises()),
            forecast=tuple(map(self._forecast, self._cameras.disks(self._trees))),
            further=self._further.steps() if self._further else (),
            problems=problems,
            refused=refused,
        )

    def _forecast(self, disk: Disk) -> Forecast:
        trashed = self._freed.trashed[disk.device]
        expires = (self._now + self._policy.limits.trash_age).date() if trashed else None
        return Forecast(disk.path, disk.free, self._freed.on[disk.device], trashed, expires)

    # --- the walk ----------------------------------------------------------------------------------

    def _walk(self) -> Iterator[tuple[_Candidate, RemoveCopy | Stay]]:
        """Every copy that some rule may remove once the newest clips are known; counts all others.

        With each comes what the rules by age do with it unless it is its camera's newest clip.
        """
        policy, memory, now = self._policy, self._memory, self._now
        for item in self._copies.items():
            if isinstance(item, Copy):
                self._cameras.see(item)
                step = decide(item, policy, memory, {}, now)
                place = rank(item, policy, memory, {}, now) if self._has_size_rules else None
                if self._further:
                    self._further.see(item, stays=place is None and isinstance(step, Stay))
                if place is not None or isinstance(step, RemoveCopy):
                    yield _Candidate(place, item), step
                else:
                    self._stays(item, step)
            elif isinstance(item, Keep):
                self._keep(item)
            elif isinstance(item, LoneSidecar):
                self._sidecar(item)
            elif (tidy := leftover_rules.decide(item, now)) is not None:
                self._tally.add(tidy)
                self._small.append(tidy)

    def _sidecar(self, item: LoneSidecar) -> None:
        step = decide_sidecar(item.copy, self._policy, self._memory, self._now, orphan=item.orphan)
        if isinstance(step, Stay):
            self._stays(item.copy, step)
        else:
            self._tally.add(step)
            self._small.append(step)

    def _stays(self, copy: Copy, stay: Stay) -> None:
        clip = copy.clip
        self._tally.add_kept(stay.reason, clip.camera, clip.fingerprint.size)
        if stay.reason is Reason.LAST_COPY and not self._last_copy:
            self._last_copy = f"{shown(clip.path)}, {shown(stay.detail)}"
        if stay.reason is Reason.CLOCK_DOUBTFUL:
            self._doubtful.add(clip)
        if self._has_hard_limit:
            self._past_limit.stays(copy, stay.reason)
        if self._names_kept:
            self._name_kept(stay.step(clip))

    def _keep(self, kept: Keep) -> None:
        self._tally.add(kept)
        if kept.reason is Reason.CLOCK_DOUBTFUL:
            self._doubtful.add(kept)
        if self._has_hard_limit:
            self._past_limit.is_left(kept)
        if self._names_kept:
            self._name_kept(kept)

    def _name_kept(self, kept: Keep) -> None:
        if self._list_all or (self._asked and kept.path in self._asked):
            self._left.append(kept)

    # --- the whole ---------------------------------------------------------------------------------

    def _used(self) -> int | None:
        """Bytes that `--max-size` limits; None if they are not needed or not known before the walk."""
        if self._policy.max_size is None or self._policy.cameras:
            return None
        return filesystems.used_bytes(self._trees)

    def _size_rules_may_apply(self, used: int | None) -> bool:
        """Whether a rule by size may have to take anything, so that all copies must be remembered."""
        policy = self._policy
        if policy.free is not None or any(each.max_size is not None for each in policy.cameras_own.values()):
            return True
        if policy.max_size is not None and (used is None or used > policy.max_size):
            return True
        least = policy.min_free
        return least is not None and may_fall_short(self._trees, least, moves=not policy.delete)

    def _goals(self, used: int | None) -> list[Goal]:
        """The bytes that exceed each limit after the rules by age."""
        policy, goals = self._policy, []
        for camera, limits in sorted(policy.cameras_own.items()):
            if limits.max_size is not None:
                excess = self._cameras.used_by(camera) - self._freed_of[camera] - limits.max_size
                words = f"max_size {size(limits.max_size)} of {shown(camera)}"
                goals.append(Goal(Reason.MAX_SIZE, excess, words, camera=camera))
        if policy.max_size is not None:
            if used is None:
                used = sum(map(self._cameras.used_by, policy.cameras))
            written = self._removals * RECORD_BYTES
            excess = used + written - sum(self._freed_of.values()) - policy.max_size
            goals.append(Goal(Reason.MAX_SIZE, excess, f"--max-size {size(policy.max_size)}"))
        if policy.free is not None:
            device = filesystems.device_of(self._trees.source)
            excess = policy.free - self._freed.on[device]
            words = f"--free {size(policy.free)} at {shown(self._trees.source)}"
            goals.append(Goal(Reason.FREE, excess, words, device=device))
        if policy.min_free is not None:
            for disk in self._cameras.disks(self._trees):
                excess = policy.min_free - disk.free - self._freed.on[disk.device]
                words = f"--min-free {size(policy.min_free)} at {shown(disk.path)}"
                goals.append(Goal(Reason.MIN_FREE, excess, words, device=disk.device))
        return goals

    def _steps(self, used: int | None) -> Iterator[RemoveCopy | RemoveLeftover]:
        """All steps: first those that are certain during the walk, then those that depend on all of it."""
        candidates: Collection[_Candidate]
        if self._has_size_rules:
            candidates = SealedSequence((found for found, _ in self._walk()), key=_by_rank)
        else:
            candidates = yield from self._certain()
        if self._has_hard_limit:
            for other in self._others.found():
                self._past_limit.is_left(other)
        self._newest = self._cameras.newest()
        for _, copy in candidates:
            self._count_freed(copy, self._by_age(copy))
        solver = SizeGoalSolver(self._goals(used), self._freed, self._trash_device)
        yield from self._small
        yield from self._offsite_steps()
        for place, copy in candidates:
            step = self._by_age(copy)
            if place is not None:
                step = decide_by_size(copy, step, solver, self._policy, self._memory, self._newest, self._now)
            yield from self._counted(copy, step)
        self._unmet = solver.unmet

    def _certain(self) -> Generator[RemoveCopy, None, list[_Candidate]]:
        """The steps that the rest of the walk can't change; returns the other candidates.

        Nearly every clip is certainly not its camera's newest: it need not be kept and decided again.
        """
        waiting: list[_Candidate] = []
        most = IN_MEMORY
        for candidate, step in self._walk():
            if self._is_certain(candidate):
                self._count_freed(candidate.copy, step)
                yield from self._counted(candidate.copy, step)
                continue
            waiting.append(candidate)
            if len(waiting) >= most:
                candidates, waiting = waiting, []
                for each in candidates:
                    if not self._is_certain(each):
                        waiting.append(each)
                        continue
                    step = self._by_age(each.copy)
                    self._count_freed(each.copy, step)
                    yield from self._counted(each.copy, step)
                most = max(IN_MEMORY, 2 * len(waiting))
        return sorted(waiting, key=_by_rank)

    def _is_certain(self, candidate: _Candidate) -> bool:
        copy = candidate.copy
        return self._cameras.has_newer(copy) or goes_as_newest(copy, self._policy, self._memory, self._now)

    def _by_age(self, copy: Copy) -> RemoveCopy | Stay:
        return decide(copy, self._policy, self._memory, self._newest, self._now)

    def _count_freed(self, copy: Copy, step: RemoveCopy | Stay) -> None:
        """Count what a rule by age frees, by camera and by filesystem."""
        if isinstance(step, Stay):
            return
        self._removals += 1
        if step.disposal is Disposal.DELETE:
            self._freed_of[copy.clip.camera] += self._freed.by(copy.clip)
        else:
            self._freed.by_move(copy.clip, self._trash_device)

    def _counted(self, copy: Copy, step: RemoveCopy | Stay) -> Iterator[RemoveCopy]:
        if isinstance(step, Stay):
            self._stays(copy, step)
            return
        self._tally.add(step)
        if loses(copy) and not step.offsite:
            self._cameras.lose(copy)
        yield step

    def _offsite_steps(self) -> Iterator[RemoveCopy]:
        """What the hard limit does with off-site copies; no other rule removes any."""
        hard = self._policy.shortest_hard_limit
        if hard is None:
            return
        # A day more, since a day of the journal is one of the clip's own time zone.
        for copy in self._offsite((self._now - hard).date() + _DAY):
            step = self._by_age(copy)
            if isinstance(step, RemoveCopy):
                self._tally.add(step)
                yield step
            elif step.reason is not Reason.IN_POLICY:
                self._stays(copy, step)


def _by_rank(item: _Candidate) -> tuple[int, float, str]:
    place, copy = item
    return (len(Rank) if place is None else place), copy.clip.recorded.timestamp(), copy.clip.relative
