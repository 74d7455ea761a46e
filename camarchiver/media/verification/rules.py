"""Whether an archive holds everything that its source held; in doubt it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from camarchiver.media.info import Media, PictureComparison, VideoStream
from camarchiver.media.verification import timing
from camarchiver.media.verification.picture_rules import Pair, pairs

# What healthy runs of ffmpeg 5.1 and 9.0 at `-v error` put on stderr: only encoders with loggers
# of their own, which don't know ffmpeg's level. SVT_LOG=1 in the environment silences SVT-AV1.
HARMLESS = re.compile(
    r"""
      Svt\[(info|warn)\]:             # SVT-AV1's banner and its remarks on presets and thread priority
    | LIB\ Build\ date:               # the one line of that banner without the prefix
    | x265\ \[(info|warning)\]:       # Debian's x265: banner, settings, statistics
    | encoded\ \d+\ frames\ in\       # its last line
    | \s*$                            # and the empty one before
    """,
    re.VERBOSE,
)

# A stream that starts within a group of pictures: its first frames refer to parameter sets and
# pictures that came before the file did. Frames that were decoded all the same are not excused.
_HEADLESS = re.compile(
    r"""\[(h264|hevc)\ @\ \w+\]\ (
        non-existing\ [SP]PS\ \d+\ referenced
      | decode_slice_header\ error
      | no\ frame!
      | co\ located\ POCs\ unavailable
      | [VSP]PS\ id\ out\ of\ range
      | Could\ not\ find\ ref\ with\ POC
      | Error\ constructing\ the\ frame\ RPS
    )""",
    re.VERBOSE,
)
_REPEATED = re.compile(r"\s*Last message repeated \d+ times")

# The origin of a line: a demuxer or decoder (of the source), or what writes, encodes or drives hardware.
_SOURCE_SPEAKS = re.compile(
    r"""
      \[(h264|hevc|mpeg4|mjpeg|libdav1d|av1|aac|mp3|ac3|NULL|in\#\d.*?|[av]ist\#.*?|dec:.*?
        |mov,mp4,m4a.*?|matroska,webm|mpegts|avi|mpeg|flv|asf|dhav|mpeg[12]video|vp[89]|vc1|wmv\d|wmav\d
        |msmpeg4v?\d?)\ @\ \w+\]
    | Error\ while\ decoding\ stream
    | .*:\ (Invalid\ data\ found\ when\ processing\ input|End\ of\ file)$
    """,
    re.VERBOSE,
)
_NOT_THE_SOURCE = re.compile(
    r"No space left|Input/output error|Permission denied|Read-only file system|Cannot allocate memory"
    r"|Error (writing|closing|muxing|submitting a packet to the muxer)|\[(out|enc)[:#]|\[[av]ost#"
    r"|_(qsv|vaapi|nvenc|v4l2m2m) @|MFX|VAAPI|VA display|Device creation failed|device failed|GPU Hang",
    re.IGNORECASE,
)

_SAME_TRANSFERS = frozenset({"bt709", "smpte170m", "bt2020-10", "bt2020-12"})
"""Names of the same transfer function (ITU-T H.273, table 3)."""
_SD_MATRICES = frozenset({"bt470bg", "smpte170m"})
"""Names of the same coefficients (table 4)."""
_OTHER_PIXELS = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "gray", "mono")
_PROPORTION_SLACK = 0.002
_TOP_FIRST, _BOTTOM_FIRST = frozenset({"tt", "bt"}), frozenset({"bb", "tb"})
"""Interlaced pictures by the field that is displayed first."""


class Facts(Struct, frozen=True):
    """All that is known about one encode when ffmpeg has ended."""

    source: Media
    archive: Media | str
    """The archive's contents, or the sentence that says why they are not known."""
    exit_status: int
    """Negative for a signal."""
    stderr: tuple[str, ...]
    """Every line at `-v error`; where a bounded buffer dropped some, a line that says so."""
    frames_encoded: int | None
    """The last `frame=` of `-progress`; None if there was none."""
    codec: str
    """The requested codec; for a remux the source's."""
    keep_audio: bool
    max_height: int | None = None
    """Highest number of lines that the picture may have; None: the source's number."""
    decoded_clean: bool | None = None
    """Whether the archive decoded without an error; None: not tried."""
    pictures: PictureComparison | str | None = None
    """The result of `Prober.compare` for `pairs_to_compare`, or the sentence that says why it failed."""


