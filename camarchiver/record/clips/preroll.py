"""The last seconds of a camera, as whole groups of pictures, and which of them a clip begins with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from camarchiver.record.capture.packet import TimedPacket


class FirstPackets(Struct, frozen=True):
    """What a clip begins with."""

    hidden: tuple[TimedPacket, ...]
    """Pictures from a keyframe on that are decoded and not shown, since a gradual refresh is not complete."""
    shown: tuple[TimedPacket, ...]
    """The first picture that is shown, and everything after it."""


class PreRoll:
    """Whole groups of pictures, bounded in seconds and in bytes; it also fills while a clip is written."""

    def __init__(self, seconds: float, limit: int) -> None:
        """`limit` is in bytes. A larger group is dropped whole: no clip could begin in it."""
        self._seconds = seconds
        self._limit = limit
        self._groups: deque[list[TimedPacket]] = deque()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    @property
    def is_empty(self) -> bool:
        """Whether no clip could begin, because no keyframe came or its group is too large."""
        return not self._groups

    def push(self, entry: TimedPacket) -> None:
        """Add the next packet in decoding order; packets before the first keyframe are dropped."""
        if entry.video and entry.key:
            self._groups.append([])
        if not self._groups:
            return
        self._groups[-1].append(entry)
        self._size += entry.size
        while self._groups and (self._size > self._limit or self._outlived(entry.at)):
            self._size -= sum(old.size for old in self._groups.popleft())

    def since(self, at: float) -> FirstPackets | None:
        """Everything from the keyframe at or before `at` on, or from the oldest one; None if none is held.

        Sound that belongs to later pictures than the first one may have come before it, and is among this;
        sound that belongs to earlier ones is not.
        """
        whole = [(number, entry) for number in range(len(self._groups)) if (entry := self._whole(number))]
        if not whole:
            return None
        number, first = next((one for one in reversed(whole) if one[1].at <= at), whole[0])
        held = list(self._from(number))
        place = held.index(first)
        before = self._groups[number - 1] if number else []
        early = [entry for entry in (*before, *held[:place]) if not entry.video]
        shown = (first, *early, *held[place + 1 :])
        return FirstPackets(
            tuple(entry for entry in held[:place] if entry.video),
            tuple(entry for entry in shown if entry.video or entry.at >= first.at),
        )

    def before(self, entry: TimedPacket) -> tuple[TimedPacket, ...]:
        """The pictures to decode before this one, which was added last; none if it is whole."""
        beginning = self.since(entry.at)
        if beginning is None or not entry.refresh:
            return ()
        everything = (*beginning.hidden, *beginning.shown)
        return tuple(one for one in everything if one.video and one is not entry)

    def clear(self) -> None:
        """Drop everything, since the next packets have another clock or codec."""
        self._groups.clear()
        self._size = 0

    def _from(self, number: int) -> Iterator[TimedPacket]:
        """The packets from a group on."""
        for place, group in enumerate(self._groups):
            if place >= number:
                yield from group

    def _whole(self, number: int) -> TimedPacket | None:
        """The first whole picture from a group on; None if it has not come yet."""
        refresh = self._groups[number][0].refresh
        if not refresh:
            return self._groups[number][0]
        pictures = (entry for entry in self._from(number) if entry.video)
        return next((entry for count, entry in enumerate(pictures) if count == refresh), None)

    def _outlived(self, now: float) -> bool:
        whole = self._whole(1) if len(self._groups) > 1 else None
        return whole is not None and whole.at <= now - self._seconds
