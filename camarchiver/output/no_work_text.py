"""What a run says that did nothing: what it left alone and why, and the option that would change it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from camarchiver.config import nearest
from camarchiver.domain.plan import Plan
from camarchiver.domain.reason import Reason
from camarchiver.output.text import left_alone, unread_line
from camarchiver.queries.find import MotionCounts
from camarchiver.runtime.formatting import count_of, shown

CAMERAS = 10
"""Cameras that are named if the one that was asked for is unknown."""

_NO_CLIPS = frozenset({Reason.NO_TIMESTAMP, Reason.NOT_A_CLIP, Reason.FOREIGN, Reason.PICTURE_ONLY})
"""The reasons of files that are no clips of a camera."""


def nothing_lines(plan: Plan[Any, Any]) -> Iterator[str]:
    """Why there is nothing to do."""
    left = [total for total in plan.totals if total.group.action == "keep"]
    if not left and not plan.unread_folders:
        yield f"nothing to do: no clip is left in {shown(plan.trees.source)}"
        return
    yield "nothing to do"
    yield from left_alone(left)
    if plan.unread_folders:
        yield unread_line(plan.unread_folders)


def has_no_clips(plan: Plan[Any, Any]) -> bool:
    """Whether there are files, but none of them is a camera's clip."""
    reasons = {total.group.reason for total in plan.totals}
    return bool(reasons) and reasons <= _NO_CLIPS and not plan.unread_folders


def wrong_folder(source: Path) -> str:
    """A source in which there is no clip and never was one."""
    return f"there is no clip below {shown(source)}: name the cameras' folder as DIRECTORY"


def without_motion(zone: str, known: Collection[str], counts: MotionCounts) -> Iterator[str]:
    """No clip with motion was found, in a zone or anywhere; `counts` are those of the other conditions."""
    if zone and zone not in known:
        listed = ", ".join(map(shown, known)) if known else "none"
        yield f"no camera has a zone {shown(zone)} (zones in the config: {listed}){nearest(zone, known)}"
        return
    yield f"no clip with motion{f' in {shown(zone)}' if zone else ''} was found"
    if not counts.clips:
        yield "  there is no clip at all with the other conditions"
    if counts.elsewhere:
        yield f"  {count_of(counts.elsewhere, 'clip')}: motion in other parts of the picture"
    if counts.quiet:
        yield f"  {count_of(counts.quiet, 'clip')}: nothing moves"
    if counts.unsure:
        yield (
            f"  {count_of(counts.unsure, 'clip')}: it is not certain whether anything moves;"
            " look at them (camarchiver page), or leave out --motion to list them"
        )
    if counts.unscored:
        yield (
            f"  {count_of(counts.unscored, 'clip')}: nothing looked for motion: not archived yet, or archived"
            " without OpenCV or by an older version (camarchiver page makes up for it)"
        )


def unknown_camera(camera: str, known: Collection[str]) -> str:
    """A camera that was asked for and never had a clip here."""
    listed = ", ".join(shown(name) for name in sorted(known)[:CAMERAS])
    more = f" and {len(known) - CAMERAS:,} more" if len(known) > CAMERAS else ""
    others = f"; cameras here: {listed}{more}" if known else ""
    return f"no clip of a camera {shown(camera)} was found{others}{nearest(camera, known)}"
