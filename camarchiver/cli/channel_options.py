"""Options for the channels of a run besides its output: log format, metrics, a command, a URL."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from camarchiver.cli.options import FOLDER, option, options
from camarchiver.cli.types import CommandType, Url
from camarchiver.monitoring.channels import Channels

_channel_options = options(
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Format of the log file; json writes one object with run and clip per line.",
    ),
    option(
        "--metrics",
        type=FOLDER,
        metavar="FILE.prom",
        help="Write metrics for Prometheus to this file, which several commands may share.",
    ),
    option(
        "--notify",
        type=CommandType(),
        help="Run this command after a run with failures, with the JSON report on its standard input.",
    ),
    option(
        "--ping-url",
        type=Url(),
        help="Ping this URL at start, success and failure, in the format of healthchecks.io.",
    ),
    heading="Output and log",
)


def with_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the channels as options, for commands that change something; passes them as `channels`."""

    @_channel_options
    @functools.wraps(command)
    def with_channels_argument(
        *arguments: Any,
        log_format: Literal["text", "json"],
        metrics: Path | None,
        notify: tuple[str, ...] | None,
        ping_url: str | None,
        **others: Any,
    ) -> Any:
        channels = Channels(log_format, metrics, notify, ping_url)
        return command(*arguments, channels=channels, **others)

    return with_channels_argument
