"""Which further files must go for sizes and free space, and how many bytes removals free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from camarchiver.domain.clip import Clip, Disposal, Tree
from camarchiver.domain.memory import Memory
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import RemoveCopy, RemoveLeftover
from camarchiver.policy.cleanup_rules import CleanupPolicy, Copy, Newest, Stay, discard_by, rank


class Goal(Struct, frozen=True):
    """A number of bytes that must go, from one camera, from one filesystem, or from anywhere."""

    reason: Reason
    excess: int
    """Bytes."""
    words: str
    """The goal in words."""
    camera: str | None = None
    device: int | None = None

    def concerns(self, clip: Clip, *, leaves_disk: bool) -> bool:
        """Whether deleting this file brings the goal nearer; `leaves_disk` if it would be moved off its disk.

        The goal counts what that move frees already.
        """
        if self.device is not None and (leaves_disk or self.device != clip.fingerprint.device):
            return False
        return self.camera in (None, clip.camera)


RECORD_BYTES = 1000
"""Bytes of journal and log for one removal (0.7 kB with short paths); they count too."""


class Freed:
    """Counts the bytes that removals free: a file with several names counts with the last of them."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], int] = {}
        self.on = Counter[int]()
        """Bytes by filesystem (`st_dev`); negative where more arrives than goes."""
        self.trashed = Counter[int]()
        """Bytes by filesystem that go into a trash there, and that come free when they expire."""

    def by(self, clip: Clip) -> int:
        """Bytes that deleting this name frees, given those deleted before."""
        print_of = clip.fingerprint
        device, inode, size = print_of.device, print_of.inode, print_of.size
        if clip.links > 1:
            self._names[device, inode] = self._names.get((device, inode), 0) + 1
            if self._names[device, inode] != clip.links:
                return 0
        self.on[device] += size
        return size

    def by_move(self, clip: Clip, trash: int) -> None:
        """Count a file that goes to a trash on this filesystem; a trash on its own one frees nothing."""
        self._move(clip, trash, clip.fingerprint.size)

    def by_no_move(self, clip: Clip, trash: int) -> None:
        """Take back what was counted for such a file: it is deleted instead."""
        self._move(clip, trash, -clip.fingerprint.size)

    def _move(self, clip: Clip, trash: int, size: int) -> None:
        if clip.links > 1:
            return
        self.trashed[trash] += size
        if clip.fingerprint.device != trash:
            self.on[clip.fingerprint.device] += size
            self.on[trash] -= size


class SizeGoalSolver:
    """Chooses copies, offered in the order of rank and age, until every goal is met.

    Every goal counts every removal that concerns it, whichever goal asked for it.
    """

    def __init__(self, goals: Iterable[Goal], freed: Freed, trash: int) -> None:
        """`trash` is the filesystem (`st_dev`) of the trash."""
        self._trash = trash
        self._left = {goal: goal.excess for goal in goals}
        self._freed = freed

    def take(self, clip: Clip, *, moves: bool = False) -> Reason | None:
        """The reason for which a file must be deleted; None if no goal needs it.

        `moves` if it was counted to go to the trash.
        """
        leaves_disk = moves and clip.links == 1 and clip.fingerprint.device != self._trash
        nearer = [goal for goal in self._left if goal.concerns(clip, leaves_disk=leaves_disk)]
        wanted = next((goal for goal in nearer if self._left[goal] > 0), None)
        if wanted is None:
            return None
        if moves:
            self._freed.by_no_move(clip, self._trash)
        count = max(0, self._freed.by(clip) - RECORD_BYTES)
        for goal in nearer:
            self._left[goal] -= count
        return wanted.reason

    @property
    def unmet(self) -> dict[Goal, int]:
        """Bytes that are still too many, by goal."""
        return {goal: left for goal, left in self._left.items() if left > 0}


def decide_by_size(
    copy: Copy,
    by_age: RemoveCopy | Stay,
    solver: SizeGoalSolver,
    policy: CleanupPolicy,
    memory: Memory,
    newest: Newest,
    now: datetime,
) -> RemoveCopy | Stay:
    """What happens to one copy in the end: what the rules by age say, unless a goal needs its bytes.

    What is deleted `by_age` stands in the goals already; what would stay, or go to the trash, may go for one.
    """
    if isinstance(by_age, RemoveCopy) and by_age.disposal is Disposal.DELETE:
        return by_age
    if rank(copy, policy, memory, newest, now) is None:
        return by_age
    reason = solver.take(copy.clip, moves=isinstance(by_age, RemoveCopy))
    return by_age if reason is None else discard_by(copy, reason)


def loses(copy: Copy) -> bool:
    """Whether removing a copy loses its clip.

    A file in the trash was given up before, and a damaged archive is no copy.
    """
    if copy.is_sidecar or copy.damage or copy.tree in (Tree.TRASH, Tree.OFFSITE):
        return False
    return copy.tree is Tree.ARCHIVE or copy.archived is None


_STAGE = {Tree.TRASH: 0, Tree.SOURCE: 1, Tree.ARCHIVE: 2, Tree.OFFSITE: 2}


def order_key(step: RemoveCopy | RemoveLeftover) -> tuple[int, float, str]:
    """The cheapest copies first, among them the oldest; files that are no footage come last."""
    if isinstance(step, RemoveLeftover):
        # The deepest folder first: the one above may then be empty.
        return 4, -len(step.relative), step.relative
    stage = 3 if step.tree is Tree.SOURCE and step.archived is None else _STAGE[step.tree]
    return stage, step.start.timestamp(), step.relative
