"""What `status` prints: each camera's last clip, what needs attention, and what is stored where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from camarchiver.output.lists import ending
from camarchiver.output.reasons import REASON_WORDS
from camarchiver.policy import doubtful_clocks
from camarchiver.runtime.formatting import about, cells, count_of, padded, place_words, shown, size

if TYPE_CHECKING:
    from camarchiver.offsite.status import CopyCounts
    from camarchiver.queries.status_report import CameraStatus, DiskStatus, StatusReport
    from camarchiver.state.findings import Findings

SOON_FULL = timedelta(days=14)
"""A disk that is full sooner needs attention."""


def status_lines(report: StatusReport, now: datetime, zone: tzinfo) -> Iterator[str]:
    """A line for each camera, then what needs attention and how to fix it, then what is stored where."""
    yield from _last_clips(report, now, zone)
    attention = [*attention_lines(report, zone)]
    yield ""
    yield "needs attention:" if attention else "nothing needs attention"
    yield from (f"  {line}" for line in attention)
    if remarks := [*_remarks(report)]:
        yield ""
        yield from remarks
    yield ""
    yield from _table(report, zone)
    for disk in report.disks:
        yield disk_line(disk)
    yield from pass_lines(report.findings, zone)
    for remote, counts in report.offsite.items():
        yield copies_line(remote, counts, zone)
    if (last := report.last_run) is not None:
        yield f"last run: {shown(last.command)} {shown(last.run)}: {ending(last)}"


def copies_line(remote: str, counts: CopyCounts, zone: tzinfo) -> str:
    """How many archives have a verified off-site copy."""
    oldest = f", the oldest on {counts.oldest.astimezone(zone):%Y-%m-%d %H:%M}" if counts.oldest else ""
    of = f"{counts.verified:,} of {count_of(counts.archives, 'archive')}"
    return f"off-site at {shown(remote)}: a verified copy of {of}{oldest}"


def pass_lines(findings: Findings, zone: tzinfo) -> Iterator[str]:
    """When every archive was last checked."""
    for words, found in (("", findings.last_whole), ("decoded whole, ", findings.last_full)):
        if found is not None:
            yield (
                f"every archive verified, {words}on {found.at.astimezone(zone):%Y-%m-%d %H:%M}"
                f" by run {shown(found.run)} ({count_of(found.archives, 'archive')})"
            )
    if findings.last_whole is None:
        yield "the whole archive was never verified (camarchiver verify)"


def _last_clips(report: StatusReport, now: datetime, zone: tzinfo) -> Iterator[str]:
    if not report.cameras:
        yield "there is no clip in any tree: name the cameras' folder as DIRECTORY"
    width = max([0, *(cells(shown(camera.name)) for camera in report.cameras)])
    for camera in report.cameras:
        if camera.last is None:
            words = "no clip in source or archive"
        else:
            ago = about((now - camera.last).total_seconds())
            words = f"last clip {camera.last.astimezone(zone):%Y-%m-%d %H:%M}, {ago} ago"
        if camera.rhythm is not None:
            words += f", usually every {about(camera.rhythm.usual.total_seconds())}"
        stopped = ": STOPPED?" if camera.is_overdue else ""
        yield f"{padded(shown(camera.name), width)}  {words}{stopped}"


def _table(report: StatusReport, zone: tzinfo) -> Iterator[str]:
    width = max([6, *(cells(shown(camera.name)) for camera in report.cameras)])
    yield f"{'camera':{width}}  {'tree':7} {'clips':>9} {'hours':>8} {'size':>9}  oldest - newest"
    for camera in report.cameras:
        for tree, footage in (
            ("source", camera.source),
            ("archive", camera.archive),
            ("trash", camera.trash),
        ):
            if footage.clips:
                days = " - ".join(
                    f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (footage.oldest, footage.newest) if at
                )
                guess = "~" if footage.guessed else ""
                hours = f"{guess}{footage.seconds / 3600:.1f}" if footage.seconds else "?"
                yield (
                    f"{padded(shown(camera.name), width)}  {tree:7} {footage.clips:>9,}"
                    f" {hours:>8} {size(footage.size):>9}  {days}"
                )


def disk_line(disk: DiskStatus) -> str:
    """What is free, what arrives, and when the disk is full."""
    return f"free at {shown(disk.path)}: {size(disk.free)} of {size(disk.total)}; {_growth(disk)}"


def _growth(disk: DiskStatus) -> str:
    arrived = f"{size(disk.daily)} a day arrive"
    if (left := disk.days_until_full) is None:
        return f"{arrived}, and the trees don't grow"
    return f"{arrived}, {size(disk.net_daily)} a day stay: full in about {left:,.0f} days"


def attention_lines(report: StatusReport, zone: tzinfo) -> Iterator[str]:
    """What needs attention, each with its remedy."""
    where = place_words(report.trees)
    for camera in report.cameras:
        yield from _camera_lines(camera, zone, where)
    if damaged := report.findings.damaged:
        kinds = Counter(str(damage.flaw) for damage in damaged.values())
        counted = ", ".join(f"{count:,} {flaw}" for flaw, count in sorted(kinds.items()))
        yield (
            f"{count_of(len(damaged), 'archive')} found damaged ({counted}): none counts until it is repaired"
            f" or found sound (camarchiver verify {where} --known --repair)"
        )
    for remote, counts in report.offsite.items():
        if counts.lost:
            lost = count_of(counts.lost, "off-site copy", "off-site copies")
            yield f"{lost} at {shown(remote)} lost: made again by camarchiver offsite sync"
    if report.unnamed:
        files = count_of(report.unnamed, "file")
        yield f"{files} without a time in the name: never archived ([patterns] in the config file)"
    if report.other_formats:
        yield f"{count_of(report.other_formats, 'video')} of a format that is never archived"
    if report.rateless:
        found = count_of(report.rateless, "raw stream")
        yield f"{found} without a declared frame rate: never archived (--raw-rate)"
    if report.unreadable:
        found = count_of(report.unreadable, "file or folder", "files or folders")
        yield f"{found} can't be read (camarchiver doctor {where})"
    for disk in report.disks:
        if (left := disk.days_until_full) is not None and left < SOON_FULL.days:
            remedy = f"camarchiver cleanup {where} --dry-run"
            yield f"{shown(disk.path)} is full in about {left:.0f} days ({remedy})"


def _camera_lines(camera: CameraStatus, zone: tzinfo, where: str) -> Iterator[str]:
    name = shown(camera.name)
    if camera.is_overdue and camera.rhythm is not None:
        usual = about(camera.rhythm.usual.total_seconds())
        yield f"{name}: no new clip, although one usually comes every {usual}: check camera and upload"
    for start, end in camera.gaps:
        if camera.is_overdue and camera.last is not None and start >= camera.last:
            continue  # the line before said so
        span_of = f"{start.astimezone(zone):%Y-%m-%d %H:%M} - {end.astimezone(zone):%Y-%m-%d %H:%M}"
        yield f"{name}: nothing from {span_of}"
    for reason, count in sorted(camera.failed.items()):
        words = REASON_WORDS[reason]
        words = words if words == reason else f"{words} ({reason})"
        yield (
            f"{name}: {count_of(count, 'clip')} failed before: {words}; camarchiver find {where}"
            f" --state failed lists them, camarchiver archive {where} --retry-failed tries again"
        )
    if count := camera.clock_doubtful:
        words = "whose clock is doubtful: name and mtime are more than a day apart, or in the future"
        yield f"{name}: {count_of(count, 'clip')} {words}; {doubtful_clocks.REMEDY}"


def _remarks(report: StatusReport) -> Iterator[str]:
    """What the owner may want to know although nothing is wrong with it."""
    for camera in report.cameras:
        for count, words in ((camera.waiting, "to be archived by the next run"), (camera.held, "held")):
            if count:
                yield f"{shown(camera.name)}: {count_of(count, 'clip')} {words}"
        for reason, count in sorted(camera.unencoded.items()):
            words = f"not encoded: {REASON_WORDS[reason]} ({reason})"
            yield f"{shown(camera.name)}: {count_of(count, 'archive')} {words}"
    for kind, (count, path) in sorted(report.passed_over.items()):
        yield f"{count_of(count, 'folder')} passed over, {kind}: {shown(path)}" + (
            " and others" if count > 1 else ""
        )
    yield from report.working
