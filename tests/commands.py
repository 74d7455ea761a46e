"""Starts the installed command as a user does, and reads what it prints and leaves."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from prometheus_client.parser import text_string_to_metric_families

from camarchiver.domain.clip import STATE_FOLDER
from tests import dates
from tests.recordings import rec_packets, rec_place

Make = Callable[..., Path]
Put = Callable[..., Path]
H264 = "-f lavfi -i testsrc2=s=160x120:r=10:d=2 -c:v libx264 -preset ultrafast -b:v 2M"
SOUND = "-f lavfi -i testsrc2=s=160x120:r=10:d=2 -f lavfi -i sine=d=2 -c:v libx264 -preset ultrafast -b:v 2M"
START = 1772352900
"""08:15 UTC on the first of March 2026."""


def put_recent(put: Put) -> None:
    """A clip of today. If the newest clip is more than a year old, `cleanup` doubts the machine's clock."""
    start = dates.recently(hours=2)
    put(f"{dates.clip_of('today', start)}.mp4", b"recent", mtime=start.timestamp())


def archive(tree: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`camarchiver archive` as cron runs it."""
    return subprocess.run(
        [sys.executable, "-m", "camarchiver", "archive", str(tree), *map(str, options)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=240,
        env={**os.environ, "TZ": "UTC", **environment},
    )


def document(tree: Path, *options: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive(tree, *options, "--json").stdout)
    return found


def reasons(tree: Path, *options: object) -> dict[str, str]:
    """By name: why each file would be archived or left alone."""
    steps = document(tree, "--dry-run", *options)["steps"]
    return {Path(step["path"]).name: step["reason"] for step in steps}


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder: size, mtime and content."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_size,
            path.lstat().st_mtime_ns,
            hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(root.rglob("*"))
    }


def media(root: Path) -> list[str]:
    """The visible files of a tree without our own state."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(str(path) for path in found if not any(p.startswith(".") for p in path.parts))


def clips_of(root: Path) -> list[str]:
    """The visible clips of a tree."""
    return [name for name in media(root) if name.endswith(".mp4")]


def journal(tree: Path, archive_root: Path | None = None) -> list[dict[str, Any]]:
    folder = (archive_root or tree / "archived") / STATE_FOLDER / "journal"
    return [json.loads(line) for file in sorted(folder.rglob("*.jsonl")) for line in file.open()]


def frames(path: Path) -> int:
    with av.open(str(path)) as opened:
        return sum(1 for _ in opened.decode(video=0))


DAY = "2026/03/01"
ONE = f"{DAY}/REO_front_20260301081500"


def command(*words: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "camarchiver", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(answer: bytes, *arguments: object) -> bytes:
    """Everything that a terminal of its own shows while the command runs and is answered."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TZ": "UTC", "NO_COLOR": "1"}
        os.execv(sys.executable, [sys.executable, "-m", "camarchiver", *map(str, arguments)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    said, answered = b"", False
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:
            break
        if not block:
            break
        said += block
        if b"Go on?" in said and not answered:
            os.write(terminal, answer)
            answered = True
    os.waitpid(child, 0)
    os.close(terminal)
    return said


COMMAND = Path(sys.executable).with_name("camarchiver")
KEYS = {"format", "command", "run", "status", "exit_code", "steps", "outcomes", "totals", "errors"}
"""Of every document, also of one that tells of a failure."""
TRANSCODE_KEYS = {"encoder", "rungs", "seconds", "bytes_before", "bytes_after"}


def installed(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed console script without a terminal."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TZ": "UTC", **environment},
    )


def whole(root: Path) -> dict[str, tuple[int, int, str]]:
    """`snapshot`, with the root folder's own times."""
    return {**snapshot(root), ".": (0, root.stat().st_mtime_ns, "")}


def state_of(tree: Path) -> Path:
    return tree / "archived" / STATE_FOLDER


def numbers(file: Path, name: str, **labels: str) -> list[float]:
    """What a textfile says under a name, with these labels among others."""
    return [
        sample.value
        for family in text_string_to_metric_families(file.read_text(encoding="utf-8"))
        for sample in family.samples
        if sample.name == f"camarchiver_{name}" and labels.items() <= sample.labels.items()
    ]


def on_screen(*arguments: object, answers: bytes = b"", piped: bool = False) -> Shown:
    """Run the installed command on a terminal of its own; `answers` are typed at the question."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # no bar fits no columns
    # The shell of the tests may be a dumb terminal, or want no colours.
    shell = ["env", "--default-signal=INT", "--unset=NO_COLOR", "TZ=UTC", "TERM=xterm"]
    words = ["setsid", "--ctty", *shell, str(COMMAND), *map(str, arguments)]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=subprocess.PIPE if piped else theirs, stderr=theirs
    )
    os.close(theirs)
    screen, left = b"", answers
    deadline, typed = time.monotonic() + 60, float("inf")
    try:
        while time.monotonic() < deadline:
            if answers == b"\x03" and time.monotonic() - typed > 5:
                # input() misses a signal between its last look and its read; a person presses again.
                left = answers
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    screen += os.read(ours, 65536)
                except OSError:  # Linux tells so that the last program on this terminal has ended
                    break
            if left and b"Go on?" in screen:
                os.write(ours, left)
                left, typed = b"", time.monotonic()
        out = process.communicate(timeout=20)[0] or b""
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Shown(process.returncode, screen.decode(errors="replace"), out.decode())


Command = Callable[..., subprocess.CompletedProcess[str]]
NAME = "REO_front_20260301081500"


def without_terminal(*program: object) -> Command:
    """Runs a program, given by the beginning of its command line, without a terminal; its output as text."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "TZ": "UTC", **environment},
        )

    return run


def one_clip(root: Path, make_clip: Callable[..., Path]) -> Path:
    folder = root / "2026/03/01"
    folder.mkdir(parents=True)
    clip = make_clip("-f lavfi -i testsrc2=s=160x120:r=10:d=2 -c:v libx264 -preset ultrafast -b:v 2M")
    for path, content in ((folder / f"{NAME}.mp4", clip.read_bytes()), (folder / f"{NAME}.jpg", b"jpg")):
        path.write_bytes(content)
        os.utime(path, (1772352000, 1772352000))
    return root


@dataclass
class Manager:
    """systemd's side of one `watch`: what it was told, and the process."""

    process: subprocess.Popen[str]
    listener: socket.socket
    heard: list[str] = field(default_factory=list)

    def wait_for(self, line: str, *, more: int = 1, seconds: float = 60) -> None:
        """Listen until a line that begins so was heard once (or `more` times) more."""
        deadline = time.monotonic() + seconds
        while more:
            self.listener.settimeout(max(0.1, deadline - time.monotonic()))
            lines = self.listener.recv(4096).decode().split("\n")
            self.heard += lines
            more -= any(each.startswith(line) for each in lines)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in (errors or ""), errors
        return self.process.returncode, out, errors


def log_of(tree: Path) -> str:
    log = tree / "archiver.log"
    return log.read_text() if log.exists() else ""


def rec_exact(clips: list[Path], source: Path) -> list[tuple[int, int]]:
    """First and last frame of each clip within its source; fails where one is not the camera's own."""
    known = rec_packets(source)
    places = []
    for clip in clips:
        found = rec_packets(clip)
        first = rec_place(found.video, known.video)
        assert first >= 0, f"{clip} is not what the camera sent"
        assert rec_place(found.audio, known.audio) >= 0
        places.append((first, first + len(found.video) - 1))
    return places


@dataclass(frozen=True)
class Shown:
    """What came of a command on a terminal."""

    code: int
    screen: str
    stdout: str
    """What a pipe got, where standard output was one."""
