"""The history of a clip in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import RemoteCopy, Tree, remote_path
from camarchiver.domain.clocks import DOUBTFUL
from camarchiver.domain.damage import Damage
from camarchiver.domain.plan import action_of
from camarchiver.domain.reason import BY_ARCHIVE, REASONS, Reason
from camarchiver.domain.steps import Keep, Step
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import REPLACED
from camarchiver.journal.replay import fold
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.queries.history import ClipRecord
from camarchiver.runtime.formatting import shown, size

_COPIES = {Tree.SOURCE: "the source", Tree.ARCHIVE: "the archive", Tree.TRASH: "the copy in the trash"}

_RULES = REASONS - BY_ARCHIVE
"""The reasons that name a rule."""


class CleanupPreview(Struct, frozen=True):
    """What the next cleanup would do with the copies of clips, if that is known."""

    steps: Mapping[Path, Step]
    """By the path of the copy."""
    stopped: str = ""
    """Why that cleanup would do nothing at all."""


def story_lines(story: ClipRecord, preview: CleanupPreview, zone: tzinfo) -> Iterator[str]:
    """What was done to the clip and when, and what the next runs would do."""
    yield f"{shown(story.source)}:"
    for when, words in event_lines(story.events, story.damaged, zone):
        yield f"  {when}  {words}"
    if not story.events:
        yield "  the journal says nothing of it"
    for archive, damage in story.damaged.items():
        yield (
            f"  its archive {shown(archive)} does not count until it is found sound or repaired:"
            f" {damage.flaw} ({shown(damage.detail)}), found on {_time(damage.at, zone)}"
            f" by run {shown(damage.run)}; camarchiver verify --known --repair"
        )
    yield from (_offsite_line(copy, zone) for copy in story.only_offsite)
    if (step := story.next_step) is not None:
        yield f"  the next archive run would {_planned_action(step, 'it')}: {_why(step)}"
    elif Tree.SOURCE not in story.places.values():
        yield "  it is not in the source tree now"
    for path, tree in story.places.items():
        if (step := preview.steps.get(path)) is not None:
            action = _planned_action(step, _COPIES[tree])
            yield f"  the next cleanup would {action}, {shown(path)}: {_why(step)}"
    if story.places and preview.stopped:
        yield f"  the next cleanup would change nothing: {preview.stopped}"


def _offsite_line(copy: RemoteCopy, zone: tzinfo) -> str:
    """That an archive is gone, and how it comes back."""
    archive = shown(copy.archive)
    proof = f"verified on {_time(copy.verified, zone)}" if copy.verified else "not verified yet"
    return (
        f"  its archive {archive} is not here; its off-site copy {shown(copy.path)} ({proof}) brings it back:"
        f" camarchiver restore --from-offsite {shlex.quote(archive)}"
    )


def event_lines(
    events: Sequence[JournalEvent], damaged: Mapping[str, Damage], zone: tzinfo
) -> Iterator[tuple[str, str]]:
    """What each of a clip's events says, and when it happened; the recording comes first."""
    last = None
    for event in _without_settled_intents(events):
        if event.identity != last:
            yield _time(event.start, zone), _recorded(event, zone, again=last is not None)
            last = event.identity
        words = _removal_words(event) or _event_words(event, damaged, zone)
        yield _time(event.at, zone), f"{words}, by run {shown(event.run)} on {shown(event.host)}"


def _recorded(event: JournalEvent, zone: tzinfo, *, again: bool) -> str:
    of = f" by camera {shown(event.camera)}" if event.camera else ""
    bytes_of = f", {_size(event.source_size)}"
    other = ", another clip of the same name" if again else ""
    return f"recorded{of}{bytes_of}{other}{_other_times(event, zone)}"


def _other_times(event: JournalEvent, zone: tzinfo) -> str:
    """The times that differ from the one in the name: as the owner corrected it, otherwise by the file."""
    if event.recorded is not None:
        return f", actually recorded {_time(event.recorded, zone)}, as configured for this camera's clock"
    written_ns = event.source_mtime_ns
    if written_ns is None or abs(event.start.timestamp() - written_ns / 1e9) <= DOUBTFUL.total_seconds():
        return ""
    written = datetime.fromtimestamp(written_ns / 1e9, zone)
    return f" by its name, but its file was written on {_time(written, zone)}: the clock is doubtful"


def _time(moment: datetime, zone: tzinfo) -> str:
    try:
        return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return "at an unknown time"


def _size(count: int | None) -> str:
    return size(count) if count is not None else "of unknown size"


def _planned_action(step: Step, what: str) -> str:
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


_ANNOUNCED = (EventKind.INTENDED, EventKind.COPYING)
"""The events that say what is about to happen."""


def _without_settled_intents(events: Sequence[JournalEvent]) -> Iterator[JournalEvent]:
    """The events without intents whose outcome follows."""
    if not any(event.event in _ANNOUNCED for event in events):
        yield from events
        return
    ledger = fold(events, {})
    is_open = {id(event) for event in (*ledger.intended.values(), *ledger.copying.values())}
    for event in events:
        if event.event not in _ANNOUNCED or id(event) in is_open:
            yield event


