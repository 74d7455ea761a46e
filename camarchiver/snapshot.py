"""One picture out of a clip."""

from __future__ import annotations

import contextlib
from pathlib import Path

import av
import cv2

QUALITY = 90
"""Of 100, as JPEG counts."""


def jpeg(path: Path, seconds: float) -> bytes | None:
    """The frame shown `seconds` after the first one, as JPEG; None where nothing decodes."""
    chosen = None
    # a damaged picture must not cost the clip
    with contextlib.suppress(av.FFmpegError), av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        container.seek(int((start + seconds) * 1_000_000))
        for frame in container.decode(stream):
            chosen = frame
            if frame.time is not None and frame.time >= start + seconds - 1e-3:
                break
    if chosen is None:
        return None
    done, data = cv2.imencode(".jpg", chosen.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes() if done else None
