"""A digest of everything in the packets of a file's picture and sound, and of what describes its streams."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, Literal, cast

from av.container import InputContainer
from av.stream import Stream

_SIDE_DATA: tuple[Literal["new_extradata", "skip_samples"], ...] = ("new_extradata", "skip_samples")
_NO_TIME = -(2**63)
"""AV_NOPTS_VALUE."""
_FACTS = (
    *(
        "codec_tag",
        "extradata",
        "profile",
        "width",
        "height",
        "sample_aspect_ratio",
        "pix_fmt",
        "field_order",
    ),
    *("color_range", "colorspace", "color_primaries", "color_trc", "sample_rate", "channels", "frame_size"),
)
"""What a decoder and a player know of a stream besides its packets."""


def stream_digests(container: InputContainer, beat: Callable[[], None]) -> list[tuple[str, str]]:
    """The facts of each video and audio stream, and BLAKE2b of what its decoder is given and when."""
    streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
    digests = {stream.index: hashlib.blake2b() for stream in streams}
    for packet in container.demux(streams):
        beat()
        if not packet.size:
            continue
        digest = digests[packet.stream.index]
        pts, dts = (_NO_TIME if moment is None else moment for moment in (packet.pts, packet.dts))
        digest.update(struct.pack("<qqq??", pts, dts, packet.size, packet.is_keyframe, packet.is_discard))
        digest.update(memoryview(packet))
        for kind in _SIDE_DATA:
            if packet.has_sidedata(kind):
                digest.update(kind.encode() + bytes(packet.get_sidedata(kind)))
    return [(_facts_of(stream), digests[stream.index].hexdigest()) for stream in streams]


def _facts_of(stream: Stream) -> str:
    context = cast("Any", stream.codec_context)
    facts = {name: getattr(context, name, None) for name in _FACTS} if context is not None else {}
    name = None if context is None else context.codec.canonical_name
    # In ticks of another length the same numbers would be other times.
    return repr((stream.type, name, stream.time_base, stream.start_time, facts))
