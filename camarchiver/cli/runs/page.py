"""The part of a run that is specific to `page`, also after a run of another command."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from camarchiver.cli.session import TreeOptions, show
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import concluded
from camarchiver.errors import ExitCode, signal_code
from camarchiver.output.json import answers
from camarchiver.output.page.renderer import SiteRenderer
from camarchiver.page.pages import SiteQuestion
from camarchiver.page.serving import ServeOptions, serve
from camarchiver.page.site import DayOfCopies, SiteBuilder, SiteRefresh
from camarchiver.page.site_folder import SiteFolder
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.policy.cleanup_rules import CleanupPolicy
from camarchiver.runtime import signals
from camarchiver.runtime.formatting import count_of, shown
from camarchiver.runtime.progress import counted
from camarchiver.runtime.signals import Stop, Stopper

if TYPE_CHECKING:
    # Imported where it is used, because a refresh of its own does not need it.
    from camarchiver.cli.runs.template import Ready, RunResult, RunTask


class PageTask(Struct, frozen=True):
    """One site, and what it shows."""

    place: TreeOptions
    conventions: Conventions
    site: Path
    archive: ArchivePolicy
    cleanup: CleanupPolicy
    cameras: frozenset[str]
    since: date | None
    days: int | None
    rebuild: bool
    picture_time: timedelta
    playable: bool
    remote: str
    """Where off-site copies are, by the config."""

    def check(self) -> None:
        """Raises UsageError or StorageError for a folder that no site can be written to."""
        SiteFolder(self.site, self.place.trees())

    def refresh(self, stop: Stopper, *, draws_progress: bool) -> tuple[SiteRefresh, str]:
        """Write what is outdated; also gives the id of the run. Raises CamarchiverError or OSError."""
        pipeline = Pipeline(self.place.trees(), self.place.zone(), "page", self.conventions)
        folder = SiteFolder(self.site, pipeline.trees)
        today = pipeline.started.date()
        since = max(self.since or date.min, today - timedelta(days=self.days - 1) if self.days else date.min)
        seconds = self.picture_time.total_seconds()
        question = SiteQuestion(
            self.archive,
            self.cleanup,
            self.cameras,
            since,
            self.rebuild,
            self.remote,
            self.playable,
            seconds,
        )
        renderer = SiteRenderer(self.site, pipeline.trees, pipeline.zone)

        def progress(days: Iterator[DayOfCopies], total: int) -> Iterable[DayOfCopies]:
            return counted(days, total, "day", wanted=draws_progress)

        with folder.alone():
            done = SiteBuilder(pipeline, question, folder, renderer, stop).refresh(progress)
        return done, pipeline.run.id


def run_page(task: PageTask, serving: ServeOptions | None, *, as_json: bool, quiet: bool) -> int:
    """Run `page` and return its exit code; with `serving` it ends by a signal."""
    token = serving.check() if serving is not None else ""
    with signals.on_signals() as stop:
        wants_bar = not (as_json or quiet) and sys.stderr.isatty()
        done, run = task.refresh(stop.event, draws_progress=wants_bar)
    if as_json:
        click.echo(answers.page_refreshed(done, run), nl=False)
    elif not quiet:
        show(refresh_lines(done))
    if stop.signal is not None:
        return signal_code(stop.signal)
    if serving is not None:
        return serve(serving, token, task.site, task.place.trees(), lambda line: show((line,)))
    return ExitCode.DONE


def page_run_task(task: PageTask) -> RunTask:
    """The refresh as a run that follows another one."""
    from camarchiver.cli.runs.template import Ready, RunTask

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        yield Ready((), tuple, lambda stop, bar, report: _refreshed(task, stop.event))

    return RunTask("page", "", planned)


def _refreshed(task: PageTask, stop: Stopper) -> RunResult:
    from camarchiver.cli.runs.template import RunResult

    done, run = task.refresh(stop, draws_progress=False)
    return RunResult(
        concluded(achieved=True),
        lambda more: (answers.page_refreshed(done, run),),
        lambda *, already_printed: refresh_lines(done),
        prints_unattended=False,
    )


def refresh_lines(done: SiteRefresh) -> Iterator[str]:
    """What a refresh did, and where the first page is."""
    written = count_of(done.days, "page of a day", "pages of days")
    removed = f", {count_of(done.removed, 'page')} removed" if done.removed else ""
    cameras = count_of(done.cameras, "camera")
    yield f"{written} written{removed}; {count_of(done.clips, 'clip')} of {cameras} are shown"
    yield f"open {shown(done.site / 'index.html')}"
