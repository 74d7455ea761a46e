"""Completes the times of packets: of a camera's first pictures libavformat does not know all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from camarchiver.record.capture.feed import AnyPacket, timed

_HELD = 32
"""Pictures that are held back at most until one has both times: more than any decoder reorders."""


def complete(packets: Iterable[AnyPacket]) -> Iterator[AnyPacket]:
    """Every packet with both of its times; those without any are left out.

    An RTSP stream's first keyframe has no time at all, and those before the first reordered picture have no
    decoding time. They are held back until one has both, and counted back from there.
    """
    held: list[AnyPacket] = []
    known = False
    for packet in packets:
        if known or not packet.size or packet.stream.type != "video":
            if timed(packet):
                yield packet
            continue
        known = packet.dts is not None and packet.pts is not None
        if known:
            _count_back(held, packet)
        else:
            held.append(packet)
        if known or len(held) > _HELD:
            # in the second case the packet is among those that were held
            yield from (one for one in (*held, *([packet] if known else [])) if timed(one))
            known, held = True, []
    yield from (one for one in held if timed(one))


def _count_back(held: list[AnyPacket], known: AnyPacket) -> None:
    """Complete the pictures before one that has both of its times, where their distance is known."""
    length = known.duration or next((one.duration for one in held if one.duration), 0)
    if not length or known.dts is None:
        return
    if held and held[0].pts is None:
        shown = [one.pts for one in (*held, known) if one.pts is not None]
        held[0].pts = _missing(shown, length)
    for number, packet in enumerate(reversed(held), 1):
        if packet.dts is None:
            packet.dts = known.dts - number * length


def _missing(shown: list[int], length: int) -> int:
    """Which presentation time lacks among the following ones: that of the first picture."""
    times = sorted(shown)
    hole = next((one for one, other in pairwise(times) if other - one > 1.5 * length), None)
    return times[0] - length if hole is None else hole + length
