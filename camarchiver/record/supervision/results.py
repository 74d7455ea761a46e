"""The result of recorders: their numbers, status, exit code and problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from camarchiver.domain.report import Conclusion, concluded, side_by_side
from camarchiver.errors import Problem, StorageError

if TYPE_CHECKING:
    from camarchiver.monitoring.metrics import Figure
    from camarchiver.record.supervision.facts import CameraFacts, CameraFailure, RunFacts


class Judgement(NamedTuple):
    """How recorders ended, or how they are doing, and what went wrong."""

    conclusion: Conclusion
    problems: list[Problem]


class UnreportedProblems:
    """The problems that have not been reported yet."""

    def __init__(self, judge: Callable[[], Judgement], document: Callable[[Judgement], str]) -> None:
        """`document` makes the JSON document of a judgement."""
        self._judge = judge
        self._document = document
        self._reported: set[Problem] = set()

    def problems(self) -> list[Problem]:
        return [problem for problem in self._judge().problems if problem not in self._reported]

    def failures(self) -> Iterable[str] | None:
        """The JSON document of the problems since the last call; None if there are none."""
        found = self.problems()
        if not found:
            return None
        self._reported &= set(self._judge().problems)
        self._reported.update(found)
        return (self._document(Judgement(self._judge().conclusion, found)),)


def figures_of(run: RunFacts) -> Iterator[Figure]:
    """The recorders' numbers as they are now."""
    for camera in run.cameras:
        yield from _figures(camera)


def _figures(facts: CameraFacts) -> Iterator[Figure]:
    from camarchiver.monitoring import metrics, tree_gauges

    totals = facts.totals
    recording = metrics.Recording(
        frames=facts.frames,
        lost=totals.lost,
        published=totals.published + facts.salvaged_count,
        failed=totals.failed,
        seconds=totals.seconds,
        outages=facts.outages,
        refusals=facts.refused,
        last_frame=facts.last_frame,
        connected=facts.is_connected,
    )
    yield from metrics.of_recording(recording, facts.camera)
    yield from facts.removal_figures
    yield from metrics.RemovalTotals(facts.left).figures()
    yield from metrics.of_free_spaces(
        tree_gauges.free_spaces(("spool", facts.spool), ("outbox", facts.outbox))
    )


def judged(run: RunFacts, signal: int | None) -> Judgement:
    """The result of all cameras together."""
    each = [judged_camera(camera) for camera in run.cameras]
    each += [failed(failure) for failure in run.failures.values()]
    problems = [problem for one in each for problem in one.problems]
    if signal is not None:
        return Judgement(concluded(achieved=False, signal=signal), problems)
    return Judgement(side_by_side([one.conclusion for one in each]), problems)


def failed(failure: CameraFailure) -> Judgement:
    """The result of a camera that could not start."""
    return Judgement(concluded(achieved=False, refused=failure.exit_code), [failure.problem])


def judged_camera(facts: CameraFacts) -> Judgement:
    """The result of one camera so far."""
    problems = [Problem("failed", f"{clip.path}: {clip.error}") for clip in facts.clips if clip.error]
    if (earlier := facts.totals.with_errors - len(problems)) > 0:
        problems.append(Problem("failed", "earlier clips had errors, too", f"the log names {earlier:,} more"))
    problems += [Problem("failed", text) for text in facts.problems]
    if facts.crashes:
        times = "once" if facts.crashes == 1 else f"{facts.crashes:,} times"
        message = f"the recorder of {facts.camera} crashed {times}, the last time with {facts.crash}"
        problems.append(Problem("failed", message, "what it had written is published from the spool"))
    if facts.failure is not None:
        problems.append(facts.failure.problem)
    if facts.refused:
        problems.append(Problem(StorageError.code, "there was too little room to record", "free some space"))
    ended = concluded(
        achieved=bool(facts.totals.published if problems else facts.recorded),
        failed=bool(problems),
        is_storage=all(problem.code == StorageError.code for problem in problems),
    )
    return Judgement(ended, problems)
