"""What moves in a picture: luma frames in, one score per frame out; OpenCV does the image processing."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp

import cv2
import numpy as np

from camarchiver.domain.motion import View
from camarchiver.motion.changes import PictureChange
from camarchiver.motion.events import Rules, Score
from camarchiver.motion.paths import Paths
from camarchiver.motion.planes import (
    Blob,
    Cells,
    Luma,
    Plane,
    blobs,
    grown,
    in_cells,
    in_pixels,
    normalised,
    smooth,
)
from camarchiver.motion.view import areas

LEARNING = 6.5
"""Seconds in which the background adopts two thirds of a change, where nothing differs from it."""
LEARNING_MOVING = 45.0
"""The same where something differs, so that a person who walks slowly does not become background."""
WARM_UP = 6
"""Frames from which the first background is learned, at least."""
WARM_UP_TIME = 3.0
"""Seconds from which it is learned, at least: noise, rain and swaying leaves have to be seen often enough."""
UPSET = 1.0
"""Seconds; a change of the whole picture that lasts longer is taken for motion (a person close by)."""

DEVIATION = 5.0
"""Standard deviations by which a cell must differ from its background to count."""
DIFFERENCE = 3.5
"""Multiple of its usual frame difference by which a cell must differ from the frame before."""
MOST = 0.5
"""Fraction of the cells that must change at once for a change of the whole picture."""
BRIGHTER = 6.0
"""Grey levels by which a cell's mean must change to count as lit or shaded."""
LIT_SHARE = 0.05
"""An object covers at least this fraction of the cells whose brightness changed; a passing light does not."""
SMALL = 0.45
"""A blob that travels in a straight line needs only this part of the smallest area: two cells."""
CHOICE = 4
"""Largest blobs of a picture that are examined: a person may walk beside a torch's light."""
STANDING = 0.5
"""An object that is still there has more than this part of the edges that changed; otherwise it has left."""
REST = 1 / 3
"""A person who stops covers at least this part of the area seen in motion; less is ground not learned yet."""
NEVER = float("-inf")


class Detector:
    """The learned background of one camera.

    A cell moves when it differs from its background and from the frame before, both after local contrast
    normalisation, and when the picture has gained or lost structure there: light changes brightness smoothly,
    an object brings edges of its own. Made for about five frames a second; slower works, faster is wasteful.
    """

    def __init__(self, rules: Rules, view: View | None = None) -> None:
        cv2.setNumThreads(1)  # at this size threads cost more than they save
        cv2.ipp.setUseIPP(False)  # without it OpenCV is as fast, and 5 MB smaller
        self._rules = rules
        self._view = view or View()
        self._model: _Model | None = None

    def score(self, luma: Luma, at: float) -> Score:
        """Score one frame of `shrink`'s size at `at` seconds and learn from it."""
        if self._model is None or self._model.size != luma.shape:
            self._model = _Model(luma, at, self._rules, self._view)
            return Score(0.0)
        return self._model.score(luma, at)

    def peek(self, luma: Luma) -> float:
        """Upper bound of what `score` may find, in percent, without learning: is a burst worth decoding?"""
        if self._model is None or self._model.size != luma.shape:
            return 0.0
        return self._model.peek(luma)


