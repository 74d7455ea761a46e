"""Which cameras there are, in source and journal."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from datetime import date

from camarchiver.discovery import walks
from camarchiver.domain.memory import Memory
from camarchiver.pipeline import Pipeline


def known(pipeline: Pipeline) -> frozenset[str]:
    """Every camera that has, or had, a clip."""
    return frozenset(_each(pipeline))


def some(pipeline: Pipeline, seconds: float = 0.5) -> frozenset[str]:
    """The cameras that are found in this time: for a person who waits for them."""
    until = time.monotonic() + seconds
    found = set[str]()
    for camera in _each(pipeline):
        found.add(camera)
        if time.monotonic() > until:
            break
    return frozenset(found)


def unknown(
    pipeline: Pipeline, asked: Collection[str], seconds: float = math.inf
) -> tuple[frozenset[str], frozenset[str]]:
    """Which of these cameras never had a clip; and, if there are any, the cameras that did.

    It ends as soon as all of them are found: only an unknown name makes it read everything. If that takes
    longer than `seconds`, nothing is proved, and no camera is called unknown.
    """
    missing, seen = set(asked), set[str]()
    until = time.monotonic() + seconds
    for camera in _each(pipeline) if missing else ():
        seen.add(camera)
        missing.discard(camera)
        if not missing:
            break
        if time.monotonic() > until:
            return frozenset(), frozenset()
    return frozenset(missing), frozenset(seen)


def _each(pipeline: Pipeline) -> Iterator[str]:
    """The camera of every clip, the newest days of the journal first."""
    for day in reversed(pipeline.journal.days()):
        yield from {event.camera for event in pipeline.journal.day(day).events if event.camera}
    for facts in walks.of_source(pipeline, Memory()).folders(date.max):
        yield from {clip.camera for clip in facts.clips}
