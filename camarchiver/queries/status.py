"""Counts what is stored in the trees, camera by camera, for `status`; changes nothing."""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from camarchiver.archive.footage_estimate import SAMPLES, seconds_of
from camarchiver.discovery import walks
from camarchiver.domain.clip import Archived, Clip, Fingerprint
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep
from camarchiver.journal.replay import Origin, fold
from camarchiver.media.parsing.prober import Prober
from camarchiver.naming.paths import is_clip_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import DOUBTFUL, ArchivePolicy, decide_archive, own_archive
from camarchiver.queries.gaps import Coverage, gaps
from camarchiver.state import claims, findings, run_history
from camarchiver.state.findings import Findings
from camarchiver.storage import locking

RATE = timedelta(days=14)
"""How far back the growth of the trees is taken from."""

WEEK = timedelta(days=7)
"""How far back gaps are looked for."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one tree holds of one camera."""

    clips: int = 0
    size: int = 0
    seconds: float = 0.0
    """Footage."""
    guessed: bool = False
    """Whether the hours are a guess from a few clips, since nobody told those of all."""
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera's clips in the three trees, and what needs attention."""

    name: str
    source: Holding = field(default_factory=Holding)
    archive: Holding = field(default_factory=Holding)
    trash: Holding = field(default_factory=Holding)
    waiting: int = 0
    """Clips that the next archive run would encode."""
    failed: Mapping[Reason, int] = field(default_factory=dict)
    """Clips that failed before and wait, by why."""
    held: int = 0
    """Clips in source or archive."""
    clock_doubtful: int = 0
    """Clips without an archive whose name and mtime lie more than a day apart, or that are of the future."""
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    """Of the last week, also the one that still lasts."""
    unencoded: Mapping[Reason, int] = field(default_factory=dict)
    """Archives that are lossless copies, by why."""


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """One filesystem that trees lie on."""

    path: Path
    free: int
    total: int
    """Bytes."""
    daily: float = 0.0
    """Bytes of footage that came to stand here on a day of the last two weeks."""

    @property
    def days_until_full(self) -> float | None:
        """At that rate, if nothing is removed; None where nothing came in."""
        return self.free / self.daily if self.daily else None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything that `status` tells."""

    cameras: tuple[CameraStatus, ...]
    disks: tuple[DiskStatus, ...]
    working: tuple[str, ...]
    """Sentences on who works on which clip."""
    last_run: Mapping[str, Any] | None
    unreadable: int
    unnamed: int
    """Files without a time in their names."""
    findings: Findings
    """What `verify` found, and when it last came through."""

    @property
    def days_until_full(self) -> float | None:
        """Of the filesystem that is full first."""
        return min((d.days_until_full for d in self.disks if d.days_until_full is not None), default=None)


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """What is to be counted."""

    policy: ArchivePolicy
    """Says what the next archive run would do."""
    now: datetime
    gap: timedelta
    """Gaps longer than this are told."""
    trust_names: bool
    """Whether this tree's mtimes mean nothing."""


class _Heap:
    """One tree's clips of one camera, while they are counted."""

    __slots__ = ("clips", "newest", "oldest", "samples", "seconds", "size", "unknown")

    def __init__(self) -> None:
        self.clips = self.size = self.unknown = 0
        self.seconds = 0.0
        self.oldest: datetime | None = None
        self.newest: datetime | None = None
        self.samples: list[tuple[str, int]] = []
        """Of the newest clips whose length nobody told, with their bytes."""

    def add(self, start: datetime, size: int, seconds: float | None, path: str) -> None:
        self.clips += 1
        self.size += size
        if seconds is not None:
            self.seconds += seconds
        else:
            self.unknown += size
            self.samples = [*self.samples[1 - SAMPLES :], (path, size)]
        if self.oldest is None or start < self.oldest:
            self.oldest = start
        if self.newest is None or start > self.newest:
            self.newest = start

    def holding(self, prober: Prober) -> Holding:
        guess = 0.0
        if self.unknown:
            known = [
                (size, found) for path, size in self.samples if (found := seconds_of(prober, Path(path)))
            ]
            sampled = sum(size for size, _ in known)
            guess = self.unknown * sum(found for _, found in known) / sampled if sampled else 0.0
        return Holding(
            self.clips, self.size, self.seconds + guess, bool(self.unknown), self.oldest, self.newest
        )


class _Tally:
    """One camera while it is counted."""

    __slots__ = (
        *("archive", "clock_doubtful", "coverage", "failed", "held", "source", "trash", "unencoded"),
        "waiting",
    )

    def __init__(self) -> None:
        self.source, self.archive, self.trash = _Heap(), _Heap(), _Heap()
        self.waiting = self.held = self.clock_doubtful = 0
        self.failed = Counts[Reason]()
        self.coverage = Coverage()
        self.unencoded = Counts[Reason]()


