"""What the events of one day of footage add up to, as values: filled by `journal/replay.py`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from camarchiver.domain.clip import Archived, Clip, Fingerprint, RemoteCopy, Tree, beside
from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.reason import Reason
from camarchiver.journal.event import EventKind, JournalEvent

_TREES = {str(tree): tree for tree in Tree}

REPLACED = "replaced"
"""The reason of an archive that was moved away for a better one of the same clip."""

# Plain strings: each line is compared, and with a member of an enum that takes several times as long.
MADE = frozenset({EventKind.ARCHIVED.value, EventKind.ADOPTED.value})
"""The events after which a clip has an archive."""

REMOVED = frozenset({EventKind.TRASHED.value, EventKind.DELETED.value})
"""The events after which a file is no longer in source or archive."""

CHANGES = MADE | REMOVED | {EventKind.RESTORED.value, EventKind.PURGED.value}
"""The events that change where a file is."""

SCORED = EventKind.SCORED.value
"""The event after which the motion in a clip is known, archived or not."""

Entries = tuple[Archived, ...]
"""The archives of one clip, oldest first."""

ClipKey = tuple[str, int | None, int | None]
"""The clip's path below the source root, its bytes and its mtime_ns."""

FileKey = tuple[str, str]
"""The tree of a file and its path there."""


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

    def clip(self, root: Path) -> Clip:
        """The clip as its source was, below this root; its device and inode are not known."""
        folder, _, name = self.source.rpartition("/")
        print_of = Fingerprint(-1, -1, self.size, self.mtime_ns)
        return Clip(root, folder, name, self.camera, self.start, print_of, duration=self.duration)


class ExpectedArchive(Struct, frozen=True):
    """An archive as the journal knows it."""

    archive: str
    """Below the archive root."""
    source: str
    size: int
    digest: str
    """BLAKE2b; empty if the journal has none."""
    line: JournalEvent
    """The newest line that says it was made."""


CopyKey = tuple[str, str, str]
"""The remote of an off-site copy, the path of its archive below the archive root, the archive's BLAKE2b."""


class OffsiteCopy(Struct, frozen=True):
    """An off-site copy of an archive, as the journal knows it."""

    line: JournalEvent
    """The newest line that says it was made or verified."""
    verified: datetime | None = None
    """When it was last compared, whole, with the archive's BLAKE2b; None if it never was."""
    lost: JournalEvent | None = None
    """The line that says that it is missing, differs or was removed; None while it is there."""

    @property
    def name(self) -> str:
        """The object's name below the remote."""
        return self.line.object or ""

    @property
    def was_removed(self) -> bool:
        """Whether a rule removed it."""
        return self.lost is not None and self.lost.reason == Reason.MAX_AGE_HARD

    @property
    def copy(self) -> RemoteCopy:
        """The copy as the rules and the steps know it."""
        line = self.line
        return RemoteCopy(
            line.remote or "",
            self.name,
            line.archive or "",
            line.archive_size or 0,
            line.archive_blake2b or "",
            self.verified if self.lost is None else None,
        )

    @property
    def is_proved(self) -> bool:
        """Whether its newest line says that it was verified."""
        return self.verified is not None and self.lost is None


