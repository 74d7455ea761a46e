"""Finds archived clips whose source has left its tree, and that `archive --no-skip` may encode again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from camarchiver.archive.rearchive.originals import Originals
from camarchiver.domain.clip import Archived, Clip
from camarchiver.domain.memory import Memory
from camarchiver.domain.steps import Archive, Keep
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import Ledger
from camarchiver.media.encoders import codec_of
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivedClip, ArchivePolicy, decide_again
from camarchiver.storage.anchored import fingerprint_of


def steps(pipeline: Pipeline, policy: ArchivePolicy, memory: Memory) -> Iterator[Archive | Keep]:
    """One step for each such clip, day by day. Clips in the source tree are decided where that is walked."""
    originals = Originals(pipeline.trees, pipeline.journal, pipeline.conventions.clocks)
    last = (pipeline.started - policy.age).date()
    for day in pipeline.journal.days():
        ledger = pipeline.journal.day(day).ledger if day <= last else Ledger()
        for line, entry in ledger.archives.values():
            if (known := _archived_clip(pipeline, originals, ledger, line, entry)) is not None:
                yield decide_again(known, policy, memory, pipeline.started)


def _archived_clip(
    pipeline: Pipeline, originals: Originals, ledger: Ledger, line: JournalEvent, entry: Archived
) -> ArchivedClip | None:
    """The clip; None if its source is in the source tree, or its archive does not count."""
    trees, clocks = pipeline.trees, pipeline.conventions.clocks
    original = next(originals.copies(line, entry), None)
    if (original is not None and not original.place) or not pipeline.archives.is_valid(entry):
        return None
    clip = clocks.applied(ledger.origin(line).clip(trees.source))
    return ArchivedClip(
        clip,
        original or _in_archive(clip, trees.archive, entry),
        entry,
        codec_of(line.encoder),
        is_original=original is not None,
        is_shared=entry.archive in ledger.sharers,
    )


def _in_archive(clip: Clip, root: Path, entry: Archived) -> Clip:
    """The clip with the bytes of its archive."""
    try:
        status = (root / entry.archive).lstat()
    except OSError:
        # It has just gone; the step will find that out.
        return replace(clip, root=root, place=entry.archive)
    return replace(
        clip,
        root=root,
        place=entry.archive,
        fingerprint=fingerprint_of(status),
        links=status.st_nlink,
        source_mtime_ns=entry.mtime_ns,
    )
