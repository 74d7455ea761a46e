"""Carries out the plans of `offsite sync` and `offsite verify`, and reports their outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import MakeCopy
from camarchiver.errors import CamarchiverError, Problem, failure, sentence
from camarchiver.offsite.copier import ArchiveCopier, CopyChecker
from camarchiver.offsite.manifest_writer import ManifestWriter
from camarchiver.offsite.rclone.errors import RemoteError
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.rclone.uploads import StagedUploads
from camarchiver.offsite.remote_guard import RemoteGuard, opened_apart
from camarchiver.offsite.transfers import (
    Retries,
    RunObserver,
    TransferProgress,
    Transfers,
    followed,
    reported,
)
from camarchiver.offsite.verification import CopyVerifier, VerifyMethod
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import CheckPlan, OffsitePlan
from camarchiver.runtime.formatting import count_of, size
from camarchiver.runtime.signals import Stop
from camarchiver.state import offsite_state
from camarchiver.state.offsite_state import SyncCounts, SyncFailure

_log = logging.getLogger(__name__)

PlanT = TypeVar("PlanT", OffsitePlan, CheckPlan)

MANIFEST_SECONDS = 600.0
"""How long a copy may be without a manifest that names it: the machine may be lost before the run ends."""


class TransferSettings(Struct, frozen=True):
    """How copies are made and verified."""

    rclone: RcloneSettings
    verify: VerifyMethod = VerifyMethod.AUTO
    max_runtime: timedelta | None = None
    """After this nothing further is begun."""


def sync(pipeline: Pipeline, plan: OffsitePlan, settings: TransferSettings, observer: RunObserver) -> Report:
    """Make the copies of a plan; rclone is started only if there is something to do.

    Raises RemoteError, ConfigError or UsageError if the remote can't be used at all.
    """
    state, remote = pipeline.trees.state, plan.policy.remote
    try:
        report = _synced(pipeline, plan, settings, observer)
    except CamarchiverError as error:
        offsite_state.note_sync(state, remote, SyncFailure(pipeline.now(), sentence(error)))
        raise
    is_whole = not (plan.policy.cameras or plan.policy.exclude)
    counts = _counts(plan, report) if is_whole else None
    if report.has_failures:
        offsite_state.note_sync(state, remote, SyncFailure(report.ended, _why_failed(report)), counts)
    else:
        offsite_state.note_sync(state, remote, None, counts, is_over=report.stopped_by is None)
    return report


def _why_failed(report: Report) -> str:
    if report.problems:
        return "; ".join(problem.message for problem in report.problems)
    return f"{count_of(report.count(Result.FAILED), 'archive')} could not be copied"


def _synced(
    pipeline: Pipeline, plan: OffsitePlan, settings: TransferSettings, observer: RunObserver
) -> Report:
    due = offsite_state.due_manifests(pipeline.trees.state, plan.policy.remote)
    if not plan.steps and not due:
        return pipeline.begin(()).report(plan, (), observer.stop)
    with opened_apart(pipeline, settings.rclone) as guard:
        begun = pipeline.begin(plan.steps)
        run = _SyncRun(pipeline, plan, settings, guard, observer.stop)
        progress = TransferProgress(guard.remote, run.transfers, observer.display)
        outcomes = followed(run.outcomes(), progress, observer)
    return reported(begun, plan, outcomes, run.transfers.ended_by, observer.stop, run.problems)


def with_remote_note(pipeline: Pipeline, plan: PlanT, rclone: RcloneSettings) -> PlanT:
    """The plan of a dry run with a note about its remote, or with what is wrong with it.

    The remote is opened, and nothing is written there.
    """
    try:
        with opened_apart(pipeline, rclone) as guard:
            guard.require_known()
            label, space = guard.remote.label, guard.remote.space()
    except (CamarchiverError, OSError) as error:
        problem, code = failure(error)
        return replace(plan, problems=(*plan.problems, problem), refused=plan.refused or code)
    free = space.free if space is not None else None
    room = f"{size(free)} are free there" if free is not None else "it does not say how much room it has"
    return replace(plan, notes=(*plan.notes, f"{label} can be reached; {room}"))


def _counts(plan: OffsitePlan, report: Report) -> SyncCounts:
    before = sum(total.clips for total in plan.totals if total.group.reason is Reason.ALREADY_COPIED)
    made = report.count(Result.DONE, Result.SKIPPED)
    failed_before = sum(total.clips for total in plan.totals if total.group.reason in _WITHOUT)
    return SyncCounts(report.ended, before + made, len(plan.steps) - made + failed_before)


_WITHOUT = frozenset({Reason.FAILED_BEFORE, Reason.DAMAGED})
"""Why archives that should have a copy get none."""


def verify(pipeline: Pipeline, plan: CheckPlan, settings: TransferSettings, observer: RunObserver) -> Report:
    """Compare the copies of a plan with their archives' BLAKE2b. Raises as `sync`."""
    if not plan.steps:
        return pipeline.begin(()).report(plan, (), observer.stop)
    with opened_apart(pipeline, settings.rclone) as guard:
        begun, remote = pipeline.begin(plan.steps), guard.remote
        checker = CopyChecker(pipeline, remote, CopyVerifier(remote, settings.verify, guard))
        transfers = Transfers(remote, observer.stop, guard.of_reading, max_runtime=settings.max_runtime)
        steps = islice(plan.steps, plan.policy.limit)
        found = transfers.run(steps, checker.check)
        outcomes = followed(found, TransferProgress(remote, transfers, observer.display), observer)
    lost = {
        each.step.start.date() for each in outcomes if each.reason is Reason.COPY_LOST and each.step.start
    }
    offsite_state.change_due(pipeline.trees.state, plan.policy.remote, add=lost)
    return reported(begun, plan, outcomes, transfers.ended_by, observer.stop)


