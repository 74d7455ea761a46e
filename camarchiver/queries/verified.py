"""What a check of the archive found, as values, and the problems in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.domain.clip import Trees
from camarchiver.domain.damage import Damage, Flaw, RecordFlaw
from camarchiver.domain.report import Report
from camarchiver.domain.steps import DAMAGED
from camarchiver.errors import Problem
from camarchiver.journal.ledger import ExpectedArchive
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.formatting import count_of, place_words, shown
from camarchiver.runtime.signals import Stop
from camarchiver.state.findings import Findings


class VerifyFinding(Struct, frozen=True):
    """Something that is wrong."""

    path: str
    flaw: Flaw | RecordFlaw
    detail: str
    expected: ExpectedArchive | None = None
    """What should be there, if it is an archive."""
    damage: Damage | None = None
    """The record of it, with the time and the run that found it first."""


class Verified(Struct, frozen=True):
    """The result of checking the archive against the journal."""

    checked: int
    foreign: tuple[str, ...]
    """Clips that camarchiver didn't make."""
    findings: tuple[VerifyFinding, ...]
    resumed: int = 0
    """Archives of `checked` that an interrupted run had checked."""
    is_marked: bool = False
    """Whether a later run continues where this one was stopped."""
    memory: Findings = field(default_factory=Findings)
    """The records as they are now, with the last run that checked everything."""
    problem: str = ""
    """Why the findings could not be written down, so that no other command knows of them."""

    @property
    def damaged(self) -> tuple[ExpectedArchive, ...]:
        """What should be in the place of each archive that is missing or damaged."""
        return tuple(each.expected for each in self.findings if each.expected is not None)

    @property
    def flaws(self) -> dict[str, str]:
        """The flaw of each archive that is missing or damaged, by path below the archive root."""
        return {each.expected.archive: str(each.flaw) for each in self.findings if each.expected is not None}

    def remaining(self, damaged: Collection[str]) -> Verified:
        """What is still wrong when, of all archives, only these are still `damaged`."""
        rest = (each for each in self.findings if each.expected is None or each.expected.archive in damaged)
        return replace(self, findings=tuple(rest))

    def problems(self, trees: Trees) -> tuple[Problem, ...]:
        """One sentence for each kind of problem, for the report; the remedy names the trees."""
        archives = [each for each in self.findings if each.expected is not None]
        others = [each for each in self.findings if each.expected is None]
        problems = []
        if archives:
            words = f"{count_of(len(archives), 'archive')} missing or damaged: {_first(archives)}"
            remedy = f"camarchiver verify {place_words(trees)} --known --repair"
            problems.append(Problem(DAMAGED, words, remedy))
        if others:
            words = f"{count_of(len(others), 'flaw')} in the records: {_first(others)}"
            problems.append(Problem("records", words, "see docs/finding.md, or camarchiver doctor"))
        if self.problem:
            problems.append(Problem("state", self.problem, "check the disk, its mount and the file's owner"))
        return tuple(problems)


def reported(pipeline: Pipeline, found: Verified, stop: Stop) -> Report:
    """The report of a check that no repair follows."""
    return Report(
        pipeline.run.command,
        pipeline.run.id,
        pipeline.started,
        pipeline.now(),
        stopped_by=stop.signal,
        problems=found.problems(pipeline.trees),
    )


def _first(found: Sequence[VerifyFinding]) -> str:
    more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"{shown(found[0].path)} ({found[0].flaw}){more}"
