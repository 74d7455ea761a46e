"""The results of a recorder: its numbers, its state, and its problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from camarchiver.domain.report import Status
from camarchiver.errors import CamarchiverError, ExitCode, Problem, StorageError, failure, signal_code

if TYPE_CHECKING:
    from camarchiver.monitoring.metrics import Figure
    from camarchiver.record.fleet import Fleet, Member

Judgement: TypeAlias = tuple[Status, int, list[Problem]]
"""Status, exit code and what went wrong."""


class UnreportedProblems:
    """The problems that have not been reported yet."""

    def __init__(self, judge: Callable[[], Judgement], document: Callable[[Judgement], str]) -> None:
        """`document` makes the JSON document of a judgement."""
        self._judge = judge
        self._document = document
        self._reported: set[Problem] = set()

    def problems(self) -> list[Problem]:
        return [problem for problem in self._judge()[2] if problem not in self._reported]

    def failures(self) -> Iterable[str] | None:
        """The JSON document of the problems since the last call; None if there are none."""
        found = self.problems()
        if not found:
            return None
        self._reported &= set(self._judge()[2])
        self._reported.update(found)
        status, exit_code, _ = self._judge()
        return (self._document((status, exit_code, found)),)


def figures_of(fleet: Fleet) -> Iterator[Figure]:
    """The recorders' numbers as they are now."""
    for member in fleet.members:
        yield from _figures(member)


def _figures(member: Member) -> Iterator[Figure]:
    from camarchiver.monitoring import metrics, tree_gauges

    recorder, publisher = member.recorder, member.publisher
    totals = publisher.totals
    recording = metrics.Recording(
        frames=recorder.frames,
        lost=totals.lost,
        published=totals.published + publisher.salvaged.count,
        failed=totals.failed,
        seconds=totals.seconds,
        outages=recorder.outages,
        refusals=recorder.refused,
        last_frame=recorder.last_frame,
        connected=recorder.is_connected,
    )
    yield from metrics.of_recording(recording, member.name)
    yield from member.keeper.totals.figures()
    yield from metrics.RemovalTotals(member.keeper.left).figures()
    folders = publisher.folders
    yield from metrics.of_free_spaces(
        tree_gauges.free_spaces(("spool", folders.spool), ("outbox", folders.outbox))
    )


def problem_of(member: Member) -> CamarchiverError | OSError | None:
    """The error that ended a member before it was asked to end; None if there is none."""
    recorder = member.recorder
    if member.error is None and recorder.error:
        return StorageError(f"{member.source.name} can't be read on: {recorder.error}")
    return member.error


def judged(fleet: Fleet, signal: int | None) -> Judgement:
    """Status and exit code of the camera with the worst result, and the problems of all cameras."""
    each = [judged_member(member) for member in fleet.members]
    each += [(Status.FAILED, *failed(error)) for error in fleet.failures.values()]
    problems = [problem for one in each for problem in one[2]]
    if signal is not None:
        return Status.STOPPED, signal_code(signal), problems
    status, exit_code, _ = max(each, key=lambda one: _RANK.get(one[1], len(_RANK)))
    if status is Status.FAILED and any(one[0] in (Status.DONE, Status.PARTIAL) for one in each):
        status = Status.PARTIAL
    if status is Status.NOTHING and any(one[0] is Status.DONE for one in each):
        status = Status.DONE
    return status, exit_code, problems


_RANK: dict[int, int] = {ExitCode.DONE: 0, ExitCode.PARTIAL: 1, ExitCode.FAILED: 2}
"""Severity of exit codes; all others are worse."""


def failed(error: CamarchiverError | OSError) -> tuple[ExitCode, list[Problem]]:
    """Exit code and problem of a camera that could not start."""
    problem, exit_code = failure(error)
    return exit_code, [problem]


def judged_member(member: Member) -> Judgement:
    """Status, exit code and problems of one camera so far."""
    clips, totals = member.publisher.clips, member.publisher.totals
    # read first: a clip that ends meanwhile is then listed and does not count as an earlier one
    with_errors = totals.with_errors
    problems = [Problem("failed", f"{clip.path}: {clip.error}") for clip in clips if clip.error]
    if (earlier := with_errors - len(problems)) > 0:
        problems.append(Problem("failed", "earlier clips had errors, too", f"the log names {earlier:,} more"))
    problems += [Problem("failed", text) for text in member.keeper.problems]
    if (error := problem_of(member)) is not None:
        problems += failed(error)[1]
    if member.recorder.refused:
        problems.append(Problem(StorageError.code, "there was too little room to record", "free some space"))
    if not problems:
        return (Status.DONE if clips.count else Status.NOTHING), ExitCode.DONE, problems
    if totals.published:
        return Status.PARTIAL, ExitCode.PARTIAL, problems
    storage = all(problem.code == StorageError.code for problem in problems)
    return Status.FAILED, ExitCode.STORAGE if storage else ExitCode.FAILED, problems
