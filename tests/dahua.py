"""Writes Dahua's container: no program here has a muxer for it, so the framing is written as FFmpeg's demuxer
(libavformat/dhav.c) reads it."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta
from pathlib import Path

import av

BEGUN = datetime(2026, 3, 1, 8, 15)
_KEY, _OTHER = 0xFD, 0xFC
_H264 = 2


def dav_of(raw: Path, rate: int, *, header: bool = False) -> bytes:
    """The frames of a raw H.264 stream, one chunk each, at a constant rate."""
    written = bytearray(b"DAHUA".ljust(0x400, b"\0") if header else b"")
    with av.open(str(raw)) as opened:
        video = opened.streams.video[0]
        size = struct.pack("<HH", video.width, video.height)
        extra = bytes((0x81, 0, _H264, rate)) + b"\x82\0\0\0" + size
        for number, packet in enumerate(each for each in opened.demux(video) if each.size):
            length = 24 + len(extra) + packet.size + 8
            kind = _KEY if packet.is_keyframe else _OTHER
            milliseconds = round(number * 1000 / rate) % 65535
            moment = _packed(BEGUN + timedelta(seconds=number // rate))
            written += b"DHAV" + bytes((kind, 0, 0, 0))
            written += struct.pack("<IIIHBB", number, length, moment, milliseconds, len(extra), 0)
            written += extra + bytes(packet) + b"dhav" + struct.pack("<I", length)
    return bytes(written)


def _packed(moment: datetime) -> int:
    day = (moment.year - 2000) << 26 | moment.month << 22 | moment.day << 17
    return day | moment.hour << 12 | moment.minute << 6 | moment.second
