"""Announces and deletes one camera's clips in the outbox that the owner's limits no longer keep."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import RemoveCopy
from camarchiver.errors import CamarchiverError, sentence
from camarchiver.monitoring.metrics import RemovalTotals
from camarchiver.record.outbox import rules as outbox_rules
from camarchiver.record.outbox import store as outbox_store
from camarchiver.record.outbox.recorded_clip import BoundedHistory
from camarchiver.record.outbox.rules import NOTICE, OutboxClip, OutboxLimits
from camarchiver.runtime.formatting import shown
from camarchiver.state import holds
from camarchiver.storage import filesystems, run_lock

_log = logging.getLogger("camarchiver.record.outbox.keeper")


class OutboxKeeper:
    """Expires clips while recording continues, and frees space for it if the owner asked for that."""

    def __init__(
        self,
        camera: str,
        folder: Path,
        limits: OutboxLimits,
        now: Callable[[], datetime],
        *,
        drops_oldest: bool = False,
    ) -> None:
        """`folder` is the outbox of all cameras; only this one's clips are ever touched.

        `now` returns the time in the camera's zone.
        """
        self.announced: BoundedHistory[Path] = BoundedHistory()
        self.removed: BoundedHistory[Outcome] = BoundedHistory()
        self.totals = RemovalTotals()
        """Totals of the removed clips."""
        self.problems: dict[str, None] = {}
        """Why the outbox, or one of its clips, could not be processed; each problem once."""
        self._left: dict[str, Outcome] = {}
        """By path below the outbox: the outcome of the last attempt, for clips that were not removed."""
        self._camera = camera
        self._outbox = folder
        self._limits = limits
        self._now = now
        self._drops_oldest = drops_oldest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="upkeep")
        self._running: Future[None] | None = None
        self._stop = threading.Event()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The newest removals, and the last attempt for each clip that could not be removed."""
        return (*self.removed, *self.left)

    @property
    def left(self) -> tuple[Outcome, ...]:
        """The last attempt for each clip that could not be removed."""
        return tuple(self._left.values())

    def start_removals(self) -> None:
        """Begin to delete announced clips beyond the limits; returns at once."""
        if self._limits and (self._running is None or self._running.done()):
            self._check_last_run()
            self._running = self._thread.submit(self._expire)

    def close(self, *, hurry: bool = False) -> None:
        """Wait until the current removals are done; with `hurry` only for the file that is being removed."""
        if hurry:
            self._stop.set()
        self._thread.shutdown()
        self._check_last_run()

    def _check_last_run(self) -> None:
        # whatever failed in the thread, recording continues
        error = self._running.exception() if self._running else None
        if error is not None:
            self._report(error)

    def make_room(self, folder: Path, needed: int) -> int:
        """Delete the oldest clips to free `needed` bytes on the folder's filesystem; returns the bytes freed.

        0 if the owner did not ask for this, or if the outbox is on another filesystem.
        """
        try:
            if not self._drops_oldest or filesystems.device_of(folder) != filesystems.device_of(self._outbox):
                return 0
            now = self._now()
            waiting = self._waiting(now)
            held = holds.read(outbox_store.state(self._outbox))
            # a clip that could not be removed must not block the others
            sound = [each for each in waiting.values() if not self._has_failed(each.clip.relative)]
            steps = outbox_rules.make_room(sound, needed, held, now)
        except (OSError, CamarchiverError) as error:
            self._report(error)
            return 0
        return sum(self._remove(step, waiting) for step in steps)

    def _expire(self) -> None:
        state = outbox_store.state(self._outbox)
        outbox_store.make_state(self._outbox)
        with run_lock.guarded(state / "upkeep.lock"):
            outbox_store.sweep(self._outbox)
            now = self._now()
            waiting = self._waiting(now)
            known = outbox_store.notices(self._outbox, self._camera)
            found = outbox_rules.announced(waiting.values(), self._limits, known, holds.read(state), now)
            if found.notices != known:
                outbox_store.announce(self._outbox, self._camera, found.notices)
            for relative in found.fresh:
                self._announce(waiting[relative], found.notices[relative])
            for step in found.steps:
                if isinstance(step, RemoveCopy) and not self._stop.is_set():
                    self._remove(step, waiting)

    def _waiting(self, now: datetime) -> dict[str, OutboxClip]:
        assert now.tzinfo is not None
        found = outbox_store.waiting(self._outbox, self._camera, now.tzinfo)
        return {each.clip.relative: each for each in found}

    def _has_failed(self, relative: str) -> bool:
        last = self._left.get(relative)
        return last is not None and last.result is Result.FAILED

    def _announce(self, each: OutboxClip, notice: outbox_rules.Notice) -> None:
        self.announced.append(each.clip.path)
        _log.warning(
            "%s will be removed after %s (%s); %s",
            shown(each.clip.path),
            f"{notice.at + NOTICE:%Y-%m-%d %H:%M}",
            notice.reason,
            _transfer_state(each),
        )

    def _remove(self, step: RemoveCopy, waiting: dict[str, OutboxClip]) -> int:
        """Remove one clip; returns the bytes freed."""
        outcome = outbox_store.remove(step, self._now())
        path = shown(step.path)
        if outcome.result is Result.DONE:
            self._left.pop(step.relative, None)
            self.removed.append(outcome)
            self.totals.add(outcome)
            _log.warning("removed %s (%s); %s", path, step.reason, _transfer_state(waiting[step.relative]))
            return outcome.freed
        if outcome.result is Result.HELD:
            _log.info("%s stays: %s", path, outcome.detail)
            return 0
        self._left[step.relative] = outcome
        if (message := f"{path} was not removed: {outcome.reason} {outcome.detail}") not in self.problems:
            self.problems[message] = None
            _log.error("%s", message)
        return outcome.freed

    def _report(self, error: BaseException) -> None:
        message = sentence(error)
        self.problems[message] = None
        _log.error("nothing is removed from the outbox: %s", message)


def _transfer_state(each: OutboxClip) -> str:
    return "its transfer was confirmed" if each.transferred else "no transfer of it was confirmed"
