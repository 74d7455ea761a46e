"""What shells complete besides commands and options: cameras, holds and runs of the trees that were named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import CamarchiverError
from camarchiver.runtime.formatting import shown

if TYPE_CHECKING:
    from camarchiver.cli.session import TreeOptions

_RUNS = 50
_DEFAULT = Path("/camera")

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _completer(found: Callable[[click.Context], Iterator[tuple[str, str]]]) -> Completer:
    """For `shell_complete`: the values that begin like the word. A failure completes nothing.

    Names with bytes that are no text, or with line breaks, are left out: shells read one name per line.
    """

    @wraps(found)
    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            values = list(found(context))
        except (CamarchiverError, OSError, ValueError):
            return []
        return [
            CompletionItem(value, help=shown(help))
            for value, help in values
            if value.startswith(incomplete) and shown(value) == value
        ]

    return complete


@_completer
def cameras(context: click.Context) -> Iterator[tuple[str, str]]:
    """The cameras that are quickly found."""
    from camarchiver.cli.conventions import conventions
    from camarchiver.pipeline import Pipeline
    from camarchiver.queries import cameras as known_cameras

    place = _place(context)
    pipeline = Pipeline(place.trees(), place.zone(), "completion", conventions(context))
    for name in sorted(known_cameras.some(pipeline)):
        yield name, ""


@_completer
def corrections(context: click.Context) -> Iterator[tuple[str, str]]:
    """The ids of all corrections of clocks."""
    from camarchiver.state import clock_corrections

    for each in clock_corrections.read(_place(context).trees().state):
        yield each.id, f"{each.camera}, {each.start:%Y-%m-%d %H:%M}: {each.word}"


@_completer
def holds(context: click.Context) -> Iterator[tuple[str, str]]:
    """The ids of all holds."""
    from camarchiver.state import holds as kept_holds

    outbox = context.params.get("outbox")
    state = outbox / STATE_FOLDER if isinstance(outbox, Path) else _place(context).trees().state
    for hold in kept_holds.read(state):
        yield hold.id, f"{hold.camera or 'all cameras'}, {hold.start:%Y-%m-%d %H:%M}: {hold.reason}"


@_completer
def runs(context: click.Context) -> Iterator[tuple[str, str]]:
    """The ids of the last runs."""
    from itertools import islice

    from camarchiver.state import run_history

    for record in islice(run_history.newest_first(_place(context).trees().state), _RUNS):
        yield record.run, f"{record.command}, {record.status}"


def _place(context: click.Context) -> TreeOptions:
    """The trees by what was typed so far, and by environment and config files."""
    from camarchiver.cli.session import TreeOptions

    def path(name: str) -> Path | None:
        # While it completes, click leaves out defaults; those of the config files are in `default_map`.
        value = context.params.get(name) or (context.default_map or {}).get(name)
        return Path(value).expanduser() if value else None

    return TreeOptions(
        _unparsed(context) or path("directory") or _DEFAULT, path("output"), path("trash_root"), ""
    )


def _unparsed(context: click.Context) -> Path | None:
    """DIRECTORY where click gave up before it: an option's value that is being typed is missing."""
    names = [each.name for each in context.command.params if isinstance(each, click.Argument)]
    return Path(context.args[0]).expanduser() if names == ["directory"] and context.args else None
