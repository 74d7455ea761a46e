"""export: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from camarchiver.domain.clip import Trees
from camarchiver.domain.hold import Hold
from camarchiver.errors import AlreadyRunning, ExitCode
from camarchiver.export.exporter import Exported, Exporter
from camarchiver.export.held_files import HeldFiles
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stop
from camarchiver.storage import filesystems as storage_filesystems
from tests.cameras import IS_ROOT
from tests.samples import Sweep


class TestExport:
    """`hold export` under faults; what it copies is told by the end-to-end tests."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        folder = tmp_path / "camera/2026/03/01"
        folder.mkdir(parents=True)
        for name, count in (("front_20260301101500.mp4", 3_000_000), ("front_20260301101500.jpg", 9)):
            (folder / f"REO_{name}").write_bytes(random.Random(1).randbytes(count))
        return tmp_path / "camera"

    @staticmethod
    def export(tree: Path, place: Path, stop: Stop | None = None) -> Exported:
        trees = Trees(tree, tree / "archived", tree / ".deleted")
        day = datetime(2026, 3, 1, tzinfo=UTC)
        held_files = HeldFiles(Pipeline(trees, UTC, "hold"), Hold("h", day, day.replace(day=2)))
        exporter = Exporter(trees, held_files, place, None, (stop or Stop()).event)
        return exporter.run(exporter.parts(), Silent())

    def test_killed_at_any_moment_it_is_finished_by_the_next_run(
        self, tree: Path, tmp_path: Path, sweep_kills: Sweep
    ) -> None:
        source, places = tree / "2026/03/01/REO_front_20260301101500.mp4", iter(range(1000))
        os.truncate(source, 2000)

        def begin() -> None:
            self.export(tree, tmp_path / "out")

        def check() -> None:
            for path in (tmp_path / "out").rglob("*.mp4"):
                assert path.name.startswith(".") or path.read_bytes() == source.read_bytes()
            again = self.export(tree, tmp_path / "out")
            assert (again.conclusion(None).exit_code, len(again.copied)) == (0, 2)
            assert not list((tmp_path / "out").rglob(".*"))
            subprocess.run(["b2sum", "--quiet", "-c", "B2SUMS"], cwd=tmp_path / "out", check=True)
            (tmp_path / "out").rename(tmp_path / f"out{next(places)}")

        assert sweep_kills(begin, check) > 10

    def test_a_disk_that_fills_up_keeps_what_is_whole(
        self, tree: Path, disk_of_3_mib: Path, mocker: MockerFixture
    ) -> None:
        # as if something else wrote there after the space was looked at
        mocker.patch.object(storage_filesystems, "free_bytes", return_value=10**12)
        os.truncate(
            tree / "2026/03/01/REO_front_20260301101500.mp4", shutil.disk_usage(disk_of_3_mib).free + 1
        )
        done = self.export(tree, disk_of_3_mib / "out")
        assert (done.conclusion(None).exit_code, done.full) == (ExitCode.PARTIAL, True)
        assert [each.target[-4:] for each in done.copied] == [".jpg"]
        assert "is full" in done.problems[0].message
        found = sorted(path.name for path in (disk_of_3_mib / "out").rglob("*") if path.is_file())
        assert found == ["B2SUMS", "REO_front_20260301101500.jpg"]

    def test_a_stop_ends_it_within_a_file_and_it_goes_on_later(self, tree: Path, tmp_path: Path) -> None:
        stop = Stop()
        stop.ask(signal.SIGTERM)
        assert self.export(tree, tmp_path / "out", stop).copied == ()
        assert list((tmp_path / "out").rglob("*.mp4")) == []
        assert len(self.export(tree, tmp_path / "out").copied) == 2

    def test_a_copy_made_anew_is_proved_and_one_that_changed_is_named(
        self, tree: Path, tmp_path: Path
    ) -> None:
        place, name = tmp_path / "out", "2026/03/01/REO_front_20260301101500"

        def sums() -> int:
            return subprocess.run(["b2sum", "-c", "B2SUMS"], cwd=place, capture_output=True).returncode

        self.export(tree, place)
        (tree / f"{name}.jpg").write_bytes(b"another picture")
        assert [each.code for each in self.export(tree, place).problems] == ["not-copied"]
        (place / f"source/{name}.jpg").unlink()
        assert (self.export(tree, place).problems, sums()) == ((), 0)
        for root in (tree, place / "source"):
            (root / f"{name}.jpg").write_bytes(b"a third one")
        (problem,) = self.export(tree, place).problems
        assert (problem.code, sums()) == ("damaged", 1)
        assert f"{name}.jpg: it was there" in problem.message

    def test_a_link_in_the_target_is_not_followed(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out/source").symlink_to(tmp_path / "elsewhere")
        done = self.export(tree, tmp_path / "out")
        assert (done.conclusion(None).exit_code, done.copied) == (ExitCode.FAILED, ())
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_two_at_once_into_one_folder_are_refused(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        folder = os.open(tmp_path / "out", os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning):
            self.export(tree, tmp_path / "out")
        os.close(folder)

    def test_what_may_not_be_read_is_named(self, tree: Path, tmp_path: Path) -> None:
        if IS_ROOT:
            pytest.skip("root may read everything")
        (tree / "2026/03/01/REO_front_20260301101500.mp4").chmod(0)
        done = self.export(tree, tmp_path / "out")
        assert (done.conclusion(None).exit_code, done.copied) == (ExitCode.FAILED, ())
        assert "REO_front_20260301101500.mp4" in done.problems[0].message
