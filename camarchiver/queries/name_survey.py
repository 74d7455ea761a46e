"""Shows how each name of a source tree is read, for `config names`; changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.clip import joined
from camarchiver.naming.patterns import Names, ParsedName, Pattern, why_timeless
from camarchiver.naming.proposals import NameSample, PatternProposal, propose
from camarchiver.naming.system_folders import KNOWN, PassedOver
from camarchiver.storage.walk import TreeWalk, readable

_SAMPLES = 5
"""Names of one form that a proposal is tried with."""
_FORMS = 2000
"""Forms of unread names that are distinguished; names of further forms are only counted."""
_PROPOSALS = 100
"""Forms, the most frequent ones, for which a pattern is proposed."""
_FORM = {ord(digit): "0" for digit in "123456789"}


class NamesRead(Struct, frozen=True):
    """The names that one pattern reads."""

    maker: str
    count: int
    example: str
    """A path below the source root."""
    parsed: ParsedName
    """The content of the example."""


class NamesUnread(Struct, frozen=True):
    """Names of one form that no pattern reads."""

    count: int
    example: str
    """A path below the source root."""
    known: str
    """What is known of these names, if a maker is known to write no time into them; otherwise empty."""
    proposal: PatternProposal | None


class NameSurvey(Struct, frozen=True):
    """How the names of a tree are read, most frequent first."""

    read: tuple[NamesRead, ...]
    unread: tuple[NamesUnread, ...]
    others: int
    """Unread names of forms beyond the limit."""


class _FormSamples:
    """Names of one form, as far as they were read."""

    __slots__ = ("count", "samples")

    def __init__(self) -> None:
        self.count = 0
        self.samples: list[tuple[str, str]] = []
        """Folder and name of the first few."""


def survey(
    root: Path, names: Names, zone: tzinfo, *, pruned: Iterable[str], passed_over: PassedOver = KNOWN
) -> NameSurvey:
    """Read the name of every clip below `root` except in the absolute folders `pruned`."""
    by_maker: dict[str, tuple[Pattern, _FormSamples]] = {}
    by_form: dict[str, Pattern] = {}
    unread: dict[tuple[str, str], _FormSamples] = {}
    others = 0
    for folder, listing in readable(TreeWalk(root, pruned=pruned, enters=passed_over.may_hold_clips)):
        for name in listing.clip_names():
            stem = name.rpartition(".")[0]
            form = stem.translate(_FORM)
            if (parsed := names.read(stem, folder)) is not None:
                pattern = by_form.get(form)
                if pattern is None or pattern.read(stem, folder) != parsed:
                    pattern = by_form[form] = names.which(stem, folder)
                group = by_maker.setdefault(pattern.maker, (pattern, _FormSamples()))[1]
            else:
                kind = folder.translate(_FORM), form
                if kind not in unread and len(unread) >= _FORMS:
                    others += 1
                    continue
                group = unread.setdefault(kind, _FormSamples())
            group.count += 1
            if len(group.samples) < _SAMPLES:
                group.samples.append((folder, name))
    read = [_read(pattern, group) for pattern, group in by_maker.values()]
    return NameSurvey(
        tuple(sorted(read, key=lambda row: -row.count)), _merged(_unread(root, unread.values(), zone)), others
    )


def _read(pattern: Pattern, group: _FormSamples) -> NamesRead:
    folder, name = group.samples[0]
    parsed = pattern.read(name.rpartition(".")[0], folder)
    assert parsed is not None
    return NamesRead(pattern.maker, group.count, joined(folder, name), parsed)


def _unread(root: Path, groups: Iterable[_FormSamples], zone: tzinfo) -> Iterator[NamesUnread]:
    for number, group in enumerate(sorted(groups, key=lambda group: -group.count)):
        folder, name = group.samples[0]
        known = why_timeless(name.rpartition(".")[0], folder)
        samples = [_sample(root, *each, zone) for each in group.samples]
        proposal = None if known or number >= _PROPOSALS else propose(samples)
        yield NamesUnread(group.count, joined(folder, name), known, proposal)


def _merged(rows: Iterable[NamesUnread]) -> tuple[NamesUnread, ...]:
    """The rows, with those as one that get the same proposal."""
    merged: dict[str, NamesUnread] = {}
    for row in rows:
        key = row.proposal.regex if row.proposal else f"\0{row.example}"
        known = merged.get(key)
        merged[key] = replace(known, count=known.count + row.count) if known else row
    return tuple(sorted(merged.values(), key=lambda row: -row.count))


def _sample(root: Path, folder: str, name: str, zone: tzinfo) -> NameSample:
    try:
        modified = datetime.fromtimestamp((root / folder / name).stat().st_mtime, zone).replace(tzinfo=None)
    except (OSError, ValueError, OverflowError):
        modified = None
    return NameSample(name.rpartition(".")[0], folder, modified)
