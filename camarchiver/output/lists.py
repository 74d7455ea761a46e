"""What `find`, `runs`, `hold`, `clock`, `config show` and `record` list, as text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from camarchiver.runtime.formatting import cells, count_of, padded, shown, size, span

if TYPE_CHECKING:
    from camarchiver.domain.clip import Clip
    from camarchiver.domain.clocks import ClockCorrection
    from camarchiver.domain.hold import Hold
    from camarchiver.motion.events import MotionEvent
    from camarchiver.queries.find import FoundClip
    from camarchiver.record.outbox.recorded_clip import Recorded
    from camarchiver.state.run_history import RunRecord

_REMARKS = ("held", "failed", "damaged")
"""States that are named beside the trees."""


class ClipLines:
    """A line for each clip: start, camera, length, size, trees, path. Columns grow with what they hold."""

    def __init__(self, zone: str | None = None) -> None:
        """With a zone, or an empty name for the whole picture, a line begins with its time of motion."""
        self._zone = zone
        self._camera_width = 8
        self._trees_width = 7

    def line(self, clip: FoundClip) -> str:
        """One clip's line."""
        camera, (path, count) = shown(clip.camera), _place(clip)
        copies = ("offsite",) if clip.copies else ()
        here = dict.fromkeys(each.tree for each in clip.files if not each.is_missing)
        remarks = (each for each in _REMARKS if each in clip.states)
        where = ", ".join(filter(None, ("+".join((*here, *copies)), *remarks)))
        self._camera_width = max(self._camera_width, cells(camera))
        self._trees_width = max(self._trees_width, len(where))
        length = span(clip.seconds) if clip.seconds is not None else "?"
        camera = padded(camera, self._camera_width)
        moving = ""
        if self._zone is not None and clip.motion is not None:
            moving = f"{span(clip.motion.seconds(self._zone)):>9} in motion  "
        return (
            f"{moving}{clip.start:%Y-%m-%d %H:%M:%S}  {camera} {length:>9} {count:>8}"
            f"  {where:{self._trees_width}}  {shown(path)}"
        )


def _place(clip: FoundClip) -> tuple[str, str]:
    """The path of the best copy, or the object of an off-site one, and its size."""
    best = clip.files[0] if clip.files else None
    if best is not None and (not best.is_missing or not clip.copies):
        return best.path, "missing" if best.is_missing else size(best.size)
    return clip.copies[0].path, size(clip.copies[0].size)


def nearest_lines(before: FoundClip | None, after: FoundClip | None) -> Iterator[str]:
    """No clip covers a moment: the nearest ones."""
    yield "no clip covers that time"
    lines = ClipLines()
    for words, clip in (("the last one before:", before), ("the first one after:", after)):
        yield f"  {words} {lines.line(clip) if clip else 'there is none'}"


def run_lines(records: Iterable[RunRecord], zone: tzinfo) -> Iterator[str]:
    """A line for each run: start, id, command, outcome."""
    for each in records:
        results = ", ".join(f"{count:,} {name}" for name, count in sorted(each.results.items()))
        encoded = f"; archived {size(each.bytes_before)} -> {size(each.bytes_after)}" if each.encoded else ""
        yield (
            f"{each.started.astimezone(zone):%Y-%m-%d %H:%M}  {shown(each.run)}  {shown(each.command):8}"
            f"  {ending(each)}{': ' if results else ''}{shown(results)}{encoded}"
        )


def ending(run: RunRecord) -> str:
    """How a run ended."""
    if run.exit_code is None:
        return f"{shown(run.status)}: it is at work, or was killed before its report"
    return f"{shown(run.status)} (exit code {run.exit_code})"


def hold_line(hold: Hold, zone: tzinfo, now: datetime | None = None) -> str:
    """A hold, with a remark if it has expired by `now`."""
    until = f", until {hold.until.astimezone(zone):%Y-%m-%d %H:%M}" if hold.until else ""
    lapsed = "  (lapsed)" if now is not None and hold.until and hold.until <= now else ""
    camera = shown(hold.camera) or "all cameras"
    return f"{hold.id}  {_between(hold.start, hold.end, zone)}  {camera}  {shown(hold.reason)}{until}{lapsed}"


def covered_line(clips: int, cameras: Iterable[str]) -> str:
    """How many clips a new hold covers; if none, the cameras that recorded about then."""
    if clips:
        return f"it covers {count_of(clips, 'clip')} that {'is' if clips == 1 else 'are'} here now"
    others = ", ".join(map(shown, sorted(cameras)))
    return "it covers no clip that is here now" + (f"; about then recorded: {others}" if others else "")


def correction_line(made: ClockCorrection, zone: tzinfo) -> str:
    """A correction of a clock."""
    reason = f"  {shown(made.reason)}" if made.reason else ""
    return f"{made.id}  {_between(made.start, made.end, zone)}  {shown(made.camera)}  {made.word}{reason}"


def correction_effect(clips: Collection[Clip], zone: tzinfo) -> Iterator[str]:
    """What a correction says of the clips that it covers: the first and the last of them, and counts."""
    corrected = [(clip, clip.corrected) for clip in clips if clip.corrected is not None]
    for clip, recorded in corrected[:1] + corrected[1:][-1:]:
        yield f"{shown(clip.relative)}: recorded {_second(recorded, zone)}"
    yield f"{count_of(len(corrected), 'clip')} corrected"
    if rest := len(clips) - len(corrected):
        why = "the corrected time does not agree with the file's"
        yield f"{count_of(rest, 'clip')} left as before: {why}"


def setting_line(key: str, value: str, place: str) -> str:
    """A key of the config with its value, and where that comes from; commented out if it is not set."""
    setting = f"{key:14} = {value}" if value else f"# {key:12} ="
    return f"{setting:41} # {place if value else 'not set'}"


def recorded_line(clip: Recorded) -> str:
    """A clip that was recorded and published."""
    return f"{shown(clip.path)}: {clip.seconds:.1f} s, {clip.frames} frames"


def motion_line(event: MotionEvent) -> str:
    """A motion event, in seconds from the first frame."""
    zone = f", in {shown(event.zone)}" if event.zone else ""
    return f"{event.start:.1f} s to {event.end:.1f} s: {event.peak:.2f} % of the picture{zone}"


def _between(start: datetime, end: datetime, zone: tzinfo) -> str:
    return f"{_second(start, zone)} - {_second(end, zone)}"


def _second(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
