"""A digest of everything in the packets of a file's picture and sound."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Literal, cast

from av.container import InputContainer

_SIDE_DATA: tuple[Literal["new_extradata", "skip_samples"], ...] = ("new_extradata", "skip_samples")


def stream_digests(container: InputContainer, beat: Callable[[], None]) -> list[str]:
    """BLAKE2b of each video and audio stream: what its decoder is given, and when it is shown or heard."""
    streams = [stream for stream in container.streams if stream.type in ("video", "audio")]
    digests = {stream.index: hashlib.blake2b(_description(stream)) for stream in streams}
    for packet in container.demux(streams):
        beat()
        if not packet.size:
            continue
        base = packet.time_base or Fraction(0)
        times = tuple(None if moment is None else moment * base for moment in (packet.pts, packet.dts))
        digest = digests[packet.stream.index]
        digest.update(repr((times, packet.is_keyframe, packet.is_discard, packet.size)).encode())
        digest.update(bytes(packet))
        for kind in _SIDE_DATA:
            if packet.has_sidedata(kind):
                digest.update(kind.encode() + bytes(packet.get_sidedata(kind)))
    return [digests[stream.index].hexdigest() for stream in streams]


def _description(stream: Any) -> bytes:
    context = cast("Any", stream.codec_context)
    known = None if context is None else (context.codec.canonical_name, context.codec_tag, context.extradata)
    return repr((stream.type, known)).encode()
