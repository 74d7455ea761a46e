"""Completes the times of packets: RTP states when a picture is shown, not when it is decoded."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import pairwise

from camarchiver.record.capture.feed import AnyPacket, timed

REORDERED = 4
"""How far, in pictures, one may be sent ahead of those shown before it; cameras use two at most."""
_WAIT = 1
"""Seconds of pictures that are held back at most."""
_STEP_PICTURES = 15
"""Pictures by which a time may differ from the one before without belonging to another clock."""


def complete(packets: Iterable[AnyPacket], *, guessed: bool) -> Iterator[AnyPacket]:
    """Every packet with both of its times; packets without any time are left out.

    `guessed`: decoding times are not the source's but libavformat's, which errs while it does not know how
    pictures are reordered, and gives the first keyframe no time at all. Then they are made of the times of
    presentation, for which the first pictures are held back.
    """
    if not guessed:
        yield from (packet for packet in packets if timed(packet))
        return
    held: list[AnyPacket] = []
    order: _DecodingTimes | None = None
    for packet in packets:
        if packet.stream.type != "video":
            if timed(packet):
                yield packet
        elif not packet.size:
            continue
        elif order is None:
            held.append(packet)
            if len(held) > REORDERED or _lasts_long(held):
                order = _DecodingTimes(held)
                yield from order.first()
        elif timed(packet):
            order.complete(packet)
            yield packet
    if order is None and held:
        yield from _DecodingTimes(held).first()


def _lasts_long(held: list[AnyPacket]) -> bool:
    """Whether the pictures that are held back are so rare that waiting for more takes too long."""
    times = [one.pts * one.time_base for one in held if one.pts is not None]
    return len(times) > 1 and max(times) - min(times) > _WAIT


class _DecodingTimes:
    """Gives pictures decoding times: the presentation times in order, shifted by some pictures."""

    def __init__(self, held: list[AnyPacket]) -> None:
        """`held` are the first pictures of a stream."""
        self._length = next((one.duration for one in held if one.duration), 0) or 1
        self._held = held
        if held[0].pts is None:
            shown = [one.pts for one in held if one.pts is not None]
            held[0].pts = _missing(shown, self._length) if shown else held[0].dts
        self._held = [one for one in held if timed(one)]
        times = [one.pts or 0 for one in self._held]
        self._reorders = any(later < earlier for earlier, later in pairwise(times))
        self._last = 0
        self._begin(min(times, default=0))

    def first(self) -> Iterator[AnyPacket]:
        """The pictures that were held back."""
        for packet in self._held:
            self._last = packet.pts or 0
            self.complete(packet)
            yield packet
        self._held = []

    def complete(self, packet: AnyPacket) -> None:
        """Give a picture its decoding time."""
        shown = packet.pts or 0
        step, self._last = shown - self._last, shown
        if abs(step) > _STEP_PICTURES * self._length:
            self._begin(shown)
        elif step < 0:
            self._reorders = True
        if not self._reorders:
            packet.dts = shown
            return
        insort(self._seen, shown)
        lacking = REORDERED + 1 - len(self._seen)
        packet.dts = self._seen.pop(0) if lacking <= 0 else self._base - lacking * self._length

    def _begin(self, base: int) -> None:
        """Begin a clock, with this as its earliest time."""
        self._base = base
        self._seen: list[int] = []


def _missing(shown: list[int], length: int) -> int:
    """The presentation time of the first picture, from the following ones in the order sent.

    It is after the pictures of an open group, which are sent after it and shown first, or before all others.
    """
    times = sorted(shown)
    hole = next((one for one, other in pairwise(times) if other - one > 1.5 * length), None)
    # what was sent next is shown last of a reordered group that follows the first picture
    return times[0] - length if hole is None or hole == shown[0] else hole + length
