"""Refuses a cleanup as a whole if it would remove too much or if the clock is far off."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from camarchiver.policy.cleanup_rules import CleanupPolicy, Newest


class CameraTotals(Struct, frozen=True):
    """One camera's clips in source and archive, each counted once, and those that a plan removes."""

    clips: int = 0
    size: int = 0
    lost_clips: int = 0
    lost_size: int = 0

    @property
    def loses_most(self) -> bool:
        """Whether more than half would go."""
        return 2 * self.lost_clips > self.clips or 2 * self.lost_size > self.size


def brake(totals_of: Mapping[str, CameraTotals], policy: CleanupPolicy) -> str:
    """Why a plan is too large to be carried out without --allow-large; empty if it is not."""
    if policy.allow_large:
        return ""
    most = [camera for camera, totals in sorted(totals_of.items()) if totals.lost_clips and totals.loses_most]
    if most:
        totals = totals_of[most[0]]
        others = len(most) - 1
        also = f" (and of {others} other camera{'s' * (others > 1)})" if others else ""
        return (
            f"the plan would remove {totals.lost_clips:,} of {totals.clips:,} clips of {most[0]}{also} for"
            " good: more than half of its clips or bytes"
        )
    lost = sum(totals.lost_clips for totals in totals_of.values())
    if lost > policy.max_removals:
        return (
            f"the plan would remove {lost:,} clips for good, more than max_removals ({policy.max_removals:,})"
        )
    return ""


_FAR = timedelta(days=365)


def clock_is_far(newest: Newest, now: datetime) -> str:
    """Why the machine's clock can't be trusted; empty if it can."""
    last = max(newest.values(), default=None)
    if last is None or abs(now - last) <= _FAR:
        return ""
    return f"the clock says {now:%Y-%m-%d}, and the newest clip is of {last:%Y-%m-%d}: more than a year apart"
