"""Remembers which archives `verify` found missing or damaged, and its last complete passes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct, field

from camarchiver.domain.clip import Tree
from camarchiver.domain.damage import Damage
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import RemoveCopy
from camarchiver.domain.untrusted import AwareDatetime, Count, RelativePath, Run, check_time, convert
from camarchiver.errors import StorageError
from camarchiver.storage import atomic, run_lock

_log = logging.getLogger(__name__)

FILE = "findings.json"


class CompletedVerify(Struct, frozen=True):
    """One `verify` that checked every archive to the end."""

    at: AwareDatetime
    run: Run
    archives: Count

    def __post_init__(self) -> None:
        check_time(self.at)


class Findings(Struct, frozen=True):
    """What `findings.json` holds."""

    damaged: dict[RelativePath, Damage] = {}
    """By path below the archive root."""
    last_whole: CompletedVerify | None = None
    last_full: CompletedVerify | None = None
    """The last one that also decoded every archive."""


class FindingsUpdate(Struct, frozen=True):
    """What a run found out."""

    damaged: Mapping[str, Damage] = field(default_factory=dict)
    sound: Collection[str] = ()
    """Archives that are valid again, or are no longer expected."""
    whole: CompletedVerify | None = None
    full: CompletedVerify | None = None


def read(state: Path) -> Findings:
    """The stored findings; raises StorageError if neither the file nor its backup can be read.

    No default is used then: an archive that was found damaged must not count again by mistake.
    """
    path = state / FILE
    stored = atomic.read_json(path)
    if stored is None:
        return Findings()
    try:
        return convert(stored, Findings)
    except ValueError as error:
        _log.warning("%s can't be understood (%s); using its backup", path, error)
    try:
        return convert(atomic.read_json(atomic.backup_of(path)), Findings)
    except (ValueError, StorageError) as error:
        raise StorageError(
            f"{path} and its backup can't be understood, so it is not known which archives are damaged",
            hint="put back a copy of your own, or move both away and run: camarchiver verify --full",
        ) from error


def change(state: Path, found: FindingsUpdate) -> None:
    """Store what a run found. Raises OSError or StorageError if that fails."""
    with run_lock.guarded(state / "findings.lock"):
        before = read(state)
        damaged = {
            archive: damage for archive, damage in before.damaged.items() if archive not in found.sound
        }
        after = Findings(
            damaged | dict(found.damaged),
            found.whole or before.last_whole,
            found.full or before.last_full,
        )
        if after != before:
            atomic.write_json(state / FILE, msgspec.to_builtins(after))


def forget_removed(state: Path, outcomes: Iterable[Outcome]) -> None:
    """Forget the findings about damaged archives that a rule removed."""
    steps = (each.step for each in outcomes if each.result is Result.DONE)
    gone = {step.relative for step in steps if isinstance(step, RemoveCopy) and step.tree is Tree.ARCHIVE}
    if gone and (over := gone & read(state).damaged.keys()):
        change(state, FindingsUpdate(sound=over))


class DamagedNow:
    """Gives the archives that are known to be damaged now; reads the file again when it has changed."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._seen: tuple[tuple[int, int, int] | None, Mapping[str, Damage]] | None = None

    def __call__(self) -> Mapping[str, Damage]:
        """By path below the archive root; StorageError as `read`."""
        mark = self._mark()
        seen = self._seen
        if seen is None or mark is None or seen[0] != mark:
            seen = mark, read(self._state).damaged
            self._seen = seen
        return seen[1]

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            status = (self._state / FILE).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
