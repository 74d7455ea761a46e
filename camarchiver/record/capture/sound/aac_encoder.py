"""Encodes sound as AAC while it is recorded."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec.context import Flags
from msgspec.structs import replace
from numpy.typing import NDArray

from camarchiver.record.capture.packet import TimedPacket

BIT_RATE = 4
"""Bits for each sample of one channel: 32 kbit/s for G.711, at which speech loses nothing that is heard."""
HOLE = 0.06
"""Seconds by which a packet may be off its place; if it comes later, sound was lost."""
FILLED = 2.0
"""Seconds of lost sound that become silence; after more the sound begins anew."""


class AacEncoder:
    """Takes packets of any sound that can be decoded; gives packets of AAC at the same times."""

    def __init__(self, audio: AudioStream) -> None:
        """Raises av.FFmpegError or ValueError if there is no encoder for this rate."""
        self._rate = audio.codec_context.sample_rate
        layout = audio.codec_context.layout.name
        self._resampler = AudioResampler("fltp", layout, self._rate)
        muxer = av.open(io.BytesIO(), "w", format="nut")
        stream = muxer.add_stream("aac", rate=self._rate, layout=layout)
        self._context = stream.codec_context
        self._context.flags |= Flags.global_header
        channels = self._context.layout.nb_channels
        self._context.bit_rate = BIT_RATE * self._rate * channels
        self._context.time_base = stream.time_base = Fraction(1, self._rate)
        # the header describes the stream for the clips
        muxer.start_encoding()
        self.stream = stream
        """Describes the packets."""
        self._samples: NDArray[np.float32] = np.empty((channels, 0), np.float32)
        """What was decoded and is not encoded yet."""
        self._fed = 0
        """Number of samples that were encoded."""
        self._anchors: deque[tuple[int, int]] = deque()
        """For a number of samples, their time in samples of the source's clock, since it began anew."""

    def encode(self, entry: TimedPacket) -> Iterator[TimedPacket]:
        """The packets that one packet completes; a damaged one is a hole."""
        try:
            decoded = [made for one in _frames(entry) for made in self._resampler.resample(one)]
        except (av.FFmpegError, ValueError):
            return
        if not decoded:
            return
        self._take_place(round(entry.at * self._rate))
        parts = [cast("NDArray[np.float32]", one.to_ndarray()) for one in decoded]
        self._samples = np.concatenate([self._samples, *parts], axis=1)
        size = self._context.frame_size
        while self._samples.shape[1] >= size:
            frame = AudioFrame.from_ndarray(
                np.ascontiguousarray(self._samples[:, :size]), "fltp", self._context.layout.name
            )
            self._samples = self._samples[:, size:]
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._fed, Fraction(1, self._rate)
            self._fed += size
            yield from self._packets(frame, entry)

    def _take_place(self, at: int) -> None:
        """Fill a hole before the next sample, or begin anew if that has another time; in samples."""
        if self._anchors:
            begin, since = self._anchors[-1]
            missing = at - (since + self._fed - begin + self._samples.shape[1])
            if abs(missing) <= HOLE * self._rate:
                return
            if 0 < missing <= FILLED * self._rate:
                silence = np.zeros((self._samples.shape[0], missing), np.float32)
                self._samples = np.concatenate([self._samples, silence], axis=1)
                return
        self._samples = self._samples[:, :0]
        self._anchors.append((self._fed, at))

    def _packets(self, frame: AudioFrame, entry: TimedPacket) -> Iterator[TimedPacket]:
        for packet in self._context.encode(frame):
            number = packet.pts or 0
            while len(self._anchors) > 1 and self._anchors[1][0] <= number:
                self._anchors.popleft()
            begin, at = self._anchors[0]
            # the encoder begins with a packet from before the first sample
            if number < begin:
                continue
            packet.pts = packet.dts = at + number - begin
            packet.time_base = Fraction(1, self._rate)
            packet.duration = frame.samples
            seconds = packet.pts / self._rate
            yield replace(
                entry,
                at=seconds,
                order=seconds,
                length=frame.samples / self._rate,
                size=packet.size,
                packet=packet,
            )


def _frames(entry: TimedPacket) -> list[AudioFrame]:
    packet = cast("av.Packet[Any]", entry.packet)
    return cast("list[AudioFrame]", packet.decode())
