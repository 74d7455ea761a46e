"""The part of a run that is specific to `cleanup`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import recovery
from camarchiver.archive.source_removal import SidecarPolicy
from camarchiver.cleanup import executor, planner
from camarchiver.cleanup.offsite_copies import OffsiteAccess, offsite_copies
from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, ready_plan, run_task
from camarchiver.cli.session import TreeOptions, log_of, nothing_to_work_on, run_locked, unknown_cameras
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import Outcome, Report
from camarchiver.output import cleanup_text
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker


class CleanupOptions(Struct, frozen=True):
    """The command line of `cleanup`, parsed."""

    place: TreeOptions
    policy: CleanupPolicy
    sidecar: str
    run: RunOptions
    offsite: OffsiteAccess


def run_cleanup(options: CleanupOptions, conventions: Conventions) -> int:
    """Run `cleanup` and return its exit code."""
    source = str(options.place.trees().source)
    return run_task("cleanup", options.run, lambda: cleanup_task(options, conventions), source=source)


def cleanup_task(options: CleanupOptions, conventions: Conventions) -> RunTask:
    """The task of a run of `cleanup`. Raises StorageError for trees that have been replaced."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "cleanup", conventions)
    volume_marker.check_both(pipeline.trees)
    sidecars = SidecarPolicy(options.sidecar)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = planner.plan(
            pipeline, options.policy, list_all=options.run.lists_all, remote=options.offsite.label
        )
        asked = {*options.policy.cameras_own, *options.policy.cameras}
        plan = replace(plan, notes=(*plan.notes, *unknown_cameras(pipeline, asked, plan)))

        def execute(stop: Stop, shown: Display, report: Callable[[Outcome], None]) -> Report:
            with offsite_copies(pipeline, options.offsite) as offsite:
                return executor.execute(
                    pipeline, plan, sidecars, offsite, stop=stop, display=shown, on_outcome=report
                )

        yield ready_plan(
            plan,
            pipeline.run.id,
            execute,
            lines=lambda: cleanup_text.plan_lines(plan, verbose=options.run.verbose),
            report_lines=cleanup_text.report_lines,
            likely_mistakes=lambda: tuple(f"note: {note}" for note in plan.notes),
            notes=plan.notes,
        )

    return RunTask(
        "cleanup",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        trees=pipeline.trees,
        consent="cleanup",
        check=lambda: volume_marker.check_writable(pipeline.trees, removes=True),
        nothing_to_work_on=lambda: nothing_to_work_on(pipeline),
        sweep=lambda: recovery.sweep(pipeline, sidecars),
    )
