"""Copies that a plan of `cleanup` decides many at a time, because all of them share one fate.

Most files of three large trees are such: archives where `--clean-output` isn't asked for, sources that were
never archived, and sources that have been in the trash for long enough.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, tzinfo
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from camarchiver.domain.clip import Archived, Clip, Fingerprint, Tree, joined
from camarchiver.domain.clip_batch import SUFFIX, ClipBatch
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Discard, Keep, Tidy
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.replay import NAMED, Ledger, left_archive
from camarchiver.naming.paths import CLIP_SUFFIXES, PLAIN_ENDS
from camarchiver.naming.patterns import Names
from camarchiver.policy.archive_rules import DOUBTFUL
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Stay, discard_by
from camarchiver.policy.clip_batch import FEW, camera_and_day
from camarchiver.policy.ordering import interleaved
from camarchiver.policy.size_goals import order_key

if TYPE_CHECKING:
    import os


class CopyBatch(NamedTuple):
    """Copies of one camera's day in one folder: sources that have no archive, archives, or their pictures.

    Each has one link, nobody works on it, and an archive has the journalled size.
    """

    tree: Tree
    root: Path
    folder: str
    """Relative to the root."""
    camera: str
    device: int
    files: int
    size: int
    """Bytes of all."""
    is_picture: bool
    starts: tuple[datetime, datetime]
    """Of the first and of the last one, aware."""
    mtimes: tuple[int, int]
    """The least and the greatest of the sources, in nanoseconds since the epoch."""
    copies: Callable[[], Iterator[Copy | Keep]]
    """The same one by one; to be asked for before the walk goes on."""

    @property
    def last_start(self) -> datetime:
        """When the last one begins."""
        return self.starts[1]


class TrashBatch(NamedTuple):
    """Sources of one camera's day in one folder of the trash, in the order of their starts.

    Each is the file that the journal sent there, has one link, and an archive that stands.
    """

    root: Path
    folder: str
    camera: str
    device: int
    zone: tzinfo | None
    names: Sequence[str]
    sizes: Sequence[int]
    mtimes: Sequence[int]
    """Nanoseconds since the epoch."""
    inodes: Sequence[int]
    starts: Sequence[int]
    """Seconds since the epoch."""
    durations: Sequence[float | None]
    sources: Sequence[str]
    """Below the source root."""
    archived: Sequence[Sequence[Any]]
    """The archives that stand, field by field."""
    since: Sequence[datetime]
    """When each came into the trash; nothing any more once it is clear that all go."""

    @property
    def size(self) -> int:
        """Bytes of all."""
        return sum(self.sizes)

    def copies(self) -> Iterator[Copy]:
        """One by one."""
        root, folder, camera, device, zone = self.root, self.folder, self.camera, self.device, self.zone
        files = zip(self.names, self.sizes, self.mtimes, self.inodes, strict=True)
        since: Sequence[datetime | None] = self.since or [None] * len(self.names)
        times = zip(self.starts, self.durations, since, strict=True)
        archives = zip(*self.archived, strict=True)
        columns = zip(files, times, self.sources, archives, strict=True)
        for (name, size, mtime_ns, inode), (start, seconds, came), source, archived in columns:
            mark = Fingerprint(device, inode, size, mtime_ns)
            begin = datetime.fromtimestamp(start, zone)
            clip = Clip(root, folder, name, camera, begin, mark, 1, seconds)
            entry = Archived._make(archived)
            yield Copy(clip, Tree.TRASH, source, entry, since=came, identity=(size, mtime_ns))

    def steps(self) -> Iterator[Discard]:
        """To delete them, one by one."""
        return (discard_by(copy, Reason.TRASH_AGE) for copy in self.copies())


Removal = Discard | Tidy


def decidable(policy: CleanupPolicy, memory: Memory, now: datetime) -> frozenset[Tree]:
    """The trees whose lots can be decided as a whole: whether all stay, in the trash whether all go.

    Not the archive where a rule takes from it, nor the source where one takes clips that have no archive.
    None where single clips are held, were restored lately or are not selected, and none where the hard
    limit takes from every tree.
    """
    if memory.holds or policy.cameras or policy.exclude or policy.has_hard_limit:
        return frozenset()
    if any(restored.is_recent(now) for restored in memory.restored.values()):
        return frozenset()
    taken = {Tree.ARCHIVE: policy.clean_output, Tree.SOURCE: policy.unarchived, Tree.TRASH: False}
    return frozenset(tree for tree, may_go in taken.items() if not may_go)


def stay_of(lot: CopyBatch, policy: CleanupPolicy, now: datetime) -> Stay | None:
    """Why all of a lot in a `decidable` tree stay; None where they must be decided one by one."""
    if not (policy.trust_names or _agree(lot, now)):
        return None
    if lot.tree is Tree.ARCHIVE:
        return Stay(Reason.IN_POLICY)
    first, last = lot.starts
    if not policy.trust_names:
        last = max(last, datetime.fromtimestamp(lot.mtimes[1] / 1e9, last.tzinfo))
    due = now - policy.of(lot.camera).age
    if last <= due:
        return Stay(Reason.UNARCHIVED)
    return Stay(Reason.TOO_RECENT) if first > due else None


def _agree(lot: CopyBatch, now: datetime) -> bool:
    """Whether names and clock agree on each of them (`Copy.is_doubtful`)."""
    (first, last), (least, greatest) = lot.starts, lot.mtimes
    apart = max(last.timestamp() - least / 1e9, greatest / 1e9 - first.timestamp())
    return apart <= DOUBTFUL.total_seconds() and last <= now + DOUBTFUL


def is_due(lot: TrashBatch, policy: CleanupPolicy, now: datetime) -> bool:
    """Whether all of a lot have been in the trash for long enough."""
    return max(lot.since) <= now - policy.of(lot.camera).trash_age


# --- in order ------------------------------------------------------------------------------------


def first_key(each: Removal | TrashBatch) -> tuple[int, float, str]:
    """Where a step stands in a plan, or the first one of a lot (`retention.order_key`)."""
    return _key(each, 0) if isinstance(each, TrashBatch) else order_key(each)


def count(each: Removal | Copy | TrashBatch) -> int:
    """How many files it stands for."""
    return len(each.names) if isinstance(each, TrashBatch) else 1


def expand(found: Iterable[Removal | TrashBatch]) -> Iterator[Removal]:
    """The single steps, in order, of what is in order: of lots, by the first of each."""
    return interleaved(found, order_key, _ends, _walk)


def _key(lot: TrashBatch, index: int) -> tuple[int, float, str]:
    return 0, lot.starts[index], joined(lot.folder, lot.names[index])


def _ends(each: Removal | TrashBatch) -> tuple[Any, Any]:
    if isinstance(each, TrashBatch):
        return _key(each, 0), _key(each, -1)
    key = order_key(each)
    return key, key


def _walk(each: Removal | TrashBatch) -> Iterator[Removal]:
    return each.steps() if isinstance(each, TrashBatch) else iter((each,))


# --- where they are found --------------------------------------------------------------------------


def of_source(alike: ClipBatch, copies: Callable[[ClipBatch], Iterator[Copy]]) -> CopyBatch:
    """Clips that are alike, which have no archive."""
    return CopyBatch(
        Tree.SOURCE,
        alike.root,
        alike.folder,
        alike.camera,
        alike.device,
        len(alike.names),
        sum(alike.sizes),
        False,
        (alike.start, alike.last_start),
        (min(alike.mtimes), max(alike.mtimes)),
        lambda: copies(alike),
    )


class FolderIndex(NamedTuple):
    """One folder of archive or trash."""

    root: Path
    folder: str
    """Relative to the root."""
    files: Mapping[str, os.stat_result]
    """Each clip's and picture's."""
    names: Names
    ledger: Callable[[date], Ledger]
    """Of one day."""

    def archives(
        self, copies: Callable[[Iterable[str]], Iterator[Copy | Keep]]
    ) -> tuple[list[CopyBatch], list[str]]:
        """Archives and their pictures, and the names of what must be looked at one by one."""
        found, taken = list[CopyBatch](), set[str]()
        for is_picture in (False, True):
            for together, ledger in self._groups(pictures=is_picture):
                known = ledger.pictures if is_picture else ledger.archives
                lot = self._lot(together, known, copies, is_picture=is_picture)
                if lot is not None:
                    found.append(lot)
                    taken.update(together)
        return found, self._rest(taken)

    def trashed(self, stands: Callable[[Archived], bool]) -> tuple[list[TrashBatch], list[str]]:
        """Sources whose archives stand, and the names of what must be looked at one by one."""
        found, taken = list[TrashBatch](), set[str]()
        for together, ledger in self._groups(pictures=False):
            lot = self._trash_lot(together, ledger, stands)
            if lot is not None:
                found.append(lot)
                taken.update(together)
        return found, self._rest(taken)

    def _rest(self, taken: set[str]) -> list[str]:
        """Whatever is in no lot, so that no file can be passed over."""
        return [name for name in self.files if name not in taken] if len(taken) < len(self.files) else []

    def _groups(self, *, pictures: bool) -> Iterator[tuple[list[str], Ledger]]:
        """Files of one camera's day by their names, in order, and what the journal tells of that day."""
        ends = PLAIN_ENDS - CLIP_SUFFIXES if pictures else PLAIN_ENDS & CLIP_SUFFIXES
        names = [name for name in self.files if name[-SUFFIX:] in ends]
        for _, group in groupby(sorted(names), camera_and_day):
            together = list(group)
            if len(together) < FEW:
                continue
            said = self.names.of_one_day([name[:-SUFFIX] for name in together], self.folder)
            if said is not None:
                yield together, self.ledger(said.start.date())

    def _lot(
        self,
        together: list[str],
        journalled: Mapping[str, tuple[JournalEvent, Archived]],
        copies: Callable[[Iterable[str]], Iterator[Copy | Keep]],
        *,
        is_picture: bool,
    ) -> CopyBatch | None:
        front = joined(self.folder, "")
        known = [each for name in together if (each := journalled.get(front + name)) is not None]
        files = [self.files[name] for name in together]
        sizes = [file.st_size for file in files]
        if len(known) < len(together) or not _are_plain(files):
            return None
        if not is_picture and sizes != [entry.archive_size for _, entry in known]:
            return None
        cameras = {event.camera for event, _ in known}
        starts = [event.start for event, _ in known]
        mtimes = [event.source_mtime_ns or 0 for event, _ in known]
        if len(cameras) > 1:
            return None
        return CopyBatch(
            Tree.ARCHIVE,
            self.root,
            self.folder,
            cameras.pop(),
            files[0].st_dev,
            len(files),
            sum(sizes),
            is_picture,
            (min(starts), max(starts)),
            (min(mtimes), max(mtimes)),
            lambda: copies(together),
        )

    def _trash_lot(
        self, together: list[str], ledger: Ledger, stands: Callable[[Archived], bool]
    ) -> TrashBatch | None:
        front = joined(self.folder, "")
        events = [each for name in together if (each := ledger.trashed.get(front + name)) is not None]
        files = [self.files[name] for name in together]
        sizes = [file.st_size for file in files]
        mtimes = [file.st_mtime_ns for file in files]
        if len(events) < len(together) or not (_are_plain(files) and _are_of_one_day(events)):
            return None
        if sizes != [event.source_size for event in events]:
            return None
        if mtimes != [event.source_mtime_ns for event in events]:
            return None
        if any(left_archive(each) or each.tree == "trash" or each.reason in NAMED for each in events):
            return None
        entries = [ledger.archived.get(event.source, ()) for event in events]
        if {len(each) for each in entries} != {1}:
            return None
        archived = [entry for (entry,) in entries]
        if sizes != [each.size for each in archived] or mtimes != [each.mtime_ns for each in archived]:
            return None
        if not all(map(stands, archived)):
            return None
        durations = [
            entry.duration if event.duration is None else event.duration
            for event, entry in zip(events, archived, strict=True)
        ]
        return TrashBatch(
            self.root,
            self.folder,
            events[0].camera,
            files[0].st_dev,
            events[0].start.tzinfo,
            together,
            sizes,
            mtimes,
            [file.st_ino for file in files],
            [int(event.start.timestamp()) for event in events],
            durations,
            [event.source for event in events],
            tuple(zip(*archived, strict=True)),
            [event.at for event in events],
        )


def _are_plain(files: list[os.stat_result]) -> bool:
    """Whether they are regular files of one filesystem with one name each."""
    return (
        len({file.st_dev for file in files}) == 1
        and {file.st_nlink for file in files} == {1}
        and all(stat.S_ISREG(mode) for mode in {file.st_mode for file in files})
    )


def _are_of_one_day(events: list[JournalEvent]) -> bool:
    """Whether they are of one camera and one zone, and each begins at a full second, in order."""
    starts = [event.start for event in events]
    return (
        not any(start.microsecond for start in starts)
        and len({event.camera for event in events}) == 1
        and len({start.tzinfo for start in starts}) == 1
        and len({start.date() for start in starts}) == 1
        and starts == sorted(starts)
    )
