"""The command line: parses, asks, prints; everything else is the pipeline's."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from camarchiver import __version__
from camarchiver.cli.archive import archive
from camarchiver.cli.config import config
from camarchiver.cli.hold import hold
from camarchiver.cli.record import record
from camarchiver.cli.restore import restore
from camarchiver.cli.why import why
from camarchiver.errors import CamarchiverError
from camarchiver.model import Problem


@click.group(
    context_settings={"auto_envvar_prefix": "CAMARCHIVER", "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 partly done, 10 configuration,"
    " 11 runs already, 12 no usable encoder, 13 storage or clock not to be trusted, 128+n signal n.",
)
@click.version_option(__version__, prog_name="camarchiver")
def cli() -> None:
    """Small verified archives of security-camera clips, and a record of where every clip went."""


cli.add_command(archive)
cli.add_command(config)
cli.add_command(hold)
cli.add_command(record)
cli.add_command(restore)
cli.add_command(why)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the one place where failures become words."""
    try:
        code = cli.main(list(arguments), prog_name="camarchiver", standalone_mode=False)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        print("stopped; nothing was changed", file=sys.stderr)
        return 130
    except click.ClickException as error:
        return _tell(arguments, Problem("usage", error.format_message()), 2)
    except CamarchiverError as error:
        return _tell(arguments, Problem(error.code, error.message, error.hint), error.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _tell(arguments, Problem("storage", f"{where}{error.strerror or error}"), 13)
    return code if isinstance(code, int) else 0


def _tell(arguments: Sequence[str], problem: Problem, exit_code: int) -> int:
    from camarchiver import document, report

    command = next((word for word in arguments if word in cli.commands), "")
    if "--json" in arguments:
        sys.stdout.write(document.failure_document(command, problem, exit_code))
    else:
        print(f"camarchiver: {report.shown(problem.message)}", file=sys.stderr)
        if problem.hint:
            print(f"  {problem.hint}", file=sys.stderr)
    return exit_code
