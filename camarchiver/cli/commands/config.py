"""`camarchiver config`: what is set, where it comes from, and a file to start with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import click

from camarchiver import config as config_files
from camarchiver.cli.conventions import camera_tables, conventions
from camarchiver.cli.help_page import HelpGroup
from camarchiver.cli.options import (
    CONFIG_KEY,
    FOLDER,
    commands_of,
    config_option,
    keys_of,
    option,
    origin,
    timezone_option,
)
from camarchiver.cli.session import TreeOptions
from camarchiver.errors import ConfigError, ExitCode, UsageError, raise_all, sentence
from camarchiver.runtime.formatting import without_secrets

EXAMPLE = """\
# camarchiver: every key is an option without its dashes (cameras, masks, zones and schedules in the plural).
# Keys up here apply to every command, those in a section only to that command.
# The command line overrides CAMARCHIVER_* in the environment, which overrides this file.
# camarchiver config check tries this file, camarchiver config show lists what applies.

# directory = "/camera"
# output = "/mnt/nas/archive"      # default: DIRECTORY/archived
# trash_root = "/camera/.deleted"  # best on the disk of the footage: elsewhere, it is copied there
# timezone = "Europe/Berlin"       # the cameras' zone; default: the machine's
# log_format = "json"              # one object per line
# metrics = "/var/lib/prometheus/node-exporter/camarchiver.prom"
# notify = ["/opt/camarchiver/bin/mail-report", "root"]  # gets the JSON report of a run with failures
# ping_url = "https://hc-ping.com/UUID"

[archive]
# age = 30                         # days
# encoder = "auto"                 # or qsv, vaapi, nvenc, v4l2m2m, software
# codec = "h264"                   # if a player can't play AV1
# quality = 30                     # on the encoder's own scale, lower is better; default: by encoder
# jobs = 2                         # clips at the same time; default: by machine
# max_runtime = "6h"
# exclude = ["*/test/*"]
# same_content = "camera"          # "any": equal bytes of several cameras share one archive, too
# page = true                      # write the pages of [page] afterwards; also in [watch]
# signed = "keep"                  # "reencode" also shrinks clips that the camera signed, and loses the proof

[watch]
# quiet_for = "10m"                # a clip that is written in place is finished when unchanged this long
# poll = "60s"                     # where the kernel reports no new files: NFS, SMB, FUSE
# codec = "h264"                   # keys of [archive] do not apply to watch

[cleanup]
# From cron, after archive: 30 7 * * *  camarchiver cleanup /camera -y
# age = 30                         # days: archived sources go to the trash
# trash_age = 21                   # days in the trash, then they are deleted
# archive_age = 400                # with clean_output
# clean_output = true
# quiet_age = 14                   # the same for clips in which certainly nothing moves
# max_size = "2TB"                 # source, archive and trash together
# min_free = "50GB"                # on each filesystem

# [camera.front_door]
# A camera's own limits for cleanup; if the command line or [cleanup] has one, too, the stricter one applies.
# age = 14
# archive_age = 400
# quiet_age = 14                   # clips in which certainly nothing moves
# max_size = "50GB"
# max_age_hard = 365               # nothing older is kept anywhere, for a legal maximum retention
# clock = "mtime"                  # if its own clock is wrong; or "names", or a correction such as "+26y3d"
# signed = "reencode"              # for archive and watch: this camera's rule unless the command line has one
# mask = ["0,0 1,0 1,0.1"]       # parts of the picture where motion in its clips is ignored; or a PNG
# zone = ["gate=0.6,0.4 1,0.4 1,1 0.6,1"]  # named parts, for find --motion --zone gate
# raw_rate = 12.5                  # frames per second of its .264 or .265 streams, which hold no times

[offsite]
# remote = "b2:cameras"            # a remote of rclone's config, and a path there
# what = "archives"                # or "held"; offsite = "none" in [camera.NAME] leaves a camera out
# bandwidth = "2M"                 # bytes per second, or "08:00,512K 23:00,off"
# verify = "read-back"             # default: by the remote's own hash where that proves a copy

[page]
# to = "/srv/camera-page"          # where pages that show the footage are written, outside the trees
# days = 60                        # only the last 60 days; default: all
# playable = true                  # H.264 copies of held clips that browsers can't play

[record]
# min_free = "4GB"

# Several cameras in one process: every key of [record] may be in a camera's own table.
# [record.yard]
# source = "rtsp://192.0.2.10/stream1"
# credentials = "/etc/camarchiver/yard.secret"

[folders]
# pass_over = ["Lost Footage"]     # besides the recycle bins, snapshots and thumbnails of NAS systems

