"""Finds the clips of a folder that are alike in all that decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, tzinfo
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from camarchiver.domain.clip_batch import SUFFIX, ClipBatch
from camarchiver.naming.local_time import keeps_clock
from camarchiver.naming.patterns import Names

if TYPE_CHECKING:
    import os

FEW = 4
"""Fewer clips are not worth it."""

camera_and_day = itemgetter(slice(-6 - SUFFIX))


class Folder(NamedTuple):
    """Where clips are looked for that are alike."""

    root: Path
    path: str
    """Relative to the root."""
    files: Mapping[str, os.stat_result]
    """Each clip's; the names end in suffixes of `SUFFIX` characters, and no two differ in these alone."""
    pictures: Mapping[str, str]
    """The suffix of each clip's picture, by the name without suffix that they share."""


def gather(
    folder: Folder, names: Names, zone: tzinfo, lately: float, is_new: Callable[[date], bool]
) -> tuple[list[ClipBatch], list[str]]:
    """The clips of a folder that are alike, and the names of those that must be looked at one by one.

    What changed after `lately`, in nanoseconds since the epoch, may be in somebody's hands; `is_new` tells
    of a day whether the journal knows of no archive.
    """
    found: list[ClipBatch] = []
    rest: list[str] = []
    for _, group in groupby(sorted(folder.files), camera_and_day):
        together = list(group)
        alike = _alike(folder, together, names, zone, lately) if len(together) >= FEW else None
        if alike is not None and is_new(alike.day):
            found.append(alike)
        else:
            rest += together
    return found, rest


def _alike(
    folder: Folder, together: list[str], names: Names, zone: tzinfo, lately: float
) -> ClipBatch | None:
    stems = [name[:-SUFFIX] for name in together]
    said = names.of_one_day(stems, folder.path)
    if said is None or said.utc or said.duration is not None or not keeps_clock(said.start.date(), zone):
        return None
    files = [folder.files[name] for name in together]
    mtimes = [file.st_mtime_ns for file in files]
    devices = {file.st_dev for file in files}
    if max(mtimes) > lately or len(devices) > 1 or {file.st_nlink for file in files} != {1}:
        return None
    if any(mode & 0o444 != 0o444 for mode in {file.st_mode for file in files}):
        return None
    return ClipBatch(
        folder.root,
        folder.path,
        said.camera,
        said.start.replace(tzinfo=zone),
        devices.pop(),
        together,
        [folder.pictures.get(stem, "") for stem in stems],
        [file.st_size for file in files],
        mtimes,
        [file.st_ino for file in files],
    )
