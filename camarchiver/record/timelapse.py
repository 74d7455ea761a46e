"""A day in a few minutes: one of the camera's own keyframes every so often, in a clip of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import cast

from av.packet import Packet

from camarchiver.naming.recorder_names import Kind
from camarchiver.record.capture.feed import AnyPacket
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import Opened
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.spool import Folders

RATE = 30
"""Frames a second that it is played at."""
_EARLY = 0.1
"""Share of the interval by which a keyframe may come early: its time is rounded."""


@dataclass
class Timelapse:
    """One camera's; nothing is encoded, since a keyframe needs no other frame."""

    interval: float
    """Seconds of the camera between two of its frames; with fewer keyframes it takes each."""
    folders: Folders
    writer: ClipWriter | None = field(default=None, init=False)
    """The clip of this day."""
    _due: float = field(default=float("-inf"), init=False)
    _header: tuple[object, ...] = field(default=(), init=False)
    """What a decoder is told of the pictures before the first one; one clip has one."""

    def add(self, entry: TimedPacket, moment: float, when: datetime, stream: Opened) -> ClipWriter | None:
        """Take a keyframe where it is time; the clip that ended before it, if one did.

        `moment` is in seconds of a clock that never steps. Raises OSError or av.FFmpegError.
        """
        if moment < self._due - _EARLY * self.interval:
            return None
        self._due = moment + self.interval
        codec = stream.video.codec_context
        header = codec.name, codec.width, codec.height, codec.extradata
        same = header == self._header and self.writer is not None and _same_day(self.writer, when)
        ended = None if same else self.end()
        self._header = header
        frame = _frame(entry, self.writer.frames if self.writer else 0)
        if self.writer is None:
            clip_start = ClipStart(when, frame, 0.0, 0.0, kind=Kind.TIMELAPSE)
            self.writer = ClipWriter(self.folders, clip_start, stream.video, None)
        self.writer.write(frame)
        return ended

    def end(self) -> ClipWriter | None:
        """The clip that was being written, which the next frame follows in another."""
        ended, self.writer = self.writer, None
        return ended


def _same_day(writer: ClipWriter, when: datetime) -> bool:
    return writer.clip_start.start.date() == when.date()


def _frame(entry: TimedPacket, number: int) -> TimedPacket:
    """A keyframe as the frame of that number."""
    packet: AnyPacket = Packet(bytes(cast("AnyPacket", entry.packet)))
    packet.pts = packet.dts = number
    packet.duration, packet.time_base, packet.is_keyframe = 1, Fraction(1, RATE), True
    at = number / RATE
    return replace(entry, at=at, order=at, length=1 / RATE, packet=packet)
