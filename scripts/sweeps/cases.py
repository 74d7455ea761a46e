"""The catalogue of bad input and bad circumstances: its cases, by their numbers, and where they are tried.

Cases that are files lie in one tree; the others have a tree of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import Options, Unable, camera
from sweeps.camera import FFMPEG, LATELY, Program, Ran
from tests.dates import stamp_of

ARCHIVED = "archived"
KEPT = "kept"
"""Left as it is, whatever the reason."""
IGNORED = "ignored"
"""Left as it is and not taken for a clip."""

PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=15:d=2")
SOUND = ("-f", "lavfi", "-i", "sine=d=2")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "5", "-g", "15", "-pix_fmt", "yuv420p")
CLIPS: Mapping[str, tuple[str, ...]] = {
    "plain.mp4": (*PICTURE, *SOUND, *H264, "-c:a", "aac"),
    "silent.mp4": (*PICTURE, *H264),
    "faststart.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "+faststart"),
    "fragmented.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "frag_keyframe+empty_moov"),
    "plain.ts": ("-i", "{silent.mp4}", "-c", "copy"),
    "plain.mkv": ("-i", "{silent.mp4}", "-c", "copy"),
    "plain.avi": ("-i", "{silent.mp4}", "-c", "copy"),
    "sound.mp4": SOUND,
    "two.mp4": (*PICTURE, *PICTURE, "-map", "0", "-map", "1", *H264),
    "timecode.mov": ("-i", "{silent.mp4}", "-c", "copy", "-timecode", "10:00:00:00"),
    "hevc.mp4": (
        *PICTURE,
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-x265-params",
        "log-level=error",
        "-crf",
        "5",
    ),
    "vfr.mp4": (
        *PICTURE,
        "-vf",
        "select='not(mod(n,3))+gt(n,15)*mod(n,2)'",
        "-fps_mode",
        "passthrough",
        *H264,
    ),
    "rotated.mp4": ("-display_rotation", "90", "-i", "{silent.mp4}", "-c", "copy"),
    "deep.mp4": (*PICTURE, *H264[:-1], "yuv422p10le"),
    "other-size.ts": ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=1", *H264),
    "early.mp4": (
        "-i",
        "{silent.mp4}",
        "-c",
        "copy",
        "-output_ts_offset",
        "-3",
        "-avoid_negative_ts",
        "disabled",
    ),
    "wrap.ts": ("-i", "{silent.mp4}", "-c", "copy", "-output_ts_offset", "95442.7", "-muxdelay", "0"),
    "day.mp4": ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=1/60:d=86400", *H264, "-fps_mode", "passthrough"),
    "one.mp4": (*PICTURE, *H264, "-frames:v", "1"),
}


class CaseClips:
    """Clips of every kind, made once, and the program."""

    def __init__(self, options: Options, where: Path) -> None:
        self.options, self.where = options, where
        self.dice = random.Random(options.seed)
        self._made: dict[str, Path] = {}
        (where / "clips").mkdir(parents=True)

    def clip(self, name: str) -> Path:
        """A clip that must not be changed; copy it."""
        if name not in self._made:
            path = self.where / "clips" / name
            words = [str(self.clip(word[1:-1])) if word[:1] == "{" else word for word in CLIPS[name]]
            done = subprocess.run(
                [FFMPEG, "-nostdin", "-v", "error", *words, str(path)], capture_output=True, text=True
            )
            if done.returncode:
                raise Unable(f"this ffmpeg can't make {name}: {done.stderr.strip()[-100:]}")
            self._made[name] = path
        return self._made[name]

    def put(self, path: Path, content: str | bytes = "plain.mp4", *, at: float = camera.RECORDED) -> Path:
        """A clip of that kind, or those bytes, at a path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.clip(content).read_bytes() if isinstance(content, str) else content)
        os.utime(path, (at, at))
        return path

    def tree(self, number: int) -> CaseTree:
        """A tree of its own for one case."""
        folder = self.where / f"case-{number}"
        folder.mkdir()
        return CaseTree(self, folder)


def name_of(camera_name: str, suffix: str = ".mp4") -> str:
    """A clip's name, old enough to be archived."""
    return f"REO_{camera_name}_{stamp_of(LATELY)}{suffix}"


