"""Sizes, durations, counts and paths as text for people."""

from __future__ import annotations

import os
import re
import shlex
import unicodedata
from pathlib import Path

from camarchiver.domain.clip import ARCHIVE_FOLDER, TRASH_FOLDER, Trees


def size(count: float) -> str:
    """Bytes for people, decimal as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the loop ends with TB")


def exact_size(count: int) -> str:
    """Bytes as an option takes them, not rounded."""
    for power, unit in enumerate(("TB", "GB", "MB", "kB")):
        factor = 1000 ** (4 - power)
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def span(seconds: float) -> str:
    """A duration for people: `8 s`, `3 min`, `2 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def about(seconds: float) -> str:
    """A duration in its largest unit, for people: `12 min`, `5 h`, `4 days`."""
    if seconds < 47.5 * 3600:
        return span(seconds) if seconds < 119.5 * 60 else f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:,.0f} days"


def shown(path: str | Path) -> str:
    """A path that is safe to print: undecodable bytes and control characters are escaped."""
    text = os.fspath(path)
    if text.isprintable():  # as nearly every name is
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which JSON can hold but no file name can
        raw = text.encode("utf-8", "surrogatepass")
    readable = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in readable)


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def padded(text: str, width: int) -> str:
    """The text with spaces up to this many columns of a terminal."""
    return text + " " * (width - cells(text))


_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([nrt]))")


def unescaped(path: str) -> str:
    """The path or name of which `shown` made this text."""

    def character(found: re.Match[str]) -> str:
        byte, short, long, letter = found.groups()
        if byte is not None:
            number = int(byte, 16)
            return chr(number if number < 0x80 else 0xDC00 + number)  # a control character, or no UTF-8
        return {"n": "\n", "r": "\r", "t": "\t"}[letter] if letter else chr(int(short or long, 16))

    return _ESCAPE.sub(character, path)


_SECRET = r"([\w-]*(?:pas|pwd?|psw|auth|token|secret|key)[\w-]*=)"
"""How makers name what opens a camera, in the path or the query: `password`, `loginpas`, `authbasic`."""
_IN_PATH = re.compile(rf"{_SECRET}[^&?#]+", re.IGNORECASE)
_IN_QUERY = re.compile(rf"{_SECRET}[^&#]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """An address without the user and the password in it; any other text as it is."""
    if "://" not in text:
        return text
    path, mark, query = re.sub(r"(?<=://).*@", "***@", text).partition("?")
    return _IN_PATH.sub(r"\1***", path) + mark + _IN_QUERY.sub(r"\1***", query)


def is_text(path: str | Path) -> bool:
    """Whether a path is valid UTF-8."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def count_of(number: int, noun: str, plural: str = "") -> str:
    """`1 clip`, `9,120 clips`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def place_words(trees: Trees) -> str:
    """DIRECTORY and the options that name the trees, for a command line that can be pasted."""
    words = [trees.source]
    for option, root, usual in (
        ("-o", trees.archive, ARCHIVE_FOLDER),
        ("--trash-root", trees.trash, TRASH_FOLDER),
    ):
        words += [Path(option), root] if root != trees.source / usual else []
    return shlex.join(map(shown, words))
