"""The process of one camera: records, and reports its state to its parent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import CamarchiverError
from camarchiver.record.supervision.facts import CameraFacts, CameraFailure
from camarchiver.record.supervision.member import Member
from camarchiver.record.watchdog import CameraMonitor
from camarchiver.runtime import signals

INTERVAL = 0.5
"""Seconds between two messages to the parent."""


class Started(Struct, frozen=True):
    """The recorder holds its locks and begins."""

    reconnects: bool
    """Whether it makes sense to start it again; a file would be recorded twice."""


class StartRefused(Struct, frozen=True):
    """The recorder could not start, and another attempt would fail in the same way."""

    failure: CameraFailure


class CameraProgress(Struct, frozen=True):
    """What happened since the last message."""

    has_turned: bool
    """Whether the recorder's main loop has turned."""
    has_frame: bool
    """Whether a frame came of which motion would become a clip."""
    states: tuple[tuple[str, bool], ...]
    """What the recorder did, and whether no frames were expected meanwhile, in order."""
    frames: int
    last_frame: float | None
    facts: CameraFacts | None
    """None if nothing changed but the frames."""
    is_last: bool
    """Whether the recorder has ended, not by an error that another start may overcome."""


Message = Started | StartRefused | CameraProgress


def serve(descriptor: int, make: Callable[[Any, CameraMonitor, ExitStack], Member]) -> None:
    """Record as the first message from the parent asks, until the end or SIGTERM.

    `make` gets that message, and enters the recorder's locks into the stack.
    """
    connection = Connection(descriptor)
    with signals.on_signals() as stop, ExitStack() as locks:
        reports = _Reports(connection)
        try:
            member = make(connection.recv(), reports, locks)
        except (CamarchiverError, OSError) as error:
            connection.send(StartRefused(CameraFailure.of(error)))
            return
        connection.send(Started(member.source.reconnects))
        reports.begin(member)
        member.run(stop.event)
        reports.end()


class _Reports:
    """Collects what the recorder reports, and sends it in a thread: a busy parent holds no camera up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._has_turned = self._has_frame = False
        self._states: list[tuple[str, bool]] = []
        self._last_state: tuple[str, bool] | None = None
        self._last_facts: CameraFacts | None = None
        self._ended = threading.Event()

    def frame(self, camera: str) -> None:
        """Note a new frame of which motion would become a clip."""
        with self._lock:
            self._has_frame = True

    def report(self, camera: str, state: str, *, away: bool = False) -> None:
        """Note what the recorder does now."""
        with self._lock:
            self._has_turned = True
            if away:
                # a frame from before must not make the parent wait for the next one
                self._has_frame = False
            if (state, away) != self._last_state:
                self._last_state = state, away
                self._states.append(self._last_state)

    def begin(self, member: Member) -> None:
        """Send messages until the end."""
        self._member = member
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send the last message. A recorder that an error ended is to be started again, as after a crash."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.wait(INTERVAL):
                self._connection.send(self._progress(is_last=False))
            goes_on = self._member.error is not None and self._member.source.reconnects
            self._connection.send(self._progress(is_last=not goes_on))
        except OSError:
            # the parent died, and the kernel did not signal it: what is recorded is in the spool
            os._exit(1)

    def _progress(self, *, is_last: bool) -> CameraProgress:
        (facts,) = self._member.facts.cameras
        with self._lock:
            turned, frame, states = self._has_turned, self._has_frame, tuple(self._states)
            self._has_turned = self._has_frame = False
            self._states.clear()
        still = _without_frames(facts)
        changed = facts if still != self._last_facts or is_last else None
        self._last_facts = still
        return CameraProgress(turned, frame, states, facts.frames, facts.last_frame, changed, is_last)


def _without_frames(facts: CameraFacts) -> CameraFacts:
    return replace(facts, frames=0, last_frame=None)
