"""Converts the time in a name to a moment in the cameras' time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from camarchiver.naming.patterns import ParsedName


def locate(parsed: ParsedName, mtime_ns: int, zone: tzinfo) -> datetime:
    """The start in `zone`, aware.

    In the hour that repeats in autumn: the last of its two instants that is not after the file's
    mtime, otherwise the first. A time in the hour that spring skips is from a clock not yet put forward.
    """
    if parsed.utc:
        return parsed.start.replace(tzinfo=UTC).astimezone(zone)
    if keeps_clock(parsed.start.date(), zone):
        return parsed.start.replace(tzinfo=zone, fold=0)
    first = parsed.start.replace(tzinfo=zone, fold=0)
    second = first.replace(fold=1)
    ahead, later_ahead = first.utcoffset(), second.utcoffset()
    if ahead is None or later_ahead is None or ahead == later_ahead:
        return first
    if ahead < later_ahead:
        return first.astimezone(UTC).astimezone(zone)
    return second if second.timestamp() <= mtime_ns / 1e9 else first


@lru_cache(maxsize=64)
def keeps_clock(day: date, zone: tzinfo) -> bool:
    """Whether no clock change happens within a day; called for every clip of it."""
    midnight = datetime.combine(day, time(), zone)
    hours = [midnight + timedelta(hours=hour) for hour in range(25)] if day < date.max else []
    return len({hour.replace(fold=fold).utcoffset() for hour in hours for fold in (0, 1)}) == 1
