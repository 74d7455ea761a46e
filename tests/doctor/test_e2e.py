"""doctor: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from camarchiver.errors import ExitCode
from tests.commands import COMMAND, KEYS, ONE, Put, installed, snapshot


class TestDoctor:
    """The whole table, on three machines: without a GPU, with one, with one that is forbidden."""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Path:
        """A device that stands for a render node; its group is nobody's here."""
        path = tmp_path / "renderD128"
        try:
            os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(1, 3))
            os.chown(path, 54321, 54321)
        except PermissionError:
            pytest.skip("nobody may make devices here")
        return path

    @staticmethod
    def config(tmp_path: Path, more: str = "") -> Path:
        """One ffmpeg alone is tried: the tests have little time."""
        path = tmp_path / "config.toml"
        path.write_text(f'[archive]\nffmpeg = "{imageio_ffmpeg.get_ffmpeg_exe()}"\n{more}')
        return path

    @staticmethod
    def found(done: subprocess.CompletedProcess[str], area: str) -> list[tuple[str, str]]:
        return [
            (each["verdict"], each["message"])
            for each in json.loads(done.stdout)["findings"]
            if each["area"] == area
        ]

    @pytest.mark.skipif(Path("/dev/dri").exists(), reason="this machine has a GPU")
    def test_a_machine_without_gpu(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        config = self.config(tmp_path)
        before = snapshot(tree)
        done = installed("doctor", tree, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert snapshot(tree) == before
        lines = done.stdout.splitlines()
        assert f"config       ok   {config} is sound" in lines
        assert (
            "render node  note there is no GPU here (/dev/dri is empty); encoding is done in software"
            in lines
        )
        assert "encoder      note qsv: no render node" in lines
        assert any(
            re.match(r"encoder      ok   libsvtav1 .* works \(software\) \([\d.]+ s\)", each)
            for each in lines
        )
        assert lines[-1].startswith("nothing is wrong: ")

    def test_a_machine_with_the_stand_in_gpu(
        self, tree: Path, tmp_path: Path, softqsv: Path, node: Path
    ) -> None:
        tree.mkdir()
        config = self.config(tmp_path, f'device = "{node}"\n')
        done = installed("doctor", tree, "--json", "--config", config, SOFTQSV_NODE=str(node))
        assert done.returncode == 0, done.stdout
        ((verdict, said),) = self.found(done, "render node")
        assert (verdict, said.startswith(f"{node}, driver ")) == ("ok", True)
        *_, (verdict, said) = self.found(done, "encoder")
        assert verdict == "ok"
        assert re.match(rf"archive uses av1_qsv on {node} with ffmpeg", said)

    @pytest.mark.edge
    def test_a_machine_whose_render_node_is_forbidden(self, tree: Path, tmp_path: Path, node: Path) -> None:
        tree.mkdir()
        config = self.config(tmp_path, f'device = "{node}"\n')
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        command = [*powerless, COMMAND, "doctor", tree, "--quiet", "--config", config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == ExitCode.FAILED, done.stderr
        assert (
            f"render node  BAD  no permission for {node} ({node}, driver unknown, group 54321)" in done.stdout
        )
        assert "-> usermod -aG 54321 root, then log in again" in done.stdout
        assert "encoder      BAD  there is a GPU, and it can't be used: no permission" in done.stdout
        assert re.search(r"^2 of \d+ are wrong$", done.stdout, re.MULTILINE)

    @pytest.mark.edge
    def test_a_wrong_config_is_a_finding_and_ends_nothing(self, tree: Path, tmp_path: Path) -> None:
        config = self.config(tmp_path, "agee = 30\n")
        quick = {"CAMARCHIVER_QUALITY": "best", "PATH": "/nonexistent"}
        done = installed("doctor", tree, "--json", "--config", config, **quick)
        assert done.returncode == ExitCode.FAILED, done.stderr
        document = json.loads(done.stdout)
        assert document.keys() == KEYS | {"findings"}
        assert (document["status"], document["exit_code"]) == ("failed", ExitCode.FAILED)
        assert self.found(done, "config") == [
            ("bad", f"{config}: [archive] agee is not a key; did you mean age?"),
        ]
        assert self.found(done, "trees") == [("bad", f"the source {tree} does not exist")]
        assert self.found(done, "encoder")[-1][0] == "ok"
        config.write_text("")
        variable = installed("doctor", tree, "-q", "--config", config, **quick)
        assert "config       BAD  archive: Invalid value for '--quality'" in variable.stdout
