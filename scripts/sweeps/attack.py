"""A hostile uploader: links planted and swapped at every path that the program touches, playlists that call
themselves clips, and state files of a hostile hand. Nothing outside the trees may change or be read."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Options, Sweep, Tally, Unable, archive, camera, cleanup, restore, tally
from sweeps.calls import Stage, Subject
from sweeps.camera import LATELY, Program
from tests import programs
from tests.dates import stamp_of

SUBJECTS = (
    Subject("archive", archive.make_model, archive.Tree),
    Subject("cleanup", cleanup.make_model, cleanup.Tree),
    Subject("restore", restore.make_model, restore.Tree),
)
ROUNDS = 5
"""How often the links of one folder are raced."""

CALLS = "?mkdir,?mkdirat,?link,?linkat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?openat,?creat"
WRITES = re.compile(r"\b(?:mkdir|mkdirat|link|linkat|rename|renameat2?|unlink|unlinkat|rmdir|openat|creat)\(")
RANDOM = re.compile(r"\.staged|/claims/|/intents/|/runs/|[0-9a-f]{16}|\.probe|\.lock\.")


PASSING = re.compile(r"\.staged|\.lock$|\.probe")


@dataclass(frozen=True)
class Plant:
    """A link at one path of the trees, put there before the run or swapped in and out during it."""

    subject: Subject
    path: str
    """Below the source root."""
    swapped: int = 0
    """Which round of racing; 0 for a planted link."""

    def __str__(self) -> str:
        how = f"swapped for a link, round {self.swapped}" if self.swapped else "a link from the start"
        return f"{self.subject.name}: {self.path} is {how}"


def touched(subject: Subject, options: Options, where: Path, model: Path) -> list[str]:
    """Every path below the source root that a run writes, makes or removes, and the folders above it."""
    folder = where / f"dry-{subject.name}"
    folder.mkdir()
    stage, log = subject.stage(options, folder, model), folder / "calls"
    calls = (
        "?mkdir,?mkdirat,?link,?linkat,?rename,?renameat,?renameat2,?unlink,?unlinkat,?rmdir,?openat,?creat"
    )
    ran = stage.run(
        ("strace", "-qq", "-y", "-s", "4096", "-o", str(log), "-e", f"trace={calls}"), inside=False
    )
    if ran.code:
        raise SystemExit(f"{subject.name}: a run without attacks fails: {ran.said}")
    root = folder / "camera"
    found: set[str] = set()
    for line in log.read_text(errors="replace").splitlines():
        if not WRITES.search(line) or ("openat(" in line and "O_WRONLY" not in line and "O_RDWR" not in line):
            continue
        joined = re.sub(r'<([^>]*)>, "(?!/)', r'"\1/', line)
        found |= {path for path in re.findall(r'"([^"]*)"', joined) if path.startswith(f"{root}/")}
    inside = {os.path.relpath(path, root) for path in found}
    every = {part for path in inside for part in (path, *map(str, Path(path).parents))}
    roots = {".", "archived", ".deleted"}
    return sorted(path for path in every - roots if not RANDOM.search(path))


class Outside:
    """What lies beside the trees and must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "outside"
        (self.root / "folder").mkdir(parents=True)
        (self.root / "precious").write_bytes(b"precious")
        camera.make_picture(self.root / "folder" / "picture.jpg")
        self.before = self._look()

    def seal(self) -> None:
        """From now on it must not change."""
        self.before = self._look()

    def changes(self, *, passing: bool = False) -> Iterator[str]:
        """What changed since it was sealed.

        `passing` lets an unfinished file or a lock of a random or known name be new: ffmpeg goes by a path,
        and a folder that is a link for the blink of an eye gets such a file, but never a final name.
        """
        now = self._look()
        for path in sorted(self.before.keys() | now.keys()):
            if passing and path not in self.before and PASSING.search(path):
                continue
            if self.before.get(path) != now.get(path):
                what = "made" if path not in self.before else "removed" if path not in now else "changed"
                yield f"outside the trees {path} was {what}"

    def _look(self) -> dict[str, str]:
        found = {}
        for path in self.root.rglob("*"):
            status = path.lstat()
            content = camera.digest(path) if path.is_file() and not path.is_symlink() else ""
            found[str(path.relative_to(self.root))] = f"{status.st_mode} {content}"
        return found


