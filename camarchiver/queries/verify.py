"""Checks the archive against the journal: what is missing, changed, unreadable or foreign."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path, PurePosixPath

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.domain.clip import joined
from camarchiver.domain.damage import Damage, Flaw, RecordFlaw
from camarchiver.errors import cause
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import ExpectedArchive, Ledger
from camarchiver.journal.lookup import JournalDays
from camarchiver.journal.replay import file_of
from camarchiver.media import ffmpeg_args, ffmpeg_find, transcoder
from camarchiver.media.verification.rules import is_headless
from camarchiver.pipeline import Pipeline
from camarchiver.queries.verified import Verified, VerifyFinding
from camarchiver.runtime.formatting import count_of
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stopper
from camarchiver.state import verify_checkpoint, work_in_progress
from camarchiver.state.findings import read as remembered
from camarchiver.state.findings_log import FindingsLog
from camarchiver.state.verify_checkpoint import CheckpointPlace, VerifyCheckpoint, VerifyScope
from camarchiver.state.work_in_progress import ClipWork
from camarchiver.storage import copying
from camarchiver.storage.walk import TreeWalk, readable

MARK_SECONDS = 10.0
"""How often an unattended run writes its progress."""

DAYS_IN_MEMORY = 8


class _StopRequested(Exception):
    """The run is to stop within a file."""


class Task(Struct, frozen=True):
    """What one run of `verify` is to check."""

    asked: VerifyScope
    run: str
    """Draws the sample."""
    mark: VerifyCheckpoint | None = None
    """Where an interrupted run of the same request stopped."""
    known: Mapping[str, Damage] = field(default_factory=dict)
    """Archives that were found damaged before: they are checked in any case."""

    def wants(self, place: CheckpointPlace) -> bool:
        """Whether this archive is in the sample and was not checked before."""
        if place.archive in self.known:
            return True
        if self.asked.known or (self.asked.since is not None and place.day < self.asked.since):
            return False
        if self.mark is not None and _order(place) <= _order(self.mark.after):
            return place in self.mark.off
        if self.asked.percent >= 100:
            return True
        name = f"{self.run}/{place.archive}".encode("utf-8", "surrogateescape")
        sample = int.from_bytes(hashlib.blake2b(name, digest_size=4).digest())
        return sample < self.asked.percent / 100 * 2**32


def task_for(pipeline: Pipeline, asked: VerifyScope, *, anew: bool) -> Task:
    """What to check; after an interruption of the same request, unless `anew`, the rest of it."""
    state = pipeline.trees.state
    known = remembered(state).damaged
    mark = None if anew else verify_checkpoint.read(state)
    if mark is None or mark.asked != asked:
        return Task(asked, pipeline.run.id, known=known)
    return Task(asked, mark.run, mark, known)


class Verifier:
    """Checks every archive that is requested; changes only its checkpoint and the findings."""

    def __init__(
        self, pipeline: Pipeline, task: Task, *, stop: Stopper, ffmpeg: Path | None, is_kept: bool = True
    ) -> None:
        """`ffmpeg` decodes archives, if they are to be decoded; None for the newest of this machine.

        Findings are stored if `is_kept`. Raises EncoderError if there is no ffmpeg to decode with.
        """
        self._trees = pipeline.trees
        self._journal = pipeline.journal
        self._days = JournalDays(pipeline.names, pipeline.journal)
        self._task = task
        self._log = FindingsLog(
            self._trees.state, self._journal, pipeline.writer, task.known, is_kept=is_kept
        )
        self._stop = stop
        self._ffmpeg = _newest(ffmpeg) if task.asked.full else None
        self._marked_at = time.monotonic()
        self._known: dict[date, frozenset[str]] = {}

    def run(self, display: Display) -> Verified:
        """Check everything that is requested, until the stop, which leaves a checkpoint."""
        mark = self._task.mark
        findings, off, last = list(self.journal_findings()), list[CheckpointPlace](), None
        before = checked = mark.checked - len(mark.off) if mark else 0
        for place, expected in self.expected():
            finding = self.check(expected)
            if self._stop.is_set():
                break
            finding = self._remembered(expected, finding)
            if finding:
                findings.append(finding)
                off.append(place)
            checked, last = checked + 1, place
            display.done(expected.size)
            if time.monotonic() - self._marked_at > MARK_SECONDS:
                # Flush first: the run that continues from the checkpoint must not skip what was found.
                self._log.flush()
                self._put_mark(last, checked, off)
        foreign = () if self._stop.is_set() else self._foreign_files()
        self._log.flush()
        if not self._stop.is_set():
            self._end(checked)
        elif last is not None:
            self._put_mark(last, checked, off)
        known, problem = remembered(self._trees.state), self._log.problem
        return Verified(checked, foreign, tuple(findings), before, self._is_marked(), known, problem)

    def _is_marked(self) -> bool:
        """Whether this run was stopped and left a checkpoint."""
        may_be = self._stop.is_set() and not self._task.asked.known
        return may_be and verify_checkpoint.read(self._trees.state) is not None

    def _remembered(self, expected: ExpectedArchive, finding: VerifyFinding | None) -> VerifyFinding | None:
        """The finding with its record; also for damage that only decoding would find again."""
        if finding is not None and isinstance(finding.flaw, Flaw):
            damage = self._log.damaged(expected, finding.flaw, finding.detail)
            return replace(finding, expected=expected, damage=damage)
        known = self._task.known.get(expected.archive)
        if known is not None and known.flaw is Flaw.DAMAGED and self._ffmpeg is None:
            path = str(self._trees.archive / expected.archive)
            return VerifyFinding(path, known.flaw, f"{known.detail} (found by --full)", expected, known)
        if known is not None:
            self._log.sound(expected)
        return None

    def _end(self, checked: int) -> None:
        """Record that everything requested was checked."""
        asked = self._task.asked
        if self._log.is_kept:
            verify_checkpoint.remove(self._trees.state, asked)
        for archive, damage in self._task.known.items():
            ledger = self._ledger(damage.day)
            if archive in ledger.named_archives and archive not in ledger.expected:
                self._log.no_longer_expected(archive)
        if asked.since is None and asked.percent >= 100 and not asked.known:
            self._log.completed(checked, full=asked.full)
        self._log.flush()

    def bytes_to_check(self) -> int:
        """How many bytes there are to read."""
        found = 0
        for _, expected in self.expected():
            if self._stop.is_set():
                break
            found += expected.size
        return found

    def expected(self) -> Iterator[tuple[CheckpointPlace, ExpectedArchive]]:
        """Every archive that is to be checked and that exists according to the journal, day by day, once."""
        since, only_known = self._task.asked.since, self._task.asked.known
        known = {damage.day for damage in self._task.known.values()}
        for day in self._journal.days():
            if day in known or not (only_known or (since is not None and day < since)):
                for archive, found in sorted(self._ledger(day).expected.items()):
                    place = CheckpointPlace(day, archive)
                    if self._task.wants(place):
                        yield place, found

    def _put_mark(self, place: CheckpointPlace, checked: int, off: list[CheckpointPlace]) -> None:
        """Write where a later run continues; it must first check again all that was wrong before."""
        mark = self._task.mark
        if self._task.asked.known or not self._log.is_kept:
            return
        if mark is not None and _order(place) <= _order(mark.after):
            return
        self._marked_at = time.monotonic()
        # A read-only archive keeps no checkpoint: the next run then starts from the beginning.
        with contextlib.suppress(OSError):
            found = VerifyCheckpoint(self._task.asked, self._task.run, place, checked, tuple(off))
            verify_checkpoint.write(self._trees.state, found)

    def check(self, expected: ExpectedArchive) -> VerifyFinding | None:
        """What is wrong with one archive; None if nothing is. A stop leaves it unchecked."""
        path = self._trees.archive / expected.archive
        if ".." in PurePosixPath(expected.archive).parts or expected.archive.startswith("/"):
            return VerifyFinding(
                str(path), Flaw.MISSING, "the journal leads out of the archive, which is not believed"
            )
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return VerifyFinding(str(path), Flaw.MISSING, "there is no regular file")
            if status.st_size != expected.size:
                words = f"{status.st_size:,} bytes instead of {expected.size:,}"
                return VerifyFinding(str(path), Flaw.WRONG_SIZE, words)
            if expected.digest and self._digest(path) not in (expected.digest, ""):
                return VerifyFinding(str(path), Flaw.WRONG_HASH, "its bytes are not those that were archived")
        except FileNotFoundError:
            return VerifyFinding(str(path), Flaw.MISSING, f"the archive of {expected.source}")
        except OSError as error:
            return VerifyFinding(str(path), Flaw.UNREADABLE, cause(error))
        return self._decode(path)

    def journal_findings(self) -> Iterator[VerifyFinding]:
        """Lines that can't be read, removals without an outcome, and work that a dead run left unfinished."""
        notes = [*work_in_progress.existing(self._trees)]
        live = [note for note in notes if work_in_progress.is_live(self._trees, note)]
        live_runs = {note.work.run for note in live if note.work is not None}
        for day in self._journal.days():
            if self._stop.is_set():
                return
            try:
                torn = self._journal.day(day).torn
            except OSError as error:
                words = f"{cause(error)}: it is not known which archives of this day should exist"
                yield VerifyFinding(str(self._journal.path(day)), RecordFlaw.UNREADABLE, words)
                continue
            if torn:
                words = f"{count_of(torn, 'line')} can't be read"
                yield VerifyFinding(str(self._journal.path(day)), RecordFlaw.TORN_JOURNAL, words)
            for event in self._journal.day(day).ledger.intended.values():
                if event.run not in live_runs:
                    yield self._open_intent(event)
        for note in notes:
            if note.work is None:
                words = "can't be understood, so what it is about can't be finished; delete it"
                yield VerifyFinding(str(note.path), RecordFlaw.UNREADABLE, words)
            elif isinstance(note.work, ClipWork) and note not in live:
                words = "left by a dead run; the next archive run resolves it"
                path = note.work.as_clip(self._trees.source).path
                yield VerifyFinding(str(path), RecordFlaw.UNFINISHED, words)

    def _open_intent(self, event: JournalEvent) -> VerifyFinding:
        tree, relative = file_of(event)
        roots = {"archive": self._trees.archive, "trash": self._trees.trash}
        root = roots.get(tree, self._trees.source)
        presence = "it still exists" if os.path.lexists(root / relative) else "it is gone"
        words = f"run {event.run} was about to remove it and wrote no outcome; {presence}"
        return VerifyFinding(
            str(root / relative), RecordFlaw.UNFINISHED, f"{words}; the next cleanup resolves it"
        )

    def _foreign_files(self) -> tuple[str, ...]:
        """Clips below the archive that no journal line mentions."""
        found = list[str]()
        for folder, listing in readable(TreeWalk(self._trees.archive)):
            if self._stop.is_set():
                break
            relatives = (joined(folder, name) for name in listing.clip_names())
            found.extend(
                str(self._trees.archive / relative) for relative in relatives if not self._is_known(relative)
            )
        return tuple(found)

    def _is_known(self, relative: str) -> bool:
        return any(relative in self._archives_of(day) for day in self._days.of(relative))

    def _ledger(self, day: date) -> Ledger:
        """What a day adds up to; nothing if the day can't be read, which is a finding of its own."""
        try:
            return self._journal.day(day).ledger
        except OSError:
            return Ledger()

    def _archives_of(self, day: date) -> frozenset[str]:
        """Every archive in a day's lines; a few days are cached, since a tree is walked by date."""
        if day not in self._known:
            while len(self._known) >= DAYS_IN_MEMORY:
                del self._known[next(iter(self._known))]
            self._known[day] = self._ledger(day).named_archives
        return self._known[day]

    def _digest(self, path: Path) -> str:
        """The file's BLAKE2b; empty if the run is to stop."""

        def watch(_: int) -> None:
            if self._stop.is_set():
                raise _StopRequested

        try:
            return copying.file_digest(path, watch=watch, stays_cached=False)
        except _StopRequested:
            return ""

    def _decode(self, path: Path) -> VerifyFinding | None:
        if self._ffmpeg is None or self._stop.is_set():
            return None
        finished = transcoder.run(self._ffmpeg, ffmpeg_args.decode(path), stop=self._stop)
        # The bytes are those that were published: what a copy lacked at its start, its source lacked.
        if finished.ended == "stopped" or (finished.returncode == 0 and is_headless(finished.stderr)):
            return None
        line = finished.stderr[0] if finished.stderr else f"ffmpeg ended with {finished.returncode}"
        return VerifyFinding(str(path), Flaw.DAMAGED, line)


def _newest(named: Path | None) -> Path:
    """The newest ffmpeg of this machine, or the one that is named."""
    return max(ffmpeg_find.find(named), key=lambda each: each.version).path


def _order(place: CheckpointPlace) -> tuple[date, str]:
    return place.day, place.archive
