"""`camarchiver doctor`."""

from __future__ import annotations

import copy
import os
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camarchiver import config as config_files
from camarchiver.cli.conventions import camera_tables, conventions
from camarchiver.cli.help_page import ASKS, HelpCommand
from camarchiver.cli.options import (
    CONFIG_FILE,
    CONFIG_KEY,
    checked_values,
    commands_of,
    json_option,
    option,
    options,
    timezone_option,
)
from camarchiver.cli.session import TreeOptions, show
from camarchiver.errors import CamarchiverError, ConfigError
from camarchiver.naming.system_folders import KNOWN, PassedOver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camarchiver.doctor.checks import EncodingTarget, RecorderTarget
    from camarchiver.doctor.findings import Finding
    from camarchiver.domain.clip import Trees
    from camarchiver.offsite.rclone.remote import RcloneSettings

_WRONG = "camarchiver.doctor.config"
"""The context's key for the error in the config: here it is a finding and does not stop the command."""


def _load_leniently(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    loaded = config_files.Config()
    try:
        loaded = config_files.load(value)
        context.default_map = checked_values(loaded, context.command, context, "doctor")
    except CamarchiverError as error:
        context.meta[_WRONG] = error
    context.meta[CONFIG_KEY] = loaded
    return value


_WITH_CHANNELS = ("archive", "cleanup", "record", "verify", "watch")
"""Commands whose runs report to channels."""

_ANY = click.Path(path_type=Path, readable=False)
"""A folder that can't be read is a finding, too."""

doctor_options = options(
    click.argument("directory", type=_ANY, default=Path("/camera"), envvar="CAMARCHIVER_DIRECTORY"),
    option("-o", "--output", type=_ANY, help="Archive root.  [default: DIRECTORY/archived]"),
    option("--trash-root", type=_ANY, help="Trash root.  [default: DIRECTORY/.deleted]"),
    timezone_option,
    json_option,
    option("-q", "--quiet", is_flag=True, help="Print only what is wrong."),
    option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        is_eager=True,
        callback=_load_leniently,
        help="Read this file alone, instead of ~/.config/camarchiver/config.toml over /etc/camarchiver.toml.",
    ),
)


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver doctor /camera", "check everything that camarchiver needs here"),
        ("sudo -u camarchiver camarchiver doctor /camera", "as the user that archives"),
        ("camarchiver doctor /camera -q", "only what is wrong"),
    ),
    codes=ASKS,
)
@doctor_options
@click.pass_context
def doctor(
    context: click.Context,
    /,
    *,
    directory: Path,
    output: Path | None,
    trash_root: Path | None,
    timezone: str,
    as_json: bool,
    quiet: bool,
    config: Path | None,
) -> int:
    """Check everything that camarchiver needs here, and print how to fix what is wrong.

    This tries every encoder, and writes a hidden folder into each root for a moment. Exit 1 if anything is
    wrong. Run it as the user that archives.
    """
    import logging

    from camarchiver.doctor.checks import DoctorTarget, examine
    from camarchiver.doctor.findings import Finding, conclusion
    from camarchiver.output import checks_text
    from camarchiver.output.json import answers

    # What other commands would log as a warning is a finding here.
    logging.getLogger("camarchiver").addHandler(logging.NullHandler())
    files = list(_config(context))
    chosen = {name: _values(context, name, config, files) for name in _WITH_CHANNELS}
    with_channels = chosen.values()
    loaded: config_files.Config = context.meta[CONFIG_KEY]
    target = DoctorTarget(
        TreeOptions(directory, output, trash_root, "").trees(),
        timezone,
        _encoding(chosen["archive"]),
        _recorder(chosen["record"], configured="record" in loaded.sections),
        metrics=tuple(dict.fromkeys(each["metrics"] for each in with_channels if each["metrics"])),
        commands=tuple(dict.fromkeys(each["notify"] for each in with_channels if each["notify"])),
        passed_over=_passed_over(context),
        offsite=_offsite(context, config),
    )
    findings = chain(files, _cameras(context, target.trees), examine(target))
    found = list[Finding]()
    table = checks_text.Table(quiet=quiet)
    for finding in findings:
        found.append(finding)
        show(() if as_json else table.lines(finding))
    click.echo(answers.diagnosed(found) if as_json else f"{table.sum()}\n", nl=False)
    return conclusion(found).exit_code


