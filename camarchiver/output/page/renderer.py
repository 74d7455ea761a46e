"""Makes the files of a site from the values of its pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from camarchiver.domain.clip import Tree, Trees
from camarchiver.domain.reason import Reason
from camarchiver.output import status_text
from camarchiver.output.lists import run_lines
from camarchiver.output.page import timeline
from camarchiver.output.page.day_data import ClipLinks, data_of, script, stories_of
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.page.clips import PageClip
from camarchiver.page.pages import (
    CameraPages,
    DayPage,
    Files,
    IndexPage,
    MonthPage,
    SizeLimit,
    day_files,
    month_file,
)
from camarchiver.page.site_state import GONE, MOTION, DaySummary, kind_of, summary_of
from camarchiver.queries.find import FindState
from camarchiver.queries.status_report import CameraStatus, DiskStatus
from camarchiver.runtime.formatting import about, count_of, shown, size, span

_HERE = Path(__file__).parent
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
"""Not by strftime, whose words follow the locale of whoever makes the page."""

LAST_DAYS = 10
"""Days of each camera that the first page links to."""

_REMARKS = (FindState.HELD, FindState.FAILED, FindState.DAMAGED, FindState.OFFSITE)
_REMARK_WORDS = {FindState.OFFSITE: "off-site copy"}


class ClipRow(Struct, frozen=True):
    """One clip in the list of a day's page."""

    id: str
    time: str
    href: str
    """Empty if there is no copy to look at."""
    about: str
    """Length and size."""
    remarks: tuple[str, ...]
    kind: str
    """How it is drawn."""


class SiteRenderer:
    """Makes the files of one site."""

    def __init__(self, site: Path, trees: Trees, zone: tzinfo) -> None:
        self._links = ClipLinks(site, trees)
        self._zone = zone
        self._trees = trees
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"shown": shown, "size": size, "span": span, "day": day_words}

    def assets(self) -> Files:
        """The style sheet and the script."""
        return {
            f"assets/{path.name}": path.read_text(encoding="utf-8")
            for path in sorted((_HERE / "static").iterdir())
        }

    def day(self, page: DayPage) -> Files:
        """The page, its data, and the stories, which are loaded when they are asked for."""
        rows = list(self._rows(page.clips))
        hours = [
            (hour, list(group)) for hour, group in groupby(rows, key=lambda row: row.time.partition(":")[0])
        ]
        summary = summary_of(page.clips)
        text = self._render(
            "day.html",
            page=page,
            hours=hours,
            layers=timeline.layers(summary.minutes),
            count=count_of(summary.clips, "clip"),
            seconds=summary.seconds,
            gone=sum(summary.gone.values()),
        )
        names = day_files(page.folder, page.day)
        data, stories = data_of(page), stories_of(page.clips, self._zone)
        return dict(zip(names, (text, script("DATA", data), script("STORY", stories)), strict=True))

    def month(self, page: MonthPage) -> Files:
        """The page."""
        gaps: Mapping[date, str] = {}
        if page.outage is not None:
            gaps = timeline.gap_paths(page.days, page.before, page.outage, page.now)
        days = [
            (day, timeline.layers(page.days[day].minutes) if day in page.days else [], gaps.get(day, ""))
            for day in _days_of(page)
        ]
        text = self._render(
            "month.html",
            page=page,
            title=f"{_MONTHS[page.first.month - 1]} {page.first.year}",
            days=days,
            said={day: list(_summary_words(summary, page.now)) for day, summary in page.days.items()},
            before=_month_link(page.neighbours[0]),
            after=_month_link(page.neighbours[1]),
        )
        return {month_file(page.folder, page.first): text}

    def index(self, page: IndexPage) -> Files:
        """The page, and the days of all cameras, by which its script finds a day."""
        statuses = {each.name: each for each in page.report.cameras}
        text = self._render(
            "index.html",
            page=page,
            source=self._trees.source,
            cameras=[_camera(each, statuses[each.name], page.now) for each in page.cameras],
            attention=[
                *status_text.attention_lines(page.report, self._zone),
                *([f"the next cleanup would change nothing: {page.stopped}"] if page.stopped else ()),
            ],
            storage=_storage(page.report.cameras),
            disks=[_disk(each) for each in page.report.disks],
            limits=[_limit_words(each) for each in page.limits],
            copies=[
                status_text.copies_line(remote, counts, self._zone)
                for remote, counts in page.report.offsite.items()
            ],
            runs=list(run_lines(page.runs, self._zone)),
            verified=list(status_text.pass_lines(page.report.findings, self._zone)),
        )
        days = {
            each.folder: {"name": shown(each.name), "days": _day_runs(each.days)} for each in page.cameras
        }
        return {"index.html": text, "days.js": script("DAYS", days)}

    def _render(self, template: str, **values: Any) -> str:
        root = "" if template == "index.html" else "../../"
        return self._templates.get_template(template).render(values, root=root)

    def _rows(self, clips: Iterable[PageClip]) -> Iterator[ClipRow]:
        seen: dict[str, int] = {}
        for clip in clips:
            at = f"{clip.start:%H:%M:%S}"
            seen[at] = seen.get(at, 0) + 1
            number = f".{seen[at]}" if seen[at] > 1 else ""
            length = f"{span(clip.seconds)}, " if clip.seconds is not None else ""
            yield ClipRow(
                f"t={at}{number}",
                at,
                self._links.of(clip.file) if clip.file is not None else "",
                f"{length}{size(clip.file.size if clip.file is not None else clip.identity[0])}",
                tuple(_remarks(clip)),
                kind_of(clip),
            )


