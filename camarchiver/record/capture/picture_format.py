"""What a camera's pictures are, and from which keyframe on they are others."""

from __future__ import annotations

from typing import TypeAlias

from av.video.stream import VideoStream

from camarchiver.record.capture import feed as capture_feed
from camarchiver.record.capture import parameter_sets
from camarchiver.record.capture.feed import AnyPacket

_Said: TypeAlias = tuple[int, int, str | None, str | None]
"""Width, height, profile and pixel format."""
_REMEMBERED = 64
"""Spellings of parameter sets; a camera that changes them with each keyframe has more."""


class PictureFormat:
    """Follows one stream of H.264 or HEVC whose keyframes bring their parameter sets.

    Cameras send these sets twice, or write the same in other bytes: what they say is compared.
    """

    def __init__(self, video: VideoStream) -> None:
        context = video.codec_context
        extradata = context.extradata or b""
        self._codec = context.codec.canonical_name
        # mp4 and its like describe the picture once
        self._follows = self._codec in parameter_sets.CODECS and extradata[:1] != b"\1"
        self._said = _said(video)
        self._spellings = {parameter_sets.sequence(extradata, self._codec): self._said}

    def changed(self, packet: AnyPacket) -> VideoStream | None:
        """The stream as this packet describes it, where that is not as it was. Raises ValueError."""
        if not self._follows:
            return None
        if parameter_sets.codec(bytes(memoryview(packet)[:16])) not in ("", self._codec):
            raise ValueError("its codec changed")
        if not packet.is_keyframe:
            return None
        data = bytes(packet)
        spelling = parameter_sets.sequence(data, self._codec)
        if not spelling or (self._spellings.get(spelling) == self._said and self._said[0]):
            return None
        try:
            stream = capture_feed.template(data, self._codec, packet.time_base)
        except ValueError:
            # a damaged keyframe says nothing
            return None
        if len(self._spellings) >= _REMEMBERED:
            self._spellings.clear()
        before, self._said = self._said, _said(stream)
        self._spellings[spelling] = self._said
        return None if _same(before, self._said) else stream


def _said(video: VideoStream) -> _Said:
    context = video.codec_context
    # the j is about the range of values alone
    form = context.format.name.replace("yuvj", "yuv") if context.format else None
    return context.width, context.height, context.profile, form


def _same(one: _Said, other: _Said) -> bool:
    return all(each == its or each is None or its is None for each, its in zip(one, other, strict=True))
