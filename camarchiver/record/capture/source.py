"""Where packets come from: files, FIFOs, devices and network cameras behind one small interface."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

import av
from msgspec.structs import replace

from camarchiver.errors import UsageError
from camarchiver.record.capture import feed
from camarchiver.record.capture.devices import rpicam, v4l2
from camarchiver.record.capture.devices.v4l2 import DeviceCamera
from camarchiver.record.capture.feed import SILENCE, CaptureMode, Feed
from camarchiver.runtime.formatting import without_secrets


class Camera(Protocol):
    """One kind of source."""

    @property
    def name(self) -> str:
        """Safe to print: without credentials."""
        ...

    @property
    def live(self) -> bool:
        """Whether packets arrive when they are made, so that their arrival gives the time."""
        ...

    @property
    def reconnects(self) -> bool:
        """Whether the reader reconnects after a lost connection; otherwise the stream has ended."""
        ...

    def open(self) -> Feed:
        """Open the source. Raises OSError, av.FFmpegError, ValueError or CamarchiverError."""
        ...


@dataclass(frozen=True, slots=True)
class FileCamera:
    """A clip, read as fast as possible or as fast as it was recorded; or a FIFO that is filled."""

    path: Path
    realtime: bool = False
    reconnects: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def live(self) -> bool:
        """Whether a FIFO's writer or `realtime` sets the pace."""
        return self.realtime or stat.S_ISFIFO(self.path.stat().st_mode)

    def open(self) -> Feed:
        """Open it; a FIFO waits for its writer."""
        # `file:` keeps names such as `concat:x.mp4` from being taken for a protocol
        return feed.of_container(av.open(f"file:{self.path}"))


TRANSPORTS = {
    "tcp": {"rtsp_transport": "tcp"},
    "udp": {"rtsp_transport": "udp"},
    "auto": {"rtsp_transport": "tcp+udp", "rtsp_flags": "prefer_tcp"},
}
"""The values of `?transport=` in an address, with libavformat's options."""


@dataclass(frozen=True, slots=True)
class RtspCamera:
    """A network camera; over TCP, which loses nothing, unless the address requests another transport."""

    url: str = field(repr=False)
    """Without credentials."""
    credentials: str = field(default="", repr=False)
    """`USER:PASSWORD`."""
    transport: str = "tcp"
    """One of TRANSPORTS."""
    live: bool = field(default=True, init=False)
    reconnects: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        """The URL, without a password that some cameras require in it."""
        return without_secrets(self.url)

    def open(self) -> Feed:
        """Connect; gives up after SILENCE seconds, also while reading."""
        scheme, rest = self.url.split("://", 1)
        user, _, password = self.credentials.partition(":")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if self.credentials else ""
        container = av.open(
            f"{scheme}://{login}{rest}",
            options=dict(TRANSPORTS[self.transport]),
            timeout=(SILENCE, SILENCE),
        )
        return replace(feed.of_container(container), guessed=True)


def camera(source: str, *, realtime: bool = False, credentials: str = "") -> Camera:
    """The camera that the command line's `--source` names. Raises UsageError."""
    kind, _, rest = source.partition(":")
    if kind.lower() in ("rtsp", "rtsps"):
        return _rtsp(source, credentials)
    if kind in ("rpicam-vid", "picamera2"):
        number, mode = _local(rest or "0")
        if not number.isdecimal():
            raise UsageError(f"{number!r} is no number of a camera", hint=f"write {kind}:0")
        if kind == "rpicam-vid":
            return rpicam.find(int(number), mode)
        return _picamera(int(number), mode)
    if kind == "v4l2" or source.startswith("/dev/video"):
        path, mode = _local(source.removeprefix("v4l2:"))
        v4l2.formats(Path(path))
        return DeviceCamera(Path(path), mode)
    if "://" in source:
        raise UsageError(f"{kind}:// is no known kind of source", hint=_KINDS)
    file = Path(source.removeprefix("file:"))
    if not file.exists() or file.is_dir():
        # an address without its scheme may hold a password
        named = "the source" if "@" in source else file
        raise UsageError(f"{named} is not a file", hint=_KINDS)
    return FileCamera(file, realtime)


_KINDS = "use rtsp://HOST/PATH, /dev/video0, picamera2:, rpicam-vid:, file:CLIP or file:FIFO"


def _rtsp(source: str, credentials: str) -> RtspCamera:
    """The camera of an address. An invalid one is not repeated, since a password may be anywhere in it."""
    scheme, _, rest = source.partition("://")
    end = next((number for number, character in enumerate(rest) if character in "/?#"), len(rest))
    own, _, host = rest[:end].rpartition("@")
    try:
        parts = urlsplit(f"{scheme.lower()}://{host}{rest[end:]}")
        named = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    if not named or "@" in rest[end:]:
        raise UsageError("the camera's address can't be read", hint=_ADDRESS)
    transport, query = _transport(parts.query)
    address = parts._replace(query=query).geturl()
    return RtspCamera(address, credentials or ":".join(map(unquote, own.split(":", 1))), transport)


def _transport(query: str) -> tuple[str, str]:
    """The transport that an address requests, and the query that the camera gets."""
    asked = {f"transport={name}": name for name in TRANSPORTS}
    parts = query.split("&") if query else []
    found = [asked[part] for part in parts if part in asked]
    return found[-1] if found else "tcp", "&".join(part for part in parts if part not in asked)


_ADDRESS = (
    "write rtsp://USER:PASSWORD@HOST/PATH, and in the password %2F for /, %23 for #, %3F for ?, %40 for @ and"
    " %25 for %; or name a file that holds USER:PASSWORD with --credentials"
)


def _picamera(number: int, mode: CaptureMode) -> Camera:
    # it imports OpenCV, which only its pictures need
    from camarchiver.record.capture.devices import picamera

    return picamera.find(number, mode)


def _local(text: str) -> tuple[str, CaptureMode]:
    """The name of a local camera, and the mode after a comma. Raises UsageError."""
    which, _, wanted = text.partition(",")
    found = _MODE.fullmatch(wanted)
    if found is None:
        raise UsageError(f"{wanted!r} is no size and rate", hint=f"write {which},1280x720@15")
    size = (int(found["width"]), int(found["height"])) if found["width"] else None
    return which, CaptureMode(size, int(found["rate"]) if found["rate"] else None)


_MODE = re.compile(r"((?P<width>[1-9]\d{1,4})x(?P<height>[1-9]\d{1,4}))?(@(?P<rate>[1-9]\d{0,2}))?", re.ASCII)
