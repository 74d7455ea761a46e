"""The installed command as its users run it: cron, an operator, a hostile uploader."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import runpy
import select
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import av
import dates
import imageio_ffmpeg
import programs
import pytest
from conftest import (
    RecCamera,
    RecRun,
    Web,
    Yard,
    processes_with,
    rec_clips,
    rec_document,
    rec_old,
    rec_packets,
    rec_place,
    rec_slices,
    wait_until,
)
from prometheus_client.parser import text_string_to_metric_families

from camarchiver import holds, outbox
from camarchiver.model import STATE_FOLDER, Reason

Make = Callable[..., Path]
Put = Callable[..., Path]
H264 = "-f lavfi -i testsrc2=s=160x120:r=10:d=2 -c:v libx264 -preset ultrafast -b:v 2M"
SOUND = "-f lavfi -i testsrc2=s=160x120:r=10:d=2 -f lavfi -i sine=d=2 -c:v libx264 -preset ultrafast -b:v 2M"
START = 1772352900
"""08:15 UTC on the first of March 2026."""


def put_recent(put: Put) -> None:
    """A clip of today. If the newest clip is more than a year old, `cleanup` doubts the machine's clock."""
    start = dates.recently(hours=2)
    put(f"{dates.clip_of('today', start)}.mp4", b"recent", mtime=start.timestamp())


@pytest.fixture
def put(tmp_path: Path, make_clip: Make) -> Put:
    """Put a clip (made by ffmpeg from words, or raw bytes) into the camera tree, dated 08:15 of its day."""

    def put(relative: str | bytes, words: str | bytes = H264, *, mtime: float = START) -> Path:
        path = Path(os.fsdecode(os.fsencode(tmp_path / "camera") + b"/" + os.fsencode(relative)))
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower() or ".mp4"
        path.write_bytes(words if isinstance(words, bytes) else make_clip(words, suffix).read_bytes())
        os.utime(path, (mtime, mtime))
        return path

    (tmp_path / "camera").mkdir()
    return put


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "camera"


