"""Finds the ffmpegs of this machine: the one named by the owner, the system's, the embedded one."""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import Struct

from camarchiver.errors import EncoderError, cause
from camarchiver.media.ffmpeg_args import Version
from camarchiver.runtime import processes

FfmpegOrigin = Literal["option", "system", "embedded"]

_ANSWER_SECONDS = 15.0
_NEWEST: Version = (99, 0)


class Ffmpeg(Struct, frozen=True):
    """One ffmpeg binary."""

    path: Path
    version: Version
    """A build from git counts as the newest."""
    origin: FfmpegOrigin
    encoders: frozenset[str]
    """The encoders it was built with, whether or not they work here."""

    def __str__(self) -> str:
        version = "git" if self.version == _NEWEST else ".".join(map(str, self.version))
        return f"ffmpeg {version} ({self.origin})"


def find(explicit: Path | None = None) -> tuple[Ffmpeg, ...]:
    """Only the named ffmpeg, or the system's and the embedded one. Raises EncoderError if none runs."""
    examined = (examine(path, origin) for path, origin in candidates(explicit))
    found = tuple(each for each in examined if isinstance(each, Ffmpeg))
    if not found and explicit is not None:
        message = f"{explicit} is no ffmpeg that runs here"
        raise EncoderError(message, hint="correct --ffmpeg or leave it out")
    if not found:
        raise EncoderError("no ffmpeg was found", hint="install ffmpeg or name one with --ffmpeg")
    return found


def candidates(explicit: Path | None = None) -> tuple[tuple[Path, FfmpegOrigin], ...]:
    """Possible ffmpegs and their origins; not yet tried."""
    if explicit is not None:
        return ((Path(shutil.which(explicit) or explicit), "option"),)
    system = shutil.which("ffmpeg")
    embedded: tuple[tuple[Path, FfmpegOrigin], ...] = tuple((path, "embedded") for path in _embedded())
    return (((Path(system), "system"),) if system else ()) + embedded


def _embedded() -> tuple[Path, ...]:
    """imageio-ffmpeg's binary; its own search would take the system's first."""
    spec = find_spec("imageio_ffmpeg")
    folders = (spec.submodule_search_locations or []) if spec else []
    return tuple(path for folder in folders for path in sorted(Path(folder, "binaries").glob("ffmpeg-*")))


def examine(path: Path, origin: FfmpegOrigin) -> Ffmpeg | str:
    """The ffmpeg, or the reason why it does not run here.

    One start shows both: the banner has the version, the list has the encoders.
    """
    try:
        done = processes.run([path, "-nostdin", "-encoders"], seconds=_ANSWER_SECONDS)
    except OSError as error:
        return cause(error)
    banner = re.search(r"^ffmpeg version (\S+)", "\n".join(done.errors), re.MULTILINE)
    if done.returncode or banner is None:
        last = done.errors[-1] if done.errors else ""
        return last or (f"exit {done.returncode}" if done.returncode else "it does not print its version")
    number = re.match(r"n?(\d+)\.(\d+)", banner[1])
    version = (int(number[1]), int(number[2])) if number else _NEWEST
    listed = done.output.decode(errors="replace")
    encoders = frozenset(re.findall(r"^ [VAS][A-Z.]{5} (\w+) ", listed, re.MULTILINE))
    return Ffmpeg(path, version, origin, encoders)
