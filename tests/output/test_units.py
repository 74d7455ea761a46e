"""output: decisions and formats, without a disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec import structs
from msgspec.structs import replace

from camarchiver.domain import plan as domain_plan
from camarchiver.domain.clip import Fingerprint, Trees
from camarchiver.domain.clocks import ClockCorrection, parse_clock
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Encoding, Outcome, Report, Result, Status
from camarchiver.domain.steps import Archive, Keep
from camarchiver.errors import Problem
from camarchiver.journal.event import JournalEvent
from camarchiver.motion.events import MotionEvent
from camarchiver.output import cleanup_text, color, history_text, lists, no_work_text, offsite_text
from camarchiver.output import text as text_output
from camarchiver.output.json import document, fields
from camarchiver.output.reasons import REASON_WORDS, REMEDIES
from camarchiver.queries.history import ClipRecord
from camarchiver.runtime import formatting
from tests.values import MONTH, NOW, ROOT, a_clip

TREES = Trees(ROOT, ROOT / "archived", ROOT / ".deleted")


class TestReport:
    """Exit codes and words follow from the data alone."""

    @staticmethod
    def a_report(*outcomes: Outcome, **changed: object) -> Report:
        made = Report("archive", "r1", NOW, NOW + timedelta(seconds=9), outcomes)
        return replace(made, **changed)  # type: ignore[arg-type]  # the fields of Report, by name

    @staticmethod
    def an_outcome(result: Result, reason: Reason = Reason.NOT_ARCHIVED) -> Outcome:
        return Outcome(Archive(a_clip(), "a.mp4", Reason.NOT_ARCHIVED), result, reason)

    def test_exit_codes(self) -> None:
        done, failed = self.an_outcome(Result.DONE), self.an_outcome(Result.FAILED, Reason.FAILED)
        full = self.an_outcome(Result.FAILED, Reason.NO_SPACE)
        damaged = self.an_outcome(Result.FAILED, Reason.DAMAGED)
        cases = {
            0: [self.a_report(), self.a_report(done), self.a_report(done, remaining=3)],
            1: [self.a_report(failed), self.a_report(failed, full)],
            3: [self.a_report(done, failed), self.a_report(damaged), self.a_report(unreadable=1)],
            13: [self.a_report(full)],
            143: [self.a_report(done, failed, stopped_by=15)],
        }
        for code, reports in cases.items():
            assert [each.exit_code for each in reports] == [code] * len(reports)

    def test_the_time_that_a_question_was_open_is_no_work(self) -> None:
        asked = self.a_report(self.an_outcome(Result.DONE), began=NOW + timedelta(seconds=5))
        assert (self.a_report().seconds, asked.seconds) == (9.0, 4.0)

    def test_busy_stale_and_held_are_no_failures(self) -> None:
        quiet = [self.an_outcome(each) for each in (Result.BUSY, Result.STALE, Result.HELD)]
        assert (self.a_report(*quiet).exit_code, self.a_report(*quiet).status) == (0, Status.DONE)

    def test_a_clip_that_was_archived_and_could_not_go_is_counted_once(self) -> None:
        encoding = Encoding("libx264", ("libx264 (software)",), 1.5, 1000, 100)
        stays = replace(self.an_outcome(Result.FAILED, Reason.KEPT_SOURCE), encoding=encoding)
        told = [*text_output.report_lines(self.a_report(stays), already_printed=True)]
        assert [line.partition(":")[0] for line in told] == ["archived", "kept"]
        gone = replace(stays, result=Result.DONE, encoding=None)
        told = [*text_output.report_lines(self.a_report(stays, gone), already_printed=True)]
        assert "removed or taken over: 1 source archived before" in told

    def test_the_document_is_json_with_the_promised_keys(self) -> None:
        encoding = Encoding("libx264", ("libx264 (software)",), 1.5, 1000, 100)
        outcome = replace(self.an_outcome(Result.DONE), encoding=encoding)
        made = self.a_report(outcome)
        made_of = json.loads("".join(document.document(made, None)))
        assert set(made_of) == {
            *("format", "command", "run", "status", "exit_code"),
            *("steps", "outcomes", "totals", "errors"),
        }
        assert made_of["outcomes"][0] == {
            "action": "archive",
            "path": "/camera/2026/03/01/REO_front_20260301081500.mp4",
            "result": "done",
            "reason": "not-archived",
            "detail": "",
            "target": "",
            "freed": 0,
            "encoder": "libx264",
            "rungs": ["libx264 (software)"],
            "seconds": 1.5,
            "bytes_before": 1000,
            "bytes_after": 100,
        }

    def test_a_step_has_the_promised_keys(self) -> None:
        made = fields.step_fields(Archive(a_clip(), "a.mp4", Reason.NOT_ARCHIVED), TREES)
        assert made["target"] == "/camera/archived/a.mp4"
        assert set(made) == {"action", "path", "target", "reason", "bytes", "camera", "start"}

    def test_a_name_that_is_no_text_is_escaped_and_given_as_bytes(self) -> None:
        made = fields.path_fields(Path("/camera/\udcff\n.mp4"))
        assert made == {"path": "/camera/\\xff\\n.mp4", "path_bytes": "L2NhbWVyYS//Ci5tcDQ="}

    @pytest.mark.parametrize(
        ("count", "text"),
        [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (99_600, "100 kB"),
         (999_600, "1.0 MB"), (5e14, "500 TB")],
    )  # fmt: skip
    def test_sizes(self, count: float, text: str) -> None:
        assert formatting.size(count) == text

    @pytest.mark.parametrize(
        ("seconds", "text"), [(8, "8 s"), (180, "3 min"), (7500, "2 h 05 min"), (360_000, "100 h 00 min")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert formatting.span(seconds) == text

    def test_nights_are_told_once_a_rate_is_known(self) -> None:
        clip = a_clip(fingerprint=Fingerprint(1, 2, 10**12, 0))
        tally = domain_plan.Tally()
        tally.add(Archive(clip, "a.mp4", Reason.NOT_ARCHIVED))
        made = domain_plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), ())
        night = timedelta(hours=6)
        unknown = list(text_output.plan_lines(made, text_output.Estimate({}, None, night), verbose=False))
        assert unknown[-1] == "1 clip, 1.0 TB to archive"
        known = list(text_output.plan_lines(made, text_output.Estimate({}, 4e6, night), verbose=False))
        assert known[-1] == "1 clip, 1.0 TB to archive, about 12 nights at 6 h 00 min"

    def test_each_problem_of_a_plan_is_told_once(self) -> None:
        problems = (Problem("x", "the first is odd", "look at it"), Problem("y", "so is the second"))
        made = domain_plan.Plan("archive", TREES, NOW, MONTH, (), (), (), problems=problems)
        lines = text_output.plan_lines(made, text_output.Estimate({}, None, timedelta(1)), verbose=False)
        assert [line for line in lines if line] == [
            "error: the first is odd (look at it)",
            "error: so is the second",
        ]

    @pytest.mark.parametrize(
        "lines_of", [text_output.report_lines, cleanup_text.report_lines, offsite_text.report_lines]
    )
    def test_a_long_list_of_what_was_not_done_says_how_many_more_there_are(
        self, lines_of: Callable[..., Iterator[str]]
    ) -> None:
        report = self.a_report(*[self.an_outcome(Result.FAILED, Reason.FAILED)] * 42)
        lines = list(lines_of(report, already_printed=False))
        assert sum("REO_front" in line for line in lines) == 40
        assert "  and 2 more (--json lists all)" in lines
        assert not any("REO_front" in line for line in lines_of(report, already_printed=True))

    def test_a_long_table_is_drawn_together(self) -> None:
        tally = domain_plan.Tally()
        for day in range(400):
            start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)
            tally.add(Archive(a_clip(start=start), "a.mp4", Reason.NOT_ARCHIVED))
        made = domain_plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), ())
        lines = list(
            text_output.plan_lines(made, text_output.Estimate({}, None, timedelta(1)), verbose=False)
        )
        assert sum("2025-" in line or "2026-" in line for line in lines) == 14


class TestTerminal:
    """Colours, and characters that take two columns or none."""

    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("front", 5),
            ("門口", 4),
            ("Ku\u0308che", 5),
            ("Küche", 5),
            ("\uff21\uff22", 4),
            ("a\u200db", 2),
            ("", 0),
        ],
    )
    def test_columns(self, text: str, columns: int) -> None:
        assert formatting.cells(text) == columns
        assert formatting.cells(formatting.padded(text, 8)) == 8

    def test_a_table_with_wide_names_is_straight(self) -> None:
        tally = domain_plan.Tally()
        for camera in ("門口", "front", "Ku\u0308che"):
            tally.add(Archive(a_clip(camera=camera), "a.mp4", Reason.NOT_ARCHIVED))
        made = domain_plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), ())
        estimate = text_output.Estimate({}, None, timedelta(1))
        rows = [line for line in text_output.plan_lines(made, estimate, verbose=False) if "2026-" in line]
        assert len({formatting.cells(row.partition("2026-")[0]) for row in rows}) == 1

    @pytest.mark.parametrize(
        ("line", "colored"),
        [
            ("error: a disk", "\x1b[31merror\x1b[0m: a disk"),
            ("a.mp4: failed: damaged (x)", "a.mp4: \x1b[31mfailed\x1b[0m: damaged (x)"),
            ("gate  last clip 4 days ago: STOPPED?", "gate  last clip 4 days ago: \x1b[31mSTOPPED?\x1b[0m"),
            ("note: x", "\x1b[33mnote\x1b[0m: x"),
            ("archived: 2 clips", "\x1b[32marchived\x1b[0m: 2 clips"),
            ("2026/failed/damaged.mp4", "2026/failed/damaged.mp4"),
        ],
    )
    def test_what_marks_trouble_is_coloured(self, line: str, colored: str) -> None:
        assert color.colored(line) == colored

    @pytest.mark.parametrize(
        ("choice", "on_terminal", "environment", "wanted"),
        [
            ("auto", True, {}, True),
            ("auto", False, {}, False),
            ("auto", True, {"NO_COLOR": "1"}, False),
            ("auto", True, {"TERM": "dumb"}, False),
            ("always", False, {"NO_COLOR": "1"}, True),
            ("never", True, {}, False),
        ],
    )
    def test_where_there_are_colours(
        self, choice: str, on_terminal: bool, environment: dict[str, str], wanted: bool
    ) -> None:
        stream = SimpleNamespace(isatty=lambda: on_terminal)
        assert color.is_wanted(stream, choice, environment) is wanted  # type: ignore[arg-type]  # only this

    @pytest.mark.parametrize("name", ["a.mp4", "k\udcfcche.mp4", "a\nb\x1b.mp4", "Küche.mp4", "a\u200bb.mp4"])
    def test_what_is_printed_of_a_name_can_be_typed(self, name: str) -> None:
        assert formatting.unescaped(formatting.shown(name)) == name


class TestNothing:
    """What a run says that did nothing."""

    @staticmethod
    def lines(*kept: Keep, unread: int = 0) -> list[str]:
        tally = domain_plan.Tally()
        for each in kept:
            tally.add(each)
        made = domain_plan.Plan("archive", TREES, NOW, MONTH, tally.totals(), (), (), unread)
        return [line.strip() for line in no_work_text.nothing_lines(made)]

    @staticmethod
    def kept(reason: Reason, camera: str = "front") -> Keep:
        return Keep(ROOT, "a.mp4", reason, 1000, camera)

    def test_each_reason_comes_with_what_would_change_it(self) -> None:
        found = self.lines(self.kept(Reason.TOO_RECENT), self.kept(Reason.HELD), unread=2)
        assert found[0] == "nothing to do"
        assert "1  too recent (too-recent), 1.0 kB; a smaller --age takes them" in found
        assert "1  held (held), 1.0 kB; camarchiver hold list shows by which hold" in found
        assert "2  day folders too recent to be read; a smaller --age reads them" in found

    def test_an_unknown_camera_is_answered_with_the_nearest(self) -> None:
        said = "no clip of a camera frnt was found; cameras here: front, yard; did you mean front?"
        assert no_work_text.unknown_camera("frnt", {"yard", "front"}) == said
        assert "did you mean" not in no_work_text.unknown_camera("zoo", {"yard", "front"})
        many = no_work_text.unknown_camera("zoo", [f"cam{number:02}" for number in range(12)])
        assert many.endswith("cam08, cam09 and 2 more")

    def test_a_tree_from_which_all_is_archived_has_no_clip_left(self) -> None:
        assert self.lines() == ["nothing to do: no clip is left in /camera"]

    def test_reasons_that_have_a_remedy_have_words(self) -> None:
        assert set(REMEDIES) <= set(REASON_WORDS) == set(Reason)


class TestStory:
    """What `why` prints of each kind of event."""

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"event": "trashed", "trash": "a.mp4"}, "source moved to the trash, a.mp4"),
            ({"event": "deleted"}, "source deleted"),
            ({"event": "deleted", "archive": "a.mp4"}, "source deleted, its archive existed"),
            ({"event": "deleted", "archive": "a.mp4", "tree": "archive"}, "its archive a.mp4 deleted"),
            (
                {"event": "purged", "trash": "a.mp4", "tree": "trash"},
                "the copy in the trash, a.mp4, removed for good",
            ),
            ({"event": "intended"}, "source about to be removed"),
            ({"event": "left", "reason": "held"}, "source left alone after all: held"),
            ({"event": "restored", "trash": "a.mp4"}, "restored from the trash, a.mp4"),
            ({"event": "kept"}, "source kept, as asked"),
            (
                {"event": "copied", "archive": "a.mp4", "remote": "nas:", "object": "d/a.mp4"},
                "its archive a.mp4 copied off-site, to nas:d/a.mp4",
            ),
            (
                {"event": "copy-verified", "remote": "nas:cams", "object": "a.mp4", "verified": "read back"},
                "its off-site copy nas:cams/a.mp4 verified: read back",
            ),
            ({"event": "failed", "reason": "damaged"}, "could not be archived: damaged"),
        ],
    )
    def test_each_event_in_words(self, fields: dict[str, str], words: str) -> None:
        event = msgspec.convert(
            {"at": NOW, "run": "r1", "host": "attic", "source": "a.mp4", "start": NOW, **fields}, JournalEvent
        )
        story = ClipRecord("a.mp4", (event,), {}, {}, None)
        lines = [*history_text.story_lines(story, history_text.CleanupPreview({}), UTC)]
        assert any(line.endswith(f"  {words}, by run r1 on attic") for line in lines), lines


class TestLists:
    """Lines that commands print of their entries; times are in the zone of the cameras."""

    ZONE = timezone(timedelta(hours=2))
    DAY = datetime(2026, 5, 3, 12, 20, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("changed", "line"),
        [
            ({}, "h1  2026-05-03 14:20:00 - 2026-05-03 15:20:00  all cameras  police"),
            ({"camera": "a\nb"}, "h1  2026-05-03 14:20:00 - 2026-05-03 15:20:00  a\\nb  police"),
            (
                {"until": DAY + timedelta(days=1)},
                "h1  2026-05-03 14:20:00 - 2026-05-03 15:20:00  all cameras  police, until 2026-05-04 14:20",
            ),
            (
                {"until": DAY},
                "h1  2026-05-03 14:20:00 - 2026-05-03 15:20:00  all cameras  police, until 2026-05-03 14:20"
                "  (lapsed)",
            ),
        ],
    )
    def test_holds(self, changed: dict[str, Any], line: str) -> None:
        hold = Hold("h1", self.DAY, self.DAY + timedelta(hours=1), "", "police", None)
        assert lists.hold_line(replace(hold, **changed), self.ZONE, self.DAY) == line

    def test_what_a_hold_covers(self) -> None:
        assert lists.covered_line(1, ()) == "it covers 1 clip that is here now"
        assert lists.covered_line(2, ("yard",)) == "it covers 2 clips that are here now"
        assert lists.covered_line(0, ()) == "it covers no clip that is here now"
        others = "it covers no clip that is here now; about then recorded: front, yard"
        assert lists.covered_line(0, ("yard", "front")) == others

    def test_corrections(self) -> None:
        made = ClockCorrection(
            "c1", "front", self.DAY, self.DAY + timedelta(hours=1), "+1h", parse_clock("+1h"), ""
        )
        line = "c1  2026-05-03 14:20:00 - 2026-05-03 15:20:00  front  +1h"
        assert lists.correction_line(made, self.ZONE) == line
        assert lists.correction_line(replace(made, reason="summer"), self.ZONE) == f"{line}  summer"

    def test_what_a_correction_covers(self) -> None:
        clips = [structs.replace(a_clip(), corrected=self.DAY + timedelta(minutes=each)) for each in range(3)]
        path = clips[0].relative
        assert [*lists.correction_effect([*clips, a_clip()], self.ZONE)] == [
            f"{path}: recorded 2026-05-03 14:20:00",
            f"{path}: recorded 2026-05-03 14:22:00",
            "3 clips corrected",
            "1 clip left as before: the corrected time does not agree with the file's",
        ]

    def test_settings(self) -> None:
        known = "age            = 30                       # /etc/camarchiver.toml"
        assert lists.setting_line("age", "30", "/etc/camarchiver.toml") == known
        assert lists.setting_line("age", "", "") == "# age          =                          # not set"

    def test_motion(self) -> None:
        event = MotionEvent(1.04, 2.5, 3.217, 2.0, "")
        assert lists.motion_line(event) == "1.0 s to 2.5 s: 3.22 % of the picture"
        assert lists.motion_line(replace(event, zone="gate")).endswith(" % of the picture, in gate")
