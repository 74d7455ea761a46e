"""Plans, outcomes and reports as text."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from camarchiver.domain.plan import Plan, Total, action_of
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Encoding, Outcome, Report, Result
from camarchiver.domain.steps import (
    Archive,
    CheckCopy,
    MakeCopy,
    RemoveCopy,
    RemoveLeftover,
    Restore,
    Salvage,
)
from camarchiver.errors import Problem
from camarchiver.output.reasons import REASON_WORDS, REMEDIES
from camarchiver.policy import doubtful_clocks
from camarchiver.runtime.formatting import cells, count_of, padded, shown, size, span

if TYPE_CHECKING:
    from camarchiver.export.exporter import Exported

ROWS = 40
"""Rows of a plan's table; beyond that days are grouped by month, then into one row."""


# --- the plan --------------------------------------------------------------------------------------


class Estimate(Struct, frozen=True):
    """What is known about how long a plan will take."""

    footage_seconds: Mapping[str, float]
    """By camera, estimated from a few of its clips if the names have no length."""
    bytes_per_second: float | None
    """Source bytes that earlier runs processed; None before the first run."""
    night: timedelta
    """How long one night's run may take."""


def plan_lines(plan: Plan[Any, Any], estimate: Estimate, *, verbose: bool) -> Iterator[str]:
    """The plan as text for a person."""
    yield from (f"  encoder: {note}" for note in plan.notes)
    changes = changes_of(plan)
    yield from steps_lines(plan, _table(changes, estimate), verbose=verbose)
    if plan.problems:
        yield ""
        yield from map(problem_line, plan.problems)
    if changes:
        yield ""
        yield _summary(changes, estimate)
    yield from _perhaps_archived(changes)
    yield from _second_generation(changes)
    yield from forecast_lines(plan)


def changes_of(plan: Plan[Any, Any]) -> list[Total]:
    """The totals of what a plan changes."""
    return [total for total in plan.totals if total.group.action != "keep"]


def steps_lines(
    plan: Plan[Any, Any],
    table: Iterable[str],
    place: Callable[[Any], str] = lambda step: shown(step.relative),
    *,
    verbose: bool,
) -> Iterator[str]:
    """What a plan changes, as `table` sums it up, and what it leaves alone and why.

    With `verbose` there is also a line for each file, in which `place` names the file of a step.
    """
    if changes_of(plan):
        yield ""
        yield from table
    left = [total for total in plan.totals if total.group.action == "keep"]
    if left or plan.unread_folders:
        yield ""
        yield "left alone:"
        yield from left_alone(left)
        if plan.unread_folders:
            yield unread_line(plan.unread_folders)
    if verbose:
        yield ""
        for step in plan.steps:
            yield f"  {action_of(step):8} {step.reason:18} {place(step)}"
        for kept in plan.left:
            detail = f"  ({shown(kept.detail)})" if kept.detail else ""
            yield f"  keep     {kept.reason:18} {place(kept)}{detail}"


def forecast_lines(plan: Plan[Any, Any]) -> Iterator[str]:
    """For each disk: what is free now, after the run, and when the trash of this run expires."""
    for disk in plan.forecast:
        about = "about " if disk.is_estimate else ""
        line = (
            f"free at {shown(disk.path)}: {size(disk.free)} now, {about}{size(max(disk.after, 0))} afterwards"
        )
        if disk.freed < 0 and not disk.is_estimate:
            line += f" ({size(-disk.freed)} are taken)"
        elif disk.freed > 0 or not disk.is_estimate:
            line += f" ({size(disk.freed)} are actually freed)"
        if disk.expires is not None and disk.trashed:
            line += f", {about}{size(disk.after + disk.trashed)} when its trash expires on {disk.expires}"
        yield line
        if disk.is_short:
            room = max(disk.free - disk.floor - disk.reserve, 0)
            yield (
                f"  there is room for about {size(room)} of archives, as {size(disk.floor)} stay free"
                " (--min-free) and an archive may at first need as much as its clip; the rest is left for the"
                " next run"
            )


def _perhaps_archived(changes: Sequence[Total]) -> Iterator[str]:
    """Clips of which only a hash will show whether they have an archive."""
    if count := sum(total.clips for total in changes if total.group.reason is Reason.PERHAPS_ARCHIVED):
        yield (
            f"{count:,} of these {'is' if count == 1 else 'are'} as large as a clip of the same time that was"
            " archived before: only what has other bytes is encoded"
        )


def _second_generation(changes: Sequence[Total]) -> Iterator[str]:
    """Clips that are encoded again from an archive."""
    if count := sum(total.clips for total in changes if total.group.reason is Reason.SECOND_GENERATION):
        source, archive = ("source is", "archive") if count == 1 else ("sources are", "archives")
        yield (
            f"{count:,} of these will be a second generation, encoded from the {archive}, as the {source}"
            " gone: that loses some quality"
        )


