"""Writes the bytes of an archive: encoded and verified, otherwise remuxed, otherwise copied unchanged."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive.fallback import Encoded, EncoderFallback, GpuBreaker
from camarchiver.archive.lossless import Unencoded, suffix_of_copy, unencodable
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.domain.clip import Clip
from camarchiver.domain.motion import NO_FINDINGS, WHOLE_VIEWS, CameraViews, KeyframeFindings
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
    kept_audio,
    packet_trust,
    remux_container,
)
from camarchiver.media.examiner import Examiner
from camarchiver.media.ffmpeg_args import Job
from camarchiver.media.info import KeyframeRequest, Media
from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.media.verification.rules import Facts, Verdict
from camarchiver.motion.activity import PacketTrust
from camarchiver.policy.archive_rules import KEEP_SIGNED, NO_RATES, RawRates, SignedRule
from camarchiver.runtime.progress import Advance
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import copying
from camarchiver.storage.atomic import Staged

_log = logging.getLogger(__name__)

_BLAMES = {
    "damaged": Reason.DAMAGED,
    "crashed": Reason.DAMAGED,
    "timeout": Reason.DAMAGED,
    "not-video": Reason.UNSUPPORTED,
    "no-rate": Reason.NO_FRAME_RATE,
    "unreadable": Reason.UNREADABLE,
}


class ClipFailed(CamarchiverError):
    """A clip that could not be archived; its source stays."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Refused(ClipFailed):
    """One way to archive a clip doesn't work; another one may."""

    def __init__(self, message: str, *, is_lasting: bool) -> None:
        super().__init__(Reason.FAILED, message)
        self.is_lasting = is_lasting
        """Whether a later run would fail in the same way."""


class Stopped(CamarchiverError):
    """The run is to end, or the clip's lock was lost; this says nothing about the clip itself."""


class ArchiveSettings(Struct, frozen=True):
    """What the owner wants of the archives."""

    encode: EncodeSettings
    verify_full: bool = False
    min_saving: float = 0.10
    """The part of a source's bytes that encoding must save."""
    signed: SignedRule = KEEP_SIGNED
    raw_rates: RawRates = NO_RATES


