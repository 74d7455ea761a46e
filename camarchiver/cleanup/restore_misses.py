"""Refuses a selection for `restore` of which a part matches nothing, and names what is nearest."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from camarchiver.cleanup import restore
from camarchiver.cleanup.restore import RestorePlan, Selection, is_named
from camarchiver.config import nearest
from camarchiver.domain.steps import Restore
from camarchiver.errors import NotFound
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.formatting import shown
from camarchiver.state import run_history

LISTED = 5
"""Runs that are named if a prefix fits several."""

_HINT = "camarchiver restore --list shows what can be restored, camarchiver runs the runs"


def whole_run_id(pipeline: Pipeline, run: str) -> str:
    """The id of the run of which this is the beginning. Raises NotFound if there is none, or several."""
    known = {record.run for record in run_history.newest_first(pipeline.trees.state)}
    if run in known:
        return run
    known |= _runs_of_journal(pipeline)
    fitting = sorted(each for each in known if each.startswith(run))
    if run in known or len(fitting) == 1:
        return run if run in known else fitting[0]
    if fitting:
        raise NotFound(f"{shown(run)} begins several runs: {', '.join(fitting[:LISTED])}", hint=_HINT)
    raise NotFound(f"there is no run {shown(run)}{nearest(run, known)}", hint=_HINT)


def _runs_of_journal(pipeline: Pipeline) -> set[str]:
    journal = pipeline.journal
    return {event.run for day in journal.days() for event in journal.day(day).events if event.trash}


def check(pipeline: Pipeline, plan: RestorePlan) -> None:
    """Raises NotFound if a path that was named selects nothing, or the whole selection does."""
    selection = plan.policy
    for path in selection.paths:
        places = (_homes(pipeline, step) for step in plan.steps)
        if not (any(is_named(each, path) for each in places) or _selects(pipeline, plan, path)):
            words = f"nothing in the trash came from {shown(path)}"
            if os.path.lexists(path):
                raise NotFound(f"{words}, which is in its place", hint=_HINT)
            steps = restore.plan(pipeline, Selection()).steps
            homes = [place for step in steps for place in _homes(pipeline, step)]
            raise NotFound(words + nearest_path(path, homes), hint=_HINT)
    if plan.steps or selection == Selection():
        return
    if selection.run:
        raise NotFound(f"nothing that run {selection.run} removed is in the trash any more", hint=_HINT)
    cameras = {step.camera for step in restore.plan(pipeline, Selection()).steps}
    near = nearest(selection.camera, cameras) if selection.camera not in cameras else ""
    raise NotFound(f"nothing in the trash fits that selection{near}", hint=_HINT)


def _selects(pipeline: Pipeline, plan: RestorePlan, path: Path) -> bool:
    """Whether the path selects anything, also as the path of an archive."""
    return bool(restore.plan(pipeline, replace(plan.policy, paths=(path,))).steps)


def _homes(pipeline: Pipeline, step: Restore) -> tuple[Path, ...]:
    """Where a file came from, and where it is."""
    return step.path, pipeline.trees.trash / step.trash


def nearest_path(path: Path, places: Sequence[Path]) -> str:
    """A question that suggests the file that was probably meant, of the same folder or the same name."""
    same_name = (place for place in places if place.name == path.name)
    found = next(same_name, None) or _similar(path, (p for p in places if p.parent == path.parent))
    return f"; did you mean {shown(found)}?" if found else ""


def _similar(path: Path, places: Iterable[Path]) -> Path | None:
    names: dict[str, Path] = dict(_by_name(places))
    close = difflib.get_close_matches(path.name, names, n=1)
    return names[close[0]] if close else None


def _by_name(places: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    return ((place.name, place) for place in places)
