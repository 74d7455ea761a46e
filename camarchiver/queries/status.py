"""Counts what is stored in the trees, camera by camera, for `status`; changes nothing."""

from __future__ import annotations

import os
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, datetime, timedelta
from itertools import repeat
from pathlib import Path

from msgspec import Struct

from camarchiver.discovery import walks
from camarchiver.discovery.source_tree import IsKnown
from camarchiver.domain.clip import Archived, Clip, Tree
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep
from camarchiver.journal.store import dated
from camarchiver.media.parsing.prober import Prober
from camarchiver.naming.formats import is_clip_name
from camarchiver.offsite.status import CopyCounter
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy, decide_archive
from camarchiver.queries.footage_estimate import SAMPLES, seconds_of
from camarchiver.queries.gaps import Coverage, gaps
from camarchiver.queries.growth import growth
from camarchiver.queries.rhythm import RecentStarts
from camarchiver.queries.status_report import CameraFootage, CameraStatus, DiskStatus, StatusReport
from camarchiver.state import findings, run_history, work_in_progress
from camarchiver.state.work_in_progress import ClipWork
from camarchiver.storage import filesystems

RATE = timedelta(days=14)
"""The period from which the growth of the trees is computed."""

WEEK = timedelta(days=7)
"""The period in which gaps are searched."""


class StatusQuestion(Struct, frozen=True):
    """What to count."""

    policy: ArchivePolicy
    """Decides what the next archive run would do."""
    now: datetime
    gap: timedelta | None
    """Gaps longer than this are reported; None for those that a camera's own rhythm does not explain."""


class RecentDays(Struct, frozen=True):
    """The part of the journal that a report needs if the totals are known from elsewhere."""

    days: Iterable[date]
    """Those with the clips of the two weeks before each camera's last one."""
    grown: Mapping[Tree, int]
    """Bytes that the events of all other days added to each tree within `RATE`."""


class KnownClips(Struct, frozen=True):
    """One camera's clips of one folder of the source, as an earlier run counted them."""

    camera: str
    starts: Sequence[float]
    """When they were recorded, in seconds since 1970, the oldest first; there is at least one."""
    seconds: Sequence[float | None]
    """The length of each, as far as it is known; empty if none is."""
    size: int
    """Bytes of all of them."""
    doubtful: int
    """Clips whose clock is doubtful."""


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

    def add_known(self, known: KnownClips, oldest: datetime, newest: datetime) -> None:
        """Add clips that were counted before; no file of them is opened to find out how long they are."""
        self.clips += len(known.starts)
        self.size += known.size
        self.seconds += sum(each or 0.0 for each in known.seconds)
        self.unknown += known.size if not known.seconds or None in known.seconds else 0
        self.oldest = min(self.oldest or oldest, oldest)
        self.newest = max(self.newest or newest, newest)

    def footage(self, prober: Prober | None) -> CameraFootage:
        """The totals; lengths that are not known are estimated if files may be opened."""
        guess = 0.0
        if self.unknown and prober is not None:
            known = [
                (size, found) for path, size in self.samples if (found := seconds_of(prober, Path(path)))
            ]
            sampled = sum(size for size, _ in known)
            guess = self.unknown * sum(found for _, found in known) / sampled if sampled else 0.0
        return CameraFootage(
            self.clips, self.size, self.seconds + guess, bool(self.unknown), self.oldest, self.newest
        )


