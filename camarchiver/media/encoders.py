"""The table of encoders, and what each of them keeps of a clip."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, assert_never, get_args

from msgspec import Struct

from camarchiver.media.info import AudioStream, Media, VideoStream
from camarchiver.motion.activity import PacketTrust

Codec = Literal["av1", "hevc", "h264"]
"""What archives are encoded as, best first."""
Container = Literal["mp4", "mkv"]
Audio = Literal["copy", "aac", "none"]
FfmpegOption = tuple[str, str]
"""An option of ffmpeg's, without its hyphen, and the value."""
FfmpegOptions = tuple[FfmpegOption, ...]


class Backend(StrEnum):
    """Which hardware, or none, does the encoding."""

    QSV = "qsv"
    VAAPI = "vaapi"
    NVENC = "nvenc"
    V4L2M2M = "v4l2m2m"
    SOFTWARE = "software"


class FallbackLevel(StrEnum):
    """How much of the work the GPU does: the levels of the fallback, best first."""

    GPU = "gpu"
    """Decoding, scaling and encoding on the GPU; no frame leaves it."""
    GPU_ENCODE = "gpu-encode"
    """Software decodes, the GPU encodes: for streams that its decoder refuses."""
    SOFTWARE = "software"


class LiveSettings(Struct, frozen=True):
    """How an encoder is used while a camera is recorded: each picture comes out before the next goes in."""

    arguments: tuple[str, ...]
    """ffmpeg's, after its input."""
    before: tuple[str, ...] = ()
    """ffmpeg's, before its input."""
    devices: tuple[str, ...] = ()
    """Patterns of device files of which one must exist; none for software."""


class SoftwareSettings(Struct, frozen=True):
    """How an encoder uses the machine's cores and memory, and what was measured of it."""

    memory: int
    """Bytes for one job at 2160p, the largest that cameras commonly deliver."""
    thread_option: FfmpegOption
    """`{}` in the value stands for the number of threads."""
    proves_stillness: bool
    """Measured: at its default quality the sizes of its packets show that nothing moves."""
    most_threads: int | None = None


class Encoder(Struct, frozen=True):
    """One encoder of ffmpeg with its quirks."""

    name: str
    backend: Backend
    codec: Codec
    quality_option: str
    quality: int
    """On the encoder's own scale, lower is better; kbit/s for `b:v`."""
    preset: str | None = None
    options: FfmpegOptions = ()
    quality_options: FfmpegOptions = ()
    """Request constant quality (ICQ) if `quality_option` alone doesn't."""
    quantiser_option: str | None = None
    """Takes the constant quantiser if the driver has no constant quality."""
    quantiser_options: FfmpegOptions = ()
    """Replace `quality_options` with a constant quantiser."""
    quantiser_factor: int = 1
    """AV1's quantiser goes up to 255, its constant quality up to 51 like that of the others."""
    b_frames: int | None = None
    tag: str | None = None
    """Four-character code in mp4, since players know fewer than ffmpeg writes."""
    bit_depth: int = 10
    """The highest it keeps."""
    profile_10bit: str | None = None
    chroma: tuple[str, ...] = ("420",)
    field_options: tuple[FfmpegOption, FfmpegOption] | None = None
    """Keep fields as fields, the top or the bottom one displayed first; None if it can't."""
    full_range_formats: tuple[str, str] | None = None
    """Full range is converted to these, of eight bits and of more; None if its own format may stay."""
    good_version: tuple[int, int] = (0, 0)
    """Of its library: older ones take twice the CPU for the same picture."""
    software: SoftwareSettings | None = None
    """None for hardware."""
    live: LiveSettings | None = None
    """None if the recorder does not use it."""


