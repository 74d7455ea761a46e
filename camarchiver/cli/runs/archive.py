"""One run of `archive` at the terminal or from cron: plan, show, ask, do, report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camarchiver.archive import executor, planner
from camarchiver.archive.executor import Execution, Prepared
from camarchiver.cli.session import TreeOptions, agreed, may_ask, write
from camarchiver.cli.types import Moment
from camarchiver.domain.clip import Disposal, Trees
from camarchiver.domain.report import Outcome, Report, Status
from camarchiver.errors import UsageError
from camarchiver.monitoring.channels import Channels
from camarchiver.naming.patterns import Pattern
from camarchiver.output import text as text_output
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan, ArchivePolicy
from camarchiver.runtime import clock, formatting, signals
from camarchiver.state import run_history, volume_marker

if TYPE_CHECKING:
    from camarchiver.cli.runs.cleanup import CleanupOptions, Cleared
    from camarchiver.media.encoder_probe import EncoderRequest
    from camarchiver.monitoring.run_events import RunEvents, RunPart
    from camarchiver.policy.cleanup_rules import CleanupPolicy

NIGHT = timedelta(hours=6)
"""A nightly run's length where `--max-runtime` doesn't say."""


@dataclass(frozen=True, slots=True)
class ArchiveOptions:
    """The command line of `archive`, parsed."""

    directory: Path
    output: Path | None
    trash_root: Path | None
    age: timedelta
    cameras: tuple[str, ...]
    exclude: tuple[str, ...]
    since: Moment | None
    until: Moment | None
    min_size: int
    limit: int | None
    max_runtime: timedelta | None
    no_skip: bool
    retry_failed: bool
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

    def place(self) -> TreeOptions:
        """The trees and their zone."""
        return TreeOptions(self.directory, self.output, self.trash_root, self.timezone)

    def trees(self) -> Trees:
        """The three roots, absolute and free of symbolic links."""
        return self.place().trees()

    def policy(self, zone: tzinfo) -> ArchivePolicy:
        """What is to be archived and what becomes of the sources. Raises UsageError."""
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
            retry_failed=self.retry_failed,
            cameras=frozenset(self.cameras),
            exclude=self.exclude,
            since=_aware(self.since.start if self.since else None, zone),
            until=_aware(self.until.end if self.until and self.until.whole_day else None, zone)
            or _aware(self.until.start if self.until else None, zone),
            min_size=self.min_size,
            limit=self.limit,
        )

    def execution(self) -> Execution:
        """How it is to be done."""
        from camarchiver.archive.encode import ArchiveSettings
        from camarchiver.archive.source_removal import SidecarPolicy
        from camarchiver.media.encoders import EncodeSettings

        settings = EncodeSettings(self.quality, self.preset, self.max_height, self.audio)  # type: ignore[arg-type]  # click.Choice
        archive_settings = ArchiveSettings(settings, self.verify == "full", self.min_saving / 100)
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


def archive_session(options: ArchiveOptions, patterns: tuple[Pattern, ...]) -> int:
    """Run `archive` and return its exit code."""
    if options.dry_run:
        zone = clock.zone(options.timezone)
        policy = options.policy(zone)
        return _show_only(options, Pipeline(options.trees(), zone, "archive", patterns), policy, patterns)
    from camarchiver.monitoring.run_events import attending
    from camarchiver.output import json_document

    with attending(
        options.channels, "archive", json_document.failure_document, source=str(options.trees().source)
    ) as attendance:
        return _attended(options, patterns, attendance)


def _attended(options: ArchiveOptions, patterns: tuple[Pattern, ...], attendance: RunEvents) -> int:
    from camarchiver.cli.session import running

    zone = clock.zone(options.timezone)
    policy = options.policy(zone)
    pipeline = Pipeline(options.trees(), zone, "archive", patterns)
    asks = may_ask()
    if (options.delete or options.cleanup) and not (options.no_confirm or asks):
        raise UsageError(
            f"{'--delete' if options.delete else '--cleanup'} needs consent"
            " and there is no terminal to ask on",
            hint="add -y; nothing was changed",
        )
    volume_marker.check_writable(pipeline.trees, removes=policy.disposal is not Disposal.KEEP)
    verbose, quiet = options.verbose, options.quiet
    with (
        running(pipeline, options.log_file, options.channels, verbose=verbose, quiet=quiet),
        signals.on_signals() as stopping,
    ):
        attendance.started(pipeline.trees)
        asks = asks and not options.no_confirm
        finished = _run(options, pipeline, policy, patterns, stopping, asks=asks)
        code = finished.exit_code
        attendance.reported(code, finished.parts(), finished.document())
        if options.as_json:
            write(finished.document())
        return code


def _show_only(
    options: ArchiveOptions, pipeline: Pipeline, policy: ArchivePolicy, patterns: tuple[Pattern, ...]
) -> int:
    plan = planner.plan(pipeline, policy, list_all=options.verbose or options.as_json)
    with _prepared(options, pipeline, plan) as prepared:
        plan = prepared.plan
    result = Report(plan.command, pipeline.run.id, plan.now, pipeline.now(), unreadable=plan.found_unreadable)
    after = None
    if options.cleanup is not None:
        from camarchiver.cli.runs.cleanup import foresee

        after = foresee(_as_cleanup(options, pipeline), patterns)
    code = result.exit_code or (after.exit_code if after else 0)
    if options.as_json:
        from camarchiver.output import json_document

        more = {"exit_code": code, "cleanup": after.document()} if after else {}
        write(json_document.document(result, plan, {"dry_run": True, **more}))
    else:
        _print_plan(options, pipeline, plan)
        if after:
            print("\nafterwards, as the trees stand now:")
            write(after.lines(verbose=options.verbose))
    return code


def _run(
    options: ArchiveOptions,
    pipeline: Pipeline,
    policy: ArchivePolicy,
    patterns: tuple[Pattern, ...],
    stopping: signals.Stop,
    *,
    asks: bool,
) -> _Finished:
    from camarchiver.archive import recovery
    from camarchiver.runtime.progress import display

    how = options.execution()
    recovery.sweep(pipeline, how.sidecars)
    plan = planner.plan(pipeline, policy, list_all=options.as_json)
    on_terminal = sys.stderr.isatty() and not (options.quiet or options.as_json)
    with _prepared(options, pipeline, plan) as prepared:
        plan = prepared.plan
        if plan.steps and (on_terminal or asks):
            _print_plan(options, pipeline, plan, to_stderr=True)
        if plan.steps and asks and not agreed(stopping):
            raise click.Abort
        total = sum(step.size for step in plan.steps)
        with display(total, wanted=on_terminal and bool(plan.steps)) as shown:

            def tell(outcome: Outcome) -> None:
                if not (on_terminal or options.as_json or options.quiet):
                    print(text_output.outcome_line(outcome), flush=True)

            result = executor.execute(pipeline, prepared, how, stop=stopping, display=shown, tell=tell)
    if not (options.quiet or options.as_json) and (on_terminal or result.outcomes or result.exit_code):
        write(line + "\n" for line in text_output.report_lines(result, told=not on_terminal))
    after = None
    if options.cleanup is not None and not stopping:
        from camarchiver.cli.runs.cleanup import clear_after

        after = clear_after(_as_cleanup(options, pipeline), patterns, stopping)
    return _Finished(result, plan, after)


def _prepared(
    options: ArchiveOptions, pipeline: Pipeline, plan: ArchivePlan
) -> AbstractContextManager[Prepared]:
    """This machine's encoder, or the workers of a cluster. Raises EncoderError where nobody can encode."""
    request, how = options.request(), options.execution()
    if options.scheduler is None:
        return nullcontext(executor.prepare(plan, request, how))
    if not options.dry_run:
        volume_marker.mark(pipeline.trees)
    from camarchiver.distributed import coordinator

    return coordinator.prepared(pipeline, plan, options.scheduler, request, how)


