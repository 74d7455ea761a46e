"""Archives one clip at a time, in the order of steps of docs/architecture.md, section 4."""

from __future__ import annotations

import logging
import os
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC

from msgspec.structs import replace

from camarchiver.archive.adoption import ArchiveFound, SharedArchives
from camarchiver.archive.encode import ArchiveEncoder, ClipFailed, Refused, Stopped, digest_unless_stopped
from camarchiver.archive.lossless import NOT_SMALLER, Unencoded
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.archive.publishing import (
    ArchiveContext,
    ArchivePublisher,
    StepInWork,
    refuse_held,
    replace_archive,
)
from camarchiver.archive.source_removal import STAYS, disposal_of, with_known_time
from camarchiver.discovery.source_tree import still_there
from camarchiver.domain.clip import Archived, Clip, Disposal
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding, Outcome, Result
from camarchiver.domain.steps import Archive, ArchiveStep, RemoveSource
from camarchiver.errors import CamarchiverError, NotRemovable, sentence
from camarchiver.media import archive_tag
from camarchiver.runtime import log_setup
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import AnyOf, Stop
from camarchiver.state import volume_marker, work_in_progress
from camarchiver.state.work_in_progress import ClipWork
from camarchiver.storage import anchored, linux, locking, removal
from camarchiver.storage.locking import ClipLock

_log = logging.getLogger(__name__)

AGAIN = "a second generation: encoded from its former archive, as its source is gone"


