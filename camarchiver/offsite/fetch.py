"""Brings a copy back from the remote: it is compared with its BLAKE2b before it gets the archive's name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from camarchiver.domain.clip import RemoteCopy
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import DAMAGED, Restore
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.transfers import Retries
from camarchiver.storage import anchored, atomic, copying, filesystems, permissions, removal
from camarchiver.storage.atomic import Staged


class CopyDiffers(RemoteError):
    """What the remote gave is not the archive; a line without TLS may have spoilt it."""

    code = DAMAGED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(RemoteErrorKind.CUT, message, hint=hint)


def bring_back(
    remote: Remote,
    step: Restore,
    *,
    model: Path,
    retries: Retries,
    make_way: Callable[[], None] | None = None,
) -> Outcome:
    """Put the archive of a step in its place; nothing of it stays if that fails.

    `model` is the root whose folders the new ones are as readable as. Another file in the place stays, unless
    `make_way` moves it away. The caller holds the clip's lock. Raises RemoteError or OSError.
    """
    copy, target, clip = step.offsite, step.path, step.clip
    assert copy is not None
    anchored.make_folder(clip.root, clip.folder, model=model)
    removal.remove_unfinished(clip.root, step.relative)
    if _has_bytes(target, copy):
        atomic.sync_file(target)
        atomic.fsync_folder(target.parent)
        return _back(step, "it was back already")
    exists = os.path.lexists(target)
    if exists and make_way is None:
        return Outcome(step, Result.SKIPPED, Reason.TAKEN, f"{target} is another file")
    try:
        with _fetched(remote, copy, target, clip.fingerprint.mtime_ns, retries) as part:
            if exists and make_way is not None:
                make_way()
            parts = anchored.parts_of(step.relative)[:-1]
            with anchored.opened_folder(clip.root, parts) as folder, atomic.naming(target):
                atomic.publish(part, target, folder=folder)
    except BaseException:
        removal.remove_empty_folders(clip.root, clip.folder)
        raise
    return _back(step, f"from {copy.remote}")


def _back(step: Restore, detail: str) -> Outcome:
    return Outcome(step, Result.DONE, step.reason, detail, os.fspath(step.path))


@contextmanager
def _fetched(
    remote: Remote,
    copy: RemoteCopy,
    target: Path,
    written_ns: int,
    retries: Retries,
) -> Iterator[Staged]:
    """The copy in a staged file beside `target`, whole, with the archive's BLAKE2b and time.

    It is as readable as its folder, and removed at the end unless it was published. Raises CopyDiffers,
    RemoteError or OSError, after three tries if a further one may help.
    """
    if filesystems.free_bytes(target.parent) < copy.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(target.parent))
    with atomic.staged(target) as part:
        retries.tried(lambda: _read(remote, copy, part))
        with part.path.open("rb") as stream:
            permissions.copy_access(target.parent, stream.fileno(), bits=0o666, least=0o600)
        os.utime(part.path, ns=(written_ns, written_ns))
        yield part


def _read(remote: Remote, copy: RemoteCopy, part: Staged) -> None:
    with part.path.open("wb") as stream:

        def take(block: bytes) -> None:
            if stream.tell() + len(block) > copy.size:
                raise CopyDiffers(f"{copy.remote}: {copy.name} is longer than the archive was")
            stream.write(block)

        remote.read(copy.name, take)
    # From the disk, not from the line: what gets the name is what was compared.
    if copying.file_digest(part.path) != copy.digest:
        raise CopyDiffers(
            f"{copy.remote}: {copy.name} has other bytes than the archive had",
            hint="the copy is damaged or was replaced; camarchiver offsite verify looks at the others",
        )


def _has_bytes(path: Path, copy: RemoteCopy) -> bool:
    """Whether the archive's own bytes are in its place: a run may have died before it journalled that."""
    try:
        status = path.lstat()
        is_it = stat.S_ISREG(status.st_mode) and status.st_size == copy.size
        return is_it and copying.file_digest(path) == copy.digest
    except OSError:
        return False