[patterns]
# Names that camarchiver doesn't know yet, as regular expressions with named groups. This one reads
# yard1-20260503-142000.mp4: camera yard1, on 3 May 2026 at 14:20:00.
# yard = '(?P<camera>yard\\d)-(?P<time>\\d{8}-\\d{6})'
# `camarchiver config names DIRECTORY` shows how names are read, and proposes patterns for the others.
"""


_NUMBER = re.compile(r"0|[1-9]\d*(\.\d+)?")

_CODES = (ExitCode.DONE, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.STORAGE)


@click.group(
    cls=HelpGroup,
    examples=(
        ("camarchiver config init", "write a commented file to start with"),
        ("camarchiver config check", "is everything in the config files known and valid?"),
        ("camarchiver config show cleanup", "every value, and where it comes from"),
    ),
    codes=_CODES,
)
def config() -> None:
    """Show, check or create the configuration."""


@config.command(
    short_help="Show each value and where it comes from.",
    examples=(
        ("camarchiver config show", "the values of archive"),
        ("camarchiver config show cleanup", "those of another command"),
        ("camarchiver config show record --config yard.toml", "by this file alone"),
    ),
    codes=_CODES,
)
@click.argument("command", default="archive")
@config_option
@click.pass_context
def show(context: click.Context, command: str) -> None:
    """Show the values that COMMAND would run with, as one would write them, and where each comes from."""
    from camarchiver.output.lists import setting_line

    for key, value, place in _effective(context, command):
        click.echo(setting_line(key, value, place))


@config.command(
    short_help="Check whether the config files are valid.",
    examples=(
        ("camarchiver config check /camera", "also whether the cameras that it names have clips there"),
        ("camarchiver config check --config new.toml", "a file before it is put in place"),
        (
            "camarchiver config check && sudo systemctl restart camarchiver-watch",
            "go on only if all is valid",
        ),
    ),
    codes=_CODES,
)
@click.argument("directory", type=FOLDER, required=False)
@option("-o", "--output", type=FOLDER, help="Archive root.  [default: DIRECTORY/archived]")
@option(
    "--config",
    "named",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Check this file alone, instead of ~/.config/camarchiver/config.toml and /etc/camarchiver.toml.",
)
@click.pass_context
def check(context: click.Context, directory: Path | None, output: Path | None, named: Path | None) -> None:
    """Check the config files and the CAMARCHIVER_* variables; print every error, exit 10 if there is one.

    With DIRECTORY also whether each camera of the config has, or had, a clip there.
    """
    from camarchiver.cli import config_check

    # Without the usual callback of --config, which would stop at the files' unknown keys.
    loaded = context.meta[CONFIG_KEY] = config_files.load(named)
    errors = [
        *config_check.file_errors(loaded, context),
        *config_check.wrong_variables(context),
        *config_check.unknown_variables(context),
    ]
    raise_all(each if isinstance(each, ConfigError) else ConfigError(sentence(each)) for each in errors)
    if directory is not None:
        _check_cameras(context, TreeOptions(directory, output, None, ""))
    click.echo("\n".join(f"{file}: sound" for file in loaded.files) or "there is no config file")


def _check_cameras(context: click.Context, place: TreeOptions) -> None:
    """Refuse cameras of the config that never had a clip. Raises ConfigError, StorageError."""
    from camarchiver.output.no_work_text import unknown_camera
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries import cameras

    pipeline = Pipeline(place.trees(), place.zone(), "config", conventions(context))
    missing, known = cameras.unknown(pipeline, camera_tables(context))
    if missing:
        tables = "; ".join(f"[camera.{name}]: {unknown_camera(name, known)}" for name in sorted(missing))
        raise ConfigError(tables, hint="write each name as the clips have it")


@config.command(
    short_help="Write a commented config file.",
    examples=(
        ("camarchiver config init", "~/.config/camarchiver/config.toml"),
        ("sudo camarchiver config init /etc/camarchiver.toml", "for all users"),
        ("camarchiver config init try.toml", "a file to try with --config try.toml"),
    ),
    codes=_CODES,
)
@click.argument("file", type=FOLDER, required=False)
def init(file: Path | None) -> None:
    """Write a commented config file to FILE, by default the user's own; never overwrite a file."""
    target = file or config_files.own_file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as stream:
            stream.write(EXAMPLE)
    except FileExistsError as error:
        raise ConfigError(f"{target} exists already", hint="edit it, or name another file") from error
    click.echo(f"wrote {target}")


