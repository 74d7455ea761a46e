"""Finds the real contents of a video file, in a worker process that a bad file may crash."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from fractions import Fraction
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from camarchiver.errors import CamarchiverError, described
from camarchiver.media.info import (
    Examined,
    HeaderInfo,
    KeyframeRequest,
    Media,
    Orientation,
    PictureComparison,
)
from camarchiver.runtime import processes

# PyAV costs 100 ms and 30 MB to import: only the worker imports it.
if TYPE_CHECKING:
    from camarchiver.media.parsing.streams import ParseErrorKind
    from camarchiver.media.verification.picture_rules import Pair

TIMEOUT_SECONDS = 60.0
"""How long the worker may make no progress before its file counts as hanging."""

_BEAT_SECONDS = 0.5


class ProbeError(CamarchiverError):
    """A file that could not be examined.

    `reason` is `damaged`, `not-video`, `no-rate`, `unreadable`, `crashed` or `timeout`; or `stopped`, which
    says nothing about the file.
    """

    def __init__(self, reason: ParseErrorKind, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Prober:
    """Examines files one at a time; any thread may call, the others wait for their turn.

    The worker starts with the first call. A file that crashes it, or on which it makes no
    progress for `timeout` seconds, costs that call only: the next one gets a fresh worker.
    """

    def __init__(self, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._turn = threading.Lock()
        self._worker: _Worker | None = None
        self._closed = False

    def __enter__(self) -> Prober:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def measure(self, path: Path, raw_rate: Fraction | None = None) -> Media:
        """Read every packet of the file; raises `ProbeError`.

        `raw_rate` is the declared frame rate of a stream without a container, which needs one.
        """
        return cast(Media, self._ask("measure", path, raw_rate))

    def read_header(self, path: Path) -> HeaderInfo:
        """Read the file's header only; raises `ProbeError`."""
        return cast(HeaderInfo, self._ask("read_header", path))

    def examine(self, path: Path, request: KeyframeRequest | None = None) -> Examined:
        """Read every packet and decode every keyframe of the first video stream; raises `ProbeError`.

        With `request` the keyframes are also looked at: pictures and motion.
        """
        return cast(Examined, self._ask("examine", path, request))

    def compare(
        self, source: Path, archive: Path, pairs: Sequence[Pair], raw_rate: Fraction | None = None
    ) -> PictureComparison:
        """Decode these frames of both files and say how they differ; raises `ProbeError`."""
        return cast(PictureComparison, self._ask("compare", archive, source, pairs, raw_rate))

    def differs(self, one: Path, other: Path, orientation: Orientation) -> str:
        """How the streams, packets, times or tags of two files differ; empty if not. Raises `ProbeError`.

        `orientation` is that of the first file's picture.
        """
        return cast(str, self._ask("differs", one, other, orientation))

    def close(self) -> None:
        """End the worker; a call under way in another thread raises `ProbeError` (`stopped`)."""
        self._closed = True
        with self._turn:
            self._drop_worker()

    def _ask(self, job: str, path: Path, *others: object) -> object:
        with self._turn:
            # An interrupted wait, also by Ctrl-C, leaves an answer behind that the next call would receive.
            try:
                answer = self._wait_for_answer(job, path, others)
            except BaseException:
                self._drop_worker()
                raise
        if isinstance(answer, _ParseFailure):
            raise ProbeError(answer.reason, f"{path} {answer.text}")
        return answer

    def _wait_for_answer(self, job: str, path: Path, others: tuple[object, ...]) -> object:
        # A worker that was killed while idle is not this file's fault.
        if self._worker is not None and self._worker.process.poll() is not None:
            self._drop_worker()
        if self._worker is None:
            self._worker = _Worker.start()
        connection = self._worker.connection
        try:
            connection.send((job, path, others))
            while not self._closed:
                if not connection.poll(self._timeout):
                    raise ProbeError("timeout", f"{path} made the parser hang for {self._timeout:.0f} s")
                answer = connection.recv()
                if answer is not _WorkerMessage.PROGRESS:
                    return answer
        except (EOFError, ConnectionError):
            raise ProbeError("crashed", f"{path} crashed the process that examined it") from None
        raise ProbeError("stopped", f"{path} was not examined to its end, since the run stops")

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _Worker(Struct, frozen=True):
    """The parser's process and this end of the connection to it.

    Not a `ProcessPoolExecutor`: its workers outlive a killed parent, and it can't
    distinguish one that hangs from one that reads a long clip.
    """

    process: subprocess.Popen[bytes]
    connection: Connection

    @classmethod
    def start(cls) -> _Worker:
        """Start the worker; it ends by itself when the connection does."""
        ours, theirs = Pipe()
        with theirs:
            program = f"from camarchiver.media.parsing.prober import serve; serve({theirs.fileno()})"
            # Any thread may start it, and all use it: it must not end with one of them.
            process = processes.start_python(program, theirs.fileno(), detached=True)
        return cls(process, ours)

    def kill(self) -> None:
        """End it at once; one that is stuck in a dead network mount is left to the kernel."""
        processes.signal_group(self.process, signal.SIGKILL)
        self.connection.close()
        try:
            self.process.wait(processes.KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return


class _WorkerMessage(Enum):
    PROGRESS = auto()


class _ParseFailure(Struct, frozen=True):
    reason: ParseErrorKind
    text: str


def serve(descriptor: int) -> None:
    """The worker's main loop: one job after the other until the parent hangs up.

    The parent handles signals that stop a run; its end, however caused, closes the connection.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    connection = Connection(descriptor)
    requests: queue.SimpleQueue[tuple[str, Path, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    while True:
        job, path, others = requests.get()
        connection.send(_answer(job, path, others, _pulse(connection)))


def _receive(connection: Connection, requests: queue.SimpleQueue[Any]) -> None:
    """A thread of its own, since the main one may hang in the parser when the parent dies."""
    try:
        while True:
            requests.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def _answer(job: str, path: Path, others: tuple[Any, ...], beat: Callable[[], None]) -> object:
    from camarchiver.media.parsing import worker as parse_worker
    from camarchiver.media.parsing.streams import NotParsed

    try:
        return parse_worker.answer(job, path, others, beat)
    except NotParsed as refused:
        return _ParseFailure(refused.reason, refused.text)
    # The boundary of the process: a failure in here must affect only this file.
    except Exception as error:
        return _ParseFailure("crashed", f"could not be examined: {described(error)}")


def _pulse(connection: Connection) -> Callable[[], None]:
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _BEAT_SECONDS:
            last = now
            connection.send(_WorkerMessage.PROGRESS)

    return beat
