"""Reads the first bytes of a compressed frame: parameter sets, headers, marks of signed video."""

from __future__ import annotations

from collections.abc import Iterator

# ONVIF Media Signing Specification, and Axis' signed-video-framework: the UUID of their SEI messages.
_SIGNATURES = (
    (bytes.fromhex("005bc93f2d715e95ada4796f90877a6f"), "ONVIF Media Signing"),
    (bytes.fromhex("5369676e656420566964656f2e2e2e30"), "Axis signed video"),
)
_H264_SPS, _HEVC_SPS = 7, 33
_AVCC_PREFIX, _HVCC_PREFIX = 4, 21
_H264_PICTURES = range(1, 6)
_HEVC_PICTURES = range(32)
_HEVC_KEYFRAMES = range(16, 24)
_JPEG_FRAME_HEADERS = frozenset({0xC0, 0xC1, 0xC2, 0xC3})


def signature_in(packet: bytes) -> str:
    """The signing scheme of an H.264 or H.265 packet; empty if it carries no mark of signed video."""
    return next((name for uuid, name in _SIGNATURES if uuid in packet), "")


def header_of(codec: str, packet: bytes, extradata: bytes) -> bytes | None:
    """The part of a keyframe that defines the picture's size, for comparison with another keyframe's.

    Empty if the packet does not repeat it; None for codecs whose headers aren't known here.
    """
    match codec:
        case "h264":
            return _parameter_sets(packet, extradata, hevc=False)
        case "hevc":
            return _parameter_sets(packet, extradata, hevc=True)
        case "mjpeg":
            return _jpeg_size(packet)
        case "av1":
            return _sequence_header(packet)
    return None


def is_gradual(codec: str, packet: bytes, extradata: bytes) -> bool:
    """Whether an HEVC packet that its container calls a keyframe begins a gradual refresh (H.265, table 7-1).

    Its picture, and some after it, refer to pictures before it.
    """
    if codec != "hevc":
        return False
    kinds = (unit[0] >> 1 & 0x3F for unit in _units(packet, extradata, hevc=True))
    picture = next((kind for kind in kinds if kind in _HEVC_PICTURES), None)
    return picture is not None and picture not in _HEVC_KEYFRAMES


def sound_format(packet: bytes) -> bytes:
    """Profile, sample rate and channels by the ADTS header of AAC (ISO 13818-7, 6.2.1), if there is one."""
    if len(packet) < 4 or packet[0] != 0xFF or packet[1] & 0xF6 != 0xF0:
        return b""
    return bytes((packet[2] & 0xFD, packet[3] & 0xC0))


def _units(packet: bytes, extradata: bytes, *, hevc: bool) -> Iterator[bytes]:
    # ISO 14496-15: avcC and hvcC begin with version 1; otherwise the units follow start codes.
    if extradata[:1] == b"\x01":
        # Both hold the length of a unit's prefix, less one, in the last bits of one byte.
        prefix = (int.from_bytes(extradata[_HVCC_PREFIX if hevc else _AVCC_PREFIX :][:1]) & 3) + 1
        return _prefixed_units(packet, prefix)
    return _delimited_units(packet)


def _parameter_sets(packet: bytes, extradata: bytes, *, hevc: bool) -> bytes:
    sets = []
    for unit in _units(packet, extradata, hevc=hevc):
        kind = unit[0] >> 1 & 0x3F if hevc else unit[0] & 0x1F
        if kind in (_HEVC_PICTURES if hevc else _H264_PICTURES):
            break
        if kind == (_HEVC_SPS if hevc else _H264_SPS):
            sets.append(unit)
    return b"".join(sets)


def _prefixed_units(packet: bytes, prefix: int) -> Iterator[bytes]:
    at = 0
    while at + prefix < len(packet):
        length = int.from_bytes(packet[at : at + prefix])
        at += prefix
        if length:
            yield packet[at : at + min(length, 512)]
        at += length


def _delimited_units(packet: bytes) -> Iterator[bytes]:
    at = packet.find(b"\0\0\1")
    while at >= 0 and at + 3 < len(packet):
        # A parameter set is short, so a picture need not be searched for its end.
        following = packet.find(b"\0\0\1", at + 3, at + 3 + 512)
        yield packet[at + 3 : following if following >= 0 else at + 3 + 512].rstrip(b"\0") or b"\0"
        at = following if following >= 0 else packet.find(b"\0\0\1", at + 3)


def _jpeg_size(packet: bytes) -> bytes:
    """Height and width of ITU-T T.81's frame header (B.2.2)."""
    at = 2
    while at + 9 <= len(packet) and packet[at] == 0xFF:
        if packet[at + 1] in _JPEG_FRAME_HEADERS:
            return packet[at + 5 : at + 9]
        at += 2 + int.from_bytes(packet[at + 2 : at + 4])
    return b""


def _sequence_header(packet: bytes) -> bytes:
    """The sequence header of an AV1 temporal unit in the low-overhead format (AV1 specification, 5.3)."""
    at = 0
    while at + 2 <= len(packet) and packet[at] & 2:
        kind, has_extension = packet[at] >> 3 & 15, packet[at] >> 2 & 1
        at += 1 + has_extension
        length, shift = 0, 0
        while at < len(packet):
            length |= (packet[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not packet[at - 1] & 0x80:
                break
        if kind == 1:
            return packet[at : at + length]
        at += length
    return b""
