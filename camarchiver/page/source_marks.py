"""Which folders of the source are as an earlier run found them, so that only their entries are read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import accumulate, pairwise

from camarchiver.discovery import walks
from camarchiver.discovery.copies import CopyFinder
from camarchiver.domain.clip import Clip
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.memory import FolderFacts, Memory
from camarchiver.naming.formats import is_raw_name
from camarchiver.page.site_marks import facts_digest
from camarchiver.page.site_state import CameraClips, FolderMark
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy
from camarchiver.queries.status import KnownClips, StatusCounter
from camarchiver.storage.walk import Listing

MOST_DAYS = 3
"""A folder with clips of more days is examined in each run: each of its days would read all of it again."""


class SourceMarks:
    """One walk over the source, for a site; `walk` comes first.

    A folder's own time says nothing about a file that is written in place, as the last clip of a running
    upload is. So the entries of every folder are read, with their sizes and times. What is saved takes
    several times as long: to read the names, to look for archives, and to sort the clips by day.
    """

    def __init__(
        self, pipeline: Pipeline, memory: Memory, copies: CopyFinder, former: Mapping[str, FolderMark]
    ) -> None:
        """`former` are the marks of the last run."""
        self._pipeline = pipeline
        self._memory = memory
        self._copies = copies
        self._former = former
        self._digests: dict[str, str] = {}
        self._failing = {path.rpartition("/")[0] for path in memory.failures}
        self._days: dict[date, dict[str, str]] = defaultdict(dict)
        """By day and folder: the digest of the clips."""
        self._left_out: dict[date, list[str]] = defaultdict(list)
        """By day: folders that hold its clips and were not examined."""
        self.marks: dict[str, FolderMark] = {}
        """For the next run."""

    def walk(self, counter: StatusCounter) -> Iterator[FolderFacts]:
        """Facts of the folders that have changed; all are counted."""

        def is_known(folder: str, listing: Listing) -> bool:
            digest = self._digests[folder] = _listing_digest(listing)
            mark = self._former.get(folder)
            if mark is None or mark.digest != digest or folder in self._failing:
                return False
            known = [_known(camera, clips) for camera, clips in mark.cameras.items()]
            if not all(map(counter.can_add, known)):
                return False
            device = next(iter(listing.files.values())).st_dev
            for each in known:
                counter.add_known(each, device)
            self.marks[folder] = mark
            for day, of_day in mark.days.items():
                self._days[day][folder] = of_day
                self._left_out[day].append(folder)
            return True

        for facts in counter.folders(is_known):
            self._note(facts)
            yield facts

    def newest(self) -> Iterator[tuple[str, datetime]]:
        """When the newest clip of each camera in each marked folder was recorded."""
        for mark in self.marks.values():
            for camera, clips in mark.cameras.items():
                yield camera, datetime.fromtimestamp(clips.first + sum(clips.pauses), self._pipeline.zone)

    @property
    def days(self) -> Iterable[date]:
        """The days, by their names, of all clips in the source."""
        return self._days.keys()

    def digests(self, day: date) -> Mapping[str, str]:
        """What the source holds of a day: by folder, a digest of its clips."""
        return self._days.get(day, {})

    def left_out(self, day: date) -> list[Copy]:
        """The clips of a day in folders that were not examined."""
        found = []
        for folder in self._left_out.get(day, ()):
            try:
                facts = walks.of_source(self._pipeline, self._memory).folder(folder)
            except OSError:
                continue  # gone since: the next run sees that
            found += [self._copies.in_source(each, facts) for each in facts.clips if each.start.date() == day]
        return found

    def _note(self, facts: FolderFacts) -> None:
        """Note what a folder holds that was examined."""
        by_day: dict[date, list[object]] = defaultdict(list)
        for clip in facts.clips:
            failure = self._memory.failures.get(clip.relative)
            print_of = clip.fingerprint
            found = (clip.name, print_of.size, print_of.mtime_ns, failure.count if failure else 0)
            by_day[clip.start.date()].append(found)
        days = {day: facts_digest(clips) for day, clips in by_day.items()}
        for day, of_day in days.items():
            self._days[day][facts.folder] = of_day
        if facts.clips and len(days) <= MOST_DAYS and self._is_plain(facts):
            cameras = _by_camera(facts.clips)
            marks = {camera: self._clips_of(clips) for camera, clips in cameras.items()}
            self.marks[facts.folder] = FolderMark(self._digests[facts.folder], days, marks)

    def _is_plain(self, facts: FolderFacts) -> bool:
        """Whether nothing in a folder needs attention, now or at a later time.

        A start with a part of a second, by a file's time, is not kept exactly in a mark.
        """
        now = self._pipeline.started
        return (
            not facts.set_aside
            and facts.folder not in self._failing
            and not any(
                is_raw_name(clip.name) or clip.recorded > now or clip.recorded.microsecond
                for clip in facts.clips
            )
        )

    def _clips_of(self, clips: list[Clip]) -> CameraClips:
        clips.sort(key=lambda clip: clip.recorded)
        starts = [int(clip.recorded.timestamp()) for clip in clips]
        seconds = tuple(clip.duration for clip in clips)
        return CameraClips(
            sum(clip.fingerprint.size for clip in clips),
            starts[0],
            tuple(after - before for before, after in pairwise(starts)),
            seconds if any(each is not None for each in seconds) else (),
            sum(is_doubtful(clip, self._pipeline.started) for clip in clips),
        )


def _known(camera: str, clips: CameraClips) -> KnownClips:
    starts = tuple(accumulate(clips.pauses, initial=clips.first))
    return KnownClips(camera, starts, clips.seconds, clips.size, clips.doubtful)


def _by_camera(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        found[clip.camera].append(clip)
    return found


def _listing_digest(listing: Listing) -> str:
    """A digest of the clips in a folder: their names, sizes, times and rights; pictures are not shown."""
    return facts_digest(
        [
            sorted(
                (name, status.st_size, status.st_mtime_ns, status.st_mode)
                for name, status in listing.files.items()
            ),
            sorted((*listing.skipped, *listing.irregular, *listing.links, *listing.foreign)),
        ]
    )
