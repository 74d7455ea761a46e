"""Walks the source tree folder by folder and states the facts about each clip; decides nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from camarchiver.discovery.clip_ends import ClipEnds, Following
from camarchiver.domain.clip import Archived, Clip, Fingerprint, Trees, joined
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import explained, no_access
from camarchiver.journal.event import LATEST_NS
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.naming.folders import date_of_folder
from camarchiver.naming.local_time import locate
from camarchiver.naming.paths import (
    CLIP_SUFFIXES,
    PLAIN_SUFFIXES,
    is_clip_name,
    is_picture_name,
    is_temporary_name,
)
from camarchiver.naming.patterns import Names, ParsedName, why_timeless
from camarchiver.storage import atomic, linux, locking

WRITTEN_LATELY = timedelta(days=1)
"""While planning, only clips changed within this are checked for an open writer; at execution all are."""
_TOO_LATE = "its modification time lies after the year 2262: set it with touch"


class _Listing:
    """The names of one folder, sorted into kinds."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.clips: dict[str, os.stat_result] = {}
        self.others: list[str] = []
        """Names of clips that were not asked for, or that could not be examined."""
        self.unreadable: list[tuple[str, OSError]] = []
        self.pictures: list[str] = []
        self.locks: set[str] = set()
        self.odd: list[str] = []
        self.unfinished: list[str] = []
        self.is_empty = True

    def add_clip(self, entry: os.DirEntry[str]) -> None:
        """A regular file with a clip's suffix."""
        try:
            self.clips[entry.name] = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            self.others.append(entry.name)
        except OSError as error:
            self.others.append(entry.name)
            self.unreadable.append((entry.name, error))

    @property
    def has_only_ours(self) -> bool:
        """Whether the folder is empty, or may hold leftovers of a dead run."""
        return bool(self.locks or self.unfinished) or self.is_empty


