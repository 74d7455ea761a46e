"""A temporary file without a name; where no disk has room for one, it is in memory.

A cleanup has to make its plan, and to report a failure, also when every disk is full.
"""

from __future__ import annotations

import errno
import os
import tempfile
from io import FileIO

from camarchiver.errors import FULL

_NO_DISK = FULL | {errno.ENOENT, errno.EROFS, errno.EACCES}
"""Errors of a machine whose folders for temporary files are full, missing or not to be written."""
_COPIED_BYTES = 1 << 20


class ScratchFile:
    """Bytes that are appended and read again by position. Raises OSError if not even memory has room."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes."""
        self._is_on_disk = True
        try:
            self._file: FileIO = tempfile.TemporaryFile(prefix="camarchiver-", buffering=0)  # noqa: SIM115  # `close` closes it
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise
            self._file = self._in_memory()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._file.fileno()

    def append(self, content: bytes) -> None:
        """Write at the end."""
        rest = memoryview(content)
        while rest:
            try:
                count = os.pwrite(self.fileno(), rest, self.size)
            except OSError as error:
                if error.errno not in FULL or not self._is_on_disk:
                    raise
                self._move_into_memory()
                continue
            self.size += count
            rest = rest[count:]

    def close(self) -> None:
        """Give its room back."""
        self._file.close()

    def _in_memory(self) -> FileIO:
        self._is_on_disk = False
        return FileIO(os.memfd_create("camarchiver", os.MFD_CLOEXEC), "r+")

    def _move_into_memory(self) -> None:
        with self._file as former:
            self._file = self._in_memory()
            for start in range(0, self.size, _COPIED_BYTES):
                length = min(_COPIED_BYTES, self.size - start)
                os.pwrite(self.fileno(), os.pread(former.fileno(), length, start), start)
