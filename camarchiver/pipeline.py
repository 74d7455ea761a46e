"""What the commands share: trees, names, clock, run id, journal and state; it contains no use case."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Collection
from datetime import datetime, tzinfo
from functools import cached_property

from msgspec.structs import replace

from camarchiver.domain.clip import Trees
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import Memory
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.naming.patterns import Names
from camarchiver.runtime import clock
from camarchiver.state import clock_corrections, findings, holds, restored, run_history, volume_marker
from camarchiver.state.failures import Failures
from camarchiver.state.run_history import BegunRun

NO_CONVENTIONS = Conventions()
"""A config that says nothing about the trees."""


class Pipeline:
    """One command's run over one set of trees; it reads and creates nothing before that is requested.

    The use cases are functions and classes of their own folders that take it. None of them stores anything
    here, so there is no order in which they must be called.
    """

    def __init__(
        self,
        trees: Trees,
        zone: tzinfo,
        command: str,
        conventions: Conventions = NO_CONVENTIONS,
        *,
        started: datetime | None = None,
        may_make_source: bool = False,
    ) -> None:
        """`conventions` is what the config says about the trees.

        `started` is the moment for which plans are made, by default now. `may_make_source`: a source that
        does not exist is made by the run.

        Raises StorageError or UsageError for trees that are impossible, or that have been replaced.
        """
        volume_marker.check_roots(trees, source_may_be_missing=may_make_source)
        volume_marker.check_place(trees)
        volume_marker.check(trees)
        self.trees = trees
        self.zone = zone
        self.started = started or self.now()
        self.run = RunId(run_id(self.started), command, socket.gethostname())
        self._configured = conventions

    @cached_property
    def conventions(self) -> Conventions:
        """What the config says about the trees, with the corrections of clocks for ranges of times."""
        corrections = clock_corrections.read(self.trees.state)
        if not corrections:
            return self._configured
        clocks = replace(self._configured.clocks, corrections=corrections)
        return replace(self._configured, clocks=clocks)

    def now(self) -> datetime:
        """This moment in the configured zone."""
        return clock.now(self.zone)

    @cached_property
    def names(self) -> Names:
        """Reads the names of clips."""
        return Names(self.conventions.patterns)

    @cached_property
    def journal(self) -> Journal:
        """The record of everything done to a clip."""
        return Journal(self.trees.state)

    @cached_property
    def writer(self) -> JournalWriter:
        """Writes the journal on behalf of this run."""
        return JournalWriter(self.journal, self.run, self.now)

    @cached_property
    def failures(self) -> Failures:
        """Clips that could not be archived."""
        return Failures(self.trees.state)

    def holds(self) -> tuple[Hold, ...]:
        """The holds as they are at this moment."""
        return holds.read(self.trees.state)

    def memory(self) -> Memory:
        """What is remembered beyond a run, as it is at this moment."""
        state = self.trees.state
        return Memory(self.failures.known(), self.holds(), restored.read(state), findings.read(state).damaged)

    @property
    def archives(self) -> ArchiveLookup:
        """Which archives exist and are not known to be damaged, at each moment of a call."""
        return ArchiveLookup(self.trees, self.journal, findings.DamagedNow(self.trees.state))

    def begin(self, steps: Collection[object]) -> BegunRun:
        """The run from the first of these steps on: it is in the run history now, and makes its report."""
        return run_history.begin(self.trees.state, self.run, self.started, self.now, steps)


def run_id(started: datetime) -> str:
    """A unique name for a run; these names sort by the time of the start."""
    return f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