class ArchiveEncoder:
    """Fills staged files; several threads may use it at once."""

    def __init__(
        self,
        prober: Prober,
        choice: Choice,
        breaker: GpuBreaker,
        settings: ArchiveSettings,
        views: CameraViews = WHOLE_VIEWS,
    ) -> None:
        self._prober = prober
        self.examiner = Examiner(prober, choice.ffmpeg.path)
        self._choice = choice
        self._breaker = breaker
        self._settings = settings
        self._views = views

    def measure(self, clip: Clip) -> Media:
        """The source's packets and streams; ClipFailed for what must not be archived."""
        try:
            return self._prober.measure(clip.path, self._settings.raw_rates.of(clip.camera))
        except ProbeError as error:
            raise _as_failure(error) from error

    def unencodable(self, original: MeasuredClip) -> Unencoded | None:
        """Why the clip is not to be encoded, as far as the clip itself shows."""
        return unencodable(
            original.media,
            (attempt.encoder for attempt in self._choice.attempts),
            kept_audio(original.media, self._settings.encode.audio),
            encode_signed=self._settings.signed.encodes(original.clip.camera),
        )

    def has_wanted_codec(self, original: MeasuredClip) -> bool:
        """Whether the file has the codec of the chosen encoder already."""
        return original.media.video.codec == self._choice.encoder.codec

    def suffix(self, way: ArchiveMethod, original: MeasuredClip) -> str:
        """The suffix of an archive made this way."""
        match way:
            case ArchiveMethod.ENCODE:
                return f".{container_for(original.media, self._settings.encode)}"
            case ArchiveMethod.REMUX:
                return f".{remux_container(original.media)}"
            case ArchiveMethod.COPY:
                return suffix_of_copy(original.clip)

    def check_sound(self, original: MeasuredClip, threads: int, stop: Stopper) -> None:
        """Decode the source whole; ClipFailed where that shows damage.

        A copy shows what its source shows, but a damaged source must stay in its tree.
        """
        with _stopping():
            is_sound = self.examiner.decodes(original.clip.path, original.media, threads, stop)
        if not is_sound:
            raise ClipFailed(Reason.DAMAGED, "it does not decode whole")

    def is_small_enough(self, made: EncodeResult, original: MeasuredClip) -> bool:
        """Whether this way's result is worth publishing."""
        before = original.source.fingerprint.size
        limit = before * (1 - self._settings.min_saving) if made.way is ArchiveMethod.ENCODE else before
        return made.encoding.bytes_after <= limit

    def encode(
        self, original: MeasuredClip, part: Staged, *, threads: int, stop: Stopper, advance: Advance
    ) -> EncodeResult:
        """Encode and verify.

        Raises Refused if no encoder succeeds, ClipFailed if no other way may be tried, Stopped, or OSError.
        """
        job = self._job(original, part, threads)
        last, findings = Verdict(False), NO_FINDINGS

        def check(finished: transcoder.Finished, encoder: Encoder) -> Verdict:
            nonlocal last, findings
            last, findings = self._check_encoding(finished, encoder, original, part, threads, stop)
            return last

        with _stopping():
            encoded = EncoderFallback(self._choice, self._breaker, stop).run(
                job, check, on_progress=lambda at: advance(at.out_time, at.speed)
            )
        if encoded.stopped:
            raise Stopped("the run stops")
        if encoded.encoder is None:
            raise _as_refusal(encoded)
        tried = tuple(
            f"{each.encoder} ({each.level})" + (f": {each.problem}" if each.problem else "")
            for each in encoded.tried
        )
        hardware = encoded.encoder.backend is not Backend.SOFTWARE
        return EncodeResult(
            ArchiveMethod.ENCODE,
            Encoding(
                encoded.encoder.name,
                tried,
                encoded.seconds,
                original.source.fingerprint.size,
                part.path.stat().st_size,
            ),
            self._settings_of(encoded.encoder),
            _verified(whole=hardware or self._settings.verify_full),
            (*last.notes, *changes(original.media, encoded.encoder, self._settings.encode)),
            findings,
        )

    def keep(
        self, way: ArchiveMethod, original: MeasuredClip, why: Unencoded, part: Staged, stop: Stopper
    ) -> EncodeResult:
        """Make a lossless copy and verify it; raises as `encode` does."""
        with _stopping():
            if way is ArchiveMethod.REMUX:
                return self._remux(original, why, part, stop)
            return self._copy(original, why, part)

    def keyframe_findings(
        self, archive: Path, camera: str, trust: PacketTrust = PacketTrust.NOTHING
    ) -> KeyframeFindings:
        """Thumbnails of an archive, and the motion in it."""
        with _stopping():
            return self.examiner.examined(archive, KeyframeRequest(self._views.of(camera), trust)).findings

    def tags(self, archive: Path) -> Mapping[str, str]:
        """The container's metadata; empty if it can't be read."""
        with _stopping():
            measured = self.examiner.measured(archive)
        return measured.tags if isinstance(measured, Media) else {}

    def compare(self, original: MeasuredClip, archive: Path, stop: Stopper) -> Verdict:
        """Decode source and archive completely, to adopt an archive that the journal lacks."""
        with _stopping():
            return self._compared(original, archive, stop)

    def _compared(self, original: MeasuredClip, archive: Path, stop: Stopper) -> Verdict:
        measured = self.examiner.measured(archive)
        if isinstance(measured, str):
            return Verdict(False, measured)
        for path, media in ((original.clip.path, original.media), (archive, measured)):
            if not self.examiner.decodes(path, media, 0, stop):
                return Verdict(False, f"{path} does not decode whole")
        return self.examiner.verified(
            Facts(
                source=original.media,
                archive=measured,
                exit_status=0,
                stderr=(),
                frames_encoded=measured.packets,
                codec=measured.video.codec,
                keep_audio=self._settings.encode.audio != "none",
                max_height=measured.video.height,
                decoded_clean=True,
            ),
            original.clip.path,
            archive,
            thorough=True,
        )

    def _job(self, original: MeasuredClip, part: Staged, threads: int) -> Job:
        return Job(
            source=original.clip.path,
            target=part.path,
            media=original.media,
            settings=self._settings.encode,
            container=container_for(original.media, self._settings.encode),
            metadata=original.metadata,
            threads=threads,
        )

    def _check_encoding(
        self,
        finished: transcoder.Finished,
        encoder: Encoder,
        original: MeasuredClip,
        part: Staged,
        threads: int,
        stop: Stopper,
    ) -> tuple[Verdict, KeyframeFindings]:
        whole = encoder.backend is not Backend.SOFTWARE or self._settings.verify_full
        trust = packet_trust(encoder.name, self._settings_of(encoder)["quality"])
        found = self.examiner.examined(
            part.path, KeyframeRequest(self._views.of(original.clip.camera), trust)
        )
        clean = self.examiner.proves(part.path, found, threads, stop, whole=whole and not finished.returncode)
        verdict = self.examiner.verified(
            Facts(
                source=original.media,
                archive=found.media,
                exit_status=finished.returncode,
                stderr=finished.stderr,
                frames_encoded=finished.frames,
                codec=encoder.codec,
                keep_audio=self._settings.encode.audio != "none",
                max_height=self._settings.encode.max_height,
                decoded_clean=clean,
            ),
            original.clip.path,
            part.path,
            thorough=whole,
        )
        return verdict, found.findings

    def _remux(self, original: MeasuredClip, why: Unencoded, part: Staged, stop: Stopper) -> EncodeResult:
        if original.media.raw_rate or any(sound.varies for sound in original.media.audio):
            raise Refused("another container would not keep its times or its sound", is_lasting=True)
        arguments = ffmpeg_args.remux(
            original.clip.path, part.path, original.media, remux_container(original.media), original.metadata
        )
        finished = transcoder.run(self._choice.ffmpeg.path, arguments, stop=stop)
        _raise_if_stopped(finished)
        found = self.examiner.examined(part.path, KeyframeRequest(self._views.of(original.clip.camera)))
        whole = self._settings.verify_full
        clean = self.examiner.proves(part.path, found, 0, stop, whole=whole and not finished.returncode)
        verdict = self.examiner.verified(
            Facts(
                source=original.media,
                archive=found.media,
                exit_status=finished.returncode,
                stderr=finished.stderr,
                frames_encoded=finished.frames,
                codec=original.media.video.codec,
                keep_audio=True,
                decoded_clean=clean,
            ),
            original.clip.path,
            part.path,
            thorough=whole,
        )
        if not verdict.ok:
            if "No space left" in verdict.problem:
                raise ClipFailed(Reason.NO_SPACE, verdict.problem)
            raise Refused(verdict.problem, is_lasting=True)
        made = self._unencoded(
            ArchiveMethod.REMUX, original, why, part, finished.seconds, _verified(whole=whole)
        )
        return replace(made, findings=found.findings)

    def _copy(self, original: MeasuredClip, why: Unencoded, part: Staged) -> EncodeResult:
        with original.clip.path.open("rb") as source:
            digest = copying.copy_into(source, part)
        if digest != original.digest:
            raise ClipFailed(Reason.FAILED, "the source changed while it was copied")
        made = self._unencoded(ArchiveMethod.COPY, original, why, part, 0.0, "byte for byte")
        return replace(made, findings=self.keyframe_findings(part.path, original.clip.camera))

    def _unencoded(
        self,
        way: ArchiveMethod,
        original: MeasuredClip,
        why: Unencoded,
        part: Staged,
        seconds: float,
        verified: str,
    ) -> EncodeResult:
        before, after = original.clip.fingerprint.size, part.path.stat().st_size
        encoding = Encoding(way, (way,), seconds, before, after, why.reason)
        return EncodeResult(way, encoding, {}, verified, (why.detail,))

    def _settings_of(self, encoder: Encoder) -> dict[str, Any]:
        settings = self._settings.encode
        own = encoder == self._choice.encoder
        return {
            "quality": settings.quality if settings.quality is not None and own else encoder.quality,
            "preset": settings.preset if settings.preset is not None and own else encoder.preset,
            "max_height": settings.max_height,
            "audio": settings.audio,
        }


