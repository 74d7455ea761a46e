"""Copies one archive to the remote, or checks its copy there, and journals the outcome."""

from __future__ import annotations

import hashlib
import os
import time
from io import BufferedReader

from camarchiver.domain.clip import remote_path
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import DAMAGED, CheckCopy, MakeCopy
from camarchiver.errors import CamarchiverError
from camarchiver.offsite.rclone.errors import RemoteError, RemoteErrorKind
from camarchiver.offsite.rclone.remote import Remote
from camarchiver.offsite.rclone.uploads import StagedUploads
from camarchiver.offsite.transfers import Retries
from camarchiver.offsite.verification import CopyVerdict, CopyVerifier
from camarchiver.pipeline import Pipeline
from camarchiver.storage import anchored


class _NotAsJournalled(CamarchiverError):
    """The local archive's bytes are not those that the journal knows."""

    code = DAMAGED


class ArchiveCopier:
    """Copies archives of one tree to one remote; from any thread."""

    def __init__(
        self,
        pipeline: Pipeline,
        remote: Remote,
        uploads: StagedUploads,
        verifier: CopyVerifier,
        retries: Retries,
    ) -> None:
        self._pipeline = pipeline
        self._remote = remote
        self._uploads = uploads
        self._verifier = verifier
        self._retries = retries

    def copy(self, step: MakeCopy) -> Outcome:
        """Copy and verify one archive. Raises OSError or CamarchiverError."""
        ledger = self._pipeline.journal.day(step.start.date()).ledger
        if ledger.digest(step.relative) != step.digest:
            raise anchored.Stale("it was archived again since the plan was made")
        known = ledger.copy(self._remote.label, step.relative)
        if known is not None and known.is_proved:
            return Outcome(step, Result.SKIPPED, Reason.ALREADY_COPIED, "by another run")
        if known is not None and self._is_there(step):
            return self._done(step, "the copy of an earlier run")
        with anchored.open_file(self._pipeline.trees.archive, step.relative) as stream:
            if os.fstat(stream.fileno()).st_size != step.size:
                raise anchored.Stale("it has changed since it was journalled")
            return self._retries.tried(lambda: self._copied(step, stream))

    def _copied(self, step: MakeCopy, stream: BufferedReader) -> Outcome:
        began = time.monotonic()
        self._uploads.upload(stream, step.name)
        seconds = time.monotonic() - began
        journal, writer = self._pipeline.journal, self._pipeline.writer
        journal.append(writer.copied(step, self._remote.label, seconds))
        verdict = self._verifier.compare(step, self._pipeline.trees.archive)
        if verdict.flaw is not None:
            journal.append(writer.copy_lost(step, self._remote.label, verdict.flaw, verdict.detail))
            self._refuse(step, stream, verdict)
        journal.append(writer.copy_verified(step, self._remote.label, verdict.how))
        return self._done(step, verdict.how)

    def _is_there(self, step: MakeCopy) -> bool:
        """Whether the copy that an earlier run made, and did not verify, is as it should be."""
        verdict = self._verifier.compare(step, self._pipeline.trees.archive)
        if verdict.flaw is not None:
            return False
        line = self._pipeline.writer.copy_verified(step, self._remote.label, verdict.how)
        self._pipeline.journal.append(line)
        return True

    def _refuse(self, step: MakeCopy, stream: BufferedReader, verdict: CopyVerdict) -> None:
        """Raise the error for a copy that differs; it is the archive itself that may be damaged."""
        stream.seek(0)
        if hashlib.file_digest(stream, "blake2b").hexdigest() != step.digest:
            self._remote.delete(step.name)
            raise _NotAsJournalled(
                "its bytes are not the journalled ones, so it was not copied",
                hint="camarchiver verify --repair makes it again",
            )
        raise RemoteError(RemoteErrorKind.CUT, f"{self._remote.label}: {step.name}: {verdict.detail}")

    def _done(self, step: MakeCopy, how: str) -> Outcome:
        return Outcome(step, Result.DONE, step.reason, f"{self._remote.label}, {how}")


class CopyChecker:
    """Checks copies of one tree's archives at one remote; from any thread."""

    def __init__(self, pipeline: Pipeline, remote: Remote, verifier: CopyVerifier) -> None:
        self._pipeline = pipeline
        self._label = remote.label
        self._verifier = verifier

    def check(self, step: CheckCopy) -> Outcome:
        """Compare one copy with the journal's BLAKE2b. Raises RemoteError if the remote gives no answer."""
        root, writer = self._pipeline.trees.archive, self._pipeline.writer
        verdict = self._verifier.verify(step, root if step.path.is_file() else None)
        if verdict.flaw is None:
            self._pipeline.journal.append(writer.copy_verified(step, self._label, verdict.how))
            return Outcome(step, Result.DONE, step.reason, f"{self._label}, {verdict.how}")
        self._pipeline.journal.append(writer.copy_lost(step, self._label, verdict.flaw, verdict.detail))
        words = f"{remote_path(self._label, step.name)}: {verdict.detail}"
        return Outcome(step, Result.FAILED, Reason.COPY_LOST, words)
