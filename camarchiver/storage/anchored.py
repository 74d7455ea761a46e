"""Removes a file or moves it into the trash, and never follows a folder that became a link.

Every folder is opened step by step below its root, and a file is checked again through the open folder
at the last moment: a file that was swapped since the plan was made is never removed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath

from msgspec import Struct

from camarchiver.domain.clip import Fingerprint
from camarchiver.errors import CamarchiverError, NotRemovable, StorageError, cause
from camarchiver.naming import paths as name_paths
from camarchiver.storage import atomic, copying, linux, permissions

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Stale(CamarchiverError):
    """The file, or a folder on the way to it, is no longer what was planned; nothing was removed."""

    code = "stale"


class CopyStays(Stale):
    """The file is no longer what was planned; a copy of what it was stays where it was to go."""


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """The fingerprint of the file's present state."""
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

    A taken name gets a number; without `numbered` it raises FileExistsError. Access rights and times stay,
    also on another filesystem, and folders that are made get those of the folders that the file leaves.
    Raises Stale if it is not the file of that fingerprint, FileNotFoundError if it is gone, NotRemovable if
    it can't leave its folder, OSError otherwise. Then no copy of it stays in the trash while the file stands,
    unless a NotRemovable names it: the next start must look at both.
    """
    source, target = parts_of(relative), parts_of(trash_relative)
    paths = root / relative, trash_root / trash_relative
    with atomic.naming(*paths), _planned(root, relative, fingerprint) as file:
        models = permissions.models(root, source[:-1], target[:-1])
        atomic.make_folders(trash_root, model=root)
        with opened_folder(trash_root, target[:-1], models=models) as there:
            choice = name_paths.NumberedNames(target[-1]) if numbered else (target[-1],)
            name = _transfer(file, there, choice)
    return "/".join((*target[:-1], name))


def open_file(root: Path, relative: str) -> BufferedReader:
    """The regular file at `relative` below `root`, opened for reading; no link is followed on the way.

    Raises Stale or FileNotFoundError as `move`, and StorageError for what is no regular file.
    """
    parts = parts_of(relative)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with atomic.naming(root / relative), opened_folder(root, parts[:-1]) as here:
        stream = os.fdopen(os.open(parts[-1], flags, dir_fd=here), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise StorageError(f"{root / relative} is no regular file", hint="look who put it there")
    return stream


def delete(root: Path, relative: str, fingerprint: Fingerprint) -> None:
    """Unlink `relative` below `root`, durably. Raises Stale, FileNotFoundError, NotRemovable as `move`."""
    with _planned(root, relative, fingerprint) as file:
        file.unlink()
        file.sync()


def require_removable(root: Path, relative: str, fingerprint: Fingerprint) -> None:
    """Raise Stale, FileNotFoundError or NotRemovable as `delete` would, as far as can be seen beforehand."""
    with _planned(root, relative, fingerprint):
        pass


def make_folder(root: Path, relative: str, *, model: Path | None = None) -> None:
    """Make a folder below `root` and those above it, durably, and follow no link on the way there.

    Each new one gets the access rights of the same folder below `model`, or else those of the folder that it
    is made in. Raises StorageError if a link or a file is on the way.
    """
    atomic.make_folders(root, model=model)
    parts = parts_of(relative) if relative else ()
    models = {} if model is None else permissions.models(model, parts, parts)
    try:
        with atomic.naming(root / relative), opened_folder(root, parts, models=models):
            pass
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise StorageError(
            f"{root / relative} can't be made: a link or a file is in the way",
            hint="look who put it there, and remove it: no link is followed below a root",
        ) from error


class _PlannedFile(Struct, frozen=True):
    """The file to remove, as seen through its open folder."""

    folder: int
    name: str
    fingerprint: Fingerprint
    path: Path
    """For messages only: the file at this path may have changed."""

    def check(self) -> None:
        """Raise Stale unless it is the planned file at this moment."""
        self.expect(_seen(self.folder, self.name))

    def expect(self, found: Fingerprint) -> None:
        """Raise Stale unless the found file is the planned one."""
        if found != self.fingerprint:
            raise Stale(f"{self.path} is no longer the file that was planned")

    def is_now(self, found: Fingerprint) -> bool:
        """Whether the found file has this name at this moment, whatever was planned."""
        return found.is_same_file(_seen(self.folder, self.name))

    def check_copied(self, name: str) -> None:
        """As `check`, for a file that has a copy of this name."""
        try:
            self.check()
        except Stale as error:
            words = f"{error.message}; what it was stays as {name} where it was copied to"
            raise CopyStays(words) from error

    def refuse(self) -> None:
        """Raise NotRemovable if it certainly can't leave its folder."""
        if (found := permissions.obstacle(self.folder, self.name, self.path)) is not None:
            raise found

    def unlink(self) -> None:
        """Remove the name; one that is gone is no error. Raises NotRemovable if it still exists."""
        try:
            with suppress(FileNotFoundError):
                atomic.retry_transient(lambda: os.unlink(self.name, dir_fd=self.folder))
        except OSError as error:
            if not self._still_exists():
                raise
            raise self.refusal(error) from error

    def sync(self) -> None:
        """Make it durable that the name is gone."""
        atomic.fsync_folder_fd(self.folder)

    def refusal(self, error: OSError) -> NotRemovable:
        """The error for a failure that no check could predict."""
        folder = self.path.parent
        remedy = f"look at the owner, the permissions and the mounts of {folder}, and at its server's"
        return permissions.refusal(self.path, f"{folder}: {cause(error)}", remedy)

    def _still_exists(self) -> bool:
        try:
            return _seen(self.folder, self.name) == self.fingerprint
        except OSError:
            return False