_ASYNC = (("async_depth", "4"),)
_ICQ = (("rc_mode", "ICQ"),)
_CQP = (("rc_mode", "CQP"),)
_NVENC = (("b:v", "0"), ("rc", "vbr"))
_X265 = (("x265-params", "log-level=error"),)
_X264_FIELDS = (("x264-params", "tff=1"), ("x264-params", "bff=1"))
_ANY_CHROMA = ("420", "422", "444")
_LIVE_QSV = LiveSettings(("-pix_fmt", "nv12", "-global_quality", "23"), devices=("/dev/dri/renderD*",))
_LIVE_VAAPI = LiveSettings(
    ("-vf", "format=nv12,hwupload", "-qp", "23"),
    ("-vaapi_device", "/dev/dri/renderD128"),
    ("/dev/dri/renderD128",),
)
_LIVE_NVENC = LiveSettings(("-pix_fmt", "yuv420p", "-cq", "23"), devices=("/dev/nvidiactl",))
_LIVE_V4L2M2M = LiveSettings(
    ("-pix_fmt", "yuv420p", "-b:v", "4M"), devices=("/dev/video1[0-9]", "/dev/video-enc*")
)
_LIVE_X264 = LiveSettings(
    ("-pix_fmt", "yuv420p", "-preset", "veryfast", "-tune", "zerolatency", "-crf", "23")
)

# SVT-AV1 preset 10 took 1.6 GB, x264 veryfast 0.9 GB, x265 less than SVT-AV1; a fifth is added.
_SVTAV1 = SoftwareSettings(1_950_000_000, ("svtav1-params", "lp={}"), proves_stillness=True, most_threads=6)
_LIBX265 = SoftwareSettings(1_950_000_000, ("x265-params", "pools={}"), proves_stillness=True)
_LIBX264 = SoftwareSettings(1_100_000_000, ("threads", "{}"), proves_stillness=True)

# hvc1: QuickTime and iOS don't play ffmpeg's own choice, hev1. B frames are always set, since their default
# differs by version; HEVC on older NVIDIA cards has none. https://ffmpeg.org/ffmpeg-codecs.html#QSV-Encoders
ENCODERS: Mapping[str, Encoder] = MappingProxyType({
    row.name: row
    for row in (
        Encoder("av1_qsv", Backend.QSV, "av1", "global_quality", 28, "medium", _ASYNC,
                quantiser_option="q:v", quantiser_factor=5, b_frames=2),
        Encoder("hevc_qsv", Backend.QSV, "hevc", "global_quality", 26, "medium", _ASYNC,
                quantiser_option="q:v", b_frames=2, tag="hvc1", profile_10bit="main10"),
        Encoder("h264_qsv", Backend.QSV, "h264", "global_quality", 25, "medium", _ASYNC,
                quantiser_option="q:v", b_frames=2, bit_depth=8, live=_LIVE_QSV),
        Encoder("av1_vaapi", Backend.VAAPI, "av1", "global_quality", 28, quality_options=_ICQ,
                quantiser_option="global_quality", quantiser_options=_CQP, quantiser_factor=5, b_frames=2),
        Encoder("hevc_vaapi", Backend.VAAPI, "hevc", "global_quality", 26, quality_options=_ICQ,
                quantiser_option="global_quality", quantiser_options=_CQP, b_frames=2, tag="hvc1",
                profile_10bit="main10"),
        Encoder("h264_vaapi", Backend.VAAPI, "h264", "global_quality", 25, quality_options=_ICQ,
                quantiser_option="global_quality", quantiser_options=_CQP, b_frames=2, bit_depth=8,
                live=_LIVE_VAAPI),
        Encoder("av1_nvenc", Backend.NVENC, "av1", "cq", 34, "p5", _NVENC, b_frames=0),
        Encoder("hevc_nvenc", Backend.NVENC, "hevc", "cq", 28, "p5", _NVENC, b_frames=0, tag="hvc1",
                profile_10bit="main10"),
        Encoder("h264_nvenc", Backend.NVENC, "h264", "cq", 26, "p5", _NVENC, b_frames=2, bit_depth=8,
                live=_LIVE_NVENC),
        Encoder("hevc_v4l2m2m", Backend.V4L2M2M, "hevc", "b:v", 3000, b_frames=0, tag="hvc1", bit_depth=8),
        Encoder("h264_v4l2m2m", Backend.V4L2M2M, "h264", "b:v", 4000, b_frames=0, bit_depth=8,
                live=_LIVE_V4L2M2M),
        Encoder("libsvtav1", Backend.SOFTWARE, "av1", "crf", 35, "10",
                full_range_formats=("yuv420p", "yuv420p10le"), good_version=(2, 0), software=_SVTAV1),
        Encoder("libx265", Backend.SOFTWARE, "hevc", "crf", 26, "fast", _X265, tag="hvc1", bit_depth=12,
                chroma=_ANY_CHROMA, software=_LIBX265),
        Encoder("libx264", Backend.SOFTWARE, "h264", "crf", 23, "veryfast", chroma=_ANY_CHROMA,
                field_options=_X264_FIELDS, software=_LIBX264, live=_LIVE_X264),
    )
})  # fmt: skip

