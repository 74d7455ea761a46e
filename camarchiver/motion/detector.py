"""What moves in a picture: luma frames in, one score per frame out; OpenCV does the image processing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, hypot
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from camarchiver.errors import UsageError
from camarchiver.motion.events import Polygon, Rules, Score

WIDTH = 320
"""Pixels; every picture is scaled to this width: a finer one costs more and finds more noise."""
CELL = 4
"""Pixels per side; the models keep one value per cell, which averages out the sensor's noise."""
NEIGHBOURHOOD = 31
"""Pixels; size of the window for normalising local contrast, about a tenth of the picture's width."""

LEARNING = 6.5
"""Seconds in which the background adopts two thirds of a change, where nothing differs from it."""
LEARNING_MOVING = 45.0
"""The same where something differs, so that a person who walks slowly does not become background."""
WARM_UP = 6
"""Frames from which the first background is learned."""
UPSET = 1.0
"""Seconds; a change of the whole picture that lasts longer is taken for motion (a person close by)."""

DEVIATION = 5.0
"""Standard deviations by which a cell must differ from its background to count."""
DIFFERENCE = 3.5
"""Multiple of its usual frame difference by which a cell must differ from the frame before."""
STRUCTURE = 0.05
"""Smallest gradient, in log luma per pixel, of what an object adds to its background; light adds less."""
MOST = 0.5
"""Fraction of the cells that must change at once for a change of the whole picture."""
BRIGHTER = 6.0
"""Grey levels by which a cell's mean must change to count as lit or shaded."""
LIT_SHARE = 0.04
"""An object covers at least this fraction of the cells whose brightness changed; a passing light does not."""
SHIFT = (0.2, 20.0)
"""Pixels; a knocked camera moves the whole picture by a distance in this range, less is noise."""

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Cells = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class View:
    """Which parts of the picture count."""

    ignored: tuple[Polygon, ...] = ()
    """Areas where motion is ignored: a road, a tree, the displayed clock."""
    mask: Path | None = None
    """An image of the same view whose black parts are ignored."""
    zones: Mapping[str, Polygon] = field(default_factory=dict)
    """If there are zones, only motion within one of them counts."""


