"""Cases of the catalogue about disks, roots, rights and clocks."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Unable, camera
from sweeps.bad_moments import same, weak
from sweeps.camera import FFMPEG, LATELY
from sweeps.cases import CaseClips, CaseTree, case, name_of, parse
from tests import dates, programs
from tests.dates import clip_of, folder_of, stamp_of


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A mount for a while."""
    if os.geteuid():
        raise Unable("only root may mount")
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if done.returncode:
        raise Unable(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def memory(place: Path, *limits: str) -> contextlib.AbstractContextManager[Path]:
    """A small filesystem in memory."""
    return mounted(place, "-t", "tmpfs", "-o", ",".join(limits), "tmpfs")


def injected(what: str, *more: str) -> tuple[str, ...]:
    """The beginning of a command whose calls fail."""
    if why := programs.why_not("strace"):
        raise Unable(why)
    return ("strace", "-f", "-qq", "-o", "/dev/null", *more, "-e", f"inject={what}")


def kept(
    case_tree: CaseTree, clip: Path, content: bytes, code: int | None, *wanted: ExitCode
) -> Iterator[str]:
    """The clip stayed, the archive is empty, and the exit code says that something is wrong."""
    yield from same(clip.exists() and clip.read_bytes() == content, True, "the clip as it was")
    yield from same(case_tree.archives(), [], "the archive")
    yield from among(code, *wanted)


def among(code: int | None, *wanted: ExitCode) -> Iterator[str]:
    """The exit code is one of these."""
    names = " or ".join(f"{each} ({each.name})" for each in wanted)
    yield from same(code in wanted, True, f"exit code {code}, with {names} wanted")


FULL = (ExitCode.FAILED, ExitCode.STORAGE)
"""What a run says whose archive has no room."""


@case(67, "roots that lie in one another")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    for where in (case_tree.root, case_tree.folder):
        yield from same(
            case_tree.run("-o", where).code, ExitCode.USAGE, f"the exit code with {where.name} as the archive"
        )
    yield from same(clip.exists(), True, "the clip there")


@case(69, "an archive that is its own source")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put(f"{folder_of(LATELY)}/{name_of('front')}")
    content = clip.read_bytes()
    (case_tree.root / "again").symlink_to(case_tree.root)
    ran = case_tree.run("-o", case_tree.root / "again")
    yield from kept(case_tree, clip, content, ran.code, ExitCode.USAGE)


@case(70, "a root that is missing, or an empty mount point")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    case_tree.run("--keep-source")
    away = case_tree.root.rename(case_tree.folder / "away")
    yield from same(case_tree.run().code, ExitCode.STORAGE, "the exit code without the root")
    # Mounted nowhere: the source is an empty folder, the archive the real one.
    case_tree.root.mkdir()
    words = ("cleanup", case_tree.root, "-y", "--clean-output", "--archive-age", "1", "-o", away / "archived")
    ran = case_tree.program.run(*words, "--max-size", "1")
    yield from same(ran.code, ExitCode.STORAGE, "a cleanup's exit code with an empty mount point")
    yield from same(len(camera.final(away / "archived")), 1, "the number of archives")
    yield from same((away / clip.name).exists(), True, "the clip there")


@case(71, "a root that is a file")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    path = case_clips.put(case_tree.folder / "file")
    ran = case_tree.program.run("archive", path)
    yield from among(ran.code, ExitCode.USAGE, ExitCode.STORAGE)
    yield from ran.problems()


def _full(
    limits: tuple[str, ...], script: str = "", *, codes: tuple[ExitCode, ...]
) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip = case_tree.put()
        content = clip.read_bytes()
        with memory(case_tree.archive, *limits):
            ffmpeg = (
                case_tree.odd_ffmpeg(script.replace("DISK", str(case_tree.archive)))
                if script
                else Path(FFMPEG)
            )
            ran = case_tree.run("--trash-root", case_tree.folder / "trash", "--ffmpeg", ffmpeg)
            yield from ran.problems()
            yield from kept(case_tree, clip, content, ran.code, *codes)
            yield from camera.litter(case_tree.archive)

    return check


FILL = (
    "head -c 100M /dev/zero > DISK/fill 2>/dev/null; truncate -s -LEFT DISK/fill; "
    '"$REAL" "$@"; s=$?; rm DISK/fill; exit $s'
)

case(72, "a full disk at the start")(_full(("size=100k",), codes=FULL))
case(73, "a disk that fills up at half of the archive")(
    _full(("size=20m",), FILL.replace("LEFT", "16384"), codes=FULL)
)
case(76, "no inodes left")(_full(("size=20m", "nr_inodes=9"), codes=FULL))


def _failing(what: str, *more: str) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    """Calls that fail with an error: the clip is safe, and a run without the error archives it."""

    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip = case_tree.put()
        content = clip.read_bytes()
        filled = [word.replace("CLIP", str(clip)).replace("ARCHIVE", str(case_tree.archive)) for word in more]
        ran = case_tree.run(before=injected(what, *filled))
        yield from ran.problems()
        trashed = case_tree.root / ".deleted/input" / clip.name
        safe = clip.exists() and clip.read_bytes() == content
        safe = safe or (
            trashed.read_bytes() == content and [camera.frames(p) for p in case_tree.archives()] == [30]
        )
        yield from same(safe, True, "the clip safe")
        camera.let_a_day_pass(case_tree.root)
        yield from same(
            case_tree.run("--retry-failed").code, ExitCode.DONE, "the exit code of a run without the error"
        )
        yield from same([camera.frames(p) for p in case_tree.archives()], [30], "the archive's frames")
        yield from camera.litter(case_tree.root)

    return check


case(77, "a quota that is used up")(_failing("write,pwrite64:error=EDQUOT:when=3+"))
case(78, "EIO while ffmpeg writes")(_failing("write,pwrite64:error=EIO:when=5+"))
case(79, "EIO of fsync")(_failing("fsync:error=EIO:when=1+"))
case(80, "EIO while the clip is read")(_failing("read,pread64:error=EIO:when=1+", "-P", "CLIP"))
case(85, "ESTALE and ETIMEDOUT of a network mount")(_failing("fsync,linkat,renameat2:error=ESTALE:when=2+3"))


@case(81, "a source or an archive that is read-only")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    content = clip.read_bytes()
    for root in (case_tree.root, case_tree.archive):
        root.mkdir(exist_ok=True)
        with mounted(root, "--bind", str(root)):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(root)], check=True)
            ran = (
                case_tree.run("-o", case_tree.folder / "elsewhere")
                if root == case_tree.root
                else case_tree.run()
            )
            yield from ran.problems()
            yield from kept(case_tree, clip, content, ran.code, ExitCode.STORAGE)


