"""Whether an archive holds all that its source held; when in doubt it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from camarchiver.media.info import Media

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

# Who speaks: a demuxer or decoder (of the source), or anything that writes, encodes or drives hardware.
_SOURCE_SPEAKS = re.compile(
    r"""
      \[(h264|hevc|mpeg4|mjpeg|libdav1d|av1|aac|mp3|ac3|NULL|in\#\d.*?|[av]ist\#.*?|dec:.*?
        |mov,mp4,m4a.*?|matroska,webm|mpegts|avi)\ @\ \w+\]
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

_START_SLACK = 1.0
"""Seconds that a microphone may run ahead of the picture: times count from the first of the two."""
_ROUNDING = 0.002
"""Seconds: matroska counts in milliseconds, so a start and an end are half of one off each."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one encode when ffmpeg has ended."""

    source: Media
    archive: Media | str
    """What the archive holds, or the sentence that says why that is not known."""
    exit_status: int
    """Negative for a signal."""
    stderr: tuple[str, ...]
    """Every line at `-v error`; where a bounded buffer dropped some, a line that says so."""
    frames_encoded: int | None
    """The last `frame=` of `-progress`; None if there was none."""
    codec: str
    """The one that was asked for, for a remux the source's."""
    keep_audio: bool
    max_height: int | None = None
    """Lines that the picture may have at most; None: as many as the source's."""
    decoded_clean: bool | None = None
    """Whether the archive decoded without a complaint; None: not tried."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the source may go; if not, the first thing that speaks against it."""

    ok: bool
    problem: str = ""
    notes: tuple[str, ...] = ()
    """What the owner should know about an archive that is as whole as its source."""
    blames_source: bool = False
    """The clip is damaged; else the encode failed, and another encoder or more space may help."""


def verify(facts: Facts) -> Verdict:
    """The rule of docs/architecture.md, section 5. It only ever errs towards keeping the source."""
    complaints = _complaints(facts.stderr)
    lost = _undecodable_head(facts, complaints)
    if not lost:
        problem = _ending_problem(facts.exit_status, complaints)
        if problem:
            return Verdict(False, problem, blames_source=_blames_source(complaints))
    if isinstance(facts.archive, str):
        return Verdict(False, facts.archive)
    problems = (
        _frames_problem(facts, facts.archive, lost),
        _times_problem(facts.source, facts.archive, lost),
        _streams_problem(facts, facts.archive),
        _picture_problem(facts.source, facts.archive, facts.max_height),
        "the archive does not decode without errors" if facts.decoded_clean is False else "",
    )
    problem = next(filter(None, problems), "")
    return Verdict(not problem, problem, () if problem else tuple(_notes(facts, facts.archive, lost)))


def is_harmless(stderr: tuple[str, ...]) -> bool:
    """Whether ffmpeg said nothing that a healthy run doesn't say."""
    return not _complaints(stderr)


def _complaints(stderr: tuple[str, ...]) -> tuple[str, ...]:
    """What is left without the harmless lines and the remarks that one of these was repeated."""
    left = []
    harmless = False
    for line in stderr:
        if not _REPEATED.match(line):
            harmless = HARMLESS.match(line) is not None
        if not harmless:
            left.append(line)
    return tuple(left)


def _undecodable_head(facts: Facts, complaints: tuple[str, ...]) -> int:
    """How many packets before the first keyframe explain every complaint and every missing frame; else 0."""
    head = facts.source.packets_before_keyframe
    excused = all(_HEADLESS.match(line) or _REPEATED.match(line) for line in complaints)
    if facts.exit_status == 0 and complaints and excused:
        return head if facts.frames_encoded == facts.source.packets - head else 0
    return 0


def _ending_problem(exit_status: int, complaints: tuple[str, ...]) -> str:
    first = complaints[0].strip() if complaints else ""
    if exit_status != 0:
        return f"ffmpeg ended with status {exit_status}: {first or 'it said nothing'}"
    return f"ffmpeg complained: {first}" if complaints else ""


def _blames_source(complaints: tuple[str, ...]) -> bool:
    return any(_SOURCE_SPEAKS.match(line) for line in complaints) and not any(
        _NOT_THE_SOURCE.search(line) for line in complaints
    )


def _frames_problem(facts: Facts, archive: Media, lost: int) -> str:
    expected = facts.source.packets - lost
    if facts.frames_encoded == archive.packets == expected:
        return ""
    encoded = "an unknown number" if facts.frames_encoded is None else facts.frames_encoded
    return f"of {expected} frames {encoded} were encoded and {archive.packets} are in the archive"


def _times_problem(source: Media, archive: Media, lost: int) -> str:
    # The last time in an avi may be one tick after the one before: then its frames seem too short.
    frame = max(source.span / source.packets, archive.span / max(archive.packets, 1))
    expected = source.span - lost * frame
    if abs(archive.span - expected) > frame + _ROUNDING:
        return f"the archive lasts {archive.span:.3f} s, its source {expected:.3f} s"
    latest = max(source.start, 0.0) + lost * frame + _START_SLACK
    if not -frame - _ROUNDING <= archive.start <= latest:
        return f"the archive's picture starts at {archive.start:.3f} s, its source's at {source.start:.3f} s"
    return ""


def _streams_problem(facts: Facts, archive: Media) -> str:
    source = facts.source
    if archive.video.codec != facts.codec:
        return f"the archive's video is {archive.video.codec} instead of {facts.codec}"
    if archive.video_streams != source.video_streams:
        return f"the source has {source.video_streams} video streams, the archive {archive.video_streams}"
    if facts.keep_audio and len(archive.audio) != len(source.audio):
        return f"the source has {len(source.audio)} audio streams, the archive {len(archive.audio)}"
    return ""


def _picture_problem(source: Media, archive: Media, max_height: int | None) -> str:
    """ffmpeg turns a rotated picture upright, and encoders want even numbers."""
    have, wide, high = archive.video, source.video.width, source.video.height
    for width, height in ((wide, high), (high, wide)):
        scale = min(1.0, (max_height or height) / height)
        if abs(have.width - width * scale) <= 2 and abs(have.height - height * scale) <= 2:
            return ""
    return f"the archive's picture is {have.width}x{have.height}, its source's {wide}x{high}"


def _notes(facts: Facts, archive: Media, lost: int) -> Iterator[str]:
    if lost:
        yield f"{lost} frames before the first keyframe can't be decoded and are not in the archive"
    if facts.source.video.bit_depth > archive.video.bit_depth:
        yield f"{facts.source.video.bit_depth}-bit video became {archive.video.bit_depth}-bit"
    if len(archive.other_streams) < len(facts.source.other_streams):
        yield f"not in the archive: {', '.join(facts.source.other_streams)}"
