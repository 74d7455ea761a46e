"""One camera's recorder: it keeps motion, from before it begins until after it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import av
from msgspec import Struct

from camarchiver.errors import cause
from camarchiver.record import schedule
from camarchiver.record.capture.feed import SILENCE
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import CameraLost, Reader, StreamEnded, StreamItem, StreamOpened
from camarchiver.record.capture.sound import formats
from camarchiver.record.capture.sound.formats import Uncompressed
from camarchiver.record.capture.source import Camera
from camarchiver.record.clip_rules import RecordingLengths
from camarchiver.record.clips.motion_clips import MotionClips
from camarchiver.record.clips.timelapse import Timelapse
from camarchiver.record.detection_stream import DetectionStream
from camarchiver.record.disk_guard import DiskGuard
from camarchiver.record.outbox import clip_writer
from camarchiver.record.outbox.clip_writer import ClipWriter
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.watchdog import ENDED, CameraMonitor
from camarchiver.storage import linux

_log = logging.getLogger("camarchiver.record.recorder")

STEP_SECONDS = 10.0
"""A camera's clock that jumps forward by more was set, and a new clock begins."""
BACK_SECONDS = 1.0
"""The same for a jump back."""
MAINTENANCE_SECONDS = 3600.0
"""Between two rounds of maintenance."""
_TICK_SECONDS = 0.25
READY_SECONDS = 60.0
"""After this time an error is logged if a camera's pictures do not allow a clip to begin."""
RETRY_SECONDS = 60.0
"""Between two attempts to publish the clips that wait in the spool."""


class RecorderSettings(Struct, frozen=True):
    """The settings of one recorder."""

    lengths: RecordingLengths
    times: tuple[schedule.Range, ...]
    min_free: int
    """Bytes; with less on the spool's or the outbox's filesystem nothing is recorded."""
    duration: float | None
    """Seconds; None means no limit."""
    base: datetime | None
    """Time of the first frame, for a source whose packets do not arrive when they are made."""
    timelapse: float | None = None
    """Seconds between two frames of a timelapse; None for no timelapse."""
    uncompressed: Uncompressed = Uncompressed.KEEP
    """What happens to sound that mp4 can't hold."""


