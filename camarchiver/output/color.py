"""Colours for a terminal: what marks trouble, doubt and success in a line of text."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import IO

_RED, _YELLOW, _GREEN, _BOLD = "31", "33", "32", "1"

_FLAWS = "missing|wrong-size|wrong-hash|unreadable|damaged|torn-journal|unfinished"

_RULES = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (r"^(?:error|refused|attention|stopped by signal \d+)(?=[:;])", _RED),
        (rf"^(?:{_FLAWS})(?=: )|(?<=, )(?:damaged|failed)\b|(?<=: )failed(?=: )", _RED),
        (r"\bSTOPPED\?|(?<= )BAD(?= )", _RED),
        (
            r"^(?:note|kept|left|needs attention)(?=:)|^no clip .*|^there is no clip .*|^nothing to do\b",
            _YELLOW,
        ),
        (r"(?<=, )held\b|(?<=: )(?:skipped|held|busy|stale)(?=: )", _YELLOW),
        (r"^(?:archived|restored|freed|moved to the trash|deleted)(?=:)|(?<=: )archived(?= \d)", _GREEN),
        (r"^ *(?:action|camera) .*(?:size|newest)$", _BOLD),
    )
)
"""What is coloured, and the code of its colour (ECMA-48, SGR); the first rule that fits a place counts."""


def is_wanted(stream: IO[str], choice: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether lines for this stream are coloured; by default on terminals without NO_COLOR (no-color.org)."""
    if choice != "auto":
        return choice == "always"
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def colored(line: str) -> str:
    """The line with the codes of its colours."""
    found: list[tuple[int, int, str]] = []
    for pattern, code in _RULES:
        for match in pattern.finditer(line):
            first, last = match.span()
            if all(last <= begin or first >= end for begin, end, _ in found):
                found.append((first, last, code))
    for first, last, code in sorted(found, reverse=True):
        line = f"{line[:first]}\x1b[{code}m{line[first:last]}\x1b[0m{line[last:]}"
    return line
