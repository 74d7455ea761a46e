"""A day in a few minutes: some of the camera's own keyframes, at intervals, in a separate clip."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import cast

from av.packet import Packet
from msgspec.structs import replace

from camarchiver.naming.recorder_names import Kind
from camarchiver.record.capture.feed import AnyPacket
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import StreamOpened
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.folders import Folders

RATE = 30
"""Frames a second at playback."""
_EARLY = 0.1
"""Fraction of the interval by which a keyframe may come early, since its time is rounded."""


class Timelapse:
    """One camera's timelapse; nothing is encoded, since a keyframe needs no other frame."""

    def __init__(self, interval: float, folders: Folders) -> None:
        """`interval`: seconds of the camera's clock between two frames.

        If keyframes are rarer, every one is used.
        """
        self.writer: ClipWriter | None = None
        """The clip of this day."""
        self._interval = interval
        self._folders = folders
        self._due = float("-inf")
        self._header: tuple[object, ...] = ()
        """The decoder configuration of the pictures; a clip has only one."""

    def add(
        self, entry: TimedPacket, moment: float, when: datetime, stream: StreamOpened
    ) -> ClipWriter | None:
        """Add a keyframe if one is due; returns the clip that ended before it, or None.

        `moment` is in seconds of a clock that never steps. Raises OSError or av.FFmpegError.
        """
        if moment < self._due - _EARLY * self._interval:
            return None
        self._due = moment + self._interval
        codec = stream.video.codec_context
        header = codec.name, codec.width, codec.height, codec.extradata
        same = header == self._header and self.writer is not None and _same_day(self.writer, when)
        ended = None if same else self.end()
        self._header = header
        frame = _frame(entry, self.writer.frames if self.writer else 0)
        if self.writer is None:
            clip_start = ClipStart(when, frame, 0.0, 0.0, kind=Kind.TIMELAPSE)
            self.writer = ClipWriter(self._folders, clip_start, stream.video, None)
        self.writer.write(frame)
        return ended

    def end(self) -> ClipWriter | None:
        """End the current clip and return it; the next frame begins another."""
        ended, self.writer = self.writer, None
        return ended


def _same_day(writer: ClipWriter, when: datetime) -> bool:
    return writer.clip_start.start.date() == when.date()


def _frame(entry: TimedPacket, number: int) -> TimedPacket:
    """The keyframe as frame `number` of the timelapse."""
    packet: AnyPacket = Packet(bytes(cast("AnyPacket", entry.packet)))
    packet.pts = packet.dts = number
    packet.duration, packet.time_base, packet.is_keyframe = 1, Fraction(1, RATE), True
    at = number / RATE
    return replace(entry, at=at, order=at, length=1 / RATE, packet=packet)
