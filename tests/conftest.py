"""Fixtures that the tests of several capabilities share."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from hypothesis import settings

from camarchiver.media import ffmpeg_find
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.record import recorder
from camarchiver.record.capture.sound.formats import Uncompressed
from camarchiver.record.clip_rules import RecordingLengths
from camarchiver.record.detection_stream import DetectionStream, OwnStream
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.outbox.rules import OutboxLimits
from camarchiver.record.watchdog import Watchdog
from camarchiver.runtime.systemd import Service
from tests import programs
from tests.cameras import REAL_FFMPEG, Camera, make_model_clip
from tests.clips import SOFTQSV, MakeClip
from tests.commands import (
    COMMAND,
    DAY,
    H264,
    START,
    Command,
    Make,
    Manager,
    Put,
    archive,
    log_of,
    one_clip,
    without_terminal,
)
from tests.processes import wait_until
from tests.recordings import REC_STILL, REC_THING, RecRecorder, RecRun, rec_items, rec_watch
from tests.samples import REC_START, mounted
from tests.web import Web
from tests.yards import Yard

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


@pytest.fixture(scope="session")
def found_ffmpegs() -> tuple[Ffmpeg, ...]:
    """What `ffmpegs.find` finds here: the embedded one at least."""
    return ffmpeg_find.find()


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


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "cams")


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server that answers whatever it is told with 200."""
    server = Web()
    yield server
    if not server.ended.is_set():
        server.close()


@pytest.fixture(scope="session")
def model_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_clip(tmp_path_factory.mktemp("model") / "clip.mp4")


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


@pytest.fixture
def rec_until() -> Callable[..., None]:
    """Wait until something is so."""

    def until(so: Callable[[], Any], *, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < end, "it did not come about"
            time.sleep(0.02)

    return until


@pytest.fixture
def disk_of_3_mib(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 3 MiB."""
    yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3M", "tmpfs")


@pytest.fixture
def rec_folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "spool" / "yard", tmp_path / "outbox" / "yard")
    folders.make()
    return folders


@pytest.fixture
def rec_recorder(rec_folders: Folders, tmp_path: Path) -> Callable[..., RecRecorder]:
    """Make a recorder of a camera."""

    def make(
        source: Any,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        manager: Service | None = None,
        lengths: RecordingLengths | None = None,
        timelapse: float | None = None,
        duration: float | None = None,
        detection: DetectionStream | None = None,
        uncompressed: Uncompressed = Uncompressed.KEEP,
    ) -> RecRecorder:
        publisher = ClipPublisher("yard", rec_folders, pictures=False, on_clip=lambda clip: None)
        keeper = OutboxKeeper("yard", rec_folders.outbox.parent, OutboxLimits(None, None), now)
        settings = recorder.RecorderSettings(
            lengths or RecordingLengths(), (), 0, duration, None, timelapse, uncompressed
        )
        watchdog = Watchdog(manager or Service({}), ("yard",))
        made = recorder.Recorder(
            settings, source, detection or OwnStream(rec_watch()), publisher, keeper, watchdog, now
        )
        return RecRecorder(rec_folders, publisher, made, threading.Event())

    return make


@pytest.fixture
def rec_take(rec_folders: Folders, rec_twice: Path) -> ClipWriter:
    """A clip of everything from the fifth keyframe on, still open."""
    opened, entries = rec_items(rec_twice)
    first = next(entry for entry in entries if entry.key and entry.at >= 4)
    take = ClipWriter(rec_folders, ClipStart(REC_START, first, 6.0, 0.2), opened.video, opened.audio)
    for entry in entries[entries.index(first) :]:
        if entry.at >= first.at:
            take.write(entry)
    return take


@pytest.fixture
def put(tmp_path: Path, make_clip: Make) -> Put:
    """Put a clip (made by ffmpeg from words, or raw bytes) into the camera tree, dated 08:15 of its day."""

    def put(relative: str | bytes, words: str | bytes = H264, *, mtime: float = START) -> Path:
        path = Path(os.fsdecode(os.fsencode(tmp_path / "camera") + b"/" + os.fsencode(relative)))
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower() or ".mp4"
        path.write_bytes(words if isinstance(words, bytes) else make_clip(words, suffix).read_bytes())
        os.utime(path, (mtime, mtime))
        return path

    (tmp_path / "camera").mkdir()
    return put


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "camera"


@pytest.fixture
def told() -> Command:
    """Run the installed command without a terminal; its output as text."""
    return without_terminal(sys.executable, "-m", "camarchiver")


@pytest.fixture
def watch(tmp_path: Path, tree: Path) -> Iterator[Callable[..., Manager]]:
    """Starts `watch` as systemd does and waits until it is ready; `managed=False`: as a shell does."""
    started: list[Manager] = []

    def start(*options: object, managed: bool = True, **environment: str) -> Manager:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = tmp_path / f"notify{len(started)}"
        listener.bind(str(address))
        shell = {key: value for key, value in os.environ.items() if key != "INVOCATION_ID"}
        notify = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"} if managed else {}
        process = subprocess.Popen(
            [str(COMMAND), "watch", str(tree), "--codec", "h264", "--trust-names", *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**shell, "TZ": "UTC", **notify, **environment},
        )
        started.append(Manager(process, listener))
        if managed:
            started[-1].wait_for("READY=1")
        else:
            wait_until(lambda: "scanned in" in log_of(tree), "the start", 60)
        return started[-1]

    (tree / DAY).mkdir(parents=True, exist_ok=True)
    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
        each.listener.close()


@pytest.fixture
def camera_tree(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """A tree with one old clip and its picture."""
    return one_clip(tmp_path / "camera", make_clip)


@pytest.fixture(scope="session")
def archived_once(tmp_path_factory: pytest.TempPathFactory, make_clip: Callable[..., Path]) -> Path:
    root = one_clip(tmp_path_factory.mktemp("archived") / "camera", make_clip)
    assert archive(root).returncode == 0
    return root


@pytest.fixture
def archived_camera(tmp_path: Path, archived_once: Path) -> Path:
    """The same tree, archived."""
    return Path(shutil.copytree(archived_once, tmp_path / "camera"))
