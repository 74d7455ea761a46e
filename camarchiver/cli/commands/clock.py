"""`camarchiver clock`: corrections of a camera's clock for a range of times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from camarchiver.cli import completions
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpGroup
from camarchiver.cli.options import json_option, option, with_place
from camarchiver.cli.session import TreeOptions, require_consent
from camarchiver.cli.types import CameraNameType, ClockType, GivenText, GivenTime, TimeType
from camarchiver.errors import UsageError

if TYPE_CHECKING:
    from camarchiver.domain.clocks import ClockCorrection
    from camarchiver.pipeline import Pipeline

_confirm_option = option("-y", "--no-confirm", is_flag=True, envvar=None, help="Don't ask.")


@click.group(
    cls=HelpGroup,
    examples=(
        (
            "camarchiver clock add --camera front --from 2000-01-01 --to 2000-01-03 --clock +26y3d",
            "the camera began in the year 2000 after a power failure",
        ),
        ("camarchiver clock list", "all corrections with their ids"),
        ("camarchiver clock remove 3f9a1c07", "take one back"),
    ),
    codes=ASKS,
)
def clock() -> None:
    """Correct the times of clips that a camera recorded while its clock was wrong.

    For a clock that is always wrong, set clock in [camera.NAME] of the config file.
    """


@clock.command(
    short_help="Correct a camera's clock for a time range.",
    examples=(
        (
            "camarchiver clock add --camera front --from 2000-01-01 --to 2000-01-03 --clock mtime",
            "their files' times are right",
        ),
        (
            "camarchiver clock add --camera yard --from 2026-05-03 --to 2026-05-04 --clock +1h -y",
            "an hour later than their names say",
        ),
        (
            "camarchiver clock add --camera yard --from 2026-05-03 --to 2026-05-04 --clock names",
            "their names are right, and the times of their files were lost",
        ),
    ),
    codes=ASKS,
)
@with_place
@click.option(
    "--camera", type=CameraNameType(), shell_complete=completions.cameras, required=True, help="The camera."
)
@click.option("--from", "start", type=TimeType(), required=True, help="First moment, as the names have it.")
@click.option(
    "--to", "end", type=TimeType(), required=True, help="Last moment; a bare date includes that day."
)
@click.option(
    "--clock",
    "word",
    required=True,
    help="mtime, names, or what to add to the names, such as +26y3d or -1h.",
)
@click.option("--reason", default="", help="The reason, for later readers.")
@_confirm_option
def add(
    *,
    place: TreeOptions,
    camera: str,
    start: GivenTime,
    end: GivenTime,
    word: str,
    reason: str,
    no_confirm: bool,
) -> None:
    """Correct the clock of a camera for the clips whose names lie between two times.

    Shows when they were recorded by the correction, and asks. All rules by age and all holds then go by it,
    and the journal has a line for each clip that is known.
    """
    from camarchiver.journal.event import EventKind
    from camarchiver.output import lists
    from camarchiver.queries.find import corrected_clips
    from camarchiver.state import clock_corrections, volume_marker

    ClockType().convert(word, None, click.get_current_context())
    pipeline, zone = _pipeline(place), place.zone()
    until = end.limit.replace(tzinfo=zone, fold=1)
    made = clock_corrections.new(camera, start.start.replace(tzinfo=zone), until, word, reason)
    volume_marker.check_writable(pipeline.trees, removes=False)
    clips = list(corrected_clips(pipeline, made))
    if not clips:
        raise UsageError(
            "no clip of this camera has a name in that range",
            hint="camarchiver find lists the clips; --from and --to are the times in their names",
        )
    for line in lists.correction_effect(clips, zone):
        click.echo(line, err=True)
    _agree("correcting a clock", f"Correct the clock of {camera}?", no_confirm=no_confirm)
    clock_corrections.add(pipeline.trees.state, made)
    corrected = [clip for clip in clips if clip.corrected is not None]
    pipeline.writer.clocks(EventKind.CLOCK_CORRECTED, corrected, _words(made))
    click.echo(lists.correction_line(made, zone))


@clock.command(
    "list",
    short_help="List the corrections.",
    examples=(
        ("camarchiver clock list", "all corrections with their ids"),
        ("camarchiver clock list --json", "the same for programs"),
        ("camarchiver clock list -C /mnt/camera", "of another camera folder"),
    ),
    codes=ASKS,
)
@with_place
@json_option
def list_corrections(*, place: TreeOptions, as_json: bool) -> None:
    """List the corrections of clocks."""
    from camarchiver.output import lists
    from camarchiver.state import clock_corrections

    found = clock_corrections.read(_pipeline(place).trees.state)
    if as_json:
        from camarchiver.output.json import answers

        click.echo(answers.corrections(found), nl=False)
        return
    if not found:
        click.echo("there are no corrections; camarchiver clock add makes one", err=True)
    for each in found:
        click.echo(lists.correction_line(each, place.zone()))


@clock.command(
    short_help="Take a correction back.",
    examples=(
        ("camarchiver clock remove 3f9a1c07", "asks before it takes the correction back"),
        ("camarchiver clock remove 3f9a1c07 -y", "does not ask"),
        ("camarchiver clock remove 3f9a1c07 -C /mnt/camera", "of another camera folder"),
    ),
    codes=ASKS,
)
@with_place
@click.argument("name", metavar="ID", type=GivenText(), shell_complete=completions.corrections)
@_confirm_option
def remove(*, place: TreeOptions, name: str, no_confirm: bool) -> None:
    """Take correction ID back: its clips have the times again that they had before."""
    from camarchiver.journal.event import EventKind
    from camarchiver.output import lists
    from camarchiver.queries.find import corrected_clips
    from camarchiver.state import clock_corrections

    pipeline, zone = _pipeline(place), place.zone()
    found = clock_corrections.find(pipeline.trees.state, name)
    _agree(
        "taking a correction back", f"Take back {lists.correction_line(found, zone)}?", no_confirm=no_confirm
    )
    clips = [clip for clip in corrected_clips(pipeline, found) if clip.corrected is not None]
    clock_corrections.remove(pipeline.trees.state, name)
    without = (replace(clip, corrected=None) for clip in clips)
    pipeline.writer.clocks(EventKind.CLOCK_UNCORRECTED, without, _words(found))
    click.echo("removed " + lists.correction_line(found, zone))


def _pipeline(place: TreeOptions) -> Pipeline:
    from camarchiver.pipeline import Pipeline

    return Pipeline(place.trees(), place.zone(), "clock", conventions(click.get_current_context()))


def _agree(what: str, question: str, *, no_confirm: bool) -> None:
    if not no_confirm:
        require_consent(what, no_confirm=no_confirm)
        click.confirm(question, abort=True, err=True)


def _words(made: ClockCorrection) -> str:
    """What the journal says of a correction."""
    return f"clock {made.word}, correction {made.id}" + (f": {made.reason}" if made.reason else "")
