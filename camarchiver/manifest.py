"""The lines of a B2SUMS file, as `b2sum` writes and checks them."""

from __future__ import annotations

import os
from collections.abc import Mapping

NAME = "B2SUMS"

_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"))


def line(relative: str, digest: str) -> bytes:
    """One file's line, without its end; a name with a backslash or a line end is escaped and marked."""
    name = escaped = os.fsencode(relative)
    for character, replacement in _ESCAPES:
        escaped = escaped.replace(character, replacement)
    return (b"\\" if escaped != name else b"") + digest.encode("ascii") + b"  " + escaped


def merged(before: bytes, sums: Mapping[str, str]) -> bytes:
    """A B2SUMS with the lines that stood there and those of more files; a file has one line, the older."""
    lines = {_name_of(found): found for found in before.splitlines() if found}
    for relative, digest in sums.items():
        made = line(relative, digest)
        lines.setdefault(_name_of(made), made)
    return b"".join(lines[name] + b"\n" for name in sorted(lines))


def _name_of(found: bytes) -> bytes:
    return found.partition(b"  ")[2]
