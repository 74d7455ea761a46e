"""Sends clips to the workers of a Dask cluster; checks and journals their results, removes sources."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from camarchiver.archive import executor
from camarchiver.archive.clip_archiver import ClipArchiver
from camarchiver.archive.executor import Execution, Prepared
from camarchiver.archive.publishing import ArchiveContext
from camarchiver.archive.source_removal import STAYS, disposal_of, with_known_time
from camarchiver.archive.workers import ArchiveWorkers
from camarchiver.distributed import worker as distributed_worker
from camarchiver.distributed.worker import RESOURCE, ClipResult, RunSpec
from camarchiver.domain.clip import Archived
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import Outcome, Result
from camarchiver.domain.steps import Archive, ArchiveStep, RemoveSource
from camarchiver.errors import EncoderError, StorageError, UsageError, cause, described, sentence
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.media.encoder_probe import EncoderRequest
from camarchiver.pipeline import Pipeline
from camarchiver.policy.archive_rules import ArchivePlan
from camarchiver.runtime.extras import install_extra
from camarchiver.runtime.formatting import count_of
from camarchiver.runtime.progress import Advance, Display
from camarchiver.runtime.signals import Stop
from camarchiver.storage import copying, owner

if TYPE_CHECKING:
    from distributed import Client, Future

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
FIT_SECONDS = 180.0
"""For a worker's checks of the trees and its trial encodes."""

ALONE_SECONDS = 60.0
"""How long a run waits for a worker to come back when none is left."""

POLL_SECONDS = 1.0
LOOK_SECONDS = 2.0
STOP_SECONDS = 30.0
"""For a worker to end what it does when the run stops."""

BUSY_SECONDS = owner.STALE_LOCK_SECONDS + 60.0
"""After this the lock of a worker that died on another machine is no longer valid."""


class _WorkerInfo(Struct, frozen=True):
    """One worker that can take part."""

    address: str
    name: str
    slots: int
    words: str
    """Its encoder, in words."""


