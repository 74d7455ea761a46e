"""watch: the installed command, as a user starts it."""

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
from tests.commands import (
    COMMAND,
    DAY,
    H264,
    ONE,
    START,
    Manager,
    Put,
    frames,
    installed,
    journal,
    log_of,
    numbers,
)
from tests.processes import wait_until
from tests.web import Web


def arrive(put: Put, relative: str, words: str | bytes = H264, *, mtime: float | None = None) -> Path:
    """A clip that is renamed into place, just written."""
    when = time.time() if mtime is None else mtime
    folder, _, name = relative.rpartition("/")
    hidden = put(f"{folder}/.{name}", words, mtime=when)
    return hidden.rename(hidden.with_name(name))


class TestWatch:
    def test_a_clip_renamed_into_place_is_archived_at_once(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        numbers = tree.with_name("watch.prom")
        manager = watch("--metrics", numbers)
        source = arrive(put, f"{ONE}.mp4")
        made = tree / "archived" / f"{ONE}.mp4"
        wait_until(lambda: made.exists() and not source.exists(), "the archive")
        manager.wait_for("STATUS=waiting for clips, 0 not yet looked at, 1 archived")
        manager.wait_for("WATCHDOG=1", more=3)
        assert frames(made) == 20
        assert (tree / ".deleted/input" / f"{ONE}.mp4").exists()
        code, out, errors = manager.end()
        assert (code, errors) == (128 + signal.SIGTERM, "")
        assert out.startswith(f"{ONE}.mp4: archived ")
        manager.wait_for("STOPPING=1")
        assert re.search(
            r"camarchiver_clips_total{.*command=\"watch\".*result=\"done\".*} 1.0", numbers.read_text()
        )
        assert [event["event"] for event in journal(tree)] == ["archived", "trashed"]
        assert not [*tree.rglob("*.mp4.lock"), *tree.rglob("*.staged*"), *tree.rglob("claims/*")]

    def test_metrics_and_failures_are_told_while_it_runs(
        self, put: Put, tree: Path, tmp_path: Path, watch: Callable[..., Manager], web: Web
    ) -> None:
        file, teller = tmp_path / "camarchiver.prom", tmp_path / "tell"
        teller.write_text(
            f'#!/bin/sh\ncat > "{tmp_path}/report.new"; mv {tmp_path}/report.new {tmp_path}/report\n'
        )
        teller.chmod(0o755)
        options = ("--metrics", file, "--notify", teller, "--ping-url", f"{web.url}/uuid")
        (tmp_path / "sitecustomize.py").write_text(
            "from camarchiver.runtime import periodic\nperiodic.SECONDS = 0.5\n"
        )
        manager = watch(*options, PYTHONPATH=str(tmp_path))
        arrive(put, f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        arrive(put, f"{ONE}.mp4")
        wait_until((tmp_path / "report").exists, "the notice", 60)
        told = json.loads((tmp_path / "report").read_text())
        assert [(each["result"], each["reason"]) for each in told["outcomes"]] == [("failed", "damaged")]
        good = {"command": "watch", "camera": "front", "result": "done"}
        wait_until(lambda: numbers(file, "clips_total", **good) == [1], "the good clip's number", 60)
        assert numbers(file, "remembered_failures") == [1]
        wait_until(lambda: ("/uuid", "") in web.heard, "the sign of life", 60)
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert numbers(file, "clips_total", command="watch", result="failed") == [1]
        assert numbers(file, "clips_total", **good) == [1]
        assert "/uuid/fail" not in [path for path, _ in web.heard]

    def test_a_reload_counts_no_clip_twice(
        self, put: Put, tree: Path, tmp_path: Path, watch: Callable[..., Manager]
    ) -> None:
        file, config = tmp_path / "camarchiver.prom", tmp_path / "config.toml"
        config.write_text(f'metrics = "{file}"\n')
        manager = watch("--config", config)
        good = {"command": "watch", "camera": "front", "result": "done"}
        for number in (1, 2):
            source = arrive(put, f"{DAY}/REO_front_2026030108150{number}.mp4")
            wait_until(lambda source=source: not source.exists(), "the archive", 60)
            manager.process.send_signal(signal.SIGHUP)
            manager.wait_for("READY=1")
            wait_until(
                lambda number=number: numbers(file, "clips_total", **good) == [number], "its number", 60
            )
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert numbers(file, "clips_total", **good) == [2]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_puts_back_what_was_begun(
        self,
        put: Put,
        tree: Path,
        watch: Callable[..., Manager],
        odd_ffmpeg: Callable[[str], Path],
        number: int,
    ) -> None:
        (tree / "2024/01/05").mkdir(parents=True)
        manager = watch("--json", "--ffmpeg", odd_ffmpeg('    touch "$last"; exec sleep 100'))
        source = arrive(put, "2024/01/05/REO_front_20240105101500.mp4")
        wait_until(lambda: list(tree.rglob("*.staged*")), "the encoding", 60)
        code, out, _ = manager.end(number)
        assert code == 128 + number
        found = json.loads(out)
        assert (found["command"], found["status"], found["exit_code"]) == ("watch", "stopped", code)
        assert found["results"] == {"skipped": 1}
        assert source.exists() and not list(tree.rglob("*.staged*"))
        assert not source.with_name(source.name + ".lock").exists()

    def test_a_hangup_reads_the_config_anew_under_a_manager(
        self, put: Put, tree: Path, watch: Callable[..., Manager], tmp_path: Path
    ) -> None:
        config = tmp_path / "own.toml"
        config.write_text('[watch]\nexclude = ["*front*"]\n')
        manager = watch("--config", config)
        excluded = arrive(put, f"{ONE}.mp4")
        second = arrive(put, f"{DAY}/REO_back_20260301081500.mp4")
        wait_until(lambda: not second.exists(), "the second clip's archive")
        assert excluded.exists()
        config.write_text("[watch]\nexclud = []\n")
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1")
        config.write_text("[watch]\nexclude = []\n")
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        again = arrive(put, f"{DAY}/REO_front_20260301091500.mp4")
        wait_until(lambda: not again.exists(), "the archive after the reload")
        code, _, errors = manager.end()
        assert code == 128 + signal.SIGTERM
        assert "exclud is not a key; did you mean exclude?" in errors and "nothing changes" in errors

    def test_a_damaged_clip_is_tried_once_and_again_only_when_it_has_changed(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch("--quiet-for", "1s")
        arrive(put, f"{ONE}.mp4", b"no video")
        wait_until(lambda: len(journal(tree)) == 1, "the failure")
        with (tree / f"{ONE}.mp4").open("rb+"):
            pass
        whole_one = arrive(put, f"{DAY}/REO_back_20260301081500.mp4")
        wait_until(lambda: not whole_one.exists(), "the other clip")
        time.sleep(1.5)
        assert [event["event"] for event in journal(tree)] == ["failed", "archived", "trashed"]
        replaced = arrive(put, f"{ONE}.mp4")
        wait_until(lambda: not replaced.exists(), "the archive of what replaced it")
        manager.end()
        assert not json.loads((tree / "archived" / STATE_FOLDER / "failures.json").read_text())

    def test_where_the_kernel_lets_no_more_folders_be_watched_it_goes_on_and_says_what_helps(
        self, put: Put, tree: Path
    ) -> None:
        limited = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'
        command = ["unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh", str(COMMAND), "watch"]
        process = subprocess.Popen(
            [*command, str(tree), "--codec", "h264", "--poll", "1s", "--quiet-for", "1s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TZ": "UTC"},
        )
        wait_until(lambda: "scanned in" in log_of(tree) or process.poll() is not None, "the start", 60)
        if process.poll() is not None:
            assert process.stderr is not None
            pytest.skip(f"no user namespace here: {process.stderr.read()[-200:]}")
        clips = [
            put(f"2026/03/{day:02}/REO_front_202603{day:02}081500.mp4", mtime=START + 86_400 * (day - 1))
            for day in range(1, 6)
        ]
        wait_until(lambda: not any(clip.exists() for clip in clips), "the last clip", 60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        assert errors.count("sysctl -w fs.inotify.max_user_watches=") == 1
        assert "scanning every 1 s instead" in errors

    def test_it_goes_on_when_nobody_reads_what_it_prints(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch()
        for stream in (manager.process.stdout, manager.process.stderr):
            assert stream is not None
            stream.close()
        for name in ("front", "back", "yard"):
            source = arrive(put, f"{DAY}/REO_{name}_20260301081500.mp4", b"x" if name == "back" else H264)
            wait_until(lambda: len(journal(tree)) > 0, "the journal")
            if name != "back":
                wait_until(lambda source=source: not source.exists(), "the archive")
        manager.process.stdout = manager.process.stderr = None
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert log_of(tree).count("standard output is gone") == 1

    def test_an_upload_that_was_there_before_and_its_picture_are_found(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        fresh = put(f"{DAY}/REO_back_20260301081500.mp4", mtime=time.time())
        manager = watch()
        made = tree / "archived" / f"{ONE}.jpg"
        wait_until(made.exists, "the picture")
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert fresh.exists()

    def test_a_hangup_ends_it_on_a_terminal_and_a_second_start_is_refused(
        self, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch(managed=False)
        second = installed("watch", tree)
        assert second.returncode == ExitCode.ALREADY_RUNNING and "watch runs here already" in second.stderr
        assert manager.end(signal.SIGHUP)[0] == 128 + signal.SIGHUP
