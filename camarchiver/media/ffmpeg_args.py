"""ffmpeg's arguments: pure builders of argument lists."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from camarchiver.media import encoders
from camarchiver.media.encoders import Audio, Backend, Container, Encoder, EncodeSettings, FallbackLevel
from camarchiver.media.info import MATRICES, PRIMARIES, TRANSFERS, AudioStream, Media, VideoStream, code_of
from camarchiver.naming.formats import TRANSPORT_SUFFIXES

Version = tuple[int, int]

_SOURCE, _TARGET, _TAG = "{source}", "{target}", "{{tag {}}}"
"""Placeholders."""
_GOP_SECONDS = 4
_GOP_FEWEST = 150
"""Frames: a keyframe of a fixed camera takes as many bytes as a hundred other frames."""
_GOP_MOST = 1000
_GOP_SAMPLES = 10_000
"""Frame distances from which the typical one is computed."""
_AAC_KBIT_PER_CHANNEL = 48

_MUXERS = MappingProxyType({"mp4": "mp4", "mkv": "matroska"})


class Job(Struct, frozen=True):
    """One clip to be turned into one archive, at any fallback level."""

    source: Path
    target: Path
    media: Media
    """The source's."""
    settings: EncodeSettings
    container: Container
    metadata: Mapping[str, str]
    """Written in addition to the source's own; mp4 keeps only known names, such as `comment`."""
    threads: int = 0
    """Number for decoding and for encoding each; 0 lets ffmpeg choose."""


class Transcode(Struct, frozen=True):
    """One way to do a job."""

    job: Job
    encoder: Encoder
    level: FallbackLevel
    ffmpeg_version: Version
    device: Path | None = None
    """The render node; None lets ffmpeg choose, which needs the i915 driver."""
    constant_quantiser: bool = False


def transcode(variant: Transcode) -> tuple[str, ...]:
    """The arguments, without the binary, that write the whole archive of one clip."""
    ffmpeg = _builder()
    source = ffmpeg.input(_SOURCE, **_raw(variant.job.media), **_decoding(variant))
    # `V`: a cover picture may be the first stream.
    streams = [source["V:0"]]
    kept = encoders.kept_audio(variant.job.media, variant.job.settings.audio)
    streams += [source[f"a:{index}"] for index in range(len(kept))]
    filters = (*_raw_times(variant.job.media), *_filters(variant))
    options = {
        "map_metadata": "0",
        **_timestamps(variant.ffmpeg_version),
        **_encoding(variant),
        **({"vf": ",".join(filters)} if filters else {}),
        **_audio_options(kept, variant.job.settings.audio),
        **_container_options(variant.job.container, variant.job.metadata),
    }
    output = ffmpeg.output(*streams, _TARGET, **options)
    hardware = variant.encoder.backend is not Backend.SOFTWARE
    # If a GPU's decoder dies half-way, ffmpeg exits 0 without -xerror; with it a clip with a few bad frames
    # would never be archived, so software runs without it.
    strict = ("-xerror",) if hardware else ()
    threads = ("-filter_threads", str(variant.job.threads)) if variant.job.threads else ()
    names = _names(variant.job.source, variant.job.target, variant.job.metadata)
    return _compile(output, names, "-y", *strict, *threads, *_device(variant))


def remux(
    source: Path, target: Path, media: Media, container: Container, metadata: Mapping[str, str]
) -> tuple[str, ...]:
    """The arguments of a lossless copy of picture and sound, packet by packet."""
    ffmpeg = _builder()
    read = ffmpeg.input(_SOURCE)
    streams = [read["V:0"], *(read[f"a:{index}"] for index in range(len(media.audio)))]
    options = {
        "c": "copy",
        "map_metadata": "0",
        **_container_options(container, metadata),
        **({"tag:v": "hvc1"} if container == "mp4" and media.video.codec == "hevc" else {}),
    }
    output = ffmpeg.output(*streams, _TARGET, **options)
    return _compile(output, _names(source, target, metadata), "-y", "-xerror")


def decode(path: Path, *, threads: int = 0) -> tuple[str, ...]:
    """The arguments that decode picture and sound and discard the result.

    Both get new times, since the times in the file do not matter here. They continue when the picture's
    size changes; without `reinit_filter` they would start again. Sound that changes needs new filters, so it
    gets its times after them.
    """
    ffmpeg = _builder()
    read = ffmpeg.input(_SOURCE, threads=threads, **{"reinit_filter:v": 0})
    streams = [read["V:0"], read["a?"]]
    numbered = {"vf": "setpts=N*100/TB", "bsf:a": "setts=ts=N"}
    # The demuxer reports any jump of a transport stream as a loss; at a real loss the decoder reports errors.
    strict = () if path.suffix.lower() in TRANSPORT_SUFFIXES else ("-xerror",)
    return _compile(ffmpeg.output(*streams, "-", format="null", **numbered), {_SOURCE: _url(path)}, *strict)


