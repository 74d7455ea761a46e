"""Options that commands share, and how config files and the environment set them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from camarchiver import config as config_files
from camarchiver.cli.help_page import TREES, GroupedOption, HelpGroup
from camarchiver.cli.session import TreeOptions
from camarchiver.cli.types import DaysType, GivenPath, ReadableText, Size, from_toml
from camarchiver.errors import ConfigError, raise_all
from camarchiver.runtime import clock

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
OptionsT = TypeVar("OptionsT", bound=Struct)

CONFIG_KEY = "camarchiver.config"
"""The context's key for the loaded `Config`."""

CONFIG_FILE = "camarchiver.config_file"
"""The context's key for the file that `--config` names; its value is None if the option is not given."""

PAGE_TASK = "camarchiver.page.task"
"""The context's key for a list: `page` then puts its task there for another command, and runs nothing."""

CLEANUP = "What cleanup keeps"
"""Headings of help pages that several sets of options share."""

FOLDER = GivenPath(path_type=Path)


def _known_zone(name: str) -> None:
    if name:  # the machine's own zone is looked up when it is needed
        clock.zone(name)


TIME_ZONE = ReadableText("text", _known_zone)


def option(*names: str, **attributes: Any) -> Callable[[CommandT], CommandT]:
    """A click option that `CAMARCHIVER_NAME` sets for every command that has it.

    (`CAMARCHIVER_COMMAND_NAME`, which click adds by itself, sets it for one command only.) With
    `envvar=None` no variable sets it: an option that lifts a safety brake must be given each time.
    """
    long = next(name for name in names if name.startswith("--"))
    variable = "CAMARCHIVER_" + long.split("/")[0].strip("- ").replace("-", "_").upper()
    attributes.setdefault("envvar", variable)
    attributes.setdefault("allow_from_autoenv", attributes["envvar"] is not None)
    attributes.setdefault("show_default", attributes.get("default") not in (None, False, ()))
    return click.option(*names, cls=GroupedOption, **attributes)


def options(*decorators: Callable[[CommandT], CommandT], heading: str = "") -> Callable[[CommandT], CommandT]:
    """Several options as one decorator, in the order of the help page, under a heading there."""

    def apply(command: CommandT) -> CommandT:
        for decorate in reversed(decorators):
            command = decorate(command)
        for each in getattr(command, "__click_params__", ())[-len(decorators) :]:
            if isinstance(each, GroupedOption) and not each.heading:
                each.heading = heading
        return command

    return apply


def _load_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Use the config files as the command's defaults, before any other option is read."""
    loaded = config_files.load(value)
    context.meta[CONFIG_KEY] = loaded
    context.meta[CONFIG_FILE] = value
    errors = list(key_errors(loaded, context))
    try:
        context.default_map = checked_values(loaded, context.command, context, section_of(context))
    except ConfigError as error:
        errors.append(error)
    raise_all(errors)
    return value


def key_errors(loaded: config_files.Config, context: click.Context) -> Iterator[ConfigError]:
    """An error for each key and section that no command knows."""
    group = context.find_root().command
    if isinstance(group, click.Group) and _knows_all(loaded, context):
        return
    commands = {context.command.name or "": context.command}
    if isinstance(group, click.Group):
        commands = commands_of(group, context)
    valid = {name: keys_of(command) for name, command in commands.items() if keys_of(command)}
    yield from config_files.key_errors(loaded, {"": set().union(*valid.values()), **valid})


def _knows_all(loaded: config_files.Config, context: click.Context) -> bool:
    """Whether the running command itself knows every key, so that the others need not be imported."""
    known, own = keys_of(context.command), section_of(context)
    return bool(own) and all(
        section in config_files.TABLES or (section in ("", own) and values.keys() <= known)
        for section, values in loaded.sections.items()
    )


def section_of(context: click.Context) -> str:
    """The config section of the running command, which may be its group's; empty if it has none."""
    parent = context.parent.command if context.parent is not None else None
    if isinstance(parent, HelpGroup) and parent.has_section:
        return parent.name or ""
    name = context.command.name or ""
    root = context.find_root().command
    is_top = isinstance(root, click.Group) and root.get_command(context, name) is context.command
    return name if is_top else ""


