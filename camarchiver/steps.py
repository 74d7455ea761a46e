"""The steps that a plan is made of, what came of each, and the report on them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from camarchiver.model import Archived, Clip, Disposal, Fingerprint, Reason, Tree


class _HasClip(Protocol):
    @property
    def clip(self) -> Clip: ...


class _OfClip:
    """What every step over a clip tells, as `Keep` does of any file."""

    __slots__ = ()

    @property
    def relative(self: _HasClip) -> str:
        """The clip's path below its root."""
        return self.clip.relative

    @property
    def path(self: _HasClip) -> Path:
        """The absolute path."""
        return self.clip.path

    @property
    def size(self: _HasClip) -> int:
        """Bytes."""
        return self.clip.fingerprint.size

    @property
    def camera(self: _HasClip) -> str:
        """The clip's camera."""
        return self.clip.camera

    @property
    def start(self: _HasClip) -> datetime:
        """When the clip begins, aware."""
        return self.clip.start


class _ArchiveFields(NamedTuple):
    clip: Clip
    target: str
    """Relative to the archive root; execution numbers it when it is taken by something else."""
    reason: Reason
    standing: Archived | None = None
    """The archive to replace, where a repeat was asked for."""


class Archive(_ArchiveFields, _OfClip):
    """Step: encode a clip, verify it, publish it, then dispose of the source."""

    __slots__ = ()


class _RemoveFields(NamedTuple):
    clip: Clip
    disposal: Disposal
    reason: Reason
    archived: Archived


class Remove(_RemoveFields, _OfClip):
    """Step: dispose of a clip whose archive stands."""

    __slots__ = ()


class Keep(NamedTuple):
    """Step: leave a file alone, and say why."""

    root: Path
    relative: str
    reason: Reason
    size: int = 0
    camera: str = ""
    start: datetime | None = None
    detail: str = ""

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative


class _RestoreFields(NamedTuple):
    clip: Clip
    """As it was: its root is that of its tree, its fingerprint the trashed file's."""
    trash: str
    """Below the trash root."""
    sidecars: Mapping[str, str]
    """Each picture that went with it: its name, and its absolute path now."""
    reason: Reason
    source: str
    """The clip's name in the journal: its path below the source root."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of the clip's source."""
    tree: Tree = Tree.SOURCE
    """Which tree it goes back to."""


class Restore(_RestoreFields, _OfClip):
    """Step: bring a file back from the trash to the very path that it came from."""

    __slots__ = ()


class _DiscardFields(NamedTuple):
    clip: Clip
    """The file that goes: its root is that of its tree."""
    tree: Tree
    disposal: Disposal
    reason: Reason
    source: str
    """The clip's name in the journal: its path below the source root."""
    identity: tuple[int, int]
    """Bytes and mtime_ns of the clip's source, which may be gone."""
    archived: Archived | None = None
    """The archive that must still stand when it is done; None where the rule takes a last copy."""


class Discard(_DiscardFields, _OfClip):
    """Step of `cleanup`: a copy of a clip leaves one of the trees by a rule of the owner's policy."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Tidy:
    """Step of `cleanup`: an unfinished file, a dead owner's lock or an empty folder goes; never footage."""

    root: Path
    relative: str
    tree: Tree
    reason: Reason
    fingerprint: Fingerprint | None = None
    """None for a folder."""

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint.size if self.fingerprint else 0

    @property
    def camera(self) -> str:
        """None of them."""
        return ""

    @property
    def start(self) -> None:
        """No time."""
        return None


@dataclass(frozen=True, slots=True)
class Salvage:
    """Step: what a dead recorder left of a clip goes into the outbox, as far as it is whole."""

    root: Path
    """The spool."""
    camera: str
    name: str
    fingerprint: Fingerprint
    target: Path
    """The camera's folder in the outbox."""
    reason: Reason = Reason.UNFINISHED
    start: datetime | None = None
    """Aware; None where the name doesn't tell."""

    @property
    def relative(self) -> str:
        """The path below the spool."""
        return f"{self.camera}/{self.name}"

    @property
    def path(self) -> Path:
        """The absolute path."""
        return self.root / self.relative

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint.size

    @property
    def tree(self) -> Tree:
        """The spool."""
        return Tree.SPOOL


