"""Finds a clip's story: what the journal says of it, and what the next run would do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from camarchiver.coverage import Hold, held_by
from camarchiver.discovery import Discovery
from camarchiver.errors import UsageError
from camarchiver.journal import Journal
from camarchiver.ledger import fold
from camarchiver.model import Clip, Fingerprint, Step, Tree, Trees
from camarchiver.names import Names
from camarchiver.plan import ArchivePolicy, Memory, decide_archive


@dataclass(frozen=True, slots=True)
class Story:
    """Everything known of one clip."""

    source: str
    """Its path below the source root."""
    events: tuple[Mapping[str, Any], ...]
    """From the journal, oldest first."""
    places: Mapping[Path, Tree]
    """Where it stands now: its source, its archives, and copies in the trash."""
    next_step: Step | None
    """What `archive` would do with it now; None where it is not in the source tree."""

    @property
    def is_known(self) -> bool:
        """Whether anything is known of it."""
        return bool(self.events or self.places)


class Inquiry:
    """Answers from one pair of trees."""

    def __init__(
        self,
        trees: Trees,
        names: Names,
        journal: Journal,
        discover: Callable[[tuple[Hold, ...]], Discovery],
        memory: Memory,
    ) -> None:
        """`discover` begins a walk that finds out the ends of clips where these holds depend on them."""
        self._trees = trees
        self._names = names
        self._journal = journal
        self._discover = discover
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
        return Story(relative, events, self._places(relative, events), step)

    def at(self, camera: str, moment: datetime, policy: ArchivePolicy, now: datetime) -> Iterator[Story]:
        """The stories of every clip of a camera that covers a moment; both times of one that repeats."""
        found: set[str] = set()
        for instant in {each.astimezone(UTC) for each in (moment.replace(fold=0), moment.replace(fold=1))}:
            asked = (Hold("", instant, instant, camera),)
            found |= self._journalled(asked, moment.date(), now) | self._in_source(asked, moment.date(), now)
        for source in sorted(found):
            yield self.of_path(self._trees.source / source, policy, now)

    def _journalled(self, asked: tuple[Hold, ...], day: date, now: datetime) -> set[str]:
        found = set()
        for each in (day - timedelta(days=1), day):
            known = self._journal.day(each)
            ledger = fold(known.events, known.archived)
            for origin in (*ledger.seen.values(), *(origin for origin, _ in ledger.archives.values())):
                clip = Clip(self._trees.source, "", "", origin.camera, origin.start, Fingerprint(0, 0, 0, 0))
                if held_by(clip._replace(duration=origin.duration), asked, now):
                    found.add(origin.source)
        return found

    def _in_source(self, asked: tuple[Hold, ...], day: date, now: datetime) -> set[str]:
        near = self._discover(asked).folders(day + timedelta(days=1), earliest=day - timedelta(days=2))
        return {clip.relative for facts in near for clip in facts.clips if held_by(clip, asked, now)}

    def _places(self, source: str, events: Iterable[Mapping[str, Any]]) -> dict[Path, Tree]:
        found = {self._trees.source / source: Tree.SOURCE}
        for event in events:
            for tree, root in ((Tree.ARCHIVE, self._trees.archive), (Tree.TRASH, self._trees.trash)):
                if isinstance(place := event.get(tree), str):
                    found[root / place] = tree
        return {path: tree for path, tree in found.items() if os.path.lexists(path)}

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
            facts = self._discover(self._memory.holds).folder(relative.rpartition("/")[0])
        except OSError:
            return None
        steps = decide_archive(facts, policy, self._memory, now)
        return next((step for step in steps if step.relative == relative), None)
