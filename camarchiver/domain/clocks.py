"""Which of a camera's clocks is right: doubt between a clip's name and its file, and the owner's settings.

A camera without a battery begins in 1970 or 2000 after each power failure, another one is a time zone off,
and a tree that was copied may have lost its files' times. Only the owner can know which of them it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.domain.clip import Clip

DOUBTFUL = timedelta(days=1)
"""How far name and clock may differ before one of them must be wrong (docs/architecture.md, section 7)."""

_DOUBTFUL_SECONDS = DOUBTFUL.total_seconds()
_AHEAD, _BEHIND = 14 * 3600, 12 * 3600
"""Seconds by which the clocks of zones are at most ahead of UTC, and behind it."""
_SLACK = 86_400
"""Seconds, more than any zone's clock is changed by: days before a moment are counted by that clock."""
_YEAR_1 = datetime(1970, 1, 1).toordinal() * 86_400
"""Seconds from the day before the year 1 to 1970."""
_FIRST, _LAST = datetime(1, 1, 2), datetime(9999, 12, 31)
"""The first and the last day that a datetime can hold in every zone."""
_AGREED_SECONDS = 3600.0
"""A clip of unknown length whose file was last written within this after its start has one time."""
_SHIFT = re.compile(
    r"(?P<sign>[+-])(?:(?P<years>\d{1,3})y)?(?:(?P<weeks>\d{1,4})w)?(?:(?P<days>\d{1,5})d)?"
    r"(?:(?P<hours>\d{1,6})h)?(?:(?P<minutes>\d{1,7})m)?(?:(?P<seconds>\d{1,8})s)?",
    re.ASCII,
)


class TrustedClock(StrEnum):
    """Which of a camera's clocks is right."""

    NAMES = "names"
    """The times in the names; the files' times mean nothing."""
    MTIME = "mtime"
    """The files' modification times; the times in the names mean nothing."""
    SHIFTED = "shifted"
    """The times in the names, once they are corrected."""


class CameraClock(Struct, frozen=True):
    """What the owner configured for one camera's clock."""

    trusted: TrustedClock
    years: int = 0
    """What to add to the time in a name."""
    span: timedelta = timedelta(0)
    """The same, after the years."""

    def corrected(self, clip: Clip) -> datetime | None:
        """When a clip was really recorded; None if this word says nothing about it.

        A shift applies only to clips whose name and file then agree within a day: the camera may have been
        right at other times, and one that falls back at each power failure is off by another span each time.
        """
        match self.trusted:
            case TrustedClock.NAMES:
                return clip.start
            case TrustedClock.MTIME:
                return _by_mtime(clip)
            case TrustedClock.SHIFTED:
                return self._shifted(clip)

    def _shifted(self, clip: Clip) -> datetime | None:
        start, written = clip.start, clip.written_ns / 1e9
        is_leap_day = (start.month, start.day) == (2, 29)
        # A year later there is no such day; the next one stands for it.
        anniversary = start.replace(month=3, day=1) if is_leap_day and self.years % 4 else start
        try:
            shifted = anniversary.replace(year=start.year + self.years).astimezone(UTC) + self.span
        except (ValueError, OverflowError):
            return None
        off = abs(shifted.timestamp() - written)
        is_better = off <= _DOUBTFUL_SECONDS and off < abs(start.timestamp() - written)
        return shifted.astimezone(start.tzinfo) if is_better else None


def _by_mtime(clip: Clip) -> datetime:
    """The start by the file's time, which is that of a clip's end; the name's time if the two agree."""
    written = clip.written_ns / 1e9
    after = written - clip.start.timestamp()
    if 0 <= after <= (_AGREED_SECONDS if clip.duration is None else clip.duration + 60.0):
        return clip.start
    return datetime.fromtimestamp(written - (clip.duration or 0.0), clip.start.tzinfo)


class ClockCorrection(Struct, frozen=True):
    """Which clock is right for the clips of one camera whose names lie between two moments."""

    id: str
    camera: str
    start: datetime
    end: datetime
    """Exclusive."""
    word: str
    """As `parse_clock` reads it."""
    clock: CameraClock
    reason: str

    def covers(self, clip: Clip) -> bool:
        """Whether it is about this clip."""
        return clip.camera == self.camera and self.start <= clip.start < self.end


