"""The part of a run that is specific to `offsite restore-all`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, conduct, ready_plan
from camarchiver.cli.session import TreeOptions, log_of, run_locked
from camarchiver.domain.conventions import Conventions
from camarchiver.offsite import restore_all
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.restore_all import Manifests
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.formatting import count_of, shown, size
from camarchiver.runtime.signals import Stop


@dataclass(frozen=True, slots=True)
class RestoreAllOptions:
    """The command line of `offsite restore-all`, parsed."""

    place: TreeOptions
    rclone: RcloneSettings
    run: RunOptions


def run_restore_all(options: RestoreAllOptions, conventions: Conventions) -> int:
    """Run `offsite restore-all` and return its exit code."""
    if not options.run.dry_run:
        options.place.directory.mkdir(parents=True, exist_ok=True)
    return conduct("restore-all", options.run, lambda: _task(options, conventions))


def _task(options: RestoreAllOptions, conventions: Conventions) -> RunTask:
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "restore-all", conventions)
    restore_all.check_empty(pipeline)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        with remotes.opened(options.rclone) as remote:
            manifests = Manifests(remote)
            plan = restore_all.plan(pipeline, manifests, remote.label)
            total = sum(step.size for step in plan.steps)
            count = count_of(len(plan.steps), "archive")
            yield ready_plan(
                plan,
                pipeline.run.id,
                lambda stop, shown_, report: restore_all.execute(
                    pipeline, plan, manifests, remote, stop=stop, display=shown_, on_outcome=report
                ),
                lines=lambda: (
                    f"restore {count}, {size(total)}: {shown(remote.label)} -> {shown(plan.trees.archive)}",
                    *(f"  {shown(step.relative)}" for step in (plan.steps if options.run.verbose else ())),
                ),
                question=f"Restore {count}?",
                always_reports=True,
            )

    return RunTask(
        "restore-all",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        consent="restore-all",
    )
