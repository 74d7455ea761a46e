"""Decides what the owner's policy no longer keeps, and why. Pure; in doubt the footage stays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from camarchiver.domain.clip import Archived, Clip, Disposal, RemoteCopy, Tree
from camarchiver.domain.clocks import as_recorded, has_age, is_doubtful
from camarchiver.domain.hold import held_by
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Keep, RemoveCopy
from camarchiver.policy.archive_rules import is_selected, keep, removal_wait, restored_lately

YOUNG = timedelta(days=1)
"""No rule by size removes the last copy of a clip that was recorded within this."""


class Rank(IntEnum):
    """The order in which rules by size remove copies; up to `SOURCE` no clip is lost."""

    TRASH = 0
    SOURCE = 1
    ARCHIVE = 2
    UNARCHIVED = 3


class Limits(Struct, frozen=True):
    """How long copies are kept, and how much room one camera's copies may use."""

    age: timedelta
    """Sources."""
    archive_age: timedelta
    trash_age: timedelta
    """Since a file came into the trash."""
    max_age_hard: timedelta | None = None
    """The age beyond which no copy may be kept in any tree."""
    max_size: int | None = None
    """Bytes of one camera's copies in all trees."""
    quiet_age: timedelta | None = None
    """Sources and archives of clips in which nothing moves, if that is sure."""
    archive_age_offsite: timedelta | None = None
    """Archives that have an off-site copy that counts."""


class CleanupPolicy(Struct, frozen=True):
    """What the owner asked `cleanup` to do."""

    limits: Limits
    cameras_own: Mapping[str, Limits] = field(default_factory=dict)
    """Limits of single cameras, which replace `limits`."""
    clean_output: bool = False
    unarchived: bool = False
    delete: bool = False
    """Whether what would go to the trash is deleted."""
    cameras: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    max_size: int | None = None
    offsite_counts: timedelta | None = None
    """How long an off-site copy counts after it was verified; None if no such copy ever counts."""
    min_free: int | None = None
    """Bytes that must be free on each filesystem."""
    free: int | None = None
    """Bytes that must come free on the source's filesystem."""
    keep_sidecars: bool = False
    allow_large: bool = False
    max_removals: int = 5000
    only_trash: bool = False
    """Whether only trash whose time is over goes: to make room for archiving."""
    spared_run: str = ""
    """The run whose archives are left alone: a run never removes what it made."""

    def of(self, camera: str) -> Limits:
        """The limits of one camera."""
        return self.cameras_own.get(camera, self.limits)

    def for_room(self) -> CleanupPolicy:
        """The part of the policy that makes room before archiving: trash whose time is over goes."""
        own = {
            name: replace(limits, max_age_hard=None, max_size=None)
            for name, limits in self.cameras_own.items()
        }
        limits = replace(self.limits, max_age_hard=None, max_size=None)
        return replace(self, limits=limits, cameras_own=own, max_size=None, min_free=None, only_trash=True)

    def spares(self, run: str) -> bool:
        """Whether what this run made is left alone."""
        return bool(self.spared_run) and run == self.spared_run

    @property
    def shortest_hard_limit(self) -> timedelta | None:
        """The strictest limit beyond which some camera's files may not be kept; None if there is none."""
        limits = (each.max_age_hard for each in (self.limits, *self.cameras_own.values()))
        return min((each for each in limits if each is not None), default=None)

    @property
    def has_hard_limit(self) -> bool:
        """Whether some camera's files may not be kept beyond a certain age."""
        return self.shortest_hard_limit is not None

    @property
    def has_size_rules(self) -> bool:
        """Whether anything is removed because of sizes or free space."""
        own = any(limits.max_size is not None for limits in self.cameras_own.values())
        return own or (self.max_size, self.min_free, self.free) != (None, None, None)

    @property
    def disposal(self) -> Disposal:
        """What the rules by age do with a file."""
        return Disposal.DELETE if self.delete else Disposal.TRASH