class Cluster:
    """The workers behind one scheduler, for one run. Raises EncoderError if no scheduler answers."""

    def __init__(self, address: str) -> None:
        self._client = _connect(address)
        self._address = address
        self._workers: dict[str, _WorkerInfo] = {}
        self._unfit: dict[str, str] = {}
        self._spec: RunSpec | None = None
        self._looking = threading.Lock()
        self._lost = 0
        """How many workers have left."""
        self._without_since: float | None = None
        self._looked = 0.0
        self._stop_sent = False

    def close(self) -> None:
        """Leave the cluster as it was."""
        if self._spec is not None:
            with suppress(Exception):
                self._client.run(distributed_worker.leave, self._spec.run.id, on_error="ignore")
        self._client.close(timeout=5)

    def enlist(self, spec: RunSpec) -> tuple[str, ...]:
        """Ask every worker whether it can take part; the plan's notes on each.

        Raises EncoderError if none can.
        """
        self._spec = spec
        self._look()
        notes = [
            f"{each.name}: {each.words}, {count_of(each.slots, 'job')}" for each in self._workers.values()
        ]
        notes += [f"{name} can't take part: {why}" for name, why in self._unfit.items()]
        for name, why in self._unfit.items():
            _log.warning("worker %s can't take part: %s", name, why)
        if not self._workers:
            reasons = "; ".join(f"{name}: {why}" for name, why in self._unfit.items()) or "it has none"
            raise EncoderError(
                f"no worker of {self._address} can take part: {reasons}",
                hint="start workers that see the same folders:"
                f' dask worker {self._address} --resources "{RESOURCE}=2"',
            )
        return tuple(notes)

    @contextmanager
    def opened(
        self, jobs: int | None, context: ArchiveContext, stop: Stop, display: Display
    ) -> Iterator[ArchiveWorkers]:
        """The cluster's workers, ready to perform steps; `jobs` None stands for as many as they offer."""
        assert self._spec is not None, "`enlist` comes first"
        local = ClipArchiver(context, None, display, stop)
        progress = _ClipProgress(display)
        topic = distributed_worker.topic(self._spec.run.id)
        self._client.subscribe_topic(topic, progress.receive)

        def perform(step: ArchiveStep, share: int) -> Outcome:
            if isinstance(step, RemoveSource):
                return local.perform(step, 0)
            with progress.clip(step.clip.relative):
                answer = self._result_of(step, stop)
            try:
                taken = _journalled(step, answer, context)
            except (OSError, StorageError) as error:
                words = f"a worker archived it, but that could not be written down here: {sentence(error)}"
                taken = Outcome(step, Result.FAILED, Reason.FAILED, words)
            if isinstance(taken, Outcome):
                display.done(step.size)
                return taken
            made = replace(answer.outcome, step=step)
            known = with_known_time(step, context.archives, context.writer.now())
            disposal = disposal_of(known, context.disposal)
            gone = local.perform(RemoveSource(step.clip, disposal, made.reason, taken), 0)
            if disposal is not context.disposal:
                made = replace(made, detail="; ".join(filter(None, (made.detail, STAYS))))
            if gone.result is Result.DONE:
                return replace(made, freed=gone.freed)
            return replace(gone, step=step, encoding=made.encoding)

        slots = sum(each.slots for each in self._workers.values())
        try:
            yield ArchiveWorkers(min(jobs or slots, slots), perform)
        finally:
            self._client.unsubscribe_topic(topic)

    # --- one clip ----------------------------------------------------------------------------------

    def _result_of(self, step: Archive, stop: Stop) -> ClipResult:
        """A worker's result for a clip; a worker that dies is replaced by another."""
        began, lost = time.monotonic(), self._lost
        while True:
            answer = self._once(step, stop)
            if answer.outcome.result is not Result.BUSY or not self._has_workers(look=True):
                return answer
            # The lock of a worker that died on another machine becomes invalid only with time.
            if self._lost == lost or time.monotonic() - began > BUSY_SECONDS:
                return answer
            if stop.event.wait(BUSY_SECONDS / 60):
                return answer

    def _once(self, step: Archive, stop: Stop) -> ClipResult:
        future, asked = self._submit(step)
        stopped_at: float | None = None
        try:
            while True:
                try:
                    return _checked(future.result(timeout=POLL_SECONDS))
                except TimeoutError:
                    pass
                if stop:
                    self._send_stop(stop)
                    stopped_at = stopped_at or time.monotonic()
                    if time.monotonic() - stopped_at > STOP_SECONDS:
                        return _nothing(step, Result.SKIPPED, step.reason, "the run stops")
                if not self._has_workers():
                    words = f"no worker of {self._address} is left"
                    return _nothing(step, Result.FAILED, Reason.FAILED, words)
                if self._workers and not asked & self._workers.keys():
                    # The workers that were asked are gone. Dask would wait for them and not ask newer ones.
                    future.cancel()
                    future, asked = self._submit(step)
        except Exception as error:  # whatever a worker's Python raised, or dask for it
            _log.warning("%s: %r", step.clip.relative, error)
            words = f"the workers could not do it: {described(error)}"
            return _nothing(step, Result.FAILED, Reason.FAILED, words)
        finally:
            future.release()

    def _submit(self, step: Archive) -> tuple[Future[ClipResult], frozenset[str]]:
        asked = frozenset(self._workers)
        future = self._client.submit(
            distributed_worker.make, self._spec, step, workers=[*asked], resources={RESOURCE: 1}, pure=False
        )
        return future, asked

    # --- the workers -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Ask new workers whether they can take part, and forget those that have left."""
        found = self._client.scheduler_info()["workers"]
        for address in [*self._workers]:
            if address not in found:
                _log.warning("worker %s is gone", self._workers.pop(address).name)
                self._lost += 1
        asked: dict[str, tuple[str, int, Any]] = {}
        for address, worker in found.items():
            name = f"{worker.get('name', address)} ({worker.get('host', '?')})"
            if address in self._workers or name in self._unfit:
                continue
            slots = int(worker.get("resources", {}).get(RESOURCE, 0))
            if slots < 1:
                self._unfit[name] = f'it was started without --resources "{RESOURCE}=N"'
                continue
            future = self._client.submit(distributed_worker.fit, self._spec, workers=[address], pure=False)
            asked[address] = name, slots, future
        for address, (name, slots, future) in asked.items():
            try:
                ok, words = future.result(timeout=FIT_SECONDS)
            except Exception as error:  # whatever keeps a worker from answering keeps it out
                ok, words = False, described(error)
            if ok:
                self._workers[address] = _WorkerInfo(address, name, slots, words)
            else:
                self._unfit[name] = words

    def _has_workers(self, *, look: bool = False) -> bool:
        """Whether a worker is there, or the last left less than a minute ago; `look` asks in any case."""
        with self._looking:
            if not look and time.monotonic() - self._looked < LOOK_SECONDS:
                return self._may_go_on()
            self._looked = time.monotonic()
            try:
                self._look()
            except Exception as error:  # a scheduler that is gone has no workers
                _log.warning("%s does not answer: %s", self._address, described(error))
                self._workers.clear()
            if self._workers:
                self._without_since = None
            elif self._without_since is None:
                self._without_since = time.monotonic()
                _log.warning("no worker of %s is left; waiting for one to come back", self._address)
            return self._may_go_on()

    def _may_go_on(self) -> bool:
        return self._without_since is None or time.monotonic() - self._without_since < ALONE_SECONDS

    def _send_stop(self, stop: Stop) -> None:
        """Ask the workers, once, to stop."""
        with self._looking:
            was_sent, self._stop_sent = self._stop_sent, True
        if not was_sent and self._spec is not None and stop.signal is not None:
            with suppress(Exception):
                self._client.run(distributed_worker.stop, self._spec.run.id, stop.signal, on_error="ignore")


