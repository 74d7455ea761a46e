"""A simulated life: cameras upload, `watch` archives, `cleanup` makes room, an operator restores and holds,
and everything is killed now and then. At the end `why` must account for every clip ever uploaded."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, camera, violation
from sweeps.camera import FRAMES, LATELY, Program
from tests.dates import clip_of

FULL_SECONDS, SAMPLE_SECONDS = 3600.0, 30.0
CAMERAS = ("front", "garden", "yard")
SOURCES = ("testsrc2", "mandelbrot", "smptebars", "rgbtestsrc")
ROOM = 500_000
"""Bytes that the trees may hold: a few clips."""


@dataclass(frozen=True)
class Upload:
    """One clip as its camera meant it."""

    relative: str
    start: datetime
    camera: str
    digest: str


@dataclass
class Simulation:
    """What happens meanwhile; every actor is a thread."""

    options: Options
    root: Path
    dice: random.Random
    until: float
    clips: list[bytes] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    held: dict[str, tuple[datetime, datetime, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    watcher: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def __post_init__(self) -> None:
        self.program = Program(self.options.package, self.root.parent)
        self._lock = threading.Lock()

    def lives(self) -> bool:
        """Whether the cameras still record."""
        return time.monotonic() < self.until and not self.options.stopped.is_set()

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        seconds *= self.dice.uniform(0.3, 1.0)
        self.options.stopped.wait(max(0.0, min(seconds, self.until - time.monotonic())))

    # --- who acts ----------------------------------------------------------------------------------

    def upload(self, name: str) -> None:
        """A camera that writes as FTP does: in pieces, in place or under a name of its own until the end."""
        start = LATELY + timedelta(seconds=CAMERAS.index(name))
        while self.lives():
            start += timedelta(minutes=self.dice.randrange(5, 120))
            data = self.dice.choice(self.clips) + os.urandom(8).hex().encode()
            path = self.root / f"{clip_of(name, start)}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".mp4.part") if name == "yard" else path
            try:
                self._write(part, data, start)
            except FileNotFoundError:
                # Its empty date folder was tidied away before the first byte: the camera tries again.
                continue
            if part != path:
                part.rename(path)
            made = Upload(str(path.relative_to(self.root)), start, name, camera.blake2b(data))
            with self._lock:
                self.uploads.append(made)
            self.rest(5)

    def _write(self, path: Path, data: bytes, start: datetime) -> None:
        with path.open("wb") as stream:
            for place in range(0, len(data), 20_000):
                stream.write(data[place : place + 20_000])
                stream.flush()
                time.sleep(0.02)
            os.utime(stream.fileno(), (start.timestamp(),) * 2)

    def watch(self) -> None:
        """`watch`, killed at random and started again."""
        while self.lives():
            self.watcher = self._start("watch", self.root, "--quiet-for", "1s", *self._encoding())
            self.rest(20)
            if self.lives():
                self._kill(self.watcher)

    def clean(self) -> None:
        """The nightly cleanup, sometimes killed."""
        while self.lives():
            self.rest(6)
            run = self._start(*self.cleanup_words())
            if self.dice.random() < 0.3:
                time.sleep(self.dice.uniform(0.2, 1.5))
                self._kill(run)
            else:
                self._end(run)

    def cleanup_words(self) -> tuple[str | Path, ...]:
        """A cleanup that has to let archives go."""
        words = ("-y", "--max-size", str(ROOM), "--clean-output", "--allow-large", "--archive-age", "3000")
        return ("cleanup", self.root, *words, "--trash-age", "3000")

    def operate(self) -> None:
        """Somebody who brings clips back and holds others."""
        while self.lives():
            self.rest(5)
            if not self.uploads:
                continue
            chosen = self.dice.choice(self.uploads)
            if self.dice.random() < 0.5:
                self._end(self._start("restore", "-C", self.root, self.root / chosen.relative, "-y"))
            else:
                self._hold(chosen)

    def _hold(self, chosen: Upload) -> None:
        since, until = chosen.start - timedelta(hours=1), chosen.start + timedelta(hours=1)
        span = ("--from", f"{since:%Y-%m-%d %H:%M}", "--to", f"{until:%Y-%m-%d %H:%M}")
        ran = self.program.run(
            "hold", "add", "-C", self.root, *span, "--camera", chosen.camera, "--reason", "police"
        )
        if ran.code != 0:
            self.problems.append(f"a hold can't be made: {ran.tail}")
        else:
            there = [each.relative for each in self.uploads if each == chosen and self.copies(each)]
            self.held |= dict.fromkeys(there, (since, until, chosen.camera))

    # --- processes ---------------------------------------------------------------------------------

    def _encoding(self) -> tuple[str, ...]:
        return ("--codec", "h264", "--ffmpeg", camera.FFMPEG, "--timezone", "UTC")

    def _start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        return self.program.start(*words)

    def _end(self, run: subprocess.Popen[bytes]) -> None:
        try:
            code = run.wait(camera.RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.problems.append("a command hangs")
            self._kill(run)
            return
        command = run.args[3]  # type: ignore[index]
        # A restore of what is in the trash no more fails.
        may_fail = (ExitCode.FAILED,) if command == "restore" else ()
        if code not in (ExitCode.DONE, ExitCode.PARTIAL, *may_fail):
            self.problems.append(f"{command} ends with {code}")

    def _kill(self, run: subprocess.Popen[bytes]) -> None:
        self.kills += 1
        run.kill()
        run.wait()

    # --- accounts ----------------------------------------------------------------------------------

    def copies(self, upload: Upload) -> set[str]:
        """Where it is now: in the source or the trash with every byte, in the archive with every frame."""
        found = set()
        stem = self.root / upload.relative
        for tree, folder in (("source", stem.parent), ("trash", self._below(".deleted/input", upload))):
            for path in folder.glob(f"{stem.stem}*.mp4"):
                with contextlib.suppress(FileNotFoundError):
                    if camera.digest(path) == upload.digest:
                        found.add(tree)
        for tree in ("archived", ".deleted/output"):
            for path in self._below(tree, upload).glob(f"{stem.stem}*.mp4"):
                if camera.is_archive(path, FRAMES):
                    found.add("archive" if tree == "archived" else "trash")
        return found

    def _below(self, tree: str, upload: Upload) -> Path:
        return (self.root / tree / upload.relative).parent

    def account(self, upload: Upload) -> list[str]:
        """What does not add up about one clip."""
        ran = self.program.run("why", "-C", self.root, self.root / upload.relative)
        copies = self.copies(upload)
        told = ran.said
        found = list(ran.problems())
        if ran.code != 0:
            found.append(f"why ends with {ran.code}: {ran.tail}")
        if not copies and not any(words in told for words in ("removed for good", "deleted")):
            found.append(f"no copy is left, and why names no removal: {told}")
        if copies == {"archive"} and not any(words in told for words in ("archived as", "taken over")):
            found.append(f"only the archive is left, and why does not say so: {told}")
        if "trash" in copies and "source" not in copies and "trash" not in told:
            found.append(f"it lies in the trash, and why does not say so: {told}")
        if upload.relative in self.held and not copies:
            found.append(f"it was held and is gone: {told}")
        return [f"{upload.relative}: {problem}" for problem in found]

    def come_to_rest(self) -> Iterator[str]:
        """Stop what runs, then one archiving and one cleanup without trouble, and nothing may lie about."""
        if self.watcher is not None and self.watcher.poll() is None:
            self.watcher.terminate()
            if (code := self.watcher.wait(camera.RUN_SECONDS)) not in (143, 0):
                yield f"watch ends with {code} after SIGTERM"
        camera.let_a_day_pass(self.root)
        for words in (("archive", self.root, "--age", "0", *self._encoding()), self.cleanup_words()):
            ran = self.program.run(*words)
            yield from ran.problems()
            # Held and restored clips may fill all the room there is; it then says so.
            if ran.code != 0 and "can't be reached" not in ran.said:
                yield f"{words[0]} ends with {ran.code} when all is quiet: {ran.tail}"
        yield from camera.litter(self.root)


def sweep(options: Options) -> Iterator[Tally]:
    """An hour of it, or less than a minute in a sample."""
    began = time.monotonic()
    seconds = FULL_SECONDS if options.sample is None else SAMPLE_SECONDS
    with options.folder("soak") as where:
        root = where / "camera"
        root.mkdir()
        clips = [camera.make_clip(where / f"{source}.mp4", source=source).read_bytes() for source in SOURCES]
        dice = random.Random(options.seed)
        simulation = Simulation(options, root, dice, time.monotonic() + seconds, clips)
        actors: list[Callable[[], None]] = [simulation.watch, simulation.clean, simulation.operate]
        with ThreadPoolExecutor(len(actors) + len(CAMERAS)) as pool:
            running = [pool.submit(simulation.upload, name) for name in CAMERAS]
            running += [pool.submit(actor) for actor in actors]
            for each in running:
                each.result()
        problems = [*simulation.problems, *simulation.come_to_rest()]
        with ThreadPoolExecutor(options.jobs) as pool:
            problems += [
                problem for found in pool.map(simulation.account, simulation.uploads) for problem in found
            ]
        for problem in problems:
            violation("soak", [problem])
        now = (" and ".join(sorted(simulation.copies(each))) for each in simulation.uploads)
        places = Counter(where_now or "no place, as asked" for where_now in now)
    bad = min(len(problems), len(simulation.uploads))
    found = ", ".join(f"{count} in {place}" for place, count in sorted(places.items()))
    note = f"clips uploaded; {simulation.kills} kills, {len(simulation.held)} held; at the end {found}"
    yield Tally("soak", len(simulation.uploads), bad, time.monotonic() - began, note)


SWEEPS = (Sweep("soak", sweep),)
