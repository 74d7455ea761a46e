"""Notes on work in progress, by which the next start finds what a dead run left unfinished.

A run notes what it is about to do before it changes a file, and removes the note when nothing is left to do.
The next start looks at the disk and finishes or undoes what the notes of dead runs name.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import Clip, Fingerprint, Trees
from camarchiver.domain.untrusted import (
    AnyPath,
    AwareDatetime,
    CameraName,
    Count,
    FileName,
    Nanoseconds,
    ProcessId,
    RelativePath,
    Run,
    check_below,
    check_name,
    check_time,
    decode,
)
from camarchiver.errors import NotRemovable
from camarchiver.journal.writer import RunId
from camarchiver.naming.folders import comparable
from camarchiver.storage import atomic, locking, owner
from camarchiver.storage.owner import Owner
from camarchiver.storage.walk import paths_in


class ClipWork(Struct, frozen=True):
    """One clip that a run archives, or whose source it removes; it holds the clip's lock meanwhile.

    All paths are relative to their tree.
    """

    clip: RelativePath
    size: Count
    mtime_ns: Nanoseconds
    start: AwareDatetime
    camera: CameraName
    sidecars: tuple[FileName, ...]
    host: str
    pid: ProcessId
    run: Run
    staged: AnyPath = ""
    """Below the archive root; empty while nothing is staged."""
    staged_again: AnyPath = ""
    """The same of a second file, which gets what the first one holds, and chapters."""

    def __post_init__(self) -> None:
        check_time(self.start)
        check_below(self.clip)
        for staged in filter(None, (self.staged, self.staged_again)):
            check_below(staged)
        for name in self.sidecars:
            check_name(name)

    @classmethod
    def on(cls, clip: Clip, run: RunId) -> ClipWork:
        """The work of this process on a clip, in the name of a run."""
        print_of = clip.fingerprint
        return cls(
            clip.relative,
            print_of.size,
            print_of.mtime_ns,
            clip.start,
            clip.camera,
            clip.sidecars,
            run.host,
            os.getpid(),
            run.id,
        )

    def as_clip(self, root: Path) -> Clip:
        """The clip as it was when the work began; its device and inode are no longer known."""
        folder, _, name = self.clip.rpartition("/")
        print_of = Fingerprint(-1, -1, self.size, self.mtime_ns)
        camera = comparable(self.camera)
        return Clip(root, folder, name, camera, self.start, print_of, sidecars=self.sidecars)


class RemovalWork(Struct, frozen=True):
    """Removals that a run of `cleanup` announced. The journal names the files, in the files of these days."""

    run: Run
    days: tuple[date, ...]
    owner: Owner | None = None
    """None if it was not recorded: then the age of the note decides."""


Work = ClipWork | RemovalWork

FOLDERS: dict[str, type[Work]] = {"claims": ClipWork, "intents": RemovalWork}
"""Where the notes of each kind are, below the state folder."""


class WorkNote(Struct, frozen=True):
    """A note that was found on disk."""

    path: Path
    work: Work | None
    """None if the note can't be read or is not valid."""
    touched: float = 0.0
    """When it was written, in seconds since 1970."""


def existing(trees: Trees) -> Iterator[WorkNote]:
    """Every note, also those of live runs."""
    for folder, kind in FOLDERS.items():
        for path in paths_in(trees.state / folder, ".json"):
            if atomic.staged_stem(path.name) is not None:
                continue
            try:
                text, touched = path.read_text(encoding="ascii"), path.lstat().st_mtime
                work = decode(text, kind, times=("start",) if kind is ClipWork else ())
            except FileNotFoundError:
                continue
            except (OSError, ValueError):
                yield WorkNote(path, None)
            else:
                yield WorkNote(path, work, touched)


def is_live(trees: Trees, note: WorkNote) -> bool:
    """Whether a process must be taken to be at work on what a note names; a run of this process has ended."""
    match note.work:
        case ClipWork() as work:
            return process_on(trees, work) is not None
        case RemovalWork(owner=found):
            is_own = found is not None and found.is_this_process
            return not is_own and owner.is_alive(found, lambda: time.time() - note.touched)
        case None:
            return False


def process_on(trees: Trees, work: ClipWork) -> str | None:
    """A sentence on the process that works on a clip; None if none does."""
    return locking.held_by(work.as_clip(trees.source).path, place=trees.state / "locks")


class ClipNote:
    """The note on one clip, kept up to date while a run works on it."""

    def __init__(self, path: Path, work: ClipWork, archive: Path) -> None:
        self._path = path
        self._work = work
        self._archive = archive
        self.is_kept = False
        """Whether something remains to be done by the next start."""
        _write(path, work)

    def staging(self, staged: Path) -> None:
        """An unfinished archive is about to appear at this path, below the archive root."""
        self._work = replace(self._work, staged=staged.relative_to(self._archive).as_posix())
        _write(self._path, self._work)

    def staging_again(self, staged: Path) -> None:
        """A second unfinished file is about to appear beside the first."""
        self._work = replace(self._work, staged_again=staged.relative_to(self._archive).as_posix())
        _write(self._path, self._work)

    def keep(self) -> None:
        """Keep the note on disk."""
        self.is_kept = True


@contextmanager
def noted(trees: Trees, work: ClipWork, lock: Path) -> Iterator[ClipNote]:
    """Keep a note on a clip while the block runs; a killed process leaves it behind.

    The note also stays if the lock file `lock` still exists at the end.
    """
    path = trees.state / "claims" / f"{secrets.token_hex(8)}.json"
    note = ClipNote(path, work, trees.archive)
    try:
        yield note
    except NotRemovable as error:
        note.is_kept = note.is_kept or bool(error.copy)
        raise
    finally:
        if not note.is_kept and not os.path.lexists(lock):
            path.unlink(missing_ok=True)


class RemovalNote:
    """The note on one run's removals, rewritten before each block of them."""

    def __init__(self, state: Path, run: str) -> None:
        self._path = state / "intents" / f"{run}.json"
        self._open: set[date] = set()
        self._run = run
        self._owner = Owner.this()

    def announce(self, days: set[date]) -> None:
        """Note that intents in these days' files may have no outcome yet; durable on return."""
        listed = tuple(sorted(days | self._open))
        _write(self._path, RemovalWork(self._run, listed, self._owner))

    def leave_open(self, day: date) -> None:
        """Note that an intent of this day has no known outcome: the next start examines it."""
        self._open.add(day)

    def close(self) -> None:
        """Remove the note, unless some intents were left open; all others have their outcome."""
        if not self._open:
            self._path.unlink(missing_ok=True)


def _write(path: Path, work: Work) -> None:
    """Durable on return: after a power cut nothing else shows that a file moved into the trash."""
    atomic.make_private_folders(path.parent)
    # Not by msgspec: a historical time zone differs from UTC by seconds, which it rounds away.
    fields = msgspec.to_builtins(work, builtin_types=(date, datetime))
    atomic.write_text(path, json.dumps(fields, default=lambda moment: moment.isoformat()) + "\n")
