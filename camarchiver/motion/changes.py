"""How a picture differs from its background, and whether it is an object, light, blur or a departure."""

from __future__ import annotations

import cv2
import numpy as np

from camarchiver.motion.planes import (
    CELL,
    Blob,
    Cells,
    Plane,
    aligned,
    gradient,
    grown,
    in_cells,
    median,
    plane,
)

STRUCTURE = 0.06
"""Smallest gradient, in log luma per pixel, of what an object adds to its background; light adds less."""
OWN_EDGES = 0.3
"""An object brings at least this share of the edges that changed; what blurs or leaves takes edges away."""
SAME_TEXTURE = 0.9
"""Correlation of the edges of picture and background above which it is the same surface in another light."""
DARK = 0.05
"""An object has this share of pixels darker than its background: a shadow, an outline; light has fewer."""
STEEP = 0.28
"""Steepest change per pixel, relative to the whole change, of an object in focus: edges of three pixels.

A torch's edges are ten pixels wide or more, those of an insect before the lens four to eight.
"""
HALO = 0.15
"""Change around a blob, relative to that within it, above which both belong to a larger patch of light."""
VISIBLE = 6.0
"""Grey levels; smaller differences are noise."""
FOCUS = (0.85, 1.18)
"""Range of the edges' strength, relative to the background's, in half of the picture's textured cells.

Outside of it the lens has been refocused. Objects change fewer cells, and light hardly changes log luma.
"""


class PictureChange:
    """The change from the background to a picture, of one size, after a shaking camera's shift."""

    def __init__(self, picture: Plane, background: Plane) -> None:
        background = aligned(background, picture)
        self._difference = picture - background
        now, before = gradient(picture), gradient(background)
        self._common = _product(now, before)
        self._now, self._before = _product(now, now), _product(before, before)
        change = np.sqrt(np.maximum(self._now + self._before - 2 * self._common, 0))
        self.solid: Cells = change > max(STRUCTURE, 1.5 * median(change))
        """Cells whose change is more than smooth light."""
        self._gained = np.sqrt(self._now) - np.sqrt(self._before)

    def refocused(self) -> bool:
        """Whether the edges of the whole picture became softer or sharper."""
        textured = self._before > max(median(self._before), 4 * STRUCTURE**2)
        if textured.mean() < 0.1:
            return False
        strength = median(self._common[textured] / self._before[textured])
        return not FOCUS[0] < strength < FOCUS[1]

    def own_edges(self, cells: Cells) -> float:
        """How much of the changed edges the background does not have, 0 to 1."""
        gained = self._gained[grown(cells)]
        lost, won = -float(gained[gained < 0].sum()), float(gained[gained > 0].sum())
        return won / (lost + won) if won else 0.0

    def is_object(self, blob: Blob) -> bool:
        """Whether the blob is neither light nor shade, blur, or the ground behind what left."""
        if self.own_edges(blob.cells) <= OWN_EDGES or self._same_texture(blob.cells):
            return False
        return not self._is_light(blob)

    def _same_texture(self, cells: Cells) -> bool:
        common, now, before = (float(one[cells].sum()) for one in (self._common, self._now, self._before))
        return common > SAME_TEXTURE * float(np.sqrt(now * before))

    def _is_light(self, blob: Blob) -> bool:
        """Whether the blob is only brighter, and blurred or part of a larger patch of light."""
        margin = 3
        rows, columns = (
            slice(max(one.start - margin, 0), one.stop + margin) for one in (blob.rows, blob.columns)
        )
        pixels = slice(CELL * rows.start, CELL * rows.stop), slice(CELL * columns.start, CELL * columns.stop)
        difference = self._difference[pixels]
        near = grown(blob.cells)[rows, columns]
        inside = _fitted(near, difference)
        values = difference[inside]
        contrast = float(np.abs(values).max())
        visible = values[np.abs(values) > max(VISIBLE, 0.2 * contrast)]
        if not visible.size or (visible < 0).mean() > DARK:
            return False
        across, down = (cv2.Sobel(difference, cv2.CV_32F, x, 1 - x, scale=0.125) for x in (1, 0))
        steepest = float(np.partition(plane(cv2.magnitude(across, down))[inside], -3)[-3])
        around = difference[_fitted(~near, difference)]
        return steepest < STEEP * contrast or (
            around.size > 0 and median(around) > HALO * float(np.abs(values).mean())
        )


def _product(one: tuple[Plane, Plane], other: tuple[Plane, Plane]) -> Plane:
    """Scalar product of two gradients, the mean of each cell."""
    product = one[0] * other[0]
    product += one[1] * other[1]
    return in_cells(product)


def _fitted(cells: Cells, pixels: Plane) -> Cells:
    whole = np.repeat(np.repeat(cells, CELL, 0), CELL, 1)
    fitted: Cells = whole[: pixels.shape[0], : pixels.shape[1]]
    return fitted
