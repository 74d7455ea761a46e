"""Watches a stream for motion: packets in, events out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from av.video.codeccontext import VideoCodecContext
from msgspec import Struct

from camarchiver.domain.motion import View
from camarchiver.motion import events as motion_events
from camarchiver.motion.detector import Detector
from camarchiver.motion.events import MotionEvent, MotionState, Rules
from camarchiver.motion.planes import Luma
from camarchiver.motion.sampler import KeyframeSampler, SampledPicture, Sampler, VideoPacket
from camarchiver.record.capture.packet import TimedPacket


class DetectionSettings(Struct, frozen=True):
    """What the owner wants to be detected."""

    rules: Rules
    view: View
    keyframes: bool
    """Decode only keyframes, and other frames only until a suspicion is confirmed or dropped."""
    min_duration: float = 0.0
    """Seconds; shorter motion is ignored."""


class StreamDetector:
    """The detector with its sampler and its motion state; it learns its background once and keeps it."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._settings = settings
        self._detector = Detector(settings.rules, settings.view)
        self._motion_state = MotionState(settings.rules)
        self._sampler: Sampler | KeyframeSampler | None = None

    @property
    def open(self) -> MotionEvent | None:
        """The current motion, as known so far."""
        event = self._motion_state.open
        return event if event is not None and self._lasts(event) else None

    def begin(self, codec: VideoCodecContext | None) -> None:
        """Watch another stream, or the same one after its clock stepped; `finish` must be called before.

        Without a codec there is nothing to decode, and pictures come through `look`.
        """
        self._motion_state = MotionState(self._settings.rules)
        self._sampler = Sampler(codec) if codec is not None else None
        if self._settings.keyframes and codec is not None:
            self._sampler = KeyframeSampler(
                codec, suspicious=self._suspicious, motion_state=lambda: self._motion_state
            )

    def feed(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """The events that one packet ends."""
        if self._sampler is not None:
            yield from self._step(self._sampler, cast("VideoPacket", entry.packet))

    def look(self, picture: SampledPicture) -> Iterator[MotionEvent]:
        """The events that one picture ends."""
        score = self._detector.score(picture.luma, picture.at)
        self._motion_state, event = motion_events.step(self._motion_state, score, picture.at)
        if event is not None and self._lasts(event):
            yield event

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end of the stream ends or cuts off."""
        if self._sampler is not None:
            yield from self._step(self._sampler, None)
        last = motion_events.finish(self._motion_state)
        self._motion_state, self._sampler = MotionState(self._settings.rules), None
        if last is not None and self._lasts(last):
            yield last

    def _step(self, sampler: Sampler | KeyframeSampler, packet: VideoPacket | None) -> Iterator[MotionEvent]:
        for picture in sampler.feed(packet):
            yield from self.look(picture)

    def _lasts(self, event: MotionEvent) -> bool:
        return event.end - event.start >= self._settings.min_duration

    def _suspicious(self, luma: Luma) -> bool:
        return self._detector.peek(luma) >= self._settings.rules.min_area
