"""Remembers which clips an operator restored, so that the next run does not remove them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from camarchiver.domain.memory import Restored
from camarchiver.storage import atomic, run_lock

FILE = "restored.json"


def read(state: Path) -> Mapping[str, Restored]:
    """By relative path; StorageError when the file and its backup can't be read."""
    return atomic.read_entries(state / FILE, Restored)


def note(state: Path, clips: Iterable[tuple[str, tuple[int, int]]], at: datetime) -> None:
    """Add clips by their source's path, size and mtime_ns, and forget those whose grace period is over."""
    with run_lock.guarded(state / "restored.lock"):
        kept = {path: found for path, found in read(state).items() if found.is_recent(at)}
        kept |= {source: Restored(*identity, at) for source, identity in clips}
        atomic.write_json(state / FILE, msgspec.to_builtins(kept))
