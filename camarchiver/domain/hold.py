"""Whether a hold covers a clip; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from camarchiver.domain.clip import Clip
from camarchiver.naming.cameras import comparable

SLOWEST = 250
"""Bytes per second below which no camera records."""

LONGEST = 172_800.0
"""Seconds that one clip lasts at most."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A time range, of one camera or of all, that nothing may remove."""

    id: str
    start: datetime
    end: datetime
    camera: str = ""
    reason: str = ""
    until: datetime | None = None
    """When the hold itself lapses."""

    @property
    def words(self) -> str:
        """Which hold it is, and the reason that was given."""
        return f"by hold {self.id}" + (f": {self.reason}" if self.reason else "")

    def covers(self, camera: str, start: datetime, end: datetime, now: datetime) -> bool:
        """Whether a clip of this camera between these moments is held."""
        lapsed = self.until is not None and self.until <= now
        return (
            not lapsed and comparable(self.camera) in ("", camera) and start <= self.end and end >= self.start
        )


def held_by(clip: Clip, holds: Iterable[Hold], now: datetime) -> Hold | None:
    """The hold that covers a clip; a clip of unknown duration counts as an hour long."""
    seconds = timedelta(hours=1) if clip.duration is None else timedelta(seconds=clip.duration)
    # In UTC, because local time may change by an hour within a clip.
    end = clip.start.astimezone(UTC) + seconds
    return next((hold for hold in holds if hold.covers(clip.camera, clip.start, end, now)), None)


def may_reach(clip: Clip, holds: Iterable[Hold], now: datetime) -> bool:
    """Whether a clip of unknown duration begins so shortly before a hold that its end decides.

    Its size gives its greatest possible length.
    """
    if clip.duration is not None:
        return False
    start = clip.start.timestamp()
    longest = min(max(3600.0, clip.fingerprint.size / SLOWEST), LONGEST)
    return any(
        0 < hold.start.timestamp() - start <= longest and hold.covers(clip.camera, hold.start, hold.end, now)
        for hold in holds
    )
