"""offsite: the installed command, with a folder as the other storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from camarchiver.offsite import names
from tests.commands import DAY, START, Command, Put, archive, clips_of, journal, media, numbers, state_of

pytestmark = pytest.mark.usefixtures("rclone")


@pytest.fixture
def archived(tree: Path, put: Put) -> Path:
    """Two archives of one day and one of another."""
    put(f"{DAY}/REO_front_20260301081500.mp4")
    put(f"{DAY}/REO_yard_20260301091500.mp4", mtime=START + 3600)
    put("2026/03/02/REO_front_20260302081500.mp4", mtime=START + 86400)
    assert archive(tree, "--codec", "h264").returncode == 0
    return tree


def objects(place: Path) -> list[str]:
    return [name for name in media(place) if not name.startswith(names.MANIFESTS)]


class TestSync:
    """`offsite sync`."""

    def test_archives_are_copied_verified_and_journalled(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        before = media(archived)
        done = told("offsite", "sync", archived, "--remote", elsewhere)
        assert (done.returncode, done.stderr) == (0, "")
        assert "copied and verified: 3 archives" in done.stdout
        assert media(archived) == before
        found = {names.read_object(name) for name in objects(elsewhere)}
        made = {
            each["archive"]: each["archive_blake2b"]
            for each in journal(archived)
            if each["event"] == "archived"
        }
        assert found == {(place, digest[:12]) for place, digest in made.items()}
        for each in journal(archived):
            if each["event"] == "copy-verified":
                assert (elsewhere / each["object"]).read_bytes() == (
                    archived / "archived" / each["archive"]
                ).read_bytes()
        kinds = [each["event"] for each in journal(archived)]
        assert kinds.count("copied") == kinds.count("copy-verified") == 3
        assert len([name for name in media(elsewhere) if name.startswith(names.MANIFESTS)]) == 2

    def test_a_second_run_has_nothing_to_do_and_asks_nothing(
        self, archived: Path, elsewhere: Path, told: Command, tmp_path: Path
    ) -> None:
        told("offsite", "sync", archived, "--remote", elsewhere)
        # Not even a remote that is gone disturbs it: what was copied is known from the journal.
        elsewhere.rename(tmp_path / "unmounted")
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--json")
        document = json.loads(done.stdout)
        assert (done.returncode, document["status"]) == (0, "nothing")
        assert {total["reason"] for total in document["totals"]} == {"already-copied"}
        assert sum(total["clips"] for total in document["totals"]) == 3

    def test_a_dry_run_asks_the_remote_nothing(self, archived: Path, told: Command) -> None:
        done = told("offsite", "sync", archived, "--remote", "nosuch:x", "--dry-run")
        assert done.returncode == 0
        assert "3 archives" in done.stdout
        assert "without an off-site copy (not-copied)" in done.stdout
        steps = json.loads(told("offsite", "sync", archived, "--remote", "nosuch:x", "-n", "--json").stdout)[
            "steps"
        ]
        assert {(each["action"], each["reason"]) for each in steps} == {("copy", "not-copied")}
        assert "copied" not in {each["event"] for each in journal(archived)}

    def test_the_config_says_where_and_a_camera_may_differ(
        self, archived: Path, elsewhere: Path, told: Command, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text(
            f'[offsite]\nremote = "{elsewhere}"\nverify = "read-back"\n[camera.yard]\noffsite = "none"\n'
        )
        done = told("offsite", "sync", archived, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(objects(elsewhere)) == 2
        assert {each["verified"] for each in journal(archived) if each["event"] == "copy-verified"} == {
            "read back"
        }
        assert (
            f'remote         = "{elsewhere}"' in told("config", "show", "offsite", "--config", config).stdout
        )
        assert told("config", "check", "--config", config).returncode == 0
        config.write_text('[offsite]\nremot = "x"\n')
        wrong = told("offsite", "sync", archived, "--config", config)
        assert wrong.returncode == 10
        assert "did you mean remote?" in wrong.stderr

    def test_a_key_for_all_commands_with_the_name_of_an_own_one_is_not_meant(
        self, archived: Path, elsewhere: Path, told: Command, tmp_path: Path
    ) -> None:
        config = tmp_path / "config.toml"
        config.write_text('verify = "full"\n')
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_damaged_archive_is_not_copied_as_if_it_were_sound(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        one = next((archived / "archived" / DAY).glob("REO_front*.mp4"))
        status = one.stat()
        one.write_bytes(bytes(status.st_size))
        done = told("offsite", "sync", archived, "--remote", elsewhere)
        assert done.returncode == 3
        assert "its bytes are not the journalled ones" in done.stdout
        assert len(objects(elsewhere)) == 2
        assert "REO_front_20260301" not in "".join(objects(elsewhere))
        assert state_of(archived).joinpath("offsite-failures.json").exists()

    def test_a_folder_in_the_trees_is_no_other_place(self, archived: Path, told: Command) -> None:
        for place in (archived / "copies", archived / "archived", archived.parent):
            done = told("offsite", "sync", archived, "--remote", place)
            assert done.returncode == 2
            assert "is no other place" in done.stderr

    def test_a_copy_that_a_dead_run_made_is_verified_and_not_made_again(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        told("offsite", "sync", archived, "--remote", elsewhere)
        days = sorted((state_of(archived) / "journal").rglob("*.jsonl"))
        for day in days:
            lines = day.read_text().splitlines(keepends=True)
            day.write_text("".join(line for line in lines if '"copy-verified"' not in line))
        before = {path: path.stat().st_ino for path in elsewhere.rglob("*.mp4")}
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--json")
        document = json.loads(done.stdout)
        assert {each["reason"] for each in document["steps"]} == {"copy-unproved"}
        assert {each["result"] for each in document["outcomes"]} == {"done"}
        assert {path: path.stat().st_ino for path in elsewhere.rglob("*.mp4")} == before

    def test_held_clips_go_first_and_a_limit_leaves_the_rest(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        span = ("--from", "2026-03-01 08:00", "--to", "2026-03-01 08:30")
        told("hold", "add", "-C", archived, *span, "--reason", "burglary")
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--limit", 1, "--json")
        document = json.loads(done.stdout)
        (outcome,) = document["outcomes"]
        assert outcome["reason"] == "held"
        assert outcome["path"].endswith("REO_front_20260301081500.mp4")
        told("offsite", "sync", archived, "--remote", elsewhere, "--limit", 1)
        assert any("20260302" in name for name in objects(elsewhere))

    def test_without_a_remote_it_says_how_to_name_one(self, archived: Path, told: Command) -> None:
        done = told("offsite", "sync", archived)
        assert done.returncode == 10
        assert "[offsite] remote" in done.stderr


class TestVerify:
    """`offsite verify`."""

    def test_a_copy_that_is_gone_or_differs_counts_no_more_and_is_made_again(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        told("offsite", "sync", archived, "--remote", elsewhere)
        gone, spoilt, _ = sorted(objects(elsewhere))
        (elsewhere / gone).unlink()
        content = bytearray((elsewhere / spoilt).read_bytes())
        content[len(content) // 2] ^= 1
        (elsewhere / spoilt).write_bytes(content)
        done = told("offsite", "verify", archived, "--remote", elsewhere)
        assert done.returncode == 3
        assert "verified: 1 archive" in done.stdout
        lost = [each for each in journal(archived) if each["event"] == "copy-lost"]
        assert {(each["object"], each["reason"]) for each in lost} == {(gone, "missing"), (spoilt, "differs")}
        again = told("offsite", "sync", archived, "--remote", elsewhere, "--json")
        document = json.loads(again.stdout)
        assert again.returncode == 0
        assert {each["reason"] for each in document["outcomes"]} == {"copy-lost"}
        assert told("offsite", "verify", archived, "--remote", elsewhere).returncode == 0

    def test_samples_come_round_to_every_copy(self, archived: Path, elsewhere: Path, told: Command) -> None:
        told("offsite", "sync", archived, "--remote", elsewhere)
        seen = []
        for _ in range(3):
            done = told("offsite", "verify", archived, "--remote", elsewhere, "--sample", "2", "--json")
            (outcome,) = json.loads(done.stdout)["outcomes"]
            assert outcome["reason"] == "verify-again"
            seen.append(outcome["path"])
        assert len(set(seen)) == 3

    def test_a_copy_whose_archive_is_gone_is_read_back(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        told("offsite", "sync", archived, "--remote", elsewhere)
        for path in (archived / "archived").rglob("*.mp4"):
            path.unlink()
        done = told("offsite", "verify", archived, "--remote", elsewhere, "--json")
        assert done.returncode == 0
        assert all("read back" in each["detail"] for each in json.loads(done.stdout)["outcomes"])


class TestAfterArchiving:
    """`archive --offsite`."""

    def config(self, tmp_path: Path, remote: object) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(f'[offsite]\nremote = "{remote}"\n')
        return path

    def test_what_was_archived_is_copied_before_anything_is_removed(
        self, tree: Path, put: Put, elsewhere: Path, tmp_path: Path
    ) -> None:
        put(f"{DAY}/REO_front_20260301081500.mp4")
        config = self.config(tmp_path, elsewhere)
        done = archive(tree, "--codec", "h264", "--offsite", "--cleanup", "-y", "--json", "--config", config)
        document = json.loads(done.stdout)
        assert done.returncode == 0
        assert [each["action"] for each in document["offsite"]["outcomes"]] == ["copy"]
        assert len(objects(elsewhere)) == 1
        kinds = [each["event"] for each in journal(tree)]
        assert kinds.index("archived") < kinds.index("copy-verified")

    def test_a_remote_that_fails_does_not_keep_clips_from_being_archived(
        self, tree: Path, put: Put, tmp_path: Path
    ) -> None:
        put(f"{DAY}/REO_front_20260301081500.mp4")
        done = archive(tree, "--codec", "h264", "--offsite", "--config", self.config(tmp_path, "nosuch:x"))
        assert done.returncode == 10
        assert "offsite: nosuch:x: rclone has no such remote" in done.stderr
        assert clips_of(tree / "archived") == [f"{DAY}/REO_front_20260301081500.mp4"]

    def test_it_needs_a_remote(self, tree: Path, put: Put) -> None:
        put(f"{DAY}/REO_front_20260301081500.mp4")
        done = archive(tree, "--offsite")
        assert done.returncode == 10
        assert "no remote" in done.stderr


class TestQuestions:
    """What other commands know of copies."""

    def test_they_know_them(self, archived: Path, elsewhere: Path, told: Command, tmp_path: Path) -> None:
        config, metrics = tmp_path / "config.toml", tmp_path / "x.prom"
        config.write_text(f'[offsite]\nremote = "{elsewhere}"\n')
        words = ("--config", config)
        told("offsite", "sync", archived, *words, "--metrics", metrics)
        for copy, count in (("verified", 3.0), ("missing", 0.0)):
            assert numbers(metrics, "offsite_archives", copy=copy, remote=str(elsewhere)) == [count]
        assert numbers(metrics, "last_offsite_sync_timestamp_seconds")

        gone = archived / "archived" / DAY / "REO_yard_20260301091500.mp4"
        gone.unlink()
        found = json.loads(told("find", archived, "--state", "offsite", "--json", *words).stdout)["clips"]
        assert len(found) == 3
        assert {each["copies"][0]["remote"] for each in found} == {str(elsewhere)}
        listed = told("find", archived, "--camera", "yard", *words).stdout
        assert "offsite" in listed

        lost = next(name for name in objects(elsewhere) if "front_20260302" in name)
        (elsewhere / lost).unlink()
        told("offsite", "verify", archived, *words)
        why = told("why", "-C", archived, "2026/03/02/REO_front_20260302081500.mp4", *words).stdout
        assert f"copied off-site, to {elsewhere}/2026/03/02" in why
        assert "counts no more: missing" in why
        status = told("status", archived, *words).stdout
        assert f"off-site at {elsewhere}: a verified copy of 2 of 3 archives" in status
        assert "1 off-site copy at" in status
        own = json.loads(told("offsite", "status", archived, "--json", *words).stdout)
        assert (own["archives"], own["verified"], own["lost"]) == (3, 2, 1)
        assert "oldest check" in told("offsite", "status", archived, "--space", *words).stdout
        doctor = told("doctor", archived, "-q", "--json", *words)
        offsite = [each for each in json.loads(doctor.stdout)["findings"] if each["area"] == "off-site"]
        assert offsite[0]["verdict"] == "ok"