@dataclass(frozen=True, slots=True)
class _Finished:
    """What came of a run, and of the cleanup after it."""

    result: Report
    plan: ArchivePlan
    after: Cleared | None

    @property
    def exit_code(self) -> int:
        return self.result.exit_code or (self.after.exit_code if self.after else 0)

    def parts(self) -> tuple[RunPart, ...]:
        from camarchiver.monitoring.run_events import RunPart

        own = RunPart(self.result, self.plan.totals, self.result.exit_code)
        return (own, self.after.part()) if self.after else (own,)

    def document(self) -> Iterator[str]:
        from camarchiver.output import json_document

        more: dict[str, Any] = {}
        if self.after:
            more = {"exit_code": self.exit_code, "cleanup": self.after.document()}
            if self.result.exit_code == 0 and self.after.result.status is not Status.NOTHING:
                more["status"] = self.after.result.status
        return json_document.document(self.result, self.plan, more)


def _as_cleanup(options: ArchiveOptions, pipeline: Pipeline) -> CleanupOptions:
    """The options of the cleanup that follows; it leaves alone what this very run has made."""
    from camarchiver.cli.runs.cleanup import CleanupOptions

    assert options.cleanup is not None
    return CleanupOptions(
        options.place(),
        replace(options.cleanup, spared_run=pipeline.run.id),
        options.sidecar,
        options.dry_run,
        options.no_confirm,
        options.log_file,
        options.channels,
        options.as_json,
        options.quiet,
        options.verbose,
    )


def _print_plan(
    options: ArchiveOptions, pipeline: Pipeline, plan: ArchivePlan, *, to_stderr: bool = False
) -> None:
    from camarchiver.archive import footage_estimate

    trees = pipeline.trees
    fate = {
        Disposal.TRASH: f"sources go to {formatting.shown(trees.trash)}",
        Disposal.DELETE: "sources are deleted",
        Disposal.KEEP: "sources are kept",
    }[plan.policy.disposal]
    header = f"archive {formatting.shown(trees.source)} -> {formatting.shown(trees.archive)}, {fate}"
    estimate = text_output.Estimate(
        footage_estimate.seconds_in(plan),
        run_history.bytes_per_second(trees.state),
        options.max_runtime or NIGHT,
    )
    lines = [header, *text_output.plan_lines(plan, estimate, verbose=options.verbose)]
    print("\n".join(lines), file=sys.stderr if to_stderr else sys.stdout, flush=True)


def _aware(moment: datetime | None, zone: tzinfo) -> datetime | None:
    return moment.replace(tzinfo=zone) if moment else None
