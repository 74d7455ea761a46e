"""The part of a run that is specific to `restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from camarchiver.cleanup import restore
from camarchiver.cleanup.restore import Selection
from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, conduct, ready_plan
from camarchiver.cli.session import TreeOptions, log_of, run_locked
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import formatting
from camarchiver.runtime.signals import Stop


def run_restore(selection: Selection, place: TreeOptions, options: RunOptions) -> int:
    """Run `restore` and return its exit code."""
    return conduct("restore", options, lambda: _task(selection, place))


def _task(selection: Selection, place: TreeOptions) -> RunTask:
    pipeline = Pipeline(place.trees(), place.zone(), "restore")

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = restore.plan(pipeline, selection)
        yield ready_plan(
            plan,
            pipeline.run.id,
            lambda stop, _, report: restore.execute(pipeline, plan, stop=stop, on_outcome=report),
            lines=lambda: (
                f"{formatting.shown(step.relative)}  {formatting.size(step.size)}" for step in plan.steps
            ),
            question=f"Restore {formatting.count_of(len(plan.steps), 'clip')}?",
            always_reports=True,
        )

    return RunTask(
        "restore",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        consent="restore",
    )
