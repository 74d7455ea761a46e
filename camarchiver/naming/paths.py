"""The paths that archives get."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from itertools import count

from msgspec import Struct

from camarchiver.naming.folders import dates_in
from camarchiver.naming.formats import suffix_of

NAME_MAX = 255
"""Bytes of one path component on ext4, XFS, Btrfs, NFS and SMB."""


def archive_path(folder: str, stem: str, start: date, *, suffix: str = ".mp4") -> str:
    """Where the archive of a clip goes, relative to the archive root.

    The path is the source's folder, date folders if it has none, and the stem (cut at its front if another
    suffix would make it longer than NAME_MAX bytes).
    """
    return _archive_folder(folder, start) + _fit(stem, suffix)


@lru_cache(maxsize=64)
def _archive_folder(folder: str, start: date) -> str:
    """The folder with a trailing slash; called for every clip of a day."""
    return "".join(f"{part}/" for part in (folder, *_missing_date(folder, start)) if part)


def numbered(relative: str, n: int) -> str:
    """The `n`th path for a name that may be taken: `front/x.mp4`, `front/x~2.mp4`, `front/x~3.mp4`."""
    if n == 1:
        return relative
    folder, slash, name = relative.rpartition("/")
    suffix = suffix_of(name)
    return f"{folder}{slash}{_fit(name.removesuffix(suffix), f'~{n}{suffix}')}"


class NumberedNames(Struct, frozen=True):
    """A name, then that name with 2, 3 and so on without end; can be iterated again."""

    wanted: str

    def __iter__(self) -> Iterator[str]:
        return (numbered(self.wanted, number) for number in count(1))


def unnumbered(relative: str) -> str:
    """The path without the number that `numbered` gave it."""
    if "~" not in relative:
        return relative
    folder, slash, name = relative.rpartition("/")
    suffix = suffix_of(name)
    stem, tilde, number = name.removesuffix(suffix).rpartition("~")
    return f"{folder}{slash}{stem}{suffix}" if tilde and number.isdigit() else relative


def _fit(stem: str, ending: str) -> str:
    if len(stem) + len(ending) <= NAME_MAX // 4:
        return stem + ending
    # The front is cut, because the time is at the end.
    while stem and len(f"{stem}{ending}".encode("utf-8", "surrogateescape")) > NAME_MAX:
        stem = stem[1:]
    return stem + ending


def _missing_date(folder: str, start: date) -> tuple[str, ...]:
    year, month, day = f"{start:%Y/%m/%d}".split("/")
    if any(dates_in(folder)):
        return ()
    if f"/{folder}".endswith(f"/{year}/{month}"):
        return (day,)
    return (year, month, day)
