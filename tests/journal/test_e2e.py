"""journal: the installed command on clips whose bytes are known, though not their times, names or folders."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.commands import (
    DAY,
    H264,
    NAME,
    ONE,
    SOUND,
    START,
    Command,
    Put,
    archive,
    clips_of,
    command,
    document,
    frames,
    journal,
)

OPTIONS = ("--codec", "h264")


def outcomes(tree: Path, *options: object) -> list[tuple[str, str]]:
    return [(each["result"], each["reason"]) for each in document(tree, *OPTIONS, *options)["outcomes"]]


class TestSameContent:
    """One archive stands for the same bytes, whatever happened to times, names and folders."""

    @pytest.fixture
    def archived(self, put: Put, tree: Path) -> bytes:
        """The bytes of a clip that was archived; its source is in the trash."""
        content = put(f"{ONE}.mp4").read_bytes()
        put(f"{ONE}.jpg", b"jpg")
        assert outcomes(tree) == [("done", "not-archived")]
        return content

    @pytest.mark.parametrize(
        "name",
        [f"{ONE}.mp4", f"copy/{ONE}.mp4", f"{ONE}.mov"],
    )
    def test_it_is_hashed_and_not_encoded(self, put: Put, tree: Path, archived: bytes, name: str) -> None:
        """The same name without its time, another folder, another suffix."""
        copy = put(name, archived, mtime=START + 86_000)
        (planned,) = document(tree, "--dry-run")["steps"]
        assert (planned["action"], planned["reason"]) == ("archive", "perhaps-archived")
        assert "1 of these is as large as a clip of the same time" in archive(tree, "--dry-run").stdout
        assert outcomes(tree) == [("done", "same-content")]
        assert clips_of(tree / "archived") == [f"{ONE}.mp4"]
        assert not copy.exists() and (tree / ".deleted/input" / name).exists()
        line = [each for each in journal(tree) if each["event"] == "adopted"][-1]
        assert (line["source"], line["archive"], line["reason"]) == (name, f"{ONE}.mp4", "same-content")
        told = command("why", tree / name, "-C", tree)
        assert f"the existing archive {ONE}.mp4 was adopted" in told
        assert f"the same bytes as {ONE}.mp4" in told
        assert document(tree)["status"] == "nothing"

    def test_bytes_of_the_same_number_that_differ(self, put: Put, tree: Path, archived: bytes) -> None:
        put(f"copy/{ONE}.mp4", archived[:-1] + bytes([archived[-1] ^ 1]), mtime=START)
        (planned,) = document(tree, "--dry-run")["steps"]
        assert planned["reason"] == "perhaps-archived"
        assert outcomes(tree) != [("done", "same-content")]
        assert not any(each.get("reason") == "same-content" for each in journal(tree))

    def test_never_of_two_cameras_unless_the_config_says_so(
        self, put: Put, tree: Path, archived: bytes
    ) -> None:
        put(f"{DAY}/REO_back_20260301081500.mp4", archived)
        (planned,) = document(tree, "--dry-run")["steps"]
        assert planned["reason"] == "not-archived"
        assert outcomes(tree) == [("done", "not-archived")]
        put(f"{DAY}/REO_side_20260301081500.mp4", archived)
        (planned,) = document(tree, "--dry-run", "--same-content", "any")["steps"]
        assert planned["reason"] == "perhaps-archived"
        assert outcomes(tree, "--same-content", "any") == [("done", "same-content")]
        assert len(clips_of(tree / "archived")) == 2

    def test_never_of_two_times(self, put: Put, tree: Path, archived: bytes) -> None:
        put(f"{DAY}/{NAME[:-6]}091500.mp4", archived)
        (planned,) = document(tree, "--dry-run", "--same-content", "any")["steps"]
        assert planned["reason"] == "not-archived"

    def test_not_by_an_archive_that_is_damaged_or_gone(
        self, put: Put, tree: Path, archived: bytes, told: Command
    ) -> None:
        (tree / f"archived/{ONE}.mp4").write_bytes(b"damaged")
        put(f"copy/{ONE}.mp4", archived)
        assert outcomes(tree) == [("done", "not-archived")]
        assert frames(tree / f"archived/copy/{ONE}.mp4") == 20

    def test_two_of_one_run_are_encoded_once(self, put: Put, tree: Path) -> None:
        for folder in ("a", "b", "c"):
            put(f"{folder}/{ONE}.mp4", mtime=START + len(folder))
        assert sorted(outcomes(tree, "--jobs", "3")) == [
            ("done", "not-archived"),
            ("done", "same-content"),
            ("done", "same-content"),
        ]
        assert len(clips_of(tree / "archived")) == 1

    def test_a_hold_on_any_of_its_clips_keeps_the_archive(
        self, put: Put, tree: Path, archived: bytes, told: Command
    ) -> None:
        put(f"{DAY}/REO_back_20260301081500.mp4", archived)
        assert outcomes(tree, "--same-content", "any") == [("done", "same-content")]
        for camera in ("front", "back"):  # the newest clip of a camera stays anyway
            put(f"{DAY}/REO_{camera}_20260301201500.mp4", SOUND)
        options = ("cleanup", tree, "--clean-output", "--archive-age", "1", "--trust-names", "--allow-large")

        def reason() -> str:
            found = json.loads(told(*options, "--json", "--dry-run").stdout)["steps"]
            (step,) = [step for step in found if step["path"] == str(tree / f"archived/{ONE}.mp4")]
            return str(step["reason"])

        assert reason() == "archive-age"
        for camera in ("front", "back"):
            moment = ("--from", "2026-03-01 08:15", "--to", "2026-03-01 08:16", "--camera", camera)
            added = told("hold", "add", "-C", tree, *moment, "--reason", "police")
            hold = added.stdout.split()[0]
            assert reason() == "held", camera
            told("hold", "export", "-C", tree, hold, tree.parent / camera)
            assert (tree.parent / camera / f"archive/{ONE}.mp4").exists()
            assert told("hold", "remove", "-C", tree, hold, "-y").returncode == 0

    def test_a_repeat_leaves_the_archive_to_the_other_clip(
        self, put: Put, tree: Path, archived: bytes
    ) -> None:
        put(f"copy/{ONE}.mp4", archived)
        assert outcomes(tree, "--keep-source") == [("done", "same-content")]
        assert outcomes(tree, "--no-skip", "--keep-source") == [("done", "repeat-asked")]
        assert clips_of(tree / "archived") == [f"{ONE}.mp4", f"copy/{ONE}.mp4"]


class TestCopiedTree:
    def test_a_whole_tree_without_its_times(self, put: Put, tree: Path) -> None:
        for hour in range(3):
            put(f"{DAY}/REO_front_2026030108150{hour}.mp4", f"{H264} -metadata title={hour}")
        assert archive(tree, "--keep-source", *OPTIONS).returncode == 0
        made = clips_of(tree / "archived")
        for path in (tree / DAY).iterdir():
            os.utime(path, (START + 500_000, START + 500_000))
        done = document(tree, *OPTIONS)
        assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [
            ("done", "same-content")
        ] * 3
        assert clips_of(tree / "archived") == made
        assert (done["status"], done["errors"]) == ("done", []), "their bytes say when they were written"

    @pytest.fixture
    def copied(self, put: Put, tree: Path) -> Path:
        """A clip whose original was archived, in another folder and with another time."""
        content = put(f"{ONE}.mp4").read_bytes()
        assert outcomes(tree) == [("done", "not-archived")]
        return put(f"copy/{ONE}.mp4", content, mtime=START + 500_000)

    def test_what_stayed_goes_with_the_next_run(self, tree: Path, copied: Path) -> None:
        assert outcomes(tree, "--keep-source") == [("done", "same-content")]
        assert outcomes(tree) == [("done", "already-archived")]
        assert not copied.exists()

    def test_its_copy_in_the_trash_expires(self, tree: Path, copied: Path, told: Command) -> None:
        assert outcomes(tree) == [("done", "same-content")]
        (removed,) = [
            each
            for each in json.loads(told("cleanup", tree, "--trash-age", "0", "--json", "-y").stdout)[
                "outcomes"
            ]
            if each["path"].endswith(f"input/copy/{ONE}.mp4")
        ]
        assert (removed["result"], removed["reason"]) == ("done", "trash-age")

    def test_it_is_found_with_the_archive_of_the_other(self, tree: Path, copied: Path, told: Command) -> None:
        assert outcomes(tree) == [("done", "same-content")]
        found = json.loads(told("find", tree, "--json").stdout)["clips"]
        archive_of = str(tree / f"archived/{ONE}.mp4")
        assert [each["source"] for each in found] == [f"{ONE}.mp4", f"copy/{ONE}.mp4"]
        assert all(archive_of in [file["path"] for file in each["files"]] for each in found)

    def test_a_doubtful_one_without_an_archive_stays_and_the_report_says_so(
        self, put: Put, tree: Path
    ) -> None:
        content = put(f"{ONE}.mp4").read_bytes()
        assert outcomes(tree) == [("done", "not-archived")]
        other = put(f"copy/{ONE}.mp4", content[:-1] + bytes([content[-1] ^ 1]), mtime=START + 500_000)
        assert document(tree, *OPTIONS, "--dry-run")["errors"] == []
        (problem,) = document(tree, *OPTIONS)["errors"]
        assert problem["code"] == "clock-doubtful"
        assert other.exists()

    def test_without_the_journal_the_tag_is_enough(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert archive(tree, "--keep-source", *OPTIONS).returncode == 0
        shutil.rmtree(tree / "archived/.camarchiver/journal")
        os.utime(tree / f"{ONE}.mp4", (START + 500_000, START + 500_000))
        (outcome,) = document(tree, *OPTIONS)["outcomes"]
        assert outcome["detail"].startswith("an archive of it existed already")
        assert clips_of(tree / "archived") == [f"{ONE}.mp4"]
