"""The lock of a run, one per command, tree and host, and the lock of a state file while it changes.

Both are advisory locks that the kernel holds; the lock of a clip is in `locking`. The locks of runs also show
which runs are at work on a tree.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from camarchiver.domain.clip import Trees
from camarchiver.domain.untrusted import decode
from camarchiver.errors import FULL, AlreadyRunning, StorageError, cause
from camarchiver.storage import atomic, lockfile, owner
from camarchiver.storage.owner import Owner

GUARD_SECONDS = 60.0
"""How long `guarded` waits: a holder of this kind of lock only writes a line or two."""

AT_WORK_SECONDS = 86_400.0
"""A run that touched its lock file within this counts as active."""

_ARCHIVING = ("archive@", "watch@")

NEEDS_LOCKS = "mount it with locks (NFS: without nolock, and with rpc.statd on client and server)"
"""The remedy for a filesystem that refuses the kernel's locks."""

NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class _Runner(Owner, frozen=True, kw_only=True):
    """The run that holds a run lock, as its file records it."""

    command: str


@contextlib.contextmanager
def exclusive(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file `path` for one run of the command `what`; AlreadyRunning if another has it."""
    record = json.dumps({"command": what, **msgspec.structs.asdict(Owner.this())}) + "\n"

    def describe(descriptor: int) -> None:
        try:
            lockfile.write(descriptor, record)
        except OSError as error:
            if error.errno not in FULL:  # it is the kernel that holds the lock: a cleanup has to make room
                raise

    lock = FileLock(path, blocking=False, mode=0o600, on_acquired=describe)
    try:
        with _naming(path):
            lock.acquire()
    except Timeout as error:
        raise AlreadyRunning(
            f"{what} runs here already: {_runner(path)}", hint="wait until it is done, or stop it"
        ) from error
    try:
        yield
    finally:
        lock.release()


def file_of(trees: Trees, command: str) -> Path:
    """The lock file that stops a second start of the same command on the same host; its folder is made."""
    folder = trees.state / "locks"
    atomic.make_folders(trees.archive, model=trees.source)
    atomic.make_private_folders(folder)
    return folder / f"{command}@{owner.host_id()}.run"


def active_runs(trees: Trees, command: str) -> tuple[str, frozenset[str]]:
    """The name of this run's lock file, and those of all runs that archive this tree now.

    A run shows that it is active by touching its lock file, at the start and now and then.
    """
    lock = file_of(trees, command)
    found = set()
    with contextlib.suppress(OSError):
        lock.touch(mode=0o600)
        now = lock.stat().st_mtime
        for other in lock.parent.glob("*.run"):
            with contextlib.suppress(OSError):
                if other.name.startswith(_ARCHIVING) and now - other.stat().st_mtime < AT_WORK_SECONDS:
                    found.add(other.name)
    return lock.name, frozenset(found)


def is_running(path: Path) -> bool:
    """Whether a run holds the lock file `path` at this moment; changes nothing. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Hold the lock file `path` while a state file is changed; waits for others, which take moments."""
    lock = FileLock(path, timeout=GUARD_SECONDS, mode=0o600)
    try:
        with _naming(path):
            lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"{path} is locked for more than {GUARD_SECONDS:.0f} s",
            hint="look for a camarchiver that hangs; the kernel frees the lock when it ends",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make an error of the kernel's lock name the file, and a mount without locks its remedy."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        if error.errno in lockfile.NO_KERNEL_LOCKS:
            raise StorageError(f"{path} can't be locked: {cause(error)}", hint=NEEDS_LOCKS) from error
        error.filename = error.filename or os.fspath(path)
        raise


def _runner(path: Path) -> str:
    try:
        runner = decode(path.read_bytes().partition(b"\n")[0], _Runner)
        return f"{runner.command}, host {runner.host}, pid {runner.pid}, since {runner.since}"
    except (OSError, ValueError):
        return "another process"
