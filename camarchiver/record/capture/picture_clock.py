"""Gives a live camera's pictures continuous times if its own clock stops or is set."""

from __future__ import annotations

import logging

from camarchiver.record.capture.arrival_clock import ArrivalClock
from camarchiver.record.capture.packet import TimedPacket

_log = logging.getLogger("camarchiver.record.capture.picture_clock")

STUCK = 2.0
"""Seconds for which pictures come with the same time before that time is ignored."""
SET = 1.0
"""Smallest setting of a clock that is handled, in seconds: an unsteady connection causes less."""
FAR = 10.0
"""Seconds; if a clock is set by more, a new clock begins, and with it a new clip."""


class PictureClock:
    """Compares the times of pictures with their arrivals."""

    def __init__(self, name: str) -> None:
        """`name` is the camera's name for the log."""
        self._name = name
        self._arrivals = ArrivalClock()
        self._shift = 0.0
        self._last: TimedPacket | None = None
        self._distance = 0.0
        """Seconds between the last two pictures."""
        self._since: TimedPacket | None = None
        """The first picture that came with the current time."""
        self.is_stuck = False
        """Whether the pictures have the times of their arrival."""

    def timed(self, entry: TimedPacket) -> TimedPacket:
        """The picture with a corrected time."""
        if self._since is None or (entry.at != self._since.at and not self.is_stuck):
            self._since = entry
        passed = entry.arrival - self._since.arrival
        if not self.is_stuck and passed > STUCK:
            self.is_stuck = True
            _log.warning("%s: all its pictures have one time: they get that of their arrival", self._name)
        if self.is_stuck:
            return entry.moved(self._since.at + passed - entry.at)
        self._follow(entry)
        return entry.moved(self._shift) if self._shift else entry

    def _follow(self, entry: TimedPacket) -> None:
        before, self._last = self._last, entry
        is_settled = self._arrivals.is_settled
        set_by = self._arrivals.see(entry.order, entry.arrival)
        if before is None:
            return
        step, passed = entry.order - before.order, entry.arrival - before.arrival
        if is_settled and SET < abs(set_by) < FAR:
            # the usual distance is exact, an arrival is not; after a second pictures may have been lost
            self._shift -= step - (self._distance if passed < SET else passed)
            _log.warning("%s: its clock was set by %.1f s; the pictures go on", self._name, set_by)
        elif not set_by:
            self._distance = step
