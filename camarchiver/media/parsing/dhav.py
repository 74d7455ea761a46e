"""Dahua's container (`.dav`): whether its frames follow one another without anything between."""

from __future__ import annotations

from pathlib import Path

_FILE_HEADER, _FILE_HEADER_BYTES = b"DAHUA", 0x400
_CHUNK, _TRAILER = b"DHAV", b"dhav"
_HEADER_BYTES, _TRAILER_BYTES = 24, 8


def chunks_fill_the_file(path: Path) -> bool:
    """Whether chunks follow one another up to the last byte.

    Where one does not end as its header says, FFmpeg (libavformat/dhav.c) looks for the next without a word.
    A chunk is a header of 24 bytes with its whole length at byte 12, a payload, and a trailer that
    repeats the length.
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
