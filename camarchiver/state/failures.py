"""Remembers which clips could not be archived or removed, so that they are not tried every night."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from camarchiver.domain.clip import Clip
from camarchiver.domain.memory import Failure
from camarchiver.domain.reason import Reason
from camarchiver.errors import StorageError, sentence
from camarchiver.storage import atomic, run_lock

_log = logging.getLogger("camarchiver.state.failures")

WRITE_EVERY_SECONDS = 2.0
"""Interval between writes: each one rewrites the whole file, and a run may have thousands of failures."""


class Failures:
    """`failures.json`, or another file: by relative path, with the fingerprint that failed."""

    def __init__(self, state: Path, file: str = "failures.json") -> None:
        self._path = state / file
        self._mutex = threading.Lock()
        self._changes: dict[str, Failure | None] = {}
        self._written = 0.0
        self._known = self._read()

    def known(self) -> Mapping[str, Failure]:
        """What earlier runs remembered."""
        return self._known

    def of_missing_files(self, source: Path) -> tuple[str, ...]:
        """The remembered paths at which no file exists any more below `source`."""
        return tuple(path for path in self._known if not os.path.lexists(source / path))

    def of(self, path: str) -> Failure | None:
        """The remembered failure of one clip, also from this run."""
        with self._mutex:
            return self._changes[path] if path in self._changes else self._known.get(path)

    def note(self, clip: Clip, reason: Reason, detail: str, at: datetime) -> None:
        """Remember one more failure; for a changed file the count begins again."""
        before = self._known.get(clip.relative)
        print_of = clip.fingerprint.identity
        failure = Failure(*print_of, 1, at, reason, detail)
        if (
            before is not None
            and (before.size, before.mtime_ns) == print_of
            and before.is_of_removal == failure.is_of_removal
        ):
            failure = replace(failure, count=before.count + 1)
        self._change(clip.relative, failure)

    def forget(self, clip: Clip) -> None:
        """Forget a clip's failures, because it succeeded."""
        if clip.relative in self._known:
            self._change(clip.relative, None)

    def forget_all(self, paths: Iterable[str]) -> None:
        """Forget clips that are gone; written at once."""
        for path in paths:
            with self._mutex:
                self._changes[path] = None
        self.flush()

    def flush(self) -> None:
        """Write pending changes, merged with those that other processes wrote meanwhile."""
        with self._mutex:
            if not self._changes:
                return
            with run_lock.guarded(self._path.with_suffix(".lock")):
                merged = {**self._read(), **self._changes}
                kept = {path: failure for path, failure in merged.items() if failure is not None}
                atomic.write_json(self._path, msgspec.to_builtins(kept))
            self._known = kept
            self._changes = {}
            self._written = time.monotonic()

    def _change(self, path: str, failure: Failure | None) -> None:
        with self._mutex:
            self._changes[path] = failure
        if time.monotonic() - self._written > WRITE_EVERY_SECONDS:
            try:
                self.flush()
            except (OSError, StorageError) as error:
                # Tried again at the next failure, and at the end of the run, where it is an error of the run.
                _log.warning("what failed can't be written down now: %s", sentence(error))

    def _read(self) -> dict[str, Failure]:
        return atomic.read_entries(self._path, Failure)