class _CameraCounter:
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
        self._by_camera: dict[str, _CameraCounter] = {}
        self._arrived: Counts[int] = Counts()
        """Bytes of clips from the last `RATE`, by the filesystem that they arrived on."""
        self._grown: Counts[Tree] = Counts()
        """Bytes that each tree gained in that time by what was done to clips."""
        self._first: datetime | None = None
        """The start of the oldest of the clips that arrived."""
        self._source_device = filesystems.device_of(pipeline.trees.source)
        self._unreadable = 0
        self._unnamed = self._other_formats = self._rateless = 0
        self._copies = CopyCounter()

    def folders(self, is_known: IsKnown | None = None) -> Iterator[FolderFacts]:
        """Walk the source and count it; each folder's facts can be used for other purposes at once.

        Folders that `is_known` are left out; what they hold is added by `add_known`.
        """
        question = self._question
        for facts in self._discovery.folders(date.max, is_known=is_known):
            for clip in facts.clips:
                self._source(clip, facts)
            for step in decide_archive(facts, question.policy, self._memory, question.now):
                self._attention(step)
            yield facts

    def can_add(self, known: KnownClips) -> bool:
        """Whether totals are enough to count these clips: `RATE` began before or after all of them."""
        begin, now = (self._question.now - RATE).timestamp(), self._question.now.timestamp()
        return known.starts[-1] <= now and not known.starts[0] < begin <= known.starts[-1]

    def add_known(self, known: KnownClips, device: int) -> None:
        """Count clips of a folder that was left out, but for those that wait or are held.

        `device` is the filesystem that they lie on.
        """
        totals, now = self._totals(known.camera), self._question.now
        oldest, newest = (datetime.fromtimestamp(known.starts[each], now.tzinfo) for each in (0, -1))
        totals.source.add_known(known, oldest, newest)
        totals.clock_doubtful += known.doubtful
        self._note_arrival(newest, known.size, device)
        if self._is_recent(newest):
            self._first = min(self._first or oldest, oldest)
        week = (now - WEEK).timestamp()
        lengths = known.seconds or repeat(None)
        for start, seconds in zip(known.starts, lengths, strict=False):
            totals.starts.add(start)
            # Of those before the week the last one is enough: its end is where a gap may begin.
            if start >= week or start == known.starts[-1]:
                moment = datetime.fromtimestamp(start, now.tzinfo)
                totals.coverage.add(moment, seconds, "", since=now - WEEK)

    def count(self) -> StatusReport:
        """Count everything."""
        for _ in self.folders():
            pass
        return self.report()

    def report(self, recent: RecentDays | None = None) -> StatusReport:
        """Count archive and trash, and report everything; the source was walked before.

        With `recent` only these days of the journal are counted: the totals are then incomplete, but not the
        last clips, the gaps and the growth.
        """
        state = self._trees.state
        last_run, found = run_history.last(state), findings.read(state)
        if recent is not None:
            self._grown.update(recent.grown)
        for day in self._journal.days() if recent is None else recent.days:
            self._day(day)
        with nullcontext() if recent else Prober() as prober:
            cameras = tuple(self._camera(name, prober) for name in sorted(self._by_camera))
        disks, working = tuple(self._disks()), tuple(self._working())
        return StatusReport(
            self._trees,
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
            {remote: counts.total for remote, counts in self._copies.counts().items()},
        )

    # --- one clip ----------------------------------------------------------------------------------

    def _totals(self, name: str) -> _CameraCounter:
        if name not in self._by_camera:
            self._by_camera[name] = _CameraCounter()
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
        self, totals: _CameraCounter, start: datetime, seconds: float | None, path: str
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
        self._copies.add(ledger)
        for event in ledger.seen.values():
            if self._is_recent(event.start) and not self._has_source(event.source):
                self._note_arrival(event.start, event.source_size or 0, self._source_device)
        for relative, (event, entry) in ledger.archives.items():
            origin = ledger.origin(event)
            clip = self._clocks.applied(dated(origin.clip(self._trees.source), known.written))
            self._archived(f"{self._trees.archive}/{relative}", clip, entry)
        for relative, event in ledger.trashed.items():
            path = f"{self._trees.trash}/{relative}"
            if is_clip_name(relative) and (status := _status(path)):
                origin = ledger.origin(event)
                self._totals(origin.camera).trash.add(origin.start, status.st_size, origin.duration, path)

    def _archived(self, path: str, clip: Clip, entry: Archived) -> None:
        status = _status(path)
        if status is None:
            return
        totals = self._totals(clip.camera)
        if (unencoded := entry.why_unencoded) is not None:
            totals.unencoded[unencoded] += 1
        now = self._question.now
        totals.archive.add(clip.recorded, status.st_size, clip.duration, path)
        self._note_coverage(totals, clip.recorded, clip.duration, path)
        is_held = bool(self._memory.holds) and held_by(clip, self._memory.holds, now) is not None
        doubtful = is_doubtful(clip, now)
        if (is_held or doubtful) and not self._has_source(clip.relative):
            totals.held += is_held
            totals.clock_doubtful += doubtful

    def _has_source(self, source: str) -> bool:
        return os.path.lexists(self._trees.source / source)

    # --- the whole ---------------------------------------------------------------------------------

    def _camera(self, name: str, prober: Prober | None) -> CameraStatus:
        totals, question = self._by_camera[name], self._question
        rhythm, last = totals.starts.rhythm(), totals.starts.last
        longest = question.gap or (rhythm.outage if rhythm else None)
        found = gaps(
            totals.coverage,
            longest or timedelta.max,
            since=question.now - WEEK,
            now=question.now,
            length=lambda path: seconds_of(prober, Path(path)) if prober is not None else None,
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
            if isinstance(work, ClipWork) and (process := work_in_progress.process_on(self._trees, work)):
                yield process


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
