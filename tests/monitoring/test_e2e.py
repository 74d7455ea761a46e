"""monitoring: the installed command, as a user starts it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from email import policy
from email.parser import BytesParser
from pathlib import Path

import imageio_ffmpeg
import pytest

from camarchiver.errors import ExitCode
from tests.commands import DAY, ONE, Put, archive, installed, numbers, put_recent, snapshot, state_of
from tests.processes import wait_until
from tests.recordings import RecRun
from tests.web import Web


class TestChannels:
    """Metrics, the command that is notified and the URL that is pinged."""

    @pytest.fixture
    def channels(self, tmp_path: Path, web: Web) -> list[str]:
        """All of them, by a config file."""
        teller = tmp_path / "tell"
        teller.write_text(f'#!/bin/sh\ncat > "{tmp_path}/report.$1"\n')
        teller.chmod(0o755)
        config = tmp_path / "config.toml"
        config.write_text(
            f'metrics = "{tmp_path}/camarchiver.prom"\n'
            f'notify = ["{teller}", "json"]\n'
            f'ping_url = "{web.url}/uuid"\n'
        )
        return ["--config", str(config)]

    def test_a_good_night(self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web) -> None:
        put(f"{ONE}.mp4")
        began = time.time()
        for number in (1, 2):
            done = archive(tree, *channels)
            assert (done.returncode, done.stderr) == (0, "")
            assert (
                web.heard == [("/uuid/start", ""), ("/uuid", "camarchiver archive: exit code 0\n")] * number
            )
        file = tmp_path / "camarchiver.prom"
        kind = {"command": "archive", "camera": "front", "result": "done", "encoder": "libsvtav1"}
        made = (tree / f"archived/{ONE}.mp4").stat().st_size
        assert numbers(file, "clips_total", **kind) == [1]
        assert numbers(file, "archive_bytes_total", **kind) == [made]
        assert numbers(file, "runs_total", command="archive", exit_code="0") == [2]
        (last,) = numbers(file, "last_success_timestamp_seconds", source=str(tree))
        assert began < last < time.time() + 1
        assert numbers(file, "last_run_duration_seconds", command="archive") < [240]
        for name in ("queue_clips", "remembered_failures", "holds", "last_run_exit_code"):
            assert numbers(file, name) == [0], name
        assert len(numbers(file, "filesystem_free_bytes")) == 3
        assert not list(tmp_path.glob("report.*"))

    def test_a_night_with_failures(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk" * 100_000)
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_front_20260301091500.mp4")
        put("flat/REO_new_20260301081500.mp4", mtime=time.time())
        installed("hold", "add", "-C", tree, "--from", "2026-05-01", "--to", "2026-05-02", "--reason", "x")
        options = [*channels, "--limit", "2", "--keep-source"]
        assert archive(tree, *options).returncode == ExitCode.PARTIAL
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["status"], report["exit_code"]) == ("partial", ExitCode.PARTIAL)
        assert {outcome["result"] for outcome in report["outcomes"]} == {"done", "failed"}
        assert web.heard[-1] == ("/uuid/fail", "camarchiver archive: exit code 3\n")
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "clips_total", result="failed", camera="bad") == [1]
        assert numbers(file, "remembered_failures") == numbers(file, "holds") == [1]
        assert numbers(file, "queue_clips") == [1]
        assert len(numbers(file, "until_full_seconds")) == 1
        assert numbers(file, "last_success_timestamp_seconds") == []
        # As long as it was not settled, nobody asked whether its clock is right.
        (tree / "flat/REO_new_20260301081500.mp4").unlink()
        put_recent(put)
        after = archive(tree, *channels, "--cleanup", "-y", "--json")
        assert after.returncode == 0, after.stdout
        for command in ("archive", "cleanup"):
            assert numbers(file, "last_run_exit_code", command=command) == [0]
        assert numbers(file, "filesystem_free_bytes", tree="source") != []

    def test_a_run_that_could_not_begin(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{ONE}.mp4")
        missing = archive(tmp_path / "not-mounted", *channels)
        assert missing.returncode == ExitCode.STORAGE
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["errors"][0]["message"] == f"the source {tmp_path}/not-mounted does not exist"
        refused = installed("cleanup", tree, *channels)
        assert refused.returncode == ExitCode.USAGE
        assert [path for path, _ in web.heard] == ["/uuid/fail"] * 2
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "last_run_exit_code", command="archive") == [ExitCode.STORAGE]
        assert numbers(file, "last_run_exit_code", command="cleanup") == [ExitCode.USAGE]

    def test_a_dry_run_tells_nobody(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{ONE}.mp4")
        put_recent(put)
        before = snapshot(tmp_path)
        assert archive(tree, *channels, "--dry-run").returncode == 0
        assert installed("cleanup", tree, *channels, "--dry-run").returncode == 0
        assert installed("cleanup", tmp_path / "none", *channels, "--dry-run").returncode == ExitCode.STORAGE
        assert (snapshot(tmp_path), web.heard) == (before, [])

    @pytest.mark.edge
    def test_a_second_start_is_no_failure(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put_recent(put)
        assert installed("cleanup", tree, "-y", *channels).returncode == 0
        (lock,) = (state_of(tree) / "locks").glob("cleanup@*.run")
        heard = list(web.heard)
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert installed("cleanup", tree, "-y", *channels).returncode == ExitCode.ALREADY_RUNNING
        assert web.heard == heard
        assert numbers(tmp_path / "camarchiver.prom", "last_run_exit_code") == [0]

    @pytest.mark.edge
    def test_a_broken_package_is_told_and_fails_no_run(self, tree: Path, tmp_path: Path) -> None:
        tree.mkdir()
        shadow = tmp_path / "shadow"
        shadow.mkdir()
        (shadow / "prometheus_client.py").write_text("raise ImportError('no such symbol')")
        words = ("cleanup", tree, "-y", "--metrics", tmp_path / "a.prom")
        done = installed(*words, PYTHONPATH=str(shadow))
        assert (done.returncode, "not every channel could be informed" in done.stderr) == (0, True)
        (shadow / "filelock.py").write_text("raise ImportError('no such symbol')")
        broken = installed(*words, PYTHONPATH=str(shadow))
        assert broken.returncode == ExitCode.FAILED
        assert "the installation is broken: no such symbol" in broken.stderr
        assert "Traceback" not in broken.stderr

    @pytest.mark.edge
    def test_channels_that_fail_change_no_exit_code(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        done = archive(
            tree,
            *("--metrics", tmp_path / "none/a.prom", "--notify", "/no/such command"),
            *("--ping-url", f"http://127.0.0.1:{port}/uuid"),
        )
        assert done.returncode == ExitCode.PARTIAL
        assert "no metrics were written" in done.stderr
        assert "/no/such can't be started" in done.stderr
        assert "127.0.0.1 did not take the ping: Connection refused" in done.stderr
        assert "no metrics were written" in (tree / "archiver.log").read_text()

    def test_the_example_mails_what_failed(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{DAY}/REO_bad_ü_20260301081500.mp4", b"junk")
        post, script = tmp_path / "sendmail", Path(__file__).parents[2] / "scripts" / "mail-report"
        post.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/words"; cat > "{tmp_path}/mail"\n')
        post.chmod(0o755)
        config = tmp_path / "config.toml"
        config.write_text(f'notify = ["{script}", "you@example.org", "me@example.org"]\n')
        done = archive(tree, "--config", config, SENDMAIL=str(post))
        assert (done.returncode, done.stderr) == (ExitCode.PARTIAL, "")
        mail = BytesParser(policy=policy.default).parsebytes((tmp_path / "mail").read_bytes())
        assert (tmp_path / "words").read_text() == "-t -oi\n"
        assert mail["To"] == "you@example.org, me@example.org"
        assert mail["Subject"] == f"camarchiver archive on {socket.gethostname()}: partial, 1 failed"
        assert "REO_bad_ü_20260301081500.mp4: damaged" in mail.get_content()
        gone = archive(tmp_path / "none", "--config", config, SENDMAIL=str(post))
        assert gone.returncode == ExitCode.STORAGE
        assert b"does not exist" in (tmp_path / "mail").read_bytes()
        dumb = archive(tmp_path / "none", "--config", config, SENDMAIL="no-such-sendmail")
        assert "there is no sendmail" in dumb.stderr

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('ping_url = "file:///etc/passwd"', "is not an address"),
            ('ping_url = "hc-ping.com/x"', "is not an address"),
            ("notify = []", "is not a command"),
            ("log_format = 'xml'", "is not one of"),
        ],
    )
    def test_what_can_not_be_meant_is_refused(self, tree: Path, tmp_path: Path, line: str, said: str) -> None:
        config = tmp_path / "config.toml"
        config.write_text(line + "\n")
        refused = installed("config", "check", "--config", config)
        assert refused.returncode == ExitCode.CONFIG
        assert said in refused.stderr

    def test_a_recorder_tells_every_minute_and_at_its_end(
        self, rec_twice: Path, rec_start: Callable[..., subprocess.Popen[str]], tmp_path: Path, web: Web
    ) -> None:
        fifo, file = tmp_path / "fifo", tmp_path / "camarchiver.prom"
        os.mkfifo(fifo)
        recorder = rec_start("--source", f"file:{fifo}", "--metrics", file, "--ping-url", f"{web.url}/uuid")
        wait_until(file.exists, "the first minute's numbers", 60)
        assert numbers(file, "record_connected", camera="yard") == [0]
        feed = ["-i", str(rec_twice), "-t", "9", "-c", "copy", "-f", "mpegts", str(fifo), "-y"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *feed]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=120)
        out, errors = recorder.communicate(timeout=60)
        assert recorder.returncode == 0, errors
        clips = json.loads(out)["clips"]
        assert numbers(file, "record_clips_total", camera="yard", result="published") == [len(clips)]
        assert numbers(file, "record_clip_seconds_total") == [
            pytest.approx(sum(clip["seconds"] for clip in clips), abs=0.01)
        ]
        assert numbers(file, "record_frames_total")[0] > 100
        assert len(numbers(file, "filesystem_free_bytes", command="record")) == 2
        assert [path for path, _ in web.heard] == ["/uuid/start", "/uuid"]

    @pytest.mark.edge
    def test_a_recorder_that_can_not_record_tells_why(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        ran = rec_run("--source", rec_twice, *channels, "--min-free", "900TB")
        assert ran.returncode == ExitCode.STORAGE, ran.stderr
        told = json.loads((tmp_path / "report.json").read_text())
        assert [each["message"] for each in told["errors"]] == ["there was too little room to record"]
        assert web.heard[-1] == ("/uuid/fail", "camarchiver record: exit code 13\n")
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "record_refusals_total", camera="yard")[0] >= 1
        assert numbers(file, "last_run_exit_code", command="record") == [ExitCode.STORAGE]

    def test_a_clean_stop_is_neither_success_nor_failure(
        self, rec_start: Callable[..., subprocess.Popen[str]], tmp_path: Path, web: Web
    ) -> None:
        fifo, file = tmp_path / "fifo", tmp_path / "camarchiver.prom"
        os.mkfifo(fifo)
        recorder = rec_start("--source", f"file:{fifo}", "--metrics", file, "--ping-url", f"{web.url}/uuid")
        wait_until(file.exists, "the first minute's numbers", 60)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=60)
        assert recorder.returncode == 143
        assert numbers(file, "last_run_exit_code", command="record", camera="yard") == [143]
        assert [path for path, _ in web.heard] == ["/uuid/start"]
