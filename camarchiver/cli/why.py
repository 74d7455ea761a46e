"""`camarchiver why`: what became of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli.options import option, options, own_patterns, with_place
from camarchiver.cli.places import Place
from camarchiver.errors import CamarchiverError, UsageError
from camarchiver.params import Days, Moment, When

if TYPE_CHECKING:
    from camarchiver.inquiry import Story
    from camarchiver.pipeline import Pipeline
    from camarchiver.story import Foreseen

question_options = options(
    click.argument("path", type=click.Path(path_type=Path), required=False),
    click.option("--camera", help="The camera, together with --at."),
    click.option("--at", type=When(), help="A moment, as '2026-05-03 14:20', in the cameras' local time."),
    option("--age", type=Days(zero=True), help="The age at which `archive` runs here.  [default: its own]"),
    option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
)


@click.command()
@question_options
@with_place
def why(
    *,
    path: Path | None,
    camera: str | None,
    at: Moment | None,
    age: timedelta | None,
    as_json: bool,
    place: Place,
) -> int:
    """Tell what became of the clip at PATH (where it is, or once was), or of a camera's clip at a time.

    For a clip that still is somewhere also what the next runs of archive and cleanup would do with it,
    by config files and environment. Exit 1 when nothing is known.
    """
    from camarchiver import document
    from camarchiver.cli.next_runs import archive_policy
    from camarchiver.pipeline import Pipeline
    from camarchiver.story import story_lines

    if (path is None) == (camera is None or at is None):
        raise UsageError(
            "name a clip's PATH, or --camera together with --at", hint="see camarchiver why --help"
        )
    zone, context = place.zone(), click.get_current_context()
    pipeline = Pipeline(place.trees(), zone, "why", own_patterns(context))
    words = ("--age", f"{age.total_seconds():.0f}s") if age is not None else ()
    inquiry, policy = pipeline.inquiry(), archive_policy(context, place.directory, zone, *words)
    if path is not None:
        stories = [inquiry.of_path(path, policy, pipeline.started)]
    else:
        assert at is not None and camera is not None
        stories = list(inquiry.at(camera, at.start.replace(tzinfo=zone), policy, pipeline.started))
    known = [story for story in stories if story.is_known]
    foreseen = _foresee(pipeline, known, context, place)
    if as_json:
        click.echo(document.stories(known, foreseen, pipeline.run.id, pipeline.trees, zone), nl=False)
    else:
        for story in known:
            click.echo("\n".join(story_lines(story, foreseen, zone)))
        if not known:
            click.echo("nothing is known of such a clip", err=True)
    return 0 if known else 1


def _foresee(pipeline: Pipeline, stories: Sequence[Story], context: click.Context, place: Place) -> Foreseen:
    """What a cleanup would do now with the files of these stories, by its own plan."""
    from camarchiver import volume
    from camarchiver.cli.next_runs import cleanup_policy
    from camarchiver.story import Foreseen

    asked = frozenset(path for story in stories for path in story.places)
    if not asked:
        return Foreseen({})
    try:
        volume.check_both(pipeline.trees)
        policy = cleanup_policy(context, place.directory)
        plan = pipeline.plan_cleanup(policy, list_all=False, asked=asked)
    except CamarchiverError as error:
        return Foreseen({}, stopped=error.message)
    steps = {step.path: step for each in (plan.steps, plan.left) for step in each if step.path in asked}
    return Foreseen(steps, plan.problems[0].message if plan.refused else "")
