"""Clips, disks and faults that the tests share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

import av
import dates
import imageio_ffmpeg
import programs
import pytest
from hypothesis import settings
from msgspec import structs

from camarchiver import ffmpegs, findings, volume
from camarchiver.clearance import CleanupPlan
from camarchiver.damage import Damage, Flaw
from camarchiver.disposal import Disposer, SidecarPolicy
from camarchiver.events import Event, What
from camarchiver.ffmpegs import Ffmpeg
from camarchiver.findings import Change
from camarchiver.journal import Journal
from camarchiver.model import Archived, Clip, Disposal, Reason, Trees
from camarchiver.pipeline import Pipeline
from camarchiver.probe import Prober
from camarchiver.progress import Silent
from camarchiver.retention import CleanupPolicy, Limits
from camarchiver.scribe import RunId, Scribe
from camarchiver.steps import Discard, Encoding, Made, Report, Way
from camarchiver.stop import Stop
from camarchiver.trash import fingerprint_of

# A busy machine is no failure: speed is measured by scripts/bench, never asserted in a test.
# In CI the same examples each time: what is new is found at a desk, not in somebody else's change.
settings.register_profile("camarchiver", deadline=None, derandomize="CI" in os.environ)
settings.register_profile("few", settings.get_profile("camarchiver"), max_examples=10)
settings.load_profile("camarchiver")


def pytest_configure() -> None:
    """Who runs the tests in the background (`nohup ... &`) has SIGHUP and SIGINT ignored; what inherits that
    stays deaf to them."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest-xdist can't send what is no UTF-8, as file names in these tests are."""
    report = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    if report.longrepr is not None and (told := str(report.longrepr)) != _sendable(told):
        report.longrepr = _sendable(told)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was skipped for want of what; in pytest-xdist's workers nobody sees it."""
    if hasattr(terminalreporter.config, "workerinput"):
        return
    reports = terminalreporter.stats.get("skipped", ())
    for line in programs.tell(_reason_of(report) for report in reports):
        terminalreporter.write_line(line)


def _reason_of(report: pytest.TestReport) -> str:
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


SOFTQSV = Path(__file__).resolve().parents[2] / "shared" / "tools" / "softqsv" / "build"
MakeClip = Callable[..., Path]


@pytest.fixture(scope="session")
def found_ffmpegs() -> tuple[Ffmpeg, ...]:
    """What `ffmpegs.find` finds here: the embedded one at least."""
    return ffmpegs.find()


@pytest.fixture(scope="session")
def embedded(found_ffmpegs: tuple[Ffmpeg, ...]) -> Ffmpeg:
    """imageio-ffmpeg's ffmpeg."""
    return next(ffmpeg for ffmpeg in found_ffmpegs if ffmpeg.origin == "embedded")


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory, embedded: Ffmpeg) -> MakeClip:
    """Make a tiny clip from words in ffmpeg's language; the same words make it once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[tuple[str, str], Path] = {}

    def make(words: str, suffix: str = ".mp4") -> Path:
        if (words, suffix) not in made:
            path = folder / f"clip{len(made)}{suffix}"
            command = [embedded.path, "-v", "error", "-nostdin", *shlex.split(words), path]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
            made[words, suffix] = path
        return made[words, suffix]

    return make


@pytest.fixture(scope="session")
def softqsv_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quick Sync's stand-in, built; skips where it can't be."""
    ready = Path.home() / ".cache" / "softqsv"
    if (ready / "sq").exists():
        return ready
    if not SOFTQSV.exists():
        pytest.skip(f"Quick Sync's stand-in is not here: {SOFTQSV}")
    folder = tmp_path_factory.mktemp("softqsv")
    built = subprocess.run([SOFTQSV, folder], capture_output=True, text=True, timeout=240)
    if built.returncode:
        pytest.skip(f"Quick Sync's stand-in doesn't build here: {(built.stdout + built.stderr)[-300:]}")
    return folder