class Copy(Struct, frozen=True):
    """One file of a clip in one of the trees, and what is known of it."""

    clip: Clip
    """The file: its root is that of its tree."""
    tree: Tree
    source: str
    """The clip's name in the journal."""
    archived: Archived | None = None
    """A valid archive of this very clip; for an archive its own entry."""
    given_up: bool = False
    """Whether a named rule removed the other copies, so that none has to exist."""
    since: datetime | None = None
    """When a trashed file came into the trash."""
    identity: tuple[int, int] = (0, 0)
    """Bytes and mtime_ns of the clip's source, which may be gone."""
    made_by: str = ""
    """The run that made an archive."""
    observed: Keep | None = None
    """Set if a process writes it or works on it."""
    remark: str = ""
    """Why it counts as not archived although the journal knows the name."""
    damage: str = ""
    """What is wrong with an archive that does not count; empty for a sound one."""
    is_sidecar: bool = False
    """A sidecar that followed its clip, or one whose clip is gone."""
    sharers: tuple[Copy, ...] = ()
    """The same file as the archive of other clips that have the same bytes."""
    offsite: RemoteCopy | None = None
    """The off-site copy of the clip's archive, if the journal knows one."""


class Stay(NamedTuple):
    """A copy is left alone, and why; cheaper than a step, and nearly every file of a plan gets one."""

    reason: Reason
    detail: str = ""

    def step(self, clip: Clip) -> Keep:
        """As a step of the plan."""
        return keep(clip, self.reason, self.detail)


Newest = Mapping[str, datetime]
"""By camera: when its newest clip was recorded, over source and archive."""


def decide(
    copy: Copy, policy: CleanupPolicy, memory: Memory, newest: Newest, now: datetime
) -> RemoveCopy | Stay:
    """What the rules by age do with one copy; exactly one answer for each.

    An archive that several clips share goes only if it would go as the archive of each of them. If one of
    them lets it go only for its off-site copy, it goes by that rule, and the copy must be good. Otherwise, if
    one is past its hard limit, it does not go to the trash.
    """
    answer = _decide(copy, policy, memory, newest, now)
    for sharer in copy.sharers:
        if isinstance(answer, Stay):
            break
        other = _decide(sharer, policy, memory, newest, now)
        if isinstance(other, Stay):
            answer = other
        elif _strictness(other) > _strictness(answer):
            answer = replace(answer, reason=other.reason, disposal=other.disposal, offsite=other.offsite)
    return answer


def _strictness(step: RemoveCopy) -> tuple[bool, bool]:
    """Of the rules by which a shared archive goes, the one that decides how it goes is the greatest."""
    return step.offsite is not None, step.reason is Reason.MAX_AGE_HARD


def goes_as_newest(copy: Copy, policy: CleanupPolicy, memory: Memory, now: datetime) -> bool:
    """Whether the rules by age remove a copy even if its clip is its camera's newest."""
    if copy.sharers:
        return False
    newest = {copy.clip.camera: copy.clip.recorded}
    return isinstance(_decide(copy, policy, memory, newest, now), RemoveCopy)


def _decide(
    copy: Copy, policy: CleanupPolicy, memory: Memory, newest: Newest, now: datetime
) -> RemoveCopy | Stay:
    limits = policy.of(copy.clip.camera)
    past = _is_past_limit(copy, limits, now)
    if barrier := _barrier(copy, policy, memory, newest, now, past_hard=past):
        return barrier
    if past:
        return _discard(copy, Disposal.DELETE, Reason.MAX_AGE_HARD, None)
    tree = copy.tree
    if tree is Tree.ARCHIVE:
        return _archive(copy, policy, limits, now)
    if tree is Tree.SOURCE:
        return _unless_it_failed(_source(copy, policy, limits, now), copy, memory, now)
    if tree is Tree.TRASH:
        return _trash(copy, policy, limits, now)
    if tree is Tree.OFFSITE:
        return _IN_POLICY
    raise ValueError(f"{copy.clip.path} is the recorder's")


