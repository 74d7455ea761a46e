"""Command-line types for sizes, ages, durations and times; config values pass through them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import click
from msgspec import Struct

from camarchiver.domain.clocks import CameraClock, parse_clock
from camarchiver.errors import CamarchiverError
from camarchiver.naming.folders import comparable
from camarchiver.runtime.formatting import unescaped

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*(?:([kmgtp])(i?))?b?", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)
_WHEN = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?", re.ASCII)
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d)?", re.ASCII)
_RATE = re.compile(r"\d{1,9}(?:\.\d{1,9}|/[1-9]\d{0,8})?", re.ASCII)
_SLOWEST, _FASTEST = Fraction(1, 10), Fraction(1000)
_LONGEST = timedelta(days=36_525)
_DAY = timedelta(days=1)


class Size(click.ParamType[int]):
    """Bytes as an int: `500GB` (decimal), `500GiB` (binary), `1.5T`, a plain number of bytes, `0`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes, rounded down."""
        found = _SIZE.fullmatch(_text(value))
        if found is None:
            self.fail(f"{value!r} is not a size; write for example 500GB, 1.5T or 20GiB.", param, ctx)
        number, unit, binary = found.groups()
        power = " kmgtp".index(unit.lower()) if unit else 0
        return int(Fraction(number) * (1024 if binary else 1000) ** power)


class DaysType(click.ParamType[timedelta]):
    """An age as a timedelta: days as a plain number, or with a unit as `36h`, `30d`, `2 weeks`."""

    name = "days"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """At most a hundred years; 0 only if it is allowed."""
        if isinstance(value, timedelta):
            return value
        text = _text(value)
        age = timedelta(days=float(text)) if _NUMBER.fullmatch(text) else _span(text)
        if age is None:
            self.fail(f"{value!r} is not an age; write for example 30, 36h or '2 weeks'.", param, ctx)
        if not age and not self._zero:
            self.fail(f"{value!r} must be more than 0, for example 30.", param, ctx)
        if age > _LONGEST:
            self.fail(f"{value!r} is more than a hundred years; write for example 30.", param, ctx)
        return age


class Duration(click.ParamType[timedelta]):
    """A length of time as a timedelta, always with a unit: `6h`, `1h30m`, `90s`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """More than 0, at most a hundred years."""
        if isinstance(value, timedelta):
            return value
        text = _text(value)
        if _NUMBER.fullmatch(text):
            self.fail(f"{value!r} has no unit; write for example {text}s, 6h or 1h30m.", param, ctx)
        span = _span(text)
        if not span or span > _LONGEST:
            self.fail(f"{value!r} is not a duration; write for example 6h, 1h30m or 90s.", param, ctx)
        return span


class GivenTime(Struct, frozen=True):
    """A time as the user gave it, in the camera's local time."""

    start: datetime
    """Naive; midnight if only a day was given."""
    whole_day: bool
    precision: timedelta = timedelta(seconds=1)
    """A day, a minute or a second: what was left out after `start`."""
    is_clock_time: bool = False
    """Whether no day was given; that of `start` then means nothing."""

    @property
    def end(self) -> datetime:
        """The first time after it, so that `--until 2026-05-03` includes the whole day."""
        return self.start + (timedelta(days=1) if self.whole_day else timedelta(seconds=1))

    @property
    def limit(self) -> datetime:
        """The end of a range that is given by it: a day belongs to the range, a time of a day ends it."""
        return self.end if self.whole_day else self.start

    def range(self, now: datetime) -> tuple[datetime, datetime]:
        """Its first and its last moment, aware, in the time zone of `now`; a clock time is in the past.

        In the hour that repeats in autumn the range reaches from the first of the two moments to the second.
        """
        start = self.start
        if self.is_clock_time:
            start = datetime.combine(now.date(), start.time())
            if start > now.replace(tzinfo=None):
                start -= timedelta(days=1)
        end = start + self.precision - timedelta(microseconds=1)
        return start.replace(tzinfo=now.tzinfo, fold=0), end.replace(tzinfo=now.tzinfo, fold=1)


