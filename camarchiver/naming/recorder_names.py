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
_FILE_NAME = re.compile("(?:" + _KINDS + r")_\d{8}_\d{6}_\d+\.\ds(_[1-9]\d{0,5})?\.mp4", re.ASCII)


def file_name(stamp: str, seconds: float, number: int) -> str:
    """The name of a clip; `number` is 1 unless other clips begin in the same second."""
    return f"{stamp}_{seconds:.1f}s{f'_{number}' if number > 1 else ''}.mp4"


def is_file_name(name: str) -> bool:
    """Whether this is the name of a clip of the recorder."""
    return _FILE_NAME.fullmatch(name) is not None


def stamp(start: datetime, kind: Kind = Kind.MOTION) -> str:
    """The part of the name with the kind and the time of the first frame."""
    return f"{kind}_{start.strftime(STAMP)}"


def is_begun(name: str) -> bool:
    """Whether a name begins like the name of a clip."""
    return name.startswith(tuple(f"{kind}_" for kind in Kind))


def next_number(stamp: str, names: Sequence[str]) -> int:
    """The first number that no clip of this second has."""
    taken = [name for name in names if name.startswith(f"{stamp}_") and name.endswith(".mp4")]
    return len(taken) + 1
