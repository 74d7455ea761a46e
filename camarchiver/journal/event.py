"""One line of the journal: its fields, its encoding, and which lines are valid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.untrusted import (
    LARGEST,
    YEARS,
    AnyPath,
    AwareDatetime,
    Count,
    FileName,
    Nanoseconds,
    RelativePath,
    RemoteName,
    Seconds,
    TreeName,
    is_below,
    is_name,
    value_of,
)
from camarchiver.naming.folders import comparable

LATEST_NS = LARGEST
"""The last moment that a line can hold, of the year 2262, in nanoseconds since 1970."""


class EventKind(StrEnum):
    """The kinds of events."""

    ARCHIVED = "archived"
    COPYING = "copying"
    """A copy of the source's very bytes, which carries no tag, is about to be published."""
    ADOPTED = "adopted"
    KEPT = "kept"
    FAILED = "failed"
    TRASHED = "trashed"
    DELETED = "deleted"
    RESTORED = "restored"
    SWEPT = "swept"
    INTENDED = "intended"
    PURGED = "purged"
    LEFT = "left"
    FOUND_DAMAGED = "found-damaged"
    FOUND_SOUND = "found-sound"
    CLOCK_CORRECTED = "clock-corrected"
    """The owner said when the clip was recorded."""
    CLOCK_UNCORRECTED = "clock-uncorrected"
    """The owner took that back."""
    SCORED = "scored"
    """Something looked for motion in a clip after it was archived, or in one that is not."""
    COPIED = "copied"
    """An off-site copy of the archive was made; it counts for nothing before it is verified."""
    COPY_VERIFIED = "copy-verified"
    """The off-site copy was compared, whole, with the archive's BLAKE2b."""
    COPY_LOST = "copy-lost"
    """The off-site copy is missing, differs, or was removed; `reason` says which."""


class JournalEvent(Struct, frozen=True, gc=False):
    """One line of the journal; a field that doesn't apply is None and is left out of the line.

    It is a Struct because plans read a line or two for every clip of several years: decoding and checking
    take a seventh of the time that a dict and our own checks would take.
    """

    event: str
    """One of `EventKind`; a later version may write others."""
    at: AwareDatetime
    run: str
    host: str
    source: RelativePath
    """The clip's path below the source root."""
    start: AwareDatetime
    camera: str = ""
    duration: Seconds | None = None
    recorded: AwareDatetime | None = None
    """When the clip was recorded, if the owner corrected its camera's clock; `start` is by its name."""
    source_size: Count | None = None
    source_mtime_ns: Nanoseconds | None = None
    source_blake2b: str | None = None
    archive: RelativePath | None = None
    """Below the archive root."""
    archive_size: Count | None = None
    archive_mtime_ns: Nanoseconds | None = None
    archive_blake2b: str | None = None
    encoder: str | None = None
    settings: dict[str, Any] | None = None
    remuxed: bool | None = None
    unencoded: str | None = None
    """Why the archive is a lossless copy: one of `Reason`."""
    generation: Count | None = None
    """How often the footage was encoded, if more than once: the archive was made from another archive."""
    verified: str | None = None
    seconds: Seconds | None = None
    tree: TreeName | None = None
    """Which tree the file left or is to leave; None stands for the source."""
    trash: RelativePath | None = None
    """Below the trash root."""
    sidecars: dict[FileName, AnyPath] | None = None
    """Each sidecar's name, and its path now."""
    reason: str | None = None
    detail: str | None = None
    motion: ClipMotion | None = None
    """None if nothing looked for motion."""
    remote: RemoteName | None = None
    """Where an off-site copy is, as the config names it."""
    object: RelativePath | None = None
    """The name of an off-site copy below its remote."""

    @property
    def identity(self) -> tuple[int | None, int | None]:
        """Bytes and mtime_ns of the source: a name may be used again by another clip."""
        return self.source_size, self.source_mtime_ns

    def fields(self) -> dict[str, Any]:
        """The fields of the line, as JSON values."""
        fields = {key: value for key, value in msgspec.structs.asdict(self).items() if value is not None}
        times = {"at": self.at.isoformat(timespec="milliseconds"), "start": self.start.isoformat()}
        if self.recorded is not None:
            # In UTC, because a historical zone may differ from it by seconds, which no decoder accepts.
            times["recorded"] = self.recorded.astimezone(UTC).isoformat()
        motion = {} if self.motion is None else {"motion": msgspec.to_builtins(self.motion)}
        return fields | times | motion

    def line(self) -> str:
        """The event as a line of the journal, without the line end."""
        return json.dumps(self.fields())


_DECODER = msgspec.json.Decoder(JournalEvent)


def read(text: bytes) -> tuple[list[JournalEvent], int]:
    """The events of one file's text, in their order, and the number of invalid lines."""
    try:
        events = _DECODER.decode_lines(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _read_each(text)
    # Escapes are rare. Without them a quick check of each path shows that it stays below its root.
    if b"\\" in text or not text.isascii() or _has_odd(events):
        sound = [_with_comparable_camera(event) for event in events if is_sound(event)]
        return sound, len(events) - len(sound)
    return events, 0


def is_sound(event: JournalEvent) -> bool:
    """Whether every path of an event stays below its root, and its times allow arithmetic."""
    return (
        event.start.year in YEARS
        and event.at.year in YEARS
        and is_below(event.source)
        and (event.archive is None or is_below(event.archive))
        and (event.trash is None or is_below(event.trash))
        and (event.object is None or is_below(event.object))
        and (event.sidecars is None or _are_sidecars(event.sidecars))
    )


def _read_each(text: bytes) -> tuple[list[JournalEvent], int]:
    events, torn = list[JournalEvent](), 0
    for line in text.splitlines():
        if not line.strip():
            continue
        event = _read(line)
        if event is not None and is_sound(event):
            events.append(_with_comparable_camera(event))
        else:
            torn += 1
    return events, torn


def _read(line: bytes) -> JournalEvent | None:
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # A path that is not UTF-8 is written with lone surrogates, which only `json` accepts; and a
        # historical time zone may differ from UTC by seconds.
        pass
    try:
        fields = value_of(line)
        times = {key: datetime.fromisoformat(fields[key]) for key in ("at", "start")}
        return msgspec.convert({**fields, **times}, JournalEvent)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _has_odd(events: Sequence[JournalEvent]) -> bool:
    """Whether an event may not be sound, in a text without escapes."""
    years = {event.start.year for event in events} | {event.at.year for event in events}
    if not all(year in YEARS for year in years):
        return True
    # A clip has several lines, and most of its paths are in each of them.
    paths = {event.source for event in events}
    paths |= {archive for event in events if (archive := event.archive) is not None}
    paths |= {trash for event in events if (trash := event.trash) is not None}
    paths |= {copy for event in events if (copy := event.object) is not None}
    if any(".." in path or path[0] in "/." for path in paths):
        return True
    sidecars = {name for event in events if (names := event.sidecars) is not None for name in names}
    return any("/" in name or name in {".", ".."} for name in sidecars)


def _with_comparable_camera(event: JournalEvent) -> JournalEvent:
    """The event; only in a text with escapes may its camera have another form."""
    camera = comparable(event.camera)
    return event if camera == event.camera else replace(event, camera=camera)


def _are_sidecars(sidecars: Mapping[str, str]) -> bool:
    return all(is_name(name) and "\0" not in place for name, place in sidecars.items())
