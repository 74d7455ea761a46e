"""The append-only record of what was done to each clip: a line per event, a file per day of footage."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Label
from camarchiver.domain.hold import LONGEST
from camarchiver.domain.reason import Reason
from camarchiver.journal.event import JournalEvent, read
from camarchiver.journal.ledger import MADE, ClipKey, Entries, Ledger, clip_of
from camarchiver.journal.replay import entries_of, fold
from camarchiver.runtime.formatting import count_of
from camarchiver.storage import anchored, atomic, run_lock
from camarchiver.storage.walk import TreeWalk, readable

_log = logging.getLogger(__name__)

DAYS_IN_MEMORY = 8
"""Parsed days kept at once; a tree is planned day by day, so a few are enough."""

EVENTS_IN_MEMORY = 10_000
"""Parsed lines kept at once where days are busy; some 2 kB each."""

NEIGHBOURS = 3
"""A day and its two neighbours, which are always kept: a file is looked up in all three."""

_DAY = timedelta(days=1)
_LONGEST_CLIP = timedelta(seconds=LONGEST)


class LabelledArchive(NamedTuple):
    """What a clip's name says, and the clip's archive."""

    label: Label
    entry: Archived


class Day(Struct, frozen=True, dict=True):
    """One day's events, parsed."""

    events: tuple[JournalEvent, ...]
    torn: int = 0
    """Lines that can't be read."""

    @cached_property
    def archived(self) -> Mapping[str, Entries]:
        """By path below the source root."""
        return entries_of(self.events)

    @cached_property
    def by_size_and_time(self) -> Mapping[tuple[int, datetime], list[LabelledArchive]]:
        """By the bytes of the sources and the local time in their names, oldest first."""
        labels = {
            event.source: Label(event.camera, event.start.replace(tzinfo=None)) for event in self.events
        }
        found: dict[tuple[int, datetime], list[LabelledArchive]] = {}
        for source, entries in self.archived.items():
            label = labels[source]
            for entry in entries:
                found.setdefault((entry.size, label.start), []).append(LabelledArchive(label, entry))
        return found

    @cached_property
    def written(self) -> Mapping[ClipKey, int]:
        """When the bytes of clips were written of which several files exist; ns since 1970.

        A copy may have lost its file's time, never its bytes: of the times of all files with the same bytes
        and one archive, the one that is nearest to the time in the name counts.
        """
        if not any(event.reason == Reason.SAME_CONTENT for event in self.events):
            return {}
        files: dict[tuple[str | None, str | None], list[JournalEvent]] = {}
        for event in self.events:
            if event.event in MADE and event.source_mtime_ns is not None:
                files.setdefault((event.archive, event.source_blake2b), []).append(event)
        found: dict[ClipKey, int] = {}
        for same in files.values():
            times = {each.source_mtime_ns for each in same if each.source_mtime_ns is not None}
            if len(times) > 1:
                for event in same:
                    found[clip_of(event)] = _nearest(times, event.start)
        return found

    @cached_property
    def ledger(self) -> Ledger:
        """What the events add up to."""
        return fold(self.events, self.archived)


def _nearest(times: Iterable[int], start: datetime) -> int:
    said = start.timestamp()
    return min(times, key=lambda ns: abs(ns / 1e9 - said))


def dated(clip: Clip, written: Mapping[ClipKey, int]) -> Clip:
    """A clip as its source was, with the time at which its bytes were written, by `Day.written`."""
    written_ns = written.get((clip.relative, *clip.fingerprint.identity)) if written else None
    return clip if written_ns is None else replace(clip, source_mtime_ns=written_ns)


NO_DAY = Day(())


