"""What a run of `record` did so far, camera by camera, as values that one process can send to another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.domain.report import Outcome
from camarchiver.errors import CamarchiverError, ExitCode, Problem, failure
from camarchiver.monitoring.metrics import Figure, Labels
from camarchiver.record.outbox import recorded_clip
from camarchiver.record.outbox.recorded_clip import PublishTotals, Recorded

T = TypeVar("T")


class CameraFailure(Struct, frozen=True):
    """An error that ended a camera's recorder, or kept it from starting."""

    problem: Problem
    exit_code: ExitCode

    @classmethod
    def of(cls, error: CamarchiverError | OSError) -> CameraFailure:
        """An error as it is reported."""
        return cls(*failure(error))

    @property
    def error(self) -> CamarchiverError:
        """An error that is reported in the same way."""
        error = CamarchiverError(self.problem.message, hint=self.problem.hint)
        error.code, error.exit_code = self.problem.code, self.exit_code
        return error


class CameraFacts(Struct, frozen=True):
    """What one camera's recorder did so far, and how it is doing. Lists have their newest items only."""

    camera: str
    spool: Path
    outbox: Path
    clips: tuple[Recorded, ...] = ()
    recorded: int = 0
    """Number of clips, with those that are no longer in `clips`."""
    totals: PublishTotals = field(default_factory=PublishTotals)
    salvaged: tuple[Path, ...] = ()
    salvaged_count: int = 0
    removed: tuple[Outcome, ...] = ()
    left: tuple[Outcome, ...] = ()
    """The last attempt for each clip that could not be removed from the outbox."""
    removal_figures: tuple[Figure, ...] = ()
    announced: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    """What went wrong in the outbox."""
    crashes: int = 0
    """How often the camera's process crashed."""
    crash: str = ""
    """How it ended the last time."""
    outages: int = 0
    refused: int = 0
    """How often recording stopped for lack of space."""
    frames: int = 0
    last_frame: float | None = None
    """Arrival of the last frame, in seconds since 1970."""
    is_connected: bool = False
    is_full: bool = False
    """Whether there is too little space to record now."""
    failure: CameraFailure | None = None
    """What ended the recorder before it was asked to end."""

    def after(self, earlier: CameraFacts | None) -> CameraFacts:
        """The same of a camera whose recorder had to be started again; `earlier` is from before that."""
        if earlier is None:
            return self
        return replace(
            self,
            clips=_newest(earlier.clips, self.clips),
            recorded=earlier.recorded + self.recorded,
            totals=earlier.totals.plus(self.totals),
            salvaged=_newest(earlier.salvaged, self.salvaged),
            salvaged_count=earlier.salvaged_count + self.salvaged_count,
            removed=_newest(earlier.removed, self.removed),
            removal_figures=_sums(earlier.removal_figures, self.removal_figures),
            announced=_newest(earlier.announced, self.announced),
            problems=tuple(dict.fromkeys((*earlier.problems, *self.problems))),
            crashes=earlier.crashes,
            crash=earlier.crash,
            outages=earlier.outages + self.outages,
            refused=earlier.refused + self.refused,
            frames=earlier.frames + self.frames,
            last_frame=self.last_frame or earlier.last_frame,
        )


class RunFacts(Struct, frozen=True):
    """What all recorders of a run did so far."""

    cameras: tuple[CameraFacts, ...]
    failures: Mapping[str, CameraFailure]
    """By camera, why it could not start."""

    @property
    def names(self) -> list[str]:
        """The names of all requested cameras."""
        return [*(each.camera for each in self.cameras), *self.failures]

    @property
    def is_well(self) -> bool:
        """Whether every camera is connected and has space to record."""
        return not self.failures and all(each.is_connected and not each.is_full for each in self.cameras)


def _newest(earlier: tuple[T, ...], later: tuple[T, ...]) -> tuple[T, ...]:
    return (*earlier, *later)[-recorded_clip.KEPT :]


def _sums(earlier: tuple[Figure, ...], later: tuple[Figure, ...]) -> tuple[Figure, ...]:
    sums: defaultdict[tuple[str, Labels], float] = defaultdict(float)
    for figure in (*earlier, *later):
        sums[figure.key] += figure.value
    return tuple(Figure(name, value, labels) for (name, labels), value in sums.items())
