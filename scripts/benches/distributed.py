"""What it costs to hand clips to a Dask cluster instead of encoding them here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benches.footage import SHORT, camera_tree, footage, own_footage
from benches.measuring import (
    CORES,
    Options,
    Result,
    Row,
    cpu_seconds,
    in_turns,
    own_command,
    ratio,
    workplace,
)

_TICK = os.sysconf("SC_CLK_TCK")


def bench(options: Options) -> Result:
    """Overhead per clip of two worker processes on this machine against two jobs of one process."""
    import imageio_ffmpeg

    result = Result("distributed")
    if find_spec("distributed") is None:
        result.skipped.append("Dask is not installed: scripts/setup dev")
        return result
    made = partial(footage, SHORT, imageio_ffmpeg.get_ffmpeg_exe(), options)
    clips = own_footage(options.footage) if options.footage else made()
    with workplace(options) as place, _cluster(place) as (address, workers):
        walls: dict[str, list[float]] = {"local": [], "cluster": []}

        def archive(name: str, *more: str) -> float:
            root = place / "camera"
            camera_tree(clips, root)
            command = [own_command(), "archive", str(root), "--codec", "h264", "--quiet", *more]
            busy, began = _cpu_of(workers), time.monotonic()
            own = cpu_seconds(command)
            walls[name].append((time.monotonic() - began) * 1000 / len(clips))
            shutil.rmtree(root)
            return own + _cpu_of(workers) - busy

        jobs = ("--jobs", str(len(workers)))
        tasks = {
            "local": lambda: archive("local", *jobs),
            "cluster": lambda: archive("cluster", "--scheduler", address),
        }
        tasks["cluster"]()  # the workers' first run loads what all later ones have
        walls["cluster"].clear()
        figures = in_turns(tasks, options.rounds or (3 if options.quick else 7))
    local, cluster = figures["local"], figures["cluster"]
    more = [(a - b) * 1000 / len(clips) for a, b in zip(cluster, local, strict=True)]
    result.rows = [
        ratio(f"{len(workers)} workers / {len(workers)} jobs, {len(clips)} short clips, CPU", cluster, local),
        Row("CPU more per clip", "ms", more),
        Row("time per clip, jobs of one process", "ms", walls["local"]),
        Row("time per clip, workers", "ms", walls["cluster"], note="with connecting and the workers' trials"),
    ]
    return result


@contextmanager
def _cluster(place: Path) -> Iterator[tuple[str, Sequence[int]]]:
    """A scheduler and a worker process for each of two cores: its address, the workers' process numbers."""
    file = place / "scheduler.json"
    started: list[subprocess.Popen[bytes]] = []

    def start(kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place
        )
        started.append(process)
        return process

    try:
        start("scheduler", "--port", "0", "--scheduler-file", str(file))
        _wait(file.exists)
        address = str(json.loads(file.read_text())["address"])
        options = ("--no-nanny", "--nthreads", "2", "--resources", "encoder=1")
        workers = [start("worker", address, *options) for _ in range(min(CORES, 2))]
        _wait(lambda: _registered(address) == len(workers))
        yield address, [worker.pid for worker in workers]
    finally:
        # Workers first: one whose scheduler has gone may never end.
        for process in reversed(started):
            _end(process)


def _end(process: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _registered(address: str) -> int:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return len(client.scheduler_info()["workers"])


def _wait(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            sys.exit("bench: the Dask cluster did not start")
        time.sleep(0.2)


def _cpu_of(processes: Sequence[int]) -> float:
    """Seconds of these processes and of their children that have ended."""
    total = 0
    for pid in processes:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(field) for field in fields[11:15])
    return total / _TICK
