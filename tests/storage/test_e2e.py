"""storage: the access rights of what the installed command makes, and what it says where it has none."""

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
from pathlib import Path

import pytest

from camarchiver.errors import user_name
from tests.commands import DAY, NAME, ONE, Command, Make, Put, archive, one_clip
from tests.samples import needs_root

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
        assert done.returncode == 3
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
            assert done.returncode == 3, done.stderr
            assert (
                f"{closed}: Permission denied for user nobody; give user nobody the right to" in done.stdout
            )

    def test_an_archive_that_can_not_be_made(self, shared: Path, as_nobody: Command) -> None:
        done = as_nobody("archive", shared)
        assert done.returncode == 13
        assert (
            f"the archive {shared}/archived can't be written: Permission denied for user nobody"
            in done.stderr
        )
        assert f"give user nobody the right to write {shared}, or run as user {user_name(0)}" in done.stderr

    def test_state_of_another_user(self, shared: Path, as_nobody: Command) -> None:
        assert archive(shared, "--keep-source", "--codec", "h264").returncode == 0
        done = as_nobody("archive", shared, "--dry-run")
        assert done.returncode == 13
        state = shared / "archived/.camarchiver"
        assert "Permission denied for user nobody" in done.stderr
        assert f"give user nobody the right to enter {state}, or run as user {user_name(0)}" in done.stderr
