"""distributed: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from camarchiver.errors import ExitCode
from tests.archive.test_integrations import Gate
from tests.cameras import IS_ROOT, Camera
from tests.processes import processes_with, wait_until
from tests.samples import SLOW, OddFfmpeg


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler on loopback; workers are started by the test, and all are gone afterwards."""
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    cluster = DaskCluster(tmp_path / "dask")
    yield cluster
    cluster.close()


class DaskCluster:
    """Real Dask processes; `address` is the scheduler's."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = place / "scheduler.json"
        listening = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._start("scheduler", *listening, "--scheduler-file", self._file)
        wait_until(lambda: self._file.exists() and self._file.stat().st_size > 0, "the scheduler", seconds=60)
        self.address = str(json.loads(self._file.read_text())["address"])

    def worker(
        self, name: str, *options: str, slots: int = 1, preload: str = "", before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """A worker process without a nanny; `preload` is Python that it runs first."""
        arguments: list[object] = [self.address, "--no-dashboard", "--no-nanny", "--nthreads", 2]
        arguments += ["--name", name, "--local-directory", self._place / name, "--host", "127.0.0.1"]
        arguments += ["--resources", f"encoder={slots}"] if slots else []
        if preload:
            (self._place / f"{name}.py").write_text(preload)
            arguments += ["--preload", self._place / f"{name}.py"]
        process = self._start("worker", *arguments, *options, name=name, before=before)
        log = self._place / f"{name}.log"
        wait_until(lambda: b"Registered to" in log.read_bytes(), f"the worker {name}", seconds=60)
        return process

    def _start(
        self, kind: str, *arguments: object, name: str = "scheduler", before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        command = [*before, sys.executable, "-m", "distributed.cli.dask_" + kind, *map(str, arguments)]
        with (self._place / f"{name}.log").open("wb") as log:
            environment = {**os.environ, "CAMARCHIVER_HOST_ID": name, "TZ": "UTC"}
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End every process."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


@pytest.mark.slow
class TestCluster:
    """`archive --scheduler` with a real scheduler and real worker processes."""

    def test_every_clip_is_archived_once_though_a_worker_is_killed_in_the_middle_of_one(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg, tmp_path: Path
    ) -> None:
        for minute in range(6):
            camera.add("front", f"10{minute:02}00")
        gate = Gate(tmp_path)
        stale = (
            "from camarchiver.storage import locking, owner\n"
            "owner.STALE_LOCK_SECONDS = 4\n"
            "locking.HEARTBEAT_SECONDS = 1\n"
        )
        workers = [dask.worker(name, preload=stale) for name in ("one", "two")]
        busy = "from camarchiver.distributed import coordinator\ncoordinator.BUSY_SECONDS = 60\n"
        ffmpeg = odd_ffmpeg(gate.script(after=False))
        run = camera.start("--json", "--scheduler", dask.address, ffmpeg=ffmpeg, patch=busy)
        wait_until(gate.waiting.exists, "the encoding", seconds=60)
        wait_until(lambda: len(list(camera.archive_root.rglob("*.staged.mp4"))) == 2, "both", seconds=60)
        workers[0].kill()
        gate.open.touch()
        run.end(200)
        document = run.document()
        assert [outcome["result"] for outcome in document["outcomes"]] == ["done"] * 6, run.errors
        assert run.code == 0
        assert {event["host"] for event in camera.events("archived")} == {socket.gethostname()}
        assert camera.archive().code == 0, "the next run sweeps what the dead worker left"
        camera.assert_finished()

    def test_who_cannot_take_part_is_told_before_the_first_clip(
        self, camera: Camera, dask: DaskCluster
    ) -> None:
        camera.add()
        nobody = camera.archive("--dry-run", "--scheduler", dask.address)
        assert (nobody.code, "it has none" in nobody.errors) == (ExitCode.ENCODER, True)
        dask.worker("plain", slots=0)
        hidden = f'mount -t tmpfs none {camera.root} && exec "$@"'
        if IS_ROOT:
            dask.worker("blind", before=("unshare", "-m", "sh", "-c", hidden, "sh"))
        refused = camera.archive("--scheduler", dask.address)
        assert refused.code == ExitCode.ENCODER
        assert '--resources "encoder=N"' in refused.errors
        if IS_ROOT:
            assert "blind (127.0.0.1): the archive" in refused.errors
            assert "is not the one of this run" in refused.errors
        dask.worker("good", slots=2)
        lacking = camera.archive("--encoder", "v4l2m2m", "--scheduler", dask.address)
        assert lacking.code == ExitCode.ENCODER
        assert "good (127.0.0.1): h264_v4l2m2m" in lacking.errors
        planned = camera.archive("--dry-run", "--scheduler", dask.address)
        assert planned.code == 0
        assert "good (127.0.0.1): libx264" in planned.out
        assert "plain (127.0.0.1) can't take part" in planned.out
        assert camera.archives() == [] and len(camera.sources()) == 1
        assert camera.archive("--scheduler", dask.address).code == 0
        camera.assert_finished()

    def test_a_signal_ends_the_workers_jobs_too(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        camera.add("front")
        camera.add("garden")
        dask.worker("one")
        run = camera.start("--scheduler", dask.address, ffmpeg=odd_ffmpeg(SLOW))
        wait_until(lambda: processes_with(f"file:{camera.archive_root}/"), "the encoding", seconds=60)
        run.process.send_signal(signal.SIGTERM)
        run.end(60)
        assert run.code == 128 + signal.SIGTERM, run.errors
        assert "stopped by signal 15" in run.out
        assert processes_with(f"file:{camera.archive_root}/") == []
        assert len(camera.sources()) == 2 and camera.archives() == []
        assert camera.archive("--scheduler", dask.address).code == 0
        camera.assert_finished()

    def test_when_no_worker_is_left_the_run_ends_and_says_so(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        camera.add()
        worker = dask.worker("only")
        patch = "from camarchiver.distributed import coordinator\ncoordinator.ALONE_SECONDS = 3\n"
        run = camera.start("--json", "--scheduler", dask.address, ffmpeg=odd_ffmpeg(SLOW), patch=patch)
        wait_until(lambda: processes_with(f"file:{camera.archive_root}/"), "the encoding", seconds=60)
        worker.kill()
        run.end(90)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", ExitCode.FAILED)
        assert f"no worker of {dask.address} is left" in outcome["detail"]
        wait_until(lambda: not processes_with(f"file:{camera.archive_root}/"), "the end of ffmpeg")
        assert len(camera.sources()) == 1
        assert camera.archive(host="only").code == 0
        camera.assert_finished()

    def test_what_a_worker_tells_is_checked(self, camera: Camera, dask: DaskCluster) -> None:
        """A worker whose disk lost what it wrote: neither journalled nor removed."""
        camera.add()
        torn = (
            "from camarchiver.archive import publishing\n"
            "from camarchiver.storage import atomic\n"
            "publish = atomic.publish\n"
            "class Torn:\n"
            "    def __getattr__(self, name): return getattr(atomic, name)\n"
            "    def publish(self, part, target, **more):\n"
            "        publish(part, target, **more)\n"
            "        target.chmod(0o600)\n"
            "        with target.open('r+b') as stream: stream.seek(-9, 2); stream.write(b'zeroed...')\n"
            "publishing.atomic = Torn()\n"
        )
        dask.worker("torn", preload=torn)
        run = camera.archive("--json", "--scheduler", dask.address)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", ExitCode.FAILED)
        assert "reads differently here" in outcome["detail"]
        assert len(camera.sources()) == 1 and camera.events("archived") == []

    def test_a_journal_that_cannot_be_written_keeps_the_source(
        self, camera: Camera, dask: DaskCluster
    ) -> None:
        camera.add()
        dask.worker("one")
        full = (
            "import errno\n"
            "from camarchiver.journal.store import Journal\n"
            "def append(self, *events): raise OSError(errno.ENOSPC, 'No space left on device')\n"
            "Journal.append = append\n"
        )
        run = camera.archive("--json", "--scheduler", dask.address, patch=full)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", ExitCode.FAILED)
        assert "could not be written down here" in outcome["detail"]
        assert len(camera.sources()) == 1 and camera.events("archived") == []
        assert camera.archive().code == 0, "the next run adopts what the worker made"
        camera.assert_finished()

    def test_a_worker_makes_lossless_copies_too(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        content = camera.add().read_bytes()
        dask.worker("one")
        run = camera.archive("--json", "--scheduler", dask.address, ffmpeg=odd_ffmpeg("    exit 1"))
        assert run.code == 0, run.errors
        assert [each["unencoded"] for each in run.document()["outcomes"]] == ["refused"]
        assert [archive.read_bytes() for archive in camera.archives()] == [content]
        assert [event["event"] for event in camera.events()] == ["copying", "archived", "trashed"]
        camera.assert_finished()

    def test_a_scheduler_that_is_not_there(self, camera: Camera) -> None:
        camera.add()
        patch = "from camarchiver.distributed import coordinator\ncoordinator.CONNECT_SECONDS = 2\n"
        run = camera.archive("--scheduler", "tcp://127.0.0.1:9", patch=patch)
        assert run.code == ExitCode.ENCODER
        assert "the scheduler tcp://127.0.0.1:9 can't be reached" in run.errors
        absent = "import sys\nsys.modules['distributed'] = None\n"
        missing = camera.archive("--scheduler", "tcp://127.0.0.1:9", patch=absent)
        assert missing.code == ExitCode.USAGE
        assert f"{sys.executable} -m pip install 'distributed>=" in missing.errors
        assert len(camera.sources()) == 1
