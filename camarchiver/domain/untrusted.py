"""Decodes untrusted JSON, with the types and bounds of its fields; validates paths and times."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from camarchiver.naming.time_groups import LONGEST_SECONDS

LONGEST_PATH = 4096
"""Bytes that Linux takes for one path (PATH_MAX)."""

YEARS = range(1900, 2300)
"""Outside these years a zone or a duration could exceed the range of a datetime."""

LARGEST = 2**63 - 1
"""The largest signed number of 64 bits."""

# Types of fields that are read back from disk: msgspec refuses any value beyond their bounds.
RelativePath = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH - 1)]
"""Below the root of its tree."""
AnyPath = Annotated[str, Meta(max_length=LONGEST_PATH - 1)]
"""Absolute or relative; it may be empty."""
FileName = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH - 1)]
CameraName = Annotated[str, Meta(max_length=LONGEST_PATH)]
"""From the path of a clip."""
Typed = Annotated[str, Meta(max_length=2**17)]
"""What a person typed: the longest argument that Linux takes, in bytes (MAX_ARG_STRLEN in execve(2))."""
AwareDatetime = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Seconds = Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)]
Nanoseconds = Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
"""Since 1970."""
ProcessId = Annotated[int, Meta(ge=1, le=2**22)]
"""A process id; 2**22 is Linux' highest (proc_sys_kernel(5))."""
Run = Annotated[str, Meta(max_length=200)]
"""The id of a run."""
RemoteName = Annotated[str, Meta(min_length=1, max_length=LONGEST_PATH)]
"""Where off-site copies are, as rclone names it: `REMOTE:PATH`."""
TreeName = Literal["source", "archive", "trash"]


T = TypeVar("T")


def decode(text: str | bytes, kind: type[T], *, times: tuple[str, ...] = ()) -> T:
    """The value of a JSON text as this type, whose fields hold its bounds; `times` as in `convert`.

    It is not msgspec's own decoder, which refuses the lone surrogates of a path that is not UTF-8. Raises
    ValueError for all that is not of this type.
    """
    return convert(value_of(text), kind, times=times)


def convert(value: object, kind: type[T], *, times: tuple[str, ...] = ()) -> T:
    """A JSON value as this type. Raises ValueError.

    The fields `times` may be in a time zone that differs from UTC by seconds, as historical ones do: msgspec
    refuses these.
    """
    try:
        if times and isinstance(value, dict):
            value = value | {key: datetime.fromisoformat(value[key]) for key in times if value.get(key)}
        return msgspec.convert(value, kind)
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def value_of(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for invalid text, for NaN and for too deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def check_time(moment: datetime) -> None:
    """Raises ValueError for a time that allows no arithmetic, or to which no zone can be applied."""
    if moment.year not in YEARS:
        raise ValueError(f"{moment.year} is no year of ours")


def check_below(relative: str) -> None:
    """Raises ValueError for a path that leads out of its root."""
    if not is_below(relative):
        raise ValueError(f"{relative!r} leads out of its tree")


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


def is_name(name: object) -> bool:
    """Whether it names a file in one folder."""
    return is_below(name) and isinstance(name, str) and "/" not in name


def check_name(name: str) -> None:
    """Raises ValueError for a name that is no file's in one folder."""
    if not is_name(name):
        raise ValueError(f"{name!r} is no file's name")
