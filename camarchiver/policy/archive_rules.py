"""Decides for each clip of a folder: archive it, remove its source, or leave it alone, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import NamedTuple

from msgspec import Struct, field

from camarchiver.domain.clip import Archived, Clip, Disposal, Label
from camarchiver.domain.clocks import DOUBTFUL, is_doubtful
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import Failure, FolderFacts, Memory
from camarchiver.domain.plan import Plan
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive, ArchiveStep, Keep, RemoveSource
from camarchiver.naming.folders import comparable
from camarchiver.naming.formats import is_raw_name
from camarchiver.naming.paths import archive_path

TRASH_AGE = timedelta(days=21)
"""How long the trash is kept unless the owner says otherwise."""

ONE_CAMERA, ANY_CAMERA = "camera", "any"
"""The owner's choices whose clips may share one archive if their bytes are the same."""

_OF_THE_CLIP = frozenset(
    {Reason.NOT_SMALLER, Reason.PICTURE_CHANGES, Reason.UNKEEPABLE_TIMES, Reason.OTHER_STREAMS}
)
"""Reasons that no other encoder and no other option would change."""


class RawRates(Struct, frozen=True):
    """Frames per second of raw streams, as declared by the owner; they give the times of the frames."""

    common: Fraction | None = None
    cameras: Mapping[str, Fraction] = field(default_factory=dict)
    """Those with a rate of their own."""

    def of(self, camera: str) -> Fraction | None:
        """This camera's rate; None if none is declared."""
        return self.cameras.get(camera, self.common)

    def __str__(self) -> str:
        return "none" if self.common is None else str(self.common)


NO_RATES = RawRates()

KEEP, REENCODE = "keep", "reencode"
"""The owner's choices for signed clips."""


class SignedRule(Struct, frozen=True):
    """Which cameras' signed clips are encoded, although that destroys the proof."""

    reencode: bool = False
    cameras: Mapping[str, bool] = field(default_factory=dict)
    """Those with a rule of their own."""

    def encodes(self, camera: str) -> bool:
        """Whether this camera's signed clips are encoded."""
        return self.cameras.get(camera, self.reencode)

    def __str__(self) -> str:
        return REENCODE if self.reencode else KEEP


KEEP_SIGNED = SignedRule()


class ArchivePolicy(Struct, frozen=True):
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
    raw_rates: RawRates = NO_RATES
    min_free: int | None = None
    """Bytes that archiving leaves free on the archive's disk; None for room for a night of uploads."""
    trash_age: timedelta = TRASH_AGE
    """How long the owner keeps the trash."""
    any_camera: bool = False
    """Whether one archive may serve for the same bytes of several cameras."""
    again_codec: str | None = None
    """With `repeat`: clips whose source is gone are encoded again if their archive has another codec."""
    quiet: timedelta | None = None
    """How long a clip must have been unchanged; None for the rule of `settle`."""

    @property
    def settle(self) -> timedelta:
        """How long size and mtime must have been unchanged before a clip counts as finished."""
        if self.quiet is not None:
            return self.quiet
        return timedelta(seconds=60) if self.age >= timedelta(days=1) else timedelta(minutes=10)


class _Bounds(NamedTuple):
    """The limits of a policy at one moment; computed once for a folder, not for every clip."""

    recent: datetime
    """Clips that start later are too recent."""
    future: datetime
    """Clips that start later come from a doubtful clock."""
    now: float
    """Seconds since the epoch."""
    settle: float
    """Seconds."""
    is_choosy: bool
    """Whether the policy leaves clips out that are old enough."""


