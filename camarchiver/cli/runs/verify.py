"""One run of `verify`: check, report, and with `--repair` plan, show, ask, do, report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from camarchiver.archive import executor, recovery
from camarchiver.archive.again import repair
from camarchiver.archive.executor import FurtherRestores
from camarchiver.cleanup import offsite_restore
from camarchiver.cleanup.offsite_copies import OffsiteAccess
from camarchiver.cleanup.offsite_restore import OffsiteRestorer
from camarchiver.cli.runs.archive import ArchiveOptions
from camarchiver.cli.session import TreeOptions, agreed, may_ask, running, show, write
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.steps import DAMAGED, Restore
from camarchiver.errors import CamarchiverError, Declined, Problem, UsageError
from camarchiver.journal.lookup import JournalDays
from camarchiver.journal.writer import JournalWriter
from camarchiver.media import ffmpeg_find
from camarchiver.monitoring.channels import Channels
from camarchiver.monitoring.run_events import RunEvents, RunPart, open_run_events
from camarchiver.naming.patterns import Names
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.transfers import TransferProgress
from camarchiver.output import checks_text
from camarchiver.output import text as text_output
from camarchiver.output.json import answers, document
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy
from camarchiver.queries.verify import Verified, Verifier, VerifyFinding, task_for
from camarchiver.runtime import signals
from camarchiver.runtime.formatting import count_of, shown
from camarchiver.runtime.progress import Display, display
from camarchiver.state import findings, volume_marker
from camarchiver.state.findings_log import FindingsLog
from camarchiver.state.verify_checkpoint import Asked
from camarchiver.storage import linux, removal


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """The command line of `verify`, parsed."""

    place: TreeOptions
    asked: Asked
    anew: bool
    repair: bool
    dry_run: bool
    no_confirm: bool
    ffmpeg: Path | None
    log_file: Path | None
    channels: Channels
    as_json: bool
    quiet: bool
    verbose: bool
    encoding: Callable[[], ArchiveOptions]
    """How `archive` would encode here."""
    access: Callable[[], OffsiteAccess]
    """How off-site copies are reached."""

    @property
    def prints_progress(self) -> bool:
        """Whether more than the findings is printed."""
        return not (self.quiet or self.as_json)


@dataclass(frozen=True, slots=True)
class _Done:
    """The results of a run."""

    found: Verified
    result: Report
    plan: Plan[Any, ArchivePolicy] | None
    dry_run: bool

    def document(self) -> Iterator[str]:
        more: dict[str, Any] = {}
        if self.plan is not None:
            more = {"dry_run": self.dry_run, "notes": list(self.plan.notes)}
        return answers.verified(self.found, self.result, self.plan, more)

    def part(self) -> RunPart:
        return RunPart(self.result, self.plan.totals if self.plan else (), self.result.exit_code)


def verify_session(options: VerifyOptions, conventions: Conventions) -> int:
    """Run `verify` and return its exit code."""
    if options.repair and options.dry_run:
        pipeline = _pipeline(options, conventions)
        with signals.on_signals() as stopping:
            done = _run(options, pipeline, conventions, stopping)
        return _print_document(options, done)
    with open_run_events(
        options.channels, "verify", document.failure_document, source=str(options.place.trees().source)
    ) as events:
        pipeline = _pipeline(options, conventions)
        if options.repair:
            done = _run_repair(options, pipeline, conventions, events)
        else:
            with signals.on_signals() as stopping:
                events.started(pipeline.trees)
                done = _run(options, pipeline, conventions, stopping)
        events.reported(done.result.exit_code, (done.part(),), done.document())
    return _print_document(options, done)


def _pipeline(options: VerifyOptions, conventions: Conventions) -> Pipeline:
    return Pipeline(options.place.trees(), options.place.zone(), "verify", conventions)


def _print_document(options: VerifyOptions, done: _Done) -> int:
    if options.as_json:
        write(done.document())
    return done.result.exit_code


def _run_repair(
    options: VerifyOptions, pipeline: Pipeline, conventions: Conventions, events: RunEvents
) -> _Done:
    if not (options.no_confirm or may_ask()):
        raise UsageError(
            "verify --repair needs consent and there is no terminal to ask on",
            hint="add -y; nothing was changed",
        )
    volume_marker.check_both(pipeline.trees)
    volume_marker.check_writable(pipeline.trees, removes=False)
    with (
        running(pipeline, options.log_file, options.channels, verbose=options.verbose, quiet=options.quiet),
        signals.on_signals() as stopping,
    ):
        events.started(pipeline.trees)
        recovery.sweep(pipeline, options.encoding().execution().sidecars)
        return _run(options, pipeline, conventions, stopping)


def _run(
    options: VerifyOptions, pipeline: Pipeline, conventions: Conventions, stopping: signals.Stop
) -> _Done:
    found = _verified(options, pipeline, conventions, stopping)
    lines = checks_text.verified_lines(
        found,
        pipeline.zone,
        summary=sys.stderr.isatty() and options.prints_progress,
        all_foreign=options.verbose,
        remedy=""
        if options.repair
        else f"camarchiver verify {text_output.place_words(pipeline.trees)} --known --repair",
    )
    if not options.as_json:
        show(lines)
    if stopping and options.prints_progress:
        words = "; the same command goes on from there" if found.is_marked else ""
        click.echo(f"stopped after {found.checked:,} archives{words}", err=True)
    if not options.repair or stopping:
        result = Report("verify", pipeline.run.id, pipeline.started, pipeline.now())
        result = replace(result, stopped_by=stopping.signal, problems=_problems(found, pipeline))
        return _Done(found, result, None, options.dry_run)
    return _repaired(options, pipeline, found, stopping)


def _verified(
    options: VerifyOptions, pipeline: Pipeline, conventions: Conventions, stopping: signals.Stop
) -> Verified:
    """The findings; they are stored unless nothing is to be changed."""
    linux.lower_priority(19)
    decoder = None
    if options.asked.full:
        decoder = max(ffmpeg_find.find(options.ffmpeg), key=lambda each: each.version).path
    state, journal = pipeline.trees.state, pipeline.journal
    known = findings.read(state).damaged
    task = task_for(options.asked, state, pipeline.run.id, known, anew=options.anew)
    if task.mark is not None and options.prints_progress:
        click.echo(checks_text.resumed_line(task.mark), err=True)
    writer = JournalWriter(journal, pipeline.run, pipeline.now)
    verifier = Verifier(
        pipeline.trees,
        journal,
        JournalDays(Names(conventions.patterns), journal),
        task,
        FindingsLog(state, journal, writer, known, is_kept=not options.dry_run),
        stop=stopping.event,
        ffmpeg=decoder,
    )
    shows_progress = options.prints_progress and sys.stderr.isatty()
    with display(verifier.bytes_to_check() if shows_progress else 0, wanted=shows_progress) as bar:
        return verifier.run(bar)


def _repaired(options: VerifyOptions, pipeline: Pipeline, found: Verified, stopping: signals.Stop) -> _Done:
    """The result of the repair; in a dry run, what it would do."""
    damaged = [each.expected for each in found.findings if each.expected is not None]
    encoding, access = options.encoding(), options.access()
    execution = encoding.execution()
    planned = repair.plan(pipeline, damaged, stopping)
    # The off-site copy is the last source: reading it may cost money, and takes long.
    back = offsite_restore.repairs(pipeline, damaged, planned.left, access.label)
    planned = repair.without(planned, {step.relative for step in back}) if back else planned
    prepared = executor.prepare(planned, encoding.request(), execution)
    plan = _with_copies(prepared.plan, back)
    on_terminal = sys.stderr.isatty() and options.prints_progress
    asks = bool(plan.steps) and may_ask() and not (options.no_confirm or options.dry_run)
    flaws = {each.expected.archive: str(each.flaw) for each in found.findings if each.expected is not None}
    if asks or (not options.as_json and (options.dry_run or plan.left or on_terminal)):
        lines = checks_text.plan_lines(plan, flaws)
        show(lines, err=not options.dry_run)
    if options.dry_run:
        result = plan.report(pipeline.run.id, ended=pipeline.now())
        problems = *result.problems, *_remaining(found, pipeline, ())
        return _Done(found, replace(result, problems=problems), plan, options.dry_run)
    if asks and not agreed("Go on?", stopping):
        raise Declined
    total = sum(step.size for step in plan.steps)
    with display(total, wanted=on_terminal and bool(plan.steps)) as bar:

        def report_outcome(outcome: Outcome) -> None:
            if options.prints_progress and not on_terminal:
                show((text_output.outcome_line(outcome),))

        def remaining() -> tuple[Problem, ...]:
            left = {kept.relative for kept in plan.left}
            damaged = findings.read(pipeline.trees.state).damaged
            return _remaining(found, pipeline, [archive for archive in damaged if archive not in left])

        # Two names of one file share an archive, which only one step may move aside at a time.
        jobs = 1 if any(step.clip.links > 1 for step in prepared.plan.steps) else execution.jobs
        execution = replace(execution, jobs=jobs)
        result = executor.execute(
            pipeline,
            prepared,
            execution,
            stop=stopping,
            display=bar,
            on_outcome=report_outcome,
            further=FurtherRestores(back, partial(_brought_back, pipeline, access, back, stopping, bar)),
            remaining=remaining,
        )
    if options.prints_progress and (on_terminal or result.outcomes):
        show(text_output.report_lines(result, already_printed=not on_terminal))
    return _Done(found, result, plan, options.dry_run)


def _with_copies(plan: ArchivePlan, back: Sequence[Restore]) -> Plan[Any, ArchivePolicy]:
    """The plan with the steps from off-site copies, for showing."""
    shown_plan: Plan[Any, ArchivePolicy] = plan
    steps, tally = (*plan.steps, *back), Tally()
    for step in (*steps, *plan.left):
        tally.add(step)
    return replace(shown_plan, steps=steps, totals=tally.totals())


def _brought_back(
    pipeline: Pipeline,
    access: OffsiteAccess,
    steps: Sequence[Restore],
    stop: signals.Stop,
    bar: Display,
) -> Iterator[Outcome]:
    """What came of the steps from off-site copies; a remote that can't be used fails each of them."""
    if not steps:
        return
    done = set[str]()
    try:
        with remotes.opened(access.rclone) as remote:
            restorer = OffsiteRestorer(pipeline, remote, stop)
            progress = TransferProgress(remote, restorer.transfers, bar)
            for outcome in restorer.run(steps):
                if outcome is None:
                    progress.look()
                    continue
                done.add(outcome.step.relative)
                progress.done(outcome.step.size)
                yield outcome
        ended_by: CamarchiverError | None = restorer.transfers.ended_by
    except CamarchiverError as error:
        ended_by = error
    if ended_by is not None:
        yield from (removal.outcome_of(step, ended_by) for step in steps if step.relative not in done)