def _remarks(clip: PageClip) -> Iterator[str]:
    if clip.is_gone:
        yield GONE
        return
    yield from (_REMARK_WORDS.get(each, str(each)) for each in _REMARKS if each in clip.states)
    if clip.motion is not None and clip.motion.spans:
        yield MOTION


def day_words(day: date) -> str:
    """A day with its weekday."""
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]} {day.year}"


def _days_of(page: MonthPage) -> Iterator[date]:
    """From the first day with clips of the month to its last one."""
    day, last = min(page.days), max(page.days)
    while day <= last:
        yield day
        day += timedelta(days=1)


def _summary_words(summary: DaySummary, now: datetime) -> Iterator[str]:
    """A day in a few words."""
    if summary.clips:
        hours = f", {about(summary.seconds)}" if summary.seconds else ""
        yield f"{count_of(summary.clips, 'clip')}{hours}, {size(sum(t.size for t in summary.trees.values()))}"
    if summary.moving:
        yield f"motion for {span(summary.moving)}"
    if summary.offsite:
        yield f"{summary.offsite:,} with an off-site copy"
    for count, word in ((summary.held, "held"), (summary.failed, "failed"), (summary.damaged, "damaged")):
        if count:
            yield f"{count:,} {word}"
    for reason, (day, count) in sorted(summary.removals.items(), key=lambda each: each[1]):
        when = "by the next cleanup" if day <= now.date() else f"from {day} on"
        yield f"{count_of(count, 'file')} to go {when}: {REASON_WORDS[reason]}"  # type: ignore[index]
    for rule, count in sorted(summary.gone.items()):
        why = REASON_WORDS[Reason(rule)] if rule else "no line of the journal says why"
        yield f"{count_of(count, 'clip')} gone: {why}"


def _month_link(month: date | None) -> tuple[str, str] | None:
    """The file of a month beside another one, and its name."""
    if month is None:
        return None
    return f"{month:%Y-%m}.html", f"{_MONTHS[month.month - 1]} {month.year}"


def _camera(pages: CameraPages, status: CameraStatus, now: datetime) -> dict[str, Any]:
    """What the first page says of a camera."""
    days = sorted(pages.days)
    months: dict[int, list[date]] = {}
    for first in sorted({day.replace(day=1) for day in days}):
        months.setdefault(first.year, []).append(first)
    last = f"{about((now - status.last).total_seconds())} ago" if status.last else ""
    return {
        "name": pages.name,
        "folder": pages.folder,
        "last": f"last clip {last}" if last else "no clip in source or archive",
        "overdue": status.is_overdue,
        "days": [(day, day_words(day)) for day in reversed(days[-LAST_DAYS:])],
        "months": [
            (year, [(f"{first:%Y-%m}", _MONTHS[first.month - 1]) for first in found])
            for year, found in sorted(months.items(), reverse=True)
        ],
        "clips": sum(summary.clips for summary in pages.days.values()),
    }


def _storage(cameras: Sequence[CameraStatus]) -> list[dict[str, Any]]:
    """For each camera the bytes in each tree, and how long their bars are in thousandths."""
    trees = (Tree.SOURCE, Tree.ARCHIVE, Tree.TRASH)
    rows = [(each.name, {tree: getattr(each, tree).size for tree in trees}) for each in cameras]
    most = max((sum(sizes.values()) for _, sizes in rows), default=0) or 1
    found = []
    for name, sizes in rows:
        bars, at = [], 0
        for tree in trees:
            width = round(sizes[tree] * 1000 / most)
            bars.append((tree, at, width))
            at += width
        found.append({"name": name, "sizes": [(tree, sizes[tree]) for tree in trees], "bars": bars})
    return found


def _disk(disk: DiskStatus) -> dict[str, Any]:
    used = disk.total - disk.free
    return {
        "words": status_text.disk_line(disk),
        "used": round(used * 1000 / disk.total) if disk.total else 0,
    }


def _limit_words(limit: SizeLimit) -> str:
    """What a rule by size does now, and from when on it may remove something."""
    if limit.reason is Reason.MIN_FREE:
        rule = f"{size(limit.limit)} stay free at {shown(limit.where)} (min_free); {size(limit.now)} are free"
    else:
        whose = f"{shown(limit.where)}'s files" if limit.where else "all files"
        rule = f"{whose} together have at most {size(limit.limit)} (max_size); {size(limit.now)} are used"
    if limit.left < 0:
        return f"{rule}: the next cleanup removes what is too much"
    if limit.daily is None:
        return f"{rule}: beyond that the oldest go, whatever their age"
    if limit.daily <= 0:
        return f"{rule}: the trees don't grow"
    days = f"{limit.left / limit.daily:,.0f}"
    return f"{rule}: reached in about {days} days at the present rate; then the oldest go, whatever their age"


def _day_runs(days: Iterable[date]) -> list[tuple[str, int]]:
    """Days in order, as the first one of each unbroken run and how many days it has."""
    runs: list[tuple[date, int]] = []
    for day in sorted(days):
        if runs and runs[-1][0] + timedelta(days=runs[-1][1]) == day:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((day, 1))
    return [(str(day), count) for day, count in runs]