class _SyncRun:
    """One run over the steps of a plan of `offsite sync`."""

    def __init__(
        self,
        pipeline: Pipeline,
        plan: OffsitePlan,
        settings: TransferSettings,
        guard: RemoteGuard,
        stop: Stop,
    ) -> None:
        self._plan = plan
        self._stop = stop
        self._failures = offsite_state.failures(pipeline.trees.state)
        self._pipeline = pipeline
        self._guard = guard
        remote = guard.remote
        self._uploads = StagedUploads(remote, pipeline.run, pipeline.trees.archive)
        verifier, retries = CopyVerifier(remote, settings.verify, self._guard), Retries(stop.event)
        self._copier = ArchiveCopier(pipeline, remote, self._uploads, verifier, retries)
        self._manifests = ManifestWriter(pipeline, remote, self._uploads, retries)
        self.transfers = Transfers(remote, stop, self._uploads.of_writing, max_runtime=settings.max_runtime)
        self.problems: list[Problem] = []

    def outcomes(self) -> Iterator[Outcome | None]:
        """Each step's outcome as soon as it is known, and None now and then while there is none.

        Raises RemoteError before the first one if the remote is not the place of the copies that there are.
        """
        self._guard.require_known()
        try:
            self._uploads.sweep()
        except RemoteError as error:
            _log.warning("unfinished uploads of a dead run were not removed: %s", error.message)
        written = time.monotonic()
        steps = islice(self._plan.steps, self._plan.policy.limit)
        for outcome in self.transfers.run(steps, self._copier.copy, begin=self._begin):
            if outcome is not None:
                # Again: its manifest may have been written while it was on the way.
                self._manifests.due_after(outcome.step.start)
                self._remember(outcome)
            yield outcome
            if time.monotonic() - written > MANIFEST_SECONDS:
                self._write_manifests()
                written = time.monotonic()
        if not self._stop and self.transfers.ended_by is None:
            self._write_manifests()
        self._failures.flush()

    def _remember(self, outcome: Outcome) -> None:
        assert isinstance(outcome.step, MakeCopy)
        clip = outcome.step.clip
        if outcome.result is Result.FAILED:
            self._failures.note(clip, outcome.reason, outcome.detail, self._pipeline.now())
        elif outcome.result in (Result.DONE, Result.SKIPPED):
            self._failures.forget(clip)

    def _begin(self, step: MakeCopy) -> None:
        self._manifests.due_after(step.start)

    def _write_manifests(self) -> None:
        try:
            self._manifests.write()
        except (OSError, CamarchiverError) as error:
            words = f"the list of what is copied could not be written: {sentence(error)}"
            _log.warning("%s", words)
            problem = Problem("manifest", words, "the next offsite sync tries again")
            if problem not in self.problems:
                self.problems.append(problem)
