"""Makes the plans of `offsite sync` and `offsite verify` from the journal; asks nothing of the remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from camarchiver.domain.clip import Archived, Clip, Fingerprint
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import CheckCopy, Keep, MakeCopy
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import Ledger
from camarchiver.offsite.names import object_name
from camarchiver.pipeline import Pipeline
from camarchiver.policy import offsite_rules
from camarchiver.policy.offsite_rules import (
    CheckPlan,
    CheckPolicy,
    CopyState,
    KnownArchive,
    OffsitePlan,
    OffsitePolicy,
)
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.state import offsite_state


def plan_sync(pipeline: Pipeline, policy: OffsitePolicy, *, list_all: bool = False) -> OffsitePlan:
    """Decide for every archive that the journal knows; changes nothing."""
    tally, left = Tally(), list[Keep]()
    holds, archives = pipeline.holds(), pipeline.archives
    failures = offsite_state.failures(pipeline.trees.state).known()

    def due() -> Iterator[MakeCopy]:
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
            if isinstance(decided, MakeCopy):
                yield decided
            elif list_all:
                left.append(decided)

    steps = SealedSequence(due(), key=offsite_rules.order_key)
    notes = _notes(pipeline, policy.remote) if steps else ()
    totals = tally.totals()
    return Plan("offsite", pipeline.trees, pipeline.started, policy, totals, steps, tuple(left), notes=notes)


def _notes(pipeline: Pipeline, remote: str) -> tuple[str, ...]:
    """That the last sync failed, which this one tries again."""
    known = offsite_state.read(pipeline.trees.state).get(remote)
    if known is None or known.failure is None:
        return ()
    at = known.failure.at.astimezone(pipeline.zone)
    return (f"the sync of {at:%Y-%m-%d %H:%M} failed, and this one tries again: {known.failure.why}",)


def plan_verify(pipeline: Pipeline, policy: CheckPolicy) -> CheckPlan:
    """Choose the copies to verify, those first that never were, or not for the longest time."""
    copies = SealedSequence(_checks(pipeline, policy), key=lambda each: (each.verified, each.step.relative))
    wanted = -(-len(copies) * policy.sample // 100)
    tally = Tally()

    def chosen() -> Iterator[_DueCheck]:
        for number, each in enumerate(copies):
            if number < wanted:
                tally.add(each.step)
                yield each
            else:
                tally.add_kept(Reason.ALREADY_COPIED, each.step.camera, each.step.size)

    steps = SealedSequence((each.step for each in chosen()), key=lambda step: 0)
    return Plan("offsite", pipeline.trees, pipeline.started, policy, tally.totals(), steps, ())


class _DueCheck(NamedTuple):
    verified: float
    """Unix time; 0 for a copy that never was verified."""
    step: CheckCopy


def _checks(pipeline: Pipeline, policy: CheckPolicy) -> Iterator[_DueCheck]:
    for day in pipeline.journal.days():
        ledger = pipeline.journal.day(day).ledger
        for (remote, archive, digest), copy in ledger.copies.items():
            line = copy.line
            # A lost copy of an archive that is here is made again. One of an archive that left is looked for
            # again: the line or the remote may have been at fault, and it may be all that is left.
            is_last = archive not in ledger.archives and not copy.was_removed
            if remote != policy.remote or (copy.lost is not None and not is_last):
                continue
            if policy.cameras and line.camera not in policy.cameras:
                continue
            clip = _clip_of(pipeline.trees.archive, archive, line)
            reason = Reason.VERIFY_AGAIN if copy.verified else Reason.COPY_UNPROVED
            identity = line.source_size or 0, line.source_mtime_ns or 0
            step = CheckCopy(clip, reason, line.source, identity, digest, copy.name)
            yield _DueCheck(copy.verified.timestamp() if copy.verified else 0.0, step)


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