@config.command(
    "accept-volume",
    short_help="Accept a moved or replaced archive.",
    examples=(
        ("camarchiver config accept-volume /camera", "the archive in its usual place"),
        ("camarchiver config accept-volume /camera -o /mnt/nas/archive", "an archive that was moved there"),
        ("camarchiver doctor /camera", "check the result"),
    ),
    codes=_CODES,
)
@click.argument("directory", type=FOLDER, default=Path("/camera"))
@option("-o", "--output", type=FOLDER, help="Archive root.  [default: DIRECTORY/archived]")
def accept_volume(directory: Path, output: Path | None) -> None:
    """Accept the archive that is here now as the archive of the source DIRECTORY.

    Needed once after an archive was moved to another disk or replaced by a new one on purpose.
    """
    from camarchiver.state import volume_marker

    trees = TreeOptions(directory, output, None, "").trees()
    volume_marker.check_roots(trees)
    volume_marker.check_place(trees)
    volume_marker.check_writable(trees, removes=True)
    volume_marker.mark(trees)
    click.echo(f"{trees.source} now archives to {trees.archive}")


@config.command(
    short_help="Show how the names of a tree are read.",
    examples=(
        ("camarchiver config names /camera", "which names are read, and patterns for the others"),
        ("camarchiver config names /camera --config try.toml", "with the patterns of this file"),
        ("camarchiver config names /mnt/sdcard --timezone Europe/Berlin", "a card before it is copied"),
    ),
    codes=_CODES,
)
@click.argument("directory", type=FOLDER, default=Path("/camera"))
@option("-o", "--output", type=FOLDER, help="Archive root, not searched.  [default: DIRECTORY/archived]")
@option("--trash-root", type=FOLDER, help="Trash root, not searched.  [default: DIRECTORY/.deleted]")
@timezone_option
@config_option
@click.pass_context
def names(
    context: click.Context, directory: Path, output: Path | None, trash_root: Path | None, timezone: str
) -> None:
    """Show how the names of the clips below DIRECTORY are read, and which are not.

    For names that are not read it proposes a pattern for the config file.
    """
    from camarchiver.naming.patterns import Names
    from camarchiver.output.names_text import survey_lines
    from camarchiver.queries.name_survey import survey
    from camarchiver.state import volume_marker

    place = TreeOptions(directory, output, trash_root, timezone)
    trees = place.trees()
    volume_marker.check_roots(trees)
    pruned = {str(trees.archive), str(trees.trash)}
    words = conventions(context)
    found = survey(
        trees.source,
        Names(words.patterns),
        place.zone(),
        pruned=pruned,
        passed_over=words.passed_over,
    )
    click.echo("\n".join(survey_lines(found, trees.source)))


def _commands(context: click.Context) -> dict[str, click.Command]:
    root = context.find_root().command
    assert isinstance(root, click.Group)
    return {name: command for name, command in commands_of(root, context).items() if keys_of(command)}


def _effective(context: click.Context, name: str) -> Iterator[tuple[str, str, str]]:
    """Key, value and origin of each parameter, as the command itself would read them."""
    commands = _commands(context)
    if name not in commands:
        raise UsageError(f"{name!r} has no configuration", hint="try one of " + ", ".join(commands))
    files: config_files.Config = context.meta[CONFIG_KEY]
    named = _named_file(context)
    arguments = ["--config", str(named)] if named and files.files else []
    command, seen = commands[name], set[str]()
    if not isinstance(command, click.Group):
        yield from _values_of(command, name, arguments, context.find_root())
        return
    with command.make_context(name, [], parent=context.find_root(), resilient_parsing=True) as group:
        for inner, each in command.commands.items():
            found = [entry for entry in _values_of(each, inner, arguments, group) if entry[0] not in seen]
            seen.update(key for key, _, _ in found)
            yield from found


def _values_of(
    command: click.Command, name: str, arguments: list[str], parent: click.Context
) -> Iterator[tuple[str, str, str]]:
    with command.make_context(name, list(arguments), parent=parent) as inner:
        known = {parameter.name: parameter for parameter in command.params}
        for key in sorted(keys_of(command)):
            value, _ = known[key].consume_value(inner, {})
            yield key, _as_toml(value), origin(inner, key)


def _named_file(context: click.Context) -> Path | None:
    files: config_files.Config = context.meta[CONFIG_KEY]
    return files.files[0] if files.files and files.files != config_files.existing_files() else None


def _as_toml(value: Any) -> str:
    """A value as one would write it in a config file; empty if there is none."""
    if value is None or value == "" or value == () or isinstance(value, Enum):  # click's "unset"
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    text = str(value)
    return text if _NUMBER.fullmatch(text) else json.dumps(without_secrets(text), ensure_ascii=False)
