"""Makes a fault happen at each file-system call of a run, one call a trial, by strace's injection.

A run is traced once to count its calls. Then, for call after call, a run on a fresh tree is killed there,
or that call is made to fail; the invariants are checked; a second run without faults must finish the job
and leave nothing lying about. To add a command: a `Stage`, and `SWEEPS = sweeps_of(Subject(...))`.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from sweeps import ROOT, Options, Sweep, Tally, Unable, tallies
from sweeps.camera import Ran
from tests import programs

CHANGES = [
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
]
LOOKS = [
    "access",
    "close",
    "faccessat2",
    "flock",
    "fstat",
    "getdents64",
    "lseek",
    "newfstatat",
    "pread64",
    "read",
    "statx",
]
OTHERS = ["clone", "clone3", "execve", "vfork", "wait4", "waitid"]
"""Calls at which only a kill makes sense."""
REFUSED = {"fdatasync", "fsync", "ftruncate", "pwrite64", "write", "writev", "copy_file_range", "fallocate"}
"""Calls on open files, which permissions no longer concern."""
INTERRUPTED = {"openat", "creat", "close", "fsync", "fdatasync", "ftruncate", "fallocate", "flock", "read"}
INTERRUPTED |= {"pread64", "write", "writev", "pwrite64", "copy_file_range"}
"""Calls that a signal may interrupt."""


MODULES = (
    f"{sys.base_prefix}/",
    f"{sys.prefix}/",
    f"{ROOT}/camarchiver/",
    "/mutant/camarchiver/",
    "/usr/lib/",
)
"""Folders from which the interpreter loads code. A kill there equals a kill at the last call before it that
changed something, so these calls are not tried.
"""


@dataclass(frozen=True)
class Kind:
    """One sort of fault."""

    name: str
    inject: str
    """strace's words for it."""
    calls: frozenset[str]
    for_ever: bool = False


KINDS = {
    "kill": [Kind("SIGKILL", "signal=KILL", frozenset([*CHANGES, *LOOKS, *OTHERS]))],
    "errors": [
        Kind("EIO", "error=EIO", frozenset([*CHANGES, *LOOKS])),
        Kind("ENOSPC once", "error=ENOSPC", frozenset(CHANGES)),
        Kind("ENOSPC from then on", "error=ENOSPC", frozenset(CHANGES), for_ever=True),
        Kind("EACCES", "error=EACCES", frozenset({*CHANGES, "access", "faccessat2"} - REFUSED)),
        Kind("EINTR", "error=EINTR", frozenset(INTERRUPTED)),
    ],
}


class Stage(Protocol):
    """A fresh tree, and the command that is tried on it."""

    roots: tuple[Path, ...]
    """What the run works on: its calls count from the first one that names a path below one of these."""

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        """The run that meets the fault; `strace` is the beginning of a command, empty for none."""

    def again(self) -> Ran:
        """A later run without faults, which must end well."""

    def tidy(self) -> Ran:
        """The nightly cleanup, which removes what only a power cut leaves behind."""

    def violations(self) -> Iterator[str]:
        """What does not hold and must at every moment."""

    def unfinished(self) -> Iterator[str]:
        """What the later run should have finished or removed."""

    def close(self) -> None:
        """Remove what lies outside the stage's own folder."""


@dataclass(frozen=True)
class Subject:
    """A command whose calls are swept."""

    name: str
    make_model: Callable[[Options, Path], None]
    """Fill a folder, once; the trials work on copies."""
    stage: Callable[[Options, Path, Path], Stage]
    """In that folder, from that model."""
    inside: bool = False
    """Whether a thread of its own does the work, so that its calls are counted by themselves, too."""
    share: int = 1


@dataclass(frozen=True)
class Trial:
    """One fault: the Nth such call of a thread, as strace counts them."""

    kind: Kind
    call: str
    number: int
    inside: bool
    """In the thread that works, else in any thread or program of the run."""

    def __str__(self) -> str:
        where = "the working thread's" if self.inside else "any thread's"
        return f"{self.kind.name} at {where} {self.call} {self.number}"

    def options(self) -> tuple[str, ...]:
        """strace's."""
        when = f"{self.number}{'+' if self.kind.for_ever else ''}"
        return ("-e", f"trace={self.call}", "-e", f"inject={self.call}:{self.kind.inject}:when={when}")


Calls = dict[tuple[bool, str], dict[int, int]]
"""The numbers of each system call to try, by whether it is counted inside the thread that works; each with
the calls that its trial stands for."""


def sweeps_of(subject: Subject, *names: str) -> tuple[Sweep, ...]:
    """The sweeps `kill-NAME` and `errors-NAME` of a command, or only the named ones."""
    return tuple(
        Sweep(
            f"{name}-{subject.name}",
            lambda options, name=name: _sweep(subject, name, options),
            share,
            prepare=partial(_prepare, subject),
        )
        for name, share in (("kill", subject.share), ("errors", subject.share))
        if not names or name in names
    )


