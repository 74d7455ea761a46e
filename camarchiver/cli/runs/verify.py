"""The part of a run that is specific to `verify`: a check, and with `--repair` the plan made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import recovery
from camarchiver.cleanup import archive_repair
from camarchiver.cleanup.offsite_copies import OffsiteAccess
from camarchiver.cli.runs.archive import ArchiveOptions
from camarchiver.cli.runs.template import OutcomeReporter, Ready, RunOptions, RunResult, RunTask, run_task
from camarchiver.cli.session import TreeOptions, log_of, run_locked, show
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.plan import Plan
from camarchiver.domain.report import Report
from camarchiver.errors import Problem
from camarchiver.monitoring.run_events import RunPart
from camarchiver.offsite.transfers import RunObserver
from camarchiver.output import checks_text
from camarchiver.output import text as text_output
from camarchiver.output.json import answers
from camarchiver.pipeline import Pipeline
from camarchiver.queries import verified
from camarchiver.queries.verified import Verified
from camarchiver.queries.verify import Verifier, task_for
from camarchiver.runtime.formatting import place_words
from camarchiver.runtime.progress import Display, display
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker
from camarchiver.state.verify_checkpoint import VerifyScope
from camarchiver.storage import linux


class VerifyOptions(Struct, frozen=True):
    """The command line of `verify`, parsed."""

    place: TreeOptions
    asked: VerifyScope
    anew: bool
    repair: bool
    ffmpeg: Path | None
    run: RunOptions
    encoding: Callable[[], ArchiveOptions]
    """How `archive` would encode here."""
    access: Callable[[], OffsiteAccess]
    """How off-site copies are reached."""


def run_verify(options: VerifyOptions, conventions: Conventions) -> int:
    """Run `verify` and return its exit code."""
    source = str(options.place.trees().source)
    return run_task("verify", options.run, lambda: _task(options, conventions), source=source)


def _task(options: VerifyOptions, conventions: Conventions) -> RunTask:
    """A check alone changes only its findings: it needs neither consent nor a lock, and writes no log."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "verify", conventions)
    task = RunTask(
        "verify",
        pipeline.run.id,
        partial(_planned, options, pipeline),
        trees=pipeline.trees,
        planning_heeds_stop=True,
    )
    if not options.repair:
        return task
    return replace(
        task,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        consent="verify --repair",
        check=partial(_check_volumes, pipeline),
        sweep=lambda: recovery.sweep(pipeline, options.encoding().execution().sidecars),
    )


def _check_volumes(pipeline: Pipeline) -> None:
    volume_marker.check_both(pipeline.trees)
    volume_marker.check_writable(pipeline.trees, removes=False)


@contextmanager
def _planned(options: VerifyOptions, pipeline: Pipeline, stop: Stop) -> Iterator[Ready]:
    found = _checked(options, pipeline, stop)
    if options.repair and not stop:
        yield _ready_repair(options, pipeline, found, stop)
    else:
        result = _result(found, verified.reported(pipeline, found, stop), None)
        yield Ready((), tuple, lambda *_: result, lambda: result)


def _checked(options: VerifyOptions, pipeline: Pipeline, stop: Stop) -> Verified:
    """The findings, printed; they are stored unless nothing is to be changed."""
    linux.lower_priority(19)
    run, trees = options.run, pipeline.trees
    task = task_for(pipeline, options.asked, anew=options.anew)
    verifier = Verifier(pipeline, task, stop=stop.event, ffmpeg=options.ffmpeg, is_kept=not run.dry_run)
    if task.mark is not None and not run.is_terse:
        show((checks_text.resumed_line(task.mark),), err=True)
    with display(verifier.bytes_to_check() if run.on_terminal else 0, wanted=run.on_terminal) as bar:
        found = verifier.run(bar)
    # At once: what was found is said even if no repair can be planned.
    if not run.as_json:
        remedy = "" if options.repair else f"camarchiver verify {place_words(trees)} --known --repair"
        show(
            checks_text.verified_lines(
                found, pipeline.zone, summary=run.on_terminal, all_foreign=run.verbose, remedy=remedy
            )
        )
    if stop and not run.is_terse:
        show((checks_text.stopped_line(found),), err=True)
    return found


def _ready_repair(options: VerifyOptions, pipeline: Pipeline, found: Verified, stop: Stop) -> Ready:
    encoding, access = options.encoding(), options.access()
    how = encoding.execution()
    prepared = archive_repair.plan(pipeline, found.damaged, access, encoding.request(), how, stop)
    plan = prepared.plan

    def problems_of(damaged: Collection[str]) -> tuple[Problem, ...]:
        return found.remaining(damaged).problems(pipeline.trees)

    def perform(stop: Stop, bar: Display, report: OutcomeReporter) -> RunResult:
        observer = RunObserver(stop, bar, report)
        done = archive_repair.execute(pipeline, prepared, access, how, observer, problems_of)
        return _result(found, done, plan)

    def preview() -> RunResult:
        report = plan.report(pipeline.run.id, ended=pipeline.now())
        return _result(found, replace(report, problems=(*report.problems, *problems_of(()))), plan)

    return Ready(
        plan.steps,
        lambda: checks_text.plan_lines(plan, found.flaws),
        perform,
        preview,
        is_always_shown=bool(plan.left),
    )


def _result(found: Verified, report: Report, plan: Plan[Any, Any] | None) -> RunResult:
    """The result of a run; without a repair there is no plan, and the findings are its report."""

    def document(more: Mapping[str, Any]) -> Iterable[str]:
        return answers.verified(found, report, plan, more)

    def lines(*, already_printed: bool) -> Iterable[str]:
        return text_output.report_lines(report, already_printed=already_printed) if plan is not None else ()

    totals = plan.totals if plan is not None else ()
    return RunResult(
        report.conclusion,
        document,
        lines,
        prints_unattended=bool(report.outcomes),
        parts=(RunPart(report, totals, report.exit_code),),
    )
