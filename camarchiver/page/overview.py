"""The first page's values: what is stored, what needs attention, and the last runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from itertools import islice

from camarchiver.domain.clip import Tree
from camarchiver.page.pages import CameraPages, IndexPage
from camarchiver.page.site_folder import folder_of
from camarchiver.page.site_state import DaySummary
from camarchiver.pipeline import Pipeline
from camarchiver.queries.status_report import CameraFootage, CameraStatus, StatusReport
from camarchiver.state import run_history

RUNS = 8
"""Runs on the first page."""

Summaries = Mapping[str, Mapping[date, DaySummary]]
"""By camera and day."""


def overview(
    pipeline: Pipeline, report: StatusReport, summaries: Summaries, cameras: Collection[str]
) -> IndexPage:
    """The first page; `report` counts only the last weeks of archive and trash, `summaries` everything.

    `cameras` are those that are shown; empty for all.
    """
    known = {each.name: each for each in report.cameras}
    names = sorted({*known, *summaries})
    shown = [name for name in names if not cameras or name in cameras]
    statuses = tuple(_status(known.get(name), name, summaries.get(name, {})) for name in shown)
    return IndexPage(
        [CameraPages(name, folder_of(name), summaries.get(name, {})) for name in shown],
        replace(report, cameras=statuses),
        tuple(islice(run_history.newest_first(pipeline.trees.state), RUNS)),
        pipeline.started,
    )


def _status(known: CameraStatus | None, name: str, days: Mapping[date, DaySummary]) -> CameraStatus:
    """The status of a camera, with the totals of all its days."""
    status = known or CameraStatus(name)
    return replace(
        status,
        archive=_footage(status.archive, days.values(), Tree.ARCHIVE),
        trash=_footage(status.trash, days.values(), Tree.TRASH),
    )


def _footage(recent: CameraFootage, days: Iterable[DaySummary], tree: Tree) -> CameraFootage:
    totals = [day.trees[tree] for day in days if tree in day.trees]
    return replace(recent, clips=sum(each.clips for each in totals), size=sum(each.size for each in totals))
