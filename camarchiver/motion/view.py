"""Which parts of a picture count."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from camarchiver.domain.motion import Polygon, View
from camarchiver.errors import UsageError
from camarchiver.motion.planes import CELL, Cells, in_cells


def areas(view: View, shape: tuple[int, ...]) -> tuple[Cells, dict[str, Cells]]:
    """The cells that count, and those of each zone, in a picture of `shape` pixels.

    Raises UsageError.
    """
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
    return in_cells(canvas) >= 0.5


def _seen(mask: Path, shape: tuple[int, ...]) -> Cells:
    picture = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise UsageError(f"{mask} is not a readable picture", hint="give a PNG whose black parts are ignored")
    scaled = cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return in_cells(scaled.astype(np.float32)) >= 128
