"""The part of a run that is specific to `hold export`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from camarchiver.cli.runs.template import OutcomeReporter, Ready, RunOptions, RunResult, RunTask, run_task
from camarchiver.cli.session import TreeOptions
from camarchiver.domain.conventions import Conventions
from camarchiver.errors import UsageError
from camarchiver.export.exporter import Exported, Exporter
from camarchiver.export.h264_copies import playable_maker
from camarchiver.export.held_files import HeldFiles
from camarchiver.output import text as text_output
from camarchiver.output.json import answers
from camarchiver.pipeline import Pipeline
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import Stop
from camarchiver.state import volume_marker
from camarchiver.storage.filesystems import resolved


class ExportOptions(Struct, frozen=True):
    """The command line of `hold export`, parsed."""

    place: TreeOptions
    name: str
    target: Path
    playable: bool
    ffmpeg: Path | None
    as_json: bool


def run_export(options: ExportOptions, conventions: Conventions) -> int:
    """Run `hold export` and return its exit code. It only adds files, so it needs no consent."""
    run = RunOptions(dry_run=False, no_confirm=True, as_json=options.as_json)
    return run_task("hold", run, lambda: _task(options, conventions))


def _task(options: ExportOptions, conventions: Conventions) -> RunTask:
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "hold", conventions)
    volume_marker.check_both(pipeline.trees)
    found = next((hold for hold in pipeline.holds() if hold.id == options.name), None)
    if found is None:
        raise UsageError(f"there is no hold {options.name}", hint="camarchiver hold list shows them all")
    target = resolved(options.target)

    @contextmanager
    def planned(stop: Stop) -> Iterator[Ready]:
        with ExitStack() as stack:
            maker = None
            if options.playable:
                maker = stack.enter_context(playable_maker(options.ffmpeg, stop.event))
            exporter = Exporter(pipeline.trees, HeldFiles(pipeline, found), target, maker, stop.event)
            parts = exporter.parts()

            def perform(_: Stop, shown: Display, __: OutcomeReporter) -> RunResult:
                return _finished(exporter.run(parts, shown), options, pipeline.run.id, stop)

            yield Ready(parts, tuple, perform)

    return RunTask("hold", pipeline.run.id, planned)


def _finished(exported: Exported, options: ExportOptions, run: str, stop: Stop) -> RunResult:
    ended = exported.conclusion(stop.signal)
    warnings = [text_output.problem_line(problem) for problem in exported.problems]
    if stop.signal:
        warnings.append("stopped; run the same command again to go on")

    def document(_: Mapping[str, Any]) -> Iterable[str]:
        return (answers.exported(exported, resolved(options.target), run, ended),)

    return RunResult(
        ended,
        document,
        lambda *, already_printed: text_output.exported_lines(exported, options.target),
        prints_unattended=True,
        warnings=tuple(warnings),
    )
