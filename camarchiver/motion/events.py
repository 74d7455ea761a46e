"""When motion begins and ends: a pure state machine over the scores of frames."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.motion import Polygon
from camarchiver.errors import UsageError

NAMED_SENSITIVITY = {"low": 25, "medium": 50, "high": 75}
MEDIUM_AREA = 0.12
"""Percent of the picture: about 1,100 of the 921,600 pixels of 720p, a person some 70 pixels tall."""


class Rules(Struct, frozen=True):
    """What counts as motion; every length is in seconds of the source's own clock."""

    contrast: float = 1.0
    """Required strength of a change above the learned noise, relative to medium sensitivity."""
    min_area: float = MEDIUM_AREA
    """Smallest area that counts, in percent of the picture."""
    hits: int = 2
    """Number of the last `window` frames that must show motion before an event begins."""
    window: int = 3
    span: float = 1.0
    """Frames further apart than this are not evaluated together."""
    quiet: float = 1.0
    """An event ends after this time without motion; its end is the last motion, not the end of the wait."""
    still: float = 12.0
    """A person who stands still keeps the event open for this time; after it they become background."""


class Score(Struct, frozen=True):
    """The detector's result for one frame."""

    area: float
    """Largest moving area, in percent of the picture."""
    present: float = 0.0
    """Largest area that moved before and is still present, in percent of the picture."""
    zone: str = ""
    """The zone that holds most of the motion; empty if there are no zones."""
    unsure: bool = False
    """The whole picture changed (light, infrared, exposure, a knock): neither motion nor stillness."""


class MotionEvent(Struct, frozen=True):
    """One stretch of motion, without pre- and post-roll."""

    start: float
    """Seconds, on the clock of the times given to `step`."""
    end: float
    peak: float
    """Largest area, in percent of the picture."""
    peak_at: float
    zone: str


class MotionState(Struct, frozen=True):
    """The state between two frames; `open` is the current event, as known so far."""

    rules: Rules = Rules()
    recent: tuple[tuple[float, Score], ...] = ()
    open: MotionEvent | None = None
    moved: float = 0.0
    """Time of the last movement in an open event, as opposed to a still presence."""
    seen: float = 0.0
    """Time at which the object of an open event was last seen, moving or still."""
    looked: float = 0.0
    """Time of the last frame that showed whether an open event continues."""

    @property
    def doubtful(self) -> bool:
        """Whether something moved recently that is no event yet."""
        return any(score.area >= self.rules.min_area for _, score in self.recent)


def step(state: MotionState, score: Score, at: float) -> tuple[MotionState, MotionEvent | None]:
    """Process one frame's score; the second value is the event that this frame ends, or None.

    `at` must not run backwards within one state: a source whose clock steps begins a new one after `finish`.
    """
    if score.unsure:  # a lamp that is switched on while a person walks ends no event
        return state, None
    if state.open is None:
        return _watch(state, score, at), None
    rules, event = state.rules, state.open
    seldom = at - state.looked > rules.span / 2
    state = replace(state, looked=at)
    if score.area >= rules.min_area:
        return replace(state, open=_extended(event, score, at), moved=at, seen=at), None
    if score.present >= rules.min_area and at - state.moved <= rules.still:
        return replace(state, open=replace(event, end=at), seen=at), None
    if seldom and state.seen == event.end:
        # no frame was examined after that, so the end is not known better
        return replace(state, open=replace(event, end=at)), None
    if at - event.end > rules.quiet:
        return MotionState(rules), event
    return state, None


def finish(state: MotionState) -> MotionEvent | None:
    """The event that the end of the input cuts off; None if there is none."""
    return state.open


def rules_for(sensitivity: str, *, min_area: float | None = None) -> Rules:
    """The rules of `low`, `medium`, `high` or a number from 1 to 100 (25, 50 and 75 are the named ones).

    Fifty steps halve or double the required contrast, and change the smallest area by a factor of four.
    Raises UsageError.
    """
    level = _level(sensitivity)
    scale = 2.0 ** ((NAMED_SENSITIVITY["medium"] - level) / 50)
    if min_area is not None and not 0 < min_area < 100:
        raise UsageError(f"min-area {min_area} is not a percentage", hint="give a number between 0 and 100")
    return Rules(contrast=scale, min_area=MEDIUM_AREA * scale**2 if min_area is None else min_area)


def polygon(text: str) -> Polygon:
    """Read `x,y x,y x,y ...`, each 0 to 1 from the top left, so that it fits every resolution.

    Raises UsageError.
    """
    try:
        corners = tuple((float(x), float(y)) for x, y in (pair.split(",") for pair in text.split()))
    except ValueError as error:
        hint = "write corners as 0.1,0.2 0.5,0.2 0.5,0.9"
        raise UsageError(f"{text!r} is not a polygon", hint=hint) from error
    if len(corners) < 3 or not all(0 <= value <= 1 for corner in corners for value in corner):
        raise UsageError(
            f"{text!r} is not a polygon in the picture",
            hint="give three corners or more, each between 0,0 (top left) and 1,1 (bottom right)",
        )
    return corners


def _level(sensitivity: str) -> float:
    try:
        level = float(NAMED_SENSITIVITY.get(sensitivity, sensitivity))
    except ValueError:
        level = 0.0
    if not 1 <= level <= 100:
        hint = "use low, medium, high or a number from 1 to 100"
        raise UsageError(f"sensitivity {sensitivity!r} is not known", hint=hint)
    return level


def _watch(state: MotionState, score: Score, at: float) -> MotionState:
    rules = state.rules
    recent = (*((when, past) for when, past in state.recent if at - when <= rules.span), (at, score))
    recent = recent[-rules.window :]
    hits = [(when, past) for when, past in recent if past.area >= rules.min_area]
    if len(hits) < rules.hits:
        return replace(state, recent=recent)
    start, first = hits[0]
    event = MotionEvent(start, start, first.area, start, first.zone)
    for when, hit in hits[1:]:
        event = _extended(event, hit, when)
    return MotionState(rules, (), event, event.end, event.end, at)


def _extended(event: MotionEvent, score: Score, at: float) -> MotionEvent:
    if score.area <= event.peak:
        return replace(event, end=at)
    return MotionEvent(event.start, at, score.area, at, score.zone)
