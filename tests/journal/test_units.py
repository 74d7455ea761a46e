"""journal: decisions and formats, without a disk."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from camarchiver.domain import untrusted
from camarchiver.domain.motion import ClipMotion, MotionSpan
from camarchiver.journal import event as journal_event
from camarchiver.journal import store as journal_store
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import Ledger
from tests.values import NOW, line_of


class TestEvents:
    """One line of the journal."""

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"source": "../a"},
            {"archive": "/etc/passwd"},
            {"trash": ""},
            {"trash": "."},
            {"source": None},
            {"source_size": 10**30},
            {"source_size": True},
            {"duration": "long"},
            {"tree": "elsewhere"},
            {"start": "then"},
            {"at": "2026-03-01T08:15:00"},
            {"sidecars": {"../x.jpg": "/a"}},
            {"sidecars": [1]},
            {"sidecars": {"x/y.jpg": "/a"}},
            {"sidecars": {"x.jpg": "/a\0"}},
            {"archive": "./."},
            {"trash": "a/\u002e./../b"},
            {"settings": 5},
            {"source_mtime_ns": -(10**30)},
            {"reason": ["a"]},
            {"motion": []},
            {"motion": {"spans": [{"start": -1, "end": 2}]}},
            {"motion": {"spans": [{"start": 1, "end": 2, "zones": [""]}]}},
        ],
    )
    def test_a_line_that_nobody_of_us_wrote(self, spoilt: dict[str, Any]) -> None:
        good = json.dumps(line_of("trashed")).encode()
        bad = json.dumps({**line_of("trashed"), **spoilt}).encode()
        assert journal_event.read(good)[0] == journal_event.read(good + b"\n{\n")[0] != []
        assert journal_event.read(bad) == ([], 1)
        assert journal_event.read(bad + b"\n" + good) == (journal_event.read(good)[0], 1)

    @given(
        st.lists(
            st.fixed_dictionaries(
                {"event": st.sampled_from(["archived", "trashed", "of-tomorrow"])},
                optional={
                    "source": st.sampled_from(
                        ["a", "", ".", "/a", "..", "a/..", ".a", "a..b", "é", "\0", "\udce9"]
                    ),
                    "archive": st.sampled_from(["a", ".", "b/../..", "./a", "/b"]),
                    "trash": st.sampled_from(["a", ".", "b/../..", "./a", "/b"]),
                    "sidecars": st.dictionaries(
                        st.sampled_from(["a", ".", "", "..", "a/b", "/"]), st.just("/p")
                    ),
                    "source_size": st.integers(),
                    "more": st.text(),
                },
            ),
            max_size=4,
        )
    )
    def test_many_lines_are_read_as_each_by_itself(self, changes: list[dict[str, Any]]) -> None:
        lines = [json.dumps(line_of(**changed)).encode() for changed in changes]
        each = [journal_event.read(line) for line in lines]
        whole = journal_event.read(b"\n".join(lines))
        assert whole == ([event for found, _ in each for event in found], sum(torn for _, torn in each))
        for event in whole[0]:
            assert all(
                untrusted.is_below(path) for path in (event.source, event.archive or "x", event.trash or "x")
            )

    @pytest.mark.parametrize("start", ["1970-01-01T00:00:00-00:44:30", "2026-03-01 08:15:00.5+01:00"])
    def test_a_time_that_only_python_reads(self, start: str) -> None:
        (event,), torn = journal_event.read(json.dumps(line_of("trashed", start=start)).encode())
        assert (event.start, torn) == (datetime.fromisoformat(start), 0)

    def test_what_is_written_is_read(self) -> None:
        text = TestJournalLines.a_line(
            sidecars={"a.jpg": "/t/a.jpg"}, settings={"quality": 35}, tree="archive"
        )
        (event,), torn = journal_event.read(text.encode())
        assert (event.line(), torn) == (text, 0)


class TestExpected:
    """Which archives should exist according to the journal."""

    OTHER: ClassVar[dict[str, Any]] = {"source": "d/other.mp4", "archive": "other.mp4"}

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            ([("archived", {})], ["x.mp4"]),
            ([("adopted", {})], ["x.mp4"]),
            ([("archived", {}), ("archived", OTHER)], ["x.mp4", "other.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "age"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"tree": "archive", "reason": "archive-age"})], []),
            ([("archived", {}), ("deleted", {"tree": "archive", "reason": "max-size"})], []),
            ([("archived", {}), ("found-damaged", {"reason": "missing"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "replaced"})], ["x.mp4"]),
            ([("archived", {}), ("trashed", {"reason": "replaced"}), ("archived", {})], ["x.mp4"]),
            (
                [("archived", {}), ("trashed", {"reason": "replaced"}), ("archived", {"archive": "x.mkv"})],
                ["x.mkv"],
            ),
            ([("archived", {}), ("found-damaged", {}), ("archived", {"archive": "x~2.mp4"})], ["x~2.mp4"]),
            (
                [
                    *(("archived", {}), ("found-damaged", {}), ("found-sound", {})),
                    ("archived", {"archive": "x~2.mp4"}),
                ],
                ["x.mp4", "x~2.mp4"],
            ),
            ([("archived", {}), ("found-damaged", {}), ("archived", OTHER)], ["x.mp4", "other.mp4"]),
            (
                [
                    *(("archived", {}), ("found-damaged", {})),
                    ("archived", {"source_size": 11, "archive": "x~2.mp4"}),
                ],
                ["x.mp4", "x~2.mp4"],
            ),
            (
                [
                    ("archived", {}),
                    ("trashed", {"tree": "archive", "reason": "archive-age"}),
                    ("restored", {"tree": "archive"}),
                ],
                ["x.mp4"],
            ),
        ],
    )
    def test_what_a_days_lines_lead_to(
        self, lines: list[tuple[str, dict[str, Any]]], expected: list[str]
    ) -> None:
        common = {"archive": "x.mp4", "archive_size": 7, "source_blake2b": "d", "archive_blake2b": "e"}
        text = "\n".join(json.dumps(line_of(event, **{**common, **more})) for event, more in lines)
        found = journal_store.parse(text.encode(), Path("day.jsonl")).ledger.expected.values()
        assert [each.archive for each in found] == expected
        assert all((each.size, each.digest) == (7, "e") for each in found)

    def test_another_name_of_the_file_keeps_the_digest(self) -> None:
        of_both = {"archive": "x.mp4", "archive_size": 7, "source_blake2b": "d"}
        first = line_of("archived", archive_blake2b="e", **of_both)
        second = line_of("archived", source="d/other.mp4", **of_both)
        text = f"{json.dumps(first)}\n{json.dumps(second)}\n"
        (found,) = journal_store.parse(text.encode(), Path("day.jsonl")).ledger.expected.values()
        assert (found.source, found.digest) == ("d/other.mp4", "e")


class TestLedger:
    """What a day's lines lead to."""

    ARCHIVED = line_of(
        "archived", source_blake2b="d", archive="d/x.mp4", archive_size=3, sidecars={"x.jpg": "/t/x.jpg"}
    )

    def fold(self, *events: dict[str, Any]) -> Ledger:
        lines = "".join(json.dumps(event) + "\n" for event in events).encode()
        return journal_store.parse(lines, Path("day.jsonl")).ledger

    def test_an_archive_stands_until_a_line_takes_it_away(self) -> None:
        assert set(self.fold(self.ARCHIVED).archives) == {"d/x.mp4"}
        for line in (
            line_of("trashed", tree="archive", archive="d/x.mp4", trash="output/d/x.mp4", archive_size=3),
            line_of("deleted", tree="archive", archive="d/x.mp4", archive_size=3, reason="max-size"),
            line_of("trashed", archive="d/x.mp4", trash="output/d/x.mp4", reason="replaced"),
        ):
            found = self.fold(self.ARCHIVED, line)
            assert not found.archives
            assert found.given_up == ({"d/x.mp4"} if line.get("reason") == "max-size" else set())
        source_gone = line_of("trashed", archive="d/x.mp4", trash="input/d/x.mp4", reason="age")
        assert set(self.fold(self.ARCHIVED, source_gone).archives) == {"d/x.mp4"}

    def test_pictures_that_stay_when_their_archive_leaves_for_its_copy_are_still_known(self) -> None:
        source = line_of("trashed", trash="input/a", reason="age", sidecars={"x.jpg": "/archive/d/x.jpg"})
        gone = line_of(
            "trashed", tree="archive", archive="d/x.mp4", trash="output/d/x.mp4", reason="archive-age-offsite"
        )
        found = self.fold(self.ARCHIVED, source, gone)
        assert not found.archives
        assert set(found.archived_sidecars) == {"d/x.jpg"}
        assert not found.given_up
        other = gone | {"reason": "archive-age"}
        assert not self.fold(self.ARCHIVED, source, other).archived_sidecars
        back = line_of("restored", tree="archive", archive="d/x.mp4", remote="b2:x", object="d/x.0123.mp4")
        assert set(self.fold(self.ARCHIVED, source, gone, back).archives) == {"d/x.mp4"}

    def test_a_replaced_archive_is_expected_until_its_clip_has_another_one(self) -> None:
        replaced = line_of("trashed", archive="d/x.mp4", trash="output/d/x.mp4", reason="replaced")
        better = self.ARCHIVED | {"archive": "d/x~2.mp4", "generation": 2}
        assert set(self.fold(self.ARCHIVED, replaced).expected) == {"d/x.mp4"}
        for events in ((self.ARCHIVED, replaced, better), (self.ARCHIVED, better, replaced)):
            assert set(self.fold(*events).expected) == set(self.fold(*events).archives) == {"d/x~2.mp4"}

    def test_what_was_restored_or_purged_is_not_in_the_trash(self) -> None:
        gone = line_of("trashed", trash="input/a", reason="age", sidecars={"a.jpg": "/t"})
        assert set(self.fold(gone).trashed) == {"input/a"}
        assert self.fold(gone).sidecars.keys() == {"d/a.jpg"}
        for back in ("restored", "purged"):
            assert not self.fold(gone, line_of(back, trash="input/a", tree="trash")).trashed

    def test_a_restored_archive_stands_again(self) -> None:
        gone = line_of("trashed", tree="archive", archive="d/x.mp4", trash="output/a", reason="archive-age")
        back = line_of("restored", tree="archive", archive="d/x.mp4", trash="output/a")
        found = self.fold(self.ARCHIVED, gone, back)
        assert set(found.archives) == {"d/x.mp4"}
        assert not found.given_up

    def test_what_was_restored_is_known_by_the_line_that_had_trashed_it(self) -> None:
        gone = line_of("trashed", trash="input/a", reason="age", run="first")
        back = line_of("restored", trash="input/a", run="second")
        assert self.fold(gone, back).restored["input/a"].run == "first"
        assert set(self.fold(gone, back, gone).trashed) == {"input/a"}

    def test_a_source_is_gone_until_it_is_restored(self) -> None:
        gone = line_of("trashed", trash="input/a", reason="age")
        (key,) = self.fold(gone).gone
        assert key == (gone["source"], gone["source_size"], gone["source_mtime_ns"])
        assert set(self.fold(line_of("deleted", reason="age")).gone) == {key}
        assert not self.fold(gone, line_of("restored", trash="input/a")).gone
        of_archive = line_of("trashed", archive="d/x.mp4", trash="output/a", reason="replaced")
        assert not self.fold(self.ARCHIVED, of_archive).gone

    def test_a_picture_is_where_its_clips_line_put_it_until_it_comes_back(self) -> None:
        first = line_of("trashed", trash="input/a", sidecars={"a.jpg": "/t/a.jpg"})
        again = line_of("trashed", trash="input/a~2", sidecars={"a.jpg": "/t/a~2.jpg"})
        other = line_of("trashed", trash="input/b", source="e/x.mp4", sidecars={"a.jpg": "/t/e/a.jpg"})
        assert self.fold(first, again).sidecar_places == {"/t/a.jpg", "/t/a~2.jpg"}
        for back in ("restored", "purged"):
            home = line_of(back, trash="input/a", tree="trash", sidecars={"a.jpg": "d/a.jpg"})
            assert self.fold(first, again, other, home).sidecar_places == {"/t/e/a.jpg"}

    @pytest.mark.parametrize(
        ("outcome", "is_open"),
        [
            ({"event": "trashed", "trash": "input/a"}, False),
            ({"event": "deleted"}, False),
            ({"event": "left", "reason": "held"}, False),
            ({"event": "deleted", "source_size": None}, False),
            ({"event": "deleted", "source": "d/other.mp4"}, True),
            ({"event": "deleted", "tree": "archive", "archive": "d/x.mp4"}, True),
            ({"event": "trashed", "archive": "d/x.mp4", "trash": "output/a", "reason": "replaced"}, True),
            ({"event": "restored", "trash": "input/a"}, True),
        ],
    )
    def test_an_intent_is_open_until_a_line_gives_its_outcome(
        self, outcome: dict[str, Any], is_open: bool
    ) -> None:
        intent = line_of("intended", tree="source", reason="unarchived")
        found = self.fold(intent, {**line_of(**outcome), "run": "other"})
        assert (set(found.intended) == {("source", intent["source"])}) is is_open

    def test_an_announced_copy_is_open_until_its_archive_is_journalled(self) -> None:
        about = line_of("copying", source_blake2b="d")
        assert set(self.fold(about).copying) == {(about["source"], "d")}
        assert not self.fold(about, self.ARCHIVED).copying
        assert self.fold(about, {**self.ARCHIVED, "source_blake2b": "other"}).copying

    def test_every_line_that_made_an_archive_and_its_newest_checksum(self) -> None:
        again = {**self.ARCHIVED, "archive_blake2b": "e", "run": "again"}
        other = {**self.ARCHIVED, "source": "d/other.mp4", "run": "other"}
        found = self.fold(self.ARCHIVED, again, other)
        assert [event.run for event in found.made["d/x.mp4"]][1:] == ["again", "other"]
        assert (found.digest("d/x.mp4"), found.digest("d/y.mp4")) == ("e", "")

    def test_names_and_starts_are_of_every_line(self) -> None:
        failed = line_of("failed", camera="yard", start="2026-03-01T09:00:00+00:00")
        found = self.fold(failed, line_of("kept", archive="d/z.mp4"))
        assert found.named_archives == {"d/z.mp4"}
        assert found.starts["yard"] == {datetime.fromisoformat(failed["start"])}

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"start": "then"},
            {"start": "2026-03-01T08:15:00"},
            {"at": None},
            {"start": "0001-01-01T00:00:00+14:00"},
            {"at": "9999-12-31T23:59:59-10:00"},
            {"source_size": "many"},
            {"tree": "cellar"},
            {"duration": []},
        ],
    )
    def test_a_line_that_makes_no_sense_tells_nothing(self, spoilt: dict[str, Any]) -> None:
        found = self.fold(line_of("trashed", trash="input/a", **spoilt))
        assert not found.trashed
        assert not found.seen