TRIAL_FRAMES = 5
TRIAL_ENCODER = "libx264"
"""What makes the clip of a trial; its codec is the one that all cameras and GPUs know."""
_TRIAL_SIZE = 256
"""Pixels each way; smaller ones may be refused for their size alone."""

TRIAL_MEDIA = Media(
    container="mp4",
    video=VideoStream("h264", _TRIAL_SIZE, _TRIAL_SIZE, "yuv420p", 8, Fraction(25), Fraction(1, 12800)),
    video_streams=1,
    audio=(),
    other_streams=(),
    packets=TRIAL_FRAMES,
    keyframes=1,
    packets_before_keyframe=0,
    start=0.0,
    span=TRIAL_FRAMES / 25,
    tags=MappingProxyType({}),
)
"""What `trial_clip` writes."""


def trial_clip(target: Path) -> tuple[str, ...]:
    """The arguments that make the five H.264 frames which a trial encodes."""
    ffmpeg = _builder()
    picture = ffmpeg.input(f"testsrc2=size={_TRIAL_SIZE}x{_TRIAL_SIZE}:rate=25", format="lavfi")
    options = {"c:v": TRIAL_ENCODER, "preset": "ultrafast", "pix_fmt": "yuv420p", "frames:v": TRIAL_FRAMES}
    return _compile(ffmpeg.output(picture, _TARGET, format="mp4", **options), {_TARGET: _url(target)}, "-y")


def trial(
    encoder: Encoder,
    level: FallbackLevel,
    *,
    clip: Path,
    target: Path,
    settings: EncodeSettings,
    device: Path | None,
    ffmpeg_version: Version,
    constant_quantiser: bool = False,
) -> tuple[str, ...]:
    """The arguments that encode the trial clip with exactly the options of a real one."""
    job = Job(clip, target, TRIAL_MEDIA, settings, "mp4", {}, threads=1)
    return transcode(Transcode(job, encoder, level, ffmpeg_version, device, constant_quantiser))


def _url(path: Path) -> str:
    """A name that ffmpeg takes for a file whatever its form: `-y.mp4`, `concat:x.mp4`, `a:b.mp4`."""
    return f"file:{path}"


def _builder() -> Any:
    """ffmpeg-python, imported where it is used: it costs 50 ms of CPU, and it has no types."""
    import ffmpeg  # type: ignore[import-untyped]

    return ffmpeg


def _compile(output: Any, names: Mapping[str, str], *options: str) -> tuple[str, ...]:
    """The arguments, with the placeholders replaced by `names`.

    ffmpeg-python hashes all arguments as UTF-8, but a file's name need not be UTF-8.
    """
    arguments = _builder().compile(output, cmd=["-hide_banner", "-nostdin", "-v", "error", *options])
    return tuple(names.get(argument, argument) for argument in arguments)


def _names(source: Path, target: Path, metadata: Mapping[str, str]) -> dict[str, str]:
    tags = {_TAG.format(index): f"{key}={value}" for index, (key, value) in enumerate(metadata.items())}
    return {_SOURCE: _url(source), _TARGET: _url(target), **tags}


def _device(variant: Transcode) -> tuple[str, ...]:
    """Open exactly this render node: ffmpeg's own search requires the i915 driver and skips xe."""
    node = "" if variant.device is None else str(variant.device)
    match variant.encoder.backend:
        case Backend.QSV:
            kind = f"qsv=hw,child_device={node}" if node else "qsv=hw"
        case Backend.VAAPI:
            kind = f"vaapi=hw:{node}" if node else "vaapi=hw"
        case Backend.NVENC | Backend.V4L2M2M | Backend.SOFTWARE:
            return ()
    return ("-init_hw_device", kind, "-filter_hw_device", "hw")


def _raw(media: Media) -> dict[str, str]:
    """The options that read a stream without a container."""
    return {"f": media.container, "framerate": str(media.raw_rate)} if media.raw_rate else {}


def _raw_times(media: Media) -> tuple[str, ...]:
    """The times of the frames of such a stream: ffmpeg's own are guesses where frames are reordered."""
    return (f"setpts=N/({media.raw_rate})/TB",) if media.raw_rate else ()


