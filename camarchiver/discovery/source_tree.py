"""Walks the source tree folder by folder and states the facts about each clip; decides nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

from camarchiver.discovery.clip_ends import ClipEnds, NextClipStart
from camarchiver.domain.clip import STATE_FOLDER, Archived, Clip, Fingerprint, Label, Trees, joined
from camarchiver.domain.clocks import DOUBTFUL
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import explained, no_access
from camarchiver.journal.event import LATEST_NS
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Day, Journal
from camarchiver.naming.folders import date_of_folder
from camarchiver.naming.formats import (
    is_clip_name,
    is_other_video_name,
    is_picture_name,
    is_text_name,
    suffix_of,
)
from camarchiver.naming.patterns import Names, ParsedName, locate, why_timeless
from camarchiver.naming.system_folders import OTHER_TREE
from camarchiver.state import volume_marker
from camarchiver.storage import atomic, linux, locking, walk
from camarchiver.storage.walk import Listing, TreeWalk

WRITTEN_LATELY = timedelta(days=1)
"""While planning, only clips changed within this are checked for an open writer; at execution all are."""
IsKnown = Callable[[str, Listing], bool]
"""Whether the facts of a folder, relative to the source root, are known already; by its entries."""

_TOO_LATE = "its modification time lies after the year 2262: set it with touch"


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
        conventions: Conventions,
    ) -> None:
        """`damaged` are the archives that were found damaged."""
        self._trees = trees
        self._names = names
        self._journal = journal
        self._clip_ends = clip_ends
        self._archives = ArchiveLookup(trees, journal, lambda: damaged)
        self._now = now
        self._zone = zone
        self._clocks = conventions.clocks
        self._tomorrow = (now + DOUBTFUL).date()
        self._lately = (now - WRITTEN_LATELY).timestamp() * 1e9
        self._inodes: set[tuple[int, int]] = set()
        self.unread_folders = 0
        self._passed_over = conventions.passed_over
        self.passed_over: dict[str, tuple[int, Path]] = {}
        """By what they hold instead of clips: how many folders were not entered, and one of them."""

    def folders(
        self, cutoff: date, *, earliest: date = date.min, is_known: IsKnown | None = None
    ) -> Iterator[FolderFacts]:
        """Facts of every folder that may hold clips of `cutoff` or older, in the order of their names.

        A later date folder is counted but not read, unless it is dated in the future: that camera's clock is
        wrong. One before `earliest` is skipped, and so is one that `is_known`, once it was listed.
        """
        for folder, listing in self._walk(cutoff, earliest):
            if isinstance(listing, OSError):
                yield self._whole(folder, Reason.UNREADABLE, explained(listing))
            elif listing is None:
                yield self._whole(folder, Reason.OTHER_TREE)
            elif is_known is None or not is_known(folder, listing):
                yield self._facts(folder, listing)

    def folder(self, folder: str) -> FolderFacts:
        """Facts of a single folder, relative to the source root."""
        if other := volume_marker.tree_around(self._trees.source, folder):
            return self._whole(other, Reason.OTHER_TREE)
        return self._facts(folder, self._list(folder))

    def some(self, folder: str, names: Collection[str]) -> FolderFacts:
        """Facts of a few clips of one folder; its other clips are not examined.

        Raises FileNotFoundError if the folder is gone.
        """
        if other := volume_marker.tree_around(self._trees.source, folder):
            return self._whole(other, Reason.OTHER_TREE)
        wanted = frozenset(names)
        return self._facts(folder, self._list(folder, wanted), wanted)

    def _walk(self, cutoff: date, earliest: date) -> Iterator[tuple[str, Listing | OSError | None]]:
        """Each folder with its entries, or why they can't be read; None for another tree."""
        pruned = self._trees.archive, self._trees.trash
        tree = TreeWalk(self._trees.source, pruned=pruned, enters=self._passed_over.may_hold_clips)
        for folder in tree:
            day = date_of_folder(folder)
            if day is not None and cutoff < day <= self._tomorrow:
                self.unread_folders += 1
                continue
            if day is not None and day < earliest:
                continue
            try:
                listing = tree.look(folder)
            except OSError as error:
                yield folder, error
                continue
            if folder and volume_marker.is_tree(self._trees.source / folder, listing):
                tree.leave()
                self._count_passed_over(OTHER_TREE, self._trees.source / folder)
                yield folder, None
                continue
            self._note_passed_over(folder, listing.folders)
            if not _is_bare(listing):
                yield folder, listing

    def _note_passed_over(self, folder: str, names: Iterable[str]) -> None:
        """Count the folders that are not entered; our own are none of them."""
        for name in names:
            kind = self._passed_over.kind(name)
            path = self._trees.source / folder / name if kind else None
            if (
                path is not None
                and name != STATE_FOLDER
                and path not in (self._trees.archive, self._trees.trash)
            ):
                self._count_passed_over(kind, path)

    def _count_passed_over(self, kind: str, path: Path) -> None:
        count, example = self.passed_over.get(kind, (0, path))
        self.passed_over[kind] = count + 1, example

    def _list(self, folder: str, wanted: frozenset[str] | None = None) -> Listing:
        return walk.look(self._trees.source / folder, wanted=wanted, follow=not folder)

    def _facts(self, folder: str, listing: Listing, wanted: frozenset[str] | None = None) -> FolderFacts:
        names = sorted(listing.files)
        sidecars = [
            *listing.pictures,
            *filter(is_picture_name, listing.irregular),
            *filter(is_text_name, listing.foreign),
        ]
        if sidecars and (others := _not_examined(listing, wanted)):
            # A sidecar may belong to a clip that isn't asked for.
            names = sorted((*names, *others))
        parsed = {name: self._names.read(name.rpartition(".")[0], folder) for name in names}
        pairs = self._pair(folder, parsed, sidecars)
        clips, aside = self._clips(folder, listing, parsed, pairs)
        aside = [*self._set_aside(folder, listing, wanted), *aside]
        locks = {name for name in listing.temporary if name.endswith(".lock")}
        days = {day: self._journal.day(day) for day in {clip.start.date() for clip in clips}}
        if any(day.written for day in days.values()):
            clips = [*map(self._archives.dated, clips)]
        archived, existing, labels_of_same_size_and_time = self._known(clips, days)
        return FolderFacts(
            self._trees.source,
            folder,
            self._clip_ends.with_durations(clips, archived, self.following(clips)),
            tuple(aside),
            self._observe(clips, locks),
            archived,
            existing,
            frozenset(clip.relative for clip in clips if clip.links > 1 and self._seen_before(clip)),
            labels_of_same_size_and_time,
            removable=os.access(self._trees.source / folder, os.W_OK | os.X_OK),
            lone_sidecars=_unclaimed(sidecars, pairs),
            temporary=(*sorted(locks), *sorted(filter(atomic.staged_stem, listing.temporary))),
            is_empty=listing.is_empty,
        )

    def _clips(
        self,
        folder: str,
        listing: Listing,
        parsed: dict[str, ParsedName | None],
        pairs: dict[str, tuple[str, ...]],
    ) -> tuple[list[Clip], list[Keep]]:
        """The clips in the order of `parsed`, and the files with a clip's name that can't be handled."""
        clips: list[Clip] = []
        aside: list[Keep] = []
        root, zone = self._trees.source, self._zone
        for name, said in parsed.items():
            if (status := listing.files.get(name)) is None:
                continue
            size, mtime_ns = status.st_size, status.st_mtime_ns
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
        return [*map(self._clocks.applied, clips)] if self._clocks else clips, aside

    def _set_aside(self, folder: str, listing: Listing, wanted: frozenset[str] | None) -> Iterator[Keep]:
        """What is no regular file, video of other formats, and what could not be examined."""
        for name in sorted(listing.irregular):
            if is_clip_name(name) and (wanted is None or name in wanted):
                yield self._aside(folder, name, Reason.NOT_A_CLIP, "no regular file")
        for name in sorted(listing.links) if wanted is None else ():
            if _may_be_folder(self._trees.source / folder / name):
                yield self._aside(folder, name, Reason.NOT_A_CLIP, "a link that is not followed")
        for name in sorted(filter(is_other_video_name, listing.foreign)) if wanted is None else ():
            why = f"{suffix_of(name).lower()} is not archived"
            size = _size_of(self._trees.source / folder / name)
            yield self._aside(folder, name, Reason.UNSUPPORTED_FORMAT, why, size)
        for name, error in sorted(listing.unreadable.items()):
            yield self._aside(folder, name, Reason.UNREADABLE, explained(error))

    def _pair(
        self, folder: str, clips: dict[str, ParsedName | None], sidecars: list[str]
    ) -> dict[str, tuple[str, ...]]:
        """Each clip's sidecars: by stem, pictures also by camera and time; each belongs to one clip only."""
        if not sidecars:
            return {}
        # Of clips with one stem or one time the first one gets the sidecar.
        stems = {name.rpartition(".")[0]: name for name in reversed(clips) if clips[name]}
        taken: dict[tuple[str, datetime], str] | None = None
        pairs: dict[str, tuple[str, ...]] = {}
        for sidecar in sorted(sidecars):
            stem = sidecar.rpartition(".")[0]
            clip = stems.get(stem)
            if clip is None and not is_text_name(sidecar) and (parsed := self._names.read(stem, folder)):
                if taken is None:
                    taken = {
                        (said.camera, said.start): name for name in reversed(clips) if (said := clips[name])
                    }
                clip = taken.get((parsed.camera, parsed.start))
            if clip is not None:
                pairs[clip] = (*pairs[clip], sidecar) if clip in pairs else (sidecar,)
        return pairs

    def _known(
        self, clips: list[Clip], days: Mapping[date, Day]
    ) -> tuple[dict[str, tuple[Archived, ...]], frozenset[str], dict[str, tuple[Label, ...]]]:
        """`archived`, `existing` and `labels_of_same_size_and_time` of the folder's facts."""
        archived: dict[str, tuple[Archived, ...]] = {}
        existing: set[str] = set()
        labels_of_same_size_and_time: dict[str, tuple[Label, ...]] = {}
        if not any(day.archived for day in days.values()):
            return archived, frozenset(), labels_of_same_size_and_time
        for clip in clips:
            entries = days[clip.start.date()].archived.get(clip.relative)
            valid = [entry.archive for entry in entries or () if self._is_of(entry, clip)]
            if entries:
                archived[clip.relative] = entries
                existing.update(valid)
            if not valid and (others := self._archives.labels_of_same_size_and_time(clip)):
                labels_of_same_size_and_time[clip.relative] = others
        return archived, frozenset(existing), labels_of_same_size_and_time

    def _is_of(self, entry: Archived, clip: Clip) -> bool:
        return entry.describes(clip) and self._archives.is_valid(entry)

    def following(self, beside: Sequence[Clip]) -> NextClipStart:
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
            yield from self._journal.day(day).ledger.starts.get(camera, ())

    def _starts_in(self, folder: str, day: date, camera: str) -> Iterator[datetime]:
        """The starts of this camera's clips in the date folder of another day."""
        here = date_of_folder(folder)
        if here is None:
            return
        beside = f"{day:%Y/%m/%d}".join(folder.rsplit(f"{here:%Y/%m/%d}", 1))
        with suppress(OSError):
            for name, status in self._list(beside).files.items():
                parsed = self._names.read(name.rpartition(".")[0], beside)
                if parsed is not None and parsed.camera == camera:
                    yield locate(parsed, status.st_mtime_ns, self._zone)

    def _observe(self, clips: list[Clip], locks: set[str]) -> dict[str, Keep]:
        observed: dict[str, Keep] = {}
        perhaps = clips if locks else [each for each in clips if each.fingerprint.mtime_ns > self._lately]
        for clip in perhaps:
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

    def _whole(self, folder: str, reason: Reason, detail: str = "") -> FolderFacts:
        """A folder that is left alone with all that is in it."""
        aside = Keep(self._trees.source, folder or ".", reason, detail=detail)
        return FolderFacts(self._trees.source, folder, set_aside=(aside,))


def _may_be_folder(link: Path) -> bool:
    """Whether a link leads to a folder, or to one that may not be entered."""
    try:
        return stat.S_ISDIR(link.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        return error.errno != errno.ELOOP


def _is_bare(listing: Listing) -> bool:
    """Whether a folder has entries, but none to report: its subfolders are visited anyway."""
    of_interest = listing.files or listing.pictures or listing.irregular or listing.unreadable
    if of_interest or listing.temporary or listing.links or listing.is_empty:
        return False
    return not any(is_other_video_name(name) or is_text_name(name) for name in listing.foreign)


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _not_examined(listing: Listing, wanted: frozenset[str] | None) -> list[str]:
    """The clips that were not asked for, or that could not be examined."""
    others = listing.irregular if wanted is not None else ()
    return [*listing.skipped, *(name for name in others if is_clip_name(name) and name not in (wanted or ()))]


def _unclaimed(sidecars: list[str], pairs: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    if len(sidecars) == sum(map(len, pairs.values())):
        return ()
    claimed = {name for names in pairs.values() for name in names}
    return tuple(name for name in sorted(sidecars) if name not in claimed)


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
