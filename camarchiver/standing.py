"""What stands in the archive for a clip, by the journal's word and by looking."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from camarchiver.events import Event, What
from camarchiver.hearsay import is_below
from camarchiver.journal import Journal
from camarchiver.model import Archived, Clip, Trees
from camarchiver.names import numbered

MOST_NAMES = 1000
"""Numbered names looked at before a folder is taken to be in trouble."""

ARCHIVE_SUFFIXES = (".mp4", ".mkv")


class Standing:
    """Answers for one pair of trees; looks at the disk each time it is asked.

    Every rule that counts an archive asks here.
    """

    def __init__(self, trees: Trees, journal: Journal, damaged: Callable[[], Container[str]]) -> None:
        """`damaged` gives the archives that were found damaged, by path below the archive root."""
        self._archive = trees.archive
        self._journal = journal
        self._damaged = damaged

    def stands(self, entry: Archived) -> bool:
        """Whether the archive counts: a regular file of the journalled size that nobody found damaged.

        A journal that leads out of the archive is not believed.
        """
        if not is_below(entry.archive) or self.is_damaged(entry.archive):
            return False
        try:
            status = os.lstat(f"{self._archive}/{entry.archive}")
        except OSError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == entry.archive_size

    def is_damaged(self, archive: str) -> bool:
        """Whether an archive was found damaged, and neither found sound nor repaired since."""
        return archive in self._damaged()

    def is_own_file(self, archive: str, clip: Clip) -> bool:
        """Whether the regular file at an archive's path, sound or not, was made of this very clip."""
        try:
            is_file = is_below(archive) and stat.S_ISREG((self._archive / archive).lstat().st_mode)
        except OSError:
            return False
        made = (
            event
            for event in reversed(self._journal.day(clip.start.date()).events)
            if event.archive == archive and event.event in (What.ARCHIVED, What.ADOPTED)
        )
        newest = next(made, None)
        identity = clip.fingerprint.size, clip.fingerprint.mtime_ns
        return (
            is_file and newest is not None and (newest.source, newest.identity) == (clip.relative, identity)
        )

    def leaves_trace(self, entries: Iterable[Archived]) -> bool:
        """Whether anything, sound or not, lies where one of these archives should."""
        return any(os.path.lexists(self._archive / entry.archive) for entry in entries)

    def entries(self, clip: Clip) -> tuple[Archived, ...]:
        """The journal's entries for this very source, oldest first, whether or not they stand."""
        day = self._journal.day(clip.start.date())
        return tuple(entry for entry in day.archived.get(clip.relative, ()) if entry.describes(clip))

    def copying(self, clip: Clip, digest: str) -> Event | None:
        """The line of a run that was about to publish these very bytes of the source as its archive."""
        of = What.COPYING, clip.relative, digest
        events = self._journal.day(clip.start.date()).events
        return next((e for e in reversed(events) if (e.event, e.source, e.source_blake2b) == of), None)

    def newest(self, clip: Clip) -> Archived | None:
        """The newest entry whose archive stands."""
        return next((entry for entry in reversed(self.entries(clip)) if self.stands(entry)), None)

    def twin(self, clip: Clip, digest: str) -> Archived | None:
        """The archive that another name of the very same bytes got."""
        for entries in self._journal.day(clip.start.date()).archived.values():
            for entry in entries:
                if entry.describes(clip) and entry.digest == digest and self.stands(entry):
                    return entry
        return None

    def namesakes(self, target: str, suffixes: Iterable[str] = ARCHIVE_SUFFIXES) -> Iterator[Path]:
        """Regular files at the target's name and its numbered successors, with one of these suffixes.

        None of them was found damaged.
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