class Verdict(Struct, frozen=True):
    """Whether the source may be removed; if not, the first reason against it."""

    ok: bool
    problem: str = ""
    notes: tuple[str, ...] = ()
    """What the owner should know about an archive that is as complete as its source."""
    blames_source: bool = False
    """The clip is damaged; otherwise the encode failed, and another encoder or more space may help."""


def verify(facts: Facts) -> Verdict:
    """The rule of docs/architecture.md, section 5. If it errs, the source is kept."""
    complaints = _complaints(facts.stderr)
    lost = _undecodable_head(facts, complaints)
    if not lost and not _hidden_head(facts, complaints):
        problem = _ending_problem(facts.exit_status, complaints)
        if problem:
            return Verdict(False, problem, blames_source=_blames_source(complaints))
    if isinstance(facts.archive, str):
        return Verdict(False, facts.archive)
    problem = _media_problem(facts, facts.archive, lost) or _pictures_problem(facts.pictures)
    return Verdict(not problem, problem, () if problem else tuple(_notes(facts, facts.archive, lost)))


def pairs_to_compare(facts: Facts, *, thorough: bool) -> tuple[Pair, ...]:
    """The frames of source and archive that `verify` needs compared; none if it refuses the archive anyway.

    `thorough` sets no limit to decoding: for hardware encoders, and if the archive is decoded completely.
    """
    complaints = _complaints(facts.stderr)
    lost = _undecodable_head(facts, complaints)
    is_excused = lost or _hidden_head(facts, complaints)
    if isinstance(facts.archive, str) or (not is_excused and _ending_problem(facts.exit_status, complaints)):
        return ()
    if _media_problem(facts, facts.archive, lost):
        return ()
    return pairs(facts.source, facts.archive, lost=lost, thorough=thorough)


def decodes_whole(media: Media, exit_status: int, stderr: tuple[str, ...], frames: int | None) -> bool:
    """Whether a file that was decoded alone is intact, not counting frames before its first keyframe."""
    complaints = _complaints(stderr)
    head = media.packets_before_keyframe if complaints else 0
    return (
        exit_status == 0
        and _are_of_head(complaints)
        and (head > 0 or media.is_gradual or not complaints)
        and frames == media.shown - head
    )


def is_headless(stderr: tuple[str, ...]) -> bool:
    """Whether ffmpeg complained, if at all, only of frames that refer to what came before the file."""
    return _are_of_head(_complaints(stderr))


def _complaints(stderr: tuple[str, ...]) -> tuple[str, ...]:
    """The lines other than harmless ones and the remarks that one of these was repeated."""
    left = []
    harmless = False
    for line in stderr:
        if not _REPEATED.match(line):
            harmless = HARMLESS.match(line) is not None
        if not harmless:
            left.append(line)
    return tuple(left)


def _are_of_head(complaints: tuple[str, ...]) -> bool:
    return all(_HEADLESS.match(line) or _REPEATED.match(line) for line in complaints)


def _undecodable_head(facts: Facts, complaints: tuple[str, ...]) -> int:
    """The number of packets before the first keyframe if they explain all errors and missing frames, or 0."""
    head = facts.source.packets_before_keyframe
    if facts.exit_status == 0 and complaints and _are_of_head(complaints):
        return head if facts.frames_encoded == facts.source.shown - head else 0
    return 0


def _hidden_head(facts: Facts, complaints: tuple[str, ...]) -> bool:
    """Whether hidden pictures explain all errors: a gradual refresh is decoded before the first shown one."""
    source = facts.source
    return (
        facts.exit_status == 0
        and source.is_gradual
        and source.packets > source.shown
        and facts.frames_encoded == source.shown
        and _are_of_head(complaints)
    )


def _ending_problem(exit_status: int, complaints: tuple[str, ...]) -> str:
    first = complaints[0].strip() if complaints else ""
    if exit_status != 0:
        return f"ffmpeg ended with status {exit_status}: {first or 'it said nothing'}"
    return f"ffmpeg complained: {first}" if complaints else ""


def _blames_source(complaints: tuple[str, ...]) -> bool:
    return any(_SOURCE_SPEAKS.match(line) for line in complaints) and not any(
        _NOT_THE_SOURCE.search(line) for line in complaints
    )


def _media_problem(facts: Facts, archive: Media, lost: int) -> str:
    source = facts.source
    if source.varies or source.unkeepable:
        return f"its source {source.varies or source.unkeepable}"
    return (
        _frames_problem(facts, archive, lost)
        or _streams_problem(facts, archive)
        or timing.times_problem(source, archive, lost)
        or timing.start_problem(source, archive, lost)
        or (timing.sound_problem(source, archive, lost) if facts.keep_audio else "")
        or _size_problem(source.video, archive.video, facts.max_height)
        or _display_problem(source.video, archive.video)
        or ("the archive does not decode without errors" if facts.decoded_clean is False else "")
    )


