"""Examines files where a clip's archive would be: adopts what proves to be its, names the outdated."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from camarchiver.archive.encode import ArchiveEncoder, digest_of, suffix_of_copy
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.domain.clip import Archived, Trees
from camarchiver.domain.steps import Archive
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.media import archive_tag
from camarchiver.runtime.signals import Stopper
from camarchiver.storage import atomic

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Adoption:
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
        found = archive_tag.parse(self.encoder.tags(path).get("comment", ""))
        return found is not None and found.names(original.clip, original.digest)

    def outdated(self, step: Archive, original: MeasuredClip, wanted: str) -> tuple[str, ...]:
        """Archives of this clip that must leave before another takes the path `wanted`.

        These are the one to replace, and those that are damaged.
        """
        archives, clip = self.archives, step.clip
        found = [entry.archive for entry in archives.entries(clip) if archives.is_damaged(entry.archive)]
        if step.replaces is not None:
            found.append(step.replaces.archive)
        own = [archive for archive in dict.fromkeys(found) if archives.is_own_file(archive, clip)]
        if (step.replaces is None or not own) and wanted not in own and self._is_own(wanted, original):
            own.append(wanted)
        return tuple(own)

    def _is_own(self, relative: str, original: MeasuredClip) -> bool:
        """Whether a damaged archive at the target name was made from this very source."""
        path = self.trees.archive / relative
        if path.is_symlink() or not path.is_file():
            return False
        if any(entry.archive == relative for entry in self.archives.entries(original.clip)):
            return True
        return self.names(path, original)

    def _copy(self, step: Archive, original: MeasuredClip, stop: Stopper) -> Archived | None:
        """Find an unchanged copy, which carries no tag: the journal says that one was to be published."""
        clip = step.clip
        event = self.archives.copying(clip, original.digest)
        if event is None:
            return None
        for path in self.archives.candidates_by_name(step.target, (suffix_of_copy(clip),)):
            if path.stat().st_size == clip.fingerprint.size and digest_of(path, stop) == original.digest:
                return self._taken(path, original, stop, event.unencoded or "", "byte for byte")
        return None

    def _tagged(self, step: Archive, original: MeasuredClip, stop: Stopper) -> Archived | None:
        for path in self.archives.candidates_by_name(step.target):
            if not self.names(path, original):
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
        archived = original.archived_as(place, status.st_size, unencoded)
        digest = digest_of(path, stop)
        self.writer.adopted(original.clip, archived, digest, status.st_mtime_ns, verified=verified)
        return archived
