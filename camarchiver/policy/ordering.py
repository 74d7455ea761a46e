"""In which order a plan's clips are worked on, alone or beside other hosts; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from itertools import groupby, islice
from typing import TypeVar

from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Remove

Change = Archive | Remove
OneT = TypeVar("OneT")
ManyT = TypeVar("ManyT")

LOOK_AHEAD = 200
"""Clips among which the largest goes first, so that no long one keeps the last job busy alone."""

_REMOVE, _ENCODE, _SECOND_NAME = range(3)


def order_key(step: Change) -> tuple[int, int, str, str]:
    """What was archived before goes first, then the oldest day, then second names of one file.

    A second name goes last because it takes over the archive that the first one gets.
    """
    clip = step.clip
    return _rank(step), clip.start.toordinal(), clip.folder, clip.name


def _rank(step: Change) -> int:
    if isinstance(step, Remove):
        return _REMOVE
    return _SECOND_NAME if step.reason is Reason.SAME_FILE else _ENCODE


def largest_first(steps: Iterable[Change]) -> Iterator[Change]:
    """Ordered steps, the largest clip first within each block of `LOOK_AHEAD` to be encoded."""
    for rank, group in groupby(steps, key=_rank):
        if rank != _ENCODE:
            yield from group
            continue
        while block := list(islice(group, LOOK_AHEAD)):
            block.sort(key=lambda step: -step.size)
            yield from block


def within_limit(steps: Iterable[Change], limit: int) -> Iterator[Change]:
    """The steps of a run that encodes at most so many clips."""
    encoded = 0
    for step in steps:
        if isinstance(step, Archive):
            encoded += 1
            if encoded > limit:
                return
        yield step


# --- beside others ---------------------------------------------------------------------------------


def place_among(own: str, workers: Collection[str]) -> Fraction:
    """Where in a plan this worker begins, as a part of the whole, among all that work on the same tree.

    Each gets another place and all are equally far apart, so that they meet when little is left.
    """
    names = sorted({own, *workers})
    return Fraction(names.index(own), len(names))


def rotated_start(steps: Collection[Change], place: Fraction) -> Iterator[Change]:
    """The same steps, with those to be encoded begun at `place` of them and gone round."""
    if not place:
        yield from steps
        return
    first = int(sum(1 for _ in _ranked(steps, _ENCODE)) * place)
    yield from _ranked(steps, _REMOVE)
    yield from islice(_ranked(steps, _ENCODE), first, None)
    yield from islice(_ranked(steps, _ENCODE), first)
    yield from _ranked(steps, _SECOND_NAME)


def _ranked(steps: Iterable[Change], rank: int) -> Iterator[Change]:
    return (step for step in steps if _rank(step) == rank)


def turn(path: str, place: Fraction) -> float:
    """When a clip's turn comes, from 0 to 1, for a worker who begins at `place`; all go the same round."""
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return (int.from_bytes(digest, "big") / 2**48 - float(place)) % 1.0