@contextmanager
def _planned(root: Path, relative: str, fingerprint: Fingerprint) -> Iterator[_PlannedFile]:
    """The file, checked to be the planned one, and one that can leave its folder."""
    parts = parts_of(relative)
    with atomic.naming(root / relative), opened_folder(root, parts[:-1]) as here:
        file = _PlannedFile(here, parts[-1], fingerprint, root / relative)
        file.check()
        # Checked first, so that no large file is copied for nothing; the removal itself still decides.
        file.refuse()
        yield file


def _transfer(file: _PlannedFile, there: int, choice: Iterable[str]) -> str:
    """Bring the file into the open folder `there`, by rename if it is on the same filesystem.

    It gets the first free name; raises FileExistsError if none is free.
    """
    try:
        name = _first_free(choice, lambda name: _rename(file, there, name))
    except OSError as error:
        if error.errno == errno.EXDEV:
            return _copy(file, there, choice)
        if error.errno == errno.EBUSY:
            raise file.refusal(error) from error
        raise
    try:
        if (found := _seen(there, name)) != file.fingerprint:
            # The file was replaced at the last moment: the moved one goes back to where it was.
            linux.rename_noreplace(name, file.name, source_dir_fd=there, target_dir_fd=file.folder)
            file.expect(found)
    except (FileNotFoundError, FileExistsError) as error:
        # Not by itself, which would say that the file was gone before, or that the wanted name is taken.
        words = f"what was moved from {file.path} to {_place(there, name)} was changed there: {cause(error)}"
        raise StorageError(words, hint="look who else changes files in these folders") from error
    atomic.fsync_folder_fd(there)
    file.sync()
    return name


def _rename(file: _PlannedFile, there: int, name: str) -> None:
    try:
        linux.rename_noreplace(file.name, name, source_dir_fd=file.folder, target_dir_fd=there)
    except OSError as error:
        if error.errno not in atomic.NO_RENAME_FLAGS:
            raise
        _link_and_unlink(file, there, name)


def _link_and_unlink(file: _PlannedFile, there: int, name: str) -> None:
    """A move that never replaces, for network mounts, where a rename may replace."""
    try:
        _make_link(file, there, name)
        if (found := _seen(there, name)) != file.fingerprint:
            atomic.retry_transient(lambda: os.unlink(name, dir_fd=there))
            file.expect(found)
        atomic.fsync_folder_fd(there)
    except FileExistsError:
        raise
    except OSError as error:
        _take_back(error, file, there, name, made=file.fingerprint)
        raise
    _unlink_original(file, there, name)


def _make_link(file: _PlannedFile, there: int, name: str) -> None:
    tries = 0

    def link() -> None:
        nonlocal tries
        tries += 1
        os.link(file.name, name, src_dir_fd=file.folder, dst_dir_fd=there, follow_symlinks=False)

    try:
        atomic.retry_transient(link)
    except FileExistsError:
        # The name may come from an earlier try whose answer or second half was lost.
        if (found := _seen(there, name)) != file.fingerprint and not (tries > 1 and file.is_now(found)):
            raise


