"""What the command line passes to a run of `watch`, and what it prints at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.cli.runs.archive import ArchiveOptions
from camarchiver.cli.session import running, show, tell, write
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.report import Outcome, Report
from camarchiver.errors import UsageError
from camarchiver.monitoring.run_events import open_run_events
from camarchiver.output import text as text_output
from camarchiver.output.json import document
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import TRASH_AGE
from camarchiver.runtime import clock
from camarchiver.runtime.signals import Stopper
from camarchiver.watch import run as watch_run
from camarchiver.watch.run import WatchDocuments, WatchSettings
from camarchiver.watch.run_record import WatchTotals

if TYPE_CHECKING:
    from camarchiver.cli.runs.page import PageTask

_log = logging.getLogger("camarchiver.watch")


class WatchOptions(Struct, frozen=True):
    """The command line of `watch`, parsed."""

    archive: ArchiveOptions
    quiet: timedelta
    poll_seconds: float
    conventions: Conventions
    page: PageTask | None
    """The pages that are kept up to date."""

    @classmethod
    def of(
        cls, chosen: Mapping[str, Any], conventions: Conventions, page: PageTask | None = None
    ) -> WatchOptions:
        """From click's parameters. Raises UsageError."""
        own = {key: value for key, value in chosen.items() if key not in ("quiet_for", "poll", "trust_names")}
        if chosen["poll"].total_seconds() < 1:
            raise UsageError("--poll is at least one second", hint="leave it out for a minute")
        return cls(
            ArchiveOptions(
                **own,
                trash_age=TRASH_AGE,
                since=None,
                until=None,
                limit=None,
                max_runtime=None,
                scheduler=None,
                no_skip=False,
                retry_failed=False,
                delete=False,
                dry_run=False,
                no_confirm=True,
                cleanup=None,
            ),
            chosen["quiet_for"],
            chosen["poll"].total_seconds(),
            conventions,
            page,
        )

    def settings(self) -> WatchSettings:
        """What to do. Raises UsageError."""
        asked = self.archive
        zone = clock.zone(asked.timezone)
        return WatchSettings(
            trees=asked.trees(),
            zone=zone,
            conventions=self.conventions,
            policy=replace(asked.policy(zone), quiet=self.quiet),
            request=asked.request(),
            execution=asked.execution(),
            poll_seconds=self.poll_seconds,
            channels=asked.channels,
            logged=self._logged,
            on_outcome=self._print_outcome,
            finish=self._finish,
            refresh_page=self._refresh_page if self.page is not None else None,
        )

    def _refresh_page(self, stop: Stopper) -> None:
        from camarchiver.cli.runs.page import refresh_lines

        assert self.page is not None
        done, _ = self.page.refresh(stop, draws_progress=False)
        _log.info("%s", "; ".join(refresh_lines(done)))

    def _logged(self, pipeline: Pipeline) -> AbstractContextManager[None]:
        asked = self.archive
        return running(pipeline, asked.log_file, asked.channels, verbose=asked.verbose, quiet=asked.quiet)

    def _print_outcome(self, outcome: Outcome) -> None:
        if not (self.archive.as_json or self.archive.quiet):
            tell(text_output.outcome_line(outcome))

    def _finish(self, last: Report, totals: WatchTotals) -> None:
        if self.archive.as_json:
            write(document.document(last, None, {"results": dict(totals.results)}))
        elif not self.archive.quiet:
            show(text_output.report_lines(last, already_printed=True))


def run_watch(options: WatchOptions, reread: Callable[[], WatchOptions]) -> int:
    """Run `watch` and return its exit code."""

    def reread_settings() -> WatchSettings:
        try:
            return reread().settings()
        except click.ClickException as error:
            raise UsageError(error.format_message()) from error

    documents = WatchDocuments(lambda report: document.document(report, None), document.failure_document)
    archive = options.archive
    source = str(archive.trees().source)
    with open_run_events(archive.channels, "watch", documents.of_failure, source=source):
        settings = options.settings()
    return watch_run.watch(settings, reread_settings, documents)
