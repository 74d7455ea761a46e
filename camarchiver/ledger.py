"""What the journal of one day says of each file: its archives, what went to the trash, and by which rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from camarchiver.model import Archived, Reason, Tree

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

_MOVES = ("archived", "trashed", "purged", "adopted", "deleted", "restored")
"""Events after which something stands elsewhere."""

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


@dataclass(slots=True)
class Ledger:
    """One day's events, folded; filled by `fold` and only read afterwards."""

    archives: dict[str, tuple[Origin, Archived]] = field(default_factory=dict)
    """By path below the archive root: what stands there by the journal's word."""
    trashed: dict[str, Origin] = field(default_factory=dict)
    """By path below the trash root."""
    given_up: set[str] = field(default_factory=set)
    """Archives that a named rule removed."""
    sidecars: dict[tuple[str, str], Origin] = field(default_factory=dict)
    """By folder below the source root and name: pictures that followed their clip."""
    pictures: dict[tuple[str, str], tuple[Origin, Archived]] = field(default_factory=dict)
    """The same by folder below the archive root and name: the archive that each of them lies beside."""
    seen: dict[tuple[str, str], Origin] = field(default_factory=dict)
    """By folder and stem: clips that were archived or removed."""


def fold(events: Iterable[Mapping[str, Any]], archived: Mapping[str, tuple[Archived, ...]]) -> Ledger:
    """The state that a day's events lead to; a line that can't be understood tells nothing."""
    ledger = Ledger()
    for event in events:
        if event.get("event") in _MOVES and (origin := _origin(event)) is not None:
            _apply(ledger, event, _with_duration(origin, archived), archived)
    _place_pictures(ledger)
    return ledger


def left_archive(event: Mapping[str, Any]) -> bool:
    """Whether an event of the kinds trashed or deleted speaks of an archive, not of a source."""
    return event.get("reason") == REPLACED or event.get("tree") == Tree.ARCHIVE


def _apply(
    ledger: Ledger, event: Mapping[str, Any], origin: Origin, archived: Mapping[str, tuple[Archived, ...]]
) -> None:
    archive, place = event.get("archive"), event.get("trash")
    match event.get("event"):
        case "archived" | "adopted":
            entry = None
            for each in archived.get(origin.source, ()):
                entry = each if each.archive == archive else entry
            if entry is not None:
                ledger.archives[entry.archive] = (origin, entry)
                ledger.given_up.discard(entry.archive)
        case "trashed" | "deleted":
            if origin.tree is Tree.ARCHIVE and isinstance(archive, str):
                ledger.archives.pop(archive, None)
                if origin.reason in NAMED:
                    ledger.given_up.add(archive)
            if isinstance(place, str):
                ledger.trashed[place] = origin
            _note_sidecars(ledger, event, origin)
        case "restored" | "purged":
            ledger.trashed.pop(str(place), None)
            if event.get("event") == "restored" and origin.tree is Tree.ARCHIVE and isinstance(archive, str):
                _stand_again(ledger, archive, origin, archived)
        case _:
            return
    folder, _, name = origin.source.rpartition("/")
    ledger.seen[folder, name.rpartition(".")[0]] = origin


def _stand_again(
    ledger: Ledger, archive: str, origin: Origin, archived: Mapping[str, tuple[Archived, ...]]
) -> None:
    """An archive came back from the trash to its path."""
    for entry in archived.get(origin.source, ()):
        if entry.archive == archive:
            ledger.archives[archive] = (origin, entry)
            ledger.given_up.discard(archive)


def _note_sidecars(ledger: Ledger, event: Mapping[str, Any], origin: Origin) -> None:
    pictures = event.get("sidecars")
    folder = origin.source.rpartition("/")[0]
    for name in pictures if isinstance(pictures, dict) else ():
        ledger.sidecars[folder, str(name)] = origin


def _place_pictures(ledger: Ledger) -> None:
    names: dict[str, list[str]] = {}
    for (folder, name), origin in ledger.sidecars.items():
        if origin.source.rpartition("/")[0] == folder:
            names.setdefault(origin.source, []).append(name)
    for origin, entry in ledger.archives.values() if names else ():
        for name in names.get(origin.source, ()):
            ledger.pictures.setdefault((entry.archive.rpartition("/")[0], name), (origin, entry))


def _with_duration(origin: Origin, archived: Mapping[str, tuple[Archived, ...]]) -> Origin:
    """A line that tells no duration speaks of a clip whose other lines may."""
    if origin.duration is not None:
        return origin
    for entry in archived.get(origin.source, ()):
        if (entry.size, entry.mtime_ns) == (origin.size, origin.mtime_ns) and entry.duration is not None:
            return origin._replace(duration=entry.duration)
    return origin


def _origin(event: Mapping[str, Any]) -> Origin | None:
    try:
        start, at = datetime.fromisoformat(event["start"]), datetime.fromisoformat(event["at"])
        if start.tzinfo is None or at.tzinfo is None:
            return None
        tree = Tree.ARCHIVE if left_archive(event) else _TREES[event.get("tree") or "source"]
        size, duration = int(event["source_size"]), event.get("duration")
        of_archive = event.get("archive_size")
        return Origin(
            str(event["source"]),
            str(event.get("camera") or ""),
            start,
            size,
            int(event["source_mtime_ns"]),
            float(duration) if duration is not None else None,
            str(event.get("run") or ""),
            at,
            tree,
            str(event.get("reason") or ""),
            size if tree is Tree.SOURCE else int(of_archive) if of_archive is not None else None,
        )
    except (KeyError, TypeError, ValueError):
        return None
