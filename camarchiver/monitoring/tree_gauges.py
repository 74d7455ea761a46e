"""Measures the trees for the metrics; leaves out what can't be measured."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from camarchiver.domain.clip import Trees
from camarchiver.errors import CamarchiverError
from camarchiver.monitoring.metrics import FreeSpace, RemoteCopies, TreeState
from camarchiver.naming.folders import date_of_folder
from camarchiver.state import findings, holds, offsite_state
from camarchiver.state.failures import Failures
from camarchiver.storage.walk import TreeWalk

RATE_DAYS = 14
"""Days of footage from which the growth of the source is computed."""


def measure(trees: Trees, now: datetime, *, daily_bytes: float | None) -> TreeState:
    """Everything but the growth, which needs a walk and is passed as `daily_bytes`."""
    failures = active_holds = None
    with suppress(OSError, CamarchiverError):
        failures = len(Failures(trees.state).known())
    with suppress(OSError, CamarchiverError):
        active_holds = sum(1 for hold in holds.read(trees.state) if hold.until is None or hold.until > now)
    damaged = last_verify = None
    with suppress(OSError, CamarchiverError):
        found = findings.read(trees.state)
        damaged = len(found.damaged)
        last_verify = found.last_whole.at.timestamp() if found.last_whole else None
    roots = (("source", trees.source), ("archive", trees.archive), ("trash", trees.trash))
    free = tuple(free_spaces(*roots))
    copies = tuple(_copies(trees))
    return TreeState(failures, active_holds, free, damaged, last_verify, daily_bytes, copies)


def _copies(trees: Trees) -> Iterator[RemoteCopies]:
    """The last sync of all archives to each remote."""
    with suppress(OSError, CamarchiverError):
        for remote, known in offsite_state.read(trees.state).items():
            if (sync := known.last_sync) is not None:
                ended = known.without_error.timestamp() if known.without_error is not None else None
                yield RemoteCopies(remote, ended, sync.copied, sync.missing)


def free_spaces(*places: tuple[str, Path]) -> Iterator[FreeSpace]:
    """The filesystem of each place, or of the nearest existing folder above it."""
    for name, place in places:
        with suppress(OSError, StopIteration):
            existing = next(folder for folder in (place, *place.parents) if folder.is_dir())
            status = os.statvfs(existing)
            free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
            yield FreeSpace(name, str(place), free, size)


def daily_bytes(trees: Trees, now: datetime) -> float:
    """Bytes of clips that came into the source per day in the last two weeks and still exist.

    Date folders older than that are not read.
    """
    first = now - timedelta(days=RATE_DAYS)
    earliest, latest = first.timestamp(), now.timestamp()
    total = 0
    tree = TreeWalk(trees.source, pruned=(trees.archive, trees.trash))
    for folder in tree:
        day = date_of_folder(folder)
        if day is not None and day < first.date():
            continue
        with suppress(OSError):
            statuses = tree.look(folder).files.values()
            total += sum(each.st_size for each in statuses if earliest <= each.st_mtime <= latest)
    return total / RATE_DAYS
