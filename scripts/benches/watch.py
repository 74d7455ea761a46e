"""What watching costs: how soon a clip is locked, and the cost of a rush of clips and of idle minutes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import imageio_ffmpeg

from benches.footage import SHORT, footage
from benches.measuring import Options, Result, Row, own_command, say, workplace
from tests.dates import BENCHES_CLIPS, folder_of, stamp_of

FOLDERS = 20_000
"""Day folders of ten cameras over some years."""
CLIPS = 10_000
"""Renamed into place within a minute."""
IDLE_SECONDS = 600

# The command as it is, but for its jobs: they take each clip away as if it had been archived.
_STUB = """
import sys
from contextlib import contextmanager
from camarchiver.archive import executor
from camarchiver.archive.workers import ArchiveWorkers
from camarchiver.cli import run
from camarchiver.domain.report import Outcome, Result

def perform(step, share):
    step.path.unlink()
    return Outcome(step, Result.DONE, step.reason)

@contextmanager
def working(pipeline, *these, **more):
    yield ArchiveWorkers(2, perform)

executor.choose_encoder = lambda *these: (None, ())
executor.working = working
sys.exit(run(sys.argv[1:]))
"""


def bench(options: Options) -> Result:
    """Locks of single clips, a rush with a stub encoder, and idle minutes."""
    result = Result("watch")
    with workplace(options) as place:
        result.rows += _locks(options, place / "claims")
        root = place / "many"
        folders = FOLDERS // 10 if options.quick else FOLDERS
        clips = CLIPS // 10 if options.quick else CLIPS
        say(f"  {folders:,} folders are made")
        for number in range(folders):
            (root / _day(number)).mkdir(parents=True)
        result.rows += _rush(options, root, folders, clips)
        result.rows += _idle(root, folders, 30 if options.quick else IDLE_SECONDS)
    return result


def _locks(options: Options, root: Path) -> Iterator[Row]:
    """From the rename to the lock beside the clip, on an idle machine with the real encoder."""
    from inotify_simple import INotify, flags

    clip = footage(SHORT, imageio_ffmpeg.get_ffmpeg_exe(), options)[0]
    (root / "front").mkdir(parents=True)
    delays = []
    with watching([own_command()], root, "--codec", "h264"), INotify() as kernel:
        kernel.add_watch(root / "front", flags.CREATE)
        for number in range(options.rounds or (10 if options.quick else 30)):
            name = f"REO_front_{stamp_of(BENCHES_CLIPS + timedelta(seconds=number))}.mp4"
            shutil.copyfile(clip, root / "front" / f".{name}")
            list(kernel.read(timeout=0))
            (root / "front" / f".{name}").rename(root / "front" / name)
            begun = time.monotonic()
            while not any(event.name == f"{name}.lock" for event in kernel.read(timeout=10_000)):
                continue
            delays.append(1000 * (time.monotonic() - begun))
            while (root / "front" / name).exists():
                time.sleep(0.05)
    yield Row("from the rename of a clip to its lock", "ms", delays, goal=100)


def _rush(options: Options, root: Path, folders: int, clips: int) -> Iterator[Row]:
    seconds = 60 * clips / CLIPS
    title = f"{clips:,} clips renamed into {folders:,} folders in {seconds:.0f} s, stub encoder: "
    say(title)
    with watching([sys.executable, "-c", _STUB], root, "--quiet-for", "1h") as process:
        before, spent = memory(process.pid), cpu(process.pid)
        begun = time.monotonic()
        for number in range(clips):
            folder = root / _day(number * 7919 % folders)
            name = f"REO_front_{stamp_of(BENCHES_CLIPS + timedelta(seconds=number))}.mp4"
            (folder / f".{name}").write_bytes(b"x")
            (folder / f".{name}").rename(folder / name)
            if (early := begun + seconds * number / clips - time.monotonic()) > 0:
                time.sleep(early)
        renamed = time.monotonic() - begun
        deadline = time.monotonic() + 120
        while (left := sum(1 for _ in root.glob("*/*/*/*/*.mp4"))) and time.monotonic() < deadline:
            time.sleep(0.2)
        took = time.monotonic() - begun
        yield Row(title + "missed", "clips", [left], goal=0)
        yield Row(title + "the last was taken after", "s", [took], note=f"renamed in {renamed:.1f} s")
        yield Row(title + "CPU", "s", [cpu(process.pid) - spent])
        grown = memory(process.pid) - before
        yield Row(title + "memory grew by", "MB", [grown], goal=20, note=f"from {before:.0f} MB")


def _idle(root: Path, folders: int, seconds: int) -> Iterator[Row]:
    title = (
        f"{seconds // 60 or seconds} idle {'minutes' if seconds >= 60 else 'seconds'}, {folders:,} folders"
    )
    say(f"  {title}")
    with watching([own_command()], root, "--codec", "h264") as process:
        time.sleep(10)
        spent = cpu(process.pid)
        time.sleep(seconds)
        share = 100 * (cpu(process.pid) - spent) / seconds
        yield Row(f"{title}: CPU of one core", "%", [share], goal=0.1)
        yield Row(f"{title}: memory", "MB", [memory(process.pid)])


@contextmanager
def watching(command: list[str], root: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`watch` over a tree, ready; ended cleanly afterwards."""
    log = root.with_name(f"{root.name}.log")
    process = subprocess.Popen(
        [*command, "watch", str(root), "--log-file", str(log), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "XDG_CONFIG_HOME": str(root.parent)},
    )
    try:
        while not (log.exists() and "scanned in" in log.read_text()):
            if process.poll() is not None:
                sys.exit(f"bench: watch ended with {process.returncode}")
            time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        if process.wait(60) != 128 + signal.SIGTERM:
            sys.exit(f"bench: watch ended with {process.returncode}")
        log.unlink(missing_ok=True)


def cpu(pid: int) -> float:
    """Seconds that a process and its living and ended descendants took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu(int(child)) for child in children)


def memory(pid: int) -> float:
    """Resident megabytes of the process itself."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _day(number: int) -> str:
    camera, day = divmod(number, 2000)
    return f"cam{camera}/{folder_of(BENCHES_CLIPS - timedelta(days=day))}"
