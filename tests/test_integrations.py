"""Each module against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import json
import logging
import math
import mmap
import os
import pty
import random
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from zoneinfo import ZoneInfo

import av
import cv2
import dates
import imageio_ffmpeg
import numpy as np
import programs
import pytest
from av.packet import Packet
from av.video.stream import VideoStream as AvVideoStream
from conftest import (
    CLIP_ARGUMENTS,
    DAY,
    FFMPEGS,
    FRAMES,
    IS_ROOT,
    RECORDED,
    Camera,
    DenseYard,
    Web,
    Yard,
    children_with,
    cleanup_policy,
    frames_of,
    mounted,
    processes_with,
    reasons_of,
    rec_packets,
    rec_place,
    wait_until,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families
from pytest_mock import MockerFixture

from camarchiver import (
    atomic,
    claims,
    cleaner,
    encoders,
    events,
    examine_machine,
    examine_software,
    examine_storage,
    expiry,
    feeds,
    ffmpeg_args,
    ffmpegs,
    figures,
    findings,
    footage,
    holds,
    intents,
    kernel,
    ledger,
    live,
    lockfile,
    locking,
    logs,
    lots,
    motion,
    mounts,
    names,
    notices,
    order,
    outbox,
    permissions,
    planning,
    pulse,
    reader,
    recorder,
    restorations,
    room,
    runs,
    service,
    snapshot,
    spool,
    transcoder,
    trash,
    usage,
    v4l2,
    verification,
    vitals,
    volume,
)
from camarchiver.archiver import Archiver
from camarchiver.arrivals import Arrival, Arrivals, Found, Gone, Missed, Moved, Written
from camarchiver.bookmark import Asked
from camarchiver.cameras import FileCamera, RtspCamera, camera
from camarchiver.clearance import CleanupPlan
from camarchiver.cli import recorder_news
from camarchiver.cli.fleet import Fleet, Member
from camarchiver.codecs import ENCODERS, Backend, Encoder, Rung, Settings, container_for
from camarchiver.coverage import Hold
from camarchiver.days import Days
from camarchiver.delivery import Delivery, Recorded
from camarchiver.detector import Detector, View
from camarchiver.diagnosis import Finding, Verdict
from camarchiver.discovery import Discovery
from camarchiver.disposal import SidecarPolicy
from camarchiver.encoders import Attempt, Choice, Machine
from camarchiver.ends import Ends
from camarchiver.errors import (
    AlreadyRunning,
    ClipBusy,
    EncoderError,
    NotRemovable,
    StorageError,
    UsageError,
    sentence,
)
from camarchiver.expiry import Terms
from camarchiver.export import Exported, Exporter
from camarchiver.failures import Failures
from camarchiver.feeds import Feed
from camarchiver.ffmpeg_args import Job, Transcode
from camarchiver.ffmpegs import Ffmpeg
from camarchiver.figures import Figure
from camarchiver.findings_log import FindingsLog
from camarchiver.frames import KeyframeSampler, Picture, Sampler
from camarchiver.journal import Journal
from camarchiver.ladder import Breaker, Encoded, Ladder, RungTried
from camarchiver.lookout import BesideStream, OwnStream
from camarchiver.lots import Lot
from camarchiver.media import AudioStream, Media, VideoStream
from camarchiver.metrics import Textfile
from camarchiver.model import Archived, Clip, Disposal, Fingerprint, Reason, Tree, Trees
from camarchiver.motion import Event, Rules, Score
from camarchiver.names import Names, numbered
from camarchiver.nodes import node_problem
from camarchiver.notices import Pinger
from camarchiver.picamera import PicameraCamera
from camarchiver.pipeline import Execution, Pipeline
from camarchiver.plan import ArchivePolicy, Memory, Plan, Tally, decide_archive
from camarchiver.probe import ProbeError, Prober
from camarchiver.progress import Silent
from camarchiver.reader import Ended, Lost, Opened, Reader
from camarchiver.reel import Lengths
from camarchiver.restorer import Selection
from camarchiver.retention import CleanupPolicy, Copy, Stay, decide, rank
from camarchiver.ring import Entry
from camarchiver.scribe import Scribe
from camarchiver.sentry import Sentry, Watch
from camarchiver.service import Service
from camarchiver.shrink import Wishes
from camarchiver.spool import Folders, Label, Take, Unfit
from camarchiver.steps import (
    Archive,
    Discard,
    Encoding,
    Keep,
    Made,
    Outcome,
    Remove,
    Report,
    Result,
    Status,
    Way,
)
from camarchiver.stop import Stop, Wake
from camarchiver.timelapse import Timelapse
from camarchiver.transcoder import Finished, Progress
from camarchiver.upkeep import Upkeep
from camarchiver.v4l2 import DeviceCamera
from camarchiver.verification import Facts, pairs_to_compare, verify
from camarchiver.verifier import Verified, Verifier, task_for
from camarchiver.vigil import Vigil
from camarchiver.watcher import Signals, Watcher
from camarchiver.workshop import Workshop


class TestNames:
    @pytest.mark.edge
    @pytest.mark.parametrize(
        "raw", [b"x" * 252 + b".ts", b"\xff" * 251 + b".mp4", b"\xc3\xa4" * 126 + b".ts", b"x" * 255]
    )
    def test_every_name_that_a_disk_holds_has_an_archive_name_that_it_holds(self, tmp_path, raw):
        (tmp_path / os.fsdecode(raw)).touch()
        (found,) = tmp_path.iterdir()
        target = names.archive_path("", found.stem, date(2026, 5, 3))
        for relative in (target, names.numbered(target, 2), names.numbered(target, 10)):
            path = tmp_path / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
            assert path in set(path.parent.iterdir())


MakeClip = Callable[..., Path]

PICTURE = "-f lavfi -i testsrc2=s=160x120:r=10:d=2"
X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
PLAIN = f"{PICTURE} {X264}"
SOUND = "-f lavfi -i sine=r=8000:d=2 -ac 1"
IRREGULAR = f"-f lavfi -i testsrc2=s=160x120:r=30:d=3 -vf \"select='not(mod(n*n,3))'\" -fps_mode vfr {X264}"


def media_of(path: Path) -> Media:
    """A clip as the builders want it; the packets are counted."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        form = stream.codec_context.format
        video = VideoStream(
            stream.codec_context.codec.canonical_name,
            stream.width,
            stream.height,
            form.name,
            max(part.bits for part in form.components),
            stream.average_rate,
            Fraction(stream.time_base),
        )
        audio = tuple(
            AudioStream(each.codec_context.codec.canonical_name, each.sample_rate, each.channels)
            for each in container.streams.audio
        )
    times = pts(path)
    return Media(
        path.suffix[1:], video, 1, audio, (), len(times), 1, 0, times[0], times[-1] - times[0] + 0.1, {}
    )


def pts(path: Path) -> list[float]:
    """Presentation times of the first video stream's packets, in seconds, in order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = container.demux(stream)
        return sorted(float(packet.pts * stream.time_base) for packet in packets if packet.pts is not None)


def job_for(clip: Path, target: Path, **changed: object) -> Job:
    media = changed.pop("media", None) or media_of(clip)
    settings = changed.pop("settings", Settings())
    container = container_for(media, settings)
    return Job(clip, target, media, settings, container, {"comment": "tag"}, threads=1, **changed)


def software(ffmpeg: Ffmpeg, name: str, job: Job) -> Finished:
    way = Transcode(job, ENCODERS[name], Rung.SOFTWARE, ffmpeg.version)
    return transcoder.run(ffmpeg.path, ffmpeg_args.transcode(way))


def script(folder: Path, body: str) -> Path:
    """A fake ffmpeg; `$pipe` is where it reports."""
    path = folder / "ffmpeg"
    path.write_text(
        "#!/bin/sh\n"
        'all="$*"; while [ $# -gt 1 ]; do case $1 in -progress) pipe=/proc/self/fd/${2#pipe:};; esac; shift\n'
        f"done\n{body}\n"
    )
    path.chmod(0o755)
    return path


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds: float = 3.0) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


class TestTranscoder:
    def test_a_real_encode_reports_progress(
        self, embedded: Ffmpeg, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        seen: list[Progress] = []
        clip = make_clip(PLAIN)
        way = Transcode(
            job_for(clip, tmp_path / "x.part"), ENCODERS["libx264"], Rung.SOFTWARE, embedded.version
        )
        done = transcoder.run(embedded.path, ffmpeg_args.transcode(way), on_progress=seen.append)
        assert (done.returncode, done.stderr, done.frames, done.ended) == (0, (), 20, "exit")
        assert seen[-1].frame == 20
        assert seen[-1].out_time == pytest.approx(2.0, abs=0.2)
        assert seen[-1].total_size == (tmp_path / "x.part").stat().st_size
        assert done.seconds > 0

    def test_missing_binary(self, tmp_path: Path) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(FileNotFoundError):
            transcoder.run(tmp_path / "none", ())
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_a_flood_on_stderr_neither_blocks_nor_fills_memory(self, tmp_path: Path) -> None:
        line = 'echo "line $i of a long flood of words on stderr" >&2'
        body = f"i=0; while [ $i -lt 20000 ]; do {line}; i=$((i+1)); done"
        done = transcoder.run(script(tmp_path, body), ())
        assert len(done.stderr) == 301
        assert done.stderr[0] == "line 0 of a long flood of words on stderr"
        assert done.stderr[200] == "(19700 more lines)"
        assert done.stderr[-1] == "line 19999 of a long flood of words on stderr"

    def test_a_mebibyte_without_a_line_end(self, tmp_path: Path) -> None:
        done = transcoder.run(script(tmp_path, "head -c 1048576 /dev/zero | tr '\\0' x >&2"), ())
        assert [len(line) for line in done.stderr] == [1000]

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        done = transcoder.run(script(tmp_path, "printf 'a\\377b\\r\\n' >&2; exit 3"), ())
        assert (done.stderr, done.returncode) == (("a\\xffb",), 3)

    def test_a_hang_is_ended(self, tmp_path: Path) -> None:
        body = "printf 'frame=7\\nprogress=continue\\n' > $pipe; exec sleep 60"
        done = transcoder.run(script(tmp_path, body), (), stall_seconds=0.5)
        assert (done.ended, done.returncode, done.frames) == ("stalled", -signal.SIGTERM, 7)
        assert 0.5 < done.seconds < 4

    def test_slow_progress_is_no_hang(self, tmp_path: Path) -> None:
        body = "for i in 1 2 3 4 5; do printf 'frame=%s\\nprogress=continue\\n' $i > $pipe; sleep 0.4; done"
        done = transcoder.run(script(tmp_path, body), (), stall_seconds=1.0)
        assert (done.ended, done.frames) == ("exit", 5)

    def test_repeating_itself_is_no_progress(self, tmp_path: Path) -> None:
        body = "while sleep 0.1; do printf 'frame=3\\nprogress=continue\\n' > $pipe; done"
        assert transcoder.run(script(tmp_path, body), (), stall_seconds=0.7).ended == "stalled"

    def test_deaf_to_term_is_killed_with_its_children(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transcoder, "_KILL_SECONDS", 0.5)
        body = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60"
        done = transcoder.run(script(tmp_path, body), (), stall_seconds=0.3)
        assert (done.ended, done.returncode) == ("stalled", -signal.SIGKILL)
        assert gone(int((tmp_path / "child").read_text()))

    def test_stop(self, embedded: Ffmpeg, tmp_path: Path) -> None:
        stop = threading.Event()
        threading.Timer(0.5, stop.set).start()
        picture = ("-f", "lavfi", "-i", "testsrc2=s=160x120")
        endless = ("-nostdin", "-v", "error", *picture, "-c:v", "libx264", "-f", "null", "-")
        done = transcoder.run(embedded.path, endless, stop=stop)
        assert done.ended == "stopped"
        assert done.seconds < 4

    def test_segfault(self, tmp_path: Path) -> None:
        done = transcoder.run(script(tmp_path, "echo last words >&2; kill -SEGV $$"), ())
        assert (done.ended, done.returncode, done.stderr) == ("exit", -signal.SIGSEGV, ("last words",))

    def test_pipes_closed_early(self, tmp_path: Path) -> None:
        body = 'exec 2>&-; for n in 3 4 5 6 7 8 9; do eval "exec $n>&-"; done; sleep 0.6; exit 4'
        done = transcoder.run(script(tmp_path, body), ())
        assert (done.ended, done.returncode) == ("exit", 4)
        assert done.seconds > 0.5

    def test_a_grandchild_that_keeps_the_pipes(self, tmp_path: Path) -> None:
        body = f"sleep 60 & echo $! > {tmp_path}/child; echo done >&2; exit 0"
        done = transcoder.run(script(tmp_path, body), ())
        assert (done.ended, done.returncode, done.stderr) == ("exit", 0, ("done",))
        assert done.seconds < 3
        assert gone(int((tmp_path / "child").read_text()))

    def test_a_grandchild_in_a_session_of_its_own(self, tmp_path: Path) -> None:
        body = (
            f"setsid sh -c 'echo $$ > {tmp_path}/child; while :; do echo flood >&2; done' & sleep 0.5; exit 0"
        )
        done = transcoder.run(script(tmp_path, body), ())
        assert (done.ended, done.seconds < 5) == ("exit", True)
        assert gone(int((tmp_path / "child").read_text()))

    def test_a_callback_that_raises_leaves_nothing_running(self, tmp_path: Path) -> None:
        def fail(progress: Progress) -> None:
            raise KeyboardInterrupt

        body = f"echo $$ > {tmp_path}/self; printf 'frame=1\\nprogress=continue\\n' > $pipe; exec sleep 60"
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            transcoder.run(script(tmp_path, body), (), on_progress=fail)
        assert time.monotonic() - started < 10
        assert gone(int((tmp_path / "self").read_text()))

    def test_it_dies_with_its_parent(self, tmp_path: Path) -> None:
        fake = script(tmp_path, f"echo $$ > {tmp_path}/self; exec sleep 60")
        code = (
            "from pathlib import Path; from camarchiver import transcoder\n"
            f"transcoder.run(Path({str(fake)!r}), ())"
        )
        parent = subprocess.Popen([sys.executable, "-c", code])
        note = tmp_path / "self"
        while not (note.exists() and note.read_text().strip()):
            time.sleep(0.02)
        parent.kill()
        parent.wait()
        assert gone(int(note.read_text()))

    def test_it_reads_nothing_of_ours(self, tmp_path: Path) -> None:
        body = '[ "$(readlink /proc/self/fd/0)" = /dev/null ] && [ "$SVT_LOG" = 1 ] || exit 5'
        assert transcoder.run(script(tmp_path, body), ()).returncode == 0


class TestFfmpegs:
    def test_find(self, found_ffmpegs: tuple[Ffmpeg, ...]) -> None:
        assert found_ffmpegs[-1].origin == "embedded"
        for ffmpeg in found_ffmpegs:
            assert ffmpeg.version >= (4, 0)
            assert {"libx264", "aac"} <= ffmpeg.encoders

    def test_a_named_one_is_the_only_one(self, embedded: Ffmpeg) -> None:
        assert ffmpegs.find(embedded.path) == (replace(embedded, origin="option"),)

    @pytest.mark.parametrize("name", ["/nowhere/ffmpeg", "/bin/true", "/etc"])
    def test_named_but_none(self, name: str) -> None:
        with pytest.raises(EncoderError, match="is no ffmpeg that runs here") as caught:
            ffmpegs.find(Path(name))
        assert caught.value.exit_code == 12

    @pytest.mark.parametrize(
        ("banner", "version", "shown"),
        [
            ("n9.0.2-17-g2a571b6068", (9, 0), "ffmpeg 9.0 (option)"),
            ("5.1.9-0+deb12u1", (5, 1), "ffmpeg 5.1 (option)"),
            ("N-118000-gabc", (99, 0), "ffmpeg git (option)"),
        ],
    )
    def test_version(self, banner: str, version: tuple[int, int], shown: str, tmp_path: Path) -> None:
        fake = script(tmp_path, f"echo 'ffmpeg version {banner} Copyright' >&2; echo ' V....D libx264   x'")
        (ffmpeg,) = ffmpegs.find(fake)
        assert (ffmpeg.version, str(ffmpeg), ffmpeg.encoders) == (version, shown, {"libx264"})

    def test_the_embedded_one_without_a_path(
        self, embedded: Ffmpeg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert ffmpegs.find() == (embedded,)


@pytest.fixture(scope="session")
def each_ffmpeg(found_ffmpegs: tuple[Ffmpeg, ...]) -> tuple[Ffmpeg, ...]:
    """Both, where the system has one."""
    return found_ffmpegs


class TestSoftwareEncodes:
    """What ffmpeg makes of the argument lists, old and new ones alike."""

    @pytest.mark.parametrize("name", ["libsvtav1", "libx265", "libx264"])
    def test_irregular_timestamps_stay(
        self, name: str, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"-f lavfi -i sine=r=8000:d=3 {IRREGULAR} -c:a pcm_s16le -ac 1", ".mov")
        for ffmpeg in each_ffmpeg:
            target = tmp_path / f"{ffmpeg.origin}.part"
            done = software(ffmpeg, name, job_for(clip, target))
            assert (done.returncode, done.stderr) == (0, ())
            assert pts(target) == pytest.approx(pts(clip), abs=1e-9)
            assert done.frames == len(pts(clip))

    @pytest.mark.parametrize(
        ("words", "suffix", "codec", "container"),
        [
            ("-c:a aac", ".mp4", "aac", "mp4"),
            ("-c:a pcm_alaw", ".mkv", "aac", "mp4"),
            ("-c:a pcm_s16le", ".mkv", "aac", "mp4"),
            ("-c:a adpcm_g726 -b:a 32k", ".mkv", "aac", "mp4"),
            ("-c:a wmav2", ".mkv", "wmav2", "mkv"),
        ],
    )
    def test_audio(
        self,
        words: str,
        suffix: str,
        codec: str,
        container: str,
        each_ffmpeg: tuple[Ffmpeg, ...],
        make_clip: MakeClip,
        tmp_path: Path,
    ) -> None:
        clip = make_clip(f"{SOUND} {PLAIN} {words}", suffix)
        for ffmpeg in each_ffmpeg:
            job = job_for(clip, tmp_path / f"{ffmpeg.origin}.part")
            assert (job.container, software(ffmpeg, "libx264", job).stderr) == (container, ())
            made = media_of(job.target)
            assert [each.codec for each in made.audio] == [codec]
            assert made.audio[0].sample_rate == 8000

    def test_audio_left_out(self, embedded: Ffmpeg, make_clip: MakeClip, tmp_path: Path) -> None:
        clip = make_clip(f"{SOUND} {PLAIN} -c:a aac", ".mp4")
        job = job_for(clip, tmp_path / "x", settings=Settings(audio="none"))
        assert software(embedded, "libx264", job).returncode == 0
        assert media_of(job.target).audio == ()

    @pytest.mark.parametrize(
        ("form", "kept"),
        [
            ("yuv420p10le", {"libsvtav1": "yuv420p10le", "libx265": "yuv420p10le", "libx264": "yuv420p10le"}),
            ("yuv422p10le", {"libsvtav1": "yuv420p10le", "libx265": "yuv422p10le", "libx264": "yuv422p10le"}),
        ],
    )
    def test_bit_depth_and_chroma_stay(
        self,
        form: str,
        kept: dict[str, str],
        each_ffmpeg: tuple[Ffmpeg, ...],
        make_clip: MakeClip,
        tmp_path: Path,
    ) -> None:
        clip = make_clip(f"{PICTURE} -c:v libx264 -preset ultrafast -pix_fmt {form}")
        for ffmpeg in each_ffmpeg:
            for name, expected in kept.items():
                job = job_for(clip, tmp_path / f"{ffmpeg.origin}.part")
                assert software(ffmpeg, name, job).stderr == ()
                assert media_of(job.target).video.pixel_format == expected

    @pytest.mark.parametrize("name", ["libsvtav1", "libx265", "libx264"])
    def test_odd_sizes(
        self, name: str, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"{PICTURE} -vf crop=151:111:0:0:exact=1 -c:v mjpeg -pix_fmt yuvj420p", ".mkv")
        for ffmpeg in each_ffmpeg:
            job = job_for(clip, tmp_path / f"{ffmpeg.origin}.part")
            assert software(ffmpeg, name, job).stderr == ()
            made = media_of(job.target).video
            assert (made.width, made.height) == (152, 112)

    def test_scaled(self, embedded: Ffmpeg, make_clip: MakeClip, tmp_path: Path) -> None:
        job = job_for(make_clip(PLAIN), tmp_path / "x", settings=Settings(max_height=61))
        assert software(embedded, "libx264", job).returncode == 0
        made = media_of(job.target).video
        assert (made.width, made.height) == (80, 60)

    def test_rotation_and_metadata_stay(
        self, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        plain = make_clip(f"{PLAIN} -metadata creation_time=2026-05-03T12:20:00Z -metadata title=door")
        clip = make_clip(f"-display_rotation 90 -i {plain} -c copy -map_metadata 0")
        for ffmpeg in each_ffmpeg:
            job = job_for(clip, tmp_path / f"{ffmpeg.origin}.part")
            assert software(ffmpeg, "libx264", job).stderr == ()
            with av.open(str(job.target)) as made:
                assert (made.streams.video[0].width, made.streams.video[0].height) == (160, 120)
                assert next(made.decode(video=0)).rotation == 90
                assert made.metadata["creation_time"] == "2026-05-03T12:20:00.000000Z"
                assert (made.metadata["title"], made.metadata["comment"]) == ("door", "tag")

    def test_hostile_names(self, embedded: Ffmpeg, make_clip: MakeClip, tmp_path: Path) -> None:
        names = [
            "-y.mp4",
            "concat:x.mp4",
            "a:b.mp4",
            "%d.mp4",
            "a\nb.mp4",
            "'$(x)'.mp4",
            os.fsdecode(b"\xff.mp4"),
        ]
        for name in names:
            clip = tmp_path / name
            clip.write_bytes(make_clip(PLAIN).read_bytes())
            done = software(
                embedded, "libx264", job_for(clip, tmp_path / "t", media=media_of(make_clip(PLAIN)))
            )
            assert (name, done.returncode, done.frames) == (name, 0, 20)

    def test_remux_copies_every_packet(
        self, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"{SOUND} {PLAIN} -c:a aac", ".mp4")
        for ffmpeg in each_ffmpeg:
            target = tmp_path / f"{ffmpeg.origin}.part"
            arguments = ffmpeg_args.remux(clip, target, media_of(clip), "mp4", {})
            done = transcoder.run(ffmpeg.path, arguments)
            assert (done.returncode, done.stderr) == (0, ())
            assert pts(target) == pts(clip)
            assert media_of(target).audio == media_of(clip).audio

    def test_decode_counts_frames_and_finds_damage(
        self, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"{IRREGULAR} -g 10")
        damaged = tmp_path / "damaged.mp4"
        data = bytearray(clip.read_bytes())
        data[len(data) // 4 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 4)
        damaged.write_bytes(data)
        for ffmpeg in each_ffmpeg:
            done = transcoder.run(ffmpeg.path, ffmpeg_args.decode(clip))
            assert (done.returncode, done.stderr, done.frames) == (0, (), len(pts(clip)))
            keyframes = transcoder.run(ffmpeg.path, ffmpeg_args.decode(clip, keyframes_only=True))
            assert (keyframes.returncode, keyframes.stderr) == (0, ())
            assert 1 <= keyframes.frames < done.frames
            assert transcoder.run(ffmpeg.path, ffmpeg_args.decode(damaged)).stderr

    def test_odd_times_and_sizes_are_no_damage(
        self, each_ffmpeg: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        picture = "-f lavfi -i testsrc2=s={}:r=10:d=1 -c:v libx264 -preset ultrafast -bf 0"
        both = tmp_path / "both.h264"
        pieces = [make_clip(picture.format(size), ".h264") for size in ("160x120", "320x240")]
        both.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
        stray = picture.format("160x120") + r" -bsf:v 'setts=pts=if(eq(N\,4)\,PTS+3600/TB\,PTS)'"
        slow = picture.format("160x120").replace("r=10:d=1", "r=1/60:d=1200")
        of_words = {stray: 10, f"-r 10 -i {both} -c copy -tag:v avc3": 20, slow: 20}
        for ffmpeg, (words, frames) in product(each_ffmpeg, of_words.items()):
            done = transcoder.run(ffmpeg.path, ffmpeg_args.decode(make_clip(words)))
            assert (done.returncode, done.stderr, done.frames) == (0, (), frames)


class TestEncoders:
    def test_no_gpu_means_software_and_no_gpu_probe(
        self, found_ffmpegs: tuple[Ffmpeg, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoders, "_NVIDIA_NODES", ())
        choice = Machine(found_ffmpegs, Settings(), nodes=()).choose()
        assert [(each.encoder.name, each.rung) for each in choice.ladder] == [("libsvtav1", Rung.SOFTWARE)]
        assert choice.ffmpeg.origin == "embedded"
        assert choice.explanation[:3] == (
            "qsv: no render node",
            "vaapi: no render node",
            "nvenc: no NVIDIA device",
        )
        assert choice.explanation[3].startswith("libsvtav1 (SVT-AV1 4.")

    def test_another_codec_stands_by_where_none_was_asked_for(
        self, found_ffmpegs: tuple[Ffmpeg, ...]
    ) -> None:
        machine = Machine(found_ffmpegs, Settings(), nodes=())
        assert [each.encoder.name for each in machine.choose(Backend.SOFTWARE).spare] == ["libx264"]
        assert machine.choose(Backend.SOFTWARE, "av1").spare == ()
        assert machine.choose(Backend.SOFTWARE, "h264").spare == ()

    def test_an_old_svt_av1_gives_way_to_x264(
        self, found_ffmpegs: tuple[Ffmpeg, ...], tmp_path: Path
    ) -> None:
        real = next(each for each in found_ffmpegs if each.origin == "embedded")
        old = script(
            tmp_path, f"echo 'Svt[info]: SVT-AV1 Encoder Lib v1.4.1' >&2; SVT_LOG=1 exec {real.path} $all"
        )
        machine = Machine((replace(real, path=old),), Settings(), nodes=())
        choice = machine.choose(Backend.SOFTWARE)
        assert choice.encoder.name == "libx264"
        assert choice.explanation[0] == "libsvtav1: SVT-AV1 1.4 is older than 2"
        assert machine.choose(Backend.SOFTWARE, "av1").encoder.name == "libsvtav1"

    @pytest.mark.parametrize(
        ("codec", "name"), [("av1", "libsvtav1"), ("hevc", "libx265"), ("h264", "libx264")]
    )
    def test_a_codec_in_software(self, codec: str, name: str, found_ffmpegs: tuple[Ffmpeg, ...]) -> None:
        assert (
            Machine(found_ffmpegs, Settings(), nodes=()).choose(Backend.SOFTWARE, codec).encoder.name == name
        )

    @pytest.mark.parametrize("backend", [Backend.QSV, Backend.VAAPI, Backend.NVENC, Backend.V4L2M2M])
    def test_a_named_backend_that_fails_is_an_error(
        self, backend: Backend, found_ffmpegs: tuple[Ffmpeg, ...], tmp_path: Path
    ) -> None:
        machine = Machine(found_ffmpegs, Settings(), device=tmp_path / "renderD128")
        with pytest.raises(EncoderError, match="can't be used") as caught:
            machine.choose(backend)
        assert caught.value.exit_code == 12
        assert caught.value.hint
        if backend in (Backend.QSV, Backend.VAAPI):
            assert f"{tmp_path}/renderD128 is not there" in caught.value.message
            assert "--device" in caught.value.hint

    def test_a_codec_that_the_backend_never_has(self, found_ffmpegs: tuple[Ffmpeg, ...]) -> None:
        with pytest.raises(EncoderError, match="v4l2m2m has no av1 encoder"):
            Machine(found_ffmpegs, Settings()).choose(Backend.V4L2M2M, "av1")

    def test_a_wrong_preset_is_found_by_the_trial(self, embedded: Ffmpeg) -> None:
        machine = Machine((embedded,), Settings(preset="swift"), nodes=())
        with pytest.raises(EncoderError, match="libx264 can't be used"):
            machine.choose(Backend.SOFTWARE, "h264")

    def test_a_trial_is_made_once(self, embedded: Ffmpeg, tmp_path: Path) -> None:
        counted = script(tmp_path, f"echo run >> {tmp_path}/runs; exec {embedded.path} $all")
        machine = Machine((replace(embedded, path=counted),), Settings(), nodes=())
        first = machine.choose(Backend.SOFTWARE, "h264")
        runs = (tmp_path / "runs").read_text()
        assert machine.choose(Backend.SOFTWARE, "h264") == first
        assert (tmp_path / "runs").read_text() == runs
        assert machine.still_works(first)
        assert (tmp_path / "runs").read_text() != runs

    def test_a_hang_at_the_first_use(
        self, embedded: Ffmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoders, "_TRIAL_SECONDS", 0.5)
        body = f'case "$all" in *h264_qsv*) sleep 60;; *) exec {embedded.path} $all;; esac'
        machine = Machine(
            (replace(embedded, path=script(tmp_path, body)),), Settings(), device=tmp_path / "n"
        )
        with pytest.raises(EncoderError, match="no progress for"):
            machine.choose(Backend.QSV, "h264")

    def test_node_problem(self, tmp_path: Path) -> None:
        missing, hint = node_problem(tmp_path / "renderD128")
        assert missing.endswith("is not there") and "--device" in hint
        plain = tmp_path / "plain"
        plain.touch()
        assert node_problem(plain)[0] == f"{plain} is no device"
        assert node_problem(Path("/dev/null")) == ("", "")

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a device that others may not open")
    def test_a_node_without_permission(self) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            Path(folder).chmod(0o755)
            node = Path(folder, "renderD128")
            try:
                os.mknod(node, stat.S_IFCHR | 0o660, os.makedev(1, 3))
            except PermissionError:
                pytest.skip("this container may not make devices")
            code = (
                "import os; from pathlib import Path; from camarchiver.nodes import node_problem\n"
                "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
                f"print(*node_problem(Path({str(node)!r})), sep='|')"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        group = grp.getgrgid(0).gr_name
        assert done.stdout.startswith(f"no permission for {node}|usermod -aG {group} nobody")


@dataclass(frozen=True)
class Passes:
    """The least check: ffmpeg must have written all frames."""

    ok: bool
    problem: str = ""
    blames_source: bool = False


TINY_FRAMES = 20
TINY = Media(
    "mp4",
    VideoStream("h264", 256, 256, "yuv420p", 8, Fraction(10), Fraction(1, 12800)),
    1, (), (), TINY_FRAMES, 1, 0, 0.0, 2.0, {},
)  # fmt: skip

# Each row of the failure table: where it was seen, the exit code then, and what it means for the ladder.
DEVICE, INPUT, OPTION, STORAGE = "device", "input", "option", "storage"
FAILURES = [
    ("[h264_qsv @ 0x1] Error initializing an internal MFX session: unsupported (-3)", 1, DEVICE),
    ("Error creating a MFX session: -9.", 171, DEVICE),
    ("[AVHWDeviceContext @ 0x1] Error initializing an MFX session: -9.", 171, DEVICE),
    ("[h264_qsv @ 0x1] Failed to create a VAAPI device.", 187, DEVICE),
    ("No VA display found for device /dev/dri/renderD128.\nDevice creation failed: -22.", 234, DEVICE),
    ("Device creation failed: -542398533.", 187, DEVICE),
    ("No device available for decoder: device type qsv needed for codec h264_qsv.", 187, DEVICE),
    ("Failed to initialise VAAPI connection: -1 (unknown libva error).", 251, DEVICE),
    ("Current codec type is unsupported\nsome encoding parameters are not supported", 218, OPTION),
    ("Current profile is unsupported\nCurrent pixel format is unsupported", 218, OPTION),
    ("Low power mode is unsupported", 218, OPTION),
    ("Error initializing the encoder: invalid video parameters (-15)", 234, OPTION),
    ("Error initializing the encoder: undefined behavior (-16)", 190, OPTION),
    ("Error during encoding: device failed (-17)", 251, DEVICE),
    ("Error during encoding: GPU Hang (-21)", 251, DEVICE),
    ("Error during encoding: unknown error (-21)", 1, DEVICE),
    ("Error decoding stream header: unsupported (-3)", 69, INPUT),
    ("Error during QSV decoding.: device failed (-17)", 0, DEVICE),
    ("Codec AVOption rc_mode (Set rate control mode) has not been used for any stream", 1, OPTION),
    ("Impossible to convert between the formats supported by the filter", 218, INPUT),
    ("Unknown encoder 'av1_qsv'", 1, OPTION),
    ("Cannot load libcuda.so.1", 255, DEVICE),
    ("Could not find a valid device\ncan't configure encoder", 1, DEVICE),
    ("get_buffer() failed", 1, INPUT),
    ("Error closing file: No space left on device", 0, STORAGE),
    ("av_interleaved_write_frame(): No space left on device", 228, STORAGE),
    ("", 139, DEVICE),
    ("", 1, "unknown"),
]

REPLAY = """
case $all in *_qsv*) rung=gpu-encode;; *) rung=software;; esac
case $all in *-hwaccel*) rung=gpu;; esac
mode=; case $all in *-q:v*) mode=cqp;; esac
here=${0%/*}
echo $rung$mode >> $here/calls
target=${1#file:}
[ -s "$target" ] && echo "leftover of an earlier rung" >&2
frames=20; code=0
if [ -e $here/$rung ] && { [ -z "$mode" ] || [ ! -e $here/only-icq ]; }; then
  cat $here/$rung >&2; read code frames < $here/$rung.end
fi
echo "archive by $rung" > "$target"
printf 'frame=%s\\nprogress=end\\n' $frames > $pipe
[ $code = 139 ] && kill -SEGV $$
[ $code = 124 ] && exec sleep 60
exit $code
"""


@dataclass(frozen=True)
class Replay:
    """A fake ffmpeg that fails as told on the rungs told, and a ladder over it."""

    folder: Path
    said: list[str]
    still_works: list[bool]
    breaker: Breaker
    choice: Choice

    def fail(self, rung: Rung, stderr: str, code: int, frames: int = 5) -> None:
        (self.folder / rung).write_text(stderr + "\n" if stderr else "")
        (self.folder / f"{rung}.end").write_text(f"{code} {frames}\n")

    def heal(self) -> None:
        for rung in Rung:
            (self.folder / rung).unlink(missing_ok=True)

    def climb(self, stop: threading.Event | None = None, media: Media = TINY, stall: float = 30.0) -> Encoded:
        job = Job(self.folder / "clip.mp4", self.folder / "target.part", media, Settings(), "mp4", {})

        def check(finished: Finished, encoder: Encoder) -> Passes:
            return Passes(finished.frames == TINY_FRAMES, f"{finished.frames} of {TINY_FRAMES} frames")

        return Ladder(self.choice, self.breaker, stop, stall).climb(job, check)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    ffmpeg = Ffmpeg(script(tmp_path, REPLAY), (9, 0), "option", frozenset())
    hardware, spare = ENCODERS["hevc_qsv"], ENCODERS["libx265"]
    ladder = (
        Attempt(ffmpeg, hardware, Rung.GPU),
        Attempt(ffmpeg, hardware, Rung.GPU_ENCODE),
        Attempt(ffmpeg, spare, Rung.SOFTWARE),
    )
    said: list[str] = []
    answers: list[bool] = []
    breaker = Breaker(lambda: answers.pop(0), announce=said.append)
    return Replay(tmp_path, said, answers, breaker, Choice(ladder, None, False, ()))


class TestLadder:
    def test_the_best_rung_is_enough(self, replay: Replay) -> None:
        encoded = replay.climb()
        assert encoded.rungs == (RungTried(Rung.GPU, "hevc_qsv"),)
        assert (encoded.encoder, encoded.problem) == (ENCODERS["hevc_qsv"], "")
        assert replay.calls() == ["gpu"]

    @pytest.mark.parametrize("rung", [Rung.GPU, Rung.GPU_ENCODE])
    @pytest.mark.parametrize(("stderr", "code", "kind"), FAILURES)
    def test_each_failure_on_each_hardware_rung(
        self, stderr: str, code: int, kind: str, rung: Rung, replay: Replay
    ) -> None:
        if rung is Rung.GPU_ENCODE:
            replay.fail(Rung.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(rung, stderr, code)
        encoded = replay.climb()
        tried = ["gpu"] if rung is Rung.GPU else ["gpu", "gpu-encode"]
        if kind == OPTION or rung is Rung.GPU_ENCODE:
            tried.append("software")
        else:
            tried.append("gpu-encode")
        if kind == STORAGE:
            # Where ffmpeg hides it behind exit 0 the check finds the missing frames all the same.
            tried.pop()
        assert replay.calls() == tried
        assert [each.rung for each in encoded.rungs] == tried
        assert (encoded.encoder is None) == (kind == STORAGE)
        assert all(each.problem for each in encoded.rungs[: len(tried) - (kind != STORAGE)])
        failed = encoded.rungs[0 if rung is Rung.GPU else 1]
        if code == 139:
            assert failed.problem == "ended by SIGSEGV"
        elif code == 0:
            assert failed.problem == "5 of 20 frames"
        elif stderr:
            assert failed.problem == stderr.splitlines()[0].replace(" @ 0x1", "")
        else:
            assert failed.problem == "exit 1"

    @pytest.mark.parametrize(("stderr", "code", "kind"), FAILURES)
    def test_each_failure_on_the_last_rung_leaves_no_archive(
        self, stderr: str, code: int, kind: str, replay: Replay
    ) -> None:
        replay.fail(Rung.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(Rung.GPU_ENCODE, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(Rung.SOFTWARE, stderr, code)
        encoded = replay.climb()
        assert encoded.encoder is None
        assert replay.calls() == ["gpu", "gpu-encode", "software"]
        assert encoded.problem == encoded.rungs[-1].problem != ""

    def test_exit_0_with_half_the_frames(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "", 0, frames=10)
        encoded = replay.climb()
        assert encoded.rungs[0].problem == "10 of 20 frames"
        assert encoded.rungs[1] == RungTried(Rung.GPU_ENCODE, "hevc_qsv")
        assert (replay.folder / "target.part").read_text() == "archive by gpu-encode\n"

    def test_a_hang(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "", 124)
        encoded = replay.climb(stall=0.5)
        assert encoded.rungs[0].problem == "no progress for 0 s"
        assert encoded.rungs[1].problem == ""

    def test_constant_quality_refused_is_tried_once_as_a_quantiser(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "[hevc_qsv @ 0x1] Selected ratecontrol mode is unsupported", 218)
        (replay.folder / "only-icq").touch()
        encoded = replay.climb()
        assert replay.calls() == ["gpu", "gpucqp"]
        assert [each.problem for each in encoded.rungs] == [
            "[hevc_qsv] Selected ratecontrol mode is unsupported",
            "",
        ]

    def test_both_rate_controls_refused_means_the_next_encoder(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "Selected ratecontrol mode is unsupported", 218)
        assert replay.climb().encoder == ENCODERS["libx265"]
        assert replay.calls() == ["gpu", "gpucqp", "software"]

    def test_device_failures_of_two_clips_trip_the_breaker(self, replay: Replay) -> None:
        replay.still_works.append(False)
        replay.fail(Rung.GPU, "Error during encoding: GPU Hang (-21)", 251)
        replay.fail(Rung.GPU_ENCODE, "Error during encoding: GPU Hang (-21)", 251)
        assert replay.climb().encoder == ENCODERS["libx265"]
        assert replay.climb().rungs == (RungTried(Rung.SOFTWARE, "libx265"),)
        assert replay.calls() == ["gpu", "gpu-encode", "software", "software"]
        assert len(replay.said) == 1

    def test_a_gpu_that_passes_its_trial_stays(self, replay: Replay) -> None:
        replay.still_works.append(True)
        replay.fail(Rung.GPU, "device failed (-17)", 251)
        replay.fail(Rung.GPU_ENCODE, "device failed (-17)", 251)
        assert replay.climb().encoder == ENCODERS["libx265"]
        replay.heal()
        assert replay.climb().encoder == ENCODERS["hevc_qsv"]
        assert replay.said == []

    def test_bad_clips_never_trip_the_breaker(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(Rung.GPU_ENCODE, "Invalid data found when processing input", 1)
        for _ in range(3):
            assert replay.climb().encoder == ENCODERS["libx265"]
        assert not replay.breaker.tripped

    def test_a_stop_fails_no_rung(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "", 124)
        stop = threading.Event()
        threading.Timer(0.4, stop.set).start()
        encoded = replay.climb(stop)
        assert (encoded.stopped, encoded.encoder, encoded.rungs) == (True, None, ())
        assert replay.calls() == ["gpu"]

    def test_a_rung_that_would_lose_bits_is_passed_over(self, replay: Replay) -> None:
        deep = replace(TINY, video=replace(TINY.video, pixel_format="yuv422p10le", bit_depth=10))
        encoded = replay.climb(media=deep)
        assert encoded.rungs == (
            RungTried(Rung.GPU, "hevc_qsv", "the GPU's pipeline has no 4:2:2"),
            RungTried(Rung.GPU_ENCODE, "hevc_qsv"),
        )
        assert replay.calls() == ["gpu-encode"]

    def test_the_owner_s_quality_is_not_for_the_spare_encoder(self, replay: Replay) -> None:
        replay.fail(Rung.GPU, "Current profile is unsupported", 218)
        log = replay.folder / "arguments"
        fake = script(replay.folder, f'echo "$all" >> {log}' + REPLAY)
        assert fake.exists()
        job = Job(
            replay.folder / "c.mp4", replay.folder / "t", TINY, Settings(quality=20, preset="slow"), "mp4", {}
        )
        Ladder(replay.choice, replay.breaker).climb(job, lambda finished, encoder: Passes(True))
        first, last = log.read_text().splitlines()
        assert "-global_quality 20" in first and "-preset slow" in first
        assert "-crf 26" in last and "-preset fast" in last

    @pytest.mark.parametrize(
        ("stderr", "code", "is_refusal"),
        [
            ("Svt[error]: The maximum allowed frame rate is 240 fps", 234, True),
            ("", 0, True),
            ("malloc: Cannot allocate memory", 1, False),
            ("Error writing trailer: Input/output error", 1, False),
            ("No space left on device", 1, False),
            ("", 139, False),
        ],
    )
    def test_a_refusal_is_what_the_same_clip_meets_every_time(
        self, replay: Replay, stderr: str, code: int, is_refusal: bool
    ) -> None:
        replay.still_works.append(True)
        for rung in Rung:
            replay.fail(rung, stderr, code)
        assert replay.climb().is_refusal == is_refusal

    @pytest.mark.parametrize(
        ("problem", "is_refusal"),
        [
            ("of 20 frames 5 were encoded and 5 are in the archive", True),
            ("/a/x.mp4 can't be read as a video: moov atom not found", True),
            ("/a/x.mp4 crashed the process that examined it", False),
            ("/a/x.mp4 made the parser hang for 60 s", False),
            ("/a/x.mp4 can't be read: Input/output error", False),
        ],
    )
    def test_a_check_that_could_not_be_made_is_no_refusal(
        self, replay: Replay, problem: str, is_refusal: bool
    ) -> None:
        job = Job(replay.folder / "c.mp4", replay.folder / "t", TINY, Settings(), "mp4", {})
        ladder = Ladder(replay.choice, replay.breaker)
        assert ladder.climb(job, lambda finished, encoder: Passes(False, problem)).is_refusal == is_refusal

    def test_a_damaged_clip_is_not_tried_on_a_spare_encoder(self, replay: Replay) -> None:
        spare = Attempt(replay.choice.ffmpeg, ENCODERS["libx264"], Rung.SOFTWARE)
        job = Job(replay.folder / "c.mp4", replay.folder / "t", TINY, Settings(), "mp4", {})

        def climb(verdict: Passes) -> Encoded:
            ladder = Ladder(replace(replay.choice, spare=(spare,)), replay.breaker)
            return ladder.climb(job, lambda finished, encoder: verdict)

        refused = climb(Passes(False, "frames are missing"))
        assert [each.encoder for each in refused.rungs][2:] == ["libx265", "libx264"]
        damaged = climb(Passes(False, "it complained", blames_source=True))
        assert [each.encoder for each in damaged.rungs][2:] == ["libx265"]
        assert (damaged.is_damaged, damaged.is_refusal) == (True, False)

    def test_fields_go_to_an_encoder_that_keeps_them(self, replay: Replay) -> None:
        woven = replace(TINY, video=replace(TINY.video, field_order="tt"))
        spare = Attempt(replay.choice.ffmpeg, ENCODERS["libx264"], Rung.SOFTWARE)
        replay = replace(replay, choice=replace(replay.choice, spare=(spare,)))
        encoded = replay.climb(media=woven)
        assert encoded.encoder == ENCODERS["libx264"]
        assert all("would weave the fields" in each.problem for each in encoded.rungs[:-1])

    def test_a_target_that_cannot_be_written(self, replay: Replay) -> None:
        (replay.folder / "target.part").mkdir()
        with pytest.raises(IsADirectoryError):
            replay.climb()


HEVC = Backend.QSV, "hevc"


class TestQuickSync:
    """The real ffmpeg's Quick Sync code on a software stand-in; no Intel hardware is proved by it."""

    @pytest.fixture
    def machine(self, softqsv: Path, found_ffmpegs: tuple[Ffmpeg, ...]) -> Machine:
        return Machine(found_ffmpegs, Settings(), device=softqsv)

    def climb(self, choice: Choice, clip: Path, target: Path, breaker: Breaker | None = None) -> Encoded:
        job = job_for(clip, target)
        frames = job.media.packets

        def check(finished: Finished, encoder: Encoder) -> Passes:
            same = finished.frames == frames and pts(target) == pytest.approx(pts(clip), abs=1e-9)
            return Passes(same, f"{finished.frames} of {frames} frames")

        return Ladder(choice, breaker or Breaker(lambda: True)).climb(job, check)

    def test_full_pipeline_keeps_irregular_timestamps(
        self,
        machine: Machine,
        found_ffmpegs: tuple[Ffmpeg, ...],
        softqsv: Path,
        make_clip: MakeClip,
        tmp_path: Path,
    ) -> None:
        clip = make_clip(f"{SOUND} {IRREGULAR} -c:a pcm_alaw", ".mkv")
        for ffmpeg in found_ffmpegs:
            choice = Machine((ffmpeg,), Settings(), device=softqsv).choose(*HEVC)
            assert [each.rung for each in choice.ladder] == [Rung.GPU, Rung.GPU_ENCODE, Rung.SOFTWARE]
            encoded = self.climb(choice, clip, tmp_path / "x.part")
            assert encoded.rungs == (RungTried(Rung.GPU, "hevc_qsv"),)
            assert encoded.finished is not None and encoded.finished.stderr == ()
            with av.open(str(tmp_path / "x.part")) as made:
                assert made.streams.video[0].codec_context.codec_tag == "hvc1"
                assert made.streams.audio[0].codec_context.name == "aac"

    def test_auto_takes_av1_where_the_gpu_has_it(self, machine: Machine) -> None:
        choice = machine.choose()
        assert choice.encoder.name == "av1_qsv"
        assert choice.explanation[0].startswith("av1_qsv on /dev/dri/renderD128 with ffmpeg")

    def test_scaled_on_the_gpu(
        self, softqsv: Path, found_ffmpegs: tuple[Ffmpeg, ...], make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"-f lavfi -i testsrc2=s=320x240:r=10:d=1 {X264}")
        settings = Settings(max_height=128)
        choice = Machine(found_ffmpegs, settings, device=softqsv).choose(*HEVC)
        job = job_for(clip, tmp_path / "x.part", settings=settings)
        encoded = Ladder(choice, Breaker(lambda: True)).climb(job, lambda finished, encoder: Passes(True))
        assert encoded.rungs == (RungTried(Rung.GPU, "hevc_qsv"),)
        made = media_of(job.target).video
        assert (made.width, made.height) == (170, 128)

    @pytest.mark.parametrize(
        ("variable", "value", "name"),
        [
            ("SOFTQSV_GPU", "haswell", "h264_qsv"),
            ("SOFTQSV_GPU", "skylake", "hevc_qsv"),
            ("SOFTQSV_ENC", "h264,icq", "h264_qsv"),
        ],
    )
    def test_older_gpus(
        self, variable: str, value: str, name: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)
        choice = machine.choose()
        assert choice.encoder.name == name
        assert "av1_qsv: [av1_qsv] Current codec type is unsupported" in choice.explanation

    def test_a_named_codec_that_the_gpu_lacks(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOFTQSV_GPU", "haswell")
        with pytest.raises(EncoderError, match="Current codec type is unsupported") as caught:
            machine.choose(*HEVC)
        assert "--codec" in caught.value.hint

    def test_no_constant_quality(
        self, machine: Machine, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SOFTQSV_ENC", "h264,hevc")
        choice = machine.choose(*HEVC)
        assert choice.constant_quantiser
        late = replace(choice, constant_quantiser=False)
        encoded = self.climb(late, make_clip(PLAIN), tmp_path / "x.part")
        assert [each.rung for each in encoded.rungs] == [Rung.GPU, Rung.GPU]
        assert "Selected ratecontrol mode is unsupported" in encoded.rungs[0].problem
        early = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part")
        assert early.rungs == (RungTried(Rung.GPU, "hevc_qsv"),)

    def test_a_decoder_that_dies_half_way(
        self, machine: Machine, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        choice = machine.choose(*HEVC)
        monkeypatch.setenv("SOFTQSV_FAIL", "dec=-17@10")
        encoded = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part")
        assert [(each.rung, bool(each.problem)) for each in encoded.rungs] == [
            (Rung.GPU, True),
            (Rung.GPU_ENCODE, False),
        ]
        assert "device failed (-17)" in encoded.rungs[0].problem

    def test_a_gpu_that_hangs_for_good(
        self, machine: Machine, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        choice = machine.choose(*HEVC)
        said: list[str] = []
        breaker = Breaker(lambda: machine.still_works(choice), announce=said.append)
        monkeypatch.setenv("SOFTQSV_FAIL", "enc=-21@3")
        first = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part", breaker)
        assert [each.rung for each in first.rungs] == [Rung.GPU, Rung.GPU_ENCODE, Rung.SOFTWARE]
        assert breaker.tripped
        second = self.climb(choice, make_clip(PLAIN), tmp_path / "y.part", breaker)
        assert second.rungs == (RungTried(Rung.SOFTWARE, "libx265"),)
        assert len(said) == 1

    def test_a_node_that_may_not_be_opened(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOFTQSV_NODE_ERR", "EACCES")
        with pytest.raises(EncoderError, match="No VA display found"):
            machine.choose(Backend.QSV)

    @pytest.mark.parametrize(
        ("gpu", "rung", "name"), [("arc", Rung.GPU, "hevc_qsv"), ("skylake", Rung.SOFTWARE, "libx265")]
    )
    def test_ten_bits(
        self,
        gpu: str,
        rung: Rung,
        name: str,
        machine: Machine,
        make_clip: MakeClip,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("SOFTQSV_GPU", gpu)
        made = f"{PICTURE} -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le"
        encoded = self.climb(machine.choose(*HEVC), make_clip(made), tmp_path / "x.part")
        assert encoded.rungs[-1] == RungTried(rung, name)
        assert media_of(tmp_path / "x.part").video.pixel_format == "yuv420p10le"

    def test_a_chroma_that_the_gpu_cannot_decode(
        self, machine: Machine, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"{PICTURE} -c:v libx264 -preset ultrafast -pix_fmt yuv422p")
        encoded = self.climb(machine.choose(*HEVC), clip, tmp_path / "x.part")
        assert encoded.rungs[-1] == RungTried(Rung.GPU_ENCODE, "hevc_qsv")


GOOD = [
    name
    for name in CLIP_ARGUMENTS
    if name not in ("sound-only.mp4", "two-pictures.mp4", "many-keyframes.mkv")
]
FRAME_COUNTS = {
    "irregular.mp4": 25,
    "slow.mp4": 30,
    "slow-odd-ticks.avi": 30,
    "one-frame.mp4": 1,
    "one-frame.mkv": 1,
    "one-frame.ts": 1,
}
FRAME_COUNTS |= {"slow.mp4": 30, "slow-odd-ticks.avi": 30}
CODECS = {"libx264": "h264", "libsvtav1": "av1", "libx265": "hevc"}


def worker_pid() -> int:
    """The parser's process, found from outside."""
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"camarchiver.probe" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    raise AssertionError("no worker runs")


def reason_of(call: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(ProbeError) as caught:
        call(path)
    assert str(path) in caught.value.message
    return caught.value.reason


def cut(fraction: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(len(data) * fraction)]


def flipped(data: bytes) -> bytes:
    dice, damaged = random.Random(7), bytearray(data)
    for _ in range(20):
        damaged[dice.randrange(len(data) // 5, len(data) * 4 // 5)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def zeroed(data: bytes, start: int, length: int) -> bytes:
    return data[:start] + bytes(length) + data[start + length :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": cut(0.5),
    "cut-at-99-percent": cut(0.99),
    "20-bit-flips": flipped,
    "hole": lambda data: zeroed(data, len(data) // 2, len(data) // 8),
    "zero-tail": lambda data: zeroed(data, len(data) - len(data) // 4, len(data) // 4),
}
DAMAGED_CLIPS = [
    *("faststart.mp4", "fragmented.mp4", "silent-fragmented.mp4", "reordered.mkv", "reordered.ts"),
    *("plain.ts", "h264.avi", "hevc.mp4", "hevc.ts", "mpeg4.avi", "mjpeg.avi", "mjpeg.mkv"),
]
# The last hundredth of h264.avi is its index: every frame is still there.
DAMAGED = [
    (name, damage)
    for name in DAMAGED_CLIPS
    for damage in DAMAGES
    if (name, damage) != ("h264.avi", "cut-at-99-percent")
]
# Debian's ffmpeg gets one clip of each container, since each encode takes a quarter of a second.
FFMPEG_AND_DAMAGED = [
    *(("embedded", *case) for case in DAMAGED),
    *(("system", *case) for case in DAMAGED if case[0] in ("faststart.mp4", "reordered.mkv", "plain.ts")),
]
FFMPEG_ENCODER_AND_GOOD = [
    *(("embedded", "libx264", name) for name in GOOD),
    # ffmpeg 5.1 shows the last of an avi's reordered frames too early where ticks are finer than frames.
    *(("system", "libx264", name) for name in GOOD if name != "odd-ticks.avi"),
    *(("embedded", "libsvtav1", name) for name in GOOD),
    *(("system", "libsvtav1", "plain.mp4"), ("system", "libx265", "plain.mp4")),
    ("embedded", "libx265", "plain.mp4"),
]


class TestFootage:
    def test_a_camera_of_damaged_clips_is_not_read_whole(self, tmp_path: Path, mocker: MockerFixture) -> None:
        asked = mocker.spy(Prober, "glance")
        steps = []
        for number in range(footage.LOOKS + 10):
            (tmp_path / f"{number}.mp4").write_bytes(b"no video")
            start = datetime(2026, 3, 1, tzinfo=UTC)
            clip = Clip(tmp_path, "", f"{number}.mp4", "front", start, Fingerprint(1, number, 8, 0))
            steps.append(Archive(clip, clip.name, Reason.NOT_ARCHIVED))
        tally = Tally()
        for step in steps:
            tally.add(step)
        trees = Trees(tmp_path, tmp_path / "archive", tmp_path / "trash")
        plan = Plan("archive", trees, start, ArchivePolicy(timedelta(0)), tally.totals(), steps, ())
        assert footage.seconds_in(plan) == {}
        assert asked.call_count == footage.LOOKS


class TestProbe:
    @pytest.mark.parametrize("name", GOOD)
    def test_counts_every_packet(self, prober: Prober, clips: Path, name: str) -> None:
        media = prober.measure(clips / name)
        assert media.packets == FRAME_COUNTS.get(name, 50)
        assert media.packets_before_keyframe == 0
        assert media.keyframes >= 1
        assert (media.video.width, media.video.height, media.video.bit_depth) == (320, 240, 8)
        seconds = 0.04 if "one-frame" in name else 2.0
        assert media.span == pytest.approx(seconds, abs=0.08)

    @pytest.mark.parametrize("name", GOOD)
    def test_glance_agrees_with_measure(self, prober: Prober, clips: Path, name: str) -> None:
        media, glance = prober.measure(clips / name), prober.glance(clips / name)
        assert (glance.codec, glance.width, glance.height) == (media.video.codec, 320, 240)
        if "one-frame" not in name:
            assert glance.duration == pytest.approx(media.span, abs=0.2)

    @pytest.mark.parametrize("name", GOOD)
    def test_keyframes_of_good_clips_decode(self, prober: Prober, clips: Path, name: str) -> None:
        examined = prober.examine(clips / name)
        assert examined.flaw == ""
        assert examined.media == prober.measure(clips / name)

    def test_streams_and_tags(self, prober: Prober, clips: Path) -> None:
        media = prober.measure(clips / "timecode.mov")
        assert [stream.codec for stream in media.audio] == ["aac"]
        assert media.other_streams == ("data:unknown",)
        assert media.tags["major_brand"] == "qt  "
        assert prober.measure(clips / "two-pictures.mp4").video_streams == 2

    def test_frames_before_the_first_keyframe(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        path = headless(clips / "plain.ts", tmp_path)
        media = prober.measure(path)
        assert (media.packets, media.packets_before_keyframe, media.keyframes) == (37, 12, 1)

    @pytest.mark.parametrize("content", [b"", os.urandom(50_000), b"not a video\n" * 900, bytes(50_000)])
    def test_what_is_no_video_is_damaged(self, prober: Prober, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes(content)
        assert reason_of(prober.measure, path) == "damaged"
        assert reason_of(prober.examine, path) == "damaged"
        assert reason_of(prober.glance, path) == "damaged"

    def test_complaints_name_the_file_that_they_are_about(
        self, prober: Prober, clips: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "x.mp4").write_bytes((clips / "plain.mp4").read_bytes()[:3000])
        said = set()
        for ask in (prober.measure, prober.examine, prober.examine):
            with pytest.raises(ProbeError) as caught:
                ask(tmp_path / "x.mp4")
            said.add(str(caught.value))
        assert len(said) == 1
        assert "moov atom not found" in said.pop()
        (tmp_path / "y.mkv").write_bytes(flipped((clips / "mjpeg.mkv").read_bytes()))
        assert "moov" not in prober.examine(tmp_path / "y.mkv").flaw

    def test_sound_only_is_not_video(self, prober: Prober, clips: Path) -> None:
        assert reason_of(prober.measure, clips / "sound-only.mp4") == "not-video"

    def test_unknown_codec_is_not_video(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes((clips / "plain.mp4").read_bytes().replace(b"avc1", b"xyz9"))
        assert reason_of(prober.measure, path) == "not-video"

    def test_only_regular_files_are_opened(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo.mp4")
        (tmp_path / "link.mp4").symlink_to(clips / "plain.mp4")
        (tmp_path / "folder.mp4").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "socket.mp4"))
            for path in (*sorted(tmp_path.iterdir()), Path("/dev/null"), tmp_path / "missing.mp4"):
                assert reason_of(prober.measure, path) == "unreadable"
                assert reason_of(prober.examine, path) == "unreadable"

    @pytest.mark.parametrize(
        "name", ["-y.mp4", "concat:x.mp4", "%d.mp4", "a\nb.mp4", b"caf\xe9.mp4", "q'\"$(x)*.mp4"]
    )
    def test_any_name(self, prober: Prober, clips: Path, tmp_path: Path, name: str | bytes) -> None:
        path = tmp_path / os.fsdecode(name)
        path.write_bytes((clips / "plain.mp4").read_bytes())
        assert prober.measure(path).packets == 50
        path.write_bytes(b"junk")
        assert reason_of(prober.measure, path) == "damaged"

    def test_tags_that_are_not_utf8(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        path = tmp_path / "x.mkv"
        command = [FFMPEGS["embedded"], "-v", "error", "-i", clips / "plain.mp4", "-c", "copy"]
        subprocess.run([*command, "-metadata", b"title=caf\xe9", path], check=True)
        assert prober.measure(path).tags["title"] == "caf\udce9"

    def test_hole_where_a_fragment_begins(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        """A silent loss: the demuxer stops at the hole and says nothing."""
        data = (clips / "silent-fragmented.mp4").read_bytes()
        second = data.index(b"moof", data.index(b"moof") + 4) - 4
        path = tmp_path / "x.mp4"
        path.write_bytes(zeroed(data, second, 4096))
        assert reason_of(prober.measure, path) == "damaged"

    def test_zeros_that_the_demuxer_calls_not_ready(
        self, prober: Prober, make_clip: Callable[..., Path], tmp_path: Path
    ) -> None:
        encoded = "-c:v libx264 -preset ultrafast -crf 5 -g 15 -pix_fmt yuv420p"
        data = make_clip(f"-f lavfi -i testsrc2=s=160x120:r=15:d=2 {encoded}", ".ts").read_bytes()
        path = tmp_path / "x.ts"
        path.write_bytes(zeroed(data, len(data) // 2, len(data) - len(data) // 2))
        assert reason_of(prober.measure, path) == "damaged"

    def test_damaged_keyframe(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        data = (clips / "faststart.mp4").read_bytes()
        path = tmp_path / "x.mp4"
        path.write_bytes(zeroed(data, data.index(b"mdat") + 2000, 500))
        assert prober.measure(path).packets == 50
        examined = prober.examine(path)
        assert (examined.media.packets, bool(examined.flaw)) == (50, True)

    def test_damaged_keyframe_that_only_the_log_tells_of(
        self, prober: Prober, clips: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.mkv"
        path.write_bytes(flipped((clips / "mjpeg.mkv").read_bytes()))
        assert prober.measure(path).packets == 50
        examined = prober.examine(path)
        assert (examined.media.packets, bool(examined.flaw)) == (50, True)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_crash_costs_one_call(self, prober: Prober, clips: Path, number: int) -> None:
        with halted_worker(prober, clips) as pid, ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(prober.measure, clips / "plain.mp4") for _ in range(3)]
            time.sleep(0.2)
            os.kill(pid, number)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            assert sorted(str(result_of(call)) for call in calls) == ["50", "50", "crashed"]

    def test_worker_killed_while_idle_costs_nothing(self, prober: Prober, clips: Path) -> None:
        prober.glance(clips / "plain.mp4")
        os.kill(worker_pid(), signal.SIGKILL)
        time.sleep(0.2)
        assert prober.measure(clips / "plain.mp4").packets == 50

    def test_hang_costs_one_call(self, clips: Path) -> None:
        with Prober(patience=2) as prober, ThreadPoolExecutor(3) as pool, halted_worker(prober, clips) as pid:
            calls = [pool.submit(prober.measure, clips / "plain.mp4") for _ in range(3)]
            assert sorted(str(result_of(call)) for call in calls) == ["50", "50", "timeout"]
            assert worker_pid() != pid

    def test_long_work_is_no_hang(self, clips: Path) -> None:
        with Prober(patience=1.2) as prober:
            prober.glance(clips / "plain.mp4")
            started = time.monotonic()
            prober.examine(clips / "many-keyframes.mkv")
            assert time.monotonic() - started > 0.6, "too quick to show anything"

    def test_close_ends_a_call_under_way(self, clips: Path) -> None:
        prober = Prober()
        prober.glance(clips / "plain.mp4")
        pid = worker_pid()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(prober.examine, clips / "many-keyframes.mkv")
            time.sleep(0.2)
            prober.close()
            assert result_of(call) == "stopped"
        assert not Path(f"/proc/{pid}").exists()
        assert reason_of(prober.measure, clips / "plain.mp4") == "stopped"

    def test_interrupted_call_leaves_no_answer_behind(self, prober: Prober, clips: Path) -> None:
        def interrupt(number: int, frame: Any) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            with halted_worker(prober, clips):
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                with pytest.raises(KeyboardInterrupt):
                    prober.measure(clips / "plain.mp4")
        finally:
            signal.signal(signal.SIGALRM, before)
        assert prober.measure(clips / "one-frame.mp4").packets == 1

    def test_terminal_interrupt_passes_the_worker_by(self, clips: Path, tmp_path: Path) -> None:
        script = f"""
import os, signal
from pathlib import Path
from camarchiver.probe import Prober
with Prober() as prober:
    prober.measure(Path({str(clips / "plain.mp4")!r}))
    worker = prober._worker
    try:
        os.killpg(0, signal.SIGINT)
    except KeyboardInterrupt:
        pass
    print(prober.measure(Path({str(clips / "plain.mp4")!r})).packets, prober._worker is worker)
"""
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, start_new_session=True, timeout=30
        )
        assert (done.stdout, done.stderr, done.returncode) == ("50 True\n", "", 0)

    def test_worker_dies_with_its_parent(self, clips: Path, tmp_path: Path) -> None:
        """Also while its main thread hangs: here in the import of PyAV, else within the parser."""
        (tmp_path / "av.py").write_text("import time; time.sleep(600)")
        script = f"""
import os, signal, sys, threading, time
from pathlib import Path
from camarchiver.probe import Prober
sys.path.insert(0, {str(tmp_path)!r})
prober = Prober()
threading.Thread(target=prober.measure, args=(Path({str(clips / "plain.mp4")!r}),), daemon=True).start()
time.sleep(1)
print(prober._worker.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        assert done.returncode == -signal.SIGKILL
        assert_gone(Path(f"/proc/{done.stdout.strip()}"))

    def test_nothing_is_imported_from_the_current_folder(
        self, prober: Prober, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "av.py").write_text("raise SystemExit")
        monkeypatch.chdir(tmp_path)
        assert prober.measure(clips / "plain.mp4").packets == 50

    def test_importing_the_module_is_cheap(self) -> None:
        script = "import sys, camarchiver.probe; print('av' in sys.modules, 'numpy' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
        assert done.stdout == "False False\n"


def assert_gone(path: Path) -> None:
    deadline = time.monotonic() + 5
    while path.exists() and "Z" not in (path / "stat").read_text().split(")")[-1].split()[:1]:
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


class halted_worker:
    """The worker stopped as if its parser hung; `with` gives its process id."""

    def __init__(self, prober: Prober, clips: Path) -> None:
        prober.glance(clips / "plain.mp4")
        self._pid = worker_pid()

    def __enter__(self) -> int:
        os.kill(self._pid, signal.SIGSTOP)
        return self._pid

    def __exit__(self, *error: object) -> None:
        if Path(f"/proc/{self._pid}").exists():
            os.kill(self._pid, signal.SIGCONT)


def result_of(call: Future[Any]) -> Any:
    try:
        media = call.result(timeout=30)
    except ProbeError as error:
        return error.reason
    return media.packets if isinstance(media, Media) else media


def headless(source: Path, folder: Path) -> Path:
    """A transport stream that starts within its first group of pictures."""
    data = source.read_bytes()
    path = folder / f"headless-{source.name}"
    path.write_bytes(data[len(data) // 188 // 4 * 188 :])
    return path


def command(ffmpeg: str, source: Path, target: Path, *options: str, encoder: str = "libx264") -> list[str]:
    preset = "12" if encoder == "libsvtav1" else "ultrafast"
    time_base = "demux" if ffmpeg == FFMPEGS["embedded"] else "-1"
    return [
        *(ffmpeg, "-hide_banner", "-y", "-v", "error", "-progress", "pipe:1", "-nostats", *options),
        *("-i", f"file:{source}", "-map", "0:v:0", "-map", "0:a?", "-map_metadata", "0"),
        *("-fps_mode", "passthrough", "-enc_time_base", time_base, "-c:v", encoder, "-preset", preset),
        *("-c:a", "aac", f"file:{target}"),
    ]


def facts_of(
    prober: Prober, source: Path, target: Path, status: int, output: str, errors: str, codec: str = "h264"
) -> Facts:
    counts = [line.removeprefix("frame=") for line in output.splitlines() if line.startswith("frame=")]
    try:
        examined = prober.examine(target)
        archive: Media | str = f"it {examined.flaw}" if examined.flaw else examined.media
    except ProbeError as error:
        archive = error.message
    facts = Facts(
        source=prober.measure(source),
        archive=archive,
        exit_status=status,
        stderr=tuple(errors.splitlines()),
        frames_encoded=int(counts[-1]) if counts else None,
        codec=codec,
        keep_audio=True,
    )
    pairs = pairs_to_compare(facts, thorough=False)
    return replace(facts, pictures=prober.compare(source, target, pairs)) if pairs else facts


def transcoded(prober: Prober, ffmpeg: str, source: Path, target: Path, *, encoder: str = "libx264") -> Facts:
    done = subprocess.run(
        command(ffmpeg, source, target, "-nostdin", encoder=encoder),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
    )
    return facts_of(prober, source, target, done.returncode, done.stdout, done.stderr, CODECS[encoder])


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(options, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a tmpfs can't be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


MOVING = "-f lavfi -i testsrc2=s=320x240:r=15:d=4"
TONE = "-f lavfi -i sine=r=16000:d=4"
CLEAR = "-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p -g 30"
WATCHED = f"{MOVING} {TONE} {CLEAR} -c:a aac"
FLAGGED = f"{MOVING} {CLEAR} -color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709"
ENCODED = f"{CLEAR} -fps_mode passthrough -c:a aac"

# What is wrong with an archive of WATCHED, ffmpeg's words that make it so, and what is said of it.
FLAWS = {
    "a frame dropped": ("-vf \"select='not(eq(n,20))'\"", "of 60 frames 59 "),
    "a frame late": (
        "-vf \"settb=1/15360,setpts='PTS+460*eq(N,20)'\" -enc_time_base:v filter",
        "frame 21 is shown after 1.363 s instead of 1.333 s",
    ),
    "half the rate": ("-vf setpts=2*PTS", "frame 2 is shown after 0.133 s instead of 0.067 s"),
    "no sound": ("-an", "the source has 1 audio streams, the archive 0"),
    "sound late": (
        "-itsoffset 0.1 -i {source} -map 0:v -map 1:a",
        "begins +0.036 s from the picture",
    ),
    "sound early": ("-af atrim=start=0.1,asetpts=PTS-STARTPTS", "stream 1 differs for 0.1"),
    "sound cut short": ("-af atrim=end=3.8", "stream 1 differs for 0.2"),
    "a gap in the sound": (
        "-af \"aselect='not(between(t,1,1.3))'\" -c:a pcm_s16le",
        "stream 1 differs for 0.3",
    ),
    "stretched": ("-vf crop=304:240,scale=320:240,setsar=1", "is moved or stretched by"),
    "moved": ("-vf crop=312:240:8:0,pad=320:240", "the archive's picture at 0.0 s "),
    "mirrored": ("-vf hflip", "the archive's picture at 0.0 s "),
    "grey": ("-vf hue=s=0", "% of the colour"),
    "green": ("-vf lutyuv=u=0:v=0", "off in colour"),
    "colours swapped": ("-vf swapuv", "the archive's picture at 0.0 s "),
    "black": ("-vf lutyuv=y=16:u=128:v=128", "off in brightness"),
    "range widened": ("-vf scale=in_range=tv:out_range=pc,setparams=range=tv", "% of the contrast"),
    "range narrowed": ("-vf scale=in_range=pc:out_range=tv,setparams=range=tv", "% of the contrast"),
    "range flagged": ("-bsf:v h264_metadata=video_full_range_flag=1", "colour range is pc, its source's tv"),
    "frozen": ("-vf \"select='eq(n,0)',loop=59:1,setpts=N/15/TB\"", "0% of the movement"),
    "half a picture": ("-vf drawbox=y=120:h=120:color=gray:t=fill", "the archive's picture at 0.0 s "),
    "smaller": ("-vf scale=160:120", "the archive's picture is 160x120, its source's 320x240"),
    "pixels widened": ("-vf setsar=4/3", "the archive's pixel aspect is 4/3, its source's 1"),
    "matrix flagged": (
        "-bsf:v h264_metadata=matrix_coefficients=1",
        "matrix is bt709, its source's un",
    ),
    "fields": ("-flags +ilme+ildct -x264opts tff=1", "the archive's field order is top field first"),
}


def vetted(prober: Prober, source: Path, archive: Path) -> verification.Verdict:
    """What verification says if ffmpeg has nothing to say."""
    examined = prober.examine(archive)
    facts = Facts(
        source=prober.measure(source),
        archive=examined.media,
        exit_status=0,
        stderr=(),
        frames_encoded=examined.media.shown,
        codec=examined.media.video.codec,
        keep_audio=True,
        decoded_clean=not examined.flaw,
    )
    pairs = pairs_to_compare(facts, thorough=False)
    return verify(replace(facts, pictures=prober.compare(source, archive, pairs)) if pairs else facts)


class TestSameness:
    @pytest.mark.parametrize("flaw", FLAWS)
    def test_an_archive_with_just_one_flaw(self, prober: Prober, make_clip: MakeClip, flaw: str) -> None:
        source = make_clip(WATCHED)
        words, said = FLAWS[flaw]
        words = words.format(source=source)
        inputs, words = (words, "") if words.startswith("-itsoffset") else ("", words)
        suffix = ".mkv" if "pcm" in words else ".mp4"
        verdict = vetted(prober, source, make_clip(f"-i {source} {inputs} {ENCODED} {words}", suffix))
        assert not verdict.ok
        assert said in verdict.problem

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
    @pytest.mark.parametrize("words", ["-c copy", ENCODED, f"{ENCODED} -bf 0", f"{ENCODED} -crf 50"])
    def test_an_archive_without_one(
        self, prober: Prober, make_clip: MakeClip, suffix: str, words: str
    ) -> None:
        source = make_clip(WATCHED)
        verdict = vetted(prober, source, make_clip(f"-i {source} {words}", suffix))
        assert (verdict.ok, verdict.problem) == (True, "")

    @pytest.mark.parametrize(
        "words",
        [
            f"{WATCHED} -movflags frag_keyframe+empty_moov",
            f"{WATCHED} -bf 3 -output_ts_offset 5",
            f"-itsoffset 0.7 {TONE} {MOVING} {CLEAR} -c:a aac",
            f"-itsoffset 0.7 {MOVING} {TONE} {CLEAR} -c:a aac",
            f"{MOVING} -f lavfi -i sine=r=16000:d=2 {CLEAR} -c:a aac",
            f"{MOVING} {TONE} {CLEAR} -c:a libmp3lame",
            f"{MOVING} {TONE} {CLEAR} -ar 48000 -c:a libopus",
            f"{MOVING} {TONE} -map 0 -map 1 -map 1 {CLEAR} -c:a:0 aac -c:a:1 ac3",
            f"{MOVING} {TONE} -vf \"select='not(mod(n*n,3))'\" -fps_mode vfr {CLEAR} -c:a aac",
            f"{MOVING} -vf setsar=4/3 {CLEAR}",
            f"{MOVING} -vf scale=in_range=tv:out_range=pc,format=yuvj420p {CLEAR} -pix_fmt yuvj420p",
            f"{MOVING} {CLEAR} -x264opts bframes=5:b-pyramid=normal:open-gop=1",
            f"{MOVING} -c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1",
            FLAGGED,
        ],
    )
    def test_sources_of_many_kinds(self, prober: Prober, make_clip: MakeClip, words: str) -> None:
        source = make_clip(words)
        for how in ("-c copy", f"{CLEAR} -fps_mode passthrough -enc_time_base demux -c:a copy"):
            verdict = vetted(prober, source, make_clip(f"-i {source} -map 0 {how}"))
            assert (verdict.ok, verdict.problem) == (True, "")


class TestVerification:
    @pytest.mark.parametrize(("ffmpeg", "encoder", "name"), FFMPEG_ENCODER_AND_GOOD, indirect=["ffmpeg"])
    def test_good_clips_pass(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, encoder: str, name: str
    ) -> None:
        verdict = verify(transcoded(prober, ffmpeg, clips / name, tmp_path / "out.mp4", encoder=encoder))
        assert (verdict.ok, verdict.problem) == (True, "")

    @pytest.mark.parametrize(("ffmpeg", "name", "damage"), FFMPEG_AND_DAMAGED, indirect=["ffmpeg"])
    def test_damaged_clips_are_refused(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, name: str, damage: str
    ) -> None:
        source = tmp_path / name
        source.write_bytes(DAMAGES[damage]((clips / name).read_bytes()))
        try:
            facts = transcoded(prober, ffmpeg, source, tmp_path / "out.mp4")
        except ProbeError as error:
            assert error.reason == "damaged"
            return
        verdict = verify(facts)
        assert not verdict.ok
        assert verdict.problem
        assert verdict.blames_source

    def test_avi_without_its_index_is_whole(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path
    ) -> None:
        source = tmp_path / "x.avi"
        data = (clips / "h264.avi").read_bytes()
        source.write_bytes(data[: data.rindex(b"idx1")])
        facts = transcoded(prober, ffmpeg, source, tmp_path / "out.mp4")
        assert verify(facts).ok
        assert facts.frames_encoded == 50

    @pytest.mark.parametrize("name", ["plain.ts", "reordered.ts"])
    def test_start_within_a_group_of_pictures(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, name: str
    ) -> None:
        verdict = verify(transcoded(prober, ffmpeg, headless(clips / name, tmp_path), tmp_path / "out.mp4"))
        assert (verdict.ok, verdict.problem) == (True, "")
        assert verdict.notes == (
            "12 frames before the first keyframe can't be decoded and are not in the archive",
        )

    def test_a_frame_that_ffmpeg_shows_too_early(self, prober: Prober, clips: Path, tmp_path: Path) -> None:
        if not FFMPEGS["system"]:
            pytest.skip("no ffmpeg is installed on this system")
        facts = transcoded(prober, FFMPEGS["system"], clips / "odd-ticks.avi", tmp_path / "out.mp4")
        version = subprocess.run([FFMPEGS["system"], "-version"], capture_output=True, text=True).stdout
        if not version.startswith("ffmpeg version 5."):
            pytest.skip("another ffmpeg than the one that does so")
        assert verify(facts).problem == "frame 49 is shown after 1.882 s instead of 1.920 s"

    def test_start_within_a_group_and_damaged(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path
    ) -> None:
        source = headless(clips / "plain.ts", tmp_path)
        data = bytearray(source.read_bytes())
        for position in range(len(data) * 3 // 4, len(data) * 4 // 5, 50):
            if position % 188 > 30:
                data[position] ^= 0x55
        source.write_bytes(data)
        verdict = verify(transcoded(prober, ffmpeg, source, tmp_path / "out.mp4"))
        assert not verdict.ok
        assert verdict.blames_source

    def test_second_picture_stream_is_never_dropped(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path
    ) -> None:
        verdict = verify(transcoded(prober, ffmpeg, clips / "two-pictures.mp4", tmp_path / "out.mp4"))
        assert verdict.problem == "the source has 2 video streams, the archive 1"

    def test_dropped_timecode_is_noted(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path
    ) -> None:
        verdict = verify(transcoded(prober, ffmpeg, clips / "timecode.mov", tmp_path / "out.mkv"))
        assert (verdict.ok, verdict.notes) == (True, ("not in the archive: data:unknown",))

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
    def test_q_on_stdin(self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, suffix: str) -> None:
        source, target = clips / "plain.mp4", tmp_path / f"out{suffix}"
        with open_ffmpeg(command(ffmpeg, source, target, "-re")) as process:
            time.sleep(0.8)
            output, errors = process.communicate("q", timeout=30)
        facts = facts_of(prober, source, target, process.returncode, output, errors)
        assert facts.exit_status == 0 and not facts.stderr
        verdict = verify(facts)
        assert not verdict.ok and not verdict.blames_source

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_signals(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, number: signal.Signals
    ) -> None:
        source, target = clips / "plain.mp4", tmp_path / "out.mp4"
        with open_ffmpeg(command(ffmpeg, source, target, "-nostdin", "-re")) as process:
            time.sleep(0.8)
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
        verdict = verify(facts_of(prober, source, target, process.returncode, output, errors))
        assert not verdict.ok and not verdict.blames_source

    def test_growing_source(self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path) -> None:
        data = (clips / "plain.ts").read_bytes()
        source, target = tmp_path / "x.ts", tmp_path / "out.mp4"
        with source.open("wb") as file:
            file.write(data[: len(data) // 188 * 94])
        done = subprocess.run(
            command(ffmpeg, source, target, "-nostdin"), capture_output=True, text=True, timeout=30
        )
        source.write_bytes(data)
        assert not verify(facts_of(prober, source, target, done.returncode, done.stdout, done.stderr)).ok

    @pytest.mark.parametrize("missing", [2_000, 0.5])
    @pytest.mark.parametrize(
        ("suffix", "options"),
        [
            (".mp4", ()),
            (".mp4", ("-movflags", "+faststart")),
            (".mp4", ("-movflags", "frag_keyframe+empty_moov")),
            (".mkv", ()),
            (".ts", ()),
        ],
    )
    def test_full_disk(
        self,
        prober: Prober,
        ffmpeg: str,
        clips: Path,
        tmp_path: Path,
        disk_of: Callable[[int], Path],
        suffix: str,
        options: tuple[str, ...],
        missing: float,
    ) -> None:
        source, whole = clips / "plain.mp4", tmp_path / f"out{suffix}"
        arguments = command(ffmpeg, source, whole, "-nostdin")
        subprocess.run([*arguments[:-1], *options, arguments[-1]], capture_output=True, check=True)
        size = whole.stat().st_size
        room = int(size * missing if missing < 1 else size - missing) // 4096 * 4096
        target = disk_of(room) / whole.name
        arguments = command(ffmpeg, source, target, "-nostdin")
        done = subprocess.run(
            [*arguments[:-1], *options, arguments[-1]], capture_output=True, text=True, timeout=30
        )
        verdict = verify(facts_of(prober, source, target, done.returncode, done.stdout, done.stderr))
        assert not verdict.ok and not verdict.blames_source

    @pytest.mark.skipif(not programs.is_here("strace"), reason=programs.why_not("strace"))
    @pytest.mark.parametrize(
        ("options", "first"),
        [((), 1), (("-cluster_time_limit", "200", "-flush_packets", "1"), 3)],
        ids=["the only write", "third write"],
    )
    def test_write_error(
        self, prober: Prober, ffmpeg: str, clips: Path, tmp_path: Path, options: tuple[str, ...], first: int
    ) -> None:
        source, target = clips / "plain.mp4", tmp_path / "out.mkv"
        target.touch()  # strace resolves no path that doesn't exist yet
        inject = f"inject=write:error=EIO:when={first}+"
        arguments = command(ffmpeg, source, target, "-nostdin")
        strace = ("strace", "-f", "-o", "/dev/null", "-P", str(target), "-e", inject)
        done = subprocess.run(
            [*strace, *arguments[:-1], *options, arguments[-1]],
            capture_output=True,
            text=True,
            timeout=60,
        )
        verdict = verify(facts_of(prober, source, target, done.returncode, done.stdout, done.stderr))
        assert not verdict.ok and not verdict.blames_source


def open_ffmpeg(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


Start = Callable[..., "subprocess.Popen[str]"]
Sweep = Callable[[Callable[[], object], Callable[[], object]], int]

NOBODY = 65534


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def make_older(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


class TestKernel:
    def test_a_rename_never_replaces(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        one.write_text("1")
        two.symlink_to("nowhere")
        with pytest.raises(FileExistsError) as caught:
            kernel.rename_noreplace(one, two)
        assert (caught.value.filename, caught.value.filename2) == (str(one), str(two))
        two.unlink()
        folder = os.open(tmp_path, os.O_RDONLY)
        kernel.rename_noreplace("one", "two", source_dir_fd=folder, target_dir_fd=folder)
        os.close(folder)
        assert two.read_text() == "1"
        with pytest.raises(FileNotFoundError):
            kernel.rename_noreplace(one, two)

    def test_across_filesystems_a_rename_says_so(self, tmp_path: Path, other_disk: Path) -> None:
        (tmp_path / "x").touch()
        with pytest.raises(OSError) as caught:
            kernel.rename_noreplace(tmp_path / "x", other_disk / "x")
        assert caught.value.errno == errno.EXDEV

    def test_a_child_dies_with_its_parent(self, start_python: Start) -> None:
        code = (
            "import subprocess, time; from camarchiver import kernel\n"
            "child = subprocess.Popen(['sleep', '60'], stdout=-3, preexec_fn=kernel.die_with_parent)\n"
            "print(child.pid, flush=True); time.sleep(60)"
        )
        parent = start_python(code)
        child = int(line(parent))
        os.kill(child, 0)
        parent.kill()
        parent.wait()
        for _ in range(200):
            if not _alive(child):
                return
            time.sleep(0.01)
        pytest.fail("the child outlived its parent")

    def test_priority_falls_and_is_inherited(self, start_python: Start) -> None:
        programs.needs("ionice")
        code = (
            "import os, subprocess, sys; from camarchiver import kernel\n"
            "kernel.lower_priority(15); kernel.lower_priority(3)\n"
            "print(os.getpriority(os.PRIO_PROCESS, 0), flush=True); subprocess.run(sys.argv[1:])"
        )
        process = start_python(code, "ionice")
        assert line(process) == "15"
        assert line(process).startswith("idle")

    def test_an_open_writer_is_seen(self, tmp_path: Path, start_python: Start) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes(b"x" * 4096)
        assert kernel.being_written(path) is False
        writer = start_python("import sys; f = open(sys.argv[1], 'ab'); print(1, flush=True); input()", path)
        line(writer)
        assert kernel.being_written(path) is True
        writer.communicate("\n")
        assert kernel.being_written(path) is False

    def test_a_writable_mapping_is_a_writer(self, tmp_path: Path) -> None:
        path = tmp_path / "x.mp4"
        path.write_bytes(b"x" * 4096)
        with path.open("r+b") as file:
            mapping = mmap.mmap(file.fileno(), 0)
        assert kernel.being_written(path) is True
        mapping.close()
        assert kernel.being_written(path) is False

    def test_what_is_no_file_is_unknown_and_never_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo.mp4")
        (tmp_path / "folder.mp4").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "link.mp4").symlink_to("file")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s"))
            for name in ("fifo.mp4", "folder.mp4", "link.mp4", "s", "missing"):
                assert kernel.being_written(tmp_path / name) is None, name

    def test_another_owners_file_is_unknown(self, start_python: Start) -> None:
        if os.getuid():
            pytest.skip("only root may become somebody else")
        code = (
            "import os, pathlib; from camarchiver import kernel\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "print(kernel.being_written(pathlib.Path('/etc/passwd')), flush=True)"
        )
        assert line(start_python(code)) == "None"

    def test_a_network_mounts_refusal_means_nothing(self, tmp_path: Path, mocker: MockerFixture) -> None:
        path = tmp_path / "x.mp4"
        path.touch()
        mocker.patch.object(kernel, "_NFS", _type_of(path))
        with path.open("ab"):
            assert kernel.being_written(path) is None
        assert kernel.being_written(path) is False

    def test_a_writer_that_comes_at_that_moment_kills_nobody(
        self, tmp_path: Path, start_python: Start
    ) -> None:
        path = tmp_path / "x.mp4"
        path.touch()
        code = "import sys\nprint(1, flush=True)\nwhile True:\n    open(sys.argv[1], 'ab').close()"
        line(start_python(code, path))
        looker = start_python(
            "import sys, pathlib; from camarchiver import kernel\n"
            "seen = {kernel.being_written(pathlib.Path(sys.argv[1])) for _ in range(20000)}\n"
            "print(sorted(map(str, seen)), flush=True)",
            path,
        )
        assert line(looker) == "['False', 'True']"


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _type_of(path: Path) -> int:
    return int(subprocess.check_output(["stat", "-f", "-c", "%t", str(path)]), 16)


class TestWake:
    def test_it_ends_a_wait_from_another_thread_and_never_blocks_who_rings(self) -> None:
        wake = Wake()
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        assert poller.poll(0) == []
        threading.Timer(0.1, wake.ring).start()
        assert poller.poll(20_000)
        for _ in range(100_000):
            wake.ring()
        wake.clear()
        assert poller.poll(0) == []
        wake.close()

    def test_a_signal_rings(self, start_python: Callable[..., subprocess.Popen[str]]) -> None:
        code = (
            "import select\nfrom camarchiver.stop import Wake, on_signals\n"
            "with on_signals() as stop:\n"
            "    wake = Wake()\n"
            "    with wake.by_signals():\n"
            "        print('ready', flush=True)\n"
            "        poller = select.poll()\n"
            "        poller.register(wake, select.POLLIN)\n"
            "        print(len(poller.poll(60_000)), stop.signal)\n"
        )
        process = start_python(code)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == f"1 {signal.SIGTERM.value}\n"


class TestService:
    """systemd's side of the socket, played by the test."""

    @pytest.fixture(params=["path", "abstract"])
    def told(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
        name = str(tmp_path / "notify") if request.param == "path" else f"@camarchiver-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
            listener.settimeout(10)
            yield name, listener

    def test_the_manager_hears_every_stage_of_a_run(self, told: tuple[str, socket.socket]) -> None:
        name, listener = told
        speaker = service.Service({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"})
        speaker.ready("watching 3 folders")
        assert listener.recv(1000) == b"READY=1\nSTATUS=watching 3 folders"
        speaker.status("two\nlines and a name that is not UTF-8: " + os.fsdecode(b"\xff.mp4"))
        assert listener.recv(1000) == rb"STATUS=two lines and a name that is not UTF-8: \udcff.mp4"
        speaker.beat()
        speaker.beat()
        assert listener.recv(1000) == b"WATCHDOG=1"
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        speaker.reloading()
        first, second = listener.recv(1000).decode().split("\n")
        assert first == "RELOADING=1"
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= after
        speaker.stopping("waits for 2 clips")
        assert listener.recv(1000) == b"STOPPING=1\nSTATUS=waits for 2 clips"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1000)

    def test_beats_go_on_after_each_interval(self, told: tuple[str, socket.socket]) -> None:
        name, listener = told
        speaker = service.Service({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"})
        for _ in range(3):
            speaker.beat()
            assert listener.recv(1000) == b"WATCHDOG=1"
            time.sleep(0.1)

    @pytest.mark.edge
    def test_a_manager_that_is_gone_is_told_of_once_and_stops_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        speaker = service.Service({"NOTIFY_SOCKET": str(tmp_path / "gone")})
        speaker.ready()
        speaker.status("on we go")
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_systemds_variables_count_only_where_there_is_no_terminal(self) -> None:
        code = "from camarchiver import service; print(service.is_managed())"
        environment = {**os.environ, "INVOCATION_ID": "0123456789abcdef"}
        command = [sys.executable, "-c", code]
        told = subprocess.run(command, env=environment, start_new_session=True, capture_output=True)
        assert told.stdout == b"True\n"
        child, terminal = pty.fork()
        if child == 0:
            os.execve(sys.executable, command, environment)
        try:
            assert os.read(terminal, 100).strip() == b"False"
        finally:
            os.waitpid(child, 0)
            os.close(terminal)


def samples(file: Path) -> dict[str, float]:
    """A textfile as Prometheus's own parser reads it."""
    found = {}
    for family in text_string_to_metric_families(file.read_text(encoding="utf-8")):
        assert family.documentation
        for sample in family.samples:
            labels = " ".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name} {labels}"] = sample.value
    return found


class TestMetrics:
    """The file for node_exporter's textfile collector."""

    OWN = figures.labels(command="archive")

    def test_the_manual_names_every_number_and_no_other(self) -> None:
        text = Path(__file__).parents[1].joinpath("docs", "monitoring.md").read_text(encoding="utf-8")
        assert set(re.findall(r"camarchiver_[a-z_]+", text)) == set(figures.HELP)

    def test_runs_add_up_and_nothing_else_lies_about(self, tmp_path: Path) -> None:
        file = tmp_path / "camarchiver.prom"
        odd = figures.labels(camera='a "b"\\\n' + os.fsdecode(b"\xff"))
        for _ in range(2):
            textfile = Textfile(file)
            for count in (1, 3):  # counted from the start of this process
                assert textfile.write((self.OWN, (Figure("camarchiver_clips_total", count, odd),)))
        (key,) = samples(file)
        assert key.startswith('camarchiver_clips_total camera=a "b"')
        assert samples(file)[key] == 6
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == [file.name]
        assert not list(tmp_path.glob(".*.prom"))

    def test_commands_that_write_at_once_lose_nothing(
        self, tmp_path: Path, start_python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        file = tmp_path / "camarchiver.prom"
        code = (
            "import sys\nfrom pathlib import Path\nfrom camarchiver import figures\n"
            "from camarchiver.metrics import Textfile\n"
            "group = figures.labels(command=sys.argv[2]), (figures.Figure('camarchiver_runs_total', 1),)\n"
            "for _ in range(20):\n"
            "    assert Textfile(Path(sys.argv[1])).write(group)"
        )
        for process in [start_python(code, file, name) for name in ("archive", "cleanup", "watch")]:
            assert process.wait(60) == 0
        assert set(samples(file).values()) == {20.0}
        assert len(samples(file)) == 3

    @pytest.mark.edge
    @pytest.mark.parametrize(
        "text", ["", "\0" * 100, "camarchiver_runs_total{comm", "# HELP camarchiver_x\n\x01"]
    )
    def test_a_torn_file_is_begun_anew(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "camarchiver.prom"
        file.write_text(text)
        assert Textfile(file).write((self.OWN, (Figure("camarchiver_runs_total", 1),)))
        assert list(samples(file).values()) == [1.0]

    @pytest.mark.edge
    def test_what_can_not_be_written_is_a_warning_and_no_failure(
        self, tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        figure = (self.OWN, (Figure("camarchiver_runs_total", 1),))
        foreign, kept = tmp_path / "node.prom", "node_time_seconds 1\n"
        foreign.write_text(kept)
        assert not Textfile(foreign).write(figure)
        assert foreign.read_text() == kept
        assert not Textfile(tmp_path / "none" / "a.prom").write(figure)
        assert not (tmp_path / "none").exists()
        whole = small_disk / "a.prom"
        assert Textfile(whole).write(figure)
        before = whole.read_bytes()
        _fill(small_disk / "filler")
        many = tuple(Figure("camarchiver_holds", 1, figures.labels(camera=f"c{n}")) for n in range(2000))
        assert not Textfile(whole).write((self.OWN, many))
        assert whole.read_bytes() == before
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3


class TestVitals:
    """How the trees are."""

    def test_growth_counts_the_last_two_weeks_of_the_source_alone(self, tmp_path: Path) -> None:
        source = tmp_path / "camera"
        trees = Trees(source, source / "archived", source / ".deleted")
        now = datetime(2026, 3, 20, 12, tzinfo=UTC)
        for relative, days in (
            ("2026/03/19/REO_a_20260319120000.mp4", 1),
            ("flat/REO_a_20260318120000.mp4", 2),
            ("2026/01/01/REO_a_20260101120000.mp4", 1),
            ("flat/REO_a_20260101120000.mp4", 78),
            ("archived/2026/03/19/REO_a_20260319120000.mp4", 1),
            (".deleted/input/2026/03/19/REO_a_20260319120000.mp4", 1),
            ("2026/03/19/.REO_a_20260319120000.mp4.aB3xYz", 1),
            ("2026/03/19/REO_a_20260319120000.txt", 1),
        ):
            path = source / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 700)
            made = now.timestamp() - days * 86_400
            os.utime(path, (made, made))
        assert vitals.daily_bytes(trees, now) == 100.0
        found = vitals.look(trees, now, daily_bytes=100.0)
        assert [room.tree for room in found.rooms] == ["source", "archive", "trash"]
        assert (found.failures, found.holds) == (0, 0)

    def test_a_tree_that_is_not_there_is_measured_above(self, tmp_path: Path) -> None:
        (room,) = vitals.rooms(("archive", tmp_path / "not" / "yet"))
        assert room.size == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


class TestPulse:
    def test_a_beat_that_fails_or_hangs_ends_nothing(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(pulse, "SECONDS", 0.05)
        beats = 0
        hang = threading.Event()

        def act() -> None:
            nonlocal beats
            beats += 1
            if beats == 1:
                raise ValueError("once")
            if beats == 3:
                hang.wait(60)

        began = time.monotonic()
        with pulse.every_minute(act):
            wait_until(lambda: beats == 3, "the third beat")
        assert time.monotonic() - began < 30
        hang.set()
        assert [record.levelname for record in caplog.records] == ["ERROR"]


class TestNotices:
    """Commands and servers that behave, and others."""

    @staticmethod
    def command(folder: Path, body: str) -> tuple[str, ...]:
        path = folder / "tell"
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
        return (os.fspath(path), "one argument; with $HOME")

    def test_the_command_gets_arguments_and_report(self, tmp_path: Path) -> None:
        command = self.command(tmp_path, f'printf %s "$1" > {tmp_path}/words; cat > {tmp_path}/report')
        assert notices.notify(command, ('{"a": ', "1}"))
        assert (tmp_path / "words").read_text() == "one argument; with $HOME"
        assert json.loads((tmp_path / "report").read_text()) == {"a": 1}

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ("echo no mail today >&2; exit 4", "exit 4: no mail today"),
            ("sleep 300 & sleep 300", "longer than 1 s"),
            ("kill -9 $$", "exit -9"),
        ],
    )
    def test_a_command_that_fails_or_hangs_is_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str, said: str
    ) -> None:
        big = ("x" * 100_000 for _ in range(10))  # more than any pipe holds
        began = time.monotonic()
        assert not notices.notify(self.command(tmp_path, body), big, seconds=1.0)
        assert time.monotonic() - began < 30
        assert said in caplog.text

    def test_a_command_that_is_not_there_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        assert not notices.notify(("/no/such/command",), ("{}",))
        assert "/no/such/command can't be started" in caplog.text

    def test_start_success_and_failure_come_in_order(self, web: Web) -> None:
        pinger = Pinger(f"{web.url}/secret/")
        pinger.send("start", wait=False)
        pinger.send("success", "all is well")
        pinger.send("failure", "exit code 3")
        assert web.heard == [
            ("/secret/start", ""),
            ("/secret", "all is well"),
            ("/secret/fail", "exit code 3"),
        ]

    @pytest.mark.edge
    def test_a_server_that_stumbles_is_asked_again(self, web: Web) -> None:
        web.answers = [503, 200]
        Pinger(web.url).send("success")
        assert len(web.heard) == 2

    @pytest.mark.edge
    @pytest.mark.parametrize("how", ["silent", "trickles", "down", "refuses"])
    def test_no_server_delays_or_fails_the_run(
        self, web: Web, caplog: pytest.LogCaptureFixture, how: str
    ) -> None:
        web.how = how
        url = f"{web.url}/secret"
        if how == "down":
            web.close()
        web.answers = [404] * 3 if how == "refuses" else []
        began = time.monotonic()
        pinger = Pinger(url, seconds=1.2)
        pinger.send("start", wait=False)
        assert time.monotonic() - began < 1
        pinger.send("success")
        assert time.monotonic() - began < 20
        assert caplog.records
        assert "secret" not in caplog.text


UNITS = Path(__file__).resolve().parents[1] / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))


@pytest.fixture(scope="session")
def runnable_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the units whose programs are those of this checkout."""
    programs.needs("systemd-analyze")
    folder = tmp_path_factory.mktemp("units")
    for path in UNITS.glob("*"):
        if path.suffix in (".service", ".timer"):
            text = path.read_text().replace("/etc/camarchiver/on-failure", str(UNITS / "on-failure"))
            own = str(Path(sys.executable).with_name("camarchiver"))
            (folder / path.name).write_text(text.replace("/opt/camarchiver/bin/camarchiver", own))
    return folder


class TestUnits:
    """The files of systemd/, judged by systemd's own tools."""

    @pytest.mark.parametrize("name", [*SERVICES, *TIMERS])
    def test_systemd_has_not_a_word_to_say(self, runnable_units: Path, name: str) -> None:
        # A key that systemd doesn't know only makes it say so: the exit code is 0.
        command = ["systemd-analyze", "verify", "--man=no", f"./{name}"]
        told = subprocess.run(command, cwd=runnable_units, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")

    @pytest.mark.parametrize("name", SERVICES)
    def test_exposure_is_at_most_2_5(self, runnable_units: Path, name: str) -> None:
        command = [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--threshold=25",
            "--no-pager",
            f"./{name}",
        ]
        told = subprocess.run(command, cwd=runnable_units, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stdout[-300:] + told.stderr

    def test_hardening_is_the_same_in_every_service(self) -> None:
        block = [
            (UNITS / name).read_text().partition("# What it may do, and nothing else.\n")[2]
            for name in SERVICES
        ]
        common = {text.partition("SystemCallErrorNumber=EPERM\n")[0] for text in block}
        assert len(common) == 1 and common != {""}

    def test_only_the_recorder_and_the_hook_reach_the_network(self) -> None:
        reach = [name for name in SERVICES if "PrivateNetwork=yes" not in (UNITS / name).read_text()]
        assert reach == ["camarchiver-failed@.service", "camarchiver-record@.service"]

    def test_failures_of_every_service_call_the_hook(self) -> None:
        for name in set(SERVICES) - {"camarchiver-failed@.service"}:
            assert "\nOnFailure=camarchiver-failed@%n.service\n" in (UNITS / name).read_text(), name

    def test_every_timer_catches_up_and_wakes_its_service(self) -> None:
        for name in TIMERS:
            text = (UNITS / name).read_text()
            assert "\nPersistent=yes\n" in text and "\nRandomizedDelaySec=" in text
            assert (UNITS / name).with_suffix(".service").exists()

    def test_the_hook_names_the_unit_as_a_critical_message(self) -> None:
        said = subprocess.run(
            [UNITS / "on-failure", "camarchiver-archive.service"], capture_output=True, text=True
        )
        assert (said.returncode, said.stderr) == (0, "")
        assert said.stdout.startswith("<2>camarchiver-archive.service failed; ")


def bad(findings: Iterable[Finding]) -> dict[str, str]:
    """What is wrong, by area, with its remedy; every trouble has one."""
    wrong = [each for each in findings if each.verdict is Verdict.BAD]
    assert all(each.remedy for each in wrong)
    return {each.area: f"{each.message} -> {each.remedy}" for each in wrong}


def notes(findings: Iterable[Finding]) -> str:
    """What is worth a remark, in one text."""
    return "\n".join(each.message for each in findings if each.verdict is Verdict.NOTE)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_nobody(code: str, *words: object) -> str:
    """What Python code prints that imports the examinations and runs without any right."""
    if os.geteuid():
        pytest.skip("needs root to become another user")
    head = (
        # An interpreter in root's home can import nothing more once it is somebody else's.
        "import encodings.latin_1, os, random, sys, tempfile\n"
        "from pathlib import Path\nfrom camarchiver.model import Trees\n"
        "from camarchiver import cameras, examine_machine, examine_software, examine_storage\n"
        "place = Path(sys.argv[1])\ntrees = Trees(place, place / 'archived', place / '.deleted')\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    )
    tail = "\nfor each in found:\n    print(each.area, each.verdict, each.message, '->', each.remedy)"
    command = [sys.executable, "-c", head + code + tail, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestDoctor:
    """Each finding that is bad is made bad for real."""

    @staticmethod
    def trees_in(folder: Path) -> Trees:
        (folder / "camera").mkdir(exist_ok=True)
        return Trees(folder / "camera", folder / "camera/archived", folder / "camera/.deleted")

    # --- software ----------------------------------------------------------------------------------

    def test_what_is_installed_is_sound(self) -> None:
        (found,) = examine_software.packages(("record",))
        assert found.verdict is Verdict.OK
        assert "imageio-ffmpeg" in found.message
        assert [each.verdict for each in examine_software.python()] == [Verdict.OK]

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("files", "said", "remedy"),
        [
            ({"av-1.0.dist-info/METADATA": "Name: av\nVersion: 1.0\n"}, "av 1.0 is not", "pip install 'av"),
            (
                {
                    "camarchiver-9.dist-info/METADATA": "Name: camarchiver\nVersion: 9\n"
                    "Provides-Extra: record\nRequires-Dist: no-such-package>=2\n"
                    "Requires-Dist: no-such-other; extra == 'record'\n"
                },
                "no-such-package is not installed",
                "pip install 'no-such-package>=2'",
            ),
            (
                {"av.py": "raise ImportError('libc is too old')"},
                "av can't be started: ImportError: libc",
                "fits",
            ),
            ({"av.py": "import os; os.abort()"}, "av can't be started: signal 6", "fits this machine"),
        ],
    )
    def test_packages(self, tmp_path: Path, files: dict[str, str], said: str, remedy: str) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        code = (
            "import sys\nfrom camarchiver.examine_software import packages\n"
            "for each in packages(sys.argv[1:]):\n    print(each.verdict, each.message, each.remedy)"
        )
        command = [sys.executable, "-c", code]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        (line,) = (each for each in done.stdout.splitlines() if each.startswith("bad"))
        assert said in line
        assert remedy in line
        if "no-such" in said:
            (note,) = (each for each in done.stdout.splitlines() if each.startswith("note"))
            assert note.startswith("note no-such-other is not installed; record needs it ")
            assert note.endswith(f" {sys.executable} -m pip install no-such-other")

    def test_no_ffmpeg_in_path_is_no_trouble(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        found = list(examine_software.binaries(None))
        assert bad(found) == {}
        assert "no ffmpeg in PATH" in notes(found)
        assert any("(embedded)" in each.message for each in found)

    @pytest.mark.edge
    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (
                "#!/bin/sh\necho 'error while loading shared libraries: libx264.so' >&2\nexit 127",
                "libx264.so",
            ),
            ("#!/bin/sh\necho hello", "does not tell its version"),
            ("#!/no/such/interpreter", "No such file"),
            ("\x7fELF nonsense", "Exec format error"),
        ],
    )
    def test_a_broken_ffmpeg(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
    ) -> None:
        (tmp_path / "ffmpeg").write_text(body)
        (tmp_path / "ffmpeg").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        assert said in bad(examine_software.binaries(None))["ffmpeg"]
        assert said in bad(examine_software.binaries(tmp_path / "ffmpeg"))["ffmpeg"]
        found = examine_software.encoders(tmp_path / "ffmpeg", Settings(), None, "auto", "auto")
        assert "no ffmpeg that runs here" in bad(found)["encoder"]

    # --- GPUs --------------------------------------------------------------------------------------

    @pytest.fixture
    def node(self, public_folder: Path) -> Path:
        """A character device that stands for a render node."""
        path = public_folder / "renderD128"
        try:
            os.mknod(path, stat.S_IFCHR | 0o660, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("nobody may make devices here")
        return path

    def test_a_stand_in_gpu_is_used(
        self, softqsv: Path, node: Path, monkeypatch: pytest.MonkeyPatch, embedded: Ffmpeg
    ) -> None:
        monkeypatch.setenv("SOFTQSV_NODE", str(node))
        assert bad(examine_machine.render_nodes(node)) == {}
        found = list(examine_software.encoders(embedded.path, Settings(), node, "auto", "auto"))
        assert bad(found) == {}
        assert re.search(rf"archive uses \w+_qsv on {node}", found[-1].message)
        (works, *_) = (each for each in found if "_qsv" in each.message and "works (gpu" in each.message)
        assert works.seconds is not None

    @pytest.mark.edge
    def test_a_gpu_without_its_driver(
        self, softqsv: Path, node: Path, monkeypatch: pytest.MonkeyPatch, embedded: Ffmpeg
    ) -> None:
        monkeypatch.setenv("SOFTQSV_NODE", str(node))
        monkeypatch.setenv("SOFTQSV_VA_INIT", "-1")
        found = list(examine_software.encoders(embedded.path, Settings(), node, "auto", "h264"))
        assert "there is a GPU, and it can't be used" in bad(found)["encoder"]
        assert "archive uses libx264" in found[-1].message
        named = examine_software.encoders(embedded.path, Settings(), node, Backend.QSV, "h264")
        assert "h264_qsv can't be used" in bad(named)["encoder"]

    @pytest.mark.edge
    def test_a_forbidden_render_node(self, node: Path) -> None:
        said = as_nobody("found = [*examine_machine.render_nodes(place)]", node)
        group = grp.getgrgid(0).gr_name
        assert said.startswith(
            f"render node bad no permission for {node} ({node}, driver unknown, group {group})"
        )
        assert f"-> usermod -aG {group} nobody, then log in anew" in said

    @pytest.mark.edge
    def test_a_render_node_that_is_gone_or_dead(self, tmp_path: Path, public_folder: Path) -> None:
        assert "is not there" in bad(examine_machine.render_nodes(tmp_path / "renderD128"))["render node"]
        dead = public_folder / "renderD129"
        try:
            os.mknod(dead, stat.S_IFCHR | 0o666, os.makedev(226, 255))
        except PermissionError:
            pytest.skip("nobody may make devices here")
        assert "can't be opened" in bad(examine_machine.render_nodes(dead))["render node"]

    @pytest.mark.skipif(Path("/dev/dri").exists(), reason="this machine has a GPU")
    def test_a_machine_without_gpu(self, embedded: Ffmpeg) -> None:
        found = [
            *examine_machine.render_nodes(None),
            *examine_software.encoders(embedded.path, Settings(), None, "auto", "h264"),
        ]
        assert bad(found) == {}
        assert "there is no GPU here" in notes(found)
        assert "qsv: no render node" in notes(found)
        assert "archive uses libx264" in found[-1].message

    # --- trees -------------------------------------------------------------------------------------

    def test_sound_trees_and_nothing_left_in_them(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        found = [*examine_storage.roots(trees), *examine_storage.journal(trees)]
        assert bad(found) == {}
        assert "rename without replacing" in found[0].message
        assert list(trees.source.iterdir()) == []
        left, other = (trees.source / f"{examine_storage.PREFIX}{name}" for name in ("left", "other"))
        for folder in (left, other):
            folder.mkdir()
            (folder / "file").touch()
        make_older(left, 4000)
        assert bad(examine_storage.roots(trees)) == {}
        assert list(trees.source.iterdir()) == [other], "a killed examination's goes, a running one's stays"

    @pytest.mark.edge
    def test_trees_that_are_not_there_or_not_meant(self, tmp_path: Path) -> None:
        gone = Trees(tmp_path / "none", tmp_path / "none/archived", tmp_path / "none/.deleted")
        assert "does not exist" in bad(examine_storage.roots(gone))["trees"]
        inside = Trees(tmp_path, tmp_path.parent, tmp_path / ".deleted")
        assert "lies inside its archive" in bad(examine_storage.roots(inside))["trees"]

    @pytest.mark.edge
    def test_roots_that_can_not_be_written(self, public_folder: Path, read_only: Path) -> None:
        said = as_nobody("found = examine_storage.roots(trees)", public_folder)
        assert "source bad" in said
        assert f"this user can't write there: Permission denied -> chown or chmod {public_folder}" in said
        found = bad(examine_storage.root_of("archive", read_only))
        assert "it is mounted read-only -> mount -o remount,rw" in found["archive"]

    @pytest.mark.edge
    def test_a_full_disk(self, small_disk: Path) -> None:
        assert bad(examine_storage.root_of("archive", small_disk)) == {}
        _fill(small_disk / "filler")
        assert "archive" in bad(examine_storage.root_of("archive", small_disk))
        assert not list(small_disk.glob(".camarchiver*"))

    @pytest.mark.edge
    def test_a_filesystem_without_links(self, tmp_path: Path) -> None:
        image, place = tmp_path / "image", tmp_path / "fat"
        image.write_bytes(b"\0" * (4 << 20))
        programs.needs("mkfs.vfat")
        make = programs.path_of("mkfs.vfat")
        if subprocess.run([str(make), image], capture_output=True).returncode:
            pytest.skip("no FAT can be made here")
        for _ in mounted(place, "-o", "loop", str(image)):
            (found,) = examine_storage.root_of("archive", place)
        assert found.verdict is Verdict.OK
        assert found.message.endswith("without O_TMPFILE, link")
        assert "vfat" in found.message

    def test_the_wrong_volume(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        assert "no markers yet" in notes(examine_storage.roots(trees))
        volume.mark(trees)
        assert bad(examine_storage.roots(trees)) == {}
        (trees.state / volume.MARKER).unlink()
        assert "has no volume marker (is its disk mounted?)" in bad(examine_storage.roots(trees))["volume"]
        assert "accept-volume" in bad(examine_storage.roots(trees))["volume"]

    # --- state -------------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_a_journal_that_can_not_be_read(self, public_folder: Path) -> None:
        trees = self.trees_in(public_folder)
        day = trees.state / "journal/2026/03/01.jsonl"
        day.parent.mkdir(parents=True)
        day.write_text("{}\n")
        day.chmod(0o600)
        place = trees.source
        code = "found = examine_storage.journal(trees)"
        assert "can't be read and written by this user -> chown -R" in as_nobody(code, place)
        trees.state.chmod(0o777)
        said = as_nobody(code, place)
        assert "journal bad 3 file(s) of the journal can't be read and written" in said
        assert bad(examine_storage.journal(trees)) == {}

    @pytest.mark.edge
    def test_a_journal_that_is_torn(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        day = trees.state / "journal/2026/03/01.jsonl"
        day.parent.mkdir(parents=True)
        day.write_text('{"event": "arch')
        assert "a crash tore one" in notes(examine_storage.journal(trees))
        day.write_bytes(b"\0\n" * 3)
        assert f"3 line(s) of {day} can't be read" in bad(examine_storage.journal(trees))["journal"]

    @pytest.mark.edge
    def test_state_that_can_not_be_understood(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        (trees.state / "journal").mkdir(parents=True)
        for name in ("holds.json", "holds.json.bak"):
            (trees.state / name).write_text("{")
        assert "nobody knows what is held -> " in bad(examine_storage.journal(trees))["state"]

    # --- machine -----------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_too_few_watches(self, tmp_path: Path) -> None:
        for number in range(5):
            (tmp_path / f"{number}").mkdir()
        trees = self.trees_in(tmp_path)
        assert examine_storage.count_folders(Trees(tmp_path, trees.archive, trees.trash)) == 7
        code = (
            "from camarchiver.examine_machine import inotify\n"
            "for each in inotify(6):\n    print(each.verdict, each.message, each.remedy)"
        )
        lowered = 'echo 6 > /proc/sys/user/max_inotify_watches && exec "$0" -c "$1"'
        command = ["unshare", "-Ur", "sh", "-c", lowered, sys.executable, code]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"no limit can be lowered here: {done.stderr[-200:]}")
        assert "bad user.max_inotify_watches is 6, 6 folders are to be watched" in done.stdout
        assert "sysctl -w user.max_inotify_watches=524288" in done.stdout
        assert bad(examine_machine.inotify(6)) == {}

    @pytest.mark.edge
    def test_a_clock_that_is_behind_its_own_records(self, tmp_path: Path) -> None:
        trees = self.trees_in(tmp_path)
        assert bad(examine_machine.clocks("UTC", trees)) == {}
        ended = datetime(2124, 5, 1, 1, tzinfo=UTC)
        runs.write(
            trees.state,
            Report("archive", "21240501T000000-abcdef", datetime(2124, 5, 1, tzinfo=UTC), ended),
            "host",
        )
        said = bad(examine_machine.clocks("UTC", trees))["clock"]
        assert "but the last run here ended 2124-05-01 01:00:00+0000 -> set the clock" in said

    @pytest.mark.edge
    def test_a_time_zone_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "Mars/Olympus" in bad(examine_machine.clocks("Mars/Olympus", None))["clock"]
        code = (
            "from camarchiver.examine_machine import clocks\n"
            "for each in clocks('', None):\n    print(each.verdict, each.message)"
        )
        environment = {**os.environ, "TZ": "Mars/Olympus"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.startswith("bad this machine's time zone can't be told (TZ is 'Mars/Olympus')")

    # --- recorder ----------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_a_camera_that_does_not_answer(self) -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
            source = f"rtsp://user:secret@127.0.0.1:{port}/cam"
            said = bad(examine_machine.camera(source))["camera"]
            assert f"127.0.0.1 does not answer on port {port}: Connection refused" in said
            server.listen()
            (found,) = examine_machine.camera(source)
        assert found.message == f"127.0.0.1 answers on port {port}"
        assert "secret" not in said
        assert "no address" in bad(examine_machine.camera("rtsp://[::1/x"))["camera"]
        assert "names no host" in bad(examine_machine.camera("rtsp:///x"))["camera"]
        assert "/no/clip is not a file" in bad(examine_machine.camera("file:/no/clip"))["camera"]

    @pytest.mark.edge
    def test_credentials_that_are_none(self, public_folder: Path) -> None:
        path = public_folder / "secret"
        assert "No such file" in bad(examine_machine.credentials(path))["camera"]
        path.write_text("user:password")
        path.chmod(0o600)
        assert "Permission denied" in as_nobody("found = examine_machine.credentials(place)", path)
        assert notes(examine_machine.credentials(path)) == ""
        path.chmod(0o644)
        assert "may be read by others" in notes(examine_machine.credentials(path))
        path.write_text("password")
        assert "does not hold USER:PASSWORD" in bad(examine_machine.credentials(path))["camera"]

    @pytest.mark.edge
    def test_channels_that_can_not_be_used(self, public_folder: Path) -> None:
        file, gone = public_folder / "a.prom", public_folder / "none/a.prom"
        assert bad(examine_machine.channels((file,), (("sh", "-c", "true"),))) == {}
        found = bad(examine_machine.channels((gone,), (("no-such-program",),)))
        assert f"there is no folder {gone.parent}" in found["metrics"]
        assert "no-such-program is no program that can be started" in found["notify"]
        said = as_nobody("found = examine_machine.channels((place / 'a.prom',), ())", public_folder)
        assert f"metrics bad this user can't write to {public_folder}" in said

    @pytest.mark.edge
    def test_devices_that_are_no_cameras(self) -> None:
        assert "/dev/video99 is not there" in bad(examine_machine.camera("/dev/video99"))["camera"]
        assert "/dev/null is no camera" in bad(examine_machine.camera("v4l2:/dev/null"))["camera"]
        closed = next((each for each in Path("/dev").iterdir() if _is_closed_device(each)), None)
        if closed is not None:
            said = as_nobody(f"found = examine_machine.camera('v4l2:{closed}')", closed)
            assert f"camera bad {closed}: no permission to read it -> usermod -aG" in said

    @pytest.mark.edge
    def test_a_recorders_folders(self, public_folder: Path, small_disk: Path) -> None:
        spool, outbox = public_folder / "temp_clips", public_folder / "recorded_clips"
        left = spool / "yard/motion_20260301_081500.mp4"
        left.parent.mkdir(parents=True)
        left.touch()
        make_older(left, 90_000)
        found = list(examine_storage.recorder(spool, outbox))
        assert bad(found) == {}
        assert f"1 clip(s) were left unfinished, the oldest {left}" in notes(found)
        assert "another filesystem than the spool" in notes(examine_storage.recorder(spool, small_disk))
        code = "found = examine_storage.recorder(place, Path(sys.argv[2]))"
        said = as_nobody(code, spool, outbox)
        assert "spool bad" in said and "outbox bad" in said


def _is_closed_device(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and not status.st_mode & 0o006 and status.st_gid != 65534


class TestLogs:
    """The log file's lines."""

    @staticmethod
    def lines(file: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]

    def test_json_has_run_and_clip_on_every_line(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        log = logging.getLogger("camarchiver.archiver")
        with logs.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"):
            log.info("begins")
            with logs.about("2026/03/01/a.mp4"):
                log.warning("%s: failed", "a.mp4")
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(log.info, "another clip's thread").result()
            log.info("ends")
        first, second, third, fourth = self.lines(file)
        assert [line["clip"] for line in (first, second, third, fourth)] == [
            None,
            "2026/03/01/a.mp4",
            None,
            None,
        ]
        assert {line["run"] for line in (first, second, third, fourth)} == {"r1"}
        assert second["level"] == "warning"
        assert second["logger"] == "camarchiver.archiver"
        assert second["message"] == "a.mp4: failed"
        assert datetime.fromisoformat(second["time"]).tzinfo is not None

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_a_run_within_the_run_is_named(self, tmp_path: Path, form: logs.Format) -> None:
        file, log = tmp_path / "run.log", logging.getLogger("camarchiver.cleaner")
        with logs.logging_to(file, run="r1", verbose=False, quiet=True, log_format=form):
            log.info("archived")
            with logs.within("r2"):
                log.info("removed")
            log.info("done")
        found = file.read_text().splitlines()
        runs_named = [json.loads(line)["run"] if form == "json" else line.split()[3] for line in found]
        assert runs_named == ["r1", "r2", "r1"]

    @pytest.mark.edge
    def test_no_text_makes_a_second_line_or_shows_a_password(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        log = logging.getLogger("camarchiver.cameras")
        odd = os.fsdecode(b"a\n\xff\x1b[31m\xe2\x80\xa8.mp4")
        with logs.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"), logs.about(odd):
            log.info("%s from rtsp://user:secret@cam/1", odd)
            try:
                raise ValueError("rtsp://user:secret@cam/1 says no")
            except ValueError:
                log.exception("failed")
        first, second = self.lines(file)
        assert first["clip"] == "a\n\\udcff\x1b[31m\u2028.mp4"
        assert "rtsp://***@cam/1" in first["message"]
        assert "ValueError" in second["error"]
        assert "secret" not in file.read_text()

    def test_a_locks_heart_speaks_of_the_clip_that_is_worked_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.05)
        clip, file = tmp_path / "a.mp4", tmp_path / "run.log"
        with (
            logs.logging_to(file, run="r1", verbose=False, quiet=True, log_format="json"),
            logs.about("day/a.mp4"),
            locking.clip_lock(clip) as lock,
        ):
            lock.file.unlink()
            assert lock.lost.wait(20)
        assert [line["clip"] for line in self.lines(file)] == ["day/a.mp4"]

    def test_commands_that_overlap_lose_no_line_while_the_file_is_rotated(self, tmp_path: Path) -> None:
        file = tmp_path / "run.log"
        program = """
import logging, sys
from pathlib import Path
from camarchiver import logs
logs.ROTATE_AT, logs.KEEP_FILES = 3000, 100
log = logging.getLogger("camarchiver.archiver")
with logs.logging_to(Path(sys.argv[1]), run=sys.argv[2], verbose=False, quiet=True):
    for number in range(150):
        log.info("line %d of it", number)
"""
        names = [f"r{number}" for number in range(4)]
        writers = [subprocess.Popen([sys.executable, "-c", program, str(file), name]) for name in names]
        assert [writer.wait(60) for writer in writers] == [0] * 4
        files = list(tmp_path.glob("run.log*"))
        assert len(files) > 5
        assert all(path.stat().st_size <= 3000 for path in files)
        found = Counter(line for path in files for line in path.read_text().splitlines())
        told = Counter(" ".join(line.split()[3:]) for line in found.elements())
        assert told == Counter(f"{name} line {n} of it" for name in names for n in range(150))
        assert [path.name for path in (tmp_path / ".camarchiver").iterdir()] == [".run.log.lock"]

    @pytest.mark.edge
    def test_a_log_that_can_not_be_written_is_said_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file, log = tmp_path / "run.log", logging.getLogger("camarchiver.archiver")
        precious = tmp_path / "precious"
        precious.write_text("mine")
        with logs.logging_to(file, run="r1", verbose=False, quiet=True):
            log.info("first")
            file.unlink()
            file.symlink_to(precious)
            log.info("second")
            log.info("third")
        assert precious.read_text() == "mine"
        assert capsys.readouterr().err.count("can't be written") == 1


def on_arrivals(arrivals: Arrivals, *, seconds: float = 5.0) -> list[Arrival]:
    """What the kernel tells until it falls silent for a moment."""
    heard: list[Arrival] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        new = list(arrivals.read())
        heard += new
        if heard and not new:
            break
        time.sleep(0.05)
    return heard


class TestArrivals:
    """inotify, on a real folder."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "camera/front").mkdir(parents=True)
        return tmp_path / "camera"

    @pytest.fixture
    def arrivals(self, root: Path) -> Iterator[Arrivals]:
        arrivals = Arrivals(root, frozenset((str(root / "archived"), str(root / ".deleted"))))
        assert arrivals.why_polled == ""
        list(arrivals.scan())
        yield arrivals
        arrivals.close()

    def test_a_rename_and_a_write_are_told_apart(self, root: Path, arrivals: Arrivals) -> None:
        (root / "front/.a.mp4").write_bytes(b"a")
        (root / "front/.a.mp4").rename(root / "front/a.mp4")
        (root / "b.mkv").write_bytes(b"b")
        os.link(root / "b.mkv", root / "front/c.mkv")
        heard = on_arrivals(arrivals)
        assert heard.count(Moved("front/a.mp4")) == 1
        assert set(heard) == {Moved("front/a.mp4"), Written("b.mkv"), Written("front/c.mkv")}

    @pytest.mark.parametrize(
        "name",
        [
            *(".hidden.mp4", ".clip.mp4.Ab3dE9", "clip.mp4.part", "clip.mp4.tmp", "clip.mp4.lock"),
            *("clip.jpg", "notes.txt", ".~tmp~/clip.mp4", "archived/clip.mp4", ".deleted/clip.mp4"),
        ],
    )
    def test_what_is_no_finished_clip_is_not_heard_of(
        self, root: Path, arrivals: Arrivals, name: str
    ) -> None:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        path.rename(path.with_name(path.name + ".x"))
        path.with_name(path.name + ".x").rename(path)
        (root / "last.mp4").write_bytes(b"x")
        assert set(on_arrivals(arrivals)) == {Written("last.mp4")}

    def test_what_was_put_into_a_new_folder_before_it_was_watched_is_found(
        self, root: Path, arrivals: Arrivals
    ) -> None:
        (root / "2026/03/01").mkdir(parents=True)
        (root / "2026/03/01/a.mp4").write_bytes(b"a")
        assert Found("2026/03/01", ("a.mp4",)) in on_arrivals(arrivals)
        (root / "2026/03/01/b.mp4").write_bytes(b"b")
        assert Written("2026/03/01/b.mp4") in on_arrivals(arrivals)

    def test_a_clip_that_comes_between_the_watch_and_the_listing_is_heard_of(
        self, root: Path, arrivals: Arrivals, mocker: MockerFixture
    ) -> None:
        listed = Arrivals._list

        def late(self: Arrivals, folder: str) -> tuple[tuple[str, ...], list[str]]:
            found = listed(self, folder)
            (root / folder / "late.mp4").write_bytes(b"x")
            return found

        mocker.patch.object(Arrivals, "_list", late)
        (root / "new").mkdir()
        assert Written("new/late.mp4") in on_arrivals(arrivals)

    def test_a_flood_of_new_folders_loses_nothing(self, root: Path, arrivals: Arrivals) -> None:
        """Writers race the watches: 8 cameras, 60 new folders each, by rename and by write."""

        def fill(camera: int) -> None:
            for number in range(60):
                folder = root / f"cam{camera}/{number:03}"
                folder.mkdir(parents=True)
                (folder / ".a.mp4").write_bytes(b"x")
                (folder / ".a.mp4").rename(folder / "a.mp4")

        heard: set[str] = set()
        with ThreadPoolExecutor(8) as pool:
            writing = [pool.submit(fill, camera) for camera in range(8)]
            deadline = time.monotonic() + 60
            while len(heard) < 480 and time.monotonic() < deadline:
                for arrival in arrivals.read():
                    if isinstance(arrival, Moved | Written):
                        heard.add(arrival.path)
                    elif isinstance(arrival, Found):
                        heard.update(f"{arrival.folder}/{name}" for name in arrival.names)
            for future in writing:
                future.result()
        assert len(heard) == 480

    def test_a_folder_that_is_renamed_is_known_by_its_new_name(self, root: Path, arrivals: Arrivals) -> None:
        (root / "front/sub").mkdir()
        (root / "front/sub/a.mp4").write_bytes(b"a")
        on_arrivals(arrivals)
        (root / "front").rename(root / "back")
        assert Found("back/sub", ("a.mp4",)) in on_arrivals(arrivals)
        (root / "back/sub/b.mp4").write_bytes(b"b")
        assert set(on_arrivals(arrivals)) == {Written("back/sub/b.mp4")}

    def test_a_folder_that_leaves_the_tree_is_not_heard_of_any_more(
        self, root: Path, arrivals: Arrivals, tmp_path: Path
    ) -> None:
        (root / "front").rename(tmp_path / "away")
        on_arrivals(arrivals, seconds=0.5)
        (tmp_path / "away/a.mp4").write_bytes(b"a")
        assert on_arrivals(arrivals, seconds=0.5) == []

    def test_a_removed_folder_is_forgotten(self, root: Path, arrivals: Arrivals) -> None:
        before = arrivals.watched
        (root / "2026/03/01").mkdir(parents=True)
        on_arrivals(arrivals, seconds=0.5)
        assert arrivals.watched == before + 3
        shutil.rmtree(root / "2026")
        assert on_arrivals(arrivals, seconds=0.5) == []
        assert arrivals.watched == before

    def test_dropped_events_are_told(
        self, root: Path, arrivals: Arrivals, caplog: pytest.LogCaptureFixture
    ) -> None:
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if queue > 50_000:
            pytest.skip(f"the queue here holds {queue} events")
        for number in range(queue // 2 + 10):
            (root / f"{number}.mp4").touch()
        assert Missed() in on_arrivals(arrivals)
        assert "max_queued_events" in caplog.text
        assert sum(len(found.names) for found in arrivals.scan()) == queue // 2 + 10

    def test_a_removed_root_is_told(self, root: Path, arrivals: Arrivals) -> None:
        shutil.rmtree(root)
        assert Gone() in on_arrivals(arrivals)
        assert arrivals.has_moved()

    def test_an_unmounted_root_is_told(self, tmp_path: Path) -> None:
        for place in mounted(tmp_path / "disk", "-t", "tmpfs", "tmpfs"):
            arrivals = Arrivals(place, frozenset())
            list(arrivals.scan())
            assert not arrivals.has_moved()
            subprocess.run(["mount", "-t", "tmpfs", "over", str(place)], check=True)
            assert arrivals.has_moved()
            subprocess.run(["umount", str(place)], check=True)
            assert not arrivals.has_moved()
            subprocess.run(["umount", str(place)], check=True)
            assert Gone() in on_arrivals(arrivals)
            arrivals.close()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)

    @pytest.mark.parametrize(("knob", "limit"), [("max_inotify_watches", 3), ("max_inotify_instances", 0)])
    def test_the_kernels_limits_name_the_setting_and_the_tree_is_listed_instead(
        self, root: Path, knob: str, limit: int, start_python: Callable[..., subprocess.Popen[str]]
    ) -> None:
        for number in range(5):
            (root / f"{number}").mkdir()
            (root / f"{number}/a.mp4").touch()
        code = (
            "import sys; from pathlib import Path; from camarchiver.arrivals import Arrivals\n"
            f"Path('/proc/sys/user/{knob}').write_text('{limit}')\n"
            "arrivals = Arrivals(Path(sys.argv[1]), frozenset())\n"
            "print(len([found for found in arrivals.scan() if found.names]))\n"
            "print(arrivals.why_polled)"
        )
        command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "unshare" in done.stderr or "Permission" in done.stderr:
            pytest.skip(f"no user namespace here: {done.stderr.strip()[-200:]}")
        count, why = done.stdout.splitlines()
        name = knob.replace("inotify", "user")
        assert count == "5"
        assert f"fs.inotify.{name} " in why and f"sysctl -w fs.inotify.{name}=" in why

    def test_fuse_is_listed_instead(self, root: Path, tmp_path: Path) -> None:
        """The daemon may serve what others change."""
        programs.needs("bindfs")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            pytest.skip("/dev/fuse can't be opened here")
        place = tmp_path / "fuse"
        place.mkdir()
        done = subprocess.run(["bindfs", str(root), str(place)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"bindfs can't mount here: {done.stderr.strip()}")
        try:
            (root / "front/a.mp4").touch()
            arrivals = Arrivals(place, frozenset())
            assert f"{place} is fuse" in arrivals.why_polled
            assert list(arrivals.scan()) == [Found("front", ("a.mp4",))]
            assert arrivals.watched == 0
            arrivals.close()
        finally:
            subprocess.run(["umount", "-l", str(place)], check=True)


class TestAtomic:
    def test_a_staged_file_is_private_and_goes_when_not_published(self, tmp_path: Path) -> None:
        with atomic.staged(tmp_path / "x.mp4") as part:
            assert part.path.parent == tmp_path
            assert stat.S_IMODE(part.path.stat().st_mode) == 0o600
        with pytest.raises(RuntimeError), atomic.staged(tmp_path / "x.mp4"):
            raise RuntimeError
        assert names_in(tmp_path) == []

    @pytest.mark.parametrize("code", [errno.EINTR, errno.EIO])
    def test_a_staged_file_that_could_not_be_closed_goes(
        self, tmp_path: Path, mocker: MockerFixture, code: int
    ) -> None:
        mocker.patch.object(atomic.os, "close", side_effect=OSError(code, os.strerror(code)))
        with pytest.raises(OSError), atomic.staged(tmp_path / "x.mp4"):
            pass
        mocker.stopall()
        assert names_in(tmp_path) == []

    def test_publishing_gives_the_name_once(self, tmp_path: Path) -> None:
        target = tmp_path / "x.mp4"
        with atomic.staged(target) as part:
            part.path.write_text("first")
            atomic.publish(part, target)
        with atomic.staged(target) as part:
            part.path.write_text("second")
            with pytest.raises(FileExistsError):
                atomic.publish(part, target)
            assert part.path.read_text() == "second"
        assert (names_in(tmp_path), target.read_text()) == (["x.mp4"], "first")

    def test_a_link_planted_at_the_name_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").symlink_to(tmp_path / "elsewhere")
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(FileExistsError):
            atomic.publish(part, tmp_path / "x.mp4")
        assert names_in(tmp_path) == ["x.mp4"]

    @pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_without_links_it_renames_and_still_never_replaces(
        self, tmp_path: Path, mocker: MockerFixture, code: int
    ) -> None:
        mocker.patch("os.link", side_effect=OSError(code, os.strerror(code)))
        target = tmp_path / "x.mp4"
        with atomic.staged(target) as part:
            part.path.write_text("first")
            atomic.publish(part, target)
        with atomic.staged(target) as part, pytest.raises(FileExistsError):
            atomic.publish(part, target)
        assert (names_in(tmp_path), target.read_text()) == (["x.mp4"], "first")

    def test_with_neither_it_says_what_to_do(self, tmp_path: Path, mocker: MockerFixture) -> None:
        mocker.patch("os.link", side_effect=PermissionError(errno.EPERM, "x"))
        mocker.patch.object(kernel, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(StorageError) as caught:
            atomic.publish(part, tmp_path / "x.mp4")
        assert str(tmp_path) in caught.value.message
        assert "ext4" in caught.value.hint
        assert names_in(tmp_path) == []

    def test_a_lost_answer_of_a_file_server_is_not_a_taken_name(
        self, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        link = os.link

        def link_and_lose_the_answer(*arguments: object, **options: object) -> None:
            link(*arguments, **options)  # type: ignore[arg-type]
            raise OSError(errno.ETIMEDOUT, "x")

        mocker.patch("time.sleep")
        mocker.patch("os.link", side_effect=link_and_lose_the_answer)
        with atomic.staged(tmp_path / "x.mp4") as part:
            atomic.publish(part, tmp_path / "x.mp4")
        assert names_in(tmp_path) == ["x.mp4"]

    def test_an_error_of_fsync_is_final(self, tmp_path: Path, mocker: MockerFixture) -> None:
        sync = mocker.patch("os.fsync", side_effect=OSError(errno.EIO, "x"))
        with atomic.staged(tmp_path / "x.mp4") as part, pytest.raises(OSError):
            atomic.publish(part, tmp_path / "x.mp4")
        assert sync.call_count == 1
        assert names_in(tmp_path) == []

    def test_any_name_can_be_staged_and_numbered(self, tmp_path: Path) -> None:
        folder = os.fsdecode(bytes(tmp_path))
        for name in ("x" * 251 + ".mp4", "é" * 125 + ".mp4", os.fsdecode(b"\xff.mp4"), "-y\n.mp4"):
            target = Path(folder) / name
            for number in (1, 2):
                with atomic.staged(target) as part:
                    atomic.publish(part, target.with_name(numbered(name, number)))
        assert len(names_in(tmp_path)) == 8

    def test_text_is_replaced_whole_with_its_mode(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        atomic.write_text(path, "one\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        atomic.write_text(path, "two \udcff\n", mode=0o644)
        assert path.read_bytes() == b"two \xff\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert names_in(tmp_path) == ["x"]

    def test_json_keeps_one_backup(self, tmp_path: Path) -> None:
        path = tmp_path / "holds.json"
        assert atomic.read_json(path) is None
        for number in range(3):
            atomic.write_json(path, {"number": number, "path": "\udcff"})
        assert atomic.read_json(path) == {"number": 2, "path": "\udcff"}
        assert json.loads((tmp_path / "holds.json.bak").read_text())["number"] == 1
        assert names_in(tmp_path) == ["holds.json", "holds.json.bak"]

    @pytest.mark.parametrize("damage", ["", "{", "{}{", "\0\0\0"])
    def test_a_torn_file_gives_its_backup_and_never_becomes_one(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "holds.json"
        atomic.write_json(path, 1)
        atomic.write_json(path, 2)
        path.write_text(damage)
        assert atomic.read_json(path) == 1
        atomic.write_json(path, 3)
        assert json.loads((tmp_path / "holds.json.bak").read_text()) == 1
        path.unlink()
        assert atomic.read_json(path) == 1

    def test_with_both_torn_it_names_file_and_remedy(self, tmp_path: Path) -> None:
        path = tmp_path / "holds.json"
        path.write_text("{")
        with pytest.raises(StorageError) as caught:
            atomic.read_json(path)
        assert str(path) in caught.value.message
        assert caught.value.hint

    def test_what_is_no_json_changes_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "x.json"
        atomic.write_json(path, 1)
        for value in (object(), float("nan")):
            with pytest.raises((TypeError, ValueError)):
                atomic.write_json(path, value)
        assert (names_in(tmp_path), atomic.read_json(path)) == (["x.json"], 1)

    def test_when_the_folder_cannot_be_synced_the_old_value_is_back(
        self, tmp_path: Path, mocker: MockerFixture
    ) -> None:
        path, new = tmp_path / "x.json", tmp_path / "new.json"
        atomic.write_json(path, 1)
        fail_when = mocker.patch.object(atomic, "fsync_folder", side_effect=[None, OSError(errno.EIO, "x")])
        with pytest.raises(OSError):
            atomic.write_json(path, 2)
        assert json.loads(path.read_text()) == 1
        fail_when.side_effect = OSError(errno.EIO, "x")
        with pytest.raises(OSError):
            atomic.write_json(new, 2)
        assert not new.exists()

    def test_a_full_disk_leaves_the_old_value_and_no_rubbish(self, small_disk: Path) -> None:
        path = small_disk / "x.json"
        atomic.write_json(path, ["old"])
        atomic.write_json(path, ["newer"])
        _fill(small_disk / "filler")
        with pytest.raises(OSError) as caught:
            atomic.write_json(path, ["x" * 100_000])
        assert caught.value.errno == errno.ENOSPC
        assert atomic.read_json(path) == ["newer"]
        assert names_in(small_disk) == ["filler", "x.json", "x.json.bak"]

    def test_a_kill_at_any_moment_leaves_old_or_new(self, tmp_path: Path, sweep_kills: Sweep) -> None:
        path = tmp_path / "x.json"
        old, new = {"value": "o" * 10_000}, {"value": "n" * 20_000}
        atomic.write_json(path, "oldest")
        atomic.write_json(path, old)

        def check() -> None:
            assert atomic.read_json(path) in (old, new)
            assert json.loads(path.read_text()) in (old, new)
            atomic.write_json(path, old)

        assert sweep_kills(lambda: atomic.write_json(path, new), check) >= 8

    def test_a_kill_while_publishing_leaves_all_or_nothing(self, tmp_path: Path, sweep_kills: Sweep) -> None:
        target = tmp_path / "x.mp4"

        def act() -> None:
            with atomic.staged(target) as part:
                part.path.write_bytes(b"x" * 100_000)
                atomic.publish(part, target)

        def check() -> None:
            assert not target.exists() or target.stat().st_size == 100_000
            for name in names_in(tmp_path):
                assert name == "x.mp4" or atomic.staged_stem(name) == "x"
                (tmp_path / name).unlink()

        assert sweep_kills(act, check) >= 5

    def test_a_copy_has_bytes_times_and_mode(self, tmp_path: Path, other_disk: Path) -> None:
        source = tmp_path / "x.mp4"
        source.write_bytes(os.urandom(3_000_000))
        source.chmod(0o640)
        os.utime(source, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
        with source.open("rb") as opened, atomic.staged(other_disk / "x.mp4") as part:
            digest = atomic.copy_into(opened, part)
            atomic.publish(part, other_disk / "x.mp4")
        copy = other_disk / "x.mp4"
        assert subprocess.check_output(["b2sum", str(copy)], text=True).split()[0] == digest
        assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns
        assert stat.S_IMODE(copy.stat().st_mode) == 0o640

    def test_folders_are_made_and_may_be_there(self, tmp_path: Path) -> None:
        atomic.make_folders(tmp_path / "a" / "b", mode=0o700)
        atomic.make_folders(tmp_path / "a" / "b")
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700
        (tmp_path / "file").touch()
        with pytest.raises((FileExistsError, NotADirectoryError)):
            atomic.make_folders(tmp_path / "file" / "x")


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


HOLD = """
import sys, pathlib
from camarchiver import lockfile, locking
lockfile.SETTLE_SECONDS = 0
with locking.clip_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""

RACE = """
import os, pathlib, sys, time
from camarchiver import lockfile, locking
from camarchiver.errors import ClipBusy
root, me, races, flocks = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "flocks"
lockfile.SETTLE_SECONDS = 0 if flocks else 0.05
if not flocks:
    lockfile._flock = lambda *_, **__: None
print("ready", flush=True)
entered = doubles = 0
for race in map(int, sys.stdin):
    clip = root / f"{race}.mp4"
    try:
        with locking.clip_lock(clip):
            entered += 1
            try:
                os.close(os.open(root / f"{race}.inside", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                doubles += 1
            time.sleep(0.002)
            (root / f"{race}.inside").unlink(missing_ok=True)
    except ClipBusy:
        pass
    print("done", flush=True)
print(entered, doubles, flush=True)
"""


def foreign_lock(clip: Path, *, age: float) -> Path:
    """The lock of a run on another machine."""
    record = {
        "host": "attic",
        "boot": "another",
        "pid": 77,
        "nonce": "n",
        "since": "2026-01-02T03:04:05+00:00",
    }
    file = clip.with_name(clip.name + ".lock")
    file.write_text(json.dumps(record) + "\n")
    make_older(file, age)
    return file


class TestLocking:
    @pytest.fixture
    def clip(self, tmp_path: Path) -> Path:
        path = tmp_path / "x.mp4"
        path.touch()
        return path

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lockfile, "SETTLE_SECONDS", 0.0)

    def test_the_lock_stands_complete_while_held_and_goes_after(self, clip: Path) -> None:
        file = clip.with_name("x.mp4.lock")
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
            assert not lock.lost.is_set()
            assert json.loads(file.read_text())["pid"] == os.getpid()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert names_in(clip.parent) == ["x.mp4"]
        with pytest.raises(RuntimeError), locking.clip_lock(clip):
            raise RuntimeError
        assert names_in(clip.parent) == ["x.mp4"]

    def test_a_held_clip_is_busy_and_says_by_whom(self, clip: Path) -> None:
        with locking.clip_lock(clip):
            for _ in range(2):
                with pytest.raises(ClipBusy) as caught, locking.clip_lock(clip):
                    pass
        assert isinstance(caught.value, ValueError)
        host, pid = locking.lockfile.host_id(), os.getpid()
        assert caught.value.message.startswith(
            f"File already being processed: {clip} (host {host}, pid {pid}, since 20"
        )

    def test_it_logs_what_it_does(self, clip: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "camarchiver.locking")
        foreign_lock(clip, age=700)
        with locking.clip_lock(clip):
            pass
        with locking.clip_lock(clip):
            pass
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert said[0][0] == "WARNING"
        assert "reclaimed" in said[0][1] and "700 s old" in said[0][1] and "host attic" in said[0][1]
        assert said[1:] == [
            ("DEBUG", f"lock released: {clip}"),
            ("DEBUG", f"lock acquired: {clip}"),
            ("DEBUG", f"lock released: {clip}"),
        ]

    @pytest.mark.parametrize("host", ["", "another-host"])
    def test_a_living_owner_keeps_an_old_lock(self, clip: Path, start_python: Start, host: str) -> None:
        owner = start_python(HOLD, clip, CAMARCHIVER_HOST_ID=host)
        assert line(owner) == "held"
        make_older(clip.with_name("x.mp4.lock"), 700)
        with pytest.raises(ClipBusy, match=f"pid {owner.pid}"), locking.clip_lock(clip):
            pass
        assert "File already being processed" in (locking.held_by(clip) or "")

    def test_a_lock_released_at_that_moment_is_made_anew(self, clip: Path, mocker: MockerFixture) -> None:
        file = clip.with_name("x.mp4.lock")
        file.write_text(json.dumps(asdict(lockfile.Owner.this())) + "\n")
        flock = lockfile._flock

        def release_then_flock(descriptor: int, **options: float) -> bool | None:
            if options:
                file.unlink()
            return flock(descriptor, **options)  # type: ignore[arg-type]

        mocker.patch.object(lockfile, "_flock", side_effect=release_then_flock)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()

    def test_after_a_kill_the_same_machine_goes_on_at_once(self, clip: Path, start_python: Start) -> None:
        owner = start_python(HOLD, clip)
        assert line(owner) == "held"
        owner.kill()
        owner.wait()
        assert locking.held_by(clip) is None
        started = time.monotonic()
        with locking.clip_lock(clip):
            assert time.monotonic() - started < 1
        assert names_in(clip.parent) == ["x.mp4"]

    @pytest.mark.parametrize("age", [0, 590, -590])
    def test_another_hosts_fresh_lock_is_honoured(self, clip: Path, age: float) -> None:
        foreign_lock(clip, age=age)
        before = _state(clip.parent)
        with pytest.raises(ClipBusy, match=r"host attic, pid 77, since 2026-01-02T03:04:05\+00:00"):
            locking.clip_lock(clip).__enter__()
        assert "host attic" in (locking.held_by(clip) or "")
        assert _state(clip.parent) == before

    @pytest.mark.parametrize("age", [700, -700])
    def test_another_hosts_old_lock_is_reclaimed(self, clip: Path, age: float) -> None:
        file = foreign_lock(clip, age=age)
        inode = file.stat().st_ino
        assert locking.held_by(clip) is None
        with locking.clip_lock(clip):
            assert file.stat().st_ino == inode
            assert abs(file.stat().st_mtime - time.time()) < 60
        assert names_in(clip.parent) == ["x.mp4"]

    @pytest.mark.parametrize("content", ["", "4711", '{"pid": 4711', '[]\n{"a": 1}'])
    def test_an_empty_or_unknown_lock_goes_by_its_age(self, clip: Path, content: str) -> None:
        file = clip.with_name("x.mp4.lock")
        file.write_text(content)
        with pytest.raises(ClipBusy, match="host unknown"), locking.clip_lock(clip):
            pass
        make_older(file, 700)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
        assert not file.exists()

    def test_a_lock_taken_from_another_host_must_settle(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lockfile, "SETTLE_SECONDS", 0.3)
        file = foreign_lock(clip, age=700)
        thief = threading.Timer(0.1, lambda: foreign_lock(clip, age=0))
        thief.start()
        with pytest.raises(ClipBusy, match="host attic"), locking.clip_lock(clip):
            pass
        assert json.loads(file.read_text())["host"] == "attic"

    def test_release_spares_anothers_record(self, clip: Path) -> None:
        with locking.clip_lock(clip) as lock:
            file = foreign_lock(clip, age=0)
            assert not lock.still_mine()
            assert lock.lost.is_set()
        assert json.loads(file.read_text())["host"] == "attic"

    def test_release_spares_anothers_file(self, clip: Path) -> None:
        with locking.clip_lock(clip) as lock:
            file = clip.with_name("x.mp4.lock")
            text = file.read_text()
            file.unlink()
            assert not lock.still_mine()
            file.write_text(text)
        assert file.read_text() == text

    def test_the_heartbeat_keeps_it_fresh_and_notices_a_loss(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locking, "HEARTBEAT_SECONDS", 0.05)
        file = clip.with_name("x.mp4.lock")
        with locking.clip_lock(clip) as lock:
            make_older(file, 700)
            time.sleep(0.3)
            assert time.time() - file.stat().st_mtime < 60
            file.unlink()
            assert lock.lost.wait(5)
            assert not lock.still_mine()

    def test_what_is_no_lock_is_busy_never_followed_never_waited_for(self, clip: Path) -> None:
        file = clip.with_name("x.mp4.lock")
        precious = clip.with_name("precious")
        precious.write_text("precious")
        make_older(precious, 700)

        def bind() -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(file))

        for plant in (
            lambda: file.symlink_to(precious),
            lambda: file.symlink_to("dangling"),
            lambda: os.mkfifo(file),
            file.mkdir,
            bind,
        ):
            plant()
            started = time.monotonic()
            with pytest.raises(ClipBusy, match=r"x\.mp4\.lock is not a lock"), locking.clip_lock(clip):
                pass
            assert locking.held_by(clip) is not None
            assert time.monotonic() - started < 1
            file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
        assert precious.read_text() == "precious"
        assert not clip.with_name("dangling").exists()

    def test_a_name_of_255_bytes_has_a_hidden_lock(self, tmp_path: Path) -> None:
        clip, other = tmp_path / ("é" * 125 + "a.mp4"), tmp_path / ("é" * 125 + "b.mp4")
        clip.touch()
        with locking.clip_lock(clip), locking.clip_lock(other):
            assert all(name.startswith(".") or name == clip.name for name in names_in(tmp_path))
            assert locking.held_by(clip) is not None
            with pytest.raises(ClipBusy), locking.clip_lock(clip):
                pass
        assert names_in(tmp_path) == [clip.name]

    def test_a_plan_sees_the_lock_of_a_name_of_255_bytes(self, tmp_path: Path) -> None:
        clip = tmp_path / ("n" * (255 - 19) + "_20260301081500.mp4")
        clip.touch()
        os.utime(clip, (1772352900, 1772352900))
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        with locking.clip_lock(clip):
            plan = Pipeline(trees, UTC, "archive").plan_archive(ArchivePolicy(timedelta(1)), list_all=True)
        assert [step.reason for step in plan.left] == [Reason.BUSY]

    @pytest.mark.parametrize("missing", ["O_TMPFILE", "link"])
    def test_it_works_where_files_need_a_name(
        self, clip: Path, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, missing: str
    ) -> None:
        if missing == "O_TMPFILE":
            # What a kernel or filesystem without it sees of the flag; it answers EISDIR.
            monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
        else:
            mocker.patch("os.link", side_effect=PermissionError(errno.EPERM, "x"))
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
            with pytest.raises(ClipBusy), locking.clip_lock(clip):
                pass
        assert names_in(clip.parent) == ["x.mp4"]
        foreign_lock(clip, age=700)
        with locking.clip_lock(clip) as lock:
            assert lock.still_mine()
        assert names_in(clip.parent) == ["x.mp4"]

    def test_a_read_only_source_is_locked_in_the_place(self, read_only: Path, tmp_path: Path) -> None:
        place, behind = tmp_path / "state" / "locks", tmp_path / "behind"
        clip = read_only / "x.mp4"
        with pytest.raises(OSError) as caught, locking.clip_lock(clip):
            pass
        assert caught.value.errno == errno.EROFS
        with locking.clip_lock(clip, place=place) as lock:
            assert lock.still_mine()
            assert len(names_in(place)) == 1
            assert locking.held_by(clip, place=place) is not None
            assert locking.held_by(clip) is None
            with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                pass
        assert names_in(place) == []
        with locking.clip_lock(behind / "x.mp4"):
            assert locking.held_by(clip, place=place) is not None
            with pytest.raises(ClipBusy), locking.clip_lock(clip, place=place):
                pass

    def test_another_users_lock_is_busy(self, start_python: Start) -> None:
        if os.getuid():
            pytest.skip("only root may become somebody else")
        code = (
            "import os, pathlib, sys; from camarchiver import locking\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "try:\n"
            "    locking.clip_lock(pathlib.Path(sys.argv[1])).__enter__()\n"
            "except ValueError as error:\n"
            "    print(error, flush=True)"
        )
        # Not below tmp_path, which nobody else may enter.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o777)
            clip = Path(folder) / "x.mp4"
            foreign_lock(clip, age=700).chmod(0o600)
            assert "x.mp4.lock belongs to another user" in line(start_python(code, clip))

    def test_a_full_disk_leaves_no_lock(self, small_disk: Path) -> None:
        clip = small_disk / "x.mp4"
        clip.touch()
        _fill(small_disk / "filler")
        with pytest.raises(OSError) as caught, locking.clip_lock(clip):
            pass
        assert caught.value.errno == errno.ENOSPC
        assert names_in(small_disk) == ["filler", "x.mp4"]

    @pytest.mark.parametrize("stale", [False, True])
    def test_a_kill_at_any_moment_blocks_nothing(self, clip: Path, sweep_kills: Sweep, stale: bool) -> None:
        def act() -> None:
            with locking.clip_lock(clip):
                pass

        def check() -> None:
            with locking.clip_lock(clip):
                pass
            # A kill while the server's clock is asked leaves that empty file, to be swept as any other.
            for name in names_in(clip.parent):
                assert name == "x.mp4" or atomic.staged_stem(name) == "clock"
            if stale:
                foreign_lock(clip, age=700)

        if stale:
            foreign_lock(clip, age=700)
        assert sweep_kills(act, check) >= 3

    @pytest.mark.parametrize("hosts", ["one host", "each another host"])
    def test_many_who_meet_one_stale_lock_never_both_enter(
        self, tmp_path: Path, start_python: Start, hosts: str
    ) -> None:
        entered, doubles = _race(tmp_path, start_python, 300, apart=hosts != "one host", mode="flocks")
        assert doubles == 0
        assert entered >= 300

    def test_where_kernel_locks_are_not_shared_settling_keeps_them_apart(
        self, tmp_path: Path, start_python: Start
    ) -> None:
        entered, doubles = _race(tmp_path, start_python, 40, apart=True, mode="none")
        assert doubles == 0
        assert entered >= 40

    def test_one_run_of_a_command_and_who_it_is(self, tmp_path: Path, start_python: Start) -> None:
        lock = tmp_path / "archive.lock"
        code = (
            "import sys, pathlib; from camarchiver import locking\n"
            "with locking.exclusive(pathlib.Path(sys.argv[1]), what='archive'):\n"
            "    print('held', flush=True); input()"
        )
        run = start_python(code, lock)
        assert line(run) == "held"
        with pytest.raises(AlreadyRunning) as caught, locking.exclusive(lock, what="archive"):
            pass
        assert caught.value.exit_code == 11
        assert f"archive, host {lockfile.host_id()}, pid {run.pid}, since 20" in caught.value.message
        run.send_signal(signal.SIGKILL)
        run.wait()
        with locking.exclusive(lock, what="archive"):
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
            with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
                locking.exclusive(lock, what="archive").__enter__()

    def test_guarded_appends_wait_for_each_other(self, tmp_path: Path, start_python: Start) -> None:
        code = (
            "import sys, pathlib; from camarchiver import locking\n"
            "path = pathlib.Path(sys.argv[1])\n"
            "for _ in range(50):\n"
            "    with locking.guarded(path.with_suffix('.lock')):\n"
            "        path.write_text(str(int(path.read_text()) + 1))\n"
        )
        count = tmp_path / "count"
        count.write_text("0")
        for process in [start_python(code, count) for _ in range(3)]:
            assert process.wait() == 0
        assert count.read_text() == "150"

    def test_a_guard_that_never_opens_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locking, "GUARD_SECONDS", 0.2)
        path = tmp_path / "lock"
        with path.open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(StorageError, match=str(path)):
                locking.guarded(path).__enter__()


def _race(root: Path, start: Start, races: int, *, apart: bool, mode: str) -> tuple[int, int]:
    """Four processes meet one stale lock, `races` times: how often one entered, how often two at once."""
    four = [
        start(RACE, root, me, races, mode, **({"CAMARCHIVER_HOST_ID": f"host-{me}"} if apart else {}))
        for me in range(4)
    ]
    for process in four:
        assert line(process) == "ready"
    for race in range(races):
        foreign_lock(root / f"{race}.mp4", age=700)
        for process in four:
            assert process.stdin is not None
            process.stdin.write(f"{race}\n")
            process.stdin.flush()
        for process in four:
            assert line(process) == "done"
    results = [process.communicate()[0].split() for process in four]
    return sum(int(entered) for entered, _ in results), sum(int(doubles) for _, doubles in results)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((entry.name, entry.stat().st_ino, entry.stat().st_mtime_ns) for entry in folder.iterdir())


class TestTrash:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        folder = tmp_path / "camera" / "2024" / "05" / "03"
        folder.mkdir(parents=True)
        clip = folder / "x.mp4"
        clip.write_bytes(b"footage" * 10_000)
        clip.chmod(0o640)
        os.utime(clip, ns=(1_714_700_000_123_456_789, 1_714_700_000_123_456_789))
        return tmp_path / "camera"

    RELATIVE = "2024/05/03/x.mp4"

    def move(self, root: Path, trash_root: Path, fingerprint: Fingerprint | None = None) -> str:
        seen = fingerprint or trash.fingerprint_of((root / self.RELATIVE).lstat())
        return trash.move(
            root, self.RELATIVE, seen, trash_root=trash_root, trash_relative=f"input/{self.RELATIVE}"
        )

    def test_a_file_moves_with_all_it_is(self, root: Path) -> None:
        before = (root / self.RELATIVE).lstat()
        assert self.move(root, root / ".deleted") == f"input/{self.RELATIVE}"
        after = (root / ".deleted" / "input" / self.RELATIVE).lstat()
        assert trash.fingerprint_of(after) == trash.fingerprint_of(before)
        assert after.st_mode == before.st_mode
        assert not (root / self.RELATIVE).exists()

    @pytest.mark.parametrize("where", ["same disk", "other disk", "no rename without replacing"])
    def test_a_taken_name_gets_a_number(
        self, root: Path, other_disk: Path, mocker: MockerFixture, where: str
    ) -> None:
        trash_root = other_disk if where == "other disk" else root / ".deleted"
        if where.startswith("no rename"):
            # NFS answers so (nfs_rename in Linux' fs/nfs/dir.c takes no flags).
            mocker.patch.object(kernel, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        places = []
        for number in range(3):
            (root / self.RELATIVE).write_text(str(number))
            places.append(self.move(root, trash_root))
        assert places == [f"input/2024/05/03/{name}" for name in ("x.mp4", "x~2.mp4", "x~3.mp4")]
        assert [(trash_root / place).read_text() for place in places] == ["0", "1", "2"]
        assert names_in(root / "2024" / "05" / "03") == []

    def test_to_another_disk_it_is_copied_whole_and_durably(self, root: Path, other_disk: Path) -> None:
        source = root / self.RELATIVE
        content, before = source.read_bytes(), source.lstat()
        copy = other_disk / self.move(root, other_disk)
        assert copy.read_bytes() == content
        assert (copy.stat().st_mtime_ns, copy.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
        assert not source.exists()
        assert names_in(copy.parent) == ["x.mp4"]

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_a_kill_at_any_moment_loses_nothing(
        self, root: Path, other_disk: Path, sweep_kills: Sweep, elsewhere: bool
    ) -> None:
        trash_root = other_disk if elsewhere else root / ".deleted"
        source = root / self.RELATIVE
        content = source.read_bytes()

        def check() -> None:
            copies = list(trash_root.rglob("x*.mp4"))
            assert source.exists() or copies
            assert all(path.read_bytes() == content for path in [*copies, source] if path.exists())
            shutil.rmtree(trash_root, ignore_errors=True)
            source.write_bytes(content)

        assert sweep_kills(lambda: self.move(root, trash_root), check) >= 5

    def test_a_full_trash_leaves_the_source(self, root: Path, small_disk: Path) -> None:
        _fill(small_disk / "filler")
        with pytest.raises(OSError) as caught:
            self.move(root, small_disk)
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(root / self.RELATIVE)
        assert (root / self.RELATIVE).exists()
        assert [path for path in small_disk.rglob("*") if path.is_file()] == [small_disk / "filler"]

    def test_what_changed_since_is_stale(self, root: Path, other_disk: Path) -> None:
        path = root / self.RELATIVE
        planned = trash.fingerprint_of(path.lstat())
        with path.open("ab") as file:
            file.write(b"more")
        for act in (
            lambda: trash.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
            lambda: self.move(root, other_disk, planned),
        ):
            with pytest.raises(trash.Stale, match="no longer the file"):
                act()
        path.unlink()
        path.symlink_to("/etc/passwd")
        with pytest.raises(trash.Stale):
            trash.delete(root, self.RELATIVE, planned)
        assert path.is_symlink()

    def test_what_changes_while_it_is_copied_stays(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        copy_into = atomic.copy_into

        def copy_while_it_grows(source: object, part: atomic.Staged) -> str:
            digest = copy_into(source, part)  # type: ignore[arg-type]
            with path.open("ab") as file:
                file.write(b"more")
            return digest

        mocker.patch.object(atomic, "copy_into", side_effect=copy_while_it_grows)
        with pytest.raises(trash.Stale):
            self.move(root, other_disk)
        assert path.exists()
        assert not [found for found in other_disk.rglob("*") if found.is_file()]

    def test_what_is_replaced_once_it_is_copied_stays(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        old, publish = path.read_bytes(), atomic.publish

        def publish_then_replace(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            path.unlink()
            path.write_bytes(b"new")

        mocker.patch.object(atomic, "publish", side_effect=publish_then_replace)
        with pytest.raises(trash.Stale, match=r"what it was stays as x\.mp4"):
            self.move(root, other_disk)
        assert path.read_bytes() == b"new"
        assert (other_disk / "input" / self.RELATIVE).read_bytes() == old

    def test_what_somebody_removes_once_it_is_copied_was_moved(
        self, root: Path, other_disk: Path, mocker: MockerFixture
    ) -> None:
        path = root / self.RELATIVE
        old, publish = path.read_bytes(), atomic.publish

        def publish_then_remove(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            path.unlink()

        mocker.patch.object(atomic, "publish", side_effect=publish_then_remove)
        place = self.move(root, other_disk)
        assert (other_disk / place).read_bytes() == old

    @pytest.mark.parametrize("renames", [True, False])
    def test_what_is_replaced_at_the_last_moment_goes_back(
        self, root: Path, mocker: MockerFixture, renames: bool
    ) -> None:
        path = root / self.RELATIVE
        rename = kernel.rename_noreplace

        def replace_then_rename(*arguments: object, **options: object) -> None:
            if path.exists() and path.read_bytes() != b"new":
                path.unlink()
                path.write_bytes(b"new")
            if not renames:
                raise OSError(errno.EINVAL, "x")
            rename(*arguments, **options)  # type: ignore[arg-type]

        mocker.patch.object(kernel, "rename_noreplace", side_effect=replace_then_rename)
        with pytest.raises(trash.Stale):
            self.move(root, root / ".deleted")
        assert path.read_bytes() == b"new"
        assert not [found for found in (root / ".deleted").rglob("*") if found.is_file()]

    def test_what_is_gone_is_named_whole(self, root: Path) -> None:
        planned = trash.fingerprint_of((root / self.RELATIVE).lstat())
        (root / self.RELATIVE).unlink()
        for act in (
            lambda: trash.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
        ):
            with pytest.raises(FileNotFoundError) as caught:
                act()
            assert caught.value.filename == str(root / self.RELATIVE)
        assert not (root / ".deleted").exists()

    def test_a_folder_swapped_for_a_link_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        planned = trash.fingerprint_of((root / self.RELATIVE).lstat())
        (root / "2024").rename(tmp_path / "elsewhere")
        (root / "2024").symlink_to(tmp_path / "elsewhere")
        for act in (
            lambda: trash.delete(root, self.RELATIVE, planned),
            lambda: self.move(root, root / ".deleted", planned),
        ):
            with pytest.raises(trash.Stale, match="no folder any more"):
                act()
        assert trash.remove_empty_folders(root, "2024/05/03") == ()
        assert (tmp_path / "elsewhere" / "05" / "03" / "x.mp4").exists()

    def test_a_link_planted_in_the_trash_is_not_followed(self, root: Path, tmp_path: Path) -> None:
        (root / ".deleted" / "input").mkdir(parents=True)
        (tmp_path / "elsewhere").mkdir()
        (root / ".deleted" / "input" / "2024").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(NotADirectoryError):
            self.move(root, root / ".deleted")
        assert names_in(tmp_path / "elsewhere") == []
        assert (root / self.RELATIVE).exists()

    def test_deleting_takes_one_name(self, root: Path) -> None:
        path = root / self.RELATIVE
        other = path.with_name("other.mp4")
        other.hardlink_to(path)
        trash.delete(root, self.RELATIVE, trash.fingerprint_of(path.lstat()))
        assert names_in(path.parent) == ["other.mp4"]

    def test_a_name_of_255_bytes_fits_numbered(self, root: Path) -> None:
        name = "x" * 251 + ".mp4"
        for _ in range(2):
            (root / name).write_text("x")
            seen = trash.fingerprint_of((root / name).lstat())
            place = trash.move(root, name, seen, trash_root=root / ".deleted", trash_relative=f"input/{name}")
        assert place == "input/" + "x" * 249 + "~2.mp4"

    def test_empty_date_folders_go_up_to_the_first_that_is_not(self, root: Path) -> None:
        (root / self.RELATIVE).unlink()
        (root / "2024" / "04").mkdir()
        assert trash.remove_empty_folders(root, "2024/05/03") == ("2024/05/03", "2024/05")
        assert names_in(root / "2024") == ["04"]
        assert trash.remove_empty_folders(root, "2024/04", stop_at="2024") == ("2024/04",)
        assert trash.remove_empty_folders(root, "2024") == ("2024",)
        assert root.exists()

    @pytest.mark.parametrize(
        "folder", ["front", "front/12", "2024/13", "2024/05/32", "05/03", "", "20240503"]
    )
    def test_other_folders_stay(self, tmp_path: Path, folder: str) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        assert trash.remove_empty_folders(tmp_path, folder) == ()
        assert (tmp_path / folder).is_dir()

    def test_a_cameras_date_folders_go_and_the_camera_stays(self, tmp_path: Path) -> None:
        (tmp_path / "front" / "2024" / "05" / "03").mkdir(parents=True)
        gone = trash.remove_empty_folders(tmp_path, "front/2024/05/03")
        assert gone == ("front/2024/05/03", "front/2024/05", "front/2024")
        assert names_in(tmp_path / "front") == []


OddFfmpeg = Callable[[str], Path]

SLOW = '    exec "$REAL" -readrate 0.01 "$@"'
"""The real ffmpeg, busy for more than a minute with one second of video."""

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root may mount and set attributes")


def staged(camera: Camera) -> list[Path]:
    """Unfinished archives that hold something or are about to."""
    return list(camera.archive_root.rglob(".REO*.staged*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 3 MiB."""
    yield from mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=3M", "tmpfs")


@dataclass
class Watched:
    """A watcher over a real tree whose jobs archive nothing: they note the clip and remove it."""

    root: Path
    pipeline: Pipeline
    signals: Signals
    answer: Callable[[Archive | Remove], Outcome | None]
    poll_seconds: float = 0.2
    quiet_seconds: float = 0.3
    jobs: int = 2
    seen: list[str] = field(default_factory=list)
    told: list[Outcome] = field(default_factory=list)
    thread: threading.Thread | None = None
    trouble: BaseException | None = None
    watcher: Watcher | None = None

    def start(self) -> Watched:
        volume.mark(self.pipeline.trees)
        policy = ArchivePolicy(timedelta(0), quiet=timedelta(seconds=self.quiet_seconds))
        self.watcher = Watcher(
            self.pipeline,
            policy,
            self.signals,
            service.Service({}),
            poll_seconds=self.poll_seconds,
            tell=self.told.append,
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        wait_until(lambda: (self.watcher and self.watcher._next_scan) or self.trouble, "the first scan")
        return self

    def _run(self) -> None:
        assert self.watcher is not None
        try:
            self.watcher.run(Workshop(self.jobs, self._perform))
        except BaseException as error:
            self.trouble = error

    def _perform(self, step: Archive | Remove, share: int) -> Outcome:
        self.seen.append(step.relative)
        if (outcome := self.answer(step)) is not None:
            return outcome
        try:
            step.path.unlink()
        except FileNotFoundError:
            return Outcome(step, Result.STALE, Reason.STALE)
        return Outcome(step, Result.DONE, step.reason)

    def end(self) -> None:
        self.signals.stop.event.set()
        self.signals.wake.ring()
        if self.thread is not None:
            self.thread.join(30)
            assert not self.thread.is_alive()
        assert self.trouble is None, self.trouble

    def move_in(self, relative: str, *, mtime: float | None = None) -> Path:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}")
        hidden.write_bytes(b"x")
        if mtime is not None:
            os.utime(hidden, (mtime, mtime))
        return hidden.rename(path)


def clip_name(second: int, camera: str = "front") -> str:
    return f"REO_{camera}_20240105{second // 3600:02}{second // 60 % 60:02}{second % 60:02}.mp4"


class TestWatcher:
    @pytest.fixture
    def watched(self, tmp_path: Path) -> Iterator[Watched]:
        root = tmp_path / "camera"
        (root / "front").mkdir(parents=True)
        pipeline = Pipeline(Trees(root, tmp_path / "archive", tmp_path / "trash"), UTC, "watch")
        signals = Signals(Stop(), threading.Event(), Wake())
        made = Watched(root, pipeline, signals, lambda step: None)
        yield made
        made.end()
        signals.wake.close()

    def test_what_stood_there_and_what_is_renamed_in_is_taken(self, watched: Watched) -> None:
        old = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        watched.quiet_seconds = 600
        watched.start()
        new = watched.move_in(f"front/{clip_name(2)}")
        wait_until(lambda: not old.exists() and not new.exists(), "both clips")
        assert watched.seen == [f"front/{clip_name(1)}", f"front/{clip_name(2)}"]

    def test_a_pausing_upload_is_taken_once_it_has_been_quiet(self, watched: Watched) -> None:
        watched.quiet_seconds = 1.5
        watched.start()
        path = watched.root / "front" / clip_name(1)
        for _ in range(4):
            with path.open("ab") as upload:
                upload.write(b"x")
            time.sleep(0.7)
            assert watched.seen == []
        last = time.time()
        wait_until(lambda: not path.exists(), "the clip")
        assert time.time() - last > 0.5
        assert len(watched.seen) == 1

    def test_an_open_writer_keeps_it_waiting(self, watched: Watched) -> None:
        watched.start()
        path = watched.root / "front" / clip_name(1)
        with path.open("wb") as upload:
            upload.write(b"x")
            upload.flush()
            wait_until(lambda: watched.watcher and len(watched.watcher.agenda), "the look")
            time.sleep(1.0)
            assert watched.seen == []
        wait_until(lambda: not path.exists(), "the clip")

    def test_a_clip_that_fails_for_its_storages_sake_is_not_tried_in_a_loop(self, watched: Watched) -> None:
        watched.answer = lambda step: Outcome(step, Result.FAILED, Reason.FAILED, "I/O error")
        watched.start()
        path = watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: watched.told, "the failure")
        time.sleep(1.0)
        assert path.exists() and len(watched.seen) == 1

    def test_nothing_is_begun_for_a_while_where_there_is_no_room(self, watched: Watched) -> None:
        watched.jobs = 1
        watched.answer = lambda step: Outcome(step, Result.FAILED, Reason.NO_SPACE, "full")
        watched.start()
        for number in range(5):
            watched.move_in(f"front/{clip_name(number)}")
        wait_until(lambda: watched.told, "the failure")
        time.sleep(1.0)
        assert len(watched.seen) == 1

    def test_a_busy_clip_is_left_to_its_worker(self, watched: Watched) -> None:
        watched.start()
        with locking.clip_lock(watched.root / "front" / clip_name(1)):
            watched.move_in(f"front/{clip_name(1)}")
            free = watched.move_in(f"front/{clip_name(2)}")
            wait_until(lambda: not free.exists(), "the clip that is free")
        assert watched.seen == [f"front/{clip_name(2)}"]

    def test_two_names_of_one_file_are_not_worked_on_at_once(self, watched: Watched) -> None:
        running, most = [], []

        def slow(step: Archive | Remove) -> None:
            running.append(step)
            most.append(len(running))
            time.sleep(0.3)
            running.pop()

        watched.answer = slow
        first = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        os.link(first, watched.root / "front" / clip_name(2))
        watched.start()
        wait_until(lambda: len(watched.told) == 2, "both names")
        assert most == [1, 1]

    def test_a_removed_root_is_waited_for(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watcher.AWAY_SECONDS", 0.2)
        watched.start()
        watched.root.rename(watched.root.with_name("elsewhere"))
        wait_until(lambda: "waiting until it is back" in caplog.text, "the warning")
        watched.root.mkdir()
        time.sleep(0.6)
        assert "is back" not in caplog.text.replace("waiting until it is back", "")
        watched.root.rmdir()
        watched.root.with_name("elsewhere").rename(watched.root)
        wait_until(lambda: f"{watched.root} is back" in caplog.text, "the return")
        path = watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: not path.exists(), "the clip")

    def test_an_unmounted_disk_is_waited_for(
        self, tmp_path: Path, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watcher.AWAY_SECONDS", 0.2)
        store = tmp_path / "store"
        store.mkdir()
        for place in mounted(watched.root, "--bind", str(store)):
            (place / "front").mkdir()
            watched.start()
            subprocess.run(["umount", "-l", str(place)], check=True)
            wait_until(lambda: "waiting until it is back" in caplog.text, "the warning")
            wrong = watched.move_in(f"front/{clip_name(1)}")
            time.sleep(0.6)
            assert wrong.exists()
            subprocess.run(["mount", "--bind", str(store), str(place)], check=True)
            wait_until(lambda: f"{watched.root} is back" in caplog.text, "the return")
            watched.move_in(f"front/{clip_name(2)}")
            wait_until(lambda: watched.told, "the clip")
        assert watched.seen == [f"front/{clip_name(2)}"]

    def test_a_filesystem_that_tells_nothing_is_polled_and_that_is_said_once(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(mounts.Mount, "tells", False)
        watched.start()
        for number in range(3):
            path = watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
            wait_until(lambda path=path: not path.exists(), "the clip")
        assert caplog.text.count("does not tell of every change: scanning every 0.2 s instead") == 1

    def test_what_is_left_alone_is_not_looked_at_in_every_poll(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(mounts.Mount, "tells", False)
        look = mocker.spy(Pipeline, "look")
        (watched.root / "front/no time.mp4").touch()
        watched.poll_seconds = 0.1
        watched.start()
        wait_until(lambda: look.call_count, "the look")
        time.sleep(1.0)
        assert look.call_count == 1
        path = watched.move_in(f"front/{clip_name(1)}", mtime=RECORDED)
        wait_until(lambda: not path.exists(), "the clip")

    def test_a_reload_ends_it_when_its_jobs_are_done_and_hands_over_what_waits(
        self, watched: Watched
    ) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(step: Archive | Remove) -> None:
            begun.set()
            go.wait(20)

        watched.answer, watched.jobs = slow, 1
        for number in (1, 3, 4):
            watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
        watched.start()
        begun.wait(20)
        watched.signals.reload.set()
        watched.signals.wake.ring()
        late = watched.move_in(f"front/{clip_name(2)}")
        assert watched.watcher is not None and watched.thread is not None
        agenda = watched.watcher.agenda
        wait_until(lambda: len(agenda), "the late clip's arrival")
        go.set()
        watched.thread.join(20)
        left = {due.path[-10:]: due.finished for due in agenda.take(1e12, 9)}
        assert late.exists() and left == {"000002.mp4": True, "000003.mp4": False, "000004.mp4": False}

    def test_an_archive_whose_disk_went_away_is_waited_for(
        self, tmp_path: Path, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watcher.AWAY_SECONDS", 0.2)
        store = tmp_path / "store"
        store.mkdir()
        for place in mounted(tmp_path / "archive", "--bind", str(store)):
            watched.start()
            subprocess.run(["umount", "-l", str(place)], check=True)
            path = watched.move_in(f"front/{clip_name(1)}")
            wait_until(lambda: "is not what it was when the run began" in caplog.text, "the warning")
            time.sleep(0.5)
            assert path.exists() and not any((tmp_path / "archive").iterdir())
            subprocess.run(["mount", "--bind", str(store), str(place)], check=True)
            wait_until(lambda: watched.told, "the clip")
        assert watched.seen == [f"front/{clip_name(1)}"]

    def test_a_date_folder_that_its_clips_have_left_goes_once_nobody_fills_it(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watcher.RESCAN_SECONDS", 0.2)
        today = dates.folder_of(dates.now())
        folders = [watched.root / day for day in ("2024/01/04", "2024/01/05", "2024/01/06", today)]
        for folder in folders:
            folder.mkdir(parents=True)
        watched.start()
        for folder in folders[1:]:
            watched.move_in(str(folder.relative_to(watched.root) / clip_name(1)), mtime=RECORDED)
        wait_until(lambda: len(watched.told) == 3, "the clips")
        for folder in (folders[0], folders[1], folders[3]):
            os.utime(folder, (RECORDED, RECORDED))
        wait_until(lambda: not folders[1].exists(), "the folder's end")
        time.sleep(0.5)
        assert [folder.exists() for folder in folders] == [True, False, True, True]

    def test_a_name_that_is_used_again_while_its_clip_is_worked_on_is_not_forgotten(
        self, watched: Watched, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.quiet.AT_LEAST", timedelta(seconds=0.3))
        begun, go = threading.Event(), threading.Event()

        def slow(step: Archive | Remove) -> None:
            begun.set()
            go.wait(20)

        watched.answer = slow
        watched.start()
        path = watched.move_in(f"front/{clip_name(1)}")
        begun.wait(20)
        path.unlink()
        watched.move_in(f"front/{clip_name(1)}")
        time.sleep(0.5)
        watched.answer = lambda step: None
        go.set()
        wait_until(lambda: watched.told, "the first")
        watched.move_in(f"front/{clip_name(1)}")
        wait_until(lambda: not path.exists() and len(watched.told) > 1, "the last")

    def test_thousands_of_clips_in_a_rush_are_all_taken(self, watched: Watched) -> None:
        """2,000 folders and 2,000 clips, or with CAMARCHIVER_FULL the 20,000 and 10,000 in a minute."""
        folders, clips = (20_000, 10_000) if os.environ.get("CAMARCHIVER_FULL") else (2_000, 2_000)
        for number in range(folders):
            (watched.root / f"cam{number // 1000}/{number % 1000:03}").mkdir(parents=True)
        watched.start()
        made = {f"cam{each % folders // 1000}/{each % 1000:03}/{clip_name(each)}" for each in range(clips)}
        begun = time.monotonic()
        for number, relative in enumerate(sorted(made)):
            watched.move_in(relative)
            if folders == 20_000 and (early := begun + number * 60 / clips - time.monotonic()) > 0:
                time.sleep(early)
        wait_until(lambda: len(watched.told) == clips, "the last clip", 120)
        assert set(watched.seen) == made and len(watched.seen) == clips
        watcher = watched.watcher
        assert watcher is not None and not (watcher.agenda._heap or watcher._taken or watcher._queue)
        assert {outcome.result for outcome in watched.told} == {Result.DONE}

    def test_a_flood_that_overruns_the_kernels_queue_loses_nothing(
        self, watched: Watched, caplog: pytest.LogCaptureFixture, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.watcher.OVERFLOW_SECONDS", 0.1)
        queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if queue > 50_000:
            pytest.skip(f"the queue here holds {queue} events")
        gate = threading.Event()
        scan = Arrivals.read

        def held(arrivals: Arrivals) -> Iterator[Arrival]:
            gate.wait(60)
            yield from scan(arrivals)

        watched.start()
        mocker.patch.object(Arrivals, "read", held)
        clips = 200
        for number in range(clips):
            watched.move_in(f"front/{clip_name(number)}", mtime=RECORDED)
            for each in range(queue // clips):
                (watched.root / f"front/{each}.tmp").touch()
                (watched.root / f"front/{each}.tmp").unlink()
        last = watched.move_in(f"front/{clip_name(clips)}", mtime=RECORDED)
        gate.set()
        wait_until(lambda: not last.exists() and len(watched.told) == clips + 1, "the last clip", 60)
        assert "the kernel dropped events" in caplog.text


class Gate:
    """An ffmpeg that waits, before it begins or after it is done, until it is let through."""

    def __init__(self, place: Path) -> None:
        self.waiting, self.open = place / "waiting", place / "open"

    def script(self, *, after: bool) -> str:
        wait = f'    touch "{self.waiting}"; while [ ! -e "{self.open}" ]; do sleep 0.02; done'
        return f'    "$REAL" "$@"; status=$?\n{wait}\n    exit $status' if after else wait

    def change(self, deed: Callable[[], object]) -> None:
        wait_until(self.waiting.exists, "the encoding")
        deed()
        self.open.touch()


def grow(clip: Path) -> None:
    with clip.open("ab") as stream:
        stream.write(b"more")


def swap_in(clip: Path) -> None:
    """Another file of the same size and time: only its inode tells."""
    other = clip.with_suffix(".new-upload")
    other.write_bytes(clip.read_bytes()[:-4] + b"othr")
    os.utime(other, ns=(clip.stat().st_mtime_ns,) * 2)
    other.replace(clip)


def truncate(clip: Path) -> None:
    os.truncate(clip, clip.stat().st_size // 2)


class Obstacles:
    """Files that can't leave their folder: as root by attributes and mounts, else by owners and modes."""

    OTHER_USER = 65534

    def __init__(self, root: Path, elsewhere: Path) -> None:
        self.root = root
        self.elsewhere = elsewhere
        """On another filesystem."""
        self._undo: list[list[str]] = []

    def put(self, name: str = "x.mp4") -> Path:
        """A clip in a folder that everybody may enter."""
        path = self.root / "day" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"footage" * 1000)
        return path

    def freeze(self, path: Path, option: str = "i") -> None:
        """Set an attribute until the end of the test, or `thaw`."""
        done = subprocess.run(["chattr", f"+{option}", path], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no attributes can be set here: {done.stderr.strip()}")
        self._undo.append(["chattr", f"-{option}", str(path)])

    def thaw(self) -> None:
        """Take away every attribute and mount."""
        while self._undo:
            subprocess.run(self._undo.pop(), check=True)

    def make(self, kind: str) -> tuple[Path, int]:
        """A clip with an obstacle of this kind, and the user who meets it."""
        clip = self.put()
        match kind:
            case "immutable file":
                self.freeze(clip)
            case "append-only folder":
                self.freeze(clip.parent, "a")
            case "immutable folder":
                self.freeze(clip.parent)
            case "read-only mount":
                subprocess.run(["mount", "--bind", self.root, self.root], check=True)
                self._undo.append(["umount", "-l", str(self.root)])
                subprocess.run(["mount", "-o", "remount,ro,bind", self.root], check=True)
            case "sticky folder":
                os.chown(clip, 1000, 1000)
                clip.parent.chmod(0o1777)
                return clip, self.OTHER_USER
            case "folder without permission":
                clip.parent.chmod(0o755)
                return clip, self.OTHER_USER
        return clip, 0

    def remains(self) -> list[str]:
        """Every file on the other filesystem."""
        return sorted(path.name for path in self.elsewhere.rglob("*") if path.is_file())


OBSTACLES = {
    "immutable file": "chattr -i {clip}",
    "append-only folder": "chattr -a {folder}",
    "immutable folder": "chattr -i {folder}",
    "read-only mount": "mount it writable: findmnt -T {folder}",
    "sticky folder": "chmod -t {folder}, or run as user 1000",
    "folder without permission": "give user 65534 the right to write {folder}, or run as user 0",
}
"""What keeps a file where it is, and the remedy that is named."""


def as_user(user: int, act: Callable[[], object]) -> str:
    """Act in a child process of this user; what it raised, in words, and empty if nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        words = "the child ended"
        try:
            if user:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            act()
            words = ""
        except Exception as error:
            words = f"{type(error).__name__}: {sentence(error)}"
        finally:
            os.write(writer, words.encode())
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


@needs_root
class TestFilesThatCannotLeave:
    """A failed removal leaves things as they were, whoever removes."""

    @pytest.fixture
    def obstacles(self, other_disk: Path) -> Iterator[Obstacles]:
        with tempfile.TemporaryDirectory() as folder:
            for each in (Path(folder), other_disk):
                each.chmod(0o777)
            obstacles = Obstacles(Path(folder), other_disk)
            yield obstacles
            obstacles.thaw()

    def move(self, obstacles: Obstacles, clip: Path) -> None:
        seen = trash.fingerprint_of(clip.lstat())
        relative = clip.relative_to(obstacles.root).as_posix()
        trash.move(
            obstacles.root, relative, seen, trash_root=obstacles.elsewhere, trash_relative=f"input/{relative}"
        )

    @pytest.mark.parametrize("kind", OBSTACLES)
    def test_the_folder_and_the_remedy_are_named_and_nothing_is_copied(
        self, obstacles: Obstacles, mocker: MockerFixture, kind: str
    ) -> None:
        clip, user = obstacles.make(kind)
        mocker.patch.object(atomic, "copy_into", side_effect=AssertionError("copied in vain"))
        remedy = OBSTACLES[kind].format(clip=clip, folder=clip.parent)
        for act in (
            lambda: self.move(obstacles, clip),
            lambda: trash.delete(obstacles.root, "day/x.mp4", trash.fingerprint_of(clip.lstat())),
        ):
            words = as_user(user, act)
            assert words.startswith("NotRemovable: x.mp4 can't be removed: ")
            assert words.endswith(f"; {remedy}")
        assert clip.read_bytes() == b"footage" * 1000
        assert list(obstacles.elsewhere.iterdir()) == []

    @pytest.mark.parametrize("kind", OBSTACLES)
    def test_where_nothing_foretells_it_the_copy_is_taken_back(
        self, obstacles: Obstacles, mocker: MockerFixture, kind: str
    ) -> None:
        """As on a file server, whose rules no client sees."""
        clip, user = obstacles.make(kind)
        mocker.patch.object(permissions, "obstacle", return_value=None)
        for _ in range(2):
            words = as_user(user, lambda: self.move(obstacles, clip))
            assert words.startswith(f"NotRemovable: x.mp4 can't be removed: {clip.parent}: ")
            assert clip.read_bytes() == b"footage" * 1000
            assert obstacles.remains() == []
        obstacles.thaw()
        assert as_user(0, lambda: self.move(obstacles, clip)) == ""
        assert obstacles.remains() == ["x.mp4"]

    def test_whoever_may_remove_is_not_refused(self, obstacles: Obstacles) -> None:
        """The owner of a file in a folder with the sticky bit, the owner of the folder, and root."""
        for user in (1000, 2000, 0):
            clip, _ = obstacles.make("sticky folder")
            os.chown(clip.parent, 2000, 2000)
            seen = trash.fingerprint_of(clip.lstat())
            assert as_user(user, partial(trash.delete, obstacles.root, "day/x.mp4", seen)) == ""
            assert not clip.exists()

    def test_a_second_name_in_the_trash_is_taken_back_too(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """A network mount that can't rename without replacing gets a link first."""
        clip = obstacles.put()
        link = os.link

        def link_and_freeze(*arguments: Any, **options: Any) -> None:
            link(*arguments, **options)
            obstacles.freeze(clip.parent, "a")

        mocker.patch.object(kernel, "rename_noreplace", side_effect=OSError(errno.EINVAL, "x"))
        mocker.patch.object(os, "link", side_effect=link_and_freeze)
        seen, place = trash.fingerprint_of(clip.lstat()), obstacles.root / "trash"
        with pytest.raises(NotRemovable):
            trash.move(obstacles.root, "day/x.mp4", seen, trash_root=place, trash_relative="y.mp4")
        assert clip.exists() and names_in(place) == []

    def test_a_copy_that_cannot_be_taken_back_is_told_and_nothing_is_lost(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        clip, _ = obstacles.make("immutable file")
        mocker.patch.object(permissions, "obstacle", return_value=None)
        publish = atomic.publish

        def publish_and_freeze(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            obstacles.freeze(target.parent.resolve())

        mocker.patch.object(atomic, "publish", side_effect=publish_and_freeze)
        with pytest.raises(NotRemovable) as caught:
            self.move(obstacles, clip)
        copy = obstacles.elsewhere / "input/day/x.mp4"
        assert (caught.value.copy, str(copy) in caught.value.message) == (str(copy), True)
        assert copy.read_bytes() == clip.read_bytes() == b"footage" * 1000

    def test_a_copy_that_somebody_took_back_meanwhile_keeps_the_original(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """A run that slept for long may find that another one took it for dead and swept."""
        clip, publish = obstacles.put(), atomic.publish

        def publish_and_lose(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            target.unlink()

        mocker.patch.object(atomic, "publish", side_effect=publish_and_lose)
        with pytest.raises(trash.Stale, match="did not stay"):
            self.move(obstacles, clip)
        assert clip.exists()

    def test_a_trash_that_rounds_times_gets_and_gives_back_all_the_same(
        self, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        """FAT keeps even seconds; a file server may keep fewer digits than its client has just written."""
        publish = atomic.publish

        def publish_and_round(part: atomic.Staged, target: Path) -> None:
            publish(part, target)
            os.utime(target, ns=(0, target.stat().st_mtime_ns // 2_000_000_000 * 2_000_000_000))

        mocker.patch.object(atomic, "publish", side_effect=publish_and_round)
        mocker.patch.object(permissions, "obstacle", return_value=None)
        clip = obstacles.put()
        self.move(obstacles, clip)
        assert (clip.exists(), obstacles.remains()) == (False, ["x.mp4"])
        clip, _ = obstacles.make("immutable file")
        with pytest.raises(NotRemovable):
            self.move(obstacles, clip)
        assert (clip.exists(), obstacles.remains()) == (True, ["x.mp4"])

    @pytest.mark.parametrize("blind", [False, True], ids=["foretold", "by trying"])
    def test_a_clip_stays_in_the_spool_and_no_copy_in_the_outbox(
        self, obstacles: Obstacles, mocker: MockerFixture, rec_twice: Path, blind: bool
    ) -> None:
        path = obstacles.root / "motion_20260503_142005.0123.mp4"
        shutil.copyfile(rec_twice, path)
        obstacles.freeze(path)
        if blind:
            mocker.patch.object(permissions, "obstacle", return_value=None)
        for _ in range(2):
            with pytest.raises(NotRemovable, match="can't be removed"):
                spool.publish(path, "motion_20260503_142005", 24.0, obstacles.elsewhere, b"picture")
            assert obstacles.remains() == []
        obstacles.thaw()
        mocker.stopall()
        assert spool.salvage(path, obstacles.elsewhere) is not None
        assert not path.exists()

    def test_a_clip_of_the_outbox_keeps_its_picture(self, obstacles: Obstacles) -> None:
        clip, picture = (
            obstacles.put("motion_20260503_142005_20.0s.mp4"),
            obstacles.put("motion_20260503_142005_20.0s.jpg"),
        )
        obstacles.freeze(clip)
        (found,) = outbox.waiting(obstacles.root, "day", UTC)
        step = Discard(
            found.clip, Tree.OUTBOX, Disposal.DELETE, Reason.KEEP_DAYS, found.clip.relative, (0, 0), None
        )
        outcome = outbox.remove(step)
        assert (outcome.result, f"chattr -i {clip}" in outcome.detail) == (Result.FAILED, True)
        assert clip.exists() and picture.exists()

    # --- archive -------------------------------------------------------------------------------------

    BLIND = "from camarchiver import permissions\npermissions.obstacle = lambda *a: None"

    @pytest.mark.parametrize("patch", ["", BLIND], ids=["foretold", "by trying"])
    def test_no_run_of_archive_leaves_a_copy_in_the_trash(
        self, camera: Camera, obstacles: Obstacles, patch: str
    ) -> None:
        clip = camera.add()
        obstacles.freeze(clip)
        trash_root = ("--trash-root", str(obstacles.elsewhere))
        first = camera.archive(*trash_root, "--json", patch=patch)
        assert first.code == 3, first.errors
        (outcome,) = first.document()["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("failed", "kept-source")
        assert f"{clip.name} can't be removed: " in outcome["detail"]
        (left,) = camera.events("left")
        assert left["reason"] == "kept-source" and "can't be removed" in left["detail"]
        quiet = camera.archive(*trash_root, "--json", "--dry-run", patch=patch)
        (step,) = quiet.document()["steps"]
        assert (step["reason"], step["detail"].count("next try")) == ("failed-before", 1)
        assert camera.archive(*trash_root, "--retry-failed", patch=patch).code == 1
        assert obstacles.remains() == [] == camera.litter()
        obstacles.thaw()
        assert camera.archive(*trash_root, "--retry-failed").code == 0
        assert obstacles.remains() == [clip.name]
        assert not clip.exists() and len(camera.archives()) == 1

    @pytest.mark.edge
    def test_a_kill_before_the_copy_was_taken_back_is_mended_by_the_next_run(
        self, camera: Camera, obstacles: Obstacles
    ) -> None:
        clip = camera.add()
        obstacles.freeze(clip)
        trash_root = ("--trash-root", str(obstacles.elsewhere))
        dying = (
            f"{self.BLIND}\nimport os\nfrom camarchiver import trash\n"
            "trash._taken_back = lambda *a: os.kill(os.getpid(), 9)"
        )
        for _ in range(2):
            assert camera.archive(*trash_root, patch=dying).code == -9
            assert obstacles.remains() == [clip.name]
        assert camera.archive(*trash_root).code == 1
        assert obstacles.remains() == [] and len(camera.events("swept")) == 2
        obstacles.thaw()
        assert camera.archive(*trash_root, "--retry-failed").code == 0
        assert obstacles.remains() == [clip.name]

    def test_a_picture_that_cannot_follow_is_not_copied_again_and_again(
        self, camera: Camera, obstacles: Obstacles
    ) -> None:
        clip = camera.add()
        picture = clip.with_suffix(".jpg")
        picture.write_bytes(b"a picture")
        other = clip.with_suffix(".jpeg")
        obstacles.freeze(picture)
        options = ("--trash-root", str(obstacles.elsewhere), "--sidecar", "trash")
        first = camera.archive(*options, patch=self.BLIND)
        assert (first.code, "could not follow" in first.out + first.errors) == (3, True)
        for _ in range(2):
            camera.archive(*options, patch=self.BLIND)
            assert obstacles.remains() == [clip.name]
        assert len(camera.events("trashed")) == 1 and not other.exists()
        obstacles.thaw()
        assert camera.archive(*options).code == 0
        assert obstacles.remains() == [picture.name, clip.name]
        assert [event.get("sidecars") for event in camera.events("trashed")] == [
            None,
            {picture.name: str(next(obstacles.elsewhere.rglob("*.jpg")))},
        ]

    # --- cleanup and restore -------------------------------------------------------------------------

    @pytest.fixture
    def yard(self, obstacles: Obstacles) -> Yard:
        return Yard(obstacles.root / "yard", trash_root=obstacles.elsewhere / "trash")

    @pytest.mark.parametrize("blind", [False, True], ids=["foretold", "by trying"])
    def test_no_run_of_cleanup_leaves_a_copy_in_the_trash(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture, blind: bool
    ) -> None:
        source = yard.standing(40)
        yard.record(1)
        steps = yard.plan(clean_output=True, allow_large=True).steps
        assert {step.tree for step in steps} == {Tree.SOURCE, Tree.ARCHIVE}
        for step in steps:
            obstacles.freeze(step.path)
        if blind:
            mocker.patch.object(permissions, "obstacle", return_value=None)
        before = yard.files()
        for failed in (2, 1):
            report = yard.carry_out(yard.plan(clean_output=True, allow_large=True))
            assert [each.result for each in report.outcomes] == [Result.FAILED] * failed
            assert all("can't be removed" in each.detail for each in report.outcomes)
            assert yard.files() == before
        assert len(yard.events("left")) == 3
        (waiting,) = [kept for kept in yard.plan().left if kept.reason is Reason.FAILED_BEFORE]
        assert waiting.path == yard.trees.source / source.relative and "next try" in waiting.detail
        obstacles.thaw()
        later = yard.now + timedelta(hours=2)
        assert yard.carry_out(yard.plan(later, clean_output=True, allow_large=True)).exit_code == 0
        assert len(obstacles.remains()) == 2

    @pytest.mark.edge
    @pytest.mark.parametrize("kills", [True, False], ids=["killed", "not taken back"])
    def test_a_copy_that_a_cleanup_left_is_taken_back_by_the_next_start(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture, kills: bool
    ) -> None:
        source = yard.standing(40)
        yard.record(1)
        obstacles.freeze(source.path)
        before = yard.files()
        mocker.patch.object(permissions, "obstacle", return_value=None)

        def fail(problem: NotRemovable, *_: object) -> NotRemovable:
            if kills:
                os.kill(os.getpid(), signal.SIGKILL)
            return NotRemovable(problem.message, copy="there")

        mocker.patch.object(trash, "_taken_back", side_effect=fail)
        as_user(0, lambda: yard.carry_out(yard.plan()))
        assert obstacles.remains() == [source.name]
        yard.pipeline().sweep(SidecarPolicy.TRASH)
        assert yard.files() == before
        (left,) = yard.events("left")
        assert "its copy" in left["detail"]

    def test_a_clip_that_cannot_leave_the_trash_is_not_restored_by_half(
        self, yard: Yard, obstacles: Obstacles, mocker: MockerFixture
    ) -> None:
        trashed = yard.given_away(40, trashed=2)
        obstacles.freeze(trashed)
        before = yard.files()
        mocker.patch.object(permissions, "obstacle", return_value=None)
        pipeline = yard.pipeline()
        for _ in range(2):
            report = pipeline.restore(pipeline.plan_restore(Selection()))
            assert [each.result for each in report.outcomes] == [Result.FAILED]
            assert "can't be removed" in report.outcomes[0].detail
            assert yard.files() == before
        obstacles.thaw()
        report = pipeline.restore(pipeline.plan_restore(Selection()))
        assert [each.result for each in report.outcomes] == [Result.DONE]


class TestArchiveUnderFaults:
    """Whatever happens: no footage is lost or half-written, and a later run finishes the job."""

    # --- the clip changes --------------------------------------------------------------------------

    @pytest.mark.edge
    @pytest.mark.parametrize("after", [False, True], ids=["before-encoding", "after-encoding"])
    @pytest.mark.parametrize("change", [grow, swap_in, truncate, Path.unlink])
    def test_a_clip_that_changes_during_the_run_is_left_as_it_is(
        self,
        camera: Camera,
        odd_ffmpeg: OddFfmpeg,
        tmp_path: Path,
        change: Callable[[Path], None],
        after: bool,
    ) -> None:
        clip, gate = camera.add(), Gate(tmp_path)
        run = camera.start("--json", ffmpeg=odd_ffmpeg(gate.script(after=after)))
        gate.change(lambda: change(clip))
        changed = clip.read_bytes() if clip.exists() else None
        document = run.end().document()
        assert [outcome["result"] for outcome in document["outcomes"]] == ["stale"]
        assert (clip.read_bytes() if clip.exists() else None) == changed
        assert camera.archives() == camera.trashed() == []
        assert camera.events("failed") == [] == camera.litter()

    @pytest.mark.edge
    def test_a_clip_that_somebody_still_writes_is_not_touched(self, camera: Camera) -> None:
        clip = camera.add()
        with clip.open("ab"):
            run = camera.archive("--json")
        assert [outcome["reason"] for outcome in run.document()["outcomes"]] == ["being-written"]
        assert camera.sources() == [clip] and camera.archives() == []

    # --- signals -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_stops_cleanly(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, number: signal.Signals
    ) -> None:
        camera.add("front")
        camera.add("garden")
        run = camera.start(ffmpeg=odd_ffmpeg(SLOW), host="one")
        wait_until(
            lambda: len(staged(camera)) and processes_with(f"file:{camera.archive_root}/"), "the encoding"
        )
        run.process.send_signal(number)
        began = time.monotonic()
        run.end(20)
        assert run.code == 128 + number
        assert time.monotonic() - began < 10
        assert "stopped" in run.out
        assert len(camera.sources()) == 2 and camera.archives() == []
        assert camera.litter() == []
        assert processes_with(str(camera.root)) == []
        assert camera.archive(host="one").code == 0
        camera.assert_finished()

    @pytest.mark.edge
    def test_a_second_signal_corrupts_nothing(self, camera: Camera, odd_ffmpeg: OddFfmpeg) -> None:
        """ffmpeg does not heed TERM, so that the stop takes its five seconds and is hit again."""
        camera.add()
        stubborn = '    trap "" TERM INT HUP; for _ in $(seq 600); do sleep 0.1; done'
        run = camera.start(ffmpeg=odd_ffmpeg(stubborn))
        wait_until(lambda: processes_with(f"file:{camera.archive_root}/"), "the encoding")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            run.process.send_signal(number)
            time.sleep(0.2)
        run.end(20)
        assert run.code == 128 + signal.SIGTERM
        assert camera.litter() == [] and processes_with(str(camera.root)) == []
        camera.assert_nothing_lost()
        assert camera.archive().code == 0
        camera.assert_finished()

    def test_a_killed_run_takes_ffmpeg_along_and_the_next_one_finishes(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg
    ) -> None:
        camera.add("front")
        camera.add("garden")
        run = camera.start(ffmpeg=odd_ffmpeg(SLOW))
        wait_until(
            lambda: len(staged(camera)) and processes_with(f"file:{camera.archive_root}/"), "the encoding"
        )
        run.process.kill()
        run.process.communicate()
        wait_until(lambda: not processes_with(str(camera.root)), "the end of ffmpeg")
        assert staged(camera), "a kill leaves the staged file"
        camera.assert_nothing_lost()
        assert camera.archive().code == 0
        camera.assert_finished()
        assert camera.events("swept")

    @pytest.mark.edge
    @pytest.mark.parametrize("number", [1, 2], ids=["clip", "picture"])
    def test_a_copy_to_another_disk_that_a_kill_ended_is_swept(
        self, camera: Camera, other_disk: Path, number: int
    ) -> None:
        clip = camera.add()
        clip.with_suffix(".jpg").write_bytes(b"a picture")
        camera.archive_root = other_disk / "archive"
        trash = ("--trash-root", str(other_disk / "trash"), "--sidecar", "trash")
        killed = camera.start(
            *trash,
            patch="import os\nfrom camarchiver import atomic\ncopies, copy = [], atomic.copy_into\n"
            "def die(*a):\n    copies.append(copy(*a))\n"
            f"    len(copies) == {number} and os.kill(os.getpid(), 9)\n"
            "atomic.copy_into = die",
        ).end()
        assert killed.code == -9 and list(other_disk.rglob("*.staged*"))
        assert camera.archive(*trash).code == 0
        assert not list(other_disk.rglob("*.staged*")) and camera.sources() == []
        assert {path.suffix for path in (other_disk / "trash/input").rglob("*.*")} == {".mp4", ".jpg"}

    def test_the_note_of_a_clip_survives_a_power_cut(self, tmp_path: Path, mocker: MockerFixture) -> None:
        """Nothing else tells the next start of a source that left and was not written down."""
        trees = Trees(tmp_path, tmp_path / "archived", tmp_path / ".deleted")
        synced: list[str] = []
        fsync = os.fsync

        def noting(descriptor: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
            fsync(descriptor)

        mocker.patch("os.fsync", noting)
        claim = claims.Claim("x.mp4", 1, 1, "2026-03-01T08:15:00+00:00", "x", (), "h", 1, "r")
        with claims.claimed(trees, claim, tmp_path / "x.mp4.lock") as note:
            (path,) = (trees.state / "claims").iterdir()
            made = [str(path.with_suffix(".new")), str(path.parent)]
            assert synced[-2:] == made
            note.staging(trees.archive / "part")
            assert synced[-2:] == made

    def test_a_second_start_on_the_same_host_says_so(self, camera: Camera, odd_ffmpeg: OddFfmpeg) -> None:
        camera.add()
        first = camera.start(ffmpeg=odd_ffmpeg("    sleep 1.5"))
        wait_until(lambda: staged(camera), "the encoding")
        second = camera.archive()
        assert second.code == 11
        assert "runs here already" in second.errors and f"pid {first.process.pid}" in second.errors
        assert first.end().code == 0
        camera.assert_finished()

    # --- two at once, and kills at a chosen place ----------------------------------------------------

    def test_two_hosts_at_once_archive_each_clip_once(self, camera: Camera) -> None:
        for number in range(8):
            camera.add("front", f"10{number:02}00")
        runs = [camera.start("--jobs", "2", host=host) for host in ("north", "south")]
        assert [run.end().code for run in runs] == [0, 0]
        camera.assert_finished()
        assert sorted(e["source"] for e in camera.events("archived")) == sorted(camera.originals)
        assert sorted(e["source"] for e in camera.events("trashed")) == sorted(camera.originals)

    @pytest.mark.edge
    def test_no_skip_killed_between_old_and_new_archive(self, camera: Camera) -> None:
        clip = camera.add()
        camera.archive("--keep-source")
        (old,) = camera.archives()
        content = old.read_bytes()
        killed = camera.start(
            "--no-skip",
            patch="import os\nfrom camarchiver import atomic\n"
            "atomic.publish = lambda *a: os.kill(os.getpid(), 9)",
        )
        killed.process.communicate()
        assert killed.code == -signal.SIGKILL
        assert camera.archives() == [], "the fault hit where it was meant to"
        assert clip.read_bytes() == camera.originals[f"{DAY}/{clip.name}"]
        assert [path.read_bytes() for path in camera.trashed("output")] == [content]
        assert camera.archive().code == 0
        camera.assert_finished()

    def test_no_skip_replaces_the_archive_and_keeps_the_old_one(self, camera: Camera) -> None:
        camera.add()
        camera.archive("--keep-source")
        content = camera.archives()[0].read_bytes()
        assert camera.archive("--no-skip", "--quality", "40").code == 0
        camera.assert_finished()
        assert camera.archives()[0].read_bytes() != content
        assert [path.read_bytes() for path in camera.trashed("output")] == [content]

    # --- disks -------------------------------------------------------------------------------------

    @needs_root
    def test_a_full_disk_is_seen_before_encoding(self, camera: Camera, small_disk: Path) -> None:
        clip = camera.add()
        camera.archive_root = small_disk
        (small_disk / "fill").write_bytes(bytes(3_060_000))
        run = camera.archive("--json")
        assert run.code == 13
        assert [outcome["reason"] for outcome in run.document()["outcomes"]] == ["no-space"]
        assert camera.sources() == [clip] and camera.archives() == [] == camera.litter()

    @needs_root
    @pytest.mark.parametrize("leave", [0, 4096])
    def test_a_disk_that_fills_up_during_the_run(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, small_disk: Path, leave: int
    ) -> None:
        """The source stays, it is no fault of the clip, and with space again the next run does it."""
        clip = camera.add()
        camera.archive_root = small_disk
        fill = (
            f'    cat /dev/zero > "{small_disk}/fill" 2>/dev/null; truncate -s -{leave} "{small_disk}/fill"'
        )
        run = camera.archive("--json", ffmpeg=odd_ffmpeg(fill))
        assert run.code in (3, 13)
        assert [outcome["reason"] for outcome in run.document()["outcomes"]] == ["no-space"]
        assert camera.sources() == [clip] and camera.archives() == []
        camera.assert_nothing_lost()
        (small_disk / "fill").unlink()
        assert camera.archive().code == 0
        camera.assert_finished()

    @needs_root
    def test_a_read_only_source_needs_keep_source(self, camera: Camera, tmp_path: Path) -> None:
        clip = camera.add()
        content = clip.read_bytes()
        behind, camera.archive_root = camera.root, tmp_path / "elsewhere"
        for place in mounted(tmp_path / "read-only", "--bind", str(behind)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
            camera.root = place
            refused = camera.archive()
            assert refused.code == 13 and "--keep-source" in refused.errors
            assert not camera.archive_root.exists()
            run = camera.archive("--keep-source")
            assert run.code == 0, run.errors
            assert [frames_of(path) for path in camera.archives()] == [FRAMES]
            assert camera.litter() == []
            again = camera.archive("--keep-source")
            assert (again.code, again.out) == (0, "")
        assert clip.read_bytes() == content
        assert [path.name for path in behind.iterdir()] == ["2024"]

    @needs_root
    def test_an_immutable_source_stays_and_is_reported(self, camera: Camera) -> None:
        clip = camera.add()
        programs.needs("chattr")
        done = subprocess.run(["chattr", "+i", str(clip)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no immutable files here: {done.stderr.strip()}")
        try:
            self.assert_undeletable(camera, clip)
        finally:
            subprocess.run(["chattr", "-i", str(clip)], check=True)
        assert camera.archive("--retry-failed").code == 0
        camera.assert_finished()

    @needs_root
    def test_a_source_that_is_a_mount_stays_and_is_reported(self, camera: Camera) -> None:
        clip = camera.add()
        subprocess.run(["mount", "--bind", str(clip), str(clip)], check=True)
        try:
            self.assert_undeletable(camera, clip)
        finally:
            subprocess.run(["umount", str(clip)], check=True)
        assert camera.archive("--retry-failed").code == 0
        camera.assert_finished()

    def assert_undeletable(self, camera: Camera, clip: Path) -> None:
        for options in ((), ("--retry-failed",)):
            run = camera.archive("--json", *options)
            assert run.code in (1, 3)
            outcomes = run.document()["outcomes"]
            assert [outcome["result"] for outcome in outcomes] == ["failed"]
            assert f"{clip.name} can't be removed: " in outcomes[0]["detail"]
            assert str(clip.parent) in outcomes[0]["detail"]
            camera.assert_nothing_lost()
            assert [frames_of(path) for path in camera.archives()] == [FRAMES]
            assert camera.sources() == [clip] and camera.litter() == []

    def test_a_power_cut_in_the_journal_leaves_a_torn_line(self, camera: Camera) -> None:
        """What was archived without a whole line in the journal is adopted, not encoded again."""
        camera.add()
        camera.archive("--keep-source")
        (journal,) = (camera.archive_root / ".camarchiver/journal").rglob("*.jsonl")
        journal.write_bytes(journal.read_bytes().splitlines()[0][:-40])
        run = camera.archive()
        assert run.code == 0
        events = [line for line in journal.read_bytes().splitlines() if b'"adopted"' in line]
        assert len(events) == 1 and len(camera.archives()) == 1
        assert camera.sources() == [] and camera.litter() == []

    # --- ffmpegs -----------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param('    head -c 20000 "${2:-/dev/zero}" > /dev/null; kill -SEGV $$', id="segfault"),
            pytest.param('    "$REAL" "$@"; kill -SEGV $$', id="segfault-after-a-whole-file"),
            pytest.param('    echo "Cannot allocate memory" >&2; exit 1', id="no-memory"),
        ],
    )
    def test_an_ffmpeg_that_fails_costs_no_footage(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, script: str
    ) -> None:
        clip = camera.add()
        run = camera.archive("--json", ffmpeg=odd_ffmpeg(script))
        assert run.code in (1, 3)
        assert [outcome["result"] for outcome in run.document()["outcomes"]] == ["failed"]
        assert camera.sources() == [clip] and camera.archives() == [] == camera.litter()
        assert [event["source"] for event in camera.events("failed")] == [f"{DAY}/{clip.name}"]
        waits = camera.archive("--json").document()
        assert waits["exit_code"] == 0 and camera.sources() == [clip], "it waits an hour"
        assert camera.archive("--retry-failed").code == 0
        camera.assert_finished()

    def test_an_ffmpeg_that_dies_each_time_leaves_a_lossless_copy_at_last(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg
    ) -> None:
        clip = camera.add()
        dies = odd_ffmpeg("    kill -SEGV $$")
        for _ in range(3):
            assert camera.archive("--retry-failed", ffmpeg=dies).code == 1
            assert camera.sources() == [clip] and camera.archives() == []
        done = camera.archive("--json", "--retry-failed", ffmpeg=dies).document()
        assert [each["unencoded"] for each in done["outcomes"]] == ["refused"]
        camera.assert_finished()

    @pytest.mark.parametrize(
        "script",
        [
            pytest.param('    exec "$REAL" "${@:1:$#-1}" -frames:v 7 "$last"', id="half-the-frames"),
            pytest.param('    head -c 20000 /dev/urandom > "${last#file:}"; exit 0', id="garbage"),
            pytest.param('    : > "${last#file:}"; exit 0', id="empty"),
            pytest.param('    rm "${last#file:}"; exit 0', id="nothing"),
            pytest.param('    "$REAL" "$@"; truncate -s -900 "${last#file:}"; exit 0', id="cut-off"),
            pytest.param("    yes complaint | head -c 3000000 >&2; exit 1", id="very-talkative"),
        ],
    )
    def test_what_no_encoder_does_becomes_a_lossless_copy(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, script: str
    ) -> None:
        content = camera.add().read_bytes()
        run = camera.archive("--json", ffmpeg=odd_ffmpeg(script))
        assert run.code == 0
        assert [outcome["unencoded"] for outcome in run.document()["outcomes"]] == ["refused"]
        assert [archive.read_bytes() for archive in camera.archives()] == [content]
        camera.assert_finished()

    @pytest.mark.parametrize(
        "place", ["Scribe.copying", "archiver.atomic.publish", "Scribe.archived", "Scribe.removed"]
    )
    def test_a_kill_around_the_publishing_of_a_copy_leaves_one_archive(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, place: str
    ) -> None:
        """A copy of the very bytes carries no tag, so the next run knows it by the journal."""
        content = camera.add().read_bytes()
        refuses = odd_ffmpeg("    exit 1")
        dies = (
            "import os\nfrom camarchiver import archiver\nfrom camarchiver.scribe import Scribe\n"
            f"def die(*args, **more): os.kill(os.getpid(), 9)\n{place} = die\n"
        )
        assert camera.archive(ffmpeg=refuses, patch=dies).code == -9
        camera.assert_nothing_lost()
        assert camera.archive(ffmpeg=refuses).code == 0
        camera.assert_finished()
        assert [archive.read_bytes() for archive in camera.archives()] == [content]
        adopted = [event["unencoded"] for event in camera.events("adopted")]
        assert adopted == (["refused"] if place == "Scribe.archived" else [])

    @pytest.mark.edge
    def test_an_ffmpeg_that_hangs_is_ended(self, camera: Camera, odd_ffmpeg: OddFfmpeg) -> None:
        clip = camera.add()
        run = camera.archive(
            "--json",
            ffmpeg=odd_ffmpeg("    sleep 300"),
            patch="from camarchiver import transcoder\ntranscoder.STALL_SECONDS = 0.5",
        )
        assert run.code in (1, 3)
        assert [outcome["result"] for outcome in run.document()["outcomes"]] == ["failed"]
        assert camera.sources() == [clip] and camera.archives() == [] == camera.litter()
        assert processes_with(str(camera.root)) == []
        assert camera.archive("--retry-failed").code == 0
        camera.assert_finished()

    @pytest.mark.edge
    def test_the_watchdog_ends_the_whole_process_group(self, tmp_path: Path) -> None:
        hanging = tmp_path / "hanging"
        hanging.write_text(f"#!/bin/bash\n(exec -a {tmp_path}/child sleep 300) &\nwait\n")
        hanging.chmod(0o755)
        finished = transcoder.run(hanging, ["-x"], stall_seconds=0.3)
        assert finished.ended == "stalled" and finished.returncode == -signal.SIGTERM
        wait_until(lambda: not processes_with(f"{tmp_path}/child"), "the end of its child", 5)

    @pytest.mark.edge
    def test_a_file_that_kills_ffmpeg_does_not_stop_the_others(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg
    ) -> None:
        bad, good = camera.add("bad"), camera.add("good")
        script = '    case "$last" in *REO_bad*) kill -SEGV $$;; esac'
        run = camera.archive(ffmpeg=odd_ffmpeg(script))
        assert run.code == 3
        assert camera.sources() == [bad] and [path.name for path in camera.archives()] == [good.name]
        camera.assert_nothing_lost()

    # --- what dead runs leave ------------------------------------------------------------------------

    @pytest.mark.edge
    def test_a_run_removes_the_date_folders_it_empties(self, camera: Camera) -> None:
        camera.add("front")
        camera.add("garden")
        camera.archive()
        camera.assert_finished()
        assert not (camera.root / "2024").exists()

    @pytest.mark.edge
    def test_unfinished_state_files_of_dead_runs_are_swept_once_they_are_old(self, camera: Camera) -> None:
        camera.add()
        camera.archive("--keep-source")
        state = camera.archive_root / ".camarchiver"
        old = [state / ".volume.0123456789abcdef.staged", state / "claims" / "0123.new"]
        young = [state / ".volume.fedcba9876543210.staged", state / "claims" / "4567.new"]
        for path in old + young:
            path.write_text("{")
        for path in old:
            os.utime(path, (RECORDED, RECORDED))
        camera.archive("--keep-source")
        assert not any(path.exists() for path in old)
        assert all(path.exists() for path in young)

    @pytest.mark.edge
    def test_a_picture_that_could_not_follow_its_clip_follows_in_the_next_run(self, camera: Camera) -> None:
        clip = camera.add()
        picture = clip.with_suffix(".jpg")
        picture.write_bytes(b"a picture")
        run = camera.archive(
            patch="from camarchiver import removal\nremove = removal.remove\n"
            "def full(root, relative, *others):\n"
            "    if relative.endswith('.jpg'): raise OSError(28, 'No space left on device')\n"
            "    return remove(root, relative, *others)\n"
            "removal.remove = full"
        )
        assert run.code in (1, 3) and camera.sources() == [] and picture.exists()
        camera.archive()
        assert (
            not picture.exists() and (camera.archives()[0].with_suffix(".jpg")).read_bytes() == b"a picture"
        )
        camera.assert_finished()


def test_the_sweeps_say_so_without_strace(tmp_path: Path) -> None:
    """`scripts/faults` skips where no fault can be made."""
    script = Path(__file__).resolve().parents[1] / "scripts/faults"
    if not script.exists():
        pytest.skip("scripts/faults is not beside the tests")
    done = subprocess.run(
        [sys.executable, str(script), "errors"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "strace" in done.stdout
    assert re.fullmatch(r"0 passed, 0 failed, \d+ skipped", done.stdout.splitlines()[-1])


def encode(target: Path, *options: str, filters: str = "null", seconds: int = 2) -> Path:
    lavfi = f"testsrc2=size=160x120:rate=15:duration={seconds},{filters}"
    command = (
        FFMPEGS["embedded"],
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        lavfi,
        "-g",
        "30",
        *options,
        str(target),
    )
    subprocess.run(command, check=True)
    return target


def demux(path: Path) -> Iterator[tuple[AvVideoStream, Packet[AvVideoStream] | None]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            yield stream, packet if packet.size else None


def sampled(path: Path, rate: float = 5.0) -> list[Picture]:
    sampler: Sampler | None = None
    pictures: list[Picture] = []
    for stream, packet in demux(path):
        sampler = sampler or Sampler(stream.codec_context, rate=rate)
        pictures += sampler.feed(packet)
    return pictures


class TestEnds:
    """When clips end, by their own word or by what comes after them."""

    @pytest.fixture
    def tree(self, tmp_path: Path, model_clip: Path) -> Callable[..., Path]:
        """Puts a clip of one second, or one that is none, into a tree; large enough for any length."""

        def put(clock: str, *, day: str = "20260301", whole: bool = True) -> Path:
            folder = tmp_path / f"camera/{day[:4]}/{day[4:6]}/{day[6:]}"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"REO_front_{day}{clock}.mp4"
            shutil.copyfile(model_clip, path)
            os.truncate(path, 5_000_000 if whole else 0)
            os.truncate(path, 5_000_000)
            os.utime(path, (1772440000, 1772440000))
            return path

        return put

    @staticmethod
    def held(tmp_path: Path, clock: str) -> list[str]:
        """The clips that a hold of ten minutes covers, by the plan of `archive`."""
        root = tmp_path / "camera"
        trees = Trees(root, root / "archived", root / ".deleted")
        start = datetime.fromisoformat(f"2026-03-01T{clock}+00:00")
        state = trees.state / holds.FILE
        state.parent.mkdir(parents=True, exist_ok=True)
        for copy in trees.state.glob("holds*"):
            copy.unlink()
        holds.add(trees.state, start, start + timedelta(minutes=10), camera="", reason="x", until=None)
        pipeline = Pipeline(trees, UTC, "archive")
        steps = pipeline.plan_archive(ArchivePolicy(timedelta(days=1)), list_all=True).left
        return sorted(step.relative[-10:-4] for step in steps if step.reason is Reason.HELD)

    def test_a_clip_says_itself_how_long_it_lasts(self, tree: Callable[..., Path], tmp_path: Path) -> None:
        tree("081500")
        assert self.held(tmp_path, "08:15:00") == ["081500"]
        assert self.held(tmp_path, "08:15:01") == ["081500"]
        assert self.held(tmp_path, "08:15:02") == []
        assert self.held(tmp_path, "08:20:00") == []

    def test_what_cannot_be_read_lasts_until_the_next_clip_or_an_hour(
        self, tree: Callable[..., Path], tmp_path: Path
    ) -> None:
        tree("081500", whole=False)
        assert self.held(tmp_path, "09:10:00") == ["081500"]
        assert self.held(tmp_path, "09:20:00") == []
        tree("100000")
        assert self.held(tmp_path, "09:20:00") == ["081500"]
        tree("090000")
        assert self.held(tmp_path, "09:10:00") == []

    def test_the_next_clip_may_be_in_the_next_folder_or_in_the_archive(
        self, tree: Callable[..., Path], tmp_path: Path
    ) -> None:
        tree("223000", whole=False)
        tree("003000", day="20260302")
        assert self.held(tmp_path, "23:40:00") == ["223000"]
        line = {"event": "archived", "start": "2026-03-01T23:00:00+00:00", "camera": "front", "source": "x"}
        line |= {"at": "2026-03-02T00:00:00+00:00", "run": "r", "host": "h"}
        journal = tmp_path / "camera/archived/.camarchiver/journal/2026/03/01.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text(json.dumps(line) + "\n")
        assert self.held(tmp_path, "23:10:00") == []

    def test_nothing_is_opened_where_the_journal_knows_or_nothing_depends_on_it(
        self, tree: Callable[..., Path], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        clip = tree("081500", whole=False)
        line = {"event": "archived", "start": "2026-03-01T08:15:00+00:00", "camera": "front"}
        line |= {"at": "2026-03-02T00:00:00+00:00", "run": "r", "host": "h"}
        line |= {"source": f"2026/03/01/{clip.name}", "archive": "x.mp4", "source_blake2b": ""}
        numbers = {"duration": 900.0, "archive_size": 1, "source_size": clip.stat().st_size}
        numbers["source_mtime_ns"] = clip.stat().st_mtime_ns
        journal = tmp_path / "camera/archived/.camarchiver/journal/2026/03/01.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text(json.dumps({**line, **numbers}) + "\n")
        tree("180000")
        opened = mocker.spy(Prober, "glance")
        assert self.held(tmp_path, "08:29:00") == ["081500"]
        assert self.held(tmp_path, "08:31:00") == []
        assert self.held(tmp_path, "17:55:00") == ["180000"]
        assert opened.call_count == 0


class TestJournal:
    @pytest.mark.parametrize(
        "changed",
        [{"source_mtime_ns": 2**63}, {"duration": math.nan}, {"source": "../a.mp4"}, {"source_size": -1}],
    )
    def test_no_line_is_written_that_could_not_be_read_again(
        self, tmp_path: Path, changed: dict[str, Any]
    ) -> None:
        """Such a clip would be archived, its source gone, and nothing would tell of it."""
        at = datetime(2026, 3, 1, tzinfo=UTC)
        sound = events.Event(
            events.What.TRASHED, at, "r1", "vm", "a.mp4", at, source_size=1, source_mtime_ns=2
        )
        book = Journal(tmp_path)
        book.append(sound)
        with pytest.raises(OSError, match="could not be read again"):
            book.append(sound, structs.replace(sound, **changed))
        day = Journal(tmp_path).day(at.date())
        assert (day.events, day.torn) == ((sound,), 0)


class TestNotes:
    """Small files of the state, as a hand or a fault may leave them."""

    @pytest.mark.parametrize(
        "changed", [{"at": "2026-03-01T08:15:00"}, {"at": "9999-12-31T23:59:59-10:00"}, {"size": 1e300}]
    )
    def test_what_makes_no_sense_tells_nothing(self, tmp_path: Path, changed: dict[str, object]) -> None:
        fields = {"size": 1, "mtime_ns": 2, "count": 1, "at": "2026-03-01T08:15:00+00:00"}
        fields |= {"reason": "failed", "detail": ""}
        for name in ("failures.json", "restored.json"):
            (tmp_path / name).write_text(json.dumps({"a.mp4": fields, "b.mp4": {**fields, **changed}}))
        assert set(Failures(tmp_path).known()) == {"a.mp4"}
        assert set(restorations.read(tmp_path)) == {"a.mp4"}

    def test_a_failure_that_cannot_be_written_down_now_is_written_at_the_end(
        self, tmp_path: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        failures, now = Failures(tmp_path), datetime.now(UTC)
        clip = Clip(tmp_path, "", "a.mp4", "front", now, Fingerprint(1, 2, 3, 4))
        full = mocker.patch.object(atomic, "write_json", side_effect=OSError(errno.ENOSPC, "No space left"))
        failures.note(clip, Reason.DAMAGED, "cut", now)
        assert "what failed can't be written down now: No space left" in caplog.text
        with pytest.raises(OSError, match="No space left"):
            failures.flush()
        mocker.stop(full)
        failures.flush()
        assert Failures(tmp_path).known()["a.mp4"].detail == "cut"

    @pytest.mark.parametrize(
        "changed",
        [
            {"run": 5},
            {"command": None},
            {"bytes_before": 10**400},
            {"seconds": math.inf},
            {"seconds": "1"},
            {"encoded": 1.5},
            {"exit_code": "0"},
            {"ended": "then"},
            None,
        ],
    )
    def test_a_record_that_no_run_wrote_is_passed_over(
        self, tmp_path: Path, changed: dict[str, object] | None
    ) -> None:
        record = {"run": "r", "command": "archive", "status": "done", "exit_code": 0, "encoded": 2}
        record |= {"ended": "2026-03-01T08:15:00+00:00", "seconds": 2.0, "bytes_before": 100}
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs/20260301T081500-a.json").write_text(json.dumps(record))
        spoilt = json.dumps({**record, **changed}) if changed is not None else "[" * 5000
        (tmp_path / "runs/20260302T081500-a.json").write_text(spoilt)
        assert runs.last(tmp_path) == record
        assert runs.bytes_per_second(tmp_path) == 50.0


class TestDiscovery:
    """A folder's clips are told together where they are alike; the plan is that of single clips."""

    START = datetime(2025, 10, 24, tzinfo=UTC)
    NOW = datetime(2025, 12, 1, 3, tzinfo=UTC)

    def grow(self, root: Path, seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(250):
            at = self.START + timedelta(days=draw.randrange(5), seconds=draw.randrange(86_400))
            folder = root / draw.choice(["flat", f"{at:%Y/%m/%d}", f"cam/{at:%Y-%m-%d}", ""])
            folder.mkdir(parents=True, exist_ok=True)
            stem = draw.choice(["REO_front_", "REO_front_", "yard_00_", "REO_a_2025_"]) + f"{at:%Y%m%d%H%M%S}"
            suffix = draw.choice([".mp4"] * 60 + [".mkv", ".MP4", ".ts"])
            self.touch(folder / (stem + suffix), at.timestamp(), draw.randrange(9999))
            if draw.randrange(2):
                self.touch(folder / (stem + ".jpg"), at.timestamp())
            self.oddities(folder, stem, draw.randrange(200))

    def oddities(self, folder: Path, stem: str, which: int) -> None:
        at = self.NOW.timestamp()
        match which:
            case 0:
                self.touch(folder / f"{stem}.mkv", at - 10**6)
            case 1:
                self.touch(folder / f"{stem[:-2]}99.jpg", at - 10**6)
            case 2:
                os.link(next(folder.glob(f"{stem}.*")), folder / f"REO_front_{stem[-14:-4]}0000.mp4")
            case 3:
                self.touch(folder / "no time.mp4", at - 10**6)
            case 4:
                self.touch(folder / f"{stem}.mp4.lock", at - 10**6)
            case 5:
                (folder / f"{stem}.mp4").touch()
            case 6:
                (folder / f"{stem}.m4v").mkdir()

    def touch(self, path: Path, at: float, size: int = 0) -> None:
        path.write_bytes(b"")
        os.truncate(path, size)
        os.utime(path, (at, at))

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
    def test_the_plan_is_that_of_single_clips(self, tmp_path: Path, zone: str) -> None:
        found = 0
        for seed in range(6):
            yard = Yard(tmp_path / str(seed))
            self.grow(yard.trees.source, seed)
            for age in (0, 35):
                found += self.compare(yard, ArchivePolicy(timedelta(days=age)), ZoneInfo(zone))
        assert found > 300

    def compare(self, yard: Yard, policy: ArchivePolicy, zone: ZoneInfo) -> int:
        def discovery() -> Discovery:
            ends = Ends((), self.NOW)
            return Discovery(yard.trees, Names(), Journal(yard.trees.state), ends, (), self.NOW, zone)

        cutoff = (self.NOW - policy.age).date()
        steps = [
            step
            for facts in discovery().folders(cutoff)
            for step in decide_archive(facts, policy, Memory(), self.NOW)
        ]
        tally = Tally()
        for step in steps:
            tally.add(step)
        changes = sorted((step for step in steps if not isinstance(step, Keep)), key=order.order_key)
        made = planning.plan(yard.trees, discovery(), policy, Memory(), self.NOW, list_all=True)
        assert list(made.steps) == list(order.largest_first(changes))
        assert list(made.left) == [step for step in steps if isinstance(step, Keep)]
        assert made.totals == tally.totals()
        assert len(made.steps) == len(changes)
        every = [alike for facts in discovery().folders(cutoff, together=True) for alike in facts.alike]
        return sum(len(alike.names) for alike in every)


class TestLots:
    """What `cleanup` decides many at a time is decided as each of them alone."""

    POLICIES: ClassVar[list[dict[str, Any]]] = [
        {},
        {"age": 12.9, "trash_age": 5},
        {"age": 12.3, "trash_age": 20.5, "delete": True},
        {"trash_age": 0, "trust_names": True},
        {"clean_output": True, "archive_age": 14},
        {"unarchived": True, "age": 14},
        {"clean_output": True, "unarchived": True, "max_size": 900_000},
        {"max_size": 1, "trash_age": 25},
        {"min_free": 10**18},
        {"cameras": frozenset({"front"})},
        {"exclude": ("*REO_yard*",)},
        {"max_age_hard": 22},
        {"cameras_own": {"yard": replace(cleanup_policy(age=9, trash_age=35).limits, max_size=100_000)}},
    ]

    @pytest.fixture(autouse=True)
    def a_disk_that_does_not_change(self, mocker: MockerFixture) -> None:
        mocker.patch("camarchiver.usage.free_bytes", return_value=10**12)

    def compare(
        self, yard: DenseYard, found: Counter[str], paths: frozenset[Path] = frozenset(), **policy: Any
    ) -> CleanupPlan:
        asked = cleanup_policy(allow_large=True, **policy)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("camarchiver.clearance.decidable", lambda *_: frozenset())
            alone = yard.pipeline().plan_cleanup(asked, list_all=False, asked=paths)
        with pytest.MonkeyPatch.context() as patch:
            for kind in ("stay_of", "is_due"):
                patch.setattr(f"camarchiver.clearance.{kind}", self.counting(kind, found))
            together = yard.pipeline().plan_cleanup(asked, list_all=False, asked=paths)
        assert list(together.steps) == list(alone.steps)
        assert [step.start and f"{step.start}" for step in together.steps] == [
            step.start and f"{step.start}" for step in alone.steps
        ]
        assert len(together.steps) == len(alone.steps)
        assert set(together.left) == set(alone.left)
        apart = {"steps": (), "left": ()}
        assert {**vars_of(together), **apart} == {**vars_of(alone), **apart}
        for step in together.steps:
            if isinstance(step, Discard) and step.reason is not Reason.MAX_AGE_HARD:
                assert step.archived is None or step.archived.archive not in yard.damaged
                assert step.tree is not Tree.ARCHIVE or step.relative not in yard.damaged
        if yard.damaged:
            found["damaged"] += len(yard.damaged)
        return together

    def counting(self, name: str, found: Counter[str]) -> Callable[..., Any]:
        decide = getattr(lots, name)

        def counted(lot: Any, policy: CleanupPolicy, now: datetime) -> Any:
            answer = decide(lot, policy, now)
            if isinstance(lot, Lot):
                self.check(lot, answer, policy, now)
            words = answer.reason if isinstance(answer, Stay) else answer
            found[f"{name} {words}"] += lot.files if isinstance(lot, Lot) else len(lot.names)
            return answer

        return counted

    def test_a_copy_in_the_trash_whose_archive_was_found_damaged_is_in_no_lot(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed = [yard.given_away(30 + hour / 100, trashed=25) for hour in range(6)]
        yard.standing(1)
        asked = cleanup_policy(allow_large=True)

        def taken() -> set[Path]:
            plan = yard.pipeline().plan_cleanup(asked, list_all=False)
            return {step.path for step in plan.steps if isinstance(step, Discard)}

        assert taken() == set(trashed)
        bad = trashed[2].relative_to(yard.trees.trash / "input").as_posix()
        yard.find_damaged(bad)
        assert taken() == set(trashed) - {trashed[2]}
        kept = {step.path: step for step in yard.plan(allow_large=True).left}
        assert kept[trashed[2]].reason is Reason.LAST_COPY
        assert "wrong-hash" in kept[trashed[2]].detail
        assert kept[yard.trees.archive / bad].reason is Reason.DAMAGED
        yard.find_sound(bad)
        assert taken() == set(trashed)

    def check(self, lot: Lot, stay: Stay | None, policy: CleanupPolicy, now: datetime) -> None:
        copies = [copy for copy in lot.copies() if isinstance(copy, Copy)]
        starts = [copy.clip.start for copy in copies]
        mtimes = [copy.identity[1] for copy in copies]
        assert lot.starts == (min(starts), max(starts))
        assert lot.mtimes == (min(mtimes), max(mtimes))
        assert (lot.files, lot.size) == (len(copies), sum(copy.clip.fingerprint.size for copy in copies))
        assert {copy.is_picture for copy in copies} == {lot.is_picture}
        for copy in copies if stay else ():
            assert not copy.is_doubtful(policy, now)
            assert rank(copy, policy, Memory(), {}, now) is None
            assert decide(copy, policy, Memory(), {}, now) == stay

    def test_the_plan_is_that_of_single_copies(self, tmp_path: Path) -> None:
        found = Counter[str]()
        for seed in range(3 * len(DenseYard.ODDITIES)):
            yard = DenseYard(tmp_path / str(seed), seed)
            often, now_and_then = self.POLICIES[:4], self.POLICIES[4:]
            for policy in (*often, now_and_then[seed % len(now_and_then)]):
                self.compare(yard, found, **policy)
            shutil.rmtree(yard.trees.source)
        assert found["stay_of in-policy"] > 2000
        assert all(found[f"stay_of {each}"] > 200 for each in ("too-recent", "unarchived"))
        assert found["stay_of None"] > 50, "some are decided one by one"
        assert found["is_due True"] > 500 < found["is_due False"]
        assert found["damaged"] > 20

    def test_files_that_are_asked_for_are_told_one_by_one(self, tmp_path: Path) -> None:
        for seed in range(4):
            yard, found = DenseYard(tmp_path / str(seed), seed), Counter[str]()
            clips = [path for path in yard.trees.source.rglob("*.mp4") if path.is_file()]
            few = frozenset(yard.draw.sample(clips, 5))
            plan = self.compare(yard, found, few, trash_age=20.8)
            assert few <= {kept.path for kept in plan.left} | {step.path for step in plan.steps}
            assert {kept.path for kept in plan.left} <= few
            assert found["stay_of in-policy"] > 20, "in other folders"

    def test_what_is_remembered_is_looked_at_one_by_one(self, tmp_path: Path) -> None:
        for seed in range(3):
            yard = DenseYard(tmp_path / str(seed), seed)
            told = [(line.source, (line.source_size or 0, line.source_mtime_ns or 0)) for line in yard.lines]
            restorations.note(yard.trees.state, told, yard.now - timedelta(days=seed + 5))
            found = Counter[str]()
            self.compare(yard, found)
            assert bool(found) is (seed == 2), "after a week"
            start = yard.lines[0].start
            holds.add(yard.trees.state, start, start + timedelta(hours=9), camera="", reason="x", until=None)
            found.clear()
            self.compare(yard, found)
            assert not found

    def test_what_a_plan_takes_as_a_lot_is_carried_out_file_by_file(self, tmp_path: Path) -> None:
        yard = DenseYard(tmp_path / "cams", 5)
        plan = yard.pipeline().plan_cleanup(cleanup_policy(trash_age=1, allow_large=True), list_all=False)
        before = yard.files().keys()
        steps = [step for step in plan.steps if isinstance(step, Discard) and step.tree is Tree.TRASH]
        assert len(steps) > 20
        spoilt, held = steps[0], steps[1]
        assert spoilt.archived is not None
        (yard.trees.archive / spoilt.archived.archive).unlink()
        soon = held.start + timedelta(seconds=1)
        holds.add(yard.trees.state, held.start, soon, camera=held.camera, reason="x", until=None)
        report = yard.carry_out(plan)
        results = {outcome.step.relative: outcome.result for outcome in report.outcomes}
        assert (results.pop(spoilt.relative), results.pop(held.relative)) == (Result.STALE, Result.HELD)
        assert set(results.values()) == {Result.DONE}
        gone = {step.path for step in plan.steps if step not in (spoilt, held)}
        assert before - yard.files().keys() >= {os.path.relpath(path, yard.trees.source) for path in gone}


class TestFindings:
    """The state that `verify` writes, and repairs under kills."""

    def test_the_newest_state_is_read_and_else_its_backup(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        state = yard.trees.state
        assert findings.read(state) == findings.Findings()
        damaged = findings.DamagedNow(state)
        assert damaged() == {}
        yard.find_damaged("a.mp4", "b\udcff.mp4")
        assert set(damaged()) == {"a.mp4", "b\udcff.mp4"}, "a name of bytes, too"
        yard.find_sound("a.mp4")
        assert set(damaged()) == {"b\udcff.mp4"}
        whole = findings.Pass(yard.now, "r", 7)
        findings.change(state, findings.Change(whole=whole))
        assert findings.read(state).last_whole == whole
        assert findings.read(state).last_full is None
        last = '{"last_whole": {"at": "AT", "run": "r", "archives": 1}}'
        times = (last.replace("AT", at) for at in ("2026-01-01T00:00:00", "0001-01-01T00:00:00Z"))
        for torn in ("{", '{"damaged": {"../x": {}}}', *times):
            (state / findings.FILE).write_text(torn)
            assert set(findings.read(state).damaged) == {"b\udcff.mp4"}, torn
        (state / f"{findings.FILE}.bak").write_text("7")
        with pytest.raises(StorageError, match="nobody knows which archives are damaged"):
            findings.read(state)

    def test_two_runs_that_write_at_once_lose_nothing(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: yard.find_damaged(f"{number}.mp4"), range(40)))
        assert len(findings.read(yard.trees.state).damaged) == 40

    def test_a_damaged_archive_found_between_plan_and_removal_stops_it(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        trashed, source = yard.given_away(40, trashed=30), yard.standing(41)
        yard.standing(1)
        plan = yard.plan()
        assert {step.path for step in plan.steps} == {trashed, source.path}
        archive = trashed.relative_to(yard.trees.trash / "input").as_posix()
        yard.find_damaged(archive, source.relative)
        report = yard.carry_out(plan)
        assert {each.result for each in report.outcomes} == {Result.STALE}
        assert trashed.exists() and source.path.exists()

    class Copier:
        """Makes archives as `shrink.Shrinker` does, but by copying what need not be a video."""

        def measure(self, clip: Clip) -> Any:
            return SimpleNamespace(span=60.0)

        def ways(self, original: Any) -> Iterator[tuple[Way, str]]:
            yield Way.COPY, ".mp4"

        def is_small_enough(self, made: Made, original: Any) -> bool:
            return True

        def tags(self, archive: Path) -> dict[str, str]:
            return {}

        def fill(self, way: Way, original: Any, part: Any, **_: Any) -> Made:
            part.path.write_bytes(original.clip.path.read_bytes())
            return Made(way, Encoding("copy", (), 0.0, 1, 1), {}, "byte for byte")

    def look(self, yard: Yard) -> tuple[Verified, Pipeline]:
        pipeline = Pipeline(yard.trees, UTC, "verify")
        known = findings.read(yard.trees.state).damaged
        task = task_for(Asked(None, 100.0, False), yard.trees.state, "r", known, anew=True)
        scribe = Scribe(pipeline.journal, pipeline.run, pipeline.now)
        log = FindingsLog(yard.trees.state, pipeline.journal, scribe, known)
        days = Days(Names(()), pipeline.journal)
        stop = threading.Event()
        verifier = Verifier(yard.trees, pipeline.journal, days, task, log, host="pi", stop=stop, ffmpeg=None)
        return verifier.run(Silent()), pipeline

    def repair(self, yard: Yard) -> list[Outcome]:
        """As `verify --repair -y` does, but for the encoder."""
        Pipeline(yard.trees, UTC, "verify").sweep(SidecarPolicy.TRASH)
        found, pipeline = self.look(yard)
        plan = pipeline.plan_repair([each.expected for each in found.findings if each.expected], Stop())
        how = Execution(Wishes(Settings()), SidecarPolicy.TRASH, 1, 0, None)
        archiver = Archiver(pipeline._desk(Disposal.KEEP, how), self.Copier(), Silent(), Stop())  # type: ignore[arg-type]  # by its methods
        return [archiver.perform(step, 1) for step in plan.steps]

    def given(self, yard: Yard, days: float, *, trashed: bool) -> tuple[Path, Path]:
        """A journalled clip whose archive rots: where its source lies, and the archive."""
        clip = yard.record(days)
        digest = atomic.digest_of(clip.path)
        archive = yard.trees.archive / clip.relative
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(b"a" * 3000)
        size, mtime_ns = clip.fingerprint[2:]
        entry = Archived(clip.relative, size, mtime_ns, digest, clip.relative, 3000, False, 60.0)
        made = Made(Way.ENCODE, Encoding("x264", ("x264",), 1.0, size, 3000), {}, "test")
        yard.scribe(yard.now).archived(clip, entry, made, atomic.digest_of(archive), mtime_ns)
        place = yard.trash(clip, entry, 30) if trashed else clip.path
        archive.write_bytes(b"b" * 3000)
        return place, archive

    @pytest.mark.edge
    @pytest.mark.slow
    def test_killed_anywhere_the_next_repair_finishes_it(
        self, tmp_path: Path, sweep_kills: Callable[..., int]
    ) -> None:
        """The clip lies in the trash, and its folder in the source is gone."""
        model = Yard(tmp_path / "model")
        copies = [self.given(model, 40, trashed=True)]
        model.record(1)
        self.look(model)
        assert len(findings.read(model.trees.state).damaged) == 1
        place = tmp_path / "cams"
        names = [tuple(path.relative_to(model.trees.source) for path in pair) for pair in copies]
        wanted = {archive: (model.trees.source / copy).read_bytes() for copy, archive in names}

        def fresh() -> None:
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run(["cp", "-a", model.trees.source, place], check=True)

        def check() -> None:
            yard = Yard(place)
            sound = {
                archive
                for archive, content in wanted.items()
                if (place / archive).exists() and (place / archive).read_bytes() == content
            }
            yard.carry_out(yard.plan(age=1000, trash_age=0, allow_large=True))
            for copy, archive in names:
                assert (place / copy).exists() or archive in sound, "the last good copy is gone"
            for path in place.rglob("[!.]*.mp4"):
                assert len(path.read_bytes()) in (3000, 10_000), f"{path} is a part of a file"
            if all((place / copy).exists() for copy, _ in names):
                outcomes = self.repair(yard)
                assert {each.result for each in outcomes} <= {Result.DONE}, outcomes
                assert findings.read(yard.trees.state).damaged == {}
                for archive, content in wanted.items():
                    assert (place / archive).read_bytes() == content
                assert not self.look(yard)[0].findings
                left = [path.name for path in place.rglob(".*.staged.mp4")]
                left += [path.name for path in place.rglob("*.mp4.lock")]
                assert not left
                assert not list((yard.trees.state / "claims").glob("*.json"))
            fresh()

        fresh()
        assert sweep_kills(lambda: self.repair(Yard(place)), check) > 20

    def test_a_live_repair_of_a_trashed_clip_is_not_swept(self, tmp_path: Path) -> None:
        yard = Yard(tmp_path / "cams")
        self.given(yard, 40, trashed=True)
        yard.record(1)
        swept: list[set[str]] = []

        def fill(this: Any, way: Way, original: Any, part: Any, **_: Any) -> Made:
            part.path.write_bytes(b"half")
            Pipeline(yard.trees, UTC, "archive").sweep(SidecarPolicy.TRASH)
            swept.append({path.name for path in part.path.parent.iterdir() if ".staged" in path.name})
            part.path.write_bytes(original.clip.path.read_bytes())
            return Made(way, Encoding("copy", (), 0.0, 1, 1), {}, "byte for byte")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.Copier, "fill", fill)
            assert [each.result for each in self.repair(yard)] == [Result.DONE]
        assert len(swept[0]) == 1


def vars_of(plan: CleanupPlan) -> dict[str, Any]:
    """The fields of a plan by their names."""
    return {each.name: getattr(plan, each.name) for each in fields(plan)}


class TestExport:
    """`hold export` under faults; what it copies is told by the end-to-end tests."""

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        folder = tmp_path / "camera/2026/03/01"
        folder.mkdir(parents=True)
        for name, count in (("front_20260301101500.mp4", 3_000_000), ("front_20260301101500.jpg", 9)):
            (folder / f"REO_{name}").write_bytes(random.Random(1).randbytes(count))
        return tmp_path / "camera"

    @staticmethod
    def export(tree: Path, place: Path, stop: Stop | None = None) -> Exported:
        trees = Trees(tree, tree / "archived", tree / ".deleted")
        day = datetime(2026, 3, 1, tzinfo=UTC)
        holdings = Pipeline(trees, UTC, "hold").holdings(Hold("h", day, day.replace(day=2)))
        exporter = Exporter(trees, holdings, place, None, (stop or Stop()).event)
        return exporter.run(exporter.parts(), Silent())

    def test_killed_at_any_moment_it_is_finished_by_the_next_run(
        self, tree: Path, tmp_path: Path, sweep_kills: Sweep
    ) -> None:
        source, places = tree / "2026/03/01/REO_front_20260301101500.mp4", iter(range(1000))
        os.truncate(source, 2000)

        def begin() -> None:
            self.export(tree, tmp_path / "out")

        def check() -> None:
            for path in (tmp_path / "out").rglob("*.mp4"):
                assert path.name.startswith(".") or path.read_bytes() == source.read_bytes()
            again = self.export(tree, tmp_path / "out")
            assert (again.exit_code, len(again.copied)) == (0, 2)
            assert not list((tmp_path / "out").rglob(".*"))
            subprocess.run(["b2sum", "--quiet", "-c", "B2SUMS"], cwd=tmp_path / "out", check=True)
            (tmp_path / "out").rename(tmp_path / f"out{next(places)}")

        assert sweep_kills(begin, check) > 10

    def test_a_disk_that_fills_up_keeps_what_is_whole(
        self, tree: Path, small_disk: Path, mocker: MockerFixture
    ) -> None:
        # as if something else wrote there after the space was looked at
        mocker.patch.object(usage, "free_bytes", return_value=10**12)
        os.truncate(tree / "2026/03/01/REO_front_20260301101500.mp4", shutil.disk_usage(small_disk).free + 1)
        done = self.export(tree, small_disk / "out")
        assert (done.exit_code, done.full) == (3, True)
        assert [each.target[-4:] for each in done.copied] == [".jpg"]
        assert "is full" in done.problems[0].message
        found = sorted(path.name for path in (small_disk / "out").rglob("*") if path.is_file())
        assert found == ["B2SUMS", "REO_front_20260301101500.jpg"]

    def test_a_stop_ends_it_within_a_file_and_it_goes_on_later(self, tree: Path, tmp_path: Path) -> None:
        stop = Stop()
        stop.ask(signal.SIGTERM)
        assert self.export(tree, tmp_path / "out", stop).copied == ()
        assert list((tmp_path / "out").rglob("*.mp4")) == []
        assert len(self.export(tree, tmp_path / "out").copied) == 2

    def test_a_link_in_the_target_is_not_followed(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out/source").symlink_to(tmp_path / "elsewhere")
        done = self.export(tree, tmp_path / "out")
        assert (done.exit_code, done.copied) == (1, ())
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_two_at_once_into_one_folder_are_refused(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        folder = os.open(tmp_path / "out", os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning):
            self.export(tree, tmp_path / "out")
        os.close(folder)

    def test_what_may_not_be_read_is_named(self, tree: Path, tmp_path: Path) -> None:
        if IS_ROOT:
            pytest.skip("root may read everything")
        (tree / "2026/03/01/REO_front_20260301101500.mp4").chmod(0)
        done = self.export(tree, tmp_path / "out")
        assert (done.exit_code, done.copied) == (1, ())
        assert "REO_front_20260301101500.mp4" in done.problems[0].message


def hold(yard: Yard, start: datetime) -> None:
    """Keep the hour from this moment on."""
    holds.add(yard.trees.state, start, start + timedelta(hours=1), camera="", reason="police", until=None)


class TestCleanup:
    """The plan and the removal of copies, on real files."""

    # --- every reason --------------------------------------------------------------------------------

    def test_what_ages_goes_and_each_answer_has_its_reason(self, yard: Yard) -> None:
        old, young = yard.standing(40), yard.standing(5)
        alone, newest = yard.record(41), yard.record(1)
        purged, kept = yard.given_away(50, trashed=22), yard.given_away(51, trashed=3)
        trashed_for_good = yard.given_away(52, trashed=30)
        (yard.trees.archive / trashed_for_good.relative_to(yard.trees.trash / "input")).unlink()
        found = reasons_of(yard.plan())
        taken = {step.relative: (step.tree, step.disposal, step.reason) for step in yard.plan().steps}
        assert taken == {
            old.relative: ("source", "trash", Reason.AGE),
            purged.relative_to(yard.trees.trash).as_posix(): ("trash", "delete", Reason.TRASH_AGE),
        }
        assert found[alone.relative] == Reason.UNARCHIVED
        assert found[young.relative] == Reason.IN_POLICY
        assert found[newest.relative] == Reason.TOO_RECENT
        assert found[kept.relative_to(yard.trees.trash).as_posix()] == Reason.IN_POLICY
        assert found[trashed_for_good.relative_to(yard.trees.trash).as_posix()] == Reason.LAST_COPY
        report = yard.carry_out(yard.plan())
        assert report.exit_code == 3, "a last copy was found"
        assert not old.path.exists() and not purged.exists()
        assert (yard.trees.trash / "input" / old.relative).exists()
        assert trashed_for_good.exists() and alone.path.exists() and young.path.exists()

    @pytest.mark.parametrize(
        ("option", "reason"),
        [("clean_output", Reason.ARCHIVE_AGE), ("unarchived", Reason.UNARCHIVED)],
    )
    def test_only_an_option_lets_the_last_copy_go_and_then_to_the_trash(
        self, yard: Yard, option: str, reason: Reason
    ) -> None:
        clip = yard.record(40)
        for days in range(1, 6):
            yard.standing(days)
        if option == "clean_output":
            yard.archive(clip)
            clip.path.unlink()
        before = yard.files()
        assert not yard.plan().steps
        plan = yard.plan(**{option: True})
        assert [(step.reason, step.relative) for step in plan.steps] == [(reason, clip.relative)]
        assert yard.carry_out(plan).exit_code == 0
        gone = before.keys() - yard.files().keys()
        assert len(gone) == 1
        came = yard.files().keys() - before.keys()
        assert [yard.files()[path] for path in came] == [before[path] for path in gone]
        assert not yard.plan(**{option: True}).steps

    def test_a_source_counts_as_archived_only_by_its_own_size_time_and_a_whole_archive(
        self, yard: Yard
    ) -> None:
        again, shorter, missing = (yard.standing(days) for days in (40, 41, 42))
        yard.record(1)
        again.path.write_bytes(b"another clip under a used name")
        os.truncate(yard.trees.archive / shorter.relative, 1000)
        (yard.trees.archive / missing.relative).unlink()
        plan = yard.plan()
        assert not plan.steps
        left = {(kept.root, kept.relative): kept for kept in plan.left}
        remarks = [left[yard.trees.source, clip.relative].detail for clip in (shorter, missing)]
        assert remarks == ["its archive is missing or damaged"] * 2
        assert left[yard.trees.archive, shorter.relative].reason == Reason.DAMAGED
        # Its new time is now: not old enough, and by its name and clock in doubt.
        assert left[yard.trees.source, again.relative].reason == Reason.CLOCK_DOUBTFUL

    def test_every_copy_of_a_held_or_restored_clip_stays(self, yard: Yard) -> None:
        held, back = yard.standing(40), yard.standing(44)
        trashed = yard.given_away(48, trashed=40)
        yard.record(1)
        for days in (40, 48):
            at = yard.now - timedelta(days=days)
            hold(yard, at)
        restorations.note(yard.trees.state, [(back.relative, back.fingerprint[2:])], yard.now)
        found = yard.plan(clean_output=True, max_size=1)
        assert not found.steps
        by_path = {kept.path: kept.reason for kept in found.left}
        assert by_path[held.path] == by_path[trashed] == Reason.HELD
        assert by_path[yard.trees.archive / held.relative] == Reason.HELD
        assert by_path[back.path] == Reason.RESTORED

    def test_a_hold_made_between_plan_and_removal_stops_it(self, yard: Yard) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        hold(yard, clip.start)
        report = yard.carry_out(plan)
        assert [(each.result, each.reason) for each in report.outcomes] == [(Result.HELD, Reason.HELD)]
        assert clip.path.exists()

    def test_the_newest_clip_of_each_camera_stays_however_old(self, yard: Yard) -> None:
        front, back = yard.standing(300, "front"), yard.standing(200, "back")
        older = yard.standing(301, "front")
        plan = yard.plan(clean_output=True, max_size=1, allow_large=True)
        assert {step.path for step in plan.steps} == {older.path, yard.trees.archive / older.relative}
        left = {kept.path: kept.reason for kept in plan.left}
        assert left[front.path] == left[back.path] == Reason.NEWEST
        assert left[yard.trees.archive / front.relative] == Reason.NEWEST

    def test_the_newest_of_a_camera_whose_clock_is_always_wrong_stays_too(self, yard: Yard) -> None:
        clips = [yard.record(days) for days in (40, 41)]
        for clip in clips:
            os.utime(clip.path, ((clip.start - timedelta(days=400)).timestamp(),) * 2)
            yard.archive(yard.clip(clip.path, clip.camera, clip.start))
        yard.standing(1, "back")
        assert [step.path for step in yard.plan().steps] == [clips[1].path]

    def test_pictures_whose_clip_is_gone_are_orphans_and_others_are_the_owners(self, yard: Yard) -> None:
        yard.given_away(40, trashed=3)
        gone = next(iter((yard.trees.archive).rglob("*.mp4"))).relative_to(yard.trees.archive)
        orphan = yard.trees.source / gone.with_suffix(".jpg")
        only = orphan.with_name("REO_front_20200101000000.jpg")
        orphan.parent.mkdir(parents=True, exist_ok=True)
        for picture in (orphan, only):
            picture.write_bytes(b"jpeg")
            os.utime(picture, ((yard.now - timedelta(days=40)).timestamp(),) * 2)
        yard.record(1)
        found = reasons_of(yard.plan())
        assert found[gone.with_suffix(".jpg").as_posix()] == f"trash {Reason.ORPHAN_PICTURE}"
        assert found[only.relative_to(yard.trees.source).as_posix()] == Reason.PICTURE_ONLY
        assert yard.carry_out(yard.plan()).exit_code == 0
        assert not orphan.exists() and only.exists()
        assert (yard.trees.trash / "input" / gone.with_suffix(".jpg")).read_bytes() == b"jpeg"
        assert reasons_of(yard.plan(keep_pictures=True)).get(str(gone.with_suffix(".jpg"))) is None

    def test_leftovers_and_empty_date_folders_are_tidied_but_no_root_and_nothing_new(
        self, yard: Yard
    ) -> None:
        clip = yard.standing(40)
        yard.record(1)
        staged = yard.trees.archive / f"{clip.folder}/.{clip.path.stem}.0123456789abcdef.staged.mp4"
        fresh = staged.with_name(".other.fedcba9876543210.staged.mp4")
        empty = yard.trees.source / "2024/02/03"
        foreign = yard.trees.source / "notes"
        for folder in (empty, foreign):
            folder.mkdir(parents=True)
        for path in (staged, fresh):
            path.write_bytes(b"half")
        yesterday = (yard.now - timedelta(days=2)).timestamp()
        for path in (staged, empty, foreign):
            os.utime(path, (yesterday, yesterday))
        found = reasons_of(yard.plan())
        assert found["2024/02/03"] == f"tidy {Reason.EMPTY_FOLDER}"
        assert found[staged.relative_to(yard.trees.archive).as_posix()] == f"tidy {Reason.LEFTOVER}"
        assert yard.carry_out(yard.plan()).exit_code == 0
        assert not staged.exists() and not (yard.trees.source / "2024").exists()
        assert fresh.exists() and foreign.exists()
        assert not clip.path.parent.exists(), "its folder was left empty"

    def test_foreign_files_stay_and_are_told(self, yard: Yard) -> None:
        yard.standing(40)
        strange = yard.trees.archive / "2020/01/01/REO_front_20200101000000.mp4"
        thing = yard.trees.trash / "input/diary.txt"
        for path in (strange, thing):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine")
        yard.record(1)
        yard.carry_out(yard.plan(clean_output=True, max_size=1, allow_large=True, unarchived=True))
        assert strange.exists() and thing.exists()
        assert reasons_of(yard.plan())["input/diary.txt"] == Reason.FOREIGN

    def test_a_link_under_a_journalled_name_is_no_copy(self, yard: Yard, tmp_path: Path) -> None:
        clip, trashed = yard.standing(40), yard.given_away(41, trashed=30)
        yard.standing(1)
        for path in (yard.trees.archive / clip.relative, trashed):
            target = tmp_path / path.parent.name
            path.rename(target)
            path.symlink_to(target)
        plan = yard.plan(clean_output=True)
        left = {kept.path: kept.reason for kept in plan.left}
        assert left[trashed] == left[yard.trees.archive / clip.relative] == Reason.FOREIGN
        assert left[clip.path] == Reason.UNARCHIVED

    def test_a_trashed_source_that_no_line_tells_of_is_known_by_its_archive(self, yard: Yard) -> None:
        """A run died between the move and the line."""
        clip = yard.standing(40)
        yard.standing(1)
        place = yard.trees.trash / "input" / clip.relative
        place.parent.mkdir(parents=True)
        clip.path.rename(place)
        later = dates.now() + timedelta(days=30)  # nothing but the kernel tells when it was moved
        assert reasons_of(yard.plan())[f"input/{clip.relative}"] == Reason.IN_POLICY
        assert reasons_of(yard.plan(later))[f"input/{clip.relative}"] == f"delete {Reason.TRASH_AGE}"
        (yard.trees.archive / clip.relative).unlink()
        assert reasons_of(yard.plan(later))[f"input/{clip.relative}"] == Reason.LAST_COPY

    def test_the_hard_limit_reaches_every_tree_but_no_hold(self, yard: Yard) -> None:
        standing, trashed = yard.standing(400), yard.given_away(401, trashed=1)
        held, lonely = yard.standing(402), yard.record(403, "back")
        hold(yard, held.start)
        yard.record(1)
        plan = yard.plan(age=500, max_age_hard=365, allow_large=True)
        assert {(step.disposal, step.reason) for step in plan.steps} == {
            (Disposal.DELETE, Reason.MAX_AGE_HARD)
        }
        report = yard.carry_out(plan)
        assert report.exit_code == 3
        assert "older than max_age_hard stay" in report.problems[0].message
        assert str(held.path) in report.problems[0].message
        for path in (standing.path, yard.trees.archive / standing.relative, trashed, lonely.path):
            assert not path.exists(), path
        assert held.path.exists() and (yard.trees.archive / held.relative).exists()

    # --- sizes ---------------------------------------------------------------------------------------

    def test_a_cap_takes_the_cheapest_first_and_ends_below_it(self, yard: Yard) -> None:
        trashed = [yard.given_away(days, trashed=1) for days in (60, 61)]
        both = [yard.standing(days) for days in (20, 21)]
        for days in (2, 3, 4):
            yard.standing(days, "back")
        everything = usage.used_bytes(yard.trees)
        plan = yard.plan(max_size=everything - 15_000)
        assert [step.path for step in plan.steps] == [trashed[1], trashed[0]]
        assert {(step.disposal, step.reason) for step in plan.steps} == {(Disposal.DELETE, Reason.MAX_SIZE)}
        plan = yard.plan(max_size=everything - 25_000)
        assert [step.path for step in plan.steps] == [trashed[1], trashed[0], both[1].path]
        report = yard.carry_out(plan)
        assert report.exit_code == 0
        assert usage.used_bytes(yard.trees) <= everything - 25_000
        assert sum(outcome.freed for outcome in report.outcomes) == 30_000

    def test_a_cap_counts_what_the_removals_themselves_write(self, yard: Yard) -> None:
        gone = [yard.given_away(days, trashed=30) for days in (60, 61, 62, 63)]
        spare = yard.given_away(59, trashed=1)
        yard.standing(1)
        cap = usage.used_bytes(yard.trees) - 4 * 10_000
        plan = yard.plan(max_size=cap)
        assert {step.path for step in plan.steps} == {*gone, spare}
        yard.carry_out(plan)
        assert usage.used_bytes(yard.trees) <= cap

    def test_a_cap_that_nothing_may_reach_is_said(self, yard: Yard) -> None:
        yard.record(40)
        yard.record(1)
        plan = yard.plan(max_size=1)
        assert not plan.steps
        assert [problem.code for problem in plan.problems] == ["goal-missed"]
        assert "--clean-output and --unarchived" in plan.problems[0].hint
        assert yard.carry_out(plan).exit_code == 3

    def test_a_file_with_two_names_is_freed_by_the_last_of_them(self, yard: Yard) -> None:
        clip = yard.standing(40)
        for days in (2, 3, 4, 5):
            yard.standing(days)
        other = clip.path.with_name(clip.name.replace("front", "side"))
        os.link(clip.path, other)
        assert usage.used_bytes(yard.trees) < 5 * 13_000 + 12_000
        plan = yard.plan(delete=True)
        assert [step.path for step in plan.steps] == [clip.path]
        report = yard.carry_out(plan)
        assert [outcome.freed for outcome in report.outcomes] == [0]
        assert other.exists() and not clip.path.exists()

    def test_free_space_is_measured_on_the_disk_itself(self, tmp_path: Path) -> None:
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            yard = Yard(disk / "cams")
            clips = [yard.record(days, size=500_000) for days in (20, 21, 22, 23)]
            for clip in clips:
                yard.archive(clip, size=50_000)
            yard.standing(1)
            free = usage.free_bytes(disk)
            plan = yard.plan(min_free=free + 900_000)
            assert [step.path for step in plan.steps] == [clips[3].path, clips[2].path]
            assert {step.reason for step in plan.steps} == {Reason.MIN_FREE}
            report = yard.carry_out(plan)
            assert report.exit_code == 0
            assert usage.free_bytes(disk) >= free + 900_000
            assert not yard.plan(min_free=free + 900_000).steps

    def test_it_stops_as_soon_as_the_disk_is_free_enough(self, tmp_path: Path) -> None:
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4M", "tmpfs"):
            yard = Yard(disk / "cams")
            for days in (20, 21, 22):
                yard.archive(yard.record(days, size=500_000))
            yard.standing(1)
            (disk / "other").write_bytes(b"o" * 1_000_000)
            plan = yard.plan(min_free=usage.free_bytes(disk) + 900_000)
            assert len(plan.steps) == 2
            (disk / "other").unlink()
            report = yard.carry_out(plan)
            assert [outcome.reason for outcome in report.outcomes] == [Reason.GOAL_MET] * 2
            assert report.exit_code == 0

    def test_it_stops_when_removals_free_nothing(self, tmp_path: Path, mocker: MockerFixture) -> None:
        """A reader keeps the removed files' blocks, as a snapshot does."""
        mocker.patch.object(cleaner, "LAG_AFTER", 900_000)
        for disk in mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8M", "tmpfs"):
            yard = Yard(disk / "cams")
            clips = [yard.record(days, size=500_000) for days in (20, 21, 22, 23)]
            for clip in clips:
                yard.archive(clip)
            yard.standing(1)
            plan = yard.plan(min_free=usage.free_bytes(disk) + 1_900_000)
            assert len(plan.steps) == 4
            with ExitStack() as readers:
                for clip in clips:
                    readers.enter_context(clip.path.open("rb"))
                report = yard.carry_out(plan)
            results = [(outcome.result, outcome.reason) for outcome in report.outcomes]
            assert results == [(Result.DONE, Reason.MIN_FREE)] * 2 + [(Result.FAILED, Reason.MIN_FREE)] * 2
            assert "is there a snapshot?" in report.outcomes[-1].detail
            assert report.exit_code == 3

    def test_free_space_that_cannot_be_told_refuses(self, yard: Yard, mocker: MockerFixture) -> None:
        yard.standing(40)
        yard.record(1)
        mocker.patch("os.statvfs", side_effect=OSError(errno.EIO, "Input/output error"))
        with pytest.raises(StorageError):
            yard.plan(min_free=1)

    # --- other disks, other clocks -------------------------------------------------------------------

    def test_a_trash_on_another_disk_gets_whole_files(self, tmp_path: Path, other_disk: Path) -> None:
        yard = Yard(tmp_path / "cams", trash_root=other_disk / "trash")
        clip = yard.standing(40)
        content, times = clip.path.read_bytes(), clip.path.stat().st_mtime_ns
        yard.record(1)
        plan = yard.plan()
        freed = {forecast.path: forecast.freed for forecast in plan.forecast}
        assert sorted(freed.values()) == [-10_000, 10_000]
        report = yard.carry_out(plan)
        moved = yard.trees.trash / "input" / clip.relative
        assert (moved.read_bytes(), moved.stat().st_mtime_ns) == (content, times)
        assert [outcome.freed for outcome in report.outcomes] == [10_000]
        pipeline = yard.pipeline()
        assert pipeline.restore(pipeline.plan_restore(Selection(paths=(clip.path,)))).exit_code == 0
        assert (clip.path.read_bytes(), clip.path.stat().st_mtime_ns) == (content, times)

    def test_many_clips_come_back_and_each_is_spared_from_then_on(
        self, yard: Yard, mocker: MockerFixture
    ) -> None:
        places = [yard.given_away(40 + hours / 24, 3) for hours in range(70)]
        written = mocker.spy(atomic, "write_json")
        pipeline = yard.pipeline()
        report = pipeline.restore(pipeline.plan_restore(Selection(camera="front")))
        assert (report.exit_code, report.count(Result.DONE)) == (0, 70)
        assert not any(place.exists() for place in places)
        assert sum(call.args[0].name == restorations.FILE for call in written.call_args_list) == 2
        assert len(restorations.read(yard.trees.state)) == 70
        assert not yard.plan(age=30, trash_age=0, clean_output=True).steps

    @pytest.mark.parametrize("years", [10, -10])
    def test_a_clock_far_from_every_clip_refuses_the_whole_plan(self, yard: Yard, years: int) -> None:
        yard.standing(40)
        yard.standing(1)
        before = yard.files()
        plan = yard.plan(yard.now + timedelta(days=365 * years), clean_output=True, allow_large=True)
        assert plan.refused == 13
        assert plan.problems[0].code == "clock"
        assert yard.carry_out(plan).exit_code == 13
        assert yard.files() == before

    def test_clips_of_a_camera_that_fell_back_to_1970_stay(self, yard: Yard) -> None:
        start = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
        path = yard.trees.source / "1970/01/01/REO_front_19700101000500.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"recorded yesterday")
        os.utime(path, ((yard.now - timedelta(days=40)).timestamp(),) * 2)
        yard.standing(1)
        plan = yard.plan(unarchived=True, max_size=1)
        assert not plan.steps and start.year == 1970
        assert reasons_of(plan)["1970/01/01/REO_front_19700101000500.mp4"] == Reason.CLOCK_DOUBTFUL

    @pytest.mark.parametrize("tree", ["archive", "source"])
    def test_an_empty_mount_point_is_never_taken_for_a_tree(self, tmp_path: Path, tree: str) -> None:
        yard = Yard(tmp_path / "cams", archive_root=tmp_path / "disk")
        clip = yard.standing(40)
        yard.record(1)
        root = getattr(yard.trees, tree)
        shutil.move(root, tmp_path / "unmounted")
        root.mkdir()
        with pytest.raises(StorageError, match="volume marker"):
            yard.plan()
            volume.check_both(yard.trees)
        assert list(root.iterdir()) == []
        assert (tmp_path / "unmounted" / clip.folder / clip.name).exists()

    # --- brakes --------------------------------------------------------------------------------------

    def test_more_than_half_of_a_camera_for_good_needs_a_word(self, yard: Yard) -> None:
        for days in (1, 40, 41, 42):
            yard.record(days)
        plan = yard.plan(unarchived=True)
        assert plan.refused == 2 and plan.problems[0].code == "too-large"
        assert "3 of 4 clips of front" in plan.problems[0].message
        before = yard.files()
        assert yard.carry_out(plan).exit_code == 2
        assert yard.files() == before
        assert yard.plan(unarchived=True, max_removals=2, allow_large=True).refused == 0

    def test_many_removals_need_a_word_unless_they_lose_nothing(self, yard: Yard) -> None:
        for days in range(1, 6):
            yard.record(days)
        for days in (40, 41):
            yard.record(days)
        assert yard.plan(unarchived=True, max_removals=2).refused == 0
        plan = yard.plan(unarchived=True, max_removals=1)
        assert plan.refused == 2 and "max_removals (1)" in plan.problems[0].message
        for days in range(50, 60):
            yard.standing(days)
        assert yard.plan(max_removals=1).refused == 0

    # --- between plan and removal --------------------------------------------------------------------

    @pytest.mark.edge
    @pytest.mark.parametrize("change", [grow, swap_in, Path.unlink])
    def test_a_file_that_changed_since_the_plan_is_left(
        self, yard: Yard, change: Callable[[Path], object]
    ) -> None:
        clip, other = yard.standing(40), yard.standing(41)
        yard.record(1)
        plan = yard.plan()
        change(clip.path)
        changed = clip.path.read_bytes() if clip.path.exists() else None
        results = {outcome.step.path: outcome.result for outcome in yard.carry_out(plan).outcomes}
        assert results == {clip.path: Result.STALE, other.path: Result.DONE}
        assert (clip.path.read_bytes() if clip.path.exists() else None) == changed

    @pytest.mark.edge
    def test_an_archive_that_vanished_since_the_plan_keeps_its_source(self, yard: Yard) -> None:
        clip, trashed = yard.standing(40), yard.given_away(41, trashed=30)
        yard.record(1)
        plan = yard.plan()
        assert len(plan.steps) == 2
        shutil.rmtree(yard.trees.archive / clip.folder)
        shutil.rmtree(yard.trees.archive / trashed.parent.relative_to(yard.trees.trash / "input"))
        report = yard.carry_out(plan)
        assert {outcome.result for outcome in report.outcomes} == {Result.STALE}
        assert clip.path.exists() and trashed.exists()

    @pytest.mark.edge
    @pytest.mark.parametrize("tree", ["source", "trash"])
    def test_a_folder_swapped_for_a_link_is_not_followed(self, yard: Yard, tmp_path: Path, tree: str) -> None:
        clip = yard.standing(40).path if tree == "source" else yard.given_away(40, trashed=30)
        yard.record(1)
        plan = yard.plan()
        elsewhere = tmp_path / "elsewhere"
        clip.parent.rename(elsewhere)
        clip.parent.symlink_to(elsewhere)
        report = yard.carry_out(plan)
        assert [outcome.result for outcome in report.outcomes] == [Result.STALE]
        assert (elsewhere / clip.name).exists()

    @pytest.mark.edge
    def test_a_trash_swapped_for_a_link_gets_nothing(self, yard: Yard, tmp_path: Path) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        yard.trees.trash.mkdir()
        (yard.trees.trash / "input").symlink_to(elsewhere)
        report = yard.carry_out(plan)
        assert [outcome.result for outcome in report.outcomes] != [Result.DONE]
        assert clip.path.exists() and list(elsewhere.iterdir()) == []

    def test_a_clip_that_another_process_works_on_is_busy(self, yard: Yard) -> None:
        clip = yard.standing(40)
        yard.record(1)
        plan = yard.plan()
        with locking.clip_lock(clip.path, place=yard.trees.state / "locks"):
            report = yard.carry_out(plan)
        assert [(outcome.result, outcome.step.path) for outcome in report.outcomes] == [
            (Result.BUSY, clip.path)
        ]
        assert clip.path.exists()

    def test_a_stop_leaves_the_rest_and_says_how_much(self, yard: Yard) -> None:
        for days in range(40, 50):
            yard.standing(days)
        yard.record(1)
        plan, stop = yard.plan(), Stop()
        seen: list[Outcome] = []

        def tell(outcome: Outcome) -> None:
            seen.append(outcome)
            if len(seen) == 3:
                stop.ask(signal.SIGTERM)

        pipeline = yard.pipeline()
        report = pipeline.cleanup(plan, SidecarPolicy.TRASH, stop=stop, display=Silent(), tell=tell)
        assert (len(report.outcomes), report.remaining) == (3, 7)
        assert report.exit_code == 128 + signal.SIGTERM
        assert len(yard.events("trashed")) == 3
        assert len(yard.events("left")) == 7, "an intent that was not carried out has its end"
        assert len(yard.carry_out(yard.plan()).outcomes) == 7

    @pytest.mark.edge
    def test_a_removal_that_fails_when_the_file_is_gone_already_is_told_by_the_next_start(
        self, yard: Yard, mocker: MockerFixture
    ) -> None:
        """The disk fills up between the rename into the trash and its fsync."""
        old, _ = yard.standing(40), yard.standing(5)
        move = trash.move

        def moves_and_fails(*arguments: Any, **named: Any) -> str:
            move(*arguments, **named)
            raise OSError(errno.ENOSPC, "No space left on device", str(old.path))

        mocker.patch.object(trash, "move", moves_and_fails)
        assert [each.result for each in yard.carry_out(yard.plan()).outcomes] == ["failed"]
        mocker.stopall()
        assert not old.path.exists() and yard.events("left", "trashed") == []
        (note,) = (yard.trees.state / "intents").iterdir()
        fields = json.loads(note.read_text())
        note.write_text(json.dumps({**fields, "pid": 2**22 + 1}))
        yard.pipeline().sweep(SidecarPolicy.TRASH)
        (told,) = yard.events("trashed")
        assert (yard.trees.trash / told["trash"]).exists()
        assert not list((yard.trees.state / "intents").iterdir())

    # --- kills ---------------------------------------------------------------------------------------

    @pytest.mark.edge
    def test_killed_anywhere_it_loses_nothing_unnamed_and_forgets_nothing_gone(
        self, tmp_path: Path, sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int]
    ) -> None:
        model = Yard(tmp_path / "model")
        model.standing(40)
        model.given_away(41, trashed=30)
        model.archive(gone := model.record(42))
        gone.path.unlink()
        for days in (1, 2, 3):
            model.standing(days)
        place = tmp_path / "cams"

        def fresh() -> Yard:
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run(["cp", "-a", model.trees.source, place], check=True)
            return Yard(place)

        def act() -> None:
            yard = fresh_or_same[0]
            yard.carry_out(yard.plan(clean_output=True))

        def check() -> None:
            yard = fresh_or_same[0]
            yard.pipeline().sweep(SidecarPolicy.TRASH)
            gone = before.keys() - yard.files().keys()
            assert gone <= named, "something went that the plan did not name"
            told = yard.events("trashed", "deleted", "purged")
            for path in gone:
                assert any(Path(path).name in json.dumps(line) for line in told), (
                    f"{path}: no line tells of it"
                )
            yard.carry_out(yard.plan(clean_output=True))
            assert before.keys() - yard.files().keys() == named
            assert not list(intents.standing(yard.trees.state, "")), "an intent is left without an end"
            fresh_or_same[0] = fresh()

        fresh_or_same = [fresh()]
        before = fresh_or_same[0].files()
        plan = fresh_or_same[0].plan(clean_output=True)
        named = {os.path.relpath(step.path, place) for step in plan.steps}
        assert len(named) == 5
        assert sweep_kills(act, check) > 15

    @pytest.mark.edge
    def test_cleanup_and_archive_at_once_lose_nothing(self, camera: Camera) -> None:
        for minute in range(6):
            camera.add("front", f"10{minute:02}00")
        assert camera.archive("--keep-source").code == 0
        for minute in range(3):
            camera.add("garden", f"10{minute:02}00")
        code = (
            "from datetime import timedelta\n"
            "from camarchiver import retention\n"
            "retention._FAR = timedelta(40000)\n"
            "from camarchiver.__main__ import main\n"
            "main()"
        )
        command = [
            sys.executable,
            "-c",
            code,
            "cleanup",
            camera.root,
            "-o",
            camera.archive_root,
            "-y",
            "--json",
        ]
        cleaning = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "HOME": str(camera.home), "TZ": "UTC"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        archiving = camera.start()
        out, errors = cleaning.communicate(timeout=60)
        archiving.end()
        assert "Traceback" not in errors
        assert json.loads(out)["outcomes"]
        camera.assert_nothing_lost()
        assert camera.archive().code == 0
        camera.assert_finished()


class CleanupMachine(RuleBasedStateMachine):
    """Trees and policies at random: what goes was named, and last copies only by rules that may take them."""

    cameras = st.sampled_from(["front", "garden"])
    ages = st.sampled_from([1.0, 5.0, 20.0, 35.0, 60.0, 200.0])

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.yard = Yard(Path(self._folder.name) / "cams")
        self.clips: dict[str, Clip] = {}
        self.archived: dict[str, Archived] = {}
        self.held: set[str] = set()
        self.foreign: set[str] = set()
        self.damaged: set[str] = set()
        """Archives that were found damaged, though their size is right."""
        self.made = 0

    def teardown(self) -> None:
        self._folder.cleanup()

    @initialize()
    def begin(self) -> None:
        """Young clips of each camera: without them the brakes refuse nearly every plan."""
        for days in (0.5, 1.5, 2.5, 3.5):
            self.record(days, "front", archived=True, picture=False)
            self.record(days, "garden", archived=True, picture=False)

    @rule(days=ages, camera=cameras, archived=st.booleans(), picture=st.booleans())
    def record(self, days: float, camera: str, archived: bool, picture: bool) -> None:
        self.made += 1
        clip = self.yard.record(days + self.made / 1000, camera)
        if picture:
            clip.path.with_suffix(".jpg").write_bytes(clip.name.encode())
            clip = self.yard.clip(clip.path, camera, clip.start)
        self.clips[clip.relative] = clip
        if archived:
            self.archived[clip.relative] = self.yard.archive(clip)

    @precondition(lambda self: self.archived)
    @rule(data=st.data(), days=st.sampled_from([25.0, 1.0]), damaged=st.sampled_from(["no", "gone", "found"]))
    def trash(self, data: st.DataObject, days: float, damaged: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.archived)))
        clip = self.clips[name]
        is_same = clip.path.exists() and trash.fingerprint_of(clip.path.lstat()) == clip.fingerprint
        if is_same and (self.yard.trees.archive / name).exists():
            self.yard.trash(self.clips[name], self.archived[name], days)
            if damaged == "gone":
                (self.yard.trees.archive / name).unlink()
            elif damaged == "found":
                self.yard.find_damaged(name)
                self.damaged.add(name)

    @precondition(lambda self: self.archived)
    @rule(data=st.data(), gone=st.booleans())
    def damage(self, data: st.DataObject, gone: bool) -> None:
        """An archive vanishes, or loses its end."""
        path = self.yard.trees.archive / data.draw(st.sampled_from(sorted(self.archived)))
        if path.exists():
            path.unlink() if gone else os.truncate(path, 10)

    @precondition(lambda self: self.archived)
    @rule(data=st.data())
    def find_damaged(self, data: st.DataObject) -> None:
        """Bytes of an archive rot, and `verify` finds it."""
        name = data.draw(st.sampled_from(sorted(self.archived)))
        self.yard.find_damaged(name)
        self.damaged.add(name)

    @precondition(lambda self: self.damaged)
    @rule(data=st.data())
    def find_sound(self, data: st.DataObject) -> None:
        """A copy of its own was put back, and `verify` finds it sound."""
        name = data.draw(st.sampled_from(sorted(self.damaged)))
        self.yard.find_sound(name)
        self.damaged.discard(name)

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def doubt(self, data: st.DataObject) -> None:
        """A camera's clock, or a copy, gave a clip another time."""
        clip = self.clips[data.draw(st.sampled_from(sorted(self.clips)))]
        if clip.path.exists():
            os.utime(clip.path, (0, 0))

    @precondition(lambda self: self.clips)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.clips)))
        clip = self.clips[name]
        soon = clip.start + timedelta(seconds=1)
        holds.add(self.yard.trees.state, clip.start, soon, camera=clip.camera, reason="x", until=None)
        self.held.add(name)

    @rule(tree=st.sampled_from(["source", "archive", "trash"]))
    def drop(self, tree: str) -> None:
        """A file of somebody else's."""
        path = getattr(self.yard.trees, tree) / f"2020/foreign{self.made}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"foreign")
        self.foreign.add(os.path.relpath(path, self.yard.trees.source))

    @rule(
        age=ages,
        trash_age=st.sampled_from([0.0, 10.0]),
        hard=st.sampled_from([None, 100.0]),
        size=st.sampled_from([None, 1, 30_000, 10**9]),
        switches=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from([True, True, False])),
    )
    def clean(
        self,
        age: float,
        trash_age: float,
        hard: float | None,
        size: int | None,
        switches: tuple[bool, bool, bool, bool],
    ) -> None:
        output, unarchived, delete, large = switches
        policy = {"age": age, "trash_age": trash_age, "max_age_hard": hard, "max_size": size}
        policy |= {"clean_output": output, "unarchived": unarchived, "delete": delete, "allow_large": large}
        before = self.yard.files()
        copies = {name: self.copies(name, before) for name in self.clips}
        plan = self.yard.plan(**policy)
        again = self.yard.pipeline().plan_cleanup(cleanup_policy(**policy), list_all=False)
        assert (list(again.steps), again.totals) == (list(plan.steps), plan.totals)
        assert self.yard.files() == before, "a plan changed something"
        report = self.yard.carry_out(plan)
        after = self.yard.files()
        self.check(plan, report, before, after)
        for name, had in copies.items():
            left = self.copies(name, after)
            if name in self.held:
                assert left == had, f"{name} is held"
            named = {step.reason for step in plan.steps if isinstance(step, Discard) and step.source == name}
            if had and not left:
                assert named & ledger.NAMED, f"{name} lost its last copy by {named}"
            archive = f"archived/{name}"
            if name in self.damaged and archive in before and archive not in after:
                assert named == {Reason.MAX_AGE_HARD}, f"the damaged {archive} went by {named}"
        self.damaged = {name for name in self.damaged if f"archived/{name}" in after}

    def check(
        self, plan: CleanupPlan, report: Report, before: dict[str, bytes], after: dict[str, bytes]
    ) -> None:
        source = self.yard.trees.source
        named = {os.path.relpath(step.path, source) for step in plan.steps}
        named |= {
            os.path.relpath(step.clip.root / step.clip.beside(name), source)
            for step in plan.steps
            if isinstance(step, Discard)
            for name in step.clip.sidecars
        }
        assert before.keys() - after.keys() <= named, "something went that the plan did not name"
        assert all(after[path] == before[path] for path in before.keys() & after.keys())
        assert not plan.refused or after == before, "a refused plan was carried out"
        assert self.foreign <= after.keys()
        assert set(after.values()) <= set(before.values()), "something new appeared"
        failed = [outcome for outcome in report.outcomes if outcome.result is Result.FAILED]
        assert not failed

    def copies(self, name: str, files: dict[str, bytes]) -> set[str]:
        """Where a clip's footage stands: its very bytes in source or trash, its archive by its size."""
        whole = random.Random(f"{self.clips[name].camera}{self.clips[name].start}").randbytes(10_000)
        found = {place for place in (name, f".deleted/input/{name}") if files.get(place) == whole}
        places = () if name in self.damaged else (f"archived/{name}", f".deleted/output/{name}")
        return found | {place for place in places if len(files.get(place, b"")) == 3000}


CleanupMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
TestCleanupMachine = pytest.mark.edge(CleanupMachine.TestCase)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskCluster]:
    """A scheduler on loopback; workers are started by the test, and all are gone afterwards."""
    pytest.importorskip("distributed", reason="the extra `distributed` is not installed")
    cluster = DaskCluster(tmp_path / "dask")
    yield cluster
    cluster.close()


class DaskCluster:
    """Real Dask processes; `address` is the scheduler's."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self._place = place
        self._processes: list[subprocess.Popen[bytes]] = []
        self._file = place / "scheduler.json"
        listening = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self._start("scheduler", *listening, "--scheduler-file", self._file)
        wait_until(self._file.exists, "the scheduler", seconds=60)
        self.address = str(json.loads(self._file.read_text())["address"])

    def worker(
        self, name: str, *options: str, slots: int = 1, preload: str = "", before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """A worker process without a nanny; `preload` is Python that it runs first."""
        arguments: list[object] = [self.address, "--no-dashboard", "--no-nanny", "--nthreads", 2]
        arguments += ["--name", name, "--local-directory", self._place / name, "--host", "127.0.0.1"]
        arguments += ["--resources", f"encoder={slots}"] if slots else []
        if preload:
            (self._place / f"{name}.py").write_text(preload)
            arguments += ["--preload", self._place / f"{name}.py"]
        process = self._start("worker", *arguments, *options, name=name, before=before)
        log = self._place / f"{name}.log"
        wait_until(lambda: b"Registered to" in log.read_bytes(), f"the worker {name}", seconds=60)
        return process

    def _start(
        self, kind: str, *arguments: object, name: str = "scheduler", before: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        command = [*before, sys.executable, "-m", "distributed.cli.dask_" + kind, *map(str, arguments)]
        with (self._place / f"{name}.log").open("wb") as log:
            environment = {**os.environ, "CAMARCHIVER_HOST_ID": name, "TZ": "UTC"}
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End every process."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()


@pytest.mark.slow
class TestCluster:
    """`archive --scheduler` with a real scheduler and real worker processes."""

    def test_every_clip_is_archived_once_though_a_worker_is_killed_in_the_middle_of_one(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg, tmp_path: Path
    ) -> None:
        for minute in range(6):
            camera.add("front", f"10{minute:02}00")
        gate = Gate(tmp_path)
        stale = (
            "from camarchiver import lockfile, locking\n"
            "lockfile.STALE_LOCK_SECONDS = 4\n"
            "locking.HEARTBEAT_SECONDS = 1\n"
        )
        workers = [dask.worker(name, preload=stale) for name in ("one", "two")]
        busy = "from camarchiver import cluster\ncluster.BUSY_SECONDS = 60\n"
        ffmpeg = odd_ffmpeg(gate.script(after=False))
        run = camera.start("--json", "--scheduler", dask.address, ffmpeg=ffmpeg, patch=busy)
        wait_until(gate.waiting.exists, "the encoding", seconds=60)
        wait_until(lambda: len(list(camera.archive_root.rglob("*.staged.mp4"))) == 2, "both", seconds=60)
        workers[0].kill()
        gate.open.touch()
        run.end(200)
        document = run.document()
        assert [outcome["result"] for outcome in document["outcomes"]] == ["done"] * 6, run.errors
        assert run.code == 0
        assert {event["host"] for event in camera.events("archived")} == {socket.gethostname()}
        assert camera.archive().code == 0, "the next run sweeps what the dead worker left"
        camera.assert_finished()

    def test_who_cannot_take_part_is_told_before_the_first_clip(
        self, camera: Camera, dask: DaskCluster
    ) -> None:
        camera.add()
        nobody = camera.archive("--dry-run", "--scheduler", dask.address)
        assert (nobody.code, "it has none" in nobody.errors) == (12, True)
        dask.worker("plain", slots=0)
        hidden = f'mount -t tmpfs none {camera.root} && exec "$@"'
        if IS_ROOT:
            dask.worker("blind", before=("unshare", "-m", "sh", "-c", hidden, "sh"))
        refused = camera.archive("--scheduler", dask.address)
        assert refused.code == 12
        assert '--resources "encoder=N"' in refused.errors
        if IS_ROOT:
            assert "blind (127.0.0.1): the archive" in refused.errors
            assert "is not the one of this run" in refused.errors
        dask.worker("good", slots=2)
        lacking = camera.archive("--encoder", "v4l2m2m", "--scheduler", dask.address)
        assert lacking.code == 12
        assert "good (127.0.0.1): h264_v4l2m2m" in lacking.errors
        planned = camera.archive("--dry-run", "--scheduler", dask.address)
        assert planned.code == 0
        assert "good (127.0.0.1): libx264" in planned.out
        assert "plain (127.0.0.1) can't take part" in planned.out
        assert camera.archives() == [] and len(camera.sources()) == 1
        assert camera.archive("--scheduler", dask.address).code == 0
        camera.assert_finished()

    def test_a_signal_ends_the_workers_jobs_too(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        camera.add("front")
        camera.add("garden")
        dask.worker("one")
        run = camera.start("--scheduler", dask.address, ffmpeg=odd_ffmpeg(SLOW))
        wait_until(lambda: processes_with(f"file:{camera.archive_root}/"), "the encoding", seconds=60)
        run.process.send_signal(signal.SIGTERM)
        run.end(60)
        assert run.code == 128 + signal.SIGTERM, run.errors
        assert "stopped by signal 15" in run.out
        assert processes_with(f"file:{camera.archive_root}/") == []
        assert len(camera.sources()) == 2 and camera.archives() == []
        assert camera.archive("--scheduler", dask.address).code == 0
        camera.assert_finished()

    def test_when_no_worker_is_left_the_run_ends_and_says_so(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        camera.add()
        worker = dask.worker("only")
        patch = "from camarchiver import cluster\ncluster.ALONE_SECONDS = 3\n"
        run = camera.start("--json", "--scheduler", dask.address, ffmpeg=odd_ffmpeg(SLOW), patch=patch)
        wait_until(lambda: processes_with(f"file:{camera.archive_root}/"), "the encoding", seconds=60)
        worker.kill()
        run.end(90)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", 1)
        assert f"no worker of {dask.address} is left" in outcome["detail"]
        wait_until(lambda: not processes_with(f"file:{camera.archive_root}/"), "the end of ffmpeg")
        assert len(camera.sources()) == 1
        assert camera.archive(host="only").code == 0
        camera.assert_finished()

    def test_what_a_worker_tells_is_checked(self, camera: Camera, dask: DaskCluster) -> None:
        """A worker whose disk lost what it wrote: neither journalled nor removed."""
        camera.add()
        torn = (
            "from camarchiver import archiver, atomic\n"
            "publish = atomic.publish\n"
            "class Torn:\n"
            "    def __getattr__(self, name): return getattr(atomic, name)\n"
            "    def publish(self, part, target):\n"
            "        publish(part, target)\n"
            "        target.chmod(0o600)\n"
            "        with target.open('r+b') as stream: stream.seek(-9, 2); stream.write(b'zeroed...')\n"
            "archiver.atomic = Torn()\n"
        )
        dask.worker("torn", preload=torn)
        run = camera.archive("--json", "--scheduler", dask.address)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", 1)
        assert "reads differently here" in outcome["detail"]
        assert len(camera.sources()) == 1 and camera.events("archived") == []

    def test_a_journal_that_cannot_be_written_keeps_the_source(
        self, camera: Camera, dask: DaskCluster
    ) -> None:
        camera.add()
        dask.worker("one")
        full = (
            "import errno\n"
            "from camarchiver.journal import Journal\n"
            "def append(self, *events): raise OSError(errno.ENOSPC, 'No space left on device')\n"
            "Journal.append = append\n"
        )
        run = camera.archive("--json", "--scheduler", dask.address, patch=full)
        outcome = run.document()["outcomes"][0]
        assert (outcome["result"], run.code) == ("failed", 1)
        assert "could not be written down here" in outcome["detail"]
        assert len(camera.sources()) == 1 and camera.events("archived") == []
        assert camera.archive().code == 0, "the next run adopts what the worker made"
        camera.assert_finished()

    def test_a_worker_makes_lossless_copies_too(
        self, camera: Camera, dask: DaskCluster, odd_ffmpeg: OddFfmpeg
    ) -> None:
        content = camera.add().read_bytes()
        dask.worker("one")
        run = camera.archive("--json", "--scheduler", dask.address, ffmpeg=odd_ffmpeg("    exit 1"))
        assert run.code == 0, run.errors
        assert [each["unencoded"] for each in run.document()["outcomes"]] == ["refused"]
        assert [archive.read_bytes() for archive in camera.archives()] == [content]
        assert [event["event"] for event in camera.events()] == ["copying", "archived", "trashed"]
        camera.assert_finished()

    def test_a_scheduler_that_is_not_there(self, camera: Camera) -> None:
        camera.add()
        patch = "from camarchiver import cluster\ncluster.CONNECT_SECONDS = 2\n"
        run = camera.archive("--scheduler", "tcp://127.0.0.1:9", patch=patch)
        assert run.code == 12
        assert "the scheduler tcp://127.0.0.1:9 can't be reached" in run.errors
        absent = "import sys\nsys.modules['distributed'] = None\n"
        missing = camera.archive("--scheduler", "tcp://127.0.0.1:9", patch=absent)
        assert missing.code == 2
        assert f"{sys.executable} -m pip install 'distributed>=" in missing.errors
        assert len(camera.sources()) == 1


class TestDetectorMask:
    @pytest.mark.parametrize(("black", "expected"), [("left", False), ("right", True)])
    def test_black_parts_of_a_picture_are_ignored(self, tmp_path: Path, black: str, expected: bool) -> None:
        mask = np.full((360, 640), 255, np.uint8)
        mask[:, slice(0, 320) if black == "left" else slice(320, 640)] = 0
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        detector = Detector(Rules(), View(mask=tmp_path / "mask.png"))
        rng = np.random.default_rng(2)
        wall = np.kron(rng.integers(60, 190, (23, 40)), np.ones((8, 8)))[:180].astype(np.uint8)
        scores = [detector.score(wall, number * 0.2).area for number in range(12)]
        for number in range(5):
            frame = wall.copy()
            frame[80:140, 40 + 8 * number : 60 + 8 * number] = 0
            scores.append(detector.score(frame, 2.4 + number * 0.2).area)
        assert any(scores) is expected

    def test_a_mask_that_is_no_picture(self, tmp_path: Path) -> None:
        (tmp_path / "mask.png").write_text("not a picture")
        with pytest.raises(UsageError, match="readable picture"):
            Detector(Rules(), View(mask=tmp_path / "mask.png")).score(np.zeros((180, 320), np.uint8), 0.0)


class TestFrames:
    @pytest.mark.parametrize("options", [("-bf", "0"), ("-bf", "3"), ("-pix_fmt", "yuv420p10le")])
    def test_five_pictures_a_second_in_order(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        pictures = sampled(encode(tmp_path / "a.mp4", *options))
        assert [picture.at for picture in pictures] == pytest.approx([n / 5 for n in range(10)], abs=0.07)
        assert {picture.luma.shape for picture in pictures} == {(240, 320)}

    def test_every_frame_of_a_slower_source(self, tmp_path: Path) -> None:
        assert len(sampled(encode(tmp_path / "a.mp4", filters="fps=3"))) == 6

    def test_a_damaged_packet_brings_nothing_and_ends_nothing(self, tmp_path: Path) -> None:
        pictures: list[Picture] = []
        sampler: Sampler | None = None
        for number, (stream, packet) in enumerate(demux(encode(tmp_path / "a.mp4", seconds=6))):
            sampler = sampler or Sampler(stream.codec_context)
            if packet is not None and number in (20, 21):
                garbled = cast("Packet[AvVideoStream]", Packet(b"\x00\x00\x00\x04\xff\xff\xff\xff"))
                garbled.pts, garbled.dts, garbled.time_base = packet.pts, packet.dts, packet.time_base
                pictures += sampler.feed(garbled)
            else:
                pictures += sampler.feed(packet)
        assert pictures[-1].at > 5.5

    def test_only_keyframes_while_nothing_happens(self, tmp_path: Path) -> None:
        assert self._keyframed(encode(tmp_path / "a.mp4", "-bf", "2", seconds=8), set()) == [0, 2, 4, 6]

    def test_no_more_than_one_keyframe_a_second(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", "-g", "5", seconds=4), set())
        assert times == [0, 1, 2, 3]

    def test_a_dropped_suspicion_brings_the_group_before_and_half_a_second(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", "-bf", "2", seconds=8), {4.0})
        assert times == sorted(set(times))
        assert (times[:2], times[-1]) == ([0, 2], 6)
        assert times[2:-1] == pytest.approx([2 + n / 5 for n in range(1, len(times) - 2)], abs=0.07)
        assert 4.3 < times[-2] < 4.7

    def test_a_confirmed_suspicion_leaves_it_to_the_keyframes(self, tmp_path: Path) -> None:
        times = self._keyframed(encode(tmp_path / "a.mp4", seconds=8), {4.0}, moves=(2.9, 5.0))
        assert times == pytest.approx([0, 2, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 4, 6], abs=0.07)

    def test_rare_keyframes_leave_it_to_every_frame(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-g", "40", "-keyint_min", "40", seconds=12)
        times = self._keyframed(clip, {5.333}, moves=(3.1, 6.0))
        assert (times[:2], times[-2:]) == ([0, 2.667], [8, 10.667])
        assert times[2:-2] == pytest.approx([2.667 + n / 5 for n in range(1, len(times) - 3)], abs=0.07)
        assert 7 < times[-3] < 8

    def test_a_keyframe_that_does_not_come_is_not_waited_for(self, tmp_path: Path) -> None:
        clip = encode(tmp_path / "a.mp4", "-force_key_frames", "0,2,4,12", "-g", "1000", seconds=14)
        times = self._keyframed(clip, {4.0}, moves=(2.9, 9.0))
        assert times[:9] == pytest.approx([0, 2, 2.2, 2.4, 2.6, 2.8, 3.0, 3.2, 4], abs=0.07)
        assert times[9:-1] == pytest.approx([4 + n / 5 for n in range(1, len(times) - 9)], abs=0.07)
        assert 9.5 < times[-2] < 11
        assert times[-1] == 12

    def _keyframed(
        self, path: Path, suspects: set[float], *, moves: tuple[float, float] = (99, 99)
    ) -> list[float]:
        """Times of the pictures looked at; keyframes named are suspicious, and motion is scored from to."""
        gates, keys = [motion.Gate()], [0.0]
        sampler: KeyframeSampler | None = None
        times: list[float] = []
        for stream, packet in demux(path):
            sampler = sampler or KeyframeSampler(
                stream.codec_context, suspicious=lambda _: keys[-1] in suspects, gate=lambda: gates[-1]
            )
            if packet is not None and packet.is_keyframe:
                keys.append(round(float((packet.pts or 0) * packet.time_base), 3))
            for picture in sampler.feed(packet):
                times.append(round(picture.at, 3))
                score = Score(float(moves[0] < picture.at < moves[1]))
                gates.append(motion.step(gates[-1], score, picture.at)[0])
        return times


REC_START = datetime(2026, 5, 3, 14, 20, 5, tzinfo=UTC)


def rec_items(path: Path) -> tuple[Opened, list[Entry]]:
    """A whole file as its reader gives it."""
    reader = Reader(FileCamera(path))
    opened = reader.take(10)
    assert isinstance(opened, Opened)
    entries = []
    while isinstance(item := reader.take(10), Entry):
        entries.append(item)
    assert item == Ended()
    return opened, entries


def rec_watch(**chosen: bool) -> Watch:
    return Watch(motion.rules_for("medium"), View(), chosen.get("keyframes", False))


@pytest.fixture
def rec_folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "spool" / "yard", tmp_path / "outbox" / "yard")
    folders.make()
    return folders


@pytest.fixture
def rec_take(rec_folders: Folders, rec_twice: Path) -> Take:
    """A clip of everything from the fifth keyframe on, still open."""
    opened, entries = rec_items(rec_twice)
    first = next(entry for entry in entries if entry.key and entry.at >= 4)
    take = Take(rec_folders, Label(REC_START, first, 6.0, 0.2), opened.video, opened.audio)
    for entry in entries[entries.index(first) :]:
        if entry.at >= first.at:
            take.write(entry)
    return take


class TestSentry:
    @pytest.mark.parametrize("keyframes", [False, True])
    def test_it_tells_when_motion_was(self, rec_twice: Path, keyframes: bool) -> None:
        opened, entries = rec_items(rec_twice)
        sentry = Sentry(rec_watch(keyframes=keyframes))
        sentry.begin(opened.video.codec_context)
        events: list[Event] = []
        for entry in entries:
            if entry.video:
                events += sentry.feed(entry)
        events += sentry.finish()
        assert [round(event.start) for event in events] == [6, 16]
        # between two keyframes nobody looks
        late = 2 if keyframes else 0
        assert all(end <= event.end <= end + 0.5 + late for end, event in zip((8, 18), events, strict=True))
        assert sentry.open is None

    def test_the_end_cuts_motion_off(self, rec_twice: Path) -> None:
        opened, entries = rec_items(rec_twice)
        sentry = Sentry(rec_watch())
        sentry.begin(opened.video.codec_context)
        for entry in entries:
            if entry.video and entry.at < 7:
                assert not list(sentry.feed(entry))
        assert sentry.open is not None
        assert [round(event.start) for event in sentry.finish()] == [6]


class TestSnapshot:
    def test_the_frame_of_the_moment(self, rec_twice: Path, tmp_path: Path) -> None:
        data = snapshot.jpeg(rec_twice, 7.0)
        assert data is not None
        assert data.startswith(b"\xff\xd8")
        with av.open(str(rec_twice)) as container:
            shown = next(frame for frame in container.decode(video=0) if frame.time and frame.time >= 7.0)
        (tmp_path / "x.jpg").write_bytes(data)
        with av.open(str(tmp_path / "x.jpg")) as picture:
            found = next(picture.decode(video=0)).to_ndarray(format="gray").astype(int)
        assert abs(found - shown.to_ndarray(format="gray")).mean() < 3


def rec_mjpeg(tmp_path: Path, rec_twice: Path, *options: str) -> Path:
    """What a USB camera sends: MJPEG, or what the options say, with uncompressed sound."""
    made = tmp_path / "usb.avi"
    words = options or ("-c:v", "mjpeg", "-q:v", "4")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(rec_twice)]
    subprocess.run([*command, "-t", "6", *words, "-c:a", "pcm_s16le", str(made)], check=True)
    return made


def rec_taken(reader: Reader, count: int = 1000) -> list[object]:
    """What a reader gives until its end, a loss, or so many items."""
    items: list[object] = []
    while len(items) < count:
        item = reader.take(20)
        items.append(item)
        if isinstance(item, Ended | Lost):
            break
    reader.close()
    return items


class TestLive:
    @pytest.mark.parametrize(
        "options", [(), ("-c:v", "rawvideo", "-pix_fmt", "yuyv422"), ("-c:v", "mpeg2video")]
    )
    def test_what_is_not_compressed_is_encoded_frame_by_frame(
        self, rec_twice: Path, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        source = rec_mjpeg(tmp_path, rec_twice, *options)
        opened, *entries = rec_taken(Reader(FileCamera(source), encodes=True))
        assert isinstance(opened, Opened)
        assert opened.video.codec_context.name == "h264"
        assert opened.audio is not None
        assert opened.audio.codec_context.name == "aac"
        assert entries.pop() == Ended()
        video = [entry for entry in entries if isinstance(entry, Entry) and entry.video]
        assert len(video) == frames_of(source)
        keys = [entry.at for entry in video if entry.key]
        assert max(later - earlier for earlier, later in pairwise(keys)) <= 2.0
        times = [video[0].at + number / 15 for number in range(len(video))]
        assert [entry.at for entry in video] == pytest.approx(times, abs=0.002)

    @pytest.mark.parametrize("part", [0.5, 0.71, 0.9])
    def test_a_source_that_breaks_off_amid_a_frame_gives_no_piece_of_it(
        self, rec_twice: Path, tmp_path: Path, part: float
    ) -> None:
        whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
        remux = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-c", "copy"]
        subprocess.run([*remux, "-movflags", "+faststart", str(whole)], check=True)
        data = whole.read_bytes()
        broken.write_bytes(data[: int(len(data) * part)])
        with av.open(str(broken)) as container:
            assert [packet.is_corrupt for packet in container.demux() if packet.size][-1]
        sent = [bytes(entry.packet) for entry in rec_items(whole)[1]]
        came = [bytes(entry.packet) for entry in rec_items(broken)[1]]
        assert came == sent[: len(came)]
        assert len(came) > len(sent) * part / 2

    def test_mjpeg_from_a_fifo_is_encoded_as_it_comes(self, rec_twice: Path, tmp_path: Path) -> None:
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-re",
            "-i",
            str(rec_twice),
        ]
        words = [*command, "-t", "4", "-an", "-c:v", "mjpeg", "-f", "matroska", str(fifo)]
        writer = subprocess.Popen(words)
        opened, *entries = rec_taken(Reader(FileCamera(fifo), encodes=True))
        assert writer.wait(20) == 0
        assert isinstance(opened, Opened)
        assert entries.pop() == Ended()
        assert len(entries) == 60
        arrivals = [cast("Entry", entry).arrival for entry in entries]
        assert arrivals[-1] - arrivals[0] > 1.0

    def test_a_reader_that_only_watches_encodes_nothing(self, rec_twice: Path, tmp_path: Path) -> None:
        opened, *entries = rec_taken(Reader(FileCamera(rec_mjpeg(tmp_path, rec_twice))))
        assert isinstance(opened, Opened)
        assert opened.video.codec_context.name == "mjpeg"
        assert sum(isinstance(entry, Entry) and entry.video for entry in entries) == 6 * 15

    def test_an_encoder_that_fails_its_trial_is_passed_over(self, mocker: MockerFixture) -> None:
        broken = live.Way("libx264", ("-preset", "no-such-preset"))
        mocker.patch.object(live, "WAYS", (broken, live.WAYS[-1]))
        assert live.compressor.__wrapped__().way == live.WAYS[-1]
        mocker.patch.object(live, "WAYS", (broken,))
        with pytest.raises(EncoderError, match=r"H\.264"):
            live.compressor.__wrapped__()

    def test_an_encoder_that_dies_is_no_end_of_the_source(self, rec_twice: Path, tmp_path: Path) -> None:
        source = rec_mjpeg(tmp_path, rec_twice)
        reader = Reader(FileCamera(source), encodes=True)
        assert isinstance(reader.take(20), Opened)
        for pid in children_with("pipe:0"):
            os.kill(pid, signal.SIGKILL)
        last = rec_taken(reader)[-1]
        assert isinstance(last, Ended)
        assert last.error.endswith("ended with status -9")


FAKE_DEVICE = """#!/bin/sh
# an ffmpeg whose camera is a clip: everything up to the input is replaced
while [ "$1" != /dev/video0 ]; do shift; done
shift
{script}
exec {ffmpeg} -v error -re -i {clip} "$@"
"""


@pytest.fixture
def rec_device(tmp_path: Path, mocker: MockerFixture) -> Callable[..., DeviceCamera]:
    """A camera of the kernel: an ioctl's answers, and an ffmpeg that reads a clip in its place."""

    def make(clip: Path, formats: set[str], script: str = "") -> DeviceCamera:
        real = live.compressor()
        fake = tmp_path / "ffmpeg"
        fake.write_text(FAKE_DEVICE.format(ffmpeg=real.ffmpeg.path, clip=clip, script=script))
        fake.chmod(0o755)
        ffmpeg = replace(real.ffmpeg, path=fake)
        mocker.patch.object(live, "compressor", lambda: replace(real, ffmpeg=ffmpeg))
        mocker.patch.object(v4l2, "formats", lambda path: frozenset(formats))
        return DeviceCamera(Path("/dev/video0"), feeds.Mode())

    return make


class TestV4l2:
    def test_h264_of_the_camera_comes_as_it_is(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera]
    ) -> None:
        device = rec_device(rec_twice, {"YUYV", "MJPG", "H264"})
        opened, *entries = rec_taken(Reader(device, encodes=True), 30)
        assert isinstance(opened, Opened)
        sent = [bytes(cast("Any", entry).packet) for entry in entries]
        with av.open(str(rec_twice)) as container:
            known = [bytes(packet) for packet in container.demux(video=0)]
        assert sent == known[: len(sent)]

    def test_mjpeg_of_the_camera_is_encoded(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera], tmp_path: Path
    ) -> None:
        device = rec_device(rec_mjpeg(tmp_path, rec_twice), {"YUYV", "MJPG"})
        opened, *entries = rec_taken(Reader(device, encodes=True), 30)
        assert isinstance(opened, Opened)
        assert opened.video.codec_context.name == "h264"
        assert all(isinstance(entry, Entry) for entry in entries)

    def test_the_best_format_is_asked_for(self) -> None:
        words = v4l2.command(Path("/dev/video0"), feeds.Mode((1280, 720), 15), "mjpeg")
        asked = ("-f", "v4l2", "-input_format", "mjpeg", "-video_size", "1280x720", "-framerate", "15")
        assert words[3 : 3 + len(asked)] == asked
        assert "copy" in v4l2.command(Path("/dev/video0"), feeds.Mode(), "h264")

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("echo '[v4l2] ioctl(VIDIOC_STREAMON): Device or resource busy' >&2; exit 1", "another program"),
            ("echo 'Cannot open video device /dev/video0: No such device' >&2; exit 1", "No such device"),
            ("exit 3", "status 3"),
            ("sleep 20", "no data for 1 s"),
        ],
    )
    def test_why_a_camera_is_lost(
        self,
        rec_twice: Path,
        rec_device: Callable[..., DeviceCamera],
        mocker: MockerFixture,
        script: str,
        reason: str,
    ) -> None:
        mocker.patch.object(feeds, "SILENCE", 1.0)
        (lost,) = rec_taken(Reader(rec_device(rec_twice, {"H264"}, script), encodes=True))
        assert isinstance(lost, Lost)
        assert reason in lost.reason

    def test_it_is_left_alone_after_the_end(
        self, rec_twice: Path, rec_device: Callable[..., DeviceCamera]
    ) -> None:
        reader = Reader(rec_device(rec_twice, {"H264"}), encodes=True)
        assert isinstance(reader.take(20), Opened)
        assert children_with("pipe:1")
        reader.close()
        wait_until(lambda: not children_with("pipe:1"), "the end of ffmpeg")

    def test_devices_that_are_no_camera(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not there"):
            camera("/dev/video99")
        (tmp_path / "video0").touch()
        with pytest.raises(UsageError, match="is no camera"):
            camera(f"v4l2:{tmp_path}/video0")
        with pytest.raises(UsageError, match="no size and rate"):
            camera("/dev/video0,big")

    def test_what_a_camera_offers(self, tmp_path: Path, mocker: MockerFixture) -> None:
        (tmp_path / "video0").touch()
        known = [b"YUYV", b"MJPG"]

        def ioctl(descriptor: int, request: int, asked: bytes) -> bytes:
            index = int.from_bytes(asked[:4], sys.byteorder)
            if request != 0xC0405602 or len(asked) != 64 or index >= len(known):
                raise OSError(errno.EINVAL, "Invalid argument")
            return asked[:44] + known[index] + asked[48:]

        mocker.patch("fcntl.ioctl", ioctl)
        assert v4l2.formats(tmp_path / "video0") == {"YUYV", "MJPG"}
        known.clear()
        with pytest.raises(UsageError, match="no pictures"):
            v4l2.formats(tmp_path / "video0")

    @pytest.mark.skipif(not IS_ROOT, reason="needs root, to give a file to somebody else")
    def test_a_device_of_another_group(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            device = Path(folder, "video0")
            device.touch(mode=0o660)
            os.chown(device, 0, grp.getgrnam("video").gr_gid)
            Path(folder).chmod(0o755)
            os.seteuid(65534)
            try:
                with pytest.raises(UsageError) as refused:
                    v4l2.formats(device)
            finally:
                os.seteuid(0)
        assert "no permission" in refused.value.message
        assert "usermod -aG video" in refused.value.hint

    @pytest.mark.skipif(not Path("/dev/video0").exists(), reason="no /dev/video0 on this machine")
    def test_a_real_camera(self) -> None:
        opened, *entries = rec_taken(Reader(camera("/dev/video0"), encodes=True), 30)
        assert isinstance(opened, Opened)
        assert all(isinstance(entry, Entry) for entry in entries)


class TestRpicam:
    @pytest.fixture(autouse=True)
    def _short(self, mocker: MockerFixture) -> None:
        mocker.patch.object(feeds, "SILENCE", 2.0)

    def test_its_stream_comes_as_it_is(
        self, rec_rpicam: Callable[..., dict[str, str]], rec_annexb: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.dict(os.environ, rec_rpicam())
        opened, *entries = rec_taken(Reader(camera("rpicam-vid:1,1280x720@10"), encodes=True), 30)
        assert isinstance(opened, Opened)
        sent = [bytes(cast("Any", entry).packet) for entry in entries]
        with av.open(str(rec_annexb)) as container:
            known = [bytes(packet) for packet in container.demux(video=0)]
        assert sent == known[: len(sent)]
        words = (Path(os.environ["PATH"].split(":")[0]) / "rpicam-arguments").read_text()
        assert "--camera 1 --width 1280 --height 720 --framerate 10 --intra 15" in words

    @pytest.mark.parametrize(
        ("script", "reason"),
        [
            ("echo 'ERROR: *** no cameras available ***' >&2; exit 255", "no cameras available"),
            ("exec sleep 20", "no data for 2 s"),
        ],
    )
    def test_why_it_is_lost(
        self, rec_rpicam: Callable[..., dict[str, str]], mocker: MockerFixture, script: str, reason: str
    ) -> None:
        mocker.patch.dict(os.environ, rec_rpicam(script))
        (lost,) = rec_taken(Reader(camera("rpicam-vid:"), encodes=True))
        assert isinstance(lost, Lost)
        assert reason in lost.reason
        assert not children_with("rpicam-vid")

    def test_without_the_program_it_says_what_to_install(self, tmp_path: Path, mocker: MockerFixture) -> None:
        mocker.patch.dict(os.environ, {"PATH": str(tmp_path)})
        with pytest.raises(UsageError) as refused:
            camera("rpicam-vid:0")
        assert "rpicam-apps" in refused.value.hint

    @pytest.mark.skipif(shutil.which("rpicam-vid") is None, reason="no rpicam-vid on this machine")
    def test_a_real_camera(self) -> None:
        assert isinstance(rec_taken(Reader(camera("rpicam-vid:"), encodes=True), 30)[-1], Entry)


class TestPicamera:
    @pytest.fixture(autouse=True)
    def _fresh(self, mocker: MockerFixture) -> Iterator[None]:
        mocker.patch.object(feeds, "SILENCE", 2.0)
        yield
        for name in [name for name in sys.modules if name.partition(".")[0] == "picamera2"]:
            del sys.modules[name]

    def test_frames_and_pictures(
        self, rec_picamera: Callable[..., Path], rec_annexb: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(rec_picamera())
        source = camera("picamera2:0,640x360@15")
        assert isinstance(source, PicameraCamera)
        opened, *entries = rec_taken(Reader(source, encodes=True), 31)
        assert isinstance(opened, Opened)
        with av.open(str(rec_annexb)) as container:
            known = [packet for packet in container.demux(video=0) if packet.size]
        assert [bytes(cast("Any", entry).packet) for entry in entries] == list(map(bytes, known[:30]))
        times = [float(packet.pts * packet.time_base) for packet in known[:30]]
        assert [cast("Entry", entry).at for entry in entries] == pytest.approx(times, abs=1e-5)
        assert 6 <= len(source.pictures) <= 20
        assert source.pictures[0].luma.shape == (180, 320)
        assert 100 < source.pictures[-1].luma.mean() < 160

    @pytest.mark.parametrize(
        ("fault", "reason"),
        [("none", "list index out of range"), ("stall", "no frame for 2 s"), ("lores", "lores went away")],
    )
    def test_why_it_is_lost(
        self,
        rec_picamera: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        fault: str,
        reason: str,
    ) -> None:
        monkeypatch.syspath_prepend(rec_picamera(fault))
        lost = rec_taken(Reader(camera("picamera2:"), encodes=True))[-1]
        assert isinstance(lost, Lost)
        assert reason in lost.reason

    @pytest.mark.skipif(find_spec("picamera2") is not None, reason="picamera2 is installed here")
    def test_without_the_bindings_it_says_what_to_install(self) -> None:
        with pytest.raises(UsageError) as refused:
            camera("picamera2:")
        assert "python3-picamera2" in refused.value.hint

    @pytest.mark.skipif(find_spec("picamera2") is None, reason="no picamera2 on this machine")
    def test_a_real_camera(self) -> None:
        assert isinstance(rec_taken(Reader(camera("picamera2:"), encodes=True), 30)[-1], Entry)


class TestCameras:
    def test_credentials_are_never_part_of_the_name(self) -> None:
        found = camera("rtsp://admin:geheim@10.0.0.7:554/h264?x=1")
        assert isinstance(found, RtspCamera)
        assert found.name == "rtsp://10.0.0.7:554/h264?x=1"
        assert "geheim" not in repr(found)
        assert found.credentials == "admin:geheim"

    def test_credentials_go_into_the_address_escaped(self, mocker: MockerFixture) -> None:
        opened = mocker.patch("av.open")
        found = camera("rtsp://10.0.0.7/x", credentials="admin:p@ss/w:rd")
        found.open()
        assert opened.call_args.args == ("rtsp://admin:p%40ss%2Fw%3Ard@10.0.0.7/x",)

    @pytest.mark.parametrize("source", ["http://x/y", "rtsp:///x", "file:/nonexistent", "/"])
    def test_unknown_sources_are_refused(self, source: str) -> None:
        with pytest.raises(UsageError):
            camera(source)

    def test_every_packet_is_read_with_its_times(self, rec_twice: Path) -> None:
        _, entries = rec_items(rec_twice)
        known = rec_packets(rec_twice)
        video = [entry for entry in entries if entry.video]
        assert tuple(entry.at for entry in video) == known.times
        assert len(entries) - len(video) == len(known.audio)
        assert video[0].key

    def test_a_fifo_is_read_to_its_end(self, rec_twice: Path, tmp_path: Path) -> None:
        fifo = tmp_path / "camera"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(rec_twice)]
        writer = subprocess.Popen([*command, "-c", "copy", "-f", "mpegts", str(fifo)])
        opened, entries = rec_items(fifo)
        assert writer.wait(10) == 0
        assert opened.audio is not None
        assert sum(entry.video for entry in entries) == 24 * 15
        assert FileCamera(fifo).live

    def test_a_file_that_is_no_video_ends_with_the_reason(self, tmp_path: Path) -> None:
        (tmp_path / "x.mp4").write_bytes(b"nothing" * 100)
        item = Reader(FileCamera(tmp_path / "x.mp4")).take(10)
        assert isinstance(item, Ended)
        assert item.error

    def test_realtime_is_no_faster_than_it_was_recorded(self, rec_twice: Path) -> None:
        reader = Reader(FileCamera(rec_twice, realtime=True))
        assert isinstance(reader.take(10), Opened)
        first = reader.take(10)
        assert isinstance(first, Entry)
        began = time.monotonic()
        while isinstance(item := reader.take(10), Entry) and item.order - first.order < 1.0:
            pass
        assert time.monotonic() - began > 0.9
        reader.close()

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_reader_that_dies_is_no_silence(self, rec_twice: Path, mocker: MockerFixture) -> None:
        mocker.patch("camarchiver.cameras.FileCamera.open", side_effect=SystemExit)
        assert Reader(FileCamera(rec_twice)).take(1) == Ended("its reader died")

    def test_no_error_holds_the_password(self, mocker: MockerFixture) -> None:
        error = av.error.InvalidDataError(1094995529, "Invalid data", "rtsp://admin:geheim@10.0.0.7/x")
        mocker.patch("av.open", side_effect=error)
        item = Reader(RtspCamera("rtsp://10.0.0.7/x", "admin:geheim")).take(5)
        assert item == Lost("Invalid data")


class TestLookout:
    def test_a_second_stream_with_another_clock(
        self, rec_twice: Path, rec_make: Callable[..., Path], tmp_path: Path
    ) -> None:
        still = rec_make()
        small = tmp_path / "small.ts"  # begins at 1.4 s
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-an"]
        subprocess.run([*command, "-vf", "scale=320:-2", "-g", "15", str(small)], check=True)
        opened, entries = rec_items(still)
        own, beside = OwnStream(rec_watch()), BesideStream(rec_watch(), FileCamera(small))
        found: dict[object, list[Event]] = {own: [], beside: []}
        for lookout in found:
            lookout.begin(opened)  # type: ignore[attr-defined]
            for entry in entries:
                found[lookout] += lookout.see(entry)  # type: ignore[attr-defined]
            found[lookout] += lookout.finish()  # type: ignore[attr-defined]
            lookout.close()  # type: ignore[attr-defined]
        assert found[own] == []
        assert [round(event.start) for event in found[beside]] == [6, 16]

    def test_it_goes_on_when_the_recorded_stream_begins_anew(
        self, rec_twice: Path, rec_make: Callable[..., Path]
    ) -> None:
        opened, entries = rec_items(rec_make())
        lookout = BesideStream(rec_watch(), FileCamera(rec_twice))
        lookout.begin(opened)
        events: list[Event] = []
        for entry in entries:
            if entry.video and round(entry.at * 15) == 150:
                events += lookout.finish()
                lookout.begin(opened)
            events += lookout.see(entry)
        lookout.close()
        assert len(events) == 2


class TestSpool:
    def test_a_closed_clip_is_what_the_camera_sent(self, rec_take: Take, rec_twice: Path) -> None:
        rec_take.close()
        found, known = rec_packets(rec_take.path), rec_packets(rec_twice)
        at = rec_place(found.video, known.video)
        assert at == 60
        assert at + len(found.video) == len(known.video)
        assert found.times[0] == 0.0
        assert found.times == pytest.approx([each - 4.0 for each in known.times[at:]], abs=1e-4)
        sound = rec_place(found.audio, known.audio)
        assert found.audio_times == pytest.approx(
            [each - 4.0 for each in known.audio_times[sound:]], abs=1e-3
        )
        assert spool.read(rec_take.path, frames=300) == spool.Reading(300, pytest.approx(20.0))

    def test_a_closed_clip_is_an_ordinary_mp4(self, rec_take: Take) -> None:
        rec_take.close()
        with rec_take.path.open("rb") as file:
            boxes = []
            while header := file.read(8):
                boxes.append(header[4:])
                file.seek(int.from_bytes(header[:4]) - 8, os.SEEK_CUR)
        assert boxes == [b"ftyp", b"free", b"mdat", b"moov"]

    def test_an_open_clip_can_be_read_but_for_its_last_fragment(self, rec_take: Take, tmp_path: Path) -> None:
        copy = Path(shutil.copy(rec_take.path, tmp_path / "copy.mp4"))
        spool.cut(copy)
        assert spool.read(copy).frames >= 300 - 9

    def test_a_file_cut_anywhere_keeps_its_whole_fragments(
        self, rec_take: Take, rec_twice: Path, tmp_path: Path
    ) -> None:
        data, known = rec_take.path.read_bytes(), rec_packets(rec_twice).video
        counts = []
        for length in range(0, len(data), len(data) // 40):
            part = tmp_path / "part.mp4"
            part.write_bytes(data[:length])
            spool.cut(part)
            if not part.stat().st_size:
                counts.append(0)
                continue
            counts.append(spool.read(part).frames)
            assert rec_place(rec_packets(part).video, known) == 60
        assert counts == sorted(counts)
        assert counts[0] == 0
        assert counts[-1] > 270

    def test_a_closed_file_is_not_cut(self, rec_take: Take) -> None:
        rec_take.close()
        before = rec_take.path.read_bytes()
        spool.cut(rec_take.path)
        assert rec_take.path.read_bytes() == before

    def test_lost_frames_are_noticed(self, rec_take: Take) -> None:
        rec_take.close()
        with pytest.raises(Unfit, match="300 frames of 301"):
            spool.read(rec_take.path, frames=301)

    def test_a_clip_that_begins_without_a_keyframe_is_noticed(
        self, rec_folders: Folders, rec_twice: Path
    ) -> None:
        opened, entries = rec_items(rec_twice)
        video = [entry for entry in entries if entry.video][3:40]
        take = Take(rec_folders, Label(REC_START, video[0], 0.0, 0.0), opened.video, None)
        for entry in video:
            take.write(entry)
        take.close()
        with pytest.raises(Unfit, match="keyframe"):
            spool.read(take.path)

    def test_published_clips_never_replace(self, rec_take: Take, rec_folders: Folders) -> None:
        rec_take.close()
        second = Path(shutil.copy(rec_take.path, rec_take.path.with_name("second.mp4")))
        stamp = "motion_20260503_142005"
        (rec_folders.outbox / f"{stamp}_20.0s.mp4").write_text("somebody's")
        one = spool.publish(rec_take.path, stamp, 20.0, rec_folders.outbox)
        other = spool.publish(second, stamp, 19.9, rec_folders.outbox, b"picture")
        assert (one.name, other.name) == (f"{stamp}_20.0s_2.mp4", f"{stamp}_19.9s_3.mp4")
        assert other.with_suffix(".jpg").read_bytes() == b"picture"
        assert (rec_folders.outbox / f"{stamp}_20.0s.mp4").read_text() == "somebody's"
        assert not list(rec_folders.spool.iterdir())

    def test_a_clip_that_cannot_be_moved_stays_and_leaves_no_picture(
        self, rec_take: Take, rec_folders: Folders, mocker: MockerFixture
    ) -> None:
        rec_take.close()
        mocker.patch.object(trash, "move", side_effect=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space"):
            spool.publish(rec_take.path, "motion_20260503_142005", 20.0, rec_folders.outbox, b"picture")
        assert rec_take.path.exists()
        assert not list(rec_folders.outbox.iterdir())

    @pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm here")
    def test_another_filesystem(self, rec_twice: Path, tmp_path: Path) -> None:
        folder = Path("/dev/shm") / f"camarchiver-{os.getpid()}"
        folder.mkdir()
        try:
            copy = Path(shutil.copy(rec_twice, folder / "motion_20260503_142005.0.mp4"))
            target = spool.salvage(copy, tmp_path)
            assert target is not None
            assert target.name == "motion_20260503_142005_24.0s.mp4"
            assert target.read_bytes() == rec_twice.read_bytes()
            assert list(tmp_path.iterdir()) == [target]
            assert not list(folder.iterdir())
        finally:
            shutil.rmtree(folder)

    def test_salvage_removes_what_was_empty_for_an_hour(self, rec_folders: Folders) -> None:
        path = rec_folders.spool / "motion_20260503_142005.0.mp4"
        path.write_bytes(b"\0\0\0\x1cftypisom")
        assert spool.salvage(path, rec_folders.outbox) is None
        assert path.exists()
        os.utime(path, (time.time() - 3700,) * 2)
        assert spool.salvage(path, rec_folders.outbox) is None
        assert not path.exists()

    def test_salvage_publishes_nothing_twice(self, rec_take: Take, rec_folders: Folders) -> None:
        rec_take.close()
        path = rec_take.path.rename(rec_take.path.with_name("motion_20260503_142005.0.mp4"))
        # killed between publishing and unlinking: by a link, by a copy, and while the picture was there alone
        for bring in (os.link, shutil.copy2):
            target = rec_folders.outbox / "motion_20260503_142005_20.0s.mp4"
            bring(path, target)
            spare = Path(shutil.copy2(path, path.with_name("spare")))
            assert spool.salvage(path, rec_folders.outbox) is None
            assert (path.exists(), list(rec_folders.outbox.iterdir())) == (False, [target])
            spare.rename(path)
            target.unlink()
        picture = rec_folders.outbox / "motion_20260503_142005_20.0s.jpg"
        picture.touch()
        assert spool.salvage(path, rec_folders.outbox) == picture.with_suffix(".mp4")

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_killed_at_any_change_the_next_start_has_the_clip_once(
        self,
        rec_twice: Path,
        rec_folders: Folders,
        other_disk: Path,
        sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int],
        elsewhere: bool,
    ) -> None:
        folders = Folders(rec_folders.spool, other_disk) if elsewhere else rec_folders
        path = folders.spool / "motion_20260503_142005.0.mp4"
        target = folders.outbox / "motion_20260503_142005_24.0s.mp4"
        shutil.copy(rec_twice, path)

        def check() -> None:
            for one in folders.outbox.glob("motion_*.mp4"):
                assert one.read_bytes() == rec_twice.read_bytes()
            folders.sweep()
            if path.exists():
                spool.salvage(path, folders.outbox)
            assert [*folders.spool.iterdir(), *folders.outbox.iterdir()] == [target]
            shutil.move(target, path)

        def act() -> None:
            spool.publish(path, "motion_20260503_142005", 24.0, folders.outbox)

        assert sweep_kills(act, check) >= (5 if elsewhere else 2)

    def test_leftovers_of_a_killed_copy_are_swept(self, rec_folders: Folders) -> None:
        left = rec_folders.outbox / ".motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4"
        other = rec_folders.outbox / ".rsync-partial"
        left.touch()
        other.touch()
        rec_folders.sweep()
        assert list(rec_folders.outbox.iterdir()) == [other]


OB_NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)

ObPut = Callable[..., Path]


@pytest.fixture
def ob_put(tmp_path: Path) -> ObPut:
    """Put a clip of so many bytes, some days old, into the outbox."""

    def put(age: float, *, size: int = 1000, camera: str = "yard", picture: int = 0) -> Path:
        start = OB_NOW - timedelta(days=age)
        path = tmp_path / "outbox" / camera / f"motion_{start:%Y%m%d_%H%M%S}_10.0s.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (start.timestamp(),) * 2)
        if picture:
            path.with_suffix(".jpg").write_bytes(bytes(picture))
        return path

    return put


def ob_confirm(path: Path) -> None:
    """What scripts/transfer-clips writes."""
    outbox, status = path.parent.parent, path.stat()
    (outbox / ".camarchiver").mkdir(exist_ok=True)
    with (outbox / ".camarchiver/transferred").open("a") as file:
        file.write(f"{status.st_size} {status.st_mtime_ns} {path.relative_to(outbox)}\n")


class TestOutbox:
    def test_only_the_recorders_own_clips_are_found(self, ob_put: ObPut, tmp_path: Path) -> None:
        clip, folder = ob_put(3, picture=50), tmp_path / "outbox/yard"
        for name in (
            ".motion_20260503_142005_20.0s.0123456789abcdef.staged.mp4",
            "motion_20260503_142005.mp4",
            "motion_20260503_142005_20.0s.mkv",
            "motion_20260503_142005_20.0s_0.mp4",
            "motion_20261399_142005_20.0s.mp4",
            "holiday.mp4",
            "motion_20260503_142005_20.0s.mp4.part",
        ):
            (folder / name).touch()
        (folder / "motion_20260503_142006_20.0s.mp4").symlink_to(clip)
        (folder / "motion_20260503_142007_20.0s.mp4").mkdir()
        (folder / "2026").mkdir()
        shutil.copy(clip, folder / "2026")
        ob_put(3, camera="door")
        (tmp_path / "outbox/.rsync").mkdir()
        found = list(outbox.waiting(tmp_path / "outbox", "yard", UTC))
        assert [(each.clip.path, each.size, each.clip.duration) for each in found] == [(clip, 1050, 10.0)]
        assert outbox.cameras(tmp_path / "outbox") == ("door", "yard")
        assert list(outbox.waiting(tmp_path / "outbox", "gate", UTC)) == []

    def test_a_transfer_is_confirmed_by_a_whole_line_on_this_very_file(
        self, ob_put: ObPut, tmp_path: Path
    ) -> None:
        clips = [ob_put(age) for age in (5, 4, 3, 2)]
        for clip in clips[:3]:
            ob_confirm(clip)
        os.utime(clips[1], (OB_NOW.timestamp(),) * 2)
        listed = tmp_path / "outbox/.camarchiver/transferred"
        listed.write_text(listed.read_text().removesuffix("\n") + "\nnonsense\n\n-1 2 x\n7 8")
        found = outbox.waiting(tmp_path / "outbox", "yard", UTC)
        assert [each.transferred for each in found] == [True, False, True, False]
        listed.write_text(listed.read_text().split("\n")[0])  # torn before its end
        assert not any(each.transferred for each in outbox.waiting(tmp_path / "outbox", "yard", UTC))

    def test_a_file_that_changed_since_stays(self, ob_put: ObPut, tmp_path: Path) -> None:
        clip, other = ob_put(5, picture=10), ob_put(4)
        steps = [
            expiry.discard(each.clip, Reason.KEEP_DAYS)
            for each in outbox.waiting(tmp_path / "outbox", "yard", UTC)
        ]
        clip.write_bytes(b"another")
        other.unlink()
        assert [outbox.remove(step).result for step in steps] == [Result.STALE, Result.DONE]
        assert sorted(path.suffix for path in clip.parent.iterdir()) == [".jpg", ".mp4"]


class TestUpkeep:
    def tended(self, tmp_path: Path, terms: Terms, *, days: float = 0, camera: str = "yard") -> Upkeep:
        """One look at the outbox, some days later."""
        tended = Upkeep(camera, tmp_path / "outbox", terms, lambda: OB_NOW + timedelta(days=days))
        tended.tend()
        tended.close()
        assert not tended.troubles
        return tended

    def test_what_goes_was_announced_a_day_before_each_by_name(
        self, ob_put: ObPut, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        old, young, others = ob_put(8, picture=10), ob_put(2), ob_put(9, camera="door")
        ob_confirm(old)
        foreign = old.with_name("holiday.mp4")
        shutil.copy2(old, foreign)
        terms = Terms(timedelta(days=7))
        first = self.tended(tmp_path, terms)
        assert ([*first.announced], first.outcomes) == ([old], ())
        assert f"{old} will be removed after 2026-05-21 12:00 (keep-days)" in caplog.text
        assert "its transfer was confirmed" in caplog.text
        assert not [*self.tended(tmp_path, terms, days=0.9).announced]
        assert old.exists()
        later = self.tended(tmp_path, terms, days=1)
        assert [(each.result, each.freed) for each in later.outcomes] == [(Result.DONE, 1010)]
        assert f"removed {old} (keep-days)" in caplog.text
        assert sorted(foreign.parent.iterdir()) == sorted([foreign, young])
        assert others.exists()

    def test_killed_at_any_change_it_goes_on_at_the_next_start(
        self,
        ob_put: ObPut,
        tmp_path: Path,
        sweep_kills: Callable[[Callable[[], object], Callable[[], object]], int],
    ) -> None:
        old = [ob_put(age, picture=10) for age in (9, 8.5, 8)]
        new = [ob_put(5, picture=10), ob_put(9, camera="door")]
        state, terms = tmp_path / "outbox/.camarchiver", Terms(timedelta(days=7))
        holds.add(state, OB_NOW - timedelta(days=8.1), OB_NOW, camera="", reason="x", until=None)

        def act() -> None:
            for days in (0, 1.1):
                self.tended(tmp_path, terms, days=days)

        def check() -> None:
            assert all(path.exists() for path in (old[2], *new))
            assert all(path.with_suffix(".jpg").exists() for path in (old[2], new[0]))
            assert len(holds.read(state)) == 1
            # a picture never outlives its clip
            pictures = set((tmp_path / "outbox/yard").glob("*.jpg"))
            assert {path.with_suffix(".mp4") for path in pictures} <= set(
                (tmp_path / "outbox/yard").iterdir()
            )

        assert sweep_kills(act, check) >= 8
        assert [path.exists() for path in old] == [False, False, True]
        assert not list((state / "announced").glob(".*"))

    def test_a_hold_of_the_last_minute_counts(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(8)
        self.tended(tmp_path, Terms(timedelta(days=7)))
        state = outbox.state(tmp_path / "outbox")
        assert state.stat().st_mode & 0o777 == 0o700
        holds.add(state, OB_NOW - timedelta(days=9), OB_NOW, camera="", reason="x", until=None)
        assert self.tended(tmp_path, Terms(timedelta(days=7)), days=2).outcomes == ()
        assert old.exists()
        for name in ("holds.json", "holds.json.bak"):
            (state / name).write_text("{ torn")
        upkeep = Upkeep("yard", tmp_path / "outbox", Terms(None, 1), lambda: OB_NOW + timedelta(days=2))
        upkeep.tend()
        upkeep.close()
        assert "nobody knows what is held" in next(iter(upkeep.troubles))
        assert old.exists()

    def test_a_read_only_outbox_is_complained_of_and_stops_nothing(
        self, ob_put: ObPut, tmp_path: Path, read_only: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.move(ob_put(8).parent, tmp_path / "behind")
        upkeep = Upkeep("yard", read_only, Terms(timedelta(days=7)), lambda: OB_NOW, drops_oldest=True)
        upkeep.tend()
        assert upkeep.make_room(read_only, 50) == upkeep.make_room(read_only, 50) == 0
        upkeep.close()
        clip, folder = upkeep.troubles
        assert "yard is mounted read-only; mount it writable" in clip
        assert "Read-only file system" in folder
        assert [each.result for each in upkeep.outcomes] == [Result.FAILED]
        assert "nothing is removed from the outbox" in caplog.text
        assert len(list((tmp_path / "behind/yard").iterdir())) == 1

    def test_announcements_that_cannot_be_read_are_made_anew(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(8)
        terms = Terms(timedelta(days=7))
        self.tended(tmp_path, terms)
        for path in (tmp_path / "outbox/.camarchiver/announced").iterdir():
            path.write_text('{"clips": {"yard/x": {"size": 1}}}')
        assert [*self.tended(tmp_path, terms, days=2).announced] == [old]
        assert self.tended(tmp_path, terms, days=3.5).outcomes
        assert not old.exists()

    def test_without_terms_nothing_is_touched_or_made(self, ob_put: ObPut, tmp_path: Path) -> None:
        old = ob_put(800)
        self.tended(tmp_path, Terms())
        assert [path.name for path in (tmp_path / "outbox").rglob("*")] == ["yard", old.name]

    def test_room_is_made_only_where_asked_for_and_only_on_that_disk(
        self, ob_put: ObPut, tmp_path: Path, other_disk: Path
    ) -> None:
        clips = [ob_put(age) for age in (5, 4, 3)]
        folder = clips[0].parent
        assert Upkeep("yard", tmp_path / "outbox", Terms(), lambda: OB_NOW).make_room(folder, 1) == 0
        upkeep = Upkeep("yard", tmp_path / "outbox", Terms(), lambda: OB_NOW, drops_oldest=True)
        assert upkeep.make_room(other_disk, 1) == 0
        assert all(clip.exists() for clip in clips)
        assert upkeep.make_room(folder, 1500) == 2000
        assert [clip.exists() for clip in clips] == [False, False, True]


@dataclass
class RecSource:
    """A camera whose every connection sends the next of some clips, live and as fast as they can be read."""

    clips: list[Path]
    name: str = "camera"
    live: bool = True
    returns: bool = False

    def open(self) -> Feed:
        if not self.clips:
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return feeds.of_container(av.open(str(self.clips.pop(0))))


@dataclass
class RecRecorder:
    """A recorder in this process and what came of it."""

    folders: Folders
    delivery: Delivery
    recorder: recorder.Recorder
    stop: threading.Event

    def run(self) -> list[Recorded]:
        self.recorder.run(self.stop)
        return [*self.delivery.clips]


@pytest.fixture
def rec_recorder(rec_folders: Folders, tmp_path: Path) -> Callable[..., RecRecorder]:
    """Make a recorder of a camera."""

    def make(
        source: Any,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        manager: Service | None = None,
        lengths: Lengths | None = None,
        timelapse: float | None = None,
    ) -> RecRecorder:
        delivery = Delivery("yard", rec_folders, pictures=False, tell=lambda clip: None)
        upkeep = Upkeep("yard", rec_folders.outbox.parent, Terms(None, None), now)
        settings = recorder.Settings(lengths or Lengths(), (), 0, None, None, timelapse)
        vigil = Vigil(manager or Service({}), ("yard",))
        made = recorder.Recorder(settings, source, OwnStream(rec_watch()), delivery, upkeep, vigil, now)
        return RecRecorder(rec_folders, delivery, made, threading.Event())

    return make


class TestRecorder:
    def test_a_step_of_the_hosts_clock_closes_no_clip(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder]
    ) -> None:
        told = [datetime(2026, 5, 3, 14, 20, 5, tzinfo=UTC)]

        def now() -> datetime:
            told.append(told[-1] + timedelta(hours=1 if len(told) % 2 else -3))
            return told[-1]

        clips = rec_recorder(RecSource([rec_twice]), now=now).run()
        assert [clip.frames for clip in clips] == [106, 106]
        assert not any(clip.error for clip in clips)

    def test_a_run_of_months_holds_its_newest_clips_and_counts_all(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.newest.KEPT", 1)
        made = rec_recorder(RecSource([rec_twice]))
        (clip,) = made.run()
        sums = made.delivery.sums
        assert (made.delivery.clips.count, sums.published, sums.failed) == (2, 2, 0)
        assert sums.seconds > clip.seconds
        assert sorted(made.folders.outbox.glob("*.mp4"))[-1] == clip.path

    def test_errors_of_clips_that_are_no_longer_held_are_told(
        self, rec_folders: Folders, rec_take: Take, mocker: MockerFixture
    ) -> None:
        mocker.patch("camarchiver.newest.KEPT", 1)
        delivery = Delivery("yard", rec_folders, pictures=False, tell=lambda clip: None)
        rec_take.path.unlink()
        for _ in range(3):
            delivery.hand_over(rec_take)
        delivery.close()
        gone = SimpleNamespace(refused=False, error="")
        member = SimpleNamespace(
            delivery=delivery, upkeep=SimpleNamespace(troubles={}), recorder=gone, error=None
        )
        fleet = SimpleNamespace(members=[member], failures={})
        status, exit_code, problems = recorder_news.judged(cast(Fleet, fleet), None)
        assert (status, exit_code) == (Status.FAILED, 1)
        assert [problem.message for problem in problems][1:] == ["earlier clips had errors, too"]
        assert "2 more" in problems[1].hint

    @pytest.mark.parametrize("synced", [True, False, None])
    def test_a_clip_by_an_unsynced_clock_is_marked(
        self,
        rec_make: Callable[..., Path],
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
        synced: bool | None,
    ) -> None:
        mocker.patch("camarchiver.kernel.clock_is_synced", return_value=synced)
        with caplog.at_level(logging.INFO):
            (clip,) = rec_recorder(RecSource([rec_make((3, 4.5), d=8, sound=False)])).run()
        expected = "unsynced" if synced is False else None
        assert clip.fields().get("clock") == expected
        assert caplog.text.count('"clock": "unsynced"') == (1 if expected else 0)
        with av.open(str(clip.path)) as container:
            assert container.metadata.get("comment") == (f"clock: {expected}" if expected else None)

    def test_another_size_closes_the_clip_and_begins_anew(
        self,
        rec_twice: Path,
        rec_recorder: Callable[..., RecRecorder],
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """In the middle of a clip, within one transport stream."""
        larger = ["-ss", "4", "-s", "320x240", "-g", "15", "-preset", "ultrafast", "-c:v", "libx264"]
        parts = []
        for number, words in enumerate((["-t", "7", "-c", "copy"], larger)):
            parts.append(tmp_path / f"{number}.ts")
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), *words]
            command += ["-c:a", "copy", "-output_ts_offset", str(number * 7), str(parts[-1])]
            subprocess.run(command, check=True)
        whole = tmp_path / "whole.ts"
        whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        first, *rest = rec_recorder(RecSource([whole])).run()
        sizes = []
        for clip in (first, *rest):
            with av.open(str(clip.path)) as container:
                stream = container.streams.video[0]
                sizes.append((stream.width, stream.height))
                assert {(frame.width, frame.height) for frame in container.decode(stream)} == {sizes[-1]}
            assert frames_of(clip.path) == clip.frames
        with av.open(str(rec_twice)) as container:
            before = (container.streams.video[0].width, container.streams.video[0].height)
        assert sizes == [before, *[(320, 240)] * len(rest)]
        assert len(rest) == 2
        assert caplog.text.count("sends another picture: h264, 320x240") == 1

    def test_another_codec_after_a_loss(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(reader, "BACKOFF", (0.1,))
        other = tmp_path / "hevc.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "10"]
        subprocess.run([*command, "-c:v", "libx265", "-preset", "ultrafast", str(other)], check=True)
        made = rec_recorder(RecSource([rec_twice, other], returns=True))
        threading.Thread(
            target=lambda: (wait_until(lambda: made.recorder.outages == 2, "two losses", 60), made.stop.set())
        ).start()
        codecs = []
        for clip in made.run():
            with av.open(str(clip.path)) as container:
                codecs.append(container.streams.video[0].codec_context.name)
            assert frames_of(clip.path) == clip.frames
        assert codecs == ["h264", "h264", "hevc"]

    def test_a_long_look_into_the_spool_is_no_outage(
        self, rec_make: Callable[..., Path], rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        mocker.patch.object(recorder, "SILENCE", 1.0)
        made = rec_recorder(RecSource([rec_make((3, 4.5), d=8, sound=False)]))
        mocker.patch.object(made.delivery, "salvage", lambda writing: time.sleep(1.5))
        assert len(made.run()) == 1
        assert made.recorder.outages == 0

    def test_a_camera_that_is_not_there_is_sought_ever_more_slowly_and_said_once(
        self,
        rec_recorder: Callable[..., RecRecorder],
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tries: list[float] = []

        class Absent(RecSource):
            def open(self) -> Feed:
                tries.append(time.monotonic())
                return super().open()

        mocker.patch.object(reader, "BACKOFF", (0.1, 0.2, 0.4, 0.8))
        made = rec_recorder(Absent([], returns=True))
        ended = threading.Thread(
            target=lambda: (wait_until(lambda: len(tries) == 6, "six tries", 60), made.stop.set())
        )
        ended.start()
        assert made.run() == []
        ended.join()
        pauses = [later - earlier for earlier, later in pairwise(tries)]
        assert all(pause >= least for pause, least in zip(pauses, (0.2, 0.4, 0.8, 0.8, 0.8), strict=True))
        assert made.recorder.outages == 1
        assert caplog.text.count("is lost: No route to host") == 1

    def test_a_codec_that_changes_within_a_stream_ends_it(self, rec_twice: Path, tmp_path: Path) -> None:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-t", "3", "-an"]
        data = b""
        for codec in ("libx264", "libx265"):
            part = subprocess.run(
                [*command, "-c:v", codec, "-f", "mpegts", "-"], check=True, capture_output=True
            )
            data += part.stdout
        (tmp_path / "both.ts").write_bytes(data)
        assert rec_taken(Reader(FileCamera(tmp_path / "both.ts")))[-1] == Ended("its codec changed")

    def test_a_fifo_that_falls_silent_is_one_outage(
        self,
        rec_twice: Path,
        rec_recorder: Callable[..., RecRecorder],
        tmp_path: Path,
        mocker: MockerFixture,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It falls silent in the middle of a clip, and goes on."""
        mocker.patch.object(recorder, "SILENCE", 1.5)
        fifo, stream = tmp_path / "camera", tmp_path / "x.ts"
        os.mkfifo(fifo)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-c", "copy"]
        subprocess.run([*command, str(stream)], check=True)
        data = stream.read_bytes()
        middle = len(data) * 7 // 24 // 188 * 188
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind(str(tmp_path / "notify"))
        manager = Service({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
        heard: list[bytes] = []

        def hear() -> None:
            while (message := listener.recv(1000)) != b"end":
                heard.append(message)

        ear = threading.Thread(target=hear)
        ear.start()
        made = rec_recorder(FileCamera(fifo), manager=manager)
        fed: list[int] = []

        def send() -> None:
            with fifo.open("wb") as pipe:
                pipe.write(data[:middle])
                pipe.flush()
                wait_until(lambda: made.recorder.outages == 1, "the outage", 60)
                for _ in range(2):
                    fed.append(heard.count(b"WATCHDOG=1"))
                    time.sleep(1)
                pipe.write(data[middle:])

        sender = threading.Thread(target=send)
        sender.start()
        clips = made.run()
        sender.join()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto(b"end", str(tmp_path / "notify"))
        ear.join()
        assert made.recorder.outages == 1
        assert caplog.text.count("is lost: no frame for") == caplog.text.count("is back") == 1
        assert fed[0] == fed[1]
        assert 0 < fed[0] < heard.count(b"WATCHDOG=1")
        assert b"STATUS=yard: lost" in heard
        assert len(clips) == 3
        for clip in clips:
            assert frames_of(clip.path) == clip.frames
        listener.close()


class TestRoom:
    def test_it_is_said_once_when_it_ends_and_once_when_it_is_back(
        self, rec_disk: Path, mocker: MockerFixture, caplog: pytest.LogCaptureFixture
    ) -> None:
        mocker.patch.object(room, "PAUSE", 0.0)
        folders = Folders(rec_disk / "spool", rec_disk / "outbox")
        folders.make()
        found = room.Room("yard", folders, 3_000_000, lambda folder, short: 0)
        assert found.is_there()
        filler = rec_disk / "filler"
        filler.write_bytes(bytes(4_000_000))
        assert not found.is_there()
        assert not found.is_there()
        assert (found.is_full, found.refused) == (True, 1)
        filler.unlink()
        assert found.is_there()
        assert not found.is_full
        assert caplog.text.count("not recording") == caplog.text.count("recording goes on") == 1

    def test_it_is_asked_again_after_a_pause(self, rec_folders: Folders, mocker: MockerFixture) -> None:
        usage = mocker.spy(shutil, "disk_usage")
        found = room.Room("yard", rec_folders, 0, lambda folder, short: 0)
        found.ended("No space left on device")
        assert not found.is_there()
        usage.assert_not_called()
        mocker.patch("camarchiver.room.time.monotonic", return_value=time.monotonic() + room.PAUSE + 1)
        assert found.is_there()
        assert found.is_full  # until a clip could be begun
        found.begun()
        assert not found.is_full

    def test_room_that_is_made_is_room(self, rec_folders: Folders) -> None:
        asked: list[tuple[Path, int]] = []

        def make(folder: Path, short: int) -> int:
            asked.append((folder, short))
            return short

        assert room.Room("yard", rec_folders, 1 << 60, make).is_there()
        assert [folder for folder, _ in asked] == [rec_folders.spool, rec_folders.outbox]


class TestFleet:
    def test_one_cameras_failure_stops_no_other(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], mocker: MockerFixture
    ) -> None:
        made = rec_recorder(RecSource([rec_twice]))
        broken = mocker.Mock()
        broken.run.side_effect = RuntimeError("a bug")
        members = [
            Member(name, mocker.Mock(), each, made.delivery, mocker.Mock(troubles={}))
            for name, each in (("gate", broken), ("yard", made.recorder))
        ]
        fleet = Fleet(members)
        fleet.run(made.stop)
        assert [clip.frames for clip in made.delivery.clips] == [106, 106]
        assert str(members[0].error) == "gate: RuntimeError: a bug"
        assert members[1].error is None


class TestTimelapse:
    def test_one_keyframe_an_interval(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], caplog: pytest.LogCaptureFixture
    ) -> None:
        made = rec_recorder(RecSource([rec_twice]), timelapse=2.0)
        *motion_clips, lapse = made.run()
        known = rec_packets(rec_twice)
        with av.open(str(rec_twice)) as container:
            keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.size and p.is_keyframe]
        found = rec_packets(lapse.path)
        assert len(motion_clips) == 2
        assert found.video == tuple(known.video[known.times.index(at)] for at in keys[::2])
        assert found.times == pytest.approx([number / 30 for number in range(12)], abs=1e-4)
        assert re.fullmatch(r"timelapse_\d{8}_\d{6}_0\.4s\.mp4", lapse.path.name)
        assert frames_of(lapse.path) == lapse.frames == 12

    def test_each_day_and_each_picture_has_its_own(
        self, rec_twice: Path, rec_recorder: Callable[..., RecRecorder], tmp_path: Path, mocker: MockerFixture
    ) -> None:
        mocker.patch.object(reader, "BACKOFF", (0.1,))
        other = tmp_path / "small.mp4"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(rec_twice), "-s", "320x240"]
        subprocess.run([*command, "-g", "15", str(other)], check=True)
        told = [datetime(2026, 5, 3, 23, 59, 0, tzinfo=UTC)]

        def now() -> datetime:
            # every keyframe asks: the day ends within the first two connections
            told.append(told[-1] + timedelta(seconds=1))
            return told[-1]

        source = RecSource([rec_twice, rec_twice, other], returns=True)
        made = rec_recorder(source, timelapse=1.0, now=now)
        ended = threading.Thread(
            target=lambda: (wait_until(lambda: made.recorder.outages == 3, "its end", 60), made.stop.set())
        )
        ended.start()
        clips = [clip for clip in made.run() if clip.path.name.startswith("timelapse")]
        ended.join()
        days = [clip.path.name[10:18] for clip in clips]
        assert days == ["20260503", "20260504", "20260504"]
        sizes = []
        for clip in clips:
            with av.open(str(clip.path)) as container:
                sizes.append({(frame.width, frame.height) for frame in container.decode(video=0)})
        assert all(len(size) == 1 for size in sizes)
        assert sizes[-1] == {(320, 240)}
        assert sum(clip.frames for clip in clips) == 3 * 24

    def test_what_a_dead_recorder_left_is_salvaged_to_its_last_frame(
        self, rec_twice: Path, rec_folders: Folders
    ) -> None:
        opened, entries = rec_items(rec_twice)
        lapse = Timelapse(2.0, rec_folders)
        for entry in entries:
            if entry.video and entry.key:
                assert lapse.add(entry, entry.at, REC_START, opened) is None
        assert lapse.take is not None
        copy = Path(
            shutil.copy(lapse.take.path, lapse.take.path.with_name("timelapse_20260503_142005.x.mp4"))
        )
        target = spool.salvage(copy, rec_folders.outbox)
        assert target is not None
        assert target.name.startswith("timelapse_20260503_142005_")
        assert frames_of(target) >= 11
        lapse.take.close()
