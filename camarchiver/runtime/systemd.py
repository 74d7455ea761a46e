"""Reports the state of a long run to systemd, with its notify protocol (sd_notify(3))."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping

from camarchiver.errors import cause

_log = logging.getLogger(__name__)

_SEND_SECONDS = 5.0
"""Seconds that a message may wait while the manager is busy; then it is lost and the run goes on."""


class Service:
    """The manager that started this process; without one every message is dropped.

    A message that can't be delivered is logged once and never fails the run.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.beat_seconds = _beat_seconds(environment)
        """The longest time between two calls of `beat`; None without a watchdog."""
        self._last_beat = float("-inf")
        self._unreachable = False

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is complete."""
        self._send("READY=1", *_status(status))

    def status(self, text: str) -> None:
        """What the run is doing, for `systemctl status`."""
        self._send(*_status(text))

    def reloading(self) -> None:
        """The configuration is being read again; `ready` must follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> None:
        """A clean stop has begun."""
        self._send("STOPPING=1", *_status(status))

    def beat(self) -> None:
        """Report to the watchdog that the main loop is alive; it may be called at any rate."""
        if self.beat_seconds is None:
            return
        now = time.monotonic()
        if now - self._last_beat >= self.beat_seconds / 2:
            self._last_beat = now
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        message = "\n".join(lines).encode("utf-8", "backslashreplace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.settimeout(_SEND_SECONDS)
                connection.sendto(message, self._address)
            self._unreachable = False
        except OSError as error:
            if not self._unreachable:
                self._unreachable = True
                _log.warning("the service manager can't be informed of the run: %s", cause(error))


def is_managed(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a service manager started this process, so that SIGHUP asks for a reload.

    Shells inherit systemd's variables from a terminal that runs as a service; they have a terminal, a
    service has none, and a terminal's SIGHUP means that it was closed.
    """
    if not (environment.get("NOTIFY_SOCKET") or environment.get("INVOCATION_ID")):
        return False
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
        return False
    return True


def _address(name: str) -> str | None:
    """The address: a path, or with its first `@` as a NUL a name in Linux' abstract namespace."""
    if name.startswith("/"):
        return name
    if name.startswith("@") and len(name) > 1:
        return "\0" + name[1:]
    return None


def _beat_seconds(environment: Mapping[str, str]) -> float | None:
    """Half of the watchdog's timeout, as sd_watchdog_enabled(3) advises."""
    owner, span = environment.get("WATCHDOG_PID", ""), environment.get("WATCHDOG_USEC", "")
    if not span.isdecimal() or int(span) == 0:
        return None
    if owner and owner != str(os.getpid()):
        return None
    return int(span) / 2_000_000


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()
