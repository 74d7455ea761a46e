"""Whether the units of a container follow one another up to the last byte.

Where they don't, FFmpeg looks for the next one, or ends, without a word.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

_FILE_HEADER, _FILE_HEADER_BYTES = b"DAHUA", 0x400
_CHUNK, _TRAILER = b"DHAV", b"dhav"
_HEADER_BYTES, _TRAILER_BYTES = 24, 8

_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZES, _ASF_DATA_HEADER = 92, 50
"""Where in its object the sizes of packets are; bytes of the data object before its first packet."""
_ASF_PACKET = b"\x82\0\0"

_Boxes = Mapping[bytes, "_Boxes"]
_ENTERED: _Boxes = {b"moov": {}, b"moof": {b"traf": {}}}
"""Boxes that consist of boxes: `moov` says whether there are fragments, `moof` where their frames are."""


def packets_fill_the_end(path: Path) -> bool:
    """Whether a transport stream ends in whole packets.

    They are 188 bytes and begin with 0x47; 192 with a time before, 204 with parity after.
    """
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 4 * 204), os.SEEK_END)
        end = file.read()
    return any(
        set(end[offset - length :: -length]) == {0x47}
        for length, offset in ((188, 0), (192, 4), (204, 0))
        if len(end) >= length
    )


def fragments_fill_the_file(path: Path) -> bool:
    """Whether the boxes of an mp4 (ISO 14496-12, 4.2) leave no hole, also within a fragment.

    An mp4 without fragments passes: what is missing from it makes FFmpeg complain.
    """
    found = set[bytes]()
    with path.open("rb") as file:
        is_whole = _are_whole(file, 0, path.stat().st_size, found, _ENTERED)
    return is_whole or not found & {b"mvex", b"moof"}


def _are_whole(file: BinaryIO, start: int, end: int, found: set[bytes], entered: _Boxes) -> bool:
    """Whether boxes fill this part of the file; `found` gets their kinds."""
    while start < end:
        file.seek(start)
        header = file.read(16)
        length, kind, inside = int.from_bytes(header[:4]), header[4:8], start + 8
        if length == 1:
            length, inside = int.from_bytes(header[8:]), start + 16
        elif length == 0 and kind == b"mdat":
            length = end - start
        if not inside - start <= length <= end - start:
            return False
        start += length
        found.add(kind)
        within = entered.get(kind)
        is_whole = within is None or _are_whole(file, inside, start, found, within)
        # FFmpeg complains of a hole in moov.
        if not is_whole and kind != b"moov":
            return False
    return True


def packets_follow_in_asf(path: Path) -> bool:
    """Whether each packet of an asf or wmv begins where the size of the packets says (ASF Specification, 5).

    Those that begin without error correction data can't be recognised and pass, and so does a file whose
    header has no plausible size: FFmpeg does not go by it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(24)
        end_of_header = int.from_bytes(header[16:24], "little")
        if not len(header) <= end_of_header <= size:
            return True
        header += file.read(min(end_of_header, 1 << 20) - len(header))
        properties = header.find(_ASF_PROPERTIES)
        sizes = header[properties + _ASF_SIZES :][:8]
        smallest, largest = int.from_bytes(sizes[:4], "little"), int.from_bytes(sizes[4:], "little")
        file.seek(end_of_header)
        data = file.read(_ASF_DATA_HEADER)
        if properties < 0 or smallest != largest or not smallest or not data.startswith(_ASF_DATA):
            return True
        start = end_of_header + _ASF_DATA_HEADER
        # A recorder that could not go back has left the size at 0.
        length = int.from_bytes(data[16:24], "little") or size
        end = min(end_of_header + length, size)
        for number, at in enumerate(range(start, end - smallest + 1, smallest)):
            file.seek(at)
            if file.read(len(_ASF_PACKET)) != _ASF_PACKET:
                return number == 0
    return True


def chunks_fill_the_file(path: Path) -> bool:
    """Whether the chunks of a Dahua recording (`.dav`) follow one another up to the last byte.

    A chunk is a header of 24 bytes with its whole length at byte 12, a payload, and a trailer that
    repeats the length (libavformat/dhav.c).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        position = _FILE_HEADER_BYTES if file.read(len(_FILE_HEADER)) == _FILE_HEADER else 0
        while position < size:
            file.seek(position)
            header = file.read(_HEADER_BYTES)
            length = int.from_bytes(header[12:16], "little")
            if header[:4] != _CHUNK or not _HEADER_BYTES + _TRAILER_BYTES <= length <= size - position:
                return False
            file.seek(position + length - _TRAILER_BYTES)
            if file.read(_TRAILER_BYTES) != _TRAILER + header[12:16]:
                return False
            position += length
    return True
