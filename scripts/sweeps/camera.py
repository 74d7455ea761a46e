"""A small camera tree, the program that works on it, and what can be seen of its files from outside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

from sweeps import Unable, warm
from tests import dates

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
FRAMES = 15
LATELY = dates.lately()
"""When clips were recorded."""
RECORDED = LATELY.timestamp()
JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
RUN_SECONDS = 120.0
START = "from camarchiver.__main__ import main\nmain()"


@dataclass(frozen=True)
class Ran:
    """The result of one run."""

    code: int | None
    """None if it hung."""
    said: str
    """Standard output and standard error."""

    @property
    def tail(self) -> str:
        """The end of what it said."""
        return self.said.strip()[-300:]

    def problems(self) -> Iterator[str]:
        """What no run may do, whatever it meets."""
        if self.code is None:
            yield "it hangs"
        # Not our code's fault: a module that can't be read, a last word that can't be written.
        excused = ("importlib", "ImportError", "    print(")
        if "Traceback" in self.said and not any(words in self.said for words in excused):
            yield "a traceback: " + " / ".join(self.said.strip().splitlines()[-3:])


@dataclass(frozen=True)
class Program:
    """The command of a package that lies in `package`, with a home of its own."""

    package: Path
    home: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    """More of the environment."""
    warm: bool = False
    """Whether `run` begins with the program loaded already; `before` is then a tracer to be attached."""

    def environment(self) -> dict[str, str]:
        """Nothing of this machine's but the search path."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.package),
            **self.extra,
        }

    def start(
        self, *arguments: str | Path, before: tuple[str, ...] = (), code: str = START, output: Any = None
    ) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, without a terminal; `before` is a command that starts it."""
        return subprocess.Popen(
            [*before, sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output if output is not None else subprocess.DEVNULL,
            stderr=output if output is not None else subprocess.DEVNULL,
            env=self.environment(),
            cwd="/",
            start_new_session=True,
        )

    def run(
        self,
        *arguments: str | Path,
        before: tuple[str, ...] = (),
        code: str = START,
        seconds: float = RUN_SECONDS,
    ) -> Ran:
        """Run it to its end; what still runs after `seconds` is killed with all that it started."""
        with tempfile.TemporaryFile() as said:
            if self.warm:
                code_ = self._run_warm([*map(str, arguments)], before, code, said.fileno(), seconds)
                said.seek(0)
                return Ran(code_, said.read().decode(errors="replace"))
            process = self.start(*arguments, before=before, code=code, output=said)
            try:
                ended: int | None = process.wait(seconds)
            except subprocess.TimeoutExpired:
                ended = None
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()
            said.seek(0)
            return Ran(ended, said.read().decode(errors="replace"))

    def _run_warm(
        self, arguments: list[str], tracer: tuple[str, ...], code: str, output: int, seconds: float
    ) -> int | None:
        bare = replace(self, home=Path("/nonexistent"), extra={}).environment()
        interpreter = warm.interpreter(self.package, tuple(sorted(bare.items())))
        return interpreter.run(warm.Request(code, arguments, self.environment(), tracer), output, seconds)


def make_clip(path: Path, *, source: str = "testsrc2", at: float = RECORDED, frames: int = FRAMES) -> Path:
    """A clip of one second that compresses well, with that modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i"]
    made += [f"{source}=size=160x120:rate={FRAMES}", "-frames:v", str(frames), "-c:v", "libx264", "-crf", "5"]
    subprocess.run([*made, "-preset", "ultrafast", "-pix_fmt", "yuv420p", f"file:{path}"], check=True)
    os.utime(path, (at, at))
    return path


def make_picture(path: Path, *, at: float = RECORDED) -> Path:
    """A file that is taken for a picture."""
    path.write_bytes(JPEG)
    os.utime(path, (at, at))
    return path


def digest(path: Path) -> str:
    """BLAKE2b of a file."""
    return blake2b(path.read_bytes())


def blake2b(data: bytes) -> str:
    """BLAKE2b of some bytes."""
    return hashlib.blake2b(data).hexdigest()


def digests(root: Path) -> dict[str, str]:
    """Each regular file below `root`, hidden ones too, by its relative path."""
    found = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(root).as_posix(): digest(path) for path in found}


def is_whole(path: Path, original: str) -> bool:
    """Whether the file still has this digest."""
    return path.is_file() and digest(path) == original


def is_archive(path: Path, count: int = FRAMES) -> bool:
    """Whether every frame decodes."""
    return frames(path) == count


def final(root: Path) -> list[Path]:
    """Files under final names."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return [p for p in paths if not any(name.startswith(".") for name in p.relative_to(root).parts)]


def litter(root: Path) -> Iterator[str]:
    """What no run should leave behind for ever."""
    notes = ("claims/*.json", "intents/*.json")
    for path in root.rglob("*"):
        inside = path.relative_to(root)
        staged = ".staged" in path.name or path.name.endswith((".mp4.lock", ".new"))
        if staged or any(inside.match(note) for note in notes):
            yield f"left behind: {inside}"


def events(archive: Path) -> Iterator[dict[str, Any]]:
    """The journal's readable lines."""
    for file in sorted((archive / ".camarchiver/journal").rglob("*.jsonl")):
        for line in file.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)


def let_a_day_pass(root: Path) -> None:
    """What nobody touches is a day older tomorrow: the program's own files, not the footage."""
    yesterday = time.time() - 86400
    for path in root.rglob("*"):
        own = path.name.startswith(".") or ".camarchiver" in path.parts or path.name.endswith(".lock")
        # a part that has its final name, too, is the footage itself
        if own and path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
            os.utime(path, (yesterday, yesterday))
    for path in root.rglob("failures.json"):
        remembered = json.loads(path.read_text())
        for failure in remembered.values():
            failure["at"] = (datetime.fromisoformat(failure["at"]) - timedelta(days=1)).isoformat()
        path.write_text(json.dumps(remembered))


def other_disk(folder: Path) -> Path:
    """A new folder on another filesystem than `folder`; Unable where there is none."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == folder.stat().st_dev:
        raise Unable("there is no second filesystem to write to: /dev/shm")
    return Path(tempfile.mkdtemp(prefix="camarchiver-faults-", dir=memory))


def frames(path: Path) -> int:
    """Frames that decode; -1 for what is no video."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (OSError, av.FFmpegError, IndexError):
        return -1


def processes_with(text: str) -> list[int]:
    """Living processes whose command line holds a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found
