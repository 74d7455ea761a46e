"""Moves files back from the trash to where they came from; never overwrites a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from msgspec import Struct

from camarchiver.cleanup import unjournalled
from camarchiver.domain.clip import Clip, Fingerprint, Tree, Trees, beside, is_copied
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import Restore
from camarchiver.domain.untrusted import is_below
from camarchiver.errors import CamarchiverError, StorageError, sentence
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import REPLACED
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.signals import Stop
from camarchiver.state import restored as restored_clips
from camarchiver.storage import anchored, atomic, copying, removal
from camarchiver.storage.removal import Place

BLOCK = 64
"""Clips that are noted together, because the whole file is rewritten each time."""


class Selection(Struct, frozen=True):
    """Which trashed clips are meant; an empty field selects everything."""

    paths: tuple[Path, ...] = ()
    """Absolute: where they were, where they are, or where their archives are; `*` and `?` fit any name."""
    run: str = ""
    camera: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is too late."""
    covering: tuple[datetime, datetime] | None = None
    """Only clips that show a moment between these, both included."""

    def selects(self, camera: str, start: datetime) -> bool:
        """Whether a clip of this camera and time is meant."""
        return (
            self.camera in ("", camera)
            and (self.since is None or start >= self.since)
            and (self.until is None or start < self.until)
        )

    def covers(self, clip: Clip, now: datetime) -> bool:
        """Whether the clip shows a moment that was asked for."""
        return self.covering is None or held_by(clip, (Hold("", *self.covering),), now) is not None


def is_named(places: Iterable[Path], path: Path) -> bool:
    """Whether a path that a user gave means one of these: the same, a folder above it, or a pattern."""
    return any(place.is_relative_to(path) for place in places) or (
        any(letter in path.name for letter in "*?[")
        and any(fnmatchcase(os.fspath(place), os.fspath(path)) for place in places)
    )


RestorePlan = Plan[Restore, Selection]


def plan(pipeline: Pipeline, selection: Selection) -> RestorePlan:
    """Find the selected files; changes nothing."""
    journalled = tuple(_restorer(pipeline).steps(selection))
    steps = (*journalled, *_unjournalled(pipeline, selection, frozenset(step.trash for step in journalled)))
    tally = Tally()
    for step in steps:
        tally.add(step)
    return Plan("restore", pipeline.trees, pipeline.started, selection, tally.totals(), steps, ())


def _unjournalled(pipeline: Pipeline, selection: Selection, journalled: frozenset[str]) -> Iterator[Restore]:
    """The selected files that the journal does not know; without a journal that is the whole trash."""
    paths = selection.paths or (() if pipeline.journal.days() else (pipeline.trees.trash,))
    if selection.run or not paths:
        return
    for step in unjournalled.steps(pipeline, paths, journalled):
        if selection.selects(step.camera, step.start) and selection.covers(step.clip, pipeline.started):
            yield step


def execute(
    pipeline: Pipeline, planned: RestorePlan, *, stop: Stop, on_outcome: Callable[[Outcome], None]
) -> Report:
    """Carry out a plan; `on_outcome` gets each outcome when it is known; no clip is begun after `stop`."""
    outcomes: list[Outcome] = []
    begun = pipeline.begin(planned.steps)
    steps = (step for step in planned.steps if not stop)
    for outcome in _restorer(pipeline).run(steps):
        outcomes.append(outcome)
        on_outcome(outcome)
    return begun.report(planned, tuple(outcomes), stop)


def _restorer(pipeline: Pipeline) -> Restorer:
    return Restorer(pipeline.trees, pipeline.journal, pipeline.writer)