def archive(tree: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`camarchiver archive` as cron runs it."""
    return subprocess.run(
        [sys.executable, "-m", "camarchiver", "archive", str(tree), *map(str, options)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=240,
        env={**os.environ, "TZ": "UTC", **environment},
    )


def document(tree: Path, *options: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(archive(tree, *options, "--json").stdout)
    return found


def reasons(tree: Path, *options: object) -> dict[str, str]:
    """By name: why each file would be archived or left alone."""
    steps = document(tree, "--dry-run", *options)["steps"]
    return {Path(step["path"]).name: step["reason"] for step in steps}


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Everything below a folder: size, mtime and content."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_size,
            path.lstat().st_mtime_ns,
            hashlib.blake2b(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(root.rglob("*"))
    }


def media(root: Path) -> list[str]:
    """The visible files of a tree without our own state."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file() or path.is_symlink())
    return sorted(str(path) for path in found if not any(p.startswith(".") for p in path.parts))


def clips_of(root: Path) -> list[str]:
    """The visible clips of a tree."""
    return [name for name in media(root) if name.endswith(".mp4")]


def journal(tree: Path, archive_root: Path | None = None) -> list[dict[str, Any]]:
    folder = (archive_root or tree / "archived") / STATE_FOLDER / "journal"
    return [json.loads(line) for file in sorted(folder.rglob("*.jsonl")) for line in file.open()]


def frames(path: Path) -> int:
    with av.open(str(path)) as opened:
        return sum(1 for _ in opened.decode(video=0))


DAY = "2026/03/01"
ONE = f"{DAY}/REO_front_20260301081500"


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
            *("steps", "outcomes", "totals", "errors", "notes"),
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
            assert (refused.returncode, "--keep-source" in refused.stderr) == (13, True)
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
        assert archive(tree, "--delete").returncode == 2
        assert archive(tree, "--delete", "-y", "--age", "0").returncode == 2
        assert archive(tree, "--delete", "--keep-source", "-y").returncode == 2
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
        assert (first.returncode, "damaged" in first.stdout) == (3, True)
        second = archive(tree)
        assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
        assert reasons(tree) == {source.name: "failed-before"}
        assert archive(tree, "--retry-failed").returncode == 3
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
        assert done.returncode == 3, done.stdout
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
        assert plan["exit_code"] == 3

    def test_roots_that_cannot_be_meant(self, put: Put, tree: Path, tmp_path: Path) -> None:
        file = put(f"{ONE}.mp4")
        assert archive(tmp_path / "missing").returncode == 13
        assert archive(file).returncode == 13
        assert archive(tree, "-o", tmp_path).returncode == 2
        assert archive(tree, "-o", tree).returncode == 2
        failed = archive(tmp_path / "missing", "--json")
        document = json.loads(failed.stdout)
        assert (document["exit_code"], document["status"]) == (13, "failed")
        assert document["errors"][0]["hint"]
        usage = archive(tree, "--age", "5 bananas", "--json")
        assert json.loads(usage.stdout)["exit_code"] == usage.returncode == 2


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
            "import sys, pathlib; from camarchiver.locking import clip_lock\n"
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
        """Every reason stands in a test of this file or of the faults'."""
        folder = Path(__file__).parent
        text = "".join((folder / name).read_text() for name in ("test_e2e.py", "test_integrations.py"))
        named = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', text))
        attributes = {str(Reason[name]) for name in re.findall(r"Reason\.([A-Z_]+)", text)}
        assert {str(reason) for reason in Reason} - named - attributes == set()


class TestUnencoded:
    """What no encoder keeps as it is: its archive is a lossless copy, and everybody is told why."""

    PLAIN = H264 + " -bf 0"
    AXIS = "5369676e-6564-2056-6964-656f2e2e2e30"
    ONVIF = "005bc93f-2d71-5e95-ada4-796f90877a6f"
    STRAY = PLAIN + r" -bsf:v 'setts=pts=if(eq(N\,7)\,PTS+3600/TB\,PTS)'"
    SIGNED = PLAIN + f" -bsf:v h264_metadata=sei_user_data={AXIS}+x"

    @staticmethod
    def of_two_sizes(make_clip: Make, tmp_path: Path) -> str:
        both = tmp_path / "both.h264"
        pieces = [make_clip(H264.replace("160x120", size), ".h264") for size in ("160x120", "320x240")]
        both.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
        return f"-r 10 -i {both} -c copy -tag:v avc3"

    @staticmethod
    def with_subtitles(tmp_path: Path) -> str:
        words = tmp_path / "words.srt"
        words.write_text("1\n00:00:00,000 --> 00:00:01,000\nfront\n")
        return f"-i {words} {H264} -map 0 -map 1 -c:s mov_text"

    @pytest.mark.parametrize(
        ("kind", "reason", "said"),
        [
            ("axis", "signed", "Axis signed video"),
            ("onvif", "signed", "ONVIF Media Signing"),
            ("sizes", "picture-changes", "from 160x120 to 320x240"),
            ("stray", "unkeepable-times", "out of order"),
            ("two pictures", "other-streams", "2 video streams"),
            ("subtitles", "other-streams", "subtitle:mov_text"),
            ("subtitles in mkv", "other-streams", "subtitle:subrip"),
        ],
    )
    def test_the_very_bytes_are_kept_and_told_of(
        self, put: Put, tree: Path, tmp_path: Path, make_clip: Make, kind: str, reason: str, said: str
    ) -> None:
        picture = "-f lavfi -i testsrc2=s=160x120:r=10:d=1"
        words = {
            "axis": self.SIGNED,
            "onvif": self.SIGNED.replace(self.AXIS, self.ONVIF),
            "stray": self.STRAY,
            "two pictures": f"{picture} {picture} -map 0 -map 1 -c:v libx264 -preset ultrafast",
        }
        words |= {"sizes": self.of_two_sizes(make_clip, tmp_path), "subtitles": self.with_subtitles(tmp_path)}
        words["subtitles in mkv"] = words["subtitles"].replace("mov_text", "srt")
        name = f"{ONE}.mkv" if kind.endswith("mkv") else f"{ONE}.mp4"
        content = put(name, words[kind]).read_bytes()
        done = archive(tree)
        assert (done.returncode, done.stderr) == (0, "")
        assert "not encoded: 1 clip" in done.stdout and f"({reason})" in done.stdout
        assert (tree / "archived" / name).read_bytes() == content
        assert (tree / ".deleted/input" / name).read_bytes() == content
        (line,) = [each for each in journal(tree) if each["event"] == "archived"]
        assert (line["unencoded"], line["remuxed"], line["verified"]) == (reason, True, "byte for byte")
        assert said in line["detail"]
        told = command("why", tree / name, "-C", tree)
        assert f"({reason})" in told and "about to be published" not in told
        assert "front: 1 archive not encoded" in command("status", tree)
        (camera,) = json.loads(command("status", tree, "--json"))["cameras"]
        assert camera["unencoded"] == {reason: 1}

    @pytest.mark.parametrize("codec", ["auto", "h264", "av1"])
    def test_fields_stay_fields(self, put: Put, tree: Path, codec: str) -> None:
        fields = "-flags +ilme+ildct -x264opts tff=1 -vf interlace,format=yuv420p"
        content = put(f"{ONE}.mp4", f"{H264.replace('d=2', 'd=4')} {fields}").read_bytes()
        (outcome,) = document(tree, "--codec", codec)["outcomes"]
        assert outcome["result"] == "done", outcome
        made = tree / f"archived/{ONE}.mp4"
        assert outcome.get("unencoded") == ("interlaced" if codec == "av1" else None)
        assert made.stat().st_size <= len(content)
        with av.open(str(made)) as opened:
            assert all(frame.interlaced_frame for frame in opened.decode(video=0))

    @pytest.mark.parametrize(("codec", "reason"), [("auto", None), ("av1", "refused")])
    def test_a_refusal_goes_to_the_next_encoder_and_at_last_to_a_copy(
        self, put: Put, tree: Path, codec: str, reason: str | None
    ) -> None:
        fast = "-f lavfi -i testsrc2=s=160x120:r=600:d=0.1 -c:v mjpeg"
        content = put(f"{ONE}.avi", fast).read_bytes()
        (outcome,) = document(tree, "--codec", codec)["outcomes"]
        assert (outcome["result"], outcome.get("unencoded")) == ("done", reason), outcome
        if reason is None:
            assert outcome["encoder"] == "libx264"
            assert "maximum allowed frame rate" in outcome["rungs"][0]
            return
        assert "maximum allowed frame rate" in outcome["detail"]
        (made,) = (tree / "archived" / DAY).iterdir()
        assert (made.suffix == ".avi" and made.read_bytes() == content) or frames(made) == 60
        again = document(tree, "--no-skip")
        assert again["exit_code"] == 0

    def test_quick_sync_hands_on_what_it_can_not_do(self, put: Put, tree: Path, softqsv: Path) -> None:
        fields = "-flags +ilme+ildct -x264opts tff=1 -vf interlace,format=yuv420p"
        big = H264.replace("160x120", "256x256")
        put(f"{DAY}/REO_fields_20260301081500.mp4", f"{big.replace('d=2', 'd=4')} {fields}")
        put(f"{DAY}/REO_fast_20260301081500.avi", "-f lavfi -i testsrc2=s=256x256:r=600:d=0.1 -c:v mjpeg")
        put(f"{DAY}/REO_full_20260301081500.mp4", f"{big} -vf scale=out_range=pc,format=yuvj420p")
        colors = "-colorspace bt709 -color_primaries bt709 -color_trc bt709"
        put(f"{DAY}/REO_colors_20260301081500.mp4", f"{big} {colors}")
        done = document(tree, "--encoder", "qsv", "--device", softqsv)
        assert done["exit_code"] == 0, done
        found = {Path(each["path"]).name.split("_")[1]: each["encoder"] for each in done["outcomes"]}
        assert found == {
            "fields": "libx264",
            "fast": "libx264",
            "full": "av1_qsv",
            "colors": "av1_qsv",
        }
        with av.open(str(tree / f"archived/{DAY}/REO_full_20260301081500.mp4")) as opened:
            assert next(opened.decode(video=0)).color_range == 2

    def test_what_is_damaged_is_not_copied(self, put: Put, tree: Path) -> None:
        """Its copy would be as good, but nobody would look at it again while its source is there."""
        source = put(f"{ONE}.mp4", self.SIGNED)
        content = bytearray(source.read_bytes())
        middle = content.index(b"mdat") + len(content) // 2
        content[middle : middle + 3000] = bytes(3000)
        put(f"{ONE}.mp4", bytes(content))
        (outcome,) = document(tree)["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "damaged")
        assert source.exists() and media(tree / "archived") == []
        assert "front: 1 clip failed before: damaged (damaged)" in command("status", tree)
        (camera,) = json.loads(command("status", tree, "--json"))["cameras"]
        assert (camera["failed"], camera["failed_by_reason"]) == (1, {"damaged": 1})

    def test_the_owner_may_have_signed_clips_encoded(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4", self.SIGNED)
        put(f"{DAY}/REO_back_20260301081500.mp4", self.SIGNED)
        config = tmp_path / "c.toml"
        config.write_text('[camera.back]\nsigned = "reencode"\n')
        done = document(tree, "--config", config, "--keep-source")
        found = {Path(each["path"]).name[4:8]: each.get("unencoded") for each in done["outcomes"]}
        assert found == {"fron": "signed", "back": None}
        assert done["unencoded"] == {"signed": 1}
        assert reasons(tree, "--no-skip", "--keep-source") == {
            "REO_front_20260301081500.mp4": "signed",
            "REO_back_20260301081500.mp4": "repeat-asked",
        }
        done = document(tree, "--config", config, "--keep-source", "--no-skip", "--signed", "reencode")
        assert [each.get("unencoded") for each in done["outcomes"]] == [None, None]
        config.write_text('[camera.back]\nsigned = "maybe"\n')
        refused = archive(tree, "--config", config)
        assert (refused.returncode, "[camera.back] signed" in refused.stderr) == (10, True)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_the_plan_counts_signed_clips(self, put: Put, tree: Path, suffix: str) -> None:
        for hour in ("08", "09", "10", "11"):
            put(f"{DAY}/REO_front_20260301{hour}1500{suffix}", self.SIGNED)
        put(f"{DAY}/REO_back_20260301081500.mp4")
        said = "front: 3 of 3 clips looked into are signed (Axis signed video): "
        assert said + "kept byte for byte" in archive(tree, "--dry-run").stdout
        notes = document(tree, "--dry-run", "--signed", "reencode")["notes"]
        assert [note for note in notes if "signed" in note] == [
            said + "encoded as asked, which loses the proof"
        ]

    def test_a_copy_that_no_line_speaks_of_is_adopted(self, put: Put, tree: Path) -> None:
        """The run died between publishing and journalling: a copy carries no tag, an intent tells of it."""
        source = put(f"{ONE}.mp4", self.SIGNED)
        assert archive(tree, "--keep-source").returncode == 0
        (file,) = (state_of(tree) / "journal").rglob("*.jsonl")
        lines = file.read_text().splitlines(keepends=True)
        assert [json.loads(line)["event"] for line in lines] == ["copying", "archived", "kept"]
        file.write_text(lines[0])
        assert "about to be published" in command("why", tree / f"{ONE}.mp4", "-C", tree)
        assert archive(tree).returncode == 0
        assert [each["event"] for each in journal(tree)] == ["copying", "adopted", "trashed"]
        assert journal(tree)[1]["unencoded"] == "signed"
        assert not source.exists() and clips_of(tree / "archived") == [f"{ONE}.mp4"]

    def test_the_same_bytes_by_another_hand_stay_foreign(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4", self.SIGNED)
        other = tree / f"archived/{ONE}.mp4"
        other.parent.mkdir(parents=True)
        shutil.copy2(source, other)
        assert archive(tree).returncode == 0
        assert clips_of(tree / "archived") == [f"{ONE}.mp4", f"{ONE}~2.mp4"]


def command(*words: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "camarchiver", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(answer: bytes, *arguments: object) -> bytes:
    """Everything that a terminal of its own shows while the command runs and is answered."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TZ"] = "UTC"
        os.execv(sys.executable, [sys.executable, "-m", "camarchiver", *map(str, arguments)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    said, answered = b"", False
    while True:
        try:
            block = os.read(terminal, 4096)
        except OSError:
            break
        if not block:
            break
        said += block
        if b"Go on?" in said and not answered:
            os.write(terminal, answer)
            answered = True
    os.waitpid(child, 0)
    os.close(terminal)
    return said


class TestTerminal:
    """What an operator sees; and cron, who has nothing."""

    def test_no_leaves_everything_and_yes_goes_on(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        said = on_a_terminal(b"n\n", "archive", tree)
        assert b"Go on? [y/N]" in said
        assert b"nothing was changed" in said
        assert source.exists()
        said = on_a_terminal(b"y\n", "archive", tree)
        assert b"archived: 1 clip" in said
        assert not source.exists()

    def test_an_empty_environment_is_enough(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        command = Path(sys.executable).with_name("camarchiver")
        done = subprocess.run(
            ["/usr/bin/env", "-i", str(command), "archive", str(tree)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, b"")

    def test_help_names_every_exit_code(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "camarchiver", "--help"], capture_output=True, text=True, timeout=60
        )
        assert "13 storage" in done.stdout


COMMAND = Path(sys.executable).with_name("camarchiver")
KEYS = {"format", "command", "run", "status", "exit_code", "steps", "outcomes", "totals", "errors"}
"""Of every document, also of one that tells of a failure."""
STEP_KEYS = {"action", "path", "target", "reason", "bytes", "camera", "start"}
OUTCOME_KEYS = {"action", "path", "result", "detail"}
TRANSCODE_KEYS = {"encoder", "rungs", "seconds", "bytes_before", "bytes_after"}


def installed(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed console script without a terminal."""
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TZ": "UTC", **environment},
    )


def whole(root: Path) -> dict[str, tuple[int, int, str]]:
    """`snapshot`, with the root folder's own times."""
    return {**snapshot(root), ".": (0, root.stat().st_mtime_ns, "")}


def state_of(tree: Path) -> Path:
    return tree / "archived" / STATE_FOLDER


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
        assert archive(tree).returncode == 3
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
        assert real["exit_code"] == 3
        changing = [step["path"] for step in plan["steps"] if step["action"] != "keep"]
        assert sorted(each["path"] for each in real["outcomes"]) == sorted(changing)


class TestJsonLog:
    """`--log-format json`, by option and by config file."""

    def test_every_line_names_run_and_clip(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        config, log = tmp_path / "config.toml", tmp_path / "json.log"
        config.write_text(f'log_format = "json"\nlog_file = "{log}"\n')
        done = archive(tree, "--json", "--config", config)
        assert done.returncode == 3
        assert archive(tree, "--log-format", "json", "--log-file", log, "-v").returncode == 0
        put_recent(put)
        removed = installed("cleanup", tree, "-y", "--trash-age", 0, "--config", config)
        assert removed.returncode == 0, removed.stderr
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        run = json.loads(done.stdout)["run"]
        told = {line["clip"]: line["message"] for line in lines if line["run"] == run}
        assert set(told) == {f"{ONE}.mp4", f"{DAY}/REO_bad_20260301081500.mp4"}
        assert "damaged" in told[f"{DAY}/REO_bad_20260301081500.mp4"]
        gone = [line for line in lines if "trash-age" in line["message"]]
        assert [line["clip"] for line in gone] == [f"{ONE}.mp4"]

    def test_a_recorders_line_names_its_clip(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        ran = rec_run("--source", rec_twice, "--log-format", "json", "--duration", "14s")
        assert ran.returncode == 0, ran.stderr
        (line,) = (json.loads(each) for each in (tmp_path / "temp_clips/recorder.log").open())
        assert (line["run"], line["level"]) == (rec_document(ran)["run"], "info")
        assert line["clip"].startswith("motion_")


def numbers(file: Path, name: str, **labels: str) -> list[float]:
    """What a textfile says under a name, with these labels among others."""
    return [
        sample.value
        for family in text_string_to_metric_families(file.read_text(encoding="utf-8"))
        for sample in family.samples
        if sample.name == f"camarchiver_{name}" and labels.items() <= sample.labels.items()
    ]


class TestChannels:
    """Metrics, the command that is notified and the URL that is pinged."""

    @pytest.fixture
    def channels(self, tmp_path: Path, web: Web) -> list[str]:
        """All of them, by a config file."""
        teller = tmp_path / "tell"
        teller.write_text(f'#!/bin/sh\ncat > "{tmp_path}/report.$1"\n')
        teller.chmod(0o755)
        config = tmp_path / "config.toml"
        config.write_text(
            f'metrics = "{tmp_path}/camarchiver.prom"\n'
            f'notify = ["{teller}", "json"]\n'
            f'ping_url = "{web.url}/uuid"\n'
        )
        return ["--config", str(config)]

    def test_a_good_night(self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web) -> None:
        put(f"{ONE}.mp4")
        began = time.time()
        for number in (1, 2):
            done = archive(tree, *channels)
            assert (done.returncode, done.stderr) == (0, "")
            assert (
                web.heard == [("/uuid/start", ""), ("/uuid", "camarchiver archive: exit code 0\n")] * number
            )
        file = tmp_path / "camarchiver.prom"
        kind = {"command": "archive", "camera": "front", "result": "done", "encoder": "libsvtav1"}
        made = (tree / f"archived/{ONE}.mp4").stat().st_size
        assert numbers(file, "clips_total", **kind) == [1]
        assert numbers(file, "archive_bytes_total", **kind) == [made]
        assert numbers(file, "runs_total", command="archive", exit_code="0") == [2]
        (last,) = numbers(file, "last_success_timestamp_seconds", source=str(tree))
        assert began < last < time.time() + 1
        assert numbers(file, "last_run_duration_seconds", command="archive") < [240]
        for name in ("queue_clips", "remembered_failures", "holds", "last_run_exit_code"):
            assert numbers(file, name) == [0], name
        assert len(numbers(file, "filesystem_free_bytes")) == 3
        assert not list(tmp_path.glob("report.*"))

    def test_a_night_with_failures(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk" * 100_000)
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_front_20260301091500.mp4")
        put("flat/REO_new_20260301081500.mp4", mtime=time.time())
        installed("hold", "add", "-C", tree, "--from", "2026-05-01", "--to", "2026-05-02", "--reason", "x")
        options = [*channels, "--limit", "2", "--keep-source"]
        assert archive(tree, *options).returncode == 3
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["status"], report["exit_code"]) == ("partial", 3)
        assert {outcome["result"] for outcome in report["outcomes"]} == {"done", "failed"}
        assert web.heard[-1] == ("/uuid/fail", "camarchiver archive: exit code 3\n")
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "clips_total", result="failed", camera="bad") == [1]
        assert numbers(file, "remembered_failures") == numbers(file, "holds") == [1]
        assert numbers(file, "queue_clips") == [1]
        assert len(numbers(file, "until_full_seconds")) == 1
        assert numbers(file, "last_success_timestamp_seconds") == []
        put_recent(put)
        after = archive(tree, *channels, "--cleanup", "-y", "--json")
        assert after.returncode == 0, after.stdout
        for command in ("archive", "cleanup"):
            assert numbers(file, "last_run_exit_code", command=command) == [0]
        assert numbers(file, "filesystem_free_bytes", tree="source") != []

    def test_a_run_that_could_not_begin(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{ONE}.mp4")
        missing = archive(tmp_path / "not-mounted", *channels)
        assert missing.returncode == 13
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["errors"][0]["message"] == f"the source {tmp_path}/not-mounted does not exist"
        refused = installed("cleanup", tree, *channels)
        assert refused.returncode == 2
        assert [path for path, _ in web.heard] == ["/uuid/fail"] * 2
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "last_run_exit_code", command="archive") == [13]
        assert numbers(file, "last_run_exit_code", command="cleanup") == [2]

    def test_a_dry_run_tells_nobody(
        self, put: Put, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        put(f"{ONE}.mp4")
        put_recent(put)
        before = snapshot(tmp_path)
        assert archive(tree, *channels, "--dry-run").returncode == 0
        assert installed("cleanup", tree, *channels, "--dry-run").returncode == 0
        assert installed("cleanup", tmp_path / "none", *channels, "--dry-run").returncode == 13
        assert (snapshot(tmp_path), web.heard) == (before, [])

    @pytest.mark.edge
    def test_a_second_start_is_no_failure(
        self, tree: Path, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        tree.mkdir()
        assert installed("cleanup", tree, "-y", *channels).returncode == 0
        (lock,) = (state_of(tree) / "locks").glob("cleanup@*.run")
        heard = list(web.heard)
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert installed("cleanup", tree, "-y", *channels).returncode == 11
        assert web.heard == heard
        assert numbers(tmp_path / "camarchiver.prom", "last_run_exit_code") == [0]

    @pytest.mark.edge
    def test_a_broken_package_is_told_and_fails_no_run(self, tree: Path, tmp_path: Path) -> None:
        tree.mkdir()
        shadow = tmp_path / "shadow"
        shadow.mkdir()
        (shadow / "prometheus_client.py").write_text("raise ImportError('no such symbol')")
        words = ("cleanup", tree, "-y", "--metrics", tmp_path / "a.prom")
        done = installed(*words, PYTHONPATH=str(shadow))
        assert (done.returncode, "not everybody could be told" in done.stderr) == (0, True)
        (shadow / "filelock.py").write_text("raise ImportError('no such symbol')")
        broken = installed(*words, PYTHONPATH=str(shadow))
        assert broken.returncode == 1
        assert "the installation is broken: no such symbol" in broken.stderr
        assert "Traceback" not in broken.stderr

    @pytest.mark.edge
    def test_channels_that_fail_change_no_exit_code(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        done = archive(
            tree,
            *("--metrics", tmp_path / "none/a.prom", "--notify", "/no/such command"),
            *("--ping-url", f"http://127.0.0.1:{port}/uuid"),
        )
        assert done.returncode == 3
        assert "no metrics were written" in done.stderr
        assert "/no/such can't be started" in done.stderr
        assert "127.0.0.1 did not take the ping: Connection refused" in done.stderr
        assert "no metrics were written" in (tree / "archiver.log").read_text()

    def test_the_example_mails_what_failed(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{DAY}/REO_bad_ü_20260301081500.mp4", b"junk")
        post, script = tmp_path / "sendmail", Path(__file__).parents[1] / "scripts" / "mail-report"
        post.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/words"; cat > "{tmp_path}/mail"\n')
        post.chmod(0o755)
        config = tmp_path / "config.toml"
        config.write_text(f'notify = ["{script}", "you@example.org", "me@example.org"]\n')
        done = archive(tree, "--config", config, SENDMAIL=str(post))
        assert (done.returncode, done.stderr) == (3, "")
        mail = BytesParser(policy=policy.default).parsebytes((tmp_path / "mail").read_bytes())
        assert (tmp_path / "words").read_text() == "-t -oi\n"
        assert mail["To"] == "you@example.org, me@example.org"
        assert mail["Subject"] == f"camarchiver archive on {socket.gethostname()}: partial, 1 failed"
        assert "REO_bad_ü_20260301081500.mp4: damaged" in mail.get_content()
        gone = archive(tmp_path / "none", "--config", config, SENDMAIL=str(post))
        assert gone.returncode == 13
        assert b"does not exist" in (tmp_path / "mail").read_bytes()
        dumb = archive(tmp_path / "none", "--config", config, SENDMAIL="no-such-sendmail")
        assert "there is no sendmail" in dumb.stderr

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('ping_url = "file:///etc/passwd"', "is not an address"),
            ('ping_url = "hc-ping.com/x"', "is not an address"),
            ("notify = []", "is not a command"),
            ("log_format = 'xml'", "is not one of"),
        ],
    )
    def test_what_can_not_be_meant_is_refused(self, tree: Path, tmp_path: Path, line: str, said: str) -> None:
        config = tmp_path / "config.toml"
        config.write_text(line + "\n")
        refused = installed("config", "check", "--config", config)
        assert refused.returncode == 10
        assert said in refused.stderr

    def test_a_recorder_tells_every_minute_and_at_its_end(
        self, rec_twice: Path, rec_start: Callable[..., subprocess.Popen[str]], tmp_path: Path, web: Web
    ) -> None:
        fifo, file = tmp_path / "fifo", tmp_path / "camarchiver.prom"
        os.mkfifo(fifo)
        recorder = rec_start("--source", f"file:{fifo}", "--metrics", file, "--ping-url", f"{web.url}/uuid")
        wait_until(file.exists, "the first minute's numbers", 60)
        assert numbers(file, "record_connected", camera="yard") == [0]
        feed = ["-i", str(rec_twice), "-t", "9", "-c", "copy", "-f", "mpegts", str(fifo), "-y"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *feed]
        subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=120)
        out, errors = recorder.communicate(timeout=60)
        assert recorder.returncode == 0, errors
        clips = json.loads(out)["clips"]
        assert numbers(file, "record_clips_total", camera="yard", result="published") == [len(clips)]
        assert numbers(file, "record_clip_seconds_total") == [
            pytest.approx(sum(clip["seconds"] for clip in clips), abs=0.01)
        ]
        assert numbers(file, "record_frames_total")[0] > 100
        assert len(numbers(file, "filesystem_free_bytes", command="record")) == 2
        assert [path for path, _ in web.heard] == ["/uuid/start", "/uuid"]

    @pytest.mark.edge
    def test_a_recorder_that_can_not_record_tells_why(
        self, rec_twice: Path, rec_run: RecRun, tmp_path: Path, channels: list[str], web: Web
    ) -> None:
        ran = rec_run("--source", rec_twice, *channels, "--min-free", "900TB")
        assert ran.returncode == 13, ran.stderr
        told = json.loads((tmp_path / "report.json").read_text())
        assert [each["message"] for each in told["errors"]] == ["there was too little room to record"]
        assert web.heard[-1] == ("/uuid/fail", "camarchiver record: exit code 13\n")
        file = tmp_path / "camarchiver.prom"
        assert numbers(file, "record_refusals_total", camera="yard")[0] >= 1
        assert numbers(file, "last_run_exit_code", command="record") == [13]

    def test_a_clean_stop_is_neither_success_nor_failure(
        self, rec_start: Callable[..., subprocess.Popen[str]], tmp_path: Path, web: Web
    ) -> None:
        fifo, file = tmp_path / "fifo", tmp_path / "camarchiver.prom"
        os.mkfifo(fifo)
        recorder = rec_start("--source", f"file:{fifo}", "--metrics", file, "--ping-url", f"{web.url}/uuid")
        wait_until(file.exists, "the first minute's numbers", 60)
        recorder.send_signal(signal.SIGTERM)
        recorder.communicate(timeout=60)
        assert recorder.returncode == 143
        assert numbers(file, "last_run_exit_code", command="record", camera="yard") == [143]
        assert [path for path, _ in web.heard] == ["/uuid/start"]


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
        assert (done["exit_code"], done["outcomes"][0]["reason"]) == (3, "damaged"), done
        assert source.read_bytes() == content
        assert media(tree / "archived") == []

    def test_a_bad_clip_stops_none_of_the_others(self, put: Put, tree: Path) -> None:
        put(f"{DAY}/REO_a_20260301081500.mp4", b"junk")
        put(f"{DAY}/REO_b_20260301081500.mp4")
        put(f"{DAY}/REO_c_20260301081500.mp4", b"")
        done = document(tree)
        results = {Path(each["path"]).name[4]: each["result"] for each in done["outcomes"]}
        assert results == {"a": "failed", "b": "done", "c": "failed"}
        assert (done["exit_code"], done["status"]) == (3, "partial")


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
        assert done.returncode == 1 and "a link or a file stands on the way" in done.stdout + done.stderr
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
        assert (done.returncode, source.exists()) == (13, True), done.stderr
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
        assert told("cleanup", tree, *run).returncode in (0, 3)
        assert told("restore", "-C", tree, "--since", "1970-01-01", "-y").returncode in (0, 3)
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
            assert ran.returncode in (0, 3, 13) and "Traceback" not in ran.stderr, ran.stderr

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
            assert ran.returncode in (0, 1, 3) and json.loads(ran.stdout), ran.stderr
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
            assert (ran.returncode, source.exists()) == (13, True), ran
            assert "nobody knows what is held" in ran.stderr
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


class TestRefusals:
    """What ends a run before it begins: the exit code, one document, and nothing changed."""

    @staticmethod
    def refused(tree: Path, code: int, *options: object, **environment: str) -> dict[str, Any]:
        """The one error of a run that was refused with this code, told in both ways."""
        before = whole(tree) if tree.is_dir() else {}
        told = installed("archive", tree, *options, **environment)
        assert (told.returncode, told.stdout) == (code, ""), told.stderr
        assert "Traceback" not in told.stderr
        machine = installed("archive", tree, *options, "--json", **environment)
        assert (machine.returncode, machine.stderr) == (code, "")
        found = json.loads(machine.stdout)
        assert set(found) == KEYS
        assert (found["format"], found["command"]) == (1, "archive")
        assert (found["status"], found["exit_code"]) == ("failed", code)
        (error,) = found["errors"]
        assert set(error) == {"code", "message", "hint"}
        assert error["message"] in told.stderr
        after = whole(tree) if tree.is_dir() else {}
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        own = ("archiver.log", "archived", f"archived/{STATE_FOLDER}", ".")
        assert {name for name in changed if not name.startswith(own)} == set()
        assert all(after.get(name) == value for name, value in before.items() if name.endswith(".mp4"))
        return dict(error)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (("--age", "5 bananas"), "age"),
            (("--min-size", "big"), "size"),
            (("--since", "yesterdayish"), "since"),
            (("--max-runtime", "soon"), "runtime"),
            (("--jobs", "0"), "jobs"),
            (("--limit", "0"), "limit"),
            (("--sidecar", "burn"), "sidecar"),
            (("--codec", "vp9"), "codec"),
            (("--nonsense",), "nonsense"),
            (("--delete",), "consent"),
            (("--delete", "--keep-source", "-y"), "exclude each other"),
            (("--delete", "--age", "0.5", "-y"), "age"),
        ],
    )
    def test_usage(self, put: Put, tree: Path, options: tuple[str, ...], said: str) -> None:
        put(f"{ONE}.mp4")
        assert said in self.refused(tree, 2, *options)["message"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("agee = 3\n", "did you mean age?"),
            ("[archive]\nkeep-source = true\n", "did you mean keep_source?"),
            ("[archve]\nage = 3\n", "did you mean archive?"),
            ("[archive]\nage = 'ages'\n", "age"),
            ("[archive]\ncodec = 'vp9'\n", "codec"),
            ("age = \n", "TOML"),
            ("[patterns]\nmine = '(?P<camera>.*)'\n", "mine"),
        ],
    )
    def test_config(self, put: Put, tree: Path, tmp_path: Path, text: str, said: str) -> None:
        put(f"{ONE}.mp4")
        file = tmp_path / "own.toml"
        file.write_text(text)
        message = self.refused(tree, 10, "--config", file)["message"]
        assert said in message
        if "[patterns]" not in text:
            assert str(file) in message

    def test_a_config_file_that_is_not_there(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        assert "no such config file" in self.refused(tree, 10, "--config", tmp_path / "no.toml")["message"]

    def test_the_users_own_config_file_is_found_and_named(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        file = tmp_path / "home/.config/camarchiver/config.toml"
        file.parent.mkdir(parents=True)
        file.write_text("[archive]\ncodecs = 'h264'\n")
        home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": ""}
        assert str(file) in self.refused(tree, 10, **home)["message"]

    @pytest.mark.parametrize(
        "options", [("--ffmpeg", "/nonexistent/ffmpeg"), ("--encoder", "nvenc"), ("--ffmpeg", "/bin/false")]
    )
    def test_no_encoder(self, put: Put, tree: Path, options: tuple[str, ...]) -> None:
        put(f"{ONE}.mp4")
        error = self.refused(tree, 12, *options)
        assert error["hint"]

    def test_the_marker_of_the_archive_is_gone(self, put: Put, tree: Path) -> None:
        """Where a disk is not mounted, its mount point is an empty folder."""
        put(f"{ONE}.mp4")
        assert archive(tree).returncode == 0
        put(f"{DAY}/REO_back_20260301081500.mp4")
        (state_of(tree) / "volume").unlink()
        error = self.refused(tree, 13)
        assert "accept-volume" in error["hint"]
        (state_of(tree) / "volume").write_text("0" * 32 + "\n")
        assert "another source tree" in self.refused(tree, 13)["message"]

    def test_roots(self, put: Put, tree: Path, tmp_path: Path) -> None:
        file = put(f"{ONE}.mp4")
        assert "does not exist" in self.refused(tmp_path / "none", 13)["message"]
        assert "not a folder" in self.refused(file, 13)["message"]
        assert "inside its archive" in self.refused(tree, 2, "-o", tree)["message"]
        assert "inside its archive" in self.refused(tree, 2, "-o", tmp_path)["message"]
        assert "inside its trash" in self.refused(tree, 2, "--trash-root", tmp_path)["message"]
        assert "not a folder" in self.refused(tree, 13, "-o", file)["message"]
        assert not (tmp_path / "none").exists()

    def test_the_same_command_runs_already(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        code = (
            "import sys, pathlib\n"
            "from camarchiver import locking, volume\n"
            "from camarchiver.model import Trees\n"
            "root = pathlib.Path(sys.argv[1])\n"
            "trees = Trees(root, root / 'archived', root / '.deleted')\n"
            "with locking.exclusive(volume.run_lock(trees, 'archive'), what='archive'):\n"
            "    print('locked', flush=True); sys.stdin.read()"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(tree)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            self.refused(tree, 11)
            assert installed("archive", tree, "--dry-run").returncode == 0
        finally:
            other.communicate()
        assert installed("archive", tree).returncode == 0


class TestDocument:
    """The JSON format, section 6 of the design."""

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
        story |= {"damaged_archives"}
        path = tree / f"2026/03/01/{NAME}.mp4"
        assert keys("why", "-C", tree, path) == {"stories", "cleanup_stopped"}
        assert keys("why", "-C", tree, path, of="stories") == story
        hold = {"id", "camera", "from", "to", "until", "reason", "lapsed"}
        assert keys("hold", "list", "-C", tree, of="holds") == hold
        file = {"path", "target", "bytes", "blake2b", "was_there"}
        assert keys("hold", "export", "-C", tree, name, tmp_path / "out", of="files") == file
        checked = {"checked", "resumed", "foreign", "foreign_files", "findings"}
        assert keys("verify", tree) == {*checked, "last_verify", "last_full_verify"}
        disk = {"path", "free", "total", "daily", "days_until_full"}
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


class TestCron:
    def test_an_empty_environment_archives_for_good(self, put: Put, tree: Path) -> None:
        """No HOME, no PATH, no locale; twice, as the second night follows the first."""
        put(f"{ONE}.mp4", SOUND)
        put(DAY.encode() + b"/REO_caf\xc3\xa9_20260301081500.mp4")
        command = ["/usr/bin/env", "-i", str(COMMAND), "archive", str(tree)]
        nights = [
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", timeout=120)
            for _ in range(2)
        ]
        assert [(night.returncode, night.stderr) for night in nights] == [(0, b""), (0, b"")]
        assert nights[0].stdout.count(b"archived ") == 2
        assert nights[1].stdout == b""
        assert len(list((tree / "archived" / DAY).glob("*.mp4"))) == 2

    def test_a_reader_that_goes_away_loses_nothing(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        put(f"{DAY}/REO_back_20260301081500.mp4")
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [str(COMMAND), "archive", str(tree)],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=120,
        )
        os.close(writer)
        assert b"Traceback" not in done.stderr
        for name in ("front", "back"):
            relative = f"{DAY}/REO_{name}_20260301081500.mp4"
            source, made = tree / relative, tree / "archived" / relative
            assert source.exists() or frames(made) == 20

    def test_a_reader_that_goes_away_changes_no_exit_code(self, tree: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for words in (("archive", tree / "none"), ("archive", tree / "none", "--json")):
            ran = subprocess.run([str(COMMAND), *words], timeout=60, stdout=writer, stderr=writer)
            assert ran.returncode == 13
        os.close(writer)

    def test_without_any_standard_stream_no_file_gets_our_words(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        content = source.read_bytes()
        shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", str(COMMAND), "archive", str(tree)]
        assert subprocess.run(shell, timeout=120).returncode == 0
        assert frames(tree / "archived" / source.relative_to(tree)) == 20
        assert (tree / ".deleted/input" / source.relative_to(tree)).read_bytes() == content
        assert [line["event"] for line in journal(tree)] == ["archived", "trashed"]

    @pytest.mark.parametrize("name", ["Nowhere/Bad", "CET-1CEST,M3.5.0,M10.5.0/3", "/etc/passwd"])
    def test_a_time_zone_that_nobody_knows_is_told(self, put: Put, tree: Path, name: str) -> None:
        source = put(f"{ONE}.mp4")
        done = archive(tree, TZ=name)
        assert (done.returncode, done.stdout, source.exists()) == (10, "", True)
        assert repr(name) in done.stderr and "Traceback" not in done.stderr
        assert archive(tree, "--timezone", "UTC", TZ=name).returncode == 0


@dataclass(frozen=True)
class Shown:
    """What came of a command on a terminal."""

    code: int
    screen: str
    stdout: str
    """What a pipe got, where standard output was one."""


def on_screen(*arguments: object, answers: bytes = b"", piped: bool = False) -> Shown:
    """Run the installed command on a terminal of its own; `answers` are typed at the question."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # no bar fits no columns
    words = ["setsid", "--ctty", "env", "--default-signal=INT", "TZ=UTC", str(COMMAND), *map(str, arguments)]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=subprocess.PIPE if piped else theirs, stderr=theirs
    )
    os.close(theirs)
    screen, left = b"", answers
    deadline, typed = time.monotonic() + 60, float("inf")
    try:
        while time.monotonic() < deadline:
            if answers == b"\x03" and time.monotonic() - typed > 5:
                # input() misses a signal between its last look and its read; a person presses again.
                left = answers
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    screen += os.read(ours, 65536)
                except OSError:  # Linux tells so that the last program on this terminal has ended
                    break
            if left and b"Go on?" in screen:
                os.write(ours, left)
                left, typed = b"", time.monotonic()
        out = process.communicate(timeout=20)[0] or b""
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Shown(process.returncode, screen.decode(errors="replace"), out.decode())


class TestScreen:
    """What an operator at a terminal sees and answers."""

    @pytest.mark.parametrize("answers", [b"n\n", b"\n", b"\x04", b"what\nn\n"])
    def test_anything_but_yes_leaves_everything(self, put: Put, tree: Path, answers: bytes) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        before = snapshot(tree / "2026")
        shown = on_screen("archive", tree, "--delete", answers=answers)
        assert (shown.code, "nothing was changed" in shown.screen) == (130, True), shown.screen
        assert snapshot(tree / "2026") == before
        assert media(tree / "archived") == []
        assert not (tree / ".deleted").exists()

    def test_ctrl_c_at_the_question_ends_the_run(self, put: Put, tree: Path) -> None:
        """At once, without a line to follow; and nothing has happened."""
        put(f"{ONE}.mp4")
        before = snapshot(tree / "2026")
        shown = on_screen("archive", tree, "--json", answers=b"\x03", piped=True)
        found = json.loads(shown.stdout)
        assert (shown.code, found["status"], found["exit_code"]) == (130, "stopped", 130), shown.screen
        assert snapshot(tree / "2026") == before
        assert media(tree / "archived") == []

    def test_yes_shows_plan_bars_and_report(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, answers=b"y\n")
        assert shown.code == 0
        plan, _, rest = shown.screen.partition("Go on?")
        assert "front" in plan
        assert "sources go to" in plan
        assert "run:" in rest
        assert "100%" in rest
        assert "archived: 1 clip" in rest

    def test_minus_y_does_not_ask(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "-y", "--delete")
        assert (shown.code, "Go on?" in shown.screen) == (0, False)
        assert "sources are deleted" in shown.screen
        assert not source.exists()

    def test_nothing_to_do_does_not_ask(self, put: Put, tree: Path) -> None:
        put(f"{DAY}/holiday.mp4")
        shown = on_screen("archive", tree)
        assert (shown.code, "Go on?" in shown.screen) == (0, False)

    def test_bars_and_questions_stay_out_of_a_pipe(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, answers=b"y\n", piped=True)
        assert shown.code == 0
        assert "run:" in shown.screen
        assert "archived: 1 clip" in shown.stdout
        assert not re.search(r"Go on|run:|[\r\x1b]|%\|", shown.stdout), shown.stdout

    def test_json_is_one_document_beside_the_question(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"y\n", piped=True)
        assert "Go on?" in shown.screen
        assert json.loads(shown.stdout)["exit_code"] == shown.code == 0

    def test_json_is_one_document_also_after_no(self, put: Put, tree: Path) -> None:
        source = put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"n\n", piped=True)
        found = json.loads(shown.stdout)
        assert set(found) >= KEYS
        assert (found["status"], found["exit_code"]) == ("stopped", shown.code)
        assert source.exists()

    def test_json_shows_the_plan_it_asks_about(self, put: Put, tree: Path) -> None:
        """On a terminal a changing command shows the plan and asks (design, section 6)."""
        put(f"{ONE}.mp4")
        shown = on_screen("archive", tree, "--json", answers=b"n\n", piped=True)
        assert "front" in shown.screen.partition("Go on?")[0]

    def test_help_and_a_dry_run_never_ask(self, put: Put, tree: Path) -> None:
        put(f"{ONE}.mp4")
        for words in (("archive", "--help"), ("archive", tree, "--dry-run")):
            shown = on_screen(*words)
            assert (shown.code, "Go on?" in shown.screen) == (0, False)


Command = Callable[..., subprocess.CompletedProcess[str]]
NAME = "REO_front_20260301081500"


@pytest.fixture
def told() -> Command:
    """Run the installed command without a terminal; its output as text."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "camarchiver", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "TZ": "UTC", **environment},
        )

    return run


def one_clip(root: Path, make_clip: Callable[..., Path]) -> Path:
    folder = root / "2026/03/01"
    folder.mkdir(parents=True)
    clip = make_clip("-f lavfi -i testsrc2=s=160x120:r=10:d=2 -c:v libx264 -preset ultrafast -b:v 2M")
    for path, content in ((folder / f"{NAME}.mp4", clip.read_bytes()), (folder / f"{NAME}.jpg", b"jpg")):
        path.write_bytes(content)
        os.utime(path, (1772352000, 1772352000))
    return root


@dataclass
class Manager:
    """systemd's side of one `watch`: what it was told, and the process."""

    process: subprocess.Popen[str]
    listener: socket.socket
    heard: list[str] = field(default_factory=list)

    def wait_for(self, line: str, *, more: int = 1, seconds: float = 60) -> None:
        """Listen until a line that begins so was heard once (or `more` times) more."""
        deadline = time.monotonic() + seconds
        while more:
            self.listener.settimeout(max(0.1, deadline - time.monotonic()))
            lines = self.listener.recv(4096).decode().split("\n")
            self.heard += lines
            more -= any(each.startswith(line) for each in lines)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=60)
        assert "Traceback" not in (errors or ""), errors
        return self.process.returncode, out, errors


@pytest.fixture
def watch(tmp_path: Path, tree: Path) -> Iterator[Callable[..., Manager]]:
    """Starts `watch` as systemd does and waits until it is ready; `managed=False`: as a shell does."""
    started: list[Manager] = []

    def start(*options: object, managed: bool = True, **environment: str) -> Manager:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = tmp_path / f"notify{len(started)}"
        listener.bind(str(address))
        shell = {key: value for key, value in os.environ.items() if key != "INVOCATION_ID"}
        notify = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "400000"} if managed else {}
        process = subprocess.Popen(
            [str(COMMAND), "watch", str(tree), "--codec", "h264", *map(str, options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**shell, "TZ": "UTC", **notify, **environment},
        )
        started.append(Manager(process, listener))
        if managed:
            started[-1].wait_for("READY=1")
        else:
            wait_until(lambda: "scanned in" in _log_of(tree), "the start", 60)
        return started[-1]

    (tree / DAY).mkdir(parents=True, exist_ok=True)
    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
        each.listener.close()


def _log_of(tree: Path) -> str:
    log = tree / "archiver.log"
    return log.read_text() if log.exists() else ""


def arrive(put: Put, relative: str, words: str | bytes = H264, *, mtime: float | None = None) -> Path:
    """A clip that is renamed into place, just written."""
    when = time.time() if mtime is None else mtime
    folder, _, name = relative.rpartition("/")
    hidden = put(f"{folder}/.{name}", words, mtime=when)
    return hidden.rename(hidden.with_name(name))


class TestWatch:
    def test_a_clip_renamed_into_place_is_archived_at_once(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        numbers = tree.with_name("watch.prom")
        manager = watch("--metrics", numbers)
        source = arrive(put, f"{ONE}.mp4")
        made = tree / "archived" / f"{ONE}.mp4"
        wait_until(lambda: made.exists() and not source.exists(), "the archive")
        manager.wait_for("STATUS=waiting for clips, 0 not yet looked at, 1 archived")
        manager.wait_for("WATCHDOG=1", more=3)
        assert frames(made) == 20
        assert (tree / ".deleted/input" / f"{ONE}.mp4").exists()
        code, out, errors = manager.end()
        assert (code, errors) == (128 + signal.SIGTERM, "")
        assert out.startswith(f"{ONE}.mp4: archived ")
        manager.wait_for("STOPPING=1")
        assert re.search(
            r"camarchiver_clips_total{.*command=\"watch\".*result=\"done\".*} 1.0", numbers.read_text()
        )
        assert [event["event"] for event in journal(tree)] == ["archived", "trashed"]
        assert not [*tree.rglob("*.mp4.lock"), *tree.rglob("*.staged*"), *tree.rglob("claims/*")]

    def test_metrics_and_failures_are_told_while_it_runs(
        self, put: Put, tree: Path, tmp_path: Path, watch: Callable[..., Manager], web: Web
    ) -> None:
        file, teller = tmp_path / "camarchiver.prom", tmp_path / "tell"
        teller.write_text(
            f'#!/bin/sh\ncat > "{tmp_path}/report.new"; mv {tmp_path}/report.new {tmp_path}/report\n'
        )
        teller.chmod(0o755)
        options = ("--metrics", file, "--notify", teller, "--ping-url", f"{web.url}/uuid")
        (tmp_path / "sitecustomize.py").write_text("from camarchiver import pulse\npulse.SECONDS = 0.5\n")
        manager = watch(*options, PYTHONPATH=str(tmp_path))
        arrive(put, f"{DAY}/REO_bad_20260301081500.mp4", b"junk")
        arrive(put, f"{ONE}.mp4")
        wait_until((tmp_path / "report").exists, "the notice", 60)
        told = json.loads((tmp_path / "report").read_text())
        assert [(each["result"], each["reason"]) for each in told["outcomes"]] == [("failed", "damaged")]
        good = {"command": "watch", "camera": "front", "result": "done"}
        wait_until(lambda: numbers(file, "clips_total", **good) == [1], "the good clip's number", 60)
        assert numbers(file, "remembered_failures") == [1]
        wait_until(lambda: ("/uuid", "") in web.heard, "the sign of life", 60)
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert numbers(file, "clips_total", command="watch", result="failed") == [1]
        assert numbers(file, "clips_total", **good) == [1]
        assert "/uuid/fail" not in [path for path, _ in web.heard]

    def test_a_reload_counts_no_clip_twice(
        self, put: Put, tree: Path, tmp_path: Path, watch: Callable[..., Manager]
    ) -> None:
        file, config = tmp_path / "camarchiver.prom", tmp_path / "config.toml"
        config.write_text(f'metrics = "{file}"\n')
        manager = watch("--config", config)
        good = {"command": "watch", "camera": "front", "result": "done"}
        for number in (1, 2):
            source = arrive(put, f"{DAY}/REO_front_2026030108150{number}.mp4")
            wait_until(lambda source=source: not source.exists(), "the archive", 60)
            manager.process.send_signal(signal.SIGHUP)
            manager.wait_for("READY=1")
            wait_until(
                lambda number=number: numbers(file, "clips_total", **good) == [number], "its number", 60
            )
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert numbers(file, "clips_total", **good) == [2]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_puts_back_what_was_begun(
        self,
        put: Put,
        tree: Path,
        watch: Callable[..., Manager],
        odd_ffmpeg: Callable[[str], Path],
        number: int,
    ) -> None:
        (tree / "2024/01/05").mkdir(parents=True)
        manager = watch("--json", "--ffmpeg", odd_ffmpeg('    touch "$last"; exec sleep 100'))
        source = arrive(put, "2024/01/05/REO_front_20240105101500.mp4")
        wait_until(lambda: list(tree.rglob("*.staged*")), "the encoding", 60)
        code, out, _ = manager.end(number)
        assert code == 128 + number
        found = json.loads(out)
        assert (found["command"], found["status"], found["exit_code"]) == ("watch", "stopped", code)
        assert found["results"] == {"skipped": 1}
        assert source.exists() and not list(tree.rglob("*.staged*"))
        assert not source.with_name(source.name + ".lock").exists()

    def test_a_hangup_reads_the_config_anew_under_a_manager(
        self, put: Put, tree: Path, watch: Callable[..., Manager], tmp_path: Path
    ) -> None:
        config = tmp_path / "own.toml"
        config.write_text('[watch]\nexclude = ["*front*"]\n')
        manager = watch("--config", config)
        excluded = arrive(put, f"{ONE}.mp4")
        second = arrive(put, f"{DAY}/REO_back_20260301081500.mp4")
        wait_until(lambda: not second.exists(), "the second clip's archive")
        assert excluded.exists()
        config.write_text("[watch]\nexclud = []\n")
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY=1")
        config.write_text("[watch]\nexclude = []\n")
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        again = arrive(put, f"{DAY}/REO_front_20260301091500.mp4")
        wait_until(lambda: not again.exists(), "the archive after the reload")
        code, _, errors = manager.end()
        assert code == 128 + signal.SIGTERM
        assert "exclud is not a key; did you mean exclude?" in errors and "nothing changes" in errors

    def test_a_damaged_clip_is_tried_once_and_again_only_when_it_has_changed(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch("--quiet-for", "1s")
        arrive(put, f"{ONE}.mp4", b"no video")
        wait_until(lambda: len(journal(tree)) == 1, "the failure")
        with (tree / f"{ONE}.mp4").open("rb+"):
            pass
        whole_one = arrive(put, f"{DAY}/REO_back_20260301081500.mp4")
        wait_until(lambda: not whole_one.exists(), "the other clip")
        time.sleep(1.5)
        assert [event["event"] for event in journal(tree)] == ["failed", "archived", "trashed"]
        replaced = arrive(put, f"{ONE}.mp4")
        wait_until(lambda: not replaced.exists(), "the archive of what replaced it")
        manager.end()
        assert not json.loads((tree / "archived" / STATE_FOLDER / "failures.json").read_text())

    def test_where_the_kernel_lets_no_more_folders_be_watched_it_goes_on_and_says_what_helps(
        self, put: Put, tree: Path
    ) -> None:
        limited = 'echo 5 > /proc/sys/user/max_inotify_watches && exec "$@"'
        command = ["unshare", "--user", "--map-root-user", "sh", "-c", limited, "sh", str(COMMAND), "watch"]
        process = subprocess.Popen(
            [*command, str(tree), "--codec", "h264", "--poll", "1s", "--quiet-for", "1s"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TZ": "UTC"},
        )
        wait_until(lambda: "scanned in" in _log_of(tree) or process.poll() is not None, "the start", 60)
        if process.poll() is not None:
            assert process.stderr is not None
            pytest.skip(f"no user namespace here: {process.stderr.read()[-200:]}")
        clips = [put(f"2026/03/{day:02}/REO_front_202603{day:02}081500.mp4") for day in range(1, 6)]
        wait_until(lambda: not any(clip.exists() for clip in clips), "the last clip", 60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
        assert errors.count("sysctl -w fs.inotify.max_user_watches=") == 1
        assert "scanning every 1 s instead" in errors

    def test_it_goes_on_when_nobody_reads_what_it_prints(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch()
        for stream in (manager.process.stdout, manager.process.stderr):
            assert stream is not None
            stream.close()
        for name in ("front", "back", "yard"):
            source = arrive(put, f"{DAY}/REO_{name}_20260301081500.mp4", b"x" if name == "back" else H264)
            wait_until(lambda: len(journal(tree)) > 0, "the journal")
            if name != "back":
                wait_until(lambda source=source: not source.exists(), "the archive")
        manager.process.stdout = manager.process.stderr = None
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert _log_of(tree).count("standard output is gone") == 1

    def test_an_upload_that_was_there_before_and_its_picture_are_found(
        self, put: Put, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        put(f"{ONE}.mp4")
        put(f"{ONE}.jpg", b"picture")
        fresh = put(f"{DAY}/REO_back_20260301081500.mp4", mtime=time.time())
        manager = watch()
        made = tree / "archived" / f"{ONE}.jpg"
        wait_until(made.exists, "the picture")
        assert manager.end()[0] == 128 + signal.SIGTERM
        assert fresh.exists()

    def test_a_hangup_ends_it_on_a_terminal_and_a_second_start_is_refused(
        self, tree: Path, watch: Callable[..., Manager]
    ) -> None:
        manager = watch(managed=False)
        second = installed("watch", tree)
        assert second.returncode == 11 and "watch runs here already" in second.stderr
        assert manager.end(signal.SIGHUP)[0] == 128 + signal.SIGHUP


class TestManyHosts:
    """Any number of hosts on one tree; here they are processes that call themselves different hosts."""

    @pytest.fixture
    def start(self, tree: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
        started: list[subprocess.Popen[str]] = []

        def start(command: str, host: str, *options: object) -> subprocess.Popen[str]:
            started.append(
                subprocess.Popen(
                    [str(COMMAND), command, str(tree), "--codec", "h264", "--jobs", "1", *map(str, options)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                    env={**os.environ, "TZ": "UTC", "CAMARCHIVER_HOST_ID": host},
                )
            )
            return started[-1]

        yield start
        for process in started:
            process.kill()
            process.communicate()

    def test_every_clip_is_archived_once(
        self, put: Put, tree: Path, start: Callable[..., subprocess.Popen[str]]
    ) -> None:
        sources = [put(f"{DAY}/REO_front_202603010815{second:02}.mp4") for second in range(12)]
        hosts = [
            start("archive", "nas", "--json"),
            start("archive", "attic", "--json"),
            start("watch", "desk", "--json", "--poll", "1s"),
        ]
        wait_until(lambda: not any(source.exists() for source in sources), "the last clip", 120)
        hosts[-1].send_signal(signal.SIGTERM)
        for host in hosts:
            out, errors = host.communicate(timeout=60)
            assert errors == ""
            told = json.loads(out)
            assert told["exit_code"] == host.returncode and host.returncode in (0, 128 + signal.SIGTERM)
            stale = {each["detail"] for each in told["outcomes"] if each["result"] == "stale"}
            assert stale <= {"archived by another run meanwhile"}
        made = [event["source"] for event in journal(tree) if event["event"] == "archived"]
        assert sorted(made) == sorted(source.relative_to(tree).as_posix() for source in sources)
        assert len({event["run"] for event in journal(tree)}) > 1
        archives = sorted((tree / "archived" / DAY).iterdir())
        assert [frames(path) for path in archives] == [20] * 12
        assert not [*tree.rglob("*.mp4.lock"), *tree.rglob("*.staged*"), *tree.rglob("claims/*")]

    def test_they_begin_at_different_clips_and_status_tells_who_works_on_what(
        self,
        put: Put,
        tree: Path,
        odd_ffmpeg: Callable[[str], Path],
        start: Callable[..., subprocess.Popen[str]],
    ) -> None:
        sleeping = odd_ffmpeg('    touch "$last"; exec sleep 100')
        for second in range(8):
            put(f"2024/01/05/REO_front_202401051015{second:02}.mp4")
        locks = tree / "archived" / STATE_FOLDER / "locks"
        locks.mkdir(parents=True)
        for host in ("attic", "nas"):
            (locks / f"archive@{host}.run").touch()
        hosts = [start("archive", host, "--ffmpeg", sleeping) for host in ("attic", "nas")]
        wait_until(lambda: len(list(tree.rglob("*.mp4.lock"))) == 2, "both locks", 60)
        told = json.loads(installed("status", tree, "--json").stdout)["working"]
        assert len(told) == 2
        assert all(f"(host {host}, pid" in " ".join(told) for host in ("attic", "nas")), told
        locked = sorted(path.name for path in tree.rglob("*.mp4.lock"))
        assert locked == [f"REO_front_202401051015{second}.mp4.lock" for second in ("00", "04")]
        for host in hosts:
            host.send_signal(signal.SIGTERM)
            assert host.wait(60) == 128 + signal.SIGTERM


@pytest.fixture
def camera(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """A tree with one old clip and its picture."""
    return one_clip(tmp_path / "camera", make_clip)


@pytest.fixture(scope="session")
def archived_once(tmp_path_factory: pytest.TempPathFactory, make_clip: Callable[..., Path]) -> Path:
    root = one_clip(tmp_path_factory.mktemp("archived") / "camera", make_clip)
    assert archive(root).returncode == 0
    return root


@pytest.fixture
def archived_camera(tmp_path: Path, archived_once: Path) -> Path:
    """The same tree, archived."""
    return Path(shutil.copytree(archived_once, tmp_path / "camera"))


class TestHold:
    def test_a_held_clip_is_left_alone_until_the_hold_goes(self, camera: Path, told: Command) -> None:
        added = told(
            "hold", "add", "-C", camera, "--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x"
        )
        assert added.returncode == 0
        name = added.stdout.split()[0]
        (listed,) = json.loads(told("hold", "list", "-C", camera, "--json").stdout)["holds"]
        assert (listed["id"], listed["reason"], listed["lapsed"]) == (name, "x", False)
        held = json.loads(told("archive", camera, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in held["steps"]] == ["held"]
        assert told("archive", camera).stdout == ""
        assert (camera / f"2026/03/01/{NAME}.mp4").exists()
        refused = told("hold", "remove", "-C", camera, name, CAMARCHIVER_HOLD_REMOVE_NO_CONFIRM="1")
        assert (refused.returncode, name in told("hold", "list", "-C", camera).stdout) == (2, True)
        assert told("hold", "remove", "-C", camera, name, "-y").returncode == 0
        assert told("hold", "list", "-C", camera).stdout == ""
        assert told("archive", camera).returncode == 0
        assert not (camera / f"2026/03/01/{NAME}.mp4").exists()

    def test_one_readable_copy_holds_and_none_stops_every_run(self, camera: Path, told: Command) -> None:
        told("hold", "add", "-C", camera, "--from", "2026-03-01", "--to", "2026-03-02", "--reason", "x")
        state = camera / "archived" / STATE_FOLDER
        (state / "holds.json").write_text("{ torn")
        held = json.loads(told("archive", camera, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in held["steps"]] == ["held"]
        (state / "holds.json.bak").write_text("")
        stopped = told("archive", camera)
        assert stopped.returncode == 13
        assert "hold list --repair" in stopped.stderr
        repaired = told("hold", "list", "-C", camera, "--repair")
        assert (repaired.returncode, repaired.stderr.count("put aside")) == (0, 2)
        assert told("archive", camera).returncode == 0

    def test_a_recorders_outbox_has_holds_of_its_own(self, told: Command, tmp_path: Path) -> None:
        outbox = tmp_path / "out"
        range_ = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "x")
        missing = told("hold", "add", "--outbox", outbox, *range_)
        assert (missing.returncode, f"{outbox} is not a folder" in missing.stderr) == (13, True)
        outbox.mkdir()
        added = told("hold", "add", "--outbox", outbox, *range_)
        assert added.returncode == 0, added.stderr
        assert [each.reason for each in holds.read(outbox / STATE_FOLDER)] == ["x"]
        assert told("hold", "list", "--outbox", outbox).stdout == added.stdout
        assert told("hold", "remove", "--outbox", outbox, added.stdout.split()[0], "-y").returncode == 0
        assert holds.read(outbox / STATE_FOLDER) == ()

    def test_the_repeated_hour_is_held_whole(self, camera: Path, told: Command) -> None:
        zone = ("--timezone", "Europe/Berlin")
        times = ("--from", "2025-10-26 02:10", "--to", "2025-10-26 02:20")
        added = told("hold", "add", "-C", camera, *zone, *times, "--reason", "x")
        assert added.returncode == 0, added.stderr
        stored = json.loads((camera / "archived" / STATE_FOLDER / "holds.json").read_text())
        assert stored["holds"][0]["from"] == "2025-10-26T02:10:00+02:00"
        assert stored["holds"][0]["to"] == "2025-10-26T02:20:00+01:00"

    def test_it_is_said_how_much_a_new_hold_holds(self, camera: Path, told: Command) -> None:
        day = ("hold", "add", "-C", camera, "--reason", "x", "--from", "2026-03-01", "--to", "2026-03-01")
        assert told(*day).stderr == "1 clip that stands here now\n"
        mistyped = told(*day, "--camera", "frnt")
        assert mistyped.returncode == 0
        assert mistyped.stderr.endswith("is held by it; about then recorded: front\n")
        late = told(*day, "--until", "2020-01-01")
        assert (late.returncode, "has lapsed already" in late.stderr) == (2, True)

    def test_a_range_that_ends_before_it_begins_is_refused(self, camera: Path, told: Command) -> None:
        times = ("--from", "2026-03-02", "--to", "2026-03-01 10:00")
        assert told("hold", "add", "-C", camera, *times, "--reason", "x").returncode == 2


class TestExport:
    """`hold export`, on a tree with one archived clip, one unarchived one, and a picture."""

    @pytest.fixture
    def camera(self, archived_camera: Path) -> Path:
        return archived_camera

    @pytest.fixture
    def held(self, camera: Path, told: Command) -> str:
        """The hold of a day whose clips are archived, but for one that came later."""
        later = camera / "2026/03/01/REO_front_20260301101500.mp4"
        later.parent.mkdir(parents=True)
        later.write_bytes((camera / f".deleted/input/2026/03/01/{NAME}.mp4").read_bytes() + b"0")
        os.utime(later, (1772360100, 1772360100))
        day = ("--from", "2026-03-01", "--to", "2026-03-01")
        added = told("hold", "add", "-C", camera, *day, "--reason", "x")
        return str(added.stdout.split()[0])

    @staticmethod
    def files(place: Path) -> set[str]:
        return {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}

    @staticmethod
    def is_proved(place: Path) -> bool:
        checked = subprocess.run(["b2sum", "--strict", "-c", "B2SUMS"], cwd=place, capture_output=True)
        return checked.returncode == 0

    def test_every_copy_of_a_clip_goes_along_and_is_proved(
        self, camera: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        place = tmp_path / "evidence"
        before = snapshot(camera)
        done = told("hold", "export", "-C", camera, held, place)
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
        assert snapshot(camera) == before
        trashed = camera / f".deleted/input/2026/03/01/{NAME}.mp4"
        copy = place / f"trash/input/2026/03/01/{NAME}.mp4"
        assert copy.read_bytes() == trashed.read_bytes()
        assert copy.stat().st_mtime_ns == trashed.stat().st_mtime_ns
        lines = [json.loads(line) for line in (place / "journal.jsonl").read_text().splitlines()]
        assert [line["event"] for line in lines] == [event["event"] for event in journal(camera)]

    def test_it_can_be_run_again_and_overwrites_nothing(
        self, camera: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        place = tmp_path / "evidence"
        told("hold", "export", "-C", camera, held, place)
        first = snapshot(place)
        again = told("hold", "export", "-C", camera, held, place, "--json")
        assert (again.returncode, snapshot(place)) == (0, first)
        assert all(file["was_there"] for file in json.loads(again.stdout)["files"])
        other = place / "source/2026/03/01/REO_front_20260301101500.mp4"
        other.write_bytes(b"somebody else's")
        (place / f"archive/2026/03/01/{NAME}.jpg").unlink()
        refused = told("hold", "export", "-C", camera, held, place)
        assert refused.returncode == 3
        assert "REO_front_20260301101500.mp4" in refused.stderr
        assert "never overwritten" in refused.stderr
        assert other.read_bytes() == b"somebody else's"
        assert (place / f"archive/2026/03/01/{NAME}.jpg").read_bytes() == b"jpg"
        assert not self.is_proved(place)

    def test_playable_copies_are_h264_for_every_player(
        self, camera: Path, told: Command, held: str, tmp_path: Path, make_clip: Make
    ) -> None:
        folder, place = camera / "2026/03/01", tmp_path / "evidence"
        odd = make_clip("-f lavfi -i testsrc2=s=160x120:r=10:d=2 -pix_fmt yuvj422p -c:v mjpeg", ".avi")
        shutil.copy(odd, folder / "REO_yard_20260301120000.avi")
        shutil.copy(odd, folder / "REO_yard_20260301130000.avi")
        os.truncate(folder / "REO_yard_20260301130000.avi", 100)
        done = told("hold", "export", "-C", camera, held, place, "--playable")
        assert done.returncode == 3
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
        assert told("hold", "export", "-C", camera, held, place, "--playable").returncode == 3
        assert snapshot(place) == first

    def test_a_playable_copy_shows_what_its_clip_shows_or_is_not_made(
        self, camera: Path, told: Command, held: str, tmp_path: Path, make_clip: Make
    ) -> None:
        folder, place = camera / "2026/03/01", tmp_path / "evidence"
        (folder / "REO_front_20260301101500.mp4").unlink()
        sizes = make_clip(TestUnencoded.of_two_sizes(make_clip, tmp_path))
        stray = make_clip(TestUnencoded.STRAY)
        titled = make_clip(TestUnencoded.with_subtitles(tmp_path))
        signed = make_clip(TestUnencoded.SIGNED)
        reordered = make_clip(H264.replace("ultrafast", "fast") + " -bf 3", ".avi")
        for minute, clip in enumerate((sizes, stray, titled, signed, reordered)):
            shutil.copy(clip, folder / f"REO_yard_2026030112{minute:02}00{clip.suffix}")
        done = told("hold", "export", "-C", camera, held, place, "--playable", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == 3
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
        self, camera: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        archived = camera / f"archived/2026/03/01/{NAME}.mp4"
        (camera / f".deleted/input/2026/03/01/{NAME}.mp4").unlink()
        content = archived.read_bytes()
        archived.write_bytes(content[:-1] + b"?")
        done = told("hold", "export", "-C", camera, held, tmp_path / "a", "--json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"]) == (3, "partial")
        assert {error["code"] for error in found["errors"]} == {"missing", "damaged"}
        archived.unlink()
        done = told("hold", "export", "-C", camera, held, tmp_path / "b")
        assert (done.returncode, done.stderr.count("is missing")) == (3, 2)

    def test_a_place_that_cannot_be_meant_is_refused(
        self, camera: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        for place in (camera / "evidence", camera / "archived/x", tmp_path / "no/where", tmp_path / "file"):
            assert told("hold", "export", "-C", camera, held, place).returncode == 2
        assert told("hold", "export", "-C", camera, "nohold", tmp_path / "evidence").returncode == 2
        nothing = told(
            "hold", "add", "-C", camera, "--from", "2020-01-01", "--to", "2020-01-02", "--reason", "x"
        )
        empty = told("hold", "export", "-C", camera, nothing.stdout.split()[0], tmp_path / "evidence")
        assert (empty.returncode, "no file" in empty.stdout) == (1, True)

    def test_a_disk_too_small_is_said_before_anything_is_copied(
        self, camera: Path, told: Command, held: str, small_disk: Path
    ) -> None:
        (small_disk / "filler").write_bytes(bytes(900_000))
        done = told("hold", "export", "-C", camera, held, small_disk / "evidence")
        assert done.returncode == 13
        assert "nothing was copied" in done.stderr
        assert self.files(small_disk / "evidence") == set()

    def test_a_disk_that_fills_up_on_the_way_is_said(
        self, camera: Path, told: Command, held: str, small_disk: Path
    ) -> None:
        needed = sum(path.stat().st_size for path in camera.rglob("*.mp4"))
        (small_disk / "filler").write_bytes(bytes(1_000_000 - needed))
        done = told("hold", "export", "-C", camera, held, small_disk / "evidence", "--playable")
        assert done.returncode == 3
        assert "is full" in done.stderr
        (small_disk / "filler").unlink()
        done = told("hold", "export", "-C", camera, held, small_disk / "evidence", "--playable")
        assert done.returncode == 0, done.stderr
        assert self.is_proved(small_disk / "evidence")

    def test_names_that_no_list_of_sums_likes(
        self, camera: Path, told: Command, held: str, tmp_path: Path
    ) -> None:
        source = camera / "2026/03/01/REO_front_20260301101500.mp4"
        odd = os.fsdecode(b"a\\b\nc\xff")
        (camera / "2026/03/01" / odd).mkdir()
        source.rename(camera / "2026/03/01" / odd / source.name)
        done = told("hold", "export", "-C", camera, held, tmp_path / "evidence")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "evidence/source/2026/03/01" / odd / source.name).exists()
        assert self.is_proved(tmp_path / "evidence")


class TestWhy:
    def test_a_clip_is_followed_from_source_to_trash_and_back(self, camera: Path, told: Command) -> None:
        source = camera / f"2026/03/01/{NAME}.mp4"
        before = told("why", "-C", camera, source)
        assert "the next archive run would archive it" in before.stdout
        assert told("archive", camera).returncode == 0
        for path in (
            source,
            camera / f"archived/2026/03/01/{NAME}.mp4",
            camera / f".deleted/input/2026/03/01/{NAME}.mp4",
        ):
            story = told("why", "-C", camera, path).stdout
            assert "archived as" in story
            assert "verified: every frame's time" in story
            assert "source moved to the trash" in story
            assert "not in the source tree now" in story
        asked = told(
            "why", "-C", camera, "--camera", "front", "--at", "2026-03-01 08:15:01", "--timezone", "UTC"
        )
        assert NAME in asked.stdout
        assert told("restore", "-C", camera, source, "-y").returncode == 0
        assert "restored from the trash" in told("why", "-C", camera, source).stdout

    def test_the_next_runs_are_those_of_the_config(self, camera: Path, told: Command, tmp_path: Path) -> None:
        source, config = camera / f"2026/03/01/{NAME}.mp4", tmp_path / "c.toml"
        for day in ("02", "03"):
            newer = camera / f"2026/03/01/REO_front_202603{day}081500.mp4"
            shutil.copy(source, newer)
            os.utime(newer, (1772352900 + 86400 * int(day), 1772352900 + 86400 * int(day)))
        for text, runs in (
            ("", ("archive it", "leave the source alone")),
            ("unarchived = true", ("archive it", "move the source to the trash")),
            ("unarchived = true\n[cleanup]\ndelete = true", ("archive it", "delete the source")),
            ("[archive]\nage = 30000\n[cleanup]\nage = 30000", ("leave it alone", "leave the source alone")),
        ):
            config.write_text(text + "\n")
            found = told("why", "-C", camera, "--config", config, source).stdout
            assert f"the next archive run would {runs[0]}:" in found, text
            assert f"the next cleanup would {runs[1]}, {source}:" in found, text
        config.write_text("unarchived = true\nmax_removals = 0\n")
        found = told("why", "-C", camera, "--config", config, source).stdout
        assert "the next cleanup would change nothing: the plan would remove" in found
        assert "leave it alone" in told("why", "-C", camera, source, "--age", "30000").stdout
        day = ("--from", "2026-03-01", "--to", "2026-03-01")
        name = told("hold", "add", "-C", camera, *day, "--reason", "police").stdout.split()[0]
        assert told("why", "-C", camera, source).stdout.count(f"held (by hold {name}: police)") == 2

    def test_each_copy_is_told_of(self, camera: Path, told: Command) -> None:
        told("archive", camera)
        found = told("why", "-C", camera, camera / f"2026/03/01/{NAME}.mp4").stdout
        assert f"leave the archive alone, {camera}/archived/2026/03/01/{NAME}.mp4: " in found
        assert f"leave the copy in the trash alone, {camera}/.deleted/input/2026/03/01/{NAME}.mp4: " in found
        document = json.loads(told("why", "-C", camera, camera / f"2026/03/01/{NAME}.mp4", "--json").stdout)
        (story,) = document["stories"]
        assert [event["event"] for event in story["events"]] == ["archived", "trashed"]
        assert {place["tree"] for place in story["places"]} == {"archive", "trash"}
        assert {step["reason"] for step in story["next_cleanup"]} == {"in-policy"}
        assert story["next_archive"] is None
        assert any("archived as" in sentence for sentence in story["sentences"])

    def test_a_moment_names_the_clip_that_covers_it(self, camera: Path, told: Command) -> None:
        def names(at: str) -> list[str]:
            found = told("why", "-C", camera, "--camera", "front", "--at", at, "--json")
            return [story["source"][-10:-4] for story in json.loads(found.stdout)["stories"]]

        for archived in (False, True):
            assert names("2026-03-01 08:15:01") == ["081500"], archived
            assert names("2026-03-01 08:15:03") == [], archived
            if not archived:
                assert told("archive", camera).returncode == 0

    def test_both_clips_of_an_hour_that_repeats_are_told(self, camera: Path, told: Command) -> None:
        folder = camera / "2025/10/26"
        folder.mkdir(parents=True)
        for second, at in (("00", 1761438600), ("01", 1761442201)):
            path = folder / f"REO_front_202510260230{second}.mp4"
            shutil.copy(camera / f"2026/03/01/{NAME}.mp4", path)
            os.utime(path, (at, at))
        zone, asked = ("--timezone", "Europe/Berlin"), ("--camera", "front", "--at", "2025-10-26 02:30:01")
        found = told("why", "-C", camera, *zone, *asked).stdout
        assert [name in found for name in ("023000", "023001")] == [True, True]

    def test_a_picture_tells_its_clips_story_and_a_foreign_file_that_it_is_one(
        self, camera: Path, told: Command
    ) -> None:
        picture = camera / f"2026/03/01/{NAME}.jpg"
        assert f"{NAME}.mp4:" in told("why", "-C", camera, picture).stdout
        assert told("archive", camera).returncode == 0
        for path in (picture, camera / f"archived/2026/03/01/{NAME}.jpg"):
            assert "archived as" in told("why", "-C", camera, path).stdout, path
        foreign = camera / "archived/2026/03/01/REO_front_20260301235900.mp4"
        foreign.write_bytes(b"x")
        found = told("why", "-C", camera, foreign)
        assert (found.returncode, "never touched" in found.stdout) == (0, True)

    def test_lines_that_somebody_spoiled_still_tell_the_rest(
        self, archived_camera: Path, told: Command
    ) -> None:
        lines = archived_camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        source = f"2026/03/01/{NAME}.mp4"
        with lines.open("a") as more:
            for fields in (
                {},
                {"at": 7, "start": "x"},
                {"event": "archived", "encoder": 1, "source_size": "\u001b"},
            ):
                more.write(json.dumps({"source": source, **fields}) + "\n")
            more.write('[1]\n"x"\nnull\n')
        for words in (
            ("why", archived_camera / source),
            ("why", "--camera", "front", "--at", "2026-03-01 08:15"),
        ):
            found = told(*words, "-C", archived_camera)
            assert (found.returncode, "archived as" in found.stdout) == (0, True), found.stderr
            assert "\u001b" not in found.stdout
        for command in ("status", "verify"):
            found = told(command, archived_camera)
            assert (found.returncode in (0, 3), "Traceback" in found.stderr) == (True, False), found.stderr

    def test_a_name_used_again_tells_of_two_clips(self, camera: Path, told: Command) -> None:
        source = camera / f"2026/03/01/{NAME}.mp4"
        content = source.read_bytes()
        for more in (b"", b"0"):
            source.parent.mkdir(exist_ok=True, parents=True)
            source.write_bytes(content + more)
            os.utime(source, (START + len(more), START + len(more)))
            assert told("archive", camera).returncode == 0
        found = told("why", "-C", camera, source).stdout
        assert (found.count("recorded by camera front"), found.count("another clip of the same name")) == (
            2,
            1,
        )

    def test_what_nobody_knows_is_said(self, camera: Path, told: Command, tmp_path: Path) -> None:
        unknown = told("why", "-C", camera, camera / "2026/03/01/REO_front_20260301090000.mp4")
        assert (unknown.returncode, "nothing is known" in unknown.stderr) == (1, True)
        asked = ("--camera", "front", "--at", "2020-01-01", "--json")
        failed = json.loads(told("why", "-C", camera, *asked).stdout)
        assert (failed["status"], failed["errors"][0]["code"]) == ("failed", "unknown")
        assert told("why", "-C", camera, tmp_path / "elsewhere.mp4").returncode == 2
        assert told("why", "-C", camera).returncode == 2


class TestRestore:
    def test_a_run_is_undone_and_not_done_again_the_same_night(self, camera: Path, told: Command) -> None:
        source = camera / f"2026/03/01/{NAME}.mp4"
        content, status = source.read_bytes(), source.stat()
        run = json.loads(told("archive", camera, "--json").stdout)["run"]
        assert not source.exists()
        listed = told("restore", "-C", camera, "--list")
        assert (NAME in listed.stdout, source.exists()) == (True, False)
        steps = json.loads(told("restore", "-C", camera, "--list", "--json").stdout)["steps"]
        assert [(step["action"], step["reason"]) for step in steps] == [("restore", "restore-asked")]
        assert told("restore", "-C", camera, "--run", run).returncode == 2
        assert told("restore", "-C", camera, "--run", run, "-y").returncode == 0
        assert source.read_bytes() == content
        assert source.stat().st_mtime_ns == status.st_mtime_ns
        assert source.with_suffix(".jpg").read_bytes() == b"jpg"
        plan = json.loads(told("archive", camera, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in plan["steps"]] == ["restored"]

    def test_nothing_is_written_over(self, camera: Path, told: Command) -> None:
        source = camera / f"2026/03/01/{NAME}.mp4"
        told("archive", camera)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(b"another clip")
        done = json.loads(told("restore", "-C", camera, source, "-y", "--json").stdout)
        assert [(each["result"], each["reason"]) for each in done["outcomes"]] == [("skipped", "taken")]
        assert source.read_bytes() == b"another clip"
        assert (camera / f".deleted/input/2026/03/01/{NAME}.mp4").exists()

    @pytest.mark.edge
    @pytest.mark.parametrize("how", ["renamed", "copied"])
    def test_a_restore_that_died_halfway_is_finished_by_the_next(
        self, camera: Path, told: Command, how: str
    ) -> None:
        """It died after the clip was back, on another filesystem before the trash had lost it."""
        source = camera / f"2026/03/01/{NAME}.mp4"
        told("archive", camera)
        source.parent.mkdir(parents=True, exist_ok=True)
        trashed = camera / f".deleted/input/2026/03/01/{NAME}.mp4"
        shutil.copy2(trashed, source)
        if how == "renamed":
            trashed.unlink()
        part = source.with_name(f".{NAME}.0123456789abcdef.staged.jpg")
        part.write_bytes(b"j")
        assert told("restore", "-C", camera, source, "-y").returncode == 0
        assert source.with_suffix(".jpg").read_bytes() == b"jpg"
        assert source.exists() and not trashed.exists() and not part.exists()
        assert "restored from the trash" in told("why", "-C", camera, source).stdout
        assert told("restore", "-C", camera, "--list", "--camera", "front").stdout == ""

    def test_pictures_come_back_where_the_tree_is_mounted_elsewhere(
        self, camera: Path, told: Command
    ) -> None:
        told("archive", camera)
        moved = camera.rename(camera.with_name("elsewhere"))
        assert told("restore", "-C", moved, "--since", "2026-03-01", "-y").returncode == 0
        assert (moved / f"2026/03/01/{NAME}.mp4").exists()
        assert (moved / f"2026/03/01/{NAME}.jpg").read_bytes() == b"jpg"

    def test_a_changed_file_in_the_trash_is_not_taken_for_the_clip(self, camera: Path, told: Command) -> None:
        told("archive", camera)
        (camera / f".deleted/input/2026/03/01/{NAME}.mp4").write_bytes(b"something else")
        assert told("restore", "-C", camera, "--list").stdout == ""


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

    def test_archive_in_a_folder_with_the_sticky_bit(self, camera: Path, other_disk: Path) -> None:
        folder = camera / "2026/03/01"
        self.given_to_others(folder)
        options = ("archive", camera, "--trash-root", other_disk)
        first = self.run(*options)
        assert first.returncode == 3, first.stderr
        assert f"{NAME}.mp4 can't be removed: {folder} has the sticky bit" in first.stdout + first.stderr
        assert f"chmod -t {folder}, or run as user 1000" in first.stdout + first.stderr
        second = self.run(*options)
        assert second.returncode == 0, second.stderr
        plan = json.loads(self.run(*options, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in plan["steps"]] == ["failed-before"]
        third = self.run(*options, "--retry-failed")
        assert (third.returncode, "sticky bit" in third.stdout + third.stderr) == (1, True)
        assert clips_of(other_disk) == [] and (folder / f"{NAME}.jpg").exists()
        story = self.run("why", "-C", camera, folder / f"{NAME}.mp4").stdout
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
        assert first.returncode == 1, first.stderr
        assert "has the sticky bit" in first.stdout + first.stderr
        assert self.run(*options).returncode == 0
        assert clips_of(other_disk) == [] and old.path.exists()

    def test_a_restore_from_a_read_only_trash(self, camera: Path, other_disk: Path) -> None:
        trashed = ("--trash-root", other_disk)
        assert self.run("archive", camera, *trashed).returncode == 0
        subprocess.run(["mount", "--bind", other_disk, other_disk], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", other_disk], check=True)
            for _ in range(2):
                done = self.run("restore", "-C", camera, *trashed, "--since", "2026-03-01", "-y")
                assert done.returncode == 1, done.stdout
                assert "is mounted read-only; mount it writable" in done.stdout + done.stderr
                assert not list(camera.glob("2026/**/*.mp4"))
        finally:
            subprocess.run(["umount", "-l", other_disk], check=True)
        assert self.run("restore", "-C", camera, *trashed, "--since", "2026-03-01", "-y").returncode == 0
        assert (camera / f"2026/03/01/{NAME}.mp4").exists() and clips_of(other_disk) == []


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
        assert "really come free" in done.stdout
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
        assert (refused.returncode, refused.stdout) == (2, "")
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
        assert (failed.returncode, json.loads(failed.stdout)["errors"][0]["code"]) == (13, "storage")

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
            assert done.returncode == 10, done.stdout
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
            assert refused.returncode == 2
            assert "--allow-large" in refused.stdout + refused.stderr
        assert len(clips_of(yard.trees.source)) == 4
        assert told(*options, "--allow-large").returncode == 0
        assert len(clips_of(yard.trees.source)) == 1

    @pytest.mark.parametrize("option", ["--max-size", "--min-free"])
    def test_a_size_without_a_meaning_is_refused(self, yard: Yard, told: Command, option: str) -> None:
        for value in ("0", "-1", "many"):
            assert told("cleanup", yard.trees.source, "-y", option, value).returncode == 2

    def test_a_mount_that_is_gone_is_told_with_its_remedy(self, yard: Yard, told: Command) -> None:
        clip = yard.standing(40)
        shutil.rmtree(yard.trees.state)
        done = told("cleanup", yard.trees.source, "-y")
        assert done.returncode == 13
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
        assert done.returncode == 3
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
        assert (document["exit_code"], document["outcomes"]) == (2, []), "it would take most of each camera"
        assert told("hold", "remove", "-C", tree, name, "-y").returncode == 0
        assert told("cleanup", tree, "-y").returncode == 0
        why("source moved to the trash")
        old = ("cleanup", tree, "-y", "--trash-age", 0, "--clean-output", "--archive-age", dates.age(84))
        assert told(*old).returncode == 0
        why("archive")
        assert told("cleanup", tree, "-y", "--trash-age", 0).returncode == 0
        why("removed for good, by the rule trash-age")
        assert not list(tree.rglob(Path(oldest).name))


class TestVerify:
    @pytest.fixture
    def camera(self, archived_camera: Path) -> Path:
        return archived_camera

    @staticmethod
    def flaws(found: subprocess.CompletedProcess[str]) -> list[str]:
        return [each["flaw"] for each in json.loads(found.stdout)["findings"]]

    def test_a_sound_archive_is_silent(self, camera: Path, told: Command) -> None:
        for options in ((), ("--full",)):
            found = told("verify", camera, *options)
            assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
        assert json.loads(told("verify", camera, "--json").stdout)["checked"] == 1
        assert json.loads(told("verify", camera, "--json", "--sample", "0").stdout)["checked"] == 0
        assert json.loads(told("verify", camera, "--json", "--since", "2026-03-02").stdout)["checked"] == 0

    @pytest.mark.parametrize(
        ("flaw", "spoil"),
        [
            ("missing", Path.unlink),
            ("wrong-size", lambda path: os.truncate(path, path.stat().st_size - 1)),
            ("wrong-hash", lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?")),
        ],
    )
    def test_what_is_off_is_listed(
        self, camera: Path, told: Command, flaw: str, spoil: Callable[[Path], object]
    ) -> None:
        spoil(camera / f"archived/2026/03/01/{NAME}.mp4")
        found = told("verify", camera, "--json")
        assert (found.returncode, self.flaws(found)) == (3, [flaw])
        assert told("verify", camera).stdout.startswith(f"{flaw}: ")

    def test_a_damaged_archive_of_the_right_hash_is_found_by_decoding(
        self, camera: Path, told: Command
    ) -> None:
        path = camera / f"archived/2026/03/01/{NAME}.mp4"
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle - 800 : middle + 800] = bytes(1600)
        path.write_bytes(content)
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        events = [json.loads(line) for line in lines.read_text().splitlines()]
        events[0]["archive_blake2b"] = hashlib.blake2b(content).hexdigest()
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))
        assert told("verify", camera).returncode == 0
        assert self.flaws(told("verify", camera, "--full", "--json")) == ["damaged"]

    def test_a_torn_journal_is_told_and_a_foreign_file_is_nobodys_fault(
        self, camera: Path, told: Command
    ) -> None:
        (camera / "archived/2026/03/01/archived-20200101000000.mp4").write_bytes(b"an earlier tool's")
        sound = told("verify", camera, "--json")
        assert (sound.returncode, json.loads(sound.stdout)["foreign"]) == (0, 1)
        assert told("verify", camera, "-v").stdout.startswith("foreign: ")
        with (camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl").open("a") as lines:
            lines.write('{"event": "arch')
        assert self.flaws(told("verify", camera, "--json")) == ["torn-journal"]

    @pytest.fixture
    def archive_of_five(self, camera: Path, told: Command) -> list[Path]:
        """The archives of five clips of five days, in the order in which they are looked at."""
        source = camera / f".deleted/input/2026/03/01/{NAME}.mp4"
        for day in range(2, 6):
            path = camera / f"2026/03/0{day}/REO_front_2026030{day}081500.mp4"
            path.parent.mkdir(parents=True)
            path.write_bytes(source.read_bytes() + bytes(day))
            os.utime(path, (START + day * 86400, START + day * 86400))
        assert told("archive", camera).returncode == 0
        return sorted((camera / "archived").rglob("*.mp4"))

    def test_an_interrupted_run_goes_on_where_it_stopped(
        self, camera: Path, told: Command, archive_of_five: list[Path], tmp_path: Path
    ) -> None:
        archive_of_five[0].write_bytes(b"?" * archive_of_five[0].stat().st_size)
        archive_of_five[3].unlink()
        # an ffmpeg that hangs at the third archive
        slow = tmp_path / "ffmpeg"
        real = imageio_ffmpeg.get_ffmpeg_exe()
        hangs = f"touch {tmp_path}/asked; sleep 60"
        slow.write_text(f'#!/bin/sh\ncase "$*" in *20260303*) {hangs};; esac\nexec {real} "$@"\n')
        slow.chmod(0o755)
        full = ("verify", camera, "--full")
        running = subprocess.Popen(
            [sys.executable, "-m", "camarchiver", *map(str, full), "--ffmpeg", str(slow)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "asked").exists() and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        out, errors = running.communicate(timeout=30)
        assert running.returncode == 143, errors
        assert out.startswith("wrong-hash: ")
        assert "stopped after 2 archives; the same command goes on from there" in errors

        # another question begins anew, and doesn't forget where this one stopped
        assert json.loads(told("verify", camera, "--json").stdout)["resumed"] == 0
        again = told(*full, "--json")
        found = json.loads(again.stdout)
        assert (again.returncode, found["checked"], found["resumed"]) == (3, 5, 1)
        assert self.flaws(again) == ["wrong-hash", "missing"]
        assert json.loads(told(*full, "--json").stdout)["resumed"] == 0

    def test_a_sample_is_drawn_anew_each_time_and_anew_begins_again(
        self, camera: Path, told: Command, archive_of_five: list[Path]
    ) -> None:
        state = camera / "archived" / STATE_FOLDER / "verify.json"
        asked = {"since": None, "percent": 100.0, "full": False}
        place = {"day": "2026-03-04", "archive": "2026/03/04/REO_front_20260304081500.mp4"}
        mark = {"asked": asked, "run": "before", "after": place, "checked": 4, "off": []}
        state.write_text(json.dumps(mark))
        drawn = {
            json.loads(told("verify", camera, "--sample", "50", "--json").stdout)["checked"] for _ in "1234"
        }
        assert len(drawn) > 1 or drawn not in ({0}, {5})
        archive_of_five[0].unlink()
        went_on = told("verify", camera, "--json")
        assert (went_on.returncode, json.loads(went_on.stdout)["checked"]) == (0, 5)
        state.write_text(json.dumps(mark))
        assert self.flaws(told("verify", camera, "--anew", "--json")) == ["missing"]
        for text in ("{ torn", json.dumps({**mark, "asked": {**asked, "percent": 10**400}})):
            state.write_text(text)
            assert self.flaws(told("verify", camera, "--json")) == ["missing"]

    def test_a_removal_without_an_outcome_is_told(self, camera: Path, told: Command) -> None:
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        trashed = json.loads(lines.read_text().splitlines()[-1])
        intended = {**trashed, "event": "intended", "tree": "trash", "run": "dead", "reason": "trash-age"}
        with lines.open("a") as journal_of_day:
            journal_of_day.write(json.dumps(intended) + "\n")
        found = told("verify", camera)
        assert found.returncode == 3
        assert found.stdout.startswith(f"unfinished: {camera}/.deleted/input/2026/03/01/{NAME}.mp4: run dead")
        assert "it still stands" in found.stdout
        with lines.open("a") as journal_of_day:
            journal_of_day.write(json.dumps({**intended, "event": "left", "run": "later"}) + "\n")
        assert told("verify", camera).returncode == 0

    def test_an_archive_that_cannot_be_written_is_verified_all_the_same(
        self, camera: Path, told: Command, tmp_path: Path
    ) -> None:
        subprocess.run(["mount", "--bind", camera, camera], check=False, capture_output=True)
        ro = subprocess.run(["mount", "-o", "remount,ro,bind", camera], check=False, capture_output=True)
        if ro.returncode:
            pytest.skip("only root may mount")
        try:
            assert json.loads(told("verify", camera, "--json").stdout)["checked"] == 1
        finally:
            subprocess.run(["umount", "-l", camera], check=True)

    def test_a_day_of_the_journal_that_cannot_be_read_is_told_and_the_rest_checked(
        self, camera: Path, told: Command, archive_of_five: list[Path]
    ) -> None:
        day = camera / "archived" / STATE_FOLDER / "journal/2026/03/02.jsonl"
        day.unlink()
        day.mkdir()
        archive_of_five[4].unlink()
        found = told("verify", camera, "--json")
        assert (found.returncode, self.flaws(found)) == (3, ["unreadable", "missing"])
        assert json.loads(found.stdout)["checked"] == 4

    def test_what_a_hostile_journal_names_is_not_read(self, camera: Path, told: Command) -> None:
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        first = json.loads(lines.read_text().splitlines()[0])
        with lines.open("a") as more:
            for archive, size in (("../../../etc/passwd", 5), ("/etc/passwd", 5), ("x.mp4", "many")):
                more.write(json.dumps({**first, "archive": archive, "archive_size": size}) + "\n")
        found = told("verify", camera, "--json")
        assert (found.returncode, self.flaws(found)) == (3, ["torn-journal"])


class TestFindings:
    """What `verify` finds counts for every command, until it is found sound or repaired."""

    SOURCE = f"2026/03/01/{NAME}.mp4"

    @pytest.fixture
    def camera(self, archived_camera: Path) -> Path:
        """A tree whose one clip lies in the trash, beside its archive."""
        return archived_camera

    @staticmethod
    def flip(path: Path) -> None:
        """Change one byte in the middle; size and times stay."""
        status, content = path.stat(), bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    @classmethod
    def spoil(cls, camera: Path, flaw: str) -> None:
        path = camera / "archived" / cls.SOURCE
        match flaw:
            case "missing":
                path.unlink()
            case "wrong-size":
                os.truncate(path, path.stat().st_size // 2)
            case "wrong-hash":
                cls.flip(path)
            case "damaged":
                # As if it had been written so: only decoding tells.
                content = bytearray(path.read_bytes())
                middle = len(content) // 2
                content[middle - 800 : middle + 800] = bytes(1600)
                path.write_bytes(content)
                cls.rewrite(camera, hashlib.blake2b(content).hexdigest())

    @staticmethod
    def rewrite(camera: Path, digest: str) -> None:
        """Journal the archive with another BLAKE2b."""
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        events = [json.loads(line) for line in lines.read_text().splitlines()]
        events[0]["archive_blake2b"] = digest
        lines.write_text("".join(json.dumps(event) + "\n" for event in events))

    @staticmethod
    def known(camera: Path) -> dict[str, str]:
        """The flaw of each archive that is remembered as damaged."""
        file = camera / "archived" / STATE_FOLDER / "findings.json"
        found = json.loads(file.read_text())["damaged"] if file.exists() else {}
        return {archive: damage["flaw"] for archive, damage in found.items()}

    @staticmethod
    def back_in_source(camera: Path) -> Path:
        """The clip is in the source as well as archived, as `archive --keep-source` leaves it."""
        trashed = camera / f".deleted/input/{TestFindings.SOURCE}"
        source = camera / TestFindings.SOURCE
        source.parent.mkdir(parents=True, exist_ok=True)
        trashed.rename(source)
        return source

    def test_one_flipped_byte_keeps_the_only_good_copy_and_every_command_says_so(
        self, camera: Path, told: Command, tmp_path: Path, web: Web
    ) -> None:
        archived = camera / "archived" / self.SOURCE
        trashed, damaged = camera / f".deleted/input/{self.SOURCE}", camera / f".deleted/output/{self.SOURCE}"
        whole_before = trashed.read_bytes()
        self.flip(archived)
        spoilt = archived.read_bytes()
        teller, prom = tmp_path / "tell", tmp_path / "c.prom"
        teller.write_text(f'#!/bin/sh\ncat > "{tmp_path}/report"\n')
        teller.chmod(0o755)
        config = tmp_path / "c.toml"
        config.write_text(f'metrics = "{prom}"\nnotify = ["{teller}"]\nping_url = "{web.url}/uuid"\n')
        assert told("verify", camera, "--config", config).returncode == 3
        assert web.heard == [("/uuid/start", ""), ("/uuid/fail", "camarchiver verify: exit code 3\n")]
        report = json.loads((tmp_path / "report").read_text())
        assert (report["command"], report["exit_code"], report["status"]) == ("verify", 3, "partial")
        (finding,) = report["findings"]
        assert (finding["flaw"], finding["found_by"]) == ("wrong-hash", report["run"])
        assert [error["code"] for error in report["errors"]] == ["damaged"]
        assert numbers(prom, "damaged_archives", source=str(camera)) == [1]
        assert numbers(prom, "last_run_exit_code", command="verify") == [3]
        assert len(numbers(prom, "last_verify_timestamp_seconds")) == 1
        (line,) = [line for line in journal(camera) if line["event"] == "found-damaged"]
        assert (line["run"], line["reason"], line["source"]) == (report["run"], "wrong-hash", self.SOURCE)

        for options in (
            (),
            ("--clean-output", "--archive-age", "1"),
            ("--max-size", "1"),
            ("--min-free", "99%"),
        ):
            told("cleanup", camera, "--trash-age", "0", "--allow-large", "-y", *options[:2])
            assert trashed.read_bytes() == whole_before, options
            assert archived.read_bytes() == spoilt, "nor does a rule take what may still be looked at"
        kept = json.loads(told("cleanup", camera, "--trash-age", "0", "-y", "--json").stdout)
        by_path = {step["path"]: step for step in kept["steps"]}
        assert by_path[str(trashed)]["reason"] == "last-copy"
        assert "its archive counts for nothing: wrong-hash" in by_path[str(trashed)]["detail"]
        assert by_path[str(archived)]["reason"] == "damaged"
        said = told("cleanup", camera, "--trash-age", "0", "-y")
        assert said.returncode == 3
        assert str(trashed) in said.stdout and "wrong-hash" in said.stdout and "--repair" in said.stdout

        status = told("status", camera).stdout
        assert "1 archive found damaged (1 wrong-hash)" in status
        assert "every archive verified, on " in status
        document = json.loads(told("status", camera, "--json").stdout)
        assert [(each["archive"], each["flaw"]) for each in document["damaged_archives"]] == [
            (self.SOURCE, "wrong-hash")
        ]
        assert document["last_verify"]["archives"] == 1 and document["last_full_verify"] is None
        story = told("why", "-C", camera, archived).stdout
        assert "; verified: " not in story
        assert "since found wrong-hash, verified then: " in story
        assert (
            f"was found wrong-hash (its bytes are not those that were archived), by run {report['run']}"
            in story
        )
        assert "counts for nothing until it is found sound or repaired" in story
        doctor = told("doctor", camera, "-q").stdout
        assert f"-> camarchiver verify {camera} --known --repair" in doctor

        healed = told("verify", camera, "--known", "--repair", "-y", "--config", config)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        assert web.heard[-1] == ("/uuid", "camarchiver verify: exit code 0\n")
        assert numbers(prom, "damaged_archives", source=str(camera)) == [0]
        assert damaged.read_bytes() == spoilt and trashed.read_bytes() == whole_before
        assert frames(archived) == frames(trashed) == 20
        assert self.known(camera) == {}
        assert told("verify", camera, "--full").returncode == 0
        assert "; verified: " in told("why", "-C", camera, archived).stdout
        assert told("cleanup", camera, "--trash-age", "0", "-y").returncode == 0
        assert not trashed.exists() and archived.exists()

    @pytest.mark.parametrize("flaw", ["missing", "wrong-size", "wrong-hash", "damaged"])
    @pytest.mark.parametrize("where", ["source", "trash"])
    def test_each_flaw_is_repaired_from_source_and_from_trash(
        self, camera: Path, told: Command, flaw: str, where: str
    ) -> None:
        copy = camera / f".deleted/input/{self.SOURCE}"
        if where == "source":
            copy = self.back_in_source(camera)
        bytes_of_it = copy.read_bytes()
        self.spoil(camera, flaw)
        archived = camera / "archived" / self.SOURCE
        spoilt = archived.read_bytes() if archived.exists() else None
        options = ("--full",) if flaw == "damaged" else ()
        assert told("verify", camera, *options).returncode == 3
        assert self.known(camera) == {self.SOURCE: flaw}
        if flaw == "damaged":
            quick = told("verify", camera)
            assert quick.returncode == 3 and "found by --full" in quick.stdout
            assert self.known(camera) == {self.SOURCE: flaw}, "a hash says nothing of that"
        (planned,) = told("verify", camera, "--known", "--repair", "--dry-run", "--json").stdout.splitlines()
        (step,) = json.loads(planned)["steps"]
        assert (step["action"], step["reason"], step["path"]) == ("archive", "repair", str(copy))
        repaired = told("verify", camera, "--known", "--repair", "-y", "--json")
        document = json.loads(repaired.stdout)
        assert (repaired.returncode, document["status"], document["dry_run"]) == (0, "done", False)
        assert [(each["result"], each["reason"]) for each in document["outcomes"]] == [("done", "repair")]
        assert document["steps"] == [step]
        assert copy.read_bytes() == bytes_of_it, "it stays where it was"
        assert frames(archived) == 20
        moved = camera / f".deleted/output/{self.SOURCE}"
        assert (moved.read_bytes() if moved.exists() else None) == spoilt
        assert self.known(camera) == {}
        assert told("verify", camera, "--full").returncode == 0
        if where == "source":
            assert told("archive", camera).returncode == 0
            assert not copy.exists()
        assert (
            json.loads(told("cleanup", camera, "--trash-age", "0", "-y", "--json").stdout)["exit_code"] == 0
        )
        assert clips_of(camera) == [f"archived/{self.SOURCE}"]

    def test_a_repair_needs_no_verify_before_it(self, camera: Path, told: Command) -> None:
        self.flip(camera / "archived" / self.SOURCE)
        repaired = told("verify", camera, "--repair", "-y")
        assert repaired.returncode == 0
        assert repaired.stdout.startswith("wrong-hash: ")
        assert f"{self.SOURCE}: archived " in repaired.stdout
        assert told("verify", camera, "--repair", "-y").stdout == ""

    def test_what_can_not_be_repaired_is_listed_with_the_reason(self, camera: Path, told: Command) -> None:
        archived, trashed = camera / "archived" / self.SOURCE, camera / f".deleted/input/{self.SOURCE}"
        self.flip(archived)
        self.flip(trashed)
        before = whole(camera)
        rotten = told("verify", camera, "--repair", "-y")
        assert rotten.returncode == 3
        assert f"the bytes of {trashed} have changed since it was archived" in rotten.stderr
        assert {path for path in before if path.endswith(".mp4")} == {
            f"archived/{self.SOURCE}",
            f".deleted/input/{self.SOURCE}",
        }
        assert archived.exists() and trashed.exists()
        trashed.unlink()
        again = told("verify", camera, "--known", "--repair", "-y", "--json")
        document = json.loads(again.stdout)
        assert (again.returncode, document["exit_code"], document["status"]) == (3, 3, "partial")
        (left,) = document["steps"]
        assert (left["action"], left["reason"], left["path"]) == ("keep", "unrepairable", str(archived))
        assert left["detail"] == "neither its source nor a copy in the trash is there"
        assert [error["code"] for error in document["errors"]] == ["unrepairable"]
        footage = {path for path in before if path.endswith(".mp4") and ".deleted" not in path}
        assert {path: before[path] for path in footage} == {path: whole(camera)[path] for path in footage}

    @pytest.mark.parametrize("is_known", [False, True])
    def test_a_dry_run_changes_nothing_and_shows_what_the_real_one_does(
        self, camera: Path, told: Command, is_known: bool
    ) -> None:
        self.flip(camera / "archived" / self.SOURCE)
        if is_known:
            assert told("verify", camera).returncode == 3
        before = whole(camera)
        shown = told("verify", camera, "--repair", "-n")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert f"{self.SOURCE} (wrong-hash), from {camera}/.deleted/input/{self.SOURCE}" in shown.stdout
        assert "encoder: " in shown.stdout
        for refused, why in (
            (("--repair",), "needs consent"),
            (("-y",), "does nothing without --repair"),
            (("-n",), "does nothing without --repair"),
        ):
            found = told("verify", camera, *refused)
            assert found.returncode == 2 and why in found.stderr
        assert whole(camera) == before

    def test_it_shows_the_plan_and_asks_on_a_terminal(self, camera: Path) -> None:
        self.flip(camera / "archived" / self.SOURCE)
        spoilt = (camera / "archived" / self.SOURCE).read_bytes()
        refused = on_screen("verify", camera, "--repair", answers=b"n\n")
        assert f"{self.SOURCE} (wrong-hash), from " in refused.screen
        assert (camera / "archived" / self.SOURCE).read_bytes() == spoilt
        agreed = on_screen("verify", camera, "--repair", answers=b"y\n")
        assert agreed.code == 0
        assert (camera / "archived" / self.SOURCE).read_bytes() != spoilt

    def test_an_archive_that_is_sound_again_counts_again(self, camera: Path, told: Command) -> None:
        archived, trashed = camera / "archived" / self.SOURCE, camera / f".deleted/input/{self.SOURCE}"
        self.flip(archived)
        assert told("verify", camera).returncode == told("verify", camera).returncode == 3
        self.flip(archived)
        assert told("cleanup", camera, "--trash-age", "0", "-y").returncode == 3, "nobody looked yet"
        assert told("verify", camera, "--sample", "0").returncode == 0
        assert self.known(camera) == {}
        kinds = [line["event"] for line in journal(camera)]
        assert kinds.count("found-damaged") == kinds.count("found-sound") == 1
        assert "was found sound" in told("why", "-C", camera, archived).stdout
        assert told("cleanup", camera, "--trash-age", "0", "-y").returncode == 0
        assert not trashed.exists()

    def test_archive_removes_no_source_for_a_damaged_archive_but_makes_it_anew(
        self, camera: Path, told: Command
    ) -> None:
        source, archived = self.back_in_source(camera), camera / "archived" / self.SOURCE
        self.flip(archived)
        spoilt = archived.read_bytes()
        assert {step["reason"] for step in document(camera, "--dry-run")["steps"]} == {"already-archived"}
        assert told("verify", camera).returncode == 3
        assert {step["reason"] for step in document(camera, "--dry-run")["steps"]} == {"not-archived"}
        aged = told("cleanup", camera, "-y", "--json")
        assert source.exists(), aged.stdout
        assert archive(camera).returncode == 0
        assert not source.exists()
        assert self.known(camera) == {}
        assert frames(archived) == 20
        assert (camera / f".deleted/output/{self.SOURCE}").read_bytes() == spoilt
        assert told("verify", camera, "--full").returncode == 0

    def test_of_a_held_clip_only_a_missing_archive_is_made(self, camera: Path, told: Command) -> None:
        archived = camera / "archived" / self.SOURCE
        day = ("--from", "2026-03-01", "--to", "2026-03-01", "--reason", "police")
        assert told("hold", "add", "-C", camera, *day).returncode == 0
        self.flip(archived)
        before = archived.read_bytes()
        held = told("verify", camera, "--repair", "-y")
        assert held.returncode == 3
        assert "police: nothing of a held clip is moved" in held.stderr
        assert archived.read_bytes() == before
        archived.unlink()
        trashed = (camera / f".deleted/input/{self.SOURCE}").read_bytes()
        assert told("verify", camera, "--repair", "-y").returncode == 0
        assert frames(archived) == 20
        assert (camera / f".deleted/input/{self.SOURCE}").read_bytes() == trashed

    def test_the_week_after_a_restore_blocks_no_repair(self, camera: Path, told: Command) -> None:
        assert told("restore", "-C", camera, camera / self.SOURCE, "-y").returncode == 0
        self.flip(camera / "archived" / self.SOURCE)
        assert {step["reason"] for step in document(camera, "--dry-run")["steps"]} == {"restored"}
        assert told("verify", camera, "--repair", "-y").returncode == 0
        assert told("verify", camera).returncode == 0
        assert (camera / self.SOURCE).exists()

    def test_only_a_run_over_everything_counts_as_whole(self, camera: Path, told: Command) -> None:
        def last() -> tuple[str | None, str | None]:
            found = json.loads(told("status", camera, "--json").stdout)
            return tuple(found[key] and found[key]["run"] for key in ("last_verify", "last_full_verify"))

        assert "never has every archive been verified" in told("status", camera).stdout
        for options in (("--sample", "50"), ("--since", "2026-01-01"), ("--known",)):
            assert told("verify", camera, *options).returncode == 0
        assert last() == (None, None)
        quick = json.loads(told("verify", camera, "--json").stdout)["run"]
        assert last() == (quick, None)
        full = json.loads(told("verify", camera, "--full", "--json").stdout)["run"]
        assert last() == (full, full)
        assert "decoded whole, on " in told("status", camera).stdout

    def test_findings_that_nobody_can_read_stop_every_rule(self, camera: Path, told: Command) -> None:
        state = camera / "archived" / STATE_FOLDER
        self.flip(camera / "archived" / self.SOURCE)
        assert told("verify", camera).returncode == 3
        sound = (state / "findings.json").read_bytes()
        for torn in (b"{ torn", b'{"damaged": {"x.mp4": {"flaw": "so-so"}}}', b'{"damaged": 7}'):
            (state / "findings.json").write_bytes(torn)
            (state / "findings.json.bak").write_bytes(sound)
            assert told("cleanup", camera, "--trash-age", "0", "-y").returncode == 3
            (state / "findings.json.bak").write_bytes(torn)
            for command in ("cleanup", "archive", "verify"):
                found = told(command, camera, *(("-y",) if command == "cleanup" else ()))
                assert found.returncode == 13, command
                assert "findings.json" in found.stderr
        assert (camera / f".deleted/input/{self.SOURCE}").exists()

    def test_every_name_of_one_file_gets_an_archive_again(self, put: Put, tree: Path, told: Command) -> None:
        first = put(f"{ONE}.mp4")
        second = first.with_name("REO_back_20260301081500.mp4")
        os.link(first, second)
        put(f"{DAY}/REO_front_20260301091500.mp4", mtime=START + 3600)
        put(f"{DAY}/REO_back_20260301091500.mp4", mtime=START + 3600)
        assert archive(tree).returncode == 0
        assert len(clips_of(tree / "archived")) == 3, "one archive for both names"
        (shared,) = {
            line["archive"] for line in journal(tree) if line.get("source", "").endswith("081500.mp4")
        } - {None}
        self.flip(tree / "archived" / shared)
        assert told("verify", tree, "--repair", "-y").returncode == 0
        assert told("verify", tree).returncode == 0
        purge = json.loads(told("cleanup", tree, "--trash-age", "0", "-y", "--json").stdout)
        assert (purge["exit_code"], purge["errors"]) == (0, [])
        assert not list((tree / ".deleted").rglob("*.mp4"))

    def test_a_numbered_copy_in_the_trash_repairs_too(self, camera: Path, told: Command) -> None:
        trashed = camera / f".deleted/input/2026/03/01/{NAME}.mp4"
        numbered = trashed.with_name(f"{NAME}~2.mp4")
        trashed.rename(numbered)
        trashed.write_bytes(b"another file of that name")
        lines = camera / "archived" / STATE_FOLDER / "journal/2026/03/01.jsonl"
        place = f"input/2026/03/01/{NAME}"
        lines.write_text(lines.read_text().replace(f"{place}.mp4", f"{place}~2.mp4"))
        self.flip(camera / "archived" / self.SOURCE)
        shown = told("verify", camera, "--repair", "-y", "--json")
        (step,) = json.loads(shown.stdout)["steps"]
        assert (shown.returncode, step["path"]) == (0, str(numbered))
        assert told("verify", camera, "--full").returncode == 0
        assert {line["source"] for line in journal(camera)} == {self.SOURCE}


class TestConfigCommand:
    def test_each_value_and_where_it_comes_from(self, tmp_path: Path, told: Command) -> None:
        file = tmp_path / "c.toml"
        file.write_text('timezone = "UTC"\n[archive]\nage = 14\ncodec = "h264"\n')
        shown = told("config", "show", "--config", file, CAMARCHIVER_CODEC="av1").stdout
        lines = {line.split("=")[0].strip(): line for line in shown.splitlines()}
        assert lines["age"].split("= ")[1].startswith("14 days")
        assert lines["age"].endswith(f"# {file}")
        assert lines["codec"].split()[2:] == ["av1", "#", "environment"]
        assert lines["nice"].split()[2:] == ["19", "#", "default"]

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("[archive]\nagee = 1\n", "[archive] agee is not a key; did you mean age?"),
            ("[archive]\nage = 'many'\n", "age: 'many' is not an age"),
            ("[archive\n", "is not valid TOML"),
            ("[patterns]\nyard = '(?P<camera>x'\n", "yard"),
        ],
    )
    def test_a_wrong_file_is_named(self, tmp_path: Path, told: Command, text: str, complaint: str) -> None:
        file = tmp_path / "c.toml"
        file.write_text(text)
        checked = told("config", "check", "--config", file)
        assert checked.returncode == 10
        assert complaint in checked.stderr

    def test_a_first_file_is_written_once_and_is_sound(self, tmp_path: Path, told: Command) -> None:
        file = tmp_path / "deep" / "c.toml"
        assert told("config", "init", file).returncode == 0
        assert told("config", "check", "--config", file).returncode == 0
        assert told("config", "init", file).returncode == 10

    def test_a_pattern_of_the_owners_own_is_read(self, camera: Path, told: Command, tmp_path: Path) -> None:
        file = tmp_path / "c.toml"
        file.write_text("[patterns]\nyard = '(?P<camera>yard) (?P<time>\\d{8}-\\d{6})'\n")
        (camera / f"2026/03/01/{NAME}.mp4").rename(camera / "yard 20260301-081500.mp4")
        without = json.loads(told("archive", camera, "--dry-run", "--json").stdout)
        assert [step["reason"] for step in without["steps"]] == ["no-timestamp"]
        plan = json.loads(told("archive", camera, "--dry-run", "--json", "--config", file).stdout)
        assert [(step["action"], step["camera"]) for step in plan["steps"]] == [("archive", "yard")]

    def test_a_moved_archive_is_accepted_by_one_command(
        self, camera: Path, told: Command, tmp_path: Path
    ) -> None:
        assert told("archive", camera).returncode == 0
        (camera / "archived").rename(tmp_path / "moved")
        stopped = told("archive", camera)
        assert stopped.returncode == 13
        assert "config accept-volume" in stopped.stderr
        assert told("config", "accept-volume", camera, "-o", tmp_path / "new").returncode == 0
        assert told("archive", camera, "-o", tmp_path / "new").returncode == 0


class TestDoctor:
    """The whole table, on three machines: without a GPU, with one, with one that is forbidden."""

    @pytest.fixture
    def node(self, tmp_path: Path) -> Path:
        """A device that stands for a render node; its group is nobody's here."""
        path = tmp_path / "renderD128"
        try:
            os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(1, 3))
            os.chown(path, 54321, 54321)
        except PermissionError:
            pytest.skip("nobody may make devices here")
        return path

    @staticmethod
    def config(tmp_path: Path, more: str = "") -> Path:
        """One ffmpeg alone is tried: the tests have little time."""
        path = tmp_path / "config.toml"
        path.write_text(f'[archive]\nffmpeg = "{imageio_ffmpeg.get_ffmpeg_exe()}"\n{more}')
        return path

    @staticmethod
    def found(done: subprocess.CompletedProcess[str], area: str) -> list[tuple[str, str]]:
        return [
            (each["verdict"], each["message"])
            for each in json.loads(done.stdout)["findings"]
            if each["area"] == area
        ]

    @pytest.mark.skipif(Path("/dev/dri").exists(), reason="this machine has a GPU")
    def test_a_machine_without_gpu(self, put: Put, tree: Path, tmp_path: Path) -> None:
        put(f"{ONE}.mp4")
        config = self.config(tmp_path)
        before = snapshot(tree)
        done = installed("doctor", tree, "--config", config)
        assert (done.returncode, done.stderr) == (0, "")
        assert snapshot(tree) == before
        lines = done.stdout.splitlines()
        assert f"config       ok   {config} is sound" in lines
        assert (
            "render node  note there is no GPU here (/dev/dri is empty); encoding is done in software"
            in lines
        )
        assert "encoder      note qsv: no render node" in lines
        assert any(
            re.match(r"encoder      ok   libsvtav1 .* works \(software\) \([\d.]+ s\)", each)
            for each in lines
        )
        assert lines[-1].startswith("nothing is wrong: ")

    def test_a_machine_with_the_stand_in_gpu(
        self, tree: Path, tmp_path: Path, softqsv: Path, node: Path
    ) -> None:
        tree.mkdir()
        config = self.config(tmp_path, f'device = "{node}"\n')
        done = installed("doctor", tree, "--json", "--config", config, SOFTQSV_NODE=str(node))
        assert done.returncode == 0, done.stdout
        ((verdict, said),) = self.found(done, "render node")
        assert (verdict, said.startswith(f"{node}, driver ")) == ("ok", True)
        *_, (verdict, said) = self.found(done, "encoder")
        assert verdict == "ok"
        assert re.match(rf"archive uses av1_qsv on {node} with ffmpeg", said)

    @pytest.mark.edge
    def test_a_machine_whose_render_node_is_forbidden(self, tree: Path, tmp_path: Path, node: Path) -> None:
        tree.mkdir()
        config = self.config(tmp_path, f'device = "{node}"\n')
        powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        command = [*powerless, COMMAND, "doctor", tree, "--quiet", "--config", config]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stderr
        assert (
            f"render node  BAD  no permission for {node} ({node}, driver unknown, group 54321)" in done.stdout
        )
        assert "-> usermod -aG 54321 root, then log in anew" in done.stdout
        assert "encoder      BAD  there is a GPU, and it can't be used: no permission" in done.stdout
        assert re.search(r"^2 of \d+ are wrong$", done.stdout, re.MULTILINE)

    @pytest.mark.edge
    def test_a_wrong_config_is_a_finding_and_ends_nothing(self, tree: Path, tmp_path: Path) -> None:
        config = self.config(tmp_path, "agee = 30\n")
        quick = {"CAMARCHIVER_QUALITY": "best", "PATH": "/nonexistent"}
        done = installed("doctor", tree, "--json", "--config", config, **quick)
        assert done.returncode == 1, done.stderr
        document = json.loads(done.stdout)
        assert document.keys() == KEYS | {"findings"}
        assert (document["status"], document["exit_code"]) == ("failed", 1)
        assert self.found(done, "config") == [
            ("bad", f"{config}: [archive] agee is not a key; did you mean age?"),
        ]
        assert self.found(done, "trees") == [("bad", f"the source {tree} does not exist")]
        assert self.found(done, "encoder")[-1][0] == "ok"
        config.write_text("")
        variable = installed("doctor", tree, "-q", "--config", config, **quick)
        assert "config       BAD  archive: Invalid value for '--quality'" in variable.stdout


def parsed(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


class TestStatus:
    def test_each_camera_tree_and_trouble_is_counted(self, camera: Path, told: Command) -> None:
        folder = camera / "2026/03/01"
        (folder / "REO_front_20260301091500.mp4").write_bytes(b"no video")
        os.utime(folder / "REO_front_20260301091500.mp4", (1772356500, 1772356500))
        (folder / "holiday.mp4").write_bytes(b"x")
        before = json.loads(told("status", camera, "--json").stdout)
        (front,) = before["cameras"]
        assert (front["camera"], front["source"]["clips"], front["waiting"]) == ("front", 2, 2)
        assert (before["last_run"], before["no_timestamp"]) == (None, 1)
        assert told("archive", camera).returncode == 3
        after = json.loads(told("status", camera, "--json").stdout)
        (front,) = after["cameras"]
        assert [front[tree]["clips"] for tree in ("source", "archive", "trash")] == [1, 1, 1]
        assert (front["waiting"], front["failed"]) == (0, 1)
        assert front["archive"]["seconds"] == 2.0
        assert (after["last_run"]["command"], after["last_run"]["exit_code"]) == ("archive", 3)
        told("hold", "add", "-C", camera, "--from", "2026-03-01", "--to", "2026-03-02", "--reason", "x")
        text = told("status", camera).stdout
        assert "front: 2 clips held" in text
        assert "1 file without a time in the name" in text
        assert "free at" in text

    def test_gaps_of_the_last_week_and_the_rate(self, camera: Path, told: Command) -> None:
        now = dates.now()
        for hours in (30, 29.5, 20, 19.5):
            at = now - timedelta(hours=hours)
            path = camera / f"REO_yard_{dates.stamp_of(at)}.mp4"
            path.write_bytes(b"x" * 1000)
            os.utime(path, (at.timestamp(),) * 2)
        found = json.loads(told("status", camera, "--json").stdout)
        yard = next(each for each in found["cameras"] if each["camera"] == "yard")
        assert [round((parsed(end) - parsed(start)) / 3600, 1) for start, end in yard["gaps"]] == [9.5, 19.5]
        (disk,) = found["disks"]
        assert 4000 / 2 < disk["daily"] <= 4000
        assert found["days_until_full"] == disk["days_until_full"] > 1
        wide = json.loads(told("status", camera, "--json", "--gap", "12h").stdout)
        (yard,) = (each for each in wide["cameras"] if each["camera"] == "yard")
        assert len(yard["gaps"]) == 1

    def test_what_was_archived_leaves_no_gap_and_unknown_lengths_are_looked_at(
        self, camera: Path, told: Command, make_clip: Make
    ) -> None:
        # Three clips of two hours, one after the other, of which the first is in the archive.
        long = make_clip("-f lavfi -i testsrc2=s=64x48:r=1/60:d=7200 -c:v libx264 -preset ultrafast")
        first = dates.recently(hours=9)
        for number in range(3):
            at = first + timedelta(hours=2 * number)
            path = camera / f"REO_yard_{dates.stamp_of(at)}.mp4"
            shutil.copy(long, path)
            os.utime(path, (at.timestamp(),) * 2)
            if not number:
                assert told("archive", camera, "--age", "0", "--camera", "yard").returncode == 0
        found = json.loads(told("status", camera, "--json").stdout)
        (yard,) = (each for each in found["cameras"] if each["camera"] == "yard")
        assert (yard["archive"]["clips"], yard["source"]["clips"]) == (1, 2)
        assert [round((parsed(end) - parsed(start)) / 3600, 1) for start, end in yard["gaps"]] == [3.0]
        assert (yard["source"]["seconds_guessed"], round(yard["source"]["seconds"])) == (True, 14400)
        assert (yard["archive"]["seconds_guessed"], round(yard["archive"]["seconds"])) == (False, 7200)

    def test_doubtful_clocks_are_counted_until_the_names_are_trusted(
        self, camera: Path, told: Command, tmp_path: Path
    ) -> None:
        for stamp, mtime in (("19700101000500", START), ("20990101000000", START), ("20260301090000", START)):
            path = camera / f"REO_yard_{stamp}.mp4"
            path.write_bytes(b"x")
            os.utime(path, (mtime, mtime))
        (tmp_path / "c.toml").write_text("[cleanup]\ntrust_names = true\n[archive]\nage = 20000\n")
        for options, doubtful, waiting in (((), 2, 2), (("--config", tmp_path / "c.toml"), 1, 1)):
            found = json.loads(told("status", camera, "--json", *options).stdout)
            (yard,) = (each for each in found["cameras"] if each["camera"] == "yard")
            assert (yard["clock_doubtful"], yard["waiting"]) == (doubtful, waiting)

    def test_an_empty_tree_has_little_to_tell(self, tmp_path: Path, told: Command) -> None:
        found = told("status", tmp_path)
        assert (found.returncode, found.stderr) == (0, "")
        assert not list(tmp_path.iterdir())


def rec_exact(clips: list[Path], source: Path) -> list[tuple[int, int]]:
    """First and last frame of each clip within its source; fails where one is not the camera's own."""
    known = rec_packets(source)
    places = []
    for clip in clips:
        found = rec_packets(clip)
        first = rec_place(found.video, known.video)
        assert first >= 0, f"{clip} is not what the camera sent"
        assert rec_place(found.audio, known.audio) >= 0
        places.append((first, first + len(found.video) - 1))
    return places


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
        source = rec_make((3, 4.5), (9, 10.5), d=14)
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

    @pytest.mark.parametrize("delay", [0.1, 0.8])
    def test_a_kill_loses_half_a_second_at_most(
        self,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
        tmp_path: Path,
        delay: float,
    ) -> None:
        spool = tmp_path / "temp_clips"
        process = rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: any(path.stat().st_size > 10_000 for path in spool.rglob("motion_*.mp4")))
        time.sleep(delay)
        process.kill()
        process.communicate()
        begun = next(spool.rglob("motion_*.mp4"))
        ran = rec_run("--source", rec_twice, "--duration", "1s")
        document = rec_document(ran)
        assert (ran.returncode, len(document["salvaged"])) == (0, 1)
        (first, last), *more = rec_exact(rec_clips(tmp_path / "recorded_clips"), rec_twice)
        assert not more
        assert first == 60
        # it began to write at about 6.2 s; frames stand a little ahead because they are reordered
        assert last >= round((6.2 + delay - 0.5 - 0.3) * 15)
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
        assert ran.returncode in (1, 3, 13)
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
        assert (process.returncode, document["status"]) == (3, "partial")
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
        assert ran.returncode == 2
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
            assert (recorder.returncode, document["status"]) == (1, "failed")
            assert "Read-only file system" in document["errors"][0]["message"]
            refused = rec_run("--source", rec_twice)
            assert refused.returncode == 13
            assert "Read-only file system" in rec_document(refused)["errors"][0]["message"]
        finally:
            subprocess.run(["umount", outbox], check=True)
        again = rec_document(rec_run("--source", rec_twice, "--duration", "1s"))
        ((first, last),) = rec_exact([Path(path) for path in again["salvaged"]], rec_twice)
        assert (first, last - first) == (60, document["clips"][0]["frames"] - 1)

    def test_too_little_room_records_nothing(self, rec_twice: Path, rec_run: RecRun, tmp_path: Path) -> None:
        ran = rec_run("--source", rec_twice, "--min-free", "100000TB")
        assert ran.returncode == 13
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
            (("--keyframes", "--sensitivity", "high"), ["", ""]),
        ],
    )
    def test_what_counts_as_motion(
        self, rec_twice: Path, rec_run: RecRun, words: tuple[str, ...], expected: list[str]
    ) -> None:
        document = rec_document(rec_run("--source", rec_twice, "--dry-run", *words))
        assert [event["zone"] for event in document["events"]] == expected

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
        time.sleep(0.7)
        recorder.terminate()
        document = json.loads(recorder.communicate(timeout=30)[0])
        assert (recorder.returncode, document["status"]) == (143, "stopped")
        assert "nothing.mp4" in document["errors"][0]["message"]
        codes = {each["camera"]: each["exit_code"] for each in document["cameras"]}
        assert codes == {"yard": 0, "gate": 0, "roof": 2}
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
        assert (ran.returncode, rec_document(ran)["status"]) == (2, "failed")
        assert "roof is not recorded" in ran.stderr
        assert run("--duration", "1s", "--camera", "gate").returncode == 0
        refused = run("--dry-run")
        assert (refused.returncode, "yard, roof, gate" in refused.stderr) == (2, True)
        rec_fleet.write_text(rec_fleet.read_text() + "duration = '5s'\n")
        wrong = run("--camera", "gate")
        assert (wrong.returncode, "[record.gate] duration is not a key" in wrong.stderr) == (10, True)
        rec_fleet.write_text(rec_fleet.read_text().replace("duration = '5s'", "post = 'soon'"))
        command = [rec_command[0], "config", "check", "--config", str(rec_fleet)]
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (checked.returncode, "[record.gate] post: 'soon'" in checked.stderr) == (10, True)

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
        words = ["--source", source, "--camera", "yard", "--min-free", "0", "--duration", "6s", "--json"]
        ran = subprocess.run(
            [*rec_command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        (clip,) = rec_document(ran)["clips"]
        found, known = rec_packets(Path(clip["path"])), rec_packets(rec_annexb)
        place = rec_place(rec_slices(Path(clip["path"])), rec_slices(rec_annexb))
        assert (place, clip["lost"]) == (15, 0)
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
        try:
            rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
            time.sleep(1)
            server.kill()
            server.communicate()
            rec_until(lambda: rec_clips(tmp_path / "recorded_clips"))
            server = rec_rtsp.start()
            rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
            time.sleep(1)
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
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, rec_twice: Path, rec_run: RecRun, words: tuple[str, ...], said: str, tmp_path: Path
    ) -> None:
        ran = rec_run(*(word.replace("{clip}", str(rec_twice)) for word in words))
        error = rec_document(ran)["errors"][0]
        assert ran.returncode == 2
        assert said in error["message"] + error["hint"]
        assert not rec_clips(tmp_path)

    def test_a_camera_name_is_needed_and_is_one_folder(self, rec_twice: Path, rec_run: RecRun) -> None:
        for name in ("", "../x", ".hidden"):
            assert rec_run("--source", rec_twice, camera=name).returncode == 2

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
        assert rec_run("--source", rec_twice).returncode == 11
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
            later = time.time() - 3600
            os.utime(clip, (later, later))
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


INSTALL = Path(__file__).resolve().parents[1] / "scripts/install"


def install(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """scripts/install below a folder of the test."""
    command = [sys.executable, INSTALL, "--root", root, *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="session")
def installed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation for a camera tree that lies elsewhere than usual."""
    root = tmp_path_factory.mktemp("machine")
    (root / "etc").mkdir()
    (root / "etc/camarchiver.toml").write_text(
        'directory = "/srv/my cameras"\noutput = "/mnt/50%/archive"\n[record]\noutbox = "/home/pi/outbox"\n'
        '[watch]\nping_url = "https://hc.example/x"\n'
    )
    done = install(root)
    if done.returncode and "pip" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip(f"pip reaches no package index here: {done.stderr[-300:]}")
    assert (done.returncode, done.stderr) == (0, "")
    return root


def files_of(root: Path) -> dict[str, tuple[int, int]]:
    """Everything but the program's own Python."""
    found = [path for path in root.rglob("*") if not path.is_dir() or path.is_symlink()]
    inside = [
        path for path in found if "opt/camarchiver/" not in str(path) or path.parent.name == "camarchiver"
    ]
    return {str(path.relative_to(root)): path.lstat()[6:9:2] for path in inside}


class TestInstall:
    """scripts/install into a folder of its own."""

    def test_a_dry_run_shows_every_step_and_changes_nothing(self, tmp_path: Path) -> None:
        for wanted in ("/usr/local/bin/camarchiver", "camarchiver-watch.service", "systemd-sysusers"):
            assert wanted in install(tmp_path, "--dry-run").stdout
        assert not any(tmp_path.iterdir())

    def test_the_command_its_pages_and_its_units_are_there(self, installed_root: Path) -> None:
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        told = subprocess.run([own, "--help"], capture_output=True, text=True)
        assert told.returncode == 0
        commands = re.findall(r"^  ([a-z]+)  ", told.stdout.partition("Commands:")[2], flags=re.MULTILINE)
        assert {"archive", "cleanup", "record", "verify", "watch"} <= set(commands)
        for name in commands:
            page = (installed_root / f"usr/local/share/man/man1/camarchiver-{name}.1").read_text()
            assert f".B camarchiver {name}" in page
        units = {path.name for path in (installed_root / "usr/local/lib/systemd/system").iterdir()}
        assert {"camarchiver-archive.timer", "camarchiver-record@.service"} <= units
        link = (installed_root / "usr/local/bin/camarchiver").readlink()
        assert link == Path("/opt/camarchiver/bin/camarchiver")
        hook = installed_root / "etc/camarchiver/on-failure"
        assert os.access(hook, os.X_OK)

    def test_watch_needs_no_extra(self, installed_root: Path, tree: Path, put: Put) -> None:
        put(f"{ONE}.mp4")
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        watching = subprocess.Popen([own, "watch", tree, "--codec", "h264"], stdin=subprocess.DEVNULL)
        try:
            wait_until((tree / f"archived/{ONE}.mp4").exists, "the archive")
        finally:
            watching.terminate()
        assert watching.wait(30) == 128 + signal.SIGTERM

    def test_hints_name_commands_that_install_what_is_missing(
        self, installed_root: Path, tmp_path: Path
    ) -> None:
        """The hint is run as it is printed; pip only looks whether it could."""
        own = installed_root / "opt/camarchiver/bin/camarchiver"
        told = subprocess.run(
            [own, "record", "--source", "file:x.mp4"], cwd=tmp_path, capture_output=True, text=True
        )
        assert told.returncode == 12
        hint = told.stderr.splitlines()[-1].strip()
        assert hint.startswith(f"{own.parent}/python -m pip install ") and "opencv" in hint
        command = [*shlex.split(hint), "--dry-run", "--no-deps", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr

    def test_a_broken_installation_says_how_it_is_made_again(self, installed_root: Path) -> None:
        python = installed_root / "opt/camarchiver/bin/python"
        code = (
            "import sys; sys.modules['msgspec'] = None\n"
            "from camarchiver.cli import run; sys.exit(run(['status']))"
        )
        told = subprocess.run([python, "-c", code], capture_output=True, text=True)
        assert told.returncode == 1
        hint = told.stderr.splitlines()[-1].partition("install it again: ")[2]
        source = f"file://{INSTALL.parents[1]}"
        assert shlex.split(hint) == [str(python), "-m", "pip", "install", "--force-reinstall", source]

    def test_units_name_commands_and_options_that_exist(self, installed_root: Path) -> None:
        for unit in (installed_root / "usr/local/lib/systemd/system").glob("*.service"):
            started = re.search(
                r"^ExecStart=/opt/camarchiver/bin/(\S+) (.+)$", unit.read_text(), flags=re.MULTILINE
            )
            if unit.name == "camarchiver-failed@.service":
                continue
            assert started is not None, unit
            command = [installed_root / "opt/camarchiver/bin" / started[1], *started[2].split(), "--help"]
            assert subprocess.run(command, capture_output=True).returncode == 0, unit

    def test_the_cron_example_names_commands_and_options_that_exist(self) -> None:
        lines = (INSTALL.parents[1] / "docs/crontab").read_text().splitlines()
        jobs = [line.split() for line in lines if line[:1].isdigit() or line[:1] == "*"]
        assert len(jobs) == 4
        for job in jobs:
            assert all(re.fullmatch(r"[\d*/]+", field) for field in job[:5]) and job[5] == "camarchiver"
            program = {"camarchiver": str(COMMAND), "transfer-clips": str(TRANSFER)}[job[6]]
            command = [program, *job[7:], "--help"]
            assert subprocess.run(command, capture_output=True).returncode == 0, job

    def test_shells_complete_commands(self, installed_root: Path) -> None:
        share = installed_root / "usr/local/share"
        bin_folder = installed_root / "opt/camarchiver/bin"
        script = (
            f"source {share}/bash-completion/completions/camarchiver; COMP_WORDS=(camarchiver ver);"
            " COMP_CWORD=1; _camarchiver_completion camarchiver; echo ${COMPREPLY[@]}"
        )
        path = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
        told = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True)
        assert told.stdout == "verify\n", told.stderr
        for shell, file in (
            ("zsh", "zsh/site-functions/_camarchiver"),
            ("fish", "fish/vendor_completions.d/camarchiver.fish"),
        ):
            assert "camarchiver" in (share / file).read_text()
            if shutil.which(shell):
                assert subprocess.run([shell, "-n", share / file]).returncode == 0

    def test_units_may_write_what_the_configuration_names(self, installed_root: Path) -> None:
        units = installed_root / "usr/local/lib/systemd/system"
        assert (units / "camarchiver-archive.service.d/configured.conf").read_text().splitlines()[1:] == [
            "[Unit]",
            'RequiresMountsFor="/srv/my cameras"',
            "RequiresMountsFor=/mnt/50%%/archive",
            "",
            "[Service]",
            "ReadWritePaths=",
            'ReadWritePaths="-/srv/my cameras"',
            "ReadWritePaths=-/mnt/50%%/archive",
        ]
        verify = (units / "camarchiver-verify.service.d/configured.conf").read_text()
        assert verify.endswith("\nReadWritePaths=\nReadWritePaths=-/mnt/50%%/archive/.camarchiver\n")
        watch = (units / "camarchiver-watch.service.d/configured.conf").read_text()
        assert "PrivateNetwork=no\n" in watch and "PrivateNetwork" not in verify
        record = (units / "camarchiver-record@.service.d/configured.conf").read_text()
        assert "ProtectHome=tmpfs\nBindPaths=-/home/pi/outbox\n" in record

    def test_systemd_understands_the_drop_ins(self, installed_root: Path, tmp_path: Path) -> None:
        programs.needs("systemd-analyze")
        units = Path(shutil.copytree(installed_root / "usr/local/lib/systemd/system", tmp_path / "units"))
        for unit in units.glob("*.service"):
            text = unit.read_text().replace("=/opt/", f"={installed_root}/opt/")
            unit.write_text(text.replace("=/etc/camarchiver/on", f"={installed_root}/etc/camarchiver/on"))
        names = [f"./{path.name}" for path in units.glob("*.[st]*e*") if path.is_file()]
        command = ["systemd-analyze", "verify", "--man=no", *names]
        told = subprocess.run(command, cwd=units, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")

    def test_again_it_changes_nothing(self, installed_root: Path) -> None:
        before = files_of(installed_root)
        done = install(installed_root)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Next:" in done.stdout.splitlines()[:2], "at most a line about a user that can't be made here"
        after = files_of(installed_root)
        del before["opt/camarchiver/installed.json"], after["opt/camarchiver/installed.json"]
        assert after == before

    def test_the_owners_work_is_never_touched(self, installed_root: Path, tmp_path: Path) -> None:
        # Links instead of copies: what is written in place must be a file of its own.
        copied = shutil.copytree(installed_root, tmp_path / "machine", symlinks=True, copy_function=os.link)
        root = Path(copied)
        hook = root / "etc/camarchiver/on-failure"
        unit = root / "usr/local/lib/systemd/system/camarchiver-archive.service"
        for path, text in ((hook, "mine"), (unit, "[Service]\nExecStart=/bin/true\n")):
            path.unlink()
            path.write_text(text)
        done = install(root)
        assert "camarchiver-archive.service was changed by hand and stays as it is" in done.stdout
        assert (hook.read_text(), unit.read_text()) == ("mine", "[Service]\nExecStart=/bin/true\n")
        (root / "etc/camarchiver/record-yard.env").write_text("CAMARCHIVER_SOURCE=rtsp://yard/1\n")
        gone = install(root, "--uninstall")
        assert (gone.returncode, gone.stderr) == (0, "")
        assert set(files_of(root)) - {
            "etc/passwd",
            "etc/group",
            "etc/shadow",
            "etc/gshadow",
            "etc/.pwd.lock",
        } == {
            "etc/camarchiver.toml",
            "etc/camarchiver/on-failure",
            "etc/camarchiver/record-yard.env",
            "usr/local/lib/systemd/system/camarchiver-archive.service",
        }
        assert not (root / "opt/camarchiver").exists()
        assert "nothing is installed" in install(root, "--uninstall").stdout

    def test_somebody_elses_file_stops_it(self, tmp_path: Path) -> None:
        place = tmp_path / "opt/camarchiver"
        place.mkdir(parents=True)
        (place / "README").write_text("something else")
        done = install(tmp_path)
        assert (done.returncode, "holds something else" in done.stderr) == (1, True)
        assert [path.name for path in place.iterdir()] == ["README"]

    def test_cut_short_it_can_go_on_and_be_undone(self, tmp_path: Path) -> None:
        script = runpy.run_path(str(INSTALL))
        target = script["Target"](tmp_path, "/opt/camarchiver", False)
        (tmp_path / "opt/camarchiver").mkdir(parents=True)
        file = script["File"]
        old = {f"/etc/camarchiver/{name}": file(f"old {name}") for name in "abc"}
        script["place"](target, old, {}, {})
        new = {path: file(each.text.replace("old", "new")) for path, each in old.items()}
        (tmp_path / "etc/camarchiver/.b.new").mkdir()
        with pytest.raises(OSError, match=r"\.b\.new"):
            script["place"](target, new, script["read_manifest"](target), {})
        (tmp_path / "etc/camarchiver/.b.new").rmdir()
        texts = [(tmp_path / path.lstrip("/")).read_text() for path in old]
        assert texts == ["new a", "old b", "old c"]
        script["place"](target, new, script["read_manifest"](target), {})
        assert [(tmp_path / path.lstrip("/")).read_text() for path in old] == ["new a", "new b", "new c"]
        script["uninstall"](target)
        assert [path.name for path in (tmp_path / "etc").iterdir()] == []


TRANSFER = Path(__file__).resolve().parents[1] / "scripts/transfer-clips"


@dataclass(frozen=True)
class Pi:
    """A recorder's outbox behind an ssh server on this machine, and the tree that its clips are to reach."""

    home: Path
    rsh: str

    @property
    def outbox(self) -> Path:
        return self.home / "outbox"

    @property
    def tree(self) -> Path:
        return self.home / "camera"

    @property
    def stage(self) -> Path:
        """Where clips are between the two."""
        name = f"127.0.0.1:{self.outbox}".replace(":", "%3A").replace("/", "%2F")
        return self.tree / ".camarchiver/transfer" / name

    def put(self, name: str, content: bytes, mtime_ns: int = 1_772_352_900_123_456_789) -> Path:
        path = self.outbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        return path

    def command(self, *options: str) -> list[str]:
        target = [f"127.0.0.1:{self.outbox}", str(self.tree)]
        return [sys.executable, str(TRANSFER), "--rsh", self.rsh, *options, *target]

    def transfer(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Again while an rsync that outlived its run is still at it."""
        while True:
            ran = subprocess.run(
                self.command(*options),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            if ran.returncode != 11:
                return ran
            time.sleep(0.05)

    def wait_for_bytes(self, least: int) -> None:
        """Until so much of a clip was fetched."""
        folder = self.stage / "temporary"

        def fetched() -> int:
            with contextlib.suppress(FileNotFoundError):
                return sum(path.stat().st_size for path in folder.iterdir())
            return 0

        wait_until(lambda: fetched() > least, "the transfer", seconds=60)

    def seen(self, root: Path) -> dict[str, bytes]:
        """What a scan of a folder would find."""
        return {name: (root / name).read_bytes() for name in media(root)}

    def everywhere(self) -> set[bytes]:
        """The contents of all files, hidden ones too."""
        found = [path for root in (self.outbox, self.tree) for path in root.rglob("*")]
        return {path.read_bytes() for path in found if path.is_file()}


@pytest.fixture(scope="session")
def rsh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An ssh server of our own on a port of the loopback interface; the client's command."""
    programs.needs("ssh", "sshd", "rsync")
    home = tmp_path_factory.mktemp("ssh")
    home.chmod(0o700)
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = [f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {home}/host", f"PidFile {home}/pid"]
    lines += [f"AuthorizedKeysFile {home}/user.pub", "StrictModes no", "UsePAM no", "MaxStartups 100"]
    (home / "config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = home / "log"
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", home / "config", "-E", log])
    client = f"ssh -F none -p {port} -i {home}/user -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR"
    client += f" -o StrictHostKeyChecking=no -o UserKnownHostsFile={home}/known"
    # One connection for all: a machine that runs tests takes half a second for each.
    client += f" -o ControlMaster=auto -o ControlPath={home}/m -o ControlPersist=yes"
    try:
        for _ in range(100):
            if subprocess.run([*client.split(), "127.0.0.1", "true"], capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            pytest.skip(f"the ssh server lets nobody in here: {log.read_text()[-500:]}")
        yield client
    finally:
        subprocess.run([*client.split(), "-O", "exit", "127.0.0.1"], capture_output=True)
        server.terminate()
        server.wait()


@pytest.fixture
def pi(tmp_path: Path, rsh: str) -> Pi:
    made = Pi(tmp_path, rsh)
    made.outbox.mkdir()
    made.tree.mkdir()
    return made


def killing_rsync(folder: Path, after: int) -> dict[str, str]:
    """An environment in which the run that calls rsync is killed once the so-many-th call has ended."""
    script = folder / f"bin{after}" / "rsync"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho >> {script}.calls\n{shutil.which("rsync")} "$@"; code=$?\n'
        f"[ $(wc -l < {script}.calls) -ne {after} ] || kill -9 $PPID\nexit $code\n"
    )
    script.chmod(0o755)
    return {"PATH": f"{script.parent}:{os.environ['PATH']}"}


class TestTransfer:
    """scripts/transfer-clips, with a real ssh server and rsync."""

    def test_clips_and_pictures_move_and_keep_their_times(self, pi: Pi) -> None:
        name = "yard/motion_20260301_081500_10.0s.mp4"
        odd = "gate/motion_ö \\#012\n_1.0s.MP4"
        pi.put(name, b"clip")
        pi.put(name.replace(".mp4", ".jpg"), b"picture")
        pi.put(odd, b"odd")
        for unfinished in ("yard/.motion_x.mp4.Ab12Cd", "yard/notes.txt", ".camarchiver/journal.mp4"):
            pi.put(unfinished, b"not yet")
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == f"3 files moved to {pi.tree}\n"
        assert pi.seen(pi.tree) == {name: b"clip", name.replace(".mp4", ".jpg"): b"picture", odd: b"odd"}
        assert (pi.tree / name).stat().st_mtime_ns == 1_772_352_900_123_456_789
        assert pi.seen(pi.outbox) == {"yard/notes.txt": b"not yet"}
        assert (pi.outbox / "yard/.motion_x.mp4.Ab12Cd").exists()
        again = pi.transfer()
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    def test_the_recorder_finds_a_list_of_what_arrived(self, pi: Pi) -> None:
        pi.put("yard/a b.mp4", b"clip")
        assert pi.transfer().returncode == 0
        listed = (pi.outbox / ".camarchiver/transferred").read_text()
        assert listed == "4 1772352900123456789 yard/a b.mp4\n"
        pi.put("yard/c d.mp4", b"clap")
        assert pi.transfer().returncode == 0
        listed = (pi.outbox / ".camarchiver/transferred").read_text()
        assert listed == "4 1772352900123456789 yard/c d.mp4\n"

    def test_a_taken_name_is_never_replaced(self, pi: Pi) -> None:
        for name, content in (("yard/longer.mp4", b"another"), ("yard/same size.mp4", b"clap")):
            pi.put(name, b"clip")
            (pi.tree / name).parent.mkdir(exist_ok=True)
            (pi.tree / name).write_bytes(content)
        pi.put("yard/new.mp4", b"new")
        ran = pi.transfer()
        assert ran.returncode == 3
        assert ran.stderr.splitlines() == [
            "transfer-clips: yard/longer.mp4 stays in the outbox: another file has its name",
            "transfer-clips: yard/same size.mp4 stays in the outbox: another file has its name",
        ]
        assert pi.seen(pi.tree) == {
            "yard/longer.mp4": b"another",
            "yard/new.mp4": b"new",
            "yard/same size.mp4": b"clap",
        }
        assert pi.seen(pi.outbox) == {"yard/longer.mp4": b"clip", "yard/same size.mp4": b"clip"}

    def test_the_very_same_clip_needs_no_second_copy(self, pi: Pi) -> None:
        pi.put("yard/a.mp4", b"clip")
        (pi.tree / "yard").mkdir()
        (pi.tree / "yard/a.mp4").write_bytes(b"clip")
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == ({}, {"yard/a.mp4": b"clip"})

    @pytest.mark.parametrize("after", [2, 3, 4, 5])
    def test_killed_between_its_stages_it_goes_on_from_there(
        self, pi: Pi, after: int, tmp_path: Path
    ) -> None:
        content = {f"yard/motion_20260301_08150{n}_1.0s.mp4": os.urandom(5000) for n in range(3)}
        for name, data in content.items():
            pi.put(name, data)
        killed = pi.transfer(**killing_rsync(tmp_path, after))
        assert killed.returncode == -signal.SIGKILL
        assert set(content.values()) <= pi.everywhere()
        assert pi.seen(pi.tree) == {}
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert pi.seen(pi.tree) == content
        assert pi.seen(pi.outbox) == {}

    @pytest.mark.parametrize("when", [2, 4])
    def test_killed_while_clips_appear_it_goes_on_from_there(self, pi: Pi, when: int) -> None:
        programs.needs("strace")
        content = {"yard/a.mp4": b"clip", "yard/a.png": b"picture"}
        for name, data in content.items():
            pi.put(name, data)
        inject = ["-e", "trace=renameat2", "-e", f"inject=renameat2:signal=KILL:when={when}"]
        strace = ["strace", "-qq", "-o", "/dev/null", *inject]
        killed = subprocess.run([*strace, *pi.command()], capture_output=True, text=True, timeout=120)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert set(content.values()) <= pi.everywhere()
        # The picture comes first: a clip never appears without it.
        assert list(pi.seen(pi.tree)) in ([], ["yard/a.png"])
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == (content, {})

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_stopped_in_the_middle_of_a_clip_it_keeps_what_it_has(self, pi: Pi, number: int) -> None:
        data = os.urandom(6_000_000)
        pi.put("yard/large.mp4", data)
        process = subprocess.Popen(pi.command("--bwlimit", "4m"), stderr=subprocess.PIPE, text=True)
        pi.wait_for_bytes(1_000_000)
        assert pi.seen(pi.tree) == {}
        busy = subprocess.run(pi.command(), capture_output=True, text=True)
        assert (busy.returncode, busy.stderr) == (
            11,
            "transfer-clips: a transfer from there into this folder runs already\n",
        )
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == 128 + number
            assert "transfer-clips: stopped by SIGTERM; the next run goes on from here" in said
            assert (pi.stage / "partial/large.mp4").stat().st_size > 500_000
        assert pi.seen(pi.outbox) == {"yard/large.mp4": data}
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/large.mp4": data}, {})
        assert not any((pi.stage / "partial").iterdir())

    def test_a_connection_that_breaks_passes_its_code_on(self, pi: Pi) -> None:
        pi.put("yard/large.mp4", data := os.urandom(6_000_000))
        process = subprocess.Popen(pi.command("--bwlimit", "4m"), stderr=subprocess.PIPE, text=True)
        pi.wait_for_bytes(1_000_000)
        (remote,) = [
            pid
            for pid in processes_with(f"{pi.outbox}/")
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"rsync\0--server")
        ]
        os.kill(remote, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (12, 255), said
        assert f"transfer-clips: rsync ended with {process.returncode}" in said
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({}, {"yard/large.mp4": data})
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/large.mp4": data}, {})

    def test_what_one_recorder_left_half_done_is_nothing_to_another(self, pi: Pi, tmp_path: Path) -> None:
        pi.put("yard/a.mp4", b"clip")
        assert pi.transfer(**killing_rsync(tmp_path, 3)).returncode == -signal.SIGKILL
        (tmp_path / "other").mkdir()
        other = Pi(tmp_path / "other", pi.rsh)
        (tmp_path / "other/camera").symlink_to(pi.tree)
        other.put("gate/b.mp4", b"clap")
        assert other.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"gate/b.mp4": b"clap"}, {"yard/a.mp4": b"clip"})
        days_ago = time.time() - 2 * 86400
        os.utime(pi.stage / "lock", (days_ago, days_ago))
        told = other.transfer()
        assert (told.returncode, f"1 files wait in {pi.tree}" in told.stderr) == (3, True)
        assert pi.transfer().returncode == 0
        assert pi.seen(pi.tree) == {"gate/b.mp4": b"clap", "yard/a.mp4": b"clip"}
        assert other.transfer().returncode == 0

    def test_a_full_disk_loses_nothing(self, pi: Pi, small_disk: Path) -> None:
        (small_disk / "camera").mkdir()
        pi.tree.rmdir()
        pi.tree.symlink_to(small_disk / "camera")
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        content = {f"yard/{n}.mp4": os.urandom(free * 2 // 5) for n in range(3)}
        for name, data in content.items():
            pi.put(name, data)
        ran = pi.transfer()
        assert (ran.returncode, "No space left" in ran.stderr) == (13, True), ran.stderr
        assert len(pi.seen(pi.tree)) == 2
        assert pi.seen(pi.tree) | pi.seen(pi.outbox) == content
        (pi.tree / "yard/0.mp4").unlink()
        ran = pi.transfer()
        assert (ran.returncode, ran.stderr) == (0, "")
        assert pi.seen(pi.tree) == {name: content[name] for name in ("yard/1.mp4", "yard/2.mp4")}

    def test_a_name_taken_at_the_last_moment_keeps_both(self, pi: Pi, tmp_path: Path) -> None:
        pi.put("yard/a.mp4", b"clip")
        assert pi.transfer(**killing_rsync(tmp_path, 4)).returncode == -signal.SIGKILL
        (pi.tree / "yard").mkdir()
        (pi.tree / "yard/a.mp4").write_bytes(b"another")
        ran = pi.transfer()
        assert (ran.returncode, "ready/yard/a.mp4 stays there: its name is taken" in ran.stderr) == (3, True)
        assert pi.seen(pi.tree) == {"yard/a.mp4": b"another"}
        (pi.tree / "yard/a.mp4").unlink()
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/a.mp4": b"clip"}, {})

    def test_nobody_there_passes_sshs_code_on(self, pi: Pi) -> None:
        ran = pi.transfer("--rsh", "ssh -F none -o BatchMode=yes -p 1")
        # Now and then rsync sees the silence before ssh's code.
        assert ran.returncode in (12, 255)
        assert f"transfer-clips: rsync ended with {ran.returncode}\n" in ran.stderr

    def test_an_outbox_that_lets_nothing_go_is_said_and_nothing_comes_twice(self, pi: Pi) -> None:
        name = "yard/a.mp4"
        path = pi.put(name, b"clip")
        programs.needs("chattr")
        frozen = subprocess.run(["chattr", "+i", path], capture_output=True)
        if frozen.returncode:
            pytest.skip("no file can be made immutable here")
        try:
            for _ in range(2):
                ran = pi.transfer()
                assert ran.returncode == 3
                assert f"{name} stays in the outbox: it can't be removed" in ran.stderr
                assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({}, {name: b"clip"})
        finally:
            subprocess.run(["chattr", "-i", path], check=True)
        assert pi.transfer().returncode == 0
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({name: b"clip"}, {})

    def test_a_key_that_may_only_rsync_is_enough(self, pi: Pi, rsh: str) -> None:
        programs.needs("rrsync")
        guard = shutil.which("rrsync")
        key = Path(shlex.split(rsh)[shlex.split(rsh).index("-i") + 1]).with_name("user.pub")
        before = key.read_text()
        key.write_text(f'restrict,command="{guard} {pi.outbox}" {before}')
        try:
            pi.put("yard/a.mp4", b"clip")
            target = ["127.0.0.1:.", str(pi.tree)]
            alone = f"{rsh} -S none"
            ran = subprocess.run([sys.executable, TRANSFER, "--rsh", alone, *target], capture_output=True)
        finally:
            key.write_text(before)
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert (pi.seen(pi.tree), pi.seen(pi.outbox)) == ({"yard/a.mp4": b"clip"}, {})

    def test_a_link_leads_nobody_out_of_the_tree(self, pi: Pi, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (pi.tree / "yard").symlink_to(tmp_path / "elsewhere")
        pi.put("yard/a.mp4", b"clip")
        ran = pi.transfer()
        assert (ran.returncode, "is a symbolic link; nothing was fetched" in ran.stderr) == (13, True)
        assert not any((tmp_path / "elsewhere").iterdir())
        assert pi.seen(pi.outbox) == {"yard/a.mp4": b"clip"}

    @pytest.mark.parametrize("outbox", ["/srv/outbox", "host", "host:", "host::module", "dir/x:y"])
    def test_what_is_no_host_is_refused(self, tmp_path: Path, outbox: str) -> None:
        ran = subprocess.run([sys.executable, TRANSFER, outbox, tmp_path], capture_output=True, text=True)
        assert (ran.returncode, "is not HOST:OUTBOX" in ran.stderr) == (2, True)

    def test_a_tree_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        programs.needs("rsync")
        command = [sys.executable, TRANSFER, "host:outbox", tmp_path / "gone"]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (
            13,
            f"transfer-clips: {tmp_path}/gone is not a folder\n",
        )
        assert not any(tmp_path.iterdir())


class TestFromTheCameraToTheArchive:
    """Recorder, transfer and watch together, each of them killed once at its work."""

    def test_every_clip_is_archived_once_and_leaves_the_outbox(
        self,
        pi: Pi,
        rec_twice: Path,
        rec_run: RecRun,
        rec_start: Callable[..., subprocess.Popen[str]],
        watch: Callable[..., Manager],
        tmp_path: Path,
    ) -> None:
        recorder = rec_start("--source", rec_twice, "--realtime", "--outbox", pi.outbox)
        spool = tmp_path / "temp_clips/yard"
        wait_until(lambda: any(path.stat().st_size for path in spool.glob("motion_*")), "a clip", 60)
        time.sleep(1)
        recorder.kill()
        recorder.wait()
        source = Path(shutil.copy(rec_twice, tmp_path / "REO_yard_20260503142001.mp4"))
        assert rec_run("--source", source, "--outbox", pi.outbox, "--snapshot").returncode == 0
        recorded = {path.name: frames(path) for path in rec_clips(pi.outbox / "yard")}
        assert len(recorded) == 3 and not any(spool.glob("motion_*"))
        everything = pi.seen(pi.outbox)

        assert pi.transfer(**killing_rsync(tmp_path, 3)).returncode == -signal.SIGKILL
        assert {f"yard/{name}" for name in recorded} <= {
            each.relative for each in outbox.transferred(pi.outbox)
        }
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == (everything, {})
        assert pi.transfer(**killing_rsync(tmp_path, 4)).returncode == -signal.SIGKILL
        assert (pi.seen(pi.outbox), pi.seen(pi.tree)) == ({}, {})
        assert set(everything.values()) <= pi.everywhere()

        watcher = watch("--quiet-for", "1s")
        assert pi.transfer().returncode == 0
        wait_until(lambda: list(pi.tree.rglob("*.staged*")), "the encoding", 60)
        watcher.process.kill()
        watcher.process.communicate()
        watch("--quiet-for", "1s")
        wait_until(lambda: not list(pi.tree.glob("yard/*")), "the archives", 120)

        made = {path.name: frames(path) for path in (pi.tree / "archived/yard").rglob("motion_*.mp4")}
        assert made == recorded
        told = [(event["event"], Path(event["source"]).name) for event in journal(pi.tree)]
        for name in recorded:
            assert told.count(("archived", name)) == told.count(("trashed", name)) == 1
        assert (pi.seen(pi.outbox), pi.transfer().returncode) == ({}, 0)
        verified = [COMMAND, "verify", pi.tree, "--full"]
        assert subprocess.run(verified, capture_output=True, text=True).returncode == 0


class TestCleanupOfASpool:
    def left(self, tmp_path: Path, clip: Path) -> dict[str, Path]:
        """What two dead recorders and their owner left behind."""
        spool, outbox = tmp_path / "temp_clips/yard", tmp_path / "recorded_clips"
        spool.mkdir(parents=True)
        half = spool / "motion_20260503_142005.0123.mp4"
        half.write_bytes(clip.read_bytes())
        found = {
            "half": half,
            "torn": spool / "motion_20260503_142006.0123.mp4",
            "empty": spool / "motion_20260503_142007.0123.mp4",
            "young": spool / "motion_20260503_142008.0123.mp4",
            "theirs": spool / "notes.txt",
            "old": rec_old(outbox, 9),
            "other": rec_old(outbox, 8, camera="door"),
            "held": rec_old(outbox, 7.5),
            "new": rec_old(outbox, 1),
            "foreign": outbox / "yard/holiday.mp4",
            "staged": outbox / "yard/.motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4",
            "part": outbox / "yard/.rsync-partial.mp4",
        }
        found["torn"].write_bytes(
            b"\0\0\0\x08free" * 2 + b"\0\0\0\x10moovxxxxxxxx" + b"\0\0\0\x10mdatxxxxxxxx"
        )
        for name in ("empty", "young", "theirs", "foreign", "staged", "part"):
            found[name].write_bytes(b"\0\0\0\x1cftypisom")
        os.utime(found["empty"], (time.time() - 3700,) * 2)
        start, end = dates.ago(7.6), dates.ago(7.4)
        holds.add(outbox / STATE_FOLDER, start, end, camera="yard", reason="x", until=None)
        return found

    def test_it_does_by_hand_what_a_recorder_does_every_hour(
        self, told: Command, tmp_path: Path, rec_twice: Path
    ) -> None:
        found = self.left(tmp_path, rec_twice)
        keep = ("--keep-days", dates.age(7))
        words = ("cleanup", "--spool", tmp_path / "temp_clips", *keep, "--timezone", "UTC")
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        shown = told(*words, "--dry-run")
        assert shown.returncode == 0, shown.stderr
        assert re.search(r"salvage +spool +yard +unfinished", shown.stdout)
        asked = told(*words)
        assert (asked.returncode, "add -y" in asked.stderr) == (2, True)
        planned = json.loads(told(*words, "--dry-run", "--json").stdout)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        decided = {Path(step["path"]): (step["action"], step["reason"]) for step in planned["steps"]}
        assert decided == {
            found["half"]: ("salvage", "unfinished"),
            found["torn"]: ("salvage", "unfinished"),
            found["empty"]: ("delete", "leftover"),
            found["young"]: ("keep", "too-recent"),
            found["old"]: ("delete", "keep-days"),
            found["other"]: ("delete", "keep-days"),
            found["held"]: ("keep", "held"),
            found["new"]: ("keep", "in-policy"),
            found["foreign"]: ("keep", "foreign"),
            found["staged"]: ("delete", "leftover"),
        }
        ran = told(*words, "-y", "--json")
        document = json.loads(ran.stdout)
        assert (ran.returncode, document["status"]) == (3, "partial")  # the torn one is damaged, and stays
        came = {Path(each["path"]): each["result"] for each in document["outcomes"]}
        assert came[found["torn"]] == "failed"
        assert [came[path] for path in came if path != found["torn"]] == ["done"] * 5
        left = {name for name, path in found.items() if path.exists()}
        assert left == {"torn", "young", "theirs", "held", "new", "foreign", "part"}
        salvaged = tmp_path / "recorded_clips/yard/motion_20260503_142005_24.0s.mp4"
        assert salvaged.read_bytes() == rec_twice.read_bytes()
        assert str(salvaged) in (tmp_path / "temp_clips/recorder.log").read_text()

    def test_metrics_tell_of_it(self, told: Command, tmp_path: Path, rec_twice: Path) -> None:
        self.left(tmp_path, rec_twice)
        file, spool = tmp_path / "camarchiver.prom", tmp_path / "temp_clips"
        keep = ("--keep-days", dates.age(7))
        words = ("cleanup", "--spool", spool, *keep, "--timezone", "UTC", "--metrics", file)
        assert told(*words, "--dry-run").returncode == 0
        assert not file.exists()
        assert told(*words, "-y").returncode == 3
        assert numbers(file, "clips_total", command="cleanup", result="failed", spool=str(spool)) == [1]
        assert sum(numbers(file, "clips_total", result="done")) == 5
        assert numbers(file, "last_run_exit_code", command="cleanup") == [3]

    def test_one_camera_and_max_storage_with_confirmed_transfers_first(
        self, told: Command, tmp_path: Path
    ) -> None:
        outbox = tmp_path / "out"
        clips = [rec_old(outbox, days, size=1000) for days in (5, 4, 3)]
        other = rec_old(outbox, 9, size=9000, camera="door")
        (tmp_path / "spool").mkdir()
        status = clips[1].stat()
        (outbox / STATE_FOLDER).mkdir()
        (outbox / STATE_FOLDER / "transferred").write_text(
            f"{status.st_size} {status.st_mtime_ns} yard/{clips[1].name}\n"
        )
        words = ("--spool", tmp_path / "spool", "--outbox", outbox, "--max-storage", "2500")
        ran = told("cleanup", *words, "--camera", "yard", "--timezone", "UTC", "-y")
        assert ran.returncode == 0, ran.stderr
        assert [clip.exists() for clip in clips] == [True, False, True]
        assert other.exists()
        assert "over --max-storage" in ran.stdout

    def test_a_running_recorders_spool_is_left_alone(
        self,
        told: Command,
        tmp_path: Path,
        rec_twice: Path,
        rec_start: Callable[..., subprocess.Popen[str]],
        rec_until: Callable[..., None],
    ) -> None:
        process = rec_start("--source", rec_twice, "--realtime")
        rec_until(lambda: any((tmp_path / "temp_clips").rglob("motion_*.mp4")))
        ran = told("cleanup", "--spool", tmp_path / "temp_clips", "--dry-run", "--json")
        assert [(each["action"], each["reason"]) for each in json.loads(ran.stdout)["steps"]] == [
            ("keep", "busy")
        ]
        assert told("cleanup", "--spool", tmp_path / "temp_clips", "-y").returncode == 0
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
        assert len(json.loads(output)["clips"]) == 1
        assert [first for first, _ in rec_exact(rec_clips(tmp_path / "recorded_clips"), rec_twice)] == [60]

    @pytest.mark.parametrize(
        ("words", "said", "code"),
        [
            (("--keep-days", "3"), "--keep-days is for a recorder", 2),
            (("/camera", "--spool", "."), "DIRECTORY has no meaning with --spool", 2),
            (("--spool", ".", "--max-size", "1GB"), "--max-size has no meaning with --spool", 2),
            (("--spool", ".", "--max-storage", "0"), "would keep nothing", 2),
            (("--spool", "none"), "none is not a folder", 13),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, told: Command, words: tuple[str, ...], said: str, code: int
    ) -> None:
        ran = told("cleanup", *words, "-y")
        assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
