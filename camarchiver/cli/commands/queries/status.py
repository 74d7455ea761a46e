"""`camarchiver status`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.options import config_option, json_option, option, options, timezone_option, tree_options
from camarchiver.cli.session import TreeOptions, show
from camarchiver.cli.types import DaysType, Duration
from camarchiver.errors import ExitCode

status_options = options(
    option(
        "--age",
        type=DaysType(zero=True),
        help="The --age with which `archive` runs here.  [default: its own]",
    ),
    option(
        "--gap",
        type=Duration(),
        help="Show gaps of the last week that are longer than this.  [default: than the camera's own pauses]",
    ),
    timezone_option,
    json_option,
    config_option,
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver status /camera", "what is stored where, and what needs attention"),
        ("camarchiver status /camera --gap 6h", "only gaps that are longer than six hours"),
        ("camarchiver status /camera --json", "the same for programs"),
    ),
    codes=ASKS,
)
@tree_options
@status_options
def status(
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    age: timedelta | None,
    gap: timedelta | None,
    timezone: str,
    as_json: bool,
) -> int:
    """Show what is stored below DIRECTORY, camera by camera, and what needs attention.

    For each camera it says when the last clip came, and whether that is longer ago than the camera's own
    rhythm explains. Then follow what needs attention with the remedies, the clips, hours and bytes in source,
    archive and trash, free space, and the days until the disk is full. It changes nothing.
    """
    from camarchiver.cli.commands.queries.why import archive_policy, trusts_names
    from camarchiver.output import status_text
    from camarchiver.output.json import answers
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.status import StatusCounter, StatusQuestion

    context, place = click.get_current_context(), TreeOptions(directory, output, trash_root, timezone)
    words_of_owner = conventions(context, trust_names=trusts_names(context, directory))
    pipeline = Pipeline(place.trees(), place.zone(), "status", words_of_owner)
    words = ("--age", f"{age.total_seconds():.0f}s") if age is not None else ()
    policy = archive_policy(context, directory, pipeline.zone, *words)
    question = StatusQuestion(policy, pipeline.started, gap)
    report = StatusCounter(pipeline, question).count()
    if as_json:
        click.echo(answers.status_report(report, pipeline.run.id), nl=False)
    else:
        show(status_text.status_lines(report, pipeline.started, pipeline.zone))
    return ExitCode.DONE
