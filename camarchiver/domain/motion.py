"""When something moves in a clip, as its archiving found out. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from camarchiver.domain.fields import Seconds

MOST_SPANS = 100
"""Spans that a clip may have: those closest together are joined until no more are left."""

ZoneName = Annotated[str, Meta(min_length=1, max_length=200)]


class MotionSpan(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stretch of motion; times are seconds from the clip's first frame."""

    start: Seconds
    end: Seconds
    zones: tuple[ZoneName, ...] = ()
    """The camera's zones in which something moved."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return max(self.end - self.start, 0.0)


class ClipMotion(msgspec.Struct, frozen=True, omit_defaults=True):
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
