"""Prepares and carries out the plan of `archive`: tries encoders, opens workers, performs steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import planner
from camarchiver.domain.clip import Disposal
from camarchiver.domain.plan import Plan
from camarchiver.domain.report import Outcome, Report
from camarchiver.domain.steps import Archive, Restore
from camarchiver.errors import Problem
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan
from camarchiver.policy.ordering import place_among, rotated_start
from camarchiver.state import volume_marker
from camarchiver.storage import run_lock

if TYPE_CHECKING:
    # Imported where they are used: they take longer to import than a night without new clips to plan.
    from camarchiver.archive.encode import ArchiveSettings
    from camarchiver.archive.publishing import ArchiveContext
    from camarchiver.archive.source_removal import SidecarPolicy
    from camarchiver.archive.workers import ArchiveWorkers, EncodingTools
    from camarchiver.media.encoder_probe import EncoderRequest
    from camarchiver.runtime.progress import Display
    from camarchiver.runtime.signals import Stop

    OpenWorkers = Callable[[ArchiveContext, Stop, Display], AbstractContextManager[ArchiveWorkers]]
    """Prepares the workers that perform single steps, on this machine or on others."""


class Execution(Struct, frozen=True):
    """How a plan is to be carried out."""

    settings: ArchiveSettings
    sidecars: SidecarPolicy
    jobs: int | None
    """None for the rule that costs least CPU."""
    nice: int
    max_runtime: timedelta | None


class Prepared(Struct, frozen=True):
    """A plan that names the encoder, and the workers that will use it."""

    plan: ArchivePlan
    open_workers: OpenWorkers


def prepare(plan: ArchivePlan, request: EncoderRequest, how: Execution) -> Prepared:
    """Try the encoders of this machine, if the plan has a clip to encode.

    Raises EncoderError if none works.
    """
    if not any(isinstance(step, Archive) for step in plan.steps):
        return Prepared(plan, local_workers(None, how))
    tools, notes = choose_encoder(request, how.settings)
    return Prepared(replace(plan, notes=(*plan.notes, *notes)), local_workers(tools, how))


def choose_encoder(
    request: EncoderRequest, settings: ArchiveSettings
) -> tuple[EncodingTools, tuple[str, ...]]:
    """The encoder of this machine, and sentences that say which was chosen and why. Raises EncoderError."""
    from camarchiver.archive.workers import EncodingTools
    from camarchiver.media import encoder_probe

    machine, choice = encoder_probe.chosen(request, settings.encode)
    quality = settings.encode.quality or choice.encoder.quality
    preset = settings.encode.preset or choice.encoder.preset
    scale = f"{choice.encoder.quality_option} {quality}" + (f", preset {preset}" if preset else "")
    return EncodingTools(choice, machine, settings), (*choice.explanation, scale)


def local_workers(tools: EncodingTools | None, how: Execution) -> OpenWorkers:
    """The jobs of this machine; without tools they only remove archived sources."""

    def opened(
        context: ArchiveContext, stop: Stop, display: Display
    ) -> AbstractContextManager[ArchiveWorkers]:
        from camarchiver.archive import workers

        return workers.opened(context, tools, how.jobs, how.nice, stop=stop, display=display)

    return opened


class FurtherRestores(Struct, frozen=True):
    """Restores from off-site copies, which another capability carries out within the same run."""

    steps: tuple[Restore, ...]
    outcomes: Callable[[], Iterator[Outcome]]
    """Carries them out."""


def execute(
    pipeline: Pipeline,
    prepared: Prepared,
    how: Execution,
    *,
    stop: Stop,
    display: Display,
    on_outcome: Callable[[Outcome], None],
    further: FurtherRestores | None = None,
    remaining: Callable[[], tuple[Problem, ...]] = tuple,
) -> Report:
    """Carry out a plan, and then `further` steps; `on_outcome` gets every outcome as soon as it is known.

    `remaining` gives the problems that are left when the steps are done, besides those of the plan.
    """
    volume_marker.mark(pipeline.trees)
    outcomes: list[Outcome] = []
    plan = prepared.plan
    begun = pipeline.begin(plan.steps or (further.steps if further else ()))
    if plan.steps:
        for outcome in _performed(pipeline, prepared, how, stop, display):
            outcomes.append(outcome)
            on_outcome(outcome)
    others = list[Outcome]()
    for outcome in further.outcomes() if further and not stop else ():
        others.append(outcome)
        on_outcome(outcome)
    left = *planner.still_doubtful(pipeline, plan, outcomes), *remaining()
    steps = (*plan.steps, *(further.steps if further else ()))
    done: Plan[Any, Any] = replace(plan, problems=(*plan.problems, *left))
    report = begun.report(replace(done, steps=steps), (*outcomes, *others), stop)
    return replace(report, disks=planner.disks_after(pipeline, plan, outcomes))


def _performed(
    pipeline: Pipeline, prepared: Prepared, how: Execution, stop: Stop, display: Display
) -> Iterator[Outcome]:
    from camarchiver.archive import workers

    plan, limit = prepared.plan, how.max_runtime.total_seconds() if how.max_runtime else None
    disposal = plan.policy.disposal
    with working(
        pipeline, prepared.open_workers, disposal, how.sidecars, floor=plan.floor, stop=stop, display=display
    ) as ready:
        own, active = run_lock.active_runs(pipeline.trees, pipeline.run.command)
        steps = rotated_start(plan.steps, place_among(own, active))
        yield from workers.perform_all(steps, ready.perform, jobs=ready.jobs, stop=stop, max_seconds=limit)


@contextmanager
def working(
    pipeline: Pipeline,
    open_workers: OpenWorkers,
    disposal: Disposal,
    sidecars: SidecarPolicy,
    *,
    floor: int,
    stop: Stop,
    display: Display,
    keeps_folders: bool = False,
) -> Iterator[ArchiveWorkers]:
    """The workers, for the length of the block; failures are written to disk when it ends.

    `floor` is how many bytes archiving leaves free.
    """
    from camarchiver.archive.publishing import ArchiveContext
    from camarchiver.archive.source_removal import SourceRemover

    context = ArchiveContext(
        pipeline.trees,
        pipeline.archives,
        pipeline.failures,
        SourceRemover(pipeline.trees, pipeline.writer, sidecars),
        pipeline.writer,
        pipeline.holds,
        disposal,
        floor,
        keeps_folders,
        pipeline.conventions.views,
    )
    with open_workers(context, stop, display) as ready:
        yield ready
    pipeline.failures.flush()
