"""The tag inside an archive that names the source from which it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass

from camarchiver.domain.clip import Clip
from camarchiver.domain.untrusted import value_of

PREFIX = "camarchiver:"
"""Begins the container's `comment`, the one field that both mp4 and Matroska keep."""


@dataclass(frozen=True, slots=True)
class Tag:
    """The source from which an archive was made."""

    source: str
    """The clip's path below the source root."""
    size: int
    mtime_ns: int
    blake2b: str

    def names(self, clip: Clip, digest: str) -> bool:
        """Whether it names exactly this clip with exactly these bytes."""
        fingerprint = clip.fingerprint
        return self == Tag(clip.relative, fingerprint.size, fingerprint.mtime_ns, digest)


def compose(tag: Tag) -> str:
    """The text to store; it is ASCII whatever bytes the name holds."""
    fields = {"source": tag.source, "size": tag.size, "mtime_ns": tag.mtime_ns, "blake2b": tag.blake2b}
    return PREFIX + json.dumps(fields, separators=(",", ":"))


def parse(text: str) -> Tag | None:
    """The tag in a stored text; None if the text is not a complete tag."""
    if not text.startswith(PREFIX):
        return None
    try:
        fields = value_of(text.removeprefix(PREFIX))
        return Tag(
            str(fields["source"]), int(fields["size"]), int(fields["mtime_ns"]), str(fields["blake2b"])
        )
    except (ValueError, TypeError, KeyError):
        return None
