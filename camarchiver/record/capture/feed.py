"""An opened source: its packets, from a container or from a process, and how to close it."""

from __future__ import annotations

import contextlib
import io
import os
import select
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import cause
from camarchiver.runtime import processes
from camarchiver.runtime.processes import BoundedLines

SILENCE = 8.0
"""Seconds without a new frame after which a camera counts as lost."""
COPIED = frozenset({"h264", "hevc", "av1", "mpeg4"})
"""Codecs that a clip holds as they are."""

_PROMPTLY = {"probesize": "32", "analyzeduration": "0"}
"""For a container that describes its streams before their packets: nothing is probed in advance."""
_ENDING_SECONDS = 0.5


class CaptureMode(Struct, frozen=True):
    """The requested mode of a local camera. None means the camera's choice, or a default."""

    size: tuple[int, int] | None = None
    rate: int | None = None
    """Frames a second."""

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height for a camera that needs them."""
        return self.size or (1920, 1080)

    @property
    def frames(self) -> int:
        """Frames a second for a camera that needs them."""
        return self.rate or 15

    @property
    def group(self) -> int:
        """Frames from one keyframe to the next: a second and a half, so that pre-roll is not too long."""
        return max(self.frames * 3 // 2, 1)


AnyPacket: TypeAlias = "Packet[Any]"
AnyStream = TypeVar("AnyStream", VideoStream, AudioStream)


def _no_complaint() -> str:
    return ""


class Feed(Struct, frozen=True):
    """The streams that are recorded, and their packets in the order of decoding."""

    video: VideoStream
    """Describes the pictures; it stays valid after the source is closed."""
    audio: AudioStream | None
    packets: Iterator[AnyPacket]
    close: Callable[[], str] = _no_complaint
    """Close the source, in the thread that reads it; returns its last error message, or empty."""
    interrupt: Callable[[], object] = _no_complaint
    """End reading, from any thread, if the source allows that."""
    guessed: bool = False
    """The source states presentation times, and decoding times are a guess."""


def of_container(container: InputContainer, end: Callable[[], str] = _no_complaint) -> Feed:
    """The first video and the first audio stream; `end` ends what feeds the container. Raises ValueError.

    Closing it frees the streams that its packets came from: afterwards only a packet's own data may be
    used.
    """
    try:
        videos = [one for one in container.streams.video if one.codec_context is not None]
        if not videos:
            raise ValueError("there is no video in it")
        sounds = [one for one in container.streams.audio if one.codec_context is not None]
        video, audio = videos[0], sounds[0] if sounds else None
        packets = cast("Generator[AnyPacket]", container.demux([video, audio] if audio else [video]))
        unbroken = _unbroken(packets)
        described = detached(video), detached(audio) if audio else None
    except BaseException:
        container.close()
        raise

    def close() -> str:
        complaint = end()
        # the iterators hold the container's memory until they are closed
        unbroken.close()
        packets.close()
        container.close()
        return complaint

    return Feed(*described, unbroken, close, end)


def detached(stream: AnyStream) -> AnyStream:
    """The same description of a stream, which outlives its container."""
    # a container without a header written writes nothing; nut holds every codec
    muxer = av.open(io.BytesIO(), "w", format="nut")
    return muxer.add_stream_from_template(stream, opaque=True)


def _unbroken(packets: Iterator[AnyPacket]) -> Generator[AnyPacket]:
    """The packets, without a last one that could be read only in part.

    If a source ends early, libavformat still returns the part of the last packet, marked as corrupt.
    Within a stream corrupt packets stay: a camera's damaged frame shows more than none.
    """
    broken: AnyPacket | None = None
    for packet in packets:
        if broken is not None and packet.size:  # the last is followed by empty ones
            yield broken
        broken = packet if packet.is_corrupt else None
        if broken is None:
            yield packet


def template(keyframe: bytes, codec: str, time_base: Fraction) -> VideoStream:
    """The stream that an Annex B keyframe with its parameter sets describes. Raises ValueError."""
    try:
        with av.open(io.BytesIO(keyframe), "r", format=codec) as container:
            stream = detached(container.streams.video[0])
    except (av.FFmpegError, IndexError) as error:
        raise ValueError("its first keyframe can't be read") from error
    if not stream.codec_context.width:
        raise ValueError("its first keyframe can't be read")
    stream.time_base = time_base
    return stream


def timed(packet: AnyPacket) -> bool:
    """Complete the times of a packet; False for the empty one at the end and for one without any time."""
    if not packet.size or (packet.pts is None and packet.dts is None):
        return False
    # an RTSP stream's first packet has no decoding time, an avi's have no presentation time
    if packet.dts is None:
        packet.dts = packet.pts
    if packet.pts is None:
        packet.pts = packet.dts
    return True


class CaptureProcess:
    """A program that writes video to its standard output; it ends with the thread that began it."""

    def __init__(self, command: Sequence[str], *, timeout: float | None, pipe_in: bool = False) -> None:
        """`timeout`: seconds without a byte after which reading fails; None to wait. Raises OSError."""
        self._program = os.path.basename(command[0])  # noqa: PTH119 - a command's word, no path to look at
        self._timeout = timeout
        self._process = processes.start(
            command,
            stdin=subprocess.PIPE if pipe_in else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            environment={"AV_LOG_FORCE_NOCOLOR": "1"},
        )
        self._errors = BoundedLines()
        self._listener = processes.drain(self._process.stderr, self._errors.keep)

    @property
    def stdin(self) -> Any:
        """Its standard input as a file; only with `pipe_in`."""
        return self._process.stdin

    def read(self, size: int) -> bytes:
        """Some of its output, as PyAV requests it; empty at the end. Raises TimeoutError."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], self._timeout)[0]:
            raise TimeoutError(f"no data for {self._timeout:.0f} s")
        return os.read(descriptor, size)

    def end(self) -> str:
        """End it; returns why it failed, in its own words if there are any, or empty."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING_SECONDS)
        status = self._process.returncode
        processes.end(self._process)
        self._listener.join(_ENDING_SECONDS)
        if status == 0:
            return ""
        if lines := self._errors.lines():
            return lines[-1]
        return f"{self._program} ended with status {status}" if status else ""

    def close(self) -> str:
        """End it and close its pipes; returns why it failed, or empty."""
        complaint = self.end()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return complaint


def of_process(process: CaptureProcess, *, form: str) -> Feed:
    """A process's output in the container format `form`. Raises OSError, av.FFmpegError, ValueError."""
    try:
        options = _PROMPTLY if form == "matroska" else {}
        container = cast("InputContainer", av.open(process, format=form, options=options))
        made = of_container(container, process.end)
    except BaseException as error:
        complaint = process.close()
        if complaint and isinstance(error, av.FFmpegError | ValueError):
            raise ValueError(complaint) from error
        raise

    def close() -> str:
        complaint = made.close()
        process.close()
        return complaint

    return replace(made, close=close)


