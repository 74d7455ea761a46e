"""How the names of a tree are read, as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from camarchiver.naming.patterns import ParsedName
from camarchiver.queries.name_survey import NamesRead, NamesUnread, NameSurvey
from camarchiver.runtime.formatting import cells, count_of, padded, shown

_ROWS = 20
"""Forms of unread names that are listed."""


def survey_lines(found: NameSurvey, root: Path) -> Iterator[str]:
    """What was found below `root`, and what could be added to the config."""
    read = sum(row.count for row in found.read)
    unread = sum(row.count for row in found.unread) + found.others
    if not read + unread:
        yield f"{shown(root)}: no clips"
        return
    yield f"{shown(root)}: {count_of(read + unread, 'clip')}, {read:,} of them with a time that can be read"
    if found.read:
        yield ""
        yield from _read(found.read)
    if unread:
        yield ""
        yield f"not read: {count_of(unread, 'clip')}"
        yield from _unread(found.unread[:_ROWS])
        hidden = unread - sum(row.count for row in found.unread[:_ROWS])
        if hidden:
            yield f"  {hidden:>9,}  with names of other forms"
    if any(row.proposal for row in found.unread[:_ROWS]):
        yield ""
        yield "Put proposals that read the names rightly into [patterns] of the config file, then look again."


def _read(rows: Sequence[NamesRead]) -> Iterator[str]:
    width = max(cells(shown(row.maker)) for row in rows)
    for row in rows:
        yield f"  {row.count:>9,}  {padded(shown(row.maker), width)}  {shown(row.example)}"
        yield f"  {'':9}  {'':{width}}  -> {_words(row.parsed)}"


def _unread(rows: Sequence[NamesUnread]) -> Iterator[str]:
    number = 0
    for row in rows:
        yield f"  {row.count:>9,}  {shown(row.example)}"
        if row.known:
            yield f"  {'':9}    {row.known}"
        elif row.proposal is None:
            yield f"  {'':9}    no time found in this name"
        else:
            number += 1
            doubt = (
                ""
                if row.proposal.is_sure
                else "; the file's own time is another: check the order of day and month"
            )
            yield f"  {'':9}    name{number} = {_toml(row.proposal.regex)}"
            yield f"  {'':9}    -> {_words(row.proposal.first)}{doubt}"


def _words(parsed: ParsedName) -> str:
    zone = " UTC" if parsed.utc else ""
    return f"camera {shown(parsed.camera)}, {parsed.start.replace(microsecond=0)}{zone}"


def _toml(text: str) -> str:
    """A string of TOML: literal where possible, since backslashes are not doubled there."""
    return json.dumps(text) if "'" in text or not text.isprintable() else f"'{text}'"
