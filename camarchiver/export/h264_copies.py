"""Makes copies of clips that every player knows: H.264 in 4:2:0 with AAC, in mp4, verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from camarchiver.archive.encode import ArchiveEncoder, ArchiveSettings, ClipFailed, MeasuredClip
from camarchiver.archive.fallback import GpuBreaker
from camarchiver.domain.clip import Clip
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod
from camarchiver.journal.lookup import MOST_NAMES
from camarchiver.media import archive_tag, ffmpeg_find
from camarchiver.media.encoder_probe import Choice, Machine
from camarchiver.media.encoders import EncodeSettings
from camarchiver.media.info import Media
from camarchiver.media.probe import Prober
from camarchiver.naming.paths import numbered
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic, copying

PLAYABLE = "playable"
"""The folder of such copies."""

SETTINGS = EncodeSettings(audio="aac", only_420=True)

_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_AUDIO = frozenset({"aac", "mp3"})


@dataclass(frozen=True, slots=True)
class Playable:
    """One such copy."""

    target: str
    """Below the export's folder."""
    size: int
    """Bytes."""
    digest: str
    """BLAKE2b."""
    was_there: bool
    """Made by an earlier export."""


class PlayableMaker:
    """Encodes what isn't playable yet, and only repacks what is."""

    def __init__(self, prober: Prober, choice: Choice, breaker: GpuBreaker, *, stop: Stopper) -> None:
        self._shrinker = ArchiveEncoder(prober, choice, breaker, ArchiveSettings(SETTINGS, verify_full=True))
        self._stop = stop

    def make(self, clip: Clip, source: str, place: Path, display: Display) -> Playable:
        """A playable copy of a clip below `place`, durable; one made before is taken as it is.

        ClipFailed, Stopped or OSError when that can't be done.
        """
        digest = copying.digest_of(clip.path)
        identity = archive_tag.Tag(source, clip.fingerprint.size, clip.fingerprint.mtime_ns, digest)
        metadata = {
            "comment": archive_tag.compose(identity),
            "creation_time": clip.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        wanted = f"{PLAYABLE}/{source.rpartition('.')[0]}.mp4"
        for number in range(1, MOST_NAMES):
            target = place / numbered(wanted, number)
            if not os.path.lexists(target):
                original = MeasuredClip(clip, self._shrinker.measure(clip), digest, metadata)
                return self._made(original, place, target, display)
            if archive_tag.parse(self._shrinker.tags(target).get("comment", "")) == identity:
                return _playable(target, place, was_there=True)
        raise ClipFailed(Reason.FAILED, f"{MOST_NAMES} files are named like {wanted} already")

    def _made(self, original: MeasuredClip, place: Path, target: Path, display: Display) -> Playable:
        atomic.make_folders(target.parent)
        way = ArchiveMethod.REMUX if _is_playable(original.media) else ArchiveMethod.ENCODE
        with atomic.staged(target) as part:
            with display.job(original.clip.relative, original.media.span) as advance:
                self._shrinker.fill(way, original, part, threads=0, stop=self._stop, advance=advance)
            start_ns = int(original.clip.start.timestamp() * 1_000_000_000)
            part.path.chmod(0o644)
            os.utime(part.path, ns=(start_ns, start_ns))
            atomic.publish(part, target)
        return _playable(target, place, was_there=False)


@contextmanager
def playable_maker(ffmpeg: Path | None, stop: Stopper) -> Iterator[PlayableMaker]:
    """A maker with an H.264 encoder that was tried out. Raises EncoderError where there is none."""
    machine = Machine(ffmpeg_find.find(ffmpeg), SETTINGS)
    choice = machine.choose("auto", "h264")
    with Prober() as prober:
        yield PlayableMaker(prober, choice, GpuBreaker(lambda: machine.still_works(choice)), stop=stop)


def _is_playable(media: Media) -> bool:
    video = media.video
    return (
        video.codec == "h264"
        and video.pixel_format in _PIXELS
        and all(audio.codec in _AUDIO for audio in media.audio)
    )


def _playable(target: Path, place: Path, *, was_there: bool) -> Playable:
    digest = copying.digest_of(target)
    return Playable(target.relative_to(place).as_posix(), target.stat().st_size, digest, was_there)
