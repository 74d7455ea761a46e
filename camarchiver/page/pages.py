"""The pages of a site, as values, and what turns them into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from camarchiver.page.clips import PageClip
from camarchiver.page.site_state import DaySummary
from camarchiver.queries.status_report import StatusReport
from camarchiver.state.run_history import RunRecord

Files = Mapping[str, str]
"""Texts by their paths below the site's folder."""


@dataclass(frozen=True, slots=True)
class DayPage:
    """One camera's day."""

    camera: str
    folder: str
    """Of the camera's pages."""
    day: date
    clips: Sequence[PageClip]
    now: datetime
    playable: Mapping[str, str]
    """Copies that browsers can play, below the site, by the clip's path below the source root."""


@dataclass(frozen=True, slots=True)
class MonthPage:
    """One camera's month."""

    camera: str
    folder: str
    first: date
    days: Mapping[date, DaySummary]
    """Those that have clips."""
    before: DaySummary | None
    """The day before the month, whose last clip may reach into it."""
    outage: timedelta | None
    """A pause of this length is a gap; None for a camera whose rhythm is not known."""
    neighbours: tuple[date | None, date | None]
    """The months before and after it that have pages."""
    now: datetime


@dataclass(frozen=True, slots=True)
class CameraPages:
    """What there is of one camera."""

    name: str
    folder: str
    days: Mapping[date, DaySummary]


@dataclass(frozen=True, slots=True)
class IndexPage:
    """The first page."""

    cameras: Sequence[CameraPages]
    report: StatusReport
    """Its totals are those of the cameras' days."""
    runs: Sequence[RunRecord]
    """The last ones, newest first."""
    now: datetime


def strip_files(page: DayPage) -> dict[str, Path]:
    """The pictures of a day's clips: the names of the files in the site, and the files in the cache."""
    names = strip_names(page.clips)
    folder = pictures_folder(page.folder, page.day)
    found = zip(names, page.clips, strict=True)
    return {f"{folder}/{name}": clip.strip.file for name, clip in found if clip.strip is not None}


def strip_names(clips: Sequence[PageClip]) -> list[str]:
    """The name of each clip's pictures, with a number if several clips begin in one second."""
    seen: dict[str, int] = {}
    names = []
    for clip in clips:
        at = f"{clip.start:%H%M%S}"
        seen[at] = seen.get(at, 0) + 1
        names.append(f"{at}-{seen[at]}.jpg" if seen[at] > 1 else f"{at}.jpg")
    return names


def pictures_folder(folder: str, day: date) -> str:
    """Where the pictures of a day are, below the site."""
    return f"cameras/{folder}/pictures/{day}"


class PageRenderer(Protocol):
    """Turns pages into files."""

    def assets(self) -> Files:
        """Files that all pages share."""
        ...

    def day(self, page: DayPage) -> Files:
        """The files of one day."""
        ...

    def month(self, page: MonthPage) -> Files:
        """The files of one month."""
        ...

    def index(self, page: IndexPage) -> Files:
        """The files of the first page."""
        ...


def day_files(folder: str, day: date) -> tuple[str, ...]:
    """The files of a day's page: the page, its data, and the stories of its clips."""
    return tuple(f"cameras/{folder}/{day}{ending}" for ending in (".html", ".js", ".story.js"))


def month_file(folder: str, month: date) -> str:
    """The page of a month."""
    return f"cameras/{folder}/{month:%Y-%m}.html"
