"""How names of cameras are compared."""

from __future__ import annotations

import unicodedata


def comparable(name: str) -> str:
    """The name in the form in which names of cameras, and filters on paths, are compared (NFC).

    `Küche` may be written with one letter for ü or with u and a combining diaeresis, as macOS and some
    cameras do. Both are one camera; files keep the bytes of their names.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)