def _frames_problem(facts: Facts, archive: Media, lost: int) -> str:
    expected = facts.source.shown - lost
    # A packet copy includes packets that an edit list hides.
    written = (expected, facts.source.packets - lost)
    if archive.shown == expected and facts.frames_encoded in written:
        return ""
    encoded = "an unknown number" if facts.frames_encoded is None else facts.frames_encoded
    return f"of {expected} frames {encoded} were encoded and {archive.shown} are in the archive"


def _streams_problem(facts: Facts, archive: Media) -> str:
    source = facts.source
    if archive.video.codec != facts.codec:
        return f"the archive's video is {archive.video.codec} instead of {facts.codec}"
    if archive.video_streams != source.video_streams:
        return f"the source has {source.video_streams} video streams, the archive {archive.video_streams}"
    if facts.keep_audio and len(archive.audio) != len(source.audio):
        return f"the source has {len(source.audio)} audio streams, the archive {len(archive.audio)}"
    return ""


def _size_problem(source: VideoStream, archive: VideoStream, max_height: int | None) -> str:
    """Encoders need even numbers; a scaled picture keeps its displayed proportions."""
    scale = min(1.0, (max_height or source.height) / source.height)
    wide, high = source.width * scale, source.height * scale
    if abs(archive.width - wide) > 2 or abs(archive.height - high) > 2:
        return (
            f"the archive's picture is {archive.width}x{archive.height}, "
            f"its source's {source.width}x{source.height}"
        )
    stretched = _proportion(archive) / _proportion(source)
    if abs(stretched - 1) > 2 / archive.width + 2 / archive.height + _PROPORTION_SLACK:
        return f"the archive's pixel aspect is {archive.sample_aspect}, its source's {source.sample_aspect}"
    return ""


def _proportion(video: VideoStream) -> float:
    return float(video.width * video.sample_aspect / video.height)


def _display_problem(source: VideoStream, archive: VideoStream) -> str:
    """A difference in the properties by which a player shows the same values."""
    if archive.orientation != source.orientation:
        return f"the archive is {_turned(archive)}, its source {_turned(source)}"
    if _fields(archive) != _fields(source):
        return f"the archive's field order is {_fields(archive)}, its source's {_fields(source)}"
    # Pixels in other formats must be converted to brightness and colour differences.
    if source.pixel_format.startswith(_OTHER_PIXELS):
        return ""
    for what, want, have in (
        ("colour range", source.color_range or "tv", archive.color_range or "tv"),
        ("matrix", _matrix(source.matrix), _matrix(archive.matrix)),
        ("primaries", source.primaries, archive.primaries),
        ("transfer", _transfer(source.transfer), _transfer(archive.transfer)),
    ):
        if want != have:
            return f"the archive's {what} is {have or 'unspecified'}, its source's {want or 'unspecified'}"
    return ""


def _turned(video: VideoStream) -> str:
    rotation, is_mirrored = video.orientation
    return f"rotated by {rotation} degrees{' and mirrored' if is_mirrored else ''}"


def _fields(video: VideoStream) -> str:
    if video.field_order in _TOP_FIRST:
        return "top field first"
    return "bottom field first" if video.field_order in _BOTTOM_FIRST else "progressive"


def _matrix(name: str) -> str:
    return "smpte170m" if name in _SD_MATRICES else name


def _transfer(name: str) -> str:
    return "bt709" if name in _SAME_TRANSFERS else name


def _pictures_problem(pictures: PictureComparison | str | None) -> str:
    if isinstance(pictures, str):
        return pictures
    if pictures is None or not (pictures.compared or pictures.problem):
        return "the pictures of source and archive were not compared"
    return pictures.problem


def _notes(facts: Facts, archive: Media, lost: int) -> Iterator[str]:
    if lost:
        yield f"{lost} frames before the first keyframe can't be decoded and are not in the archive"
    if facts.source.video.bit_depth > archive.video.bit_depth:
        yield f"{facts.source.video.bit_depth}-bit video became {archive.video.bit_depth}-bit"
    if lost_hdr := facts.source.video.hdr - archive.video.hdr:
        yield f"HDR metadata left out: {', '.join(sorted(lost_hdr))}"
    if len(archive.other_streams) < len(facts.source.other_streams):
        yield f"not in the archive: {', '.join(facts.source.other_streams)}"
