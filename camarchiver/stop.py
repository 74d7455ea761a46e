"""Turns the first SIGINT, SIGTERM or SIGHUP into a wish to stop; later ones change nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopper(Protocol):
    """Anything that can tell whether work is to end."""

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

    def __bool__(self) -> bool:
        return self.event.is_set()

    def ask(self, number: int) -> None:
        """Ask for a clean stop; only the first signal is remembered."""
        if self.signal is None:
            self.signal = number
        self.event.set()
        if self._interrupts:
            raise KeyboardInterrupt

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Meanwhile a signal raises KeyboardInterrupt: Python would go on with a read that it broke off."""
        self._interrupts = True
        try:
            if self:
                raise KeyboardInterrupt
            yield
        finally:
            self._interrupts = False


@contextmanager
def on_signals() -> Iterator[Stop]:
    """A `Stop` that the process's signals set; the handlers before are put back at the end.

    A signal that was ignored from outside (`nohup`) stays ignored.
    """
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
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
