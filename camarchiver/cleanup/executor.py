"""Carries out the plan of `cleanup`, one file at a time, each looked at again under its clip's lock."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import Disposal, Fingerprint, Tree, Trees
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import Discard, Tidy
from camarchiver.errors import CamarchiverError, ClipBusy
from camarchiver.journal.event import EventKind
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.writer import JournalWriter, RemovalResult
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import restored_lately
from camarchiver.runtime import log_setup
from camarchiver.runtime.formatting import size
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state.intents import IntentLog
from camarchiver.storage import anchored, filesystems, locking
from camarchiver.storage.anchored import FROM_ARCHIVE, FROM_SOURCE

_log = logging.getLogger(__name__)

BLOCK = 64
"""Removals whose intents are made durable together."""

LAG_AFTER = 1_000_000_000
"""Freed bytes after which the filesystem must have given back at least half (snapshots, NFS don't)."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """A file that left its tree."""

    place: str = ""
    """Below the trash; empty where it is gone for good."""
    target: str = ""
    """The same, absolute."""
    sidecars: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    written: bool = False
    """Whether the journal has its line."""


def execute(
    pipeline: Pipeline,
    plan: CleanupPlan,
    sidecars: SidecarPolicy,
    *,
    stop: Stop,
    display: Display,
    tell: Callable[[Outcome], None],
) -> Report:
    """Carry out a plan, unless a brake refused it; `tell` gets every outcome as it comes."""
    outcomes: list[Outcome] = []
    if plan.refused is None:
        executor = CleanupExecutor(
            pipeline.trees,
            ArchiveLookup(pipeline.trees, pipeline.journal),
            SourceRemover(pipeline.trees, pipeline.writer, sidecars),
            pipeline.writer,
            pipeline.memory,
            plan.policy.min_free,
        )
        for outcome in executor.run(plan.steps, stop, display):
            outcomes.append(outcome)
            tell(outcome)
        pipeline.failures.forget_all(pipeline.failures.of_missing_files(pipeline.trees.source))
    return pipeline.report(plan, tuple(outcomes), stop)


class CleanupExecutor:
    """Performs `Discard` and `Tidy`; it may answer stale, busy or held, and never decides."""

    def __init__(
        self,
        trees: Trees,
        standing: ArchiveLookup,
        disposer: SourceRemover,
        scribe: JournalWriter,
        memory: Callable[[], Memory],
        min_free: int | None,
    ) -> None:
        """`memory` reads holds and restored clips as they are now; `min_free` is in bytes."""
        self._trees = trees
        self._standing = standing
        self._disposer = disposer
        self._scribe = scribe
        self._memory = memory
        self._gauge = _Gauge(min_free)
        self._notes = IntentLog(trees.state, scribe.run.id, scribe.run.host)

    def run(self, steps: Iterable[Discard | Tidy], stop: Stop, display: Display) -> Iterator[Outcome]:
        """Each step's outcome; none is begun after `stop`."""
        waiting = iter(steps)
        while not stop and (block := list(islice(waiting, BLOCK))):
            yield from self._block(block, stop, display)
        self._notes.close()

    def _block(self, block: list[Discard | Tidy], stop: Stop, display: Display) -> Iterator[Outcome]:
        intended = [step for step in block if isinstance(step, Discard)]
        if intended:
            self._notes.open({step.start.date() for step in intended})
            self._scribe.intend(intended)
        ends: list[RemovalResult] = []
        try:
            for step in block:
                if stop:
                    if isinstance(step, Discard):
                        ends.append(
                            RemovalResult(
                                step, EventKind.LEFT, step.reason, detail="the run was stopped before it"
                            )
                        )
                    continue
                yield self._tidy(step) if isinstance(step, Tidy) else self._discard(step, ends)
                display.done(step.size)
        finally:
            self._scribe.discarded(ends)

    def _discard(self, step: Discard, ends: list[RemovalResult]) -> Outcome:
        with log_setup.about(step.source):
            outcome = self._perform(step, ends)
            words = step.path, outcome.result, outcome.reason, outcome.detail
            _log.info("%s: %s (%s) %s", *words)
        return outcome

    def _perform(self, step: Discard, ends: list[RemovalResult]) -> Outcome:
        gone: _Gone | None = None
        try:
            outcome, gone = self._try(step)
        except ClipBusy as busy:
            outcome = Outcome(step, Result.BUSY, Reason.BUSY, busy.message)
        except FileNotFoundError:
            outcome = Outcome(step, Result.STALE, Reason.STALE, "it was gone already")
        except anchored.Stale as stale:
            outcome = Outcome(step, Result.STALE, Reason.STALE, stale.message)
        except CamarchiverError as error:
            outcome = Outcome(step, Result.FAILED, Reason.FAILED, error.message)
        except OSError as error:
            outcome = Outcome(step, Result.FAILED, Reason.FAILED, _sentence(error))
        if gone is None and outcome.result is Result.FAILED and not os.path.lexists(step.path):
            # It is gone, but the step after its removal failed: where it is now is for the next start to see.
            self._notes.leave_open(step.start.date())
        elif gone is None:
            ends.append(RemovalResult(step, EventKind.LEFT, outcome.reason, detail=outcome.detail))
        elif not gone.written:
            what = (
                EventKind.PURGED
                if step.tree is Tree.TRASH
                else EventKind.TRASHED
                if gone.place
                else EventKind.DELETED
            )
            ends.append(RemovalResult(step, what, step.reason, gone.place or None, gone.sidecars))
        return outcome

    def _try(self, step: Discard) -> tuple[Outcome, _Gone | None]:
        if (refusal := self._gauge.refusal(step)) is not None:
            return refusal, None
        with locking.lock_if_there(self._trees.source / step.source, place=self._trees.state / "locks"):
            outcome, gone = self._locked(step)
        if gone is not None:
            _remove_empty(step.clip.root, step.clip.folder)
        return outcome, gone

    def _locked(self, step: Discard) -> tuple[Outcome, _Gone | None]:
        memory, now = self._memory(), self._scribe.now()
        if current_hold(step.clip, memory.holds, now, (step.archived,) if step.archived else ()):
            return Outcome(step, Result.HELD, Reason.HELD), None
        spared = step.reason is not Reason.MAX_AGE_HARD and step.tree is not Tree.TRASH
        if spared and restored_lately(step.source, step.identity, memory, now):
            return Outcome(step, Result.SKIPPED, Reason.RESTORED), None
        if step.archived is not None and not self._standing.stands(step.archived):
            raise anchored.Stale("its archive does not stand any more")
        names = step.path.lstat().st_nlink
        gone = self._remove(step)
        # A name less frees nothing while the file has another one, or lies in a trash on the same disk.
        stays = step.disposal is Disposal.TRASH and self._trash_is_on(step.clip.fingerprint.device)
        freed = step.size if names == 1 and not stays else 0
        self._gauge.freed(step, freed)
        result = Result.FAILED if gone.problem else Result.DONE
        reason = Reason.FAILED if gone.problem else step.reason
        return Outcome(step, result, reason, gone.problem, gone.target, freed=freed), gone

    def _remove(self, step: Discard) -> _Gone:
        if step.tree is Tree.SOURCE and step.archived is not None:
            disposed = self._disposer.dispose(step.clip, step.archived, step.disposal, step.reason)
            return _Gone(target=disposed.target, written=True)
        place = self._send(step, step.relative, step.clip.fingerprint)
        target = os.fspath(self._trees.trash / place) if place else ""
        went: dict[str, str] = {}
        problem = ""
        for name in step.clip.sidecars:
            relative = step.clip.beside(name)
            try:
                status = (step.clip.root / relative).lstat()
                now_at = self._send(step, relative, anchored.fingerprint_of(status))
                went[name] = os.fspath(self._trees.trash / now_at) if now_at else ""
            except FileNotFoundError:
                continue
            except (OSError, CamarchiverError) as error:
                problem = f"its picture {relative} could not follow: {error}"
        return _Gone(place, target, went, problem)

    def _send(self, step: Discard, relative: str, fingerprint: Fingerprint) -> str:
        """Where the file lies now, below the trash; empty where it is gone for good."""
        if step.disposal is Disposal.DELETE:
            anchored.delete(step.clip.root, relative, fingerprint)
            return ""
        folder = FROM_ARCHIVE if step.tree is Tree.ARCHIVE else FROM_SOURCE
        return anchored.move(
            step.clip.root,
            relative,
            fingerprint,
            trash_root=self._trees.trash,
            trash_relative=f"{folder}/{relative}",
        )

    def _trash_is_on(self, device: int) -> bool:
        return filesystems.device_of(self._trees.trash) == device

    def _tidy(self, step: Tidy) -> Outcome:
        try:
            if step.fingerprint is None:
                if not _remove_empty(step.root, step.relative):
                    return Outcome(step, Result.STALE, Reason.STALE, "it is not empty any more")
            elif step.relative.endswith(".lock"):
                # Taking a dead owner's lock and letting it go removes it; a living one's is refused.
                with locking.clip_lock(step.path.with_name(step.path.name.removesuffix(".lock"))):
                    pass
            else:
                anchored.delete(step.root, step.relative, step.fingerprint)
            _log.info("%s: removed, %s", step.path, step.reason)
            return Outcome(step, Result.DONE, step.reason, freed=step.size)
        except ClipBusy as busy:
            return Outcome(step, Result.BUSY, Reason.BUSY, busy.message)
        except (FileNotFoundError, anchored.Stale) as stale:
            return Outcome(step, Result.STALE, Reason.STALE, str(stale))
        except OSError as error:
            return Outcome(step, Result.FAILED, Reason.FAILED, _sentence(error))


class _Gauge:
    """Measures what `--min-free` has come to while files go, per filesystem."""

    def __init__(self, goal: int | None) -> None:
        self._goal = goal
        self._free_at_first: dict[int, int] = {}
        self._freed: dict[int, int] = {}
        self._lags: set[int] = set()

    def refusal(self, step: Discard) -> Outcome | None:
        """Why a step of this rule is not to be done now; StorageError where the free space can't be told."""
        if step.reason is not Reason.MIN_FREE or self._goal is None:
            return None
        device, free = step.clip.fingerprint.device, filesystems.free_bytes(step.clip.root)
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

    def freed(self, step: Discard, count: int) -> None:
        """So many bytes should be free now."""
        device = step.clip.fingerprint.device
        self._freed[device] = self._freed.get(device, 0) + count


def _remove_empty(root: Path, folder: str) -> tuple[str, ...]:
    try:
        return anchored.remove_empty_folders(root, folder)
    except OSError as error:
        _log.warning("%s: an empty folder could not be removed: %s", root / folder, error)
        return ()


def _sentence(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
