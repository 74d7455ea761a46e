"""Decides what one run will do to each clip, and why; pure, so that a dry run can't differ."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from camarchiver.alike import Alike, to_archive
from camarchiver.coverage import Hold, held_by
from camarchiver.damage import Damage
from camarchiver.lossless import KEEP_SIGNED, SignedRule, stays_unencoded
from camarchiver.model import Archived, Clip, Disposal, Reason, Trees
from camarchiver.steps import Archive, Discard, Keep, Problem, Remove, Restore, Salvage, Step, Tidy

DOUBTFUL = timedelta(days=1)
"""How far name and clock may lie apart before one of them must be wrong (design, section 7)."""

RETRY_AFTER = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""Waits after the first, second and third failure; after that only `--retry-failed`.

A removal goes on being tried after the last of them: permissions change, and a damaged clip doesn't.
"""


RESTORE_GRACE = timedelta(days=7)
"""How long a restored clip is neither archived nor removed."""


@dataclass(frozen=True, slots=True)
class ArchivePolicy:
    """What the owner asked `archive` to do."""

    age: timedelta
    disposal: Disposal = Disposal.TRASH
    repeat: bool = False
    retry_failed: bool = False
    cameras: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is too late."""
    min_size: int = 0
    limit: int | None = None
    signed: SignedRule = KEEP_SIGNED
    quiet: timedelta | None = None
    """How long a clip must have stood still; None for the rule of `settle`."""

    @property
    def settle(self) -> timedelta:
        """How long size and mtime must have stood still before a clip counts as finished."""
        if self.quiet is not None:
            return self.quiet
        return timedelta(seconds=60) if self.age >= timedelta(days=1) else timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is remembered of a clip that could not be archived, or not be removed once it was."""

    size: int
    mtime_ns: int
    count: int
    at: datetime
    reason: Reason
    detail: str

    @property
    def is_of_removal(self) -> bool:
        """Whether the clip is archived, and its source could not be removed."""
        return self.reason is Reason.KEPT_SOURCE

    @property
    def is_last_but_one(self) -> bool:
        """Whether the clip is tried by itself once more only."""
        return self.count == len(RETRY_AFTER)

    @property
    def next_try(self) -> datetime | None:
        """When the clip is tried again; None for never by itself."""
        if self.count > len(RETRY_AFTER) and not self.is_of_removal:
            return None
        return self.at + RETRY_AFTER[min(self.count, len(RETRY_AFTER)) - 1]


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What one folder of the source tree holds, and what is known of it."""

    root: Path
    folder: str
    clips: tuple[Clip, ...] = ()
    set_aside: tuple[Keep, ...] = ()
    """Names that discovery could not make a clip of: no time, no regular file, no right to read."""
    observed: Mapping[str, Keep] = field(default_factory=dict)
    """By relative path: clips that somebody writes or works on at this moment."""
    archived: Mapping[str, tuple[Archived, ...]] = field(default_factory=dict)
    """By relative path: what the journal knows, oldest entry first."""
    standing: frozenset[str] = frozenset()
    """Archives (relative to their root) that count: of the journalled size, and not found damaged."""
    same_file: frozenset[str] = frozenset()
    """Names whose inode an earlier name of this run shares."""
    removable: bool = True
    """False where the folder can't be written, so that no source can leave it."""
    pictures: tuple[str, ...] = ()
    """Names of pictures that belong to none of the clips."""
    passing: tuple[str, ...] = ()
    """Names of locks and unfinished files, whoever made them."""
    is_empty: bool = False
    """Whether nothing at all lies in it."""
    alike: tuple[Alike, ...] = ()
    """Clips that are not among `clips`, where they were asked for together."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A source that an operator brought back from the trash."""

    size: int
    mtime_ns: int
    at: datetime

    def is_recent(self, now: datetime) -> bool:
        """Whether its grace has not passed."""
        return now - self.at < RESTORE_GRACE


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlasts a run: failures and restored clips by relative path, holds, and damaged archives."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    holds: tuple[Hold, ...] = ()
    restored: Mapping[str, Restored] = field(default_factory=dict)
    damaged: Mapping[str, Damage] = field(default_factory=dict)
    """Archives that were found missing or damaged, by path below the archive root."""


