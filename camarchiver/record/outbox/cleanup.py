"""Plans and executes `cleanup --spool`: leftovers of dead recorders and expired clips."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import Fingerprint, Tree, Trees
from camarchiver.domain.plan import Forecast, Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import Keep, RemoveCopy, RemoveLeftover, Salvage
from camarchiver.errors import StorageError, cause
from camarchiver.naming import patterns as name_patterns
from camarchiver.naming import recorder_names
from camarchiver.naming.folders import comparable
from camarchiver.naming.formats import is_clip_name
from camarchiver.policy import leftover_rules
from camarchiver.policy.leftover_rules import Leftover, LeftoverKind
from camarchiver.policy.size_goals import Freed
from camarchiver.record.outbox import rules as outbox_rules
from camarchiver.record.outbox import spool
from camarchiver.record.outbox import store as outbox_store
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.rules import OutboxLimits, SpoolFile
from camarchiver.runtime import clock
from camarchiver.runtime.signals import Stop, Stopper
from camarchiver.state import holds
from camarchiver.storage import anchored, filesystems, removal, run_lock

_log = logging.getLogger("camarchiver.record.outbox.cleanup")


class SpoolPolicy(Struct, frozen=True):
    """The owner's request."""

    spool: Path
    outbox: Path
    """Both absolute."""
    limits: OutboxLimits
    cameras: frozenset[str] = frozenset()
    """Empty means all cameras."""

    def folders(self, camera: str) -> Folders:
        """One camera's folders in the spool and in the outbox."""
        return Folders(self.spool / camera, self.outbox / camera)


SpoolPlan = Plan[Salvage | RemoveLeftover | RemoveCopy, SpoolPolicy]
_SpoolStep = Salvage | RemoveLeftover | RemoveCopy


def plan(policy: SpoolPolicy, now: datetime) -> SpoolPlan:
    """Decide for every clip in the spool and in the outbox; changes nothing. Raises OSError, StorageError.

    `now` is aware, in the cameras' zone.
    """
    for folder in (policy.spool, policy.outbox):
        if not folder.is_dir():
            raise StorageError(
                f"{folder} is not a folder", hint="name what `record` has as --spool and --outbox"
            )
    tally, steps, left = Tally(), list[_SpoolStep](), list[Keep]()
    for step in _decided(policy, now):
        tally.add(step)
        if isinstance(step, Keep):
            left.append(step)
        else:
            steps.append(step)
    # nothing here goes to a trash
    trees = Trees(policy.spool, policy.outbox, policy.outbox)
    counted = Freed()
    freed = sum(counted.by(step.clip) for step in steps if isinstance(step, RemoveCopy))
    forecast = (Forecast(policy.outbox, filesystems.free_bytes(policy.outbox), freed),) if freed else ()
    return Plan("cleanup", trees, now, policy, tally.totals(), steps, left, forecast=forecast)


def _decided(policy: SpoolPolicy, now: datetime) -> Iterator[_SpoolStep | Keep]:
    held = holds.read(outbox_store.state(policy.outbox))
    for camera in sorted({*outbox_store.cameras(policy.spool), *outbox_store.cameras(policy.outbox)}):
        if policy.cameras and comparable(camera) not in policy.cameras:
            continue
        folders = policy.folders(camera)
        running = any(run_lock.is_running(lock) for lock in folders.locks)
        if folders.spool.is_dir():
            yield from _in_spool(policy, camera, now, running=running)
        if folders.outbox.is_dir():
            for found in _copied(policy, folders, running=running):
                if (tidy := leftover_rules.decide(found, now)) is not None:
                    yield tidy
            assert now.tzinfo is not None
            yield from _foreign(policy, camera, folders.outbox, now.tzinfo)
            waiting = outbox_store.waiting(policy.outbox, camera, now.tzinfo)
            yield from outbox_rules.at_once(waiting, policy.limits, held, now)


def _in_spool(
    policy: SpoolPolicy, camera: str, now: datetime, *, running: bool
) -> Iterator[_SpoolStep | Keep]:
    folders = policy.folders(camera)
    for path, status in _listed(folders.spool):
        if not recorder_names.is_spool_name(path.name) or not stat.S_ISREG(status.st_mode):
            continue
        fingerprint, is_empty, problem = anchored.fingerprint_of(status), False, ""
        try:
            is_empty = not running and spool.is_empty(path)
        except OSError as error:
            problem = cause(error)
        file = SpoolFile(
            policy.spool,
            camera,
            path.name,
            fingerprint,
            folders.outbox,
            start=_start(path.name, camera, fingerprint, now),
            in_use=running,
            is_empty=is_empty,
            problem=problem,
        )
        yield outbox_rules.in_spool(file, now)


