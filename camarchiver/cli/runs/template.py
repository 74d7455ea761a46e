"""The sequence that every run with a plan goes through: plan, show, ask, do, report, notify."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from camarchiver.cli.session import agreed, may_ask, require_consent, show, write
from camarchiver.domain.clip import Trees
from camarchiver.domain.plan import Plan
from camarchiver.domain.report import Conclusion, Outcome, Report, Status
from camarchiver.errors import CamarchiverError, Declined, ExitCode, Problem, failure
from camarchiver.monitoring.channels import Channels
from camarchiver.output import text as text_output
from camarchiver.runtime import clock, log_setup, signals
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.progress import Display, display
from camarchiver.runtime.signals import Stop

if TYPE_CHECKING:
    from camarchiver.monitoring.run_events import RunEvents, RunPart

_log = logging.getLogger(__name__)

OutcomeReporter = Callable[[Outcome], None]


class RunOptions(Struct, frozen=True):
    """The command-line options that every run has."""

    dry_run: bool
    no_confirm: bool
    as_json: bool
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None
    channels: Channels = field(default_factory=Channels)

    @property
    def lists_all(self) -> bool:
        """Whether the plan is to list every file that is left alone, too."""
        return self.as_json or (self.dry_run and self.verbose)

    @property
    def is_terse(self) -> bool:
        """Whether nothing is printed but the result, or what is wrong."""
        return self.quiet or self.as_json

    @property
    def on_terminal(self) -> bool:
        """Whether a terminal shows plan, progress and report."""
        return sys.stderr.isatty() and not self.is_terse


class ReportLines(Protocol):
    """Makes a report for a person."""

    def __call__(self, *, already_printed: bool) -> Iterable[str]:
        """The lines of the report; `already_printed` says whether every outcome was printed already."""
        ...


class _SizedStep(Protocol):
    @property
    def size(self) -> int:
        """Bytes."""
        ...


class RunResult(Struct, frozen=True):
    """What a run did; for a dry run, what can be said of it beforehand."""

    ended: Conclusion
    document: Callable[[Mapping[str, Any]], Iterable[str]]
    """Its JSON document in pieces, with more keys."""
    lines: ReportLines
    prints_unattended: bool
    """Whether the report is printed even where no terminal shows the progress."""
    parts: tuple[RunPart, ...] = ()
    """Its numbers."""
    warnings: tuple[str, ...] = ()
    """Lines for standard error."""
    promises: tuple[str, ...] = ()
    """Statements about all files; only made if all were examined, none is in doubt and no step is left."""

    @property
    def exit_code(self) -> int:
        """The exit code of the run."""
        return self.ended.exit_code


class Ready(Struct, frozen=True):
    """A plan that can be shown and carried out."""

    steps: Collection[_SizedStep]
    lines: Callable[[], Iterable[str]]
    """The plan for a person; empty if it is not shown."""
    perform: Callable[[Stop, Display, OutcomeReporter], RunResult]
    preview: Callable[[], RunResult] | None = None
    """What a dry run reports; None for a command that has none."""
    question: str = "Go on?"
    is_refused: bool = False
    """Whether a brake forbids carrying it out."""
    notes: Sequence[str] = ()
    """What the plan says of the owner's policy."""
    is_always_shown: bool = False
    """Whether the plan is shown in every run: it leaves something alone that the user asked for."""


class RunTask(Struct, frozen=True):
    """One command's part in the sequence of its run."""

    command: str
    run: str
    """The id of the run."""
    planned: Callable[[Stop], AbstractContextManager[Ready]]
    """Makes the plan, and keeps what its execution needs until the end."""
    planning_heeds_stop: bool = False
    """Whether planning takes long and ends cleanly after a signal, also in a dry run."""
    lock: Callable[[], AbstractContextManager[None]] = nullcontext
    """Keeps a second run of this command out. Raises AlreadyRunning."""
    log_file: Path | None = None
    """Where the run logs unless the command line names another place."""
    trees: Trees | None = None
    """The trees whose state is reported to monitoring."""
    consent: str = ""
    """The action that needs consent, as the refusal names it; empty if nothing does."""
    check_request: Callable[[], object] = lambda: None
    """Refuses a request that fits nothing: that is said before consent is refused."""
    check: Callable[[], None] = lambda: None
    """Refuses a run that can't be carried out, before anything is written."""
    nothing_to_work_on: Callable[[], str] = lambda: ""
    """A sentence if there is nothing to work on and never was: then no log, lock or state is made."""
    sweep: Callable[[], None] = lambda: None
    """Finishes or removes what dead runs left, before anything is planned."""
    following: tuple[IncludedRun, ...] = ()
    """Runs that are part of this one, in their order."""
    preceding: Callable[[], IncludedRun | None] = lambda: None
    """The run that must come first to make room; None if none has to."""


