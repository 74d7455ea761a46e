"""Sweeps: each makes one sort of trouble for camarchiver, many times, and counts what went wrong.

A module here that has `SWEEPS` is found by scripts/faults by itself; the others are what they share.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
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
    """About how many trials to make; None for all of them."""
    seed: int = 1
    jobs: int = 1
    """Trials at the same time."""
    keep: bool = False
    """Keep the trees of violations to look at."""
    every_call: bool = False
    """Also make the trials that another trial already covers."""
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
    skipped: tuple[str, ...] = ()
    """Why, for each trial that can't be made here."""

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
    prepare: Callable[[Options, Path], None] | None = None
    """Makes in a folder what the trials begin with, for scripts/other-days; None if that needs no dates."""


class Unable(Exception):
    """This machine lacks what the sweep needs; said, and counted as skipped."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def violation(what: object, problems: Sequence[str]) -> None:
    """Print what went wrong in one trial."""
    print(f"VIOLATION {what}: {'; '.join(problems)}", flush=True)


def tallies(
    trials: Sequence[T],
    attempt: Callable[[T], Sequence[str]],
    options: Options,
    line: Callable[[T], str],
    note: Callable[[Sequence[T]], str] = lambda _: "",
) -> Iterator[Tally]:
    """Make the trials, some at the same time, until no more are wanted; one tally for each `line`.

    `attempt` returns what it found wrong, `note` what there is to report about the trials of a line.
    """
    wanted = Counter(map(line, trials))
    made: dict[str, list[T]] = {name: [] for name in wanted}
    bad: Counter[str] = Counter()
    began = time.monotonic()

    def one(trial: T) -> Sequence[str] | None:
        return None if options.stopped.is_set() else attempt(trial)

    with ThreadPoolExecutor(options.jobs) as pool:
        for trial, problems in zip(trials, pool.map(one, trials), strict=True):
            if problems is None:
                continue
            made[line(trial)].append(trial)
            if problems:
                bad[line(trial)] += 1
                violation(f"{line(trial)}: {trial}", problems)
    seconds = (time.monotonic() - began) / max(1, sum(map(len, made.values())))
    for name, count in wanted.items():
        done = made[name]
        stopped = f"stopped, of {count}" if len(done) < count else ""
        told = ", ".join(filter(None, (stopped, note(done))))
        yield Tally(name, len(done), bad[name], seconds * len(done), told)


def tally(
    what: str, trials: Sequence[T], attempt: Callable[[T], Sequence[str]], options: Options, note: str = ""
) -> Tally:
    """The same with one line."""
    return next(tallies(trials, attempt, options, lambda _: what, lambda _: note), Tally(what, 0, 0, 0.0))
