"""Archives one clip at a time, in the order of steps of docs/architecture.md, section 4."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from camarchiver.archive.encode import ArchiveEncoder, ClipFailed, MeasuredClip, Stopped
from camarchiver.archive.source_removal import SourceRemover
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.discovery.source_tree import still_there
from camarchiver.domain.clip import Archived, Clip, Disposal, Trees
from camarchiver.domain.hold import Hold
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding, Outcome, Result
from camarchiver.domain.steps import Archive, Remove
from camarchiver.errors import ClipBusy, StorageError
from camarchiver.journal.lookup import MOST_NAMES, ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.media import archive_tag
from camarchiver.naming.paths import numbered
from camarchiver.runtime import log_setup
from camarchiver.runtime.progress import Display
from camarchiver.runtime.signals import AnyOf, Stop, Stopper
from camarchiver.state import claims
from camarchiver.state.claims import ClaimFile, WorkClaim
from camarchiver.state.failures import Failures
from camarchiver.storage import anchored, atomic, linux, locking
from camarchiver.storage.atomic import Staged
from camarchiver.storage.locking import ClipLock

_log = logging.getLogger(__name__)

RESERVE = 64_000_000
"""Bytes left free on the archive's filesystem (a hundredth of a small one) beyond a clip's own size."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class ArchiveContext:
    """What archiving needs besides the clip: trees, memory, and who writes it down."""

    trees: Trees
    standing: ArchiveLookup
    failures: Failures
    disposer: SourceRemover
    scribe: JournalWriter
    holds: Callable[[], tuple[Hold, ...]]
    """Read anew under each clip's lock."""
    disposal: Disposal
    keeps_folders: bool = False
    """Whether date folders stay when they become empty: somebody may be filling them."""


@dataclass(frozen=True, slots=True)
class _Work:
    """One step in progress."""

    step: Archive | Remove
    lock: ClipLock
    note: ClaimFile
    threads: int
    stop: Stopper

    @property
    def clip(self) -> Clip:
        return self.step.clip


