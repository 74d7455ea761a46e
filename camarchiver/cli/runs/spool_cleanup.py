"""The part of a run that is specific to `cleanup --spool`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.cli.runs.template import Ready, RunOptions, RunTask, ready_plan, run_task
from camarchiver.errors import UsageError
from camarchiver.output import cleanup_text
from camarchiver.pipeline import run_id
from camarchiver.record.outbox import cleanup as outbox_cleanup
from camarchiver.record.outbox import store as outbox_store
from camarchiver.record.outbox.cleanup import SpoolPolicy
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.runtime import clock
from camarchiver.runtime.signals import Stop
from camarchiver.storage import run_lock


class SpoolOptions(Struct, frozen=True):
    """The command line of `cleanup --spool`, parsed."""

    spool: Path
    outbox: Path
    """Both absolute."""
    keep_days: timedelta | None
    max_storage: int | None
    """Bytes."""
    cameras: tuple[str, ...]
    timezone: str
    run: RunOptions

    def policy(self) -> SpoolPolicy:
        """What to keep. Raises UsageError."""
        if self.max_storage == 0:
            raise UsageError(
                "--max-storage 0 would keep nothing", hint="leave it out, or name a size as 50GB"
            )
        limits = OutboxLimits(self.keep_days, self.max_storage)
        return SpoolPolicy(self.spool, self.outbox, limits, frozenset(self.cameras))


def run_spool_cleanup(options: SpoolOptions) -> int:
    """Run `cleanup --spool` and return its exit code."""
    return run_task("cleanup", options.run, lambda: _task(options), spool=str(options.spool))


def _task(options: SpoolOptions) -> RunTask:
    policy, now = options.policy(), clock.now(clock.zone(options.timezone))
    run = run_id(now)

    @contextmanager
    def planned(_: Stop) -> Iterator[Ready]:
        plan = outbox_cleanup.plan(policy, now)
        shown = plan if options.run.verbose else replace(plan, left=())
        yield ready_plan(
            plan,
            run,
            lambda stop, _, report: outbox_cleanup.execute(plan, run, stop=stop, on_outcome=report),
            lines=lambda: cleanup_text.spool_lines(shown, verbose=options.run.verbose),
            report_lines=cleanup_text.report_lines,
        )

    def check() -> None:
        outbox_cleanup.plan(policy, now)  # raises for impossible folders, before anything is created
        outbox_store.make_state(options.outbox)

    lock = outbox_store.state(options.outbox) / "cleanup.lock"
    return RunTask(
        "cleanup",
        run,
        planned,
        lock=lambda: run_lock.exclusive(lock, what="cleanup"),
        log_file=options.spool / "recorder.log",
        consent="cleanup",
        check=check,
    )