@pytest.fixture
def softqsv(softqsv_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let every program started from here see one Intel GPU; gives its render node."""
    library = softqsv_folder / "lib"
    before = os.environ.get("LD_LIBRARY_PATH")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{library}:{before}" if before else str(library))
    monkeypatch.setenv("ONEVPL_SEARCH_PATH", str(library))
    monkeypatch.setenv("LD_PRELOAD", str(library / "fakeva.so"))
    for name in ("GPU", "ENC", "DEC", "FAIL", "NODE", "NODE_ERR", "VA_INIT", "DEBUG"):
        monkeypatch.delenv(f"SOFTQSV_{name}", raising=False)
    yield Path("/dev/dri/renderD128")


PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2")
SOUND = ("-f", "lavfi", "-i", "sine=d=2")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error", "-g", "25")
IRREGULAR = ("-vf", "select='not(mod(n,3))+gt(n,25)*mod(n,2)'", "-fps_mode", "passthrough")

# Name to ffmpeg's arguments; `{NAME}` stands for the clip of that name, made before.
CLIP_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "plain.mp4": (*PICTURE, *SOUND, *H264, "-bf", "0", "-c:a", "aac"),
    "reordered.mp4": (*PICTURE, *SOUND, *H264, "-bf", "2", "-c:a", "aac"),
    "faststart.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "+faststart"),
    "fragmented.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "frag_keyframe+empty_moov"),
    "silent-fragmented.mp4": (
        *("-i", "{plain.mp4}", "-map", "0:v", "-c", "copy"),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    ),
    "reordered.mkv": ("-i", "{reordered.mp4}", "-c", "copy"),
    "reordered.ts": ("-i", "{reordered.mp4}", "-c", "copy"),
    "plain.ts": ("-i", "{plain.mp4}", "-c", "copy"),
    "h264.avi": (*PICTURE, *H264, "-bf", "2"),
    "odd-ticks.avi": ("-i", "{reordered.mp4}", "-c", "copy"),
    "slow.mp4": ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=2", *H264, "-bf", "0"),
    "slow-odd-ticks.avi": ("-i", "{slow.mp4}", "-c", "copy"),
    "hevc.mp4": (*PICTURE, *HEVC, "-tag:v", "hvc1"),
    "hevc.ts": ("-i", "{hevc.mp4}", "-c", "copy"),
    "mpeg4.avi": (*PICTURE, "-c:v", "mpeg4", "-g", "25", "-bf", "2"),
    "mjpeg.avi": (*PICTURE, "-c:v", "mjpeg"),
    "mjpeg.mkv": (*PICTURE, "-c:v", "mjpeg"),
    "irregular.mp4": (*PICTURE, *IRREGULAR, "-enc_time_base", "demux", *H264, "-bf", "2"),
    "one-frame.mp4": (*PICTURE, *H264, "-frames:v", "1"),
    "one-frame.mkv": ("-i", "{one-frame.mp4}", "-c", "copy"),
    "one-frame.ts": ("-i", "{one-frame.mp4}", "-c", "copy"),
    "pcm.mkv": ("-i", "{plain.mp4}", "-c:v", "copy", "-c:a", "pcm_alaw"),
    "timecode.mov": ("-i", "{plain.mp4}", "-c", "copy", "-timecode", "10:00:00:00"),
    "two-pictures.mp4": (*PICTURE, *PICTURE, "-map", "0", "-map", "1", *H264),
    "sound-only.mp4": SOUND,
    "many-keyframes.mkv": (
        *("-stream_loop", "150", "-f", "matroska", "-i", "{mjpeg.mkv}"),
        *("-c", "copy", "-f", "matroska"),
    ),
}
FFMPEGS = {
    "embedded": imageio_ffmpeg.get_ffmpeg_exe(),
    "system": shutil.which("ffmpeg") or "",
}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small clip of each kind; copy before you damage one."""
    folder = tmp_path_factory.mktemp("clips")
    for name, arguments in CLIP_ARGUMENTS.items():
        filled = [str(folder / word[1:-1]) if word[:1] == "{" else word for word in arguments]
        command = [FFMPEGS["embedded"], "-nostdin", "-v", "error", *filled, str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    return folder


@pytest.fixture(params=FFMPEGS)
def ffmpeg(request: pytest.FixtureRequest) -> str:
    """The path of an ffmpeg, each in turn."""
    if not FFMPEGS[request.param]:
        programs.needs("ffmpeg")
    return FFMPEGS[request.param]


@pytest.fixture
def prober() -> Iterator[Prober]:
    with Prober(patience=30) as prober:
        yield prober


CHANGES = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate", "os.utime"})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 1 MiB of its own."""
    yield from _mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1M", "tmpfs")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder mounted read-only; the same files can be written below `tmp_path / "behind"`."""
    behind = tmp_path / "behind"
    behind.mkdir()
    for place in _mounted(tmp_path / "mounted", "--bind", str(behind)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield place


def _mounted(place: Path, *options: str) -> Iterator[Path]:
    place.mkdir()
    command = ["mount", *options, str(place)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another filesystem than `tmp_path`."""
    if not os.access("/dev/shm", os.W_OK) or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second filesystem: /dev/shm is missing or the same")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def sweep_kills() -> Callable[[Callable[[], object], Callable[[], object]], int]:
    """Runs an act in children that are killed before their 1st, 2nd, ... change of a file, until one
    comes through, with a check after each; the number of kills."""

    def sweep(act: Callable[[], object], check: Callable[[], object]) -> int:
        kills = 0
        while _killed_before(kills + 1, act):
            kills += 1
            check()
        check()
        return kills

    return sweep


def _killed_before(number: int, act: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        left = number

        def count(event: str, _: object) -> None:
            nonlocal left
            left -= event in CHANGES
            if event in CHANGES and left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        status = 70
        try:
            sys.addaudithook(count)
            act()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False


@pytest.fixture
def start_python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `python -c CODE ARGS...` with the given environment on top; killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Yard:
    """A journalled tree of small files that cameras recorded before `now`; nothing is encoded."""

    def __init__(self, root: Path, *, archive_root: Path | None = None, trash_root: Path | None = None):
        self.trees = Trees(root, archive_root or root / "archived", trash_root or root / ".deleted")
        self.now = dates.ago()
        root.mkdir(exist_ok=True)
        volume.mark(self.trees)

    def record(self, days: float, camera: str = "front", size: int = 10_000) -> Clip:
        """A source that was recorded so many days before `now`."""
        start = (self.now - timedelta(days=days)).replace(microsecond=0)
        path = self.trees.source / f"{dates.clip_of(camera, start)}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{camera}{start}").randbytes(size))
        os.utime(path, (start.timestamp(),) * 2)
        return self.clip(path, camera, start)

    def clip(self, path: Path, camera: str, start: datetime) -> Clip:
        """The source that stands at `path`."""
        status = path.lstat()
        folder = path.parent.relative_to(self.trees.source).as_posix()
        pictures = tuple(p.name for p in sorted(path.parent.glob(f"{path.stem}.jpg")))
        print_of = fingerprint_of(status)
        return Clip(self.trees.source, folder, path.name, camera, start, print_of, sidecars=pictures)

    def archive(self, clip: Clip, size: int = 3000) -> Archived:
        """Stand an archive for it and journal it, as `archive --keep-source` leaves it."""
        path = self.trees.archive / clip.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a" * size)
        os.utime(path, ns=(clip.fingerprint.mtime_ns,) * 2)
        print_ = clip.fingerprint
        archived = Archived(
            clip.relative, print_.size, print_.mtime_ns, "0" * 128, clip.relative, size, False, 60.0
        )
        made = Made(Way.ENCODE, Encoding("x264", ("x264",), 1.0, print_.size, size), {}, "test")
        self.scribe(clip.start).archived(clip, archived, made, "0" * 128, print_.mtime_ns)
        return archived

    def trash(self, clip: Clip, archived: Archived, days: float) -> Path:
        """Trash the source, as `archive` did so many days before `now`."""
        scribe = self.scribe(self.now - timedelta(days=days))
        disposer = Disposer(self.trees, scribe, SidecarPolicy.TRASH)
        disposer.dispose(clip, archived, Disposal.TRASH, Reason.AGE)
        disposer.tidy(clip)
        return self.trees.trash / "input" / clip.relative

    def standing(self, days: float, camera: str = "front") -> Clip:
        """A source with its archive."""
        clip = self.record(days, camera)
        self.archive(clip)
        return clip

    def given_away(self, days: float, trashed: float, camera: str = "front") -> Path:
        """An archive whose source lies in the trash since `trashed` days."""
        clip = self.record(days, camera)
        return self.trash(clip, self.archive(clip), trashed)

    def find_damaged(self, *archives: str) -> None:
        """As `verify` writes it down, whatever these archives hold."""
        damage = Damage(
            flaw=Flaw.WRONG_HASH, detail="x", at=self.now, run="v", source="x.mp4", day=self.now.date()
        )
        findings.change(self.trees.state, Change(dict.fromkeys(archives, damage)))

    def find_sound(self, *archives: str) -> None:
        """As a later `verify` writes it down."""
        findings.change(self.trees.state, Change(sound=archives))

    def scribe(self, at: datetime) -> Scribe:
        """Writes in the name of a run of that time."""
        return Scribe(Journal(self.trees.state), RunId("20260101T000000-aaaaaa", "archive", "pi"), lambda: at)

    # --- acting --------------------------------------------------------------------------------------

    def pipeline(self, now: datetime | None = None) -> Pipeline:
        """A pipeline whose clock stands at `now`."""
        pipeline = Pipeline(self.trees, UTC, "cleanup")
        pipeline.started = now or self.now
        return pipeline

    def plan(self, now: datetime | None = None, **policy: Any) -> CleanupPlan:
        """The plan, and the pipeline's whole list of what stays."""
        return self.pipeline(now).plan_cleanup(cleanup_policy(**policy), list_all=True)

    def carry_out(self, plan: CleanupPlan, *, stop: Stop | None = None) -> Report:
        """Do what the plan says."""
        return self.pipeline().cleanup(
            plan, SidecarPolicy.TRASH, stop=stop or Stop(), display=Silent(), tell=lambda outcome: None
        )

    # --- looking -------------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """Every file of the three trees that is no state of ours, by path below the source's parent."""
        roots = {self.trees.source, self.trees.archive, self.trees.trash}
        found = {path for root in roots for path in root.rglob("*") if path.is_file()}
        return {
            os.path.relpath(path, self.trees.source): path.read_bytes()
            for path in sorted(found)
            if not path.match("*.log") and ".camarchiver" not in path.parts
        }

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Lines of the journal of these kinds."""
        files = sorted((self.trees.state / "journal").rglob("*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line for line in lines if line["event"] in kinds]


class DenseYard(Yard):
    """Three trees in which every folder holds many clips of a day, most of them alike, and some odd ones."""

    FATES = ("source", "archive", "archive", "both", "trash", "trash", "purged")
    ODDITIES = (
        *("early mtime", "late mtime", "what", "start", "zone", "microsecond", "camera", "duration"),
        *("archive", "older entry", "archived size", "no archive", "links", "reason", "replaced", "tree"),
        *("trashed size", "trashed mtime", "journalled mtime", "journalled size", "suffix", "damaged"),
    )

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root)
        self.now = datetime(2026, 1, 20, 12, tzinfo=UTC)
        self.draw = random.Random(seed)
        self.odd = ""
        self.lines: list[Event] = []
        self.damaged: set[str] = set()
        """Archives that were found damaged, by path below the archive root."""
        for days in range(-3, 50, 4):
            fate = self.draw.choice(["source", "trash", "", ""])
            for camera in ("front", "yard"):
                self.odd = self.ODDITIES[seed % len(self.ODDITIES)] if self.draw.randrange(2) else ""
                self.day(self.now - timedelta(days=days), camera, fate or self.draw.choice(self.FATES))
        Journal(self.trees.state).append(*self.lines)
        self.find_damaged(*self.damaged)

    def day(self, at: datetime, camera: str, fate: str) -> None:
        """Some hours of one camera."""
        sent = self.now - timedelta(days=self.draw.choice([3, 20.5, 21, 30, 40]))
        for hour in range(self.draw.choice([3, 4, 6, 14])):
            start = at.replace(hour=hour, minute=self.draw.randrange(60), second=self.draw.randrange(60))
            self.one(start, camera, fate, sent + timedelta(minutes=hour))

    def one(self, start: datetime, camera: str, fate: str, sent: datetime) -> None:
        """One clip: its files, and what the journal tells of it."""
        folder, stem = dates.folder_of(start), dates.clip_of(camera, start)
        size, mtime_ns = 20_000 + self.draw.randrange(99), int(start.timestamp()) * 10**9
        three_days, noon = 3 * 86_400 * 10**9, int(self.now.timestamp()) * 10**9
        mtime_ns = self.oddly("early mtime", mtime_ns, 0, -1, mtime_ns - three_days)
        mtime_ns = self.oddly("late mtime", mtime_ns, mtime_ns + 10**13, noon)
        source, has_picture = f"{stem}.mp4", self.draw.random() < 0.9
        if fate in ("source", "both"):
            self.touch(self.trees.source / source, size, mtime_ns)
            if has_picture:
                self.touch(self.trees.source / f"{stem}.jpg", 1, mtime_ns)
        if fate == "source":
            return
        archived = Event(
            self.oddly("what", What.ARCHIVED, What.ADOPTED),
            at=sent,
            run="20260101T000000-aaaaaa",
            host="nas",
            source=source,
            start=self.start(start),
            camera=self.oddly("camera", camera, "other"),
            duration=self.oddly("duration", 20.0, None, 20.5),
            source_size=size,
            source_mtime_ns=self.oddly("journalled mtime", mtime_ns, 0, mtime_ns - three_days, mtime_ns + 1),
            source_blake2b="5" * 128,
            archive=self.oddly("archive", source, f"{stem}~2.mp4", f"{folder}/other.mp4"),
            archive_size=size // 2,
        )
        older = structs.replace(archived, duration=99.0), structs.replace(archived, source_size=7)
        self.lines += [*self.oddly("older entry", (), older[:1], older[1:]), archived]
        lies = self.trees.archive / str(archived.archive)
        if self.oddly("no archive", True, False):
            self.touch(lies, self.oddly("archived size", size // 2, 7), mtime_ns)
            if has_picture:
                self.touch(lies.with_suffix(".jpg"), 1, mtime_ns)
            self.link_oddly(lies)
            self.drop_oddly(lies)
        if self.oddly("damaged", False, True):
            self.damaged.add(str(archived.archive))
        if fate in ("trash", "purged"):
            self.give_away(archived, (size, mtime_ns), has_picture, is_purged=fate == "purged")

    def start(self, start: datetime) -> datetime:
        """As the journal tells it."""
        start = self.oddly("start", start, start - timedelta(hours=start.hour + 1), start.replace(hour=23))
        start = self.oddly("zone", start, start.astimezone(ZoneInfo("Asia/Tokyo")))
        return cast(datetime, self.oddly("microsecond", start, start.replace(microsecond=5)))

    def give_away(
        self, archived: Event, identity: tuple[int, int], has_picture: bool, *, is_purged: bool
    ) -> None:
        """The source went to the trash, and perhaps from there."""
        place = f"input/{archived.source}"
        gone = structs.replace(
            archived,
            event=What.TRASHED,
            source_blake2b=None,
            trash=place,
            reason=self.oddly("reason", self.oddly("replaced", "age", "replaced", None), "max-age-hard"),
            source_mtime_ns=self.oddly("journalled mtime", archived.source_mtime_ns, identity[1]),
            source_size=self.oddly("journalled size", archived.source_size, 7),
            sidecars={f"{Path(archived.source).stem}.jpg": "/x"} if has_picture else None,
            duration=self.oddly("duration", None, 21.0),
            tree=self.oddly("tree", None, "source", "archive", "trash"),
        )
        self.lines.append(gone)
        if is_purged:
            self.lines.append(structs.replace(gone, event=What.PURGED, tree="trash"))
            return
        there, (size, mtime_ns) = self.trees.trash / place, identity
        self.touch(
            there,
            self.oddly("trashed size", size, 5),
            self.oddly("trashed mtime", mtime_ns, mtime_ns + 1),
        )
        self.link_oddly(there)
        self.drop_oddly(there)

    def drop_oddly(self, path: Path) -> None:
        """Now and then a file of somebody else's, of every sort."""
        if self.oddly("suffix", False, True):
            for suffix in (".ts", ".jpeg", ".MP4", ".m4v", ".txt", ".png"):
                self.touch(path.with_suffix(suffix), 3, 0)

    def link_oddly(self, path: Path) -> None:
        """Now and then another name for a file, in a folder of its own."""
        if self.oddly("links", False, True):
            other = path.parent / "2020/other" / path.name
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)

    def oddly(self, which: str, usual: Any, *odd: Any) -> Any:
        """The usual, and now and then something else, where this is what is odd on the day."""
        return self.draw.choice(odd) if which == self.odd and not self.draw.randrange(5) else usual

    def touch(self, path: Path, size: int, mtime_ns: int) -> None:
        """A file without blocks."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
        os.utime(path, ns=(mtime_ns, mtime_ns))


def cleanup_policy(
    age: float = 30,
    archive_age: float | None = None,
    trash_age: float = 21,
    max_age_hard: float | None = None,
    cameras_own: Mapping[str, Limits] | None = None,
    **fields: Any,
) -> CleanupPolicy:
    """A policy with ages in days."""
    limits = Limits(
        timedelta(days=age),
        timedelta(days=age if archive_age is None else archive_age),
        timedelta(days=trash_age),
        None if max_age_hard is None else timedelta(days=max_age_hard),
    )
    return CleanupPolicy(limits, cameras_own or {}, **fields)


def reasons_of(plan: CleanupPlan) -> dict[str, str]:
    """By path below its tree's root: what the plan says of each file, kept ones as their reason alone."""
    taken = {
        step.relative: f"{step.disposal} {step.reason}"
        if isinstance(step, Discard)
        else f"tidy {step.reason}"
        for step in plan.steps
    }
    return {**{kept.relative: str(kept.reason) for kept in plan.left}, **taken}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "cams")


REAL_FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
FRAMES = 15
RECORDED = 1704449700
"""2024-01-05 10:15:00 UTC, as the names say."""
DAY = "2024/01/05"
IS_ROOT = os.geteuid() == 0


@dataclass
class Run:
    """One start of `camarchiver archive`."""

    process: subprocess.Popen[str]
    out: str = ""
    errors: str = ""

    @property
    def code(self) -> int:
        return self.process.returncode

    def end(self, seconds: float = 60.0) -> Run:
        """Wait until it has ended."""
        try:
            self.out, self.errors = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        assert "Traceback" not in self.errors, self.errors
        return self

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document


@dataclass
class Camera:
    """A source tree in a temporary folder, with the archive and the trash below it."""

    root: Path
    home: Path
    archive_root: Path
    model: Path
    originals: dict[str, bytes] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)

    def add(self, camera: str = "front", clock: str = "101500") -> Path:
        path = self.root / DAY / f"REO_{camera}_20240105{clock}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.model, path)
        os.utime(path, (RECORDED, RECORDED))
        self.originals[path.relative_to(self.root).as_posix()] = path.read_bytes()
        return path

    def start(self, *options: str, ffmpeg: str | Path = REAL_FFMPEG, host: str = "", patch: str = "") -> Run:
        """`patch` is Python that is run before the command, to put a fault into it."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        if host:
            environment["CAMARCHIVER_HOST_ID"] = host
        # A shell that runs the tests in the background leaves SIGINT ignored for all its children.
        awake = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
        main = f"{awake}\n{patch}\nfrom camarchiver.__main__ import main\nmain()"
        command = [sys.executable, "-c", main, "archive", str(self.root)]
        command += ["-o", str(self.archive_root), "--codec", "h264", "--ffmpeg", str(ffmpeg), *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=environment,
            cwd=str(Path(__file__).parent),
        )
        self.runs.append(Run(process))
        return self.runs[-1]

    def archive(self, *options: str, **how: Any) -> Run:
        return self.start(*options, **how).end()

    # --- looking -----------------------------------------------------------------------------------

    def archives(self) -> list[Path]:
        """Files under final names in the archive."""
        found = (path for path in self.archive_root.rglob("*.mp4") if not path.name.startswith("."))
        return sorted(path for path in found if ".camarchiver" not in path.parts)

    def trashed(self, below: str = "input") -> list[Path]:
        return sorted((self.root / ".deleted" / below).rglob("*.mp4"))

    def sources(self) -> list[Path]:
        return sorted((self.root / "2024").rglob("*.mp4"))

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        files = sorted((self.archive_root / ".camarchiver/journal").rglob("*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line for line in lines if not kinds or line["event"] in kinds]

    def litter(self) -> list[str]:
        """Staged files, clip locks and claims."""
        roots = {self.root, self.archive_root}
        paths = {path for root in roots for path in root.rglob("*")}
        return sorted(
            str(path)
            for path in paths
            if ".staged" in path.name
            or path.name.endswith((".mp4.lock", ".new"))
            or path.match("claims/*.json")
            or (path.match("locks/*.lock"))
        )

    def assert_nothing_lost(self) -> None:
        """Each clip stands untouched in the source, or whole in archive and trash."""
        for relative, content in self.originals.items():
            source = self.root / relative
            if source.exists():
                assert source.read_bytes() == content, f"{relative} was changed"
                continue
            trashed = self.root / ".deleted/input" / relative
            assert trashed.read_bytes() == content, f"{relative} is not in the trash"
            assert (self.archive_root / relative).exists(), f"{relative} has no archive"
        for archive in self.archives():
            assert frames_of(archive) == FRAMES, f"{archive} is no complete archive"

    def assert_finished(self) -> None:
        """Every clip is archived once and trashed, the journal says so, and nothing lies about."""
        self.assert_nothing_lost()
        assert self.sources() == []
        assert len(self.archives()) == len(self.originals)
        for relative in self.originals:
            made = [event for event in self.events("archived", "adopted") if event["source"] == relative]
            went = [event for event in self.events("trashed") if event["source"] == relative]
            assert any((self.archive_root / event["archive"]).exists() for event in made)
            assert any((self.root / ".deleted" / event["trash"]).exists() for event in went)
        # A note that a kill left half written says nothing of its age; it goes with a later start.
        assert [path for path in self.litter() if not path.endswith(".new")] == []


def frames_of(path: Path) -> int:
    """Frames that decode; -1 for what is no video."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0))
    except (av.FFmpegError, IndexError):
        return -1


def wait_until(true: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {seconds:.0f} s"
        time.sleep(0.01)


FAKE_RPICAM = """#!/bin/sh
# rpicam-vid, as far as the recorder needs it
echo "$@" >> {folder}/rpicam-arguments
{script}
exec {ffmpeg} -v error -re -i {clip} -c copy -f mpegts -flush_packets 1 -
"""

FAKE_PICAMERA2 = {
    "__init__": """
import threading, time
import av
CLIP = {clip!r}
FAULT = {fault!r}
class Picamera2:
    def __init__(self, number):
        if FAULT == "none":
            raise IndexError("list index out of range")
        self.closed = threading.Event()
        self.luma = None
        self.fresh = threading.Condition()
    def create_video_configuration(self, main, lores, controls):
        assert main["format"] == lores["format"] == "YUV420" and "FrameRate" in controls
        return dict(main=main, lores=lores)
    def configure(self, config):
        self.lores = config["lores"]
    def stream_configuration(self, name):
        assert name == "lores"
        return dict(size=self.lores["size"], stride=384)
    def start_recording(self, encoder, output):
        assert encoder.repeat and 1 <= encoder.iperiod <= 30
        output.start()
        self.thread = threading.Thread(target=self.run, args=(output,), daemon=True)
        self.thread.start()
    def run(self, output):
        import numpy as np
        width, height = self.lores["size"]
        decoder = None
        began = time.monotonic()
        with av.open(CLIP) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if not packet.size or self.closed.is_set():
                    continue
                at = float(packet.pts * packet.time_base)
                if FAULT == "stall" and at > 2:
                    return
                time.sleep(max(0, began + at - time.monotonic()))
                for frame in packet.decode():
                    small = frame.reformat(width, height, "gray").to_ndarray()
                    buffer = np.zeros((height * 3 // 2, 384), np.uint8)
                    buffer[:height, :width] = small
                    with self.fresh:
                        self.luma = buffer.reshape(-1)
                        self.fresh.notify_all()
                output.outputframe(bytes(packet), packet.is_keyframe, round(at * 1e6), None, False)
    def capture_buffer(self, name):
        if FAULT == "lores" and self.luma is not None:
            raise RuntimeError("lores went away")
        with self.fresh:
            self.fresh.wait()
        return self.luma
    def stop_recording(self):
        self.closed.set()
    def close(self):
        self.closed.set()
""",
    "encoders": """
class H264Encoder:
    def __init__(self, bitrate=None, repeat=False, iperiod=None):
        self.repeat, self.iperiod = repeat, iperiod
""",
    "outputs": """
class Output:
    def __init__(self, pts=None):
        self.recording = False
    def start(self):
        self.recording = True
    def stop(self):
        self.recording = False
""",
}


@pytest.fixture
def rec_annexb(rec_make: Callable[..., Path]) -> Path:
    """A moving clip as a Raspberry Pi's encoder writes it: no B-frames, with parameter sets."""
    clip = rec_make((3, 4.5), d=8, options="-g 15 -sc_threshold 0 -bf 0", sound=False)
    stream = clip.with_name("pi.ts")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(clip), "-c", "copy"]
    subprocess.run([*command, str(stream)], check=True)
    return stream


@pytest.fixture
def rec_rpicam(tmp_path: Path, rec_annexb: Path) -> Callable[[str], dict[str, str]]:
    """The environment in which rpicam-vid is a fake; `script` runs before it sends anything."""

    def make(script: str = "") -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir()
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        text = FAKE_RPICAM.format(folder=folder, ffmpeg=ffmpeg, clip=rec_annexb, script=script)
        (folder / "rpicam-vid").write_text(text)
        (folder / "rpicam-vid").chmod(0o755)
        return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    return make


@pytest.fixture
def rec_picamera(tmp_path: Path, rec_annexb: Path) -> Callable[[str], Path]:
    """A folder with a fake picamera2 to import, which has one of its faults where one is named."""

    def make(fault: str = "") -> Path:
        folder = tmp_path / "python"
        (folder / "picamera2").mkdir(parents=True)
        for name, text in FAKE_PICAMERA2.items():
            filled = text.replace("{clip!r}", repr(str(rec_annexb))).replace("{fault!r}", repr(fault))
            (folder / "picamera2" / f"{name}.py").write_text(filled)
        return folder

    return make


def children_with(text: str) -> list[int]:
    """Living processes of this one whose command line holds a text."""
    found = []
    for pid in processes_with(text):
        with contextlib.suppress(OSError):
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(pid)
    return found


def processes_with(text: str) -> list[int]:
    """Living processes whose command line holds a text."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if text.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A mount that is gone after the test; skips where nobody may mount."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class Web:
    """A web server on loopback, and what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.answers: list[int] = []
        """Status codes of the next answers; 200 afterwards."""
        self.how = ""
        """`silent` or `trickles` where it does not answer as it should."""
        self.ended = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                web.heard.append((self.path, body.decode()))
                if web.how == "silent":
                    web.ended.wait(60)
                    return
                self.send_response(web.answers.pop(0) if web.answers else 200)
                self.send_header("Content-Length", "100" if web.how == "trickles" else "2")
                self.end_headers()
                while web.how == "trickles" and not web.ended.wait(0.2):
                    self.wfile.write(b"O")
                self.wfile.write(b"OK")

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Leave nobody listening on its port."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server that answers whatever it is told with 200."""
    server = Web()
    yield server
    if not server.ended.is_set():
        server.close()


@pytest.fixture(scope="session")
def model_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of video, large for what it shows, so that encoding saves much."""
    clip = tmp_path_factory.mktemp("model") / "clip.mp4"
    source = f"testsrc2=size=160x120:rate={FRAMES}:duration=1"
    command = [REAL_FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-crf", "1", "-pix_fmt", "yuv420p", clip], check=True)
    return clip


@pytest.fixture
def camera(tmp_path: Path, model_clip: Path) -> Iterator[Camera]:
    """An empty source tree; whatever was started on it is ended after the test."""
    root = tmp_path / "camera"
    root.mkdir()
    made = Camera(root, tmp_path, root / "archived", model_clip)
    yield made
    for run in made.runs:
        if run.process.poll() is None:
            run.process.send_signal(signal.SIGKILL)
            run.process.communicate()


@pytest.fixture
def odd_ffmpeg(tmp_path: Path) -> Callable[[str], Path]:
    """Makes an ffmpeg that does something else when it is to encode a clip of the tree.

    The script gets the real one as $REAL and the arguments as "$@"; every other start goes through to
    the real one, so that the probes of the encoder work.
    """

    def make(script: str) -> Path:
        path = tmp_path / "odd-ffmpeg"
        text = f"""#!/bin/bash
REAL={REAL_FFMPEG}
case "$*" in
  *20240105*.staged*)
    for last; do :; done
{script}
    ;;