class _Model:
    def __init__(self, luma: Luma, at: float, rules: Rules, view: View) -> None:
        self.size = luma.shape
        self._rules = rules
        self._watched, self._zones = areas(view, luma.shape)
        self._began = self._at = at
        self._upset_since: float | None = None
        self._frames = 1
        picture = smooth(luma)
        normal = normalised(picture)
        self._mean = in_cells(normal)
        self._variance = np.full_like(self._mean, 0.01)
        self._usual = np.full_like(self._mean, 0.03)
        """Per cell, the usual frame difference."""
        self._before = normal
        self._bright = in_cells(picture)
        self._background = picture
        self._moved = np.full_like(self._mean, NEVER)
        """Per cell, when something last moved there that still differs from the background."""
        self._size = 0
        """Cells of the object that moved last."""
        self._paths = Paths()

    def score(self, luma: Luma, at: float) -> Score:
        elapsed, self._at = max(at - self._at, 0.0), at
        self._frames += 1
        picture = smooth(luma)
        normal = normalised(picture)
        values, bright = in_cells(normal), in_cells(picture)
        difference = in_cells(cv2.absdiff(normal, self._before))
        lit = np.abs(bright - self._bright) > BRIGHTER
        self._before, self._bright = normal, bright
        different = self._different(values)
        moving = self._moving(difference)
        if not self._warming and max(different.mean(), moving.mean()) > MOST:
            return self._upset(picture, values, difference, moving, at)
        self._upset_since = None
        score = self._judge(picture, values, different, moving, lit, at)
        self._learn(picture, values, difference, different, moving, elapsed)
        if lit.mean() > MOST and not score.area:
            self._relearn(picture, values)
        return score

    def peek(self, luma: Luma) -> float:
        normal = normalised(smooth(luma))
        moving = self._moving(in_cells(cv2.absdiff(normal, self._before)))
        found = blobs(self._different(in_cells(normal)) & grown(moving) & self._watched)
        return self._percent(found[0]) if found else 0.0

    @property
    def _warming(self) -> bool:
        return self._frames <= WARM_UP or self._at - self._began < WARM_UP_TIME

    def _percent(self, blob: Blob) -> float:
        return 100.0 * blob.count / self._mean.size

    def _different(self, values: Plane) -> Cells:
        limit = DEVIATION * self._rules.contrast
        different: Cells = np.square(values - self._mean) > limit * limit * (self._variance + 0.03**2)
        return different

    def _moving(self, difference: Plane) -> Cells:
        moving: Cells = difference > DIFFERENCE * self._rules.contrast * (self._usual + 0.02)
        return moving

    def _upset(self, picture: Plane, values: Plane, difference: Plane, moving: Cells, at: float) -> Score:
        if self._upset_since is None:
            self._upset_since = at
        solid = PictureChange(picture, self._background).solid
        self._relearn(picture, values)
        self._usual += 0.3 * (difference - self._usual)  # infrared increases the sensor's noise
        if at - self._upset_since <= UPSET:
            return Score(0.0, unsure=True)
        found = blobs(moving & solid & self._watched)
        return Score(self._percent(found[0]), zone=self._zone(found[0])) if found else Score(0.0)

    def _relearn(self, picture: Plane, values: Plane) -> None:
        self._mean, self._background = values.copy(), picture.copy()
        self._variance = np.maximum(self._variance, np.float32(0.01))
        self._moved[:] = NEVER

    def _judge(
        self, picture: Plane, values: Plane, different: Cells, moving: Cells, lit: Cells, at: float
    ) -> Score:
        self._moved[~different] = NEVER
        self._absorb(at - self._moved > self._rules.still, picture, values)
        if self._warming:
            return Score(0.0)
        least = self._mean.size * self._rules.min_area / 100
        suspects = blobs(different & grown(moving) & self._watched, least=round(SMALL * least))
        traveller = self._paths.follow(suspects, at)
        footprint = self._moved > NEVER
        if not (traveller or (suspects and suspects[0].count >= least) or footprint.any()):
            return Score(0.0)
        change = PictureChange(picture, self._background)
        if change.refocused():
            self._relearn(picture, values)
            return Score(0.0, unsure=True)
        least = max(least, LIT_SHARE * float(lit.sum()))
        thing = self._thing(change, suspects, traveller, least)
        area = 0.0
        if thing is not None:
            self._size = thing.count
            area = max(self._percent(thing), self._rules.min_area)
            self._moved[grown(thing.cells) & different] = at
        return Score(area, self._present(change, picture, values), self._zone(thing))

    def _thing(
        self, change: PictureChange, suspects: Sequence[Blob], traveller: Blob | None, least: float
    ) -> Blob | None:
        """The largest object of all that moves."""
        cells = np.zeros_like(change.solid)
        for suspect in suspects:
            cells |= suspect.cells
        solid = blobs(cells & change.solid, least=max(1, ceil(least)))
        found = next((blob for blob in solid[:CHOICE] if change.is_object(blob)), None)
        if found is None and traveller is not None and change.is_object(traveller):
            return traveller
        return found

    def _present(self, change: PictureChange, picture: Plane, values: Plane) -> float:
        """The largest area where something moved and still stands, in percent; learns the ground it left."""
        present = 0.0
        for part in blobs(self._moved > NEVER):
            if change.own_edges(part.cells) > STANDING:
                standing = int((part.cells & change.solid).sum())
                if standing >= REST * self._size:
                    present = max(present, 100.0 * standing / part.cells.size)
            elif not (self._moved[part.cells] >= self._at).any():
                self._absorb(part.cells, picture, values)
        return present

    def _absorb(self, cells: Cells, picture: Plane, values: Plane) -> None:
        """Make what stood still long enough, a parked car or a moved chair, part of the background."""
        cells = cells & (self._moved > NEVER)
        if not cells.any():
            return
        self._mean[cells] = values[cells]
        pixels = in_pixels(cells.astype(np.float32), picture.shape) > 0
        self._background[pixels] = picture[pixels]
        self._moved[cells] = NEVER

    def _learn(
        self,
        picture: Plane,
        values: Plane,
        difference: Plane,
        different: Cells,
        moving: Cells,
        elapsed: float,
    ) -> None:
        # a plain average until there are enough frames for a weighted one
        least = 1 / self._frames if self._warming else 0.0
        calm, busy = (max(1 - exp(-elapsed / length), least) for length in (LEARNING, LEARNING_MOVING))
        rate = np.where(different, np.float32(busy), np.float32(calm))
        rate[grown(grown(self._moved > NEVER))] = 0
        change = values - self._mean
        self._mean += rate * change
        self._variance += rate * (np.minimum(np.square(change), 0.25) - self._variance)
        step = picture - self._background
        step *= in_pixels(rate, picture.shape)
        self._background += step
        self._usual += np.where(moving, 0.3 * calm, calm).astype(np.float32) * (difference - self._usual)

    def _zone(self, thing: Blob | None) -> str:
        """The zone that holds most of the thing."""
        if thing is None:
            return ""
        inside = {name: int((thing.cells & zone).sum()) for name, zone in self._zones.items()}
        best = max(inside, key=lambda name: inside[name], default="")
        return best if best and inside[best] else ""
