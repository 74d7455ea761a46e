"""Streams without a container: their frames have no times; a declared rate gives them."""

from __future__ import annotations

from array import array
from fractions import Fraction

from av.container import InputContainer

from camarchiver.media.parsing.packet_times import Shown
from camarchiver.media.parsing.streams import NotParsed

_FORMATS = frozenset({"h264", "hevc"})
"""FFmpeg's demuxers of bare H.264 and H.265."""


def rate_of(container: InputContainer, declared: Fraction | None) -> Fraction | None:
    """The declared rate if the file is a raw stream, otherwise None. Raises NotParsed if it needs one."""
    if container.format.name not in _FORMATS:
        return None
    if declared is None:
        raise NotParsed("no-rate", "is a raw stream, whose frames have no times, and no rate is declared")
    return declared


def ticks_of(tick: Fraction, rate: Fraction) -> Fraction:
    """Ticks of the stream's time base from one frame to the next."""
    return 1 / (rate * tick)


def shown(frames: int, ticks: Fraction) -> Shown:
    """The times of a number of frames at a constant rate."""
    return Shown(0, array("q", (round(number * ticks) for number in range(frames))), round(ticks))
