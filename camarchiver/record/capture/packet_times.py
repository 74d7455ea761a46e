"""Completes the times of packets: RTP states when a picture is shown, not when it is decoded."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TypeAlias

from camarchiver.record.capture.feed import AnyPacket, timed

REORDERED = 4
"""How far, in pictures, one may be sent ahead of those shown before it; cameras use two at most."""
SOUND_WAIT = 3.0
"""Seconds for which sound waits at most for pictures that are held back."""
_WAIT = 1
"""Seconds of pictures that are held back at most."""
_STEP_PICTURES = 15
"""Pictures by which a time may differ from the one before without belonging to another clock."""

PacketArrival: TypeAlias = tuple[AnyPacket, float]
"""A packet, and when it was read, in seconds of the monotonic clock."""


def complete(packets: Iterable[AnyPacket], *, guessed: bool) -> Iterator[PacketArrival]:
    """Every packet with both of its times; packets without any time are left out.

    `guessed`: decoding times are not the source's but libavformat's, which errs while it does not know how
    pictures are reordered, and gives the first keyframe no time at all. Then they are made of the times of
    presentation, for which the first pictures of a clock are held back.

    Sound waits with the pictures of a clock that was set: it belongs to them, not to a clip that ends there.
    """
    if not guessed:
        yield from ((packet, time.monotonic()) for packet in packets if timed(packet))
        return
    held: list[PacketArrival] = []
    order: _DecodingTimes | None = None
    for packet in packets:
        arrived = packet, time.monotonic()
        if not _is_picture(packet):
            if not timed(packet):
                continue
            if order is not None and held and arrived[1] - held[0][1] <= SOUND_WAIT:
                held.append(arrived)
                continue
            yield from (one for one in held if not _is_picture(one[0]))
            held = [one for one in held if _is_picture(one[0])]
            yield arrived
        elif not packet.size or (order is not None and not timed(packet)):
            continue
        elif order is not None and not held and not order.is_set_by(packet):
            order.complete(packet)
            yield arrived
        else:
            held.append(arrived)
            if _is_enough([one for one, _ in held if _is_picture(one)], order):
                order = _held_back(held, order)
                yield from (one for one in held if one[0].dts is not None)
                held = []
    if held:
        _held_back(held, order)
        yield from (one for one in held if one[0].dts is not None)


def _is_picture(packet: AnyPacket) -> bool:
    return bool(packet.stream.type == "video")


def _held_back(held: list[PacketArrival], order: _DecodingTimes | None) -> _DecodingTimes:
    """Give the pictures that were held back their decoding times."""
    pictures = [packet for packet, _ in held if _is_picture(packet)]
    if order is None:
        return _DecodingTimes(pictures)
    order.begin_anew(pictures)
    return order


def _is_enough(pictures: list[AnyPacket], order: _DecodingTimes | None) -> bool:
    """Whether the decoding times of pictures that are held back can be made."""
    # whether a later one fills a hole among the first is known after twice as many
    return len(pictures) > (REORDERED if order is None else 2 * REORDERED) or _last_long(pictures)


def _last_long(held: list[AnyPacket]) -> bool:
    """Whether the pictures that are held back are so rare that waiting for more takes too long."""
    times = [one.pts * one.time_base for one in held if one.pts is not None]
    return len(times) > 1 and max(times) - min(times) > _WAIT


class _DecodingTimes:
    """Gives pictures decoding times: the presentation times in order, shifted by some pictures."""

    def __init__(self, first: list[AnyPacket]) -> None:
        """`first` are the first pictures of a stream, which get their times."""
        shown = [one.pts for one in first if one.pts is not None]
        self._length = next((one.duration for one in first if one.duration), 0) or _least_distance(shown)
        if first[0].pts is None:
            first[0].pts = _missing(shown, self._length) if shown else first[0].dts
        known = [one for one in first if timed(one)]
        times = [one.pts or 0 for one in known]
        self._reorders = any(later < earlier for earlier, later in pairwise(times))
        self._last = 0
        self._begin(min(times, default=0))
        self._complete_all(known)

    def is_set_by(self, packet: AnyPacket) -> bool:
        """Whether a picture belongs to another clock than the one before it, and has to wait for others."""
        return self._reorders and self._is_far(packet)

    def begin_anew(self, first: list[AnyPacket]) -> None:
        """Give the first pictures of another clock their times, as if the same one had gone on."""
        times = sorted(one.pts or 0 for one in first)
        self._begin(times[0])
        # a picture that no longer comes was sent by the old clock, ahead of these
        certain = times[: max(len(times) - REORDERED, 1)]
        for earlier, later in pairwise(certain):
            lacking = min(round((later - earlier) / self._length) - 1, REORDERED - len(self._seen))
            self._seen += [earlier + self._length * (number + 1) for number in range(lacking)]
        self._complete_all(first)

    def complete(self, packet: AnyPacket) -> None:
        """Give a picture its decoding time."""
        shown = packet.pts or 0
        if self._is_far(packet):
            self._begin(shown)
        elif shown < self._last:
            self._reorders = True
        self._last = shown
        if not self._reorders:
            packet.dts = shown
            return
        insort(self._seen, shown)
        lacking = REORDERED + 1 - len(self._seen)
        packet.dts = self._seen.pop(0) if lacking <= 0 else self._base - lacking * self._length

    def _complete_all(self, packets: list[AnyPacket]) -> None:
        for packet in packets:
            # however far apart they are, they are of one clock
            self._last = packet.pts or 0
            self.complete(packet)

    def _is_far(self, packet: AnyPacket) -> bool:
        return abs((packet.pts or 0) - self._last) > _STEP_PICTURES * self._length

    def _begin(self, base: int) -> None:
        """Begin a clock, with this as its earliest time."""
        self._base = base
        self._seen: list[int] = []


def _least_distance(times: list[int]) -> int:
    """Between two different times; 1 if there are no two."""
    return min((later - earlier for earlier, later in pairwise(sorted(set(times)))), default=1)


def _missing(shown: list[int], length: int) -> int:
    """The presentation time of the first picture, from the following ones in the order sent.

    It is after the pictures of an open group, which are sent after it and shown first, or before all others.
    """
    times = sorted(shown)
    hole = next((one for one, other in pairwise(times) if other - one > 1.5 * length), None)
    # what was sent next is shown last of a reordered group that follows the first picture
    return times[0] - length if hole is None or hole == shown[0] else hole + length
