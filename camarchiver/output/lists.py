"""What `find` and `runs` list, as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from camarchiver.queries.find import FoundClip
from camarchiver.runtime.formatting import cells, padded, shown, size, span
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
        trees = "+".join((*dict.fromkeys(each.tree for each in clip.files), *copies))
        remarks = "".join(f", {each}" for each in _REMARKS if each in clip.states)
        where = trees + remarks
        self._camera_width = max(self._camera_width, cells(camera))
        self._trees_width = max(self._trees_width, len(where))
        length = span(clip.seconds) if clip.seconds is not None else "?"
        camera = padded(camera, self._camera_width)
        moving = ""
        if self._zone is not None and clip.motion is not None:
            moving = f"{span(clip.motion.seconds(self._zone)):>9} in motion  "
        return (
            f"{moving}{clip.start:%Y-%m-%d %H:%M:%S}  {camera} {length:>9} {size(count):>8}"
            f"  {where:{self._trees_width}}  {shown(path)}"
        )


def _place(clip: FoundClip) -> tuple[str, int]:
    """The path of the best copy, or the object of an off-site one, and its bytes."""
    if clip.files:
        return clip.files[0].path, clip.files[0].size
    return clip.copies[0].path, clip.copies[0].size


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
