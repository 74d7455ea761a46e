"""Plans and reports of `offsite` as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, tzinfo

from camarchiver.domain.plan import Total, action_of
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Report, Result
from camarchiver.offsite.status import OffsiteStatus
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.output.text import changes_of, not_done_lines, problem_line, steps_lines
from camarchiver.policy.offsite_rules import CheckPlan, OffsitePlan
from camarchiver.runtime.formatting import cells, count_of, padded, shown, size, span


def plan_lines(plan: OffsitePlan, *, verbose: bool) -> Iterator[str]:
    """The plan of `offsite sync`."""
    yield f"copy archives of {shown(plan.trees.archive)} -> {shown(plan.policy.remote)}"
    yield from _lines(plan, "to copy", verbose=verbose)


def check_lines(plan: CheckPlan, *, verbose: bool) -> Iterator[str]:
    """The plan of `offsite verify`."""
    yield f"verify copies at {shown(plan.policy.remote)}"
    yield from _lines(plan, "to verify", verbose=verbose)


def _lines(plan: OffsitePlan | CheckPlan, what: str, *, verbose: bool) -> Iterator[str]:
    changes = changes_of(plan)
    yield from steps_lines(plan, _by_reason(changes), verbose=verbose)
    if changes:
        clips, count = sum(total.clips for total in changes), sum(total.size for total in changes)
        yield ""
        yield f"{count_of(clips, 'archive')}, {size(count)} {what}"
    yield from (f"note: {shown(note)}" for note in plan.notes)
    yield from map(problem_line, plan.problems)


def report_lines(report: Report, *, already_printed: bool) -> Iterator[str]:
    """The end of a run of `offsite`."""
    done = [outcome for outcome in report.outcomes if outcome.result is Result.DONE]
    if report.stopped_by is not None:
        yield f"stopped by signal {report.stopped_by}; the next run goes on"
    if done:
        elapsed = span((report.ended - report.started).total_seconds())
        total = size(sum(outcome.step.size for outcome in done))
        yield f"{_DONE[action_of(done[0].step)]}: {count_of(len(done), 'archive')}, {total}, in {elapsed}"
    yield from not_done_lines(report.outcomes, "not done", "archive", already_printed=already_printed)
    if report.remaining:
        yield f"left for the next run: {count_of(report.remaining, 'archive')}"
    for problem in report.problems:
        yield problem_line(problem)


def status_lines(found: OffsiteStatus, zone: tzinfo) -> Iterator[str]:
    """What `offsite status` prints."""
    yield f"off-site copies at {shown(found.remote)}"
    yield ""
    yield from _cameras(found, zone)
    yield ""
    total = found.counts.total
    of = count_of(total.archives, "archive")
    yield f"{total.verified:,} of {of} with a verified copy, {size(total.size)}"
    if total.unverified:
        made = count_of(total.unverified, "copy", "copies")
        yield f"{made} not verified yet: camarchiver offsite sync verifies"
    if total.apart:
        apart = count_of(total.apart, "verified copy", "verified copies")
        yield f"{apart} of archives that are no longer here"
    if found.failed_before:
        failed = count_of(found.failed_before, "archive")
        yield f"{failed} could not be copied: --retry-failed tries them now"
    if found.manifests_due:
        days = count_of(len(found.manifests_due), "day")
        yield f"{days} without the newest manifest: camarchiver offsite sync writes it"
    yield f"last sync of everything without an error: {_moment(found.without_error, zone)}"
    if found.failure is not None:
        yield f"the last sync failed, {_moment(found.failure.at, zone)}: {shown(found.failure.why)}"
    if found.space is not None and found.space.free is not None:
        room = f" of {size(found.space.total)}" if found.space.total is not None else ""
        yield f"free there: {size(found.space.free)}{room}"


def _cameras(found: OffsiteStatus, zone: tzinfo) -> Iterator[str]:
    width = max([6, *(cells(shown(camera)) for camera in found.counts.cameras)])
    columns = f"{'archives':>9} {'verified':>9} {'size':>9} {'without':>9} {'lost':>6}"
    yield f"{'camera':{width}} {columns}  oldest check"
    for camera, counts in found.counts.cameras.items():
        numbers = f"{counts.archives:>9,} {counts.verified:>9,} {size(counts.size):>9} {counts.missing:>9,}"
        oldest = _moment(counts.oldest, zone)
        yield f"{padded(shown(camera), width)} {numbers} {counts.lost:>6,}  {oldest}"


def _moment(moment: datetime | None, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" if moment is not None else "never"


_DONE = {"copy": "copied and verified", "check": "verified"}


def _by_reason(totals: list[Total]) -> Iterator[str]:
    groups: dict[tuple[Reason, str], list[Total]] = defaultdict(list)
    for total in totals:
        groups[total.group.reason, total.group.camera].append(total)
    for (reason, camera), group in sorted(groups.items()):
        clips, count = sum(total.clips for total in group), sum(total.size for total in group)
        yield f"  {clips:>9,}  {shown(camera)}: {REASON_WORDS[reason]} ({reason}), {size(count)}"
