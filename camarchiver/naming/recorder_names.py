"""The names of the recorder's files: kind, start, length, number."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

STAMP = "%Y%m%d_%H%M%S"
"""Local time, as `naming.vendors` reads it back."""


class Kind(StrEnum):
    """The kind of a clip, as its name says it."""

    MOTION = "motion"
    TIMELAPSE = "timelapse"


_KINDS = "|".join(Kind)
SUFFIXES = (".mp4", ".mov")
"""Of clips; mov where the sound needs it."""
_FILE_NAME = re.compile("(?:" + _KINDS + r")_\d{8}_\d{6}_\d+\.\ds(_[1-9]\d{0,5})?\.(mp4|mov)", re.ASCII)


def file_name(stamp: str, seconds: float, number: int, suffix: str) -> str:
    """The name of a clip; `number` is 1 unless other clips begin in the same second."""
    return f"{stamp}_{seconds:.1f}s{f'_{number}' if number > 1 else ''}{suffix}"


def is_file_name(name: str) -> bool:
    """Whether this is the name of a clip of the recorder."""
    return _FILE_NAME.fullmatch(name) is not None


def stamp(start: datetime, kind: Kind = Kind.MOTION) -> str:
    """The part of the name with the kind and the time of the first frame."""
    return f"{kind}_{start.strftime(STAMP)}"


def is_spool_name(name: str) -> bool:
    """Whether the recorder gives a file of the spool names like this."""
    return is_begun(name) and name.endswith(SUFFIXES)


def is_begun(name: str) -> bool:
    """Whether a name begins like the name of a clip."""
    return name.startswith(tuple(f"{kind}_" for kind in Kind))


def next_number(stamp: str, names: Sequence[str]) -> int:
    """The first number that no clip of this second has."""
    taken = [name for name in names if name.startswith(f"{stamp}_") and name.endswith(SUFFIXES)]
    return len(taken) + 1