class TimeType(click.ParamType[GivenTime]):
    """A day or a time: `2026-05-03`, `2026-05-03 14:20`, `2026-05-03T14:20:05`; with `clock` also `14:20`."""

    name = "when"

    def __init__(self, *, clock: bool = False) -> None:
        self._clock = clock

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> GivenTime:
        """A Moment between 1970 and 2100."""
        if isinstance(value, GivenTime):
            return value
        moment = _clock_time(value) if self._clock else None
        moment = moment or _moment(value)
        if moment is None or not 1970 <= moment.start.year <= 2100:
            self.fail(
                f"{str(value)!r} is not a local time; write for example 2026-05-03 or '2026-05-03 14:20'.",
                param,
                ctx,
            )
        return moment


class GivenPath(click.Path):
    """A path. Nothing is not one: a script's empty variable does not mean the working folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, as `click.Path` gives it."""
        if value in ("", b""):
            self.fail("an empty path can't be meant; write . for this folder.", param, ctx)
        return super().convert(value, param, ctx)


class GivenText(click.ParamType[str]):
    """A name or an id. Nothing is not one: a script's empty variable does not select everything."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is."""
        if not str(value).strip():
            self.fail("it is empty, which selects nothing; a script's variable may be unset.", param, ctx)
        return str(value)


class CameraNameType(GivenText):
    """A camera, in the form in which cameras are compared."""

    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, composed; it may also be given as it is printed, with escapes."""
        return comparable(unescaped(super().convert(value, param, ctx)))


class ClockType(click.ParamType[CameraClock]):
    """Which clock of a camera is right: `names`, `mtime`, or a correction of the names such as `+26y3d`."""

    name = "clock"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> CameraClock:
        """The clock."""
        try:
            return parse_clock(_text(value))
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a clock; write mtime, names, or a correction such as +26y3d or -1h.",
                param,
                ctx,
            )


class Percent(click.ParamType[float]):
    """A share from 0 to 100 as a float, with or without a `%` sign."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In per cent, not as a fraction of 1."""
        text = _text(value).removesuffix("%").rstrip()
        if not _NUMBER.fullmatch(text) or float(text) > 100:
            self.fail(f"{value!r} is not a share from 0 to 100; write for example 10 or 12.5%.", param, ctx)
        return float(text)


class Rate(click.ParamType[Fraction]):
    """Frames per second as a Fraction: `25`, `12.5`, `30000/1001`."""

    name = "rate"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """From one frame in ten seconds to a thousand in one."""
        if isinstance(value, Fraction):
            return value
        text = _text(value)
        rate = Fraction(text) if _RATE.fullmatch(text) else Fraction(0)
        if not _SLOWEST <= rate <= _FASTEST:
            self.fail(f"{value!r} is no frame rate; write for example 25, 12.5 or 30000/1001.", param, ctx)
        return rate


class Jobs(click.ParamType[int | None]):
    """How many clips at the same time: a number, or `auto` (None)."""

    name = "n|auto"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """A number from 1 to 64; None for `auto`."""
        text = _text(value)
        if text == "auto":
            return None
        if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 64:
            self.fail(f"{value!r} is not a number of jobs; write auto, or for example 4.", param, ctx)
        return int(text)


class CommandType(click.ParamType[tuple[str, ...]]):
    """A command as its arguments: a list in a config file, or one text that is split as a shell would."""

    name = "command"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """At least the name of a program."""
        if isinstance(value, list | tuple):
            words = tuple(str(word) for word in value)
        else:
            try:
                words = tuple(shlex.split(_text(value)))
            except ValueError as error:
                self.fail(f"{value!r} is not a command: {error}.", param, ctx)
        if not words or not words[0] or any("\0" in word for word in words):
            self.fail(f"{value!r} is not a command; write for example ['mail-report', 'root'].", param, ctx)
        return words


