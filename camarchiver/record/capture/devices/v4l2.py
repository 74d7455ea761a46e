"""The kernel's cameras, /dev/videoN: the formats that they deliver, and ffmpeg as their reader."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from camarchiver.errors import UsageError, cause
from camarchiver.record.capture import feed
from camarchiver.record.capture.devices import h264_encoder
from camarchiver.record.capture.feed import CaptureMode, CaptureProcess, Feed

_ENUM_FMT = 0xC0405602
"""VIDIOC_ENUM_FMT of linux/videodev2.h with its struct v4l2_fmtdesc of 64 bytes."""
_FMTDESC = struct.Struct("=III32s4sI12x")
_CAPTURE = 1
_COMPRESSED = {"H264": "h264", "HEVC": "hevc", "MJPG": "mjpeg", "JPEG": "mjpeg"}
"""ffmpeg's names of the formats that are preferred to uncompressed pictures, best first."""


@dataclass(frozen=True, slots=True)
class DeviceCamera:
    """A camera of the kernel: its own H.264 as packets, otherwise its pictures encoded by ffmpeg."""

    path: Path
    mode: CaptureMode
    live: bool = field(default=True, init=False)
    reconnects: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        """The device's path."""
        return str(self.path)

    def open(self) -> Feed:
        """Start ffmpeg on the device."""
        offered = formats(self.path)
        wanted = next((name for code, name in _COMPRESSED.items() if code in offered), "")
        process = CaptureProcess(command(self.path, self.mode, wanted), timeout=feed.SILENCE)
        try:
            return feed.of_process(process, form=h264_encoder.FORM)
        except ValueError as error:
            if os.strerror(errno.EBUSY) in str(error):
                raise OSError(errno.EBUSY, "another program uses it") from error
            raise


def command(path: Path, mode: CaptureMode, wanted: str) -> tuple[str, ...]:
    """ffmpeg's command line for a device that should deliver the format `wanted`. Raises EncoderError."""
    size = f"{mode.size[0]}x{mode.size[1]}" if mode.size else ""
    rate = str(mode.rate) if mode.rate else ""
    source = ["-f", "v4l2"]
    for option, value in (("-input_format", wanted), ("-video_size", size), ("-framerate", rate)):
        source += [option, value] if value else []
    source += ["-i", str(path)]
    compressor = h264_encoder.compressor()
    if wanted in ("h264", "hevc"):
        binary = str(compressor.ffmpeg.path)
        return (binary, "-v", "error", *source, "-map", "0:v:0", "-c", "copy", *h264_encoder.matroska())
    return compressor.command(source)


def formats(path: Path) -> frozenset[str]:
    """The four-letter codes of the formats that a device delivers. Raises UsageError with the remedy."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there", hint="v4l2-ctl --list-devices lists cameras") from error
    except PermissionError as error:
        hint = f"usermod -aG {_group(path)} USER, with the user that records; then log in again"
        raise UsageError(f"{path}: no permission to read it", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{path} can't be opened: {cause(error)}", hint="try another one") from error
    try:
        found = _enumerated(descriptor)
    except OSError as error:
        raise UsageError(f"{path} is no camera: {cause(error)}", hint=_OTHER) from error
    finally:
        os.close(descriptor)
    if not found:
        raise UsageError(f"{path} delivers no pictures", hint=_OTHER)
    return frozenset(found)


_OTHER = "many cameras have a second node without pictures; v4l2-ctl --list-devices lists all"


def _enumerated(descriptor: int) -> list[str]:
    found: list[str] = []
    while True:
        asked = _FMTDESC.pack(len(found), _CAPTURE, 0, b"", b"", 0)
        try:
            answer = fcntl.ioctl(descriptor, _ENUM_FMT, asked)
        except OSError as error:
            # the end of the list; also the first answer of a node without pictures
            if error.errno == errno.EINVAL:
                return found
            raise
        found.append(_FMTDESC.unpack(answer)[4].decode("ascii", "replace"))


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return "video"
