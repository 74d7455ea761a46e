"""The newest items of a run that may last for months, and how many there were in all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

KEPT = 1000

T = TypeVar("T")


class BoundedHistory(Generic[T]):
    """Takes any number of items and holds the last `KEPT` of them.

    One thread may add while another reads.
    """

    def __init__(self) -> None:
        self._kept: deque[T] = deque(maxlen=KEPT)
        self.count = 0
        """How many there were in all."""

    def append(self, item: T) -> None:
        """Add one item."""
        self._kept.append(item)
        self.count += 1

    def __iter__(self) -> Iterator[T]:
        return iter(self._kept.copy())
