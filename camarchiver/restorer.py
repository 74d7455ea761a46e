"""Brings files back from the trash to where they came from, never over something else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from camarchiver import atomic, locking, restorations, trash
from camarchiver.errors import ClipBusy, StorageError
from camarchiver.journal import Journal, What
from camarchiver.model import Clip, Outcome, Reason, Restore, Result, Tree, Trees
from camarchiver.scribe import Scribe


@dataclass(frozen=True, slots=True)
class Selection:
    """Which trashed clips are meant; what is empty selects everything."""

    paths: tuple[Path, ...] = ()
    """Absolute: below the source, where they were, or below the trash, where they are."""
    run: str = ""
    camera: str = ""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is too late."""


class Restorer:
    """Finds and performs the steps of `restore`."""

    def __init__(self, trees: Trees, journal: Journal, scribe: Scribe) -> None:
        self._trees = trees
        self._journal = journal
        self._scribe = scribe

    def steps(self, selection: Selection) -> Iterator[Restore]:
        """Everything selected that the journal sent to the trash and that still lies there."""
        day = timedelta(days=1)
        for date in self._journal.days():
            if selection.since and date < selection.since.date() - day:
                continue
            if selection.until and date > selection.until.date() + day:
                continue
            places: dict[str, Mapping[str, Any]] = {}
            for event in self._journal.day(date).events:
                if event.get("event") == What.TRASHED and event.get("reason") != "replaced":
                    places[str(event.get("trash"))] = event
            for place, event in places.items():
                if self._is_meant(event, place, selection) and (step := self._step(event, place)):
                    yield step

    def perform(self, step: Restore) -> Outcome:
        """What came of one step."""
        try:
            atomic.make_folders(step.clip.path.parent)
            with locking.clip_lock(step.clip.path, place=self._trees.state / "locks"):
                return self._locked(step)
        except ClipBusy as busy:
            return Outcome(step, Result.BUSY, Reason.BUSY, busy.message)
        except (trash.Stale, FileNotFoundError) as stale:
            return Outcome(step, Result.STALE, Reason.STALE, str(stale))
        except (OSError, StorageError) as error:
            return Outcome(step, Result.FAILED, Reason.FAILED, str(error))

    def _locked(self, step: Restore) -> Outcome:
        clip = step.clip
        if os.path.lexists(clip.path):
            return Outcome(step, Result.SKIPPED, Reason.TAKEN, f"{clip.path} is another file")
        # Noted first: a clip that is back and not yet noted would go again the same night.
        restorations.note(self._trees.state, step.source, step.identity, self._scribe.now())
        place = trash.move(
            self._trees.trash,
            step.trash,
            clip.fingerprint,
            trash_root=clip.root,
            trash_relative=clip.relative,
        )
        came, problem = self._bring_sidecars(step)
        self._scribe.restored(step, came)
        if problem:
            return Outcome(step, Result.FAILED, Reason.FAILED, f"restored; but {problem}")
        detail = "" if place == clip.relative else f"as {place}, its own name was taken meanwhile"
        return Outcome(step, Result.DONE, step.reason, detail, os.fspath(clip.root / place))

    def _bring_sidecars(self, step: Restore) -> tuple[dict[str, str], str]:
        came: dict[str, str] = {}
        problem = ""
        folder = f"{step.clip.folder}/" if step.clip.folder else ""
        for name, now in step.sidecars.items():
            root = next(
                (r for r in (self._trees.trash, self._trees.archive) if Path(now).is_relative_to(r)), None
            )
            if root is None or os.path.lexists(self._trees.source / f"{folder}{name}"):
                continue
            try:
                relative = Path(now).relative_to(root).as_posix()
                fingerprint = trash.fingerprint_of(Path(now).lstat())
                trash.move(
                    root,
                    relative,
                    fingerprint,
                    trash_root=self._trees.source,
                    trash_relative=f"{folder}{name}",
                )
                came[name] = f"{folder}{name}"
            except FileNotFoundError:
                continue
            except (OSError, trash.Stale, StorageError) as error:
                problem = f"its picture {name} stays: {error}"
        return came, problem

    def _is_meant(self, event: Mapping[str, Any], place: str, selection: Selection) -> bool:
        start = datetime.fromisoformat(event["start"])
        if selection.paths:
            home, relative = self._home(event)
            homes = (home / relative, self._trees.trash / place)
            if not any(home.is_relative_to(path) for home in homes for path in selection.paths):
                return False
        return (
            selection.run in ("", event.get("run"))
            and selection.camera in ("", event.get("camera"))
            and (selection.since is None or start >= selection.since)
            and (selection.until is None or start < selection.until)
        )

    def _step(self, event: Mapping[str, Any], place: str) -> Restore | None:
        try:
            status = (self._trees.trash / place).lstat()
        except OSError:
            return None
        tree = Tree(event.get("tree") or Tree.SOURCE)
        kind = "archive" if tree is Tree.ARCHIVE else "source"
        same = (status.st_size, status.st_mtime_ns) == (
            event.get(f"{kind}_size"),
            event.get(f"{kind}_mtime_ns"),
        )
        if not stat.S_ISREG(status.st_mode) or not same:
            return None
        root, relative = self._home(event)
        folder, _, name = relative.rpartition("/")
        clip = Clip(
            root,
            folder,
            name,
            str(event.get("camera", "")),
            datetime.fromisoformat(event["start"]),
            trash.fingerprint_of(status),
        )
        identity = int(event["source_size"]), int(event["source_mtime_ns"])
        pictures = dict(event.get("sidecars") or {})
        return Restore(clip, place, pictures, Reason.RESTORE_ASKED, str(event["source"]), identity, tree)

    def _home(self, event: Mapping[str, Any]) -> tuple[Path, str]:
        """The root and the path below it that a trashed file came from."""
        if event.get("tree") == Tree.ARCHIVE:
            return self._trees.archive, str(event["archive"])
        return self._trees.source, str(event["source"])