class _Bounds(NamedTuple):
    """What a policy means at one moment; worked out once for a folder, not for every clip."""

    recent: datetime
    """Clips that start later are too recent."""
    future: datetime
    """Clips that start later are of a doubtful clock."""
    now: float
    """Seconds since the epoch."""
    settle: float
    """Seconds."""
    is_choosy: bool
    """Whether the policy leaves clips out that are old enough."""


def decide_archive(
    facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime
) -> Iterator[Archive | Remove | Keep]:
    """Exactly one step for every clip of a folder that was not asked for clips together."""
    yield from facts.set_aside
    bounds = _bounds(policy, now)
    for clip in facts.clips:
        yield _decide_clip(clip, facts, policy, memory, now, bounds)


def decide_together(
    facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime
) -> Iterator[Archive | Remove | Keep | Alike]:
    """As `decide_archive`, but clips that are alike and all to be archived are given as such."""
    yield from facts.set_aside
    bounds = _bounds(policy, now)
    single = list(facts.clips)
    for alike in facts.alike:
        if _is_archived_whole(alike, memory, bounds):
            yield alike
        else:
            single += alike.clips()
    single.sort(key=lambda clip: clip.name)
    for clip in single:
        yield _decide_clip(clip, facts, policy, memory, now, bounds)


def _is_archived_whole(alike: Alike, memory: Memory, bounds: _Bounds) -> bool:
    """Whether `_decide_clip` would archive each of these clips."""
    return (
        not (bounds.is_choosy or memory.holds)
        and alike.last_start <= bounds.recent
        and bounds.now - max(alike.mtimes) / 1e9 >= bounds.settle
        and not _remembers_any(memory, alike)
    )


def _remembers_any(memory: Memory, alike: Alike) -> bool:
    if not (memory.restored or memory.failures):
        return False
    return any(path in memory.restored or path in memory.failures for path in alike.relatives())


def _bounds(policy: ArchivePolicy, now: datetime) -> _Bounds:
    limits = policy.since, policy.until
    return _Bounds(
        now - policy.age,
        now + DOUBTFUL,
        now.timestamp(),
        policy.settle.total_seconds(),
        bool(policy.cameras or policy.exclude or policy.min_size or limits != (None, None)),
    )


def _decide_clip(
    clip: Clip, facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime, bounds: _Bounds
) -> Archive | Remove | Keep:
    if reason := _too_early_or_unwanted(clip, policy, bounds):
        return keep(clip, reason)
    if memory.holds and (hold := held_by(clip, memory.holds, now)):
        return keep(clip, Reason.HELD, hold.words)
    if memory.restored:
        print_of = clip.fingerprint.size, clip.fingerprint.mtime_ns
        if restored_lately(clip.relative, print_of, memory, now):
            return keep(clip, Reason.RESTORED, detail="kept for a week after it was restored")
    if facts.observed and (observed := facts.observed.get(clip.relative)):
        return observed
    archived = own_archive(clip, facts) if facts.archived else None
    if archived and not policy.repeat:
        return _dispose(clip, archived, facts, policy, memory, now)
    unencoded = archived.why_unencoded if archived else None
    if unencoded and stays_unencoded(unencoded, encode_signed=policy.signed.encodes(clip.camera)):
        return keep(clip, unencoded, detail="its archive is a lossless copy, and would be one again")
    if memory.failures and not policy.retry_failed and (wait := _archiving_wait(clip, memory, now)):
        return keep(clip, Reason.FAILED_BEFORE, detail=wait)
    reason = Reason.REPEAT_ASKED if archived else Reason.NOT_ARCHIVED
    if facts.same_file and clip.relative in facts.same_file:
        reason = Reason.SAME_FILE
    return to_archive(clip, reason, archived)


def keep(clip: Clip, reason: Reason, detail: str = "") -> Keep:
    """The step that leaves a clip alone."""
    return Keep(clip.root, clip.relative, reason, clip.fingerprint.size, clip.camera, clip.start, detail)


