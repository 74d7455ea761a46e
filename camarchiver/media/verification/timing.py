"""Whether an archive shows every frame and plays every sound at its time: pure comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import gcd

from camarchiver.media.info import AudioStream, Media

_LONGEST_FRAME = 0.2
"""Seconds; avi may hold a whole second of uncompressed sound in a packet, which widens no tolerance."""
_OFFSET_SLACK = 0.025
"""Seconds that sound may move against the picture: less than is noticeable (ITU-R BT.1359), more than the
rounding of containers and of encoders that begin with a whole frame."""
_ROUNDING = 0.002
"""Seconds: matroska counts in milliseconds, so a start and an end are half of one off each."""
_START_SLACK = 1.0
"""Seconds that a microphone may run ahead of the picture: times count from the first of the two."""


def times_problem(source: Media, archive: Media, lost: int) -> str:
    """The first frame at a wrong time, of those after the `lost` ones at the source's start."""
    wanted, have = source.times, archive.times
    if len(wanted) - lost != len(have) or not have:
        return f"of {len(wanted) - lost} frames, {len(have)} have a presentation time in the archive"
    there, here = source.video.time_base, archive.video.time_base
    if not there or not here:
        return "the time base is unknown"
    if there == here and not lost and wanted == have:
        return ""
    # Both are counted in whole units of the same length, so that nothing is rounded.
    common = gcd(there.denominator, here.denominator)
    a, b = there.numerator * (here.denominator // common), here.numerator * (there.denominator // common)
    slack, first = max(a, b), wanted[lost] * a
    for index, moment in enumerate(have):
        if abs(wanted[index + lost] * a - first - moment * b) > slack:
            want = float((wanted[index + lost] - wanted[lost]) * there)
            return f"frame {index + 1} is shown after {float(moment * here):.3f} s instead of {want:.3f} s"
    return ""


def start_problem(source: Media, archive: Media, lost: int) -> str:
    """Why players would not find the start of the picture; empty if they do."""
    head = float((source.times[lost] - source.times[0]) * source.video.time_base) if lost else 0.0
    frame = source.span / max(source.shown, 1)
    if not -frame - _ROUNDING <= archive.start <= max(source.start, 0.0) + head + _START_SLACK:
        return f"the archive's picture starts at {archive.start:.3f} s, its source's at {source.start:.3f} s"
    return ""


def sound_problem(source: Media, archive: Media, lost: int) -> str:
    """The first stream whose sound is not heard at the source's times."""
    head = float((source.times[lost] - source.times[0]) * source.video.time_base) if lost else 0.0
    for number, (want, have) in enumerate(zip(source.audio, archive.audio, strict=True), start=1):
        if problem := _stream_problem(want, have, head):
            return f"audio stream {number} {problem}"
    return ""


def _stream_problem(want: AudioStream, have: AudioStream, head: float) -> str:
    if want.start is None or have.start is None:
        return "" if want.start == have.start else "has no sound in one of source and archive"
    start = want.start - head
    if not _starts_agree(want, have, start):
        return f"begins {have.start:+.3f} s from the picture instead of {start:+.3f} s"
    slack = min(max(want.frame, have.frame), _LONGEST_FRAME) + _ROUNDING
    # A difference before the first sound is priming, which was checked above.
    end = max(start + want.span, have.start + have.span)
    begin = max(start, have.start)
    for at, until in _unlike(_sounds(want, start), _sounds(have, have.start), begin, end):
        if until - at > slack:
            return f"differs for {until - at:.3f} s, {at - start:.3f} s after its start"
    return ""


def _starts_agree(want: AudioStream, have: AudioStream, start: float) -> bool:
    """Whether sound begins in time; priming is heard as silence if a container can't hide it.

    In that case a copy begins earlier by what the source hid; an encoded stream begins earlier by the frame
    that ffmpeg's AAC encoder needs, if the sound does not begin with the file.
    """
    assert have.start is not None
    heard = have.start - start
    hidden = 0.0 if have.primed else have.frame
    priming = want.primed - have.primed if want.codec == have.codec else hidden
    return abs(heard) <= _OFFSET_SLACK or abs(heard + priming) <= _OFFSET_SLACK


def _sounds(stream: AudioStream, start: float) -> list[float]:
    """Starts and ends of audible sound, in turn, in seconds from the first picture."""
    return [start, *(start + each for each in stream.gaps), start + stream.span]


def _unlike(
    one: Sequence[float], other: Sequence[float], begin: float, end: float
) -> Iterator[tuple[float, float]]:
    """The intervals between `begin` and `end` in which only one of the two is heard."""
    edges = sorted({begin, end, *(each for each in (*one, *other) if begin < each < end)})
    at_one = at_other = 0
    since: float | None = None
    for edge in edges:
        while at_one < len(one) and one[at_one] <= edge:
            at_one += 1
        while at_other < len(other) and other[at_other] <= edge:
            at_other += 1
        differ = at_one % 2 != at_other % 2
        if differ and since is None:
            since = edge
        elif not differ and since is not None:
            yield since, edge
            since = None
    if since is not None:
        yield since, end
