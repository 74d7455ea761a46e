"""Measures in turns (A B A B) and shows the results: CPU seconds, medians, ratios, tables."""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

PERFORMANCE = Path(__file__).resolve().parents[2] / "docs/performance.md"
CORES = len(os.sched_getaffinity(0))

Options = argparse.Namespace
"""`quick`, `rounds`, `footage`, `cache`, `no_handbrake`."""


def cpu_seconds(command: Sequence[str], *, output: IO[Any] | None = None, **more: Any) -> float:
    """User and system time of a command and all its descendants; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=output or subprocess.DEVNULL, stderr=subprocess.PIPE, **more
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        said = Path(output.name).read_text()[-1500:] if output else ""
        tail = said + done.stderr.decode(errors="replace")[-2000:]
        sys.exit(f"bench: {shlex.join(command)[:300]} ended with {done.returncode}\n{tail}")
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def own_command() -> str:
    """The installed `camarchiver` beside this Python."""
    return str(Path(sys.executable).with_name("camarchiver"))


@contextmanager
def workplace(options: Options) -> Iterator[Path]:
    """A folder beside what is cached, gone afterwards."""
    options.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=options.cache) as folder:
        yield Path(folder)


def in_turns(tasks: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each task's figure of every round, A B A B."""
    figures: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds):
        say(f"  round {turn + 1} of {rounds}: {', '.join(tasks)}")
        for name, task in tasks.items():
            figures[name].append(task())
    return figures


def say(text: str) -> None:
    """Progress; results go to standard output."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Row:
    """One figure of the table."""

    what: str
    unit: str
    """`ratio`, `ms`, `s` or `%`."""
    figures: list[float]
    goal: float | None = None
    note: str = ""
    at_least: bool = False
    """Whether more is better."""

    @property
    def median(self) -> float:
        """The figure that the goal is held against."""
        return statistics.median(self.figures)

    @property
    def verdict(self) -> str:
        """Whether the goal was met; empty where there is none."""
        if self.goal is None:
            return ""
        met = self.median >= self.goal if self.at_least else self.median <= self.goal
        return "met" if met else "MISSED"

    def document(self) -> dict[str, Any]:
        """As `--json` has it."""
        spread = {"median": self.median, "min": min(self.figures), "max": max(self.figures)}
        return {"what": self.what, "unit": self.unit, **spread, "rounds": len(self.figures)} | {
            "goal": self.goal,
            "met": None if self.goal is None else self.verdict == "met",
            "note": self.note,
        }

    def cells(self) -> tuple[str, ...]:
        """As the table has it."""
        spread = (self.median, min(self.figures), max(self.figures))
        goal = "" if self.goal is None else f"{'>= ' if self.at_least else ''}{self.goal:g}"
        return (self.what, self.unit, *(_short(value) for value in spread), goal, self.verdict, self.note)


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def ratio(what: str, ours: list[float], theirs: list[float], **more: Any) -> Row:
    """Round by round, so that a neighbour's load hits both sides of each ratio."""
    pairs = zip(ours, theirs, strict=True)
    least = f"least / least {min(ours) / min(theirs):.3f}"
    more["note"] = "; ".join(filter(None, (least, more.get("note", ""))))
    return Row(what, "ratio", [mine / other for mine, other in pairs], **more)


@dataclass
class Result:
    """What one sub-command found."""

    command: str
    rows: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As `--json` has it."""
        return {
            "rows": [row.document() for row in self.rows],
            "skipped": self.skipped,
            "versions": self.versions,
        }

    def table(self) -> str:
        """Markdown."""
        head = ("what", "unit", "median", "min", "max", "goal", "", "note")
        lines = [head, ("---",) * len(head), *(row.cells() for row in self.rows)]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """The machine in a line."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    gigabytes = int(memory[1]) / 2**20 if memory else 0
    name = cpu[1] if cpu else platform.machine()
    return f"{name}, {CORES} cores, {gigabytes:.0f} GiB, load {os.getloadavg()[0]:.1f}"


def versions() -> dict[str, str]:
    """What took part besides the encoders."""
    from importlib.metadata import version

    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    packages = {name: version(name) for name in ("camarchiver", "click", "av")}
    system = f"{release}, Linux {platform.release()}"
    return {"system": system, "python": platform.python_version(), **packages}


def write(results: Sequence[Result], facts: Sequence[str]) -> None:
    """Put each table between its markers in docs/performance.md."""
    PERFORMANCE.parent.mkdir(exist_ok=True)
    text = PERFORMANCE.read_text() if PERFORMANCE.exists() else "# Performance\n"
    for result in results:
        begin, end = f"<!-- bench {result.command} -->", f"<!-- /bench {result.command} -->"
        named = [f"{name}: {words}" for name, words in result.versions.items()]
        lines = [*facts, *named, *result.skipped]
        passage = "\n".join([begin, "", *(f"- {line}" for line in lines), "", result.table(), "", end])
        if begin in text and end in text:
            before, _, rest = text.partition(begin)
            text = before + passage + rest.partition(end)[2]
        else:
            text = f"{text.rstrip()}\n\n## `scripts/bench {result.command}`\n\n{passage}\n"
    PERFORMANCE.write_text(text)
