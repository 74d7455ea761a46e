"""The results of a run as numbers, with the names under which Prometheus knows them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from camarchiver.domain.plan import Total, action_of
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Report
from camarchiver.errors import ExitCode

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""

SECONDS_PER_DAY = 86_400

# Counters grow from run to run, in the file; gauges describe the last run, or the present.
HELP: Mapping[str, str] = MappingProxyType({
    "camarchiver_build_info": "Version of camarchiver that wrote these; always 1.",
    "camarchiver_clips_total": "Steps by their result, since this file began.",
    "camarchiver_clip_bytes_total": "Bytes of the clips of these steps.",
    "camarchiver_archive_bytes_total": "Bytes of the archives that were made.",
    "camarchiver_freed_bytes_total": "Bytes that the filesystem really got back.",
    "camarchiver_encode_seconds_total": "Time that encoders took.",
    "camarchiver_runs_total": "Runs by their exit code, since this file began.",
    "camarchiver_last_run_timestamp_seconds": "When the last run ended.",
    "camarchiver_last_run_duration_seconds": "How long the last run took.",
    "camarchiver_last_run_exit_code": "Exit code of the last run; 0 is success.",
    "camarchiver_last_success_timestamp_seconds": "When a run last ended with exit code 0.",
    "camarchiver_queue_clips": "Clips that are still to be done: waiting, or left by a limit or a stop.",
    "camarchiver_remembered_failures": "Clips that could not be archived or removed and are remembered.",
    "camarchiver_holds": "Holds in force.",
    "camarchiver_damaged_archives": "Archives that verify found missing or damaged, not yet repaired.",
    "camarchiver_last_verify_timestamp_seconds": "When verify last came through every archive.",
    "camarchiver_offsite_archives": "Archives with and without a verified copy, when the last sync ended.",
    "camarchiver_last_offsite_sync_timestamp_seconds": "When the last sync without an error ended.",
    "camarchiver_filesystem_free_bytes": "Bytes that may still be written where this tree lies.",
    "camarchiver_filesystem_size_bytes": "Size of the filesystem where this tree lies.",
    "camarchiver_until_full_seconds": "Time until the source's filesystem is full, by the last two weeks.",
    "camarchiver_record_frames_total": "Frames read from the camera.",
    "camarchiver_record_lost_frames_total": "Frames that the camera's timestamps lack in recorded clips.",
    "camarchiver_record_clips_total": "Recorded clips by result: published or failed.",
    "camarchiver_record_clip_seconds_total": "Footage in published clips.",
    "camarchiver_record_outages_total": "How often the camera was lost.",
    "camarchiver_record_refusals_total": "How often recording stopped for want of room.",
    "camarchiver_record_last_frame_timestamp_seconds": "When the camera's last frame came.",
    "camarchiver_record_connected": "1 while the camera is there, 0 while it is sought.",
})  # fmt: skip


class Figure(Struct, frozen=True):
    """One number under one name."""

    name: str
    value: float
    labels: Labels = ()

    @property
    def key(self) -> tuple[str, Labels]:
        """What identifies the same number at another time."""
        return self.name, self.labels

    @property
    def grows(self) -> bool:
        """Whether it is a counter."""
        return self.name.endswith("_total")


class FreeSpace(Struct, frozen=True):
    """The filesystem of a tree."""

    tree: str
    path: str
    free: int
    """Bytes."""
    size: int
    """Bytes."""


class RemoteCopies(Struct, frozen=True):
    """The last sync of all archives to one remote."""

    remote: str
    ended: float | None
    """Unix time of the last one without an error."""
    copied: int
    """Archives with a verified copy."""
    missing: int
    """Archives that should have one."""


class TreeState(Struct, frozen=True):
    """The state of the trees at a moment; None for what could not be measured."""

    failures: int | None
    holds: int | None
    free_spaces: tuple[FreeSpace, ...]
    damaged: int | None
    """Archives that were found missing or damaged."""
    last_verify: float | None
    """Unix time of the last verify that checked every archive."""
    daily_bytes: float | None
    """Bytes that come in on one day, by the last two weeks."""
    offsite: tuple[RemoteCopies, ...] = ()


class Recording(Struct, frozen=True):
    """How a recorder is doing, counted from its start."""

    frames: int
    lost: int
    published: int
    failed: int
    seconds: float
    outages: int
    refusals: int
    last_frame: float | None
    """Unix time; None before the first one."""
    connected: bool


def labels(**pairs: str) -> Labels:
    """Labels in sorted order; the text is made safe to store."""
    return tuple(sorted((name, _safe(value)) for name, value in pairs.items()))


class RemovalTotals:
    """Clips, bytes and seconds by action, result, camera and encoder, outcome by outcome.

    One thread may add while another reads.
    """

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._sums: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._lock = threading.Lock()
        for outcome in outcomes:
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        encoding = outcome.encoding
        kind = labels(
            action=action_of(outcome.step),
            result=str(outcome.result),
            camera=outcome.step.camera,
            encoder=encoding.encoder if encoding else "",
        )
        counts = {"clips": 1, "clip_bytes": outcome.step.size, "freed_bytes": outcome.freed}
        if encoding is not None:
            counts["archive_bytes"] = encoding.bytes_after
        with self._lock:
            for name, count in counts.items():
                self._sums[f"camarchiver_{name}_total", kind] += count
            if encoding is not None:
                self._sums["camarchiver_encode_seconds_total", kind] += encoding.seconds

    def figures(self) -> tuple[Figure, ...]:
        """The sums so far."""
        with self._lock:
            return tuple(Figure(name, value, kind) for (name, kind), value in self._sums.items())


def of_run(report: Report, totals: Iterable[Total], exit_code: int) -> tuple[Figure, ...]:
    """All numbers of a run; `totals` are those of its plan."""
    over_limit = sum(total.clips for total in totals if total.group.reason is Reason.OVER_LIMIT)
    return (
        *RemovalTotals(report.outcomes).figures(),
        of_queue(report.remaining + over_limit),
        *of_end(report.ended.timestamp(), (report.ended - report.started).total_seconds(), exit_code),
    )


def of_queue(clips: int) -> Figure:
    """Clips that are still to be done."""
    return Figure("camarchiver_queue_clips", clips)


def of_end(ended: float, seconds: float, exit_code: int) -> tuple[Figure, ...]:
    """The end of a run; `ended` in Unix time, which keeps its former value if the run failed."""
    success = Figure("camarchiver_last_success_timestamp_seconds", ended)
    return (
        Figure("camarchiver_runs_total", 1, labels(exit_code=str(exit_code))),
        Figure("camarchiver_last_run_timestamp_seconds", ended),
        Figure("camarchiver_last_run_duration_seconds", seconds),
        Figure("camarchiver_last_run_exit_code", exit_code),
        *((success,) if exit_code == ExitCode.DONE else ()),
    )


def of_tree_state(state: TreeState) -> tuple[Figure, ...]:
    """The known values of the trees; unknown ones are left out."""
    figures = []
    if state.failures is not None:
        figures.append(Figure("camarchiver_remembered_failures", state.failures))
    if state.holds is not None:
        figures.append(Figure("camarchiver_holds", state.holds))
    if state.damaged is not None:
        figures.append(Figure("camarchiver_damaged_archives", state.damaged))
    if state.last_verify is not None:
        figures.append(Figure("camarchiver_last_verify_timestamp_seconds", state.last_verify))
    for each in state.offsite:
        at = labels(remote=each.remote)
        if each.ended is not None:
            figures.append(Figure("camarchiver_last_offsite_sync_timestamp_seconds", each.ended, at))
        for name, count in (("verified", each.copied), ("missing", each.missing)):
            of = labels(remote=each.remote, copy=name)
            figures.append(Figure("camarchiver_offsite_archives", count, of))
    figures.extend(of_free_spaces(state.free_spaces))
    if state.daily_bytes and state.free_spaces:
        seconds = state.free_spaces[0].free / state.daily_bytes * SECONDS_PER_DAY
        figures.append(Figure("camarchiver_until_full_seconds", seconds))
    return tuple(figures)


def of_free_spaces(free_spaces: Iterable[FreeSpace]) -> Iterator[Figure]:
    """Free and total bytes of each filesystem."""
    for space in free_spaces:
        place = labels(tree=space.tree, path=space.path)
        yield Figure("camarchiver_filesystem_free_bytes", space.free, place)
        yield Figure("camarchiver_filesystem_size_bytes", space.size, place)


def of_recording(recording: Recording, camera: str) -> tuple[Figure, ...]:
    """One recorder's numbers."""
    of = labels(camera=camera)
    last = recording.last_frame
    return (
        Figure("camarchiver_record_frames_total", recording.frames, of),
        Figure("camarchiver_record_lost_frames_total", recording.lost, of),
        Figure(
            "camarchiver_record_clips_total", recording.published, labels(camera=camera, result="published")
        ),
        Figure("camarchiver_record_clips_total", recording.failed, labels(camera=camera, result="failed")),
        Figure("camarchiver_record_clip_seconds_total", recording.seconds, of),
        Figure("camarchiver_record_outages_total", recording.outages, of),
        Figure("camarchiver_record_refusals_total", recording.refusals, of),
        Figure("camarchiver_record_connected", recording.connected, of),
        *((Figure("camarchiver_record_last_frame_timestamp_seconds", last, of),) if last else ()),
    )


def labelled(figures: Iterable[Figure], own: Labels) -> tuple[Figure, ...]:
    """The figures with labels that name their owner."""
    return tuple(Figure(each.name, each.value, tuple(sorted({*each.labels, *own}))) for each in figures)


def merged(
    before: Iterable[Figure], base: Mapping[tuple[str, Labels], float], now: Iterable[Figure], own: Labels
) -> tuple[Figure, ...]:
    """The file's figures after a write: ours replaced, those of others unchanged.

    Counters in `now` count from the start of the process and are added to `base`, the values that the file
    had then. A gauge in `now` replaces all our other values of it; a gauge that is not stays unchanged.
    """
    mine = {each.key: each for each in now}
    replaced = {each.name for each in mine.values() if not each.grows}
    kept = [
        each
        for each in before
        if not set(own) <= set(each.labels) or (each.key not in mine and each.name not in replaced)
    ]
    grown = [
        Figure(each.name, each.value + base.get(each.key, 0.0), each.labels) if each.grows else each
        for each in mine.values()
    ]
    return tuple(sorted((*kept, *grown), key=lambda each: each.key))


def _safe(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
