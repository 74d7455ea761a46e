"""Starts other programs, each in a process group of its own, and ends them: nothing else starts any."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from camarchiver.errors import cause

KILL_SECONDS = 5.0
"""How long a program may take to end after TERM."""

_FIRST_LINES = 200
_LAST_LINES = 100
_LINE_BYTES = 1000
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")
_READ_BYTES = 65536
_OUTPUT_BYTES = 16 << 20
_PIPE_SECONDS = 5.0
"""How long the output of a program that ended may take to arrive."""

# Looked up and converted here, since the child between fork and exec should do next to nothing.
_PRCTL = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = ctypes.c_int(1)
_SIGKILL = ctypes.c_ulong(signal.SIGKILL)


class Completed(Struct, frozen=True):
    """The result of a short command."""

    returncode: int
    """Negative if a signal ended it."""
    output: bytes
    """Its standard output, up to 16 MiB."""
    errors: tuple[str, ...]
    """Lines of its standard error, as `BoundedLines` keeps them."""


class BoundedLines:
    """The first 200 and the last 100 lines of a stream of any length, in bounded memory."""

    __slots__ = ("_count", "_first", "_kinds", "_last", "_rest")

    def __init__(self, *, once_each: bool = False) -> None:
        """`once_each`: of the lines after the first, those that repeat one with other numbers are dropped."""
        self._first: list[str] = []
        self._kinds: set[str] | None = set() if once_each else None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._count = 0
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes; longer lines are cut to the limit."""
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LINE_BYTES]
        for line in whole:
            yield line[:_LINE_BYTES].decode(errors="backslashreplace").rstrip()

    def keep(self, data: bytes) -> None:
        """Keep the lines that `data` completes, except empty ones."""
        for line in self.feed(data):
            if line and not self._is_known(line):
                self._count += 1
                (self._first if len(self._first) < _FIRST_LINES else self._last).append(line)

    def _is_known(self, line: str) -> bool:
        if self._kinds is None:
            return False
        kind = _NUMBER.sub("", line)
        if len(self._first) == _FIRST_LINES:
            return kind in self._kinds
        self._kinds.add(kind)
        return False

    def lines(self) -> tuple[str, ...]:
        """The lines that were kept; one between them says how many were left out."""
        self.keep(b"\n")
        missing = self._count - len(self._first) - len(self._last)
        return (*self._first, *((f"({missing} more lines)",) if missing else ()), *self._last)


def start(
    command: Sequence[str | Path],
    *,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that signals from the terminal do not reach it.

    When the *thread* that started it ends, the kernel kills it (PR_SET_PDEATHSIG in prctl(2)), unless it is
    `detached`. `environment` is added to this process's, whose output it shares where that is None. Pipes
    have no buffer. Raises OSError.
    """
    return subprocess.Popen(
        [os.fspath(word) for word in command],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        bufsize=0,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        preexec_fn=None if detached else partial(_die_with_thread, os.getpid()),
        env={**os.environ, **environment} if environment else None,
    )


def start_python(
    program: str,
    descriptor: int,
    *,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = subprocess.DEVNULL,
    detached: bool = False,
) -> subprocess.Popen[bytes]:
    """Start this Python with the code `program`, and hand the open file `descriptor` to it; see `start`."""
    return start(
        # -P: a module in the current folder must not be imported instead of an installed one.
        (sys.executable, "-P", "-c", program),
        stdout=stdout,
        stderr=stderr,
        pass_fds=(descriptor,),
        environment={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        detached=detached,
    )


def run(
    command: Sequence[str | Path],
    *,
    seconds: float,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    detached: bool = False,
) -> Completed:
    """Run a short command to its end; what it left running in the background is not waited for.

    `detached`: it survives this thread. Raises OSError if it can't be started, and TimeoutError if it took
    more than `seconds` and was killed.
    """
    process = start(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, detached=detached)
    output, errors = bytearray(), BoundedLines()
    drains = (drain(process.stdout, _limited(output)), drain(process.stderr, errors.keep))
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"it did not answer in {seconds:.0f} s") from None
    finally:
        signal_group(process, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)
        for each in drains:
            each.join(_PIPE_SECONDS)
    return Completed(process.returncode, bytes(output), errors.lines())


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started: TERM, and KILL 5 s later; returns when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            signal_group(process, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_SECONDS)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program that was not waited for yet, and to what it started."""
    # Its process id can't be another's before it is waited for.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def signal_name(returncode: int) -> str:
    """The signal that ended a program; most real-time signals have no name."""
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-returncode).name}"
    return f"signal {-returncode}"


def drain(pipe: IO[bytes] | None, keep: Callable[[bytes], Any]) -> threading.Thread:
    """Read a pipe in a thread until its other end is closed, and close it; `keep` gets each piece.

    If it can't be read, `keep` gets a line that says so: what is missing must not look like nothing to say.
    """
    assert pipe is not None
    thread = threading.Thread(target=_drain, args=(pipe, keep), name="read a program's output", daemon=True)
    thread.start()
    return thread


def _drain(pipe: IO[bytes], keep: Callable[[bytes], Any]) -> None:
    with pipe:
        try:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                keep(data)
        except OSError as error:
            keep(f"\nits output can't be read: {cause(error)}\n".encode())


def _limited(output: bytearray) -> Callable[[bytes], None]:
    def keep(data: bytes) -> None:
        output.extend(data[: _OUTPUT_BYTES - len(output)])

    return keep


def _die_with_thread(parent: int) -> None:
    """In the child of the process `parent`: be killed when the thread that started it ends."""
    _PRCTL(_PR_SET_PDEATHSIG, _SIGKILL)
    # the kernel says nothing of a parent that was killed before
    if os.getppid() != parent:
        os._exit(1)
