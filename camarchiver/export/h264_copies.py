"""Makes copies of clips that every player knows: H.264 in 4:2:0 with AAC, in mp4, verified."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive.encode import ArchiveEncoder, ArchiveSettings, ClipFailed, Refused
from camarchiver.archive.fallback import GpuBreaker
from camarchiver.archive.lossless import Unencoded
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.domain.clip import Clip
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod
from camarchiver.journal.lookup import MOST_NAMES
from camarchiver.media import archive_tag, ffmpeg_find
from camarchiver.media.encoder_probe import Choice, Machine
from camarchiver.media.encoders import EncodeSettings
from camarchiver.media.info import Media
from camarchiver.media.parsing.prober import Prober
from camarchiver.naming.paths import numbered
from camarchiver.policy.archive_rules import SignedRule
from camarchiver.runtime.progress import Advance, Display
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic, copying
from camarchiver.storage.atomic import Staged

_log = logging.getLogger(__name__)

PLAYABLE = "playable"
"""The folder of these copies."""

SETTINGS = EncodeSettings(audio="aac", only_420=True)

_PLAYS = Unencoded(Reason.NOT_SMALLER, "it plays everywhere as it is")
_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_AUDIO = frozenset({"aac", "mp3"})


class Playable(Struct, frozen=True):
    """One playable copy."""

    target: str
    """Below the export's folder."""
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b."""
    was_there: bool
    """Made by an earlier export."""
    remark: str = ""
    """How it differs from the clip besides the compression."""


class PlayableMaker:
    """Encodes what isn't playable yet, and only repacks what is."""

    def __init__(
        self,
        prober: Prober,
        choice: Choice,
        breaker: GpuBreaker,
        encoding: EncodeSettings = SETTINGS,
        *,
        stop: Stopper,
    ) -> None:
        settings = ArchiveSettings(encoding, verify_full=True, signed=SignedRule(reencode=True))
        self._encoder = ArchiveEncoder(prober, choice, breaker, settings)
        self._stop = stop

    def make(self, clip: Clip, source: str, place: Path, display: Display) -> Playable:
        """Make a playable copy of a clip below `place`, durable; an existing one is used as it is.

        Raises ClipFailed, Stopped or OSError if that can't be done.
        """
        digest = copying.file_digest(clip.path)
        identity = archive_tag.Tag(source, clip.fingerprint.size, clip.fingerprint.mtime_ns, digest)
        metadata = {
            "comment": archive_tag.compose(identity),
            "creation_time": clip.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        wanted = f"{PLAYABLE}/{source.rpartition('.')[0]}.mp4"
        for number in range(1, MOST_NAMES):
            target = place / numbered(wanted, number)
            if not os.path.lexists(target):
                original = MeasuredClip(clip, clip, self._encoder.measure(clip), digest, metadata)
                self._check_possible(original)
                return self._made(original, place, target, display)
            if archive_tag.parse(self._encoder.tags(target).get("comment", "")) == identity:
                return _playable(target, place, was_there=True)
        raise ClipFailed(Reason.FAILED, f"{MOST_NAMES} files are named like {wanted} already")

    def _check_possible(self, original: MeasuredClip) -> None:
        """Raises ClipFailed if no copy would show what the clip shows; subtitles and positions may go."""
        why = self._encoder.unencodable(original)
        if why and (why.reason is not Reason.OTHER_STREAMS or original.media.video_streams > 1):
            raise ClipFailed(why.reason, f"{why.detail}; it is exported as it is")

    def _made(self, original: MeasuredClip, place: Path, target: Path, display: Display) -> Playable:
        atomic.make_folders(target.parent)
        with atomic.staged(target) as part:
            with display.job(original.clip.relative, original.media.span) as advance:
                remark = self._fill(original, part, advance)
            start_ns = int(original.clip.start.timestamp() * 1_000_000_000)
            part.path.chmod(0o644)
            os.utime(part.path, ns=(start_ns, start_ns))
            atomic.publish(part, target)
        return replace(_playable(target, place, was_there=False), remark=remark)

    def _fill(self, original: MeasuredClip, part: Staged, advance: Advance) -> str:
        """Repack what plays everywhere, if that shows the same; otherwise encode.

        Returns what is left out or changed, in words. Raises ClipFailed if neither works.
        """
        if _is_playable(original.media):
            try:
                self._encoder.keep(ArchiveMethod.REMUX, original, _PLAYS, part, self._stop)
                return "; ".join(f"{kind} left out" for kind in original.media.lost_streams)
            except Refused as refused:
                _log.info("%s can't just be repacked: %s", original.clip.path, refused.message)
        try:
            made = self._encoder.encode(original, part, threads=0, stop=self._stop, advance=advance)
        except Refused as refused:
            words = f"{refused.message}; it is exported as it is"
            raise ClipFailed(Reason.REFUSED, words) from refused
        return "; ".join(made.notes)


@contextmanager
def playable_maker(
    ffmpeg: Path | None, stop: Stopper, encoding: EncodeSettings = SETTINGS
) -> Iterator[PlayableMaker]:
    """A maker with an H.264 encoder that was tried out. Raises EncoderError if there is none."""
    machine = Machine(ffmpeg_find.find(ffmpeg), encoding)
    choice = machine.choose("auto", "h264")
    with Prober() as prober:
        breaker = GpuBreaker(lambda: machine.still_works(choice))
        yield PlayableMaker(prober, choice, breaker, encoding, stop=stop)


def _is_playable(media: Media) -> bool:
    video = media.video
    return (
        video.codec == "h264"
        and video.pixel_format in _PIXELS
        and all(audio.codec in _AUDIO and not audio.varies for audio in media.audio)
    )


def _playable(target: Path, place: Path, *, was_there: bool) -> Playable:
    digest = copying.file_digest(target)
    return Playable(target.relative_to(place).as_posix(), target.stat().st_size, digest, was_there)
