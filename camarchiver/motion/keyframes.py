"""What moved from one keyframe to the next: the parts of the detector that need no learned background."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
from msgspec.structs import replace

from camarchiver.domain.motion import View
from camarchiver.motion.changes import PictureChange
from camarchiver.motion.clip_motion import KeyframeChange
from camarchiver.motion.detector import CHOICE, DIFFERENCE, MOST
from camarchiver.motion.events import Rules
from camarchiver.motion.planes import Blob, Cells, Luma, Plane, blobs, in_cells, median, normalised, smooth
from camarchiver.motion.view import areas

NOISE = 0.3
"""Difference, relative to local contrast, of most cells of two pictures that show different things.

Infrared noise, rain and switched lights make 0.02 to 0.12 of it, another picture 0.8.
"""


class KeyframeDetector:
    """Compares each keyframe with the one before."""

    def __init__(self, rules: Rules, view: View) -> None:
        """Raises UsageError for a mask that can't be read, with the first picture."""
        cv2.setNumThreads(1)
        cv2.ipp.setUseIPP(False)
        self._rules = rules
        self._view = view
        self._watched: Cells | None = None
        self._zones: dict[str, Cells] = {}
        self._before: tuple[Plane, Plane, float] | None = None
        """Smoothed and normalised picture, and its time."""

    def look(self, luma: Luma, at: float) -> KeyframeChange | None:
        """Compare a picture of `shrink`'s width with the one before; None for the first of its size."""
        picture = smooth(luma)
        normal = normalised(picture)
        before, self._before = self._before, (picture, normal, at)
        if before is None or before[0].shape != picture.shape:
            # Here zones only name what moves; for a recorder nothing outside of them counts.
            self._watched, _ = areas(replace(self._view, zones={}), luma.shape)
            _, self._zones = areas(self._view, luma.shape)
            return None
        return self._compared(before, (picture, normal, at))

    def _compared(
        self, before: tuple[Plane, Plane, float], now: tuple[Plane, Plane, float]
    ) -> KeyframeChange:
        assert self._watched is not None
        start, end = before[2], now[2]
        difference = in_cells(cv2.absdiff(now[1], before[1]))
        usual = median(difference)
        moving = difference > DIFFERENCE * self._rules.contrast * (usual + 0.02)
        if usual > NOISE or moving.mean() > MOST:
            return KeyframeChange(start, end, 0.0, 0.0, unsure=True)
        least = self._watched.size * self._rules.min_area / 100
        suspects = blobs(moving & self._watched, least=max(1, ceil(least)))
        if not suspects:
            return KeyframeChange(start, end, 0.0, 0.0)
        came, went = PictureChange(now[0], before[0]), PictureChange(before[0], now[0])
        if came.refocused():
            return KeyframeChange(start, end, 0.0, 0.0, unsure=True)
        new, gone = _objects(came, suspects, least), _objects(went, suspects, least)
        areas_of = (100.0 * max((blob.count for blob in each), default=0) for each in (new, gone))
        largest, lost = (area / self._watched.size for area in areas_of)
        objects = new + gone
        return KeyframeChange(start, end, largest, lost, self._zones_of(objects), unsure=not objects)

    def _zones_of(self, objects: Sequence[Blob]) -> tuple[str, ...]:
        return tuple(
            name for name, zone in self._zones.items() if any((blob.cells & zone).any() for blob in objects)
        )


def _objects(change: PictureChange, suspects: Sequence[Blob], least: float) -> list[Blob]:
    """The largest parts of the suspects that are objects in the second picture."""
    cells = np.logical_or.reduce([suspect.cells for suspect in suspects]) & change.solid
    return [blob for blob in blobs(cells, least=max(1, ceil(least)))[:CHOICE] if change.is_object(blob)]
