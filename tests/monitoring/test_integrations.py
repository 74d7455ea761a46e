"""monitoring: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from camarchiver.domain.clip import Trees
from camarchiver.monitoring import metrics, notify, tree_gauges
from camarchiver.monitoring.metrics import Figure
from camarchiver.monitoring.notify import Pinger
from camarchiver.monitoring.prometheus_file import Textfile
from tests.samples import fill
from tests.web import Web


def samples(file: Path) -> dict[str, float]:
    """A textfile as Prometheus's own parser reads it."""
    found = {}
    for family in text_string_to_metric_families(file.read_text(encoding="utf-8")):
        assert family.documentation
        for sample in family.samples:
            labels = " ".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name} {labels}"] = sample.value
    return found


class TestMetrics:
    """The file for node_exporter's textfile collector."""

    OWN = metrics.labels(command="archive")

    def test_the_manual_names_every_number_and_no_other(self) -> None:
        text = Path(__file__).parents[2].joinpath("docs", "monitoring.md").read_text(encoding="utf-8")
        assert set(re.findall(r"camarchiver_[a-z_]+", text)) == set(metrics.HELP)

    def test_runs_add_up_and_nothing_else_lies_about(self, tmp_path: Path) -> None:
        file = tmp_path / "camarchiver.prom"
        odd = metrics.labels(camera='a "b"\\\n' + os.fsdecode(b"\xff"))
        for _ in range(2):
            textfile = Textfile(file)
            for count in (1, 3):  # counted from the start of this process
                assert textfile.write((self.OWN, (Figure("camarchiver_clips_total", count, odd),)))
        (key,) = samples(file)
        assert key.startswith('camarchiver_clips_total camera=a "b"')
        assert samples(file)[key] == 6
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [file.name]
        assert not list(tmp_path.glob(".*.prom"))

    def test_commands_that_write_at_once_lose_nothing(
        self, tmp_path: Path, start_python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        file = tmp_path / "camarchiver.prom"
        code = (
            "import sys\nfrom pathlib import Path\nfrom camarchiver.monitoring import metrics\n"
            "from camarchiver.monitoring.prometheus_file import Textfile\n"
            "group = metrics.labels(command=sys.argv[2]), (metrics.Figure('camarchiver_runs_total', 1),)\n"
            "for _ in range(20):\n"
            "    assert Textfile(Path(sys.argv[1])).write(group)"
        )
        for process in [start_python(code, file, name) for name in ("archive", "cleanup", "watch")]:
            assert process.wait(60) == 0
        assert set(samples(file).values()) == {20.0}
        assert len(samples(file)) == 3

    @pytest.mark.edge
    @pytest.mark.parametrize(
        "text", ["", "\0" * 100, "camarchiver_runs_total{comm", "# HELP camarchiver_x\n\x01"]
    )
    def test_a_torn_file_is_begun_anew(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "camarchiver.prom"
        file.write_text(text)
        assert Textfile(file).write((self.OWN, (Figure("camarchiver_runs_total", 1),)))
        assert list(samples(file).values()) == [1.0]

    @pytest.mark.edge
    def test_what_can_not_be_written_is_a_warning_and_no_failure(
        self, tmp_path: Path, disk_of_3_mib: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        figure = (self.OWN, (Figure("camarchiver_runs_total", 1),))
        foreign, kept = tmp_path / "node.prom", "node_time_seconds 1\n"
        foreign.write_text(kept)
        assert not Textfile(foreign).write(figure)
        assert foreign.read_text() == kept
        assert not Textfile(tmp_path / "none" / "a.prom").write(figure)
        assert not (tmp_path / "none").exists()
        whole = disk_of_3_mib / "a.prom"
        assert Textfile(whole).write(figure)
        before = whole.read_bytes()
        fill(disk_of_3_mib / "filler")
        many = tuple(Figure("camarchiver_holds", 1, metrics.labels(camera=f"c{n}")) for n in range(2000))
        assert not Textfile(whole).write((self.OWN, many))
        assert whole.read_bytes() == before
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


class TestTreeState:
    """How the trees are."""

    def test_growth_counts_the_last_two_weeks_of_the_source_alone(self, tmp_path: Path) -> None:
        source = tmp_path / "camera"
        trees = Trees(source, source / "archived", source / ".deleted")
        now = datetime(2026, 3, 20, 12, tzinfo=UTC)
        for relative, days in (
            ("2026/03/19/REO_a_20260319120000.mp4", 1),
            ("flat/REO_a_20260318120000.mp4", 2),
            ("2026/01/01/REO_a_20260101120000.mp4", 1),
            ("flat/REO_a_20260101120000.mp4", 78),
            ("archived/2026/03/19/REO_a_20260319120000.mp4", 1),
            (".deleted/input/2026/03/19/REO_a_20260319120000.mp4", 1),
            ("2026/03/19/.REO_a_20260319120000.mp4.aB3xYz", 1),
            ("2026/03/19/REO_a_20260319120000.txt", 1),
        ):
            path = source / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 700)
            made = now.timestamp() - days * 86_400
            os.utime(path, (made, made))
        assert tree_gauges.daily_bytes(trees, now) == 100.0
        found = tree_gauges.measure(trees, now, daily_bytes=100.0)
        assert [room.tree for room in found.free_spaces] == ["source", "archive", "trash"]
        assert (found.failures, found.holds) == (0, 0)

    def test_a_tree_that_is_not_there_is_measured_above(self, tmp_path: Path) -> None:
        (room,) = tree_gauges.free_spaces(("archive", tmp_path / "not" / "yet"))
        assert room.size == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


class TestNotices:
    """Commands and servers that behave, and others."""

    @staticmethod
    def command(folder: Path, body: str) -> tuple[str, ...]:
        path = folder / "tell"
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
        return (os.fspath(path), "one argument; with $HOME")

    def test_the_command_gets_arguments_and_report(self, tmp_path: Path) -> None:
        command = self.command(tmp_path, f'printf %s "$1" > {tmp_path}/words; cat > {tmp_path}/report')
        assert notify.notify(command, ('{"a": ', "1}"))
        assert (tmp_path / "words").read_text() == "one argument; with $HOME"
        assert json.loads((tmp_path / "report").read_text()) == {"a": 1}

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("echo no mail today >&2; exit 4", "exit 4: no mail today"),
            ("sleep 300 & sleep 300", "longer than 1 s"),
            ("kill -9 $$", "exit -9"),
        ],
    )
    def test_a_command_that_fails_or_hangs_is_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, said: str
    ) -> None:
        big = ("x" * 100_000 for _ in range(10))  # more than any pipe holds
        began = time.monotonic()
        assert not notify.notify(self.command(tmp_path, body), big, seconds=1.0)
        assert time.monotonic() - began < 30
        assert said in caplog.text

    def test_a_command_that_is_not_there_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        assert not notify.notify(("/no/such/command",), ("{}",))
        assert "/no/such/command can't be started" in caplog.text

    def test_start_success_and_failure_come_in_order(self, web: Web) -> None:
        pinger = Pinger(f"{web.url}/secret/")
        pinger.send("start", wait=False)
        pinger.send("success", "all is well")
        pinger.send("failure", "exit code 3")
        assert web.heard == [
            ("/secret/start", ""),
            ("/secret", "all is well"),
            ("/secret/fail", "exit code 3"),
        ]

    @pytest.mark.edge
    def test_a_server_that_stumbles_is_asked_again(self, web: Web) -> None:
        web.answers = [503, 200]
        Pinger(web.url).send("success")
        assert len(web.heard) == 2

    @pytest.mark.edge
    @pytest.mark.parametrize("how", ["silent", "trickles", "down", "refuses"])
    def test_no_server_delays_or_fails_the_run(
        self, web: Web, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        web.how = how
        url = f"{web.url}/secret"
        if how == "down":
            web.close()
        web.answers = [404] * 3 if how == "refuses" else []
        began = time.monotonic()
        pinger = Pinger(url, seconds=1.2)
        pinger.send("start", wait=False)
        assert time.monotonic() - began < 1
        pinger.send("success")
        assert time.monotonic() - began < 20
        assert caplog.records
        assert "secret" not in caplog.text
