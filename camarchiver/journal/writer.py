"""Writes journal events in the name of one run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Fingerprint, Tree
from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import EncodeResult
from camarchiver.domain.steps import CheckCopy, MakeCopy, RemoveCopy, Restore
from camarchiver.domain.untrusted import TreeName
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import REPLACED

CopyStep = MakeCopy | CheckCopy
"""The steps about an off-site copy."""


_BY_BYTES = "the BLAKE2b of its source"
"""How it is known that an archive is also that of another clip."""


class RunId(Struct, frozen=True):
    """Identifies the run that acts; it is part of every line of journal and log."""

    id: str
    command: str
    host: str


class RemovalResult(Struct, frozen=True):
    """The result of one intended removal."""

    step: RemoveCopy
    what: EventKind
    """TRASHED, DELETED or PURGED; LEFT if nothing was removed."""
    reason: str
    place: str | None = None
    """Where the file is now, below the trash root."""
    sidecars: Mapping[str, str] | None = None
    detail: str = ""


class Lines(Protocol):
    """A destination of events: the journal, or a relay to it."""

    def append(self, *events: JournalEvent) -> None:
        """Append the events in this order."""
        ...


class JournalWriter:
    """Writes the lines of one run; every method returns when its line is durable."""

    def __init__(self, journal: Lines, run: RunId, now: Callable[[], datetime]) -> None:
        self._journal = journal
        self.run = run
        self.now = now

    def archived(
        self,
        clip: Clip,
        archived: Archived,
        made: EncodeResult,
        digest: str,
        mtime_ns: int,
        generation: int | None = None,
    ) -> None:
        """A new archive exists under its final name."""
        self._write(
            EventKind.ARCHIVED,
            clip,
            archived=archived,
            archive_blake2b=digest,
            archive_mtime_ns=mtime_ns,
            encoder=made.encoding.encoder,
            settings=dict(made.settings) or None,
            generation=generation,
            verified=made.verified,
            seconds=round(made.encoding.seconds, 3),
            detail="; ".join(made.notes) or None,
        )

    def copying(self, clip: Clip, digest: str, unencoded: Reason) -> None:
        """An unchanged copy is about to be published; it carries no tag that would identify it as ours."""
        self._write(EventKind.COPYING, clip, source_blake2b=digest, unencoded=str(unencoded))

    def relay(self, events: Iterable[JournalEvent]) -> None:
        """Append the lines that another host made for this run, unchanged."""
        self._journal.append(*events)

    def same_file(self, clip: Clip, archived: Archived) -> None:
        """Another name of the same file was archived before."""
        self._write(EventKind.ARCHIVED, clip, archived=archived, detail=f"the same file as {archived.source}")

    def same_content(self, clip: Clip, archived: Archived) -> None:
        """The archive of another file, or of this one with another time, was made of the very same bytes."""
        self._write(
            EventKind.ADOPTED,
            clip,
            archived=archived,
            verified=_BY_BYTES,
            reason=Reason.SAME_CONTENT,
            detail=f"the same bytes as {archived.source}",
        )

    def repaired_too(self, line: JournalEvent, archived: Archived) -> None:
        """An archive that was made again has the bytes of another clip, too, which shared the former one.

        `line` is the other clip's own line about that archive.
        """
        head = self._head(EventKind.ADOPTED, line.source, line.start, line.camera, line.identity)
        self._journal.append(
            JournalEvent(
                **head,
                recorded=line.recorded,
                **_fields_of(archived),
                verified=_BY_BYTES,
                reason=Reason.SAME_CONTENT,
                detail=f"the same bytes as {archived.source}",
            )
        )

    def adopted(self, clip: Clip, archived: Archived, digest: str, mtime_ns: int, *, verified: str) -> None:
        """An archive that the journal lacked was proved to be this clip's."""
        self._write(
            EventKind.ADOPTED,
            clip,
            archived=archived,
            archive_blake2b=digest,
            archive_mtime_ns=mtime_ns,
            verified=verified,
        )

    def scored(self, clip: Clip, motion: ClipMotion) -> None:
        """The motion in a clip that was archived without a score, or is not archived."""
        self._write(EventKind.SCORED, clip, motion=motion)

    def failed(self, clip: Clip, reason: Reason, detail: str) -> None:
        """A clip could not be archived and stays."""
        self._write(EventKind.FAILED, clip, reason=reason, detail=detail)

    def removed(
        self,
        clip: Clip,
        archived: Archived,
        trash: str | None,
        *,
        sidecars: Mapping[str, str] | None = None,
        reason: str,
        detail: str | None = None,
    ) -> None:
        """A source left its tree: for the trash, or for good if `trash` is None."""
        self._write(
            EventKind.DELETED if trash is None else EventKind.TRASHED,
            clip,
            archive=archived.archive,
            trash=trash,
            sidecars=dict(sidecars) if sidecars else None,
            reason=reason,
            detail=detail,
        )

    def intend(self, steps: Iterable[RemoveCopy]) -> None:
        """Each of these files is about to leave its tree; durable before the first one does."""
        self._journal.append(
            *(
                self._of_discard(
                    EventKind.INTENDED, step, step.reason, sidecars=dict.fromkeys(step.clip.sidecars, "")
                )
                for step in steps
            )
        )

    def ended(self, results: Iterable[RemovalResult]) -> None:
        """The results of intended removals."""
        self._journal.append(
            *(
                self._of_discard(
                    each.what, each.step, each.reason, each.place, sidecars=each.sidecars, detail=each.detail
                )
                for each in results
            )
        )

    def not_removed(self, clip: Clip, archived: Archived, detail: str) -> None:
        """An archived source stays, because it could not be removed."""
        self._write(EventKind.LEFT, clip, archive=archived.archive, reason=Reason.KEPT_SOURCE, detail=detail)

    def kept(self, clip: Clip, archived: Archived, reason: Reason) -> None:
        """A source stays although its archive exists: as asked, or because its clock is doubtful."""
        doubt = reason if reason is Reason.CLOCK_DOUBTFUL else None
        self._write(EventKind.KEPT, clip, archive=archived.archive, reason=doubt)

    def replacing(self, clip: Clip, archive: str, found: Fingerprint) -> None:
        """An archive of this clip, as it was found, is about to be moved away for a better one."""
        self._write(EventKind.INTENDED, clip, **_fields_of_former(archive, found))

    def replaced(self, clip: Clip, archive: str, trash: str) -> None:
        """An archive of this clip was moved away for a better one."""
        self._write(EventKind.TRASHED, clip, archive=archive, trash=trash, reason=REPLACED)

    def not_replaced(self, clip: Clip, archive: str, found: Fingerprint, detail: str) -> None:
        """An archive that was to be moved away stays."""
        self._write(EventKind.LEFT, clip, **_fields_of_former(archive, found), detail=detail)

    def restored(self, step: Restore, sidecars: Mapping[str, str]) -> None:
        """A file came back from the trash, or from its off-site copy, to the tree that it came from."""
        copy = step.offsite
        self._journal.append(
            JournalEvent(
                **self._head(EventKind.RESTORED, step.source, step.start, step.camera, step.identity),
                archive=step.relative if step.tree is Tree.ARCHIVE else None,
                tree=_name(Tree.ARCHIVE) if step.tree is Tree.ARCHIVE else None,
                trash=step.trash or None,
                sidecars=dict(sidecars) or None,
                remote=copy.remote if copy is not None else None,
                object=copy.name if copy is not None else None,
            )
        )

    def found_ended(
        self,
        event: JournalEvent,
        what: EventKind,
        place: str | None,
        sidecars: Mapping[str, str],
        detail: str,
    ) -> None:
        """What a later run found out about a removal whose run died before it journalled the result."""
        self._journal.append(
            replace(
                event,
                event=what,
                at=self.now(),
                run=self.run.id,
                host=self.run.host,
                trash=place if place is not None else event.trash,
                sidecars=dict(sidecars) or None,
                detail=detail,
            )
        )

    def found_damaged(self, archived: JournalEvent, flaw: str, detail: str) -> JournalEvent:
        """The line that reports a journalled archive as missing or damaged; not yet written."""
        return self._of_archive(EventKind.FOUND_DAMAGED, archived, reason=flaw, detail=detail)

    def found_sound(self, archived: JournalEvent) -> JournalEvent:
        """The line that makes an archive valid again that was found damaged; not yet written."""
        return self._of_archive(EventKind.FOUND_SOUND, archived)

    def _of_archive(self, what: EventKind, archived: JournalEvent, **fields: str) -> JournalEvent:
        return JournalEvent(
            **self._head(what, archived.source, archived.start, archived.camera, archived.identity),
            archive=archived.archive,
            archive_size=archived.archive_size,
            **fields,  # type: ignore[arg-type]  # `reason` and `detail`, by name
        )

    def copied(self, step: CopyStep, remote: str, seconds: float) -> JournalEvent:
        """The line that an off-site copy was made; not yet written."""
        return self._of_copy(EventKind.COPIED, step, remote, seconds=round(seconds, 3))

    def copy_verified(self, step: CopyStep, remote: str, how: str) -> JournalEvent:
        """The line that an off-site copy has the archive's bytes; not yet written."""
        return self._of_copy(EventKind.COPY_VERIFIED, step, remote, verified=how)

    def copy_lost(self, step: CopyStep, remote: str, reason: str, detail: str = "") -> JournalEvent:
        """The line that an off-site copy is missing, differs or was removed; not yet written."""
        return self._of_copy(EventKind.COPY_LOST, step, remote, reason=reason, detail=detail or None)

    def _of_copy(self, what: EventKind, step: CopyStep, remote: str, **fields: object) -> JournalEvent:
        return JournalEvent(
            **self._head(what, step.source, step.start, step.camera, step.identity),
            archive=step.relative,
            archive_size=step.size,
            archive_blake2b=step.digest,
            remote=remote,
            object=step.name,
            **fields,  # type: ignore[arg-type]  # the fields of the event, by name
        )

    def clocks(self, what: EventKind, clips: Iterable[Clip], detail: str) -> None:
        """The owner corrected the times of these clips, or took that back."""
        self._journal.append(*(self._event(what, clip, detail=detail) for clip in clips))

    def swept(self, clip: Clip, staged: str) -> None:
        """A dead run's unfinished archive, or its copy of a file that still exists, was removed."""
        self._write(EventKind.SWEPT, clip, detail=f"unfinished {staged}")

    def _of_discard(
        self,
        what: EventKind,
        step: RemoveCopy,
        reason: str,
        place: str | None = None,
        *,
        sidecars: Mapping[str, str] | None = None,
        detail: str = "",
    ) -> JournalEvent:
        in_archive = step.tree is Tree.ARCHIVE
        return JournalEvent(
            **self._head(what, step.source, step.start, step.camera, step.identity),
            duration=step.clip.duration,
            archive=step.relative if in_archive else None,
            archive_size=step.clip.fingerprint.size if in_archive else None,
            archive_mtime_ns=step.clip.fingerprint.mtime_ns if in_archive else None,
            tree=_name(step.tree),
            trash=step.relative if step.tree is Tree.TRASH else place,
            sidecars=dict(sidecars) if sidecars else None,
            reason=reason,
            detail=detail or None,
        )

    def _write(self, what: EventKind, clip: Clip, **fields: Any) -> None:
        self._journal.append(self._event(what, clip, **fields))

    def _event(
        self, what: EventKind, clip: Clip, *, archived: Archived | None = None, **fields: object
    ) -> JournalEvent:
        if archived is not None:
            fields |= _fields_of(archived)
        identity = clip.fingerprint.identity
        return JournalEvent(
            **self._head(what, clip.relative, clip.start, clip.camera, identity),
            recorded=clip.corrected if clip.corrected != clip.start else None,
            **fields,  # type: ignore[arg-type]  # the fields of the event, by name
        )

    def _head(
        self,
        what: EventKind,
        source: str,
        start: datetime,
        camera: str,
        identity: tuple[int | None, int | None],
    ) -> dict[str, Any]:
        """The fields that every line has: what was done when, by which run, to which clip."""
        size, mtime_ns = identity
        return {
            "event": what,
            "at": self.now(),
            "run": self.run.id,
            "host": self.run.host,
            "source": source,
            "start": start,
            "camera": camera,
            "source_size": size,
            "source_mtime_ns": mtime_ns,
        }


def _fields_of(archived: Archived) -> dict[str, Any]:
    return {
        "duration": archived.duration,
        "source_blake2b": archived.digest,
        "archive": archived.archive,
        "archive_size": archived.archive_size,
        "remuxed": archived.remuxed,
        "unencoded": archived.unencoded or None,
        "motion": archived.motion,
    }


def _fields_of_former(archive: str, found: Fingerprint) -> dict[str, Any]:
    return {
        "tree": _name(Tree.ARCHIVE),
        "archive": archive,
        "archive_size": found.size,
        "archive_mtime_ns": found.mtime_ns,
        "reason": REPLACED,
    }


def _name(tree: Tree) -> TreeName:
    return cast(TreeName, str(tree))
