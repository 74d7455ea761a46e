"""Gathers what a page shows of the clips of one day."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from camarchiver.cleanup.size_preview import SizePreview
from camarchiver.discovery.copies import CopyFinder
from camarchiver.domain.clip import Archived, Clip, Fingerprint, Tree
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import Memory
from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.reason import BY_ARCHIVE, REASONS, Reason
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import REMOVED, ClipKey, Ledger, clip_of
from camarchiver.naming.formats import is_clip_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy
from camarchiver.policy.removal_forecast import ForecastRemoval, RemovalForecast
from camarchiver.queries.find import ClipFile, ClipFinder, FindQuestion, FindState, FoundClip
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import StripKey


class PlannedRemoval(Struct, frozen=True):
    """When one copy of a clip goes."""

    tree: Tree
    removal: ForecastRemoval


class OffsiteState(NamedTuple):
    """What is known of a clip's copy at one remote."""

    remote: str
    verified: datetime | None
    """When it was compared, whole, with its archive; None if it never was."""
    is_lost: bool
    """Whether it is missing or differs."""

    @property
    def is_proved(self) -> bool:
        """Whether it was verified, and not found lost since."""
        return self.verified is not None and not self.is_lost


class ClipThumbnails(Struct, frozen=True):
    """Thumbnails of a clip, side by side in one file."""

    file: Path
    """In the cache."""
    width: int
    """Of one thumbnail, in pixels."""
    height: int
    times: tuple[float, ...]
    """Of each thumbnail, in seconds from the clip's first frame."""


class PageClip(Struct, frozen=True):
    """One clip as a page shows it."""

    camera: str
    source: str
    """Its path below the source root, which is its name in the journal."""
    start: datetime
    """When it was recorded, as far as the owner said which clock is right; in the cameras' zone."""
    seconds: float | None
    states: frozenset[FindState]
    files: tuple[ClipFile, ...]
    """Its copies, the one to look at first; empty if the clip is gone, or is only off-site."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of its source."""
    archived: Archived | None
    """The entry of the archive that exists."""
    line: JournalEvent | None
    """The line that says it was archived."""
    hold: str
    """By which hold it is kept; empty if by none."""
    failure: str
    """Why it could not be archived; empty if nothing failed."""
    damage: str
    """What is wrong with its archive; empty if nothing is known to be."""
    removals: tuple[PlannedRemoval, ...]
    """When its copies go; those that stay are left out."""
    events: tuple[JournalEvent, ...]
    """Its lines in the journal, oldest first."""
    as_source: Clip | None = None
    """The clip as its source is or was, with the time of its name."""
    motion: ClipMotion | None = None
    """None if nothing looked for motion in it."""
    strip: ClipThumbnails | None = None
    """Its thumbnails, if there are any."""
    copies: tuple[OffsiteState, ...] = ()
    """Its off-site copies, lost ones too; not those that a rule removed."""
    removal_lines: tuple[JournalEvent, ...] = ()
    """Of a clip that is gone: the lines that say which rules removed its copies, oldest first; none if the
    journal knows of a copy that should be there."""

    @property
    def key(self) -> ClipKey:
        """What distinguishes it from another clip of the same name."""
        return self.source, *self.identity

    @property
    def file(self) -> ClipFile | None:
        """The copy to look at: a sound archive, which browsers can play, before the source and the trash.

        None if there is none: an archive of 0 bytes was found missing.
        """
        return next((each for each in self.files if each.size), None)

    @property
    def is_offsite(self) -> bool:
        """Whether it has a verified off-site copy."""
        return any(each.is_proved for each in self.copies)

    @property
    def gone_by(self) -> str:
        """The rule by which a clip that is gone was given up; the trash only kept it for a while.

        Empty if it is not known.
        """
        rules = [event.reason or "" for event in self.removal_lines]
        return next(
            (rule for rule in reversed(rules) if rule != Reason.TRASH_AGE), rules[-1] if rules else ""
        )

    @property
    def is_gone(self) -> bool:
        """Whether no copy of it is left anywhere, not even a damaged one."""
        return not self.files and not self.is_offsite


_REMOVALS = (*REMOVED, EventKind.PURGED)


