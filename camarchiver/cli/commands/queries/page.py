"""`camarchiver page`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.options import (
    FOLDER,
    PAGE_TASK,
    config_option,
    json_option,
    option,
    options,
    timezone_option,
    tree_options,
)
from camarchiver.cli.selection_options import cameras_option
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import Duration, TimeType
from camarchiver.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from camarchiver.cli.runs.page import PageTask

page_options = options(
    option("--to", type=FOLDER, help="The folder that the pages are written to; it lies outside the trees."),
    cameras_option,
    option("--since", type=TimeType(), help="Only days from this one on."),
    option("--days", type=click.IntRange(min=1), help="Only this many days, today included."),
    option("--rebuild", is_flag=True, envvar=None, help="Write every page again."),
    option(
        "--picture-time",
        type=Duration(),
        default="1m",
        help="How long thumbnails may be made of clips that have none, the newest first.",
    ),
    option(
        "--playable",
        is_flag=True,
        help="Add small copies in H.264 of held clips that browsers can't play.",
    ),
    heading="What the pages show",
)

serve_options = options(
    option(
        "--serve",
        metavar="HOST:PORT",
        help="Then serve the pages and the clips over HTTP, such as at 127.0.0.1:8080, until Ctrl-C.",
    ),
    option(
        "--allow-remote",
        is_flag=True,
        envvar=None,
        help="Serve at an address that other machines can reach; needs --token-file.",
    ),
    option(
        "--token-file",
        type=FOLDER,
        help="File with the password that a browser must give; any user name will do.",
    ),
    heading="Over the network",
)

output_options = options(
    json_option,
    option("-q", "--quiet", is_flag=True, help="Print errors only."),
    timezone_option,
    config_option,
    heading="Output",
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver page /camera --to /srv/camera-page", "write the pages, or what is new in them"),
        ("camarchiver page /camera --to /srv/camera-page --days 30", "only the last 30 days"),
        ("camarchiver page /camera --to /srv/camera-page --serve 127.0.0.1:8080", "serve them, too"),
    ),
    codes=(*ASKS, ExitCode.ALREADY_RUNNING, ExitCode.ENCODER),
)
@tree_options
@page_options
@serve_options
@output_options
def page(**chosen: Any) -> int:
    """Write pages that show the footage of DIRECTORY: cameras, months, days, and the clips to play.

    They are plain files that link to the clips where they lie; a browser opens index.html without a server.
    Only days that have changed are written again. The trees are only read; thumbnails of clips, and the
    motion in them, are added to what is known of them.
    """
    from camarchiver.cli.runs.page import run_page

    context = click.get_current_context()
    if chosen["serve"] is None and (chosen["allow_remote"] or chosen["token_file"]):
        raise UsageError("--allow-remote and --token-file do nothing without --serve", hint="add --serve")
    task = page_task(context, chosen)
    if (wanted := context.meta.get(PAGE_TASK)) is not None:
        wanted.append(task)
        return ExitCode.DONE
    serving = None
    if chosen["serve"] is not None:
        from camarchiver.page.server import Address
        from camarchiver.page.serving import ServeOptions

        address = Address.parse(chosen["serve"])
        serving = ServeOptions(address, chosen["allow_remote"], chosen["token_file"])
    return run_page(task, serving, as_json=chosen["as_json"], quiet=chosen["quiet"])


def page_task(context: click.Context, chosen: Mapping[str, Any]) -> PageTask:
    """The site of `page`'s own options. Raises UsageError if it is not known where it is written."""
    from camarchiver.cli.commands.queries.why import archive_policy, cleanup_policy, trusts_names
    from camarchiver.cli.conventions import conventions
    from camarchiver.cli.offsite_options import offsite_access
    from camarchiver.cli.runs.page import PageTask
    from camarchiver.storage.filesystems import resolved

    place = TreeOptions(chosen["directory"], chosen["output"], chosen["trash_root"], chosen["timezone"])
    if chosen["to"] is None:
        raise UsageError(
            "it is not known where to write the pages",
            hint='add --to FOLDER, or write to = "FOLDER" below [page] in the config file',
        )
    zone, directory, since = place.zone(), chosen["directory"], chosen["since"]
    return PageTask(
        place,
        conventions(context, trust_names=trusts_names(context, directory)),
        resolved(chosen["to"]),
        archive_policy(context, directory, zone),
        cleanup_policy(context, directory),
        frozenset(chosen["cameras"]),
        since.start.date() if since else None,
        chosen["days"],
        chosen["rebuild"],
        chosen["picture_time"],
        chosen["playable"],
        offsite_access(context).label,
    )
