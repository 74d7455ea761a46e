"""The first page's values: what is stored, what needs attention, and the last runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice

from msgspec.structs import replace

from camarchiver.domain.clip import Tree
from camarchiver.domain.reason import Reason
from camarchiver.offsite.status import CopyCounts
from camarchiver.page.pages import CameraPages, IndexPage, SiteQuestion, SizeLimit
from camarchiver.page.site_folder import folder_of
from camarchiver.page.site_state import DaySummary, JournalMark, SiteState
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.queries.rhythm import WINDOW
from camarchiver.queries.status import RATE, RecentDays
from camarchiver.queries.status_report import CameraFootage, CameraStatus, StatusReport
from camarchiver.state import run_history

RUNS = 8
"""Runs on the first page."""

Summaries = Mapping[str, Mapping[date, DaySummary]]
"""By camera and day."""


def overview(
    pipeline: Pipeline, report: StatusReport, state: SiteState, question: SiteQuestion, stopped: str
) -> IndexPage:
    """The first page; `report` counts only the last weeks of archive and trash, `state` knows everything.

    `stopped` is why the next cleanup would do nothing at all.
    """
    known = {each.name: each for each in report.cameras}
    summaries: Summaries = state.cameras
    names = sorted({*known, *summaries})
    shown = [name for name in names if not question.cameras or name in question.cameras]
    statuses = tuple(_status(known.get(name), name, summaries.get(name, {})) for name in shown)
    whole = replace(report, cameras=statuses, offsite=_copies(state, question))
    return IndexPage(
        [CameraPages(name, folder_of(name), summaries.get(name, {})) for name in shown],
        whole,
        tuple(islice(run_history.newest_first(pipeline.trees.state), RUNS)),
        pipeline.started,
        tuple(_limits(question.cleanup, whole)),
        stopped,
    )


def _copies(state: SiteState, question: SiteQuestion) -> dict[str, CopyCounts]:
    """By remote: the archives and copies of all days, of the cameras that are shown."""
    marks = state.journals.values()
    remotes = {remote for mark in marks for remote in mark.copies} | {question.remote} - {""}

    def of(mark: JournalMark, remote: str) -> Iterator[CopyCounts]:
        copies = mark.copies.get(remote, {})
        for camera in {*copies, *mark.archives}:
            if not question.cameras or camera in question.cameras:
                yield replace(copies.get(camera, CopyCounts()), archives=mark.archives.get(camera, 0))

    return {
        remote: sum((counts for mark in marks for counts in of(mark, remote)), CopyCounts())
        for remote in sorted(remotes)
    }


def _limits(policy: CleanupPolicy, report: StatusReport) -> Iterator[SizeLimit]:
    """Every rule by size, and how far the trees are from it."""
    used = {each.name: each.source.size + each.archive.size + each.trash.size for each in report.cameras}
    if policy.max_size is not None:
        grown = sum(disk.net_daily for disk in report.disks)
        yield SizeLimit(Reason.MAX_SIZE, policy.max_size, sum(used.values()), grown)
    for camera, limits in sorted(policy.cameras_own.items()):
        if limits.max_size is not None:
            yield SizeLimit(Reason.MAX_SIZE, limits.max_size, used.get(camera, 0), None, camera)
    if policy.min_free is not None:
        for disk in report.disks:
            yield SizeLimit(Reason.MIN_FREE, policy.min_free, disk.free, disk.net_daily, str(disk.path))


def recent_days(state: SiteState, now: datetime) -> RecentDays:
    """The part of the journal that shows whether a camera has stopped, its gaps, and what has grown."""
    wanted: set[date] = set()
    for days in state.cameras.values():
        there = (day for day, summary in days.items() if summary.clips and day <= now.date())
        newest = max(there, default=now.date())
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
