"""A dry run of `record`: shows the motion of a file and records nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from camarchiver.domain.report import Status
from camarchiver.errors import ExitCode, Problem, StorageError, UsageError
from camarchiver.output.json import answers
from camarchiver.record.preview import motion_of
from camarchiver.runtime import formatting

if TYPE_CHECKING:
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.detection_stream import DetectionStream


def preview(source: Camera, stream: DetectionStream, max_seconds: float | None, *, as_json: bool) -> int:
    """Show what would be recorded, in seconds from the first frame."""
    if source.reconnects:
        raise UsageError("--dry-run needs a source that ends", hint="use file:CLIP")
    events, error = motion_of(source, stream, max_seconds)
    exit_code = ExitCode.FAILED if error else ExitCode.DONE
    if as_json:
        found = [{"start": one.start, "end": one.end, "peak": one.peak, "zone": one.zone} for one in events]
        status = Status.FAILED if error else Status.DONE if events else Status.NOTHING
        problems = [Problem("failed", f"{source.name}: {error}")] if error else []
        sys.stdout.write(
            answers.recorded({"dry_run": True, "events": found}, "", status, exit_code, problems)
        )
        return exit_code
    for one in events:
        zone = f", in {formatting.shown(one.zone)}" if one.zone else ""
        sys.stdout.write(f"{one.start:.1f} s to {one.end:.1f} s: {one.peak:.2f} % of the picture{zone}\n")
    if error:
        raise StorageError(f"{source.name} can't be read on: {error}")
    return exit_code
