"""Which packets are worth decoding where keyframes are looked at alone: a pure state machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

APART = 1.0
"""Seconds; of keyframes that are closer together some are left out."""
LONG = 2.5
"""Seconds between two keyframes from which on they can't tell how long motion goes on."""
BURST = 0.5
"""Seconds after a suspicious keyframe in which motion must show, or the suspicion is dropped."""
_TICK = 1e-3
"""Seconds; times of frames are rounded."""


class DecodeChoice(Enum):
    """What is decoded with one packet."""

    NOTHING = auto()
    ALONE = auto()
    """This keyframe by itself."""
    ON = auto()
    """This packet, as the next one of a burst."""
    SINCE = auto()
    """Everything since the last keyframe that was looked at: a burst begins."""


@dataclass(frozen=True, slots=True)
class Attention:
    """The state between two packets; times are in seconds of the source's own clock."""

    looked: float = float("-inf")
    """The last keyframe that was looked at."""
    key: float = float("-inf")
    """The last keyframe."""
    spacing: float = 0.0
    """Between the last two keyframes, or since one that should have been followed by another."""
    until: float | None = None
    """A burst goes on so long at least; None while there is none."""


def step(
    state: Attention, at: float, *, key: bool, moving: bool, doubtful: bool
) -> tuple[Attention, DecodeChoice]:
    """Take the next packet, after everything before it was scored.

    `at` is when a keyframe is shown, and when another packet is decoded.
    `moving`: an event is open. `doubtful`: something moved that is no event yet.
    """
    if key:
        spacing = at - state.key if state.key > float("-inf") else 0.0
        state = replace(state, key=at, spacing=spacing)
    if state.until is not None:
        if not settled(state, moving=moving) and (moving or doubtful or at < state.until):
            return (replace(state, looked=at) if key else state), DecodeChoice.ON
        state = replace(state, until=None)
    if key and at - state.looked >= APART - _TICK:
        return replace(state, looked=at), DecodeChoice.ALONE
    if moving and at - state.looked > LONG:
        return suspect(replace(state, spacing=at - state.looked), at), DecodeChoice.SINCE
    return state, DecodeChoice.NOTHING


def suspect(state: Attention, at: float) -> Attention:
    """A burst begins."""
    return replace(state, until=at + BURST)


def settled(state: Attention, *, moving: bool) -> bool:
    """Whether a burst has told all that it can: somebody is there, and keyframes tell whether they stay."""
    return moving and state.spacing <= LONG
