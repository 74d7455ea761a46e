"""Finds the journal's lines about one clip, or about the clips of one day."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from pathlib import Path

from camarchiver.domain.clip import Archived, Clip, Label, Trees
from camarchiver.domain.untrusted import is_below
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.store import Journal, LabelledArchive, dated
from camarchiver.naming.folders import date_of_folder
from camarchiver.naming.paths import numbered, unnumbered
from camarchiver.naming.patterns import Names
from camarchiver.storage.anchored import Stale

_DAY = timedelta(days=1)


class JournalDays:
    """Finds a file's day by its folder and name; only if neither has one is the whole journal read, once."""

    def __init__(self, names: Names, journal: Journal) -> None:
        self._names = names
        self._journal = journal
        self._odd: dict[str, date] | None = None
        self._last: tuple[tuple[str, str], date | None] = (("", ""), None)
        """Folder, stem and day of the last file: a clip and its sidecars come one after the other."""

    def of(self, relative: str) -> Iterator[date]:
        """The likeliest first; `relative` is the file's path below its root."""
        of_folder = _day_of(relative.rpartition("/")[0])
        if of_folder is not None:
            yield from _about(of_folder)
        # Nearly all files are in the folder of their day: a name is read only if the journal of that day and
        # its neighbours lacks the file.
        if (day := self._day_by_name(relative)) is not None:
            if day != of_folder:
                yield from _about(day)
        elif (day := self._odd_days().get(relative)) is not None:
            yield day

    def _day_by_name(self, relative: str) -> date | None:
        folder, _, name = relative.rpartition("/")
        key = folder, unnumbered(name).rpartition(".")[0]
        if self._last[0] != key:
            parsed = self._names.read(key[1], folder)
            self._last = key, parsed.start.date() if parsed else date_of_folder(folder)
        return self._last[1]

    def _odd_days(self) -> dict[str, date]:
        if self._odd is None:
            self._odd = {}
            for day in self._journal.days():
                for event in self._journal.day(day).events:
                    for relative in (event.archive, event.trash):
                        if relative is not None and self._day_by_name(relative) is None:
                            self._odd[relative] = day
        return self._odd


@lru_cache(maxsize=64)
def _day_of(folder: str) -> date | None:
    return date_of_folder(folder)


@lru_cache(maxsize=64)
def _about(day: date) -> tuple[date, ...]:
    return day, day - _DAY, day + _DAY


MOST_NAMES = 1000
"""Numbered names that are tried before the search is given up."""

ARCHIVE_SUFFIXES = (".mp4", ".mkv")


