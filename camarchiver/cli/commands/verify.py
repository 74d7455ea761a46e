"""`camarchiver verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli.options import config_option, option, options, own_patterns, tree_options
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import Moment, Percent, When
from camarchiver.errors import ExitCode, signal_code

if TYPE_CHECKING:
    from camarchiver.naming.patterns import Pattern
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.verify import Task, Verified

verify_options = options(
    option("--since", type=When(), help="Only footage of this day or later."),
    option("--sample", type=Percent(), default="100", help="Check only this share, by chance."),
    option("--full", is_flag=True, help="Also decode every archive whole."),
    option(
        "--anew", is_flag=True, envvar=None, help="Begin at the start even if an earlier run was interrupted."
    ),
    option("--ffmpeg", type=click.Path(path_type=Path), help="ffmpeg to decode with."),
    option("--timezone", default="", show_default=False, help="The cameras' time zone, as Europe/Berlin."),
    option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
    option("-q", "--quiet", is_flag=True, help="Print what is off, and nothing else."),
    option("-v", "--verbose", is_flag=True, help="List files that camarchiver didn't make, too."),
    config_option,
)


@click.command()
@tree_options
@verify_options
def verify(
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    since: Moment | None,
    sample: float,
    full: bool,
    anew: bool,
    ffmpeg: Path | None,
    timezone: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Check that every archive stands as it was journalled: there, of that size, with that BLAKE2b.

    Exit 3 with a list when anything is off. Files that camarchiver didn't make are counted; they are
    nobody's fault. Touches no clip, gives way to everything else on the machine, and goes on where an
    earlier run with the same options was interrupted.
    """
    from camarchiver.media import ffmpeg_find
    from camarchiver.output import json_document
    from camarchiver.output import text as text_output
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.verify import task_for
    from camarchiver.state.verify_checkpoint import Asked

    place = TreeOptions(directory, output, trash_root, timezone)
    patterns = own_patterns(click.get_current_context())
    pipeline = Pipeline(place.trees(), place.zone(), "verify", patterns)
    decoder = max(ffmpeg_find.find(ffmpeg), key=lambda each: each.version).path if full else None
    asked = Asked(since.start.date() if since else None, sample, full)
    task = task_for(asked, pipeline.trees.state, pipeline.run.id, anew=anew)
    is_told = not (quiet or as_json)
    if task.mark is not None and is_told:
        click.echo(text_output.resumed_line(task.mark), err=True)
    found, stopped_by = _verified(pipeline, task, patterns, decoder, shows=is_told and sys.stderr.isatty())
    code = signal_code(stopped_by) if stopped_by else ExitCode.PARTIAL if found.findings else ExitCode.DONE
    if as_json:
        click.echo(json_document.verified(found, pipeline.run.id, code), nl=False)
        return code
    lines = text_output.verified_lines(found, summary=sys.stderr.isatty() and not quiet, all_foreign=verbose)
    click.echo("".join(line + "\n" for line in lines), nl=False)
    if stopped_by and is_told:
        words = "; the same command goes on from there" if found.is_marked else ""
        click.echo(f"stopped after {found.checked:,} archives{words}", err=True)
    return code


def _verified(
    pipeline: Pipeline, task: Task, patterns: tuple[Pattern, ...], decoder: Path | None, *, shows: bool
) -> tuple[Verified, int | None]:
    """What was found, and the signal that ended it."""
    from camarchiver.journal.lookup import JournalDays
    from camarchiver.naming.patterns import Names
    from camarchiver.queries.verify import Verifier
    from camarchiver.runtime import signals
    from camarchiver.runtime.progress import display
    from camarchiver.storage import linux

    linux.lower_priority(19)
    with signals.on_signals() as stopping:
        verifier = Verifier(
            pipeline.trees,
            pipeline.journal,
            JournalDays(Names(patterns), pipeline.journal),
            task,
            host=pipeline.run.host,
            stop=stopping.event,
            ffmpeg=decoder,
        )
        with display(verifier.bytes_to_check() if shows else 0, wanted=shows) as shown:
            return verifier.run(shown), stopping.signal
