"""Cuts the power: what a disk holds after a kill, and after the kernel wrote some of the rest.

A run works on a filesystem in an image file and is killed at one of its calls. The image is copied while
it is mounted and dirty: the copy holds what the filesystem had sent to its disk by then. A second copy is
made after an unrelated process has fsynced a file of its own, which makes renames durable and not the
bytes of others. Each copy is mounted, which replays its journal, checked, and a later run must finish.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sweeps import Options, Sweep, Tally, Unable, archive, calls, cleanup, restore, tallies
from tests import programs

FILESYSTEMS = {"ext4": 64, "xfs": 320, "btrfs": 128}
"""How many MiB the smallest useful one takes."""


@dataclass(frozen=True)
class Layout:
    """A command, and whether archive and trash lie on a disk of their own."""

    name: str
    disks: int
    subject: calls.Subject
    inside: bool


LAYOUTS = tuple(
    Layout(f"{name}, {disks}", number, calls.Subject(name, make_model, stage), inside=name == "archive")
    for name, make_model, stages in (
        ("archive", archive.make_model, (archive.Tree, archive.TwoDisks)),
        ("cleanup", cleanup.make_model, (cleanup.Tree, cleanup.TwoDisks)),
        ("restore", restore.make_model, (restore.Tree, restore.TwoDisks)),
    )
    for number, disks, stage in zip((1, 2), ("one disk", "two disks"), stages, strict=True)
)


@dataclass(frozen=True)
class Cut:
    """One power cut."""

    filesystem: str
    layout: Layout
    call: str = ""
    number: int = 0
    """The call at which the run dies; none for the end of the run."""

    def __str__(self) -> str:
        at = f"at {self.call} {self.number}" if self.call else "after the run"
        return f"{self.layout.name}, {self.filesystem}, {at}"


class Disk:
    """A filesystem in an image file."""

    def __init__(self, folder: Path, filesystem: str) -> None:
        self.folder, self.filesystem = folder, filesystem
        self.mount_point = folder / "mounted"
        self.mount_point.mkdir(parents=True)

    def format(self, image: str) -> None:
        with (self.folder / image).open("wb") as file:
            file.truncate(FILESYSTEMS[self.filesystem] << 20)
        _do(programs.path_of(f"mkfs.{self.filesystem}"), "-q", self.folder / image)

    def mount(self, image: str) -> None:
        _do("mount", "-o", "loop", self.folder / image, self.mount_point)

    def umount(self) -> None:
        for _ in range(100):
            try:
                return _do("umount", self.mount_point)
            except Unable:
                # What the killed run had started may take a moment to die.
                time.sleep(0.1)
        return _do("umount", self.mount_point)

    def copy(self, image: str, to: str) -> None:
        _do("cp", "--sparse=always", self.folder / image, self.folder / to)

    def poke(self) -> None:
        """What any other program may do at any time."""
        descriptor = os.open(self.mount_point / "unrelated", os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(descriptor, os.urandom(8), 0)
        os.fsync(descriptor)
        os.close(descriptor)


class Bench:
    """The disks of one layout, with the tree that the runs begin with."""

    def __init__(self, options: Options, folder: Path, cut: Cut, model: Path) -> None:
        self._disks = [Disk(folder / f"disk{number}", cut.filesystem) for number in range(cut.layout.disks)]
        for disk in self._disks:
            disk.format("golden")
        with self._mounted("golden"):
            places = [disk.mount_point / "w" for disk in self._disks]
            for place in places:
                place.mkdir()
            self.stage = cut.layout.subject.stage(options, places[0], model, *places[1:])  # type: ignore[call-arg]
            os.sync()

    def _mounted(self, image: str) -> _Mounted:
        return _Mounted(self._disks, image)

    def cut(self, cut: Cut) -> list[str]:
        """Run until the cut, then judge what the disks hold at once, and after an unrelated fsync."""
        for disk in self._disks:
            disk.copy("golden", "live")
        with self._mounted("live"):
            if cut.call:
                kill = calls.Trial(calls.KINDS["kill"][0], cut.call, cut.number, cut.layout.inside)
                strace: tuple[str, ...] = ("strace", "-qq", "-o", "/dev/null", *kill.options())
            else:
                strace = ()
            self.stage.run(strace, inside=bool(strace) and cut.layout.inside)
            self._snap("at-once")
            # Only the source's disk: what its removal needs on the other one must be durable already.
            self._disks[0].poke()
            self._snap("poked")
        return [f"{image}: {problem}" for image in ("at-once", "poked") for problem in self._judge(image)]

    def _snap(self, name: str) -> None:
        for disk in self._disks:
            disk.copy("live", name)

    def _judge(self, image: str) -> Iterator[str]:
        with self._mounted(image):
            yield from self.stage.violations()
            again = self.stage.again()
            if again.code:
                yield f"the run after it ends with {again.code}: {again.tail}"
            if (tidied := self.stage.tidy()).code:
                yield f"the cleanup after it ends with {tidied.code}: {tidied.tail}"
            yield from self.stage.violations()
            yield from self.stage.unfinished()


class _Mounted:
    """All disks of a bench, mounted for a while."""

    def __init__(self, disks: Sequence[Disk], image: str) -> None:
        self._disks, self._image = disks, image

    def __enter__(self) -> None:
        for disk in self._disks:
            disk.mount(self._image)

    def __exit__(self, *_: object) -> None:
        for disk in self._disks:
            disk.umount()


def _do(*command: str | Path) -> None:
    done = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout).strip()}")


def missing() -> str:
    """Why no power can be cut here; empty where it can."""
    if os.geteuid():
        return "only root may mount crash images"
    return programs.why_not("strace")


def cuts(
    options: Options, where: Path, layouts: Sequence[Layout], filesystems: Sequence[str]
) -> Iterator[tuple[Layout, Path, list[Cut]]]:
    """For each layout its model and every cut there is."""
    for layout in layouts:
        model = where / f"model-{layout.name.replace(' ', '-')}"
        model.mkdir()
        layout.subject.make_model(options, model)
        with options.folder("dry") as dry:
            found = calls.count(layout.subject, options, dry, model, inside=layout.inside)
        worth = calls.worth_trying("kill", found, every_call=options.every_call)
        at = [("", 0), *((call, number) for call, numbers in worth.items() for number in numbers)]
        every = [Cut(filesystem, layout, call, number) for filesystem in filesystems for call, number in at]
        yield layout, model, every


def attempt(options: Options, where: Path, model: Path) -> Callable[[Cut], list[str]]:
    """What makes one cut on fresh images."""

    def make(cut: Cut) -> list[str]:
        # An image may be torn when the kernel wrote while it was copied, which no disk would be: once more.
        for chance in (2, 1, 0):
            folder = Path(tempfile.mkdtemp(prefix="cut-", dir=where))
            try:
                return Bench(options, folder, cut, model).cut(cut)
            except Unable:
                if not chance:
                    raise
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        raise AssertionError("the last chance returns or raises")

    return make


def sweep(options: Options) -> Iterator[Tally]:
    """Every layout on every filesystem that can be made here."""
    if why := missing():
        raise Unable(why)
    able = [name for name in FILESYSTEMS if programs.is_here(f"mkfs.{name}")]
    for name in FILESYSTEMS:
        if why := programs.why_not(f"mkfs.{name}"):
            yield Tally(f"power, {name}", 0, 0, 0, note=f"skipped: {why}", skipped=(why,))
    dice = random.Random(options.seed)
    with in_memory() as where:
        chosen: list[Cut] = []
        models: dict[str, Path] = {}
        for at, (layout, model, every) in enumerate(cuts(options, where, LAYOUTS, able)):
            models[layout.name] = model
            # The end of the run first: there everything is in memory that was not made durable.
            dice.shuffle(every)
            every.sort(key=lambda cut: bool(cut.call))
            wanted = options.sample
            chosen += every[: None if wanted is None else calls.share_of(wanted, len(LAYOUTS), at)]
        dice.shuffle(chosen)
        yield from tallies(
            chosen,
            lambda cut: attempt(options, where, models[cut.layout.name])(cut),
            options,
            lambda cut: f"power, {cut.layout.name}, {cut.filesystem}",
            lambda done: f"{2 * len(done)} crash images",
        )


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder for images, in memory where that is possible: nothing else is as quick to fsync."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(
        prefix="camarchiver-power-", dir=place, ignore_cleanup_errors=True
    ) as made:
        yield Path(made)


SWEEPS = (Sweep("power", sweep, share=4),)
