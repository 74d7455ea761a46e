"""Takes over archives that a run published and could not journal, once they are proved to be a clip's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from camarchiver import atomic, tag
from camarchiver.model import Archived, Trees
from camarchiver.original import Original
from camarchiver.scribe import Scribe
from camarchiver.shrink import Shrinker, digest_of, suffix_of_copy
from camarchiver.standing import Standing
from camarchiver.steps import Archive
from camarchiver.stop import Stopper

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Adoption:
    """Looks at what stands where a clip's archive would."""

    trees: Trees
    standing: Standing
    scribe: Scribe
    shrinker: Shrinker

    def adopt(self, step: Archive, original: Original, stop: Stopper) -> Archived | None:
        """The archive of this very source that no line speaks of, journalled now; None where none stands."""
        return self._copy(step, original, stop) or self._tagged(step, original, stop)

    def names(self, path: Path, original: Original) -> bool:
        """Whether a file's tag says that it was made from this very source."""
        found = tag.parse(self.shrinker.tags(path).get("comment", ""))
        return found is not None and found.names(original.clip, original.digest)

    def _copy(self, step: Archive, original: Original, stop: Stopper) -> Archived | None:
        """One of the source's very bytes carries no tag: there the journal tells that one was made."""
        clip = step.clip
        event = self.standing.copying(clip, original.digest)
        if event is None:
            return None
        for path in self.standing.namesakes(step.target, (suffix_of_copy(clip),)):
            if path.stat().st_size == clip.fingerprint.size and digest_of(path, stop) == original.digest:
                return self._taken(path, original, stop, event.unencoded or "", "byte for byte")
        return None

    def _tagged(self, step: Archive, original: Original, stop: Stopper) -> Archived | None:
        for path in self.standing.namesakes(step.target):
            if not self.names(path, original):
                continue
            verdict = self.shrinker.compare(original, path, stop)
            if verdict.ok:
                return self._taken(path, original, stop, "", "source and archive decoded whole")
            _log.warning("%s names this clip but can't be adopted: %s", path, verdict.problem)
        return None

    def _taken(
        self, path: Path, original: Original, stop: Stopper, unencoded: str, verified: str
    ) -> Archived:
        atomic.sync_file(path)
        atomic.fsync_folder(path.parent)
        status = path.stat()
        place = path.relative_to(self.trees.archive).as_posix()
        archived = original.archived_as(place, status.st_size, unencoded)
        digest = digest_of(path, stop)
        self.scribe.adopted(original.clip, archived, digest, status.st_mtime_ns, verified=verified)
        return archived
