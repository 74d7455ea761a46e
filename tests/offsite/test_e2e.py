"""offsite: the installed command, with a folder as the other storage."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from camarchiver.errors import ExitCode
from camarchiver.offsite import names
from tests.commands import (
    COMMAND,
    DAY,
    START,
    Command,
    Put,
    archive,
    clips_of,
    journal,
    media,
    numbers,
    state_of,
    without_terminal,
)
from tests.offsite import servers
from tests.offsite.servers import Kind, Rclone, Server

pytestmark = pytest.mark.usefixtures("rclone")


@pytest.fixture
def archived(tree: Path, put: Put) -> Path:
    """Two archives of one day and one of another."""
    put(f"{DAY}/REO_front_20260301081500.mp4")
    put(f"{DAY}/REO_yard_20260301091500.mp4", mtime=START + 3600)
    put("2026/03/02/REO_front_20260302081500.mp4", mtime=START + 86400)
    assert archive(tree, "--codec", "h264").returncode == 0
    return tree


NOBODY = 65534
IS_ROOT = os.geteuid() == 0
Withheld = Callable[..., None]


@pytest.fixture
def withheld() -> Iterator[Withheld]:
    """Leaves a file or folder to others with these rights, until the end; as root by giving it away."""
    with ExitStack() as open_:

        def withhold(path: Path, mode: int = 0) -> None:
            before = path.stat()
            open_.callback(path.chmod, before.st_mode & 0o7777)
            open_.callback(os.chown, path, before.st_uid, before.st_gid)
            if IS_ROOT:
                os.chown(path, NOBODY, NOBODY)
            path.chmod(mode)

        yield withhold


@pytest.fixture
def unprivileged() -> Command:
    """Runs the installed command without a right at what others own, also as root."""
    powerless: tuple[str, ...] = ()
    if IS_ROOT:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv (util-linux) is missing")
        powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    return without_terminal(*powerless, COMMAND)


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

    def test_a_dry_run_says_whether_the_remote_can_be_reached_and_writes_nothing(
        self, archived: Path, elsewhere: Path, told: Command
    ) -> None:
        before = media(archived)
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert "3 archives" in done.stdout
        assert "without an off-site copy (not-copied)" in done.stdout
        assert f"{elsewhere} can be reached; " in done.stdout
        assert "are free there" in done.stdout
        document = json.loads(told("offsite", "sync", archived, "--remote", elsewhere, "-n", "--json").stdout)
        assert {(each["action"], each["reason"]) for each in document["steps"]} == {("copy", "not-copied")}
        assert any("can be reached" in note for note in document["notes"])
        assert "copied" not in {each["event"] for each in journal(archived)}
        assert (media(archived), list(elsewhere.iterdir())) == (before, [])
        gone = told("offsite", "sync", archived, "--remote", "nosuch:x", "--dry-run")
        assert gone.returncode == ExitCode.CONFIG
        assert "3 archives" in gone.stdout
        assert "rclone has no such remote" in gone.stdout

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
        assert wrong.returncode == ExitCode.CONFIG
        assert "did you mean remote?" in wrong.stderr

    def test_how_a_copy_is_verified_may_be_said(
        self, archived: Path, elsewhere: Path, told: Command, own_rclone_config: Path
    ) -> None:
        password = servers.obscured("correct horse")
        own_rclone_config.write_text(f"[secret]\ntype = crypt\nremote = {elsewhere}\npassword = {password}\n")
        hashed = ("offsite", "sync", archived, "--verify", "remote-hash", "--remote")
        refused = told(*hashed, "secret:")
        assert refused.returncode == ExitCode.CONFIG
        assert "secret: has no hash of its own that covers a whole object" in refused.stderr
        assert 'verify = "read-back"' in refused.stderr
        assert told(*hashed, elsewhere).returncode == 0
        ways = [each["verified"] for each in journal(archived) if each["event"] == "copy-verified"]
        assert ways == ["sha256 of the remote"] * 3
        wrong = told("offsite", "sync", archived, "--remote", elsewhere, "--bandwidth", "fast")
        assert wrong.returncode == ExitCode.USAGE
        assert "is no bandwidth" in wrong.stderr

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
        assert done.returncode == ExitCode.PARTIAL
        assert "its bytes are not the journalled ones" in done.stdout
        assert len(objects(elsewhere)) == 2
        assert "REO_front_20260301" not in "".join(objects(elsewhere))
        assert state_of(archived).joinpath("offsite-failures.json").exists()

    def test_a_folder_in_the_trees_is_no_other_place(self, archived: Path, told: Command) -> None:
        for place in (archived / "copies", archived / "archived", archived.parent):
            done = told("offsite", "sync", archived, "--remote", place)
            assert done.returncode == ExitCode.USAGE
            assert "is not a separate place" in done.stderr

    def test_a_remote_that_leads_into_the_trees_is_no_other_place(
        self, archived: Path, told: Command, own_rclone_config: Path, tmp_path: Path
    ) -> None:
        inside, password = archived / "archived/copies", servers.obscured("correct horse")
        inside.mkdir()
        own_rclone_config.write_text(
            f"[disk]\ntype = local\n[link]\ntype = alias\nremote = disk:{archived}/archived\n"
            f"[secret]\ntype = crypt\nremote = link:copies\npassword = {password}\n"
            f"[parts]\ntype = chunker\nremote = {inside}\n"
            f"[both]\ntype = union\nupstreams = {tmp_path}/outside:ro secret:\n"
            f"[many]\ntype = combine\nupstreams = a={tmp_path}/outside b=link:copies\n"
        )
        (tmp_path / "outside").mkdir()
        remotes = ("disk:" + str(inside), f":local:{inside}", "link:copies", "link:", "secret:", "parts:")
        for remote in (*remotes, "both:", "many:b"):
            done = told("offsite", "sync", archived, "--remote", remote, "-n")
            said = done.stdout + done.stderr
            assert (done.returncode, "is not a separate place" in said) == (ExitCode.USAGE, True), remote
            if remote in ("secret:", ":local:"):
                assert told("offsite", "sync", archived, "--remote", remote).returncode == ExitCode.USAGE
        assert not list(inside.iterdir())
        assert told("offsite", "sync", archived, "--remote", "many:a", "-n").returncode == 0

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
        assert done.returncode == ExitCode.CONFIG
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
        assert done.returncode == ExitCode.PARTIAL
        assert "verified: 1 archive" in done.stdout
        lost = [each for each in journal(archived) if each["event"] == "copy-lost"]
        assert {(each["object"], each["reason"]) for each in lost} == {(gone, "missing"), (spoilt, "differs")}
        again = told("offsite", "sync", archived, "--remote", elsewhere, "--json")
        document = json.loads(again.stdout)
        assert again.returncode == 0
        assert {each["reason"] for each in document["outcomes"]} == {"copy-lost"}
        assert told("offsite", "verify", archived, "--remote", elsewhere).returncode == 0

    def test_an_encrypted_copy_that_is_damaged_counts_no_more_and_keeps_no_other_from_being_looked_at(
        self, archived: Path, told: Command, elsewhere: Path, own_rclone_config: Path
    ) -> None:
        password = servers.obscured("correct horse")
        own_rclone_config.write_text(f"[secret]\ntype = crypt\nremote = {elsewhere}\npassword = {password}\n")
        assert told("offsite", "sync", archived, "--remote", "secret:").returncode == 0
        encrypted = [path for path in elsewhere.rglob("*") if path.is_file()]
        spoilt, emptied = sorted(encrypted, key=lambda path: path.stat().st_size)[-2:]
        content = bytearray(spoilt.read_bytes())
        content[-20] ^= 1
        spoilt.write_bytes(content)
        emptied.write_bytes(b"")
        done = told("offsite", "verify", archived, "--remote", "secret:")
        assert done.returncode == ExitCode.PARTIAL
        assert "verified: 1 archive" in done.stdout
        lost = [each["reason"] for each in journal(archived) if each["event"] == "copy-lost"]
        assert lost == ["differs"]

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
        assert done.returncode == ExitCode.CONFIG
        assert "offsite: nosuch:x: rclone has no such remote" in done.stderr
        assert clips_of(tree / "archived") == [f"{DAY}/REO_front_20260301081500.mp4"]

    def test_it_needs_a_remote(self, tree: Path, put: Put) -> None:
        put(f"{DAY}/REO_front_20260301081500.mp4")
        done = archive(tree, "--offsite")
        assert done.returncode == ExitCode.CONFIG
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
        archive = f"{DAY}/REO_yard_20260301091500.mp4"
        story = told("why", "-C", archived, archive, *words).stdout
        assert f"its archive {archive} is not here; its off-site copy {elsewhere}/{DAY}" in story
        assert f"brings it back: camarchiver restore --from-offsite {archive}" in story
        other = told("why", "-C", archived, FRONT, "--json", *words)
        (known,) = json.loads(other.stdout)["stories"]
        assert known["only_offsite"] == []

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


FRONT = f"{DAY}/REO_front_20260301081500.mp4"
"""The only archive that is not the newest of its camera."""

COUNTS = ("--archive-age-offsite", "1", "--offsite-counts", "30")


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every archive of a tree."""
    found = (path for path in (root / "archived").rglob("*.mp4") if ".camarchiver" not in path.parts)
    return {str(path.relative_to(root / "archived")): path.read_bytes() for path in found}


