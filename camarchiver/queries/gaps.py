"""Finds the times of which a camera left no footage; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

Length = Callable[[str], float | None]
"""How many seconds the file there lasts; None where it doesn't say."""


class _Stretch(NamedTuple):
    """One clip's place in time."""

    start: datetime
    seconds: float | None
    path: str
    """A file that tells the length where nobody did."""


class Coverage:
    """One camera's clips of the time that is looked at, and the last one before."""

    __slots__ = ("before", "stretches")

    def __init__(self) -> None:
        self.stretches: list[_Stretch] = []
        self.before: _Stretch | None = None

    def add(self, start: datetime, seconds: float | None, path: str, *, since: datetime) -> None:
        """One clip more, in any order."""
        found = _Stretch(start, seconds, path)
        if start >= since:
            self.stretches.append(found)
        elif self.before is None or self.before.start < start:
            self.before = found


def gaps(
    coverage: Coverage, longest: timedelta, *, since: datetime, now: datetime, length: Length
) -> Iterator[tuple[datetime, datetime]]:
    """Times without footage longer than `longest`, oldest first; the last one may still go on.

    `length` is asked for the clips before a gap only. Of a camera without any earlier clip nothing is
    missing before its first one.
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


def _end(stretch: _Stretch, length: Length | None) -> datetime:
    seconds = stretch.seconds
    if seconds is None and length is not None:
        seconds = length(stretch.path)
    return stretch.start + timedelta(seconds=seconds or 0.0)
