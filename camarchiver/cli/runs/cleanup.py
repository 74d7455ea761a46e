"""One run of `cleanup` at the terminal or from cron: plan, show, ask, do, report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from camarchiver.archive import recovery
from camarchiver.archive.source_removal import SidecarPolicy
from camarchiver.cleanup import executor, planner
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.cli.session import TreeOptions, agreed, may_ask, running, write
from camarchiver.domain.report import Outcome, Report
from camarchiver.errors import CamarchiverError, ExitCode, Problem, UsageError
from camarchiver.monitoring.channels import Channels
from camarchiver.monitoring.run_events import RunEvents, RunPart, attending
from camarchiver.naming.patterns import Pattern
from camarchiver.output import cleanup_text, json_document
from camarchiver.output import text as text_output
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.runtime import log_setup, signals
from camarchiver.runtime.progress import display
from camarchiver.state import volume_marker
from camarchiver.storage import run_lock


@dataclass(frozen=True, slots=True)
class CleanupOptions:
    """The command line of `cleanup`, parsed."""

    place: TreeOptions
    policy: CleanupPolicy
    sidecar: str
    dry_run: bool
    no_confirm: bool
    log_file: Path | None
    channels: Channels
    as_json: bool
    quiet: bool
    verbose: bool


@dataclass(frozen=True, slots=True)
class Cleared:
    """What came of a cleanup, or would come of it."""

    result: Report
    plan: CleanupPlan | None
    """None where it failed before there was one."""
    failed: ExitCode | None = None
    """The exit code of that failure."""

    @property
    def exit_code(self) -> int:
        """That of the run as a whole."""
        return self.result.exit_code if self.failed is None else self.failed

    def part(self) -> RunPart:
        """Its numbers."""
        return RunPart(self.result, self.plan.totals if self.plan else (), self.exit_code)

    def document(self) -> Any:
        """Its JSON document, to stand within that of another command."""
        if self.failed is not None:
            return json.loads(json_document.failure_document("cleanup", self.result.problems[0], self.failed))
        return json.loads("".join(json_document.document(self.result, self.plan)))

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """The plan for a person."""
        if self.plan is not None:
            yield from (line + "\n" for line in cleanup_text.plan_lines(self.plan, verbose=verbose))


def cleanup_session(options: CleanupOptions, patterns: tuple[Pattern, ...]) -> int:
    """Run `cleanup` and return its exit code."""
    if options.dry_run:
        found = foresee(options, patterns)
        if options.as_json:
            write(json_document.document(found.result, found.plan, {"dry_run": True}))
        else:
            write(found.lines(verbose=options.verbose))
        return found.exit_code
    with attending(
        options.channels, "cleanup", json_document.failure_document, source=str(options.place.trees().source)
    ) as attendance:
        return _attended(options, patterns, attendance)


def _attended(options: CleanupOptions, patterns: tuple[Pattern, ...], attendance: RunEvents) -> int:
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "cleanup", patterns)
    volume_marker.check_both(pipeline.trees)
    if not (options.no_confirm or may_ask()):
        raise UsageError(
            "cleanup needs consent and there is no terminal to ask on", hint="add -y; nothing was changed"
        )
    volume_marker.check_writable(pipeline.trees, removes=True)
    verbose, quiet = options.verbose, options.quiet
    with (
        running(pipeline, options.log_file, options.channels, verbose=verbose, quiet=quiet),
        signals.on_signals() as stopping,
    ):
        attendance.started(pipeline.trees)
        recovery.sweep(pipeline, SidecarPolicy(options.sidecar))
        cleared = clear(options, pipeline, stopping)
        pieces = json_document.document(cleared.result, cleared.plan)
        attendance.reported(cleared.exit_code, (cleared.part(),), pieces)
    if options.as_json:
        write(json_document.document(cleared.result, cleared.plan))
    return cleared.exit_code


def foresee(options: CleanupOptions, patterns: tuple[Pattern, ...]) -> Cleared:
    """What a cleanup would do now."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "cleanup", patterns)
    volume_marker.check_both(pipeline.trees)
    plan = planner.plan(pipeline, options.policy, list_all=options.verbose or options.as_json)
    return Cleared(pipeline.report(plan, ()), plan)


def clear(options: CleanupOptions, pipeline: Pipeline, stopping: signals.Stop) -> Cleared:
    """Plan, show, ask, do; what came of it is printed unless it is wanted as JSON."""
    plan = planner.plan(pipeline, options.policy, list_all=options.as_json)
    on_terminal = sys.stderr.isatty() and not (options.quiet or options.as_json)
    asks = may_ask() and not options.no_confirm and not plan.refused
    if plan.steps and (on_terminal or asks):
        lines = cleanup_text.plan_lines(plan, verbose=options.verbose)
        print("\n".join(lines), file=sys.stderr, flush=True)
    if plan.steps and asks and not agreed(stopping):
        raise click.Abort
    total = sum(step.size for step in plan.steps)
    with display(total, wanted=on_terminal and bool(plan.steps) and not plan.refused) as shown:

        def tell(outcome: Outcome) -> None:
            if not (on_terminal or options.as_json or options.quiet):
                print(text_output.outcome_line(outcome), flush=True)

        sidecars = SidecarPolicy(options.sidecar)
        result = executor.execute(pipeline, plan, sidecars, stop=stopping, display=shown, tell=tell)
    if not (options.as_json or options.quiet) and (on_terminal or result.outcomes or result.exit_code):
        write(line + "\n" for line in cleanup_text.report_lines(result, told=not on_terminal))
    return Cleared(result, plan)


def clear_after(options: CleanupOptions, patterns: tuple[Pattern, ...], stopping: signals.Stop) -> Cleared:
    """The cleanup after archiving, as a run of its own; a failure of it spoils nothing that was done."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "cleanup", patterns)
    try:
        volume_marker.check_both(pipeline.trees)
        with (
            log_setup.within(pipeline.run.id),
            run_lock.exclusive(volume_marker.run_lock(pipeline.trees, "cleanup"), what="cleanup"),
        ):
            return clear(options, pipeline, stopping)
    except CamarchiverError as error:
        problem = Problem(error.code, error.message, error.hint)
        if not options.as_json:
            print(f"camarchiver: cleanup: {error.message}\n  {error.hint}", file=sys.stderr)
        result = Report("cleanup", pipeline.run.id, pipeline.started, pipeline.now(), problems=(problem,))
        return Cleared(result, None, error.exit_code)
