"""What the page of a day and its script say of clips: links, the data of the cards, the stories."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import quote

from camarchiver.domain.clip import Disposal, Tree, Trees
from camarchiver.domain.motion import MotionSpan
from camarchiver.domain.reason import REASONS, Reason
from camarchiver.output.history_text import event_lines
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.page.clips import PageClip, PlannedRemoval
from camarchiver.page.pages import DayPage
from camarchiver.queries.find import ClipFile
from camarchiver.runtime.formatting import shown, span

_CAMERA_PAGES = "cameras/NAME"
"""Where, below the site, the pages are that link to clips."""

_OWN_NAME = "\x01"
"""Stands for the clip's own name without its suffix in a line of its story."""

_COPIES = {Tree.SOURCE: "the source", Tree.ARCHIVE: "the archive", Tree.TRASH: "the copy in the trash"}


class ClipLinks:
    """Links from the pages of cameras to the files of clips, where they lie.

    They are relative, so that a site works from any disk.
    """

    def __init__(self, site: Path, trees: Trees) -> None:
        roots = {Tree.SOURCE: trees.source, Tree.ARCHIVE: trees.archive, Tree.TRASH: trees.trash}
        self._roots: Mapping[Tree, str] = {tree: f"{root}/" for tree, root in roots.items()}
        self._bases = {
            tree: address(os.path.relpath(root, site / _CAMERA_PAGES)) + "/" for tree, root in roots.items()
        }

    def of(self, file: ClipFile) -> str:
        """The address of a file. It begins with a relative path, so that no name can be a scheme."""
        return self._bases[file.tree] + address(file.path.removeprefix(self._roots[file.tree]))


def address(path: str) -> str:
    """A relative path as an address; bytes that are not UTF-8 are kept."""
    return quote(os.fsencode(path), safe="/-._~")


