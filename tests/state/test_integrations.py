"""state: against the real disk and real faults."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.archive import planner
from camarchiver.domain.clip import Clip, Fingerprint, Trees
from camarchiver.domain.damage import Flaw
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Report
from camarchiver.errors import StorageError
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.state import findings, holds, run_history, volume_marker, work_in_progress
from camarchiver.state import restored as restored_clips
from camarchiver.state.failures import Failures
from camarchiver.state.findings_log import FindingsLog
from camarchiver.state.work_in_progress import WorkNote
from camarchiver.storage import atomic, run_lock
from tests.samples import make_older
from tests.yards import Yard


class TestNotes:
    """Small files of the state, as a hand or a fault may leave them."""

    @pytest.mark.parametrize(
        "changed", [{"at": "2026-03-01T08:15:00"}, {"at": "9999-12-31T23:59:59-10:00"}, {"size": 1e300}]
    )
    def test_what_makes_no_sense_tells_nothing(
        self, tmp_path: Path, changed: dict[str, object], caplog: pytest.LogCaptureFixture
    ) -> None:
        fields = {"size": 1, "mtime_ns": 2, "count": 1, "at": "2026-03-01T08:15:00+00:00"}
        fields |= {"reason": "failed", "detail": ""}
        for name in ("failures.json", "restored.json"):
            (tmp_path / name).write_text(json.dumps({"a.mp4": fields, "b.mp4": {**fields, **changed}}))
        assert set(Failures(tmp_path).known()) == {"a.mp4"}
        assert set(restored_clips.read(tmp_path)) == {"a.mp4"}
        assert f"{tmp_path}/failures.json: 1 entries can't be understood" in caplog.text
        restored_clips.read(tmp_path)
        assert caplog.text.count(f"{tmp_path}/restored.json: 1 entries can't be understood") == 1

    def test_a_failure_that_cannot_be_written_down_now_is_written_at_the_end(
        self, tmp_path: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures, now = Failures(tmp_path), datetime.now(UTC)
        clip = Clip(tmp_path, "", "a.mp4", "front", now, Fingerprint(1, 2, 3, 4))
        full = mocker.patch.object(atomic, "write_json", side_effect=OSError(errno.ENOSPC, "No space left"))
        failures.note(clip, Reason.DAMAGED, "cut", now)
        assert "what failed can't be written down now: No space left" in caplog.text
        with pytest.raises(OSError, match="No space left"):
            failures.flush()
        mocker.stop(full)
        failures.flush()
        assert Failures(tmp_path).known()["a.mp4"].detail == "cut"

    @pytest.mark.parametrize(
        "changed",
        [
            {"run": 5},
            {"command": None},
            {"bytes_before": 10**400},
            {"seconds": math.inf},
            {"seconds": "1"},
            {"encoded": 1.5},
            {"exit_code": "0"},
            {"ended": "then"},
            None,
        ],
    )
    def test_a_record_that_no_run_wrote_is_passed_over(
        self, tmp_path: Path, changed: dict[str, object] | None
    ) -> None:
        record = {
            "run": "r",
            "command": "archive",
            "host": "h",
            "status": "done",
            "exit_code": 0,
            "encoded": 2,
        }
        record |= {"started": "2026-03-01T08:14:58+00:00", "ended": "2026-03-01T08:15:00+00:00"}
        record |= {"seconds": 2.0, "bytes_before": 100, "bytes_after": 50, "remaining": 0, "results": {}}
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs/20260301T081500-a.json").write_text(json.dumps(record))
        spoilt = json.dumps({**record, **changed}) if changed is not None else "[" * 5000
        (tmp_path / "runs/20260302T081500-a.json").write_text(spoilt)
        last = run_history.last(tmp_path)
        assert last is not None and last.fields() == record
        assert run_history.bytes_per_second(tmp_path) == 50.0

    def test_a_run_is_unfinished_from_its_first_step_on_until_it_reports(self, tmp_path: Path) -> None:
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        pipeline, state = Pipeline(trees, UTC, "archive"), trees.state
        plan = planner.plan(pipeline, ArchivePolicy(timedelta(1)), list_all=False)
        idle = pipeline.begin(())
        assert run_history.last(state) is None
        begun = pipeline.begin(("a step",))
        record = run_history.last(state)
        assert record is not None and (record.status, record.exit_code) == (run_history.UNFINISHED, None)
        # Which of the two reports comes first makes no difference to either.
        assert idle.report(plan, ()).began is None
        assert run_history.last(state) == record
        assert begun.report(plan, ()).began == begun.began is not None
        assert run_history.last(state) is None

    def test_no_run_removes_the_record_that_another_one_is_writing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(run_history, "KEPT", 2)
        at = datetime(2026, 3, 1, tzinfo=UTC)

        def record(number: int) -> None:
            report = Report("archive", f"20260301T00000{number}-abcdef", at, at)
            run_history.write(tmp_path, report, "host")

        for number in range(3):
            record(number)
        with atomic.staged(tmp_path / "runs/20260301T000009-abcdef.json") as part:
            record(3)
            assert part.path.exists()
        assert [each.run[14] for each in run_history.newest_first(tmp_path)] == ["3", "2"]

    def test_a_hold_has_what_fits_into_an_argument_and_no_more(self, tmp_path: Path) -> None:
        start, longest = datetime(2026, 3, 1, tzinfo=UTC), "x" * (2**17 - 1)
        end = start + timedelta(days=1)
        made = holds.add(tmp_path, start, end, camera=longest, reason=longest, until=None)
        assert holds.read(tmp_path) == (made,)
        holds.add(tmp_path, start, end, camera="", reason=longest * 2, until=None)
        with pytest.raises(StorageError, match="not known what is held"):
            holds.read(tmp_path)

    @pytest.mark.parametrize(
        "spoilt",
        [
            {"clip": "../x"},
            {"staged": "/x"},
            {"size": "1"},
            {"sidecars": ["a/b"]},
            {"start": ""},
            {"start": "2026-03-01T08:15:00"},
            {"pid": -1},
            {"host": None},
            {"camera": "x" * 5000},
        ],
    )
    def test_a_claim_that_no_run_wrote_is_none(self, tmp_path: Path, spoilt: dict[str, object]) -> None:
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        claim = {"clip": "x.mp4", "size": 1, "mtime_ns": 1, "start": "1905-03-01T08:15:00+00:09:21"}
        claim |= {"camera": "", "sidecars": ["x.jpg"], "host": "h", "pid": 1, "run": "r", "staged": ""}
        (trees.state / "claims").mkdir(parents=True)
        (trees.state / "claims/1.json").write_text(json.dumps(claim))
        (trees.state / "claims/2.json").write_text(json.dumps({**claim, **spoilt}))
        found, invalid = (note.work for note in work_in_progress.existing(trees))
        assert isinstance(found, work_in_progress.ClipWork)
        assert found.as_clip(tmp_path).start.isoformat() == claim["start"]
        assert invalid is None
        work_in_progress.ClipNote(trees.state / "claims/2.json", found, trees.archive)
        (trees.state / "claims/.3.0123456789abcdef.staged.json").write_text("{")
        assert [note.work for note in work_in_progress.existing(trees)] == [found, found]

    def test_a_note_without_its_owner_is_live_while_it_is_young(self, tmp_path: Path) -> None:
        """Earlier versions recorded host and process id only; such a run may have died before an upgrade."""
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        path = trees.state / "intents/r.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"run": "r", "host": "h", "pid": 1, "days": ["2026-03-01"]}')
        (note,) = work_in_progress.existing(trees)
        assert note.work == work_in_progress.RemovalWork("r", (date(2026, 3, 1),))
        assert work_in_progress.is_live(trees, note)
        make_older(path, 1000)
        (note,) = work_in_progress.existing(trees)
        assert not work_in_progress.is_live(trees, note)

    def test_a_run_of_this_process_has_ended(self, tmp_path: Path) -> None:
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        work_in_progress.RemovalNote(trees.state, "r").announce({date(2026, 3, 1)})
        (note,) = work_in_progress.existing(trees)
        assert not work_in_progress.is_live(trees, note)
        assert isinstance(note.work, work_in_progress.RemovalWork) and note.work.owner is not None
        of_parent = replace(note.work.owner, pid=os.getppid(), started=0)
        assert work_in_progress.is_live(
            trees, WorkNote(note.path, replace(note.work, owner=of_parent), note.touched)
        )

    def test_a_volume_marker_that_is_none_stops_with_its_name_and_the_remedy(self, tmp_path: Path) -> None:
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        volume_marker.mark(trees)
        (trees.state / "volume").write_text(f"{volume_marker.marker(trees.state)}\n" * 2)
        with pytest.raises(StorageError, match="volume can't be understood") as raised:
            volume_marker.check(trees)
        assert "delete it" in raised.value.hint
        (trees.state / "volume").unlink()
        with pytest.raises(StorageError, match="has no volume marker"):
            volume_marker.check(trees)
        volume_marker.mark(trees)
        volume_marker.check(trees)


class TestFindings:
    """What `verify` found, for the runs after it."""

    @pytest.mark.parametrize("target", ["itself", "nowhere"])
    def test_a_file_that_cannot_be_looked_at_is_not_taken_for_none(self, tmp_path: Path, target: str) -> None:
        """What is held, damaged or restored is not known then. Python 3.14 takes every error for no file."""
        readers = {
            holds.FILE: holds.read,
            findings.FILE: findings.read,
            restored_clips.FILE: restored_clips.read,
        }
        for name, read in readers.items():
            for path in (tmp_path / name, tmp_path / f"{name}.bak"):
                path.symlink_to(path.name if target == "itself" else "nowhere")
            with pytest.raises(StorageError, match=name):
                read(tmp_path)

    def test_the_newest_state_is_read_and_else_its_backup(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        state = yard.trees.state
        assert findings.read(state) == findings.Findings()
        damaged = findings.DamagedNow(state)
        assert damaged() == {}
        yard.find_damaged("a.mp4", "b\udcff.mp4")
        assert set(damaged()) == {"a.mp4", "b\udcff.mp4"}, "a name of bytes, too"
        yard.find_sound("a.mp4")
        assert set(damaged()) == {"b\udcff.mp4"}
        whole = findings.CompletedVerify(yard.now, "r", 7)
        findings.change(state, findings.FindingsUpdate(whole=whole))
        assert findings.read(state).last_whole == whole
        assert findings.read(state).last_full is None
        last = '{"last_whole": {"at": "AT", "run": "r", "archives": 1}}'
        times = (last.replace("AT", at) for at in ("2026-01-01T00:00:00", "0001-01-01T00:00:00Z"))
        for torn in ("{", '{"damaged": {"../x": {}}}', *times):
            (state / findings.FILE).write_text(torn)
            assert set(findings.read(state).damaged) == {"b\udcff.mp4"}, torn
        (state / f"{findings.FILE}.bak").write_text("7")
        with pytest.raises(StorageError, match="it is not known which archives are damaged"):
            findings.read(state)

    def test_two_runs_that_write_at_once_lose_nothing(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: yard.find_damaged(f"{number}.mp4"), range(40)))
        assert len(findings.read(yard.trees.state).damaged) == 40

    def test_a_journal_that_stays_locked_keeps_no_finding_from_being_stored(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        yard = Yard(tmp_path / "cams")
        clip = yard.record(40)
        yard.archive(clip)
        pipeline = yard.pipeline()
        expected = pipeline.journal.day(clip.start.date()).ledger.expected[clip.relative]
        log = FindingsLog(yard.trees.state, pipeline.journal, pipeline.writer, {})
        log.damaged(expected, Flaw.MISSING, "it is not there")
        monkeypatch.setattr(run_lock, "GUARD_SECONDS", 0.1)
        with (yard.trees.state / "journal/.lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            log.flush()
        assert "journal/.lock is locked" in log.problem
        assert set(findings.read(yard.trees.state).damaged) == {clip.relative}
