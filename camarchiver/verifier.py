"""Holds the archive against the journal: what is missing, changed, unreadable, or nobody's."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from camarchiver import claims, ffmpeg_args, locking, transcoder
from camarchiver.journal import Journal, What
from camarchiver.ledger import left_archive
from camarchiver.model import Tree, Trees
from camarchiver.names import is_clip_name, is_passing
from camarchiver.progress import Display
from camarchiver.stop import Stopper
from camarchiver.verification import is_harmless

_BLOCK = 1 << 20


class Flaw(StrEnum):
    """What can be wrong with an archive; part of the JSON format."""

    MISSING = "missing"
    WRONG_SIZE = "wrong-size"
    WRONG_HASH = "wrong-hash"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    TORN_JOURNAL = "torn-journal"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Expected:
    """An archive as the journal knows it."""

    archive: str
    """Below the archive root."""
    source: str
    size: int
    digest: str
    """BLAKE2b; empty where the journal has none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is off."""

    path: str
    flaw: Flaw
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of holding the archive against the journal."""

    checked: int
    foreign: int
    """Clips that camarchiver didn't make."""
    findings: tuple[Finding, ...]


class Verifier:
    """Checks one archive; changes nothing."""

    def __init__(self, trees: Trees, journal: Journal, stop: Stopper, ffmpeg: Path | None) -> None:
        """`ffmpeg` is given where every archive is to be decoded whole."""
        self._trees = trees
        self._journal = journal
        self._stop = stop
        self._ffmpeg = ffmpeg

    def run(self, since: date | None, chosen: Callable[[str], bool], display: Display) -> Verified:
        """Check everything that is chosen, until the stop."""
        findings, checked = list(self.journal_findings()), 0
        for expected in self.expected(since, chosen):
            if self._stop.is_set():
                break
            if finding := self.check(expected):
                findings.append(finding)
            checked += 1
            display.done(expected.size)
        foreign = 0 if self._stop.is_set() else sum(1 for _ in self.foreign())
        return Verified(checked, foreign, tuple(findings))

    def bytes_of(self, since: date | None, chosen: Callable[[str], bool]) -> int:
        """How much there is to check."""
        return sum(expected.size for expected in self.expected(since, chosen))

    def expected(self, since: date | None, chosen: Callable[[str], bool]) -> Iterator[Expected]:
        """Every archive that stands by the journal's word, day by day, once."""
        for day in self._journal.days():
            if since is None or day >= since:
                found = _standing(self._journal.day(day).events)
                yield from (each for each in found if chosen(each.archive))

    def check(self, expected: Expected) -> Finding | None:
        """What is off with one archive; None for nothing. A stop leaves it unchecked."""
        path = self._trees.archive / expected.archive
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                return Finding(str(path), Flaw.MISSING, "no regular file stands there")
            if status.st_size != expected.size:
                words = f"{status.st_size:,} bytes instead of {expected.size:,}"
                return Finding(str(path), Flaw.WRONG_SIZE, words)
            if expected.digest and self._digest(path) not in (expected.digest, ""):
                return Finding(str(path), Flaw.WRONG_HASH, "its bytes are not those that were archived")
        except FileNotFoundError:
            return Finding(str(path), Flaw.MISSING, f"the archive of {expected.source}")
        except OSError as error:
            return Finding(str(path), Flaw.UNREADABLE, str(error.strerror))
        return self._decode(path)

    def journal_findings(self) -> Iterator[Finding]:
        """Lines that can't be read, and work that a dead run left unfinished."""
        for day in self._journal.days():
            if torn := self._journal.day(day).torn:
                words = f"{torn} line(s) can't be read"
                yield Finding(str(self._journal.path(day)), Flaw.TORN_JOURNAL, words)
        for note, claim in claims.standing(self._trees):
            clip = claim.as_clip(self._trees.source).path if claim else None
            if clip is None or locking.held_by(clip, place=self._trees.state / "locks") is None:
                words = "left by a dead run; the next archive run resolves it"
                yield Finding(str(clip or note), Flaw.UNFINISHED, words)

    def foreign(self) -> Iterator[Path]:
        """Clips below the archive that no journal line speaks of."""
        known = {
            str(event.get("archive"))
            for day in self._journal.days()
            for event in self._journal.day(day).events
        }
        for folder, folders, names in os.walk(self._trees.archive):
            folders[:] = sorted(name for name in folders if not is_passing(name))
            for name in sorted(names):
                path = Path(folder, name)
                relative = path.relative_to(self._trees.archive).as_posix()
                if is_clip_name(name) and not is_passing(name) and relative not in known:
                    yield path

    def _digest(self, path: Path) -> str:
        """The file's BLAKE2b; empty when the run is to stop."""
        digest = hashlib.blake2b()
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                if self._stop.is_set():
                    return ""
                digest.update(block)
        return digest.hexdigest()

    def _decode(self, path: Path) -> Finding | None:
        if self._ffmpeg is None or self._stop.is_set():
            return None
        finished = transcoder.run(self._ffmpeg, ffmpeg_args.decode(path), stop=self._stop)
        if finished.ended == "stopped" or not (finished.returncode or not is_harmless(finished.stderr)):
            return None
        line = finished.stderr[0] if finished.stderr else f"ffmpeg ended with {finished.returncode}"
        return Finding(str(path), Flaw.DAMAGED, line)


def _standing(events: tuple[Mapping[str, Any], ...]) -> tuple[Expected, ...]:
    """The archives of one day's lines that no later line took away."""
    standing: dict[str, Expected] = {}
    away: dict[str, Expected] = {}
    for event in events:
        archive = str(event.get("archive"))
        match event.get("event"):
            case What.ARCHIVED | What.ADOPTED:
                known = standing.get(archive)
                digest = str(event.get("archive_blake2b") or (known.digest if known else ""))
                size = int(event.get("archive_size") or 0)
                standing[archive] = Expected(archive, str(event.get("source")), size, digest)
            case What.TRASHED | What.DELETED if left_archive(event):
                if archive in standing:
                    away[archive] = standing.pop(archive)
            case What.RESTORED if event.get("tree") == Tree.ARCHIVE and archive in away:
                standing[archive] = away[archive]
    return tuple(standing.values())
