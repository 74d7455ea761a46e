"""Begins a walk over the trees of a run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING

from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Total
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import Problem
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.formatting import count_of, shown

if TYPE_CHECKING:
    # Imported where it is used, because `archive` does not need it.
    from camarchiver.discovery.copies import CopyFinder


def of_source(pipeline: Pipeline, memory: Memory, now: datetime | None = None) -> Discovery:
    """A walk over the source.

    It finds out the ends of clips if the holds of `memory` depend on them. An archive that `memory` knows
    to be damaged does not count. `now` is by default the start of the run.
    """
    now = now or pipeline.started
    clip_ends = ClipEnds(memory.holds, now)
    return Discovery(
        pipeline.trees,
        pipeline.names,
        pipeline.journal,
        clip_ends,
        memory.damaged,
        now,
        pipeline.zone,
        pipeline.conventions,
    )


def has_footage(pipeline: Pipeline) -> bool:
    """Whether the source has a file that is, or could be, a clip, or was ever archived."""
    trees = pipeline.trees
    if trees.state.exists() or (trees.source / STATE_FOLDER).exists() or trees.trash.exists():
        return True
    found = of_source(pipeline, Memory()).folders(date.max)
    return any(facts.clips or facts.set_aside for facts in found)


def unreadable(first: Keep | None, totals: Iterable[Total]) -> tuple[Problem, ...]:
    """The problem to report for files and folders that can't be examined; `first` is one of them, if any."""
    if first is None:
        return ()
    count = sum(total.clips for total in totals if total.group.reason is Reason.UNREADABLE)
    words = f"{count_of(count, 'file or folder', 'files or folders')} can't be read, such as"
    return (Problem("unreadable", f"{words} {shown(first.path)}: {shown(first.detail)}"),)


def of_copies(pipeline: Pipeline, memory: Memory, remote: str = "") -> CopyFinder:
    """A walk over source, archive and trash, with the same facts of `memory`, and of copies at `remote`."""
    from camarchiver.discovery.copies import CopyFinder

    discovery, clip_ends = of_source(pipeline, memory), ClipEnds(memory.holds, pipeline.started)
    return CopyFinder(
        pipeline.trees,
        pipeline.names,
        pipeline.journal,
        discovery,
        clip_ends,
        memory.damaged,
        pipeline.zone,
        pipeline.conventions,
        remote,
    )
