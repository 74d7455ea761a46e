"""Encodes uncompressed video live: ffmpeg's arguments, and which encoder works."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Sequence
from pathlib import Path

import av
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import EncoderError
from camarchiver.media import ffmpeg_find
from camarchiver.media.encoders import LIVE_ENCODERS, LiveSettings
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.record.capture.feed import CaptureProcess, Feed, FeedWriter, of_process
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


class Compressor(Struct, frozen=True):
    """An ffmpeg with an encoder that works here."""

    ffmpeg: Ffmpeg
    encoder: str
    settings: LiveSettings

    def command(self, source: Sequence[str]) -> tuple[str, ...]:
        """ffmpeg's command line; `source` is its input with the input's options."""
        binary = str(self.ffmpeg.path)
        return (binary, "-v", "error", *self.settings.before, *source, *self.output())

    def output(self) -> tuple[str, ...]:
        """The arguments after the input: every frame, with its own time, and AAC."""
        pass_all = ("-fps_mode" if self.ffmpeg.version >= (5, 1) else "-vsync", "passthrough")
        keys = ("-g", "30", "-force_key_frames", f"expr:gte(t,n_forced*{KEYFRAME_SECONDS})")
        return (
            *("-map", "0:v:0", "-map", "0:a:0?", *pass_all),
            *("-c:v", self.encoder, *self.settings.arguments, "-bf", "0", *keys),
            *("-c:a", "aac", *matroska()),
        )


def matroska() -> tuple[str, ...]:
    """The end of a command line whose packets are needed as soon as they are made."""
    return ("-flush_packets", "1", "-cluster_time_limit", "100", "-f", FORM, "pipe:1")


@functools.cache
def compressor() -> Compressor:
    """The best encoder that passes a trial. Raises EncoderError."""
    found = ffmpeg_find.find()
    for encoder in LIVE_ENCODERS:
        settings = encoder.live
        if settings is None or not _is_there(settings):
            continue
        for ffmpeg in found:
            if encoder.name not in ffmpeg.encoders:
                continue
            candidate = Compressor(ffmpeg, encoder.name, settings)
            if _works(candidate):
                _log.info("what is not compressed is encoded with %s of %s", encoder.name, ffmpeg)
                return candidate
    raise EncoderError("no ffmpeg here can encode H.264", hint="install one with libx264")


def encoded(feed: Feed) -> Feed:
    """A feed's pictures as H.264 and its sound as AAC. Raises what `compressor` and `of_process` raise."""
    try:
        source = (*PROMPTLY, "-f", "nut", "-i", "pipe:0")
        process = CaptureProcess(compressor().command(source), timeout=None, pipe_in=True)
    except BaseException:
        feed.close()
        raise
    pump = FeedWriter(feed, process)
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


def _is_there(settings: LiveSettings) -> bool:
    """Whether this machine may have the encoder's hardware."""
    return not settings.devices or any(
        any(Path("/").glob(device.removeprefix("/"))) for device in settings.devices
    )


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
