"""Clips of many kinds, as cameras and recorders make them, in ffmpeg's words."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeps import Unable
from sweeps.camera import FFMPEG

SECONDS = 2
RATE = 15
PICTURE = f"-f lavfi -i testsrc2=s=192x144:r={RATE}:d={SECONDS}"
SOUND = f"-f lavfi -i 'aevalsrc=0.3*sin(2*PI*(300*t+120*t*t)):s=16000:d={SECONDS}'"
CODECS = {
    "h264": "-c:v libx264 -preset ultrafast -crf 8 -g 15 -pix_fmt yuv420p",
    "hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=error{x265} -crf 8 -g 15 -pix_fmt yuv420p",
    "mpeg4": "-c:v mpeg4 -q:v 2 -g 15",
    "mjpeg": "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
}
CONTAINERS = {
    "mp4": ("h264", "hevc", "mpeg4", "mjpeg"),
    "mov": ("h264", "hevc", "mpeg4", "mjpeg"),
    "mkv": ("h264", "hevc", "mpeg4", "mjpeg"),
    "ts": ("h264", "hevc", "mpeg4"),
    "avi": ("h264", "mpeg4", "mjpeg"),
}
"""Which codecs each holds."""
SOUND_CODEC = {"avi": "-c:a pcm_s16le", "ts": "-c:a aac"}
LOG_TAIL = 200


@dataclass(frozen=True)
class Feature:
    """What is odd about a clip, in ffmpeg's words."""

    before: str = PICTURE
    """The inputs."""
    after: str = ""
    """Behind the codec."""
    codecs: tuple[str, ...] = ("h264",)
    containers: tuple[str, ...] = ("mp4",)
    then: str = ""
    """A second ffmpeg without encoding, with `{}` for what the first one made."""
    x265: str = ""
    first: str = ""
    """The first one's container, if it is not the clip's."""
    kept: str = ""
    """Why it must be kept as it is, as report and journal call it; empty if it must be encoded."""


ALL = tuple(CODECS)
INTER = ("h264", "hevc")
EVERYWHERE = tuple(CONTAINERS)
BOXES = ("mp4", "mov")
FREE = ("mp4", "mkv")
BOTH = f"{PICTURE} {SOUND}"
GAP = "\"aselect='not(between(t,0.6,1.2))'\""
TAGS = "-color_primaries bt709 -color_trc bt709 -colorspace bt709"
COVER = (
    "-f lavfi -i testsrc2=s=96x72:r=15:d=0.06 -map 0 -map 1 -c copy -c:v:1 mjpeg -pix_fmt:v:1 yuvj420p"
    " -disposition:v:1 attached_pic"
)
FULL = "-vf scale=out_range=full -pix_fmt yuvj420p -color_range pc"

