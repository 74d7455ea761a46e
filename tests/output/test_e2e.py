"""output: the installed command, as a user starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from camarchiver.domain.reason import Reason
from tests.commands import DAY, KEYS, NAME, ONE, TRANSCODE_KEYS, Command, Put, document, installed

STEP_KEYS = {"action", "path", "target", "reason", "bytes", "camera", "start"}
OUTCOME_KEYS = {"action", "path", "result", "detail"}


class TestDocument:
    """The JSON format (docs/architecture.md, section 6)."""

    def test_keys_of_steps_outcomes_and_totals(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/holiday.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        done = document(tree)
        assert set(done) >= KEYS
        assert all(set(step) >= STEP_KEYS for step in done["steps"])
        assert all(set(each) >= OUTCOME_KEYS for each in done["outcomes"])
        made = next(each for each in done["outcomes"] if each["result"] == "done")
        assert set(made) >= TRANSCODE_KEYS
        assert made["rungs"][-1]
        assert 0 < made["bytes_after"] < made["bytes_before"]
        step = next(
            step for step in done["steps"] if step["reason"] == "not-archived" and "front" in step["path"]
        )
        assert step["target"] == str(tree / f"archived/{ONE}.mp4")
        assert (step["camera"], step["start"]) == ("front", "2026-03-01T08:15:00+00:00")
        assert {Reason(step["reason"]) for step in done["steps"]} <= set(Reason)
        assert [error["code"] for error in done["errors"]] == []

    def test_keys_that_commands_add(self, archived_camera: Path, told: Command, tmp_path: Path) -> None:
        tree, day = archived_camera, ("--from", "2026-03-01", "--to", "2026-03-01")
        name = told("hold", "add", "-C", tree, *day, "--reason", "x").stdout.split()[0]

        def keys(*words: object, of: str = "") -> set[str]:
            found = json.loads(told(*words, "--json").stdout)
            assert set(found) >= KEYS
            assert (found["command"], found["exit_code"]) == (words[0], 0)
            return set(found[of][0]) if of else set(found) - KEYS

        story = {"source", "sentences", "events", "places", "next_archive", "next_cleanup"}
        story |= {"damaged_archives", "only_offsite"}
        path = tree / f"2026/03/01/{NAME}.mp4"
        assert keys("why", "-C", tree, path) == {"stories", "cleanup_stopped"}
        assert keys("why", "-C", tree, path, of="stories") == story
        hold = {"id", "camera", "from", "to", "until", "reason", "lapsed"}
        assert keys("hold", "list", "-C", tree, of="holds") == hold
        file = {"path", "target", "bytes", "blake2b", "was_there"}
        assert keys("hold", "export", "-C", tree, name, tmp_path / "out", of="files") == file
        checked = {"checked", "resumed", "foreign", "foreign_files", "findings"}
        assert keys("verify", tree) == {*checked, "last_verify", "last_full_verify"}
        disk = {"path", "free", "total", "daily", "net_daily", "days_until_full"}
        assert keys("status", tree, of="disks") == disk

    @pytest.mark.parametrize("options", [(), ("-v",), ("-q",), ("--dry-run", "-v")])
    def test_nothing_else_on_stdout(self, put: Put, tree: Path, options: tuple[str, ...]) -> None:
        put(f"{ONE}.mp4")
        told = installed("archive", tree, "--json", *options)
        assert json.loads(told.stdout)["exit_code"] == told.returncode == 0
        assert told.stdout.count("\n") == 1

    def test_quiet_says_nothing_of_what_went_well(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        told = installed("archive", tree, "-q")
        assert (told.returncode, told.stdout, told.stderr) == (0, "", "")

    def test_the_environment_and_a_file_set_options_and_the_command_line_wins(
        self, put: Put, tree: Path, tmp_path: Path
    ) -> None:
        name = put(f"{ONE}.mp4").name
        file = tmp_path / "own.toml"
        file.write_text(f'directory = "{tree}"\n[archive]\nmin_size = "1GB"\n')

        def why(*options: object, **environment: str) -> str:
            told = installed("archive", "--dry-run", "--json", "--config", file, *options, **environment)
            return str(json.loads(told.stdout)["steps"][0]["reason"])

        assert Path(tree, ONE + ".mp4").name == name
        assert why() == "filtered"
        assert why(CAMARCHIVER_MIN_SIZE="0") == "not-archived"
        assert why("--min-size", "1GB", CAMARCHIVER_MIN_SIZE="0") == "filtered"
