"""Stages archives, and publishes and journals them once they are verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from camarchiver.archive.adoption import Adoption
from camarchiver.archive.encode import ArchiveEncoder, ClipFailed, Stopped, digest_unless_stopped
from camarchiver.archive.measured_clip import MeasuredClip
from camarchiver.archive.motion import chapters, thumbnails
from camarchiver.archive.source_removal import SourceRemover
from camarchiver.discovery.clip_ends import current_hold
from camarchiver.discovery.source_tree import still_there
from camarchiver.domain.clip import Archived, Clip, Disposal, Trees
from camarchiver.domain.clocks import is_doubtful
from camarchiver.domain.hold import Hold
from camarchiver.domain.motion import WHOLE_VIEWS, CameraViews
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult
from camarchiver.domain.steps import Archive, ArchiveStep
from camarchiver.errors import CamarchiverError
from camarchiver.journal.lookup import MOST_NAMES, ArchiveLookup
from camarchiver.journal.writer import JournalWriter
from camarchiver.naming.paths import numbered
from camarchiver.policy import room_rules
from camarchiver.runtime.signals import Stopper
from camarchiver.state import findings, volume_marker
from camarchiver.state.failures import Failures
from camarchiver.state.findings import FindingsUpdate
from camarchiver.state.work_in_progress import ClipNote
from camarchiver.storage import anchored, atomic, filesystems, permissions, removal
from camarchiver.storage.atomic import Staged
from camarchiver.storage.locking import ClipLock


class ArchiveContext(Struct, frozen=True):
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


class StepInWork(Struct, frozen=True):
    """One step in progress."""

    step: ArchiveStep
    lock: ClipLock
    note: ClipNote
    marker: str
    """The volume marker of the archive when the step began."""
    threads: int
    stop: Stopper

    @property
    def clip(self) -> Clip:
        return self.step.clip


def refuse_held(context: ArchiveContext, clip: Clip) -> None:
    """Raise Held if a hold covers the clip at this moment; an encode takes long enough for a new one."""
    entries = context.archives.entries(clip)
    if hold := current_hold(clip, context.holds(), context.writer.now(), entries):
        raise removal.Held(hold)


def replace_archive(context: ArchiveContext, work: StepInWork, former: str) -> None:
    """Move an archive of the clip in work away; if the journal can't say where it is then, the note stays."""
    try:
        context.remover.replace_archive(work.step.source_clip, former)
    except (OSError, CamarchiverError) as error:
        if context.remover.is_open(error, former):
            work.note.keep()
        raise


class ArchivePublisher:
    """Gives archives their staged files and their final names."""

    def __init__(self, context: ArchiveContext, encoder: ArchiveEncoder) -> None:
        self._context = context
        self.adoption = Adoption(context.trees, context.archives, context.writer, encoder)

    @contextmanager
    def staged(self, work: StepInWork, step: Archive, suffix: str) -> Iterator[tuple[Staged, Path]]:
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

    def publish(
        self,
        work: StepInWork,
        step: Archive,
        original: MeasuredClip,
        part: Staged,
        target: Path,
        made: EncodeResult,
    ) -> Archived:
        """Publish a verified staged archive at `target`, or under a numbered name, and journal it."""
        clip = step.clip
        examiner, announce = self.adoption.encoder.examiner, work.note.staging_again
        made = chapters.add(examiner, part, made, original.media, announce=announce, stop=work.stop)
        # Where nobody knows which time is right, the archive keeps both: one in its name, one in its mtime.
        moment_ns = int(clip.recorded.timestamp() * 1_000_000_000)
        moment_ns = clip.written_ns if is_doubtful(clip, self._context.writer.now()) else moment_ns
        with part.path.open("rb") as staged:
            permissions.copy_access(clip.path, staged.fileno(), bits=0o666, least=0o400)
        os.utime(part.path, ns=(moment_ns, moment_ns))
        digest, size = digest_unless_stopped(part.path, work.stop), part.path.stat().st_size
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
            self._context.writer.copying(step.source_clip, digest, unencoded)
        place = self._place(work, step, original, part, target)
        archived = original.archived_as(place, size, unencoded or "", made.findings.motion)
        generation = self._generation(step)
        self._context.writer.archived(step.source_clip, archived, made, digest, moment_ns, generation)
        if step.reason is Reason.REPAIR and step.replaces is not None:
            former = step.replaces.archive
            for line in [*self._context.archives.sharing(former, clip, original.digest)]:
                self._context.writer.repaired_too(line, archived)
        thumbnails.keep(self._context.trees, step.source_clip, made.findings)
        self._forget_damage(step.source_clip, place)
        return archived

    def _generation(self, step: Archive) -> int | None:
        """How often the clip was encoded, if more than once; an archive of its source is the first time."""
        if step.reason is not Reason.SECOND_GENERATION or step.replaces is None:
            return None
        return self._context.archives.generation(step.source_clip, step.replaces.archive) + 1

    def _forget_damage(self, clip: Clip, place: str) -> None:
        """Drop the findings about former archives of this clip, and about the file that was at this path."""
        archives = self._context.archives
        known = {place, *(entry.archive for entry in archives.entries(clip))}
        if over := frozenset(filter(archives.is_damaged, known)):
            findings.change(self._context.trees.state, FindingsUpdate(sound=over))

    def _place(
        self, work: StepInWork, step: Archive, original: MeasuredClip, part: Staged, target: Path
    ) -> str:
        """Publish under the target name, or under a numbered one if another file has that name."""
        archive = self._context.trees.archive
        wanted = target.relative_to(archive).as_posix()
        # An archive that another is encoded from stays until that one is published and journalled.
        is_last_copy = step.reason is Reason.SECOND_GENERATION
        outdated = () if is_last_copy else self.adoption.outdated(step, original, wanted)
        if outdated:
            refuse_held(self._context, step.source_clip)
        for former in outdated:
            replace_archive(self._context, work, former)
        # The open folder stays the one below the archive root, also if a link takes its place now.
        with anchored.opened_folder(archive, anchored.parts_of(wanted)[:-1]) as folder:
            for number in range(1, MOST_NAMES):
                name = numbered(wanted, number)
                try:
                    with atomic.naming(archive / name):
                        atomic.publish(part, archive / name, folder=folder)
                except FileExistsError:
                    continue
                return name
        raise ClipFailed(Reason.FAILED, f"{MOST_NAMES} files are named like {wanted} already")
