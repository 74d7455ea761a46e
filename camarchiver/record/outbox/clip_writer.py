"""Writes a clip into the spool in fragments, so that they survive if the recorder dies."""

from __future__ import annotations

import contextlib
import errno
import secrets
from datetime import datetime
from fractions import Fraction
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import cause
from camarchiver.motion.events import MotionEvent
from camarchiver.naming import recorder_names
from camarchiver.naming.recorder_names import Kind
from camarchiver.record import clip_rules
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.picture_format import IN_BAND
from camarchiver.record.capture.sound import formats
from camarchiver.record.capture.sound.pcm import PcmTrack
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.spool import SOUND_APART, cut

FRAGMENT = 0.5
"""Seconds; a kill or a power cut loses at most this much."""

_OPTIONS = {
    # whole fragments while the file is written, an ordinary mp4 after it is closed
    "movflags": "hybrid_fragmented+delay_moov+default_base_moof",
    "frag_duration": str(int(FRAGMENT * 1_000_000)),
    "flush_packets": "1",
    # with the moov delayed, an edit list keeps sound and picture together; the usual 1000 would round it
    "movie_timescale": "90000",
}
# half a second of a timelapse may take hours to record
_EACH_FRAME = {**_OPTIONS, "movflags": f"{_OPTIONS['movflags']}+frag_every_frame"}

_GAP = 60.0
"""Seconds between two frames, or from a frame's decoding to its presentation, that are an error."""
_FRAME_OF_SOUND = 1.0
"""Seconds beyond which the duration of a packet of sound is an error."""
_TICK = 1e-6

UNSYNCED = "clock: unsynced"
"""In the `comment` of a clip whose start comes from a clock that no time server had set."""


class ClipStart(Struct, frozen=True):
    """What is known of a clip when it begins."""

    start: datetime
    """Local time of the first frame."""
    first: TimedPacket
    trigger: float
    """When its motion began, in seconds of the source's own clock."""
    latency: float
    """Seconds from the start of the motion to the decision to record it."""
    unsynced: bool = False
    """The start comes from a clock that no time server has set."""
    kind: Kind = Kind.MOTION


