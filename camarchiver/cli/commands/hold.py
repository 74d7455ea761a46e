"""`camarchiver hold`: time ranges that nothing may remove."""

from __future__ import annotations

from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camarchiver.cli import completions
from camarchiver.cli.conventions import conventions
from camarchiver.cli.help_page import ASKS, HelpGroup
from camarchiver.cli.options import json_option, option, with_place
from camarchiver.cli.session import TreeOptions, require_consent
from camarchiver.cli.types import CameraNameType, GivenPath, GivenText, GivenTime, TimeType
from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode, StorageError, UsageError

if TYPE_CHECKING:
    from camarchiver.domain.hold import Hold


_outbox_option = click.option(
    "--outbox",
    type=GivenPath(path_type=Path),
    help="Use the holds of a recorder's outbox instead of an archive's.",
)


_CODES = (*ASKS, ExitCode.PARTIAL)


@click.group(
    cls=HelpGroup,
    examples=(
        (
            "camarchiver hold add --camera front --from 2026-05-03 --to 2026-05-03 --reason burglary",
            "keep a day of one camera",
        ),
        ("camarchiver hold list", "all holds with their ids"),
        ("camarchiver hold export 3f9a1c07 /media/stick", "copy what a hold covers, with checksums"),
    ),
    codes=_CODES,
)
def hold() -> None:
    """Keep the clips of a time range, of one camera or of all, from being removed or encoded again."""


@hold.command(
    short_help="Hold the clips between two times.",
    examples=(
        (
            "camarchiver hold add --from 2026-05-03 --to 2026-05-04 --reason burglary",
            "two whole days of all cameras",
        ),
        (
            "camarchiver hold add --camera yard --from '2026-05-03 14:00' --to '2026-05-03 15:00' --reason x",
            "an hour of one camera",
        ),
        (
            "camarchiver hold add --from 2026-05-03 --to 2026-05-03 --until 2027-05-03 --reason police",
            "for a year",
        ),
    ),
    codes=_CODES,
)
@with_place
@_outbox_option
@click.option(
    "--camera",
    type=CameraNameType(),
    shell_complete=completions.cameras,
    help="This camera only.  [default: all]",
)
@click.option(
    "--from", "start", type=TimeType(), required=True, help="First moment, such as '2026-05-03 14:00'."
)
@click.option(
    "--to", "end", type=TimeType(), required=True, help="Last moment; a bare date includes that day."
)
@click.option("--until", type=TimeType(), help="When the hold expires.  [default: never]")
@click.option("--reason", required=True, help="The reason, for later readers.")
def add(
    *,
    place: TreeOptions,
    outbox: Path | None,
    camera: str | None,
    start: GivenTime,
    end: GivenTime,
    until: GivenTime | None,
    reason: str,
) -> None:
    """Hold the clips between two times, given in the cameras' local time."""
    from camarchiver.output import lists
    from camarchiver.runtime import clock
    from camarchiver.state import holds

    zone = place.zone()
    lapses = _last(until, zone) if until else None
    if lapses is not None and lapses <= clock.now(zone):
        raise UsageError(
            f"a hold until {lapses:%Y-%m-%d %H:%M} has lapsed already", hint="name a later --until"
        )
    made = holds.add(
        _state(place, outbox),
        start.start.replace(tzinfo=zone),
        _last(end, zone),
        camera=camera or "",
        reason=reason,
        until=lapses,
    )
    click.echo(lists.hold_line(made, zone))
    if outbox is None:
        click.echo(_covered(made, place), err=True)


def _covered(made: Hold, place: TreeOptions) -> str:
    """How many clips a new hold covers, since a mistyped camera or day covers nothing."""
    from camarchiver.output import lists
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries.history import ClipHistory

    pipeline = Pipeline(place.trees(), place.zone(), "hold", conventions(click.get_current_context()))
    return lists.covered_line(*ClipHistory(pipeline).covered(made, pipeline.started))


