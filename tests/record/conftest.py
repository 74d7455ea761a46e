"""Fixtures of the tests of record."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests import programs
from tests.recordings import RecCamera
from tests.samples import mounted

FAKE_RPICAM = """#!/bin/sh
# rpicam-vid, as far as the recorder needs it
echo "$@" >> {folder}/rpicam-arguments
{script}
exec {ffmpeg} -v error -re -i {clip} -c copy -f mpegts -flush_packets 1 -
"""

FAKE_PICAMERA2 = {
    "__init__": """
import threading, time
import av
CLIP = {clip!r}
FAULT = {fault!r}
class Picamera2:
    def __init__(self, number):
        if FAULT == "none":
            raise IndexError("list index out of range")
        self.closed = threading.Event()
        self.luma = None
        self.fresh = threading.Condition()
    def create_video_configuration(self, main, lores, controls):
        assert main["format"] == lores["format"] == "YUV420" and "FrameRate" in controls
        return dict(main=main, lores=lores)
    def configure(self, config):
        self.lores = config["lores"]
    def stream_configuration(self, name):
        assert name == "lores"
        return dict(size=self.lores["size"], stride=384)
    def start_recording(self, encoder, output):
        assert encoder.repeat and 1 <= encoder.iperiod <= 30
        output.start()
        self.thread = threading.Thread(target=self.run, args=(output,), daemon=True)
        self.thread.start()
    def run(self, output):
        import numpy as np
        width, height = self.lores["size"]
        decoder = None
        began = time.monotonic()
        with av.open(CLIP) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if not packet.size or self.closed.is_set():
                    continue
                at = float(packet.pts * packet.time_base)
                if FAULT == "stall" and at > 2:
                    return
                time.sleep(max(0, began + at - time.monotonic()))
                for frame in packet.decode():
                    small = frame.reformat(width, height, "gray").to_ndarray()
                    buffer = np.zeros((height * 3 // 2, 384), np.uint8)
                    buffer[:height, :width] = small
                    with self.fresh:
                        self.luma = buffer.reshape(-1)
                        self.fresh.notify_all()
                output.outputframe(bytes(packet), packet.is_keyframe, round(at * 1e6), None, False)
    def capture_buffer(self, name):
        if FAULT == "lores" and self.luma is not None:
            raise RuntimeError("lores went away")
        with self.fresh:
            self.fresh.wait()
        return self.luma
    def stop_recording(self):
        self.closed.set()
    def close(self):
        self.closed.set()
""",
    "encoders": """
class H264Encoder:
    def __init__(self, bitrate=None, repeat=False, iperiod=None):
        self.repeat, self.iperiod = repeat, iperiod
""",
    "outputs": """
class Output:
    def __init__(self, pts=None):
        self.recording = False
    def start(self):
        self.recording = True
    def stop(self):
        self.recording = False
""",
}


@pytest.fixture
def rec_annexb(rec_make: Callable[..., Path]) -> Path:
    """A moving clip as a Raspberry Pi's encoder writes it: no B-frames, with parameter sets."""
    clip = rec_make((5, 6.5), d=10, options="-g 15 -sc_threshold 0 -bf 0", sound=False)
    stream = clip.with_name("pi.ts")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(clip), "-c", "copy"]
    subprocess.run([*command, str(stream)], check=True)
    return stream


@pytest.fixture
def rec_rpicam(tmp_path: Path, rec_annexb: Path) -> Callable[[str], dict[str, str]]:
    """The environment in which rpicam-vid is a fake; `script` runs before it sends anything."""

    def make(script: str = "") -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        text = FAKE_RPICAM.format(folder=folder, ffmpeg=ffmpeg, clip=rec_annexb, script=script)
        (folder / "rpicam-vid").write_text(text)
        (folder / "rpicam-vid").chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    return make


@pytest.fixture
def rec_picamera(tmp_path: Path, rec_annexb: Path) -> Callable[[str], Path]:
    """A folder with a fake picamera2 to import, which has one of its faults where one is named."""

    def make(fault: str = "") -> Path:
        folder = tmp_path / "python"
        (folder / "picamera2").mkdir(parents=True)
        for name, text in FAKE_PICAMERA2.items():
            filled = text.replace("{clip!r}", repr(str(rec_annexb))).replace("{fault!r}", repr(fault))
            (folder / "picamera2" / f"{name}.py").write_text(filled)
        return folder

    return make


@pytest.fixture
def rec_rtsp(rec_twice: Path) -> RecCamera:
    """A camera to be started; skips where GStreamer's RTSP server isn't there."""
    programs.needs("gst-rtsp-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return RecCamera(free.getsockname()[1], rec_twice)


@pytest.fixture
def rec_small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 400 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]).returncode
    ):
        pytest.skip("a tmpfs can't be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def rec_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 6 MB, room for some clips."""
    yield from mounted(tmp_path / "rec_disk", "-t", "tmpfs", "-o", "size=6m", "tmpfs")
