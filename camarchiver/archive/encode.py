"""Writes the bytes of an archive: encoded and verified, otherwise remuxed, otherwise copied unchanged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camarchiver.archive.fallback import EncoderFallback, GpuBreaker
from camarchiver.domain.clip import Clip
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding
from camarchiver.errors import CamarchiverError
from camarchiver.media import ffmpeg_args, transcoder
from camarchiver.media.encoder_probe import Choice
from camarchiver.media.encoders import (
    Backend,
    Encoder,
    EncodeSettings,
    changes,
    container_for,
    remux_container,
)
from camarchiver.media.ffmpeg_args import Job
from camarchiver.media.info import Media
from camarchiver.media.probe import ProbeError, Prober
from camarchiver.media.transcoder import Finished
from camarchiver.media.verification import Facts, Verdict, is_harmless, verify
from camarchiver.runtime.progress import Advance
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import copying
from camarchiver.storage.atomic import Staged

_log = logging.getLogger(__name__)

_HARMLESS_STREAMS = frozenset({"data:tmcd"})
"""A start time code: the archive carries the clip's start as creation_time."""

_BLAMES = {
    "damaged": Reason.DAMAGED,
    "crashed": Reason.DAMAGED,
    "timeout": Reason.DAMAGED,
    "not-video": Reason.UNSUPPORTED,
    "unreadable": Reason.UNREADABLE,
}


class ClipFailed(CamarchiverError):
    """A clip that could not be archived; its source stays."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Stopped(CamarchiverError):
    """The run is to end, or the clip's lock was lost: nothing is said about the clip."""


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """What the owner wants of the archives."""

    encode: EncodeSettings
    verify_full: bool = False
    min_saving: float = 0.10
    """The part of a source's bytes that encoding must save."""


@dataclass(frozen=True, slots=True)
class MeasuredClip:
    """A clip as it was measured under its lock."""

    clip: Clip
    media: Media
    digest: str
    """BLAKE2b."""
    metadata: Mapping[str, str]
    """What its archive is to carry."""


