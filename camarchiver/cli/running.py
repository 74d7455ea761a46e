"""What every command that changes a tree has around it: its log, and the lock against a second start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camarchiver import locking, volume
from camarchiver.cli.channels import Channels
from camarchiver.logs import logging_to
from camarchiver.pipeline import Pipeline


@contextmanager
def running(
    pipeline: Pipeline, log_file: Path | None, channels: Channels, *, verbose: bool, quiet: bool
) -> Iterator[None]:
    """The run is logged, and the same command can't begin here. Raises AlreadyRunning."""
    command, run = pipeline.run.command, pipeline.run.id
    file = log_file or pipeline.trees.source / "archiver.log"
    with (
        logging_to(file, run=run, verbose=verbose, quiet=quiet, log_format=channels.log_format),
        locking.exclusive(volume.run_lock(pipeline.trees, command), what=command),
    ):
        yield
