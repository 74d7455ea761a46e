"""The format of a camera's pictures, and the keyframe at which it changes."""

from __future__ import annotations

from typing import TypeAlias

from av.video.stream import VideoStream

from camarchiver.record.capture import feed as capture_feed
from camarchiver.record.capture import parameter_sets
from camarchiver.record.capture.feed import AnyPacket

_Description: TypeAlias = tuple[int, int, str | None, str | None]
"""Width, height, profile and pixel format."""
IN_BAND = "hev1"
"""Tag of an HEVC stream whose parameter sets change in their bytes: a clip needs all of them."""
_REMEMBERED = 64
"""Number of remembered encodings of parameter sets; a camera that changes them at each keyframe has more."""


class PictureFormat:
    """Follows one stream of H.264 or HEVC whose keyframes bring their parameter sets.

    Cameras send these sets twice, or write the same content in other bytes, so their content is compared.
    """

    def __init__(self, video: VideoStream) -> None:
        context = video.codec_context
        extradata = context.extradata or b""
        self.codec = context.codec.canonical_name
        # mp4 and similar containers describe the picture once
        self._follows = self.codec in parameter_sets.CODECS and extradata[:1] != b"\1"
        self._description = _description(video)
        self._spellings = {parameter_sets.sequence(extradata, self.codec): self._description}
        self._header = parameter_sets.every(extradata, self.codec)
        """The parameter sets in the header of a clip, for all of its pictures."""
        self._in_band = False

    def refresh(self, packet: AnyPacket) -> int:
        """How many pictures follow a keyframe until one is whole; 0 if it is whole itself.

        The picture with which a gradual refresh begins is marked as a keyframe.
        """
        if not self._follows or packet.stream.type != "video":
            return 0
        if not packet.is_keyframe:
            beginning = bytes(memoryview(packet)[:16])
            if self.codec != "hevc" or parameter_sets.begins_with_slice(beginning, self.codec):
                return 0
        count = parameter_sets.refresh(bytes(packet), self.codec)
        packet.is_keyframe = packet.is_keyframe or count is not None
        return count or 0

    def changed(self, packet: AnyPacket) -> VideoStream | None:
        """The stream as this packet describes it, if that changed; otherwise None. Raises ValueError."""
        if not self._follows:
            return None
        if parameter_sets.codec(bytes(memoryview(packet)[:16])) not in ("", self.codec):
            raise ValueError("its codec changed")
        if not packet.is_keyframe:
            return None
        data = bytes(packet)
        found = self._described(data, packet)
        sets = parameter_sets.every(data, self.codec)
        if found is None and self.codec == "hevc" and self._description[0] and sets and not self._in_band:
            # a clip of HEVC has its sets only in its header, as players require, until they change
            self._in_band = bool(self._header) and not sets <= self._header
            found = _template(data, self.codec, packet) if self._in_band else None
            if found is not None:
                found.codec_context.codec_tag = IN_BAND
        if found is not None or not self._header:
            self._header = sets
        return found

    def _described(self, data: bytes, packet: AnyPacket) -> VideoStream | None:
        """The stream as a keyframe's parameter sets describe it, if their content changed."""
        spelling = parameter_sets.sequence(data, self.codec)
        if not spelling or (self._spellings.get(spelling) == self._description and self._description[0]):
            return None
        stream = _template(data, self.codec, packet)
        if stream is None:
            return None
        if len(self._spellings) >= _REMEMBERED:
            self._spellings.clear()
        before, self._description = self._description, _description(stream)
        self._spellings[spelling] = self._description
        if _same(before, self._description):
            return None
        if self._in_band:
            stream.codec_context.codec_tag = IN_BAND
        return stream


def _template(data: bytes, codec: str, packet: AnyPacket) -> VideoStream | None:
    try:
        return capture_feed.template(data, codec, packet.time_base)
    except ValueError:
        # a damaged keyframe describes nothing
        return None


def _description(video: VideoStream) -> _Description:
    context = video.codec_context
    # the j concerns only the range of values
    form = context.format.name.replace("yuvj", "yuv") if context.format else None
    return context.width, context.height, context.profile, form


def _same(one: _Description, other: _Description) -> bool:
    return all(each == its or each is None or its is None for each, its in zip(one, other, strict=True))
