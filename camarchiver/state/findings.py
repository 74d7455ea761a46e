"""Remembers which archives `verify` found missing or damaged, and when it last came through all of them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from camarchiver.domain.clip import Tree
from camarchiver.domain.damage import Damage, Run, check_year
from camarchiver.domain.fields import Count, Moment, RelativePath
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import Discard
from camarchiver.errors import StorageError
from camarchiver.storage import atomic, run_lock

_log = logging.getLogger(__name__)

FILE = "findings.json"


class Pass(msgspec.Struct, frozen=True):
    """One `verify` that looked at every archive and came to its end."""

    at: Moment
    run: Run
    archives: Count

    def __post_init__(self) -> None:
        check_year(self.at)


class Findings(msgspec.Struct, frozen=True):
    """What `findings.json` holds."""

    damaged: dict[RelativePath, Damage] = {}
    """By path below the archive root."""
    last_whole: Pass | None = None
    last_full: Pass | None = None
    """The last one that decoded every archive, too."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a run found out."""

    damaged: Mapping[str, Damage] = field(default_factory=dict)
    sound: Collection[str] = ()
    """Archives that count again, or that nothing asks for any more."""
    whole: Pass | None = None
    full: Pass | None = None


def read(state: Path) -> Findings:
    """What is known; StorageError when the file and its backup can't be read.

    Nothing is guessed then: an archive that was found damaged must not count again by mistake.
    """
    path = state / FILE
    stored = atomic.read_json(path)
    if stored is None:
        return Findings()
    try:
        return msgspec.convert(stored, Findings)
    except msgspec.ValidationError as error:
        _log.warning("%s can't be understood (%s); using its backup", path, error)
    try:
        return msgspec.convert(atomic.read_json(atomic.backup_of(path)), Findings)
    except (msgspec.ValidationError, StorageError) as error:
        raise StorageError(
            f"{path} and its backup can't be understood, so nobody knows which archives are damaged",
            hint="put back a copy of your own, or move both away and run: camarchiver verify --full",
        ) from error


def change(state: Path, found: Change) -> None:
    """Write down what a run found; OSError or StorageError where that can't be done."""
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
    """Of damaged archives that a rule removed nothing needs to be remembered."""
    steps = (each.step for each in outcomes if each.result is Result.DONE)
    gone = {step.relative for step in steps if isinstance(step, Discard) and step.tree is Tree.ARCHIVE}
    if gone and (over := gone & read(state).damaged.keys()):
        change(state, Change(sound=over))


class DamagedNow:
    """Tells which archives are known to be damaged at each moment; reads the file again when it changed."""

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
