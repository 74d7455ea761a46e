"""Which pictures of a source and its archive are compared, and what marks a wrong one: pure numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from operator import mul, sub

from msgspec import Struct

from camarchiver.media.info import Difference, Media, PicturePosition

WIDTH, HEIGHT = 64, 36
"""Cells of the grid on which pictures are compared."""

# Limits of the effects of compression; docs/reliability.md has the figures from which they were chosen.
_MOST_LUMA = 16.0
_LEAST_LIKENESS = 0.8
_CONTRAST = (0.92, 1.06)
_MOST_TINT = 6.0
_LEAST_COLOUR = 0.35
_MOST_SHIFT = 2.5
_LEAST_MOTION = 0.2

_LEAST_DEVIATION = 8.0
"""Lowest standard deviation of brightness of a picture with enough contrast to be judged."""
_LEAST_CHROMA = 3.0
"""Lowest root mean square of the colour differences of a picture with enough colour to be judged."""
_LEAST_CHANGE = 4.0
"""Lowest root mean square of the change of brightness between two pictures that are to be distinguished."""
_LEAST_CHANGE_TO_LOSS = 2.0
"""The same, relative to the root mean square of the difference between the first pair of pictures."""
_LEAST_EDGES = 1.0
"""Lowest mean square of the gradient of a picture whose edges show its position, in steps of 255 per cell."""
_LEAST_EXPLAINED = 0.3
"""Fraction of the difference between two pictures that a movement must explain to count as one."""
_STRETCHES = 5
"""Parts of a clip; one frame of each is compared, in addition to the first and the last frame."""
_STEP = 4
"""Frames after a keyframe: enough to show in which order a decoder returns them, and movement."""
_BUDGET_SHARE = 40
"""One of this many frames of a clip may be decoded here: decoding costs about a tenth of encoding."""
_BUDGET_PIXELS = 10_000_000
"""Pixels that may be decoded in addition: about 25 ms."""


class Pair(Struct, frozen=True):
    """The same frame in source and archive."""

    source: PicturePosition
    archive: PicturePosition
    seconds: float
    """After the first frame."""


class Grid(Struct, frozen=True):
    """A picture scaled to `WIDTH` by `HEIGHT`, row by row, brightness from 0 to 255 whatever its range."""

    luma: Sequence[float]
    blue: Sequence[float]
    """Difference from grey, as `red`; 0 is none."""
    red: Sequence[float]


def pairs(source: Media, archive: Media, *, lost: int = 0, thorough: bool = False) -> tuple[Pair, ...]:
    """The first frame and the last, and some between them that are cheap to decode.

    `lost` frames at the source's start are not in the archive. Unless `thorough`, frames are left out that
    would exceed the decoding budget of a clip of this length.
    """
    there = _Frames(source, lost)
    here = _Frames(archive, 0)
    count = min(there.count, here.count)
    if not count:
        return ()
    budget = count * 2 if thorough else _budget(archive, count)
    chosen = {0}
    for candidate in _candidates(there, here, count):
        cost = there.cost(candidate) + here.cost(candidate)
        if candidate not in chosen and (thorough or cost <= budget):
            chosen.add(candidate)
            budget -= cost
    return tuple(
        Pair(there.place(index), here.place(index), there.seconds(index)) for index in sorted(chosen)
    )


class _Frames:
    """The shown frames of one file by their number, and the keyframe from which each is decoded."""

    def __init__(self, media: Media, lost: int) -> None:
        self._times = media.times
        self._lost = lost
        self._keys = media.keyframe_times or (0,)
        self._tick = float(media.video.time_base)
        self._start = round(media.start / self._tick) if self._tick else 0
        self.count = len(media.times) - lost

    def key(self, index: int) -> int:
        """Ticks of the keyframe before."""
        at = bisect_right(self._keys, self._times[index + self._lost])
        return self._keys[max(at - 1, 0)]

    def cost(self, index: int) -> int:
        """Frames to decode."""
        index += self._lost
        return index - bisect_left(self._times, self.key(index - self._lost)) + 1

    def keyframes(self) -> list[int]:
        """Numbers of the frames that are keyframes."""
        found = (bisect_left(self._times, key) - self._lost for key in self._keys if key >= 0)
        return [index for index in found if 0 <= index < self.count]

    def place(self, index: int) -> PicturePosition:
        moment = self._times[index + self._lost]
        return PicturePosition(self._start + self.key(index), self._start + moment)

    def seconds(self, index: int) -> float:
        return (self._times[index + self._lost] - self._times[self._lost]) * self._tick


def _candidates(there: _Frames, here: _Frames, count: int) -> list[int]:
    """Frames by value for their cost: one per stretch, the last, some that follow a keyframe."""
    keyframes = sorted({index for index in (*there.keyframes(), *here.keyframes()) if index < count})
    stretches = []
    for start, end in pairwise(count * part // _STRETCHES for part in range(_STRETCHES + 1)):
        inside = [index for index in keyframes if max(start, 1) <= index < end]
        if inside:
            stretches.append(min(inside, key=lambda index: there.cost(index) + here.cost(index)))
    # From the end inwards, since frames further away from the first one show more.
    steps = [index for index in (_STEP, *(each + _STEP for each in stretches[:1])) if index < count]
    return [*reversed(stretches), count - 1, *steps]


def _budget(media: Media, count: int) -> int:
    pixels = max(media.video.width * media.video.height, 1)
    return count // _BUDGET_SHARE + _BUDGET_PIXELS // pixels


def difference(first: tuple[Grid, Grid], source: Grid, archive: Grid, seconds: float) -> Difference:
    """How one picture differs from the other; `first` is the first pair of this clip that was compared."""
    cells = len(source.luma)
    likeness, contrast = _likeness(source.luma, archive.luma)
    colour = [*source.blue, *source.red]
    other = [*archive.blue, *archive.red]
    return Difference(
        seconds=seconds,
        luma=sum(map(abs, _minus(archive.luma, source.luma))) / cells,
        likeness=likeness,
        contrast=contrast,
        tint=max(
            abs(sum(archive.blue) - sum(source.blue)) / cells, abs(sum(archive.red) - sum(source.red)) / cells
        ),
        colour=_share(colour, other, _LEAST_CHROMA),
        shift=_shift(source.luma, archive.luma),
        motion=_motion(first, source, archive),
    )


def problem_of(found: Difference) -> str:
    """Why this is not the same picture, as a sentence; empty if compression explains the difference."""
    low, high = _CONTRAST
    for is_wrong, what in (
        (found.luma > _MOST_LUMA, f"is {found.luma:.0f} steps of 255 off in brightness"),
        (found.likeness < _LEAST_LIKENESS, "shows something else"),
        (not low <= found.contrast <= high, f"has {found.contrast:.0%} of the contrast"),
        (found.tint > _MOST_TINT, f"is {found.tint:.0f} steps of 255 off in colour"),
        (found.colour < _LEAST_COLOUR, f"has {max(found.colour, 0):.0%} of the colour"),
        (found.shift > _MOST_SHIFT, f"is moved or stretched by {found.shift / 10:.1f} %"),
        (found.motion < _LEAST_MOTION, f"has {max(found.motion, 0):.0%} of the movement"),
    ):
        if is_wrong:
            return f"the archive's picture at {found.seconds:.1f} s {what}"
    return ""


def _minus(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return list(map(sub, one, other))


def _likeness(source: Sequence[float], archive: Sequence[float]) -> tuple[float, float]:
    """Correlation and the factor of brightness; both 1 if a picture has too little contrast to judge.

    Smoothing removes variance from the archive and noise adds some; each changes only one of the two slopes
    of regression. Another range changes both.
    """
    there, here = _centred(source), _centred(archive)
    cells = len(there)
    before, after = _dot(there, there) / cells, _dot(here, here) / cells
    if before < _LEAST_DEVIATION**2:
        return 1.0, 1.0
    common = _dot(there, here) / cells
    if after < 1 or common <= 0:
        return 0.0, sqrt(after / before)
    slopes = sorted((common / before, after / common))
    return common / sqrt(before * after), min(max(1.0, slopes[0]), slopes[1])


def _centred(plane: Sequence[float]) -> list[float]:
    mean = sum(plane) / len(plane)
    return [each - mean for each in plane]


def _share(source: Sequence[float], archive: Sequence[float], least: float) -> float:
    """The factor by which `source` best explains `archive`; 1 if it is too weak to judge."""
    energy = _dot(source, source)
    return _dot(source, archive) / energy if energy >= least * least * len(source) else 1.0


def _motion(first: tuple[Grid, Grid], source: Grid, archive: Grid) -> float:
    """The share of the source's change in the archive; the change must exceed the loss of the first pair."""
    lossy = _minus(first[1].luma, first[0].luma)
    least = max(_LEAST_CHANGE, _LEAST_CHANGE_TO_LOSS * sqrt(_dot(lossy, lossy) / len(lossy)))
    there, here = _minus(source.luma, first[0].luma), _minus(archive.luma, first[1].luma)
    return _share(there, here, least)


