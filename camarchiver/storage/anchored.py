"""Removing a file, or moving it into the trash, without ever following a folder that became a link.

Every folder is opened step by step below its root, and a file is looked at again through the open folder
at the last moment: what was swapped since the plan was made is never what goes.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath

from camarchiver.domain.clip import Fingerprint
from camarchiver.errors import CamarchiverError, NotRemovable, StorageError, cause
from camarchiver.naming import paths as name_paths
from camarchiver.storage import atomic, copying, linux, permissions

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
    root: Path,
    relative: str,
    fingerprint: Fingerprint,
    *,
    trash_root: Path,
    trash_relative: str,
    numbered: bool = True,
) -> str:
    """Move `relative` below `root` into the trash, durably; the path below `trash_root` that it got.

    A taken name gets a number; FileExistsError if it isn't to be `numbered`. Mode, owner and times stay,
    also on another filesystem. Stale when it isn't the file of that fingerprint, FileNotFoundError when it
    is gone, NotRemovable when it can't leave its folder: then no copy of it stays in the trash.
    """
    source, target = _parts(relative), _parts(trash_relative)
    with _naming(root / relative, trash_root / trash_relative), _folder(root, source[:-1]) as here:
        file = _File(here, source[-1], fingerprint, root / relative)
        file.check()
        # Asked first, so that nothing large is copied in vain; what happens then is what counts.
        file.refuse()
        atomic.make_folders(trash_root)
        with _folder(trash_root, target[:-1], make=True) as there:
            name = _transfer(file, there, _Numbered(target[-1]) if numbered else (target[-1],))
    return "/".join((*target[:-1], name))


def delete(root: Path, relative: str, fingerprint: Fingerprint) -> None:
    """Unlink `relative` below `root`, durably; Stale, FileNotFoundError and NotRemovable as in `move`."""
    parts = _parts(relative)
    with _naming(root / relative), _folder(root, parts[:-1]) as here:
        file = _File(here, parts[-1], fingerprint, root / relative)
        file.check()
        file.refuse()
        file.unlink()


def require_removable(root: Path, relative: str, fingerprint: Fingerprint) -> None:
    """Stale, FileNotFoundError or NotRemovable as `delete` would raise them, as far as looking tells."""
    parts = _parts(relative)
    with _naming(root / relative), _folder(root, parts[:-1]) as here:
        file = _File(here, parts[-1], fingerprint, root / relative)
        file.check()
        file.refuse()


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

    def refuse(self) -> None:
        """NotRemovable if it is certain that it can't leave its folder."""
        if (found := permissions.obstacle(self.folder, self.name, self.path)) is not None:
            raise found

    def unlink(self) -> None:
        """Remove the name durably; gone is done. NotRemovable where the file still stands afterwards."""
        try:
            with suppress(FileNotFoundError):
                atomic.retry_transient(lambda: os.unlink(self.name, dir_fd=self.folder))
        except OSError as error:
            if not self._stands():
                raise
            raise self.refusal(error) from error
        atomic.fsync_folder_fd(self.folder)

    def refusal(self, error: OSError) -> NotRemovable:
        """What to say of an error that nothing foretold."""
        folder = self.path.parent
        remedy = f"look at the owner, the permissions and the mounts of {folder}, and at its server's"
        return permissions.refusal(self.path, f"{folder}: {cause(error)}", remedy)

    def _stands(self) -> bool:
        try:
            return _seen(self.folder, self.name) == self.fingerprint
        except OSError:
            return False


def _transfer(file: _File, there: int, choice: Iterable[str]) -> str:
    """Bring the file into the open folder `there`, by rename if it is on the same filesystem.

    It gets the first of the names that is free; FileExistsError if none is.
    """
    try:
        name = _first_free(choice, lambda name: _rename(file, there, name))
    except OSError as error:
        if error.errno == errno.EXDEV:
            return _copy(file, there, choice)
        if error.errno == errno.EBUSY:
            raise file.refusal(error) from error
        raise
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
    try:
        atomic.fsync_folder_fd(there)
    except OSError:
        with suppress(OSError):
            os.unlink(name, dir_fd=there)
        raise
    _unlink_original(file, there, name)


def _copy(file: _File, there: int, choice: Iterable[str]) -> str:
    # Through /proc the open folder has a path, whatever becomes of its name.
    folder = Path(f"/proc/self/fd/{there}")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(file.name, flags, dir_fd=file.folder)
    with os.fdopen(descriptor, "rb") as source, atomic.staged(folder / next(iter(choice))) as part:
        file.expect(fingerprint_of(os.fstat(descriptor)))
        copying.copy_into(source, part)
        file.expect(fingerprint_of(os.fstat(descriptor)))
        name = _first_free(choice, lambda name: _publish(part, folder / name))
    _unlink_original(file, there, name)
    return name


def _publish(part: atomic.Staged, target: Path) -> None:
    """Publish a copy; none stays where that fails halfway, as it does when the folder's fsync fails."""
    copy = part.path.lstat()
    try:
        atomic.publish(part, target)
    except OSError:
        with suppress(OSError):
            if os.path.samestat(target.lstat(), copy):
                target.unlink()
        raise


def _unlink_original(file: _File, there: int, name: str) -> None:
    """Unlink a file of which a copy, or a second name, stands in the open folder `there`.

    Where the original can't go, the copy goes. Where the original is gone, or another file by now, the copy
    stays: it is the last one.
    """
    try:
        file.check()
    except FileNotFoundError:
        return
    except Stale as error:
        raise Stale(f"{error.message}; what it was stays as {name} where it was copied to") from error
    # Who took this clip over from a run that seemed dead has taken the copy back. Its size is all that says
    # so for certain: a file server may round its time, and number it anew.
    try:
        size: int | None = _seen(there, name).size
    except FileNotFoundError:
        size = None
    if size != file.fingerprint.size:
        raise Stale(f"the copy of {file.path} did not stay where it was put")
    try:
        file.unlink()
    except NotRemovable as problem:
        raise _taken_back(problem, there, name) from problem.__cause__


def _taken_back(problem: NotRemovable, there: int, name: str) -> NotRemovable:
    """The problem, once the copy is unlinked; with the copy's path if that fails, too."""
    try:
        with suppress(FileNotFoundError):
            atomic.retry_transient(lambda: os.unlink(name, dir_fd=there))
        atomic.fsync_folder_fd(there)
    except OSError as error:
        copy = Path(f"/proc/self/fd/{there}").readlink() / name
        words = f"{problem.message}; nor can its copy {copy}: {cause(error)}"
        return NotRemovable(words, hint=problem.hint, copy=os.fspath(copy))
    return problem


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A name, and that name with 2, 3 and so on for ever; can be walked again."""

    wanted: str

    def __iter__(self) -> Iterator[str]:
        return (name_paths.numbered(self.wanted, number) for number in count(1))


def _first_free(choice: Iterable[str], take: Callable[[str], None]) -> str:
    """The first name that `take` did not refuse as taken; FileExistsError if it refused each."""
    for name in choice:
        try:
            take(name)
            return name
        except FileExistsError as error:
            taken = error
    raise taken


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
