"""queries: decisions and formats, without a disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from camarchiver.queries.gaps import Coverage, gaps


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
