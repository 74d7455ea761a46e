"""Makes uncompressed sound continuous, since a mov file has no times for parts of it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from av.audio.stream import AudioStream
from av.packet import Packet

from camarchiver.record.capture.sound import formats

_SILENCE = {"pcm_alaw": b"\xd5", "pcm_mulaw": b"\xff", "pcm_s16be": b"\0\0", "pcm_s16le": b"\0\0"}
"""One sample of silence (ITU-T G.711, tables 1a and 2a: the smallest positive value)."""


class PcmTrack:
    """One stream of uncompressed sound in one clip.

    Libavformat gives all samples in mov the same duration: after lost packets sound would come too early.
    """

    def __init__(self, audio: AudioStream) -> None:
        context = audio.codec_context
        self._rate = context.sample_rate
        self._silence = _SILENCE[formats.codec_of(audio)] * context.layout.nb_channels
        self._end: int | None = None
        """The time after the last sample, in samples."""

    def fitted(self, packet: Packet[Any]) -> Packet[Any] | None:
        """The packet with silence for what is missing before it, without what was there already."""
        begin, data = round((packet.pts or 0) * packet.time_base * self._rate), bytes(packet)
        end = begin + len(data) // len(self._silence)
        if self._end is not None and end <= self._end:
            return None
        if self._end is not None:
            missing = begin - self._end
            data = self._silence * missing + data[max(-missing, 0) * len(self._silence) :]
            begin = self._end
        self._end = end
        made: Packet[Any] = Packet(data)
        made.pts = made.dts = begin
        made.duration, made.time_base = end - begin, Fraction(1, self._rate)
        made.is_keyframe = True
        return made
