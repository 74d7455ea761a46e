"""One run of `cleanup --spool` at the terminal or from cron: plan, show, ask, do, report."""

from __future__ import annotations

import secrets
import sys
from dataclasses import replace
from datetime import datetime

import click

from camarchiver.cli.commands.cleanup import SpoolOptions
from camarchiver.cli.session import agreed, may_ask, write
from camarchiver.domain.report import Outcome, Report
from camarchiver.errors import UsageError
from camarchiver.monitoring.run_events import RunEvents, RunPart, attending
from camarchiver.output import cleanup_text, json_document
from camarchiver.output import text as text_output
from camarchiver.record.outbox import cleanup as outbox_cleanup
from camarchiver.record.outbox import store as outbox_store
from camarchiver.record.outbox.cleanup import SpoolPlan, SpoolPolicy
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.runtime import clock, signals
from camarchiver.runtime.log_setup import logging_to
from camarchiver.storage import run_lock


def spool_session(options: SpoolOptions) -> int:
    """Run `cleanup --spool` and return its exit code."""
    if options.dry_run:
        now, run, policy = _begun(options)
        return _show(options, outbox_cleanup.plan(policy, now), run)
    with attending(
        options.channels, "cleanup", json_document.failure_document, spool=str(options.spool)
    ) as attendance:
        return _attended(options, attendance)


def _begun(options: SpoolOptions) -> tuple[datetime, str, SpoolPolicy]:
    """This moment, the run's name and what is to be kept. Raises UsageError."""
    if options.max_storage == 0:
        raise UsageError("--max-storage 0 would keep nothing", hint="leave it out, or name a size as 50GB")
    if not (options.no_confirm or options.dry_run or may_ask()):
        raise UsageError(
            "cleanup needs consent and there is no terminal to ask on", hint="add -y; nothing was changed"
        )
    now = clock.now(clock.zone(options.timezone))
    run = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    terms = OutboxLimits(options.keep_days, options.max_storage)
    return now, run, SpoolPolicy(options.spool, options.outbox, terms, frozenset(options.cameras))


def _attended(options: SpoolOptions, attendance: RunEvents) -> int:
    now, run, policy = _begun(options)
    outbox_cleanup.plan(policy, now)  # raises where the folders can't be meant, before anything is made
    outbox_store.make_state(options.outbox)
    log_file = options.log_file or options.spool / "recorder.log"
    with (
        logging_to(
            log_file,
            run=run,
            verbose=options.verbose,
            quiet=options.quiet,
            log_format=options.channels.log_format,
        ),
        run_lock.exclusive(outbox_store.state(options.outbox) / "cleanup.lock", what="cleanup"),
        signals.on_signals() as stopping,
    ):
        attendance.started()
        plan = outbox_cleanup.plan(policy, now)
        result = _run(options, plan, run, stopping)
        part = RunPart(result, plan.totals, result.exit_code)
        attendance.reported(result.exit_code, (part,), json_document.document(result, plan))
        return result.exit_code


def _show(options: SpoolOptions, plan: SpoolPlan, run: str) -> int:
    result = _report(plan, run, (), plan.now)
    if options.as_json:
        write(json_document.document(result, plan, {"dry_run": True}))
    else:
        write(line + "\n" for line in _lines(options, plan))
    return result.exit_code


def _run(options: SpoolOptions, plan: SpoolPlan, run: str, stopping: signals.Stop) -> Report:
    on_terminal = sys.stderr.isatty() and not (options.quiet or options.as_json)
    asks = may_ask() and not options.no_confirm
    if plan.steps and (on_terminal or asks):
        print("\n".join(_lines(options, plan)), file=sys.stderr, flush=True)
    if plan.steps and asks and not agreed(stopping):
        raise click.Abort
    outcomes = []
    for outcome in outbox_cleanup.perform(plan, plan.now, stopping.event):
        outcomes.append(outcome)
        if not (on_terminal or options.as_json or options.quiet):
            print(text_output.outcome_line(outcome), flush=True)
    ended = clock.now(clock.zone(options.timezone))
    result = _report(plan, run, tuple(outcomes), ended, signal=stopping.signal)
    if options.as_json:
        write(json_document.document(result, plan))
    elif not options.quiet and (on_terminal or result.outcomes or result.exit_code):
        write(line + "\n" for line in cleanup_text.report_lines(result, told=not on_terminal))
    return result


def _lines(options: SpoolOptions, plan: SpoolPlan) -> list[str]:
    shown = plan if options.verbose else replace(plan, left=())
    return list(cleanup_text.spool_lines(shown, verbose=options.verbose))


def _report(
    plan: SpoolPlan, run: str, outcomes: tuple[Outcome, ...], ended: datetime, *, signal: int | None = None
) -> Report:
    return Report(
        command=plan.command,
        run=run,
        started=plan.now,
        ended=ended,
        outcomes=outcomes,
        unreadable=plan.found_unreadable,
        remaining=len(plan.steps) - len(outcomes) if signal else 0,
        stopped_by=signal,
    )
