"""Cases of the catalogue that happen while a run works: files that change, names that are swapped, ffmpeg
that misbehaves, signals, and other runs."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from camarchiver.errors import ExitCode
from sweeps import Unable, camera
from sweeps.camera import LATELY
from sweeps.cases import CaseClips, CaseTree, case, name_of, parse, wait_for
from tests.dates import folder_of, stamp_of


def same(found: object, wanted: object, what: str) -> Iterator[str]:
    """Whether something is as it must be."""
    if found != wanted:
        yield f"{what} is {found!r}, not {wanted!r}"


def _changed(
    case_tree: CaseTree, change: Callable[[Path], object], *, after: bool, reason: str = "stale"
) -> Iterator[str]:
    """A change during the run: the file that is there then stays, and nothing is archived."""
    clip = case_tree.put()
    with case_tree.during(after=after):
        change(clip)
    stands = clip.read_bytes() if clip.exists() else None
    found = [each["result"] for each in parse(case_tree.ran).get("outcomes", ())]
    yield from same(found, [reason], "the outcome")
    yield from same(clip.read_bytes() if clip.exists() else None, stands, "the clip")
    yield from same(case_tree.archives(), [], "the archive")
    yield from camera.litter(case_tree.root)


@case(28, "a clip that still grows")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    content = clip.read_bytes()
    with clip.open("ab"):
        yield from same(case_tree.outcomes(), ["skipped being-written"], "the outcome")
    yield from same(clip.read_bytes(), content, "the clip")


@case(29, "a clip replaced during the encoding")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    def swap(clip: Path) -> None:
        other = clip.with_suffix(".upload")
        shutil.copy2(clip, other)
        other.replace(clip)

    yield from _changed(case_tree, swap, after=True)


@case(30, "a clip truncated during the encoding")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    yield from _changed(case_tree, lambda clip: os.truncate(clip, clip.stat().st_size // 2), after=False)


@case(31, "a clip deleted during the encoding")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    yield from _changed(case_tree, Path.unlink, after=True)


@case(32, "bytes appended after the verification")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    patch = (
        "from camarchiver.storage import atomic\npublish = atomic.publish\n"
        "def late(*a, **k):\n    publish(*a, **k)\n"
        f"    a[1].suffix == '.mp4' and open({str(clip)!r}, 'ab').write(b'more')\n"
        "atomic.publish = late\n"
    )
    grown = clip.read_bytes() + b"more"
    yield from same(case_tree.outcomes(code=patch + camera.START), ["stale stale"], "the outcome")
    yield from same(clip.read_bytes(), grown, "the clip")


@case(43, "a folder swapped for a link before the removal")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put(f"day/{name_of('front')}")
    outside = case_tree.folder / "outside"
    with case_tree.during(after=True):
        shutil.copytree(clip.parent, outside)
        clip.parent.rename(case_tree.root / "moved")
        clip.parent.symlink_to(outside)
    yield from same((outside / clip.name).exists(), True, "the file outside still there")
    yield from same((case_tree.root / "moved" / clip.name).exists(), True, "the clip still there")


@case(44, "a link at the archive's final name")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    case_tree.put()
    outside = case_clips.put(case_tree.folder / "outside.mp4", b"precious")
    target = case_tree.archive / folder_of(LATELY) / name_of("front")
    target.parent.mkdir(parents=True)
    target.symlink_to(outside)
    yield from same(case_tree.outcomes(), ["done not-archived"], "the outcome")
    yield from same((outside.read_bytes(), target.is_symlink()), (b"precious", True), "the link and its file")
    yield from same(
        [camera.frames(p) for p in case_tree.archives() if not p.is_symlink()], [30], "the archive"
    )


@case(45, "a link at the staged name")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    outside = case_clips.put(case_tree.folder / "outside.mp4", b"precious")
    folder = case_tree.archive / folder_of(LATELY)
    folder.mkdir(parents=True)
    token = secrets.token_hex(8)
    (folder / f".{clip.stem}.{token}.staged.mp4").symlink_to(outside)
    patch = f"import secrets\nsecrets.token_hex = lambda size: {token!r}\n"
    ran = case_tree.run(code=patch + camera.START)
    yield from ran.problems()
    yield from same(
        (outside.read_bytes(), clip.exists()), (b"precious", True), "the file outside, and the clip"
    )


def _at_the_lock(make: Callable[[Path], object]) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip = case_tree.put()
        lock = clip.with_name(f"{clip.name}.lock")
        make(lock)
        before = lock.lstat()
        steps = parse(case_tree.run("--json", "-v")).get("steps", ())
        yield from same([each["reason"] for each in steps], ["busy"], "the reason")
        yield from same(clip.exists(), True, "the clip there")
        yield from same(lock.lstat().st_ino, before.st_ino, "the file at the lock's path")

    return check


def _link_out(lock: Path) -> None:
    precious = lock.parent.parent / "precious"
    precious.write_bytes(b"precious")
    lock.symlink_to(precious)


case(46, "a link at the lock's name")(_at_the_lock(_link_out))
case(47, "a FIFO at the lock's name")(_at_the_lock(os.mkfifo))
case(48, "a folder at the lock's name")(_at_the_lock(Path.mkdir))


def weak() -> tuple[str, ...]:
    """The beginning of a command that runs without root's right to read and write everything."""
    if os.geteuid() or shutil.which("setpriv") is None:
        raise Unable("needs root and setpriv")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")


