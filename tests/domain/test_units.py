"""domain: decisions and formats, without a disk."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from camarchiver.domain import untrusted
from camarchiver.domain.clip import Clip, Fingerprint, remote_path
from camarchiver.domain.clocks import Clocks, has_age, is_doubtful, latest_time, parse_clock
from camarchiver.domain.hold import Hold, held_by, may_reach
from camarchiver.domain.memory import Restored
from camarchiver.domain.report import Conclusion, Status, concluded, side_by_side
from camarchiver.errors import ExitCode
from tests.values import BERLIN


class TestConclusion:
    """How a run ends: the status and the exit code that follow from what it did."""

    @pytest.mark.parametrize(
        ("facts", "status", "exit_code"),
        [
            ({"achieved": False}, Status.NOTHING, 0),
            ({"achieved": True}, Status.DONE, 0),
            ({"achieved": True, "has_problems": True}, Status.PARTIAL, 3),
            ({"achieved": False, "has_problems": True}, Status.PARTIAL, 3),
            ({"achieved": True, "failed": True, "is_storage": True}, Status.PARTIAL, 3),
            ({"achieved": False, "failed": True}, Status.FAILED, 1),
            ({"achieved": False, "failed": True, "is_storage": True}, Status.FAILED, 13),
            ({"achieved": True, "refused": ExitCode.USAGE}, Status.FAILED, 2),
            (
                {"achieved": True, "failed": True, "refused": ExitCode.USAGE, "signal": 15},
                Status.STOPPED,
                143,
            ),
        ],
    )
    def test_of_one_run(self, facts: dict[str, Any], status: Status, exit_code: int) -> None:
        assert concluded(**facts) == (status, exit_code)

    DONE, NOTHING = concluded(achieved=True), concluded(achieved=False)
    FAILED, PARTIAL = concluded(achieved=False, failed=True), concluded(achieved=True, failed=True)
    AWAY = concluded(achieved=False, failed=True, is_storage=True)

    @pytest.mark.parametrize(
        ("first", "after", "both"),
        [
            (NOTHING, DONE, DONE),
            (DONE, NOTHING, DONE),
            (DONE, FAILED, FAILED),
            (FAILED, AWAY, FAILED),
            (AWAY, PARTIAL, AWAY),
        ],
    )
    def test_of_one_run_after_another(self, first: Conclusion, after: Conclusion, both: Conclusion) -> None:
        assert first.followed_by(after) == both

    @pytest.mark.parametrize(
        ("parts", "status", "exit_code"),
        [
            ((NOTHING, DONE), Status.DONE, 0),
            ((NOTHING, FAILED), Status.FAILED, 1),
            ((DONE, FAILED), Status.PARTIAL, 1),
            ((PARTIAL, AWAY, FAILED), Status.PARTIAL, 13),
        ],
    )
    def test_of_runs_at_the_same_time(
        self, parts: tuple[Conclusion, ...], status: Status, exit_code: int
    ) -> None:
        assert side_by_side(parts) == (status, exit_code)


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

    @given(
        st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12", "Pacific/Apia"]),
        st.integers(-6 * 1440, 6 * 1440),
        st.integers(-6 * 1440, 6 * 1440),
        st.sampled_from([None, 0.0, 5.0, 7200.0, 3 * 86_400.0, 9e8]),
        st.sampled_from([1000, 40_000_000, 10**12]),
    )
    def test_a_clip_that_is_passed_over_is_not_held(
        self, zone: str, named: int, written: int, seconds: float | None, size: int
    ) -> None:
        """Whether a hold may concern a clip is a short cut: without it the answers are the same."""
        nine = datetime(2026, 3, 1, 9, tzinfo=UTC)
        start = (nine + timedelta(minutes=named)).astimezone(ZoneInfo(zone))
        mtime_ns = int((nine + timedelta(minutes=written)).timestamp()) * 10**9
        clip = structs.replace(
            self.clip(start, seconds=seconds), fingerprint=Fingerprint(1, 1, size, mtime_ns)
        )
        now, hold = nine + timedelta(days=40), self.hold(nine)
        if not hold.may_concern(clip, now):
            # The owner's word for a clock is a reason to look at each of the times.
            looked_at = structs.replace(clip, corrected=clip.start + timedelta(seconds=1))
            assert hold.may_concern(looked_at, now)
            assert held_by(looked_at, (hold,), now) is None
            assert not may_reach(looked_at, (hold,), now)


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


NINE = datetime(2026, 3, 1, 9, tzinfo=BERLIN)
LATER = datetime(2026, 6, 1, tzinfo=UTC)


def written(start: datetime, at: datetime, *, seconds: float | None = None) -> Clip:
    """A clip of this time by its name, whose file was last written at another."""
    print_of = Fingerprint(1, 1, 5_000_000, int(at.timestamp() * 1e9))
    return Clip(Path("/c"), "", "x.mp4", "front", start, print_of, duration=seconds)


class TestClocks:
    """Which time of a clip is right, and when nobody knows."""

    @pytest.mark.parametrize(
        ("start", "at", "doubtful"),
        [
            (NINE, NINE, False),
            (NINE, NINE + timedelta(hours=24), False),
            (NINE, NINE + timedelta(hours=24, seconds=1), True),
            (NINE, NINE - timedelta(hours=24), False),
            (NINE, NINE - timedelta(hours=24, seconds=1), True),
            (NINE, NINE + timedelta(hours=9), False),
            (datetime(2000, 1, 1, tzinfo=BERLIN), NINE, True),
            (datetime(1970, 1, 1, tzinfo=UTC), NINE, True),
            (LATER + timedelta(days=2), LATER + timedelta(days=2), True),
            (LATER + timedelta(days=0.9), LATER + timedelta(days=0.9), False),
        ],
    )
    def test_a_day_apart_or_in_the_future_is_doubtful(
        self, start: datetime, at: datetime, doubtful: bool
    ) -> None:
        assert is_doubtful(written(start, at), LATER) is doubtful

    @given(st.integers(-200_000, 200_000), st.integers(-12, 14), st.integers(0, 86_399))
    def test_the_quick_comparison_says_what_the_exact_one_says(
        self, off: int, zone: int, second: int
    ) -> None:
        start = datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=zone))) + timedelta(seconds=second)
        clip = written(start, start + timedelta(seconds=off))
        assert is_doubtful(clip, LATER) is (abs(off) > 86_400)

    @given(st.integers(-200_000, 200_000), st.integers(-12, 14), st.integers(-12, 14))
    def test_from_the_future_is_doubtful(self, ahead: int, zone: int, zone_of_now: int) -> None:
        now = LATER.astimezone(timezone(timedelta(hours=zone_of_now)))
        start = (LATER + timedelta(seconds=ahead)).astimezone(timezone(timedelta(hours=zone)))
        assert is_doubtful(written(start, start), now) is (ahead > 86_400)

    @given(
        st.integers(-200_000, 200_000),
        st.integers(-200_000, 200_000),
        st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12")]),
        st.integers(0, 40),
    )
    def test_an_age_is_that_of_the_latest_time(self, named: int, off: int, zone: tzinfo, days: int) -> None:
        limit = LATER - timedelta(days=days)
        start = (limit + timedelta(seconds=named)).astimezone(zone)
        clip = written(start, limit + timedelta(seconds=off))
        assert has_age(clip, timedelta(days=days), LATER) is (latest_time(clip) <= limit)

    @given(
        st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"]),
        st.integers(1, 200),
        st.integers(-100_000, 100_000),
        st.integers(-100_000, 100_000),
    )
    def test_an_age_may_span_a_clock_change(
        self, local: datetime, name: str, days: int, named: int, off: int
    ) -> None:
        now = local.replace(tzinfo=ZoneInfo(name))
        limit = (now - timedelta(days=days)).astimezone(UTC)
        start = (limit + timedelta(seconds=named)).astimezone(now.tzinfo)
        clip = written(start, limit + timedelta(seconds=off))
        exactly = latest_time(clip) <= now - timedelta(days=days)
        assert has_age(clip, timedelta(days=days), now) is exactly

    @pytest.mark.parametrize("minute", range(0, 120, 10))
    def test_an_age_over_the_spring_change_is_by_the_clock_on_the_wall(self, minute: int) -> None:
        now = datetime(2027, 4, 10, 3, tzinfo=BERLIN)
        start = datetime(2027, 3, 11, 2, tzinfo=BERLIN) + timedelta(minutes=minute)
        assert has_age(written(start, start), timedelta(days=30), now) is (minute <= 60)

    @pytest.mark.parametrize(("seconds", "is_old"), [(-1, True), (0, True), (1, False)])
    def test_an_age_is_reached_to_the_second(self, seconds: int, is_old: bool) -> None:
        limit = LATER - timedelta(days=30)
        at = limit + timedelta(seconds=seconds)
        assert has_age(written(at, at), timedelta(days=30), LATER) is is_old
        assert has_age(written(limit - timedelta(days=9), at), timedelta(days=30), LATER) is is_old

    def test_an_archive_goes_by_the_time_of_its_source(self) -> None:
        clip = structs.replace(written(NINE, NINE), source_mtime_ns=0)
        assert is_doubtful(clip, LATER)
        assert not is_doubtful(
            structs.replace(written(NINE, LATER), source_mtime_ns=int(NINE.timestamp() * 1e9)), LATER
        )

    @pytest.mark.parametrize("zone", [UTC, BERLIN, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("America/Adak")])
    @pytest.mark.parametrize(
        "seconds", [10**12, -(10**12), 253402300799, 253402300799 + 43_200, -62135596800]
    )
    def test_a_file_of_any_time_has_a_latest_time(self, zone: tzinfo, seconds: int) -> None:
        """A filesystem may hold years that a datetime can't; in doubt a clip is young."""
        clip = written(NINE.astimezone(zone), NINE)
        found = latest_time(structs.replace(clip, fingerprint=Fingerprint(1, 2, 3, seconds * 10**9)))
        assert found == NINE if seconds < 0 else found.year >= 9999
        assert found > NINE - timedelta(days=1)

    def test_the_owner_says_that_the_names_are_right(self) -> None:
        clip = written(NINE, LATER)
        for clocks in (Clocks(names_everywhere=True), Clocks({"front": parse_clock("names")})):
            told = clocks.applied(clip)
            assert not is_doubtful(told, LATER)
            assert (told.recorded, latest_time(told)) == (NINE, NINE)
        assert Clocks({"yard": parse_clock("names")}).applied(clip) is clip

    def test_the_owner_says_that_the_files_are_right(self) -> None:
        clocks = Clocks({"front": parse_clock("mtime")}, names_everywhere=True)
        at = NINE + timedelta(days=40)
        told = clocks.applied(written(NINE, at, seconds=600.0))
        assert told.recorded == at - timedelta(minutes=10)
        assert not is_doubtful(told, LATER)
        near = clocks.applied(written(NINE, NINE + timedelta(minutes=10), seconds=600.0))
        assert near.recorded == NINE

    def test_a_correction_applies_only_where_both_clocks_then_agree(self) -> None:
        clocks = Clocks({"front": parse_clock("+26y3d")})
        real = datetime(2026, 1, 7, 12, tzinfo=BERLIN)
        told = clocks.applied(written(datetime(2000, 1, 4, 12, tzinfo=BERLIN), real + timedelta(minutes=1)))
        assert told.recorded == real
        assert not is_doubtful(told, LATER)
        right = written(real, real)
        assert clocks.applied(right) is right
        another_reboot = written(datetime(2000, 1, 4, 12, tzinfo=BERLIN), NINE)
        assert is_doubtful(clocks.applied(another_reboot), LATER)

    def test_a_time_zone_is_corrected_although_it_is_no_doubt(self) -> None:
        clip = written(NINE - timedelta(hours=9), NINE)
        assert Clocks({"front": parse_clock("+9h")}).applied(clip).recorded == NINE
        assert Clocks({"front": parse_clock("-9h")}).applied(clip).corrected is None

    @pytest.mark.parametrize("text", ["+", "-", "26y", "+0d", "+1x", "later", "+1d1y", "+999999999s"])
    def test_another_word_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=re.escape(text)):
            parse_clock(text)

    @pytest.mark.parametrize("text", ["+999y", "-999y", "+99999d", "-9999w"])
    def test_a_correction_out_of_all_bounds_corrects_nothing(self, text: str) -> None:
        clip = written(NINE, LATER)
        assert Clocks({"front": parse_clock(text)}).applied(clip) is clip

    def test_a_leap_day_is_corrected_too(self) -> None:
        real = datetime(2026, 3, 1, 12, tzinfo=BERLIN)
        clip = written(datetime(2000, 2, 29, 12, tzinfo=BERLIN), real)
        assert Clocks({"front": parse_clock("+26y")}).applied(clip).recorded == real

    def test_a_hold_covers_by_either_clock(self) -> None:
        fell_back = written(datetime(2000, 1, 1, tzinfo=BERLIN), NINE + timedelta(minutes=5), seconds=300.0)
        for at in (NINE, datetime(2000, 1, 1, tzinfo=BERLIN)):
            hold = Hold("h", at, at + timedelta(minutes=1))
            assert held_by(fell_back, (hold,), LATER) is hold
            assert held_by(fell_back, (replace(hold, camera="yard"),), LATER) is None
        ahead = written(NINE + timedelta(hours=9), NINE + timedelta(minutes=5), seconds=300.0)
        assert held_by(ahead, (Hold("h", NINE, NINE),), LATER)

    def test_a_hold_goes_by_the_names_alone_once_they_are_said_to_be_right(self) -> None:
        hold = Hold("h", NINE, NINE + timedelta(hours=1))
        copied = written(NINE - timedelta(days=90), NINE + timedelta(minutes=5))
        assert held_by(copied, (hold,), LATER)
        assert held_by(Clocks(names_everywhere=True).applied(copied), (hold,), LATER) is None

    def test_an_upload_that_took_long_reaches_back_no_further_than_its_clip(self) -> None:
        hold = Hold("h", NINE - timedelta(minutes=30), NINE)
        after = written(NINE + timedelta(minutes=10), NINE + timedelta(minutes=20))
        assert held_by(after, (hold,), LATER) is None
        assert not may_reach(after, (hold,), LATER)

    def test_the_length_decides_if_the_file_was_written_after_a_hold(self) -> None:
        hold = Hold("h", NINE, NINE + timedelta(minutes=1))
        fell_back = written(datetime(2000, 1, 1, tzinfo=BERLIN), NINE + timedelta(hours=1))
        assert may_reach(fell_back, (hold,), LATER)
        assert held_by(fell_back, (hold,), LATER)
        assert held_by(structs.replace(fell_back, duration=60.0), (hold,), LATER) is None


@pytest.mark.parametrize(
    ("remote", "path"),
    [("nas:", "nas:a.mp4"), ("nas:b/", "nas:b/a.mp4"), ("nas:b", "nas:b/a.mp4"), ("/b", "/b/a.mp4")],
)
def test_an_off_site_copy_is_named_as_rclone_names_it(remote: str, path: str) -> None:
    assert remote_path(remote, "a.mp4") == path