def _config(context: click.Context) -> Iterator[Finding]:
    """Whether the config files are valid, as `config check` reports it."""
    from camarchiver.cli import config_check
    from camarchiver.doctor.findings import fine, remark, trouble

    loaded: config_files.Config = context.meta[CONFIG_KEY]
    wrong: list[CamarchiverError] = list(config_check.file_errors(loaded, context))
    if (unread := context.meta.get(_WRONG)) is not None and not loaded.sections:
        wrong = [*(unread.each if isinstance(unread, ConfigError) else (unread,)), *wrong]
    yield from (trouble("config", error.message, error.hint) for error in wrong)
    yield from (
        remark("config", error.message, error.hint) for error in config_check.unknown_variables(context)
    )
    if wrong:
        return
    for file in loaded.files:
        yield fine("config", f"{file} is sound")
    if not loaded.files:
        yield remark("config", "there is no config file", "camarchiver config init writes one")


def _cameras(context: click.Context, trees: Trees) -> Iterator[Finding]:
    """Whether the cameras of the config have, or had, clips here, as `config check DIRECTORY` reports it."""
    from camarchiver.doctor.findings import remark
    from camarchiver.output.no_work_text import unknown_camera
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries import cameras
    from camarchiver.runtime import clock

    try:
        words = conventions(context)
        pipeline = Pipeline(trees, clock.zone(""), "doctor", words)
        missing, known = cameras.unknown(pipeline, camera_tables(context))
    except (CamarchiverError, OSError):
        return  # what is wrong with the config, or with the trees, is a finding of its own
    for name in sorted(missing):
        yield remark("config", f"[camera.{name}]: {unknown_camera(name, known)}", "correct the name")


def _passed_over(context: click.Context) -> PassedOver:
    """The folders that the config says hold no clips; an invalid config is a finding of its own."""
    try:
        return conventions(context).passed_over
    except CamarchiverError:
        return KNOWN


def _offsite(context: click.Context, config: Path | None) -> RcloneSettings | None:
    """The remote of `[offsite]`; an invalid config is a finding of its own."""
    from camarchiver.cli.offsite_options import configured
    from camarchiver.offsite.rclone.remote import RcloneSettings

    context.meta[CONFIG_FILE] = config
    try:
        values = configured(context)
    except (CamarchiverError, click.ClickException):
        return None
    if not values["remote"]:
        return None
    return RcloneSettings(values["remote"], values["rclone"], values["bandwidth"])


def _commands(context: click.Context) -> dict[str, click.Command]:
    root = context.find_root().command
    assert isinstance(root, click.Group)
    return commands_of(root, context)


def _encoding(chosen: Mapping[str, Any]) -> EncodingTarget:
    from camarchiver.doctor.checks import EncodingTarget
    from camarchiver.media.encoders import Backend, EncodeSettings

    return EncodingTarget(
        EncodeSettings(chosen["quality"], chosen["preset"], chosen["max_height"], chosen["audio"]),
        "auto" if chosen["encoder"] == "auto" else Backend(chosen["encoder"]),
        chosen["codec"],
        chosen["device"],
        chosen["ffmpeg"],
    )


def _recorder(chosen: Mapping[str, Any], *, configured: bool) -> RecorderTarget | None:
    from camarchiver.doctor.checks import RecorderTarget

    if not (configured or chosen["source"] or chosen["spool"].is_dir()):
        return None
    sources = tuple(each for each in (chosen["source"], chosen["detect_source"]) if each)
    return RecorderTarget(sources, chosen["credentials"], chosen["spool"], chosen["outbox"])


def _values(
    context: click.Context, name: str, named: Path | None, findings: list[Finding]
) -> Mapping[str, Any]:
    """The values that a command would read from config and environment; its defaults if these are wrong."""
    from camarchiver.doctor.findings import trouble

    command = _commands(context)[name]
    arguments = ["--config", str(named)] if named else []
    try:
        with command.make_context(name, arguments, parent=context.find_root()) as subcommand:
            return subcommand.params
    except CamarchiverError:
        pass  # _config has reported it
    except click.ClickException as error:
        remedy = "correct or unset that variable of the environment, or that key of the config"
        findings.append(trouble("config", f"{name}: {error.format_message()}", remedy))
    with _without_environment(command).make_context(name, ["--config", os.devnull]) as subcommand:
        return subcommand.params


def _without_environment(command: click.Command) -> click.Command:
    bare = copy.copy(command)
    bare.params = [copy.copy(each) for each in command.params]
    for each in bare.params:
        each.envvar = None
    return bare
