"""Plants known bugs into a copy of the package: the sweeps are worth something only if they catch them."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps import ROOT, Options, Sweep, Tally, Unable, archive, calls, offsite, power, violation
from tests import programs
from tests.offsite import servers


@dataclass(frozen=True)
class Mutant:
    """A bug, by the text of the package that it replaces, and what must notice it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    """Module, text that occurs once, and its replacement."""
    catch: Callable[[Options, Path], list[str]]
    needs_root: bool = False

    def plant(self, folder: Path) -> Path:
        """The folder of a copy of the package with this bug."""
        copy = folder / "mutant"
        shutil.copytree(
            ROOT / "camarchiver", copy / "camarchiver", ignore=shutil.ignore_patterns("__pycache__")
        )
        for module, text, planted in self.edits:
            path = copy / "camarchiver" / f"{module}.py"
            whole = path.read_text()
            if whole.count(text) != 1:
                raise SystemExit(f"mutant {self.name}: the text that it replaces is no longer in {module}.py")
            path.write_text(whole.replace(text, planted))
        return copy


def by_calls(subject: calls.Subject, kind: calls.Kind, call: str) -> Callable[[Options, Path], list[str]]:
    """Faults at each of the working thread's calls of one sort, until one shows a violation."""

    def catch(options: Options, where: Path) -> list[str]:
        if why := programs.why_not("strace"):
            raise Unable(why)
        model = where / "model"
        model.mkdir()
        subject.make_model(options, model)
        for each in calls.count(subject, options, where, model, inside=True):
            if each.call != call:
                continue
            trial = calls.Trial(kind, call, each.number, inside=True)
            if found := calls.attempt(subject, trial, options, where, model).violations:
                return found
        return []

    return catch


def by_power(layout: power.Layout, call: str = "") -> Callable[[Options, Path], list[str]]:
    """Power cuts on ext4 at the end of a run, or at each such call until one shows a violation."""

    def catch(options: Options, where: Path) -> list[str]:
        with power.in_memory() as memory:
            for _, model, every in power.cuts(options, where, [layout], ["ext4"]):
                for cut in (cut for cut in every if cut.call == call):
                    if found := power.attempt(options, memory, model)(cut):
                        return found
        return []

    return catch


def by_offsite(*trials: offsite.Trial) -> Callable[[Options, Path], list[str]]:
    """Faults of off-site copies, until one shows a violation."""

    def catch(options: Options, where: Path) -> list[str]:
        if why := next((trial.kind.why_not for trial in trials if trial.kind.why_not), ""):
            raise Unable(why)
        model = offsite.model_in(options, where)
        attempts = (offsite.attempt(options, where, model, set(), None, trial) for trial in trials)
        return next((found for found in attempts if found), [])

    return catch


KILL = calls.KINDS["kill"][0]
ENOSPC = next(kind for kind in calls.KINDS["errors"] if kind.name == "ENOSPC once")
ONE = calls.Subject("archive", archive.make_model, archive.Tree)
TWO = calls.Subject("archive", archive.make_model, archive.TwoDisks)
ONE_DISK, TWO_DISKS = power.LAYOUTS[0], power.LAYOUTS[1]

MUTANTS = (
    Mutant(
        "the source goes before the archive is published",
        (
            (
                "archive/publishing",
                "        place = self._place(work, step, original, part, target)\n",
                "        planned = target.relative_to(self._context.trees.archive).as_posix()\n"
                '        early = original.archived_as(planned, size, "")\n'
                "        self._context.remover.remove(clip, early, self._context.disposal, step.reason)\n"
                "        place = self._place(work, step, original, part, target)\n",
            ),
        ),
        by_calls(ONE, KILL, "linkat"),
    ),
    Mutant(
        "an archive is not fsynced",
        (
            (
                "storage/atomic",
                '''a second try could lie."""
    descriptor''',
                '''a second try could lie."""
    return
    descriptor''',
            ),
        ),
        by_power(ONE_DISK),
        needs_root=True,
    ),
    Mutant(
        "an error of a write is ignored",
        (
            (
                "storage/copying",
                "            target.write(block)\n",
                "            try:\n"
                "                os.write(target.fileno(), block)\n"
                "            except OSError:\n"
                "                pass\n",
            ),
            ("storage/copying", "    if arrived != sent.hexdigest():\n", "    if not arrived:\n"),
        ),
        by_calls(TWO, ENOSPC, "write"),
    ),
    Mutant(
        "no folder is fsynced, on two disks",
        (
            (
                "storage/atomic",
                '''that can't sync folders."""
''',
                '''that can't sync folders."""
    return
''',
            ),
        ),
        by_power(TWO_DISKS, "fsync"),
        needs_root=True,
    ),
    Mutant(
        "an off-site copy that was read back is not compared",
        (
            (
                "offsite/verification",
                "        if proof.hexdigest() == step.digest:\n",
                "        if count == step.size:\n",
            ),
        ),
        by_offsite(
            *(offsite.Trial("sync", "flip", servers.WEBDAV, place) for place in offsite.PLACES),
            offsite.Trial("cleanup", "changed", servers.WEBDAV),
        ),
    ),
    Mutant(
        "an archive leaves for a copy that is not verified once more",
        (
            (
                "cleanup/executor",
                "            self._copies().prove(step)\n",
                "            pass\n",
            ),
        ),
        by_offsite(offsite.Trial("cleanup", "all deleted", servers.SSHD)),
    ),
    Mutant(
        "what comes from the remote is not compared",
        (
            (
                "offsite/fetch",
                "    if copying.file_digest(part.path) != copy.digest:\n",
                "    if not part.path.stat().st_size:\n",
            ),
        ),
        by_offsite(offsite.Trial("restore", "changed", servers.WEBDAV)),
    ),
)


def sweep(options: Options) -> Iterator[Tally]:
    """Each bug must be caught; one that isn't is a violation."""
    began = time.monotonic()
    caught, skipped = 0, {}
    tried = MUTANTS if options.sample is None else MUTANTS[: max(options.sample, 1)]
    for mutant in tried:
        if mutant.needs_root and (why := power.missing()):
            skipped[mutant.name] = why
            continue
        with options.folder("mutant") as where:
            planted = dataclasses.replace(options, where=where, package=mutant.plant(where), keep=False)
            try:
                found = mutant.catch(planted, where)
            except Unable as unable:
                skipped[mutant.name] = unable.why
                continue
        if found:
            caught += 1
        else:
            violation("mutants", [f"not caught: {mutant.name}"])
    seconds, trials = time.monotonic() - began, len(tried) - len(skipped)
    note = "; ".join([f"{caught} caught", *(f"{name}: {why}" for name, why in skipped.items())])
    yield Tally("mutants", trials, trials - caught, seconds, note, skipped=tuple(skipped.values()))


SWEEPS = (Sweep("mutants", sweep, share=4),)
