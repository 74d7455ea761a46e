"""archive: against the real disk, the real ffmpeg and real faults."""

from __future__ import annotations

import grp
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import pytest
from msgspec import Struct
from msgspec.structs import replace
from pytest_mock import MockerFixture

from camarchiver.archive.fallback import Encoded, EncoderFallback, GpuBreaker, LevelTried
from camarchiver.domain.clip import Clip, Fingerprint, Trees
from camarchiver.domain.plan import Plan, Tally
from camarchiver.domain.reason import Reason
from camarchiver.domain.steps import Archive
from camarchiver.errors import EncoderError, ExitCode
from camarchiver.media import encoder_probe, ffmpeg_args, transcoder
from camarchiver.media.encoder_probe import Choice, EncoderAttempt, Machine
from camarchiver.media.encoders import ENCODERS, Backend, Encoder, EncodeSettings, FallbackLevel
from camarchiver.media.ffmpeg_args import Job, Transcode
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.media.gpu import node_problem
from camarchiver.media.info import Media, VideoStream
from camarchiver.media.parsing.prober import Prober
from camarchiver.media.transcoder import Finished
from camarchiver.policy.archive_rules import ArchivePolicy
from camarchiver.queries import footage_estimate
from camarchiver.state import holds, work_in_progress
from tests import programs
from tests.cameras import DAY, RECORDED, Camera, frames_of
from tests.clips import FRAMES
from tests.processes import processes_with, wait_until
from tests.samples import (
    IRREGULAR,
    PICTURE,
    PLAIN,
    SLOW,
    SOUND,
    MakeClip,
    OddFfmpeg,
    grow,
    job_for,
    media_of,
    mounted,
    needs_root,
    pts,
    script,
    swap_in,
)


