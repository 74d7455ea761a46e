"""Large trees of empty clips with a journal that fits them, made once and kept for the next time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benches.measuring import Options, say
from tests.dates import BENCHES, folder_of

VERSION = "trees-1"
"""Another name for another kind of tree: what is cached is never mistaken for it."""
CAMERAS = ("front", "garage", "garden")
SIZE = 3_000_000
"""Bytes of a clip; its blocks are never written."""
SECONDS = timedelta(seconds=20)
"""Of a clip."""


@dataclass(frozen=True)
class Shape:
    """Days of footage, each of so many clips, and in which trees they stand."""

    name: str
    days: int
    clips: int
    """A day."""
    archived: int = 0
    """The oldest days, whose clips and pictures stand in the archive."""
    trashed: int = 0
    """The youngest of these, whose sources are still in the trash."""
    name_format: str = "REO_{camera}_{start:%Y%m%d%H%M%S}"
    """Of `camera`, `start` and `end`."""
    pictures: bool = True
    """Whether each clip has one beside it."""
    copied: bool = False
    """Whether all files have the time at which somebody copied them."""
    held: tuple[int, int] | None = None
    """The days before the last one between which one camera's clips are held."""


@dataclass(frozen=True)
class GeneratedTrees:
    """Where one shape's three trees are."""

    source: Path
    archive: Path
    trash: Path
    files: int

    @property
    def roots(self) -> list[str]:
        """Those that are there."""
        return [str(root) for root in (self.source, self.archive, self.trash) if root.is_dir()]

    @property
    def arguments(self) -> list[str]:
        """For `camarchiver`."""
        return [str(self.source), "-o", str(self.archive), "--trash-root", str(self.trash)]


def make_trees(shape: Shape, options: Options, now: datetime = BENCHES) -> GeneratedTrees:
    """The trees of a shape as they are at that moment, made when they aren't there."""
    place = options.cache / VERSION / f"{shape.name}-{shape.days}-{shape.clips}"
    generated = GeneratedTrees(place / "camera", place / "archive", place / "trash", 0)
    done = place / "files"
    if not done.exists():
        say(f"  making {place}")
        shutil.rmtree(place, ignore_errors=True)
        generated.source.mkdir(parents=True)
        files = sum(_day(generated, shape, number, now) for number in range(shape.days))
        if shape.archived:
            _mark(generated)
        if shape.held:
            _hold(generated, *shape.held, now)
        done.write_text(str(files))
    return GeneratedTrees(generated.source, generated.archive, generated.trash, int(done.read_text()))


def _day(generated: GeneratedTrees, shape: Shape, number: int, now: datetime) -> int:
    """Make one day's files, the oldest being number 0; tells how many they are."""
    day = now.date() - timedelta(days=shape.days - number)
    starts = list(_starts(day, shape.clips))
    names = [
        shape.name_format.format(camera=CAMERAS[each % 3], start=start, end=start + SECONDS)
        for each, start in enumerate(starts)
    ]
    folder = folder_of(starts[0])
    in_archive = number < shape.archived
    root = generated.archive if in_archive else generated.source
    times = [now - timedelta(days=1)] * len(starts) if shape.copied else starts
    suffixes = (".mp4", ".jpg") if shape.pictures else (".mp4",)
    _fill(root / folder, names, times, suffixes)
    if not in_archive:
        return len(suffixes) * len(names)
    trashed = number >= shape.archived - shape.trashed
    if trashed:
        _fill(generated.trash / "input" / folder, names, times, (".mp4",))
    _journal(generated, folder, day, names, starts, purged=not trashed)
    return (len(suffixes) + trashed) * len(names)


def _starts(day: date, count: int) -> Iterator[datetime]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    yield from (midnight + timedelta(seconds=each * 86_400 // count) for each in range(count))


def _fill(folder: Path, names: list[str], starts: list[datetime], suffixes: tuple[str, ...]) -> None:
    folder.mkdir(parents=True)
    here = os.open(folder, os.O_RDONLY)
    for name, start in zip(names, starts, strict=True):
        for suffix in suffixes:
            file = os.open(name + suffix, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=here)
            os.ftruncate(file, SIZE if suffix == ".mp4" else 1)
            os.utime(file, (start.timestamp(), start.timestamp()))
            os.close(file)
    os.close(here)


def _journal(
    generated: GeneratedTrees,
    folder: str,
    day: date,
    names: list[str],
    starts: list[datetime],
    *,
    purged: bool,
) -> None:
    """What `archive` and later `cleanup` wrote of a day."""
    from camarchiver.journal.event import EventKind, JournalEvent

    path = generated.archive / ".camarchiver/journal" / f"{folder}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    lasting = SECONDS.total_seconds()
    archived_at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=31)
    for name, start in zip(names, starts, strict=True):
        clip, trash = f"{folder}/{name}.mp4", f"input/{folder}/{name}.mp4"
        common = {
            "run": f"{archived_at:%Y%m%dT%H%M%S}-0d2ae5",
            "host": "nas",
            "source": clip,
            "start": start,
            "camera": name.split("_")[1],
            "source_size": SIZE,
            "source_mtime_ns": int(start.timestamp()) * 10**9,
        }
        archived = JournalEvent(
            EventKind.ARCHIVED,
            at=archived_at,
            duration=lasting,
            source_blake2b="5" * 128,
            archive=clip,
            archive_size=SIZE,
            archive_mtime_ns=int(start.timestamp()) * 10**9,
            archive_blake2b="b" * 128,
            encoder="libsvtav1",
            settings={"quality": 35, "preset": "10", "max_height": None, "audio": "copy"},
            remuxed=False,
            verified="every frame's time, the sound and some pictures compared, keyframes decoded",
            seconds=4.2,
            **common,
        )
        pictures = {f"{name}.jpg": str(generated.archive / folder / f"{name}.jpg")}
        trashed = JournalEvent(
            EventKind.TRASHED,
            at=archived_at,
            archive=clip,
            trash=trash,
            sidecars=pictures,
            reason="not-archived",
            **common,
        )
        lines += [archived.line(), trashed.line()]
        if purged:
            later = archived_at + timedelta(days=30)
            ends = {"tree": "trash", "trash": trash, "reason": "trash-age", "at": later, "duration": lasting}
            lines += [
                JournalEvent(what, **ends, **common).line() for what in (EventKind.INTENDED, EventKind.PURGED)
            ]
    path.write_text("".join(f"{line}\n" for line in lines))


def _mark(generated: GeneratedTrees) -> None:
    """Trees that know each other."""
    for root in (generated.source, generated.archive):
        state = root / ".camarchiver"
        state.mkdir(exist_ok=True)
        (state / "volume").write_text("b" * 32 + "\n")


def _hold(generated: GeneratedTrees, first: int, last: int, now: datetime) -> None:
    """As `camarchiver hold add` does it."""
    from camarchiver.state import holds

    state = generated.archive / ".camarchiver"
    state.mkdir(parents=True, exist_ok=True)
    start, end = now - timedelta(days=first), now - timedelta(days=last)
    holds.add(state, start, end, camera=CAMERAS[0], reason="a burglary", until=None)
