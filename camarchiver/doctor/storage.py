"""Looks at the trees, their filesystems and state, and the recorder's folders, for `doctor`.

It writes a hidden folder into each root, tries there what camarchiver relies on, and removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

from camarchiver.doctor.findings import Finding, fine, judge_free_space, remark, trouble
from camarchiver.domain.clip import STATE_FOLDER, Trees
from camarchiver.errors import CamarchiverError, cause, sentence, user_name
from camarchiver.journal.store import Journal
from camarchiver.naming import recorder_names
from camarchiver.naming.system_folders import KNOWN, PassedOver
from camarchiver.runtime.formatting import count_of, place_words, shown, size
from camarchiver.state import clock_corrections, findings, holds, offsite_state, volume_marker
from camarchiver.state import restored as restored_clips
from camarchiver.state.failures import Failures
from camarchiver.storage import filesystems, linux, run_lock
from camarchiver.storage.filesystems import Mount
from camarchiver.storage.walk import TreeWalk, paths_in, readable

PREFIX = ".camarchiver-doctor-"
DAYS_READ = 60
"""Files of the journal that are read whole; the others are only opened."""
LEFT_SECONDS = 86_400.0
"""Age at which an unfinished clip in the spool was left by a recorder that is not coming back."""
SWEPT_SECONDS = 3600.0
"""Age at which a folder of ours was left by an examination that was killed."""
FolderTest = Callable[[Path], None]
"""Tries something in a folder. Raises OSError if it doesn't work."""


def roots(trees: Trees) -> Iterator[Finding]:
    """Source, archive and trash: whether they exist, are the right ones, are writable, and can publish."""
    try:
        volume_marker.check_roots(trees)
        volume_marker.check_place(trees)
    except CamarchiverError as error:
        yield trouble("trees", error.message, error.hint)
        return
    for name, root in (("source", trees.source), ("archive", trees.archive), ("trash", trees.trash)):
        yield from root_of(name, root)
    yield from _volumes(trees)
    device = _existing(trees.source).stat().st_dev
    if _existing(trees.archive).stat().st_dev != device:
        yield fine("archive", "it lies on another filesystem than the source")
    if _existing(trees.trash).stat().st_dev != device:
        remedy = "a trash on the source's own filesystem is a rename"
        yield remark(
            "trash", "it lies on another filesystem than the source: what goes there is copied", remedy
        )


def root_of(area: str, root: Path) -> Iterator[Finding]:
    """One folder to which camarchiver writes."""
    there = _existing(root)
    kind = kind_of(there)
    status = os.statvfs(there)
    free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    message = f"{shown(root)}{'' if there == root else ' will be made'}, {kind.kind if kind else 'unknown'},"
    message = f"{message} {size(free)} of {size(total)} free"
    if status.f_flag & os.ST_RDONLY:
        remedy = f"mount -o remount,rw {shown(kind.place if kind else there)}"
        yield trouble(area, f"{message}: it is mounted read-only", remedy)
        return
    if low := judge_free_space(free, total, status.f_favail if status.f_files else -1):
        yield trouble(
            area, f"{message}: {low}", "camarchiver cleanup --min-free 20GB --dry-run, or a larger disk"
        )
    yield _tried(area, message, there)


def journal(trees: Trees) -> Iterator[Finding]:
    """Whether the journal can be read, and the rest of the state."""
    state = trees.state
    if not os.path.lexists(state):
        yield remark("journal", "there is none yet: nothing was archived here")
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"chown -R {user_name()} {shown(state)}, if that is the user that archives"
        yield trouble("journal", f"{shown(state)} can't be read and written by user {user_name()}", remedy)
        return
    yield from _days(Journal(state), state / "journal")
    for what, read in (
        ("holds", lambda: holds.read(state)),
        ("remembered failures", lambda: Failures(state).known()),
        ("restored clips", lambda: restored_clips.read(state)),
        ("corrected clocks", lambda: clock_corrections.read(state)),
        ("remotes", lambda: offsite_state.read(state)),
        ("failed off-site copies", lambda: offsite_state.failures(state).known()),
    ):
        try:
            yield fine("state", f"{len(read())} {what}")
        except CamarchiverError as error:
            yield trouble("state", error.message, error.hint)
        except OSError as error:
            yield trouble(
                "state", f"{what} can't be read: {sentence(error)}", "check the disk and the file's owner"
            )


def archives(trees: Trees) -> Iterator[Finding]:
    """What `verify` found, and whether it has checked every archive lately."""
    try:
        found = findings.read(trees.state)
    except CamarchiverError as error:
        yield trouble("archives", error.message, error.hint)
        return
    if found.damaged:
        first, damage = min(found.damaged.items())
        more = f" and {len(found.damaged) - 1:,} more" if len(found.damaged) > 1 else ""
        message = f"{shown(first)} ({damage.words()}){more}"
        remedy = f"camarchiver verify {place_words(trees)} --known --repair"
        yield trouble("archives", f"{len(found.damaged):,} missing or damaged: {message}", remedy)
    elif found.last_whole is not None:
        yield fine("archives", f"all sound when verify last came through, on {found.last_whole.at:%Y-%m-%d}")
    if found.last_whole is None and os.path.lexists(trees.state / "journal"):
        remedy = f"camarchiver verify {place_words(trees)}, or its timer"
        yield remark("archives", "verify has never come through all of them", remedy)


