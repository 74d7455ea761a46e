"""cleanup: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from pytest_mock import MockerFixture

from camarchiver.archive import recovery
from camarchiver.archive.source_removal import SidecarPolicy
from camarchiver.cleanup import executor as cleanup_executor
from camarchiver.cleanup import planner, restore, restore_misses
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.cleanup.restore import Selection
from camarchiver.domain.clip import Archived, Clip, Disposal
from camarchiver.domain.clocks import Clocks
from camarchiver.domain.reason import MAY_REMOVE_LAST_COPY, Reason
from camarchiver.domain.report import Outcome, Report, Result
from camarchiver.domain.steps import RemoveCopy
from camarchiver.errors import ExitCode, NotFound, StorageError
from camarchiver.output import cleanup_text
from camarchiver.policy.cleanup_rules import Limits
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stop
from camarchiver.state import holds, volume_marker, work_in_progress
from camarchiver.state import restored as restored_clips
from camarchiver.storage import anchored, atomic, locking
from camarchiver.storage import filesystems as storage_filesystems
from tests import dates
from tests.cameras import Camera
from tests.samples import grow, mounted, swap_in
from tests.yards import Yard, cleanup_policy, reasons_of


def hold(yard: Yard, start: datetime) -> None:
    """Keep the hour from this moment on."""
    holds.add(yard.trees.state, start, start + timedelta(hours=1), camera="", reason="police", until=None)


class TestCleanup:
    """The plan and the removal of copies, on real files."""

    # --- every reason --------------------------------------------------------------------------------

    def test_what_ages_goes_and_each_answer_has_its_reason(self, yard: Yard) -> None:
        old, young = yard.standing(40), yard.standing(5)
        alone, newest = yard.record(41), yard.record(1)
        purged, kept = yard.given_away(50, trashed=22), yard.given_away(51, trashed=3)
        trashed_for_good = yard.given_away(52, trashed=30)
        (yard.trees.archive / trashed_for_good.relative_to(yard.trees.trash / "input")).unlink()
        found = reasons_of(yard.plan())
        taken = {step.relative: (step.tree, step.disposal, step.reason) for step in yard.plan().steps}
        assert taken == {
            old.relative: ("source", "trash", Reason.AGE),
            purged.relative_to(yard.trees.trash).as_posix(): ("trash", "delete", Reason.TRASH_AGE),
        }
        assert found[alone.relative] == Reason.UNARCHIVED
        assert found[young.relative] == Reason.IN_POLICY
        assert found[newest.relative] == Reason.TOO_RECENT
        assert found[kept.relative_to(yard.trees.trash).as_posix()] == Reason.IN_POLICY
        assert found[trashed_for_good.relative_to(yard.trees.trash).as_posix()] == Reason.LAST_COPY
        report = yard.carry_out(yard.plan())
        assert report.exit_code == ExitCode.PARTIAL, "a last copy was found"
        assert not old.path.exists() and not purged.exists()
        assert (yard.trees.trash / "input" / old.relative).exists()
        assert trashed_for_good.exists() and alone.path.exists() and young.path.exists()

    @pytest.mark.parametrize(
        ("option", "reason"),
        [("clean_output", Reason.ARCHIVE_AGE), ("unarchived", Reason.UNARCHIVED)],
    )
    def test_only_an_option_lets_the_last_copy_go_and_then_to_the_trash(
        self, yard: Yard, option: str, reason: Reason
    ) -> None:
        clip = yard.record(40)
        for days in range(1, 6):
            yard.standing(days)
        if option == "clean_output":
            yard.archive(clip)
            clip.path.unlink()
        before = yard.files()
        assert not yard.plan().steps
        plan = yard.plan(**{option: True})
        assert [(step.reason, step.relative) for step in plan.steps] == [(reason, clip.relative)]
        assert yard.carry_out(plan).exit_code == 0
        gone = before.keys() - yard.files().keys()
        assert len(gone) == 1
        came = yard.files().keys() - before.keys()
        assert [yard.files()[path] for path in came] == [before[path] for path in gone]
        assert not yard.plan(**{option: True}).steps

    def test_a_source_counts_as_archived_only_by_its_own_size_time_and_a_whole_archive(
        self, yard: Yard
    ) -> None:
        again, shorter, missing = (yard.standing(days) for days in (40, 41, 42))
        yard.record(1)
        again.path.write_bytes(b"another clip under a used name")
        os.truncate(yard.trees.archive / shorter.relative, 1000)
        (yard.trees.archive / missing.relative).unlink()
        plan = yard.plan()
        assert not plan.steps
        left = {(kept.root, kept.relative): kept for kept in plan.left}
        remarks = [left[yard.trees.source, clip.relative].detail for clip in (shorter, missing)]
        assert remarks == ["its archive is missing or damaged"] * 2
        assert left[yard.trees.archive, shorter.relative].reason == Reason.DAMAGED
        # Its new time is now: not old enough, and by its name and clock in doubt.
        assert left[yard.trees.source, again.relative].reason == Reason.CLOCK_DOUBTFUL

    def test_every_copy_of_a_held_or_restored_clip_stays(self, yard: Yard) -> None:
        held, back = yard.standing(40), yard.standing(44)
        trashed = yard.given_away(48, trashed=40)
        yard.record(1)
        for days in (40, 48):
            at = yard.now - timedelta(days=days)
            hold(yard, at)
        restored_clips.note(yard.trees.state, [(back.relative, back.fingerprint.identity)], yard.now)
        found = yard.plan(clean_output=True, max_size=1)
        assert not found.steps
        by_path = {kept.path: kept.reason for kept in found.left}
        assert by_path[held.path] == by_path[trashed] == Reason.HELD
        assert by_path[yard.trees.archive / held.relative] == Reason.HELD
        assert by_path[back.path] == Reason.RESTORED

    # --- archives that several clips share -------------------------------------------------------------

    @staticmethod
    def _shared(yard: Yard) -> Clip:
        """The archive of a clip of two cameras; its sources are gone, and each camera has a newer clip."""
        front, back = yard.record(60, "front"), yard.record(60, "yard")
        archived = yard.archive(front)
        yard.writer(front.start).same_content(back, archived)
        for clip in (front, back):
            clip.path.unlink()
            yard.standing(1, clip.camera)
        return front

    @staticmethod
    def _hold_other(yard: Yard, clip: Clip) -> None:
        """Keep the clip of the other camera."""
        end = clip.start + timedelta(hours=1)
        holds.add(yard.trees.state, clip.start, end, camera="yard", reason="police", until=None)

    def test_a_trashed_archive_stays_for_a_hold_on_each_of_its_clips(self, yard: Yard) -> None:
        clip = self._shared(yard)
        assert yard.carry_out(yard.plan(clean_output=True)).exit_code == 0
        later = yard.now + timedelta(days=22)
        place = f"output/{clip.relative}"
        assert reasons_of(yard.plan(later))[place] == "delete trash-age"
        self._hold_other(yard, clip)
        assert reasons_of(yard.plan(later))[place] == Reason.HELD

    def test_an_offsite_copy_stays_for_a_hold_on_each_of_its_clips(self, yard: Yard) -> None:
        clip = self._shared(yard)
        yard.copy(clip, "nas:")
        yard.carry_out(yard.plan(clean_output=True))
        plan = yard.plan(max_age_hard=50)
        assert [step.path for step in plan.steps if step.tree == "offsite"] == [Path(f"nas:{clip.relative}")]
        self._hold_other(yard, clip)
        report = yard.carry_out(plan)
        assert {outcome.result for outcome in report.outcomes} == {Result.HELD}
        assert not [step for step in yard.plan(max_age_hard=50).steps if step.tree == "offsite"]

    def test_a_shared_archive_past_the_limit_of_one_of_its_cameras_is_listed(self, yard: Yard) -> None:
        clip = self._shared(yard)
        legal = {"yard": Limits(*[timedelta(days=400)] * 3, max_age_hard=timedelta(days=50))}
        plan = yard.plan(cameras_own=legal)
        assert not plan.steps and not plan.promises
        assert [problem.code for problem in plan.problems] == ["past-limit"]
        assert str(yard.trees.archive / clip.relative) in plan.problems[0].message

    def test_a_shared_archive_stays_for_a_week_after_one_of_its_clips_was_restored(self, yard: Yard) -> None:
        front, back = yard.record(60, "front"), yard.record(60, "yard")
        os.utime(back.path, (back.start.timestamp() + 90,) * 2)
        back = yard.clip(back.path, "yard", back.start)
        yard.writer(front.start).same_content(back, yard.archive(front))
        for clip in (front, back):
            clip.path.unlink()
            yard.standing(1, clip.camera)
        assert reasons_of(yard.plan(clean_output=True))[front.relative] == "trash archive-age"
        restored_clips.note(yard.trees.state, [(back.relative, back.fingerprint.identity)], yard.now)
        assert reasons_of(yard.plan(clean_output=True))[front.relative] == Reason.RESTORED

    def test_a_hold_made_between_plan_and_removal_stops_it(self, yard: Yard) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        hold(yard, clip.start)
        report = yard.carry_out(plan)
        assert [(each.result, each.reason) for each in report.outcomes] == [(Result.HELD, Reason.HELD)]
        assert clip.path.exists()

    def test_the_newest_clip_of_each_camera_stays_however_old(self, yard: Yard) -> None:
        front, back = yard.standing(300, "front"), yard.standing(200, "back")
        older = yard.standing(301, "front")
        plan = yard.plan(clean_output=True, max_size=1, allow_large=True)
        assert {step.path for step in plan.steps} == {older.path, yard.trees.archive / older.relative}
        left = {kept.path: kept.reason for kept in plan.left}
        assert left[front.path] == left[back.path] == Reason.NEWEST
        assert left[yard.trees.archive / front.relative] == Reason.NEWEST

    @pytest.mark.parametrize("in_memory", [2, 2500])
    def test_the_newest_clip_stays_although_the_walk_meets_it_last(
        self, yard: Yard, monkeypatch: pytest.MonkeyPatch, in_memory: int
    ) -> None:
        monkeypatch.setattr(planner, "IN_MEMORY", in_memory)
        clips = [yard.standing(days, camera) for days in range(306, 300, -1) for camera in ("back", "front")]
        for clip in clips:
            clip.path.unlink()
        plan = yard.plan(clean_output=True, allow_large=True)
        archives = [yard.trees.archive / clip.relative for clip in clips]
        assert [step.path for step in plan.steps] == archives[:-2]
        assert {kept.path: kept.reason for kept in plan.left} == dict.fromkeys(archives[-2:], Reason.NEWEST)
        hard = yard.plan(clean_output=True, allow_large=True, max_age_hard=300)
        assert [step.path for step in hard.steps] == archives

    def test_the_newest_of_a_camera_whose_clock_is_always_wrong_stays_too(self, yard: Yard) -> None:
        clips = [yard.record(days) for days in (40, 41)]
        for clip in clips:
            os.utime(clip.path, ((clip.start - timedelta(days=400)).timestamp(),) * 2)
            yard.archive(yard.clip(clip.path, clip.camera, clip.start))
        yard.standing(1, "back")
        assert not yard.plan().steps
        yard.clocks = Clocks(names_everywhere=True)
        assert [step.path for step in yard.plan().steps] == [clips[1].path]

    def test_pictures_whose_clip_is_gone_are_orphans_and_others_are_the_owners(self, yard: Yard) -> None:
        yard.given_away(40, trashed=3)
        gone = next(iter((yard.trees.archive).rglob("*.mp4"))).relative_to(yard.trees.archive)
        orphan = yard.trees.source / gone.with_suffix(".jpg")
        only = orphan.with_name("REO_front_20200101000000.jpg")
        orphan.parent.mkdir(parents=True, exist_ok=True)
        for picture in (orphan, only):
            picture.write_bytes(b"jpeg")
            os.utime(picture, ((yard.now - timedelta(days=40)).timestamp(),) * 2)
        yard.record(1)
        found = reasons_of(yard.plan())
        assert found[gone.with_suffix(".jpg").as_posix()] == f"trash {Reason.ORPHAN_PICTURE}"
        assert found[only.relative_to(yard.trees.source).as_posix()] == Reason.PICTURE_ONLY
        assert yard.carry_out(yard.plan()).exit_code == 0
        assert not orphan.exists() and only.exists()
        assert (yard.trees.trash / "input" / gone.with_suffix(".jpg")).read_bytes() == b"jpeg"
        assert reasons_of(yard.plan(keep_sidecars=True)).get(str(gone.with_suffix(".jpg"))) is None

    def test_leftovers_and_empty_date_folders_are_tidied_but_no_root_and_nothing_new(
        self, yard: Yard
    ) -> None:
        clip = yard.standing(40)
        yard.record(1)
        staged = yard.trees.archive / f"{clip.folder}/.{clip.path.stem}.0123456789abcdef.staged.mp4"
        fresh = staged.with_name(".other.fedcba9876543210.staged.mp4")
        empty = yard.trees.source / "2024/02/03"
        foreign = yard.trees.source / "notes"
        for folder in (empty, foreign):
            folder.mkdir(parents=True)
        for path in (staged, fresh):
            path.write_bytes(b"half")
        yesterday = (yard.now - timedelta(days=2)).timestamp()
        for path in (staged, empty, foreign):
            os.utime(path, (yesterday, yesterday))
        found = reasons_of(yard.plan())
        assert found["2024/02/03"] == f"tidy {Reason.EMPTY_FOLDER}"
        assert found[staged.relative_to(yard.trees.archive).as_posix()] == f"tidy {Reason.LEFTOVER}"
        assert yard.carry_out(yard.plan()).exit_code == 0
        assert not staged.exists() and not (yard.trees.source / "2024").exists()
        assert fresh.exists() and foreign.exists()
        assert not clip.path.parent.exists(), "its folder was left empty"

    def test_an_old_lock_without_an_owner_is_tidied_and_no_other_temporary_file(self, yard: Yard) -> None:
        owned = yard.record(40).path
        dead = owned.with_name("REO_front_20200101000000.mp4.lock")
        others = [owned.with_name(name) for name in ("clip.part", "notes.txt.lock", ".hidden.mp4")]
        for path in (dead, *others):
            path.write_bytes(b"")
        with locking.clip_lock(owned):
            for path in (dead, *others, owned.with_name(f"{owned.name}.lock")):
                os.utime(path, ((yard.now - timedelta(days=2)).timestamp(),) * 2)
            tidied = [step.path for step in yard.plan().steps if step.reason is Reason.LEFTOVER]
            assert tidied == [dead]
            assert yard.carry_out(yard.plan()).exit_code == 0
        assert not dead.exists() and all(path.exists() for path in others)

    def test_foreign_files_stay_and_are_told(self, yard: Yard) -> None:
        yard.standing(40)
        strange = yard.trees.archive / "2020/01/01/REO_front_20200101000000.mp4"
        thing = yard.trees.trash / "input/diary.txt"
        for path in (strange, thing):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine")
        yard.record(1)
        yard.carry_out(yard.plan(clean_output=True, max_size=1, allow_large=True, unarchived=True))
        assert strange.exists() and thing.exists()
        assert reasons_of(yard.plan())["input/diary.txt"] == Reason.FOREIGN

    def test_a_link_under_a_journalled_name_is_no_copy(self, yard: Yard, tmp_path: Path) -> None:
        clip, trashed = yard.standing(40), yard.given_away(41, trashed=30)
        yard.standing(1)
        for path in (yard.trees.archive / clip.relative, trashed):
            target = tmp_path / path.parent.name
            path.rename(target)
            path.symlink_to(target)
        plan = yard.plan(clean_output=True)
        left = {kept.path: kept.reason for kept in plan.left}
        assert left[trashed] == left[yard.trees.archive / clip.relative] == Reason.FOREIGN
        assert left[clip.path] == Reason.UNARCHIVED

    def test_a_trashed_source_that_no_line_tells_of_is_known_by_its_archive(self, yard: Yard) -> None:
        """A run died between the move and the line."""
        clip = yard.standing(40)
        yard.standing(1)
        place = yard.trees.trash / "input" / clip.relative
        place.parent.mkdir(parents=True)
        clip.path.rename(place)
        later = dates.now() + timedelta(days=30)  # nothing but the kernel tells when it was moved
        assert reasons_of(yard.plan())[f"input/{clip.relative}"] == Reason.IN_POLICY
        assert reasons_of(yard.plan(later))[f"input/{clip.relative}"] == f"delete {Reason.TRASH_AGE}"
        (yard.trees.archive / clip.relative).unlink()
        assert reasons_of(yard.plan(later))[f"input/{clip.relative}"] == Reason.LAST_COPY

    def test_the_hard_limit_reaches_every_tree_but_no_hold(self, yard: Yard) -> None:
        standing, trashed = yard.standing(400), yard.given_away(401, trashed=1)
        held, lonely = yard.standing(402), yard.record(403, "back")
        hold(yard, held.start)
        yard.record(1)
        plan = yard.plan(age=500, max_age_hard=365, allow_large=True)
        assert {(step.disposal, step.reason) for step in plan.steps} == {
            (Disposal.DELETE, Reason.MAX_AGE_HARD)
        }
        report = yard.carry_out(plan)
        assert report.exit_code == ExitCode.PARTIAL
        assert "older than max_age_hard stay:" in report.problems[0].message
        assert str(held.path) in report.problems[0].message
        for path in (standing.path, yard.trees.archive / standing.relative, trashed, lonely.path):
            assert not path.exists(), path
        assert held.path.exists() and (yard.trees.archive / held.relative).exists()

    @pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "x" * 300 + "/clip.mp4", "a/" * 3000 + "clip.mp4"])
    def test_a_name_that_no_file_can_have_came_from_nowhere(self, yard: Yard, name: str) -> None:
        yard.given_away(40, trashed=1)
        pipeline, selection = yard.pipeline(), Selection(paths=(yard.trees.source / name,))
        plan = restore.plan(pipeline, selection)
        assert not plan.steps
        with pytest.raises(NotFound, match="nothing in the trash came from"):
            restore_misses.check(pipeline, plan)

    def test_a_remedy_names_the_trees_and_one_file_is_no_plural(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "my cams", archive_root=tmp_path / "archive")
        lost = yard.given_away(60, trashed=30)
        alone = yard.record(40)
        yard.standing(1)
        archive = lost.relative_to(yard.trees.trash / "input").as_posix()
        yard.find_damaged(archive)
        (yard.trees.archive / archive).unlink()
        plan = yard.plan()
        (problem,) = plan.problems
        verify = f"camarchiver verify '{yard.trees.source}' -o {yard.trees.archive}"
        assert problem.message.startswith("1 file in the trash stays: ")
        assert problem.hint == f"{verify} --repair makes their archives again"
        damaged, waiting = plan.notes
        assert damaged.endswith(f"; {verify} --known --repair")
        assert waiting == (
            "1 source old enough to go is not archived and stays; --unarchived would include it"
        )
        assert alone.path.exists()

    def test_the_text_beside_a_clip_is_no_file_that_stays_past_the_limit(self, yard: Yard) -> None:
        clip, held, gone = yard.standing(40), yard.standing(45), yard.given_away(50, trashed=1)
        hold(yard, held.start)
        yard.standing(1)
        orphan = yard.trees.source / gone.relative_to(yard.trees.trash / "input").with_suffix(".xml")
        beside, other = clip.path.with_suffix(".txt"), clip.path.with_name("notes.txt")
        for path, days in ((beside, 40), (orphan, 50), (other, 40), (held.path.with_suffix(".txt"), 45)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
            os.utime(path, ((yard.now - timedelta(days=days)).timestamp(),) * 2)
        plan = yard.plan(max_age_hard=30, allow_large=True)
        (problem,) = plan.problems
        assert problem.code == "past-limit" and f"{other} (foreign)" in problem.message
        assert problem.message.startswith("3 files that"), "the held clip, its archive, and the notes"
        yard.carry_out(plan)
        assert other.exists() and not any(path.exists() for path in (clip.path, beside, orphan))
        other.unlink()
        holds.remove(yard.trees.state, holds.read(yard.trees.state)[0].id)
        plan = yard.plan(max_age_hard=30, allow_large=True)
        assert plan.promises and not plan.problems
        assert yard.carry_out(plan).exit_code == 0
        assert not held.path.with_suffix(".txt").exists()

    def test_the_hard_limit_goes_by_the_recording_and_not_by_the_time_of_a_copied_archive(
        self, yard: Yard
    ) -> None:
        clip = yard.standing(40)
        yard.standing(1)
        clip.path.unlink()
        archive = yard.trees.archive / clip.relative
        os.utime(archive, (yard.now.timestamp(),) * 2)
        assert not yard.plan(clean_output=True).steps, "by its age it stays, as the newer time counts"
        filtered = yard.plan(max_age_hard=30, exclude=(clip.name,))
        assert not filtered.promises and str(archive) in filtered.problems[0].message
        plan = yard.plan(max_age_hard=30, allow_large=True)
        assert [step.path for step in plan.steps] == [archive]
        assert plan.promises

    @pytest.mark.parametrize("is_known", [False, True])
    def test_the_hard_limit_removes_a_truncated_archive_only_if_it_was_found_damaged(
        self, yard: Yard, is_known: bool
    ) -> None:
        """Otherwise nobody knows whether it is the archive at all."""
        clip = yard.standing(40)
        clip.path.unlink()
        yard.standing(1)
        archive = yard.trees.archive / clip.relative
        os.truncate(archive, 1000)
        if is_known:
            yard.find_damaged(clip.relative)
        assert not yard.plan(clean_output=True, max_size=1).steps
        report = yard.carry_out(yard.plan(max_age_hard=30))
        assert archive.exists() is not is_known
        assert report.exit_code == (0 if is_known else ExitCode.PARTIAL)

    # --- sizes ---------------------------------------------------------------------------------------

    def test_a_cap_takes_the_cheapest_first_and_ends_below_it(self, yard: Yard) -> None:
        trashed = [yard.given_away(days, trashed=1) for days in (60, 61)]
        both = [yard.standing(days) for days in (20, 21)]
        for days in (2, 3, 4):
            yard.standing(days, "back")
        everything = storage_filesystems.used_bytes(yard.trees)
        plan = yard.plan(max_size=everything - 15_000)
        assert [step.path for step in plan.steps] == [trashed[1], trashed[0]]
        assert {(step.disposal, step.reason) for step in plan.steps} == {(Disposal.DELETE, Reason.MAX_SIZE)}
        plan = yard.plan(max_size=everything - 25_000)
        assert [step.path for step in plan.steps] == [trashed[1], trashed[0], both[1].path]
        report = yard.carry_out(plan)
        assert report.exit_code == 0
        assert storage_filesystems.used_bytes(yard.trees) <= everything - 25_000
        assert sum(outcome.freed for outcome in report.outcomes) == 30_000

    def test_a_cap_counts_what_the_removals_themselves_write(self, yard: Yard) -> None:
        gone = [yard.given_away(days, trashed=30) for days in (60, 61, 62, 63)]
        spare = yard.given_away(59, trashed=1)
        yard.standing(1)
        cap = storage_filesystems.used_bytes(yard.trees) - 4 * 10_000
        plan = yard.plan(max_size=cap)
        assert {step.path for step in plan.steps} == {*gone, spare}
        yard.carry_out(plan)
        assert storage_filesystems.used_bytes(yard.trees) <= cap

    def test_a_cap_that_nothing_may_reach_is_said(self, yard: Yard) -> None:
        yard.record(40)
        yard.record(1)
        plan = yard.plan(max_size=1)
        assert not plan.steps
        assert [problem.code for problem in plan.problems] == ["goal-missed"]
        assert "--clean-output and --unarchived" in plan.problems[0].hint
        assert yard.carry_out(plan).exit_code == ExitCode.PARTIAL

    def test_a_file_with_two_names_is_freed_by_the_last_of_them(self, yard: Yard) -> None:
        clip = yard.standing(40)
        for days in (2, 3, 4, 5):
            yard.standing(days)
        other = clip.path.with_name(clip.name.replace("front", "side"))
        os.link(clip.path, other)
        assert storage_filesystems.used_bytes(yard.trees) < 5 * 13_000 + 12_000
        plan = yard.plan(delete=True)
        assert [step.path for step in plan.steps] == [clip.path]
        report = yard.carry_out(plan)
        assert [outcome.freed for outcome in report.outcomes] == [0]
        assert other.exists() and not clip.path.exists()

    def test_free_space_is_measured_on_the_disk_itself(self, tmp_path: Path) -> None:
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            yard = Yard(disk / "cams")
            clips = [yard.record(days, size=500_000) for days in (20, 21, 22, 23)]
            for clip in clips:
                yard.archive(clip, size=50_000)
            yard.standing(1)
            free = storage_filesystems.free_bytes(disk)
            plan = yard.plan(min_free=free + 900_000)
            assert [step.path for step in plan.steps] == [clips[3].path, clips[2].path]
            assert {step.reason for step in plan.steps} == {Reason.MIN_FREE}
            report = yard.carry_out(plan)
            assert report.exit_code == 0
            assert storage_filesystems.free_bytes(disk) >= free + 900_000
            assert not yard.plan(min_free=free + 900_000).steps

    def test_a_disk_that_is_mounted_below_a_tree_has_a_goal_of_its_own(self, yard: Yard) -> None:
        yard.standing(1)
        folder = yard.record(20).path.parent
        for disk in mounted(folder, "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            clip = yard.record(20, size=500_000)
            yard.archive(clip)
            least = storage_filesystems.free_bytes(disk) + 300_000
            assert storage_filesystems.free_bytes(yard.trees.source) > least
            plan = yard.plan(min_free=least)
            assert [(step.path, step.reason) for step in plan.steps] == [(clip.path, Reason.MIN_FREE)]
            assert not plan.problems
            assert [each.path for each in plan.forecast] == [yard.trees.source, disk]
            (outcome,) = yard.carry_out(plan).outcomes
            assert (outcome.result, outcome.freed) == (Result.DONE, 500_000)
            assert storage_filesystems.free_bytes(disk) >= least

    def test_room_that_the_run_takes_on_the_disk_of_the_trash_is_made_there(self, tmp_path: Path) -> None:
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            yard = Yard(tmp_path / "cams", trash_root=disk / "trash")
            trashed = yard.given_away(50, trashed=1)
            old = yard.record(40, size=20_000)
            yard.archive(old)
            yard.standing(1)
            least = storage_filesystems.free_bytes(disk) - 15_000
            assert [step.path for step in yard.plan(delete=True, min_free=least).steps] == [old.path]
            plan = yard.plan(min_free=least)
            assert [step.path for step in plan.steps] == [trashed, old.path]
            assert not plan.problems
            assert "(10.0 kB are taken)" in "".join(cleanup_text.plan_lines(plan, verbose=False))

    def test_it_stops_as_soon_as_the_disk_is_free_enough(self, tmp_path: Path) -> None:
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            yard = Yard(disk / "cams")
            for days in (20, 21, 22):
                yard.archive(yard.record(days, size=500_000))
            yard.standing(1)
            (disk / "other").write_bytes(b"o" * 1_000_000)
            plan = yard.plan(min_free=storage_filesystems.free_bytes(disk) + 900_000)
            assert len(plan.steps) == 2
            (disk / "other").unlink()
            report = yard.carry_out(plan)
            assert [outcome.reason for outcome in report.outcomes] == [Reason.GOAL_MET] * 2
            assert report.exit_code == 0

    def test_it_stops_when_removals_free_nothing(self, tmp_path: Path, mocker: MockerFixture) -> None:
        """A reader keeps the removed files' blocks, as a snapshot does."""
        mocker.patch.object(cleanup_executor, "LAG_AFTER", 900_000)
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8M", "tmpfs"):
            yard = Yard(disk / "cams")
            clips = [yard.record(days, size=500_000) for days in (20, 21, 22, 23)]
            for clip in clips:
                yard.archive(clip)
            yard.standing(1)
            plan = yard.plan(min_free=storage_filesystems.free_bytes(disk) + 1_900_000)
            assert len(plan.steps) == 4
            with ExitStack() as readers:
                for clip in clips:
                    readers.enter_context(clip.path.open("rb"))
                report = yard.carry_out(plan)
            results = [(outcome.result, outcome.reason) for outcome in report.outcomes]
            assert results == [(Result.DONE, Reason.MIN_FREE)] * 2 + [(Result.FAILED, Reason.MIN_FREE)] * 2
            assert "is there a snapshot?" in report.outcomes[-1].detail
            assert report.exit_code == ExitCode.PARTIAL

    def test_free_space_that_cannot_be_told_refuses(self, yard: Yard, mocker: MockerFixture) -> None:
        yard.standing(40)
        yard.record(1)
        mocker.patch("os.statvfs", side_effect=OSError(errno.EIO, "Input/output error"))
        with pytest.raises(StorageError):
            yard.plan(min_free=1)

    # --- other disks, other clocks -------------------------------------------------------------------

    def test_a_trash_on_another_disk_gets_whole_files(self, tmp_path: Path, other_disk: Path) -> None:
        yard = Yard(tmp_path / "cams", trash_root=other_disk / "trash")
        clip = yard.standing(40)
        content, times = clip.path.read_bytes(), clip.path.stat().st_mtime_ns
        yard.record(1)
        plan = yard.plan()
        freed = {forecast.path: forecast.freed for forecast in plan.forecast}
        assert sorted(freed.values()) == [-10_000, 10_000]
        report = yard.carry_out(plan)
        moved = yard.trees.trash / "input" / clip.relative
        assert (moved.read_bytes(), moved.stat().st_mtime_ns) == (content, times)
        assert [outcome.freed for outcome in report.outcomes] == [10_000]
        pipeline = yard.pipeline()
        back = restore.plan(pipeline, Selection(paths=(clip.path,)))
        assert restore.execute(pipeline, back, stop=Stop(), on_outcome=lambda outcome: None).exit_code == 0
        assert (clip.path.read_bytes(), clip.path.stat().st_mtime_ns) == (content, times)

    def test_a_trash_that_rounds_times_is_purged_and_gives_back_all_the_same(self, yard: Yard) -> None:
        """FAT keeps even seconds, exFAT hundredths, NTFS and SMB tenths of a microsecond."""
        clip = yard.record(40)
        written = clip.fingerprint.mtime_ns + 1_123_456_789
        os.utime(clip.path, ns=(written, written))
        clip = yard.clip(clip.path, clip.camera, clip.start)
        place = yard.trash(clip, yard.archive(clip), 2)
        yard.standing(1)
        os.utime(place, ns=(0, written // 2_000_000_000 * 2_000_000_000))
        later = yard.now + timedelta(days=30)
        assert reasons_of(yard.plan(later))[f"input/{clip.relative}"] == f"delete {Reason.TRASH_AGE}"
        pipeline = yard.pipeline()
        back = restore.plan(pipeline, Selection())
        assert restore.execute(pipeline, back, stop=Stop(), on_outcome=lambda outcome: None).exit_code == 0
        assert (clip.path.lstat().st_mtime_ns, place.exists()) == (written, False)
        assert reasons_of(yard.plan())[clip.relative] == Reason.RESTORED

    def test_many_clips_come_back_and_each_is_spared_from_then_on(
        self, yard: Yard, mocker: MockerFixture
    ) -> None:
        places = [yard.given_away(40 + hours / 24, 3) for hours in range(70)]
        written = mocker.spy(atomic, "write_json")
        pipeline = yard.pipeline()
        plan = restore.plan(pipeline, Selection(camera="front"))
        report = restore.execute(pipeline, plan, stop=Stop(), on_outcome=lambda outcome: None)
        assert (report.exit_code, report.count(Result.DONE)) == (0, 70)
        assert not any(place.exists() for place in places)
        assert sum(call.args[0].name == restored_clips.FILE for call in written.call_args_list) == 2
        assert len(restored_clips.read(yard.trees.state)) == 70
        assert not yard.plan(age=30, trash_age=0, clean_output=True).steps

    @pytest.mark.parametrize("years", [10, -10])
    def test_a_clock_far_from_every_clip_refuses_the_whole_plan(self, yard: Yard, years: int) -> None:
        yard.standing(40)
        yard.standing(1)
        before = yard.files()
        plan = yard.plan(yard.now + timedelta(days=365 * years), clean_output=True, allow_large=True)
        assert plan.refused == 13
        assert plan.problems[0].code == "clock"
        assert yard.carry_out(plan).exit_code == ExitCode.STORAGE
        assert yard.files() == before

    def test_clips_of_a_camera_that_fell_back_to_1970_stay(self, yard: Yard) -> None:
        start = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
        path = yard.trees.source / "1970/01/01/REO_front_19700101000500.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"recorded yesterday")
        os.utime(path, ((yard.now - timedelta(days=40)).timestamp(),) * 2)
        yard.standing(1)
        plan = yard.plan(unarchived=True, max_size=1)
        assert not plan.steps and start.year == 1970
        assert reasons_of(plan)["1970/01/01/REO_front_19700101000500.mp4"] == Reason.CLOCK_DOUBTFUL

    @pytest.mark.parametrize("tree", ["archive", "source"])
    def test_an_empty_mount_point_is_never_taken_for_a_tree(self, tmp_path: Path, tree: str) -> None:
        yard = Yard(tmp_path / "cams", archive_root=tmp_path / "disk")
        clip = yard.standing(40)
        yard.record(1)
        root = getattr(yard.trees, tree)
        shutil.move(root, tmp_path / "unmounted")
        root.mkdir()
        with pytest.raises(StorageError, match="volume marker"):
            yard.plan()
            volume_marker.check_both(yard.trees)
        assert list(root.iterdir()) == []
        assert (tmp_path / "unmounted" / clip.folder / clip.name).exists()

    # --- brakes --------------------------------------------------------------------------------------

    def test_more_than_half_of_a_camera_for_good_needs_a_word(self, yard: Yard) -> None:
        for days in (1, 40, 41, 42):
            yard.record(days)
        plan = yard.plan(unarchived=True)
        assert plan.refused == 2 and plan.problems[0].code == "too-large"
        assert "3 of 4 clips of front" in plan.problems[0].message
        before = yard.files()
        assert yard.carry_out(plan).exit_code == ExitCode.USAGE
        assert yard.files() == before
        assert yard.plan(unarchived=True, max_removals=2, allow_large=True).refused is None

    def test_many_removals_need_a_word_unless_they_lose_nothing(self, yard: Yard) -> None:
        for days in range(1, 6):
            yard.record(days)
        for days in (40, 41):
            yard.record(days)
        assert yard.plan(unarchived=True, max_removals=2).refused is None
        plan = yard.plan(unarchived=True, max_removals=1)
        assert plan.refused == 2 and "max_removals (1)" in plan.problems[0].message
        for days in range(50, 60):
            yard.standing(days)
        assert yard.plan(max_removals=1).refused is None

    # --- between plan and removal --------------------------------------------------------------------

    @pytest.mark.edge
    @pytest.mark.parametrize("change", [grow, swap_in, Path.unlink])
    def test_a_file_that_changed_since_the_plan_is_left(
        self, yard: Yard, change: Callable[[Path], object]
    ) -> None:
        clip, other = yard.standing(40), yard.standing(41)
        yard.record(1)
        plan = yard.plan()
        change(clip.path)
        changed = clip.path.read_bytes() if clip.path.exists() else None
        results = {outcome.step.path: outcome.result for outcome in yard.carry_out(plan).outcomes}
        assert results == {clip.path: Result.STALE, other.path: Result.DONE}
        assert (clip.path.read_bytes() if clip.path.exists() else None) == changed

    @pytest.mark.edge
    def test_an_archive_that_vanished_since_the_plan_keeps_its_source(self, yard: Yard) -> None:
        clip, trashed = yard.standing(40), yard.given_away(41, trashed=30)
        yard.record(1)
        plan = yard.plan()
        assert len(plan.steps) == 2
        shutil.rmtree(yard.trees.archive / clip.folder)
        shutil.rmtree(yard.trees.archive / trashed.parent.relative_to(yard.trees.trash / "input"))
        report = yard.carry_out(plan)
        assert {outcome.result for outcome in report.outcomes} == {Result.STALE}
        assert clip.path.exists() and trashed.exists()

    @pytest.mark.edge
    @pytest.mark.parametrize("tree", ["source", "trash"])
    def test_a_folder_swapped_for_a_link_is_not_followed(self, yard: Yard, tmp_path: Path, tree: str) -> None:
        clip = yard.standing(40).path if tree == "source" else yard.given_away(40, trashed=30)
        yard.record(1)
        plan = yard.plan()
        elsewhere = tmp_path / "elsewhere"
        clip.parent.rename(elsewhere)
        clip.parent.symlink_to(elsewhere)
        report = yard.carry_out(plan)
        assert [outcome.result for outcome in report.outcomes] == [Result.STALE]
        assert (elsewhere / clip.name).exists()

    @pytest.mark.edge
    def test_a_trash_swapped_for_a_link_gets_nothing(self, yard: Yard, tmp_path: Path) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        yard.trees.trash.mkdir()
        (yard.trees.trash / "input").symlink_to(elsewhere)
        report = yard.carry_out(plan)
        assert [outcome.result for outcome in report.outcomes] != [Result.DONE]
        assert clip.path.exists() and list(elsewhere.iterdir()) == []

    def test_a_clip_that_another_process_works_on_is_busy(self, yard: Yard) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        with locking.clip_lock(clip.path, place=yard.trees.state / "locks"):
            report = yard.carry_out(plan)
        assert [(outcome.result, outcome.step.path) for outcome in report.outcomes] == [
            (Result.BUSY, clip.path)
        ]
        assert clip.path.exists()

    def test_a_stop_leaves_the_rest_and_says_how_much(self, yard: Yard) -> None:
        for days in range(40, 50):
            yard.standing(days)
        yard.record(1)
        plan, stop = yard.plan(), Stop()
        seen: list[Outcome] = []

        def tell(outcome: Outcome) -> None:
            seen.append(outcome)
            if len(seen) == 3:
                stop.ask(signal.SIGTERM)

        pipeline = yard.pipeline()
        report = cleanup_executor.execute(
            pipeline, plan, SidecarPolicy.TRASH, stop=stop, display=Silent(), on_outcome=tell
        )
        assert (len(report.outcomes), report.remaining) == (3, 7)
        assert report.exit_code == 128 + signal.SIGTERM
        assert len(yard.events("trashed")) == 3
        assert len(yard.events("left")) == 7, "an intent that was not carried out has its end"
        assert len(yard.carry_out(yard.plan()).outcomes) == 7

    def test_a_note_that_cannot_be_understood_stays_and_is_named(
        self, yard: Yard, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A later version may have written it: what it is about is not forgotten."""
        for folder in ("claims", "intents"):
            (yard.trees.state / folder).mkdir(parents=True, exist_ok=True)
            (yard.trees.state / folder / "later.json").write_text('{"kind": "of tomorrow"}')
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        for folder in ("claims", "intents"):
            note = yard.trees.state / folder / "later.json"
            assert note.exists() and f"{note} can't be understood" in caplog.text

    @pytest.mark.edge
    def test_a_removal_that_fails_when_the_file_is_gone_already_is_told_by_the_next_start(
        self, yard: Yard, mocker: MockerFixture
    ) -> None:
        """The disk fills up between the rename into the trash and its fsync."""
        old, _ = yard.standing(40), yard.standing(5)
        move = anchored.move

        def moves_and_fails(*arguments: Any, **named: Any) -> str:
            move(*arguments, **named)
            raise OSError(errno.ENOSPC, "No space left on device", str(old.path))

        mocker.patch.object(anchored, "move", moves_and_fails)
        assert [each.result for each in yard.carry_out(yard.plan()).outcomes] == ["failed"]
        mocker.stopall()
        assert not old.path.exists() and yard.events("left", "trashed") == []
        (note,) = (yard.trees.state / "intents").iterdir()
        fields = json.loads(note.read_text())
        # The dead run's process id is another process's now.
        owner = {**fields["owner"], "pid": os.getppid(), "started": 1}
        note.write_text(json.dumps({**fields, "owner": owner}))
        recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
        (told,) = yard.events("trashed")
        assert (yard.trees.trash / told["trash"]).exists()
        assert not list((yard.trees.state / "intents").iterdir())

    # --- kills ---------------------------------------------------------------------------------------

    @pytest.mark.edge
    @pytest.mark.timeout(900)  # some hundred kills, and a run after each
    def test_killed_anywhere_it_loses_nothing_unnamed_and_forgets_nothing_gone(
        self, tmp_path: Path, sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int]
    ) -> None:
        model = Yard(tmp_path / "model")
        model.standing(40)
        model.given_away(41, trashed=30)
        model.archive(gone := model.record(42))
        gone.path.unlink()
        for days in (1, 2, 3):
            model.standing(days)
        place = tmp_path / "cams"

        def fresh() -> Yard:
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run(["cp", "-a", model.trees.source, place], check=True)
            return Yard(place)

        def act() -> None:
            yard = fresh_or_same[0]
            yard.carry_out(yard.plan(clean_output=True))

        def check() -> None:
            yard = fresh_or_same[0]
            recovery.sweep(yard.pipeline(), SidecarPolicy.TRASH)
            gone = before.keys() - yard.files().keys()
            assert gone <= named, "something went that the plan did not name"
            told = yard.events("trashed", "deleted", "purged")
            for path in gone:
                assert any(Path(path).name in json.dumps(line) for line in told), (
                    f"{path}: no line tells of it"
                )
            yard.carry_out(yard.plan(clean_output=True))
            assert before.keys() - yard.files().keys() == named
            assert not list(work_in_progress.existing(yard.trees)), "an intent is left without an end"
            fresh_or_same[0] = fresh()

        fresh_or_same = [fresh()]
        before = fresh_or_same[0].files()
        plan = fresh_or_same[0].plan(clean_output=True)
        named = {os.path.relpath(step.path, place) for step in plan.steps}
        assert len(named) == 5
        assert sweep_kills(act, check) > 15

    @pytest.mark.edge
    def test_cleanup_and_archive_at_once_lose_nothing(self, camera: Camera) -> None:
        for minute in range(6):
            camera.add("front", f"10{minute:02}00")
        assert camera.archive("--keep-source").code == 0
        for minute in range(3):
            camera.add("garden", f"10{minute:02}00")
        code = (
            "from datetime import timedelta\n"
            "from camarchiver.policy import safety_brakes\n"
            "safety_brakes._FAR = timedelta(40000)\n"
            "from camarchiver.__main__ import main\n"
            "main()"
        )
        command = [
            sys.executable,
            "-c",
            code,
            "cleanup",
            camera.root,
            "-o",
            camera.archive_root,
            "-y",
            "--json",
        ]
        cleaning = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(camera.home), "TZ": "UTC"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        archiving = camera.start()
        out, errors = cleaning.communicate(timeout=60)
        archiving.end()
        assert "Traceback" not in errors
        assert json.loads(out)["outcomes"]
        camera.assert_nothing_lost()
        assert camera.archive().code == 0
        camera.assert_finished()


class CleanupMachine(RuleBasedStateMachine):
    """Trees and policies at random: what goes was named, and last copies only by rules that may take them."""

    cameras = st.sampled_from(["front", "garden"])
    ages = st.sampled_from([1.0, 5.0, 20.0, 35.0, 60.0, 200.0])

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.yard = Yard(Path(self._folder.name) / "cams")
        self.clips: dict[str, Clip] = {}
        self.archived: dict[str, Archived] = {}
        self.held: set[str] = set()
        self.foreign: set[str] = set()
        self.damaged: set[str] = set()
        """Archives that were found damaged, though their size is right."""
        self.made = 0

    def teardown(self) -> None:
        self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        """Young clips of each camera: without them the brakes refuse nearly every plan."""
        for days in (0.5, 1.5, 2.5, 3.5):
            self.record(days, "front", archived=True, picture=False)
            self.record(days, "garden", archived=True, picture=False)

    @rule(days=ages, camera=cameras, archived=st.booleans(), picture=st.booleans())
    def record(self, days: float, camera: str, archived: bool, picture: bool) -> None:
        self.made += 1
        clip = self.yard.record(days + self.made / 1000, camera)
        if picture:
            clip.path.with_suffix(".jpg").write_bytes(clip.name.encode())
            clip = self.yard.clip(clip.path, camera, clip.start)
        self.clips[clip.relative] = clip
        if archived:
            self.archived[clip.relative] = self.yard.archive(clip)

    @precondition(lambda self: self.archived)
    @rule(data=st.data(), days=st.sampled_from([25.0, 1.0]), damaged=st.sampled_from(["no", "gone", "found"]))
    def trash(self, data: st.DataObject, days: float, damaged: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.archived)))
        clip = self.clips[name]
        is_same = clip.path.exists() and anchored.fingerprint_of(clip.path.lstat()) == clip.fingerprint
        if is_same and (self.yard.trees.archive / name).exists():
            self.yard.trash(self.clips[name], self.archived[name], days)
            if damaged == "gone":
                (self.yard.trees.archive / name).unlink()
            elif damaged == "found":
                self.yard.find_damaged(name)
                self.damaged.add(name)

    @precondition(lambda self: self.archived)
    @rule(data=st.data(), gone=st.booleans())
    def damage(self, data: st.DataObject, gone: bool) -> None:
        """An archive vanishes, or loses its end."""
        path = self.yard.trees.archive / data.draw(st.sampled_from(sorted(self.archived)))
        if path.exists():
            path.unlink() if gone else os.truncate(path, 10)

    @precondition(lambda self: self.archived)
    @rule(data=st.data())
    def find_damaged(self, data: st.DataObject) -> None:
        """Bytes of an archive rot, and `verify` finds it."""
        name = data.draw(st.sampled_from(sorted(self.archived)))
        self.yard.find_damaged(name)
        self.damaged.add(name)

    @precondition(lambda self: self.damaged)
    @rule(data=st.data())
    def find_sound(self, data: st.DataObject) -> None:
        """A copy of its own was put back, and `verify` finds it sound."""
        name = data.draw(st.sampled_from(sorted(self.damaged)))
        self.yard.find_sound(name)
        self.damaged.discard(name)

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def doubt(self, data: st.DataObject) -> None:
        """A camera's clock, or a copy, gave a clip another time."""
        clip = self.clips[data.draw(st.sampled_from(sorted(self.clips)))]
        if clip.path.exists():
            os.utime(clip.path, (0, 0))

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.clips)))
        clip = self.clips[name]
        soon = clip.start + timedelta(seconds=1)
        holds.add(self.yard.trees.state, clip.start, soon, camera=clip.camera, reason="x", until=None)
        self.held.add(name)

    @rule(tree=st.sampled_from(["source", "archive", "trash"]))
    def drop(self, tree: str) -> None:
        """A file of somebody else's."""
        path = getattr(self.yard.trees, tree) / f"2020/foreign{self.made}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"foreign")
        self.foreign.add(os.path.relpath(path, self.yard.trees.source))

    @rule(
        age=ages,
        trash_age=st.sampled_from([0.0, 10.0]),
        hard=st.sampled_from([None, 100.0]),
        size=st.sampled_from([None, 1, 30_000, 10**9]),
        switches=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([True, True, False])),
    )
    def clean(
        self,
        age: float,
        trash_age: float,
        hard: float | None,
        size: int | None,
        switches: tuple[bool, bool, bool, bool],
    ) -> None:
        output, unarchived, delete, large = switches
        policy = {"age": age, "trash_age": trash_age, "max_age_hard": hard, "max_size": size}
        policy |= {"clean_output": output, "unarchived": unarchived, "delete": delete, "allow_large": large}
        before = self.yard.files()
        copies = {name: self.copies(name, before) for name in self.clips}
        plan = self.yard.plan(**policy)
        again = planner.plan(self.yard.pipeline(), cleanup_policy(**policy), list_all=False)
        assert (list(again.steps), again.totals) == (list(plan.steps), plan.totals)
        assert self.yard.files() == before, "a plan changed something"
        report = self.yard.carry_out(plan)
        after = self.yard.files()
        self.check(plan, report, before, after)
        for name, had in copies.items():
            left = self.copies(name, after)
            if name in self.held:
                assert left == had, f"{name} is held"
            named = {
                step.reason for step in plan.steps if isinstance(step, RemoveCopy) and step.source == name
            }
            if had and not left:
                assert named & MAY_REMOVE_LAST_COPY, f"{name} lost its last copy by {named}"
            archive = f"archived/{name}"
            if name in self.damaged and archive in before and archive not in after:
                assert named == {Reason.MAX_AGE_HARD}, f"the damaged {archive} went by {named}"
        self.damaged = {name for name in self.damaged if f"archived/{name}" in after}

    def check(
        self, plan: CleanupPlan, report: Report, before: dict[str, bytes], after: dict[str, bytes]
    ) -> None:
        source = self.yard.trees.source
        named = {os.path.relpath(step.path, source) for step in plan.steps}
        named |= {
            os.path.relpath(step.clip.root / step.clip.beside(name), source)
            for step in plan.steps
            if isinstance(step, RemoveCopy)
            for name in step.clip.sidecars
        }
        assert before.keys() - after.keys() <= named, "something went that the plan did not name"
        assert all(after[path] == before[path] for path in before.keys() & after.keys())
        assert not plan.refused or after == before, "a refused plan was carried out"
        assert self.foreign <= after.keys()
        assert set(after.values()) <= set(before.values()), "something new appeared"
        failed = [outcome for outcome in report.outcomes if outcome.result is Result.FAILED]
        assert not failed

    def copies(self, name: str, files: dict[str, bytes]) -> set[str]:
        """Where a clip's footage stands: its very bytes in source or trash, its archive by its size."""
        whole = random.Random(f"{self.clips[name].camera}{self.clips[name].start}").randbytes(10_000)
        found = {place for place in (name, f".deleted/input/{name}") if files.get(place) == whole}
        places = () if name in self.damaged else (f"archived/{name}", f".deleted/output/{name}")
        return found | {place for place in places if len(files.get(place, b"")) == 3000}


CleanupMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestCleanupMachine = pytest.mark.edge(CleanupMachine.TestCase)
