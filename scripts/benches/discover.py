"""What planning costs over large trees, against `find -printf '%s %T@ %p'` over the same trees."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, ratio, say, workplace
from benches.trees import GeneratedTrees, Shape, make_trees
from tests.dates import BENCHES

SOURCE = Shape("source", 733, 150)
COPIED = replace(SOURCE, name="source-copied", copied=True)
LONGER_NAMES = replace(
    SOURCE,
    name="source-longer-names",
    name_format="{camera}_{start:%Y%m%d_%H%M%S}-{end:%Y%m%d_%H%M%S}_x7k2p9",
)
NO_PICTURES = Shape("source-no-pictures", 1466, 150, pictures=False)
HELD_SOURCE = replace(SOURCE, name="source-held", held=(400, 300))
THREE = Shape("three", 400, 250, archived=280, trashed=80)
HELD_THREE = replace(THREE, name="three-held", held=(180, 130))
MILLION = Shape("source", 1661, 301)
MILLION_IN_THREE = Shape("three", 1240, 367, archived=868, trashed=248)
FIVE_YEARS = Shape("source", 1826, 40)

# The command as it is, at the moment that the trees were made for. The files are empty: no encoder is tried,
# no header read for the guess at hours of footage, and no picture made.
_DRIVER = """
import sys
from datetime import datetime
result_file, moment, command = sys.argv[1:4]
from camarchiver.__main__ import main
from camarchiver.pipeline import Pipeline
Pipeline.now = lambda self: datetime.fromisoformat(moment).astimezone(self.zone)
if command == "archive":  # other commands do not even import these
    from camarchiver.archive import executor; from camarchiver.queries import footage_estimate as footage
    executor.prepare = lambda plan, *_: executor.Prepared(plan, None)
    footage.seconds_in = lambda plan: {}
if command == "page":
    from camarchiver.page.thumbnails import ThumbnailMaker
    ThumbnailMaker.is_over = True
del sys.argv[1:3]
try:
    main()
except SystemExit as left:
    if left.code not in (0, 3):  # 3: the plan also names files that stay until their owner decides
        raise
