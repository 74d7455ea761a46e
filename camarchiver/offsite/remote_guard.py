"""Refuses a remote within the trees, and distinguishes failures of the remote from those of one object."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from camarchiver.domain.clip import Trees
from camarchiver.errors import UsageError
from camarchiver.journal.store import Journal
from camarchiver.offsite import manifest
from camarchiver.offsite.names import MANIFESTS, read_manifest
from camarchiver.offsite.rclone import backends as backends_of
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.rclone.backends import RemoteBackend
from camarchiver.offsite.rclone.errors import ENDS_RUN, RemoteError, RemoteErrorKind, error_of
from camarchiver.offsite.rclone.remote import RcloneSettings, Remote
from camarchiver.pipeline import Pipeline
from camarchiver.storage.filesystems import resolved

_SAMPLE = 4
"""Journalled copies that are looked for, the newest ones, and manifests that are read."""

_HEAD = 1 << 16
"""Bytes of a copy that are read to see whether it can be decrypted: `crypt` proves blocks of 64 KiB."""


def check_apart(trees: Trees, remote: str, found: Iterable[RemoteBackend] | None = None) -> None:
    """Refuse a remote that lies in the trees, or around them. Raises UsageError.

    `found` are its backends; without them only what the remote itself says is looked at, not rclone's config.
    A remote whose location is unknown is not refused.
    """
    for backend in backends_of.backends(remote, {}, os.environ) if found is None else found:
        if backend.kind != "local":
            continue
        place = resolved(Path(backend.folder))
        for root in (trees.source, trees.archive, trees.trash, trees.state):
            if place.is_relative_to(root) or (backend.is_exact and root.is_relative_to(place)):
                where = "" if remote == os.fspath(place) else f"it leads to {place}, and "
                raise UsageError(
                    f"{remote} is not a separate place: {where}{root} lies there",
                    hint="name a folder on another disk, or a remote of rclone's config",
                )


@contextmanager
def opened_apart(pipeline: Pipeline, settings: RcloneSettings) -> Iterator[RemoteGuard]:
    """A remote for copies of these trees, until the end of the block.

    Raises RemoteError or ConfigError if it can't be used, UsageError if it lies in the trees.
    """
    with remotes.opened(settings) as remote:
        check_apart(pipeline.trees, remote.label, remote.backends)
        yield RemoteGuard(remote, pipeline.journal)


class RemoteGuard:
    """Whether one remote is the place of the copies that the journal knows; for any thread."""

    def __init__(self, remote: Remote, journal: Journal) -> None:
        self.remote = remote
        self._journal = journal
        self._mutex = threading.Lock()
        self._proved = ""
        """A copy that was read, the newest."""

    def proved(self, name: str) -> None:
        """A copy with this name was read and is good."""
        self._proved = name

    def require_known(self) -> None:
        """Refuse a remote at which neither one of the newest journalled copies nor a manifest can be read.

        A single copy counts as missing or different only if another one can be read there. Raises RemoteError
        that ends the run.
        """
        with self._mutex:
            why = ""
            for name in self._names():
                why = self._flaw(name)
                if not why:
                    self._proved = name
                    return
            if why and not self._has_manifest():
                raise error_of(RemoteErrorKind.UNKNOWN_PLACE, self.remote.label, why)

    def of_reading(self, error: RemoteError) -> RemoteError:
        """The error to report for one of reading a copy: that of the remote, if no other can be read."""
        if error.kind in ENDS_RUN:
            return error
        try:
            self.require_known()
        except RemoteError as found:
            return found
        return error

    def _names(self) -> Iterator[str]:
        """Copies that should be there, the last one that was read first."""
        if self._proved:
            yield self._proved
        yield from islice(self._journalled(), _SAMPLE)

    def _journalled(self) -> Iterator[str]:
        for day in reversed(self._journal.days()):
            for (place, _, _), copy in self._journal.day(day).ledger.copies.items():
                if place == self.remote.label and copy.lost is None:
                    yield copy.name

    def _flaw(self, name: str) -> str:
        """Why a copy's beginning can't be read; empty if it can. Raises RemoteError that ends the run."""
        try:
            count = self.remote.read(name, lambda block: None, first=_HEAD)
        except RemoteError as error:
            if error.kind in ENDS_RUN:
                raise
            return error.message.removeprefix(f"{self.remote.label}: ")
        return "" if count else f"{name} is empty"

    def _has_manifest(self) -> bool:
        """Whether one of the newest manifests can be read whole. Raises RemoteError that ends the run."""
        try:
            found = self.remote.listing(MANIFESTS, recursive=True)
        except RemoteError as error:
            if error.kind in ENDS_RUN:
                raise
            return False
        known = sorted((each.name for each in found if read_manifest(each.name)), reverse=True)
        return any(self._reads_manifest(name) for name in known[:_SAMPLE])

    def _reads_manifest(self, name: str) -> bool:
        text, read = bytearray(), read_manifest(name)
        assert read is not None
        try:
            self.remote.read(name, text.extend)
            manifest.parse(bytes(text), read[1])
        except (RemoteError, ValueError) as error:
            if isinstance(error, RemoteError) and error.kind in ENDS_RUN:
                raise
            return False
        return True
