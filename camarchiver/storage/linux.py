"""The Linux system calls that Python lacks, one small function each."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import signal
import stat
import struct
from enum import IntFlag
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def rename_noreplace(
    source: str | Path,
    target: str | Path,
    *,
    source_dir_fd: int | None = None,
    target_dir_fd: int | None = None,
) -> None:
    """Rename in one atomic step that never replaces (renameat2(2), glibc 2.28 or musl 1.2.6).

    Raises FileExistsError if the target's name is taken, also by a dangling symlink. Raises OSError with
    EINVAL or ENOSYS if the filesystem can't do it (NFS, SMB, many FUSE ones), with EXDEV across filesystems.
    """
    renameat2 = getattr(_LIBC, "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(source), None, str(target))
    failed = renameat2(
        ctypes.c_int(_AT_FDCWD if source_dir_fd is None else source_dir_fd),
        os.fsencode(source),
        ctypes.c_int(_AT_FDCWD if target_dir_fd is None else target_dir_fd),
        os.fsencode(target),
        ctypes.c_uint(_RENAME_NOREPLACE),
    )
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))


_M_ARENA_MAX = -8
_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}.get(platform.machine())
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13


def share_memory() -> None:
    """Have all threads allocate from one arena (mallopt(3)), if the C library can.

    Otherwise memory that one thread allocates and another frees, as for packets, is kept for each thread.
    """
    mallopt = getattr(_LIBC, "mallopt", None)
    if mallopt is not None:
        mallopt(ctypes.c_int(_M_ARENA_MAX), ctypes.c_int(1))


def lower_priority(nice: int) -> None:
    """Lower the priority for the CPU (`nice` 0 to 19; never raised again) and for the disk.

    Both apply to the calling thread and to what it starts later: call it before there are other
    threads. The idle I/O class only matters to schedulers that know it, BFQ for one (ioprio_set(2)).
    """
    current = os.getpriority(os.PRIO_PROCESS, 0)
    # A container may refuse; slowing other processes down is no reason to stop.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, max(nice, current))
    if _SYS_IOPRIO_SET is not None:
        _LIBC.syscall(
            ctypes.c_long(_SYS_IOPRIO_SET),
            ctypes.c_int(_IOPRIO_WHO_PROCESS),
            ctypes.c_int(0),
            ctypes.c_int(_IOPRIO_IDLE),
        )


def being_written(path: Path) -> bool | None:
    """Whether any process has the regular file open for writing or mapped it so; None when unknown.

    A read lease is refused while there is a writer (F_SETLEASE in fcntl(2)). It is
    unknown if the file is not our own (EACCES), is no regular file or is gone, on a filesystem without
    leases, and on a network mount that refuses.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        # O_NONBLOCK: this waits neither for a FIFO that takes the name now nor for another process's lease.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError:
        return True
    except OSError:
        return None
    try:
        # A writer that opens the file now makes the kernel send us a signal: SIGIO would kill, SIGURG
        # is ignored unless a handler is set.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    except BlockingIOError:
        return None if _on_network(descriptor) else True
    except OSError:
        return None
    finally:
        os.close(descriptor)


def close_unwritten(descriptor: int) -> None:
    """Close a descriptor through which nothing was written, or after whose writes fsync succeeded.

    An error then says nothing about the file, so it must fail nothing that was done before. Linux has closed
    the descriptor all the same, also after EINTR (close(2)).
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


class Attributes(IntFlag):
    """Attributes set by chattr(1) that keep a file, or a folder's entries, from removal (ioctl_iflags(2))."""

    IMMUTABLE = 0x10
    APPEND_ONLY = 0x20


# _IOR('f', 1, long) of the kernel's uapi/linux/fs.h; the answer is an int all the same.
_FS_IOC_GETFLAGS = 0x80006601 | struct.calcsize("l") << 16


def attributes(descriptor: int) -> Attributes:
    """The attributes of an open file or folder; none on a filesystem that doesn't know them."""
    answer = bytearray(struct.calcsize("l"))
    try:
        fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, answer)
    except OSError:
        return Attributes(0)
    (bits,) = struct.unpack_from("i", answer)
    return Attributes(bits & (Attributes.IMMUTABLE | Attributes.APPEND_ONLY))


_CAP_FOWNER = 3


def is_as_owner() -> bool | None:
    """Whether this thread may act on others' files as their owners may (capabilities(7)); None if unknown."""
    try:
        status = Path("/proc/thread-self/status").read_text(encoding="utf-8", errors="replace")
        effective = status.partition("\nCapEff:")[2].partition("\n")[0]
        return bool(int(effective, 16) >> _CAP_FOWNER & 1)
    except (OSError, ValueError):
        return None


_STA_UNSYNC = 0x40
_TIMESYNC = Path("/run/systemd/timesync/synchronized")


def clock_is_synced() -> bool | None:
    """Whether the host's clock follows a time server (adjtimex(2)); None if that is unknown."""
    # struct timex: modes and three longs come before its status; the rest is room enough
    buffer = ctypes.create_string_buffer(512)
    if _LIBC.adjtimex(buffer) < 0:
        return True if _TIMESYNC.exists() else None
    status = ctypes.c_int.from_buffer(buffer, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & _STA_UNSYNC or _TIMESYNC.exists()


_NFS, _CIFS, _SMB2 = 0x6969, 0xFF534D42, 0xFE534D42


def _on_network(descriptor: int) -> bool:
    """Whether the file lies on NFS or SMB: both say EAGAIN when they only lack a delegation or oplock.

    See nfs4_add_lease in Linux' fs/nfs/nfs4proc.c, cifs_setlease in fs/smb/client/cifsfs.c; the numbers
    are those of statfs(2), whose first member is the type on every 64-bit Linux.
    """
    buffer = (ctypes.c_ulong * 64)()
    if _LIBC.fstatfs(ctypes.c_int(descriptor), buffer):
        return True
    return buffer[0] & 0xFFFFFFFF in (_NFS, _CIFS, _SMB2)
