"""What outlasts a run and affects decisions: failures, holds, restored clips; and facts of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from camarchiver.domain.clip import Archived, Clip, Label
from camarchiver.domain.damage import Damage
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep
from camarchiver.domain.untrusted import AwareDatetime, Count, Nanoseconds, check_time

RETRY_AFTER = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""Waits after the first, second and third failure; after that only `--retry-failed`.

A removal is still retried after the last of them: permissions may change, a damaged clip does not.
"""


RESTORE_GRACE = timedelta(days=7)
"""How long a restored clip is neither archived nor removed."""


class Failure(Struct, frozen=True):
    """The record of a clip that could not be archived, or could not be removed once it was archived."""

    size: Count
    mtime_ns: Nanoseconds
    count: Annotated[int, Meta(ge=1, le=2**31)]
    at: AwareDatetime
    reason: Reason
    detail: str

    def __post_init__(self) -> None:
        check_time(self.at)

    @property
    def is_of_removal(self) -> bool:
        """Whether the clip is archived, and its source could not be removed."""
        return self.reason is Reason.KEPT_SOURCE

    @property
    def is_last_but_one(self) -> bool:
        """Whether only one automatic retry is left."""
        return self.count == len(RETRY_AFTER)

    @property
    def next_try(self) -> datetime | None:
        """When the clip is retried; None if not automatically."""
        if self.count > len(RETRY_AFTER) and not self.is_of_removal:
            return None
        return self.at + RETRY_AFTER[min(self.count, len(RETRY_AFTER)) - 1]


class FolderFacts(Struct, frozen=True):
    """The contents of one folder of the source tree, and what is known about them."""

    root: Path
    folder: str
    clips: tuple[Clip, ...] = ()
    set_aside: tuple[Keep, ...] = ()
    """Names that are no clips: no time, no regular file, or no right to read it."""
    observed: Mapping[str, Keep] = field(default_factory=dict)
    """By relative path: clips that a process writes or works on at this moment."""
    archived: Mapping[str, tuple[Archived, ...]] = field(default_factory=dict)
    """By relative path: the journal's entries, oldest first."""
    existing: frozenset[str] = frozenset()
    """Archives (relative to their root) that count: of the journalled size, and not found damaged."""
    same_file: frozenset[str] = frozenset()
    """Names whose inode an earlier name of this run shares."""
    labels_of_same_size_and_time: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)
    """For clips without an archive, by relative path: what the names say of archived clips that have the same
    size and time.
    """
    removable: bool = True
    """False if the folder can't be written, so that no source can leave it."""
    lone_sidecars: tuple[str, ...] = ()
    """Names of sidecars that belong to none of the clips."""
    temporary: tuple[str, ...] = ()
    """Names of locks and unfinished files, of any program."""
    is_empty: bool = False
    """Whether the folder has no entries, or only files that a file browser made in it."""


class Restored(Struct, frozen=True):
    """A source that an operator restored from the trash."""

    size: Count
    mtime_ns: Nanoseconds
    at: AwareDatetime

    def __post_init__(self) -> None:
        check_time(self.at)

    def is_recent(self, now: datetime) -> bool:
        """Whether its grace period has not passed."""
        return now - self.at < RESTORE_GRACE


class Memory(Struct, frozen=True):
    """What outlasts a run: failures and restored clips by relative path, holds, and damaged archives."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    restored: Mapping[str, Restored] = field(default_factory=dict)
    damaged: Mapping[str, Damage] = field(default_factory=dict)
    """Archives that were found missing or damaged, by path below the archive root."""
