"""`camarchiver config`: what is set, where it comes from, and a file to begin with."""

from __future__ import annotations

import click


@click.group(short_help="Show, check or begin the configuration.")
def config() -> None:
    """Show, check or begin the configuration."""
