"""Decodes keyframes: the cheapest proof that the pictures are there. Detects changed sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import av
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from camarchiver.errors import cause
from camarchiver.media.info import UPRIGHT
from camarchiver.media.parsing.keyframe_analysis import KeyframeAnalysis
from camarchiver.media.parsing.parameter_sets import header_of
from camarchiver.media.parsing.streams import aspect_of, codec_of, hdr_of, orientation_of

Complaints = Sequence[tuple[int, str, str]]
"""Level, source and text of each message, as in `av.logging.Capture`."""
_LOOK_EVERY = 25
"""Keyframes between two that are decoded for their size, if no header shows that it is unchanged."""


class Keyframes:
    """Decodes keyframes of one stream: all of them, or those whose size may differ from the ones before."""

    def __init__(
        self, video: AvVideoStream, *, every: bool, analysis: KeyframeAnalysis | None = None
    ) -> None:
        """`analysis` sees every keyframe that is decoded."""
        # The encoders need the cores.
        video.codec_context.thread_count = 1
        self.varies = ""
        self.orientation = UPRIGHT
        self.hdr = frozenset[str]()
        self.is_interlaced: bool | None = None
        """Of the first keyframe that decoded; None if none did."""
        self._video = video
        self._codec = codec_of(video) or ""
        self._every = every
        self._analysis = analysis
        self._header = b""
        self._since = 0
        self._expected = 0
        self._hidden = 0
        """Keyframes that an edit list hides: the decoder drops them."""
        self._decoded = 0
        self._formats: tuple[object, ...] = ()
        self._error = ""

    def take(self, packet: Packet[Stream]) -> None:
        """Decode a keyframe by itself: one in an open group refers to pictures that are not decoded here."""
        self._since += 1
        if not (self._is_new(packet) or self._every):
            return
        self._since = 0
        self._expected += not packet.is_discard
        self._hidden += packet.is_discard
        if self._error:
            return
        context = self._video.codec_context
        frames = list[VideoFrame]()
        try:
            frames += (cast("VideoFrame", frame) for frame in (*packet.decode(), *context.decode(None)))
        except av.FFmpegError as error:
            self._error = cause(error)
        finally:
            context.flush_buffers()
        for frame in frames:
            self._examine(frame, packet)

    def flaw(self, complaints: Complaints) -> str:
        """Why the pictures are not proved to be there; empty if they are."""
        problem = complaints[0][2].strip() if complaints else self._error
        if problem:
            return f"has keyframes that don't decode: {problem}"
        if self._decoded != self._expected or not self._expected + self._hidden:
            return f"has {self._expected} keyframes, of which {self._decoded} decode"
        return ""

    def _is_new(self, packet: Packet[Stream]) -> bool:
        """Whether this keyframe may have another size than the one before."""
        header = header_of(self._codec, bytes(packet), self._video.codec_context.extradata or b"")
        if packet.has_sidedata("new_extradata"):
            header = (header or b"") + bytes(packet.get_sidedata("new_extradata"))
        if header is None:
            return not self._expected or self._since >= _LOOK_EVERY
        is_first, is_other = not self._expected, bool(header) and header != self._header
        self._header = header or self._header
        return is_first or is_other

    def _examine(self, frame: VideoFrame, packet: Packet[Stream]) -> None:
        self._decoded += not frame.is_corrupt
        aspect = aspect_of(self._video.codec_context.sample_aspect_ratio)
        if self._analysis is not None:
            self._analysis.add_keyframe(frame, packet, aspect)
        formats = (f"{frame.width}x{frame.height}", f"a pixel aspect of {aspect}", frame.format.name)
        if not self._formats:
            self._formats = formats
            self.orientation = orientation_of(frame)
            self.hdr = hdr_of(frame)
            self.is_interlaced = frame.interlaced_frame
        for before, after in zip(self._formats, formats, strict=True):
            if before != after and not self.varies:
                self.varies = f"changes from {before} to {after} midway"
