"""The contents of a video file as the demuxer finds them, as values; the codes of its colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct, field

from camarchiver.domain.motion import NO_FINDINGS, WHOLE_VIEW, KeyframeFindings, View
from camarchiver.motion.activity import PacketTrust

# The code points of ITU-T H.273 by ffmpeg's names (libavutil/pixdesc.c).
PRIMARIES: Mapping[str, int] = MappingProxyType({
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "film": 8, "bt2020": 9,
    "smpte431": 11, "smpte432": 12,
})  # fmt: skip
TRANSFERS: Mapping[str, int] = MappingProxyType({
    "bt709": 1, "bt470m": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "linear": 8, "iec61966-2-1": 13,
    "bt2020-10": 14, "bt2020-12": 15, "smpte2084": 16, "arib-std-b67": 18,
})  # fmt: skip
MATRICES: Mapping[str, int] = MappingProxyType({
    "gbr": 0, "bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "ycgco": 8, "bt2020nc": 9,
    "bt2020c": 10, "ictcp": 14,
})  # fmt: skip


class Orientation(NamedTuple):
    """How a player turns the picture before it shows it."""

    rotation: int = 0
    """Degrees anticlockwise, from 0 to 359."""
    is_mirrored: bool = False
    """Whether it also swaps two opposite sides."""


UPRIGHT = Orientation()


class VideoStream(Struct, frozen=True):
    """The first video stream of a file."""

    codec: str
    """ffmpeg's name: `h264`, `hevc`, `av1`, `mjpeg`."""
    width: int
    height: int
    pixel_format: str
    bit_depth: int
    frame_rate: Fraction | None
    """Average frames per second as the container states it; None if it doesn't."""
    time_base: Fraction
    sample_aspect: Fraction = Fraction(1)
    """Width of a pixel relative to its height; 1 if unknown."""
    orientation: Orientation = UPRIGHT
    color_range: str = ""
    """`tv`, `pc` (also for the yuvj formats), or empty if unspecified."""
    matrix: str = ""
    """ffmpeg's names for this and the next two, `bt709` or `smpte170m`; empty if unspecified."""
    primaries: str = ""
    transfer: str = ""
    field_order: str = ""
    """`progressive`, `tt`, `bb`, `tb`, `bt` (ffmpeg's names), or empty if unknown."""
    hdr: frozenset[str] = frozenset()
    """Kinds of metadata by which a player maps its brightness and colours to a screen."""


class AudioStream(Struct, frozen=True):
    """One audio stream; its times are those of audible sound, after edit lists and priming."""

    codec: str
    sample_rate: int
    channels: int
    frame: float = 0.0
    """Seconds that its longest packet lasts."""
    start: float | None = None
    """Seconds from the first shown frame to the first sound, negative before it; None if silent."""
    span: float = 0.0
    """Seconds from the first sound to the end of the last."""
    gaps: Sequence[float] = ()
    """Start and end of each silence of half a `frame` or more, in turn, in seconds from the first sound."""
    primed: float = 0.0
    """Seconds of packets before the first sound that are decoded but not heard."""
    varies: bool = False
    """Whether its sample rate or its channels change midway: mp4 and mkv state one format for all of it."""


CHAPTERS = "data:chapters"
"""The track of an mp4 that has its chapters; ffmpeg copies these by itself."""


class Media(Struct, frozen=True):
    """One file as its packets show it (a header may lie, so packets are counted)."""

    container: str
    video: VideoStream
    video_streams: int
    audio: tuple[AudioStream, ...]
    other_streams: tuple[str, ...]
    """Streams of other kinds, such as `data:tmcd`, `subtitle:mov_text` or CHAPTERS."""
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
    shown: int = 0
    """Frames that a player shows: packets that an edit list hides don't count."""
    times: Sequence[int] = ()
    """Presentation times of the shown frames in ticks of the video's time base, sorted, from the first."""
    keyframe_times: Sequence[int] = ()
    """Of 256 keyframes at most, spread over the clip, in these ticks; hidden ones may be negative."""
    unkeepable: str = ""
    """Why neither an encode nor a remux can keep these times, as a predicate whose subject is the clip;
    empty if they can be kept."""
    varies: str = ""
    """The change of the coded size or the pixel aspect midway, as a predicate, too; empty if none."""
    signed: str = ""
    """`ONVIF Media Signing` or `Axis signed video`; empty for a clip that isn't signed."""
    raw_rate: Fraction | None = None
    """Declared frames per second that give the times of a stream without a container; None for all others."""
    is_gradual: bool = False
    """The first picture is no whole one, and those before the first shown one refer to what came before."""

    @property
    def lost_streams(self) -> tuple[str, ...]:
        """The other streams that a copy of picture and sound does not have."""
        return tuple(kind for kind in self.other_streams if kind != CHAPTERS)


class KeyframeRequest(Struct, frozen=True):
    """How to look at the keyframes of a file while they are decoded."""

    view: View = WHOLE_VIEW
    """Which parts of the picture count; the zones only name them."""
    trust: PacketTrust = PacketTrust.NOTHING
    """What the sizes of its packets say of the time between two keyframes."""


class Examined(Struct, frozen=True):
    """One file as its packets show it, with its keyframes decoded."""

    media: Media
    flaw: str
    """The decoder's error, as a predicate whose subject is the file; empty if there was none."""
    findings: KeyframeFindings = NO_FINDINGS


class PicturePosition(Struct, frozen=True):
    """A frame and the keyframe from which it is decoded: presentation times in ticks of the file's clock."""

    key: int
    frame: int


class Difference(Struct, frozen=True):
    """How two pictures of the same moment differ when both are scaled down; brightness in steps of 255."""

    seconds: float
    """After the first frame."""
    luma: float
    """Mean difference of brightness."""
    likeness: float
    """Correlation of brightness: 1 is the same; also if a picture has too little contrast to judge."""
    contrast: float
    """How strongly brightness varies over the archive's picture, relative to the source's: 1 is the same."""
    tint: float
    """Change of the mean colour."""
    colour: float
    """Share of the source's colour in the archive: 1 is all, 0 none, a negative value the opposite."""
    shift: float
    """How far one picture is moved or stretched against the other, in thousandths of its size; 0 if that
    does not explain the difference."""
    motion: float
    """Share of the change in the source since the first compared frame that the archive has, too: 1 is all;
    also if nothing changed."""


class PictureComparison(Struct, frozen=True):
    """The result of comparing some decoded pictures of a source and its archive."""

    compared: int
    """Pairs of pictures."""
    problem: str
    """The first difference that compression does not explain, as a sentence; empty if there is none."""
    differences: tuple[Difference, ...] = ()
    """One for each pair."""


class HeaderInfo(Struct, frozen=True):
    """The claims of a file's header; good for estimates, never for a decision to remove."""

    codec: str
    """ffmpeg's name: `h264`, `hevc`."""
    width: int
    height: int
    duration: float | None
    """Seconds; None if the header doesn't say."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The container's metadata, keys in lower case."""


def code_of(names: Mapping[str, int], name: str) -> int | None:
    """The number of a name, which is the number itself if ffmpeg has no name; None if unspecified."""
    if name in names:
        return names[name]
    return int(name) if name.isdecimal() else None
