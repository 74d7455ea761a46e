"""Decides for `verify --repair` from which local copy each damaged archive is made again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from camarchiver.archive.rearchive.originals import Originals
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import Archived, Disposal, Trees
from camarchiver.domain.clocks import Clocks
from camarchiver.domain.hold import Hold
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep
from camarchiver.errors import Problem, cause
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import ExpectedArchive
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy, to_archive
from camarchiver.runtime.formatting import count_of, shown
from camarchiver.runtime.signals import Stop
from camarchiver.storage import copying

POLICY = ArchivePolicy(age=timedelta(0), disposal=Disposal.KEEP, repeat=True)
"""A copy that an archive is made from always stays where it is."""


def plan(pipeline: Pipeline, damaged: Iterable[ExpectedArchive], stop: Stop) -> ArchivePlan:
    """Decide from which copy each damaged archive is made again; reads these copies and changes nothing."""
    planner = RepairPlanner(
        pipeline.trees,
        pipeline.journal,
        pipeline.archives,
        pipeline.holds(),
        pipeline.conventions.clocks,
        pipeline.started,
        stop.event.is_set,
    )
    return planner.plan(damaged)


def without(planned: ArchivePlan, archives: Collection[str]) -> ArchivePlan:
    """The plan for all but these archives, which are repaired in another way."""
    left = tuple(kept for kept in planned.left if kept.relative not in archives)
    tally = Tally()
    for step in (*planned.steps, *left):
        tally.add(step)
    return replace(planned, totals=tally.totals(), left=left, problems=tuple(_problems(left)))


class RepairPlanner:
    """Decides for missing or damaged archives; reads the copies that it chooses and changes nothing."""

    def __init__(
        self,
        trees: Trees,
        journal: Journal,
        archives: ArchiveLookup,
        holds: tuple[Hold, ...],
        clocks: Clocks,
        now: datetime,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._trees = trees
        self._journal = journal
        self._archives = archives
        self._holds = holds
        self._originals = Originals(trees, journal, clocks)
        self._now = now
        self._is_stopping = is_stopping

    def plan(self, damaged: Iterable[ExpectedArchive]) -> ArchivePlan:
        """One step for each clip; a clip that can't be repaired is left alone, with the reason."""
        tally, steps, left = Tally(), list[Archive](), list[Keep]()
        done: set[tuple[str, tuple[int | None, int | None]]] = set()
        for expected in damaged:
            clip = expected.source, expected.line.identity
            if clip in done or self._is_stopping():
                continue
            done.add(clip)
            step, others = self._decide(expected), [*self._of_other_names(expected)]
            if isinstance(step, Archive):
                steps.append(step)
            elif step.reason is not Reason.UNREPAIRABLE or not self._has_bytes_of(others, expected):
                left.append(step)
            steps += others
        for step in steps:
            tally.add(step)
        for kept in left:
            tally.add(kept)
        problems = tuple(_problems(left))
        return Plan(
            "verify",
            self._trees,
            self._now,
            POLICY,
            tally.totals(),
            tuple(steps),
            tuple(left),
            problems=problems,
        )

    def _has_bytes_of(self, steps: Iterable[Archive], expected: ExpectedArchive) -> bool:
        """Whether one of the steps makes an archive of the bytes of this clip, which then has one, too."""
        entry = self._entry(expected)
        return entry is not None and any(
            step.replaces is not None and step.replaces.digest == entry.digest for step in steps
        )

    def _entry(self, expected: ExpectedArchive) -> Archived | None:
        """The newest entry of the clip about this archive."""
        entries = reversed(self._entries(expected.line))
        return next((each for each in entries if each.archive == expected.archive), None)

    def _decide(self, expected: ExpectedArchive) -> Archive | Keep:
        entries, entry = self._entries(expected.line), self._entry(expected)
        if entry is None:
            return self._left(expected, "the journal does not say which bytes it was made of")
        problem = "neither its source nor a copy in the trash is there"
        for clip in self._originals.copies(expected.line, entry):
            if (hold := current_hold(clip, self._holds, self._now, entries)) and self._archives.leaves_trace(
                entries
            ):
                return self._left(expected, f"{hold.words}: nothing of a held clip is moved", Reason.HELD)
            try:
                if copying.file_digest(clip.path) == entry.digest:
                    return to_archive(clip, Reason.REPAIR, entry)
                problem = f"the bytes of {shown(clip.path)} have changed since it was archived"
            except OSError as error:
                problem = f"{shown(clip.path)} can't be read: {cause(error)}"
        return self._left(expected, problem)

    def _of_other_names(self, expected: ExpectedArchive) -> Iterator[Archive]:
        """Steps for the other clips that shared the archive and need one again, too."""
        line = expected.line
        made = self._journal.day(line.start.date()).ledger.made.get(expected.archive, ())
        by_source = {event.source: event for event in made}
        by_source.pop(expected.source, None)
        for source, event in by_source.items():
            entries = self._entries(event)
            if entries and entries[-1].archive == expected.archive:
                step = self._decide(replace(expected, source=source, line=event))
                if isinstance(step, Archive):
                    yield step

    def _entries(self, line: JournalEvent) -> tuple[Archived, ...]:
        """Every archive of this very clip, oldest first."""
        found = self._journal.day(line.start.date()).archived.get(line.source, ())
        return tuple(entry for entry in found if (entry.size, entry.mtime_ns) == line.identity)

    def _left(self, expected: ExpectedArchive, detail: str, reason: Reason = Reason.UNREPAIRABLE) -> Keep:
        line = expected.line
        size, start, camera = expected.size, line.start, line.camera
        return Keep(self._trees.archive, expected.archive, reason, size, camera, start, detail)


def _problems(left: Sequence[Keep]) -> Iterator[Problem]:
    if left:
        words = f"{count_of(len(left), 'damaged archive')} can't be repaired: {shown(left[0].path)}"
        more = f" and {len(left) - 1:,} more" if len(left) > 1 else ""
        yield Problem(
            "unrepairable",
            f"{words}{more}: {left[0].detail}",
            "put back a copy of your own, of the archive or of its source, and run it again",
        )
