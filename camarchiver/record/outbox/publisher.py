"""Closes, verifies and publishes ended clips while recording continues, and salvages leftovers."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import av
import cv2
from av.video.frame import VideoFrame

from camarchiver.errors import CamarchiverError, described, sentence
from camarchiver.naming import recorder_names
from camarchiver.naming.recorder_names import Kind
from camarchiver.record.outbox import spool
from camarchiver.record.outbox.clip_writer import ClipWriter
from camarchiver.record.outbox.folders import Folders
from camarchiver.record.outbox.recorded_clip import BoundedHistory, PublishTotals, Recorded
from camarchiver.record.outbox.spool import Unfit
from camarchiver.runtime import log_setup
from camarchiver.storage import atomic

_log = logging.getLogger("camarchiver.record.outbox.publisher")

_JPEG_QUALITY = 90
"""Of 100."""


class ClipPublisher:
    """One camera's spool and outbox; threads close and publish the clips one after the other."""

    def __init__(
        self, camera: str, folders: Folders, *, pictures: bool, on_clip: Callable[[Recorded], None]
    ) -> None:
        """`on_clip` is called with each clip, by `collect`."""
        self.clips: BoundedHistory[Recorded] = BoundedHistory()
        self.salvaged: BoundedHistory[Path] = BoundedHistory()
        self.totals = PublishTotals()
        self.folders = folders
        self.camera = camera
        self._pictures = pictures
        self._on_clip = on_clip
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="close")
        """Never touches the outbox: with a dead file server there, open files would become ever more."""
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._pending: list[tuple[ClipWriter, Future[Recorded]]] = []
        self._waiting: list[ClipWriter] = []
        """Clips that could not be moved because the outbox was away or full."""
        self._salvager = ThreadPoolExecutor(1, thread_name_prefix="salvage")
        self._salvaging: dict[Path, Future[Path | None]] = {}
        self._closed = threading.Event()
        self._reported: set[Path] = set()
        """Files for which an error was logged."""

    @property
    def waits(self) -> bool:
        """Whether a clip could not be moved into the outbox and is to be tried again."""
        return bool(self._waiting)

    def hand_over(self, writer: ClipWriter) -> None:
        """Queue an ended clip for publishing."""
        closed = self._closer.submit(writer.close)
        self._pending.append((writer, self._mover.submit(self._publish, writer, closed)))

    def retry(self) -> None:
        """Try again to move the clips that wait."""
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            self.hand_over(writer)

    def collect(self, *, wait: bool = False) -> None:
        """Collect the results. A clip that can't be moved waits; at the end, with `wait`, it failed."""
        for writer, future in list(self._pending):
            if not (wait or future.done()):
                continue
            self._pending.remove((writer, future))
            try:
                clip = future.result()
            except Exception as error:  # whatever is wrong with one clip, recording goes on
                if isinstance(error, OSError) and not wait:
                    self._let_wait(writer, error)
                    continue
                clip = _recorded(writer, writer.path, None, error=described(error))
                with log_setup.about(writer.path.name):
                    _log.error("%s was not published: %s", writer.path, clip.error, exc_info=_traced(error))
            self.clips.append(clip)
            self.totals = self.totals.with_clip(clip)
            self._on_clip(clip)
        for path, salvaged in list(self._salvaging.items()):
            if wait or salvaged.done():
                del self._salvaging[path]
                if not salvaged.cancelled() and (target := salvaged.result()) is not None:
                    self.salvaged.append(target)

    def _let_wait(self, writer: ClipWriter, error: OSError) -> None:
        self._waiting.append(writer)
        if writer.path not in self._reported:
            self._reported.add(writer.path)
            with log_setup.about(writer.path.name):
                _log.error("%s waits in the spool: %s", writer.path, sentence(error))

    def close(self, *, hurry: bool = False) -> None:
        """Wait until every clip is in its place; with `hurry` salvage is left to the next recorder."""
        self.retry()
        if hurry:
            self._closed.set()
        self.collect(wait=True)
        self._closer.shutdown()
        self._mover.shutdown()
        self._salvager.shutdown()

    def salvage(self, writing: set[Path]) -> None:
        """Begin to publish what dead recorders left in the spool, while recording continues."""
        busy = {
            *writing,
            *(writer.path for writer, _ in self._pending),
            *(writer.path for writer in self._waiting),
        }
        # listed now, since a clip that begins later is no leftover
        for path in sorted(set(self.folders.spool.glob("*.*")) - busy - set(self._salvaging)):
            if recorder_names.is_spool_name(path.name):
                self._salvaging[path] = self._salvager.submit(self._salvage, path)

    def _salvage(self, path: Path) -> Path | None:
        if self._closed.is_set():
            return None
        with log_setup.about(path.name):
            try:
                target = spool.salvage(path, self.folders.outbox)
            except Exception as error:  # likewise
                if path not in self._reported:
                    self._reported.add(path)
                    _log.error("%s was not salvaged: %s", path, described(error), exc_info=_traced(error))
                return None
            if target is not None:
                _log.warning("salvaged %s", target)
        return target

    def _publish(self, writer: ClipWriter, closed: Future[None]) -> Recorded:
        with log_setup.about(writer.path.name):
            closed.result()
            return self._published(writer)

    def _published(self, writer: ClipWriter) -> Recorded:
        if writer.failed and (atomic.is_missing(writer.path) or spool.is_empty(writer.path)):
            raise Unfit(f"{writer.path}: nothing of it was written: {writer.failed}")
        found = spool.read(writer.path, frames=None if writer.failed else writer.frames)
        picture = None
        if self._pictures and writer.clip_start.kind is Kind.MOTION:
            shown = writer.peak.peak_at if writer.peak else writer.clip_start.trigger
            picture = snapshot(writer.path, max(shown - writer.clip_start.first.at, 0.0))
        size = writer.path.stat().st_size
        stamp = recorder_names.stamp(writer.clip_start.start, writer.clip_start.kind)
        path = spool.publish(writer.path, stamp, found.seconds, self.folders.outbox, picture)
        clip = _recorded(writer, path, found)
        _log.info("%s", json.dumps({**clip.fields(), "camera": self.camera, "bytes": size}))
        return clip


