"""The first page's values: what is stored, what needs attention, and the last runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import islice

from camarchiver.domain.clip import Tree
from camarchiver.page.pages import CameraPages, IndexPage
from camarchiver.page.site_folder import folder_of
from camarchiver.page.site_state import DaySummary, SiteState
from camarchiver.pipeline import Pipeline
from camarchiver.queries.rhythm import WINDOW
from camarchiver.queries.status import RATE, RecentDays
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


def recent_days(state: SiteState, now: datetime) -> RecentDays:
    """The part of the journal that shows whether a camera has stopped, its gaps, and what has grown."""
    wanted: set[date] = set()
    for days in state.cameras.values():
        newest = max((day for day in days if day <= now.date()), default=now.date())
        wanted |= {newest - timedelta(days=each) for each in range(WINDOW.days + 2)}
    since, grown = (now - RATE).date(), Counter[Tree]()
    for day, mark in state.journals.items():
        if day not in wanted:
            for at, sizes in mark.grown.items():
                if at >= since:
                    grown.update(sizes)
    return RecentDays(sorted(wanted & state.journals.keys()), grown)


def _status(known: CameraStatus | None, name: str, days: Mapping[date, DaySummary]) -> CameraStatus:
    """The status of a camera, with the totals of all its days."""
    status = known or CameraStatus(name)
    newest = max((day.newest for day in days.values() if day.newest is not None), default=None)
    return replace(
        status,
        last=status.last or newest,
        archive=_footage(status.archive, days.values(), Tree.ARCHIVE),
        trash=_footage(status.trash, days.values(), Tree.TRASH),
    )


def _footage(recent: CameraFootage, days: Iterable[DaySummary], tree: Tree) -> CameraFootage:
    totals = [day.trees[tree] for day in days if tree in day.trees]
    return replace(recent, clips=sum(each.clips for each in totals), size=sum(each.size for each in totals))
