"""Recorders for tests in processes of their own, which crash or hang when they are asked to."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from camarchiver.errors import UsageError
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.record.supervision import camera_process
from camarchiver.record.supervision.member import Member
from camarchiver.record.watchdog import CameraMonitor

PROGRAM = "from tests.supervision.recorders import serve; serve({descriptor})"


@dataclass(frozen=True, slots=True)
class FakeRequest:
    """What each process of one camera is to do."""

    folder: Path
    deeds: tuple[str, ...]
    """In the first process, the second and so on; the last one is repeated."""
    reconnects: bool
    passed: float


class FakeRecorder:
    """Counts ten frames a second, and ends as it is told."""

    def __init__(self, deed: str, monitor: CameraMonitor) -> None:
        self.deed, self.monitor = deed, monitor
        self.error, self.outages, self.refused, self.frames = "", 0, 0, 0
        self.last_frame: float | None = None
        self.is_connected, self.is_full = True, False

    def run(self, stop: threading.Event) -> None:
        """Five frames, then the deed."""
        while not stop.wait(0.1):
            self.monitor.report("yard", "watching")
            self.monitor.frame("yard")
            self.frames += 1
            self.last_frame = time.time()
            if self.frames == 5 and self.deed not in ("go on", "linger"):
                self._do()
                break
        self.monitor.report("yard", "ended", away=True)
        if self.deed == "linger":
            time.sleep(3)

    def _do(self) -> None:
        # the messages of these frames are sent before it
        time.sleep(2 * camera_process.INTERVAL)
        if self.deed == "abort":
            os.abort()
        if self.deed == "hang":
            time.sleep(600)
        if self.deed == "fail":
            raise OSError(errno.EIO, "Input/output error", "/spool")
        if self.deed == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)


def serve(descriptor: int) -> None:
    """The process of a camera."""
    camera_process.serve(descriptor, _make)


def _make(request: FakeRequest, monitor: CameraMonitor, _: ExitStack) -> Member:
    count = len(list(request.folder.glob("start*")))
    (request.folder / f"start{count}").write_text(f"{request.passed:.2f}")
    deed = request.deeds[min(count, len(request.deeds) - 1)]
    if deed == "refuse":
        raise UsageError("it is not there", hint="plug it in")
    folders = Folders(request.folder / "spool", request.folder / "outbox")
    publisher = ClipPublisher("yard", folders, pictures=False, on_clip=lambda clip: None)
    keeper = OutboxKeeper("yard", request.folder, OutboxLimits(None, None), datetime.now)
    source = cast(Any, SimpleNamespace(name="yard", reconnects=request.reconnects))
    return Member("yard", source, cast(Any, FakeRecorder(deed, monitor)), publisher, keeper)
