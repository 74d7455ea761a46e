"""`camarchiver cleanup`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.options import (
    FOLDER,
    consent_options,
    filled,
    general_options,
    is_on_command_line,
    option,
    options,
    retention_options,
    sidecar_option,
    tree_options,
    trust_names_option,
)
from camarchiver.cli.selection_options import cameras_option, exclude_option
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import DaysType, Size
from camarchiver.errors import UsageError

if TYPE_CHECKING:
    from camarchiver.cli.runs.template import RunOptions

what_options = options(
    option("--age", type=DaysType(), default="30", help="Remove sources of this age whose archive exists."),
    option(
        "--unarchived", is_flag=True, help="Also remove sources that have no archive, by age and by size."
    ),
    cameras_option,
    exclude_option,
    option("--delete", is_flag=True, help="Delete instead of moving to the trash."),
    option(
        "--free",
        type=Size(),
        envvar=None,
        help="Free this many bytes on the disk of DIRECTORY, such as 200GB; the cheapest copies go first.",
    ),
    option(
        "--max-age-hard",
        type=DaysType(),
        help="Delete everything older than this, in every tree, for a legal maximum retention.",
    ),
    sidecar_option,
    trust_names_option,
)

spool_options = options(
    option("--spool", type=FOLDER, help="Clean a recorder's spool and outbox, and no other tree."),
    option("--outbox", type=FOLDER, help="With --spool.  [default: recorded_clips beside the spool]"),
    option("--keep-days", type=DaysType(), help="With --spool: remove clips of this age from the outbox."),
    option(
        "--max-storage", type=Size(), help="With --spool: the most that each camera may use in the outbox."
    ),
)


_ALSO_WITH_SPOOL = frozenset(
    {"cameras", "spool", "outbox", "keep_days", "max_storage", "timezone", "dry_run", "no_confirm"}
    | {"log_file", "log_format", "metrics", "notify", "ping_url", "as_json", "quiet", "verbose", "config"}
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver cleanup /camera --dry-run", "show what would be removed, and why; change nothing"),
        ("camarchiver cleanup /camera --free 200GB --dry-run", "what it would take to free 200 GB"),
        (
            "camarchiver cleanup /camera --trash-age 7 -y",
            "from cron: empty the trash after a week, don't ask",
        ),
    ),
    common=(
        "--output",
        "--age",
        "--camera",
        "--unarchived",
        "--trash-age",
        "--archive-age",
        "--clean-output",
        "--max-size",
        "--min-free",
        "--max-age-hard",
        "--dry-run",
        "--no-confirm",
    ),
)
@tree_options
@what_options
@spool_options
@retention_options
@consent_options
@general_options
@click.pass_context
@with_channels
def cleanup(context: click.Context, /, **chosen: Any) -> int:
    """Remove what the policy no longer keeps below DIRECTORY: sources, trash, and archives if asked.

    Nothing is removed unless its archive exists or an option names it. --max-size and --min-free take
    the cheapest copies first: trash, then archived sources, then (if named) archives and unarchived
    sources, the oldest first. Held clips stay, and each camera's newest clip unless --max-age-hard is given.

    With --spool it does by hand what a recorder does every hour: it salvages what dead recorders left,
    removes what is empty, and removes what --keep-days and --max-storage no longer keep, at once.
    """
    if chosen["spool"] is not None:
        return _cleanup_spool(context, chosen)
    for name in ("outbox", "keep_days", "max_storage"):
        if is_on_command_line(context, name):
            raise UsageError(f"--{name.replace('_', '-')} is for a recorder", hint="add its --spool DIR")
    from camarchiver.cli.offsite_options import offsite_access
    from camarchiver.cli.retention_options import RetentionOptions
    from camarchiver.cli.runs.cleanup import CleanupOptions, run_cleanup

    retention = filled(RetentionOptions, chosen)
    cleanup_options = CleanupOptions(
        place=TreeOptions(chosen["directory"], chosen["output"], chosen["trash_root"], chosen["timezone"]),
        policy=retention.policy(context, free=chosen["free"]),
        sidecar=retention.sidecar,
        run=_run_options(chosen),
        offsite=offsite_access(context),
    )
    return run_cleanup(cleanup_options, conventions(context))


def _run_options(chosen: dict[str, Any]) -> RunOptions:
    from camarchiver.cli.runs.template import RunOptions

    return filled(RunOptions, chosen)


def _cleanup_spool(context: click.Context, chosen: dict[str, Any]) -> int:
    from camarchiver.cli.runs.spool_cleanup import SpoolOptions, run_spool_cleanup

    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in _ALSO_WITH_SPOOL and is_on_command_line(context, name):
            word = name.upper() if isinstance(parameter, click.Argument) else parameter.opts[0]
            raise UsageError(f"{word} has no meaning with --spool", hint="run cleanup once for each of them")
    spool, outbox = chosen["spool"].absolute(), chosen["outbox"]
    options = SpoolOptions(
        spool,
        outbox.absolute() if outbox else spool.parent / "recorded_clips",
        chosen["keep_days"],
        chosen["max_storage"],
        chosen["cameras"],
        chosen["timezone"],
        _run_options(chosen),
    )
    return run_spool_cleanup(options)
