"""The plan and the report of `cleanup`, and the plan of `restore`, as text for a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from camarchiver.cleanup.plan_notes import BRAKES
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.domain.clip import Disposal
from camarchiver.domain.plan import Total, action_of
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import RemoveLeftover, Restore, Salvage
from camarchiver.errors import Problem
from camarchiver.output.text import changes_of, forecast_lines, not_done_lines, steps_lines
from camarchiver.runtime.formatting import cells, count_of, padded, place_words, shown, size, span

if TYPE_CHECKING:
    # This module imports PyAV, which a plan over three trees doesn't need.
    from camarchiver.record.outbox.cleanup import SpoolPlan


def plan_lines(plan: CleanupPlan, *, verbose: bool) -> Iterator[str]:
    """Per tree, camera and reason: files, hours, bytes, oldest and newest; then what will really be free."""
    trash = "deleted" if plan.policy.disposal is Disposal.DELETE else f"to {shown(plan.trees.trash)}"
    yield f"cleanup of {shown(plan.trees.source)} and {shown(plan.trees.archive)}; old files go {trash}"
    yield from _content(plan, verbose=verbose)


def spool_lines(plan: SpoolPlan, *, verbose: bool) -> Iterator[str]:
    """The same for a recorder's spool and outbox."""
    yield f"cleanup of the spool {shown(plan.policy.spool)} and the outbox {shown(plan.policy.outbox)}"
    yield from _content(plan, verbose=verbose)


def restore_line(step: Restore) -> str:
    """What becomes of one file of the trash or the remote."""
    line = f"{shown(step.relative)}  {size(step.size)}"
    if step.reason is not Reason.NOT_JOURNALLED:
        return line
    return f"{line}  (by its path {shown(step.trash)} in the trash: the journal does not know it)"


def _content(plan: CleanupPlan | SpoolPlan, *, verbose: bool) -> Iterator[str]:
    changes = changes_of(plan)
    yield from steps_lines(plan, _table(changes), lambda step: shown(step.path), verbose=verbose)
    yield ""
    yield from _forecast(plan, changes)
    for note in (*plan.notes, *plan.promises):
        yield f"note: {note}"
    yield from _problem_lines(plan.problems)
    if plan.further:
        yield "ways to free more space, safest first:"
    for more in plan.further:
        words = "loses footage" if more.loses_footage else "then run this cleanup again"
        line = f"camarchiver {more.command} {place_words(plan.trees)} {more.options}"
        yield f"  about {size(more.size):>8}, {words}: {line}"


def _table(changes: Sequence[Total]) -> Iterator[str]:
    rows: dict[tuple[str, str, str, str], list[Total]] = defaultdict(list)
    for total in changes:
        group = total.group
        rows[group.action, group.tree, group.camera or "-", group.reason].append(total)
    camera_width = max(len("camera"), *(cells(shown(camera)) for _, _, camera, _ in rows))
    reason_width = max(len("reason"), *(len(reason) for *_, reason in rows))
    yield (
        f"  {'action':6} {'tree':7} {'camera':{camera_width}} {'reason':{reason_width}}"
        f" {'files':>9} {'footage':>9} {'size':>9}  oldest - newest"
    )
    for (action, tree, camera, reason), totals in sorted(rows.items()):
        files, count = sum(t.clips for t in totals), sum(t.size for t in totals)
        seconds = sum(t.seconds for t in totals)
        days = sorted(t.group.day for t in totals if t.group.day)
        yield (
            f"  {action:6} {tree:7} {padded(shown(camera), camera_width)} {reason:{reason_width}}"
            f" {files:>9,} {span(seconds) if seconds else '?':>9} {size(count):>9}  {_between(days)}"
        )


def _between(days: Sequence[date]) -> str:
    return f"{days[0]} - {days[-1]}" if days else "-"


def _forecast(plan: CleanupPlan | SpoolPlan, changes: Sequence[Total]) -> Iterator[str]:
    if not changes:
        yield "nothing to remove"
        return
    files, count = sum(t.clips for t in changes), sum(t.size for t in changes)
    verb = "salvaged or removed" if any(t.group.action == "salvage" for t in changes) else "removed"
    place = "its tree" if files == 1 else "their trees"
    yield f"{count_of(files, 'file')}, {size(count)} will be {verb} from {place}"
    yield from forecast_lines(plan)


def report_lines(report: Report, *, already_printed: bool) -> Iterator[str]:
    """The end of a run; `already_printed` if each file's line was printed before."""
    if report.stopped_by is not None:
        yield f"stopped by signal {report.stopped_by}; {count_of(report.remaining, 'file')} were not begun"
    for words, outcomes in _done(report.outcomes):
        count = sum(outcome.step.size for outcome in outcomes)
        yield f"{words}: {count_of(len(outcomes), 'file')}, {size(count)}"
    freed = sum(outcome.freed for outcome in report.outcomes)
    if report.outcomes:
        yield f"freed: {size(freed)}"
    yield from not_done_lines(report.outcomes, "left", "file", already_printed=already_printed)
    yield from _problem_lines(report.problems)


def _problem_lines(problems: Iterable[Problem]) -> Iterator[str]:
    for problem in problems:
        yield f"{_kind(problem)}: {problem.message}"
        if problem.hint:
            yield f"  {problem.hint}"


def _kind(problem: Problem) -> str:
    return "refused" if problem.code in BRAKES else "attention"


def _done(outcomes: Iterable[Outcome]) -> list[tuple[str, list[Outcome]]]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.result is Result.DONE:
            verb = "moved to the trash" if action_of(outcome.step) == "trash" else "deleted"
            if isinstance(outcome.step, RemoveLeftover):
                verb = "tidied up"
            elif isinstance(outcome.step, Salvage):
                verb = "salvaged"
            groups[verb].append(outcome)
    return sorted(groups.items())
