"""watch: decisions and formats, without a disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_mock import MockerFixture

from camarchiver.domain.clip import Fingerprint
from camarchiver.domain.memory import Failure, FolderFacts, Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import Archive, Keep
from camarchiver.errors import EncoderError
from camarchiver.policy import archive_rules
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.runtime.extras import install_package
from camarchiver.watch import due_queue, run
from camarchiver.watch.due_queue import DueClip, DueQueue
from tests.values import a_clip, ns


class TestQuiet:
    """What is looked at when; times are seconds of a clock that the test turns."""

    def test_each_path_comes_once_at_the_newest_word(self) -> None:
        queue = DueQueue()
        queue.put("a", 600.0)
        queue.put("b", 601.0)
        queue.put("a", 900.0)
        queue.put_new("b", 0.0)
        assert queue.next_at() == 601.0
        assert [due.path for due in queue.take(1000.0, 10)] == ["b", "a"]
        assert (len(queue), queue.next_at()) == (0, None)

    def test_a_rename_ends_the_quiet_period_and_a_write_begins_it_anew(self) -> None:
        queue = DueQueue()
        queue.put("a", 600.0)
        queue.put("a", 30.0, finished=True)
        assert list(queue.take(30.0, 10)) == [DueClip("a", 30.0, True)]
        queue.put("a", 40.0, finished=True)
        queue.put("a", 640.0)
        assert list(queue.take(40.0, 10)) == []
        assert list(queue.take(640.0, 10)) == [DueClip("a", 640.0, False)]
        assert queue.next_at() is None

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 9), st.booleans()), max_size=40))
    def test_nothing_is_lost_or_early_whatever_comes(self, words: list[tuple[str, float, bool]]) -> None:
        queue, newest = DueQueue(), dict[str, DueClip]()
        for path, at, finished in words:
            queue.put(path, at, finished=finished)
            newest[path] = DueClip(path, at, finished)
            assert queue.next_at() == min(due.at for due in newest.values())
        for now in range(10):
            taken = list(queue.take(now, 3))
            assert taken == [newest.pop(due.path) for due in taken]
            assert all(due.at <= now for due in taken)
            assert len(taken) == 3 or all(due.at > now for due in newest.values())
        assert len(queue) == len(newest)

    def test_many_writes_to_one_file_take_no_room(self) -> None:
        queue = DueQueue()
        for second in range(10_000):
            queue.put("a", float(second))
        assert len(queue._heap) == 1

    @pytest.mark.parametrize(
        ("reason", "seconds"),
        [
            (Reason.NOT_SETTLED, 540),
            (Reason.BEING_WRITTEN, 600),
            (Reason.BUSY, 300),
            (Reason.FAILED_BEFORE, 3600),
            (Reason.TOO_RECENT, 120),
            (Reason.NO_TIMESTAMP, None),
            (Reason.HELD, None),
            (Reason.FILTERED, None),
        ],
    )
    def test_a_clip_left_alone_is_looked_at_when_that_may_have_changed(
        self, reason: Reason, seconds: int | None
    ) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        policy = ArchivePolicy(timedelta(minutes=5), quiet=timedelta(minutes=10))
        step = Keep(Path("/camera"), "a.mp4", reason, start=now - timedelta(minutes=3))
        failure = Failure(1, 1, 1, now, Reason.DAMAGED, "")
        wait = due_queue.retry_delay_of_kept(step, ns(now - timedelta(minutes=1)), policy, failure, now)
        assert wait == (None if seconds is None else timedelta(seconds=seconds))

    def test_a_clip_that_failed_waits_as_the_failure_memory_says(self) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(minutes=10))
        step = Archive(a_clip(), "x.mp4", Reason.NOT_ARCHIVED)

        def wait(result: Result, reason: Reason, failure: Failure | None = None) -> timedelta | None:
            return due_queue.retry_delay(Outcome(step, result, reason), policy, failure, now)

        failed = [Failure(1, 1, count, now, Reason.DAMAGED, "") for count in (1, 2, 3, 4)]
        found = [wait(Result.FAILED, Reason.DAMAGED, failure) for failure in failed]
        assert found == [timedelta(hours=1), timedelta(days=1), timedelta(days=7), None]
        assert wait(Result.FAILED, Reason.FAILED) == due_queue.TROUBLE_AGAIN
        assert wait(Result.FAILED, Reason.NO_SPACE) == due_queue.TROUBLE_AGAIN
        old = Failure(1, 1, 1, now - timedelta(days=2), Reason.DAMAGED, "")
        assert wait(Result.FAILED, Reason.FAILED, old) == due_queue.TROUBLE_AGAIN
        assert wait(Result.BUSY, Reason.BUSY) == due_queue.BUSY_AGAIN
        assert wait(Result.STALE, Reason.STALE) == timedelta(minutes=10)
        assert wait(Result.DONE, Reason.NOT_ARCHIVED) is None
        assert wait(Result.SKIPPED, Reason.NOT_ARCHIVED) is None

    def test_what_was_renamed_into_place_needs_no_quiet_period(self) -> None:
        now = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)
        fresh = a_clip(start=now - timedelta(minutes=1), fingerprint=Fingerprint(1, 1, 10, ns(now)))
        facts = FolderFacts(Path("/camera"), "", (fresh,))
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(minutes=10))
        (waits,) = archive_rules.decide_archive(facts, policy, Memory(), now)
        (begins,) = archive_rules.decide_archive(facts, due_queue.as_finished(policy), Memory(), now)
        assert (waits.reason, begins.reason) == (Reason.NOT_SETTLED, Reason.NOT_ARCHIVED)


def test_a_missing_package_is_named_with_what_installs_it(mocker: MockerFixture) -> None:
    mocker.patch.object(run, "find_spec", return_value=None)
    with pytest.raises(EncoderError, match="inotify_simple") as raised:
        run.watch(mocker.Mock(), mocker.Mock(), mocker.Mock())
    assert raised.value.hint == install_package("inotify_simple")
