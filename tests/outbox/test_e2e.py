"""outbox: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode
from camarchiver.state import holds
from tests import dates
from tests.commands import Command, numbers, rec_exact
from tests.recordings import rec_clips, rec_old


class TestCleanupOfASpool:
    def left(self, tmp_path: Path, clip: Path) -> dict[str, Path]:
        """What two dead recorders and their owner left behind."""
        spool, outbox = tmp_path / "temp_clips/yard", tmp_path / "recorded_clips"
        spool.mkdir(parents=True)
        half = spool / "motion_20260503_142005.0123.mp4"
        half.write_bytes(clip.read_bytes())
        found = {
            "half": half,
            "torn": spool / "motion_20260503_142006.0123.mp4",
            "empty": spool / "motion_20260503_142007.0123.mp4",
            "young": spool / "motion_20260503_142008.0123.mp4",
            "theirs": spool / "notes.txt",
            "old": rec_old(outbox, 9),
            "other": rec_old(outbox, 8, camera="door"),
            "held": rec_old(outbox, 7.5),
            "new": rec_old(outbox, 1),
            "foreign": outbox / "yard/holiday.mp4",
            "staged": outbox / "yard/.motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4",
            "part": outbox / "yard/.rsync-partial.mp4",
        }
        found["torn"].write_bytes(
            b"\0\0\0\x08free" * 2 + b"\0\0\0\x10moovxxxxxxxx" + b"\0\0\0\x10mdatxxxxxxxx"
        )
        for name in ("empty", "young", "theirs", "foreign", "staged", "part"):
            found[name].write_bytes(b"\0\0\0\x1cftypisom")
        os.utime(found["empty"], (time.time() - 3700,) * 2)
        start, end = dates.ago(7.6), dates.ago(7.4)
        holds.add(outbox / STATE_FOLDER, start, end, camera="yard", reason="x", until=None)
        return found

    def test_it_does_by_hand_what_a_recorder_does_every_hour(
        self, told: Command, tmp_path: Path, rec_twice: Path
    ) -> None:
        found = self.left(tmp_path, rec_twice)
        keep = ("--keep-days", dates.age(7))
        words = ("cleanup", "--spool", tmp_path / "temp_clips", *keep, "--timezone", "UTC")
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        shown = told(*words, "--dry-run")
        assert shown.returncode == 0, shown.stderr
        assert re.search(r"salvage +spool +yard +unfinished", shown.stdout)
        asked = told(*words)
        assert (asked.returncode, "add -y" in asked.stderr) == (ExitCode.USAGE, True)
        planned = json.loads(told(*words, "--dry-run", "--json").stdout)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        decided = {Path(step["path"]): (step["action"], step["reason"]) for step in planned["steps"]}
        assert decided == {
            found["half"]: ("salvage", "unfinished"),
            found["torn"]: ("salvage", "unfinished"),
            found["empty"]: ("delete", "leftover"),
            found["young"]: ("keep", "too-recent"),
            found["old"]: ("delete", "keep-days"),
            found["other"]: ("delete", "keep-days"),
            found["held"]: ("keep", "held"),
            found["new"]: ("keep", "in-policy"),
            found["foreign"]: ("keep", "foreign"),
            found["staged"]: ("delete", "leftover"),
        }
        ran = told(*words, "-y", "--json")
        document = json.loads(ran.stdout)
        said = (ran.returncode, document["status"])
        assert said == (ExitCode.PARTIAL, "partial"), "the torn one is damaged, and stays"
        came = {Path(each["path"]): each["result"] for each in document["outcomes"]}
        assert came[found["torn"]] == "failed"
        assert [came[path] for path in came if path != found["torn"]] == ["done"] * 5
        left = {name for name, path in found.items() if path.exists()}
        assert left == {"torn", "young", "theirs", "held", "new", "foreign", "part"}
        salvaged = tmp_path / "recorded_clips/yard/motion_20260503_142005_24.0s.mp4"
        assert salvaged.read_bytes() == rec_twice.read_bytes()
        assert str(salvaged) in (tmp_path / "temp_clips/recorder.log").read_text()

    def test_metrics_tell_of_it(self, told: Command, tmp_path: Path, rec_twice: Path) -> None:
        self.left(tmp_path, rec_twice)
        file, spool = tmp_path / "camarchiver.prom", tmp_path / "temp_clips"
        keep = ("--keep-days", dates.age(7))
        words = ("cleanup", "--spool", spool, *keep, "--timezone", "UTC", "--metrics", file)
        assert told(*words, "--dry-run").returncode == 0
        assert not file.exists()
        assert told(*words, "-y").returncode == ExitCode.PARTIAL
        assert numbers(file, "clips_total", command="cleanup", result="failed", spool=str(spool)) == [1]
        assert sum(numbers(file, "clips_total", result="done")) == 5
        assert numbers(file, "last_run_exit_code", command="cleanup") == [ExitCode.PARTIAL]

    def test_one_camera_and_max_storage_with_confirmed_transfers_first(
        self, told: Command, tmp_path: Path
    ) -> None:
        outbox = tmp_path / "out"
        clips = [rec_old(outbox, days, size=1000) for days in (5, 4, 3)]
        other = rec_old(outbox, 9, size=9000, camera="door")
        (tmp_path / "spool").mkdir()
        status = clips[1].stat()
        (outbox / STATE_FOLDER).mkdir()
        (outbox / STATE_FOLDER / "transferred").write_text(
            f"{status.st_size} {status.st_mtime_ns} yard/{clips[1].name}\n"
        )
        words = ("--spool", tmp_path / "spool", "--outbox", outbox, "--max-storage", "2500")
        ran = told("cleanup", *words, "--camera", "yard", "--timezone", "UTC", "-y")
        assert ran.returncode == 0, ran.stderr
        assert [clip.exists() for clip in clips] == [True, False, True]
        assert other.exists()
        assert "over --max-storage" in ran.stdout

    def test_a_running_recorders_spool_is_left_alone(
        self,
        told: Command,
        tmp_path: Path,
        rec_twice: Path,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
    ) -> None:
        process = rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
        # It stands still meanwhile, so that a slow machine does not see the clip finished.
        process.send_signal(signal.SIGSTOP)
        ran = told("cleanup", "--spool", tmp_path / "temp_clips", "--dry-run", "--json")
        assert [(each["action"], each["reason"]) for each in json.loads(ran.stdout)["steps"]] == [
            ("keep", "busy")
        ]
        assert told("cleanup", "--spool", tmp_path / "temp_clips", "-y").returncode == 0
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert len(json.loads(output)["clips"]) == 1
        assert [first for first, _ in rec_exact(rec_clips(tmp_path / "recorded_clips"), rec_twice)] == [60]

    @pytest.mark.parametrize(
        ("words", "said", "code"),
        [
            (("--keep-days", "3"), "--keep-days is for a recorder", ExitCode.USAGE),
            (("/camera", "--spool", "."), "DIRECTORY has no meaning with --spool", ExitCode.USAGE),
            (("--spool", ".", "--max-size", "1GB"), "--max-size has no meaning with --spool", ExitCode.USAGE),
            (("--spool", ".", "--max-storage", "0"), "would keep nothing", ExitCode.USAGE),
            (("--spool", "none"), "none is not a folder", ExitCode.STORAGE),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, told: Command, words: tuple[str, ...], said: str, code: int
    ) -> None:
        ran = told("cleanup", *words, "-y")
        assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