FEATURES: Mapping[str, Feature] = {
    "plain": Feature(BOTH, codecs=ALL, containers=EVERYWHERE),
    "silent": Feature(codecs=ALL, containers=("mp4", "mkv", "ts")),
    "b-frames": Feature(BOTH, "-bf 2", (*INTER, "mpeg4"), ("mp4", "mkv", "ts", "mov")),
    "open-gop": Feature(PICTURE, "-bf 2 -flags -cgop", INTER, ("mp4", "ts", "mkv"), x265=":open-gop=1"),
    "variable": Feature(
        BOTH,
        "-vf \"select='not(mod(n,3))+gt(n,15)*mod(n,2)'\" -fps_mode passthrough -enc_time_base demux",
        ALL,
        FREE,
    ),
    "cut": Feature(BOTH, "-bf 2", INTER, BOXES, then="-ss 0.7 -i {} -t 1 -c copy"),
    "cut-sound": Feature(BOTH, "", ("h264",), ("mkv", "ts"), then="-ss 0.7 -i {} -t 1 -c copy"),
    "negative": Feature(
        BOTH, "", INTER, BOXES, then="-i {} -c copy -output_ts_offset -0.5 -avoid_negative_ts disabled"
    ),
    "late": Feature(BOTH, "", INTER, ("mp4", "mkv", "ts"), then="-i {} -c copy -output_ts_offset 7"),
    "stray": Feature(
        PICTURE,
        r'-bf 0 -bsf:v "setts=pts=if(eq(N\,17)\,PTS+3600/TB\,PTS)"',
        ("h264",),
        kept="unkeepable-times",
    ),
    "ahead": Feature(
        BOTH,
        r'-bf 0 -bsf:v "setts=pts=if(eq(N\,17)\,PTS+0.4/TB\,PTS)"',
        ("h264",),
        FREE,
        kept="unkeepable-times",
    ),
    "pause": Feature(PICTURE, r'-bf 0 -bsf:v "setts=ts=if(gt(N\,15)\,TS+60/TB\,TS)"', INTER, FREE),
    "other-size": Feature(
        PICTURE,
        "",
        ("h264",),
        ("ts",),
        then="-f lavfi -i testsrc2=s=96x72:r=15:d=1 -c:v libx264",
        kept="picture-changes",
    ),
    "sound-late": Feature(f"{PICTURE} -itsoffset 0.5 {SOUND}", "", ALL, FREE),
    "sound-early": Feature(f"-itsoffset 0.5 {PICTURE} {SOUND}", "", ("h264",), ("mp4", "mkv", "ts")),
    "sound-gap": Feature(BOTH, f"-af {GAP}", ("h264", "mpeg4"), ("mp4", "mkv", "ts")),
    "two-sounds": Feature(f"{BOTH} {SOUND}", "-map 0 -map 1 -map 2", INTER, ("mp4", "mkv", "ts", "mov")),
    "mp3": Feature(BOTH, "-c:a libmp3lame", ("h264",), EVERYWHERE),
    "opus": Feature(BOTH, "-c:a libopus", ("h264",), FREE),
    "alaw": Feature(BOTH, "-c:a pcm_alaw -ar 8000", ("h264", "mjpeg"), ("mkv", "mov", "avi")),
    "adpcm": Feature(BOTH, "-c:a adpcm_ima_wav", ("mjpeg", "mpeg4"), ("avi",)),
    "turned": Feature(BOTH, "", INTER, ("mp4", "mov", "mkv"), then="-display_rotation 90 -i {} -c copy"),
    "full-range": Feature(BOTH, FULL, INTER, ("mp4", "mkv", "ts")),
    "bt709": Feature(PICTURE, TAGS, INTER, ("mp4", "mkv", "ts")),
    "ten-bit": Feature(PICTURE, "-pix_fmt yuv420p10le", INTER, FREE),
    "4:2:2": Feature(PICTURE, "-pix_fmt yuv422p", ("h264",), ("mp4",)),
    "wide-pixels": Feature(PICTURE, "-vf setsar=4/3", (*INTER, "mpeg4"), FREE),
    "interlaced": Feature(
        PICTURE,
        "-vf interlace,format=yuv420p -flags +ilme+ildct -x264opts tff=1",
        ("h264",),
        ("mp4", "ts", "mkv"),
    ),
    "odd": Feature(PICTURE.replace("192x144", "161x121"), "", ("mpeg4", "mjpeg"), ("mp4", "mkv", "avi")),
    "one-frame": Feature(PICTURE, "-frames:v 1", ALL, ("mp4", "mkv")),
    "timecode": Feature(PICTURE, "", INTER, ("mov",), then="-i {} -c copy -timecode 10:00:00:00"),
    "fragments": Feature(
        BOTH, "", INTER, BOXES, then="-i {} -c copy -movflags frag_keyframe+empty_moov+default_base_moof"
    ),
    "remuxed": Feature(BOTH, "-bf 2", ("h264",), ("ts", "mkv"), then="-i {} -c copy", first="mp4"),
    "subtitles": Feature(BOTH, "", ("h264",), ("mp4",), kept="other-streams"),
    "cover": Feature(BOTH, "", ("h264",), then=f"-i {{}} {COVER}", kept="other-streams"),
    "signed": Feature(PICTURE, "-bf 0", INTER, ("mp4", "mkv", "ts"), x265=":bframes=0", kept="signed"),
}


