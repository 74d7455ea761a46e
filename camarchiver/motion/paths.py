"""Small blobs that travel: a person far away is two or three cells, but keeps a direction."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import hypot

from msgspec import Struct

from camarchiver.motion.planes import Blob

SPAN = 1.4
"""Seconds over which a path is followed: seven pictures."""
TRAVEL = 2.5
"""Cells, 40 pixels at 720p, that a blob travels meanwhile: a person of 40 pixels does, a twig does not."""
ASIDE = 1.0
"""Cells by which it may be off the straight line between the ends of its path."""
SHARE = 0.65
"""A blob is found in at least this share of the pictures of its path."""
MOST = 12
"""Blobs in one picture; where there are more, as in rain, chance makes paths."""

Centre = tuple[float, float]


class _BlobPositions(Struct, frozen=True):
    at: float
    centres: tuple[Centre, ...]


class Paths:
    """Where small blobs were in the last moments."""

    def __init__(self) -> None:
        self._moments: deque[_BlobPositions] = deque()

    def follow(self, blobs: Sequence[Blob], at: float) -> Blob | None:
        """Add the blobs of one picture at `at` seconds; one of them that has travelled straight, or None."""
        while self._moments and at - self._moments[0].at > SPAN + 1e-3:
            self._moments.popleft()
        found = None
        if len(blobs) <= MOST:
            found = next((blob for blob in blobs if self._travelled(blob.centre, at)), None)
        centres = tuple(blob.centre for blob in blobs) if len(blobs) <= MOST else ()
        self._moments.append(_BlobPositions(at, centres))
        return found

    def _travelled(self, end: Centre, at: float) -> bool:
        for number, first in enumerate(self._moments):
            between = [*self._moments][number + 1 :]
            if at - first.at < SPAN / 2 or len(between) < 3:
                break
            for start in first.centres:
                if hypot(end[0] - start[0], end[1] - start[1]) < TRAVEL:
                    continue
                on = sum(_passes(moment, start, first.at, end, at) for moment in between)
                if on >= SHARE * len(between):
                    return True
        return False


def _passes(moment: _BlobPositions, start: Centre, began: float, end: Centre, ended: float) -> bool:
    part = (moment.at - began) / (ended - began)
    x, y = (start[axis] + part * (end[axis] - start[axis]) for axis in (0, 1))
    return any(hypot(centre[0] - x, centre[1] - y) <= ASIDE for centre in moment.centres)
