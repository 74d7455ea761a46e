"""`camarchiver completion`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from camarchiver.cli.help_page import HelpCommand
from camarchiver.config import home
from camarchiver.errors import ExitCode, StorageError, cause

_VARIABLE = "_CAMARCHIVER_COMPLETE"


@click.command(
    cls=HelpCommand,
    examples=(
        ("camarchiver completion bash --install", "for this user, from the next shell on"),
        ("source <(camarchiver completion bash)", "for this shell only"),
        ("camarchiver completion fish | less", "look at it first"),
    ),
    codes=(ExitCode.DONE, ExitCode.USAGE, ExitCode.STORAGE),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--install", is_flag=True, help="Write it to where this user's shell looks for it.")
@click.pass_context
def completion(context: click.Context, shell: str, *, install: bool) -> None:
    """Print what makes a shell complete commands, options, cameras and ids of holds and runs.

    With --install it is written to the folder in which the shell looks for completions of this user.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, shell
    script = found(context.find_root().command, {}, "camarchiver", _VARIABLE).source()
    if not install:
        click.echo(script)
        return
    place = _place(shell)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{script}\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"{place} can't be written: {cause(error)}",
            hint=f"camarchiver completion {shell} prints it: write it to where your shell looks",
        ) from error
    click.echo(f"installed: {place}")
    if shell == "zsh":
        click.echo(f"zsh finds it if ~/.zshrc has this above compinit: fpath=({place.parent} $fpath)")


def _place(shell: str) -> Path:
    """Where the shell looks for a user's completions."""
    data = Path(os.environ.get("XDG_DATA_HOME") or home() / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config")
    return {
        "bash": data / "bash-completion/completions/camarchiver",
        "zsh": data / "zsh/site-functions/_camarchiver",
        "fish": config / "fish/completions/camarchiver.fish",
    }[shell]
