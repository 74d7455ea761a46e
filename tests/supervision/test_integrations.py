"""record: processes of several cameras, with recorders that crash, hang and refuse."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from camarchiver.domain.report import Status
from camarchiver.errors import CamarchiverError, ExitCode
from camarchiver.record import retry
from camarchiver.record.supervision import processes, results
from camarchiver.record.supervision.processes import CameraLaunch, CameraProcesses
from camarchiver.record.watchdog import Watchdog
from camarchiver.runtime import processes as runtime_processes
from camarchiver.runtime.systemd import Service
from tests.processes import children_with, wait_until
from tests.supervision.recorders import PROGRAM, FakeRequest


class Manager(Service):
    """Notes what it would send."""

    def __init__(self) -> None:
        super().__init__({"WATCHDOG_USEC": "4000000"})
        self.sent: list[str] = []

    def _send(self, *lines: str) -> None:
        self.sent += lines


Begin = Callable[..., CameraProcesses]


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def begin(tmp_path: Path, mocker: MockerFixture, manager: Manager) -> Iterator[Begin]:
    """Start processes; what they do is told by the camera's name."""
    mocker.patch.object(retry, "BACKOFF", (0.2,))

    def launch(name: str, deeds: tuple[str, ...], reconnects: bool) -> CameraLaunch:
        folder = tmp_path / name
        folder.mkdir()
        request = partial(FakeRequest, folder, deeds, reconnects)
        return CameraLaunch(PROGRAM, request, folder / "spool", folder / "outbox")

    with ExitStack() as stack:

        def begun(*, reconnects: bool = True, **deeds: tuple[str, ...]) -> CameraProcesses:
            launches = {name: launch(name, each, reconnects) for name, each in deeds.items()}
            return CameraProcesses(launches, Watchdog(manager, launches), stack)

        yield begun
    assert not children_with("tests.supervision.recorders")


def run_until(cameras: CameraProcesses, so: Callable[[], object]) -> None:
    """Run them until something is so, and stop them."""
    stop = threading.Event()

    def watch() -> None:
        try:
            wait_until(so, "it", 60)
        finally:
            stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    cameras.run(stop)
    thread.join()
    assert so()


