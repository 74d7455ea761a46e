"""cleanup: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.errors import ExitCode
from tests import dates
from tests.commands import COMMAND, NAME, SOUND, Command, Put, clips_of, frames, media, on_a_terminal, whole
from tests.yards import Yard


class TestRestore:
    def test_a_run_is_undone_and_not_done_again_the_same_night(
        self, camera_tree: Path, told: Command
    ) -> None:
        source = camera_tree / f"2026/03/01/{NAME}.mp4"
        content, status = source.read_bytes(), source.stat()
        run = json.loads(told("archive", camera_tree, "--json").stdout)["run"]
        assert not source.exists()
        listed = told("restore", "-C", camera_tree, "--list")
        assert (NAME in listed.stdout, source.exists()) == (True, False)
        steps = json.loads(told("restore", "-C", camera_tree, "--list", "--json").stdout)["steps"]
        assert [(step["action"], step["reason"]) for step in steps] == [("restore", "restore-asked")]
        assert told("restore", "-C", camera_tree, "--run", run).returncode == ExitCode.USAGE
        assert told("restore", "-C", camera_tree, "--run", run, "-y").returncode == 0
        assert source.read_bytes() == content
        assert source.stat().st_mtime_ns == status.st_mtime_ns
        assert source.with_suffix(".jpg").read_bytes() == b"jpg"
        plan = json.loads(told("archive", camera_tree, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in plan["steps"]] == ["restored"]

    def test_nothing_is_written_over(self, camera_tree: Path, told: Command) -> None:
        source = camera_tree / f"2026/03/01/{NAME}.mp4"
        told("archive", camera_tree)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(b"another clip")
        done = json.loads(told("restore", "-C", camera_tree, source, "-y", "--json").stdout)
        assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [("skipped", "taken")]
        assert source.read_bytes() == b"another clip"
        assert (camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4").exists()

    def test_what_selects_nothing_is_an_error_that_names_the_nearest(
        self, archived_camera: Path, told: Command
    ) -> None:
        tree = archived_camera
        source = f"2026/03/01/{NAME}.mp4"
        for words, said in (
            ((source.replace("front", "frnt"), "-y"), f"did you mean {tree / source}?"),
            (("--camera", "frnt", "-y"), "did you mean front?"),
            (("--run", "20200101T000000-abcdef", "-y"), "there is no run 20200101T000000-abcdef"),
            (("2026/03/02/*.mp4", "-y"), "nothing in the trash came from"),
            ((source, source.replace("front", "frnt"), "-y"), "did you mean"),
        ):
            refused = told("restore", "-C", tree, *words)
            assert (refused.returncode, refused.stdout) == (ExitCode.FAILED, ""), words
            assert said in refused.stderr
            found = json.loads(told("restore", "-C", tree, *words, "--json").stdout)
            assert [each["code"] for each in found["errors"]] == ["not-found"]
        assert not (tree / source).exists()
        run = told("runs", tree).stdout.split()[2]
        assert told("restore", "-C", tree, "--run", run[:-3], "-y").returncode == 0
        again = told("restore", "-C", tree, source, "-y")
        assert (again.returncode, "which is in its place" in again.stderr) == (ExitCode.FAILED, True)
        empty = told("restore", "-C", tree, "--list")
        assert (empty.returncode, empty.stdout) == (0, "")
        assert "nothing in the trash" in empty.stderr

    @pytest.mark.parametrize(
        "spelled",
        [
            f"2026/03/01/{NAME}.mp4",
            f"input/2026/03/01/{NAME}.mp4",
            f".deleted/input/2026/03/01/{NAME}.mp4",
            f"archived/2026/03/01/{NAME}.mp4",
            "2026/03/01/*front*",
            "2026/03/01",
        ],
    )
    def test_each_way_to_write_a_path_is_accepted(
        self, archived_camera: Path, told: Command, spelled: str
    ) -> None:
        listed = told("restore", "-C", archived_camera, "--list", spelled)
        assert (listed.returncode, NAME in listed.stdout) == (0, True), listed.stderr
        if "*" not in spelled and spelled.endswith(".mp4"):
            assert "recorded by camera front" in told("why", "-C", archived_camera, spelled).stdout

    def test_a_restored_clip_is_archived_at_once_with_no_skip(
        self, archived_camera: Path, told: Command
    ) -> None:
        tree, source = archived_camera, archived_camera / f"2026/03/01/{NAME}.mp4"
        (tree / f"archived/2026/03/01/{NAME}.mp4").write_bytes(b"damaged")
        assert told("restore", "-C", tree, source, "-y").returncode == 0
        shown = told("archive", tree, "--dry-run").stdout
        assert "restored from the trash lately (restored), " in shown
        assert "--no-skip archives them now" in shown
        done = told("archive", tree, "--no-skip")
        assert (done.returncode, source.exists()) == (0, False), done.stderr
        assert told("verify", tree).returncode == 0

    @pytest.mark.edge
    @pytest.mark.parametrize("how", ["renamed", "copied"])
    def test_a_restore_that_died_halfway_is_finished_by_the_next(
        self, camera_tree: Path, told: Command, how: str
    ) -> None:
        """It died after the clip was back, on another filesystem before the trash had lost it."""
        source = camera_tree / f"2026/03/01/{NAME}.mp4"
        told("archive", camera_tree)
        source.parent.mkdir(parents=True, exist_ok=True)
        trashed = camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4"
        shutil.copy2(trashed, source)
        if how == "renamed":
            trashed.unlink()
        part = source.with_name(f".{NAME}.0123456789abcdef.staged.jpg")
        part.write_bytes(b"j")
        assert told("restore", "-C", camera_tree, source, "-y").returncode == 0
        assert source.with_suffix(".jpg").read_bytes() == b"jpg"
        assert source.exists() and not trashed.exists() and not part.exists()
        assert "restored from the trash" in told("why", "-C", camera_tree, source).stdout
        assert told("restore", "-C", camera_tree, "--list", "--camera", "front").stdout == ""

    def test_pictures_come_back_where_the_tree_is_mounted_elsewhere(
        self, camera_tree: Path, told: Command
    ) -> None:
        told("archive", camera_tree)
        moved = camera_tree.rename(camera_tree.with_name("elsewhere"))
        assert told("restore", "-C", moved, "--since", "2026-03-01", "-y").returncode == 0
        assert (moved / f"2026/03/01/{NAME}.mp4").exists()
        assert (moved / f"2026/03/01/{NAME}.jpg").read_bytes() == b"jpg"

    def test_a_changed_file_in_the_trash_is_not_taken_for_the_clip(
        self, camera_tree: Path, told: Command
    ) -> None:
        told("archive", camera_tree)
        (camera_tree / f".deleted/input/2026/03/01/{NAME}.mp4").write_bytes(b"something else")
        assert told("restore", "-C", camera_tree, "--list").stdout == ""


class TestSidecars:
    """Texts of a clip's stem go where the clip's pictures go."""

    TEXTS = ("srt", "json", "xml", "txt")

    def test_they_follow_their_clip_everywhere(self, camera_tree: Path, told: Command) -> None:
        day = camera_tree / "2026/03/01"
        for suffix in self.TEXTS:
            (day / f"{NAME}.{suffix}").write_text(suffix)
        (day / "notes.txt").write_text("of nobody")
        moment = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x")
        hold = told("hold", "add", "-C", camera_tree, *moment).stdout.split()[0]
        assert told("hold", "export", "-C", camera_tree, hold, camera_tree.parent / "out").returncode == 0
        exported = {path.suffix for path in (camera_tree.parent / "out/source/2026/03/01").iterdir()}
        assert exported == {".mp4", ".jpg", *(f".{suffix}" for suffix in self.TEXTS)}
        assert told("hold", "remove", "-C", camera_tree, hold, "-y").returncode == 0

        assert told("archive", camera_tree, "--codec", "h264").returncode == 0
        assert [path.name for path in day.iterdir()] == ["notes.txt"]
        archived = camera_tree / "archived/2026/03/01"
        assert {(archived / f"{NAME}.{suffix}").read_text() for suffix in self.TEXTS} == set(self.TEXTS)
        journal = "".join(path.read_text() for path in (camera_tree / "archived").rglob("*.jsonl"))
        assert all(f'"{NAME}.{suffix}": ' in journal for suffix in self.TEXTS)
        steps = json.loads(told("cleanup", camera_tree, "--dry-run", "--json").stdout)["steps"]
        foreign = [step["path"] for step in steps if step["reason"] == "foreign"]
        assert foreign == []
        assert told("restore", "-C", camera_tree, day / f"{NAME}.mp4", "-y").returncode == 0
        assert {(day / f"{NAME}.{suffix}").read_text() for suffix in self.TEXTS} == set(self.TEXTS)

    def test_to_the_trash_and_after_their_clip_is_gone(self, camera_tree: Path, told: Command) -> None:
        day, trash = camera_tree / "2026/03/01", camera_tree / ".deleted/input/2026/03/01"
        (day / f"{NAME}.srt").write_text("srt")
        assert told("archive", camera_tree, "--codec", "h264", "--sidecar", "trash").returncode == 0
        assert (trash / f"{NAME}.srt").read_text() == "srt"
        day.mkdir(parents=True)
        for name in (f"{NAME}.xml", "REO_front_20260301091500.xml", "REO_front_20260301081500 copy.xml"):
            (day / name).write_text("uploaded late")
            os.utime(day / name, (1772352000, 1772352000))
        steps = json.loads(told("cleanup", camera_tree, "--dry-run", "--json").stdout)["steps"]
        late = [(step["path"], step["reason"]) for step in steps if step["path"].endswith(".xml")]
        assert late == [(str(day / f"{NAME}.xml"), "orphan-picture")], "the others are no sidecars"

    def test_a_folder_with_a_browsers_files_goes(self, camera_tree: Path, told: Command) -> None:
        for name in ("Thumbs.db", ".DS_Store"):
            (camera_tree / "2026/03/01" / name).write_bytes(b"x")
        assert told("archive", camera_tree, "--codec", "h264").returncode == 0
        assert not (camera_tree / "2026").exists()
        log = (camera_tree / "archiver.log").read_text()
        assert "Thumbs.db: removed with its folder, which had nothing else" in log


class TestLostState:
    """The archive is gone, and the journal with it: the trash may have the last copy of a clip."""

    @pytest.fixture
    def lost(self, camera_tree: Path, told: Command) -> Path:
        """A tree whose only clip lies in the trash, with its picture."""
        (camera_tree / ".deleted/input").mkdir(parents=True)
        (camera_tree / "2026").rename(camera_tree / ".deleted/input/2026")
        assert told("config", "accept-volume", camera_tree).returncode == 0
        return camera_tree

    def test_a_clip_goes_back_to_where_its_path_in_the_trash_points(self, lost: Path, told: Command) -> None:
        source = lost / f"2026/03/01/{NAME}.mp4"
        trashed = lost / f".deleted/input/2026/03/01/{NAME}.mp4"
        content, status = trashed.read_bytes(), trashed.stat()
        for path in (trashed, source, source.parent, lost / ".deleted"):
            plan = json.loads(told("restore", "-C", lost, path, "--list", "--json").stdout)
            steps = [(step["reason"], step["target"]) for step in plan["steps"]]
            assert steps == [("not-journalled", str(source))], path
        refused = told("restore", "-C", lost, source.parent)
        assert (refused.returncode, source.exists()) == (ExitCode.USAGE, False), "it asks first"
        listed = told("restore", "-C", lost, source.parent, "--list").stdout
        assert f"input/2026/03/01/{NAME}.mp4 in the trash: the journal does not know it" in listed
        done = told("restore", "-C", lost, source.parent, "-y")
        assert (done.returncode, "restored: 1 clip" in done.stdout) == (0, True)
        assert (source.read_bytes(), source.stat().st_mtime_ns) == (content, status.st_mtime_ns)
        assert source.with_suffix(".jpg").read_bytes() == b"jpg"
        assert not trashed.exists() and not trashed.with_suffix(".jpg").exists()
        plan = json.loads(told("archive", lost, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in plan["steps"]] == ["restored"]
        assert "restored from the trash" in told("why", "-C", lost, source).stdout

    def test_everything_can_be_listed_without_a_journal(self, lost: Path, told: Command) -> None:
        assert NAME in told("restore", "-C", lost, "--list").stdout
        assert NAME in told("restore", "-C", lost, "--list", "--camera", "front").stdout
        for nothing in (("--camera", "back"), ("--since", "2026-03-02"), ("--run", "x")):
            assert told("restore", "-C", lost, "--list", *nothing).stdout == ""

    def test_a_numbered_name_and_a_taken_one(self, lost: Path, told: Command) -> None:
        """`x~2.mp4` was `x.mp4` when another file had that name in the trash."""
        folder = lost / ".deleted/input/2026/03/01"
        (folder / f"{NAME}~2.mp4").write_bytes(b"the second of its name")
        assert told("restore", "-C", lost, folder / f"{NAME}~2.mp4", "-y").returncode == 0
        assert (lost / f"2026/03/01/{NAME}~2.mp4").exists(), "the first of the name is in the trash, too"
        (folder / f"{NAME}.mp4").rename(folder / f"{NAME}~2.mp4")
        assert told("restore", "-C", lost, folder / f"{NAME}~2.mp4", "-y").returncode == 0
        assert frames(lost / f"2026/03/01/{NAME}.mp4") == 20
        (folder / f"{NAME}.mp4").write_bytes(b"another one")
        done = json.loads(told("restore", "-C", lost, folder / f"{NAME}.mp4", "-y", "--json").stdout)
        assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [("skipped", "taken")]
        assert frames(lost / f"2026/03/01/{NAME}.mp4") == 20

    def test_what_the_journal_knows_is_not_taken_twice(self, camera_tree: Path, told: Command) -> None:
        """The journal's own line decides, also for a clip whose picture went to the archive."""
        told("archive", camera_tree, "--codec", "h264")
        trash = camera_tree / ".deleted"
        foreign = trash / "input/2026/03/01/REO_front_20260301091500.mp4"
        foreign.write_bytes(b"put here by hand")
        steps = json.loads(told("restore", "-C", camera_tree, trash, "--list", "--json").stdout)["steps"]
        assert sorted((Path(step["path"]).name, step["reason"]) for step in steps) == [
            (f"{NAME}.mp4", "restore-asked"),
            (foreign.name, "not-journalled"),
        ]
        assert told("restore", "-C", camera_tree, trash, "-y").returncode == 0
        assert (camera_tree / f"2026/03/01/{NAME}.jpg").read_bytes() == b"jpg"
        assert (camera_tree / f"2026/03/01/{foreign.name}").read_bytes() == b"put here by hand"

    def test_an_archive_in_the_trash(self, lost: Path, told: Command) -> None:
        trashed = lost / f".deleted/output/2026/03/01/{NAME}.mp4"
        (lost / ".deleted/input").rename(lost / ".deleted/output")
        assert told("restore", "-C", lost, trashed, "-y").returncode == 0
        assert frames(lost / f"archived/2026/03/01/{NAME}.mp4") == 20


