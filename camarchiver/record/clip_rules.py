"""When a clip begins, is split and ends, what it is called, and what its timestamps tell: pure decisions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from itertools import pairwise
from statistics import median

from camarchiver.record.preroll import Entry

STAMP = "%Y%m%d_%H%M%S"
"""Local time, as `naming.vendors` reads it back."""


class Kind(StrEnum):
    """What a clip is, as its name says it."""

    MOTION = "motion"
    TIMELAPSE = "timelapse"


_KINDS = "|".join(Kind)
_FILE_NAME = re.compile("(?:" + _KINDS + r")_\d{8}_\d{6}_\d+\.\ds(_[1-9]\d{0,5})?\.mp4", re.ASCII)

_TICK = 1e-6
"""Seconds; sums of times differ by less."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How much is recorded, in seconds."""

    pre: float = 2.0
    """Before the motion; the clip begins with the keyframe at or before that."""
    post: float = 3.0
    """After it; motion that begins meanwhile makes the clip longer."""
    longest: float = 30.0
    """A longer clip is split at a keyframe."""


@dataclass(frozen=True, slots=True)
class Reel:
    """A clip that is being recorded; all times in seconds of the source's own clock."""

    begun: float
    """Its first frame."""
    until: float
    """Where it ends unless motion goes on."""
    trigger: float
    """When the motion began."""
    group: float = 0.0
    """Length of the last whole group of pictures."""
    key: float | None = None
    """The last keyframe."""


class Do(Enum):
    """What becomes of a running clip with one more packet."""

    WRITE = auto()
    SPLIT = auto()
    """End the clip before this packet, and begin another with it."""
    END = auto()
    """End the clip before this packet."""


def decide(reel: Reel, entry: Entry, lengths: Lengths) -> tuple[Reel, Do]:
    """Take the next packet of a running clip; sound never ends one."""
    if not entry.video:
        return reel, Do.WRITE
    if entry.at > reel.until + _TICK:
        return reel, Do.END
    if not entry.key:
        return reel, Do.WRITE
    if reel.key is not None:
        reel = replace(reel, group=entry.at - reel.key)
    reel = replace(reel, key=entry.at)
    # the group that begins here would end beyond the limit
    too_long = entry.at > reel.begun and entry.at + reel.group > reel.begun + lengths.longest + _TICK
    return reel, Do.SPLIT if too_long else Do.WRITE


def prolonged(reel: Reel, end: float, lengths: Lengths) -> Reel:
    """The clip with motion that goes on until `end` at least."""
    return replace(reel, until=max(reel.until, end + lengths.post))


def file_name(stamp: str, seconds: float, number: int) -> str:
    """The name of a clip; `number` is 1 unless others begin in the same second."""
    return f"{stamp}_{seconds:.1f}s{f'_{number}' if number > 1 else ''}.mp4"


def is_file_name(name: str) -> bool:
    """Whether a clip of the recorder is called so."""
    return _FILE_NAME.fullmatch(name) is not None


def stamp(start: datetime, kind: Kind = Kind.MOTION) -> str:
    """The part of the name that tells what it is and when the first frame was."""
    return f"{kind}_{start.strftime(STAMP)}"


def is_begun(name: str) -> bool:
    """Whether a name begins as one of a clip does."""
    return name.startswith(tuple(f"{kind}_" for kind in Kind))


def next_number(stamp: str, names: Sequence[str]) -> int:
    """The first number that no clip of this second has."""
    taken = [name for name in names if name.startswith(f"{stamp}_") and name.endswith(".mp4")]
    return len(taken) + 1


def missing(moments: Sequence[float]) -> int:
    """How many frames a gap between decoding times swallowed, by the usual distance of two frames."""
    distances = [later - earlier for earlier, later in pairwise(moments)]
    if len(distances) < 3:
        return 0
    usual = median(distances)
    if usual <= 0:
        return 0
    return sum(round(distance / usual) - 1 for distance in distances if distance > 1.5 * usual)