def _prepare(subject: Subject, options: Options, where: Path) -> None:
    """The model, and the first trial's copy of it."""
    model = where / "model"
    model.mkdir()
    subject.make_model(options, model)
    subject.stage(options, where, model).close()


def _sweep(subject: Subject, name: str, options: Options) -> Iterator[Tally]:
    if why := programs.why_not("strace"):
        raise Unable(why)
    dice = random.Random(options.seed)
    with options.folder(f"{name}-{subject.name}") as where:
        model = where / "model"
        model.mkdir()
        subject.make_model(options, model)
        calls: Calls = {}
        for inside in (False, True) if subject.inside else (False,):
            found = count(subject, options, where, model, inside=inside)
            for call, numbers in worth_trying(name, found, every_call=options.every_call).items():
                calls[inside, call] = numbers
        # shuffled, so that not the last kind alone makes up every small sample
        kinds = dice.sample(KINDS[name], k=len(KINDS[name]))
        trials: list[Trial] = []
        for at, kind in enumerate(kinds):
            part = None if options.sample is None else share_of(options.sample, len(kinds), at)
            trials += trials_of(kind, calls, dice, part)
        # A sweep that is stopped has tried an even part of every kind.
        dice.shuffle(trials)
        missed: list[Trial] = []

        def made(trial: Trial) -> list[str]:
            shown = attempt(subject, trial, options, where, model)
            missed.extend([] if shown.met else [trial])
            return shown.violations

        def note(done: Sequence[Trial]) -> str:
            stands_for = sum(calls[trial.inside, trial.call][trial.number] for trial in done)
            none = sum(trial in missed for trial in done)
            told = [f"for {stands_for} calls"] if stands_for > len(done) else []
            return ", ".join([*told, *([f"{none} met no fault"] if none else [])])

        def line(trial: Trial) -> str:
            return f"{name} {subject.name}, {trial.kind.name}"

        yield from tallies(trials, made, options, line, note)


def share_of(total: int, parts: int, at: int) -> int:
    """One of nearly equal whole parts."""
    return total * (at + 1) // parts - total * at // parts


@dataclass(frozen=True)
class Seen:
    """A call of a run without faults, the first of any thread with its number."""

    call: str
    number: int
    thread: str
    epoch: int
    """How many calls had changed something before."""
    real: bool
    """Whether it concerns a file: no disk fails at a pipe, a socket or /proc."""


def count(subject: Subject, options: Options, where: Path, model: Path, *, inside: bool) -> list[Seen]:
    """The calls at which a fault meets a run that has begun to work on the tree, in their order."""
    folder = where / ("dry-inside" if inside else "dry")
    folder.mkdir()
    stage, log = subject.stage(options, folder, model), folder / "calls"
    wanted = [*CHANGES, *LOOKS, *OTHERS]
    traced = ",".join(f"?{name}" for name in wanted)
    try:
        ran = stage.run(("strace", "-qq", "-y", "-o", str(log), "-e", f"trace={traced}"), inside=inside)
        problems = [*ran.problems(), *stage.violations(), *stage.unfinished()]
        if ran.code or problems:
            details = f"{ran.said}{'; '.join(problems)}"
            raise SystemExit(f"{subject.name}: a run without faults fails (exit {ran.code}): {details}")
        return seen(log.read_text(errors="replace"), stage.roots, set(wanted), inside=inside)
    finally:
        stage.close()


