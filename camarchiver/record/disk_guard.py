"""Whether clips can be written: free space, an outbox that is there, and a last attempt that worked."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from camarchiver.errors import cause
from camarchiver.record.outbox.folders import Folders

_log = logging.getLogger("camarchiver.record.recorder")

PAUSE = 10.0
"""Seconds to wait before the next attempt to write."""
ANSWER = 1.0
"""Seconds within which an outbox must answer; a dead file server may never do so."""


class DiskGuard:
    """Guards the disks of one camera's spool and outbox; each change is logged once."""

    def __init__(
        self, camera: str, folders: Folders, min_free: int, make_room: Callable[[Path, int], int]
    ) -> None:
        """`min_free` in bytes; `make_room` frees that many bytes below a folder and returns how many."""
        self.is_full = False
        """Whether recording was impossible at the last check or attempt."""
        self.is_broken = False
        """Whether the reason was something other than a lack of space."""
        self.refused = 0
        """How often recording stopped."""
        self._camera = camera
        self._folders = folders
        self._outbox = _Outbox(folders.outbox)
        self._outbox_reported = False
        self._min_free = min_free
        self._make_room = make_room
        self._measured = False
        """The reason was too little free space, so enough free space ends it."""
        self._pause_until = 0.0

    def is_there(self) -> bool:
        """Whether a clip may begin or continue; after a failure the next check follows a pause."""
        if time.monotonic() < self._pause_until:
            return False
        try:
            known = [(self._folders.spool, shutil.disk_usage(self._folders.spool).free)]
        except OSError as error:
            self.ended(f"{self._folders.spool}: {cause(error)}", full=False)
            return False
        if has_outbox := self.outbox_is_there():
            known.append((self._folders.outbox, self._outbox.free))
        for folder, free in known:
            short = self._min_free - free
            # room is made in the outbox, and a dead file server would keep this thread
            if short > 0 and not (has_outbox and self._make_room(folder, short) >= short):
                self.ended(f"{folder} has {free / 1e9:.2f} GB free", full=True)
                self._measured = True
                return False
        if self._measured:
            self.begun()
        return True

    def outbox_is_there(self) -> bool:
        """Whether clips can be published; otherwise they wait in the spool."""
        away = self._outbox.ask()
        if bool(away) != self._outbox_reported:
            self._outbox_reported = bool(away)
            if away:
                _log.error("%s: its outbox is away (%s): clips wait in the spool", self._camera, away)
            else:
                _log.warning("%s: its outbox is back", self._camera)
        return not away

    def ended(self, reason: str, *, full: bool) -> None:
        """Note that something could not be written; `full` means for lack of space."""
        self._pause_until = time.monotonic() + PAUSE
        self.is_broken = not full
        if not self.is_full:
            self.is_full = True
            self.refused += 1
            _log.error("%s: not recording: %s", self._camera, reason)

    def begun(self) -> None:
        """Note that a clip could be written."""
        if self.is_full:
            there = "clips can be written again" if self.is_broken else "there is room"
            _log.warning("%s: %s, recording goes on", self._camera, there)
        self._measured = self.is_full = self.is_broken = False

    @property
    def may_try(self) -> bool:
        """Whether the last attempt failed for a reason other than lack of space, and the pause is over."""
        return self.is_broken and time.monotonic() >= self._pause_until


class _Outbox:
    """Asks for the free space of a folder that may be away, and waits at most a second for the answer."""

    def __init__(self, folder: Path) -> None:
        self.free = 0
        """Bytes, from the last answer."""
        self._folder = folder
        self._away = ""
        self._asking: threading.Thread | None = None

    def ask(self) -> str:
        """Why it is away; empty if it is there."""
        if self._asking is None or not self._asking.is_alive():
            # a daemon thread, so that the process can end while a dead file server blocks a system call
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
