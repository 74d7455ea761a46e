"""When an archive's frames hold more than a still picture, by the sizes of its packets. Pure.

An encoder of constant quality spends next to nothing on a frame that is predicted from both sides and shows
nothing new. Measured with SVT-AV1, preset 10, crf 35: 18 bytes at 360p and 22 at 720p, also if the source is
noisy, as the noise goes into every eighth frame or so. A person who crosses the picture makes it 30 to 1,300.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from msgspec import Struct

TINY = 8
"""Bytes; an AV1 packet that only shows a frame decoded before has three."""
GROUP = 4
"""Packets in a row of which the smallest counts: the others may be what further frames are predicted from,
which holds the noise."""
STILL_BYTES = 24
STILL_PIXELS = 45_000
"""The smallest packets of a still clip have at most STILL_BYTES, and one more for each STILL_PIXELS."""
MOVES = 2.0
"""Something moves where the smallest packet is this many times as large as in a still picture.

All thirty events of nineteen labelled clips are found with anything from 1.2 to 2.5.
"""
MAY_MOVE = 1.4
"""Above this it is not certain that nothing moves."""
APART = 1.0
"""Seconds; stretches closer together are one."""


class PacketTrust(Enum):
    """What the sizes of a file's packets say."""

    NOTHING = auto()
    """A bit rate decides them: the camera's own, or that of an encoder without constant quality."""
    MOTION = auto()
    """Where something moves; but it was not measured that nothing moves elsewhere."""
    STILLNESS = auto()
    """Both: the encoders and qualities that were measured."""


Stretch = tuple[float, float]
"""Start and end, in seconds."""


class Activity(Struct, frozen=True):
    """When something changes from frame to frame."""

    is_known: bool
    """Whether packet sizes show motion: they do not if nearly all frames hold noise or motion."""
    stretches: tuple[Stretch, ...] = ()
    is_doubtful: bool = False
    """Whether there may be more."""


UNKNOWN = Activity(is_known=False)


def activity_of(packets: Iterable[tuple[float, int]], pixels: int) -> Activity:
    """The activity in a clip that was encoded with constant quality.

    `packets` are presentation time in seconds and bytes of each packet that is no keyframe; `pixels` is the
    picture's size.
    """
    found = sorted(packet for packet in packets if packet[1] > TINY)
    groups = [
        (found[at][0], found[at + GROUP - 1][0], min(size for _, size in found[at : at + GROUP]))
        for at in range(len(found) - GROUP + 1)
    ]
    if not groups:
        return UNKNOWN
    still = sorted(least for _, _, least in groups)[len(groups) // 10]
    if still > STILL_BYTES + pixels / STILL_PIXELS:
        return UNKNOWN
    moving = joined(((start, end) for start, end, least in groups if least > MOVES * still), APART)
    doubtful = [(start, end) for start, end, least in groups if least > MAY_MOVE * still]
    return Activity(
        is_known=True,
        stretches=moving,
        is_doubtful=any(not any(end >= a and start <= b for a, b in moving) for start, end in doubtful),
    )


def joined(stretches: Iterable[Stretch], apart: float) -> tuple[Stretch, ...]:
    """Stretches in their order; those less than `apart` seconds from each other become one."""
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start - found[-1][1] <= apart:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)