class TestProcesses:
    @pytest.mark.parametrize("deed", ["abort", "hang", "stop"])
    def test_one_that_crashes_or_hangs_is_started_again_and_costs_the_other_nothing(
        self, begin: Begin, manager: Manager, mocker: MockerFixture, tmp_path: Path, deed: str
    ) -> None:
        mocker.patch.object(processes, "HANG_SECONDS", 4.0)
        cameras = begin(yard=(deed, "go on"), gate=("go on",))
        run_until(cameras, lambda: cameras.facts.cameras[0].crashes and cameras.facts.cameras[0].frames > 10)
        yard, gate = cameras.facts.cameras
        assert (yard.crashes, gate.crashes) == (1, 0)
        assert yard.crash == ("signal SIGABRT" if deed == "abort" else "signal SIGKILL")
        assert "STATUS=yard: crashed; gate: watching" in manager.sent
        after = manager.sent[manager.sent.index("STATUS=yard: crashed; gate: watching") :]
        assert "STATUS=yard: watching; gate: watching" in after
        assert "WATCHDOG=1" in after
        assert gate.frames > yard.frames > 10
        assert not (tmp_path / "gate/start1").exists()
        begun = [float((tmp_path / "yard" / name).read_text()) for name in ("start0", "start1")]
        assert begun[0] < 1 < begun[1]
        (status, exit_code), problems = results.judged(cameras.facts, None)
        assert (status, exit_code) == (Status.FAILED, ExitCode.FAILED)
        assert "the recorder of yard crashed once" in problems[0].message

    def test_one_that_an_error_ended_is_started_again(
        self, begin: Begin, manager: Manager, caplog: pytest.LogCaptureFixture
    ) -> None:
        cameras = begin(yard=("fail", "go on"), gate=("go on",))
        run_until(cameras, lambda: cameras.facts.cameras[0].frames > 10)
        yard, gate = cameras.facts.cameras
        assert (yard.crashes, yard.crash, yard.failure) == (1, "/spool: Input/output error", None)
        assert "its recorder crashed (/spool: Input/output error); it starts again in 0 s" in caplog.text
        assert "STATUS=yard: watching; gate: watching" in manager.sent[manager.sent.index("WATCHDOG=1") :]
        assert gate.frames > yard.frames

    def test_where_no_process_can_be_started_the_other_camera_goes_on(
        self, begin: Begin, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        cameras = begin(yard=("abort", "go on"), gate=("go on",))
        start = runtime_processes.start_python
        refused = [OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) for _ in range(3)]

        def start_python(*words: Any, **others: Any) -> Any:
            if refused:
                raise refused.pop()
            return start(*words, **others)

        mocker.patch.object(runtime_processes, "start_python", start_python)
        before = len([*Path("/proc/self/fd").iterdir()])
        run_until(cameras, lambda: cameras.facts.cameras[0].frames > 10)
        yard, gate = cameras.facts.cameras
        assert (yard.crashes, gate.crashes) == (1, 0)
        assert gate.frames > yard.frames
        assert caplog.text.count("Resource temporarily unavailable") == 3
        assert len([*Path("/proc/self/fd").iterdir()]) <= before

    def test_a_file_whose_recorder_an_error_ended_is_not_recorded_twice(
        self, begin: Begin, tmp_path: Path
    ) -> None:
        cameras = begin(reconnects=False, yard=("fail", "go on"))
        cameras.run(threading.Event())
        (yard,) = cameras.facts.cameras
        assert yard.failure is not None
        assert (yard.crashes, yard.failure.exit_code) == (0, ExitCode.STORAGE)
        assert not (tmp_path / "yard/start1").exists()

    def test_a_file_is_not_recorded_twice(self, begin: Begin, tmp_path: Path) -> None:
        cameras = begin(reconnects=False, yard=("abort", "go on"))
        cameras.run(threading.Event())
        assert cameras.facts.cameras[0].crashes == 1
        assert not (tmp_path / "yard/start1").exists()

    def test_one_that_cannot_start_stops_no_other(self, begin: Begin, manager: Manager) -> None:
        cameras = begin(yard=("refuse",), gate=("end",))
        assert cameras.facts.failures["yard"].problem.hint == "plug it in"
        cameras.run(threading.Event())
        assert [each.frames for each in cameras.facts.cameras] == [5]
        assert results.judged(cameras.facts, None).conclusion.exit_code == ExitCode.USAGE
        assert "STATUS=yard: failed; gate: watching" in manager.sent

    def test_if_none_can_start_the_error_is_raised(self, begin: Begin) -> None:
        with pytest.raises(CamarchiverError, match="it is not there") as caught:
            begin(yard=("refuse",), gate=("refuse",))
        assert (caught.value.exit_code, caught.value.code) == (ExitCode.USAGE, "usage")

    def test_a_camera_that_is_gone_after_a_crash_is_looked_for(self, begin: Begin, tmp_path: Path) -> None:
        cameras = begin(yard=("abort", "refuse", "end"))
        cameras.run(threading.Event())
        (yard,) = cameras.facts.cameras
        assert (yard.crashes, yard.crash, yard.frames) == (2, "it is not there", 10)

    def test_one_that_waits_to_be_started_again_ends_at_once(
        self, begin: Begin, mocker: MockerFixture
    ) -> None:
        cameras = begin(yard=("abort",))
        mocker.patch.object(retry, "BACKOFF", (60.0,))
        run_until(cameras, lambda: cameras.facts.cameras[0].crashes)
        assert cameras.facts.cameras[0].crashes == 1

    def test_one_that_waits_is_not_started_while_the_others_end(
        self, begin: Begin, mocker: MockerFixture, tmp_path: Path
    ) -> None:
        cameras = begin(yard=("abort", "go on"), gate=("linger",))
        mocker.patch.object(retry, "BACKOFF", (1.5,))
        run_until(cameras, lambda: cameras.facts.cameras[0].crashes)
        assert cameras.facts.cameras[1].frames > 0
        assert not (tmp_path / "yard/start1").exists()
