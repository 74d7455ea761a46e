"""Copies held clips with their journal lines into a folder, with checksums that prove the copies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from camarchiver.archive.encode import ClipFailed, Stopped
from camarchiver.domain.clip import Tree, Trees
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Conclusion, Status, concluded
from camarchiver.errors import (
    FULL,
    AlreadyRunning,
    CamarchiverError,
    ExitCode,
    Problem,
    StorageError,
    UsageError,
    cause,
)
from camarchiver.export.h264_copies import PLAYABLE, PlayableMaker
from camarchiver.export.held_files import Gap, HeldFiles, HeldPart
from camarchiver.naming.paths import numbered
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.runtime.formatting import count_of, size
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic, copying, filesystems
from camarchiver.storage.anchored import fingerprint_of
from camarchiver.storage.walk import TreeWalk, every_folder, paths_in, readable

JOURNAL = "journal.jsonl"

FOLDERS = (*(str(tree) for tree in Tree), PLAYABLE)
"""What an export holds: one folder for each tree that files come from, and one for playable copies."""

_ORDER = {Tree.SOURCE: 0, Tree.TRASH: 1, Tree.ARCHIVE: 2}


class Copied(Struct, frozen=True):
    """One file of an export."""

    path: Path
    """The file of which it is a copy."""
    target: str
    """Below the export's folder."""
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b."""
    was_there: bool
    """By an earlier export."""
    remark: str = ""
    """How a playable copy differs from its clip besides the compression."""


class Exported(Struct, frozen=True):
    """The result of an export."""

    copied: tuple[Copied, ...]
    problems: tuple[Problem, ...]
    full: bool = False
    """Whether the space ran out."""

    def conclusion(self, signal: int | None) -> Conclusion:
        """How the run ended; `signal` is the one that stopped it, if one did."""
        ended = concluded(
            achieved=bool(self.copied), failed=bool(self.problems), is_storage=self.full, signal=signal
        )
        # Nothing is held where somebody expects footage: a range was mistyped.
        return ended._replace(exit_code=ExitCode.FAILED) if ended.status is Status.NOTHING else ended


class _Full(CamarchiverError):
    """The target's disk is full."""


