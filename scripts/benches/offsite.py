"""What `camarchiver offsite sync` costs, against `rclone copy` of the same files to the same server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count as count_from
from pathlib import Path

from benches.measuring import Options, Result, Row, cpu_seconds, in_turns, own_command, ratio, say, workplace
from camarchiver.journal.event import JournalEvent
from camarchiver.journal.store import Journal
from camarchiver.offsite.names import object_name
from camarchiver.offsite.rclone import daemon

BUCKET = "bucket"
REMOTE = f"server:{BUCKET}"
KEY, SECRET = "key", "not-a-secret"
STARTED = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = 10_000
"""Archives with a copy, of the sync that has nothing to do."""

MEMORY_MB = 150.0


def bench(options: Options) -> Result:
    """Copy large files with and without reading them back, and look for something to do among many."""
    result = Result("offsite")
    rclone = daemon.find(None)
    said = subprocess.run([rclone, "version"], capture_output=True, text=True, check=True).stdout
    result.versions["rclone"] = said.splitlines()[0]
    count, size = (4, 32 << 20) if options.quick else (8, 64 << 20)
    rounds = options.rounds or (3 if options.quick else 5)
    with workplace(options) as place, _server(rclone, place) as server:
        tree = _large(place / "large", count, size)
        turn = count_from(1)
        tasks = {
            name: partial(_timed, way, tree, turn, server) for name, way in _commands(rclone, tree).items()
        }
        walls: dict[str, list[float]] = {name: [] for name in tasks}
        peaks: dict[str, list[float]] = {name: [] for name in tasks}
        cpu = in_turns(
            {name: partial(_noted, task, walls[name], peaks[name]) for name, task in tasks.items()}, rounds
        )
        many = _many(place / "many")
        say(f"{KNOWN} archives with a copy")
        nothing = _sync(many, REMOTE, "auto")
        idle = in_turns({"wall": partial(_seconds, nothing), "CPU": partial(cpu_seconds, nothing)}, rounds)
    note = f"{count} files of {size >> 20} MiB to `rclone serve s3`"
    result.rows = [
        Row("rclone copy", "s", walls["rclone copy"], note=f"wall; {note}"),
        ratio("sync, hash of the remote / rclone copy: wall", walls["hash"], walls["rclone copy"], goal=1.15),
        ratio("sync, hash of the remote / rclone copy: CPU", cpu["hash"], cpu["rclone copy"], goal=1.2),
        ratio("sync, read back / rclone copy: wall", walls["read back"], walls["rclone copy"], goal=2.2),
        ratio("sync, read back / rclone copy: CPU", cpu["read back"], cpu["rclone copy"], goal=2.2),
        Row(
            "memory of sync and its rclone, hash",
            "MB",
            peaks["hash"],
            goal=MEMORY_MB,
            note="resident, in all",
        ),
        Row("memory of sync, read back", "MB", peaks["read back"], goal=MEMORY_MB),
        Row("sync with nothing to do: wall", "s", idle["wall"], goal=2.0, note=f"{KNOWN} copies"),
        Row("sync with nothing to do: CPU", "s", idle["CPU"], note="the remote is not asked"),
    ]
    return result


def _commands(rclone: Path, tree: Path) -> dict[str, Callable[[str], list[str]]]:
    """The command of each way to copy, from the remote."""
    copy = [os.fspath(rclone), "copy", os.fspath(tree / "archived"), "--exclude", ".camarchiver/**"]
    return {
        "rclone copy": lambda remote: [*copy, remote],
        "hash": lambda remote: _sync(tree, remote, "remote-hash"),
        "read back": lambda remote: _sync(tree, remote, "read-back"),
    }


def _sync(tree: Path, remote: str, verify: str) -> list[str]:
    return [
        own_command(),
        *("offsite", "sync", os.fspath(tree), "--remote", remote, "--verify", verify),
        *("--log-file", os.fspath(tree / "log"), "--config", os.devnull),
    ]


class _Peak:
    """The most memory that the programs started by this one had resident together, in MB."""

    def __init__(self, apart: int) -> None:
        """The process `apart`, the server, does not count."""
        self._apart = apart
        self._over = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most * 1024 / 1e6

    def _look(self) -> None:
        while not self._over.wait(0.05):
            waiting, found = _children(os.getpid()), 0
            while waiting:
                if (pid := waiting.pop()) != self._apart:
                    found += _kilobytes(pid)
                    waiting += _children(pid)
            self._most = max(self._most, found)


def _children(pid: int) -> list[int]:
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def _kilobytes(pid: int) -> int:
    """Resident memory; what two processes share counts half for each, as right after a fork."""
    with suppress(OSError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _timed(
    way: Callable[[str], list[str]], tree: Path, turn: Iterator[int], server: int
) -> tuple[float, float, float]:
    """CPU seconds, wall seconds, and the peak of memory in MB, of copies to an empty folder."""
    shutil.rmtree(tree / "archived/.camarchiver")
    shutil.copytree(tree / "state", tree / "archived/.camarchiver")
    os.sync()
    peak = _Peak(server)
    began = time.monotonic()
    cpu = cpu_seconds(way(f"{REMOTE}/{next(turn)}"))
    wall = time.monotonic() - began
    return cpu, wall, peak.stop()


def _noted(task: partial[tuple[float, float, float]], walls: list[float], peaks: list[float]) -> float:
    cpu, wall, peak = task()
    walls.append(wall)
    peaks.append(peak)
    return cpu


def _seconds(command: list[str]) -> float:
    began = time.monotonic()
    cpu_seconds(command)
    return time.monotonic() - began


@contextmanager
def _server(rclone: Path, place: Path) -> Iterator[int]:
    """An S3 server on loopback; its process."""
    stored = place / "server"
    (stored / BUCKET).mkdir(parents=True)
    port = 18_000 + os.getpid() % 1000
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    config = place / "rclone.conf"
    login = f"access_key_id = {KEY}\nsecret_access_key = {SECRET}\n"
    config.write_text(f"[server]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{port}\n{login}")
    os.environ["RCLONE_CONFIG"] = os.fspath(config)
    server = subprocess.Popen([*command, stored], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ready = [rclone, "lsd", "server:", "--retries", "1", "--low-level-retries", "1"]
        while subprocess.run(ready, capture_output=True).returncode:
            time.sleep(0.1)
        yield server.pid
    finally:
        server.terminate()
        server.wait()


def _large(tree: Path, count: int, size: int) -> Path:
    """A tree with archives of random bytes, which the journal knows."""
    events = []
    for number in range(count):
        content = os.urandom(size)
        event = _made(number, size, hashlib.blake2b(content).hexdigest())
        assert event.archive is not None
        path = tree / "archived" / event.archive
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        events.append(event)
    Journal(tree / "archived/.camarchiver").append(*events)
    shutil.copytree(tree / "archived/.camarchiver", tree / "state")
    return tree


def _many(tree: Path) -> Path:
    """A tree whose journal knows a copy of each of many archives."""
    (tree / "archived").mkdir(parents=True)
    events = []
    for number in range(KNOWN):
        event = _made(number, 1000, hashlib.blake2b(str(number).encode()).hexdigest())
        assert event.archive is not None
        assert event.archive_blake2b is not None
        name = object_name(event.archive, event.archive_blake2b)
        copied = {"archive_blake2b": event.archive_blake2b, "remote": REMOTE, "object": name}
        about = {"archive": event.archive, "archive_size": 1000, **copied}
        events += [event, *(_line(kind, number, **about) for kind in ("copied", "copy-verified"))]
    Journal(tree / "archived/.camarchiver").append(*events)
    return tree


def _made(number: int, size: int, digest: str) -> JournalEvent:
    start = STARTED + timedelta(minutes=5 * number)
    archive = f"{start:%Y/%m/%d}/REO_front_{start:%Y%m%d%H%M%S}.mp4"
    return _line(
        "archived",
        number,
        archive=archive,
        archive_size=size,
        archive_blake2b=digest,
        source_blake2b=digest,
    )


def _line(event: str, number: int, **fields: object) -> JournalEvent:
    start = STARTED + timedelta(minutes=5 * number)
    return JournalEvent(
        event=event,
        at=STARTED,
        run="bench",
        host="bench",
        source=f"{start:%Y/%m/%d}/REO_front_{start:%Y%m%d%H%M%S}.mp4",
        start=start,
        camera="front",
        source_size=1000,
        source_mtime_ns=int(start.timestamp()) * 10**9,
        **fields,  # type: ignore[arg-type]  # the fields of the event, by name
    )
