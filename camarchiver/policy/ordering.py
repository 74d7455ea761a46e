"""The order in which a plan's clips are archived, by one host or by several. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from fractions import Fraction
from itertools import islice

from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, ArchiveStep, RemoveSource

_REMOVE, _ENCODE, _SECOND_NAME = range(3)


def order_key(step: ArchiveStep) -> tuple[int, datetime, str, str]:
    """Clips that are archived already go first, then the oldest clip, then second names of one file.

    A second name goes last because it takes over the archive of the first one.
    """
    clip = step.clip
    return _rank(step), clip.start, clip.folder, clip.name


def _rank(step: ArchiveStep) -> int:
    if isinstance(step, RemoveSource):
        return _REMOVE
    return _SECOND_NAME if step.reason is Reason.SAME_FILE else _ENCODE


def within_limit(steps: Iterable[ArchiveStep], limit: int) -> Iterator[ArchiveStep]:
    """The steps of a run that encodes at most `limit` clips."""
    encoded = 0
    for step in steps:
        if isinstance(step, Archive):
            encoded += 1
            if encoded > limit:
                return
        yield step


# --- beside others ---------------------------------------------------------------------------------


def place_among(own: str, active: Collection[str]) -> Fraction:
    """Where in a plan this worker begins, as a fraction, among all that work on the same tree.

    The places differ and are equally far apart, so that workers meet only when little is left.
    """
    names = sorted({own, *active})
    return Fraction(names.index(own), len(names))


def rotated_start(steps: Collection[ArchiveStep], place: Fraction) -> Iterator[ArchiveStep]:
    """The same steps; those to be encoded begin at the fraction `place` and wrap around."""
    if not place:
        yield from steps
        return
    first = int(sum(1 for _ in _ranked(steps, _ENCODE)) * place)
    yield from _ranked(steps, _REMOVE)
    yield from islice(_ranked(steps, _ENCODE), first, None)
    yield from islice(_ranked(steps, _ENCODE), first)
    yield from _ranked(steps, _SECOND_NAME)


def _ranked(steps: Iterable[ArchiveStep], rank: int) -> Iterator[ArchiveStep]:
    return (step for step in steps if _rank(step) == rank)


def turn(path: str, place: Fraction) -> float:
    """When a clip's turn comes, from 0 to 1, for a worker that begins at `place`; all use one cycle."""
    digest = hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return (int.from_bytes(digest, "big") / 2**48 - float(place)) % 1.0
