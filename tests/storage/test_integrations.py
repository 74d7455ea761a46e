"""storage: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import mmap
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import asdict
from pytest_mock import MockerFixture

from camarchiver.archive import planner
from camarchiver.domain.clip import Fingerprint, Trees
from camarchiver.domain.reason import Reason
from camarchiver.errors import (
    AlreadyRunning,
    CamarchiverError,
    ClipBusy,
    ExitCode,
    NotRemovable,
    StorageError,
    sentence,
)
from camarchiver.naming.paths import numbered
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.storage import anchored, atomic, copying, linux, lockfile, locking, removal, run_lock
from camarchiver.storage.owner import Owner, host_id
from tests import programs
from tests.faults import each_fault
from tests.samples import Sweep, fill, make_older, names_in

Start = Callable[..., "subprocess.Popen[str]"]

NOBODY = 65534


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class TestKernel:
    def test_a_rename_never_replaces(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        one.write_text("1")
        two.symlink_to("nowhere")
        with pytest.raises(FileExistsError) as caught:
            linux.rename_noreplace(one, two)
        assert (caught.value.filename, caught.value.filename2) == (str(one), str(two))
        two.unlink()
        folder = os.open(tmp_path, os.O_RDONLY)
        linux.rename_noreplace("one", "two", source_dir_fd=folder, target_dir_fd=folder)
        os.close(folder)
        assert two.read_text() == "1"
        with pytest.raises(FileNotFoundError):
            linux.rename_noreplace(one, two)

    def test_across_filesystems_a_rename_says_so(self, tmp_path: Path, other_disk: Path) -> None:
        (tmp_path / "x").touch()
        with pytest.raises(OSError) as caught:
            linux.rename_noreplace(tmp_path / "x", other_disk / "x")
        assert caught.value.errno == errno.EXDEV

    def test_priority_falls_and_is_inherited(self, start_python: Start) -> None:
        programs.needs("ionice")
        code = (
            "import os, subprocess, sys; from camarchiver.storage import linux\n"
            "linux.lower_priority(15); linux.lower_priority(3)\n"
            "print(os.getpriority(os.PRIO_PROCESS, 0), flush=True); subprocess.run(sys.argv[1:])"
        )
        process = start_python(code, "ionice")
        assert line(process) == "15"
        assert line(process).startswith("idle")

    def test_an_open_writer_is_seen(self, tmp_path: Path, start_python: Start) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes(b"x" * 4096)
        assert linux.being_written(path) is False
        writer = start_python("import sys; f = open(sys.argv[1], 'ab'); print(1, flush=True); input()", path)
        line(writer)
        assert linux.being_written(path) is True
        writer.communicate("\n")
        assert linux.being_written(path) is False

    def test_a_writable_mapping_is_a_writer(self, tmp_path: Path) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes(b"x" * 4096)
        with path.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
        assert linux.being_written(path) is True
        mapping.close()
        assert linux.being_written(path) is False

    def test_what_is_no_file_is_unknown_and_never_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo.mp4")
        (tmp_path / "folder.mp4").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "link.mp4").symlink_to("file")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            for name in ("fifo.mp4", "folder.mp4", "link.mp4", "s", "missing"):
                assert linux.being_written(tmp_path / name) is None, name

    def test_another_owners_file_is_unknown(self, start_python: Start) -> None:
        if os.getuid():
            pytest.skip("only root may become somebody else")
        code = (
            "import os, pathlib; from camarchiver.storage import linux\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "print(linux.being_written(pathlib.Path('/etc/passwd')), flush=True)"
        )
        assert line(start_python(code)) == "None"

    def test_a_network_mounts_refusal_means_nothing(self, tmp_path: Path, mocker: MockerFixture) -> None:
        path = tmp_path / "x.mp4"
        path.touch()
        mocker.patch.object(linux, "_NFS", _type_of(path))
        with path.open("ab"):
            assert linux.being_written(path) is None
        assert linux.being_written(path) is False

    def test_a_writer_that_comes_at_that_moment_kills_nobody(
        self, tmp_path: Path, start_python: Start
    ) -> None:
        path = tmp_path / "x.mp4"
        path.touch()
        code = "import sys\nprint(1, flush=True)\nwhile True:\n    open(sys.argv[1], 'ab').close()"
        line(start_python(code, path))
        looker = start_python(
            "import sys, pathlib; from camarchiver.storage import linux\n"
            "seen = {linux.being_written(pathlib.Path(sys.argv[1])) for _ in range(20000)}\n"
            "print(sorted(map(str, seen)), flush=True)",
            path,
        )
        assert line(looker) == "['False', 'True']"


def _type_of(path: Path) -> int:
    return int(subprocess.check_output(["stat", "-f", "-c", "%t", str(path)]), 16)


class TestAtomic:
    def test_a_staged_file_is_private_and_goes_when_not_published(self, tmp_path: Path) -> None:
        with atomic.staged(tmp_path / "x.mp4") as part:
            assert part.path.parent == tmp_path
            assert stat.S_IMODE(part.path.stat().st_mode) == 0o600
        with pytest.raises(RuntimeError), atomic.staged(tmp_path / "x.mp4"):
            raise RuntimeError
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("code", [errno.EINTR, errno.EIO])
    def test_a_staged_file_that_could_not_be_closed_goes(
        self, tmp_path: Path, mocker: MockerFixture, code: int
    ) -> None:
        mocker.patch.object(atomic.os, "close", side_effect=OSError(code, os.strerror(code)))
        with pytest.raises(OSError), atomic.staged(tmp_path / "x.mp4"):
            pass
        mocker.stopall()
        assert names_in(tmp_path) == []

    def test_publishing_gives_the_name_once(self, tmp_path: Path) -> None:
        target = tmp_path / "x.mp4"
        with atomic.staged(target) as part:
            part.path.write_text("first")
            atomic.publish(part, target)
        with atomic.staged(target) as part:
            part.path.write_text("second")
            with pytest.raises(FileExistsError):
                atomic.publish(part, target)
            assert part.path.read_text() == "second"
        assert (names_in(tmp_path), target.read_text()) == (["x.mp4"], "first")

    def test_a_link_planted_at_the_name_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").symlink_to(tmp_path / "elsewhere")
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(FileExistsError):
            atomic.publish(part, tmp_path / "x.mp4")
        assert names_in(tmp_path) == ["x.mp4"]

    @pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_without_links_it_renames_and_still_never_replaces(
        self, tmp_path: Path, mocker: MockerFixture, code: int
    ) -> None:
        mocker.patch("os.link", side_effect=OSError(code, os.strerror(code)))
        target = tmp_path / "x.mp4"
        with atomic.staged(target) as part:
            part.path.write_text("first")
            atomic.publish(part, target)
        with atomic.staged(target) as part, pytest.raises(FileExistsError):
            atomic.publish(part, target)
        assert (names_in(tmp_path), target.read_text()) == (["x.mp4"], "first")

    def test_with_neither_it_says_what_to_do(self, tmp_path: Path, mocker: MockerFixture) -> None:
        mocker.patch("os.link", side_effect=PermissionError(errno.EPERM, "x"))
        mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(StorageError) as caught:
            atomic.publish(part, tmp_path / "x.mp4")
        assert str(tmp_path) in caught.value.message
        assert "ext4" in caught.value.hint
        assert names_in(tmp_path) == []

    def test_a_lost_answer_of_a_file_server_is_not_a_taken_name(
        self, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        link = os.link

        def link_and_lose_the_answer(*arguments: object, **options: object) -> None:
            link(*arguments, **options)  # type: ignore[arg-type]
            raise OSError(errno.ETIMEDOUT, "x")

        mocker.patch("time.sleep")
        mocker.patch("os.link", side_effect=link_and_lose_the_answer)
        with atomic.staged(tmp_path / "x.mp4") as part:
            atomic.publish(part, tmp_path / "x.mp4")
        assert names_in(tmp_path) == ["x.mp4"]

    def test_an_error_of_fsync_is_final(self, tmp_path: Path, mocker: MockerFixture) -> None:
        sync = mocker.patch("os.fsync", side_effect=OSError(errno.EIO, "x"))
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(OSError):
            atomic.publish(part, tmp_path / "x.mp4")
        assert sync.call_count == 1
        assert names_in(tmp_path) == []

    def test_any_name_can_be_staged_and_numbered(self, tmp_path: Path) -> None:
        folder = os.fsdecode(bytes(tmp_path))
        for name in ("x" * 251 + ".mp4", "é" * 125 + ".mp4", os.fsdecode(b"\xff.mp4"), "-y\n.mp4"):
            target = Path(folder) / name
            for number in (1, 2):
                with atomic.staged(target) as part:
                    atomic.publish(part, target.with_name(numbered(name, number)))
        assert len(names_in(tmp_path)) == 8

    def test_text_is_replaced_whole_with_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        atomic.write_text(path, "one\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        atomic.write_text(path, "two \udcff\n", mode=0o644)
        assert path.read_bytes() == b"two \xff\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert names_in(tmp_path) == ["x"]

    def test_json_keeps_one_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "holds.json"
        assert atomic.read_json(path) is None
        for number in range(3):
            atomic.write_json(path, {"number": number, "path": "\udcff"})
        assert atomic.read_json(path) == {"number": 2, "path": "\udcff"}
        assert json.loads((tmp_path / "holds.json.bak").read_text())["number"] == 1
        assert names_in(tmp_path) == ["holds.json", "holds.json.bak"]

    @pytest.mark.parametrize("damage", ["", "{", "{}{", "\0\0\0"])
    def test_a_torn_file_gives_its_backup_and_never_becomes_one(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "holds.json"
        atomic.write_json(path, 1)
        atomic.write_json(path, 2)
        path.write_text(damage)
        assert atomic.read_json(path) == 1
        atomic.write_json(path, 3)
        assert json.loads((tmp_path / "holds.json.bak").read_text()) == 1
        path.unlink()
        assert atomic.read_json(path) == 1

    def test_with_both_torn_it_names_file_and_remedy(self, tmp_path: Path) -> None:
        path = tmp_path / "holds.json"
        path.write_text("{")
        with pytest.raises(StorageError) as caught:
            atomic.read_json(path)
        assert str(path) in caught.value.message
        assert caught.value.hint

    def test_what_is_no_json_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        atomic.write_json(path, 1)
        for value in (object(), float("nan")):
            with pytest.raises((TypeError, ValueError)):
                atomic.write_json(path, value)
        assert (names_in(tmp_path), atomic.read_json(path)) == (["x.json"], 1)

    def test_when_the_folder_cannot_be_synced_the_old_value_is_back(
        self, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        path, new = tmp_path / "x.json", tmp_path / "new.json"
        atomic.write_json(path, 1)
        fail_when = mocker.patch.object(atomic, "fsync_folder", side_effect=[None, OSError(errno.EIO, "x")])
        with pytest.raises(OSError):
            atomic.write_json(path, 2)
        assert json.loads(path.read_text()) == 1
        fail_when.side_effect = OSError(errno.EIO, "x")
        with pytest.raises(OSError):
            atomic.write_json(new, 2)
        assert not new.exists()

    def test_a_full_disk_leaves_the_old_value_and_no_rubbish(self, disk_of_3_mib: Path) -> None:
        path = disk_of_3_mib / "x.json"
        atomic.write_json(path, ["old"])
        atomic.write_json(path, ["newer"])
        fill(disk_of_3_mib / "filler")
        with pytest.raises(OSError) as caught:
            atomic.write_json(path, ["x" * 100_000])
        assert caught.value.errno == errno.ENOSPC
        assert atomic.read_json(path) == ["newer"]
        assert names_in(disk_of_3_mib) == ["filler", "x.json", "x.json.bak"]

    def test_a_kill_at_any_moment_leaves_old_or_new(self, tmp_path: Path, sweep_kills: Sweep) -> None:
        path = tmp_path / "x.json"
        old, new = {"value": "o" * 10_000}, {"value": "n" * 20_000}
        atomic.write_json(path, "oldest")
        atomic.write_json(path, old)

        def check() -> None:
            assert atomic.read_json(path) in (old, new)
            assert json.loads(path.read_text()) in (old, new)
            atomic.write_json(path, old)

        assert sweep_kills(lambda: atomic.write_json(path, new), check) >= 8

    def test_a_kill_while_publishing_leaves_all_or_nothing(self, tmp_path: Path, sweep_kills: Sweep) -> None:
        target = tmp_path / "x.mp4"

        def act() -> None:
            with atomic.staged(target) as part:
                part.path.write_bytes(b"x" * 100_000)
                atomic.publish(part, target)

        def check() -> None:
            assert not target.exists() or target.stat().st_size == 100_000
            for name in names_in(tmp_path):
                assert name == "x.mp4" or atomic.staged_stem(name) == "x"
                (tmp_path / name).unlink()

        assert sweep_kills(act, check) >= 5

    def test_a_copy_has_bytes_times_and_mode(self, tmp_path: Path, other_disk: Path) -> None:
        source = tmp_path / "x.mp4"
        source.write_bytes(os.urandom(3_000_000))
        source.chmod(0o640)
        os.utime(source, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
        with source.open("rb") as opened, atomic.staged(other_disk / "x.mp4") as part:
            digest = copying.copy_into(opened, part)
            atomic.publish(part, other_disk / "x.mp4")
        copy = other_disk / "x.mp4"
        assert subprocess.check_output(["b2sum", str(copy)], text=True).split()[0] == digest
        assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns
        assert stat.S_IMODE(copy.stat().st_mode) == 0o640

    @pytest.mark.parametrize("size", [0, 1 << 20, 3_000_000])
    def test_a_file_is_hashed_alike_whether_it_is_watched_or_not(self, tmp_path: Path, size: int) -> None:
        path, seen = tmp_path / "x.mp4", list[int]()
        path.write_bytes(os.urandom(size))
        digest = subprocess.check_output(["b2sum", str(path)], text=True).split()[0]
        assert copying.file_digest(path) == digest
        assert copying.file_digest(path, watch=seen.append, stays_cached=False) == digest
        assert sum(seen) == size

    def test_folders_are_made_and_may_be_there(self, tmp_path: Path) -> None:
        atomic.make_private_folders(tmp_path / "a" / "b")
        atomic.make_folders(tmp_path / "a" / "b")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
        (tmp_path / "file").touch()
        with pytest.raises((FileExistsError, NotADirectoryError)):
            atomic.make_folders(tmp_path / "file" / "x")


HOLD = """
import sys, pathlib
from camarchiver.storage import lockfile, locking
lockfile.SETTLE_SECONDS = 0
with locking.clip_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""