class Journal:
    """Reads and appends below `<archive>/.camarchiver/journal`; several threads may do so at once."""

    def __init__(self, state: Path) -> None:
        self._root = state / "journal"
        self._days: OrderedDict[date, tuple[tuple[int, int], Day]] = OrderedDict()
        self._days_lock = threading.Lock()

    def day(self, day: date) -> Day:
        """The events of one day's clips; read again if the file has changed."""
        path = self.path(day)
        try:
            status = path.stat()
        except FileNotFoundError:
            return NO_DAY
        mark = (status.st_size, status.st_mtime_ns)
        # A day that one thread reads must not be forgotten meanwhile because another one reads more days.
        with self._days_lock:
            known = self._days.get(day)
            if known is None or known[0] != mark:
                known = (mark, parse(path.read_bytes(), path))
                self._days[day] = known
                self._forget()
            self._days.move_to_end(day)
        return known[1]

    def _forget(self) -> None:
        """Drop the least recently used days."""
        while len(self._days) > DAYS_IN_MEMORY or (
            len(self._days) > NEIGHBOURS
            and sum(len(each.events) for _, each in self._days.values()) > EVENTS_IN_MEMORY
        ):
            self._days.popitem(last=False)

    def days(self) -> list[date]:
        """Every day of footage that has a file, oldest first."""
        found = []
        for folder, listing in readable(TreeWalk(self._root)):
            # Any entry named like a day counts: an unreadable one must be reported.
            names = (*listing.foreign, *listing.links, *listing.folders)
            for name in (each for each in names if each.endswith(".jsonl")):
                try:
                    year, month, day = (*folder.split("/"), name.removesuffix(".jsonl"))
                    found.append(date(int(year), int(month), int(day)))
                except ValueError:
                    continue
        return sorted(found)

    def days_about(self, first: datetime, last: datetime) -> Iterator[date]:
        """The days of footage with clips that may show a time between these moments, by name or file.

        A clip whose camera's clock was wrong lies in the journal of the day that its name says.
        """
        earliest, latest = first - _LONGEST_CLIP, last + _LONGEST_CLIP
        spans = int(earliest.timestamp() * 1e9), int(latest.timestamp() * 1e9)
        # One more day on each side, because the days are those of another zone.
        days = (earliest - _DAY).date(), (latest + _DAY).date()
        for day in self.days():
            if days[0] <= day <= days[1] or any(
                spans[0] <= written <= spans[1]
                for event in self.day(day).events
                if (written := event.source_mtime_ns) is not None
            ):
                yield day

    def append(self, *events: JournalEvent) -> None:
        """Append durably: when this returns, the lines survive a power cut.

        A last line torn by an earlier crash is ended first, so that it damages no other. Raises OSError if a
        line can't be written, or could not be read again.
        """
        by_day: dict[date, list[JournalEvent]] = {}
        for event in events:
            by_day.setdefault(event.start.date(), []).append(event)
        for day, lines in by_day.items():
            block = "".join(event.line() + "\n" for event in lines).encode()
            if read(block)[1]:
                path = os.fspath(self.path(day))
                raise OSError(errno.EINVAL, "nothing is written that could not be read again", path)
            self._append(self.path(day), block)

    def _append(self, path: Path, block: bytes) -> None:
        state = self._root.parent
        anchored.make_folder(state, path.parent.relative_to(state).as_posix())
        with run_lock.guarded(self._root / ".lock"):
            is_new = not path.exists()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as stream:
                end = stream.seek(0, os.SEEK_END)
                if end and os.pread(stream.fileno(), 1, end - 1) != b"\n":
                    block = b"\n" + block
                written = stream.write(block)
                if written != len(block):
                    raise OSError(f"{path}: only {written} of {len(block)} bytes could be written")
                os.fsync(stream.fileno())
            if is_new:
                atomic.fsync_folder(path.parent)

    def path(self, day: date) -> Path:
        """The file of one day."""
        return self._root / f"{day:%Y/%m/%d}.jsonl"


def parse(text: bytes, path: Path) -> Day:
    """One day's file; a line that can't be read is counted and reported, never fatal."""
    events, torn = read(text)
    if torn:
        _log.warning("%s: %s can't be read: passed over", path, count_of(torn, "line"))
    return Day(tuple(events), torn)
