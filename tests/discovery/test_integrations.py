"""discovery: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from pytest_mock import MockerFixture

from camarchiver.archive import planner as archive_planner
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Tree, Trees
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Result
from camarchiver.domain.steps import Discard, Keep, Tidy
from camarchiver.journal.store import Journal
from camarchiver.media.probe import Prober
from camarchiver.naming.patterns import Names
from camarchiver.pipeline import Pipeline
from camarchiver.policy import ordering
from camarchiver.policy.archive_rules import ArchivePolicy, decide_archive
from camarchiver.state import holds
from tests.yards import DenseYard, Yard, cleanup_policy


class TestEnds:
    """When clips end, by their own word or by what comes after them."""

    @pytest.fixture
    def tree(self, tmp_path: Path, model_clip: Path) -> Callable[..., Path]:
        """Puts a clip of one second, or one that is none, into a tree; large enough for any length."""

        def put(clock: str, *, day: str = "20260301", whole: bool = True) -> Path:
            folder = tmp_path / f"camera/{day[:4]}/{day[4:6]}/{day[6:]}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"REO_front_{day}{clock}.mp4"
            shutil.copyfile(model_clip, path)
            os.truncate(path, 5_000_000 if whole else 0)
            os.truncate(path, 5_000_000)
            os.utime(path, (1772440000, 1772440000))
            return path

        return put

    @staticmethod
    def held(tmp_path: Path, clock: str) -> list[str]:
        """The clips that a hold of ten minutes covers, by the plan of `archive`."""
        root = tmp_path / "camera"
        trees = Trees(root, root / "archived", root / ".deleted")
        start = datetime.fromisoformat(f"2026-03-01T{clock}+00:00")
        state = trees.state / holds.FILE
        state.parent.mkdir(parents=True, exist_ok=True)
        for copy in trees.state.glob("holds*"):
            copy.unlink()
        holds.add(trees.state, start, start + timedelta(minutes=10), camera="", reason="x", until=None)
        pipeline = Pipeline(trees, UTC, "archive")
        steps = pipeline.plan_archive(ArchivePolicy(timedelta(days=1)), list_all=True).left
        return sorted(step.relative[-10:-4] for step in steps if step.reason is Reason.HELD)

    def test_a_clip_says_itself_how_long_it_lasts(self, tree: Callable[..., Path], tmp_path: Path) -> None:
        tree("081500")
        assert self.held(tmp_path, "08:15:00") == ["081500"]
        assert self.held(tmp_path, "08:15:01") == ["081500"]
        assert self.held(tmp_path, "08:15:02") == []
        assert self.held(tmp_path, "08:20:00") == []

    def test_what_cannot_be_read_lasts_until_the_next_clip_or_an_hour(
        self, tree: Callable[..., Path], tmp_path: Path
    ) -> None:
        tree("081500", whole=False)
        assert self.held(tmp_path, "09:10:00") == ["081500"]
        assert self.held(tmp_path, "09:20:00") == []
        tree("100000")
        assert self.held(tmp_path, "09:20:00") == ["081500"]
        tree("090000")
        assert self.held(tmp_path, "09:10:00") == []

    def test_the_next_clip_may_be_in_the_next_folder_or_in_the_archive(
        self, tree: Callable[..., Path], tmp_path: Path
    ) -> None:
        tree("223000", whole=False)
        tree("003000", day="20260302")
        assert self.held(tmp_path, "23:40:00") == ["223000"]
        line = {"event": "archived", "start": "2026-03-01T23:00:00+00:00", "camera": "front", "source": "x"}
        line |= {"at": "2026-03-02T00:00:00+00:00", "run": "r", "host": "h"}
        journal = tmp_path / "camera/archived/.camarchiver/journal/2026/03/01.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text(json.dumps(line) + "\n")
        assert self.held(tmp_path, "23:10:00") == []

    def test_nothing_is_opened_where_the_journal_knows_or_nothing_depends_on_it(
        self, tree: Callable[..., Path], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        clip = tree("081500", whole=False)
        line = {"event": "archived", "start": "2026-03-01T08:15:00+00:00", "camera": "front"}
        line |= {"at": "2026-03-02T00:00:00+00:00", "run": "r", "host": "h"}
        line |= {"source": f"2026/03/01/{clip.name}", "archive": "x.mp4", "source_blake2b": ""}
        numbers = {"duration": 900.0, "archive_size": 1, "source_size": clip.stat().st_size}
        numbers["source_mtime_ns"] = clip.stat().st_mtime_ns
        journal = tmp_path / "camera/archived/.camarchiver/journal/2026/03/01.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text(json.dumps({**line, **numbers}) + "\n")
        tree("180000")
        opened = mocker.spy(Prober, "glance")
        assert self.held(tmp_path, "08:29:00") == ["081500"]
        assert self.held(tmp_path, "08:31:00") == []
        assert self.held(tmp_path, "17:55:00") == ["180000"]
        assert opened.call_count == 0


class TestDiscovery:
    """A folder's clips are told together where they are alike; the plan is that of single clips."""

    START = datetime(2025, 10, 24, tzinfo=UTC)
    NOW = datetime(2025, 12, 1, 3, tzinfo=UTC)

    def grow(self, root: Path, seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(250):
            at = self.START + timedelta(days=draw.randrange(5), seconds=draw.randrange(86_400))
            folder = root / draw.choice(["flat", f"{at:%Y/%m/%d}", f"cam/{at:%Y-%m-%d}", ""])
            folder.mkdir(parents=True, exist_ok=True)
            stem = draw.choice(["REO_front_", "REO_front_", "yard_00_", "REO_a_2025_"]) + f"{at:%Y%m%d%H%M%S}"
            suffix = draw.choice([".mp4"] * 60 + [".mkv", ".MP4", ".ts"])
            self.touch(folder / (stem + suffix), at.timestamp(), draw.randrange(9999))
            if draw.randrange(2):
                self.touch(folder / (stem + ".jpg"), at.timestamp())
            self.oddities(folder, stem, draw.randrange(200))

    def oddities(self, folder: Path, stem: str, which: int) -> None:
        at = self.NOW.timestamp()
        match which:
            case 0:
                self.touch(folder / f"{stem}.mkv", at - 10**6)
            case 1:
                self.touch(folder / f"{stem[:-2]}99.jpg", at - 10**6)
            case 2:
                os.link(next(folder.glob(f"{stem}.*")), folder / f"REO_front_{stem[-14:-4]}0000.mp4")
            case 3:
                self.touch(folder / "no time.mp4", at - 10**6)
            case 4:
                self.touch(folder / f"{stem}.mp4.lock", at - 10**6)
            case 5:
                (folder / f"{stem}.mp4").touch()
            case 6:
                (folder / f"{stem}.m4v").mkdir()

    def touch(self, path: Path, at: float, size: int = 0) -> None:
        path.write_bytes(b"")
        os.truncate(path, size)
        os.utime(path, (at, at))

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
    def test_the_plan_has_the_decision_of_each_clip(self, tmp_path: Path, zone: str) -> None:
        found = 0
        for seed in range(6):
            yard = Yard(tmp_path / str(seed))
            self.grow(yard.trees.source, seed)
            for age in (0, 35):
                found += self.compare(yard, ArchivePolicy(timedelta(days=age)), ZoneInfo(zone))
        assert found > 300

    def compare(self, yard: Yard, policy: ArchivePolicy, zone: ZoneInfo) -> int:
        def discovery() -> Discovery:
            ends = ClipEnds((), self.NOW)
            return Discovery(yard.trees, Names(), Journal(yard.trees.state), ends, self.NOW, zone)

        cutoff = (self.NOW - policy.age).date()
        steps = [
            step
            for facts in discovery().folders(cutoff)
            for step in decide_archive(facts, policy, Memory(), self.NOW)
        ]
        tally = Tally()
        for step in steps:
            tally.add(step)
        changes = sorted((step for step in steps if not isinstance(step, Keep)), key=ordering.order_key)
        made = archive_planner.plan(yard.trees, discovery(), policy, Memory(), self.NOW, list_all=True)
        assert list(made.steps) == list(ordering.largest_first(changes))
        assert list(made.left) == [step for step in steps if isinstance(step, Keep)]
        assert made.totals == tally.totals()
        assert len(made.steps) == len(changes)
        return len(changes)


class TestCopies:
    """Every file of the three trees is told once, and what a plan takes is carried out file by file."""

    POLICIES: ClassVar[list[dict[str, Any]]] = [
        {},
        {"age": 12.9, "trash_age": 5},
        {"trash_age": 0, "trust_names": True},
        {"clean_output": True, "archive_age": 14},
        {"unarchived": True, "age": 14},
        {"clean_output": True, "unarchived": True, "max_size": 900_000},
        {"cameras": frozenset({"front"})},
        {"max_age_hard": 22},
    ]

    def test_every_clip_gets_one_decision(self, tmp_path: Path) -> None:
        for seed in range(len(DenseYard.ODDITIES)):
            yard = DenseYard(tmp_path / str(seed), seed)
            policy = cleanup_policy(allow_large=True, **self.POLICIES[seed % len(self.POLICIES)])
            plan = yard.pipeline().plan_cleanup(policy, list_all=True)
            told = Counter(each.path for each in (*plan.steps, *plan.left) if not isinstance(each, Tidy))
            assert set(told.values()) == {1}
            assert self.clips(yard) <= told.keys()
            counted = sum(total.clips for total in plan.totals if total.group.tree != "folder")
            assert counted == len(plan.steps) + len(plan.left)
            shutil.rmtree(yard.trees.source)

    def clips(self, yard: Yard) -> set[Path]:
        """Every regular file of the three trees that is called as a clip."""
        return {
            path
            for root in (yard.trees.source, yard.trees.archive, yard.trees.trash)
            for path in root.rglob("*.mp4")
            if path.is_file() and not path.is_symlink()
        }

    def test_a_plan_is_carried_out_file_by_file(self, tmp_path: Path) -> None:
        yard = DenseYard(tmp_path / "cams", 5)
        plan = yard.pipeline().plan_cleanup(cleanup_policy(trash_age=1, allow_large=True), list_all=False)
        before = yard.files().keys()
        steps = [step for step in plan.steps if isinstance(step, Discard) and step.tree is Tree.TRASH]
        assert len(steps) > 20
        spoilt, held = steps[0], steps[1]
        assert spoilt.archived is not None
        (yard.trees.archive / spoilt.archived.archive).unlink()
        soon = held.start + timedelta(seconds=1)
        holds.add(yard.trees.state, held.start, soon, camera=held.camera, reason="x", until=None)
        report = yard.carry_out(plan)
        results = {outcome.step.relative: outcome.result for outcome in report.outcomes}
        assert (results.pop(spoilt.relative), results.pop(held.relative)) == (Result.STALE, Result.HELD)
        assert set(results.values()) == {Result.DONE}
        gone = {step.path for step in plan.steps if step not in (spoilt, held)}
        assert before - yard.files().keys() >= {os.path.relpath(path, yard.trees.source) for path in gone}
