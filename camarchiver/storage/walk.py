"""Lists folders, and walks through those below a root, however deep they are nested.

os.walk of Python 3.11 calls itself for each level and ends with a RecursionError at the thousandth.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from camarchiver.domain.clip import joined
from camarchiver.naming.paths import PLAIN_SUFFIXES, is_clip_name, is_picture_name, is_temporary_name


def walk(root: Path, *, pruned: Container[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Each folder that may hold clips, relative to the root, with the names of its other entries.

    Folders come in the order of names, each before those in it. Hidden folders, the absolute `pruned` ones,
    links and unreadable folders are skipped.
    """
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        names, below = list[str](), list[str]()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if not entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
                    elif not is_temporary_name(entry.name) and entry.path not in pruned:
                        below.append(joined(folder, entry.name))
        except OSError:
            continue
        yield folder, sorted(names)
        waiting.extend(sorted(below, reverse=True))


class Listing:
    """The names of one folder of archive or trash."""

    def __init__(self) -> None:
        self.files: dict[str, os.stat_result] = {}
        """Entries with the name of a clip or a picture that are no folders."""
        self.folders: list[str] = []
        self.others: dict[str, OSError | None] = {}
        """All other entries, each with the error if it could not be examined."""

    @property
    def is_empty(self) -> bool:
        """Whether the folder has no entries."""
        return not (self.files or self.folders or self.others)


def look(folder: Path) -> Listing:
    """The entries of one folder. Raises OSError if it can't be read."""
    listing = Listing()
    files = listing.files
    # A stat relative to the open folder takes two thirds of the time that one by a long path takes.
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                name = entry.name
                # For most names four characters decide; the call would take as long as the stat itself.
                is_plain = name[-4:] in PLAIN_SUFFIXES and name[0] != "."
                if entry.is_dir(follow_symlinks=False):
                    listing.folders.append(name)
                elif is_plain or is_clip_name(name) or is_picture_name(name):
                    try:
                        files[name] = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        listing.others[name] = error
                else:
                    listing.others[name] = None
    finally:
        os.close(here)
    return listing
