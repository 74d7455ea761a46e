"""Copies access rights, and finds out, without trying, what keeps a file in its folder."""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from camarchiver.errors import NotRemovable, user_name
from camarchiver.storage import linux
from camarchiver.storage.linux import Attributes

_FLAG = {Attributes.IMMUTABLE: "-i", Attributes.APPEND_ONLY: "-a"}

_ACL = "system.posix_acl_access"
"""The attribute that holds a file's access control list (acl(5))."""


def copy_access(model: Path | int, target: int, *, bits: int = 0o7777, least: int = 0) -> None:
    """Give an open file or folder the owner, group, mode and access control list of another one.

    `bits` of the mode are copied, and `least` are set in any case. What this user or the filesystem can't set
    is left out: only root may give files away. Raises OSError if the model can't be examined.
    """
    status = status_of(model)
    with suppress(OSError):
        os.fchown(target, status.st_uid, -1)
    with suppress(OSError):
        os.fchown(target, -1, status.st_gid)
    with suppress(OSError):
        os.fchmod(target, stat.S_IMODE(status.st_mode) & bits | least)
    with suppress(OSError):
        os.setxattr(target, _ACL, os.getxattr(model, _ACL))


def status_of(model: Path | int) -> os.stat_result:
    """The state of a file or folder, named or open."""
    return os.fstat(model) if isinstance(model, int) else model.stat()


def models(root: Path, source: tuple[str, ...], target: tuple[str, ...]) -> dict[int, Path]:
    """Whose access rights new folders get, for each depth of `target`.

    These are those of the folder of the same name below `root`, counted from the last one: `input/front/2026`
    gets those of `front/2026`, and the root itself is for `input`.
    """
    return {depth: path for depth, path in _models(root, source, target).items() if _is_folder(path)}


def _models(root: Path, source: tuple[str, ...], target: tuple[str, ...]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    shift = len(target) - len(source)
    for depth in range(len(target) - 1, max(shift, 0) - 1, -1):
        if target[depth] != source[depth - shift]:
            return found
        found[depth] = root.joinpath(*source[: depth - shift + 1])
    if shift > 0:
        found[shift - 1] = root
    return found


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def obstacle(folder: int, name: str, path: Path) -> NotRemovable | None:
    """Why a file can't be unlinked or renamed out of the open folder; None if nothing certainly forbids it.

    It checks what the kernel checks (`may_delete` in Linux' fs/namei.c), as far as a program can see it.
    `path` is the file's, for the message. Raises OSError if the file or the folder can't be examined.
    """
    place, where = path.parent, shlex.quote(str(path.parent))
    if os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        return refusal(path, f"{place} is mounted read-only", f"mount it writable: findmnt -T {where}")
    if found := linux.attributes(folder):
        return refusal(path, f"{place} is {_words(found)}", f"chattr {_options(found)} {where}")
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
        owner, user = user_name(os.fstat(folder).st_uid), user_name()
        return refusal(
            path,
            f"{place} belongs to user {owner} and can't be written by user {user}",
            f"give user {user} the right to write {where}, or run as user {owner}",
        )
    if found := _attributes_of(folder, name):
        return refusal(path, f"it is {_words(found)}", f"chattr {_options(found)} {shlex.quote(str(path))}")
    return _sticky(folder, name, path)


def refusal(path: Path, why: str, remedy: str) -> NotRemovable:
    """The error with this cause and remedy."""
    return NotRemovable(f"{path.name} can't be removed: {why}", hint=remedy)


def _sticky(folder: int, name: str, path: Path) -> NotRemovable | None:
    """In a folder with the sticky bit only the owners of folder and file may remove it (inode(7))."""
    around, own = os.fstat(folder), os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not around.st_mode & stat.S_ISVTX or os.geteuid() in (around.st_uid, own.st_uid):
        return None
    if linux.is_as_owner() is not False:
        return None
    owner = user_name(own.st_uid)
    return refusal(
        path,
        f"{path.parent} has the sticky bit, and the file belongs to user {owner}",
        f"chmod -t {shlex.quote(str(path.parent))}, or run as user {owner}",
    )


def _attributes_of(folder: int, name: str) -> Attributes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return Attributes(0)
    try:
        return linux.attributes(descriptor)
    finally:
        linux.close_unwritten(descriptor)


def _words(found: Attributes) -> str:
    return " and ".join(str(each.name).lower().replace("_", "-") for each in found)


def _options(found: Attributes) -> str:
    return " ".join(_FLAG[each] for each in found)