def shrink(luma: Luma) -> Luma:
    """Scale to WIDTH pixels, which `Detector.score` requires, since its limits are made for that size."""
    height, width = luma.shape
    size = (WIDTH, max(CELL, round(height * WIDTH / width)))
    method = cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=method), np.uint8)


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
        self._watched, self._zones = _areas(view, luma.shape)
        self._at = self._moved = at
        self._upset_since: float | None = None
        self._frames = 1
        picture = _smooth(luma)
        normal = _normalised(picture)
        self._mean = _cells(normal)
        self._variance = np.full_like(self._mean, 0.01)
        self._usual = np.full_like(self._mean, 0.03)
        """Per cell, the usual frame difference."""
        self._before = normal
        self._bright = _cells(picture)
        self._background = picture
        self._footprint = np.zeros(self._mean.shape, np.bool_)
        """Cells where something moved and that still differ from the background."""

    def score(self, luma: Luma, at: float) -> Score:
        elapsed, self._at = max(at - self._at, 0.0), at
        self._frames += 1
        picture = _smooth(luma)
        normal = _normalised(picture)
        values, bright = _cells(normal), _cells(picture)
        difference = _cells(cv2.absdiff(normal, self._before))
        lit = np.abs(bright - self._bright) > BRIGHTER
        self._before, self._bright = normal, bright
        different = self._different(values)
        moving = self._moving(difference)
        if self._frames > WARM_UP and max(different.mean(), moving.mean()) > MOST:
            return self._upset(picture, values, difference, moving, at)
        self._upset_since = None
        score = self._judge(picture, values, different, moving, lit, at)
        self._learn(picture, values, difference, different, moving, elapsed)
        if lit.mean() > MOST and not score.area:
            self._relearn(picture, values)
        return score

    def peek(self, luma: Luma) -> float:
        normal = _normalised(_smooth(luma))
        moving = self._moving(_cells(cv2.absdiff(normal, self._before)))
        return _percent(_largest(self._different(_cells(normal)) & _grown(moving) & self._watched))

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
        solid, _ = self._structure(picture)
        self._relearn(picture, values)
        self._usual += 0.3 * (difference - self._usual)  # infrared increases the sensor's noise
        if at - self._upset_since <= UPSET:
            return Score(0.0, unsure=True)
        thing = _largest(moving & solid & self._watched)
        return Score(_percent(thing), zone=self._zone(thing))

    def _relearn(self, picture: Plane, values: Plane) -> None:
        self._mean, self._background = values.copy(), picture.copy()
        self._variance = np.maximum(self._variance, np.float32(0.01))
        self._footprint[:] = False

    def _judge(
        self, picture: Plane, values: Plane, different: Cells, moving: Cells, lit: Cells, at: float
    ) -> Score:
        self._footprint &= different
        candidates = different & _grown(moving) & self._watched
        suspicious = _percent(_largest(candidates)) >= self._rules.min_area
        if self._frames <= WARM_UP or not (suspicious or self._footprint.any()):
            return Score(0.0)
        solid, gained = self._structure(picture)
        thing = _largest(candidates & solid)
        area = _percent(thing)
        if area < max(self._rules.min_area, 100 * LIT_SHARE * float(lit.mean())):
            area = 0.0
        if area:
            self._moved = at
            self._footprint |= _grown(thing) & different
        elif at - self._moved > self._rules.still:
            self._absorb(picture, values)
        # if the outline's edges belong to the background, an object that was learned with it has left
        standing = gained[_outline(self._footprint)].sum() > 0
        present = _percent(_largest(self._footprint & solid)) if standing else 0.0
        return Score(area, present, self._zone(thing))

    def _structure(self, picture: Plane) -> tuple[Cells, Plane]:
        """Cells where picture and background differ by more than smooth light, and the edges gained there."""
        now = _gradient(picture)
        before = _gradient(_aligned(self._background, picture))
        change = _cells(cv2.magnitude(now[0] - before[0], now[1] - before[1]))
        gained = _cells(cv2.magnitude(*now)) - _cells(cv2.magnitude(*before))
        return change > max(STRUCTURE, 1.5 * _median(change)), gained

    def _absorb(self, picture: Plane, values: Plane) -> None:
        """Make what stood still long enough, a parked car or a moved chair, part of the background."""
        self._mean[self._footprint] = values[self._footprint]
        pixels = _pixels(self._footprint.astype(np.float32), picture.shape) > 0
        self._background[pixels] = picture[pixels]
        self._footprint[:] = False

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
        least = 1 / self._frames if self._frames <= WARM_UP else 0.0
        calm, busy = (max(1 - exp(-elapsed / length), least) for length in (LEARNING, LEARNING_MOVING))
        rate = np.where(different, np.float32(busy), np.float32(calm))
        rate[_grown(_grown(self._footprint))] = 0
        change = values - self._mean
        self._mean += rate * change
        self._variance += rate * (np.minimum(np.square(change), 0.25) - self._variance)
        self._background += _pixels(rate, picture.shape) * (picture - self._background)
        self._usual += np.where(moving, 0.3 * calm, calm).astype(np.float32) * (difference - self._usual)

    def _zone(self, thing: Cells) -> str:
        """The zone that holds most of the thing."""
        inside = {name: int((thing & zone).sum()) for name, zone in self._zones.items()}
        best = max(inside, key=lambda name: inside[name], default="")
        return best if best and inside[best] else ""


def _smooth(luma: Luma) -> Plane:
    return _plane(cv2.GaussianBlur(luma, (3, 3), 0).astype(np.float32))


