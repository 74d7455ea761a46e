"""Drawings of a day: which minutes have footage, of what kind, and where there is a gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, tzinfo

from msgspec import Struct

from camarchiver.page.site_state import MOTION, DaySummary
from camarchiver.queries.gaps import Coverage, gaps

MINUTES = 1440
HEIGHT = 24
"""Of the drawing, whose width is one unit for each minute."""

NARROWEST = 3
"""Minutes that the shortest run is drawn as, so that it can be seen."""

FOOTAGE = ("gone", "offsite", "source", "archive", "trash")
"""Kinds of minutes that show where footage is, or that it was there; the others say more about it."""

_DAY = timedelta(days=1)


class Layer(Struct, frozen=True):
    """One kind of minutes as the outline of an SVG path."""

    kind: str
    path: str


def layers(minutes: Mapping[str, Iterable[int]]) -> list[Layer]:
    """The layers of a day, in the order in which they are drawn."""
    order = (*FOOTAGE, MOTION, "held", "failed", "damaged")
    return [Layer(kind, path_of(minutes[kind])) for kind in order if minutes.get(kind)]


def path_of(runs: Iterable[int]) -> str:
    """Rectangles over runs of minutes, which are given as begin and length in turn."""
    found = []
    for begin, length in _pairs(runs):
        if begin < MINUTES:
            width = max(min(begin + length, MINUTES) - begin, NARROWEST)
            found.append(f"M{min(begin, MINUTES - width)} 0h{width}v{HEIGHT}h-{width}z")
    return "".join(found)


def gap_paths(
    days: Mapping[date, DaySummary], before: DaySummary | None, outage: timedelta, now: datetime
) -> dict[date, str]:
    """For each day of a month the times without footage that are longer than the camera's own pauses."""
    zone = now.tzinfo
    first = min(days)
    coverage, start = Coverage(), _midnight(first.replace(day=1), zone)
    if before is not None:
        _cover(coverage, start - _DAY, before, start, outage)
    for day, summary in days.items():
        _cover(coverage, _midnight(day, zone), summary, start, outage)
    end = min(now, _midnight((first.replace(day=28) + timedelta(days=4)).replace(day=1), zone))
    found: dict[date, list[int]] = {}
    for begin, stop in gaps(coverage, outage, since=start, now=end, length=lambda _: None):
        for day, run in _split(begin, stop):
            found.setdefault(day, []).extend(run)
    return {day: path_of(runs) for day, runs in found.items()}


def _cover(
    coverage: Coverage, midnight: datetime, summary: DaySummary, since: datetime, outage: timedelta
) -> None:
    """Add a day's footage; a day may have thousands of runs, so those without a gap between them are one."""
    runs = sorted(run for kind in FOOTAGE for run in _pairs(summary.minutes.get(kind, ())))
    for begin, end in _without_pauses(runs, outage / timedelta(minutes=1)):
        coverage.add(midnight + timedelta(minutes=begin), (end - begin) * 60.0, "", since=since)


def _without_pauses(runs: Iterable[tuple[int, int]], longest: float) -> Iterator[tuple[int, int]]:
    """First and last minute of runs that follow each other within `longest` minutes."""
    begin = end = -1
    for first, length in runs:
        if begin < 0 or first - end > longest:
            if begin >= 0:
                yield begin, end
            begin = end = first
        end = max(end, first + length)
    if begin >= 0:
        yield begin, end


def _split(begin: datetime, end: datetime) -> Iterator[tuple[date, tuple[int, int]]]:
    """A time as runs of minutes of each of its days."""
    while begin < end:
        midnight = _midnight(begin.date(), begin.tzinfo)
        stop = min(end, midnight + _DAY)
        first, last = (round((each - midnight).total_seconds() / 60) for each in (begin, stop))
        if last > first:
            yield begin.date(), (first, last - first)
        begin = stop


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, time(), zone)


def _pairs(runs: Iterable[int]) -> Iterator[tuple[int, int]]:
    each = iter(runs)
    return zip(each, each, strict=True)
