"""A camera's tree, and runs of the command on it that tests start and stop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

from tests.clips import FRAMES

REAL_FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def make_model_clip(clip: Path) -> Path:
    """One second of video, large for what it shows, so that encoding saves much."""
    source = f"testsrc2=size=160x120:rate={FRAMES}:duration=1"
    command = [REAL_FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-crf", "1", "-pix_fmt", "yuv420p", clip], check=True)
    return clip


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
            cwd=str(Path(__file__).parents[1]),
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
