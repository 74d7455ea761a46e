"""The motion in a whole clip: what its keyframes show, and what its packets say of the time between. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from camarchiver.domain.motion import MOST_SPANS, ClipMotion, MotionSpan
from camarchiver.motion.activity import APART, Activity, Stretch, joined


class KeyframeChange(Struct, frozen=True):
    """What differs between two keyframes, one after the other; times are in seconds."""

    start: float
    """Of the first of them."""
    end: float
    came: float
    """The largest object that only the second one shows, in percent of the picture; 0 if there is none."""
    went: float
    """The largest object that only the first one shows."""
    zones: tuple[str, ...] = ()
    """The zones in which such an object is or was."""
    unsure: bool = False
    """Whether something differs that may be an object or not: light, focus, the whole picture."""

    @property
    def is_motion(self) -> bool:
        """Whether an object came, went or moved."""
        return bool(self.came or self.went)


def motion_in(changes: Sequence[KeyframeChange], activity: Activity, *, has_mask: bool) -> ClipMotion:
    """The motion in a clip, of which `changes` are those between its keyframes.

    With a mask only keyframes can say whether what moves is under it.
    """
    moved = [change for change in changes if change.is_motion]
    if activity.is_known:
        stretches = [each for each in activity.stretches if not has_mask or _near(moved, each)]
        lone = [change for change in moved if not any(_meets(change, each) for each in activity.stretches)]
        is_unsure = len(stretches) < len(activity.stretches) or bool(lone) or activity.is_doubtful
    else:
        stretches = [(change.start, change.end) for change in moved]
        is_unsure = True
    return ClipMotion(
        tuple(_span(stretch, moved) for stretch in _fewer(stretches)),
        unsure=is_unsure or not changes or any(change.unsure for change in changes),
    )


def _span(stretch: Stretch, moved: Iterable[KeyframeChange]) -> MotionSpan:
    zones = sorted({zone for change in _near(moved, stretch) for zone in change.zones})
    return MotionSpan(round(max(stretch[0], 0.0), 2), round(max(stretch[1], 0.0), 2), tuple(zones))


def _near(moved: Iterable[KeyframeChange], stretch: Stretch) -> list[KeyframeChange]:
    return [change for change in moved if _meets(change, stretch)]


def _meets(change: KeyframeChange, stretch: Stretch) -> bool:
    return change.start <= stretch[1] and stretch[0] <= change.end


def _fewer(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    apart = APART
    found = joined(stretches, apart)
    while len(found) > MOST_SPANS:
        apart *= 2
        found = joined(found, apart)
    return found
