"""Takes over archives that a run could not journal, and those of other clips with the same bytes.

It also says which archives of a clip are outdated.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from camarchiver.archive.encode import ArchiveEncoder, digest_unless_stopped
from camarchiver.archive.lossless import suffix_of_copy
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.archive.motion import thumbnails
from camarchiver.domain.clip import Archived, Label, Trees
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Encoding
from camarchiver.domain.steps import Archive
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.media import archive_tag
from camarchiver.motion.activity import PacketTrust
from camarchiver.policy.archive_rules import may_share
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic

_log = logging.getLogger(__name__)


class ArchiveFound(NamedTuple):
    """A clip's archive, which exists and is journalled, and how it came about."""

    archived: Archived
    reason: Reason
    detail: str = ""
    """For the report."""
    encoding: Encoding | None = None
    """None if it was not made now."""


class SharedArchives:
    """Lets one archive serve for all clips with the same bytes."""

    def __init__(self, archives: ArchiveLookup, writer: JournalWriter) -> None:
        self._archives = archives
        self._writer = writer
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        """By BLAKE2b: a lock, and the number of threads that hold it or wait for it."""
        self._guard = threading.Lock()

    @contextmanager
    def exclusive(self, digest: str) -> Iterator[None]:
        """Let one thread at a time archive these bytes: the second one then finds the first one's archive."""
        with self._guard:
            lock, waiting = self._locks.get(digest, (threading.Lock(), 0))
            self._locks[digest] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._locks.pop(digest)
                if waiting > 1:
                    self._locks[digest] = lock, waiting - 1

    def adopt(self, step: Archive, digest: str) -> ArchiveFound | None:
        """Find the archive of these bytes and journal it as this clip's, too; None if there is none."""
        clip = step.clip

        def may_stand_for(label: Label) -> bool:
            return may_share(clip, label, any_camera=step.any_camera)

        if step.reason is Reason.REPAIR:
            return self._repaired(step)
        if clip.links > 1 and (same := self._archives.same_file(clip, digest)) is not None:
            self._writer.same_file(clip, same)
            return ArchiveFound(same, Reason.SAME_FILE, f"the same file as {same.source}")
        if step.replaces is not None:
            return None
        if (same := self._archives.same_content(clip, digest, accepts=may_stand_for)) is not None:
            self._writer.same_content(clip, same)
            return ArchiveFound(same, Reason.SAME_CONTENT, f"the same bytes as {same.source}")
        return None

    def _repaired(self, step: Archive) -> ArchiveFound | None:
        """The archive that this clip got when that of another clip with its bytes was made again."""
        former, entries = step.replaces, self._archives.entries(step.source_clip)
        if former is None or not entries or not self._archives.is_valid(entries[-1]):
            return None
        if entries[-1].archive != former.archive and self._archives.leaves_trace((former,)):
            return None
        return ArchiveFound(entries[-1], step.reason, "made again for another clip with the same bytes")


class Adoption(Struct, frozen=True):
    """Examines the files that exist where a clip's archive would be."""

    trees: Trees
    archives: ArchiveLookup
    writer: JournalWriter
    encoder: ArchiveEncoder

    def adopt(self, step: Archive, original: MeasuredClip, stop: Stopper) -> Archived | None:
        """Find an archive of this very source that the journal lacks, and journal it; None if none."""
        return self._copy(step, original, stop) or self._tagged(step, original, stop)

    def names(self, path: Path, original: MeasuredClip) -> bool:
        """Whether a file's tag says that it was made from this very source."""
        tag = self._tag_of(path)
        return tag is not None and tag.names(original.source, original.digest)

    def _tag_of(self, path: Path) -> archive_tag.Tag | None:
        return archive_tag.parse(self.encoder.tags(path).get("comment", ""))

    def outdated(self, step: Archive, original: MeasuredClip, wanted: str) -> tuple[str, ...]:
        """Archives of this clip that must leave before another takes the path `wanted`.

        These are the one to replace, and those that are damaged.
        """
        archives, clip = self.archives, step.source_clip
        found = [entry.archive for entry in archives.entries(clip) if archives.is_damaged(entry.archive)]
        if step.replaces is not None:
            found.append(step.replaces.archive)
        own = [archive for archive in dict.fromkeys(found) if archives.is_own_file(archive, clip)]
        if (step.replaces is None or not own) and wanted not in own and self._is_own(wanted, original):
            own.append(wanted)
        # An archive that another clip relies on stays, unless it is damaged.
        return tuple(each for each in own if archives.is_damaged(each) or not archives.is_shared(each, clip))

    def _is_own(self, relative: str, original: MeasuredClip) -> bool:
        """Whether a damaged archive at the target name was made from this very source."""
        path = self.trees.archive / relative
        if path.is_symlink() or not path.is_file():
            return False
        if any(entry.archive == relative for entry in self.archives.entries(original.source)):
            return True
        return self.names(path, original)

    def _copy(self, step: Archive, original: MeasuredClip, stop: Stopper) -> Archived | None:
        """Find an unchanged copy, which carries no tag: the journal says that one was to be published."""
        clip = step.clip
        event = self.archives.copying(clip, original.digest)
        if event is None:
            return None
        for path in self.archives.candidates_by_name(step.target, (suffix_of_copy(clip),)):
            if (
                path.stat().st_size == clip.fingerprint.size
                and digest_unless_stopped(path, stop) == original.digest
            ):
                return self._taken(path, original, stop, event.unencoded or "", "byte for byte")
        return None

    def _tagged(self, step: Archive, original: MeasuredClip, stop: Stopper) -> Archived | None:
        for path in self.archives.candidates_by_name(step.target):
            tag = self._tag_of(path)
            if tag is None or not tag.has_bytes(original.clip.fingerprint.size, original.digest):
                continue
            verdict = self.encoder.compare(original, path, stop)
            if verdict.ok:
                return self._taken(path, original, stop, "", "source and archive decoded whole")
            _log.warning("%s names this clip but can't be adopted: %s", path, verdict.problem)
        return None

    def _taken(
        self, path: Path, original: MeasuredClip, stop: Stopper, unencoded: str, verified: str
    ) -> Archived:
        atomic.sync_file(path)
        atomic.fsync_folder(path.parent)
        status = path.stat()
        place = path.relative_to(self.trees.archive).as_posix()
        trust = PacketTrust.NOTHING if unencoded else PacketTrust.MOTION
        findings = self.encoder.keyframe_findings(path, original.clip.camera, trust)
        archived = original.archived_as(place, status.st_size, unencoded, findings.motion)
        digest = digest_unless_stopped(path, stop)
        self.writer.adopted(original.clip, archived, digest, status.st_mtime_ns, verified=verified)
        thumbnails.keep(self.trees, original.clip, findings)
        return archived
