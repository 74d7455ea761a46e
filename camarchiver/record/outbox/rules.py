"""Pure rules: which clips leave the outbox, and when that is announced; which files leave the spool.

Any of them may be the only copy of what it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from camarchiver.domain.clip import Clip, Disposal, Fingerprint, Tree
from camarchiver.domain.clocks import has_age, is_doubtful, latest_time
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, RemoveCopy, RemoveLeftover, Salvage
from camarchiver.domain.untrusted import AwareDatetime, Count, Nanoseconds, check_time
from camarchiver.policy import leftover_rules
from camarchiver.policy.archive_rules import keep
from camarchiver.policy.leftover_rules import Leftover, LeftoverKind

NOTICE = timedelta(days=1)
"""How long before its removal a clip must be announced."""

CLOCK_WAS_SET = datetime(2020, 1, 1, tzinfo=UTC)
"""An earlier time comes from a machine without a battery-backed clock that no time server has set yet."""


class OutboxLimits(Struct, frozen=True):
    """What the owner keeps of each camera in the outbox; without limits, everything."""

    keep: timedelta | None = None
    max_storage: int | None = None
    """Bytes of one camera's clips and pictures."""

    def __bool__(self) -> bool:
        return self.keep is not None or self.max_storage is not None


class OutboxClip(Struct, frozen=True):
    """A clip in the outbox."""

    clip: Clip
    size: int
    """Bytes, including its pictures."""
    transferred: bool
    """Whether the transfer confirmed that exactly this file arrived."""


class SpoolFile(Struct, frozen=True):
    """A file of a recorder in the spool."""

    spool: Path
    camera: str
    name: str
    fingerprint: Fingerprint
    outbox: Path
    """The camera's folder in the outbox."""
    start: datetime | None
    """Aware; None if the name holds no time."""
    in_use: bool
    """Whether its recorder runs."""
    is_empty: bool
    """Whether no frame of it is whole."""
    problem: str
    """Why it can't be read; empty if it can."""

    @property
    def relative(self) -> str:
        """The path below the spool."""
        return f"{self.camera}/{self.name}"


class Notice(Struct, frozen=True):
    """An announcement: this file will be removed."""

    size: Count
    mtime_ns: Nanoseconds
    at: AwareDatetime
    """When it was announced."""
    reason: Reason

    def __post_init__(self) -> None:
        check_time(self.at)

    def is_about(self, clip: Clip) -> bool:
        """Whether the notice is about exactly this file."""
        return (self.size, self.mtime_ns) == clip.fingerprint.identity


class Expiry(Struct, frozen=True):
    """What happens to one camera's clips."""

    steps: tuple[RemoveCopy | Keep, ...]
    """One for each clip, in the order of removal."""
    notices: Mapping[str, Notice]
    """By relative path: all valid notices, including earlier ones that still apply."""
    fresh: tuple[str, ...]
    """Relative paths of the new notices."""


def announced(
    waiting: Iterable[OutboxClip],
    limits: OutboxLimits,
    notices: Mapping[str, Notice],
    holds: Sequence[Hold],
    now: datetime,
) -> Expiry:
    """Announce what exceeds the limits within a day; remove what exceeds them and was announced a day ago."""
    order = in_order(waiting)
    if now < CLOCK_WAS_SET:
        return Expiry(tuple(keep(each.clip, Reason.CLOCK_DOUBTFUL) for each in order), notices, ())
    due = _due(order, limits, holds, now)
    soon = due | _due(order, limits, holds, now + NOTICE, coming=_of_the_last_day(order, now))
    steps: list[RemoveCopy | Keep] = []
    current: dict[str, Notice] = {}
    fresh = []
    for each in order:
        clip = each.clip
        reason = due.get(clip.relative) or soon.get(clip.relative)
        if reason is None:
            steps.append(keep(clip, protection(each, holds, now) or Reason.IN_POLICY))
            continue
        notice = notices.get(clip.relative)
        if notice is None or not notice.is_about(clip) or notice.at > now:
            notice = Notice(clip.fingerprint.size, clip.fingerprint.mtime_ns, now, reason)
            fresh.append(clip.relative)
        current[clip.relative] = notice
        if clip.relative in due and now - notice.at >= NOTICE:
            steps.append(discard(clip, reason))
        else:
            steps.append(keep(clip, Reason.ANNOUNCED, reason))
    return Expiry(tuple(steps), current, tuple(fresh))


