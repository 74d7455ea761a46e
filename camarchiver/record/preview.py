"""Finds the motion in a source of limited length, and records nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from camarchiver.motion.events import MotionEvent
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.detection_stream import DetectionStream


def motion_of(
    source: Camera, stream: DetectionStream, max_seconds: float | None
) -> tuple[list[MotionEvent], str]:
    """Events in seconds from the first frame, and why the source could not be read to its end, or empty."""
    from camarchiver.record.capture.packet import TimedPacket
    from camarchiver.record.capture.reader import Reader, StreamEnded, StreamOpened

    found: list[MotionEvent] = []
    first: float | None = None
    error = ""
    reader = Reader(source)
    while True:
        item = reader.take(1.0)
        if isinstance(item, StreamOpened):
            stream.begin(item)
        elif isinstance(item, TimedPacket) and item.video:
            first = item.at if first is None else first
            if max_seconds is not None and item.at - first >= max_seconds:
                break
            found += stream.see(item)
        elif isinstance(item, StreamEnded):
            error = item.error
            break
    found += stream.finish()
    reader.close()
    stream.close()
    zero = first or 0.0
    return [
        replace(one, start=one.start - zero, end=one.end - zero, peak_at=one.peak_at - zero) for one in found
    ], error
