"""Whether clips can be written: room on the disks, an outbox that is there, and a last try that worked."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from camarchiver.errors import cause
from camarchiver.record.outbox.spool import Folders

_log = logging.getLogger("camarchiver.record.recorder")

PAUSE = 10.0
"""Seconds to wait before the next try to write."""
ANSWER = 1.0
"""Seconds within which an outbox answers; a server that is away may let it wait for ever."""


class DiskGuard:
    """Of one camera, on the disks of its spool and its outbox; each change is said once."""

    def __init__(
        self, camera: str, folders: Folders, min_free: int, make_room: Callable[[Path, int], int]
    ) -> None:
        """`min_free` in bytes; `make_room` frees so many below a folder and tells how many it could."""
        self.is_full = False
        """Whether nothing was recorded when it was last asked or tried."""
        self.is_broken = False
        """Whether that was for another reason than want of room."""
        self.refused = 0
        """How often recording stopped."""
        self._camera = camera
        self._folders = folders
        self._outbox = _Outbox(folders.outbox)
        self._outbox_reported = False
        self._min_free = min_free
        self._make_room = make_room
        self._measured = False
        """It was the free space that told, and will tell when it is there again."""
        self._pause_until = 0.0

    def is_there(self) -> bool:
        """Whether a clip may be begun or go on; asks again after a pause at the earliest."""
        if time.monotonic() < self._pause_until:
            return False
        try:
            known = [(self._folders.spool, shutil.disk_usage(self._folders.spool).free)]
        except OSError as error:
            self.ended(f"{self._folders.spool}: {cause(error)}", full=False)
            return False
        if self.outbox_is_there():
            known.append((self._folders.outbox, self._outbox.free))
        for folder, free in known:
            short = self._min_free - free
            if short > 0 and self._make_room(folder, short) < short:
                self.ended(f"{folder} has {free / 1e9:.2f} GB free", full=True)
                self._measured = True
                return False
        if self._measured:
            self.begun()
        return True

    def outbox_is_there(self) -> bool:
        """Whether clips can be published; while they can't, they wait in the spool."""
        away = self._outbox.ask()
        if bool(away) != self._outbox_reported:
            self._outbox_reported = bool(away)
            if away:
                _log.error("%s: its outbox is away (%s): clips wait in the spool", self._camera, away)
            else:
                _log.warning("%s: its outbox is back", self._camera)
        return not away

    def ended(self, reason: str, *, full: bool) -> None:
        """Something could not be written, for want of room where it is `full`."""
        self._pause_until = time.monotonic() + PAUSE
        self.is_broken = not full
        if not self.is_full:
            self.is_full = True
            self.refused += 1
            _log.error("%s: not recording: %s", self._camera, reason)

    def begun(self) -> None:
        """A clip could be written."""
        if self.is_full:
            there = "clips can be written again" if self.is_broken else "there is room"
            _log.warning("%s: %s, recording goes on", self._camera, there)
        self._measured = self.is_full = self.is_broken = False

    @property
    def may_try(self) -> bool:
        """Whether the last try failed for another reason than want of room, and the pause is over."""
        return self.is_broken and time.monotonic() >= self._pause_until


class _Outbox:
    """Asks for the free space of a folder that may be away, and waits for no answer longer than a second."""

    def __init__(self, folder: Path) -> None:
        self.free = 0
        """Bytes, by the last answer."""
        self._folder = folder
        self._away = ""
        self._asking: threading.Thread | None = None

    def ask(self) -> str:
        """Why it is away; empty where it is there."""
        if self._asking is None or not self._asking.is_alive():
            # a daemon: no system call of a dead file server is waited for at the end
            self._asking = threading.Thread(target=self._look, name="look at outbox", daemon=True)
            self._asking.start()
            self._asking.join(ANSWER)
        return "no answer" if self._asking.is_alive() else self._away

    def _look(self) -> None:
        try:
            self.free = shutil.disk_usage(self._folder).free
        except OSError as error:
            self._away = cause(error)
        else:
            self._away = ""
