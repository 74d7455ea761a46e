"""A plan, which is the only thing that execution accepts, and its totals. Pure."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from datetime import date, datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from camarchiver.domain.clip import Trees
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import (
    Archive,
    CheckCopy,
    Keep,
    MakeCopy,
    RemoveCopy,
    RemoveLeftover,
    RemoveSource,
    Restore,
    Salvage,
    Step,
)
from camarchiver.errors import ExitCode, Problem

Change = Archive | RemoveSource | Restore | RemoveCopy | MakeCopy | CheckCopy | RemoveLeftover | Salvage
"""Every step but `Keep`."""


class Group(NamedTuple):
    """The key by which a plan's totals are counted."""

    action: str
    reason: Reason
    camera: str = ""
    day: date | None = None
    tree: str = ""
    """Set if the plan changes more than one tree."""


class Total(Struct, frozen=True):
    """Clips and bytes of one group."""

    group: Group
    clips: int
    size: int
    seconds: float
    """Seconds of footage, as far as they are known."""


class _GroupCount:
    """The running count of one group."""

    __slots__ = ("clips", "group", "seconds", "size")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.clips = self.size = 0
        self.seconds = 0.0


class Tally:
    """Counts steps by action, reason, camera and day; grows with the groups, not with the clips."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, _GroupCount] = {}
        self.unreadable: Keep | None = None
        """The first file or folder that could not be examined."""

    def add(self, step: Step) -> None:
        """Count a step."""
        key: Hashable
        seconds = 0.0
        if isinstance(step, Keep):
            if step.reason is Reason.UNREADABLE and self.unreadable is None:
                self.unreadable = step
            self.add_kept(step.reason, step.camera, step.size)
            return
        if isinstance(step, Archive):
            clip = step.clip
            key = step.reason, clip.camera, clip.start.date()
            size, seconds = clip.fingerprint.size, clip.duration or 0.0
        elif isinstance(step, RemoveCopy):
            clip = step.clip
            key = step.disposal, step.reason, clip.camera, clip.start.date(), step.tree
            size, seconds = clip.fingerprint.size, clip.duration or 0.0
        else:
            key, size = _group_of(step), step.size
            seconds = 0.0 if isinstance(step, RemoveLeftover | Salvage) else step.clip.duration or 0.0
        if (count := self._counts.get(key)) is None:
            count = self._counts[key] = _GroupCount(_group_of(step))
        count.clips += 1
        count.size += size
        count.seconds += seconds

    def add_kept(self, reason: Reason, camera: str, size: int) -> None:
        """Count a file that is left alone, of `size` bytes."""
        if (count := self._counts.get((reason, camera))) is None:
            count = self._counts[reason, camera] = _GroupCount(Group("keep", reason, camera))
        count.clips += 1
        count.size += size

    def totals(self) -> tuple[Total, ...]:
        """One for each group, in a fixed order."""
        return tuple(
            Total(each.group, each.clips, each.size, each.seconds)
            for each in sorted(self._counts.values(), key=lambda count: _group_key(count.group))
        )


def _group_of(step: Change) -> Group:
    """Changes are counted by camera and day."""
    tree = str(step.tree) if isinstance(step, RemoveCopy | RemoveLeftover | Salvage) else ""
    return Group(action_of(step), step.reason, step.camera, step.start.date() if step.start else None, tree)


def action_of(step: Step) -> str:
    """The name of a step's action in the JSON format."""
    match step:
        case Archive():
            return "archive"
        case RemoveSource() | RemoveCopy():
            return str(step.disposal)
        case RemoveLeftover():
            return "delete"
        case Restore():
            return "restore"
        case MakeCopy():
            return "copy"
        case CheckCopy():
            return "check"
        case Salvage():
            return "salvage"
        case Keep():
            return "keep"


def _group_key(group: Group) -> tuple[str, date, str, str, str]:
    return group.action, group.day or date.min, group.camera, group.reason, group.tree


class Forecast(Struct, frozen=True):
    """What a plan will free on one filesystem."""

    path: Path
    free: int
    """Bytes free now."""
    freed: int
    """Bytes that come free, none by a move into a trash on the same disk; negative if room is needed."""
    trashed: int = 0
    """Bytes that the run moves into a trash on this filesystem, and that come free when they expire."""
    expires: date | None = None
    """When the trash of this run expires."""
    floor: int = 0
    """Bytes that archiving leaves free."""
    reserve: int = 0
    """Bytes of the largest clip: its archive may need as many while it is made."""
    is_estimate: bool = False
    """Whether the size of archives that are still to be made is estimated."""

    @property
    def after(self) -> int:
        """Bytes free after the run."""
        return self.free + self.freed

    @property
    def is_short(self) -> bool:
        """Whether the first clip or the last one may find no room for its archive."""
        return self.floor > 0 and min(self.free, self.after) < self.floor + self.reserve


class FurtherStep(Struct, frozen=True):
    """Something the owner could do beyond a plan to have more free space."""

    command: str
    """The program's command."""
    options: str
    size: int
    """About the bytes that it would bring."""
    loses_footage: bool


ChangeT = TypeVar("ChangeT", bound=Change)
PolicyT = TypeVar("PolicyT")


class Plan(Struct, Generic[ChangeT, PolicyT], frozen=True):
    """The only thing that execution accepts; its steps can be walked again and again."""

    command: str
    trees: Trees
    now: datetime
    policy: PolicyT
    """What the owner asked for."""
    totals: tuple[Total, ...]
    steps: Collection[ChangeT]
    left: Collection[Keep]
    """Every file left alone, if a list was asked for; otherwise empty. `totals` counts them anyway."""
    unread_folders: int = 0
    """Date folders too recent to be read."""
    notes: tuple[str, ...] = ()
    """What the owner must know before consenting, for example the encoder and why it was chosen."""
    forecast: tuple[Forecast, ...] = ()
    """One for each filesystem that files leave."""
    further: tuple[FurtherStep, ...] = ()
    """Ways to free more space, safest first; only if the policy asks for free space."""
    problems: tuple[Problem, ...] = ()
    """What the policy asks for but this plan can't do."""
    refused: ExitCode | None = None
    """The exit code of the brake that refuses this plan; None if none does."""
    promises: tuple[str, ...] = ()
    """Statements about all files, for a run that carries out every step; only made if every file was examined
    and none is in doubt.
    """

    def promised(self, report: Report) -> tuple[str, ...]:
        """The promises, if nothing of the plan was left undone; a dry run gives them, too."""
        is_undone = (
            report.refused is not None
            or report.stopped_by is not None
            or bool(report.outcomes and report.remaining)
            or any(outcome.result is not Result.DONE for outcome in report.outcomes)
        )
        return () if is_undone else self.promises

    def report(
        self, run: str, outcomes: tuple[Outcome, ...] = (), *, ended: datetime, stopped_by: int | None = None
    ) -> Report:
        """The report on this plan in one run; `stopped_by` is the signal that stopped the run, if one did."""
        return Report(
            command=self.command,
            run=run,
            started=self.now,
            ended=ended,
            outcomes=outcomes,
            unreadable=self.found_unreadable,
            remaining=len(self.steps) - len(outcomes),
            stopped_by=stopped_by,
            problems=self.problems,
            refused=self.refused,
        )

    @property
    def floor(self) -> int:
        """Bytes that archiving leaves free on the archive's disk."""
        return max((each.floor for each in self.forecast), default=0)

    @property
    def found_unreadable(self) -> int:
        """Number of files and folders that could not be examined."""
        return sum(total.clips for total in self.totals if total.group.reason is Reason.UNREADABLE)