def _decoding(variant: Transcode) -> dict[str, Any]:
    # Without `noautorotate` ffmpeg rotates the picture if it can and fails if frames are on the GPU; with it
    # the clip's rotation goes into the archive unchanged.
    options: dict[str, Any] = {"noautorotate": None, "threads": variant.job.threads}
    if variant.level is not FallbackLevel.GPU:
        return options
    match variant.encoder.backend:
        case Backend.QSV:
            options["c:v"] = encoders.QSV_DECODERS[variant.job.media.video.codec]
            hardware, device = "qsv", "hw"
        case Backend.VAAPI:
            hardware, device = "vaapi", "hw"
        case Backend.NVENC:
            hardware, device = "cuda", ""
        case Backend.V4L2M2M | Backend.SOFTWARE:
            raise ValueError(f"{variant.encoder.name} has no full pipeline")
    options |= {"hwaccel": hardware, "hwaccel_output_format": hardware}
    return options | ({"hwaccel_device": device} if device else {})


def _timestamps(version: Version) -> dict[str, str]:
    """Each frame at its own time: without these a variable rate gets duplicates or a grid of 1/rate."""
    mode = "fps_mode" if version >= (5, 1) else "vsync"
    return {mode: "passthrough", "enc_time_base:v": "demux" if version >= (6, 1) else "-1"}


def _encoding(variant: Transcode) -> dict[str, Any]:
    encoder, settings, video = variant.encoder, variant.job.settings, variant.job.media.video
    quality = encoder.quality if settings.quality is None else settings.quality
    preset = encoder.preset if settings.preset is None else settings.preset
    if variant.constant_quantiser and encoder.quantiser_option is not None:
        quantiser = (quality + encoders.QUANTISER_OFFSET) * encoder.quantiser_factor
        rate = {encoder.quantiser_option: str(quantiser), **dict(encoder.quantiser_options)}
    else:
        value = f"{quality}k" if encoder.quality_option == "b:v" else str(quality)
        rate = {encoder.quality_option: value, **dict(encoder.quality_options)}
    main10 = encoder.profile_10bit if video.bit_depth > 8 else None
    return {
        "c:v": encoder.name,
        **_joined(encoder.options, _fields(encoder, video), _encoder_threads(encoder, variant.job.threads)),
        **rate,
        "g": str(_gop(variant.job.media)),
        **({"preset": preset} if preset is not None else {}),
        **({"bf": str(encoder.b_frames)} if encoder.b_frames is not None else {}),
        **({"profile:v": main10} if main10 is not None else {}),
        **({"tag:v": encoder.tag} if encoder.tag is not None and variant.job.container == "mp4" else {}),
        **_color(encoder, video),
    }


def _joined(*groups: encoders.FfmpegOptions) -> dict[str, str]:
    """The options of all groups; parameters of a library, such as `x265-params`, are one list with colons."""
    joined: dict[str, str] = {}
    for name, value in (option for group in groups for option in group):
        joined[name] = f"{joined[name]}:{value}" if name in joined else value
    return joined


def _fields(encoder: Encoder, video: VideoStream) -> encoders.FfmpegOptions:
    """The options that keep fields as fields and show the right one first."""
    if encoder.field_options is None or not encoders.is_interlaced(video):
        return ()
    top, bottom = encoder.field_options
    # The second letter is the field that is displayed first, the first the one that is coded first.
    return (("flags", "+ilme+ildct"), top if video.field_order[1] == "t" else bottom)


def _color(encoder: Encoder, video: VideoStream) -> dict[str, str]:
    """The options that describe the colours to a player.

    Little of what ffmpeg's hardware encoders are given reaches the bitstream, with AV1 nothing, so a
    bitstream filter writes it afterwards.
    """
    is_full = _is_full_range(video)
    if encoder.backend is Backend.SOFTWARE:
        return {"color_range": "pc"} if is_full else {}
    is_av1 = encoder.codec == "av1"
    codes = {
        "color_primaries" if is_av1 else "colour_primaries": code_of(PRIMARIES, video.primaries),
        "transfer_characteristics": code_of(TRANSFERS, video.transfer),
        "matrix_coefficients": code_of(MATRICES, video.matrix),
        "color_range" if is_av1 else "video_full_range_flag": ("pc" if is_av1 else 1) if is_full else None,
    }
    fields = ":".join(f"{key}={code}" for key, code in codes.items() if code is not None)
    return {"bsf:v": f"{encoder.codec}_metadata={fields}"} if fields else {}