@case(49, "a lock of another user")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    before = weak()
    lock = clip.with_name(f"{clip.name}.lock")
    lock.write_text("somebody's")
    lock.chmod(0o600)
    os.chown(lock, 1234, 1234)
    ran = case_tree.run("--json", "-v", before=before)
    steps = [*parse(ran).get("steps", ()), *parse(ran).get("outcomes", ())]
    yield from ran.problems()
    yield from same(
        {each["reason"] for each in steps} <= {"busy", "failed", "not-archived"}, True, str(steps)
    )
    yield from same((clip.exists(), lock.read_text()), (True, "somebody's"), "the clip and the lock")


@case(59, "a path longer than the kernel takes")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    good = case_tree.put()
    folder = os.open(case_tree.root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    name = name_of("deep")
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
    os.write(descriptor, case_clips.clip("plain.mp4").read_bytes())
    os.close(descriptor)
    os.utime(name, (camera.RECORDED,) * 2, dir_fd=folder)
    ran = case_tree.run()
    yield from ran.problems()
    yield from same(os.stat(name, dir_fd=folder).st_size > 0, True, "the deep clip")
    yield from same(good.exists(), False, "the good clip still in the source")
    yield from same(ran.code, ExitCode.PARTIAL, "the exit code")
    os.close(folder)
    subprocess.run(["rm", "-rf", str(case_tree.root / ("d" * 250))], check=True)


@case(66, "one clip in two source trees")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    other = case_tree.folder / "second" / clip.name
    other.parent.mkdir()
    os.link(clip, other)
    content = clip.read_bytes()
    yield from same(case_tree.outcomes(), ["done not-archived"], "the outcome")
    yield from same(other.read_bytes(), content, "the clip of the other tree")


@case(68, "archives are never archived again")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    case_tree.put()
    case_tree.run()
    made = [(path, path.stat().st_mtime_ns) for path in case_tree.archives()]
    yield from same(case_tree.outcomes("--age", "1"), ["exit 0"], "the second run")
    yield from same([(path, path.stat().st_mtime_ns) for path in case_tree.archives()], made, "the archive")


def _misbehaves(
    script: str, *, result: str = "failed failed"
) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    """An ffmpeg that does this instead of encoding: the clip stays, and another one is archived."""

    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip, good = case_tree.put(), case_tree.put(name_of("good"))
        odd = case_tree.odd_ffmpeg(f'case "$*" in *REO_front*)\n{script}\n;; esac')
        ran = case_tree.run("--json", "--ffmpeg", odd, code=STALL + camera.START)
        outcomes = {
            Path(each["path"]).name: f"{each['result']} {each['reason']}" for each in parse(ran)["outcomes"]
        }
        yield from same(outcomes, {clip.name: result, good.name: "done not-archived"}, "the outcomes")
        yield from same(clip.exists() and camera.frames(clip), 30, "the clip's frames")
        yield from camera.litter(case_tree.root)

    return check


MANY = 20_000
"""Files of the case that has very many of them."""


def _refuses(script: str) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    """An ffmpeg that spoils what it encodes: the clip's archive is a copy of its very bytes."""

    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip = case_tree.put()
        content = clip.read_bytes()
        ran = case_tree.run("--json", "--ffmpeg", case_tree.odd_ffmpeg(script))
        found = [(each["result"], each.get("unencoded")) for each in parse(ran)["outcomes"]]
        yield from same(found, [("done", "refused")], "the outcome")
        yield from same([path.read_bytes() == content for path in case_tree.archives()], [True], "the copy")
        yield from camera.litter(case_tree.root)

    return check


STALL = """
from camarchiver.media import transcoder
run = transcoder.run
def impatient(*a, **k):
    k["stall_seconds"] = min(k.get("stall_seconds", 4.0), 4.0)
    return run(*a, **k)
transcoder.run = impatient
"""
"""Waiting for progress takes seconds instead of minutes."""

case(74, "the archive's last bytes are missing and ffmpeg says nothing")(
    _refuses('"$REAL" "$@"; truncate -s -1000 "${last#file:}"; exit 0')
)
case(75, "half an archive whose header promises all, and ffmpeg says nothing")(
    _refuses('"$REAL" "$@"; truncate -s $(($(stat -c %s "${last#file:}") / 2)) "${last#file:}"; exit 0')
)
case(94, "ffmpeg crashes")(_misbehaves("kill -SEGV $$"))
case(95, "ffmpeg is killed for memory")(_misbehaves("kill -KILL $$"))
case(96, "ffmpeg hangs")(_misbehaves("exec sleep 1000"))


@case(92, "no ffmpeg")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    ran = case_tree.run("--ffmpeg", "/nonexistent/ffmpeg")
    yield from same((ran.code, clip.exists()), (ExitCode.ENCODER, True), "exit code, and the clip there")


@case(93, "an ffmpeg that is too old")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    old = case_tree.folder / "ffmpeg"
    old.write_text('#!/bin/sh\necho "ffmpeg version 2.8.17 Copyright (c) 2000-2020"\nexit 0\n')
    old.chmod(0o755)
    ran = case_tree.run("--ffmpeg", old)
    yield from ran.problems()
    yield from same((ran.code, clip.exists()), (ExitCode.ENCODER, True), "exit code, and the clip there")


@case(97, "letters on standard input")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    case_tree.put()
    command = [sys.executable, "-c", camera.START, *case_tree.words()]
    done = subprocess.run(command, input=b"q" * 99, env=case_tree.program.environment(), capture_output=True)
    yield from same(done.returncode, ExitCode.DONE, "the exit code")
    yield from same([camera.frames(path) for path in case_tree.archives()], [30], "the archive's frames")


def _stopped(number: int, code: int) -> Callable[[CaseClips, CaseTree], Iterator[str]]:
    def check(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
        clip = case_tree.put()
        gate = case_tree.folder / "gate"
        slow = case_tree.odd_ffmpeg(f"touch {gate}; exec sleep 1000")
        process = case_tree.program.start(*case_tree.words("--ffmpeg", slow))
        wait_for(gate.exists)
        process.send_signal(number)
        yield from same(process.wait(60), code, "the exit code")
        wait_for(lambda: not camera.processes_with(str(case_tree.root)))
        yield from same(clip.exists(), True, "the clip there")
        if code > 0:
            yield from camera.litter(case_tree.root)
        yield from same(case_tree.outcomes(), ["done not-archived"], "the next run")
        yield from camera.litter(case_tree.root)

    return check


case(98, "SIGTERM")(_stopped(signal.SIGTERM, 128 + signal.SIGTERM))
case(99, "SIGKILL")(_stopped(signal.SIGKILL, -signal.SIGKILL))


@case(100, "two hosts at once")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clips = [case_tree.put(name_of(f"c{number}")) for number in range(6)]
    hosts = [
        camera.Program(case_clips.options.package, case_tree.folder, {"CAMARCHIVER_HOST_ID": name})
        for name in ("one", "two")
    ]
    runs = [program.start(*case_tree.words()) for program in hosts]
    yield from same([run.wait(300) for run in runs], [0, 0], "the exit codes")
    yield from same(len(case_tree.archives()), len(clips), "the number of archives")
    yield from same([clip for clip in clips if clip.exists()], [], "what is left")
    yield from camera.litter(case_tree.root)


@case(101, "very many files")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    for number in range(MANY):
        day = case_tree.root / f"{folder_of(LATELY)}/{number // 2000:02}"
        if number % 2000 == 0:
            day.mkdir(parents=True)
        (day / f"REO_c{number}_{stamp_of(LATELY)}.mp4").touch()
    peak_of = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    patch = f"import atexit, resource\natexit.register(lambda: print('PEAK', {peak_of}))\n"
    ran = case_tree.program.run(*case_tree.words("--dry-run", "-q"), code=patch + camera.START)
    peak = int(ran.said.split("PEAK")[-1])
    yield from same(peak < 150_000, True, f"a peak of {peak} kB: below 150,000")


@case(102, "a cleanup while a clip is archived")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    clip = case_tree.put()
    case_tree.put(f"REO_front_{stamp_of(LATELY.replace(second=59))}.mp4")
    content = clip.read_bytes()
    with case_tree.during(after=True, more=("--limit", "1")):
        words = ("cleanup", case_tree.root, "-y", "--unarchived", "--allow-large", "--json")
        ran = case_tree.program.run(*words, "-v")
        steps = [*parse(ran).get("steps", ()), *parse(ran).get("outcomes", ())]
        reasons = {each["reason"] for each in steps if each["path"] == str(clip)}
        yield from same("busy" in reasons, True, f"one of {reasons} busy")
        yield from same(clip.read_bytes(), content, "the clip during the run")
    yield from same(case_tree.ran.code, ExitCode.DONE, "the archiving run's exit code")


@case(105, "a staged file of a living run")
def _(case_clips: CaseClips, case_tree: CaseTree) -> Iterator[str]:
    case_tree.put()
    with case_tree.during(after=False):
        other = camera.Program(case_clips.options.package, case_tree.folder, {"CAMARCHIVER_HOST_ID": "other"})
        other.run(*case_tree.words())
        yield from same(len(list(case_tree.archive.rglob("*.staged*"))), 1, "the number of staged files")
    yield from same(case_tree.ran.code, ExitCode.DONE, "the exit code")
    yield from same([camera.frames(path) for path in case_tree.archives()], [30], "the archive's frames")
