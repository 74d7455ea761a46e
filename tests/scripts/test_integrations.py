"""scripts: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))


@pytest.fixture(scope="session")
def runnable_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the units whose programs are those of this checkout."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: apt-get install systemd")
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
