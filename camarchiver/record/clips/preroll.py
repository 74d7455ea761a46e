"""The last seconds of a camera, as whole groups of pictures, and which of them a clip begins with."""

from __future__ import annotations

from collections import deque

from camarchiver.record.capture.packet import TimedPacket


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

    def since(self, at: float) -> tuple[TimedPacket, ...]:
        """Everything from the keyframe at or before `at` on, or from the oldest one held.

        Sound that belongs to later pictures than the keyframe may have come before it, and is among this;
        sound that belongs to earlier ones is not.
        """
        starts = [number for number, group in enumerate(self._groups) if group[0].at <= at]
        first = starts[-1] if starts else 0
        held = [entry for number, group in enumerate(self._groups) if number >= first for entry in group]
        if not held:
            return ()
        before = self._groups[first - 1] if first else []
        early = [entry for entry in before if not entry.video]
        return tuple(entry for entry in (held[0], *early, *held[1:]) if entry.video or entry.at >= held[0].at)

    def clear(self) -> None:
        """Drop everything, since the next packets have another clock or codec."""
        self._groups.clear()
        self._size = 0

    def _outlived(self, now: float) -> bool:
        return len(self._groups) > 1 and self._groups[1][0].at <= now - self._seconds