@case(82, "a folder that may not be read")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    closed, good = case_tree.put(f"closed/{name_of('closed')}"), case_tree.put()
    closed.parent.chmod(0)
    ran = case_tree.run(before=weak())
    closed.parent.chmod(0o755)
    yield from same(
        (ran.code, closed.exists(), good.exists()),
        (ExitCode.PARTIAL, True, False),
        "code, closed clip, good clip",
    )


@case(83, "a clip that can't be removed")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put(f"fixed/{name_of('fixed')}")
    if os.geteuid() or subprocess.run(["chattr", "+i", str(clip)], capture_output=True).returncode:
        raise Unable("no file can be made immutable here")
    try:
        first, second = case_tree.outcomes(), case_tree.outcomes()
        yield from same(first, ["failed kept-source"], "the first outcome")
        yield from same(
            second, ["failed failed"] if "failed failed" in second else first, "the second outcome"
        )
        yield from same(
            [camera.frames(p) for p in case_tree.archives()], [30], "the archive's frames, made once"
        )
        yield from same(clip.exists(), True, "the clip there")
    finally:
        subprocess.run(["chattr", "-i", str(clip)], check=True)


@case(84, "a trash on another disk")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    content, other = clip.read_bytes(), camera.other_disk(case_tree.folder)
    try:
        yield from same(
            case_tree.outcomes("--trash-root", other / "trash"), ["done not-archived"], "the outcome"
        )
        trashed = other / "trash/input" / clip.name
        yield from same((clip.exists(), trashed.read_bytes()), (False, content), "the clip, and its copy")
    finally:
        shutil.rmtree(other)


