"""queries: decisions and formats, without a disk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from camarchiver.domain.clip import Tree
from camarchiver.journal.event import JournalEvent
from camarchiver.queries.gaps import Coverage, gaps
from camarchiver.queries.growth import growth
from camarchiver.queries.rhythm import RecentStarts, Rhythm, rhythm_of
from tests.values import line_of


class TestGaps:
    """Times without footage, of the week before noon of the eighth."""

    NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)

    def gaps(
        self, *clips: tuple[float, float | None], lengths: dict[str, float] | None = None
    ) -> list[tuple[float, float]]:
        """From and to, in hours before now; clips likewise with their hours."""
        week = self.NOW - timedelta(days=7)
        coverage = Coverage()
        for ago, hours in clips:
            seconds = None if hours is None else hours * 3600
            coverage.add(self.NOW - timedelta(hours=ago), seconds, str(ago), since=week)

        def length(path: str) -> float | None:
            return (lengths or {}).get(path)

        found = gaps(coverage, timedelta(hours=1), since=week, now=self.NOW, length=length)
        return [((self.NOW - a) / timedelta(hours=1), (self.NOW - b) / timedelta(hours=1)) for a, b in found]

    def test_between_clips_in_any_order_and_until_now(self) -> None:
        assert self.gaps() == []
        assert self.gaps((0.5, 0.5)) == []
        assert self.gaps((5, 5), (12, 1), (10, 1)) == [(9, 5)]
        assert self.gaps((10, 1)) == [(9, 0)]

    def test_what_came_before_the_week_counts(self) -> None:
        assert self.gaps((200, 1), (5, 5)) == [(168, 5)]
        assert self.gaps((169, 164), (5, 5)) == []
        assert self.gaps((300, 1)) == [(168, 0)]

    def test_an_unknown_length_is_asked_for_before_a_gap_only(self) -> None:
        assert self.gaps((10, None), (5, None), (1, None), lengths={"10": 5 * 3600, "1": 3600}) == [(5, 1)]
        assert self.gaps((10, None), (9.5, None), (9, 9)) == []

    def test_a_longer_clip_covers_those_within_it(self) -> None:
        assert self.gaps((10, 10), (8, 0.1)) == []


MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class TestRhythm:
    """How often a camera records, and from when on a pause is none of its own."""

    def evenings(self, days: int) -> list[float]:
        """A clip every twenty minutes from 6 to 22 o'clock, as a camera makes them that records motion."""
        return [day * DAY + 6 * HOUR + 20 * MINUTE * number for day in range(days) for number in range(48)]

    def rhythm(self, starts: Iterable[float]) -> Rhythm:
        found = rhythm_of(starts)
        assert found is not None
        return found

    def test_the_night_belongs_to_it(self) -> None:
        found = self.rhythm(self.evenings(14))
        assert (found.usual, found.quiet) == (timedelta(minutes=20), timedelta(hours=8, minutes=20))
        assert found.outage == timedelta(hours=12, minutes=30)

    @pytest.mark.parametrize("lost", [1, 3, 6])
    def test_outages_of_a_camera_that_always_records_do_not(self, lost: int) -> None:
        starts = [10 * MINUTE * number for number in range(14 * 144)]
        outages = [(2 * DAY * number + HOUR, 2 * DAY * number + 6 * HOUR) for number in range(lost)]
        left = [each for each in starts if not any(begin < each < end for begin, end in outages)]
        assert self.rhythm(left).quiet == timedelta(minutes=10)

    def test_few_clips_have_none(self) -> None:
        assert rhythm_of([]) is rhythm_of([1.0]) is rhythm_of([HOUR * each for each in range(8)]) is None
        assert rhythm_of([HOUR * each for each in range(9)]) is not None

    def test_a_clip_in_two_trees_counts_once(self) -> None:
        starts = self.evenings(3)
        assert rhythm_of([*starts, *starts]) == rhythm_of(starts)

    def test_only_the_last_two_weeks_count(self) -> None:
        before = [-DAY * each for each in range(1, 100)]
        assert rhythm_of([*before, *self.evenings(15)]) == rhythm_of(self.evenings(15))

    def test_seconds_between_clips_make_no_outage_of_a_minute(self) -> None:
        assert self.rhythm([30.0 * each for each in range(100)]).outage == timedelta(minutes=10)

    def test_memory_does_not_follow_the_clips(self) -> None:
        starts = RecentStarts()
        for number in range(30_000):
            starts.add(number * 300.0)
        assert starts.last == 29_999 * 300.0
        assert starts.rhythm() == Rhythm(timedelta(minutes=5), timedelta(minutes=5))
        assert len(starts._starts) <= 8000


class TestGrowth:
    """What the journal's events add to each tree."""

    SINCE = datetime(2026, 1, 1, tzinfo=UTC)

    def grown(self, *events: tuple[str, dict[str, Any]], since: datetime = SINCE) -> dict[Tree, int]:
        common = {"source_size": 1000, "source_mtime_ns": 1, "archive": "a.mp4", "archive_size": 100}
        made = [
            msgspec.convert(line_of(event, **{**common, **fields}), JournalEvent) for event, fields in events
        ]
        return {tree: count for tree, count in growth(made, since).items() if count}

    def test_a_clip_on_its_way(self) -> None:
        trashed = ("trashed", {"trash": "input/x.mp4"})
        assert self.grown(("archived", {})) == {Tree.ARCHIVE: 100}
        assert self.grown(trashed) == {Tree.SOURCE: -1000, Tree.TRASH: 1000}
        assert self.grown(
            ("archived", {}), trashed, ("purged", {"trash": "input/x.mp4", "tree": "trash"})
        ) == {
            Tree.ARCHIVE: 100,
            Tree.SOURCE: -1000,
        }
        assert self.grown(trashed, ("restored", {"trash": "input/x.mp4"})) == {}
        assert self.grown(("deleted", {})) == {Tree.SOURCE: -1000}

    def test_an_archive_that_leaves(self) -> None:
        trashed = ("trashed", {"tree": "archive", "trash": "output/x.mp4"})
        assert self.grown(trashed) == {Tree.ARCHIVE: -100, Tree.TRASH: 100}
        assert self.grown(trashed, ("purged", {"trash": "output/x.mp4", "tree": "trash"})) == {
            Tree.ARCHIVE: -100
        }
        assert self.grown(("deleted", {"tree": "archive"})) == {Tree.ARCHIVE: -100}

    def test_an_archive_that_comes_back(self) -> None:
        """Its line has no size; from its off-site copy it does not come out of the trash."""
        gone = ("deleted", {"tree": "archive"})
        trashed = ("trashed", {"tree": "archive", "trash": "output/x.mp4"})
        back = {"tree": "archive", "archive_size": None}
        assert self.grown(trashed, ("restored", {**back, "trash": "output/x.mp4"})) == {}
        assert self.grown(gone, ("restored", {**back, "remote": "nas:", "object": "x.mp4"})) == {}
        assert self.grown(trashed, ("restored", {**back, "remote": "nas:"})) == {Tree.TRASH: 100}

    def test_what_happened_before_does_not_count(self) -> None:
        trashed = ("trashed", {"trash": "input/x.mp4"})
        assert self.grown(trashed, ("archived", {}), since=datetime(2200, 1, 1, tzinfo=UTC)) == {}
