"""One camera's recorder and its parts, in this process."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from camarchiver.errors import CamarchiverError, StorageError, described, sentence
from camarchiver.record.supervision.facts import CameraFacts, CameraFailure, RunFacts
from camarchiver.runtime.formatting import shown

if TYPE_CHECKING:
    from camarchiver.record.capture.source import Camera
    from camarchiver.record.outbox.keeper import OutboxKeeper
    from camarchiver.record.outbox.publisher import ClipPublisher
    from camarchiver.record.recorder import Recorder

_log = logging.getLogger(__name__)


class Member:
    """One camera and its recorder."""

    def __init__(
        self, name: str, source: Camera, recorder: Recorder, publisher: ClipPublisher, keeper: OutboxKeeper
    ) -> None:
        self.name = name
        self.source = source
        self.recorder = recorder
        self.publisher = publisher
        self.keeper = keeper
        self.error: CamarchiverError | OSError | None = None
        """The error that ended the recorder, if it was not the source's."""

    def run(self, stop: threading.Event) -> None:
        """Record until the end."""
        try:
            self.recorder.run(stop)
        except (CamarchiverError, OSError) as error:
            self.error = error
            _log.error("%s: recording ended: %s", shown(self.name), sentence(error))
        except Exception as error:
            self.error = CamarchiverError(f"{self.name}: {described(error)}")
            _log.exception("%s: recording ended", shown(self.name))

    @property
    def facts(self) -> RunFacts:
        """What it did so far."""
        recorder, publisher, keeper = self.recorder, self.publisher, self.keeper
        # read first: a clip that ends meanwhile is then listed and does not count as an earlier one
        totals, recorded, salvaged = publisher.totals, publisher.clips.count, publisher.salvaged.count
        facts = CameraFacts(
            self.name,
            publisher.folders.spool,
            publisher.folders.outbox,
            clips=tuple(publisher.clips),
            recorded=recorded,
            totals=totals,
            salvaged=tuple(publisher.salvaged),
            salvaged_count=salvaged,
            removed=tuple(keeper.removed),
            left=keeper.left,
            removal_figures=keeper.totals.figures(),
            announced=tuple(keeper.announced),
            problems=tuple(keeper.problems),
            outages=recorder.outages,
            refused=recorder.refused,
            frames=recorder.frames,
            last_frame=recorder.last_frame,
            is_connected=recorder.is_connected,
            is_full=recorder.is_full,
            failure=self._failure(),
        )
        return RunFacts((facts,), {})

    def _failure(self) -> CameraFailure | None:
        error = self.error
        if error is None and self.recorder.error:
            error = StorageError(f"{self.source.name} can't be read on: {self.recorder.error}")
        return None if error is None else CameraFailure.of(error)
