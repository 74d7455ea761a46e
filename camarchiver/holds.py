"""Reads `holds.json`: the time ranges that nothing may remove."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from camarchiver.errors import StorageError
from camarchiver.plan import Hold

FILE = "holds.json"


def read(state: Path) -> tuple[Hold, ...]:
    """All holds; file and backup are united, so that a half-written change can only hold more.

    Raises StorageError when there were holds and neither copy can be read.
    """
    paths = [path for path in (state / FILE, state / (FILE + ".bak")) if path.exists()]
    copies = [copy for path in paths if (copy := _copy(path)) is not None]
    if paths and not copies:
        raise StorageError(
            f"{state / FILE} and its backup can't be read, so nobody knows what is held",
            hint="restore one of them, or run: camarchiver hold list --repair",
        )
    return tuple({hold.id: hold for copy in copies for hold in copy}.values())


def _copy(path: Path) -> tuple[Hold, ...] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return tuple(_hold(fields) for fields in stored["holds"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _hold(fields: dict[str, str]) -> Hold:
    until = fields.get("until")
    return Hold(
        id=fields["id"],
        start=datetime.fromisoformat(fields["from"]),
        end=datetime.fromisoformat(fields["to"]),
        camera=fields.get("camera", ""),
        reason=fields.get("reason", ""),
        until=datetime.fromisoformat(until) if until else None,
    )
