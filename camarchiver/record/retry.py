"""How long to wait before the next attempt; pure."""

from __future__ import annotations

BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to wait before the next attempt to reach a camera; the last one repeats."""
REFUSED = (10.0, 20.0, 30.0, 60.0)
"""The same after a camera refused a session: it may hold a dead one for a minute (RFC 2326 section 12.37)."""


def pause(failures: int, *, refused: bool = False) -> float:
    """Seconds to wait after this many attempts that brought nothing; 0 after one that did."""
    pauses = REFUSED if refused else BACKOFF
    # the first refusal is a failed attempt, the first loss is none
    return pauses[min(failures - 1 if refused and failures else failures, len(pauses) - 1)]
