"""Options for the channels of a run besides its output: log format, metrics, a command, a URL."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from camarchiver.cli.options import FOLDER, option, options
from camarchiver.cli.types import Command, Url
from camarchiver.monitoring.channels import Channels

_channel_options = options(
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Lines of the log file; json has an object with run and clip on each.",
    ),
    option(
        "--metrics",
        type=FOLDER,
        metavar="FILE.prom",
        help="Keep numbers for Prometheus in this file, which several commands may share.",
    ),
    option(
        "--notify",
        type=Command(),
        help="After a run with failures start this with the JSON report on its standard input.",
    ),
    option(
        "--ping-url",
        type=Url(),
        help="Tell this address of start, success and failure, as healthchecks.io understands it.",
    ),
)


def with_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    """The channels as options, for commands that do something; gives them `channels`."""

    @_channel_options
    @functools.wraps(command)
    def told(
        *arguments: Any,
        log_format: Literal["text", "json"],
        metrics: Path | None,
        notify: tuple[str, ...] | None,
        ping_url: str | None,
        **others: Any,
    ) -> Any:
        channels = Channels(log_format, metrics, notify, ping_url)
        return command(*arguments, channels=channels, **others)

    return told
