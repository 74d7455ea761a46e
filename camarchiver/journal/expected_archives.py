"""Finds out which archives should exist by one day's journal."""

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
    """BLAKE2b; empty if the journal has none."""
    line: JournalEvent
    """The newest line that says it was made."""


def expected_of(events: Iterable[JournalEvent]) -> tuple[Expected, ...]:
    """The archives of one day's lines that no later line removed.

    An archive that was found damaged, or moved away for a better one, is expected until a newer archive of
    the same clip exists: a run may have died before it published that one.
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
