"""scripts: decisions and formats, without a disk."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest


class TestSweeps:
    """Which of a command's calls the fault sweeps try, and what they count."""

    LOG = """
7 openat(AT_FDCWD</>, "/tree/a", O_RDONLY) = 3</tree/a>
7 read(3</tree/a>, "x", 1) = 1
8 newfstatat(AT_FDCWD</>, "/tree/b", {}, 0) = 0
7 read(5<pipe:[12]>, "x", 1) = 1
7 unlink("/tree/a") = 0
7 newfstatat(AT_FDCWD</>, "/tree/c", {}, 0) = 0
8 close(4</tree/b>) = 0
7 write(1</dev/null>, "x", 1) = 1
"""

    @pytest.fixture(autouse=True)
    def beside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scripts = Path(__file__).resolve().parents[2] / "scripts"
        if not scripts.exists():
            pytest.skip("scripts is not beside the tests")
        monkeypatch.syspath_prepend(str(scripts))

    def seen(self) -> list[Any]:
        calls = importlib.import_module("sweeps.calls")
        wanted = {"openat", "read", "newfstatat", "unlink", "close", "write"}
        return list(calls.seen(self.LOG, [Path("/tree")], wanted, inside=False))

    def test_one_kill_stands_for_those_that_find_the_disk_alike(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        assert calls.worth_trying("kill", self.seen(), every_call=False) == {
            "unlink": {1: 4},
            "newfstatat": {1: 1},  # the other thread's, of which only the first with a number counts
            "write": {1: 1},
            "close": {1: 1},
        }

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

    def test_every_call_can_be_asked_for(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        tried = calls.worth_trying("kill", self.seen(), every_call=True)
        assert tried["read"] == {1: 1, 2: 1}
        assert sum(map(len, tried.values())) == 7

    def test_no_disk_fails_at_a_pipe(self) -> None:
        calls = importlib.import_module("sweeps.calls")
        tried = calls.worth_trying("errors", self.seen(), every_call=False)
        assert tried["read"] == {1: 1}
        assert "write" not in tried

    def test_a_sweep_that_is_stopped_counts_what_it_has_tried(self) -> None:
        sweeps = importlib.import_module("sweeps")
        options = sweeps.Options(Path("/nonexistent"))

        def attempt(trial: int) -> list[str]:
            if trial == 3:
                options.stopped.set()
            return []

        told = sweeps.tally("trials", range(10), attempt, options)
        assert (told.trials, told.violations, told.note) == (4, 0, "stopped, of 10")
