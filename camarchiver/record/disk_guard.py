"""Whether there is room to record; logs once when it ends and once when there is room again."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from camarchiver.record.outbox.spool import Folders

_log = logging.getLogger("camarchiver.record.recorder")

PAUSE = 10.0
"""Seconds to wait for room before the next try to write."""


class DiskGuard:
    """Of one camera, on the disks of its spool and its outbox."""

    def __init__(
        self, camera: str, folders: Folders, min_free: int, make_room: Callable[[Path, int], int]
    ) -> None:
        """`min_free` in bytes; `make_room` frees so many below a folder and tells how many it could."""
        self.is_full = False
        """Whether there was too little when it was last asked or tried."""
        self.refused = 0
        """How often recording stopped for want of room."""
        self._camera = camera
        self._folders = (folders.spool, folders.outbox)
        self._min_free = min_free
        self._make_room = make_room
        self._measured = False
        """It was the free space that told, and will tell when it is there again."""
        self._pause_until = 0.0

    def is_there(self) -> bool:
        """Whether a clip may be begun or go on; asks again after a pause at the earliest."""
        if time.monotonic() < self._pause_until:
            return False
        for folder in self._folders:
            free = shutil.disk_usage(folder).free
            short = self._min_free - free
            if short > 0 and self._make_room(folder, short) < short:
                self.ended(f"{folder} has {free / 1e9:.2f} GB free")
                self._measured = True
                return False
        if self._measured:
            self.begun()
        return True

    def ended(self, reason: str) -> None:
        """Something could not be written."""
        self._pause_until = time.monotonic() + PAUSE
        if not self.is_full:
            self.is_full = True
            self.refused += 1
            _log.error("%s: not recording: %s", self._camera, reason)

    def begun(self) -> None:
        """A clip could be begun."""
        self._measured = False
        if self.is_full:
            self.is_full = False
            _log.warning("%s: there is room, recording goes on", self._camera)
