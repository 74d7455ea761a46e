"""Finishes or removes what dead runs left behind, each item under its clip's lock.

`archive`, `watch`, `cleanup` and `verify --repair` call `sweep` before they plan.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date
from pathlib import Path

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import STATE_FOLDER, Archived, Clip, Tree, beside
from camarchiver.errors import CamarchiverError, ClipBusy, sentence
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.lookup import MOST_NAMES
from camarchiver.journal.replay import file_of
from camarchiver.naming.paths import numbered
from camarchiver.pipeline import Pipeline
from camarchiver.policy import leftover_rules
from camarchiver.policy.leftover_rules import LeftoverKind
from camarchiver.runtime import clock, log_setup
from camarchiver.state import thumbnails, work_in_progress
from camarchiver.state.work_in_progress import ClipWork, RemovalWork, WorkNote
from camarchiver.storage import anchored, atomic, copying, removal
from camarchiver.storage.removal import Place

_log = logging.getLogger(__name__)

COARSEST_NS = 2_000_000_000
"""How far a copy's time may differ from its original's: FAT stores even seconds, others are finer."""


def sweep(pipeline: Pipeline, sidecars: SidecarPolicy) -> None:
    """Finish or remove what dead runs left, before anything is planned."""
    _Recovery(pipeline, sidecars).sweep()


class _Recovery:
    """Works through the notes that exist when a run starts."""

    def __init__(self, pipeline: Pipeline, sidecars: SidecarPolicy) -> None:
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._archives = pipeline.archives
        self._remover = SourceRemover(pipeline.trees, pipeline.writer, sidecars)
        self._writer = pipeline.writer
        self._holds = pipeline.holds

    def sweep(self) -> None:
        """Clean up after dead runs; the work of live runs stays, and so does what can't be finished now."""
        for note in work_in_progress.existing(self._trees):
            try:
                self._sweep_note(note)
            except ClipBusy:
                continue
            except (OSError, CamarchiverError, ValueError) as error:
                words = "what a dead run left could not be finished"
                _log.warning("%s: %s: %s", note.path, words, sentence(error))
        self._sweep_state()

    def _sweep_note(self, note: WorkNote) -> None:
        if work_in_progress.is_live(self._trees, note):
            return
        match note.work:
            case ClipWork() as work:
                with log_setup.about(work.clip):
                    self._finish_clip(work)
            case RemovalWork() as work:
                for event in self._unresolved(work.days, work.run):
                    with removal.locked(self._trees, event.source):
                        self._resolve_intent(event)
            case None:
                words = "can't be understood, so what it is about can't be finished; delete it"
                _log.warning("%s %s", note.path, words)
                return
        note.path.unlink(missing_ok=True)

    def _finish_clip(self, work: ClipWork) -> None:
        clip = work.as_clip(self._trees.source)
        with removal.locked(self._trees, clip.relative):
            self._resolve(clip, work)
        if not os.path.lexists(clip.path):
            self._remover.remove_empty_folders(clip)

    def _unresolved(self, days: Iterable[date], run: str) -> list[JournalEvent]:
        """The removals that a run announced in these days' files and that have no outcome."""
        ledgers = (self._journal.day(day).ledger for day in days)
        return [event for ledger in ledgers for event in ledger.intended.values() if event.run == run]

    def _resolve_intent(self, event: JournalEvent) -> None:
        """Find out what became of an announced removal, and journal it; under the clip's lock."""
        name, relative = file_of(event)
        tree = Tree(name)
        roots = {Tree.SOURCE: self._trees.source, Tree.ARCHIVE: self._trees.archive}
        root = roots.get(tree, self._trees.trash)
        copy = removal.in_trash(self._trees.trash, tree, relative)
        if os.path.lexists(root / relative):
            detail, day = "a run died before it removed it", event.start.date()
            if tree is not Tree.TRASH and (taken := self._take_back(root / relative, copy, day)):
                detail += f"; its copy {taken} was taken out of the trash again"
            self._writer.found_ended(event, EventKind.LEFT, None, {}, detail)
            return
        detail = "written down by a later run"
        if tree is Tree.TRASH:
            self._writer.found_ended(event, EventKind.PURGED, None, {}, detail)
            return
        in_archive = tree is Tree.ARCHIVE
        identity = (event.archive_size, event.archive_mtime_ns) if in_archive else event.identity
        there = next(self._places(copy, identity), None)
        went = self._sidecars_of(event, root, tree, relative)
        self._writer.found_ended(
            event, EventKind.TRASHED if there else EventKind.DELETED, there, went, detail
        )

    def _sidecars_of(self, event: JournalEvent, root: Path, tree: Tree, relative: str) -> dict[str, str]:
        """Where the sidecars that were to follow their clip are now; copies of those that stayed are removed.

        They went into the trash or beside the clip's archive; a deleted one leaves no trace.
        """
        went: dict[str, str] = {}
        for name in event.sidecars or {}:
            original = root / beside(relative, name)
            copies = [removal.in_trash(self._trees.trash, tree, beside(relative, name))]
            if tree is Tree.SOURCE:
                places = (beside(entry.archive, name) for entry in self._entries_of(event))
                copies += [Place(self._trees.archive, place) for place in places]
            if os.path.lexists(original):
                for copy in copies:
                    self._take_back(original, copy, event.start.date())
            elif found := next((copy.path for copy in copies if os.path.lexists(copy.path)), None):
                went[name] = os.fspath(found)
        return went

    def _entries_of(self, event: JournalEvent) -> Iterator[Archived]:
        """What the journal says of archives of an event's clip, newest first."""
        for entry in reversed(self._journal.day(event.start.date()).archived.get(event.source, ())):
            if (entry.size, entry.mtime_ns) == event.identity:
                yield entry

    def _sweep_state(self) -> None:
        """Remove our own small files that a kill left half written; writing one takes only moments."""
        state = self._trees.state
        now = clock.now(UTC)
        own = (state, *(state / name for name in ("runs", thumbnails.CACHE, *work_in_progress.FOLDERS)))
        for folder in (*own, self._trees.source / STATE_FOLDER):
            for path in folder.glob("*") if folder.is_dir() else ():
                if atomic.staged_stem(path.name) is None:
                    continue
                with suppress(OSError):
                    if leftover_rules.is_leftover(LeftoverKind.STATE, path.lstat().st_mtime, now):
                        path.unlink()

    def _resolve(self, clip: Clip, work: ClipWork) -> None:
        for staged in filter(None, (work.staged, work.staged_again)):
            if atomic.staged_stem(Path(staged).name) is not None:
                self._remove_staged(clip, self._trees.archive, staged)
        entries = self._archives.entries(clip)
        for original, copy in self._remover.copies(clip, entries[-1] if entries else None):
            for staged in removal.unfinished(copy.root, copy.relative):
                self._remove_staged(clip, copy.root, staged)
            if taken := self._take_back(original, copy, clip.start.date()):
                self._writer.swept(clip, taken)
        if not entries or os.path.lexists(clip.path):
            return
        self._finish_replacing(clip, entries)
        fingerprint = clip.fingerprint
        gone = self._journal.day(clip.start.date()).ledger.gone
        left = gone.get((clip.relative, *fingerprint.identity))
        if left is None:
            self._explain(clip, entries[-1])
        elif self._remover.left_behind(clip):
            self._remover.follow(clip, entries[-1], left)

    def _finish_replacing(self, clip: Clip, entries: tuple[Archived, ...]) -> None:
        """Move away the archive from which a dead run made the clip's present one, and journal that."""
        newest, ledger = entries[-1], self._journal.day(clip.start.date()).ledger
        is_again = self._archives.generation(clip, newest.archive) > 1 and self._archives.is_valid(newest)
        for former in entries[:-1] if is_again else ():
            if former.archive == newest.archive or former.archive not in ledger.archives:
                continue
            path = self._trees.archive / former.archive
            copy = removal.in_trash(self._trees.trash, Tree.ARCHIVE, former.archive)
            self._take_back(path, copy, clip.start.date())
            made = ledger.made[former.archive][-1]
            if os.path.lexists(path):
                if current_hold(clip, self._holds(), self._writer.now(), entries) is None:
                    self._remover.replace_archive(clip, former.archive)
            elif place := next(self._places(copy, (former.archive_size, made.archive_mtime_ns)), None):
                self._writer.replaced(clip, former.archive, place)

    def _take_back(self, original: Path, copy: Place, day: date) -> str:
        """Remove a dead run's copy of a file that still exists; its path below the root, or an empty text.

        Only a copy with the same bytes and the same time, and no file that the journal knows, is removed.
        """
        try:
            status = original.lstat()
        except OSError:
            return ""
        if not stat.S_ISREG(status.st_mode):
            return ""
        for place in self._places(copy, (status.st_size, status.st_mtime_ns), slack_ns=COARSEST_NS):
            path = copy.root / place
            if path == original or self._is_journalled(path, place, day):
                continue
            seen = anchored.fingerprint_of(path.lstat())
            is_same = copying.file_digest(path) == copying.file_digest(original)
            if is_same and anchored.fingerprint_of(original.lstat()) == anchored.fingerprint_of(status):
                removal.remove(copy.root, place, seen, None)
                _log.info("%s: took back the copy of a dead run: %s still exists", path, original)
                return place
        return ""

    def _is_journalled(self, path: Path, place: str, day: date) -> bool:
        """Whether the journal says that a file is at this path, in the trash or where sidecars are moved."""
        ledger = self._journal.day(day).ledger
        return place in ledger.trashed or os.fspath(path) in ledger.sidecar_places

    def _remove_staged(self, clip: Clip, root: Path, staged: str) -> None:
        try:
            status = (root / staged).lstat()
            removal.remove(root, staged, anchored.fingerprint_of(status), None)
        except FileNotFoundError:
            return
        _log.info("%s: removed the unfinished %s of a dead run", clip.relative, staged)
        self._writer.swept(clip, staged)

    def _explain(self, clip: Clip, archived: Archived) -> None:
        """Journal a removal: a run died after it removed an archived source and before it wrote that down."""
        self._remover.resume(clip, archived, self._in_trash(clip))

    def _in_trash(self, clip: Clip) -> str | None:
        wanted = removal.in_trash(self._trees.trash, Tree.SOURCE, clip.relative)
        return next(self._places(wanted, clip.fingerprint.identity), None)

    def _places(
        self, wanted: Place, identity: tuple[int | None, int | None], *, slack_ns: int = 0
    ) -> Iterator[str]:
        """Paths of files of this size and mtime_ns, under the wanted name and numbered ones."""
        size, mtime_ns = identity
        for number in range(1, MOST_NAMES):
            place = numbered(wanted.relative, number)
            try:
                status = (wanted.root / place).lstat()
            except OSError:
                return
            same = status.st_size == size and abs(status.st_mtime_ns - (mtime_ns or 0)) <= slack_ns
            if same and stat.S_ISREG(status.st_mode):
                yield place
