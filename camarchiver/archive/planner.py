"""Makes the plan of `archive`: decides for every clip below the source, counts them and orders them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from camarchiver.discovery import walks
from camarchiver.domain.clip import Disposal
from camarchiver.domain.plan import Group, Plan, Tally, Total
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Keep, Remove
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy, decide_archive
from camarchiver.policy.doubtful_clocks import DoubtfulClips
from camarchiver.policy.ordering import order_key, within_limit
from camarchiver.runtime.external_sort import SealedSequence


def plan(pipeline: Pipeline, policy: ArchivePolicy, *, list_all: bool) -> ArchivePlan:
    """Decide for every clip below the source; changes nothing.

    With `list_all` the files left alone are also listed; otherwise they are only counted.
    """
    memory, now = pipeline.memory(), pipeline.started
    discovery = walks.of_source(pipeline, memory)
    tally, left, doubtful = Tally(), list[Keep](), DoubtfulClips()
    removes = policy.disposal is not Disposal.KEEP

    def changes() -> Iterator[Archive | Remove]:
        for facts in discovery.folders((now - policy.age).date()):
            for step in decide_archive(facts, policy, memory, now):
                if isinstance(step, Keep):
                    tally.add(step)
                    if step.reason is Reason.CLOCK_DOUBTFUL:
                        doubtful.add(step)
                    left.extend([step] if list_all else ())
                    continue
                if policy.limit is None:
                    tally.add(step)
                if removes and isinstance(step, Archive) and step.keeps_source:
                    doubtful.add(step)
                yield step

    steps = every = _sealed(changes())
    if policy.limit is not None:
        steps = _sealed(within_limit(every, policy.limit))
        for step in steps:
            tally.add(step)
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
        problems=(*doubtful.problems(), *walks.unreadable(tally.unreadable, totals)),
    )


def decide_some(
    pipeline: Pipeline, folder: str, names: Collection[str], policy: ArchivePolicy
) -> Iterator[Archive | Remove | Keep]:
    """Decide for a few clips of one folder, as of this moment; changes nothing.

    Raises OSError if the folder can't be read.
    """
    now, memory = pipeline.now(), pipeline.memory()
    facts = walks.of_source(pipeline, memory, now).some(folder, names)
    yield from decide_archive(facts, policy, memory, now)


def _sealed(found: Iterable[Archive | Remove]) -> SealedSequence[Archive | Remove]:
    return SealedSequence(found, key=order_key)


def _with_rest(totals: tuple[Total, ...], rest: int) -> tuple[Total, ...]:
    if not rest:
        return totals
    return (*totals, Total(Group("keep", Reason.OVER_LIMIT), rest, 0, 0.0))
