"""Looks at everything that camarchiver needs on this machine; changes nothing that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from camarchiver import examine_machine, examine_software, examine_storage
from camarchiver.codecs import Backend, Codec, Settings
from camarchiver.diagnosis import Finding, trouble
from camarchiver.encoders import Auto
from camarchiver.model import Trees


@dataclass(frozen=True, slots=True)
class Encoding:
    """How `archive` is to encode."""

    settings: Settings
    backend: Backend | Auto
    codec: Codec | Auto
    device: Path | None
    ffmpeg: Path | None


@dataclass(frozen=True, slots=True)
class Recorder:
    """What `record` is set up for."""

    sources: tuple[str, ...]
    """The stream that is recorded, and the one that is watched for motion where that is another."""
    credentials: Path | None
    spool: Path
    outbox: Path


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at."""

    trees: Trees
    timezone: str
    encoding: Encoding
    recorder: Recorder | None
    """None where nothing is recorded here."""
    metrics: tuple[Path, ...]
    commands: tuple[tuple[str, ...], ...]
    """Those that are to be told of failures."""


Check = tuple[str, Callable[[], Iterator[Finding]]]


def examine(patient: Patient) -> Iterator[Finding]:
    """Every finding, as it comes: encoders take their time."""
    for area, check in _checks(patient):
        try:
            yield from check()
        except Exception as error:
            # What can't even be looked at is the finding; the other checks go on.
            said = f"this could not be looked at: {type(error).__name__}: {error}"
            yield trouble(area, said, "see what the message names; if it names nothing, report it")


def _checks(patient: Patient) -> Iterator[Check]:
    how, trees, recorder = patient.encoding, patient.trees, patient.recorder
    yield "user", examine_machine.user
    yield "python", examine_software.python
    yield "packages", partial(examine_software.packages, ("record",) if recorder else ())
    yield "clock", partial(examine_machine.clocks, patient.timezone, trees)
    yield "trees", partial(examine_storage.roots, trees)
    if trees.source.is_dir():
        yield "journal", partial(examine_storage.journal, trees)
        yield "archives", partial(examine_storage.archives, trees)
        yield "inotify", partial(_watches, trees)
    if recorder is not None:
        yield "spool", partial(examine_storage.recorder, recorder.spool, recorder.outbox)
        for source in recorder.sources:
            yield "camera", partial(examine_machine.camera, source)
        if recorder.credentials is not None:
            yield "camera", partial(examine_machine.credentials, recorder.credentials)
    yield "camera", partial(examine_machine.devices, recorder.sources if recorder else ())
    yield "metrics", partial(examine_machine.channels, patient.metrics, patient.commands)
    yield "ffmpeg", partial(examine_software.binaries, how.ffmpeg)
    yield "render node", partial(examine_machine.render_nodes, how.device)
    yield (
        "encoder",
        partial(examine_software.encoders, how.ffmpeg, how.settings, how.device, how.backend, how.codec),
    )


def _watches(trees: Trees) -> Iterator[Finding]:
    mount = examine_storage.kind_of(trees.source)
    if mount is not None and not mount.tells:
        yield examine_machine.unseen(mount.kind)
        return
    yield from examine_machine.inotify(examine_storage.count_folders(trees))
