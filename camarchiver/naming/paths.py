"""The names that archives get, and which names are clips, pictures, temporary files or folders of clips."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from camarchiver.naming.folders import dates_in

CLIP_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".ts", ".m4v"})
PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
PLAIN_SUFFIXES = frozenset(suffix for suffix in CLIP_SUFFIXES | PICTURE_SUFFIXES if len(suffix) == 4)
"""The last four characters of most names; any other ending is examined more closely."""

NAME_MAX = 255
"""Bytes of one path component on ext4, XFS, Btrfs, NFS and SMB."""
_TEMPORARY_SUFFIXES = (".part", ".tmp", ".lock", "~")


def is_temporary_name(name: str) -> bool:
    """Whether a file is never a clip: hidden (including rsync's unfinished files), or of a temporary kind."""
    return name.startswith(".") or name.lower().endswith(_TEMPORARY_SUFFIXES)


def is_footage_folder(name: str) -> bool:
    """Whether a folder below a root may hold clips, by its own name; no other folder is entered."""
    return not is_temporary_name(name)


def is_clip_name(name: str) -> bool:
    """Whether a file may be a clip, by its suffix in any case."""
    if name[-4:] in PLAIN_SUFFIXES:
        return name[-4:] in CLIP_SUFFIXES and name[0] != "."
    return _suffix(name).lower() in CLIP_SUFFIXES and not is_temporary_name(name)


def is_picture_name(name: str) -> bool:
    """Whether a file may be a sidecar, by its suffix in any case."""
    if name[-4:] in PLAIN_SUFFIXES:
        return name[-4:] in PICTURE_SUFFIXES and name[0] != "."
    return _suffix(name).lower() in PICTURE_SUFFIXES and not is_temporary_name(name)


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
    suffix = _suffix(name)
    return f"{folder}{slash}{_fit(name.removesuffix(suffix), f'~{n}{suffix}')}"


def unnumbered(relative: str) -> str:
    """The path without the number that `numbered` gave it."""
    if "~" not in relative:
        return relative
    folder, slash, name = relative.rpartition("/")
    suffix = _suffix(name)
    stem, tilde, number = name.removesuffix(suffix).rpartition("~")
    return f"{folder}{slash}{stem}{suffix}" if tilde and number.isdigit() else relative


def _suffix(name: str) -> str:
    dot = name.rfind(".")
    # A longer ending is not a suffix, and would leave no space for the name.
    return name[dot:] if dot > 0 and len(name) - dot <= 8 else ""


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
