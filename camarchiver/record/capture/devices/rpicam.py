"""The Raspberry Pi's camera without Python bindings: `rpicam-vid` on a pipe."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

from camarchiver.errors import UsageError
from camarchiver.record.capture import feed
from camarchiver.record.capture.feed import CaptureMode, CaptureProcess, Feed

_PROGRAMS = ("rpicam-vid", "libcamera-vid")
"""The second is the older name."""


@dataclass(frozen=True, slots=True)
class RpicamCamera:
    """A Raspberry Pi camera; its program is restarted whenever it is lost."""

    program: str
    number: int
    mode: CaptureMode
    live: bool = field(default=True, init=False)
    reconnects: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        """The name on the command line, without the mode."""
        return f"rpicam-vid:{self.number}"

    def open(self) -> Feed:
        """Start the program. MPEG-TS carries the sensor's own times."""
        process = CaptureProcess(self.command(), timeout=feed.SILENCE)
        return feed.of_process(process, form="mpegts")

    def command(self) -> tuple[str, ...]:
        """Its command line: a keyframe every second and a half, and errors alone on stderr."""
        width, height = self.mode.pixels
        return (
            *(self.program, "--verbose", "0", "--timeout", "0", "--nopreview", "--camera", str(self.number)),
            *("--width", str(width), "--height", str(height), "--framerate", str(self.mode.frames)),
            *("--intra", str(self.mode.group), "--codec", "libav", "--libav-format", "mpegts"),
            *("--output", "-"),
        )


def find(number: int, mode: CaptureMode) -> RpicamCamera:
    """The camera of that number. Raises UsageError where the program is not installed."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise UsageError("rpicam-vid is not installed", hint="apt install rpicam-apps")
    return RpicamCamera(program, number, mode)
