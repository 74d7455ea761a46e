"""Stores what `verify` finds: in the journal, and in the findings that every rule respects."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from camarchiver.domain.damage import DETAIL_LENGTH, Damage, Flaw
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import ExpectedArchive
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter
from camarchiver.state import findings
from camarchiver.state.findings import CompletedVerify, FindingsUpdate

_log = logging.getLogger(__name__)


class FindingsLog:
    """One run's findings; a finding that is already stored is not written again."""

    def __init__(
        self,
        state: Path,
        journal: Journal,
        writer: JournalWriter,
        known: Mapping[str, Damage],
        *,
        is_kept: bool = True,
    ) -> None:
        """`known` is what earlier runs found; a dry run keeps nothing."""
        self.is_kept = is_kept and state.is_dir()
        self._state = state
        self._journal = journal
        self._writer = writer
        self._known = known
        self._lines: list[JournalEvent] = []
        self._damaged: dict[str, Damage] = {}
        self._sound: set[str] = set()
        self._pass: FindingsUpdate = FindingsUpdate()
        self.problem = ""
        """Why something could not be written down."""

    def damaged(self, expected: ExpectedArchive, flaw: Flaw, detail: str) -> Damage:
        """Record that an archive is missing or damaged; the finding that is stored from now on."""
        before = self._known.get(expected.archive)
        if before is not None and before.flaw is flaw:
            return before
        found = Damage(
            flaw=flaw,
            detail=detail[:DETAIL_LENGTH],
            at=self._writer.now(),
            run=self._writer.run.id,
            source=expected.source,
            day=expected.line.start.date(),
        )
        self._damaged[expected.archive] = found
        self._lines.append(self._writer.found_damaged(expected.line, flaw, found.detail))
        return found

    def sound(self, expected: ExpectedArchive) -> None:
        """Record that an archive that was found damaged before is as journalled."""
        self._sound.add(expected.archive)
        self._lines.append(self._writer.found_sound(expected.line))

    def no_longer_expected(self, archive: str) -> None:
        """Record that, by the journal, an archive that was found damaged need not exist any more."""
        self._sound.add(archive)

    def completed(self, archives: int, *, full: bool) -> None:
        """Record that every archive was checked; with `full` each was decoded."""
        found = CompletedVerify(self._writer.now(), self._writer.run.id, archives)
        self._pass = FindingsUpdate(whole=found, full=found if full else None)

    def flush(self) -> None:
        """Write pending findings; a failure is kept in `problem`."""
        lines, self._lines = self._lines, []
        change = FindingsUpdate(
            dict(self._damaged), frozenset(self._sound), self._pass.whole, self._pass.full
        )
        if change == FindingsUpdate(sound=frozenset()) or not self.is_kept:
            return
        try:
            if lines:
                self._journal.append(*lines)
        except (OSError, CamarchiverError) as error:
            self._fail(error, is_grave=True)
        try:
            findings.change(self._state, change)
        except (OSError, CamarchiverError) as error:
            # That a pass was completed is not worth a failure: a read-only archive can't store it.
            self._fail(error, is_grave=bool(change.damaged or change.sound))
        self._damaged, self._sound, self._pass = {}, set(), FindingsUpdate()

    def _fail(self, error: Exception, *, is_grave: bool) -> None:
        words = sentence(error)
        if is_grave:
            self.problem = f"what was found could not be written down: {words}"
        _log.log(logging.WARNING if is_grave else logging.INFO, "findings could not be kept: %s", words)
