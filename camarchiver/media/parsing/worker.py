"""Reads video files with PyAV: the jobs of the probe's worker process."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream as AvVideoStream
from msgspec.structs import replace

from camarchiver.errors import cause
from camarchiver.media.info import (
    UPRIGHT,
    Examined,
    HeaderInfo,
    KeyframeRequest,
    Media,
    Orientation,
    PictureComparison,
    PicturePosition,
)
from camarchiver.media.parsing import framing, pictures
from camarchiver.media.parsing.keyframe_analysis import KeyframeAnalysis
from camarchiver.media.parsing.keyframes import Complaints, Keyframes
from camarchiver.media.parsing.packet_digest import stream_digests
from camarchiver.media.parsing.packet_tally import (
    JoinDetector,
    PacketTally,
    audio_stream_of,
    span_of,
    unkeepable,
)
from camarchiver.media.parsing.packet_times import ShownTimes, shown_at_rate, ticks_per_frame
from camarchiver.media.parsing.streams import (
    NotParsed,
    codec_of,
    fraction,
    is_picture,
    orientation_of,
    other_streams,
    raw_rate_of,
    video_stream_of,
)
from camarchiver.media.verification.picture_rules import Grid, Pair
from camarchiver.naming.time_groups import LONGEST_SECONDS

Beat = Callable[[], None]
"""To be called with every packet, so that a long clip does not count as hanging."""
Answer = Media | Examined | HeaderInfo | PictureComparison | str

# Enough for the codec, the size and the duration of all but a few files, without decoding a frame.
_QUICK = {"probesize": "32", "analyzeduration": "1"}
# Otherwise opening a file decodes its first keyframe only for the pixel format.
_UNDECODED = {"skip_frame": "all"}
_OF_SCALING = frozenset({"swscaler"})
"""Sources of messages that say nothing about the file."""


def answer(job: str, path: Path, others: tuple[Any, ...], beat: Beat) -> Answer:
    """Do one of the jobs, with `others` as further arguments. A bad file raises only NotParsed."""
    av.logging.set_level(av.logging.ERROR)
    # Otherwise a count of repetitions would come with the messages about the next file.
    av.logging.set_skip_repeated(False)
    with av.logging.Capture(local=False) as complaints:
        try:
            return _JOBS[job](path, *others, beat)
        except BlockingIOError as error:
            # The demuxer's error for "nothing in here": a regular file is always ready to be read.
            raise NotParsed("damaged", "can't be read as a video: nothing in it can be decoded") from error
        except OSError as error:
            raise NotParsed("unreadable", f"can't be read: {cause(error)}") from error
        except av.FFmpegError as error:
            raise _unreadable(error, complaints) from error


def _unreadable(error: av.FFmpegError, complaints: Complaints) -> NotParsed:
    detail = complaints[0][2].strip() if complaints else cause(error)
    return NotParsed("damaged", f"can't be read as a video: {detail}")


def measure(path: Path, raw_rate: Fraction | None, beat: Beat) -> Media:
    """Read every packet, since a header may claim what the file no longer holds."""
    with _opened(path) as container:
        video = _first_video(container)
        rate = raw_rate_of(container, raw_rate)
        if not video.codec_context.pix_fmt:
            raise NotParsed("damaged", "has a video stream of unknown picture format")
        keyframes = Keyframes(video, every=False)
        tally = _read(path, container, video, beat, keyframes)
        if rate is not None:
            return _raw_media(container, video, tally, keyframes, rate)
        media = _media(container, video, tally, keyframes)
        if media.container == "dhav" and not media.unkeepable and not framing.chunks_fill_the_file(path):
            return replace(media, unkeepable="has bytes between its frames that no reader knows")
        return media


def examine(path: Path, request: KeyframeRequest | None, beat: Beat) -> Examined:
    """Read every packet and decode the keyframes, the cheapest proof that the pictures are there."""
    with av.logging.Capture(local=False) as complaints:
        try:
            return _examined(path, request, beat, complaints)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise
            raise _unreadable(error, complaints) from error


def _examined(path: Path, request: KeyframeRequest | None, beat: Beat, complaints: Complaints) -> Examined:
    with _opened(path, _UNDECODED) as container:
        video = _first_video(container)
        analysis = KeyframeAnalysis(request) if request is not None else None
        keyframes = Keyframes(video, every=True, analysis=analysis)
        tally = _read(path, container, video, beat, keyframes, analysis)
        flaw = keyframes.flaw([each for each in complaints if each[1] not in _OF_SCALING])
        if not video.codec_context.pix_fmt:
            raise NotParsed("damaged", flaw or "has a video stream of unknown picture format")
        media = _media(container, video, tally, keyframes)
        if analysis is None or flaw:
            return Examined(media, flaw)
        return Examined(media, flaw, replace(analysis.end(media), has_chapters=bool(container.chapters())))


def read_header(path: Path, beat: Beat) -> HeaderInfo:
    """Read the header, and the first frames only if the header doesn't say enough."""
    for options in (_QUICK, {}):
        with _opened(path, options) as container:
            video = _first_video(container)
            duration, tags = container.duration, _tags(container)
            if video.width and duration:
                break
    seconds = (duration or 0) / 1_000_000
    is_plausible = 0 < seconds <= LONGEST_SECONDS
    known = seconds if is_plausible else None
    return HeaderInfo(codec_of(video) or "", video.width, video.height, known, tags)


