"""In which order a plan's clips are worked on, alone or beside other hosts; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from heapq import merge
from itertools import groupby, islice
from typing import Any, TypeVar

from camarchiver.domain.clip_batch import ClipBatch
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, Remove

Change = Archive | Remove
OneT = TypeVar("OneT")
ManyT = TypeVar("ManyT")

LOOK_AHEAD = 200
"""Clips among which the largest goes first, so that no long one keeps the last job busy alone."""

_REMOVE, _ENCODE, _SECOND_NAME = range(3)


def order_key(step: Change | ClipBatch) -> tuple[int, int, str]:
    """What was archived before goes first, then the oldest day, then second names of one file.

    A second name goes last because it takes over the archive that the first one gets.
    """
    if isinstance(step, ClipBatch):
        return _ENCODE, step.start.toordinal(), step.relative
    clip = step.clip
    return _rank(step), clip.start.toordinal(), clip.relative


def count(each: Change | ClipBatch) -> int:
    """How many steps it stands for."""
    return len(each.names) if isinstance(each, ClipBatch) else 1


def expand(found: Iterable[Change | ClipBatch]) -> Iterator[Change]:
    """The single steps, in order, of what is in order: of clips that are alike, by the first of them."""
    return interleaved(found, order_key, _ends, _walk)


def _ends(each: Change | ClipBatch) -> tuple[Any, Any]:
    first = order_key(each)
    return first, (*first[:2], each.last_relative) if isinstance(each, ClipBatch) else first


def _walk(each: Change | ClipBatch) -> Iterator[Change]:
    return each.steps() if isinstance(each, ClipBatch) else iter((each,))


def interleaved(
    found: Iterable[ManyT],
    key: Callable[[OneT], Any],
    ends: Callable[[ManyT], tuple[Any, Any]],
    walk: Callable[[ManyT], Iterator[OneT]],
) -> Iterator[OneT]:
    """The single items, in the order of `key`, of what stands for several and is in order by the first.

    `ends` tells the keys of the first and the last one that it stands for, `walk` gives all.
    """
    beside: list[ManyT] = []
    end: Any = None
    for each in found:
        first, last = ends(each)
        if beside and first > end:
            yield from _merged(beside, key, walk)
            beside.clear()
        end = max(end, last) if beside else last
        beside.append(each)
    yield from _merged(beside, key, walk)


def _merged(
    beside: Sequence[ManyT], key: Callable[[OneT], Any], walk: Callable[[ManyT], Iterator[OneT]]
) -> Iterator[OneT]:
    return walk(beside[0]) if len(beside) == 1 else merge(*map(walk, beside), key=key)


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
