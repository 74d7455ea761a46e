"""The history of a clip in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

from camarchiver.domain.clip import Tree
from camarchiver.domain.plan import action_of
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, Step
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.replay import REPLACED
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.queries.history import Story
from camarchiver.runtime.formatting import shown, size
from camarchiver.state.intents import is_end

_COPIES = {Tree.SOURCE: "the source", Tree.ARCHIVE: "the archive", Tree.TRASH: "the copy in the trash"}

_BY_ARCHIVE = frozenset({Reason.NOT_ARCHIVED, Reason.ALREADY_ARCHIVED, Reason.REPEAT_ASKED, Reason.SAME_FILE})
"""Why `archive` worked on a clip, which is no rule that removes anything."""


@dataclass(frozen=True, slots=True)
class CleanupPreview:
    """What the next cleanup would do with the copies of clips, if it can be told."""

    steps: Mapping[Path, Step]
    """By where the copy stands."""
    stopped: str = ""
    """Why that cleanup would do nothing at all."""


def story_lines(story: Story, foreseen: CleanupPreview, zone: tzinfo) -> Iterator[str]:
    """What was done to the clip and when, and what the next runs would do."""
    yield f"{shown(story.source)}:"
    last = None
    for event in _told(story.events):
        if event.identity != last:
            yield _recorded(event, zone, again=last is not None)
            last = event.identity
        words = _removal_words(event) or _event_words(event)
        who = f"by run {shown(event.run)} on {shown(event.host)}"
        yield f"  {_time(event.at, zone)}  {words}, {who}"
    if not story.events:
        yield "  the journal says nothing of it"
    if (step := story.next_step) is not None:
        yield f"  the next archive run would {_deed(step, 'it')}: {_why(step)}"
    elif Tree.SOURCE not in story.places.values():
        yield "  it is not in the source tree now"
    for path, tree in story.places.items():
        if (step := foreseen.steps.get(path)) is not None:
            yield f"  the next cleanup would {_deed(step, _COPIES[tree])}, {shown(path)}: {_why(step)}"
    if story.places and foreseen.stopped:
        yield f"  the next cleanup would change nothing: {foreseen.stopped}"


def _recorded(event: JournalEvent, zone: tzinfo, *, again: bool) -> str:
    of = f" by camera {shown(event.camera)}" if event.camera else ""
    bytes_of = f", {_size(event.source_size)}"
    other = ", another clip of the same name" if again else ""
    return f"  {_time(event.start, zone)}  recorded{of}{bytes_of}{other}"


def _time(moment: datetime, zone: tzinfo) -> str:
    try:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return "at an unknown time"


def _size(count: int | None) -> str:
    return size(count) if count is not None else "of unknown size"


def _deed(step: Step, what: str) -> str:
    match action_of(step):
        case "trash":
            return f"move {what} to the trash"
        case "keep":
            return f"leave {what} alone"
        case verb:
            return f"{verb} {what}"


def _why(step: Step) -> str:
    detail = f" ({shown(step.detail)})" if isinstance(step, Keep) and step.detail else ""
    return f"{REASON_WORDS[step.reason]}{detail}"


def _told(events: Sequence[JournalEvent]) -> Iterator[JournalEvent]:
    """Without intents whose outcome follows."""
    for number, event in enumerate(events):
        ends = (later for later in events[number + 1 :] if later.run == event.run)
        if event.event != "intended" or not any(is_end(later) for later in ends):
            yield event


def _event_words(event: JournalEvent) -> str:
    detail, where = _detail(event), shown(event.archive or "")
    match event.event:
        case "archived":
            how = f"archived as {where}"
            if event.encoder:
                sizes = f"{_size(event.source_size)} -> {_size(event.archive_size)}"
                encoder, verified = shown(event.encoder), shown(event.verified or "?")
                how += f" with {encoder}, {sizes}; verified: {verified}"
            return how + detail
        case "adopted":
            return f"the standing archive {where} was taken over; {shown(event.verified or '')}{detail}"
        case "restored":
            what = f"its archive {where} " if event.tree == "archive" else ""
            return f"{what}restored from the trash, {shown(event.trash or '?')}"
        case "kept":
            return "source kept, as asked"
        case "failed":
            return f"could not be archived: {shown(event.reason or '?')}{detail}"
        case other:
            return f"{shown(other)}{detail}"


def _removal_words(event: JournalEvent) -> str:
    """What a line of a removal says, by which rule; empty for other lines."""
    tree, reason = Tree(event.tree or Tree.SOURCE), event.reason or ""
    where, place = shown(event.archive or ""), shown(event.trash or "?")
    copy = {Tree.ARCHIVE: f"its archive {where}", Tree.TRASH: f"the copy in the trash, {place},"}.get(
        tree, "source"
    )
    is_rule = reason in set(Reason) - _BY_ARCHIVE
    rule = f", by the rule {reason} ({REASON_WORDS[Reason(reason)]})" if is_rule else ""
    match event.event:
        case "trashed" if reason == REPLACED:
            return f"its former archive {where} moved to the trash, {place}"
        case "trashed":
            return f"{copy} moved to the trash, {place}{rule}{_detail(event)}"
        case "deleted":
            stood = ", its archive stood" if copy == "source" and event.archive else ""
            return f"{copy} deleted{stood}{rule}{_detail(event)}"
        case "purged":
            return f"{copy} removed for good{rule}{_detail(event)}"
        case "intended":
            return f"{copy} about to be removed{rule}"
        case "left":
            return f"{copy} left alone after all: {shown(reason)}{_detail(event)}"
        case _:
            return ""


def _detail(event: JournalEvent) -> str:
    return f" ({shown(event.detail)})" if event.detail else ""