class IncludedRun(Struct, frozen=True):
    """A run that is part of another one and begins before it, or when the other one is done."""

    command: str
    """Also the key under which the other's JSON document holds its own."""
    make: Callable[[], RunTask]
    has_preview: bool = True
    """Whether a dry run shows what it would do."""


def ready_plan(
    plan: Plan[Any, Any],
    run: str,
    execute: Callable[[Stop, Display, OutcomeReporter], Report],
    *,
    lines: Callable[[], Iterable[str]],
    report_lines: Callable[..., Iterable[str]] = text_output.report_lines,
    question: str = "Go on?",
    always_reports: bool = False,
    likely_mistakes: Callable[[], Sequence[str]] = tuple,
    notes: Sequence[str] = (),
) -> Ready:
    """A plan whose execution ends with a report.

    `likely_mistakes` gives lines for a run with nothing to do; they are printed where no user is, too.
    `notes` are what the plan says of the owner's policy; they are logged and printed in every run.
    """

    def finished(report: Report) -> RunResult:
        from camarchiver.monitoring.run_events import RunPart
        from camarchiver.output import no_work_text
        from camarchiver.output.json import document

        is_nothing = report.status is Status.NOTHING and not plan.steps
        mistakes = tuple(likely_mistakes()) if is_nothing else ()
        nothing = (*no_work_text.nothing_lines(plan), *mistakes) if is_nothing else ()

        promises = plan.promised(report)

        def pieces(more: Mapping[str, Any]) -> Iterable[str]:
            why = {"nothing": [line.strip() for line in nothing]} if nothing else {}
            return document.document(report, plan, {**why, **more})

        def own_lines(*, already_printed: bool) -> Iterator[str]:
            yield from report_lines(report, already_printed=already_printed)
            yield from nothing
            said = notes if already_printed and not is_nothing else ()
            yield from (f"note: {shown(note)}" for note in (*said, *promises))

        return RunResult(
            report.conclusion,
            pieces,
            own_lines,
            always_reports or bool(report.outcomes or report.exit_code or mistakes or notes or promises),
            (RunPart(report, plan.totals, report.exit_code),),
            promises=promises,
        )

    return Ready(
        plan.steps,
        lines,
        lambda stop, bar, report: finished(execute(stop, bar, report)),
        lambda: finished(plan.report(run, ended=plan.now)),
        question,
        plan.refused is not None,
        tuple(notes),
    )


def run_task(command: str, options: RunOptions, make: Callable[[], RunTask], **labels: str) -> int:
    """Take a run through its sequence and return its exit code.

    `make` may raise what any command may; monitoring gets the failure under these labels.
    """
    if options.dry_run:
        return _preview(make(), options)
    from camarchiver.monitoring.run_events import open_run_events
    from camarchiver.output.json import document

    with open_run_events(options.channels, command, document.failure_document, **labels) as events:
        return _run_with_events(make(), options, events)


def _preview(task: RunTask, options: RunOptions) -> int:
    """Show what would be done."""
    stopping = signals.on_signals() if task.planning_heeds_stop else nullcontext(Stop())
    with stopping as stop, task.planned(stop) as ready:
        assert ready.preview is not None, f"{task.command} has no dry run"
        result = ready.preview()
        if not options.as_json and (no_work := task.nothing_to_work_on()):
            show((no_work,))
            return result.exit_code
        if (first := task.preceding()) is not None:
            with first.make().planned(Stop()) as earlier:
                assert earlier.preview is not None
                result = _with_following(result, earlier.preview(), first)
                if not options.as_json:
                    show(("first, because room is short:", *earlier.lines(), "", "then:"))
        with ExitStack() as plans:
            shown_too = [each for each in task.following if each.has_preview]
            later = [plans.enter_context(each.make().planned(Stop())) for each in shown_too]
            for following, its in zip(shown_too, later, strict=True):
                assert its.preview is not None
                result = _with_following(result, its.preview(), following)
            _show(result, options, ready, later)
            return result.exit_code


def _show(result: RunResult, options: RunOptions, ready: Ready, later: Sequence[Ready]) -> None:
    if options.as_json:
        write(result.document({"dry_run": True}))
        return
    show(ready.lines())
    for each in later:
        show(("", "afterwards, planned for the trees as they are now:"))
        show(each.lines())


