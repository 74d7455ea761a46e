"""Faults at every call of `cleanup`, which removes by every rule it has."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sweeps import Options, camera
from sweeps.calls import Subject, sweeps_of
from sweeps.camera import LATELY, Program, Ran
from tests.dates import clip_of

NEXT = LATELY + timedelta(days=1)
LONG_AGO = LATELY - timedelta(days=2400)


AGED = clip_of("front", LATELY)
"""Archived, still in the source with its picture: goes by --age."""
LONE = clip_of("garden", LATELY)
"""Never archived: goes by --unarchived."""
TRASHED = clip_of("yard", LATELY)
"""In the trash for long, its archive exists: deleted by --trash-age."""
OLD = clip_of("front", LONG_AGO)
"""Only its archive is left: goes by --clean-output."""
NEWEST = tuple(clip_of(name, NEXT) for name in ("front", "garden", "yard"))
"""The newest clips of their cameras, which no rule takes."""
FOREIGN = ("notes.txt", "archived/foreign.mp4", ".deleted/input/foreign.mp4")


class Tree:
    """A tree with a clip for each rule; what must become of each is known beforehand."""

    deletes = False

    def __init__(self, options: Options, folder: Path, model: Path) -> None:
        self.root = folder / "camera"
        self.archive, self.trash = self.root / "archived", self.root / ".deleted"
        shutil.copytree(model, self.root, symlinks=True)
        self.before = camera.digests(model)
        self.program = Program(options.package, folder, warm=True)
        self.roots: tuple[Path, ...] = (self.root,)

    def run(self, strace: tuple[str, ...], *, inside: bool) -> Ran:
        return self.program.run(*self._words(), before=(*strace, "-f") if strace else ())

    def again(self) -> Ran:
        for root in self.roots:
            camera.let_a_day_pass(root)
        return self.program.run(*self._words())

    def tidy(self) -> Ran:
        return self.again()

    def _words(self) -> tuple[str, ...]:
        words = ("cleanup", str(self.root), "-y", "--age", "30", "--unarchived", "--clean-output")
        words += ("--archive-age", "2000", "--trash-age", "30", "--allow-large", "--sidecar", "trash")
        words += ("-o", str(self.archive), "--trash-root", str(self.trash))
        return (*words, "--delete") if self.deletes else words

    def _original(self, relative: str) -> str:
        return self.before[relative]

    def violations(self) -> Iterator[str]:
        if not camera.is_whole(self.archive / f"{AGED}.mp4", self._original(f"archived/{AGED}.mp4")):
            yield "an archive that no rule named is damaged or gone"
        if not camera.is_whole(self.archive / f"{TRASHED}.mp4", self._original(f"archived/{TRASHED}.mp4")):
            yield "the archive of a purged clip is damaged or gone"
        for newest in (f"{clip}.mp4" for clip in NEWEST):
            if not camera.is_whole(self.root / newest, self._original(newest)):
                yield f"the newest clip {newest} is damaged or gone"
        for relative in (f"{AGED}.mp4", f"{AGED}.jpg", f"{LONE}.mp4"):
            yield from self._somewhere(relative, self.root / relative, self.trash / "input" / relative)
        yield from self._somewhere(
            f"archived/{OLD}.mp4", self.archive / f"{OLD}.mp4", self.trash / f"output/{OLD}.mp4"
        )
        for relative in FOREIGN:
            if not camera.is_whole(self._place_of(relative), self._original(relative)):
                yield f"the foreign {relative} is damaged or gone"
        known = set(self.before.values())
        for root in (self.root, self.archive, self.trash):
            for path in camera.final(root):
                footage = path.suffix in (".mp4", ".jpg")
                if footage and path.name != "archiver.log" and camera.digest(path) not in known:
                    yield f"a final name holds a part: {path}"

    def _somewhere(self, relative: str, here: Path, there: Path) -> Iterator[str]:
        """Whole in its tree, or whole in the trash, or deleted if that was asked for."""
        original = self._original(relative)
        if here.exists():
            if not camera.is_whole(here, original):
                yield f"{relative} was changed"
        elif not self.deletes and not camera.is_whole(there, original):
            yield f"{relative} is lost: neither in its tree nor in the trash"

    def _place_of(self, relative: str) -> Path:
        return self.root / relative

    def unfinished(self) -> Iterator[str]:
        for path in (self.root / f"{AGED}.mp4", self.root / f"{AGED}.jpg", self.root / f"{LONE}.mp4"):
            if path.exists():
                yield f"{path.name} is still in the source"
        if (self.archive / f"{OLD}.mp4").exists():
            yield "the old archive still exists"
        if (self.trash / f"input/{TRASHED}.mp4").exists():
            yield "the old trash was not emptied"
        ends = {"trashed", "deleted", "purged"}
        told = {
            (e["source"], e.get("tree", "source")) for e in camera.events(self.archive) if e["event"] in ends
        }
        wanted = [(AGED, "source"), (LONE, "source"), (TRASHED, "trash"), (OLD, "archive")]
        for clip, tree in wanted:
            if (f"{clip}.mp4", tree) not in told:
                yield f"the journal does not say that {clip} left the {tree}"
        for event in camera.events(self.archive):
            place = event.get("trash")
            purged = event["source"] == f"{TRASHED}.mp4" or event["event"] != "trashed"
            if place and not purged and not (self.trash / place).exists():
                yield f"the journal says that {event['source']} lies in the trash as {place}"
        if twice := [path.name for path in camera.final(self.trash) if "~" in path.name]:
            yield f"more than one copy in the trash: {', '.join(twice)}"
        for root in self.roots:
            yield from camera.litter(root)

    def close(self) -> None:
        pass


class Deleting(Tree):
    """The same with `--delete`."""

    deletes = True


class TwoDisks(Tree):
    """The same with archive and trash on another filesystem."""

    def __init__(self, options: Options, folder: Path, model: Path, other: Path | None = None) -> None:
        super().__init__(options, folder, model)
        self.other = other or camera.other_disk(folder)
        shutil.move(self.archive, self.other / "archived")
        shutil.move(self.trash, self.other / "deleted")
        self.archive, self.trash = self.other / "archived", self.other / "deleted"
        self.roots = (self.root, self.other)

    def _place_of(self, relative: str) -> Path:
        tree, _, inside = relative.partition("/")
        return {"archived": self.archive, ".deleted": self.trash}.get(tree, self.root / tree) / inside

    def close(self) -> None:
        shutil.rmtree(self.other, ignore_errors=True)


def make_model(options: Options, folder: Path) -> None:
    """Archive for real, then date the journal back, so that the trash is old."""
    program = Program(options.package, folder.parent)
    words = ("archive", folder, "--codec", "h264", "--ffmpeg", camera.FFMPEG)
    front = camera.make_clip(folder / f"{AGED}.mp4", at=LATELY.timestamp())
    for clip, source, start in ((TRASHED, "rgbtestsrc", LATELY), (OLD, "smptebars", LONG_AGO)):
        camera.make_clip(folder / f"{clip}.mp4", source=source, at=start.timestamp())
    for newest in (folder / f"{clip}.mp4" for clip in NEWEST):
        newest.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(front, newest)
        os.utime(newest, (NEXT.timestamp(),) * 2)
    must(program.run(*words, "--keep-source", "--camera", "front"))
    must(program.run(*words, "--camera", "yard", "--exclude", f"*{NEXT:%Y%m%d}*"))
    (folder / f"{OLD}.mp4").unlink()
    for part in (folder / OLD).parents[:3]:
        part.rmdir()
    for journal in (folder / "archived/.camarchiver/journal").rglob("*.jsonl"):
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        past = [{**line, "at": _back(line["at"])} for line in lines]
        journal.write_text("".join(json.dumps(line) + "\n" for line in past))
    camera.make_clip(folder / f"{LONE}.mp4", source="mandelbrot", at=LATELY.timestamp())
    camera.make_picture(folder / f"{AGED}.jpg", at=LATELY.timestamp())
    for relative in FOREIGN:
        shutil.copyfile(front, folder / relative)
    (folder / "archiver.log").unlink(missing_ok=True)


def _back(moment: str) -> str:
    return (datetime.fromisoformat(moment) - timedelta(days=50)).isoformat()


def must(ran: Ran) -> None:
    """End the sweep if a run that prepares it fails."""
    if ran.code:
        raise SystemExit(f"the tree to clean up can't be made: {ran.said}")


SWEEPS = (
    *sweeps_of(Subject("cleanup", make_model, Tree, share=3)),
    *sweeps_of(Subject("cleanup-delete", make_model, Deleting)),
    *sweeps_of(Subject("cleanup-two-disks", make_model, TwoDisks, share=2)),
)
