"""The tag inside an archive that names the source from which it was made."""

from __future__ import annotations

import json

import msgspec
from msgspec import Struct

from camarchiver.domain.clip import Clip
from camarchiver.domain.untrusted import Count, Nanoseconds, RelativePath, decode

PREFIX = "camarchiver:"
"""Begins the container's `comment`, the one field that both mp4 and Matroska keep."""


class Tag(Struct, frozen=True):
    """The source from which an archive was made."""

    source: RelativePath
    """The clip's path below the source root."""
    size: Count
    mtime_ns: Nanoseconds
    blake2b: str

    def names(self, clip: Clip, digest: str) -> bool:
        """Whether it names exactly this clip with exactly these bytes."""
        fingerprint = clip.fingerprint
        return self == Tag(clip.relative, fingerprint.size, fingerprint.mtime_ns, digest)

    def has_bytes(self, size: int, digest: str) -> bool:
        """Whether it names a clip of exactly these bytes, whose path and time a copied tree may have lost."""
        return (self.size, self.blake2b) == (size, digest)


def compose(tag: Tag) -> str:
    """The text to store; it is ASCII whatever bytes the name holds."""
    return PREFIX + json.dumps(msgspec.structs.asdict(tag), separators=(",", ":"))


def parse(text: str) -> Tag | None:
    """The tag in a stored text; None if the text is not a complete tag."""
    if not text.startswith(PREFIX):
        return None
    try:
        return decode(text.removeprefix(PREFIX), Tag)
    except ValueError:
        return None
