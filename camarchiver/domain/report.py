"""The outcomes of steps, and the report of a whole run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from camarchiver.domain.motion import NO_FINDINGS, KeyframeFindings
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import DAMAGED, Step
from camarchiver.errors import ExitCode, Problem, signal_code


class Result(StrEnum):
    """The kinds of outcomes."""

    DONE = "done"
    FAILED = "failed"
    STALE = "stale"
    BUSY = "busy"
    HELD = "held"
    SKIPPED = "skipped"


class Encoding(Struct, frozen=True):
    """How an archive was made."""

    encoder: str
    levels: tuple[str, ...]
    """What was tried, in order; the last one succeeded."""
    seconds: float
    bytes_before: int
    bytes_after: int
    unencoded: Reason | None = None
    """Why it is a lossless copy; None if it was encoded."""


class ArchiveMethod(StrEnum):
    """How an archive's bytes are made, the smallest result first."""

    ENCODE = "encode"
    REMUX = "remux"
    COPY = "copy"


class EncodeResult(Struct, frozen=True):
    """A verified archive in a staged file."""

    way: ArchiveMethod
    encoding: Encoding
    settings: Mapping[str, Any]
    verified: str
    """How it was verified, in words."""
    notes: tuple[str, ...] = ()
    findings: KeyframeFindings = NO_FINDINGS
    """Thumbnails of it, and what moves in it."""


class Outcome(Struct, frozen=True):
    """The result of one step."""

    step: Step
    result: Result
    reason: Reason
    detail: str = ""
    target: str = ""
    """The file's absolute path now; empty if it did not move."""
    encoding: Encoding | None = None
    freed: int = 0
    """Bytes that were really freed on the filesystem."""


class DiskUse(Struct, frozen=True):
    """What a run left on one filesystem."""

    path: Path
    free_before: int
    """Bytes free when the run was planned."""
    free: int
    """Bytes free now."""
    more: int
    """Bytes that the run's archives take there and its removals have not made up for."""
    expires: date | None
    """When the trash that this run filled expires; None if it filled none there."""


_DAMAGE = frozenset({Reason.DAMAGED, Reason.COPY_LOST})
"""Finding it is an achievement, also where nothing else was achieved."""


class Status(StrEnum):
    """A run in one word."""

    DONE = "done"
    NOTHING = "nothing"
    PARTIAL = "partial"
    FAILED = "failed"
    STOPPED = "stopped"


class Conclusion(NamedTuple):
    """How a run ended."""

    status: Status
    exit_code: int
    """As `ExitCode` has it, or that of the signal that stopped the run."""

    def followed_by(self, after: Conclusion) -> Conclusion:
        """This run and one after it as one: the first failure is its exit code."""
        is_later = self.exit_code == ExitCode.DONE and after.status is not Status.NOTHING
        return Conclusion(after.status if is_later else self.status, self.exit_code or after.exit_code)


def concluded(
    *,
    achieved: bool,
    failed: bool = False,
    has_problems: bool = False,
    is_storage: bool = False,
    refused: ExitCode | None = None,
    signal: int | None = None,
) -> Conclusion:
    """The one rule by which a run's status and exit code follow from what it did.

    `achieved`: it did something. `failed`: a part of its work failed; `is_storage`: nothing but the storage
    is to blame. `has_problems`: there is more that the owner must know. `refused` is the exit code of what
    kept the whole run from its work, `signal` the number of the signal that stopped it.
    """
    if signal is not None:
        return Conclusion(Status.STOPPED, signal_code(signal))
    if refused is not None:
        return Conclusion(Status.FAILED, refused)
    if failed and not achieved:
        return Conclusion(Status.FAILED, ExitCode.STORAGE if is_storage else ExitCode.FAILED)
    if failed or has_problems:
        return Conclusion(Status.PARTIAL, ExitCode.PARTIAL)
    return Conclusion(Status.DONE if achieved else Status.NOTHING, ExitCode.DONE)


def side_by_side(parts: Collection[Conclusion]) -> Conclusion:
    """Runs at the same time as one: the worst exit code; it is partly done if one of them did something."""
    status, exit_code = max(parts, key=lambda part: _RANK.get(part.exit_code, len(_RANK)))
    others = {part.status for part in parts}
    if status is Status.FAILED and others & {Status.DONE, Status.PARTIAL}:
        status = Status.PARTIAL
    if status is Status.NOTHING and Status.DONE in others:
        status = Status.DONE
    return Conclusion(status, exit_code)


_RANK: dict[int, int] = {ExitCode.DONE: 0, ExitCode.PARTIAL: 1, ExitCode.FAILED: 2}
"""Severity of exit codes; all others are worse."""


class Report(Struct, frozen=True):
    """Everything one run did; its exit code follows from this alone."""

    command: str
    run: str
    started: datetime
    ended: datetime
    outcomes: tuple[Outcome, ...] = ()
    unreadable: int = 0
    """Number of files and folders that could not be examined while planning."""
    remaining: int = 0
    """Steps not begun because a limit was reached or the run was stopped."""
    stopped_by: int | None = None
    """The signal that ended the run."""
    problems: tuple[Problem, ...] = ()
    """What the plan or the run could not do and the owner must know; the exit code reflects them."""
    disks: tuple[DiskUse, ...] = ()
    refused: ExitCode | None = None
    """The exit code of a brake that stopped the whole plan; None if none did."""
    began: datetime | None = None
    """When the first step began, after the plan was shown and agreed to; None if none did."""

    @property
    def seconds(self) -> float:
        """How long the work took, without the time that a question was open; below 0 if the clock was set."""
        return (self.ended - (self.began or self.started)).total_seconds()

    def count(self, *results: Result) -> int:
        """How many steps have one of these results."""
        return sum(outcome.result in results for outcome in self.outcomes)

    @property
    def has_failures(self) -> bool:
        """Whether anything went wrong; a stop is no failure."""
        return bool(self.refused is not None or self.count(Result.FAILED) or self.unreadable or self.problems)

    @property
    def conclusion(self) -> Conclusion:
        """How the run ended."""
        failures = [outcome for outcome in self.outcomes if outcome.result is Result.FAILED]
        failed = bool(failures or self.unreadable)
        return concluded(
            achieved=self._has_achieved if failed else bool(self.outcomes),
            failed=failed,
            has_problems=bool(self.problems),
            is_storage=all(outcome.reason is Reason.NO_SPACE for outcome in failures),
            refused=self.refused,
            signal=self.stopped_by,
        )

    @property
    def _has_achieved(self) -> bool:
        """Whether something came of the run although a part of it failed."""
        return bool(
            self.unreadable
            or any(
                outcome.result is Result.DONE or outcome.encoding or outcome.reason in _DAMAGE
                for outcome in self.outcomes
            )
            or any(problem.code == DAMAGED for problem in self.problems)
        )

    @property
    def status(self) -> Status:
        """The run in one word."""
        return self.conclusion.status

    @property
    def exit_code(self) -> int:
        """As `ExitCode` has it, or that of the signal that stopped the run."""
        return self.conclusion.exit_code
