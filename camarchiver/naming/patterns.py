"""Reads camera and time from a clip's name, by the makers' patterns and the user's own; locates the time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from msgspec import Struct

from camarchiver.errors import ConfigError
from camarchiver.naming.folders import FULL_DATE, NO_CAMERA, camera_of_folder, comparable
from camarchiver.naming.time_groups import GROUPS, duration_of, offset_of, start_of
from camarchiver.naming.vendors import MAKERS, TIMELESS

_TIME_LAST = r"_(?P<time>\d{14})"
_PREFIXES = 1000
"""How many beginnings of names are cached."""
_FORMS = 1000
"""How many forms of names are cached."""
_FORM = {ord(digit): "0" for digit in "123456789"}
_OWN_EXAMPLE = r"(?P<camera>\w+)-(?P<time>\d{8}-\d{6})"


class ParsedName(Struct, frozen=True):
    """The content of one name."""

    camera: str
    """With its channel if the name has one, as `front_ch2`; in the form in which cameras are compared."""
    start: datetime
    """Naive: the camera's local time, or UTC if `utc`."""
    utc: bool
    duration: float | None
    """Seconds, if the name has an end or a duration."""
    channel: str
    """Without leading zeros; empty if the name has none."""


class Pattern(Struct, frozen=True):
    """How one maker names clips, as a regular expression over the whole name without suffix.

    An expression with a `/` is matched against folder and name. Groups: `camera`, `channel`;
    `time` (14 digits with anything between them, or 6 if the date is in the folder), or `unix`
    (seconds, or milliseconds if it has 13 digits), or `year month day hour minute second` (a year of two
    digits is after 2000, a month may be an English name); `ampm` (begins with A or P: the clock has 12
    hours); `millisecond`; `end` (written as the start, or only its clock time); `duration` (seconds);
    `utc` (if it matched: the time is UTC, or off by the group's value, as `+0100` or `GMT-5`).
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

    def match(self, stem: str, folder: str) -> re.Match[str] | None:
        """Whether the expression matches; the time may still be impossible."""
        return self.regex.fullmatch(f"{folder}/{stem}" if self.with_folder and folder else stem)

    def read(self, stem: str, folder: str) -> ParsedName | None:
        """The content of `stem` in `folder`; None if it doesn't match or its time is impossible."""
        match = self.match(stem, folder)
        return None if match is None else parse(match, folder)


_MOMENT = re.compile(
    r"(?<!\d)(?:19|20)\d\d[-_.]?(?:0[1-9]|1[0-2])[-_.]?(?:0[1-9]|[12]\d|3[01])(?:[-_.T ]{1,2}| - )?"
    r"(?:[01]\d|2[0-3])[-_.]?[0-5]\d(?:[-_.]?[0-5]\d(?:[-_.]?\d{3})?)?(?!\d)",
    re.ASCII,
)
"""With or without seconds and milliseconds."""


def parse(match: re.Match[str], folder: str) -> ParsedName | None:
    """The content of a name that a pattern matches; None if its time is impossible, or not the only one.

    With two times the last one is the end: as the start it would keep holds off what the clip shows, and with
    the first one in the name of the camera each clip would be a camera of its own.
    """
    found = match.groupdict()
    named = found.get("camera")
    if named is not None and _MOMENT.search(named) and match.start("camera") > match.string.rfind("/"):
        return None
    try:
        start = start_of(found, folder)
        duration = duration_of(found, start)
        utc = "unix" in found or found.get("utc") is not None
        if utc:
            start -= offset_of(found.get("utc") or "")
    except (ValueError, OverflowError):
        return None
    if not 1970 <= start.year <= 2100:
        return None
    camera = camera_of_folder(folder) if named is None else named
    channel = found.get("channel") or ""
    if channel:
        channel = channel.lstrip("0") or "0"
        camera = f"{camera or NO_CAMERA}_ch{channel}"
    return ParsedName(comparable(camera or NO_CAMERA), start, utc, duration, channel)


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
    if unknown := sorted(groups - GROUPS):
        raise ConfigError(
            f"pattern {name} has the unknown group {unknown[0]}",
            hint=f"known are {', '.join(sorted(GROUPS))}",
        )
    some_date = groups & set(FULL_DATE)
    clock = {"hour", "minute"} <= groups and len(some_date) in (0, 3)
    if not (clock or groups & {"time", "unix"}):
        raise ConfigError(
            f"pattern {name} has no time: it needs a group time, unix, or hour and minute"
            " (with all of year, month and day, or none of them where folders give the date)",
            hint=f"for example {_OWN_EXAMPLE}",
        )
    return pattern


