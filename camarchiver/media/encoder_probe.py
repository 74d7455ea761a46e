"""Which encoders work on this machine, found by trials."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Literal

from msgspec import Struct

from camarchiver.errors import EncoderError
from camarchiver.media import ffmpeg_args, ffmpeg_find, transcoder
from camarchiver.media.encoders import (
    CODECS,
    HARDWARE,
    Backend,
    Codec,
    Encoder,
    EncodeSettings,
    FallbackLevel,
    encoders_of,
    obstacle,
)
from camarchiver.media.ffmpeg_args import TRIAL_ENCODER, TRIAL_FRAMES, TRIAL_MEDIA, Version
from camarchiver.media.ffmpeg_errors import FailureScope, diagnose, refuses_constant_quality
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.media.gpu import FIRST, node_problem, render_nodes, vendor
from camarchiver.media.transcoder import Finished

Auto = Literal["auto"]

_TRIAL_SECONDS = 15.0
"""A GPU may hang at its first use."""
_VENDORS = {Backend.QSV: ("0x8086",), Backend.VAAPI: ("0x8086", "0x1002")}
_NVIDIA_NODES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


class Probe(Struct, frozen=True):
    """The result of trying one encoder."""

    ffmpeg: Ffmpeg
    encoder: Encoder
    device: Path | None
    levels: tuple[FallbackLevel, ...] = ()
    """The levels that work, best first; none if the encoder can't be used here."""
    constant_quantiser: bool = False
    """The driver has no constant quality."""
    library: Version = (0, 0)
    """SVT-AV1's own version."""
    problem: str = ""
    remedy: str = ""
    no_device: bool = False
    """The problem is the GPU's or its driver's, so another codec would have it, too."""


class EncoderAttempt(Struct, frozen=True):
    """One encoder at one fallback level."""

    ffmpeg: Ffmpeg
    encoder: Encoder
    level: FallbackLevel


class Choice(Struct, frozen=True):
    """How this run encodes: the attempts for each clip, best first, and why these."""

    fallback: tuple[EncoderAttempt, ...]
    device: Path | None
    constant_quantiser: bool
    explanation: tuple[str, ...]
    spare: tuple[EncoderAttempt, ...] = ()
    """For clips that every attempt refused: another codec, if the owner named none."""

    @property
    def attempts(self) -> tuple[EncoderAttempt, ...]:
        """All attempts for a clip, in order."""
        return (*self.fallback, *self.spare)

    @property
    def encoder(self) -> Encoder:
        """The encoder of the first attempt, for which the owner's quality and preset are meant."""
        return self.fallback[0].encoder

    @property
    def ffmpeg(self) -> Ffmpeg:
        """The binary of the first attempt, also used for remuxing and decoding."""
        return self.fallback[0].ffmpeg


class EncoderRequest(Struct, frozen=True):
    """Which encoder the owner wants."""

    backend: Backend | None = None
    codec: Codec | None = None
    device: Path | None = None
    ffmpeg: Path | None = None


