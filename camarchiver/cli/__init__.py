"""The command line: knows the commands, loads them when needed, and turns exceptions into messages."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from camarchiver import __version__
from camarchiver.errors import CamarchiverError

if TYPE_CHECKING:
    from camarchiver.errors import Problem

_COMMANDS = {
    "archive": "Turn old clips into small verified archives.",
    "cleanup": "Remove what the policy no longer keeps.",
    "config": "Show, check or begin the configuration.",
    "doctor": "Say what is wrong on this machine, and how to mend it.",
    "hold": "Keep a time range from every removal.",
    "record": "Record motion from a camera.",
    "restore": "Bring clips back from the trash.",
    "status": "Tell what stands where, and what needs attention.",
    "verify": "Hold the archive against the journal.",
    "watch": "Archive clips as they arrive.",
    "why": "Tell a clip's story.",
}
"""What `--help` says of each; `camarchiver.cli.commands.NAME` holds a click command NAME."""


class Commands(click.Group):
    """Imports a command when it is asked for: `--help` would else pay for them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"camarchiver.cli.commands.{cmd_name}")
        return cast(click.Command, getattr(module, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"auto_envvar_prefix": "CAMARCHIVER", "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 partly done, 10 configuration,"
    " 11 runs already, 12 no usable encoder, 13 storage or clock not to be trusted, 128+n signal n.",
)
@click.version_option(__version__, prog_name="camarchiver")
def cli() -> None:
    """Small verified archives of security-camera clips, and a record of where every clip went."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the one place where failures become words."""
    try:
        code = cli.main(list(arguments), prog_name="camarchiver", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        return _tell(arguments, _problem("stopped", "stopped; nothing was changed"), 130)
    except click.ClickException as error:
        return _tell(arguments, _problem("usage", error.format_message()), 2)
    except ImportError as error:
        # Plainly: what makes a document of a failure may be what can't be imported.
        hint = "install it anew: pip install --force-reinstall camarchiver"
        print(f"camarchiver: the installation is broken: {error}\n  {hint}", file=sys.stderr)
        return 1
    except (CamarchiverError, OSError) as error:
        from camarchiver.errors import failure

        return _tell(arguments, *failure(error))
    return code if isinstance(code, int) else 0


def _problem(code: str, message: str, hint: str = "") -> Problem:
    from camarchiver.errors import Problem

    return Problem(code, message, hint)


def _tell(arguments: Sequence[str], problem: Problem, exit_code: int) -> int:
    from camarchiver.output import json_document
    from camarchiver.runtime import formatting

    command = next((word for word in arguments if word in _COMMANDS), "")
    # Where nobody listens the exit code still tells.
    with contextlib.suppress(OSError):
        if "--json" in arguments:
            print(json_document.failure_document(command, problem, exit_code), end="", flush=True)
            return exit_code
        print(f"camarchiver: {formatting.shown(problem.message)}", file=sys.stderr)
        if problem.hint:
            print(f"  {problem.hint}", file=sys.stderr)
    return exit_code
