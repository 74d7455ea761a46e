"""Finds every file that a hold covers, and the files that are missing from it; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.discovery import walks
from camarchiver.discovery.copies import LoneSidecar
from camarchiver.domain.clip import Clip, Fingerprint, Tree
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.store import Day, dated
from camarchiver.naming.folders import date_of_folder
from camarchiver.naming.formats import is_sidecar_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy

_SPAN = timedelta(days=2)
"""How long before a moment a clip that covers it may have started."""


class HeldPart(Struct, frozen=True):
    """One file that a hold keeps: a clip's source, its archive, a copy in the trash, or a sidecar."""

    tree: Tree
    root: Path
    relative: str
    """Below the root of its tree."""
    source: str
    """The clip's name in the journal."""
    start: datetime
    size: int
    """Bytes."""
    identity: tuple[int, int] = (0, 0)
    """Bytes and mtime_ns of the clip's source, which may be gone."""
    clip: Clip | None = None
    """None for a sidecar."""
    digest: str = ""
    """The BLAKE2b in the journal; empty if it has none."""
    remark: str = ""
    """What is known to be wrong with it."""

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative


class Gap(Struct, frozen=True):
    """Something that a hold keeps, or may keep, and that is not available."""

    path: Path
    detail: str


class HeldFiles:
    """Searches one pair of trees for the files of one hold."""

    def __init__(self, pipeline: Pipeline, hold: Hold) -> None:
        """A hold that has expired still defines which files are meant."""
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._hold = replace(hold, until=None)
        self._copies = walks.of_copies(pipeline, Memory(holds=(self._hold,)))
        self._clocks = pipeline.conventions.clocks
        self._now = pipeline.started

    def found(self) -> Iterator[HeldPart | Gap]:
        """Every file that exists, then every one that the journal knows and that doesn't exist."""
        for item in self._copies.items():
            match item:
                case Copy():
                    yield from self._parts(item)
                case LoneSidecar():
                    yield from self._parts(item.copy)
                case Keep():
                    yield from self._kept(item)
        yield from self._missing()

    def events(self, sources: set[str], days: set[date]) -> Iterator[JournalEvent]:
        """The journal's lines of these clips, oldest first within each day."""
        nearby_days = {day + timedelta(days=each) for day in days for each in (-1, 0, 1)}
        for day in sorted(nearby_days):
            yield from (event for event in self._journal.day(day).events if event.source in sources)

    def _covers(self, clip: Clip) -> bool:
        return held_by(clip, (self._hold,), self._now) is not None

    def _parts(self, copy: Copy) -> Iterator[HeldPart]:
        clip = copy.clip
        if not any(self._covers(each.clip) for each in (copy, *copy.sharers)):
            return
        is_sidecar = copy.is_sidecar or is_sidecar_name(clip.name)
        part = HeldPart(
            copy.tree,
            clip.root,
            clip.relative,
            copy.source,
            clip.start,
            clip.fingerprint.size,
            copy.identity,
            None if is_sidecar else clip,
            "" if is_sidecar else self._journalled_digest(copy),
        )
        yield part
        for name in clip.sidecars:
            relative = clip.beside(name)
            try:
                count = (clip.root / relative).lstat().st_size
            except FileNotFoundError:
                continue
            yield replace(part, relative=relative, size=count, clip=None, digest="")

    def _journalled_digest(self, copy: Copy) -> str:
        """The checksum that the journal has for this file."""
        day = self._journal.day(copy.clip.start.date())
        if copy.tree is Tree.ARCHIVE:
            return day.ledger.digest(copy.clip.relative)
        for entry in day.archived.get(copy.source, ()):
            if entry.describes(copy.clip):
                return entry.digest
        return ""

    def _kept(self, kept: Keep) -> Iterator[HeldPart | Gap]:
        """A file that is currently no copy of a clip, but may be one that is held."""
        if kept.reason is Reason.DAMAGED and kept.start is not None:
            print_of = Fingerprint(-1, -1, kept.size, 0)
            folder, _, name = kept.relative.rpartition("/")
            clip = Clip(kept.root, folder, name, kept.camera, kept.start, print_of)
            if self._covers(clip):
                yield HeldPart(
                    Tree.ARCHIVE,
                    kept.root,
                    kept.relative,
                    kept.relative,
                    kept.start,
                    kept.size,
                    remark=kept.detail,
                )
        elif kept.reason is Reason.UNREADABLE and self._may_cover(kept):
            yield Gap(kept.path, f"can't be read: {kept.detail}")

    def _may_cover(self, kept: Keep) -> bool:
        """Whether an unreadable file could belong to the hold, as far as its folder shows."""
        day = date_of_folder(kept.relative) or date_of_folder(kept.relative.rpartition("/")[0])
        first, last = self._days()
        return day is None or first <= day <= last

    def _days(self) -> tuple[date, date]:
        zone = self._now.tzinfo
        first = self._hold.start.astimezone(zone) - _SPAN
        return first.date(), (self._hold.end.astimezone(zone) + timedelta(days=1)).date()

    def _missing(self) -> Iterator[Gap]:
        """What the journal says exists, and does not."""
        for day in self._journal.days_about(self._hold.start, self._hold.end):
            known = self._journal.day(day)
            ledger = known.ledger
            for archive, (event, _) in ledger.archives.items():
                shared = ledger.sharers.get(archive, {}).values()
                if any(self._was_held(known, each) for each in (event, *shared)):
                    yield from self._gap(self._trees.archive / archive, f"the archive of {event.source}")
            for place, event in ledger.trashed.items():
                if self._was_held(known, event):
                    yield from self._gap(self._trees.trash / place, f"the trashed copy of {event.source}")

    def _was_held(self, day: Day, event: JournalEvent) -> bool:
        clip = dated(day.ledger.origin(event).clip(self._trees.source), day.written)
        return self._covers(self._clocks.applied(clip))

    def _gap(self, path: Path, words: str) -> Iterator[Gap]:
        if not os.path.lexists(path):
            yield Gap(path, f"{words} is missing")
