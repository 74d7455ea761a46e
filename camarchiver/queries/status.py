"""Counts what is stored in the trees, camera by camera, for `status`; changes nothing."""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from camarchiver.discovery import walks
from camarchiver.domain.clip import Archived, Clip, Tree
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep
from camarchiver.journal.ledger import Origin
from camarchiver.media.parsing.prober import Prober
from camarchiver.naming.formats import is_clip_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy, decide_archive
from camarchiver.queries.footage_estimate import SAMPLES, seconds_of
from camarchiver.queries.gaps import Coverage, gaps
from camarchiver.queries.growth import growth
from camarchiver.queries.rhythm import RecentStarts, Rhythm
from camarchiver.state import findings, run_history, work_in_progress
from camarchiver.state.findings import Findings
from camarchiver.state.run_history import RunRecord
from camarchiver.state.work_in_progress import ClipWork
from camarchiver.storage import filesystems

RATE = timedelta(days=14)
"""The period from which the growth of the trees is computed."""

WEEK = timedelta(days=7)
"""The period in which gaps are searched."""


@dataclass(frozen=True, slots=True)
class CameraFootage:
    """The clips of one camera in one tree."""

    clips: int = 0
    size: int = 0
    seconds: float = 0.0
    """Footage."""
    guessed: bool = False
    """Whether the hours are estimated from a few clips, since not all lengths are known."""
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera's clips in the three trees, and what needs attention."""

    name: str
    source: CameraFootage = field(default_factory=CameraFootage)
    archive: CameraFootage = field(default_factory=CameraFootage)
    trash: CameraFootage = field(default_factory=CameraFootage)
    waiting: int = 0
    """Clips that the next archive run would encode."""
    failed: Mapping[Reason, int] = field(default_factory=dict)
    """Clips that failed before and wait, by reason."""
    held: int = 0
    """Clips in source or archive."""
    clock_doubtful: int = 0
    """Clips in source or archive whose name and file are more than a day apart, or that are in the future."""
    last: datetime | None = None
    """The start of its last clip that is not in the future, in source or archive."""
    rhythm: Rhythm | None = None
    """How often it records; None if it has too few clips to say so."""
    is_overdue: bool = False
    """Whether its last clip is longer ago than its rhythm explains."""
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    """Gaps of the last week, including one that is still open."""
    unencoded: Mapping[Reason, int] = field(default_factory=dict)
    """Archives that are lossless copies, by reason."""


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """One filesystem that trees lie on."""

    path: Path
    free: int
    total: int
    """Bytes."""
    daily: float = 0.0
    """Bytes of footage that arrived here per day in the last two weeks."""
    net_daily: float = 0.0
    """Bytes that the trees here grew per day: what arrived and was archived, less what was removed."""

    @property
    def days_until_full(self) -> float | None:
        """At the net rate; None if the trees don't grow."""
        return self.free / self.net_daily if self.net_daily > 0 else None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Everything that `status` reports."""

    cameras: tuple[CameraStatus, ...]
    disks: tuple[DiskStatus, ...]
    working: tuple[str, ...]
    """Sentences on which process works on which clip."""
    last_run: RunRecord | None
    unreadable: int
    unnamed: int
    """Files without a time in their names."""
    other_formats: int
    """Videos of formats that are not archived."""
    rateless: int
    """Raw streams for which no frame rate is declared."""
    passed_over: Mapping[str, tuple[int, Path]]
    """Folders of the source that are not entered, by what they hold: how many, and one of them."""
    findings: Findings
    """What `verify` found, and when it last checked everything."""

    @property
    def days_until_full(self) -> float | None:
        """For the filesystem that will be full first."""
        return min((d.days_until_full for d in self.disks if d.days_until_full is not None), default=None)


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """What to count."""

    policy: ArchivePolicy
    """Decides what the next archive run would do."""
    now: datetime
    gap: timedelta | None
    """Gaps longer than this are reported; None for those that a camera's own rhythm does not explain."""


