"""What every command sets up around its work: trees, paths in them and zone, log, run lock, consent."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from camarchiver.cli.help_page import COLOR
from camarchiver.errors import Declined, UsageError, cause

if TYPE_CHECKING:
    from camarchiver.domain.clip import Trees
    from camarchiver.domain.plan import Plan
    from camarchiver.monitoring.channels import Channels
    from camarchiver.pipeline import Pipeline
    from camarchiver.runtime.signals import Stop

_log = logging.getLogger(__name__)


class TreeOptions(Struct, frozen=True):
    """Which trees a command works on, and the time zone of their cameras."""

    directory: Path
    output: Path | None
    trash_root: Path | None
    timezone: str

    def trees(self) -> Trees:
        """The three roots, absolute and free of symbolic links."""
        from camarchiver.domain.clip import Trees
        from camarchiver.storage.filesystems import resolved

        source = resolved(self.directory)
        return Trees(
            source,
            resolved(self.output or source / "archived"),
            resolved(self.trash_root or source / ".deleted"),
        )

    def zone(self) -> tzinfo:
        """The cameras' time zone."""
        from camarchiver.runtime import clock

        return clock.zone(self.timezone)


def in_trees(path: Path, trees: Trees) -> Path:
    """The absolute path that a user means; a file there need not exist any more.

    It may be written as it was printed. A relative path may begin at the working folder, if that is below a
    root, or at any root.
    """
    from camarchiver.runtime.formatting import unescaped

    candidates = [*_possible_paths(path, trees), *_possible_paths(Path(unescaped(str(path))), trees)]
    existing = (each for each in candidates if os.path.lexists(each))
    return next(existing, candidates[0])


def _possible_paths(path: Path, trees: Trees) -> Iterator[Path]:
    """The likeliest first."""
    from camarchiver.domain.clip import FROM_ARCHIVE, FROM_SOURCE
    from camarchiver.storage.filesystems import resolved

    if path.is_absolute():
        yield path
        return
    roots = (trees.source, trees.archive, trees.trash)
    here = Path(os.path.abspath(path))  # noqa: PTH100  # not its real path: the clip may be a link
    if any(resolved(here.parent).is_relative_to(root) for root in roots):
        yield here
    if path.parts[:1] in ((FROM_SOURCE,), (FROM_ARCHIVE,)):
        roots = (trees.trash, trees.source, trees.archive)
    yield from (root / path for root in roots)


@contextmanager
def run_locked(pipeline: Pipeline) -> Iterator[None]:
    """Keeps a second run of the same command off these trees. Raises AlreadyRunning."""
    from camarchiver.storage import run_lock

    command = pipeline.run.command
    with run_lock.exclusive(run_lock.file_of(pipeline.trees, command), what=command):
        yield


@contextmanager
def running(
    pipeline: Pipeline, log_file: Path | None, channels: Channels, *, verbose: bool, quiet: bool
) -> Iterator[None]:
    """Logs the run, and keeps a second one of the same command out. Raises AlreadyRunning."""
    from camarchiver.runtime.log_setup import logging_to

    file, run = log_file or log_of(pipeline.trees), pipeline.run.id
    with (
        logging_to(file, run=run, verbose=verbose, quiet=quiet, log_format=channels.log_format),
        run_locked(pipeline),
    ):
        yield


def log_of(trees: Trees) -> Path:
    """Where commands that work on these trees log by default."""
    return trees.source / "archiver.log"


def nothing_to_work_on(pipeline: Pipeline) -> str:
    """A sentence if the source has no clip and never had one; otherwise empty."""
    from camarchiver.discovery import walks
    from camarchiver.output import no_work_text

    return "" if walks.has_footage(pipeline) else no_work_text.wrong_folder(pipeline.trees.source)


def may_ask() -> bool:
    """Whether a user can answer at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def require_consent(what: str, *, no_confirm: bool) -> None:
    """Refuse what needs consent if no user can give it. Raises UsageError."""
    if not (no_confirm or may_ask()):
        raise UsageError(
            f"{what} needs consent and there is no terminal to ask on", hint="add -y; nothing was changed"
        )


def agreed(question: str, stopping: Stop) -> bool:
    """Ask on the terminal. A signal is not an answer: the run then proceeds to its clean stop.

    Raises Declined if the terminal is closed or interrupted instead.
    """
    try:
        with stopping.interrupting():
            return click.confirm(question, err=True)
    except (click.Abort, KeyboardInterrupt):
        if not stopping:
            raise Declined from None
        return True


def show(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines for a person, in colour where that is wanted, and flush them.

    Whatever a line quotes (a file's name, a camera's, an error's text) may contain control
    characters: they are escaped here, so that no line can move the cursor or hide another one.
    """
    from camarchiver.output import color
    from camarchiver.runtime.formatting import shown

    stream = sys.stderr if err else sys.stdout
    context = click.get_current_context(silent=True)
    choice = context.meta.get(COLOR, "auto") if context is not None else "auto"
    is_colored = color.is_wanted(stream, choice)
    for line in map(shown, lines):
        stream.write((color.colored(line) if is_colored else line) + "\n")
    stream.flush()


def tell(line: str) -> None:
    """Print a line of a run that goes on for months; control characters are escaped.

    If standard output is full, or its reader is gone, as when journald restarts, the run goes on without it.
    """
    from camarchiver.runtime.formatting import shown

    try:
        print(shown(line), flush=True)
    except OSError as error:
        _log.info("standard output is gone: %s", cause(error))
        # what could not be written would be tried again at the end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def write(pieces: Iterable[str]) -> None:
    """Print text in pieces, and flush it."""
    for piece in pieces:
        sys.stdout.write(piece)
    sys.stdout.flush()


def unknown_cameras(
    pipeline: Pipeline, asked: Collection[str], plan: Plan[Any, Any], seconds: float = math.inf
) -> tuple[str, ...]:
    """A note for each camera that has rules, or was asked for, and never had a clip.

    A camera that was taken down is in the journal's old days only; these are searched for `seconds`.
    """
    from camarchiver.output import no_work_text
    from camarchiver.queries import cameras

    seen = {total.group.camera for total in plan.totals}
    missing, known = cameras.unknown(pipeline, {*asked} - seen, seconds)
    return tuple(no_work_text.unknown_camera(camera, known) for camera in sorted(missing if known else ()))
