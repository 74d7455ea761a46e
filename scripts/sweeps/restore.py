"""Faults at every call of `restore`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, camera
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import LATELY, Program, Ran
from sweeps.cleanup import must
from tests.dates import clip_of

CLIPS = (clip_of("front", LATELY), clip_of("garden", LATELY))
PICTURE = f"{CLIPS[0]}.jpg"
WANTED = (*(f"{clip}.mp4" for clip in CLIPS), PICTURE)


class Tree:
    """Two archived clips, one with its picture, which are to come back from the trash."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        self.root = folder / "camera"
        self.archive, self.trash = self.root / "archived", self.root / ".deleted"
        shutil.copytree(model, self.root, symlinks=True)
        before = camera.digests(model)
        self.originals = {name: before[self._was(name)] for name in WANTED}
        self.archives = {name: before[f"archived/{name}"] for name in WANTED if name != PICTURE}
        self.program = Program(options.package, folder, warm=True)
        self.roots: tuple[Path, ...] = (self.root,)

    def _was(self, name: str) -> str:
        return f"archived/{name}" if name == PICTURE else f".deleted/input/{name}"

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        return self.program.run(*self._words(), before=(*strace, "-f") if strace else ())

    def again(self) -> Ran:
        for root in self.roots:
            camera.let_a_day_pass(root)
        ran = self.program.run(*self._words())
        # What a restore can't know to be its own is the nightly cleanup's; it fails where all is back.
        return self.tidy() if ran.code in (ExitCode.DONE, ExitCode.FAILED) else ran

    def tidy(self) -> Ran:
        return self.program.run("cleanup", "-y", *self._trees(), "--age", "3000")

    def _trees(self) -> tuple[str, ...]:
        return (str(self.root), "-o", str(self.archive), "--trash-root", str(self.trash))

    def _words(self) -> tuple[str, ...]:
        return ("restore", "-y", "--since", f"{LATELY:%Y-%m-%d}", "-C", *self._trees())

    def violations(self) -> Iterator[str]:
        for name, original in self.originals.items():
            here = self.root / name
            there = self._place_of(name)
            if here.exists() and not camera.is_whole(here, original):
                yield f"only a part of the file is at {name}"
            elif not here.exists() and not camera.is_whole(there, original):
                yield f"{name} is lost: neither at home nor where it was"
        for name, original in self.archives.items():
            if not camera.is_whole(self.archive / name, original):
                yield f"the archive of {name} is damaged or gone"
        known = {*self.originals.values(), *self.archives.values()}
        for root in (self.root, self.trash, self.archive):
            for path in camera.final(root):
                if path.suffix in (".mp4", ".jpg") and camera.digest(path) not in known:
                    yield f"a final name holds a part: {path}"

    def _place_of(self, name: str) -> Path:
        """Where it is before it is restored."""
        return (self.archive if name == PICTURE else self.trash / "input") / name

    def unfinished(self) -> Iterator[str]:
        for name in WANTED:
            if not (self.root / name).exists():
                yield f"{name} did not come back"
            elif self._place_of(name).exists():
                yield f"{name} came back, and still is where it was"
        restored = (self.archive / ".camarchiver/restored.json").read_text()
        for name in self.archives:
            if name not in restored:
                yield f"the next night would archive {name} again"
        told = {event["source"] for event in camera.events(self.archive) if event["event"] == "restored"}
        for name in self.archives:
            if name not in told:
                yield f"the journal does not say that {name} came back"
        for root in self.roots:
            yield from camera.litter(root)

    def close(self) -> None:
        pass


class TwoDisks(Tree):
    """The same with archive and trash on another filesystem."""

    def __init__(self, options: Options, folder: Path, model: Path, other: Path | None = None) -> None:
        super().__init__(options, folder, model)
        self.other = other or camera.other_disk(folder)
        shutil.move(self.archive, self.other / "archived")
        shutil.move(self.trash, self.other / "deleted")
        self.archive, self.trash = self.other / "archived", self.other / "deleted"
        self.roots = (self.root, self.other)

    def close(self) -> None:
        shutil.rmtree(self.other, ignore_errors=True)


def make_model(options: Options, folder: Path) -> None:
    """Archive for real, with everything at its standard."""
    for clip, source in zip(CLIPS, ("testsrc2", "mandelbrot"), strict=True):
        camera.make_clip(folder / f"{clip}.mp4", source=source, at=LATELY.timestamp())
    camera.make_picture(folder / PICTURE, at=LATELY.timestamp())
    program = Program(options.package, folder.parent)
    must(program.run("archive", folder, "--codec", "h264", "--ffmpeg", camera.FFMPEG))
    (folder / "archiver.log").unlink(missing_ok=True)


SWEEPS = (
    *sweeps_of(Subject("restore", make_model, Tree, share=2)),
    *sweeps_of(Subject("restore-two-disks", make_model, TwoDisks)),
)