class Ledger:
    """One day's events, folded; filled by `fold` and only read afterwards.

    It keeps the events themselves, because most of them are only tested for existence.
    """

    def __init__(
        self, lines: Sequence[JournalEvent] = (), archived: Mapping[str, Entries] | None = None
    ) -> None:
        self.lines = lines
        """All events, in their order."""
        self.archived = {} if archived is None else archived
        """What was archived, by path below the source root."""
        self.archives: dict[str, tuple[JournalEvent, Archived]] = {}
        """By path below the archive root: the archive that exists according to the journal, with the newest
        line about it.
        """
        self.sharers: dict[str, dict[str, JournalEvent]] = {}
        """By path below the archive root: the lines of all its clips if there are several, by their names."""
        self.trashed: dict[str, JournalEvent] = {}
        """By path below the trash root."""
        self.restored: dict[str, JournalEvent] = {}
        """By path below the trash root: the line that had trashed a file, which came back since."""
        self.given_up: set[str] = set()
        """Archives that a named rule removed."""
        self.sidecars: dict[str, JournalEvent] = {}
        """By path below the source root: the clip that each sidecar followed."""
        self.intended: dict[FileKey, JournalEvent] = {}
        """Removals that were announced and have no outcome."""
        self.copying: dict[tuple[str, str | None], JournalEvent] = {}
        """By source and its BLAKE2b: unchanged copies that were announced and have no outcome."""
        self.replaced: dict[str, tuple[JournalEvent, Archived]] = {}
        """Archives that were moved away for a better one, which was not yet journalled."""
        self.outdated: dict[ClipKey, set[str]] = {}
        """Archives of each clip that were replaced or found damaged."""
        self.superseded: set[str] = set()
        """Archives that were found damaged and whose clip has a newer one."""
        self.only_offsite: dict[str, tuple[JournalEvent, Archived]] = {}
        """By path below the archive root: archives that left for off-site copies, without their sidecars."""
        self.copies: dict[CopyKey, OffsiteCopy] = {}
        """The off-site copies of archives, lost ones and those of former bytes too."""

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
    def _changes(self) -> list[JournalEvent]:
        """The events that changed where a file is."""
        return [
            event
            for event in self.lines
            if event.event in CHANGES and event.source_size is not None and event.source_mtime_ns is not None
        ]

    @cached_property
    def gone(self) -> dict[ClipKey, JournalEvent]:
        """Sources that left their tree and did not come back, with the newest line that says so."""
        found: dict[ClipKey, JournalEvent] = {}
        for event in self._changes:
            if left_archive(event):
                continue
            if event.event in REMOVED:
                found[clip_of(event)] = event
            elif event.event == EventKind.RESTORED:
                found.pop(clip_of(event), None)
        return found

    @cached_property
    def trashed_sources(self) -> dict[ClipKey, list[str]]:
        """Where the source of each clip is, below the trash root."""
        found: dict[ClipKey, list[str]] = {}
        for place, event in self.trashed.items():
            if not left_archive(event) and event.tree in (None, "source"):
                found.setdefault(clip_of(event), []).append(place)
        return found

    @cached_property
    def sidecar_places(self) -> frozenset[str]:
        """Every absolute path where a sidecar was put and should be now."""
        found: dict[str, list[str]] = {}
        for event in self._changes:
            for name, place in (event.sidecars or {}).items():
                if event.event in REMOVED:
                    found.setdefault(beside(event.source, name), []).append(place)
                elif event.event in (EventKind.RESTORED, EventKind.PURGED):
                    found.pop(beside(event.source, name), None)
        return frozenset(place for places in found.values() for place in places)

    @cached_property
    def seen(self) -> dict[str, JournalEvent]:
        """By path below the source root: clips that were archived or removed."""
        return {event.source: event for event in self._changes}

    @cached_property
    def archived_sidecars(self) -> dict[str, tuple[JournalEvent, Archived]]:
        """By path below the archive root: the archive that each sidecar of a clip lies beside."""
        if not self.sidecars:
            return {}
        of_source: dict[str, list[tuple[JournalEvent, Archived]]] = {}
        for known in (*self.archives.values(), *self.only_offsite.values()):
            of_source.setdefault(known[0].source, []).append(known)
        found: dict[str, tuple[JournalEvent, Archived]] = {}
        for sidecar, event in self.sidecars.items():
            for known in of_source.get(event.source, ()):
                # Nearly every archive has its source's name, and so have the sidecars beside it.
                archive = known[1].archive
                is_same = archive == event.source
                place = sidecar if is_same else beside(archive, sidecar.rpartition("/")[2])
                found.setdefault(place, known)
        return found

    @cached_property
    def stems(self) -> dict[str, JournalEvent]:
        """What was seen, by path without suffix."""
        return {source.rpartition(".")[0]: event for source, event in self.seen.items()}

    @cached_property
    def made(self) -> dict[str, list[JournalEvent]]:
        """By path below the archive root: every line that says an archive was made there, oldest first."""
        found: dict[str, list[JournalEvent]] = {}
        for event in self._changes:
            if event.archive is not None and event.event in MADE:
                found.setdefault(event.archive, []).append(event)
        return found

    def also_made(self, archive: str, source: str) -> tuple[JournalEvent, ...]:
        """The newest line of each other clip that has, or had, this archive and the same bytes."""
        newest = {line.source: line for line in self.made.get(archive, ())}
        own = newest.pop(source, None)
        return tuple(
            line for line in newest.values() if own is not None and line.source_blake2b == own.source_blake2b
        )

    def made_with(self, archive: str, digest: str) -> JournalEvent | None:
        """The newest line that says an archive with this BLAKE2b was made there; None if there is none."""
        lines = reversed(self.made.get(archive, ()))
        return next((line for line in lines if line.archive_blake2b == digest), None)

    @cached_property
    def motion(self) -> dict[ClipKey, ClipMotion]:
        """By clip, archived or not: the motion that was found in it last."""
        return {clip_of(event): event.motion for event in self.lines if event.motion is not None}

    @cached_property
    def named_archives(self) -> frozenset[str]:
        """Every archive that a line names, whether or not it should exist."""
        return frozenset(event.archive for event in self.lines if event.archive is not None)

    @cached_property
    def starts(self) -> dict[str, set[datetime]]:
        """By camera: when each clip that a line names began."""
        found: dict[str, set[datetime]] = {}
        for event in self.lines:
            found.setdefault(event.camera, set()).add(event.start)
        return found

    @cached_property
    def expected(self) -> dict[str, ExpectedArchive]:
        """By path below the archive root: the archives that no later line removed.

        An archive that was found damaged, or moved away for a better one, is expected until a newer archive
        of the same clip exists: a run may have died before it published that one.
        """
        known = {**self.replaced, **self.archives}
        return {
            archive: ExpectedArchive(archive, line.source, entry.archive_size, self.digest(archive), line)
            for archive, (_, entry) in known.items()
            if archive not in self.superseded and (line := self.made[archive][-1])
        }

    def copy(self, remote: str, archive: str) -> OffsiteCopy | None:
        """The off-site copy of an archive as its bytes are now; None if there is none, or it is lost."""
        found = self.copies.get((remote, archive, self.digest(archive)))
        return found if found is not None and found.lost is None else None

    def newest_copy(self, remote: str, archives: Iterable[str]) -> RemoteCopy | None:
        """The off-site copy of the first of these archives that has one; None if no remote is named."""
        found = (self.copy(remote, archive) for archive in archives) if remote and self.copies else ()
        return next((each.copy for each in found if each is not None), None)

    def digest(self, archive: str) -> str:
        """The newest BLAKE2b of the archive at this path; empty if the journal has none."""
        digests = (event.archive_blake2b for event in reversed(self.made.get(archive, ())))
        return next((digest for digest in digests if digest), "")


def left_archive(event: JournalEvent) -> bool:
    """Whether an event of the kinds trashed or deleted is about an archive, not about a source."""
    return event.tree == "archive" or event.reason == REPLACED


def clip_of(event: JournalEvent) -> ClipKey:
    """The clip that an event is about."""
    return event.source, event.source_size, event.source_mtime_ns
