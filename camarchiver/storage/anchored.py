"""Removing a file, or moving it into the trash, without ever following a folder that became a link.

Every folder is opened step by step below its root, and a file is looked at again through the open folder
at the last moment: what was swapped since the plan was made is never what goes.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from camarchiver.domain.clip import Fingerprint
from camarchiver.errors import CamarchiverError, StorageError
from camarchiver.naming.paths import numbered
from camarchiver.storage import atomic, copying, linux

FROM_SOURCE = "input"
FROM_ARCHIVE = "output"
"""The trash's two folders: what came from the source, what came from the archive."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS})


class Stale(CamarchiverError):
    """The file, or a folder on the way to it, is no longer what was planned; nothing was removed."""

    code = "stale"


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """What identifies the file's present state."""
    return Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def move(
    root: Path, relative: str, fingerprint: Fingerprint, *, trash_root: Path, trash_relative: str
) -> str:
    """Move `relative` below `root` into the trash, durably; the path below `trash_root` that it got.

    A taken name gets a number. Mode, owner and times stay, also on another filesystem. Stale when it
    isn't the file of that fingerprint, FileNotFoundError when it is gone.
    """
    source, target = _parts(relative), _parts(trash_relative)
    with _naming(root / relative, trash_root / trash_relative), _folder(root, source[:-1]) as here:
        file = _File(here, source[-1], fingerprint, root / relative)
        file.check()
        atomic.make_folders(trash_root)
        with _folder(trash_root, target[:-1], make=True) as there:
            name = _transfer(file, there, target[-1])
    return "/".join((*target[:-1], name))


def delete(root: Path, relative: str, fingerprint: Fingerprint) -> None:
    """Unlink `relative` below `root`, durably; Stale and FileNotFoundError as in `move`."""
    parts = _parts(relative)
    with _naming(root / relative), _folder(root, parts[:-1]) as here:
        file = _File(here, parts[-1], fingerprint, root / relative)
        file.check()
        file.unlink()


def make_folder(root: Path, relative: str) -> None:
    """Make a folder below `root` and those above it, durably, and follow no link on the way there.

    StorageError where a link, or a file, stands on the way.
    """
    atomic.make_folders(root)
    parts = _parts(relative) if relative else ()
    try:
        with _naming(root / relative), _folder(root, parts, make=True):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise StorageError(
            f"{root / relative} can't be made: a link or a file stands on the way there",
            hint="look who put it there, and remove it: no link is followed below a root",
        ) from error


def unfinished(root: Path, relative: str) -> tuple[str, ...]:
    """Copies to `relative` below `root` that a dead run left unfinished, if nobody makes one now."""
    *parents, name = _parts(relative)
    folder = root.joinpath(*parents)
    try:
        found = [path.name for path in folder.iterdir() if atomic.is_staged_for(path.name, name)]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple("/".join((*parents, entry)) for entry in sorted(found))


def remove_empty_folders(root: Path, folder: str, *, stop_at: str = "") -> tuple[str, ...]:
    """Remove the date folder `folder` and those above it as far as they are empty; which they were.

    Only folders of the form `YYYY`, `YYYY/MM` and `YYYY/MM/DD`; never `stop_at` or what is above it.
    """
    removed = []
    parts = _parts(folder) if folder else ()
    kept = len(_parts(stop_at)) if stop_at else 0
    while len(parts) > kept and _is_date(parts):
        try:
            with _folder(root, parts[:-1]) as parent:
                os.rmdir(parts[-1], dir_fd=parent)
                atomic.fsync_folder_fd(parent)
            removed.append("/".join(parts))
        except FileNotFoundError:
            pass
        except Stale:
            break
        except OSError as error:
            if error.errno not in _NOT_EMPTY:
                raise
            break
        parts = parts[:-1]
    return tuple(removed)


@dataclass(frozen=True, slots=True)
class _File:
    """The file to remove, as seen through its open folder."""

    folder: int
    name: str
    fingerprint: Fingerprint
    path: Path
    """For messages only: what stands there may have changed."""

    def check(self) -> None:
        """Stale unless it is, at this moment, the planned file."""
        self.expect(_seen(self.folder, self.name))

    def expect(self, found: Fingerprint) -> None:
        """Stale unless what was found is the planned file."""
        if found != self.fingerprint:
            raise Stale(f"{self.path} is no longer the file that was planned")

    def unlink(self) -> None:
        """Remove the name durably; gone is done."""
        with suppress(FileNotFoundError):
            atomic.retry_transient(lambda: os.unlink(self.name, dir_fd=self.folder))
        atomic.fsync_folder_fd(self.folder)


