"""Keeps a camera's sound in step with its pictures, even if they have different clocks."""

from __future__ import annotations

from camarchiver.record.capture.arrival_clock import ArrivalClock

APART = 1.0
"""Seconds that sound may come before or after its picture; more means another clock."""
DRIFT = 0.04
"""Seconds by which the sound may drift before it is moved back."""
REORDERED = 1.0
"""Seconds by which a picture may be shown before one that was sent before it."""
FAR = 10.0
"""Seconds between sound and picture if arrivals give no information: a file is interleaved by less."""


class SoundClock:
    """Compares the arrivals of sound and pictures with their timestamps.

    If the two are more than a second apart, or nothing relates their clocks, the sound is placed by its
    arrival; otherwise their distance is kept. Sound that can't be placed yet is left out.
    """

    def __init__(self, *, live: bool, related: bool = True) -> None:
        """`live`: packets arrive when they are made. `related`: the timestamps have one origin."""
        self.off: float | None = None
        """Seconds that the sound's clock was off when it was last found to differ; None if it does not."""
        self._live = live
        self._unreported = set() if related else {True, False}
        """The streams, pictures as True, whose timestamps begin with their own first packet."""
        self._picture, self._sound = ArrivalClock(), ArrivalClock()
        self._shown: tuple[float, float] | None = None
        """Time and arrival of the last picture, without reordered ones."""
        self._place: float | None = None
        """Seconds that sound must be ahead of the pictures; None until both were compared."""
        self._shift = 0.0
        self.ahead = 0.0
        """Seconds by which the last sound is ahead of its picture."""

    def picture(self, at: float, arrival: float) -> None:
        """Note a picture, by its presentation time and its arrival.

        Of reordered pictures only those count that are sent ahead of others, as soon as they are made.
        """
        if self._shown is not None and 0 < self._shown[0] - at < REORDERED:
            return
        self._shown = at, arrival
        # until both can be compared anew, the sound keeps its place among the pictures
        self._shift += self._picture.see(at, arrival) if self._live else 0.0

    def reported(self, *, video: bool) -> None:
        """Note that a sender report has given the timestamps of a stream their origin.

        They change with it, since before it each stream began with 0 (RFC 3550 section 6.4.1).
        """
        if video in self._unreported:
            self._unreported.remove(video)
            if not self._unreported:
                self._place, self._shift = None, 0.0
                self._picture.clear()
                self._sound.clear()

    def place_by_arrival(self) -> None:
        """From now on the pictures have the times of their arrival, and so must the sound."""
        self._place = 0.0

    def sound(self, order: float, length: float, arrival: float) -> float | None:
        """The seconds to add to the times of one packet of sound; None to leave it out."""
        if self._live:
            # a packet is sent when its last sample was taken
            set_by = self._sound.see(order + length, arrival)
            self._shift -= set_by
            self.off = set_by if abs(set_by) > APART else self.off
            self._compare()
        if self._shown is None:
            return None
        shown, came = self._shown
        # sound is not left out because a picture is late
        due = shown + (min(arrival - came, FAR) if self._live else 0.0)
        self.ahead = order + self._shift - due
        return self._shift if abs(self.ahead) <= (2 * APART if self._live else FAR) else None

    def _is_settled(self) -> bool:
        return self._picture.is_settled and self._sound.is_settled

    def _compare(self) -> None:
        if not self._is_settled() or self._picture.distance is None or self._sound.distance is None:
            return
        ahead = self._sound.distance - self._picture.distance
        if self._place is None:
            together = abs(ahead) <= APART
            self._place = ahead if together and not self._unreported else 0.0
            self.off = None if together else ahead
            self._shift = self._place - ahead
        elif abs(ahead + self._shift - self._place) > DRIFT:
            self._shift = self._place - ahead
