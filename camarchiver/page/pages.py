"""The pages of a site, as values, and what turns them into files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from camarchiver.domain.reason import Reason
from camarchiver.journal.ledger import ClipKey
from camarchiver.page.clips import PageClip
from camarchiver.page.site_state import DaySummary
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.queries.status_report import StatusReport
from camarchiver.state.run_history import RunRecord


class SiteQuestion(Struct, frozen=True):
    """What a site shows."""

    archive: ArchivePolicy
    cleanup: CleanupPolicy
    """What removes clips, and so decides when they go."""
    cameras: frozenset[str] = frozenset()
    """Empty for all."""
    since: date = date.min
    """The first day that is shown."""
    rebuild: bool = False
    """Whether all pages are made again."""
    remote: str = ""
    """Where off-site copies are, by the config; empty if it names no remote."""
    playable: bool = False
    """Whether held clips that browsers can't play get copies that they can."""
    thumbnail_seconds: float = 0.0
    """How long thumbnails may be made of clips that have none."""


Files = Mapping[str, str]
"""Texts by their paths below the site's folder."""


class DayPage(Struct, frozen=True):
    """One camera's day."""

    camera: str
    folder: str
    """Of the camera's pages."""
    day: date
    clips: Sequence[PageClip]
    now: datetime
    playable: Mapping[ClipKey, str]
    """Copies that browsers can play, below the site, by the clip's key."""
    has_size_rules: bool = False
    """Whether rules by size may remove clips earlier than is known."""
    remote: str = ""
    """Where off-site copies should be; empty if nowhere."""


class MonthPage(Struct, frozen=True):
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
    has_size_rules: bool = False
    """Whether rules by size may remove clips earlier than is known."""


class CameraPages(Struct, frozen=True):
    """What there is of one camera."""

    name: str
    folder: str
    days: Mapping[date, DaySummary]


class SizeLimit(Struct, frozen=True):
    """How near a rule by size is to removing anything."""

    reason: Reason
    limit: int
    """Bytes that may be used, or that must be free."""
    now: int
    """Bytes that are used, or free."""
    daily: float | None
    """Bytes by which the trees grow per day; None if that is not known."""
    where: str = ""
    """The camera or the folder that it is about; empty for all trees."""

    @property
    def left(self) -> int:
        """Bytes until it is reached; negative if it is passed."""
        return self.now - self.limit if self.reason is Reason.MIN_FREE else self.limit - self.now


class IndexPage(Struct, frozen=True):
    """The first page."""

    cameras: Sequence[CameraPages]
    report: StatusReport
    """Its totals are those of the cameras' days."""
    runs: Sequence[RunRecord]
    """The last ones, newest first."""
    now: datetime
    limits: Sequence[SizeLimit] = ()
    stopped: str = ""
    """Why the next cleanup would do nothing at all, as far as that is known."""


def strip_files(page: DayPage) -> dict[str, Path]:
    """The thumbnails of a day's clips: the names of the files in the site, and the files in the cache."""
    names = strip_names(page.clips)
    folder = thumbnails_folder(page.folder, page.day)
    found = zip(names, page.clips, strict=True)
    return {f"{folder}/{name}": clip.strip.file for name, clip in found if clip.strip is not None}


def strip_names(clips: Sequence[PageClip]) -> list[str]:
    """The name of each clip's thumbnails, with a number if several clips begin in one second."""
    seen: dict[str, int] = {}
    names = []
    for clip in clips:
        at = f"{clip.start:%H%M%S}"
        seen[at] = seen.get(at, 0) + 1
        names.append(f"{at}-{seen[at]}.jpg" if seen[at] > 1 else f"{at}.jpg")
    return names


def thumbnails_folder(folder: str, day: date) -> str:
    """Where the thumbnails of a day are, below the site."""
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
