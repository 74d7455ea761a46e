"""Reads camera and time from a clip's name, by the makers' patterns and the user's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import NamedTuple

from camarchiver.errors import ConfigError
from camarchiver.naming.cameras import comparable
from camarchiver.naming.folders import FULL_DATE, NO_CAMERA, camera_of_folder, date_within
from camarchiver.naming.limits import LONGEST_SECONDS
from camarchiver.naming.vendors import MAKERS

_EPOCH = datetime(1970, 1, 1)
_LONGEST = timedelta(seconds=LONGEST_SECONDS)
_GROUPS = frozenset(
    {"camera", "channel", "time", "unix", *FULL_DATE, "hour", "minute", "second"}
    | {"millisecond", "end", "duration", "utc"}
)
_TIME_LAST = r"_(?P<time>\d{14})"
_PREFIXES = 1000
"""How many beginnings of names are cached."""
_OWN_EXAMPLE = r"(?P<camera>\w+)-(?P<time>\d{8}-\d{6})"


class ParsedName(NamedTuple):
    """The content of one name; a tuple, because building a frozen dataclass doubles the time of a read."""

    camera: str
    """With its channel if the name has one, as `front_ch2`; in the form in which cameras are compared."""
    start: datetime
    """Naive: the camera's local time, or UTC if `utc`."""
    utc: bool
    duration: float | None
    """Seconds, if the name has an end or a duration."""
    channel: str
    """Without leading zeros; empty if the name has none."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """How one maker names clips, as a regular expression over the whole name without suffix.

    An expression with a `/` is matched against folder and name. Groups: `camera`, `channel`;
    `time` (14 digits with anything between them, or 6 if the date is in the folder), or `unix`
    (seconds), or `year month day hour minute second`; `millisecond`; `end` (written as the start, or
    only its clock time); `duration` (seconds); `utc` (if it matched: the time is UTC, or off by the group's
    value, as `+0100`).
    """

    maker: str
    regex: re.Pattern[str]
    source: str
    """Where the maker's pattern is documented or shown."""
    example: str
    """A path below the source root, without suffix."""
    with_folder: bool
    """Whether the expression is matched against folder and name."""
    has_fixed_prefix: bool
    """Whether the time is the last 14 digits, and only camera and channel come from the part before them."""

    def read(self, stem: str, folder: str) -> ParsedName | None:
        """The content of `stem` in `folder`; None if it doesn't match or its time is impossible."""
        match = self.regex.fullmatch(f"{folder}/{stem}" if self.with_folder and folder else stem)
        if match is None:
            return None
        found = match.groupdict()
        try:
            start = _start(found, folder)
            duration = _duration(found, start)
            utc = "unix" in found or found.get("utc") is not None
            if utc:
                start -= _offset(found.get("utc") or "")
        except (ValueError, OverflowError):
            return None
        if not 1970 <= start.year <= 2100:
            return None
        camera = found.get("camera")
        if camera is None:
            camera = camera_of_folder(folder)
        channel = found.get("channel") or ""
        if channel:
            channel = channel.lstrip("0") or "0"
            camera = f"{camera or NO_CAMERA}_ch{channel}"
        return ParsedName(comparable(camera or NO_CAMERA), start, utc, duration, channel)


def _start(found: Mapping[str, str | None], folder: str) -> datetime:
    if text := found.get("time"):
        start = _moment(text, None, folder)
    elif unix := found.get("unix"):
        start = _EPOCH + timedelta(seconds=int(unix))
    else:
        year, month, day = (int(found.get(part) or 0) for part in FULL_DATE)
        hour, minute, second = (int(found.get(part) or 0) for part in ("hour", "minute", "second"))
        start_day = date(year, month, day) if year else date_within(folder)
        start = datetime.combine(start_day, time(hour, minute, second))
    if millisecond := found.get("millisecond"):
        start = start.replace(microsecond=int(millisecond) * 1000)
    return start


def _moment(text: str, day: date | None, folder: str) -> datetime:
    if len(text) != 14 or not text.isdigit():
        text = "".join(filter(str.isdigit, text))
        if len(text) == 6:
            text = f"{day or date_within(folder):%Y%m%d}{text}"
        if len(text) != 14:
            raise ValueError(text)
    # This takes a twentieth of the time of strptime.
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")


