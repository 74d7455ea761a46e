"""One bar for the run and one line for each running job, drawn on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

ItemT = TypeVar("ItemT")

Advance = Callable[[float, float], None]
"""Called with the seconds of footage encoded so far and the speed as a multiple of real time."""


class Display(Protocol):
    """Receives the progress of a run."""

    def job(self, name: str, seconds: float) -> AbstractContextManager[Advance]:
        """One clip of this many seconds is processed while the block runs."""
        ...

    def done(self, size: int) -> None:
        """A step over this many bytes is finished."""
        ...


class Silent:
    """No display: standard error is not a terminal, or no display is wanted."""

    def job(self, name: str, seconds: float) -> AbstractContextManager[Advance]:
        return nullcontext(lambda at, speed: None)

    def done(self, size: int) -> None:
        return


class ProgressBars:
    """tqdm's bars on standard error; jobs take the lowest free line."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._tqdm = tqdm
        self._mutex = threading.Lock()
        self._lines: set[int] = set()
        self._run = tqdm(total=total, unit="B", unit_scale=True, position=0, dynamic_ncols=True, desc="run")

    @contextmanager
    def job(self, name: str, seconds: float) -> Iterator[Advance]:
        with self._mutex:
            line = next(n for n in range(1, len(self._lines) + 2) if n not in self._lines)
            self._lines.add(line)
        bar = self._tqdm(
            total=max(seconds, 0.001),
            position=line,
            leave=False,
            dynamic_ncols=True,
            desc=name[-32:],
            bar_format="{desc} {percentage:3.0f}% |{bar}| {elapsed}<{remaining}{postfix}",
        )
        try:
            yield lambda at, speed: _advance(bar, at, speed)
        finally:
            bar.close()
            with self._mutex:
                self._lines.discard(line)

    def done(self, size: int) -> None:
        self._run.update(size)

    def close(self) -> None:
        self._run.close()


def _advance(bar: tqdm[Any], at: float, speed: float) -> None:
    bar.set_postfix_str(f"{speed:.1f}x", refresh=False)
    bar.update(min(at, bar.total or 0.0) - bar.n)


@contextmanager
def display(total: int, *, wanted: bool) -> Iterator[Display]:
    """Bars if they are wanted and standard error is a terminal, otherwise nothing."""
    if not (wanted and sys.stderr.isatty()):
        yield Silent()
        return
    bars = ProgressBars(total)
    try:
        yield bars
    finally:
        bars.close()


def counted(items: Iterable[ItemT], total: int, noun: str, *, wanted: bool) -> Iterable[ItemT]:
    """The items, with a bar on standard error if it is wanted and a terminal; there are about `total`."""
    if not (wanted and sys.stderr.isatty()):
        return items
    from tqdm import tqdm

    return tqdm(items, total=total, unit=noun, dynamic_ncols=True, leave=False)
