"""The pages of a site, as values, and what turns them into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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
