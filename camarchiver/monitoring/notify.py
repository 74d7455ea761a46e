"""Reports how a run went: starts a command with the report, and pings a URL."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from camarchiver.errors import cause
from camarchiver.runtime import processes
from camarchiver.runtime.scratch_file import ScratchFile

_log = logging.getLogger(__name__)

Event = Literal["start", "success", "failure"]

NOTIFY_SECONDS = 60.0
"""The time that the command may take; then it is killed."""
PING_SECONDS = 10.0
"""The time that all tries of one ping may take together."""
_TRIES = 3
_PAUSE = 1.0
_PATHS = {"start": "/start", "success": "", "failure": "/fail"}
_BODY_BYTES = 10_000
"""The part of a message that healthchecks keeps."""


def notify(command: tuple[str, ...], document: Iterable[str], *, seconds: float = NOTIFY_SECONDS) -> bool:
    """Start the command with the document on its standard input; False, with a warning, if that fails."""
    # A file: a command that never reads its input can't block us, however long the report is.
    with closing(ScratchFile()) as report:
        for piece in document:
            report.append(piece.encode())
        try:
            done = processes.run(command, seconds=seconds, stdin=report.fileno(), detached=True)
        except TimeoutError:
            _log.warning("%s took longer than %.0f s to report this run and was killed", command[0], seconds)
            return False
        except (OSError, ValueError) as error:
            _log.warning("%s can't be started to report this run: %s", command[0], cause(error))
            return False
    if done.returncode:
        last = done.errors[-1] if done.errors else ""
        _log.warning("%s failed to report this run: exit %d: %s", command[0], done.returncode, last)
    return done.returncode == 0


class Pinger:
    """Sends pings one after another to a URL in the style of healthchecks; never fails, never hangs."""

    def __init__(self, url: str, *, seconds: float = PING_SECONDS) -> None:
        self._url = urlsplit(url)
        self._seconds = seconds
        self._under_way: threading.Thread | None = None

    def send(self, event: Event, message: str = "", *, wait: bool = True) -> None:
        """Send an event; without `wait` in the background, and before the next one."""
        before = self._under_way
        arguments = (before, event, message.encode("utf-8", "backslashreplace")[:_BODY_BYTES])
        # A thread: a socket's timeout limits neither a name server nor a server that trickles its answer.
        self._under_way = threading.Thread(target=self._try, args=arguments, name="ping", daemon=True)
        self._under_way.start()
        if wait:
            self._under_way.join(self._seconds * (2 if before else 1))
            if self._under_way.is_alive():
                _log.warning("%s did not answer the ping in %.0f s", self._url.hostname, self._seconds)

    def _try(self, before: threading.Thread | None, event: Event, body: bytes) -> None:
        if before is not None:
            before.join(self._seconds)
        until = time.monotonic() + self._seconds
        problem = ""
        for number in range(_TRIES):
            if number:
                time.sleep(_PAUSE)
            if (left := until - time.monotonic()) <= 0:
                break
            problem = _post(_address(self._url, event), body, left)
            if not problem:
                return
        _log.warning("%s did not take the ping: %s", self._url.hostname, problem)


def _address(url: SplitResult, event: Event) -> str:
    return url._replace(path=url.path.rstrip("/") + _PATHS[event]).geturl()


def _post(address: str, body: bytes, seconds: float) -> str:
    """What went wrong, without the URL, whose path is a secret; empty if nothing did."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "camarchiver", "Content-Type": "text/plain; charset=utf-8"}
    try:
        with urlopen(Request(address, body, headers, method="POST"), timeout=seconds) as answer:
            answer.read(1000)
    except HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except (URLError, OSError, HTTPException, ValueError) as error:
        return cause(error.reason if isinstance(error, URLError) else error)
    return ""