def attempt(plant: Plant, *, options: Options, model: Path) -> list[str]:
    """Run with the link in place; what changed outside, and what was lost."""
    with options.folder("attack") as folder:
        stage = plant.subject.stage(options, folder, model)
        outside, path = Outside(folder), folder / "camera" / plant.path
        if plant.swapped:
            path.mkdir(parents=True, exist_ok=True)
            with _swapping(path, outside, random.Random(f"{options.seed} {plant}")):
                ran = stage.run((), inside=False)
        else:
            _plant(path, outside)
            outside.seal()
            ran = stage.run((), inside=False)
        problems = [*ran.problems(), *outside.changes(passing=bool(plant.swapped))]
        kept = set(camera.digests(folder).values())
        problems += [f"{name} is lost" for name, digest in _footage(stage, model) if digest not in kept]
        return [f"{problem} (exit {ran.code})" for problem in problems]


def _footage(stage: Stage, model: Path) -> Iterator[tuple[str, str]]:
    """What no run of these may lose, wherever it ends up."""
    gone = {f".deleted/input/{cleanup.TRASHED}.mp4"} if isinstance(stage, cleanup.Tree) else set()
    for name, digest in camera.digests(model).items():
        if name.endswith((".mp4", ".jpg")) and name not in gone:
            yield name, digest


def _plant(path: Path, outside: Outside) -> None:
    """Put a link at a path: to what was there, moved outside, or to something precious."""
    target = outside.root / "moved" / path.name
    target.parent.mkdir()
    if os.path.lexists(path):
        shutil.move(path, target)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = outside.root / ("precious" if path.suffix else "folder")
    path.symlink_to(target)


@contextlib.contextmanager
def _swapping(path: Path, outside: Outside, dice: random.Random) -> Iterator[None]:
    """Exchange a folder and a link to a folder outside, at random moments, while the block runs."""
    link = path.parent / f"~{path.name}"
    link.symlink_to(outside.root / "folder")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            _exchange(path, link)
            time.sleep(dice.random() ** 3 * 0.03)

    racer = threading.Thread(target=swap)
    racer.start()
    try:
        yield
    finally:
        over.set()
        racer.join()


