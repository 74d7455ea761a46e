"""Clips to measure with: generated ones, kept for the next time, or the owner's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from benches.measuring import Options, say
from camarchiver.naming.formats import is_clip_name
from tests.dates import BENCHES_CLIPS, clip_of

FOOTAGE = "footage-3"
"""Another name for another kind of footage: what is cached is never mistaken for it."""


@dataclass(frozen=True)
class Kind:
    """A set of generated clips."""

    name: str
    size: str
    count: int
    seconds: tuple[int, ...]
    """Of one clip after the other, over and over."""
    rate: int
    bits: str


LARGE = Kind("large", "2560x1440", 6, (4, 5, 6), 25, "9M")
LONG = Kind("long", "2560x1440", 1, (30,), 25, "9M")
"""As long as a camera's event; those before are short for their size, to be encoded often."""
SHORT = Kind("short", "640x360", 20, (4,), 15, "1500k")


def footage(kind: Kind, ffmpeg: str, options: Options) -> list[Path]:
    """The set's clips, made when they aren't there: moving, noisy, every third one a night."""
    folder = options.cache / FOOTAGE / kind.name
    folder.mkdir(parents=True, exist_ok=True)
    clips = [folder / f"{number:02}.mp4" for number in range(kind.count)]
    for number, clip in enumerate(clips):
        if clip.exists():
            continue
        say(f"  making {clip}")
        part = clip.with_suffix(".part")
        subprocess.run([ffmpeg, *_making(kind, number), "-f", "mp4", "-y", part], check=True)
        part.rename(clip)
    return clips


def _making(kind: Kind, number: int) -> list[str]:
    night = number % 3 == 2
    width, height = map(int, kind.size.split("x"))
    seconds = kind.seconds[number % len(kind.seconds)]
    colours = "c0=0x101418:c1=0x282c30" if night else "c0=0x506070:c1=0x98a890"
    scene = f"gradients=s={kind.size}:r={kind.rate}:{colours}:speed=0.004:seed={number + 1}"
    body = f"testsrc2=s={width // 5}x{height // 4}:r={kind.rate}"
    path = f"x='mod(t*{width // 12}+{number * 97},W)':y='H/3+H/8*sin(t*1.3)'"
    noise = f"noise=alls={7 if night else 4}:allf=t:all_seed={number + 1}"
    graph = f"[0:v][1:v]overlay={path}:shortest=1,{noise},format=yuv420p"
    return [
        *("-hide_banner", "-nostdin", "-v", "error"),
        *("-f", "lavfi", "-i", scene, "-f", "lavfi", "-i", body),
        *("-f", "lavfi", "-i", f"sine=frequency={300 + 20 * number}:sample_rate=16000"),
        *("-filter_complex", graph, "-t", str(seconds), "-map", "2:a"),
        # As cameras do it: no B frames, a keyframe every two seconds, a steady rate.
        *("-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", str(2 * kind.rate)),
        *("-sc_threshold", "0"),
        *("-b:v", kind.bits, "-maxrate", kind.bits, "-bufsize", kind.bits),
        *("-c:a", "aac", "-b:a", "32k", "-ac", "1"),
    ]


def own_footage(folder: Path) -> list[Path]:
    """The owner's clips."""
    clips = sorted(path for path in folder.rglob("*") if is_clip_name(path.name) and path.is_file())
    if not clips:
        sys.exit(f"bench: no clips below {folder}")
    return clips


def camera_tree(clips: Sequence[Path], root: Path) -> list[Path]:
    """Copies of the clips as a camera names them; not links, which would be one clip to us."""
    copies = []
    for number, clip in enumerate(clips):
        start = BENCHES_CLIPS + timedelta(minutes=number)
        copy = root / f"{clip_of('bench', start)}{clip.suffix.lower()}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, copy)
        os.utime(copy, (start.timestamp(),) * 2)
        copies.append(copy)
    return copies
