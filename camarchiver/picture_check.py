"""Which pictures of a source and its archive are compared, and what tells a wrong one: pure numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import mul

from camarchiver.media import Difference, Media, Place

WIDTH, HEIGHT = 64, 36
"""Cells of the grid on which pictures are compared."""

MOST_LUMA, MOST_CHROMA, MOST_SPOT, MOST_SHIFT = 16.0, 12.0, 150.0, 12.0
"""Limits of what compression does; docs/reliability.md has the figures that they were chosen from."""
_LEAST_EDGES = 4.0
"""Mean square of the gradient of a picture whose edges tell where it lies, in steps of 255 per cell."""
_STRETCHES = 5
"""Parts of a clip, of each of which one place is looked at besides the first and the last frame."""
_STEP = 4
"""Frames after a keyframe: enough to see in which order a decoder gives them, and that the picture moves."""
_BUDGET_SHARE = 20
"""Of so many frames of a clip, one may be decoded here: it costs some tenth of encoding it."""
_BUDGET_PIXELS = 20_000_000
"""Pixels that may be decoded besides: about 50 ms."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same frame in source and archive."""

    source: Place
    archive: Place
    seconds: float
    """After the first frame."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A picture scaled to `WIDTH` by `HEIGHT`, row by row, brightness from 0 to 255 whatever its range."""

    luma: Sequence[float]
    blue: Sequence[float]
    """Difference from grey, as `red`; 0 is none."""
    red: Sequence[float]


def pairs(source: Media, archive: Media, *, lost: int = 0, thorough: bool = False) -> tuple[Pair, ...]:
    """The first frame and the last, and some between that are cheap to decode.

    `lost` frames at the source's start have none in the archive. Unless `thorough`, those are left out that
    would cost more decoding than a clip of this length may.
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
    """The shown frames of one file by their number, and from where each is decoded."""

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

    def place(self, index: int) -> Place:
        moment = self._times[index + self._lost]
        return Place(self._start + self.key(index), self._start + moment)

    def seconds(self, index: int) -> float:
        return (self._times[index + self._lost] - self._times[self._lost]) * self._tick


def _candidates(there: _Frames, here: _Frames, count: int) -> list[int]:
    """Frames by how much they tell: the last one, one per stretch, and one that follows a keyframe."""
    keyframes = sorted({index for index in (*there.keyframes(), *here.keyframes()) if index < count})
    stretches = []
    for start, end in pairwise(count * part // _STRETCHES for part in range(_STRETCHES + 1)):
        inside = [index for index in keyframes if max(start, 1) <= index < end]
        if inside:
            stretches.append(min(inside, key=lambda index: there.cost(index) + here.cost(index)))
    # From the end inwards: what is further away from the first frame tells more.
    steps = [index for index in (_STEP, *(each + _STEP for each in stretches[:1])) if index < count]
    return [count - 1, *reversed(stretches), *steps]


def _budget(media: Media, count: int) -> int:
    pixels = max(media.video.width * media.video.height, 1)
    return count // _BUDGET_SHARE + _BUDGET_PIXELS // pixels


def difference(source: Grid, archive: Grid, seconds: float) -> Difference:
    """How far one picture is from the other."""
    cells = len(source.luma)
    apart = [abs(a - b) for a, b in zip(source.luma, archive.luma, strict=True)]
    colours = [
        sum(abs(a - b) for a, b in zip(plane, other, strict=True)) / cells
        for plane, other in ((source.blue, archive.blue), (source.red, archive.red))
    ]
    return Difference(
        seconds=seconds,
        luma=sum(apart) / cells,
        chroma=max(colours),
        spot=max(apart),
        shift=_shift(source.luma, archive.luma),
    )


def problem_of(found: Difference) -> str:
    """What tells that this is not the same picture, as a sentence; empty where compression explains it."""
    for what, have, most in (
        ("brightness", found.luma, MOST_LUMA),
        ("colour", found.chroma, MOST_CHROMA),
        ("brightness of a part", found.spot, MOST_SPOT),
        ("position", found.shift, MOST_SHIFT),
    ):
        if have > most:
            at = f"{found.seconds:.1f} s"
            return f"the archive's picture at {at} differs in {what} ({have:.1f}, at most {most:.1f})"
    return ""


def _shift(source: Sequence[float], archive: Sequence[float]) -> float:
    """The movement and stretching that best explains what differs, by least squares over all gradients.

    One step of the method of Lucas and Kanade with a movement and a stretch each way, and a change of
    brightness: good to a fraction of a cell, for what is not far away.
    """
    inner = [row * WIDTH + column for row in range(1, HEIGHT - 1) for column in range(1, WIDTH - 1)]
    across = [(source[at + 1] - source[at - 1]) / 2 for at in inner]
    down = [(source[at + WIDTH] - source[at - WIDTH]) / 2 for at in inner]
    edges = min(_dot(across, across), _dot(down, down)) / len(inner)
    if edges < _LEAST_EDGES:
        return 0.0
    columns = [
        across,
        [slope * (at % WIDTH / WIDTH - 0.5) for slope, at in zip(across, inner, strict=True)],
        down,
        [slope * (at // WIDTH / HEIGHT - 0.5) for slope, at in zip(down, inner, strict=True)],
        [1.0] * len(inner),
    ]
    change = [source[at] - archive[at] for at in inner]
    moved = _solved(
        [[_dot(one, other) for other in columns] for one in columns], [_dot(one, change) for one in columns]
    )
    if moved is None:
        return 0.0
    return 1000 * max(
        (abs(moved[0]) + abs(moved[1]) / 2) / WIDTH, (abs(moved[2]) + abs(moved[3]) / 2) / HEIGHT
    )


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