class Machine:
    """Tries encoders on request, each once, and chooses among them."""

    def __init__(
        self,
        ffmpegs: tuple[Ffmpeg, ...],
        settings: EncodeSettings,
        *,
        device: Path | None = None,
        nodes: tuple[Path, ...] | None = None,
    ) -> None:
        self._ffmpegs = ffmpegs
        self._settings = settings
        self._device = device
        self._nodes = render_nodes() if nodes is None else nodes
        self._probes: dict[tuple[Path, str, Path | None], Probe] = {}
        self._lock = threading.Lock()

    def choose(self, backend: Backend | Auto = "auto", codec: Codec | Auto = "auto") -> Choice:
        """The best encoder that works here, of the requested backend and codec.

        Raises EncoderError with the remedy if a named one doesn't work: no choice is changed silently.
        """
        if backend != "auto" and codec != "auto" and not encoders_of(backend, codec):
            raise EncoderError(f"{backend} has no {codec} encoder", hint="leave --codec at auto")
        failed: list[Probe] = []
        notes: list[str] = []
        for candidate in HARDWARE if backend == "auto" else (backend,):
            if candidate is Backend.SOFTWARE:
                break
            reason = self._not_worth_asking(candidate) if backend == "auto" else ""
            if reason:
                notes.append(f"{candidate}: {reason}")
                continue
            found = self._hardware(candidate, CODECS if codec == "auto" else (codec,), failed)
            if found is not None:
                return self._with_hardware(found, codec, _failures(failed))
        if backend not in ("auto", Backend.SOFTWARE):
            first = failed[0]
            raise EncoderError(f"{first.encoder.name} can't be used: {first.problem}", hint=first.remedy)
        return self._with_software(codec, [*notes, *_failures(failed)])

    def probe(self, ffmpeg: Ffmpeg, encoder: Encoder, device: Path | None = None) -> Probe:
        """The result of trying this encoder here; tried at the first call, remembered afterwards."""
        key = (ffmpeg.path, encoder.name, device)
        with self._lock:
            if key not in self._probes:
                self._probes[key] = self._try(ffmpeg, encoder, device)
            return self._probes[key]

    def absence(self, backend: Backend) -> str:
        """Why no encoder of this backend can work here, found without a trial; empty if a trial is needed."""
        if backend is Backend.V4L2M2M:
            return "" if any(Path("/dev").glob("video*")) else "no video device"
        return "" if backend is Backend.SOFTWARE else self._not_worth_asking(backend)

    def trials(self, backend: Backend) -> Iterator[Probe]:
        """Try all encoders of a backend, on every device and with every ffmpeg that includes them."""
        devices: tuple[Path | None, ...] = self._devices(backend) if backend in _VENDORS else (None,)
        hopeless: set[tuple[Path, Path | None]] = set()
        for device, codec in product(devices, CODECS):
            for encoder in encoders_of(backend, codec):
                built = [ffmpeg for ffmpeg in self._ffmpegs if encoder.name in ffmpeg.encoders]
                if not built:
                    yield _not_built(self._ffmpegs[0], encoder)
                for ffmpeg in built:
                    if (ffmpeg.path, device) in hopeless:
                        continue
                    probe = self.probe(ffmpeg, encoder, device)
                    if probe.no_device:
                        hopeless.add((ffmpeg.path, device))
                    yield probe

    def still_works(self, choice: Choice) -> bool:
        """Try the chosen encoder again."""
        return bool(self._try(choice.ffmpeg, choice.encoder, choice.device).levels)

    def _not_worth_asking(self, backend: Backend) -> str:
        """Why the backend's GPU is absent; empty if a device node exists."""
        if backend is Backend.NVENC:
            return "" if any(node.exists() for node in _NVIDIA_NODES) else "no NVIDIA device"
        return "" if self._devices(backend) else "no render node"

    def _devices(self, backend: Backend) -> tuple[Path, ...]:
        if self._device is not None:
            return (self._device,)
        vendors = _VENDORS[backend]
        return tuple(node for node in self._nodes if vendor(node) in ("", *vendors))

    def _hardware(self, backend: Backend, codecs: tuple[Codec, ...], failed: list[Probe]) -> Probe | None:
        devices: tuple[Path | None, ...] = (None,)
        if backend in _VENDORS:
            devices = self._devices(backend) or (None,)
        encoders = [row for codec in codecs for row in encoders_of(backend, codec)]
        hopeless: set[tuple[Ffmpeg, Path | None]] = set()
        for encoder, device in product(encoders, devices):
            built = [ffmpeg for ffmpeg in self._ffmpegs if encoder.name in ffmpeg.encoders]
            if not built:
                failed.append(_not_built(self._ffmpegs[0], encoder))
            for ffmpeg in built:
                if (ffmpeg, device) in hopeless:
                    continue
                probe = self.probe(ffmpeg, encoder, device)
                if probe.levels:
                    return probe
                failed.append(probe)
                if probe.no_device:
                    hopeless.add((ffmpeg, device))
        return None

    def _with_hardware(self, probe: Probe, codec: Codec | Auto, explanation: list[str]) -> Choice:
        fallback = tuple(EncoderAttempt(probe.ffmpeg, probe.encoder, level) for level in probe.levels)
        place = f" on {probe.device}" if probe.device else ""
        explanation.append(f"{probe.encoder.name}{place} with {probe.ffmpeg}")
        if FallbackLevel.GPU not in probe.levels:
            explanation.append("software decodes: the GPU's own decoder failed its trial")
        if probe.constant_quantiser:
            explanation.append("constant quantiser: the driver has no constant quality")
        spare = self._software(probe.encoder.codec)
        if spare.levels:
            fallback += (EncoderAttempt(spare.ffmpeg, spare.encoder, FallbackLevel.SOFTWARE),)
            explanation.append(f"{spare.encoder.name} for clips that the GPU can't do")
        spares = self._spare(codec, fallback)
        return Choice(fallback, probe.device, probe.constant_quantiser, tuple(explanation), spares)

    def _with_software(self, codec: Codec | Auto, explanation: list[str]) -> Choice:
        found = self._software("av1" if codec == "auto" else codec)
        if codec == "auto" and not _is_good(found):
            versions = f"{_dotted(found.library)} is older than {_dotted(found.encoder.good_version)}"
            old = f"SVT-AV1 {versions}"
            explanation.append(f"{found.encoder.name}: {found.problem or old}")
            found = self._software("h264")
        if not found.levels:
            raise EncoderError(f"{found.encoder.name} can't be used: {found.problem}", hint=found.remedy)
        library = f" (SVT-AV1 {_dotted(found.library)})" if found.library != (0, 0) else ""
        explanation.append(f"{found.encoder.name}{library} with {found.ffmpeg}")
        fallback = (EncoderAttempt(found.ffmpeg, found.encoder, FallbackLevel.SOFTWARE),)
        return Choice(fallback, None, False, tuple(explanation), self._spare(codec, fallback))

    def _spare(self, codec: Codec | Auto, fallback: tuple[EncoderAttempt, ...]) -> tuple[EncoderAttempt, ...]:
        """H.264 in software, which accepts what others refuse: interlaced video, hundreds of frames a second.

        It is not tried: that would cost every run a quarter of a second for a few clips, and if it does not
        work, their archives are lossless copies.
        """
        encoder = encoders_of(Backend.SOFTWARE, "h264")[0]
        built = [ffmpeg for ffmpeg in self._ffmpegs if encoder.name in ffmpeg.encoders]
        if codec != "auto" or not built or any(each.encoder == encoder for each in fallback):
            return ()
        newest = max(built, key=lambda ffmpeg: ffmpeg.version)
        return (EncoderAttempt(newest, encoder, FallbackLevel.SOFTWARE),)

    def _software(self, codec: Codec) -> Probe:
        """The first software encoder of the codec that works, otherwise the first one with its problem."""
        found: list[Probe] = []
        for encoder in encoders_of(Backend.SOFTWARE, codec):
            found.append(self._best_build(encoder))
            if found[-1].levels:
                return found[-1]
        return found[0]

    def _best_build(self, encoder: Encoder) -> Probe:
        """The newest ffmpeg whose encoder works well, otherwise the one with the newest library."""
        built = [ffmpeg for ffmpeg in self._ffmpegs if encoder.name in ffmpeg.encoders]
        if not built:
            return _not_built(self._ffmpegs[0], encoder)
        probes: list[Probe] = []
        for ffmpeg in sorted(built, key=lambda ffmpeg: ffmpeg.version, reverse=True):
            found = self.probe(ffmpeg, encoder)
            probes.append(found)
            # A trial takes a quarter of a second of CPU, so none is made that could only confirm this.
            if _is_good(found):
                break
        return max(probes, key=lambda probe: (bool(probe.levels), probe.library, probe.ffmpeg.version))

    def _try(self, ffmpeg: Ffmpeg, encoder: Encoder, device: Path | None) -> Probe:
        with tempfile.TemporaryDirectory(prefix="camarchiver-trial-") as folder:
            clip = Path(folder, "clip.mp4")
            makers = [each for each in (ffmpeg, *self._ffmpegs) if TRIAL_ENCODER in each.encoders]
            made = _run(makers[0] if makers else ffmpeg, ffmpeg_args.trial_clip(clip))
            if made.returncode:
                return Probe(ffmpeg, encoder, device, problem=_problem(made), remedy="see --ffmpeg")
            return _Trial(ffmpeg, encoder, device, self._settings, clip).probe()


