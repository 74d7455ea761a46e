"""Folds the journal of one day into what it says is archived, trashed, removed, intended and expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from camarchiver.domain.clip import Archived, beside
from camarchiver.domain.reason import MAY_REMOVE_LAST_COPY, Reason
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.ledger import (
    MADE,
    REPLACED,
    SCORED,
    CopyKey,
    Entries,
    FileKey,
    Ledger,
    OffsiteCopy,
    clip_of,
    left_archive,
)


def fold(events: Sequence[JournalEvent], archived: Mapping[str, Entries]) -> Ledger:
    """The state that a day's events lead to; an unknown line has no effect.

    A line without the clip's size and mtime moves no file. It can announce and end a removal.
    """
    ledger = Ledger(events, archived)
    for event in events:
        is_complete = event.source_size is not None and event.source_mtime_ns is not None
        effect = (_EFFECTS if is_complete else _EFFECTS_ON_INTENTS).get(event.event)
        if effect is not None:
            effect(ledger, event)
    return ledger


def entries_of(events: Iterable[JournalEvent]) -> dict[str, Entries]:
    """The archives that a day's events say were made, by the source's path, oldest first."""
    found: dict[str, Entries] = {}
    for event in events:
        if event.event in MADE and (entry := _entry(event)) is not None:
            source = entry.source
            found[source] = (*found[source], entry) if source in found else (entry,)
        elif event.event == SCORED and event.source in found:
            found[event.source] = tuple(_scored(entry, event) for entry in found[event.source])
    return found


def _scored(entry: Archived, event: JournalEvent) -> Archived:
    """The entry with the motion that was found later, if the line is about its clip."""
    is_same = (entry.size, entry.mtime_ns) == event.identity
    return replace(entry, motion=event.motion) if is_same and event.motion is not None else entry


def file_of(event: JournalEvent) -> FileKey:
    """The file that an announced removal, or its outcome, is about."""
    tree = "archive" if left_archive(event) else event.tree or "source"
    return tree, {"archive": event.archive, "trash": event.trash}.get(tree) or event.source


def _entry(event: JournalEvent) -> Archived | None:
    """The archive of a line; None if the line lacks a field that proves it."""
    size, mtime_ns, digest = event.source_size, event.source_mtime_ns, event.source_blake2b
    archive, archive_size = event.archive, event.archive_size
    if size is None or mtime_ns is None or digest is None or archive is None or archive_size is None:
        return None
    return Archived(
        event.source,
        size,
        mtime_ns,
        digest,
        archive,
        archive_size,
        bool(event.remuxed),
        event.duration,
        event.unencoded or "",
        event.motion,
    )


def _archived(ledger: Ledger, event: JournalEvent) -> None:
    if ledger.copying or ledger.outdated:
        _settle(ledger, event)
    _is_there(ledger, event)


def _settle(ledger: Ledger, event: JournalEvent) -> None:
    """A clip has a new archive: an announced copy has its outcome, and former archives need not exist."""
    ledger.copying.pop((event.source, event.source_blake2b), None)
    for archive in ledger.outdated.pop(clip_of(event), ()):
        ledger.replaced.pop(archive, None)
        ledger.superseded.add(archive)


def _is_there(ledger: Ledger, event: JournalEvent) -> None:
    for entry in reversed(ledger.archived.get(event.source, ())):
        if entry.archive == event.archive:
            before = ledger.archives.get(entry.archive)
            if before is not None and before[0].source != event.source:
                ledger.sharers.setdefault(entry.archive, {before[0].source: before[0]})[event.source] = event
            # A copy of the same bytes may have lost its time: the archive stays that of the first clip.
            if before is None or event.reason != Reason.SAME_CONTENT:
                ledger.archives[entry.archive] = (event, entry)
            ledger.only_offsite.pop(entry.archive, None)
            ledger.given_up.discard(entry.archive)
            ledger.superseded.discard(entry.archive)
            return


def _left(ledger: Ledger, event: JournalEvent) -> None:
    """A source or an archive was trashed or deleted."""
    if ledger.intended:
        _ended(ledger, event)
    if event.archive is not None and left_archive(event):
        _archive_left(ledger, event, event.archive)
    if event.trash is not None:
        ledger.trashed[event.trash] = event
    for name in event.sidecars or ():
        ledger.sidecars[beside(event.source, name)] = event


def _archive_left(ledger: Ledger, event: JournalEvent, archive: str) -> None:
    known = ledger.archives.pop(archive, None)
    ledger.sharers.pop(archive, None)
    if known is not None and event.reason == Reason.ARCHIVE_AGE_OFFSITE:
        ledger.only_offsite[archive] = known
    if event.reason in MAY_REMOVE_LAST_COPY:
        ledger.given_up.add(archive)
    if event.reason == REPLACED:
        _outdate(ledger, event)
        # An archive that was encoded from this one is journalled before this one leaves.
        if known is not None and not _has_archive(ledger, known[1]):
            ledger.replaced[archive] = known
    else:
        ledger.replaced.pop(archive, None)


def _has_archive(ledger: Ledger, former: Archived) -> bool:
    """Whether the clip of an archive that left has another one."""
    return any(
        entry.archive in ledger.archives
        for entry in ledger.archived.get(former.source, ())
        if (entry.size, entry.mtime_ns) == (former.size, former.mtime_ns)
    )


def _restored(ledger: Ledger, event: JournalEvent) -> None:
    if event.trash is not None and (trashed := ledger.trashed.pop(event.trash, None)) is not None:
        ledger.restored[event.trash] = trashed
    if left_archive(event):
        _is_there(ledger, _described(ledger, event))


def _described(ledger: Ledger, event: JournalEvent) -> JournalEvent:
    """The line with what the one says of the archive that was written when it was made."""
    lines = reversed(ledger.made.get(event.archive or "", ()))
    made = next((line for line in lines if clip_of(line) == clip_of(event)), None)
    if made is None:
        return event
    return replace(
        event,
        duration=made.duration,
        recorded=made.recorded,
        archive_size=made.archive_size,
        archive_mtime_ns=made.archive_mtime_ns,
        archive_blake2b=made.archive_blake2b,
    )


def _purged(ledger: Ledger, event: JournalEvent) -> None:
    _ended(ledger, event)
    if event.trash is not None:
        ledger.trashed.pop(event.trash, None)


def _intended(ledger: Ledger, event: JournalEvent) -> None:
    ledger.intended[file_of(event)] = event


def _ended(ledger: Ledger, event: JournalEvent) -> None:
    ledger.intended.pop(file_of(event), None)


def _copying(ledger: Ledger, event: JournalEvent) -> None:
    ledger.copying[event.source, event.source_blake2b] = event


def _outdate(ledger: Ledger, event: JournalEvent) -> None:
    if event.archive is not None:
        ledger.outdated.setdefault(clip_of(event), set()).add(event.archive)


def _found_sound(ledger: Ledger, event: JournalEvent) -> None:
    if event.archive is not None:
        ledger.outdated.get(clip_of(event), set()).discard(event.archive)


def _copied(ledger: Ledger, event: JournalEvent) -> None:
    if key := _copy_key(event):
        ledger.copies[key] = OffsiteCopy(event)


def _copy_verified(ledger: Ledger, event: JournalEvent) -> None:
    if key := _copy_key(event):
        ledger.copies[key] = OffsiteCopy(event, verified=event.at)


def _copy_lost(ledger: Ledger, event: JournalEvent) -> None:
    if (key := _copy_key(event)) and (known := ledger.copies.get(key)) is not None:
        ledger.copies[key] = replace(known, lost=event)


def _copy_key(event: JournalEvent) -> CopyKey | None:
    """The off-site copy that a line is about; None if the line lacks a field that identifies it."""
    if not (event.remote and event.object and event.archive and event.archive_blake2b):
        return None
    return event.remote, event.archive, event.archive_blake2b


_Effect = Callable[[Ledger, JournalEvent], None]

_EFFECTS_ON_INTENTS: Mapping[str, _Effect] = {
    EventKind.INTENDED.value: _intended,
    EventKind.TRASHED.value: _ended,
    EventKind.DELETED.value: _ended,
    EventKind.PURGED.value: _ended,
    EventKind.LEFT.value: _ended,
    EventKind.COPYING.value: _copying,
}

_EFFECTS: Mapping[str, _Effect] = {
    **_EFFECTS_ON_INTENTS,
    EventKind.ARCHIVED.value: _archived,
    EventKind.ADOPTED.value: _archived,
    EventKind.TRASHED.value: _left,
    EventKind.DELETED.value: _left,
    EventKind.RESTORED.value: _restored,
    EventKind.PURGED.value: _purged,
    EventKind.FOUND_DAMAGED.value: _outdate,
    EventKind.FOUND_SOUND.value: _found_sound,
    EventKind.COPIED.value: _copied,
    EventKind.COPY_VERIFIED.value: _copy_verified,
    EventKind.COPY_LOST.value: _copy_lost,
}
