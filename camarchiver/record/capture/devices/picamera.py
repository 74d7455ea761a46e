"""The Raspberry Pi's camera through picamera2: H.264 for the clips, and small pictures for the detector."""

from __future__ import annotations

import importlib
import importlib.util
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream

from camarchiver.errors import UsageError, cause
from camarchiver.motion.planes import WIDTH, shrink
from camarchiver.motion.sampler import RATE, SampledPicture
from camarchiver.record.capture import feed
from camarchiver.record.capture.feed import AnyPacket, CaptureMode, Feed

_MICROSECONDS = Fraction(1, 1_000_000)
_WAITING = 300
"""Frames that may wait for the reader."""
_PICTURES = 100
"""Pictures that may wait for the detector; after that the oldest are dropped."""
_ENDING_SECONDS = 1.0
_BITS = 0.12
"""Bits for each pixel of each frame."""


@dataclass(frozen=True, slots=True)
class PicameraCamera:
    """A Raspberry Pi camera; it is restarted whenever it is lost."""

    number: int
    mode: CaptureMode
    pictures: deque[SampledPicture] = field(default_factory=lambda: deque(maxlen=_PICTURES), compare=False)
    """Pictures for the detector, by arrival in seconds of the monotonic clock; the reader removes them."""
    live: bool = field(default=True, init=False)
    reconnects: bool = field(default=True, init=False)

    @property
    def name(self) -> str:
        """The name on the command line, without the mode."""
        return f"picamera2:{self.number}"

    def open(self) -> Feed:
        """Start the camera and wait for its first keyframe."""
        session = _Session(self)
        try:
            first = session.first()
            video = feed.template(first.data, "h264", _MICROSECONDS)
        except BaseException:
            session.end()
            raise
        return Feed(video, None, session.packets(first, video), session.end, session.end)


def find(number: int, mode: CaptureMode) -> PicameraCamera:
    """The camera of that number. Raises UsageError where picamera2 is not installed."""
    if importlib.util.find_spec("picamera2") is None:
        raise UsageError(
            "picamera2 is not installed",
            hint="apt install python3-picamera2, and make the venv with --system-site-packages;"
            " or use rpicam-vid:",
        )
    return PicameraCamera(number, mode)


@dataclass(frozen=True, slots=True)
class _Frame:
    data: bytes
    key: bool
    at: int
    """Microseconds since the camera started."""


class _Session:
    """The camera, while it is open."""

    def __init__(self, camera: PicameraCamera) -> None:
        """Starts the camera. Raises ValueError with picamera2's message."""
        self._mode = camera.mode
        self._pictures = camera.pictures
        self._frames: queue.Queue[_Frame | str] = queue.Queue(_WAITING)
        """Frames, or the reason why there will be none."""
        self._closed = threading.Event()
        self._device: Any = None
        self._watcher = threading.Thread(target=self._watch, name="look at lores", daemon=True)
        try:
            self._start(camera.number)
        except Exception as error:  # it raises whatever its parts do
            self.end()
            raise ValueError(_message(error)) from error

    def _start(self, number: int) -> None:
        device = self._device = importlib.import_module("picamera2").Picamera2(number)
        width, height = self._mode.pixels
        config = device.create_video_configuration(
            main={"size": (width, height), "format": "YUV420"},
            lores={"size": (WIDTH, round(WIDTH * height / width / 2) * 2), "format": "YUV420"},
            controls={"FrameRate": self._mode.frames},
        )
        device.configure(config)
        encoder = importlib.import_module("picamera2.encoders").H264Encoder(
            bitrate=int(width * height * self._mode.frames * _BITS), repeat=True, iperiod=self._mode.group
        )
        device.start_recording(encoder, _output(self._frames))
        self._watcher.start()

    def first(self) -> _Frame:
        """The first keyframe. Raises TimeoutError."""
        while not (frame := self._next()).key:
            pass
        return frame

    def packets(self, first: _Frame, video: VideoStream) -> Iterator[AnyPacket]:
        """The frames from there on, as packets of that stream. Raises TimeoutError."""
        frame = first
        while not self._closed.is_set():
            packet: AnyPacket = Packet(frame.data)
            packet.pts = packet.dts = frame.at
            packet.duration = 1_000_000 // self._mode.frames
            packet.time_base, packet.is_keyframe, packet.stream = _MICROSECONDS, frame.key, video
            yield packet
            frame = self._next()

    def end(self) -> str:
        """Stop the camera, so that it can be opened again."""
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join(_ENDING_SECONDS)
        device, self._device = self._device, None
        if device is None:
            return ""
        try:
            device.stop_recording()
            device.close()
        except Exception as error:  # it raises whatever its parts do
            return _message(error)
        return ""

    def _next(self) -> _Frame:
        try:
            frame = self._frames.get(timeout=feed.SILENCE)
        except queue.Empty:
            raise TimeoutError(f"no frame for {feed.SILENCE:.0f} s") from None
        if isinstance(frame, str):
            raise ValueError(frame)
        return frame

    def _watch(self) -> None:
        device = self._device
        try:
            config = device.stream_configuration("lores")
            (width, height), stride = config["size"], config["stride"]
            while not self._closed.is_set():
                began = time.monotonic()
                rows = np.asarray(device.capture_buffer("lores"), np.uint8)[: stride * height]
                luma = rows.reshape(height, stride)[:, :width]
                self._pictures.append(SampledPicture(shrink(luma), time.monotonic()))
                self._closed.wait(max(0.0, 1 / RATE - (time.monotonic() - began) - 0.5 / self._mode.frames))
        except Exception as error:  # it raises whatever its parts do, also when it is stopped meanwhile
            if not self._closed.is_set():
                self._frames.put(_message(error))


def _message(error: Exception) -> str:
    return f"picamera2: {cause(error)}"


def _output(frames: queue.Queue[_Frame | str]) -> Any:
    """An output class for picamera2; a frame that does not fit into the queue is lost and counted as lost."""

    class Output(importlib.import_module("picamera2.outputs").Output):  # type: ignore[misc]  # no stubs
        def outputframe(
            self, frame: Any, keyframe: bool = True, timestamp: int | None = None, *others: object
        ) -> None:
            try:
                frames.put_nowait(_Frame(bytes(frame), bool(keyframe), int(timestamp or 0)))
            except queue.Full:
                return

    return Output()