class _ClipTotals:
    """One tree's clips of one camera, while they are counted."""

    __slots__ = ("clips", "newest", "oldest", "samples", "seconds", "size", "unknown")

    def __init__(self) -> None:
        self.clips = self.size = self.unknown = 0
        self.seconds = 0.0
        self.oldest: datetime | None = None
        self.newest: datetime | None = None
        self.samples: list[tuple[str, int]] = []
        """The newest clips of unknown length, with their bytes."""

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

    def footage(self, prober: Prober) -> CameraFootage:
        guess = 0.0
        if self.unknown:
            known = [
                (size, found) for path, size in self.samples if (found := seconds_of(prober, Path(path)))
            ]
            sampled = sum(size for size, _ in known)
            guess = self.unknown * sum(found for _, found in known) / sampled if sampled else 0.0
        return CameraFootage(
            self.clips, self.size, self.seconds + guess, bool(self.unknown), self.oldest, self.newest
        )


class _CameraTotals:
    """One camera while it is counted."""

    __slots__ = (
        *("archive", "clock_doubtful", "coverage", "failed", "held", "source", "starts", "trash"),
        *("unencoded", "waiting"),
    )

    def __init__(self) -> None:
        self.source, self.archive, self.trash = _ClipTotals(), _ClipTotals(), _ClipTotals()
        self.waiting = self.held = self.clock_doubtful = 0
        self.failed = Counts[Reason]()
        self.coverage = Coverage()
        self.starts = RecentStarts()
        self.unencoded = Counts[Reason]()


