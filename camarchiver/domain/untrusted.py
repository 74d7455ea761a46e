"""Validates untrusted JSON and paths, and the claims that name paths in our trees."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

LONGEST_PATH = 4096
"""Bytes that Linux takes for one path (PATH_MAX)."""

YEARS = range(1900, 2300)
"""Outside these years a zone or a duration could exceed the range of a datetime."""

LARGEST = 2**63 - 1
"""The largest signed number of 64 bits."""


def value_of(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for invalid text, for NaN and for too deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def moment_of(text: object) -> datetime:
    """An aware time that allows arithmetic. Raises ValueError."""
    moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    if moment is None or moment.tzinfo is None or moment.year not in YEARS:
        raise ValueError(f"{text!r} is no moment")
    return moment


def whole_of(number: object) -> int:
    """An integer of 64 bits. Raises ValueError."""
    if type(number) is not int or not -LARGEST <= number <= LARGEST:
        raise ValueError(f"{number!r} is no number")
    return number


def is_below(relative: object) -> bool:
    """Whether a path stays below its root."""
    return (
        isinstance(relative, str)
        and 0 < len(relative) < LONGEST_PATH
        and relative[0] != "/"
        and any(part not in ("", ".") for part in relative.split("/"))
        and "\0" not in relative
        and (".." not in relative or ".." not in relative.split("/"))
        and (relative.isascii() or _is_name_of_bytes(relative))
    )


def _is_name_of_bytes(relative: str) -> bool:
    """Whether Linux can have this path: JSON can hold half a surrogate pair, which is no byte."""
    try:
        relative.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_claim(fields: object) -> bool:
    """Whether the fields of a work claim are valid, so that camarchiver can have written them."""
    if not isinstance(fields, dict):
        return False
    try:
        moment_of(fields.get("start"))
        for key in ("size", "mtime_ns", "pid"):
            whole_of(fields.get(key))
    except ValueError:
        return False
    return (
        all(isinstance(fields.get(key), str) for key in ("clip", "camera", "host", "run"))
        and is_below(fields["clip"])
        and (not fields.get("staged") or is_below(fields["staged"]))
        and isinstance(fields.get("sidecars"), list)
        and all(is_name(name) for name in fields["sidecars"])
    )


def is_name(name: object) -> bool:
    """Whether it names a file in one folder."""
    return is_below(name) and isinstance(name, str) and "/" not in name