class Url(click.ParamType[str]):
    """An address that begins with http:// or https://."""

    name = "url"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value, unchanged."""
        text = _text(value)
        try:
            parts = urlsplit(text)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if not sound or not text.isprintable() or " " in text or not text.isascii():
            self.fail(f"{text!r} is not an address; write for example https://hc-ping.com/UUID.", param, ctx)
        return text


class ReadableText(click.ParamType[str]):
    """A text that `read` understands: it raises a CamarchiverError for another."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value, unchanged."""
        text = _text(value)
        try:
            self._read(text)
        except CamarchiverError as error:
            self.fail(f"{error.message}; {error.hint}.", param, ctx)
        return text


def from_toml(value: Any, parameter: click.Parameter) -> Any:
    """A value of a config file as click reads it. Raises click.BadParameter if its TOML type is wrong.

    click converts whatever it gets: without this check `true` were the number 1, and a list a text.
    """
    if parameter.multiple:
        if not isinstance(value, list):
            raise click.BadParameter(f"{_toml(value)} is not a list; write it in brackets.")
        return [_single_from_toml(each, parameter.type) for each in value]
    return _single_from_toml(value, parameter.type)


def _single_from_toml(value: Any, kind: click.ParamType[Any]) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case CommandType() if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return value
        case click.types.BoolParamType():
            is_right, wanted = isinstance(value, bool), "true or false"
        case click.types.IntParamType():
            is_right, wanted = is_number and isinstance(value, int), "a whole number"
        case click.Path():
            is_right, wanted = isinstance(value, str) and value != "", "a path in quotes"
        case click.Choice() | click.types.StringParamType() | CommandType() | Url():
            is_right, wanted = isinstance(value, str), "a text in quotes"
        case _:
            is_right, wanted = is_number or isinstance(value, str | date), "a number, or a text in quotes"
    if not is_right:
        raise click.BadParameter(f"{_toml(value)} has the wrong type; write {wanted}.")
    # A number stays one: some types distinguish 30 from "30". TOML's own dates become text.
    return value if isinstance(value, bool | int | float | str) else str(value)


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(value: object) -> str:
    """A value as it would be on the command line; a boolean from TOML is not a number."""
    return str(value).strip()


def _span(text: str) -> timedelta | None:
    """The span that pytimeparse reads, except its `1:30`: it takes that as minutes, users mean hours."""
    from pytimeparse.timeparse import timeparse  # imported here because --help does not need it

    seconds = None if ":" in text else timeparse(text)
    if seconds is None or seconds < 0:
        return None
    return timedelta(seconds=min(seconds, 2 * _LONGEST.total_seconds()))


def _moment(value: object) -> GivenTime | None:
    match value:
        case datetime():
            return None if value.tzinfo else GivenTime(value, whole_day=False)
        case date():
            return GivenTime(datetime.combine(value, time()), whole_day=True, precision=_DAY)
    text = _text(value)
    if not _WHEN.fullmatch(text):
        return None
    try:
        start = datetime.fromisoformat(text)
    except ValueError:
        return None
    whole_day = len(text) == len("2026-05-03")
    precision = _DAY if whole_day else _precision(text)
    return GivenTime(start, whole_day=whole_day, precision=precision)


def _clock_time(value: object) -> GivenTime | None:
    text = _text(value)
    if not _CLOCK.fullmatch(text):
        return None
    try:
        at = time.fromisoformat(text.zfill(len(text) + (text[1] == ":")))
    except ValueError:
        return None
    start = datetime.combine(date(2000, 1, 1), at)
    return GivenTime(start, whole_day=False, precision=_precision(text), is_clock_time=True)


def _precision(text: str) -> timedelta:
    return timedelta(minutes=1) if text.count(":") == 1 else timedelta(seconds=1)
