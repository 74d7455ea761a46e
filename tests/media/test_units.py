"""media: decisions and formats, without a disk."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camarchiver.media import archive_tag, ffmpeg_args
from camarchiver.media.encoders import (
    ENCODERS,
    Backend,
    EncodeSettings,
    FallbackLevel,
    changes,
    container_for,
    obstacle,
    remux_container,
)
from camarchiver.media.ffmpeg_args import Job, Transcode
from camarchiver.media.ffmpeg_errors import Trouble, diagnose, refuses_constant_quality
from camarchiver.media.info import AudioStream, Media, VideoStream
from camarchiver.media.verification import Facts, verify
from tests.values import a_clip

NODE = Path("/dev/dri/renderD128")
VIDEO = VideoStream("h264", 2560, 1440, "yuv420p", 8, Fraction(25), Fraction(1, 12800))
MEDIA = Media("mp4", VIDEO, 1, (AudioStream("aac", 16000, 1),), (), 250, 5, 0, 0.0, 10.0, {})


def audio(*codecs: str) -> tuple[AudioStream, ...]:
    return tuple(AudioStream(codec, 8000, 1) for codec in codecs)


def video(**changed: object) -> Media:
    return replace(MEDIA, video=replace(VIDEO, **changed))


def way(name: str, rung: FallbackLevel, media: Media = MEDIA, **changed: object) -> Transcode:
    """A transcode whose clip, encoder or rung the case is about."""
    job = Job(
        Path("/camera/-y.mp4"),
        Path("/archive/.x.part"),
        media,
        changed.pop("settings", EncodeSettings()),
        changed.pop("container", "mp4"),
        changed.pop("metadata", {"creation_time": "2026-05-03T12:20:00Z", "comment": "a=b"}),
        changed.pop("threads", 1),
    )
    return replace(Transcode(job, ENCODERS[name], rung, (9, 0), NODE), **changed)


def part(arguments: tuple[str, ...], option: str) -> str | None:
    """The value of an option, None where it isn't given."""
    return arguments[arguments.index(option) + 1] if option in arguments else None


QUIET = "-hide_banner -nostdin -v error -y"
QSV = f"{QUIET} -xerror -filter_threads 1 -init_hw_device qsv=hw,child_device={NODE} -filter_hw_device hw"
VAAPI = f"{QUIET} -xerror -filter_threads 1 -init_hw_device vaapi=hw:{NODE} -filter_hw_device hw"
OTHER = f"{QUIET} -xerror -filter_threads 1"
SOFT = f"{QUIET} -filter_threads 1"
QSV_IN = (
    "-c:v h264_qsv -hwaccel qsv -hwaccel_device hw -hwaccel_output_format qsv"
    " -noautorotate -threads 1 -i file:/camera/-y.mp4"
)
VAAPI_IN = (
    "-hwaccel vaapi -hwaccel_device hw -hwaccel_output_format vaapi"
    " -noautorotate -threads 1 -i file:/camera/-y.mp4"
)
CUDA_IN = "-hwaccel cuda -hwaccel_output_format cuda -noautorotate -threads 1 -i file:/camera/-y.mp4"
SOFT_IN = "-noautorotate -threads 1 -i file:/camera/-y.mp4"
MAPS = "-map 0:v:0 -map 0:a:0 -f mp4"
TIME = "-enc_time_base:v demux -fps_mode passthrough -g 100"
TAGS = (
    "-map_metadata 0 -metadata:g:0 creation_time=2026-05-03T12:20:00Z -metadata:g:1 comment=a=b"
    " -movflags +faststart"
)
OUT = "file:/archive/.x.part"