class ClipWriter:
    """A clip that is being written."""

    def __init__(
        self, folders: Folders, clip_start: ClipStart, video: VideoStream, audio: AudioStream | None
    ) -> None:
        """The spool file, named by the start for salvage, is opened for the first packet.

        Raises OSError or ValueError.
        """
        form = formats.form_for(audio)
        suffix = form or "mp4"
        stamp = recorder_names.stamp(clip_start.start, clip_start.kind)
        self.path = folders.spool / f"{stamp}.{secrets.token_hex(4)}.{suffix}"
        self.clip_start = clip_start
        self.peak: MotionEvent | None = None
        """The motion event with the largest moving area."""
        self.lost = 0
        """Frames that are missing by the camera's timestamps; known when the clip is closed."""
        self.frames = 0
        """Frames written."""
        self.failed = ""
        """Why writing failed; empty if it did not."""
        self.is_full = False
        """Whether it failed for lack of space."""
        self._streams: dict[bool, tuple[Stream, int]] = {}
        """For video (True) and sound (False), the output stream and the ticks to subtract."""
        self._last: dict[bool, int] = {}
        self._moments: list[float] = []
        """Presentation time of each received frame as sent, in seconds of the source's own clock."""
        self._has_begun = False
        """Whether the first picture that is shown was written."""
        self._order: float | None = None
        """Decoding time of the last frame, in seconds of the source's own clock."""
        self._held: Packet[Any] | None = None
        """The last frame, whose duration is known when the clip ends."""
        self._end = 0
        """End of the last picture, in ticks."""
        self._step = 0
        """Ticks between the last two frames."""
        self._closed = False
        self._pcm = PcmTrack(audio) if audio is not None and form == "mov" else None
        self._strip: BitStreamFilterContext | None = None
        """Removes the headers that AAC has in transport streams but not in mp4."""
        options = _OPTIONS if clip_start.kind is Kind.MOTION else _EACH_FRAME
        self._output = av.open(f"file:{self.path}", "w", format=suffix, options=options)
        if clip_start.unsynced:
            self._output.metadata["comment"] = UNSYNCED
        try:
            self._add_streams(video, audio if form is not None else None)
        except BaseException:
            self._output.close()
            self.path.unlink(missing_ok=True)
            raise

    def _add_streams(self, video: VideoStream, audio: AudioStream | None) -> None:
        packet = cast("Packet[VideoStream]", self.clip_start.first.packet)
        origin = (packet.pts or 0) * packet.time_base
        for stream in (video, audio):
            if stream is not None:
                copy = self._output.add_stream_from_template(stream, opaque=True)
                copy.time_base = stream.time_base
                if stream is video and video.codec_context.codec.canonical_name == "hevc":
                    # QuickTime and Safari refuse HEVC with its parameter sets among the pictures
                    copy.codec_context.codec_tag = IN_BAND if _is_in_band(video) else "hvc1"
                self._streams[stream is video] = copy, _ticks(origin, stream)
        if audio is not None and _has_adts_headers(audio):
            self._strip = BitStreamFilterContext("aac_adtstoasc", audio)

    def note(self, event: MotionEvent) -> None:
        """Note motion that belongs to this clip."""
        larger = self.peak is None or event.peak > self.peak.peak
        if larger and event.peak_at >= self.clip_start.first.at:
            self.peak = event

    def write(self, entry: TimedPacket) -> None:
        """Append one packet; after an error nothing more is written, and `failed` has the reason.

        Packets that do not belong in this clip are left out: sound far from its picture, pictures of an
        open group that are shown before the first one and need earlier ones, and sound that is sent twice.
        """
        found = self._streams.get(entry.video)
        if found is None or self.failed or not self._belongs(entry):
            return
        stream, origin = found
        packet = cast("Packet[Any]", entry.packet)
        last = self._last.get(entry.video)
        pts = (packet.pts or 0) - origin
        dts = (packet.dts or 0) - origin if entry.video else pts
        if last is not None and dts <= last:
            if not entry.video:
                return
            # a camera whose clock stumbles by a tick must not end the clip
            dts = last + 1
        if last is not None and entry.video:
            self._step = dts - last
        copy: Packet[Any] = Packet(bytes(packet))
        copy.dts, copy.pts = dts, max(pts, dts)
        copy.duration, copy.time_base = packet.duration or 0, packet.time_base
        if not 0 <= copy.duration * copy.time_base <= (_GAP if entry.video else _FRAME_OF_SOUND):
            copy.duration = 0
        # a player begins with a keyframe, and with a gradual refresh no later one is whole
        copy.is_keyframe = packet.is_keyframe and not (entry.refresh and self.frames)
        copy.stream = stream
        self._last[entry.video] = dts
        if not entry.video:
            self._write_sound(copy, stream)
            return
        self._write_held()
        self._held = copy
        if self.clip_start.kind is not Kind.MOTION:
            # a timelapse has no reordered frames, and the next one may be hours away
            self._write_held()
        # players do not show a frame of no duration at the end, and raw streams state none
        self._end = max(self._end, copy.pts + (copy.duration or self._step))
        self.frames += 1

    def close(self) -> None:
        """Finish the file; after an error it is cut to its whole fragments."""
        if self._closed:
            return
        self._closed = True
        if self._held is not None and self._held.pts is not None:
            # the muxer ends a clip with the last packet, though an earlier one may be shown after it
            self._held.duration = max(self._end - self._held.pts, self._held.duration or 0)
        self._write_held()
        try:
            self._output.close()
        except (OSError, av.FFmpegError) as error:
            self.failed = self.failed or cause(error)
        self._release()
        if self.failed:
            with contextlib.suppress(FileNotFoundError):  # that it could not be opened may be the error
                cut(self.path)

    def _release(self) -> None:
        """Keep what publishing needs: with its outbox away a clip waits for days, and thousands with it."""
        self.lost = clip_rules.missing(sorted(self._moments))
        self._moments.clear()
        self._streams.clear()
        self._pcm = self._strip = None
        first = replace(self.clip_start.first, packet=None)
        self.clip_start = replace(self.clip_start, first=first)

    def _belongs(self, entry: TimedPacket) -> bool:
        """Whether a packet belongs in this clip; a muxer aborts the process if times are absurd."""
        first = self.clip_start.first
        if entry.video:
            last = self._order if self._order is not None else first.order
            plausible = abs(entry.order - last) <= _GAP and abs(entry.at - entry.order) <= _GAP
            # pictures before the first one are decoded and not shown: an edit list hides them
            self._has_begun = self._has_begun or entry.at >= first.at - _TICK
            if plausible:
                self._order = entry.order
            if plausible and self._has_begun:
                self._moments.append(entry.at)
            return plausible and (not self._has_begun or entry.at >= first.at - _TICK)
        shown = max(self._order if self._order is not None else first.order, first.at)
        return first.at - SOUND_APART <= entry.at <= shown + SOUND_APART

    def _write_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._mux(held)

    def _write_sound(self, packet: Packet[Any], stream: Stream) -> None:
        copy = self._pcm.fitted(packet) if self._pcm is not None else packet
        if copy is None:
            return
        try:
            made = self._strip.filter(copy) if self._strip else [copy]
        except (av.FFmpegError, ValueError):
            # a damaged frame of sound becomes a gap
            return
        for one in made:
            one.stream = stream
            self._mux(one)

    def _mux(self, packet: Packet[Any]) -> None:
        if self.failed:
            # an error may pass, and after a lost packet the others cannot be shown
            return
        is_sound = packet.stream.type == "audio"
        try:
            self._output.mux_one(packet)
        except (OSError, av.FFmpegError, ValueError) as error:
            if is_sound and isinstance(error, av.error.InvalidDataError):
                return
            self.failed = self.failed or cause(error)
            self.is_full = self.is_full or is_full(error)


def is_full(error: Exception) -> bool:
    """Whether something could not be written for lack of space."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _has_adts_headers(audio: AudioStream) -> bool:
    return audio.codec_context.name == "aac" and not audio.codec_context.extradata


def _is_in_band(video: VideoStream) -> bool:
    return video.codec_context.codec_tag == IN_BAND


def _ticks(origin: Fraction, stream: Stream) -> int:
    """The time of the clip's first frame, in the ticks of one stream."""
    base = stream.time_base
    return round(origin / base) if base else 0
