"""queries: the installed command, as a user starts it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import imageio_ffmpeg
import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode
from tests import dates
from tests.commands import (
    DAY,
    NAME,
    ONE,
    START,
    Command,
    Make,
    Put,
    archive,
    clips_of,
    document,
    frames,
    journal,
    numbers,
    on_screen,
    whole,
)
from tests.web import Web


class TestFind:
    """`find` and `runs`, as a user and as a pipe read them."""

    def test_a_clip_is_listed_wherever_it_is(self, archived_camera: Path, told: Command) -> None:
        tree = archived_camera
        listed = told("find", tree)
        (line,) = listed.stdout.splitlines()
        assert line.startswith("2026-03-01 08:15:00  front ")
        assert "archive+trash" in line
        assert line.endswith(str(tree / f"archived/2026/03/01/{NAME}.mp4"))
        trashed = tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        assert told("find", tree, "--state", "trash", "--paths").stdout == f"{trashed}\n"
        assert told("find", tree, "--state", "trash", "--paths", "-0").stdout == f"{trashed}\0"
        (clip,) = json.loads(told("find", tree, "--json").stdout)["clips"]
        assert (clip["camera"], clip["states"]) == ("front", ["archive", "trash"])
        assert [file["tree"] for file in clip["files"]] == ["archive", "trash"]
        for path in (trashed, line.split()[-1]):
            assert told("why", "-C", tree, path).returncode == 0

    def test_a_question_about_a_time_finds_what_covers_it_or_names_the_nearest(
        self, archived_camera: Path, told: Command
    ) -> None:
        tree = archived_camera
        for at in ("2026-03-01 08:15", "2026-03-01", "2026-03-01 08:15:01"):
            assert NAME in told("find", tree, "--camera", "front", "--at", at).stdout
            assert NAME in told("why", "-C", tree, "--camera", "front", "--at", at).stdout
            assert NAME in told("why", "-C", tree, "--at", at).stdout
        for command in (("find", tree), ("why", "-C", tree)):
            late = told(*command, "--at", "2026-03-01 10:00")
            assert (late.returncode, late.stdout) == (ExitCode.FAILED, "")
            assert "no clip covers that time" in late.stderr
            assert NAME in late.stderr.partition("the last one before:")[2].splitlines()[0]
            assert "the first one after: there is none" in late.stderr
            wrong = told(*command, "--camera", "frnt", "--at", "2026-03-01")
            assert (wrong.returncode, "did you mean front?" in wrong.stderr) == (ExitCode.FAILED, True)
            errors = json.loads(told(*command, "--at", "10:00", "--json").stdout)["errors"]
            assert errors[0]["message"] == "no clip covers that time"

    def test_a_clip_that_is_gone_is_still_explained(self, archived_camera: Path, told: Command) -> None:
        tree = archived_camera
        shutil.rmtree(tree / ".deleted")
        (tree / f"archived/2026/03/01/{NAME}.mp4").unlink()
        assert told("find", tree).returncode == ExitCode.FAILED
        assert "archived as" in told("why", "-C", tree, "--at", "2026-03-01 08:15").stdout

    def test_a_name_that_is_no_text_is_escaped_on_screen_and_given_as_it_is_to_a_pipe(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        path = put(b"k\xfcche/REO_k_20260301081500.mp4", b"x")
        listed = told("find", tree).stdout
        assert "k\\xfcche/REO_k_20260301081500.mp4" in listed
        raw = subprocess.run(
            [sys.executable, "-m", "camarchiver", "find", str(tree), "--paths"], capture_output=True
        )
        assert raw.stdout == os.fsencode(path) + b"\n"
        story = told("why", "-C", tree, "k\\xfcche/REO_k_20260301081500.mp4")
        assert "the next archive run would" in story.stdout

    def test_a_camera_is_accepted_as_it_is_printed(self, put: Put, tree: Path, told: Command) -> None:
        put(b"REO_k\xfcche_20260301081500.mp4", b"x")
        put(b"REO_yard\x1b[31m_20260301081500.mp4", b"y")
        for name in ("k\\xfcche", "yard\\x1b[31m"):
            assert name in told("find", tree).stdout
            (line,) = told("find", tree, "--camera", name).stdout.splitlines()
            assert f"REO_{name}_2026" in line
            assert told("why", "-C", tree, "--camera", name, "--at", "2026-03-01").returncode == 0
        wrong = told("find", tree, "--camera", "yard[31m").stderr
        assert ("did you mean yard\\x1b[31m?" in wrong, "\x1b" in wrong) == (True, False)
        days = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x")
        assert told("hold", "add", "-C", tree, "--camera", "k\\xfcche", *days).returncode == 0
        (hold,) = json.loads(told("hold", "list", "-C", tree, "--json").stdout)["holds"]
        assert hold["camera"] == "k\\xfcche"
        assert "held" in told("find", tree, "--camera", hold["camera"]).stdout

    def test_the_last_runs(self, archived_camera: Path, told: Command, tmp_path: Path) -> None:
        (line,) = told("runs", archived_camera).stdout.splitlines()
        assert re.search(r"  \d{8}T\d{6}-\w{6}  archive   done \(exit code 0\): 1 done; archived ", line)
        (record,) = json.loads(told("runs", archived_camera, "--json").stdout)["runs"]
        assert record["run"] in line
        empty = told("runs", tmp_path)
        assert (empty.returncode, empty.stdout) == (0, "")
        assert "no run has changed anything" in empty.stderr

    def test_a_run_that_ended_without_a_report_is_listed_and_can_be_undone(
        self, camera_tree: Path, told: Command
    ) -> None:
        """Here its output goes to a program that stops reading; a kill or a power cut does the same."""
        first = camera_tree / f"2026/03/01/{NAME}.mp4"
        for minute in range(16, 24):
            shutil.copy2(first, first.with_name(f"REO_front_2026030108{minute}00.mp4"))
        words = (sys.executable, "-m", "camarchiver", "archive", str(camera_tree), "--jobs", "1")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            assert running.stdout is not None
            assert b": archived " in running.stdout.readline()
            running.stdout.close()
        assert running.returncode != 0
        (line,) = told("runs", camera_tree).stdout.splitlines()
        assert line.endswith("  archive   unfinished: it is at work, or was killed before its report")
        (record,) = json.loads(told("runs", camera_tree, "--json").stdout)["runs"]
        assert (record["status"], record["exit_code"]) == ("unfinished", None)
        assert f"last run: archive {record['run']}: unfinished" in told("status", camera_tree).stdout
        assert told("restore", "-C", camera_tree, "--run", record["run"], "-y").returncode == 0
        assert first.exists()
        assert "  restore   done" in told("runs", camera_tree).stdout

    def test_a_run_that_could_do_nothing_is_not_listed(self, archived_camera: Path, told: Command) -> None:
        before = told("runs", archived_camera).stdout
        assert told("archive", archived_camera).returncode == 0
        assert told("cleanup", archived_camera, "-y").returncode == 0
        assert told("runs", archived_camera).stdout == before


class TestWhy:
    def test_a_clip_is_followed_from_source_to_trash_and_back(self, camera_tree: Path, told: Command) -> None:
        source = camera_tree / f"2026/03/01/{NAME}.mp4"
        before = told("why", "-C", camera_tree, source)
        assert "the next archive run would archive it" in before.stdout
        assert told("archive", camera_tree).returncode == 0
        for path in (
            source,
            camera_tree / f"archived/2026/03/01/{NAME}.mp4",
            camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4",
        ):
            story = told("why", "-C", camera_tree, path).stdout
            assert "archived as" in story
            assert "verified: every frame's time" in story
            assert "source moved to the trash" in story
            assert "not in the source tree now" in story
        asked = told(
            "why", "-C", camera_tree, "--camera", "front", "--at", "2026-03-01 08:15:01", "--timezone", "UTC"
        )
        assert NAME in asked.stdout
        assert told("restore", "-C", camera_tree, source, "-y").returncode == 0
        assert "restored from the trash" in told("why", "-C", camera_tree, source).stdout

    def test_the_next_runs_are_those_of_the_config(
        self, camera_tree: Path, told: Command, tmp_path: Path
    ) -> None:
        source, config = camera_tree / f"2026/03/01/{NAME}.mp4", tmp_path / "c.toml"
        for day in ("02", "03"):
            newer = camera_tree / f"2026/03/01/REO_front_202603{day}081500.mp4"
            shutil.copy(source, newer)
            os.utime(newer, (1772352900 + 86400 * int(day), 1772352900 + 86400 * int(day)))
        for text, runs in (
            ("", ("archive it", "leave the source alone")),
            ("unarchived = true", ("archive it", "move the source to the trash")),
            ("unarchived = true\n[cleanup]\ndelete = true", ("archive it", "delete the source")),
            ("[archive]\nage = 30000\n[cleanup]\nage = 30000", ("leave it alone", "leave the source alone")),
        ):
            config.write_text(text + "\n")
            found = told("why", "-C", camera_tree, "--config", config, source).stdout
            assert f"the next archive run would {runs[0]}:" in found, text
            assert f"the next cleanup would {runs[1]}, {source}:" in found, text
        config.write_text("unarchived = true\nmax_removals = 0\n")
        found = told("why", "-C", camera_tree, "--config", config, source).stdout
        assert "the next cleanup would change nothing: the plan would remove" in found
        assert "leave it alone" in told("why", "-C", camera_tree, source, "--age", "30000").stdout
        day = ("--from", "2026-03-01", "--to", "2026-03-01")
        name = told("hold", "add", "-C", camera_tree, *day, "--reason", "police").stdout.split()[0]
        assert told("why", "-C", camera_tree, source).stdout.count(f"held (by hold {name}: police)") == 2

    def test_each_copy_is_told_of(self, camera_tree: Path, told: Command) -> None:
        told("archive", camera_tree)
        found = told("why", "-C", camera_tree, camera_tree / f"2026/03/01/{NAME}.mp4").stdout
        assert f"leave the archive alone, {camera_tree}/archived/2026/03/01/{NAME}.mp4: " in found
        assert (
            f"leave the copy in the trash alone, {camera_tree}/.deleted/input/2026/03/01/{NAME}.mp4: "
            in found
        )
        document = json.loads(
            told("why", "-C", camera_tree, camera_tree / f"2026/03/01/{NAME}.mp4", "--json").stdout
        )
        (story,) = document["stories"]
        assert [event["event"] for event in story["events"]] == ["archived", "trashed"]
        assert {place["tree"] for place in story["places"]} == {"archive", "trash"}
        assert {step["reason"] for step in story["next_cleanup"]} == {"in-policy"}
        assert story["next_archive"] is None
        assert any("archived as" in sentence for sentence in story["sentences"])

    def test_a_moment_names_the_clip_that_covers_it(self, camera_tree: Path, told: Command) -> None:
        def names(at: str) -> list[str]:
            found = told("why", "-C", camera_tree, "--camera", "front", "--at", at, "--json")
            return [story["source"][-10:-4] for story in json.loads(found.stdout)["stories"]]

        for archived in (False, True):
            assert names("2026-03-01 08:15:01") == ["081500"], archived
            assert names("2026-03-01 08:15:03") == [], archived
            if not archived:
                assert told("archive", camera_tree).returncode == 0

    def test_both_clips_of_an_hour_that_repeats_are_told(self, camera_tree: Path, told: Command) -> None:
        folder = camera_tree / "2025/10/26"
        folder.mkdir(parents=True)
        for second, at in (("00", 1761438600), ("01", 1761442201)):
            path = folder / f"REO_front_202510260230{second}.mp4"
            shutil.copy(camera_tree / f"2026/03/01/{NAME}.mp4", path)
            os.utime(path, (at, at))
        zone, asked = ("--timezone", "Europe/Berlin"), ("--camera", "front", "--at", "2025-10-26 02:30:01")
        found = told("why", "-C", camera_tree, *zone, *asked).stdout
        assert [name in found for name in ("023000", "023001")] == [True, True]

    def test_a_picture_tells_its_clips_story_and_a_foreign_file_that_it_is_one(
        self, camera_tree: Path, told: Command
    ) -> None:
        picture = camera_tree / f"2026/03/01/{NAME}.jpg"
        assert f"{NAME}.mp4:" in told("why", "-C", camera_tree, picture).stdout
        assert told("archive", camera_tree).returncode == 0
        for path in (picture, camera_tree / f"archived/2026/03/01/{NAME}.jpg"):
            assert "archived as" in told("why", "-C", camera_tree, path).stdout, path
        foreign = camera_tree / "archived/2026/03/01/REO_front_20260301235900.mp4"
        foreign.write_bytes(b"x")
        found = told("why", "-C", camera_tree, foreign)
        assert (found.returncode, "never touched" in found.stdout) == (0, True)

    def test_lines_that_somebody_spoiled_still_tell_the_rest(
        self, archived_camera: Path, told: Command
    ) -> None:
        lines = archived_camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        source = f"2026/03/01/{NAME}.mp4"
        with lines.open("a") as more:
            for fields in (
                {},
                {"at": 7, "start": "x"},
                {"event": "archived", "encoder": 1, "source_size": "\u001b"},
            ):
                more.write(json.dumps({"source": source, **fields}) + "\n")
            more.write('[1]\n"x"\nnull\n')
        for words in (
            ("why", archived_camera / source),
            ("why", "--camera", "front", "--at", "2026-03-01 08:15"),
        ):
            found = told(*words, "-C", archived_camera)
            assert (found.returncode, "archived as" in found.stdout) == (0, True), found.stderr
            assert "\u001b" not in found.stdout
        for command in ("status", "verify"):
            found = told(command, archived_camera)
            assert (found.returncode in (ExitCode.DONE, ExitCode.PARTIAL), "Traceback" in found.stderr) == (
                True,
                False,
            ), found.stderr

    def test_a_name_used_again_tells_of_two_clips(self, camera_tree: Path, told: Command) -> None:
        source = camera_tree / f"2026/03/01/{NAME}.mp4"
        content = source.read_bytes()
        for more in (b"", b"0"):
            source.parent.mkdir(exist_ok=True, parents=True)
            source.write_bytes(content + more)
            os.utime(source, (START + len(more), START + len(more)))
            assert told("archive", camera_tree).returncode == 0
        found = told("why", "-C", camera_tree, source).stdout
        assert (found.count("recorded by camera front"), found.count("another clip of the same name")) == (
            2,
            1,
        )

    def test_what_nobody_knows_is_said(self, camera_tree: Path, told: Command, tmp_path: Path) -> None:
        unknown = told("why", "-C", camera_tree, camera_tree / "2026/03/01/REO_front_20260301090000.mp4")
        assert (unknown.returncode, "nothing is known" in unknown.stderr) == (ExitCode.FAILED, True)
        asked = ("--camera", "front", "--at", "2020-01-01", "--json")
        failed = json.loads(told("why", "-C", camera_tree, *asked).stdout)
        assert (failed["status"], failed["errors"][0]["code"]) == ("failed", "unknown")
        assert told("why", "-C", camera_tree, tmp_path / "elsewhere.mp4").returncode == ExitCode.USAGE
        assert told("why", "-C", camera_tree).returncode == ExitCode.USAGE


class TestVerify:
    @pytest.fixture
    def camera_tree(self, archived_camera: Path) -> Path:
        return archived_camera

    @staticmethod
    def flaws(found: subprocess.CompletedProcess[str]) -> list[str]:
        return [each["flaw"] for each in json.loads(found.stdout)["findings"]]

    def test_a_sound_archive_is_silent(self, camera_tree: Path, told: Command) -> None:
        for options in ((), ("--full",)):
            found = told("verify", camera_tree, *options)
            assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
        assert json.loads(told("verify", camera_tree, "--json").stdout)["checked"] == 1
        assert json.loads(told("verify", camera_tree, "--json", "--sample", "0").stdout)["checked"] == 0
        assert (
            json.loads(told("verify", camera_tree, "--json", "--since", "2026-03-02").stdout)["checked"] == 0
        )

    @pytest.mark.parametrize(
        ("flaw", "spoil"),
        [
            ("missing", Path.unlink),
            ("wrong-size", lambda path: os.truncate(path, path.stat().st_size - 1)),
            ("wrong-hash", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")),
        ],
    )
    def test_what_is_off_is_listed(
        self, camera_tree: Path, told: Command, flaw: str, spoil: Callable[[Path], object]
    ) -> None:
        spoil(camera_tree / f"archived/2026/03/01/{NAME}.mp4")
        found = told("verify", camera_tree, "--json")
        assert (found.returncode, self.flaws(found)) == (ExitCode.PARTIAL, [flaw])
        assert told("verify", camera_tree).stdout.startswith(f"{flaw}: ")

    def test_a_damaged_archive_of_the_right_hash_is_found_by_decoding(
        self, camera_tree: Path, told: Command
    ) -> None:
        path = camera_tree / f"archived/2026/03/01/{NAME}.mp4"
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle - 800 : middle + 800] = bytes(1600)
        path.write_bytes(content)
        lines = camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        events = [json.loads(line) for line in lines.read_text().splitlines()]
        events[0]["archive_blake2b"] = hashlib.blake2b(content).hexdigest()
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))
        assert told("verify", camera_tree).returncode == 0
        assert self.flaws(told("verify", camera_tree, "--full", "--json")) == ["damaged"]

    def test_a_torn_journal_is_told_and_a_foreign_file_is_nobodys_fault(
        self, camera_tree: Path, told: Command
    ) -> None:
        (camera_tree / "archived/2026/03/01/archived-20200101000000.mp4").write_bytes(b"an earlier tool's")
        sound = told("verify", camera_tree, "--json")
        assert (sound.returncode, json.loads(sound.stdout)["foreign"]) == (0, 1)
        assert told("verify", camera_tree, "-v").stdout.startswith("foreign: ")
        with (camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl").open("a") as lines:
            lines.write('{"event": "arch')
        assert self.flaws(told("verify", camera_tree, "--json")) == ["torn-journal"]

    @pytest.fixture
    def archive_of_five(self, camera_tree: Path, told: Command) -> list[Path]:
        """The archives of five clips of five days, in the order in which they are looked at."""
        source = camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        for day in range(2, 6):
            path = camera_tree / f"2026/03/0{day}/REO_front_2026030{day}081500.mp4"
            path.parent.mkdir(parents=True)
            path.write_bytes(source.read_bytes() + bytes(day))
            os.utime(path, (START + day * 86400, START + day * 86400))
        assert told("archive", camera_tree).returncode == 0
        return sorted((camera_tree / "archived").rglob("*.mp4"))

    def test_an_interrupted_run_goes_on_where_it_stopped(
        self, camera_tree: Path, told: Command, archive_of_five: list[Path], tmp_path: Path
    ) -> None:
        archive_of_five[0].write_bytes(b"?" * archive_of_five[0].stat().st_size)
        archive_of_five[3].unlink()
        # an ffmpeg that hangs at the third archive
        slow = tmp_path / "ffmpeg"
        real = imageio_ffmpeg.get_ffmpeg_exe()
        hangs = f"touch {tmp_path}/asked; sleep 60"
        slow.write_text(f'#!/bin/sh\ncase "$*" in *20260303*) {hangs};; esac\nexec {real} "$@"\n')
        slow.chmod(0o755)
        full = ("verify", camera_tree, "--full")
        running = subprocess.Popen(
            [sys.executable, "-m", "camarchiver", *map(str, full), "--ffmpeg", str(slow)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "asked").exists() and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        out, errors = running.communicate(timeout=30)
        assert running.returncode == 143, errors
        assert out.startswith("wrong-hash: ")
        assert "stopped after 2 archives; the same command goes on from there" in errors

        # another question begins anew, and doesn't forget where this one stopped
        assert json.loads(told("verify", camera_tree, "--json").stdout)["resumed"] == 0
        again = told(*full, "--json")
        found = json.loads(again.stdout)
        assert (again.returncode, found["checked"], found["resumed"]) == (ExitCode.PARTIAL, 5, 1)
        assert self.flaws(again) == ["wrong-hash", "missing"]
        assert json.loads(told(*full, "--json").stdout)["resumed"] == 0

    def test_a_sample_is_drawn_anew_each_time_and_anew_begins_again(
        self, camera_tree: Path, told: Command, archive_of_five: list[Path]
    ) -> None:
        state = camera_tree / "archived" / STATE_FOLDER / "verify.json"
        asked = {"since": None, "percent": 100.0, "full": False}
        place = {"day": "2026-03-04", "archive": "2026/03/04/REO_front_20260304081500.mp4"}
        mark = {"asked": asked, "run": "before", "after": place, "checked": 4, "off": []}
        state.write_text(json.dumps(mark))
        drawn = {
            json.loads(told("verify", camera_tree, "--sample", "50", "--json").stdout)["checked"]
            for _ in "1234"
        }
        assert len(drawn) > 1 or drawn not in ({0}, {5})
        archive_of_five[0].unlink()
        went_on = told("verify", camera_tree, "--json")
        assert (went_on.returncode, json.loads(went_on.stdout)["checked"]) == (0, 5)
        state.write_text(json.dumps(mark))
        assert self.flaws(told("verify", camera_tree, "--anew", "--json")) == ["missing"]
        for text in ("{ torn", json.dumps({**mark, "asked": {**asked, "percent": 10**400}})):
            state.write_text(text)
            assert self.flaws(told("verify", camera_tree, "--json")) == ["missing"]

    def test_a_removal_without_an_outcome_is_told(self, camera_tree: Path, told: Command) -> None:
        lines = camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        trashed = json.loads(lines.read_text().splitlines()[-1])
        intended = {**trashed, "event": "intended", "tree": "trash", "run": "dead", "reason": "trash-age"}
        with lines.open("a") as journal_of_day:
            journal_of_day.write(json.dumps(intended) + "\n")
        found = told("verify", camera_tree)
        assert found.returncode == ExitCode.PARTIAL
        assert found.stdout.startswith(
            f"unfinished: {camera_tree}/.deleted/input/2026/03/01/{NAME}.mp4: run dead"
        )
        assert "it still exists" in found.stdout
        with lines.open("a") as journal_of_day:
            journal_of_day.write(json.dumps({**intended, "event": "left", "run": "later"}) + "\n")
        assert told("verify", camera_tree).returncode == 0

    def test_an_archive_that_cannot_be_written_is_verified_all_the_same(
        self, camera_tree: Path, told: Command, tmp_path: Path
    ) -> None:
        subprocess.run(["mount", "--bind", camera_tree, camera_tree], check=False, capture_output=True)
        ro = subprocess.run(["mount", "-o", "remount,ro,bind", camera_tree], check=False, capture_output=True)
        if ro.returncode:
            pytest.skip("only root may mount")
        try:
            assert json.loads(told("verify", camera_tree, "--json").stdout)["checked"] == 1
        finally:
            subprocess.run(["umount", "-l", camera_tree], check=True)

    def test_a_day_of_the_journal_that_cannot_be_read_is_told_and_the_rest_checked(
        self, camera_tree: Path, told: Command, archive_of_five: list[Path]
    ) -> None:
        day = camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/02.jsonl"
        day.unlink()
        day.mkdir()
        archive_of_five[4].unlink()
        found = told("verify", camera_tree, "--json")
        assert (found.returncode, self.flaws(found)) == (ExitCode.PARTIAL, ["unreadable", "missing"])
        assert json.loads(found.stdout)["checked"] == 4

    def test_what_a_hostile_journal_names_is_not_read(self, camera_tree: Path, told: Command) -> None:
        lines = camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        first = json.loads(lines.read_text().splitlines()[0])
        with lines.open("a") as more:
            for archive, size in (("../../../etc/passwd", 5), ("/etc/passwd", 5), ("x.mp4", "many")):
                more.write(json.dumps({**first, "archive": archive, "archive_size": size}) + "\n")
        found = told("verify", camera_tree, "--json")
        assert (found.returncode, self.flaws(found)) == (ExitCode.PARTIAL, ["torn-journal"])


class TestFindings:
    """What `verify` finds counts for every command, until it is found sound or repaired."""

    SOURCE = f"2026/03/01/{NAME}.mp4"

    @pytest.fixture
    def camera_tree(self, archived_camera: Path) -> Path:
        """A tree whose one clip lies in the trash, beside its archive."""
        return archived_camera

    @staticmethod
    def flip(path: Path) -> None:
        """Change one byte in the middle; size and times stay."""
        status, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    @classmethod
    def spoil(cls, camera: Path, flaw: str) -> None:
        path = camera / "archived" / cls.SOURCE
        match flaw:
            case "missing":
                path.unlink()
            case "wrong-size":
                os.truncate(path, path.stat().st_size // 2)
            case "wrong-hash":
                cls.flip(path)
            case "damaged":
                # As if it had been written so: only decoding tells.
                content = bytearray(path.read_bytes())
                middle = len(content) // 2
                content[middle - 800 : middle + 800] = bytes(1600)
                path.write_bytes(content)
                cls.rewrite(camera, hashlib.blake2b(content).hexdigest())

    @staticmethod
    def rewrite(camera: Path, digest: str) -> None:
        """Journal the archive with another BLAKE2b."""
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        events = [json.loads(line) for line in lines.read_text().splitlines()]
        events[0]["archive_blake2b"] = digest
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))

    @staticmethod
    def known(camera: Path) -> dict[str, str]:
        """The flaw of each archive that is remembered as damaged."""
        file = camera / "archived" / STATE_FOLDER / "findings.json"
        found = json.loads(file.read_text())["damaged"] if file.exists() else {}
        return {archive: damage["flaw"] for archive, damage in found.items()}

    @staticmethod
    def back_in_source(camera: Path) -> Path:
        """The clip is in the source as well as archived, as `archive --keep-source` leaves it."""
        trashed = camera / f".deleted/input/{TestFindings.SOURCE}"
        source = camera / TestFindings.SOURCE
        source.parent.mkdir(parents=True, exist_ok=True)
        trashed.rename(source)
        return source

    def test_one_flipped_byte_keeps_the_only_good_copy_and_every_command_says_so(
        self, camera_tree: Path, told: Command, tmp_path: Path, web: Web
    ) -> None:
        archived = camera_tree / "archived" / self.SOURCE
        trashed, damaged = (
            camera_tree / f".deleted/input/{self.SOURCE}",
            camera_tree / f".deleted/output/{self.SOURCE}",
        )
        whole_before = trashed.read_bytes()
        self.flip(archived)
        spoilt = archived.read_bytes()
        teller, prom = tmp_path / "tell", tmp_path / "c.prom"
        teller.write_text(f'#!/bin/sh\ncat > "{tmp_path}/report"\n')
        teller.chmod(0o755)
        config = tmp_path / "c.toml"
        config.write_text(f'metrics = "{prom}"\nnotify = ["{teller}"]\nping_url = "{web.url}/uuid"\n')
        assert told("verify", camera_tree, "--config", config).returncode == ExitCode.PARTIAL
        assert web.heard == [("/uuid/start", ""), ("/uuid/fail", "camarchiver verify: exit code 3\n")]
        report = json.loads((tmp_path / "report").read_text())
        assert (report["command"], report["exit_code"], report["status"]) == (
            "verify",
            ExitCode.PARTIAL,
            "partial",
        )
        (finding,) = report["findings"]
        assert (finding["flaw"], finding["found_by"]) == ("wrong-hash", report["run"])
        assert [error["code"] for error in report["errors"]] == ["damaged"]
        assert numbers(prom, "damaged_archives", source=str(camera_tree)) == [1]
        assert numbers(prom, "last_run_exit_code", command="verify") == [ExitCode.PARTIAL]
        assert len(numbers(prom, "last_verify_timestamp_seconds")) == 1
        (line,) = [line for line in journal(camera_tree) if line["event"] == "found-damaged"]
        assert (line["run"], line["reason"], line["source"]) == (report["run"], "wrong-hash", self.SOURCE)

        for options in (
            (),
            ("--clean-output", "--archive-age", "1"),
            ("--max-size", "1"),
            ("--min-free", "99%"),
        ):
            told("cleanup", camera_tree, "--trash-age", "0", "--allow-large", "-y", *options[:2])
            assert trashed.read_bytes() == whole_before, options
            assert archived.read_bytes() == spoilt, "nor does a rule take what may still be looked at"
        kept = json.loads(told("cleanup", camera_tree, "--trash-age", "0", "-y", "--json").stdout)
        by_path = {step["path"]: step for step in kept["steps"]}
        assert by_path[str(trashed)]["reason"] == "last-copy"
        assert "its archive does not count: wrong-hash" in by_path[str(trashed)]["detail"]
        assert by_path[str(archived)]["reason"] == "damaged"
        said = told("cleanup", camera_tree, "--trash-age", "0", "-y")
        assert said.returncode == ExitCode.PARTIAL
        assert str(trashed) in said.stdout and "wrong-hash" in said.stdout and "--repair" in said.stdout

        status = told("status", camera_tree).stdout
        assert "1 archive found damaged (1 wrong-hash)" in status
        assert "every archive verified, on " in status
        document = json.loads(told("status", camera_tree, "--json").stdout)
        assert [(each["archive"], each["flaw"]) for each in document["damaged_archives"]] == [
            (self.SOURCE, "wrong-hash")
        ]
        assert document["last_verify"]["archives"] == 1 and document["last_full_verify"] is None
        story = told("why", "-C", camera_tree, archived).stdout
        assert "; verified: " not in story
        assert "since found wrong-hash, verified then: " in story
        assert (
            f"was found wrong-hash (its bytes are not those that were archived), by run {report['run']}"
            in story
        )
        assert "does not count until it is found sound or repaired" in story
        doctor = told("doctor", camera_tree, "-q").stdout
        assert f"-> camarchiver verify {camera_tree} --known --repair" in doctor

        healed = told("verify", camera_tree, "--known", "--repair", "-y", "--config", config)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        assert web.heard[-1] == ("/uuid", "camarchiver verify: exit code 0\n")
        assert numbers(prom, "damaged_archives", source=str(camera_tree)) == [0]
        assert damaged.read_bytes() == spoilt and trashed.read_bytes() == whole_before
        assert frames(archived) == frames(trashed) == 20
        assert self.known(camera_tree) == {}
        assert told("verify", camera_tree, "--full").returncode == 0
        assert "; verified: " in told("why", "-C", camera_tree, archived).stdout
        assert told("cleanup", camera_tree, "--trash-age", "0", "-y").returncode == 0
        assert not trashed.exists() and archived.exists()

    @pytest.mark.parametrize("flaw", ["missing", "wrong-size", "wrong-hash", "damaged"])
    @pytest.mark.parametrize("where", ["source", "trash"])
    def test_each_flaw_is_repaired_from_source_and_from_trash(
        self, camera_tree: Path, told: Command, flaw: str, where: str
    ) -> None:
        copy = camera_tree / f".deleted/input/{self.SOURCE}"
        if where == "source":
            copy = self.back_in_source(camera_tree)
        bytes_of_it = copy.read_bytes()
        self.spoil(camera_tree, flaw)
        archived = camera_tree / "archived" / self.SOURCE
        spoilt = archived.read_bytes() if archived.exists() else None
        options = ("--full",) if flaw == "damaged" else ()
        assert told("verify", camera_tree, *options).returncode == ExitCode.PARTIAL
        assert self.known(camera_tree) == {self.SOURCE: flaw}
        if flaw == "damaged":
            quick = told("verify", camera_tree)
            assert quick.returncode == ExitCode.PARTIAL and "found by --full" in quick.stdout
            assert self.known(camera_tree) == {self.SOURCE: flaw}, "a hash says nothing of that"
        (planned,) = told(
            "verify", camera_tree, "--known", "--repair", "--dry-run", "--json"
        ).stdout.splitlines()
        (step,) = json.loads(planned)["steps"]
        assert (step["action"], step["reason"], step["path"]) == ("archive", "repair", str(copy))
        repaired = told("verify", camera_tree, "--known", "--repair", "-y", "--json")
        document = json.loads(repaired.stdout)
        assert (repaired.returncode, document["status"], document["dry_run"]) == (0, "done", False)
        assert [(each["result"], each["reason"]) for each in document["outcomes"]] == [("done", "repair")]
        assert document["steps"] == [step]
        assert copy.read_bytes() == bytes_of_it, "it stays where it was"
        assert frames(archived) == 20
        moved = camera_tree / f".deleted/output/{self.SOURCE}"
        assert (moved.read_bytes() if moved.exists() else None) == spoilt
        assert self.known(camera_tree) == {}
        assert told("verify", camera_tree, "--full").returncode == 0
        if where == "source":
            assert told("archive", camera_tree).returncode == 0
            assert not copy.exists()
        assert (
            json.loads(told("cleanup", camera_tree, "--trash-age", "0", "-y", "--json").stdout)["exit_code"]
            == 0
        )
        assert clips_of(camera_tree) == [f"archived/{self.SOURCE}"]

    def test_a_repair_needs_no_verify_before_it(self, camera_tree: Path, told: Command) -> None:
        self.flip(camera_tree / "archived" / self.SOURCE)
        repaired = told("verify", camera_tree, "--repair", "-y")
        assert repaired.returncode == 0
        assert repaired.stdout.startswith("wrong-hash: ")
        assert f"{self.SOURCE}: archived " in repaired.stdout
        assert told("verify", camera_tree, "--repair", "-y").stdout == ""

    def test_the_record_of_a_repair_is_written_once(self, camera_tree: Path) -> None:
        self.flip(camera_tree / "archived" / self.SOURCE)
        code = (
            "import sys\n"
            "from camarchiver.state import run_history\n"
            "write = run_history.write\n"
            "run_history.write = lambda *given: print('written') or write(*given)\n"
            "from camarchiver.cli import run\n"
            "sys.exit(run(sys.argv[1:]))\n"
        )
        repair = (sys.executable, "-c", code, "verify", str(camera_tree), "--repair", "-y")
        done = subprocess.run(repair, capture_output=True, text=True, check=True)
        assert done.stdout.count("written\n") == 1

    def test_what_can_not_be_repaired_is_listed_with_the_reason(
        self, camera_tree: Path, told: Command
    ) -> None:
        archived, trashed = (
            camera_tree / "archived" / self.SOURCE,
            camera_tree / f".deleted/input/{self.SOURCE}",
        )
        self.flip(archived)
        self.flip(trashed)
        before = whole(camera_tree)
        rotten = told("verify", camera_tree, "--repair", "-y")
        assert rotten.returncode == ExitCode.PARTIAL
        assert f"the bytes of {trashed} have changed since it was archived" in rotten.stderr
        assert {path for path in before if path.endswith(".mp4")} == {
            f"archived/{self.SOURCE}",
            f".deleted/input/{self.SOURCE}",
        }
        assert archived.exists() and trashed.exists()
        trashed.unlink()
        again = told("verify", camera_tree, "--known", "--repair", "-y", "--json")
        document = json.loads(again.stdout)
        assert (again.returncode, document["exit_code"], document["status"]) == (
            ExitCode.PARTIAL,
            ExitCode.PARTIAL,
            "partial",
        )
        (left,) = document["steps"]
        assert (left["action"], left["reason"], left["path"]) == ("keep", "unrepairable", str(archived))
        assert left["detail"] == "neither its source nor a copy in the trash is there"
        assert [error["code"] for error in document["errors"]] == ["unrepairable"]
        footage = {path for path in before if path.endswith(".mp4") and ".deleted" not in path}
        assert {path: before[path] for path in footage} == {
            path: whole(camera_tree)[path] for path in footage
        }

    @pytest.mark.parametrize("is_known", [False, True])
    def test_a_dry_run_changes_nothing_and_shows_what_the_real_one_does(
        self, camera_tree: Path, told: Command, is_known: bool
    ) -> None:
        self.flip(camera_tree / "archived" / self.SOURCE)
        if is_known:
            assert told("verify", camera_tree).returncode == ExitCode.PARTIAL
        before = whole(camera_tree)
        shown = told("verify", camera_tree, "--repair", "-n")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert f"{self.SOURCE} (wrong-hash), from {camera_tree}/.deleted/input/{self.SOURCE}" in shown.stdout
        assert "encoder: " in shown.stdout
        planned = told("verify", camera_tree, "--repair", "-n", "--json").stdout
        keys = [key for key, _ in json.loads(planned, object_pairs_hook=list)]
        assert {"dry_run", "notes"} <= set(keys) and len(keys) == len(set(keys)), "each key once"
        for refused, why in (
            (("--repair",), "needs consent"),
            (("-y",), "does nothing without --repair"),
            (("-n",), "does nothing without --repair"),
        ):
            found = told("verify", camera_tree, *refused)
            assert found.returncode == ExitCode.USAGE and why in found.stderr
        assert whole(camera_tree) == before

    def test_it_shows_the_plan_and_asks_on_a_terminal(self, camera_tree: Path) -> None:
        self.flip(camera_tree / "archived" / self.SOURCE)
        spoilt = (camera_tree / "archived" / self.SOURCE).read_bytes()
        refused = on_screen("verify", camera_tree, "--repair", answers=b"n\n")
        assert f"{self.SOURCE} (wrong-hash), from " in refused.screen
        assert (camera_tree / "archived" / self.SOURCE).read_bytes() == spoilt
        agreed = on_screen("verify", camera_tree, "--repair", answers=b"y\n")
        assert agreed.code == 0
        assert (camera_tree / "archived" / self.SOURCE).read_bytes() != spoilt

    def test_an_archive_that_is_sound_again_counts_again(self, camera_tree: Path, told: Command) -> None:
        archived, trashed = (
            camera_tree / "archived" / self.SOURCE,
            camera_tree / f".deleted/input/{self.SOURCE}",
        )
        self.flip(archived)
        assert (
            told("verify", camera_tree).returncode
            == told("verify", camera_tree).returncode
            == ExitCode.PARTIAL
        )
        self.flip(archived)
        assert told("cleanup", camera_tree, "--trash-age", "0", "-y").returncode == ExitCode.PARTIAL, (
            "nobody looked yet"
        )
        assert told("verify", camera_tree, "--sample", "0").returncode == 0
        assert self.known(camera_tree) == {}
        kinds = [line["event"] for line in journal(camera_tree)]
        assert kinds.count("found-damaged") == kinds.count("found-sound") == 1
        assert "was found sound" in told("why", "-C", camera_tree, archived).stdout
        assert told("cleanup", camera_tree, "--trash-age", "0", "-y").returncode == 0
        assert not trashed.exists()

    def test_archive_removes_no_source_for_a_damaged_archive_but_makes_it_anew(
        self, camera_tree: Path, told: Command
    ) -> None:
        source, archived = self.back_in_source(camera_tree), camera_tree / "archived" / self.SOURCE
        self.flip(archived)
        spoilt = archived.read_bytes()
        assert {step["reason"] for step in document(camera_tree, "--dry-run")["steps"]} == {
            "already-archived"
        }
        assert told("verify", camera_tree).returncode == ExitCode.PARTIAL
        assert {step["reason"] for step in document(camera_tree, "--dry-run")["steps"]} == {"not-archived"}
        aged = told("cleanup", camera_tree, "-y", "--json")
        assert source.exists(), aged.stdout
        assert archive(camera_tree).returncode == 0
        assert not source.exists()
        assert self.known(camera_tree) == {}
        assert frames(archived) == 20
        assert (camera_tree / f".deleted/output/{self.SOURCE}").read_bytes() == spoilt
        assert told("verify", camera_tree, "--full").returncode == 0

    def test_of_a_held_clip_only_a_missing_archive_is_made(self, camera_tree: Path, told: Command) -> None:
        archived = camera_tree / "archived" / self.SOURCE
        day = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "police")
        assert told("hold", "add", "-C", camera_tree, *day).returncode == 0
        self.flip(archived)
        before = archived.read_bytes()
        held = told("verify", camera_tree, "--repair", "-y")
        assert held.returncode == ExitCode.PARTIAL
        assert "police: nothing of a held clip is moved" in held.stderr
        assert archived.read_bytes() == before
        archived.unlink()
        trashed = (camera_tree / f".deleted/input/{self.SOURCE}").read_bytes()
        assert told("verify", camera_tree, "--repair", "-y").returncode == 0
        assert frames(archived) == 20
        assert (camera_tree / f".deleted/input/{self.SOURCE}").read_bytes() == trashed

    def test_the_week_after_a_restore_blocks_no_repair(self, camera_tree: Path, told: Command) -> None:
        assert told("restore", "-C", camera_tree, camera_tree / self.SOURCE, "-y").returncode == 0
        self.flip(camera_tree / "archived" / self.SOURCE)
        assert {step["reason"] for step in document(camera_tree, "--dry-run")["steps"]} == {"restored"}
        assert told("verify", camera_tree, "--repair", "-y").returncode == 0
        assert told("verify", camera_tree).returncode == 0
        assert (camera_tree / self.SOURCE).exists()

    def test_only_a_run_over_everything_counts_as_whole(self, camera_tree: Path, told: Command) -> None:
        def last() -> tuple[str | None, str | None]:
            found = json.loads(told("status", camera_tree, "--json").stdout)
            return tuple(found[key] and found[key]["run"] for key in ("last_verify", "last_full_verify"))

        assert "the whole archive was never verified" in told("status", camera_tree).stdout
        for options in (("--sample", "50"), ("--since", "2026-01-01"), ("--known",)):
            assert told("verify", camera_tree, *options).returncode == 0
        assert last() == (None, None)
        quick = json.loads(told("verify", camera_tree, "--json").stdout)["run"]
        assert last() == (quick, None)
        full = json.loads(told("verify", camera_tree, "--full", "--json").stdout)["run"]
        assert last() == (full, full)
        assert "decoded whole, on " in told("status", camera_tree).stdout

    def test_findings_that_nobody_can_read_stop_every_rule(self, camera_tree: Path, told: Command) -> None:
        state = camera_tree / "archived" / STATE_FOLDER
        self.flip(camera_tree / "archived" / self.SOURCE)
        assert told("verify", camera_tree).returncode == ExitCode.PARTIAL
        sound = (state / "findings.json").read_bytes()
        for torn in (b"{ torn", b'{"damaged": {"x.mp4": {"flaw": "so-so"}}}', b'{"damaged": 7}'):
            (state / "findings.json").write_bytes(torn)
            (state / "findings.json.bak").write_bytes(sound)
            assert told("cleanup", camera_tree, "--trash-age", "0", "-y").returncode == ExitCode.PARTIAL
            (state / "findings.json.bak").write_bytes(torn)
            for command in ("cleanup", "archive", "verify"):
                found = told(command, camera_tree, *(("-y",) if command == "cleanup" else ()))
                assert found.returncode == ExitCode.STORAGE, command
                assert "findings.json" in found.stderr
        assert (camera_tree / f".deleted/input/{self.SOURCE}").exists()

    def test_every_name_of_one_file_gets_an_archive_again(self, put: Put, tree: Path, told: Command) -> None:
        first = put(f"{ONE}.mp4")
        second = first.with_name("REO_back_20260301081500.mp4")
        os.link(first, second)
        put(f"{DAY}/REO_front_20260301091500.mp4", mtime=START + 3600)
        put(f"{DAY}/REO_back_20260301091500.mp4", mtime=START + 3600)
        assert archive(tree).returncode == 0
        assert len(clips_of(tree / "archived")) == 3, "one archive for both names"
        (shared,) = {
            line["archive"] for line in journal(tree) if line.get("source", "").endswith("081500.mp4")
        } - {None}
        self.flip(tree / "archived" / shared)
        assert told("verify", tree, "--repair", "-y").returncode == 0
        assert told("verify", tree).returncode == 0
        purge = json.loads(told("cleanup", tree, "--trash-age", "0", "-y", "--json").stdout)
        assert (purge["exit_code"], purge["errors"]) == (0, [])
        assert not list((tree / ".deleted").rglob("*.mp4"))

    @pytest.mark.parametrize("lacking", ["", "first", "second"])
    def test_clips_that_share_an_archive_share_the_one_that_is_made_again(
        self, put: Put, tree: Path, told: Command, lacking: str
    ) -> None:
        """Also a clip of which nothing but that archive is left: the other one has its bytes."""
        again = f"again/{ONE}.mp4"
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        put(again)
        assert archive(tree).returncode == 0
        (shared,) = clips_of(tree / "archived")
        names = {"first": f"{ONE}.mp4", "second": again}
        if lacking:
            (tree / ".deleted/input" / names[lacking]).unlink()
        self.flip(tree / "archived" / shared)
        assert told("verify", tree).returncode == ExitCode.PARTIAL
        days = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x")
        repaired = told("verify", tree, "--known", "--repair", "-y", "--json")
        assert repaired.returncode == 0, repaired.stdout
        (made,) = clips_of(tree / "archived")
        newest = {line["source"]: line for line in journal(tree) if line["event"] in ("archived", "adopted")}
        assert {source: line["archive"] for source, line in newest.items()} == dict.fromkeys(
            names.values(), made
        )
        for source in names.values():
            assert f"archived/{made}: kept by the policy" in told("why", "-C", tree, source).stdout
        assert told("verify", tree).returncode == 0
        assert told("hold", "add", "-C", tree, *days).returncode == 0
        going = told("cleanup", tree, "--clean-output", "--archive-age", "1", "--trash-age", "0", "--dry-run")
        assert "nothing to remove" in going.stdout, going.stdout

    def test_a_numbered_copy_in_the_trash_repairs_too(self, camera_tree: Path, told: Command) -> None:
        trashed = camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        numbered = trashed.with_name(f"{NAME}~2.mp4")
        trashed.rename(numbered)
        trashed.write_bytes(b"another file of that name")
        lines = camera_tree / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        place = f"input/2026/03/01/{NAME}"
        lines.write_text(lines.read_text().replace(f"{place}.mp4", f"{place}~2.mp4"))
        self.flip(camera_tree / "archived" / self.SOURCE)
        shown = told("verify", camera_tree, "--repair", "-y", "--json")
        (step,) = json.loads(shown.stdout)["steps"]
        assert (shown.returncode, step["path"]) == (0, str(numbered))
        assert told("verify", camera_tree, "--full").returncode == 0
        assert {line["source"] for line in journal(camera_tree)} == {self.SOURCE}

    def test_a_copy_in_a_trash_that_rounds_times_repairs_too(self, camera_tree: Path, told: Command) -> None:
        trashed = camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        os.utime(trashed, (0, trashed.stat().st_mtime - 1))
        archive = camera_tree / "archived" / self.SOURCE
        self.flip(archive)
        shown = told("verify", camera_tree, "--repair", "-y", "--json")
        (step,) = json.loads(shown.stdout)["steps"]
        assert (shown.returncode, step["path"]) == (0, str(trashed))
        assert told("verify", camera_tree, "--full").returncode == 0
        assert [path.name for path in archive.parent.glob("*.mp4")] == [archive.name]
        lines = [line for line in journal(camera_tree) if line["source"] == self.SOURCE]
        assert len({line["source_mtime_ns"] for line in lines}) == 1


def parsed(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


class TestStatus:
    def test_each_camera_tree_and_trouble_is_counted(self, camera_tree: Path, told: Command) -> None:
        folder = camera_tree / "2026/03/01"
        (folder / "REO_front_20260301091500.mp4").write_bytes(b"no video")
        os.utime(folder / "REO_front_20260301091500.mp4", (1772356500, 1772356500))
        (folder / "holiday.mp4").write_bytes(b"x")
        before = json.loads(told("status", camera_tree, "--json").stdout)
        (front,) = before["cameras"]
        assert (front["camera"], front["source"]["clips"], front["waiting"]) == ("front", 2, 2)
        assert (before["last_run"], before["no_timestamp"]) == (None, 1)
        assert told("archive", camera_tree).returncode == ExitCode.PARTIAL
        after = json.loads(told("status", camera_tree, "--json").stdout)
        (front,) = after["cameras"]
        assert [front[tree]["clips"] for tree in ("source", "archive", "trash")] == [1, 1, 1]
        assert (front["waiting"], front["failed"]) == (0, 1)
        assert front["archive"]["seconds"] == 2.0
        assert (after["last_run"]["command"], after["last_run"]["exit_code"]) == ("archive", ExitCode.PARTIAL)
        told("hold", "add", "-C", camera_tree, "--from", "2026-03-01", "--to", "2026-03-02", "--reason", "x")
        text = told("status", camera_tree).stdout
        assert "front: 2 clips held" in text
        assert "1 file without a time in the name" in text
        assert "free at" in text

    def test_gaps_of_the_last_week_and_the_rate(self, camera_tree: Path, told: Command) -> None:
        now = dates.now()
        for hours in (30, 29.5, 20, 19.5):
            at = now - timedelta(hours=hours)
            path = camera_tree / f"REO_yard_{dates.stamp_of(at)}.mp4"
            path.write_bytes(b"x" * 1000)
            os.utime(path, (at.timestamp(),) * 2)
        found = json.loads(told("status", camera_tree, "--json", "--gap", "1h").stdout)
        yard = next(each for each in found["cameras"] if each["camera"] == "yard")
        assert [round((parsed(end) - parsed(start)) / 3600, 1) for start, end in yard["gaps"]] == [9.5, 19.5]
        (disk,) = found["disks"]
        assert 4000 / 2 < disk["daily"] <= 4000
        assert found["days_until_full"] == disk["days_until_full"] > 1
        wide = json.loads(told("status", camera_tree, "--json", "--gap", "12h").stdout)
        (yard,) = (each for each in wide["cameras"] if each["camera"] == "yard")
        assert len(yard["gaps"]) == 1

    def test_a_camera_that_stopped_is_told_from_one_that_rests(
        self, camera_tree: Path, told: Command
    ) -> None:
        def upload(camera: str, hours_ago: float) -> None:
            at = dates.now() - timedelta(hours=hours_ago)
            path = camera_tree / f"REO_{camera}_{dates.stamp_of(at)}.mp4"
            path.write_bytes(b"x")
            os.utime(path, (at.timestamp(),) * 2)

        for number in range(60):
            upload("gate", 96 + number / 3)
            upload("yard", 0.1 + number / 3)
        for number in range(3):
            upload("attic", 100 + 30 * number)
        text = told("status", camera_tree).stdout.splitlines()
        (gate,) = (line for line in text if line.startswith("gate   last clip"))
        assert gate.endswith(", 4 days ago, usually every 20 min: STOPPED?")
        (yard,) = (line for line in text if line.startswith("yard   last clip"))
        assert yard.endswith(" ago, usually every 20 min")
        (attic,) = (line for line in text if line.startswith("attic  last clip"))
        assert attic.endswith(", 4 days ago")
        remedy = "  gate: no new clip, although one usually comes every 20 min: check camera and upload"
        assert remedy in text[text.index("needs attention:") :]
        assert not [line for line in text if "nothing from" in line]
        found = json.loads(told("status", camera_tree, "--json").stdout)
        rhythms = {each["camera"]: (each["usual_pause"], each["stopped"]) for each in found["cameras"]}
        assert rhythms == {
            "attic": (None, False),
            "front": (None, False),
            "gate": (1200, True),
            "yard": (1200, False),
        }

    def test_a_disk_fills_with_what_stays(self, tree: Path, told: Command, model_clip: Path) -> None:
        at = dates.now() - timedelta(days=2)
        path = tree / f"REO_yard_{dates.stamp_of(at)}.mp4"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(model_clip, path)
        os.utime(path, (at.timestamp(),) * 2)
        (disk,) = json.loads(told("status", tree, "--json").stdout)["disks"]
        assert disk["net_daily"] == disk["daily"] == pytest.approx(model_clip.stat().st_size / 2, rel=0.01)
        assert told("archive", tree, "--age", "1", "--delete", "-y").returncode == 0
        (archive,) = (tree / "archived").rglob("*.mp4")
        (disk,) = json.loads(told("status", tree, "--json").stdout)["disks"]
        assert disk["daily"] == pytest.approx(model_clip.stat().st_size / 2, rel=0.01)
        assert disk["net_daily"] == pytest.approx(archive.stat().st_size / 2, rel=0.01)

    def test_what_was_archived_leaves_no_gap_and_unknown_lengths_are_looked_at(
        self, camera_tree: Path, told: Command, make_clip: Make
    ) -> None:
        # Three clips of two hours, one after the other, of which the first is in the archive.
        long = make_clip("-f lavfi -i testsrc2=s=64x48:r=1/60:d=7200 -c:v libx264 -preset ultrafast")
        first = dates.recently(hours=9)
        for number in range(3):
            at = first + timedelta(hours=2 * number)
            path = camera_tree / f"REO_yard_{dates.stamp_of(at)}.mp4"
            shutil.copy(long, path)
            os.utime(path, (at.timestamp(),) * 2)
            if not number:
                assert told("archive", camera_tree, "--age", "0", "--camera", "yard").returncode == 0
        found = json.loads(told("status", camera_tree, "--json", "--gap", "1h").stdout)
        (yard,) = (each for each in found["cameras"] if each["camera"] == "yard")
        assert (yard["archive"]["clips"], yard["source"]["clips"]) == (1, 2)
        assert [round((parsed(end) - parsed(start)) / 3600, 1) for start, end in yard["gaps"]] == [3.0]
        assert (yard["source"]["seconds_guessed"], round(yard["source"]["seconds"])) == (True, 14400)
        assert (yard["archive"]["seconds_guessed"], round(yard["archive"]["seconds"])) == (False, 7200)

    def test_doubtful_clocks_are_counted_until_the_names_are_trusted(
        self, camera_tree: Path, told: Command, tmp_path: Path
    ) -> None:
        for stamp, mtime in (("19700101000500", START), ("20990101000000", START), ("20260301090000", START)):
            path = camera_tree / f"REO_yard_{stamp}.mp4"
            path.write_bytes(b"x")
            os.utime(path, (mtime, mtime))
        (tmp_path / "c.toml").write_text("[cleanup]\ntrust_names = true\n[archive]\nage = 20000\n")
        for options, doubtful, waiting in (((), 2, 2), (("--config", tmp_path / "c.toml"), 1, 1)):
            found = json.loads(told("status", camera_tree, "--json", *options).stdout)
            (yard,) = (each for each in found["cameras"] if each["camera"] == "yard")
            assert (yard["clock_doubtful"], yard["waiting"]) == (doubtful, waiting)

    def test_an_empty_tree_has_little_to_tell(self, tmp_path: Path, told: Command) -> None:
        found = told("status", tmp_path)
        assert (found.returncode, found.stderr) == (0, "")
        assert not list(tmp_path.iterdir())
