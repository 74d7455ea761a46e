"""runtime: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from camarchiver.runtime import log_setup, periodic, processes, systemd
from camarchiver.runtime.signals import WakePipe
from camarchiver.storage import locking
from tests.processes import wait_until


class TestProcesses:
    """Programs that this one starts."""

    def test_a_child_dies_with_its_parent_unless_it_is_detached(
        self, start_python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        code = (
            "import time; from camarchiver.runtime import processes\n"
            "tied = processes.start(['sleep', '60'])\n"
            "free = processes.start(['sleep', '60'], detached=True)\n"
            "print(tied.pid, free.pid, flush=True); time.sleep(60)"
        )
        parent = start_python(code)
        assert parent.stdout is not None
        tied, free = map(int, parent.stdout.readline().split())
        assert _runs(tied) and _runs(free)
        parent.kill()
        parent.wait()
        wait_until(lambda: not _runs(tied), "the child's end")
        assert _runs(free)
        os.kill(free, signal.SIGKILL)

    def test_a_child_whose_parent_was_killed_before_it_began_does_not_begin(self, tmp_path: Path) -> None:
        code = f"""
import os, pathlib, signal
from camarchiver.runtime import processes
prctl = processes._PRCTL
def too_late(*words):
    parent = os.getppid()
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        pass
    pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
    return prctl(*words)
