"""Takes an archived source, and its sidecars, out of the source tree, and journals where they went."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from camarchiver import trash
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.events import Event
from camarchiver.model import Archived, Clip, Disposal, Reason, Trees, beside
from camarchiver.names import date_of_folder
from camarchiver.scribe import Scribe
from camarchiver.trash import FROM_ARCHIVE, FROM_SOURCE

_log = logging.getLogger(__name__)

FILLED_FOR = timedelta(days=2)
"""Within this a date folder may still be filled."""

UNUSED_SECONDS = 3600.0


class SidecarPolicy(StrEnum):
    """What becomes of a clip's pictures once the clip is archived."""

    ARCHIVE = "archive"
    TRASH = "trash"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Disposed:
    """Where a source went."""

    target: str = ""
    """Absolute; empty when it was deleted or kept."""
    freed: int = 0
    """Bytes that its filesystem got back."""


class CopyMade(NamedTuple):
    """A file as it leaves its tree, and where its copy goes."""

    original: Path
    root: Path
    relative: str
    """Below `root`; numbered if that is taken."""


class Disposer:
    """Removes what the caller has proved archived, under the clip's lock."""

    def __init__(self, trees: Trees, scribe: Scribe, sidecars: SidecarPolicy) -> None:
        self._trees = trees
        self._scribe = scribe
        self._sidecars = sidecars

    def dispose(self, clip: Clip, archived: Archived, disposal: Disposal, reason: Reason) -> Disposed:
        """Remove the source if it still is the planned file.

        Stale or FileNotFoundError if it isn't, NotRemovable if it can't go, OSError if one of its pictures
        can't follow.
        """
        if disposal is Disposal.KEEP:
            self._scribe.kept(clip, archived)
            return Disposed()
        last_name = clip.path.lstat().st_nlink == 1
        if disposal is Disposal.TRASH:
            place: str | None = self._to_trash(clip)
            gone = Disposed(
                os.fspath(self._trees.trash / str(place)),
                self._freed(clip, last_name=last_name, trashed=True),
            )
        else:
            place = None
            trash.delete(self._trees.source, clip.relative, clip.fingerprint)
            gone = Disposed(freed=self._freed(clip, last_name=last_name, trashed=False))
        self.finish(clip, archived, place, reason)
        return gone

    def follow(self, clip: Clip, archived: Archived, left: Event) -> None:
        """Pictures that stayed behind when their clip left, as the line `left` of the journal tells.

        OSError if one still can't follow.
        """
        went, problem = self._move_sidecars(clip, archived)
        if went:
            sidecars = {**(left.sidecars or {}), **went}
            self._scribe.removed(clip, archived, left.trash, sidecars=sidecars, reason=left.reason or "")
        if problem is not None:
            raise problem

    def finish(
        self, clip: Clip, archived: Archived, place: str | None, reason: str, detail: str | None = None
    ) -> None:
        """What follows a source that has left: its pictures, and its line in the journal."""
        sidecars, problem = self._move_sidecars(clip, archived)
        self._scribe.removed(clip, archived, place, sidecars=sidecars, reason=reason, detail=detail)
        if problem is not None:
            raise problem

    def tidy(self, clip: Clip) -> None:
        """Remove the date folders that a clip left empty; only once its lock, a file there, is released."""
        self.tidy_folder(clip.folder)

    def tidy_folder(self, folder: str) -> bool:
        """Remove a date folder and those above it as far as they are empty.

        Not those of today and yesterday (False): a camera that made its folder is about to fill it.
        """
        day = date_of_folder(folder)
        if day is None:
            return True
        if day > (self._scribe.now() - FILLED_FOR).date():
            return False
        try:
            trash.remove_empty_folders(self._trees.source, folder)
        except OSError as error:
            _log.warning("%s: an empty folder could not be removed: %s", folder, error)
        return True

    def tidy_unused(self, folder: str) -> bool:
        """`tidy_folder`, but one where something came or went within the hour is left for another time."""
        try:
            unused = self._scribe.now().timestamp() - (self._trees.source / folder).stat().st_mtime
        except OSError:
            return True
        return unused >= UNUSED_SECONDS and self.tidy_folder(folder)

    def left_behind(self, clip: Clip) -> bool:
        """Whether a picture that should have followed its clip still stands in the source."""
        return self._sidecars is not SidecarPolicy.KEEP and any(
            os.path.lexists(clip.path.with_name(name)) for name in clip.sidecars
        )

    def copies(self, clip: Clip, archived: Archived | None) -> Iterator[CopyMade]:
        """Each copy that disposing of the clip, or replacing its archive, would make."""
        trees = self._trees
        yield CopyMade(clip.path, trees.trash, f"{FROM_SOURCE}/{clip.relative}")
        for name in clip.sidecars if self._sidecars is not SidecarPolicy.KEEP else ():
            if self._sidecars is SidecarPolicy.TRASH:
                yield CopyMade(clip.path.with_name(name), trees.trash, f"{FROM_SOURCE}/{clip.beside(name)}")
            elif archived is not None:
                yield CopyMade(clip.path.with_name(name), trees.archive, beside(archived.archive, name))
        if archived is not None:
            yield CopyMade(
                trees.archive / archived.archive, trees.trash, f"{FROM_ARCHIVE}/{archived.archive}"
            )

    def replace_archive(self, clip: Clip, relative: str) -> None:
        """Move an archive of this clip into the trash, to make room for a better one."""
        status = (self._trees.archive / relative).lstat()
        place = trash.move(
            self._trees.archive,
            relative,
            trash.fingerprint_of(status),
            trash_root=self._trees.trash,
            trash_relative=f"{FROM_ARCHIVE}/{relative}",
        )
        self._scribe.replaced(clip, relative, place)

    def _to_trash(self, clip: Clip) -> str:
        return trash.move(
            self._trees.source,
            clip.relative,
            clip.fingerprint,
            trash_root=self._trees.trash,
            trash_relative=f"{FROM_SOURCE}/{clip.relative}",
        )

    def _move_sidecars(self, clip: Clip, archived: Archived) -> tuple[dict[str, str], OSError | None]:
        """The pictures follow their clip; the last error is handed back, the clip itself is gone."""
        went: dict[str, str] = {}
        problem: OSError | None = None
        for name in clip.sidecars if self._sidecars is not SidecarPolicy.KEEP else ():
            relative = clip.beside(name)
            try:
                went[name] = self._move_sidecar(relative, name, archived)
            except FileNotFoundError:
                continue
            except (OSError, CamarchiverError) as error:
                problem = OSError(f"its picture {relative} could not follow: {sentence(error)}")
        return went, problem

    def _move_sidecar(self, relative: str, name: str, archived: Archived) -> str:
        fingerprint = trash.fingerprint_of((self._trees.source / relative).lstat())
        if self._sidecars is SidecarPolicy.ARCHIVE:
            root, place = self._trees.archive, beside(archived.archive, name)
        else:
            root, place = self._trees.trash, f"{FROM_SOURCE}/{relative}"
        found = trash.move(self._trees.source, relative, fingerprint, trash_root=root, trash_relative=place)
        return os.fspath(root / found)

    def _freed(self, clip: Clip, *, last_name: bool, trashed: bool) -> int:
        stays = trashed and self._trees.trash.stat().st_dev == clip.fingerprint.device
        return clip.fingerprint.size if last_name and not stays else 0
