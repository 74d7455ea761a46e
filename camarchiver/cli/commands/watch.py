"""`camarchiver watch`."""

from __future__ import annotations

from typing import Any

import click

from camarchiver.cli.channel_options import with_channels
from camarchiver.cli.commands.archive import (
    encoder_options,
    page_afterwards,
    page_option,
    same_content_option,
)
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.options import (
    general_options,
    min_free_option,
    option,
    options,
    sidecar_option,
    tree_options,
    trust_names_option,
)
from camarchiver.cli.selection_options import cameras_option, exclude_option
from camarchiver.cli.types import DaysType, Duration, Size
from camarchiver.errors import ExitCode

what_options = options(
    option(
        "--age",
        type=DaysType(zero=True),
        default="0",
        help="Archive clips this many days old; 0 for every finished clip.",
    ),
    cameras_option,
    exclude_option,
    option("--min-size", type=Size(), default="0", help="Only clips of at least this size."),
    option(
        "--quiet-for",
        type=Duration(),
        default="10m",
        help="A clip that is written in place is finished when it has not changed for this time.",
    ),
    option(
        "--poll",
        type=Duration(),
        default="60s",
        help="How often to scan the tree where the kernel reports no new files (NFS, SMB, FUSE).",
    ),
    same_content_option,
    min_free_option,
    option("--keep-source", is_flag=True, help="Archive only; remove nothing."),
    sidecar_option,
    trust_names_option,
)


class RereadCommand(HelpCommand):
    """Remembers its arguments, so that the same command line can be read again with a changed config."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, and keeps the arguments."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)


_ARGUMENTS = "camarchiver.watch.arguments"
_READ_AGAIN = "camarchiver.watch.read-again"
"""The context's key under which the command stores its options, instead of watching, during a reload."""


@click.command(
    cls=RereadCommand,
    examples=(
        ("camarchiver watch /camera", "archive each clip as soon as it is finished, until Ctrl-C"),
        ("camarchiver watch /camera --age 7 --keep-source", "a week after it was recorded; remove nothing"),
        ("camarchiver watch /camera --poll 5m", "where the kernel reports no new files: NFS, SMB, FUSE"),
    ),
    common=(
        "--output",
        "--age",
        "--camera",
        "--quiet-for",
        "--poll",
        "--keep-source",
        "--codec",
        "--encoder",
        "--timezone",
        "--log-file",
        "--quiet",
        "--verbose",
    ),
)
@tree_options
@what_options
@encoder_options
@general_options
@page_option
@with_channels
def watch(**chosen: Any) -> int:
    """Archive the clips below DIRECTORY as they arrive, until the command is stopped.

    A clip that is renamed into place is archived at once; a clip that is written there is archived when
    it has not changed for a while. Each archive is verified before the source moves to the trash. SIGTERM
    ends the command cleanly; under systemd SIGHUP makes it read the config again.
    """
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.runs.watch import WatchOptions, run_watch

    context = click.get_current_context()
    pages = page_afterwards(context, chosen)
    options = WatchOptions.of(chosen, conventions(context), pages)
    if (read_again := context.meta.get(_READ_AGAIN)) is not None:
        read_again.append(options)
        return ExitCode.DONE

    def reread() -> WatchOptions:
        arguments, found = list(context.meta[_ARGUMENTS]), list[WatchOptions]()
        with context.command.make_context(context.info_name, arguments, parent=context.parent) as fresh:
            fresh.meta[_READ_AGAIN] = found
            try:
                context.command.invoke(fresh)
            finally:
                del fresh.meta[_READ_AGAIN]
        return found[0]

    return run_watch(options, reread)
