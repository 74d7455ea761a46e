"""Finds a clip's story: what the journal says of it, and what the next run would do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from camarchiver.discovery import Discovery
from camarchiver.errors import UsageError
from camarchiver.journal import Journal
from camarchiver.model import Step, Trees
from camarchiver.names import Names, date_of_folder
from camarchiver.plan import ArchivePolicy, Memory, decide_archive

HOUR = timedelta(hours=1)
"""How long a clip is taken to last where the journal doesn't say."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything known of one clip."""

    source: str
    """Its path below the source root."""
    events: tuple[Mapping[str, Any], ...]
    """From the journal, oldest first."""
    is_there: bool
    next_step: Step | None
    """What `archive` would do with it now; None where it is not in the source tree."""


class Inquiry:
    """Answers from one pair of trees."""

    def __init__(
        self, trees: Trees, names: Names, journal: Journal, discovery: Discovery, memory: Memory
    ) -> None:
        self._trees = trees
        self._names = names
        self._journal = journal
        self._discovery = discovery
        self._memory = memory

    def of_path(self, path: Path, policy: ArchivePolicy, now: datetime) -> Story:
        """The story of a clip, named by where it is or was: in the source, the archive or the trash.

        Raises UsageError for a path in none of them.
        """
        tree, relative = self._below(path)
        if tree != "source":
            relative = self._source_of(tree, relative)
        events = tuple(
            event for day in self._days(relative) for event in day if event.get("source") == relative
        )
        step = self._next_step(relative, policy, now)
        is_there = os.path.lexists(self._trees.source / relative)
        return Story(relative, events, is_there, step)

    def at(self, camera: str, moment: datetime, policy: ArchivePolicy, now: datetime) -> Iterator[Story]:
        """The stories of every clip of a camera that covers a moment."""
        found: set[str] = set()
        for day in {moment.date() - timedelta(days=1), moment.date()}:
            for event in self._journal.day(day).events:
                start = datetime.fromisoformat(event["start"])
                seconds = event.get("duration")
                end = start + (timedelta(seconds=seconds) if seconds is not None else HOUR)
                if event.get("camera") == camera and start <= moment <= end:
                    found.add(event["source"])
        found |= self._in_source(camera, moment)
        for source in sorted(found):
            yield self.of_path(self._trees.source / source, policy, now)

    def _in_source(self, camera: str, moment: datetime) -> set[str]:
        found = set()
        for facts in self._discovery.folders(moment.date()):
            if (day := date_of_folder(facts.folder)) and abs(day - moment.date()) > timedelta(days=1):
                continue
            for clip in facts.clips:
                end = clip.start + (timedelta(seconds=clip.duration) if clip.duration else HOUR)
                if clip.camera == camera and clip.start <= moment <= end:
                    found.add(clip.relative)
        return found

    def _below(self, path: Path) -> tuple[str, str]:
        """Which tree a path lies in, and where in it."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow the clip's own link
        absolute = absolute.parent.resolve() / absolute.name
        for tree, root in (
            ("archive", self._trees.archive),
            ("trash", self._trees.trash),
            ("source", self._trees.source),
        ):
            if absolute.is_relative_to(root):
                return tree, absolute.relative_to(root).as_posix()
        raise UsageError(
            f"{path} lies in none of the trees of {self._trees.source}",
            hint="name the clip's path, or -C/--directory and -o/--output",
        )

    def _source_of(self, tree: str, relative: str) -> str:
        for day in self._days(relative):
            for event in reversed(day):
                if event.get(tree) == relative:
                    return str(event["source"])
        raise UsageError(f"{relative}: the journal does not know this file: it is foreign", hint="")

    def _days(self, relative: str) -> Iterator[tuple[Mapping[str, Any], ...]]:
        """The events of the day that the name tells, else of every day."""
        folder, _, name = relative.rpartition("/")
        parsed = self._names.read(name.rpartition(".")[0].partition("~")[0], folder)
        if parsed is None:
            days: list[date] = list(self._journal.days())
        else:
            days = [parsed.start.date() + timedelta(days=each) for each in (-1, 0, 1)]
        for day in days:
            yield self._journal.day(day).events

    def _next_step(self, relative: str, policy: ArchivePolicy, now: datetime) -> Step | None:
        try:
            facts = self._discovery.folder(relative.rpartition("/")[0])
        except OSError:
            return None
        steps = decide_archive(facts, policy, self._memory, now)
        return next((step for step in steps if step.relative == relative), None)
