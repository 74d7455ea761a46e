"""Encodes uncompressed video live: ffmpeg's arguments, and which encoder works."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import av

from camarchiver.errors import EncoderError
from camarchiver.media import ffmpeg_find
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.record.capture.feed import Feed, Process, Pump, of_process
from camarchiver.runtime import processes

_log = logging.getLogger("camarchiver.record.capture.devices.h264_encoder")

KEYFRAME_SECONDS = 1.5
"""Seconds between two keyframes, so that no pre-roll grows by more than two seconds."""
_TRIAL_FRAMES = 10
_TRIAL_SECONDS = 15.0
PROMPTLY = ("-probesize", "32", "-analyzeduration", "0", "-threads", "1")
"""Before an input that describes itself: no picture waits for probing or for other decoder threads."""
FORM = "matroska"
"""What ffmpeg writes: it can be read from a pipe, and its clock never wraps."""


@dataclass(frozen=True, slots=True)
class LiveEncoder:
    """One way to encode H.264."""

    encoder: str
    arguments: tuple[str, ...]
    before: tuple[str, ...] = ()
    """ffmpeg's options before its input."""
    devices: tuple[str, ...] = ()
    """Patterns of device files of which one must exist; none for software."""


LIVE_ENCODERS = (
    LiveEncoder(
        "h264_v4l2m2m",
        ("-pix_fmt", "yuv420p", "-b:v", "4M"),
        devices=("/dev/video1[0-9]", "/dev/video-enc*"),
    ),
    LiveEncoder("h264_qsv", ("-pix_fmt", "nv12", "-global_quality", "23"), devices=("/dev/dri/renderD*",)),
    LiveEncoder(
        "h264_vaapi",
        ("-vf", "format=nv12,hwupload", "-qp", "23"),
        ("-vaapi_device", "/dev/dri/renderD128"),
        ("/dev/dri/renderD128",),
    ),
    LiveEncoder("h264_nvenc", ("-pix_fmt", "yuv420p", "-cq", "23"), devices=("/dev/nvidiactl",)),
    # without lookahead: each picture comes out before the next goes in
    LiveEncoder(
        "libx264", ("-pix_fmt", "yuv420p", "-preset", "veryfast", "-tune", "zerolatency", "-crf", "23")
    ),
)
"""Best first; each must pass a trial on this machine."""


@dataclass(frozen=True, slots=True)
class Compressor:
    """An ffmpeg with an encoder that works here."""

    ffmpeg: Ffmpeg
    live_encoder: LiveEncoder

    def command(self, source: Sequence[str]) -> tuple[str, ...]:
        """ffmpeg's command line; `source` is its input with the input's options."""
        binary = str(self.ffmpeg.path)
        return (binary, "-v", "error", *self.live_encoder.before, *source, *self.output())

    def output(self) -> tuple[str, ...]:
        """The arguments after the input: every frame, with its own time, and AAC."""
        pass_all = ("-fps_mode" if self.ffmpeg.version >= (5, 1) else "-vsync", "passthrough")
        keys = ("-g", "30", "-force_key_frames", f"expr:gte(t,n_forced*{KEYFRAME_SECONDS})")
        return (
            *("-map", "0:v:0", "-map", "0:a:0?", *pass_all),
            *("-c:v", self.live_encoder.encoder, *self.live_encoder.arguments, "-bf", "0", *keys),
            *("-c:a", "aac", *matroska()),
        )


def matroska() -> tuple[str, ...]:
    """The end of a command line whose packets are needed as soon as they are made."""
    return ("-flush_packets", "1", "-cluster_time_limit", "100", "-f", FORM, "pipe:1")


@functools.cache
def compressor() -> Compressor:
    """The best encoder that passes a trial. Raises EncoderError."""
    found = ffmpeg_find.find()
    for live_encoder in LIVE_ENCODERS:
        if live_encoder.devices and not any(
            list(Path("/").glob(device[1:])) for device in live_encoder.devices
        ):
            continue
        for ffmpeg in found:
            if live_encoder.encoder not in ffmpeg.encoders:
                continue
            candidate = Compressor(ffmpeg, live_encoder)
            if _works(candidate):
                _log.info("what is not compressed is encoded with %s of %s", live_encoder.encoder, ffmpeg)
                return candidate
    raise EncoderError("no ffmpeg here can encode H.264", hint="install one with libx264")


def encoded(feed: Feed) -> Feed:
    """A feed's pictures as H.264 and its sound as AAC. Raises what `compressor` and `of_process` raise."""
    try:
        source = (*PROMPTLY, "-f", "nut", "-i", "pipe:0")
        process = Process(compressor().command(source), timeout=None, pipe_in=True)
    except BaseException:
        feed.close()
        raise
    pump = Pump(feed, process)
    try:
        made = of_process(process, form=FORM)
    except BaseException:
        pump.end()
        raise

    def close() -> str:
        complaint = pump.end()
        made.close()
        pump.join()
        return complaint

    return replace(made, close=close, interrupt=pump.end)


def _works(candidate: Compressor) -> bool:
    """Encode a few frames and count those that the output holds."""
    source = ("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=10:duration={_TRIAL_FRAMES / 10}")
    try:
        done = processes.run(candidate.command(source), seconds=_TRIAL_SECONDS)
        with av.open(io.BytesIO(done.output), "r") as container:
            frames = sum(not frame.is_corrupt for frame in container.decode(video=0))
    except (OSError, av.FFmpegError, IndexError):
        return False
    return done.returncode == 0 and frames == _TRIAL_FRAMES
