"""Finds what an archived clip was made from: its source, or copies of it in the trash."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import FROM_SOURCE, Archived, Clip, Trees, is_copied
from camarchiver.domain.clocks import Clocks
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import clip_of
from camarchiver.journal.store import Journal
from camarchiver.storage.anchored import fingerprint_of


class Originals(Struct, frozen=True):
    """Looks for the files that clips were archived from; the bytes are not read."""

    trees: Trees
    journal: Journal
    clocks: Clocks

    def copies(self, line: JournalEvent, entry: Archived) -> Iterator[Clip]:
        """The source if it exists, then its copies in the trash, each of the journalled size and time.

        `line` is the journal's of the archive `entry`.
        """
        places = [(self.trees.source, ""), *((self.trees.trash, place) for place in self._trashed(line))]
        folder, _, name = line.source.rpartition("/")
        for root, place in places:
            status = _look(root / (place or line.source), entry, is_in_trash=bool(place))
            if status is not None:
                mark = fingerprint_of(status)
                clip = Clip(
                    root,
                    folder,
                    name,
                    line.camera,
                    line.start,
                    mark,
                    status.st_nlink,
                    entry.duration,
                    place=place,
                    source_mtime_ns=entry.mtime_ns,
                )
                yield self.clocks.applied(clip)

    def _trashed(self, line: JournalEvent) -> Iterator[str]:
        """Where the clip's source may be, below the trash root."""
        wanted = f"{FROM_SOURCE}/{line.source}"
        known = self.journal.day(line.start.date()).ledger.trashed_sources.get(clip_of(line), ())
        yield from (place for place in known if place != wanted)
        # A run may have moved it there and died before it journalled that.
        yield wanted


def _look(path: Path, entry: Archived, *, is_in_trash: bool) -> os.stat_result | None:
    """The state of a regular file of the journalled size and time, which the trash may have rounded."""
    try:
        status = path.lstat()
    except OSError:
        return None
    found, journalled = (status.st_size, status.st_mtime_ns), (entry.size, entry.mtime_ns)
    is_it = is_copied(found, journalled) if is_in_trash else found == journalled
    return status if stat.S_ISREG(status.st_mode) and is_it else None
