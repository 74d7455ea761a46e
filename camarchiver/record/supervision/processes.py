"""A process for each camera: what crashes one recorder leaves the others alone."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from multiprocessing import connection as connections
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import cause
from camarchiver.record import retry
from camarchiver.record.supervision.camera_process import CameraProgress, Message, Started, StartRefused
from camarchiver.record.supervision.facts import CameraFacts, CameraFailure, RunFacts
from camarchiver.record.watchdog import ENDED, Watchdog
from camarchiver.runtime import processes
from camarchiver.runtime.formatting import shown

_log = logging.getLogger(__name__)

START_SECONDS = 30.0
"""How long all recorders may take to start before those that have started are reported as ready."""
HANG_SECONDS = 60.0
"""How long a recorder's main loop may stand still before its process is killed and started again."""
WELL_SECONDS = 60.0
"""A recorder that crashes after a longer time is started again as after the first crash."""
_TICK = 0.5
_REAP_SECONDS = 5.0


class CameraLaunch(Struct, frozen=True):
    """How a camera's process is started."""

    program: str
    """Python code that calls `camera_process.serve`; `{descriptor}` is that of its connection."""
    request: Callable[[float], object]
    """What it is asked to record, by the seconds that have passed since it was first started."""
    spool: Path
    outbox: Path


class CameraProcesses:
    """All cameras' processes; they die with the thread that makes and runs this."""

    def __init__(self, launches: Mapping[str, CameraLaunch], watchdog: Watchdog, stack: ExitStack) -> None:
        """Start a process for each camera; `stack` kills those that are left when it is closed.

        If no recorder can start, the last camera's error is raised.
        """
        self._cameras = [
            stack.enter_context(_CameraProcess(name, launch, watchdog)) for name, launch in launches.items()
        ]
        end = time.monotonic() + START_SECONDS
        while any(not each.has_answered for each in self._cameras) and time.monotonic() < end:
            self._receive()
        failures = self.facts.failures
        if len(failures) == len(launches):
            raise list(failures.values())[-1].error

    @property
    def facts(self) -> RunFacts:
        """What they did so far; any thread may ask."""
        known = [(each, each.refusal) for each in self._cameras]
        cameras = tuple(each.facts for each, refusal in known if refusal is None)
        return RunFacts(cameras, {each.name: refusal for each, refusal in known if refusal is not None})

    def run(self, stop: threading.Event) -> None:
        """Record until every camera has ended; a process that crashes is started again."""
        is_stopping = False
        while any(not each.is_over for each in self._cameras):
            if stop.is_set() and not is_stopping:
                is_stopping = True
                for each in self._cameras:
                    each.ask_to_end()
            self._receive()

    def _receive(self) -> None:
        """Handle what came within a moment, and start again what is due."""
        # with a limit, so that this thread still heeds signals
        ready = connections.wait([one.connection for one in self._cameras if one.connection], _TICK)
        if not ready:
            time.sleep(0 if any(one.connection for one in self._cameras) else _TICK)
        for each in self._cameras:
            if each.connection in ready:
                each.receive()
            each.look_after()