class Names:
    """Reads names: own patterns in their order, then the makers', starting with one that fits the form.

    The form of a name is the name with every digit replaced by 0. It costs a fraction of one expression, and
    the names of a camera share it. Rows have no digits but classes of them, so that a form which no row
    matches in a folder stays unread there.
    """

    def __init__(self, own: Iterable[Pattern] = ()) -> None:
        self._own = tuple(own)
        self._by_prefix: dict[str, ParsedName] = {}
        self._by_form: dict[str, Pattern] = {}
        self._folder = ""
        self._unread: set[str] = set()
        """Forms that no row matches in `_folder`."""

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
        form = stem.translate(_FORM)
        if (usual := self._by_form.get(form)) is not None and (parsed := usual.read(stem, folder)):
            self._remember(stem, usual, parsed)
            return parsed
        if folder != self._folder:
            self._folder = folder
            self._unread.clear()
        return None if form in self._unread else self._search(stem, folder, form)

    def which(self, stem: str, folder: str) -> Pattern:
        """The pattern that reads a name which can be read; slower than `read`."""
        return next(each for each in (*self._own, *PATTERNS) if each.read(stem, folder))

    def _search(self, stem: str, folder: str, form: str) -> ParsedName | None:
        is_known_form = False
        for pattern in PATTERNS:
            if (match := pattern.match(stem, folder)) is None:
                continue
            is_known_form = True
            if parsed := parse(match, folder):
                if len(self._by_form) < _FORMS:
                    self._by_form[form] = pattern
                self._remember(stem, pattern, parsed)
                return parsed
        if not is_known_form and len(self._unread) < _FORMS:
            self._unread.add(form)
        return None

    def _remember(self, stem: str, pattern: Pattern, parsed: ParsedName) -> None:
        # Not with own patterns: they go first, and may read the next name in another way.
        if pattern.has_fixed_prefix and not self._own and len(self._by_prefix) < _PREFIXES:
            self._by_prefix[stem[:-14]] = parsed


_TIMELESS = tuple((maker, re.compile(regex, re.ASCII), advice) for maker, regex, _, advice in TIMELESS)


def why_timeless(stem: str, folder: str) -> str:
    """What a maker's name without a time is, and what its owner can do; empty if no maker is known."""
    path = f"{folder}/{stem}" if folder else stem
    return next((f"{maker}: {advice}" for maker, regex, advice in _TIMELESS if regex.fullmatch(path)), "")


def moment_of(digits: str) -> datetime | None:
    """The time that 14 digits mean; None if they are not digits, or of a year that patterns do not read."""
    if len(digits) != 14 or not (digits.isdecimal() and digits.isascii() and "1970" <= digits < "2101"):
        return None
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}")
    except ValueError:
        return None


def locate(parsed: ParsedName, mtime_ns: int, zone: tzinfo) -> datetime:
    """The start in `zone`, aware.

    In the hour that repeats in autumn: the last of its two instants that is not after the file's
    mtime, otherwise the first. A time in the hour that spring skips is from a clock not yet put forward.
    """
    if parsed.utc:
        return parsed.start.replace(tzinfo=UTC).astimezone(zone)
    start = parsed.start
    if not start.fold and _keeps_clock(start.date(), zone):
        # On Python 3.11 `replace` takes five times as long.
        return datetime.combine(start, start.time(), zone)
    first = parsed.start.replace(tzinfo=zone, fold=0)
    second = first.replace(fold=1)
    ahead, later_ahead = first.utcoffset(), second.utcoffset()
    if ahead is None or later_ahead is None or ahead == later_ahead:
        return first
    if ahead < later_ahead:
        return first.astimezone(UTC).astimezone(zone)
    return second if second.timestamp() <= mtime_ns / 1e9 else first


@lru_cache(maxsize=64)
def _keeps_clock(day: date, zone: tzinfo) -> bool:
    """Whether no clock change happens within a day; called for every clip of it."""
    midnight = datetime.combine(day, time(), zone)
    hours = [midnight + timedelta(hours=hour) for hour in range(25)] if day < date.max else []
    return len({hour.replace(fold=fold).utcoffset() for hour in hours for fold in (0, 1)}) == 1