processes._PRCTL = too_late
processes.start(["sleep", "60"])
"""
        subprocess.run([sys.executable, "-c", code], timeout=60)
        wait_until((tmp_path / "pid").exists, "the child")
        wait_until((tmp_path / "pid").read_text, "its number")
        wait_until(lambda: not _runs(int((tmp_path / "pid").read_text())), "its end")

    def test_a_short_command_gives_what_it_prints_and_has_no_input(self) -> None:
        code = "import sys; print(sys.stdin.read() == ''); sys.exit('why\\n\\nnot')"
        done = processes.run([sys.executable, "-c", code], seconds=60)
        assert (done.returncode, done.output, done.errors) == (1, b"True\n", ("why", "not"))

    def test_output_that_can_not_be_read_is_not_taken_for_silence(self, mocker: MockerFixture) -> None:
        failing = mocker.patch.object(processes, "os", wraps=os)
        failing.read.side_effect = OSError(errno.EIO, os.strerror(errno.EIO))
        done = processes.run(["true"], seconds=60)
        assert done.returncode == 0
        assert b"can't be read: Input/output error" in done.output
        assert any("can't be read: Input/output error" in line for line in done.errors)

    def test_what_takes_too_long_is_killed_with_what_it_started(self, tmp_path: Path) -> None:
        script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="it did not answer in 1 s"):
            processes.run(["sh", "-c", script], seconds=1)
        assert time.monotonic() - started < 30
        wait_until(lambda: not _runs(int((tmp_path / "pid").read_text())), "the end of what it started")

    def test_what_goes_on_in_the_background_is_not_waited_for(self, mocker: MockerFixture) -> None:
        mocker.patch.object(processes, "_PIPE_SECONDS", 0.2)
        started = time.monotonic()
        done = processes.run(["sh", "-c", "echo 1; sleep 15 & echo $!"], seconds=60)
        assert time.monotonic() - started < 10
        os.kill(int(done.output.split()[1]), signal.SIGKILL)

    def test_output_without_end_needs_little_memory(self) -> None:
        script = "yes out | head -c 40000000; yes err | head -c 4000000 >&2; printf last >&2"
        done = processes.run(["sh", "-c", script], seconds=60)
        assert len(done.output) == 16 << 20
        assert (len(done.errors), done.errors[0], done.errors[-1]) == (301, "err", "last")
        assert done.errors[200] == "(999701 more lines)"

    def test_what_ignores_term_is_killed(self, mocker: MockerFixture) -> None:
        mocker.patch.object(processes, "KILL_SECONDS", 0.5)
        process = processes.start(["sh", "-c", "trap '' TERM; echo on; sleep 60"], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"on\n"
        processes.end(process)
        assert process.returncode == -signal.SIGKILL
        processes.signal_group(process, signal.SIGKILL)  # it was waited for: its id may be another's now
        process.stdout.close()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestWake:
    def test_it_ends_a_wait_from_another_thread_and_never_blocks_its_caller(self) -> None:
        wake = WakePipe()
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        assert poller.poll(0) == []
        threading.Timer(0.1, wake.wake).start()
        assert poller.poll(20_000)
        for _ in range(100_000):
            wake.wake()
        wake.clear()
        assert poller.poll(0) == []
        wake.close()

    def test_a_signal_rings(self, start_python: Callable[..., subprocess.Popen[str]]) -> None:
        code = (
            "import select\nfrom camarchiver.runtime.signals import WakePipe, on_signals\n"
            "with on_signals() as stop:\n"
            "    wake = WakePipe()\n"
            "    with wake.by_signals():\n"
            "        print('ready', flush=True)\n"
            "        poller = select.poll()\n"
            "        poller.register(wake, select.POLLIN)\n"
            "        print(len(poller.poll(60_000)), stop.signal)\n"
        )
        process = start_python(code)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == f"1 {signal.SIGTERM.value}\n"


class TestService:
    """systemd's side of the socket, played by the test."""

    @pytest.fixture(params=["path", "abstract"])
    def told(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
        name = str(tmp_path / "notify") if request.param == "path" else f"@camarchiver-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
            listener.settimeout(10)
            yield name, listener

    def test_the_manager_hears_every_stage_of_a_run(self, told: tuple[str, socket.socket]) -> None:
        name, listener = told
        speaker = systemd.Service({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"})
        speaker.ready("watching 3 folders")
        assert listener.recv(1000) == b"READY=1\nSTATUS=watching 3 folders"
        speaker.status("two\nlines and a name that is not UTF-8: " + os.fsdecode(b"\xff.mp4"))
        assert listener.recv(1000) == rb"STATUS=two lines and a name that is not UTF-8: \udcff.mp4"
        speaker.beat()
        speaker.beat()
        assert listener.recv(1000) == b"WATCHDOG=1"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        speaker.reloading()
        first, second = listener.recv(1000).decode().split("\n")
        assert first == "RELOADING=1"
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
        speaker.stopping("waits for 2 clips")
        assert listener.recv(1000) == b"STOPPING=1\nSTATUS=waits for 2 clips"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1000)

    def test_beats_go_on_after_each_interval(self, told: tuple[str, socket.socket]) -> None:
        name, listener = told
        speaker = systemd.Service({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"})
        for _ in range(3):
            speaker.beat()
            assert listener.recv(1000) == b"WATCHDOG=1"
            time.sleep(0.1)

    @pytest.mark.edge
    def test_a_manager_that_is_gone_is_told_of_once_and_stops_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        speaker = systemd.Service({"NOTIFY_SOCKET": str(tmp_path / "gone")})
        speaker.ready()
        speaker.status("on we go")
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_systemds_variables_count_only_where_there_is_no_terminal(self) -> None:
        code = "from camarchiver.runtime import systemd; print(systemd.is_managed())"
        environment = {**os.environ, "INVOCATION_ID": "0123456789abcdef"}
        command = [sys.executable, "-c", code]
        told = subprocess.run(command, env=environment, start_new_session=True, capture_output=True)
        assert told.stdout == b"True\n"
        child, terminal = pty.fork()
        if child == 0:
            os.execve(sys.executable, command, environment)
        try:
            assert os.read(terminal, 100).strip() == b"False"
        finally:
            os.waitpid(child, 0)
            os.close(terminal)


class TestPulse:
    def test_a_beat_that_fails_or_hangs_ends_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(periodic, "SECONDS", 0.05)
        beats = 0
        hang = threading.Event()

        def act() -> None:
            nonlocal beats
            beats += 1
            if beats == 1:
                raise ValueError("once")
            if beats == 3:
                hang.wait(60)

        began = time.monotonic()
        with periodic.every_minute(act):
            wait_until(lambda: beats == 3, "the third beat")
        assert time.monotonic() - began < 30
        hang.set()
        assert [record.levelname for record in caplog.records] == ["ERROR"]


class TestLogs:
    """The log file's lines."""

    @staticmethod
    def lines(file: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]

    def test_json_has_run_and_clip_on_every_line(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        log = logging.getLogger("camarchiver.archive.clip_archiver")
        with log_setup.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"):
            log.info("begins")
            with log_setup.about("2026/03/01/a.mp4"):
                log.warning("%s: failed", "a.mp4")
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(log.info, "another clip's thread").result()
            log.info("ends")
        first, second, third, fourth = self.lines(file)
        assert [line["clip"] for line in (first, second, third, fourth)] == [
            None,
            "2026/03/01/a.mp4",
            None,
            None,
        ]
        assert {line["run"] for line in (first, second, third, fourth)} == {"r1"}
        assert second["level"] == "warning"
        assert second["logger"] == "camarchiver.archive.clip_archiver"
        assert second["message"] == "a.mp4: failed"
        assert datetime.fromisoformat(second["time"]).tzinfo is not None

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_a_run_within_the_run_is_named(self, tmp_path: Path, form: log_setup.Format) -> None:
        file, log = tmp_path / "run.log", logging.getLogger("camarchiver.cleanup.executor")
        with log_setup.logging_to(file, run="r1", verbose=False, quiet=True, log_format=form):
            log.info("archived")
            with log_setup.within("r2"):
                log.info("removed")
            log.info("done")
        found = file.read_text().splitlines()
        runs_named = [json.loads(line)["run"] if form == "json" else line.split()[3] for line in found]
        assert runs_named == ["r1", "r2", "r1"]

    @pytest.mark.edge
    def test_no_text_makes_a_second_line_or_shows_a_password(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        log = logging.getLogger("camarchiver.record.capture.source")
        odd = os.fsdecode(b"a\n\xff\x1b[31m\xe2\x80\xa8.mp4")
        with (
            log_setup.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"),
            log_setup.about(odd),
        ):
            log.info("%s from rtsp://user:secret@cam/1", odd)
            try:
                raise ValueError("rtsp://user:secret@cam/1 says no")
            except ValueError:
                log.exception("failed")
        first, second = self.lines(file)
        assert first["clip"] == "a\n\\udcff\x1b[31m\u2028.mp4"
        assert "rtsp://***@cam/1" in first["message"]
        assert "ValueError" in second["error"]
        assert "secret" not in file.read_text()

    def test_a_locks_heart_speaks_of_the_clip_that_is_worked_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.05)
        clip, file = tmp_path / "a.mp4", tmp_path / "run.log"
        with (
            log_setup.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"),
            log_setup.about("day/a.mp4"),
            locking.clip_lock(clip) as lock,
        ):
            lock.file.unlink()
            assert lock.lost.wait(20)
        assert [line["clip"] for line in self.lines(file)] == ["day/a.mp4"]

    def test_commands_that_overlap_lose_no_line_while_the_file_is_rotated(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        program = """
import logging, sys
from pathlib import Path
from camarchiver.runtime import log_setup as logs
logs.ROTATE_AT, logs.KEEP_FILES = 3000, 100
log = logging.getLogger("camarchiver.archive.clip_archiver")
with logs.logging_to(Path(sys.argv[1]), run=sys.argv[2], verbose=False, quiet=True):
    for number in range(150):
        log.info("line %d of it", number)
"""
        names = [f"r{number}" for number in range(4)]
        writers = [subprocess.Popen([sys.executable, "-c", program, str(file), name]) for name in names]
        assert [writer.wait(60) for writer in writers] == [0] * 4
        files = list(tmp_path.glob("run.log*"))
        assert len(files) > 5
        assert all(path.stat().st_size <= 3000 for path in files)
        found = Counter(line for path in files for line in path.read_text().splitlines())
        told = Counter(" ".join(line.split()[3:]) for line in found.elements())
        assert told == Counter(f"{name} line {n} of it" for name in names for n in range(150))
        assert [path.name for path in (tmp_path / ".camarchiver").iterdir()] == [".run.log.lock"]

    @pytest.mark.edge
    def test_a_log_that_can_not_be_written_is_said_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, log = tmp_path / "run.log", logging.getLogger("camarchiver.archive.clip_archiver")
        precious = tmp_path / "precious"
        precious.write_text("mine")
        with log_setup.logging_to(file, run="r1", verbose=False, quiet=True):
            log.info("first")
            file.unlink()
            file.symlink_to(precious)
            log.info("second")
            log.info("third")
        assert precious.read_text() == "mine"
        assert capsys.readouterr().err.count("can't be written") == 1

    @pytest.mark.edge
    def test_a_lock_that_can_not_be_released_once_hinders_no_later_line(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], mocker: MockerFixture
    ) -> None:
        file, log = tmp_path / "run.log", logging.getLogger("camarchiver.archive.clip_archiver")
        flock, failures = fcntl.flock, iter([OSError(errno.EIO, os.strerror(errno.EIO))])

        def failing_once(descriptor: int, operation: int) -> None:
            if operation == fcntl.LOCK_UN and (failure := next(failures, None)):
                raise failure
            flock(descriptor, operation)

        mocker.patch("fcntl.flock", failing_once)
        with log_setup.logging_to(file, run="r1", verbose=False, quiet=True):
            for line in ("first", "second", "third"):
                log.info(line)
        assert next(failures, None) is None
        assert [line.split()[-1] for line in file.read_text().splitlines()] == ["first", "second", "third"]
        assert capsys.readouterr().err.count("can't be written") == 1