def _run_with_events(task: RunTask, options: RunOptions, events: RunEvents) -> int:
    if task.consent:
        if not (options.no_confirm or may_ask()):
            task.check_request()
        require_consent(task.consent, no_confirm=options.no_confirm)
    if no_work := task.nothing_to_work_on():
        return _report_no_work(task, options, events, no_work)
    task.check()
    with (
        log_setup.logging_to(
            options.log_file or task.log_file,
            run=task.run,
            verbose=options.verbose,
            quiet=options.quiet,
            log_format=options.channels.log_format,
        ),
        task.lock(),
        signals.on_signals() as stop,
    ):
        events.started(task.trees)
        task.sweep()
        before = task.preceding()
        first = _follow(before, options, stop) if before is not None else None
        finished = _carry_out(task, options, stop)
        if before is not None and first is not None:
            finished = _with_following(finished, first, before)
        for following in task.following:
            if not stop:
                finished = _with_following(finished, _follow(following, options, stop), following)
        more = {"dry_run": False}
        events.reported(finished.exit_code, finished.parts, finished.document(more))
        if options.as_json:
            write(finished.document(more))
        return finished.exit_code


def _report_no_work(task: RunTask, options: RunOptions, events: RunEvents, no_work: str) -> int:
    """The report of a run that has nothing to work on; it writes nothing."""
    with task.planned(Stop()) as ready:
        assert ready.preview is not None, f"{task.command} has no preview"
        result = ready.preview()
    more = {"dry_run": False, "nothing": [no_work]}
    events.reported(result.exit_code, result.parts, result.document(more))
    if options.as_json:
        write(result.document(more))
    elif not options.quiet:
        show((no_work,))
    return result.exit_code


def _carry_out(task: RunTask, options: RunOptions, stop: Stop) -> RunResult:
    """Plan, show, ask, do; the result is printed unless it is wanted as JSON."""

    def report_outcome(outcome: Outcome) -> None:
        if not (options.on_terminal or options.is_terse):
            show((text_output.outcome_line(outcome),))

    with task.planned(stop) as ready:
        for note in ready.notes:
            _log.info("note: %s", note)
        _ask(ready, options, stop)
        draws_progress = options.on_terminal and bool(ready.steps) and not ready.is_refused
        total = sum(step.size for step in ready.steps) if draws_progress else 0
        with display(total, wanted=draws_progress) as bar:
            finished = ready.perform(stop, bar, report_outcome)
    for promise in finished.promises:
        _log.info("note: %s", promise)
    if not options.as_json:
        show(finished.warnings, err=True)
        if not options.quiet and (options.on_terminal or finished.prints_unattended):
            show(finished.lines(already_printed=not options.on_terminal))
    return finished


def _ask(ready: Ready, options: RunOptions, stop: Stop) -> None:
    """Show the plan to the user and ask for consent. Raises Declined if the user refuses."""
    asks = may_ask() and not options.no_confirm and not ready.is_refused
    is_shown = bool(ready.steps) and (options.on_terminal or asks)
    is_shown = is_shown or (ready.is_always_shown and not options.as_json)
    if is_shown and (lines := list(ready.lines())):
        show(lines, err=True)
    if ready.steps and asks and not agreed(ready.question, stop):
        raise Declined


def _follow(following: IncludedRun, options: RunOptions, stop: Stop) -> RunResult:
    """A run after another one; its failure does not affect what the first one did."""
    try:
        task = following.make()
        with log_setup.within(task.run), task.lock():
            return _carry_out(task, options, stop)
    except (CamarchiverError, OSError) as error:
        problem, exit_code = failure(error)
        if not options.as_json:
            show((f"camarchiver: {following.command}: {problem.message}", f"  {problem.hint}"), err=True)
        return _failed_before_plan(following.command, problem, exit_code)


def _failed_before_plan(command: str, problem: Problem, exit_code: ExitCode) -> RunResult:
    from camarchiver.monitoring.run_events import RunPart
    from camarchiver.output.json import document

    now = clock.now(UTC)
    report = Report(command, "", now, now, problems=(problem,))
    return RunResult(
        report.conclusion._replace(exit_code=exit_code),
        lambda more: (document.failure_document(command, problem, exit_code),),
        lambda *, already_printed: (),
        prints_unattended=False,
        parts=(RunPart(report, (), exit_code),),
    )


def _with_following(own: RunResult, after: RunResult, following: IncludedRun) -> RunResult:
    """Both results as one; its document holds the other's."""
    ended = own.ended.followed_by(after.ended)

    def document(more: Mapping[str, Any]) -> Iterable[str]:
        other = json.loads("".join(after.document({})))
        # If a third run follows, `more` says how all of them ended.
        return own.document({**ended._asdict(), following.command: other, **more})

    return RunResult(
        ended,
        document,
        own.lines,
        own.prints_unattended,
        (*own.parts, *after.parts),
    )