def chosen(request: EncoderRequest, settings: EncodeSettings) -> tuple[Machine, Choice]:
    """The encoder that the owner requested, tried here. Raises EncoderError if it doesn't work."""
    machine = Machine(ffmpeg_find.find(request.ffmpeg), settings, device=request.device)
    return machine, machine.choose(request.backend or "auto", request.codec or "auto")


class _Trial(Struct, frozen=True):
    """One encoder on one clip of five frames, beside which it writes."""

    ffmpeg: Ffmpeg
    encoder: Encoder
    device: Path | None
    settings: EncodeSettings
    clip: Path

    def probe(self) -> Probe:
        """Try every level of the encoder, the simplest first: if that fails, no other works."""
        if self.encoder.backend is Backend.SOFTWARE:
            levels: tuple[FallbackLevel, ...] = (FallbackLevel.SOFTWARE,)
        else:
            levels = (FallbackLevel.GPU_ENCODE, FallbackLevel.GPU)
        quantiser = False
        works: list[FallbackLevel] = []
        library: Version = (0, 0)
        for level in levels:
            if obstacle(self.encoder, level, TRIAL_MEDIA):
                continue
            finished = self._encode(level, constant_quantiser=quantiser)
            if finished.returncode and refuses_constant_quality(finished.stderr) and not quantiser:
                quantiser = True
                finished = self._encode(level, constant_quantiser=quantiser)
            library = max(library, _svt_version(finished.stderr))
            finished = finished if _failed(finished) else _run(self.ffmpeg, ffmpeg_args.decode(self._target))
            if not _failed(finished):
                works.insert(0, level)
            elif not works:
                return self._useless(finished)
        return Probe(self.ffmpeg, self.encoder, self.device, tuple(works), quantiser, library)

    @property
    def _target(self) -> Path:
        return self.clip.with_name("trial.mp4")

    def _encode(self, level: FallbackLevel, *, constant_quantiser: bool) -> Finished:
        arguments = ffmpeg_args.trial(
            self.encoder,
            level,
            clip=self.clip,
            target=self._target,
            settings=self.settings,
            device=self.device,
            ffmpeg_version=self.ffmpeg.version,
            constant_quantiser=constant_quantiser,
        )
        return _run(self.ffmpeg, arguments)

    def _useless(self, finished: Finished) -> Probe:
        diagnosis = diagnose(finished.stderr)
        problem, remedy = _problem(finished), diagnosis.remedy
        no_device = diagnosis.scope is FailureScope.DEVICE or finished.ended == "stalled"
        if no_device and self.encoder.backend in _VENDORS:
            # ffmpeg's message is the same for a missing node and for one that it may not open.
            wrong, node_remedy = node_problem(self.device or FIRST)
            problem, remedy = (f"{wrong} ({problem})", node_remedy) if wrong else (problem, remedy)
        return Probe(
            self.ffmpeg, self.encoder, self.device, problem=problem, remedy=remedy, no_device=no_device
        )


