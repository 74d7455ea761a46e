"""The help pages: options in groups, examples, exit codes; `--help-all` also shows the rarely needed options.

They are made with click's own formatter. With cloup `--help` costs 2.1 times as much CPU as `import click`,
with rich-click 2.9 times; the limit is 1.6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from camarchiver.errors import ExitCode, exit_codes

Example = tuple[str, str]
"""A command line, and what it does."""

ASKS = (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.STORAGE)
"""How a command can end that only answers."""

TREES = "Where"
"""The heading of the options that name the trees."""

_HELP = frozenset({"--help", "--help-all"})
_LAST = _HELP | {"--color"}

COLOR = "camarchiver.color"
"""The context's key for the choice of colours."""

_DIRECTORY = "camarchiver.directory"
"""The context's key for what `-C` named."""

_ALL = "camarchiver.help_all"
"""The context's key for whether every option is shown."""


class GroupedOption(click.Option):
    """An option that knows its heading on the help page."""

    def __init__(
        self, *arguments: Any, heading: str = "", only_own_section: bool = False, **attributes: Any
    ) -> None:
        """With `only_own_section` a key above all sections of the config is not meant for it."""
        super().__init__(*arguments, **attributes)
        self.heading = heading
        self.only_own_section = only_own_section


def _directory_options(parameters: Sequence[click.Parameter]) -> Iterator[click.Option]:
    """`-C`, for a command with these parameters, if it takes DIRECTORY."""
    argument = next((each for each in parameters if each.name == "directory"), None)
    if not isinstance(argument, click.Argument):
        return
    headings = {each.heading for each in parameters if isinstance(each, GroupedOption)}

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            context.meta[_DIRECTORY] = value

    yield GroupedOption(
        ["-C", "--directory", "named_directory"],
        type=argument.type,
        expose_value=False,
        allow_from_autoenv=False,
        callback=keep,
        heading=TREES if TREES in headings else "",
        help="The same as DIRECTORY.",
    )


class HelpCommand(click.Command):
    """A command whose help page has groups of options, examples, and the exit codes that it may have.

    One that takes DIRECTORY also takes it as `-C`, as commands do whose arguments are something else.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[Example] = (),
        codes: Collection[ExitCode] = tuple(ExitCode),
        common: Collection[str] = (),
        **attributes: Any,
    ) -> None:
        """`common` are the options that `--help` shows, by their long names; by default all of them."""
        super().__init__(*arguments, **attributes)
        self.examples = examples
        self.codes = sorted(codes)
        self.common = frozenset(common)
        self._help_all = click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            allow_from_autoenv=False,
            callback=_show_all,
            help="Show all options and exit.",
        )

        self._directory = tuple(_directory_options(self.params))
        self._color = click.Option(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            envvar="CAMARCHIVER_COLOR",
            is_eager=True,
            expose_value=False,
            callback=_choose_color,
            help="Colours: by default on a terminal, unless NO_COLOR is set.",
        )

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, `-C`, `--color`, and `--help-all` if `--help` leaves some out."""
        own = super().get_params(ctx)
        more = (*self._directory, self._color, *((self._help_all,) if self.common else ()))
        return [*own[:-1], *more, *own[-1:]]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the directory that `-C` named. Raises UsageError if another one is named besides."""
        rest = super().parse_args(ctx, args)
        named = ctx.meta.pop(_DIRECTORY, None)
        if named is not None:
            given = ctx.get_parameter_source("directory") is click.core.ParameterSource.COMMANDLINE
            if given and ctx.params["directory"] != named:
                both = f"{ctx.params['directory']} and -C {named}"
                raise click.UsageError(f"DIRECTORY is given twice: {both}", ctx)
            ctx.params["directory"] = named
            ctx.set_parameter_source("directory", click.core.ParameterSource.COMMANDLINE)
        return rest

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options in groups; without `--help-all` only the common ones, if any are named."""
        chosen = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        if self.common and not ctx.meta.get(_ALL):
            common = [each for each in chosen if not (self.common | _HELP).isdisjoint(each.opts)]
            _write_groups({"Common options": common}, ctx, formatter)
            formatter.write_paragraph()
            rare = len(chosen) - len(common)
            formatter.write_text(f"{rare} more options: {ctx.command_path} --help-all")
            return
        about_help = [each for each in chosen if not _LAST.isdisjoint(each.opts)]
        groups: dict[str, list[click.Option]] = {"Options": []}
        for each in chosen:
            if each not in about_help:
                heading = each.heading if isinstance(each, GroupedOption) else ""
                groups.setdefault(heading or "Options", []).append(each)
        groups.setdefault("Other" if any(groups.values()) else "Options", []).extend(about_help)
        _write_groups(groups, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples and the exit codes."""
        if self.examples:
            with formatter.section("Examples"):
                for line, words in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
                    with formatter.indentation(), formatter.indentation():
                        formatter.write_text(words)
        formatter.write_paragraph()
        formatter.write_text(exit_codes(self.codes))


class HelpGroup(HelpCommand, click.Group):
    """A group of these commands. A name that it doesn't know is answered with the nearest ones."""

    command_class = HelpCommand

    def __init__(self, *arguments: Any, has_section: bool = False, **attributes: Any) -> None:
        """With `has_section` its commands share one section of the config, which has the group's name."""
        super().__init__(*arguments, **attributes)
        self.has_section = has_section

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            # click looks only among the commands that were added; ours are imported on demand.
            raise no_such_command(error.command_name, self.list_commands(ctx), ctx) from error


def no_such_command(name: str, known: Iterable[str], context: click.Context) -> click.NoSuchCommand:
    """The error for an unknown command, with the nearest ones."""
    return click.NoSuchCommand(name, possibilities=known, ctx=context)


def _write_groups(
    groups: Mapping[str, Iterable[click.Option]], context: click.Context, formatter: click.HelpFormatter
) -> None:
    for heading, group in groups.items():
        records = [record for each in group if (record := each.get_help_record(context)) is not None]
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def _choose_color(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[COLOR] = value
        context.color = {"always": True, "never": False}.get(value)


def _show_all(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value and not context.resilient_parsing:
        context.meta[_ALL] = True
        click.echo(context.get_help(), color=context.color)
        context.exit()