def recorder(spool: Path, outbox: Path) -> Iterator[Finding]:
    """The folders to which `record` writes."""
    for area, folder in (("spool", spool), ("outbox", outbox)):
        yield from root_of(area, folder.absolute())
    if _existing(spool.absolute()).stat().st_dev != _existing(outbox.absolute()).stat().st_dev:
        yield remark(
            "outbox", "it lies on another filesystem than the spool: clips are copied", "move one of them"
        )
    old = [path for path in _unfinished(spool) if time.time() - path.stat().st_mtime > LEFT_SECONDS]
    if old:
        count = count_of(len(old), "unfinished clip")
        message = f"{count} in the spool, the oldest {shown(min(old, key=_mtime))}"
        yield remark("spool", message, "the next start of record for that camera salvages them")


def count_folders(trees: Trees, passed_over: PassedOver = KNOWN) -> int:
    """The number of folders below the source that `watch` watches, including the source itself."""
    pruned = trees.archive, trees.trash
    tree = TreeWalk(trees.source, pruned=pruned, enters=passed_over.may_hold_clips)
    return sum(1 for _ in readable(tree))


def kind_of(folder: Path) -> Mount | None:
    """The mount that a folder lies on; None if the kernel's table can't be read."""
    return next(iter(filesystems.relevant_mounts(filesystems.mounts(), os.fspath(folder))), None)


def _volumes(trees: Trees) -> Iterator[Finding]:
    try:
        volume_marker.check(trees)
        volume_marker.check_both(trees)
    except CamarchiverError as error:
        yield trouble("volume", error.message, error.hint)
        return
    if volume_marker.marker(trees.state):
        yield fine("volume", "source and archive know each other")
    elif (trees.source / STATE_FOLDER).exists():
        yield fine("volume", "the source has no archive yet")
    else:
        yield remark("volume", "there are no markers yet: the first run makes them")


def _tried(area: str, message: str, root: Path) -> Finding:
    _sweep(root)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    except OSError as error:
        wrong = f"{message}: this user can't write there: {cause(error)}"
        return trouble(area, wrong, f"chown or chmod {shown(root)}, or run as its owner")
    try:
        able = {name: _able(test, folder) for name, test in _FOLDER_TESTS}
    except OSError as error:
        return trouble(
            area, f"{message}: it can't be written: {cause(error)}", "check the disk: dmesg, df -i"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    has = ", ".join(name for name, works in able.items() if works)
    lacks = [name for name, works in able.items() if not works]
    if not (able["link"] or able["rename without replacing"]):
        wrong = (
            f"{message}: it has neither links nor a rename that never replaces, so nothing can be published"
        )
        return trouble(area, wrong, "use ext4, XFS, btrfs, NFS or SMB")
    if not able["flock"]:
        return trouble(area, f"{message}: files can't be locked", run_lock.NEEDS_LOCKS)
    return fine(area, f"{message}; {has}" + (f"; without {', '.join(lacks)}" if lacks else ""))


def _sweep(root: Path) -> None:
    """Remove what a killed examination left."""
    with suppress(OSError):
        for left in paths_in(root):
            status = left.lstat()
            is_ours = left.name.startswith(PREFIX) and status.st_uid == os.geteuid()
            if is_ours and time.time() - status.st_mtime > SWEPT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


_ABSENT = frozenset(
    {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EISDIR, errno.ENOLCK, errno.EMLINK}
)
"""The error numbers of a filesystem that lacks a feature; every other error is a fault."""


def _able(test: FolderTest, folder: Path) -> bool:
    try:
        test(folder)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return True


def _write(folder: Path) -> None:
    with (folder / "file").open("wb") as file:
        file.write(b"camarchiver" * 1000)
        file.flush()
        os.fsync(file.fileno())


def _unnamed(folder: Path) -> None:
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))


def _link(folder: Path) -> None:
    os.link(folder / "file", folder / "second")


def _rename(folder: Path) -> None:
    linux.rename_noreplace(folder / "file", folder / "third")
    (folder / "third").rename(folder / "file")


def _lock(folder: Path) -> None:
    with (folder / "file").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_FOLDER_TESTS: tuple[tuple[str, FolderTest], ...] = (
    ("write", _write),
    ("O_TMPFILE", _unnamed),
    ("link", _link),
    ("rename without replacing", _rename),
    ("flock", _lock),
)


def _days(found: Journal, folder: Path) -> Iterator[Finding]:
    unreadable = [path for path in _files(folder) if not os.access(path, os.R_OK | os.W_OK)]
    if unreadable:
        files = count_of(len(unreadable), "file")
        message = f"{files} of the journal can't be read and written, as {shown(unreadable[0])}"
        yield trouble("journal", message, f"chown -R USER {shown(folder)}, with the user that archives")
        return
    days = found.days()
    torn = {day: count for day in days[-DAYS_READ:] if (count := _torn(found, day))}
    for day, count in torn.items():
        message = f"{count_of(count, 'line')} of {shown(found.path(day))} can't be read"
        if count == 1:
            yield remark("journal", f"{message}: a crash tore one, which is harmless")
        else:
            yield trouble(
                "journal",
                message,
                "look at them, check the disk; camarchiver verify shows which clips are affected",
            )
    if not torn:
        yield fine("journal", count_of(len(days), "day"))


def _torn(found: Journal, day: date) -> int:
    return found.day(day).torn


def _files(folder: Path) -> Iterator[Path]:
    """Every folder and file of the journal, including those that can't be read."""
    for place, listing in readable(TreeWalk(folder)):
        names = (*listing.folders, *listing.names())
        yield from (folder / place / name for name in names if not name.startswith("."))


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _unfinished(spool: Path) -> list[Path]:
    return [path for path in spool.glob("*/*") if recorder_names.is_spool_name(path.name) and path.is_file()]


def _mtime(path: Path) -> float:
    return path.stat().st_mtime