def _duration(found: Mapping[str, str | None], start: datetime) -> float | None:
    if (seconds := found.get("duration")) is not None:
        length = timedelta(seconds=float(seconds))
    elif (end := found.get("end")) is None:
        return None
    elif "unix" in found:
        length = _EPOCH + timedelta(seconds=int(end)) - start
    else:
        length = _moment(end, start.date(), "") - start.replace(microsecond=0)
        if sum(map(str.isdigit, end)) == 6:  # only a clock time: midnight may lie between
            length %= timedelta(days=1)
    return length.total_seconds() if timedelta(0) <= length <= _LONGEST else None


def _offset(text: str) -> timedelta:
    """How far ahead of UTC `+0100`, `-08_00` is; 0 for `Z`, `UTC` or an empty group."""
    digits = "".join(filter(str.isdigit, text))
    if not digits:
        return timedelta(0)
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4] or 0))
    return -ahead if text.startswith("-") else ahead


def _row(maker: str, regex: str, source: str, example: str) -> Pattern:
    # Names may hold a newline; only ASCII digits are a time.
    compiled = re.compile(regex, re.ASCII | re.DOTALL)
    groups = compiled.groupindex.keys()
    has_fixed_prefix = regex.endswith(_TIME_LAST) and {"camera", "time"} <= groups <= {
        "camera",
        "channel",
        "time",
    }
    return Pattern(
        maker, compiled, source, example, with_folder="/" in regex, has_fixed_prefix=has_fixed_prefix
    )


PATTERNS = tuple(_row(*maker) for maker in MAKERS)


def compile_pattern(text: str, *, name: str) -> Pattern:
    """A user's pattern from config, under the name it has there.

    Raises ConfigError if `text` is no regular expression, or its groups give no time.
    """
    try:
        pattern = _row(name, text, "config", "")
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"pattern {name} is not a regular expression: {error}", hint=f"for example {_OWN_EXAMPLE}"
        ) from error
    groups = pattern.regex.groupindex.keys()
    if unknown := sorted(groups - _GROUPS):
        raise ConfigError(
            f"pattern {name} has the unknown group {unknown[0]}",
            hint=f"known are {', '.join(sorted(_GROUPS))}",
        )
    some_date = groups & set(FULL_DATE)
    clock = {"hour", "minute"} <= groups and len(some_date) in (0, 3)
    if not (clock or groups & {"time", "unix"}):
        raise ConfigError(
            f"pattern {name} tells no time: it needs a group time, unix, or hour and minute"
            " (with all of year, month and day, or none of them where folders give the date)",
            hint=f"for example {_OWN_EXAMPLE}",
        )
    return pattern


class Names:
    """Reads names: own patterns in their order, then the makers', starting with the last that matched."""

    def __init__(self, own: Iterable[Pattern] = ()) -> None:
        self._own = tuple(own)
        self._last = PATTERNS[0]
        self._by_prefix: dict[str, ParsedName] = {}

    def read(self, stem: str, folder: str) -> ParsedName | None:
        """The content of a name without suffix in its folder (relative, with `/`); None without a time."""
        # A camera's names differ only in their last digits: the part before them is parsed once.
        if (known := self._by_prefix.get(stem[:-14])) is not None and (
            start := moment_of(stem[-14:])
        ) is not None:
            return ParsedName(known.camera, start, False, None, known.channel)
        for pattern in self._own:
            if parsed := pattern.read(stem, folder):
                return parsed
        if parsed := self._last.read(stem, folder):
            self._remember(stem, parsed)
            return parsed
        for pattern in PATTERNS:
            if parsed := pattern.read(stem, folder):
                self._last = pattern
                self._remember(stem, parsed)
                return parsed
        return None

    def _remember(self, stem: str, parsed: ParsedName) -> None:
        # Not with own patterns: they go first, and may read the next name in another way.
        if self._last.has_fixed_prefix and not self._own and len(self._by_prefix) < _PREFIXES:
            self._by_prefix[stem[:-14]] = parsed


def moment_of(digits: str) -> datetime | None:
    """The time that 14 digits mean; None if they are not digits, or of a year that patterns do not read."""
    if len(digits) != 14 or not (digits.isdecimal() and digits.isascii() and "1970" <= digits < "2101"):
        return None
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}")
    except ValueError:
        return None
