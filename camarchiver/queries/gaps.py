"""Finds the times for which a camera left no footage; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

Length = Callable[[str], float | None]
"""The length of the file at this path in seconds; None if it has none."""


class _CoveredTime(NamedTuple):
    """The time that one clip covers."""

    start: datetime
    seconds: float | None
    path: str
    """The file that has the length if no other source does."""


class Coverage:
    """One camera's clips of the queried time, and the last one before it."""

    __slots__ = ("before", "stretches")

    def __init__(self) -> None:
        self.stretches: list[_CoveredTime] = []
        self.before: _CoveredTime | None = None

    def add(self, start: datetime, seconds: float | None, path: str, *, since: datetime) -> None:
        """Add one clip, in any order."""
        found = _CoveredTime(start, seconds, path)
        if start >= since:
            self.stretches.append(found)
        elif self.before is None or self.before.start < start:
            self.before = found


def gaps(
    coverage: Coverage, longest: timedelta, *, since: datetime, now: datetime, length: Length
) -> Iterator[tuple[datetime, datetime]]:
    """Times without footage longer than `longest`, oldest first; the last one may still be open.

    `length` is called only for the clips before a gap. If a camera has no earlier clip, nothing is missing
    before its first one.
    """
    ordered = sorted(coverage.stretches, key=lambda each: each.start)
    end = since if coverage.before is None else max(since, _end(coverage.before, None))
    if coverage.before is None:
        end = ordered[0].start if ordered else now
    last = coverage.before
    for each in ordered:
        if each.start - end > longest and last is not None:
            end = max(end, _end(last, length))
        if each.start - end > longest:
            yield end, each.start
        end = max(end, _end(each, None))
        last = each
    if now - end > longest and last is not None:
        end = max(end, _end(last, length))
        if now - end > longest:
            yield end, now


def _end(stretch: _CoveredTime, length: Length | None) -> datetime:
    seconds = stretch.seconds
    if seconds is None and length is not None:
        seconds = length(stretch.path)
    return stretch.start + timedelta(seconds=seconds or 0.0)
