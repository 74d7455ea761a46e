"""Makes the plan of `archive`: every clip below the source decided, counted and put in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from camarchiver.discovery import Discovery
from camarchiver.model import Reason, Trees
from camarchiver.order import largest_first, order_key, within_limit
from camarchiver.plan import ArchivePlan, ArchivePolicy, Group, Memory, Plan, Tally, Total, decide_archive
from camarchiver.sealed import Sealed
from camarchiver.steps import Archive, Keep, Remove


def plan(
    trees: Trees,
    discovery: Discovery,
    policy: ArchivePolicy,
    memory: Memory,
    now: datetime,
    *,
    list_all: bool,
) -> ArchivePlan:
    """Decide for every clip below the source; changes nothing.

    `list_all` also lists the files left alone one by one, which are else only counted.
    """
    tally, left = Tally(), list[Keep]()

    def changes() -> Iterator[Archive | Remove]:
        for facts in discovery.folders((now - policy.age).date()):
            for step in decide_archive(facts, policy, memory, now):
                if isinstance(step, Keep):
                    left.extend([step] if list_all else ())
                if policy.limit is None or isinstance(step, Keep):
                    tally.add(step)
                if not isinstance(step, Keep):
                    yield step

    steps = every = Sealed(changes(), key=order_key, arrange=largest_first)
    if policy.limit is not None:
        steps = Sealed(within_limit(every, policy.limit), key=order_key, arrange=largest_first)
        for step in steps:
            tally.add(step)
    totals = _with_rest(tally.totals(), len(every) - len(steps))
    return Plan("archive", trees, now, policy, totals, steps, tuple(left), discovery.unread_folders)


def _with_rest(totals: tuple[Total, ...], rest: int) -> tuple[Total, ...]:
    if not rest:
        return totals
    return (*totals, Total(Group("keep", Reason.OVER_LIMIT), rest, 0, 0.0))
