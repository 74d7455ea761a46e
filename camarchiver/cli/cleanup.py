"""`camarchiver cleanup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from camarchiver.cli.options import (
    consent_options,
    general_options,
    option,
    options,
    own_patterns,
    sidecar_option,
    tree_options,
)
from camarchiver.cli.places import Place
from camarchiver.params import Days, Size

age_options = options(
    option("--age", type=Days(), default="30", help="Sources this old go, if their archive stands."),
    option("--archive-age", type=Days(), help="With --clean-output, archives this old go.  [default: --age]"),
    option(
        "--trash-age",
        type=Days(zero=True),
        default="21",
        help="What lies in the trash this long is deleted, if its archive stands or a rule gave it up.",
    ),
    option(
        "--max-age-hard",
        type=Days(),
        help="Delete everything recorded before this, in every tree, for those whom the law gives a limit.",
    ),
)

size_options = options(
    option("--max-size", type=Size(), help="What source, archive and trash may hold together, as 500GB."),
    option("--min-free", type=Size(), help="Bytes that must be free on each filesystem, as 20GB."),
    option("--clean-output", is_flag=True, help="Let archives go, too, by age and by size."),
    option("--unarchived", is_flag=True, help="Let sources go that have no archive, by age and by size."),
)

scope_options = options(
    option("--camera", "cameras", multiple=True, metavar="NAME", help="Only this camera (repeatable)."),
    option(
        "--exclude", multiple=True, metavar="GLOB", help="Leave paths or names like this alone (repeatable)."
    ),
    option("--trust-names", is_flag=True, help="Go by the names alone: this tree's mtimes mean nothing."),
    option("--delete", is_flag=True, help="Delete what would go to the trash."),
    sidecar_option,
)

brake_options = options(
    option(
        "--max-removals",
        type=click.IntRange(min=0),
        default=5000,
        help="Refuse a plan that would lose more clips than this.",
    ),
    option(
        "--allow-large", is_flag=True, envvar=None, help="Do it though it takes most of a camera's clips."
    ),
)


@click.command()
@tree_options
@age_options
@size_options
@scope_options
@brake_options
@consent_options
@general_options
@click.pass_context
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
        place, chosen.policy(context), chosen.sidecar, dry_run, no_confirm, log_file, as_json, quiet, verbose
    )
    return cleanup_session(run, own_patterns(context))
