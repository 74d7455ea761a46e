"""How often a camera records, so that a pause can be distinguished from an outage; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from math import ceil
from statistics import median

from msgspec import Struct

WINDOW = timedelta(days=14)
"""The rhythm is that of this time before a camera's last clip."""

FEWEST = 8
"""With fewer pauses between clips than this a camera has no rhythm that could be known."""

_MOST_STARTS = 4000
"""Starts that are remembered for each camera: two weeks of a clip every five minutes."""

_SLACK = 1.5
"""A pause counts as an outage from this many times the longest usual pause."""

_SHORTEST_OUTAGE = timedelta(minutes=10)


class Rhythm(Struct, frozen=True):
    """The pauses between the starts of a camera's clips."""

    usual: timedelta
    """The median pause."""
    quiet: timedelta
    """The longest pause that recurs, for example the night of a camera that records motion."""

    @property
    def outage(self) -> timedelta:
        """A pause from this length on does not belong to the rhythm."""
        return max(self.quiet * _SLACK, _SHORTEST_OUTAGE)


class RecentStarts:
    """The newest starts of a camera's clips, in any order; memory does not follow the number of clips."""

    __slots__ = ("_starts",)

    def __init__(self) -> None:
        self._starts: list[float] = []

    def add(self, start: float) -> None:
        """Add the start of a clip, in seconds since 1970."""
        self._starts.append(start)
        if len(self._starts) > 2 * _MOST_STARTS:
            self._starts = sorted(set(self._starts))[-_MOST_STARTS:]

    @property
    def last(self) -> float | None:
        """The latest start; None without a clip."""
        return max(self._starts, default=None)

    def rhythm(self) -> Rhythm | None:
        """The rhythm of the newest clips; None if there are too few."""
        return rhythm_of(self._starts)


def rhythm_of(starts: Iterable[float]) -> Rhythm | None:
    """The rhythm of clips that start at these times, in seconds; a clip may be named twice.

    A pause belongs to the rhythm if it recurs on half of the days or is one of the longest hundredth of the
    pauses, and in any case if two others are at least as long.
    """
    ordered = sorted(set(starts))
    ordered = [start for start in ordered if start >= ordered[-1] - WINDOW.total_seconds()]
    pauses = sorted(after - before for before, after in pairwise(ordered))
    if len(pauses) < FEWEST:
        return None
    days = (ordered[-1] - ordered[0]) / timedelta(days=1).total_seconds()
    rank = min(max(3, ceil(len(pauses) / 100)), max(3, ceil(days / 2)))
    return Rhythm(timedelta(seconds=median(pauses)), timedelta(seconds=pauses[-rank]))
