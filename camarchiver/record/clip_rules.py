"""Pure decisions: when a clip continues, is split or ends, and how many frames it lost."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import pairwise
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.record.capture.packet import TimedPacket

_TICK = 1e-6
"""Seconds; sums of times differ by less."""


class RecordingLengths(Struct, frozen=True):
    """How much is recorded around motion, in seconds."""

    pre: float = 2.0
    """Before the motion; the clip begins with the keyframe at or before that."""
    post: float = 3.0
    """After the motion; motion that begins in this time makes the clip longer."""
    longest: float = 30.0
    """A longer clip is split at a keyframe."""
    confirm: float = 0.0
    """How long motion must last before a clip begins; the pre-roll reaches back by this much more."""


class ClipState(Struct, frozen=True):
    """A clip that is being recorded; all times in seconds of the source's own clock."""

    begun: float
    """Time of its first frame."""
    until: float
    """Where it ends unless motion continues."""
    trigger: float
    """When the motion began."""
    group: float = 0.0
    """Length of the last whole group of pictures."""
    key: float | None = None
    """The last keyframe."""


class ClipAction(Enum):
    """What happens to a running clip with the next packet."""

    WRITE = auto()
    SPLIT = auto()
    """End the clip before this packet, and begin another with it."""
    END = auto()
    """End the clip before this packet."""


def decide(state: ClipState, entry: TimedPacket, lengths: RecordingLengths) -> tuple[ClipState, ClipAction]:
    """Take the next packet of a running clip; sound never ends one."""
    if not entry.video:
        return state, ClipAction.WRITE
    if entry.at > state.until + _TICK:
        return state, ClipAction.END
    if not entry.key:
        return state, ClipAction.WRITE
    if state.key is not None:
        state = replace(state, group=entry.at - state.key)
    state = replace(state, key=entry.at)
    # the group that begins here would end beyond the limit
    too_long = entry.at > state.begun and entry.at + state.group > state.begun + lengths.longest + _TICK
    return state, ClipAction.SPLIT if too_long else ClipAction.WRITE


def prolonged(state: ClipState, end: float, lengths: RecordingLengths) -> ClipState:
    """The clip, extended by motion that continues until `end` or later."""
    return replace(state, until=max(state.until, end + lengths.post))


def missing(moments: Sequence[float]) -> int:
    """How many frames are missing in the gaps between ordered times, by the usual distance of two frames."""
    distances = [later - earlier for earlier, later in pairwise(moments)]
    if len(distances) < 3:
        return 0
    usual = median(distances)
    if usual <= 0:
        return 0
    return sum(round(distance / usual) - 1 for distance in distances if distance > 1.5 * usual)
