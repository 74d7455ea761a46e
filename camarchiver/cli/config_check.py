"""All that is wrong in config files and environment: unknown names, and values that no option takes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click

from camarchiver import config as config_files
from camarchiver.cli.conventions import (
    camera_tables,
    check_mask,
    folders_to_pass_over,
    own_patterns,
    views_of,
)
from camarchiver.cli.options import (
    cameras_values,
    checked_values,
    commands_of,
    key_errors,
    sharing_section,
)
from camarchiver.config import nearest
from camarchiver.errors import CamarchiverError, ConfigError

_PREFIX = "CAMARCHIVER_"

_OTHERS = frozenset({"CAMARCHIVER_HOST_ID", "CAMARCHIVER_COLOR"})
"""Variables that belong to no option."""


def file_errors(loaded: config_files.Config, context: click.Context) -> Iterator[CamarchiverError]:
    """Every error in the config files, once: a key above all sections is a value of many commands."""
    found = {error.message: error for error in _file_errors(loaded, context)}
    yield from found.values()


def _file_errors(loaded: config_files.Config, context: click.Context) -> Iterator[CamarchiverError]:
    yield from key_errors(loaded, context)
    for name, command in _commands(context).items():
        for each in sharing_section(command):
            yield from _raised(partial(checked_values, loaded, each, context, name))
        yield from _raised(partial(cameras_values, loaded, command, context))
    yield from _raised(partial(own_patterns, loaded))
    yield from _raised(partial(camera_tables, context))
    yield from _raised(partial(_check_masks, context))
    yield from _raised(partial(folders_to_pass_over, loaded))


def _check_masks(context: click.Context) -> None:
    with contextlib.suppress(ConfigError):  # reported already
        for view in views_of(camera_tables(context)).cameras.values():
            check_mask(view)


def unknown_variables(context: click.Context) -> Iterator[ConfigError]:
    """Variables of the environment that no option reads."""
    known = set(_OTHERS)
    for path, command in _all_commands(context):
        known.update(*(_variables(path, parameter) for parameter in command.params))
    for name in sorted(os.environ.keys() - known):
        if name.startswith(_PREFIX):
            yield ConfigError(
                f"{name} is a variable that no option reads{nearest(name, known)}",
                hint="unset it, or write the option's name in capitals after CAMARCHIVER_",
            )


def wrong_variables(context: click.Context) -> Iterator[ConfigError]:
    """Variables of the environment whose values their options do not take."""
    wrong: dict[str, ConfigError] = {}
    for path, command in _all_commands(context):
        inner = click.Context(command, info_name=path)
        for parameter in command.params:
            for name in sorted(_variables(path, parameter) & os.environ.keys()):
                value: Any = os.environ[name]
                if parameter.multiple or parameter.nargs != 1:
                    value = parameter.type.split_envvar_value(value)
                try:
                    parameter.type_cast_value(inner, value)
                except click.BadParameter as error:
                    wrong.setdefault(
                        name, ConfigError(f"{name}: {error.message}", hint="correct it or unset it")
                    )
    yield from wrong.values()


def _variables(path: str, parameter: click.Parameter) -> set[str]:
    """The names of the variables that set a parameter."""
    own = parameter.envvar
    names = {own} if isinstance(own, str) else set(own or ())
    if isinstance(parameter, click.Option) and parameter.allow_from_autoenv and parameter.name:
        names.add(f"{_PREFIX}{path}_{parameter.name}".upper().replace("-", "_").replace(" ", "_"))
    return names


def _commands(context: click.Context) -> dict[str, click.Command]:
    root = context.find_root().command
    assert isinstance(root, click.Group)
    return commands_of(root, context)


def _all_commands(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command, those within groups too, with the words that call it."""
    for name, command in _commands(context).items():
        yield name, command
        for inner, each in (command.commands if isinstance(command, click.Group) else {}).items():
            yield f"{name} {inner}", each


def _raised(check: Callable[[], Any]) -> Iterator[CamarchiverError]:
    """The errors that a check raises."""
    try:
        check()
    except ConfigError as error:
        yield from (ConfigError(each.message, hint=each.hint) for each in error.each)
    except CamarchiverError as error:
        yield error
