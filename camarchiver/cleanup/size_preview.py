"""What the rules by size would remove if `cleanup` ran now, taken from its plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date

from msgspec import Struct, field

from camarchiver.cleanup import planner
from camarchiver.domain.clip import Tree
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import RemoveCopy
from camarchiver.errors import CamarchiverError
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.policy.removal_forecast import ForecastRemoval

BY_SIZE = frozenset({Reason.MAX_SIZE, Reason.MIN_FREE, Reason.FREE})
"""The reasons of rules by size."""


class SizePreview(Struct, frozen=True):
    """What the next cleanup removes by size; what later ones do depends on what is recorded until then."""

    removals: Mapping[tuple[Tree, str], ForecastRemoval] = field(default_factory=dict)
    """By tree and path there. A plan that is not refused is limited by its brakes, and so is this."""
    days: Mapping[date, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    """By the day of the clips' names: tree, path and reason of what is removed of it."""
    stopped: str = ""
    """Why that cleanup would do nothing at all."""


def preview(pipeline: Pipeline, policy: CleanupPolicy, remote: str) -> SizePreview:
    """Make the plan, if the policy has a rule by size; off-site copies at `remote` may count."""
    if not policy.has_size_rules:
        return SizePreview()
    try:
        plan = planner.plan(pipeline, policy, list_all=False, remote=remote)
    except CamarchiverError as error:
        return SizePreview(stopped=error.message)
    if plan.refused is not None:
        return SizePreview(stopped=plan.problems[0].message)
    removals: dict[tuple[Tree, str], ForecastRemoval] = {}
    days: dict[date, list[tuple[str, ...]]] = defaultdict(list)
    for step in plan.steps:
        if isinstance(step, RemoveCopy) and step.reason in BY_SIZE:
            place = step.clip.place or step.clip.relative
            removals[step.tree, place] = ForecastRemoval(pipeline.started, step.disposal, step.reason)
            days[step.clip.start.date()].append((step.tree, place, step.reason))
    return SizePreview(removals, {day: tuple(sorted(found)) for day, found in days.items()})