LIVE_ENCODERS = tuple(
    sorted(
        (row for row in ENCODERS.values() if row.live is not None),
        key=lambda row: row.backend is not Backend.V4L2M2M,
    )
)
"""Those that the recorder uses, best first: a board with V4L2 mem2mem has no other hardware that works."""

CODECS: tuple[Codec, ...] = get_args(Codec)

HARDWARE = (Backend.QSV, Backend.VAAPI, Backend.NVENC)
"""What `--encoder auto` tries before software, in this order."""

QUANTISER_OFFSET = 2
"""A constant quantiser this much above the constant quality gives about the same picture."""

QSV_DECODERS = MappingProxyType(
    {"av1": "av1_qsv", "h264": "h264_qsv", "hevc": "hevc_qsv", "mjpeg": "mjpeg_qsv",
     "mpeg2video": "mpeg2_qsv", "vp9": "vp9_qsv"}
)  # fmt: skip

# Both tested ffmpegs copy these into mp4, and players support them there.
_AUDIO_FOR_MP4 = frozenset({"aac", "mp2", "mp3", "ac3", "opus"})
_VIDEO_FOR_MP4 = frozenset({"h264", "hevc", "av1", "mpeg4", "mpeg2video"})
# G.711 and similar codecs: mp4 has no tag for them, and AAC keeps their whole content.
_UNCOMPRESSED_AUDIO = ("pcm_", "adpcm_")

_RGB = re.compile(r"[a0x]?(rgb|bgr|gbr)|pal8")
_TRANSPARENT = re.compile(r"yuva|ayuv|vuya|argb|abgr|rgba|bgra|gbrap|ya\d")
"""By the names of ffmpeg's pixel formats."""


class EncodeSettings(Struct, frozen=True):
    """What the owner chose for the archive; None is the encoder's own default."""

    quality: int | None = None
    preset: str | None = None
    max_height: int | None = None
    """Pixels; nothing is ever enlarged."""
    audio: Audio = "copy"
    only_420: bool = False
    """Eight bits of 4:2:0 whatever the source has: many players support nothing else."""


def packet_trust(encoder: str, quality: object) -> PacketTrust:
    """What the sizes of the packets say that this encoder writes; `quality` is None for its default.

    Stillness is measured with the default quality; at a lower one something small may vanish.
    """
    row = ENCODERS.get(encoder)
    if row is None or row.quality_option == "b:v":
        return PacketTrust.NOTHING
    is_measured = quality is None or (isinstance(quality, int) and quality <= row.quality)
    is_measured = is_measured and row.software is not None and row.software.proves_stillness
    return PacketTrust.STILLNESS if is_measured else PacketTrust.MOTION


def encoders_of(backend: Backend, codec: Codec) -> tuple[Encoder, ...]:
    """The rows to try for a backend and codec, in order."""
    return tuple(row for row in ENCODERS.values() if (row.backend, row.codec) == (backend, codec))


def obstacle(encoder: Encoder, level: FallbackLevel, media: Media) -> str:
    """Why this level can't keep the clip's content, as known beforehand; empty if it may be tried."""
    video = media.video
    if is_interlaced(video) and encoder.field_options is None:
        return f"{encoder.name} would weave the fields of interlaced video into frames"
    if level is FallbackLevel.SOFTWARE:
        return ""
    if video.bit_depth > encoder.bit_depth:
        return f"{encoder.name} would reduce {video.bit_depth} bits to {encoder.bit_depth}"
    if level is FallbackLevel.GPU_ENCODE:
        return ""
    if encoder.backend is Backend.V4L2M2M:
        return "v4l2m2m has no full pipeline"
    if encoder.backend is Backend.QSV and video.codec not in QSV_DECODERS:
        return f"Quick Sync has no decoder for {video.codec}"
    if _chroma(video) != "420":
        return f"the GPU's pipeline has no {_ratio(_chroma(video))}"
    if video.width % 2 or video.height % 2:
        return f"the GPU's pipeline has no odd size ({video.width}x{video.height})"
    return ""