@dataclass(frozen=True)
class Kind:
    """One clip of the sweep."""

    feature: str
    codec: str
    container: str

    def __str__(self) -> str:
        return f"{self.feature} {self.codec} {self.container}"

    @property
    def file(self) -> str:
        return f"{self.feature.replace(':', '')}-{self.codec}.{self.container}"


KINDS = tuple(
    Kind(name, codec, container)
    for name, each in FEATURES.items()
    for codec in each.codecs
    for container in each.containers
    if codec in CONTAINERS[container]
)


def make(kind: Kind, folder: Path) -> Path:
    """The clip; Unable where this ffmpeg can't."""
    each, path = FEATURES[kind.feature], folder / kind.file
    first = folder / f".{kind.file}.{each.first or kind.container}" if each.then else path
    codec = CODECS[kind.codec].format(x265=each.x265)
    sound = SOUND_CODEC.get(kind.container, "-c:a aac") if SOUND in each.before else ""
    tag = "-tag:v hvc1" if kind.codec == "hevc" and kind.container in BOXES and not each.then else ""
    ffmpeg(f"{each.before} {codec} {sound} {tag} {each.after}", first)
    if kind.feature == "other-size":
        ffmpeg(each.then, path)
        path.write_bytes(first.read_bytes() + path.read_bytes())
    elif each.then:
        ffmpeg(each.then.replace("{}", str(first)), path)
    elif kind.feature == "subtitles":
        _subtitle(path)
    elif kind.feature == "signed":
        _sign(kind, path)
    if first != path:
        first.unlink()
    return path


def ffmpeg(words: str, target: Path) -> None:
    """Make a file; Unable where this ffmpeg can't."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-y", *shlex.split(words), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"this ffmpeg can't make {target.name}: {done.stderr.strip()[-LOG_TAIL:]}")


def _subtitle(path: Path) -> None:
    text, plain = path.with_suffix(".srt"), path.with_suffix(".plain.mp4")
    text.write_text("1\n00:00:00,000 --> 00:00:01,000\nN 52.1 E 13.2\n")
    path.rename(plain)
    ffmpeg(f"-i {plain} -i {text} -map 0 -map 1 -c copy -c:s mov_text", path)
    text.unlink()
    plain.unlink()


def _sign(kind: Kind, path: Path) -> None:
    """An SEI with the UUID of ONVIF Media Signing before the first picture; the proof itself is no good."""
    raw = path.with_name(f".{path.name}.{kind.codec}")
    ffmpeg(f"-i {path} -map 0:v -c copy -f {kind.codec}", raw)
    data = raw.read_bytes()
    body = bytes.fromhex("005bc93f2d715e95ada4796f90877a6f") + b"\x01" * 64
    header = b"\x06" if kind.codec == "h264" else b"\x4e\x01"
    message = b"\0\0\0\x01" + header + bytes([5, len(body)]) + body + b"\x80"
    at = _first_picture(data, kind.codec)
    raw.write_bytes(data[:at] + message + data[at:])
    ffmpeg(f"-r {RATE} -i {raw} -c copy", path)
    raw.unlink()


def _first_picture(data: bytes, codec: str) -> int:
    """Where its start code begins."""
    at = data.find(b"\0\0\x01")
    while at >= 0:
        kind = data[at + 3] & 31 if codec == "h264" else data[at + 3] >> 1 & 63
        if kind in (1, 5) if codec == "h264" else kind < 32:
            return at - (data[at - 1] == 0)
        at = data.find(b"\0\0\x01", at + 3)
    raise Unable("no picture in the stream")
