"""What the keyframes of a clip show: thumbnails, and what moves; runs in the probe's worker process."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from msgspec.structs import replace

from camarchiver.domain.motion import (
    MOST_SCORES,
    MOST_THUMBNAILS,
    ClipMotion,
    KeyframeFindings,
    KeyframeScore,
    ThumbnailStrip,
)
from camarchiver.errors import UsageError, cause, sentence
from camarchiver.media.info import KeyframeRequest, Media
from camarchiver.motion.activity import PacketTrust, activity_of
from camarchiver.motion.clip_motion import KeyframeChange, motion_in
from camarchiver.motion.events import Rules

if TYPE_CHECKING:
    from camarchiver.motion.keyframes import KeyframeDetector

WIDTH = 320
"""Pixels of a picture before it is rotated; the detector needs exactly these."""
_MOST_KEPT = 2 * MOST_THUMBNAILS
_QUALITY = "4"
"""Of the JPEGs, on ffmpeg's scale from 1 to 31, the best first: about 9 kB for a picture of 320x180."""


class KeyframeAnalysis:
    """Looks at each decoded keyframe once, in bounded memory."""

    def __init__(self, wanted: KeyframeRequest) -> None:
        self._wanted = wanted
        self._scaler = VideoReformatter()
        self._kept: list[tuple[float, VideoFrame]] = []
        self._every = 1
        self._seen = 0
        self._detector = _detector(wanted)
        self._note = ""
        """Why there is nothing to show."""
        self._changes: list[KeyframeChange] = []
        self._times = array("d")
        self._sizes = array("L")
        self._rotation = 0

    def add(self, packet: Packet[Stream]) -> None:
        """Note a packet that is no keyframe."""
        if self._wanted.trust is not PacketTrust.NOTHING and packet.pts is not None and not packet.is_discard:
            self._times.append(float(packet.pts * packet.time_base))
            self._sizes.append(packet.size)

    def add_keyframe(self, frame: VideoFrame, packet: Packet[Stream], aspect: Fraction) -> None:
        """Look at the frame of a keyframe; `aspect` is the width of its pixels relative to their height.

        A failure costs the thumbnails and the score, never the verdict on the file.
        """
        # A frame that the decoder yields only at its end has no time of its own.
        moment = packet.dts if packet.pts is None else packet.pts
        if moment is None or self._note:
            return
        at = float(moment * packet.time_base)
        try:
            small = self._scaled(frame, aspect)
            self._keep(at, small)
            if self._detector is not None:
                self._compare(self._detector, at, small)
        except (av.FFmpegError, UsageError) as error:
            self._note = sentence(error) if isinstance(error, UsageError) else cause(error)

    def _scaled(self, frame: VideoFrame, aspect: Fraction) -> VideoFrame:
        self._rotation = round(frame.rotation) % 360
        height = max(2, 2 * round(WIDTH * frame.height / (frame.width * aspect) / 2))
        # The detector sees brightness in the range of the recording, as it does in `record`.
        return self._scaler.reformat(
            frame, WIDTH, height, "yuv420p", interpolation=Interpolation.AREA, threads=1
        )

    def end(self, media: Media) -> KeyframeFindings:
        """All that was seen; `media` is the file's."""
        chosen = _spread(self._kept, media.start)
        if not chosen or self._note:
            return KeyframeFindings(note=self._note)
        try:
            shown = [self._in_full_range(small) for _, small in chosen]
            jpeg, width, height = _strip(shown, self._rotation)
        except av.FFmpegError as error:
            return KeyframeFindings(note=cause(error))
        times = tuple(round(at, 3) for at, _ in chosen)
        strip = ThumbnailStrip(width, height, times, _scores(self._changes, media.start))
        return KeyframeFindings(strip, jpeg, self._motion(media) if self._detector is not None else None)

    def _in_full_range(self, small: VideoFrame) -> VideoFrame:
        return self._scaler.reformat(small, format="yuvj420p", dst_color_range=ColorRange.JPEG, threads=1)

    def _keep(self, at: float, small: VideoFrame) -> None:
        if self._seen % self._every == 0:
            self._kept.append((at, small))
        self._seen += 1
        if len(self._kept) > _MOST_KEPT:
            del self._kept[1::2]
            self._every *= 2

    def _compare(self, detector: KeyframeDetector, at: float, small: VideoFrame) -> None:
        from camarchiver.motion.planes import luma_of

        change = detector.look(luma_of(small), at)
        if change is not None:
            self._changes.append(change)

    def _motion(self, media: Media) -> ClipMotion:
        video = media.video
        times = (at - media.start for at in self._times)
        found = activity_of(zip(times, self._sizes, strict=True), video.width * video.height)
        if self._wanted.trust is not PacketTrust.STILLNESS:
            found = replace(found, is_doubtful=True)
        view = self._wanted.view
        return motion_in(
            [_shifted(change, media.start) for change in self._changes],
            found,
            has_mask=bool(view.ignored or view.mask),
        )