class ArchiveEncoder:
    """Fills staged files; several threads may."""

    def __init__(self, prober: Prober, choice: Choice, breaker: GpuBreaker, wishes: ArchiveSettings) -> None:
        self._prober = prober
        self._choice = choice
        self._breaker = breaker
        self._wishes = wishes

    def measure(self, clip: Clip) -> Media:
        """The source's packets and streams; ClipFailed for what must not be archived."""
        try:
            media = self._prober.measure(clip.path)
        except ProbeError as error:
            raise _as_failure(error) from error
        if media.video_streams > 1:
            raise ClipFailed(Reason.UNSUPPORTED, f"it holds {media.video_streams} video streams")
        if lost := [kind for kind in media.other_streams if kind not in _HARMLESS_STREAMS]:
            raise ClipFailed(Reason.UNSUPPORTED, f"an archive can't hold its {' and '.join(lost)} stream")
        return media

    def ways(self, original: MeasuredClip) -> Iterator[tuple[ArchiveMethod, str]]:
        """What to try in turn, and the suffix that the archive then has."""
        yield ArchiveMethod.ENCODE, "." + container_for(original.media, self._wishes.encode)
        yield ArchiveMethod.REMUX, "." + remux_container(original.media)
        yield ArchiveMethod.COPY, "." + original.clip.name.rpartition(".")[2].lower()

    def is_small_enough(self, made: EncodeResult, original: MeasuredClip) -> bool:
        """Whether this way's result is worth publishing."""
        before = original.clip.fingerprint.size
        limit = before * (1 - self._wishes.min_saving) if made.way is ArchiveMethod.ENCODE else before
        return made.encoding.bytes_after <= limit

    def fill(
        self,
        way: ArchiveMethod,
        original: MeasuredClip,
        part: Staged,
        *,
        threads: int,
        stop: Stopper,
        advance: Advance,
    ) -> EncodeResult:
        """Write and verify; ClipFailed, Stopped or OSError when that can't be done."""
        match way:
            case ArchiveMethod.ENCODE:
                return self._encode(original, part, threads, stop, advance)
            case ArchiveMethod.REMUX:
                return self._remux(original, part, stop)
            case ArchiveMethod.COPY:
                return self._copy(original, part)

    def tags(self, archive: Path) -> Mapping[str, str]:
        """The container's metadata; empty where it can't be read."""
        measured = self._measured(archive)
        return measured.tags if isinstance(measured, Media) else {}

    def compare(self, original: MeasuredClip, archive: Path, stop: Stopper) -> Verdict:
        """Decode source and archive whole, to adopt an archive that no journal speaks of."""
        measured = self._measured(archive)
        if isinstance(measured, str):
            return Verdict(False, measured)
        for path, media in ((original.clip.path, original.media), (archive, measured)):
            if not self._decodes(path, media, 0, stop):
                return Verdict(False, f"{path} does not decode whole")
        return verify(
            Facts(
                source=original.media,
                archive=measured,
                exit_status=0,
                stderr=(),
                frames_encoded=measured.packets,
                codec=measured.video.codec,
                keep_audio=self._wishes.encode.audio != "none",
                max_height=measured.video.height,
                decoded_clean=True,
            )
        )

    def _encode(
        self, original: MeasuredClip, part: Staged, threads: int, stop: Stopper, advance: Advance
    ) -> EncodeResult:
        job = self._job(original, part, threads)
        last = Verdict(False, "nothing was encoded")

        def check(finished: Finished, encoder: Encoder) -> Verdict:
            nonlocal last
            last = self._check_encoding(finished, encoder, original, part, threads, stop)
            return last

        encoded = EncoderFallback(self._choice, self._breaker, stop).climb(
            job, check, on_progress=lambda at: advance(at.out_time, at.speed)
        )
        if encoded.stopped:
            raise Stopped("the run stops")
        if encoded.encoder is None:
            raise ClipFailed(_why(last, encoded.problem), encoded.problem or last.problem)
        tried = tuple(
            f"{rung.encoder} ({rung.rung})" + (f": {rung.problem}" if rung.problem else "")
            for rung in encoded.rungs
        )
        hardware = encoded.encoder.backend is not Backend.SOFTWARE
        return EncodeResult(
            ArchiveMethod.ENCODE,
            Encoding(
                encoded.encoder.name,
                tried,
                encoded.seconds,
                original.clip.fingerprint.size,
                part.path.stat().st_size,
            ),
            self._settings_of(encoded.encoder),
            "every frame counted, "
            + ("decoded whole" if hardware or self._wishes.verify_full else "keyframes decoded"),
            (*last.notes, *changes(original.media, encoded.encoder, self._wishes.encode)),
        )

    def _job(self, original: MeasuredClip, part: Staged, threads: int) -> Job:
        return Job(
            source=original.clip.path,
            target=part.path,
            media=original.media,
            settings=self._wishes.encode,
            container=container_for(original.media, self._wishes.encode),
            metadata=original.metadata,
            threads=threads,
        )

    def _check_encoding(
        self,
        finished: Finished,
        encoder: Encoder,
        original: MeasuredClip,
        part: Staged,
        threads: int,
        stop: Stopper,
    ) -> Verdict:
        whole = encoder.backend is not Backend.SOFTWARE or self._wishes.verify_full
        clean: bool | None = None
        if whole or finished.returncode:
            archive = self._measured(part.path)
            if isinstance(archive, Media) and not finished.returncode:
                clean = self._decodes(part.path, archive, threads, stop)
        else:
            archive, clean = self._examined(part.path)
        return verify(
            Facts(
                source=original.media,
                archive=archive,
                exit_status=finished.returncode,
                stderr=finished.stderr,
                frames_encoded=finished.frames,
                codec=encoder.codec,
                keep_audio=self._wishes.encode.audio != "none",
                max_height=self._wishes.encode.max_height,
                decoded_clean=clean,
            )
        )

    def _remux(self, original: MeasuredClip, part: Staged, stop: Stopper) -> EncodeResult:
        arguments = ffmpeg_args.remux(
            original.clip.path, part.path, original.media, remux_container(original.media), original.metadata
        )
        finished = transcoder.run(self._choice.ffmpeg.path, arguments, stop=stop)
        _raise_if_stopped(finished)
        archive, clean = self._examined(part.path)
        verdict = verify(
            Facts(
                source=original.media,
                archive=archive,
                exit_status=finished.returncode,
                stderr=finished.stderr,
                frames_encoded=finished.frames,
                codec=original.media.video.codec,
                keep_audio=True,
                decoded_clean=clean,
            )
        )
        if not verdict.ok:
            raise ClipFailed(_why(verdict, ""), verdict.problem)
        return self._unencoded(
            ArchiveMethod.REMUX, original, part, finished.seconds, "every packet counted, keyframes decoded"
        )

    def _copy(self, original: MeasuredClip, part: Staged) -> EncodeResult:
        with original.clip.path.open("rb") as source:
            digest = copying.copy_into(source, part)
        if digest != original.digest:
            raise ClipFailed(Reason.FAILED, "the source changed while it was copied")
        return self._unencoded(ArchiveMethod.COPY, original, part, 0.0, "byte for byte")

    def _unencoded(
        self, way: ArchiveMethod, original: MeasuredClip, part: Staged, seconds: float, verified: str
    ) -> EncodeResult:
        before, after = original.clip.fingerprint.size, part.path.stat().st_size
        note = "encoding it would not make it smaller"
        return EncodeResult(way, Encoding(way, (way,), seconds, before, after), {}, verified, (note,))

    def _settings_of(self, encoder: Encoder) -> dict[str, Any]:
        wishes = self._wishes.encode
        own = encoder == self._choice.encoder
        return {
            "quality": wishes.quality if wishes.quality is not None and own else encoder.quality,
            "preset": wishes.preset if wishes.preset is not None and own else encoder.preset,
            "max_height": wishes.max_height,
            "audio": wishes.audio,
        }

    def _measured(self, path: Path) -> Media | str:
        try:
            return self._prober.measure(path)
        except ProbeError as error:
            if error.reason == "stopped":
                raise Stopped(error.message) from error
            return error.message

    def _examined(self, path: Path) -> tuple[Media | str, bool | None]:
        """The file, and whether its keyframes decode."""
        try:
            found = self._prober.examine(path)
        except ProbeError as error:
            if error.reason == "stopped":
                raise Stopped(error.message) from error
            return error.message, None
        if found.flaw:
            _log.debug("%s %s", path, found.flaw)
        return found.media, not found.flaw

    def _decodes(self, path: Path, media: Media, threads: int, stop: Stopper) -> bool:
        arguments = ffmpeg_args.decode(path, threads=threads)
        finished = transcoder.run(self._choice.ffmpeg.path, arguments, stop=stop)
        _raise_if_stopped(finished)
        return not finished.returncode and is_harmless(finished.stderr) and finished.frames == media.packets


def _as_failure(error: ProbeError) -> CamarchiverError:
    if error.reason == "stopped":
        return Stopped(error.message)
    return ClipFailed(_BLAMES[error.reason], error.message)


def _raise_if_stopped(finished: Finished) -> None:
    if finished.ended == "stopped":
        raise Stopped("the run stops")


def _why(verdict: Verdict, problem: str) -> Reason:
    if "No space left" in problem + verdict.problem:
        return Reason.NO_SPACE
    return Reason.DAMAGED if verdict.blames_source else Reason.FAILED
