"""policy: the installed command, as a user starts it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from camarchiver.errors import ExitCode
from tests import dates
from tests.commands import Command, Put, journal, put_recent, whole

FELL_BACK = "2000/01/01/REO_front_20000101120000.mp4"
"""The name that a camera gives after a power failure, when its clock begins anew."""


def document(told: Command, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(told(*words, "--json").stdout)
    return found


def decided(told: Command, command: str, tree: Path, *options: object) -> dict[str, str]:
    """By path: the reason of each file in the plan."""
    steps = document(told, command, tree, "--dry-run", *options)["steps"]
    return {str(Path(step["path"]).relative_to(tree)): step["reason"] for step in steps}


@pytest.fixture
def real() -> datetime:
    """When the clip was really recorded and uploaded."""
    return dates.ago(40).replace(hour=13, minute=42, second=10, microsecond=0)


@pytest.fixture
def fell_back(put: Put, real: datetime) -> Path:
    """A clip of a camera whose clock fell back; its file has the time of the upload."""
    put_recent(put)
    return put(FELL_BACK, mtime=real.timestamp())


class TestAClockThatFellBack:
    def test_the_original_stays_until_its_owner_says_which_clock_is_right(
        self, fell_back: Path, tree: Path, told: Command, real: datetime, tmp_path: Path
    ) -> None:
        done = told("archive", tree, "--codec", "h264", "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"]) == (ExitCode.PARTIAL, "partial")
        assert [error["code"] for error in found["errors"]] == ["clock-doubtful"]
        assert "[camera.NAME] clock" in found["errors"][0]["hint"]
        (outcome,) = found["outcomes"]
        assert (outcome["result"], outcome["freed"]) == ("done", 0)
        assert "clock is doubtful" in outcome["detail"]
        archived = tree / "archived" / FELL_BACK
        assert fell_back.exists()
        assert archived.stat().st_mtime == real.timestamp(), "both times are kept: one in the name"
        assert [line["reason"] for line in journal(tree) if line["event"] == "kept"] == ["clock-doubtful"]

        # No rule takes any copy of it, not even the hard limit.
        words = ("--age", "1", "--clean-output", "--max-size", "1kB", "--max-age-hard", "20", "--allow-large")
        found = document(told, "cleanup", tree, "--dry-run", *words)
        kept = {(step["path"], step["reason"]) for step in found["steps"] if step["action"] == "keep"}
        assert kept >= {(str(fell_back), "clock-doubtful"), (str(archived), "clock-doubtful")}
        assert "clock-doubtful" in [error["code"] for error in found["errors"]]
        (front,) = (each for each in document(told, "status", tree)["cameras"] if each["camera"] == "front")
        assert front["clock_doubtful"] == 1
        story = told("why", "-C", tree, "--camera", "front", "--at", f"{real:%Y-%m-%d %H:%M:%S}")
        assert story.returncode == 0
        assert f"its file was written on {real:%Y-%m-%d %H:%M:%S}: the clock is doubtful" in story.stdout

        (tmp_path / "c.toml").write_text('[camera.front]\nclock = "mtime"\n')
        done = told("archive", tree, "--config", tmp_path / "c.toml")
        assert done.returncode == 0, done.stdout
        assert not fell_back.exists()
        assert archived.exists()
        assert (tree / ".deleted/input" / FELL_BACK).exists()
        gone = journal(tree)[-1]
        assert (gone["event"], gone["start"][:10]) == ("trashed", "2000-01-01")
        assert datetime.fromisoformat(gone["recorded"]) == real
        for config, doubtful in ((), 1), (("--config", tmp_path / "c.toml"), 0):
            (front,) = (
                each
                for each in document(told, "status", tree, *config)["cameras"]
                if each["camera"] == "front"
            )
            assert front["clock_doubtful"] == doubtful, "the archive's times say 2000"

    @pytest.mark.parametrize("covered", ["file", "name"])
    def test_a_hold_covers_it_by_either_clock(
        self, fell_back: Path, tree: Path, told: Command, real: datetime, covered: str
    ) -> None:
        day = f"{real:%Y-%m-%d}" if covered == "file" else "2000-01-01"
        added = told("hold", "add", "-C", tree, "--from", day, "--to", day, "--reason", "theft")
        assert "it covers 1 clip that is here now" in added.stderr
        assert decided(told, "archive", tree)[FELL_BACK] == "held"
        words = ("--age", "1", "--unarchived", "--max-age-hard", "20")
        assert decided(told, "cleanup", tree, *words)[FELL_BACK] == "held"

    def test_a_hold_of_the_real_day_keeps_the_archive_and_the_trash(
        self, fell_back: Path, tree: Path, told: Command, real: datetime, tmp_path: Path
    ) -> None:
        (tmp_path / "c.toml").write_text('[camera.front]\nclock = "mtime"\n')
        config = ("--config", tmp_path / "c.toml")
        assert told("archive", tree, "--codec", "h264", *config).returncode == 0
        assert not fell_back.exists()
        words = ("--from", f"{real:%Y-%m-%d}", "--to", f"{real:%Y-%m-%d}", "--reason", "theft")
        added = told("hold", "add", "-C", tree, *words)
        assert "it covers 1 clip that is here now" in added.stderr
        found = decided(told, "cleanup", tree, "--clean-output", "--trash-age", "0", *config)
        assert (found[f"archived/{FELL_BACK}"], found[f".deleted/input/{FELL_BACK}"]) == ("held", "held")
        exported = document(
            told, "hold", "export", "-C", tree, added.stdout.split()[0], tmp_path / "evidence"
        )
        clips = [Path(file["path"]) for file in exported["files"] if file["path"].endswith(".mp4")]
        assert sorted(clip.parts[-5] for clip in clips) == ["archived", "input"]

    def test_a_correction_of_the_names(
        self, fell_back: Path, put: Put, tree: Path, told: Command, real: datetime, tmp_path: Path
    ) -> None:
        """It is applied where both clocks then agree: another reboot is off by something else."""
        other = put(FELL_BACK.replace("120000", "120500"), mtime=(real + timedelta(days=5)).timestamp())
        off = real - datetime(2000, 1, 1, 12, tzinfo=real.tzinfo)
        word = f"+{off.days}d{off.seconds}s"
        (tmp_path / "c.toml").write_text(f'[camera.front]\nclock = "{word}"\n')
        found = document(told, "archive", tree, "--dry-run", "--config", tmp_path / "c.toml")
        assert [error["message"].count("1 of front") for error in found["errors"]] == [1]
        assert found["errors"][0]["message"].endswith(str(other))


class TestACorrectedRange:
    """`camarchiver clock`: the owner's word about some clips of a camera."""

    def add(self, told: Command, tree: Path, *options: object, camera: str = "front") -> Any:
        day = ("--from", "2000-01-01", "--to", "2000-01-01")
        return told("clock", "add", "-C", tree, "--camera", camera, *day, "--clock", "mtime", *options)

    def test_it_ends_the_doubt_and_is_journalled(
        self, fell_back: Path, tree: Path, told: Command, real: datetime
    ) -> None:
        assert told("archive", tree, "--codec", "h264").returncode == ExitCode.PARTIAL
        asked = self.add(told, tree)
        assert (asked.returncode, "needs consent" in asked.stderr) == (ExitCode.USAGE, True)
        assert told("archive", tree, "--dry-run").returncode == ExitCode.PARTIAL, "nothing was changed"
        added = self.add(told, tree, "--reason", "power failure", "-y")
        assert added.returncode == 0
        assert f"{FELL_BACK}: recorded {real - timedelta(seconds=2):%Y-%m-%d %H:%M}" in added.stderr
        line = journal(tree)[-1]
        assert (line["event"], line["source"]) == ("clock-corrected", FELL_BACK)
        assert abs(datetime.fromisoformat(line["recorded"]) - real) < timedelta(minutes=1)
        (listed,) = document(told, "clock", "list", "-C", tree)["corrections"]
        assert (listed["camera"], listed["clock"], listed["reason"]) == ("front", "mtime", "power failure")
        story = told("why", "-C", tree, FELL_BACK).stdout
        assert "its camera's clock was corrected: recorded" in story and "power failure" in story
        done = told("archive", tree)
        assert (done.returncode, fell_back.exists()) == (0, False)
        words = ("--from", f"{real:%Y-%m-%d}", "--to", f"{real:%Y-%m-%d}", "--reason", "theft")
        assert "it covers 1 clip" in told("hold", "add", "-C", tree, *words).stderr

    def test_it_can_be_taken_back(self, fell_back: Path, tree: Path, told: Command) -> None:
        name = self.add(told, tree, "-y").stdout.split()[0]
        assert decided(told, "archive", tree)[FELL_BACK] == "not-archived"
        assert told("archive", tree, "--dry-run").returncode == 0
        assert told("clock", "remove", "-C", tree, name).returncode == ExitCode.USAGE, "it asks"
        assert told("clock", "remove", "-C", tree, name, "-y").returncode == 0
        assert journal(tree)[-1]["event"] == "clock-uncorrected"
        assert told("archive", tree, "--dry-run").returncode == ExitCode.PARTIAL
        gone = told("clock", "remove", "-C", tree, name, "-y")
        assert (gone.returncode, f"there is no correction {name}" in gone.stderr) == (ExitCode.USAGE, True)

    def test_one_that_covers_nothing_is_refused(self, fell_back: Path, tree: Path, told: Command) -> None:
        for refused in (
            self.add(told, tree, "-y", camera="fornt"),
            self.add(told, tree, "-y", "--clock", "late"),
        ):
            assert refused.returncode == ExitCode.USAGE
        assert document(told, "clock", "list", "-C", tree)["corrections"] == []


