"""Which stream is watched for motion: the recorded one, or a second, smaller one of the same camera."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from msgspec.structs import replace

from camarchiver.motion.events import MotionEvent
from camarchiver.motion.sampler import SampledPicture
from camarchiver.record.capture.arrival_clock import ArrivalClock
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import CameraLost, Reader, StreamEnded, StreamOpened
from camarchiver.record.capture.source import Camera
from camarchiver.record.stream_detector import DetectionSettings, StreamDetector

_log = logging.getLogger("camarchiver.record.detection_stream")

_FILE_TIMEOUT = 30.0
"""Seconds to wait for a detection stream that comes as fast as it can be read."""
GIVEN_UP = 4
"""Refusals in a row, over a minute, after which a camera allows one session."""
DISPLACED = 15.0
"""Seconds after the opening of the detection stream within which it may be what ended the other one."""
DISPLACEMENTS = 3
"""How often in a row that is no coincidence: the camera ends a session when another one begins."""


def _follow(clock: ArrivalClock, entry: TimedPacket) -> None:
    """Add a frame by its decoding time, which never runs backwards."""
    clock.see(entry.order, entry.arrival)


class DetectionStream(Protocol):
    """Reports motion in seconds of the recorded stream's clock."""

    @property
    def open(self) -> MotionEvent | None:
        """The current motion, as known so far."""
        ...

    def begin(self, stream: StreamOpened) -> None:
        """Begin the recorded stream, also anew after its clock stepped."""
        ...

    def see(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """The events that end by the time of one packet of the recorded stream."""
        ...

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end of the stream cuts off."""
        ...

    def close(self) -> None:
        """Release the stream; no call follows."""
        ...


class OwnStream:
    """Watches the recorded stream itself."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._detector = StreamDetector(settings)

    @property
    def open(self) -> MotionEvent | None:
        """The current motion."""
        return self._detector.open

    def begin(self, stream: StreamOpened) -> None:
        """Watch the stream from here on."""
        self._detector.begin(stream.video.codec_context)

    def see(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """The events that one packet ends."""
        if entry.video:
            yield from self._detector.feed(entry)

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end cuts off."""
        yield from self._detector.finish()

    def close(self) -> None:
        """There is nothing to close."""


class OwnPictures:
    """Watches the small pictures that the camera makes beside its stream, so nothing is decoded."""

    def __init__(self, settings: DetectionSettings, pictures: deque[SampledPicture]) -> None:
        """`pictures` in order of arrival; each is removed when it is scored."""
        self._detector = StreamDetector(settings)
        self._pictures = pictures
        self._clock = ArrivalClock()

    @property
    def open(self) -> MotionEvent | None:
        """The current motion."""
        return self._detector.open

    def begin(self, stream: StreamOpened) -> None:
        """Watch from here on."""
        self._clock.clear()
        self._pictures.clear()
        self._detector.begin(None)

    def see(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """The events of the pictures that have come meanwhile."""
        if not entry.video:
            return
        _follow(self._clock, entry)
        while self._pictures:
            picture = self._pictures.popleft()
            shift = self._clock.distance or 0.0
            yield from self._detector.look(SampledPicture(picture.luma, picture.at + shift))

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end cuts off."""
        yield from self._detector.finish()

    def close(self) -> None:
        """There is nothing to close."""


class BesideStream:
    """Watches a second stream of the same camera, which may have another clock.

    Live streams are matched continuously by the arrival of their packets, since a camera may send stored
    packets at once and its clock may run wrongly. Files are matched by their first frames.

    It is opened after the recorded stream, which comes first if a camera allows one session only.
    """

    def __init__(self, settings: DetectionSettings, camera: Camera) -> None:
        self._detector = StreamDetector(settings)
        self._camera = camera
        self._reader: Reader | None = None
        self._clocks = ArrivalClock(), ArrivalClock()
        """The clocks of the recorded stream and of the detection stream."""
        self._recorded: TimedPacket | None = None
        """The packet of the recorded stream that is matched with `_first`."""
        self._first: TimedPacket | None = None
        self._last = 0.0
        """Time of the last packet seen of the detection stream."""
        self._stream: StreamOpened | None = None
        """The detection stream, while it is connected."""
        self._over = self._away = False
        self.is_refused = False
        """Whether the camera allows no second session, now or, after several attempts, at all."""
        self._refusals = 0
        """In a row."""
        self._opened: float | None = None
        """When it was opened, until one of the two streams ends; in seconds of the monotonic clock."""
        self._displaced = 0
        """How often one of the streams was lost soon after this one was opened, in a row."""

    @property
    def open(self) -> MotionEvent | None:
        """The current motion."""
        event = self._detector.open
        return None if event is None else self._shifted(event)

    def begin(self, stream: StreamOpened) -> None:
        """Begin the recorded stream's clock; the detection stream continues and is matched with it anew."""
        if self._reader is None and not self._over:
            self._reader = Reader(self._camera)
        if not stream.goes_on:
            self._note_end()
        if not stream.goes_on:
            self._recorded = self._first = None
            self._clocks[0].clear()
        if self._stream is not None:
            self._detector.begin(self._stream.video.codec_context)

    def see(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """Catch up with the recorded stream."""
        if not entry.video:
            return
        self._recorded = self._recorded or entry
        _follow(self._clocks[0], entry)
        while self._reader is not None and (self._camera.live or self._behind(entry)):
            item = self._reader.take(0.0 if self._camera.live else _FILE_TIMEOUT)
            match item:
                case None:
                    return
                case StreamOpened():
                    if self._away:
                        _log.warning("%s is back", self._camera.name)
                    self._away, self._stream = False, item
                    self.is_refused, self._refusals = False, 0
                    if not item.goes_on:
                        self._opened = time.monotonic()
                        self._first = None
                        self._clocks[1].clear()
                    elif self._first is not None:
                        yield from self.finish()
                    self._detector.begin(item.video.codec_context)
                case TimedPacket():
                    yield from self._watched(item)
                case CameraLost():
                    yield from self.finish()
                    self._stream = None
                    self._lose(item)
                case StreamEnded():
                    self._over, self._stream, self._reader = True, None, None
                    if item.error:
                        _log.error("%s: %s; no motion is seen", self._camera.name, item.error)
                    yield from self.finish()

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end cuts off."""
        yield from (self._shifted(event) for event in self._detector.finish())

    def close(self) -> None:
        """Leave the detection stream."""
        if self._reader is not None:
            self._reader.close()

    def _lose(self, lost: CameraLost) -> None:
        self._refusals = self._refusals + 1 if lost.refused else 0
        if lost.refused:
            self.is_refused = True
            if self._refusals >= GIVEN_UP:
                self._give_up()
        elif not self._away:
            _log.warning("%s is lost: %s; no motion is seen", self._camera.name, lost.reason)
        self._away = not lost.refused
        self._note_end()

    def _note_end(self) -> None:
        """Note that one of the two streams ended; they may end each other."""
        opened, self._opened = self._opened, None
        if opened is None or self._over:
            return
        self._displaced = self._displaced + 1 if time.monotonic() - opened < DISPLACED else 0
        if self._displaced >= DISPLACEMENTS:
            self.is_refused = True
            self._give_up()

    def _give_up(self) -> None:
        self.close()
        self._over, self._reader, self._stream = True, None, None

    def _watched(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        if entry.video:
            self._first = self._first or entry
            self._last = entry.at
            _follow(self._clocks[1], entry)
            yield from (self._shifted(event) for event in self._detector.feed(entry))

    def _behind(self, entry: TimedPacket) -> bool:
        return self._first is None or self._last + self._shift() < entry.at

    def _shift(self) -> float:
        recorded, watched = (clock.distance for clock in self._clocks)
        if self._camera.live and recorded is not None and watched is not None:
            return recorded - watched
        if self._first is None or self._recorded is None:
            return 0.0
        return self._recorded.at - self._first.at

    def _shifted(self, event: MotionEvent) -> MotionEvent:
        shift = self._shift()
        return replace(event, start=event.start + shift, end=event.end + shift, peak_at=event.peak_at + shift)


class BesideOrOwnStream:
    """Watches a second stream of the camera, and the recorded one while the camera refuses the second."""

    def __init__(self, settings: DetectionSettings, camera: Camera) -> None:
        self._beside, self._own = BesideStream(settings, camera), OwnStream(settings)
        self._name = camera.name
        self._stream: StreamOpened | None = None
        """The recorded stream."""
        self._is_own = self._waits = self._is_reported = False

    @property
    def open(self) -> MotionEvent | None:
        """The current motion, as known so far."""
        return self._own.open if self._is_own else self._beside.open

    def begin(self, stream: StreamOpened) -> None:
        """Begin the recorded stream."""
        self._stream = stream
        self._beside.begin(stream)
        if self._is_own:
            self._own.begin(stream)

    def see(self, entry: TimedPacket) -> Iterator[MotionEvent]:
        """The events that end by the time of one packet of the recorded stream."""
        yield from self._beside.see(entry)
        if self._beside.is_refused != self._is_own:
            yield from self._change()
        # a decoder begins with a keyframe
        self._waits = self._waits and not (entry.video and entry.key)
        if self._is_own and not self._waits:
            yield from self._own.see(entry)

    def finish(self) -> Iterator[MotionEvent]:
        """The events that the end of the stream cuts off."""
        yield from self._beside.finish()
        if self._is_own:
            yield from self._own.finish()

    def close(self) -> None:
        """Release the stream; no call follows."""
        self._beside.close()

    def _change(self) -> Iterator[MotionEvent]:
        self._is_own = self._waits = self._beside.is_refused
        if not self._is_own:
            yield from self._own.finish()
            return
        if self._stream is not None:
            self._own.begin(self._stream)
        if not self._is_reported:
            self._is_reported = True
            message = "%s: the camera allows no second session: motion is looked for in the recorded stream"
            _log.warning(message, self._name)
