"""distributed: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from camarchiver.domain.clip import STATE_FOLDER
from tests.commands import COMMAND, DAY, Put, frames, installed, journal
from tests.processes import wait_until


class TestManyHosts:
    """Any number of hosts on one tree; here they are processes that call themselves different hosts."""

    @pytest.fixture
    def start(self, tree: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        started: list[subprocess.Popen[str]] = []

        def start(command: str, host: str, *options: object) -> subprocess.Popen[str]:
            started.append(
                subprocess.Popen(
                    [str(COMMAND), command, str(tree), "--codec", "h264", "--jobs", "1", *map(str, options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                    env={**os.environ, "TZ": "UTC", "CAMARCHIVER_HOST_ID": host},
                )
            )
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.communicate()

    def test_every_clip_is_archived_once(
        self, put: Put, tree: Path, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        sources = [put(f"{DAY}/REO_front_202603010815{second:02}.mp4") for second in range(12)]
        hosts = [
            start("archive", "nas", "--json"),
            start("archive", "attic", "--json"),
            start("watch", "desk", "--json", "--poll", "1s"),
        ]
        wait_until(lambda: not any(source.exists() for source in sources), "the last clip", 120)
        hosts[-1].send_signal(signal.SIGTERM)
        for host in hosts:
            out, errors = host.communicate(timeout=60)
            assert errors == ""
            told = json.loads(out)
            assert told["exit_code"] == host.returncode and host.returncode in (0, 128 + signal.SIGTERM)
            stale = {each["detail"] for each in told["outcomes"] if each["result"] == "stale"}
            assert stale <= {"archived by another run meanwhile"}
        made = [event["source"] for event in journal(tree) if event["event"] == "archived"]
        assert sorted(made) == sorted(source.relative_to(tree).as_posix() for source in sources)
        assert len({event["run"] for event in journal(tree)}) > 1
        archives = sorted((tree / "archived" / DAY).iterdir())
        assert [frames(path) for path in archives] == [20] * 12
        assert not [*tree.rglob("*.mp4.lock"), *tree.rglob("*.staged*"), *tree.rglob("claims/*")]

    def test_they_begin_at_different_clips_and_status_tells_who_works_on_what(
        self,
        put: Put,
        tree: Path,
        odd_ffmpeg: Callable[[str], Path],
        start: Callable[..., subprocess.Popen[str]],
    ) -> None:
        sleeping = odd_ffmpeg('    touch "$last"; exec sleep 250')
        for second in range(8):
            put(f"2024/01/05/REO_front_202401051015{second:02}.mp4")
        locks = tree / "archived" / STATE_FOLDER / "locks"
        locks.mkdir(parents=True)
        for host in ("attic", "nas"):
            (locks / f"archive@{host}.run").touch()
        runs = [start("archive", host, "--ffmpeg", sleeping) for host in ("attic", "nas")]
        wait_until(lambda: len(list(tree.rglob("*.mp4.lock"))) == 2, "both locks", 150)
        told = json.loads(installed("status", tree, "--json").stdout)["working"]
        assert len(told) == 2
        assert all(f"(host {host}, pid" in " ".join(told) for host in ("attic", "nas")), told
        locked = sorted(path.name for path in tree.rglob("*.mp4.lock"))
        assert locked == [f"REO_front_202401051015{second}.mp4.lock" for second in ("00", "04")]
        for run in runs:
            run.send_signal(signal.SIGTERM)
            assert run.wait(60) == 128 + signal.SIGTERM
