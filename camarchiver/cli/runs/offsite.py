"""The parts of runs that are specific to `offsite`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, conduct, ready_plan
from camarchiver.cli.session import TreeOptions, log_of, run_locked
from camarchiver.domain.clip import Trees
from camarchiver.domain.conventions import Conventions
from camarchiver.errors import UsageError
from camarchiver.offsite import executor, planner, restore_all
from camarchiver.offsite.executor import TransferSettings, Watch
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.restore_all import Manifests
from camarchiver.output import offsite_text
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import CheckPolicy, OffsitePolicy
from camarchiver.runtime.formatting import count_of, shown, size
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker


@dataclass(frozen=True, slots=True)
class OffsiteOptions:
    """What `[offsite]` and the command line say of the remote, parsed."""

    place: TreeOptions
    settings: TransferSettings
    run: RunOptions


def run_sync(options: OffsiteOptions, policy: OffsitePolicy, conventions: Conventions) -> int:
    """Run `offsite sync` and return its exit code. It removes nothing, so without a terminal it runs."""
    source = str(options.place.trees().source)
    return conduct("offsite", options.run, lambda: sync_task(options, policy, conventions), source=source)


def sync_task(options: OffsiteOptions, policy: OffsitePolicy, conventions: Conventions) -> RunTask:
    """The task of a run of `offsite sync`, by itself or after another run."""
    pipeline = _pipeline(options, conventions)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = planner.plan_sync(pipeline, policy, list_all=options.run.lists_all)
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, display, report: executor.sync(
                pipeline, plan, options.settings, Watch(stop, display, report)
            ),
            lines=lambda: offsite_text.plan_lines(plan, verbose=options.run.verbose),
            report_lines=offsite_text.report_lines,
        )

    return _task(pipeline, planned)


def run_verify_copies(options: OffsiteOptions, policy: CheckPolicy, conventions: Conventions) -> int:
    """Run `offsite verify` and return its exit code."""
    source = str(options.place.trees().source)

    def task() -> RunTask:
        pipeline = _pipeline(options, conventions)

        @contextmanager
        def planned(_: Stop) -> Iterator[Ready]:
            plan = planner.plan_verify(pipeline, policy)
            yield ready_plan(
                plan,
                pipeline.run.id,
                lambda stop, display, report: executor.verify(
                    pipeline, plan, options.settings, Watch(stop, display, report)
                ),
                lines=lambda: offsite_text.check_lines(plan, verbose=options.run.verbose),
                report_lines=offsite_text.report_lines,
            )

        return _task(pipeline, planned)

    return conduct("offsite", options.run, task, source=source)


def _pipeline(options: OffsiteOptions, conventions: Conventions) -> Pipeline:
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "offsite", conventions)
    volume_marker.check_both(pipeline.trees)
    _check_apart(pipeline.trees, options.settings.rclone.remote)
    return pipeline


def _check_apart(trees: Trees, remote: str) -> None:
    """Refuse a folder within the trees, or around them, as the remote. Raises UsageError."""
    if not remote.startswith("/"):
        return
    place = Path(remote).resolve()
    for root in (trees.source, trees.archive, trees.trash):
        if place.is_relative_to(root) or root.is_relative_to(place):
            raise UsageError(
                f"{remote} is no other place: {root} lies there",
                hint="name a folder on another disk, or a remote of rclone's config",
            )


def _task(pipeline: Pipeline, planned: Callable[[Stop], AbstractContextManager[Ready]]) -> RunTask:
    return RunTask(
        "offsite",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        trees=pipeline.trees,
    )


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
    return conduct("restore-all", options.run, lambda: _restore_all_task(options, conventions))


def _restore_all_task(options: RestoreAllOptions, conventions: Conventions) -> RunTask:
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
                lambda stop, display, report: restore_all.execute(
                    pipeline, plan, manifests, remote, stop=stop, display=display, on_outcome=report
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