class FeedWriter:
    """A thread that writes the packets of one feed to a process."""

    def __init__(self, feed: Feed, process: CaptureProcess) -> None:
        self._feed, self._process = feed, process
        self._error = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)
        self._thread.start()

    def end(self) -> str:
        """Stop; returns why the source ended, otherwise the error message of the process."""
        self._closed.set()
        complaint = self._process.end()
        return self._error or complaint

    def join(self) -> None:
        """Wait until the source is closed; one that hangs is closed after too long a silence."""
        self._thread.join(SILENCE + _ENDING_SECONDS)

    def _run(self) -> None:
        # the process reports why writing failed
        with (
            contextlib.suppress(OSError, av.FFmpegError, ValueError),
            self._process.stdin as pipe,
            av.open(pipe, "w", format="nut", options={"flush_packets": "1"}) as output,
        ):
            streams = [one for one in (self._feed.video, self._feed.audio) if one is not None]
            copies = {one.type: output.add_stream_from_template(one, opaque=True) for one in streams}
            for packet in self._packets():
                packet.stream = copies[packet.stream.type]
                output.mux_one(packet)
        self._feed.close()

    def _packets(self) -> Iterator[AnyPacket]:
        try:
            for packet in self._feed.packets:
                if self._closed.is_set():
                    return
                if timed(packet):
                    yield packet
        except (OSError, av.FFmpegError, ValueError) as error:
            self._error = cause(error)
