"""One camera's recorder: what moves is kept, from before it began until after it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import av

from camarchiver.errors import cause
from camarchiver.motion.events import MotionEvent
from camarchiver.record import clip_rules, schedule
from camarchiver.record.capture.feed import SILENCE
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import Item, Lost, Opened, Reader, StreamEnded
from camarchiver.record.capture.source import Camera
from camarchiver.record.clip_rules import ClipAction, ClipState, Lengths
from camarchiver.record.detection_stream import DetectionStream
from camarchiver.record.disk_guard import DiskGuard
from camarchiver.record.outbox import spool
from camarchiver.record.outbox.keeper import OutboxKeeper
from camarchiver.record.outbox.publisher import ClipPublisher
from camarchiver.record.outbox.spool import ClipStart, ClipWriter
from camarchiver.record.preroll import PreRoll
from camarchiver.record.timelapse import Timelapse
from camarchiver.record.watchdog import Watchdog
from camarchiver.storage import linux

_log = logging.getLogger("camarchiver.record.recorder")

LATE = 4.0
"""Seconds that the ring holds beyond the pre-roll: motion is noticed some time after it began."""
RING_BYTES = 64 << 20
STEP = 10.0
"""Seconds; a camera's clock that jumps by more was set, and begins anew."""
BACK = 1.0
"""The same, where it jumps back."""
TEND = 3600.0
"""Seconds between two looks at what lies in the spool."""
_TICK = 0.25
_LINGER = 1.0
"""Seconds of pictures for which an ended clip still takes the sound that belongs to it."""


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What one recorder is to do."""

    lengths: Lengths
    times: tuple[schedule.Range, ...]
    min_free: int
    """Bytes; with less on the spool's or the outbox's filesystem nothing is recorded."""
    duration: float | None
    """Seconds; None for ever."""
    base: datetime | None
    """When the first frame was, where the arrival of packets doesn't tell."""
    timelapse: float | None = None
    """Seconds between two frames of a timelapse; None for none."""


