"""Takes an archived source, and its sidecars, out of the source tree, and journals where they went."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Disposal, Tree, Trees, beside
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, ArchiveStep, RemoveSource
from camarchiver.errors import CamarchiverError, cause, sentence
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.naming.folders import date_of_folder
from camarchiver.policy import leftover_rules
from camarchiver.policy.leftover_rules import LeftoverKind
from camarchiver.storage import anchored, removal
from camarchiver.storage.removal import Followed, Place, Removed

_log = logging.getLogger(__name__)

STAYS = "its source stays: its camera's clock is doubtful"
"""The detail of an outcome whose source would have gone if its clock were trusted."""


def disposal_of(step: ArchiveStep, usual: Disposal) -> Disposal:
    """What happens to the source of a step once it is archived; `usual` is what the owner asked for."""
    if isinstance(step, RemoveSource):
        return step.disposal
    return Disposal.KEEP if step.keeps_source else usual


def with_known_time(step: ArchiveStep, archives: ArchiveLookup, now: datetime) -> ArchiveStep:
    """The step of a clip that is archived by now: another file with its bytes may have ended the doubt."""
    if isinstance(step, Archive) and step.keeps_source:
        return replace(step, keeps_source=is_doubtful(archives.dated(step.clip), now))
    return step


class SidecarPolicy(StrEnum):
    """What becomes of a clip's sidecars once the clip is archived."""

    ARCHIVE = "archive"
    TRASH = "trash"
    KEEP = "keep"


