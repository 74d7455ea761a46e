"""The times of a file's frames and sound: collected packet by packet in bounded memory, or by a rate."""

from __future__ import annotations

import heapq
from array import array
from fractions import Fraction

from msgspec import Struct

REORDERED_AT_MOST = 16
"""Frames that may be decoded after one shown later: no H.264 or HEVC decoder holds more pictures."""

_LONGEST_TO_USUAL = 2
"""HE-AAC decodes to twice the samples that its header states."""


class ShownTimes(Struct, frozen=True):
    """When the frames of a stream are shown."""

    first: int
    """Ticks of the stream's time base."""
    times: array[int]
    """Ticks from `first`, sorted."""
    last_duration: int
    """Ticks, as the container states it; 0 if it doesn't."""


def ticks_per_frame(tick: Fraction, rate: Fraction) -> Fraction:
    """Ticks of the stream's time base from one frame to the next."""
    return 1 / (rate * tick)


def shown_at_rate(frames: int, ticks: Fraction) -> ShownTimes:
    """The times of a number of frames at a constant rate, this many ticks apart."""
    return ShownTimes(0, array("q", (round(number * ticks) for number in range(frames))), round(ticks))


class FrameTimes:
    """The presentation times of one stream's frames, given in decoding order."""

    def __init__(self) -> None:
        self.untimed = 0
        """Frames without a presentation time."""
        self.overtaken = 0
        """The highest number of frames that were decoded after one that is shown later."""
        self._sorted = array("q")
        self._waiting: list[int] = []
        self._is_wild = False
        self._latest: int | None = None
        self._last_duration = 0
        self._anchor_offset: int | None = None
        self._overtaking_offset: int | None = None
        self._passed = 0

    def add(self, pts: int | None, dts: int | None, duration: int) -> None:
        """Add a frame that is shown; if only the decoding time is known, it is used."""
        moment = dts if pts is None else pts
        self.untimed += pts is None
        if moment is None:
            return
        self._last_duration = duration
        if len(self._waiting) <= REORDERED_AT_MOST:
            heapq.heappush(self._waiting, moment)
        else:
            self._keep(heapq.heappushpop(self._waiting, moment))

    def look_at_order(self, pts: int, dts: int | None) -> None:
        """Check the order of any frame, also a hidden one; to be called from the first keyframe on."""
        if self._latest is None or pts > self._latest:
            self._latest = pts
            self._passed = 0
        elif pts < self._latest:
            self._passed += 1
            self.overtaken = max(self.overtaken, self._passed)
        if dts is not None:
            self._note_offset(pts - dts, is_anchor=pts == self._latest)

    @property
    def is_disordered(self) -> bool:
        """Whether frames are stamped later than their place in the stream allows.

        A stream that reorders is decoded ahead of its presentation: the delay from decoding to showing is
        longer for frames shown in their turn than for those that overtake them. If the delays are equal,
        nothing was reordered, and a frame has a wrong time.
        """
        if self.overtaken > REORDERED_AT_MOST:
            return True
        anchor, overtaking = self._anchor_offset, self._overtaking_offset
        return anchor is not None and overtaking is not None and anchor <= overtaking

    def shown(self, *, delay: int = 0) -> ShownTimes | None:
        """All frame times; None if no frame has a time. To be called once, at the end.

        If the times are decoding times, a decoder that reorders returns each frame when it gets the one
        `delay` places later, and players show it then.
        """
        while self._waiting:
            self._keep(heapq.heappop(self._waiting))
        times = array("q", sorted(self._sorted)) if self._is_wild else self._sorted
        if not times:
            return None
        step = times[-1] - times[-2] if len(times) > 1 else 0
        for _ in range(min(delay, len(times))):
            times.append(times[-1] + step)
            del times[0]
        first = times[0]
        if first:
            for index, moment in enumerate(times):
                times[index] = moment - first
        return ShownTimes(first, times, self._last_duration)

    def _note_offset(self, offset: int, *, is_anchor: bool) -> None:
        if is_anchor:
            if self._anchor_offset is None or offset < self._anchor_offset:
                self._anchor_offset = offset
        elif self._overtaking_offset is None or offset < self._overtaking_offset:
            self._overtaking_offset = offset

    def _keep(self, moment: int) -> None:
        if self._sorted and moment < self._sorted[-1]:
            self._is_wild = True
        self._sorted.append(moment)


class SoundTimes:
    """When one audio stream is heard."""

    def __init__(self, time_base: Fraction, sample_rate: int, frame_size: int) -> None:
        self._tick = float(time_base)
        self._sample = 1 / sample_rate if sample_rate else 0.0
        self._usual = frame_size * self._sample
        self._skip = 0.0
        self.frame = 0.0
        """Seconds that the longest packet lasts."""
        self.primed = 0.0
        self.start: float | None = None
        """Seconds on the file's clock."""
        self.end = 0.0
        self.gaps = array("d")
        """Start and end of each silence on the file's clock, in turn."""

    def add(self, pts: int, duration: int, *, skipped: tuple[int, int], is_hidden: bool) -> None:
        """Add one packet; `skipped` samples at its start and at its end are not heard."""
        begin = pts * self._tick
        length = duration * self._tick or self._usual
        if self._usual:
            # Mp4 states the time to the next packet, also where nothing is heard between the two.
            length = min(length, _LONGEST_TO_USUAL * self._usual)
        self.frame = max(self.frame, length)
        self._skip += skipped[0] * self._sample
        unheard = min(length, self._skip)
        self._skip -= unheard
        end = begin + length - skipped[1] * self._sample
        begin += unheard
        # A millionth of a second is a rounding error.
        if is_hidden or end - begin < 1e-6:
            self.primed += length if self.start is None else 0.0
            return
        if self.start is None:
            self.primed += unheard
            self.start, self.end = begin, end
            return
        if length and begin - self.end >= max(length, self._usual) / 2:
            self.gaps.extend((self.end, begin))
        self.start = min(self.start, begin)
        self.end = max(self.end, end)
