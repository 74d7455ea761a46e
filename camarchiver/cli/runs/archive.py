"""The part of a run that is specific to `archive`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta, tzinfo
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import executor, planner
from camarchiver.archive.executor import Execution, Prepared
from camarchiver.cli.runs.template import IncludedRun, Ready, RunOptions, RunTask, ready_plan, run_task
from camarchiver.cli.session import TreeOptions, log_of, nothing_to_work_on, run_locked, unknown_cameras
from camarchiver.cli.types import GivenTime
from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.conventions import Conventions
from camarchiver.errors import UsageError
from camarchiver.monitoring.channels import Channels
from camarchiver.output import no_work_text
from camarchiver.output import text as text_output
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ANY_CAMERA, ArchivePlan, ArchivePolicy, RawRates, SignedRule
from camarchiver.runtime import clock, formatting
from camarchiver.runtime.signals import Stop
from camarchiver.state import run_history, volume_marker

if TYPE_CHECKING:
    from camarchiver.cleanup.offsite_copies import OffsiteAccess
    from camarchiver.cli.runs.page import PageTask
    from camarchiver.media.encoder_probe import EncoderRequest
    from camarchiver.offsite.executor import TransferSettings
    from camarchiver.policy.cleanup_rules import CleanupPolicy
    from camarchiver.policy.offsite_rules import OffsitePolicy


class OffsiteRun(Struct, frozen=True):
    """The `offsite sync` after archiving."""

    settings: TransferSettings
    policy: OffsitePolicy


NIGHT = timedelta(hours=6)
"""The length of a nightly run without `--max-runtime`."""
SEARCH_SECONDS = 0.5
"""For a camera of the config that the plan does not have. A journal of years takes longer to read; `cleanup`,
`config check` and `doctor` read it."""


class ArchiveOptions(Struct, frozen=True):
    """The command line of `archive`, parsed."""

    directory: Path
    output: Path | None
    trash_root: Path | None
    age: timedelta
    cameras: tuple[str, ...]
    exclude: tuple[str, ...]
    since: GivenTime | None
    until: GivenTime | None
    min_size: int
    limit: int | None
    max_runtime: timedelta | None
    no_skip: bool
    retry_failed: bool
    same_content: str
    min_free: int | None
    trash_age: timedelta
    delete: bool
    keep_source: bool
    sidecar: str
    encoder: str
    codec: str
    quality: int | None
    preset: str | None
    max_height: int | None
    audio: str
    verify: str
    min_saving: float
    signed: SignedRule
    raw_rate: RawRates
    device: Path | None
    ffmpeg: Path | None
    jobs: int | None
    scheduler: str | None
    nice: int
    dry_run: bool
    no_confirm: bool
    timezone: str
    log_file: Path | None
    channels: Channels
    as_json: bool
    quiet: bool
    verbose: bool
    cleanup: CleanupPolicy | None
    """What the cleanup afterwards keeps; None for no cleanup."""
    access: OffsiteAccess | None = None
    """How that cleanup reaches off-site copies."""
    offsite: OffsiteRun | None = None
    """The off-site copies that are made afterwards."""
    page: PageTask | None = None
    """The pages that are written afterwards."""

    def run(self) -> RunOptions:
        """The options that every run has."""
        return RunOptions(
            self.dry_run,
            self.no_confirm,
            self.as_json,
            self.quiet,
            self.verbose,
            self.log_file,
            self.channels,
        )

    def place(self) -> TreeOptions:
        """The trees and their zone."""
        return TreeOptions(self.directory, self.output, self.trash_root, self.timezone)

    def trees(self) -> Trees:
        """The three roots, absolute and free of symbolic links."""
        return self.place().trees()

    def policy(self, zone: tzinfo) -> ArchivePolicy:
        """What to archive, and what to do with the sources. Raises UsageError."""
        if self.delete and self.keep_source:
            raise UsageError("--delete and --keep-source exclude each other", hint="choose one of them")
        if self.delete and self.age < timedelta(days=1):
            raise UsageError(
                "--delete with an age below one day is refused: what goes wrong could not be undone",
                hint="leave --delete out (the trash keeps the sources), or set --age 1 or more",
            )
        return ArchivePolicy(
            age=self.age,
            disposal=Disposal.KEEP
            if self.keep_source
            else Disposal.DELETE
            if self.delete
            else Disposal.TRASH,
            repeat=self.no_skip,
            again_codec=self.codec if self.codec != "auto" and self.scheduler is None else None,
            retry_failed=self.retry_failed,
            cameras=frozenset(self.cameras),
            exclude=self.exclude,
            since=_aware(self.since.start if self.since else None, zone),
            until=_aware(self.until.limit if self.until else None, zone),
            min_size=self.min_size,
            limit=self.limit,
            signed=self.signed,
            raw_rates=self.raw_rate,
            min_free=self.min_free,
            trash_age=self.trash_age,
            any_camera=self.same_content == ANY_CAMERA,
        )

    def execution(self) -> Execution:
        """How to archive."""
        from camarchiver.archive.encode import ArchiveSettings
        from camarchiver.archive.source_removal import SidecarPolicy
        from camarchiver.media.encoders import EncodeSettings

        settings = EncodeSettings(self.quality, self.preset, self.max_height, self.audio)  # type: ignore[arg-type]  # click.Choice
        archive_settings = ArchiveSettings(
            settings, self.verify == "full", self.min_saving / 100, self.signed, self.raw_rate
        )
        return Execution(
            archive_settings, SidecarPolicy(self.sidecar), self.jobs, self.nice, self.max_runtime
        )

    def request(self) -> EncoderRequest:
        """Which encoder is wanted."""
        from camarchiver.media.encoder_probe import EncoderRequest
        from camarchiver.media.encoders import Backend

        backend = None if self.encoder == "auto" else Backend(self.encoder)
        codec = None if self.codec == "auto" else self.codec
        return EncoderRequest(backend, codec, self.device, self.ffmpeg)  # type: ignore[arg-type]  # click.Choice


def run_archive(options: ArchiveOptions, conventions: Conventions) -> int:
    """Run `archive` and return its exit code."""
    source = str(options.trees().source)
    return run_task("archive", options.run(), lambda: _task(options, conventions), source=source)


def _task(options: ArchiveOptions, conventions: Conventions) -> RunTask:
    zone = clock.zone(options.timezone)
    policy, run = options.policy(zone), options.run()
    pipeline = Pipeline(options.trees(), zone, "archive", conventions)
    following = tuple(_following(options, pipeline, conventions))

    @cache
    def first_plan() -> ArchivePlan:
        return planner.plan(pipeline, policy, list_all=run.lists_all)

    def preceding() -> IncludedRun | None:
        if options.cleanup is None or not planner.is_short_of_room(pipeline, first_plan()):
            return None
        make = partial(_cleanup_task, options, options.cleanup.for_room(), pipeline, conventions)
        return IncludedRun("cleanup_first", make)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = planner.with_present_room(first_plan())
        notes = unknown_cameras(pipeline, pipeline.conventions.cameras, plan, SEARCH_SECONDS)
        with _prepared(options, pipeline, plan) as prepared:
            yield ready_plan(
                prepared.plan,
                pipeline.run.id,
                lambda stop, shown, report: executor.execute(
                    pipeline, prepared, options.execution(), stop=stop, display=shown, on_outcome=report
                ),
                lines=lambda: chain(_plan_lines(options, pipeline, prepared.plan), _as_lines(notes)),
                likely_mistakes=lambda: (*_likely_mistakes(pipeline, plan), *_as_lines(notes)),
                notes=notes,
            )

    return RunTask(
        "archive",
        pipeline.run.id,
        planned,
        lock=partial(run_locked, pipeline),
        log_file=log_of(pipeline.trees),
        trees=pipeline.trees,
        consent="--delete" if options.delete else "--cleanup" if options.cleanup else "",
        check=partial(
            volume_marker.check_writable, pipeline.trees, removes=policy.disposal is not Disposal.KEEP
        ),
        nothing_to_work_on=lambda: nothing_to_work_on(pipeline),
        sweep=lambda: _sweep(options, pipeline),
        following=following,
        preceding=preceding,
    )


def _following(
    options: ArchiveOptions, pipeline: Pipeline, conventions: Conventions
) -> Iterator[IncludedRun]:
    """Copies are made before anything is removed, and the pages show what is left."""
    if options.offsite is not None:
        from camarchiver.cli.runs.offsite import OffsiteOptions, sync_task

        run = options.offsite
        own = OffsiteOptions(options.place(), run.settings, options.run())
        yield IncludedRun("offsite", partial(sync_task, own, run.policy, conventions))
    if options.cleanup is not None:
        make = partial(_cleanup_task, options, options.cleanup, pipeline, conventions)
        yield IncludedRun("cleanup", make)
    if options.page is not None:
        from camarchiver.cli.runs.page import page_run_task

        yield IncludedRun("page", partial(page_run_task, options.page), has_preview=False)


def _sweep(options: ArchiveOptions, pipeline: Pipeline) -> None:
    from camarchiver.archive import recovery

    recovery.sweep(pipeline, options.execution().sidecars)


def _prepared(
    options: ArchiveOptions, pipeline: Pipeline, plan: ArchivePlan
) -> AbstractContextManager[Prepared]:
    """This machine's encoder, or the workers of a cluster. Raises EncoderError if neither can encode."""
    plan = _with_signed(plan) if plan.steps else plan
    request, execution = options.request(), options.execution()
    if options.scheduler is None:
        return nullcontext(executor.prepare(plan, request, execution))
    if not options.dry_run:
        volume_marker.mark(pipeline.trees)
    from camarchiver.distributed import coordinator

    return coordinator.prepared(pipeline, plan, options.scheduler, request, execution)


