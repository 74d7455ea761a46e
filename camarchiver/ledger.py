"""What the journal of one day says of each file: its archives, what went to the trash, and by which rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from camarchiver.events import Event
from camarchiver.model import Archived, Reason, Tree, beside

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
"""Rules that may take a last copy, because the owner asked for just that."""

_TREES = {str(tree): tree for tree in Tree}

REPLACED = "replaced"
"""The reason of an archive that made room for a better one of the same clip."""


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
    """Which brought the file there."""
    at: datetime
    tree: Tree
    """Which it comes from."""
    reason: str
    file_size: int | None
    """Bytes that the file must have to be this one; None where the journal doesn't tell."""


@dataclass
class Ledger:
    """One day's events, folded; filled by `fold` and only read afterwards."""

    archives: dict[str, tuple[Origin, Archived]] = field(default_factory=dict)
    """By path below the archive root: what stands there by the journal's word."""
    trashed: dict[str, Origin] = field(default_factory=dict)
    """By path below the trash root."""
    given_up: set[str] = field(default_factory=set)
    """Archives that a named rule removed."""
    sidecars: dict[str, Origin] = field(default_factory=dict)
    """By path below the source root: pictures that followed their clip."""
    seen: dict[str, Origin] = field(default_factory=dict)
    """By path below the source root: clips that were archived or removed."""

    @cached_property
    def pictures(self) -> dict[str, tuple[Origin, Archived]]:
        """By path below the archive root: the archive that each picture of a clip lies beside."""
        names: dict[str, list[str]] = {}
        for picture, origin in self.sidecars.items():
            folder, _, name = picture.rpartition("/")
            if origin.source.rpartition("/")[0] == folder:
                names.setdefault(origin.source, []).append(name)
        found: dict[str, tuple[Origin, Archived]] = {}
        for known in self.archives.values() if names else ():
            for name in names.get(known[0].source, ()):
                found.setdefault(beside(known[1].archive, name), known)
        return found

    @cached_property
    def stems(self) -> dict[str, Origin]:
        """What was seen, by path without suffix."""
        return {source.rpartition(".")[0]: origin for source, origin in self.seen.items()}


def fold(events: Iterable[Event], archived: Mapping[str, tuple[Archived, ...]]) -> Ledger:
    """The state that a day's events lead to; a line that can't be understood tells nothing."""
    ledger = Ledger()
    for event in events:
        if (apply := _APPLY.get(event.event)) is None:
            continue
        entries = archived.get(event.source, ())
        if (origin := _origin(event, entries)) is not None:
            apply(ledger, event, origin, entries)
    return ledger


def left_archive(event: Event) -> bool:
    """Whether an event of the kinds trashed or deleted speaks of an archive, not of a source."""
    return event.tree == "archive" or event.reason == REPLACED


Entries = tuple[Archived, ...]
"""What was archived of an event's clip, oldest first."""


def _archived(ledger: Ledger, event: Event, origin: Origin, entries: Entries) -> None:
    ledger.seen[origin.source] = origin
    for entry in reversed(entries):
        if entry.archive == event.archive:
            ledger.archives[entry.archive] = (origin, entry)
            ledger.given_up.discard(entry.archive)
            return


def _left(ledger: Ledger, event: Event, origin: Origin, _: Entries) -> None:
    ledger.seen[origin.source] = origin
    if origin.tree is Tree.ARCHIVE and event.archive is not None:
        ledger.archives.pop(event.archive, None)
        if origin.reason in NAMED:
            ledger.given_up.add(event.archive)
    if event.trash is not None:
        ledger.trashed[event.trash] = origin
    for name in event.sidecars or ():
        ledger.sidecars[beside(origin.source, name)] = origin


def _restored(ledger: Ledger, event: Event, origin: Origin, entries: Entries) -> None:
    _purged(ledger, event, origin, entries)
    if origin.tree is Tree.ARCHIVE:
        _archived(ledger, event, origin, entries)


def _purged(ledger: Ledger, event: Event, origin: Origin, _: Entries) -> None:
    ledger.seen[origin.source] = origin
    if event.trash is not None:
        ledger.trashed.pop(event.trash, None)


_APPLY: Mapping[str, Callable[[Ledger, Event, Origin, Entries], None]] = {
    "archived": _archived,
    "adopted": _archived,
    "trashed": _left,
    "deleted": _left,
    "restored": _restored,
    "purged": _purged,
}
"""The events after which something stands elsewhere."""


def _origin(event: Event, entries: Entries) -> Origin | None:
    size, mtime_ns, duration = event.source_size, event.source_mtime_ns, event.duration
    if size is None or mtime_ns is None:
        return None
    if duration is None:
        # A line that tells no duration speaks of a clip whose other lines may.
        told = (each.duration for each in entries if (each.size, each.mtime_ns) == (size, mtime_ns))
        duration = next((seconds for seconds in told if seconds is not None), None)
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