@case(86, "an archive whose disk goes away during the run")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    content = clip.read_bytes()
    with memory(case_tree.archive, "size=20m"):
        with case_tree.during(after=True, more=("--trash-root", str(case_tree.folder / "trash"))):
            subprocess.run(["umount", "-l", str(case_tree.archive)], check=True)
        yield from case_tree.ran.problems()
        yield from kept(
            case_tree, clip, content, case_tree.ran.code, ExitCode.FAILED, ExitCode.PARTIAL, ExitCode.STORAGE
        )


def _dated(case_tree: CaseTree, start: datetime, name: str = "front") -> Path:
    return case_tree.put(f"{clip_of(name, start)}.mp4", at=start.timestamp())


@case(87, "a clock that jumps ten years ahead")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    # What counts is the distance: clips of ten years ago are what a clock ten years ahead sees.
    clips = [_dated(case_tree, LATELY - timedelta(days=3650 + number)) for number in range(3)]
    words = ("cleanup", case_tree.root, "-y", "--unarchived", "--max-age-hard", "400", "--allow-large")
    ran = case_tree.program.run(*words)
    yield from same(ran.code, ExitCode.STORAGE, "the exit code")
    yield from same([clip.exists() for clip in clips], [True] * 3, "the clips there")


@case(89, "a modification time in the future")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    old = [_dated(case_tree, LATELY - timedelta(days=number)) for number in range(3)]
    soon = dates.now() + timedelta(days=100)
    os.utime(old[2], (soon.timestamp(),) * 2)
    ran = case_tree.program.run("cleanup", case_tree.root, "-y", "--unarchived", "--allow-large")
    yield from among(ran.code, ExitCode.DONE, ExitCode.PARTIAL)
    yield from same(
        [clip.exists() for clip in old], [True, False, True], "newest, old, and doubtful clip there"
    )


@case(91, "the hour that repeats in autumn")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    first = dates.repeated_hour()
    name = f"REO_front_{stamp_of(first + timedelta(hours=2))}.mp4"
    for number in (0, 1):
        at = (first + timedelta(hours=number)).timestamp()
        clip = case_tree.put(name, ("plain.mp4", "silent.mp4")[number], at=at)
        outcomes = case_tree.outcomes("--timezone", "Europe/Berlin", "--age", "1")
        yield from same(outcomes, ["done not-archived"], "the outcome")
        yield from same(clip.exists(), False, "the clip still there")
    yield from same([camera.frames(p) for p in case_tree.archives()], [30, 30], "the archives")
    yield from same(
        len(camera.final(case_tree.root / ".deleted/input")), 2, "the number of clips in the trash"
    )


@case(103, "a size that is smaller than the newest clip")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clips = [_dated(case_tree, LATELY - timedelta(days=number)) for number in range(3)]
    words = ("cleanup", case_tree.root, "-y", "--max-size", "1", "--allow-large")
    case_tree.program.run(*words)
    yield from same([clip.exists() for clip in clips], [True] * 3, "the unarchived clips there")
    case_tree.program.run(*words, "--unarchived")
    yield from same(clips[0].exists(), True, "the newest clip there")


@case(104, "an archive whose source is still there")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    _dated(case_tree, LATELY + timedelta(days=1))
    clip = _dated(case_tree, LATELY)
    case_tree.run("--keep-source")
    words = ("cleanup", case_tree.root, "-y", "--clean-output", "--archive-age", "3000", "--age", "30")
    document = parse(case_tree.program.run(*words, "--allow-large", "--json"))
    done = [Path(each["path"]).name for each in document["outcomes"] if each["result"] == "done"]
    yield from same(done, [clip.name], "what went")
    yield from same(len(case_tree.archives()), 2, "the number of archives")
