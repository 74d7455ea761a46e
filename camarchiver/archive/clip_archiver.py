"""Archives one clip at a time, in the order of steps of docs/architecture.md, section 4."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

from camarchiver.archive.adoption import Adoption, ArchiveFound, SharedArchives
from camarchiver.archive.encode import ArchiveEncoder, ClipFailed, Refused, Stopped, digest_of
from camarchiver.archive.lossless import NOT_SMALLER, Unencoded
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.archive.motion import chapters, thumbnails
from camarchiver.archive.source_removal import STAYS, SourceRemover, disposal_of, with_known_time
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.discovery.source_tree import still_there
from camarchiver.domain.clip import Archived, Clip, Disposal, Trees
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.hold import Hold
from camarchiver.domain.motion import WHOLE_VIEWS, CameraViews
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding, Outcome, Result
from camarchiver.domain.steps import Archive, Remove
from camarchiver.errors import NotRemovable, sentence
from camarchiver.journal.lookup import MOST_NAMES, ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.media import archive_tag
from camarchiver.naming.paths import numbered
from camarchiver.policy import room_rules
from camarchiver.runtime import log_setup
from camarchiver.runtime.formatting import shown
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import AnyOf, Stop, Stopper
from camarchiver.state import findings, volume_marker, work_in_progress
from camarchiver.state.failures import Failures
from camarchiver.state.findings import Change
from camarchiver.state.work_in_progress import ClipNote, ClipWork
from camarchiver.storage import anchored, atomic, filesystems, linux, locking, permissions, removal
from camarchiver.storage.atomic import Staged
from camarchiver.storage.locking import ClipLock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArchiveContext:
    """What archiving needs besides the clip: the trees, the memory of earlier runs, and the writers."""

    trees: Trees
    archives: ArchiveLookup
    failures: Failures
    remover: SourceRemover
    writer: JournalWriter
    holds: Callable[[], tuple[Hold, ...]]
    """Reads the holds; called again under each clip's lock."""
    disposal: Disposal
    floor: int = 0
    """Bytes that stay free on the archive's filesystem beyond a clip's own size."""
    keeps_folders: bool = False
    """Whether date folders stay when they become empty: a camera may be filling them."""
    views: CameraViews = WHOLE_VIEWS


