"""Writes the manifests of the days that got copies, and remembers those that are still to be written."""

from __future__ import annotations

import hashlib
import os
from datetime import date, datetime
from functools import partial

from camarchiver.offsite import manifest
from camarchiver.offsite.names import manifest_name
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.rclone.uploads import StagedUploads
from camarchiver.offsite.transfers import Retries
from camarchiver.pipeline import Pipeline
from camarchiver.state import offsite_state


class ManifestWriter:
    """Keeps the manifests at one remote up to date; for one thread."""

    def __init__(self, pipeline: Pipeline, remote: Remote, uploads: StagedUploads, retries: Retries) -> None:
        self._retries = retries
        self._pipeline = pipeline
        self._state = pipeline.trees.state
        self._remote = remote
        self._uploads = uploads
        self._due = set(offsite_state.due_manifests(self._state, remote.label))

    def due_after(self, start: datetime | None) -> None:
        """A clip of that time gets a copy: the manifest of its day is due, also if the run dies."""
        day = start.date() if start is not None else None
        if day is not None and day not in self._due:
            offsite_state.change_due(self._state, self._remote.label, add={day})
            self._due.add(day)

    def write(self) -> None:
        """Write every manifest that is due. Raises RemoteError or OSError; the rest stays due."""
        for day in sorted(self._due):
            self._retries.tried(partial(self._write, day))
            self._due.discard(day)
            offsite_state.change_due(self._state, self._remote.label, remove={day})

    def _write(self, day: date) -> None:
        text = manifest.of_day(day, self._pipeline.journal.day(day).ledger, self._remote.label)
        if text is None:
            return
        name = manifest_name(day, text)
        with os.fdopen(os.memfd_create("manifest"), "wb+") as stream:
            stream.write(text)
            stream.flush()
            self._uploads.upload(stream, name)
        arrived = hashlib.blake2b()
        self._remote.read(name, arrived.update)
        if arrived.digest() != hashlib.blake2b(text).digest():
            raise RemoteError(RemoteErrorKind.CUT, f"{self._remote.label}: {name} differs from what was sent")