class StatusCounter:
    """Walks the trees once and the journal once, a day at a time; call `count` only once."""

    def __init__(self, pipeline: Pipeline, question: StatusQuestion) -> None:
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._memory = pipeline.memory()
        self._discovery = walks.of_source(pipeline, self._memory)
        self._clocks = pipeline.conventions.clocks
        self._question = question
        self._by_camera: dict[str, _CameraTotals] = {}
        self._arrived: Counts[int] = Counts()
        """Bytes of clips from the last `RATE`, by the filesystem that they arrived on."""
        self._grown: Counts[Tree] = Counts()
        """Bytes that each tree gained in that time by what was done to clips."""
        self._first: datetime | None = None
        """The start of the oldest of the clips that arrived."""
        self._source_device = filesystems.device_of(pipeline.trees.source)
        self._unreadable = 0
        self._unnamed = self._other_formats = self._rateless = 0

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
            cameras = tuple(self._camera(name, prober) for name in sorted(self._by_camera))
        disks, working = tuple(self._disks()), tuple(self._working())
        return StatusReport(
            cameras,
            disks,
            working,
            last_run,
            self._unreadable,
            self._unnamed,
            self._other_formats,
            self._rateless,
            self._discovery.passed_over,
            found,
        )

    # --- one clip ----------------------------------------------------------------------------------

    def _totals(self, name: str) -> _CameraTotals:
        if name not in self._by_camera:
            self._by_camera[name] = _CameraTotals()
        return self._by_camera[name]

    def _source(self, clip: Clip, facts: FolderFacts) -> None:
        totals, now = self._totals(clip.camera), self._question.now
        # Creating a Path for each of a million clips would take most of the time.
        print_of, path = clip.fingerprint, f"{self._trees.source}/{clip.relative}"
        totals.source.add(clip.recorded, print_of.size, clip.duration, path)
        self._note_arrival(clip.recorded, print_of.size, print_of.device)
        self._note_coverage(totals, clip.recorded, clip.duration, path)
        if self._memory.holds and held_by(clip, self._memory.holds, now):
            totals.held += 1
        if is_doubtful(clip, now):
            totals.clock_doubtful += 1

    def _note_arrival(self, start: datetime, size: int, device: int) -> None:
        if self._is_recent(start):
            self._arrived[device] += size
            self._first = min(self._first or start, start)

    def _is_recent(self, start: datetime) -> bool:
        return self._question.now - RATE <= start <= self._question.now

    def _note_coverage(
        self, totals: _CameraTotals, start: datetime, seconds: float | None, path: str
    ) -> None:
        if start <= self._question.now:
            totals.starts.add(start.timestamp())
            totals.coverage.add(start, seconds, path, since=self._question.now - WEEK)

    def _attention(self, step: Keep | object) -> None:
        match step:
            case Archive():
                self._totals(step.camera).waiting += 1
            case Keep(reason=Reason.FAILED_BEFORE, relative=relative):
                self._totals(step.camera).failed[self._memory.failures[relative].reason] += 1
            case Keep(reason=Reason.UNREADABLE):
                self._unreadable += 1
            case Keep(reason=Reason.NO_TIMESTAMP):
                self._unnamed += 1
            case Keep(reason=Reason.UNSUPPORTED_FORMAT):
                self._other_formats += 1
            case Keep(reason=Reason.NO_FRAME_RATE):
                self._rateless += 1

    # --- the journal -------------------------------------------------------------------------------

    def _day(self, day: date) -> None:
        known = self._journal.day(day)
        ledger = known.ledger
        self._grown.update(growth(known.events, self._question.now - RATE))
        for event in ledger.seen.values():
            if self._is_recent(event.start) and not self._has_source(event.source):
                self._note_arrival(event.start, event.source_size or 0, self._source_device)
        for relative, (event, entry) in ledger.archives.items():
            self._archived(f"{self._trees.archive}/{relative}", ledger.origin(event), entry)
        for relative, event in ledger.trashed.items():
            path = f"{self._trees.trash}/{relative}"
            if is_clip_name(relative) and (status := _status(path)):
                origin = ledger.origin(event)
                self._totals(origin.camera).trash.add(origin.start, status.st_size, origin.duration, path)

    def _archived(self, path: str, origin: Origin, entry: Archived) -> None:
        status = _status(path)
        if status is None:
            return
        totals = self._totals(origin.camera)
        if (unencoded := entry.why_unencoded) is not None:
            totals.unencoded[unencoded] += 1
        clip, now = self._clocks.applied(origin.clip(self._trees.source)), self._question.now
        totals.archive.add(clip.recorded, status.st_size, origin.duration, path)
        self._note_coverage(totals, clip.recorded, origin.duration, path)
        is_held = bool(self._memory.holds) and held_by(clip, self._memory.holds, now) is not None
        doubtful = is_doubtful(clip, now)
        if (is_held or doubtful) and not self._has_source(origin.source):
            totals.held += is_held
            totals.clock_doubtful += doubtful

    def _has_source(self, source: str) -> bool:
        return os.path.lexists(self._trees.source / source)

    # --- the whole ---------------------------------------------------------------------------------

    def _camera(self, name: str, prober: Prober) -> CameraStatus:
        totals, question = self._by_camera[name], self._question
        rhythm, last = totals.starts.rhythm(), totals.starts.last
        longest = question.gap or (rhythm.outage if rhythm else None)
        found = gaps(
            totals.coverage,
            longest or timedelta.max,
            since=question.now - WEEK,
            now=question.now,
            length=lambda path: seconds_of(prober, Path(path)),
        )
        since_last = question.now.timestamp() - last if last is not None else 0.0
        return CameraStatus(
            name,
            totals.source.footage(prober),
            totals.archive.footage(prober),
            totals.trash.footage(prober),
            totals.waiting,
            totals.failed,
            totals.held,
            totals.clock_doubtful,
            datetime.fromtimestamp(last, question.now.tzinfo) if last is not None else None,
            rhythm,
            rhythm is not None and since_last > rhythm.outage.total_seconds(),
            tuple(found),
            totals.unencoded,
        )

    def _disks(self) -> Iterator[DiskStatus]:
        period = self._question.now - self._first if self._first else RATE
        days = max(period / timedelta(days=1), 1.0)
        trees = {
            Tree.SOURCE: self._trees.source,
            Tree.ARCHIVE: self._trees.archive,
            Tree.TRASH: self._trees.trash,
        }
        root_of: dict[int, Path] = {}
        grown = Counts(self._arrived)
        for tree, root in trees.items():
            device = filesystems.device_of(root)
            grown[device] += self._grown[tree]
            if root.is_dir():
                root_of.setdefault(device, root)
        for device, root in root_of.items():
            status = os.statvfs(root)
            free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
            yield DiskStatus(root, free, total, self._arrived[device] / days, grown[device] / days)

    def _working(self) -> Iterator[str]:
        for note in work_in_progress.existing(self._trees):
            work = note.work
            if isinstance(work, ClipWork) and (worker := work_in_progress.worker_on(self._trees, work)):
                yield worker


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
