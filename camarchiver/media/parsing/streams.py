"""Converts a stream as PyAV describes it into values; and the error for a file that is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Literal, cast

from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from camarchiver.media.info import CHAPTERS, MATRICES, PRIMARIES, TRANSFERS, UPRIGHT, Orientation, VideoStream

ParseErrorKind = Literal["damaged", "not-video", "no-rate", "unreadable", "crashed", "timeout", "stopped"]

# Code points of ITU-T H.273; ffmpeg's enumerations have the same numbers.
_UNSPECIFIED = frozenset({0, 2, 3})
_RANGES = MappingProxyType({1: "tv", 2: "pc"})
_FIELD_ORDERS = MappingProxyType({1: "progressive", 2: "tt", 3: "bb", 4: "tb", 5: "bt"})

# Matroska's FieldOrder 9 and 14 are interleaved fields of which the top or the bottom one is displayed
# first (RFC 9559, 5.1.4.1.28.2). FFmpeg calls them `tb` and `bt`, whose second letter says the opposite.
_MATROSKA_INTERLEAVED = MappingProxyType({"tb": "tt", "bt": "bb"})


class NotParsed(Exception):
    """The file is not a readable video; `text` is a predicate whose subject is the file."""

    def __init__(self, reason: ParseErrorKind, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


def video_stream_of(
    video: AvVideoStream, orientation: Orientation, hdr: frozenset[str], *, is_interlaced: bool | None
) -> VideoStream:
    """The stream as values; `is_interlaced` is what its pictures say, None if none was looked at."""
    context = video.codec_context
    assert context.format is not None
    name = context.format.name
    return VideoStream(
        codec=codec_of(video) or "",
        width=context.width,
        height=context.height,
        pixel_format=name,
        bit_depth=max(component.bits for component in context.format.components),
        frame_rate=fraction(video.average_rate),
        time_base=fraction(video.time_base) or Fraction(0),
        sample_aspect=aspect_of(video.sample_aspect_ratio),
        orientation=orientation,
        color_range="pc" if name.startswith("yuvj") else _RANGES.get(context.color_range, ""),
        matrix=_h273(MATRICES, context.colorspace),
        primaries=_h273(PRIMARIES, context.color_primaries),
        transfer=_h273(TRANSFERS, context.color_trc),
        field_order=_field_order(video, context.field_order, is_interlaced=is_interlaced),
        hdr=hdr,
    )


def _h273(names: Mapping[str, int], value: int) -> str:
    """ffmpeg's name of a code point of ITU-T H.273, or its number if it has no name."""
    name = next((name for name, code in names.items() if code == value), None)
    return name or ("" if value in _UNSPECIFIED else str(value))


def _field_order(video: AvVideoStream, stated: int, *, is_interlaced: bool | None) -> str:
    """The field order of the container or the parser, unless the pictures are known to differ."""
    order = _FIELD_ORDERS.get(stated, "")
    # Containers repeat the source's order for codecs that have no fields.
    if codec_of(video) == "av1":
        return "progressive"
    if "matroska" in video.container.format.name:
        order = _MATROSKA_INTERLEAVED.get(order, order)
    if is_interlaced and order in ("", "progressive"):
        return "tt"
    return order


def orientation_of(frame: VideoFrame) -> Orientation:
    """The orientation that the container or the stream itself states; only a decoded frame has it."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if found is None:
        return UPRIGHT
    # Nine numbers, row by row; the sign of the determinant of the first two by two tells a mirrored picture.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(cast("Any", found))[:36])
    return Orientation(round(frame.rotation) % 360, a * d < b * c)


_HDR: Mapping[str, str] = MappingProxyType({
    "MASTERING_DISPLAY_METADATA": "mastering display", "CONTENT_LIGHT_LEVEL": "content light level",
    "DYNAMIC_HDR_PLUS": "HDR10+", "DOVI_METADATA": "Dolby Vision",
})  # fmt: skip


def hdr_of(frame: VideoFrame) -> frozenset[str]:
    """The kinds of HDR metadata in a frame."""
    return frozenset(words for name, words in _HDR.items() if name in cast("Any", frame.side_data))


def aspect_of(value: Any) -> Fraction:
    return fraction(value) or Fraction(1)


def fraction(value: Any) -> Fraction | None:
    """PyAV 18 gives a `Fraction` or None, 19 its own type, 0/0 or 0/1 if unknown."""
    return Fraction(value.numerator, value.denominator) if value else None


def is_picture(stream: Stream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def codec_of(stream: Stream) -> str | None:
    # There is no context if FFmpeg has no decoder, whatever the type says; and `name` would be the
    # decoder's (`libdav1d`).
    context = cast("Any", stream.codec_context)
    return None if context is None else str(context.codec.canonical_name)


_RAW_FORMATS = frozenset({"h264", "hevc"})
"""FFmpeg's demuxers of bare H.264 and H.265, whose frames have no times."""


def raw_rate_of(container: InputContainer, declared: Fraction | None) -> Fraction | None:
    """The declared rate if the file is a raw stream, otherwise None. Raises NotParsed if it needs one."""
    if container.format.name not in _RAW_FORMATS:
        return None
    if declared is None:
        raise NotParsed("no-rate", "is a raw stream, whose frames have no times, and no rate is declared")
    return declared


_DISCARDED = 48
"""AVDISCARD_ALL: FFmpeg's reader of mov and mp4 gives it to the track in which it found the chapters."""


def other_streams(container: InputContainer) -> Iterator[str]:
    for stream in container.streams:
        if stream.type == "video" and is_picture(stream):
            yield f"picture:{codec_of(stream) or 'unknown'}"
        elif stream.type == "data" and int(stream.discard) >= _DISCARDED:
            yield CHAPTERS
        elif stream.type not in ("video", "audio"):
            # PyAV has no tag of a stream that FFmpeg has no decoder for; but FFmpeg's reader of mov and mp4
            # gives a track of that kind (`tmcd`) the time code that it read there.
            known = codec_of(stream) or ("tmcd" if "timecode" in stream.metadata else "unknown")
            yield f"{stream.type}:{known}"