def compare(
    archive: Path, source: Path, pairs: Sequence[Pair], raw_rate: Fraction | None, beat: Beat
) -> PictureComparison:
    """Decode some pictures of both files at the same moments, and compare them."""
    try:
        # One after the other: the index of a clip of a day takes a quarter of a gigabyte.
        ours = _grids(archive, [pair.archive for pair in pairs], beat, look_ahead=True, raw_rate=None)
        theirs = _grids(source, [pair.source for pair in pairs], beat, look_ahead=False, raw_rate=raw_rate)
    except pictures.Missing as error:
        return PictureComparison(0, str(error))
    return pictures.compare(theirs, ours, pairs)


def _grids(
    path: Path,
    places: Sequence[PicturePosition],
    beat: Beat,
    *,
    look_ahead: bool,
    raw_rate: Fraction | None,
) -> list[Grid]:
    with ExitStack() as stack:

        def opened() -> tuple[InputContainer, AvVideoStream]:
            container = stack.enter_context(_opened(path, _UNDECODED))
            return container, _first_video(container)

        return pictures.grids(opened, places, beat, look_ahead=look_ahead, raw_rate=raw_rate)


def differs(one: Path, other: Path, orientation: Orientation, beat: Beat) -> str:
    """How two files differ in what they hold, chapters aside; empty if they do not.

    `orientation` is that of the first file's picture. Only a decoded frame has it, so none is decoded for an
    upright picture: a copy may lose a rotation, it does not make one.
    """
    with _opened(one, _UNDECODED) as first, _opened(other, _UNDECODED) as second:
        there = second.metadata
        lost = [key for key, value in first.metadata.items() if key != "encoder" and there.get(key) != value]
        if lost:
            return f"the tag {lost[0]} differs"
        if stream_digests(first, beat) != stream_digests(second, beat):
            return "its streams, packets or times differ"
    if orientation != UPRIGHT:
        with _opened(other) as second:
            frame = next(second.decode(_first_video(second)))
            return "" if orientation_of(frame) == orientation else "its orientation differs"
    return ""


_JOBS: dict[str, Callable[..., Answer]] = {
    "measure": measure,
    "examine": examine,
    "read_header": read_header,
    "compare": compare,
    "differs": differs,
}


def _read(
    path: Path,
    container: InputContainer,
    video: AvVideoStream,
    beat: Beat,
    keyframes: Keyframes,
    analysis: KeyframeAnalysis | None = None,
) -> PacketTally:
    """Every packet of the file, keyframes of its picture decoded."""
    tally = PacketTally(container, video)
    joints = JoinDetector(container, video)
    for packet in container.demux():
        beat()
        joints.look_at(packet)
        if packet.size and packet.stream.index in tally.sounds:
            tally.add_sound(packet)
        if packet.stream.index != video.index:
            continue
        if packet.size:
            tally.add(packet)
            # Other packets are not given to the decoder.
            if packet.is_keyframe:
                keyframes.take(packet)
            elif analysis is not None:
                analysis.add(packet)
        elif packet.dts is not None:
            tally.add_empty()
    joints.end()
    _refuse_if_incomplete(path, container, video, tally)
    tally.is_joined = joints.are_there
    return tally


def _media(
    container: InputContainer, video: AvVideoStream, tally: PacketTally, keyframes: Keyframes
) -> Media:
    is_delayed = pictures.is_untimed(container, video) and video.codec_context.reorder_depth > 0
    shown = tally.frame_times.shown(delay=video.codec_context.reorder_depth if is_delayed else 0)
    if shown is None:
        raise NotParsed("damaged", "has a video stream without timestamps")
    # If times are decoding times, only the first frame's equals its packet's position.
    keys = [moment - shown.first for moment in tally.keyframe_times[: 1 if is_delayed else None]]
    return _described(container, video, tally, keyframes, shown, keys)


