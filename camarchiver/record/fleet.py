"""One camera's recorder and its parts; several run in one process, each in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from camarchiver.errors import CamarchiverError
from camarchiver.runtime.formatting import shown

if TYPE_CHECKING:
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.outbox.keeper import OutboxKeeper
    from camarchiver.record.outbox.publisher import ClipPublisher
    from camarchiver.record.recorder import Recorder
    from camarchiver.record.watchdog import Watchdog

_log = logging.getLogger(__name__)

_TICK = 0.5


@dataclass
class Member:
    """One camera and its recorder."""

    name: str
    source: Camera
    recorder: Recorder
    publisher: ClipPublisher
    keeper: OutboxKeeper
    error: CamarchiverError | OSError | None = None
    """The error that ended the recorder, if it was not the source's."""

    def run(self, stop: threading.Event) -> None:
        """Record until the end; a failure affects this camera only."""
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
    """By camera, why it could not start."""

    @property
    def names(self) -> list[str]:
        """The names of all requested cameras."""
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
        """Whether every camera is connected and has space to record."""
        well = (member.recorder.is_connected and not member.recorder.is_full for member in self.members)
        return not self.failures and all(well)


def assembled(members: Mapping[str, Callable[[], Member]], watchdog: Watchdog) -> Fleet:
    """A recorder for each camera, by its name; a camera that fails to start does not stop the others.

    If none can start, the last camera's error is raised.
    """
    fleet = Fleet()
    for name, make in members.items():
        try:
            fleet.members.append(make())
        except (CamarchiverError, OSError) as error:
            fleet.failures[name] = error
            if len(fleet.failures) == len(members):
                raise
            watchdog.report(name, "failed", away=True)
    return fleet
