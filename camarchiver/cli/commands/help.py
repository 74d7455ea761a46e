"""`camarchiver help`."""

from __future__ import annotations

import click

from camarchiver.cli.help_page import HelpCommand, no_such_command
from camarchiver.errors import ExitCode


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver help", "all commands"),
        ("camarchiver help archive", "the same as camarchiver archive --help"),
        ("camarchiver help hold add", "a command within another one"),
    ),
    codes=(ExitCode.DONE, ExitCode.USAGE),
)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show how a command is used: its options, examples and exit codes."""
    shown = context.find_root()
    for word in words:
        group = shown.command
        command = group.get_command(shown, word) if isinstance(group, click.Group) else None
        if command is None:
            known = group.list_commands(shown) if isinstance(group, click.Group) else ()
            raise no_such_command(word, known, shown)
        shown = click.Context(command, parent=shown, info_name=word)
    click.echo(shown.get_help())
