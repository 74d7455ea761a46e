"""The parameter sets of H.264 and HEVC in a keyframe: they change with the picture's size."""

from __future__ import annotations

from collections.abc import Iterator

CODECS = frozenset({"h264", "hevc"})
_START = b"\0\0\1"


def sequence(data: bytes, codec: str) -> bytes:
    """The sequence parameter sets before the first slice of an Annex B packet; empty where there are none."""
    return b"".join(unit for kind, unit in _before_slice(data, codec) if kind == "sequence")


def every(data: bytes, codec: str) -> frozenset[bytes]:
    """All parameter sets before the first slice of an Annex B packet, without repetition."""
    return frozenset(unit for kind, unit in _before_slice(data, codec) if kind)


def _before_slice(data: bytes, codec: str) -> Iterator[tuple[str, bytes]]:
    """The kind and the bytes of each unit before the first slice."""
    position = data.find(_START)
    while 0 <= position < len(data) - 4:
        begin = position + len(_START)
        position = data.find(_START, begin)
        kind = _kind(data[begin], codec)
        if kind == "slice":
            return
        yield kind, data[begin : position if position >= 0 else len(data)].rstrip(b"\0")


def codec(data: bytes) -> str:
    """The codec of an Annex B packet that begins with a delimiter or a parameter set; otherwise empty."""
    begin = data.find(_START, 0, 8) + len(_START)
    if begin < len(_START) or len(data) < begin + 2:
        return ""
    first, second = data[begin], data[begin + 1]
    # a second byte of 1 is HEVC's: the base layer's lowest sub-layer
    if first >> 1 in (32, 33, 35) and second == 1:
        return "hevc"
    return "h264" if first in (0x09, 0x27, 0x47, 0x67) else ""


def _kind(first: int, codec: str) -> str:
    """The kind of a unit, by its first byte (ITU-T H.264 table 7-1, H.265 table 7-1)."""
    if codec == "h264":
        number, slices, sequence, others = first & 31, range(1, 6), 7, frozenset({8})
    elif codec == "hevc":
        number, slices, sequence, others = first >> 1 & 63, range(32), 33, frozenset({32, 34})
    else:
        return ""
    if number in slices:
        return "slice"
    return "sequence" if number == sequence else "other" if number in others else ""
