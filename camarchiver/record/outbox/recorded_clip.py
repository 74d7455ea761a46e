"""What came of recorded clips: each as a value, the sums of one camera, and the newest of a run of months."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from msgspec import Struct

KEPT = 1000
"""Items that a history holds."""

T = TypeVar("T")


class Recorded(Struct, frozen=True):
    """The result of one clip."""

    path: Path
    """In the outbox; in the spool if publishing failed."""
    start: datetime
    seconds: float
    frames: int
    lost: int
    """Frames missing according to the camera's timestamps."""
    preroll: float
    """Seconds before the motion."""
    latency: float
    """Seconds from the start of the motion to the decision to record it."""
    peak: float
    """Largest moving area, in percent of the picture."""
    zone: str
    published: bool
    unsynced: bool = False
    """The start comes from a clock that no time server had set."""
    error: str = ""
    """Why it was not published, or why it ended early."""

    def fields(self) -> dict[str, object]:
        """The fields of the log's line and of the JSON document."""
        return {
            "path": str(self.path),
            "start": self.start.isoformat(),
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "lost": self.lost,
            "preroll": round(self.preroll, 3),
            "latency": round(self.latency, 3),
            "peak": round(self.peak, 3),
            "zone": self.zone,
            **({"clock": "unsynced"} if self.unsynced else {}),
            **({"error": self.error} if self.error else {}),
        }


class PublishTotals(Struct, frozen=True):
    """The totals of one camera's clips."""

    published: int = 0
    failed: int = 0
    with_errors: int = 0
    """Clips with an error, published or not."""
    lost: int = 0
    """Frames."""
    seconds: float = 0.0
    """Of published clips."""

    def with_clip(self, clip: Recorded) -> PublishTotals:
        """The totals with one more clip."""
        return PublishTotals(
            self.published + clip.published,
            self.failed + (not clip.published),
            self.with_errors + bool(clip.error),
            self.lost + clip.lost,
            self.seconds + (clip.seconds if clip.published else 0.0),
        )

    def plus(self, other: PublishTotals) -> PublishTotals:
        """The sums of both."""
        return PublishTotals(
            self.published + other.published,
            self.failed + other.failed,
            self.with_errors + other.with_errors,
            self.lost + other.lost,
            self.seconds + other.seconds,
        )


class BoundedHistory(Generic[T]):
    """Takes any number of items and holds the last `KEPT` of them.

    One thread may add while another reads.
    """

    def __init__(self) -> None:
        self._kept: deque[T] = deque(maxlen=KEPT)
        self.count = 0
        """How many there were in all."""

    def append(self, item: T) -> None:
        """Add one item."""
        self._kept.append(item)
        self.count += 1

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept.copy())