class Words:
    """A table of texts, each of which many clips may share."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """The place of a text in the table."""
        return self._numbers.setdefault(text, len(self._numbers))

    @property
    def table(self) -> list[str]:
        """The texts, by their numbers."""
        return list(self._numbers)


def script(name: str, value: Mapping[str, Any]) -> str:
    """A script that gives a value to a property of `window`; no text in it can end the script or a line."""
    text = json.dumps(value, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"window.{name}={text};\n"


def data_of(page: DayPage) -> dict[str, Any]:
    """For each clip: length, bytes before and after, and the numbers of notes in the table of words.

    Then follow, if there are any, the spans of motion, and the width and height of a thumbnail and its times.
    The clips are in the order of the page's list, which has their links and start times.
    """
    words, folders = Words(), Words()
    rows = []
    for clip in page.clips:
        row: list[Any] = [
            None if clip.seconds is None else round(clip.seconds, 1),
            clip.identity[0],
            clip.archived.archive_size if clip.archived else 0,
            [words.number(note) for note in notes_of(clip, page)],
        ]
        spans = [[round(each.start, 1), round(each.end, 1)] for each in _spans(clip)]
        if spans or clip.strip is not None:
            row.append(spans)
        if (strip := clip.strip) is not None:
            row.append([strip.width, strip.height, *(round(at, 1) for at in strip.times)])
        rows.append(row)
    places = [_place(clip, folders) for clip in page.clips]
    playable = {
        number: f"../../{address(page.playable[clip.key])}"
        for number, clip in enumerate(page.clips)
        if clip.key in page.playable
    }
    data = {"clips": rows, "words": words.table, "places": places, "folders": folders.table}
    return data | ({"playable": playable} if playable else {})


def _spans(clip: PageClip) -> Sequence[MotionSpan]:
    return clip.motion.spans if clip.motion is not None else ()


def _place(clip: PageClip, folders: Words) -> int | list[Any] | None:
    """The path of the copy to look at: the number of its folder, and its name if the link lacks it."""
    if clip.file is None:
        return None
    folder, _, name = clip.file.path.rpartition("/")
    number = folders.number(shown(folder))
    return number if shown(name) == name else [number, shown(name)]


def notes_of(clip: PageClip, page: DayPage) -> list[str]:
    """What a card says of a clip, in sentences without its name."""
    if clip.is_gone:
        return [gone_words(clip, page.now)]
    notes = []
    if clip.hold:
        notes.append(f"held {shown(clip.hold)}")
    if clip.damage:
        notes.append(f"its archive does not count: {shown(clip.damage)}")
    if clip.failure:
        words = REASON_WORDS[Reason(clip.failure)] if clip.failure in REASONS else shown(clip.failure)
        notes.append(f"could not be archived: {words}")
    if clip.line is not None and clip.archived is not None:
        why = clip.archived.why_unencoded
        how = (
            f"not encoded: {REASON_WORDS[why]}" if why else f"encoded with {shown(clip.line.encoder or '?')}"
        )
        notes.append(f"archived, {how}; verified: {shown(clip.line.verified or '?')}")
    elif clip.archived is None and clip.files:
        notes.append("not archived")
    notes.extend(_copy_notes(clip, page))
    if clip.motion is not None and clip.motion.spans:
        notes.append(f"motion for {span(clip.motion.seconds())}")
    notes.extend(removal_words(each, page.now) for each in clip.removals)
    return notes


def _copy_notes(clip: PageClip, page: DayPage) -> Iterator[str]:
    """Whether a verified off-site copy exists, and what to do if it is all that is left."""
    for copy in clip.copies:
        if copy.is_proved and copy.verified is not None:
            on = f"{copy.verified.astimezone(page.now.tzinfo):%Y-%m-%d}"
            yield f"off-site copy at {shown(copy.remote)}, verified on {on}"
        else:
            yield f"off-site copy at {shown(copy.remote)} {'lost' if copy.is_lost else 'not verified yet'}"
    if page.remote and clip.archived is not None and not any(c.remote == page.remote for c in clip.copies):
        yield f"no off-site copy at {shown(page.remote)}"
    if clip.file is None and clip.is_offsite:
        yield "only off-site: camarchiver restore --from-offsite brings it back"


def gone_words(clip: PageClip, now: datetime) -> str:
    """Since when a clip is gone, and by which rules."""
    if not clip.removal_lines:
        return "gone: no copy is left, and no line of the journal says why"
    ends = [
        (f"{line.at.astimezone(now.tzinfo):%Y-%m-%d}", Reason(line.reason or ""))
        for line in clip.removal_lines
    ]
    rules = "; ".join(f"{REASON_WORDS[reason]} ({day})" for day, reason in dict.fromkeys(ends))
    return f"gone since {ends[-1][0]}: {rules}"


def removal_words(planned: PlannedRemoval, now: datetime) -> str:
    """When a copy goes, and why."""
    removal = planned.removal
    verb = "is deleted" if removal.disposal is Disposal.DELETE else "goes to the trash"
    due = removal.at <= now
    when = "by the next cleanup" if due else f"from {removal.at.astimezone(now.tzinfo):%Y-%m-%d} on"
    return f"{_COPIES[planned.tree]} {verb} {when}: {REASON_WORDS[removal.reason]}"


def stories_of(clips: Sequence[PageClip], zone: tzinfo | None) -> dict[str, Any]:
    """For each clip the lines of its story: a time, and the number of a text in the table of words.

    In these texts a control character stands for the clip's path in the source without its suffix.
    """
    words, stories, names = Words(), [], []
    for clip in clips:
        stem = shown(clip.source.rpartition(".")[0])
        found = event_lines(clip.events, {}, zone or clip.start.tzinfo)  # type: ignore[arg-type]
        stories.append([[when, words.number(text.replace(stem, _OWN_NAME))] for when, text in found])
        names.append(stem)
    return {"stories": stories, "names": names, "words": words.table}