RACE = """
import os, pathlib, sys, time
from camarchiver.storage import lockfile, locking
from camarchiver.errors import ClipBusy
root, me, races, flocks = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "flocks"
lockfile.SETTLE_SECONDS = 0 if flocks else 0.05
if not flocks:
    lockfile._flock = lambda *_, **__: None
print("ready", flush=True)
entered = doubles = 0
for race in map(int, sys.stdin):
    clip = root / f"{race}.mp4"
    try:
        with locking.clip_lock(clip):
            entered += 1
            try:
                os.close(os.open(root / f"{race}.inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                doubles += 1
            time.sleep(0.002)
            (root / f"{race}.inside").unlink(missing_ok=True)
    except ClipBusy:
        pass
    print("done", flush=True)
print(entered, doubles, flush=True)
"""


def foreign_lock(clip: Path, *, age: float) -> Path:
    """The lock of a run on another machine."""
    record = {
        "host": "attic",
        "boot": "another",
        "pid": 77,
        "nonce": "n",
        "since": "2026-01-02T03:04:05+00:00",
    }
    file = clip.with_name(clip.name + ".lock")
    file.write_text(json.dumps(record) + "\n")
    make_older(file, age)
    return file


class TestLocking:
    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        path = tmp_path / "x.mp4"
        path.touch()
        return path

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lockfile, "SETTLE_SECONDS", 0.0)

    def test_the_lock_stands_complete_while_held_and_goes_after(self, clip: Path) -> None:
        file = clip.with_name("x.mp4.lock")
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
            assert not lock.lost.is_set()
            assert json.loads(file.read_text())["pid"] == os.getpid()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert names_in(clip.parent) == ["x.mp4"]
        with pytest.raises(RuntimeError), locking.clip_lock(clip):
            raise RuntimeError
        assert names_in(clip.parent) == ["x.mp4"]

    def test_a_held_clip_is_busy_and_says_by_whom(self, clip: Path) -> None:
        with locking.clip_lock(clip):
            for _ in range(2):
                with pytest.raises(ClipBusy) as caught, locking.clip_lock(clip):
                    pass
        assert isinstance(caught.value, ValueError)
        host, pid = host_id(), os.getpid()
        assert caught.value.message.startswith(
            f"File already being processed: {clip} (host {host}, pid {pid}, since 20"
        )

    def test_it_logs_what_it_does(self, clip: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "camarchiver.storage.locking")
        foreign_lock(clip, age=700)
        with locking.clip_lock(clip):
            pass
        with locking.clip_lock(clip):
            pass
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert said[0][0] == "WARNING"
        assert "reclaimed" in said[0][1] and "700 s old" in said[0][1] and "host attic" in said[0][1]
        assert said[1:] == [
            ("DEBUG", f"lock released: {clip}"),
            ("DEBUG", f"lock acquired: {clip}"),
            ("DEBUG", f"lock released: {clip}"),
        ]

    @pytest.mark.parametrize("host", ["", "another-host"])
    def test_a_living_owner_keeps_an_old_lock(self, clip: Path, start_python: Start, host: str) -> None:
        owner = start_python(HOLD, clip, CAMARCHIVER_HOST_ID=host)
        assert line(owner) == "held"
        make_older(clip.with_name("x.mp4.lock"), 700)
        with pytest.raises(ClipBusy, match=f"pid {owner.pid}"), locking.clip_lock(clip):
            pass
        assert "File already being processed" in (locking.held_by(clip) or "")

    def test_a_lock_released_at_that_moment_is_made_anew(self, clip: Path, mocker: MockerFixture) -> None:
        file = clip.with_name("x.mp4.lock")
        file.write_text(json.dumps(asdict(Owner.this())) + "\n")
        flock = lockfile._flock

        def release_then_flock(descriptor: int, **options: float) -> bool | None:
            if options:
                file.unlink()
            return flock(descriptor, **options)  # type: ignore[arg-type]

        mocker.patch.object(lockfile, "_flock", side_effect=release_then_flock)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()

    def test_after_a_kill_the_same_machine_goes_on_at_once(self, clip: Path, start_python: Start) -> None:
        owner = start_python(HOLD, clip)
        assert line(owner) == "held"
        owner.kill()
        owner.wait()
        assert locking.held_by(clip) is None
        started = time.monotonic()
        with locking.clip_lock(clip):
            assert time.monotonic() - started < 1
        assert names_in(clip.parent) == ["x.mp4"]

    @pytest.mark.parametrize("age", [0, 590, -590])
    def test_another_hosts_fresh_lock_is_honoured(self, clip: Path, age: float) -> None:
        foreign_lock(clip, age=age)
        before = _state(clip.parent)
        with pytest.raises(ClipBusy, match=r"host attic, pid 77, since 2026-01-02T03:04:05\+00:00"):
            locking.clip_lock(clip).__enter__()
        assert "host attic" in (locking.held_by(clip) or "")
        assert _state(clip.parent) == before

    @pytest.mark.parametrize("age", [700, -700])
    def test_another_hosts_old_lock_is_reclaimed(self, clip: Path, age: float) -> None:
        file = foreign_lock(clip, age=age)
        inode = file.stat().st_ino
        assert locking.held_by(clip) is None
        with locking.clip_lock(clip):
            assert file.stat().st_ino == inode
            assert abs(file.stat().st_mtime - time.time()) < 60
        assert names_in(clip.parent) == ["x.mp4"]

    @pytest.mark.parametrize("content", ["", "4711", '{"pid": 4711', '[]\n{"a": 1}'])
    def test_an_empty_or_unknown_lock_goes_by_its_age(self, clip: Path, content: str) -> None:
        file = clip.with_name("x.mp4.lock")
        file.write_text(content)
        with pytest.raises(ClipBusy, match="host unknown"), locking.clip_lock(clip):
            pass
        make_older(file, 700)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
        assert not file.exists()

    def test_a_lock_taken_from_another_host_must_settle(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lockfile, "SETTLE_SECONDS", 0.3)
        file = foreign_lock(clip, age=700)
        thief = threading.Timer(0.1, lambda: foreign_lock(clip, age=0))
        thief.start()
        with pytest.raises(ClipBusy, match="host attic"), locking.clip_lock(clip):
            pass
        assert json.loads(file.read_text())["host"] == "attic"

    def test_release_spares_anothers_record(self, clip: Path) -> None:
        with locking.clip_lock(clip) as lock:
            file = foreign_lock(clip, age=0)
            assert not lock.still_mine()
            assert lock.lost.is_set()
        assert json.loads(file.read_text())["host"] == "attic"

    def test_release_spares_anothers_file(self, clip: Path) -> None:
        with locking.clip_lock(clip) as lock:
            file = clip.with_name("x.mp4.lock")
            text = file.read_text()
            file.unlink()
            assert not lock.still_mine()
            file.write_text(text)
        assert file.read_text() == text

    def test_the_heartbeat_keeps_it_fresh_and_notices_a_loss(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.05)
        file = clip.with_name("x.mp4.lock")
        with locking.clip_lock(clip) as lock:
            make_older(file, 700)
            time.sleep(0.3)
            assert time.time() - file.stat().st_mtime < 60
            file.unlink()
            assert lock.lost.wait(5)
            assert not lock.still_mine()

    def test_what_is_no_lock_is_busy_never_followed_never_waited_for(self, clip: Path) -> None:
        file = clip.with_name("x.mp4.lock")
        precious = clip.with_name("precious")
        precious.write_text("precious")
        make_older(precious, 700)

        def bind() -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(file))

        for plant in (
            lambda: file.symlink_to(precious),
            lambda: file.symlink_to("dangling"),
            lambda: os.mkfifo(file),
            file.mkdir,
            bind,
        ):
            plant()
            started = time.monotonic()
            with pytest.raises(ClipBusy, match=r"x\.mp4\.lock is not a lock"), locking.clip_lock(clip):
                pass
            assert locking.held_by(clip) is not None
            assert time.monotonic() - started < 1
            file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
        assert precious.read_text() == "precious"
        assert not clip.with_name("dangling").exists()

    def test_a_name_of_255_bytes_has_a_hidden_lock(self, tmp_path: Path) -> None:
        clip, other = tmp_path / ("é" * 125 + "a.mp4"), tmp_path / ("é" * 125 + "b.mp4")
        clip.touch()
        with locking.clip_lock(clip), locking.clip_lock(other):
            assert all(name.startswith(".") or name == clip.name for name in names_in(tmp_path))
            assert locking.held_by(clip) is not None
            with pytest.raises(ClipBusy), locking.clip_lock(clip):
                pass
        assert names_in(tmp_path) == [clip.name]

    def test_a_plan_sees_the_lock_of_a_name_of_255_bytes(self, tmp_path: Path) -> None:
        clip = tmp_path / ("n" * (255 - 19) + "_20260301081500.mp4")
        clip.touch()
        os.utime(clip, (1772352900, 1772352900))
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        with locking.clip_lock(clip):
            plan = planner.plan(Pipeline(trees, UTC, "archive"), ArchivePolicy(timedelta(1)), list_all=True)
        assert [step.reason for step in plan.left] == [Reason.BUSY]

    @pytest.mark.parametrize("missing", ["O_TMPFILE", "link"])
    def test_it_works_where_files_need_a_name(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, missing: str
    ) -> None:
        if missing == "O_TMPFILE":
            # What a kernel or filesystem without it sees of the flag; it answers EISDIR.
            monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
        else:
            mocker.patch("os.link", side_effect=PermissionError(errno.EPERM, "x"))
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
            with pytest.raises(ClipBusy), locking.clip_lock(clip):
                pass
        assert names_in(clip.parent) == ["x.mp4"]
        foreign_lock(clip, age=700)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
        assert names_in(clip.parent) == ["x.mp4"]

    def test_a_read_only_source_is_locked_in_the_place(self, read_only: Path, tmp_path: Path) -> None:
        place, behind = tmp_path / "state" / "locks", tmp_path / "behind"
        clip = read_only / "x.mp4"
        with pytest.raises(OSError) as caught, locking.clip_lock(clip):
            pass
        assert caught.value.errno == errno.EROFS
        with locking.clip_lock(clip, place=place) as lock:
            assert lock.still_mine()
            assert len(names_in(place)) == 1
            assert locking.held_by(clip, place=place) is not None
            assert locking.held_by(clip) is None
            with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                pass
        assert names_in(place) == []
        with locking.clip_lock(behind / "x.mp4"):
            assert locking.held_by(clip, place=place) is not None
            with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                pass

    def test_a_lock_in_the_place_counts_once_the_folder_is_there(self, tmp_path: Path) -> None:
        place, clip = tmp_path / "locks", tmp_path / "front/x.mp4"
        with locking.clip_lock(clip, place=place, folder_may_be_gone=True):
            assert len(names_in(place)) == 1
            clip.parent.mkdir()
            with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                pass
            assert names_in(clip.parent) == []
        assert names_in(place) == []
        with locking.clip_lock(clip, place=place):
            clip.parent.rename(tmp_path / "away")
            with locking.clip_lock(clip, place=place, folder_may_be_gone=True):
                clip.parent.mkdir()
                with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                    pass
            (tmp_path / "away/x.mp4.lock").rename(clip.parent / "x.mp4.lock")

    def test_a_file_instead_of_the_folder_is_no_lock(self, tmp_path: Path) -> None:
        (tmp_path / "front").write_bytes(b"")
        place = tmp_path / "locks"
        with locking.clip_lock(tmp_path / "front/x.mp4", place=place, folder_may_be_gone=True):
            assert len(names_in(place)) == 1

    def test_another_users_lock_is_busy(self, start_python: Start) -> None:
        if os.getuid():
            pytest.skip("only root may become somebody else")
        code = (
            "import os, pathlib, sys; from camarchiver.storage import locking\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "try:\n"
            "    locking.clip_lock(pathlib.Path(sys.argv[1])).__enter__()\n"
            "except ValueError as error:\n"
            "    print(error, flush=True)"
        )
        # Not below tmp_path, which nobody else may enter.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            clip = Path(folder) / "x.mp4"
            foreign_lock(clip, age=700).chmod(0o600)
            assert "x.mp4.lock belongs to another user" in line(start_python(code, clip))

    def test_a_full_disk_leaves_no_lock(self, disk_of_3_mib: Path) -> None:
        clip = disk_of_3_mib / "x.mp4"
        clip.touch()
        fill(disk_of_3_mib / "filler")
        with pytest.raises(OSError) as caught, locking.clip_lock(clip):
            pass
        assert caught.value.errno == errno.ENOSPC
        assert names_in(disk_of_3_mib) == ["filler", "x.mp4"]

    @pytest.mark.parametrize("stale", [False, True])
    def test_a_kill_at_any_moment_blocks_nothing(self, clip: Path, sweep_kills: Sweep, stale: bool) -> None:
        def act() -> None:
            with locking.clip_lock(clip):
                pass

        def check() -> None:
            with locking.clip_lock(clip):
                pass
            # A kill while the server's clock is asked leaves that empty file, to be swept as any other.
            for name in names_in(clip.parent):
                assert name == "x.mp4" or atomic.staged_stem(name) == "clock"
            if stale:
                foreign_lock(clip, age=700)

        if stale:
            foreign_lock(clip, age=700)
        assert sweep_kills(act, check) >= 3

    @pytest.mark.parametrize("hosts", ["one host", "each another host"])
    def test_many_who_meet_one_stale_lock_never_both_enter(
        self, tmp_path: Path, start_python: Start, hosts: str
    ) -> None:
        entered, doubles = _race(tmp_path, start_python, 300, apart=hosts != "one host", mode="flocks")
        assert doubles == 0
        assert entered >= 300

    def test_where_kernel_locks_are_not_shared_settling_keeps_them_apart(
        self, tmp_path: Path, start_python: Start
    ) -> None:
        entered, doubles = _race(tmp_path, start_python, 40, apart=True, mode="none")
        assert doubles == 0
        assert entered >= 40

    def test_one_run_of_a_command_and_who_it_is(self, tmp_path: Path, start_python: Start) -> None:
        lock = tmp_path / "archive.lock"
        code = (
            "import sys, pathlib; from camarchiver.storage import run_lock\n"
            "with run_lock.exclusive(pathlib.Path(sys.argv[1]), what='archive'):\n"
            "    print('held', flush=True); input()"
        )
        run = start_python(code, lock)
        assert line(run) == "held"
        with pytest.raises(AlreadyRunning) as caught, run_lock.exclusive(lock, what="archive"):
            pass
        assert caught.value.exit_code == ExitCode.ALREADY_RUNNING
        assert f"archive, host {host_id()}, pid {run.pid}, since 20" in caught.value.message
        run.send_signal(signal.SIGKILL)
        run.wait()
        with run_lock.exclusive(lock, what="archive"):
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
            with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
                run_lock.exclusive(lock, what="archive").__enter__()

    def test_guarded_appends_wait_for_each_other(self, tmp_path: Path, start_python: Start) -> None:
        code = (
            "import sys, pathlib; from camarchiver.storage import run_lock\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "for _ in range(50):\n"
            "    with run_lock.guarded(path.with_suffix('.lock')):\n"
            "        path.write_text(str(int(path.read_text()) + 1))\n"
        )
        count = tmp_path / "count"
        count.write_text("0")
        for process in [start_python(code, count) for _ in range(3)]:
            assert process.wait() == 0
        assert count.read_text() == "150"

    def test_a_guard_that_never_opens_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_lock, "GUARD_SECONDS", 0.2)
        path = tmp_path / "lock"
        with path.open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(StorageError, match=str(path)):
                run_lock.guarded(path).__enter__()

    @pytest.mark.parametrize(
        ("code", "error", "said"),
        [
            (errno.ENOLCK, StorageError, "can't be locked: No locks available"),
            (errno.EIO, OSError, "Input/output error"),
        ],
    )
    def test_a_lock_that_the_kernel_refuses_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], said: str
    ) -> None:
        def flock(descriptor: int, operation: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", flock)
        path = tmp_path / "lock"
        for lock in (run_lock.guarded(path), run_lock.exclusive(path, what="archive")):
            with pytest.raises(error) as caught:
                lock.__enter__()
            assert str(path) in sentence(caught.value) and said in sentence(caught.value)


def _race(root: Path, start: Start, races: int, *, apart: bool, mode: str) -> tuple[int, int]:
    """Four processes meet one stale lock, `races` times: how often one entered, how often two at once."""
    four = [
        start(RACE, root, me, races, mode, **({"CAMARCHIVER_HOST_ID": f"host-{me}"} if apart else {}))
        for me in range(4)
    ]
    for process in four:
        assert line(process) == "ready"
    for race in range(races):
        foreign_lock(root / f"{race}.mp4", age=700)
        for process in four:
            assert process.stdin is not None
            process.stdin.write(f"{race}\n")
            process.stdin.flush()
        for process in four:
            assert line(process) == "done"
    results = [process.communicate()[0].split() for process in four]
    return sum(int(entered) for entered, _ in results), sum(int(doubles) for _, doubles in results)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((entry.name, entry.stat().st_ino, entry.stat().st_mtime_ns) for entry in folder.iterdir())


class TestTrash:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        folder = tmp_path / "camera" / "2024" / "05" / "03"
        folder.mkdir(parents=True)
        clip = folder / "x.mp4"
        clip.write_bytes(b"footage" * 10_000)
        clip.chmod(0o640)
        os.utime(clip, ns=(1_714_700_000_123_456_789, 1_714_700_000_123_456_789))
        return tmp_path / "camera"

    RELATIVE = "2024/05/03/x.mp4"

    def move(self, root: Path, trash_root: Path, fingerprint: Fingerprint | None = None) -> str:
        seen = fingerprint or anchored.fingerprint_of((root / self.RELATIVE).lstat())
        return anchored.move(
            root, self.RELATIVE, seen, trash_root=trash_root, trash_relative=f"input/{self.RELATIVE}"
        )

    def test_a_file_moves_with_all_it_is(self, root: Path) -> None:
        before = (root / self.RELATIVE).lstat()
        assert self.move(root, root / ".deleted") == f"input/{self.RELATIVE}"
        after = (root / ".deleted" / "input" / self.RELATIVE).lstat()
        assert anchored.fingerprint_of(after) == anchored.fingerprint_of(before)
        assert after.st_mode == before.st_mode
        assert not (root / self.RELATIVE).exists()

    @pytest.mark.parametrize("where", ["same disk", "other disk", "no rename without replacing"])
    def test_a_taken_name_gets_a_number(
        self, root: Path, other_disk: Path, mocker: MockerFixture, where: str
    ) -> None:
        trash_root = other_disk if where == "other disk" else root / ".deleted"
        if where.startswith("no rename"):
            # NFS answers so (nfs_rename in Linux' fs/nfs/dir.c takes no flags).
            mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        places = []
        for number in range(3):
            (root / self.RELATIVE).write_text(str(number))
            places.append(self.move(root, trash_root))
        assert places == [f"input/2024/05/03/{name}" for name in ("x.mp4", "x~2.mp4", "x~3.mp4")]
        assert [(trash_root / place).read_text() for place in places] == ["0", "1", "2"]
        assert names_in(root / "2024" / "05" / "03") == []

    def test_to_another_disk_it_is_copied_whole_and_durably(self, root: Path, other_disk: Path) -> None:
        source = root / self.RELATIVE
        content, before = source.read_bytes(), source.lstat()
        copy = other_disk / self.move(root, other_disk)
        assert copy.read_bytes() == content
        assert (copy.stat().st_mtime_ns, copy.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
        assert not source.exists()
        assert names_in(copy.parent) == ["x.mp4"]

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_a_kill_at_any_moment_loses_nothing(
        self, root: Path, other_disk: Path, sweep_kills: Sweep, elsewhere: bool
    ) -> None:
        trash_root = other_disk if elsewhere else root / ".deleted"
        source = root / self.RELATIVE
        content = source.read_bytes()

        def check() -> None:
            copies = list(trash_root.rglob("x*.mp4"))
            assert source.exists() or copies
            assert all(path.read_bytes() == content for path in [*copies, source] if path.exists())
            shutil.rmtree(trash_root, ignore_errors=True)
            source.write_bytes(content)

        assert sweep_kills(lambda: self.move(root, trash_root), check) >= 5

    @pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
    @pytest.mark.parametrize("code", [errno.EIO, errno.EINTR], ids=["EIO", "EINTR"])
    @pytest.mark.parametrize("way", ["copy", "link", "rename"])
    def test_an_error_at_any_call_leaves_no_copy_that_nobody_knows(
        self, root: Path, other_disk: Path, mocker: MockerFixture, way: str, code: int, lasting: bool
    ) -> None:
        if way == "link":
            mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        source, place = root / self.RELATIVE, other_disk if way == "copy" else root / ".deleted"
        content, status = source.read_bytes(), source.lstat()
        trials = 0
        for faults in each_fault(code, lasting=lasting):
            shutil.rmtree(place / "input", ignore_errors=True)
            source.write_bytes(content)
            os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
            seen, told, failed = anchored.fingerprint_of(source.lstat()), "", False
            with faults.armed():
                try:
                    self.move(root, place, seen)
                except (OSError, CamarchiverError) as error:
                    told, failed = getattr(error, "copy", ""), True
            copies = [path for path in place.rglob("*.mp4") if not path.name.startswith(".")]
            assert all(path.read_bytes() == content for path in copies)
            assert source.exists() or copies
            assert failed or not source.exists()
            if source.exists():
                assert {str(path) for path in copies} <= ({told} if lasting else set())
            trials += 1
        assert trials > 15

    @pytest.mark.parametrize("way", ["copy", "link"])
    def test_a_copy_is_taken_back_only_if_its_original_certainly_stands(
        self, root: Path, other_disk: Path, mocker: MockerFixture, way: str
    ) -> None:
        """The bytes of the original may be gone, although it looks the same; or a file server may show the
        client a name that it has removed."""
        source, place = root / self.RELATIVE, other_disk if way == "copy" else root / ".deleted"
        content, seen = source.read_bytes(), source.lstat()
        unlink, stat_of = os.unlink, os.stat

        def fail(name: str, **options: int) -> None:
            if name != source.name:
                return unlink(name, **options)
            if way == "copy":
                source.write_bytes(bytes(len(content)))
                os.utime(source, ns=(seen.st_atime_ns, seen.st_mtime_ns))
            else:
                source.unlink()
                shown = partial(stat_of, place / "input" / self.RELATIVE)
                mocker.patch.object(os, "stat", side_effect=lambda *a, **o: shown(**{**o, "dir_fd": None}))
            raise OSError(errno.EIO, "x")

        if way == "link":
            mocker.patch.object(linux, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        mocker.patch.object(os, "unlink", side_effect=fail)
        with pytest.raises(NotRemovable, match="it is not certain that") as caught:
            self.move(root, place)
        mocker.stopall()
        assert caught.value.copy == str(place / "input" / self.RELATIVE)
        assert Path(caught.value.copy).read_bytes() == content

    def test_a_full_trash_leaves_the_source(self, root: Path, disk_of_3_mib: Path) -> None:
        fill(disk_of_3_mib / "filler")
        with pytest.raises(OSError) as caught:
            self.move(root, disk_of_3_mib)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(root / self.RELATIVE)
        assert (root / self.RELATIVE).exists()
        assert [path for path in disk_of_3_mib.rglob("*") if path.is_file()] == [disk_of_3_mib / "filler"]

    def test_what_changed_since_is_stale(self, root: Path, other_disk: Path) -> None:
        path = root / self.RELATIVE
        planned = anchored.fingerprint_of(path.lstat())
        with path.open("ab") as file:
            file.write(b"more")
        for act in (
            lambda: anchored.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
            lambda: self.move(root, other_disk, planned),
        ):
            with pytest.raises(anchored.Stale, match="no longer the file"):
                act()
        path.unlink()
        path.symlink_to("/etc/passwd")
        with pytest.raises(anchored.Stale):
            anchored.delete(root, self.RELATIVE, planned)
        assert path.is_symlink()

    def test_what_changes_while_it_is_copied_stays(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        copy_into = copying.copy_into

        def copy_while_it_grows(source: object, part: atomic.Staged) -> str:
            digest = copy_into(source, part)  # type: ignore[arg-type]
            with path.open("ab") as file:
                file.write(b"more")
            return digest

        mocker.patch.object(copying, "copy_into", side_effect=copy_while_it_grows)
        with pytest.raises(anchored.Stale):
            self.move(root, other_disk)
        assert path.exists()
        assert not [found for found in other_disk.rglob("*") if found.is_file()]

    def test_what_is_replaced_once_it_is_copied_stays(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        old, publish = path.read_bytes(), atomic.publish

        def publish_then_replace(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            path.unlink()
            path.write_bytes(b"new")

        mocker.patch.object(atomic, "publish", side_effect=publish_then_replace)
        with pytest.raises(anchored.Stale, match=r"what it was stays as x\.mp4"):
            self.move(root, other_disk)
        assert path.read_bytes() == b"new"
        assert (other_disk / "input" / self.RELATIVE).read_bytes() == old

    def test_what_somebody_removes_once_it_is_copied_was_moved(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        old, publish = path.read_bytes(), atomic.publish

        def publish_then_remove(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            path.unlink()

        mocker.patch.object(atomic, "publish", side_effect=publish_then_remove)
        place = self.move(root, other_disk)
        assert (other_disk / place).read_bytes() == old

    @pytest.mark.parametrize("renames", [True, False])
    def test_what_is_replaced_at_the_last_moment_goes_back(
        self, root: Path, mocker: MockerFixture, renames: bool
    ) -> None:
        path = root / self.RELATIVE
        rename = linux.rename_noreplace

        def replace_then_rename(*arguments: object, **options: object) -> None:
            if path.exists() and path.read_bytes() != b"new":
                path.unlink()
                path.write_bytes(b"new")
            if not renames:
                raise OSError(errno.EINVAL, "x")
            rename(*arguments, **options)  # type: ignore[arg-type]

        mocker.patch.object(linux, "rename_noreplace", side_effect=replace_then_rename)
        with pytest.raises(anchored.Stale):
            self.move(root, root / ".deleted")
        assert path.read_bytes() == b"new"
        assert not [found for found in (root / ".deleted").rglob("*") if found.is_file()]

    def test_what_is_gone_is_named_whole(self, root: Path) -> None:
        planned = anchored.fingerprint_of((root / self.RELATIVE).lstat())
        (root / self.RELATIVE).unlink()
        for act in (
            lambda: anchored.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
        ):
            with pytest.raises(FileNotFoundError) as caught:
                act()
            assert caught.value.filename == str(root / self.RELATIVE)
        assert not (root / ".deleted").exists()

    def test_a_folder_swapped_for_a_link_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        planned = anchored.fingerprint_of((root / self.RELATIVE).lstat())
        (root / "2024").rename(tmp_path / "elsewhere")
        (root / "2024").symlink_to(tmp_path / "elsewhere")
        for act in (
            lambda: anchored.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
        ):
            with pytest.raises(anchored.Stale, match="no folder any more"):
                act()
        assert removal.remove_empty_folders(root, "2024/05/03") == ()
        assert (tmp_path / "elsewhere" / "05" / "03" / "x.mp4").exists()

    def test_what_takes_the_path_of_an_open_folder_gets_no_file(self, root: Path, tmp_path: Path) -> None:
        outside, folder = tmp_path / "outside", root / "2024/05/03"
        outside.mkdir()
        with (
            atomic.staged(folder / "archive.mp4") as part,
            anchored.opened_folder(root, ("2024", "05", "03")) as opened,
        ):
            part.path.write_bytes(b"whole")
            (outside / part.path.name).write_bytes(b"planted")
            folder.rename(tmp_path / "moved")
            folder.symlink_to(outside)
            atomic.publish(part, folder / "archive.mp4", folder=opened)
        assert (tmp_path / "moved/archive.mp4").read_bytes() == b"whole"
        assert not (outside / "archive.mp4").exists()

    def test_a_link_planted_in_the_trash_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        (root / ".deleted" / "input").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (root / ".deleted" / "input" / "2024").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(NotADirectoryError):
            self.move(root, root / ".deleted")
        assert names_in(tmp_path / "elsewhere") == []
        assert (root / self.RELATIVE).exists()

    def test_deleting_takes_one_name(self, root: Path) -> None:
        path = root / self.RELATIVE
        other = path.with_name("other.mp4")
        other.hardlink_to(path)
        anchored.delete(root, self.RELATIVE, anchored.fingerprint_of(path.lstat()))
        assert names_in(path.parent) == ["other.mp4"]

    def test_a_name_of_255_bytes_fits_numbered(self, root: Path) -> None:
        name = "x" * 251 + ".mp4"
        for _ in range(2):
            (root / name).write_text("x")
            seen = anchored.fingerprint_of((root / name).lstat())
            place = anchored.move(
                root, name, seen, trash_root=root / ".deleted", trash_relative=f"input/{name}"
            )
        assert place == "input/" + "x" * 249 + "~2.mp4"

    def test_empty_date_folders_go_up_to_the_first_that_is_not(self, root: Path) -> None:
        (root / self.RELATIVE).unlink()
        (root / "2024" / "04").mkdir()
        assert removal.remove_empty_folders(root, "2024/05/03") == ("2024/05/03", "2024/05")
        assert names_in(root / "2024") == ["04"]
        assert removal.remove_empty_folders(root, "2024/04", stop_at="2024") == ("2024/04",)
        assert removal.remove_empty_folders(root, "2024") == ("2024",)
        assert root.exists()

    @pytest.mark.parametrize(
        "folder", ["front", "front/12", "2024/13", "2024/05/32", "05/03", "", "20240503"]
    )
    def test_other_folders_stay(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        assert removal.remove_empty_folders(tmp_path, folder) == ()
        assert (tmp_path / folder).is_dir()

    def test_what_a_file_browser_left_keeps_no_folder_alive(self, tmp_path: Path) -> None:
        day = tmp_path / "2024/05/03"
        day.mkdir(parents=True)
        litter = (day / "Thumbs.db", day / ".DS_Store", day.parent / "desktop.ini")
        for path in litter:
            path.write_bytes(b"x")
        (day / "notes.txt").write_bytes(b"x")
        assert removal.remove_empty_folders(tmp_path, "2024/05/03") == ()
        assert all(path.exists() for path in litter), "a folder that has anything else stays as it is"
        (day / "notes.txt").unlink()
        (day / "ehthumbs.db").symlink_to(tmp_path)
        assert removal.remove_empty_folders(tmp_path, "2024/05/03") == ()
        (day / "ehthumbs.db").unlink()
        assert removal.remove_empty_folders(tmp_path, "2024/05/03") == ("2024/05/03", "2024/05", "2024")
        (tmp_path / "front").mkdir()
        (tmp_path / "front/Thumbs.db").write_bytes(b"x")
        assert removal.remove_empty_folders(tmp_path, "front") == ()
        assert (tmp_path / "front/Thumbs.db").exists(), "only date folders go"

    def test_a_cameras_date_folders_go_and_the_camera_stays(self, tmp_path: Path) -> None:
        (tmp_path / "front" / "2024" / "05" / "03").mkdir(parents=True)
        gone = removal.remove_empty_folders(tmp_path, "front/2024/05/03")
        assert gone == ("front/2024/05/03", "front/2024/05", "front/2024")
        assert names_in(tmp_path / "front") == []
