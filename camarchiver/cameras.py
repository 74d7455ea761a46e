"""Where packets come from: files, FIFOs, devices and network cameras behind one small interface."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import av

from camarchiver import feeds, v4l2
from camarchiver.errors import UsageError
from camarchiver.feeds import SILENCE, Feed
from camarchiver.v4l2 import DeviceCamera


class Camera(Protocol):
    """One kind of source."""

    @property
    def name(self) -> str:
        """Safe to print: without credentials."""
        ...

    @property
    def live(self) -> bool:
        """Packets arrive when they are made, so that their arrival tells the time."""
        ...

    @property
    def returns(self) -> bool:
        """A lost connection is sought again; otherwise the end is the end."""
        ...

    def open(self) -> Feed:
        """Reach the source. Raises OSError, av.FFmpegError, ValueError or CamarchiverError."""
        ...


@dataclass(frozen=True, slots=True)
class FileCamera:
    """A clip, as fast as it can be read or as fast as it was recorded; or a FIFO that somebody fills."""

    path: Path
    realtime: bool = False
    returns: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def live(self) -> bool:
        """A FIFO's writer sets the pace."""
        return self.realtime or stat.S_ISFIFO(self.path.stat().st_mode)

    def open(self) -> Feed:
        """Open it; a FIFO waits for its writer."""
        # `file:` keeps names such as `concat:x.mp4` from being taken for a protocol
        return feeds.of_container(av.open(f"file:{self.path}"))


@dataclass(frozen=True, slots=True)
class RtspCamera:
    """A network camera, over TCP, which loses nothing."""

    url: str
    """Without credentials."""
    credentials: str = field(default="", repr=False)
    """`USER:PASSWORD`."""
    live: bool = field(default=True, init=False)
    returns: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        """The URL, which has no credentials."""
        return self.url

    def open(self) -> Feed:
        """Connect; gives up after SILENCE seconds, also while reading."""
        scheme, rest = self.url.split("://", 1)
        user, _, password = self.credentials.partition(":")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if self.credentials else ""
        container = av.open(
            f"{scheme}://{login}{rest}",
            options={"rtsp_transport": "tcp"},
            timeout=(SILENCE, SILENCE),
        )
        return feeds.of_container(container)


def camera(
    source: str, *, realtime: bool = False, credentials: str = ""
) -> FileCamera | RtspCamera | DeviceCamera:
    """The camera that `file:PATH`, `PATH`, `v4l2:DEVICE` or `rtsp://...` names. Raises UsageError."""
    if source.startswith(("rtsp://", "rtsps://")):
        return _rtsp(source, credentials)
    if "://" in source:
        kind = source.split("://", 1)[0]
        raise UsageError(f"{kind}:// is no known kind of source", hint=_KINDS)
    if source.startswith(("v4l2:", "/dev/video")):
        device = _device(source.removeprefix("v4l2:"))
        v4l2.formats(device.path)
        return device
    path = Path(source.removeprefix("file:"))
    if not path.exists() or path.is_dir():
        raise UsageError(f"{path} is not a file", hint=_KINDS)
    return FileCamera(path, realtime)


_KINDS = "use rtsp://HOST/PATH, /dev/video0, file:CLIP or file:FIFO"


def _rtsp(source: str, credentials: str) -> RtspCamera:
    parts = urlsplit(source)
    own = parts.netloc.rpartition("@")[0]
    clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if not parts.hostname:
        raise UsageError(f"{clean} names no host", hint="write rtsp://HOST/PATH")
    return RtspCamera(clean, credentials or own)


def _device(text: str) -> DeviceCamera:
    path, _, mode = text.partition(",")
    found = _MODE.fullmatch(mode)
    if found is None:
        raise UsageError(f"{mode!r} is no size and rate", hint="write /dev/video0,1280x720@15")
    return DeviceCamera(Path(path), v4l2.Mode(found["size"] or "", found["rate"] or ""))


_MODE = re.compile(r"(?P<size>[1-9]\d{1,4}x[1-9]\d{1,4})?(@(?P<rate>[1-9]\d{0,2}))?", re.ASCII)
