"""naming: the installed command, as a user starts it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

from camarchiver.errors import ExitCode
from tests.commands import Command, Put, clips_of, journal, put_recent

COMPOSED = "Küche"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def decided(told: Command, command: str, tree: Path, *options: object) -> dict[str, str]:
    """By name: the reason of each file in the plan."""
    found = json.loads(told(command, tree, "--dry-run", "--json", *options).stdout)
    return {Path(step["path"]).name: step["reason"] for step in found["steps"]}


class TestComposedAndDecomposedNames:
    """A camera is the same camera however its letters are written; files keep the bytes of their names."""

    def test_filters_config_and_holds_find_the_camera(
        self, put: Put, tree: Path, told: Command, tmp_path: Path
    ) -> None:
        name = f"REO_{DECOMPOSED}_20260301081500.mp4"
        put(f"2026/03/01/{name}")
        put("2026/03/01/REO_yard_20260301081500.mp4")
        put_recent(put)
        for spelling in (COMPOSED, DECOMPOSED):
            found = decided(told, "archive", tree, "--camera", spelling)
            assert found[name] == "not-archived"
            assert found["REO_yard_20260301081500.mp4"] == "filtered"
            assert decided(told, "archive", tree, "--exclude", f"*{spelling}*")[name] == "filtered"
            config = tmp_path / "c.toml"
            config.write_text(f'[camera."{spelling}"]\nmax_age_hard = 20\n', encoding="utf-8")
            found = decided(told, "cleanup", tree, "--config", config)
            assert found[name] == "max-age-hard"
        for spelling in (COMPOSED, DECOMPOSED):
            words = ("--camera", spelling, "--from", "2026-03-01", "--to", "2026-03-01", "--reason", "theft")
            added = told("hold", "add", "-C", tree, *words)
            assert "it covers 1 clip that is here now" in added.stderr
            assert decided(told, "archive", tree)[name] == "held"
            removed = told("hold", "remove", "-C", tree, added.stdout.split()[0], "-y")
            assert removed.returncode == 0

    def test_the_archive_keeps_the_bytes_of_the_name(self, put: Put, tree: Path, told: Command) -> None:
        name = f"REO_{DECOMPOSED}_20260301081500.mp4"
        put(f"2026/03/01/{name}")
        put(f"2026/03/02/REO_{COMPOSED}_20260302081500.mp4")
        assert told("archive", tree, "--codec", "h264").returncode == 0
        assert f"archived/2026/03/01/{name}" in clips_of(tree)
        assert {line["camera"] for line in journal(tree)} == {COMPOSED}
        cameras = json.loads(told("status", tree, "--json").stdout)["cameras"]
        assert [each["camera"] for each in cameras] == [COMPOSED]
        story = told("why", "-C", tree, "--camera", DECOMPOSED, "--at", "2026-03-01 08:15:01")
        assert "archived as" in story.stdout
        listed = told("restore", "-C", tree, "--camera", DECOMPOSED, "--list")
        assert name in listed.stdout

    def test_a_journal_with_the_other_spelling_is_understood(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        put(f"2026/03/01/REO_{DECOMPOSED}_20260301081500.mp4")
        assert told("archive", tree, "--codec", "h264").returncode == 0
        for file in (tree / "archived/.camarchiver/journal").rglob("*.jsonl"):
            lines = [json.loads(line) | {"camera": DECOMPOSED} for line in file.open()]
            for ascii_only in (True, False):
                text = "".join(json.dumps(line, ensure_ascii=ascii_only) + "\n" for line in lines)
                file.write_text(text, encoding="utf-8")
                listed = told("restore", "-C", tree, "--camera", COMPOSED, "--list")
                assert "081500" in listed.stdout

    def test_a_table_that_stands_twice_is_refused(self, tree: Path, told: Command, tmp_path: Path) -> None:
        tree.mkdir(exist_ok=True)
        tables = "".join(f'[camera."{name}"]\nage = 9\n' for name in (COMPOSED, DECOMPOSED))
        (tmp_path / "c.toml").write_text(tables, encoding="utf-8")
        done = told("config", "check", "--config", tmp_path / "c.toml")
        assert done.returncode == ExitCode.CONFIG
        assert "there are two tables [camera." in done.stderr
