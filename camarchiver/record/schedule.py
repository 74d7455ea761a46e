"""When motion is recorded: ranges of the local clock, on all or some weekdays."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from msgspec import Struct

from camarchiver.errors import UsageError

_DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_RANGE = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_DAY = 24 * 60
_HINT = "write for example 08:00-18:00, mo-fr 18:00-06:00 or sa,su 00:00-24:00"


class Range(Struct, frozen=True):
    """One range; if its end is not after its start, it extends into the next day."""

    days: frozenset[int]
    """Of its start; Monday is 0."""
    start: int
    """Minutes after midnight of the local clock, included."""
    end: int
    """Likewise, excluded; up to 1440."""

    def includes(self, moment: datetime) -> bool:
        """Whether a moment of the local clock lies within the range.

        The shown time counts, also when the clock was put forward or back.
        """
        minute = moment.hour * 60 + moment.minute
        today = moment.weekday() in self.days
        if self.start < self.end:
            return today and self.start <= minute < self.end
        yesterday = (moment - timedelta(days=1)).weekday() in self.days
        return (today and minute >= self.start) or (yesterday and minute < self.end)


def includes(ranges: tuple[Range, ...], moment: datetime) -> bool:
    """Whether to record at a moment of the local clock; always if there are no ranges."""
    return not ranges or any(one.includes(moment) for one in ranges)


def parse(text: str) -> tuple[Range, ...]:
    """Read `[DAYS] HH:MM-HH:MM[,HH:MM-HH:MM]`, DAYS as `mo-fr` or `sa,su`. Raises UsageError."""
    *days, clock = text.lower().split() or [""]
    if not clock or len(days) > 1:
        raise UsageError(f"schedule {text!r} is not understood", hint=_HINT)
    return tuple(
        Range(_weekdays(days[0], text) if days else frozenset(range(7)), *_span(part, text))
        for part in clock.split(",")
    )


def _weekdays(words: str, text: str) -> frozenset[int]:
    chosen: set[int] = set()
    for word in words.split(","):
        first, dash, last = word.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise UsageError(f"schedule {text!r} names an unknown weekday", hint=_HINT)
        begin = _DAYS.index(first)
        count = (_DAYS.index(last) - begin) % 7 if dash else 0
        chosen.update((begin + step) % 7 for step in range(count + 1))
    return frozenset(chosen)


def _span(part: str, text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(part)
    if match is None:
        raise UsageError(f"schedule {text!r} is not understood", hint=_HINT)
    hour, minute, end_hour, end_minute = map(int, match.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if minute > 59 or end_minute > 59 or start >= _DAY or end > _DAY or start == end:
        raise UsageError(f"schedule {text!r} has a time that no clock shows, or no length", hint=_HINT)
    return start, end
