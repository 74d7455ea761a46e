"""media: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import pytest
from msgspec.structs import replace

from camarchiver.archive.fallback import Encoded, EncoderFallback, GpuBreaker, LevelTried
from camarchiver.errors import EncoderError, ExitCode
from camarchiver.media import ffmpeg_args, ffmpeg_find, transcoder
from camarchiver.media.encoder_probe import Choice, Machine
from camarchiver.media.encoders import ENCODERS, Backend, Encoder, EncodeSettings, FallbackLevel
from camarchiver.media.ffmpeg_args import Transcode
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.media.info import Media
from camarchiver.media.parsing.prober import ProbeError, Prober
from camarchiver.media.transcoder import FfmpegProgress, Finished
from camarchiver.media.verification import rules as verification_rules
from camarchiver.media.verification.rules import Facts, pairs_to_compare, verify
from camarchiver.runtime import processes
from tests import programs
from tests.archive.test_integrations import Passes
from tests.clips import CLIP_ARGUMENTS, FFMPEGS
from tests.samples import IRREGULAR, PICTURE, PLAIN, SOUND, X264, MakeClip, job_for, media_of, pts, script


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
        seen: list[FfmpegProgress] = []
        clip = make_clip(PLAIN)
        way = Transcode(
            job_for(clip, tmp_path / "x.part"), ENCODERS["libx264"], FallbackLevel.SOFTWARE, embedded.version
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
        body = "seq 0 19999 | tr 0-9 a-j | sed 's/.*/line & of a long flood of words on stderr/' >&2"
        done = transcoder.run(script(tmp_path, body), ())
        assert len(done.stderr) == 301
        assert done.stderr[0] == "line a of a long flood of words on stderr"
        assert done.stderr[200] == "(19700 more lines)"
        assert done.stderr[-1] == "line bjjjj of a long flood of words on stderr"

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
        monkeypatch.setattr(processes, "KILL_SECONDS", 0.5)
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
        def fail(progress: FfmpegProgress) -> None:
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
            "from pathlib import Path; from camarchiver.media import transcoder\n"
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
        assert ffmpeg_find.find(embedded.path) == (replace(embedded, origin="option"),)

    @pytest.mark.parametrize("name", ["/nowhere/ffmpeg", "/bin/true", "/etc"])
    def test_named_but_none(self, name: str) -> None:
        with pytest.raises(EncoderError, match="is no ffmpeg that runs here") as caught:
            ffmpeg_find.find(Path(name))
        assert caught.value.exit_code == ExitCode.ENCODER

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
        (ffmpeg,) = ffmpeg_find.find(fake)
        assert (ffmpeg.version, str(ffmpeg), ffmpeg.encoders) == (version, shown, {"libx264"})

    def test_the_embedded_one_without_a_path(
        self, embedded: Ffmpeg, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert ffmpeg_find.find() == (embedded,)


HEVC = Backend.QSV, "hevc"


class TestQuickSync:
    """The real ffmpeg's Quick Sync code on a software stand-in; no Intel hardware is proved by it."""

    @pytest.fixture
    def machine(self, softqsv: Path, found_ffmpegs: tuple[Ffmpeg, ...]) -> Machine:
        return Machine(found_ffmpegs, EncodeSettings(), device=softqsv)

    def climb(self, choice: Choice, clip: Path, target: Path, breaker: GpuBreaker | None = None) -> Encoded:
        job = job_for(clip, target)
        frames = job.media.packets

        def check(finished: Finished, encoder: Encoder) -> Passes:
            same = finished.frames == frames and pts(target) == pytest.approx(pts(clip), abs=1e-9)
            return Passes(same, f"{finished.frames} of {frames} frames")

        return EncoderFallback(choice, breaker or GpuBreaker(lambda: True)).run(job, check)

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
            choice = Machine((ffmpeg,), EncodeSettings(), device=softqsv).choose(*HEVC)
            assert [each.level for each in choice.fallback] == [
                FallbackLevel.GPU,
                FallbackLevel.GPU_ENCODE,
                FallbackLevel.SOFTWARE,
            ]
            encoded = self.climb(choice, clip, tmp_path / "x.part")
            assert encoded.tried == (LevelTried(FallbackLevel.GPU, "hevc_qsv"),)
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
        settings = EncodeSettings(max_height=128)
        choice = Machine(found_ffmpegs, settings, device=softqsv).choose(*HEVC)
        job = job_for(clip, tmp_path / "x.part", settings=settings)
        encoded = EncoderFallback(choice, GpuBreaker(lambda: True)).run(
            job, lambda finished, encoder: Passes(True)
        )
        assert encoded.tried == (LevelTried(FallbackLevel.GPU, "hevc_qsv"),)
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
        assert [each.level for each in encoded.tried] == [FallbackLevel.GPU, FallbackLevel.GPU]
        assert "Selected ratecontrol mode is unsupported" in encoded.tried[0].problem
        early = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part")
        assert early.tried == (LevelTried(FallbackLevel.GPU, "hevc_qsv"),)

    def test_a_decoder_that_dies_half_way(
        self, machine: Machine, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        choice = machine.choose(*HEVC)
        monkeypatch.setenv("SOFTQSV_FAIL", "dec=-17@10")
        encoded = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part")
        assert [(each.level, bool(each.problem)) for each in encoded.tried] == [
            (FallbackLevel.GPU, True),
            (FallbackLevel.GPU_ENCODE, False),
        ]
        assert "device failed (-17)" in encoded.tried[0].problem

    def test_a_gpu_that_hangs_for_good(
        self, machine: Machine, make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        choice = machine.choose(*HEVC)
        said: list[str] = []
        breaker = GpuBreaker(lambda: machine.still_works(choice), announce=said.append)
        monkeypatch.setenv("SOFTQSV_FAIL", "enc=-21@3")
        first = self.climb(choice, make_clip(PLAIN), tmp_path / "x.part", breaker)
        assert [each.level for each in first.tried] == [
            FallbackLevel.GPU,
            FallbackLevel.GPU_ENCODE,
            FallbackLevel.SOFTWARE,
        ]
        assert breaker.tripped
        second = self.climb(choice, make_clip(PLAIN), tmp_path / "y.part", breaker)
        assert second.tried == (LevelTried(FallbackLevel.SOFTWARE, "libx265"),)
        assert len(said) == 1

    def test_a_node_that_may_not_be_opened(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOFTQSV_NODE_ERR", "EACCES")
        with pytest.raises(EncoderError, match="No VA display found"):
            machine.choose(Backend.QSV)

    @pytest.mark.parametrize(
        ("gpu", "rung", "name"),
        [("arc", FallbackLevel.GPU, "hevc_qsv"), ("skylake", FallbackLevel.SOFTWARE, "libx265")],
    )
    def test_ten_bits(
        self,
        gpu: str,
        rung: FallbackLevel,
        name: str,
        machine: Machine,
        make_clip: MakeClip,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("SOFTQSV_GPU", gpu)
        made = f"{PICTURE} -c:v libx265 -x265-params log-level=error -pix_fmt yuv420p10le"
        encoded = self.climb(machine.choose(*HEVC), make_clip(made), tmp_path / "x.part")
        assert encoded.tried[-1] == LevelTried(rung, name)
        assert media_of(tmp_path / "x.part").video.pixel_format == "yuv420p10le"

    def test_a_chroma_that_the_gpu_cannot_decode(
        self, machine: Machine, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        clip = make_clip(f"{PICTURE} -c:v libx264 -preset ultrafast -pix_fmt yuv422p")
        encoded = self.climb(machine.choose(*HEVC), clip, tmp_path / "x.part")
        assert encoded.tried[-1] == LevelTried(FallbackLevel.GPU_ENCODE, "hevc_qsv")


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
            if b"camarchiver.media.parsing.prober" in Path(f"/proc/{pid}/cmdline").read_bytes():
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
        media, header = prober.measure(clips / name), prober.read_header(clips / name)
        assert (header.codec, header.width, header.height) == (media.video.codec, 320, 240)
        if "one-frame" not in name:
            assert header.duration == pytest.approx(media.span, abs=0.2)

    @pytest.mark.parametrize("name", GOOD)
    def test_keyframes_of_good_clips_decode(self, prober: Prober, clips: Path, name: str) -> None:
        examined = prober.examine(clips / name)
        assert examined.flaw == ""
        assert examined.media == prober.measure(clips / name)

    def test_streams_and_tags(self, prober: Prober, clips: Path) -> None:
        media = prober.measure(clips / "timecode.mov")
        assert [stream.codec for stream in media.audio] == ["aac"]
        assert media.other_streams == ("data:tmcd",)
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
        assert reason_of(prober.read_header, path) == "damaged"

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

    @pytest.mark.parametrize("flags", ["frag_keyframe", "frag_keyframe+empty_moov+default_base_moof"])
    @pytest.mark.parametrize(("begin", "length"), [(-4, 4096), (20, 80)])
    def test_hole_where_a_fragment_begins(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, flags: str, begin: int, length: int
    ) -> None:
        """A silent loss: the demuxer stops at the hole, or passes over it, and says nothing."""
        words = f"-f lavfi -i testsrc2=s=160x120:r=10:d=4 -c:v libx264 -g 10 -movflags {flags}"
        data = make_clip(words, ".mp4").read_bytes()
        second = data.index(b"moof", data.index(b"moof") + 4)
        (path := tmp_path / "x.mp4").write_bytes(zeroed(data, second + begin, length))
        assert reason_of(prober.measure, path) == "damaged"

    def test_frames_whose_sizes_are_lost(self, prober: Prober, make_clip: MakeClip, tmp_path: Path) -> None:
        words = "-f lavfi -i testsrc2=s=160x120:r=10:d=4 -f lavfi -i sine=d=4 -c:v mjpeg -c:a aac"
        data = make_clip(words, ".mov").read_bytes()
        for frames, said in ((range(10, 18), "has 8 frames without data"), (range(39, 40), "")):
            (path := tmp_path / "x.mov").write_bytes(
                zeroed(data, data.index(b"stsz") + 16 + 4 * frames.start, 4 * len(frames))
            )
            assert prober.measure(path).unkeepable == said

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
        prober.read_header(clips / "plain.mp4")
        os.kill(worker_pid(), signal.SIGKILL)
        time.sleep(0.2)
        assert prober.measure(clips / "plain.mp4").packets == 50

    def test_hang_costs_one_call(self, clips: Path) -> None:
        with Prober(timeout=6) as prober, ThreadPoolExecutor(3) as pool, halted_worker(prober, clips) as pid:
            calls = [pool.submit(prober.measure, clips / "plain.mp4") for _ in range(3)]
            assert sorted(str(result_of(call)) for call in calls) == ["50", "50", "timeout"]
            assert worker_pid() != pid

    def test_long_work_is_no_hang(self, clips: Path) -> None:
        with Prober(timeout=60) as prober:
            # This starts the worker, which takes seconds on a busy machine.
            prober.read_header(clips / "plain.mp4")
            prober._timeout = 1.2
            started = time.monotonic()
            prober.examine(clips / "many-keyframes.mkv")
            assert time.monotonic() - started > 0.6, "too quick to show anything"

    def test_close_ends_a_call_under_way(self, clips: Path) -> None:
        prober = Prober()
        prober.read_header(clips / "plain.mp4")
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
from camarchiver.media.parsing.prober import Prober
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
from camarchiver.media.parsing.prober import Prober
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
        script = (
            "import sys, camarchiver.media.parsing.prober; print('av' in sys.modules, 'numpy' in sys.modules)"
        )
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
        prober.read_header(clips / "plain.mp4")
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


def vetted(prober: Prober, source: Path, archive: Path) -> verification_rules.Verdict:
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

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
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


def signed_by_hand(raw: bytes, uuid: str) -> bytes:
    """An H.265 stream with an SEI message of that UUID (ITU-T H.265, 7.3.5) before its first picture."""
    body = bytes.fromhex(uuid) + b"\x01" * 24
    at = raw.find(b"\0\0\1\x26") if b"\0\0\1\x26" in raw else raw.find(b"\0\0\1\x28")
    return raw[:at] + b"\0\0\1\x4e\x01\x05" + bytes([len(body)]) + body + b"\x80\0" + raw[at:]


class TestMeasure:
    """What is told of clips that are encoded in another way than most, or not at all."""

    AXIS = "5369676e656420566964656f2e2e2e30"
    ONVIF = "005bc93f2d715e95ada4796f90877a6f"

    def test_what_a_cut_hides_does_not_count(self, prober: Prober, make_clip: MakeClip) -> None:
        whole = make_clip(f"{WATCHED} -bf 2")
        cut = prober.measure(make_clip(f"-ss 1.4 -i {whole} -t 1.2 -c copy"))
        # By `ffprobe -show_frames`; the last two are later ones of the cut's end that were reordered.
        assert (cut.packets, cut.shown, len(cut.times), cut.unkeepable) == (41, 20, 20, "")
        assert cut.span == pytest.approx(20 / 15, abs=0.1)
        assert cut.audio[0].start == pytest.approx(0, abs=0.07)
        assert cut.keyframe_times[0] < 0

    def test_an_edit_that_ends_before_the_last_frame(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path
    ) -> None:
        whole = make_clip(f"{MOVING} {CLEAR} -bf 0")
        data = bytearray(whole.read_bytes())
        # The length of the one edit in milliseconds (ISO 14496-12, 8.6.6).
        at = data.index(b"elst") + 12
        assert int.from_bytes(data[at : at + 4]) == 4000
        data[at : at + 4] = (2200).to_bytes(4)
        path = tmp_path / "x.mp4"
        path.write_bytes(data)
        media = prober.measure(path)
        assert (media.shown, len(media.times), media.unkeepable) == (33, 33, "")
        assert media.span == pytest.approx(2.2, abs=0.01)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov", ".avi"])
    @pytest.mark.parametrize(
        ("uuid", "by"), [(AXIS, "Axis signed video"), (ONVIF, "ONVIF Media Signing"), ("ab" * 16, "")]
    )
    def test_signed_h264(self, prober: Prober, make_clip: MakeClip, suffix: str, uuid: str, by: str) -> None:
        dashed = "-".join((uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:]))
        clip = make_clip(f"{PLAIN} -bf 0 -bsf:v h264_metadata=sei_user_data={dashed}+x", suffix)
        assert prober.measure(clip).signed == by

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    @pytest.mark.parametrize(("uuid", "by"), [(AXIS, "Axis signed video"), (ONVIF, "ONVIF Media Signing")])
    def test_signed_h265(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, suffix: str, uuid: str, by: str
    ) -> None:
        plain = make_clip(
            f"{PICTURE} -c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0", ".h265"
        )
        raw = tmp_path / "x.h265"
        raw.write_bytes(signed_by_hand(plain.read_bytes(), uuid))
        assert prober.measure(make_clip(f"-r 10 -i {raw} -c copy", suffix)).signed == by

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_another_size_midway(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, suffix: str
    ) -> None:
        joined = tmp_path / "x.h264"
        parts = (make_clip(PLAIN.replace("160x120", size), ".h264") for size in ("160x120", "320x240"))
        joined.write_bytes(b"".join(part.read_bytes() for part in parts))
        tag = "-tag:v avc3" if suffix == ".mp4" else ""
        media = prober.measure(make_clip(f"-r 10 -i {joined} -c copy {tag}", suffix))
        assert media.varies == "changes from 160x120 to 320x240 midway"

    @pytest.mark.parametrize("suffix", [".mov", ".avi", ".mkv"])
    def test_quiet_sound_that_looks_like_headers_of_aac(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, suffix: str
    ) -> None:
        raw = tmp_path / "quiet.ulaw"
        raw.write_bytes(bytes.fromhex("fff1507f") * 2000 + bytes.fromhex("fff9fc80") * 2000)
        clip = make_clip(f"{PICTURE} -f mulaw -ar 8000 -i {raw} {X264} -c:a copy -shortest", suffix)
        assert [(sound.codec, sound.varies) for sound in prober.measure(clip).audio] == [("pcm_mulaw", False)]

    @pytest.mark.parametrize("size", [0, 23, 2**64 - 1])
    def test_an_asf_whose_header_has_no_plausible_size(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, size: int
    ) -> None:
        whole, path = make_clip(f"{PICTURE} -c:v wmv2", ".asf").read_bytes(), tmp_path / "x.asf"
        path.write_bytes(whole[:16] + size.to_bytes(8, "little") + whole[24:])
        assert prober.measure(path).packets == 20

    @pytest.mark.parametrize("offset", [3600, 60000, 0])
    def test_joined_transport_streams(
        self, prober: Prober, make_clip: MakeClip, tmp_path: Path, offset: int
    ) -> None:
        path = tmp_path / "x.ts"
        parts = (make_clip(f"{PLAIN} -output_ts_offset {at}", ".ts") for at in (30, offset))
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        media = prober.measure(path)
        assert media.packets == 40
        assert media.unkeepable

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_a_gap_in_the_sound(self, prober: Prober, make_clip: MakeClip, suffix: str) -> None:
        """Mp4 tells it by the length of the packet before, the others by the time of the next one."""
        gap = "-af \"aselect='not(between(t,1,1.6))'\""
        source = make_clip(f"{MOVING} {TONE} {CLEAR} -c:a aac {gap}", suffix)
        (sound,) = prober.measure(source).audio
        assert sound.gaps[1] - sound.gaps[0] == pytest.approx(0.6, abs=0.13)
        verdict = vetted(prober, source, make_clip(f"-i {source} {CLEAR} -fps_mode passthrough -c:a copy"))
        assert (verdict.ok, verdict.problem) == (True, "")

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    @pytest.mark.parametrize("first", ["tff", "bff"])
    def test_interlaced(self, prober: Prober, make_clip: MakeClip, suffix: str, first: str) -> None:
        fields = f"-vf interlace=scan={first},format=yuv420p -flags +ilme+ildct -x264opts {first}=1"
        found = prober.measure(make_clip(f"{PLAIN} {fields}", suffix)).video.field_order
        assert found == ("tt" if first == "tff" else "bb")
        assert prober.measure(make_clip(PLAIN, suffix)).video.field_order in ("", "progressive")


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
        assert (verdict.ok, verdict.notes) == (True, ("not in the archive: data:tmcd",))

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
