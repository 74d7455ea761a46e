"""The lock of one clip: a file beside it, which the processes of several hosts respect.

`lockfile` creates and takes over that file; the lock of a whole run is in `run_lock`.

This lock only saves work. Footage is safe because publishing never replaces and because a removal checks the
file again (`atomic.publish`, `anchored`); both hold even if a lock fails.
"""

from __future__ import annotations

import contextlib
import contextvars
import errno
import functools
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from camarchiver.errors import ClipBusy, cause
from camarchiver.naming.paths import NAME_MAX
from camarchiver.storage import atomic, lockfile
from camarchiver.storage.run_lock import NOT_WRITABLE

_log = logging.getLogger("camarchiver.storage.locking")

HEARTBEAT_SECONDS = 60.0
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


class ClipLock:
    """Our claim on one clip, kept fresh by a thread until it is released."""

    __slots__ = ("_claim", "_heart", "_released", "lost", "path")

    def __init__(self, path: Path, claim: lockfile.LockClaim) -> None:
        self.path = path
        self.lost = threading.Event()
        """Set as soon as another process is known to have the lock: stop ffmpeg, publish nothing."""
        self._claim = claim
        self._released = threading.Event()
        # Its log lines are about the same clip as those of the thread that holds the lock.
        beat = functools.partial(contextvars.copy_context().run, self._beat)
        self._heart = threading.Thread(target=beat, name=f"lock {path.name}", daemon=True)
        self._heart.start()

    @property
    def file(self) -> Path:
        """The lock file."""
        return self._claim.file

    def still_mine(self) -> bool:
        """Whether the lock is ours at this moment; call it right before publishing and before removing."""
        if not self.lost.is_set() and not self._claim.is_current():
            self.lost.set()
            _log.warning("lock lost: %s", self.path)
        return not self.lost.is_set()

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_SECONDS) and self.still_mine():
            try:
                atomic.retry_transient(lambda: os.utime(self._claim.descriptor))
            except OSError as error:
                _log.warning("lock lost: %s: %s", self.path, cause(error))
                self.lost.set()

    def _release(self) -> None:
        self._released.set()
        self._heart.join()
        self.still_mine()
        self._claim.release()
        _log.debug("lock released: %s", self.path)


@contextlib.contextmanager
def clip_lock(
    path: Path, *, place: Path | None = None, folder_may_be_gone: bool = False
) -> Iterator[ClipLock]:
    """Hold the lock of one clip: the file `X.mp4.lock` beside it, or in `place` where that can't be.

    With `folder_may_be_gone` also if the clip's folder does not exist, because what is worked on is a copy
    of the clip in the trash or its archive.

    Raises ClipBusy at once while a living owner holds it: on this kernel however old the lock is, on
    another if it was touched in the last 600 s. Raises OSError if no lock can be written.
    """
    lock = ClipLock(path, _claim(path, place, folder_may_be_gone=folder_may_be_gone))
    try:
        yield lock
    finally:
        lock._release()


def held_by(path: Path, *, place: Path | None = None) -> str | None:
    """A sentence on the process that works on the clip; None if none does. Changes nothing."""
    try:
        lockfile.refuse_if_held(_file_beside(path), path)
        if place is not None:
            lockfile.refuse_if_held(_file_in(place, path), path)
    except ClipBusy as busy:
        return busy.message
    return None


def name_beside(name: str) -> str:
    """The name of the lock file of a clip of this name; a hash if its own name would be too long."""
    lock = f"{name}.lock"
    return lock if len(os.fsencode(lock)) <= NAME_MAX else f".{_hashed(name)}.lock"


def _file_beside(clip: Path) -> Path:
    return clip.with_name(name_beside(clip.name))


def _file_in(place: Path, clip: Path) -> Path:
    return place / f"{_hashed(str(clip.absolute()))}.lock"


def _hashed(text: str) -> str:
    return hashlib.blake2b(os.fsencode(text), digest_size=16).hexdigest()


def _claim(clip: Path, place: Path | None, *, folder_may_be_gone: bool) -> lockfile.LockClaim:
    """The lock file beside the clip, or else the one in `place`, while nobody has the other one.

    Each process claims its own first and looks at the other then, so that two never miss each other: one
    may find the folder of the clip gone, or not writable, and the other a moment later not.
    """
    beside = _file_beside(clip)
    try:
        claim = lockfile.claim(beside, clip)
    except OSError as error:
        bearable = NOT_WRITABLE | (_GONE if folder_may_be_gone else frozenset())
        if place is None or error.errno not in bearable:
            raise
        atomic.make_private_folders(place)
        claim, other = lockfile.claim(_file_in(place, clip), clip), beside
    else:
        if place is None:
            return claim
        other = _file_in(place, clip)
    try:
        lockfile.refuse_if_held(other, clip)
    except BaseException:
        claim.release()
        raise
    return claim
