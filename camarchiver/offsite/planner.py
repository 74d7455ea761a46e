"""Makes the plan of `offsite sync` from the journal alone; asks nothing of the remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from camarchiver.domain.clip import Archived, Clip, Fingerprint
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.steps import Copy, Keep
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import Ledger
from camarchiver.offsite.names import object_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy import offsite_rules
from camarchiver.policy.offsite_rules import CopyState, KnownArchive, OffsitePlan, OffsitePolicy
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.state import offsite_state


def plan(pipeline: Pipeline, policy: OffsitePolicy, *, list_all: bool = False) -> OffsitePlan:
    """Decide for every archive that the journal knows; changes nothing."""
    tally, left = Tally(), list[Keep]()
    holds, archives = pipeline.holds(), pipeline.archives
    failures = offsite_state.failures(pipeline.trees.state).known()

    def due() -> Iterator[Copy]:
        for known, entry in known_archives(pipeline, policy.remote):
            decided = offsite_rules.decide(
                known,
                policy,
                holds,
                failures.get(known.clip.relative),
                lambda entry=entry: archives.is_valid(entry),  # type: ignore[misc]  # bound now
                pipeline.started,
            )
            tally.add(decided)
            if isinstance(decided, Copy):
                yield decided
            elif list_all:
                left.append(decided)

    steps = SealedSequence(due(), key=offsite_rules.order_key)
    return Plan("offsite", pipeline.trees, pipeline.started, policy, tally.totals(), steps, tuple(left))


def known_archives(pipeline: Pipeline, remote: str) -> Iterator[tuple[KnownArchive, Archived]]:
    """Every archive that should exist by the journal, with its copy at this remote, the newest day first."""
    for day in reversed(pipeline.journal.days()):
        ledger = pipeline.journal.day(day).ledger
        for archive, (line, entry) in ledger.archives.items():
            yield known_archive(pipeline, ledger, remote, archive, line), entry


def known_archive(
    pipeline: Pipeline, ledger: Ledger, remote: str, archive: str, line: JournalEvent
) -> KnownArchive:
    """One archive and its copy at this remote; `line` is one that says the archive was made."""
    digest = ledger.digest(archive)
    copy = ledger.copies.get((remote, archive, digest))
    if copy is None:
        state = CopyState.NONE
    elif copy.lost is not None:
        state = CopyState.LOST
    else:
        state = CopyState.PROVED if copy.is_proved else CopyState.UNPROVED
    name = copy.name if copy is not None else object_name(archive, digest)
    clip = pipeline.conventions.clocks.applied(_clip_of(pipeline.trees.archive, archive, line))
    identity = line.source_size or 0, line.source_mtime_ns or 0
    return KnownArchive(clip, line.source, identity, digest, name, state)


def _clip_of(root: Path, archive: str, line: JournalEvent) -> Clip:
    folder, _, name = archive.rpartition("/")
    fingerprint = Fingerprint(-1, -1, line.archive_size or 0, line.archive_mtime_ns or 0)
    return Clip(
        root,
        folder,
        name,
        line.camera,
        line.start,
        fingerprint,
        duration=line.duration,
        source_mtime_ns=line.source_mtime_ns,
        corrected=line.recorded,
    )
