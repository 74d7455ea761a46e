"""What ffmpeg's error lines mean: the cause and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What a failure concerns, the most serious first."""

    STORAGE = "storage"
    """No other fallback level would work either."""
    DEVICE = "device"
    """The GPU or its driver: the next clip may fail the same way."""
    OPTION = "option"
    """This encoder doesn't support the requested option, however the clip is decoded."""
    INPUT = "input"
    """This clip on this fallback level."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Symptom:
    """A pattern in a line that identifies a failure."""

    pattern: str
    trouble: Trouble
    remedy: str = ""


_NO_RUNTIME = (
    "install Intel's GPU runtime: libmfx-gen1.2 (12th generation, Arc and newer) or libmfx1 (older), "
    "and intel-media-va-driver-non-free"
)
_NO_DRIVER = "install intel-media-va-driver-non-free or, for other GPUs, mesa-va-drivers; check with vainfo"
_NOT_ON_THIS_GPU = "this GPU doesn't have that encoder: leave --codec at auto or choose another"

# Exit codes say nothing (5.1 has 1 for all, later versions a part of the error number): the lines do.
# "device failed" comes before the rest of its line, since a failing GPU causes it while decoding, too.
SYMPTOMS: tuple[Symptom, ...] = (
    Symptom(r"No space left on device", Trouble.STORAGE),
    Symptom(r"Disk quota exceeded", Trouble.STORAGE),
    Symptom(r"Read-only file system", Trouble.STORAGE),
    Symptom(r"MFX session", Trouble.DEVICE, _NO_RUNTIME),
    # The embedded ffmpeg loads what VAAPI needs only when it is used; a bare machine has no libX11.
    Symptom(r"implib-gen: \S+: failed to load", Trouble.DEVICE, "install the library that the message names"),
    Symptom(r"Failed to create a VAAPI device", Trouble.DEVICE, _NO_DRIVER),
    Symptom(r"No VA display found", Trouble.DEVICE, _NO_DRIVER),
    Symptom(r"Failed to initialise VAAPI connection", Trouble.DEVICE, _NO_DRIVER),
    Symptom(r"Device creation failed", Trouble.DEVICE, _NO_DRIVER),
    Symptom(r"No device available for decoder", Trouble.DEVICE, _NO_DRIVER),
    Symptom(r"device failed|device lost|GPU Hang|\(-21\)", Trouble.DEVICE, "some GPU hangs need a reboot"),
    Symptom(r"Cannot load (libcuda|libnvidia|nvcuda)", Trouble.DEVICE, "install NVIDIA's driver"),
    Symptom(r"No capable devices found|OpenEncodeSessionEx failed|CUDA_ERROR", Trouble.DEVICE),
    Symptom(r"Could not find a valid device|can't configure encoder", Trouble.DEVICE,
            "this machine shows no V4L2 encoder"),
    Symptom(r"Current (codec type|profile|pixel format) is unsupported", Trouble.OPTION, _NOT_ON_THIS_GPU),
    Symptom(r"Selected ratecontrol mode is unsupported|Driver does not support \w+ RC mode", Trouble.OPTION),
    Symptom(r"Current .* is unsupported|Low power mode is unsupported", Trouble.OPTION),
    Symptom(r"Error initializing the encoder", Trouble.OPTION),
    Symptom(r"some encoding parameters are not supported", Trouble.OPTION),
    Symptom(r"No usable encoding (profile|entrypoint)", Trouble.OPTION, _NOT_ON_THIS_GPU),
    Symptom(r"not supported by this device|required NVENC features", Trouble.OPTION, _NOT_ON_THIS_GPU),
    Symptom(r"Unknown encoder", Trouble.OPTION, "use an ffmpeg that has it, see --ffmpeg"),
    Symptom(r"Unrecognized option|Option not found|Error (setting|parsing) option", Trouble.OPTION),
    Symptom(r"Unable to parse option value|Undefined constant", Trouble.OPTION,
            "check --preset and --quality"),
    Symptom(r"has not been used for any stream", Trouble.OPTION),
    Symptom(r"Error decoding stream header", Trouble.INPUT),
    Symptom(r"incompatible video parameters", Trouble.INPUT),
    Symptom(r"Error during QSV decoding", Trouble.INPUT),
    Symptom(r"get_buffer|Cannot allocate memory", Trouble.INPUT),
    Symptom(r"Impossible to convert between the formats", Trouble.INPUT),
    Symptom(r"Could not find tag for codec", Trouble.INPUT),
    Symptom(r"moov atom not found", Trouble.INPUT),
    Symptom(r"Invalid data found when processing input", Trouble.INPUT),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The diagnosis of one stderr."""

    trouble: Trouble
    line: str
    """The first line that matches, otherwise the first line; empty if there was none."""
    remedy: str = ""


def diagnose(lines: Iterable[str]) -> Diagnosis:
    """The most serious trouble that any line names."""
    kept = tuple(re.sub(r" @ 0x[0-9a-f]+", "", line) for line in lines)
    for symptom in SYMPTOMS:
        # Rows are in order of severity; the first line of the same trouble says most.
        if any(re.search(symptom.pattern, line) for line in kept):
            return _first_of(symptom.trouble, kept)
    return Diagnosis(Trouble.UNKNOWN, kept[0] if kept else "")


def refuses_constant_quality(lines: Iterable[str]) -> bool:
    """Whether the driver has no ICQ; a constant quantiser (CQP) may still work."""
    pattern = r"Selected ratecontrol mode is unsupported|Driver does not support ICQ RC mode"
    return any(re.search(pattern, line) for line in lines)


def _first_of(trouble: Trouble, lines: tuple[str, ...]) -> Diagnosis:
    rows = [symptom for symptom in SYMPTOMS if symptom.trouble is trouble]
    return next(
        Diagnosis(trouble, line, symptom.remedy)
        for line in lines
        for symptom in rows
        if re.search(symptom.pattern, line)
    )
