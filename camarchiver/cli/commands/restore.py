"""`camarchiver restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli.options import option, options, with_place
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import Moment, When
from camarchiver.errors import UsageError
from camarchiver.storage import run_lock

if TYPE_CHECKING:
    from camarchiver.cleanup.restore import Selection

selection_options = options(
    click.argument("paths", nargs=-1, type=click.Path(path_type=Path)),
    click.option("--run", default="", metavar="ID", help="Everything that one run moved to the trash."),
    click.option("--camera", default="", help="Only this camera."),
    click.option("--since", type=When(), help="Only clips that start then or later."),
    click.option("--until", type=When(), help="Only clips that start before; a bare date includes that day."),
    click.option("--list", "list_only", is_flag=True, help="List what could be restored, and do nothing."),
    click.option("--dry-run", is_flag=True, help="The same as --list."),
    option("-y", "--no-confirm", is_flag=True, envvar=None, help="Don't ask."),
    option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
)


@click.command()
@selection_options
@with_place
def restore(
    *,
    paths: tuple[Path, ...],
    run: str,
    camera: str,
    since: Moment | None,
    until: Moment | None,
    list_only: bool,
    dry_run: bool,
    no_confirm: bool,
    as_json: bool,
    place: TreeOptions,
) -> int:
    """Bring clips back from the trash to the very path that they came from, with their pictures.

    PATHS are clips or folders, where they were or where they lie in the trash. Nothing is ever
    overwritten. A restored clip is left alone by `archive` for a week.
    """
    from camarchiver.cleanup.restore import Selection

    if not (paths or run or camera or since or until or list_only):
        raise UsageError(
            "nothing is selected", hint="name PATHS, --run or --camera; --list shows what there is"
        )
    zone = place.zone()
    selection = Selection(
        tuple(path.absolute() for path in paths),
        run,
        camera,
        since.start.replace(tzinfo=zone) if since else None,
        (until.end if until.whole_day else until.start).replace(tzinfo=zone) if until else None,
    )
    return _restore(selection, place, no_confirm=no_confirm, as_json=as_json, show_only=list_only or dry_run)


def _restore(
    selection: Selection, place: TreeOptions, *, no_confirm: bool, as_json: bool, show_only: bool
) -> int:
    from camarchiver.cleanup import restore as cleanup_restore
    from camarchiver.cli.session import may_ask, write
    from camarchiver.output import json_document
    from camarchiver.output import text as text_output
    from camarchiver.pipeline import Pipeline
    from camarchiver.runtime import formatting
    from camarchiver.runtime.log_setup import logging_to
    from camarchiver.state import volume_marker

    pipeline = Pipeline(place.trees(), place.zone(), "restore")
    asks = may_ask()
    if not (no_confirm or show_only or asks):
        raise UsageError(
            "restore needs consent and there is no terminal to ask on", hint="add -y; nothing was changed"
        )
    plan = cleanup_restore.plan(pipeline, selection)
    if not as_json:
        for step in plan.steps:
            click.echo(f"{formatting.shown(step.relative)}  {formatting.size(step.size)}", err=not show_only)
    if show_only or not plan.steps:
        result = pipeline.report(plan, ())
    else:
        if asks and not no_confirm:
            click.confirm(f"Restore {formatting.count_of(len(plan.steps), 'clip')}?", abort=True, err=True)
        log_file = pipeline.trees.source / "archiver.log"
        with (
            logging_to(log_file, run=pipeline.run.id, verbose=False, quiet=False),
            run_lock.exclusive(volume_marker.run_lock(pipeline.trees, "restore"), what="restore"),
        ):
            result = cleanup_restore.execute(pipeline, plan, tell=lambda outcome: None)
    if as_json:
        write(json_document.document(result, plan, {"dry_run": show_only}))
    elif not show_only:
        write(line + "\n" for line in text_output.report_lines(result, told=False))
    return result.exit_code