def decide_archive(
    facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime
) -> Iterator[Archive | RemoveSource | Keep]:
    """Exactly one step for every file of a folder that is, or may be, a clip."""
    yield from facts.set_aside
    bounds = _bounds(policy, now)
    for clip in facts.clips:
        yield _decide_clip(clip, facts, policy, memory, now, bounds)


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
) -> Archive | RemoveSource | Keep:
    if reason := _too_early_or_unwanted(clip, policy, bounds):
        return keep(clip, reason)
    if memory.holds and (hold := held_by(clip, memory.holds, now)):
        return keep(clip, Reason.HELD, hold.words)
    if memory.restored and not policy.repeat:
        print_of = clip.fingerprint.identity
        if restored_lately(clip.relative, print_of, memory, now):
            return keep(clip, Reason.RESTORED, detail="kept for a week after it was restored")
    if facts.observed and (observed := facts.observed.get(clip.relative)):
        return observed
    archived = own_archive(clip, facts) if facts.archived else None
    if archived and not policy.repeat:
        return _remove_source(clip, archived, facts, policy, memory, now)
    unencoded = archived.why_unencoded if archived else None
    if unencoded and stays_unencoded(unencoded, encode_signed=policy.signed.encodes(clip.camera)):
        return keep(clip, unencoded, detail="its archive is a lossless copy, and would be one again")
    if is_raw_name(clip.name) and policy.raw_rates.of(clip.camera) is None:
        return keep(clip, Reason.NO_FRAME_RATE)
    if memory.failures and not policy.retry_failed and (wait := _archiving_wait(clip, memory, now)):
        return keep(clip, Reason.FAILED_BEFORE, detail=wait)
    reason = Reason.REPEAT_ASKED if archived else Reason.NOT_ARCHIVED
    if facts.same_file and clip.relative in facts.same_file:
        reason = Reason.SAME_FILE
    elif facts.labels_of_same_size_and_time and archived is None and _may_share_one(clip, facts, policy):
        reason = Reason.PERHAPS_ARCHIVED
    return to_archive(
        clip, reason, archived, keeps_source=is_doubtful(clip, now), any_camera=policy.any_camera
    )


def _may_share_one(clip: Clip, facts: FolderFacts, policy: ArchivePolicy) -> bool:
    others = facts.labels_of_same_size_and_time.get(clip.relative, ())
    return any(may_share(clip, other, any_camera=policy.any_camera) for other in others)


def may_share(clip: Clip, other: Label, *, any_camera: bool) -> bool:
    """Whether another clip's archive may serve for this one, if the bytes are the same.

    Names that say different times, or cameras, are no copies of each other. The time zone's offset does not
    count: in the hour that repeats in autumn it depends on the file's time, which a copy may have lost.
    """
    return other.start == clip.start.replace(tzinfo=None) and (any_camera or clip.camera == other.camera)


def to_archive(
    clip: Clip,
    reason: Reason,
    replaces: Archived | None = None,
    *,
    keeps_source: bool = False,
    any_camera: bool = False,
) -> Archive:
    """The step that archives a clip."""
    target = archive_path(clip.folder, clip.name.rpartition(".")[0], clip.start.date())
    return Archive(clip, target, reason, replaces, keeps_source, any_camera)


def keep(clip: Clip, reason: Reason, detail: str = "") -> Keep:
    """The step that leaves a clip alone."""
    relative = clip.place or clip.relative
    return Keep(clip.root, relative, reason, clip.fingerprint.size, clip.camera, clip.start, detail)


def _too_early_or_unwanted(clip: Clip, policy: ArchivePolicy, bounds: _Bounds) -> Reason | None:
    start = clip.recorded
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
    """Whether `--camera` and `--exclude` select a clip; `also` is another path of it."""
    if cameras and clip.camera not in cameras:
        return False
    if not exclude:
        return True
    paths = (clip.relative, clip.name, also) if also else (clip.relative, clip.name)
    names = [comparable(path) for path in paths]
    return not any(fnmatchcase(name, comparable(pattern)) for pattern in exclude for name in names)


def own_archive(clip: Clip, facts: FolderFacts) -> Archived | None:
    """The newest journalled archive of this very source that still exists and is not damaged."""
    for entry in reversed(facts.archived.get(clip.relative, ())):
        if entry.describes(clip) and entry.archive in facts.existing:
            return entry
    return None


