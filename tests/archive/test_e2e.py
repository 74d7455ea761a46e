"""archive: the installed command, as a user starts it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import imageio_ffmpeg
import pytest

from camarchiver.domain.clip import STATE_FOLDER
from camarchiver.domain.reason import Reason
from camarchiver.errors import ExitCode, user_name
from tests import dates
from tests.commands import (
    DAY,
    H264,
    NAME,
    ONE,
    SOUND,
    START,
    TRANSCODE_KEYS,
    Command,
    Make,
    Put,
    archive,
    clips_of,
    command,
    document,
    frames,
    journal,
    media,
    put_recent,
    reasons,
    snapshot,
    state_of,
    whole,
)
from tests.yards import Yard


class TestArchive:
    """A night's run on real clips."""

    def test_two_cameras_in_one_second_with_sound_and_pictures(self, put: Put, tree: Path) -> None:
        front = put(f"{ONE}.mp4", SOUND)
        put(f"{ONE}.jpg", b"front")
        hevc = SOUND.replace("libx264", "libx265 -x265-params log-level=error -tag:v hvc1")
        put(f"{DAY}/REO_back_20260301081500.mp4", hevc)
        put(f"{DAY}/REO_back_20260301081500.jpg", b"back")
        source, digest = front.stat(), hashlib.blake2b(front.read_bytes()).hexdigest()
        done = archive(tree)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("archived ") == 2
        assert [name for name in media(tree) if name != "archiver.log"] == [
            f"archived/{DAY}/REO_back_20260301081500.jpg",
            f"archived/{DAY}/REO_back_20260301081500.mp4",
            f"archived/{ONE}.jpg",
            f"archived/{ONE}.mp4",
        ]
        assert (tree / f"archived/{ONE}.jpg").read_bytes() == b"front"
        made = tree / f"archived/{ONE}.mp4"
        with av.open(str(made)) as opened:
            assert opened.streams.video[0].codec_context.name in ("libdav1d", "av1")
            assert len(opened.streams.audio) == 1
            assert opened.metadata["creation_time"].startswith("2026-03-01T08:15:00")
        assert frames(made) == 20
        assert made.stat().st_mtime == START
        assert made.stat().st_mode & 0o777 == source.st_mode & 0o666
        assert (tree / f".deleted/input/{ONE}.mp4").stat().st_mtime_ns == source.st_mtime_ns
        line = next(
            each for each in journal(tree) if each["event"] == "archived" and each["camera"] == "front"
        )
        assert line["source_blake2b"] == digest
        assert line["archive_blake2b"] == hashlib.blake2b(made.read_bytes()).hexdigest()
        assert not (tree / "2026").exists()

    def test_a_second_run_does_nothing_silently(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        before = snapshot(tree / "archived" / "2026")
        again = archive(tree)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        assert snapshot(tree / "archived" / "2026") == before
        assert document(tree)["status"] == "nothing"

    def test_a_dry_run_shows_the_steps_of_the_real_one_and_changes_nothing(
        self, put: Put, tree: Path
    ) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_back_20260301081500.mp4", SOUND)
        put(f"{DAY}/holiday.mp4")
        before = snapshot(tree)
        plan = document(tree, "--dry-run")
        assert snapshot(tree) == before
        assert set(plan) == {
            *("format", "command", "run", "status", "exit_code", "dry_run"),
            *("steps", "outcomes", "totals", "errors", "notes", "left_alone", "unread_folders", "forecast"),
        }
        assert plan["outcomes"] == []
        real = document(tree)
        assert real["steps"] == plan["steps"]
        assert {each["result"] for each in real["outcomes"]} == {"done"}

    def test_a_dry_run_works_where_nothing_can_be_written(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        mounted = ["mount", "--bind", str(tree), str(tree)]
        if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
            pytest.skip("only root may mount")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(tree)], check=True)
            assert reasons(tree) == {"REO_front_20260301081500.mp4": "not-archived"}
            refused = archive(tree)
            assert (refused.returncode, "--keep-source" in refused.stderr) == (ExitCode.STORAGE, True)
            kept = archive(tree, "--keep-source", "-o", tree.parent / "elsewhere")
            assert kept.returncode == 0, kept.stderr
            assert frames(tree.parent / f"elsewhere/{ONE}.mp4") == 20
            again = archive(tree, "--keep-source", "-o", tree.parent / "elsewhere")
            assert "archived " not in again.stdout
        finally:
            subprocess.run(["umount", str(tree)], check=True)

    def test_a_name_used_twice_gives_two_archives(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        put(f"{ONE}.mp4", SOUND, mtime=START + 3600)
        assert archive(tree).returncode == 0
        assert sorted(path.name for path in (tree / "archived" / DAY).iterdir()) == [
            "REO_front_20260301081500.mp4",
            "REO_front_20260301081500~2.mp4",
        ]
        assert len(list((tree / ".deleted" / "input" / DAY).iterdir())) == 2

    def test_the_hour_that_repeats_is_two_clips(self, put: Put, tree: Path) -> None:
        zone = ZoneInfo("Europe/Berlin")
        first = datetime(2025, 10, 26, 2, 30, tzinfo=zone)
        second = first.replace(fold=1)
        put("2025/10/26/REO_front_20251026023000.mp4", mtime=first.timestamp() + 5)
        put("flat/REO_front_20251026023000.mp4", SOUND, mtime=second.timestamp() + 5)
        assert archive(tree, "--timezone", "Europe/Berlin").returncode == 0
        starts = {each["start"] for each in journal(tree) if each["event"] == "archived"}
        assert starts == {"2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00"}

    @pytest.mark.parametrize(
        ("policy", "place"), [("archive", "archived/"), ("trash", ".deleted/input/"), ("keep", "")]
    )
    def test_the_picture_goes_where_it_is_told(self, put: Put, tree: Path, policy: str, place: str) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        put(f"{DAY}/REO_back_20260301081500.jpg", b"another camera's")
        assert archive(tree, "--sidecar", policy).returncode == 0
        assert (tree / f"{place}{ONE}.jpg").read_bytes() == b"picture"
        assert (tree / f"{DAY}/REO_back_20260301081500.jpg").exists()

    @pytest.mark.parametrize(
        ("name", "words", "codec"),
        [
            ("a.mkv", SOUND + " -c:a pcm_alaw", "aac"),
            ("b.mp4", SOUND + " -vf \"select='not(mod(n,3))'\" -fps_mode vfr", "aac"),
            ("c.ts", SOUND + " -c:a aac", "aac"),
            ("d.avi", H264, None),
            ("e.MOV", SOUND, "aac"),
            ("f.mp4", H264 + " -frames:v 1", None),
        ],
    )
    def test_kinds_of_clips(self, put: Put, tree: Path, name: str, words: str, codec: str | None) -> None:
        stem, suffix = name.split(".")
        source = put(f"{DAY}/REO_{stem}_20260301081500.{suffix}", words)
        count = frames(source)
        done = document(tree, "--min-saving", "0")
        assert done["exit_code"] == 0, done["outcomes"]
        made = next(path for path in (tree / "archived" / DAY).iterdir())
        with av.open(str(made)) as opened:
            sounds = [stream.codec_context.name for stream in opened.streams.audio]
        assert sounds == ([codec] if codec else [])
        assert frames(made) == count

    def test_delete_needs_consent_and_a_day(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        before = snapshot(tree)
        assert archive(tree, "--delete").returncode == ExitCode.USAGE
        assert archive(tree, "--delete", "-y", "--age", "0").returncode == ExitCode.USAGE
        assert archive(tree, "--delete", "--keep-source", "-y").returncode == ExitCode.USAGE
        assert snapshot(tree) == before
        done = document(tree, "--delete", "-y")
        assert done["outcomes"][0]["freed"] == before[f"{ONE}.mp4"][0]
        assert not source.exists()
        assert not (tree / ".deleted").exists()
        assert journal(tree)[-1]["event"] == "deleted"

    def test_keep_source_archives_once(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        assert archive(tree, "--keep-source").returncode == 0
        assert source.exists()
        assert frames(tree / f"archived/{ONE}.mp4") == 20
        assert [each["event"] for each in journal(tree)] == ["archived", "kept"]
        assert reasons(tree, "--keep-source") == {source.name: "kept-source"}
        done = document(tree)
        assert [step["reason"] for step in done["steps"]] == ["already-archived"]
        assert "encoder" not in done["outcomes"][0]
        assert not source.exists()

    def test_a_repeat_replaces_the_archive_and_keeps_the_old_one(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert archive(tree, "--keep-source", "--quality", "55").returncode == 0
        old = (tree / f"archived/{ONE}.mp4").read_bytes()
        again = document(tree, "--no-skip", "--quality", "20")
        assert [step["reason"] for step in again["steps"]] == ["repeat-asked"]
        assert (tree / f"archived/{ONE}.mp4").read_bytes() != old
        assert (tree / f".deleted/output/{ONE}.mp4").read_bytes() == old

    def test_selection_and_limit(self, put: Put, tree: Path) -> None:
        names = ["REO_a_20260301080000.mp4", "REO_b_20260301090000.mp4", "REO_a_20260302080000.mp4"]
        for name in names:
            put(f"flat/{name}")
        only = {"not-archived"}

        def taken(*options: str) -> list[str]:
            return sorted(name for name, why in reasons(tree, *options).items() if why in only)

        assert taken("--camera", "b") == [names[1]]
        assert taken("--since", "2026-03-02") == [names[2]]
        assert taken("--until", "2026-03-01") == sorted(names[:2])
        assert taken("--exclude", "*REO_a*") == [names[1]]
        assert taken("--min-size", "5GB") == []
        plan = document(tree, "--dry-run", "--limit", "2")
        assert len([step for step in plan["steps"] if step["action"] == "archive"]) == 2
        assert [t["clips"] for t in plan["totals"] if t["reason"] == "over-limit"] == [1]

    def test_encoding_that_saves_nothing_becomes_a_lossless_copy_for_good(
        self, put: Put, tree: Path, make_clip: Make
    ) -> None:
        source = put(f"{ONE}.mp4", H264.replace("-b:v 2M", "-crf 51"))
        size = source.stat().st_size
        done = document(tree, "--keep-source", "--quality", "1")
        assert done["outcomes"][0]["encoder"] in ("remux", "copy"), done["outcomes"]
        assert (tree / f"archived/{ONE}.mp4").stat().st_size <= size
        assert reasons(tree, "--no-skip", "--keep-source") == {source.name: "not-smaller"}

    def test_a_failure_is_remembered_and_a_changed_file_starts_afresh(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4", b"not a video at all")
        first = archive(tree)
        assert (first.returncode, "damaged" in first.stdout) == (ExitCode.PARTIAL, True)
        second = archive(tree)
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
        assert reasons(tree) == {source.name: "failed-before"}
        assert archive(tree, "--retry-failed").returncode == ExitCode.PARTIAL
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0


class TestBadInput:
    """What no archiver may take for a clip, or for archived."""

    @pytest.mark.parametrize("suffix", ["mp4", "faststart.mp4", "fragmented.mp4", "mkv", "ts", "avi"])
    def test_half_a_file_stays(self, put: Put, tree: Path, suffix: str) -> None:
        flags = {"faststart": "-movflags +faststart", "fragmented": "-movflags frag_keyframe+empty_moov"}
        kind, _, ending = suffix.rpartition(".")
        words = f"{H264.replace('d=2', 'd=4')} -g 10 {flags.get(kind, '')}"
        path = put(f"{DAY}/REO_x_20260301081500.{ending}", words)
        content = path.read_bytes()[: path.stat().st_size // 2]
        put(f"{DAY}/REO_x_20260301081500.{ending}", content)
        done = archive(tree)
        assert done.returncode == ExitCode.PARTIAL, done.stdout
        assert path.read_bytes() == content
        assert not list((tree / "archived").rglob("*.mp4"))

    def test_what_is_no_clip_is_neither_read_nor_removed(
        self, put: Put, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside = put(f"{ONE}.mp4")
        outside = tree.parent / "REO_secret_20260301081500.mp4"
        shutil.copy2(inside, outside)
        folder = tree / DAY
        os.mkfifo(folder / "REO_fifo_20260301081500.mp4")
        server = socket.socket(socket.AF_UNIX)
        monkeypatch.chdir(folder)
        server.bind("REO_sock_20260301081500.mp4")
        (folder / "REO_out_20260301081500.mp4").symlink_to(outside)
        (folder / "REO_in_20260301081500.mp4").symlink_to(inside)
        (folder / "REO_loop_20260301081500.mp4").symlink_to("REO_loop_20260301081500.mp4")
        (folder / "up").symlink_to("..")
        (folder / "REO_dir_20260301081500.mp4").mkdir()
        for passing in (".hidden_20260301081500.mp4", "REO_x_20260301081500.mp4.part"):
            (folder / passing).write_bytes(b"x")
        found = reasons(tree)
        assert found.pop("REO_front_20260301081500.mp4") == "not-archived"
        assert set(found.values()) == {"not-a-clip"}
        assert len(found) == 6
        assert archive(tree).returncode == 0
        server.close()
        assert frames(outside) == 20
        assert (folder / "REO_out_20260301081500.mp4").is_symlink()

    def test_a_part_of_a_tree_is_no_tree(self, put: Put, tree: Path, told: Command) -> None:
        """Its archive and its holds would not count, and a second archive would lie among the sources."""
        put(f"{ONE}.mp4")
        put("2026/03/02/REO_front_20260302081500.mp4")
        assert archive(tree, "--until", "2026-03-01").returncode == 0
        before = whole(tree)
        for part, said in (
            ("2026", f"a part of the camera tree {tree}"),
            (".deleted", f"a part of the camera tree {tree}"),
            ("archived", "is an archive"),
            ("archived/2026", f"a part of the camera tree {tree}"),
        ):
            times = ("--from", "2026-03-01", "--to", "2026-03-02")
            for words in (
                ("archive", tree / part),
                ("cleanup", tree / part, "-y"),
                ("status", tree / part),
                ("hold", "add", "-C", tree / part, *times, "--reason", "theft"),
                ("config", "accept-volume", tree / part),
            ):
                refused = told(*words)
                assert (refused.returncode, said in refused.stderr) == (ExitCode.USAGE, True), (
                    words,
                    refused.stderr,
                )
        assert whole(tree) == before
        said = told("doctor", tree / "2026")
        assert (said.returncode, "a part of the camera tree" in said.stdout) == (ExitCode.FAILED, True)
        shutil.rmtree(tree / STATE_FOLDER)
        assert told("status", tree / "2026").returncode == 0

    def test_a_link_that_leads_nowhere_ends_no_command(self, put: Put, tree: Path, told: Command) -> None:
        """The kernel refuses to look for a name of this length, as for a folder that may not be entered."""
        put(f"{ONE}.mp4")
        (tree / "elsewhere").symlink_to("x" * 300)
        (tree / "missing").symlink_to("nowhere")
        assert reasons(tree) == {"elsewhere": "not-a-clip", "REO_front_20260301081500.mp4": "not-archived"}
        assert archive(tree).returncode == 0
        for words in (("cleanup", tree, "--dry-run"), ("status", tree), ("find", tree)):
            assert told(*words).returncode == 0, words
        shown = told("archive", tree, "--dry-run").stdout
        assert "no regular file, such as a symbolic link (not-a-clip), 0 B; links are not followed" in shown

    def test_two_names_of_one_file_are_archived_once(self, put: Put, tree: Path) -> None:
        first = put(f"{ONE}.mp4")
        second = tree / f"{DAY}/REO_front_20260301081501.mp4"
        os.link(first, second)
        assert reasons(tree) == {first.name: "not-archived", second.name: "same-file"}
        done = document(tree)
        assert {each["result"] for each in done["outcomes"]} == {"done"}
        assert sum("encoder" in each for each in done["outcomes"]) == 1
        assert len(list((tree / "archived" / DAY).iterdir())) == 1
        assert not first.exists()
        assert not second.exists()

    @pytest.mark.parametrize("standing", ["foreign", "another clip", "cut", "without a journal"])
    def test_what_stands_at_the_target(self, put: Put, tree: Path, make_clip: Make, standing: str) -> None:
        source = put(f"{ONE}.mp4")
        target = tree / f"archived/{ONE}.mp4"
        if standing in ("cut", "without a journal"):
            assert archive(tree, "--keep-source").returncode == 0
        else:
            target.parent.mkdir(parents=True)
            target.write_bytes(b"foreign" if standing == "foreign" else make_clip(SOUND).read_bytes())
        if standing == "cut":
            os.truncate(target, target.stat().st_size // 2)
        if standing == "without a journal":
            shutil.rmtree(tree / "archived" / STATE_FOLDER / "journal")
        before = target.read_bytes()
        done = document(tree)
        assert done["exit_code"] == 0, done
        assert not source.exists()
        if standing in ("foreign", "another clip"):
            assert target.read_bytes() == before
            assert frames(target.with_name("REO_front_20260301081500~2.mp4")) == 20
        elif standing == "cut":
            assert (tree / f".deleted/output/{ONE}.mp4").read_bytes() == before
            assert frames(target) == 20
        else:
            assert target.read_bytes() == before
            assert journal(tree)[0]["event"] == "adopted"

    def test_an_archive_on_another_filesystem(self, put: Put, tree: Path, other_disk: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        roots = ("-o", other_disk / "archive", "--trash-root", other_disk / "trash")
        done = document(tree, *roots)
        assert done["exit_code"] == 0, done
        assert frames(other_disk / f"archive/{ONE}.mp4") == 20
        assert (other_disk / f"archive/{ONE}.jpg").read_bytes() == b"picture"
        assert frames(other_disk / f"trash/input/{ONE}.mp4") == 20
        assert done["outcomes"][0]["freed"] > 0

    def test_a_folder_that_may_not_be_read_is_told(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        folder = tree / "2026/02/01"
        folder.mkdir(parents=True)
        folder.chmod(0)
        command = [sys.executable, "-m", "camarchiver", "archive", str(tree), "--dry-run", "--json"]
        for path in (tree, *tree.rglob("*")):
            if path != folder:
                path.chmod(0o755)
        try:
            (folder / "x").stat()
        except PermissionError:
            prefix: list[str] = []
        except FileNotFoundError:
            prefix = ["setpriv", "--reuid", "65534", "--clear-groups"]
        for parent in list(tree.parents)[:-2]:
            parent.chmod(parent.stat().st_mode | 0o755)
        home = {**os.environ, "HOME": "/nonexistent"}
        done = subprocess.run(
            [*prefix, *command], capture_output=True, text=True, timeout=60, cwd="/", env=home
        )
        if not done.stdout:
            pytest.skip(f"another user can't run this Python: {done.stderr[-200:]}")
        plan = json.loads(done.stdout)
        assert [step["reason"] for step in plan["steps"]] == ["not-archived", "unreadable"]
        assert plan["exit_code"] == ExitCode.PARTIAL

    def test_roots_that_cannot_be_meant(self, put: Put, tree: Path, tmp_path: Path) -> None:
        file = put(f"{ONE}.mp4")
        assert archive(tmp_path / "missing").returncode == ExitCode.STORAGE
        assert archive(file).returncode == ExitCode.STORAGE
        assert archive(tree, "-o", tmp_path).returncode == ExitCode.USAGE
        assert archive(tree, "-o", tree).returncode == ExitCode.USAGE
        failed = archive(tmp_path / "missing", "--json")
        document = json.loads(failed.stdout)
        assert (document["exit_code"], document["status"]) == (ExitCode.STORAGE, "failed")
        assert document["errors"][0]["hint"]
        usage = archive(tree, "--age", "5 bananas", "--json")
        assert json.loads(usage.stdout)["exit_code"] == usage.returncode == ExitCode.USAGE


class TestEveryReason:
    def test_each_comes_from_real_files(self, put: Put, tree: Path) -> None:
        """Those that no other test here produces; `COVERED` names the tests of the others."""
        now = time.time()
        put("flat/REO_x_20990101000000.mp4")
        put("flat/REO_l_20260301081500.mp4", mtime=13_569_465_600)
        put("flat/holiday.mp4")
        yesterday = dates.recently(hours=24)
        put(f"flat/REO_y_{dates.stamp_of(yesterday)}.mp4", mtime=yesterday.timestamp())
        put("flat/REO_z_20260301081500.mp4", mtime=now)
        put("flat/REO_w_20260301081500.mp4", mtime=now - 7200)
        put("flat/REO_b_20260301081500.mp4")
        put("flat/REO_f_20260301081500.mp4")
        writer = (tree / "flat/REO_w_20260301081500.mp4").open("ab")
        code = (
            "import sys, pathlib; from camarchiver.storage.locking import clip_lock\n"
            "with clip_lock(pathlib.Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()"
        )
        held = subprocess.Popen(
            [sys.executable, "-c", code, str(tree / "flat/REO_b_20260301081500.mp4")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert held.stdout is not None
        assert held.stdout.readline() == b"locked\n"
        found = reasons(tree, "--exclude", "*REO_f*")
        writer.close()
        held.communicate()
        assert found == {
            "REO_x_20990101000000.mp4": "clock-doubtful",
            "REO_l_20260301081500.mp4": "clock-doubtful",  # of the year 2400, which no line can hold
            "holiday.mp4": "no-timestamp",
            next(name for name in found if name.startswith("REO_y")): "too-recent",
            "REO_z_20260301081500.mp4": "not-settled",
            "REO_w_20260301081500.mp4": "being-written",
            "REO_b_20260301081500.mp4": "busy",
            "REO_f_20260301081500.mp4": "filtered",
        }

    def test_a_maker_whose_names_say_no_time_is_named(self, put: Put, tree: Path) -> None:
        put("datadir0/hiv00012.mp4")
        (step,) = document(tree, "--dry-run")["steps"]
        assert (step["reason"], "Hikvision" in step["detail"]) == ("no-timestamp", True)

    def test_an_encoder_that_gives_up_and_a_source_that_changes_meanwhile(
        self, put: Put, tree: Path, tmp_path: Path
    ) -> None:
        """`failed` and `stale`, by an ffmpeg that is real but for the clip itself."""
        source = put(f"{ONE}.mp4")
        real = imageio_ffmpeg.get_ffmpeg_exe()
        script = tmp_path / "ffmpeg"
        for act, result, reason in (
            (f'touch -d @{START + 60} "{source}"', "stale", "stale"),
            ("kill -9 $$", "failed", "failed"),
        ):
            script.write_text(f'#!/bin/sh\ncase "$*" in *.staged*) {act};; esac\nexec {real} "$@"\n')
            script.chmod(0o755)
            done = document(tree, "--ffmpeg", script)
            assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [(result, reason)]
            assert source.exists()
            assert media(tree / "archived") == []

    def test_a_file_without_a_picture(self, put: Put, tree: Path) -> None:
        """`unsupported`: sound alone is no clip, whatever its name says."""
        source = put(f"{ONE}.mp4", "-f lavfi -i sine=d=1")
        assert [each["reason"] for each in document(tree)["outcomes"]] == ["unsupported"]
        assert source.exists()

    def test_none_is_forgotten(self) -> None:
        """Every reason is in an integration or end-to-end test."""
        tests = Path(__file__).parents[1]
        files = sorted((*tests.glob("*/test_e2e.py"), *tests.glob("*/test_integrations.py")))
        text = "".join(file.read_text() for file in files)
        named = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', text))
        attributes = {str(Reason[name]) for name in re.findall(r"Reason\.([A-Z_]+)", text)}
        assert {str(reason) for reason in Reason} - named - attributes == set()


class TestNothingNew:
    """Runs that have nothing to do, or may do nothing."""

    def test_a_second_run_leaves_every_file_and_folder_as_it_was(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4", SOUND)
        put(f"{ONE}.jpg", b"picture")
        put(f"{DAY}/holiday.mp4")
        assert archive(tree).returncode == 0
        assert {path.name for path in tree.iterdir()} == {
            *("2026", "archived", ".deleted", STATE_FOLDER, "archiver.log")
        }
        before = whole(tree)
        again = archive(tree)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        after = whole(tree)
        assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} <= {
            f"archived/{STATE_FOLDER}/locks",
            *(str(path.relative_to(tree)) for path in tree.rglob("*.run")),  # who holds the run lock
        }

    def test_a_dry_run_changes_nothing_after_runs_that_left_state(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        assert archive(tree).returncode == ExitCode.PARTIAL
        put(f"{DAY}/REO_front_20260301091500.mp4", SOUND)
        before = whole(tree.parent)
        for options in ((), ("--json",), ("-v",), ("--retry-failed",), ("--delete",), ("--no-skip",)):
            assert archive(tree, "--dry-run", *options).returncode == 0, options
        assert whole(tree.parent) == before

    def test_plan_and_run_agree_on_a_tree_of_every_sort(self, put: Put, tree: Path) -> None:
        first = put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        put("flat/REO_back_20260302081500.mp4", SOUND)
        put("flat/holiday.mp4")
        put("flat/REO_bad_20260301081500.mp4", b"junk")
        os.link(first, tree / f"{DAY}/REO_front_20260301081501.mp4")
        plan, real = document(tree, "--dry-run"), document(tree)
        assert real["steps"] == plan["steps"]
        assert plan["totals"] == real["totals"]
        assert real["exit_code"] == ExitCode.PARTIAL
        changing = [step["path"] for step in plan["steps"] if step["action"] != "keep"]
        assert sorted(each["path"] for each in real["outcomes"]) == sorted(changing)


class TestNamesUsedAgain:
    """A name says when, not which."""

    def test_the_repeated_hour_under_one_name(self, put: Put, tree: Path) -> None:
        """The camera writes the second hour's clip where the first hour's stood."""
        first = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
        name = "2025/10/26/REO_front_20251026023000"
        for moment, words in ((first, H264), (first.replace(fold=1), SOUND)):
            put(f"{name}.mp4", words, mtime=moment.timestamp() + 5)
            assert archive(tree, "--timezone", "Europe/Berlin").returncode == 0
        made = {each["start"]: each["archive"] for each in journal(tree) if each["event"] == "archived"}
        assert made == {
            "2025-10-26T02:30:00+02:00": f"{name}.mp4",
            "2025-10-26T02:30:00+01:00": f"{name}~2.mp4",
        }
        times = [(tree / "archived" / path).stat().st_mtime for path in made.values()]
        assert times == [first.timestamp(), first.timestamp() + 3600]

    def test_the_longest_name_is_shortened_to_get_a_number(self, put: Put, tree: Path) -> None:
        name = "n" * (255 - 19) + "_20260301081500.mp4"
        assert len(name) == 255
        for words, mtime in ((H264, START), (SOUND, START + 3600)):
            put(f"{DAY}/{name}", words, mtime=mtime)
            done = document(tree)
            assert done["exit_code"] == 0, done
        made = sorted(path.name for path in (tree / "archived" / DAY).iterdir())
        assert {len(each) for each in made} == {255}
        assert {each[-20:] for each in made} == {"n_20260301081500.mp4", "20260301081500~2.mp4"}

    def test_the_same_bytes_again_after_they_were_archived_lose_nothing(self, put: Put, tree: Path) -> None:
        """A camera that uploads twice: same name, size and time."""
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        again = put(f"{ONE}.mp4")
        done = document(tree)
        assert [step["reason"] for step in done["steps"]] == ["already-archived"]
        assert [set(each) & TRANSCODE_KEYS for each in done["outcomes"]] == [set()]
        assert not again.exists()
        assert len(list((tree / ".deleted/input" / DAY).iterdir())) == 2
        assert len(list((tree / "archived" / DAY).iterdir())) == 1


class TestOddNames:
    """Names that a shell, ffmpeg or a decoder might take for something else."""

    @pytest.mark.parametrize(
        "name",
        [
            b"-y_REO_x_20260301081500.mp4",
            b"concat:REO_x_20260301081500.mp4",
            b"pipe:1_20260301081500.mp4",
            b"REO_%03d_20260301081500.mp4",
            b"-y REO_x_20260301081500.mp4",
            b"REO_%d $(touch x) 'q'_20260301081500.mp4",
            b"REO_caf\xe9_20260301081500.mp4",
            b"REO_new\nline_20260301081500.mp4",
            b"REO_\x1b[31m_20260301081500.mp4",
            b"n" * (255 - 19) + b"_20260301081500.MP4",
        ],
    )
    def test_each_is_archived_under_its_very_name(self, put: Put, tree: Path, name: bytes) -> None:
        source = put(DAY.encode() + b"/" + name)
        content = source.read_bytes()
        done = document(tree)
        (step,) = done["steps"]
        assert (step["reason"], done["exit_code"]) == ("not-archived", 0), done
        (outcome,) = done["outcomes"]
        raw = outcome.get("target_bytes")
        target = base64.b64decode(raw) if raw else outcome["target"].encode()
        assert target == os.fsencode(tree / "archived" / DAY) + b"/" + name[:-4] + b".mp4"
        made = [os.fsencode(path.name) for path in (tree / "archived" / DAY).iterdir()]
        assert made == [name[:-4] + b".mp4"]
        (trashed,) = (tree / ".deleted/input" / DAY).iterdir()
        assert os.fsencode(trashed.name) == name
        assert trashed.read_bytes() == content
        if b"\xe9" in name:
            assert base64.b64decode(step["path_bytes"]).endswith(name)
        else:
            assert "path_bytes" not in step

    def test_a_line_of_output_stays_one_line_and_sends_no_escapes(self, put: Put, tree: Path) -> None:
        put(DAY.encode() + b"/REO_new\nline_20260301081500.mp4")
        put(DAY.encode() + b"/REO_\x1b[31m_20260301081500.mp4")
        done = archive(tree)
        assert done.returncode == 0
        assert sum(": archived " in line for line in done.stdout.splitlines()) == 2
        assert "\x1b" not in done.stdout + done.stderr
        assert "\x1b" not in (tree / "archiver.log").read_text()

    def test_links_across_folders_are_one_clip(self, put: Put, tree: Path) -> None:
        first = put("a/REO_front_20260301081500.mp4")
        (tree / "b").mkdir()
        os.link(first, tree / "b/REO_front_20260301081500.mp4")
        done = document(tree, "--delete", "-y")
        assert done["exit_code"] == 0, done
        assert sum("encoder" in each for each in done["outcomes"]) == 1
        freed = [each["freed"] for each in done["outcomes"]]
        assert sorted(freed)[0] == 0 < sorted(freed)[1], "bytes count with the last name"
        assert len(list((tree / "archived").rglob("*.mp4"))) == 1

    def test_a_root_that_is_a_link_is_followed(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        (tmp_path / "link").symlink_to(tree)
        assert archive(tmp_path / "link").returncode == 0
        assert frames(tree / f"archived/{ONE}.mp4") == 20


class TestNoClip:
    @pytest.mark.parametrize(
        "content", [b"", b"\0", b"\0" * 100_000, b"\xff\xd8\xff\xe0" * 500, b"#!/bin/sh\n"]
    )
    def test_empty_and_junk_files_stay(self, put: Put, tree: Path, content: bytes) -> None:
        source = put(f"{ONE}.mp4", content)
        done = document(tree)
        assert (done["exit_code"], done["outcomes"][0]["reason"]) == (ExitCode.PARTIAL, "damaged"), done
        assert source.read_bytes() == content
        assert media(tree / "archived") == []

    def test_a_bad_clip_stops_none_of_the_others(self, put: Put, tree: Path) -> None:
        put(f"{DAY}/REO_a_20260301081500.mp4", b"junk")
        put(f"{DAY}/REO_b_20260301081500.mp4")
        put(f"{DAY}/REO_c_20260301081500.mp4", b"")
        done = document(tree)
        results = {Path(each["path"]).name[4]: each["result"] for each in done["outcomes"]}
        assert results == {"a": "failed", "b": "done", "c": "failed"}
        assert (done["exit_code"], done["status"]) == (ExitCode.PARTIAL, "partial")


class TestNotSmaller:
    def test_a_tiny_clip_gets_an_archive_that_is_no_bigger_once(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4", "-f lavfi -i color=black:s=160x120:r=10 -frames:v 1 -c:v libx264")
        size, content = source.stat().st_size, source.read_bytes()
        done = document(tree, "--min-saving", "90")
        assert done["exit_code"] == 0, done
        made = tree / f"archived/{ONE}.mp4"
        assert made.stat().st_size <= size
        assert frames(made) == 1
        assert (tree / f".deleted/input/{ONE}.mp4").read_bytes() == content
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert line["archive_size"] == made.stat().st_size
        put(f"{ONE}.mp4", content)
        assert reasons(tree, "--no-skip") == {source.name: "not-smaller"}
        assert archive(tree, "--no-skip").stdout == ""

    def test_noise_is_never_made_bigger(self, put: Put, tree: Path) -> None:
        noise = "-f lavfi -i nullsrc=s=160x120:r=10:d=1,geq=random(1)*255:128:128 -c:v libx264 -crf 45"
        source = put(f"{ONE}.mp4", noise)
        size = source.stat().st_size
        done = document(tree, "--quality", "1")
        assert done["exit_code"] == 0, done
        assert (tree / f"archived/{ONE}.mp4").stat().st_size <= size
        assert frames(tree / f"archived/{ONE}.mp4") == 10


class TestStandsAtTheTarget:
    def test_a_damaged_archive_without_a_journal_is_not_adopted(self, put: Put, tree: Path) -> None:
        """Its tag names this source, its frames don't decode: that proves nothing."""
        source = put(f"{ONE}.mp4", H264.replace("d=2", "d=4"))
        assert archive(tree, "--keep-source", "--codec", "h264").returncode == 0
        target = tree / f"archived/{ONE}.mp4"
        content = bytearray(target.read_bytes())
        place = content.index(b"mdat") + 200
        content[place : place + 3000] = os.urandom(3000)
        target.write_bytes(content)
        shutil.rmtree(state_of(tree) / "journal")
        done = document(tree, "--codec", "h264")
        assert done["exit_code"] == 0, done
        assert not source.exists()
        assert [each["event"] for each in journal(tree) if each["event"] == "adopted"] == []
        assert (tree / f".deleted/output/{ONE}.mp4").read_bytes() == content
        assert frames(target) == 40

    @pytest.mark.parametrize("kind", ["link out", "dangling link", "folder"])
    def test_no_file_at_all(self, put: Put, tree: Path, tmp_path: Path, kind: str) -> None:
        source = put(f"{ONE}.mp4")
        target = tree / f"archived/{ONE}.mp4"
        target.parent.mkdir(parents=True)
        other = tmp_path / "other.mp4"
        if kind == "folder":
            target.mkdir()
        else:
            other.write_bytes(b"other") if kind == "link out" else None
            target.symlink_to(other)
        before = target.lstat()
        done = document(tree)
        assert done["exit_code"] == 0, done
        assert target.lstat() == before
        assert other.exists() == (kind == "link out")
        assert frames(target.with_name("REO_front_20260301081500~2.mp4")) == 20
        assert not source.exists()

    def test_an_archive_of_another_size_is_decoded_whole_before_it_counts(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        assert archive(tree, "--keep-source").returncode == 0
        target = tree / f"archived/{ONE}.mp4"
        target.write_bytes(target.read_bytes() + b"more")
        assert list(reasons(tree).values()) == ["not-archived"]
        assert document(tree)["exit_code"] == 0
        assert frames(target) == 20
        assert [each["event"] for each in journal(tree)][-2:] == ["adopted", "trashed"]


class TestHostileHands:
    """Links and lines that somebody else put into our trees."""

    @pytest.mark.parametrize("depth", [1, 3])
    def test_a_link_on_the_way_into_the_archive_gets_nothing(self, put: Put, tree: Path, depth: int) -> None:
        source = put(f"{ONE}.mp4")
        outside = tree.parent / "outside"
        outside.mkdir()
        link = tree / "archived" / Path(*Path(DAY).parts[:depth])
        link.parent.mkdir(parents=True)
        link.symlink_to(outside)
        done = archive(tree)
        assert (
            done.returncode == ExitCode.FAILED
            and "a link or a file is in the way" in done.stdout + done.stderr
        )
        assert source.exists() and list(outside.iterdir()) == []

    @pytest.mark.parametrize("folder", ["", "journal", "claims", "runs", "locks"])
    def test_a_link_in_the_state_is_refused(self, put: Put, tree: Path, folder: str) -> None:
        source = put(f"{ONE}.mp4")
        outside = tree.parent / "outside"
        outside.mkdir()
        link = tree / "archived/.camarchiver" / folder
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(outside)
        done = archive(tree)
        assert (done.returncode, source.exists()) == (ExitCode.STORAGE, True), done.stderr
        assert "is a symbolic link" in done.stderr and list(outside.iterdir()) == []

    def test_a_log_that_is_a_link_is_not_written(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        precious = tree.parent / "precious"
        precious.write_text("precious")
        (tree / "archiver.log").symlink_to(precious)
        done = archive(tree)
        assert done.returncode == 0 and "no log is written" in done.stderr
        assert precious.read_text() == "precious"

    def test_lines_that_lead_out_of_the_trees_are_not_believed(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        source = put(f"{ONE}.mp4")
        archive(tree)
        (file,) = (tree / "archived/.camarchiver/journal").rglob("*.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        precious = tree.parent / "precious.mp4"
        shutil.copy2(tree / ".deleted/input" / source.relative_to(tree), precious)
        bad = [{**line, key: "../precious.mp4"} for line in lines for key in ("source", "archive", "trash")]
        bad += [{**line, "source": 5, "sidecars": {"../x.jpg": "/etc/passwd"}} for line in lines]
        with file.open("a") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in bad) + "[" * 5000 + "\n")
        put_recent(put)
        run = ("--max-size", "1", "--allow-large", "--delete", "-y", "--clean-output")
        assert told("cleanup", tree, *run).returncode in (ExitCode.DONE, ExitCode.PARTIAL)
        assert told("restore", "-C", tree, "--since", "1970-01-01", "-y").returncode in (
            ExitCode.DONE,
            ExitCode.FAILED,
            ExitCode.PARTIAL,
        )
        assert told("status", tree).returncode == 0
        assert precious.exists()

    def test_durations_without_end_stop_no_command_while_a_hold_stands(
        self, put: Put, tree: Path, told: Command
    ) -> None:
        """In a name, in a header, in a journal line; each decides whether a hold covers the clip."""
        put(f"{ONE}.mp4")
        archive(tree)
        (file,) = (tree / "archived/.camarchiver/journal").rglob("*.jsonl")
        line = json.loads(file.read_text().splitlines()[0])
        with file.open("a") as stream:
            stream.write(json.dumps({**line, "duration": float("inf")}) + "\n")
            stream.write(json.dumps({**line, "duration": 9e99}) + "\n")
        put_recent(put)
        put("motion_20260301_080000_999999999999.0s.mp4")
        long = put(f"{DAY}/REO_back_20260301081000.mp4")
        content = long.read_bytes()
        for box in (b"mvhd", b"mdhd"):  # both with 32 bits for time scale and duration
            at = content.index(box) + 16
            content = content[:at] + b"\0\0\0\1" + b"\xff\xff\xff\xfe" + content[at + 8 :]
        put(f"{DAY}/REO_side_20260301081000.mp4", content)
        span = ("--from", "2026-03-01 08:20", "--to", "2026-03-01 08:30", "--timezone", "UTC")
        for words in (
            ("hold", "add", "-C", tree, *span, "--reason", "test"),
            ("archive", tree, "--dry-run"),
            ("archive", tree, "-y"),
            ("cleanup", tree, "--dry-run", "--clean-output", "--allow-large"),
            ("status", tree),
            ("verify", tree),
            ("hold", "list", "-C", tree),
        ):
            ran = told(*words)
            assert (
                ran.returncode in (ExitCode.DONE, ExitCode.PARTIAL, ExitCode.STORAGE)
                and "Traceback" not in ran.stderr
            ), ran.stderr

    def test_folders_nested_deeper_than_python_can_call_hide_no_clip(
        self, nest: Callable[[Path], Path], put: Put, tree: Path, told: Command
    ) -> None:
        top, bottom = put(f"{ONE}.mp4"), nest(tree) / "REO_back_20260301081500.mp4"
        shutil.copy2(top, bottom)
        done = document(tree)
        assert (done["exit_code"], len(done["outcomes"])) == (0, 2), done
        assert not top.exists() and not bottom.exists()
        assert all(Path(each["target"]).exists() for each in done["outcomes"])
        stranger = nest(tree / "archived" / "deep") / "REO_side_20260301081500.mp4"
        stranger.write_bytes(b"nobody knows it")
        put_recent(put)
        for words in (("cleanup", tree, "--dry-run"), ("verify", tree), ("doctor", tree), ("status", tree)):
            ran = told(*words, "--json")
            assert ran.returncode in (ExitCode.DONE, ExitCode.FAILED, ExitCode.PARTIAL) and json.loads(
                ran.stdout
            ), ran.stderr
            assert words[0] not in ("cleanup", "verify") or stranger.name in ran.stdout

    @pytest.fixture
    def nest(self, put: Put, tree: Path) -> Iterator[Callable[[Path], Path]]:
        """Make 1,100 folders, each inside the other; pytest could not remove them itself."""

        def nest(root: Path) -> Path:
            levels = 1100
            root.mkdir(exist_ok=True)
            here = os.open(root, os.O_RDONLY)
            for _ in range(levels):
                os.mkdir("d", dir_fd=here)
                below = os.open("d", os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            os.close(here)
            return root / "/".join(["d"] * levels)

        yield nest
        subprocess.run(["rm", "-rf", str(tree)], check=True)


class TestHeldByHand:
    """`holds.json` as an administrator may write it."""

    @pytest.mark.parametrize(
        ("fields", "held"),
        [
            ({}, True),
            ({"camera": "front"}, True),
            ({"camera": "back"}, False),
            ({"until": "2026-03-05T00:00:00+00:00"}, False),
            ({"until": "2126-03-05T00:00:00+00:00"}, True),
            ({"from": "2026-03-01T09:30:00+00:00"}, False),
            ({"from": "2026-03-01T09:00:00+01:00", "to": "2026-03-01T09:20:00+01:00"}, True),
            ({"reason": "half a character: \ud800"}, True),
            ({"from": "0001-01-01T00:00:00+14:00", "to": "9999-12-31T23:59:59-10:00"}, True),
        ],
    )
    def test_range_camera_and_lapse(
        self, put: Put, tree: Path, told: Command, fields: dict[str, str], held: bool
    ) -> None:
        source = put(f"{ONE}.mp4")
        hold = {"id": "h1", "from": "2026-03-01T00:00:00+00:00", "to": "2026-03-01T23:59:59+00:00", **fields}
        state_of(tree).mkdir(parents=True)
        (state_of(tree) / "holds.json").write_text(json.dumps({"holds": [hold]}))
        assert reasons(tree) == {source.name: "held" if held else "not-archived"}
        assert told("hold", "list", "-C", tree).returncode == 0
        assert told("why", "-C", tree, source).returncode == 0

    @pytest.mark.parametrize(
        "fields",
        [{"id": []}, {"id": "\ud800"}, {"reason": 5}, {"until": "2126-03-05T00:00:00"}, {"to": "tomorrow"}],
    )
    def test_a_hold_that_makes_no_sense_lets_nothing_go(
        self, put: Put, tree: Path, told: Command, fields: dict[str, object]
    ) -> None:
        source = put(f"{ONE}.mp4")
        hold = {"id": "h1", "from": "2026-03-01T00:00:00+00:00", "to": "2026-03-02T00:00:00+00:00", **fields}
        state_of(tree).mkdir(parents=True)
        (state_of(tree) / "holds.json").write_text(json.dumps({"holds": [hold]}))
        for words in (("archive", tree), ("cleanup", tree, "-y"), ("hold", "list", "-C", tree)):
            ran = told(*words)
            assert (ran.returncode, source.exists()) == (ExitCode.STORAGE, True), ran
            assert "it is not known what is held" in ran.stderr
        assert told("hold", "list", "-C", tree, "--repair").returncode == 0

    def test_no_option_goes_round_a_hold(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        assert archive(tree, "--keep-source").returncode == 0
        hold = {"id": "h1", "from": "2026-03-01T00:00:00+00:00", "to": "2026-03-02T00:00:00+00:00"}
        (state_of(tree) / "holds.json").write_text(json.dumps({"holds": [hold]}))
        before = whole(tree / "2026"), whole(tree / "archived/2026")
        for options in ((), ("--delete", "-y"), ("--no-skip",), ("--retry-failed", "--age", "0")):
            done = archive(tree, *options)
            assert (done.returncode, done.stdout) == (0, ""), options
        assert (whole(tree / "2026"), whole(tree / "archived/2026")) == before
        assert source.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set owners, mounts and attributes")
class TestRemovalThatFails:
    """Where an original can't go, nothing of it stays in the trash on another disk, however often it runs."""

    ORDINARY = ("setpriv", "--bounding-set=-fowner,-chown", "--inh-caps=-fowner,-chown")
    """As any user who owns neither the file nor its folder."""

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [*self.ORDINARY, sys.executable, "-m", "camarchiver", *map(str, words)]
        env = {**os.environ, "TZ": "UTC"}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)

    def given_to_others(self, folder: Path) -> None:
        """An upload folder where everybody may put files and only remove their own."""
        for path in (folder, *folder.iterdir()):
            os.chown(path, 1000, 1000)
        folder.chmod(0o1777)

    def test_archive_in_a_folder_with_the_sticky_bit(self, camera_tree: Path, other_disk: Path) -> None:
        folder = camera_tree / "2026/03/01"
        self.given_to_others(folder)
        options = ("archive", camera_tree, "--trash-root", other_disk)
        first = self.run(*options)
        assert first.returncode == ExitCode.PARTIAL, first.stderr
        assert f"{NAME}.mp4 can't be removed: {folder} has the sticky bit" in first.stdout + first.stderr
        assert f"chmod -t {folder}, or run as user {user_name(1000)}" in first.stdout + first.stderr
        second = self.run(*options)
        assert second.returncode == 0, second.stderr
        plan = json.loads(self.run(*options, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in plan["steps"]] == ["failed-before"]
        third = self.run(*options, "--retry-failed")
        assert (third.returncode, "sticky bit" in third.stdout + third.stderr) == (ExitCode.FAILED, True)
        assert clips_of(other_disk) == [] and (folder / f"{NAME}.jpg").exists()
        story = self.run("why", "-C", camera_tree, folder / f"{NAME}.mp4").stdout
        assert "source left alone after all: kept-source" in story
        folder.chmod(0o777)
        assert self.run(*options, "--retry-failed").returncode == 0
        assert clips_of(other_disk) == [f"input/2026/03/01/{NAME}.mp4"]

    def test_cleanup_in_a_folder_with_the_sticky_bit(self, yard: Yard, other_disk: Path) -> None:
        old = yard.standing(40)
        yard.standing(1)
        self.given_to_others(old.path.parent)
        options = ("cleanup", yard.trees.source, "--trash-root", other_disk, "-y")
        first = self.run(*options)
        assert first.returncode == ExitCode.FAILED, first.stderr
        assert "has the sticky bit" in first.stdout + first.stderr
        assert self.run(*options).returncode == 0
        assert clips_of(other_disk) == [] and old.path.exists()

    def test_a_restore_from_a_read_only_trash(self, camera_tree: Path, other_disk: Path) -> None:
        trashed = ("--trash-root", other_disk)
        assert self.run("archive", camera_tree, *trashed).returncode == 0
        subprocess.run(["mount", "--bind", other_disk, other_disk], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", other_disk], check=True)
            for _ in range(2):
                done = self.run("restore", "-C", camera_tree, *trashed, "--since", "2026-03-01", "-y")
                assert done.returncode == ExitCode.FAILED, done.stdout
                assert "is mounted read-only; mount it writable" in done.stdout + done.stderr
                assert not list(camera_tree.glob("2026/**/*.mp4"))
        finally:
            subprocess.run(["umount", "-l", other_disk], check=True)
        assert self.run("restore", "-C", camera_tree, *trashed, "--since", "2026-03-01", "-y").returncode == 0
        assert (camera_tree / f"2026/03/01/{NAME}.mp4").exists() and clips_of(other_disk) == []


class TestSecondGeneration:
    """`--no-skip --codec` also reaches clips whose source is gone."""

    @pytest.fixture
    def archived(self, put: Put, tree: Path) -> Path:
        """The AV1 archive of a clip whose source is in the trash."""
        put(f"{ONE}.mp4", SOUND)
        assert document(tree, "--preset", "12")["exit_code"] == 0
        return tree / f"archived/{ONE}.mp4"

    @pytest.fixture
    def alone(self, archived: Path, tree: Path) -> Path:
        """That archive, with no other copy of its clip."""
        shutil.rmtree(tree / ".deleted/input")
        return archived

    def test_it_is_encoded_from_the_archive_and_said_to_be_one(self, alone: Path, tree: Path) -> None:
        bytes_of = alone.read_bytes()
        planned = document(tree, "--no-skip", "--codec", "h264", "--dry-run")["steps"]
        assert [(each["action"], each["reason"]) for each in planned] == [("archive", "second-generation")]
        words = archive(tree, "--no-skip", "--codec", "h264", "--dry-run").stdout
        assert "1 of these will be a second generation, encoded from the archive, as the source is" in words
        (outcome,) = document(tree, "--no-skip", "--codec", "h264")["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("done", "second-generation")
        made = tree / f"archived/{ONE}~2.mp4"
        assert clips_of(tree / "archived") == [f"{ONE}~2.mp4"]
        assert (tree / f".deleted/output/{ONE}.mp4").read_bytes() == bytes_of
        assert frames(made) == 20
        line = [each for each in journal(tree) if each["event"] == "archived"][-1]
        assert (line["generation"], line["archive"], line["source"]) == (2, f"{ONE}~2.mp4", f"{ONE}.mp4")
        first = next(each for each in journal(tree) if each["event"] == "archived")
        assert all(line[key] == first[key] for key in ("source_size", "source_mtime_ns", "source_blake2b"))
        told = command("why", f"{ONE}.mp4", "-C", tree)
        assert "generation 2" in told and "its former archive" in told
        assert json.loads(command("verify", tree, "--json"))["findings"] == []
        assert document(tree, "--no-skip", "--codec", "h264")["status"] == "nothing"

    def test_one_with_chapters(self, put: Put, tree: Path) -> None:
        """Motion gives an archive chapters, which mp4 keeps in a stream of their own."""
        moving = (
            "color=gray:s=320x240:r=10:d=20,noise=alls=4[a];color=white:s=60x60:r=10:d=20[b];[a][b]overlay"
        )
        clip = put(
            f"{ONE}.mp4", f"-f lavfi -i {moving}=x='(t-6)*30':y=90 -c:v libx264 -preset ultrafast -g 10"
        )
        assert document(tree, "--preset", "12")["exit_code"] == 0 and not clip.exists()
        shutil.rmtree(tree / ".deleted/input")
        (outcome,) = document(tree, "--no-skip", "--codec", "h264")["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("done", "second-generation")
        assert "left out" not in outcome["detail"]

    def test_a_third_one(self, alone: Path, tree: Path) -> None:
        for codec in ("h264", "hevc"):
            assert document(tree, "--no-skip", "--codec", codec)["exit_code"] == 0
        assert [each.get("generation") for each in journal(tree) if each["event"] == "archived"] == [
            None,
            2,
            3,
        ]
        assert len(clips_of(tree / "archived")) == 1

    def test_never_without_a_codec_nor_into_the_same_one(self, alone: Path, tree: Path) -> None:
        for options in ((), ("--codec", "av1")):
            (step,) = document(tree, "--no-skip", *options)["steps"]
            assert (step["action"], step["reason"]) == ("keep", "source-gone")
        assert clips_of(tree / "archived") == [f"{ONE}.mp4"]

    def test_the_original_in_the_trash_is_better(self, archived: Path, tree: Path) -> None:
        (outcome,) = document(tree, "--no-skip", "--codec", "h264")["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("done", "repeat-asked")
        assert clips_of(tree / "archived") == [f"{ONE}.mp4"]
        assert (tree / f".deleted/input/{ONE}.mp4").exists(), "it stays in the trash"
        line = [each for each in journal(tree) if each["event"] == "archived"][-1]
        assert "generation" not in line and line["encoder"] == "libx264"

    def test_an_archive_that_changed_is_left_alone(self, alone: Path, tree: Path) -> None:
        content = alone.read_bytes()
        alone.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        (outcome,) = document(tree, "--no-skip", "--codec", "h264")["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "damaged")
        assert clips_of(tree / "archived") == [f"{ONE}.mp4"]

    def test_a_held_one_is_left_alone(self, alone: Path, tree: Path) -> None:
        command("hold", "add", "-C", tree, "--from", "2026-03-01", "--to", "2026-03-02", "--reason", "police")
        (step,) = document(tree, "--no-skip", "--codec", "h264")["steps"]
        assert (step["action"], step["reason"]) == ("keep", "held")

    def test_a_kill_after_publishing_is_mended_by_the_next_run(self, alone: Path, tree: Path) -> None:
        code = (
            "import os, sys\n"
            "from camarchiver.archive.source_removal import SourceRemover\n"
            "SourceRemover.replace_archive = lambda *a: os.kill(os.getpid(), 9)\n"
            "from camarchiver.cli import run\n"
            "sys.exit(run(sys.argv[1:]))\n"
        )
        options = ("archive", str(tree), "--no-skip", "--codec", "h264", "-y")
        assert subprocess.run([sys.executable, "-c", code, *options], check=False).returncode == -9
        assert clips_of(tree / "archived") == [f"{ONE}.mp4", f"{ONE}~2.mp4"]
        document(tree)
        assert clips_of(tree / "archived") == [f"{ONE}~2.mp4"]
        assert (tree / f".deleted/output/{ONE}.mp4").exists()
