"""The code points of ITU-T H.273 by ffmpeg's names, for bitstreams whose encoder does not write them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PRIMARIES: Mapping[str, int] = MappingProxyType({
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "film": 8, "bt2020": 9,
    "smpte431": 11, "smpte432": 12,
})  # fmt: skip
TRANSFERS: Mapping[str, int] = MappingProxyType({
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "linear": 8, "iec61966-2-1": 13,
    "bt2020-10": 14, "bt2020-12": 15, "smpte2084": 16, "arib-std-b67": 18,
})  # fmt: skip
MATRICES: Mapping[str, int] = MappingProxyType({
    "gbr": 0, "bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "ycgco": 8, "bt2020nc": 9,
    "bt2020c": 10, "ictcp": 14,
})  # fmt: skip


def code_of(names: Mapping[str, int], name: str) -> int | None:
    """The number of a name, which is the number itself if ffmpeg has no name; None if unspecified."""
    if name in names:
        return names[name]
    return int(name) if name.isdecimal() else None
