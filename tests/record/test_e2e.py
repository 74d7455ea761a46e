"""record: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest

from camarchiver.errors import ExitCode, StorageError
from camarchiver.state import holds
from tests import dates
from tests.cameras import frames_of
from tests.commands import rec_exact
from tests.recordings import (
    RecCamera,
    RecRun,
    rec_clips,
    rec_document,
    rec_old,
    rec_packets,
    rec_place,
    rec_slices,
)

# As in tests/capture/test_integrations.py: cameras play in real time.
pytestmark = pytest.mark.flaky(reruns=1)


def rec_a_day_later(outbox: Path) -> None:
    """Date back what was announced."""
    listed = outbox / ".camarchiver/announced/yard.json"
    announced = json.loads(listed.read_text())
    for notice in announced["clips"].values():
        notice["at"] = (datetime.fromisoformat(notice["at"]) - timedelta(hours=24)).isoformat()
    listed.write_text(json.dumps(announced))


class TestRecord:
    def test_dry_run_shows_the_motion_and_writes_nothing(
        self, rec_twice: Path, rec_command: list[str], tmp_path: Path
    ) -> None:
        words = [*rec_command, "--source", f"file:{rec_twice}", "--dry-run", "--json"]
        ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        document = rec_document(ran)
        assert (ran.returncode, document["status"]) == (0, "done")
        assert [set(event) for event in document["events"]] == [{"start", "end", "peak", "zone"}] * 2
        assert [round(event["start"]) for event in document["events"]] == [6, 16]
        assert not list(tmp_path.iterdir())

    def test_a_dry_run_that_can_not_read_on_ends_alike_as_text_and_as_json(
        self, rec_command: list[str], tmp_path: Path
    ) -> None:
        source = tmp_path / "spoilt.mp4"
        source.write_bytes(b"no video" * 1000)
        words = [*rec_command, "--source", f"file:{source}", "--dry-run"]
        text, as_json = (subprocess.run([*words, *more], capture_output=True) for more in ([], ["--json"]))
        document = json.loads(as_json.stdout)
        assert (text.returncode, as_json.returncode, document["exit_code"]) == (ExitCode.STORAGE,) * 3
        assert (document["status"], document["errors"][0]["code"]) == ("failed", StorageError.code)

    def test_clips_are_the_cameras_own_packets(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path
    ) -> None:
        ran = rec_run("--source", rec_twice, "--snapshot")
        document = rec_document(ran)
        assert ran.returncode == 0, ran.stderr
        clips = rec_clips(tmp_path / "recorded_clips" / "yard")
        assert rec_exact(clips, rec_twice) == [(60, 165), (210, 315)]  # B-frames: 11.1 s comes early
        assert [clip.with_suffix(".jpg").exists() for clip in clips] == [True, True]
        assert [clip["frames"] for clip in document["clips"]] == [106, 106]
        assert [clip["preroll"] for clip in document["clips"]] == [2.0, 2.0]
        assert [clip["lost"] for clip in document["clips"]] == [0, 0]
        assert not list((tmp_path / "temp_clips").rglob("motion_*"))
        log = (tmp_path / "temp_clips" / "recorder.log").read_text().splitlines()
        assert [json.loads(line[line.index("{") :])["frames"] for line in log] == [106, 106]
        for clip in clips:
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(clip), "-f", "null", "-"]
            assert subprocess.run(command, capture_output=True, text=True).stderr == ""

    @pytest.mark.parametrize("reader", ["full", "gone"])
    def test_it_goes_on_when_what_it_prints_goes_nowhere(
        self, rec_twice: Path, rec_command: list[str], tmp_path: Path, reader: str
    ) -> None:
        words = [*rec_command, "--camera", "yard", "--min-free", "0", "--source", f"file:{rec_twice}"]
        if reader == "full":
            target = os.open("/dev/full", os.O_WRONLY)
        else:
            nobody, target = os.pipe()
            os.close(nobody)
        ran = subprocess.run(words, cwd=tmp_path, stdout=target, stderr=subprocess.PIPE, text=True)
        os.close(target)
        assert (ran.returncode, ran.stderr) == (0, "")
        clips = rec_clips(tmp_path / "recorded_clips" / "yard")
        assert rec_exact(clips, rec_twice) == [(60, 165), (210, 315)]
        log = (tmp_path / "temp_clips" / "recorder.log").read_text()
        assert log.count("standard output is gone") == 1

    def test_two_triggers_three_seconds_apart_are_one_clip(
        self, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        source = rec_make((6, 7.5), (9, 10.5), d=18)
        assert rec_run("--source", source).returncode == 0
        assert [first for first, _ in rec_exact(rec_clips(tmp_path), source)] == [60]

    def test_a_trigger_during_a_clip_makes_it_longer(
        self, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        once, twice = rec_make((6, 7.5), d=18), rec_make((6, 7.5), (9, 10.5), d=18)
        ends = []
        for number, source in enumerate((once, twice)):
            folder = tmp_path / str(number)
            assert rec_run("--source", source, "--outbox", folder).returncode == 0
            ((first, last),) = rec_exact(rec_clips(folder), source)
            assert first == 60
            ends.append(last)
        assert ends[1] - ends[0] == pytest.approx(45, abs=4)

    def test_clips_whose_prerolls_begin_in_one_second(
        self, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        """The second one's pre-roll holds the first clip whole."""
        source = rec_make((4, 5.5), (9.5, 11), d=15)
        named = Path(shutil.copy(source, tmp_path / "REO_yard_20260503142001.mp4"))
        assert rec_run("--source", named, "--pre", "10s", "--post", "1s").returncode == 0
        clips = rec_clips(tmp_path / "recorded_clips")
        assert sorted(re.sub(r"_[\d.]+s", "", clip.name) for clip in clips) == [
            "motion_20260503_142001.mp4",
            "motion_20260503_142001_2.mp4",
        ]
        places = sorted(rec_exact(clips, source))
        assert [first for first, _ in places] == [0, 0]
        assert places[0][1] < 100 < places[1][1]

    def test_motion_after_the_post_roll_begins_a_clip_whose_preroll_is_whole(
        self, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        source = rec_make((6, 7.5), (10.5, 12), d=18)
        assert rec_run("--source", source, "--post", "1s", "--pre", "4s").returncode == 0
        places = rec_exact(rec_clips(tmp_path), source)
        assert [first for first, _ in places] == [30, 90]
        assert places[0][1] > 90

    def test_a_split_loses_and_doubles_nothing(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path
    ) -> None:
        ran = rec_run("--source", rec_twice, "--max-clip", "2s", "--duration", "14s")
        assert ran.returncode == 0
        clips = rec_clips(tmp_path)
        places = rec_exact(clips, rec_twice)
        assert places == [(60, 89), (90, 119), (120, 149), (150, 165)]
        sound = [digest for clip in clips for digest in rec_packets(clip).audio]
        assert rec_place(tuple(sound), rec_packets(rec_twice).audio) >= 0

    def test_long_groups_begin_before_the_preroll(
        self, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        source = rec_make((14, 16), d=22, options="-g 150 -keyint_min 150 -sc_threshold 0", sound=False)
        ran = rec_run("--source", source)
        assert ran.returncode == 0
        clip = rec_clips(tmp_path)[0]
        assert rec_place(rec_packets(clip).video, rec_packets(source).video) == 150
        assert ran.stderr.count("keyframe only every 10 s") == 1

    def test_two_clips_in_one_second(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        source = Path(shutil.copy(rec_twice, tmp_path / "REO_yard_20260503142001.mp4"))
        for _ in range(2):
            assert rec_run("--source", source, "--duration", "14s").returncode == 0
        names = [clip.name for clip in rec_clips(tmp_path / "recorded_clips")]
        assert names == ["motion_20260503_142005_7.1s.mp4", "motion_20260503_142005_7.1s_2.mp4"]

    def test_a_stop_in_the_middle_publishes_the_clip_whole(
        self,
        rec_twice: Path,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
    ) -> None:
        process = rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        document: dict[str, Any] = json.loads(output)
        assert (process.returncode, document["status"]) == (143, "stopped")
        clips = rec_clips(tmp_path / "recorded_clips")
        assert [first for first, _ in rec_exact(clips, rec_twice)] == [60]
        assert document["clips"][0]["frames"] == len(rec_packets(clips[0]).video)
        assert not list((tmp_path / "temp_clips").rglob("motion_*"))

    @pytest.mark.parametrize("frames", [30, 45])
    def test_a_kill_loses_half_a_second_at_most(
        self,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
        frames: int,
    ) -> None:
        """Everything up to the last whole fragment is kept, and a fragment has half a second."""
        spool = tmp_path / "temp_clips"
        process = rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: any(frames_of(path) >= frames for path in spool.rglob("motion_*.mp4")))
        process.kill()
        process.communicate()
        begun = next(spool.rglob("motion_*.mp4"))
        written, fragments = frames_of(begun), begun.read_bytes().count(b"moof")
        ran = rec_run("--source", rec_twice, "--duration", "1s")
        document = rec_document(ran)
        assert (ran.returncode, len(document["salvaged"])) == (0, 1)
        (first, last), *more = rec_exact(rec_clips(tmp_path / "recorded_clips"), rec_twice)
        assert not more
        assert first == 60
        assert last - first + 1 >= max(frames, written - 8)
        assert last - first + 1 <= 8 * fragments
        assert not begun.exists()

    @pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
    def test_spool_on_another_filesystem(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        spool = Path("/dev/shm") / f"camarchiver-e2e-{os.getpid()}"
        try:
            assert rec_run("--source", rec_twice, "--spool", spool, "--duration", "14s").returncode == 0
            assert rec_exact(rec_clips(tmp_path), rec_twice) == [(60, 165)]
            assert not list(spool.rglob("motion_*"))
        finally:
            shutil.rmtree(spool, ignore_errors=True)

    @pytest.mark.parametrize("which", ["--spool", "--outbox"])
    def test_a_disk_that_fills_up(
        self, rec_twice: Path, rec_run: RecRun, rec_small_disk: Path, tmp_path: Path, which: str
    ) -> None:
        log = tmp_path / "log"
        ran = rec_run("--source", rec_twice, which, rec_small_disk, "--log-file", log)
        document = rec_document(ran)
        assert ran.returncode in (ExitCode.FAILED, ExitCode.PARTIAL, ExitCode.STORAGE)
        assert document["errors"]
        assert "No space left" in log.read_text()
        published = (
            rec_clips(tmp_path / "recorded_clips") if which == "--spool" else rec_clips(rec_small_disk)
        )
        for first, _ in rec_exact(published, rec_twice):
            assert first in (60, 210)
        if which == "--outbox":  # nothing lost: the next run with room has them
            assert not published
            again = rec_document(rec_run("--source", rec_twice, "--duration", "1s"))
            assert rec_exact([Path(path) for path in again["salvaged"]], rec_twice) == [(60, 165), (210, 315)]

    def test_the_outbox_expires_a_day_after_it_was_announced(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path
    ) -> None:
        old = [rec_old(tmp_path / "recorded_clips", days) for days in (9, 8, 1)]
        other = rec_old(tmp_path / "recorded_clips", 9, camera="door")
        words = ("--source", rec_twice, "--duration", "1s", "--keep-days", dates.age(7), "--timezone", "UTC")
        document = rec_document(rec_run(*words))
        assert (document["announced"], document["removed"]) == ([str(old[0]), str(old[1])], [])
        rec_a_day_later(tmp_path / "recorded_clips")
        held = tmp_path / "recorded_clips/.camarchiver"
        start, end = dates.ago(8.5), dates.ago(7.5)
        holds.add(held, start, end, camera="yard", reason="x", until=None)
        ran = rec_run(*words)
        document = rec_document(ran)
        assert ran.returncode == 0, ran.stderr
        assert [(each["path"], each["result"], each["reason"]) for each in document["removed"]] == [
            (str(old[0]), "done", "keep-days")
        ]
        assert [path.exists() for path in (*old, other)] == [False, True, True, True]
        log = (tmp_path / "temp_clips/recorder.log").read_text()
        assert f"removed {old[0]} (keep-days); no transfer of it was confirmed" in log

    def test_max_storage_waits_for_its_announcement(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path
    ) -> None:
        old = [rec_old(tmp_path / "recorded_clips", days, size=1000) for days in (3, 2)]
        words = ("--source", rec_twice, "--duration", "1s", "--max-storage", "1500", "--timezone", "UTC")
        assert rec_document(rec_run(*words))["announced"] == [str(old[0])]
        assert [path.exists() for path in old] == [True, True]
        rec_a_day_later(tmp_path / "recorded_clips")
        removed = rec_document(rec_run(*words))["removed"]
        assert [(each["path"], each["reason"]) for each in removed] == [(str(old[0]), "max-storage")]
        assert [path.exists() for path in old] == [False, True]

    def test_drop_oldest_makes_room_on_a_full_disk(
        self, rec_twice: Path, rec_run: RecRun, rec_disk: Path
    ) -> None:
        outbox, room = rec_disk / "out", 1_500_000
        folder = outbox / "yard"
        folder.mkdir(parents=True)
        (folder / "holiday.mp4").write_bytes(bytes(100_000))
        old = []
        while shutil.disk_usage(rec_disk).free > room + 100_000:
            old.append(rec_old(outbox, 40 - len(old) / 10, size=300_000))
        assert len(old) > 3
        words = (
            "--source",
            rec_twice,
            "--spool",
            rec_disk / "spool",
            "--outbox",
            outbox,
            "--timezone",
            "UTC",
        )
        ran = rec_run(*words, "--min-free", str(room), "--on-full", "drop-oldest")
        document = rec_document(ran)
        assert ran.returncode == 0, ran.stderr
        new = [Path(clip["path"]) for clip in document["clips"]]
        assert rec_exact(new, rec_twice) == [(60, 165), (210, 315)]
        gone = [path for path in old if not path.exists()]
        assert gone == old[: len(gone)]
        assert [each["reason"] for each in document["removed"]] == ["min-free"] * len(gone)
        assert len(gone) <= (sum(path.stat().st_size for path in new) + 400_000) / 300_000 + 1
        assert (folder / "holiday.mp4").exists()

    def test_a_full_disk_stops_recording_until_there_is_room(
        self,
        rec_make: Callable[..., Path],
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        rec_disk: Path,
    ) -> None:
        filler, log = rec_disk / "somebody's", rec_disk.parent / "log"
        filler.write_bytes(bytes(shutil.disk_usage(rec_disk).free - 2_000_000))
        words = ("--spool", rec_disk / "spool", "--outbox", rec_disk / "out", "--log-file", log)
        source = rec_make((13, 14), d=16, sound=False)
        process = rec_start("--source", source, "--realtime", *words, "--min-free", "2500000")
        rec_until(lambda: log.exists() and "not recording" in log.read_text())
        filler.unlink()
        output, _ = process.communicate(timeout=60)
        document = json.loads(output)
        assert (process.returncode, document["status"]) == (ExitCode.PARTIAL, "partial")
        assert document["errors"][0]["message"] == "there was too little room to record"
        assert "there is room, recording goes on" in log.read_text()
        assert [first for first, _ in rec_exact(rec_clips(rec_disk), source)] == [165]

    @pytest.mark.parametrize(
        "words",
        [("--on-full", "drop-oldest", "--min-free", "0"), ("--max-storage", "0"), ("--keep-days", "0")],
    )
    def test_terms_that_cannot_be_meant_are_refused(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path, words: tuple[str, ...]
    ) -> None:
        ran = rec_run("--source", rec_twice, *words)
        assert ran.returncode == ExitCode.USAGE
        assert words[0].removeprefix("--") in ran.stdout + ran.stderr
        assert not rec_clips(tmp_path)

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
    def test_an_outbox_that_becomes_read_only_costs_nothing(
        self,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
    ) -> None:
        recorder = rec_start("--source", rec_twice, "--realtime", "--duration", "10s")
        outbox = tmp_path / "recorded_clips" / "yard"
        rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
        if subprocess.run(["mount", "--bind", outbox, outbox]).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", outbox], check=True)
            output, _ = recorder.communicate(timeout=60)
            document = json.loads(output)
            assert (recorder.returncode, document["status"]) == (ExitCode.FAILED, "failed")
            assert "Read-only file system" in document["errors"][0]["message"]
            refused = rec_run("--source", rec_twice)
            assert refused.returncode == ExitCode.STORAGE
            assert "Read-only file system" in rec_document(refused)["errors"][0]["message"]
        finally:
            subprocess.run(["umount", outbox], check=True)
        again = rec_document(rec_run("--source", rec_twice, "--duration", "1s"))
        ((first, last),) = rec_exact([Path(path) for path in again["salvaged"]], rec_twice)
        assert (first, last - first) == (60, document["clips"][0]["frames"] - 1)

    def test_too_little_room_records_nothing(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        ran = rec_run("--source", rec_twice, "--min-free", "100000TB")
        assert ran.returncode == ExitCode.STORAGE
        assert rec_document(ran)["errors"][0]["code"] == "storage"
        assert not rec_clips(tmp_path)

    def test_a_schedule(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        source = Path(shutil.copy(rec_twice, tmp_path / "REO_yard_20260503142945.mp4"))
        words = ("--source", source, "--schedule", "sa,su 14:30-15:00", "--timezone", "UTC")
        assert rec_run(*words).returncode == 0
        names = [clip.name for clip in rec_clips(tmp_path / "recorded_clips")]
        assert names == ["motion_20260503_142959_7.1s.mp4"]

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("--mask", "0.1,0.3 1,0.3 1,0.7 0.1,0.7"), []),
            (("--zone", "gate=0,0 0.1,0 0.1,1 0,1"), []),
            (("--zone", "path=0,0.3 1,0.3 1,0.7 0,0.7"), ["path", "path"]),
            (("--min-area", "20"), []),
            (("--min-duration", "1s"), ["", ""]),
            (("--min-duration", "2.5s"), []),
            (("--keyframes", "--sensitivity", "high"), ["", ""]),
        ],
    )
    def test_what_counts_as_motion(
        self, rec_twice: Path, rec_run: RecRun, words: tuple[str, ...], expected: list[str]
    ) -> None:
        document = rec_document(rec_run("--source", rec_twice, "--dry-run", *words))
        assert [event["zone"] for event in document["events"]] == expected

    def test_motion_that_must_last_has_its_whole_preroll(
        self, rec_make: Callable[..., Path], rec_run: RecRun
    ) -> None:
        """Motion of a third of a second is ignored, also after a longer one; that is kept from before it."""
        source = rec_make((6, 9), (17, 17.3), d=24)
        document = rec_document(rec_run("--source", source, "--min-duration", "2s", "--pre", "4s"))
        (clip,) = document["clips"]
        assert 4.0 <= clip["preroll"] <= 5.0
        assert clip["seconds"] == pytest.approx(clip["preroll"] + 6, abs=0.5)
        assert len(rec_document(rec_run("--source", source, camera="all"))["clips"]) == 2

    def test_a_detection_stream(
        self, rec_twice: Path, rec_make: Callable[..., Path], rec_run: RecRun, tmp_path: Path
    ) -> None:
        still = rec_make()
        ran = rec_run("--source", still, "--detect-source", rec_twice)
        assert ran.returncode == 0
        assert [first for first, _ in rec_exact(rec_clips(tmp_path), still)] == [60, 210]

    @pytest.fixture
    def rec_fleet(self, rec_twice: Path, rec_make: Callable[..., Path], tmp_path: Path) -> Path:
        """A config of two cameras that can be read and one that can't."""
        config = tmp_path / "config.toml"
        config.write_text(
            f"""
            [record]
            min_free = 0
            realtime = true
            [record.yard]
            source = "{rec_twice}"
            [record.roof]
            source = "{tmp_path}/nothing.mp4"
            [record.gate]
            source = "{rec_make((5, 7), d=12)}"
            pre = "1s"
            """
        )
        return config

    def test_several_cameras_in_one_process(
        self, rec_fleet: Path, rec_command: list[str], rec_until: Callable[..., None], tmp_path: Path
    ) -> None:
        """Stopped in the middle of a clip of each; the third one's failure stopped neither."""
        words = [*rec_command, "--config", str(rec_fleet), "--json"]
        recorder = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        rec_until(lambda: len(list((tmp_path / "temp_clips").rglob("motion_*.mp4"))) == 2)
        begun = list((tmp_path / "temp_clips").rglob("motion_*.mp4"))
        rec_until(lambda: all(frames_of(path) > 20 for path in begun))
        recorder.terminate()
        document = json.loads(recorder.communicate(timeout=30)[0])
        assert (recorder.returncode, document["status"]) == (143, "stopped")
        assert "nothing.mp4" in document["errors"][0]["message"]
        codes = {each["camera"]: each["exit_code"] for each in document["cameras"]}
        assert codes == {"yard": 0, "gate": 0, "roof": ExitCode.USAGE}
        assert [clip["preroll"] for clip in document["clips"]] == [2.0, 1.0]
        clips = rec_clips(tmp_path / "recorded_clips")
        assert [clip.parent.name for clip in clips] == ["gate", "yard"]
        assert not list((tmp_path / "temp_clips").rglob("motion_*.mp4"))
        assert all(len(rec_packets(clip).video) > 20 for clip in clips)

    def test_the_worst_camera_decides_the_exit_code(
        self, rec_fleet: Path, rec_command: list[str], tmp_path: Path
    ) -> None:
        def run(*words: str) -> subprocess.CompletedProcess[str]:
            command = [*rec_command, "--config", str(rec_fleet), *words]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

        ran = run("--duration", "1s", "--json")
        assert (ran.returncode, rec_document(ran)["status"]) == (ExitCode.USAGE, "failed")
        assert "roof is not recorded" in ran.stderr
        assert run("--duration", "1s", "--camera", "gate").returncode == 0
        refused = run("--dry-run")
        assert (refused.returncode, "yard, roof, gate" in refused.stderr) == (ExitCode.USAGE, True)
        rec_fleet.write_text(rec_fleet.read_text() + "duration = '5s'\n")
        wrong = run("--camera", "gate")
        assert (wrong.returncode, "[record.gate] duration is not a key" in wrong.stderr) == (
            ExitCode.CONFIG,
            True,
        )
        rec_fleet.write_text(rec_fleet.read_text().replace("duration = '5s'", "post = 'soon'"))
        command = [rec_command[0], "config", "check", "--config", str(rec_fleet)]
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (checked.returncode, "[record.gate] post: 'soon'" in checked.stderr) == (ExitCode.CONFIG, True)

    def test_the_service_manager_hears_of_it(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[str] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(str(tmp_path / "notify"))

            def hear() -> None:
                while heard[-1:] != ["STOPPING=1"]:
                    heard.extend(listener.recv(1000).decode().split("\n"))

            ear = threading.Thread(target=hear, daemon=True)
            ear.start()
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            monkeypatch.setenv("WATCHDOG_USEC", "30000000")
            assert rec_run("--source", rec_twice, "--duration", "9s").returncode == 0
            ear.join(20)
        assert heard[:2] == ["READY=1", "STATUS=yard: waiting"]
        assert "WATCHDOG=1" in heard
        assert "STATUS=yard: recording" in heard
        assert heard[-1] == "STOPPING=1"

    @pytest.mark.parametrize("source", ["rpicam-vid:", "picamera2:0,640x360@15"])
    def test_a_raspberry_pis_camera(
        self,
        rec_annexb: Path,
        rec_rpicam: Callable[..., dict[str, str]],
        rec_picamera: Callable[..., Path],
        rec_command: list[str],
        tmp_path: Path,
        source: str,
    ) -> None:
        """Fakes of its program and of its module."""
        environment = {**rec_rpicam(), "PYTHONPATH": str(rec_picamera())}
        words = ["--source", source, "--camera", "yard", "--min-free", "0", "--duration", "9s", "--json"]
        ran = subprocess.run(
            [*rec_command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        (clip,) = rec_document(ran)["clips"]
        found, known = rec_packets(Path(clip["path"])), rec_packets(rec_annexb)
        place = rec_place(rec_slices(Path(clip["path"])), rec_slices(rec_annexb))
        assert (place, clip["lost"]) == (45, 0)
        assert 1.5 <= clip["preroll"] <= 2.5
        assert found.times == pytest.approx(
            [each - known.times[place] for each in known.times[place : place + len(found.times)]], abs=1e-3
        )

    def test_mjpeg_is_encoded(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        source = tmp_path / "REO_yard_20260503142000.avi"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "14"]
        subprocess.run([*command, "-c:v", "mjpeg", "-c:a", "pcm_s16le", str(source)], check=True)
        ran = rec_run("--source", source, "--timezone", "UTC")
        assert ran.returncode == 0, ran.stderr
        (clip,) = rec_document(ran)["clips"]
        with av.open(clip["path"]) as container:
            video, audio = container.streams
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert sum(1 for _ in container.decode(video)) == clip["frames"]
        assert 2.0 <= clip["preroll"] <= 4.0
        assert clip["lost"] == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    def test_no_encoder_outlives_its_recorder(
        self,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
        number: signal.Signals,
    ) -> None:
        """A stop publishes what was encoded until then, a kill leaves it to the next start."""
        source = tmp_path / "REO_yard_20260503142000.avi"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "14"]
        subprocess.run([*command, "-c:v", "mjpeg", "-an", str(source)], check=True)
        recorder = rec_start("--source", source, "--realtime")
        rec_until(lambda: any(path.stat().st_size for path in (tmp_path / "temp_clips").rglob("motion_*")))
        time.sleep(1)
        children = Path(f"/proc/{recorder.pid}/task").glob("*/children")
        encoders = [int(pid) for path in children for pid in path.read_text().split()]
        assert encoders
        recorder.send_signal(number)
        recorder.communicate(timeout=30)
        rec_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in encoders))
        if number is signal.SIGKILL:
            assert len(rec_document(rec_run("--source", rec_twice, "--duration", "1s"))["salvaged"]) == 1
        (clip,) = rec_clips(tmp_path / "recorded_clips")
        with av.open(str(clip)) as container:
            decoded = sum(1 for _ in container.decode(video=0))
        assert decoded == len(rec_packets(clip).video) > 10

    def test_a_fifo(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(rec_twice)]
        writer = subprocess.Popen([*command, "-c", "copy", "-f", "mpegts", str(fifo)])
        ran = rec_run("--source", f"file:{fifo}")
        assert writer.wait(10) == 0
        assert (ran.returncode, [clip["frames"] for clip in rec_document(ran)["clips"]]) == (0, [106, 106])
        known = rec_packets(rec_twice)
        for clip in rec_clips(tmp_path):
            found = rec_packets(clip)
            assert rec_place(found.audio, known.audio) >= 0
            assert found.audio_times[0] == pytest.approx(0, abs=0.05)

    @pytest.mark.parametrize(
        ("offsets", "steps"),
        [
            ((95430,), 0),  # 33 bits of 90 kHz wrap after 13.7 s
            ((0, 1000), 1),
            ((1000, 0), 1),
        ],
    )
    def test_a_clock_that_wraps_or_steps(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path, offsets: tuple[int, ...], steps: int
    ) -> None:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-c", "copy"]
        with (tmp_path / "REO_yard_20260503142000.ts").open("wb") as file:
            for offset in offsets:
                words = [*command, "-output_ts_offset", str(offset), "-f", "mpegts", "-"]
                file.write(subprocess.run(words, check=True, capture_output=True).stdout)
        ran = rec_run("--source", file.name, "--timezone", "UTC")
        assert ran.returncode == 0
        assert [clip["frames"] for clip in rec_document(ran)["clips"]] == [106, 106] * len(offsets)
        assert ran.stderr.count("its clock stepped") == steps
        starts = [clip.name[16:22] for clip in rec_clips(tmp_path / "recorded_clips")]
        assert starts == ["142004", "142014", "142028", "142038"][: 2 * len(offsets)]

    def test_a_camera_that_freezes_is_missed_within_ten_seconds(
        self,
        rec_rtsp: RecCamera,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
    ) -> None:
        """Its connection stays, and nothing comes."""
        server = rec_rtsp.start()
        recorder = rec_start("--source", rec_rtsp.url)
        log = tmp_path / "temp_clips" / "recorder.log"
        try:
            rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
            server.send_signal(signal.SIGSTOP)
            rec_until(lambda: "is lost" in log.read_text(), seconds=60)
            assert re.search(r"is lost: no (frame|answer|data) for 8 s", log.read_text())
            rec_until(lambda: rec_clips(tmp_path / "recorded_clips"))
            server.send_signal(signal.SIGCONT)
            rec_until(lambda: "is back" in log.read_text(), seconds=60)
        finally:
            recorder.terminate()
            output, complaints = recorder.communicate(timeout=30)
            server.kill()
            server.communicate()
        assert json.loads(output)["outages"] == 1
        assert complaints.count("is lost") == complaints.count("is back") == 1

    def test_a_camera_that_goes_away_and_comes_back(
        self,
        rec_rtsp: RecCamera,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
    ) -> None:
        server = rec_rtsp.start()
        recorder = rec_start("--source", rec_rtsp.url)
        spool = tmp_path / "temp_clips"
        try:
            rec_until(lambda: any(frames_of(path) > 30 for path in spool.rglob("motion_*.mp4")))
            server.kill()
            server.communicate()
            rec_until(lambda: rec_clips(tmp_path / "recorded_clips"))
            server = rec_rtsp.start()
            rec_until(lambda: any(frames_of(path) > 30 for path in spool.rglob("motion_*.mp4")))
        finally:
            recorder.terminate()
            output, complaints = recorder.communicate(timeout=30)
            server.kill()
            server.communicate()
        document = json.loads(output)
        assert (document["outages"], len(document["clips"])) == (1, 2)
        assert complaints.count("is lost") == complaints.count("is back") == 1
        for clip in rec_clips(tmp_path / "recorded_clips"):
            found = rec_packets(clip)
            assert len(found.video) > 30
            assert found.audio

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "--source"),
            (("--source", "{clip}", "--sensitivity", "much"), "sensitivity"),
            (("--source", "{clip}", "--zone", "gate"), "NAME="),
            (("--source", "{clip}", "--mask", "none.png"), "none.png"),
            (("--source", "{clip}", "--schedule", "always"), "schedule"),
            (("--source", "rtsp://a:b@c/d"), "--credentials"),
            (("--source", "rtsp://c/d", "--dry-run"), "--dry-run"),
            (("--source", "rtsp://c/d", "--credentials", "{old}"), "is no text in UTF-8"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, rec_twice: Path, rec_run: RecRun, words: tuple[str, ...], said: str, tmp_path: Path
    ) -> None:
        old = tmp_path / "old"
        old.write_text("admin:gehei\xdf", encoding="latin-1")
        named = {"{clip}": str(rec_twice), "{old}": str(old)}
        ran = rec_run(*(named.get(word, word) for word in words))
        error = rec_document(ran)["errors"][0]
        assert ran.returncode == ExitCode.USAGE
        assert said in error["message"] + error["hint"]
        assert not rec_clips(tmp_path)

    def test_a_camera_name_is_needed_and_is_one_folder(self, rec_twice: Path, rec_run: RecRun) -> None:
        for name in ("", "../x", ".hidden"):
            assert rec_run("--source", rec_twice, camera=name).returncode == ExitCode.USAGE

    def test_a_second_recorder_of_a_camera_is_refused(
        self,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
    ) -> None:
        rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: (tmp_path / "recorded_clips" / "yard" / ".record.lock").exists())
        assert rec_run("--source", rec_twice).returncode == ExitCode.ALREADY_RUNNING
        assert rec_run("--source", rec_twice, "--duration", "1s", camera="door").returncode == 0

    def test_archive_takes_the_clips(
        self, rec_twice: Path, rec_run: RecRun, rec_command: list[str], tmp_path: Path
    ) -> None:
        """With their camera, date, every frame, the sound and the picture beside; a timelapse, too."""
        source = Path(shutil.copy(rec_twice, tmp_path / "REO_yard_20260503142001.mp4"))
        words = ("--source", source, "--duration", "14s", "--snapshot", "--timelapse", "1s")
        assert rec_run(*words).returncode == 0
        root = tmp_path / "recorded_clips"
        frames = {}
        for clip in rec_clips(root):
            frames[clip.name] = len(rec_packets(clip).video)
            recorded = datetime(2026, 5, 3, 14, 21, tzinfo=UTC).timestamp()
            os.utime(clip, (recorded, recorded))
        command = [rec_command[0], "archive", str(root), "--age", "0", "--codec", "h264", "--json", "-y"]
        ran = subprocess.run(command, capture_output=True, text=True)
        document = json.loads(ran.stdout)
        assert (ran.returncode, document["status"]) == (0, "done"), ran.stderr
        assert {step["camera"] for step in document["steps"]} == {"yard"}
        starts = {step["start"][:19] for step in document["steps"]}
        assert starts == {"2026-05-03T14:20:01", "2026-05-03T14:20:05"}
        day = root / "archived" / "yard" / "2026" / "05" / "03"
        archived = {path.name: len(rec_packets(path).video) for path in day.glob("*.mp4")}
        assert archived == frames
        (motion,) = day.glob("motion_*.mp4")
        assert rec_packets(motion).audio
        assert motion.with_suffix(".jpg").exists()
        assert not rec_clips(root / "yard")