class Recorder:
    """Reads one camera until it ends, the time is up or a stop is asked for."""

    def __init__(
        self,
        settings: RecorderSettings,
        camera: Camera,
        lookout: DetectionStream,
        delivery: ClipPublisher,
        upkeep: OutboxKeeper,
        vigil: Watchdog,
        now: Callable[[], datetime],
    ) -> None:
        self.error = ""
        """Why the source ended; empty where it just came to its end."""
        self.outages = 0
        self.frames = 0
        self._settings = settings
        self._camera = camera
        self._lookout = lookout
        self._delivery = delivery
        self._upkeep = upkeep
        self._vigil = vigil
        self._now = now
        self._ring = PreRoll(settings.lengths.pre + LATE, RING_BYTES)
        self._stream: Opened | None = None
        self._first: TimedPacket | None = None
        self._last: TimedPacket | None = None
        """The last frame."""
        self._passed = 0.0
        """Seconds recorded by clocks that the source had before."""
        self._lapse = Timelapse(settings.timelapse, delivery.folders) if settings.timelapse else None
        self._reel = ClipState(0.0, 0.0, 0.0)
        self._take: ClipWriter | None = None
        self._ended: tuple[ClipWriter, float] | None = None
        """A clip that waits for the sound of its last frames, and where it ends."""
        self._covered = float("-inf")
        """Until when motion needs no further clip, in seconds of the source's own clock."""
        self._away = False
        self._seen = time.monotonic()
        """When the last frame came, in seconds of the monotonic clock."""
        self._room = DiskGuard(camera.name, delivery.folders, settings.min_free, upkeep.make_room)

    def run(self, stop: threading.Event) -> None:
        """Record; every clip is whole in the outbox when it returns."""
        began = tended = time.monotonic()
        self._tend()
        reader = Reader(self._camera, encodes=True)
        self._seen = time.monotonic()
        try:
            while not stop.is_set() and not self._time_is_up(began):
                item = reader.take(_TICK)
                if item is not None and not self._accept(item):
                    break
                self._look_around(item.arrival if isinstance(item, TimedPacket) else time.monotonic())
                if time.monotonic() - tended > TEND:
                    tended = time.monotonic()
                    self._tend()
        finally:
            self._vigil.tell(self._delivery.camera, "ended", away=True)
            reader.close()
            self._break_off()
            self._end_lapse()
            self._lookout.close()
            self._delivery.close()
            self._upkeep.close(hurry=stop.is_set())

    def _look_around(self, now: float) -> None:
        """See to what no packet tells: clips that were published, a camera that is silent.

        `now` is when the last packet came that was taken: a recorder that fell behind sees no silence.
        """
        self._delivery.collect()
        if self._camera.live and not self._away and now - self._seen > SILENCE:
            self._outage(f"no frame for {SILENCE:.0f} s")
        doing = "no room" if self.is_full else "recording" if self._take else "watching"
        self._vigil.tell(self._delivery.camera, "lost" if self._away else doing, away=self._away)

    def _tend(self) -> None:
        """See to what lies in the spool and in the outbox, and whether there is room for more."""
        self._delivery.salvage(self._writing())
        self._upkeep.tend()
        self._room.is_there()

    @property
    def is_connected(self) -> bool:
        """Whether the camera is there now."""
        return self._stream is not None and not self._away

    @property
    def last_frame(self) -> float | None:
        """When the camera's last frame came, in seconds since 1970; None before the first."""
        ago = time.monotonic() - self._seen
        return self._now().timestamp() - ago if self.frames else None

    @property
    def refused(self) -> int:
        """How often recording stopped for want of room."""
        return self._room.refused

    @property
    def is_full(self) -> bool:
        """Whether there is too little room to record now."""
        return self._room.is_full

    def _writing(self) -> set[Path]:
        lapse = self._lapse.take if self._lapse else None
        takes = (self._take, self._ended[0] if self._ended else None, lapse)
        return {take.path for take in takes if take is not None}

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

    def _accept(self, item: Item) -> bool:
        """Take one item; False at the end."""
        match item:
            case Opened():
                self._begin(item)
            case TimedPacket():
                self._packet(item)
            case Lost():
                self._outage(item.reason)
            case StreamEnded():
                self.error = item.error
                return False
        return True

    def _begin(self, stream: Opened) -> None:
        if self._stream is not None and not self._away:
            _log.warning("%s sends another picture: %s", self._camera.name, _picture(stream))
            self._break_off()
        if stream.audio is not None and not spool.carries(stream.audio):
            _log.warning("%s: its sound can't be kept in mp4 and is left out", self._camera.name)
        self._stream = stream
        self._restart()

    def _restart(self) -> None:
        """Begin with a new clock."""
        assert self._stream is not None
        self._passed = self._media_time()
        self._ring.clear()
        self._last = self._first = None
        self._covered = float("-inf")
        self._lookout.begin(self._stream)

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
            self._vigil.frame(self._delivery.camera)
            self.frames += 1
            step = entry.order - self._last.order if self._last else 0.0
            if not -BACK <= step <= STEP:
                _log.warning("%s: its clock stepped by %.1f s", self._camera.name, step)
                self._break_off()
                self._restart()
            self._last = entry
            self._first = self._first or entry
        self._ring.push(entry)
        if self._lapse is not None and entry.key and entry.video:
            self._lapse_frame(self._lapse, entry)
        events = [*self._lookout.see(entry)]
        if self._lookout.open is not None:
            events.append(self._lookout.open)
        if events and not schedule.holds(self._settings.times, self._when(entry)):
            events.clear()
        if self._take is not None:
            self._continue(self._take, events, entry)
        elif self._perhaps_begin(events, entry):
            return
        self._settle(entry)

    def _lapse_frame(self, lapse: Timelapse, entry: TimedPacket) -> None:
        assert self._stream is not None
        when = self._when(entry)
        if not schedule.holds(self._settings.times, when) or not self._room.is_there():
            return
        ended: ClipWriter | None = None
        try:
            ended = lapse.add(entry, self._media_time(), when, self._stream)
        except (OSError, av.FFmpegError) as error:
            self._room.ended(f"a timelapse can't be begun: {cause(error)}")
        if ended is None and lapse.take is not None and lapse.take.failed:
            self._room.ended(f"the timelapse ends here: {lapse.take.failed}")
            ended = lapse.end()
        if ended is not None:
            self._delivery.hand_over(ended)

    def _end_lapse(self) -> None:
        ended = self._lapse.end() if self._lapse is not None else None
        if ended is not None:
            self._delivery.hand_over(ended)

    def _perhaps_begin(self, events: list[MotionEvent], entry: TimedPacket) -> bool:
        """Begin a clip where there is motion, with everything that the ring holds of it."""
        lengths = self._settings.lengths
        event = next((one for one in events if one.end + lengths.post > self._covered), None)
        if event is None or not self._room.is_there():
            return False
        trigger = max(event.start, self._covered)
        held = self._ring.since(trigger - lengths.pre)
        if not held:
            return False
        self._release()
        self._reel = clip_rules.prolonged(ClipState(held[0].at, held[0].at, trigger), events[-1].end, lengths)
        if not self._start_take(held[0], entry.at - trigger):
            return False
        for one in held:
            self._write(one)
            self._note(event)
        return True

    def _continue(self, take: ClipWriter, events: list[MotionEvent], entry: TimedPacket) -> None:
        for event in events:
            self._reel = clip_rules.prolonged(self._reel, event.end, self._settings.lengths)
            self._note(event)
        if entry.key and not self._room.is_there():
            self._retire(entry.at)
            return
        self._write(entry)
        if take.failed and self._take is take:
            self._room.ended(f"the clip ends here: {take.failed}")
            self._retire(entry.at)

    def _write(self, entry: TimedPacket) -> None:
        """Give a packet to the clip that it belongs to; the running one may end before it."""
        self._reel, do = clip_rules.decide(self._reel, entry, self._settings.lengths)
        if do is not ClipAction.WRITE:
            self._covered = self._reel.until if do is ClipAction.END else self._covered
            self._retire(entry.at)
        if do is ClipAction.SPLIT:
            self._reel = ClipState(entry.at, self._reel.until, self._reel.trigger, self._reel.group, entry.at)
            self._start_take(entry, 0.0)
        take = self._take
        if self._ended is not None and not entry.video and entry.at < self._ended[1]:
            take = self._ended[0]
        if take is not None:
            take.write(entry)

    def _start_take(self, first: TimedPacket, latency: float) -> bool:
        assert self._stream is not None
        unsynced = self._settings.base is None and linux.clock_is_synced() is False
        label = ClipStart(self._when(first), first, self._reel.trigger, latency, unsynced)
        try:
            self._take = ClipWriter(self._delivery.folders, label, self._stream.video, self._stream.audio)
        except (OSError, av.FFmpegError) as error:
            self._room.ended(f"a clip can't be begun: {cause(error)}")
            return False
        self._room.begun()
        return True

    def _note(self, event: MotionEvent) -> None:
        if self._take is not None:
            self._take.note(event)

    def _retire(self, at: float) -> None:
        """End the running clip at a time; its last sound may still be on its way."""
        self._release()
        take, self._take = self._take, None
        if take is None:
            return
        self._ended = take, at
        if self._stream is None or self._stream.audio is None or take.failed:
            self._release()

    def _settle(self, entry: TimedPacket) -> None:
        """Complete the ended clip's sound."""
        if self._ended is None:
            return
        take, end = self._ended
        if entry.video or entry.at >= end:
            if not entry.video or entry.at > end + _LINGER:
                self._release()
        elif self._take is None:
            take.write(entry)

    def _release(self) -> None:
        """Let the ended clip be closed and published, beside the recording."""
        if self._ended is not None:
            self._delivery.hand_over(self._ended[0])
            self._ended = None

    def _break_off(self) -> None:
        """End what runs, with the stream or at a stop."""
        events = list(self._lookout.finish())
        if self._take is None and self._last is not None:
            if schedule.holds(self._settings.times, self._when(self._last)):
                self._perhaps_begin(events, self._last)
        else:
            for event in events:
                self._note(event)
        self._retire(float("inf"))
        self._release()

    def _when(self, entry: TimedPacket) -> datetime:
        """Local time of a packet, from its arrival, or from the source's clock where it comes faster."""
        base = self._settings.base
        if base is not None:
            first = self._first or entry
            moment = base.timestamp() + self._passed + entry.at - first.at
            return datetime.fromtimestamp(moment, base.tzinfo)
        return self._now() - timedelta(seconds=time.monotonic() - entry.arrival)


def _picture(stream: Opened) -> str:
    codec = stream.video.codec_context
    return f"{codec.codec.canonical_name}, {codec.width}x{codec.height}"
