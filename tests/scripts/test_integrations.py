"""scripts: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests import programs
from tests.record.rtsp import Faults

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))


@pytest.fixture(scope="session")
def runnable_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the units whose programs are those of this checkout."""
    programs.needs("systemd-analyze")
    folder = tmp_path_factory.mktemp("units")
    for path in UNITS.glob("*"):
        if path.suffix in (".service", ".timer"):
            text = path.read_text().replace("/etc/camarchiver/on-failure", str(UNITS / "on-failure"))
            own = str(Path(sys.executable).with_name("camarchiver"))
            (folder / path.name).write_text(text.replace("/opt/camarchiver/bin/camarchiver", own))
    return folder


class TestUnits:
    """The files of systemd/, judged by systemd's own tools."""

    @pytest.mark.parametrize("name", [*SERVICES, *TIMERS])
    def test_systemd_has_not_a_word_to_say(self, runnable_units: Path, name: str) -> None:
        # A key that systemd doesn't know only makes it say so: the exit code is 0.
        command = ["systemd-analyze", "verify", "--man=no", f"./{name}"]
        told = subprocess.run(command, cwd=runnable_units, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")

    @pytest.mark.parametrize("name", SERVICES)
    def test_exposure_is_at_most_2_5(self, runnable_units: Path, name: str) -> None:
        command = [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--threshold=25",
            "--no-pager",
            f"./{name}",
        ]
        told = subprocess.run(command, cwd=runnable_units, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stdout[-300:] + told.stderr

    def test_hardening_is_the_same_in_every_service(self) -> None:
        block = [
            (UNITS / name).read_text().partition("# What it may do, and nothing else.\n")[2]
            for name in SERVICES
        ]
        common = {text.partition("SystemCallErrorNumber=EPERM\n")[0] for text in block}
        assert len(common) == 1 and common != {""}

    def test_only_the_recorder_and_the_hook_reach_the_network(self) -> None:
        reach = [name for name in SERVICES if "PrivateNetwork=yes" not in (UNITS / name).read_text()]
        assert reach == ["camarchiver-failed@.service", "camarchiver-record@.service"]

    def test_failures_of_every_service_call_the_hook(self) -> None:
        for name in set(SERVICES) - {"camarchiver-failed@.service"}:
            assert "\nOnFailure=camarchiver-failed@%n.service\n" in (UNITS / name).read_text(), name

    def test_every_timer_catches_up_and_wakes_its_service(self) -> None:
        for name in TIMERS:
            text = (UNITS / name).read_text()
            assert "\nPersistent=yes\n" in text and "\nRandomizedDelaySec=" in text
            assert (UNITS / name).with_suffix(".service").exists()

    def test_the_hook_names_the_unit_as_a_critical_message(self) -> None:
        said = subprocess.run(
            [UNITS / "on-failure", "camarchiver-archive.service"], capture_output=True, text=True
        )
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.startswith("<2>camarchiver-archive.service failed; ")


def test_the_sweeps_say_so_without_strace(tmp_path: Path) -> None:
    """`scripts/faults` skips where no fault can be made."""
    script = Path(__file__).resolve().parents[2] / "scripts/faults"
    if not script.exists():
        pytest.skip("scripts/faults is not beside the tests")
    done = subprocess.run(
        [sys.executable, str(script), "errors"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "strace" in done.stdout
    assert re.fullmatch(r"0 passed, 0 failed, \d+ skipped", done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def sound_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a camera without faults sends it."""
    scripts = UNITS.parent / "scripts"
    if not scripts.exists():
        pytest.skip("scripts is not beside the tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(scripts))
        patch.setattr("sweeps.record_camera.SCENES", (("libx264 -g 15 -bf 0", "aac"),))
        folder = tmp_path_factory.mktemp("scenes")
        scene, _ = importlib.import_module("sweeps.record_camera").scenes(folder)
    return Path(shutil.copy(scene, folder / "motion_20260503_142005_8.0s.mp4"))


class TestRecordedClips:
    """What `scripts/faults record-camera` finds wrong with a clip."""

    @pytest.mark.parametrize(
        ("spoil", "name", "said"),
        [
            ("-c copy", "8.0s", ""),
            ("-c copy", "9.0s", "plays from 0.00 to 8.00 s"),
            ("-ss 0.5 -c copy -copyinkf", "7.5s", "can't be read|plays"),
            ("-c:v copy -af adelay=150:all=1", "8.0s", r"has its sound \+0\.1[45]"),
            ("-c:v copy -af atrim=start=0.1,asetpts=PTS-STARTPTS", "8.0s", r"has its sound -0\.1"),
            (
                "-c:a copy -vf select='not(between(n,40,43))' -fps_mode passthrough",
                "8.0s",
                "a hole of 0.33 s",
            ),
            ("-c:v copy -af aselect='not(between(n,20,23))'", "8.0s", "sound|tones"),
            ("-an -c:v copy", "8.0s", "a hole of 0.00 s in its sound"),
            ("-c copy -t 4", "4.0s", "not those before and after the motion"),
        ],
    )
    def test_each_kind_is_found(
        self,
        sound_clip: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        spoil: str,
        name: str,
        said: str,
    ) -> None:
        monkeypatch.syspath_prepend(str(UNITS.parent / "scripts"))
        path = tmp_path / f"motion_20260503_142005_{name}.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(sound_clip), *spoil.split()]
        subprocess.run([*command, str(path)], check=True)
        recorded = importlib.import_module("sweeps.recorded")
        found = "; ".join(recorded.problems_of(path, whole=True, damaged=False, unsteady=False))
        assert re.search(said, found) if said else not found

    def test_every_fault_of_the_camera_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(UNITS.parent / "scripts"))
        made = importlib.import_module("sweeps.record_camera").FAULTS
        # A stream without keyframes has its refreshes announced; the end of a test is no fault.
        others = {"refreshes", "other", "other_at", "until"}
        assert set(Faults.__struct_fields__) == {*made, *others}


SCRIPTS = sorted(
    path.name for path in (UNITS.parent / "scripts").glob("*") if path.is_file() and os.access(path, os.X_OK)
)


@pytest.mark.parametrize("script", [*(f"scripts/{name}" for name in SCRIPTS), ".ci/run"])
def test_a_script_explains_itself_and_does_nothing_else(script: str, tmp_path: Path) -> None:
    if not (UNITS.parent / script).exists():
        pytest.skip(f"{script} is not beside the tests")
    done = subprocess.run(
        [UNITS.parent / script, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(script).name in done.stdout
    assert list(tmp_path.iterdir()) == []


class TestSweeps:
    """What the fault sweeps read in a command's calls."""

    @pytest.fixture(autouse=True)
    def beside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scripts = Path(__file__).resolve().parents[2] / "scripts"
        if not scripts.exists():
            pytest.skip("scripts is not beside the tests")
        monkeypatch.syspath_prepend(str(scripts))

    @pytest.mark.parametrize(
        ("line", "spared"),
        [
            ('newfstatat(AT_FDCWD</>, "/tree/b", {}, 0) = -1 EIO (INJECTED)', False),
            (f'newfstatat(AT_FDCWD</>, "{sys.prefix}/x.so", {{}}, 0) = -1 EIO (INJECTED)', True),
            ('read(5<pipe:[12]>, "x", 1) = -1 EIO (INJECTED)', True),
            ('read(5<pipe:[12]>, "x", 1) = 1', False),
            (
                "read(5<pipe:[12]> <unfinished ...>\n8 read(3</tree/a>) = 1\n"
                "7 <... read resumed>) = -1 EIO (INJECTED)",
                True,
            ),
            (f"read(3</tree/a>) = -1 EIO (INJECTED)\n8 read(4<{sys.prefix}/x.so>) = -1 EIO (INJECTED)", True),
        ],
    )
    def test_a_fault_away_from_the_trees_is_none_of_a_disk(
        self, tmp_path: Path, line: str, spared: bool
    ) -> None:
        calls = importlib.import_module("sweeps.calls")
        (tmp_path / "calls").write_text(f'7 read(3</tree/a>, "x", 1) = 1\n7 {line}\n')
        assert calls.spares_the_disks(tmp_path / "calls") is spared
        assert calls.breaks_a_pipe(tmp_path / "calls") is ("<pipe" in line and "INJECTED" in line)
