"""Runs that begin in an interpreter which has loaded the program already, as a fork of it.

Loading takes most of a short run's time, and its calls touch none of the user's files. The interpreter
starts once for a package; each run is a child of it with its own environment, streams and session. A
tracer is attached while the child is stopped just before the program begins, so that its calls are
counted from the same one in every run.

This file is also what that interpreter runs.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ANY_PROCESS = -1 & (1 << 64) - 1
PR_SET_PTRACER = 0x59616D61
ALSO = ("concurrent.futures.thread", "importlib.metadata", "subprocess", "shutil")
ALSO += ("multiprocessing.connection", "encodings.idna", "stringprep", "ctypes", "unicodedata")
ALSO += ("encodings.ascii", "tzlocal", "ffmpeg")
"""What commands load only when they need it."""
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
LOADING = {"OPENBLAS_NUM_THREADS": "1"}
"""While modules load: a thread would not live on in a fork."""
ATTACH_SECONDS = 20.0


@dataclass(frozen=True)
class Request:
    """A run that is wanted."""

    code: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    tracer: Sequence[str]
    """The beginning of a command that is given `-p PID`; empty for none."""


class Interpreter:
    """One that has loaded a package, and forks for each run."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # bytecode is for the helpers too that a run starts afresh
            env={name: value for name, value in environment.items() if name != NO_BYTECODE} | LOADING,
            pass_fds=[theirs.fileno()],
            cwd="/",
            start_new_session=True,
        )
        theirs.close()

    def run(self, request: Request, output: int, seconds: float) -> int | None:
        """The exit code, negative for a signal; None if it had to be killed after `seconds`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                data = json.dumps(vars(request)).encode()
                socket.send_fds(self._channel, [data], [output, theirs.fileno()])
            ours.settimeout(ATTACH_SECONDS + seconds)
            child = _word(ours)
            ours.settimeout(seconds)
            try:
                return _word(ours)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                ours.settimeout(None)
                _word(ours)
                return None


def _word(channel: socket.socket) -> int:
    word = channel.recv(64)
    if not word:
        raise SystemExit("the interpreter that forks the runs has died")
    return int(word)


@functools.cache
def interpreter(package: Path, environment: tuple[tuple[str, str], ...]) -> Interpreter:
    """The one for the program in `package`."""
    del package  # its path is in the environment; named so that each has its own
    return Interpreter(dict(environment))


# --- what the interpreter does ---------------------------------------------------------------------------


def serve(channel: socket.socket) -> Request:
    """Fork for each request; returns in the child that is to run it."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, 1 << 20, 2)
        if not data:
            os._exit(0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        request = Request(**json.loads(data))
        if not os.fork():
            channel.close()
            output, reply = descriptors
            child = os.fork()
            if not child:
                os.close(reply)
                return become(request, output)
            attend(request, child, socket.socket(fileno=reply))
        for descriptor in descriptors:
            os.close(descriptor)


def become(request: Request, output: int) -> Request:
    """Turn a fork into what a fresh interpreter would be, and stop until the tracer is there."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    sys.argv = ["-c", *request.arguments]
    if request.tracer:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(ANY_PROCESS), 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
    return request


def attend(request: Request, child: int, reply: socket.socket) -> None:
    """Attach the tracer, report how the child ends, and end."""
    tracer = None
    if request.tracer:
        os.waitpid(child, os.WUNTRACED)
        tracer = subprocess.Popen([*request.tracer, "-p", str(child)], stdin=subprocess.DEVNULL)
        until = time.monotonic() + ATTACH_SECONDS
        while "TracerPid:\t0" in Path(f"/proc/{child}/status").read_text():
            if tracer.poll() is not None or time.monotonic() > until:
                os._exit(1)
            time.sleep(0.001)
        os.kill(child, signal.SIGCONT)
    with contextlib.suppress(OSError):
        reply.send(str(child).encode())
    _, status = os.waitpid(child, 0)
    if tracer:
        # it ends with the last of what it traces
        tracer.wait()
    with contextlib.suppress(OSError):
        reply.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def load() -> None:
    """Everything that a command could load later."""
    import camarchiver

    for module in pkgutil.walk_packages(camarchiver.__path__, "camarchiver."):
        importlib.import_module(module.name)
    for name in ALSO:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def ended(code: str) -> int:
    """Run it; its exit code."""
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as left:
        if left.code is None or isinstance(left.code, int):
            return left.code or 0
        print(left.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> NoReturn:
    """All that an interpreter does at its end but to free each object, which takes longer than the run."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120
    os._exit(code)


if __name__ == "__main__":
    sys.path[0] = ""
    load()
    gc.freeze()
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    end(ended(wanted.code))