def _is_full_range(video: VideoStream) -> bool:
    return video.color_range == "pc"


def _encoder_threads(encoder: Encoder, threads: int) -> encoders.FfmpegOptions:
    """The option that limits a software encoder to so many threads; none if it may choose."""
    software = encoder.software
    if software is None or not threads:
        return ()
    name, value = software.thread_option
    return ((name, value.format(min(threads, software.most_threads or threads))),)


def _gop(media: Media) -> int:
    """Frames between keyframes, so that a player seeks within some four seconds or decodes few frames."""
    distance = _typical_distance(media)
    frames = round(_GOP_SECONDS / distance) if distance else 0
    return max(_GOP_FEWEST, min(frames, _GOP_MOST))


def _typical_distance(media: Media) -> Fraction | float | None:
    """Seconds from most frames to the next: unlike the mean it is not changed by one pause of an hour."""
    times = media.times
    step = max(1, len(times) // _GOP_SAMPLES)
    if distances := [times[at] - times[at - 1] for at in range(1, len(times), step)]:
        return median(distances) * media.video.time_base
    if media.video.frame_rate:
        return 1 / media.video.frame_rate
    return media.span / media.packets


def _filters(variant: Transcode) -> tuple[str, ...]:
    size = encoders.scaled_size(variant.job.media.video, variant.job.settings)
    if variant.level is FallbackLevel.GPU:
        scaled = (f"{encoders.gpu_scaler(variant.encoder.backend)}=w={size[0]}:h={size[1]}",) if size else ()
        return (*scaled, *_disguised(variant.job.media.video))
    return (*_resizing(variant.job.media.video, size), *_upload(variant))


def _resizing(video: VideoStream, size: tuple[int, int] | None) -> tuple[str, ...]:
    if size:
        # The lines of the two fields are scaled separately.
        fields = ":interl=1" if encoders.is_interlaced(video) else ""
        return (f"scale=w={size[0]}:h={size[1]}{fields}",)
    # 4:2:0 encoders want even sizes; a line of black is added, since cropping would lose one.
    if video.width % 2 or video.height % 2:
        return (f"pad=w={video.width + video.width % 2}:h={video.height + video.height % 2}",)
    return ()


def _upload(variant: Transcode) -> tuple[str, ...]:
    """Convert software frames to the layout that the encoder accepts."""
    video = variant.job.media.video
    layout = "p010le" if video.bit_depth > 8 else "nv12"
    match variant.encoder.backend:
        case Backend.QSV | Backend.NVENC:
            return (*_converted(layout, video), *_disguised(video))
        case Backend.VAAPI:
            return (*_converted(layout, video), *_disguised(video), "hwupload")
        case Backend.V4L2M2M:
            return (*_converted("yuv420p", video), *_disguised(video))
        case Backend.SOFTWARE:
            if variant.job.settings.only_420:
                return _converted("yuv420p", video)
            formats = variant.encoder.full_range_formats
            if formats is None or not _is_full_range(video):
                return ()
            return _converted(formats[video.bit_depth > 8], video)


def _converted(layout: str, video: VideoStream) -> tuple[str, ...]:
    """Up to 6.1 ffmpeg converts full range to limited range whenever it changes the format."""
    return (*(("scale=out_range=full",) if _is_full_range(video) else ()), f"format={layout}")


def _disguised(video: VideoStream) -> tuple[str, ...]:
    """For encoders that know only limited range: prevents a conversion; `_color` writes the real range."""
    return ("setparams=range=tv",) if _is_full_range(video) else ()


def _audio_options(kept: tuple[AudioStream, ...], audio: Audio) -> dict[str, str]:
    options: dict[str, str] = {}
    for index, stream in enumerate(kept):
        if encoders.copied(stream, audio):
            options[f"c:a:{index}"] = "copy"
        else:
            options[f"c:a:{index}"] = "aac"
            options[f"b:a:{index}"] = f"{_AAC_KBIT_PER_CHANNEL * stream.channels}k"
    return options


def _container_options(container: Container, metadata: Mapping[str, str]) -> dict[str, str]:
    # ffmpeg-python can't repeat an option, but ffmpeg accepts any number after `metadata:g:`.
    tags = {f"metadata:g:{index}": _TAG.format(index) for index in range(len(metadata))}
    faststart = {"movflags": "+faststart"} if container == "mp4" else {}
    return {"format": _MUXERS[container], **tags, **faststart}
