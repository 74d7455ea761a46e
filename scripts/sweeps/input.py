"""Bad input and bad circumstances, a case each by its number in the catalogue, with what must come of it.

Cases that are files lie in one tree and are judged after one run; the others have a tree of their own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import Options, Sweep, Tally, Unable, camera, violation
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


class Lab:
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

    def tree(self, number: int) -> Ground:
        """A tree of its own for one case."""
        folder = self.where / f"case-{number}"
        folder.mkdir()
        return Ground(self, folder)


def name_of(camera_name: str, suffix: str = ".mp4") -> str:
    """A clip's name, old enough to be archived."""
    return f"REO_{camera_name}_{stamp_of(LATELY)}{suffix}"


class Ground:
    """One camera tree and the runs on it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder, self.root = lab, folder, folder / "camera"
        self.archive = self.root / "archived"
        self.root.mkdir()
        self.program = Program(lab.options.package, folder)

    def put(self, name: str = "", content: str | bytes = "plain.mp4", *, at: float = camera.RECORDED) -> Path:
        """A clip in the tree."""
        return self.lab.put(self.root / (name or name_of("front")), content, at=at)

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
        """What an `archive` came to, as `result reason` of each step, or its error's code."""
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
    check: Callable[[Lab, Ground], Iterable[str] | None] | None = None
    """Yields what is wrong."""
    files: Callable[[Lab, Path], Expected] | None = None
    """Puts files into a folder; what must come of each."""
    unable: str = ""
    """Why it can't be made anywhere."""

    def __str__(self) -> str:
        return f"{self.number}. {self.says}"


CASES: dict[int, Case] = {}


def files(number: int, says: str) -> Callable[[Callable[[Lab, Path], Expected]], None]:
    """Register a case of files."""

    def register(function: Callable[[Lab, Path], Expected]) -> None:
        CASES[number] = Case(number, says, files=function)

    return register


def case(number: int, says: str) -> Callable[[Callable[[Lab, Ground], Iterable[str] | None]], None]:
    """Register a case that has a tree of its own."""

    def register(function: Callable[[Lab, Ground], Iterable[str] | None]) -> None:
        CASES[number] = Case(number, says, check=function)

    return register


def _batch(lab: Lab, chosen: list[Case]) -> dict[int, list[str]]:
    """Run the cases of files in one tree; what is wrong with each."""
    ground = lab.tree(0)
    expected: dict[int, Expected] = {}
    found: dict[int, list[str]] = {}
    for each in chosen:
        assert each.files is not None
        with contextlib.suppress(Unable):
            expected[each.number] = each.files(lab, ground.root / f"c{each.number:03}")
    before = {path: _state(path) for paths in expected.values() for path in paths}
    ran = ground.run("--json", "-v")
    document = parse(ran)
    steps = {_path(each, "path"): each["reason"] for each in document.get("steps", ())}
    steps |= {_path(each, "path"): each["reason"] for each in document.get("outcomes", ())}
    done = (each for each in document.get("outcomes", ()) if each["result"] == "done")
    targets = {_path(each, "path"): _path(each, "target") for each in done}
    for number, paths in expected.items():
        problems = [
            p
            for path, want in paths.items()
            for p in _judge(ground, path, want, before[path], steps, targets)
        ]
        found[number] = problems
    if not document or ran.code not in (0, 3):
        found[0] = [f"the run over all of them ends with {ran.code}: {ran.tail}", *ran.problems()]
    return found


def _path(fields: Mapping[str, str], key: str) -> str:
    """A path of the JSON format, also one that is no UTF-8."""
    raw = fields.get(f"{key}_bytes")
    return os.fsdecode(base64.b64decode(raw)) if raw else fields[key]


def _state(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    content = camera.digest(path) if path.is_file() and not path.is_symlink() else None
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, content


def _judge(
    ground: Ground,
    path: Path,
    want: str,
    before: tuple[object, ...],
    steps: Mapping[str, str],
    targets: Mapping[str, str],
) -> Iterator[str]:
    shown = os.path.relpath(path, ground.root).encode("ascii", "backslashreplace").decode()
    key = str(path)
    if want != ARCHIVED:
        if not os.path.lexists(path) or _state(path) != before:
            yield f"{shown} was changed or removed"
        if want == IGNORED and key in steps and steps[key] != "not-a-clip":
            yield f"{shown} was taken for a clip: {steps[key]}"
        elif want not in (KEPT, IGNORED) and steps.get(key) != want:
            yield f"{shown} is {steps.get(key, 'not reported')}, not {want}"
        return
    trashed = ground.root / ".deleted/input" / path.relative_to(ground.root)
    if os.path.lexists(path):
        yield f"{shown} was not archived: {steps.get(key, 'not reported')}"
    elif not trashed.is_file() or camera.digest(trashed) != before[-1]:
        yield f"{shown} is lost"
    else:
        target = targets.get(key)
        frames = camera.frames(trashed)
        if target is None or camera.frames(Path(target)) != frames:
            yield f"{shown}: its archive has not its {frames} frames"


def sweep(options: Options) -> Iterator[Tally]:
    """Every case that can be made here."""
    from sweeps import bad_files, bad_moments, bad_places  # noqa: F401

    began = time.monotonic()
    every = [CASES[number] for number in sorted(CASES)]
    if options.sample is not None:
        random.Random(options.seed).shuffle(every)
        every = every[: options.sample]
    skipped: dict[int, str] = {}
    bad = 0
    with options.folder("input") as where:
        lab = Lab(options, where)
        together = [each for each in every if each.files]
        found = _batch(lab, together) if together else {}
        alone = [each for each in every if each.check]
        with ThreadPoolExecutor(options.jobs) as pool:
            for each, problems in zip(alone, pool.map(lambda each: _alone(lab, each), alone), strict=True):
                if isinstance(problems, str):
                    skipped[each.number] = problems
                else:
                    found[each.number] = problems
        for each in together:
            if each.number not in found:
                skipped[each.number] = "can't be made here"
        for number, problems in sorted(found.items()):
            if problems:
                bad += 1
                violation(f"input, {CASES.get(number, number)}", problems)
    skipped |= {each.number: each.unable for each in every if each.unable}
    note = ", ".join(f"{number} ({why})" for number, why in skipped.items())
    note = f"skipped: {note}" if note else ""
    trials = len(every) - len(skipped)
    yield Tally("input", trials, bad, time.monotonic() - began, note, skipped=tuple(skipped.values()))


def _alone(lab: Lab, each: Case) -> list[str] | str:
    """What is wrong, or why it can't be tried."""
    assert each.check is not None
    ground = lab.tree(each.number)
    try:
        return list(each.check(lab, ground) or ())
    except Unable as unable:
        return unable.why
    except (OSError, ValueError, KeyError, IndexError, TimeoutError) as error:
        return [f"the case itself fails: {error!r}"]
    finally:
        if not lab.options.keep:
            shutil.rmtree(ground.folder, ignore_errors=True)


SWEEPS = (Sweep("input", sweep, share=20),)