class TestOtherClocks:
    def test_a_copied_tree_without_its_times_keeps_its_originals_until_the_names_are_trusted(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        put_recent(put)
        clip = put(f"{dates.clip_of('front', dates.ago(40))}.mp4")
        os.utime(clip, (dates.recently(hours=1).timestamp(),) * 2)
        assert told("archive", tree, "--codec", "h264").returncode == ExitCode.PARTIAL
        assert clip.exists()
        assert told("archive", tree, "--trust-names").returncode == 0
        assert not clip.exists()

    def test_a_clock_in_the_future_is_told_of_and_can_be_corrected(
        self, put: Put, tree: Path, told: Command, tmp_path: Path
    ) -> None:
        put_recent(put)
        ahead, at = dates.recently(hours=-24 * 300), dates.ago(40)
        clip = put(f"{dates.clip_of('front', ahead)}.mp4", mtime=at.timestamp())
        done = told("archive", tree, "--dry-run")
        assert done.returncode == ExitCode.PARTIAL
        assert "clock is doubtful" in done.stdout
        (tmp_path / "c.toml").write_text('[camera.front]\nclock = "mtime"\n')
        done = told("archive", tree, "--codec", "h264", "--config", tmp_path / "c.toml")
        assert done.returncode == 0
        assert not clip.exists()

    def test_a_word_that_is_no_clock_is_refused(self, tree: Path, told: Command, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text('[camera.front]\nclock = "later"\n')
        done = told("config", "check", "--config", tmp_path / "c.toml")
        assert done.returncode == ExitCode.CONFIG
        assert "such as +26y3d" in done.stderr


class TestAMisspeltCamera:
    def test_every_run_says_so_and_config_check_names_the_nearest(
        self, put: Put, tree: Path, told: Command, tmp_path: Path
    ) -> None:
        put_recent(put)
        for at in (dates.ago(40), dates.ago(50)):
            clip = put(f"{dates.clip_of('sauna', at)}.mp4", b"x", mtime=at.timestamp())
        config = tmp_path / "c.toml"
        config.write_text("[camera.suana]\nmax_age_hard = 3\n")
        words = ("-y", "--unarchived", "--allow-large", "--config", config)
        note = "note: no clip of a camera suana was found; cameras here: sauna, today; did you mean sauna?"
        for removed in (1, 0):
            done = told("cleanup", tree, *words)
            assert (done.returncode, done.stdout.count("moved to the trash: 1 file")) == (0, removed)
            assert note in done.stdout.splitlines()
        assert not clip.exists()
        assert (tree / "archiver.log").read_text().count(note) == 2
        assert note.removeprefix("note: ") in document(told, "cleanup", tree, *words)["notes"]
        for word in ("--dry-run", "-y"):
            done = told("archive", tree, word, "--keep-source", "--config", config)
            assert "no clip of a camera suana was found; cameras here: sauna, today" in done.stdout
            assert "did you mean sauna?" in done.stdout
        assert told("config", "check", "--config", config).returncode == 0
        checked = told("config", "check", tree, "--config", config)
        assert checked.returncode == ExitCode.CONFIG
        assert "[camera.suana]" in checked.stderr
        assert "did you mean sauna?" in checked.stderr
        assert "[camera.suana]: no clip of a camera suana" in told("doctor", tree, "--config", config).stdout
        config.write_text("[camera.sauna]\nmax_age_hard = 3\n[camera.today]\nage = 9\n")
        assert told("config", "check", tree, "--config", config).returncode == 0


class TestTheLegalMaximum:
    """A sentence about all files is said only if each was looked at and none is in doubt."""

    SENTENCE = "no tree holds anything recorded before"

    def limited(self, told: Command, tree: Path, *options: object) -> tuple[int, str, list[str]]:
        """Exit code, text and listed files of a run with a limit of 30 days."""
        words = ("cleanup", tree, "-y", "--unarchived", "--max-age-hard", dates.age(30), "--allow-large")
        done = told(*words, *options)
        found = document(told, *words, "--dry-run", *options)
        listed = [error["message"] for error in found["errors"] if error["code"] == "past-limit"]
        assert (self.SENTENCE in done.stdout) is any(self.SENTENCE in note for note in found["notes"])
        return done.returncode, done.stdout, listed

    def test_what_cannot_be_judged_is_listed_and_the_sentence_is_not_said(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        put_recent(put)
        old, ahead, new = dates.ago(40), dates.recently(hours=-24 * 300), dates.recently(hours=1)
        put(f"{dates.clip_of('front', old)}.mp4", b"past the limit", mtime=old.timestamp())
        left = {
            "a clip of a clock that is ahead": (f"{dates.clip_of('front', ahead)}.mp4", old),
            "a suffix that is no clip's": ("yard/recording.dav", old),
            "the same, copied": (f"{dates.clip_of('yard', old)}.dav", new),
            "a video without a time": ("front/video.mp4", new),
            "a hidden file": ("front/.old.mp4", old),
            "a recycle bin": (f"#recycle/{dates.clip_of('front', old)}.mp4", old),
            "a copy that is no clip of ours": (f"archived/{dates.clip_of('front', old)}.mkv", old),
        }
        paths = [put(relative, b"stays", mtime=at.timestamp()) for relative, at in left.values()]
        put("front/notes.txt", b"young, and no video", mtime=new.timestamp())
        code, text, (listed,) = self.limited(told, tree)
        assert code == ExitCode.PARTIAL
        assert self.SENTENCE not in text
        assert listed.startswith(f"{len(left)} files that are or may be older than max_age_hard stay: ")
        for what, path in zip(left, paths, strict=True):
            assert str(path) in listed, what
            assert path.exists(), what
        assert "deleted: 1 file" in text
        for path in paths:
            path.unlink()
        code, text, listed_now = self.limited(told, tree)
        assert (code, listed_now) == (0, [])
        assert self.SENTENCE in text
        assert self.SENTENCE in (tree / "archiver.log").read_text()

    def test_a_camera_with_a_limit_of_its_own(
        self, put: Put, tree: Path, told: Command, tmp_path: Path
    ) -> None:
        put_recent(put)
        at = dates.ago(40)
        put("garage/recording.dav", b"of another camera", mtime=at.timestamp())
        put(
            f"{dates.clip_of('sauna', dates.recently(hours=3))}.mp4",
            b"x",
            mtime=dates.recently(hours=3).timestamp(),
        )
        (tmp_path / "c.toml").write_text("[camera.sauna]\nmax_age_hard = 3\n")
        words = ("cleanup", tree, "--dry-run", "--config", tmp_path / "c.toml")
        assert "no tree holds anything that sauna recorded before" in told(*words).stdout
        put("sauna/recording.dav", b"of this camera", mtime=at.timestamp())
        done = told(*words)
        assert done.returncode == ExitCode.PARTIAL
        assert "sauna/recording.dav" in done.stdout
        assert "no tree holds" not in done.stdout

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
    def test_a_folder_that_cannot_be_read(self, put: Put, tree: Path, told: Command) -> None:
        put_recent(put)
        folder = put("front/video.mp4", b"x").parent
        folder.chmod(0)
        code, text, _ = self.limited(told, tree)
        folder.chmod(0o755)
        assert code == ExitCode.PARTIAL
        assert self.SENTENCE not in text


class TestFoldersOfANas:
    NAMES = (
        "#recycle",
        "@Recycle",
        "#snapshot",
        "@Recently-Snapshot",
        "@eaDir",
        "$RECYCLE.BIN",
        ".Trash-1000",
        "lost+found",
        "System Volume Information",
        ".snapshots",
        ".zfs",
        "Lost Footage",
    )

    def test_no_walk_enters_them_and_status_counts_them(
        self, put: Put, tree: Path, told: Command, tmp_path: Path
    ) -> None:
        put_recent(put)
        at = dates.ago(40)
        name = f"{dates.clip_of('front', at)}.mp4"
        put(name, mtime=at.timestamp())
        for folder in self.NAMES:
            put(f"{folder}/{name}", b"deleted before", mtime=at.timestamp())
        put(
            f"front/@eaDir/{Path(name).name}/SYNOVIDEO_VIDEO_SCREENSHOT.jpg",
            b"thumbnail",
            mtime=at.timestamp(),
        )
        (tmp_path / "c.toml").write_text('[folders]\npass_over = ["lost foot*"]\n')
        config = ("--config", tmp_path / "c.toml")
        for command in ("archive", "cleanup"):
            found = decided(told, command, tree, *config)
            assert {path for path in found if path.endswith(Path(name).name)} == {name}
        found = document(told, "status", tree, *config)
        counted = {each["holds"]: each["folders"] for each in found["passed_over"]}
        assert counted == {
            "recycle bin": 4,
            "snapshots": 5,
            "thumbnails and indexes": 2,
            "of the file system": 1,
            "passed over as the config says": 1,
        }
        (front,) = (each for each in found["cameras"] if each["camera"] == "front")
        assert front["source"]["clips"] == 1
        shown = told("status", tree, *config).stdout
        assert "4 folders passed over, recycle bin: " in shown
        without = decided(told, "archive", tree)
        assert f"Lost Footage/{name}" in without

    def test_another_key_is_refused(self, tree: Path, told: Command, tmp_path: Path) -> None:
        for text, said in (
            ("pas_over = ['x']", "did you mean pass_over?"),
            ("pass_over = 'x'", "not a list"),
            ("pass_over = ['a/b']", "have no /"),
            ("pass_over = ['*']", "not a list of folders' names"),
        ):
            (tmp_path / "c.toml").write_text(f"[folders]\n{text}\n")
            done = told("config", "check", "--config", tmp_path / "c.toml")
            assert done.returncode == ExitCode.CONFIG, text
            assert said in done.stderr, text


class TestTreeInATree:
    def test_only_runs_over_itself_touch_it(self, put: Put, tree: Path, told: Command) -> None:
        """Its journal and its holds do not count in the tree around it."""
        put_recent(put)
        at = dates.ago(40)
        name = dates.clip_of("front", at)
        put(f"front/{name}.mp4", mtime=at.timestamp())
        inner = tree / "front"
        assert told("archive", inner, "--codec", "h264").returncode == 0
        other = dates.clip_of("front", at - timedelta(days=1))
        held = put(f"front/{other}.mp4", b"evidence", mtime=(at - timedelta(days=1)).timestamp())
        day = (at - timedelta(days=1)).date()
        hold = ("hold", "add", "-C", inner, "--from", day, "--to", day, "--reason", "theft")
        assert told(*hold).returncode == 0
        before = whole(inner)
        (story,) = document(told, "why", held, "-C", tree)["stories"]
        assert story["next_archive"]["reason"] == "other-tree"
        found = decided(told, "archive", tree)
        assert found.pop("front") == "other-tree"
        assert not [path for path in found if path.startswith("front/")]
        words = ("--unarchived", "--max-age-hard", "20", "--clean-output", "--allow-large", "-y")
        said = told("cleanup", tree, "--age", "1", *words)
        assert said.returncode == ExitCode.PARTIAL
        assert f"{held} (foreign, in a folder that is passed over: a camera tree" in said.stdout
        assert told("archive", tree).returncode == 0
        counted = document(told, "status", tree)["passed_over"]
        assert counted == [
            {"holds": "a camera tree or archive of its own", "folders": 1, "example": str(inner)}
        ]
        assert whole(inner) == before
        assert decided(told, "archive", inner)[held.relative_to(inner).as_posix()] == "held"