class TestJournalLines:
    """What a day's file says, parsed without a disk."""

    @staticmethod
    def a_line(**changed: object) -> str:
        event = JournalEvent(
            EventKind.ARCHIVED,
            NOW,
            "r1",
            "vm",
            "2026/03/01/a.mp4",
            datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin")),
            source_size=1,
            source_mtime_ns=2,
            source_blake2b="d1",
            archive="2026/03/01/a.mp4",
            archive_size=3,
        )
        return structs.replace(event, **changed).line()

    def test_a_line_leaves_out_what_does_not_apply(self) -> None:
        fields = json.loads(self.a_line())
        assert fields["start"] == "2026-03-01T00:00:00+01:00"
        assert "trash" not in fields

    @pytest.mark.parametrize("cut", [1, 20, 100])
    def test_a_torn_last_line_costs_that_line_only(self, cut: int) -> None:
        text = f"{self.a_line()}\n{self.a_line(source='b.mp4')}\n{self.a_line()[:-cut]}".encode()
        day = journal_store.parse(text, Path("01.jsonl"))
        assert (sorted(day.archived), day.torn) == (["2026/03/01/a.mp4", "b.mp4"], 1)

    @given(st.binary(max_size=300))
    def test_no_bytes_break_it(self, text: bytes) -> None:
        journal_store.parse(text, Path("01.jsonl"))

    def test_a_path_that_is_not_utf_8_is_read(self) -> None:
        name = os.fsdecode(b"caf\xe9.mp4")
        day = journal_store.parse(self.a_line(source=name).encode(), Path("01.jsonl"))
        assert (list(day.archived), day.torn) == ([name], 0)

    def test_a_line_of_brackets_is_a_torn_one(self) -> None:
        assert journal_store.parse(b"[" * 100_000, Path("01.jsonl")).torn == 1

    @pytest.mark.parametrize("duration", ["NaN", "1e999", "1e300", "-5", "-1e300"])
    def test_a_line_with_a_duration_that_no_clip_has_is_a_torn_one(self, duration: str) -> None:
        text = self.a_line(duration=2.5)
        assert journal_store.parse(text.replace("2.5", duration).encode(), Path("01.jsonl")).torn == 1
        assert journal_store.parse(text.encode(), Path("01.jsonl")).torn == 0

    def test_a_line_without_the_needed_fields_is_no_proof(self) -> None:
        text = self.a_line(archive_size=None).encode()
        assert journal_store.parse(text, Path("01.jsonl")).archived == {}