def _shift(source: Sequence[float], archive: Sequence[float]) -> float:
    """The movement and stretching that best explain the difference, by least squares over all gradients.

    One step of the method of Lucas and Kanade with a movement and a stretch each way, and a change of
    brightness, on pictures of half the size: exact to a fraction of a cell for small movements.
    """
    there, here = _halved(source), _halved(archive)
    width, height = WIDTH // 2, HEIGHT // 2
    both = [(one + other) / 2 for one, other in zip(there, here, strict=True)]
    inner = [row * width + column for row in range(1, height - 1) for column in range(1, width - 1)]
    across = [(both[at + 1] - both[at - 1]) / 2 for at in inner]
    down = [(both[at + width] - both[at - width]) / 2 for at in inner]
    if min(_dot(across, across), _dot(down, down)) < _LEAST_EDGES * len(inner):
        return 0.0
    columns = [
        across,
        [slope * (at % width / width - 0.5) for slope, at in zip(across, inner, strict=True)],
        down,
        [slope * (at // width / height - 0.5) for slope, at in zip(down, inner, strict=True)],
        [1.0] * len(inner),
    ]
    change = [there[at] - here[at] for at in inner]
    target = [_dot(one, change) for one in columns]
    moved = _solved([[_dot(one, other) for other in columns] for one in columns], target)
    uniform = sum(change) ** 2 / len(change)
    energy = _dot(change, change) - uniform
    if moved is None or _dot(moved, target) - uniform < _LEAST_EXPLAINED * energy:
        return 0.0
    right, wider, lower, higher = map(abs, moved[:4])
    return 1000 * max((right + wider / 2) / width, (lower + higher / 2) / height)


def _halved(plane: Sequence[float]) -> list[float]:
    """The means of two cells by two."""
    rows = [plane[start : start + WIDTH] for start in range(0, WIDTH * HEIGHT, WIDTH)]
    return [
        (one[at] + one[at + 1] + other[at] + other[at + 1]) / 4
        for one, other in zip(rows[::2], rows[1::2], strict=True)
        for at in range(0, WIDTH, 2)
    ]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return float(sum(map(mul, one, other)))


def _solved(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """Gaussian elimination with pivoting; None for a singular matrix."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for step in range(size):
        pivot = max(range(step, size), key=lambda at: abs(rows[at][step]))
        rows[step], rows[pivot] = rows[pivot], rows[step]
        if abs(rows[step][step]) < 1e-9:
            return None
        for at in range(size):
            if at != step:
                factor = rows[at][step] / rows[step][step]
                rows[at] = [a - factor * b for a, b in zip(rows[at], rows[step], strict=True)]
    return [row[-1] / row[index] for index, row in enumerate(rows)]
