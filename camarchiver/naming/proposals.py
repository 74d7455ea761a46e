"""Proposes a pattern for names that no pattern reads, from the date and the time in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from math import inf
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from camarchiver.errors import ConfigError
from camarchiver.naming.patterns import ParsedName, compile_pattern

_YEAR, _MONTH, _DAY = r"(?P<year>(?:19|20)\d\d)", r"(?P<month>\d\d?)", r"(?P<day>\d\d?)"
_NAME = r"(?P<month>[A-Za-z]{3,9})"
_GAP = r"[-_., ]{0,2}"
_BETWEEN = r"[-_., T]{1,3}(?:at )?"
_CLOCK = (
    r"(?P<hour>\d\d?)[-_.:h](?P<minute>\d\d)(?:[-_.:m](?P<second>\d\d))?s?"
    r"(?: ?(?P<ampm>[AaPp]\.?[Mm]\.?))?"
)
# Where several fit, the file's own time decides, then this order.
_TOKENS = tuple(
    re.compile(rf"(?<!\d){token}(?!\d)", re.ASCII)
    for token in (
        r"(?P<time>\d{14})",
        r"(?P<time>\d{8}[-_ T.]\d{6})",
        r"(?P<time>\d{4}[-_.]\d\d[-_.]\d\d[-_.,T ]{1,3}\d\d[-_.:hH]\d\d[-_.:mM]\d\d)",
        _YEAR + r"(?P<month>\d\d)(?P<day>\d\d)(?P<hour>\d\d)(?P<minute>\d\d)",
        _YEAR + _GAP + _MONTH + _GAP + _DAY + _BETWEEN + _CLOCK,
        _DAY + _GAP + _MONTH + _GAP + _YEAR + _BETWEEN + _CLOCK,
        _MONTH + _GAP + _DAY + _GAP + _YEAR + _BETWEEN + _CLOCK,
        _DAY + _GAP + _NAME + _GAP + _YEAR + _BETWEEN + _CLOCK,
        _NAME + _GAP + _DAY + _GAP + _YEAR + _BETWEEN + _CLOCK,
        _YEAR + _GAP + _NAME + _GAP + _DAY + _BETWEEN + _CLOCK,
        r"(?P<unix>\d{13}|\d{10})",
        r"(?P<time>\d\d[-_.:h]?\d\d[-_.:m]?\d\d)",
        _CLOCK,
    )
)
_SURE_SECONDS = 86_400
"""A time this close to the file's own is not read from the wrong digits."""


class NameSample(NamedTuple):
    """One name that is not read."""

    stem: str
    folder: str
    modified: datetime | None
    """The file's time, naive, in the cameras' zone; None if unknown."""


class PatternProposal(Struct, frozen=True):
    """A regular expression for `[patterns]`, and how it reads the first name."""

    regex: str
    first: ParsedName
    is_sure: bool
    """Whether the times that it reads are those of the files; otherwise day and month may be swapped."""


def propose(samples: Sequence[NameSample]) -> PatternProposal | None:
    """The pattern that reads all of these names, closest to the files' times; None if there is none."""
    best: tuple[float, PatternProposal] | None = None
    for regex in dict.fromkeys(_candidates(samples[0].stem)):
        read = list(_read_all(regex, samples))
        if not all(read):
            continue
        distances = [
            abs(parsed.start - sample.modified).total_seconds()
            for parsed, sample in zip(read, samples, strict=True)
            if parsed is not None and sample.modified is not None
        ]
        distance = median(distances) if distances else inf
        first = read[0]
        if first is not None and (best is None or distance < best[0]):
            best = distance, PatternProposal(regex, first, is_sure=distance <= _SURE_SECONDS)
    return best[1] if best else None


def _read_all(regex: str, samples: Iterable[NameSample]) -> Iterator[ParsedName | None]:
    try:
        pattern = compile_pattern(regex, name="proposal")
    except ConfigError:  # no time of day, or a part of the name that is no valid expression
        yield None
        return
    for sample in samples:
        yield pattern.read(sample.stem, sample.folder)


def _candidates(stem: str) -> Iterator[str]:
    """Expressions over the whole name, one for each place where a date or a time may be."""
    for token in _TOKENS:
        for match in token.finditer(stem):
            before, after = stem[: match.start()], stem[match.end() :]
            yield _camera(before) + _generalised(match) + _text(after)


def _camera(before: str) -> str:
    """The part before the time: the camera's name and what separates it from the time."""
    name = before.rstrip("-_., @#")
    if not name:
        return _text(before)
    return rf"(?P<camera>.+){_text(before[len(name) :])}"


def _generalised(match: re.Match[str]) -> str:
    """The found time as an expression, with its groups and with other digits in the place of these."""
    spans = sorted((match.span(name), name) for name in match.re.groupindex if match.group(name) is not None)
    parts: list[str] = []
    position = match.start()
    for (start, end), name in spans:
        parts.append(_text(match.string[position:start]))
        parts.append(f"(?P<{name}>{_inside(name, match.string[start:end])})")
        position = end
    return "".join(parts) + _text(match.string[position : match.end()])


def _inside(name: str, text: str) -> str:
    if name in ("day", "month", "hour") and text.isdecimal():
        return r"\d\d?"
    if name == "month":
        return r"[A-Za-z]+"
    if name == "ampm":
        return r"[AaPp]\.?[Mm]\.?"
    return re.sub(r"\d+", lambda run: rf"\d{{{len(run.group())}}}", _escaped(text))


def _text(text: str) -> str:
    """Other parts of the name, any number in the place of theirs."""
    return re.sub(r"\d+", lambda run: r"\d+", _escaped(text))


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in r".^$*+?{}[]\|()" else character for character in text)
