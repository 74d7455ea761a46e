"""What the pages of a site were made from, so that only outdated ones are made again."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from camarchiver.domain.clip import Tree
from camarchiver.domain.untrusted import decode
from camarchiver.offsite.status import CopyCounts
from camarchiver.page.clips import PageClip
from camarchiver.queries.find import FindState
from camarchiver.storage import atomic

FILE = ".camarchiver-page.json"
"""In the site's folder. A site without it is made as a whole."""

VERSION = 4
"""Another number makes every page again."""


MOTION = "motion"
"""The minutes in which something moves; most other kinds are those of `FindState`."""

GONE = "gone"
"""The minutes of clips of which no copy is left."""


class JournalMark(Struct, frozen=True, gc=False):
    """What the clips of one day, by their names, were gathered from."""

    digest: str
    """Of the journal's state, the files in the source and the holds."""
    folders: dict[str, int] = {}
    """mtime_ns of the folders in archive and trash that copies of its clips lie in, or did; by path."""
    strays: tuple[date, ...] = ()
    """Days on which some of these clips were really recorded."""
    grown: dict[date, dict[Tree, int]] = {}
    """Bytes that each tree gained by what was done to these clips, by the day on which it was done."""
    unseen: int = 0
    """Clips without thumbnails that were not tried yet."""
    archives: dict[str, int] = {}
    """By camera: archives that the journal knows."""
    copies: dict[str, dict[str, CopyCounts]] = {}
    """By remote and camera: the off-site copies of these."""
    has_distant_file_time: bool = msgspec.field(name="is_odd", default=False)
    """Whether the file of one of them was written on another day: any hold may then cover it."""


class CameraClips(Struct, frozen=True, gc=False):
    """One camera's clips of one folder of the source."""

    size: int
    """Bytes of all of them."""
    first: int
    """When the oldest one was recorded, in seconds since 1970."""
    pauses: tuple[int, ...] = ()
    """Seconds from the start of each to that of the next one."""
    seconds: tuple[float | None, ...] = ()
    """Their lengths, as far as they are known; empty if none is."""
    doubtful: int = 0
    """Clips whose clock is doubtful."""


class FolderMark(Struct, frozen=True, gc=False):
    """What one folder of the source held when it was examined last."""

    digest: str
    """Of the names, sizes, times and rights of its clips."""
    days: dict[date, str]
    """By the day of their names: a digest of its clips of that day."""
    cameras: dict[str, CameraClips]


class TreeTotal(Struct, frozen=True, gc=False):
    """Copies in one tree."""

    clips: int
    size: int
    """Bytes."""


class DaySummary(Struct, frozen=True, gc=False):
    """One camera's day, as far as the month's page and the index show it."""

    clips: int
    """Those of which there is a copy, in a tree or off-site."""
    seconds: float
    trees: dict[str, TreeTotal]
    minutes: dict[str, tuple[int, ...]]
    """What each minute of the day shows, by its kind: begin and length of each run of
    minutes in turn. The last run may reach into the next day."""
    held: int = 0
    failed: int = 0
    damaged: int = 0
    moving: float = 0.0
    """Seconds in which something moves."""
    removals: dict[str, tuple[date, int]] = {}
    """By the rule: the day from which the first copies go, and how many go by this rule."""
    newest: datetime | None = None
    offsite: int = 0
    """Clips with a verified off-site copy."""
    gone: dict[str, int] = {}
    """Clips without any copy, by the rule that gave them up; an empty one if it is not known."""
    copies: tuple[str, ...] = ()
    """Playable copies of its held clips, below the site."""


class SiteState(Struct):
    """What one site was made from."""

    version: int = VERSION
    settings: str = ""
    """A digest of everything that all pages depend on."""
    journals: dict[date, JournalMark] = {}
    cameras: dict[str, dict[date, DaySummary]] = {}
    folders: dict[str, FolderMark] = {}
    """Folders of the source, relative to its root; not those that must be examined in each run."""


def read(site: Path) -> SiteState:
    """The state of a site; an empty one if there is none that can be understood."""
    try:
        found = decode((site / FILE).read_bytes(), SiteState)
    except (OSError, ValueError):
        return SiteState()
    return found if found.version == VERSION else SiteState()


def write(site: Path, state: SiteState) -> None:
    """Replace the state of a site. Raises OSError."""
    # Not by msgspec's own encoder, which refuses the lone surrogates of a name that is not UTF-8.
    text = json.dumps(msgspec.to_builtins(state), separators=(",", ":"))
    atomic.write_text(site / FILE, text + "\n", mode=0o644)


def summary_of(clips: Iterable[PageClip]) -> DaySummary:
    """The summary of one camera's clips of one day; seconds of clips of unknown length are not counted."""
    clips = list(clips)
    there = [clip for clip in clips if not clip.is_gone]
    minutes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    trees: dict[str, TreeTotal] = {}
    removals: dict[str, tuple[date, int]] = {}
    for clip in there:
        for file in (each for each in clip.files if not each.is_missing):
            before = trees.get(file.tree, TreeTotal(0, 0))
            trees[file.tree] = TreeTotal(before.clips + 1, before.size + file.size)
        for planned in clip.removals:
            reason, day = planned.removal.reason, planned.removal.at.date()
            first, number = removals.get(reason, (day, 0))
            removals[reason] = min(first, day), number + 1
    for clip in clips:
        for kind in _kinds(clip):
            minutes[kind].append(_span(clip, 0.0, clip.seconds or 0.0))
        if clip.motion is not None and not clip.is_gone:
            minutes[MOTION].extend(_span(clip, each.start, each.end) for each in clip.motion.spans)
    return DaySummary(
        len(there),
        sum(clip.seconds or 0.0 for clip in there),
        trees,
        {kind: tuple(_joined(spans)) for kind, spans in minutes.items() if spans},
        sum(bool(clip.hold) for clip in there),
        sum(bool(clip.failure) for clip in there),
        sum(bool(clip.damage) for clip in there),
        sum(clip.motion.seconds() for clip in there if clip.motion is not None),
        removals,
        max((clip.start for clip in there if clip.files), default=None),
        sum(clip.is_offsite for clip in there),
        dict(Counter(clip.gone_by for clip in clips if clip.is_gone)),
    )


def kind_of(clip: PageClip) -> str:
    """How a clip is drawn: by the copy to look at, otherwise by its state."""
    if clip.file is not None:
        return clip.file.tree
    if clip.is_offsite:
        return FindState.OFFSITE
    return FindState.DAMAGED if clip.files else GONE


def _kinds(clip: PageClip) -> Iterator[str]:
    """The kinds of a clip's minutes: how it is drawn, and what is remarkable about it."""
    kind = kind_of(clip)
    yield kind
    if kind == GONE:
        return
    if clip.hold:
        yield FindState.HELD
    if clip.failure:
        yield FindState.FAILED
    if clip.damage and kind != FindState.DAMAGED:
        yield FindState.DAMAGED


def _span(clip: PageClip, begin: float, end: float) -> tuple[int, int]:
    """The first minute of a part of a clip, and the first one after it."""
    midnight = clip.start.hour * 3600 + clip.start.minute * 60 + clip.start.second
    first = int(midnight + begin) // 60
    return first, max(first + 1, -int(-(midnight + end) // 60))


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[int]:
    """Begin and length of each run of minutes, in turn."""
    begin = end = -1
    for first, last in sorted(spans):
        if first > end:
            if end > begin:
                yield from (begin, end - begin)
            begin, end = first, last
        else:
            end = max(end, last)
    if end > begin:
        yield from (begin, end - begin)
