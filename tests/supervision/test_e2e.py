"""record: two cameras with the installed command; one recorder is killed, or the parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from camarchiver.errors import ExitCode
from tests.cameras import frames_of
from tests.processes import processes_with, wait_until
from tests.record.rtsp import RtspServer
from tests.recordings import rec_clips, rec_packets

# As in tests/capture/test_integrations.py: cameras play in real time.
pytestmark = pytest.mark.flaky(reruns=1)


@pytest.fixture
def rec_pair(rec_make: Callable[..., Path], tmp_path: Path) -> Iterator[Path]:
    """The configuration of two loopback cameras that show the same: motion from 5 to 11 of 14 seconds."""
    clip = rec_make((5, 11), d=14, options="-g 15 -bf 0")
    with RtspServer(clip) as yard, RtspServer(clip) as gate:
        config = tmp_path / "config.toml"
        config.write_text(f'[record.yard]\nsource = "{yard.url}"\n[record.gate]\nsource = "{gate.url}"\n')
        yield config


def of_camera(parent: subprocess.Popen[str]) -> list[int]:
    """The processes of its cameras, in the order of their start."""
    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    return [int(pid) for pid in listed]


def spooled(folder: Path, camera: str) -> list[Path]:
    return list((folder / "temp_clips" / camera).glob("motion_*.mp4"))


class TestCrash:
    def test_a_crashed_recorder_costs_the_other_camera_nothing_and_its_clip_is_salvaged(
        self, rec_pair: Path, rec_command: list[str], tmp_path: Path
    ) -> None:
        words = [*rec_command, "--config", str(rec_pair), "--min-free", "0", "--json", "--duration", "18s"]
        recorder = subprocess.Popen(
            words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: all(spooled(tmp_path, name) for name in ("yard", "gate")), "a clip of each", 60)
        wait_until(lambda: frames_of(spooled(tmp_path, "yard")[0]) >= 45, "what is to be salvaged")
        yard, _ = of_camera(recorder)
        os.kill(yard, signal.SIGABRT)
        said, complaints = recorder.communicate(timeout=90)
        document = json.loads(said)
        assert "yard: its recorder crashed (signal SIGABRT); it starts again in" in complaints
        assert (recorder.returncode, document["status"]) == (ExitCode.PARTIAL, "partial")
        assert ["crashed once" in each["message"] for each in document["errors"]] == [True]
        (salvaged,) = document["salvaged"]
        assert Path(salvaged).parent.name == "yard"
        assert frames_of(Path(salvaged)) >= 30
        codes = {each["camera"]: each["exit_code"] for each in document["cameras"]}
        assert codes == {"yard": ExitCode.PARTIAL, "gate": 0}
        other = rec_clips(tmp_path / "recorded_clips/gate")[0]
        times = rec_packets(other).times
        assert frames_of(other) == len(times) >= 10 * 15
        assert max(later - earlier for earlier, later in pairwise(times)) < 0.1
        assert not spooled(tmp_path, "yard")

    def test_no_recorder_outlives_its_parent(
        self, rec_pair: Path, rec_command: list[str], tmp_path: Path
    ) -> None:
        words = [*rec_command, "--config", str(rec_pair), "--min-free", "0", "--quiet"]
        recorder = subprocess.Popen(words, cwd=tmp_path)
        wait_until(lambda: all(spooled(tmp_path, name) for name in ("yard", "gate")), "a clip of each", 60)
        children = of_camera(recorder)
        assert len(children) == 2
        recorder.kill()
        recorder.wait()
        wait_until(lambda: not set(children) & set(processes_with("serve_camera")), "their end", 2)
