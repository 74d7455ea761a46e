"""What a demuxer finds in a video file, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The first video stream of a file."""

    codec: str
    """ffmpeg's name: `h264`, `hevc`, `av1`, `mjpeg`."""
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    frame_rate: Fraction | None
    """Average frames per second as the container states it; None where it doesn't."""
    time_base: Fraction


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One audio stream."""

    codec: str
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Media:
    """One file as its packets show it (a header may lie, so packets are counted)."""

    container: str
    video: VideoStream
    video_streams: int
    audio: tuple[AudioStream, ...]
    other_streams: tuple[str, ...]
    """Kinds that are neither, as `data:tmcd` or `subtitle:mov_text`."""
    packets: int
    """Packets of the first video stream that hold data."""
    keyframes: int
    packets_before_keyframe: int
    start: float
    """Presentation time of the first frame, in seconds."""
    span: float
    """Seconds from the first frame's presentation to the end of the last one."""
    tags: Mapping[str, str]
    """The container's metadata, keys in lower case."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One file as its packets show it, of which the keyframes were decoded."""

    media: Media
    flaw: str
    """What the decoder complained of, as a predicate whose subject is the file; empty where it did not."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a file's header claims; good for estimates, never for a decision to remove."""

    codec: str
    """ffmpeg's name: `h264`, `hevc`."""
    width: int
    height: int
    duration: float | None
    """Seconds; None where the header doesn't say."""
