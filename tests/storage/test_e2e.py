"""storage: the access rights of what the installed command makes, and the room that it leaves on a disk."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from camarchiver.errors import ExitCode, user_name
from camarchiver.runtime import formatting
from camarchiver.storage import filesystems
from tests.commands import DAY, H264, NAME, ONE, START, Command, Make, Put, archive, document, one_clip
from tests.samples import needs_root
from tests.yards import Yard

OTHERS_USER, OTHERS_GROUP = 4321, 8765
ACL = "system.posix_acl_access"


def mode_of(path: Path) -> str:
    """As `ls -l` prints it, without the kind."""
    return stat.filemode(path.stat().st_mode)[1:]


def acl_for(user: int) -> bytes:
    """An access control list (acl(5)) that lets one more user read."""
    nobody = 0xFFFFFFFF
    entries = ((1, 7, nobody), (2, 5, user), (4, 0, nobody), (16, 5, nobody), (32, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


class TestReadableArchive:
    """Archive and trash are as readable as the source; only our own state is private."""

    def test_a_new_archive_is_as_open_as_the_source(self, camera_tree: Path) -> None:
        assert archive(camera_tree).returncode == 0
        for folder in ("archived", f"archived/{DAY}", ".deleted", f".deleted/input/{DAY}"):
            assert mode_of(camera_tree / folder) == "rwxr-xr-x", folder
        assert mode_of(camera_tree / f"archived/{ONE}.mp4") == "rw-r--r--"
        for folder in (".camarchiver", ".camarchiver/journal", ".camarchiver/journal/2026"):
            assert mode_of(camera_tree / "archived" / folder) == "rwx------", folder

    def test_neither_more_nor_less_than_each_folder_of_the_source(self, put: Put, tree: Path) -> None:
        clips = {"open": "rwxrwxr-x", "private": "rwx------", "shared": "rwxr-x---"}
        for camera, mode in clips.items():
            put(f"{camera}/{DAY}/REO_{camera}_20260301081500.mp4")
            bits = sum(1 << (8 - place) for place, letter in enumerate(mode) if letter != "-")
            (tree / camera).chmod(bits)
        command = "umask 077; exec " + f'"{sys.executable}" -m camarchiver archive "{tree}" --codec h264'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        for camera, mode in clips.items():
            assert mode_of(tree / "archived" / camera) == mode
            assert mode_of(tree / ".deleted/input" / camera) == mode
        assert mode_of(tree / "archived") == mode_of(tree)

    def test_an_archive_elsewhere_and_date_folders_that_the_source_lacks(
        self, put: Put, tree: Path, tmp_path: Path
    ) -> None:
        put("front/REO_front_20260301081500.mp4")
        (tree / "front").chmod(0o750)
        assert archive(tree, "-o", tmp_path / "nas/archive", "--codec", "h264").returncode == 0
        for folder in ("front", "front/2026", "front/2026/03/01"):
            assert mode_of(tmp_path / "nas/archive" / folder) == "rwxr-x---", folder

    @needs_root
    def test_owner_and_group_and_access_lists_come_along(self, put: Put, tree: Path, told: Command) -> None:
        clip = put(f"{ONE}.mp4")
        clip.chmod(0o640)
        for path in (clip, clip.parent, tree):
            os.chown(path, OTHERS_USER, OTHERS_GROUP)
        clip.parent.chmod(0o2770)
        try:
            os.setxattr(tree / "2026", ACL, acl_for(OTHERS_USER))
        except OSError:
            pytest.skip("no access control lists on this filesystem")
        assert archive(tree, "--codec", "h264").returncode == 0
        made = tree / f"archived/{ONE}.mp4"
        for path in (made, made.parent, tree / f".deleted/input/{DAY}"):
            status = path.stat()
            assert (status.st_uid, status.st_gid) == (OTHERS_USER, OTHERS_GROUP), path
        assert mode_of(made) == "rw-r-----"
        assert mode_of(made.parent) == "rwxrws---"
        for folder in ("archived/2026", ".deleted/input/2026"):
            assert os.getxattr(tree / folder, ACL) == acl_for(OTHERS_USER)
        assert told("restore", "-C", tree, clip, "-y").returncode == 0
        assert (clip.parent.stat().st_gid, mode_of(clip.parent)) == (OTHERS_GROUP, "rwxrws---")
        assert os.getxattr(tree / "2026", ACL) == acl_for(OTHERS_USER)


@needs_root
class TestNoPermission:
    """An error names the user, the path and what would help."""

    @pytest.fixture
    def shared(self, make_clip: Make) -> Iterator[Path]:
        """A tree that another user could reach."""
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            yield one_clip(Path(folder) / "camera", make_clip)

    @pytest.fixture
    def as_nobody(self, shared: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
        """Runs the command without any right."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv (util-linux) is missing")
        prefix = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups"]

        def run(*words: object) -> subprocess.CompletedProcess[str]:
            command = [*prefix, sys.executable, "-m", "camarchiver", *map(str, words)]
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                cwd="/",
                env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TZ": "UTC"},
            )
            if "camarchiver" not in done.stdout + done.stderr and done.returncode == 1:
                pytest.skip(f"another user can't run this Python: {done.stderr[-200:]}")
            return done

        return run

    def test_a_source_that_can_not_be_read(self, shared: Path, as_nobody: Command) -> None:
        clip = shared / f"{DAY}/{NAME}.mp4"
        clip.chmod(0o640)
        done = as_nobody("archive", shared, "--dry-run")
        help_ = f"give user nobody the right to read {clip}, or run as user {user_name(0)}"
        assert done.returncode == ExitCode.PARTIAL
        assert f"{clip}: Permission denied for user nobody; {help_}" in done.stdout
        found = json.loads(as_nobody("archive", shared, "--dry-run", "--json").stdout)
        assert [error["code"] for error in found["errors"]] == ["unreadable"]
        assert help_ in found["errors"][0]["message"]
        assert help_ in found["steps"][0]["detail"]

    def test_a_folder_that_can_not_be_entered(self, shared: Path, as_nobody: Command) -> None:
        closed = shared / "2026"
        closed.chmod(0o700)
        for command in (("archive", shared, "--dry-run"), ("cleanup", shared, "--dry-run")):
            done = as_nobody(*command)
            assert done.returncode == ExitCode.PARTIAL, done.stderr
            assert (
                f"{closed}: Permission denied for user nobody; give user nobody the right to" in done.stdout
            )

    def test_an_archive_that_can_not_be_made(self, shared: Path, as_nobody: Command) -> None:
        done = as_nobody("archive", shared)
        assert done.returncode == ExitCode.STORAGE
        assert (
            f"the archive {shared}/archived can't be written: Permission denied for user nobody"
            in done.stderr
        )
        assert f"give user nobody the right to write {shared}, or run as user {user_name(0)}" in done.stderr

    def test_state_of_another_user(self, shared: Path, as_nobody: Command) -> None:
        assert archive(shared, "--keep-source", "--codec", "h264").returncode == 0
        done = as_nobody("archive", shared, "--dry-run")
        assert done.returncode == ExitCode.STORAGE
        state = shared / "archived/.camarchiver"
        assert "Permission denied for user nobody" in done.stderr
        assert f"give user nobody the right to enter {state}, or run as user {user_name(0)}" in done.stderr

    def test_a_link_through_a_closed_folder(self, shared: Path) -> None:
        closed, link = shared / "closed", shared / "link"
        closed.mkdir(mode=0o700)
        (closed / "ffmpeg").touch()
        link.symlink_to(closed / "ffmpeg")
        code = (
            "import os, sys; from pathlib import Path; from camarchiver.errors import no_access, remedy\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "print(remedy(no_access(Path(sys.argv[1]))))"
        )
        command = [sys.executable, "-c", code, link]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"give user {user_name(65534)} the right to enter {closed}, ")


