"""What `status` reports, as values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field

from camarchiver.domain.clip import Trees
from camarchiver.domain.reason import Reason
from camarchiver.offsite.status import CopyCounts
from camarchiver.queries.rhythm import Rhythm
from camarchiver.state.findings import Findings
from camarchiver.state.run_history import RunRecord


class CameraFootage(Struct, frozen=True):
    """The clips of one camera in one tree."""

    clips: int = 0
    size: int = 0
    seconds: float = 0.0
    """Footage."""
    guessed: bool = False
    """Whether the hours are estimated from a few clips, since not all lengths are known."""
    oldest: datetime | None = None
    newest: datetime | None = None


class CameraStatus(Struct, frozen=True):
    """One camera's clips in the three trees, and what needs attention."""

    name: str
    source: CameraFootage = field(default_factory=CameraFootage)
    archive: CameraFootage = field(default_factory=CameraFootage)
    trash: CameraFootage = field(default_factory=CameraFootage)
    waiting: int = 0
    """Clips that the next archive run would encode."""
    failed: Mapping[Reason, int] = field(default_factory=dict)
    """Clips that failed before and wait, by reason."""
    held: int = 0
    """Clips in source or archive."""
    clock_doubtful: int = 0
    """Clips in source or archive whose name and file are more than a day apart, or that are in the future."""
    last: datetime | None = None
    """The start of its last clip that is not in the future, in source or archive."""
    rhythm: Rhythm | None = None
    """How often it records; None if it has too few clips to say so."""
    is_overdue: bool = False
    """Whether its last clip is longer ago than its rhythm explains."""
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    """Gaps of the last week, including one that is still open."""
    unencoded: Mapping[Reason, int] = field(default_factory=dict)
    """Archives that are lossless copies, by reason."""


class DiskStatus(Struct, frozen=True):
    """One filesystem that trees lie on."""

    path: Path
    free: int
    total: int
    """Bytes."""
    daily: float = 0.0
    """Bytes of footage that arrived here per day in the last two weeks."""
    net_daily: float = 0.0
    """Bytes that the trees here grew per day: what arrived and was archived, less what was removed."""

    @property
    def days_until_full(self) -> float | None:
        """At the net rate; None if the trees don't grow."""
        return self.free / self.net_daily if self.net_daily > 0 else None


class StatusReport(Struct, frozen=True):
    """Everything that `status` reports."""

    trees: Trees
    cameras: tuple[CameraStatus, ...]
    disks: tuple[DiskStatus, ...]
    working: tuple[str, ...]
    """Sentences on which process works on which clip."""
    last_run: RunRecord | None
    unreadable: int
    unnamed: int
    """Files without a time in their names."""
    other_formats: int
    """Videos of formats that are not archived."""
    rateless: int
    """Raw streams for which no frame rate is declared."""
    passed_over: Mapping[str, tuple[int, Path]]
    """Folders of the source that are not entered, by what they hold: how many, and one of them."""
    findings: Findings
    """What `verify` found, and when it last checked everything."""
    offsite: Mapping[str, CopyCounts] = field(default_factory=dict)
    """By remote: how many archives have a copy there."""

    @property
    def days_until_full(self) -> float | None:
        """For the filesystem that will be full first."""
        return min((d.days_until_full for d in self.disks if d.days_until_full is not None), default=None)