def _remaining(found: Verified, pipeline: Pipeline, damaged: Iterable[str]) -> tuple[Problem, ...]:
    """What is still wrong: `damaged` archives, and findings that concern no archive."""
    left = set(damaged)
    rest = tuple(each for each in found.findings if each.expected is None or each.expected.archive in left)
    return _problems(replace(found, findings=rest), pipeline)


def _problems(found: Verified, pipeline: Pipeline) -> tuple[Problem, ...]:
    """One sentence for each problem, for the report; the findings themselves are listed elsewhere."""
    archives = [each for each in found.findings if each.expected is not None]
    others = [each for each in found.findings if each.expected is None]
    problems = []
    if archives:
        words = f"{count_of(len(archives), 'archive')} missing or damaged: {_first(archives)}"
        remedy = f"camarchiver verify {shown(pipeline.trees.source)} --known --repair"
        problems.append(Problem(DAMAGED, words, remedy))
    if others:
        words = f"{count_of(len(others), 'flaw')} in the records: {_first(others)}"
        problems.append(Problem("records", words, "see docs/finding.md, or camarchiver doctor"))
    if found.problem:
        problems.append(Problem("state", found.problem, "check the disk, its mount and the file's owner"))
    return tuple(problems)


def _first(found: list[VerifyFinding]) -> str:
    more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"{shown(found[0].path)} ({found[0].flaw}){more}"
