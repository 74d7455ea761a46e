"""Copies and hashes files' bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from camarchiver.errors import StorageError
from camarchiver.storage import permissions
from camarchiver.storage.atomic import Staged

_COPY_BYTES = 1 << 20


def file_digest(path: Path, *, watch: Callable[[int], None] | None = None, stays_cached: bool = True) -> str:
    """A whole file's BLAKE2b, as `b2sum` prints it; `watch` as in `copy_into`.

    `stays_cached`: otherwise the file's pages are dropped, since one that is read once must not displace
    other files in memory.
    """
    digest = hashlib.blake2b()
    with path.open("rb") as stream:
        if watch is None:
            hashlib.file_digest(stream, lambda: digest)
        else:
            while block := stream.read(_COPY_BYTES):
                watch(len(block))
                digest.update(block)
        if not stays_cached:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def copy_into(source: BinaryIO, part: Staged, *, watch: Callable[[int], None] | None = None) -> str:
    """Copy an open file's bytes, times and access rights into a staged file, durably; the bytes' BLAKE2b.

    The copy is read back and compared; raises StorageError if it differs. `watch` gets the size of each
    block in bytes, and may end the copy by an exception.
    """
    sent = hashlib.blake2b()
    with part.path.open("wb") as target:
        while block := source.read(_COPY_BYTES):
            sent.update(block)
            target.write(block)
            if watch is not None:
                watch(len(block))
        target.flush()
        _copy_attributes(source, target)
        os.fsync(target.fileno())
    with part.path.open("rb") as copy:
        # Clean pages are dropped, so that the data comes from the disk and not from memory.
        os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        arrived = hashlib.file_digest(copy, "blake2b").hexdigest()
    if arrived != sent.hexdigest():
        raise StorageError(
            f"{part.path.parent}: a copy read back differs from what was written",
            hint="check this disk, its cable and the memory; the original is untouched",
        )
    return arrived


def _copy_attributes(source: BinaryIO, target: BinaryIO) -> None:
    original = os.fstat(source.fileno())
    permissions.copy_access(source.fileno(), target.fileno())
    os.utime(target.fileno(), ns=(original.st_atime_ns, original.st_mtime_ns))
