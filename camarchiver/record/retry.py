"""How long to wait before the next attempt; pure."""

from __future__ import annotations

BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to wait before the next attempt to reach a camera; the last one repeats."""


def pause(failures: int) -> float:
    """Seconds to wait after this many attempts that brought nothing; 0 after one that did."""
    return BACKOFF[min(failures, len(BACKOFF) - 1)]
