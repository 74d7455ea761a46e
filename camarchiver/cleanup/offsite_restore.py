"""Brings archives back from the remote, for `restore --from-offsite` and `verify --repair`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from itertools import islice

from msgspec.structs import replace

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.cleanup.restore import BLOCK, RestorePlan, Selection, is_named
from camarchiver.cleanup.restore_misses import nearest_path
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import Clip, Fingerprint, RemoteCopy, Tree
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import CheckCopy, Keep, Restore
from camarchiver.errors import CamarchiverError, NotFound, StorageError
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import ExpectedArchive, Ledger, OffsiteCopy, left_archive
from camarchiver.offsite.fetch import CopyDiffers, bring_back
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.remote_guard import RemoteGuard
from camarchiver.offsite.transfers import (
    Retries,
    RunObserver,
    TransferProgress,
    Transfers,
    followed,
    reported,
)
from camarchiver.offsite.verification import CopyFlaw
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings
from camarchiver.state import restored as restored_clips
from camarchiver.state.findings import FindingsUpdate
from camarchiver.state.work_in_progress import RemovalNote
from camarchiver.storage import removal

_DAY = timedelta(days=1)

HOW = "read back"
"""How a copy was verified that was just restored, as the journal says it."""


def plan(pipeline: Pipeline, selection: Selection, remote: str) -> RestorePlan:
    """Find the selected archives that have a copy at this remote and are not here; changes nothing."""
    steps, tally = tuple(_steps(pipeline, selection, remote)), Tally()
    for step in steps:
        tally.add(step)
    return Plan("restore", pipeline.trees, pipeline.started, selection, tally.totals(), steps, ())


def check(pipeline: Pipeline, planned: RestorePlan, remote: str) -> None:
    """Raises NotFound if a path that was named selects nothing, or the whole selection does."""
    selection = planned.policy
    hint = "camarchiver restore --from-offsite --list shows what can be restored"
    for path in selection.paths:
        if planned.steps and plan(pipeline, replace(selection, paths=(path,)), remote).steps:
            continue
        if os.path.lexists(path):
            raise NotFound(f"{shown(path)} is in its place: there is nothing to restore", hint=hint)
        steps, source = plan(pipeline, Selection(), remote).steps, pipeline.trees.source
        near = nearest_path(path, [place for step in steps for place in (step.path, source / step.source)])
        raise NotFound(f"there is no copy of {shown(path)} at {remote}{near}", hint=hint)
    if not planned.steps and selection != Selection():
        raise NotFound(f"nothing that is gone from here and has a copy at {remote} fits", hint=hint)


def repairs(
    pipeline: Pipeline, damaged: Iterable[ExpectedArchive], left: Iterable[Keep], remote: str
) -> tuple[Restore, ...]:
    """The steps that bring back archives which `verify --repair` can make from no local copy.

    `left` is what it leaves alone of the `damaged` archives; those that a hold keeps stay.
    """
    hopeless = {kept.relative for kept in left if kept.reason is Reason.UNREPAIRABLE} if remote else set()
    steps = (_repair(pipeline, each, remote) for each in damaged if each.archive in hopeless)
    return tuple(step for step in steps if step is not None)


def _repair(pipeline: Pipeline, expected: ExpectedArchive, remote: str) -> Restore | None:
    ledger = pipeline.journal.day(expected.line.start.date()).ledger
    found = ledger.copies.get((remote, expected.archive, expected.digest))
    if found is None or found.was_removed:
        return None
    return _step(pipeline, ledger, found, Reason.REPAIR)


def _steps(pipeline: Pipeline, selection: Selection, remote: str) -> Iterator[Restore]:
    for date in pipeline.journal.days():
        if selection.since and date < selection.since.date() - _DAY:
            continue
        if selection.until and date > selection.until.date() + _DAY:
            continue
        ledger = pipeline.journal.day(date).ledger
        for (place, archive, digest), found in ledger.copies.items():
            is_newest = place == remote and digest == ledger.digest(archive)
            if not is_newest or found.was_removed or not _is_meant(pipeline, ledger, found, selection):
                continue
            step = _step(pipeline, ledger, found, Reason.RESTORE_ASKED)
            if selection.covers(step.clip, pipeline.started) and not _is_here(pipeline, ledger, step):
                yield step


def _is_meant(pipeline: Pipeline, ledger: Ledger, found: OffsiteCopy, selection: Selection) -> bool:
    line, trees = found.line, pipeline.trees
    assert line.archive is not None
    if selection.paths:
        places = (
            trees.archive / line.archive,
            trees.source / line.source,
            trees.archive / found.name,
            trees.source / found.name,
        )
        if not any(is_named(places, path) for path in selection.paths):
            return False
    if selection.run and selection.run not in _runs(ledger, line):
        return False
    return selection.selects(line.camera, line.start)


def _runs(ledger: Ledger, line: JournalEvent) -> set[str]:
    """The run that made the copy, and those that removed the archive."""
    removed = {event.run for event in ledger.lines if event.archive == line.archive and left_archive(event)}
    return {line.run, *removed}


def _is_here(pipeline: Pipeline, ledger: Ledger, step: Restore) -> bool:
    """Whether the archive is in its place, by the journal and by its size, and not known to be damaged."""
    known = ledger.archives.get(step.relative)
    return known is not None and pipeline.archives.is_valid(known[1])


def _step(pipeline: Pipeline, ledger: Ledger, found: OffsiteCopy, reason: Reason) -> Restore:
    line = found.line
    archive, digest = line.archive or "", line.archive_blake2b or ""
    made = ledger.made_with(archive, digest) or line
    folder, _, name = archive.rpartition("/")
    size = line.archive_size or 0
    clip = Clip(
        pipeline.trees.archive,
        folder,
        name,
        line.camera,
        line.start,
        Fingerprint(-1, -1, size, made.archive_mtime_ns or line.source_mtime_ns or 0),
        duration=made.duration,
        source_mtime_ns=line.source_mtime_ns,
        corrected=made.recorded,
    )
    copy = RemoteCopy(line.remote or "", found.name, archive, size, digest, found.verified)
    identity = line.source_size or 0, line.source_mtime_ns or 0
    clip = pipeline.conventions.clocks.applied(clip)
    return Restore(clip, "", {}, reason, line.source, identity, Tree.ARCHIVE, copy)


def execute(pipeline: Pipeline, planned: RestorePlan, remote: Remote, observer: RunObserver) -> Report:
    """Carry out a plan; no archive is begun after a stop."""
    begun = pipeline.begin(planned.steps)
    restorer = OffsiteRestorer(pipeline, remote, observer.stop)
    progress = TransferProgress(remote, restorer.transfers, observer.display)
    outcomes = followed(restorer.run(planned.steps), progress, observer)
    return reported(begun, planned, outcomes, restorer.transfers.ended_by, observer.stop)


class OffsiteRestorer:
    """Performs the steps of one run, one after the other."""

    def __init__(self, pipeline: Pipeline, remote: Remote, stop: Stop) -> None:
        self._pipeline = pipeline
        self._trees = pipeline.trees
        self._remote = remote
        self._stop = stop
        self._guard = RemoteGuard(remote, pipeline.journal)
        self._retries = Retries(stop.event)
        self.transfers = Transfers(remote, stop, self._guard.of_reading, at_once=1)

    def run(self, steps: Iterable[Restore]) -> Iterator[Outcome | None]:
        """What came of each step that was begun, and None now and then while there is nothing."""
        waiting = iter(steps)
        while not self.transfers.is_over and (block := list(islice(waiting, BLOCK))):
            # Noted first: an archive that is back but not noted would be removed again by the next cleanup.
            back = [(step.source, step.identity) for step in block if step.reason is not Reason.REPAIR]
            try:
                if back:
                    restored_clips.note(self._trees.state, back, self._pipeline.now())
            except (OSError, StorageError) as error:
                yield from (removal.outcome_of(step, error) for step in block)
                continue
            yield from self.transfers.run(block, self._perform)

    def _perform(self, step: Restore) -> Outcome:
        # Under the clip's lock, which a run that makes the archive again or removes it holds, too.
        with self._stop.busy(step.relative), removal.locked(self._trees, step.source):
            try:
                return self._restored(step)
            except RemoteError as error:
                if error.kind is RemoteErrorKind.MISSING:
                    self._lost(step, CopyFlaw.MISSING, error)
                elif isinstance(error, CopyDiffers):
                    self._lost(step, CopyFlaw.DIFFERS, error)
                raise

    def _restored(self, step: Restore) -> Outcome:
        make_way = partial(self._move_away, step) if step.reason is Reason.REPAIR else None
        outcome = bring_back(
            self._remote, step, model=self._trees.source, retries=self._retries, make_way=make_way
        )
        if outcome.result is Result.DONE:
            self._journal(step)
        return outcome

    def _move_away(self, step: Restore) -> None:
        """Move the damaged archive into the trash, as any archive for which a better one takes its place."""
        if hold := current_hold(step.clip, self._pipeline.holds(), self._pipeline.now(), ()):
            raise removal.Held(hold)
        folder, _, name = step.source.rpartition("/")
        source = Clip(
            self._trees.source, folder, name, step.camera, step.start, Fingerprint(-1, -1, *step.identity)
        )
        writer, day = self._pipeline.writer, step.start.date()
        note = RemovalNote(self._trees.state, writer.run.id)
        note.announce({day})
        remover = SourceRemover(self._trees, writer, SidecarPolicy.KEEP)
        try:
            remover.replace_archive(source, step.relative)
        except (OSError, CamarchiverError) as error:
            if remover.is_open(error, step.relative):
                note.leave_open(day)
            note.close()
            raise
        note.close()

    def _journal(self, step: Restore) -> None:
        writer, copy = self._pipeline.writer, step.offsite
        assert copy is not None
        self._guard.proved(copy.name)
        writer.restored(step, {})
        lines = [writer.copy_verified(_checked(step), copy.remote, HOW)]
        if self._pipeline.archives.is_damaged(step.relative):
            made = self._pipeline.journal.day(step.start.date()).ledger.made.get(step.relative, ())
            lines += [writer.found_sound(line) for line in made[-1:]]
        self._pipeline.journal.append(*lines)
        if len(lines) > 1:
            findings.change(self._trees.state, FindingsUpdate(sound={step.relative}))

    def _lost(self, step: Restore, flaw: CopyFlaw, error: CamarchiverError) -> None:
        """Write down that the copy is not what the journal says, unless it is the remote that is not."""
        self._guard.require_known()
        copy, writer = step.offsite, self._pipeline.writer
        assert copy is not None
        line = writer.copy_lost(_checked(step), copy.remote, flaw, error.message)
        self._pipeline.journal.append(line)


def _checked(step: Restore) -> CheckCopy:
    """The same copy as a step of `offsite verify`, for its lines in the journal."""
    copy = step.offsite
    assert copy is not None
    return CheckCopy(step.clip, step.reason, step.source, step.identity, copy.digest, copy.name)
