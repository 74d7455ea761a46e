"""`camarchiver restore`."""

from __future__ import annotations

from pathlib import Path

import click

from camarchiver.cli import completions
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import HelpCommand
from camarchiver.cli.offsite_options import offsite_access
from camarchiver.cli.options import json_option, option, options, with_place
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import CameraNameType, GivenPath, GivenText, GivenTime, TimeType
from camarchiver.errors import UsageError
from camarchiver.runtime.clock import now

selection_options = options(
    click.argument("paths", nargs=-1, type=GivenPath(path_type=Path)),
    click.option(
        "--run",
        type=GivenText(),
        metavar="ID",
        shell_complete=completions.runs,
        help="Everything that this run moved to the trash; the beginning of its id is enough.",
    ),
    click.option(
        "--camera",
        type=CameraNameType(),
        shell_complete=completions.cameras,
        help="Only this camera.",
    ),
    click.option("--since", type=TimeType(), help="Only clips that start then or later."),
    click.option(
        "--until", type=TimeType(), help="Only clips that start before this; a bare date includes that day."
    ),
    click.option(
        "--at",
        type=TimeType(),
        help="Only clips that show this day, minute or second.",
    ),
    click.option(
        "--from-offsite",
        is_flag=True,
        help="Bring archives back from their off-site copies, not from the trash.",
    ),
    click.option("--list", "list_only", is_flag=True, help="List what could be restored; restore nothing."),
    click.option("-n", "--dry-run", is_flag=True, help="The same as --list."),
    option("-y", "--no-confirm", is_flag=True, envvar=None, help="Don't ask."),
    json_option,
)


@click.command(
    cls=HelpCommand,
    examples=(
        (
            "camarchiver restore -C /camera 2026/05/03/REO_front_20260503142000.mp4",
            "bring one clip back to where it was",
        ),
        (
            "camarchiver restore -C /camera --run 20260504T011500-3f9a1c",
            "everything that one run moved to the trash",
        ),
        (
            "camarchiver restore -C /camera --from-offsite --camera front --at '2026-05-03 14:20'",
            "the archive of the clip that shows that minute, from its off-site copy",
        ),
    ),
)
@selection_options
@with_place
def restore(
    *,
    paths: tuple[Path, ...],
    run: str | None,
    camera: str | None,
    since: GivenTime | None,
    until: GivenTime | None,
    at: GivenTime | None,
    from_offsite: bool,
    list_only: bool,
    dry_run: bool,
    no_confirm: bool,
    as_json: bool,
    place: TreeOptions,
) -> int:
    """Bring clips back from the trash to their original paths, with their pictures.

    PATHS are clips, folders or quoted patterns such as '2026/05/03/*front*', given by their original path,
    their path in the trash or the path of their archive, each also relative to its root. Nothing is ever
    overwritten. `archive` leaves a restored clip alone for a week, unless it is given --no-skip.

    With --from-offsite it reads the copies of archives that are gone, or are known to be damaged, from the
    remote of [offsite], and each gets its place only if it has the BLAKE2b that the journal knows.
    """
    from camarchiver.cleanup.restore import Selection
    from camarchiver.cli.runs.restore import run_offsite_restore, run_restore
    from camarchiver.cli.runs.template import RunOptions

    if not (paths or run or camera or since or until or at or list_only):
        raise UsageError(
            "nothing is selected", hint="name PATHS, --run or --camera; --list shows what there is"
        )
    context, zone = click.get_current_context(), place.zone()
    selection = Selection(
        paths,
        run or "",
        camera or "",
        since.start.replace(tzinfo=zone) if since else None,
        until.limit.replace(tzinfo=zone) if until else None,
        at.range(now(zone)) if at else None,
    )
    run_options = RunOptions(dry_run=list_only or dry_run, no_confirm=no_confirm, as_json=as_json)
    if from_offsite:
        access = offsite_access(context)
        return run_offsite_restore(selection, place, run_options, conventions(context), access)
    return run_restore(selection, place, run_options, conventions(context))
