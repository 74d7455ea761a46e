"""What `archive` and `cleanup` would be told here, where another command asks what they would do."""

from __future__ import annotations

import dataclasses
import os
from datetime import tzinfo
from pathlib import Path
from typing import Any, TypeVar

import click

from camarchiver.cli.archive import archive
from camarchiver.cli.cleanup import cleanup
from camarchiver.cli.options import CONFIG_FILE
from camarchiver.cli.policies import RetentionOptions
from camarchiver.cli.session import ArchiveOptions
from camarchiver.plan import ArchivePolicy
from camarchiver.retention import CleanupPolicy

Options = TypeVar("Options")


def archive_policy(context: click.Context, directory: Path, zone: tzinfo, *words: str) -> ArchivePolicy:
    """What `archive DIRECTORY` would be asked to do, by config files, environment and more `words`."""
    return archive_options(context, directory, *words).policy(zone)


def archive_options(context: click.Context, directory: Path, *words: str) -> ArchiveOptions:
    """What `archive DIRECTORY` would be told, by config files, environment and more `words`."""
    chosen = _parsed(archive, context, directory, words).params
    return _filled(ArchiveOptions, {**chosen, "cleanup": None, "channels": None})


def cleanup_policy(context: click.Context, directory: Path) -> CleanupPolicy:
    """What `cleanup DIRECTORY` would be asked to keep, by config files and environment."""
    parsed = _parsed(cleanup, context, directory)
    return _filled(RetentionOptions, parsed.params).policy(parsed)


def _parsed(
    command: click.Command, context: click.Context, directory: Path, words: tuple[str, ...] = ()
) -> click.Context:
    config = context.meta[CONFIG_FILE]
    named = ("--config", os.fspath(config)) if config is not None else ()
    arguments = [*named, *words, "--", os.fspath(directory)]
    return command.make_context(command.name, arguments, parent=context.find_root())


def _filled(kind: type[Options], values: dict[str, Any]) -> Options:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # both kinds are dataclasses
    return kind(**{field.name: values[field.name] for field in fields})
