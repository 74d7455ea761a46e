"""Names of objects in the other storage, and what they say. Pure.

Because a part of its content's hash is in an object's name, no upload can replace different content, even on
servers that ignore conditional requests.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import NamedTuple

HASH_DIGITS = 12
"""Hexadecimal digits of a BLAKE2b that are part of a name."""

MANIFESTS = "camarchiver-manifests"
"""The folder of the manifests."""

STAGED = "camarchiver-staged"
"""The folder of unfinished uploads."""

_OBJECT = re.compile(rf"(?P<stem>.*)\.(?P<digits>[0-9a-f]{{{HASH_DIGITS}}})(?P<suffix>\.[^./]*)?", re.DOTALL)
_MANIFEST = re.compile(
    rf"(?P<year>\d{{4}})/(?P<month>\d\d)/(?P<day>\d\d)\.(?P<digits>[0-9a-f]{{{HASH_DIGITS}}})\.jsonl"
)


class ObjectName(NamedTuple):
    """What the name of a copy says."""

    archive: str
    """The archive's path below the archive root."""
    digits: str
    """The beginning of its BLAKE2b."""


def object_name(archive: str, digest: str) -> str:
    """The name of the copy of an archive: its path below the archive root, with a part of its BLAKE2b.

    The digits come before the suffix, by which players and servers know the format. Bytes that are no UTF-8
    are written as %XX: remotes take only text.
    """
    text = "".join(f"%{ord(each) - 0xDC00:02X}" if "\udc80" <= each <= "\udcff" else each for each in archive)
    folder, slash, name = text.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    return f"{folder}{slash}{stem}.{digest[:HASH_DIGITS]}{dot}{suffix}"


def read_object(name: str) -> ObjectName | None:
    """What a name says; None if it is no copy's."""
    found = _OBJECT.fullmatch(name)
    if found is None or name.startswith((f"{MANIFESTS}/", f"{STAGED}/")):
        return None
    return ObjectName(found["stem"] + (found["suffix"] or ""), found["digits"])


def manifest_name(day: date, text: bytes) -> str:
    """The name of the manifest of one day of footage with this content."""
    digest = hashlib.blake2b(text).hexdigest()
    return f"{MANIFESTS}/{day:%Y/%m/%d}.{digest[:HASH_DIGITS]}.jsonl"


def read_manifest(name: str) -> tuple[date, str] | None:
    """The day of a manifest and the digits of its content's hash; None if it is no manifest's name."""
    found = _MANIFEST.fullmatch(name.removeprefix(f"{MANIFESTS}/"))
    if found is None or not name.startswith(MANIFESTS):
        return None
    try:
        return date(int(found["year"]), int(found["month"]), int(found["day"])), found["digits"]
    except ValueError:
        return None


def staged_name(owner: str, run: str, number: int) -> str:
    """The name of an unfinished upload, the `number`th of a run; `owner` identifies the trees and host."""
    return f"{STAGED}/{owner}.{run}.{number}"


def is_left_over(name: str, owner: str, run: str) -> bool:
    """Whether an unfinished upload was left by a dead run of this owner: two runs at once are impossible."""
    file = name.rpartition("/")[2]
    return file.startswith(f"{owner}.") and not file.startswith(f"{owner}.{run}.")