class ClipArchiver:
    """Performs the steps of an `archive` plan; several threads may."""

    def __init__(
        self, desk: ArchiveContext, shrinker: ArchiveEncoder | None, display: Display, stop: Stop
    ) -> None:
        self._desk = desk
        self._shrinker = shrinker
        self._display = display
        self._stop = stop

    def perform(self, step: Archive | Remove, threads: int) -> Outcome:
        """What came of one step; every expected trouble is an outcome, none ends the run."""
        with log_setup.about(step.clip.relative):
            return self._perform(step, threads)

    def _perform(self, step: Archive | Remove, threads: int) -> Outcome:
        try:
            outcome = self._claimed(step, threads)
        except ClipBusy as busy:
            outcome = Outcome(step, Result.BUSY, Reason.BUSY, busy.message)
        except anchored.Stale as stale:
            outcome = Outcome(step, Result.STALE, Reason.STALE, str(stale))
        except FileNotFoundError:
            outcome = Outcome(step, Result.STALE, Reason.STALE, self._why_stale(step.clip))
        except Stopped as stopped:
            outcome = Outcome(step, Result.SKIPPED, step.reason, stopped.message)
        except ClipFailed as failed:
            if still_there(step.clip.path, step.clip.fingerprint):
                outcome = self._failed(step, failed)
            else:
                # It failed because it changed: nothing is remembered against what stands there now.
                outcome = Outcome(step, Result.STALE, Reason.STALE, "changed or gone while it was worked on")
        except StorageError as error:
            outcome = Outcome(step, Result.FAILED, Reason.FAILED, f"{error.message}: {error.hint}")
        except OSError as error:
            reason = Reason.NO_SPACE if error.errno in _FULL else Reason.FAILED
            outcome = Outcome(step, Result.FAILED, reason, _sentence(error))
        finally:
            self._display.done(step.clip.fingerprint.size)
        words = step.clip.relative, outcome.result, outcome.reason, outcome.detail
        _log.info("%s: %s (%s) %s", *words)
        return outcome

    def _claimed(self, step: Archive | Remove, threads: int) -> Outcome:
        clip, trees = step.clip, self._desk.trees
        # The note outlives the lock, so that a kill between them leaves nothing that no sweep would find.
        with ExitStack() as after, locking.clip_lock(clip.path, place=trees.state / "locks") as lock:
            if not still_there(clip.path, clip.fingerprint):
                raise anchored.Stale(self._why_stale(clip))
            now, entries = self._desk.scribe.now(), self._desk.standing.entries(clip)
            if hold := current_hold(clip, self._desk.holds(), now, entries):
                return Outcome(step, Result.HELD, Reason.HELD, f"hold {hold.id}")
            if linux.being_written(clip.path):
                return Outcome(step, Result.SKIPPED, Reason.BEING_WRITTEN)
            if self._desk.disposal is not Disposal.KEEP and not self._desk.keeps_folders:
                after.callback(self._desk.disposer.tidy, clip)
            note = after.enter_context(claims.claimed(trees, self._claim(clip), lock.file))
            work = _Work(step, lock, note, threads, AnyOf(self._stop.event, lock.lost))
            return self._dispose(work, *self._archive(work))

    def _why_stale(self, clip: Clip) -> str:
        if not os.path.lexists(clip.path) and self._desk.standing.newest(clip):
            return "archived by another run meanwhile"
        return "changed or gone since it was planned"

    def _archive(self, work: _Work) -> tuple[Archived, Encoding | None, str]:
        """The clip's archive, standing and journalled; how it was made, and what to say of it."""
        step = work.step
        if isinstance(step, Remove):
            return step.archived, None, ""
        known = self._desk.standing.newest(step.clip)
        if known is not None and step.standing is None:
            return known, None, "archived by another run meanwhile"
        assert self._shrinker is not None, "a plan with clips to archive comes with an encoder"
        original = self._measured(work, self._shrinker)
        if step.clip.links > 1 and (twin := self._desk.standing.twin(step.clip, original.digest)):
            self._desk.scribe.same_file(step.clip, twin)
            return twin, None, f"the same file as {twin.source}"
        if step.standing is None and (adopted := self._adopt(step, original, self._shrinker, work.stop)):
            return adopted, None, "an archive of it stood already"
        archived, made = self._make(work, step, original, self._shrinker)
        self._desk.failures.forget(step.clip)
        return archived, made.encoding, "; ".join(made.notes)

    def _measured(self, work: _Work, shrinker: ArchiveEncoder) -> MeasuredClip:
        clip = work.clip
        digest = _digest(clip.path, work.stop)
        identity = archive_tag.Tag(clip.relative, clip.fingerprint.size, clip.fingerprint.mtime_ns, digest)
        metadata = {
            "comment": archive_tag.compose(identity),
            "creation_time": clip.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        return MeasuredClip(clip, shrinker.measure(clip), digest, metadata)

    # --- making and publishing ---------------------------------------------------------------------

    def _make(
        self, work: _Work, step: Archive, original: MeasuredClip, shrinker: ArchiveEncoder
    ) -> tuple[Archived, EncodeResult]:
        """Stage, verify, publish and journal, by the first way that is worth it."""
        for way, suffix in shrinker.ways(original):
            target = self._desk.trees.archive / f"{step.target.rpartition('.')[0]}{suffix}"
            folder = step.target.rpartition("/")[0]
            anchored.make_folder(self._desk.trees.archive, folder)
            _check_space(step.clip, target.parent)
            with atomic.staged(target, announce=work.note.staging) as part:
                with self._display.job(step.clip.relative, original.media.span) as advance:
                    made = shrinker.fill(
                        way, original, part, threads=work.threads, stop=work.stop, advance=advance
                    )
                if shrinker.is_small_enough(made, original):
                    return self._publish(work, step, original, part, target, made), made
        raise ClipFailed(Reason.FAILED, "no way to archive it was left")

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
        start_ns = int(clip.start.timestamp() * 1_000_000_000)
        part.path.chmod(stat.S_IMODE(clip.path.lstat().st_mode) & 0o666 | 0o400)
        os.utime(part.path, ns=(start_ns, start_ns))
        digest, size = _digest(part.path, work.stop), part.path.stat().st_size
        if not still_there(clip.path, clip.fingerprint):
            raise anchored.Stale("changed while it was encoded")
        if not work.lock.still_mine():
            raise Stopped("the clip's lock was lost")
        # A folder that was swapped for a link meanwhile gets nothing under a final name.
        anchored.make_folder(self._desk.trees.archive, step.target.rpartition("/")[0])
        place = self._place(step, original, part, target)
        archived = self._entry(original, place, size, remuxed=made.way is not ArchiveMethod.ENCODE)
        self._desk.scribe.archived(clip, archived, made, digest, start_ns)
        return archived

    def _place(self, step: Archive, original: MeasuredClip, part: Staged, target: Path) -> str:
        """Publish under the target name, or a numbered one where something else stands there."""
        archive = self._desk.trees.archive
        wanted = target.relative_to(archive).as_posix()
        if step.standing is not None and self._desk.standing.stands(step.standing):
            self._desk.disposer.replace_archive(step.clip, step.standing.archive)
        elif self._is_ours(wanted, original):
            self._desk.disposer.replace_archive(step.clip, wanted)
        for number in range(1, MOST_NAMES):
            name = numbered(wanted, number)
            try:
                atomic.publish(part, archive / name)
            except FileExistsError:
                continue
            return name
        raise ClipFailed(Reason.FAILED, f"{MOST_NAMES} files are named like {wanted} already")

    def _is_ours(self, relative: str, original: MeasuredClip) -> bool:
        """Whether a damaged archive at the target name was made from this very source."""
        assert self._shrinker is not None
        path = self._desk.trees.archive / relative
        if path.is_symlink() or not path.is_file():
            return False
        if any(entry.archive == relative for entry in self._desk.standing.entries(original.clip)):
            return True
        return self._names(path, original, self._shrinker)

    # --- adopting ----------------------------------------------------------------------------------

    def _adopt(
        self, step: Archive, original: MeasuredClip, shrinker: ArchiveEncoder, stop: Stopper
    ) -> Archived | None:
        """Take over an archive that a run published and could not journal, if both decode whole."""
        for path in self._desk.standing.candidates_by_name(step.target):
            if not self._names(path, original, shrinker):
                continue
            verdict = shrinker.compare(original, path, stop)
            if not verdict.ok:
                _log.warning("%s names this clip but can't be adopted: %s", path, verdict.problem)
                continue
            atomic.sync_file(path)
            atomic.fsync_folder(path.parent)
            status = path.stat()
            place = path.relative_to(self._desk.trees.archive).as_posix()
            archived = self._entry(original, place, status.st_size, remuxed=False)
            self._desk.scribe.adopted(step.clip, archived, _digest(path, stop), status.st_mtime_ns)
            return archived
        return None

    def _names(self, path: Path, original: MeasuredClip, shrinker: ArchiveEncoder) -> bool:
        found = archive_tag.parse(shrinker.tags(path).get("comment", ""))
        return found is not None and found.names(original.clip, original.digest)

    def _entry(self, original: MeasuredClip, place: str, size: int, *, remuxed: bool) -> Archived:
        clip = original.clip
        return Archived(
            source=clip.relative,
            size=clip.fingerprint.size,
            mtime_ns=clip.fingerprint.mtime_ns,
            digest=original.digest,
            archive=place,
            archive_size=size,
            remuxed=remuxed,
            duration=round(original.media.span, 3),
        )

    # --- afterwards --------------------------------------------------------------------------------

    def _dispose(self, work: _Work, archived: Archived, encoding: Encoding | None, detail: str) -> Outcome:
        step = work.step
        where = os.fspath(self._desk.trees.archive / archived.archive)
        disposal = step.disposal if isinstance(step, Remove) else self._desk.disposal
        try:
            if not work.lock.still_mine():
                raise anchored.Stale("the clip's lock was lost")
            if not self._desk.standing.stands(archived):
                raise anchored.Stale("its archive does not stand any more")
            gone = self._desk.disposer.dispose(step.clip, archived, disposal, step.reason)
        except (anchored.Stale, FileNotFoundError) as error:
            words = f"archived; the source was left alone: {error}"
            return Outcome(step, Result.STALE, Reason.STALE, words, where, encoding)
        except OSError as error:
            if not os.path.lexists(step.clip.path):
                work.note.keep()
            words = f"archived; but {_sentence(error)}"
            return Outcome(step, Result.FAILED, Reason.KEPT_SOURCE, words, where, encoding)
        target = where if isinstance(step, Archive) else gone.target
        return Outcome(step, Result.DONE, step.reason, detail, target, encoding, gone.freed)

    def _claim(self, clip: Clip) -> WorkClaim:
        run = self._desk.scribe.run
        return WorkClaim(
            clip.relative,
            clip.fingerprint.size,
            clip.fingerprint.mtime_ns,
            clip.start.isoformat(),
            clip.camera,
            clip.sidecars,
            run.host,
            os.getpid(),
            run.id,
        )

    def _failed(self, step: Archive | Remove, failed: ClipFailed) -> Outcome:
        if failed.reason is not Reason.NO_SPACE:
            self._desk.failures.note(step.clip, failed.reason, failed.message, self._desk.scribe.now())
            self._desk.scribe.failed(step.clip, failed.reason, failed.message)
        return Outcome(step, Result.FAILED, failed.reason, failed.message)


def _check_space(clip: Clip, folder: Path) -> None:
    status = os.statvfs(folder)
    free, whole = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    if free < clip.fingerprint.size + min(RESERVE, whole // 100):
        size = clip.fingerprint.size
        raise ClipFailed(Reason.NO_SPACE, f"{folder} has {free:,} bytes free and the clip may need {size:,}")


def _digest(path: Path, stop: Stopper) -> str:
    """BLAKE2b as `b2sum` prints it."""
    digest = hashlib.blake2b()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            if stop.is_set():
                raise Stopped("the run stops")
            digest.update(block)
    return digest.hexdigest()


def _sentence(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