class TestMotion:
    """What the journal says about the motion in a clip."""

    MOTION = ClipMotion((MotionSpan(1.5, 4.0, ("gate",)),), unsure=True)
    ARCHIVED: ClassVar[dict[str, Any]] = line_of(
        "archived", source_blake2b="d", archive="a.mp4", archive_size=3, archive_blake2b="e"
    )

    def _day(self, *lines: dict[str, Any]) -> journal_store.Day:
        return journal_store.parse("\n".join(map(json.dumps, lines)).encode(), Path("day"))

    def test_it_is_read_as_it_was_written(self) -> None:
        event = JournalEvent("scored", NOW, "r", "h", "a.mp4", NOW, motion=self.MOTION)
        (again,), torn = journal_event.read(event.line().encode())
        assert (again.motion, torn) == (self.MOTION, 0)

    def test_the_newest_line_about_the_clip_counts(self) -> None:
        later = line_of("scored", motion={"spans": [{"start": 2, "end": 3}]})
        day = self._day(self.ARCHIVED | {"motion": {"unsure": True}}, later)
        (entry,) = day.archived[self.ARCHIVED["source"]]
        found = ClipMotion((MotionSpan(2, 3),))
        assert entry.motion == found
        assert day.ledger.motion == {(entry.source, entry.size, entry.mtime_ns): found}

    def test_another_clip_of_the_name_is_not_meant(self) -> None:
        day = self._day(self.ARCHIVED, line_of("scored", source_size=11, motion={}))
        (entry,) = day.archived[self.ARCHIVED["source"]]
        assert entry.motion is None
        assert [motion.is_quiet for motion in day.ledger.motion.values()] == [True]

    def test_a_line_without_it_takes_nothing_back(self) -> None:
        day = self._day(self.ARCHIVED | {"motion": {}}, line_of("scored"), line_of("kept"))
        assert day.archived[self.ARCHIVED["source"]][0].motion == ClipMotion()
