"""Whether a hold covers a clip; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from camarchiver.domain.clip import Clip
from camarchiver.domain.clocks import wall_seconds
from camarchiver.naming.folders import comparable

SLOWEST = 250
"""Bytes per second below which no camera records."""

LONGEST = 172_800.0
"""Seconds that one clip lasts at most."""

_UNKNOWN = 3600.0
"""Seconds that a clip of unknown duration counts as."""

_DAY = 86_400.0
"""Seconds; no zone's clock differs from UTC by as much."""


class Hold(Struct, frozen=True, dict=True):
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

    @cached_property
    def first(self) -> float:
        """Its first moment in seconds since 1970; a plan asks for every clip."""
        return self.start.timestamp()

    @cached_property
    def last(self) -> float:
        """Its last moment in seconds since 1970."""
        return self.end.timestamp()

    @cached_property
    def _camera(self) -> str:
        return comparable(self.camera)

    def is_about(self, camera: str, now: datetime) -> bool:
        """Whether it is about this camera and has not lapsed."""
        return self._camera in ("", camera) and (self.until is None or self.until > now)

    def may_concern(self, clip: Clip, now: datetime) -> bool:
        """Whether it is about the clip's camera, and near it in time, whatever the clip's zone is."""
        if not self.is_about(clip.camera, now):
            return False
        if clip.corrected is not None:
            return True
        wall, written = wall_seconds(clip.start), clip.written_ns / 1e9
        margin = _DAY + (LONGEST if clip.duration is None else clip.duration)
        first, last = self.first - margin, self.last + margin
        is_before, is_after = wall < first and written < first, wall > last and written > last
        return not is_before and not is_after


def held_by(clip: Clip, holds: Iterable[Hold], now: datetime) -> Hold | None:
    """The hold that covers a clip by any of its clocks; one of unknown duration counts as an hour long."""
    spans: tuple[tuple[float, float], ...] = ()
    for hold in holds:
        # Most clips are far away, and to find out their times in their zone takes longer.
        if hold.may_concern(clip, now):
            spans = spans or tuple(_spans(clip))
            if any(first <= hold.last and last >= hold.first for first, last in spans):
                return hold
    return None


def _spans(clip: Clip) -> Iterator[tuple[float, float]]:
    """The times that a clip may show, in seconds since 1970: by its name, as corrected, and by its file.

    The file's time is that of the end. It means nothing if the owner said so.
    """
    seconds = _UNKNOWN if clip.duration is None else clip.duration
    start = clip.start.timestamp()
    yield start, start + seconds
    if clip.corrected is not None and clip.corrected != clip.start:
        corrected = clip.corrected.timestamp()
        yield corrected, corrected + seconds
    if clip.corrected != clip.start:
        written = clip.written_ns / 1e9
        yield (max(written - seconds, start) if start <= written else written - seconds), written


def may_reach(clip: Clip, holds: Iterable[Hold], now: datetime) -> bool:
    """Whether a clip of unknown duration lies so near a hold that its length decides.

    It may begin before the hold and reach into it, or, by its file's time, end after it and begin in it.
    Its size gives its greatest possible length.
    """
    if clip.duration is None:
        for hold in holds:
            if hold.may_concern(clip, now) and _may_reach(clip, hold):
                return True
    return False


def _may_reach(clip: Clip, hold: Hold) -> bool:
    longest = min(max(_UNKNOWN, clip.fingerprint.size / SLOWEST), LONGEST)
    start, written = clip.start.timestamp(), clip.written_ns / 1e9
    starts = (start,) if clip.corrected is None else (start, clip.corrected.timestamp())
    # A clip that begins after the hold by its name, and ends later, does not reach back into it.
    ends_after = 0 < written - hold.last <= longest and not hold.last < start <= written
    return ends_after or any(0 < hold.first - each <= longest for each in starts)
