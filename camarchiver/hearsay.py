"""Reads what anybody may have written: JSON, and the lines and notes that name paths in our trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

LONGEST_PATH = 4096
"""Bytes that Linux takes for one path (PATH_MAX)."""

_LARGEST = 2**63
_TEXTS = ("event", "at", "run", "host", "source", "start", "camera", "archive", "trash", "tree", "reason")
_MORE_TEXTS = ("detail", "source_blake2b", "archive_blake2b", "encoder", "verified")
_NUMBERS = frozenset({"source_size", "source_mtime_ns", "archive_size", "archive_mtime_ns"})
_KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys((*_TEXTS, *_MORE_TEXTS), (str,)),
    **dict.fromkeys(_NUMBERS, (int,)),
    "duration": (float, int),
}
_NEEDED = frozenset(_TEXTS[:6])
_ODD_STARTS = frozenset({"/", ".", ""})
_TREES = frozenset({"source", "archive", "trash"})


def value_of(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError for what is none, also for what is nested without end."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def is_below(relative: object) -> bool:
    """Whether a path stays below its root."""
    return (
        isinstance(relative, str)
        and 0 < len(relative) < LONGEST_PATH
        and relative[0] != "/"
        and any(part not in ("", ".") for part in relative.split("/"))
        and "\0" not in relative
        and (".." not in relative or ".." not in relative.split("/"))
    )


def is_event(fields: Mapping[str, Any]) -> bool:
    """Whether a line of a journal is one that camarchiver could have written.

    Written for speed: a plan reads a line or two for every clip of years, nearly all of one shape.
    """
    if not _has_shape(tuple(fields), tuple(map(type, fields.values()))):
        return False
    get = fields.get
    source, archive, trash = fields["source"], get("archive", "x"), get("trash", "x")
    paths = f"{source}\n{archive}\n{trash}"
    # Dots, a slash in front and a NUL are rare: most paths need no closer look.
    odd = ".." in paths or "\0" in paths or not _ODD_STARTS.isdisjoint((source[:1], archive[:1], trash[:1]))
    if odd or len(paths) > 1000:
        return is_below(source) and is_below(archive) and is_below(trash) and _rest_fits(fields)
    return _rest_fits(fields)


def _rest_fits(fields: Mapping[str, Any]) -> bool:
    get = fields.get
    return (
        get("tree", "source") in _TREES
        and ("sidecars" not in fields or _are_pictures(fields["sidecars"]))
        and -_LARGEST <= get("source_mtime_ns", 0) < _LARGEST
        and -_LARGEST <= get("archive_mtime_ns", 0) < _LARGEST
        and 0 <= get("source_size", 0) < _LARGEST
        and 0 <= get("archive_size", 0) < _LARGEST
        and _is_moment(fields["at"])
        and _is_moment(fields["start"])
    )


@lru_cache(maxsize=1024)
def _has_shape(keys: tuple[str, ...], kinds: tuple[type, ...]) -> bool:
    fit = all(kind in _KINDS.get(key, (kind,)) for key, kind in zip(keys, kinds, strict=True))
    return fit and set(keys) >= _NEEDED


def is_claim(fields: object) -> bool:
    """Whether a note of a clip in the making is one that camarchiver could have written."""
    return (
        isinstance(fields, dict)
        and all(isinstance(fields.get(key), str) for key in ("clip", "start", "camera", "host", "run"))
        and is_below(fields["clip"])
        and (not fields.get("staged") or is_below(fields["staged"]))
        and all(type(fields.get(key)) is int for key in ("size", "mtime_ns", "pid"))
        and all(-_LARGEST <= fields[key] < _LARGEST for key in ("size", "mtime_ns", "pid"))
        and _is_moment(fields["start"])
        and isinstance(fields.get("sidecars"), list)
        and all(_is_name(name) for name in fields["sidecars"])
    )


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _are_pictures(sidecars: object) -> bool:
    return isinstance(sidecars, dict) and all(
        _is_name(name) and isinstance(place, str) and len(place) < LONGEST_PATH and "\0" not in place
        for name, place in sidecars.items()
    )


def _is_name(name: object) -> bool:
    return is_below(name) and isinstance(name, str) and "/" not in name
