"""What the owner must know about a cleanup's plan before consenting: its problems and its notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from camarchiver.cleanup.past_limit import PastLimit
from camarchiver.domain.clip import Trees
from camarchiver.domain.plan import Total
from camarchiver.domain.reason import Reason
from camarchiver.errors import ExitCode, Problem
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.policy.safety_brakes import CameraTotals, brake
from camarchiver.policy.size_goals import Goal
from camarchiver.runtime.formatting import count_of, place_words, size

BRAKES = ("clock", "too-large")
"""The codes of problems that refuse the whole plan."""


class PlanNotes(Struct, frozen=True):
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
    trees: Trees
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
            files, stay = count_of(last, "file"), "stays" if last == 1 else "stay"
            words = f"{files} in the trash {stay}: each is the last copy of a clip, as {self.last_copy}"
            remedy = f"camarchiver verify {place_words(self.trees)} --repair makes their archives again"
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
        """Files that stay although the owner may expect otherwise."""
        if self.damaged:
            effect = (
                "is missing or damaged and does not count as a copy"
                if self.damaged == 1
                else "are missing or damaged and do not count as copies"
            )
            remedy = f"camarchiver verify {place_words(self.trees)} --known --repair"
            yield f"{count_of(self.damaged, 'archive')} {effect}; {remedy}"
        waiting = sum(total.clips for total in self.totals if total.group[:2] == ("keep", Reason.UNARCHIVED))
        if waiting:
            are, stay, them = ("is", "stays", "it") if waiting == 1 else ("are", "stay", "them")
            yield (
                f"{count_of(waiting, 'source')} old enough to go {are} not archived and {stay};"
                f" --unarchived would include {them}"
            )
