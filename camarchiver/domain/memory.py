"""What outlasts a run and decides with: failures, holds, restored clips; and the facts about one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from camarchiver.domain.clip import Archived, Clip
from camarchiver.domain.damage import Damage
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep

RETRY_AFTER = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""Waits after the first, second and third failure; after that only `--retry-failed`.

A removal goes on being tried after the last of them: permissions change, and a damaged clip doesn't.
"""


RESTORE_GRACE = timedelta(days=7)
"""How long a restored clip is neither archived nor removed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is remembered of a clip that could not be archived, or not be removed once it was."""

    size: int
    mtime_ns: int
    count: int
    at: datetime
    reason: Reason
    detail: str

    @property
    def is_of_removal(self) -> bool:
        """Whether the clip is archived, and its source could not be removed."""
        return self.reason is Reason.KEPT_SOURCE

    @property
    def is_last_but_one(self) -> bool:
        """Whether the clip is tried by itself once more only."""
        return self.count == len(RETRY_AFTER)

    @property
    def next_try(self) -> datetime | None:
        """When the clip is tried again; None for never by itself."""
        if self.count > len(RETRY_AFTER) and not self.is_of_removal:
            return None
        return self.at + RETRY_AFTER[min(self.count, len(RETRY_AFTER)) - 1]


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What one folder of the source tree holds, and what is known of it."""

    root: Path
    folder: str
    clips: tuple[Clip, ...] = ()
    set_aside: tuple[Keep, ...] = ()
    """Names that discovery could not make a clip of: no time, no regular file, no right to read."""
    observed: Mapping[str, Keep] = field(default_factory=dict)
    """By relative path: clips that somebody writes or works on at this moment."""
    archived: Mapping[str, tuple[Archived, ...]] = field(default_factory=dict)
    """By relative path: what the journal knows, oldest entry first."""
    existing: frozenset[str] = frozenset()
    """Archives (relative to their root) that count: of the journalled size, and not found damaged."""
    same_file: frozenset[str] = frozenset()
    """Names whose inode an earlier name of this run shares."""
    removable: bool = True
    """False where the folder can't be written, so that no source can leave it."""
    pictures: tuple[str, ...] = ()
    """Names of pictures that belong to none of the clips."""
    temporary: tuple[str, ...] = ()
    """Names of locks and unfinished files, whoever made them."""
    is_empty: bool = False
    """Whether nothing at all lies in it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A source that an operator brought back from the trash."""

    size: int
    mtime_ns: int
    at: datetime

    def is_recent(self, now: datetime) -> bool:
        """Whether its grace has not passed."""
        return now - self.at < RESTORE_GRACE


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlasts a run: failures and restored clips by relative path, holds, and damaged archives."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    restored: Mapping[str, Restored] = field(default_factory=dict)
    damaged: Mapping[str, Damage] = field(default_factory=dict)
    """Archives that were found missing or damaged, by path below the archive root."""