def _event_words(event: JournalEvent, damaged: Mapping[str, Damage], zone: tzinfo) -> str:
    detail, where = _detail(event), shown(event.archive or "")
    match event.event:
        case EventKind.ARCHIVED:
            how = f"archived as {where}"
            if event.unencoded in REASONS:
                how += f", not encoded: {REASON_WORDS[Reason(event.unencoded)]} ({event.unencoded})"
            if event.encoder:
                sizes = f"{_size(event.source_size)} -> {_size(event.archive_size)}"
                encoder, verified = shown(event.encoder), shown(event.verified or "?")
                again = f", generation {event.generation}" if event.generation else ""
                how += f" with {encoder}, {sizes}{again}; "
                found = damaged.get(event.archive or "")
                how += (
                    f"since found {found.flaw}, verified then: {verified}"
                    if found
                    else f"verified: {verified}"
                )
            return how + _motion_words(event) + detail
        case EventKind.CLOCK_CORRECTED:
            recorded = _time(event.recorded or event.start, zone)
            return f"its camera's clock was corrected: recorded {recorded}{detail}"
        case EventKind.CLOCK_UNCORRECTED:
            return f"the correction of its camera's clock was taken back{detail}"
        case EventKind.FOUND_DAMAGED:
            return f"its archive {where} was found {shown(event.reason or 'damaged')}{detail}"
        case EventKind.FOUND_SOUND:
            return f"its archive {where}, found damaged before, was found sound{detail}"
        case EventKind.ADOPTED:
            return f"the existing archive {where} was adopted; {shown(event.verified or '')}{detail}"
        case EventKind.COPYING:
            return "a byte-for-byte copy of it about to be published as its archive"
        case EventKind.RESTORED:
            what = f"its archive {where} " if event.tree == "archive" else ""
            if event.remote is not None:
                return f"{what}restored from its off-site copy at {shown(event.remote)}"
            return f"{what}restored from the trash, {shown(event.trash or '?')}"
        case EventKind.KEPT if event.reason in REASONS:
            return f"source kept: {REASON_WORDS[Reason(event.reason)]} ({event.reason})"
        case EventKind.KEPT:
            return "source kept, as asked"
        case EventKind.SCORED:
            return f"looked for motion{_motion_words(event)}{detail}"
        case EventKind.COPIED:
            return f"its archive {where} copied off-site, to {_object(event)}"
        case EventKind.COPY_VERIFIED:
            return f"its off-site copy {_object(event)} verified: {shown(event.verified or '?')}"
        case EventKind.COPY_LOST:
            return f"its off-site copy {_object(event)} counts no more: {shown(event.reason or '?')}{detail}"
        case EventKind.FAILED:
            return f"could not be archived: {shown(event.reason or '?')}{detail}"
        case other:
            return f"{shown(other)}{detail}"


def _object(event: JournalEvent) -> str:
    return shown(remote_path(event.remote or "?", event.object or "?"))


def _motion_words(event: JournalEvent) -> str:
    if event.motion is None:
        return ""
    seconds = event.motion.seconds()
    doubt = ", perhaps more" if event.motion.unsure and seconds else ""
    if seconds:
        return f"; motion for {seconds:.0f} s{doubt}"
    return "; it is not certain whether anything moves" if event.motion.unsure else "; nothing moves"


def _removal_words(event: JournalEvent) -> str:
    """The text of a removal's line, with its rule; empty for other lines."""
    tree, reason = Tree(event.tree or Tree.SOURCE), event.reason or ""
    where, place = shown(event.archive or ""), shown(event.trash or "?")
    copy = {Tree.ARCHIVE: f"its archive {where}", Tree.TRASH: f"the copy in the trash, {place},"}.get(
        tree, "source"
    )
    is_rule = reason in _RULES
    rule = f", by the rule {reason} ({REASON_WORDS[Reason(reason)]})" if is_rule else ""
    match event.event:
        case EventKind.TRASHED if reason == REPLACED:
            return f"its former archive {where} moved to the trash, {place}"
        case EventKind.TRASHED:
            return f"{copy} moved to the trash, {place}{rule}{_detail(event)}"
        case EventKind.DELETED:
            archive_note = ", its archive existed" if copy == "source" and event.archive else ""
            return f"{copy} deleted{archive_note}{rule}{_detail(event)}"
        case EventKind.PURGED:
            return f"{copy} removed for good{rule}{_detail(event)}"
        case EventKind.INTENDED:
            return f"{copy} about to be removed{rule}"
        case EventKind.LEFT:
            return f"{copy} left alone after all: {shown(reason)}{_detail(event)}"
        case _:
            return ""


def _detail(event: JournalEvent) -> str:
    return f" ({shown(event.detail)})" if event.detail else ""