def rank(copy: Copy, policy: CleanupPolicy, memory: Memory, newest: Newest, now: datetime) -> Rank | None:
    """When rules by size may remove a copy; None for never."""
    if any(rank(sharer, policy, memory, newest, now) is None for sharer in copy.sharers):
        return None
    if _barrier(copy, policy, memory, newest, now, past_hard=False):
        return None
    is_archived = copy.archived is not None
    if copy.tree is Tree.SOURCE and memory.failures and removal_wait(copy.clip, memory, now):
        return None
    if copy.tree is Tree.TRASH:
        return Rank.TRASH if is_archived else None
    if copy.tree is Tree.SOURCE and is_archived:
        return Rank.SOURCE
    if not has_age(copy.clip, YOUNG, now):
        return None
    if copy.tree is Tree.ARCHIVE:
        return Rank.ARCHIVE if policy.clean_output and not policy.spares(copy.made_by) else None
    return Rank.UNARCHIVED if policy.unarchived else None


def discard_by(copy: Copy, reason: Reason) -> RemoveCopy:
    """The step of a rule that deletes: by size, because a trash on the same filesystem frees nothing, or
    out of the trash.
    """
    return _discard(copy, Disposal.DELETE, reason, copy.archived if copy.tree is not Tree.ARCHIVE else None)


def _discard(
    copy: Copy,
    disposal: Disposal,
    reason: Reason,
    needed: Archived | None,
    offsite: RemoteCopy | None = None,
) -> RemoveCopy:
    """The step; `offsite` is the copy that must be good when this one goes."""
    if copy.tree is Tree.OFFSITE:
        offsite = copy.offsite
    sharers = tuple(sharer.clip for sharer in copy.sharers)
    return RemoveCopy(
        copy.clip, copy.tree, disposal, reason, copy.source, copy.identity, needed, sharers, offsite
    )


def _counted(copy: Copy, policy: CleanupPolicy, now: datetime) -> RemoteCopy | None:
    """The off-site copy, if it counts as a copy of the clip: it was verified, and lately.

    A time that is yet to come says that some clock was wrong, and so nothing of when it was verified.
    """
    found, within = copy.offsite, policy.offsite_counts
    if found is None or found.verified is None or within is None:
        return None
    return found if now - within < found.verified <= now else None


def _barrier(
    copy: Copy, policy: CleanupPolicy, memory: Memory, newest: Newest, now: datetime, *, past_hard: bool
) -> Stay | None:
    """Why no rule may remove a copy; the hard limit spares only unselected, held, busy and doubtful ones."""
    clip = copy.clip
    if policy.only_trash and copy.tree is not Tree.TRASH:
        return Stay(Reason.IN_POLICY)
    if (policy.cameras or policy.exclude) and not is_selected(
        clip, policy.cameras, policy.exclude, also=copy.source
    ):
        return Stay(Reason.FILTERED)
    if memory.holds and (hold := held_by(clip, memory.holds, now)):
        past = "recorded before the hard limit, but kept " if past_hard else ""
        return Stay(Reason.HELD, past + hold.words)
    if (observed := copy.observed) is not None:
        return Stay(observed.reason, observed.detail)
    if is_doubtful(clip, now):
        return _DOUBTFUL
    if past_hard or copy.tree is Tree.TRASH:
        return None
    if copy.damage:
        return Stay(Reason.DAMAGED, copy.damage)
    if memory.restored and restored_lately(copy.source, copy.identity, memory, now):
        return Stay(Reason.RESTORED, "kept for a week after it was restored")
    if newest.get(clip.camera) == clip.recorded:
        return Stay(Reason.NEWEST)
    return None


def _is_past_limit(copy: Copy, limits: Limits, now: datetime) -> bool:
    """Whether a copy is older than its camera's hard limit."""
    hard = limits.max_age_hard
    return hard is not None and has_age(as_recorded(copy.clip), hard, now)


def _unless_it_failed(
    answer: RemoveCopy | Stay, copy: Copy, memory: Memory, now: datetime
) -> RemoveCopy | Stay:
    """The answer; but a file that could not be removed before stays until its next try."""
    if not memory.failures or isinstance(answer, Stay):
        return answer
    wait = removal_wait(copy.clip, memory, now)
    return Stay(Reason.FAILED_BEFORE, wait) if wait else answer


