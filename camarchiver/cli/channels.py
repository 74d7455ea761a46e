"""Where a run tells of itself besides its output: the form of its log."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import click

from camarchiver.cli.options import option, options


@dataclass(frozen=True, slots=True)
class Channels:
    """How a run tells others than its caller what it does."""

    log_format: Literal["text", "json"] = "text"


_channel_options = options(
    option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Lines of the log file; json has an object with run and clip on each.",
    ),
)


def with_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    """The channels as options, for commands that do something; gives them `channels`."""

    @_channel_options
    @functools.wraps(command)
    def told(*arguments: Any, log_format: Literal["text", "json"], **others: Any) -> Any:
        return command(*arguments, channels=Channels(log_format), **others)

    return told
