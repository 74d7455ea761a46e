"""Spans of motion as chapters of an archive, so that players jump to them."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.report import ArchiveMethod, EncodeResult
from camarchiver.errors import cause
from camarchiver.media import transcoder
from camarchiver.media.examiner import Examiner
from camarchiver.media.info import Media
from camarchiver.media.parsing.prober import ProbeError
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic
from camarchiver.storage.atomic import Staged

_log = logging.getLogger(__name__)

CONTAINERS = frozenset({".mp4", ".mkv"})
QUIET = "no motion"
MOVING = "motion"
_SHORTEST = 0.1
"""Seconds; a shorter chapter without motion is part of the one after it."""
_SPECIAL = re.compile(r"([=;#\\\n])")
"""What has a meaning in ffmpeg's text of metadata, and is escaped by a backslash."""


def add(
    examiner: Examiner,
    part: Staged,
    made: EncodeResult,
    media: Media,
    *,
    announce: Callable[[Path], None],
    stop: Stopper,
) -> EncodeResult:
    """Give a verified staged archive its chapters, if something moves in it; `media` is its source's.

    They are written into a second file. It takes the first one's place only if all its packets, their times,
    and the streams are those of the first. Otherwise the archive stays as it is: without chapters.
    `announce` gets the path of the second file before it appears.
    """
    motion = made.findings.motion
    if made.way is ArchiveMethod.COPY or motion is None or not motion.spans or made.findings.has_chapters:
        return made
    if part.path.suffix not in CONTAINERS:
        return made
    try:
        with atomic.staged(part.path, announce=announce) as second:
            if problem := _write(examiner, part, second, metadata(motion, media.span), media, stop):
                _log.info("%s: without chapters: %s", part.path.name, problem)
                return made
            size = second.path.stat().st_size
            second.path.replace(part.path)
    except (OSError, ProbeError) as error:
        words = cause(error) if isinstance(error, OSError) else error.message
        _log.info("%s: without chapters: %s", part.path.name, words)
        return made
    return replace(made, encoding=replace(made.encoding, bytes_after=size))


def _write(examiner: Examiner, part: Staged, second: Staged, text: str, media: Media, stop: Stopper) -> str:
    """Write the file with chapters; what speaks against it, empty if nothing does."""
    finished = transcoder.run(examiner.ffmpeg, arguments(part.path, second.path, text), stop=stop)
    if finished.returncode or finished.stderr:
        return next(iter(finished.stderr), f"ffmpeg ended with {finished.returncode}")
    return examiner.differs(part.path, second.path, media.video.orientation)


def arguments(source: Path, target: Path, text: str) -> tuple[str, ...]:
    """The arguments that copy an archive packet by packet and give it the chapters of `text`."""
    encoded = base64.b64encode(text.encode()).decode("ascii")
    faststart = ("-movflags", "+faststart") if target.suffix == ".mp4" else ()
    return (
        *("-hide_banner", "-nostdin", "-v", "error", "-y", "-xerror"),
        *("-i", f"file:{source}", "-f", "ffmetadata", "-i", f"data:text/plain;base64,{encoded}"),
        *("-map", "0:v", "-map", "0:a?", "-map_metadata", "0", "-map_chapters", "1", "-c", "copy"),
        *faststart,
        f"file:{target}",
    )


def metadata(motion: ClipMotion, seconds: float) -> str:
    """The chapters as ffmpeg reads them (ffmpeg-formats(1), Metadata)."""
    lines = [";FFMETADATA1"]
    for start, end, title in _chapters(motion, seconds):
        words = _SPECIAL.sub(r"\\\1", title)
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}", f"title={words}"]
    return "\n".join(lines) + "\n"


def _chapters(motion: ClipMotion, seconds: float) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and title: one after the other, since mp4 chapters have no gaps."""
    at, last = 0, round(1000 * seconds)
    for span in motion.spans:
        start, end = (min(round(1000 * moment), last) for moment in (span.start, span.end))
        if start - at >= 1000 * _SHORTEST:
            yield at, start, QUIET
            at = start
        if end > at:
            yield at, end, f"{MOVING}: {', '.join(span.zones)}" if span.zones else MOVING
            at = end
    if last - at >= 1000 * _SHORTEST:
        yield at, last, QUIET
