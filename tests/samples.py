"""Sample clips, media values, folders and small programs that integration tests prepare."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import pytest

from camarchiver.media.encoders import EncodeSettings, container_for
from camarchiver.media.ffmpeg_args import Job
from camarchiver.media.info import AudioStream, Media, VideoStream
from tests.cameras import IS_ROOT


def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A mount that is gone after the test; skips where nobody may mount."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


MakeClip = Callable[..., Path]

PICTURE = "-f lavfi -i testsrc2=s=160x120:r=10:d=2"
X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
PLAIN = f"{PICTURE} {X264}"
SOUND = "-f lavfi -i sine=r=8000:d=2 -ac 1"
IRREGULAR = f"-f lavfi -i testsrc2=s=160x120:r=30:d=3 -vf \"select='not(mod(n*n,3))'\" -fps_mode vfr {X264}"


def media_of(path: Path) -> Media:
    """A clip as the builders want it; the packets are counted."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        form = stream.codec_context.format
        video = VideoStream(
            stream.codec_context.codec.canonical_name,
            stream.width,
            stream.height,
            form.name,
            max(part.bits for part in form.components),
            stream.average_rate,
            Fraction(stream.time_base),
        )
        audio = tuple(
            AudioStream(each.codec_context.codec.canonical_name, each.sample_rate, each.channels)
            for each in container.streams.audio
        )
    times = pts(path)
    return Media(
        path.suffix[1:], video, 1, audio, (), len(times), 1, 0, times[0], times[-1] - times[0] + 0.1, {}
    )


def pts(path: Path) -> list[float]:
    """Presentation times of the first video stream's packets, in seconds, in order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = container.demux(stream)
        return sorted(float(packet.pts * stream.time_base) for packet in packets if packet.pts is not None)


def job_for(clip: Path, target: Path, **changed: object) -> Job:
    media = changed.pop("media", None) or media_of(clip)
    settings = changed.pop("settings", EncodeSettings())
    container = container_for(media, settings)
    return Job(clip, target, media, settings, container, {"comment": "tag"}, threads=1, **changed)


def script(folder: Path, body: str) -> Path:
    """A fake ffmpeg; `$pipe` is where it reports."""
    path = folder / "ffmpeg"
    path.write_text(
        "#!/bin/sh\n"
        'all="$*"; while [ $# -gt 1 ]; do case $1 in -progress) pipe=/proc/self/fd/${2#pipe:};; esac; shift\n'
        f"done\n{body}\n"
    )
    path.chmod(0o755)
    return path


Sweep = Callable[[Callable[[], object], Callable[[], object]], int]


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def make_older(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


def fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


OddFfmpeg = Callable[[str], Path]

SLOW = '    exec "$REAL" -re -stream_loop -1 "$@"'
"""The real ffmpeg, busy with one clip until it is stopped. With a small `-readrate` some versions are not."""

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may mount and set attributes")


def grow(clip: Path) -> None:
    with clip.open("ab") as stream:
        stream.write(b"more")


def swap_in(clip: Path) -> None:
    """Another file of the same size and time: only its inode tells."""
    other = clip.with_suffix(".new-upload")
    other.write_bytes(clip.read_bytes()[:-4] + b"othr")
    os.utime(other, ns=(clip.stat().st_mtime_ns,) * 2)
    other.replace(clip)


REC_START = datetime(2026, 5, 3, 14, 20, 5, tzinfo=UTC)
