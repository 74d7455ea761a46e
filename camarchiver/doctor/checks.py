"""Lists the checks of everything that camarchiver needs on this machine; changes nothing that stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from camarchiver.doctor import machine as machine_checks
from camarchiver.doctor import offsite as offsite_checks
from camarchiver.doctor import software as software_checks
from camarchiver.doctor import storage as storage_checks
from camarchiver.doctor.findings import Finding, trouble
from camarchiver.domain.clip import Trees
from camarchiver.errors import described
from camarchiver.media.encoder_probe import Auto
from camarchiver.media.encoders import Backend, Codec, EncodeSettings
from camarchiver.naming.system_folders import KNOWN, PassedOver
from camarchiver.offsite.rclone.remote import RcloneSettings


class EncodingTarget(Struct, frozen=True):
    """How `archive` is configured to encode."""

    settings: EncodeSettings
    backend: Backend | Auto
    codec: Codec | Auto
    device: Path | None
    ffmpeg: Path | None


class RecorderTarget(Struct, frozen=True):
    """What `record` is configured for."""

    sources: tuple[str, ...]
    """The stream that is recorded, and the one that is searched for motion if it is another one."""
    credentials: Path | None
    spool: Path
    outbox: Path


class DoctorTarget(Struct, frozen=True):
    """What `doctor` examines."""

    trees: Trees
    timezone: str
    encoding: EncodingTarget
    recorder: RecorderTarget | None
    """None if nothing is recorded here."""
    metrics: tuple[Path, ...]
    commands: tuple[tuple[str, ...], ...]
    """The commands that are notified of failures."""
    passed_over: PassedOver = KNOWN
    """Folders that hold no clips."""
    offsite: RcloneSettings | None = None
    """The remote of off-site copies; None if none is configured."""


AreaCheck = tuple[str, Callable[[], Iterator[Finding]]]


def examine(target: DoctorTarget) -> Iterator[Finding]:
    """Every finding, as soon as it is known: trying the encoders takes time."""
    for area, check in _checks(target):
        try:
            yield from check()
        except Exception as error:
            # A check that fails is itself the finding; the other checks go on.
            message = f"this could not be looked at: {described(error)}"
            yield trouble(area, message, "see what the message names; if it names nothing, report it")


def _checks(target: DoctorTarget) -> Iterator[AreaCheck]:
    encoding, trees, recorder = target.encoding, target.trees, target.recorder
    yield "user", machine_checks.user
    yield "python", software_checks.python
    yield "packages", partial(software_checks.packages, ("record",) if recorder else ())
    yield "clock", partial(machine_checks.clocks, target.timezone, trees)
    yield "trees", partial(storage_checks.roots, trees)
    if trees.source.is_dir():
        yield "journal", partial(storage_checks.journal, trees)
        yield "archives", partial(storage_checks.archives, trees)
        yield "inotify", partial(_watches, trees, target.passed_over)
    if recorder is not None:
        yield "spool", partial(storage_checks.recorder, recorder.spool, recorder.outbox)
        for source in recorder.sources:
            yield "camera", partial(machine_checks.camera, source)
        if recorder.credentials is not None:
            yield "camera", partial(machine_checks.credentials, recorder.credentials)
    yield "camera", partial(machine_checks.devices, recorder.sources if recorder else ())
    if target.offsite is not None:
        yield offsite_checks.AREA, partial(offsite_checks.remote, target.offsite, trees)
    yield "metrics", partial(machine_checks.channels, target.metrics, target.commands)
    yield "ffmpeg", partial(software_checks.binaries, encoding.ffmpeg)
    yield "render node", partial(machine_checks.render_nodes, encoding.device)
    yield (
        "encoder",
        partial(
            software_checks.encoders,
            encoding.ffmpeg,
            encoding.settings,
            encoding.device,
            encoding.backend,
            encoding.codec,
        ),
    )


def _watches(trees: Trees, passed_over: PassedOver) -> Iterator[Finding]:
    mount = storage_checks.kind_of(trees.source)
    if mount is not None and not mount.reports_changes:
        yield machine_checks.unseen(mount.kind)
        return
    yield from machine_checks.inotify(storage_checks.count_folders(trees, passed_over))