class ArchiveLookup:
    """Looks up the archives of one pair of trees; examines the disk at each call.

    Every rule that depends on an archive uses this class.
    """

    def __init__(self, trees: Trees, journal: Journal, damaged: Callable[[], Container[str]]) -> None:
        """`damaged` gives the archives that were found damaged, by path below the archive root."""
        self._archive = trees.archive
        self._journal = journal
        self._damaged = damaged

    def is_valid(self, entry: Archived) -> bool:
        """Whether the archive counts: a regular file of the journalled size that was not found damaged.

        A path that leads out of the archive is not accepted.
        """
        if not is_below(entry.archive) or self.is_damaged(entry.archive):
            return False
        try:
            status = os.lstat(f"{self._archive}/{entry.archive}")
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == entry.archive_size

    def check_valid(self, entry: Archived) -> None:
        """Raise Stale unless the archive counts at this moment: what is removed because of it stays then."""
        if not self.is_valid(entry):
            raise Stale("its archive no longer exists or no longer counts")

    def is_damaged(self, archive: str) -> bool:
        """Whether an archive was found damaged, and neither found sound nor repaired since."""
        return archive in self._damaged()

    def is_own_file(self, archive: str, clip: Clip) -> bool:
        """Whether the regular file at an archive's path, sound or not, was made of this very clip."""
        try:
            is_file = is_below(archive) and stat.S_ISREG((self._archive / archive).lstat().st_mode)
        except OSError:
            return False
        made = self._journal.day(clip.start.date()).ledger.made.get(archive)
        if not is_file or not made:
            return False
        identity = clip.fingerprint.identity
        return (made[-1].source, made[-1].identity) == (clip.relative, identity)

    def is_quiet(self, source: str, start: datetime, identity: tuple[int, int]) -> bool:
        """Whether the journal says at this moment that certainly nothing moves in this very clip."""
        motion = self._journal.day(start.date()).ledger.motion.get((source, *identity))
        return motion is not None and motion.is_quiet

    def leaves_trace(self, entries: Iterable[Archived]) -> bool:
        """Whether a file, sound or not, exists at the path of one of these archives."""
        return any(os.path.lexists(self._archive / entry.archive) for entry in entries)

    def entries(self, clip: Clip) -> tuple[Archived, ...]:
        """The journal's entries for this very source, oldest first, whether or not the archives exist."""
        day = self._journal.day(clip.start.date())
        return tuple(entry for entry in day.archived.get(clip.relative, ()) if entry.describes(clip))

    def copying(self, clip: Clip, digest: str) -> JournalEvent | None:
        """The line of a run that was about to publish these very bytes of the source, without an outcome."""
        return self._journal.day(clip.start.date()).ledger.copying.get((clip.relative, digest))

    def newest(self, clip: Clip) -> Archived | None:
        """The newest entry whose archive is valid."""
        return next((entry for entry in reversed(self.entries(clip)) if self.is_valid(entry)), None)

    def same_file(self, clip: Clip, digest: str) -> Archived | None:
        """The valid archive of another name of this very file."""
        for entries in self._journal.day(clip.start.date()).archived.values():
            for entry in entries:
                if entry.describes(clip) and entry.digest == digest and self.is_valid(entry):
                    return entry
        return None

    def same_content(self, clip: Clip, digest: str, *, accepts: Callable[[Label], bool]) -> Archived | None:
        """A valid archive of the same bytes and of a clip of that time; `accepts` judges its clip's name."""
        for label, entry in reversed(self._of_same_size_and_time(clip)):
            if entry.digest == digest and accepts(label) and self.is_valid(entry):
                return entry
        return None

    def sharing(self, archive: str, clip: Clip, digest: str) -> Iterator[JournalEvent]:
        """Lines of the other clips whose archive is, or was, this file; all have these bytes."""
        day = self._journal.day(clip.start.date())
        for source, entries in day.archived.items():
            newest = entries[-1]
            if source != clip.relative and (newest.archive, newest.digest) == (archive, digest):
                made = reversed(day.ledger.made.get(archive, ()))
                yield from islice((line for line in made if line.source == source), 1)

    def archive_digest(self, clip: Clip, archive: str) -> str:
        """The newest BLAKE2b of an archive of this clip; empty if the journal has none."""
        return self._journal.day(clip.start.date()).ledger.digest(archive)

    def generation(self, clip: Clip, archive: str) -> int:
        """How often the footage in an archive of this clip was encoded here."""
        made = self._journal.day(clip.start.date()).ledger.made.get(archive)
        return (made[-1].generation if made else None) or 1

    def dated(self, clip: Clip) -> Clip:
        """The clip, with the time at which its bytes were written if another file with them has kept it."""
        return dated(clip, self._journal.day(clip.start.date()).written)

    def labels_of_same_size_and_time(self, clip: Clip) -> tuple[Label, ...]:
        """What the names of clips of the same size and time say that have a valid archive."""
        return tuple(label for label, entry in self._of_same_size_and_time(clip) if self.is_valid(entry))

    def is_shared(self, archive: str, clip: Clip) -> bool:
        """Whether another clip of the day relies on this archive, which has the same bytes as source."""
        archived = self._journal.day(clip.start.date()).archived
        return any(
            source != clip.relative and entries[-1].archive == archive for source, entries in archived.items()
        )

    def _of_same_size_and_time(self, clip: Clip) -> list[LabelledArchive]:
        """The archived clips of the same size and time, oldest first."""
        key = clip.fingerprint.size, clip.start.replace(tzinfo=None)
        return self._journal.day(clip.start.date()).by_size_and_time.get(key, [])

    def candidates_by_name(self, target: str, suffixes: Iterable[str] = ARCHIVE_SUFFIXES) -> Iterator[Path]:
        """Regular files at the target's name and its numbered successors, with one of these suffixes.

        Archives that were found damaged are left out.
        """
        stem = target.rpartition(".")[0]
        for suffix in suffixes:
            for number in range(1, MOST_NAMES):
                relative = numbered(stem + suffix, number)
                path = self._archive / relative
                try:
                    status = path.lstat()
                except OSError:
                    break
                if stat.S_ISREG(status.st_mode) and not self.is_damaged(relative):
                    yield path
