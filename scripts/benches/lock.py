"""Races for one stale lock and churn with dying owners: double entries, and the cost of a lock."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

from benches.measuring import Options, Result, Row, in_turns, ratio, say, workplace

DELAY = 0.0006
"""Seconds that a call to a file server on a LAN takes at most."""
SETTLE = 0.02
"""Seconds for which a lock of another host is watched in these races; the real ones wait two seconds."""
CALLS = ("open", "close", "link", "unlink", "stat", "lstat", "fstat", "utime", "pread", "pwrite", "ftruncate")
CALLS += ("rename", "replace", "remove", "fsync", "listdir", "scandir", "mkdir", "access", "read", "write")

Lock = Callable[[Path], AbstractContextManager[object]]

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Tally:
    """What came of many meetings at one lock."""

    meetings: int
    doubles: int
    nobody: int
    """Meetings at which nobody got in, although the owner was dead."""
    errors: int


def bench(options: Options) -> Result:
    """No lock may be held twice; then the cost of locking a clip."""
    logging.disable(logging.WARNING)  # every takeover of a lock would be logged
    result = Result("lock")
    rounds = 200 if options.quick else 10_000
    with workplace(options) as place:
        for label, delay in (("", 0.0), (", each call 0 to 0.6 ms late", DELAY)):
            for processes in (2, 4):
                say(f"  {rounds:,} races, {processes} processes{label}")
                found = _races(place, processes, rounds, delay=delay, foreign=False)
                result.rows.append(_row(f"races, {processes} processes{label}", found))
            say(f"  {rounds // 10:,} races for another host's lock{label}")
            found = _races(place, 4, rounds // 10, delay=delay, foreign=True)
            result.rows.append(_row(f"races for another host's lock, 4 processes{label}", found))
            say(f"  churn{label}")
            found = _churn(place, 4, 5.0 if options.quick else 60.0, delay)
            result.rows.append(_row(f"churn, a fifth of the owners dies{label}", found))
        say(f"  {rounds // 10:,} races with a plain lock, each call 0 to 0.6 ms late")
        found = _races(place, 4, rounds // 10, delay=DELAY, foreign=False, lock=_plain_lock)
        note = f"of {found.meetings:,}, 4 processes: a file made with O_EXCL, removed when it is old"
        result.rows.append(
            Row("to compare: of a plain lock, calls late", "count", [float(found.doubles)], note=note)
        )
        result.rows += _cost(place, options)
    return result


def _row(what: str, found: Tally) -> Row:
    say(f"    {found}")
    note = f"of {found.meetings:,}; nobody got in {found.nobody}, errors {found.errors}"
    return Row(f"double entries: {what}", "count", [float(found.doubles)], goal=0, note=note)


# --- races -----------------------------------------------------------------------------------------


def _own_lock(clip: Path) -> AbstractContextManager[object]:
    from camarchiver.storage import locking

    return locking.clip_lock(clip)


@contextmanager
def _plain_lock(clip: Path) -> Iterator[None]:
    """A lock file as it is commonly written, for comparison: O_EXCL, and removed once it is old."""
    file = clip.with_name(clip.name + ".lock")
    if file.exists() and time.time() - file.stat().st_mtime > 600:
        file.unlink(missing_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_EXCL))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _races(
    place: Path, processes: int, rounds: int, *, delay: float, foreign: bool, lock: Lock = _own_lock
) -> Tally:
    """Everybody goes for the same stale lock at the same moment; who gets in stays until all have tried."""
    entered = _fork.RawArray("b", processes * rounds)
    begin = _fork.RawValue("d", 0.0)
    barrier = _fork.Barrier(processes + 1)
    clips = [place / f"race-{number % 50}.mp4" for number in range(rounds)]

    def race(seat: int) -> None:
        with _slow_calls(delay, seat):
            for number, clip in enumerate(clips):
                barrier.wait()
                while time.monotonic() < begin.value:
                    pass
                entered[seat * rounds + number] = _try_once(lock, clip, barrier.wait)
                barrier.wait()

    workers = [_started(partial(race, seat)) for seat in range(processes)]
    for clip in clips:
        _leave_stale(clip, foreign=foreign)
        begin.value = time.monotonic() + 0.0005
        for _ in ("go", "all have tried", "all have left"):
            barrier.wait()
        clip.with_name(clip.name + ".lock").unlink(missing_ok=True)
    for worker in workers:
        worker.join()
    counts = [entered[number::rounds] for number in range(rounds)]
    return Tally(
        rounds,
        sum(max(0, each.count(1) - 1) for each in counts),
        sum(1 not in each for each in counts),
        sum(each.count(2) for each in counts),
    )


def _try_once(lock: Lock, clip: Path, wait: Callable[[], object]) -> int:
    """1 where the lock was ours until all had tried, 0 where somebody else had it, 2 for an error."""
    from camarchiver.errors import ClipBusy

    waited = False
    try:
        with lock(clip):
            waited = True
            wait()
            return 1
    except ClipBusy:
        return 0
    except OSError:
        return 2
    finally:
        if not waited:
            wait()


def _leave_stale(clip: Path, *, foreign: bool) -> None:
    """The lock of an owner that died 700 seconds ago, on this host or on another one."""
    import json

    from msgspec.structs import asdict, replace

    from camarchiver.storage.owner import Owner

    owner = Owner.this()
    if foreign:
        owner = replace(owner, host="elsewhere", boot="another")
    file = clip.with_name(clip.name + ".lock")
    file.write_text(json.dumps(asdict(owner)) + "\n")
    long_ago = time.time() - 700
    os.utime(file, (long_ago, long_ago))


# --- churn -----------------------------------------------------------------------------------------


def _churn(place: Path, processes: int, seconds: float, delay: float) -> Tally:
    """Everybody wants one clip again and again; a fifth of those who get in are killed inside."""
    clip, inside = place / "churn.mp4", place / "inside"
    counts = _fork.Array("q", 3)
    end = time.monotonic() + seconds

    def live(seat: int) -> None:
        with _slow_calls(delay, seat):
            while time.monotonic() < end:
                _enter(clip, inside, counts)

    seats = {seat: _started(partial(live, seat)) for seat in range(processes)}
    born = processes
    while time.monotonic() < end:
        for seat, worker in seats.items():
            if not worker.is_alive():
                born += 1
                seats[seat] = _started(partial(live, born))
        time.sleep(0.002)
    for worker in seats.values():
        worker.join()
    clip.with_name(clip.name + ".lock").unlink(missing_ok=True)
    return Tally(counts[0], counts[1], 0, counts[2])


def _enter(clip: Path, inside: Path, counts: Any) -> None:
    from camarchiver.errors import ClipBusy
    from camarchiver.storage import locking

    try:
        with locking.clip_lock(clip):
            alone = _mark(inside)
            with counts.get_lock():
                counts[0] += 1
                counts[1] += not alone
            time.sleep(0.0005)
            if alone:
                inside.unlink()
            if random.random() < 0.2:
                os.kill(os.getpid(), signal.SIGKILL)
    except ClipBusy:
        time.sleep(0.0005)
    except OSError:
        with counts.get_lock():
            counts[2] += 1


def _mark(inside: Path) -> bool:
    """Whether nobody else is inside."""
    try:
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


# --- the cost of a lock ---------------------------------------------------------------------------


def _cost(place: Path, options: Options) -> Iterator[Row]:
    from filelock import FileLock

    from camarchiver.storage import locking

    clip = place / "cost.mp4"
    count = 200 if options.quick else 1000

    def ours() -> float:
        return _microseconds(lambda: locking.clip_lock(clip), count)

    def plain() -> float:
        return _microseconds(lambda: FileLock(place / "plain.lock"), count)

    rounds = options.rounds or (3 if options.quick else 11)
    figures = in_turns({"clip_lock": ours, "filelock": plain}, rounds)
    yield Row(
        "a clip's lock: acquired and released once",
        "us",
        figures["clip_lock"],
        note="wall, of one process alone",
    )
    yield Row(
        "filelock.FileLock, the same", "us", figures["filelock"], note="it knows no dead owners elsewhere"
    )
    yield ratio("clip_lock / filelock", figures["clip_lock"], figures["filelock"])


def _microseconds(lock: Callable[[], Any], count: int) -> float:
    took = []
    for _ in range(count):
        begun = time.perf_counter()
        with lock():
            pass
        took.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(took)


# --- processes -------------------------------------------------------------------------------------


def _started(work: Callable[[], None]) -> ForkProcess:
    process = _fork.Process(target=work, daemon=True)
    process.start()
    return process


@contextmanager
def _slow_calls(most: float, seed: int) -> Iterator[None]:
    """In this process every file-system call takes up to `most` seconds longer, and little is settled."""
    import fcntl

    from camarchiver.storage import lockfile

    lockfile.SETTLE_SECONDS = SETTLE
    random.seed(seed)
    if most:
        for module, names in ((os, CALLS), (fcntl, ("flock",))):
            for name in names:
                setattr(module, name, _late(getattr(module, name), most))
    yield


def _late(call: Callable[..., Any], most: float) -> Callable[..., Any]:
    def later(*these: Any, **more: Any) -> Any:
        time.sleep(random.random() * most)
        return call(*these, **more)

    return later
