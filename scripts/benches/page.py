"""What pages cost: a full build, a nightly refresh, and how big they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benches.discover import Planning
from benches.measuring import Options, Result, Row, say, workplace
from benches.trees import GeneratedTrees, Shape, make_trees

BUSY = Shape("three", 110, 1000, archived=80, trashed=21)
"""A thousand clips a day."""
LONG = Shape("three", 1826, 60, archived=1796, trashed=21)
"""Five years."""
QUICK = Shape("three", 12, 1000, archived=8, trashed=3)

CHANGED = 4
"""Days that a night changes: one is archived, one leaves the trash, two are recorded."""


def bench(options: Options) -> Result:
    """Write each site, then write it again after a night."""
    result = Result("page")
    with workplace(options) as place:
        for shape in (QUICK,) if options.quick else (BUSY, LONG):
            generated = make_trees(shape, options)
            result.rows += _site(generated, shape, place / shape.name)
    return result


def _site(generated: GeneratedTrees, shape: Shape, place: Path) -> Iterator[Row]:
    clips = shape.days * shape.clips
    title = f"{clips:,} clips, {shape.clips:,} a day: "
    say(title)
    place.mkdir()
    site = place / "site"
    for path in (generated.archive / ".camarchiver/journal").rglob("*.jsonl"):
        day = datetime(*map(int, (*path.parts[-3:-1], path.stem)), tzinfo=UTC)
        later = day + timedelta(days=61)
        os.utime(path, (later.timestamp(), later.timestamp()))
    page = Planning(generated, ("page", "--to", str(site)), place)
    yield Row(title + "full build", "s", [page.run()], goal=60 + clips / 1000)
    yield Row(title + "full build, peak memory", "MB", [page.peak], goal=200)
    nights = [_night(generated, shape, page) for _ in range(3)]
    yield Row(title + f"refresh, {CHANGED} days changed", "s", nights, goal=2)
    yield Row(title + "refresh, nothing changed", "s", [page.run() for _ in range(3)])
    index = sum((site / name).stat().st_size for name in ("index.html", "days.js"))
    yield Row(title + "first page", "kB", [index / 1000], goal=200)
    days = list(site.glob("cameras/*/????-??-??.html"))
    biggest = max(path.stat().st_size + path.with_suffix(".js").stat().st_size for path in days)
    yield Row(title + "largest page of a day, with its data", "kB", [biggest / 1000], goal=300)
    months = max(path.stat().st_size for path in site.glob("cameras/*/????-??.html"))
    yield Row(title + "largest page of a month", "kB", [months / 1000])
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    yield Row(title + "whole site", "bytes a clip", [total / clips])
    shutil.rmtree(place)


def _night(generated: GeneratedTrees, shape: Shape, page: Planning) -> float:
    """CPU seconds of a refresh for which two days have new lines in the journal, and two other clips."""
    journals = sorted((generated.archive / ".camarchiver/journal").rglob("*.jsonl"))
    for path in (journals[-1], journals[-shape.trashed - 1]):
        os.utime(path)
    for folder in sorted(generated.source.glob("*/*/*"))[-CHANGED // 2 :]:
        clip = min(folder.glob("*.mp4"))
        os.utime(clip, ns=(clip.stat().st_mtime_ns + 1,) * 2)
    return page.run()
