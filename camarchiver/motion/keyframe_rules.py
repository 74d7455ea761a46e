"""Which packets are decoded in keyframe mode: a pure state machine."""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

APART = 1.0
"""Seconds; if keyframes are closer together, some are skipped."""
LONG = 2.5
"""Seconds between two keyframes above which they can't show how long motion continues."""
BURST = 0.5
"""Seconds after a suspicious keyframe in which motion must show, or the suspicion is dropped."""
_TICK = 1e-3
"""Seconds; times of frames are rounded."""


class DecodeChoice(Enum):
    """What is decoded when a packet arrives."""

    NOTHING = auto()
    ALONE = auto()
    """Only this keyframe."""
    ON = auto()
    """This packet, as the next one of a burst."""
    SINCE = auto()
    """Everything since the last decoded keyframe: a burst begins."""


class KeyframeState(Struct, frozen=True):
    """The state between two packets; times are in seconds of the source's own clock."""

    looked: float = float("-inf")
    """Time of the last decoded keyframe."""
    key: float = float("-inf")
    """Time of the last keyframe."""
    spacing: float = 0.0
    """Seconds between the last two keyframes, or since one after which another was due."""
    until: float | None = None
    """A burst continues at least until this time; None while there is no burst."""


def step(
    state: KeyframeState, at: float, *, key: bool, moving: bool, doubtful: bool
) -> tuple[KeyframeState, DecodeChoice]:
    """Process the next packet, after everything before it was scored.

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


def suspect(state: KeyframeState, at: float) -> KeyframeState:
    """The state with a burst that begins now."""
    return replace(state, until=at + BURST)


def settled(state: KeyframeState, *, moving: bool) -> bool:
    """Whether a burst is no longer needed: there is motion, and keyframes show whether it continues."""
    return moving and state.spacing <= LONG