ARGUMENTS = {
    ("av1_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v av1_qsv {TIME}"
    f" -global_quality 28 {TAGS} -preset medium {OUT}",
    ("av1_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v av1_qsv {TIME}"
    f" -global_quality 28 {TAGS} -preset medium -vf format=nv12 {OUT}",
    ("hevc_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v hevc_qsv {TIME}"
    f" -global_quality 26 {TAGS} -preset medium -tag:v hvc1 {OUT}",
    ("hevc_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v hevc_qsv"
    f" {TIME} -global_quality 26 {TAGS} -preset medium -tag:v hvc1 -vf format=nv12 {OUT}",
    ("h264_qsv", "gpu"): f"{QSV} {QSV_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v h264_qsv {TIME}"
    f" -global_quality 25 {TAGS} -preset medium {OUT}",
    ("h264_qsv", "gpu-encode"): f"{QSV} {SOFT_IN} {MAPS} -async_depth 4 -bf 2 -c:a:0 copy -c:v h264_qsv"
    f" {TIME} -global_quality 25 {TAGS} -preset medium -vf format=nv12 {OUT}",
    ("av1_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v av1_vaapi {TIME}"
    f" -global_quality 28 {TAGS} -rc_mode ICQ {OUT}",
    ("av1_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v av1_vaapi {TIME}"
    f" -global_quality 28 {TAGS} -rc_mode ICQ -vf format=nv12,hwupload {OUT}",
    ("hevc_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v hevc_vaapi {TIME}"
    f" -global_quality 26 {TAGS} -rc_mode ICQ -tag:v hvc1 {OUT}",
    ("hevc_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v hevc_vaapi {TIME}"
    f" -global_quality 26 {TAGS} -rc_mode ICQ -tag:v hvc1 -vf format=nv12,hwupload {OUT}",
    ("h264_vaapi", "gpu"): f"{VAAPI} {VAAPI_IN} {MAPS} -bf 2 -c:a:0 copy -c:v h264_vaapi {TIME}"
    f" -global_quality 25 {TAGS} -rc_mode ICQ {OUT}",
    ("h264_vaapi", "gpu-encode"): f"{VAAPI} {SOFT_IN} {MAPS} -bf 2 -c:a:0 copy -c:v h264_vaapi {TIME}"
    f" -global_quality 25 {TAGS} -rc_mode ICQ -vf format=nv12,hwupload {OUT}",
    ("av1_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v av1_nvenc -cq 34 {TIME}"
    f" {TAGS} -preset p5 -rc vbr {OUT}",
    ("av1_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v av1_nvenc -cq 34"
    f" {TIME} {TAGS} -preset p5 -rc vbr -vf format=nv12 {OUT}",
    ("hevc_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v hevc_nvenc -cq 28 {TIME}"
    f" {TAGS} -preset p5 -rc vbr -tag:v hvc1 {OUT}",
    ("hevc_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 0 -c:a:0 copy -c:v hevc_nvenc -cq 28"
    f" {TIME} {TAGS} -preset p5 -rc vbr -tag:v hvc1 -vf format=nv12 {OUT}",
    ("h264_nvenc", "gpu"): f"{OTHER} {CUDA_IN} {MAPS} -b:v 0 -bf 2 -c:a:0 copy -c:v h264_nvenc -cq 26 {TIME}"
    f" {TAGS} -preset p5 -rc vbr {OUT}",
    ("h264_nvenc", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 0 -bf 2 -c:a:0 copy -c:v h264_nvenc -cq 26"
    f" {TIME} {TAGS} -preset p5 -rc vbr -vf format=nv12 {OUT}",
    ("hevc_v4l2m2m", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 3000k -bf 0 -c:a:0 copy"
    f" -c:v hevc_v4l2m2m {TIME} {TAGS} -tag:v hvc1 -vf format=yuv420p {OUT}",
    ("h264_v4l2m2m", "gpu-encode"): f"{OTHER} {SOFT_IN} {MAPS} -b:v 4000k -bf 0 -c:a:0 copy"
    f" -c:v h264_v4l2m2m {TIME} {TAGS} -vf format=yuv420p {OUT}",
    ("libsvtav1", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libsvtav1 -crf 35 {TIME}"
    f" {TAGS} -preset 10 -svtav1-params lp=1 {OUT}",
    ("libx265", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libx265 -crf 26 {TIME}"
    f" {TAGS} -preset fast -tag:v hvc1 -x265-params log-level=error:pools=1 {OUT}",
    ("libx264", "software"): f"{SOFT} {SOFT_IN} {MAPS} -c:a:0 copy -c:v libx264 -crf 23 {TIME}"
    f" {TAGS} -preset veryfast -threads 1 {OUT}",
}


class TestCodecs:
    @pytest.mark.parametrize(
        ("codecs", "choice", "container"),
        [
            (("aac",), "copy", "mp4"),
            (("mp3", "opus"), "copy", "mp4"),
            (("pcm_alaw",), "copy", "mp4"),
            (("adpcm_g726",), "copy", "mp4"),
            (("aac", "wmav2"), "copy", "mkv"),
            (("vorbis",), "copy", "mkv"),
            (("vorbis",), "aac", "mp4"),
            (("vorbis",), "none", "mp4"),
            ((), "copy", "mp4"),
        ],
    )
    def test_container(self, codecs: tuple[str, ...], choice: str, container: str) -> None:
        media = replace(MEDIA, audio=audio(*codecs))
        assert container_for(media, EncodeSettings(audio=choice)) == container

    def test_a_remux_keeps_pcm_and_so_needs_mkv(self) -> None:
        assert remux_container(MEDIA) == "mp4"
        assert remux_container(replace(MEDIA, audio=audio("pcm_mulaw"))) == "mkv"
        assert remux_container(video(codec="mjpeg")) == "mkv"

    @pytest.mark.parametrize(
        ("name", "rung", "media", "said"),
        [
            ("hevc_qsv", FallbackLevel.GPU, MEDIA, ""),
            ("hevc_qsv", FallbackLevel.GPU, video(codec="mpeg4"), "Quick Sync has no decoder for mpeg4"),
            ("hevc_qsv", FallbackLevel.GPU_ENCODE, video(codec="mpeg4"), ""),
            ("hevc_qsv", FallbackLevel.GPU, video(pixel_format="yuv422p"), "the GPU's pipeline has no 4:2:2"),
            ("hevc_qsv", FallbackLevel.GPU, video(pixel_format="yuv420p10le", bit_depth=10), ""),
            ("h264_qsv", FallbackLevel.GPU_ENCODE, video(bit_depth=10), "h264_qsv would reduce 10 bits to 8"),
            (
                "hevc_vaapi",
                FallbackLevel.GPU,
                video(width=161),
                "the GPU's pipeline has no odd size (161x1440)",
            ),
            ("h264_v4l2m2m", FallbackLevel.GPU, MEDIA, "v4l2m2m has no full pipeline"),
            ("libx264", FallbackLevel.SOFTWARE, video(bit_depth=12, pixel_format="yuv444p12le"), ""),
        ],
    )
    def test_obstacle(self, name: str, rung: FallbackLevel, media: Media, said: str) -> None:
        assert obstacle(ENCODERS[name], rung, media) == said

    def test_changes_are_told(self) -> None:
        deep = replace(
            video(pixel_format="yuv422p12le", bit_depth=12),
            audio=audio("pcm_alaw", "aac"),
            other_streams=("data:tmcd",),
        )
        assert changes(MEDIA, ENCODERS["libsvtav1"], EncodeSettings()) == ()
        assert changes(deep, ENCODERS["libx265"], EncodeSettings(audio="none")) == (
            "audio left out",
            "data:tmcd left out",
        )
        assert changes(deep, ENCODERS["libsvtav1"], EncodeSettings(max_height=720)) == (
            "scaled to 1280x720",
            "chroma 4:2:2 becomes 4:2:0",
            "12 bits become 10",
            "audio pcm_alaw becomes aac",
            "data:tmcd left out",
        )


class TestFfmpegArgs:
    @pytest.mark.parametrize(("name", "rung"), ARGUMENTS)
    def test_whole_list(self, name: str, rung: str) -> None:
        assert " ".join(ffmpeg_args.transcode(way(name, FallbackLevel(rung)))) == ARGUMENTS[name, rung]

    def test_every_encoder_and_rung_is_listed(self) -> None:
        possible = {
            (name, rung.value)
            for name, encoder in ENCODERS.items()
            for rung in FallbackLevel
            if (rung is FallbackLevel.SOFTWARE) == (encoder.backend is Backend.SOFTWARE)
            and not obstacle(encoder, rung, MEDIA)
        }
        assert possible == set(ARGUMENTS)

    @pytest.mark.parametrize(
        ("name", "option", "value", "mode"),
        [
            ("hevc_qsv", "-q:v", "28", None),
            ("h264_qsv", "-q:v", "27", None),
            ("av1_qsv", "-q:v", "150", None),
            ("hevc_vaapi", "-global_quality", "28", "CQP"),
        ],
    )
    def test_constant_quantiser(self, name: str, option: str, value: str, mode: str | None) -> None:
        arguments = ffmpeg_args.transcode(way(name, FallbackLevel.GPU, constant_quantiser=True))
        assert part(arguments, option) == value
        assert part(arguments, "-rc_mode") == mode
        assert ("-global_quality" in arguments) == (option == "-global_quality")

    @pytest.mark.parametrize(
        ("version", "option", "base"),
        [
            ((4, 4), "-vsync", "-1"),
            ((5, 1), "-fps_mode", "-1"),
            ((6, 0), "-fps_mode", "-1"),
            ((6, 1), "-fps_mode", "demux"),
        ],
    )
    def test_timestamps(self, version: tuple[int, int], option: str, base: str) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, ffmpeg_version=version))
        assert part(arguments, option) == "passthrough"
        assert part(arguments, "-enc_time_base:v") == base

    def test_owner_s_quality_and_preset(self) -> None:
        settings = EncodeSettings(quality=0, preset="slow")
        arguments = ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, settings=settings))
        assert (part(arguments, "-crf"), part(arguments, "-preset")) == ("0", "slow")

    @pytest.mark.parametrize(
        ("size", "limit", "scaled"),
        [
            ((2560, 1440), 1440, None),
            ((2560, 1440), 2160, None),
            ((2560, 1440), 1080, "1920:h=1080"),
            ((2560, 1920), 1081, "1440:h=1080"),
            ((1920, 1080), 333, "590:h=332"),
        ],
    )
    def test_max_height(self, size: tuple[int, int], limit: int, scaled: str | None) -> None:
        media = video(width=size[0], height=size[1])
        settings = EncodeSettings(max_height=limit)
        for name, rung, scaler in (
            ("libx264", FallbackLevel.SOFTWARE, "scale"),
            ("hevc_qsv", FallbackLevel.GPU, "vpp_qsv"),
            ("hevc_vaapi", FallbackLevel.GPU, "scale_vaapi"),
            ("hevc_nvenc", FallbackLevel.GPU, "scale_cuda"),
        ):
            arguments = ffmpeg_args.transcode(way(name, rung, media, settings=settings))
            assert part(arguments, "-vf") == (scaled and f"{scaler}=w={scaled}")

    def test_ten_bits_stay_ten_bits(self) -> None:
        media = video(pixel_format="yuv420p10le", bit_depth=10)
        whole = ffmpeg_args.transcode(way("hevc_qsv", FallbackLevel.GPU, media))
        assert (part(whole, "-profile:v"), part(whole, "-vf")) == ("main10", None)
        half = ffmpeg_args.transcode(way("hevc_vaapi", FallbackLevel.GPU_ENCODE, media))
        assert (part(half, "-profile:v"), part(half, "-vf")) == ("main10", "format=p010le,hwupload")
        for name in ("libsvtav1", "libx265", "libx264"):
            arguments = ffmpeg_args.transcode(way(name, FallbackLevel.SOFTWARE, media))
            assert "-pix_fmt" not in arguments and "-vf" not in arguments

    def test_odd_sizes_are_padded(self) -> None:
        arguments = ffmpeg_args.transcode(
            way("libx264", FallbackLevel.SOFTWARE, video(width=161, height=121))
        )
        assert part(arguments, "-vf") == "pad=w=162:h=122"

    def test_each_audio_stream_its_way(self) -> None:
        media = replace(MEDIA, audio=(*audio("pcm_alaw", "mp3"), AudioStream("pcm_s16le", 48000, 2)))
        arguments = ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, media))
        assert [part(arguments, f"-c:a:{index}") for index in range(3)] == ["aac", "copy", "aac"]
        assert [part(arguments, f"-b:a:{index}") for index in range(3)] == ["48k", None, "96k"]

    def test_audio_none_maps_none(self) -> None:
        arguments = ffmpeg_args.transcode(
            way("libx264", FallbackLevel.SOFTWARE, settings=EncodeSettings(audio="none"))
        )
        assert arguments.count("-map") == 1

    def test_mkv_gets_neither_tag_nor_faststart(self) -> None:
        arguments = ffmpeg_args.transcode(way("libx265", FallbackLevel.SOFTWARE, container="mkv"))
        assert part(arguments, "-f") == "matroska"
        assert "-movflags" not in arguments and "-tag:v" not in arguments

    @pytest.mark.parametrize(
        ("media", "frames"),
        [
            (MEDIA, "100"),
            (video(frame_rate=Fraction(30000, 1001)), "120"),
            (video(frame_rate=Fraction(1, 10)), "1"),
            (video(frame_rate=Fraction(90000)), "1000"),
            (replace(video(frame_rate=None), packets=150, span=10.0), "60"),
            (replace(video(frame_rate=None), packets=1, span=0.0), "100"),
        ],
    )
    def test_keyframe_distance(self, media: Media, frames: str) -> None:
        assert part(ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, media)), "-g") == frames

    def test_threads(self) -> None:
        def said(name: str, threads: int, option: str) -> str | None:
            return part(ffmpeg_args.transcode(way(name, FallbackLevel.SOFTWARE, threads=threads)), option)

        assert said("libsvtav1", 16, "-svtav1-params") == "lp=6"
        assert said("libsvtav1", 0, "-svtav1-params") is None
        assert said("libx265", 0, "-x265-params") == "log-level=error"
        assert said("libx264", 0, "-filter_threads") is None

    def test_no_device_named(self) -> None:
        arguments = ffmpeg_args.transcode(way("hevc_qsv", FallbackLevel.GPU, device=None))
        assert part(arguments, "-init_hw_device") == "qsv=hw"

    def test_remux(self) -> None:
        media = replace(video(codec="hevc"), audio=audio("aac", "aac"))
        arguments = ffmpeg_args.remux(Path("/c/concat:a.mp4"), Path("/a/.p"), media, "mp4", {"comment": "x"})
        assert " ".join(arguments) == (
            f"{QUIET} -xerror -i file:/c/concat:a.mp4 -map 0:v:0 -map 0:a:0 -map 0:a:1 -f mp4 -c copy"
            " -map_metadata 0 -metadata:g:0 comment=x -movflags +faststart -tag:v hvc1 file:/a/.p"
        )

    def test_decode(self) -> None:
        start = "-hide_banner -nostdin -v error -xerror"
        assert " ".join(ffmpeg_args.decode(Path("/a/x.mp4"))) == (
            f"{start} -threads 0 -i file:/a/x.mp4 -map 0:v:0 -map 0:a? -f null -"
        )
        assert " ".join(ffmpeg_args.decode(Path("/a/x.mp4"), keyframes_only=True, threads=1)) == (
            f"{start} -skip_frame nokey -threads 1 -i file:/a/x.mp4 -map 0:v:0 -f null -"
        )

    def test_trial_has_the_options_of_a_real_encode(self) -> None:
        trial = ffmpeg_args.trial(
            ENCODERS["hevc_qsv"],
            FallbackLevel.GPU,
            clip=Path("/camera/-y.mp4"),
            target=Path("/archive/.x.part"),
            settings=EncodeSettings(),
            device=NODE,
            ffmpeg_version=(9, 0),
        )
        media = ffmpeg_args.TRIAL_MEDIA
        assert trial == ffmpeg_args.transcode(way("hevc_qsv", FallbackLevel.GPU, media, metadata={}))

    def test_a_stray_full_pipeline_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="no full pipeline"):
            ffmpeg_args.transcode(way("libx264", FallbackLevel.GPU))


class TestFfmpegErrors:
    @pytest.mark.parametrize(
        ("lines", "trouble", "telling"),
        [
            ((), Trouble.UNKNOWN, ""),
            (("odd words", "more"), Trouble.UNKNOWN, "odd words"),
            (
                (
                    "[h264 @ 0x55d] Invalid data found",
                    "[hevc_qsv @ 0x5a] Error during encoding: GPU Hang (-21)",
                ),
                Trouble.DEVICE,
                "[hevc_qsv] Error during encoding: GPU Hang (-21)",
            ),
            (
                ("x: Error decoding stream header: unsupported (-3)", "av_write: No space left on device"),
                Trouble.STORAGE,
                "av_write: No space left on device",
            ),
            (
                ("Current profile is unsupported", "some encoding parameters are not supported"),
                Trouble.OPTION,
                "Current profile is unsupported",
            ),
            (("Error during QSV decoding.: device failed (-17)",), Trouble.DEVICE, None),
            (("Error decoding stream header: unsupported (-3)",), Trouble.INPUT, None),
        ],
    )
    def test_diagnosis(self, lines: tuple[str, ...], trouble: Trouble, telling: str | None) -> None:
        found = diagnose(lines)
        assert found.trouble is trouble
        assert found.line == (lines[0] if telling is None else telling)

    def test_remedy(self) -> None:
        lines = ("Failed to initialise VAAPI connection: -1 (unknown libva error).",)
        assert "intel-media-va-driver" in diagnose(lines).remedy

    def test_constant_quality_refused(self) -> None:
        assert refuses_constant_quality(["[h264_qsv @ 0x1] Selected ratecontrol mode is unsupported"])
        assert not refuses_constant_quality(["Current profile is unsupported"])


SOURCE = Media(
    container="mov,mp4,m4a,3gp,3g2,mj2",
    video=VideoStream("h264", 2560, 1440, "yuv420p", 8, Fraction(25), Fraction(1, 12800)),
    video_streams=1,
    audio=(AudioStream("aac", 16000, 1),),
    other_streams=(),
    packets=250,
    keyframes=5,
    packets_before_keyframe=0,
    start=0.0,
    span=10.0,
    tags={},
)
ARCHIVE = replace(SOURCE, video=replace(SOURCE.video, codec="av1"))
FACTS = Facts(
    source=SOURCE,
    archive=ARCHIVE,
    exit_status=0,
    stderr=(),
    frames_encoded=250,
    codec="av1",
    keep_audio=True,
)
HEADLESS = replace(SOURCE, container="mpegts", packets_before_keyframe=50, start=1.4)
HEADLESS_FACTS = replace(
    FACTS,
    source=HEADLESS,
    archive=replace(ARCHIVE, packets=200, span=8.0, start=2.0),
    frames_encoded=200,
    stderr=(
        "[h264 @ 0x5581] non-existing PPS 0 referenced",
        "    Last message repeated 1 times",
        "[h264 @ 0x5581] decode_slice_header error",
        "[h264 @ 0x5581] no frame!",
    ),
)


def archived(**changes: object) -> Facts:
    return replace(FACTS, archive=replace(ARCHIVE, **changes))  # type: ignore[arg-type]


class TestVerification:
    def test_whole_archive_passes(self) -> None:
        verdict = verify(FACTS)
        assert (verdict.ok, verdict.problem, verdict.notes) == (True, "", ())

    @pytest.mark.parametrize(
        "line",
        [
            "Svt[info]: -------------------------------------------",
            "Svt[warn]: Failed to set thread priority: Invalid argument",
            "LIB Build date: Sep 29 2026 02:02:32",
            "x265 [info]: HEVC encoder version 3.5+1-f0c1022b6",
            "",
            "encoded 50 frames in 0.26s (192.57 fps), 158.30 kb/s, Avg QP:33.30",
        ],
    )
    def test_harmless_lines_pass(self, line: str) -> None:
        assert verify(replace(FACTS, stderr=(line, "    Last message repeated 2 times"))).ok

    @pytest.mark.parametrize(
        "line",
        [
            "[h264 @ 0x5581] error while decoding MB 3 7, bytestream -5",
            "[matroska,webm @ 0x5581] File ended prematurely",
            "[in#0/matroska,webm @ 0x5581] File ended prematurely",
            "[in#0/mov,mp4,m4a,3gp,3g2,mj2 @ 0x5581] stream 0, offset 0xb4fd: partial file",
            "[vist#0:0/h264 @ 0x5581] [dec:h264 @ 0x5582] Decoding error: Invalid data found",
            "Error while decoding stream #0:0: Invalid data found when processing input",
            "[mjpeg @ 0x5581] overread 8",
        ],
    )
    def test_complaint_about_the_source(self, line: str) -> None:
        verdict = verify(replace(FACTS, stderr=("Svt[info]: SVT [version]", line)))
        assert (verdict.ok, verdict.blames_source) == (False, True)
        assert verdict.problem == f"ffmpeg complained: {line}"

    @pytest.mark.parametrize(
        "line",
        [
            "Error closing file: No space left on device",
            "[out#0/matroska @ 0x5581] Error writing trailer: No space left on device",
            "Svt[error]: Failed to initialise",
            "[h264_qsv @ 0x5581] Error during QSV decoding.: device failed (-17)",
            "a line that no one has seen",
            "3 lines of stderr were dropped",
        ],
    )
    def test_complaint_about_the_encode(self, line: str) -> None:
        """Disk and device come before what a decoder says in their wake."""
        verdict = verify(replace(FACTS, stderr=(line,)))
        assert (verdict.ok, verdict.blames_source) == (False, False)
        if "@" in line or "space" in line:
            wake = "[h264 @ 0x5581] no frame!"
            assert not verify(replace(FACTS, stderr=(line, wake))).blames_source

    @pytest.mark.parametrize("status", [1, 69, 187, 255, -9, -11])
    def test_any_exit_status_but_zero_fails(self, status: int) -> None:
        verdict = verify(replace(FACTS, exit_status=status))
        assert verdict.problem == f"ffmpeg ended with status {status}: it said nothing"
        assert not verdict.blames_source
        assert not verify(replace(HEADLESS_FACTS, exit_status=status)).ok

    def test_repetition_of_a_complaint_is_a_complaint(self) -> None:
        lines = ("Svt[info]: x", "    Last message repeated 1 times", "    Last message repeated 1 times")
        assert verify(replace(FACTS, stderr=lines)).ok
        assert not verify(replace(FACTS, stderr=("boom", "    Last message repeated 1 times"))).ok
        assert not verify(replace(FACTS, stderr=("    Last message repeated 1 times",))).ok

    def test_unreadable_archive(self) -> None:
        verdict = verify(replace(FACTS, archive="/a.mp4 is empty"))
        assert (verdict.ok, verdict.problem) == (False, "/a.mp4 is empty")

    @pytest.mark.parametrize(
        ("encoded", "packets"), [(249, 250), (250, 249), (249, 249), (251, 251), (None, 250), (0, 0)]
    )
    def test_every_frame_must_be_there(self, encoded: int | None, packets: int) -> None:
        verdict = verify(replace(archived(packets=packets), frames_encoded=encoded))
        assert not verdict.ok
        assert verdict.problem.startswith("of 250 frames ")

    @pytest.mark.parametrize(("span", "ok"), [(10.04, True), (9.96, True), (10.05, False), (9.95, False)])
    def test_span_within_one_frame(self, span: float, ok: bool) -> None:
        assert verify(archived(span=span)).ok is ok

    @pytest.mark.parametrize(
        ("start", "ok"), [(0.0, True), (0.9, True), (-0.04, True), (-0.1, False), (1.1, False)]
    )
    def test_start(self, start: float, ok: bool) -> None:
        assert verify(archived(start=start)).ok is ok

    def test_codec(self) -> None:
        assert verify(replace(FACTS, codec="hevc")).problem == "the archive's video is av1 instead of hevc"

    def test_audio(self) -> None:
        silent = archived(audio=())
        assert verify(silent).problem == "the source has 1 audio streams, the archive 0"
        assert verify(replace(silent, keep_audio=False)).ok

    def test_second_video_stream(self) -> None:
        assert not verify(replace(FACTS, source=replace(SOURCE, video_streams=2))).ok

    @pytest.mark.parametrize(
        ("width", "height", "limit", "ok"),
        [
            (2560, 1440, None, True),
            (1440, 2560, None, True),
            (2560, 1440, 2160, True),
            (1280, 720, 720, True),
            (1280, 720, None, False),
            (2560, 1440, 720, False),
            (720, 720, 720, False),
            (2558, 1438, None, True),
        ],
    )
    def test_picture_size(self, width: int, height: int, limit: int | None, ok: bool) -> None:
        facts = archived(video=replace(ARCHIVE.video, width=width, height=height))
        assert verify(replace(facts, max_height=limit)).ok is ok

    @pytest.mark.parametrize(("clean", "ok"), [(None, True), (True, True), (False, False)])
    def test_full_decode(self, clean: bool | None, ok: bool) -> None:
        assert verify(replace(FACTS, decoded_clean=clean)).ok is ok

    def test_undecodable_head_is_excused_with_a_note(self) -> None:
        verdict = verify(HEADLESS_FACTS)
        assert verdict.ok
        assert verdict.notes == (
            "50 frames before the first keyframe can't be decoded and are not in the archive",
        )

    def test_undecodable_head_excuses_nothing_else(self) -> None:
        damaged = (*HEADLESS_FACTS.stderr, "[h264 @ 0x5581] error while decoding MB 3 7, bytestream -5")
        assert verify(replace(HEADLESS_FACTS, stderr=damaged)).blames_source
        assert not verify(replace(HEADLESS_FACTS, source=SOURCE)).ok
        assert not verify(replace(HEADLESS_FACTS, stderr=())).ok
        assert not verify(replace(HEADLESS_FACTS, frames_encoded=199)).ok
        assert not verify(replace(HEADLESS_FACTS, frames_encoded=250)).ok
        assert not verify(replace(HEADLESS_FACTS, archive=replace(ARCHIVE, packets=200, span=7.0))).ok

    def test_head_that_decodes_all_the_same(self) -> None:
        assert verify(replace(FACTS, source=HEADLESS)).notes == ()
        assert verify(replace(FACTS, source=HEADLESS)).ok

    def test_what_is_not_carried_over_is_noted(self) -> None:
        deep = replace(SOURCE.video, bit_depth=10)
        source = replace(SOURCE, video=deep, other_streams=("subtitle:mov_text", "data:unknown"))
        assert verify(replace(FACTS, source=source)).notes == (
            "10-bit video became 8-bit",
            "not in the archive: subtitle:mov_text, data:unknown",
        )


class TestTag:
    @given(st.text(), st.integers(0), st.integers(0), st.text(alphabet="0123456789abcdef"))
    def test_what_is_stored_is_read_again(self, name: str, size: int, mtime: int, digest: str) -> None:
        made = archive_tag.Tag(name, size, mtime, digest)
        text = archive_tag.compose(made)
        assert text.isascii()
        assert archive_tag.parse(text) == made

    @given(st.text())
    def test_anything_else_is_no_tag(self, text: str) -> None:
        assert archive_tag.parse(text) is None
        assert archive_tag.parse(archive_tag.PREFIX + text) is None or "source" in text

    def test_it_names_one_clip_only(self) -> None:
        clip = a_clip()
        made = archive_tag.Tag(clip.relative, 1000, clip.fingerprint.mtime_ns, "d1")
        assert made.names(clip, "d1")
        assert not made.names(clip, "d2")
        assert not made.names(a_clip(name="other.mp4"), "d1")
