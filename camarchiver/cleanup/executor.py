"""Carries out the plan of `cleanup` file by file, and checks each again under its clip's lock."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.cleanup.offsite_copies import OffsiteCopies
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import Tree, Trees
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import RemoveCopy, RemoveLeftover
from camarchiver.errors import CamarchiverError, NotRemovable, cause
from camarchiver.journal.event import EventKind
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.writer import JournalWriter, RemovalResult
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import restored_lately
from camarchiver.runtime import log_setup
from camarchiver.runtime.formatting import size
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings, thumbnails
from camarchiver.state.failures import Failures
from camarchiver.state.thumbnails import StripKey
from camarchiver.state.work_in_progress import RemovalNote
from camarchiver.storage import anchored, filesystems, locking, removal
from camarchiver.storage.removal import Place

_log = logging.getLogger(__name__)

BLOCK = 64
"""Removals whose intents are made durable together."""

LAG_AFTER = 1_000_000_000
"""Freed bytes after which at least half must show as free space (with snapshots or NFS they may not)."""


class _RemovedFile(Struct, frozen=True):
    """A file that left its tree."""

    place: str = ""
    """Below the trash; empty if the file was deleted."""
    target: str = ""
    """The same, absolute."""
    freed: int = 0
    """Bytes that its filesystem got back."""
    sidecars: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    written: bool = False
    """Whether the journal has its line."""


def execute(
    pipeline: Pipeline,
    plan: CleanupPlan,
    sidecars: SidecarPolicy,
    offsite: OffsiteCopies | None = None,
    *,
    stop: Stop,
    display: Display,
    on_outcome: Callable[[Outcome], None],
) -> Report:
    """Carry out a plan, unless a brake refused it; `on_outcome` gets every outcome as soon as it is known.

    A plan that was made with a remote needs its `offsite` copies.
    """
    outcomes: list[Outcome] = []
    steps = plan.steps if plan.refused is None else ()
    if steps:
        thumbnails.evict_until_writable(pipeline.trees.state)
    begun = pipeline.begin(steps)
    if plan.refused is None:
        executor = CleanupExecutor(
            pipeline.trees,
            pipeline.archives,
            SourceRemover(pipeline.trees, pipeline.writer, sidecars),
            pipeline.writer,
            pipeline.memory,
            pipeline.failures,
            plan.policy.min_free,
            offsite,
        )
        for outcome in executor.run(plan.steps, stop, display):
            outcomes.append(outcome)
            on_outcome(outcome)
        findings.forget_removed(pipeline.trees.state, outcomes)
        _forget_old_thumbnails(pipeline, plan)
        pipeline.failures.forget_all(pipeline.failures.of_missing_files(pipeline.trees.source))
    problems = (*plan.problems, *(offsite.problems if offsite else ()))
    return begun.report(replace(plan, problems=problems), tuple(outcomes), stop)


def _forget_old_thumbnails(pipeline: Pipeline, plan: CleanupPlan) -> None:
    """Under a legal maximum for all cameras, remove older thumbnails, no matter why their clips are gone."""
    hard = plan.policy.limits.max_age_hard
    if hard is not None and not plan.policy.cameras and not plan.policy.exclude:
        thumbnails.remove_before(pipeline.trees.state, (plan.now - hard).date())


_QUIET = frozenset({Reason.QUIET_AGE, Reason.QUIET_ARCHIVE_AGE})


class CleanupExecutor:
    """Performs removals; the outcome may be stale, busy or held, but nothing is decided here."""

    def __init__(
        self,
        trees: Trees,
        archives: ArchiveLookup,
        remover: SourceRemover,
        writer: JournalWriter,
        memory: Callable[[], Memory],
        failures: Failures,
        min_free: int | None,
        offsite: OffsiteCopies | None,
    ) -> None:
        """`memory` reads holds and restored clips as they are now; `min_free` is in bytes."""
        self._trees = trees
        self._archives = archives
        self._remover = remover
        self._writer = writer
        self._memory = memory
        self._failures = failures
        self._offsite = offsite
        self._free_space = _FreeSpaceMeter(min_free)
        self._note = RemovalNote(trees.state, writer.run.id)

    def run(
        self, steps: Iterable[RemoveCopy | RemoveLeftover], stop: Stop, display: Display
    ) -> Iterator[Outcome]:
        """Each step's outcome; no step begins after `stop`."""
        waiting = iter(steps)
        while not stop and (block := list(islice(waiting, BLOCK))):
            yield from self._block(block, stop, display)
        self._note.close()

    def _block(
        self, block: list[RemoveCopy | RemoveLeftover], stop: Stop, display: Display
    ) -> Iterator[Outcome]:
        intended = [step for step in block if isinstance(step, RemoveCopy) and _is_of_a_tree(step)]
        if intended:
            self._note.announce({step.start.date() for step in intended})
            self._writer.intend(intended)
        results: list[RemovalResult] = []
        try:
            for step in block:
                if not stop:
                    yield (
                        self._tidy(step) if isinstance(step, RemoveLeftover) else self._discard(step, results)
                    )
                    display.done(step.size)
                elif isinstance(step, RemoveCopy) and _is_of_a_tree(step):
                    detail = "the run was stopped before it"
                    results.append(RemovalResult(step, EventKind.LEFT, step.reason, detail=detail))
        finally:
            self._writer.ended(results)

    def _discard(self, step: RemoveCopy, results: list[RemovalResult]) -> Outcome:
        with log_setup.about(step.source):
            if _is_of_a_tree(step):
                outcome = self._perform(step, results)
            else:
                outcome = removal.attempted(step, lambda: self._remove_copy(step))
            words = step.path, outcome.result, outcome.reason, outcome.detail
            log_setup.log_outcome(_log, words, failed=outcome.result is Result.FAILED)
        return outcome

    def _perform(self, step: RemoveCopy, results: list[RemovalResult]) -> Outcome:
        gone: _RemovedFile | None = None
        is_unsettled = False
        try:
            outcome, gone = self._try(step)
        except (CamarchiverError, OSError) as error:
            is_unsettled = removal.unsettled(error, step.path)
            outcome = removal.outcome_of(step, error, gone="it was gone already")
            if isinstance(error, NotRemovable) and step.tree is Tree.SOURCE:
                self._failures.note(step.clip, Reason.KEPT_SOURCE, outcome.detail, self._writer.now())
        if is_unsettled:
            self._note.leave_open(step.start.date())
        elif gone is None:
            results.append(RemovalResult(step, EventKind.LEFT, outcome.reason, detail=outcome.detail))
        elif not gone.written:
            what = _removal_event(step, gone)
            results.append(RemovalResult(step, what, step.reason, gone.place or None, gone.sidecars))
        return outcome

    def _try(self, step: RemoveCopy) -> tuple[Outcome, _RemovedFile | None]:
        if (refusal := self._free_space.refusal(step)) is not None:
            return refusal, None
        with removal.locked(self._trees, step.source):
            outcome, gone = self._locked(step)
        if gone is not None:
            _remove_empty(step.clip.root, step.clip.folder)
        return outcome, gone

    def _locked(self, step: RemoveCopy) -> tuple[Outcome, _RemovedFile | None]:
        memory, now = self._memory(), self._writer.now()
        _check_holds(step, memory, now)
        spared = step.reason is not Reason.MAX_AGE_HARD and step.tree is not Tree.TRASH
        if spared and restored_lately(step.source, step.identity, memory, now):
            return Outcome(step, Result.SKIPPED, Reason.RESTORED), None
        if step.archived is not None:
            self._archives.check_valid(step.archived)
        if step.reason in _QUIET and not self._archives.is_quiet(step.source, step.start, step.identity):
            raise anchored.Stale("it is no longer sure that nothing moves in it")
        if step.offsite is not None:
            self._copies().prove(step)
        gone = self._remove(step)
        if step.archived is None and step.offsite is None and not gone.place:
            self._forget_thumbnails(step)
        self._free_space.freed(step, gone.freed)
        result = Result.FAILED if gone.problem else Result.DONE
        reason = Reason.FAILED if gone.problem else step.reason
        return Outcome(step, result, reason, gone.problem, gone.target, freed=gone.freed), gone

    def _remove_copy(self, step: RemoveCopy) -> Outcome:
        """Remove an off-site copy. It needs no intent: the next run looks whether the remote has it."""
        with removal.locked(self._trees, step.source):
            _check_holds(step, self._memory(), self._writer.now())
            self._copies().remove(step)
        return Outcome(step, Result.DONE, step.reason)

    def _copies(self) -> OffsiteCopies:
        assert self._offsite is not None, "the plan names off-site copies, and nobody can reach them"
        return self._offsite

    def _remove(self, step: RemoveCopy) -> _RemovedFile:
        if step.tree is Tree.SOURCE and step.archived is not None:
            disposed = self._remover.remove(step.clip, step.archived, step.disposal, step.reason)
            return _RemovedFile(target=disposed.target, freed=disposed.freed, written=True)

        def place(relative: str) -> Place | None:
            return removal.place_of(step.disposal, self._trees.trash, step.tree, relative)

        gone = removal.remove(step.clip.root, step.relative, step.clip.fingerprint, place(step.relative))
        followed = removal.remove_sidecars(step.clip, place)
        if followed.unsettled:
            raise OSError(followed.problem)
        return _RemovedFile(gone.place, gone.target, gone.freed, followed.went, followed.problem)

    def _forget_thumbnails(self, step: RemoveCopy) -> None:
        """Remove a clip's thumbnails with what may be its last copy; they are made again if it is not."""
        with contextlib.suppress(OSError):
            thumbnails.remove(self._trees.state, StripKey(step.start.date(), step.source, *step.identity))

    def _tidy(self, step: RemoveLeftover) -> Outcome:
        return removal.attempted(step, lambda: self._tidied(step))

    def _tidied(self, step: RemoveLeftover) -> Outcome:
        if step.fingerprint is None:
            if not _remove_empty(step.root, step.relative):
                return Outcome(step, Result.STALE, Reason.STALE, "it is not empty any more")
        elif step.relative.endswith(".lock"):
            # Taking and releasing a dead owner's lock removes its file; a live owner's lock is refused.
            with locking.clip_lock(step.path.with_name(step.path.name.removesuffix(".lock"))):
                pass
        else:
            removal.remove(step.root, step.relative, step.fingerprint, None)
        _log.info("%s: removed, %s", step.path, step.reason)
        return Outcome(step, Result.DONE, step.reason, freed=step.size)


