"""Counts what stands in the trees, camera by camera, for `status`; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from camarchiver import claims, locking
from camarchiver.discovery import Discovery
from camarchiver.journal import Journal, What
from camarchiver.model import Archive, Clip, Keep, Reason, Remove, Trees
from camarchiver.plan import ArchivePolicy, Memory, decide_archive

RATE_DAYS = 14
"""Days of footage from which the growth of the source is taken."""

GAP_DAYS = 7
"""Days that are looked at for gaps."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one tree holds of one camera."""

    clips: int = 0
    size: int = 0
    seconds: float = 0.0
    """Footage, as far as it is known."""
    oldest: datetime | None = None
    newest: datetime | None = None

    def plus(self, start: datetime, size: int, seconds: float | None) -> Holding:
        """With one clip more."""
        return Holding(
            self.clips + 1,
            self.size + size,
            self.seconds + (seconds or 0.0),
            min(self.oldest, start) if self.oldest else start,
            max(self.newest, start) if self.newest else start,
        )


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera's clips in the three trees, and what needs attention."""

    name: str
    source: Holding = field(default_factory=Holding)
    archive: Holding = field(default_factory=Holding)
    trash: Holding = field(default_factory=Holding)
    waiting: int = 0
    """Clips that the next archive run would encode."""
    failed: int = 0
    held: int = 0
    clock_doubtful: int = 0
    recent_bytes: int = 0
    """Bytes of source footage of the last `RATE_DAYS`."""
    gaps: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Disk:
    """One filesystem that trees lie on."""

    path: Path
    free: int
    total: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Census:
    """Everything that `status` tells."""

    cameras: tuple[Camera, ...]
    disks: tuple[Disk, ...]
    working: tuple[str, ...]
    """Sentences on who works on which clip."""
    last_run: Mapping[str, Any] | None
    unreadable: int
    unnamed: int
    """Files without a time in their names."""

    @property
    def days_until_full(self) -> float | None:
        """At the rate of the last `RATE_DAYS`, on the source's filesystem; None where nothing came in."""
        daily = sum(camera.recent_bytes for camera in self.cameras) / RATE_DAYS
        return self.disks[0].free / daily if daily else None


class Counter:
    """Walks the trees once and the journal once, a day at a time."""

    def __init__(self, trees: Trees, journal: Journal, discovery: Discovery, memory: Memory) -> None:
        self._trees = trees
        self._journal = journal
        self._discovery = discovery
        self._memory = memory
        self._cameras: dict[str, Camera] = {}
        self._last_end: dict[str, datetime] = {}
        self._unreadable = 0
        self._unnamed = 0

    def count(
        self, policy: ArchivePolicy, now: datetime, gap: timedelta, last_run: Mapping[str, Any] | None
    ) -> Census:
        """Count everything as of `now`; `policy` says what would be archived."""
        for facts in self._discovery.folders(date.max):
            for clip in sorted(facts.clips, key=lambda each: each.start):
                self._source(clip, now, gap)
            for step in decide_archive(facts, policy, self._memory, now):
                self._attention(step)
        for day in self._journal.days():
            self._day(self._journal.day(day).events)
        return Census(
            tuple(self._cameras[name] for name in sorted(self._cameras)),
            tuple(self._disks()),
            tuple(self._working()),
            last_run,
            self._unreadable,
            self._unnamed,
        )

    def _camera(self, name: str) -> Camera:
        return self._cameras.setdefault(name, Camera(name))

    def _source(self, clip: Clip, now: datetime, gap: timedelta) -> None:
        camera = self._camera(clip.camera)
        size = clip.fingerprint.size
        lately = timedelta(0) <= now - clip.start <= timedelta(days=RATE_DAYS)
        gaps = camera.gaps
        before = self._last_end.get(clip.camera)
        if before and clip.start - before > gap and now - clip.start <= timedelta(days=GAP_DAYS):
            gaps = (*gaps, (before, clip.start))
        self._last_end[clip.camera] = max(
            clip.start + timedelta(seconds=clip.duration or 0.0), before or clip.start
        )
        self._cameras[clip.camera] = replace(
            camera,
            source=camera.source.plus(clip.start, size, clip.duration),
            recent_bytes=camera.recent_bytes + (size if lately else 0),
            gaps=gaps,
        )

    def _attention(self, step: Archive | Remove | Keep) -> None:
        if isinstance(step, Remove):
            return
        if isinstance(step, Archive):
            camera = self._camera(step.clip.camera)
            self._cameras[camera.name] = replace(camera, waiting=camera.waiting + 1)
            return
        self._unreadable += step.reason is Reason.UNREADABLE
        self._unnamed += step.reason is Reason.NO_TIMESTAMP
        camera = self._camera(step.camera) if step.camera else Camera("")
        match step.reason:
            case Reason.FAILED_BEFORE:
                camera = replace(camera, failed=camera.failed + 1)
            case Reason.HELD:
                camera = replace(camera, held=camera.held + 1)
            case Reason.CLOCK_DOUBTFUL:
                camera = replace(camera, clock_doubtful=camera.clock_doubtful + 1)
        if camera.name:
            self._cameras[camera.name] = camera

    def _day(self, events: Iterable[Mapping[str, Any]]) -> None:
        archived: dict[str, Mapping[str, Any]] = {}
        trashed: dict[str, Mapping[str, Any]] = {}
        for event in events:
            if event.get("event") in (What.ARCHIVED, What.ADOPTED):
                archived[str(event.get("archive"))] = event
            elif event.get("event") == What.TRASHED:
                trashed[str(event.get("trash"))] = event
        for place, event in archived.items():
            self._standing(self._trees.archive / place, event, "archive")
        for place, event in trashed.items():
            self._standing(self._trees.trash / place, event, "trash")

    def _standing(self, path: Path, event: Mapping[str, Any], tree: Literal["archive", "trash"]) -> None:
        try:
            size = path.lstat().st_size
        except OSError:
            return
        camera = self._camera(str(event.get("camera", "")))
        start, seconds = datetime.fromisoformat(event["start"]), event.get("duration")
        if tree == "archive":
            camera = replace(camera, archive=camera.archive.plus(start, size, seconds))
        else:
            camera = replace(camera, trash=camera.trash.plus(start, size, seconds))
        self._cameras[camera.name] = camera

    def _disks(self) -> Iterator[Disk]:
        seen = set()
        for root in (self._trees.source, self._trees.archive, self._trees.trash):
            if root.is_dir() and root.stat().st_dev not in seen:
                seen.add(root.stat().st_dev)
                status = os.statvfs(root)
                free, total = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
                yield Disk(root, free, total)

    def _working(self) -> Iterator[str]:
        for _, claim in claims.standing(self._trees):
            if claim is not None:
                path = claim.as_clip(self._trees.source).path
                if owner := locking.held_by(path, place=self._trees.state / "locks"):
                    yield owner
