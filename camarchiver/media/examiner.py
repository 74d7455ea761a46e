"""Examines source and archive for the verdict on an archive: contents, keyframes, pictures, every frame."""

from __future__ import annotations

import logging
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.motion import NO_FINDINGS, KeyframeFindings
from camarchiver.media import ffmpeg_args, transcoder
from camarchiver.media.info import KeyframeRequest, Media, Orientation, PictureComparison
from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.media.verification.rules import Facts, Verdict, decodes_whole, pairs_to_compare, verify
from camarchiver.runtime.signals import Stopper

_log = logging.getLogger(__name__)


class ExaminedArchive(Struct, frozen=True):
    """An archive as it was examined."""

    media: Media | str
    """Its contents, or why they can't be read."""
    keyframes_decode: bool | None = None
    """None if they were not decoded."""
    findings: KeyframeFindings = NO_FINDINGS


class Examiner(Struct, frozen=True):
    """Examines files with a worker process and with ffmpeg.

    All methods raise `ProbeError` (`stopped`) if the run stops; what is wrong with a file is their answer.
    """

    prober: Prober
    ffmpeg: Path

    def measured(self, path: Path) -> Media | str:
        """The file's contents, or why they can't be read."""
        try:
            return self.prober.measure(path)
        except ProbeError as error:
            return _unless_stopped(error)

    def examined(self, path: Path, request: KeyframeRequest | None = None) -> ExaminedArchive:
        """The file's contents, whether its keyframes decode, and with `request` what they show."""
        try:
            found = self.prober.examine(path, request)
        except ProbeError as error:
            return ExaminedArchive(_unless_stopped(error))
        if found.flaw:
            _log.debug("%s %s", path, found.flaw)
        if found.findings.note:
            _log.info("%s: no thumbnails of it, and no motion: %s", path, found.findings.note)
        return ExaminedArchive(found.media, not found.flaw, found.findings)

    def proves(
        self, path: Path, found: ExaminedArchive, threads: int, stop: Stopper, *, whole: bool
    ) -> bool | None:
        """Whether an examined archive decodes, all of it or its keyframes; None if it can't be read."""
        if whole and isinstance(found.media, Media):
            return self.decodes(path, found.media, threads, stop)
        return found.keyframes_decode

    def verified(self, facts: Facts, source: Path, archive: Path, *, thorough: bool) -> Verdict:
        """Apply the rules; the pictures are compared only if nothing else is wrong with the archive."""
        pairs = pairs_to_compare(facts, thorough=thorough)
        if not pairs:
            return verify(facts)
        try:
            pictures: PictureComparison | str = self.prober.compare(
                source, archive, pairs, facts.source.raw_rate
            )
        except ProbeError as error:
            pictures = _unless_stopped(error)
        return verify(replace(facts, pictures=pictures))

    def differs(self, archive: Path, other: Path, orientation: Orientation) -> str:
        """How a second file differs from an archive in what it holds, apart from chapters; empty if not."""
        try:
            return self.prober.differs(archive, other, orientation)
        except ProbeError as error:
            return _unless_stopped(error)

    def decodes(self, path: Path, media: Media, threads: int, stop: Stopper) -> bool:
        """Whether every frame and all sound decodes."""
        finished = transcoder.run(self.ffmpeg, ffmpeg_args.decode(path, threads=threads), stop=stop)
        if finished.ended == "stopped":
            raise ProbeError("stopped", f"{path} was not decoded to its end, since the run stops")
        return decodes_whole(media, finished.returncode, finished.stderr, finished.frames)


def _unless_stopped(error: ProbeError) -> str:
    if error.reason == "stopped":
        raise error
    return error.message
