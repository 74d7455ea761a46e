"""The channels of a run besides its output: log format, metrics, a command, a URL."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct


class Channels(Struct, frozen=True):
    """Where a run reports besides its caller; None for a channel that is not wanted."""

    log_format: Literal["text", "json"] = "text"
    metrics: Path | None = None
    """A file for node_exporter's textfile collector."""
    notify: tuple[str, ...] | None = None
    """A command that gets the report of a run with failures on its standard input."""
    ping_url: str | None = None
