"""Makes a site up to date: gathers the days that have changed and writes their pages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.cleanup import size_preview
from camarchiver.discovery import walks
from camarchiver.page import site_state
from camarchiver.page.clips import DayGatherer, PageClip
from camarchiver.page.overview import overview, recent_days
from camarchiver.page.pages import (
    DayPage,
    MonthPage,
    PageRenderer,
    SiteQuestion,
    day_files,
    month_file,
    strip_files,
    thumbnails_folder,
)
from camarchiver.page.site_folder import SiteFolder, folder_of
from camarchiver.page.site_marks import SiteMarks, settings_digest
from camarchiver.page.site_state import SiteState, summary_of
from camarchiver.page.source_marks import SourceMarks
from camarchiver.page.thumbnails import ThumbnailMaker
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy
from camarchiver.policy.removal_forecast import RemovalForecast
from camarchiver.queries.status import StatusCounter, StatusQuestion
from camarchiver.queries.status_report import StatusReport
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.runtime.signals import Stopper

if TYPE_CHECKING:
    # Imported where it is used: most sites have no copies, and the encoders take a tenth of a refresh.
    from camarchiver.page.held_copies import HeldCopies

SAVED_EACH = 200
"""Days after which the state is saved, so that a build that was interrupted can go on."""

DAYS_AT_ONCE = 16
"""Days whose clips are held in memory while thumbnails are made."""

_DAY = timedelta(days=1)


class SiteRefresh(Struct, frozen=True):
    """What a refresh did."""

    site: Path
    days: int
    """Pages of days that were written."""
    removed: int
    """Pages of days that were removed."""
    cameras: int
    clips: int
    """On the whole site, as the cameras."""


class _SourceCopy(NamedTuple):
    day: date
    instant: float
    """Seconds since 1970."""
    copy: Copy


DayOfCopies = tuple[date, list[Copy]]
"""A day, and its clips in the source."""

DayProgress = Callable[[Iterator[DayOfCopies], int], Iterable[DayOfCopies]]
"""Shows how far an iteration over about this many days has come."""


class SiteBuilder:
    """One refresh of one site; call `refresh` only once."""

    def __init__(
        self,
        pipeline: Pipeline,
        question: SiteQuestion,
        folder: SiteFolder,
        renderer: PageRenderer,
        stop: Stopper,
    ) -> None:
        self._pipeline = pipeline
        self._question = question
        self._folder = folder
        self._renderer = renderer
        self._stop = stop
        self._newest: dict[str, datetime] = {}
        """When the newest clip of each camera was recorded."""
        self._now = pipeline.started
        self._memory = pipeline.memory()
        counted = question.remote if question.cleanup.offsite_counts is not None else ""
        self._copies = walks.of_copies(pipeline, self._memory, counted)
        self._by_size = size_preview.preview(pipeline, question.cleanup, counted)
        self._marks = SiteMarks(pipeline, self._memory, self._by_size)
        settings = settings_digest(
            pipeline,
            question.cleanup,
            question.cameras,
            folder.root,
            playable=question.playable,
            remote=question.remote,
        )
        found = site_state.read(folder.root)
        self._is_new = question.rebuild or found.settings != settings
        self._held_copies = self._opened_copies() if question.playable else None
        self._copies_before = {
            (camera, day): set(summary.copies)
            for camera, days in found.cameras.items()
            for day, summary in days.items()
            if summary.copies
        }
        self._former = {camera: set(days) for camera, days in found.cameras.items()}
        self._state = SiteState(settings=settings) if self._is_new else found
        self._source = SourceMarks(pipeline, self._memory, self._copies, self._state.folders)
        self._months: set[tuple[str, date]] = set()
        """Cameras and months whose pages are outdated."""
        self._again: set[date] = set()
        """Days with clips whose names are of another day."""
        self._gone: set[tuple[str, date]] = set()
        """Cameras and days whose pages were removed."""
        self._written = self._removed = 0

    def refresh(self, progress: DayProgress) -> SiteRefresh:
        """Write what is outdated, the first page last. Raises OSError or StorageError."""
        counter = StatusCounter(self._pipeline, StatusQuestion(self._question.archive, self._now, None))
        sources = SealedSequence(self._sources(counter), key=lambda each: (*each[:2], each.copy.source))
        self._state.folders = self._source.marks
        self._folder.update(self._renderer.assets())
        gatherer = self._gatherer()
        known = sorted({*self._pipeline.journal.days(), *self._state.journals, *self._source.days})
        days = progress(_by_day(sources, known), len(known))
        for count, (day, copies) in enumerate(days, 1):
            if self._stop.is_set():
                break
            self._refresh_day(gatherer, day, copies)
            if count % SAVED_EACH == 0 and self._written:
                site_state.write(self._folder.root, self._state)
        else:
            self._refresh_strays(gatherer, sources)
            self._remove_former()
        report = counter.report(recent_days(self._state, self._now))
        self._finish(report)
        if self._add_thumbnails(gatherer, sources):
            self._finish(report)
        if self._held_copies is not None:
            self._held_copies.close()
        clips = sum(each.clips for days_of in self._state.cameras.values() for each in days_of.values())
        return SiteRefresh(self._folder.root, self._written, self._removed, len(self._state.cameras), clips)

    def _opened_copies(self) -> HeldCopies:
        from camarchiver.page.held_copies import HeldCopies

        return HeldCopies(self._folder.root, self._pipeline.trees, self._stop)

    def _finish(self, report: StatusReport) -> None:
        """Write the months and the first page, then the state."""
        self._refresh_months(report)
        page = overview(self._pipeline, report, self._state, self._question, self._by_size.stopped)
        self._folder.write(self._renderer.index(page))
        site_state.write(self._folder.root, self._state)

    def _sources(self, counter: StatusCounter) -> Iterator[_SourceCopy]:
        for facts in self._source.walk(counter):
            for clip in facts.clips:
                copy = self._copies.in_source(clip, facts)
                self._note_newest(clip.camera, clip.recorded)
                yield _SourceCopy(clip.start.date(), clip.start.timestamp(), copy)

    def _note_newest(self, camera: str, recorded: datetime) -> None:
        self._newest[camera] = max(self._newest.get(camera, recorded), recorded)

    def _gatherer(self) -> DayGatherer:
        for camera, newest in self._source.newest():
            self._note_newest(camera, newest)
        for camera, days in self._state.cameras.items():
            for day in days.values():
                if day.newest is not None:
                    self._note_newest(camera, day.newest)
        forecast = RemovalForecast(self._question.cleanup, self._memory, self._newest, self._now)
        return DayGatherer(self._pipeline, self._memory, self._copies, forecast, self._by_size)

    # --- thumbnails --------------------------------------------------------------------------------

    def _add_thumbnails(self, gatherer: DayGatherer, sources: Iterable[_SourceCopy]) -> bool:
        """Make thumbnails of clips that have none, and write their days again; whether any was looked at."""
        maker = ThumbnailMaker(self._pipeline, self._question.thumbnail_seconds, self._stop)
        waiting = [day for day, mark in sorted(self._state.journals.items(), reverse=True) if mark.unseen]
        was_any = bool(waiting) and not maker.is_over
        for first in range(0, len(waiting), DAYS_AT_ONCE):
            if maker.is_over:
                break
            batch = waiting[first : first + DAYS_AT_ONCE]
            copies = _copies_of(set(batch), sources)
            for day in (each for each in batch if not maker.is_over):
                here = [*copies[day], *self._source.left_out(day)]
                left = maker.make(clip for clip in gatherer.day(day, here) if self._shows(clip))
                self._refresh_day(gatherer, day, copies[day])
                self._state.journals[day] = replace(self._state.journals[day], unseen=left)
        self._refresh_strays(gatherer, sources)
        return was_any

    # --- one day -----------------------------------------------------------------------------------

    def _refresh_day(self, gatherer: DayGatherer, day: date, sources: Sequence[Copy]) -> None:
        """Gather the clips whose names are of this day, if anything about them has changed.

        `sources` are those of folders that were examined.
        """
        known = self._state.journals.get(day)
        if day + _DAY < self._question.since and not self._pipeline.conventions.clocks:
            self._state.journals.pop(day, None)
            self._write_day(day, ())
            return
        here = self._source.digests(day)
        if self._marks.is_current(day, here, known):
            return
        found = gatherer.day(day, [*sources, *self._source.left_out(day)])
        clips = [clip for clip in found if self._shows(clip)]
        strays = {clip.start.date() for clip in clips} - {day}
        self._state.journals[day] = self._marks.make(day, here, clips, strays)
        self._again |= strays | set(known.strays if known else ())
        if self._contributors(day):
            self._again.add(day)
        else:
            self._write_day(day, [clip for clip in clips if clip.start.date() == day])

    def _shows(self, clip: PageClip) -> bool:
        cameras = self._question.cameras
        return (not cameras or clip.camera in cameras) and clip.start.date() >= self._question.since

    def _contributors(self, day: date) -> set[date]:
        """Other days by whose names clips of this day are journalled."""
        return {other for other, mark in self._state.journals.items() if day in mark.strays}

    def _refresh_strays(self, gatherer: DayGatherer, sources: Iterable[_SourceCopy]) -> None:
        """Write the days on which clips were recorded whose names are of another day."""
        if not self._again:
            return
        from_days = {day: self._contributors(day) | {day} for day in self._again}
        self._again.clear()
        wanted = set().union(*from_days.values())
        copies = _copies_of(wanted, sources)
        for day in wanted:
            copies[day] += self._source.left_out(day)
        for day, others in sorted(from_days.items()):
            clips = [clip for other in sorted(others) for clip in gatherer.day(other, copies[other])]
            self._write_day(day, [clip for clip in clips if clip.start.date() == day and self._shows(clip)])

    def _write_day(self, day: date, clips: Iterable[PageClip]) -> None:
        """Write the pages of one day, and remove those of cameras that have no clips any more."""
        by_camera: dict[str, list[PageClip]] = defaultdict(list)
        for clip in clips:
            by_camera[clip.camera].append(clip)
        for camera, found in by_camera.items():
            found.sort(key=lambda clip: (clip.start, clip.source))
            copies = self._held_copies.of(found) if self._held_copies is not None else {}
            self._remove_copies(camera, day, kept=copies.values())
            summary = replace(summary_of(found), copies=tuple(copies.values()))
            self._state.cameras.setdefault(camera, {})[day] = summary
            page = DayPage(
                camera,
                folder_of(camera),
                day,
                found,
                self._now,
                copies,
                self._question.cleanup.has_size_rules,
                self._question.remote,
            )
            self._folder.link(thumbnails_folder(page.folder, day), strip_files(page))
            self._folder.write(self._renderer.day(page))
            self._months.add((camera, day.replace(day=1)))
            self._written += 1
        for camera in [each for each, days in self._state.cameras.items() if day in days]:
            if camera not in by_camera:
                self._remove_copies(camera, day)
                del self._state.cameras[camera][day]
                self._remove_day(camera, day)

    def _remove_copies(self, camera: str, day: date, kept: Iterable[str] = ()) -> None:
        """Remove the playable copies that a day had before, except some."""
        before = self._copies_before.pop((camera, day), set())
        if (summary := self._state.cameras.get(camera, {}).get(day)) is not None:
            before |= set(summary.copies)
        if outdated := before - set(kept):
            from camarchiver.page import held_copies

            held_copies.remove(self._folder.root, outdated)

    def _remove_day(self, camera: str, day: date) -> None:
        if (camera, day) in self._gone:
            return
        self._gone.add((camera, day))
        folder = folder_of(camera)
        self._folder.link(thumbnails_folder(folder, day), {})
        self._folder.remove(day_files(folder, day))
        self._months.add((camera, day.replace(day=1)))
        self._removed += 1

    def _remove_former(self) -> None:
        """Remove the pages of days that the site had before all of its pages were made again."""
        for camera, days in self._former.items():
            for day in days - self._state.cameras.get(camera, {}).keys():
                self._remove_copies(camera, day)
                self._remove_day(camera, day)
        for camera in [each for each, days in self._state.cameras.items() if not days]:
            del self._state.cameras[camera]

    # --- months ------------------------------------------------------------------------------------

    def _refresh_months(self, report: StatusReport) -> None:
        outages = {each.name: each.rhythm.outage for each in report.cameras if each.rhythm is not None}
        for camera, first in sorted(self._with_neighbours()):
            days = self._state.cameras.get(camera, {})
            found = {day: summary for day, summary in sorted(days.items()) if day.replace(day=1) == first}
            if not found:
                self._folder.remove([month_file(folder_of(camera), first)])
                continue
            page = MonthPage(
                camera,
                folder_of(camera),
                first,
                found,
                days.get(first - _DAY),
                outages.get(camera),
                self._neighbours(days, first),
                self._now,
                self._question.cleanup.has_size_rules,
            )
            self._folder.write(self._renderer.month(page))
        self._months.clear()

    def _with_neighbours(self) -> set[tuple[str, date]]:
        """The outdated months, and those beside a month that is new or gone."""
        found = set(self._months)
        for camera, first in self._months:
            was = any(day.replace(day=1) == first for day in self._former.get(camera, ()))
            days = self._state.cameras.get(camera, {})
            if was != any(day.replace(day=1) == first for day in days):
                found |= {(camera, each) for each in self._neighbours(days, first) if each is not None}
        return found

    @staticmethod
    def _neighbours(days: Iterable[date], first: date) -> tuple[date | None, date | None]:
        months = {day.replace(day=1) for day in days}
        before, after = [each for each in months if each < first], [each for each in months if each > first]
        return max(before, default=None), min(after, default=None)


def _copies_of(days: set[date], sources: Iterable[_SourceCopy]) -> dict[date, list[Copy]]:
    """The clips of these days, in folders of the source that were examined."""
    found: dict[date, list[Copy]] = defaultdict(list)
    for day, _, copy in sources:
        if day in days:
            found[day].append(copy)
    return found


def _by_day(sources: Iterable[_SourceCopy], others: Iterable[date]) -> Iterator[DayOfCopies]:
    """Every day, with its clips in the source; `others` are days that may have none."""
    found = ((day, [each.copy for each in group]) for day, group in groupby(sources, key=itemgetter(0)))
    empty = ((day, list[Copy]()) for day in others)
    both = merge(found, empty, key=itemgetter(0))
    for day, groups in groupby(both, key=itemgetter(0)):
        yield day, [copy for _, copies in groups for copy in copies]