def _raw_media(
    container: InputContainer,
    video: AvVideoStream,
    tally: PacketTally,
    keyframes: Keyframes,
    rate: Fraction,
) -> Media:
    """The contents of a stream without a container, at the declared rate."""
    tick = fraction(video.time_base) or Fraction(0)
    shown = shown_at_rate(tally.packets, ticks_per_frame(tick, rate))
    media = _described(container, video, tally, keyframes, shown, [0])
    # Without times, frames that are missing at the start can't be distinguished from later ones.
    headless = "begins without a keyframe" if tally.before_keyframe else ""
    stated = replace(media.video, frame_rate=rate)
    return replace(media, video=stated, raw_rate=rate, unkeepable=media.unkeepable or headless)


def _described(
    container: InputContainer,
    video: AvVideoStream,
    tally: PacketTally,
    keyframes: Keyframes,
    shown: ShownTimes,
    keyframe_times: Sequence[int],
) -> Media:
    kind, tick = container.format.name, fraction(video.time_base) or Fraction(0)
    return Media(
        container=kind,
        video=video_stream_of(
            video, keyframes.orientation, keyframes.hdr, is_interlaced=keyframes.is_interlaced
        ),
        video_streams=sum(not is_picture(stream) for stream in container.streams.video),
        audio=tuple(
            audio_stream_of(
                stream,
                tally.sounds[stream.index],
                float(shown.first * tick),
                varies=stream.index in tally.changing_sounds,
            )
            for stream in container.streams.audio
        ),
        other_streams=tuple(other_streams(container)),
        packets=tally.packets,
        keyframes=tally.keyframes,
        packets_before_keyframe=tally.before_keyframe,
        start=float(shown.first * tick),
        span=float(span_of(shown, tick)),
        tags=_tags(container),
        shown=tally.shown,
        times=shown.times,
        keyframe_times=tuple(keyframe_times),
        unkeepable=unkeepable(container, video, tally, shown),
        varies=keyframes.varies,
        signed=tally.signed,
        is_gradual=tally.is_gradual,
    )


def _tags(container: InputContainer) -> dict[str, str]:
    return {key.lower(): value for key, value in container.metadata.items()}


@contextmanager
def _opened(path: Path, options: dict[str, str] | None = None) -> Iterator[InputContainer]:
    status = path.lstat()
    # A FIFO would block for ever, and a link might lead out of the tree.
    if not stat.S_ISREG(status.st_mode):
        raise NotParsed("unreadable", "is not a regular file")
    if status.st_size == 0:
        raise NotParsed("damaged", "is empty")
    # PyAV 18 refuses tags that are not UTF-8 without this option; 19 always escapes them and has no option.
    version = int(av.__version__.split(".")[0])
    tags: dict[str, Any] = {"metadata_errors": "surrogateescape"} if version < 19 else {}
    # `file:` keeps names such as `concat:x.mp4` from being taken for a protocol.
    with av.open(f"file:{path}", options=options or {}, **tags) as container:
        yield container


def _first_video(container: InputContainer) -> AvVideoStream:
    videos = [stream for stream in container.streams.video if not is_picture(stream)]
    if not videos:
        raise NotParsed("not-video", "has no video stream")
    if codec_of(videos[0]) is None:
        raise NotParsed("not-video", "has a video stream of an unknown codec")
    return videos[0]


def _refuse_if_incomplete(
    path: Path, container: InputContainer, video: AvVideoStream, tally: PacketTally
) -> None:
    """Refuse losses that FFmpeg does not report, measured with 5.1 and 9.0."""
    kind = container.format.name
    if not tally.packets:
        raise NotParsed("damaged", "has a video stream without packets")
    if kind == "avi" and tally.missing_ticks(video.frames) * tally.packets >= video.frames:
        raise NotParsed("damaged", f"has {tally.packets} readable frames, its header says {video.frames}")
    if kind == "mpegts" and not framing.packets_fill_the_end(path):
        raise NotParsed("damaged", "ends in the middle of a transport packet or in padding")
    if kind == "asf" and not framing.packets_follow_in_asf(path):
        raise NotParsed("damaged", "has a hole between its packets")
    if "mp4" in kind and not framing.fragments_fill_the_file(path):
        raise NotParsed("damaged", "has a hole in or between its fragments")
