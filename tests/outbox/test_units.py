"""outbox: decisions and formats, without a disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from camarchiver.domain.clip import Clip, Fingerprint, Tree
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, RemoveCopy, RemoveLeftover, Salvage
from camarchiver.record.outbox import rules as outbox_rules
from camarchiver.record.outbox.rules import Notice, OutboxClip, OutboxLimits, SpoolFile

EX_NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def ex_clip(age: float, *, size: int = 100, transferred: bool = False, off: float = 0.0, **more: Any) -> Any:
    """A clip in the outbox, some days old by its name and `off` days less by its mtime."""
    start = EX_NOW - timedelta(days=age)
    mtime = int((start + timedelta(days=off)).timestamp() * 1e9)
    clip = Clip(
        root=Path("/outbox"),
        folder="yard",
        name=f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4",
        camera="yard",
        start=start,
        fingerprint=Fingerprint(1, 2, size, mtime),
        **more,
    )
    return OutboxClip(clip, size, transferred)


def ex_gone(steps: Any) -> list[float]:
    """How old what goes is, in days, in its order."""
    return [(EX_NOW - step.start) / timedelta(days=1) for step in steps if isinstance(step, RemoveCopy)]


class TestExpiry:
    def test_nothing_goes_before_it_was_announced_for_a_day(self) -> None:
        limits = OutboxLimits(timedelta(days=7))
        clips = [ex_clip(8), ex_clip(6.5), ex_clip(5)]
        first = outbox_rules.announced(clips, limits, {}, (), EX_NOW)
        assert [step.reason for step in first.steps] == [Reason.ANNOUNCED, Reason.ANNOUNCED, Reason.IN_POLICY]
        assert first.fresh == tuple(each.clip.relative for each in clips[:2])
        for hours, gone in ((23, []), (24, [8.0, 6.5])):
            then = EX_NOW + timedelta(hours=hours)
            later = outbox_rules.announced(clips, limits, first.notices, (), then)
            assert ex_gone(later.steps) == gone
            assert not set(later.fresh) & set(first.fresh)

    def test_an_announcement_speaks_of_one_file_only(self) -> None:
        limits, clip = OutboxLimits(timedelta(days=7)), ex_clip(8)
        name = clip.clip.relative
        early = EX_NOW - timedelta(days=2)
        for notice in (
            Notice(99, clip.clip.fingerprint.mtime_ns, early, Reason.KEEP_DAYS),
            Notice(100, 5, early, Reason.KEEP_DAYS),
            Notice(100, clip.clip.fingerprint.mtime_ns, EX_NOW + timedelta(days=9), Reason.KEEP_DAYS),
        ):
            found = outbox_rules.announced([clip], limits, {name: notice}, (), EX_NOW)
            assert (ex_gone(found.steps), found.fresh) == ([], (name,))
            assert found.notices[name].at == EX_NOW

    def test_max_storage_takes_confirmed_transfers_first_then_the_oldest(self) -> None:
        clips = [ex_clip(5), ex_clip(4), ex_clip(3, transferred=True), ex_clip(2)]
        for limit, gone in (
            (400, []),
            (399, [3.0]),
            (300, [3.0]),
            (200, [3.0, 5.0]),
            (1, [3.0, 5, 4, 2]),
        ):
            assert ex_gone(outbox_rules.at_once(clips, OutboxLimits(None, limit), (), EX_NOW)) == gone

    def test_max_storage_announces_what_the_next_day_will_push_out(self) -> None:
        clips = [ex_clip(5), ex_clip(4), ex_clip(0.5)]
        found = outbox_rules.announced(clips, OutboxLimits(None, 300), {}, (), EX_NOW)
        assert found.fresh == (clips[0].clip.relative,)
        assert ex_gone(outbox_rules.at_once(clips, OutboxLimits(None, 300), (), EX_NOW)) == []

    def test_what_goes_by_age_does_not_count_as_stored(self) -> None:
        clips = [ex_clip(9), ex_clip(8), ex_clip(2), ex_clip(1)]
        assert ex_gone(outbox_rules.at_once(clips, OutboxLimits(timedelta(days=7), 200), (), EX_NOW)) == [
            9.0,
            8.0,
        ]

    def test_a_hold_keeps_a_clip_from_every_rule(self) -> None:
        hold = Hold("x", EX_NOW - timedelta(days=9), EX_NOW - timedelta(days=8))
        clips = [ex_clip(8.5, transferred=True), ex_clip(8.1), ex_clip(7.9)]
        limits = OutboxLimits(timedelta(days=1), 1)
        assert ex_gone(outbox_rules.at_once(clips, limits, [hold], EX_NOW)) == [7.9]
        assert ex_gone(outbox_rules.make_room(clips, 1000, [hold], EX_NOW)) == [7.9]
        found = outbox_rules.announced(clips, limits, {}, [hold], EX_NOW)
        assert [step.reason for step in found.steps] == [Reason.HELD, Reason.HELD, Reason.ANNOUNCED]

    def test_a_doubtful_clock_keeps_what_was_not_transferred(self) -> None:
        limits = OutboxLimits(timedelta(days=7))
        clips = [ex_clip(31, off=3), ex_clip(30, off=3, transferred=True), ex_clip(-3, off=-40)]
        assert ex_gone(outbox_rules.at_once(clips, limits, (), EX_NOW)) == [30.0]
        past = datetime(1970, 1, 2, tzinfo=UTC)
        assert ex_gone(outbox_rules.at_once([ex_clip(30)], limits, (), past)) == []
        notices = {"yard/x": Notice(1, 1, EX_NOW, Reason.KEEP_DAYS)}
        assert outbox_rules.announced([ex_clip(30)], limits, notices, (), past).notices == notices

    def test_room_is_made_of_no_more_than_needed_and_only_of_what_frees_any(self) -> None:
        clips = [ex_clip(5, links=2), ex_clip(4), ex_clip(3), ex_clip(2, transferred=True)]
        assert ex_gone(outbox_rules.make_room(clips, 150, (), EX_NOW)) == [2.0, 4.0]
        assert outbox_rules.make_room(clips, 0, (), EX_NOW) == ()

    @given(
        ages=st.lists(st.floats(0, 40), max_size=12),
        limit=st.integers(1, 1500),
        days=st.floats(0.1, 40),
        hours=st.floats(0, 100),
    )
    def test_what_goes_was_announced_for_a_day_whatever_comes(
        self, ages: list[float], limit: int, days: float, hours: float
    ) -> None:
        clips, limits = [ex_clip(age) for age in ages], OutboxLimits(timedelta(days=days), limit)
        first = outbox_rules.announced(clips, limits, {}, (), EX_NOW)
        assert ex_gone(first.steps) == []
        later = outbox_rules.announced(clips, limits, first.notices, (), EX_NOW + timedelta(hours=hours))
        if hours < 24:
            assert ex_gone(later.steps) == []
        gone = {step.relative for step in later.steps if isinstance(step, RemoveCopy)}
        assert gone <= set(first.notices)
        assert len(later.steps) == len(clips)


class TestSpool:
    def file(self, hours: float, **known: Any) -> SpoolFile:
        """A file of the spool that was last changed so many hours ago."""
        mtime = int((EX_NOW - timedelta(hours=hours)).timestamp() * 1e9)
        facts: dict[str, Any] = {"in_use": False, "is_empty": False, "problem": ""}
        return SpoolFile(
            Path("/spool"),
            "yard",
            "motion_20260520_100000.0123.mp4",
            Fingerprint(1, 2, 28, mtime),
            Path("/outbox/yard"),
            EX_NOW,
            **(facts | known),
        )

    def test_what_holds_frames_is_published_whatever_its_age(self) -> None:
        for hours in (-5, 0, 400):
            assert isinstance(outbox_rules.in_spool(self.file(hours), EX_NOW), Salvage)

    def test_an_empty_file_goes_after_an_hour(self) -> None:
        step = outbox_rules.in_spool(self.file(1.1, is_empty=True), EX_NOW)
        assert isinstance(step, RemoveLeftover)
        assert (step.tree, step.reason, step.relative) == (
            Tree.SPOOL,
            Reason.LEFTOVER,
            "yard/motion_20260520_100000.0123.mp4",
        )
        for hours in (0.9, 0, -5):
            step = outbox_rules.in_spool(self.file(hours, is_empty=True), EX_NOW)
            assert (type(step), step.reason) == (Keep, Reason.TOO_RECENT)

    def test_nothing_happens_to_what_a_recorder_may_write_or_nobody_can_read(self) -> None:
        for is_empty in (False, True):
            running = outbox_rules.in_spool(self.file(400, is_empty=is_empty, in_use=True), EX_NOW)
            assert (type(running), running.reason) == (Keep, Reason.BUSY)
            unreadable = outbox_rules.in_spool(self.file(400, is_empty=is_empty, problem="EIO"), EX_NOW)
            assert (type(unreadable), unreadable.reason) == (Keep, Reason.UNREADABLE)