def _copy(file: _PlannedFile, there: int, choice: Iterable[str]) -> str:
    # Through /proc the open folder has a path even if its name changes.
    folder = Path(f"/proc/self/fd/{there}")
    with (
        copying.reading(file.folder, file.name) as source,
        atomic.staged(folder / next(iter(choice))) as part,
    ):
        file.expect(fingerprint_of(os.fstat(source.fileno())))
        copying.copy_into(source, part)
        file.expect(fingerprint_of(os.fstat(source.fileno())))
        name = _first_free(choice, lambda name: _publish(part, file, there, name))
    _unlink_original(file, there, name)
    return name


def _publish(part: atomic.Staged, file: _PlannedFile, there: int, name: str) -> None:
    """Publish a copy; if that fails halfway, as when the folder's fsync fails, no copy stays."""
    copy = fingerprint_of(part.path.lstat())
    try:
        atomic.publish(part, part.path.with_name(name))
    except FileExistsError:
        raise
    except OSError as error:
        _take_back(error, file, there, name, made=copy)
        raise


def _unlink_original(file: _PlannedFile, there: int, name: str) -> None:
    """Unlink a file that has a copy, or a second name, in the open folder `there`.

    If the original can't be removed, the copy is. If the original is gone, or is another file by now, the
    copy stays: it is the last one.
    """
    try:
        file.check_copied(name)
        # A run that took this clip over, because ours seemed dead, removes the copy. Only the size identifies
        # the copy with certainty: a file server may round its time and give it another inode number.
        size: int | None = None
        with suppress(FileNotFoundError):
            size = _seen(there, name).size
        if size != file.fingerprint.size:
            raise Stale(f"the copy of {file.path} did not stay where it was put")
        file.unlink()
    except FileNotFoundError:
        return
    except (OSError, NotRemovable) as error:
        _take_back(error, file, there, name)
        raise
    file.sync()


def _take_back(
    error: OSError | NotRemovable,
    file: _PlannedFile,
    there: int,
    name: str,
    *,
    made: Fingerprint | None = None,
) -> None:
    """Unlink the copy, or second name, of a file that could not be removed because of `error`.

    `made` is the file that may have got the name; without it, it has got it. If the original is gone, the
    copy stays. Raises NotRemovable with the copy's path if it isn't certain that the original stands, or if
    the copy can't be unlinked; Stale if the original is another file by now.
    """
    try:
        found = _seen(there, name)
        is_copy = made is None or (found.is_same_file(made) and found.size == made.size)
        # A file that was swapped in for the original may have got the name as its second one.
        if made is not None and not is_copy and not file.is_now(found):
            if found.size != made.size:
                return
            raise StorageError("it is not certain that this is its copy")
        if is_copy:
            file.check_copied(name)
        if not copying.both_stand((file.folder, file.name), (there, name)):
            raise StorageError("it is not certain that the original is whole")
        if is_copy:
            file.check_copied(name)
        atomic.retry_transient(lambda: os.unlink(name, dir_fd=there))
        atomic.fsync_folder_fd(there)
    except FileNotFoundError:
        return
    except (OSError, StorageError) as problem:
        copy = _place(there, name)
        first = error if isinstance(error, NotRemovable) else file.refusal(error)
        words = f"{first.message}; nor can its copy {copy}: {cause(problem)}"
        raise NotRemovable(words, hint=first.hint, copy=copy) from error


def _place(there: int, name: str) -> str:
    return os.fspath(Path(f"/proc/self/fd/{there}").readlink() / name)


def _first_free(choice: Iterable[str], take: Callable[[str], None]) -> str:
    """The first name that `take` accepts. Raises FileExistsError if all are taken."""
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
def opened_folder(
    root: Path, parts: tuple[str, ...], *, models: Mapping[int, Path] | None = None
) -> Iterator[int]:
    """The open folder below `root`. Raises Stale if a link or a file took the place of a folder.

    With `models` the folders that are missing are made, and get the access rights of these others, by
    their depth, or of the folder that they are made in.
    """
    with ExitStack() as opened:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.callback(linux.close_unwritten, folder)
        for depth, part in enumerate(parts):
            if models is not None:
                atomic.make_in(folder, part, models.get(depth))
            try:
                folder = os.open(part, FOLDER_FLAGS, dir_fd=folder)
            except OSError as error:
                if models is not None or error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                raise Stale(f"{part} on the way to {root.joinpath(*parts)} is no folder any more") from error
            opened.callback(linux.close_unwritten, folder)
        yield folder


def parts_of(relative: str) -> tuple[str, ...]:
    """The names on a path below a root. Raises ValueError for a path that may lead out of it."""
    parts = PurePosixPath(relative).parts
    if not parts or ".." in parts or parts[0] == "/":
        raise ValueError(f"{relative!r} is not a path below its root")
    return parts
