"""Steps that would free more space than a cleanup's own rules, safest first; pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import replace

from camarchiver.domain.clip import Tree
from camarchiver.domain.clocks import has_age
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import FurtherStep
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Rank, rank
from camarchiver.runtime.formatting import exact_size

WAITING_DAYS = 7
"""`archive --age` that is proposed for clips without an archive."""


class FurtherSteps:
    """Sums the bytes that each further step would free, over the copies that a plan leaves alone."""

    def __init__(self, policy: CleanupPolicy, memory: Memory, now: datetime) -> None:
        self._policy = policy
        self._memory = memory
        self._now = now
        self._wider = replace(policy, clean_output=True, unarchived=True)
        self._waiting = self._archives = self._unarchived = 0
        self._sources_size = self._archives_size = 0
        """Bytes that the archived clips had as sources, and have as archives."""

    def see(self, copy: Copy, *, stays: bool) -> None:
        """Count one copy; `stays` if no rule of the policy may remove it."""
        size = copy.clip.fingerprint.size
        if copy.tree is Tree.ARCHIVE and copy.archived is not None and not copy.damage:
            self._sources_size += copy.archived.size
            self._archives_size += size
        if not stays:
            return
        place = rank(copy, self._wider, self._memory, {}, self._now)
        if place is Rank.ARCHIVE:
            self._archives += size
        elif place is Rank.UNARCHIVED:
            self._unarchived += size
            if has_age(copy.clip, timedelta(days=WAITING_DAYS), self._now):
                self._waiting += size

    def steps(self) -> tuple[FurtherStep, ...]:
        """The steps that free something: first the one that loses no footage."""
        kept = self._archives_size / self._sources_size if self._sources_size else 0.0
        goals = self._goals()
        found = (
            FurtherStep("archive", f"--age {WAITING_DAYS}", round(self._waiting * max(0.0, 1 - kept)), False),
            FurtherStep("cleanup", f"{goals} --clean-output", self._archives, True),
            FurtherStep("cleanup", f"{goals} --unarchived", self._unarchived, True),
        )
        return tuple(step for step in found if step.size)

    def _goals(self) -> str:
        """The options that ask for space: without them a cleanup removes by age only, and into the trash."""
        wanted = {"--free": self._policy.free, "--min-free": self._policy.min_free}
        given = [f"{name} {exact_size(size)}" for name, size in wanted.items() if size is not None]
        own = {"--clean-output": self._policy.clean_output, "--unarchived": self._policy.unarchived}
        return " ".join((*given, *(name for name, is_given in own.items() if is_given)))
