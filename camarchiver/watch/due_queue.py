"""Which clips are to be examined, and when; pure: times are seconds of any steady clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.memory import Failure
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import ArchiveStep, Keep
from camarchiver.policy.archive_rules import ArchivePolicy

BUSY_AGAIN = timedelta(minutes=5)
"""When a clip that another process works on is examined again: that process may have died."""

A_DAY = timedelta(days=1)
"""Clips that become old enough later than this are left to a later scan."""

AT_LEAST = timedelta(seconds=5)
"""No clip is examined more often than this unless something happens to it."""

TROUBLE_AGAIN = timedelta(hours=1)
"""When a clip is tried again after its storage prevented archiving."""


class DueClip(Struct, frozen=True):
    """One clip that is to be examined."""

    path: str
    """Below the source root."""
    at: float
    finished: bool
    """Whether its arrival proved that no process writes to it any more."""


class DueQueue:
    """Holds each path once; the newest entry of a path replaces the one before."""

    def __init__(self) -> None:
        self._due: dict[str, DueClip] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def put(self, path: str, at: float, *, finished: bool = False) -> None:
        """Have a clip examined at a time."""
        before = self._due.get(path)
        self._due[path] = DueClip(path, at, finished)
        # A later time needs no entry of its own: the earlier one is put back when it comes up.
        if before is None or at < before.at:
            heapq.heappush(self._heap, (at, path))

    def put_new(self, path: str, at: float) -> None:
        """The same, unless the path is queued already."""
        if path not in self._due:
            self.put(path, at)

    def next_at(self) -> float | None:
        """When the first clip is due; None if the queue is empty."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def take(self, now: float, limit: int) -> Iterator[DueClip]:
        """Remove up to `limit` due clips from the queue, the longest waiting first."""
        for _ in range(limit):
            self._settle()
            if not self._heap or self._heap[0][0] > now:
                return
            yield self._due.pop(heapq.heappop(self._heap)[1])

    def _settle(self) -> None:
        """Drop outdated entries until the top one is the newest of its path."""
        while self._heap:
            at, path = self._heap[0]
            due = self._due.get(path)
            if due is not None and due.at == at:
                return
            heapq.heappop(self._heap)
            if due is not None and due.at > at:
                heapq.heappush(self._heap, (due.at, path))


def as_finished(policy: ArchivePolicy) -> ArchivePolicy:
    """The policy for clips whose arrival proved that they are complete."""
    return replace(policy, quiet=timedelta(0))


def retry_delay_of_kept(
    step: Keep, mtime_ns: int, policy: ArchivePolicy, failure: Failure | None, now: datetime
) -> timedelta | None:
    """When a clip that was left alone is examined again; None means not before the next scan."""
    match step.reason:
        case Reason.NOT_SETTLED:
            still = abs(now.timestamp() - mtime_ns / 1e9)
            return max(policy.settle - timedelta(seconds=still), AT_LEAST)
        case Reason.TOO_RECENT if step.start is not None and step.start + policy.age - now < A_DAY:
            return max(step.start + policy.age - now, AT_LEAST)
        case Reason.FAILED_BEFORE if failure is not None and failure.next_try is not None:
            return max(failure.next_try - now, AT_LEAST)
        case Reason.BUSY:
            return BUSY_AGAIN
        case Reason.BEING_WRITTEN:
            return max(policy.settle, AT_LEAST)
    return None


def retry_delay(
    outcome: Outcome, policy: ArchivePolicy, failure: Failure | None, now: datetime
) -> timedelta | None:
    """When a clip that was tried is examined again; None means not before the next scan.

    `failure` is the clip's entry in the failure memory; without one its storage caused the failure.
    """
    match outcome.result:
        case Result.BUSY:
            return BUSY_AGAIN
        case Result.STALE:
            return max(policy.settle, AT_LEAST)
        case Result.SKIPPED if outcome.reason is Reason.BEING_WRITTEN:
            return max(policy.settle, AT_LEAST)
        case Result.FAILED if failure is not None and failure.next_try is None:
            return None
        case Result.FAILED if failure is not None and failure.next_try and failure.next_try > now:
            return failure.next_try - now
        case Result.FAILED:
            return TROUBLE_AGAIN
    return None


def folder_and_name(path: str) -> tuple[str, str]:
    """The folder and the name of a path below the root; the folder is empty for the root itself."""
    folder, _, name = path.rpartition("/")
    return folder, name


def waits_for_others(step: ArchiveStep, *, running: int) -> bool:
    """Whether a step begins only when nothing else runs: the second hard link of a file reuses the archive
    of the first one."""
    return step.clip.links > 1 and running > 0
