"""Lists folders, and walks through those below a root, however deep they are nested.

os.walk of Python 3.11 calls itself for each level and ends with a RecursionError at the thousandth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from msgspec import Struct, field

from camarchiver.domain.clip import joined
from camarchiver.naming.formats import (
    CLIP_SUFFIXES,
    PLAIN_SUFFIXES,
    is_clip_name,
    is_folder_metadata_name,
    is_picture_name,
    is_temporary_name,
    is_text_name,
)
from camarchiver.naming.system_folders import KNOWN

NOTHING: frozenset[str] = frozenset()
"""For `wanted`: no clip is examined, only the names are read."""


class Listing(Struct, frozen=True):
    """The entries of one folder, sorted into kinds; each kind is in no particular order."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    """Regular files with a clip's name, and with a picture's where these are examined."""
    skipped: list[str] = field(default_factory=list)
    """Clips that were not examined: not wanted, vanished or unreadable."""
    pictures: list[str] = field(default_factory=list)
    """Pictures that were not examined."""
    unreadable: dict[str, OSError] = field(default_factory=dict)
    """Why an entry could not be examined; never because it vanished."""
    irregular: list[str] = field(default_factory=list)
    """Links, devices and the like with the name of a clip or a picture."""
    temporary: list[str] = field(default_factory=list)
    """All but folders with a hidden or temporary name, locks among them."""
    links: list[str] = field(default_factory=list)
    """Symbolic links with any other name."""
    foreign: list[str] = field(default_factory=list)
    """Everything else that is no folder."""
    folders: list[str] = field(default_factory=list)
    """All folders, also the hidden ones."""

    @property
    def is_empty(self) -> bool:
        """Whether the folder has no entries, or only files that a file browser made in it."""
        return not self.folders and all(map(is_folder_metadata_name, self.names()))

    def names(self) -> Iterator[str]:
        """The names of all entries that are no folders, in no particular order."""
        yield from self.files
        yield from self.skipped
        yield from self.pictures
        yield from self.irregular
        yield from self.temporary
        yield from self.links
        yield from self.foreign

    def clip_names(self) -> list[str]:
        """The names of clips, sorted, whatever kind of file they are."""
        others = filter(is_clip_name, (*self.files, *self.irregular))
        return sorted((*self.skipped, *others))


def look(
    folder: Path,
    *,
    wanted: Container[str] | None = None,
    pictures: bool = False,
    follow: bool = True,
) -> Listing:
    """The entries of one folder; its clips are examined, and with `pictures` its pictures and texts.

    If `wanted` is given, only those clips are examined. Raises OSError if the folder can't be read, or if it
    is a link and `follow` is not set.
    """
    listing = Listing()
    files, skipped, seen = listing.files, listing.skipped, listing.pictures
    # A stat relative to the open folder takes two thirds of the time that one by a long path takes.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    here = os.open(folder, flags)
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                name = entry.name
                # For most names four characters decide; a call would take as long as the stat itself.
                ending = name[-4:]
                if ending not in PLAIN_SUFFIXES or name[0] == "." or not entry.is_file(follow_symlinks=False):
                    _sort_in(entry, listing, wanted, pictures=pictures)
                elif not pictures and ending not in CLIP_SUFFIXES:
                    seen.append(name)
                elif wanted is not None and name not in wanted and ending in CLIP_SUFFIXES:
                    skipped.append(name)
                else:
                    try:
                        files[name] = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        _fail(listing, name, error)
    finally:
        os.close(here)
    for name, problem in listing.unreadable.items():
        problem.filename = os.fspath(folder / name)
    return listing


class TreeWalk:
    """The folders below a root, in the order of names, each before those in it.

    Only folders that are looked at are descended into. No link is followed, the root may be one.
    """

    def __init__(
        self,
        root: Path,
        *,
        start: str = "",
        pruned: Iterable[str | Path] = (),
        enters: Callable[[str], bool] = KNOWN.may_hold_clips,
    ) -> None:
        """`start` is the first folder, relative to the root; `pruned` are absolute and are not entered.

        `enters` says by its name whether a folder below the first one is entered; by default those that may
        hold clips.
        """
        self._root = root
        self._waiting = [start]
        self._found = 0
        """How many of these are in the folder that came last."""
        self._enters = enters
        self._pruned = {
            Path(each).relative_to(root).as_posix() for each in pruned if Path(each).is_relative_to(root)
        }

    def __iter__(self) -> Iterator[str]:
        """Each folder, relative to the root."""
        while self._waiting:
            yield self._waiting.pop()

    def look(self, folder: str, *, wanted: Container[str] | None = None, pictures: bool = False) -> Listing:
        """The entries of the folder that came last, as `look` sorts them; those in it come next.

        Raises OSError if it can't be read.
        """
        listing = look(self._root / folder, wanted=wanted, pictures=pictures, follow=not folder)
        before = len(self._waiting)
        for name in sorted(filter(self._enters, listing.folders), reverse=True):
            below = joined(folder, name)
            if below not in self._pruned:
                self._waiting.append(below)
        self._found = len(self._waiting) - before
        return listing

    def leave(self) -> None:
        """Enter none of the folders in the one that was looked at last."""
        del self._waiting[len(self._waiting) - self._found :]
        self._found = 0


def readable(tree: TreeWalk) -> Iterator[tuple[str, Listing]]:
    """Each folder of a walk with its names, nothing examined; folders that can't be read are skipped."""
    for folder in tree:
        try:
            listing = tree.look(folder, wanted=NOTHING)
        except OSError:
            continue
        yield folder, listing


def every_folder(_: str) -> bool:
    """For `TreeWalk`: also enter folders that hold no clips."""
    return True


def paths_in(folder: Path, suffix: str = "") -> list[Path]:
    """The paths of one folder's entries whose names have this end, sorted; none if there is no such folder.

    Raises OSError if it can't be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sort_in(
    entry: os.DirEntry[str], listing: Listing, wanted: Container[str] | None, *, pictures: bool
) -> None:
    name = entry.name
    if entry.is_dir(follow_symlinks=False):
        listing.folders.append(name)
    elif is_temporary_name(name):
        listing.temporary.append(name)
    elif not ((is_clip := is_clip_name(name)) or is_picture_name(name) or (pictures and is_text_name(name))):
        (listing.links if entry.is_symlink() else listing.foreign).append(name)
    elif not entry.is_file(follow_symlinks=False):
        listing.irregular.append(name)
    elif is_clip and wanted is not None and name not in wanted:
        listing.skipped.append(name)
    elif not is_clip and not pictures:
        listing.pictures.append(name)
    else:
        try:
            listing.files[name] = entry.stat(follow_symlinks=False)
        except OSError as error:
            _fail(listing, name, error)


def _fail(listing: Listing, name: str, error: OSError) -> None:
    """An entry that could not be examined."""
    if is_clip_name(name):
        listing.skipped.append(name)
    else:
        listing.pictures.append(name)
    if not isinstance(error, FileNotFoundError):
        listing.unreadable[name] = error
