"""Recordings, their packets, and loopback cameras."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from camarchiver.domain.motion import View
from camarchiver.motion import events as motion_events
from camarchiver.record import recorder
from camarchiver.record.capture import feed
from camarchiver.record.capture.feed import Feed
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import Reader, StreamEnded, StreamOpened
from camarchiver.record.capture.source import FileCamera
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.outbox.recorded_clip import Recorded
from camarchiver.record.stream_detector import DetectionSettings
from tests import dates

REC_STILL = "color=gray:s=640x360:r=15:d={d},noise=alls=60:all_seed=7,boxblur=2,noise=alls=5:allf=t"
REC_THING = "color=white:s=50x90:r=15:d={d},drawbox=x=10:y=20:w=30:h=30:c=black:t=fill"
RecRun = Callable[..., subprocess.CompletedProcess[str]]

REC_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={sys.argv[2]} ! qtdemux name=d"
    "  d. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    "  d. ! queue ! aacparse ! rtpmp4apay name=pay1 pt=97 )"
)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


@dataclass(frozen=True, slots=True)
class RecPackets:
    """The packets of a file, in the order of decoding."""

    video: tuple[str, ...]
    """A hash of each."""
    audio: tuple[str, ...]
    times: tuple[float, ...]
    """Presentation times of the video, in seconds."""
    audio_times: tuple[float, ...]


def rec_packets(path: Path) -> RecPackets:
    """Every packet of a file."""
    found: dict[str, list[tuple[str, float]]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                digest = hashlib.md5(bytes(packet)).hexdigest()
                found[packet.stream.type].append((digest, float(packet.pts * packet.time_base)))
    (video, times), (audio, audio_times) = (
        tuple(zip(*found[kind], strict=True)) or ((), ()) for kind in ("video", "audio")
    )
    return RecPackets(video, audio, times, audio_times)


def rec_place(part: tuple[str, ...], whole: tuple[str, ...]) -> int:
    """Where `part` lies within `whole` without a gap; -1 if it doesn't."""
    starts = (n for n in range(len(whole) - len(part) + 1) if whole[n : n + len(part)] == part)
    return next(starts, -1)


def rec_slices(path: Path) -> tuple[str, ...]:
    """A digest of each H.264 packet's slices, which are the same in mp4 and in a transport stream."""
    digests = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        in_mp4 = (stream.codec_context.extradata or b"")[:1] == b"\x01"
        for packet in container.demux(stream):
            data, units = bytes(packet), []
            if in_mp4:
                while data:
                    length = int.from_bytes(data[:4]) + 4
                    units.append(data[4:length])
                    data = data[length:]
            else:
                units = re.split(rb"\x00*\x00\x00\x01", data)
            slices = [unit for unit in units if unit and unit[0] & 31 in (1, 5)]
            if slices:
                digests.append(hashlib.sha256(b"".join(slices)).hexdigest())
    return tuple(digests)


def rec_clips(folder: Path) -> list[Path]:
    """The clips of an outbox."""
    return sorted(folder.rglob("motion_*.mp4"))


@dataclass(frozen=True, slots=True)
class RecCamera:
    """A loopback RTSP camera that shows a clip to whoever connects."""

    port: int
    clip: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self) -> subprocess.Popen[str]:
        """Switch it on; it answers when this returns."""
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", REC_SERVER, str(self.port), str(self.clip)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


def rec_document(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON document of a run."""
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def rec_items(path: Path) -> tuple[StreamOpened, list[TimedPacket]]:
    """A whole file as its reader gives it."""
    reader = Reader(FileCamera(path))
    opened = reader.take(10)
    assert isinstance(opened, StreamOpened)
    entries = []
    while isinstance(item := reader.take(10), TimedPacket):
        entries.append(item)
    assert item == StreamEnded()
    return opened, entries


def rec_watch(**chosen: bool) -> DetectionSettings:
    return DetectionSettings(motion_events.rules_for("medium"), View(), chosen.get("keyframes", False))


def rec_old(outbox: Path, days: float, *, size: int = 100, camera: str = "yard") -> Path:
    """A clip that was recorded some days ago, in UTC."""
    start = dates.ago(days)
    path = outbox / camera / f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (start.timestamp(),) * 2)
    return path


@dataclass
class RecSource:
    """A camera whose every connection sends the next of some clips, live and as fast as they can be read."""

    clips: list[Path]
    name: str = "camera"
    live: bool = True
    reconnects: bool = False

    def open(self) -> Feed:
        if not self.clips:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return feed.of_container(av.open(str(self.clips.pop(0))))


@dataclass
class RecRecorder:
    """A recorder in this process and what came of it."""

    folders: Folders
    publisher: ClipPublisher
    recorder: recorder.Recorder
    stop: threading.Event

    def run(self) -> list[Recorded]:
        self.recorder.run(self.stop)
        return [*self.publisher.clips]
