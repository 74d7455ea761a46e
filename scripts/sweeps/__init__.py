"""Sweeps: each makes one sort of trouble for camarchiver, many times, and counts what went wrong.

A module here that has `SWEEPS` is found by scripts/faults by itself; the others are what they share.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
"""The folder that the package lies in."""

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """How much of a sweep is wanted, and where it may work."""

    where: Path
    """A folder of its own for what the sweep makes."""
    sample: int | None = None
    """About so many trials; None for all there are."""
    seed: int = 1
    jobs: int = 1
    """Trials at the same time."""
    keep: bool = False
    """Keep the trees of violations to look at."""
    every_call: bool = False
    """Try also what another trial stands for."""
    stopped: Event = field(default_factory=Event)
    """Set when no further trial is wanted; what was made counts."""
    package: Path = ROOT
    """The folder that the tried package lies in."""

    @contextmanager
    def folder(self, prefix: str) -> Iterator[Path]:
        """A folder of its own, removed at the end."""
        made = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self.where))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@dataclass(frozen=True)
class Tally:
    """One line of the result."""

    what: str
    trials: int
    violations: int
    seconds: float
    note: str = ""
    skipped: int = 0

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.what}: {self.trials} trials, {self.violations} violations, {self.seconds:.0f} s{note}"


@dataclass(frozen=True)
class Sweep:
    """A kind of trouble by its name; names that begin alike (`kill-archive`) are chosen together (`kill`)."""

    name: str
    run: Callable[[Options], Iterable[Tally]]
    share: int = 1
    """Its part of a sample, against the other sweeps'."""
    seconds: float = 0.0
    """What it takes at least, whatever the sample."""


class Unable(Exception):
    """This machine lacks what the sweep needs; said, and counted as skipped."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def violation(what: object, problems: Sequence[str]) -> None:
    """Print what went wrong in one trial."""
    print(f"VIOLATION {what}: {'; '.join(problems)}", flush=True)


def attempts(
    trials: Sequence[T], attempt: Callable[[T], Sequence[str]], options: Options
) -> Iterator[tuple[T, Sequence[str]]]:
    """Make the trials, some at the same time, until no more are wanted; each with what it found wrong."""

    def one(trial: T) -> Sequence[str] | None:
        return None if options.stopped.is_set() else attempt(trial)

    with ThreadPoolExecutor(options.jobs) as pool:
        for trial, problems in zip(trials, pool.map(one, trials), strict=True):
            if problems is not None:
                yield trial, problems


def tally(
    what: str, trials: Sequence[T], attempt: Callable[[T], Sequence[str]], options: Options, note: str = ""
) -> Tally:
    """Make the trials and count."""
    began = time.monotonic()
    bad = made = 0
    for trial, problems in attempts(trials, attempt, options):
        made += 1
        if problems:
            bad += 1
            violation(trial, problems)
    if made < len(trials):
        note = ", ".join(filter(None, [f"stopped, of {len(trials)}", note]))
    return Tally(what, made, bad, time.monotonic() - began, note)