def at_once(
    waiting: Iterable[OutboxClip], limits: OutboxLimits, holds: Sequence[Hold], now: datetime
) -> tuple[RemoveCopy | Keep, ...]:
    """What exceeds the limits now, for an owner who agrees to the plan; the plan is the announcement."""
    order = in_order(waiting)
    due = _due(order, limits, holds, now) if now >= CLOCK_WAS_SET else {}
    return tuple(
        discard(each.clip, due[each.clip.relative])
        if each.clip.relative in due
        else keep(each.clip, protection(each, holds, now) or Reason.IN_POLICY)
        for each in order
    )


def make_room(
    waiting: Iterable[OutboxClip], needed: int, holds: Sequence[Hold], now: datetime
) -> tuple[RemoveCopy, ...]:
    """The first clips that together free the needed bytes; fewer if holds protect the rest."""
    steps: list[RemoveCopy] = []
    for each in in_order(waiting):
        if needed <= 0:
            break
        # deleting a file with a second hard link frees nothing
        if each.clip.links == 1 and not protection(each, holds, now):
            steps.append(discard(each.clip, Reason.MIN_FREE))
            needed -= each.size
    return tuple(steps)


def in_spool(file: SpoolFile, now: datetime) -> Salvage | RemoveLeftover | Keep:
    """What happens to a file in the spool: its whole frames are published; one without any goes in time."""
    if file.in_use:
        return _kept(file, Reason.BUSY, "its recorder runs")
    if file.problem:
        return _kept(file, Reason.UNREADABLE, file.problem)
    if not file.is_empty:
        return Salvage(file.spool, file.camera, file.name, file.fingerprint, file.outbox, start=file.start)
    mtime = file.fingerprint.mtime_ns / 1e9
    empty = Leftover(file.spool, file.relative, Tree.SPOOL, LeftoverKind.SPOOLED, mtime, file.fingerprint)
    return leftover_rules.decide(empty, now) or _kept(file, Reason.TOO_RECENT, "it is empty")


def _kept(file: SpoolFile, reason: Reason, detail: str) -> Keep:
    return Keep(file.spool, file.relative, reason, file.fingerprint.size, file.camera, detail=detail)


def in_order(waiting: Iterable[OutboxClip]) -> list[OutboxClip]:
    """Sort clips with confirmed transfers first, then the oldest first."""
    return sorted(waiting, key=lambda each: (not each.transferred, each.clip.start, each.clip.relative))


def protection(each: OutboxClip, holds: Sequence[Hold], now: datetime) -> Reason | None:
    """Why no rule may remove a clip; None if a rule may."""
    clip = each.clip
    if held_by(clip, holds, now):
        return Reason.HELD
    doubtful = latest_time(clip) < CLOCK_WAS_SET or is_doubtful(clip, now)
    return Reason.CLOCK_DOUBTFUL if doubtful and not each.transferred else None


def discard(clip: Clip, reason: Reason) -> RemoveCopy:
    """The step that removes a clip from the outbox."""
    identity = clip.fingerprint.identity
    return RemoveCopy(clip, Tree.OUTBOX, Disposal.DELETE, reason, clip.relative, identity)


def _due(
    order: Sequence[OutboxClip],
    limits: OutboxLimits,
    holds: Sequence[Hold],
    now: datetime,
    *,
    coming: int = 0,
) -> dict[str, Reason]:
    """What exceeds the limits at a moment, if `coming` bytes are added until then."""
    found: dict[str, Reason] = {}
    removable = [each for each in order if not protection(each, holds, now)]
    for each in removable:
        if limits.keep is not None and has_age(each.clip, limits.keep, now):
            found[each.clip.relative] = Reason.KEEP_DAYS
    if limits.max_storage is None:
        return found
    total = coming + sum(each.size for each in order if each.clip.relative not in found)
    for each in removable:
        if total <= limits.max_storage:
            break
        if each.clip.relative not in found:
            found[each.clip.relative] = Reason.MAX_STORAGE
            total -= each.size
    return found


def _of_the_last_day(order: Iterable[OutboxClip], now: datetime) -> int:
    return sum(each.size for each in order if not has_age(each.clip, NOTICE, now))
