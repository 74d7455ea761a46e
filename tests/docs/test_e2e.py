"""README and docs: every block that can be run does what the page shows.

Each block in `sh` and `console` has a comment before it: `<!-- runs: TREE -->` names the tree of `Trees` that
stands in for /camera, `<!-- runs: TREE, answer y -->` also what is typed at the question, and
`<!-- not run: REASON -->` says what it would take. Commands must end with exit code 0; where the page shows
what is printed, also with those of a run that found something.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import on_screen
from tests.docs.trees import Trees

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^(?P<before>[^\n]*)\n *```(?P<language>sh|console)\n(?P<text>.*?)\n *```", re.M | re.S)
MARK = re.compile(r"<!-- (?:runs: (?P<tree>[\w ]+?)(?:, answer (?P<answer>\w))?|not run: (?P<why>.+?)) -->")
UNITS = {"B", "kB", "MB", "GB", "TB", "s", "min", "h", "days", "years"}
BY_MACHINE = ("  encoder: ",)
"""What begins so depends on the machine, and is not compared."""


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    place: str
    language: str
    mark: re.Match[str] | None
    lines: tuple[str, ...]

    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Each command, and the lines that the page shows of what it prints."""
        command, shown = "", list[str]()
        for line in self.lines:
            if self.language == "sh":
                if words := re.sub(r"(^| +)# .*", "", line).strip():
                    yield words, []
            elif line.startswith("$ "):
                if command:
                    yield command, shown
                command, shown = line[2:], []
            else:
                shown.append(line)
        if command:
            yield command, shown


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start("text"))
            place = f"{page.relative_to(ROOT)}:{line}"
            yield Block(
                place, found["language"], MARK.search(found["before"]), tuple(found["text"].split("\n"))
            )


BLOCKS = list(blocks())
RUN = [block for block in BLOCKS if block.mark is not None and block.mark["tree"]]


@pytest.fixture
def trees(tmp_path: Path, model_clip: Path) -> Trees:
    root = tmp_path / "camera"
    root.mkdir()
    return Trees(root, model_clip)


def pattern(line: str) -> re.Pattern[str]:
    """A line of a page: numbers, sizes, times and identifiers may differ, and `...` is anything."""
    words = []
    for word in line.split():
        if word.strip(",;:()") in UNITS or (re.search(r"\d", word) and "/" not in word):
            words.append(r"\S+")
        else:
            parts = re.split(r"(\.\.\.|\d+)", word)
            wild = {"...": ".*"}
            words.append(
                "".join(wild.get(part, r"\S*" if part.isdigit() else re.escape(part)) for part in parts)
            )
    return re.compile(r"\s*" + r"\s+".join(words) + r"\s*")


def missing(shown: list[str], printed: list[str]) -> list[str]:
    """The lines of a page that the program does not print, in this order."""
    left, wanting = iter(printed), []
    for line in shown:
        if line.strip() in ("", "...") or line.startswith(BY_MACHINE):
            continue
        if not any(pattern(line).fullmatch(each) for each in left):
            wanting.append(line)
            left = iter(printed)
    return wanting


class TestPages:
    """Every block is either run or says why it is not."""

    def test_each_block_is_marked(self) -> None:
        if not (ROOT / "docs").exists():
            pytest.skip("docs is not beside the tests")
        unmarked = [block.place for block in BLOCKS if block.mark is None]
        assert not unmarked, "\n".join(unmarked)
        assert len(RUN) > 5

    @pytest.mark.parametrize("block", RUN, ids=[block.place for block in RUN])
    def test_a_block_runs(self, block: Block, trees: Trees, tmp_path: Path) -> None:
        assert block.mark is not None
        prepare: Callable[[], None] = getattr(trees, block.mark["tree"].replace(" ", "_"))
        prepare()
        for command, shown in block.commands():
            words = re.sub(r"(?<![\w./])/camera\b", str(trees.root), command)
            code, printed = self.run(words, block.mark["answer"] or "", tmp_path, trees.root)
            said = [line.replace(str(trees.root), "/camera") for line in printed]
            told = "\n".join(said)
            wanting = missing(shown, said)
            expected = {0, 1, 3} if shown else {0}
            assert code in expected or block.mark["answer"] == "n", f"{command}: exit code {code}\n{told}"
            assert not wanting, "the page shows, and the program does not:\n" + "\n".join(
                [*wanting, "", told]
            )

    def run(self, command: str, answer: str, home: Path, tree: Path) -> tuple[int, list[str]]:
        """The exit code and what is printed; with an answer on a terminal, as a person sees it."""
        if answer:
            screen = on_screen(*command.removeprefix("camarchiver ").split(), answers=f"{answer}\n".encode())
            text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", screen.screen).replace("\r", "\n")
            return screen.code, text.split("\n")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "HOME": str(home), "TZ": "UTC", "LANG": "C.UTF-8"}
        environment |= {"CAMARCHIVER_DIRECTORY": str(tree)}
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=home,
            env=environment,
            timeout=240,
        )
        return done.returncode, done.stdout.split("\n")


class TestComparison:
    """What is held against a page, so that a wrong page is noticed."""

    def test_words_must_be_the_same(self) -> None:
        assert not missing(["archived: 6 clips, 13.1 MB -> 1.6 MB"], ["archived: 2 clips, 900 kB -> 7 kB"])
        assert missing(["archived: 6 clips"], ["archived: 6 files"]) == ["archived: 6 clips"]
        assert missing(["a", "b"], ["b", "a"]) == ["b"]
        assert not missing(["kept: 1 clip, damaged (...)"], ["kept: 1 clip, damaged (no moov)"])
        assert missing(["/camera/archived/a.mp4: x"], ["/camera/b.mp4: x"]) == ["/camera/archived/a.mp4: x"]


def test_every_option_is_in_the_reference() -> None:
    script = ROOT / "scripts/option-reference"
    if not script.exists():
        pytest.skip("scripts is not beside the tests")
    done = subprocess.run([sys.executable, script, "--check"], timeout=60)
    assert done.returncode == 0, "run scripts/option-reference"