Step = Archive | Remove | Restore | Discard | Tidy | Salvage | Keep


class Result(StrEnum):
    """What came of a step."""

    DONE = "done"
    FAILED = "failed"
    STALE = "stale"
    BUSY = "busy"
    HELD = "held"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an archive came to be."""

    encoder: str
    rungs: tuple[str, ...]
    """What was tried, in order; the last one succeeded."""
    seconds: float
    bytes_before: int
    bytes_after: int
    unencoded: Reason | None = None
    """Why it is a lossless copy; None where it was encoded."""


class Way(StrEnum):
    """How an archive's bytes come to be, the smallest result first."""

    ENCODE = "encode"
    REMUX = "remux"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Made:
    """A verified archive in a staged file."""

    way: Way
    encoding: Encoding
    settings: Mapping[str, Any]
    verified: str
    """How, in words."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one step."""

    step: Step
    result: Result
    reason: Reason
    detail: str = ""
    target: str = ""
    """Where the file stands now, absolute; empty where it went nowhere."""
    encoding: Encoding | None = None
    freed: int = 0
    """Bytes that the filesystem really got back."""


class Status(StrEnum):
    """A run in one word."""

    DONE = "done"
    NOTHING = "nothing"
    PARTIAL = "partial"
    FAILED = "failed"
    STOPPED = "stopped"


DAMAGED = "damaged"
"""The code of the problem that archives are missing or damaged."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An error that concerns the whole run, as the JSON format lists it."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run did; its exit code follows from this alone."""

    command: str
    run: str
    started: datetime
    ended: datetime
    outcomes: tuple[Outcome, ...] = ()
    unreadable: int = 0
    """Files and folders that could not be looked at while planning."""
    remaining: int = 0
    """Steps not begun because a limit was reached or the run was stopped."""
    stopped_by: int | None = None
    """The signal that ended the run."""
    problems: tuple[Problem, ...] = ()
    """What the plan or the run could not do and the owner must know; the exit code tells of them."""
    refused: int = 0
    """The exit code of a brake that stopped the whole plan; 0 where none did."""

    def count(self, *results: Result) -> int:
        """How many steps came to one of these results."""
        return sum(outcome.result in results for outcome in self.outcomes)

    @property
    def has_failures(self) -> bool:
        """Whether anything went wrong; a stop is nothing wrong."""
        return bool(self.refused or self.count(Result.FAILED) or self.unreadable or self.problems)

    @property
    def status(self) -> Status:
        """The run in one word."""
        if self.stopped_by is not None:
            return Status.STOPPED
        if self.refused:
            return Status.FAILED
        failed = self.count(Result.FAILED) + self.unreadable
        if not failed and self.problems:
            return Status.PARTIAL
        if not failed:
            return Status.DONE if self.outcomes else Status.NOTHING
        found_damaged = any(outcome.reason is Reason.DAMAGED for outcome in self.outcomes) or any(
            problem.code == DAMAGED for problem in self.problems
        )
        archived = any(outcome.encoding for outcome in self.outcomes)
        achieved = self.count(Result.DONE) or archived or found_damaged or self.unreadable
        return Status.PARTIAL if achieved else Status.FAILED

    @property
    def exit_code(self) -> int:
        """As the design's table has it."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        if self.refused:
            return self.refused
        failures = [outcome for outcome in self.outcomes if outcome.result is Result.FAILED]
        if self.status is Status.FAILED:
            return 13 if all(outcome.reason is Reason.NO_SPACE for outcome in failures) else 1
        return 3 if self.status is Status.PARTIAL else 0