class ClipArchiver:
    """Performs the steps of an `archive` plan; several threads may do so at once."""

    def __init__(
        self, context: ArchiveContext, encoder: ArchiveEncoder | None, display: Display, stop: Stop
    ) -> None:
        self._context = context
        self._encoder = encoder
        self._display = display
        self._stop = stop
        self._shared = SharedArchives(context.archives, context.writer)
        if encoder is not None:
            self._publisher = ArchivePublisher(context, encoder)

    def perform(self, step: ArchiveStep, threads: int) -> Outcome:
        """Perform one step; every expected error becomes an outcome, and none ends the run."""
        name = step.clip.relative
        with log_setup.about(name), self._stop.busy(shown(name)):
            return self._perform(step, threads)

    def _perform(self, step: ArchiveStep, threads: int) -> Outcome:
        try:
            outcome = self._claimed(step, threads)
        except Stopped as stopped:
            outcome = Outcome(step, Result.SKIPPED, step.reason, stopped.message)
        except ClipFailed as failed:
            if still_there(step.clip.path, step.clip.fingerprint):
                outcome = self._failed(step, failed)
            else:
                # It failed because it changed: no failure is remembered for the file that is there now.
                outcome = Outcome(step, Result.STALE, Reason.STALE, "changed or gone while it was worked on")
        except NotRemovable as error:
            # An outdated archive could not be moved away: encoding the clip again would fail in the same way.
            outcome = self._failed(step, ClipFailed(Reason.FAILED, sentence(error)))
        except removal.FILE_ERRORS as error:
            outcome = removal.outcome_of(step, error, gone=self._why_stale(step.clip))
        finally:
            self._display.done(step.clip.fingerprint.size)
        words = step.clip.relative, outcome.result, outcome.reason, outcome.detail
        log_setup.log_outcome(_log, words, failed=outcome.result is Result.FAILED)
        return outcome

    def _claimed(self, step: ArchiveStep, threads: int) -> Outcome:
        clip, trees = step.clip, self._context.trees
        # The note outlives the lock, so that the next sweep finds whatever a kill between them leaves.
        with ExitStack() as after, self._lock(clip) as lock:
            if not still_there(clip.path, clip.fingerprint):
                raise anchored.Stale(self._why_stale(clip))
            volume_marker.check(trees)
            marker = volume_marker.marker(trees.state)
            # A missing archive may be made again: that changes nothing that is held.
            entries = self._context.archives.entries(step.source_clip)
            if step.reason is not Reason.REPAIR or self._context.archives.leaves_trace(entries):
                refuse_held(self._context, step.source_clip)
            if linux.being_written(clip.path):
                return Outcome(step, Result.SKIPPED, Reason.BEING_WRITTEN)
            if self._context.disposal is not Disposal.KEEP and not self._context.keeps_folders:
                after.callback(self._context.remover.remove_empty_folders, clip)
            work_note = ClipWork.on(step.source_clip, self._context.writer.run)
            note = after.enter_context(work_in_progress.noted(trees, work_note, lock.file))
            work = StepInWork(step, lock, note, marker, threads, AnyOf(self._stop.event, lock.lost))
            return self._remove(work, self._archive(work))

    def _lock(self, clip: Clip) -> AbstractContextManager[ClipLock]:
        """The lock of the clip by its name in the source, also for a copy of it in the trash."""
        trees = self._context.trees
        return locking.clip_lock(
            trees.source / clip.relative, place=trees.state / "locks", folder_may_be_gone=bool(clip.place)
        )

    def _why_stale(self, clip: Clip) -> str:
        if not os.path.lexists(clip.path) and self._context.archives.newest(clip):
            return "archived by another run meanwhile"
        return "changed or gone since it was planned"

    def _archive(self, work: StepInWork) -> ArchiveFound:
        """The clip's archive, which exists and is journalled."""
        step, archives = work.step, self._context.archives
        if isinstance(step, RemoveSource):
            return ArchiveFound(step.archived, step.reason)
        known = archives.newest(step.clip)
        if known is not None and step.replaces is None:
            return ArchiveFound(known, step.reason, "archived by another run meanwhile")
        digest = digest_unless_stopped(step.clip.path, work.stop)
        with self._shared.exclusive(digest):
            if (same := self._shared.adopt(step, digest)) is not None:
                return same
            return self._made(work, step, digest)

    def _made(self, work: StepInWork, step: Archive, digest: str) -> ArchiveFound:
        """A new archive, or one that is there and that the journal lacks."""
        assert self._encoder is not None, "a plan with clips to archive comes with an encoder"
        if step.reason is Reason.SECOND_GENERATION:
            return self._made_again(work, step, digest, self._encoder)
        original = self._measured(step, self._encoder, digest)
        if step.reason is Reason.REPAIR and (step.replaces is None or digest != step.replaces.digest):
            words = f"{step.clip.path} is not what was archived: its bytes have changed"
            raise ClipFailed(Reason.DAMAGED, words)
        reason = Reason.NOT_ARCHIVED if step.reason is Reason.PERHAPS_ARCHIVED else step.reason
        if step.replaces is None and (adopted := self._publisher.adoption.adopt(step, original, work.stop)):
            return ArchiveFound(adopted, reason, "an archive of it existed already")
        archived, made = self._make(work, step, original, self._encoder)
        self._context.failures.forget(step.clip)
        return ArchiveFound(archived, reason, "; ".join(made.notes), made.encoding)

    def _made_again(
        self, work: StepInWork, step: Archive, digest: str, encoder: ArchiveEncoder
    ) -> ArchiveFound:
        """An archive that is encoded from the one that exists: that is moved away once the new one counts."""
        archives, former = self._context.archives, step.replaces
        assert former is not None, "a second generation replaces the first one"
        journalled = archives.archive_digest(step.source_clip, former.archive)
        if journalled and digest != journalled:
            words = f"{step.clip.path} is not as journalled: camarchiver verify says more"
            raise ClipFailed(Reason.DAMAGED, words)
        original = self._measured(step, encoder, former.digest)
        if encoder.has_wanted_codec(original):
            return ArchiveFound(former, step.reason, f"its archive is {original.media.video.codec} already")
        archived, made = self._make(work, step, original, encoder)
        archives.check_valid(archived)
        refuse_held(self._context, step.source_clip)
        replace_archive(self._context, work, former.archive)
        self._context.failures.forget(step.source_clip)
        return ArchiveFound(archived, step.reason, "; ".join((AGAIN, *made.notes)), made.encoding)

    def _measured(self, step: Archive, encoder: ArchiveEncoder, digest: str) -> MeasuredClip:
        """`digest` is the BLAKE2b of the clip's source."""
        clip, source = step.clip, step.source_clip
        size, mtime_ns = source.fingerprint.identity
        metadata = {
            "comment": archive_tag.compose(archive_tag.Tag(clip.relative, size, mtime_ns, digest)),
            "creation_time": clip.recorded.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        media = encoder.measure(clip)
        if step.reason is Reason.SECOND_GENERATION:
            # The only other stream in an archive is that of its chapters, which the new one gets again.
            media = replace(media, other_streams=())
        return MeasuredClip(clip, source, media, digest, metadata)

    # --- making and publishing ---------------------------------------------------------------------

    def _make(
        self, work: StepInWork, step: Archive, original: MeasuredClip, encoder: ArchiveEncoder
    ) -> tuple[Archived, EncodeResult]:
        """Stage, verify, publish and journal: encoded if possible and worth it, otherwise lossless."""
        why = encoder.unencodable(original)
        if why is None:
            found = self._encoded(work, step, original, encoder)
            if not isinstance(found, Unencoded):
                return found
            why = found
        if step.reason is Reason.SECOND_GENERATION:
            raise ClipFailed(why.reason, f"its archive stays as it is: {why.detail}")
        if not why.is_proved_sound:
            encoder.check_sound(original, work.threads, work.stop)
        for way in why.ways:
            with self._publisher.staged(work, step, encoder.suffix(way, original)) as (part, target):
                try:
                    made = encoder.keep(way, original, why, part, work.stop)
                except Refused as refused:
                    _log.info("%s: %s is no way to archive it: %s", step.relative, way, refused.message)
                    continue
                if encoder.is_small_enough(made, original):
                    return self._publisher.publish(work, step, original, part, target, made), made
        raise ClipFailed(Reason.FAILED, "no way to archive it was left")

    def _encoded(
        self, work: StepInWork, step: Archive, original: MeasuredClip, encoder: ArchiveEncoder
    ) -> tuple[Archived, EncodeResult] | Unencoded:
        """A smaller archive, or the reason why the clip is not encoded."""
        suffix = encoder.suffix(ArchiveMethod.ENCODE, original)
        threads, stop = work.threads, work.stop
        with self._publisher.staged(work, step, suffix) as (part, target):
            with self._display.job(step.relative, original.media.span) as advance:
                try:
                    made = encoder.encode(original, part, threads=threads, stop=stop, advance=advance)
                except Refused as refused:
                    if refused.is_lasting or self._is_last_try(step.source_clip):
                        return Unencoded(Reason.REFUSED, f"no encoder did it: {refused.message}")
                    raise
            if not encoder.is_small_enough(made, original):
                return NOT_SMALLER
            return self._publisher.publish(work, step, original, part, target, made), made

    def _is_last_try(self, clip: Clip) -> bool:
        """Whether the clip would not be retried automatically if it failed now."""
        failure, now = self._context.failures.of(clip.relative), clip.fingerprint
        if failure is None or (failure.size, failure.mtime_ns) != (now.size, now.mtime_ns):
            return False
        return failure.is_last_but_one

    # --- afterwards --------------------------------------------------------------------------------

    def _remove(self, work: StepInWork, found: ArchiveFound) -> Outcome:
        context = self._context
        step = with_known_time(work.step, context.archives, context.writer.now())
        archived = found.archived
        where = os.fspath(context.trees.archive / archived.archive)
        disposal, detail = disposal_of(step, context.disposal), found.detail
        if disposal is not context.disposal and isinstance(step, Archive):
            detail = "; ".join(filter(None, (detail, STAYS)))
        try:
            if not work.lock.still_mine():
                raise anchored.Stale("the clip's lock was lost")
            context.archives.check_valid(archived)
            if step.reason is Reason.REPAIR or step.clip.place:
                return Outcome(step, Result.DONE, found.reason, detail, where, found.encoding)
            is_doubtful = isinstance(step, Archive) and step.keeps_source
            reason = Reason.CLOCK_DOUBTFUL if is_doubtful else found.reason
            if disposal is not Disposal.KEEP:
                refuse_held(self._context, step.clip)
            gone = context.remover.remove(step.clip, archived, disposal, reason)
        except removal.FILE_ERRORS as error:
            return self._not_removed(work, archived, found.encoding, error)
        context.failures.forget(step.clip)
        target = where if isinstance(step, Archive) else gone.target
        return Outcome(step, Result.DONE, found.reason, detail, target, found.encoding, gone.freed)

    def _not_removed(
        self, work: StepInWork, archived: Archived, encoding: Encoding | None, error: removal.FileError
    ) -> Outcome:
        """Remember and report an archived source that stays, or a sidecar that does."""
        step, context = work.step, self._context
        outcome = removal.outcome_of(step, error, gone=self._why_stale(step.clip))
        where = os.fspath(context.trees.archive / archived.archive)
        if removal.unsettled(error, step.clip.path):
            work.note.keep()
        if outcome.result in (Result.STALE, Result.HELD):
            words = f"archived; the source was left alone: {outcome.detail}"
            return replace(outcome, detail=words, target=where, encoding=encoding)
        if isinstance(error, NotRemovable):
            context.failures.note(step.clip, Reason.KEPT_SOURCE, outcome.detail, context.writer.now())
            context.writer.not_removed(step.clip, archived, outcome.detail)
        words = f"archived; but {outcome.detail}"
        return replace(outcome, reason=Reason.KEPT_SOURCE, detail=words, target=where, encoding=encoding)

    def _failed(self, step: ArchiveStep, failed: ClipFailed) -> Outcome:
        if failed.reason is not Reason.NO_SPACE:
            clip, now = step.source_clip, self._context.writer.now()
            self._context.failures.note(clip, failed.reason, failed.message, now)
            try:
                self._context.writer.failed(clip, failed.reason, failed.message)
            except (OSError, CamarchiverError) as error:
                # The report has it, and the next clip's turn must come.
                _log.warning("that it failed could not be journalled: %s", sentence(error))
        return Outcome(step, Result.FAILED, failed.reason, failed.message)
