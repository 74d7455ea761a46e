"""States what each off-site copy is a copy of, by the journal alone: asks nothing of a remote."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from msgspec import structs

from camarchiver.discovery import walks
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.domain.clip import Clip, Fingerprint, Tree
from camarchiver.domain.memory import Memory
from camarchiver.journal.ledger import Ledger, OffsiteCopy
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import Copy


def offsite_copies(pipeline: Pipeline, memory: Memory, last: date) -> Iterator[Copy]:
    """Every off-site copy of clips of days up to `last`, at whatever remote, that was not removed.

    One that was found missing or to differ is among them: what it holds is footage all the same.
    """
    ends = ClipEnds(memory.holds, pipeline.started)
    following = walks.of_source(pipeline, memory).following(())
    for day in pipeline.journal.days():
        if day > last:
            break
        ledger = pipeline.journal.day(day).ledger
        for found in ledger.copies.values():
            if found.was_removed:
                continue
            copy = _copy(pipeline, ledger, found)
            if ends.has_holds:
                known = ledger.archived.get(copy.source, ())
                copy = structs.replace(copy, clip=ends.with_duration(copy.clip, known, following))
            yield copy


def _copy(pipeline: Pipeline, ledger: Ledger, found: OffsiteCopy) -> Copy:
    """As a file whose path is remote and name, as rclone writes them, and whose root is therefore empty."""
    line, copy = found.line, found.copy
    folder, _, name = copy.name.rpartition("/")
    written_ns = line.source_mtime_ns or 0
    clip = Clip(
        Path(),
        folder,
        name,
        line.camera,
        line.start,
        Fingerprint(-1, -1, copy.size, written_ns),
        duration=ledger.origin(line).duration,
        place=copy.path,
    )
    clip = pipeline.conventions.clocks.applied(clip)
    identity = line.source_size or 0, written_ns
    return Copy(clip, Tree.OFFSITE, line.source, identity=identity, offsite=copy)
