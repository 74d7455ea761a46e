"""Uploads that get their final name only when they are whole, where the remote can rename."""

from __future__ import annotations

import contextlib
import hashlib
import os
from itertools import count
from pathlib import Path
from typing import BinaryIO

from camarchiver.journal.writer import RunId
from camarchiver.offsite import names
from camarchiver.offsite.names import HASH_DIGITS
from camarchiver.offsite.rclone.errors import ENDS_RUN, RemoteError, RemoteErrorKind, error_of
from camarchiver.offsite.rclone.remote import Remote

_PROBE = b"camarchiver looks whether it can write and read here\n"


class StagedUploads:
    """The uploads of one run. A remote that can't rename shows no object before it is whole (S3, B2)."""

    def __init__(self, remote: Remote, run: RunId, archive: Path) -> None:
        """The archive root and the host distinguish this run's staged names from those of other archives."""
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
        staged = self._staged_name()
        self._remote.upload(source, staged)
        self._remote.move(staged, name)

    def probe(self) -> None:
        """Write a few bytes, give them another name where that is possible, read and remove them.

        Raises RemoteError if the remote does not take them, or does not give them back.
        """
        name = self._staged_name()
        with os.fdopen(os.memfd_create("probe"), "wb+") as stream:
            stream.write(_PROBE)
            stream.flush()
            self._remote.upload(stream, name)
        if self._remote.can_move:
            before, name = name, self._staged_name()
            self._remote.move(before, name)
        arrived = bytearray()
        self._remote.read(name, arrived.extend)
        # Where nothing may be deleted these bytes stay; that is no fault of the remote.
        with contextlib.suppress(RemoteError):
            self._remote.delete(name)
        if arrived != _PROBE:
            raise RemoteError(RemoteErrorKind.CUT, f"{self._remote.label}: {name} differs from what was sent")

    def of_writing(self, error: RemoteError) -> RemoteError:
        """The error to report for one of making a copy: that of the remote, if it takes nothing at all."""
        if error.kind in ENDS_RUN or error.kind is RemoteErrorKind.NAME:
            return error
        try:
            self.probe()
        except RemoteError as found:
            if found.kind in ENDS_RUN:
                return found
            why = found.message.removeprefix(f"{self._remote.label}: ")
            return error_of(RemoteErrorKind.NO_ACCESS, self._remote.label, why)
        return error

    def _staged_name(self) -> str:
        return names.staged_name(self._owner, self._run, next(self._numbers))

    def sweep(self) -> None:
        """Remove what dead runs of this host left: no other one runs on this tree. Raises RemoteError."""
        if not self._remote.can_move:
            return
        for found in self._remote.listing(names.STAGED):
            if names.is_left_over(found.name, self._owner, self._run):
                self._remote.delete(found.name)
