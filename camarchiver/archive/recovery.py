"""Looks at what dead runs left behind, and finishes or removes it, each under its clip's lock."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.domain.clip import STATE_FOLDER, Archived, Clip, Tree
from camarchiver.domain.reason import Reason
from camarchiver.errors import ClipBusy
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.lookup import MOST_NAMES, ArchiveLookup
from camarchiver.journal.replay import left_archive
from camarchiver.naming.paths import numbered
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import log_setup
from camarchiver.state import claims, intents
from camarchiver.state.claims import WorkClaim
from camarchiver.storage import anchored, atomic, locking
from camarchiver.storage.anchored import FROM_ARCHIVE, FROM_SOURCE

_log = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0
"""Age at which nobody can still be writing an unfinished state file."""


def sweep(pipeline: Pipeline, sidecars: SidecarPolicy) -> None:
    """Finish or remove what dead runs left, before anything is planned."""
    _Recovery(pipeline, sidecars).sweep()


class _Recovery:
    """Works through the claims that stand when a run starts."""

    def __init__(self, pipeline: Pipeline, sidecars: SidecarPolicy) -> None:
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._standing = ArchiveLookup(pipeline.trees, pipeline.journal)
        self._disposer = SourceRemover(pipeline.trees, pipeline.writer, sidecars)
        self._scribe = pipeline.writer

    def sweep(self) -> None:
        """Leave nothing of a dead run; what a live one works on stays, and what can't be mended now."""
        for note, claim in claims.standing(self._trees):
            try:
                self._settle(note, claim)
            except OSError as error:
                _log.warning("%s: what a dead run left could not be finished: %s", note, error)
        self._resolve_intents()
        self._sweep_state()

    def _settle(self, note: Path, claim: WorkClaim | None) -> None:
        if claim is None:
            _log.warning("%s can't be understood and was removed", note)
            note.unlink(missing_ok=True)
            return
        clip = claim.as_clip(self._trees.source)
        with log_setup.about(clip.relative):
            self._finish(note, clip, claim)

    def _finish(self, note: Path, clip: Clip, claim: WorkClaim) -> None:
        try:
            with locking.clip_lock(clip.path, place=self._trees.state / "locks"):
                self._resolve(clip, claim)
        except ClipBusy:
            return
        except FileNotFoundError:
            # Its folder is gone, so no lock can stand there and nobody works on it.
            self._resolve(clip, claim)
        if not os.path.lexists(clip.path):
            self._disposer.tidy(clip)
        note.unlink(missing_ok=True)

    def _resolve_intents(self) -> None:
        """Write down what came of removals whose run died in between, by looking."""
        for note in intents.standing(self._trees.state, self._scribe.run.host):
            if note.is_live:
                continue
            try:
                for event in intents.unresolved(self._journal, note.days, note.run):
                    self._look(event)
                note.path.unlink(missing_ok=True)
            except (OSError, ValueError, TypeError, KeyError) as error:
                _log.warning("%s: a removal left open could not be looked into: %s", note.path, error)

    def _look(self, event: JournalEvent) -> None:
        place = intents.place_of(event)
        tree, relative = Tree(place[0]), place[1]
        roots = {Tree.SOURCE: self._trees.source, Tree.ARCHIVE: self._trees.archive}
        root = roots.get(tree, self._trees.trash)
        if os.path.lexists(root / relative):
            self._scribe.found_ended(event, EventKind.LEFT, None, "a run died before it removed it")
            return
        detail = "written down by a later run"
        if tree is Tree.TRASH:
            self._scribe.found_ended(event, EventKind.PURGED, None, detail)
            return
        in_archive = tree is Tree.ARCHIVE
        identity = (event.archive_size, event.archive_mtime_ns) if in_archive else event.identity
        wanted = f"{FROM_ARCHIVE if in_archive else FROM_SOURCE}/{relative}"
        there = self._place_in_trash(wanted, identity)
        self._scribe.found_ended(event, EventKind.TRASHED if there else EventKind.DELETED, there, detail)

    def _sweep_state(self) -> None:
        """Remove what a kill left half written among our own small files, which take moments to write."""
        state = self._trees.state
        before = time.time() - ABANDONED_SECONDS
        own = (state, state / "runs", state / claims.FOLDER, state / intents.FOLDER)
        for folder in (*own, self._trees.source / STATE_FOLDER):
            for path in folder.glob("*") if folder.is_dir() else ():
                if atomic.staged_stem(path.name) is None and path.suffix != claims.UNFINISHED:
                    continue
                with suppress(OSError):
                    if path.lstat().st_mtime < before:
                        path.unlink()

    def _resolve(self, clip: Clip, claim: WorkClaim) -> None:
        if claim.staged and atomic.staged_stem(Path(claim.staged).name) is not None:
            self._remove_staged(clip, self._trees.archive, claim.staged)
        entries = self._standing.entries(clip)
        for root, copy in self._disposer.copies(clip, entries[-1] if entries else None):
            for staged in anchored.unfinished(root, copy):
                self._remove_staged(clip, root, staged)
        if not entries or os.path.lexists(clip.path):
            return
        if not self._is_explained(clip) or self._disposer.left_behind(clip):
            self._explain(clip, entries[-1])

    def _remove_staged(self, clip: Clip, root: Path, staged: str) -> None:
        try:
            status = (root / staged).lstat()
            anchored.delete(root, staged, anchored.fingerprint_of(status))
        except FileNotFoundError:
            return
        _log.info("%s: removed the unfinished %s of a dead run", clip.relative, staged)
        self._scribe.swept(clip, staged)

    def _is_explained(self, clip: Clip) -> bool:
        """Whether the journal tells where this very source went."""
        return any(
            event.event in (EventKind.TRASHED, EventKind.DELETED)
            and event.source == clip.relative
            and event.source_mtime_ns == clip.fingerprint.mtime_ns
            and not left_archive(event)
            for event in self._journal.day(clip.start.date()).events
        )

    def _explain(self, clip: Clip, archived: Archived) -> None:
        """A run died between removing an archived source and writing it down."""
        self._disposer.finish(
            clip, archived, self._in_trash(clip), Reason.NOT_ARCHIVED, "written down by a later run"
        )

    def _in_trash(self, clip: Clip) -> str | None:
        identity = clip.fingerprint.size, clip.fingerprint.mtime_ns
        return self._place_in_trash(f"{FROM_SOURCE}/{clip.relative}", identity)

    def _place_in_trash(self, wanted: str, identity: tuple[int | None, int | None]) -> str | None:
        """Where a file of this size and mtime lies, under the wanted name or a numbered one."""
        for number in range(1, MOST_NAMES):
            place = numbered(wanted, number)
            try:
                status = (self._trees.trash / place).lstat()
            except OSError:
                return None
            if (status.st_size, status.st_mtime_ns) == identity:
                return place
        return None