def _run(ffmpeg: Ffmpeg, arguments: tuple[str, ...]) -> Finished:
    # SVT-AV1 states its version only at that log level.
    return transcoder.run(ffmpeg.path, arguments, stall_seconds=_TRIAL_SECONDS, environment={"SVT_LOG": "3"})


def _failed(finished: Finished) -> bool:
    return finished.ended != "exit" or finished.returncode != 0 or finished.frames != TRIAL_FRAMES


def _problem(finished: Finished) -> str:
    if finished.ended == "stalled":
        return f"no progress for {_TRIAL_SECONDS:.0f} s"
    if finished.returncode == 0:
        return f"{finished.frames} of {TRIAL_FRAMES} frames came out"
    return diagnose(finished.stderr).line or f"exit {finished.returncode}"


def _failures(failed: list[Probe]) -> list[str]:
    return list(dict.fromkeys(f"{probe.encoder.name}: {probe.problem}" for probe in failed))


def _not_built(ffmpeg: Ffmpeg, encoder: Encoder) -> Probe:
    problem = f"no ffmpeg here has {encoder.name}"
    return Probe(ffmpeg, encoder, None, problem=problem, remedy="name one that has it with --ffmpeg")


def _is_good(probe: Probe) -> bool:
    return bool(probe.levels) and probe.library >= probe.encoder.good_version


def _svt_version(lines: tuple[str, ...]) -> Version:
    for line in lines:
        found = re.search(r"SVT-AV1 Encoder Lib v(\d+)\.(\d+)", line)
        if found:
            return int(found[1]), int(found[2])
    return 0, 0


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