def commands_of(group: click.Group, context: click.Context) -> dict[str, click.Command]:
    """The commands of a group by name, imported now if they were not yet."""
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def keys_of(command: click.Command) -> set[str]:
    """The config keys of a command: its parameters, except those that only make sense by hand."""
    command_line_only = {
        "as_json",
        "config",
        "dry_run",
        "no_confirm",
        "allow_large",
        "anew",
        "known",
        "repair",
        *("words", "path", "paths", "at", "states", "is_null", "run", "list_only"),
    }
    if isinstance(command, click.Group):
        own = sharing_section(command)
        return set[str]().union(*(keys_of(each) for each in own if each is not command))
    return {parameter.name for parameter in command.params if parameter.name} - command_line_only


def sharing_section(command: click.Command) -> tuple[click.Command, ...]:
    """The commands that read the section of this name: those of a group that has one, or the command."""
    if isinstance(command, HelpGroup) and command.has_section:
        return tuple(command.commands.values())
    return (command,)


def checked_values(
    loaded: config_files.Config, command: click.Command, context: click.Context, section: str
) -> dict[str, Any]:
    """A command's values from its section of the files, each accepted by its option's type.

    Raises ConfigError.
    """
    known = {parameter.name: parameter for parameter in command.params}
    values: dict[str, Any] = {}
    errors = []
    for key, entry in loaded.for_command(section).items():
        parameter = known.get(key)
        if parameter is None or not _is_meant(parameter, key, section, loaded):
            continue
        try:
            values[key] = from_toml(entry.value, parameter)
            parameter.type_cast_value(context, values[key])
        except click.BadParameter as error:
            where = f"[{section}] " if key in loaded.sections.get(section, {}) and section else ""
            message = f"{entry.file}: {where}{key}: {error.message}"
            errors.append(ConfigError(message, hint="correct that value"))
    raise_all(errors)
    return values


def _is_meant(parameter: click.Parameter, key: str, section: str, loaded: config_files.Config) -> bool:
    """Whether a key is meant for a parameter: another command's option may have its name for other values."""
    is_own = key in loaded.sections.get(section, {}) if section else False
    return is_own or not (isinstance(parameter, GroupedOption) and parameter.only_own_section)


def cameras_own(context: click.Context) -> dict[str, dict[str, Any]]:
    """The parsed values of the command's own table for each camera. Raises ConfigError.

    Values from the command line or the environment are left out: they apply to all cameras.
    """
    given = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)
    tables = cameras_values(context.meta[CONFIG_KEY], context.command, context)
    return {
        camera: {key: value for key, value in own.items() if context.get_parameter_source(key) not in given}
        for camera, own in tables.items()
    }


def cameras_values(
    loaded: config_files.Config, command: click.Command, context: click.Context
) -> dict[str, dict[str, Any]]:
    """The parsed values of a command's table for each camera. Raises ConfigError."""
    known = {parameter.name: parameter for parameter in command.params}
    found: dict[str, dict[str, Any]] = {}
    errors = []
    for camera, values in loaded.cameras(command.name or "").items():
        own = found[camera] = {}
        for key, entry in values.items():
            if key not in known:  # `key_errors` reports it
                continue
            try:
                own[key] = known[key].type_cast_value(context, from_toml(entry.value, known[key]))
            except click.BadParameter as error:
                message = f"{entry.file}: [{command.name}.{camera}] {key}: {error.message}"
                errors.append(ConfigError(message, hint="correct that value"))
    raise_all(errors)
    return found


def origin(context: click.Context, name: str) -> str:
    """Where a parameter's value comes from, as text for the user."""
    source = context.get_parameter_source(name)
    if source is click.core.ParameterSource.DEFAULT_MAP:
        entry = _entries(context).get(name)
        return str(entry.file) if entry else "config"
    words = {
        click.core.ParameterSource.COMMANDLINE: "command line",
        click.core.ParameterSource.ENVIRONMENT: "environment",
    }
    return words.get(source, "default") if source else "default"


def has_camera_tables(context: click.Context) -> bool:
    """Whether the config files have settings for single cameras."""
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    return bool(loaded.table("camera"))


def is_on_command_line(context: click.Context, name: str) -> bool:
    """Whether a parameter was given on this command line."""
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _entries(context: click.Context) -> Mapping[str, config_files.Value]:
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    return loaded.for_command(section_of(context))


def config_option(command: CommandT) -> CommandT:
    """Adds `--config`, which is read before everything else."""
    return option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_load_config,
        help="Read this file alone, instead of ~/.config/camarchiver/config.toml over /etc/camarchiver.toml.",
    )(command)