class Restorer:
    """Finds and performs the steps of `restore`."""

    def __init__(self, trees: Trees, journal: Journal, writer: JournalWriter) -> None:
        self._trees = trees
        self._journal = journal
        self._writer = writer

    def steps(self, selection: Selection) -> Iterator[Restore]:
        """Every selected file that was moved to the trash by the journal and is still there."""
        day = timedelta(days=1)
        for date in self._journal.days():
            if selection.since and date < selection.since.date() - day:
                continue
            if selection.until and date > selection.until.date() + day:
                continue
            ledger = self._journal.day(date).ledger
            for place, event in {**ledger.restored, **ledger.trashed}.items():
                if event.reason == REPLACED or not self._is_meant(event, place, selection):
                    continue
                is_back = place not in ledger.trashed
                step = self._step(event, place)
                if step is None or not selection.covers(step.clip, self._writer.now()):
                    continue
                if not (is_back and self._is_whole(step)):
                    yield step

    def run(self, steps: Iterable[Restore]) -> Iterator[Outcome]:
        """What came of each step."""
        waiting = iter(steps)
        while block := list(islice(waiting, BLOCK)):
            # Noted first: a clip that is back but not noted would be removed again by the next cleanup.
            clips = [(step.source, step.identity) for step in block]
            try:
                restored_clips.note(self._trees.state, clips, self._writer.now())
            except (OSError, StorageError) as error:
                yield from (removal.outcome_of(step, error) for step in block)
            else:
                yield from map(self._perform, block)

    def _perform(self, step: Restore) -> Outcome:
        return removal.attempted(step, lambda: self._restored(step))

    def _restored(self, step: Restore) -> Outcome:
        # An archive, too, is restored under its clip's lock: a run that makes it again holds that lock.
        with removal.locked(self._trees, step.source):
            model = self._trees.trash / step.trash.partition("/")[0]
            anchored.make_folder(step.clip.root, step.clip.folder, model=model)
            return self._locked(step)

    def _locked(self, step: Restore) -> Outcome:
        clip, place, detail = step.clip, step.clip.relative, "it was back already"
        self._sweep(step)
        is_back = self._is_back(step)
        if not is_back and os.path.lexists(clip.path):
            return Outcome(step, Result.SKIPPED, Reason.TAKEN, f"{clip.path} is another file")
        if not is_back:
            home = Place(clip.root, clip.relative)
            place = removal.remove(self._trees.trash, step.trash, clip.fingerprint, home).place
            detail = "" if place == clip.relative else f"as {place}, its own name was taken meanwhile"
        came, problem = self._bring_sidecars(step)
        self._writer.restored(step, came)
        _set_time(clip.root / place, step)
        if problem:
            return Outcome(step, Result.FAILED, Reason.FAILED, f"restored; but {problem}")
        return Outcome(step, Result.DONE, step.reason, detail, os.fspath(clip.root / place))

    def _is_whole(self, step: Restore) -> bool:
        """Whether a restored clip has nothing left to restore."""
        return not os.path.lexists(self._trees.trash / step.trash) and not any(
            self._is_left(went, self._trees.source / beside(step.source, name))
            for name, went in step.sidecars.items()
        )

    def _is_left(self, went: str, home: Path) -> bool:
        """Whether a sidecar still has to come home, or only its copy did."""
        found = self._sidecar(went)
        if found is None:
            return False
        return not os.path.lexists(home) or _is_same(
            home, anchored.fingerprint_of(found[0].joinpath(found[1]).lstat())
        )

    def _sweep(self, step: Restore) -> None:
        """Remove the unfinished copies of a run that died while it restored this clip."""
        sidecars = ((self._trees.source, beside(step.source, name)) for name in step.sidecars)
        for root, relative in ((step.clip.root, step.clip.relative), *sidecars):
            removal.remove_unfinished(root, relative)

    def _is_back(self, step: Restore) -> bool:
        """Whether an earlier run died after it had restored the clip; if so, removes the trash's copy."""
        home, place = step.clip.path, self._trees.trash / step.trash
        if not _is_same(home, step.clip.fingerprint):
            return False
        return not os.path.lexists(place) or self._finished(self._trees.trash, step.trash, home)

    def _finished(self, root: Path, relative: str, home: Path) -> bool:
        """Whether a file has a durable copy of the same bytes at home; if so, removes the file."""
        place = root / relative
        if copying.file_digest(home) != copying.file_digest(place):
            return False
        atomic.sync_file(home)
        atomic.fsync_folder(home.parent)
        removal.remove(root, relative, anchored.fingerprint_of(place.lstat()), None)
        return True

    def _bring_sidecars(self, step: Restore) -> tuple[dict[str, str], str]:
        came: dict[str, str] = {}
        problem = ""
        for name, went in step.sidecars.items():
            home = beside(step.source, name)
            found = self._sidecar(went)
            if found is None:
                continue
            root, relative = found
            try:
                fingerprint = anchored.fingerprint_of((root / relative).lstat())
                if not os.path.lexists(self._trees.source / home):
                    removal.remove(root, relative, fingerprint, Place(self._trees.source, home))
                elif not (
                    _is_same(self._trees.source / home, fingerprint)
                    and self._finished(root, relative, self._trees.source / home)
                ):
                    continue
                came[name] = home
            except FileNotFoundError:
                continue
            except (OSError, CamarchiverError) as error:
                problem = f"its sidecar {name} stays: {sentence(error)}"
        return came, problem

    def _sidecar(self, went: str) -> tuple[Path, str] | None:
        """The tree that a sidecar is in and its path there, even if the tree is mounted elsewhere now.

        The journal holds the absolute path of that time, so the end of the path decides.
        """
        parts = PurePosixPath(went).parts
        for start in range(1, len(parts)):
            relative = "/".join(parts[start:])
            for root in (self._trees.trash, self._trees.archive):
                if is_below(relative) and (root / relative).is_file():
                    return root, relative
        return None

    def _is_meant(self, event: JournalEvent, place: str, selection: Selection) -> bool:
        if selection.paths:
            home, relative = self._home(event)
            homes = [home / relative, self._trees.trash / place]
            if event.archive is not None:
                homes.append(self._trees.archive / event.archive)
            if not any(is_named(homes, path) for path in selection.paths):
                return False
        return selection.run in ("", event.run) and selection.selects(event.camera, event.start)

    def _step(self, event: JournalEvent, place: str) -> Restore | None:
        root, relative = self._home(event)
        in_archive = event.tree == "archive"
        journalled = (event.archive_size, event.archive_mtime_ns) if in_archive else event.identity
        status = _look(self._trees.trash / place, journalled) or _look(root / relative, journalled)
        if status is None or event.source_size is None or event.source_mtime_ns is None:
            return None
        folder, _, name = relative.rpartition("/")
        clip = Clip(root, folder, name, event.camera, event.start, anchored.fingerprint_of(status))
        identity = event.source_size, event.source_mtime_ns
        tree = Tree(event.tree or Tree.SOURCE)
        sidecars = event.sidecars or {}
        return Restore(clip, place, sidecars, Reason.RESTORE_ASKED, event.source, identity, tree)

    def _home(self, event: JournalEvent) -> tuple[Path, str]:
        """The root and the path below it that a trashed file came from."""
        if event.tree == "archive" and event.archive is not None:
            return self._trees.archive, event.archive
        return self._trees.source, event.source


def _look(path: Path, journalled: tuple[int | None, int | None]) -> os.stat_result | None:
    """The state of a regular file of the journalled size and mtime."""
    try:
        status = path.lstat()
    except OSError:
        return None
    same = is_copied((status.st_size, status.st_mtime_ns), journalled)
    return status if stat.S_ISREG(status.st_mode) and same else None


def _set_time(home: Path, step: Restore) -> None:
    """Give a source the time that the journal knows it by, if the trash's filesystem rounded it.

    With another time it would be another clip, and the next run would remove it again.
    """
    # Only the owner of a file may set its time.
    with suppress(OSError):
        status = home.lstat()
        if step.tree is Tree.SOURCE and status.st_mtime_ns != step.identity[1]:
            os.utime(home, ns=(status.st_atime_ns, step.identity[1]), follow_symlinks=False)


def _is_same(path: Path, fingerprint: Fingerprint) -> bool:
    """Whether a file of that size and mtime exists there; a copy has another inode."""
    return _look(path, fingerprint.identity) is not None
