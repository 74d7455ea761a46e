"""export: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import av
import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode
from camarchiver.state import holds
from tests.commands import H264, NAME, Command, Make, frames, journal, snapshot
from tests.media.test_e2e import TestUnencoded


class TestHold:
    def test_a_held_clip_is_left_alone_until_the_hold_goes(self, camera_tree: Path, told: Command) -> None:
        added = told(
            "hold", "add", "-C", camera_tree, "--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x"
        )
        assert added.returncode == 0
        name = added.stdout.split()[0]
        (listed,) = json.loads(told("hold", "list", "-C", camera_tree, "--json").stdout)["holds"]
        assert (listed["id"], listed["reason"], listed["lapsed"]) == (name, "x", False)
        held = json.loads(told("archive", camera_tree, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in held["steps"]] == ["held"]
        assert told("archive", camera_tree).stdout == ""
        assert (camera_tree / f"2026/03/01/{NAME}.mp4").exists()
        refused = told("hold", "remove", "-C", camera_tree, name, CAMARCHIVER_HOLD_REMOVE_NO_CONFIRM="1")
        assert (refused.returncode, name in told("hold", "list", "-C", camera_tree).stdout) == (
            ExitCode.USAGE,
            True,
        )
        assert told("hold", "remove", "-C", camera_tree, name, "-y").returncode == 0
        assert told("hold", "list", "-C", camera_tree).stdout == ""
        assert told("archive", camera_tree).returncode == 0
        assert not (camera_tree / f"2026/03/01/{NAME}.mp4").exists()

    def test_one_readable_copy_holds_and_none_stops_every_run(self, camera_tree: Path, told: Command) -> None:
        told("hold", "add", "-C", camera_tree, "--from", "2026-03-01", "--to", "2026-03-02", "--reason", "x")
        state = camera_tree / "archived" / STATE_FOLDER
        (state / "holds.json").write_text("{ torn")
        held = json.loads(told("archive", camera_tree, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in held["steps"]] == ["held"]
        (state / "holds.json.bak").write_text("")
        stopped = told("archive", camera_tree)
        assert stopped.returncode == ExitCode.STORAGE
        assert "hold list --repair" in stopped.stderr
        repaired = told("hold", "list", "-C", camera_tree, "--repair")
        assert (repaired.returncode, repaired.stderr.count("put aside")) == (0, 2)
        assert told("archive", camera_tree).returncode == 0

    def test_a_recorders_outbox_has_holds_of_its_own(self, told: Command, tmp_path: Path) -> None:
        outbox = tmp_path / "out"
        range_ = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x")
        missing = told("hold", "add", "--outbox", outbox, *range_)
        assert (missing.returncode, f"{outbox} is not a folder" in missing.stderr) == (ExitCode.STORAGE, True)
        outbox.mkdir()
        added = told("hold", "add", "--outbox", outbox, *range_)
        assert added.returncode == 0, added.stderr
        assert [each.reason for each in holds.read(outbox / STATE_FOLDER)] == ["x"]
        assert told("hold", "list", "--outbox", outbox).stdout == added.stdout
        assert told("hold", "remove", "--outbox", outbox, added.stdout.split()[0], "-y").returncode == 0
        assert holds.read(outbox / STATE_FOLDER) == ()

    def test_the_repeated_hour_is_held_whole(self, camera_tree: Path, told: Command) -> None:
        zone = ("--timezone", "Europe/Berlin")
        times = ("--from", "2025-10-26 02:10", "--to", "2025-10-26 02:20")
        added = told("hold", "add", "-C", camera_tree, *zone, *times, "--reason", "x")
        assert added.returncode == 0, added.stderr
        stored = json.loads((camera_tree / "archived" / STATE_FOLDER / "holds.json").read_text())
        assert stored["holds"][0]["from"] == "2025-10-26T02:10:00+02:00"
        assert stored["holds"][0]["to"] == "2025-10-26T02:20:00+01:00"

    def test_it_is_said_how_much_a_new_hold_holds(self, camera_tree: Path, told: Command) -> None:
        day = (
            "hold",
            "add",
            "-C",
            camera_tree,
            "--reason",
            "x",
            "--from",
            "2026-03-01",
            "--to",
            "2026-03-01",
        )
        assert told(*day).stderr == "it covers 1 clip that is here now\n"
        mistyped = told(*day, "--camera", "frnt")
        assert mistyped.returncode == 0
        assert mistyped.stderr.endswith("is here now; about then recorded: front\n")
        late = told(*day, "--until", "2020-01-01")
        assert (late.returncode, "has lapsed already" in late.stderr) == (ExitCode.USAGE, True)

    def test_a_range_that_ends_before_it_begins_is_refused(self, camera_tree: Path, told: Command) -> None:
        times = ("--from", "2026-03-02", "--to", "2026-03-01 10:00")
        assert told("hold", "add", "-C", camera_tree, *times, "--reason", "x").returncode == ExitCode.USAGE


class TestExport:
    """`hold export`, on a tree with one archived clip, one unarchived one, and a picture."""

    @pytest.fixture
    def camera_tree(self, archived_camera: Path) -> Path:
        return archived_camera

    @pytest.fixture
    def held(self, camera_tree: Path, told: Command) -> str:
        """The hold of a day whose clips are archived, but for one that came later."""
        later = camera_tree / "2026/03/01/REO_front_20260301101500.mp4"
        later.parent.mkdir(parents=True)
        later.write_bytes((camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4").read_bytes() + b"0")
        os.utime(later, (1772360100, 1772360100))
        day = ("--from", "2026-03-01", "--to", "2026-03-01")
        added = told("hold", "add", "-C", camera_tree, *day, "--reason", "x")
        return str(added.stdout.split()[0])

    @staticmethod
    def files(place: Path) -> set[str]:
        return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}

    @staticmethod
    def is_proved(place: Path) -> bool:
        checked = subprocess.run(["b2sum", "--strict", "-c", "B2SUMS"], cwd=place, capture_output=True)
        return checked.returncode == 0

    def test_every_copy_of_a_clip_goes_along_and_is_proved(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        place = tmp_path / "evidence"
        before = snapshot(camera_tree)
        done = told("hold", "export", "-C", camera_tree, held, place)
        assert done.returncode == 0, done.stderr
        assert self.files(place) == {
            "B2SUMS",
            "journal.jsonl",
            f"archive/2026/03/01/{NAME}.jpg",
            f"archive/2026/03/01/{NAME}.mp4",
            "source/2026/03/01/REO_front_20260301101500.mp4",
            f"trash/input/2026/03/01/{NAME}.mp4",
        }
        assert self.is_proved(place)
        assert snapshot(camera_tree) == before
        trashed = camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        copy = place / f"trash/input/2026/03/01/{NAME}.mp4"
        assert copy.read_bytes() == trashed.read_bytes()
        assert copy.stat().st_mtime_ns == trashed.stat().st_mtime_ns
        lines = [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]
        assert [line["event"] for line in lines] == [event["event"] for event in journal(camera_tree)]

    def test_it_can_be_run_again_and_overwrites_nothing(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        place = tmp_path / "evidence"
        told("hold", "export", "-C", camera_tree, held, place)
        first = snapshot(place)
        again = told("hold", "export", "-C", camera_tree, held, place, "--json")
        assert (again.returncode, snapshot(place)) == (0, first)
        assert all(file["was_there"] for file in json.loads(again.stdout)["files"])
        other = place / "source/2026/03/01/REO_front_20260301101500.mp4"
        other.write_bytes(b"somebody else's")
        (place / f"archive/2026/03/01/{NAME}.jpg").unlink()
        refused = told("hold", "export", "-C", camera_tree, held, place)
        assert refused.returncode == ExitCode.PARTIAL
        assert "REO_front_20260301101500.mp4" in refused.stderr
        assert "never overwritten" in refused.stderr
        assert other.read_bytes() == b"somebody else's"
        assert (place / f"archive/2026/03/01/{NAME}.jpg").read_bytes() == b"jpg"
        assert not self.is_proved(place)

    def test_playable_copies_are_h264_for_every_player(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path, make_clip: Make
    ) -> None:
        folder, place = camera_tree / "2026/03/01", tmp_path / "evidence"
        odd = make_clip("-f lavfi -i testsrc2=s=160x120:r=10:d=2 -pix_fmt yuvj422p -c:v mjpeg", ".avi")
        shutil.copy(odd, folder / "REO_yard_20260301120000.avi")
        shutil.copy(odd, folder / "REO_yard_20260301130000.avi")
        os.truncate(folder / "REO_yard_20260301130000.avi", 100)
        done = told("hold", "export", "-C", camera_tree, held, place, "--playable")
        assert done.returncode == ExitCode.PARTIAL
        assert "REO_yard_20260301130000.avi: no playable copy" in done.stderr
        made = sorted((place / "playable").rglob("*.mp4"))
        assert [path.stem for path in made] == [
            NAME,
            "REO_front_20260301101500",
            "REO_yard_20260301120000",
        ]
        for path in made:
            with av.open(str(path)) as opened:
                stream = opened.streams.video[0].codec_context
                assert (stream.name, stream.pix_fmt) in {("h264", "yuv420p"), ("h264", "yuvj420p")}
            assert frames(path) == 20
        assert self.is_proved(place)
        first = snapshot(place)
        assert (
            told("hold", "export", "-C", camera_tree, held, place, "--playable").returncode
            == ExitCode.PARTIAL
        )
        assert snapshot(place) == first

    def test_a_playable_copy_shows_what_its_clip_shows_or_is_not_made(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path, make_clip: Make
    ) -> None:
        folder, place = camera_tree / "2026/03/01", tmp_path / "evidence"
        (folder / "REO_front_20260301101500.mp4").unlink()
        sizes = make_clip(TestUnencoded.of_two_sizes(make_clip, tmp_path))
        stray = make_clip(TestUnencoded.STRAY)
        titled = make_clip(TestUnencoded.with_subtitles(tmp_path))
        signed = make_clip(TestUnencoded.SIGNED)
        reordered = make_clip(H264.replace("ultrafast", "fast") + " -bf 3", ".avi")
        for minute, clip in enumerate((sizes, stray, titled, signed, reordered)):
            shutil.copy(clip, folder / f"REO_yard_2026030112{minute:02}00{clip.suffix}")
        done = told("hold", "export", "-C", camera_tree, held, place, "--playable", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == ExitCode.PARTIAL
        assert [error["code"] for error in found["errors"]] == ["not-playable"] * 2
        assert "from 160x120 to 320x240" in found["errors"][0]["message"]
        assert "out of order; it is exported as it is" in found["errors"][1]["message"]
        remarks = {Path(f["target"]).stem[-6:]: f["remark"] for f in found["files"] if "remark" in f}
        assert remarks == {"120200": "subtitle:mov_text left out"}
        made = {path.stem[-6:]: path for path in (place / "playable").rglob("REO_yard*")}
        assert sorted(made) == ["120200", "120300", "120400"]
        assert (place / "source/2026/03/01/REO_yard_20260301120100.mp4").read_bytes() == stray.read_bytes()
        with av.open(str(made["120400"])) as opened, av.open(str(reordered)) as source:
            before = [frame.to_ndarray(format="gray").astype(int) for frame in source.decode(video=0)]
            after = [frame.to_ndarray(format="gray").astype(int) for frame in opened.decode(video=0)]
        assert len(before) == len(after) == 20
        assert all(abs(a - b).mean() < 3 for a, b in zip(before, after, strict=True))

    def test_what_is_missing_or_damaged_is_named(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        archived = camera_tree / f"archived/2026/03/01/{NAME}.mp4"
        (camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4").unlink()
        content = archived.read_bytes()
        archived.write_bytes(content[:-1] + b"?")
        done = told("hold", "export", "-C", camera_tree, held, tmp_path / "a", "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"]) == (ExitCode.PARTIAL, "partial")
        assert {error["code"] for error in found["errors"]} == {"missing", "damaged"}
        archived.unlink()
        done = told("hold", "export", "-C", camera_tree, held, tmp_path / "b")
        assert (done.returncode, done.stderr.count("is missing")) == (ExitCode.PARTIAL, 2)

    def test_a_place_that_cannot_be_meant_is_refused(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        for place in (
            camera_tree / "evidence",
            camera_tree / "archived/x",
            tmp_path / "no/where",
            tmp_path / "file",
        ):
            assert told("hold", "export", "-C", camera_tree, held, place).returncode == ExitCode.USAGE
        assert (
            told("hold", "export", "-C", camera_tree, "nohold", tmp_path / "evidence").returncode
            == ExitCode.USAGE
        )
        nothing = told(
            "hold", "add", "-C", camera_tree, "--from", "2020-01-01", "--to", "2020-01-02", "--reason", "x"
        )
        empty = told("hold", "export", "-C", camera_tree, nothing.stdout.split()[0], tmp_path / "evidence")
        assert (empty.returncode, "no file" in empty.stdout) == (ExitCode.FAILED, True)

    def test_a_disk_too_small_is_said_before_anything_is_copied(
        self, camera_tree: Path, told: Command, held: str, small_disk: Path
    ) -> None:
        (small_disk / "filler").write_bytes(bytes(900_000))
        done = told("hold", "export", "-C", camera_tree, held, small_disk / "evidence")
        assert done.returncode == ExitCode.STORAGE
        assert "nothing was copied" in done.stderr
        assert self.files(small_disk / "evidence") == set()

    def test_a_disk_that_fills_up_on_the_way_is_said(
        self, camera_tree: Path, told: Command, held: str, small_disk: Path
    ) -> None:
        needed = sum(path.stat().st_size for path in camera_tree.rglob("*.mp4"))
        (small_disk / "filler").write_bytes(bytes(1_000_000 - needed))
        done = told("hold", "export", "-C", camera_tree, held, small_disk / "evidence", "--playable")
        assert done.returncode == ExitCode.PARTIAL
        assert "is full" in done.stderr
        (small_disk / "filler").unlink()
        done = told("hold", "export", "-C", camera_tree, held, small_disk / "evidence", "--playable")
        assert done.returncode == 0, done.stderr
        assert self.is_proved(small_disk / "evidence")

    def test_names_that_no_list_of_sums_likes(
        self, camera_tree: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        source = camera_tree / "2026/03/01/REO_front_20260301101500.mp4"
        odd = os.fsdecode(b"a\\b\nc\xff")
        (camera_tree / "2026/03/01" / odd).mkdir()
        source.rename(camera_tree / "2026/03/01" / odd / source.name)
        done = told("hold", "export", "-C", camera_tree, held, tmp_path / "evidence")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "evidence/source/2026/03/01" / odd / source.name).exists()
        assert self.is_proved(tmp_path / "evidence")
