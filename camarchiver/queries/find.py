"""Finds clips by camera, time and state, in source, archive and trash; the newest comes last."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.discovery import walks
from camarchiver.domain.clip import Clip, Fingerprint, RemoteCopy, Tree
from camarchiver.domain.clocks import ClockCorrection
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.motion import ClipMotion
from camarchiver.journal.ledger import ClipKey, Ledger, Origin
from camarchiver.journal.store import dated
from camarchiver.naming.formats import is_clip_name
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.external_sort import SealedSequence

_DAY = timedelta(days=1)

_LONGEST_CLIP = 2 * _DAY
"""How long before a moment a clip that covers it may begin."""


class FindState(StrEnum):
    """What can be asked of a clip: the trees that have a copy, and what is to be known about it."""

    SOURCE = "source"
    ARCHIVE = "archive"
    TRASH = "trash"
    HELD = "held"
    FAILED = "failed"
    """It could not be archived."""
    DAMAGED = "damaged"
    """An archive of it was found missing or damaged."""
    OFFSITE = "offsite"
    """It has a verified off-site copy."""


class FindQuestion(Struct, frozen=True):
    """Which clips are looked for; an empty field selects all."""

    cameras: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    """Clips that start before this."""
    covering: tuple[datetime, datetime] | None = None
    """The first and the last moment of a time of which a clip must show a part."""
    states: frozenset[FindState] = frozenset()
    with_gone: bool = False
    """Whether clips of which no copy exists any more are found, too."""
    with_copies: bool = False
    """Whether clips that exist only off-site are found, too."""
    without_missing: bool = False
    """Whether clips of which nothing is left but a missing archive are not found."""
    in_motion: bool = False
    """Whether only clips are found in which something moves, those in which it does so longest first."""
    zone: str = ""
    """With `in_motion`: the zone in which it moves; empty for anywhere."""
    anywhere: bool = False
    """Whether the names' times may lie far from `covering`, because a camera's clock was wrong."""

    @property
    def first_day(self) -> date:
        """The first day on which such a clip may begin, with a day of tolerance for time zones."""
        if self.anywhere:
            return date.min
        starts = [self.since, self.covering[0] - _LONGEST_CLIP if self.covering else None]
        return max((each.date() - _DAY for each in starts if each is not None), default=date.min)

    @property
    def last_day(self) -> date:
        """The last day, with the same tolerance."""
        if self.anywhere:
            return date.max
        ends = [self.until, self.covering[1] if self.covering else None]
        return min((each.date() + _DAY for each in ends if each is not None), default=date.max)


class ClipFile(NamedTuple):
    """One copy of a clip."""

    path: str
    """Absolute."""
    tree: Tree
    size: int
    """Bytes; 0 if it is missing."""
    is_missing: bool = False
    """Whether it is an archive that `verify` found damaged, and that is not there."""


class FoundClip(Struct, frozen=True):
    """One clip, wherever its copies are."""

    source: str
    """Its path below the source root."""
    camera: str
    start: datetime
    seconds: float | None
    """Its length, if it is known without opening a file."""
    files: tuple[ClipFile, ...]
    """Its copies; those in a tree that was asked for come first, and archives that are missing last. Empty
    if the clip is gone.
    """
    states: frozenset[FindState]
    identity: tuple[int, int] = (0, 0)
    """Bytes and mtime_ns of its source, which may be gone."""
    motion: ClipMotion | None = None
    """What moves in it; None if nothing looked for motion."""
    copies: tuple[RemoteCopy, ...] = ()
    """Its verified off-site copies."""


class _SourceClip(NamedTuple):
    day: date
    instant: float
    """Seconds since the epoch."""
    clip: Clip


_Identity = tuple[str, int, int]
"""Path below the source root, bytes and mtime_ns."""


class _CollectedClip:
    """One clip while its copies are collected."""

    __slots__ = ("camera", "copies", "files", "is_damaged", "motion", "seconds", "start")

    def __init__(self, camera: str, start: datetime, seconds: float | None) -> None:
        self.camera, self.start, self.seconds = camera, start, seconds
        self.files: list[ClipFile] = []
        self.copies: list[RemoteCopy] = []
        self.is_damaged = False
        self.motion: ClipMotion | None = None


class ClipFinder:
    """One search. Its memory follows the clips of one day."""

    def __init__(self, pipeline: Pipeline, question: FindQuestion) -> None:
        self._trees = pipeline.trees
        self._pipeline = pipeline
        self._question = question
        self._journal = pipeline.journal
        self._memory = pipeline.memory()
        self._now = pipeline.started
        span = question.covering
        self._asked = (Hold("", *span),) if span else ()
        self._written: Mapping[ClipKey, int] = {}
        """Of the current day; see `Day.written`."""

    def clips(self) -> Iterator[FoundClip]:
        """The clips, in the order of their days and starts."""
        for day, sources in self._days():
            yield from self.of_day(day, sources)

    def of_day(self, day: date, sources: Iterable[Clip]) -> Iterator[FoundClip]:
        """The clips of one day by their names, in the order of their starts; `sources` are in the source."""
        clips: dict[_Identity, _CollectedClip] = {}
        self._add_sources(clips, sources)
        self._add_journalled(clips, day)
        self._written = self._journal.day(day).written
        for identity, each in sorted(clips.items(), key=lambda item: (item[1].start, item[0])):
            if (found := self._found(identity, each)) is not None:
                yield found

    def _days(self) -> Iterator[tuple[date, list[Clip]]]:
        """Each day that has clips in the source or lines in the journal, with the clips in the source."""
        first, last = self._question.first_day, self._question.last_day
        sources = (
            (day, [each.clip for each in group])
            for day, group in groupby(self._sources(first, last), key=itemgetter(0))
        )
        journalled = ((day, list[Clip]()) for day in self._journal.days() if first <= day <= last)
        both = merge(sources, journalled, key=itemgetter(0))
        for day, groups in groupby(both, key=itemgetter(0)):
            yield day, [clip for _, clips in groups for clip in clips]

    def _sources(self, first: date, last: date) -> SealedSequence[_SourceClip]:
        memory = replace(self._memory, holds=self._asked or self._memory.holds)
        folders = walks.of_source(self._pipeline, memory).folders(last, earliest=first)
        found = (
            _SourceClip(clip.start.date(), clip.start.timestamp(), clip)
            for facts in folders
            for clip in facts.clips
            if self._is_of_interest(clip.camera) and first <= clip.start.date() <= last
        )
        return SealedSequence(found, key=lambda each: (each.day, each.instant, each.clip.relative))

    def _is_of_interest(self, camera: str) -> bool:
        return not self._question.cameras or camera in self._question.cameras

    def _add_sources(self, clips: dict[_Identity, _CollectedClip], sources: Iterable[Clip]) -> None:
        for clip in sources:
            print_of = clip.fingerprint
            identity = clip.relative, print_of.size, print_of.mtime_ns
            found = clips[identity] = _CollectedClip(clip.camera, clip.start, clip.duration)
            path = f"{self._trees.source}/{clip.relative}"
            found.files.append(ClipFile(path, Tree.SOURCE, print_of.size))

    def _add_journalled(self, clips: dict[_Identity, _CollectedClip], day: date) -> None:
        ledger = self._journal.day(day).ledger
        for relative, (event, _) in ledger.archives.items():
            is_damaged = relative in self._memory.damaged
            for each in ledger.sharers.get(relative, {"": event}).values():
                if self._is_of_interest(each.camera):
                    clip = self._of(clips, ledger.origin(each))
                    clip.is_damaged |= is_damaged
                    path = f"{self._trees.archive}/{relative}"
                    self._add_file(clip, path, Tree.ARCHIVE, is_listed=is_damaged)
        if self._question.with_gone:
            for event in ledger.seen.values():
                if self._is_of_interest(event.camera):
                    self._of(clips, ledger.origin(event))
        self._add_trashed(clips, ledger)
        for copy in ledger.copies.values():
            if copy.is_proved and self._is_of_interest(copy.line.camera):
                self._of(clips, ledger.origin(copy.line)).copies.append(copy.copy)
        for identity, found in clips.items():
            found.motion = ledger.motion.get(identity)

    def _add_trashed(self, clips: dict[_Identity, _CollectedClip], ledger: Ledger) -> None:
        for relative, event in ledger.trashed.items():
            if is_clip_name(relative) and self._is_of_interest(event.camera):
                clip = self._of(clips, ledger.origin(event))
                self._add_file(clip, f"{self._trees.trash}/{relative}", Tree.TRASH, is_listed=False)

    def _of(self, clips: dict[_Identity, _CollectedClip], origin: Origin) -> _CollectedClip:
        identity = origin.source, origin.size, origin.mtime_ns
        clip = clips.get(identity)
        if clip is None:
            start = origin.start.astimezone(self._pipeline.zone)
            clip = clips[identity] = _CollectedClip(origin.camera, start, origin.duration)
        if clip.seconds is None:
            clip.seconds = origin.duration
        return clip

    def _add_file(self, clip: _CollectedClip, path: str, tree: Tree, *, is_listed: bool) -> None:
        """Add a copy if it exists; an archive that was found missing `is_listed`, too."""
        try:
            status = os.lstat(path)
        except OSError:
            status = None
        if status is not None and stat.S_ISREG(status.st_mode):
            clip.files.append(ClipFile(path, tree, status.st_size))
        elif is_listed:
            clip.files.append(ClipFile(path, tree, 0, is_missing=True))

    def _found(self, identity: _Identity, clip: _CollectedClip) -> FoundClip | None:
        """The clip, if it has copies and is one of those that are looked for."""
        question, (source, size, mtime_ns) = self._question, identity
        files = [each for each in clip.files if not (question.without_missing and each.is_missing)]
        if (
            not (files or (question.with_copies and clip.copies) or question.with_gone)
            or (question.since is not None and clip.start < question.since)
            or (question.until is not None and clip.start >= question.until)
        ):
            return None
        print_of = Fingerprint(-1, -1, size, mtime_ns)
        folder, _, name = source.rpartition("/")
        root, clocks = self._trees.source, self._pipeline.conventions.clocks
        as_clip = Clip(root, folder, name, clip.camera, clip.start, print_of, duration=clip.seconds)
        as_clip = clocks.applied(dated(as_clip, self._written))
        if self._asked and not held_by(as_clip, self._asked, self._now):
            return None
        states = self._states(identity, as_clip, clip)
        if question.states and question.states.isdisjoint(states):
            return None
        motion = clip.motion
        if question.in_motion and not (motion and motion.in_zone(question.zone)):
            return None
        files.sort(key=lambda each: (each.is_missing, FindState(each.tree) not in question.states))
        found = tuple(files)
        copies = tuple(clip.copies)
        return FoundClip(
            source, clip.camera, clip.start, clip.seconds, found, states, identity[1:], motion, copies
        )

    def _states(self, identity: _Identity, as_clip: Clip, clip: _CollectedClip) -> frozenset[FindState]:
        states = {FindState(each.tree) for each in clip.files if not each.is_missing}
        if clip.is_damaged:
            states.add(FindState.DAMAGED)
        if clip.copies:
            states.add(FindState.OFFSITE)
        if self._memory.holds and held_by(as_clip, self._memory.holds, self._now):
            states.add(FindState.HELD)
        failure = self._memory.failures.get(identity[0])
        if failure is not None and (failure.size, failure.mtime_ns) == identity[1:]:
            states.add(FindState.FAILED)
        return frozenset(states)


def find_clips(pipeline: Pipeline, question: FindQuestion) -> Iterator[FoundClip]:
    """The clips that are looked for, in the order of their starts or as `in_motion` says.

    If none covers the time by its name, those that do so by their files' times, wherever their names put
    them.
    """
    clips = _ordered(ClipFinder(pipeline, question).clips(), question)
    first = next(clips, None)
    if first is not None:
        yield first
        yield from clips
    elif question.covering is not None:
        yield from _ordered(ClipFinder(pipeline, replace(question, anywhere=True)).clips(), question)


def corrected_clips(pipeline: Pipeline, correction: ClockCorrection) -> Iterator[Clip]:
    """Each clip that a correction of its camera's clock covers, wherever it is now, with its corrected time.

    A clip about which the correction says nothing, because its file's time does not agree with it, keeps its
    own: `corrected` is None.
    """
    question = FindQuestion(frozenset({correction.camera}), correction.start, correction.end)
    for found in find_clips(pipeline, question):
        folder, _, name = found.source.rpartition("/")
        print_of = Fingerprint(-1, -1, *found.identity)
        source = pipeline.trees.source
        clip = Clip(source, folder, name, found.camera, found.start, print_of, duration=found.seconds)
        yield replace(clip, corrected=correction.clock.corrected(clip))


def _ordered(clips: Iterator[FoundClip], question: FindQuestion) -> Iterator[FoundClip]:
    if not question.in_motion:
        return clips

    def longest_first(clip: FoundClip) -> tuple[float, datetime, str]:
        seconds = clip.motion.seconds(question.zone) if clip.motion else 0.0
        return -seconds, clip.start, clip.source

    return iter(SealedSequence(clips, key=longest_first))


class MotionCounts(Struct, frozen=True):
    """What is known of the motion in clips of which none has motion where it is looked for."""

    elsewhere: int = 0
    """Clips with motion outside the zone."""
    quiet: int = 0
    """Clips in which nothing moves."""
    unsure: int = 0
    """Clips of which the detector was not sure."""
    unscored: int = 0
    """Clips in which nothing looked for motion."""

    @property
    def clips(self) -> int:
        """All of them."""
        return self.elsewhere + self.quiet + self.unsure + self.unscored


def count_motion(pipeline: Pipeline, question: FindQuestion) -> MotionCounts:
    """Counts the clips that a question selects apart from its motion."""
    counts = Counter[str]()
    for clip in find_clips(pipeline, replace(question, in_motion=False, zone="")):
        if clip.motion is None:
            counts["unscored"] += 1
        elif clip.motion.unsure:
            counts["unsure"] += 1
        else:
            counts["elsewhere" if clip.motion.spans else "quiet"] += 1
    return MotionCounts(**counts)


WINDOWS = (timedelta(days=2), timedelta(days=60), None)
"""How far around a moment the nearest clips are looked for; None for everything."""


def nearest(
    pipeline: Pipeline, question: FindQuestion, moment: datetime
) -> tuple[FoundClip | None, FoundClip | None]:
    """The last clip that begins before a moment, and the first one after it, of the cameras asked for."""
    before: FoundClip | None = None
    for window in WINDOWS:
        since, until = (moment - window, moment + window) if window else (None, None)
        asked = FindQuestion(question.cameras, since, until, states=question.states)
        before = after = None
        for clip in ClipFinder(pipeline, asked).clips():
            if clip.start > moment:
                after = clip
                break
            before = clip
        if before is not None and after is not None:
            return before, after
    return before, after