class Recorder:
    """Reads one camera until its stream ends, the time is up or a stop is requested."""

    def __init__(
        self,
        settings: RecorderSettings,
        camera: Camera,
        detection: DetectionStream,
        publisher: ClipPublisher,
        keeper: OutboxKeeper,
        watchdog: CameraMonitor,
        now: Callable[[], datetime],
    ) -> None:
        self.error = ""
        """Why the source ended; empty if it simply reached its end."""
        self.outages = 0
        self.frames = 0
        self._settings = settings
        self._camera = camera
        self._detection = detection
        self._publisher = publisher
        self._keeper = keeper
        self._watchdog = watchdog
        self._now = now
        self._stream: StreamOpened | None = None
        self._first: TimedPacket | None = None
        self._last: TimedPacket | None = None
        """The last frame."""
        self._passed = 0.0
        """Seconds recorded by the source's earlier clocks."""
        self._timelapse = Timelapse(settings.timelapse, publisher.folders) if settings.timelapse else None
        self._disk_guard = DiskGuard(camera.name, publisher.folders, settings.min_free, keeper.make_room)
        self._clips = MotionClips(
            settings.lengths, publisher, self._disk_guard, self._when, self._is_unsynced
        )
        self._away = False
        self._seen = time.monotonic()
        """Arrival of the last frame, in seconds of the monotonic clock."""
        self._ready = self._seen
        """The last time at which a clip could begin, by the same clock."""
        self._ready_reported = False
        self._tried = self._seen
        """The last attempt to publish waiting clips, by the same clock."""

    def run(self, stop: threading.Event) -> None:
        """Record; when this returns, every clip is complete in the outbox."""
        began = maintained = time.monotonic()
        self._maintain()
        reader = Reader(self._camera, encodes=True, uncompressed=self._settings.uncompressed)
        self._seen = time.monotonic()
        try:
            while not stop.is_set() and not self._time_is_up(began):
                item = reader.take(_TICK_SECONDS)
                if item is not None and not self._accept(item):
                    break
                self._check_state(item.arrival if isinstance(item, TimedPacket) else time.monotonic())
                if time.monotonic() - maintained > MAINTENANCE_SECONDS:
                    maintained = time.monotonic()
                    self._maintain()
        finally:
            self._watchdog.report(self._publisher.camera, ENDED, away=True)
            reader.close()
            self._break_off()
            self._end_timelapse()
            self._detection.close()
            self._publisher.close(hurry=stop.is_set())
            self._keeper.close(hurry=stop.is_set())

    def _check_state(self, now: float) -> None:
        """Handle what no packet announces: published clips and a silent camera.

        `now` is the arrival of the last processed packet, so a recorder that fell behind detects no silence.
        """
        self._publisher.collect()
        if self._publisher.waits and time.monotonic() - self._tried > RETRY_SECONDS:
            self._tried = time.monotonic()
            if self._disk_guard.outbox_is_there():
                self._publisher.retry()
        if self._disk_guard.may_try:
            self._try_out()
        if self._camera.live and not self._away and now - self._seen > SILENCE:
            self._outage(f"no frame for {SILENCE:.0f} s")
        doing = "no room" if self.is_full else "recording" if self._clips.is_recording else "watching"
        self._watchdog.report(self._publisher.camera, "lost" if self._away else doing, away=self._away)

    def _maintain(self) -> None:
        """Salvage the spool, expire the outbox, and check the free space."""
        self._publisher.salvage(self._writing())
        self._keeper.start_removals()
        self._disk_guard.is_there()

    @property
    def is_connected(self) -> bool:
        """Whether the camera is connected now."""
        return self._stream is not None and not self._away

    @property
    def last_frame(self) -> float | None:
        """Arrival of the camera's last frame, in seconds since 1970; None before the first."""
        ago = time.monotonic() - self._seen
        return self._now().timestamp() - ago if self.frames else None

    @property
    def refused(self) -> int:
        """How often recording stopped for lack of space."""
        return self._disk_guard.refused

    @property
    def is_full(self) -> bool:
        """Whether there is too little space to record now."""
        return self._disk_guard.is_full

    def _writing(self) -> set[Path]:
        writer = self._timelapse.writer if self._timelapse else None
        return self._clips.writing | ({writer.path} if writer is not None else set())

    def _time_is_up(self, began: float) -> bool:
        limit = self._settings.duration
        if limit is None:
            return False
        if self._camera.live:
            return time.monotonic() - began >= limit
        return self._media_time() >= limit

    def _media_time(self) -> float:
        """Seconds of the source that were read, over all its clocks."""
        if self._first is None or self._last is None:
            return self._passed
        return self._passed + self._last.order + self._last.length - self._first.order

    def _accept(self, item: StreamItem) -> bool:
        """Process one item; False at the end of the stream."""
        match item:
            case StreamOpened():
                self._begin(item)
            case TimedPacket():
                self._packet(item)
            case CameraLost():
                self._outage(item.reason)
            case StreamEnded():
                self.error = item.error
                return False
        return True

    def _begin(self, stream: StreamOpened) -> None:
        before, self._stream = self._stream, stream
        if stream.goes_on and before is not None and not self._away:
            self._change(stream, before)
            return
        if before is not None and not self._away:
            _log.warning("%s sends another picture: %s", self._camera.name, _picture(stream))
            self._break_off()
        if stream.audio is not None and formats.form_for(stream.audio) is None:
            _log.warning(
                "%s: its sound can't be kept as it is and is left out (see --g711)", self._camera.name
            )
        self._restart()

    def _change(self, stream: StreamOpened, before: StreamOpened) -> None:
        """The picture format changes or becomes known; the clock and the motion continue."""
        if before.is_known:
            _log.warning("%s sends another picture: %s", self._camera.name, _picture(stream))
        events = list(self._detection.finish())
        at = self._last.at + self._last.length if self._last is not None else 0.0
        self._clips.change(stream, events, at)
        self._detection.begin(stream)

    def _restart(self) -> None:
        """Begin with a new clock."""
        assert self._stream is not None
        self._passed = self._media_time()
        self._last = self._first = None
        self._ready = time.monotonic()
        self._clips.begin(self._stream)
        self._detection.begin(self._stream)

    def _outage(self, reason: str) -> None:
        self._break_off()
        if not self._away:
            self._away = True
            self.outages += 1
            _log.warning("%s is lost: %s; trying again", self._camera.name, reason)

    def _packet(self, entry: TimedPacket) -> None:
        if entry.video:
            if self._away:
                self._away = False
                _log.warning("%s is back", self._camera.name)
                self._restart()
            self._seen = entry.arrival
            if self._can_record(entry.arrival):
                self._watchdog.frame(self._publisher.camera)
            self.frames += 1
            step = entry.order - self._last.order if self._last else 0.0
            if not -BACK_SECONDS <= step <= STEP_SECONDS:
                _log.warning("%s: its clock stepped by %.1f s", self._camera.name, step)
                self._break_off()
                self._restart()
            self._last = entry
            self._first = self._first or entry
        if self._timelapse is not None and entry.key and entry.video and not entry.refresh:
            self._add_timelapse_frame(self._timelapse, entry)
        events = [*self._detection.see(entry)]
        if self._detection.open is not None:
            events.append(self._detection.open)
        if events and not schedule.includes(self._settings.times, self._when(entry)):
            events.clear()
        self._clips.take(entry, events)

    def _can_record(self, now: float) -> bool:
        """Whether motion would become a clip; only then does a frame feed the watchdog."""
        if self._clips.is_ready:
            self._ready, self._ready_reported = now, False
        elif now - self._ready > READY_SECONDS and not self._ready_reported:
            self._ready_reported = True
            message = "%s: no clip can be begun: for %.0f s no keyframe with their format came"
            _log.error(message, self._camera.name, now - self._ready)
        return not self._disk_guard.is_broken and now - self._ready <= READY_SECONDS

    def _try_out(self) -> None:
        """After a failed write, check whether writing works again before the next motion."""
        reason = self._clips.try_out()
        if reason:
            self._disk_guard.ended(reason, full=False)
        elif self._clips.is_ready:
            self._disk_guard.begun()

    def _add_timelapse_frame(self, timelapse: Timelapse, entry: TimedPacket) -> None:
        assert self._stream is not None
        when = self._when(entry)
        if not self._stream.is_known or not schedule.includes(self._settings.times, when):
            return
        if not self._disk_guard.is_there():
            return
        ended: ClipWriter | None = None
        try:
            ended = timelapse.add(entry, self._media_time(), when, self._stream)
        except (OSError, av.FFmpegError, ValueError) as error:
            reason = f"a timelapse can't be begun: {cause(error)}"
            self._disk_guard.ended(reason, full=clip_writer.is_full(error))
        if ended is None and timelapse.writer is not None and timelapse.writer.failed:
            self._disk_guard.ended(
                f"the timelapse ends here: {timelapse.writer.failed}", full=timelapse.writer.is_full
            )
            ended = timelapse.end()
        if ended is not None:
            self._publisher.hand_over(ended)

    def _end_timelapse(self) -> None:
        ended = self._timelapse.end() if self._timelapse is not None else None
        if ended is not None:
            self._publisher.hand_over(ended)

    def _break_off(self) -> None:
        """End the running clips, with the stream or at a stop."""
        events = list(self._detection.finish())
        last = self._last
        if last is not None and not schedule.includes(self._settings.times, self._when(last)):
            last = None
        self._clips.finish(events, last)

    def _is_unsynced(self) -> bool:
        return self._settings.base is None and linux.clock_is_synced() is False

    def _when(self, entry: TimedPacket) -> datetime:
        """Local time of a packet.

        It comes from the arrival, or from the source's clock if the source is read faster than live.
        """
        base = self._settings.base
        if base is not None:
            first = self._first or entry
            moment = base.timestamp() + self._passed + entry.at - first.at
            return datetime.fromtimestamp(moment, base.tzinfo)
        return self._now() - timedelta(seconds=time.monotonic() - entry.arrival)


def _picture(stream: StreamOpened) -> str:
    codec = stream.video.codec_context
    return f"{codec.codec.canonical_name}, {codec.width}x{codec.height}"
