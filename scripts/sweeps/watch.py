"""Faults at every call of `watch`: one clip exists at the start, another is renamed into place later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps import Options, archive, camera
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import LATELY, Ran
from tests.dates import clip_of

INCOMING = f"{clip_of('garden', LATELY)}.mp4"
HIDDEN = "/.".join(INCOMING.rsplit("/", 1))

IDLE = """
import os, signal, sys, threading, time
from camarchiver.watch import loop as watcher
from camarchiver.cli import run
from camarchiver.errors import signal_code

watchers = []
begin = watcher.Watcher.run

def run_known(self, workers):
    watchers.append(self)
    return begin(self, workers)

def is_idle(self):
    if time.monotonic() < self._full_until:
        return True
    due = self.queue.next_at()
    later = due is None or due > time.monotonic() + 30
    return later and not (self._steps or self._running or os.path.lexists({hidden!r}))

def end_when_idle():
    idle, deadline = 0, time.monotonic() + 60
    while idle < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            idle = idle + 1 if watchers and watchers[0]._next_scan and is_idle(watchers[0]) else 0
        except Exception:
            idle = 0
    os.kill(os.getpid(), signal.SIGTERM)

watcher.Watcher.run = run_known
threading.Thread(target=end_when_idle, daemon=True).start()
code = run(sys.argv[1:])
sys.exit(0 if code == signal_code(signal.SIGTERM) else code)
"""
"""The command as it is, asked to stop once it has nothing to do."""


class Tree(archive.Tree):
    """The tree of `archive`, with one of its clips still on its way."""

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        super().__init__(options, folder, model)
        (self.root / INCOMING).rename(self.root / HIDDEN)

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        code = IDLE.format(hidden=str(self.root / HIDDEN))
        if inside:
            code = archive.TRUSTING + archive.INSIDE.format(strace=list(strace)) + code
        words = self._watch("1" if inside else "2")
        with self._arriving():
            before = (*strace, "-f") if strace and not inside else ()
            return self.program.run(*words, before=before, code=code)

    @contextmanager
    def _arriving(self) -> Iterator[None]:
        """Rename the clip once the run watches; at its end in any case."""
        ended = threading.Event()
        log = self.root / "archiver.log"

        def rename() -> None:
            while not ended.wait(0.05):
                if log.exists() and "scanned in" in log.read_text(errors="replace"):
                    break
            (self.root / HIDDEN).rename(self.root / INCOMING)

        thread = threading.Thread(target=rename)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def again(self) -> Ran:
        camera.let_a_day_pass(self.root)
        code = archive.TRUSTING + IDLE.format(hidden=str(self.root / HIDDEN))
        watched = self.program.run(*self._watch("2"), code=code)
        return watched if watched.code or list(watched.problems()) else super().again()

    def _watch(self, jobs: str) -> tuple[str, ...]:
        return ("watch", *self._words(jobs)[1:], "--quiet-for", "1s")


SWEEPS = sweeps_of(Subject("watch", archive.make_model, Tree, inside=True, share=3))
