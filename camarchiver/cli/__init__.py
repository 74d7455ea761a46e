"""The command line: knows the commands, loads them when needed, and turns exceptions into messages."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import click

from camarchiver import __version__
from camarchiver.cli.help_page import HelpGroup
from camarchiver.errors import CamarchiverError, ExitCode

if TYPE_CHECKING:
    from camarchiver.errors import Problem

_SECTIONS = {
    "Archive, clean up, restore": {
        "archive": "Turn old clips into small verified archives.",
        "watch": "Archive clips as they arrive.",
        "cleanup": "Remove what the policy no longer keeps.",
        "restore": "Bring clips back from the trash.",
        "hold": "Keep a time range from being removed.",
        "clock": "Correct a camera's clock for a time range.",
        "verify": "Check the archive against the journal.",
        "offsite": "Keep verified copies of archives in other storage.",
    },
    "Find and ask": {
        "find": "List clips by camera, time and state.",
        "page": "Write pages that show the footage in a browser.",
        "runs": "List the last runs.",
        "status": "Show what is stored where, and what needs attention.",
        "why": "Show the history of a clip.",
        "doctor": "Report what is wrong on this machine, and how to fix it.",
    },
    "Record": {"record": "Record motion from a camera."},
    "Set up": {
        "config": "Show, check or create the configuration.",
        "completion": "Complete commands, cameras and ids in the shell.",
        "help": "Show how a command is used.",
    },
}
_COMMANDS = {name: summary for section in _SECTIONS.values() for name, summary in section.items()}
"""What `--help` says about each command; a module of its name in `cli/commands` holds the click command."""

_QUERIES = frozenset(_SECTIONS["Find and ask"])
"""Commands whose modules are in `cli/commands/queries`."""


class Commands(HelpGroup):
    """Imports a command only when it is asked for, so that `--help` does not pay for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported on demand."""
        if cmd_name not in _COMMANDS:
            return None
        folder = "commands.queries" if cmd_name in _QUERIES else "commands"
        module = importlib.import_module(f"camarchiver.cli.{folder}.{cmd_name}")
        return cast(click.Command, getattr(module, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands into the help text, by what they are for."""
        width = max(map(len, _COMMANDS))
        for heading, commands in _SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:{width}}", summary) for name, summary in commands.items()])


@click.group(
    cls=Commands,
    context_settings={
        "auto_envvar_prefix": "CAMARCHIVER",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
    },
    examples=(
        ("camarchiver archive /camera --dry-run", "show what would be archived and why; change nothing"),
        ("camarchiver why --camera front --at '2026-05-03 14:20'", "where is the clip of that minute?"),
        ("camarchiver help cleanup", "the options of one command"),
    ),
)
@click.version_option(__version__, "-V", "--version", prog_name="camarchiver")
def cli() -> None:
    """Small verified archives of security-camera clips, and a record of where every clip went."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the one place that turns failures into messages."""
    try:
        code = cli.main(list(arguments), prog_name="camarchiver", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        from signal import SIGINT

        from camarchiver.errors import signal_code

        return _report(arguments, _problem("stopped", "stopped; nothing was changed"), signal_code(SIGINT))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.message)
        return ExitCode.USAGE
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"see {context.command_path} --help" if context is not None else ""
        return _report(arguments, _problem("usage", error.format_message(), hint), ExitCode.USAGE)
    except ImportError as error:
        # This is a plain print: the modules that write a failure document may be what can't be imported.
        from camarchiver.runtime.extras import reinstall

        print(
            f"camarchiver: the installation is broken: {error}\n  install it again: {reinstall()}",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except (CamarchiverError, OSError) as error:
        from camarchiver.errors import failures

        return _report(arguments, *failures(error))
    return code if isinstance(code, int) else ExitCode.DONE


def _problem(code: str, message: str, hint: str = "") -> tuple[Problem]:
    from camarchiver.errors import Problem

    return (Problem(code, message, hint),)


def _report(arguments: Sequence[str], problems: Sequence[Problem], exit_code: int) -> int:
    from camarchiver.output.json import document
    from camarchiver.runtime import formatting

    command = next((word for word in arguments if word in _COMMANDS), "")
    # Where nothing reads the output, the exit code still reports the failure.
    with contextlib.suppress(OSError):
        if "--json" in arguments:
            print(document.failures_document(command, problems, exit_code), end="", flush=True)
            return exit_code
        for problem in problems:
            print(f"camarchiver: {formatting.shown(problem.message)}", file=sys.stderr)
            if problem.hint:
                print(f"  {formatting.shown(problem.hint)}", file=sys.stderr)
    return exit_code
