"""When the rules by age will remove a copy, found by asking these rules about later moments. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from camarchiver.domain.clip import Disposal
from camarchiver.domain.clocks import as_recorded, latest_time
from camarchiver.domain.memory import RESTORE_GRACE, Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import RemoveCopy
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Newest, decide


class ForecastRemoval(NamedTuple):
    """When a copy goes, if nothing changes until then."""

    at: datetime
    """The moment from which a cleanup removes it; that of the forecast if it is due already."""
    disposal: Disposal
    reason: Reason


class RemovalForecast:
    """Asks `decide` about now and each moment at which one of the policy's ages is reached."""

    def __init__(self, policy: CleanupPolicy, memory: Memory, newest: Newest, now: datetime) -> None:
        self._policy = policy
        self._memory = memory
        self._newest = newest
        self._now = now
        self._ages: dict[str, tuple[timedelta, ...]] = {}

    def of(self, copy: Copy) -> ForecastRemoval | None:
        """When and why this copy goes; None if no rule by age ever removes it."""
        for at in (self._now, *sorted(self._moments(copy))):
            # By then the camera will have newer clips.
            newest = self._newest if at == self._now else {}
            step = decide(copy, self._policy, self._memory, newest, at)
            if isinstance(step, RemoveCopy):
                return ForecastRemoval(at, step.disposal, step.reason)
        return None

    def _moments(self, copy: Copy) -> Iterator[datetime]:
        """Later moments at which the answer may change."""
        ages = self._ages_of(copy.clip.camera)
        starts = {latest_time(copy.clip), latest_time(as_recorded(copy.clip))}
        starts |= {copy.since} if copy.since else set()
        found = {start + age for start in starts for age in ages}
        if restored := self._memory.restored.get(copy.source):
            found.add(restored.at + RESTORE_GRACE)
        if (failure := self._memory.failures.get(copy.source)) and failure.next_try:
            found.add(failure.next_try)
        found |= {hold.until for hold in self._memory.holds if hold.until is not None}
        for sharer in copy.sharers:
            found.update(self._moments(sharer))
        yield from (at for at in found if at > self._now)

    def _ages_of(self, camera: str) -> tuple[timedelta, ...]:
        """Every age in the limits of a camera, whichever rule it belongs to."""
        if camera not in self._ages:
            limits = self._policy.of(camera)
            values = (getattr(limits, name) for name in limits.__struct_fields__)
            self._ages[camera] = tuple({each for each in values if isinstance(each, timedelta)})
        return self._ages[camera]
