"""Small trees of clips for tests of discovery and cleanup, made in memory of the journal's lines."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from msgspec import structs

from camarchiver.archive.source_removal import SidecarPolicy, SourceRemover
from camarchiver.cleanup import executor, planner
from camarchiver.cleanup.planner import CleanupPlan
from camarchiver.domain.clip import Archived, Clip, Disposal, Trees
from camarchiver.domain.clocks import Clocks
from camarchiver.domain.conventions import Conventions
from camarchiver.domain.damage import Damage, Flaw
from camarchiver.domain.motion import ClipMotion
from camarchiver.domain.reason import Reason
from camarchiver.domain.report import ArchiveMethod, EncodeResult, Encoding, Report
from camarchiver.domain.steps import MakeCopy, RemoveCopy
from camarchiver.journal.event import EventKind, JournalEvent
from camarchiver.journal.store import Journal
from camarchiver.journal.writer import JournalWriter, RunId
from camarchiver.pipeline import Pipeline
from camarchiver.policy.cleanup_rules import CleanupPolicy, Limits
from camarchiver.runtime.progress import Silent
from camarchiver.runtime.signals import Stop
from camarchiver.state import findings, volume_marker
from camarchiver.state.findings import FindingsUpdate
from camarchiver.storage.anchored import fingerprint_of
from tests import dates


class Yard:
    """A journalled tree of small files that cameras recorded before `now`; nothing is encoded."""

    def __init__(self, root: Path, *, archive_root: Path | None = None, trash_root: Path | None = None):
        self.trees = Trees(root, archive_root or root / "archived", trash_root or root / ".deleted")
        self.now = dates.ago()
        self.clocks = Clocks()
        root.mkdir(exist_ok=True)
        volume_marker.mark(self.trees)

    def record(self, days: float, camera: str = "front", size: int = 10_000) -> Clip:
        """A source that was recorded so many days before `now`."""
        start = (self.now - timedelta(days=days)).replace(microsecond=0)
        path = self.trees.source / f"{dates.clip_of(camera, start)}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{camera}{start}").randbytes(size))
        os.utime(path, (start.timestamp(),) * 2)
        return self.clip(path, camera, start)

    def clip(self, path: Path, camera: str, start: datetime) -> Clip:
        """The source that stands at `path`."""
        status = path.lstat()
        folder = path.parent.relative_to(self.trees.source).as_posix()
        pictures = tuple(p.name for p in sorted(path.parent.glob(f"{path.stem}.jpg")))
        print_of = fingerprint_of(status)
        return Clip(self.trees.source, folder, path.name, camera, start, print_of, sidecars=pictures)

    def archive(self, clip: Clip, size: int = 3000, motion: ClipMotion | None = None) -> Archived:
        """Stand an archive for it and journal it, as `archive --keep-source` leaves it."""
        path = self.trees.archive / clip.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a" * size)
        os.utime(path, ns=(clip.fingerprint.mtime_ns,) * 2)
        print_ = clip.fingerprint
        archived = structs.replace(
            Archived(
                clip.relative, print_.size, print_.mtime_ns, "0" * 128, clip.relative, size, False, 60.0
            ),
            motion=motion,
        )
        made = EncodeResult(
            ArchiveMethod.ENCODE, Encoding("x264", ("x264",), 1.0, print_.size, size), {}, "test"
        )
        self.writer(clip.start).archived(clip, archived, made, "0" * 128, print_.mtime_ns)
        return archived

    def trash(self, clip: Clip, archived: Archived, days: float) -> Path:
        """Trash the source, as `archive` did so many days before `now`."""
        writer = self.writer(self.now - timedelta(days=days))
        remover = SourceRemover(self.trees, writer, SidecarPolicy.TRASH)
        remover.remove(clip, archived, Disposal.TRASH, Reason.AGE)
        remover.remove_empty_folders(clip)
        return self.trees.trash / "input" / clip.relative

    def standing(self, days: float, camera: str = "front") -> Clip:
        """A source with its archive."""
        clip = self.record(days, camera)
        self.archive(clip)
        return clip

    def given_away(self, days: float, trashed: float, camera: str = "front") -> Path:
        """An archive whose source lies in the trash since `trashed` days."""
        clip = self.record(days, camera)
        return self.trash(clip, self.archive(clip), trashed)

    def copy(self, clip: Clip, remote: str, *, is_lost: bool = False) -> None:
        """An off-site copy of its archive as the journal knows it: made, verified, and perhaps lost since."""
        writer = self.writer(self.now)
        print_of, archive = clip.fingerprint, structs.replace(clip, root=self.trees.archive)
        identity = print_of.size, print_of.mtime_ns
        size = (self.trees.archive / clip.relative).stat().st_size
        archive = structs.replace(archive, fingerprint=structs.replace(print_of, size=size))
        step = MakeCopy(archive, Reason.NOT_COPIED, clip.relative, identity, "0" * 128, clip.relative)
        lines = [writer.copied(step, remote, 1.0), writer.copy_verified(step, remote, "read back")]
        if is_lost:
            lines.append(writer.copy_lost(step, remote, "missing"))
        Journal(self.trees.state).append(*lines)

    def find_damaged(self, *archives: str) -> None:
        """As `verify` writes it down, whatever these archives hold."""
        damage = Damage(
            flaw=Flaw.WRONG_HASH, detail="x", at=self.now, run="v", source="x.mp4", day=self.now.date()
        )
        findings.change(self.trees.state, FindingsUpdate(dict.fromkeys(archives, damage)))

    def find_sound(self, *archives: str) -> None:
        """As a later `verify` writes it down."""
        findings.change(self.trees.state, FindingsUpdate(sound=archives))

    def writer(self, at: datetime) -> JournalWriter:
        """Writes in the name of a run of that time."""
        return JournalWriter(
            Journal(self.trees.state), RunId("20260101T000000-aaaaaa", "archive", "pi"), lambda: at
        )

    # --- acting --------------------------------------------------------------------------------------

    def pipeline(self, now: datetime | None = None) -> Pipeline:
        """A pipeline whose clock stands at `now`."""
        conventions = Conventions(clocks=self.clocks)
        return Pipeline(self.trees, UTC, "cleanup", conventions, started=now or self.now)

    def plan(self, now: datetime | None = None, **policy: Any) -> CleanupPlan:
        """The plan, and the pipeline's whole list of what stays."""
        return planner.plan(self.pipeline(now), cleanup_policy(**policy), list_all=True)

    def carry_out(
        self,
        plan: CleanupPlan,
        *,
        stop: Stop | None = None,
        sidecars: SidecarPolicy = SidecarPolicy.TRASH,
    ) -> Report:
        """Do what the plan says."""
        return executor.execute(
            self.pipeline(),
            plan,
            sidecars,
            stop=stop or Stop(),
            display=Silent(),
            on_outcome=lambda outcome: None,
        )

    # --- looking -------------------------------------------------------------------------------------

    def files(self) -> dict[str, bytes]:
        """Every file of the three trees that is no state of ours, by path below the source's parent."""
        roots = {self.trees.source, self.trees.archive, self.trees.trash}
        found = {path for root in roots for path in root.rglob("*") if path.is_file()}
        return {
            os.path.relpath(path, self.trees.source): path.read_bytes()
            for path in sorted(found)
            if not path.match("*.log") and ".camarchiver" not in path.parts
        }

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Lines of the journal of these kinds."""
        files = sorted((self.trees.state / "journal").rglob("*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [line for line in lines if line["event"] in kinds]


class DenseYard(Yard):
    """Three trees in which every folder holds many clips of a day, most of them alike, and some odd ones."""

    FATES = ("source", "archive", "archive", "both", "trash", "trash", "purged")
    ODDITIES = (
        *("early mtime", "late mtime", "what", "start", "zone", "microsecond", "camera", "duration"),
        *("archive", "older entry", "archived size", "no archive", "links", "reason", "replaced", "tree"),
        *("trashed size", "trashed mtime", "journalled mtime", "journalled size", "suffix", "damaged"),
    )

    def __init__(self, root: Path, seed: int) -> None:
        super().__init__(root)
        self.now = datetime(2026, 1, 20, 12, tzinfo=UTC)
        self.draw = random.Random(seed)
        self.odd = ""
        self.lines: list[JournalEvent] = []
        self.damaged: set[str] = set()
        """Archives that were found damaged, by path below the archive root."""
        for days in range(-3, 50, 4):
            fate = self.draw.choice(["source", "trash", "", ""])
            for camera in ("front", "yard"):
                self.odd = self.ODDITIES[seed % len(self.ODDITIES)] if self.draw.randrange(2) else ""
                self.day(self.now - timedelta(days=days), camera, fate or self.draw.choice(self.FATES))
        Journal(self.trees.state).append(*self.lines)
        self.find_damaged(*self.damaged)

    def day(self, at: datetime, camera: str, fate: str) -> None:
        """Some hours of one camera."""
        sent = self.now - timedelta(days=self.draw.choice([3, 20.5, 21, 30, 40]))
        for hour in range(self.draw.choice([3, 4, 6, 14])):
            start = at.replace(hour=hour, minute=self.draw.randrange(60), second=self.draw.randrange(60))
            self.one(start, camera, fate, sent + timedelta(minutes=hour))

    def one(self, start: datetime, camera: str, fate: str, sent: datetime) -> None:
        """One clip: its files, and what the journal tells of it."""
        folder, stem = dates.folder_of(start), dates.clip_of(camera, start)
        size, mtime_ns = 20_000 + self.draw.randrange(99), int(start.timestamp()) * 10**9
        three_days, noon = 3 * 86_400 * 10**9, int(self.now.timestamp()) * 10**9
        mtime_ns = self.oddly("early mtime", mtime_ns, 0, -1, mtime_ns - three_days)
        mtime_ns = self.oddly("late mtime", mtime_ns, mtime_ns + 10**13, noon)
        source, has_picture = f"{stem}.mp4", self.draw.random() < 0.9
        if fate in ("source", "both"):
            self.touch(self.trees.source / source, size, mtime_ns)
            if has_picture:
                self.touch(self.trees.source / f"{stem}.jpg", 1, mtime_ns)
        if fate == "source":
            return
        archived = JournalEvent(
            self.oddly("what", EventKind.ARCHIVED, EventKind.ADOPTED),
            at=sent,
            run="20260101T000000-aaaaaa",
            host="nas",
            source=source,
            start=self.start(start),
            camera=self.oddly("camera", camera, "other"),
            duration=self.oddly("duration", 20.0, None, 20.5),
            source_size=size,
            source_mtime_ns=self.oddly("journalled mtime", mtime_ns, 0, mtime_ns - three_days, mtime_ns + 1),
            source_blake2b="5" * 128,
            archive=self.oddly("archive", source, f"{stem}~2.mp4", f"{folder}/other.mp4"),
            archive_size=size // 2,
        )
        older = structs.replace(archived, duration=99.0), structs.replace(archived, source_size=7)
        self.lines += [*self.oddly("older entry", (), older[:1], older[1:]), archived]
        lies = self.trees.archive / str(archived.archive)
        if self.oddly("no archive", True, False):
            self.touch(lies, self.oddly("archived size", size // 2, 7), mtime_ns)
            if has_picture:
                self.touch(lies.with_suffix(".jpg"), 1, mtime_ns)
            self.link_oddly(lies)
            self.drop_oddly(lies)
        if self.oddly("damaged", False, True):
            self.damaged.add(str(archived.archive))
        if fate in ("trash", "purged"):
            self.give_away(archived, (size, mtime_ns), has_picture, is_purged=fate == "purged")

    def start(self, start: datetime) -> datetime:
        """As the journal tells it."""
        start = self.oddly("start", start, start - timedelta(hours=start.hour + 1), start.replace(hour=23))
        start = self.oddly("zone", start, start.astimezone(ZoneInfo("Asia/Tokyo")))
        return cast(datetime, self.oddly("microsecond", start, start.replace(microsecond=5)))

    def give_away(
        self, archived: JournalEvent, identity: tuple[int, int], has_picture: bool, *, is_purged: bool
    ) -> None:
        """The source went to the trash, and perhaps from there."""
        place = f"input/{archived.source}"
        gone = structs.replace(
            archived,
            event=EventKind.TRASHED,
            source_blake2b=None,
            trash=place,
            reason=self.oddly("reason", self.oddly("replaced", "age", "replaced", None), "max-age-hard"),
            source_mtime_ns=self.oddly("journalled mtime", archived.source_mtime_ns, identity[1]),
            source_size=self.oddly("journalled size", archived.source_size, 7),
            sidecars={f"{Path(archived.source).stem}.jpg": "/x"} if has_picture else None,
            duration=self.oddly("duration", None, 21.0),
            tree=self.oddly("tree", None, "source", "archive", "trash"),
        )
        self.lines.append(gone)
        if is_purged:
            self.lines.append(structs.replace(gone, event=EventKind.PURGED, tree="trash"))
            return
        there, (size, mtime_ns) = self.trees.trash / place, identity
        self.touch(
            there,
            self.oddly("trashed size", size, 5),
            self.oddly("trashed mtime", mtime_ns, mtime_ns + 1),
        )
        self.link_oddly(there)
        self.drop_oddly(there)

    def drop_oddly(self, path: Path) -> None:
        """Now and then a file of somebody else's, of every sort."""
        if self.oddly("suffix", False, True):
            for suffix in (".ts", ".jpeg", ".MP4", ".m4v", ".txt", ".png"):
                self.touch(path.with_suffix(suffix), 3, 0)

    def link_oddly(self, path: Path) -> None:
        """Now and then another name for a file, in a folder of its own."""
        if self.oddly("links", False, True):
            other = path.parent / "2020/other" / path.name
            other.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, other)

    def oddly(self, which: str, usual: Any, *odd: Any) -> Any:
        """The usual, and now and then something else, where this is what is odd on the day."""
        return self.draw.choice(odd) if which == self.odd and not self.draw.randrange(5) else usual

    def touch(self, path: Path, size: int, mtime_ns: int) -> None:
        """A file without blocks."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, size)
        os.utime(path, ns=(mtime_ns, mtime_ns))


def cleanup_policy(
    age: float = 30,
    archive_age: float | None = None,
    trash_age: float = 21,
    max_age_hard: float | None = None,
    cameras_own: Mapping[str, Limits] | None = None,
    **fields: Any,
) -> CleanupPolicy:
    """A policy with ages in days."""
    limits = Limits(
        timedelta(days=age),
        timedelta(days=age if archive_age is None else archive_age),
        timedelta(days=trash_age),
        None if max_age_hard is None else timedelta(days=max_age_hard),
    )
    return CleanupPolicy(limits, cameras_own or {}, **fields)


def reasons_of(plan: CleanupPlan) -> dict[str, str]:
    """By path below its tree's root: what the plan says of each file, kept ones as their reason alone."""
    taken = {
        step.relative: f"{step.disposal} {step.reason}"
        if isinstance(step, RemoveCopy)
        else f"tidy {step.reason}"
        for step in plan.steps
    }
    return {**{kept.relative: str(kept.reason) for kept in plan.left}, **taken}