class Clocks(Struct, frozen=True):
    """What the owner said of the clocks of all cameras."""

    cameras: Mapping[str, CameraClock] = field(default_factory=dict)
    names_everywhere: bool = False
    """Whether the times in the names are right for every camera without a setting of its own."""
    corrections: tuple[ClockCorrection, ...] = ()
    """For ranges of times, oldest first: the newest one that covers a clip counts, before `cameras`."""

    def __bool__(self) -> bool:
        return bool(self.cameras) or self.names_everywhere or bool(self.corrections)

    def applied(self, clip: Clip) -> Clip:
        """The clip, with the time of its recording if the owner corrected its clock."""
        covering = (each.clock for each in reversed(self.corrections) if each.covers(clip))
        own = next(covering, None) or self.cameras.get(clip.camera)
        if own is None:
            return replace(clip, corrected=clip.start) if self.names_everywhere else clip
        corrected = own.corrected(clip)
        return clip if corrected is None else replace(clip, corrected=corrected)


def is_doubtful(clip: Clip, now: datetime) -> bool:
    """Whether nobody knows when a clip was recorded.

    Its name and its file differ by more than a day, and the owner has not said which of them is right; or it
    comes from the future.
    """
    start, written = clip.start, clip.written_ns / 1e9
    if clip.corrected is None:
        local = wall_seconds(start)
        is_near = _BEHIND - _DOUBTFUL_SECONDS <= written - local <= _DOUBTFUL_SECONDS - _AHEAD
        if is_near and local <= _seconds(now) + _DOUBTFUL_SECONDS - _BEHIND:
            return False
    if clip.recorded > now + DOUBTFUL:
        return True
    return clip.corrected is None and abs(start.timestamp() - written) > _DOUBTFUL_SECONDS


def latest_time(clip: Clip) -> datetime:
    """The time by which rules by age count: a clip's latest, or the one that the owner trusts."""
    if clip.corrected is not None:
        return clip.corrected
    return max(clip.start, file_time(_latest_ns(clip), clip.start.tzinfo))


def as_recorded(clip: Clip) -> Clip:
    """The clip with the times of its source alone.

    An archive that was copied to another disk may have a new time. Nothing was recorded then.
    """
    print_of, written_ns = clip.fingerprint, clip.written_ns
    if print_of.mtime_ns <= written_ns:
        return clip
    return replace(clip, fingerprint=replace(print_of, mtime_ns=written_ns))


def _latest_ns(clip: Clip) -> int:
    return max(clip.written_ns, clip.fingerprint.mtime_ns)


def earliest_time(clip: Clip) -> datetime:
    """The earlier one of what a clip's name and its file say."""
    return min(clip.start, file_time(clip.written_ns, clip.start.tzinfo))


def file_time(mtime_ns: int, zone: tzinfo | None) -> datetime:
    """A file's time; one that no datetime can hold counts as the first or the last of all."""
    try:
        return datetime.fromtimestamp(mtime_ns / 1e9, zone)
    except (OverflowError, ValueError, OSError):
        return (_FIRST if mtime_ns < 0 else _LAST).replace(tzinfo=zone)


def has_age(clip: Clip, age: timedelta, now: datetime) -> bool:
    """Whether a clip's latest time is at least this long ago; `latest_time` decides where it is close."""
    if clip.corrected is None:
        limit = _seconds(now) - age.total_seconds()
        written = _latest_ns(clip) / 1e9
        if written > limit + _SLACK:
            return False
        if max(written, wall_seconds(clip.start) + _BEHIND) < limit - _SLACK:
            return True
    return latest_time(clip) <= now - age


def wall_seconds(start: datetime) -> int:
    """Seconds since 1970 by the clock on the wall.

    Asking a time zone takes most of the time of a plan. What this number decides for every zone needs no
    zone: they differ from UTC by `_BEHIND` to `_AHEAD`.
    """
    return start.toordinal() * 86_400 + start.hour * 3600 + start.minute * 60 + start.second - _YEAR_1


@lru_cache(maxsize=8)
def _seconds(now: datetime) -> float:
    """Seconds since 1970; asked for every clip with the moment of the plan."""
    return now.timestamp()


def parse_clock(text: str) -> CameraClock:
    """The word `names`, `mtime`, or a correction such as `+26y3d` or `-1h`. Raises ValueError."""
    if text in (TrustedClock.NAMES, TrustedClock.MTIME):
        return CameraClock(TrustedClock(text))
    found = _SHIFT.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ValueError(text)
    sign = -1 if found["sign"] == "-" else 1
    parts = {unit: sign * int(count) for unit, count in found.groupdict().items() if count and unit != "sign"}
    if not any(parts.values()):
        raise ValueError(text)
    years = parts.pop("years", 0)
    return CameraClock(TrustedClock.SHIFTED, years, timedelta(**parts))