class TestCleanup:
    """`cleanup` as an operator and cron run it."""

    def test_the_dry_run_tells_all_and_changes_nothing(self, yard: Yard, told: Command) -> None:
        old = yard.standing(40)
        yard.given_away(50, trashed=30)
        yard.standing(1)
        before = whole(yard.trees.source)
        words = ("cleanup", yard.trees.source, "--age", dates.age(30), "--dry-run")
        done = told(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"trash +source +front +age +1 +60 s +10\.0 kB +\d{4}-", done.stdout), done.stdout
        assert re.search(r"delete +trash +front +trash-age +1", done.stdout)
        assert "are actually freed" in done.stdout
        listed = told(*words, "-v").stdout
        assert old.name in listed
        assert "too-recent" in listed
        assert whole(yard.trees.source) == before

    def test_without_a_terminal_it_wants_a_word_and_then_says_what_it_did(
        self, yard: Yard, told: Command
    ) -> None:
        old = yard.standing(40)
        yard.standing(1)
        before = whole(yard.trees.source)
        words = ("cleanup", yard.trees.source, "--age", dates.age(30))
        refused = told(*words)
        assert (refused.returncode, refused.stdout) == (ExitCode.USAGE, "")
        assert "add -y" in refused.stderr
        assert whole(yard.trees.source) == before
        done = told(*words, "-y")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{old.relative}: moved to the trash" in done.stdout
        assert not old.path.exists()
        again = told(*words, "-y")
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    def test_json_holds_steps_outcomes_and_the_forecast(self, yard: Yard, told: Command) -> None:
        old = yard.standing(40)
        yard.standing(1)
        words = ("cleanup", yard.trees.source, "--age", dates.age(30), "--json")
        planned = json.loads(told(*words, "--dry-run").stdout)
        assert planned["dry_run"] is True
        going = [step for step in planned["steps"] if step["action"] != "keep"]
        assert [(step["action"], step["tree"], step["path"]) for step in going] == [
            ("trash", "source", str(old.path))
        ]
        done = json.loads(told(*words, "-y").stdout)
        assert (done["command"], done["status"], done["exit_code"]) == ("cleanup", "done", 0)
        assert [each["result"] for each in done["outcomes"]] == ["done"]
        failed = told("cleanup", yard.trees.source / "nowhere", "-y", "--json")
        assert (failed.returncode, json.loads(failed.stdout)["errors"][0]["code"]) == (
            ExitCode.STORAGE,
            "storage",
        )

    @pytest.mark.parametrize(
        ("table", "sentence"),
        [
            ("[camera.front]\nages = 14", "[camera.front] ages is not a key; did you mean age?"),
            ("[camera.front]\nage = 'soon'", "[camera.front] age"),
            ("[camera.front]\nmax_size = 0", "0 would keep nothing"),
            ("[camera]\nfront = 14", "[camera] front is not a table"),
            ("[cleanup]\ntrash_ages = 3", "trash_ages"),
        ],
    )
    def test_a_policy_with_a_typo_stops_before_anything_goes(
        self, yard: Yard, told: Command, tmp_path: Path, table: str, sentence: str
    ) -> None:
        yard.standing(40)
        yard.standing(1)
        config = tmp_path / "config.toml"
        config.write_text(table + "\n")
        before = whole(yard.trees.source)
        for arguments in (("cleanup", yard.trees.source, "-y"), ("config", "check")):
            done = told(*arguments, "--config", config)
            assert done.returncode == ExitCode.CONFIG, done.stdout
            assert sentence in done.stderr
        assert whole(yard.trees.source) == before

    def test_each_camera_has_its_own_limits_and_the_stricter_wins(
        self, yard: Yard, told: Command, tmp_path: Path
    ) -> None:
        front, back = yard.standing(20, "front"), yard.standing(20, "back")
        for name in ("front", "back"):
            yard.standing(1, name)
        config = tmp_path / "config.toml"
        config.write_text(f"[camera.front]\nage = {dates.age(14)}\n[camera.gone]\nage = 5\n")
        words = ("cleanup", yard.trees.source, "--config", config)
        done = told(*words, "--dry-run")
        assert "no clip of a camera gone was found" in done.stdout
        assert told(*words, "--age", dates.age(30), "-y").returncode == 0
        assert not front.path.exists() and back.path.exists()
        strict = told(*words, "--age", dates.age(15), "-y")
        assert strict.returncode == 0 and not back.path.exists()

    def test_a_large_plan_names_the_option_that_allows_it_and_the_environment_does_not(
        self, yard: Yard, told: Command
    ) -> None:
        for days in (1, 40, 41, 42):
            yard.record(days)
        options = ("cleanup", yard.trees.source, "-y", "--unarchived")
        for environment in ({}, {"CAMARCHIVER_CLEANUP_ALLOW_LARGE": "1", "CAMARCHIVER_ALLOW_LARGE": "1"}):
            refused = told(*options, **environment)
            assert refused.returncode == ExitCode.USAGE
            assert "--allow-large" in refused.stdout + refused.stderr
        assert len(clips_of(yard.trees.source)) == 4
        assert told(*options, "--allow-large").returncode == 0
        assert len(clips_of(yard.trees.source)) == 1

    def test_no_name_writes_control_characters_to_the_terminal(self, yard: Yard, told: Command) -> None:
        for days in (1, 40, 41, 42):
            yard.record(days, "fr\x1b[2Kont")
        refused = told("cleanup", yard.trees.source, "-y", "--unarchived")
        assert "of fr\\x1b[2Kont for good" in refused.stdout + refused.stderr
        for options in ((), ("--dry-run",), ("--dry-run", "-v")):
            shown = told("cleanup", yard.trees.source, "-y", "--unarchived", *options)
            assert "\x1b" not in shown.stdout + shown.stderr

    @pytest.mark.parametrize("option", ["--free", "--max-size", "--min-free"])
    def test_a_size_without_a_meaning_is_refused(self, yard: Yard, told: Command, option: str) -> None:
        for value in ("0", "-1", "many"):
            assert told("cleanup", yard.trees.source, "-y", option, value).returncode == ExitCode.USAGE

    def test_a_mount_that_is_gone_is_told_with_its_remedy(self, yard: Yard, told: Command) -> None:
        clip = yard.standing(40)
        shutil.rmtree(yard.trees.state)
        done = told("cleanup", yard.trees.source, "-y")
        assert done.returncode == ExitCode.STORAGE
        assert "is its disk mounted?" in done.stderr and "accept-volume" in done.stderr
        assert clip.path.exists()

    def test_a_signal_stops_it_with_a_report(self, yard: Yard) -> None:
        for days in range(30, 330):
            yard.standing(days + 0.5)
        yard.standing(1)
        command = [COMMAND, "cleanup", yard.trees.source, "-y"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "moved to the trash" in first
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, errors
        assert errors == ""
        assert re.search(r"stopped by signal 15; \d+ files were not begun", out)
        told_of = sum(": moved to the trash: " in line for line in (first, *out.splitlines()))
        assert len(yard.events("trashed")) == told_of < 300
        assert len(list(yard.trees.trash.rglob("*.mp4"))) == told_of

    def test_a_terminal_sees_the_plan_the_question_and_a_bar(self, yard: Yard) -> None:
        for days in range(30, 60):
            yard.standing(days + 0.5)
        yard.standing(1)
        said = on_a_terminal(b"n\n", "cleanup", yard.trees.source)
        assert b"Go on? [y/N]" in said and b"nothing was changed" in said
        assert len(clips_of(yard.trees.source)) == 31 * 2
        said = on_a_terminal(b"y\n", "cleanup", yard.trees.source)
        assert b"moved to the trash: 30 files" in said
        assert b"%|" in said, "the bar"
        assert len(yard.events("trashed")) == 30

    def test_a_full_disk_is_cleaned_although_the_cleanup_has_to_write(
        self, archived_camera: Path, told: Command, small_disk: Path
    ) -> None:
        """The thumbnails go: they can be made again."""
        tree = small_disk / "camera"
        shutil.copytree(archived_camera, tree)
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        (trashed,) = (tree / ".deleted").rglob("*.mp4")
        words = ("cleanup", tree, "--free", "1kB", "-y")
        full = told("archive", tree, "--no-skip", "--codec", "h264")
        assert (full.returncode, "No space left" in full.stdout + full.stderr) == (ExitCode.STORAGE, True)
        done = told(*words)
        assert (done.returncode, trashed.exists()) == (0, False), done.stderr
        assert "cleanup   done" in told("runs", tree).stdout

    def test_a_full_disk_without_anything_that_can_give_way_is_named(
        self, archived_camera: Path, told: Command, small_disk: Path
    ) -> None:
        tree = small_disk / "camera"
        shutil.copytree(archived_camera, tree)
        shutil.rmtree(tree / "archived" / STATE_FOLDER / "cache")
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        before = media(tree)
        done = told("cleanup", tree, "--free", "1kB", "-y")
        assert (done.returncode, media(tree)) == (ExitCode.STORAGE, before)
        assert f"camarchiver: {tree}/archived/{STATE_FOLDER}/" in done.stderr
        assert "make room there" in done.stderr

    # --- what the earlier tool did ---------------------------------------------------------------------

    def test_a_cap_frees_what_it_promises_although_the_trash_lies_on_the_same_disk(
        self, yard: Yard, told: Command
    ) -> None:
        for days in range(1, 21):
            yard.standing(days)
        cap = 200_000
        words = ("cleanup", yard.trees.source, "-y", "--json", "--age", dates.age(30), "--max-size", cap)
        done = json.loads(told(*words).stdout)
        assert done["exit_code"] == 0
        everything = sum(path.stat().st_size for path in yard.trees.source.rglob("*") if path.is_file())
        assert everything <= cap
        assert not yard.trees.trash.exists() or not media(yard.trees.trash)

    def test_what_is_asked_for_comes_free_and_what_more_there_is_stands_below(
        self, yard: Yard, told: Command
    ) -> None:
        for days in (1, 10, 11, 12, 13):
            yard.standing(days)
        lone = yard.record(14)
        everything = clips_of(yard.trees.source)
        words = ("cleanup", yard.trees.source, "--age", dates.age(30))
        short = told(*words, "--free", "1MB", "--dry-run").stdout
        assert re.search(r"--free 1.0 MB at \S+ can't be reached: short by \d+ kB", short)
        further = short.partition("ways to free more space, safest first:\n")[2].splitlines()
        root = yard.trees.source
        assert [line.partition(": ")[2] for line in further] == [
            f"camarchiver archive {root} --age 7",
            f"camarchiver cleanup {root} --free 1MB --clean-output",
            f"camarchiver cleanup {root} --free 1MB --unarchived",
        ]
        pasted = shlex.split(further[2].partition(": camarchiver ")[2])
        planned = json.loads(told(*pasted, "--dry-run", "--json").stdout)["steps"]
        assert {(each["reason"], each["bytes"]) for each in planned if each["path"] == str(lone.path)} == {
            ("free", lone.fingerprint.size)
        }
        assert ["loses footage" in line for line in further] == [False, True, True]
        found = json.loads(told(*words, "--free", "1MB", "--dry-run", "--json").stdout)
        assert [each["loses_footage"] for each in found["further"]] == [False, True, True]
        assert found["further"][2]["bytes"] == lone.fingerprint.size
        assert clips_of(yard.trees.source) == everything
        done = json.loads(told(*words, "--free", "15kB", "-y", "--json").stdout)
        assert {each["reason"] for each in done["outcomes"]} == {"free"}
        assert sum(each["freed"] for each in done["outcomes"]) >= 15_000
        assert done["exit_code"] == 0
        assert lone.path.exists() and len(clips_of(yard.trees.archive)) == 5

    def test_the_trash_is_never_trashed_into_itself(self, yard: Yard, told: Command) -> None:
        for days in (40, 41, 42):
            yard.standing(days)
        yard.standing(1)
        for _ in range(3):
            told("archive", yard.trees.source, "--age", dates.age(60))
            words = ("cleanup", yard.trees.source, "-y", "--age", dates.age(30))
            assert told(*words, "--trash-age", dates.age(30)).returncode == 0
        inside = [path.relative_to(yard.trees.trash).parts for path in yard.trees.trash.rglob("*.mp4")]
        assert len(inside) == 3
        assert all(parts[0] == "input" and "input" not in parts[1:] for parts in inside)

    def test_two_cameras_of_one_second_keep_their_own_archives_to_the_end(
        self, tree: Path, put: Put, told: Command
    ) -> None:
        moment, newest = dates.ago(40), dates.recently(hours=2)
        names = [dates.clip_of(camera, moment) for camera in ("a", "b")]
        contents = {name: put(f"{name}.mp4", mtime=moment.timestamp()).read_bytes() for name in names}
        put(f"{names[1]}.mp4", SOUND, mtime=moment.timestamp())
        for camera in ("a", "b"):
            put(f"{dates.clip_of(camera, newest)}.mp4", mtime=newest.timestamp())
        assert told("archive", tree, "--codec", "h264").returncode == 0
        assert len(contents) == 2
        for name in names:
            assert (tree / "archived" / f"{name}.mp4").exists()
        (tree / "archived" / f"{names[0]}.mp4").unlink()
        done = told("cleanup", tree, "-y", "--trash-age", "0")
        assert done.returncode == ExitCode.PARTIAL
        assert not (tree / f".deleted/input/{names[1]}.mp4").exists()
        assert (tree / f".deleted/input/{names[0]}.mp4").read_bytes() == contents[names[0]]

    def test_a_truncated_archive_is_not_taken_for_done(self, tree: Path, put: Put, told: Command) -> None:
        moment, newest = dates.ago(40), dates.recently(hours=2)
        name = f"{dates.clip_of('front', moment)}.mp4"
        source = put(name, mtime=moment.timestamp())
        put(f"{dates.clip_of('front', newest)}.mp4", mtime=newest.timestamp())
        assert told("archive", tree, "--codec", "h264", "--keep-source").returncode == 0
        os.truncate(tree / "archived" / name, 2000)
        assert told("cleanup", tree, "-y").returncode == 0
        assert source.exists()
        assert told("archive", tree, "--codec", "h264").returncode == 0
        assert frames(tree / "archived" / name) == frames(tree / ".deleted/input" / name) == 20

    # --- a whole life ----------------------------------------------------------------------------------

    def test_ninety_days_of_three_cameras(self, tree: Path, put: Put, told: Command) -> None:
        """Archived, cleaned up by age, by size and for free space, restored, held; `why` always answers."""
        cameras, now, age = ("front", "back", "yard"), dates.ago(), ("--age", dates.age(30))
        for camera in cameras:
            for day in range(1, 91, 6):
                moment = now - timedelta(days=day)
                put(f"{dates.clip_of(camera, moment)}.mp4", mtime=moment.timestamp())
        sources = clips_of(tree)
        oldest = min(name for name in sources if "front" in name)
        assert len(sources) == 45

        def why(words: str) -> None:
            story = told("why", "-C", tree, tree / oldest)
            assert story.returncode == 0
            assert words in story.stdout, story.stdout

        def standing() -> int:
            return len([name for name in clips_of(tree) if not name.startswith("archived")])

        why("the next archive run would archive it")
        words = ("archive", tree, *age, "--codec", "h264", "--keep-source", "--json")
        archived = json.loads(told(*words).stdout)
        assert archived["exit_code"] == 0
        why("archived as")
        first = json.loads(told("cleanup", tree, *age, "-y", "--json").stdout)
        assert first["exit_code"] == 0
        by_age = [each for each in first["outcomes"] if each["reason"] == "age"]
        assert len(by_age) == 30 and standing() == 15
        why("source moved to the trash")
        assert told("restore", "-C", tree, "--run", first["run"], "-y").returncode == 0
        assert standing() == 45
        why("restored from the trash")
        assert json.loads(told("cleanup", tree, *age, "-y", "--json").stdout)["outcomes"] == []
        for name in ("restored.json", "restored.json.bak"):
            # As if the week of grace were over.
            (tree / "archived" / STATE_FOLDER / name).unlink(missing_ok=True)

        day = f"{now - timedelta(days=85):%Y-%m-%d}"
        held = told(
            *("hold", "add", "-C", tree, "--from", day, "--to", day, "--camera", "front"),
            *("--timezone", "UTC", "--reason", "case 7"),
        )
        assert held.returncode == 0
        used = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        capped = told("cleanup", tree, "-y", "--json", "--max-size", used // 2, "--age", 1000)
        assert json.loads(capped.stdout)["exit_code"] == 0, capped.stdout
        after = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
        assert after <= used // 2
        assert (tree / oldest).exists(), "the held clip"
        place, name = tree.parent / "evidence", held.stdout.split()[0]
        assert told("hold", "export", "-C", tree, name, place, "--playable").returncode == 0
        assert {(place / kind / oldest).exists() for kind in ("source", "playable")} == {True}
        assert subprocess.run(["b2sum", "--quiet", "-c", "B2SUMS"], cwd=place).returncode == 0
        why(f"by hold {name}: case 7")
        assert len(clips_of(tree / "archived")) == 30, "each clip once: nothing was lost"
        free = shutil.disk_usage(tree).free
        goal = told(
            "cleanup", tree, "-y", "--json", "--min-free", free + 2**40, "--age", 1000, "--clean-output"
        )
        document = json.loads(goal.stdout)
        assert (document["exit_code"], document["outcomes"]) == (ExitCode.USAGE, []), (
            "it would take most of each camera"
        )
        assert told("hold", "remove", "-C", tree, name, "-y").returncode == 0
        assert told("cleanup", tree, "-y").returncode == 0
        why("source moved to the trash")
        old = ("cleanup", tree, "-y", "--trash-age", 0, "--clean-output", "--archive-age", dates.age(84))
        assert told(*old).returncode == 0
        why("archive")
        assert told("cleanup", tree, "-y", "--trash-age", 0).returncode == 0
        why("removed for good, by the rule trash-age")
        assert not list(tree.rglob(Path(oldest).name))
