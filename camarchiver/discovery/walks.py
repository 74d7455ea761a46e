"""Begins a walk over the trees of a run."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.hold import Hold
from camarchiver.pipeline import Pipeline

if TYPE_CHECKING:
    # Imported where it is used: `archive` has no need of it.
    from camarchiver.discovery.copies import CopyFinder


def of_source(pipeline: Pipeline, holds: tuple[Hold, ...], now: datetime | None = None) -> Discovery:
    """A walk over the source, which finds out the ends of clips where these holds depend on them.

    `now` is by default the start of the run.
    """
    now = now or pipeline.started
    ends = ClipEnds(holds, now)
    return Discovery(pipeline.trees, pipeline.names, pipeline.journal, ends, now, pipeline.zone)


def of_copies(pipeline: Pipeline, holds: tuple[Hold, ...]) -> CopyFinder:
    """A walk over source, archive and trash."""
    from camarchiver.discovery.copies import CopyFinder

    discovery, ends = of_source(pipeline, holds), ClipEnds(holds, pipeline.started)
    return CopyFinder(
        pipeline.trees, pipeline.names, pipeline.journal, discovery, ends, pipeline.started, pipeline.zone
    )