class SourceRemover:
    """Removes sources because they are archived; nothing else removes one for that reason.

    The caller of `remove` holds the clip's lock (`storage/locking.py`) and has checked under it that no hold
    covers the clip (`discovery/clip_ends.py:current_hold`) and that the archive exists and counts
    (`ArchiveLookup.check_valid`). That it shows what the source shows was proved before it got its name
    (`media/verification/rules.py:verify`).
    """

    def __init__(self, trees: Trees, writer: JournalWriter, sidecars: SidecarPolicy) -> None:
        self._trees = trees
        self._writer = writer
        self._sidecars = sidecars

    def remove(self, clip: Clip, archived: Archived, disposal: Disposal, reason: Reason) -> Removed:
        """Remove the source if it is still the planned file.

        Raises Stale or FileNotFoundError if it is not, NotRemovable if it can't leave its folder, OSError if
        one of its sidecars can't follow.
        """
        if disposal is Disposal.KEEP:
            self._writer.kept(clip, archived, reason)
            return Removed()
        to = removal.place_of(disposal, self._trees.trash, Tree.SOURCE, clip.relative)
        gone = removal.remove(self._trees.source, clip.relative, clip.fingerprint, to)
        self.finish(clip, archived, gone.place or None, reason)
        return gone

    def follow(self, clip: Clip, archived: Archived, left: JournalEvent) -> None:
        """Move the sidecars that stayed behind when their clip left, by the journal's line `left`.

        Raises OSError if one still can't follow.
        """
        followed = self._remove_sidecars(clip, archived)
        if followed.went:
            sidecars = {**(left.sidecars or {}), **followed.went}
            self._writer.removed(clip, archived, left.trash, sidecars=sidecars, reason=left.reason or "")
        if followed.problem:
            raise OSError(followed.problem)

    def finish(self, clip: Clip, archived: Archived, place: str | None, reason: str) -> None:
        """Complete the removal of a source that is gone: move its sidecars and write the journal's line.

        There is no line if a sidecar is unsettled, so that the next start completes the removal (`resume`).
        Raises OSError if one can't follow.
        """
        self._complete(clip, archived, place, reason, {}, None)

    def resume(self, clip: Clip, archived: Archived, place: str | None, went: Mapping[str, str]) -> None:
        """As `finish`, for a run that ended before it wrote the line; the sidecars `went` have followed."""
        self._complete(clip, archived, place, Reason.NOT_ARCHIVED, went, "written down by a later run")

    def _complete(
        self,
        clip: Clip,
        archived: Archived,
        place: str | None,
        reason: str,
        went: Mapping[str, str],
        detail: str | None,
    ) -> None:
        followed = self._remove_sidecars(clip, archived)
        if not followed.unsettled:
            sidecars = {**went, **followed.went}
            self._writer.removed(clip, archived, place, sidecars=sidecars, reason=reason, detail=detail)
        if followed.problem:
            raise OSError(followed.problem)

    def remove_empty_folders(self, clip: Clip) -> None:
        """Remove the date folders that a clip left empty; only after the lock, a file there, is released."""
        self.remove_folder_if_empty(clip.folder)

    def remove_folder_if_empty(self, folder: str) -> bool:
        """Remove a date folder and those above it as far as they are empty.

        Folders of today and yesterday stay (False): a camera that made its folder is about to fill it.
        """
        day = date_of_folder(folder)
        if day is None:
            return True
        if not leftover_rules.is_over(day, self._writer.now()):
            return False
        try:
            removal.remove_empty_folders(self._trees.source, folder)
        except OSError as error:
            _log.warning("%s: an empty folder could not be removed: %s", folder, cause(error))
        return True

    def remove_folder_if_unused(self, folder: str) -> bool:
        """As `remove_folder_if_empty`, but a folder that changed within the last hour stays (False)."""
        try:
            mtime = (self._trees.source / folder).stat().st_mtime
        except OSError:
            return True
        is_unused = leftover_rules.is_leftover(LeftoverKind.EMPTIED_FOLDER, mtime, self._writer.now())
        return is_unused and self.remove_folder_if_empty(folder)

    def left_behind(self, clip: Clip) -> bool:
        """Whether a sidecar that should have followed its clip is still in the source."""
        return self._has_followers and any(
            os.path.lexists(clip.path.with_name(name)) for name in clip.sidecars
        )

    def copies(self, clip: Clip, archived: Archived | None) -> Iterator[tuple[Path, Place]]:
        """Each file that removing the clip, or replacing its archive, would move, and its new place."""
        yield clip.path, removal.in_trash(self._trees.trash, Tree.SOURCE, clip.relative)
        yield from self.copies_of_sidecars(clip, archived)
        if archived is not None:
            path = self._trees.archive / archived.archive
            yield path, removal.in_trash(self._trees.trash, Tree.ARCHIVE, archived.archive)

    def copies_of_sidecars(self, clip: Clip, archived: Archived | None) -> Iterator[tuple[Path, Place]]:
        """Each sidecar that would follow its clip, and its new place."""
        if self._sidecars is SidecarPolicy.TRASH or (archived is not None and self._has_followers):
            for name in clip.sidecars:
                yield clip.path.with_name(name), self._place_of_sidecar(clip.beside(name), archived)

    @property
    def _has_followers(self) -> bool:
        return self._sidecars is not SidecarPolicy.KEEP

    def replace_archive(self, clip: Clip, relative: str) -> None:
        """Move an archive of this clip into the trash, so that a better one can take its place.

        If it fails and `is_open`, the caller keeps its note: the next start finds out where the archive is,
        and writes that down.
        """
        path = self._trees.archive / relative
        found = anchored.fingerprint_of(path.lstat())
        to = removal.in_trash(self._trees.trash, Tree.ARCHIVE, relative)
        try:
            self._writer.replacing(clip, relative, found)
            gone = removal.remove(self._trees.archive, relative, found, to)
        except (OSError, CamarchiverError) as error:
            if not removal.unsettled(error, path):
                self._writer.not_replaced(clip, relative, found, sentence(error))
            raise
        self._writer.replaced(clip, relative, gone.place)

    def is_open(self, error: Exception, relative: str) -> bool:
        """Whether an archive may have left, or its announcement may have no outcome, after this error."""
        return isinstance(error, OSError) or removal.unsettled(error, self._trees.archive / relative)

    def _remove_sidecars(self, clip: Clip, archived: Archived) -> Followed:
        """Move the sidecars after their clip, which is gone."""
        if not self._has_followers:
            return Followed()
        return removal.remove_sidecars(clip, lambda relative: self._place_of_sidecar(relative, archived))

    def _place_of_sidecar(self, relative: str, archived: Archived | None) -> Place:
        if self._sidecars is SidecarPolicy.TRASH or archived is None:
            return removal.in_trash(self._trees.trash, Tree.SOURCE, relative)
        return Place(self._trees.archive, beside(archived.archive, relative.rpartition("/")[2]))
