"""Tells a clip's story in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from camarchiver.inquiry import Story
from camarchiver.intents import is_end
from camarchiver.ledger import REPLACED
from camarchiver.model import Keep, Reason, Tree
from camarchiver.plan import action_of
from camarchiver.report import REASON_WORDS
from camarchiver.words import shown, size


def story_lines(story: Story, zone: tzinfo) -> Iterator[str]:
    """What was done to the clip and when, and what the next run would do."""
    yield f"{shown(story.source)}:"
    for event in _told(story.events):
        at = datetime.fromisoformat(event["at"]).astimezone(zone)
        words = _removal_words(event) or _event_words(event)
        yield f"  {at:%Y-%m-%d %H:%M:%S}  {words}, by run {event['run']} on {event['host']}"
    if not story.events:
        yield "  the journal says nothing of it"
    if (step := story.next_step) is not None:
        detail = f" ({shown(step.detail)})" if isinstance(step, Keep) and step.detail else ""
        verb = {"archive": "archive it", "trash": "move it to the trash", "delete": "delete it"}
        would = verb.get(action_of(step), "leave it alone")
        yield f"  the next archive run would {would}: {REASON_WORDS[step.reason]}{detail}"
    elif not story.is_there:
        yield "  it is not in the source tree now"


def _told(events: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Without intents whose outcome follows."""
    for number, event in enumerate(events):
        ends = (later for later in events[number + 1 :] if later.get("run") == event.get("run"))
        if event.get("event") != "intended" or not any(is_end(later) for later in ends):
            yield event


def _event_words(event: Mapping[str, Any]) -> str:
    detail, where = _detail(event), shown(str(event.get("archive", "")))
    match event.get("event"):
        case "archived":
            how = f"archived as {where}"
            if event.get("encoder"):
                sizes = f"{size(event['source_size'])} -> {size(event['archive_size'])}"
                how += f" with {event['encoder']}, {sizes}; verified: {event.get('verified', '?')}"
            return how + detail
        case "adopted":
            return f"the standing archive {where} was taken over; {event.get('verified', '')}{detail}"
        case "restored":
            what = f"its archive {where} " if event.get("tree") == Tree.ARCHIVE else ""
            return f"{what}restored from the trash, {shown(str(event.get('trash')))}"
        case "kept":
            return "source kept, as asked"
        case "failed":
            return f"could not be archived: {event.get('reason')}{detail}"
        case other:
            return f"{other}{detail}"


def _removal_words(event: Mapping[str, Any]) -> str:
    """What a line of a removal says, by which rule; empty for other lines."""
    tree, reason = str(event.get("tree") or Tree.SOURCE), str(event.get("reason") or "")
    where, place = shown(str(event.get("archive", ""))), shown(str(event.get("trash")))
    copy = {Tree.ARCHIVE: f"its archive {where}", Tree.TRASH: f"the copy in the trash, {place},"}.get(
        Tree(tree) if tree in set(Tree) else Tree.SOURCE, "source"
    )
    rule = f", by the rule {reason} ({REASON_WORDS[Reason(reason)]})" if reason in set(Reason) else ""
    match event.get("event"):
        case "trashed" if reason == REPLACED:
            return f"its former archive {where} moved to the trash, {place}"
        case "trashed":
            return f"{copy} moved to the trash, {place}{rule}{_detail(event)}"
        case "deleted":
            stood = ", its archive stood" if copy == "source" and event.get("archive") else ""
            return f"{copy} deleted{stood}{rule}{_detail(event)}"
        case "purged":
            return f"{copy} removed for good{rule}{_detail(event)}"
        case "intended":
            return f"{copy} about to be removed{rule}"
        case "left":
            return f"{copy} left alone after all: {reason}{_detail(event)}"
        case _:
            return ""


def _detail(event: Mapping[str, Any]) -> str:
    return f" ({shown(str(event['detail']))})" if event.get("detail") else ""