def software(ffmpeg: Ffmpeg, name: str, job: Job) -> Finished:
    way = Transcode(job, ENCODERS[name], FallbackLevel.SOFTWARE, ffmpeg.version)
    return transcoder.run(ffmpeg.path, ffmpeg_args.transcode(way))


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
        job = job_for(clip, tmp_path / "x", settings=EncodeSettings(audio="none"))
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
        job = job_for(make_clip(PLAIN), tmp_path / "x", settings=EncodeSettings(max_height=61))
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
        monkeypatch.setattr(encoder_probe, "_NVIDIA_NODES", ())
        choice = Machine(found_ffmpegs, EncodeSettings(), nodes=()).choose()
        assert [(each.encoder.name, each.level) for each in choice.fallback] == [
            ("libsvtav1", FallbackLevel.SOFTWARE)
        ]
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
        machine = Machine(found_ffmpegs, EncodeSettings(), nodes=())
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
        machine = Machine((replace(real, path=old),), EncodeSettings(), nodes=())
        choice = machine.choose(Backend.SOFTWARE)
        assert choice.encoder.name == "libx264"
        assert choice.explanation[0] == "libsvtav1: SVT-AV1 1.4 is older than 2.0"
        assert machine.choose(Backend.SOFTWARE, "av1").encoder.name == "libsvtav1"

    @pytest.mark.parametrize(
        ("codec", "name"), [("av1", "libsvtav1"), ("hevc", "libx265"), ("h264", "libx264")]
    )
    def test_a_codec_in_software(self, codec: str, name: str, found_ffmpegs: tuple[Ffmpeg, ...]) -> None:
        assert (
            Machine(found_ffmpegs, EncodeSettings(), nodes=()).choose(Backend.SOFTWARE, codec).encoder.name
            == name
        )

    @pytest.mark.parametrize("backend", [Backend.QSV, Backend.VAAPI, Backend.NVENC, Backend.V4L2M2M])
    def test_a_named_backend_that_fails_is_an_error(
        self, backend: Backend, found_ffmpegs: tuple[Ffmpeg, ...], tmp_path: Path
    ) -> None:
        machine = Machine(found_ffmpegs, EncodeSettings(), device=tmp_path / "renderD128")
        with pytest.raises(EncoderError, match="can't be used") as caught:
            machine.choose(backend)
        assert caught.value.exit_code == ExitCode.ENCODER
        assert caught.value.hint
        if backend in (Backend.QSV, Backend.VAAPI):
            assert f"{tmp_path}/renderD128 is not there" in caught.value.message
            assert "--device" in caught.value.hint

    def test_a_codec_that_the_backend_never_has(self, found_ffmpegs: tuple[Ffmpeg, ...]) -> None:
        with pytest.raises(EncoderError, match="v4l2m2m has no av1 encoder"):
            Machine(found_ffmpegs, EncodeSettings()).choose(Backend.V4L2M2M, "av1")

    def test_a_wrong_preset_is_found_by_the_trial(self, embedded: Ffmpeg) -> None:
        machine = Machine((embedded,), EncodeSettings(preset="swift"), nodes=())
        with pytest.raises(EncoderError, match="libx264 can't be used"):
            machine.choose(Backend.SOFTWARE, "h264")

    def test_a_trial_is_made_once(self, embedded: Ffmpeg, tmp_path: Path) -> None:
        counted = script(tmp_path, f"echo run >> {tmp_path}/runs; exec {embedded.path} $all")
        machine = Machine((replace(embedded, path=counted),), EncodeSettings(), nodes=())
        first = machine.choose(Backend.SOFTWARE, "h264")
        runs = (tmp_path / "runs").read_text()
        assert machine.choose(Backend.SOFTWARE, "h264") == first
        assert (tmp_path / "runs").read_text() == runs
        assert machine.still_works(first)
        assert (tmp_path / "runs").read_text() != runs

    def test_a_hang_at_the_first_use(
        self, embedded: Ffmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoder_probe, "_TRIAL_SECONDS", 0.5)
        body = f'case "$all" in *h264_qsv*) sleep 60;; *) exec {embedded.path} $all;; esac'
        machine = Machine(
            (replace(embedded, path=script(tmp_path, body)),), EncodeSettings(), device=tmp_path / "n"
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
                "import os; from pathlib import Path; from camarchiver.media.gpu import node_problem\n"
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

# Each row of the failure table: where it was seen, the exit code then, and what comes next.
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
case $all in *_qsv*) level=gpu-encode;; *) level=software;; esac
case $all in *-hwaccel*) level=gpu;; esac
mode=; case $all in *-q:v*) mode=cqp;; esac
here=${0%/*}
echo $level$mode >> $here/calls
target=${1#file:}
[ -s "$target" ] && echo "leftover of an earlier level" >&2
frames=20; code=0
if [ -e $here/$level ] && { [ -z "$mode" ] || [ ! -e $here/only-icq ]; }; then
  cat $here/$level >&2; read code frames < $here/$level.end
fi
echo "archive by $level" > "$target"
printf 'frame=%s\\nprogress=end\\n' $frames > $pipe
[ $code = 139 ] && kill -SEGV $$
[ $code = 124 ] && exec sleep 60
exit $code
"""


class Replay(Struct, frozen=True):
    """A fake ffmpeg that fails as it is told at the given levels, and the fallback that runs it."""

    folder: Path
    said: list[str]
    still_works: list[bool]
    breaker: GpuBreaker
    choice: Choice

    def fail(self, level: FallbackLevel, stderr: str, code: int, frames: int = 5) -> None:
        (self.folder / level).write_text(stderr + "\n" if stderr else "")
        (self.folder / f"{level}.end").write_text(f"{code} {frames}\n")

    def heal(self) -> None:
        for level in FallbackLevel:
            (self.folder / level).unlink(missing_ok=True)

    def encode(
        self, stop: threading.Event | None = None, media: Media = TINY, stall: float = 30.0
    ) -> Encoded:
        job = Job(self.folder / "clip.mp4", self.folder / "target.part", media, EncodeSettings(), "mp4", {})

        def check(finished: Finished, encoder: Encoder) -> Passes:
            return Passes(finished.frames == TINY_FRAMES, f"{finished.frames} of {TINY_FRAMES} frames")

        return EncoderFallback(self.choice, self.breaker, stop, stall).run(job, check)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()


@pytest.fixture
def replay(tmp_path: Path) -> Replay:
    ffmpeg = Ffmpeg(script(tmp_path, REPLAY), (9, 0), "option", frozenset())
    hardware, spare = ENCODERS["hevc_qsv"], ENCODERS["libx265"]
    fallback = (
        EncoderAttempt(ffmpeg, hardware, FallbackLevel.GPU),
        EncoderAttempt(ffmpeg, hardware, FallbackLevel.GPU_ENCODE),
        EncoderAttempt(ffmpeg, spare, FallbackLevel.SOFTWARE),
    )
    said: list[str] = []
    answers: list[bool] = []
    breaker = GpuBreaker(lambda: answers.pop(0), announce=said.append)
    return Replay(tmp_path, said, answers, breaker, Choice(fallback, None, False, ()))


class TestLadder:
    def test_the_best_rung_is_enough(self, replay: Replay) -> None:
        encoded = replay.encode()
        assert encoded.tried == (LevelTried(FallbackLevel.GPU, "hevc_qsv"),)
        assert (encoded.encoder, encoded.problem) == (ENCODERS["hevc_qsv"], "")
        assert replay.calls() == ["gpu"]

    @pytest.mark.parametrize("level", [FallbackLevel.GPU, FallbackLevel.GPU_ENCODE])
    @pytest.mark.parametrize(("stderr", "code", "kind"), FAILURES)
    def test_each_failure_on_each_hardware_rung(
        self, stderr: str, code: int, kind: str, level: FallbackLevel, replay: Replay
    ) -> None:
        if level is FallbackLevel.GPU_ENCODE:
            replay.fail(FallbackLevel.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(level, stderr, code)
        encoded = replay.encode()
        tried = ["gpu"] if level is FallbackLevel.GPU else ["gpu", "gpu-encode"]
        if kind == OPTION or level is FallbackLevel.GPU_ENCODE:
            tried.append("software")
        else:
            tried.append("gpu-encode")
        if kind == STORAGE:
            # Where ffmpeg hides it behind exit 0 the check finds the missing frames all the same.
            tried.pop()
        assert replay.calls() == tried
        assert [each.level for each in encoded.tried] == tried
        assert (encoded.encoder is None) == (kind == STORAGE)
        assert all(each.problem for each in encoded.tried[: len(tried) - (kind != STORAGE)])
        failed = encoded.tried[0 if level is FallbackLevel.GPU else 1]
        if code == 139:
            assert failed.problem == "ended by signal SIGSEGV"
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
        replay.fail(FallbackLevel.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(FallbackLevel.GPU_ENCODE, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(FallbackLevel.SOFTWARE, stderr, code)
        encoded = replay.encode()
        assert encoded.encoder is None
        assert replay.calls() == ["gpu", "gpu-encode", "software"]
        assert encoded.problem == encoded.tried[-1].problem != ""

    def test_exit_0_with_half_the_frames(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "", 0, frames=10)
        encoded = replay.encode()
        assert encoded.tried[0].problem == "10 of 20 frames"
        assert encoded.tried[1] == LevelTried(FallbackLevel.GPU_ENCODE, "hevc_qsv")
        assert (replay.folder / "target.part").read_text() == "archive by gpu-encode\n"

    def test_a_hang(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "", 124)
        encoded = replay.encode(stall=0.5)
        assert encoded.tried[0].problem == "no progress for 0 s"
        assert encoded.tried[1].problem == ""

    def test_constant_quality_refused_is_tried_once_as_a_quantiser(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "[hevc_qsv @ 0x1] Selected ratecontrol mode is unsupported", 218)
        (replay.folder / "only-icq").touch()
        encoded = replay.encode()
        assert replay.calls() == ["gpu", "gpucqp"]
        assert [each.problem for each in encoded.tried] == [
            "[hevc_qsv] Selected ratecontrol mode is unsupported",
            "",
        ]

    def test_both_rate_controls_refused_means_the_next_encoder(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "Selected ratecontrol mode is unsupported", 218)
        assert replay.encode().encoder == ENCODERS["libx265"]
        assert replay.calls() == ["gpu", "gpucqp", "software"]

    def test_device_failures_of_two_clips_trip_the_breaker(self, replay: Replay) -> None:
        replay.still_works.append(False)
        replay.fail(FallbackLevel.GPU, "Error during encoding: GPU Hang (-21)", 251)
        replay.fail(FallbackLevel.GPU_ENCODE, "Error during encoding: GPU Hang (-21)", 251)
        assert replay.encode().encoder == ENCODERS["libx265"]
        assert replay.encode().tried == (LevelTried(FallbackLevel.SOFTWARE, "libx265"),)
        assert replay.calls() == ["gpu", "gpu-encode", "software", "software"]
        assert len(replay.said) == 1

    def test_a_gpu_that_passes_its_trial_stays(self, replay: Replay) -> None:
        replay.still_works.append(True)
        replay.fail(FallbackLevel.GPU, "device failed (-17)", 251)
        replay.fail(FallbackLevel.GPU_ENCODE, "device failed (-17)", 251)
        assert replay.encode().encoder == ENCODERS["libx265"]
        replay.heal()
        assert replay.encode().encoder == ENCODERS["hevc_qsv"]
        assert replay.said == []

    def test_bad_clips_never_trip_the_breaker(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "Error decoding stream header: unsupported (-3)", 69)
        replay.fail(FallbackLevel.GPU_ENCODE, "Invalid data found when processing input", 1)
        for _ in range(3):
            assert replay.encode().encoder == ENCODERS["libx265"]
        assert not replay.breaker.tripped

    def test_a_stop_fails_no_rung(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "", 124)
        stop = threading.Event()
        threading.Timer(0.4, stop.set).start()
        encoded = replay.encode(stop)
        assert (encoded.stopped, encoded.encoder, encoded.tried) == (True, None, ())
        assert replay.calls() == ["gpu"]

    def test_a_rung_that_would_lose_bits_is_passed_over(self, replay: Replay) -> None:
        deep = replace(TINY, video=replace(TINY.video, pixel_format="yuv422p10le", bit_depth=10))
        encoded = replay.encode(media=deep)
        assert encoded.tried == (
            LevelTried(FallbackLevel.GPU, "hevc_qsv", "the GPU's pipeline has no 4:2:2"),
            LevelTried(FallbackLevel.GPU_ENCODE, "hevc_qsv"),
        )
        assert replay.calls() == ["gpu-encode"]

    def test_the_owner_s_quality_is_not_for_the_spare_encoder(self, replay: Replay) -> None:
        replay.fail(FallbackLevel.GPU, "Current profile is unsupported", 218)
        log = replay.folder / "arguments"
        fake = script(replay.folder, f'echo "$all" >> {log}' + REPLAY)
        assert fake.exists()
        job = Job(
            replay.folder / "c.mp4",
            replay.folder / "t",
            TINY,
            EncodeSettings(quality=20, preset="slow"),
            "mp4",
            {},
        )
        EncoderFallback(replay.choice, replay.breaker).run(job, lambda finished, encoder: Passes(True))
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
        for level in FallbackLevel:
            replay.fail(level, stderr, code)
        assert replay.encode().is_refusal == is_refusal

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
        job = Job(replay.folder / "c.mp4", replay.folder / "t", TINY, EncodeSettings(), "mp4", {})
        fallback = EncoderFallback(replay.choice, replay.breaker)
        assert fallback.run(job, lambda finished, encoder: Passes(False, problem)).is_refusal == is_refusal

    def test_a_damaged_clip_is_not_tried_on_a_spare_encoder(self, replay: Replay) -> None:
        spare = EncoderAttempt(replay.choice.ffmpeg, ENCODERS["libx264"], FallbackLevel.SOFTWARE)
        job = Job(replay.folder / "c.mp4", replay.folder / "t", TINY, EncodeSettings(), "mp4", {})

        def encode(verdict: Passes) -> Encoded:
            fallback = EncoderFallback(replace(replay.choice, spare=(spare,)), replay.breaker)
            return fallback.run(job, lambda finished, encoder: verdict)

        refused = encode(Passes(False, "frames are missing"))
        assert [each.encoder for each in refused.tried][2:] == ["libx265", "libx264"]
        damaged = encode(Passes(False, "it complained", blames_source=True))
        assert [each.encoder for each in damaged.tried][2:] == ["libx265"]
        assert (damaged.is_damaged, damaged.is_refusal) == (True, False)

    def test_fields_go_to_an_encoder_that_keeps_them(self, replay: Replay) -> None:
        woven = replace(TINY, video=replace(TINY.video, field_order="tt"))
        spare = EncoderAttempt(replay.choice.ffmpeg, ENCODERS["libx264"], FallbackLevel.SOFTWARE)
        replay = replace(replay, choice=replace(replay.choice, spare=(spare,)))
        encoded = replay.encode(media=woven)
        assert encoded.encoder == ENCODERS["libx264"]
        assert all("would weave the fields" in each.problem for each in encoded.tried[:-1])

    def test_a_target_that_cannot_be_written(self, replay: Replay) -> None:
        (replay.folder / "target.part").mkdir()
        with pytest.raises(IsADirectoryError):
            replay.encode()


class TestFootage:
    def test_a_camera_of_damaged_clips_is_not_read_whole(self, tmp_path: Path, mocker: MockerFixture) -> None:
        asked = mocker.spy(Prober, "read_header")
        steps = []
        for number in range(footage_estimate.CLIPS_TRIED + 10):
            (tmp_path / f"{number}.mp4").write_bytes(b"no video")
            start = datetime(2026, 3, 1, tzinfo=UTC)
            clip = Clip(tmp_path, "", f"{number}.mp4", "front", start, Fingerprint(1, number, 8, 0))
            steps.append(Archive(clip, clip.name, Reason.NOT_ARCHIVED))
        tally = Tally()
        for step in steps:
            tally.add(step)
        trees = Trees(tmp_path, tmp_path / "archive", tmp_path / "trash")
        plan = Plan("archive", trees, start, ArchivePolicy(timedelta(0)), tally.totals(), steps, ())
        assert footage_estimate.seconds_in(plan) == {}
        assert asked.call_count == footage_estimate.CLIPS_TRIED


def staged(camera: Camera) -> list[Path]:
    """Unfinished archives that hold something or are about to."""
    return list(camera.archive_root.rglob(".REO*.staged*"))


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


def truncate(clip: Path) -> None:
    os.truncate(clip, clip.stat().st_size // 2)


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

    @pytest.mark.parametrize("disposal", [(), ("--delete", "-y")], ids=["trash", "delete"])
    def test_a_hold_made_during_the_encode_keeps_the_source(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, tmp_path: Path, disposal: tuple[str, ...]
    ) -> None:
        clip, gate = camera.add(), Gate(tmp_path)
        content = clip.read_bytes()
        run = camera.start("--json", *disposal, ffmpeg=odd_ffmpeg(gate.script(after=True)))
        start, state = datetime.fromtimestamp(RECORDED, UTC), camera.archive_root / ".camarchiver"
        gate.change(lambda: holds.add(state, start, start + timedelta(1), camera="", reason="x", until=None))
        (outcome,) = run.end().document()["outcomes"]
        assert (outcome["result"], outcome["reason"]) == ("held", "held")
        assert "archived; the source was left alone: hold " in outcome["detail"]
        assert clip.read_bytes() == content
        assert len(camera.archives()) == 1 and camera.trashed() == camera.litter() == []
        assert [event["event"] for event in camera.events()] == ["archived"]

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
        run.end()
        assert run.code == 128 + number
        assert "stopped" in run.out
        assert len(camera.sources()) == 2 and camera.archives() == []
        assert camera.litter() == []
        assert processes_with(str(camera.root)) == []
        assert camera.archive(host="one").code == 0
        camera.assert_finished()

    @pytest.mark.edge
    def test_a_second_signal_corrupts_nothing(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, tmp_path: Path
    ) -> None:
        """ffmpeg does not heed TERM, so that the stop takes its five seconds and is hit again."""
        camera.add()
        deaf, asked = tmp_path / "deaf", tmp_path / "asked"
        stubborn = f'    trap "touch {asked}" TERM INT HUP; touch {deaf}\n'
        stubborn += "    for _ in $(seq 600); do sleep 0.1; done"
        run = camera.start(ffmpeg=odd_ffmpeg(stubborn))
        wait_until(deaf.exists, "the encoding")
        run.process.send_signal(signal.SIGTERM)
        # Of signals that wait together the lowest number comes first, so this one must have been handled.
        wait_until(asked.exists, "the stop of ffmpeg")
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
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
            patch="import os\nfrom camarchiver.storage import copying\ncopies, copy = [], copying.copy_into\n"
            "def die(*a):\n    copies.append(copy(*a))\n"
            f"    len(copies) == {number} and os.kill(os.getpid(), 9)\n"
            "copying.copy_into = die",
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
        work = work_in_progress.ClipWork("x.mp4", 1, 1, datetime.now(UTC), "x", (), "h", 1, "r")
        with work_in_progress.noted(trees, work, tmp_path / "x.mp4.lock") as note:
            (path,) = (trees.state / "claims").iterdir()
            written, folder = synced[-2:]
            assert Path(written).name.startswith(f".{path.stem}.") and folder == str(path.parent)
            note.staging(trees.archive / "part")
            assert synced[-2] != written and synced[-1] == folder
        assert not list(path.parent.iterdir())

    def test_a_second_start_on_the_same_host_says_so(self, camera: Camera, odd_ffmpeg: OddFfmpeg) -> None:
        camera.add()
        first = camera.start(ffmpeg=odd_ffmpeg("    sleep 1.5"))
        wait_until(lambda: staged(camera), "the encoding")
        second = camera.archive()
        assert second.code == ExitCode.ALREADY_RUNNING
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
            patch="import os\nfrom camarchiver.storage import atomic\n"
            "atomic.publish = lambda *a, **k: os.kill(os.getpid(), 9)",
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
    def test_a_full_disk_is_seen_before_encoding(self, camera: Camera, disk_of_3_mib: Path) -> None:
        clip = camera.add()
        camera.archive_root = disk_of_3_mib
        (disk_of_3_mib / "fill").write_bytes(bytes(3_060_000))
        run = camera.archive("--json")
        assert run.code == ExitCode.STORAGE
        assert [outcome["reason"] for outcome in run.document()["outcomes"]] == ["no-space"]
        assert camera.sources() == [clip] and camera.archives() == [] == camera.litter()

    @needs_root
    @pytest.mark.parametrize("leave", [0, 4096])
    def test_a_disk_that_fills_up_during_the_run(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, disk_of_3_mib: Path, leave: int
    ) -> None:
        """The source stays, it is no fault of the clip, and with space again the next run does it."""
        clip = camera.add()
        camera.archive_root = disk_of_3_mib
        filled = disk_of_3_mib / "fill"
        fill = f'    cat /dev/zero > "{filled}" 2>/dev/null; truncate -s -{leave} "{filled}"'
        run = camera.archive("--json", ffmpeg=odd_ffmpeg(fill))
        assert run.code in (ExitCode.PARTIAL, ExitCode.STORAGE)
        assert [outcome["reason"] for outcome in run.document()["outcomes"]] == ["no-space"]
        assert camera.sources() == [clip] and camera.archives() == []
        camera.assert_nothing_lost()
        (disk_of_3_mib / "fill").unlink()
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
            assert refused.code == ExitCode.STORAGE and "--keep-source" in refused.errors
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
            assert run.code in (ExitCode.FAILED, ExitCode.PARTIAL)
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
            pytest.param('    rm "${last#file:}"; exit 0', id="no-file"),
        ],
    )
    def test_an_ffmpeg_that_fails_costs_no_footage(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, script: str
    ) -> None:
        clip = camera.add()
        run = camera.archive("--json", ffmpeg=odd_ffmpeg(script))
        assert run.code in (ExitCode.FAILED, ExitCode.PARTIAL)
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
            assert camera.archive("--retry-failed", ffmpeg=dies).code == ExitCode.FAILED
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
        "place",
        ["JournalWriter.copying", "atomic.publish", "JournalWriter.archived", "JournalWriter.removed"],
    )
    def test_a_kill_around_the_publishing_of_a_copy_leaves_one_archive(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg, place: str
    ) -> None:
        """A copy of the very bytes carries no tag, so the next run knows it by the journal."""
        content = camera.add().read_bytes()
        refuses = odd_ffmpeg("    exit 1")
        dies = (
            "import os\nfrom camarchiver.journal.writer import JournalWriter\n"
            "from camarchiver.storage import atomic\n"
            f"def die(*args, **more): os.kill(os.getpid(), 9)\n{place} = die\n"
        )
        assert camera.archive(ffmpeg=refuses, patch=dies).code == -9
        camera.assert_nothing_lost()
        assert camera.archive(ffmpeg=refuses).code == 0
        camera.assert_finished()
        assert [archive.read_bytes() for archive in camera.archives()] == [content]
        adopted = [event["unencoded"] for event in camera.events("adopted")]
        assert adopted == (["refused"] if place == "JournalWriter.archived" else [])

    @pytest.mark.edge
    def test_an_ffmpeg_that_hangs_is_ended(self, camera: Camera, odd_ffmpeg: OddFfmpeg) -> None:
        clip = camera.add()
        run = camera.archive(
            "--json",
            ffmpeg=odd_ffmpeg("    sleep 300"),
            patch="from camarchiver.media import transcoder\ntranscoder.STALL_SECONDS = 0.5",
        )
        assert run.code in (ExitCode.FAILED, ExitCode.PARTIAL)
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
        wait_until(lambda: not processes_with(f"{tmp_path}/child"), "the end of its child")

    @pytest.mark.edge
    def test_a_file_that_kills_ffmpeg_does_not_stop_the_others(
        self, camera: Camera, odd_ffmpeg: OddFfmpeg
    ) -> None:
        bad, good = camera.add("bad"), camera.add("good")
        script = '    case "$last" in *REO_bad*) kill -SEGV $$;; esac'
        run = camera.archive(ffmpeg=odd_ffmpeg(script))
        assert run.code == ExitCode.PARTIAL
        assert camera.sources() == [bad] and [path.name for path in camera.archives()] == [good.name]
        camera.assert_nothing_lost()

    def test_a_failure_that_cannot_be_journalled_does_not_stop_the_others(self, camera: Camera) -> None:
        camera.add("bad").write_bytes(bytes(50_000))
        os.utime(camera.root / DAY / "REO_bad_20240105101500.mp4", (RECORDED, RECORDED))
        good = camera.add("good", "101600")
        fails = "def fail(*_): raise OSError(5, 'the disk fails')\nJournalWriter.failed = fail"
        run = camera.archive(patch=f"from camarchiver.journal.writer import JournalWriter\n{fails}")
        assert (run.code, not good.exists()) == (ExitCode.PARTIAL, True), run.errors

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
        old = [
            state / ".volume.0123456789abcdef.staged",
            state / "claims" / ".a.0123456789abcdef.staged.json",
            state / "cache" / ".a.0123456789abcdef.staged.jpg",
        ]
        young = [
            state / ".volume.fedcba9876543210.staged",
            state / "claims" / ".b.0123456789abcdef.staged.json",
            state / "cache" / ".b.0123456789abcdef.staged.jpg",
        ]
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
            patch="from camarchiver.storage import removal\nremove = removal.remove\n"
            "def full(root, relative, *others):\n"
            "    if relative.endswith('.jpg'): raise OSError(28, 'No space left on device')\n"
            "    return remove(root, relative, *others)\n"
            "removal.remove = full"
        )
        assert run.code in (ExitCode.FAILED, ExitCode.PARTIAL) and camera.sources() == [] and picture.exists()
        camera.archive()
        assert (
            not picture.exists() and (camera.archives()[0].with_suffix(".jpg")).read_bytes() == b"a picture"
        )
        camera.assert_finished()
