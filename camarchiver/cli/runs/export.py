"""One run of `hold export`: find, copy, report."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click

from camarchiver.cli.session import TreeOptions
from camarchiver.domain.clip import Trees
from camarchiver.errors import UsageError, signal_code
from camarchiver.export.exporter import Exported, Exporter
from camarchiver.export.h264_copies import playable_maker
from camarchiver.export.held_files import HeldFiles
from camarchiver.naming.patterns import Pattern
from camarchiver.output import json_document
from camarchiver.output import text as text_output
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import signals
from camarchiver.runtime.progress import display
from camarchiver.state import holds, volume_marker


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The command line of `hold export`, parsed."""

    place: TreeOptions
    name: str
    target: Path
    playable: bool
    ffmpeg: Path | None
    as_json: bool


def export_session(options: ExportOptions, patterns: tuple[Pattern, ...]) -> int:
    """Run `hold export` and return its exit code."""
    pipeline = Pipeline(options.place.trees(), options.place.zone(), "hold", patterns)
    volume_marker.check_both(pipeline.trees)
    found = next((hold for hold in holds.read(pipeline.trees.state) if hold.id == options.name), None)
    if found is None:
        raise UsageError(f"there is no hold {options.name}", hint="camarchiver hold list shows them all")
    with signals.on_signals() as stopping:
        exported = _export(options, pipeline.trees, HeldFiles(pipeline, found), stopping)
    code = signal_code(stopping.signal) if stopping.signal else exported.exit_code
    if options.as_json:
        click.echo(
            json_document.exported(exported, options.target.resolve(), pipeline.run.id, code), nl=False
        )
        return code
    for problem in exported.problems:
        click.echo(text_output.problem_line(problem), err=True)
    for line in text_output.exported_lines(exported, options.target):
        click.echo(line)
    if stopping.signal:
        print("stopped; run the same command again to go on", file=sys.stderr)
    return code


def _export(options: ExportOptions, trees: Trees, holdings: HeldFiles, stopping: signals.Stop) -> Exported:
    with ExitStack() as stack:
        maker = None
        if options.playable:
            maker = stack.enter_context(playable_maker(options.ffmpeg, stopping.event))
        exporter = Exporter(trees, holdings, options.target.resolve(), maker, stopping.event)
        parts = exporter.parts()
        total = sum(part.size for part in parts)
        shown = stack.enter_context(display(total, wanted=not options.as_json))
        return exporter.run(parts, shown)
