"""Makes the plan of `archive`: decides for every clip below the source, counts them and orders them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from msgspec.structs import replace

from camarchiver.archive.rearchive import reencoding
from camarchiver.discovery import walks
from camarchiver.domain.clip import Disposal
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.plan import Forecast, Group, Plan, Tally, Total
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import DiskUse, Outcome, Result
from camarchiver.domain.steps import Archive, ArchiveStep, Keep, RemoveSource
from camarchiver.errors import Problem
from camarchiver.journal.store import Journal
from camarchiver.pipeline import Pipeline
from camarchiver.policy import room_rules
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy, decide_archive
from camarchiver.policy.doubtful_clocks import DoubtfulClips
from camarchiver.policy.ordering import order_key, within_limit
from camarchiver.policy.room_rules import RoomTally, TreeDisks
from camarchiver.runtime.external_sort import SealedSequence
from camarchiver.state import run_history
from camarchiver.storage import filesystems

UPLOAD_DAYS = 14
"""Days of footage, the newest of the journal, by which the uploads of a night are estimated."""


def plan(pipeline: Pipeline, policy: ArchivePolicy, *, list_all: bool) -> ArchivePlan:
    """Decide for every clip below the source; changes nothing.

    With `list_all` the files left alone are also listed; otherwise they are only counted.
    """
    memory, now = pipeline.memory(), pipeline.started
    discovery = walks.of_source(pipeline, memory)
    tally, left, doubtful = Tally(), list[Keep](), DoubtfulClips()
    removes = policy.disposal is not Disposal.KEEP
    room = _room_tally(pipeline, policy)

    def decisions() -> Iterator[Archive | RemoveSource | Keep]:
        for facts in discovery.folders((now - policy.age).date()):
            yield from decide_archive(facts, policy, memory, now)
        if policy.repeat:
            yield from reencoding.steps(pipeline, policy, memory)

    def changes() -> Iterator[ArchiveStep]:
        for step in decisions():
            if isinstance(step, Keep):
                tally.add(step)
                if step.reason is Reason.CLOCK_DOUBTFUL:
                    doubtful.add(step)
                left.extend([step] if list_all else ())
                continue
            if policy.limit is None:
                tally.add(step)
                room.add(step)
            if removes and _is_sure_to_stay(step):
                doubtful.add(step)
            yield step

    steps = every = _sealed(changes())
    if policy.limit is not None:
        steps = _sealed(within_limit(every, policy.limit))
        for step in steps:
            tally.add(step)
            room.add(step)
    totals = _with_rest(tally.totals(), len(every) - len(steps))
    return Plan(
        "archive",
        pipeline.trees,
        now,
        policy,
        totals,
        steps,
        tuple(left),
        discovery.unread_folders,
        forecast=_forecast(pipeline, policy, room) if steps else (),
        problems=(*doubtful.problems(), *walks.unreadable(tally.unreadable, totals)),
    )


def _is_sure_to_stay(step: ArchiveStep) -> bool:
    """Whether the clock of a clip is doubtful and no archive of the same bytes can change that."""
    return isinstance(step, Archive) and step.keeps_source and step.reason is not Reason.PERHAPS_ARCHIVED


def still_doubtful(pipeline: Pipeline, plan: ArchivePlan, outcomes: Iterable[Outcome]) -> tuple[Problem, ...]:
    """Doubtful clips that might have had an archive of the same bytes and had none, so that they stay."""
    doubtful = DoubtfulClips()
    for outcome in outcomes if plan.policy.disposal is not Disposal.KEEP else ():
        step = outcome.step
        if not isinstance(step, Archive) or not step.keeps_source or _is_sure_to_stay(step):
            continue
        if outcome.result is Result.DONE and is_doubtful(pipeline.archives.dated(step.clip), plan.now):
            doubtful.add(step)
    return doubtful.problems()


def decide_some(
    pipeline: Pipeline, folder: str, names: Collection[str], policy: ArchivePolicy
) -> Iterator[Archive | RemoveSource | Keep]:
    """Decide for a few clips of one folder, as of this moment; changes nothing.

    Raises OSError if the folder can't be read.
    """
    now, memory = pipeline.now(), pipeline.memory()
    facts = walks.of_source(pipeline, memory, now).some(folder, names)
    yield from decide_archive(facts, policy, memory, now)


def free_floor(pipeline: Pipeline, policy: ArchivePolicy) -> int:
    """Bytes that archiving leaves free on the archive's disk. Raises StorageError if that is unknown."""
    trees, disks = pipeline.trees, _tree_disks(pipeline)
    total = filesystems.space(trees.archive).total
    if disks.frees(policy.disposal):
        return room_rules.least_free(total)
    are_uploaded_there = disks.source == disks.archive
    nightly = _nightly_bytes(pipeline.journal) if are_uploaded_there else None
    return room_rules.floor(policy.min_free, total, nightly)