class TestRoom:
    """Archiving leaves free what it should, and says what a run leaves on each disk."""

    CLIPS = 8

    @pytest.fixture
    def small(self, disk_of_3_mib: Path, make_clip: Make) -> Path:
        """Clips of 107 kB each, with their archive and trash on a disk of 3 MiB."""
        clip = make_clip(H264).read_bytes()
        for number in range(self.CLIPS):
            path = disk_of_3_mib / f"{DAY}/REO_front_2026030108150{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(clip)
            os.utime(path, (START, START))
        return disk_of_3_mib

    def test_min_free_is_a_floor_and_one_clip_says_so(self, small: Path) -> None:
        least = filesystems.free_bytes(small) - 200_000
        done = document(small, "--codec", "h264", "--jobs", "1", "--min-free", str(least))
        assert done["exit_code"] == ExitCode.PARTIAL
        reasons = [outcome["reason"] for outcome in done["outcomes"]]
        assert reasons.count("no-space") == 1 and 1 <= reasons.count("not-archived") < self.CLIPS - 1
        assert f"{least:,} stay free (--min-free)" in done["outcomes"][-1]["detail"]
        assert filesystems.free_bytes(small) >= least
        left = len(list((small / DAY).glob("*.mp4")))
        assert left == self.CLIPS - reasons.count("not-archived")
        text = archive(small, "--codec", "h264", "--jobs", "1", "--min-free", str(least)).stdout
        assert f"left for the next run: {left - 1} clips" in text

    def test_plan_and_report_have_the_disk_now_then_and_when_the_trash_expires(
        self, small: Path, told: Command
    ) -> None:
        free, size = filesystems.free_bytes(small), next((small / DAY).iterdir()).stat().st_size
        expires = (datetime.now(UTC) + timedelta(days=9)).date()
        options = (small, "--codec", "h264", "--trash-root", small / ".deleted")
        config = small.parent / "config.toml"
        config.write_text("[cleanup]\ntrash_age = 9\n")
        (disk,) = document(*options, "--config", config, "--dry-run")["forecast"]
        assert (disk["path"], disk["free"], disk["trash_expires"]) == (str(small), free, str(expires))
        assert (disk["trashed"], disk["after"]) == (self.CLIPS * size, free + disk["freed"])
        assert disk["freed"] == -self.CLIPS * size, "before the first run nothing is known of the savings"
        plan = archive(*options, "--config", config, "--dry-run").stdout
        assert f"free at {small}: " in plan and f"when its trash expires on {expires}" in plan
        done = archive(*options, "--config", config).stdout
        made = sum(path.stat().st_size for path in (small / "archived" / DAY).iterdir())
        assert " % saved, in " in done
        assert f"; {formatting.size(made)} more on this disk until the trash expires on {expires}" in done
        assert f"free at {small}: " in done and " now, " in done and " before" in done
        trash = told("cleanup", *options[:1], "--age", "1", "--dry-run").stdout
        assert "nothing to remove" in trash

    def test_the_document_has_the_disks(self, small: Path) -> None:
        before = filesystems.free_bytes(small)
        done = document(small, "--codec", "h264")
        (disk,) = done["disks"]
        made = sum(outcome["bytes_after"] for outcome in done["outcomes"])
        assert (disk["path"], disk["more"]) == (str(small), made)
        assert before - 50_000 < disk["free_before"] <= before
        assert disk["free"] < before
        deleted = document(small, "--codec", "h264", "--age", "1", "--delete", "-y")
        assert "disks" not in deleted, "there was nothing to do"

    def test_trash_whose_time_is_over_goes_first_if_room_is_short(
        self, disk_of_3_mib: Path, make_clip: Make, told: Command
    ) -> None:
        yard = Yard(disk_of_3_mib)
        old = yard.record(60, size=1_000_000)
        trashed = yard.trash(old, yard.archive(old), 30)
        clip = yard.record(40)
        clip.path.write_bytes(make_clip(H264).read_bytes())
        os.utime(clip.path, (clip.start.timestamp(),) * 2)
        least = str(filesystems.free_bytes(disk_of_3_mib) - 50_000)
        alone = archive(disk_of_3_mib, "--codec", "h264", "--min-free", least)
        assert (alone.returncode, trashed.exists(), clip.path.exists()) == (ExitCode.STORAGE, True, True)
        options = (disk_of_3_mib, "--codec", "h264", "--min-free", least, "--cleanup", "-y")
        plan = archive(*options, "--dry-run")
        assert plan.stdout.index("first, because room is short:") < plan.stdout.index("then:")
        assert trashed.exists()
        done = document(*options)
        first = done["cleanup_first"]["outcomes"]
        assert [(each["result"], each["reason"]) for each in first] == [("done", "trash-age")]
        assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [("done", "not-archived")]
        assert not trashed.exists() and not clip.path.exists()

    def test_nothing_goes_first_where_there_is_room(self, small: Path) -> None:
        done = document(small, "--codec", "h264", "--cleanup", "-y", "--min-free", "100kB")
        assert "cleanup_first" not in done and "cleanup" in done
