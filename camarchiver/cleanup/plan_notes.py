"""What the owner must know about a cleanup's plan before consenting: its problems and its notes."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from camarchiver.cleanup.past_limit import PastLimit
from camarchiver.domain.plan import Total
from camarchiver.domain.reason import Reason
from camarchiver.errors import ExitCode, Problem
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.policy.safety_brakes import CameraTotals, brake
from camarchiver.policy.size_goals import Goal
from camarchiver.runtime.formatting import count_of, shown, size

BRAKES = ("clock", "too-large")
"""The codes of problems that refuse the whole plan."""


@dataclass(frozen=True, slots=True)
class PlanNotes:
    """What a plan found besides its steps."""

    policy: CleanupPolicy
    now: datetime
    totals: Sequence[Total]
    unmet: Mapping[Goal, int]
    """Goals that can't be reached, and the bytes by which they are missed."""
    past_limit: PastLimit
    """Files that stay although they are, or may be, older than `max_age_hard`."""
    cameras: Mapping[str, CameraTotals]
    """The cameras of which a clip was found."""
    clock: str
    """Why the machine's clock can't be trusted; empty if it can."""
    source: Path
    """The root of the source tree."""
    last_copy: str
    """A file in the trash that stays because it is the last copy of its clip, and why; empty if none does."""
    doubtful: tuple[Problem, ...]
    """Which files stay because their cameras' clocks are doubtful."""
    damaged: int
    """Archives that were found missing or damaged."""

    def problems(self) -> tuple[tuple[Problem, ...], ExitCode | None]:
        """What the policy asks for but the plan can't do, and the exit code if a brake refuses it."""
        found = [*self._problems()]
        if self.clock:
            clock = Problem("clock", self.clock, "set the clock (timedatectl), then run it again")
            return (clock, *found), ExitCode.STORAGE
        if large := brake(self.cameras, self.policy):
            words = "look at the plan; if it is meant, add --allow-large"
            return (Problem("too-large", large, words), *found), ExitCode.USAGE
        return tuple(found), None

    def _problems(self) -> Iterator[Problem]:
        for goal, left in self.unmet.items():
            yield Problem(
                "goal-missed",
                f"{goal.words} can't be reached: short by {size(left)}",
                self._hint(),
            )
        last = sum(total.clips for total in self.totals if total.group.reason is Reason.LAST_COPY)
        if last:
            files = count_of(last, "file")
            words = f"{files} in the trash stay: each is the last copy of a clip, as {self.last_copy}"
            remedy = f"camarchiver verify {shown(self.source)} --repair makes their archives again"
            yield Problem("last-copy", words, remedy)
        yield from self.doubtful
        yield from self.past_limit.problems()

    def _hint(self) -> str:
        options = [
            name
            for name, given in (
                ("--clean-output", self.policy.clean_output),
                ("--unarchived", self.policy.unarchived),
            )
            if not given
        ]
        return (
            f"{' and '.join(options)} would let it take more" if options else "raise the limit or end holds"
        )

    def notes(self) -> Iterator[str]:
        """Files that stay although the owner may expect otherwise, and camera names that match no clip."""
        if self.damaged:
            effect = (
                "is missing or damaged and does not count as a copy"
                if self.damaged == 1
                else "are missing or damaged and do not count as copies"
            )
            yield f"{count_of(self.damaged, 'archive')} {effect}; camarchiver verify --known --repair"
        waiting = sum(total.clips for total in self.totals if total.group[:2] == ("keep", Reason.UNARCHIVED))
        if waiting:
            yield (
                f"{count_of(waiting, 'source')} old enough to go are not archived and stay;"
                " --unarchived would include them"
            )
        yield from self._unknown_cameras()

    def _unknown_cameras(self) -> Iterator[str]:
        known = [*self.cameras]
        for camera in sorted({*self.policy.cameras_own, *self.policy.cameras} - set(known)):
            close = difflib.get_close_matches(camera, known, n=1)
            also = f"; did you mean {shown(close[0])}?" if close else ""
            yield f"no clip of a camera {shown(camera)} was found{also}"
