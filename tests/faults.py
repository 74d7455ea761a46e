"""Errors of single system calls, put into code that runs in the test's process; a dead file server."""

from __future__ import annotations

import ctypes
import io
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from camarchiver.storage import atomic, linux

CALLS = ("open", "stat", "lstat", "fstat", "link", "unlink", "fsync")


class Faults:
    """Lets one call fail, by its number, and perhaps every later one, while it is `armed`."""

    def __init__(self, number: int, code: int, *, lasting: bool) -> None:
        self._left = number
        self._code = code
        self._lasting = lasting
        self._waits = False
        self.met = False

    def _fails(self) -> bool:
        if self._waits:
            return False
        self._left -= 1
        fails = self._left == 0 or (self._lasting and self._left < 0)
        self.met = self.met or fails
        return fails

    def _call(self, real: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._fails():
            raise OSError(self._code, os.strerror(self._code))
        self._waits = self._waits and getattr(real, "__name__", "") != "link"
        return real(*arguments, **options)

    def _closed(self, close: Callable[[], None]) -> None:
        """Linux closes also if it says that it failed."""
        close()
        if self._fails():
            raise OSError(self._code, os.strerror(self._code))

    def _fdopen(self, real: Callable[..., Any], descriptor: int, *arguments: Any, **options: Any) -> Any:
        if arguments != ("rb",):
            return real(descriptor, *arguments, **options)
        faults = self

        class Raw(io.FileIO):
            def close(self) -> None:
                if self.closed or not self.closefd:
                    super().close()
                else:
                    faults._closed(super().close)

        return io.BufferedReader(Raw(descriptor, "rb", **options))

    @contextmanager
    def armed(self, *, after_link: bool = False) -> Iterator[None]:
        """Calls count, and fail, while the block runs, or from its first link to its end."""
        close, self._waits = os.close, after_link
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, partial(self._call, getattr(os, name)))
            patch.setattr(os, "close", lambda descriptor: self._closed(partial(close, descriptor)))
            patch.setattr(os, "fdopen", partial(self._fdopen, os.fdopen))
            patch.setattr(linux, "rename_noreplace", partial(self._call, linux.rename_noreplace))
            patch.setattr(atomic, "_PAUSES", (0.0, 0.0))
            yield


def each_fault(code: int, *, lasting: bool) -> Iterator[Faults]:
    """A fault at the 1st call, the 2nd and so on, until one comes through; the test arms each."""
    for number in itertools.count(1):
        faults = Faults(number, code, lasting=lasting)
        yield faults
        if not faults.met:
            return


@contextmanager
def dead_server(folder: Path) -> Iterator[None]:
    """Mount a file system there whose server never answers; skips where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0"
    failed = libc.mount(b"dead", os.fsencode(folder), b"fuse", 0, options.encode())
    try:
        if failed:
            pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")
        yield
    finally:
        # what waits for an answer gets an error
        os.close(server)
        libc.umount2(os.fsencode(folder), 2)