def _verified(*, whole: bool) -> str:
    decoded = "decoded whole" if whole else "keyframes decoded"
    return f"every frame's time, the sound and some pictures compared, {decoded}"


@contextmanager
def _stopping() -> Iterator[None]:
    """Raise Stopped where an examination ended because the run stops."""
    try:
        yield
    except ProbeError as error:
        raise _as_failure(error) from error


def _as_failure(error: ProbeError) -> CamarchiverError:
    if error.reason == "stopped":
        return Stopped(error.message)
    return ClipFailed(_BLAMES[error.reason], error.message)


def _raise_if_stopped(finished: transcoder.Finished) -> None:
    if finished.ended == "stopped":
        raise Stopped("the run stops")


def digest_unless_stopped(path: Path, stop: Stopper) -> str:
    """A file's BLAKE2b. Raises Stopped if the run stops meanwhile."""

    def watch(_: int) -> None:
        if stop.is_set():
            raise Stopped("the run stops")

    return copying.file_digest(path, watch=watch)


def _as_refusal(encoded: Encoded) -> ClipFailed:
    """The error for a clip of which no encoder wrote an archive, by its cause."""
    if "No space left" in encoded.problem:
        return ClipFailed(Reason.NO_SPACE, encoded.problem)
    if encoded.is_damaged:
        return ClipFailed(Reason.DAMAGED, encoded.problem)
    return Refused(encoded.problem, is_lasting=encoded.is_refusal)
