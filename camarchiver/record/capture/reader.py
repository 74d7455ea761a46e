"""A thread that demuxes one camera and reconnects when it is lost."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from msgspec import Struct
from msgspec.structs import replace

from camarchiver.errors import CamarchiverError, cause, described
from camarchiver.record import retry
from camarchiver.record.capture import feed as capture_feed
from camarchiver.record.capture import packet_times
from camarchiver.record.capture.devices import h264_encoder
from camarchiver.record.capture.feed import SILENCE, AnyPacket, Feed
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.picture_clock import PictureClock
from camarchiver.record.capture.picture_format import PictureFormat
from camarchiver.record.capture.sound import formats
from camarchiver.record.capture.sound.clock import SoundClock
from camarchiver.record.capture.sound.formats import Uncompressed
from camarchiver.record.capture.source import Camera, FileCamera

if TYPE_CHECKING:
    from camarchiver.record.capture.sound.aac_encoder import AacEncoder

_log = logging.getLogger("camarchiver.record.capture.reader")

LONG_GROUP = 2.5
"""Seconds between two keyframes above which a camera's settings are wrong: the pre-roll grows by as much."""
WAITING = 1000
"""Packets that may wait for the recorder; more stay in the camera's own buffer."""
_JOIN_SECONDS = 1.0
"""Seconds to wait for the reader in addition to the silence that a camera is allowed."""
_FULL_SECONDS = 0.01
"""Seconds between two checks whether the recorder has taken an item."""


class StreamOpened(Struct, frozen=True):
    """The source was opened or reopened, or its format changed; the following items are independent."""

    video: VideoStream
    audio: AudioStream | None
    goes_on: bool = False
    """The source and its clock are the same: a keyframe described the pictures."""

    @property
    def is_known(self) -> bool:
        """Whether a clip can begin; some streams describe their pictures only with the first keyframe."""
        return bool(self.video.codec_context.width)


class CameraLost(Struct, frozen=True):
    """The camera was lost; the reader tries to reconnect."""

    reason: str
    refused: bool = False
    """The camera answered, and allowed no session."""


class StreamEnded(Struct, frozen=True):
    """The stream ended; no item follows."""

    error: str = ""
    """Empty if the source simply reached its end."""


StreamItem = StreamOpened | TimedPacket | CameraLost | StreamEnded


