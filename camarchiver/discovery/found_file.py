"""A file that was found in archive or trash, as a copy of the clips that it belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import Clip, Fingerprint
from camarchiver.domain.clocks import Clocks
from camarchiver.journal.event import JournalEvent
from camarchiver.policy.cleanup_rules import Copy


class FoundFile(Struct, frozen=True):
    """A file that was found in archive or trash."""

    root: Path
    folder: str
    name: str
    relative: str
    status: os.stat_result

    def clip(
        self, camera: str, start: datetime, written_ns: int | None, duration: float | None = None
    ) -> Clip:
        """The file as a copy of a clip, whose source was last written at `written_ns`; seconds."""
        status = self.status
        print_of = Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return Clip(
            self.root,
            self.folder,
            self.name,
            camera,
            start,
            print_of,
            status.st_nlink,
            duration,
            source_mtime_ns=written_ns,
        )


def with_sharers(copy: Copy, events: Iterable[JournalEvent], place: FoundFile, clocks: Clocks) -> Copy:
    """An archive, or a trashed one, with the other clips of the same bytes, whose archive it is, too.

    The bytes settle when they were written, whatever time a copy of them has.
    """
    clip = copy.clip

    def of(event: JournalEvent) -> Clip:
        other = place.clip(event.camera, event.start, clip.source_mtime_ns, clip.duration)
        return clocks.applied(other) if clocks else other

    sharers = tuple(
        replace(
            copy,
            clip=of(event),
            source=event.source,
            identity=(event.source_size or 0, event.source_mtime_ns or 0),
        )
        for event in events
        if event.source != copy.source
    )
    return replace(copy, sharers=sharers)
