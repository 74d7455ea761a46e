"""The trees that the commands of README and docs are run on."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from camarchiver.errors import ExitCode
from tests import dates
from tests.commands import installed


class Trees:
    """The trees that stand in for /camera."""

    def __init__(self, root: Path, clip: Path) -> None:
        self.root = root
        self._clip = clip

    def put(self, camera: str, start: datetime) -> Path:
        path = self.root / f"{dates.clip_of(camera, start)}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._clip, path)
        os.utime(path, (start.timestamp(), start.timestamp()))
        return path

    def command(self, name: str, *options: str) -> None:
        done = installed(name, *(() if "-C" in options else (self.root,)), *options)
        assert done.returncode in (ExitCode.DONE, ExitCode.PARTIAL), done.stderr

    def one_day(self) -> None:
        """Six clips of one camera."""
        for hour in range(6):
            self.put("camera", datetime(2026, 3, 1, hour, tzinfo=UTC))

    def damaged(self) -> None:
        """A good clip, and one whose upload broke off."""
        self.put("camera", datetime(2026, 3, 1, tzinfo=UTC))
        path = self.put("camera", datetime(2026, 3, 2, 23, tzinfo=UTC))
        before = path.stat().st_mtime
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        os.utime(path, (before, before))

    def archived(self) -> None:
        """A clip in the archive, its source in the trash, and a clip of today."""
        self.put("front", datetime(2026, 3, 1, 8, 15, tzinfo=UTC))
        self.command("archive", "--age", "1")
        self.put("front", dates.recently(hours=1))

    def flipped(self) -> None:
        """The same, with a byte of the archive changed and the damage found."""
        self.archived()
        (path,) = (self.root / "archived").rglob("*.mp4")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        self.command("verify")

    def three_cameras(self) -> None:
        """Archived sources of three cameras that are old enough to go, and clips that are not archived."""
        for camera in ("front_door", "garage", "yard"):
            for days in (40, 41):
                self.put(camera, dates.ago(days))
        self.command("archive", "--age", "1", "--keep-source")
        for camera in ("front_door", "garage", "yard"):
            self.put(camera, dates.ago(50))
            self.put(camera, dates.recently(hours=3))

    def stopped(self) -> None:
        """Two cameras with a clip every twenty minutes, of which one stopped four days ago."""
        for number in range(60):
            self.put("front", dates.recently(hours=0.1 + number / 3))
            self.put("gate", dates.recently(hours=100 + number / 3))

    def week(self) -> None:
        """A week of two cameras: archived or not yet, a time that is held, a day with few clips."""
        first = dates.midnight(36)
        for day in range(7):
            for hour in (6, 7, 8, 12, 17, 18) if day != 3 else (6, 18):
                at = first + timedelta(days=day, hours=hour, minutes=7 * day)
                self.put("front_door", at)
                if day < 5:
                    self.put("garden", at + timedelta(minutes=11))
        last = f"{first + timedelta(days=4):%Y-%m-%d}"
        self.command("archive", "--age", "1", "--until", last, "--preset", "12")
        held = first + timedelta(days=1)
        self.command(
            "hold",
            *("add", "-C", str(self.root), "--camera", "front_door", "--reason", "burglary"),
            *("--from", f"{held:%Y-%m-%d} 07:00", "--to", f"{held:%Y-%m-%d} 09:00"),
        )

    def unread_names(self) -> None:
        """Clips with a maker's names, and some with names of the owner's."""
        for hour in range(3):
            self.put("front", datetime(2026, 5, 3, hour, tzinfo=UTC))
        for hour in (8, 9):
            at = datetime(2026, 1, 3, hour, 15, tzinfo=UTC)
            path = self.root / f"yard/cam1 {at:%d.%m.%Y} {hour}h15.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._clip, path)
            os.utime(path, (at.timestamp(), at.timestamp()))