class _CameraProcess:
    """One camera's process, and the ones that take its place if it crashes."""

    def __init__(self, name: str, launch: CameraLaunch, watchdog: Watchdog) -> None:
        self.name = name
        self.connection: Connection | None = None
        """None while no process runs."""
        self.has_answered = False
        """Whether the first process said how its start went, or crashed."""
        self.is_over = False
        """Whether no process runs and none is started again."""
        self.refusal: CameraFailure | None = None
        """Why it could not start at first."""
        self.facts = CameraFacts(name, launch.spool, launch.outbox)
        """What all its processes did."""
        self._launch = launch
        self._watchdog = watchdog
        self._own = self.facts
        """What the running process did."""
        self._earlier: CameraFacts | None = None
        """What the processes did that crashed."""
        self._first = time.monotonic()
        self._reconnects = True
        self._began = self._turned = self._first
        """When the process was started, and when its main loop turned the last time."""
        self._is_stopping = self._is_ending = self._is_done = False
        self._refused_with = ""
        self._crashes = self._failures = 0
        self._due: float | None = None
        """When it is started again, in seconds of the monotonic clock."""

    def __enter__(self) -> _CameraProcess:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.connection is not None:
            self._reap()

    def ask_to_end(self) -> None:
        """Have it publish its clip and end; one that waits to be started again is not."""
        self._is_stopping, self._due = True, None
        if self.connection is None:
            self.is_over = True
        else:
            self._process.terminate()

    def receive(self) -> None:
        """Handle one message, or the end of the process."""
        assert self.connection is not None
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            self._ended(self._reap())
            return
        self.has_answered = True
        self._turned = time.monotonic() if not isinstance(message, CameraProgress) else self._turned
        match message:
            case Started():
                self._reconnects = message.reconnects
            case StartRefused():
                self._refused(message.failure)
            case CameraProgress():
                self._progress(message)
            case _:
                assert_never(message)

    def look_after(self) -> None:
        """Start it again when that is due, and kill it if it hangs."""
        now = time.monotonic()
        if self._due is not None and now >= self._due:
            self._due = None
            try:
                self._start()
            except OSError as error:
                # short of memory or processes, as when the first one was killed: the others go on
                self._failures += 1
                self._start_later(cause(error))
        may_wait = (self._is_stopping or self._is_ending) and not self._is_done
        if self.connection is not None and now - self._turned > HANG_SECONDS and not may_wait:
            _log.error("%s: its recorder hangs and is killed", shown(self.name))
            self._turned = now
            self._process.kill()

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            program = self._launch.program.format(descriptor=theirs.fileno())
            try:
                self._process = processes.start_python(program, theirs.fileno(), stdout=None, stderr=None)
            except OSError:
                ours.close()
                raise
        self.connection = ours
        self._began = self._turned = time.monotonic()
        self._is_ending, self._refused_with = False, ""
        self._own = CameraFacts(self.name, self._launch.spool, self._launch.outbox)
        # one that is dead already is heard of next
        with suppress(OSError):
            self.connection.send(self._launch.request(self._began - self._first))

    def _progress(self, message: CameraProgress) -> None:
        self._own = message.facts or self._own
        own = replace(self._own, frames=message.frames, last_frame=message.last_frame)
        self.facts = own.after(self._earlier)
        if message.has_turned or message.is_last:
            self._turned = time.monotonic()
        for state, away in message.states:
            self._is_ending = state == ENDED
            self._watchdog.report(self.name, state, away=away)
        if message.has_frame:
            self._watchdog.frame(self.name)
        self._is_done = message.is_last

    def _refused(self, failure: CameraFailure) -> None:
        if self._crashes:
            self._refused_with = failure.problem.message
            return
        self.refusal, self._is_done = failure, True
        self._watchdog.report(self.name, "failed", away=True)

    def _ended(self, status: str) -> None:
        """Start the recorder again if it did not end by itself, with what it left in the spool."""
        self.has_answered = True
        if self._is_done:
            self.is_over = True
            return
        failure = self.facts.failure
        why = self._refused_with or (failure.problem.message if failure is not None else status)
        self._crashes += 1
        self._failures = 0 if time.monotonic() - self._began > WELL_SECONDS else self._failures + 1
        self._watchdog.report(self.name, "crashed", away=True)
        self._earlier = replace(
            self.facts, is_connected=False, is_full=False, crashes=self._crashes, crash=why, failure=None
        )
        self.facts = self._earlier
        self.is_over = self._is_stopping or not self._reconnects
        if self.is_over:
            _log.error("%s: its recorder crashed: %s", shown(self.name), why)
            return
        self._start_later(why)

    def _start_later(self, why: str) -> None:
        pause = retry.pause(self._failures)
        self._due = time.monotonic() + pause
        _log.error("%s: its recorder crashed (%s); it starts again in %.0f s", shown(self.name), why, pause)

    def _reap(self) -> str:
        """End the process, if it has not ended; returns how it did."""
        assert self.connection is not None
        self.connection.close()
        self.connection = None
        with suppress(subprocess.TimeoutExpired):
            return _status(self._process.wait(_REAP_SECONDS))
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            return _status(self._process.wait(_REAP_SECONDS))
        return "it can't be killed"


def _status(code: int) -> str:
    return f"exit code {code}" if code >= 0 else processes.signal_name(code)
