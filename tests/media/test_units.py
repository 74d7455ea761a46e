"""media: decisions and formats, without a disk."""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
from array import array
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from camarchiver.errors import EncoderError
from camarchiver.media import archive_tag, encoders, ffmpeg_args
from camarchiver.media.encoder_probe import Machine, Probe
from camarchiver.media.encoders import (
    ENCODERS,
    LIVE_ENCODERS,
    Backend,
    Encoder,
    EncodeSettings,
    FallbackLevel,
    changes,
    container_for,
    obstacle,
    remux_container,
)
from camarchiver.media.ffmpeg_args import Job, Transcode
from camarchiver.media.ffmpeg_errors import FailureScope, diagnose, refuses_constant_quality
from camarchiver.media.ffmpeg_find import Ffmpeg
from camarchiver.media.info import (
    MATRICES,
    AudioStream,
    Media,
    Orientation,
    PictureComparison,
    VideoStream,
    code_of,
)
from camarchiver.media.parsing.packet_times import FrameTimes, SoundTimes
from camarchiver.media.parsing.parameter_sets import header_of, is_gradual, signature_in, sound_format
from camarchiver.media.verification import timing
from camarchiver.media.verification.picture_rules import HEIGHT, WIDTH, Grid, difference, pairs, problem_of
from camarchiver.media.verification.rules import Facts, Verdict, decodes_whole, pairs_to_compare, verify
from tests.values import MEDIA, VIDEO, a_clip

NODE = Path("/dev/dri/renderD128")


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
MAPS = "-map 0:V:0 -map 0:a:0 -f mp4"
TIME = "-enc_time_base:v demux -fps_mode passthrough -g 150"
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


def at_60_fps(*, pause: int) -> tuple[int, ...]:
    """Times of frames of which one is followed by so many seconds without any, in ticks of 1/12800 s."""
    return tuple(12800 * frame // 60 + (12800 * pause if frame > 50 else 0) for frame in range(100))


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
            "audio pcm_alaw becomes aac",
            "data:tmcd left out",
        )

    @pytest.mark.parametrize(
        ("pixels", "encoder", "only_420", "said"),
        [
            ("yuv420p", "libsvtav1", False, ()),
            ("gray", "libsvtav1", False, ()),
            ("yuvj440p", "libsvtav1", False, ("chroma 4:4:0 becomes 4:2:0",)),
            ("yuv411p", "libsvtav1", False, ("chroma 4:1:1 becomes 4:2:0",)),
            ("yuv422p", "libx264", True, ("chroma 4:2:2 becomes 4:2:0",)),
            ("rgb24", "libsvtav1", False, ("chroma 4:4:4 becomes 4:2:0",)),
            ("rgb24", "libx264", False, ()),
            ("yuva420p", "libx264", False, ("transparency left out",)),
            ("bgra", "libsvtav1", False, ("chroma 4:4:4 becomes 4:2:0", "transparency left out")),
        ],
    )
    def test_lost_colour_is_told(
        self, pixels: str, encoder: str, only_420: bool, said: tuple[str, ...]
    ) -> None:
        settings = EncodeSettings(only_420=only_420)
        assert changes(video(pixel_format=pixels), ENCODERS[encoder], settings) == said


class TestMachine:
    @pytest.mark.parametrize(
        ("working", "chosen"),
        [(("libsvtav1", "libaom-av1"), "libsvtav1"), (("libaom-av1",), "libaom-av1"), ((), "libsvtav1")],
    )
    def test_of_two_encoders_for_one_codec_the_first_that_works_is_used(
        self, monkeypatch: pytest.MonkeyPatch, working: tuple[str, ...], chosen: str
    ) -> None:
        second = replace(ENCODERS["libsvtav1"], name="libaom-av1", good_version=(0, 0))
        monkeypatch.setattr(encoders, "ENCODERS", {**ENCODERS, second.name: second})
        ffmpeg = Ffmpeg(Path("/usr/bin/ffmpeg"), (9, 0), "system", frozenset({"libsvtav1", "libaom-av1"}))

        def probe(machine: Machine, ffmpeg: Ffmpeg, encoder: Encoder) -> Probe:
            levels = (FallbackLevel.SOFTWARE,) if encoder.name in working else ()
            return Probe(ffmpeg, encoder, None, levels, library=(2, 1), problem=f"no {encoder.name}")

        monkeypatch.setattr(Machine, "probe", probe)
        machine = Machine((ffmpeg,), EncodeSettings(), nodes=())
        if working:
            assert machine.choose(Backend.SOFTWARE, "av1").encoder.name == chosen
        else:
            with pytest.raises(EncoderError, match=f"{chosen} can't be used: no {chosen}"):
                machine.choose(Backend.SOFTWARE, "av1")


