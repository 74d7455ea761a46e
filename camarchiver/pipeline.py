"""What the commands share: trees, names, clock, run id, journal and state; no use case is in it."""

from __future__ import annotations

import secrets
import socket
from datetime import datetime, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING, Any

from camarchiver.domain.clip import Trees
from camarchiver.domain.hold import Hold
from camarchiver.domain.memory import Memory
from camarchiver.domain.report import Outcome, Report
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.naming.patterns import Names, Pattern
from camarchiver.runtime import clock
from camarchiver.state import findings, holds, restored, run_history, volume_marker
from camarchiver.state.failures import Failures

if TYPE_CHECKING:
    from camarchiver.domain.plan import Plan
    from camarchiver.runtime.signals import Stop


class Pipeline:
    """One command's run over one set of trees; nothing is read or made before it is asked for.

    The use cases are functions and classes of their own folders that take it. None of them stores anything
    here, so there is no order in which they must be called.
    """

    def __init__(
        self,
        trees: Trees,
        zone: tzinfo,
        command: str,
        own_patterns: tuple[Pattern, ...] = (),
        *,
        started: datetime | None = None,
    ) -> None:
        """`started` is the moment that plans are made for, by default now.

        Raises StorageError or UsageError for trees that can't be meant, or that are not what they were.
        """
        volume_marker.check_roots(trees)
        volume_marker.check(trees)
        self.trees = trees
        self.zone = zone
        self.started = started or self.now()
        self.run = RunId(run_id(self.started), command, socket.gethostname())
        self._patterns = own_patterns

    def now(self) -> datetime:
        """This moment in the configured zone."""
        return clock.now(self.zone)

    @cached_property
    def names(self) -> Names:
        """Reads what clips are called here."""
        return Names(self._patterns)

    @cached_property
    def journal(self) -> Journal:
        """The record of everything done to a clip."""
        return Journal(self.trees.state)

    @cached_property
    def writer(self) -> JournalWriter:
        """Writes the journal in the name of this run."""
        return JournalWriter(self.journal, self.run, self.now)

    @cached_property
    def failures(self) -> Failures:
        """Clips that could not be archived."""
        return Failures(self.trees.state)

    def holds(self) -> tuple[Hold, ...]:
        """The holds as they are at this moment."""
        return holds.read(self.trees.state)

    def memory(self) -> Memory:
        """What outlasts a run, as it is at this moment."""
        state = self.trees.state
        return Memory(self.failures.known(), self.holds(), restored.read(state), findings.read(state).damaged)

    @property
    def archives(self) -> ArchiveLookup:
        """Which archives exist and are not known to be damaged, at each moment that it is asked."""
        return ArchiveLookup(self.trees, self.journal, findings.DamagedNow(self.trees.state))

    def report(self, plan: Plan[Any, Any], outcomes: tuple[Outcome, ...], stop: Stop | None = None) -> Report:
        """What came of a plan; the run history gets it if anything was done."""
        signal = stop.signal if stop else None
        report = plan.report(self.run.id, outcomes, ended=self.now(), stopped_by=signal)
        if outcomes:
            run_history.write(self.trees.state, report, self.run.host)
        return report


def run_id(started: datetime) -> str:
    """A name for a run that no other has; such names sort by the time of the start."""
    return f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
