"""Looks at Python, the packages, the ffmpegs and what they can encode with here, for `doctor`."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from importlib import metadata
from pathlib import Path

from camarchiver import __version__
from camarchiver.doctor.findings import Finding, fine, remark, trouble
from camarchiver.errors import EncoderError, cause
from camarchiver.media import ffmpeg_find
from camarchiver.media.encoder_probe import Auto, Machine, Probe
from camarchiver.media.encoders import HARDWARE, Backend, Codec, EncodeSettings
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.runtime import processes
from camarchiver.runtime.extras import extra_of, install, install_extra, requirements

OLDEST_PYTHON = (3, 11)
LOADED = {"av": "av", "numpy": "numpy", "opencv-python-headless": "cv2", "inotify-simple": "inotify_simple"}
"""Packages that are started for a trial, and their modules: a wheel may not fit the machine."""
_LOAD_SECONDS = 60.0


def python() -> Iterator[Finding]:
    """The version of Python."""
    message = f"camarchiver {__version__}, Python {platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST_PYTHON:
        yield trouble("python", message, "install Python 3.11 or newer and camarchiver into it")
    else:
        yield fine("python", message)


def packages(extras: Collection[str]) -> Iterator[Finding]:
    """Whether each package is installed, new enough, and starts; `extras` are those that the config needs."""
    found: dict[str, str] = {}
    for wanted in requirements():
        extra = extra_of(wanted)
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            remedy = install_extra(extra) if extra else install(wanted)
            message = f"{wanted.name} is not installed"
            needed = not extra or extra in extras
            yield (trouble if needed else remark)(
                "packages", f"{message}; {extra} needs it" if extra else message, remedy
            )
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            message = f"{wanted.name} {version} is not what is needed: {wanted.specifier}"
            yield trouble("packages", message, install(wanted))
            continue
        found[wanted.name] = version
    broken = {name: problem for name in found if name in LOADED and (problem := _problem_loading(name))}
    for name, problem in broken.items():
        remedy = "install a build of it that fits this machine; python -X faulthandler -c 'import "
        yield trouble(
            "packages", f"{name} can't be started: {problem}", f"{remedy}{LOADED[name]}' shows more"
        )
    sound = ", ".join(f"{name} {version}" for name, version in found.items() if name not in broken)
    yield fine("packages", sound)


def binaries(named: Path | None) -> Iterator[Finding]:
    """Each ffmpeg with its version, or why it does not run."""
    if named is None and shutil.which("ffmpeg") is None:
        yield remark("ffmpeg", "there is no ffmpeg in PATH; the embedded one is used")
    for path, origin in ffmpeg_find.candidates(named):
        found = ffmpeg_find.examine(path, origin)
        if isinstance(found, Ffmpeg):
            yield fine("ffmpeg", f"{found}: {found.path}, {len(found.encoders)} encoders")
        else:
            remedy = "correct --ffmpeg, or leave it out" if named else "reinstall it, or take it out of PATH"
            yield trouble("ffmpeg", f"{path} ({origin}) is no ffmpeg that runs here: {found}", remedy)


def encoders(
    named: Path | None,
    settings: EncodeSettings,
    device: Path | None,
    backend: Backend | Auto,
    codec: Codec | Auto,
) -> Iterator[Finding]:
    """The result of trying each backend, and what `archive` would choose."""
    try:
        machine = Machine(ffmpeg_find.find(named), settings, device=device)
    except EncoderError as error:
        yield trouble("encoder", error.message, error.hint)
        return
    failed: list[Probe] = []
    works = set()
    there = False
    for each in Backend:
        if reason := machine.absence(each):
            yield remark("encoder", f"{each}: {reason}")
            continue
        there = there or each in HARDWARE
        began = time.monotonic()
        for probe in machine.trials(each):
            seconds, began = time.monotonic() - began, time.monotonic()
            yield _tried(probe, seconds)
            works |= {each} if probe.levels else set()
            failed += [] if probe.levels or each not in HARDWARE else [probe]
    if there and backend == "auto" and not works & set(HARDWARE) and failed:
        message = f"there is a GPU, and it can't be used: {failed[0].problem}"
        yield trouble("encoder", message, failed[0].remedy or "install its driver, and see the lines above")
    yield _chosen(machine, backend, codec)


def _tried(probe: Probe, seconds: float) -> Finding:
    place = f" on {probe.device}" if probe.device else ""
    message = f"{probe.encoder.name}{place} with {probe.ffmpeg}"
    if probe.levels:
        return fine("encoder", f"{message} works ({', '.join(probe.levels)})", seconds=seconds)
    return remark("encoder", f"{message}: {probe.problem}", probe.remedy, seconds=seconds)


def _chosen(machine: Machine, backend: Backend | Auto, codec: Codec | Auto) -> Finding:
    try:
        choice = machine.choose(backend, codec)
    except EncoderError as error:
        return trouble("encoder", error.message, error.hint)
    place = f" on {choice.device}" if choice.device else ""
    return fine("encoder", f"archive uses {choice.encoder.name}{place} with {choice.ffmpeg}")


def _problem_loading(name: str) -> str:
    """Tried in another process: a library built for another CPU ends the process that loads it."""
    command = [sys.executable, "-c", f"import {LOADED[name]}"]
    try:
        done = processes.run(command, seconds=_LOAD_SECONDS)
    except OSError as error:
        return cause(error)
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    return (done.errors[-1] if done.errors else f"exit {done.returncode}") if done.returncode else ""