class CaseTree:
    """One camera tree and the runs on it."""

    def __init__(self, case_clips: CaseClips, folder: Path) -> None:
        self.case_clips, self.folder, self.root = case_clips, folder, folder / "camera"
        self.archive = self.root / "archived"
        self.root.mkdir()
        self.program = Program(case_clips.options.package, folder)

    def put(self, name: str = "", content: str | bytes = "plain.mp4", *, at: float = camera.RECORDED) -> Path:
        """A clip in the tree."""
        return self.case_clips.put(self.root / (name or name_of("front")), content, at=at)

    def words(self, *more: str | Path) -> tuple[str, ...]:
        """An `archive` command."""
        chosen = () if "--ffmpeg" in more else ("--ffmpeg", FFMPEG)
        return ("archive", str(self.root), "--codec", "h264", "--jobs", "1", *chosen, *map(str, more))

    def run(self, *more: str | Path, before: tuple[str, ...] = (), code: str = camera.START) -> Ran:
        """One `archive`."""
        return self.program.run(*self.words(*more), before=before, code=code)

    def outcomes(
        self, *more: str | Path, before: tuple[str, ...] = (), code: str = camera.START
    ) -> list[str]:
        """The result of an `archive`, as `result reason` of each step, or its error's code."""
        ran = self.run("--json", *more, before=before, code=code)
        document = parse(ran)
        found = [f"{each['result']} {each['reason']}" for each in document.get("outcomes", ())]
        return found or [each["code"] for each in document.get("errors", ())] or [f"exit {ran.code}"]

    def archives(self) -> list[Path]:
        """Under final names."""
        return [path for path in camera.final(self.archive) if path.suffix in (".mp4", ".mkv")]

    def odd_ffmpeg(self, script: str) -> Path:
        """An ffmpeg that does something else, in bash, when it is to encode a clip; $REAL is the real one."""
        path = self.folder / "odd-ffmpeg"
        path.write_text(
            f'#!/bin/bash\nREAL={FFMPEG}\ncase "$*" in *REO_*.staged*)\nfor last; do :; done\n'
            f'{script}\n;; esac\nexec "$REAL" "$@"\n'
        )
        path.chmod(0o755)
        return path

    @contextlib.contextmanager
    def during(self, *, after: bool, more: tuple[str, ...] = ()) -> Iterator[None]:
        """What is done in the block happens before or after ffmpeg encodes; see `self.ran` afterwards."""
        gate, opened = self.folder / "gate", self.folder / "open"
        wait = f"touch {gate}; while [ ! -e {opened} ]; do sleep 0.02; done"
        script = f'"$REAL" "$@"; status=$?; {wait}; exit $status' if after else wait
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self.run, "--json", "--ffmpeg", self.odd_ffmpeg(script), *more)
            try:
                wait_for(lambda: gate.exists() or running.done())
                yield
            finally:
                opened.touch()
            self.ran = running.result()


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that is about to happen."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("what should have happened did not")
        time.sleep(0.02)


def parse(ran: Ran) -> dict[str, Any]:
    """The JSON document among what was said."""
    start = ran.said.find("{")
    try:
        found: dict[str, Any] = json.JSONDecoder().raw_decode(ran.said[start:])[0] if start >= 0 else {}
    except ValueError:
        return {}
    return found


Expected = Mapping[Path, str]


@dataclass(frozen=True)
class Case:
    """One entry of the catalogue."""

    number: int
    says: str
    check: Callable[[CaseClips, CaseTree], Iterable[str] | None] | None = None
    """Yields what is wrong."""
    files: Callable[[CaseClips, Path], Expected] | None = None
    """Puts files into a folder; what must come of each."""
    unable: str = ""
    """Why it can't be made anywhere."""

    def __str__(self) -> str:
        return f"{self.number}. {self.says}"


CASES: dict[int, Case] = {}


def files(number: int, says: str) -> Callable[[Callable[[CaseClips, Path], Expected]], None]:
    """Register a case of files."""

    def register(function: Callable[[CaseClips, Path], Expected]) -> None:
        CASES[number] = Case(number, says, files=function)

    return register


def case(number: int, says: str) -> Callable[[Callable[[CaseClips, CaseTree], Iterable[str] | None]], None]:
    """Register a case that has a tree of its own."""

    def register(function: Callable[[CaseClips, CaseTree], Iterable[str] | None]) -> None:
        CASES[number] = Case(number, says, check=function)

    return register
