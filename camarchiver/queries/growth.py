"""What the events of the journal added to each tree and took from it; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, tzinfo

from camarchiver.domain.clip import Tree
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import left_archive


def growth(events: Iterable[JournalEvent], since: datetime) -> Counter[Tree]:
    """Bytes that each tree gained by one day's events from `since` on, negative where it lost them.

    An upload is no event: what arrived in the source is counted from the clips themselves.
    """
    gained = Counter[Tree]()
    for at, tree, size in _changes(events):
        if at >= since:
            gained[tree] += size
    return gained


def growth_by_day(events: Iterable[JournalEvent], zone: tzinfo) -> dict[date, Counter[Tree]]:
    """The same by the day on which it happened, in that zone."""
    gained: dict[date, Counter[Tree]] = {}
    for at, tree, size in _changes(events):
        gained.setdefault(at.astimezone(zone).date(), Counter())[tree] += size
    return gained


def _changes(events: Iterable[JournalEvent]) -> Iterator[tuple[datetime, Tree, int]]:
    """When a tree gained or lost bytes, and how many.

    This reads the lines themselves: a ledger says where files are in the end, not when they came and went.
    """
    in_trash: dict[str, int] = {}
    of_archive: dict[str, int] = {}
    for event in events:
        tree = Tree.ARCHIVE if left_archive(event) else Tree.SOURCE
        if event.archive is not None and event.archive_size is not None:
            of_archive[event.archive] = event.archive_size
        # The line of an archive that came back does not have its size.
        moved = of_archive.get(event.archive or "", 0) if tree is Tree.ARCHIVE else event.source_size or 0
        if event.event == EventKind.TRASHED and event.trash is not None:
            in_trash[event.trash] = moved
        if event.event == EventKind.ARCHIVED:
            yield event.at, Tree.ARCHIVE, event.archive_size or 0
        elif event.event in (EventKind.TRASHED, EventKind.DELETED):
            yield event.at, tree, -moved
            if event.event == EventKind.TRASHED:
                yield event.at, Tree.TRASH, moved
        elif event.event == EventKind.PURGED:
            yield event.at, Tree.TRASH, -in_trash.get(event.trash or "", moved)
        elif event.event == EventKind.RESTORED:
            if event.trash is not None:
                # What came back from its off-site copy was not in the trash.
                yield event.at, Tree.TRASH, -in_trash.get(event.trash, moved)
            yield event.at, tree, moved
