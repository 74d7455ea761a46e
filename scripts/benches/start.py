"""What it costs to start."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, own_command, ratio, workplace

_STATUS = "camarchiver status of an empty tree"


def bench(options: Options) -> Result:
    """What it costs to start."""
    with workplace(options) as place:
        (place / "camera").mkdir()
        (place / "config.toml").touch()
        return _measured(options, place)


def _measured(options: Options, place: Path) -> Result:
    rounds = options.rounds or (9 if options.quick else 25)
    python = sys.executable
    own = own_command()
    status = [own, "status", str(place / "camera"), "--config", str(place / "config.toml")]
    commands = {
        "python -c pass": [python, "-c", "pass"],
        "python -c 'import click'": [python, "-c", "import click"],
        "camarchiver --help": [own, "--help"],
        "camarchiver archive --help": [own, "archive", "--help"],
        "camarchiver --version": [own, "--version"],
        _STATUS: status,
    }
    for command in commands.values():
        cpu_seconds(command)  # the first start reads files and may write bytecode
    tasks = {name: partial(_milliseconds, each) for name, each in commands.items()}
    figures = in_turns(tasks, rounds)
    bare, click = figures["python -c pass"], figures["python -c 'import click'"]
    help_ = figures["camarchiver --help"]
    result = Result("start")
    result.rows = [Row(name, "ms", each) for name, each in figures.items()]
    result.rows += [
        ratio("--help / python -c 'import click'", help_, click, goal=1.6),
        ratio("--help / python -c pass", help_, bare),
        ratio("status of an empty tree / python -c 'import click'", figures[_STATUS], click),
        ratio("archive --help / python -c 'import click'", figures["camarchiver archive --help"], click),
    ]
    return result


def _milliseconds(command: Sequence[str]) -> float:
    return cpu_seconds(command) * 1000