def _start(name: str, camera: str, fingerprint: Fingerprint, now: datetime) -> datetime | None:
    # a spool file's name has the start like a clip's, and not yet the length
    parsed = name_patterns.Names().read(name.partition(".")[0] + "_0.0s", camera)
    assert now.tzinfo is not None
    return name_patterns.locate(parsed, fingerprint.mtime_ns, now.tzinfo) if parsed else None


def _copied(policy: SpoolPolicy, folders: Folders, *, running: bool) -> Iterator[Leftover]:
    """What a killed copy may have left in the outbox."""
    for path, status in _statuses(folders.leftovers()):
        yield Leftover(
            policy.outbox,
            str(path.relative_to(policy.outbox)),
            Tree.OUTBOX,
            LeftoverKind.COPIED,
            status.st_mtime,
            anchored.fingerprint_of(status),
            in_use=running,
        )


def _foreign(policy: SpoolPolicy, camera: str, folder: Path, zone: tzinfo) -> Iterator[Keep]:
    own = {each.clip.name for each in outbox_store.waiting(policy.outbox, camera, zone)}
    for path, status in _listed(folder):
        if is_clip_name(path.name) and path.name not in own:
            yield Keep(policy.outbox, f"{camera}/{path.name}", Reason.FOREIGN, status.st_size, camera)


def _listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    return _statuses(sorted(folder.iterdir()))


def _statuses(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Those that still exist: a recorder publishes and a transfer fetches meanwhile."""
    for path in paths:
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        yield path, status


def execute(planned: SpoolPlan, run: str, *, stop: Stop, on_outcome: Callable[[Outcome], None]) -> Report:
    """Execute a plan under a run's id; `on_outcome` gets every outcome as it occurs."""
    outcomes: list[Outcome] = []
    for outcome in perform(planned, planned.now, stop.event):
        outcomes.append(outcome)
        on_outcome(outcome)
    assert planned.now.tzinfo is not None
    ended = clock.now(planned.now.tzinfo)
    return planned.report(run, tuple(outcomes), ended=ended, stopped_by=stop.signal)


def perform(planned: SpoolPlan, now: datetime, stop: Stopper) -> Iterator[Outcome]:
    """Execute a plan, camera by camera; each file is checked again, and holds are read again."""
    policy = planned.policy
    state = outbox_store.state(policy.outbox)
    outbox_store.make_state(policy.outbox)
    with ExitStack() as guard:
        guard.enter_context(run_lock.guarded(state / "upkeep.lock"))
        for step in planned.steps:
            if stop.is_set():
                return
            outcome = removal.attempted(step, partial(_performed, step, policy, now))
            level = logging.WARNING if outcome.result is Result.DONE else logging.ERROR
            _log.log(
                level,
                "%s: %s %s %s",
                step.path,
                outcome.result,
                outcome.reason,
                outcome.target or outcome.detail,
            )
            yield outcome


def _performed(step: _SpoolStep, policy: SpoolPolicy, now: datetime) -> Outcome:
    if isinstance(step, RemoveCopy):
        return outbox_store.remove(step, now)
    return _settled(step, policy)


def _settled(step: Salvage | RemoveLeftover, policy: SpoolPolicy) -> Outcome:
    """Salvage or delete a dead recorder's file, while no other recorder can start."""
    folders = policy.folders(step.relative.partition("/")[0])
    folders.make()
    with ExitStack() as locks:
        for lock in folders.locks:
            locks.enter_context(run_lock.exclusive(lock, what="cleanup"))
        if isinstance(step, RemoveLeftover):
            assert step.fingerprint is not None, "a spool's folders stay"
            removal.remove(step.root, step.relative, step.fingerprint, None)
            return Outcome(step, Result.DONE, step.reason, freed=step.size)
        if anchored.fingerprint_of(step.path.lstat()) != step.fingerprint:
            raise anchored.Stale(f"{step.path} is no longer the file that was planned")
        target = spool.salvage(step.path, step.target)
    if target is None:
        return Outcome(step, Result.DONE, step.reason, "it had been published before", freed=step.size)
    return Outcome(step, Result.DONE, step.reason, target=str(target))
