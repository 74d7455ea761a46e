"""Walks the three trees for `cleanup` and states what each file is a copy of."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, tzinfo
from heapq import merge
from operator import itemgetter
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.discovery import leftovers
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.found_file import FoundFile, with_sharers
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import FROM_SOURCE, Archived, Clip, Tree, Trees, is_copied, joined
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.damage import Damage
from camarchiver.domain.memory import FolderFacts
from camarchiver.domain.reason import MAY_REMOVE_LAST_COPY, Reason
from camarchiver.domain.steps import Keep
from camarchiver.errors import explained
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.ledger import ClipKey, Ledger, Origin, clip_of
from camarchiver.journal.lookup import ArchiveLookup, JournalDays
from camarchiver.journal.store import Day, Journal
from camarchiver.naming.formats import is_sidecar_name, is_text_name
from camarchiver.naming.paths import unnumbered
from camarchiver.naming.patterns import Names, locate
from camarchiver.policy.archive_rules import keep, own_archive
from camarchiver.policy.cleanup_rules import Copy
from camarchiver.policy.leftover_rules import Leftover
from camarchiver.storage.anchored import fingerprint_of
from camarchiver.storage.walk import TreeWalk

DAYS_IN_MEMORY = 3
"""A day and those beside it: a file is looked for in all three."""


class LoneSidecar(Struct, frozen=True):
    """A sidecar in the source that belongs to no clip there."""

    copy: Copy
    orphan: bool
    """Whether the journal knows its clip, which was archived or removed."""


TreeItem = Copy | LoneSidecar | Leftover | Keep


_Find = Callable[[FoundFile], Copy | Keep | None]
"""Finds out what a file of one tree is a copy of."""


class CopyFinder:
    """One walk over source, archive and trash; each file appears once."""

    def __init__(
        self,
        trees: Trees,
        names: Names,
        journal: Journal,
        discovery: Discovery,
        clip_ends: ClipEnds,
        damaged: Mapping[str, Damage],
        zone: tzinfo,
        conventions: Conventions,
        remote: str = "",
    ) -> None:
        """`damaged` are the archives that were found damaged, by path below the archive root.

        Clips have their off-site copies at this `remote`, if one is named.
        """
        self._trees = trees
        self._names = names
        self._journal, self._discovery = journal, discovery
        self._clip_ends = clip_ends
        self._damaged = damaged
        self._archives = ArchiveLookup(trees, journal, lambda: damaged)
        self._zone = zone
        self._clocks = conventions.clocks
        self._has_clocks = bool(conventions.clocks)
        self._passed_over = conventions.passed_over
        self._remote = remote
        self._fresh: dict[date, Day] = {}
        """The days that were needed for the current folder."""
        self._days = JournalDays(names, journal)

    def items(self) -> Iterator[TreeItem]:
        """Every file of the three trees that is, or could be, a copy of a clip, and what may be left over."""
        for facts in self._discovery.folders(date.max):
            yield from self._source(facts)
        archive = self._walk(Tree.ARCHIVE, self._trees.archive)
        trash = self._walk(Tree.TRASH, self._trees.trash)
        # Side by side, so that the journal of a day is read once for both.
        for _, found in merge(archive, trash, key=itemgetter(0)):
            yield from found

    # --- source ------------------------------------------------------------------------------------

    def _source(self, facts: FolderFacts) -> Iterator[TreeItem]:
        self._fresh.clear()
        yield from facts.set_aside
        for clip in facts.clips:
            yield self.in_source(clip, facts)
        for name in facts.lone_sidecars:
            if (sidecar := self._sidecar(facts.folder, name)) is not None:
                yield sidecar
        for name in facts.temporary:
            yield from leftovers.temporary(Tree.SOURCE, facts.root, facts.folder, name)
        if facts.is_empty:
            yield from leftovers.empty_folder(Tree.SOURCE, facts.root, facts.folder)

    def in_source(self, clip: Clip, facts: FolderFacts) -> Copy:
        """What a clip of the source is a copy of; `facts` are those of its folder."""
        archived = own_archive(clip, facts)
        return Copy(
            _timed(clip, archived),
            Tree.SOURCE,
            clip.relative,
            archived,
            identity=clip.fingerprint.identity,
            observed=facts.observed.get(clip.relative),
            remark="" if archived else self._remark(clip, facts),
        )

    def _remark(self, clip: Clip, facts: FolderFacts) -> str:
        entries = facts.archived.get(clip.relative, ())
        own = [entry for entry in entries if entry.describes(clip)]
        if own:
            return self._damage_of(own) or "its archive is missing or damaged"
        return "another clip under a name that was archived before" if entries else ""

    def _sidecar(self, folder: str, name: str) -> LoneSidecar | Keep | None:
        relative = joined(folder, name)
        try:
            status = (self._trees.source / relative).lstat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return Keep(self._trees.source, relative, Reason.NOT_A_CLIP, detail="no regular file")
        parsed = self._names.read(name.rpartition(".")[0], folder)
        is_text = is_text_name(name)
        if parsed is None:
            return (
                None if is_text else Keep(self._trees.source, relative, Reason.PICTURE_ONLY, status.st_size)
            )
        start = locate(parsed, status.st_mtime_ns, self._zone)
        origin = self._clip_of(folder, name.rpartition(".")[0], parsed.camera, start, by_time=not is_text)
        if is_text and origin is None:
            return None
        seconds = origin.duration if origin else None
        print_of = fingerprint_of(status)
        clip = Clip(
            self._trees.source, folder, name, parsed.camera, start, print_of, status.st_nlink, seconds
        )
        identity = status.st_size, status.st_mtime_ns
        clip = self._clocks.applied(clip) if self._has_clocks else clip
        copy = Copy(clip, Tree.SOURCE, relative, identity=identity, is_sidecar=True)
        return LoneSidecar(copy, orphan=origin is not None)

    def lone_texts(self, folder: str) -> frozenset[str]:
        """The texts of one folder of the source that are no sidecars; the walk says nothing of them."""
        self._fresh.clear()
        try:
            lone = self._discovery.folder(folder).lone_sidecars
        except OSError:
            return frozenset()
        return frozenset(name for name in lone if is_text_name(name) and self._sidecar(folder, name) is None)

    def _clip_of(
        self, folder: str, stem: str, camera: str, start: datetime, *, by_time: bool
    ) -> Origin | None:
        """The clip that a sidecar belonged to; None if the journal lacks it."""
        ledger = self._ledger(start.date())
        of_folder = (
            event
            for source, event in ledger.seen.items()
            if (event.camera, event.start) == (camera, start) and source.rpartition("/")[0] == folder
        )
        event = ledger.stems.get(joined(folder, stem)) or next(of_folder if by_time else iter(()), None)
        return None if event is None else ledger.origin(event)

    # --- archive and trash -------------------------------------------------------------------------

    def _walk(self, tree: Tree, root: Path) -> Iterator[tuple[str, Iterator[TreeItem]]]:
        """Each folder's path in the source, and its files; read these before you ask for the next folder."""
        trees = self._trees
        pruned = trees.source, trees.archive, trees.trash
        folders = TreeWalk(root, pruned=pruned, enters=self._passed_over.may_hold_clips)
        for folder in folders:
            found = self._folder(tree, root, folder, folders)
            yield folder.removeprefix(FROM_SOURCE).removeprefix("/"), found

    def _folder(self, tree: Tree, root: Path, folder: str, folders: TreeWalk) -> Iterator[TreeItem]:
        """The files of one folder."""
        self._fresh.clear()
        try:
            listing = folders.look(folder, pictures=True)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Keep(root, folder or ".", Reason.UNREADABLE, detail=explained(error))
            return
        if listing.is_empty:
            yield from leftovers.empty_folder(tree, root, folder)
        find = self._archive if tree is Tree.ARCHIVE else self._trashed
        for name in sorted(listing.files):
            yield self._copy(find, root, folder, name, listing.files[name])
        for name in sorted(listing.temporary):
            yield from leftovers.temporary(tree, root, folder, name)
        for name, problem in sorted(listing.unreadable.items()):
            yield Keep(root, joined(folder, name), Reason.UNREADABLE, detail=explained(problem))
        for name in sorted(listing.irregular):
            yield Keep(root, joined(folder, name), Reason.FOREIGN, detail="no regular file")
        for name in sorted((*listing.foreign, *listing.links)):
            yield Keep(root, joined(folder, name), Reason.FOREIGN)

    def _copy(self, find: _Find, root: Path, folder: str, name: str, status: os.stat_result) -> Copy | Keep:
        place = FoundFile(root, folder, name, joined(folder, name), status)
        copy = find(place)
        if copy is None:
            return Keep(root, place.relative, Reason.FOREIGN, status.st_size)
        if not self._clip_ends.has_holds or isinstance(copy, Keep) or copy.is_sidecar:
            return copy
        known = (copy.archived,) if copy.archived else ()
        clip = self._clip_ends.with_duration(copy.clip, known, self._discovery.following(()))
        return copy if clip is copy.clip else replace(copy, clip=clip)

    def _placed(
        self, place: FoundFile, origin: Origin | JournalEvent, of: ClipKey, duration: float | None = None
    ) -> Clip:
        """The file as a copy of that clip; seconds."""
        written_ns, start = of[2], origin.start
        if written := self._day(start.date()).written:
            written_ns = written.get(of, written_ns)
        clip = place.clip(origin.camera, start, written_ns, duration)
        return self._clocks.applied(clip) if self._has_clocks else clip

    def _archive(self, place: FoundFile) -> Copy | Keep | None:
        name, relative, status = place.name, place.relative, place.status
        for day in self._days.of(relative):
            ledger = self._ledger(day)
            known, is_sidecar = ledger.archives.get(relative), False
            if known is None and is_sidecar_name(name):
                sidecars = ledger.archived_sidecars
                known = sidecars.get(relative) or sidecars.get(unnumbered(relative))
                is_sidecar = True
            if known is None:
                continue
            event, entry = known
            of = clip_of(event)
            clip = self._placed(place, event, of, entry.duration)
            damage = None if is_sidecar else self._damaged.get(relative)
            if not is_sidecar and damage is None and status.st_size != entry.archive_size:
                return keep(clip, Reason.DAMAGED, "its size is not the journalled one")
            copy = Copy(
                clip,
                Tree.ARCHIVE,
                of[0],
                entry,
                identity=(of[1] or 0, of[2] or 0),
                made_by=event.run,
                is_sidecar=is_sidecar,
                damage=damage.words(self._zone) if damage else "",
                offsite=ledger.newest_copy(self._remote, (relative,))
                if self._remote and not is_sidecar
                else None,
            )
            shared = ledger.sharers.get(relative)
            return with_sharers(copy, shared.values(), place, self._clocks) if shared else copy
        return None

    def _trashed(self, place: FoundFile) -> Copy | None:
        relative = place.relative
        for day in self._days.of(relative):
            origin = _trashed_origin(self._ledger(day), relative)
            if origin is not None and _is_that_file(origin, relative, place.status):
                return self._with_sharers(self._trash_copy(place, day, origin), place, day, origin)
        return self._unjournalled(place)

    def in_archive(self, relative: str, status: os.stat_result) -> Copy | Keep | None:
        """What one file of the archive is a copy of; None if the journal does not know it."""
        folder, _, name = relative.rpartition("/")
        return self._archive(FoundFile(self._trees.archive, folder, name, relative, status))

    def in_trash(self, relative: str, status: os.stat_result) -> Copy | None:
        """What one file of the trash is a copy of; None if the journal does not know it."""
        return self._trashed(FoundFile(self._trees.trash, *relative.rpartition("/")[::2], relative, status))

    def _trash_copy(self, place: FoundFile, day: date, origin: Origin) -> Copy:
        identity = origin.size, origin.mtime_ns
        journalled = self._day(day)
        entries = [e for e in journalled.archived.get(origin.source, ()) if (e.size, e.mtime_ns) == identity]
        existing = next((entry for entry in reversed(entries) if self._archives.is_valid(entry)), None)
        gone_by_name = bool(entries) and all(entry.archive in journalled.ledger.given_up for entry in entries)
        return Copy(
            _timed(
                self._placed(place, origin, (origin.source, *identity), origin.duration),
                entries[-1] if entries else None,
            ),
            Tree.TRASH,
            origin.source,
            existing,
            given_up=origin.reason in MAY_REMOVE_LAST_COPY or (existing is None and gone_by_name),
            since=origin.at,
            identity=identity,
            remark="" if existing else self._damage_of(entries),
            is_sidecar=is_sidecar_name(place.name),
            offsite=None
            if existing
            else journalled.ledger.newest_copy(self._remote, (entry.archive for entry in reversed(entries))),
        )

    def _with_sharers(self, copy: Copy, place: FoundFile, day: date, origin: Origin) -> Copy:
        """A trashed archive with the other clips whose archive it was."""
        ledger = self._ledger(day)
        event = ledger.trashed.get(place.relative) if origin.tree is Tree.ARCHIVE else None
        if event is None or event.archive is None:
            return copy
        others = ledger.also_made(event.archive, origin.source)
        return with_sharers(copy, others, place, self._clocks) if others else copy

    def _damage_of(self, entries: Iterable[Archived]) -> str:
        """What was found wrong with a clip's archives; empty if nothing was."""
        found = [damage for entry in entries if (damage := self._damaged.get(entry.archive))]
        return f"its archive does not count: {found[-1].words(self._zone)}" if found else ""

    def _unjournalled(self, place: FoundFile) -> Copy | None:
        """A source in the trash that no line mentions, because a run died before it wrote one."""
        relative, status = place.relative, place.status
        if not relative.startswith(f"{FROM_SOURCE}/"):
            return None
        source = relative.removeprefix(f"{FROM_SOURCE}/")
        for name in dict.fromkeys((source, unnumbered(source))):
            for day in self._days.of(relative):
                for entry in self._day(day).archived.get(name, ()):
                    same = is_copied((status.st_size, status.st_mtime_ns), (entry.size, entry.mtime_ns))
                    if same and (known := self._ledger(day).archives.get(entry.archive)):
                        return Copy(
                            self._placed(place, known[0], clip_of(known[0])),
                            Tree.TRASH,
                            name,
                            entry if self._archives.is_valid(entry) else None,
                            since=datetime.fromtimestamp(status.st_ctime, self._zone),
                            identity=(entry.size, entry.mtime_ns),
                            remark=self._damage_of((entry,)),
                        )
        return None

    # --- the journal -------------------------------------------------------------------------------

    def _ledger(self, day: date) -> Ledger:
        return self._day(day).ledger

    def _day(self, day: date) -> Day:
        """The journal of one day; for each folder it is read again if it has changed."""
        if (fresh := self._fresh.get(day)) is not None:
            return fresh
        if len(self._fresh) >= DAYS_IN_MEMORY:
            self._fresh.clear()
        found = self._fresh[day] = self._journal.day(day)
        return found


def _timed(clip: Clip, archived: Archived | None) -> Clip:
    """The clip, with its archive's duration if its name holds none."""
    if clip.duration is not None or archived is None:
        return clip
    return replace(clip, duration=archived.duration)


def _trashed_origin(ledger: Ledger, relative: str) -> Origin | None:
    event = ledger.trashed.get(relative)
    if event is None and is_sidecar_name(relative):
        sidecar = relative.removeprefix(f"{FROM_SOURCE}/")
        event = ledger.sidecars.get(sidecar) or ledger.sidecars.get(unnumbered(sidecar))
    return None if event is None else ledger.origin(event)


def _is_that_file(origin: Origin, relative: str, status: os.stat_result) -> bool:
    """Whether it is the file that the journal records there; of a sidecar only the path is known."""
    if is_sidecar_name(relative) and not is_sidecar_name(origin.source):
        return True
    if origin.tree is Tree.SOURCE:
        return is_copied((status.st_size, status.st_mtime_ns), (origin.size, origin.mtime_ns))
    return origin.file_size in (None, status.st_size)
