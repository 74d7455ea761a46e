"""Calls a function every minute beside a long run, in a separate thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

SECONDS = 60.0


@contextmanager
def every_minute(act: Callable[[], object]) -> Iterator[None]:
    """Call `act` now and every minute until the block ends; it never ends or delays the run.

    `act` may run once more while the block ends; a call that hangs is abandoned.
    """
    ended = threading.Event()

    def beat() -> None:
        while True:
            try:
                act()
            except Exception:
                _log.exception("a look at how the run is doing failed")
            if ended.wait(SECONDS):
                return

    thread = threading.Thread(target=beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(SECONDS / 6)
