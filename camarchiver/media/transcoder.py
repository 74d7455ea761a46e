"""Runs ffmpeg: progress as values, bounded stderr, a watchdog, and no process left behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

from msgspec import Struct

from camarchiver.runtime import processes
from camarchiver.runtime.processes import BoundedLines
from camarchiver.runtime.signals import Stopper

Ended = Literal["exit", "stalled", "stopped"]

STALL_SECONDS = 120.0
_TICK_SECONDS = 0.5
_ENDING_SECONDS = 0.02
_LOOK_SECONDS = 1.0
"""Seconds between two checks for activity, which cost more than the wait."""
_READ_BYTES = 65536
_LAST_READS = 64
"""More reads than pipes can hold."""
_REPORTS_EVERY_SECONDS = "0.5"

# SVT-AV1 writes its settings to stderr whatever `-v` says; 1 limits it to errors.
_ENVIRONMENT = {"SVT_LOG": "1", "AV_LOG_FORCE_NOCOLOR": "1"}


class FfmpegProgress(Struct, frozen=True):
    """How far one ffmpeg has come (the blocks that `-progress` writes)."""

    frame: int = 0
    fps: float = 0.0
    out_time: float = 0.0
    """Seconds of the clip written so far."""
    speed: float = 0.0
    """Seconds of the clip per second."""
    total_size: int = 0
    """Bytes."""


class Finished(Struct, frozen=True):
    """The result of one ffmpeg process; its exit status alone proves nothing."""

    returncode: int
    """Negative if a signal ended it."""
    stderr: tuple[str, ...]
    """The first and the last lines; a line between them says how many were left out."""
    frames: int
    """Frames written, by its last report."""
    seconds: float
    ended: Ended


def run(
    binary: Path,
    arguments: Sequence[str],
    *,
    on_progress: Callable[[FfmpegProgress], None] | None = None,
    stop: Stopper | None = None,
    stall_seconds: float = STALL_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run ffmpeg to its end, or end it early after `stop` or `stall_seconds` without progress.

    Its whole process group gets TERM, and KILL 5 s later; when the calling thread ends, the kernel kills
    ffmpeg. Raises OSError if it can't be started.
    """
    started = time.monotonic()
    report_reader, report_writer = os.pipe()
    reporting = ("-nostats", "-stats_period", _REPORTS_EVERY_SECONDS, "-progress", f"pipe:{report_writer}")
    with os.fdopen(report_reader, "rb", buffering=0) as reports:
        try:
            process = processes.start(
                [binary, *reporting, *arguments],
                stderr=subprocess.PIPE,
                pass_fds=(report_writer,),
                environment={**_ENVIRONMENT, **(environment or {})},
            )
        finally:
            os.close(report_writer)
        assert process.stderr is not None
        monitor = _Monitor(on_progress, stop, stall_seconds)
        with process.stderr as stderr, _reaped(process):
            ended = _follow(process, stderr, reports, monitor)
    seconds = time.monotonic() - started
    return Finished(
        process.returncode, monitor.stderr.lines(), monitor.progress.frame, seconds, ended or "exit"
    )


class _Monitor:
    """The state of a running ffmpeg, and when it must end."""

    __slots__ = (
        "active_at",
        "activity",
        "block",
        "looked_at",
        "on_progress",
        "progress",
        "reports",
        "stall_seconds",
        "stderr",
        "stop",
    )  # fmt: skip

    def __init__(
        self, on_progress: Callable[[FfmpegProgress], None] | None, stop: Stopper | None, stall_seconds: float
    ) -> None:
        self.on_progress = on_progress
        self.stop = stop
        self.stall_seconds = stall_seconds
        # A clip that starts within a long group of pictures has the same few complaints for every frame.
        self.stderr, self.reports = BoundedLines(once_each=True), BoundedLines()
        self.block: dict[str, str] = {}
        self.progress = FfmpegProgress()
        self.activity = (0, 0.0, 0, 0)
        self.active_at = time.monotonic()
        self.looked_at = 0.0

    def report(self, data: bytes) -> None:
        for line in self.reports.feed(data):
            key, _, value = line.partition("=")
            self.block[key] = value.strip()
            if key == "progress":
                self.progress = _progress(self.block)
                if self.on_progress is not None:
                    self.on_progress(self.progress)

    def must_end(self, process: subprocess.Popen[bytes]) -> Ended | None:
        """Why it must end now; None while it may continue."""
        if self.stop is not None and self.stop.is_set():
            return "stopped"
        now, done = time.monotonic(), self.progress
        if now - self.looked_at < min(_LOOK_SECONDS, self.stall_seconds / 5):
            return None
        self.looked_at = now
        # `+faststart` moves the whole file at the end without a report, but the kernel counts the writing.
        activity = (done.frame, done.out_time, done.total_size, _bytes_written(process.pid))
        if activity != self.activity:
            self.activity, self.active_at = activity, now
        return "stalled" if now - self.active_at > self.stall_seconds else None


def _follow(
    process: subprocess.Popen[bytes], stderr: IO[bytes], reports: IO[bytes], monitor: _Monitor
) -> Ended | None:
    ended: Ended | None = None
    kill_at = 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(stderr, selectors.EVENT_READ, monitor.stderr.keep)
        selector.register(reports, selectors.EVENT_READ, monitor.report)
        while not _has_ended(process):
            _drain(selector, _TICK_SECONDS)
            if ended is None:
                ended = monitor.must_end(process)
                if ended is not None:
                    kill_at = time.monotonic() + processes.KILL_SECONDS
                    processes.signal_group(process, signal.SIGTERM)
            elif time.monotonic() > kill_at:
                processes.signal_group(process, signal.SIGKILL)
        # Its output is in the pipes by now; other processes that hold the pipes are not waited for.
        processes.signal_group(process, signal.SIGKILL)
        for _ in range(_LAST_READS):
            if not _drain(selector, 0):
                break
    return ended


def _drain(selector: selectors.BaseSelector, timeout: float) -> bool:
    """Process what can be read within `timeout` seconds; returns whether there was anything."""
    if not selector.get_map():
        # Closed pipes mean that it is about to end, almost always.
        time.sleep(min(timeout, _ENDING_SECONDS))
        return False
    ready = selector.select(timeout)
    for key, _ in ready:
        data = os.read(key.fd, _READ_BYTES)
        if data:
            key.data(data)
        else:
            selector.unregister(key.fileobj)
    return bool(ready)


@contextlib.contextmanager
def _reaped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process of the group behind, also if a callback raised."""
    try:
        yield
    finally:
        processes.signal_group(process, signal.SIGKILL)
        process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _bytes_written(pid: int) -> int:
    """Bytes sent towards storage (proc_pid_io(5)), pipes not counted; 0 if unknown."""
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("write_bytes")), 0)


def _progress(block: Mapping[str, str]) -> FfmpegProgress:
    """ffmpeg writes `N/A` for what it doesn't know yet, and microseconds as `out_time_us`."""
    return FfmpegProgress(
        frame=int(_number(block.get("frame"))),
        fps=_number(block.get("fps")),
        out_time=max(0.0, _number(block.get("out_time_us")) / 1_000_000),
        speed=_number(block.get("speed", "").removesuffix("x")),
        total_size=int(_number(block.get("total_size"))),
    )


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
