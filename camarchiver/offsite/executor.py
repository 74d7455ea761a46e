"""Carries out the plans of `offsite sync` and `offsite verify`, and reports what came of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Any

from camarchiver.domain.plan import Plan
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import MakeCopy
from camarchiver.errors import CamarchiverError, Problem, failure, sentence
from camarchiver.offsite.copier import ArchiveCopier, CopyChecker
from camarchiver.offsite.manifest_writer import ManifestWriter
from camarchiver.offsite.progress import TransferProgress
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings, Remote
from camarchiver.offsite.rclone.trouble import RemoteError, exit_code
from camarchiver.offsite.rclone.uploads import StagedUploads
from camarchiver.offsite.transfers import Transfers
from camarchiver.offsite.verification import CopyVerifier, VerifyMethod
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import CheckPlan, OffsitePlan
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state import offsite_state
from camarchiver.state.offsite_state import SyncCounts

_log = logging.getLogger(__name__)

MANIFEST_SECONDS = 600.0
"""How long a copy may be without a manifest that names it: the machine may be lost before the run ends."""


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How copies are made and verified."""

    rclone: RcloneSettings
    verify: VerifyMethod = VerifyMethod.AUTO
    max_runtime: timedelta | None = None
    """After this nothing further is begun."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who follows a run."""

    stop: Stop
    display: Display
    on_outcome: Callable[[Outcome], None]


def sync(pipeline: Pipeline, plan: OffsitePlan, settings: TransferSettings, watch: Watch) -> Report:
    """Make the copies of a plan; rclone is started only if there is something to do.

    Raises RemoteError or ConfigError if the remote can't be used at all.
    """
    report = _synced(pipeline, plan, settings, watch)
    if not (plan.policy.cameras or plan.policy.exclude):
        offsite_state.note_sync(pipeline.trees.state, plan.policy.remote, _counts(plan, report))
    return report


def _synced(pipeline: Pipeline, plan: OffsitePlan, settings: TransferSettings, watch: Watch) -> Report:
    due = offsite_state.due_manifests(pipeline.trees.state, plan.policy.remote)
    if not plan.steps and not due:
        return pipeline.report(plan, (), watch.stop)
    with remotes.opened(settings.rclone) as remote:
        run = _SyncRun(pipeline, plan, settings, remote, watch.stop)
        progress = TransferProgress(remote, run.transfers, watch.display)
        outcomes = _followed(run.outcomes(), progress, watch)
    return _reported(pipeline, plan, outcomes, run.problems, run.ended_by, watch.stop)


def _counts(plan: OffsitePlan, report: Report) -> SyncCounts:
    before = sum(total.clips for total in plan.totals if total.group.reason is Reason.ALREADY_COPIED)
    made = report.count(Result.DONE, Result.SKIPPED)
    failed_before = sum(total.clips for total in plan.totals if total.group.reason in _WITHOUT)
    return SyncCounts(report.ended, before + made, len(plan.steps) - made + failed_before)


_WITHOUT = frozenset({Reason.FAILED_BEFORE, Reason.DAMAGED})
"""Why archives that should have a copy get none."""


def verify(pipeline: Pipeline, plan: CheckPlan, settings: TransferSettings, watch: Watch) -> Report:
    """Compare the copies of a plan with their archives' BLAKE2b. Raises as `sync`."""
    if not plan.steps:
        return pipeline.report(plan, (), watch.stop)
    with remotes.opened(settings.rclone) as remote:
        checker = CopyChecker(pipeline, remote, CopyVerifier(remote, settings.verify))
        transfers = Transfers(remote, watch.stop, max_runtime=settings.max_runtime, now=pipeline.now)
        steps = islice(plan.steps, plan.policy.limit)
        found = transfers.run(steps, checker.check, begin=lambda step: None)
        outcomes = _followed(found, TransferProgress(remote, transfers, watch.display), watch)
    lost = {
        each.step.start.date() for each in outcomes if each.reason is Reason.COPY_LOST and each.step.start
    }
    offsite_state.change_due(pipeline.trees.state, plan.policy.remote, add=lost)
    return _reported(pipeline, plan, outcomes, (), transfers.ended_by, watch.stop)


def _followed(
    found: Iterable[Outcome | None], progress: TransferProgress, watch: Watch
) -> tuple[Outcome, ...]:
    outcomes = []
    for outcome in found:
        if outcome is None:
            progress.look()
            continue
        outcomes.append(outcome)
        progress.done(outcome.step.size)
        watch.on_outcome(outcome)
    return tuple(outcomes)


def _reported(
    pipeline: Pipeline,
    plan: Plan[Any, Any],
    outcomes: tuple[Outcome, ...],
    problems: Iterable[Problem],
    ended_by: RemoteError | None,
    stop: Stop,
) -> Report:
    """The report with what went wrong; a remote that took nothing at all refused the run."""
    refused = plan.refused
    if ended_by is not None:
        problems = (*problems, failure(ended_by)[0])
        if not any(each.result is Result.DONE for each in outcomes):
            refused = exit_code(ended_by.trouble)
    told = replace(plan, problems=(*plan.problems, *problems), refused=refused)
    return pipeline.report(told, outcomes, stop)


class _SyncRun:
    """One run over the steps of a plan of `offsite sync`."""

    def __init__(
        self, pipeline: Pipeline, plan: OffsitePlan, settings: TransferSettings, remote: Remote, stop: Stop
    ) -> None:
        self._plan = plan
        self._stop = stop
        self._failures = offsite_state.failures(pipeline.trees.state)
        self._uploads = StagedUploads(remote, pipeline.run, pipeline.trees.archive)
        verifier = CopyVerifier(remote, settings.verify)
        self._copier = ArchiveCopier(pipeline, remote, self._uploads, verifier, stop.event)
        self._manifests = ManifestWriter(pipeline, remote, self._uploads)
        self.transfers = Transfers(
            remote,
            stop,
            max_runtime=settings.max_runtime,
            failures=self._failures,
            now=pipeline.now,
        )
        self.problems: list[Problem] = []

    @property
    def ended_by(self) -> RemoteError | None:
        """What kept every further copy from the remote."""
        return self.transfers.ended_by

    def outcomes(self) -> Iterator[Outcome | None]:
        """Each step's outcome as it comes, and None now and then while there is none."""
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
            yield outcome
            if time.monotonic() - written > MANIFEST_SECONDS:
                self._write_manifests()
                written = time.monotonic()
        if not self._stop and self.ended_by is None:
            self._write_manifests()
        self._failures.flush()

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
