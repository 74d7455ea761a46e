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

from msgspec.structs import replace

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.domain.clip import STATE_FOLDER, Archived, Clip, Tree, beside, is_copied
from camarchiver.errors import CamarchiverError, ClipBusy, sentence
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import REPLACED
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
        detail = "written down by a later run"
        if tree is Tree.TRASH:
            if _status(root / relative) is None:
                self._writer.found_ended(event, EventKind.PURGED, None, {}, detail)
            else:
                self._writer.found_ended(event, EventKind.LEFT, None, {}, _NOT_BEGUN)
            return
        in_archive = tree is Tree.ARCHIVE
        identity = (event.archive_size, event.archive_mtime_ns) if in_archive else event.identity
        copy, day = removal.in_trash(self._trees.trash, tree, relative), event.start.date()
        if self._stands(root / relative, identity, copy):
            detail = _NOT_BEGUN
            if taken := self._take_back(root / relative, copy, day):
                detail += f"; its copy {taken} was taken out of the trash again"
            self._writer.found_ended(event, EventKind.LEFT, None, {}, detail)
            return
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
        day = event.start.date()
        for name in event.sidecars or {}:
            original = root / beside(relative, name)
            copies = [removal.in_trash(self._trees.trash, tree, beside(relative, name))]
            if tree is Tree.SOURCE:
                places = (beside(entry.archive, name) for entry in self._entries_of(event))
                copies += [Place(self._trees.archive, place) for place in places]
            if _status(original) is not None:
                for copy in copies:
                    self._take_back(original, copy, day)
            elif found := next(filter(None, (self._arrived(copy, day) for copy in copies)), None):
                went[name] = found
        return went

    def _arrived(self, copy: Place, day: date) -> str:
        """Where a dead run put a sidecar that was to get this place; empty if it is nowhere there.

        Its bytes are not known. A taken name gets the next number, so it is the last file there of which no
        line of the journal says what it is.
        """
        found = ""
        for place, status in self._numbered(copy):
            path = copy.root / place
            if stat.S_ISREG(status.st_mode) and not self._is_journalled(path, place, day):
                found = os.fspath(path)
        return found

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
        for event in tuple(self._journal.day(clip.start.date()).ledger.intended.values()):
            # Announced under the lock that is ours now, by this run or by one that swept after it.
            if event.source == clip.relative and event.reason == REPLACED:
                self._resolve_intent(event)
        identity = clip.fingerprint.identity
        trashed = removal.in_trash(self._trees.trash, Tree.SOURCE, clip.relative)
        if not entries or self._stands(clip.path, identity, trashed):
            return
        self._finish_replacing(clip, entries)
        left = self._journal.day(clip.start.date()).ledger.gone.get((clip.relative, *identity))
        is_reused = _status(clip.path) is not None
        if left is None:
            # Beside another clip of this name lie that one's sidecars.
            mine = replace(clip, sidecars=()) if is_reused else clip
            place = next(self._places(trashed, identity), None)
            self._remover.resume(mine, entries[-1], place, self._followers(clip, entries[-1]))
        elif not is_reused and self._remover.left_behind(clip):
            self._remover.follow(clip, entries[-1], left)

    def _followers(self, clip: Clip, archived: Archived) -> dict[str, str]:
        """The sidecars that a dead run moved after their clip, and their absolute paths now."""
        day = clip.start.date()
        return {
            original.name: found
            for original, copy in self._remover.copies_of_sidecars(clip, archived)
            if _status(original) is None and (found := self._arrived(copy, day))
        }

    def _stands(self, path: Path, identity: tuple[int | None, int | None], copy: Place) -> bool:
        """Whether a file that was to be removed is still in its place.

        Another file may have got its name since: then the one that was removed is in the trash.
        """
        status = _status(path)
        if status is None:
            return False
        is_same = (status.st_size, status.st_mtime_ns) == identity
        return is_same or next(self._places(copy, identity), None) is None

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
            if _status(path) is not None:
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
        for place in self._places(copy, (status.st_size, status.st_mtime_ns)):
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

    def _places(self, wanted: Place, identity: tuple[int | None, int | None]) -> Iterator[str]:
        """Paths of copies of a file of this size and mtime_ns, under the wanted name and numbered ones."""
        for place, status in self._numbered(wanted):
            if stat.S_ISREG(status.st_mode) and is_copied((status.st_size, status.st_mtime_ns), identity):
                yield place

    def _numbered(self, wanted: Place) -> Iterator[tuple[str, os.stat_result]]:
        """What has the wanted name and the numbered ones; a lower number may be free by now."""
        try:
            names = {path.name for path in wanted.path.parent.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            return
        for number in range(1, MOST_NAMES):
            place = numbered(wanted.relative, number)
            path = wanted.root / place
            if path.name in names and (status := _status(path)) is not None:
                yield place, status


_NOT_BEGUN = "a run died before it removed it"


def _status(path: Path) -> os.stat_result | None:
    """The state of what has this path; None if nothing has. Raises OSError if that can't be found out."""
    try:
        return atomic.retry_transient(path.lstat)
    except (FileNotFoundError, NotADirectoryError):
        return None
