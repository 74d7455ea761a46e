"""Decides which unfinished files, locks and empty folders are left over. Pure; none of them is footage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType

from msgspec import Struct

from camarchiver.domain.clip import Fingerprint, Tree
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import RemoveLeftover

FILLED_FOR = timedelta(days=2)
"""The folder of a day younger than this may still be filled."""


class LeftoverKind(Enum):
    """What may be left over."""

    STAGED = auto()
    """An unfinished file in one of the three trees, under its hidden temporary name."""
    LOCK = auto()
    """The lock of a clip, beside it."""
    FOLDER = auto()
    """A folder without entries."""
    EMPTIED_FOLDER = auto()
    """One out of which the same run removed the last clip."""
    STATE = auto()
    """One of our own small files that was not written to its end."""
    SPOOLED = auto()
    """A file of the spool in which no frame is whole."""
    COPIED = auto()
    """An unfinished copy in the outbox, made by its recorder."""


_AGES: Mapping[LeftoverKind, timedelta | None] = MappingProxyType(
    {
        LeftoverKind.STAGED: timedelta(days=1),
        LeftoverKind.LOCK: timedelta(days=1),
        LeftoverKind.FOLDER: timedelta(days=1),
        LeftoverKind.EMPTIED_FOLDER: timedelta(hours=1),
        LeftoverKind.STATE: timedelta(hours=1),
        LeftoverKind.SPOOLED: timedelta(hours=1),
        # A lock says whether its recorder runs.
        LeftoverKind.COPIED: None,
    }
)
"""How long each kind must be untouched before nobody can still be at work on it; None for any time."""


class Leftover(Struct, frozen=True):
    """A file or folder that is no footage, and that may be left over."""

    root: Path
    relative: str
    tree: Tree
    kind: LeftoverKind
    mtime: float
    """Seconds since 1970."""
    fingerprint: Fingerprint | None = None
    """None for a folder."""
    day: date | None = None
    """The day that a folder is for."""
    in_use: bool = False
    """Whether the owner of the lock lives, or the recorder runs."""


def decide(found: Leftover, now: datetime) -> RemoveLeftover | None:
    """The step that removes it; None if it stays, because somebody may be at work on it."""
    if found.in_use or not is_leftover(found.kind, found.mtime, now):
        return None
    if found.kind is not LeftoverKind.FOLDER:
        return RemoveLeftover(found.root, found.relative, found.tree, Reason.LEFTOVER, found.fingerprint)
    if not is_over(found.day, now):
        return None
    return RemoveLeftover(found.root, found.relative, found.tree, Reason.EMPTY_FOLDER)


def is_leftover(kind: LeftoverKind, mtime: float, now: datetime) -> bool:
    """Whether nobody can still be at work on what was last changed then; seconds since 1970."""
    age = _AGES[kind]
    # In seconds: an hour before half past three is no hour in the night when clocks go forward.
    return age is None or mtime < now.timestamp() - age.total_seconds()


def is_over(day: date | None, now: datetime) -> bool:
    """Whether no camera is about to fill the folder of this day; a folder without a day stays."""
    return day is not None and day <= (now - FILLED_FOR).date()
