"""Reads a copy from the remote into a staged file, and compares it with its BLAKE2b before it gets a name."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from camarchiver.domain.clip import RemoteCopy
from camarchiver.domain.steps import DAMAGED
from camarchiver.errors import CamarchiverError
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.rclone.trouble import PASSING, RemoteError
from camarchiver.storage import atomic, copying, filesystems, permissions
from camarchiver.storage.atomic import Staged

PAUSES = (1.0, 5.0)
"""Seconds before the second and the third try: a line may be cut, and flips bits without TLS."""


class CopyDiffers(CamarchiverError):
    """What the remote gave is not the archive."""

    code = DAMAGED


@contextmanager
def fetched(
    remote: Remote,
    copy: RemoteCopy,
    target: Path,
    written_ns: int,
    *,
    stopped: Event,
) -> Iterator[Staged]:
    """The copy in a staged file beside `target`, whole, with the archive's BLAKE2b and time.

    It is as readable as its folder, and removed at the end unless it was published. Raises CopyDiffers,
    RemoteError or OSError, after three tries if a further one may help.
    """
    if filesystems.free_bytes(target.parent) < copy.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(target.parent))
    with atomic.staged(target) as part:
        for pause in (*PAUSES, None):
            try:
                _read(remote, copy, part)
                break
            except (CopyDiffers, RemoteError) as error:
                is_lasting = isinstance(error, RemoteError) and error.trouble not in PASSING
                if is_lasting or pause is None or stopped.wait(pause):
                    raise
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
    if copying.digest_of(part.path) != copy.digest:
        raise CopyDiffers(
            f"{copy.remote}: {copy.name} has other bytes than the archive had",
            hint="the copy is damaged or was replaced; camarchiver offsite verify looks at the others",
        )


def has_bytes(path: Path, copy: RemoteCopy) -> bool:
    """Whether the archive's own bytes are in its place: a run may have died before it journalled that."""
    try:
        status = path.lstat()
        is_it = stat.S_ISREG(status.st_mode) and status.st_size == copy.size
        return is_it and copying.digest_of(path) == copy.digest
    except OSError:
        return False
