"""One packet of a stream, with what decisions need of it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace


class TimedPacket(Struct, frozen=True):
    """One packet, with what decisions need of it."""

    at: float
    """Presentation time in seconds of the source's own clock."""
    order: float
    """Decoding time in seconds of the source's own clock."""
    length: float
    """Seconds that it is shown or heard; 0 if the source doesn't say."""
    video: bool
    key: bool
    """Whether it is the first packet of a group of pictures; video only."""
    size: int
    """Bytes."""
    arrival: float
    """When it was read, in seconds of the monotonic clock."""
    packet: object
    """The demuxer's packet, which only the spool and the detector read."""
    refresh: int = 0
    """How many pictures follow a keyframe until one is whole; 0 if it is whole itself."""

    def moved(self, seconds: float) -> TimedPacket:
        """The packet moved by these seconds of the source's clock; the demuxer's packet is changed."""
        packet: Any = self.packet
        ticks = round(seconds / packet.time_base)
        packet.pts, packet.dts = (packet.pts or 0) + ticks, (packet.dts or 0) + ticks
        return replace(self, at=self.at + seconds, order=self.order + seconds)
