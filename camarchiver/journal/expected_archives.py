"""Tells which archives should stand by the word of one day's journal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.replay import REPLACED, left_archive


@dataclass(frozen=True, slots=True)
class Expected:
    """An archive as the journal knows it."""

    archive: str
    """Below the archive root."""
    source: str
    size: int
    digest: str
    """BLAKE2b; empty where the journal has none."""
    line: JournalEvent
    """The newest one that says it was made."""


def expected_of(events: Iterable[JournalEvent]) -> tuple[Expected, ...]:
    """The archives of one day's lines that no later line took away.

    One that was found damaged, or moved aside to make room for a better one, is expected until a newer
    archive of the same clip stands: a run may have died before it was published.
    """
    expected: dict[str, Expected] = {}
    away: dict[str, Expected] = {}
    outdated: defaultdict[tuple[str, int | None, int | None], set[str]] = defaultdict(set)
    for event in events:
        archive = event.archive
        if archive is None:
            continue
        clip = (event.source, *event.identity)
        match event.event:
            case EventKind.ARCHIVED | EventKind.ADOPTED:
                known = expected.get(archive)
                digest = event.archive_blake2b or (known.digest if known else "")
                for old in outdated.pop(clip, ()):
                    expected.pop(old, None)
                if event.archive_size is not None:
                    expected[archive] = Expected(archive, event.source, event.archive_size, digest, event)
            case EventKind.TRASHED if event.reason == REPLACED:
                outdated[clip].add(archive)
            case EventKind.TRASHED | EventKind.DELETED if left_archive(event):
                if archive in expected:
                    away[archive] = expected.pop(archive)
            case EventKind.RESTORED if event.tree == "archive" and archive in away:
                expected[archive] = away[archive]
            case EventKind.FOUND_DAMAGED:
                outdated[clip].add(archive)
            case EventKind.FOUND_SOUND:
                outdated[clip].discard(archive)
    return tuple(expected.values())
