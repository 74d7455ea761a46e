"""Looks at what dead runs left behind, and finishes or removes it, each under its clip's lock."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from camarchiver import atomic, claims, locking, trash
from camarchiver.claims import Claim
from camarchiver.disposal import FROM_SOURCE, Disposer
from camarchiver.errors import ClipBusy
from camarchiver.journal import Journal, What
from camarchiver.model import Archived, Clip, Reason, Trees
from camarchiver.names import numbered
from camarchiver.scribe import Scribe
from camarchiver.standing import MOST_NAMES, Standing

_log = logging.getLogger(__name__)


class Sweeper:
    """Works through the claims that stand when a run starts."""

    def __init__(
        self, trees: Trees, journal: Journal, standing: Standing, disposer: Disposer, scribe: Scribe
    ) -> None:
        self._trees = trees
        self._journal = journal
        self._standing = standing
        self._disposer = disposer
        self._scribe = scribe

    def sweep(self) -> None:
        """Leave nothing of a dead run; what a live one works on stays."""
        for note, claim in claims.standing(self._trees):
            if claim is None:
                _log.warning("%s can't be understood and was removed", note)
                note.unlink(missing_ok=True)
                continue
            clip = claim.as_clip(self._trees.source)
            try:
                with locking.clip_lock(clip.path, place=self._trees.state / "locks"):
                    self._resolve(clip, claim)
            except ClipBusy:
                continue
            except FileNotFoundError:
                # Its folder is gone, so no lock can stand there and nobody works on it.
                self._resolve(clip, claim)
            note.unlink(missing_ok=True)

    def _resolve(self, clip: Clip, claim: Claim) -> None:
        if claim.staged and atomic.staged_stem(Path(claim.staged).name) is not None:
            self._remove_staged(clip, claim.staged)
        entries = self._standing.entries(clip)
        if entries and not os.path.lexists(clip.path) and not self._is_explained(clip):
            self._explain(clip, entries[-1])

    def _remove_staged(self, clip: Clip, staged: str) -> None:
        try:
            status = (self._trees.archive / staged).lstat()
            trash.delete(self._trees.archive, staged, trash.fingerprint_of(status))
        except FileNotFoundError:
            return
        _log.info("%s: removed the unfinished %s of a dead run", clip.relative, staged)
        self._scribe.swept(clip, staged)

    def _is_explained(self, clip: Clip) -> bool:
        """Whether the journal tells where this very source went."""
        return any(
            event.get("event") in (What.TRASHED, What.DELETED)
            and event.get("source") == clip.relative
            and event.get("source_mtime_ns") == clip.fingerprint.mtime_ns
            and event.get("reason") != "replaced"
            for event in self._journal.day(clip.start.date()).events
        )

    def _explain(self, clip: Clip, archived: Archived) -> None:
        """A run died between removing an archived source and writing it down."""
        self._disposer.finish(
            clip, archived, self._in_trash(clip), Reason.NOT_ARCHIVED, "written down by a later run"
        )

    def _in_trash(self, clip: Clip) -> str | None:
        for number in range(1, MOST_NAMES):
            place = f"{FROM_SOURCE}/{numbered(clip.relative, number)}"
            try:
                status = (self._trees.trash / place).lstat()
            except OSError:
                return None
            if (status.st_size, status.st_mtime_ns) == (clip.fingerprint.size, clip.fingerprint.mtime_ns):
                return place
        return None
