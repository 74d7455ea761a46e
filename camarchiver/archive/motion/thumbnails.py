"""Thumbnails and motion of clips: kept when they are archived, and made later for those that have none."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import Clip, Trees
from camarchiver.domain.motion import WHOLE_VIEWS, CameraViews, ClipMotion, KeyframeFindings
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter
from camarchiver.media.encoders import packet_trust
from camarchiver.media.info import KeyframeRequest
from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.motion.activity import PacketTrust
from camarchiver.runtime.signals import Stopper
from camarchiver.state import thumbnails
from camarchiver.state.thumbnails import StripKey

_log = logging.getLogger(__name__)


def keep(trees: Trees, clip: Clip, findings: KeyframeFindings) -> bool:
    """Put a clip's thumbnails into the cache; whether that was possible. A failure is logged, no more."""
    if findings.strip is None:
        return False
    try:
        thumbnails.write(trees.state, StripKey.of_clip(clip), findings.strip, findings.jpeg)
    except (OSError, CamarchiverError) as error:
        _log.warning("%s: no thumbnails of it are kept: %s", clip.relative, sentence(error))
        return False
    return True


class ClipWithoutThumbnails(Struct, frozen=True):
    """A clip without thumbnails in the cache."""

    clip: Clip
    """As its source is or was: its path below the source root, its bytes and its mtime_ns name it."""
    file: Path
    """What shows it: its archive, its source, or a copy in the trash."""
    is_encoded: bool
    """Whether the file is an archive that was encoded, not a source or a lossless copy."""
    motion: ClipMotion | None = None
    """What the journal says moves in it; None if it says nothing."""


class ThumbnailCounts(Struct, frozen=True):
    """What came of the clips that had no thumbnails."""

    made: int
    failed: tuple[Path, ...]
    """Files of which no thumbnail can be made."""
    left: int
    """Clips that were not begun because the time was over."""


def make_missing(
    trees: Trees,
    writer: JournalWriter,
    clips: Iterable[ClipWithoutThumbnails],
    *,
    views: CameraViews = WHOLE_VIEWS,
    seconds: float,
    stop: Stopper,
) -> ThumbnailCounts:
    """Make thumbnails for the cache, and journal what moves in clips of which that is not known.

    No clip is begun once `seconds` are over or `stop` is set. The files are only read. Raises OSError if the
    journal can't be written.
    """
    until = time.monotonic() + seconds
    made, left, failed, journal = 0, 0, list[Path](), Journal(trees.state)
    with Prober() as prober:
        for each in clips:
            if time.monotonic() >= until or stop.is_set():
                left += 1
                continue
            findings = _findings_of(
                prober, each, KeyframeRequest(views.of(each.clip.camera), _trust(trees, journal, each))
            )
            if findings is None or not keep(trees, each.clip, findings):
                failed.append(each.file)
                continue
            made += 1
            if findings.motion is not None and findings.motion != each.motion:
                writer.scored(each.clip, findings.motion)
    return ThumbnailCounts(made, tuple(failed), left)


def _trust(trees: Trees, journal: Journal, each: ClipWithoutThumbnails) -> PacketTrust:
    """What the packets say, by the encoder that made the file; of an adopted archive that is not known."""
    if not each.is_encoded or not each.file.is_relative_to(trees.archive):
        return PacketTrust.NOTHING
    relative = each.file.relative_to(trees.archive).as_posix()
    made = journal.day(each.clip.start.date()).ledger.made.get(relative)
    if not made or made[-1].encoder is None:
        return PacketTrust.MOTION
    return packet_trust(made[-1].encoder, (made[-1].settings or {}).get("quality"))


def _findings_of(
    prober: Prober, each: ClipWithoutThumbnails, request: KeyframeRequest
) -> KeyframeFindings | None:
    try:
        found = prober.examine(each.file, request)
    except ProbeError as error:
        _log.info("no thumbnails: %s", error.message)
        return None
    if found.findings.note or found.flaw:
        _log.info("%s: no thumbnails of it: %s", each.file, found.findings.note or found.flaw)
    return found.findings
