"""Faults at every call of `archive`, ours and ffmpeg's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeps import Options, camera
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import LATELY, Program, Ran
from tests.dates import clip_of

INSIDE = """
import ctypes, os, subprocess, threading, time
from camarchiver.archive.clip_archiver import ClipArchiver

PR_SET_PTRACER = 0x59616D61
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
perform, first = ClipArchiver.perform, threading.Lock()

def traced(self, step, threads):
    if first.acquire(blocking=False):
        thread, nothing = threading.get_native_id(), subprocess.DEVNULL
        command = [*{strace}, "-p", str(thread)]
        subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)
        while "TracerPid:\\t0" in open(f"/proc/self/task/{{thread}}/status").read():
            time.sleep(0.001)
    return perform(self, step, threads)

ClipArchiver.perform = traced
"""
"""Lets strace trace nothing but the thread that archives, from its first clip on.

strace counts the calls of each thread by themselves, and the main thread comes to any number first: a
run that is traced as a whole is never killed at the early calls of the thread that does the work.
"""

TRUSTING = """
from camarchiver.media import encoder_probe as encoders
from camarchiver.media.encoders import FallbackLevel

encoders.Machine._try = lambda self, *which: encoders.Probe(*which, (FallbackLevel.SOFTWARE,))
"""
"""Skips the encoder's trial, most of a short run's work, in sweeps whose faults do not hit it."""


class Tree:
    """A camera tree of two clips, one with its picture; what must become of it is known beforehand."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        self.root = folder / "camera"
        self.archive, self.trash = self.root / "archived", self.root / ".deleted"
        shutil.copytree(model, self.root)
        self.originals = camera.digests(model)
        self.program = Program(options.package, folder, warm=True)
        self.roots: tuple[Path, ...] = (self.root,)

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        # One job: the thread that is traced inside then archives both clips.
        words = self._words("1" if inside else "2")
        if inside:
            code = TRUSTING + INSIDE.format(strace=list(strace)) + camera.START
            return self.program.run(*words, code=code)
        return self.program.run(*words, before=(*strace, "-f") if strace else ())

    def again(self) -> Ran:
        camera.let_a_day_pass(self.root)
        return self.program.run(*self._words("2"), "--retry-failed", code=TRUSTING + camera.START)

    def tidy(self) -> Ran:
        trees = (self.root, "-o", self.archive, "--trash-root", self.trash)
        return self.program.run("cleanup", "-y", *trees, "--age", "3000")

    def _words(self, jobs: str) -> tuple[str, ...]:
        words = ("archive", str(self.root), "--codec", "h264", "--jobs", jobs, "--ffmpeg", camera.FFMPEG)
        return (*words, "-o", str(self.archive), "--trash-root", str(self.trash))

    def violations(self) -> Iterator[str]:
        for relative, original in self.originals.items():
            source, trashed = self.root / relative, self.trash / "input" / relative
            archived = self.archive / relative
            if camera.is_whole(source, original):
                continue
            if relative.endswith(".jpg"):
                if not camera.is_whole(archived, original):
                    yield f"the picture {relative} is lost"
            elif source.exists():
                yield f"{relative} is no longer what the camera wrote"
            elif not camera.is_whole(trashed, original):
                yield f"{relative} is lost: neither in the source nor in the trash"
            elif not camera.is_archive(archived):
                yield f"{relative} left the source without a complete archive"
        for path in camera.final(self.archive):
            if path.suffix == ".mp4" and not camera.is_archive(path):
                yield f"a final name holds a part: {path}"
        known = set(self.originals.values())
        for path in camera.final(self.trash / "input"):
            if camera.digest(path) not in known:
                yield f"a final name holds a part: {path}"

    def unfinished(self) -> Iterator[str]:
        events = list(camera.events(self.archive))
        for relative in self.originals:
            if (self.root / relative).exists():
                yield f"{relative} is still in the source"
            elif relative.endswith(".mp4"):
                told = [event for event in events if event["source"] == relative]
                made = [e for e in told if e["event"] in ("archived", "adopted")]
                if not any(camera.is_archive(self.archive / e["archive"]) for e in made):
                    yield f"the journal does not say where {relative} was archived"
                places = [
                    e["trash"] for e in told if e["event"] == "trashed" and e.get("reason") != "replaced"
                ]
                if not any((self.trash / place).exists() for place in places):
                    yield f"the journal does not say where the source {relative} went"
        wanted = sum(relative.endswith(".mp4") for relative in self.originals)
        clips = [p for p in camera.final(self.archive) if p.suffix == ".mp4"]
        if len(clips) > wanted:
            yield f"archived more than once: {', '.join(p.name for p in clips)}"
        copies = [p for p in camera.final(self.trash / "input") if p.suffix == ".mp4"]
        if len(copies) > wanted:
            yield f"more than one copy in the trash: {', '.join(p.name for p in copies)}"
        for root in self.roots:
            yield from camera.litter(root)

    def close(self) -> None:
        pass


class TwoDisks(Tree):
    """The same, with archive and trash on another filesystem than the source."""

    def __init__(self, options: Options, folder: Path, model: Path, other: Path | None = None) -> None:
        super().__init__(options, folder, model)
        self.other = other or camera.other_disk(folder)
        self.archive, self.trash = self.other / "archived", self.other / "deleted"
        self.roots = (self.root, self.other)

    def again(self) -> Ran:
        camera.let_a_day_pass(self.other)
        return super().again()

    def close(self) -> None:
        shutil.rmtree(self.other, ignore_errors=True)


def make_model(_options: Options, folder: Path) -> None:
    """Two clips and a picture of one second."""
    for name, source in (("front", "testsrc2"), ("garden", "mandelbrot")):
        camera.make_clip(folder / f"{clip_of(name, LATELY)}.mp4", source=source)
    camera.make_picture(folder / f"{clip_of('front', LATELY)}.jpg")


SWEEPS = (
    *sweeps_of(Subject("archive", make_model, Tree, inside=True, share=6)),
    *sweeps_of(Subject("archive-two-disks", make_model, TwoDisks, inside=True, share=2)),
)
