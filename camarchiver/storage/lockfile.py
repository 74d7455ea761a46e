"""The file of a clip's lock: it is complete when it appears, is checked, and is taken over in place.

The steps follow from four rules: two processes that find a stale lock must not both get it, a lock must
never be empty, a living owner must never lose it, and a file server may share no kernel locks at all.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import stat
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from camarchiver.domain.untrusted import decode
from camarchiver.errors import ClipBusy, cause
from camarchiver.storage import atomic
from camarchiver.storage.owner import Owner, is_alive

_log = logging.getLogger("camarchiver.storage.locking")

SETTLE_SECONDS = 2.0
"""How long a lock taken from another kernel must stay ours, in case the mount shares no kernel locks."""

_CREATOR_PATIENCE = 1.0
_PROBE_PATIENCE = 0.05
_ATTEMPTS = 20
_RECORD_BYTES = 4096

_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM})
NO_KERNEL_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})
"""Errors of a filesystem that offers no locks."""
_LOCKED = frozenset({errno.EAGAIN, errno.EACCES})
_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV})


class LockClaim(Struct, frozen=True):
    """A lock file that is ours: open, and locked by the kernel if it can."""

    file: Path
    descriptor: int
    owner: Owner

    def is_current(self) -> bool:
        """Whether the file still exists under its name with our record in it."""
        try:
            in_place = atomic.retry_transient(lambda: _is_at(self.file, self.descriptor))
        except OSError:
            return False
        found = _read(self.descriptor)
        return in_place and found is not None and found.nonce == self.owner.nonce

    def release(self) -> None:
        """Remove the file, unless it is no longer ours, and close it."""
        try:
            # Unlinked while the kernel's lock is held: a process that waits for it then finds another inode.
            if self.is_current():
                self.file.unlink()
        except OSError as error:
            _log.warning("lock not removed: %s: %s", self.file, cause(error))
        finally:
            os.close(self.descriptor)


def claim(file: Path, clip: Path) -> LockClaim:
    """Create the clip's lock file or take it from a dead owner. Raises ClipBusy while its owner lives."""
    owner = Owner.this()
    for _ in range(_ATTEMPTS):
        descriptor = _create(file, owner)
        if descriptor is not None:
            _log.debug("lock acquired: %s", clip)
            return LockClaim(file, descriptor, owner)
        if taken := _take_over(file, clip, owner):
            return taken
    raise _busy(clip, "its lock changes hands all the time")


def refuse_if_held(file: Path, clip: Path) -> None:
    """Raise ClipBusy while the clip's lock file has a living owner; changes nothing, works read-only."""
    descriptor = _open(file, clip, os.O_RDONLY)
    if descriptor is None:
        return
    try:
        locked = _flock(descriptor, shared=True)
        status, found = os.fstat(descriptor), _read(descriptor)
    finally:
        os.close(descriptor)
    # Nothing may be written here, so the server's clock can't be read.
    if is_alive(found, lambda: time.time() - status.st_mtime, locked=locked):
        raise _busy(clip, _described(status, found))


def write(descriptor: int, record: str) -> None:
    """Replace a lock file's text; only its first line counts, so a kill in between leaves it valid."""
    data = record.encode()
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _create(file: Path, owner: Owner) -> int | None:
    """The descriptor of a new lock file; None when the name is taken."""
    folder = os.open(file.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _create_whole(file.name, folder, owner)
    except FileExistsError:
        return None
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
        return _create_named(file, owner)
    finally:
        os.close(folder)


def _create_whole(name: str, folder: int, owner: Owner) -> int:
    """A lock file that is complete and locked at the moment it gets its name (O_TMPFILE in open(2))."""
    descriptor = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        write(descriptor, _record(owner))
        _flock(descriptor)
        os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _create_named(file: Path, owner: Owner) -> int | None:
    """The same where files can't be made without a name (NFS, FAT): empty for a moment."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(file, flags, 0o600)
    except FileExistsError:
        return None
    with ExitStack() as undo:
        undo.callback(os.close, descriptor)
        if _flock(descriptor, patience=_CREATOR_PATIENCE) is False or not _is_at(file, descriptor):
            return None
        try:
            write(descriptor, _record(owner))
            os.fsync(descriptor)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        undo.pop_all()
        return descriptor


def _take_over(file: Path, clip: Path, owner: Owner) -> LockClaim | None:
    """A dead owner's lock file, rewritten in place; None if it changed meanwhile.

    Raises ClipBusy if the owner lives. The file is never unlinked and made again, so that all processes
    contend for one inode.
    """
    descriptor = _open(file, clip, os.O_RDWR)
    if descriptor is None:
        return None
    with ExitStack() as undo:
        undo.callback(os.close, descriptor)
        locked = _flock(descriptor, patience=_PROBE_PATIENCE)
        if not _is_at(file, descriptor):
            return None
        status, found = os.fstat(descriptor), _read(descriptor)
        if is_alive(found, lambda: _clock_of(file.parent) - status.st_mtime, locked=locked):
            raise _busy(clip, _described(status, found))
        write(descriptor, _record(owner))
        os.fsync(descriptor)
        taken = LockClaim(file, descriptor, owner)
        if not (locked and found is not None and found.is_of_this_kernel):
            time.sleep(SETTLE_SECONDS)
            if not taken.is_current():
                raise _busy(clip, _described(os.fstat(descriptor), _read(descriptor)))
        age = time.time() - status.st_mtime
        _log.warning("lock reclaimed: %s (%.0f s old, %s)", clip, age, _described(status, found))
        undo.pop_all()
        return taken


def _open(file: Path, clip: Path, access: int) -> int | None:
    """The open lock file; None if there is none. Raises ClipBusy if it is not one of ours."""
    try:
        # O_NONBLOCK: a FIFO there must not make us wait.
        descriptor = os.open(file, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise _busy(clip, f"its lock {file.name} belongs to another user") from error
    except OSError as error:
        if error.errno not in _NO_FILE:
            raise
        raise _busy(clip, f"{file.name} is not a lock but something else") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _busy(clip, f"{file.name} is not a lock but something else")
    return descriptor


def _flock(descriptor: int, *, shared: bool = False, patience: float = 0.0) -> bool | None:
    """Take the kernel's lock: False while another process has it, None if the filesystem has none."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in NO_KERNEL_LOCKS:
                return None
            if error.errno not in _LOCKED:
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether the open file still has its name; opened again, because that makes NFS ask the server."""
    try:
        current = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENOENT and error.errno not in _NO_FILE:
            raise
        return False
    try:
        return os.path.sameopenfile(current, descriptor)
    finally:
        os.close(current)


def _clock_of(folder: Path) -> float:
    """The time by the clock that stamps files there: on a network mount the server's."""
    with atomic.staged(folder / "clock") as probe:
        return probe.path.stat().st_mtime


def _record(owner: Owner) -> str:
    return json.dumps(msgspec.structs.asdict(owner)) + "\n"


def _read(descriptor: int) -> Owner | None:
    """The owner as written, None for another program's lock, an empty or a torn one."""
    try:
        line = os.pread(descriptor, _RECORD_BYTES, 0).partition(b"\n")[0]
        return decode(line, Owner)
    except (OSError, ValueError):
        return None


def _described(status: os.stat_result, found: Owner | None) -> str:
    if found is None:
        touched = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
        return f"host unknown, pid unknown, since {touched}"
    return f"host {found.host}, pid {found.pid}, since {found.since}"


def _busy(clip: Path, why: str) -> ClipBusy:
    return ClipBusy(
        f"File already being processed: {clip} ({why})",
        hint="wait until it is done; if nothing works on it, remove its .lock file",
    )
