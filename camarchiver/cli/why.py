"""`camarchiver why`: what became of a clip."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from camarchiver.cli.options import option, options, own_patterns, with_place
from camarchiver.cli.places import Place
from camarchiver.errors import UsageError
from camarchiver.params import Days, Moment, When

question_options = options(
    click.argument("path", type=click.Path(path_type=Path), required=False),
    click.option("--camera", help="The camera, together with --at."),
    click.option("--at", type=When(), help="A moment, as '2026-05-03 14:20', in the cameras' local time."),
    option("--age", type=Days(zero=True), default="30", help="The age at which `archive` runs here."),
)


@click.command()
@question_options
@with_place
def why(
    *,
    path: Path | None,
    camera: str | None,
    at: Moment | None,
    age: timedelta,
    place: Place,
) -> int:
    """Tell what became of the clip at PATH (where it is, or once was), or of a camera's clip at a time.

    For a clip that is still in the source tree also what the next run would do. Exit 1 when nothing
    is known.
    """
    from camarchiver.pipeline import Pipeline
    from camarchiver.plan import ArchivePolicy
    from camarchiver.story import story_lines

    if (path is None) == (camera is None or at is None):
        raise UsageError(
            "name a clip's PATH, or --camera together with --at", hint="see camarchiver why --help"
        )
    zone = place.zone()
    pipeline = Pipeline(place.trees(), zone, "why", own_patterns(click.get_current_context()))
    inquiry, policy = pipeline.inquiry(), ArchivePolicy(age)
    if path is not None:
        stories = [inquiry.of_path(path, policy, pipeline.started)]
    else:
        assert at is not None and camera is not None
        stories = list(inquiry.at(camera, at.start.replace(tzinfo=zone), policy, pipeline.started))
    for story in stories:
        click.echo("\n".join(story_lines(story, zone)))
    if not any(story.events or story.is_there for story in stories):
        click.echo("nothing is known of such a clip", err=True)
        return 1
    return 0