def _table(changes: Sequence[Total], estimate: Estimate) -> Iterator[str]:
    rows = _rows(changes, estimate)
    width = max(len("camera"), *(cells(shown(row[1])) for row in rows))
    yield f"  {'action':8} {'camera':{width}}  {'when':23} {'clips':>9} {'footage':>9} {'size':>9}"
    for action, camera, when, clips, seconds, count in rows:
        yield (
            f"  {action:8} {padded(shown(camera), width)}  {when:23} {clips:>9,}"
            f" {_footage(seconds):>9} {size(count):>9}"
        )


def _rows(changes: Sequence[Total], estimate: Estimate) -> list[tuple[str, str, str, int, float, int]]:
    """Rows by day if they fit, otherwise by month, otherwise by camera."""
    table: list[tuple[str, str, str, int, float, int]] = []
    of_camera = Counter[str]()
    for total in changes:
        of_camera[total.group.camera] += total.size
    for grain in ("%Y-%m-%d", "%Y-%m", ""):
        groups: dict[tuple[str, str, str], list[Total]] = defaultdict(list)
        for total in changes:
            day = total.group.day or date.min
            groups[(total.group.action, total.group.camera, day.strftime(grain))].append(total)
        table = [
            (
                *key[:2],
                key[2] or _days(group),
                *_sums(group, of_camera[key[1]], estimate.footage_seconds.get(key[1], 0.0)),
            )
            for key, group in sorted(groups.items())
        ]
        if len(table) <= ROWS:
            break
    return table


def _days(group: Sequence[Total]) -> str:
    days = sorted(total.group.day for total in group if total.group.day)
    return f"{days[0]} - {days[-1]}" if days else ""


def _sums(group: Sequence[Total], of_camera: int, seconds: float) -> tuple[int, float, int]:
    """Clips, seconds and bytes; the seconds are the group's share of the guess for its whole camera."""
    clips, count = sum(total.clips for total in group), sum(total.size for total in group)
    named = sum(total.seconds for total in group)
    guessed = seconds * count / of_camera if of_camera else 0.0
    return clips, named or guessed, count


def _footage(seconds: float) -> str:
    return span(seconds) if seconds else "?"


def left_alone(left: Sequence[Total]) -> Iterator[str]:
    """A line for each reason."""
    by_reason: dict[Reason, list[Total]] = defaultdict(list)
    for total in left:
        by_reason[total.group.reason].append(total)
    for reason, group in sorted(by_reason.items()):
        clips, count = sum(total.clips for total in group), sum(total.size for total in group)
        remedy = f"; {REMEDIES[reason]}" if reason in REMEDIES else ""
        yield f"  {clips:>9,}  {REASON_WORDS[reason]} ({reason}), {size(count)}{remedy}"


def unread_line(folders: int) -> str:
    """How many date folders were not read."""
    noun = "day folder" if folders == 1 else "day folders"
    return f"  {folders:>9,}  {noun} too recent to be read; a smaller --age reads them"


def _summary(changes: Sequence[Total], estimate: Estimate) -> str:
    archive = [total for total in changes if total.group.action == "archive"]
    clips, count = sum(total.clips for total in archive), sum(total.size for total in archive)
    parts = []
    if archive:
        parts.append(f"{count_of(clips, 'clip')}, {size(count)} to archive" + _nights(count, estimate))
    removed = sum(total.clips for total in changes) - clips
    if removed:
        parts.append(f"{count_of(removed, 'source')} archived before to remove")
    return "; ".join(parts)


def _nights(count: int, estimate: Estimate) -> str:
    if not estimate.bytes_per_second:
        return ""
    seconds = count / estimate.bytes_per_second
    night = estimate.night.total_seconds()
    if seconds <= night:
        return f", about {span(seconds)}"
    return f", about {-(-seconds // night):.0f} nights at {span(night)}"


# --- outcomes ---------------------------------------------------------------------------------------


def outcome_line(outcome: Outcome) -> str:
    """One clip's result in one line."""
    name = shown(outcome.step.relative)
    return f"{name}: {outcome_words(outcome)}"


def outcome_words(outcome: Outcome) -> str:
    """The result of a step, without the clip's name."""
    detail = f" ({shown(outcome.detail)})" if outcome.detail else ""
    if outcome.result is not Result.DONE:
        words = REASON_WORDS[outcome.reason]
        # "failed" or "held" needs to be said once.
        why = shown(outcome.detail) if words == outcome.result and outcome.detail else f"{words}{detail}"
        return f"{outcome.result}: {why}"
    if (encoding := outcome.encoding) is not None:
        return (
            f"archived {size(encoding.bytes_before)} -> {size(encoding.bytes_after)}"
            f" ({encoding.encoder}, {encoding.seconds:.1f} s){detail}"
        )
    if isinstance(outcome.step, Restore):
        return f"restored{detail}"
    if isinstance(outcome.step, MakeCopy | CheckCopy):
        return f"{'copied' if isinstance(outcome.step, MakeCopy) else 'sound'}{detail}"
    if isinstance(outcome.step, Salvage):
        return f"salvaged to {shown(outcome.target)}" if outcome.target else f"removed{detail}"
    if isinstance(outcome.step, RemoveCopy | RemoveLeftover):
        verb = "moved to the trash" if action_of(outcome.step) == "trash" else "deleted"
        return f"{verb}: {REASON_WORDS[outcome.reason]}{detail}"
    verb = "archived" if isinstance(outcome.step, Archive) else "removed, archived before"
    return f"{verb}{detail}"