esac
exec "$REAL" "$@"
"""
        path.write_text(text)
        path.chmod(0o755)
        return path

    return make


REC_STILL = "color=gray:s=640x360:r=15:d={d},noise=alls=60:all_seed=7,boxblur=2,noise=alls=5:allf=t"
REC_THING = "color=white:s=50x90:r=15:d={d},drawbox=x=10:y=20:w=30:h=30:c=black:t=fill"
RecRun = Callable[..., subprocess.CompletedProcess[str]]

REC_SERVER = """
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={sys.argv[2]} ! qtdemux name=d"
    "  d. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1"
    "  d. ! queue ! aacparse ! rtpmp4apay name=pay1 pt=97 )"
)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


@dataclass(frozen=True, slots=True)
class RecPackets:
    """The packets of a file, in the order of decoding."""

    video: tuple[str, ...]
    """A hash of each."""
    audio: tuple[str, ...]
    times: tuple[float, ...]
    """Presentation times of the video, in seconds."""
    audio_times: tuple[float, ...]


def rec_packets(path: Path) -> RecPackets:
    """Every packet of a file."""
    found: dict[str, list[tuple[str, float]]] = {"video": [], "audio": []}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                digest = hashlib.md5(bytes(packet)).hexdigest()
                found[packet.stream.type].append((digest, float(packet.pts * packet.time_base)))
    (video, times), (audio, audio_times) = (
        tuple(zip(*found[kind], strict=True)) or ((), ()) for kind in ("video", "audio")
    )
    return RecPackets(video, audio, times, audio_times)