@contextmanager
def prepared(
    pipeline: Pipeline, plan: ArchivePlan, address: str, request: EncoderRequest, how: Execution
) -> Iterator[Prepared]:
    """Ask the workers behind a scheduler to take part, if the plan has a clip to encode.

    The cluster is left as it was at the end. Raises EncoderError if none can take part, UsageError if Dask
    is not installed.
    """
    cluster = Cluster(address)
    try:
        first = next((step for step in plan.steps if isinstance(step, Archive)), None)
        if first is None:
            yield executor.prepare(plan, request, how)
            return
        notes = cluster.enlist(distributed_worker.run_spec(pipeline, first, request, how, plan.floor))
        yield Prepared(replace(plan, notes=(*plan.notes, *notes)), partial(cluster.opened, how.jobs))
    finally:
        cluster.close()


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        hint = install_extra("distributed")
        raise UsageError("--scheduler needs Dask, which is not installed", hint=hint) from error
    # Errors are reported in our own words; Dask's log would print tracebacks on the terminal.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, direct_to_workers=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EncoderError(
            f"the scheduler {address} can't be reached: {cause(error)}",
            hint="start it with `dask scheduler`, and name it as tcp://HOST:8786",
        ) from error


# --- what came back --------------------------------------------------------------------------------


def _checked(answer: object) -> ClipResult:
    if not isinstance(answer, ClipResult):
        raise TypeError(f"a worker sent a {type(answer).__name__}")
    return answer


def _nothing(step: Archive, result: Result, reason: Reason, detail: str) -> ClipResult:
    return ClipResult(Outcome(step, result, reason, detail), ())


def _journalled(step: Archive, answer: ClipResult, context: ArchiveContext) -> Archived | Outcome:
    """Check and journal what a worker published; its archive, or the outcome if there is none."""
    outcome = replace(answer.outcome, step=step)
    if problem := _problem(answer.events, context.trees.archive):
        return Outcome(step, Result.FAILED, Reason.FAILED, problem)
    context.writer.relay(answer.events)
    if outcome.result is not Result.DONE:
        return outcome
    archived = context.archives.newest(step.clip)
    if archived is None:
        words = "a worker archived it, but its archive does not exist here"
        return Outcome(step, Result.FAILED, Reason.FAILED, words)
    context.failures.forget(step.clip)
    return archived


def _problem(events: tuple[JournalEvent, ...], archive: Path) -> str:
    """Why an archive that a worker reports is not accepted; empty if all are as reported."""
    for event in events:
        if event.event not in (EventKind.ARCHIVED, EventKind.ADOPTED) or event.archive_blake2b is None:
            continue
        path = archive / str(event.archive)
        try:
            found = copying.file_digest(path)
        except OSError as error:
            return f"a worker made {path}, which can't be read here: {cause(error)}"
        if found != event.archive_blake2b:
            return f"a worker made {path}, which reads differently here"
    return ""


class _ClipProgress:
    """Displays the progress that the workers send."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._mutex = threading.Lock()
        self._shown: dict[str, Advance | None] = {}
        self._stacks: dict[str, ExitStack] = {}

    @contextmanager
    def clip(self, name: str) -> Iterator[None]:
        """Display the clip while the block runs."""
        with ExitStack() as stack:
            with self._mutex:
                self._shown[name], self._stacks[name] = None, stack
            try:
                yield
            finally:
                with self._mutex:
                    del self._shown[name], self._stacks[name]

    def receive(self, event: tuple[float, tuple[str, float, float, float]]) -> None:
        """Handle a worker's message: clip, seconds in all, seconds done, speed."""
        name, span, at, speed = event[1]
        with self._mutex:
            if name not in self._shown:
                return
            advance = self._shown[name]
            if advance is None:
                advance = self._stacks[name].enter_context(self._display.job(name, span))
                self._shown[name] = advance
            advance(at, speed)