class Discovery:
    """One walk of the source tree; remembers inodes with several names, and folders left unread."""

    def __init__(
        self,
        trees: Trees,
        names: Names,
        journal: Journal,
        clip_ends: ClipEnds,
        damaged: Container[str],
        now: datetime,
        zone: tzinfo,
    ) -> None:
        """`damaged` are the archives that were found damaged."""
        self._trees = trees
        self._names = names
        self._journal = journal
        self._clip_ends = clip_ends
        self._archives = ArchiveLookup(trees, journal, lambda: damaged)
        self._now = now
        self._zone = zone
        self._lately = (now - WRITTEN_LATELY).timestamp() * 1e9
        self._pruned = {os.fspath(trees.archive), os.fspath(trees.trash)}
        self._inodes: set[tuple[int, int]] = set()
        self.unread_folders = 0

    def folders(self, cutoff: date, *, earliest: date = date.min) -> Iterator[FolderFacts]:
        """Facts of every folder that may hold clips of `cutoff` or older, in the order of their names.

        A later date folder is counted but not read; one before `earliest` is skipped.
        """
        for folder, listing in self._walk(cutoff, earliest):
            if isinstance(listing, OSError):
                yield self._unreadable(folder, listing)
            else:
                yield self._facts(folder, listing)

    def folder(self, folder: str) -> FolderFacts:
        """Facts of a single folder, relative to the source root."""
        return self._facts(folder, self._list(folder))

    def some(self, folder: str, names: Collection[str]) -> FolderFacts:
        """Facts of a few clips of one folder; its other clips are not examined.

        Raises FileNotFoundError if the folder is gone.
        """
        return self._facts(folder, self._list(folder, frozenset(names)))

    def _walk(self, cutoff: date, earliest: date) -> Iterator[tuple[str, _Listing | OSError]]:
        # No recursion: an uploader may nest folders deeper than Python can call.
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            day = date_of_folder(folder)
            if day is not None and day > cutoff:
                self.unread_folders += 1
                continue
            if day is not None and day < earliest:
                continue
            try:
                listing = self._list(folder)
            except OSError as error:
                yield folder, error
                continue
            if listing.clips or listing.odd or listing.pictures or listing.has_only_ours:
                yield folder, listing
            waiting.extend(joined(folder, name) for name in sorted(listing.folders, reverse=True))

    def _list(self, folder: str, wanted: frozenset[str] | None = None) -> _Listing:
        """Sort a folder's entries into kinds; if `wanted` is given, only those clips are examined."""
        listing = _Listing()
        # A stat relative to the open folder takes two thirds of the time that one by a long path takes.
        here = os.open(
            self._trees.source / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        )
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    name, listing.is_empty = entry.name, False
                    ending = name[-4:]
                    if ending in PLAIN_SUFFIXES and name[0] != "." and entry.is_file(follow_symlinks=False):
                        if ending not in CLIP_SUFFIXES:
                            listing.pictures.append(name)
                        elif wanted is None or name in wanted:
                            listing.add_clip(entry)
                        else:
                            listing.others.append(name)
                    else:
                        self._sort_in(entry, folder, listing, wanted)
        finally:
            os.close(here)
        return listing

    def _sort_in(
        self, entry: os.DirEntry[str], folder: str, listing: _Listing, wanted: frozenset[str] | None
    ) -> None:
        name = entry.name
        if name.endswith(".lock"):
            listing.locks.add(name)
        elif is_temporary_name(name):
            if atomic.staged_stem(name) is not None:
                listing.unfinished.append(name)
        elif entry.is_dir(follow_symlinks=False):
            if os.fspath(self._trees.source / folder / name) not in self._pruned:
                listing.folders.append(name)
        elif is_clip_name(name) and wanted is not None and name not in wanted:
            listing.others.append(name)
        elif is_clip_name(name):
            if entry.is_file(follow_symlinks=False):
                listing.add_clip(entry)
            else:
                listing.odd.append(name)
        elif is_picture_name(name):
            listing.pictures.append(name)
        elif entry.is_symlink() and entry.is_dir() and wanted is None:
            listing.odd.append(name)

    def _facts(self, folder: str, listing: _Listing) -> FolderFacts:
        listing.clips = dict(sorted(listing.clips.items()))
        names = list(listing.clips)
        if listing.pictures and listing.others:
            # A picture may belong to a clip that isn't asked for.
            names = sorted((*names, *listing.others))
        parsed = {name: self._names.read(name.rpartition(".")[0], folder) for name in names}
        pairs = self._pair(folder, parsed, listing.pictures)
        clips, aside = self._clips(folder, listing, parsed, pairs)
        archived, existing = self._known(clips)
        return FolderFacts(
            self._trees.source,
            folder,
            self._clip_ends.with_durations(clips, archived, self.following(clips)),
            tuple(aside),
            self._observe(clips, listing.locks),
            archived,
            existing,
            frozenset(clip.relative for clip in clips if clip.links > 1 and self._seen_before(clip)),
            removable=os.access(self._trees.source / folder, os.W_OK | os.X_OK),
            pictures=_unclaimed(listing.pictures, pairs),
            temporary=(*sorted(listing.locks), *sorted(listing.unfinished)),
            is_empty=listing.is_empty,
        )

    def _clips(
        self,
        folder: str,
        listing: _Listing,
        parsed: dict[str, ParsedName | None],
        pairs: dict[str, tuple[str, ...]],
    ) -> tuple[list[Clip], list[Keep]]:
        """The clips, and the files that are no clips."""
        clips: list[Clip] = []
        aside = [self._aside(folder, name, Reason.NOT_A_CLIP, "no regular file") for name in listing.odd]
        for name, error in listing.unreadable:
            aside.append(self._aside(folder, name, Reason.UNREADABLE, explained(error)))
        root, zone = self._trees.source, self._zone
        for name, status in listing.clips.items():
            size, mtime_ns = status.st_size, status.st_mtime_ns
            said = parsed[name]
            if said is None:
                why = why_timeless(name.rpartition(".")[0], folder)
                aside.append(self._aside(folder, name, Reason.NO_TIMESTAMP, why, size))
                continue
            if mtime_ns > LATEST_NS:
                aside.append(self._aside(folder, name, Reason.CLOCK_DOUBTFUL, _TOO_LATE, size))
                continue
            if status.st_mode & 0o444 != 0o444 and not self._may_read(folder, name):
                detail = explained(no_access(root / folder / name))
                aside.append(self._aside(folder, name, Reason.UNREADABLE, detail, size))
                continue
            clips.append(
                Clip(
                    root,
                    folder,
                    name,
                    said.camera,
                    locate(said, mtime_ns, zone),
                    Fingerprint(status.st_dev, status.st_ino, size, mtime_ns),
                    status.st_nlink,
                    said.duration,
                    pairs.get(name, ()),
                )
            )
        return clips, aside

    def _pair(
        self, folder: str, clips: dict[str, ParsedName | None], pictures: list[str]
    ) -> dict[str, tuple[str, ...]]:
        """Each clip's pictures, by camera and time; a picture belongs to one clip only."""
        if not pictures:
            return {}
        # Of clips with one stem or one time the first one gets the picture.
        stems = {name.rpartition(".")[0]: name for name in reversed(clips) if clips[name]}
        taken: dict[tuple[str, datetime], str] | None = None
        pairs: dict[str, tuple[str, ...]] = {}
        for picture in sorted(pictures):
            stem = picture.rpartition(".")[0]
            clip = stems.get(stem)
            if clip is None and (parsed := self._names.read(stem, folder)):
                if taken is None:
                    taken = {
                        (said.camera, said.start): name for name in reversed(clips) if (said := clips[name])
                    }
                clip = taken.get((parsed.camera, parsed.start))
            if clip is not None:
                pairs[clip] = (*pairs[clip], picture) if clip in pairs else (picture,)
        return pairs

    def _known(self, clips: list[Clip]) -> tuple[dict[str, tuple[Archived, ...]], frozenset[str]]:
        archived: dict[str, tuple[Archived, ...]] = {}
        existing: set[str] = set()
        days = {day: self._journal.day(day).archived for day in {clip.start.date() for clip in clips}}
        if not any(days.values()):
            return archived, frozenset()
        for clip in clips:
            entries = days[clip.start.date()].get(clip.relative)
            if not entries:
                continue
            archived[clip.relative] = entries
            existing.update(
                entry.archive for entry in entries if entry.describes(clip) and self._archives.is_valid(entry)
            )
        return archived, frozenset(existing)

    def following(self, beside: Sequence[Clip]) -> Following:
        """When a camera's next clip begins, by the same folder, the journal and the next day's folder."""

        def after(clip: Clip) -> datetime | None:
            next_day = clip.start.date() + timedelta(days=1)
            starts = [
                *(each.start for each in beside if each.camera == clip.camera),
                *self._journalled_starts(clip.camera, (clip.start.date(), next_day)),
                *self._starts_in(clip.folder, next_day, clip.camera),
            ]
            return min((start for start in starts if start > clip.start), default=None)

        return after

    def _journalled_starts(self, camera: str, days: Iterable[date]) -> Iterator[datetime]:
        for day in days:
            for event in self._journal.day(day).events:
                if event.camera == camera:
                    yield event.start

    def _starts_in(self, folder: str, day: date, camera: str) -> Iterator[datetime]:
        """The starts of this camera's clips in the date folder of another day."""
        here = date_of_folder(folder)
        if here is None:
            return
        beside = f"{day:%Y/%m/%d}".join(folder.rsplit(f"{here:%Y/%m/%d}", 1))
        with suppress(OSError):
            for name, status in self._list(beside).clips.items():
                parsed = self._names.read(name.rpartition(".")[0], beside)
                if parsed is not None and parsed.camera == camera:
                    yield locate(parsed, status.st_mtime_ns, self._zone)

    def _observe(self, clips: list[Clip], locks: set[str]) -> dict[str, Keep]:
        observed: dict[str, Keep] = {}
        for clip in clips:
            if locks and locking.name_beside(clip.name) in locks and (owner := locking.held_by(clip.path)):
                observed[clip.relative] = _observation(clip, Reason.BUSY, owner)
            elif clip.fingerprint.mtime_ns > self._lately and linux.being_written(clip.path):
                observed[clip.relative] = _observation(clip, Reason.BEING_WRITTEN, "")
        return observed

    def _seen_before(self, clip: Clip) -> bool:
        inode = clip.fingerprint.device, clip.fingerprint.inode
        if inode in self._inodes:
            return True
        self._inodes.add(inode)
        return False

    def _may_read(self, folder: str, name: str) -> bool:
        return os.access(self._trees.source / folder / name, os.R_OK)

    def _aside(self, folder: str, name: str, reason: Reason, detail: str, size: int = 0) -> Keep:
        return Keep(self._trees.source, joined(folder, name), reason, size, detail=detail)

    def _unreadable(self, folder: str, error: OSError) -> FolderFacts:
        aside = Keep(self._trees.source, folder or ".", Reason.UNREADABLE, detail=explained(error))
        return FolderFacts(self._trees.source, folder, set_aside=(aside,))


def _unclaimed(pictures: list[str], pairs: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if not pictures:
        return ()
    claimed = {name for names in pairs.values() for name in names}
    return tuple(name for name in sorted(pictures) if name not in claimed)


def _observation(clip: Clip, reason: Reason, detail: str) -> Keep:
    return Keep(clip.root, clip.relative, reason, clip.fingerprint.size, clip.camera, clip.start, detail)


def still_there(path: Path, fingerprint: Fingerprint) -> bool:
    """Whether the path still holds the regular file that was planned."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    found = Fingerprint(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return stat.S_ISREG(status.st_mode) and found == fingerprint