class DayGatherer:
    """Gathers the clips of one day after the other; days should come in their order."""

    def __init__(
        self,
        pipeline: Pipeline,
        memory: Memory,
        copies: CopyFinder,
        forecast: RemovalForecast,
        by_size: SizePreview,
    ) -> None:
        self._pipeline = pipeline
        self._memory = memory
        self._copies = copies
        self._forecast = forecast
        self._by_size = by_size
        self._finder = ClipFinder(pipeline, FindQuestion(with_gone=True, with_copies=True))

    def day(self, day: date, sources: Sequence[Copy]) -> Iterator[PageClip]:
        """The clips whose names are of this day; `sources` are those in the source tree."""
        ledger = self._pipeline.journal.day(day).ledger
        events, self._offsite = _by_clip(ledger.lines), _offsite_states(ledger)
        self._expected = _expected(ledger)
        self._has_strip = thumbnails.existing(self._pipeline.trees.state, day)
        in_source = {copy.source: copy for copy in sources}
        for found in self._finder.of_day(day, (copy.clip for copy in sources)):
            copy = in_source.get(found.source)
            if copy is not None and copy.identity != found.identity:
                copy = None
            yield self._clip(found, copy, ledger, events.get((found.source, *found.identity), ()))

    def _clip(
        self, found: FoundClip, source: Copy | None, ledger: Ledger, events: Sequence[JournalEvent]
    ) -> PageClip:
        known = self._known_archive(found, ledger)
        clip = self._as_clip(found)
        hold = held_by(clip, self._memory.holds, self._pipeline.started) if self._memory.holds else None
        failure = self._memory.failures.get(found.source) if FindState.FAILED in found.states else None
        key = found.source, *found.identity
        copies = tuple(self._offsite.get(key, ()))
        is_gone = not found.files and not any(each.is_proved for each in copies)
        return PageClip(
            found.camera,
            found.source,
            clip.recorded.astimezone(self._pipeline.zone),
            found.seconds,
            found.states,
            tuple(sorted(found.files, key=lambda each: self._preference(each.tree, found.states))),
            found.identity,
            known[1] if known else None,
            known[0] if known else None,
            hold.words if hold else "",
            failure.reason if failure else "",
            self._damage(found),
            tuple(self._removals(found, source)),
            tuple(events),
            clip,
            ledger.motion.get(key),
            # What a rule removed is not to be seen in thumbnails either.
            None if is_gone else self._strip(StripKey(found.start.date(), *key)),
            copies,
            tuple(self._ends(key, events)) if is_gone else (),
        )

    def _ends(self, key: ClipKey, events: Iterable[JournalEvent]) -> Iterator[JournalEvent]:
        if key not in self._expected:
            for event in events:
                if event.event in _REMOVALS and event.reason in REASONS - BY_ARCHIVE:
                    yield event

    def _strip(self, key: StripKey) -> ClipThumbnails | None:
        state = self._pipeline.trees.state
        found = thumbnails.read(state, key) if self._has_strip(key) else None
        if found is None:
            return None
        return ClipThumbnails(thumbnails.path(state, key), found.width, found.height, found.times)

    def _as_clip(self, found: FoundClip) -> Clip:
        folder, _, name = found.source.rpartition("/")
        print_of = Fingerprint(-1, -1, *found.identity)
        clip = Clip(
            self._pipeline.trees.source,
            folder,
            name,
            found.camera,
            found.start,
            print_of,
            duration=found.seconds,
        )
        return self._pipeline.conventions.clocks.applied(self._pipeline.archives.dated(clip))

    def _known_archive(self, found: FoundClip, ledger: Ledger) -> tuple[JournalEvent, Archived] | None:
        for file in found.files:
            if file.tree is Tree.ARCHIVE:
                return ledger.archives.get(self._below(file))
        return None

    def _damage(self, found: FoundClip) -> str:
        for file in found.files:
            if file.tree is Tree.ARCHIVE and (damage := self._memory.damaged.get(self._below(file))):
                return damage.words(self._pipeline.zone)
        return ""

    def _below(self, file: ClipFile) -> str:
        """The path of a file below the root of its tree."""
        return file.path.removeprefix(f"{_roots(self._pipeline)[file.tree]}/")

    @staticmethod
    def _preference(tree: Tree, states: frozenset[FindState]) -> int:
        if tree is Tree.ARCHIVE and FindState.DAMAGED in states:
            return 3
        return (Tree.ARCHIVE, Tree.SOURCE, Tree.TRASH).index(tree)

    def _removals(self, found: FoundClip, source: Copy | None) -> Iterator[PlannedRemoval]:
        for file in found.files:
            removal = self._by_size.removals.get((file.tree, self._below(file)))
            if removal is None:
                copy = source if file.tree is Tree.SOURCE else self._copy(file)
                removal = self._forecast.of(copy) if copy is not None else None
            if removal is not None:
                yield PlannedRemoval(file.tree, removal)

    def _copy(self, file: ClipFile) -> Copy | None:
        try:
            status = os.lstat(file.path)
        except OSError:
            return None
        of = self._copies.in_archive if file.tree is Tree.ARCHIVE else self._copies.in_trash
        copy = of(self._below(file), status)
        return copy if isinstance(copy, Copy) else None


def _roots(pipeline: Pipeline) -> Mapping[Tree, Path]:
    trees = pipeline.trees
    return {Tree.SOURCE: trees.source, Tree.ARCHIVE: trees.archive, Tree.TRASH: trees.trash}


def _expected(ledger: Ledger) -> frozenset[ClipKey]:
    """Clips of which a copy should be somewhere, by the journal."""
    archived = (
        line
        for place, (event, _) in ledger.archives.items()
        for line in ledger.sharers.get(place, {"": event}).values()
    )
    trashed = (event for place, event in ledger.trashed.items() if is_clip_name(place))
    seen = {clip_of(event) for event in ledger.seen.values()}
    return frozenset({*map(clip_of, archived), *map(clip_of, trashed), *(seen - ledger.gone.keys())})


def _offsite_states(ledger: Ledger) -> dict[ClipKey, list[OffsiteState]]:
    """By clip: the copies of its archives as their bytes are now."""
    found: dict[ClipKey, list[OffsiteState]] = {}
    for (remote, archive, digest), copy in ledger.copies.items():
        if digest == ledger.digest(archive) and not copy.was_removed:
            state = OffsiteState(remote, copy.verified, copy.lost is not None)
            for line in ledger.sharers.get(archive, {"": copy.line}).values():
                found.setdefault(clip_of(line), []).append(state)
    return found


def _by_clip(events: Iterable[JournalEvent]) -> dict[tuple[str, int, int], list[JournalEvent]]:
    found: dict[tuple[str, int, int], list[JournalEvent]] = {}
    for event in events:
        if event.source_size is not None and event.source_mtime_ns is not None:
            key = event.source, event.source_size, event.source_mtime_ns
            found.setdefault(key, []).append(event)
    return found