def _transfer(file: _File, there: int, wanted: str) -> str:
    """Bring the file into the open folder `there`, by rename if it is on the same filesystem."""
    try:
        name = _first_free(wanted, lambda name: _rename(file, there, name))
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copy(file, there, wanted)
    if (found := _seen(there, name)) != file.fingerprint:
        # Replaced at the last moment: what was moved goes back to where it was.
        linux.rename_noreplace(name, file.name, source_dir_fd=there, target_dir_fd=file.folder)
        file.expect(found)
    atomic.fsync_folder_fd(there)
    atomic.fsync_folder_fd(file.folder)
    return name


def _rename(file: _File, there: int, name: str) -> None:
    try:
        linux.rename_noreplace(file.name, name, source_dir_fd=file.folder, target_dir_fd=there)
    except OSError as error:
        if error.errno not in atomic.NO_RENAME_FLAGS:
            raise
        _link_and_unlink(file, there, name)


def _link_and_unlink(file: _File, there: int, name: str) -> None:
    """A move that can't replace, for network mounts: there a rename always can."""
    link = partial(os.link, src_dir_fd=file.folder, dst_dir_fd=there, follow_symlinks=False)
    try:
        atomic.retry_transient(lambda: link(file.name, name))
    except FileExistsError:
        # By an earlier try, of which the answer or the second half got lost.
        if _seen(there, name) != file.fingerprint:
            raise
    if (found := _seen(there, name)) != file.fingerprint:
        os.unlink(name, dir_fd=there)
        file.expect(found)
    atomic.fsync_folder_fd(there)
    file.unlink()


def _copy(file: _File, there: int, wanted: str) -> str:
    # Through /proc the open folder has a path, whatever becomes of its name.
    folder = Path(f"/proc/self/fd/{there}")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(file.name, flags, dir_fd=file.folder)
    with os.fdopen(descriptor, "rb") as source, atomic.staged(folder / wanted) as part:
        file.expect(fingerprint_of(os.fstat(descriptor)))
        copying.copy_into(source, part)
        file.expect(fingerprint_of(os.fstat(descriptor)))
        name = _first_free(wanted, lambda name: atomic.publish(part, folder / name))
    file.check()
    file.unlink()
    return name


def _first_free(wanted: str, take: Callable[[str], None]) -> str:
    number = 1
    while True:
        name = numbered(wanted, number)
        try:
            take(name)
            return name
        except FileExistsError:
            number += 1


def _seen(folder: int, name: str) -> Fingerprint:
    return fingerprint_of(atomic.retry_transient(lambda: os.stat(name, dir_fd=folder, follow_symlinks=False)))


@contextmanager
def _folder(root: Path, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """The open folder below `root`; Stale when a link or a file stands where one of the folders was."""
    with ExitStack() as opened:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(os.close, folder)
        for part in parts:
            if make:
                _make(folder, part)
            try:
                folder = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                if make or error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                raise Stale(f"{part} on the way to {root.joinpath(*parts)} is no folder any more") from error
            opened.callback(os.close, folder)
        yield folder


def _make(folder: int, name: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
        atomic.fsync_folder_fd(folder)


@contextmanager
def _naming(*paths: Path) -> Iterator[None]:
    """Errors of calls that work by descriptor name the whole paths, as a reader needs them."""
    try:
        yield
    except OSError as error:
        source, *target = map(str, paths)
        raise OSError(error.errno, error.strerror, source, None, *target) from error


_DATE = (r"(19|20)\d\d", r"(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])")


def _is_date(parts: tuple[str, ...]) -> bool:
    path = "/".join(parts)
    return any(re.search(rf"(^|/){'/'.join(_DATE[:depth])}$", path) for depth in (1, 2, 3))


def _parts(relative: str) -> tuple[str, ...]:
    parts = PurePosixPath(relative).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise ValueError(f"{relative!r} is not a path below its root")
    return parts
