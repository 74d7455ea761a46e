"""Takes one picture out of a clip."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import cv2
from av.video.frame import VideoFrame

QUALITY = 90
"""JPEG quality, of 100."""


def jpeg(path: Path, seconds: float) -> bytes | None:
    """The frame shown `seconds` after the first one, as JPEG; None if nothing decodes."""
    frame = _frame(path, seconds)
    if frame is None:
        return None
    done, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes() if done else None


def _frame(path: Path, seconds: float) -> VideoFrame | None:
    """A separate function, so that the decoder's pictures are freed before the frame is converted."""
    chosen = None
    # a damaged picture must not cost the clip
    with contextlib.suppress(av.FFmpegError), av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # each would hold pictures of its own
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        container.seek(int((start + seconds) * 1_000_000))
        for frame in container.decode(stream):
            chosen = frame
            if frame.time is not None and frame.time >= start + seconds - 1e-3:
                break
    return chosen