class Exporter:
    """Exports one hold into one folder; it only reads the trees."""

    def __init__(
        self, trees: Trees, held_files: HeldFiles, place: Path, maker: PlayableMaker | None, stop: Stopper
    ) -> None:
        """`maker` makes playable copies, if wanted. Raises UsageError for a target within the trees."""
        self._trees = trees
        self._held_files = held_files
        self._place = place
        self._maker = maker
        self._stop = stop
        self._copied: list[Copied] = []
        self._problems: list[Problem] = []
        self._sources: set[str] = set()
        self._days: set[date] = set()
        self._full = False
        _check_place(trees, place)

    def parts(self) -> SealedSequence[HeldPart]:
        """The files to copy; those that are not available are noted. A clip's best copy comes first."""

        def there() -> Iterator[HeldPart]:
            for found in self._held_files.found():
                if isinstance(found, Gap):
                    self._note("missing", f"{found.path}: {found.detail}")
                else:
                    yield found

        return SealedSequence(
            there(), key=lambda part: (part.source, part.identity, _ORDER[part.tree], part.relative)
        )

    def run(self, parts: SealedSequence[HeldPart], display: Display) -> Exported:
        """Copy all parts; failures are listed by name, and a full disk ends the export."""
        _make_place(self._place)
        with _alone(self._place):
            self._sweep()
            self._check_space(parts)
            try:
                self._copy_all(parts, display)
                if self._maker is not None:
                    self._make_playable(parts, self._maker, display)
            except Stopped:
                pass
            except _Full as full:
                self._full = True
                self._note("full", full.message, "free space there and run the same command again")
            self._finish()
        return Exported(tuple(self._copied), tuple(self._problems), self._full)

    # --- files -------------------------------------------------------------------------------------

    def _copy_all(self, parts: SealedSequence[HeldPart], display: Display) -> None:
        for number, part in enumerate(parts):
            if self._stop.is_set():
                raise Stopped("the run stops")
            try:
                copied = self._copy(part, display.done)
            except OSError as error:
                if error.errno in FULL:
                    rest = count_of(len(parts) - number, "file")
                    raise _Full(f"{self._place} is full: {rest} not copied, first {part.path}") from error
                where = error.filename or part.path
                self._note("not-copied", f"{part.path}: {where}: {cause(error)}")
                continue
            except StorageError as error:
                self._note("not-copied", f"{part.path}: {error.message}", error.hint)
                continue
            self._copied.append(copied)
            self._sources.add(part.source)
            self._days.add(part.start.date())
            self._doubt(part, copied)

    def _doubt(self, part: HeldPart, copied: Copied) -> None:
        if part.remark:
            self._note("damaged", f"{part.path}: copied as it is, but {part.remark}")
        elif part.digest and copied.digest != part.digest:
            self._note("damaged", f"{part.path}: copied as it is, but its bytes are not the journalled ones")

    def _copy(self, part: HeldPart, watch: Callable[[int], None]) -> Copied:
        relative = f"{part.tree}/{part.relative}"
        target = self._target(relative)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(part.path, flags), "rb") as source:
            before = os.fstat(source.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise StorageError("it is no regular file any more")
            if was_there := os.path.lexists(target):
                digest = self._digest(source, watch)
                _check_same(target, digest)
            else:
                atomic.make_folders(target.parent)
                with atomic.staged(target) as part_of:
                    digest = copying.copy_into(source, part_of, watch=self._watching(watch))
                    if fingerprint_of(os.fstat(source.fileno())) != fingerprint_of(before):
                        raise StorageError("it changed while it was copied")
                    atomic.publish(part_of, target)
        return Copied(part.path, relative, before.st_size, digest, was_there)

    def _target(self, relative: str) -> Path:
        target = self._place / relative
        if not filesystems.resolved(target.parent).is_relative_to(self._place):
            raise StorageError(f"a link leads from {target.parent} out of the export", hint="remove it")
        return target

    def _digest(self, source: BinaryIO, watch: Callable[[int], None]) -> str:
        digest, advance = hashlib.blake2b(), self._watching(watch)
        while block := source.read(1 << 20):
            digest.update(block)
            advance(len(block))
        return digest.hexdigest()

    def _watching(self, watch: Callable[[int], None]) -> Callable[[int], None]:
        def advance(count: int) -> None:
            if self._stop.is_set():
                raise Stopped("the run stops")
            watch(count)

        return advance

    # --- playable copies ---------------------------------------------------------------------------

    def _make_playable(self, parts: SealedSequence[HeldPart], maker: PlayableMaker, display: Display) -> None:
        """Make one for each clip from its best copy: the source before the trashed one before the archive."""
        last = None
        for part in parts:
            if part.clip is None or (part.source, part.identity) == last:
                continue
            last = part.source, part.identity
            try:
                made = maker.make(part.clip, part.source, self._place, display)
            except ClipFailed as failed:
                if failed.reason is Reason.NO_SPACE:
                    raise _Full(f"{self._place} is full: no playable copy of {part.path}") from failed
                self._note("not-playable", f"{part.path}: no playable copy: {failed.message}")
            except OSError as error:
                if error.errno in FULL:
                    raise _Full(f"{self._place} is full: no playable copy of {part.path}") from error
                self._note("not-playable", f"{part.path}: no playable copy: {cause(error)}")
            else:
                self._copied.append(
                    Copied(part.path, made.target, made.size, made.digest, made.was_there, made.remark)
                )

    # --- the end -----------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Write the journal's lines and the checksums of everything, even if something is missing."""
        try:
            self._write_journal()
            path = self._place / NAME
            before = path.read_bytes() if path.exists() else b""
            fresh, found = (
                {each.target: each.digest for each in self._copied if each.was_there is there}
                for there in (False, True)
            )
            now = merged(before, found, fresh)
            if self._copied and now != before:
                # Only lines of files that were not there leave it, so replacing it loses nothing.
                atomic.write_text(path, os.fsdecode(now), mode=0o644)
            written = frozenset(now.splitlines())
            for target, digest in found.items():
                if line(target, digest) not in written:
                    words = f"it was there, but its bytes are not those of its line in {NAME}"
                    self._note("damaged", f"{self._place / target}: {words}")
        except OSError as error:
            self._full |= error.errno in FULL
            words = f"{self._place}: {NAME} could not be written: {cause(error)}"
            self._note("no-sums", words, "correct that and run the same command again")

    def _write_journal(self) -> None:
        events = self._held_files.events(self._sources, self._days)
        text = "".join(event.line() + "\n" for event in events).encode("ascii")
        if not text:
            return
        digest = hashlib.blake2b(text).hexdigest()
        for number in range(1, 1000):
            name = numbered(JOURNAL, number)
            target = self._place / name
            was_there = os.path.lexists(target)
            if was_there and (target.is_symlink() or target.read_bytes() != text):
                continue
            if not was_there:
                with atomic.staged(target) as part:
                    part.path.write_bytes(text)
                    part.path.chmod(0o644)
                    atomic.publish(part, target)
            self._copied.append(Copied(self._trees.state / "journal", name, len(text), digest, was_there))
            return

    def _sweep(self) -> None:
        """Remove unfinished files of an export that was killed; no other process exports here now."""
        # Somebody's other folders in this place are not searched.
        others = (path for path in paths_in(self._place) if path.name not in FOLDERS)
        for folder, listing in readable(TreeWalk(self._place, pruned=others, enters=every_folder)):
            for name in filter(atomic.staged_stem, listing.temporary):
                (self._place / folder / name).unlink(missing_ok=True)

    def _check_space(self, parts: SealedSequence[HeldPart]) -> None:
        needed = sum(
            part.size for part in parts if not os.path.lexists(self._place / part.tree / part.relative)
        )
        free = filesystems.free_bytes(self._place)
        if needed > free:
            raise StorageError(
                f"{self._place} has {size(free)} free and the copies need {size(needed)}; nothing was copied",
                hint="name a larger disk, or export shorter holds",
            )

    def _note(self, code: str, message: str, hint: str = "") -> None:
        self._problems.append(Problem(code, message, hint))


def _check_place(trees: Trees, place: Path) -> None:
    for root in (trees.source, trees.archive, trees.trash):
        if place.is_relative_to(root) or any(root.is_relative_to(place / name) for name in FOLDERS):
            raise UsageError(
                f"{place} lies in the trees themselves: {root}",
                hint="name a folder elsewhere, on another disk",
            )


def _make_place(place: Path) -> None:
    if not place.parent.is_dir():
        raise UsageError(f"{place.parent} does not exist", hint="make it, or mount its disk")
    if os.path.lexists(place) and not place.is_dir():
        raise UsageError(f"{place} is no folder", hint="name another one")
    atomic.make_folders(place)


def _check_same(target: Path, digest: str) -> None:
    """Raises StorageError unless a regular file with exactly these bytes exists there."""
    if not stat.S_ISREG(target.lstat().st_mode) or copying.file_digest(target) != digest:
        raise StorageError(
            f"another file is at {target}, which is never overwritten",
            hint="export into an empty folder",
        )


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Refuse a second export into the same folder; the kernel releases the lock when this process ends."""
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"another export into {place} runs", hint="wait until it is done, or name another folder"
            ) from error
        except OSError as error:
            # Some network mounts can't lock folders; publishing never replaces a file in any case.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        yield
    finally:
        os.close(folder)


NAME = "B2SUMS"

_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def line(relative: str, digest: str) -> bytes:
    """One file's line, without its line end; a name with a backslash or a line end is escaped and marked."""
    name = escaped = os.fsencode(relative)
    for character, replacement in _ESCAPES:
        escaped = escaped.replace(character, replacement)
    return (b"\\" if escaped != name else b"") + digest.encode("ascii") + b"  " + escaped


def merged(before: bytes, found: Mapping[str, str], fresh: Mapping[str, str]) -> bytes:
    """A B2SUMS with its former lines and those of more files, one for each.

    A file that was found there keeps its older line, so that a change shows; one that was made now gets a new
    one.
    """
    lines = {_name_of(former): former for former in before.splitlines() if former}
    for relative, digest in found.items():
        made = line(relative, digest)
        lines.setdefault(_name_of(made), made)
    lines |= {_name_of(made): made for made in map(line, fresh.keys(), fresh.values())}
    return b"".join(lines[name] + b"\n" for name in sorted(lines))


def _name_of(found: bytes) -> bytes:
    return found.partition(b"  ")[2]