def _exchange(one: Path, other: Path) -> None:
    """Two names change places, in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile '{secret}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n",
    "hls-file": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>file://{secret}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "imf": '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><AssetList>'
    "<Asset><ChunkList><Chunk><Path>{secret}</Path></Chunk></ChunkList></Asset></AssetList></AssetMap>",
    "asx": '<asx version="3.0"><entry><ref href="file://{secret}"/></entry></asx>',
    "lavfi": "movie={secret}",
    "vapoursynth": "import os\nos.system('touch pwned')\n",
}


NAMES = ("$(touch pwned)", "`touch pwned`", "; touch pwned;", "| touch pwned", "&& touch pwned", "%n%s")


def playlists(options: Options, where: Path) -> Iterator[str]:
    """Files that call themselves clips and lead a naive demuxer to other files, or to an execution."""
    root = where / "camera"
    root.mkdir()
    secret = camera.make_clip(where / "outside" / "secret.ts")
    for kind, text in PLAYLISTS.items():
        for suffix in (".mp4", ".mkv", ".ts", ".avi"):
            clip = root / f"REO_{kind}{suffix[1:]}_{stamp_of(LATELY)}{suffix}"
            clip.write_text(text.format(secret=secret))
            os.utime(clip, (camera.RECORDED,) * 2)
    for name in NAMES:
        camera.make_clip(root / f"REO_{name}_{stamp_of(LATELY)}.mp4")
        camera.make_clip(root / name / f"REO_x_{stamp_of(LATELY)}.mp4")
    log = where / "calls"
    strace = ("strace", "-f", "-qq", "-y", "-o", str(log), "-e", "trace=?openat,?open,?connect")
    program = Program(options.package, where)
    ran = program.run("archive", root, "--codec", "h264", "--ffmpeg", camera.FFMPEG, before=strace)
    yield from ran.problems()
    for line in log.read_text(errors="replace").splitlines():
        if str(secret) in line or ("connect(" in line and "AF_INET" in line):
            yield f"a playlist was followed: {line.strip()[:200]}"
    yield from (f"something was executed: {path}" for path in where.rglob("pwned*") if path.name == "pwned")
    for kind in PLAYLISTS:
        for clip in root.glob(f"REO_{kind}*"):
            if not clip.exists():
                yield f"{clip.name} left the source"


HOSTILE = (
    "../outside/precious",
    "/OUTSIDE/precious",
    "2026/../../outside/precious",
    "..",
    "",
    "a\0b",
    "x" * 5000,
)
ODD: tuple[object, ...] = (
    *(None, -1, 10**30, 10**400, 1.5, 1e300, float("inf"), float("nan"), [], {}, [[]], True),
    *("\x1b[31m", "\ud800"),
    *("2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-10:00"),
)


def state(options: Options, where: Path) -> Iterator[str]:
    """A journal, claims, notes and state files that somebody else wrote; then every command."""
    dice, model = random.Random(options.seed), where / "model"
    model.mkdir()
    cleanup.make_model(options, model)
    stage = cleanup.Tree(options, where, model)
    outside = Outside(where)
    root, own = stage.root, stage.archive / ".camarchiver"
    lines = [event for event in camera.events(stage.archive) if event["event"] in ("archived", "trashed")]
    for path in list((own / "journal").rglob("*.jsonl")):
        with path.open("a") as journal:
            for line in _hostile_lines(lines, outside.root, dice):
                journal.write(line + "\n")
    for folder, usual in (("claims", _CLAIM), ("intents", _NOTE), ("runs", _RECORD)):
        (own / folder).mkdir(exist_ok=True)
        for number, line in enumerate(_hostile_lines([*lines, usual], outside.root, dice)):
            name = f"29990101T000000-{number:016x}" if folder == "runs" else f"{number:016x}"
            (own / folder / f"{name}.json").write_text(line)
    for name in ("restored.json", "failures.json"):
        spoilt = {str(line["source"]): {**_MARK, dice.choice([*_MARK]): dice.choice(ODD)} for line in lines}
        (own / name).write_text(json.dumps({bad: dice.choice(ODD) for bad in HOSTILE} | spoilt))
    # Known as damaged under names that lead out, which no command may follow.
    damage = {"flaw": "missing", "detail": "\x1b[2J", "at": "2026-01-01T00:00:00Z", "run": "r"}
    damage |= {"source": "../../x.mp4", "day": f"{LATELY:%Y-%m-%d}"}
    (own / "findings.json").write_text(json.dumps({"damaged": dict.fromkeys(HOSTILE[:4], damage)}))
    # What a hold covers is reckoned from times and durations; this one keeps nothing.
    far = {"id": "h1", "camera": "nobody", "from": "0001-01-01T00:00:00+14:00"}
    far |= {"to": "9999-12-31T23:59:59-10:00", "reason": "\ud800"}
    (own / "holds.json").write_text(json.dumps({"holds": [far]}))
    for tree in (root, stage.archive, stage.trash):
        (tree / "camarchiver.toml").write_text('ffmpeg = "/bin/false"\nmax-age-hard = 1\n')
    outside.seal()
    for words in _every_command(root):
        ran = stage.program.run(*words)
        yield from (f"{words[0]}: {problem}" for problem in ran.problems())
        yield from (f"{words[0]}: {problem}" for problem in outside.changes())


_CLAIM = {"clip": "x.mp4", "size": 1, "mtime_ns": 1, "start": "2026-01-01T00:00:00+00:00", "camera": "x"}
_CLAIM |= {"sidecars": ["x.jpg"], "host": "h", "pid": 1, "run": "r", "staged": "x"}
_MARK = {"size": 1, "mtime_ns": 1, "count": 1, "at": "2026-01-01T00:00:00+00:00"}
_MARK |= {"reason": "failed", "detail": ""}
_OWNER = {"host": "h", "boot": "", "pid": 1, "nonce": "", "since": "", "namespace": "", "started": 0}
_NOTE = {"run": "", "owner": _OWNER, "days": [f"{LATELY:%Y-%m-%d}"]}


_RECORD = {"run": "29990101T000000-aaaaaa", "command": "archive", "host": "h", "status": "done", "encoded": 1}
_RECORD |= {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:00+00:00", "exit_code": 0}
_RECORD |= {"seconds": 1.0, "bytes_before": 1, "bytes_after": 1, "results": {}, "remaining": 0}


def _hostile_lines(lines: Sequence[dict[str, object]], outside: Path, dice: random.Random) -> Iterator[str]:
    """Each field of each line replaced in turn by what it must never be."""
    for line in lines:
        for key in line:
            bad = [word.replace("OUTSIDE", str(outside)[1:]) for word in HOSTILE]
            for value in (*dice.sample(bad, 3), *dice.sample(ODD, 4)):
                yield json.dumps({**line, key: value})
                yield json.dumps(
                    {**line, "event": "intended", "tree": dice.choice(("trash", "archive")), key: value}
                )
            yield json.dumps({**line, "sidecars": {dice.choice(bad): dice.choice(bad)}})
    yield from (
        "[]",
        "null",
        "{",
        "[" * 5000,
        '{"event": "trashed"}',
        "\udcff".encode("utf-8", "replace").decode(),
    )


def _every_command(root: Path) -> Iterator[tuple[str, ...]]:
    place = ("-C", str(root))
    yield ("status", str(root))
    yield ("verify", str(root))
    yield ("verify", str(root), "--repair", "-y", "--ffmpeg", camera.FFMPEG)
    yield ("why", *place, f"{cleanup.AGED}.mp4")
    yield ("restore", *place, "--list")
    yield ("restore", *place, "-y", "--since", "1970-01-01")
    yield ("archive", str(root), "--codec", "h264", "--ffmpeg", camera.FFMPEG)
    trees = ("--age", "1", "--trash-age", "1", "--clean-output", "--unarchived", "--allow-large", "--delete")
    yield ("cleanup", str(root), "-y", *trees, "--max-size", "1")
    yield ("hold", *place, "list")
    yield ("status", str(root))


CONFIGS = (
    "x = [",
    "age = -5",
    "age = 'soon'",
    "unknown = 1",
    "[archive]\njobs = 999999999999999999999",
    "[patterns]\nslow = '(?P<camera>(a+)+)$'",
    "[patterns]\nbroken = '('",
    "[patterns]\nnothing = 5",
    "[camera.front]\nage = []",
    "timezone = '../../etc/passwd'",
    "ffmpeg = ''",
    "\0",
    "a = 1\n" * 2,
    "[archive]\n[archive]",
    "x = " + "[" * 3000,
)


def configs(options: Options, where: Path) -> Iterator[str]:
    """Config files that can't be meant: a clear refusal, no hang, and the clip stays."""
    root = where / "camera"
    clip = camera.make_clip(root / f"REO_{'a' * 40}!_{stamp_of(LATELY)}.mp4")
    content = clip.read_bytes()
    program = Program(options.package, where)
    for text in CONFIGS:
        file = where / "config.toml"
        file.write_text(text)
        ran = program.run("archive", root, "--dry-run", "--config", file, seconds=60)
        yield from (f"config {text[:40]!r}: {problem}" for problem in ran.problems())
        if ran.code not in (ExitCode.DONE, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.ENCODER):
            yield f"config {text[:40]!r} ends with {ran.code}: {ran.tail}"
        if clip.read_bytes() != content:
            yield f"config {text[:40]!r} changed the clip"


