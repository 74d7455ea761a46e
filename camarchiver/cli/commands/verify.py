"""`camarchiver verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.options import (
    FOLDER,
    config_option,
    json_option,
    option,
    options,
    timezone_option,
    tree_options,
)
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import Percent, TimeType
from camarchiver.errors import UsageError

verify_options = options(
    option("--since", type=TimeType(), help="Only footage of this day or later."),
    option("--sample", type=Percent(), default="100", help="Check only a random sample of this share."),
    option("--full", is_flag=True, help="Also decode every archive completely."),
    option("--known", is_flag=True, envvar=None, help="Only archives that were found damaged before."),
    option(
        "--anew",
        is_flag=True,
        envvar=None,
        help="Start from the beginning even if an earlier run was interrupted.",
    ),
    option(
        "--repair",
        is_flag=True,
        envvar=None,
        help="Then make damaged archives again, from the source or its copy in the trash.",
    ),
    option(
        "-n", "--dry-run", is_flag=True, envvar=None, help="With --repair: show the plan and change nothing."
    ),
    option("-y", "--no-confirm", is_flag=True, envvar=None, help="With --repair: don't ask."),
    option("--ffmpeg", type=click.Path(path_type=Path), help="The ffmpeg that decodes and encodes."),
    timezone_option,
    option("--log-file", type=FOLDER, help="Log file of a repair.  [default: DIRECTORY/archiver.log]"),
    json_option,
    option("-q", "--quiet", is_flag=True, help="Print only what is wrong."),
    option("-v", "--verbose", is_flag=True, help="Also list files that camarchiver didn't make."),
    config_option,
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver verify /camera", "read every archive and compare it with the journal"),
        ("camarchiver verify /camera --sample 10", "a tenth of them, chosen at random"),
        ("camarchiver verify /camera --known --repair", "make the archives again that were found damaged"),
    ),
    common=(
        "--output",
        "--since",
        "--sample",
        "--full",
        "--known",
        "--repair",
        "--dry-run",
        "--no-confirm",
        "--json",
        "--quiet",
        "--verbose",
    ),
)
@tree_options
@verify_options
@with_channels
def verify(**chosen: Any) -> int:
    """Check that every archive is as the journal says: it exists, with that size and that BLAKE2b.

    It ends with exit code 3 and a list if anything is wrong. Missing and damaged archives are recorded, and
    no command counts them until a later run finds them sound or they are repaired; the recorded ones are
    checked every time. Files that camarchiver didn't make are counted; they are no error. The command runs at
    the lowest priority, and continues where an earlier run with the same options was interrupted.

    --repair shows a plan and asks. It encodes as `archive` would here, moves damaged files to the trash,
    and leaves sources and trashed copies where they are. Archives that can't be made again from a local copy
    come back from their off-site copies, if [offsite] names a remote.
    """
    from camarchiver.cli.commands.queries.why import archive_options
    from camarchiver.cli.offsite_options import offsite_access
    from camarchiver.cli.runs.template import RunOptions
    from camarchiver.cli.runs.verify import VerifyOptions, run_verify
    from camarchiver.state.verify_checkpoint import VerifyScope

    context, ffmpeg, since = click.get_current_context(), chosen["ffmpeg"], chosen["since"]
    if not chosen["repair"] and (chosen["dry_run"] or chosen["no_confirm"]):
        name = "--dry-run" if chosen["dry_run"] else "--no-confirm"
        raise UsageError(f"{name} does nothing without --repair", hint="add --repair")
    words = ("--ffmpeg", str(ffmpeg)) if ffmpeg is not None else ()
    named = ("dry_run", "no_confirm", "as_json", "quiet", "verbose", "channels")
    session = VerifyOptions(
        place=TreeOptions(chosen["directory"], chosen["output"], chosen["trash_root"], chosen["timezone"]),
        asked=VerifyScope(
            since.start.date() if since else None, chosen["sample"], chosen["full"], chosen["known"]
        ),
        anew=chosen["anew"],
        repair=chosen["repair"],
        ffmpeg=ffmpeg,
        # Only a repair writes a log.
        run=RunOptions(
            log_file=chosen["log_file"] if chosen["repair"] else None,
            **{name: chosen[name] for name in named},
        ),
        encoding=lambda: archive_options(context, chosen["directory"], *words),
        access=lambda: offsite_access(context),
    )
    return run_verify(session, conventions(context))
