"""Converts what a pattern's groups matched to times. Called for every name, so it is kept cheap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

from camarchiver.naming.folders import FULL_DATE, date_within

Groups = Mapping[str, str | None]
"""Text by the name of the group; None for a group that did not take part in the match."""

GROUPS = frozenset(
    {"camera", "channel", "time", "unix", *FULL_DATE, "hour", "minute", "second"}
    | {"millisecond", "ampm", "end", "duration", "utc"}
)
"""The groups that a pattern may have; `naming.patterns.Pattern` explains them."""

LONGEST_SECONDS = 1e9
"""No clip lasts for thirty years, whatever its name, its header or its journal line says."""

_EPOCH = datetime(1970, 1, 1)
_UNIX_MILLISECONDS = 13
"""Digits of a Unix time in milliseconds, from 2001 to 2286."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ZONE = re.compile(r"(?:UTC|GMT|Z)?\s*(?:([+-])(\d\d?)[:_.]?(\d\d)?)?", re.ASCII | re.IGNORECASE)


def start_of(found: Groups, folder: str) -> datetime:
    """The start that a name gives, naive. Raises ValueError or OverflowError for an impossible time."""
    if text := found.get("time"):
        start = _moment(text, None, folder)
    elif unix := found.get("unix"):
        start = unix_time(unix)
    else:
        hour, minute, second = (int(found.get(part) or 0) for part in ("hour", "minute", "second"))
        start = datetime.combine(_day(found, folder), time(hour, minute, second))
    if half := found.get("ampm"):
        start = start.replace(hour=_hour(start.hour, half))
    if millisecond := found.get("millisecond"):
        start = start.replace(microsecond=int(millisecond) * 1000)
    return start


def duration_of(found: Groups, start: datetime) -> float | None:
    """Seconds, if the name has an end or a duration that are possible."""
    if (seconds := found.get("duration")) is not None:
        length = timedelta(seconds=float(seconds))
    elif (end := found.get("end")) is None:
        return None
    elif "unix" in found:
        length = unix_time(end) - start
    else:
        whole = start.replace(microsecond=0) if start.microsecond else start
        length = _moment(end, start.date(), "") - whole
        if length.days < 0 and len(_digits(end)) == 6:  # only a clock time: midnight lies between
            length %= timedelta(days=1)
    length_seconds = length.total_seconds()
    return length_seconds if 0 <= length_seconds <= LONGEST_SECONDS else None


def offset_of(text: str) -> timedelta:
    """How far ahead of UTC `+0100`, `-08_00`, `GMT+1` is; 0 for `Z`, `UTC`, `GMT` or an empty group.

    Raises ValueError for any other text: the name of a zone such as `EST` is not the same offset everywhere.
    """
    if not text:
        return timedelta(0)
    match = _ZONE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, hours, minutes = match.groups()
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    return -ahead if sign == "-" else ahead


def unix_time(text: str) -> datetime:
    """UTC, naive, of seconds or, with 13 digits, milliseconds since 1970."""
    if len(text) == _UNIX_MILLISECONDS:
        return _EPOCH + timedelta(milliseconds=int(text))
    return _EPOCH + timedelta(seconds=int(text))


def _moment(text: str, day: date | None, folder: str) -> datetime:
    digits = _digits(text)
    if len(digits) == 6:
        digits = f"{day or date_within(folder):%Y%m%d}{digits}"
    if len(digits) != 14:
        raise ValueError(text)
    # This takes a twentieth of the time of strptime.
    return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}")


def _digits(text: str) -> str:
    """The digits of a time; most makers write none or one other character between date and clock."""
    if text.isdigit():
        return text
    likely = text[:8] + text[9:]
    return likely if likely.isdigit() else "".join(filter(str.isdigit, text))


def _day(found: Groups, folder: str) -> date:
    year = found.get("year") or ""
    if not year:
        return date_within(folder)
    century = 2000 if len(year) == 2 else 0
    return date(century + int(year), _month(found.get("month") or ""), int(found.get("day") or 0))


def _month(text: str) -> int:
    """The month of a number, or of an English name of which the first three letters count."""
    if text.isdecimal():
        return int(text)
    return _MONTHS.index(text[:3].lower()) + 1


def _hour(hour: int, half: str) -> int:
    """The hour of a 24-hour clock; `half` begins with A or P."""
    if not 1 <= hour <= 12 or half[0].lower() not in "ap":
        raise ValueError(half)
    return hour % 12 + (12 if half[0].lower() == "p" else 0)
