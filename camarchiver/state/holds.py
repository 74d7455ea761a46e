"""Reads and writes `holds.json`: the time ranges that nothing may remove."""

from __future__ import annotations

import json
import secrets
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from camarchiver.domain.hold import Hold
from camarchiver.domain.untrusted import YEARS, AwareDatetime, Typed, convert, decode
from camarchiver.errors import StorageError, UsageError
from camarchiver.storage import atomic, run_lock

FILE = "holds.json"


class _StoredHold(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """One hold, also as a person writes it."""

    id: Typed
    start: AwareDatetime
    end: AwareDatetime
    camera: Typed = ""
    reason: Typed = ""
    until: AwareDatetime | None = None

    def __post_init__(self) -> None:
        if not self.id.isprintable():
            raise ValueError("nobody could type the name of this hold")


class _HoldsFile(Struct, frozen=True):
    """What `holds.json` holds; the times of each hold are read by themselves."""

    holds: tuple[dict[str, Any], ...]


def read(state: Path) -> tuple[Hold, ...]:
    """All holds of the file and its backup, so that a half-written change can only hold more.

    Raises StorageError if there were holds and neither copy can be read.
    """
    paths = [path for path in _copies(state) if not atomic.is_missing(path)]
    copies = [copy for path in paths if (copy := _copy(path)) is not None]
    if paths and not copies:
        raise StorageError(
            f"{state / FILE} and its backup can't be read, so it is not known what is held",
            hint="restore one of them, or run: camarchiver hold list --repair",
        )
    return tuple({hold.id: hold for copy in copies for hold in copy}.values())


def add(
    state: Path, start: datetime, end: datetime, *, camera: str, reason: str, until: datetime | None
) -> Hold:
    """Hold the clips between two moments from now on. Raises UsageError for an empty range."""
    if end <= start:
        raise UsageError("the hold ends before it begins", hint="give --from the earlier time")
    hold = Hold(secrets.token_hex(4), start, end, camera, reason, until)
    with _changing(state):
        _write(state, (*read(state), hold))
    return hold


def remove(state: Path, name: str) -> Hold:
    """End a hold: the policy applies to its clips again. Raises UsageError if there is none."""
    with _changing(state):
        holds = read(state)
        gone = next((hold for hold in holds if hold.id == name), None)
        if gone is None:
            raise UsageError(f"there is no hold {name}", hint="camarchiver hold list shows them all")
        _write(state, tuple(hold for hold in holds if hold is not gone))
    return gone


def repair(state: Path) -> tuple[Path, ...]:
    """Make both copies readable again; copies that can't be read are put aside, under the names returned."""
    aside = []
    with _changing(state):
        for path in _copies(state):
            if not atomic.is_missing(path) and _copy(path) is None:
                target = path.with_name(f"{path.name}.unreadable-{secrets.token_hex(4)}")
                path.rename(target)
                aside.append(target)
        atomic.fsync_folder(state)
        _write(state, read(state))
    return tuple(aside)


def _changing(state: Path) -> AbstractContextManager[None]:
    atomic.make_private_folders(state)
    return run_lock.guarded(state / "holds.lock")


def _copies(state: Path) -> tuple[Path, Path]:
    return state / FILE, state / (FILE + ".bak")


def _write(state: Path, holds: tuple[Hold, ...]) -> None:
    """The file first, then its backup, each durable: while they differ, `read` unites them."""
    text = json.dumps({"holds": [_fields(hold) for hold in holds]}, indent=1) + "\n"
    for path in _copies(state):
        atomic.write_text(path, text)


def _copy(path: Path) -> tuple[Hold, ...] | None:
    try:
        stored = decode(path.read_text(encoding="utf-8"), _HoldsFile)
        return tuple(_hold(fields) for fields in stored.holds)
    except (OSError, ValueError):
        return None


def _fields(hold: Hold) -> dict[str, str | None]:
    return {
        "id": hold.id,
        "camera": hold.camera,
        "from": hold.start.isoformat(),
        "to": hold.end.isoformat(),
        "until": hold.until.isoformat() if hold.until else None,
        "reason": hold.reason,
    }


def _hold(fields: dict[str, Any]) -> Hold:
    """Raises ValueError for fields that are no hold."""
    # A hold without an end of its own may have an empty text there.
    fields |= {"until": fields.get("until") or None}
    found = convert(fields, _StoredHold, times=("from", "to", "until"))
    until = _clamped(found.until) if found.until else None
    return Hold(found.id, _clamped(found.start), _clamped(found.end), found.camera, found.reason, until)


def _clamped(moment: datetime) -> datetime:
    """The year 1 or 9999, if written by hand, means the beginning or the end of time."""
    year = min(max(moment.year, YEARS.start), YEARS.stop)
    return moment if year == moment.year else datetime(year, 1, 1, tzinfo=UTC)
