"""States what each off-site copy is a copy of, by the journal alone: asks nothing of a remote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from camarchiver.discovery import walks
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.domain.clip import Clip, Fingerprint, Tree
from camarchiver.domain.memory import Memory
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import OffsiteCopy, clip_of
from camarchiver.journal.store import Day
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy


def offsite_copies(pipeline: Pipeline, memory: Memory, last: date) -> Iterator[Copy]:
    """Every off-site copy of clips of days up to `last`, at whatever remote, that was not removed.

    One that was found missing or to differ is among them: what it holds is footage all the same.
    """
    ends = ClipEnds(memory.holds, pipeline.started)
    following = walks.of_source(pipeline, memory).following(())

    def of(day: Day, found: OffsiteCopy, line: JournalEvent) -> Copy:
        copy = _copy(pipeline, day, found, line)
        if not ends.has_holds:
            return copy
        known = day.archived.get(copy.source, ())
        return replace(copy, clip=ends.with_duration(copy.clip, known, following))

    for each in pipeline.journal.days():
        if each > last:
            break
        day = pipeline.journal.day(each)
        if not any(event.object for event in day.events):
            # Most days name no off-site copy: to fold them would take most of the time.
            continue
        for found in day.ledger.copies.values():
            if not found.was_removed:
                others = day.ledger.also_made(found.copy.archive, found.line.source)
                sharers = tuple(of(day, found, line) for line in others)
                yield replace(of(day, found, found.line), sharers=sharers)


def _copy(pipeline: Pipeline, day: Day, found: OffsiteCopy, line: JournalEvent) -> Copy:
    """As a file whose path is remote and name, as rclone writes them, and whose root is therefore empty.

    `line` is about the clip: several clips of the same bytes have one copy.
    """
    copy = found.copy
    folder, _, name = copy.name.rpartition("/")
    written_ns = day.written.get(clip_of(line), line.source_mtime_ns) or 0
    clip = Clip(
        Path(),
        folder,
        name,
        line.camera,
        line.start,
        Fingerprint(-1, -1, copy.size, written_ns),
        duration=day.ledger.origin(line).duration,
        place=copy.path,
    )
    clip = pipeline.conventions.clocks.applied(clip)
    identity = line.source_size or 0, line.source_mtime_ns or 0
    return Copy(clip, Tree.OFFSITE, line.source, identity=identity, offsite=copy)
