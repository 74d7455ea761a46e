"""Brings every archive back on an empty machine, by the manifests at the remote alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from threading import Event

from msgspec.structs import replace

from camarchiver.domain.clip import Clip, Fingerprint, RemoteCopy, Tree
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import Restore
from camarchiver.errors import NotFound, Problem, UsageError
from camarchiver.journal.event import EventKind
from camarchiver.journal.ledger import Ledger
from camarchiver.offsite import manifest, names
from camarchiver.offsite.fetch import bring_back
from camarchiver.offsite.manifest import ManifestCopy
from camarchiver.offsite.rclone.errors import ENDS_RUN, RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.remote_guard import RemoteGuard
from camarchiver.offsite.transfers import (
    Retries,
    RunObserver,
    TransferProgress,
    Transfers,
    followed,
    reported,
)
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.runtime.formatting import count_of, shown
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker
from camarchiver.storage import atomic, removal

MARK = "restored-from"
"""The file of the state folder that names the remote from which the journal was made."""


class Manifests:
    """The manifests at one remote."""

    def __init__(self, remote: Remote) -> None:
        """Lists them. Raises RemoteError."""
        self._remote = remote
        self._retries = Retries(Event())
        self._names: dict[date, list[tuple[str, str]]] = {}
        for found in remote.listing(names.MANIFESTS, recursive=True):
            if (read := names.read_manifest(found.name)) is not None:
                self._names.setdefault(read[0], []).append((found.name, read[1]))
        self.problems: list[str] = []
        """What is wrong with those that could not be read."""
        self.of_day = lru_cache(maxsize=4)(self._of_day)

    @property
    def days(self) -> list[date]:
        """The days of footage, the newest first."""
        return sorted(self._names, reverse=True)

    def _of_day(self, day: date) -> dict[str, ManifestCopy]:
        """The newest content of each archive of a day, by its path below the archive root.

        A day has a manifest for each state of it. What was removed since is in none that came later, but in
        older ones, so that some of the copies may be gone.
        """
        found: dict[str, ManifestCopy] = {}
        for name, digits in self._names.get(day, ()):
            for copy in manifest.copies_of(self._read(name, digits)):
                archive = copy.made.archive or ""
                if any(part.startswith(".") for part in archive.split("/")):
                    continue  # no archive has a hidden name
                known = found.get(archive)
                if known is None or (copy.made.at, copy.copied.at) > (known.made.at, known.copied.at):
                    found[archive] = copy
        return found

    def _read(self, name: str, digits: str) -> Ledger:
        try:
            return self._retries.tried(lambda: self._read_once(name, digits))
        except RemoteError as error:
            if error.kind in ENDS_RUN:
                raise
            if error.message not in self.problems:
                self.problems.append(error.message)
        return Ledger()

    def _read_once(self, name: str, digits: str) -> Ledger:
        """What one manifest says: its name says whether what arrived is whole."""
        text = bytearray()
        self._remote.read(name, text.extend)
        try:
            return manifest.parse(bytes(text), digits)
        except ValueError as error:
            raise RemoteError(RemoteErrorKind.CUT, f"{name}: {error}") from error


RestoreAllPlan = Plan[Restore, str]
"""Its policy is the remote."""


def check_empty(pipeline: Pipeline) -> None:
    """Refuse trees with a journal of their own. Raises UsageError."""
    if pipeline.journal.days() and not (pipeline.trees.state / MARK).exists():
        raise UsageError(
            f"{pipeline.trees.archive} has a journal: it is not empty",
            hint="name an empty DIRECTORY; single archives come back with camarchiver restore --from-offsite",
        )


def plan(pipeline: Pipeline, manifests: Manifests, remote: str) -> RestoreAllPlan:
    """One step for each archive that a manifest names; reads the manifests and changes nothing.

    Raises RemoteError if the remote is gone.
    """
    tally = Tally()

    def steps() -> Iterator[Restore]:
        for day in manifests.days:
            for archive, copy in sorted(manifests.of_day(day).items()):
                step = _step(pipeline, archive, copy, remote)
                tally.add(step)
                yield step

    sealed = SealedSequence(steps(), key=lambda step: (-step.start.timestamp(), step.relative))
    if not sealed:
        what = f"there is no manifest at {shown(remote)}"
        if manifests.problems:
            what = f"no manifest at {shown(remote)} can be read: {shown(manifests.problems[0])}"
        raise NotFound(
            what,
            hint="check the path, and the password if it is a crypt: they are those of the machine that made"
            " the copies",
        )
    problems = tuple(_problems(manifests))
    return Plan(
        "restore-all", pipeline.trees, pipeline.started, remote, tally.totals(), sealed, (), problems=problems
    )


def _problems(manifests: Manifests) -> Iterator[Problem]:
    if manifests.problems:
        count = count_of(len(manifests.problems), "manifest")
        words = f"{count} can't be read, such as {shown(manifests.problems[0])}"
        yield Problem(
            "manifest", words, "rclone copy brings back what no manifest names: see docs/offsite.md"
        )


def _step(pipeline: Pipeline, archive: str, copy: ManifestCopy, remote: str) -> Restore:
    made, line = copy.made, copy.copied
    folder, _, name = archive.rpartition("/")
    size = line.archive_size or 0
    clip = Clip(
        pipeline.trees.archive,
        folder,
        name,
        made.camera,
        made.start,
        Fingerprint(-1, -1, size, made.archive_mtime_ns or made.source_mtime_ns or 0),
        duration=made.duration,
    )
    found = RemoteCopy(remote, line.object or "", archive, size, line.archive_blake2b or "")
    identity = made.source_size or 0, made.source_mtime_ns or 0
    return Restore(clip, "", {}, Reason.RESTORE_ASKED, made.source, identity, Tree.ARCHIVE, found)


def execute(
    pipeline: Pipeline, planned: RestoreAllPlan, manifests: Manifests, remote: Remote, observer: RunObserver
) -> Report:
    """Carry out a plan."""
    volume_marker.mark(pipeline.trees)
    atomic.write_text(pipeline.trees.state / MARK, f"{remote.label}\n")
    begun = pipeline.begin(planned.steps)
    restorer = _JournalRestorer(pipeline, manifests, remote, observer.stop)
    transfers = Transfers(remote, observer.stop, RemoteGuard(remote, pipeline.journal).of_reading, at_once=1)
    progress = TransferProgress(remote, transfers, observer.display)
    outcomes = followed(transfers.run(planned.steps, restorer.perform), progress, observer)
    return reported(begun, planned, outcomes, transfers.ended_by, observer.stop)


class _JournalRestorer:
    """Restores archives with their lines in a new journal."""

    def __init__(self, pipeline: Pipeline, manifests: Manifests, remote: Remote, stop: Stop) -> None:
        self._pipeline = pipeline
        self._manifests = manifests
        self._remote = remote
        self._stop = stop
        self._retries = Retries(stop.event)

    def perform(self, step: Restore) -> Outcome:
        """Restore one archive. Raises OSError or CamarchiverError."""
        trees = self._pipeline.trees
        with self._stop.busy(step.relative), removal.locked(trees, step.source):
            outcome = bring_back(self._remote, step, model=trees.source, retries=self._retries)
            if outcome.result is Result.DONE:
                self._journal(step)
            return outcome

    def _journal(self, step: Restore) -> None:
        """Journal what the manifest says, once, and that the copy was verified now."""
        pipeline, copy = self._pipeline, step.offsite
        assert copy is not None
        found = self._manifests.of_day(step.start.date()).get(copy.archive)
        known = pipeline.journal.day(step.start.date()).ledger
        if found is None or copy.archive in known.archives:
            return
        line = replace(found.copied, remote=copy.remote)
        verified = replace(
            line,
            event=EventKind.COPY_VERIFIED,
            at=pipeline.now(),
            run=pipeline.run.id,
            host=pipeline.run.host,
            verified="read back",
            seconds=None,
        )
        pipeline.journal.append(found.made, line, verified)
