"""Reports the state of each camera to systemd; only new frames feed its watchdog."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from camarchiver.runtime.systemd import Service

ENDED = "ended"
"""The state of a recorder that was stopped, or whose source ended."""


class CameraMonitor(Protocol):
    """Receives the state of a camera's recorder, in this process or another."""

    def frame(self, camera: str) -> None:
        """Note a new frame of which motion would become a clip."""
        ...

    def report(self, camera: str, state: str, *, away: bool = False) -> None:
        """Note what a camera's recorder does now; it is called several times a second."""
        ...


class Watchdog:
    """The watchdog of all cameras of one run.

    With one camera the watchdog triggers when no frame comes. With several, a camera that is known to be away
    is not waited for; one that sends nothing and is not known to be away has a recorder that hangs.
    """

    def __init__(self, service: Service, cameras: Iterable[str]) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._states = dict.fromkeys(cameras, "waiting")
        self._frames = dict.fromkeys(self._states, time.monotonic())
        """Arrival of the last frame of each camera that is not known to be away."""

    def begin(self) -> None:
        """Report that everything is set up and recording begins."""
        self._service.ready(self._status())

    def frame(self, camera: str) -> None:
        """Note a new frame, and feed the watchdog if all cameras are alive."""
        with self._lock:
            now = self._frames[camera] = time.monotonic()
            span = self._service.beat_seconds
            if span is not None and min(self._frames.values()) > now - span:
                self._service.beat()

    def report(self, camera: str, state: str, *, away: bool = False) -> None:
        """Report what a camera's recorder does now; `away` means that no frames are expected of it."""
        with self._lock:
            if away:
                self._frames.pop(camera, None)
            if self._states.get(camera) != state:
                self._states[camera] = state
                self._service.status(self._status())

    def end(self) -> None:
        """Report that a clean stop has begun."""
        self._service.stopping()

    def _status(self) -> str:
        return "; ".join(f"{camera}: {state}" for camera, state in self._states.items())
