"""Looks at how the trees are, for the metrics; what can't be told is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from camarchiver import findings, holds
from camarchiver.errors import CamarchiverError
from camarchiver.failures import Failures
from camarchiver.figures import Room, Vitals
from camarchiver.model import Trees
from camarchiver.names import date_of_folder, is_clip_name, is_passing

RATE_DAYS = 14
"""Days of footage from which the growth of the source is taken."""


def look(trees: Trees, now: datetime, *, daily_bytes: float | None) -> Vitals:
    """Everything but the growth, which takes a walk and comes from `daily_bytes`."""
    failures = held = None
    with suppress(OSError, CamarchiverError):
        failures = len(Failures(trees.state).known())
    with suppress(OSError, CamarchiverError):
        held = sum(1 for hold in holds.read(trees.state) if hold.until is None or hold.until > now)
    damaged = last_verify = None
    with suppress(OSError, CamarchiverError):
        found = findings.read(trees.state)
        damaged = len(found.damaged)
        last_verify = found.last_whole.at.timestamp() if found.last_whole else None
    roots = (("source", trees.source), ("archive", trees.archive), ("trash", trees.trash))
    return Vitals(failures, held, tuple(rooms(*roots)), damaged, last_verify, daily_bytes)


def rooms(*places: tuple[str, Path]) -> Iterator[Room]:
    """The filesystem of each place, or of the nearest folder above it that is there."""
    for name, place in places:
        with suppress(OSError, StopIteration):
            there = next(folder for folder in (place, *place.parents) if folder.is_dir())
            status = os.statvfs(there)
            free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
            yield Room(name, str(place), free, size)


def daily_bytes(trees: Trees, now: datetime) -> float:
    """Bytes of clips that came into the source on a day of the last two weeks and still are there.

    Date folders older than that are not read.
    """
    first = now - timedelta(days=RATE_DAYS)
    pruned = {os.fspath(trees.archive), os.fspath(trees.trash)}
    total = 0
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError), os.scandir(trees.source / folder) as entries:
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    day = date_of_folder(relative)
                    is_old = day is not None and day < first.date()
                    if not (is_old or entry.path in pruned or is_passing(entry.name)):
                        waiting.append(relative)
                elif is_clip_name(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_size if first.timestamp() <= status.st_mtime <= now.timestamp() else 0
    return total / RATE_DAYS