class Reader:
    """A thread that demuxes one camera and reconnects when it is lost."""

    def __init__(
        self, camera: Camera, *, encodes: bool = False, uncompressed: Uncompressed = Uncompressed.KEEP
    ) -> None:
        """`encodes`: video that no clip can hold as it is gets encoded as H.264.

        `uncompressed` is what happens to sound that mp4 can't hold.
        """
        self.camera = camera
        self._encodes = encodes
        self._uncompressed = uncompressed
        self._feed: Feed | None = None
        self._long_groups = 0
        self._sound_reported = False
        self._closed = threading.Event()
        self._items: queue.SimpleQueue[StreamItem] = queue.SimpleQueue()
        self._paced = isinstance(camera, FileCamera) and camera.realtime
        self._thread = threading.Thread(target=self._run, name=f"read {camera.name}", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> StreamItem | None:
        """The next item; None if there was none for `timeout` seconds."""
        try:
            return self._items.get(timeout=timeout) if timeout else self._items.get_nowait()
        except queue.Empty:
            # a bug must not leave the recorder waiting for ever
            return None if self._thread.is_alive() or self._items.qsize() else StreamEnded("its reader died")

    def close(self) -> None:
        """End the thread, and wait for it as long as a camera may be silent."""
        self._closed.set()
        if self._feed is not None:
            self._feed.interrupt()
        # a FIFO's reader waits for its writer and can't be interrupted
        self._thread.join(SILENCE + _JOIN_SECONDS if self.camera.reconnects else _JOIN_SECONDS)

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            seen = refused = False
            reason = "its stream ended"
            try:
                for item in self._session():
                    seen = seen or isinstance(item, TimedPacket)
                    self._put(item)
            except (OSError, av.FFmpegError, ValueError, CamarchiverError) as error:
                reason, refused = _message(error), isinstance(error, _REFUSALS)
                if not self.camera.reconnects:
                    self._put(StreamEnded(reason))
                    return
            except Exception as error:
                # whatever a camera sends, the reader reconnects
                _log.exception("%s can't be read on", self.camera.name)
                reason = described(error)
                if not self.camera.reconnects:
                    self._put(StreamEnded(reason))
                    return
            if not self.camera.reconnects:
                self._put(StreamEnded())
                return
            failures = 0 if seen else failures + 1
            self._put(CameraLost(reason, refused))
            self._closed.wait(retry.pause(failures, refused=refused))

    def _session(self) -> Iterator[StreamItem]:
        feed = self._feed = self._reached()
        error: Exception | None = None
        try:
            audio, encoder = self._sound_of(feed)
            yield StreamOpened(feed.video, audio)
            for item in self._watched(feed, audio):
                if isinstance(item, StreamOpened) or item.video:
                    yield item
                elif encoder is not None:
                    yield from encoder.encode(item)
                elif audio is not None:
                    yield item
        except (OSError, av.FFmpegError, ValueError) as broken:
            error = broken
        finally:
            self._feed = None
            complaint = feed.close()
        if error is not None and not (complaint and isinstance(error, av.FFmpegError)):
            raise error
        if complaint and not self._closed.is_set():
            raise ValueError(complaint)

    def _reached(self) -> Feed:
        feed = self.camera.open()
        if not self._encodes or feed.video.codec_context.codec.canonical_name in capture_feed.COPIED:
            return feed
        return h264_encoder.encoded(feed)

    def _sound_of(self, feed: Feed) -> tuple[AudioStream | None, AacEncoder | None]:
        """The sound that clips get, and what encodes it, if anything does."""
        audio = feed.audio
        if audio is None or formats.form_for(audio) == "mp4" or self._uncompressed is Uncompressed.KEEP:
            return audio, None
        if self._uncompressed is Uncompressed.DROP:
            return None, None
        from camarchiver.record.capture.sound.aac_encoder import AacEncoder

        try:
            encoder = AacEncoder(audio)
        except (av.FFmpegError, ValueError) as error:
            _log.warning("%s: its sound can't be encoded and is left out: %s", self.camera.name, cause(error))
            return None, None
        return encoder.stream, encoder

    def _watched(self, feed: Feed, audio: AudioStream | None) -> Iterator[StreamOpened | TimedPacket]:
        """The packets, with an `StreamOpened` before each keyframe that changes the picture format."""
        picture = PictureFormat(feed.video)
        for entry in self._entries(feed, picture):
            if entry.video:
                changed = picture.changed(cast("AnyPacket", entry.packet))
                if changed is not None:
                    yield StreamOpened(changed, audio, goes_on=True)
            yield entry

    def _entries(self, feed: Feed, picture: PictureFormat) -> Iterator[TimedPacket]:
        last_frame = time.monotonic()
        last_key: float | None = None
        pace = _Pace() if self._paced else None
        is_live = self.camera.live and not self._paced
        clock = PictureClock(self.camera.name) if is_live else None
        sound = SoundClock(live=is_live, related=not feed.guessed)
        for packet, arrival in packet_times.complete(feed.packets, guessed=feed.guessed):
            entry = _entry(packet, arrival, picture.refresh(packet))
            if feed.guessed and packet.has_sidedata("prft"):
                sound.reported(video=entry.video)
            if entry.video:
                entry = clock.timed(entry) if clock is not None else entry
                last_frame = entry.arrival
                # an RTP picture is known to be whole when the next one begins
                sound.picture(entry.at + (entry.length if feed.guessed else 0.0), entry.arrival)
                if clock is not None and clock.is_stuck:
                    sound.place_by_arrival()
                if entry.key:
                    self._check_group(entry.at - last_key if last_key is not None else 0.0)
                    last_key = entry.at
            elif self.camera.reconnects and entry.arrival - last_frame > SILENCE:
                raise ValueError(f"no frame for {SILENCE:.0f} s")
            elif (placed := self._placed(entry, sound)) is None:
                continue
            else:
                entry = placed
            if pace is not None:
                pace.wait(entry.order, self._closed)
                entry = replace(entry, arrival=time.monotonic())
            yield entry
            if self._closed.is_set():
                return

    def _placed(self, entry: TimedPacket, sound: SoundClock) -> TimedPacket | None:
        """A packet of sound at its place among the pictures; None if it has no place there."""
        shift = sound.sound(entry.order, entry.length, entry.arrival)
        if not self._sound_reported and self._encodes:
            if sound.off is not None:
                message = (
                    "%s: its sound has another clock (%.1f s off its pictures) and is placed by its arrival"
                )
                _log.warning(message, self.camera.name, sound.off)
                self._sound_reported = True
            elif shift is None and not self.camera.live:
                message = "%s: its sound is %.0f s off its pictures and is left out"
                _log.warning(message, self.camera.name, sound.ahead)
                self._sound_reported = True
        if not shift:
            return None if shift is None else entry
        return entry.moved(shift)

    def _check_group(self, seconds: float) -> None:
        """Warn once if keyframes are rare; a single long group may be a step of the camera's clock."""
        if seconds <= LONG_GROUP or not self._encodes:
            return
        self._long_groups += 1
        if self._long_groups == 2:
            message = "%s sends a keyframe only every %.0f s, and a clip begins with one: set it to every 2 s"
            _log.warning(message, self.camera.name, seconds)

    def _put(self, item: StreamItem) -> None:
        # SimpleQueue has no bound of its own, and is the one that costs little for each packet.
        while self._items.qsize() >= WAITING and not self._closed.wait(_FULL_SECONDS):
            pass
        self._items.put(item)


class _Pace:
    """Holds a file's packets back until their time has come."""

    def __init__(self) -> None:
        self._ahead: float | None = None

    def wait(self, at: float, closed: threading.Event) -> None:
        now = time.monotonic()
        if self._ahead is None:
            self._ahead = at - now
        if (pause := at - self._ahead - now) > 0:
            closed.wait(pause)


def _entry(packet: AnyPacket, arrival: float, refresh: int) -> TimedPacket:
    """The packet with what decisions need of it; it was read at `arrival`, by the monotonic clock."""
    # an exact quotient without a Fraction for each: this is done for every packet
    ticks, second = packet.time_base.as_integer_ratio()
    return TimedPacket(
        at=cast("int", packet.pts) * ticks / second,
        order=cast("int", packet.dts) * ticks / second,
        length=(packet.duration or 0) * ticks / second,
        video=packet.stream.type == "video",
        key=packet.is_keyframe,
        size=packet.size,
        arrival=arrival,
        packet=packet,
        refresh=refresh,
    )


_REFUSALS = (av.error.HTTPOtherClientError, av.error.HTTPServerError)
"""453 Not Enough Bandwidth, and what cameras answer in its place; not a wrong password or path."""


def _message(error: Exception) -> str:
    if isinstance(error, _REFUSALS):
        return "it allows no further session"
    if isinstance(error, av.error.ExitError):
        return f"no answer for {SILENCE:.0f} s"
    return cause(error)
