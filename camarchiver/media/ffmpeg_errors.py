"""What ffmpeg's error lines mean: the cause and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct


class FailureScope(StrEnum):
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


class KnownError(Struct, frozen=True):
    """A pattern in a line that identifies a failure."""

    pattern: str
    scope: FailureScope
    remedy: str = ""


_NO_RUNTIME = (
    "install Intel's GPU runtime: libmfx-gen1.2 (12th generation, Arc and newer) or libmfx1 (older), "
    "and intel-media-va-driver-non-free"
)
_NO_DRIVER = "install intel-media-va-driver-non-free or, for other GPUs, mesa-va-drivers; check with vainfo"
_NOT_ON_THIS_GPU = "this GPU doesn't have that encoder: leave --codec at auto or choose another"

# Exit codes say nothing (5.1 has 1 for all, later versions a part of the error number): the lines do.
# "device failed" comes before the rest of its line, since a failing GPU causes it while decoding, too.
KNOWN_ERRORS: tuple[KnownError, ...] = (
    KnownError(r"No space left on device", FailureScope.STORAGE),
    KnownError(r"Disk quota exceeded", FailureScope.STORAGE),
    KnownError(r"Read-only file system", FailureScope.STORAGE),
    KnownError(r"MFX session", FailureScope.DEVICE, _NO_RUNTIME),
    # The embedded ffmpeg loads what VAAPI needs only when it is used; a bare machine has no libX11.
    KnownError(r"implib-gen: \S+: failed to load", FailureScope.DEVICE,
               "install the library that the message names"),
    KnownError(r"Failed to create a VAAPI device", FailureScope.DEVICE, _NO_DRIVER),
    KnownError(r"No VA display found", FailureScope.DEVICE, _NO_DRIVER),
    KnownError(r"Failed to initialise VAAPI connection", FailureScope.DEVICE, _NO_DRIVER),
    KnownError(r"Device creation failed", FailureScope.DEVICE, _NO_DRIVER),
    KnownError(r"No device available for decoder", FailureScope.DEVICE, _NO_DRIVER),
    KnownError(r"device failed|device lost|GPU Hang|\(-21\)", FailureScope.DEVICE,
               "some GPU hangs need a reboot"),
    KnownError(r"Cannot load (libcuda|libnvidia|nvcuda)", FailureScope.DEVICE, "install NVIDIA's driver"),
    KnownError(r"No capable devices found|OpenEncodeSessionEx failed|CUDA_ERROR", FailureScope.DEVICE),
    KnownError(r"Could not find a valid device|can't configure encoder", FailureScope.DEVICE,
               "this machine shows no V4L2 encoder"),
    KnownError(r"Current (codec type|profile|pixel format) is unsupported", FailureScope.OPTION,
               _NOT_ON_THIS_GPU),
    KnownError(r"Selected ratecontrol mode is unsupported|Driver does not support \w+ RC mode",
               FailureScope.OPTION),
    KnownError(r"Current .* is unsupported|Low power mode is unsupported", FailureScope.OPTION),
    KnownError(r"Error initializing the encoder", FailureScope.OPTION),
    KnownError(r"some encoding parameters are not supported", FailureScope.OPTION),
    KnownError(r"No usable encoding (profile|entrypoint)", FailureScope.OPTION, _NOT_ON_THIS_GPU),
    KnownError(r"not supported by this device|required NVENC features", FailureScope.OPTION,
               _NOT_ON_THIS_GPU),
    KnownError(r"Unknown encoder", FailureScope.OPTION, "use an ffmpeg that has it, see --ffmpeg"),
    KnownError(r"Unrecognized option|Option not found|Error (setting|parsing) option", FailureScope.OPTION),
    KnownError(r"Unable to parse option value|Undefined constant", FailureScope.OPTION,
               "check --preset and --quality"),
    KnownError(r"has not been used for any stream", FailureScope.OPTION),
    KnownError(r"Error decoding stream header", FailureScope.INPUT),
    KnownError(r"incompatible video parameters", FailureScope.INPUT),
    KnownError(r"Error during QSV decoding", FailureScope.INPUT),
    KnownError(r"get_buffer|Cannot allocate memory", FailureScope.INPUT),
    KnownError(r"Impossible to convert between the formats", FailureScope.INPUT),
    KnownError(r"Could not find tag for codec", FailureScope.INPUT),
    KnownError(r"moov atom not found", FailureScope.INPUT),
    KnownError(r"Invalid data found when processing input", FailureScope.INPUT),
)  # fmt: skip


class Diagnosis(Struct, frozen=True):
    """The diagnosis of one stderr."""

    scope: FailureScope
    line: str
    """The first line that matches, otherwise the first line; empty if there was none."""
    remedy: str = ""


def diagnose(lines: Iterable[str]) -> Diagnosis:
    """The most serious failure that any line names."""
    kept = tuple(re.sub(r" @ 0x[0-9a-f]+", "", line) for line in lines)
    for known in KNOWN_ERRORS:
        # Rows are in order of severity; the first line of the same scope says most.
        if any(re.search(known.pattern, line) for line in kept):
            return _first_of(known.scope, kept)
    return Diagnosis(FailureScope.UNKNOWN, kept[0] if kept else "")


def refuses_constant_quality(lines: Iterable[str]) -> bool:
    """Whether the driver has no ICQ; a constant quantiser (CQP) may still work."""
    pattern = r"Selected ratecontrol mode is unsupported|Driver does not support ICQ RC mode"
    return any(re.search(pattern, line) for line in lines)


def _first_of(scope: FailureScope, lines: tuple[str, ...]) -> Diagnosis:
    rows = [known for known in KNOWN_ERRORS if known.scope is scope]
    return next(
        Diagnosis(scope, line, known.remedy)
        for line in lines
        for known in rows
        if re.search(known.pattern, line)
    )
