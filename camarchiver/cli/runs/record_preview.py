"""A dry run of `record`: the motion of a file, and nothing recorded."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from camarchiver.domain.report import Status
from camarchiver.errors import ExitCode, Problem, StorageError, UsageError
from camarchiver.output import json_document
from camarchiver.runtime import formatting

if TYPE_CHECKING:
    from camarchiver.cli.runs.record import RecordOptions
    from camarchiver.motion.events import MotionEvent
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.detection_stream import DetectionStream


def preview(options: RecordOptions) -> int:
    """Show what would be recorded, in seconds from the first frame."""
    source, lookout = options.sources()
    if source.returns:
        raise UsageError("--dry-run needs a source that ends", hint="use file:CLIP")
    limit = options.duration.total_seconds() if options.duration else None
    events, error = _events(source, lookout, limit)
    exit_code = ExitCode.FAILED if error else ExitCode.DONE
    if options.as_json:
        found = [{"start": one.start, "end": one.end, "peak": one.peak, "zone": one.zone} for one in events]
        status = Status.FAILED if error else Status.DONE if events else Status.NOTHING
        problems = [Problem("failed", f"{source.name}: {error}")] if error else []
        sys.stdout.write(
            json_document.recorded({"dry_run": True, "events": found}, "", status, exit_code, problems)
        )
        return exit_code
    for one in events:
        zone = f", in {formatting.shown(one.zone)}" if one.zone else ""
        sys.stdout.write(f"{one.start:.1f} s to {one.end:.1f} s: {one.peak:.2f} % of the picture{zone}\n")
    if error:
        raise StorageError(f"{source.name} can't be read on: {error}")
    return exit_code


def _events(source: Camera, lookout: DetectionStream, limit: float | None) -> tuple[list[MotionEvent], str]:
    """The motion of a whole source, and why it could not be read to its end."""
    from camarchiver.record.capture.packet import TimedPacket
    from camarchiver.record.capture.reader import Opened, Reader, StreamEnded

    found: list[MotionEvent] = []
    first: float | None = None
    error = ""
    reader = Reader(source)
    while True:
        item = reader.take(1.0)
        if isinstance(item, Opened):
            lookout.begin(item)
        elif isinstance(item, TimedPacket) and item.video:
            first = item.at if first is None else first
            if limit is not None and item.at - first >= limit:
                break
            found += lookout.see(item)
        elif isinstance(item, StreamEnded):
            error = item.error
            break
    found += lookout.finish()
    reader.close()
    lookout.close()
    zero = first or 0.0
    return [
        replace(one, start=one.start - zero, end=one.end - zero, peak_at=one.peak_at - zero) for one in found
    ], error
