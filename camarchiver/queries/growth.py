"""What the events of the journal added to each tree and took from it; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from camarchiver.domain.clip import Tree
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import left_archive


def growth(events: Iterable[JournalEvent], since: datetime) -> Counter[Tree]:
    """Bytes that each tree gained by one day's events from `since` on, negative where it lost them.

    An upload is no event: what arrived in the source is counted from the clips themselves.
    """
    gained = Counter[Tree]()
    in_trash: dict[str, int] = {}
    for event in events:
        tree = Tree.ARCHIVE if left_archive(event) else Tree.SOURCE
        moved = (event.archive_size if tree is Tree.ARCHIVE else event.source_size) or 0
        if event.event == EventKind.TRASHED and event.trash is not None:
            in_trash[event.trash] = moved
        if event.at < since:
            continue
        if event.event == EventKind.ARCHIVED:
            gained[Tree.ARCHIVE] += event.archive_size or 0
        elif event.event in (EventKind.TRASHED, EventKind.DELETED):
            gained[tree] -= moved
            if event.event == EventKind.TRASHED:
                gained[Tree.TRASH] += moved
        elif event.event == EventKind.PURGED:
            gained[Tree.TRASH] -= in_trash.get(event.trash or "", moved)
        elif event.event == EventKind.RESTORED:
            gained[Tree.TRASH] -= moved
            gained[tree] += moved
    return gained
