"""Keeps a camera's sound together with its pictures, whatever clocks it gives them."""

from __future__ import annotations

from camarchiver.record.capture.arrival_clock import ArrivalClock

APART = 1.0
"""Seconds that sound may come before or after its picture; more is another clock."""
DRIFT = 0.1
"""Seconds by which the sound may leave its place before it is put there again."""
FAR = 10.0
"""Seconds between sound and picture where arrivals tell nothing: a file is interleaved by less."""


class SoundClock:
    """Compares when sound and pictures arrive with the times they bear.

    Where the two are more than a second apart, the sound is placed by its arrival; where they are not, their
    distance is kept. What can't be placed yet is left out.
    """

    def __init__(self, *, live: bool) -> None:
        """`live`: packets arrive when they are made."""
        self.off: float | None = None
        """Seconds that the sound's clock was off when it was last found to be another; None if it is not."""
        self._live = live
        self._picture, self._sound = ArrivalClock(), ArrivalClock()
        self._shown: tuple[float, float] | None = None
        """Time and arrival of the last picture."""
        self._place: float | None = None
        """Seconds that sound has to be ahead of the pictures; None until both were compared."""
        self._shift = 0.0
        self.ahead = 0.0
        """Seconds by which the last sound came before the picture it should come with."""

    def picture(self, order: float, arrival: float) -> None:
        """A picture came, by its decoding time and its arrival."""
        self._shown = order, arrival
        # until both can be compared anew the sound goes on where it was among the pictures
        self._shift += self._picture.see(order, arrival) if self._live else 0.0

    def sound(self, order: float, arrival: float) -> float | None:
        """The seconds to add to the times of one packet of sound; None to leave it out."""
        if self._live:
            set_by = self._sound.see(order, arrival)
            self._shift -= set_by
            self.off = set_by if abs(set_by) > APART else self.off
            self._compare()
        if self._shown is None:
            return None
        shown, came = self._shown
        # a picture that is late itself is no reason to leave out sound
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
            self._place = ahead if together else 0.0
            self.off = None if together else ahead
            self._shift = self._place - ahead
        elif abs(ahead + self._shift - self._place) > DRIFT:
            self._shift = self._place - ahead
