"""scripts: decisions and formats, without a disk."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
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


class TestArchitecture:
    """docs/architecture.md says what the tree says."""

    ROOT = Path(__file__).resolve().parents[2]
    PACKAGE = ROOT / "camarchiver"

    @pytest.fixture
    def page(self) -> str:
        path = self.ROOT / "docs/architecture.md"
        if not path.exists():
            pytest.skip("docs is not beside the tests")
        return path.read_text(encoding="utf-8")

    def test_its_tables_list_every_file(self, page: str) -> None:
        listed: list[str] = []
        folder = ""
        for line in page.partition("### Every folder and file")[2].partition("\n## ")[0].splitlines():
            if heading := re.match(r"`(camarchiver/\S*)`", line):
                folder = heading[1]
            elif row := re.match(r"\| `(\S+\.py)` \|", line):
                listed.append(folder + row[1])
        files = [path for path in self.PACKAGE.rglob("*.py") if path.stat().st_size]
        described = {"camarchiver/__init__.py", "camarchiver/cli/__init__.py"}
        names = [str(path.relative_to(self.ROOT)) for path in files]
        wanted = {name for name in names if not name.endswith("__init__.py")} | described
        assert len(listed) == len(set(listed))
        wrong = [f"not on the page: {name}" for name in sorted(wanted - set(listed))]
        wrong += [f"not in the tree: {name}" for name in sorted(set(listed) - wanted)]
        assert not wrong, "\n".join(wrong)

    def test_what_it_names_exists(self, page: str) -> None:
        cited = set(re.findall(r"`((?:[\w-]+/)*\w+\.py)(?::([\w.]+))?`", page))
        in_tables = {(Path(path).name, "") for path in self.PACKAGE.rglob("*.py")}
        missing = [
            f"{path}:{name}"
            for path, name in sorted(cited - in_tables)
            if not self.exists(self.ROOT / path if path.startswith("tests/") else self.PACKAGE / path, name)
        ]
        assert not missing, "\n".join(missing)

    def test_its_diagram_is_the_contract(self, page: str) -> None:
        with (self.ROOT / "pyproject.toml").open("rb") as file:
            contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
        diagram = page.partition("```mermaid\n")[2].partition("```")[0]
        assert re.findall(r'\["(.+?)"\]', diagram) == contracts[0]["layers"]

    def exists(self, path: Path, name: str) -> bool:
        """A test may be named without its class."""
        if not path.is_file():
            return False
        names = set(self.names(ast.parse(path.read_text(encoding="utf-8"))))
        names |= {each.rpartition(".")[2] for each in names if "tests" in path.parts}
        return not name or name in names

    def names(self, tree: ast.AST, within: str = "") -> Iterator[str]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield within + node.name
                yield from self.names(node, f"{within}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (within + each.id for each in targets if isinstance(each, ast.Name))
