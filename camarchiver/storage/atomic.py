"""Files that appear under their name whole and durable, or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TypeVar

from msgspec import Struct

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.domain.untrusted import convert, value_of
from camarchiver.errors import StorageError, cause, remedy
from camarchiver.naming.paths import NAME_MAX
from camarchiver.storage import linux, permissions

_log = logging.getLogger("camarchiver.storage.atomic")

NO_RENAME_FLAGS = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of a filesystem that can't rename without replacing."""

_TRANSIENT = frozenset({errno.ESTALE, errno.ETIMEDOUT, errno.EINTR})
_PAUSES = (0.1, 0.5)
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF})
_SUFFIX_CHARACTERS = 16

T = TypeVar("T")


class Staged(Struct, frozen=True):
    """An unfinished file under a hidden random name beside its final one."""

    path: Path


@contextlib.contextmanager
def staged(target: Path, *, announce: Callable[[Path], None] | None = None) -> Iterator[Staged]:
    """An empty file of mode 0600 beside `target`, removed at the end unless it was published.

    It keeps the target's suffix, by which ffmpeg chooses the container. `announce` gets its path before
    it appears.
    """
    part = Staged(target.with_name(_staged_name(target.name)))
    if announce is not None:
        announce(part.path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = retry_transient(lambda: os.open(part.path, flags, 0o600))
    try:
        os.close(descriptor)
        yield part
    finally:
        # A file that can't be removed now is swept at the next start; an error in progress matters more.
        with contextlib.suppress(OSError):
            part.path.unlink()


def publish(part: Staged, target: Path, *, folder: int | None = None) -> None:
    """Make the staged file durable and give it its final name, in the same folder.

    It never replaces: it raises FileExistsError if the name is taken, and the staged file stays.
    It raises StorageError on a filesystem that offers no safe way. An error of fsync is final: the kernel
    reports it only once. With `folder`, which is open, both names are in that folder, whatever has taken its
    path meanwhile.
    """
    if folder is not None:
        here = Path(f"/proc/self/fd/{folder}")
        part, target = Staged(here / part.path.name), here / target.name
    sync_file(part.path)
    try:
        retry_transient(lambda: os.link(part.path, target, follow_symlinks=False))
    except FileExistsError:
        # A network server may have made the link although its answer was lost.
        if not _same_file(part.path, target):
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_new(part.path, target)
    try:
        part.path.unlink(missing_ok=True)
    except OSError:
        # This is not the last name: the staged one could not be removed, so it still exists.
        with contextlib.suppress(OSError):
            if _same_file(part.path, target):
                target.unlink()
        raise
    fsync_folder(target.parent)


def write_text(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace the file's content in one durable step; if it fails, the old content stays."""
    write_bytes(path, _encoded(text), mode=mode)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o600, staging: Path | None = None) -> None:
    """Like `write_text`, for a file that is no text.

    `staging` is the folder of the unfinished file if it is not the file's own; it is on the same filesystem.
    """
    with staged((staging or path.parent) / path.name) as part:
        _fill(part.path, content, mode=mode)
        part.path.replace(path)
        fsync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """Replace a JSON file and keep its previous version as `NAME.bak`; on an error the old one stays.

    Raises TypeError or ValueError, and changes nothing, if the value can't be written as JSON.
    """
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    backup = backup_of(path)
    with staged(path) as part:
        _fill(part.path, _encoded(text), mode=0o600)
        previous = _read_valid(path)
        if previous is not None:
            write_text(backup, previous)
        part.path.replace(path)
        try:
            fsync_folder(path.parent)
        except OSError:
            _roll_back(path, backup)
            raise


def read_json(path: Path) -> object | None:
    """The file's value, or its backup's if the file is torn or lost; None if there never was one.

    Raises StorageError if neither can be read, and at once for a file that we have no right to read: an
    older version in its place could lack what another process wrote.
    """
    try:
        if is_missing(path) and is_missing(backup_of(path)):
            return None
        text = _read_valid(path)
        if text is None:
            text = _read_valid(backup_of(path))
            if text is not None:
                _log.warning("%s can't be read; using its backup", path)
    except OSError as error:
        raise StorageError(
            f"{path} can't be read: {cause(error)}", hint=remedy(error, "check the disk and its mount")
        ) from error
    if text is None:
        raise StorageError(
            f"{path} and its backup {backup_of(path).name} can't be understood",
            hint="put back a copy of your own, or move both away to start afresh",
        )
    value: object = value_of(text)
    return value


def is_missing(path: Path) -> bool:
    """Whether nothing has this path; what can't be looked at may be there.

    Path.exists() says no of a link that leads nowhere, and from Python 3.14 on after any error.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def read_entries(path: Path, kind: type[T]) -> dict[str, T]:
    """The entries of a JSON file that holds one for each path; the log names a file with invalid ones.

    Raises StorageError as `read_json`.
    """
    stored = read_json(path)
    if stored is None:
        return {}
    entries: dict[str, T] = {}
    for key, value in stored.items() if isinstance(stored, dict) else ():
        with contextlib.suppress(ValueError):
            entries[key] = convert(value, kind)
    invalid = len(stored) - len(entries) if isinstance(stored, dict) else 1
    if invalid:
        _warn_of_entries(path, invalid)
    return entries


@functools.lru_cache(maxsize=8)
def _warn_of_entries(path: Path, invalid: int) -> None:
    """Log it once: such a file is read again before each removal."""
    _log.warning(
        "%s: %d entries can't be understood and were passed over; correct or delete them", path, invalid
    )


def make_folders(path: Path, *, model: Path | None = None) -> None:
    """Make the folder and its parents durably.

    Each new one gets the access rights of the folder `model`, by default those that the umask leaves.
    """
    for new in _missing(path):
        with contextlib.suppress(FileExistsError):
            if model is None:
                new.mkdir()
            else:
                make_like(new, model)
        fsync_folder(new.parent)


def make_private_folders(path: Path) -> None:
    """Make a folder of our own state and its parents durably, with access for nobody but this user.

    Folders above the state folder get the access rights of the folder that they are made in.
    """
    depth = path.parts.index(STATE_FOLDER) if STATE_FOLDER in path.parts else 0
    for new in _missing(path):
        with contextlib.suppress(FileExistsError):
            if len(new.parts) <= depth:
                make_like(new, new.parent)
            else:
                new.mkdir(mode=stat.S_IRWXU)
        fsync_folder(new.parent)


def make_like(folder: Path | str, model: Path | int, *, dir_fd: int | None = None) -> None:
    """Make a folder with the access rights of another one; what this user needs to write it is added."""
    os.mkdir(folder, stat.S_IMODE(permissions.status_of(model).st_mode) | stat.S_IRWXU, dir_fd=dir_fd)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(folder, flags, dir_fd=dir_fd)
    try:
        permissions.copy_access(model, descriptor, least=stat.S_IRWXU)
    finally:
        linux.close_unwritten(descriptor)


def make_in(folder: int, name: str, model: Path | None) -> None:
    """Make a folder in an open one durably, with the access rights of `model`, or else those of the open one.

    One that exists stays as it is.
    """
    with contextlib.suppress(FileExistsError):
        make_like(name, folder if model is None else model, dir_fd=folder)
        fsync_folder_fd(folder)


def _missing(path: Path) -> tuple[Path, ...]:
    """The folders that must be made for this one, the uppermost first."""
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    return tuple(reversed(missing))


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk; an error is final, a second try could lie."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        linux.close_unwritten(descriptor)


def fsync_folder(path: Path) -> None:
    """Wait until the folder's names are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fsync_folder_fd(descriptor)
    finally:
        linux.close_unwritten(descriptor)


def fsync_folder_fd(descriptor: int) -> None:
    """`fsync_folder` of an open folder; succeeds also on a filesystem that can't sync folders."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def retry_transient(call: Callable[[], T]) -> T:
    """The call's result; it is tried three times if it meets a transient error of a network mount."""
    for pause in _PAUSES:
        try:
            return call()
        except OSError as error:
            if error.errno not in _TRANSIENT:
                raise
        time.sleep(pause)
    return call()


@contextlib.contextmanager
def naming(*paths: Path) -> Iterator[None]:
    """Make errors of calls by descriptor name the whole paths."""
    try:
        yield
    except OSError as error:
        source, *target = map(str, paths)
        raise OSError(error.errno, error.strerror, source, None, *target) from error


def truncate_name(stem: str, ending: str) -> str:
    """`stem` and `ending` as one name, the stem cut so that the name is not too long."""
    available = NAME_MAX - len(os.fsencode(ending))
    while len(os.fsencode(stem)) > available:
        stem = stem[:-1]
    return stem + ending


_STAGED = re.compile(r"\.(?P<stem>.*)\.(?P<token>[0-9a-f]{16})\.staged(?:\.[^.]*)?", re.DOTALL)


def staged_stem(name: str) -> str | None:
    """The stem of the file that a staged name was made for, cut if it was long; None for other names."""
    match = _STAGED.fullmatch(name)
    return match["stem"] if match else None


def is_staged_for(staged_name: str, name: str) -> bool:
    """Whether an unfinished file of this name was to become `name` in the same folder."""
    match = _STAGED.fullmatch(staged_name)
    return match is not None and staged_name == _staged_name(name, match["token"])


def _staged_name(name: str, token: str = "") -> str:
    stem, suffix = _split(name)
    return truncate_name(f".{stem}", f".{token or secrets.token_hex(8)}.staged{suffix}")


def _split(name: str) -> tuple[str, str]:
    path = PurePath(name)
    return (path.stem, path.suffix) if len(path.suffix) <= _SUFFIX_CHARACTERS else (name, "")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _fill(path: Path, content: bytes, *, mode: int) -> None:
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except OSError as error:  # of a call that knows no name
        error.filename = error.filename or os.fspath(path)
        raise


def backup_of(path: Path) -> Path:
    """The path of the previous version of a JSON file."""
    return path.with_name(f"{path.name}.bak")


def _read_valid(path: Path) -> str | None:
    """The text of a JSON file; None when there is none or it isn't JSON."""
    try:
        text = retry_transient(lambda: path.read_text(encoding="utf-8"))
        value_of(text)
    except (FileNotFoundError, ValueError):
        return None
    return text


def _roll_back(path: Path, backup: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if backup.exists():
            backup.replace(path)
        else:
            path.unlink()


def _rename_new(source: Path, target: Path) -> None:
    """Rename without replacing. Raises StorageError with a remedy if the filesystem can't do that."""
    try:
        linux.rename_noreplace(source, target)
    except OSError as error:
        if error.errno not in NO_RENAME_FLAGS:
            raise
        raise StorageError(
            f"the filesystem of {target.parent} can neither link files nor rename them without replacing "
            f"others, so {target.name} can't be put there safely",
            hint="keep this folder on ext4, XFS, btrfs, NFS, SMB or the kernel's own exFAT or vfat",
        ) from error


def _same_file(one: Path, other: Path) -> bool:
    return os.path.samestat(one.lstat(), other.lstat())
