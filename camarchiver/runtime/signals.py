"""Turns the first SIGINT, SIGTERM or SIGHUP into a request for a clean stop, and ends waits."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


NAMED = 3
"""Pieces of work that are named when a run is stopped."""


class Stopper(Protocol):
    """Anything that can say whether work is to end."""

    def is_set(self) -> bool: ...


class AnyOf:
    """Set as soon as one of its parts is."""

    def __init__(self, *parts: Stopper) -> None:
        self._parts = parts

    def is_set(self) -> bool:
        return any(part.is_set() for part in self._parts)


class Stop:
    """Whether the run is to end, and by which signal."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal: int | None = None
        self._interrupts = False
        self._work: dict[int, str] = {}

    def __bool__(self) -> bool:
        return self.event.is_set()

    def ask(self, number: int) -> None:
        """Request a clean stop; only the first signal is remembered."""
        if self.signal is None:
            self.signal = number
            if not self._interrupts and sys.stderr.isatty():
                # This may interrupt a print: standard error's own buffer is not touched.
                os.write(2, f"\r\n{self.words()}\r\n".encode("utf-8", "backslashreplace"))
        self.event.set()
        if self._interrupts:
            raise KeyboardInterrupt

    @contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Meanwhile a stop waits for this."""
        key = threading.get_ident()
        self._work[key] = name
        try:
            yield
        finally:
            del self._work[key]

    def words(self) -> str:
        """That the run stops, and what it waits for."""
        names = sorted(self._work.copy().values())
        if not names:
            return "stopping"
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return (
            f"stopping: waits until what was begun is finished or put back: {', '.join(names[:NAMED])}{more}"
        )

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Meanwhile a signal raises KeyboardInterrupt: Python would otherwise resume an interrupted read."""
        self._interrupts = True
        try:
            if self:
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False


class WakePipe:
    """Ends a wait in `select.poll`: a pipe that any thread or signal handler can write to."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Readable once `wake` was called."""
        return self._reader

    def wake(self) -> None:
        """End the current wait, or the next one."""
        # A full pipe is readable already, so an error needs no handling.
        with suppress(OSError):
            os.write(self._writer, b"!")

    def clear(self) -> None:
        """Prepare for the next call of `wake`."""
        with suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                continue

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """Meanwhile every signal that has a handler ends the wait; for the main thread."""
        before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._reader)
        os.close(self._writer)


@contextmanager
def on_signals(*, reload: threading.Event | None = None) -> Iterator[Stop]:
    """A `Stop` that the process's signals set; the former handlers are restored at the end.

    With `reload`, SIGHUP sets that event instead. A signal ignored by the caller (`nohup`) stays ignored.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if reload is not None and number == signal.SIGHUP:
            reload.set()
        else:
            stop.ask(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    watched = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    for number in watched:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number in watched:
            signal.signal(number, before[number])
