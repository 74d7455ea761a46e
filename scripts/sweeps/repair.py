"""Faults at every call of `verify --repair`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeps import Options, camera
from sweeps.archive import TRUSTING
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import LATELY, Program, Ran
from sweeps.cleanup import must
from tests.dates import clip_of

ROTTEN = f"{clip_of('front', LATELY)}.mp4"
"""A byte of its archive has changed."""
MISSING = f"{clip_of('garden', LATELY)}.mp4"
"""Its archive is gone."""
CLIPS = (ROTTEN, MISSING)


class Tree:
    """Two clips in the trash, whose archives are damaged and known to be."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        self.root = folder / "camera"
        self.archive, self.trash = self.root / "archived", self.root / ".deleted"
        shutil.copytree(model, self.root, symlinks=True)
        before = camera.digests(model)
        self.sources = {name: before[f".deleted/input/{name}"] for name in CLIPS}
        self.damaged = before[f"archived/{ROTTEN}"]
        self.program = Program(options.package, folder, {"CAMARCHIVER_CODEC": "h264"}, warm=True)
        self.roots: tuple[Path, ...] = (self.root,)

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        return self.program.run(*self._words(), before=(*strace, "-f") if strace else ())

    def again(self) -> Ran:
        camera.let_a_day_pass(self.root)
        ran = self.program.run(*self._words(), code=TRUSTING + camera.START)
        return ran if ran.code else self.tidy()

    def tidy(self) -> Ran:
        return self.program.run("cleanup", "-y", *self._trees(), "--age", "3000")

    def _trees(self) -> tuple[str, ...]:
        return (str(self.root), "-o", str(self.archive), "--trash-root", str(self.trash))

    def _words(self) -> tuple[str, ...]:
        return ("verify", *self._trees(), "--repair", "-y", "--ffmpeg", camera.FFMPEG)

    def violations(self) -> Iterator[str]:
        for name, original in self.sources.items():
            if not camera.is_whole(self.trash / "input" / name, original):
                yield f"the copy of {name} in the trash is damaged or gone"
        for root in (self.archive, self.trash / "output"):
            for path in camera.final(root):
                if path.suffix == ".mp4" and not self._is_known(path):
                    yield f"a final name holds a part: {path}"

    def _is_known(self, path: Path) -> bool:
        return camera.is_whole(path, self.damaged) or camera.is_archive(path)

    def unfinished(self) -> Iterator[str]:
        for name in CLIPS:
            path = self.archive / name
            if camera.is_whole(path, self.damaged) or not camera.is_archive(path):
                yield f"the archive of {name} was not made anew"
        if not camera.is_whole(self.trash / "output" / ROTTEN, self.damaged):
            yield "the damaged archive is not in the trash"
        if '"damaged": {}' not in (self.archive / ".camarchiver/findings.json").read_text():
            yield "an archive still counts as damaged"
        ran = self.program.run("verify", *self._trees())
        if ran.code:
            yield f"verify still finds something: {ran.tail}"
        for root in self.roots:
            yield from camera.litter(root)

    def close(self) -> None:
        pass


def make_model(options: Options, folder: Path) -> None:
    """Archive for real, then damage the archives."""
    for name, source in zip(CLIPS, ("testsrc2", "mandelbrot"), strict=True):
        camera.make_clip(folder / name, source=source, at=LATELY.timestamp())
    program = Program(options.package, folder.parent)
    must(program.run("archive", folder, "--codec", "h264", "--ffmpeg", camera.FFMPEG))
    rotten = folder / "archived" / ROTTEN
    content = bytearray(rotten.read_bytes())
    content[-1] ^= 0xFF
    rotten.write_bytes(content)
    (folder / "archived" / MISSING).unlink()
    program.run("verify", folder)
    (folder / "archiver.log").unlink(missing_ok=True)


SWEEPS = sweeps_of(Subject("repair", make_model, Tree))
