"""What is wrong with a clip that was recorded of the scene of `record_camera`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

RATE = 15
"""Pictures a second."""
BEYOND = 0.3
"""Seconds that a clip's sound may begin before its pictures or end after them."""
APART = 0.06
"""Seconds that the tone may be heard before or after the lamp is seen."""
SOFT = 0.05
"""Level below which nothing is heard; the tone has a third."""


def problems_of(path: Path, *, whole: bool, damaged: bool, unsteady: bool) -> Iterator[str]:
    """What is wrong with a clip.

    `whole`: of a camera without faults. `damaged`: pictures were lost. `unsteady`: the times of the pictures
    contradict each other, so their right times are unknown.
    """
    named = float(path.stem.split("_")[3].rstrip("s"))
    try:
        with av.open(str(path)) as container:
            packets = [one for one in container.demux(video=0) if one.size and not one.is_discard]
        with av.open(str(path)) as container:
            pictures = [(float(frame.time or 0), _is_lit(frame)) for frame in container.decode(video=0)]
        heard, tones = _sound(path)
    except av.FFmpegError as error:
        yield f"can't be read: {error}"
        return
    shown = [at for at, _ in pictures]
    if len(shown) != len(packets) and not damaged:
        yield f"plays {len(shown)} of {len(packets)} frames"
        return
    length = shown[-1] + 1 / RATE
    if (abs(length - named) > 0.2 and not unsteady) or shown[0] > 0.05:
        yield f"plays from {shown[0]:.2f} to {length:.2f} s"
    if heard and not unsteady and (heard[0] < -BEYOND or heard[-1] > length + BEYOND):
        yield f"is heard from {heard[0]:.2f} to {heard[-1]:.2f} s and shown until {length:.2f} s"
    yield from _lost(shown, heard, tones) if whole else ()
    if not unsteady:
        yield from _out_of_sync(_onsets(pictures), tones, all_of_them=whole)


def _lost(shown: Sequence[float], heard: Sequence[float], tones: Sequence[float]) -> Iterator[str]:
    """What a camera without faults sent and the clip lacks."""
    if len(shown) < 6.4 * RATE:
        yield f"has {len(shown)} frames, not those before and after the motion"
    for what, times, usual in (("pictures", shown, 1 / RATE), ("sound", heard, 1024 / 8000)):
        hole = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
        if not times or hole > 1.5 * usual:
            yield f"has a hole of {hole:.2f} s in its {what}"
    if len(tones) < len(shown) // RATE - 1:
        yield f"has {len(tones)} tones in {len(shown)} frames"


def _out_of_sync(lamps: Sequence[float], tones: Sequence[float], *, all_of_them: bool) -> Iterator[str]:
    """Whether lamp and tone are apart; sound that is damaged or repeated may hide a tone or begin one."""
    pairs = [min(tones, key=lambda tone: abs(tone - lamp)) - lamp for lamp in lamps if tones]
    near = [pair for pair in pairs if abs(pair) < 0.5]
    late = [pair for pair in near if abs(pair) > APART]
    if late and (all_of_them or len(late) > len(near) / 4):
        yield f"has its sound {', '.join(f'{pair:+.2f}' for pair in late)} s off its pictures"


def _is_lit(frame: av.VideoFrame) -> bool:
    """Whether the lamp in the corner is lit."""
    grey = frame.reformat(320, 180, "gray").to_ndarray()
    return bool(grey[8:24, 8:24].mean() > 128)


def _onsets(states: Sequence[tuple[float, bool]]) -> list[float]:
    return [at for (_, before), (at, now) in pairwise(states) if now and not before]


def _sound(path: Path) -> tuple[list[float], list[float]]:
    """The times of the packets of sound, and when a tone begins; in seconds."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return [], []
        packets = [float((one.pts or 0) * one.time_base) for one in container.demux(audio=0) if one.size]
    levels: list[tuple[float, bool]] = []
    with av.open(str(path)) as container:
        for frame in _heard(container):
            samples = np.abs(frame.to_ndarray().astype(np.float64).reshape(-1))
            samples /= 32768 if frame.format.name.startswith("s16") else 1
            parts = range(0, len(samples), 80)
            begin = float(frame.time or 0)
            levels += [
                (begin + part / frame.sample_rate, bool(samples[part : part + 80].max() > SOFT))
                for part in parts
            ]
    return packets, _onsets(levels)


def _heard(container: InputContainer) -> Iterator[av.AudioFrame]:
    """What a player can decode of the sound."""
    for packet in container.demux(audio=0):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        yield from frames