json_option = option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")

timezone_option = option(
    "--timezone",
    type=TIME_ZONE,
    default="",
    show_default=False,
    help="The cameras' time zone, such as Europe/Berlin.",
)

tree_options = options(
    click.argument("directory", type=FOLDER, default=Path("/camera"), envvar="CAMARCHIVER_DIRECTORY"),
    option("-o", "--output", type=FOLDER, help="Archive root.  [default: DIRECTORY/archived]"),
    option("--trash-root", type=FOLDER, help="Trash root.  [default: DIRECTORY/.deleted]"),
    heading=TREES,
)

general_options = options(
    option(
        "--timezone",
        type=TIME_ZONE,
        default="",
        show_default=False,
        help="The cameras' time zone, such as Europe/Berlin.  [default: the machine's]",
        heading=TREES,
    ),
    option("--log-file", type=FOLDER, help="Log file, rotated by size.  [default: DIRECTORY/archiver.log]"),
    json_option,
    option("-q", "--quiet", is_flag=True, help="Print errors only."),
    option("-v", "--verbose", is_flag=True, help="List every file, and log more."),
    config_option,
    heading="Output and log",
)

consent_options = options(
    option("-n", "--dry-run", is_flag=True, envvar=None, help="Show the plan and change nothing."),
    option("-y", "--no-confirm", is_flag=True, envvar=None, help="Don't ask."),
    heading="Before anything changes",
)

sidecar_option = option(
    "--sidecar",
    type=click.Choice(["archive", "trash", "keep"]),
    default="archive",
    help="Where a clip's pictures and texts go when the clip is archived.",
)

trust_names_option = option(
    "--trust-names",
    is_flag=True,
    help="Use only the times in the names: this tree's mtimes mean nothing.",
)

min_free_option = option(
    "--min-free",
    type=Size(),
    help="Bytes that must stay free: archiving stops before it, and cleanup removes for it, such as 20GB."
    "  [default for archiving: room for a night of uploads]",
)

retention_options = options(
    option(
        "--archive-age",
        type=DaysType(),
        help="With --clean-output: remove archives of this age.  [default: --age]",
    ),
    option(
        "--quiet-age",
        type=DaysType(),
        help="Remove clips in which certainly nothing moves at this age already: archived sources, and with"
        " --clean-output archives.",
    ),
    option(
        "--archive-age-offsite",
        type=DaysType(),
        help="Remove archives of this age that have an off-site copy, which is verified once more before;"
        " needs --offsite-counts.",
    ),
    option(
        "--offsite-counts",
        type=DaysType(),
        help="How long an off-site copy counts as a copy after it was verified.  [default: never]",
    ),
    option(
        "--trash-age",
        type=DaysType(zero=True),
        default="21",
        help="Delete what has been in the trash this long, if its archive exists or another rule removed the"
        " clip.",
    ),
    option(
        "--max-size",
        type=Size(),
        help="The most that source, archive and trash may use together, such as 500GB.",
    ),
    min_free_option,
    option("--clean-output", is_flag=True, help="Also remove archives, by age and by size."),
    option(
        "--max-removals",
        type=click.IntRange(min=0),
        default=5000,
        help="Refuse to remove more clips than this at once.",
    ),
    option(
        "--allow-large", is_flag=True, envvar=None, help="Allow a run to remove most of a camera's clips."
    ),
    heading=CLEANUP,
)

_place_options = options(
    option("-C", "--directory", type=FOLDER, default=Path("/camera"), help="Source root."),
    option("-o", "--output", type=FOLDER, help="Archive root.  [default: DIRECTORY/archived]"),
    option("--trash-root", type=FOLDER, help="Trash root.  [default: DIRECTORY/.deleted]"),
    timezone_option,
    config_option,
    heading=TREES,
)


def filled(kind: type[OptionsT], chosen: Mapping[str, Any]) -> OptionsT:
    """The chosen values that one kind of options has, by the names of its fields."""
    return kind(**{name: chosen[name] for name in kind.__struct_fields__})


def with_place(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the trees as options, for commands whose arguments are paths or times; passes a `place`."""

    @_place_options
    @functools.wraps(command)
    def placed(
        *, directory: Path, output: Path | None, trash_root: Path | None, timezone: str, **others: Any
    ) -> Any:
        return command(place=TreeOptions(directory, output, trash_root, timezone), **others)

    return placed
