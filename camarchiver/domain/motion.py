"""When something moves in a clip, what its thumbnails show, and which parts of a picture count. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from camarchiver.domain.untrusted import Seconds

MOST_SPANS = 100
"""Spans that a clip may have: those closest together are joined until no more are left."""

MOST_THUMBNAILS = 9
"""Thumbnails in a strip."""
MOST_SCORES = 512
"""Scores of one strip: of more keyframes, those in one part of the clip share the highest."""

_Pixels = Annotated[int, Meta(ge=1, le=65_535)]
ZoneName = Annotated[str, Meta(min_length=1, max_length=200)]


class MotionSpan(Struct, frozen=True, omit_defaults=True):
    """One stretch of motion; times are seconds from the clip's first frame."""

    start: Seconds
    end: Seconds
    zones: tuple[ZoneName, ...] = ()
    """The camera's zones in which something moved."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return max(self.end - self.start, 0.0)


class ClipMotion(Struct, frozen=True, omit_defaults=True):
    """All motion in one clip; a clip that was never scored has none of these."""

    spans: Annotated[tuple[MotionSpan, ...], Meta(max_length=MOST_SPANS)] = ()
    """In their order; they do not overlap."""
    unsure: bool = False
    """Whether there may be motion besides the spans."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing moves in the clip, as far as a detector can be sure of it."""
        return not self.spans and not self.unsure

    def in_zone(self, zone: str) -> tuple[MotionSpan, ...]:
        """The spans in one zone, or all of them if `zone` is empty."""
        return tuple(span for span in self.spans if not zone or zone in span.zones)

    def seconds(self, zone: str = "") -> float:
        """How long something moves, in one zone or anywhere."""
        return sum(span.seconds for span in self.in_zone(zone))


class KeyframeScore(NamedTuple):
    """How much moves at one keyframe."""

    at: Seconds
    """Seconds from the clip's first frame."""
    area: Annotated[float, Meta(ge=0, le=100)]
    """Percent of the picture."""


class ThumbnailStrip(Struct, frozen=True):
    """What a strip shows: its thumbnails stand side by side, in the order of their times."""

    width: _Pixels
    """Of one thumbnail."""
    height: _Pixels
    times: Annotated[tuple[Seconds, ...], Meta(min_length=1, max_length=MOST_THUMBNAILS)]
    """Of each thumbnail, in seconds from the clip's first frame."""
    scores: Annotated[tuple[KeyframeScore, ...], Meta(max_length=MOST_SCORES)] = ()
    """Empty if no detector looked at the clip."""


class KeyframeFindings(Struct, frozen=True):
    """What the keyframes of a file show."""

    strip: ThumbnailStrip | None = None
    """None if no thumbnail could be made."""
    jpeg: bytes = b""
    motion: ClipMotion | None = None
    """None if nothing looked for motion: OpenCV is not installed, or a mask can't be read."""
    has_chapters: bool = False
    """Whether the file has chapters of its own."""
    note: str = ""
    """Why there is nothing to show, as a sentence; empty otherwise."""


NO_FINDINGS = KeyframeFindings()
"""Of a clip whose keyframes nobody looked at."""


Polygon = tuple[tuple[float, float], ...]
"""Corners as (x, y), each 0 to 1 from the picture's top left."""


class View(Struct, frozen=True):
    """Which parts of the picture count."""

    ignored: tuple[Polygon, ...] = ()
    """Areas where motion is ignored: a road, a tree, the displayed clock."""
    mask: Path | None = None
    """An image of the same view whose black parts are ignored."""
    zones: Mapping[str, Polygon] = field(default_factory=dict)
    """If there are zones, only motion within one of them counts."""


WHOLE_VIEW = View()
"""Without masks and zones."""


class CameraViews(Struct, frozen=True):
    """Which parts of each camera's picture count, for clips that are archived."""

    cameras: Mapping[str, View] = field(default_factory=dict)

    def of(self, camera: str) -> View:
        """This camera's view."""
        return self.cameras.get(camera, WHOLE_VIEW)

    @property
    def zones(self) -> tuple[str, ...]:
        """The names of all zones."""
        return tuple(sorted({name for view in self.cameras.values() for name in view.zones}))


WHOLE_VIEWS = CameraViews()
"""No camera has masks or zones."""
