"""Carries out a plan of `offsite sync`: several archives at a time, each copied, verified and journalled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import Copy
from camarchiver.errors import CamarchiverError, Problem, failure, sentence
from camarchiver.offsite.copier import ArchiveCopier
from camarchiver.offsite.manifest_writer import ManifestWriter
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings, Remote
from camarchiver.offsite.rclone.trouble import ENDS_RUN, RemoteError, exit_code
from camarchiver.offsite.uploads import StagedUploads
from camarchiver.offsite.verification import CopyVerifier, VerifyMethod
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import OffsitePlan
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state import offsite_state
from camarchiver.state.failures import Failures
from camarchiver.storage import removal

_log = logging.getLogger(__name__)

TRANSFERS = 4
"""Archives on the way at once, as rclone's own default: most of the time is waiting for the server."""

MANIFEST_SECONDS = 600.0
"""How long a copy may be without a manifest that names it: the machine may be lost before the run ends."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """How copies are made."""

    rclone: RcloneSettings
    verify: VerifyMethod = VerifyMethod.AUTO
    max_runtime: timedelta | None = None
    """After this no further copy is begun."""


def execute(
    pipeline: Pipeline,
    plan: OffsitePlan,
    settings: SyncSettings,
    *,
    stop: Stop,
    display: Display,
    on_outcome: Callable[[Outcome], None],
) -> Report:
    """Carry out a plan; rclone is started only if there is something to do.

    Raises RemoteError or ConfigError if the remote can't be used at all.
    """
    due = offsite_state.due_manifests(pipeline.trees.state, plan.policy.remote)
    if not plan.steps and not due:
        return pipeline.report(plan, (), stop)
    failures = offsite_state.failures(pipeline.trees.state)
    with remotes.opened(settings.rclone) as remote:
        run = _SyncRun(pipeline, plan, settings, remote, failures, stop)
        outcomes = []
        for outcome in run.outcomes():
            outcomes.append(outcome)
            display.done(outcome.step.size)
            on_outcome(outcome)
    failures.flush()
    return pipeline.report(_with_problems(plan, run.problems, outcomes, run.ended_by), tuple(outcomes), stop)


def _with_problems(
    plan: OffsitePlan, problems: Iterable[Problem], outcomes: Iterable[Outcome], ended_by: RemoteError | None
) -> OffsitePlan:
    """The plan with what went wrong; a remote that took nothing at all refused the run."""
    is_refused = ended_by is not None and not any(each.result is Result.DONE for each in outcomes)
    return replace(
        plan,
        problems=(*plan.problems, *problems),
        refused=exit_code(ended_by.trouble) if ended_by is not None and is_refused else plan.refused,
    )


class _SyncRun:
    """One run over the steps of a plan."""

    def __init__(
        self,
        pipeline: Pipeline,
        plan: OffsitePlan,
        settings: SyncSettings,
        remote: Remote,
        failures: Failures,
        stop: Stop,
    ) -> None:
        self._pipeline = pipeline
        self._plan = plan
        self._remote = remote
        self._failures = failures
        self._stop = stop
        self._seconds = settings.max_runtime.total_seconds() if settings.max_runtime else None
        self._began = time.monotonic()
        uploads = StagedUploads(remote, pipeline.run, pipeline.trees.archive)
        verifier = CopyVerifier(remote, settings.verify)
        self._copier = ArchiveCopier(pipeline, remote, uploads, verifier, stop.event)
        self._manifests = ManifestWriter(pipeline, remote, uploads)
        self._uploads = uploads
        self.ended_by: RemoteError | None = None
        """What keeps every further copy from the remote."""
        self.problems: list[Problem] = []

    def outcomes(self) -> Iterator[Outcome]:
        """Each step's outcome as it comes."""
        try:
            self._uploads.sweep()
        except RemoteError as error:
            _log.warning("unfinished uploads of a dead run were not removed: %s", error.message)
        written = time.monotonic()
        for outcome in self._in_threads():
            if outcome is not None:
                # Again: its manifest may have been written while it was on the way.
                self._manifests.due_after(outcome.step.start)
                yield outcome
            if time.monotonic() - written > MANIFEST_SECONDS:
                self._write_manifests()
                written = time.monotonic()
        if not self._stop and self.ended_by is None:
            self._write_manifests()
        if self.ended_by is not None:
            self.problems.append(failure(self.ended_by)[0])

    def _in_threads(self) -> Iterator[Outcome | None]:
        """The outcomes; None now and then while there are none."""
        steps = iter(islice(self._plan.steps, self._plan.policy.limit))
        running: set[Future[Outcome | None]] = set()
        with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="copy") as pool:
            while True:
                while len(running) < TRANSFERS and not self._is_over():
                    step = next(steps, None)
                    if step is None:
                        break
                    self._manifests.due_after(step.start)
                    running.add(pool.submit(self._perform, step))
                if not running:
                    return
                ended, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                if self._stop:
                    # What is on the way may take hours; its staged name is swept by the next run.
                    self._remote.end()
                yield from (future.result() for future in ended)
                yield None

    def _is_over(self) -> bool:
        is_late = self._seconds is not None and time.monotonic() - self._began >= self._seconds
        return bool(self._stop) or self.ended_by is not None or is_late

    def _perform(self, step: Copy) -> Outcome | None:
        """The outcome of one step; None if the run ended before there was one."""
        try:
            with self._stop.busy(step.relative):
                outcome = self._copier.copy(step)
        except RemoteError as error:
            if self._stop:
                return None
            if error.trouble in ENDS_RUN:
                self.ended_by = self.ended_by or error
                return None
            outcome = self._failed(step, error)
        except (OSError, CamarchiverError) as error:
            outcome = self._failed(step, error)
        else:
            self._failures.forget(step.clip)
        return outcome

    def _failed(self, step: Copy, error: OSError | CamarchiverError) -> Outcome:
        outcome = removal.outcome_of(step, error)
        if outcome.result is Result.FAILED:
            self._failures.note(step.clip, outcome.reason, outcome.detail, self._pipeline.now())
        return outcome

    def _write_manifests(self) -> None:
        try:
            self._manifests.write()
        except (OSError, CamarchiverError) as error:
            words = f"the list of what is copied could not be written: {sentence(error)}"
            _log.warning("%s", words)
            problem = Problem("manifest", words, "the next offsite sync tries again")
            if problem not in self.problems:
                self.problems.append(problem)
