"""discovery: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs
from pytest_mock import MockerFixture

from camarchiver.archive import planner as archive_planner
from camarchiver.cleanup import planner as cleanup_planner
from camarchiver.discovery.clip_ends import ClipEnds
from camarchiver.discovery.source_tree import Discovery
from camarchiver.domain.clip import Tree, Trees
from camarchiver.domain.clocks import Clocks
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.memory import Memory
from camarchiver.domain.plan import Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Result
from camarchiver.domain.steps import CheckCopy, Keep, RemoveCopy, RemoveLeftover
from camarchiver.journal.store import Journal
from camarchiver.media.parsing.prober import Prober
from camarchiver.naming.patterns import Names
from camarchiver.pipeline import Pipeline
from camarchiver.policy import ordering
from camarchiver.policy.archive_rules import ArchivePolicy, decide_archive
from camarchiver.state import holds
from camarchiver.storage import walk
from camarchiver.storage.walk import TreeWalk
from tests.yards import DenseYard, Yard, cleanup_policy

NOBODY = 65534


class TestOffsiteCopies:
    """What the journal knows of copies at a remote."""

    @pytest.mark.parametrize(
        ("remote", "prefix"),
        [("nas:", "nas:"), ("nas:cameras", "nas:cameras/"), ("/mnt/disk", "/mnt/disk/")],
    )
    def test_a_copy_is_named_as_rclone_names_it(self, yard: Yard, remote: str, prefix: str) -> None:
        """`nas:/a.mp4` would be another file of an SFTP server than `nas:a.mp4`."""
        clip = yard.record(40)
        archived = yard.archive(clip)
        archive = structs.replace(clip, root=yard.trees.archive)
        identity = archived.size, archived.mtime_ns
        step = CheckCopy(archive, Reason.COPY_UNPROVED, archived.source, identity, "0" * 128, "a.mp4")
        writer = yard.writer(clip.start)
        yard.pipeline().journal.append(writer.copy_verified(step, remote, "read back"))
        plan = yard.plan(max_age_hard=30, allow_large=True)
        assert f"{prefix}a.mp4" in [str(step.path) for step in plan.steps]
        assert not [kept for kept in plan.left if kept.reason is Reason.UNREADABLE]


class TestWalk:
    """One folder's entries by kind, and the folders below a root."""

    @pytest.fixture
    def root(self) -> Iterator[Path]:
        """A folder that every user may enter; pytest's own are root's alone."""
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            yield Path(folder)

    def test_each_entry_is_of_one_kind(self, root: Path) -> None:
        for name in ("a.mp4", "B.MP4", "c.vob", "a.jpg", ".a.mp4", "a.mp4.lock", "d.part"):
            (root / name).write_bytes(b"x" * 3)
        (root / "link.mp4").symlink_to("a.mp4")
        (root / "below").symlink_to("/tmp")
        for name in ("2026", ".hidden", "folder.mp4"):
            (root / name).mkdir()
        listing = walk.look(root)
        assert {name: status.st_size for name, status in listing.files.items()} == {"a.mp4": 3, "B.MP4": 3}
        assert (listing.pictures, listing.irregular, listing.links) == (["a.jpg"], ["link.mp4"], ["below"])
        assert sorted(listing.temporary) == [".a.mp4", "a.mp4.lock", "d.part"]
        assert listing.foreign == ["c.vob"]
        assert sorted(listing.folders) == [".hidden", "2026", "folder.mp4"]
        assert len([*listing.names(), *listing.folders]) == len(list(root.iterdir()))
        assert "a.jpg" in walk.look(root, pictures=True).files
        some = walk.look(root, wanted={"a.mp4"})
        assert (list(some.files), some.skipped) == (["a.mp4"], ["B.MP4"])
        assert some.clip_names() == listing.clip_names() == ["B.MP4", "a.mp4", "link.mp4"]

    def test_folders_come_in_order_and_neither_links_nor_pruned_ones_are_entered(self, root: Path) -> None:
        for folder in ("b/x", "b/c", "a", "archived/2026", ".camarchiver", "b-c"):
            (root / folder).mkdir(parents=True)
        (root / "link").symlink_to(root / "b")
        tree = TreeWalk(root, pruned=(root / "archived", Path("/elsewhere")))
        assert [folder for folder, _ in walk.readable(tree)] == ["", "a", "b", "b/c", "b/x", "b-c"]
        every = TreeWalk(root, start="b", enters=walk.every_folder)
        assert [folder for folder, _ in walk.readable(every)] == ["b", "b/c", "b/x"]
        with pytest.raises(OSError, match=os.strerror(errno.ENOTDIR)):
            TreeWalk(root).look("link")

    def test_the_folders_in_one_may_be_left(self, root: Path) -> None:
        for folder in ("a", "b/c/d", "b/e", "f"):
            (root / folder).mkdir(parents=True)
        tree, seen = TreeWalk(root), []
        for folder in tree:
            tree.look(folder)
            seen.append(folder)
            if folder == "b":
                tree.leave()
        assert seen == ["", "a", "b", "f"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
    def test_clips_of_a_folder_that_may_be_listed_and_not_entered_are_reported(self, root: Path) -> None:
        (root / "2026/03/01").mkdir(parents=True)
        (root / "2026/03/01/REO_front_20260301081500.mp4").write_bytes(b"x")
        (root / "2026/03/01").chmod(0o744)
        code = (
            "import encodings.latin_1, os, sys\nfrom datetime import UTC, date, datetime\n"
            "from pathlib import Path\nfrom camarchiver.discovery.clip_ends import ClipEnds\n"
            "from camarchiver.discovery.source_tree import Discovery\n"
            "from camarchiver.domain.clip import Trees\nfrom camarchiver.journal.store import Journal\n"
            "from camarchiver.domain.conventions import Conventions\n"
            "from camarchiver.naming.patterns import Names\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "root = Path(sys.argv[1]); trees = Trees(root, root / 'archived', root / '.deleted')\n"
            "walk = Discovery(trees, Names(), Journal(trees.state), ClipEnds((), None), {},\n"
            "                 datetime.now(UTC), UTC, Conventions())\n"
            "print(*(each.reason for facts in walk.folders(date.max) for each in facts.set_aside))\n"
        )
        done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == "unreadable", done.stderr

    def test_single_clips_of_a_tree_that_was_brought_here_are_left_alone(self, yard: Yard) -> None:
        """Watch may have heard of its clips before its marker came."""
        clip = yard.record(40)
        state = yard.trees.source / clip.folder.partition("/")[0] / ".camarchiver"
        state.mkdir()
        (state / "volume").write_text("0" * 32)
        policy = ArchivePolicy(timedelta(days=1))
        found = [*archive_planner.decide_some(yard.pipeline(), clip.folder, {clip.name}, policy)]
        assert [(step.relative, step.reason) for step in found] == [(state.parent.name, Reason.OTHER_TREE)]

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
    @pytest.mark.parametrize(
        ("modes", "name", "said"),
        [
            ((0o755, 0o700), "volume", "True yard"),
            ((0o755, 0o755), "other", "False "),
            ((0o744, 0o755), "other", "True "),
        ],
    )
    def test_a_state_that_may_not_be_read_is_that_of_another_tree(
        self, root: Path, modes: tuple[int, int], name: str, said: str
    ) -> None:
        """Its holds can't be read either. A folder that may not be entered is none for that."""
        state = root / "yard/.camarchiver"
        state.mkdir(parents=True)
        (state / name).write_text("0" * 32)
        for folder, mode in zip((state.parent, state), modes, strict=True):
            folder.chmod(mode)
        code = (
            "import os, sys\nfrom pathlib import Path\n"
            "from camarchiver.state.volume_marker import is_tree, tree_around\n"
            "from camarchiver.storage.walk import look\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "yard = Path(sys.argv[1])\n"
            "print(is_tree(yard, look(yard)), tree_around(yard.parent, 'yard/2026/03'), end='')\n"
        )
        words = (sys.executable, "-c", code, root / "yard")
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.stdout == said, done.stderr


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
        steps = archive_planner.plan(pipeline, ArchivePolicy(timedelta(days=1)), list_all=True).left
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
        opened = mocker.spy(Prober, "read_header")
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
            return Discovery(
                yard.trees, Names(), Journal(yard.trees.state), ends, (), self.NOW, zone, Conventions()
            )

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
        pipeline = Pipeline(yard.trees, zone, "archive", started=self.NOW)
        made = archive_planner.plan(pipeline, policy, list_all=True)
        assert list(made.steps) == changes
        assert list(made.left) == [step for step in steps if isinstance(step, Keep)]
        assert made.totals == tally.totals()
        assert len(made.steps) == len(changes)
        return len(changes)


class TestCopies:
    """Every file of the three trees is told once, and what a plan takes is carried out file by file."""

    POLICIES: ClassVar[list[dict[str, Any]]] = [
        {},
        {"age": 12.9, "trash_age": 5},
        {"trash_age": 0},
        {"clean_output": True, "archive_age": 14},
        {"unarchived": True, "age": 14},
        {"clean_output": True, "unarchived": True, "max_size": 900_000},
        {"cameras": frozenset({"front"})},
        {"max_age_hard": 22},
    ]

    def test_every_clip_gets_one_decision(self, tmp_path: Path) -> None:
        for seed in range(len(DenseYard.ODDITIES)):
            yard = DenseYard(tmp_path / str(seed), seed)
            yard.clocks = Clocks(names_everywhere=bool(seed % 2))
            policy = cleanup_policy(allow_large=True, **self.POLICIES[seed % len(self.POLICIES)])
            plan = cleanup_planner.plan(yard.pipeline(), policy, list_all=True)
            told = Counter(
                each.path for each in (*plan.steps, *plan.left) if not isinstance(each, RemoveLeftover)
            )
            assert set(told.values()) == {1}
            assert self.clips(yard) <= told.keys()
            for step in plan.steps:
                if isinstance(step, RemoveCopy) and step.reason is not Reason.MAX_AGE_HARD:
                    assert step.archived is None or step.archived.archive not in yard.damaged
                    assert step.tree is not Tree.ARCHIVE or step.relative not in yard.damaged
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

    def test_an_archive_that_was_found_damaged_keeps_its_copy_in_the_trash(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed = [yard.given_away(30 + hour / 100, trashed=25) for hour in range(6)]
        yard.standing(1)
        asked = cleanup_policy(allow_large=True)

        def taken() -> set[Path]:
            plan = cleanup_planner.plan(yard.pipeline(), asked, list_all=False)
            return {step.path for step in plan.steps if isinstance(step, RemoveCopy)}

        assert taken() == set(trashed)
        bad = trashed[2].relative_to(yard.trees.trash / "input").as_posix()
        yard.find_damaged(bad)
        assert taken() == set(trashed) - {trashed[2]}
        kept = {step.path: step for step in yard.plan(allow_large=True).left}
        assert kept[trashed[2]].reason is Reason.LAST_COPY
        assert "wrong-hash" in kept[trashed[2]].detail
        assert kept[yard.trees.archive / bad].reason is Reason.DAMAGED
        yard.find_sound(bad)
        assert taken() == set(trashed)

    def test_a_plan_is_carried_out_file_by_file(self, tmp_path: Path) -> None:
        yard = DenseYard(tmp_path / "cams", 5)
        plan = cleanup_planner.plan(
            yard.pipeline(), cleanup_policy(trash_age=1, allow_large=True), list_all=False
        )
        before = yard.files().keys()
        steps = [step for step in plan.steps if isinstance(step, RemoveCopy) and step.tree is Tree.TRASH]
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
