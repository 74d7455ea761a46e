"""The parts of runs that are specific to `offsite`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, conduct, ready_plan
from camarchiver.cli.session import TreeOptions, log_of, run_locked
from camarchiver.domain.conventions import Conventions
from camarchiver.offsite import executor, planner
from camarchiver.offsite.executor import SyncSettings
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.verification import VerifyMethod
from camarchiver.output import offsite_text
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import OffsitePolicy
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """The command line of `offsite sync`, parsed."""

    place: TreeOptions
    policy: OffsitePolicy
    rclone: RcloneSettings
    method: VerifyMethod
    max_runtime: timedelta | None
    run: RunOptions

    def settings(self) -> SyncSettings:
        """How copies are made."""
        return SyncSettings(self.rclone, self.method, self.max_runtime)


def run_sync(options: SyncOptions, conventions: Conventions) -> int:
    """Run `offsite sync` and return its exit code. It removes nothing, so without a terminal it runs."""
    source = str(options.place.trees().source)
    return conduct("offsite", options.run, lambda: sync_task(options, conventions), source=source)


def sync_task(options: SyncOptions, conventions: Conventions) -> RunTask:
    """The task of a run of `offsite sync`, by itself or after another run."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "offsite", conventions)
    volume_marker.check_both(pipeline.trees)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = planner.plan(pipeline, options.policy, list_all=options.run.lists_all)
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, shown, report: executor.execute(
                pipeline, plan, options.settings(), stop=stop, display=shown, on_outcome=report
            ),
            lines=lambda: offsite_text.plan_lines(plan, verbose=options.run.verbose),
            report_lines=offsite_text.report_lines,
        )

    return RunTask(
        "offsite",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        trees=pipeline.trees,
    )
