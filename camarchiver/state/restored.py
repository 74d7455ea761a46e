"""Remembers which clips an operator restored, so that the next run does not remove them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from camarchiver.domain.memory import Restored
from camarchiver.domain.untrusted import moment_of, whole_of
from camarchiver.storage import atomic, run_lock

FILE = "restored.json"


def read(state: Path) -> Mapping[str, Restored]:
    """By relative path; StorageError when the file and its backup can't be read."""
    stored = atomic.read_json(state / FILE)
    if not isinstance(stored, dict):
        return {}
    return {path: found for path, fields in stored.items() if (found := _restored(fields))}


def note(state: Path, clips: Iterable[tuple[str, tuple[int, int]]], at: datetime) -> None:
    """Add clips by their source's path, size and mtime_ns, and forget those whose grace period is over."""
    with run_lock.guarded(state / "restored.lock"):
        kept = {path: found for path, found in read(state).items() if found.is_recent(at)}
        kept |= {source: Restored(*identity, at) for source, identity in clips}
        fields = {
            path: {"size": found.size, "mtime_ns": found.mtime_ns, "at": found.at.isoformat()}
            for path, found in kept.items()
        }
        atomic.write_json(state / FILE, fields)


def _restored(fields: object) -> Restored | None:
    if not isinstance(fields, dict):
        return None
    try:
        return Restored(whole_of(fields["size"]), whole_of(fields["mtime_ns"]), moment_of(fields["at"]))
    except (KeyError, ValueError):
        return None