def is_short_of_room(pipeline: Pipeline, plan: ArchivePlan) -> bool:
    """Whether the archive's disk probably lacks the room that a plan needs, and the trash lies on it."""
    disks = _tree_disks(pipeline)
    return disks.trash == disks.archive and any(each.is_short for each in plan.forecast)


def with_present_room(plan: ArchivePlan) -> ArchivePlan:
    """The plan with what is free on its disks now."""
    now = tuple(replace(each, free=filesystems.free_bytes(each.path)) for each in plan.forecast)
    return replace(plan, forecast=now)


def disks_after(pipeline: Pipeline, plan: ArchivePlan, outcomes: Iterable[Outcome]) -> tuple[DiskUse, ...]:
    """What a run has left of each filesystem that its plan concerned."""
    more = room_rules.used_more(outcomes, _tree_disks(pipeline))
    return tuple(
        DiskUse(
            each.path,
            each.free,
            filesystems.free_bytes(each.path),
            more[filesystems.device_of(each.path)],
            each.expires,
        )
        for each in plan.forecast
    )


def _tree_disks(pipeline: Pipeline) -> TreeDisks:
    trees = pipeline.trees
    return TreeDisks(*map(filesystems.device_of, (trees.source, trees.archive, trees.trash)))


def _room_tally(pipeline: Pipeline, policy: ArchivePolicy) -> RoomTally:
    share = run_history.archived_share(pipeline.trees.state) or 1.0
    return RoomTally(policy.disposal, _tree_disks(pipeline), share)


def _forecast(pipeline: Pipeline, policy: ArchivePolicy, room: RoomTally) -> tuple[Forecast, ...]:
    """One for each filesystem that a root lies on."""
    trees, floor = pipeline.trees, free_floor(pipeline, policy)
    disks = _tree_disks(pipeline)
    found: dict[int, Forecast] = {}
    for root in (trees.source, trees.archive, trees.trash):
        device = filesystems.device_of(root)
        if device in found:
            continue
        trashed = room.trashed[device]
        found[device] = Forecast(
            root,
            filesystems.free_bytes(root),
            room.freed[device],
            trashed,
            (pipeline.started + policy.trash_age).date() if trashed else None,
            floor if device == disks.archive and room.largest else 0,
            room.largest,
            is_estimate=True,
        )
    return tuple(found.values())


def _sealed(found: Iterable[ArchiveStep]) -> SealedSequence[ArchiveStep]:
    return SealedSequence(found, key=order_key)


def _with_rest(totals: tuple[Total, ...], rest: int) -> tuple[Total, ...]:
    if not rest:
        return totals
    return (*totals, Total(Group("keep", Reason.OVER_LIMIT), rest, 0, 0.0))


def _nightly_bytes(journal: Journal) -> int | None:
    """Bytes that the cameras record from one nightly run to the next; None before anything was archived."""
    days = journal.days()[-UPLOAD_DAYS:]
    if not days:
        return None
    total = 0
    for day in days:
        archived = journal.day(day).archived.values()
        total += sum(entries[-1].size for entries in archived)
    return total // ((days[-1] - days[0]) // timedelta(days=1) + 1)
