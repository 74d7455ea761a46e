"""The parameter sets of H.264 and HEVC in a keyframe, which change with its size, and its recovery point."""

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
    """Kind and bytes of each unit before the first slice, but for the empty ones that some senders add."""
    position = data.find(_START)
    while 0 <= position < len(data) - 4:
        begin = position + len(_START)
        position = data.find(_START, begin)
        kind = _kind(data[begin], codec)
        # no header of a slice is two zeros, with which an empty unit is followed
        if kind == "slice" and any(data[begin : begin + 2]):
            return
        unit = data[begin : position if position >= 0 else len(data)].rstrip(b"\0")
        if unit and kind != "slice":
            yield kind, unit


def refresh(data: bytes, codec: str) -> int | None:
    """How many pictures follow this one until one is whole; None if none was announced.

    A camera may send a part of each picture anew, and no whole one (ITU-T H.264 section D.2.8, H.265 section
    D.3.8). PyAV calls the picture with which that begins a keyframe, of H.264 only.
    """
    if codec not in CODECS:
        return None
    header = 1 if codec == "h264" else 2
    units = (unit for _, unit in _before_slice(data, codec) if _number(unit[0], codec) == _SEI[codec])
    counts = (_recovery_count(unit[header:], signed=codec == "hevc") for unit in units)
    return next((max(count, 0) for count in counts if count is not None), None)


def begins_with_slice(data: bytes, codec: str) -> bool:
    """Whether nothing precedes the first slice of an Annex B packet, by its first bytes."""
    begin = data.find(_START, 0, 8) + len(_START)
    return len(_START) <= begin < len(data) and _kind(data[begin], codec) == "slice"


_SEI = {"h264": 6, "hevc": 39}
_RECOVERY_POINT = 6


def _recovery_count(unit: bytes, *, signed: bool) -> int | None:
    """The number of pictures in supplemental information, if it announces a recovery point.

    `recovery_frame_cnt` of H.264 (section D.1.8), and the `signed` `recovery_poc_cnt` of H.265.
    """
    data = unit.replace(b"\0\0\3", b"\0\0")
    place = 0
    while place + 2 < len(data):
        numbers = []
        for _ in ("type", "size"):
            more = len(data[place:]) - len(data[place:].lstrip(b"\xff"))
            numbers.append(255 * more + int.from_bytes(data[place + more : place + more + 1]))
            place += more + 1
        if numbers[0] == _RECOVERY_POINT:
            number = _exponential_golomb(data[place : place + numbers[1]])
            return number if not signed else (number + 1) // 2 * (1 if number % 2 else -1)
        place += numbers[1]
    return None


def _exponential_golomb(data: bytes) -> int:
    """The number with which some bytes begin (section 9.1)."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = len(bits) - len(bits.lstrip("0"))
    return int(bits[zeros : 2 * zeros + 1] or "1", 2) - 1


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


def _number(first: int, codec: str) -> int:
    return first & 31 if codec == "h264" else first >> 1 & 63


def _kind(first: int, codec: str) -> str:
    """The kind of a unit, by its first byte (ITU-T H.264 table 7-1, H.265 table 7-1)."""
    if codec == "h264":
        slices, sequence, others = range(1, 6), 7, frozenset({8})
    elif codec == "hevc":
        slices, sequence, others = range(32), 33, frozenset({32, 34})
    else:
        return ""
    number = _number(first, codec)
    if number in slices:
        return "slice"
    return "sequence" if number == sequence else "other" if number in others else ""
