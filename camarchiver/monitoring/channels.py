"""The channels of a run besides its output: log format, metrics, a command, a URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Channels:
    """How a run tells others than its caller what it does; None for what is not wanted."""

    log_format: Literal["text", "json"] = "text"
    metrics: Path | None = None
    """A file for node_exporter's textfile collector."""
    notify: tuple[str, ...] | None = None
    """A command that gets the report of a run with failures on its standard input."""
    ping_url: str | None = None
