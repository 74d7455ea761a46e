"""Repairs archives for `verify --repair`: from local copies, and the rest from off-site copies."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import executor
from camarchiver.archive.executor import Execution, FurtherRestores, Prepared
from camarchiver.archive.rearchive import repair
from camarchiver.cleanup import offsite_restore
from camarchiver.cleanup.offsite_copies import OffsiteAccess
from camarchiver.cleanup.offsite_restore import OffsiteRestorer
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.steps import Restore
from camarchiver.errors import CamarchiverError, Problem
from camarchiver.journal.ledger import ExpectedArchive
from camarchiver.offsite.rclone import remote as remotes
from camarchiver.offsite.transfers import RunObserver, TransferProgress
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings
from camarchiver.storage import removal

if TYPE_CHECKING:
    from camarchiver.media.encoder_probe import EncoderRequest


class PreparedRepair(Struct, frozen=True):
    """A repair that can be carried out."""

    local: Prepared
    """Archives that are made again from local copies."""
    back: tuple[Restore, ...]
    """Archives that can't be made again from a local copy, and come back from their off-site copies."""
    plan: Plan[Any, ArchivePolicy]
    """The steps of both."""


def plan(
    pipeline: Pipeline,
    damaged: Sequence[ExpectedArchive],
    access: OffsiteAccess,
    request: EncoderRequest,
    how: Execution,
    stop: Stop,
) -> PreparedRepair:
    """Decide how each damaged archive is repaired, and try the encoders; changes nothing.

    Raises EncoderError if an archive is to be made and no encoder works.
    """
    planned = repair.plan(pipeline, damaged, stop)
    # The off-site copy is the last source: reading it may cost money, and takes long.
    back = offsite_restore.repairs(pipeline, damaged, planned.left, access.label)
    planned = repair.without(planned, {step.relative for step in back}) if back else planned
    local = executor.prepare(planned, request, how)
    whole: Plan[Any, ArchivePolicy] = local.plan
    steps, tally = (*whole.steps, *back), Tally()
    for step in (*steps, *whole.left):
        tally.add(step)
    return PreparedRepair(local, back, replace(whole, steps=steps, totals=tally.totals()))


def execute(
    pipeline: Pipeline,
    prepared: PreparedRepair,
    access: OffsiteAccess,
    how: Execution,
    observer: RunObserver,
    problems_of: Callable[[Collection[str]], tuple[Problem, ...]],
) -> Report:
    """Carry out a repair.

    `problems_of` gives the problems for the report if these archives are still damaged at the end. It is not
    asked about those that the plan left alone: the plan has a problem for them.
    """
    left = {kept.relative for kept in prepared.plan.left}

    def remaining() -> tuple[Problem, ...]:
        return problems_of(findings.read(pipeline.trees.state).damaged.keys() - left)

    # Two names of one file share an archive, which only one step may move aside at a time.
    is_shared = any(step.clip.links > 1 for step in prepared.local.plan.steps)
    return executor.execute(
        pipeline,
        prepared.local,
        replace(how, jobs=1) if is_shared else how,
        stop=observer.stop,
        display=observer.display,
        on_outcome=observer.on_outcome,
        further=FurtherRestores(
            prepared.back, partial(_brought_back, pipeline, access, prepared.back, observer)
        ),
        remaining=remaining,
    )


def _brought_back(
    pipeline: Pipeline, access: OffsiteAccess, steps: Sequence[Restore], observer: RunObserver
) -> Iterator[Outcome]:
    """The outcomes of the steps from off-site copies; a remote that can't be used fails each of them."""
    if not steps:
        return
    done = set[str]()
    try:
        with remotes.opened(access.rclone) as remote:
            restorer = OffsiteRestorer(pipeline, remote, observer.stop)
            progress = TransferProgress(remote, restorer.transfers, observer.display)
            for outcome in restorer.run(steps):
                if outcome is None:
                    progress.look()
                    continue
                done.add(outcome.step.relative)
                progress.done(outcome.step.size)
                yield outcome
        ended_by: CamarchiverError | None = restorer.transfers.ended_by
    except CamarchiverError as error:
        ended_by = error
    if ended_by is not None:
        yield from (removal.outcome_of(step, ended_by) for step in steps if step.relative not in done)
