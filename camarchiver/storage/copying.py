"""Copies and hashes files' bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from camarchiver.errors import StorageError
from camarchiver.storage import linux, permissions
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
        arrived = _digest_from_disk(copy)
    if arrived != sent.hexdigest():
        raise StorageError(
            f"{part.path.parent}: a copy read back differs from what was written",
            hint="check this disk, its cable and the memory; the original is untouched",
        )
    return arrived


@contextmanager
def reading(folder: int, name: str) -> Iterator[BufferedReader]:
    """The file of this name in an open folder, opened for reading; follows no link."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream
    finally:
        linux.close_unwritten(descriptor)


def both_stand(one: tuple[int, str], other: tuple[int, str]) -> bool:
    """Whether two files, each a name in an open folder, have the same bytes, or are one file with both names.

    Raises FileNotFoundError if one is gone, OSError if one can't be read.
    """
    status, second = (os.stat(name, dir_fd=folder, follow_symlinks=False) for folder, name in (one, other))
    if os.path.samestat(status, second):
        return status.st_nlink > 1
    with reading(*one) as stream, reading(*other) as copy:
        return _digest_from_disk(stream) == _digest_from_disk(copy)


def _digest_from_disk(stream: BufferedReader) -> str:
    # Clean pages are dropped, so that the data comes from the disk and not from memory.
    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashlib.file_digest(stream, "blake2b").hexdigest()


def _copy_attributes(source: BinaryIO, target: BinaryIO) -> None:
    original = os.fstat(source.fileno())
    permissions.copy_access(source.fileno(), target.fileno())
    os.utime(target.fileno(), ns=(original.st_atime_ns, original.st_mtime_ns))
