"""Which archives are due for an off-site copy, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct, field

from camarchiver.domain.clip import Clip
from camarchiver.domain.hold import Hold, held_by
from camarchiver.domain.memory import Failure
from camarchiver.domain.plan import Plan
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import CheckCopy, Keep, MakeCopy
from camarchiver.policy.archive_rules import is_selected, retry_wait


class WhatToCopy(StrEnum):
    """Which archives get an off-site copy."""

    ARCHIVES = "archives"
    HELD = "held"
    NONE = "none"


class CopyState(StrEnum):
    """What the journal says of an archive's copy at one remote."""

    NONE = "none"
    UNPROVED = "unproved"
    """It was made, and never verified."""
    PROVED = "proved"
    LOST = "lost"


class OffsitePolicy(Struct, frozen=True):
    """What the owner wants to have elsewhere."""

    remote: str
    """As the journal names it."""
    what: WhatToCopy = WhatToCopy.ARCHIVES
    cameras_own: Mapping[str, WhatToCopy] = field(default_factory=dict)
    cameras: frozenset[str] = frozenset()
    """If any are named, only these."""
    exclude: tuple[str, ...] = ()
    """Globs of paths or names."""
    since: datetime | None = None
    """Only what was recorded then or later."""
    limit: int | None = None
    """Copies in one run."""
    retry_failed: bool = False


class KnownArchive(NamedTuple):
    """An archive that the journal knows, and its copy."""

    clip: Clip
    """The archive: its root is the archive's."""
    source: str
    identity: tuple[int, int]
    digest: str
    """BLAKE2b; empty if the journal has none."""
    name: str
    """The copy's name below the remote."""
    state: CopyState


class CheckPolicy(Struct, frozen=True):
    """Which off-site copies are verified again."""

    remote: str
    """As the journal names it."""
    cameras: frozenset[str] = frozenset()
    """If any are named, only these."""
    sample: float = 100.0
    """Percent of the copies; those that were not verified for the longest time."""
    limit: int | None = None


OffsitePlan = Plan[MakeCopy, OffsitePolicy]
CheckPlan = Plan[CheckCopy, CheckPolicy]

_REASONS = {
    CopyState.NONE: Reason.NOT_COPIED,
    CopyState.UNPROVED: Reason.COPY_UNPROVED,
    CopyState.LOST: Reason.COPY_LOST,
}


def decide(
    known: KnownArchive,
    policy: OffsitePolicy,
    holds: Iterable[Hold],
    failure: Failure | None,
    is_valid: Callable[[], bool],
    now: datetime,
) -> MakeCopy | Keep:
    """Copy an archive, or leave it alone, and why; `is_valid` says whether the archive counts as one."""
    what = policy.cameras_own.get(known.clip.camera, policy.what)
    if what is WhatToCopy.NONE or not _is_selected(known, policy):
        return _keep(known, Reason.FILTERED)
    if known.state is CopyState.PROVED:
        return _keep(known, Reason.ALREADY_COPIED)
    held = held_by(known.clip, holds, now)
    if what is WhatToCopy.HELD and held is None:
        return _keep(known, Reason.FILTERED)
    if not known.digest or not is_valid():
        return _keep(known, Reason.DAMAGED, detail="" if known.digest else "the journal has no hash of it")
    if failure is not None and not policy.retry_failed and (wait := retry_wait(failure, known.clip, now)):
        return _keep(known, Reason.FAILED_BEFORE, detail=wait)
    reason = Reason.HELD if held is not None else _REASONS[known.state]
    return MakeCopy(known.clip, reason, known.source, known.identity, known.digest, known.name)


def order_key(step: MakeCopy) -> tuple[bool, float, str]:
    """Held clips first, then the newest: it is the newest that a burglar takes with the recorder."""
    return step.reason is not Reason.HELD, -step.clip.recorded.timestamp(), step.relative


def _is_selected(known: KnownArchive, policy: OffsitePolicy) -> bool:
    if policy.since is not None and known.clip.recorded < policy.since:
        return False
    return is_selected(known.clip, policy.cameras, policy.exclude, also=known.source)


def _keep(known: KnownArchive, reason: Reason, detail: str = "") -> Keep:
    clip = known.clip
    return Keep(clip.root, clip.relative, reason, clip.fingerprint.size, clip.camera, clip.start, detail)
