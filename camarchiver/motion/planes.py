"""Small pictures as arrays, and what OpenCV makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

WIDTH = 320
"""Pixels; every picture is scaled to this width: a finer one costs more and finds more noise."""
CELL = 4
"""Pixels per side; the models keep one value per cell, which averages out the sensor's noise."""
NEIGHBOURHOOD = 31
"""Pixels; size of the window for normalising local contrast, about a tenth of the picture's width."""
SHIFT = (0.2, 20.0)
"""Pixels; a knocked camera moves the whole picture by a distance in this range, less is noise."""

_BESIDE = np.ones((3, 3), np.uint8)

Luma = NDArray[np.uint8]
Plane = NDArray[np.float32]
Cells = NDArray[np.bool_]


class Blob(Struct, frozen=True):
    """One connected group of cells."""

    cells: Cells
    """The whole picture's cells; those of the blob are set."""
    count: int
    rows: slice
    """The cells' rows within which the blob lies."""
    columns: slice
    centre: tuple[float, float]
    """Column and row, in cells."""


def luma_of(frame: VideoFrame) -> Luma:
    """The first plane of a frame in a format that begins with 8 bits of luma."""
    first = frame.planes[0]
    rows: Luma = np.frombuffer(memoryview(first), np.uint8).reshape(-1, first.line_size)
    return rows[: frame.height, : frame.width]


def shrink(luma: Luma) -> Luma:
    """Scale to WIDTH pixels, which `Detector.score` requires, since its limits are made for that size."""
    height, width = luma.shape
    size = (WIDTH, max(CELL, round(height * WIDTH / width)))
    method = cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=method), np.uint8)


def plane(values: Any) -> Plane:
    """OpenCV's result as what it is."""
    return np.asarray(values, np.float32)


def smooth(luma: Luma) -> Plane:
    """The picture without the noise of single pixels."""
    return plane(cv2.GaussianBlur(luma, (3, 3), 0).astype(np.float32))


def normalised(picture: Plane) -> Plane:
    """Each pixel relative to its neighbourhood's mean and contrast, since brightness and gain change both."""
    window = (NEIGHBOURHOOD, NEIGHBOURHOOD)
    mean = plane(cv2.blur(picture, window))
    contrast = plane(cv2.sqrBoxFilter(picture, cv2.CV_32F, window))
    # in place: new arrays of this size cost more than the arithmetic
    contrast -= mean * mean
    np.maximum(contrast, 0, out=contrast)
    np.sqrt(contrast, out=contrast)
    contrast += 6
    np.subtract(picture, mean, out=mean)
    mean /= contrast
    return mean


def gradient(picture: Plane) -> tuple[Plane, Plane]:
    """Horizontal and vertical gradient of log luma per pixel, so that a lamp adds only a smooth field."""
    bright = cv2.log(picture + 12)
    across, down = (cv2.Sobel(bright, cv2.CV_32F, x, 1 - x, scale=0.25) for x in (1, 0))
    return plane(across), plane(down)


def in_cells(pixels: Any) -> Plane:
    """The mean of each cell."""
    height, width = pixels.shape
    return plane(cv2.resize(pixels, (width // CELL, height // CELL), interpolation=cv2.INTER_AREA))


def in_pixels(cells: Plane, shape: tuple[int, ...]) -> Plane:
    """Each pixel has its cell's value."""
    return plane(cv2.resize(cells, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST))


def grown(cells: Cells) -> Cells:
    """The cells and those beside them."""
    return cv2.dilate(cells.astype(np.uint8), _BESIDE) > 0


def blobs(cells: Cells, *, least: int = 1) -> Sequence[Blob]:
    """The connected groups with a minimum number of cells, the largest first."""
    count, labels, stats, centres = cv2.connectedComponentsWithStats(cells.astype(np.uint8), connectivity=8)
    order = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= least]
    order.sort(key=lambda number: -int(stats[number, cv2.CC_STAT_AREA]))
    return tuple(
        _blob(labels == number, stats[number].tolist(), centres[number].tolist()) for number in order
    )


def _blob(cells: Cells, stats: Sequence[int], centre: Sequence[float]) -> Blob:
    left, top, width, height, count = stats
    return Blob(cells, count, slice(top, top + height), slice(left, left + width), (centre[0], centre[1]))


def median(values: Plane) -> float:
    """Like numpy's own median, which loads numpy's masked arrays: more than a megabyte."""
    middle = values.size // 2
    wanted = (middle - 1, middle) if values.size % 2 == 0 else (middle,)
    return float(np.partition(values, wanted, axis=None)[list(wanted)].mean())


def aligned(background: Plane, picture: Plane) -> Plane:
    """The background moved to where a knocked or shaking camera now sees it, if that explains the picture."""
    size = (picture.shape[1], picture.shape[0])
    half = (size[0] // 2, size[1] // 2)
    window = cv2.createHanningWindow(half, cv2.CV_32F)
    before, now = (cv2.resize(one, half, interpolation=cv2.INTER_AREA) for one in (background, picture))
    (x, y), _ = cv2.phaseCorrelate(before, now, window)
    x, y = 2 * x, 2 * y
    if not SHIFT[0] < hypot(x, y) < SHIFT[1]:
        return background
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(background, shift, size, borderMode=cv2.BORDER_REPLICATE)
    if cv2.norm(picture, moved, cv2.NORM_L1) < 0.8 * cv2.norm(picture, background, cv2.NORM_L1):
        return plane(moved)
    return background