class TestFfmpegArgs:
    @pytest.mark.parametrize(("name", "rung"), ARGUMENTS)
    def test_whole_list(self, name: str, rung: str) -> None:
        assert " ".join(ffmpeg_args.transcode(way(name, FallbackLevel(rung)))) == ARGUMENTS[name, rung]

    def test_the_recorder_uses_h264_encoders_and_software_last(self) -> None:
        names = ["h264_v4l2m2m", "h264_qsv", "h264_vaapi", "h264_nvenc", "libx264"]
        assert [encoder.name for encoder in LIVE_ENCODERS] == names
        devices = [bool(encoder.live and encoder.live.devices) for encoder in LIVE_ENCODERS]
        assert devices == [True, True, True, True, False]

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

    @pytest.mark.parametrize("backend", [Backend.V4L2M2M, Backend.SOFTWARE])
    def test_no_backend_gets_the_scaler_of_another(self, backend: Backend) -> None:
        with pytest.raises(ValueError, match="keeps no frames in a GPU"):
            encoders.gpu_scaler(backend)

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
            (MEDIA, "150"),
            (video(frame_rate=Fraction(60000, 1001)), "240"),
            (video(frame_rate=Fraction(1, 10)), "150"),
            (video(frame_rate=Fraction(90000)), "1000"),
            (replace(video(frame_rate=None), packets=600, span=10.0), "240"),
            (replace(video(frame_rate=None), packets=1, span=0.0), "150"),
            (replace(video(frame_rate=Fraction(1, 10)), times=at_60_fps(pause=0)), "240"),
            (replace(video(frame_rate=Fraction(1, 10)), times=at_60_fps(pause=3600)), "240"),
            (replace(MEDIA, times=range(0, 12800 * 30, 12800)), "150"),
        ],
    )
    def test_keyframe_distance(self, media: Media, frames: str) -> None:
        assert part(ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, media)), "-g") == frames

    @pytest.mark.parametrize(
        ("order", "first"), [("tt", "tff=1"), ("bt", "tff=1"), ("bb", "bff=1"), ("tb", "bff=1")]
    )
    def test_interlaced_video_stays_interlaced(self, order: str, first: str) -> None:
        arguments = ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE, video(field_order=order)))
        assert (part(arguments, "-flags"), part(arguments, "-x264-params")) == ("+ilme+ildct", first)
        small = way(
            "libx264",
            FallbackLevel.SOFTWARE,
            video(field_order=order),
            settings=EncodeSettings(max_height=480),
        )
        assert str(part(ffmpeg_args.transcode(small), "-vf")).endswith(":interl=1")
        assert "-flags" not in ffmpeg_args.transcode(way("libx264", FallbackLevel.SOFTWARE))

    @pytest.mark.parametrize(
        ("name", "rung", "filters"),
        [
            ("libx264", FallbackLevel.SOFTWARE, None),
            ("libsvtav1", FallbackLevel.SOFTWARE, "scale=out_range=full,format=yuv420p"),
            ("hevc_qsv", FallbackLevel.GPU_ENCODE, "scale=out_range=full,format=nv12,setparams=range=tv"),
            (
                "hevc_vaapi",
                FallbackLevel.GPU_ENCODE,
                "scale=out_range=full,format=nv12,setparams=range=tv,hwupload",
            ),
            ("h264_qsv", FallbackLevel.GPU, "setparams=range=tv"),
        ],
    )
    def test_full_range_stays_full(self, name: str, rung: FallbackLevel, filters: str | None) -> None:
        media = video(pixel_format="yuvj420p", color_range="pc")
        arguments = ffmpeg_args.transcode(way(name, rung, media))
        assert part(arguments, "-vf") == filters
        is_software = rung is FallbackLevel.SOFTWARE
        assert part(arguments, "-color_range") == ("pc" if is_software else None)
        told = None if is_software else f"{name.split('_')[0]}_metadata=video_full_range_flag=1"
        assert part(arguments, "-bsf:v") == told

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("av1_qsv", "av1_metadata=color_primaries=9"),
            ("hevc_qsv", "hevc_metadata=colour_primaries=9"),
            ("libsvtav1", None),
        ],
    )
    def test_what_hardware_does_not_write_is_written_afterwards(self, name: str, told: str | None) -> None:
        media = video(primaries="bt2020", transfer="smpte2084", matrix="bt2020nc")
        rung = FallbackLevel.SOFTWARE if told is None else FallbackLevel.GPU
        more = ":transfer_characteristics=16:matrix_coefficients=9"
        assert part(ffmpeg_args.transcode(way(name, rung, media)), "-bsf:v") == (told and told + more)

    def test_a_code_without_a_name_is_its_number(self) -> None:
        names = ("22", "gbr", "", "unheard")
        assert [code_of(MATRICES, name) for name in names] == [22, 0, None, None]

    def test_threads(self) -> None:
        def said(name: str, threads: int, option: str) -> str | None:
            return part(ffmpeg_args.transcode(way(name, FallbackLevel.SOFTWARE, threads=threads)), option)

        assert said("libsvtav1", 16, "-svtav1-params") == "lp=6"
        assert said("libsvtav1", 0, "-svtav1-params") is None
        assert said("libx265", 0, "-x265-params") == "log-level=error"
        assert said("libx264", 0, "-filter_threads") is None

    def test_the_parameters_of_one_library_are_one_list(self) -> None:
        fields = (("x265-params", "interlace=tff"), ("x265-params", "interlace=bff"))
        weaving = way("libx265", FallbackLevel.SOFTWARE, video(field_order="tt"))
        keeping = replace(weaving, encoder=replace(weaving.encoder, field_options=fields))
        said = part(ffmpeg_args.transcode(keeping), "-x265-params")
        assert said == "log-level=error:interlace=tff:pools=1"

    def test_no_device_named(self) -> None:
        arguments = ffmpeg_args.transcode(way("hevc_qsv", FallbackLevel.GPU, device=None))
        assert part(arguments, "-init_hw_device") == "qsv=hw"

    def test_remux(self) -> None:
        media = replace(video(codec="hevc"), audio=audio("aac", "aac"))
        arguments = ffmpeg_args.remux(Path("/c/concat:a.mp4"), Path("/a/.p"), media, "mp4", {"comment": "x"})
        assert " ".join(arguments) == (
            f"{QUIET} -xerror -i file:/c/concat:a.mp4 -map 0:V:0 -map 0:a:0 -map 0:a:1 -f mp4 -c copy"
            " -map_metadata 0 -metadata:g:0 comment=x -movflags +faststart -tag:v hvc1 file:/a/.p"
        )

    def test_decode(self) -> None:
        assert " ".join(ffmpeg_args.decode(Path("/a/x.mp4"), threads=1)) == (
            "-hide_banner -nostdin -v error -xerror -reinit_filter:v 0 -threads 1 -i file:/a/x.mp4"
            " -map 0:V:0 -map 0:a? -f null -bsf:a setts=ts=N -vf setpts=N*100/TB -"
        )
        assert "-xerror" not in ffmpeg_args.decode(Path("/a/x.TS"))

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
            ((), FailureScope.UNKNOWN, ""),
            (("odd words", "more"), FailureScope.UNKNOWN, "odd words"),
            (
                (
                    "[h264 @ 0x55d] Invalid data found",
                    "[hevc_qsv @ 0x5a] Error during encoding: GPU Hang (-21)",
                ),
                FailureScope.DEVICE,
                "[hevc_qsv] Error during encoding: GPU Hang (-21)",
            ),
            (
                ("x: Error decoding stream header: unsupported (-3)", "av_write: No space left on device"),
                FailureScope.STORAGE,
                "av_write: No space left on device",
            ),
            (
                ("Current profile is unsupported", "some encoding parameters are not supported"),
                FailureScope.OPTION,
                "Current profile is unsupported",
            ),
            (("Error during QSV decoding.: device failed (-17)",), FailureScope.DEVICE, None),
            (("Error decoding stream header: unsupported (-3)",), FailureScope.INPUT, None),
        ],
    )
    def test_diagnosis(self, lines: tuple[str, ...], trouble: FailureScope, telling: str | None) -> None:
        found = diagnose(lines)
        assert found.scope is trouble
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
    audio=(AudioStream("aac", 16000, 1, frame=0.064, start=0.0, span=10.0),),
    other_streams=(),
    packets=250,
    keyframes=5,
    packets_before_keyframe=0,
    start=0.0,
    span=10.0,
    tags={},
    shown=250,
    times=array("q", range(0, 250 * 512, 512)),
    keyframe_times=tuple(range(0, 250 * 512, 50 * 512)),
)
ARCHIVE = replace(SOURCE, video=replace(SOURCE.video, codec="av1"))
SAME = PictureComparison(compared=3, problem="")
FACTS = Facts(
    source=SOURCE,
    archive=ARCHIVE,
    exit_status=0,
    stderr=(),
    frames_encoded=250,
    codec="av1",
    keep_audio=True,
    pictures=SAME,
)
HEADLESS = replace(SOURCE, container="mpegts", packets_before_keyframe=50, start=1.4)
HEADLESS_FACTS = replace(
    FACTS,
    source=HEADLESS,
    archive=replace(
        ARCHIVE,
        packets=200,
        span=8.0,
        start=2.0,
        shown=200,
        times=SOURCE.times[:200],
        audio=(replace(SOURCE.audio[0], start=-2.0),),
    ),
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
        verdict = verify(replace(archived(packets=packets, shown=packets), frames_encoded=encoded))
        assert not verdict.ok
        assert verdict.problem.startswith("of 250 frames ")

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

    def test_a_mirrored_picture_is_another_than_an_upright_one(self) -> None:
        """Both are rotated by 0 degrees."""
        mirrored = replace(SOURCE.video, orientation=Orientation(is_mirrored=True))
        problem = verify(replace(FACTS, source=replace(SOURCE, video=mirrored))).problem
        assert problem.endswith("its source rotated by 0 degrees and mirrored")

    def test_second_video_stream(self) -> None:
        assert not verify(replace(FACTS, source=replace(SOURCE, video_streams=2))).ok

    @pytest.mark.parametrize(
        ("width", "height", "limit", "ok"),
        [
            (2560, 1440, None, True),
            (1440, 2560, None, False),
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
        short = replace(HEADLESS_FACTS.archive, times=SOURCE.times[:199])  # type: ignore[type-var]
        assert not verify(replace(HEADLESS_FACTS, archive=short)).ok

    def test_what_a_hidden_gradual_refresh_refers_to_is_excused(self) -> None:
        line = "[hevc @ 0x5581] Could not find ref with POC 14"
        source = replace(SOURCE, packets=265, is_gradual=True)
        facts = replace(FACTS, source=source, stderr=(line,))
        assert verify(facts) == Verdict(True)
        assert pairs_to_compare(facts, thorough=False)
        assert decodes_whole(source, 0, (line,), 250)
        for other in (
            replace(facts, stderr=(line, "[hevc @ 0x5581] CABAC_MAX_BIN : 7")),
            replace(facts, frames_encoded=249),
            replace(facts, source=replace(source, is_gradual=False)),
            replace(facts, source=replace(source, packets=250)),
        ):
            assert not verify(other).ok
            assert not pairs_to_compare(other, thorough=False)
        assert not decodes_whole(source, 0, (line,), 249)
        assert not decodes_whole(replace(source, is_gradual=False), 0, (line,), 250)

    def test_head_that_decodes_all_the_same(self) -> None:
        assert verify(replace(FACTS, source=HEADLESS)).notes == ()
        assert verify(replace(FACTS, source=HEADLESS)).ok

    def test_what_is_not_carried_over_is_noted(self) -> None:
        deep = replace(SOURCE.video, bit_depth=10, hdr=frozenset({"HDR10+", "content light level"}))
        source = replace(SOURCE, video=deep, other_streams=("subtitle:mov_text", "data:unknown"))
        assert verify(replace(FACTS, source=source)).notes == (
            "10-bit video became 8-bit",
            "HDR metadata left out: HDR10+, content light level",
            "not in the archive: subtitle:mov_text, data:unknown",
        )


def at_times(*seconds: float, base: Fraction = Fraction(1, 1000), **changes: object) -> Media:
    """A clip whose frames are shown then."""
    ticks = [round(each / base) for each in seconds]
    media = replace(
        SOURCE,
        video=replace(SOURCE.video, time_base=base),
        packets=len(ticks),
        shown=len(ticks),
        times=array("q", (each - ticks[0] for each in ticks)),
        start=float(ticks[0] * base),
        keyframe_times=(0,),
    )
    return replace(media, **changes)  # type: ignore[arg-type]


def with_sound(start: float, span: float, *gaps: float, frame: float = 0.064, primed: float = 0.0) -> Media:
    sound = AudioStream("aac", 16000, 1, frame, start, span, array("d", gaps), primed)
    return replace(SOURCE, audio=(sound,))


class TestTiming:
    def test_each_frame_within_a_tick_of_the_coarser_time_base(self) -> None:
        there = at_times(*(index / 30 for index in range(300)), base=Fraction(1, 90000))
        here = at_times(*(7 + index / 30 for index in range(300)))
        assert timing.times_problem(there, here, 0) == ""
        assert timing.times_problem(here, there, 0) == ""

    @pytest.mark.parametrize("late", [0.002, -0.002, 0.9, 37600.0])
    def test_one_frame_at_another_time(self, late: float) -> None:
        times = [index / 25 for index in range(250)]
        there = at_times(*times)
        times[100] += late
        here = at_times(*sorted(times))
        assert timing.times_problem(there, here, 0).startswith("frame ")
        assert timing.times_problem(here, there, 0).startswith("frame ")

    def test_the_same_start_and_span_prove_nothing(self) -> None:
        there, here = at_times(0, 1, 2, 3, 4), at_times(0, 0.005, 0.01, 0.015, 4)
        assert timing.times_problem(there, here, 0) == "frame 2 is shown after 0.005 s instead of 1.000 s"

    def test_lost_frames_at_the_start(self) -> None:
        there, here = at_times(0, 1, 2, 3), at_times(5, 6, 7)
        assert timing.times_problem(there, here, 1) == ""
        assert timing.times_problem(there, here, 0) != ""

    def test_nothing_measured_proves_nothing(self) -> None:
        empty = replace(SOURCE, shown=0, times=())
        assert timing.times_problem(empty, empty, 0) != ""

    @pytest.mark.parametrize(
        ("start", "span", "gaps", "ok"),
        [
            (0.5, 8.0, (), True),
            (0.52, 8.0, (), True),
            (0.6, 8.0, (), False),
            (0.4, 8.0, (), False),
            (0.5, 8.06, (), True),
            (0.5, 7.9, (), False),
            (0.5, 8.1, (), False),
            (0.5, 8.0, (3.0, 3.06), True),
            (0.5, 8.0, (3.0, 3.1), False),
            (0.5, 8.0, (3.0, 5.0), False),
        ],
    )
    def test_sound_without_a_gap(self, start: float, span: float, gaps: tuple[float, ...], ok: bool) -> None:
        here = with_sound(start, span, *gaps)
        assert (timing.sound_problem(with_sound(0.5, 8.0), here, 0) == "") is ok

    @pytest.mark.parametrize(
        ("gaps", "ok"),
        [((3.0, 5.0), True), ((3.05, 5.05), True), ((3.2, 5.2), False), ((3.0, 4.8), False), ((), False)],
    )
    def test_sound_with_a_gap(self, gaps: tuple[float, ...], ok: bool) -> None:
        there, here = with_sound(0.0, 8.0, 3.0, 5.0), with_sound(0.0, 8.0, *gaps)
        assert (timing.sound_problem(there, here, 0) == "") is ok

    def test_sound_moved_by_100_ms_within_one_long_frame(self) -> None:
        there, here = with_sound(0.0, 8.0, frame=0.128), with_sound(0.1, 8.0, frame=0.128)
        assert timing.sound_problem(there, here, 0) == (
            "audio stream 1 begins +0.100 s from the picture instead of +0.000 s"
        )

    def test_priming_that_a_container_cannot_hide(self) -> None:
        there, here = with_sound(0.0, 8.0, primed=0.064), with_sound(-0.064, 8.064)
        assert timing.sound_problem(there, here, 0) == ""
        spoken = replace(there, audio=(replace(there.audio[0], codec="pcm_alaw", primed=0.0),))
        assert timing.sound_problem(spoken, here, 0) == ""
        assert timing.sound_problem(spoken, with_sound(-0.1, 8.1), 0) != ""

    def test_sound_after_lost_frames(self) -> None:
        there = replace(with_sound(0.0, 10.0), times=SOURCE.times)
        head = 50 * 512 / 12800
        assert timing.sound_problem(there, with_sound(-head, 10.0), 50) == ""
        assert timing.sound_problem(there, with_sound(0.0, 10.0), 50) != ""

    @given(st.lists(st.floats(0.2, 3.0), min_size=1, max_size=12), st.floats(-1.0, 1.0))
    def test_a_stream_is_like_itself_and_unlike_a_shorter_one(self, parts: list[float], start: float) -> None:
        edges = list(itertools.accumulate(parts))
        gaps = edges[:-1] if len(edges) % 2 else edges[:-2]
        there = with_sound(start, edges[-1] + 1, *gaps)
        assert timing.sound_problem(there, there, 0) == ""
        assert timing.sound_problem(there, with_sound(start, edges[-1], *gaps), 0) != ""


class TestPacketTimes:
    @staticmethod
    def of(packets: list[tuple[int, int]]) -> FrameTimes:
        times = FrameTimes()
        for pts, dts in packets:
            times.add(pts, dts, 1)
            times.look_at_order(pts, dts)
        return times

    @given(st.lists(st.integers(1, 500), min_size=1, max_size=60), st.integers(0, 16), st.randoms())
    def test_any_order_that_a_decoder_can_restore(
        self, steps: list[int], depth: int, chance: random.Random
    ) -> None:
        """Frames are moved forward in decoding order by at most `depth` places."""
        shown = list(itertools.accumulate(steps))
        order = sorted(range(len(shown)), key=lambda index: index - chance.randint(0, depth))
        times = FrameTimes()
        for index in order:
            times.add(shown[index], None, 1)
        found = times.shown()
        assert found is not None
        assert list(found.times) == [each - shown[0] for each in shown]

    def test_b_frames_are_in_order(self) -> None:
        # I P B B P B B, the decoding two frames ahead.
        packets = [(0, -2), (3, -1), (1, 0), (2, 1), (6, 2), (4, 3), (5, 4)]
        times = self.of(packets)
        assert not times.is_disordered
        assert times.overtaken == 2

    def test_a_variable_rate_with_b_frames_is_in_order(self) -> None:
        shown = [0, 40, 120, 130, 500, 540]
        times = self.of([(shown[0], -40), (shown[2], 0), (shown[1], 40), (shown[4], 120), (shown[3], 130)])
        assert not times.is_disordered

    @pytest.mark.parametrize("ahead", [2, 13, 400])
    def test_a_stamp_ahead_of_its_time(self, ahead: int) -> None:
        packets = [(index, index) for index in range(100)]
        packets[40] = (40 + ahead, 40)
        assert self.of(packets).is_disordered

    def test_a_step_back(self) -> None:
        assert self.of([(each, each) for each in (*range(50), *range(30))]).is_disordered

    def test_frames_that_follow_later_ones_from_a_decoder_that_reorders(self) -> None:
        times = self.of([(0, 0), (24, 24), (48, 48), (72, 72)])
        found = times.shown(delay=2)
        assert found is not None
        assert (found.first, list(found.times)) == (48, [0, 24, 48, 72])

    def test_a_day_of_frames_takes_little_room(self) -> None:
        times = FrameTimes()
        for index in range(100_000):
            times.add(index * 3600 + (index % 3 == 1) * 7200, None, 3600)
        found = times.shown()
        assert found is not None
        assert sys.getsizeof(found.times) < 1_000_000

    def test_sound_skips_what_is_not_heard(self) -> None:
        sound = SoundTimes(Fraction(1, 16000), 16000, 1024)
        sound.add(-2112, 1024, skipped=(2112, 0), is_hidden=False)
        for number in range(1, 11):
            sound.add(-2112 + number * 1024, 1024, skipped=(0, 300 * (number == 10)), is_hidden=False)
        assert sound.start == pytest.approx(0)
        assert sound.end == pytest.approx((11 * 1024 - 2112 - 300) / 16000)
        assert sound.primed == pytest.approx(2112 / 16000)
        assert not sound.gaps

    def test_sound_with_a_gap_and_one_with_a_rounded_clock(self) -> None:
        sound = SoundTimes(Fraction(1, 1000), 16000, 1024)
        for start in (0, 64, 129, 192, 500, 564):
            sound.add(start, 64, skipped=(0, 0), is_hidden=False)
        assert list(sound.gaps) == pytest.approx([0.256, 0.5])

    def test_no_sound(self) -> None:
        sound = SoundTimes(Fraction(1, 1000), 16000, 1024)
        sound.add(0, 64, skipped=(0, 0), is_hidden=True)
        assert sound.start is None


class TestParameterSets:
    SPS, PPS, PICTURE = b"\x67\x42sps", b"\x68pps", b"\x65picture"

    def test_the_sequence_parameter_set_however_units_are_told_apart(self) -> None:
        delimited = b"".join(b"\0\0\0\1" + unit for unit in (b"\x09\xf0", self.SPS, self.PPS, self.PICTURE))
        prefixed = b"".join(len(unit).to_bytes(4) + unit for unit in (self.SPS, self.PPS, self.PICTURE))
        avcc = b"\x01\x42\0\x1e\xff\xe1"
        assert header_of("h264", delimited, b"") == self.SPS
        assert header_of("h264", prefixed, avcc) == self.SPS
        assert header_of("h264", b"\0\0\1" + self.PICTURE, b"") == b""

    def test_hevc(self) -> None:
        sps = b"\x42\x01sps"
        assert header_of("hevc", b"\0\0\1\x40\x01vps\0\0\1" + sps + b"\0\0\1\x26\x01x", b"") == sps

    def test_whether_a_keyframe_only_begins_a_refresh(self) -> None:
        sets = b"\0\0\1\x40\x01vps\0\0\1\x42\x01sps"
        assert is_gradual("hevc", sets + b"\0\0\1\x4e\x01sei\0\0\1\x02\x01picture", b"")
        assert is_gradual("hevc", b"\0\0\0\x05\x02\x01pic", b"\x01" + bytes(20) + b"\xff")
        assert not is_gradual("hevc", sets + b"\0\0\1\x26\x01picture", b"")
        assert not is_gradual("h264", b"\0\0\1\x41picture", b"")
        assert not is_gradual("hevc", b"", b"")

    def test_jpeg(self) -> None:
        packet = b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x11\x08\x00\xf0\x01\x40rest"
        assert header_of("mjpeg", packet, b"") == b"\x00\xf0\x01\x40"

    def test_av1(self) -> None:
        assert header_of("av1", b"\x12\0\x0a\x03seq\x32\x01x", b"") == b"seq"

    @given(
        st.sampled_from(["h264", "hevc", "mjpeg", "av1", "vp9"]),
        st.binary(max_size=80),
        st.binary(max_size=30),
    )
    def test_any_bytes(self, codec: str, packet: bytes, extradata: bytes) -> None:
        header_of(codec, packet, extradata)
        is_gradual(codec, packet, extradata)

    def test_the_format_of_sound(self) -> None:
        narrow, wide = bytes.fromhex("fff1604022fffc"), bytes.fromhex("fff14c8022fffc")
        assert sound_format(narrow) != sound_format(wide)
        assert sound_format(narrow) == sound_format(narrow[:4] + b"other length")
        assert sound_format(b"\xff\xfb\x90\x44") == sound_format(b"") == b""

    def test_marks_of_signed_video(self) -> None:
        onvif = bytes.fromhex("005bc93f2d715e95ada4796f90877a6f")
        assert signature_in(b"\0\0\1\x06\x05\x20" + onvif + b"x") == "ONVIF Media Signing"
        assert signature_in(b"\0\0\1\x06\x05\x20Signed Video...0x") == "Axis signed video"
        assert signature_in(b"\0\0\1\x06\x05\x20" + onvif[:-1]) == ""


class TestPicturePairs:
    @staticmethod
    def clip(frames: int, gop: int, width: int = 320, height: int = 240) -> Media:
        media = at_times(
            *(index / 25 for index in range(frames)), keyframe_times=tuple(range(0, frames * 40, gop * 40))
        )
        return replace(media, video=replace(media.video, width=width, height=height))

    def test_first_and_last_and_keyframes_between(self) -> None:
        found = pairs(self.clip(990, 50), self.clip(990, 100))
        assert (found[0].seconds, found[-1].seconds) == (0.0, pytest.approx(39.56))
        assert len(found) >= 6
        assert all(pair.source.frame == pair.archive.frame for pair in found)
        assert sum(pair.source.key == pair.source.frame for pair in found) >= 4

    def test_a_large_clip_costs_a_small_share_of_its_frames(self) -> None:
        large = (2560, 1440)
        found = pairs(self.clip(150, 50, *large), self.clip(150, 100, *large))
        decoded = sum(
            (each.frame - each.key) // 40 + 1 for pair in found for each in (pair.source, pair.archive)
        )
        assert 2 <= decoded <= 150 // 20 + 8
        thorough = pairs(self.clip(150, 50, *large), self.clip(150, 100, *large), thorough=True)
        assert thorough[-1].seconds == pytest.approx(149 / 25)

    def test_lost_frames_have_no_pair(self) -> None:
        source, archive = self.clip(100, 50), self.clip(70, 35)
        found = pairs(source, archive, lost=30)
        assert found[0].source.frame == 30 * 40
        assert found[0].archive.frame == 0
        assert found[-1].source.frame == 99 * 40
        assert found[-1].archive.frame == 69 * 40

    @given(st.integers(1, 80), st.integers(1, 30), st.integers(1, 30), st.booleans())
    def test_any_clip(self, frames: int, gop: int, other: int, thorough: bool) -> None:
        found = pairs(self.clip(frames, gop), self.clip(frames, other), thorough=thorough)
        assert found[0].source.frame == found[0].archive.frame == 0
        assert [pair.seconds for pair in found] == sorted({pair.seconds for pair in found})
        assert all(pair.source.key <= pair.source.frame for pair in found)


class TestPictureDifference:
    @staticmethod
    def scene(*, right: float = 0.0, gain: float = 1.0, colour: float = 20.0, person: float = -9.0) -> Grid:
        """Soft stripes and a slope, `right` moves them by cells; a dark person stands at `person`."""
        luma, blue, red = [], [], []
        for at in range(WIDTH * HEIGHT):
            x, y = at % WIDTH - right, at // WIDTH
            value = 120 + 40 * math.sin(x / 4) * math.cos(y / 5) + x / 2
            inside = abs(x - person) < 2 and abs(y - 18) < 5
            luma.append(128 + gain * ((30.0 if inside else value) - 128))
            blue.append(colour * math.sin(x / 9))
            red.append(-colour * math.cos(y / 9))
        return Grid(luma, blue, red)

    def problem(self, source: Grid, archive: Grid, first: tuple[Grid, Grid] | None = None) -> str:
        return problem_of(difference(first or (source, archive), source, archive, 1.0))

    def test_the_same_picture_with_the_noise_of_compression(self) -> None:
        source = self.scene()
        chance = random.Random(7)
        noisy = replace(source, luma=[each + chance.gauss(0, 6) for each in source.luma])
        assert self.problem(source, noisy) == ""

    def test_detail_that_compression_leaves_out(self) -> None:
        chance = random.Random(7)
        source = self.scene()
        noisy = replace(source, luma=[each + chance.gauss(0, 14) for each in source.luma])
        assert self.problem(noisy, source) == ""

    @pytest.mark.parametrize(
        ("archive", "said"),
        [
            ({"right": 0.5}, "is moved or stretched by 0.8 %"),
            ({"right": 12.0}, "the archive's picture at 1.0 s "),
            ({"gain": 219 / 255}, "has 86% of the contrast"),
            ({"gain": 255 / 219}, "has 116% of the contrast"),
            ({"gain": 0.0}, "the archive's picture at 1.0 s "),
            ({"colour": 0.0}, "of the colour"),
            ({"colour": -20.0}, "off in colour"),
        ],
    )
    def test_another_picture(self, archive: dict[str, float], said: str) -> None:
        assert said in self.problem(self.scene(), self.scene(**archive))

    def test_a_frozen_picture(self) -> None:
        before, after = self.scene(person=10.0), self.scene(person=50.0)
        assert self.problem(after, after, (before, before)) == ""
        assert "has 0% of the movement" in self.problem(after, before, (before, before))

    def test_a_flat_picture_tells_of_brightness_and_tint_only(self) -> None:
        night = Grid([20.0] * (WIDTH * HEIGHT), [0.0] * (WIDTH * HEIGHT), [0.0] * (WIDTH * HEIGHT))
        assert self.problem(night, replace(night, luma=[22.0] * (WIDTH * HEIGHT))) == ""
        assert "off in brightness" in self.problem(night, replace(night, luma=[60.0] * (WIDTH * HEIGHT)))
        assert "off in colour" in self.problem(night, replace(night, blue=[-90.0] * (WIDTH * HEIGHT)))


class TestDecodedByItself:
    def test_what_came_before_the_first_keyframe_is_no_damage(self) -> None:
        line = "[h264 @ 0x1] non-existing PPS 0 referenced"
        assert decodes_whole(SOURCE, 0, (), 250)
        assert decodes_whole(HEADLESS, 0, (line, "    Last message repeated 3 times"), 200)

    @pytest.mark.parametrize(
        ("media", "status", "stderr", "frames"),
        [
            (SOURCE, 1, (), 250),
            (SOURCE, 0, (), 249),
            (SOURCE, 0, ("[h264 @ 0x1] non-existing PPS 0 referenced",), 250),
            (HEADLESS, 0, ("[h264 @ 0x1] non-existing PPS 0 referenced",), 199),
            (HEADLESS, 0, ("[h264 @ 0x1] error while decoding MB 3 4",), 200),
            (HEADLESS, 0, (), 200),
        ],
    )
    def test_anything_else_is(self, media: Media, status: int, stderr: tuple[str, ...], frames: int) -> None:
        assert not decodes_whole(media, status, stderr, frames)


class TestTag:
    @given(
        st.text(min_size=1, max_size=1000),
        st.integers(0, 2**63 - 1),
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.text(alphabet="0123456789abcdef"),
    )
    def test_what_is_stored_is_read_again(self, name: str, size: int, mtime: int, digest: str) -> None:
        made = archive_tag.Tag(name, size, mtime, digest)
        text = archive_tag.compose(made)
        assert text.isascii()
        assert archive_tag.parse(text) == made

    @given(st.text())
    def test_anything_else_is_no_tag(self, text: str) -> None:
        assert archive_tag.parse(text) is None
        assert archive_tag.parse(archive_tag.PREFIX + text) is None or "source" in text

    @pytest.mark.parametrize(
        "spoilt", [{"size": -1}, {"size": "1"}, {"mtime_ns": 2**63}, {"source": ""}, {"blake2b": None}]
    )
    def test_a_tag_out_of_bounds_is_none(self, spoilt: dict[str, object]) -> None:
        fields = {"source": "a.mp4", "size": 1, "mtime_ns": 2, "blake2b": "d"}
        assert archive_tag.parse(archive_tag.PREFIX + json.dumps(fields)) is not None
        assert archive_tag.parse(archive_tag.PREFIX + json.dumps({**fields, **spoilt})) is None

    def test_it_names_one_clip_only(self) -> None:
        clip = a_clip()
        made = archive_tag.Tag(clip.relative, 1000, clip.fingerprint.mtime_ns, "d1")
        assert made.names(clip, "d1")
        assert not made.names(clip, "d2")
        assert not made.names(a_clip(name="other.mp4"), "d1")


class TestMissingLibraries:
    def test_a_library_that_ffmpeg_could_not_load_is_about_the_device(self) -> None:
        """The node may be missing as well: only of this trouble the node is looked at."""
        line = "implib-gen: libX11.so.6: failed to load library 'libX11.so.6' via dlopen"
        found = diagnose([line, "Conversion failed!"])
        assert (found.scope, found.line) == (FailureScope.DEVICE, line)
        assert "library" in found.remedy