with open("/proc/self/status") as status, open(result_file, "w") as stream:
    stream.write(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""

# What no plan can do without, in Python: list, look at clips, read their times, keep a tuple of each in the
# order of names outside of memory.
_LEAST = """
import os, pickle, sys, tempfile
from datetime import datetime
def walk(folder, out):
    here = os.open(folder, os.O_RDONLY)
    folders, clips = [], []
    with os.scandir(here) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(".mp4"):
                status = entry.stat(follow_symlinks=False)
                start = datetime.fromisoformat(f"{name[-18:-10]}T{name[-10:-4]}")
                clips.append((name, start, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
            elif not name.endswith(".jpg") and entry.is_dir(follow_symlinks=False):
                folders.append(name)
    os.close(here)
    if clips:
        clips.sort()
        pickle.dump(list(zip(*clips)), out, protocol=5)
    for name in sorted(folders):
        walk(f"{folder}/{name}", out)
walk(sys.argv[1], tempfile.TemporaryFile())
"""

# The same of three trees: look at each file, read every line of the journal with its types checked and its
# paths below their roots, find each file in it (a picture by the line of its clip), look whether the archive
# of a trashed one stands, keep a tuple of each that may go.
_LEAST_OF_THREE = """
import os, pickle, sys, tempfile
from collections import Counter
from datetime import date, datetime, timedelta
import msgspec
from camarchiver.journal.event import JournalEvent as Event
read = msgspec.json.Decoder(Event).decode_lines
source, archive, trash = sys.argv[1:]
days, counts, out = {}, Counter(), tempfile.TemporaryFile()
def day_of(folder):
    if folder not in days:
        days.clear()
        stands, gone = days[folder] = {}, {}
        with open(f"{archive}/.camarchiver/journal/{folder}.jsonl", "rb") as stream:
            events = read(stream.read())
            for path in {path for each in events for path in (each.source, each.archive, each.trash) if path}:
                if ".." in path or path[0] in "/.":
                    raise ValueError(path)
            for event in events:
                if event.event == "archived":
                    stands[event.archive] = event
                elif event.event == "trashed":
                    gone[event.trash] = event
                    beside = event.archive.rpartition("/")[0]
                    for picture in event.sidecars:
                        stands[f"{beside}/{picture}"] = event
                elif event.event == "purged":
                    gone.pop(event.trash, None)
    return days[folder]
def walk(root, folder):
    here = os.open(f"{root}/{folder}", os.O_RDONLY)
    folders, files, going = [], [], []
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                files.append((entry.name, entry.stat(follow_symlinks=False)))
    os.close(here)
    files.sort(key=lambda file: file[0])
    for name, status in files:
        if root == archive:
            event = day_of(folder)[0].get(f"{folder}/{name}")
            if event is not None and event.archive_size in (None, status.st_size):
                counts[event.camera] += status.st_size
        elif root == trash:
            event = day_of(folder.removeprefix("input/"))[1].get(f"{folder}/{name}")
            if event is not None and event.source_size == status.st_size:
                size = os.lstat(f"{archive}/{event.archive}").st_size
                going.append((name, event.start, event.at, size, status.st_ino, status.st_mtime_ns))
        else:
            counts[name[:-18]] += status.st_size
            start = datetime.fromisoformat(f"{name[-18:-10]}T{name[-10:-4]}")
    if going:
        pickle.dump(list(zip(*going)), out, protocol=5)
    for name in sorted(folders):
        if name != ".camarchiver":
            walk(root, f"{folder}/{name}" if folder else name)
for root in sys.argv[1:]:
    walk(root, "")
"""

ARCHIVE = ("archive", "--dry-run")
CLEANUP = ("cleanup", "--dry-run", "--allow-large")
STATUS = ("status",)

FILTERS = ("--camera", "front", "--exclude", "*garage*", "--since", "2024-06-01")
OWN_PATTERN = """
[patterns]
yard = 'REO_(?P<camera>.+)_(?P<time>\\d{14})'
"""


@dataclass
class Planning:
    """One command over one forest."""

    generated: GeneratedTrees
    words: tuple[str, ...]
    place: Path
    config: str = ""
    """What the config file says."""
    peak: float = 0.0
    """Megabytes of the last run."""

    def run(self) -> float:
        """CPU seconds."""
        result_file = self.place / "result.json"
        config = self.place / "config.toml"
        config.write_text(self.config)
        command = [sys.executable, "-c", _DRIVER, str(result_file), BENCHES.isoformat(), *self.words]
        spent = cpu_seconds(
            [*command, *self.generated.arguments, "--timezone", "UTC", "--config", str(config)]
        )
        self.peak = int(result_file.read_text()) * 1024 / 1e6
        return spent


def bench(options: Options) -> Result:
    """Plans over 220,000 and a million files, and a nightly run that reads one day of five years."""
    result = Result("discover")
    with workplace(options) as place:
        result.rows += _source(make_trees(SOURCE, options), options, place)
        result.rows += _three(make_trees(THREE, options), options, place)
        if options.quick:
            result.skipped.append("other shapes and a million files: left out by --quick")
        else:
            result.rows += _other_sources(options, place)
            result.rows += _other_cleanups(options, place)
            result.rows += _source(make_trees(MILLION, options), options, place)
            result.rows += _three(make_trees(MILLION_IN_THREE, options), options, place)
        result.rows += _nightly(make_trees(FIVE_YEARS, options), options, place)
    return result


def _find(generated: GeneratedTrees) -> float:
    return cpu_seconds(["find", *generated.roots, "-printf", "%s %T@ %p\\n"])


def _rounds(options: Options) -> int:
    return options.rounds or (2 if options.quick else 5)


def _source(generated: GeneratedTrees, options: Options, place: Path) -> Iterator[Row]:
    """`archive` where nothing was archived yet: every clip is a step of the plan."""
    title = f"{generated.files:,} files in the source: "
    say(title)
    archive = Planning(generated, (*ARCHIVE, "--age", "0"), place)
    least = partial(cpu_seconds, [sys.executable, "-c", _LEAST, str(generated.source)])
    figures = in_turns(
        {"find": partial(_find, generated), "least": least, "archive": archive.run}, _rounds(options)
    )
    yield from _rows(title, figures, {"archive": (archive, 3.5)})


def _three(generated: GeneratedTrees, options: Options, place: Path) -> Iterator[Row]:
    """Two thirds are archived, the trash holds the last ones, the journal tells of all."""
    title = f"{generated.files:,} files in three trees: "
    say(title)
    cleanup, status = Planning(generated, CLEANUP, place), Planning(generated, STATUS, place)
    least = partial(cpu_seconds, [sys.executable, "-c", _LEAST_OF_THREE, *generated.roots])
    tasks = {"find": partial(_find, generated), "least": least, "cleanup": cleanup.run, "status": status.run}
    figures = in_turns(tasks, _rounds(options))
    yield from _rows(title, figures, {"cleanup": (cleanup, 8), "status": (status, None)})


def _other_sources(options: Options, place: Path) -> Iterator[Row]:
    """What makes a plan of `archive` look closer at each clip."""
    due = (*ARCHIVE, "--age", "0")
    for what, shape, words, config in (
        ("all with the time of a copy", COPIED, due, ""),
        ("names with an end and more", LONGER_NAMES, due, ""),
        ("no pictures", NO_PICTURES, due, ""),
        ("with filters", SOURCE, (*due, *FILTERS), ""),
        ("with a hold", HELD_SOURCE, due, ""),
        ("with an own pattern", SOURCE, due, OWN_PATTERN),
    ):
        generated = make_trees(shape, options)
        yield from _other(f"{what}: ", "archive", Planning(generated, words, place, config), 5, options)


def _other_cleanups(options: Options, place: Path) -> Iterator[Row]:
    """What makes a plan of `cleanup` look closer at each file, or at more of them."""
    for what, shape, words in (
        ("with a hold", HELD_THREE, ()),
        ("with --clean-output", THREE, ("--clean-output", "--archive-age", "300")),
        ("with --max-age-hard", THREE, ("--max-age-hard", "150")),
    ):
        generated = make_trees(shape, options)
        yield from _other(f"{what}: ", "cleanup", Planning(generated, (*CLEANUP, *words), place), 12, options)


def _other(what: str, name: str, planning: Planning, goal: float, options: Options) -> Iterator[Row]:
    title = f"{planning.generated.files:,} files, {what}"
    say(title)
    figures = in_turns({"find": partial(_find, planning.generated), name: planning.run}, _rounds(options))
    yield from _rows(title, figures, {name: (planning, goal)})


def _rows(
    title: str, figures: dict[str, list[float]], plans: dict[str, tuple[Planning, float | None]]
) -> Iterator[Row]:
    yield Row(title + "find", "s", figures["find"])
    if "least" in figures:
        yield ratio(title + "the least that Python must do / find", figures["least"], figures["find"])
    for name, (planning, goal) in plans.items():
        yield Row(title + name, "s", figures[name])
        yield ratio(title + f"{name} / find", figures[name], figures["find"], goal=goal)
        yield Row(title + f"{name}, peak memory", "MB", [planning.peak], goal=80)


def _nightly(generated: GeneratedTrees, options: Options, place: Path) -> Iterator[Row]:
    """Five years lie there and only the oldest day is due: the others are not read."""
    title = f"nightly, one day due of 1,826 with {generated.files:,} files: "
    say(title)
    due = Planning(generated, (*ARCHIVE, "--age", "1825"), place)
    figures = in_turns({"find": partial(_find, generated), "archive": due.run}, 2 * _rounds(options))
    yield Row(title + "archive", "s", figures["archive"], goal=0.5)
    yield ratio(title + "archive / find", figures["archive"], figures["find"])
