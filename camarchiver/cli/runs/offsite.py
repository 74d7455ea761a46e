"""The parts of runs that are specific to `offsite`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Generic

from msgspec import Struct

from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, ready_plan, run_task
from camarchiver.cli.session import TreeOptions, log_of, run_locked
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import Report
from camarchiver.offsite import executor, planner, restore_all
from camarchiver.offsite.executor import PlanT, TransferSettings
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.remote import RcloneSettings
from camarchiver.offsite.remote_guard import check_apart
from camarchiver.offsite.restore_all import Manifests
from camarchiver.offsite.transfers import RunObserver
from camarchiver.output import offsite_text
from camarchiver.output.text import problem_line
from camarchiver.pipeline import Pipeline
from camarchiver.policy.offsite_rules import CheckPolicy, OffsitePolicy
from camarchiver.runtime.formatting import count_of, shown, size
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker


class OffsiteOptions(Struct, frozen=True):
    """What `[offsite]` and the command line say of the remote, parsed."""

    place: TreeOptions
    settings: TransferSettings
    run: RunOptions


def run_sync(options: OffsiteOptions, policy: OffsitePolicy, conventions: Conventions) -> int:
    """Run `offsite sync` and return its exit code. It removes nothing, so without a terminal it runs."""
    source = str(options.place.trees().source)
    return run_task("offsite", options.run, lambda: sync_task(options, policy, conventions), source=source)


def sync_task(options: OffsiteOptions, policy: OffsitePolicy, conventions: Conventions) -> RunTask:
    """The task of a run of `offsite sync`, by itself or after another run."""
    kind = _PlanKind(
        lambda pipeline: planner.plan_sync(pipeline, policy, list_all=options.run.lists_all),
        executor.sync,
        offsite_text.plan_lines,
    )
    return _task(options, conventions, kind)


def run_verify_copies(options: OffsiteOptions, policy: CheckPolicy, conventions: Conventions) -> int:
    """Run `offsite verify` and return its exit code."""
    source = str(options.place.trees().source)
    kind = _PlanKind(
        lambda pipeline: planner.plan_verify(pipeline, policy), executor.verify, offsite_text.check_lines
    )
    return run_task("offsite", options.run, lambda: _task(options, conventions, kind), source=source)


class _PlanKind(Struct, Generic[PlanT], frozen=True):
    """What differs between a run that makes copies and one that verifies them."""

    plan: Callable[[Pipeline], PlanT]
    execute: Callable[[Pipeline, PlanT, TransferSettings, RunObserver], Report]
    lines: Callable[..., Iterable[str]]


def _task(options: OffsiteOptions, conventions: Conventions, kind: _PlanKind[PlanT]) -> RunTask:
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "offsite", conventions)
    volume_marker.check_both(pipeline.trees)
    settings = options.settings
    check_apart(pipeline.trees, settings.rclone.remote)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = kind.plan(pipeline)
        if options.run.dry_run:
            plan = executor.with_remote_note(pipeline, plan, settings.rclone)
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, display, report: kind.execute(
                pipeline, plan, settings, RunObserver(stop, display, report)
            ),
            lines=lambda: kind.lines(plan, verbose=options.run.verbose),
            report_lines=offsite_text.report_lines,
            notes=plan.notes,
        )

    return RunTask(
        "offsite",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        trees=pipeline.trees,
    )


class RestoreAllOptions(Struct, frozen=True):
    """The command line of `offsite restore-all`, parsed."""

    place: TreeOptions
    rclone: RcloneSettings
    run: RunOptions


def run_restore_all(options: RestoreAllOptions, conventions: Conventions) -> int:
    """Run `offsite restore-all` and return its exit code."""
    with ExitStack() as open_:
        return run_task("restore-all", options.run, lambda: _restore_all_task(options, conventions, open_))


def _restore_all_task(options: RestoreAllOptions, conventions: Conventions, open_: ExitStack) -> RunTask:
    """Its plan is made before anything is written: a remote that can't be used leaves no folder here."""
    place = options.place
    pipeline = Pipeline(place.trees(), place.zone(), "restore-all", conventions, may_make_source=True)
    restore_all.check_empty(pipeline)
    remote = open_.enter_context(remotes.opened(options.rclone))
    manifests = Manifests(remote)
    plan = restore_all.plan(pipeline, manifests, remote.label)
    total, count = sum(step.size for step in plan.steps), count_of(len(plan.steps), "archive")

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, display, report: restore_all.execute(
                pipeline, plan, manifests, remote, RunObserver(stop, display, report)
            ),
            lines=lambda: (
                f"restore {count}, {size(total)}: {shown(remote.label)} -> {shown(plan.trees.archive)}",
                *(f"  {shown(step.relative)}" for step in (plan.steps if options.run.verbose else ())),
                *map(problem_line, plan.problems),
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
        check=lambda: pipeline.trees.source.mkdir(parents=True, exist_ok=True),
    )