def _traced(error: Exception) -> Exception | None:
    """The error itself if nobody expected it, so that the log has its traceback."""
    return None if isinstance(error, OSError | CamarchiverError) else error


def _recorded(
    writer: ClipWriter, path: Path, found: spool.SpoolContents | None, *, error: str = ""
) -> Recorded:
    clip_start = writer.clip_start
    return Recorded(
        path=path,
        start=clip_start.start,
        seconds=found.seconds if found else 0.0,
        frames=found.frames if found else writer.frames,
        lost=writer.lost,
        preroll=max(clip_start.trigger - clip_start.first.at, 0.0),
        latency=clip_start.latency,
        peak=writer.peak.peak if writer.peak else 0.0,
        zone=writer.peak.zone if writer.peak else "",
        published=found is not None,
        unsynced=clip_start.unsynced,
        error=error or writer.failed,
    )


def snapshot(path: Path, seconds: float) -> bytes | None:
    """The frame shown `seconds` after the first one, as JPEG; None if nothing decodes."""
    frame = _frame_at(path, seconds)
    if frame is None:
        return None
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"), quality)
    return data.tobytes() if done else None


def _frame_at(path: Path, seconds: float) -> VideoFrame | None:
    """A separate function, so that the decoder's pictures are freed before the frame is converted."""
    chosen = None
    # a damaged picture must not cost the clip
    with contextlib.suppress(av.FFmpegError), av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # each would hold pictures of its own
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        container.seek(int((start + seconds) * 1_000_000))
        for frame in container.decode(stream):
            chosen = frame
            if frame.time is not None and frame.time >= start + seconds - 1e-3:
                break
    return chosen
