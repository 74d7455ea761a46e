"""One run of `cleanup` at the terminal or from cron: plan, show, ask, do, report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from camarchiver import cleanup_report, document, locking, report, stop, volume
from camarchiver.clearance import CleanupPlan
from camarchiver.cli.consent import agreed, may_ask, write
from camarchiver.cli.places import Place
from camarchiver.disposal import SidecarPolicy
from camarchiver.errors import UsageError
from camarchiver.logs import logging_to
from camarchiver.model import Outcome, Report
from camarchiver.names import Pattern
from camarchiver.pipeline import Pipeline
from camarchiver.progress import display
from camarchiver.retention import CleanupPolicy


@dataclass(frozen=True, slots=True)
class CleanupOptions:
    """The command line of `cleanup`, parsed."""

    place: Place
    policy: CleanupPolicy
    sidecar: str
    dry_run: bool
    no_confirm: bool
    log_file: Path | None
    as_json: bool
    quiet: bool
    verbose: bool


def cleanup_session(options: CleanupOptions, patterns: tuple[Pattern, ...]) -> int:
    """Run `cleanup` and return its exit code."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "cleanup", patterns)
    volume.check_both(pipeline.trees)
    if not (options.no_confirm or options.dry_run or may_ask()):
        raise UsageError(
            "cleanup needs consent and there is no terminal to ask on", hint="add -y; nothing was changed"
        )
    if options.dry_run:
        plan = pipeline.plan_cleanup(options.policy, list_all=options.verbose or options.as_json)
        result = pipeline.report(plan, ())
        write(_shown(options, plan, result))
        return result.exit_code
    volume.check_writable(pipeline.trees, removes=True)
    log_file = options.log_file or pipeline.trees.source / "archiver.log"
    with (
        logging_to(log_file, run=pipeline.run.id, verbose=options.verbose, quiet=options.quiet),
        locking.exclusive(volume.run_lock(pipeline.trees, "cleanup"), what="cleanup"),
        stop.on_signals() as stopping,
    ):
        pipeline.sweep(SidecarPolicy(options.sidecar))
        plan, result = clear(options, pipeline, stopping)
    if options.as_json:
        write(document.document(result, plan))
    return result.exit_code


def clear(options: CleanupOptions, pipeline: Pipeline, stopping: stop.Stop) -> tuple[CleanupPlan, Report]:
    """Plan, show, ask, do; what came of it is printed unless it is wanted as JSON."""
    plan = pipeline.plan_cleanup(options.policy, list_all=options.as_json)
    on_terminal = sys.stderr.isatty() and not (options.quiet or options.as_json)
    asks = may_ask() and not options.no_confirm and not plan.refused
    if plan.steps and (on_terminal or asks):
        lines = cleanup_report.plan_lines(plan, verbose=options.verbose)
        print("\n".join(lines), file=sys.stderr, flush=True)
    if plan.steps and asks and not agreed(stopping):
        raise click.Abort
    total = sum(step.size for step in plan.steps)
    with display(total, wanted=on_terminal and bool(plan.steps) and not plan.refused) as shown:

        def tell(outcome: Outcome) -> None:
            if not (on_terminal or options.as_json or options.quiet):
                print(report.outcome_line(outcome), flush=True)

        result = pipeline.cleanup(
            plan, SidecarPolicy(options.sidecar), stop=stopping, display=shown, tell=tell
        )
    if not (options.as_json or options.quiet) and (on_terminal or result.outcomes or result.exit_code):
        write(line + "\n" for line in cleanup_report.report_lines(result, told=not on_terminal))
    return plan, result


def _shown(options: CleanupOptions, plan: CleanupPlan, result: Report) -> Iterator[str]:
    if options.as_json:
        yield from document.document(result, plan, {"dry_run": True})
    else:
        yield from (line + "\n" for line in cleanup_report.plan_lines(plan, verbose=options.verbose))