def rec_place(part: tuple[str, ...], whole: tuple[str, ...]) -> int:
    """Where `part` lies within `whole` without a gap; -1 if it doesn't."""
    starts = (n for n in range(len(whole) - len(part) + 1) if whole[n : n + len(part)] == part)
    return next(starts, -1)


def rec_slices(path: Path) -> tuple[str, ...]:
    """A digest of each H.264 packet's slices, which are the same in mp4 and in a transport stream."""
    digests = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        in_mp4 = (stream.codec_context.extradata or b"")[:1] == b"\x01"
        for packet in container.demux(stream):
            data, units = bytes(packet), []
            if in_mp4:
                while data:
                    length = int.from_bytes(data[:4]) + 4
                    units.append(data[4:length])
                    data = data[length:]
            else:
                units = re.split(rb"\x00*\x00\x00\x01", data)
            slices = [unit for unit in units if unit and unit[0] & 31 in (1, 5)]
            if slices:
                digests.append(hashlib.sha256(b"".join(slices)).hexdigest())
    return tuple(digests)


def rec_old(outbox: Path, days: float, *, size: int = 100, camera: str = "yard") -> Path:
    """A clip that was recorded some days ago, in UTC."""
    start = dates.ago(days)
    path = outbox / camera / f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (start.timestamp(),) * 2)
    return path