class _FreeSpaceMeter:
    """Measures the free space of each filesystem for `--min-free` while files are removed."""

    def __init__(self, goal: int | None) -> None:
        self._goal = goal
        self._free_at_first: dict[int, int] = {}
        self._freed: dict[int, int] = {}
        self._lags: set[int] = set()

    def refusal(self, step: RemoveCopy) -> Outcome | None:
        """Why a step of this rule is not performed now; raises StorageError if the free space is unknown."""
        if step.reason is not Reason.MIN_FREE or self._goal is None:
            return None
        device, free = step.clip.fingerprint.device, filesystems.free_bytes(step.path.parent)
        first = self._free_at_first.setdefault(device, free)
        freed = self._freed.get(device, 0)
        if free >= self._goal:
            return Outcome(step, Result.SKIPPED, Reason.GOAL_MET)
        if device in self._lags or (freed >= LAG_AFTER and free - first < freed / 2):
            self._lags.add(device)
            words = (
                f"{size(freed)} were removed and {size(max(free - first, 0))} came free: is there a snapshot?"
            )
            return Outcome(step, Result.FAILED, Reason.MIN_FREE, words)
        return None

    def freed(self, step: RemoveCopy, count: int) -> None:
        """Count bytes that should be free now."""
        device = step.clip.fingerprint.device
        self._freed[device] = self._freed.get(device, 0) + count


def _is_of_a_tree(step: RemoveCopy) -> bool:
    """Whether a step is about a file of this machine, and not about an off-site copy."""
    return step.tree is not Tree.OFFSITE


def _check_holds(step: RemoveCopy, memory: Memory, now: datetime) -> None:
    """Raise Held if a hold covers a clip whose copy this is."""
    known = (step.archived,) if step.archived else ()
    for clip in (step.clip, *step.sharers):
        if hold := current_hold(clip, memory.holds, now, known):
            raise removal.Held(hold)


def _removal_event(step: RemoveCopy, gone: _RemovedFile) -> EventKind:
    if step.tree is Tree.TRASH:
        return EventKind.PURGED
    return EventKind.TRASHED if gone.place else EventKind.DELETED


def _remove_empty(root: Path, folder: str) -> tuple[str, ...]:
    try:
        return removal.remove_empty_folders(root, folder)
    except OSError as error:
        _log.warning("%s: an empty folder could not be removed: %s", root / folder, cause(error))
        return ()