def sweep(options: Options) -> Iterator[Tally]:
    """Links at every path, then playlists, state and config."""
    if why := programs.why_not("strace"):
        raise Unable(why)
    dice = random.Random(options.seed)
    with options.folder("attack") as where:
        for at, subject in enumerate(SUBJECTS):
            model = where / f"model-{subject.name}"
            model.mkdir()
            subject.make_model(options, model)
            paths = touched(subject, options, where, model)
            plants = [Plant(subject, path) for path in paths]
            # Nobody but the program's own user can change anything in its state folders (0700).
            folders = [
                path for path in paths if not Path(path).suffix and "/.camarchiver" not in f"/{path}/.."
            ]
            plants += [Plant(subject, path, number) for path in folders for number in range(1, ROUNDS + 1)]
            if options.sample is not None:
                dice.shuffle(plants)
                plants = plants[: max(1, options.sample * (at + 1) // 3 - options.sample * at // 3)]
            make = partial(attempt, options=options, model=model)
            yield tally(f"attack {subject.name}, links", plants, make, options)
    for check in (playlists, state, configs):
        with options.folder("attack") as folder:
            what = str(check.__doc__).partition(":")[0].partition(";")[0].rstrip(".")
            yield tally(f"attack, {check.__name__}", [what], partial(_all, check, options, folder), options)


def _all(
    check: Callable[[Options, Path], Iterator[str]], options: Options, folder: Path, _: str
) -> list[str]:
    return list(check(options, folder))


SWEEPS = (Sweep("attack", sweep, share=6),)