def _normalised(picture: Plane) -> Plane:
    """Each pixel relative to its neighbourhood's mean and contrast, since brightness and gain change both."""
    window = (NEIGHBOURHOOD, NEIGHBOURHOOD)
    mean = cv2.blur(picture, window)
    variance = cv2.sqrBoxFilter(picture, cv2.CV_32F, window) - mean * mean
    return _plane((picture - mean) / (np.sqrt(np.maximum(variance, 0)) + 6))


def _gradient(picture: Plane) -> tuple[Plane, Plane]:
    """Horizontal and vertical gradient of log luma, so that a lamp adds only a smooth field."""
    bright = cv2.log(picture + 12)
    across, down = (cv2.Sobel(bright, cv2.CV_32F, x, 1 - x, scale=0.25) for x in (1, 0))
    return _plane(across), _plane(down)


def _cells(plane: Any) -> Plane:
    height, width = plane.shape
    return _plane(cv2.resize(plane, (width // CELL, height // CELL), interpolation=cv2.INTER_AREA))


def _pixels(cells: Plane, shape: tuple[int, ...]) -> Plane:
    return _plane(cv2.resize(cells, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST))


def _grown(cells: Cells) -> Cells:
    return cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _outline(cells: Cells) -> Cells:
    eroded: Cells = cv2.erode(cells.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return _grown(cells) & ~eroded


def _largest(cells: Cells) -> Cells:
    """The largest connected group of cells."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros_like(cells)
    largest: Cells = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return largest


def _median(values: Plane) -> float:
    """Like numpy's own median, which loads numpy's masked arrays: more than a megabyte."""
    middle = values.size // 2
    wanted = (middle - 1, middle) if values.size % 2 == 0 else (middle,)
    return float(np.partition(values, wanted, axis=None)[list(wanted)].mean())


def _percent(cells: Cells) -> float:
    return 100.0 * float(cells.mean())


def _aligned(background: Plane, picture: Plane) -> Plane:
    """The background moved to where a knocked or shaking camera now sees it, if that explains the picture."""
    size = (picture.shape[1], picture.shape[0])
    half = (size[0] // 2, size[1] // 2)
    window = cv2.createHanningWindow(half, cv2.CV_32F)
    before, now = (cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (background, picture))
    (x, y), _ = cv2.phaseCorrelate(before, now, window)
    x, y = 2 * x, 2 * y
    if not SHIFT[0] < hypot(x, y) < SHIFT[1]:
        return background
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(background, shift, size, borderMode=cv2.BORDER_REPLICATE)
    if cv2.norm(picture, moved, cv2.NORM_L1) < 0.8 * cv2.norm(picture, background, cv2.NORM_L1):
        return _plane(moved)
    return background


def _areas(view: View, shape: tuple[int, ...]) -> tuple[Cells, dict[str, Cells]]:
    watched = np.ones((shape[0] // CELL, shape[1] // CELL), np.bool_)
    for part in view.ignored:
        watched &= ~_inside(part, shape)
    if view.mask is not None:
        watched &= _seen(view.mask, shape)
    zones = {name: _inside(part, shape) & watched for name, part in view.zones.items()}
    return (np.logical_or.reduce([*zones.values()]) if zones else watched), zones


def _inside(part: Polygon, shape: tuple[int, ...]) -> Cells:
    canvas = np.zeros(shape, np.float32)
    corners = np.array([(round(x * shape[1]), round(y * shape[0])) for x, y in part], np.int32)
    cv2.fillPoly(canvas, [corners], 1.0)
    return _cells(canvas) >= 0.5


def _seen(mask: Path, shape: tuple[int, ...]) -> Cells:
    picture = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise UsageError(f"{mask} is not a readable picture", hint="give a PNG whose black parts are ignored")
    scaled = cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return _cells(scaled.astype(np.float32)) >= 128


def _plane(values: Any) -> Plane:
    """cv2's stubs promise any number type; these are float32 throughout."""
    return np.asarray(values, np.float32)
