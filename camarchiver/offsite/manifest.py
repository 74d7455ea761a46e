"""The manifest of a day: the journal's lines about its copies, by which an empty machine restores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from camarchiver.domain.untrusted import value_of
from camarchiver.journal.event import JournalEvent, read
from camarchiver.journal.ledger import Ledger
from camarchiver.offsite.names import HASH_DIGITS

FORMAT = 1
_KIND = "camarchiver off-site copies"


def of_day(day: date, ledger: Ledger, remote: str) -> bytes | None:
    """The manifest of one day: a line about itself, then journal lines; None if the remote has no copy.

    For each copy these are the newest line that says its archive was made, and the newest about the copy.
    """
    lines = [event.line() for event in _events(ledger, remote)]
    if not lines:
        return None
    head = json.dumps({"kind": _KIND, "format": FORMAT, "day": f"{day}"})
    return "".join(f"{line}\n" for line in (head, *lines)).encode("ascii")


def parse(text: bytes, digits: str) -> list[JournalEvent]:
    """The journal lines of a manifest whose name has these digits. Raises ValueError if it is not whole."""
    if hashlib.blake2b(text).hexdigest()[:HASH_DIGITS] != digits:
        raise ValueError("its content is not that of its name")
    head, _, lines = text.partition(b"\n")
    found: Any = value_of(head)
    if not isinstance(found, dict) or found.get("kind") != _KIND:
        raise ValueError("it is not a manifest of off-site copies")
    if found.get("format") != FORMAT:
        raise ValueError(f"its format is {found.get('format')}, and this version reads {FORMAT}")
    return read(lines)[0]


def _events(ledger: Ledger, remote: str) -> Iterator[JournalEvent]:
    for (place, archive, digest), copy in sorted(ledger.copies.items(), key=lambda item: item[0]):
        if place != remote or copy.lost is not None:
            continue
        made = next(_newest(ledger.made.get(archive, ()), digest), None)
        if made is not None:
            yield made
            yield copy.line


def _newest(lines: Iterable[JournalEvent], digest: str) -> Iterator[JournalEvent]:
    return (line for line in reversed(tuple(lines)) if line.archive_blake2b == digest)