def _remove_source(
    clip: Clip, archived: Archived, facts: FolderFacts, policy: ArchivePolicy, memory: Memory, now: datetime
) -> Archive | RemoveSource | Keep:
    if policy.disposal is Disposal.KEEP:
        return keep(clip, Reason.KEPT_SOURCE, detail="archived; its source is kept as asked")
    if not facts.removable:
        return keep(clip, Reason.KEPT_SOURCE, detail="archived; its folder can't be written")
    if is_doubtful(clip, now):
        return keep(clip, Reason.CLOCK_DOUBTFUL, detail="archived; its source stays")
    if memory.failures and not policy.retry_failed and (wait := removal_wait(clip, memory, now)):
        return keep(clip, Reason.FAILED_BEFORE, detail=f"archived; {wait}")
    return RemoveSource(clip, policy.disposal, Reason.ALREADY_ARCHIVED, archived)


def restored_lately(source: str, identity: tuple[int, int], memory: Memory, now: datetime) -> bool:
    """Whether an operator restored a copy of this clip within the grace period."""
    found = memory.restored.get(source)
    if found is None or not found.is_recent(now):
        return False
    return (found.size, found.mtime_ns) == identity


def removal_wait(clip: Clip, memory: Memory, now: datetime) -> str:
    """Why a source that could not be removed stays until its next try; empty if it is tried now."""
    failure = memory.failures.get(clip.relative)
    return retry_wait(failure, clip, now) if failure is not None and failure.is_of_removal else ""


def _archiving_wait(clip: Clip, memory: Memory, now: datetime) -> str:
    failure = memory.failures.get(clip.relative)
    return retry_wait(failure, clip, now) if failure is not None and not failure.is_of_removal else ""


def retry_wait(failure: Failure, clip: Clip, now: datetime) -> str:
    """Why a file that failed before is not tried now; empty if it is, or if it has changed since."""
    if (failure.size, failure.mtime_ns) != clip.fingerprint.identity:
        return ""
    if failure.next_try is None:
        return f"{failure.detail}; tried again only with --retry-failed"
    if failure.next_try <= now:
        return ""
    return f"{failure.detail}; next try {failure.next_try.astimezone(clip.start.tzinfo):%Y-%m-%d %H:%M}"


class ArchivedClip(NamedTuple):
    """A clip whose source has left its tree, and whose archive exists."""

    clip: Clip
    """As its source was."""
    file: Clip
    """The best file of it that is left: a copy of the source in the trash, or its archive."""
    archived: Archived
    codec: str | None
    """Of the archive, if the journal says it."""
    is_original: bool
    """Whether the file has the bytes of the source."""
    is_shared: bool
    """Whether other clips have the same archive."""


def decide_again(known: ArchivedClip, policy: ArchivePolicy, memory: Memory, now: datetime) -> Archive | Keep:
    """Whether a clip without a source is encoded again.

    From the archive that is a second generation, which loses quality: it must be asked for by its codec.
    """
    clip, archived = known.clip, known.archived
    if reason := _too_early_or_unwanted(clip, policy, _bounds(policy, now)):
        return keep(known.file, reason)
    if memory.holds and (hold := held_by(clip, memory.holds, now)):
        return keep(known.file, Reason.HELD, hold.words)
    if unencoded := archived.why_unencoded:
        return keep(known.file, unencoded, "its archive is a lossless copy, and its source is gone")
    if policy.again_codec is None:
        return keep(known.file, Reason.SOURCE_GONE)
    if policy.again_codec == known.codec:
        return keep(known.file, Reason.SOURCE_GONE, f"its archive is {known.codec} already")
    if known.is_shared:
        return keep(known.file, Reason.SOURCE_GONE, "several clips share its archive")
    if memory.failures and not policy.retry_failed and (wait := _archiving_wait(clip, memory, now)):
        return keep(known.file, Reason.FAILED_BEFORE, wait)
    reason = Reason.REPEAT_ASKED if known.is_original else Reason.SECOND_GENERATION
    return to_archive(known.file, reason, archived)


ArchivePlan = Plan[ArchiveStep, ArchivePolicy]


def stays_unencoded(reason: Reason, *, encode_signed: bool) -> bool:
    """Whether a clip that was copied losslessly for this reason would be so again."""
    return reason in _OF_THE_CLIP or (reason is Reason.SIGNED and not encode_signed)
