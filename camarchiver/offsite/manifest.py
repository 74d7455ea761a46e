"""The manifest of a day: the journal's lines about its copies, by which an empty machine restores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from camarchiver.domain.untrusted import LARGEST, decode
from camarchiver.journal.event import JournalEvent, read
from camarchiver.journal.ledger import Ledger
from camarchiver.journal.replay import entries_of, fold
from camarchiver.offsite.names import HASH_DIGITS

FORMAT = 1


class _ManifestHeader(Struct, frozen=True):
    """The first line of a manifest, about itself."""

    kind: Literal["camarchiver off-site copies"]
    format: Annotated[int, Meta(ge=1, le=LARGEST)]
    day: date


class ManifestCopy(Struct, frozen=True):
    """A copy with what restores it."""

    made: JournalEvent
    """The newest line that says its archive was made."""
    copied: JournalEvent
    """The newest line about the copy."""


def of_day(day: date, ledger: Ledger, remote: str) -> bytes | None:
    """The manifest of one day: a line about itself, then journal lines; None if the remote has no copy.

    Each copy has two lines, those of `ManifestCopy`.
    """
    own = (copy for copy in copies_of(ledger) if copy.copied.remote == remote)
    lines = [event.line() for copy in own for event in (copy.made, copy.copied)]
    if not lines:
        return None
    head = json.dumps(msgspec.to_builtins(_ManifestHeader("camarchiver off-site copies", FORMAT, day)))
    return "".join(f"{line}\n" for line in (head, *lines)).encode("ascii")


def parse(text: bytes, digits: str) -> Ledger:
    """What a manifest whose name has these digits adds up to. Raises ValueError if it is not whole."""
    if hashlib.blake2b(text).hexdigest()[:HASH_DIGITS] != digits:
        raise ValueError("its content is not that of its name")
    head, _, lines = text.partition(b"\n")
    try:
        found = decode(head, _ManifestHeader)
    except ValueError as error:
        raise ValueError(f"it is not a manifest of off-site copies: {error}") from error
    if found.format != FORMAT:
        raise ValueError(f"its format is {found.format}, and this version reads {FORMAT}")
    events = read(lines)[0]
    return fold(events, entries_of(events))


def copies_of(ledger: Ledger) -> Iterator[ManifestCopy]:
    """The copies that are not lost and whose archives are known, in the order of a manifest."""
    for (_, archive, digest), copy in sorted(ledger.copies.items(), key=lambda item: item[0]):
        made = ledger.made_with(archive, digest)
        if copy.lost is None and made is not None:
            yield ManifestCopy(made, copy.line)
