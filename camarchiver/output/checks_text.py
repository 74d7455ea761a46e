"""The findings of `verify`, with the plan of its repair, and those of `doctor`, as text for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from camarchiver.doctor.findings import Finding, Severity
from camarchiver.domain.plan import Plan
from camarchiver.domain.steps import Archive, Restore
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.output.status_text import pass_lines
from camarchiver.output.text import problem_line
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.runtime.formatting import count_of, shown, size

if TYPE_CHECKING:
    from camarchiver.queries.verified import Verified
    from camarchiver.state.verify_checkpoint import VerifyCheckpoint

_AREA = 12
_VERDICT = 5
_MARKS = {Severity.OK: "ok", Severity.NOTE: "note", Severity.BAD: "BAD"}


def plan_lines(plan: Plan[Any, ArchivePolicy], flaws: Mapping[str, str]) -> Iterator[str]:
    """From which copy each archive is made again, and which can't be; `flaws` by path below the archive."""
    yield f"repair of {count_of(len(plan.steps), 'archive')} below {shown(plan.trees.archive)}"
    yield from (f"  encoder: {note}" for note in plan.notes)
    for step in plan.steps:
        if isinstance(step, Archive) and step.replaces is not None:
            archive = step.replaces.archive
            flaw = flaws.get(archive, "damaged")
            yield f"  {shown(archive)} ({flaw}), from {shown(step.path)}, {size(step.size)}"
        elif isinstance(step, Restore) and step.offsite is not None:
            flaw = flaws.get(step.relative, "damaged")
            yield f"  {shown(step.relative)} ({flaw}), from {shown(step.offsite.path)}, {size(step.size)}"
    for kept in plan.left:
        yield f"  left: {shown(kept.relative)}, {REASON_WORDS[kept.reason]}: {shown(kept.detail)}"
    if plan.steps:
        trash = shown(plan.trees.trash / "output")
        yield f"damaged files go to {trash}; sources and trashed copies stay where they are"
    yield from map(problem_line, plan.problems)


def verified_lines(
    found: Verified, zone: tzinfo, *, summary: bool, all_foreign: bool, remedy: str
) -> Iterator[str]:
    """The findings; `summary` adds how much was checked, `all_foreign` lists the foreign files.

    `remedy` is the command that makes damaged archives again; empty if that comes next anyway.
    """
    for each in found.findings:
        yield f"{each.flaw}: {shown(each.path)}: {shown(each.detail)}"
    if remedy and any(each.expected is not None for each in found.findings):
        yield f"{remedy} makes them again, if a copy of their source or an off-site copy is left"
    if all_foreign:
        yield from (f"foreign: {shown(path)}" for path in found.foreign)
    if summary:
        foreign = f", {len(found.foreign):,} foreign" if found.foreign else ""
        yield f"{count_of(found.checked, 'archive')} checked, {len(found.findings):,} off{foreign}"
        yield from pass_lines(found.memory, zone)
    if found.problem:
        yield f"error: {shown(found.problem)}"


def resumed_line(mark: VerifyCheckpoint) -> str:
    """Where an interrupted `verify` continues."""
    return (
        f"goes on where run {mark.run} was interrupted, after {count_of(mark.checked, 'archive')}"
        " (--anew begins again)"
    )


def stopped_line(found: Verified) -> str:
    """How far a `verify` came that a signal stopped."""
    words = "; the same command goes on from there" if found.is_marked else ""
    return f"stopped after {found.checked:,} archives{words}"


class Table:
    """Prints each finding as soon as it is known; `quiet` leaves out everything that is not wrong."""

    def __init__(self, *, quiet: bool) -> None:
        self._wrong = 0
        self._total = 0
        self._quiet = quiet

    def lines(self, finding: Finding) -> Iterator[str]:
        """A line for the finding, and its remedy below it."""
        self._total += 1
        self._wrong += finding.is_wrong
        if self._quiet and not finding.is_wrong:
            return
        duration = f" ({finding.seconds:.1f} s)" if finding.seconds is not None else ""
        yield f"{finding.area:{_AREA}} {_MARKS[finding.verdict]:{_VERDICT}}{shown(finding.message)}{duration}"
        if finding.remedy:
            yield f"{'':{_AREA + _VERDICT + 1}}-> {shown(finding.remedy)}"

    def sum(self) -> str:
        """The last line, with the totals."""
        if self._wrong:
            return f"{self._wrong} of {self._total} are wrong"
        return f"nothing is wrong: {self._total} looked at"
