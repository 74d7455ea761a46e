"""Relates a stream's own clock to the host's clock by the arrival of its packets."""

from __future__ import annotations

from collections import deque

WINDOW = 4.0
"""Seconds of arrivals that are used: long enough to contain a packet that was not delayed, short enough to
follow a clock that runs wrongly."""

SETTLED = 1.5
"""Seconds of arrivals after which they are taken for the time."""
BURST = 4.0
"""Seconds that a server may have stored and may send at once."""
STEP = 0.5
"""Seconds of difference to the host's clock, from one packet to the next, that mean that a clock was set."""


class ArrivalClock:
    """Follows the distance of two clocks, by the packet of the last seconds that was delayed least."""

    def __init__(self, window: float = WINDOW) -> None:
        """`window` is in seconds."""
        self._window = window
        self._best: deque[tuple[float, float]] = deque()
        """Arrivals and distances, the largest distance first; a later, larger one replaces the others."""
        self._began: tuple[float, float] | None = None
        """Time and arrival of the first packet."""
        self._last: tuple[float, float] | None = None

    def see(self, at: float, arrival: float) -> float:
        """Add a packet: its time by the stream's clock, and its arrival by the monotonic clock.

        Returns by how many seconds the stream's clock was set before it, 0 if it was not.
        """
        set_by = 0.0
        if self._last is not None:
            step, passed = at - self._last[0], arrival - self._last[1]
            # after a stalled connection packets come in a burst, with correct times
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
        """Whether arrivals give the time: enough were seen, and packets come about as fast as they are made.

        Opening a stream delays the first packets, and a program that fills a pipe may do so faster.
        """
        if self._began is None or self._last is None:
            return False
        made, came = (last - first for first, last in zip(self._began, self._last, strict=True))
        return came >= SETTLED and came / 2 <= made <= 2 * came + BURST

    def clear(self) -> None:
        """Forget everything: the stream's clock was set."""
        self._best.clear()
        self._began = self._last = None
