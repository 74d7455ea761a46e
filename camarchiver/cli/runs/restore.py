"""The part of a run that is specific to `restore`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from camarchiver.cleanup import offsite_restore, restore, restore_misses
from camarchiver.cleanup.offsite_copies import OffsiteAccess
from camarchiver.cleanup.restore import RestorePlan, Selection
from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, ready_plan, run_task
from camarchiver.cli.session import TreeOptions, in_trees, log_of, run_locked
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import Outcome, Report
from camarchiver.offsite.rclone import backends
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.transfers import RunObserver
from camarchiver.output import cleanup_text
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import formatting
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop


def run_restore(
    selection: Selection, place: TreeOptions, options: RunOptions, conventions: Conventions
) -> int:
    """Run `restore` and return its exit code."""
    return run_task("restore", options, lambda: _trash_task(selection, place, options, conventions))


def _trash_task(
    selection: Selection, place: TreeOptions, options: RunOptions, conventions: Conventions
) -> RunTask:
    pipeline = Pipeline(place.trees(), place.zone(), "restore", conventions)
    selection = _resolved(selection, pipeline)

    def checked_plan() -> RestorePlan:
        plan = restore.plan(pipeline, selection)
        restore_misses.check(pipeline, plan)
        return plan

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = checked_plan()
        if not plan.steps and not options.as_json:
            print("nothing in the trash could be restored", file=sys.stderr)
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, _, report: restore.execute(pipeline, plan, stop=stop, on_outcome=report),
            lines=lambda: map(cleanup_text.restore_line, plan.steps),
            question=f"Restore {formatting.count_of(len(plan.steps), 'clip')}?",
            always_reports=True,
        )

    return _restore_task(pipeline, planned, checked_plan)


def run_offsite_restore(
    selection: Selection,
    place: TreeOptions,
    options: RunOptions,
    conventions: Conventions,
    access: OffsiteAccess,
) -> int:
    """Run `restore --from-offsite` and return its exit code."""
    return run_task("restore", options, lambda: _offsite_task(selection, place, options, conventions, access))


def _offsite_task(
    selection: Selection,
    place: TreeOptions,
    options: RunOptions,
    conventions: Conventions,
    access: OffsiteAccess,
) -> RunTask:
    backends.check(access.rclone.remote)
    pipeline = Pipeline(place.trees(), place.zone(), "restore", conventions)
    paths = tuple(_below(path, access.label) for path in selection.paths)
    selection = _resolved(replace(selection, paths=paths), pipeline)

    def checked_plan() -> RestorePlan:
        plan = offsite_restore.plan(pipeline, selection, access.label)
        offsite_restore.check(pipeline, plan, access.label)
        return plan

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = checked_plan()

        def execute(stop: Stop, shown: Display, report: Callable[[Outcome], None]) -> Report:
            with remotes.opened(access.rclone) as remote:
                return offsite_restore.execute(pipeline, plan, remote, RunObserver(stop, shown, report))

        yield ready_plan(
            plan,
            pipeline.run.id,
            execute,
            lines=lambda: (f"{cleanup_text.restore_line(step)}  from {access.label}" for step in plan.steps),
            question=f"Restore {formatting.count_of(len(plan.steps), 'archive')} from {access.label}?",
            always_reports=True,
        )

    return _restore_task(pipeline, planned, checked_plan)


def _resolved(selection: Selection, pipeline: Pipeline) -> Selection:
    """The selection with paths within the trees and the whole id of its run. Raises NotFound."""
    paths = tuple(in_trees(path, pipeline.trees) for path in selection.paths)
    run = restore_misses.whole_run_id(pipeline, selection.run) if selection.run else ""
    return replace(selection, paths=paths, run=run)


def _restore_task(
    pipeline: Pipeline,
    planned: Callable[[Stop], AbstractContextManager[Ready]],
    checked_plan: Callable[[], RestorePlan],
) -> RunTask:
    return RunTask(
        "restore",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        consent="restore",
        check_request=checked_plan,
    )


def _below(path: Path, remote: str) -> Path:
    """A path below the archive for one that begins with the remote, as plans and reports print it."""
    text = os.fspath(path)
    return Path(text.removeprefix(remote).lstrip("/")) if text.startswith(remote) else path