def rec_clips(folder: Path) -> list[Path]:
    """The clips of an outbox."""
    return sorted(folder.rglob("motion_*.mp4"))


@pytest.fixture(scope="session")
def rec_make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a clip in which a thing moves over a still, noisy background between the given seconds."""
    folder = tmp_path_factory.mktemp("motion")
    made: dict[str, Path] = {}

    def make(
        *spans: tuple[float, float], d: int = 24, options: str = "-g 15 -bf 2", sound: bool = True
    ) -> Path:
        words = f"{spans} {d} {options} {sound}"
        if words not in made:
            path = folder / f"moving{len(made)}.mp4"
            when = "+".join(f"between(t,{begin},{end})" for begin, end in spans) or "0"
            place = f"[0][1]overlay=x='if({when},100+100*mod(t,2),-200)':y=140"
            inputs = [REC_STILL.format(d=d), REC_THING.format(d=d), *([f"sine=d={d}"] if sound else [])]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin"]
            for one in inputs:
                command += ["-f", "lavfi", "-i", one]
            command += ["-filter_complex", place, "-c:v", "libx264", "-preset", "veryfast", *options.split()]
            subprocess.run([*command, "-c:a", "aac", "-shortest", str(path)], check=True, timeout=60)
            made[words] = path
        return made[words]

    return make


@pytest.fixture(scope="session")
def rec_twice(rec_make: Callable[..., Path]) -> Path:
    """24 seconds with sound and reordered frames, motion from 6 to 8 and from 16 to 18."""
    return rec_make((6, 8), (16, 18))


@pytest.fixture
def rec_command() -> list[str]:
    """The installed command."""
    return [str(Path(sys.executable).with_name("camarchiver")), "record"]


@pytest.fixture
def rec_run(tmp_path: Path, rec_command: list[str]) -> RecRun:
    """Run `record --json` in a folder of its own to its end."""

    def run(*words: str | Path, camera: str = "yard") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*rec_command, "--camera", camera, "--min-free", "0", "--json", *map(str, words)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def rec_start(tmp_path: Path, rec_command: list[str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `record --json`; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*rec_command, "--camera", "yard", "--min-free", "0", "--json", *map(str, words)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@dataclass(frozen=True, slots=True)
class RecCamera:
    """A loopback RTSP camera that shows a clip to whoever connects."""

    port: int
    clip: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self) -> subprocess.Popen[str]:
        """Switch it on; it answers when this returns."""
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", REC_SERVER, str(self.port), str(self.clip)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process


@pytest.fixture
def rec_rtsp(rec_twice: Path) -> RecCamera:
    """A camera to be started; skips where GStreamer's RTSP server isn't there."""
    programs.needs("gst-rtsp-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return RecCamera(free.getsockname()[1], rec_twice)


@pytest.fixture
def rec_small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 400 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder]).returncode
    ):
        pytest.skip("a tmpfs can't be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def rec_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 6 MB, room for some clips."""
    yield from mounted(tmp_path / "rec_disk", "-t", "tmpfs", "-o", "size=6m", "tmpfs")


@pytest.fixture
def rec_until() -> Callable[..., None]:
    """Wait until something is so."""

    def until(so: Callable[[], Any], *, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.02)

    return until


def rec_document(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON document of a run."""
    document: dict[str, Any] = json.loads(ran.stdout)
    return document
