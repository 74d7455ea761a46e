"""doctor: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import grp
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from camarchiver.doctor import machine as machine_checks
from camarchiver.doctor import software as software_checks
from camarchiver.doctor import storage as storage_checks
from camarchiver.doctor.findings import Finding, Severity
from camarchiver.domain.clip import Trees
from camarchiver.domain.report import Report
from camarchiver.media.encoders import Backend, EncodeSettings
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.state import run_history, volume_marker
from tests import programs
from tests.samples import fill, make_older, mounted


def bad(findings: Iterable[Finding]) -> dict[str, str]:
    """What is wrong, by area, with its remedy; every trouble has one."""
    wrong = [each for each in findings if each.verdict is Severity.BAD]
    assert all(each.remedy for each in wrong)
    return {each.area: f"{each.message} -> {each.remedy}" for each in wrong}


def notes(findings: Iterable[Finding]) -> str:
    """What is worth a remark, in one text."""
    return "\n".join(each.message for each in findings if each.verdict is Severity.NOTE)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_nobody(code: str, *words: object) -> str:
    """What Python code prints that imports the examinations and runs without any right."""
    if os.geteuid():
        pytest.skip("needs root to become another user")
    head = (
        # An interpreter in root's home can import nothing more once it is somebody else's.
        "import encodings.latin_1, os, random, sys, tempfile\n"
        "from pathlib import Path\nfrom camarchiver.domain.clip import Trees\n"
        "from camarchiver.record.capture import source\n"
        "from camarchiver.doctor import machine, software\n"
        "from camarchiver.doctor import storage\n"
        "place = Path(sys.argv[1])\ntrees = Trees(place, place / 'archived', place / '.deleted')\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    tail = "\nfor each in found:\n    print(each.area, each.verdict, each.message, '->', each.remedy)"
    command = [sys.executable, "-c", head + code + tail, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


STATE_FILES = ("failures", "restored", "clocks", "offsite", "offsite-failures")
"""Files without which some command does not work."""


class TestDoctor:
    """Each finding that is bad is made bad for real."""

    @staticmethod
    def trees_in(folder: Path) -> Trees:
        (folder / "camera").mkdir(exist_ok=True)
        return Trees(folder / "camera", folder / "camera/archived", folder / "camera/.deleted")

    # --- software ----------------------------------------------------------------------------------

    def test_what_is_installed_is_sound(self) -> None:
        (found,) = software_checks.packages(("record",))
        assert found.verdict is Severity.OK
        assert "imageio-ffmpeg" in found.message
        assert [each.verdict for each in software_checks.python()] == [Severity.OK]

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("files", "said", "remedy"),
        [
            ({"av-1.0.dist-info/METADATA": "Name: av\nVersion: 1.0\n"}, "av 1.0 is not", "pip install 'av"),
            (
                {
                    "camarchiver-9.dist-info/METADATA": "Name: camarchiver\nVersion: 9\n"
                    "Provides-Extra: record\nRequires-Dist: no-such-package>=2\n"
                    "Requires-Dist: no-such-other; extra == 'record'\n"
                },
                "no-such-package is not installed",
                "pip install 'no-such-package>=2'",
            ),
            (
                {"av.py": "raise ImportError('libc is too old')"},
                "av can't be started: ImportError: libc",
                "fits",
            ),
            ({"av.py": "import os; os.abort()"}, "av can't be started: signal 6", "fits this machine"),
        ],
    )
    def test_packages(self, tmp_path: Path, files: dict[str, str], said: str, remedy: str) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        code = (
            "import sys\nfrom camarchiver.doctor.software import packages\n"
            "for each in packages(sys.argv[1:]):\n    print(each.verdict, each.message, each.remedy)"
        )
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        (line,) = (each for each in done.stdout.splitlines() if each.startswith("bad"))
        assert said in line
        assert remedy in line
        if "no-such" in said:
            (note,) = (each for each in done.stdout.splitlines() if each.startswith("note"))
            assert note.startswith("note no-such-other is not installed; record needs it ")
            assert note.endswith(f" {sys.executable} -m pip install no-such-other")

    def test_no_ffmpeg_in_path_is_no_trouble(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        found = list(software_checks.binaries(None))
        assert bad(found) == {}
        assert "no ffmpeg in PATH" in notes(found)
        assert any("(embedded)" in each.message for each in found)

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (
                "#!/bin/sh\necho 'error while loading shared libraries: libx264.so' >&2\nexit 127",
                "libx264.so",
            ),
            ("#!/bin/sh\necho hello", "does not print its version"),
            ("#!/no/such/interpreter", "No such file"),
            ("\x7fELF nonsense", "Exec format error"),
        ],
    )
    def test_a_broken_ffmpeg(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
    ) -> None:
        (tmp_path / "ffmpeg").write_text(body)
        (tmp_path / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert said in bad(software_checks.binaries(None))["ffmpeg"]
        assert said in bad(software_checks.binaries(tmp_path / "ffmpeg"))["ffmpeg"]
        found = software_checks.encoders(tmp_path / "ffmpeg", EncodeSettings(), None, "auto", "auto")
        assert "no ffmpeg that runs here" in bad(found)["encoder"]

    # --- GPUs --------------------------------------------------------------------------------------

    @pytest.fixture
    def node(self, public_folder: Path) -> Path:
        """A character device that stands for a render node."""
        path = public_folder / "renderD128"
        try:
            os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("nobody may make devices here")
        return path

    def test_a_stand_in_gpu_is_used(
        self, softqsv: Path, node: Path, monkeypatch: pytest.MonkeyPatch, embedded: Ffmpeg
    ) -> None:
        monkeypatch.setenv("SOFTQSV_NODE", str(node))
        assert bad(machine_checks.render_nodes(node)) == {}
        found = list(software_checks.encoders(embedded.path, EncodeSettings(), node, "auto", "auto"))
        assert bad(found) == {}
        assert re.search(rf"archive uses \w+_qsv on {node}", found[-1].message)
        (works, *_) = (each for each in found if "_qsv" in each.message and "works (gpu" in each.message)
        assert works.seconds is not None

    @pytest.mark.edge
    def test_a_gpu_without_its_driver(
        self, softqsv: Path, node: Path, monkeypatch: pytest.MonkeyPatch, embedded: Ffmpeg
    ) -> None:
        monkeypatch.setenv("SOFTQSV_NODE", str(node))
        monkeypatch.setenv("SOFTQSV_VA_INIT", "-1")
        found = list(software_checks.encoders(embedded.path, EncodeSettings(), node, "auto", "h264"))
        assert "there is a GPU, and it can't be used" in bad(found)["encoder"]
        assert "archive uses libx264" in found[-1].message
        named = software_checks.encoders(embedded.path, EncodeSettings(), node, Backend.QSV, "h264")
        assert "h264_qsv can't be used" in bad(named)["encoder"]

    @pytest.mark.edge
    def test_a_forbidden_render_node(self, node: Path) -> None:
        said = as_nobody("found = [*machine.render_nodes(place)]", node)
        group = grp.getgrgid(0).gr_name
        assert said.startswith(
            f"render node bad no permission for {node} ({node}, driver unknown, group {group})"
        )
        assert f"-> usermod -aG {group} nobody, then log in again" in said

    @pytest.mark.edge
    def test_a_render_node_that_is_gone_or_dead(self, tmp_path: Path, public_folder: Path) -> None:
        assert "is not there" in bad(machine_checks.render_nodes(tmp_path / "renderD128"))["render node"]
        dead = public_folder / "renderD129"
        try:
            os.mknod(dead, stat.S_IFCHR | 0o666, os.makedev(226, 255))
        except PermissionError:
            pytest.skip("nobody may make devices here")
        assert "can't be opened" in bad(machine_checks.render_nodes(dead))["render node"]

    @pytest.mark.skipif(Path("/dev/dri").exists(), reason="this machine has a GPU")
    def test_a_machine_without_gpu(self, embedded: Ffmpeg) -> None:
        found = [
            *machine_checks.render_nodes(None),
            *software_checks.encoders(embedded.path, EncodeSettings(), None, "auto", "h264"),
        ]
        assert bad(found) == {}
        assert "there is no GPU here" in notes(found)
        assert "qsv: no render node" in notes(found)
        assert "archive uses libx264" in found[-1].message

    # --- trees -------------------------------------------------------------------------------------

    def test_sound_trees_and_nothing_left_in_them(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        found = [*storage_checks.roots(trees), *storage_checks.journal(trees)]
        assert bad(found) == {}
        assert "rename without replacing" in found[0].message
        assert list(trees.source.iterdir()) == []
        left, other = (trees.source / f"{storage_checks.PREFIX}{name}" for name in ("left", "other"))
        for folder in (left, other):
            folder.mkdir()
            (folder / "file").touch()
        make_older(left, 4000)
        assert bad(storage_checks.roots(trees)) == {}
        assert list(trees.source.iterdir()) == [other], "a killed examination's goes, a running one's stays"

    @pytest.mark.edge
    def test_trees_that_are_not_there_or_not_meant(self, tmp_path: Path) -> None:
        gone = Trees(tmp_path / "none", tmp_path / "none/archived", tmp_path / "none/.deleted")
        assert "does not exist" in bad(storage_checks.roots(gone))["trees"]
        inside = Trees(tmp_path, tmp_path.parent, tmp_path / ".deleted")
        assert "lies inside its archive" in bad(storage_checks.roots(inside))["trees"]

    @pytest.mark.edge
    def test_roots_that_can_not_be_written(self, public_folder: Path, read_only: Path) -> None:
        said = as_nobody("found = storage.roots(trees)", public_folder)
        assert "source bad" in said
        denied = "Permission denied for user nobody"
        assert f"this user can't write there: {denied} -> chown or chmod {public_folder}" in said
        found = bad(storage_checks.root_of("archive", read_only))
        assert "it is mounted read-only -> mount -o remount,rw" in found["archive"]

    @pytest.mark.edge
    def test_a_full_disk(self, disk_of_3_mib: Path) -> None:
        assert bad(storage_checks.root_of("archive", disk_of_3_mib)) == {}
        fill(disk_of_3_mib / "filler")
        assert "archive" in bad(storage_checks.root_of("archive", disk_of_3_mib))
        assert not list(disk_of_3_mib.glob(".camarchiver*"))

    @pytest.mark.edge
    def test_a_filesystem_without_links(self, tmp_path: Path) -> None:
        image, place = tmp_path / "image", tmp_path / "fat"
        image.write_bytes(b"\0" * (4 << 20))
        programs.needs("mkfs.vfat")
        make = programs.path_of("mkfs.vfat")
        if subprocess.run([str(make), image], capture_output=True).returncode:
            pytest.skip("no FAT can be made here")
        for _ in mounted(place, "-o", "loop", str(image)):
            (found,) = storage_checks.root_of("archive", place)
        assert found.verdict is Severity.OK
        assert found.message.endswith("without O_TMPFILE, link")
        assert "vfat" in found.message

    def test_the_wrong_volume(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        assert "no markers yet" in notes(storage_checks.roots(trees))
        volume_marker.mark(trees)
        assert bad(storage_checks.roots(trees)) == {}
        (trees.state / volume_marker.MARKER).unlink()
        assert "has no volume marker (is its disk mounted?)" in bad(storage_checks.roots(trees))["volume"]
        assert "accept-volume" in bad(storage_checks.roots(trees))["volume"]

    # --- state -------------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_a_journal_that_can_not_be_read(self, public_folder: Path) -> None:
        trees = self.trees_in(public_folder)
        day = trees.state / "journal/2026/03/01.jsonl"
        day.parent.mkdir(parents=True)
        day.write_text("{}\n")
        day.chmod(0o600)
        place = trees.source
        code = "found = storage.journal(trees)"
        assert "can't be read and written by user nobody -> chown -R" in as_nobody(code, place)
        trees.state.chmod(0o777)
        said = as_nobody(code, place)
        assert "journal bad 3 files of the journal can't be read and written" in said
        assert bad(storage_checks.journal(trees)) == {}

    @pytest.mark.edge
    def test_a_journal_that_is_torn(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        day = trees.state / "journal/2026/03/01.jsonl"
        day.parent.mkdir(parents=True)
        day.write_text('{"event": "arch')
        assert "a crash tore one" in notes(storage_checks.journal(trees))
        day.write_bytes(b"\0\n" * 3)
        assert f"3 lines of {day} can't be read" in bad(storage_checks.journal(trees))["journal"]

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("file", "said"),
        [
            ("holds.json", "it is not known what is held -> "),
            *((f"{name}.json", f"{name}.json.bak can't be understood -> ") for name in STATE_FILES),
        ],
    )
    def test_state_that_can_not_be_understood(self, tmp_path: Path, file: str, said: str) -> None:
        trees = self.trees_in(tmp_path)
        (trees.state / "journal").mkdir(parents=True)
        for name in (file, f"{file}.bak"):
            (trees.state / name).write_text("{")
        assert said in bad(storage_checks.journal(trees))["state"]

    # --- machine -----------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_too_few_watches(self, tmp_path: Path) -> None:
        for number in range(5):
            (tmp_path / f"{number}").mkdir()
        trees = self.trees_in(tmp_path)
        assert storage_checks.count_folders(Trees(tmp_path, trees.archive, trees.trash)) == 7
        code = (
            "from camarchiver.doctor.machine import inotify\n"
            "for each in inotify(6):\n    print(each.verdict, each.message, each.remedy)"
        )
        lowered = 'echo 6 > /proc/sys/user/max_inotify_watches && exec "$0" -c "$1"'
        command = ["unshare", "-Ur", "sh", "-c", lowered, sys.executable, code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"no limit can be lowered here: {done.stderr[-200:]}")
        assert "bad user.max_inotify_watches is 6, 6 folders are to be watched" in done.stdout
        assert "sysctl -w user.max_inotify_watches=524288" in done.stdout
        assert bad(machine_checks.inotify(6)) == {}

    @pytest.mark.edge
    def test_a_clock_that_is_behind_its_own_records(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        assert bad(machine_checks.clocks("UTC", trees)) == {}
        ended = datetime(2124, 5, 1, 1, tzinfo=UTC)
        run_history.write(
            trees.state,
            Report("archive", "21240501T000000-abcdef", datetime(2124, 5, 1, tzinfo=UTC), ended),
            "host",
        )
        said = bad(machine_checks.clocks("UTC", trees))["clock"]
        assert "but the last run here ended 2124-05-01 01:00:00+0000 -> set the clock" in said

    @pytest.mark.edge
    def test_a_time_zone_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "Mars/Olympus" in bad(machine_checks.clocks("Mars/Olympus", None))["clock"]
        code = (
            "from camarchiver.doctor.machine import clocks\n"
            "for each in clocks('', None):\n    print(each.verdict, each.message)"
        )
        environment = {**os.environ, "TZ": "Mars/Olympus"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        words = "bad this machine's time zone can't be determined (TZ is 'Mars/Olympus')"
        assert done.stdout.startswith(words)

    # --- recorder ----------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_a_camera_that_does_not_answer(self) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
            source = f"rtsp://user:secret@127.0.0.1:{port}/cam"
            said = bad(machine_checks.camera(source))["camera"]
            assert f"127.0.0.1 does not answer on port {port}: Connection refused" in said
            server.listen()
            (found,) = machine_checks.camera(source)
        assert found.message == f"127.0.0.1 answers on port {port}"
        assert "secret" not in said
        assert "address can't be read" in bad(machine_checks.camera("rtsp://[::1/x"))["camera"]
        assert "address can't be read" in bad(machine_checks.camera("rtsp:///x"))["camera"]
        assert "/no/clip is not a file" in bad(machine_checks.camera("file:/no/clip"))["camera"]

    @pytest.mark.edge
    def test_credentials_that_are_none(self, public_folder: Path) -> None:
        path = public_folder / "secret"
        assert "No such file" in bad(machine_checks.credentials(path))["camera"]
        path.write_text("user:password")
        path.chmod(0o600)
        assert "Permission denied" in as_nobody("found = machine.credentials(place)", path)
        assert notes(machine_checks.credentials(path)) == ""
        path.chmod(0o644)
        assert "may be read by others" in notes(machine_checks.credentials(path))
        path.write_text("password")
        assert "does not hold USER:PASSWORD" in bad(machine_checks.credentials(path))["camera"]

    @pytest.mark.edge
    def test_channels_that_can_not_be_used(self, public_folder: Path) -> None:
        file, gone = public_folder / "a.prom", public_folder / "none/a.prom"
        assert bad(machine_checks.channels((file,), (("sh", "-c", "true"),))) == {}
        found = bad(machine_checks.channels((gone,), (("no-such-program",),)))
        assert f"there is no folder {gone.parent}" in found["metrics"]
        assert "no-such-program is no program that can be started" in found["notify"]
        said = as_nobody("found = machine.channels((place / 'a.prom',), ())", public_folder)
        assert f"metrics bad this user can't write to {public_folder}" in said

    @pytest.mark.edge
    def test_devices_that_are_no_cameras(self) -> None:
        assert "/dev/video99 is not there" in bad(machine_checks.camera("/dev/video99"))["camera"]
        assert "/dev/null is no camera" in bad(machine_checks.camera("v4l2:/dev/null"))["camera"]
        closed = next((each for each in Path("/dev").iterdir() if _is_closed_device(each)), None)
        if closed is not None:
            said = as_nobody(f"found = machine.camera('v4l2:{closed}')", closed)
            assert f"camera bad {closed}: no permission to read it -> usermod -aG" in said

    @pytest.mark.edge
    def test_a_recorders_folders(self, public_folder: Path, disk_of_3_mib: Path) -> None:
        spool, outbox = public_folder / "temp_clips", public_folder / "recorded_clips"
        left = spool / "yard/motion_20260301_081500.mp4"
        left.parent.mkdir(parents=True)
        left.touch()
        make_older(left, 90_000)
        found = list(storage_checks.recorder(spool, outbox))
        assert bad(found) == {}
        assert f"1 unfinished clip in the spool, the oldest {left}" in notes(found)
        assert "another filesystem than the spool" in notes(storage_checks.recorder(spool, disk_of_3_mib))
        code = "found = storage.recorder(place, Path(sys.argv[2]))"
        said = as_nobody(code, spool, outbox)
        assert "spool bad" in said and "outbox bad" in said


def _is_closed_device(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and not status.st_mode & 0o006 and status.st_gid != 65534