def report_lines(report: Report, *, already_printed: bool) -> Iterator[str]:
    """The end of a run for a person; `already_printed` if each clip's line was printed before."""
    encodings = [outcome.encoding for outcome in report.outcomes if outcome.encoding]
    before = sum(encoding.bytes_before for encoding in encodings)
    after = sum(encoding.bytes_after for encoding in encodings)
    elapsed = span(report.seconds)
    if report.stopped_by is not None:
        yield f"stopped by signal {report.stopped_by}; everything begun was put back or finished"
    if encodings:
        saved = f", {100 * (1 - after / before):.0f} % saved" if before else ""
        yield (
            f"archived: {count_of(len(encodings), 'clip')}, {size(before)} -> {size(after)}"
            f"{saved}, in {elapsed}{''.join(_more_for_now(report))}"
        )
        yield from _encoders(report)
        yield from _unencoded(encodings)
    yield from _free_now(report)
    done = [each for each in report.outcomes if each.result is Result.DONE and each.encoding is None]
    restored = sum(isinstance(outcome.step, Restore) for outcome in done)
    if restored:
        yield f"restored: {count_of(restored, 'clip')}"
    if removed := len(done) - restored:
        yield f"removed or taken over: {count_of(removed, 'source')} archived before"
    yield from not_done_lines(report.outcomes, "kept", "clip", already_printed=already_printed)
    if report.remaining:
        yield f"left for the next run: {count_of(report.remaining, 'clip')}"
    for problem in report.problems:
        yield problem_line(problem)


def _more_for_now(report: Report) -> Iterator[str]:
    """What a run has not saved yet, because the sources that it archived are still in the trash."""
    for disk in report.disks:
        if disk.expires is not None and disk.more > 0:
            yield f"; {size(disk.more)} more on this disk until the trash expires on {disk.expires}"


def _free_now(report: Report) -> Iterator[str]:
    """What is free on each disk that the run has written to, or freed."""
    for disk in report.disks:
        if disk.more:
            yield f"free at {shown(disk.path)}: {size(disk.free)} now, {size(disk.free_before)} before"


def _encoders(report: Report) -> Iterator[str]:
    used: dict[str, int] = defaultdict(int)
    for outcome in report.outcomes:
        if outcome.encoding:
            used[" after ".join(reversed(outcome.encoding.levels)) or outcome.encoding.encoder] += 1
    if len(used) > 1:
        yield "  " + ", ".join(f"{count:,} {name}" for name, count in sorted(used.items()))


def _unencoded(encodings: Sequence[Encoding]) -> Iterator[str]:
    """A line for each reason why archives are lossless copies."""
    by_reason: dict[Reason, list[Encoding]] = defaultdict(list)
    for encoding in encodings:
        if encoding.unencoded is not None:
            by_reason[encoding.unencoded].append(encoding)
    for reason, group in sorted(by_reason.items()):
        total = size(sum(encoding.bytes_after for encoding in group))
        yield f"  not encoded: {count_of(len(group), 'clip')}, {total}, {REASON_WORDS[reason]} ({reason})"


def not_done_lines(
    outcomes: Iterable[Outcome], words: str, unit: str, *, already_printed: bool
) -> Iterator[str]:
    """What was not done, by reason; each outcome only if it was not printed when it came."""
    groups: dict[Reason, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.result is not Result.DONE:
            groups[outcome.reason].append(outcome)
    for reason, group in sorted(groups.items()):
        yield f"{words}: {count_of(len(group), unit)}, {REASON_WORDS[reason]}"
        if already_printed:
            continue
        yield from (f"  {outcome_line(outcome)}" for outcome in group[:ROWS])
        if len(group) > ROWS:
            yield f"  and {len(group) - ROWS:,} more (--json lists all)"


# --- export -----------------------------------------------------------------------------------------


def exported_lines(found: Exported, place: Path) -> Iterator[str]:
    """How much was copied, and how to check it."""
    # What it imports takes long, and the other commands print without it.
    from camarchiver.export.exporter import NAME

    if not found.copied:
        yield "nothing was copied" if found.problems else "this hold covers no file that is here now"
        return
    yield from (f"{shown(each.target)}: {shown(each.remark)}" for each in found.copied if each.remark)
    before = sum(each.was_there for each in found.copied)
    total = size(sum(each.size for each in found.copied))
    yield (
        f"{count_of(len(found.copied), 'file')}, {total}, in {shown(place)}"
        + (f" ({before:,} of them were there)" if before else "")
        + (f", {len(found.problems):,} could not be copied as they should" if found.problems else "")
    )
    yield f"to check them: cd {shlex.quote(shown(place))} && b2sum -c {NAME}"


def problem_line(problem: Problem) -> str:
    """What could not be done, and the remedy."""
    kind = "attention" if problem.code == doubtful_clocks.CODE else "error"
    return f"{kind}: {shown(problem.message)}" + (f" ({problem.hint})" if problem.hint else "")