def _too_early_or_unwanted(clip: Clip, policy: ArchivePolicy, bounds: _Bounds) -> Reason | None:
    start = clip.start
    if bounds.is_choosy and (
        not is_selected(clip, policy.cameras, policy.exclude)
        or clip.fingerprint.size < policy.min_size
        or (policy.since is not None and start < policy.since)
        or (policy.until is not None and start >= policy.until)
    ):
        return Reason.FILTERED
    if start > bounds.recent:
        return Reason.CLOCK_DOUBTFUL if start > bounds.future else Reason.TOO_RECENT
    still = abs(bounds.now - clip.fingerprint.mtime_ns / 1e9)
    return Reason.NOT_SETTLED if still < bounds.settle else None


def is_selected(clip: Clip, cameras: Collection[str], exclude: Collection[str], *, also: str = "") -> bool:
    """Whether `--camera` and `--exclude` leave a clip in; `also` is another path that it goes by."""
    if cameras and clip.camera not in cameras:
        return False
    if not exclude:
        return True
    names = (clip.relative, clip.name, also) if also else (clip.relative, clip.name)
    return not any(fnmatchcase(name, pattern) for pattern in exclude for name in names)


def own_archive(clip: Clip, facts: FolderFacts) -> Archived | None:
    """The newest journalled archive of this very source that still stands."""
    for entry in reversed(facts.archived.get(clip.relative, ())):
        if entry.describes(clip) and entry.archive in facts.standing:
            return entry
    return None


def _dispose(
    clip: Clip, archived: Archived, facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime
) -> Archive | Remove | Keep:
    if policy.disposal is Disposal.KEEP:
        return keep(clip, Reason.KEPT_SOURCE, detail="archived; its source is kept as asked")
    if not facts.removable:
        return keep(clip, Reason.KEPT_SOURCE, detail="archived; its folder can't be written")
    if memory.failures and not policy.retry_failed and (wait := removal_wait(clip, memory, now)):
        return keep(clip, Reason.FAILED_BEFORE, detail=f"archived; {wait}")
    return Remove(clip, policy.disposal, Reason.ALREADY_ARCHIVED, archived)


def restored_lately(source: str, identity: tuple[int, int], memory: Memory, now: datetime) -> bool:
    """Whether an operator brought a copy of this clip back within the grace."""
    found = memory.restored.get(source)
    if found is None or not found.is_recent(now):
        return False
    return (found.size, found.mtime_ns) == identity


def removal_wait(clip: Clip, memory: Memory, now: datetime) -> str:
    """Why a source that could not be removed stays until its next try; empty if it is tried now."""
    failure = memory.failures.get(clip.relative)
    return _wait(failure, clip, now) if failure is not None and failure.is_of_removal else ""


def _archiving_wait(clip: Clip, memory: Memory, now: datetime) -> str:
    failure = memory.failures.get(clip.relative)
    return _wait(failure, clip, now) if failure is not None and not failure.is_of_removal else ""


def _wait(failure: Failure, clip: Clip, now: datetime) -> str:
    if (failure.size, failure.mtime_ns) != (clip.fingerprint.size, clip.fingerprint.mtime_ns):
        return ""
    if failure.next_try is None:
        return f"{failure.detail}; tried again only with --retry-failed"
    if failure.next_try <= now:
        return ""
    return f"{failure.detail}; next try {failure.next_try.astimezone(clip.start.tzinfo):%Y-%m-%d %H:%M}"


class Group(NamedTuple):
    """What a plan's totals are counted by."""

    action: str
    reason: Reason
    camera: str = ""
    day: date | None = None
    tree: str = ""
    """Where the plan changes more than one tree."""


@dataclass(frozen=True, slots=True)
class Total:
    """Clips and bytes of one group."""

    group: Group
    clips: int
    size: int
    seconds: float
    """Footage, as far as the names tell it."""


@dataclass(slots=True)
class _Count:
    """What was counted of one group."""

    group: Group
    clips: int = 0
    size: int = 0
    seconds: float = 0.0