def _as_lines(notes: Iterable[str]) -> list[str]:
    return [f"note: {note}" for note in notes]


def _with_signed(plan: ArchivePlan) -> ArchivePlan:
    """The plan with a note about signed clips."""
    from camarchiver.media import signatures

    return replace(plan, notes=(*plan.notes, *signatures.notes(plan)))


def _cleanup_task(
    options: ArchiveOptions, policy: CleanupPolicy, pipeline: Pipeline, conventions: Conventions
) -> RunTask:
    """The cleanup that follows; it leaves alone what this same run has made."""
    from camarchiver.cli.runs.cleanup import CleanupOptions, cleanup_task

    assert options.access is not None
    own = CleanupOptions(
        options.place(),
        replace(policy, spared_run=pipeline.run.id),
        options.sidecar,
        options.run(),
        options.access,
    )
    return cleanup_task(own, conventions)


def _plan_lines(options: ArchiveOptions, pipeline: Pipeline, plan: ArchivePlan) -> Iterator[str]:
    from camarchiver.queries import footage_estimate

    trees = pipeline.trees
    source_action = {
        Disposal.TRASH: f"sources go to {formatting.shown(trees.trash)}",
        Disposal.DELETE: "sources are deleted",
        Disposal.KEEP: "sources are kept",
    }[plan.policy.disposal]
    yield f"archive {formatting.shown(trees.source)} -> {formatting.shown(trees.archive)}, {source_action}"
    estimate = text_output.Estimate(
        footage_estimate.seconds_in(plan),
        run_history.bytes_per_second(trees.state),
        options.max_runtime or NIGHT,
    )
    yield from text_output.plan_lines(plan, estimate, verbose=options.verbose)
    if not plan.steps:
        yield from _likely_mistakes(pipeline, plan)


def _likely_mistakes(pipeline: Pipeline, plan: ArchivePlan) -> Iterator[str]:
    """What is most likely a mistake if there is nothing to do."""
    from camarchiver.queries import cameras

    seen = {total.group.camera for total in plan.totals}
    missing, known = cameras.unknown(pipeline, plan.policy.cameras - seen)
    yield from (no_work_text.unknown_camera(camera, known) for camera in sorted(missing))
    if no_work_text.has_no_clips(plan) and not pipeline.journal.days():
        yield no_work_text.wrong_folder(plan.trees.source)


def _aware(moment: datetime | None, zone: tzinfo) -> datetime | None:
    return moment.replace(tzinfo=zone) if moment else None
