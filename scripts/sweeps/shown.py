"""What a player shows of two files, held against each other by ffprobe and ffmpeg alone: none of our code.

ffprobe counts as shown what ffmpeg decodes: it drops what an edit list hides.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeps import Unable

WIDTH, HEIGHT = 80, 60
"""Pixels that each picture is scaled to, in which compression noise is averaged out."""
LEAST_PSNR = 24.0
"""Decibels of brightness and of both colour differences, over all frames at that size."""
LEAST_WORST_PSNR = 20.0
"""The same of the worst frame."""
CONTRAST = (0.93, 1.07)
"""Slope of the archive's brightness over the source's; another range has 0.86 or 1.16."""
OFFSET_SECONDS = 0.05
"""How far the sound may lie from its place beside the picture."""
RATE = 8000
"""Samples per second that sound is looked at."""
LOUD = 0.1
"""Part of the loudest sample that counts as heard."""
GAP_SECONDS = 0.15
"""What counts as a gap in the sound."""
FIELDS = ("sample_aspect_ratio", "color_range", "color_space", "color_primaries", "color_transfer")
SILENT = {"unknown": "", "N/A": "", "unspecified": "", "0:1": "1:1"}
LIMITED = "tv"


def tool(name: str) -> str:
    """A program of the machine; Unable where there is none."""
    found = shutil.which(name)
    if not found:
        raise Unable(f"there is no {name}")
    return found


@dataclass(frozen=True)
class Sound:
    """What is heard of one stream, in seconds."""

    start: float
    end: float
    frame: float
    """The longest frame."""
    gaps: tuple[tuple[float, float], ...]
    channels: int


class Shown:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def streams(self) -> list[dict[str, Any]]:
        """All that is neither a cover picture nor data."""
        found = self._probe("-show_streams")["streams"]
        return [each for each in found if not each.get("disposition", {}).get("attached_pic")]

    @cached_property
    def video(self) -> dict[str, Any]:
        """The first video stream."""
        return next(each for each in self.streams if each["codec_type"] == "video")

    @cached_property
    def frames(self) -> list[dict[str, Any]]:
        """The shown frames in their order."""
        return list(self._probe("-select_streams", str(self.video["index"]), "-show_frames")["frames"])

    @property
    def tick(self) -> Fraction:
        return Fraction(self.video["time_base"])

    @cached_property
    def times(self) -> list[Fraction]:
        """Seconds of each shown frame."""
        return [int(each["best_effort_timestamp"]) * self.tick for each in self.frames]

    @property
    def size(self) -> tuple[int, int]:
        return self.frames[0]["width"], self.frames[0]["height"]

    @property
    def rotation(self) -> int:
        """Degrees."""
        return next((int(each["rotation"]) for each in self._side_data() if "rotation" in each), 0) % 360

    def field(self, name: str) -> str:
        """A field of the first frame, or of its stream; empty where it is not stated."""
        first = self.frames[0]
        told = first.get(name) or self.video.get(name) or ""
        told = SILENT.get(told, told)
        if name == "color_range" and not told:
            return LIMITED
        return told or ("1:1" if name == "sample_aspect_ratio" else "")

    @property
    def fields(self) -> str:
        """Which field is shown first; empty for progressive video."""
        if not int(self.frames[0].get("interlaced_frame", 0)):
            return ""
        return "top" if int(self.frames[0].get("top_field_first", 0)) else "bottom"

    @cached_property
    def sounds(self) -> list[Sound]:
        """Each stream of sound."""
        return [self._sound(each) for each in self.streams if each["codec_type"] == "audio"]

    def _sound(self, stream: dict[str, Any]) -> Sound:
        found = self._probe("-select_streams", str(stream["index"]), "-show_frames")["frames"]
        rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        frames = [
            (float(each["best_effort_timestamp_time"]), int(each["nb_samples"]) / rate)
            for each in found
            if "best_effort_timestamp_time" in each
        ]
        if not frames:
            return Sound(math.nan, math.nan, 0, (), channels)
        gaps, end = [], frames[0][0]
        for at, length in frames:
            if at - end > GAP_SECONDS:
                gaps.append((end, at))
            end = at + length
        before, after = self._silence(stream["index"])
        longest = max(length for _, length in frames)
        return Sound(frames[0][0] + before, end - after, longest, tuple(gaps), channels)

    def _silence(self, index: int) -> tuple[float, float]:
        """Seconds at the beginning and at the end in which nothing is heard.

        What an encoder needs before the sound is hidden in one container and played as silence in another.
        """
        words = ["-i", f"file:{self.path}", "-map", f"0:{index}", "-ac", "1", "-ar", str(RATE)]
        raw = _ffmpeg(*words, "-f", "s16le", "-")
        samples = array("h", raw[: len(raw) // 2 * 2])
        least = LOUD * max(map(abs, samples), default=0)
        loud = [at for at, each in enumerate(samples) if abs(each) > least]
        return (loud[0] / RATE, (len(samples) - 1 - loud[-1]) / RATE) if loud else (0.0, 0.0)

    def pictures(self, size: tuple[int, int]) -> list[bytes]:
        """Each shown frame scaled small, as brightness and both colour differences in full range.

        Of a frame that is larger than `size`, its upper left part.
        """
        scale = f"crop={size[0]}:{size[1]}:0:0:exact=1,"
        scale += f"scale={WIDTH}:{HEIGHT}:flags=area+accurate_rnd:out_range=full,format=yuv444p"
        words = ["-noautorotate", "-i", f"file:{self.path}", "-map", f"0:{self.video['index']}"]
        raw = _ffmpeg(*words, "-vf", scale, "-fps_mode", "passthrough", "-f", "rawvideo", "-")
        step = WIDTH * HEIGHT * 3
        return [raw[at : at + step] for at in range(0, len(raw), step)]

    def _side_data(self) -> list[dict[str, Any]]:
        return list(self.video.get("side_data_list", ()))

    def _probe(self, *words: str) -> dict[str, Any]:
        command = [tool("ffprobe"), "-v", "error", "-of", "json", *words, f"file:{self.path}"]
        found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        return found


def _ffmpeg(*words: str) -> bytes:
    """What it writes to its output."""
    command = [tool("ffmpeg"), "-nostdin", "-v", "error", *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


def differences(source: Path, archive: Path) -> list[str]:
    """What a player would show or report differently."""
    there, here = Shown(source), Shown(archive)
    try:
        found = [*_frames(there, here), *_fields(there, here), *_sounds(there, here)]
        return found or list(_pictures(there, here))
    except subprocess.CalledProcessError as error:
        return [f"{Path(error.cmd[0]).name} fails: {error.stderr.decode(errors='replace').strip()[-200:]}"]


def _frames(there: Shown, here: Shown) -> Iterator[str]:
    if len(there.frames) != len(here.frames):
        yield f"{len(here.frames)} frames instead of {len(there.frames)}"
        return
    slack = max(there.tick, here.tick)
    for index, (want, have) in enumerate(zip(there.times, here.times, strict=True)):
        off = (have - here.times[0]) - (want - there.times[0])
        if abs(off) > slack:
            yield f"frame {index} is {float(off):+.4f} s from its time"
            break
    if not all(0 <= new - old <= 1 for old, new in zip(there.size, here.size, strict=True)):
        yield f"{here.size} instead of {there.size}"


def _fields(there: Shown, here: Shown) -> Iterator[str]:
    for name in FIELDS:
        if there.field(name) != here.field(name):
            yield f"{name} is {here.field(name)!r} instead of {there.field(name)!r}"
    for name in ("rotation", "fields"):
        if getattr(there, name) != getattr(here, name):
            yield f"{name} is {getattr(here, name)!r} instead of {getattr(there, name)!r}"


def _sounds(there: Shown, here: Shown) -> Iterator[str]:
    if len(there.sounds) != len(here.sounds):
        yield f"{len(here.sounds)} streams of sound instead of {len(there.sounds)}"
        return
    for number, (want, have) in enumerate(zip(there.sounds, here.sounds, strict=True), start=1):
        before, after = float(there.times[0]), float(here.times[0])
        frame = max(want.frame, have.frame)
        if want.channels != have.channels:
            yield f"sound {number} has {have.channels} channels instead of {want.channels}"
        off = (have.start - after) - (want.start - before)
        if abs(off) > OFFSET_SECONDS:
            yield f"sound {number} begins {off:+.3f} s from its place"
        off = (have.end - after) - (want.end - before)
        if abs(off) > OFFSET_SECONDS + frame:
            yield f"sound {number} ends {off:+.3f} s from its place"
        pauses = [
            [(one - first, other - first) for one, other in each]
            for each, first in ((want.gaps, before), (have.gaps, after))
        ]
        apart = [
            abs(a - b) for one, other in zip(*pauses, strict=False) for a, b in zip(one, other, strict=True)
        ]
        if len(want.gaps) != len(have.gaps) or max(apart, default=0) > OFFSET_SECONDS + frame:
            yield f"sound {number} pauses at {pauses[1]} instead of {pauses[0]}"


def _pictures(there: Shown, here: Shown) -> Iterator[str]:
    wanted, have = there.pictures(there.size), here.pictures(there.size)
    if len(wanted) != len(have):
        yield f"{len(have)} frames decode instead of {len(wanted)}"
        return
    plane = WIDTH * HEIGHT
    for name, start in (("brightness", 0), ("blue", plane), ("red", 2 * plane)):
        errors = [
            _error(one[start : start + plane], other[start : start + plane])
            for one, other in zip(wanted, have, strict=True)
        ]
        mean = sum(errors) / len(errors)
        if _psnr(mean) < LEAST_PSNR or _psnr(max(errors)) < LEAST_WORST_PSNR:
            worst = errors.index(max(errors))
            yield f"{name}: {_psnr(mean):.1f} dB, frame {worst} {_psnr(errors[worst]):.1f} dB"
    slope = _slope(wanted[0][:plane], have[0][:plane])
    if not CONTRAST[0] <= slope <= CONTRAST[1]:
        yield f"the contrast is {slope:.0%} of the source's"


def _error(one: bytes, other: bytes) -> float:
    """Mean square."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / len(one)


def _psnr(error: float) -> float:
    return 10 * math.log10(255 * 255 / error) if error else math.inf


def _slope(source: Sequence[int], archive: Sequence[int]) -> float:
    """By least squares."""
    count = len(source)
    mean, other = sum(source) / count, sum(archive) / count
    energy = sum((a - mean) ** 2 for a in source)
    common = sum((a - mean) * (b - other) for a, b in zip(source, archive, strict=True))
    return common / energy if energy else 1.0
