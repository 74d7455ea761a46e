"""Where packets come from: files, FIFOs and RTSP cameras behind one small interface, read by a thread."""

from __future__ import annotations

import logging
import queue
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from camarchiver.errors import UsageError
from camarchiver.ring import Entry

_log = logging.getLogger("camarchiver.cameras")

SILENCE = 10.0
"""Seconds without a new frame after which a camera counts as lost."""
BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds to wait before the next try to reach a camera; the last one again and again."""
WAITING = 1000
"""Packets that may wait for the recorder; then the camera's own buffer has to hold them."""


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

    def open(self) -> InputContainer:
        """Reach the source. Raises OSError or av.FFmpegError."""
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

    def open(self) -> InputContainer:
        """Open it; a FIFO waits for its writer."""
        # `file:` keeps names such as `concat:x.mp4` from being taken for a protocol
        return av.open(f"file:{self.path}")


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

    def open(self) -> InputContainer:
        """Connect; gives up after SILENCE seconds, also while reading."""
        scheme, rest = self.url.split("://", 1)
        user, _, password = self.credentials.partition(":")
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if self.credentials else ""
        return av.open(
            f"{scheme}://{login}{rest}",
            options={"rtsp_transport": "tcp"},
            timeout=(SILENCE, SILENCE),
        )


def camera(source: str, *, realtime: bool = False, credentials: str = "") -> FileCamera | RtspCamera:
    """The camera that `file:PATH`, `PATH` or `rtsp://...` names. Raises UsageError."""
    if source.startswith(("rtsp://", "rtsps://")):
        parts = urlsplit(source)
        own = parts.netloc.rpartition("@")[0]
        clean = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if not parts.hostname:
            raise UsageError(f"{clean} names no host", hint="write rtsp://HOST/PATH")
        return RtspCamera(clean, credentials or own)
    if "://" in source:
        kind = source.split("://", 1)[0]
        raise UsageError(f"{kind}:// is no known kind of source", hint="use rtsp://HOST/PATH or file:PATH")
    path = Path(source.removeprefix("file:"))
    if not path.exists() or path.is_dir():
        raise UsageError(f"{path} is not a file", hint="use file:CLIP, file:FIFO or rtsp://HOST/PATH")
    return FileCamera(path, realtime)


@dataclass(frozen=True, slots=True)
class Opened:
    """The source was reached, also once more: what follows has a clock of its own."""

    video: VideoStream
    audio: AudioStream | None


@dataclass(frozen=True, slots=True)
class Lost:
    """The camera went away; the reader seeks it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing follows."""

    error: str = ""
    """Empty where the source just came to its end."""


Item = Opened | Entry | Lost | Ended


class Reader:
    """A thread that demuxes one camera and seeks it when it is lost."""

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self._closed = threading.Event()
        self._items: queue.Queue[Item] = queue.Queue(WAITING)
        self._paced = isinstance(camera, FileCamera) and camera.realtime
        self._thread = threading.Thread(target=self._run, name=f"read {camera.name}", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Item | None:
        """The next item; None where there was none for so many seconds."""
        try:
            return self._items.get(timeout=timeout) if timeout else self._items.get_nowait()
        except queue.Empty:
            # a bug must not leave the recorder waiting for ever
            return None if self._thread.is_alive() or self._items.qsize() else Ended("its reader died")

    def close(self) -> None:
        """Let the thread end; it may still wait for the source for a while."""
        self._closed.set()

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            seen = False
            reason = "its stream ended"
            try:
                for item in self._session():
                    seen = seen or isinstance(item, Entry)
                    self._put(item)
            except (OSError, av.FFmpegError, ValueError) as error:
                reason = _words(error)
                if not self.camera.returns:
                    self._put(Ended(reason))
                    return
            if not self.camera.returns:
                self._put(Ended())
                return
            failures = 0 if seen else failures + 1
            self._put(Lost(reason))
            self._closed.wait(BACKOFF[min(failures, len(BACKOFF) - 1)])

    def _session(self) -> Iterator[Item]:
        # Not closed by hand: the recorder may still make a clip after the streams' pattern. It goes with
        # the last of them.
        container = self.camera.open()
        videos = container.streams.video
        if not videos:
            raise ValueError("there is no video in it")
        audio = container.streams.audio[0] if container.streams.audio else None
        chosen = [videos[0], *([audio] if audio else [])]
        yield Opened(videos[0], audio)
        last_frame = time.monotonic()
        pace = _Pace() if self._paced else None
        for packet in container.demux(chosen):
            entry = _entry(packet)
            if entry is None:
                continue
            if entry.video:
                last_frame = entry.arrival
            elif self.camera.returns and entry.arrival - last_frame > SILENCE:
                raise ValueError(f"no frame for {SILENCE:.0f} s")
            if pace is not None:
                pace.wait(entry.order, self._closed)
                entry = _entry(packet)
            if entry is not None:
                yield entry
            if self._closed.is_set():
                return

    def _put(self, item: Item) -> None:
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=0.5)
                return
            except queue.Full:
                continue


class _Pace:
    """Holds a file's packets back until their time has come."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def wait(self, at: float, closed: threading.Event) -> None:
        now = time.monotonic()
        if self._ahead is None:
            self._ahead = at - now
        if (pause := at - self._ahead - now) > 0:
            closed.wait(pause)


def _entry(packet: Packet[Any]) -> Entry | None:
    """What decisions need of a packet; None for the empty one at the end and for one without any time."""
    if not packet.size or (packet.pts is None and packet.dts is None):
        return None
    # an RTSP stream's first packet has no decoding time, an avi's have no presentation time
    if packet.dts is None:
        packet.dts = packet.pts
    if packet.pts is None:
        packet.pts = packet.dts
    base = packet.time_base
    return Entry(
        at=float(cast("int", packet.pts) * base),
        order=float(cast("int", packet.dts) * base),
        length=float((packet.duration or 0) * base),
        video=packet.stream.type == "video",
        key=packet.is_keyframe,
        size=packet.size,
        arrival=time.monotonic(),
        packet=packet,
    )


def _words(error: Exception) -> str:
    if isinstance(error, av.error.ExitError):
        return f"no answer for {SILENCE:.0f} s"
    # the whole text of FFmpeg's errors holds the address with its password
    return getattr(error, "strerror", None) or str(error)