def changes(media: Media, encoder: Encoder, settings: EncodeSettings) -> tuple[str, ...]:
    """What the owner should know besides the compression, above all losses; one phrase each."""
    video = media.video
    chroma, size = _chroma(video), scaled_size(video, settings)
    kept_chroma = ("420",) if settings.only_420 else encoder.chroma
    kept = kept_audio(media, settings.audio)
    recoded = (f"audio {audio.codec} becomes aac" for audio in kept if not copied(audio, settings.audio))
    return (
        *(("interlaced as its source",) if is_interlaced(video) else ()),
        *((f"scaled to {size[0]}x{size[1]}",) if size else ()),
        *((f"chroma {_ratio(chroma)} becomes 4:2:0",) if chroma not in kept_chroma else ()),
        *(("transparency left out",) if _TRANSPARENT.match(video.pixel_format) else ()),
        *recoded,
        *(("audio left out",) if media.audio and not kept else ()),
        *(f"{kind} left out" for kind in media.lost_streams),
    )


def container_for(media: Media, settings: EncodeSettings) -> Container:
    """`mkv` if mp4 can't hold audio that must be copied (WMA, Vorbis), otherwise `mp4`."""
    kept = kept_audio(media, settings.audio)
    held = all(audio.codec in _AUDIO_FOR_MP4 or not copied(audio, settings.audio) for audio in kept)
    return "mp4" if held else "mkv"


def remux_container(media: Media) -> Container:
    """`mp4` if it can hold every stream of the clip as it is, otherwise `mkv`."""
    held = media.video.codec in _VIDEO_FOR_MP4 and all(a.codec in _AUDIO_FOR_MP4 for a in media.audio)
    return "mp4" if held else "mkv"


def is_interlaced(video: VideoStream) -> bool:
    """Whether its frames consist of two fields, each of its own moment."""
    return video.field_order not in ("", "progressive")


def gpu_scaler(backend: Backend) -> str:
    """The filter that scales frames in a GPU's memory. Raises ValueError for a backend without one."""
    match backend:
        case Backend.QSV:
            return "vpp_qsv"
        case Backend.VAAPI:
            return "scale_vaapi"
        case Backend.NVENC:
            return "scale_cuda"
        case Backend.V4L2M2M | Backend.SOFTWARE:
            raise ValueError(f"{backend} keeps no frames in a GPU")
        case _:
            assert_never(backend)


def scaled_size(video: VideoStream, settings: EncodeSettings) -> tuple[int, int] | None:
    """Width and height, even and in proportion, if the clip is higher than allowed; otherwise None."""
    limit = settings.max_height
    if limit is None or video.height <= limit:
        return None
    height = max(2, limit - limit % 2)
    return max(2, round(video.width * height / video.height / 2) * 2), height


def _chroma(video: VideoStream) -> str:
    """How often colour is sampled; a format of red, green and blue has it for each pixel."""
    if _RGB.match(video.pixel_format):
        return "444"
    return next((kind for kind in ("444", "422", "440", "411") if kind in video.pixel_format), "420")


def _ratio(chroma: str) -> str:
    return ":".join(chroma)


def kept_audio(media: Media, audio: Audio) -> tuple[AudioStream, ...]:
    return () if audio == "none" else media.audio


def codec_of(encoder: str | None) -> str | None:
    """The codec of an archive by the name of its encoder; None if that is none of ours."""
    known = ENCODERS.get(encoder or "")
    return known.codec if known else None


def copied(stream: AudioStream, audio: Audio) -> bool:
    """Whether this audio is copied: audio that is AAC already satisfies `aac`."""
    if stream.varies:
        return False
    return stream.codec == "aac" or (audio == "copy" and not stream.codec.startswith(_UNCOMPRESSED_AUDIO))
