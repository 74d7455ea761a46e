"""`camarchiver cleanup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from camarchiver.cli.channels import Channels, with_channels
from camarchiver.cli.options import (
    consent_options,
    general_options,
    option,
    options,
    own_patterns,
    retention_options,
    sidecar_option,
    tree_options,
)
from camarchiver.cli.places import Place
from camarchiver.params import Days

what_options = options(
    option("--age", type=Days(), default="30", help="Sources this old go, if their archive stands."),
    option("--unarchived", is_flag=True, help="Let sources go that have no archive, by age and by size."),
    option("--camera", "cameras", multiple=True, metavar="NAME", help="Only this camera (repeatable)."),
    option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave paths or names like this alone (repeatable)."
    ),
    option("--delete", is_flag=True, help="Delete what would go to the trash."),
    option(
        "--max-age-hard",
        type=Days(),
        help="Delete everything recorded before this, in every tree, for those whom the law gives a limit.",
    ),
    sidecar_option,
)


@click.command()
@tree_options
@what_options
@retention_options
@consent_options
@general_options
@click.pass_context
@with_channels
def cleanup(
    context: click.Context,
    /,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    timezone: str,
    dry_run: bool,
    no_confirm: bool,
    log_file: Path | None,
    channels: Channels,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **retention: Any,
) -> int:
    """Remove what the policy no longer keeps below DIRECTORY: sources, trash, and archives if asked.

    Nothing goes whose archive does not stand, unless an option names it. --max-size and --min-free take
    the cheapest copies first: trash, then archived sources, then (if named) archives and unarchived
    sources, the oldest first. Holds and each camera's newest clip stay.
    """
    from camarchiver.cli.clearing import CleanupOptions, cleanup_session
    from camarchiver.cli.policies import RetentionOptions

    chosen = RetentionOptions(**retention)
    place = Place(directory, output, trash_root, timezone)
    run = CleanupOptions(
        place,
        chosen.policy(context),
        chosen.sidecar,
        dry_run,
        no_confirm,
        log_file,
        channels,
        as_json,
        quiet,
        verbose,
    )
    return cleanup_session(run, own_patterns(context))
