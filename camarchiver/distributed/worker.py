"""A Dask worker's part in a run of `archive`: it makes and publishes archives, and returns the results.

The coordinating run writes the journal and removes sources; a worker only ever adds archives.
"""

from __future__ import annotations

import contextvars
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import tzinfo
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver import __version__
from camarchiver.archive import workers
from camarchiver.archive.encode import ArchiveSettings
from camarchiver.archive.executor import Execution
from camarchiver.archive.publishing import ArchiveContext
from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.archive.workers import ArchiveWorkers, EncodingTools
from camarchiver.domain.clip import Disposal, Fingerprint, Trees
from camarchiver.domain.motion import CameraViews
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import Archive
from camarchiver.errors import CamarchiverError, StorageError, described, sentence
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.lookup import ArchiveLookup
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.media import encoder_probe
from camarchiver.media.encoder_probe import EncoderRequest
from camarchiver.pipeline import Pipeline
from camarchiver.runtime import clock
from camarchiver.runtime.progress import Advance
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings, holds, volume_marker
from camarchiver.state.failures import Failures
from camarchiver.storage.anchored import fingerprint_of

_log = logging.getLogger(__name__)

RESOURCE = "encoder"
"""The Dask resource that a worker offers: one for each clip that it may encode at a time."""

PROGRESS_SECONDS = 0.5
"""How often a clip's progress is sent."""


class RunSpec(Struct, frozen=True):
    """What a worker must know about a run."""

    version: str
    trees: Trees
    zone: tzinfo
    marker: str
    """The volume marker of source and archive; empty if there is none yet."""
    sample: tuple[str, int, int] | None
    """A clip of the plan, its bytes and mtime_ns: a worker that sees the same tree sees it too."""
    run: RunId
    request: EncoderRequest
    settings: ArchiveSettings
    nice: int
    floor: int
    """Bytes that archiving leaves free."""
    views: CameraViews


def run_spec(
    pipeline: Pipeline, sample: Archive, request: EncoderRequest, how: Execution, floor: int
) -> RunSpec:
    """The specification of a run for its workers; `sample` is any clip of its plan."""
    clip = sample.clip
    return RunSpec(
        __version__,
        pipeline.trees,
        pipeline.zone,
        volume_marker.marker(pipeline.trees.state),
        (clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns),
        pipeline.run,
        request,
        how.settings,
        how.nice,
        floor,
        pipeline.conventions.views,
    )


class ClipResult(Struct, frozen=True):
    """A worker's result for one step."""

    outcome: Outcome
    events: tuple[JournalEvent, ...]
    """Lines for the journal."""


ProgressMessage = tuple[str, float, float, float]
"""A clip's path, its seconds of footage, the seconds done, and the speed. Dask sends plain values."""

SendProgress = Callable[[ProgressMessage], None]

_written: contextvars.ContextVar[list[JournalEvent]] = contextvars.ContextVar("written")


class _Relay:
    """Takes the place of the journal: collects the lines of the clip that this thread works on."""

    def append(self, *events: JournalEvent) -> None:
        """Keep the lines for the clip's result."""
        _written.get().extend(events)


class _ProgressSender:
    """A display that sends the progress to the coordinator instead of showing it."""

    def __init__(self, send: SendProgress) -> None:
        self._send = send

    @contextmanager
    def job(self, name: str, seconds: float) -> Iterator[Advance]:
        last = 0.0

        def advance(at: float, speed: float) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self._send((name, seconds, at, speed))

        yield advance

    def done(self, size: int) -> None:
        return