def _detector(wanted: KeyframeRequest) -> KeyframeDetector | None:
    """None without OpenCV, which comes with the extra `record`."""
    # numpy's linear algebra is not used, but it keeps threads and memory once it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from camarchiver.motion.keyframes import KeyframeDetector
    except ImportError:
        return None
    return KeyframeDetector(Rules(), wanted.view)


def _shifted(change: KeyframeChange, start: float) -> KeyframeChange:
    return replace(change, start=change.start - start, end=change.end - start)


def _scores(changes: Sequence[KeyframeChange], start: float) -> tuple[KeyframeScore, ...]:
    """What each keyframe shows that the one before or the one after does not."""
    if not changes:
        return ()
    areas = {changes[0].start: changes[0].went}
    for change in changes:
        areas[change.start] = max(areas.get(change.start, 0.0), change.went)
        areas[change.end] = change.came
    scores = [KeyframeScore(round(max(at - start, 0.0), 2), round(area, 2)) for at, area in areas.items()]
    every = ceil(len(scores) / MOST_SCORES)
    return tuple(
        max(scores[at : at + every], key=lambda score: score.area) for at in range(0, len(scores), every)
    )


def _spread(kept: Sequence[tuple[float, VideoFrame]], start: float) -> list[tuple[float, VideoFrame]]:
    """At most MOST_PICTURES of one size, spread over the clip, with their times from its first frame."""
    same = [(max(at - start, 0.0), small) for at, small in kept if small.height == kept[0][1].height]
    if len(same) <= MOST_THUMBNAILS:
        return same
    return [same[round(at * (len(same) - 1) / (MOST_THUMBNAILS - 1))] for at in range(MOST_THUMBNAILS)]


def _strip(pictures: Sequence[VideoFrame], rotation: int) -> tuple[bytes, int, int]:
    """The pictures side by side as a JPEG, as a player shows them; width and height of each."""
    turned = [[_turned(plane, rotation) for plane in small.planes] for small in pictures]
    _, width, height = turned[0][0]
    whole = VideoFrame(width * len(pictures), height, "yuvj420p")
    for number, target in enumerate(whole.planes):
        parts = [planes[number] for planes in turned]
        padding = bytes(target.line_size - sum(columns for _, columns, _ in parts))
        rows = parts[0][2]
        target.update(
            b"".join(
                b"".join(data[row * columns : (row + 1) * columns] for data, columns, _ in parts) + padding
                for row in range(rows)
            )
        )
    return _jpeg(whole), width, height


def _turned(plane: VideoPlane, rotation: int) -> tuple[bytes, int, int]:
    """A plane's bytes without padding, turned anticlockwise by full quarters, and its columns and rows."""
    width, height = plane.width, plane.height
    data, line = bytes(plane), plane.line_size
    data = b"".join(data[row * line : row * line + width] for row in range(height))
    match rotation:
        case 90:
            return b"".join(data[column::width] for column in reversed(range(width))), height, width
        case 180:
            return data[::-1], width, height
        case 270:
            return b"".join(data[column::width][::-1] for column in range(width)), height, width
        case _:
            return data, width, height


def _jpeg(picture: VideoFrame) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
    encoder.time_base = Fraction(1)
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
    picture.pts, picture.time_base = 0, Fraction(1)
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
