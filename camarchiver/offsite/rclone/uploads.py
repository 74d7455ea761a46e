"""Uploads that get their final name only when they are whole, where the remote can rename."""

from __future__ import annotations

import hashlib
import os
from itertools import count
from pathlib import Path
from typing import BinaryIO

from camarchiver.journal.writer import RunId
from camarchiver.offsite import names
from camarchiver.offsite.names import HASH_DIGITS
from camarchiver.offsite.rclone.remote import Remote


class StagedUploads:
    """The uploads of one run. A remote that can't rename shows no object before it is whole (S3, B2)."""

    def __init__(self, remote: Remote, run: RunId, archive: Path) -> None:
        """The archive root and the host tell this run's staged names from those of others at the remote."""
        self._remote = remote
        self._run = run.id
        identity = f"{run.host}\0".encode() + os.fsencode(archive)
        self._owner = hashlib.blake2b(identity).hexdigest()[:HASH_DIGITS]
        self._numbers = count(1)

    def upload(self, source: BinaryIO, name: str) -> None:
        """Upload an open file under this name. Raises RemoteError."""
        if not self._remote.can_move:
            self._remote.upload(source, name)
            return
        staged = names.staged_name(self._owner, self._run, next(self._numbers))
        self._remote.upload(source, staged)
        self._remote.move(staged, name)

    def sweep(self) -> None:
        """Remove what dead runs of this host left: no other one runs on this tree. Raises RemoteError."""
        if not self._remote.can_move:
            return
        for found in self._remote.listing(names.STAGED):
            if names.is_left_over(found.name, self._owner, self._run):
                self._remote.delete(found.name)
