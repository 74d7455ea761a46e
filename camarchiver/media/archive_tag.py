"""The mark inside an archive that names the source it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass

from camarchiver.domain.clip import Clip
from camarchiver.domain.untrusted import value_of

PREFIX = "camarchiver:"
"""Stands in the container's `comment`, the one field that mp4 and Matroska both keep."""


@dataclass(frozen=True, slots=True)
class Tag:
    """Which source an archive was made from."""

    source: str
    """The clip's path below the source root."""
    size: int
    mtime_ns: int
    blake2b: str

    def names(self, clip: Clip, digest: str) -> bool:
        """Whether it names this very clip with these very bytes."""
        fingerprint = clip.fingerprint
        return self == Tag(clip.relative, fingerprint.size, fingerprint.mtime_ns, digest)


def compose(tag: Tag) -> str:
    """The text to store; ASCII whatever bytes the name holds."""
    fields = {"source": tag.source, "size": tag.size, "mtime_ns": tag.mtime_ns, "blake2b": tag.blake2b}
    return PREFIX + json.dumps(fields, separators=(",", ":"))


def parse(text: str) -> Tag | None:
    """The tag in a stored text; None for anything that is not whole."""
    if not text.startswith(PREFIX):
        return None
    try:
        fields = value_of(text.removeprefix(PREFIX))
        return Tag(
            str(fields["source"]), int(fields["size"]), int(fields["mtime_ns"]), str(fields["blake2b"])
        )
    except (ValueError, TypeError, KeyError):
        return None
