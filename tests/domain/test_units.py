"""domain: decisions and formats, without a disk."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camarchiver.domain import untrusted
from camarchiver.domain.clip import Clip, Fingerprint
from camarchiver.domain.hold import Hold, held_by, may_reach
from camarchiver.domain.memory import Restored
from tests.values import BERLIN


class TestCoverage:
    """Whether a hold covers a clip."""

    @staticmethod
    def clip(start: datetime, *, seconds: float | None = None, size: int = 5_000_000) -> Clip:
        return Clip(Path("/c"), "", "x.mp4", "front", start, Fingerprint(1, 1, size, 0), duration=seconds)

    @staticmethod
    def hold(start: datetime, minutes: int = 10) -> Hold:
        return Hold("h", start, start + timedelta(minutes=minutes))

    def test_a_clip_is_held_where_its_own_time_meets_the_range(self) -> None:
        nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
        now, holds = nine + timedelta(days=40), (self.hold(nine),)
        for minutes, seconds, is_held in (
            (-61, None, False),
            (-60, None, True),
            (-60, 10, False),
            (-120, 7200, True),
            (10, 10, True),
            (11, 10, False),
        ):
            found = self.clip(nine + timedelta(minutes=minutes), seconds=seconds)
            assert (held_by(found, holds, now) is not None) is is_held, (minutes, seconds)
        lapsed = replace(holds[0], until=now)
        other = replace(holds[0], camera="back")
        assert held_by(self.clip(nine), (lapsed, other), now) is None

    def test_an_hour_is_an_hour_when_the_clock_is_changed(self) -> None:
        # 01:30 in winter time, two hours before 04:30 in summer time
        start = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)
        hold = self.hold(datetime(2026, 3, 29, 4, 20, tzinfo=BERLIN))
        assert held_by(self.clip(start, seconds=7200), (hold,), start + timedelta(days=40)) is not None

    def test_both_clips_of_a_repeated_hour_are_held(self) -> None:
        first = datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN)
        hold = Hold("h", first.replace(minute=20), first.replace(minute=40, fold=1))
        for start in (first, first.replace(fold=1)):
            assert held_by(self.clip(start, seconds=5), (hold,), start + timedelta(days=40)) is not None

    def test_only_where_the_end_decides_is_it_worth_a_look(self) -> None:
        nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
        now, holds = nine + timedelta(days=40), (self.hold(nine),)
        for minutes, size, worth in (
            (0, 5_000_000, False),
            (5, 5_000_000, False),
            (-1, 5_000_000, True),
            (-59, 1000, True),
            (-61, 1000, False),
            (-5 * 60, 5_000_000, True),
            (-6 * 60, 5_000_000, False),
            (-47 * 60, 10**12, True),
            (-49 * 60, 10**12, False),
        ):
            found = self.clip(nine + timedelta(minutes=minutes), size=size)
            assert may_reach(found, holds, now) is worth, (minutes, size)
        assert not may_reach(self.clip(nine - timedelta(minutes=1), seconds=5), holds, now)
        assert not may_reach(self.clip(nine - timedelta(minutes=1)), (replace(holds[0], until=now),), now)


class TestHearsay:
    """What anybody may have written."""

    @pytest.mark.parametrize("path", ["a", "a/b.mp4", "..a/b..", "a/...", "-y", "a b\n"])
    def test_paths_below_their_root(self, path: str) -> None:
        assert untrusted.is_below(path)

    @pytest.mark.parametrize(
        "path",
        ["", ".", "./.", "/", "/a", "..", "../a", "a/../../b", "a/..", "a\0", "x" * 5000, None, 5, ["a"]],
    )
    def test_what_is_no_path_below_its_root(self, path: object) -> None:
        assert not untrusted.is_below(path)

    @given(st.text())
    def test_a_path_below_its_root_never_leaves_it(self, path: str) -> None:
        if untrusted.is_below(path):
            assert os.path.normpath(f"/root/{path}").startswith("/root")

    def test_json_without_end_is_no_json(self) -> None:
        with pytest.raises(ValueError):
            untrusted.value_of("[" * 5000)

    def test_a_value_is_read_as_its_type_or_not_at_all(self) -> None:
        assert untrusted.decode('{"size": 1, "mtime_ns": 2, "at": "2026-03-01T08:15:00Z"}', Restored)
        for text in (
            '{"size": 1}',
            '{"size": true, "mtime_ns": 2, "at": "2026-03-01T08:15:00Z"}',
            '{"size": -1, "mtime_ns": 2, "at": "2026-03-01T08:15:00Z"}',
            '{"size": 1, "mtime_ns": 2, "at": "9999-12-31T23:59:59-10:00"}',
            '{"size": 1, "mtime_ns": 2, "at": "2026-03-01T08:15:00"}',
            "[]",
            "[" * 5000,
            '{"\\ud800": 1}',
        ):
            with pytest.raises(ValueError):
                untrusted.decode(text, Restored)

    def test_a_historical_time_zone_is_read_where_times_are_named(self) -> None:
        text = '{"size": 1, "mtime_ns": 2, "at": "1905-03-01T08:15:00+00:09:21"}'
        found = untrusted.decode(text, Restored, times=("at",))
        assert found.at.utcoffset() == timedelta(minutes=9, seconds=21)