@hold.command(
    "list",
    short_help="List the holds.",
    examples=(
        ("camarchiver hold list", "all holds with their ids"),
        ("camarchiver hold list --json", "the same for programs"),
        ("camarchiver hold list --outbox recorded_clips", "the holds of a recorder"),
    ),
    codes=_CODES,
)
@with_place
@_outbox_option
@option(
    "--repair",
    is_flag=True,
    envvar=None,
    help="Move unreadable copies of the list aside and start a new one.",
)
@json_option
def list_holds(*, place: TreeOptions, outbox: Path | None, repair: bool, as_json: bool) -> None:
    """List the holds, including expired ones."""
    from camarchiver.output import lists
    from camarchiver.runtime import clock
    from camarchiver.state import holds

    state, zone = _state(place, outbox), place.zone()
    if repair:
        for moved in holds.repair(state):
            click.echo(f"unreadable, put aside: {moved}", err=True)
    if as_json:
        from camarchiver.output.json import answers

        click.echo(answers.held(holds.read(state), clock.now(zone)), nl=False)
        return
    found = holds.read(state)
    if not found:
        click.echo("there are no holds; camarchiver hold add makes one", err=True)
    for each in found:
        click.echo(lists.hold_line(each, zone, clock.now(zone)))


@hold.command(
    short_help="Remove a hold.",
    examples=(
        ("camarchiver hold remove 3f9a1c07", "asks before it removes the hold"),
        ("camarchiver hold remove 3f9a1c07 -y", "does not ask"),
        ("camarchiver hold remove 3f9a1c07 -C /mnt/camera", "of another camera folder"),
    ),
    codes=_CODES,
)
@with_place
@_outbox_option
@click.argument("name", metavar="ID", type=GivenText(), shell_complete=completions.holds)
@option("-y", "--no-confirm", is_flag=True, envvar=None, help="Don't ask.")
def remove(*, place: TreeOptions, outbox: Path | None, name: str, no_confirm: bool) -> None:
    """Remove hold ID: the policy applies again to what it kept."""
    from camarchiver.output import lists
    from camarchiver.state import holds

    state, zone = _state(place, outbox), place.zone()
    found = next((each for each in holds.read(state) if each.id == name), None)
    if found is not None and not no_confirm:
        require_consent("removing a hold", no_confirm=no_confirm)
        click.confirm(f"Remove {lists.hold_line(found, zone)}?", abort=True, err=True)
    click.echo("removed " + lists.hold_line(holds.remove(state, name), zone))


@hold.command(
    short_help="Copy what a hold keeps to another disk.",
    examples=(
        ("camarchiver hold export 3f9a1c07 /media/stick", "copy all that the hold keeps"),
        ("camarchiver hold export 3f9a1c07 /media/stick --playable", "add copies that every player can play"),
        ("cd /media/stick && b2sum -c B2SUMS", "check the copies"),
    ),
    codes=(*_CODES, ExitCode.ALREADY_RUNNING, ExitCode.ENCODER),
)
@with_place
@click.argument("name", metavar="ID", type=GivenText(), shell_complete=completions.holds)
@click.argument("target", metavar="DIR", type=GivenPath(path_type=Path))
@click.option("--playable", is_flag=True, help="Add copies in H.264, which every player can play.")
@click.option("--ffmpeg", type=click.Path(path_type=Path), help="The ffmpeg that makes them.")
@json_option
def export(
    *, place: TreeOptions, name: str, target: Path, playable: bool, ffmpeg: Path | None, as_json: bool
) -> int:
    """Copy all that hold ID keeps into DIR: sources, archives, trashed copies, pictures, journal lines.

    The file B2SUMS there has their checksums: cd DIR && b2sum -c B2SUMS. Nothing is overwritten, and an
    export that was interrupted can be run again.
    The exit code is 3 if a part could not be copied.
    """
    from camarchiver.cli.runs.export import ExportOptions, run_export

    return run_export(
        ExportOptions(place, name, target, playable, ffmpeg, as_json),
        conventions(click.get_current_context()),
    )


def _state(place: TreeOptions, outbox: Path | None) -> Path:
    from camarchiver.state import volume_marker

    if outbox is not None:
        if not outbox.is_dir():
            raise StorageError(f"{outbox} is not a folder", hint="name what the recorder has as --outbox")
        return outbox.absolute() / STATE_FOLDER
    trees = place.trees()
    volume_marker.check_roots(trees)
    volume_marker.check_place(trees)
    volume_marker.check(trees)
    return trees.state


def _last(moment: GivenTime, zone: tzinfo) -> datetime:
    # In the hour that repeats in autumn this is the later moment, so that both clips of it are held.
    return moment.limit.replace(tzinfo=zone, fold=1)
