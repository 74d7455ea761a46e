"""Finds the history of a clip in the journal, and what the next run would do with it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.discovery import walks
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Clip, RemoteCopy, Tree
from camarchiver.domain.damage import Damage
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Step
from camarchiver.errors import UsageError
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.lookup import JournalDays
from camarchiver.journal.store import dated
from camarchiver.naming.formats import is_sidecar_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy, decide_archive
from camarchiver.queries.find import FindQuestion, find_clips
from camarchiver.storage.filesystems import resolved


class ClipRecord(Struct, frozen=True):
    """Everything that is known of one clip."""

    source: str
    """Its path below the source root."""
    events: tuple[JournalEvent, ...]
    """From the journal, oldest first."""
    places: Mapping[Path, Tree]
    """Where it exists now: its source, its archives, and copies in the trash."""
    damaged: Mapping[str, Damage]
    """Its archives that were found missing or damaged, by path below the archive root."""
    next_step: Step | None
    """What `archive` would do with it now; None if it is not in the source tree."""
    only_offsite: tuple[RemoteCopy, ...] = ()
    """Off-site copies of its archives that are not in their place."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of the clip."""
        return bool(self.events or self.places)


class ClipHistory:
    """Answers questions about one set of trees."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._trees = pipeline.trees
        self._days = JournalDays(pipeline.names, pipeline.journal)
        self._journal = pipeline.journal
        self._pipeline = pipeline
        self._memory = pipeline.memory()

    def _discovery(self, holds: tuple[Hold, ...]) -> Discovery:
        return walks.of_source(self._pipeline, replace(self._memory, holds=holds))

    def of_path(self, path: Path, policy: ArchivePolicy, now: datetime) -> ClipRecord:
        """The story of a clip, named by where it is or was: in the source, the archive or the trash.

        Raises UsageError for a path in none of them.
        """
        tree, relative = self._below(path)
        source = self._clip_of(tree, relative)
        if source is None:
            # The file is foreign or was never there: only its existence can be reported.
            place = self._root(tree) / relative
            return ClipRecord(relative, (), {place: tree} if os.path.lexists(place) else {}, {}, None)
        events = tuple(event for event in self._events(source) if event.source == source)
        step = self._next_step(source, policy, now)
        archives = dict.fromkeys(event.archive for event in events if event.archive is not None)
        damaged = {each: found for each in archives if (found := self._memory.damaged.get(each))}
        return ClipRecord(
            source, events, self._places(source, events), damaged, step, tuple(self._only_offsite(source))
        )

    def _only_offsite(self, source: str) -> Iterator[RemoteCopy]:
        for day in sorted(self._days.of(source)):
            ledger = self._journal.day(day).ledger
            for (_, archive, digest), found in ledger.copies.items():
                is_its = found.line.source == source and digest == ledger.digest(archive)
                if is_its and found.lost is None and not os.path.lexists(self._trees.archive / archive):
                    yield found.copy

    def of_time(self, question: FindQuestion, policy: ArchivePolicy, now: datetime) -> Iterator[ClipRecord]:
        """The stories of the clips that a search finds."""
        sources = dict.fromkeys(clip.source for clip in find_clips(self._pipeline, question))
        for source in sources:
            yield self.of_path(self._trees.source / source, policy, now)

    def covered(self, hold: Hold, now: datetime) -> tuple[int, frozenset[str]]:
        """How many clips of source and archive a hold covers, and which cameras recorded about then."""
        zone = now.tzinfo
        first = hold.start.astimezone(zone).date() - timedelta(days=2)
        last = hold.end.astimezone(zone).date() + timedelta(days=1)
        found, cameras = set[str](), set[str]()
        for facts in self._discovery((hold,)).folders(date.max):
            cameras |= {clip.camera for clip in facts.clips if first <= clip.start.date() <= last}
            found |= {clip.relative for clip in facts.clips if held_by(clip, (hold,), now)}
        for day in self._journal.days_about(hold.start, hold.end):
            archived = [*self._archived(day)]
            cameras |= {clip.camera for clip in archived if first <= day <= last}
            found |= {clip.relative for clip in archived if held_by(clip, (hold,), now)}
        return len(found), frozenset(cameras)

    def _archived(self, day: date) -> Iterator[Clip]:
        """The clips of a day that have an archive, as their sources were."""
        known = self._journal.day(day)
        for event, _ in known.ledger.archives.values():
            clip = dated(known.ledger.origin(event).clip(self._trees.source), known.written)
            yield self._pipeline.conventions.clocks.applied(clip)

    def _places(self, source: str, events: Iterable[JournalEvent]) -> dict[Path, Tree]:
        found = {self._trees.source / source: Tree.SOURCE}
        for event in events:
            if event.archive is not None:
                found[self._trees.archive / event.archive] = Tree.ARCHIVE
            if event.trash is not None:
                found[self._trees.trash / event.trash] = Tree.TRASH
        return {path: tree for path, tree in found.items() if os.path.lexists(path)}

    def _below(self, path: Path) -> tuple[Tree, str]:
        """Which tree a path lies in, and where in it."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow the clip's own link
        absolute = resolved(absolute.parent) / absolute.name
        for tree in (Tree.ARCHIVE, Tree.TRASH, Tree.SOURCE):
            if absolute.is_relative_to(self._root(tree)):
                return tree, absolute.relative_to(self._root(tree)).as_posix()
        raise UsageError(
            f"{path} lies in none of the trees of {self._trees.source}",
            hint="name the clip's path, or -C/--directory and -o/--output",
        )

    def _root(self, tree: Tree) -> Path:
        roots = {Tree.ARCHIVE: self._trees.archive, Tree.TRASH: self._trees.trash}
        return roots.get(tree, self._trees.source)

    def _clip_of(self, tree: Tree, relative: str) -> str | None:
        """The journal's name of the clip of which a file is a copy or a picture."""
        if is_sidecar_name(relative):
            return self._clip_of_picture(tree, relative)
        if tree is Tree.SOURCE:
            return relative
        sources = [
            event.source
            for event in self._events(relative)
            if (event.archive if tree is Tree.ARCHIVE else event.trash) == relative
        ]
        return sources[-1] if sources else None

    def _clip_of_picture(self, tree: Tree, relative: str) -> str | None:
        folder, _, name = relative.rpartition("/")
        place = str(self._root(tree) / relative)
        for event in self._events(relative):
            pictures, source = event.sidecars or {}, event.source
            beside = tree is Tree.SOURCE and source.rpartition("/")[0] == folder
            if place in pictures.values() or (beside and name in pictures):
                return source
        facts = self._facts(folder) if tree is Tree.SOURCE else None
        clips = facts.clips if facts is not None else ()
        return next((clip.relative for clip in clips if name in clip.sidecars), None)

    def _events(self, relative: str) -> Iterator[JournalEvent]:
        """The journal's lines of the days that a file's name may mean."""
        for day in sorted(self._days.of(relative)):
            yield from self._journal.day(day).events

    def _facts(self, folder: str) -> FolderFacts | None:
        try:
            return self._discovery(self._memory.holds).folder(folder)
        except OSError:
            return None

    def _next_step(self, relative: str, policy: ArchivePolicy, now: datetime) -> Step | None:
        facts = self._facts(relative.rpartition("/")[0])
        if facts is None:
            return None
        steps = decide_archive(facts, policy, self._memory, now)
        # A tree of its own is left alone as a whole.
        named = (step for step in steps if step.relative == relative or step.reason is Reason.OTHER_TREE)
        return next(named, None)
