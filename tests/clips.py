"""Clips that ffmpeg makes for tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg

SOFTQSV = Path(__file__).resolve().parents[2] / "shared" / "tools" / "softqsv" / "build"
MakeClip = Callable[..., Path]


PICTURE = ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=2")
SOUND = ("-f", "lavfi", "-i", "sine=d=2")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-g", "25")
HEVC = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=error", "-g", "25")
IRREGULAR = ("-vf", "select='not(mod(n,3))+gt(n,25)*mod(n,2)'", "-fps_mode", "passthrough")

# Name to ffmpeg's arguments; `{NAME}` stands for the clip of that name, made before.
CLIP_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "plain.mp4": (*PICTURE, *SOUND, *H264, "-bf", "0", "-c:a", "aac"),
    "reordered.mp4": (*PICTURE, *SOUND, *H264, "-bf", "2", "-c:a", "aac"),
    "faststart.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "+faststart"),
    "fragmented.mp4": ("-i", "{plain.mp4}", "-c", "copy", "-movflags", "frag_keyframe+empty_moov"),
    "silent-fragmented.mp4": (
        *("-i", "{plain.mp4}", "-map", "0:v", "-c", "copy"),
        *("-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    ),
    "reordered.mkv": ("-i", "{reordered.mp4}", "-c", "copy"),
    "reordered.ts": ("-i", "{reordered.mp4}", "-c", "copy"),
    "plain.ts": ("-i", "{plain.mp4}", "-c", "copy"),
    "h264.avi": (*PICTURE, *H264, "-bf", "2"),
    "odd-ticks.avi": ("-i", "{reordered.mp4}", "-c", "copy"),
    "slow.mp4": ("-f", "lavfi", "-i", "testsrc2=s=320x240:r=15:d=2", *H264, "-bf", "0"),
    "slow-odd-ticks.avi": ("-i", "{slow.mp4}", "-c", "copy"),
    "hevc.mp4": (*PICTURE, *HEVC, "-tag:v", "hvc1"),
    "hevc.ts": ("-i", "{hevc.mp4}", "-c", "copy"),
    "mpeg4.avi": (*PICTURE, "-c:v", "mpeg4", "-g", "25", "-bf", "2"),
    "mjpeg.avi": (*PICTURE, "-c:v", "mjpeg"),
    "mjpeg.mkv": (*PICTURE, "-c:v", "mjpeg"),
    "irregular.mp4": (*PICTURE, *IRREGULAR, "-enc_time_base", "demux", *H264, "-bf", "2"),
    "one-frame.mp4": (*PICTURE, *H264, "-frames:v", "1"),
    "one-frame.mkv": ("-i", "{one-frame.mp4}", "-c", "copy"),
    "one-frame.ts": ("-i", "{one-frame.mp4}", "-c", "copy"),
    "pcm.mkv": ("-i", "{plain.mp4}", "-c:v", "copy", "-c:a", "pcm_alaw"),
    "timecode.mov": ("-i", "{plain.mp4}", "-c", "copy", "-timecode", "10:00:00:00"),
    "two-pictures.mp4": (*PICTURE, *PICTURE, "-map", "0", "-map", "1", *H264),
    "sound-only.mp4": SOUND,
    "many-keyframes.mkv": (
        *("-stream_loop", "150", "-f", "matroska", "-i", "{mjpeg.mkv}"),
        *("-c", "copy", "-f", "matroska"),
    ),
}
FFMPEGS = {
    "embedded": imageio_ffmpeg.get_ffmpeg_exe(),
    "system": shutil.which("ffmpeg") or "",
}
FRAMES = 15
FOOTAGE = Path(__file__).resolve().parents[2] / "shared" / "footage"
"""Labelled clips, where there are any: folders with clips and an `events.json`."""
