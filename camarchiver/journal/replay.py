"""Folds the journal of one day into the state of each file: archived, trashed, removed, and by which rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from camarchiver.domain.clip import Archived, Tree, beside
from camarchiver.domain.reason import Reason
from camarchiver.journal.event import JournalEvent

NAMED = frozenset(
    {
        Reason.UNARCHIVED,
        Reason.ARCHIVE_AGE,
        Reason.MAX_SIZE,
        Reason.MIN_FREE,
        Reason.MAX_AGE_HARD,
        Reason.ORPHAN_PICTURE,
    }
)
"""Rules that may remove a last copy, because the owner asked for that."""

_TREES = {str(tree): tree for tree in Tree}

REPLACED = "replaced"
"""The reason of an archive that was moved away for a better one of the same clip."""


Entries = tuple[Archived, ...]
"""The archives of one clip, oldest first."""


class Origin(NamedTuple):
    """The clip that a file in archive or trash is a copy of."""

    source: str
    """Below the source root."""
    camera: str
    start: datetime
    size: int
    mtime_ns: int
    """Of the source."""
    duration: float | None
    run: str
    """The run that put the file there."""
    at: datetime
    tree: Tree
    """The tree that it comes from."""
    reason: str
    file_size: int | None
    """Bytes that the file must have to be this one; None if the journal lacks them."""


@dataclass
class Ledger:
    """One day's events, folded; filled by `fold` and only read afterwards.

    It keeps the events themselves, because most of them are only tested for existence.
    """

    archived: Mapping[str, Entries] = field(default_factory=dict)
    """What was archived, by path below the source root."""
    archives: dict[str, tuple[JournalEvent, Archived]] = field(default_factory=dict)
    """By path below the archive root: the archive that is there by the journal."""
    trashed: dict[str, JournalEvent] = field(default_factory=dict)
    """By path below the trash root."""
    given_up: set[str] = field(default_factory=set)
    """Archives that a named rule removed."""
    sidecars: dict[str, JournalEvent] = field(default_factory=dict)
    """By path below the source root: the clip that each picture followed."""
    events: list[JournalEvent] = field(default_factory=list)
    """The events that it was folded from."""

    def origin(self, event: JournalEvent) -> Origin:
        """The clip of an event of this ledger."""
        size, mtime_ns = event.source_size, event.source_mtime_ns
        assert size is not None and mtime_ns is not None
        duration = event.duration
        if duration is None:
            # A line without a duration may be about a clip whose other lines have one.
            entries = self.archived.get(event.source, ())
            durations = (each.duration for each in entries if (each.size, each.mtime_ns) == (size, mtime_ns))
            duration = next((seconds for seconds in durations if seconds is not None), None)
        tree = Tree.ARCHIVE if left_archive(event) else _TREES[event.tree or "source"]
        return Origin(
            event.source,
            event.camera,
            event.start,
            size,
            mtime_ns,
            duration,
            event.run,
            event.at,
            tree,
            event.reason or "",
            size if tree is Tree.SOURCE else event.archive_size,
        )

    @cached_property
    def seen(self) -> dict[str, JournalEvent]:
        """By path below the source root: clips that were archived or removed."""
        return {event.source: event for event in self.events}

    @cached_property
    def pictures(self) -> dict[str, tuple[JournalEvent, Archived]]:
        """By path below the archive root: the archive that each picture of a clip lies beside."""
        if not self.sidecars:
            return {}
        of_source: dict[str, list[tuple[JournalEvent, Archived]]] = {}
        for known in self.archives.values():
            of_source.setdefault(known[0].source, []).append(known)
        found: dict[str, tuple[JournalEvent, Archived]] = {}
        for picture, event in self.sidecars.items():
            for known in of_source.get(event.source, ()):
                # Nearly every archive has its source's name, and so have the pictures beside it.
                archive = known[1].archive
                is_same = archive == event.source
                place = picture if is_same else beside(archive, picture.rpartition("/")[2])
                found.setdefault(place, known)
        return found

    @cached_property
    def stems(self) -> dict[str, JournalEvent]:
        """What was seen, by path without suffix."""
        return {source.rpartition(".")[0]: event for source, event in self.seen.items()}


def fold(events: Iterable[JournalEvent], archived: Mapping[str, Entries]) -> Ledger:
    """The state that a day's events lead to; an incomplete or unknown line has no effect."""
    ledger = Ledger(archived)
    ledger.events = [
        event
        for event in events
        if event.event in _APPLY and event.source_size is not None and event.source_mtime_ns is not None
    ]
    for event in ledger.events:
        _APPLY[event.event](ledger, event)
    return ledger


def left_archive(event: JournalEvent) -> bool:
    """Whether an event of the kinds trashed or deleted is about an archive, not about a source."""
    return event.tree == "archive" or event.reason == REPLACED


def _archived(ledger: Ledger, event: JournalEvent) -> None:
    for entry in reversed(ledger.archived.get(event.source, ())):
        if entry.archive == event.archive:
            ledger.archives[entry.archive] = (event, entry)
            ledger.given_up.discard(entry.archive)
            return


def _left(ledger: Ledger, event: JournalEvent) -> None:
    if event.archive is not None and left_archive(event):
        ledger.archives.pop(event.archive, None)
        if event.reason in NAMED:
            ledger.given_up.add(event.archive)
    if event.trash is not None:
        ledger.trashed[event.trash] = event
    for name in event.sidecars or ():
        ledger.sidecars[beside(event.source, name)] = event


def _restored(ledger: Ledger, event: JournalEvent) -> None:
    _purged(ledger, event)
    if left_archive(event):
        _archived(ledger, event)


def _purged(ledger: Ledger, event: JournalEvent) -> None:
    if event.trash is not None:
        ledger.trashed.pop(event.trash, None)


_APPLY: Mapping[str, Callable[[Ledger, JournalEvent], None]] = {
    "archived": _archived,
    "adopted": _archived,
    "trashed": _left,
    "deleted": _left,
    "restored": _restored,
    "purged": _purged,
}
"""The events that change where a file is."""
