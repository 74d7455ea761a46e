"""One camera's motion clips: which packets each gets, from before the motion until after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import av

from camarchiver.errors import cause
from camarchiver.motion.events import MotionEvent
from camarchiver.record import clip_rules
from camarchiver.record.capture.packet import TimedPacket
from camarchiver.record.capture.reader import StreamOpened
from camarchiver.record.clip_rules import ClipAction, ClipState, RecordingLengths
from camarchiver.record.clips.preroll import PreRoll
from camarchiver.record.disk_guard import DiskGuard
from camarchiver.record.outbox import clip_writer
from camarchiver.record.outbox.clip_writer import ClipStart, ClipWriter
from camarchiver.record.outbox.publisher import ClipPublisher

LATE = 4.0
"""Seconds kept beyond the pre-roll, since motion is detected some time after it began."""
PREROLL_BYTES = 64 << 20
_LINGER = 1.0
"""Seconds of pictures for which an ended clip still takes the sound that belongs to it."""


class MotionClips:
    """Keeps the last seconds of a camera, and writes them and the following packets when there is motion."""

    def __init__(
        self,
        lengths: RecordingLengths,
        publisher: ClipPublisher,
        guard: DiskGuard,
        when: Callable[[TimedPacket], datetime],
        is_unsynced: Callable[[], bool],
    ) -> None:
        """`when` returns the local time of a packet, `is_unsynced` whether no time server set that clock."""
        self._lengths = lengths
        self._publisher = publisher
        self._guard = guard
        self._when = when
        self._is_unsynced = is_unsynced
        self._preroll = PreRoll(lengths.pre + lengths.confirm + LATE, PREROLL_BYTES)
        self._stream: StreamOpened | None = None
        self._state = ClipState(0.0, 0.0, 0.0)
        self._writer: ClipWriter | None = None
        self._ended: tuple[ClipWriter, float] | None = None
        """A clip that waits for the sound of its last frames, and the time at which it ends."""
        self._covered = float("-inf")
        """Motion up to this time needs no further clip; seconds of the source's own clock."""
        self._goes_on = False
        """The running clip ended with its picture format; the next keyframe continues it in another clip."""

    @property
    def is_recording(self) -> bool:
        """Whether a clip is being written."""
        return self._writer is not None

    @property
    def is_ready(self) -> bool:
        """Whether a clip could be begun: the pictures are known, and there is a keyframe to begin with."""
        return self._stream is not None and self._stream.is_known and not self._preroll.is_empty

    @property
    def writing(self) -> set[Path]:
        """The spool files of the clips that are not handed over yet."""
        writers = (self._writer, self._ended[0] if self._ended else None)
        return {writer.path for writer in writers if writer is not None}

    def begin(self, stream: StreamOpened) -> None:
        """Begin a stream, or a new clock of it; `finish` must be called before."""
        self._stream = stream
        self._preroll.clear()
        self._covered = float("-inf")
        self._goes_on = False

    def change(self, stream: StreamOpened, events: Sequence[MotionEvent], at: float) -> None:
        """Change the picture format with the next keyframe, at this time; `events` end with the old one."""
        for event in events:
            self._state = clip_rules.prolonged(self._state, event.end, self._lengths)
            self._note(event)
        self._goes_on = self._writer is not None
        self._retire(at)
        self._stream = stream
        self._preroll.clear()

    def take(self, entry: TimedPacket, events: list[MotionEvent]) -> None:
        """Process the next packet and the motion that is known with it."""
        self._preroll.push(entry)
        if self._goes_on and entry.video and entry.key:
            self._goes_on = False
            self._split(entry)
        if self._writer is not None:
            self._continue(self._writer, events, entry)
        elif self._perhaps_begin(events, entry):
            return
        self._settle(entry)

    def finish(self, events: Sequence[MotionEvent], last: TimedPacket | None) -> None:
        """End the running clip, with the stream or at a stop.

        `last` is the stream's last frame, None if no clip may begin any more.
        """
        if self._writer is None and last is not None:
            self._perhaps_begin(list(events), last)
        else:
            for event in events:
                self._note(event)
        self._retire(float("inf"))
        self._release()

    def try_out(self) -> str:
        """Write the pre-roll to a file and delete it; returns why that failed, or empty."""
        held = self._preroll.since(float("inf"))
        if self._stream is None or held is None:
            return ""
        first = held.shown[0]
        clip_start = ClipStart(self._when(first), first, first.at, 0.0)
        try:
            writer = ClipWriter(self._publisher.folders, clip_start, self._stream.video, self._stream.audio)
        except (OSError, av.FFmpegError, ValueError) as error:
            return cause(error)
        try:
            for entry in (*held.hidden, *held.shown):
                writer.write(entry)
            writer.close()
            return writer.failed
        finally:
            writer.path.unlink(missing_ok=True)

    def _perhaps_begin(self, events: list[MotionEvent], entry: TimedPacket) -> bool:
        """Begin a clip if there is motion, with everything that the pre-roll has of it."""
        lengths = self._lengths
        event = next((one for one in events if one.end + lengths.post > self._covered), None)
        if event is None or self._stream is None or not self._stream.is_known or not self._guard.is_there():
            return False
        trigger = max(event.start, self._covered)
        held = self._preroll.since(trigger - lengths.pre)
        if held is None:
            return False
        self._release()
        first = held.shown[0]
        self._state = clip_rules.prolonged(ClipState(first.at, first.at, trigger), events[-1].end, lengths)
        if not self._start(first, entry.at - trigger, held.hidden):
            return False
        for one in held.shown:
            self._write(one)
            self._note(event)
        return True

    def _continue(self, writer: ClipWriter, events: list[MotionEvent], entry: TimedPacket) -> None:
        for event in events:
            self._state = clip_rules.prolonged(self._state, event.end, self._lengths)
            self._note(event)
        if entry.video and entry.key and not self._guard.is_there():
            self._retire(entry.at)
            return
        self._write(entry)
        if writer.failed and self._writer is writer:
            self._guard.ended(f"the clip ends here: {writer.failed}", full=writer.is_full)
            self._retire(entry.at)

    def _write(self, entry: TimedPacket) -> None:
        """Write a packet to the clip that it belongs to; the running clip may end before it."""
        self._state, action = clip_rules.decide(self._state, entry, self._lengths)
        if action is not ClipAction.WRITE:
            self._covered = self._state.until if action is ClipAction.END else self._covered
            self._retire(entry.at)
        if action is ClipAction.SPLIT:
            self._split(entry)
        writer = self._writer
        if self._ended is not None and not entry.video and entry.at < self._ended[1]:
            writer = self._ended[0]
        if writer is not None:
            writer.write(entry)

    def _split(self, entry: TimedPacket) -> None:
        """Continue the ended clip in another one that begins with this keyframe."""
        state = self._state
        self._state = ClipState(entry.at, state.until, state.trigger, state.group, entry.at)
        self._start(entry, 0.0, self._preroll.before(entry))

    def _start(self, first: TimedPacket, latency: float, hidden: Sequence[TimedPacket]) -> bool:
        assert self._stream is not None
        clip_start = ClipStart(self._when(first), first, self._state.trigger, latency, self._is_unsynced())
        try:
            self._writer = ClipWriter(
                self._publisher.folders, clip_start, self._stream.video, self._stream.audio
            )
        except (OSError, av.FFmpegError, ValueError) as error:
            self._guard.ended(f"a clip can't be begun: {cause(error)}", full=clip_writer.is_full(error))
            return False
        self._guard.begun()
        for one in hidden:
            self._writer.write(one)
        return True

    def _note(self, event: MotionEvent) -> None:
        if self._writer is not None:
            self._writer.note(event)

    def _retire(self, at: float) -> None:
        """End the running clip at a time; its last sound may still arrive."""
        self._release()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._ended = writer, at
        if self._stream is None or self._stream.audio is None or writer.failed:
            self._release()

    def _settle(self, entry: TimedPacket) -> None:
        """Complete the ended clip's sound."""
        if self._ended is None:
            return
        writer, end = self._ended
        if entry.video or entry.at >= end:
            if not entry.video or entry.at > end + _LINGER:
                self._release()
        elif self._writer is None:
            writer.write(entry)

    def _release(self) -> None:
        """Have the ended clip closed and published while recording continues."""
        if self._ended is not None:
            self._publisher.hand_over(self._ended[0])
            self._ended = None
