"""What a recorder has to tell: its numbers, how it is doing, and what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from camarchiver import document
from camarchiver.errors import StorageError
from camarchiver.model import Problem, Status

if TYPE_CHECKING:
    from camarchiver.cameras import Camera
    from camarchiver.delivery import Delivery, Recorded
    from camarchiver.figures import Figure
    from camarchiver.recorder import Recorder
    from camarchiver.upkeep import Upkeep


class News:
    """What went wrong and has not been told yet."""

    def __init__(self, judge: Callable[[], tuple[Status, int, list[Problem]]], run: str) -> None:
        self._judge = judge
        self._run = run
        self._told: set[Problem] = set()

    def untold(self) -> list[Problem]:
        return [problem for problem in self._judge()[2] if problem not in self._told]

    def failures(self) -> Iterable[str] | None:
        """The JSON document of what went wrong since it was last asked for; None where nothing did."""
        found = self.untold()
        if not found:
            return None
        self._told.update(found)
        status, exit_code, _ = self._judge()
        return (document.recorded({"dry_run": False, "clips": []}, self._run, status, exit_code, found),)


def figures_of(recorder: Recorder, delivery: Delivery, upkeep: Upkeep, name: str) -> Iterator[Figure]:
    """The recorder's numbers as they are now."""
    from camarchiver import figures, vitals

    clips = tuple(delivery.clips)
    published = [clip for clip in clips if clip.published]
    recording = figures.Recording(
        frames=recorder.frames,
        lost=sum(clip.lost for clip in clips),
        published=len(published) + len(delivery.salvaged),
        failed=len(clips) - len(published),
        seconds=sum(clip.seconds for clip in published),
        outages=recorder.outages,
        refusals=recorder.refused,
        last_frame=recorder.last_frame,
        connected=recorder.is_connected,
    )
    yield from figures.of_recording(recording, name)
    yield from figures.Sums(tuple(upkeep.outcomes)).figures()
    folders = delivery.folders
    yield from figures.of_rooms(vitals.rooms(("spool", folders.spool), ("outbox", folders.outbox)))


def judged(
    recorder: Recorder, clips: list[Recorded], upkeep: Upkeep, source: Camera, signal: int | None
) -> tuple[Status, int, list[Problem]]:
    """Status, exit code and what went wrong, as the design's table has it."""
    problems = [Problem("failed", f"{clip.path}: {clip.error}") for clip in clips if clip.error]
    problems += [Problem("failed", trouble) for trouble in upkeep.troubles]
    if recorder.error:
        problems.append(Problem(StorageError.code, f"{source.name} can't be read on: {recorder.error}"))
    if recorder.refused:
        problems.append(Problem(StorageError.code, "there was too little room to record", "free some space"))
    if signal is not None:
        return Status.STOPPED, 128 + signal, problems
    if not problems:
        return (Status.DONE if clips else Status.NOTHING), 0, problems
    if any(clip.published for clip in clips):
        return Status.PARTIAL, 3, problems
    storage = all(problem.code == StorageError.code for problem in problems)
    return Status.FAILED, StorageError.exit_code if storage else 1, problems
