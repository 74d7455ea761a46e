"""Asking at the terminal, and printing what a run has to say."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from camarchiver.stop import Stop


def may_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(stopping: Stop) -> bool:
    """Ask on the terminal. A signal is no answer: the run then goes on to its clean stop."""
    try:
        with stopping.interrupting():
            return click.confirm("Go on?", err=True)
    except (click.Abort, KeyboardInterrupt):
        if not stopping:
            raise
        return True


def write(pieces: Iterable[str]) -> None:
    """Print text in pieces, and see it gone."""
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.flush()
