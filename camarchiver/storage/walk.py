"""Looks into folders, and walks through those below a root, however deep somebody nested them.

os.walk of Python 3.11 calls itself for each level and ends with a RecursionError at the thousandth.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from pathlib import Path

from camarchiver.domain.clip import joined
from camarchiver.naming.paths import PLAIN_SUFFIXES, is_clip_name, is_picture_name, is_temporary_name


def walk(root: Path, *, pruned: Container[str] = ()) -> Iterator[tuple[str, list[str]]]:
    """Each folder that may hold clips, relative to the root, with the names of what is no folder in it.

    In the order of names, the folder before those in it. Hidden folders, the absolute `pruned` ones, links
    and what can't be read are passed over.
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
        """What is called as a clip or a picture, and is no folder."""
        self.folders: list[str] = []
        self.others: dict[str, OSError | None] = {}
        """The rest, and why one could not be looked at."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not (self.files or self.folders or self.others)


def look(folder: Path) -> Listing:
    """What one folder holds; OSError where it can't be read."""
    listing = Listing()
    files = listing.files
    # Relative to its folder a file is looked at in two thirds of the time that a long path takes.
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(here) as entries:
            for entry in entries:
                name = entry.name
                # Most names tell by four characters what a call would tell in the time of the look itself.
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
