"""One camera's recorder with all that belongs to it; several run in one process, each in a thread."""

from __future__ import annotations

import logging
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from camarchiver.errors import CamarchiverError
from camarchiver.naming import local_time
from camarchiver.naming import patterns as name_patterns
from camarchiver.runtime import clock
from camarchiver.runtime.formatting import shown
from camarchiver.storage import run_lock

if TYPE_CHECKING:
    from camarchiver.cli.runs.record import RecordOptions
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.outbox.keeper import OutboxKeeper
    from camarchiver.record.outbox.publisher import ClipPublisher, Recorded
    from camarchiver.record.recorder import Recorder
    from camarchiver.record.watchdog import Watchdog

_log = logging.getLogger("camarchiver.fleet")

_TICK = 0.5


@dataclass
class Member:
    """One camera and its recorder."""

    name: str
    source: Camera
    recorder: Recorder
    delivery: ClipPublisher
    upkeep: OutboxKeeper
    error: CamarchiverError | OSError | None = None
    """What ended the recorder, where it was not the source."""

    def run(self, stop: threading.Event) -> None:
        """Record until the end; a failure is this camera's own."""
        try:
            self.recorder.run(stop)
        except (CamarchiverError, OSError) as error:
            self.error = error
            _log.error("%s: recording ended: %s", shown(self.name), error)
        except Exception as error:
            self.error = CamarchiverError(f"{self.name}: {type(error).__name__}: {error}")
            _log.exception("%s: recording ended", shown(self.name))


@dataclass
class Fleet:
    """Every camera of this process."""

    members: list[Member] = field(default_factory=list)
    failures: dict[str, CamarchiverError | OSError] = field(default_factory=dict)
    """By camera, why it could not be begun."""

    @property
    def names(self) -> list[str]:
        """Of every camera that was asked for."""
        return [*(member.name for member in self.members), *self.failures]

    def run(self, stop: threading.Event) -> None:
        """Record until every camera has ended."""
        threads = [
            threading.Thread(target=member.run, args=(stop,), name=f"record {member.name}")
            for member in self.members
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                # with a limit, so that this thread still heeds signals
                thread.join(_TICK)

    def is_well(self) -> bool:
        """Whether every camera is there and there is room."""
        well = (member.recorder.is_connected and not member.recorder.is_full for member in self.members)
        return not self.failures and all(well)


def assembled(
    cameras: Iterable[RecordOptions],
    vigil: Watchdog,
    held: ExitStack,
    tell: Callable[[Recorded], None],
) -> Fleet:
    """A recorder for each camera, with its locks held; one that can't be had doesn't keep the others back.

    Where none can be had, the last one's error is raised.
    """
    fleet = Fleet()
    wanted = list(cameras)
    for options in wanted:
        try:
            fleet.members.append(_member(options, vigil, held, tell))
        except (CamarchiverError, OSError) as error:
            fleet.failures[options.camera or ""] = error
            if len(fleet.failures) == len(wanted):
                raise
            vigil.tell(options.camera or "", "failed", away=True)
    return fleet


def _member(
    options: RecordOptions, vigil: Watchdog, held: ExitStack, tell: Callable[[Recorded], None]
) -> Member:
    from camarchiver.record.clip_rules import Lengths
    from camarchiver.record.outbox.publisher import ClipPublisher
    from camarchiver.record.recorder import Recorder, RecorderSettings

    source, lookout = options.sources()
    name, folders = options.folders()
    zone = clock.zone(options.timezone)
    lengths = (options.pre, options.post, options.max_clip)
    settings = RecorderSettings(
        lengths=Lengths(*(length.total_seconds() for length in lengths)),
        times=options.ranges(),
        min_free=options.min_free,
        duration=options.duration.total_seconds() if options.duration else None,
        base=_base(source, zone),
        timelapse=options.lapse(),
    )
    upkeep = options.upkeep(name, zone)
    folders.make()
    for lock in folders.locks:
        held.enter_context(run_lock.exclusive(lock, what="record"))
    folders.sweep()
    delivery = ClipPublisher(name, folders, pictures=options.snapshot, tell=tell)
    recorder = Recorder(settings, source, lookout, delivery, upkeep, vigil, lambda: clock.now(zone))
    return Member(name, source, recorder, delivery, upkeep)


def _base(source: Camera, zone: tzinfo) -> datetime | None:
    """When a file's first frame was: by its name where that tells, else now; None for what is live."""
    path = Path(source.name)
    if source.returns or stat.S_ISFIFO(path.stat().st_mode):
        return None
    parsed = name_patterns.Names().read(path.stem, path.absolute().parent.name)
    if parsed is None:
        return clock.now(zone)
    return local_time.locate(parsed, path.stat().st_mtime_ns, zone)
