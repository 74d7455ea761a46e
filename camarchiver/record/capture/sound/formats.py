"""Which sound a clip can hold as it is, and in which container."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from av.audio.stream import AudioStream


class Uncompressed(StrEnum):
    """What happens to sound that mp4 can't hold as it is: G.711, and L16."""

    KEEP = "keep"
    """It stays as it is, and the clip is a mov file."""
    AAC = "aac"
    """It is encoded."""
    DROP = "drop"
    """The clip has no sound."""


Form = Literal["mp4", "mov"]

_MP4 = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "alac", "flac"})
_MOV = frozenset({"pcm_alaw", "pcm_mulaw", "pcm_s16be", "pcm_s16le"})
"""Codecs that mov holds and mp4 does not (libavformat's movenc.c, `codec_mov_tags` and `codec_mp4_tags`)."""


def codec_of(audio: AudioStream) -> str:
    """The codec's name: a decoder may have another one, such as mp3float."""
    return audio.codec_context.codec.canonical_name


def form_for(audio: AudioStream | None) -> Form | None:
    """The container of a clip with this sound as it is; None if it must be left out."""
    if audio is None:
        return "mp4"
    context = audio.codec_context
    if context is None or not context.sample_rate:
        return None
    return "mp4" if codec_of(audio) in _MP4 else "mov" if codec_of(audio) in _MOV else None