class StatusCounter:
    """Walks the trees once and the journal once, a day at a time; `count` may be asked once."""

    def __init__(self, pipeline: Pipeline, question: StatusQuestion) -> None:
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._memory = pipeline.memory()
        self._discovery = walks.of_source(pipeline, self._memory)
        self._question = question
        self._tallies: dict[str, _Tally] = {}
        self._recent: dict[int, int] = {}
        """Bytes of the last `RATE` by filesystem."""
        self._first = question.now
        """The oldest of them."""
        self._unreadable = 0
        self._unnamed = 0

    def count(self) -> StatusReport:
        """Count everything."""
        state = self._trees.state
        last_run, found = run_history.last(state), findings.read(state)
        question = self._question
        for facts in self._discovery.folders(date.max):
            for clip in facts.clips:
                self._source(clip, facts)
            for step in decide_archive(facts, question.policy, self._memory, question.now):
                self._attention(step)
        for day in self._journal.days():
            self._day(day)
        with Prober() as prober:
            cameras = tuple(self._camera(name, prober) for name in sorted(self._tallies))
        disks, working = tuple(self._disks()), tuple(self._working())
        return StatusReport(cameras, disks, working, last_run, self._unreadable, self._unnamed, found)

    # --- one clip ----------------------------------------------------------------------------------

    def _tally(self, name: str) -> _Tally:
        if name not in self._tallies:
            self._tallies[name] = _Tally()
        return self._tallies[name]

    def _source(self, clip: Clip, facts: FolderFacts) -> None:
        tally, now = self._tally(clip.camera), self._question.now
        # A Path for each of a million clips would take most of the time.
        print_of, path = clip.fingerprint, f"{self._trees.source}/{clip.relative}"
        tally.source.add(clip.start, print_of.size, clip.duration, path)
        self._note_recent(clip.start, print_of.size, print_of.device)
        self._note_coverage(tally, clip.start, clip.duration, path)
        if self._memory.holds and held_by(clip, self._memory.holds, now):
            tally.held += 1
        if self._is_doubtful(clip) and own_archive(clip, facts) is None:
            tally.clock_doubtful += 1

    def _is_doubtful(self, clip: Clip) -> bool:
        if clip.start > self._question.now + DOUBTFUL:
            return True
        apart = abs(clip.start.timestamp() - clip.fingerprint.mtime_ns / 1e9)
        return not self._question.trust_names and apart > DOUBTFUL.total_seconds()

    def _note_recent(self, start: datetime, size: int, device: int) -> None:
        now = self._question.now
        if now - RATE <= start <= now:
            self._recent[device] = self._recent.get(device, 0) + size
            self._first = min(self._first, start)

    def _note_coverage(self, tally: _Tally, start: datetime, seconds: float | None, path: str) -> None:
        if start <= self._question.now:
            tally.coverage.add(start, seconds, path, since=self._question.now - WEEK)

    def _attention(self, step: Keep | object) -> None:
        match step:
            case Archive():
                self._tally(step.camera).waiting += 1
            case Keep(reason=Reason.FAILED_BEFORE, relative=relative):
                self._tally(step.camera).failed[self._memory.failures[relative].reason] += 1
            case Keep(reason=Reason.UNREADABLE):
                self._unreadable += 1
            case Keep(reason=Reason.NO_TIMESTAMP):
                self._unnamed += 1

    # --- what the journal tells --------------------------------------------------------------------

    def _day(self, day: date) -> None:
        known = self._journal.day(day)
        ledger = fold(known.events, known.archived)
        for relative, (event, entry) in ledger.archives.items():
            self._archived(f"{self._trees.archive}/{relative}", ledger.origin(event), entry)
        for relative, event in ledger.trashed.items():
            path = f"{self._trees.trash}/{relative}"
            if is_clip_name(relative) and (status := _status(path)):
                origin = ledger.origin(event)
                self._tally(origin.camera).trash.add(origin.start, status.st_size, origin.duration, path)

    def _archived(self, path: str, origin: Origin, entry: Archived) -> None:
        status = _status(path)
        if status is None:
            return
        tally = self._tally(origin.camera)
        if (unencoded := entry.why_unencoded) is not None:
            tally.unencoded[unencoded] += 1
        tally.archive.add(origin.start, status.st_size, origin.duration, path)
        self._note_recent(origin.start, status.st_size, status.st_dev)
        self._note_coverage(tally, origin.start, origin.duration, path)
        if self._memory.holds and self._is_held(origin) and not self._has_source(origin):
            tally.held += 1

    def _is_held(self, origin: Origin) -> bool:
        print_of = Fingerprint(-1, -1, origin.size, origin.mtime_ns)
        clip = Clip(
            self._trees.source, "", "", origin.camera, origin.start, print_of, duration=origin.duration
        )
        return held_by(clip, self._memory.holds, self._question.now) is not None

    def _has_source(self, origin: Origin) -> bool:
        return os.path.lexists(self._trees.source / origin.source)

    # --- the whole ---------------------------------------------------------------------------------

    def _camera(self, name: str, prober: Prober) -> CameraStatus:
        tally, question = self._tallies[name], self._question
        found = gaps(
            tally.coverage,
            question.gap,
            since=question.now - WEEK,
            now=question.now,
            length=lambda path: seconds_of(prober, Path(path)),
        )
        return CameraStatus(
            name,
            tally.source.holding(prober),
            tally.archive.holding(prober),
            tally.trash.holding(prober),
            tally.waiting,
            tally.failed,
            tally.held,
            tally.clock_doubtful,
            tuple(found),
            tally.unencoded,
        )

    def _disks(self) -> Iterator[DiskStatus]:
        seen = set()
        days = max((self._question.now - self._first) / timedelta(days=1), 1.0)
        for root in (self._trees.source, self._trees.archive, self._trees.trash):
            if root.is_dir() and (device := root.stat().st_dev) not in seen:
                seen.add(device)
                status = os.statvfs(root)
                free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
                yield DiskStatus(root, free, total, self._recent.get(device, 0) / days)

    def _working(self) -> Iterator[str]:
        for _, claim in claims.existing(self._trees):
            if claim is not None:
                path = claim.as_clip(self._trees.source).path
                if owner := locking.held_by(path, place=self._trees.state / "locks"):
                    yield owner


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
