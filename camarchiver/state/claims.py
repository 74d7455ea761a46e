"""Notes on clips that are being archived, so that the next start finds what a dead run left behind."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec.structs import replace

from camarchiver.domain.clip import Clip, Fingerprint, Trees
from camarchiver.domain.fields import (
    AnyPath,
    Count,
    FileName,
    Moment,
    Nanoseconds,
    Process,
    RelativePath,
    Run,
)
from camarchiver.domain.untrusted import check_below, check_name, check_time, decode
from camarchiver.errors import NotRemovable
from camarchiver.naming.cameras import comparable
from camarchiver.storage import atomic

FOLDER = "claims"
UNFINISHED = ".new"


class WorkClaim(msgspec.Struct, frozen=True):
    """One clip that a run works on; all paths relative to their tree."""

    clip: RelativePath
    size: Count
    mtime_ns: Nanoseconds
    start: Moment
    camera: str
    sidecars: tuple[FileName, ...]
    host: str
    pid: Process
    run: Run
    staged: AnyPath = ""
    """Below the archive root; empty while nothing is staged."""

    def __post_init__(self) -> None:
        check_time(self.start)
        check_below(self.clip)
        if self.staged:
            check_below(self.staged)
        for name in self.sidecars:
            check_name(name)

    def as_clip(self, root: Path) -> Clip:
        """The clip as it was when it was claimed; its device and inode are no longer known."""
        folder, _, name = self.clip.rpartition("/")
        print_of = Fingerprint(-1, -1, self.size, self.mtime_ns)
        camera = comparable(self.camera)
        return Clip(root, folder, name, camera, self.start, print_of, sidecars=self.sidecars)


class ClaimFile:
    """The note of one claim on disk, kept up to date."""

    def __init__(self, path: Path, claim: WorkClaim, archive: Path) -> None:
        self._path = path
        self._claim = claim
        self._archive = archive
        self.kept = False
        self._write()

    def staging(self, staged: Path) -> None:
        """An unfinished archive is about to appear at this path, below the archive root."""
        self._claim = replace(self._claim, staged=staged.relative_to(self._archive).as_posix())
        self._write()

    def keep(self) -> None:
        """Keep the note on disk: something remains to be done by the next start."""
        self.kept = True

    def _write(self) -> None:
        part = self._path.with_suffix(UNFINISHED)
        fields = {**msgspec.structs.asdict(self._claim), "start": self._claim.start.isoformat()}
        part.write_text(json.dumps(fields), encoding="ascii")
        # Durable before the clip goes: after a power cut nothing else shows that it moved into the trash.
        atomic.sync_file(part)
        part.replace(self._path)
        atomic.fsync_folder(self._path.parent)


@contextmanager
def claimed(trees: Trees, claim: WorkClaim, lock: Path) -> Iterator[ClaimFile]:
    """Keep a note of the claim while the block runs; a killed process leaves it behind.

    The note also stays if the lock file `lock` still exists at the end.
    """
    folder = trees.state / FOLDER
    atomic.make_private_folders(folder)
    path = folder / f"{secrets.token_hex(8)}.json"
    note = ClaimFile(path, claim, trees.archive)
    try:
        yield note
    except NotRemovable as error:
        note.kept = note.kept or bool(error.copy)
        raise
    finally:
        if not note.kept and not os.path.lexists(lock):
            path.unlink(missing_ok=True)


def existing(trees: Trees) -> Iterator[tuple[Path, WorkClaim | None]]:
    """Every note, also those of live runs; None for one that can't be read or is not valid."""
    folder = trees.state / FOLDER
    for note in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            yield note, decode(note.read_text(encoding="ascii"), WorkClaim, times=("start",))
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            yield note, None
