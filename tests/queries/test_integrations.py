"""queries: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from camarchiver.archive import recovery
from camarchiver.archive.clip_archiver import ClipArchiver
from camarchiver.archive.publishing import ArchiveContext
from camarchiver.archive.rearchive import repair
from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.cleanup import restore
from camarchiver.cleanup.restore import Selection
from camarchiver.domain.clip import Archived, Clip, Disposal
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding, Outcome, Result
from camarchiver.domain.steps import RemoveCopy, Restore
from camarchiver.output.lists import ClipLines
from camarchiver.pipeline import Pipeline
from camarchiver.queries import cameras, find
from camarchiver.queries.find import ClipFinder, FindQuestion, FindState
from camarchiver.queries.history import ClipHistory
from camarchiver.queries.status import StatusCounter, StatusQuestion
from camarchiver.queries.verified import Verified
from camarchiver.queries.verify import Verifier, task_for
from camarchiver.runtime import external_sort
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings, holds
from camarchiver.state.verify_checkpoint import VerifyScope
from camarchiver.storage import copying
from tests.values import MONTH
from tests.yards import Yard


class TestUnknownCameras:
    def test_a_search_that_ran_out_of_time_calls_no_camera_unknown(self, yard: Yard) -> None:
        for days in (2, 20, 40):
            yard.standing(days)
        pipeline = yard.pipeline()
        assert cameras.unknown(pipeline, {"front", "frnt"}) == ({"frnt"}, {"front"})
        assert cameras.unknown(pipeline, {"front", "frnt"}, seconds=0) == (set(), set())
        assert cameras.unknown(pipeline, {"front"}, seconds=0) == (set(), {"front"})


class TestFind:
    """Which clips are found, and in which order."""

    @staticmethod
    def found(yard: Yard, **question: Any) -> list[tuple[str, set[str]]]:
        """The name of each clip, and its states."""
        finder = ClipFinder(yard.pipeline(), FindQuestion(**question))
        return [(clip.source.rpartition("/")[2], set(clip.states)) for clip in finder.clips()]

    def test_each_clip_comes_once_with_all_its_copies_and_the_newest_last(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed = yard.given_away(40, trashed=3)
        source, both = yard.record(2, "yard"), yard.standing(20)
        gone = yard.standing(50)
        gone.path.unlink()
        (yard.trees.archive / gone.relative).unlink()
        assert self.found(yard) == [
            (trashed.name, {"archive", "trash"}),
            (both.name, {"source", "archive"}),
            (source.name, {"source"}),
        ]
        (first,) = (
            clip for clip in ClipFinder(yard.pipeline(), FindQuestion()).clips() if clip.start < both.start
        )
        assert [file.tree for file in first.files] == ["archive", "trash"]
        assert [Path(file.path).stat().st_size for file in first.files] == [file.size for file in first.files]
        only = FindQuestion(states=frozenset({FindState.TRASH}))
        (clip,) = ClipFinder(yard.pipeline(), only).clips()
        assert clip.files[0].path == str(trashed)
        assert self.found(yard, with_gone=True)[0] == (gone.name, set())

    def test_by_state(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        held, failed, damaged, plain = (yard.record(days) for days in (4, 3, 2, 1))
        start = held.start - timedelta(seconds=1)
        holds.add(yard.trees.state, start, held.start, camera="", reason="x", until=None)
        failures = yard.pipeline().failures
        failures.note(failed, Reason.DAMAGED, "x", yard.now)
        failures.flush()
        yard.archive(damaged)
        yard.find_damaged(damaged.relative)
        for state, clip in (("held", held), ("failed", failed), ("damaged", damaged)):
            found = self.found(yard, states=frozenset({FindState(state)}))
            assert [(name, state in states) for name, states in found] == [(clip.name, True)]
        (yard.trees.archive / damaged.relative).unlink()
        damaged.path.unlink()
        assert self.found(yard, states=frozenset({FindState.DAMAGED})) == [(damaged.name, {"damaged"})]
        assert damaged.name not in dict(self.found(yard, states=frozenset({FindState.ARCHIVE})))
        assert damaged.name not in dict(self.found(yard, without_missing=True))
        assert len(self.found(yard, states=frozenset({FindState.SOURCE}))) == 3
        assert plain.name in dict(self.found(yard))

    def test_every_command_knows_when_bytes_were_written_of_which_one_file_has_lost_the_time(
        self, tmp_path: Path
    ) -> None:
        """`cleanup` goes by the file that has kept it, and so must those who say what it will do."""
        yard = Yard(tmp_path / "cams")
        copied, other = yard.record(40), yard.trees.source / "other" / "x.mp4"
        other = other.with_name(copied.name)
        other.parent.mkdir()
        shutil.copy2(copied.path, other)
        os.utime(copied.path, (yard.now.timestamp(),) * 2)
        archived = yard.archive(yard.clip(copied.path, "front", copied.start))
        yard.writer(copied.start).same_content(yard.clip(other, "front", copied.start), archived)
        copied.path.unlink()
        other.unlink()
        yard.standing(1)
        start, end = yard.now - timedelta(hours=1), yard.now + timedelta(hours=1)
        found = holds.add(yard.trees.state, start, end, camera="", reason="x", until=None)
        (kept,) = (each for each in yard.plan(clean_output=True).left if each.relative == copied.relative)
        assert kept.reason is Reason.IN_POLICY
        question = StatusQuestion(MONTH, yard.now, None)
        (camera,) = StatusCounter(yard.pipeline(), question).count().cameras
        assert (camera.clock_doubtful, camera.held) == (0, 0)
        assert not self.found(yard, states=frozenset({FindState.HELD}))
        assert ClipHistory(yard.pipeline()).covered(found, yard.now)[0] == 0

    def test_a_missing_archive_is_no_copy_to_look_at(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed, lonely = yard.given_away(3, trashed=1), yard.standing(2)
        lonely.path.unlink()
        archives = [trashed.relative_to(yard.trees.trash / "input").as_posix(), lonely.relative]
        yard.find_damaged(*archives)
        for archive in archives:
            (yard.trees.archive / archive).unlink()
        first, last = ClipFinder(yard.pipeline(), FindQuestion()).clips()
        assert [(each.path, each.is_missing) for each in first.files] == [
            (str(trashed), False),
            (str(yard.trees.archive / archives[0]), True),
        ]
        lines = ClipLines()
        assert lines.line(first).split()[-4:] == ["kB", "trash,", "damaged", str(trashed)]
        path = str(yard.trees.archive / archives[1])
        assert lines.line(last).split()[-3:] == ["missing", "damaged", path]
        (found,) = ClipFinder(yard.pipeline(), FindQuestion(without_missing=True)).clips()
        assert [each.path for each in found.files] == [str(trashed)]

    def test_by_camera_and_time(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        first, second = yard.standing(3), yard.standing(2)
        other = yard.record(2.5, "yard")
        cameras = frozenset({"front"})
        assert [name for name, _ in self.found(yard, cameras=cameras)] == [first.name, second.name]
        assert [name for name, _ in self.found(yard, since=other.start)] == [other.name, second.name]
        assert [name for name, _ in self.found(yard, until=other.start)] == [first.name]
        inside = second.start + timedelta(seconds=30)  # these archives are journalled as 60 s long
        assert [name for name, _ in self.found(yard, covering=(inside, inside))] == [second.name]
        after = second.start + timedelta(seconds=90)
        assert self.found(yard, covering=(after, after)) == []
        before, later = find.nearest(yard.pipeline(), FindQuestion(cameras), other.start)
        assert (before and before.source, later and later.source) == (first.relative, second.relative)
        long_ago = yard.now - timedelta(days=4000)
        before, later = find.nearest(yard.pipeline(), FindQuestion(), long_ago)
        assert (before, later and later.source) == (None, first.relative)

    def test_flat_folders_are_sorted_too_and_memory_follows_a_day(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(external_sort, "IN_MEMORY", 3)
        yard = Yard(tmp_path / "cams")
        days = [9, 2, 7, 1, 8, 3, 6]
        for day in days:
            clip = yard.record(day, f"cam{day}")
            clip.path.rename(yard.trees.source / clip.name)
        names = [name for name, _ in self.found(yard)]
        assert [name.split("_")[1] for name in names] == [f"cam{day}" for day in sorted(days, reverse=True)]


class TestFindings:
    """The state that `verify` writes, and repairs under kills."""

    def test_a_damaged_archive_found_between_plan_and_removal_stops_it(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed, source = yard.given_away(40, trashed=30), yard.standing(41)
        yard.standing(1)
        plan = yard.plan()
        assert {step.path for step in plan.steps} == {trashed, source.path}
        archive = trashed.relative_to(yard.trees.trash / "input").as_posix()
        yard.find_damaged(archive, source.relative)
        report = yard.carry_out(plan)
        assert {each.result for each in report.outcomes} == {Result.STALE}
        assert trashed.exists() and source.path.exists()

    class Copier:
        """Makes archives as `ArchiveEncoder` does, but by copying what need not be a video."""

        examiner: ClassVar[Any] = None

        def measure(self, clip: Clip) -> Any:
            return SimpleNamespace(span=60.0)

        def unencodable(self, original: Any) -> None:
            return None

        def suffix(self, way: ArchiveMethod, original: Any) -> str:
            return ".mp4"

        def is_small_enough(self, made: EncodeResult, original: Any) -> bool:
            return True

        def tags(self, archive: Path) -> dict[str, str]:
            return {}

        def encode(self, original: Any, part: Any, **_: Any) -> EncodeResult:
            part.path.write_bytes(original.clip.path.read_bytes())
            return EncodeResult(ArchiveMethod.ENCODE, Encoding("copy", (), 0.0, 1, 1), {}, "byte for byte")

    def look(self, yard: Yard) -> tuple[Verified, Pipeline]:
        pipeline = Pipeline(yard.trees, UTC, "verify")
        task = task_for(pipeline, VerifyScope(None, 100.0, False), anew=True)
        verifier = Verifier(pipeline, task, stop=threading.Event(), ffmpeg=None)
        return verifier.run(Silent()), pipeline

    def repair(self, yard: Yard) -> list[Outcome]:
        """As `verify --repair -y` does, but for the encoder."""
        recovery.sweep(Pipeline(yard.trees, UTC, "verify"), SidecarPolicy.TRASH)
        found, pipeline = self.look(yard)
        plan = repair.plan(pipeline, [each.expected for each in found.findings if each.expected], Stop())
        remover = SourceRemover(yard.trees, pipeline.writer, SidecarPolicy.TRASH)
        context = ArchiveContext(
            yard.trees,
            pipeline.archives,
            pipeline.failures,
            remover,
            pipeline.writer,
            pipeline.holds,
            Disposal.KEEP,
        )
        archiver = ClipArchiver(context, self.Copier(), Silent(), Stop())  # type: ignore[arg-type]  # by its methods
        return [archiver.perform(step, 1) for step in plan.steps]

    def given(self, yard: Yard, days: float, *, trashed: bool) -> tuple[Path, Path]:
        """A journalled clip whose archive rots: where its source lies, and the archive."""
        clip = yard.record(days)
        digest = copying.file_digest(clip.path)
        archive = yard.trees.archive / clip.relative
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(b"a" * 3000)
        size, mtime_ns = clip.fingerprint.identity
        entry = Archived(clip.relative, size, mtime_ns, digest, clip.relative, 3000, False, 60.0)
        made = EncodeResult(ArchiveMethod.ENCODE, Encoding("x264", ("x264",), 1.0, size, 3000), {}, "test")
        yard.writer(yard.now).archived(clip, entry, made, copying.file_digest(archive), mtime_ns)
        place = yard.trash(clip, entry, 30) if trashed else clip.path
        archive.write_bytes(b"b" * 3000)
        return place, archive

    @pytest.mark.edge
    @pytest.mark.slow
    @pytest.mark.timeout(900)  # some dozens of kills, and a repair after each
    def test_killed_anywhere_the_next_repair_finishes_it(
        self, tmp_path: Path, sweep_kills: Callable[..., int]
    ) -> None:
        """The clip lies in the trash, and its folder in the source is gone."""
        model = Yard(tmp_path / "model")
        copies = [self.given(model, 40, trashed=True)]
        model.record(1)
        self.look(model)
        assert len(findings.read(model.trees.state).damaged) == 1
        place = tmp_path / "cams"
        names = [tuple(path.relative_to(model.trees.source) for path in pair) for pair in copies]
        wanted = {archive: (model.trees.source / copy).read_bytes() for copy, archive in names}

        def fresh() -> None:
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run(["cp", "-a", model.trees.source, place], check=True)

        def check() -> None:
            yard = Yard(place)
            sound = {
                archive
                for archive, content in wanted.items()
                if (place / archive).exists() and (place / archive).read_bytes() == content
            }
            yard.carry_out(yard.plan(age=1000, trash_age=0, allow_large=True))
            for copy, archive in names:
                assert (place / copy).exists() or archive in sound, "the last good copy is gone"
            for path in place.rglob("[!.]*.mp4"):
                assert len(path.read_bytes()) in (3000, 10_000), f"{path} is a part of a file"
            if all((place / copy).exists() for copy, _ in names):
                outcomes = self.repair(yard)
                assert {each.result for each in outcomes} <= {Result.DONE}, outcomes
                assert findings.read(yard.trees.state).damaged == {}
                for archive, content in wanted.items():
                    assert (place / archive).read_bytes() == content
                assert not self.look(yard)[0].findings
                left = [path.name for path in place.rglob(".*.staged.mp4")]
                left += [path.name for path in place.rglob("*.mp4.lock")]
                assert not left
                assert not list((yard.trees.state / "claims").glob("[!.]*.json"))
                told = {line["trash"] for line in yard.events("trashed")}
                for path in (yard.trees.trash / "output").rglob("*.mp4"):
                    assert path.relative_to(yard.trees.trash).as_posix() in told
            fresh()

        fresh()
        assert sweep_kills(lambda: self.repair(Yard(place)), check) > 20

    @pytest.mark.parametrize("trashed", [False, True], ids=["source", "trash"])
    def test_a_hold_made_during_a_repair_keeps_the_damaged_archive(
        self, tmp_path: Path, trashed: bool
    ) -> None:
        yard = Yard(tmp_path / "cams")
        copy, archive = self.given(yard, 40, trashed=trashed)
        before = yard.files()
        encode = self.Copier.encode

        def encode_and_hold(this: Any, original: Any, part: Any, **_: Any) -> EncodeResult:
            since = original.clip.start
            until = since + timedelta(hours=1)
            holds.add(yard.trees.state, since, until, camera="", reason="police", until=None)
            return encode(this, original, part)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.Copier, "encode", encode_and_hold)
            assert [(each.result, each.reason) for each in self.repair(yard)] == [(Result.HELD, Reason.HELD)]
        assert yard.files() == before
        assert copy.exists() and archive.exists()

    def test_cleanup_and_restore_leave_a_clip_whose_archive_is_repaired_from_the_trash(
        self, tmp_path: Path
    ) -> None:
        """Its folder in the source is gone, so that no lock can be beside it."""
        yard = Yard(tmp_path / "cams")
        trashed, archive = self.given(yard, 40, trashed=True)
        yard.record(1)
        purge = yard.plan(allow_large=True)
        encode, seen = self.Copier.encode, list[Outcome]()

        def encode_beside_others(this: Any, original: Any, part: Any, **_: Any) -> EncodeResult:
            seen.extend(yard.carry_out(purge).outcomes)
            pipeline = yard.pipeline()
            back = restore.plan(pipeline, Selection())
            seen.extend(restore.execute(pipeline, back, stop=Stop(), on_outcome=lambda _: None).outcomes)
            assert not yard.trees.source.joinpath(archive.relative_to(yard.trees.archive)).parent.exists()
            return encode(this, original, part)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.Copier, "encode", encode_beside_others)
            assert [each.result for each in self.repair(yard)] == [Result.DONE]
        assert {type(each.step) for each in seen} == {RemoveCopy, Restore}
        assert {each.result for each in seen} == {Result.BUSY}
        assert trashed.exists() and archive.exists()
        assert not list((yard.trees.state / "locks").glob("*.lock"))

    def test_a_live_repair_of_a_trashed_clip_is_not_swept(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        self.given(yard, 40, trashed=True)
        yard.record(1)
        swept: list[set[str]] = []

        def encode(this: Any, original: Any, part: Any, **_: Any) -> EncodeResult:
            part.path.write_bytes(b"half")
            recovery.sweep(Pipeline(yard.trees, UTC, "archive"), SidecarPolicy.TRASH)
            swept.append({path.name for path in part.path.parent.iterdir() if ".staged" in path.name})
            part.path.write_bytes(original.clip.path.read_bytes())
            return EncodeResult(ArchiveMethod.ENCODE, Encoding("copy", (), 0.0, 1, 1), {}, "byte for byte")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.Copier, "encode", encode)
            assert [each.result for each in self.repair(yard)] == [Result.DONE]
        assert len(swept[0]) == 1