_IN_POLICY = Stay(Reason.IN_POLICY)
_DOUBTFUL = Stay(Reason.CLOCK_DOUBTFUL)


def _source(copy: Copy, policy: CleanupPolicy, limits: Limits, now: datetime) -> RemoveCopy | Stay:
    if not has_age(copy.clip, limits.age, now):
        if _is_quiet_and_old(copy, limits, now):
            return _discard(copy, policy.disposal, Reason.QUIET_AGE, copy.archived)
        return Stay(Reason.TOO_RECENT)
    if copy.archived is not None:
        return _discard(copy, policy.disposal, Reason.AGE, copy.archived)
    if not policy.unarchived:
        return Stay(Reason.UNARCHIVED, copy.remark)
    return _discard(copy, policy.disposal, Reason.UNARCHIVED, None)


def _archive(copy: Copy, policy: CleanupPolicy, limits: Limits, now: datetime) -> RemoveCopy | Stay:
    if policy.spares(copy.made_by):
        return _IN_POLICY
    if not policy.clean_output and limits.archive_age_offsite is None:
        return _IN_POLICY
    if policy.clean_output and has_age(copy.clip, limits.archive_age, now):
        return _discard(copy, policy.disposal, Reason.ARCHIVE_AGE, None)
    if policy.clean_output and _is_quiet_and_old(copy, limits, now):
        return _discard(copy, policy.disposal, Reason.QUIET_ARCHIVE_AGE, None)
    if limits.archive_age_offsite is None or not has_age(copy.clip, limits.archive_age_offsite, now):
        return _IN_POLICY
    if copy.is_sidecar or (counted := _counted(copy, policy, now)) is None:
        return _IN_POLICY
    return _discard(copy, policy.disposal, Reason.ARCHIVE_AGE_OFFSITE, None, counted)


def _is_quiet_and_old(copy: Copy, limits: Limits, now: datetime) -> bool:
    """Whether a clip is archived, certainly shows no motion, and is old enough to leave for that.

    A clip without a score, or one of which the detector was not sure, is none of these.
    """
    quiet_age, archived = limits.quiet_age, copy.archived
    if quiet_age is None or archived is None or archived.motion is None:
        return False
    return archived.motion.is_quiet and has_age(copy.clip, quiet_age, now)


def _trash(copy: Copy, policy: CleanupPolicy, limits: Limits, now: datetime) -> RemoveCopy | Stay:
    if copy.since is None or copy.since > now - limits.trash_age:
        return _IN_POLICY
    if copy.given_up or copy.archived is not None:
        return _discard(copy, Disposal.DELETE, Reason.TRASH_AGE, None if copy.given_up else copy.archived)
    if (counted := _counted(copy, policy, now)) is not None:
        return _discard(copy, Disposal.DELETE, Reason.TRASH_AGE, None, counted)
    return Stay(Reason.LAST_COPY, copy.remark or "its archive does not exist or does not count")


def decide_sidecar(
    copy: Copy, policy: CleanupPolicy, memory: Memory, now: datetime, *, orphan: bool
) -> RemoveCopy | Stay:
    """The decision for a sidecar in the source that belongs to no clip there."""
    limits = policy.of(copy.clip.camera)
    past = _is_past_limit(copy, limits, now)
    barrier = _barrier(copy, policy, memory, {}, now, past_hard=past)
    # No rule but the hard limit removes a sidecar that never had a clip, whatever its clocks say.
    is_free = not orphan and limits.max_age_hard is None
    if barrier is not None and not (is_free and barrier is _DOUBTFUL):
        return barrier
    if past:
        return _discard(copy, Disposal.DELETE, Reason.MAX_AGE_HARD, None)
    if not orphan:
        return Stay(Reason.PICTURE_ONLY)
    if policy.keep_sidecars:
        return Stay(Reason.IN_POLICY, "sidecars are kept, as set")
    if not has_age(copy.clip, YOUNG, now):
        return Stay(Reason.TOO_RECENT)
    answer = _discard(copy, policy.disposal, Reason.ORPHAN_PICTURE, None)
    return _unless_it_failed(answer, copy, memory, now)