class Tally:
    """Counts steps by action, reason, camera and day; grows with the groups, not with the clips."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, _Count] = {}

    def add(self, step: Step | Alike) -> None:
        """Count a step, or the steps that archive clips which are alike."""
        if isinstance(step, Alike):
            self._add_alike(step)
            return
        key: Hashable
        seconds = 0.0
        if isinstance(step, Keep):
            self.add_kept(step.reason, step.camera, step.size)
            return
        if isinstance(step, Archive):
            clip = step.clip
            key = step.reason, clip.camera, clip.start.date()
            size, seconds = clip.fingerprint.size, clip.duration or 0.0
        else:
            key, size = _group_of(step), step.size
            seconds = 0.0 if isinstance(step, Tidy | Salvage) else step.clip.duration or 0.0
        if (count := self._counts.get(key)) is None:
            count = self._counts[key] = _Count(_group_of(step))
        count.clips += 1
        count.size += size
        count.seconds += seconds

    def add_kept(self, reason: Reason, camera: str, size: int, *, files: int = 1) -> None:
        """Count files that are left alone, of so many bytes in all."""
        if (count := self._counts.get((reason, camera))) is None:
            count = self._counts[reason, camera] = _Count(Group("keep", reason, camera))
        count.clips += files
        count.size += size

    def _add_alike(self, alike: Alike) -> None:
        reason = Reason.NOT_ARCHIVED
        key = reason, alike.camera, alike.day
        if (count := self._counts.get(key)) is None:
            count = self._counts[key] = _Count(Group("archive", *key))
        count.clips += len(alike.names)
        count.size += sum(alike.sizes)

    def add_like(self, step: Discard, size: int, seconds: Sequence[float]) -> None:
        """Count clips of the group of a step, of so many bytes in all and so much footage each."""
        group = _group_of(step)
        if (count := self._counts.get(group)) is None:
            count = self._counts[group] = _Count(group)
        count.clips += len(seconds)
        count.size += size
        count.seconds += sum(seconds)

    def totals(self) -> tuple[Total, ...]:
        """One for each group, in a fixed order."""
        return tuple(
            Total(each.group, each.clips, each.size, each.seconds)
            for each in sorted(self._counts.values(), key=lambda count: _group_key(count.group))
        )


def _group_of(step: Archive | Remove | Restore | Discard | Tidy | Salvage) -> Group:
    """Changes are counted by camera and day."""
    tree = str(step.tree) if isinstance(step, Discard | Tidy | Salvage) else ""
    return Group(action_of(step), step.reason, step.camera, step.start.date() if step.start else None, tree)


def action_of(step: Step) -> str:
    """The word of the JSON format for what a step does."""
    match step:
        case Archive():
            return "archive"
        case Remove() | Discard():
            return str(step.disposal)
        case Tidy():
            return "delete"
        case Restore():
            return "restore"
        case Salvage():
            return "salvage"
        case Keep():
            return "keep"


def _group_key(group: Group) -> tuple[str, date, str, str, str]:
    return group.action, group.day or date.min, group.camera, group.reason, group.tree


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan will give back to one filesystem."""

    path: Path
    free: int
    """Bytes free now."""
    freed: int
    """Bytes that come free: a move into a trash on the same filesystem frees none."""


ChangeT = TypeVar("ChangeT", bound=Archive | Remove | Restore | Discard | Tidy | Salvage)
PolicyT = TypeVar("PolicyT")


@dataclass(frozen=True, slots=True)
class Plan(Generic[ChangeT, PolicyT]):
    """The only thing that execution accepts; its steps can be walked again and again."""

    command: str
    trees: Trees
    now: datetime
    policy: PolicyT
    """What the owner asked for."""
    totals: tuple[Total, ...]
    steps: Collection[ChangeT]
    left: Collection[Keep]
    """Every file left alone where it was asked for, else empty: `totals` counts them in any case."""
    unread_folders: int = 0
    """Date folders too recent to be read."""
    notes: tuple[str, ...] = ()
    """What the owner must know before consenting: encoder and why, marks that will be set."""
    forecast: tuple[Forecast, ...] = ()
    """One for each filesystem that files leave."""
    problems: tuple[Problem, ...] = ()
    """What the policy asks for and this plan can't do."""
    refused: int = 0
    """The exit code of the brake that forbids carrying this plan out; 0 for none."""

    @property
    def found_unreadable(self) -> int:
        """Files and folders that could not be looked at."""
        return sum(total.clips for total in self.totals if total.group.reason is Reason.UNREADABLE)


ArchivePlan = Plan[Archive | Remove, ArchivePolicy]
