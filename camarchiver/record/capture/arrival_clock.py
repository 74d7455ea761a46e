"""Relates a stream's own clock to the host's by when its packets arrive."""

from __future__ import annotations

from collections import deque

WINDOW = 4.0
"""Seconds of arrivals that count: long enough for a packet that was not delayed, short enough to follow a
clock that runs wrongly."""

SETTLED = 1.5
"""Seconds of arrivals after which they tell the time."""
BURST = 4.0
"""Seconds that a server may have stored and send at once."""
STEP = 0.5
"""Seconds by which a clock leaves the host's from one packet to the next when it was set."""


class ArrivalClock:
    """Follows the distance of two clocks by the packet of the last seconds that took the shortest way."""

    def __init__(self, window: float = WINDOW) -> None:
        """`window` is in seconds."""
        self._window = window
        self._best: deque[tuple[float, float]] = deque()
        """Arrivals and distances, the largest distance first; a later one that is larger replaces others."""
        self._began: tuple[float, float] | None = None
        """Time and arrival of the first packet."""
        self._last: tuple[float, float] | None = None

    def see(self, at: float, arrival: float) -> float:
        """Take a packet: its time by the stream's clock, and when it came by the monotonic clock.

        By how many seconds the stream's clock was set before it, 0 where it was not.
        """
        set_by = 0.0
        if self._last is not None:
            step, passed = at - self._last[0], arrival - self._last[1]
            # after a connection stood still packets come in a burst, with times as they should be
            if not 0 <= step <= STEP and abs(step - passed) > STEP:
                self.clear()
                set_by = step - passed
        self._last = at, arrival
        self._began = self._began or self._last
        distance = at - arrival
        while self._best and self._best[-1][1] <= distance:
            self._best.pop()
        self._best.append((arrival, distance))
        while self._best[0][0] < arrival - self._window:
            self._best.popleft()
        return set_by

    @property
    def distance(self) -> float | None:
        """Seconds that the stream's clock is ahead of the monotonic one; None before the first packet."""
        return self._best[0][1] if self._best else None

    @property
    def is_settled(self) -> bool:
        """Whether arrivals tell the time: some were seen, and packets come about as fast as they are made.

        Opening a stream delays the first ones, and whoever fills a pipe may do so faster.
        """
        if self._began is None or self._last is None:
            return False
        made, came = (last - first for first, last in zip(self._began, self._last, strict=True))
        return came >= SETTLED and came / 2 <= made <= 2 * came + BURST

    def clear(self) -> None:
        """Forget everything: the stream's clock was set."""
        self._best.clear()
        self._began = self._last = None
