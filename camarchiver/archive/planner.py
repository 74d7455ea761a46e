"""Makes the plan of `archive`: every clip below the source decided, counted and put in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Trees
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Group, Plan, Tally, Total
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep, Remove
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy, decide_archive
from camarchiver.policy.ordering import largest_first, order_key, within_limit
from camarchiver.storage.external_sort import SealedSequence


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
                    tally.add(step)
                    left.extend([step] if list_all else ())
                    continue
                if policy.limit is None:
                    tally.add(step)
                yield step

    steps = every = _sealed(changes())
    if policy.limit is not None:
        steps = _sealed(within_limit(every, policy.limit))
        for step in steps:
            tally.add(step)
    totals = _with_rest(tally.totals(), len(every) - len(steps))
    return Plan("archive", trees, now, policy, totals, steps, tuple(left), discovery.unread_folders)


def _sealed(found: Iterable[Archive | Remove]) -> SealedSequence[Archive | Remove]:
    return SealedSequence(found, key=order_key, arrange=largest_first)


def _with_rest(totals: tuple[Total, ...], rest: int) -> tuple[Total, ...]:
    if not rest:
        return totals
    return (*totals, Total(Group("keep", Reason.OVER_LIMIT), rest, 0, 0.0))