def object_of(archived: Path, archive: str) -> str:
    """The name of an archive's copy, by the journal."""
    lines = [each for each in journal(archived) if each.get("archive") == archive and each.get("object")]
    return str(lines[-1]["object"])


def lines_of(archived: Path, event: str) -> list[dict[str, object]]:
    return [each for each in journal(archived) if each["event"] == event]


@pytest.fixture
def copied(archived: Path, elsewhere: Path, told: Command, tmp_path: Path) -> Path:
    """The same archives with their copies; `[offsite]` names the remote."""
    config = tmp_path / "offsite.toml"
    config.write_text(f'[offsite]\nremote = "{elsewhere}"\n')
    assert told("offsite", "sync", archived, "--remote", elsewhere).returncode == 0
    return archived


@pytest.fixture
def config(copied: Path, tmp_path: Path) -> Path:
    return tmp_path / "offsite.toml"


class TestCounting:
    """`cleanup` with off-site copies."""

    def test_an_archive_leaves_for_its_copy_and_comes_back(
        self, copied: Path, config: Path, told: Command
    ) -> None:
        before = bytes_of(copied)
        done = told("cleanup", copied, "-y", *COUNTS, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert "archive past its age, with a verified off-site copy" in done.stdout
        assert bytes_of(copied).keys() == before.keys() - {FRONT}
        kinds = [each["event"] for each in journal(copied) if each.get("archive") == FRONT]
        assert kinds[-3:] == ["copy-verified", "intended", "trashed"] or "copy-verified" in kinds[-3:]
        assert len([kind for kind in kinds if kind == "copy-verified"]) == 2, (
            "verified once more right before"
        )
        back = told("restore", "-C", copied, "--from-offsite", FRONT, "-y", "--config", config)
        assert (back.returncode, back.stderr) == (0, "")
        assert bytes_of(copied) == before
        assert told("verify", copied).returncode == 0
        again = told("cleanup", copied, "-y", *COUNTS, "--config", config)
        assert again.returncode == 0
        assert bytes_of(copied) == before, "what was restored stays for a week"

    @pytest.mark.parametrize("damage", ["changed", "deleted", "unreachable"])
    def test_it_stays_if_its_copy_is_not_good_at_that_moment(
        self, copied: Path, config: Path, told: Command, elsewhere: Path, damage: str
    ) -> None:
        before = bytes_of(copied)
        place = elsewhere / object_of(copied, FRONT)
        if damage == "changed":
            place.write_bytes(place.read_bytes()[:-1] + b"x")
        elif damage == "deleted":
            place.unlink()
        else:
            elsewhere.rename(elsewhere.with_name("unmounted"))
        done = told("cleanup", copied, "-y", *COUNTS, "--config", config)
        assert done.returncode in (ExitCode.FAILED, ExitCode.PARTIAL), done.stdout
        assert bytes_of(copied) == before
        assert len(lines_of(copied, "copy-lost")) == (damage != "unreachable")

    def test_a_dry_run_asks_the_remote_nothing(
        self, copied: Path, config: Path, told: Command, elsewhere: Path
    ) -> None:
        elsewhere.rename(elsewhere.with_name("unmounted"))
        done = told("cleanup", copied, "--dry-run", *COUNTS, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert "archive-age-offsite" in done.stdout

    def test_a_copy_counts_only_if_the_owner_says_for_how_long(
        self, copied: Path, config: Path, told: Command
    ) -> None:
        done = told("cleanup", copied, "-y", "--archive-age-offsite", "1", "--config", config)
        assert done.returncode == ExitCode.USAGE
        assert "--offsite-counts" in done.stderr
        other = told("cleanup", copied, "-y", "--offsite-counts", "30", "--config", config)
        assert other.returncode == 0
        assert (copied / "archived" / FRONT).exists()

    def test_what_it_left_in_the_trash_goes_only_while_the_copy_is_good(
        self, copied: Path, config: Path, told: Command, elsewhere: Path
    ) -> None:
        assert told("cleanup", copied, "-y", *COUNTS, "--config", config).returncode == 0
        trashed = copied / ".deleted/output" / FRONT
        assert trashed.exists()
        place = elsewhere / object_of(copied, FRONT)
        good = place.read_bytes()
        place.write_bytes(good[:-1] + b"x")
        bad = told("cleanup", copied, "-y", *COUNTS, "--trash-age", "0", "--config", config)
        assert bad.returncode in (ExitCode.FAILED, ExitCode.PARTIAL)
        assert trashed.exists()
        place.write_bytes(good)
        assert told("offsite", "verify", copied, "--sample", "100", "--config", config).returncode == 0
        done = told("cleanup", copied, "-y", *COUNTS, "--trash-age", "0", "--config", config)
        assert done.returncode == 0, done.stdout
        assert not trashed.exists()
        assert (
            told("restore", "-C", copied, "--from-offsite", FRONT, "-y", "--config", config).returncode == 0
        )
        assert (copied / "archived" / FRONT).read_bytes() == good

    def test_the_legal_maximum_reaches_the_remote_and_a_hold_forbids_it(
        self, copied: Path, config: Path, told: Command, elsewhere: Path
    ) -> None:
        held = ("--from", "2026-03-01 09:00", "--to", "2026-03-01 10:00", "--reason", "police")
        assert told("hold", "add", "-C", copied, "--camera", "yard", *held).returncode == 0
        done = told(
            "cleanup", copied, "-y", "--max-age-hard", "30", "--allow-large", "--json", "--config", config
        )
        document = json.loads(done.stdout)
        assert done.returncode == ExitCode.PARTIAL, "what is held stays past the limit, and that is said"
        assert objects(elsewhere) == [object_of(copied, f"{DAY}/REO_yard_20260301091500.mp4")]
        removed = [each for each in document["outcomes"] if each["path"].startswith(str(elsewhere))]
        assert len(removed) == 2
        assert {each["reason"] for each in lines_of(copied, "copy-lost")} == {"max-age-hard"}
        again = told("cleanup", copied, "-y", "--max-age-hard", "30", "--allow-large", "--config", config)
        assert "max-age-hard" not in again.stdout.replace("older than max_age_hard", "")


class TestRefused:
    """A remote that keeps what it has, as one with object lock does."""

    def test_what_can_not_be_deleted_is_named(
        self, archived: Path, told: Command, serve: Callable[[Kind], Server], tmp_path: Path
    ) -> None:
        server = serve(servers.WEBDAV)
        Rclone.of(tmp_path, {"store": server.settings()})
        assert told("offsite", "sync", archived, "--remote", "store:").returncode == 0
        server.kill()
        server.kind = replace(server.kind, command=servers.serving("webdav", "--read-only"))
        server.start()
        config = tmp_path / "offsite.toml"
        config.write_text('[offsite]\nremote = "store:"\n')
        words = ("--max-age-hard", "30", "--allow-large", "--json", "--config", config)
        done = told("cleanup", archived, "-y", *words)
        document = json.loads(done.stdout)
        refused = [each for each in document["outcomes"] if each["path"].startswith("store:")]
        assert done.returncode == ExitCode.PARTIAL
        assert [each["result"] for each in refused] == ["failed"] * 3
        assert all("store:" in each["detail"] for each in refused)
        assert not lines_of(archived, "copy-lost")
        assert len(list(server.data.rglob("*.mp4"))) == 3


class TestRemoteAtFault:
    """Errors that concern the remote, and not one archive."""

    def test_one_that_takes_nothing_ends_the_run_and_is_tried_again_by_the_next(
        self, archived: Path, told: Command, serve: Callable[[Kind], Server], own_rclone_config: Path
    ) -> None:
        server = serve(servers.WEBDAV)
        Rclone.of(own_rclone_config.parent, {"store": server.settings()})
        writable = server.kind
        server.kill()
        server.kind = replace(writable, command=servers.serving("webdav", "--read-only", *_LOGIN))
        server.start()
        words = ("offsite", "sync", archived, "--remote", "store:", "--json")
        document = json.loads(told(*words).stdout)
        assert (document["exit_code"], document["outcomes"]) == (ExitCode.STORAGE, [])
        (error,) = document["errors"]
        assert "store:: nothing can be written there" in error["message"]
        assert "the next run tries again" in error["hint"]
        assert not (state_of(archived) / "offsite-failures.json").exists()
        again = json.loads(told(*words).stdout)
        assert again["exit_code"] == ExitCode.STORAGE
        assert any("failed, and this one tries again: store:: nothing can" in each for each in again["notes"])
        status = told("offsite", "status", archived, "--remote", "store:").stdout
        assert "last sync of everything without an error: never" in status
        assert "the last sync failed, 20" in status
        assert "nothing can be written there" in status
        server.kill()
        server.kind = writable
        server.start()
        done = json.loads(told(*words).stdout)
        assert (done["exit_code"], len(done["outcomes"])) == (0, 3)
        found = json.loads(told("offsite", "status", archived, "--remote", "store:", "--json").stdout)
        assert found["last_failure"] is None
        assert found["last_sync_without_error"] == found["last_sync"]

    def test_what_concerns_one_archive_does_not_keep_the_others_from_being_copied(
        self, archived: Path, told: Command, elsewhere: Path
    ) -> None:
        (elsewhere / "2026/03").mkdir(parents=True)
        (elsewhere / "2026/03/02").write_text("no folder")
        done = told("offsite", "sync", archived, "--remote", elsewhere, "--json")
        document = json.loads(done.stdout)
        assert done.returncode == ExitCode.PARTIAL
        assert sorted(each["result"] for each in document["outcomes"]) == ["done", "done", "failed"]
        assert (state_of(archived) / "offsite-failures.json").exists()
        status = told("offsite", "status", archived, "--remote", elsewhere).stdout
        assert "1 archive could not be copied" in status

    @pytest.mark.parametrize("damage", ["not a line of it\n[x", "a folder", "encrypted"])
    def test_a_config_of_rclone_that_it_can_not_read_is_named(
        self, archived: Path, told: Command, elsewhere: Path, own_rclone_config: Path, damage: str
    ) -> None:
        if damage == "a folder":
            own_rclone_config.unlink()
            own_rclone_config.mkdir()
        else:
            own_rclone_config.write_text(
                "RCLONE_ENCRYPT_V0:\n" + "A" * 80 if damage == "encrypted" else damage
            )
        done = told("offsite", "sync", archived, "--remote", f"x:{elsewhere}")
        assert done.returncode == ExitCode.CONFIG
        assert str(own_rclone_config) in done.stderr
        said = (
            "password is unknown or wrong" if damage == "encrypted" else "rclone can't read its config file"
        )
        assert said in done.stderr
        assert "\n" in done.stderr.strip(), "a remedy"

    @pytest.mark.parametrize("names_are", ["standard", "off"])
    def test_with_the_wrong_password_of_a_crypt_nothing_is_lost_and_nothing_is_copied(
        self, archived: Path, told: Command, elsewhere: Path, own_rclone_config: Path, names_are: str
    ) -> None:
        def configure(password: str) -> None:
            own_rclone_config.write_text(
                f"[secret]\ntype = crypt\nremote = {elsewhere}\nfilename_encryption = {names_are}\n"
                f"password = {servers.obscured(password)}\n"
            )

        configure("correct horse")
        words = (archived, "--remote", "secret:")
        assert told("offsite", "sync", *words, "--limit", "2").returncode == 0
        stored = sorted(elsewhere.rglob("*"))
        configure("wrong horse")
        for command in (("verify",), ("sync",), ("sync", "-n")):
            done = told("offsite", *command[:1], *words, *command[1:])
            assert done.returncode == ExitCode.CONFIG, command
            assert "no copy that the journal knows can be read there" in done.stdout + done.stderr
        config = own_rclone_config.with_name("offsite.toml")
        config.write_text('[offsite]\nremote = "secret:"\n')
        for path in (archived / "archived").rglob("*.mp4"):
            path.unlink()
        back = told("restore", "-C", archived, "2026", "--from-offsite", "-y", "--config", config)
        assert back.returncode == ExitCode.CONFIG
        if names_are == "standard":
            limit = ("--max-age-hard", "30", "--allow-large")
            assert told("cleanup", archived, "-y", *limit, "--config", config).returncode in (
                ExitCode.FAILED,
                ExitCode.PARTIAL,
            )
        assert not lines_of(archived, "copy-lost")
        assert sorted(elsewhere.rglob("*")) == stored
        configure("correct horse")
        assert told("offsite", "verify", *words).returncode == 0

    @pytest.mark.parametrize("stays", ["nothing", "manifests"])
    def test_all_copies_are_lost_only_where_a_manifest_shows_that_it_is_the_place(
        self, copied: Path, told: Command, elsewhere: Path, stays: str
    ) -> None:
        for name in objects(elsewhere):
            (elsewhere / name).unlink()
        if stays == "nothing":
            shutil.rmtree(elsewhere / names.MANIFESTS)
        done = told("offsite", "verify", copied, "--remote", elsewhere)
        assert done.returncode == (ExitCode.CONFIG if stays == "nothing" else ExitCode.PARTIAL)
        assert len(lines_of(copied, "copy-lost")) == (0 if stays == "nothing" else 3)


_LOGIN = ("--user", servers.KEY, "--pass", servers.SECRET, "--dir-cache-time", "0s")


class TestRestore:
    """`restore --from-offsite` and `verify --repair`."""

    def test_the_clip_that_shows_a_minute_comes_back(self, copied: Path, config: Path, told: Command) -> None:
        before = bytes_of(copied)
        for name in before:
            (copied / "archived" / name).unlink()
        words = ("--camera", "yard", "--at", "2026-03-01 09:15")
        done = told("restore", "-C", copied, "--from-offsite", *words, "-y", "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        yard = f"{DAY}/REO_yard_20260301091500.mp4"
        assert bytes_of(copied) == {yard: before[yard]}

    def test_what_came_back_is_copied_again_elsewhere(
        self, copied: Path, config: Path, told: Command, tmp_path: Path
    ) -> None:
        (copied / "archived" / FRONT).unlink()
        assert (
            told("restore", "-C", copied, "--from-offsite", FRONT, "-y", "--config", config).returncode == 0
        )
        other = tmp_path / "another"
        other.mkdir()
        done = told("offsite", "sync", copied, "--remote", other)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(objects(other)) == len(bytes_of(copied))

    def test_what_a_run_removed_comes_back(self, copied: Path, config: Path, told: Command) -> None:
        done = told("cleanup", copied, "-y", *COUNTS, "--json", "--config", config)
        run = json.loads(done.stdout)["run"]
        back = told(
            "restore", "-C", copied, "--from-offsite", "--run", run, "-y", "--json", "--config", config
        )
        assert [each["result"] for each in json.loads(back.stdout)["outcomes"]] == ["done"]
        assert (copied / "archived" / FRONT).exists()

    def test_a_copy_that_differs_is_not_restored(
        self, copied: Path, config: Path, told: Command, elsewhere: Path
    ) -> None:
        (copied / "archived" / FRONT).unlink()
        place = elsewhere / object_of(copied, FRONT)
        place.write_bytes(place.read_bytes()[:-1] + b"x")
        done = told("restore", "-C", copied, "--from-offsite", FRONT, "-y", "--config", config)
        assert done.returncode == ExitCode.PARTIAL
        assert "has other bytes than the archive had" in done.stdout
        assert FRONT not in bytes_of(copied)
        assert [each["reason"] for each in lines_of(copied, "copy-lost")] == ["differs"]

    def test_nothing_is_overwritten(self, copied: Path, config: Path, told: Command) -> None:
        (copied / "archived" / FRONT).write_bytes(b"another file")
        done = told("restore", "-C", copied, "--from-offsite", FRONT, "-y", "--config", config)
        assert "is another file" in done.stdout
        assert bytes_of(copied)[FRONT] == b"another file"

    def test_a_path_of_which_there_is_no_copy_is_named(
        self, copied: Path, config: Path, told: Command
    ) -> None:
        done = told(
            "restore", "-C", copied, "--from-offsite", "2026/03/01/nothing.mp4", "-y", "--config", config
        )
        assert done.returncode == ExitCode.FAILED
        assert "nothing.mp4" in done.stderr

    def test_that_nothing_fits_is_said_before_consent_is_asked(
        self, copied: Path, config: Path, told: Command
    ) -> None:
        (copied / "archived" / FRONT).unlink()
        misspelt = FRONT.replace("front", "frnt")
        for words in (("--from-offsite", "--config", config), ()):
            done = told("restore", "-C", copied, misspelt, *words)
            assert done.returncode == ExitCode.FAILED
            assert misspelt in done.stderr
        found = told("restore", "-C", copied, misspelt, "--from-offsite", "--config", config)
        assert f"did you mean {copied / FRONT}?" in found.stderr
        asked = told("restore", "-C", copied, FRONT, "--from-offsite", "--config", config)
        assert (asked.returncode, "needs consent" in asked.stderr) == (ExitCode.USAGE, True)
        here = copied / "archived" / f"{DAY}/REO_yard_20260301091500.mp4"
        there = told("restore", "-C", copied, here, "--from-offsite", "--config", config)
        assert (there.returncode, f"{here} is in its place" in there.stderr) == (ExitCode.FAILED, True)

    @pytest.mark.parametrize("damage", ["missing", "damaged"])
    def test_repair_uses_the_copy_as_the_last_source(
        self, copied: Path, config: Path, told: Command, damage: str
    ) -> None:
        before = bytes_of(copied)
        shutil.rmtree(copied / ".deleted")
        place = copied / "archived" / FRONT
        if damage == "missing":
            place.unlink()
        else:
            place.write_bytes(before[FRONT][:-1] + b"x")
        done = told("verify", copied, "--repair", "-y", "--config", config)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert bytes_of(copied) == before
        assert (copied / ".deleted/output" / FRONT).exists() == (damage == "damaged")
        assert told("verify", copied, "--config", config).returncode == 0


class TestDisaster:
    """Everything but the remote is lost."""

    def test_an_empty_machine_gets_clips_and_journal_back(
        self, copied: Path, told: Command, elsewhere: Path, tmp_path: Path
    ) -> None:
        before = bytes_of(copied)
        sources = {each["source"] for each in journal(copied)}
        shutil.rmtree(copied)
        new = tmp_path / "new"
        shown = told("offsite", "restore-all", elsewhere, new, "--dry-run")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "restore 3 archives" in shown.stdout
        assert not new.exists()
        assert told("offsite", "restore-all", elsewhere, new).returncode == ExitCode.USAGE, "consent"
        assert told("offsite", "restore-all", tmp_path / "unmounted", new, "-y").returncode == ExitCode.CONFIG
        assert not new.exists()
        done = told("offsite", "restore-all", elsewhere, new, "-y")
        assert (done.returncode, done.stderr) == (0, "")
        assert bytes_of(new) == before
        assert {each["source"] for each in journal(new)} == sources
        assert told("verify", new).returncode == 0, "each archive has the BLAKE2b of its manifest"
        story = told("why", "-C", new, FRONT)
        assert (story.returncode, "archived" in story.stdout) == (0, True)
        assert told("offsite", "sync", new, "--remote", elsewhere, "--json").returncode == 0
        assert not lines_of(new, "copied"), "what came from there is not copied again"

    def test_it_goes_on_after_an_interruption_and_says_what_is_lost(
        self, copied: Path, told: Command, elsewhere: Path, tmp_path: Path
    ) -> None:
        before = bytes_of(copied)
        place = elsewhere / object_of(copied, FRONT)
        good = place.read_bytes()
        place.write_bytes(good[:-1] + b"x")
        new = tmp_path / "new"
        first = told("offsite", "restore-all", elsewhere, new, "-y")
        assert first.returncode == ExitCode.PARTIAL
        assert "has other bytes than the archive had" in first.stdout
        assert bytes_of(new).keys() == before.keys() - {FRONT}
        assert not list((new / "archived/2026").rglob(".*"))
        place.write_bytes(good)
        second = told("offsite", "restore-all", elsewhere, new, "-y")
        assert second.returncode == 0
        assert bytes_of(new) == before

    def test_a_damaged_manifest_is_named_and_the_others_are_used(
        self, copied: Path, told: Command, elsewhere: Path, tmp_path: Path
    ) -> None:
        manifest = next((elsewhere / names.MANIFESTS / "2026/03").glob("02.*"))
        manifest.write_bytes(manifest.read_bytes()[:-2])
        done = told("offsite", "restore-all", elsewhere, tmp_path / "new", "-y")
        assert done.returncode == ExitCode.PARTIAL
        assert "1 manifest can't be read" in done.stdout + done.stderr
        assert len(bytes_of(tmp_path / "new")) == 2

    def test_it_refuses_a_tree_with_a_journal_and_a_remote_without_copies(
        self, copied: Path, told: Command, elsewhere: Path, tmp_path: Path
    ) -> None:
        done = told("offsite", "restore-all", elsewhere, copied, "-y")
        assert done.returncode == ExitCode.USAGE
        assert "is not empty" in done.stderr
        (tmp_path / "nothing").mkdir()
        none = told("offsite", "restore-all", tmp_path / "nothing", tmp_path / "new", "-y")
        assert none.returncode == ExitCode.FAILED
        assert "no manifest" in none.stderr
        assert not (tmp_path / "new").exists()
        for manifest in (elsewhere / names.MANIFESTS).rglob("*.jsonl"):
            manifest.write_text("spoilt")
        spoilt = told("offsite", "restore-all", elsewhere, tmp_path / "new", "-y")
        assert (spoilt.returncode, "can be read" in spoilt.stderr) == (ExitCode.FAILED, True)
        assert not (tmp_path / "new").exists()

    def test_plain_rclone_restores_what_crypt_encrypted(
        self, archived: Path, told: Command, elsewhere: Path, tmp_path: Path, own_rclone_config: Path
    ) -> None:
        before = bytes_of(archived)
        password = servers.obscured("correct horse")
        own_rclone_config.write_text(f"[secret]\ntype = crypt\nremote = {elsewhere}\npassword = {password}\n")
        done = told("offsite", "sync", archived, "--remote", "secret:")
        assert (done.returncode, done.stderr) == (0, "")
        stored = [path for path in elsewhere.rglob("*") if path.is_file()]
        assert len(stored) == 5
        assert not any("REO" in str(path) or b"ftyp" in path.read_bytes()[:64] for path in stored)
        shutil.rmtree(archived)
        rclone = Rclone(own_rclone_config)
        rclone.run("copy", "secret:", tmp_path / "plain")
        found = {}
        for path in (tmp_path / "plain").rglob("*.mp4"):
            name = names.read_object(str(path.relative_to(tmp_path / "plain")))
            assert name is not None
            assert hashlib.blake2b(path.read_bytes()).hexdigest().startswith(name.digits)
            found[name.archive] = path.read_bytes()
        assert found == before
        again = told("offsite", "restore-all", "secret:", tmp_path / "new", "-y")
        assert again.returncode == 0
        assert bytes_of(tmp_path / "new") == before


class TestRights:
    """What the user who runs it may not read, start or write."""

    @pytest.mark.parametrize("where", ["file", "folder"])
    def test_an_rclone_config_of_somebody_else_is_named_and_keeps_nothing_from_being_archived(
        self,
        tree: Path,
        put: Put,
        elsewhere: Path,
        tmp_path: Path,
        unprivileged: Command,
        withheld: Withheld,
        monkeypatch: pytest.MonkeyPatch,
        where: str,
    ) -> None:
        monkeypatch.delenv("RCLONE_CONFIG")
        file = tmp_path / "home/.config/rclone/rclone.conf"
        file.parent.mkdir(parents=True)
        file.write_text("[store]\ntype = local\n")
        withheld(file if where == "file" else file.parent)
        home = {"HOME": str(tmp_path / "home")}
        config = tmp_path / "config.toml"
        config.write_text(f'[offsite]\nremote = "store:{elsewhere}"\n')
        put(f"{DAY}/REO_front_20260301081500.mp4")
        words = ("archive", tree, "--codec", "h264", "--offsite", "--config", config)
        for command in (words, ("offsite", "sync", tree, "--config", config)):
            done = unprivileged(*command, **home)
            assert done.returncode == ExitCode.CONFIG
            assert f'rclone can\'t read its config file: "{file}"' in done.stderr
            assert "permission denied" in done.stderr
            assert "let this user read it" in done.stderr
            assert "Traceback" not in done.stderr
            assert clips_of(tree / "archived") == [f"{DAY}/REO_front_20260301081500.mp4"]

    def test_an_rclone_that_may_not_be_started_is_named_and_keeps_nothing_from_being_archived(
        self,
        tree: Path,
        put: Put,
        elsewhere: Path,
        tmp_path: Path,
        unprivileged: Command,
        withheld: Withheld,
    ) -> None:
        program = tmp_path / "bin/rclone"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o700)
        withheld(program)
        config = tmp_path / "config.toml"
        config.write_text(f'[offsite]\nremote = "{elsewhere}"\nrclone = "{program}"\n')
        put(f"{DAY}/REO_front_20260301081500.mp4")
        done = unprivileged("archive", tree, "--codec", "h264", "--offsite", "--config", config)
        assert done.returncode == ExitCode.CONFIG
        assert f"{program} may not be started by this user\n  chmod a+rx {program}\n" in done.stderr
        assert clips_of(tree / "archived") == [f"{DAY}/REO_front_20260301081500.mp4"]
        withheld(program.parent)
        asked = unprivileged("offsite", "sync", tree, "--remote", elsewhere, "--rclone", program)
        assert asked.returncode == ExitCode.CONFIG
        assert f"{program} can't be reached by this user" in asked.stderr
        assert "let this user enter the folders above it" in asked.stderr

    def test_a_state_folder_that_may_not_be_written_is_named_before_anything_is_copied(
        self, archived: Path, elsewhere: Path, unprivileged: Command, withheld: Withheld
    ) -> None:
        state = state_of(archived)
        for folder in (state, *(each for each in state.rglob("*") if each.is_dir())):
            withheld(folder, 0o555)
        done = unprivileged("offsite", "sync", archived, "--remote", elsewhere)
        assert done.returncode == ExitCode.STORAGE
        assert f"Permission denied for user {getpass.getuser()}" in done.stderr
        assert f"the right to write {state}" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(elsewhere.iterdir())
        assert unprivileged("offsite", "status", archived, "--remote", elsewhere).returncode == 0