@dataclass(frozen=True, slots=True)
class _Work:
    """One step in progress."""

    step: Archive | Remove
    lock: ClipLock
    note: ClipNote
    marker: str
    """The volume marker of the archive when the step began."""
    threads: int
    stop: Stopper

    @property
    def clip(self) -> Clip:
        return self.step.clip


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

    def perform(self, step: Archive | Remove, threads: int) -> Outcome:
        """Perform one step; every expected error becomes an outcome, and none ends the run."""
        name = step.clip.relative
        with log_setup.about(name), self._stop.busy(shown(name)):
            return self._perform(step, threads)

    def _perform(self, step: Archive | Remove, threads: int) -> Outcome:
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
        except removal.EXPECTED as error:
            outcome = removal.outcome_of(step, error, gone=self._why_stale(step.clip))
        finally:
            self._display.done(step.clip.fingerprint.size)
        words = step.clip.relative, outcome.result, outcome.reason, outcome.detail
        log_setup.log_outcome(_log, words, failed=outcome.result is Result.FAILED)
        return outcome

    def _claimed(self, step: Archive | Remove, threads: int) -> Outcome:
        clip, trees = step.clip, self._context.trees
        # The note outlives the lock, so that the next sweep finds whatever a kill between them leaves.
        with ExitStack() as after, self._lock(clip) as lock:
            if not still_there(clip.path, clip.fingerprint):
                raise anchored.Stale(self._why_stale(clip))
            volume_marker.check(trees)
            marker = volume_marker.marker(trees.state)
            # A missing archive may be made again: that changes nothing that is held.
            entries = self._context.archives.entries(clip)
            if step.reason is not Reason.REPAIR or self._context.archives.leaves_trace(entries):
                self._refuse_held(clip)
            if linux.being_written(clip.path):
                return Outcome(step, Result.SKIPPED, Reason.BEING_WRITTEN)
            if self._context.disposal is not Disposal.KEEP and not self._context.keeps_folders:
                after.callback(self._context.remover.remove_empty_folders, clip)
            work_note = ClipWork.on(clip, self._context.writer.run)
            note = after.enter_context(work_in_progress.noted(trees, work_note, lock.file))
            work = _Work(step, lock, note, marker, threads, AnyOf(self._stop.event, lock.lost))
            return self._remove(work, self._archive(work))

    def _refuse_held(self, clip: Clip) -> None:
        """Raise Held if a hold covers the clip at this moment; an encode takes long enough for a new one."""
        context = self._context
        entries = context.archives.entries(clip)
        if hold := current_hold(clip, context.holds(), context.writer.now(), entries):
            raise removal.Held(hold)

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

    def _archive(self, work: _Work) -> ArchiveFound:
        """The clip's archive, which exists and is journalled."""
        step, archives = work.step, self._context.archives
        if isinstance(step, Remove):
            return ArchiveFound(step.archived, step.reason)
        known = archives.newest(step.clip)
        if known is not None and step.replaces is None:
            return ArchiveFound(known, step.reason, "archived by another run meanwhile")
        digest = digest_of(step.clip.path, work.stop)
        with self._shared.exclusive(digest):
            if (same := self._shared.adopt(step, digest)) is not None:
                return same
            return self._made(work, step, digest)

    def _made(self, work: _Work, step: Archive, digest: str) -> ArchiveFound:
        """A new archive, or one that is there and that the journal lacks."""
        assert self._encoder is not None, "a plan with clips to archive comes with an encoder"
        original = self._measured(work, self._encoder, digest)
        if step.reason is Reason.REPAIR and (step.replaces is None or digest != step.replaces.digest):
            words = f"{step.clip.path} is not what was archived: its bytes have changed"
            raise ClipFailed(Reason.DAMAGED, words)
        reason = Reason.NOT_ARCHIVED if step.reason is Reason.PERHAPS_ARCHIVED else step.reason
        if step.replaces is None and (adopted := self._adoption().adopt(step, original, work.stop)):
            return ArchiveFound(adopted, reason, "an archive of it existed already")
        archived, made = self._make(work, step, original, self._encoder)
        self._context.failures.forget(step.clip)
        return ArchiveFound(archived, reason, "; ".join(made.notes), made.encoding)

    def _measured(self, work: _Work, encoder: ArchiveEncoder, digest: str) -> MeasuredClip:
        clip = work.clip
        identity = archive_tag.Tag(clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns, digest)
        metadata = {
            "comment": archive_tag.compose(identity),
            "creation_time": clip.recorded.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return MeasuredClip(clip, encoder.measure(clip), digest, metadata)

    # --- making and publishing ---------------------------------------------------------------------

    def _make(
        self, work: _Work, step: Archive, original: MeasuredClip, encoder: ArchiveEncoder
    ) -> tuple[Archived, EncodeResult]:
        """Stage, verify, publish and journal: encoded if possible and worth it, otherwise lossless."""
        why = encoder.unencodable(original)
        if why is None:
            found = self._encoded(work, step, original, encoder)
            if not isinstance(found, Unencoded):
                return found
            why = found
        if not why.is_proved_sound:
            encoder.check_sound(original, work.threads, work.stop)
        for way in why.ways:
            with self._staged(work, step, original, encoder.suffix(way, original)) as (part, target):
                try:
                    made = encoder.keep(way, original, why, part, work.stop)
                except Refused as refused:
                    _log.info("%s: %s is no way to archive it: %s", step.relative, way, refused.message)
                    continue
                if encoder.is_small_enough(made, original):
                    return self._publish(work, step, original, part, target, made), made
        raise ClipFailed(Reason.FAILED, "no way to archive it was left")

    def _encoded(
        self, work: _Work, step: Archive, original: MeasuredClip, encoder: ArchiveEncoder
    ) -> tuple[Archived, EncodeResult] | Unencoded:
        """A smaller archive, or the reason why the clip is not encoded."""
        suffix = encoder.suffix(ArchiveMethod.ENCODE, original)
        threads, stop = work.threads, work.stop
        with self._staged(work, step, original, suffix) as (part, target):
            with self._display.job(step.relative, original.media.span) as advance:
                try:
                    made = encoder.encode(original, part, threads=threads, stop=stop, advance=advance)
                except Refused as refused:
                    if refused.is_lasting or self._is_last_try(step.clip):
                        return Unencoded(Reason.REFUSED, f"no encoder did it: {refused.message}")
                    raise
            if not encoder.is_small_enough(made, original):
                return NOT_SMALLER
            return self._publish(work, step, original, part, target, made), made

    def _is_last_try(self, clip: Clip) -> bool:
        """Whether the clip would not be retried automatically if it failed now."""
        failure, now = self._context.failures.of(clip.relative), clip.fingerprint
        if failure is None or (failure.size, failure.mtime_ns) != (now.size, now.mtime_ns):
            return False
        return failure.is_last_but_one

    @contextmanager
    def _staged(
        self, work: _Work, step: Archive, original: MeasuredClip, suffix: str
    ) -> Iterator[tuple[Staged, Path]]:
        """An empty staged file and the archive's path beside it; the file goes unless it is published."""
        # If the disk was unmounted, every encode fails, but a copy would fit into the folder that is left.
        volume_marker.check_same(self._context.trees, work.marker)
        stem = step.target.rpartition(".")[0]
        target = self._context.trees.archive / f"{stem}{suffix}"
        self._make_folder(step)
        free, total = filesystems.space(target.parent)
        if lacking := room_rules.lacking(step.size, free, total, self._context.floor):
            raise ClipFailed(Reason.NO_SPACE, f"{target.parent} {lacking}")
        with atomic.staged(target, announce=work.note.staging) as part:
            yield part, target

    def _make_folder(self, step: Archive) -> None:
        """Make the archive's folder, as readable as the source's."""
        trees = self._context.trees
        anchored.make_folder(trees.archive, step.target.rpartition("/")[0], model=trees.source)

    def _publish(
        self,
        work: _Work,
        step: Archive,
        original: MeasuredClip,
        part: Staged,
        target: Path,
        made: EncodeResult,
    ) -> Archived:
        clip = step.clip
        examiner, announce = self._adoption().encoder.examiner, work.note.staging_again
        made = chapters.add(examiner, part, made, original.media.span, announce=announce, stop=work.stop)
        # Where nobody knows which time is right, the archive keeps both: one in its name, one in its mtime.
        moment_ns = int(clip.recorded.timestamp() * 1_000_000_000)
        moment_ns = clip.written_ns if is_doubtful(clip, self._context.writer.now()) else moment_ns
        with part.path.open("rb") as staged:
            permissions.copy_access(clip.path, staged.fileno(), bits=0o666, least=0o400)
        os.utime(part.path, ns=(moment_ns, moment_ns))
        digest, size = digest_of(part.path, work.stop), part.path.stat().st_size
        if made.way is ArchiveMethod.COPY and digest != original.digest:
            raise ClipFailed(Reason.FAILED, "its copy reads differently")
        if not still_there(clip.path, clip.fingerprint):
            raise anchored.Stale("changed while it was encoded")
        if not work.lock.still_mine():
            raise Stopped("the clip's lock was lost")
        volume_marker.check_same(self._context.trees, work.marker)
        # If a folder was swapped for a link meanwhile, nothing is published through that link.
        self._make_folder(step)
        unencoded = made.encoding.unencoded
        if made.way is ArchiveMethod.COPY and unencoded is not None:
            self._context.writer.copying(clip, digest, unencoded)
        place = self._place(step, original, part, target)
        archived = original.archived_as(place, size, unencoded or "", made.looked.motion)
        self._context.writer.archived(clip, archived, made, digest, moment_ns)
        thumbnails.keep(self._context.trees, clip, made.looked)
        self._forget_damage(clip, place)
        return archived

    def _forget_damage(self, clip: Clip, place: str) -> None:
        """Drop the findings about former archives of this clip, and about the file that was at this path."""
        archives = self._context.archives
        known = {place, *(entry.archive for entry in archives.entries(clip))}
        if over := frozenset(filter(archives.is_damaged, known)):
            findings.change(self._context.trees.state, Change(sound=over))

    def _place(self, step: Archive, original: MeasuredClip, part: Staged, target: Path) -> str:
        """Publish under the target name, or under a numbered one if another file has that name."""
        archive = self._context.trees.archive
        wanted = target.relative_to(archive).as_posix()
        outdated = self._adoption().outdated(step, original, wanted)
        if outdated:
            self._refuse_held(step.clip)
        for former in outdated:
            self._context.remover.replace_archive(step.clip, former)
        for number in range(1, MOST_NAMES):
            name = numbered(wanted, number)
            try:
                atomic.publish(part, archive / name)
            except FileExistsError:
                continue
            return name
        raise ClipFailed(Reason.FAILED, f"{MOST_NAMES} files are named like {wanted} already")

    def _adoption(self) -> Adoption:
        assert self._encoder is not None
        return Adoption(self._context.trees, self._context.archives, self._context.writer, self._encoder)

    # --- afterwards --------------------------------------------------------------------------------

    def _remove(self, work: _Work, found: ArchiveFound) -> Outcome:
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
            if not context.archives.is_valid(archived):
                raise anchored.Stale("its archive no longer exists or no longer counts")
            if step.reason is Reason.REPAIR:
                return Outcome(step, Result.DONE, found.reason, detail, where, found.encoding)
            is_doubtful = isinstance(step, Archive) and step.keeps_source
            reason = Reason.CLOCK_DOUBTFUL if is_doubtful else found.reason
            if disposal is not Disposal.KEEP:
                self._refuse_held(step.clip)
            gone = context.remover.remove(step.clip, archived, disposal, reason)
        except removal.EXPECTED as error:
            return self._not_removed(work, archived, found.encoding, error)
        context.failures.forget(step.clip)
        target = where if isinstance(step, Archive) else gone.target
        return Outcome(step, Result.DONE, found.reason, detail, target, found.encoding, gone.freed)

    def _not_removed(
        self, work: _Work, archived: Archived, encoding: Encoding | None, error: removal.Expected
    ) -> Outcome:
        """Remember and report an archived source that stays, or a picture that does."""
        step, context = work.step, self._context
        outcome = removal.outcome_of(step, error, gone=self._why_stale(step.clip))
        where = os.fspath(context.trees.archive / archived.archive)
        if outcome.result in (Result.STALE, Result.HELD):
            words = f"archived; the source was left alone: {outcome.detail}"
            return replace(outcome, detail=words, target=where, encoding=encoding)
        if removal.leaves_copy(error) or not os.path.lexists(step.clip.path):
            work.note.keep()
        if isinstance(error, NotRemovable):
            context.failures.note(step.clip, Reason.KEPT_SOURCE, outcome.detail, context.writer.now())
            context.writer.not_removed(step.clip, archived, outcome.detail)
        words = f"archived; but {outcome.detail}"
        return replace(outcome, reason=Reason.KEPT_SOURCE, detail=words, target=where, encoding=encoding)

    def _failed(self, step: Archive | Remove, failed: ClipFailed) -> Outcome:
        if failed.reason is not Reason.NO_SPACE:
            self._context.failures.note(step.clip, failed.reason, failed.message, self._context.writer.now())
            self._context.writer.failed(step.clip, failed.reason, failed.message)
        return Outcome(step, Result.FAILED, failed.reason, failed.message)
