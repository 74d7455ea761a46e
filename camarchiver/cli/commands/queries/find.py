"""`camarchiver find`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli import completions
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.options import config_option, json_option, options, timezone_option, tree_options
from camarchiver.cli.session import TreeOptions, show, write
from camarchiver.cli.types import CameraNameType, GivenTime, TimeType
from camarchiver.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.find import FindQuestion, FoundClip

_STATES = ("source", "archive", "trash", "held", "failed", "damaged", "offsite")

find_options = options(
    click.option(
        "--camera",
        "cameras",
        type=CameraNameType(),
        shell_complete=completions.cameras,
        multiple=True,
        metavar="NAME",
        help="Only this camera (repeatable).",
    ),
    click.option(
        "--at",
        type=TimeType(clock=True),
        help="Clips that show a part of this day, minute or second, such as 2026-05-03, '2026-05-03 14:20' or"
        " 14:20 (the last time that the clock showed it).",
    ),
    click.option("--since", type=TimeType(), help="Only clips that start then or later."),
    click.option(
        "--until", type=TimeType(), help="Only clips that start before this; a bare date includes that day."
    ),
    click.option(
        "--state",
        "states",
        type=click.Choice(_STATES),
        multiple=True,
        help="Only clips with a copy in this tree, or that are held, failed to be archived, or have a damaged"
        " archive or a verified off-site copy (repeatable: any of them).",
    ),
    click.option(
        "--motion",
        "in_motion",
        is_flag=True,
        help="Only clips in which something moves, those in which it does so longest first.",
    ),
    click.option("--zone", metavar="NAME", help="With --motion: in this zone of the camera's picture."),
    heading="Which clips",
)

output_options = options(
    click.option("--paths", is_flag=True, help="Print only paths, one a line, for pipes."),
    click.option(
        "-0", "--null", "is_null", is_flag=True, help="With --paths: end each with a NUL byte, for xargs -0."
    ),
    json_option,
    timezone_option,
    config_option,
    heading="Output",
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver find /camera --camera front --at '2026-05-03 14:20'", "the clip of that minute"),
        ("camarchiver find /camera --motion --since 2026-05-01", "where something moves, longest first"),
        ("camarchiver find /camera --at 2026-05-03 --paths -0 | xargs -0 mpv", "play a whole day"),
    ),
    codes=ASKS,
)
@tree_options
@find_options
@output_options
def find(
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    cameras: tuple[str, ...],
    at: GivenTime | None,
    since: GivenTime | None,
    until: GivenTime | None,
    states: tuple[str, ...],
    in_motion: bool,
    zone: str | None,
    paths: bool,
    is_null: bool,
    as_json: bool,
    timezone: str,
) -> int:
    """List the clips of DIRECTORY, wherever they are now: in source, archive or trash. The newest is last.

    With --motion they are those in which something moves, as archiving found it (in the journal).

    Each line has the start, the camera, the length, the size, the trees that have a copy, and the path of
    one of them: of a tree that --state names, otherwise the best. Exit 1 if there is none.
    """
    from camarchiver.output.json import answers
    from camarchiver.output.lists import ClipLines
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.find import FindQuestion, FindState, find_clips

    if is_null and not paths:
        raise UsageError("-0 does nothing without --paths", hint="add --paths")
    if zone is not None and not in_motion:
        raise UsageError("--zone does nothing without --motion", hint="add --motion")
    place = TreeOptions(directory, output, trash_root, timezone)
    pipeline = Pipeline(place.trees(), place.zone(), "find", conventions(click.get_current_context()))
    question = FindQuestion(
        frozenset(cameras),
        since.start.replace(tzinfo=pipeline.zone) if since else None,
        until.limit.replace(tzinfo=pipeline.zone) if until else None,
        at.range(pipeline.started) if at else None,
        frozenset(map(FindState, states)),
        with_copies=not paths,
        without_missing=paths,
        in_motion=in_motion,
        zone=zone or "",
    )
    clips = find_clips(pipeline, question)
    first = next(clips, None)
    found = chain((first,), clips) if first is not None else iter(())
    missing = [] if first is not None else list(not_found(pipeline, question))
    if as_json:
        write(answers.found(found, pipeline.run.id, missing))
    elif paths:
        _write_paths(found, "\0" if is_null else "\n")
    else:
        lines = ClipLines(question.zone if in_motion else None)
        show(map(lines.line, found))
    if not as_json:
        show(missing, err=True)
    return ExitCode.FAILED if first is None else ExitCode.DONE


def _write_paths(found: Iterable[FoundClip], end: str) -> None:
    """The very bytes of each name, which need not be text."""
    sys.stdout.flush()
    for clip in found:
        sys.stdout.buffer.write(os.fsencode(clip.files[0].path + end))
    sys.stdout.buffer.flush()


def not_found(pipeline: Pipeline, question: FindQuestion) -> Iterator[str]:
    """Why nothing was found, and what there is nearby."""
    from camarchiver.output import no_work_text
    from camarchiver.output.lists import nearest_lines
    from camarchiver.queries import cameras
    from camarchiver.queries.find import count_motion, nearest

    unknown, known = cameras.unknown(pipeline, question.cameras)
    if unknown:
        yield from (no_work_text.unknown_camera(camera, known) for camera in sorted(unknown))
    elif question.in_motion:
        zones, counts = pipeline.conventions.views.zones, count_motion(pipeline, question)
        yield from no_work_text.without_motion(question.zone, zones, counts)
    elif question.covering is not None:
        yield from nearest_lines(*nearest(pipeline, question, question.covering[0]))
    elif not cameras.known(pipeline):
        yield no_work_text.wrong_folder(pipeline.trees.source)
    else:
        yield "no clip was found; leave out --since, --until or --state to find more"