def seen(log: str, roots: Sequence[Path], wanted: set[str], *, inside: bool) -> list[Seen]:
    """The calls in strace's log: for each system call, and each count of it, the thread that reached that
    count first.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    at_work: set[str] = set()
    found: dict[tuple[str, int], Seen] = {}
    epoch = 0
    for line in log.splitlines():
        started = re.match(r"(\d*)\s*([a-z]\w*)\(", line)
        if not started:
            continue
        thread, call = started.groups()
        counts[thread][call] += 1
        if call == "execve" and thread not in at_work and not inside:
            continue
        if is_of_code(line):
            continue
        if any(f"{root}/" in line or f"<{root}" in line for root in roots):
            at_work.add(thread)
        if (inside or thread in at_work) and call in wanted:
            number = counts[thread][call]
            found.setdefault((call, number), Seen(call, number, thread, epoch, concerns_files(line)))
        epoch += is_change(call, line) or (inside and may_wait(call, line))
    return list(found.values())


def concerns_files(line: str) -> bool:
    """Whether a call may meet a disk that fails."""
    return not re.search(
        r'\(\d+<(pipe|socket|anon_inode|/dev/(?!shm)|/proc|/sys)|"/(dev/(?!shm)|proc|sys)/', line
    )


def is_change(call: str, line: str) -> bool:
    """Whether a kill before this call leaves something else behind than one after it."""
    if call == "openat":
        return "O_CREAT" in line or "O_TRUNC" in line or "O_TMPFILE" in line
    if call in ("write", "writev"):
        return concerns_files(line)
    return call in CHANGES or call in ("clone", "clone3", "vfork", "execve")


def may_wait(call: str, line: str) -> bool:
    """Whether another program, which is not traced, may have changed something meanwhile."""
    return call in ("wait4", "waitid") or not concerns_files(line)


def worth_trying(name: str, found: Sequence[Seen], *, every_call: bool) -> dict[str, dict[int, int]]:
    """The numbers to try of each system call, each with how many calls that trial stands for.

    A kill at any of the calls between two changes finds the disk alike. One of each thread is enough: its
    last one, which is the change itself where this thread makes it.
    """
    numbers: dict[str, dict[int, int]] = defaultdict(dict)
    if name == "errors":
        for each in found:
            if each.real or every_call:
                numbers[each.call][each.number] = 1
        return dict(numbers)
    alike: dict[object, list[Seen]] = defaultdict(list)
    for each in found:
        alike[each if every_call else (each.thread, each.epoch)].append(each)
    for group in alike.values():
        numbers[group[-1].call][group[-1].number] = len(group)
    return dict(numbers)


def trials_of(kind: Kind, calls: Calls, dice: random.Random, sample: int | None) -> list[Trial]:
    """Every possible trial, or a sample that takes each system call in turn, so that rare ones come up."""
    open_ = {key: list(calls[key]) for key in sorted(calls) if key[1] in kind.calls}
    for numbers in open_.values():
        dice.shuffle(numbers)
    if sample is None:
        return [Trial(kind, call, number, inside) for (inside, call), ns in open_.items() for number in ns]
    alone = not any(inside for inside, _ in open_)
    # Most of a sample goes to calls that change something in the thread that works: there is most to lose.
    order = [key for key in open_ for _ in range(1 + 2 * ((key[0] or alone) and key[1] in CHANGES))]
    dice.shuffle(order)
    chosen: list[Trial] = []
    while len(chosen) < sample and any(open_.values()):
        for inside, call in order:
            if open_[inside, call] and len(chosen) < sample:
                chosen.append(Trial(kind, call, open_[inside, call].pop(), inside))
    return chosen


@dataclass(frozen=True)
class Attempt:
    """What a trial showed."""

    met: bool
    """Whether the fault happened: threads don't make the same calls in every run."""
    violations: list[str]


def attempt(subject: Subject, trial: Trial, options: Options, where: Path, model: Path) -> Attempt:
    """Run into the fault, check, run again without it, check again."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=where))
    stage, log = subject.stage(options, folder, model), folder / "calls"
    ran = stage.run(("strace", "-qq", "-y", "-o", str(log), *trial.options()), inside=trial.inside)
    met = has_met(log, trial) and not spares_the_disks(log)
    found = [f"after the fault: {problem}" for problem in stage.violations()]
    found += ran.problems() if met else ()
    again = stage.again()
    if again.code != 0:
        found.append(f"the second run ends with {again.code}: {again.tail}")
    left = () if breaks_a_pipe(log) else stage.unfinished()
    found += [f"after the second run: {problem}" for problem in (*stage.violations(), *left)]
    if found and options.keep:
        kept = Path(tempfile.mkdtemp(prefix="camarchiver-violation-"))
        shutil.copytree(folder, kept, dirs_exist_ok=True, symlinks=True)
        found.append(f"exit {ran.code}, kept in {kept}: {ran.tail}")
    stage.close()
    shutil.rmtree(folder, ignore_errors=True)
    return Attempt(met, found)


def has_met(log: Path, trial: Trial) -> bool:
    """Whether strace made the fault: some thread reached that call. It may write a moment after the run."""
    for _ in range(20):
        text = log.read_text(errors="replace") if log.exists() else ""
        calls = re.findall(rf"^(\d*) *{trial.call}\(", text, re.MULTILINE)
        if calls and max(Counter(calls).values()) >= trial.number:
            return True
        time.sleep(0.01)
    return False


def spares_the_disks(log: Path) -> bool:
    """Whether the fault hit no file of the trees, but a pipe, a socket, or a file of the program's own code.

    This happens because a threaded run makes its calls in another order each time.
    """
    failed = failed_calls(log)
    return any(map(is_of_code, failed)) or (bool(failed) and not any(map(concerns_files, failed)))


def breaks_a_pipe(log: Path) -> bool:
    """Whether the fault hit a pipe, whose calls never fail in reality.

    A child process may then survive unnoticed and leave files behind, which is no violation. Lost footage
    still is one.
    """
    return not all(map(concerns_files, failed_calls(log)))


def failed_calls(log: Path) -> list[str]:
    """The lines of the calls that strace made fail, joined where another thread's lines interrupt them."""
    begun: dict[str, str] = {}
    failed = []
    for line in log.read_text(errors="replace").splitlines() if log.exists() else ():
        thread = line.partition(" ")[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line
        elif "(INJECTED)" in line:
            failed.append(begun[thread] + line if " resumed>" in line and thread in begun else line)
    return failed


def is_of_code(line: str) -> bool:
    """Whether a call names a file that the interpreter loads."""
    return any(module in line for module in MODULES)