class DaskWorker:
    """One worker process's part in one run. Raises StorageError or EncoderError if it can't take part."""

    def __init__(self, spec: RunSpec, send: SendProgress, slots: int) -> None:
        self._spec = spec
        self._slots = slots
        self.stop = Stop()
        self._stack = ExitStack()
        _check_same_tree(spec)
        self._machine, self.choice = encoder_probe.chosen(spec.request, spec.settings.encode)
        self._failures = Failures(spec.trees.state)
        self._display = _ProgressSender(send)
        self._workers: ArchiveWorkers | None = None
        self._opening = threading.Lock()

    def make(self, step: Archive) -> ClipResult:
        """Archive one clip and leave its source; nothing is journalled here."""
        events: list[JournalEvent] = []
        _written.set(events)
        try:
            clip = replace(step.clip, fingerprint=_as_seen_here(step))
        except (FileNotFoundError, NotADirectoryError):
            return ClipResult(
                Outcome(step, Result.STALE, Reason.STALE, "changed or gone since it was planned"), ()
            )
        outcome = self._opened_workers().perform(replace(step, clip=clip), self._slots)
        self._failures.flush()
        lines = tuple(event for event in events if event.event != EventKind.KEPT)
        return ClipResult(replace(outcome, step=step), lines)

    def close(self) -> None:
        """Release the encoder."""
        self._stack.close()

    def _opened_workers(self) -> ArchiveWorkers:
        with self._opening:
            if self._workers is None:
                tools = EncodingTools(self.choice, self._machine, self._spec.settings)
                opening = workers.opened(
                    self._context(), tools, None, self._spec.nice, stop=self.stop, display=self._display
                )
                self._workers = self._stack.enter_context(opening)
            return self._workers

    def _context(self) -> ArchiveContext:
        spec = self._spec
        run = replace(spec.run, host=socket.gethostname())
        writer = JournalWriter(_Relay(), run, lambda: clock.now(spec.zone))
        return ArchiveContext(
            spec.trees,
            ArchiveLookup(spec.trees, Journal(spec.trees.state), findings.DamagedNow(spec.trees.state)),
            self._failures,
            SourceRemover(spec.trees, writer, SidecarPolicy.KEEP),
            writer,
            lambda: holds.read(spec.trees.state),
            Disposal.KEEP,
            spec.floor,
            views=spec.views,
        )


def _check_same_tree(spec: RunSpec) -> None:
    """Raises StorageError unless this machine sees the trees of the run."""
    volume_marker.check_roots(spec.trees)
    volume_marker.check(spec.trees)
    volume_marker.check_is(spec.trees, spec.marker)
    volume_marker.check_writable(spec.trees, removes=False)
    if spec.sample is None:
        return
    relative, size, mtime_ns = spec.sample
    with suppress(OSError):
        status = (spec.trees.source / relative).lstat()
        if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
            return
    raise StorageError(
        f"the source {spec.trees.source} is not the one of this run: {relative} is not there as planned",
        hint="mount the same tree at the same path",
    )


def _as_seen_here(step: Archive) -> Fingerprint:
    """The fingerprint of the planned file on this machine, where device and inode have other numbers.

    Raises FileNotFoundError if it is no longer that file.
    """
    planned, found = step.clip.fingerprint, fingerprint_of(step.clip.path.lstat())
    if (planned.size, planned.mtime_ns) != (found.size, found.mtime_ns):
        raise FileNotFoundError(step.clip.path)
    return found


# --- what the cluster calls by name ----------------------------------------------------------------

_known_runs: dict[str, DaskWorker] = {}
_guard = threading.Lock()


def fit(spec: RunSpec) -> tuple[bool, str]:
    """Whether this worker can take part, and with which encoder, or why not."""
    if spec.version != __version__:
        return False, f"it has camarchiver {__version__}, the run has {spec.version}"
    try:
        return True, _worker_for(spec).choice.explanation[-1]
    except CamarchiverError as error:
        return False, sentence(error)


def make(spec: RunSpec, step: Archive) -> ClipResult:
    """Archive one clip here.

    It raises nothing: an exception that can't be pickled would never arrive, and the run would wait for it.
    """
    try:
        return _worker_for(spec).make(step)
    except Exception as error:  # whatever it is, the run reports it and the source stays
        _log.exception("%s", step.clip.relative)
        words = described(error)
        return ClipResult(Outcome(step, Result.FAILED, Reason.FAILED, words), ())


def stop(run: str, number: int) -> None:
    """Stop the work for a run, as a signal would."""
    if (worker := _known_runs.get(run)) is not None:
        worker.stop.ask(number)


def leave(run: str) -> None:
    """Forget a run that is over."""
    with _guard:
        worker = _known_runs.pop(run, None)
    if worker is not None:
        worker.close()


def _worker_for(spec: RunSpec) -> DaskWorker:
    from distributed import get_worker

    with _guard:
        if (known := _known_runs.get(spec.run.id)) is None:
            worker: Any = get_worker()
            slots = int(worker.state.total_resources.get(RESOURCE, 1))
            known = DaskWorker(spec, lambda message: worker.log_event(topic(spec.run.id), message), slots)
            _known_runs[spec.run.id] = known
        return known


def topic(run: str) -> str:
    """The Dask topic under which the workers of a run send their progress."""
    return f"camarchiver-{run}"
