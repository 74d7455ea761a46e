"""`camarchiver runs`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import click

from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.options import config_option, json_option, options, timezone_option, tree_options
from camarchiver.cli.session import TreeOptions, show
from camarchiver.errors import ExitCode

runs_options = options(
    click.option(
        "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many."
    ),
    json_option,
    timezone_option,
    config_option,
    heading="Output",
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver runs /camera", "the last runs that changed something"),
        ("camarchiver runs /camera --limit 500", "more of them; a thousand are remembered"),
        (
            "camarchiver restore -C /camera --run 20260504T011500-3f9a1c",
            "bring back what one removed",
        ),
    ),
    codes=ASKS,
)
@tree_options
@runs_options
def runs(
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    limit: int,
    as_json: bool,
    timezone: str,
) -> int:
    """List the last runs that changed something below DIRECTORY: id, command, outcome. The newest is last."""
    from camarchiver.output.json import answers
    from camarchiver.output.lists import run_lines
    from camarchiver.pipeline import Pipeline
    from camarchiver.state import run_history

    place = TreeOptions(directory, output, trash_root, timezone)
    zone = place.zone()
    pipeline = Pipeline(place.trees(), zone, "runs", conventions(click.get_current_context()))
    found = [*islice(run_history.newest_first(pipeline.trees.state), limit)][::-1]
    if as_json:
        click.echo(answers.runs(found, pipeline.run.id), nl=False)
        return ExitCode.DONE
    show(run_lines(found, zone))
    if not found:
        click.echo(f"no run has changed anything below {pipeline.trees.source} yet", err=True)
    return ExitCode.DONE
